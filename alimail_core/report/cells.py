"""The parts that the report's page is put together from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import frozen

from alimail_core.markup import Content, Markup, lines, tag, together
from alimail_core.report.contents import AccountReport

MANY = 500
"""Rows of a table of problems, kinds or folders; beyond them the page says which file has the rest."""


@frozen
class Section:
    """A part of the page: its name, by which a link leads there, its heading, and what it holds."""

    name: str
    heading: str
    content: Markup

    @property
    def markup(self) -> Markup:
        """The part as HTML."""
        return tag("section", tag("h2", self.heading, id=self.name), self.content, aria_labelledby=self.name)

    @property
    def link(self) -> Markup:
        """A link to it."""
        return tag("a", self.heading, href=f"#{self.name}")


def section(name: str, heading: str, *content: Content) -> Section:
    """Make a part of the page."""
    return Section(name, heading, together(*content))


def name_of(account: AccountReport) -> Markup:
    """Name an account by both of its addresses."""
    return lines(account.status.source_address, quiet(f"to {account.status.target_address}"))


def verdict_of(account: AccountReport) -> Markup:
    """Write the answer for an account in its colour, which is never all that tells it."""
    verdict = account.verdict
    status = account.status
    disabled = "" if status.enabled or status.state == "disabled" else " (disabled)"
    return tag("b", prose(verdict.text + disabled), class_=verdict.level)


def items(contents: Iterable[Content]) -> Markup:
    """Write a list."""
    return tag("ul", (tag("li", each) for each in contents))


def quiet(text: str) -> Markup:
    """Write what is beside the point; nothing where there is no text."""
    return tag("span", text, class_="quiet") if text else Markup("")


def path_of(path: Sequence[str]) -> str:
    """Write a folder's path for a person."""
    return " / ".join(path)


def rest(left: int, file: str) -> Markup:
    """Say how many rows a table does not show, and which file has them."""
    return tag("p", f"and {left:,} more, in {file}", class_="quiet") if left > 0 else Markup("")


def prose(text: str) -> Markup:
    """Write our own words, with what stands between backticks as code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:
        return together(text)  # somebody else's backtick is among them
    return together(tag("code", part) if index % 2 else part for index, part in enumerate(parts))
