"""Pages that stand alone: no script, nothing loaded from elsewhere, nothing in them that is not escaped.

The report is one; a plug-in's verb that writes a page for people makes it with the same parts.
"""

from __future__ import annotations

from alimail_core.markup import Column, Content, Markup, table, tag, together
from alimail_core.page_style import STYLE

__all__ = ["Column", "Content", "Markup", "document", "table", "tag", "together"]

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def document(title: str, *body: Content, language: str = "en") -> str:
    """Write a page: the head that all have, and what stands in the body."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("title", title),
        tag("style", Markup(STYLE)),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, tag('body', *body), lang=language)}\n"
