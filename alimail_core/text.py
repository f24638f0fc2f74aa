"""Make untrusted text safe to show: on a terminal, in a spreadsheet's cell, in HTML.

Folder names, server answers and everything that a user's file holds pass through one of these on their way out. On
their way in, addresses pass through ``same_address``.
"""

from __future__ import annotations

import html as _html
import unicodedata

_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that a terminal may act upon or that hide: controls, bidi and other format characters,
lone surrogates, private use, unassigned, line and paragraph separators."""

_JOINERS = frozenset("\u200c\u200d")
"""Zero-width (non-)joiners: format characters that Persian, Hindi and emoji are spelt with. They reorder nothing."""

_FORMULA = frozenset("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
"""What a spreadsheet takes for the beginning of a formula, with the full-width forms."""


def printable(text: str) -> str:
    """Return ``text`` with everything that is not plainly visible escaped as Python does (``\\x1b``, ``\\u202e``).

    A backslash stays as it is: the result is for eyes, not for parsing. Idempotent.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_visible(character) for character in text)


def cell(text: str) -> str:
    """Return ``text`` as the value of a CSV or spreadsheet cell that no program runs as a formula.

    Unsafe characters are escaped as by ``printable``; a leading ``= + - @`` gets an apostrophe before it.
    """
    risky = text.lstrip()[:1] in _FORMULA or text[:1] in _FORMULA
    shown = printable(text)
    return f"'{shown}" if shown and risky else shown


def html(text: str) -> str:
    """Return ``text`` for HTML, in an element or a quoted attribute, with unsafe characters made visible."""
    return _html.escape(printable(text), quote=True)


def _visible(character: str) -> str:
    if character in _JOINERS or unicodedata.category(character) not in _UNSAFE:
        return character
    return ascii(character)[1:-1]


def same_address(address: str) -> str:
    """Return what two spellings of one address have in common; case tells no mailboxes apart in practice."""
    return address.lower() if address.isascii() else unicodedata.normalize("NFC", address).casefold()
