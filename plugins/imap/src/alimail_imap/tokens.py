"""The grammar of what a server says: responses, their tokens and their status codes (RFC 9051 §7, §9).

The reader hands over a response as *parts*: the text up to a literal, the literal's octets, the text after it,
and so on; so an odd number of parts, of which every second is a literal. Tokens keep their octets: a folder
named ``007`` stays that, and ``"NIL"`` in quotes is a name and not nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeAlias, Union

from attrs import define, frozen

Token: TypeAlias = Union[bytes, "list[Token]", None]
"""An atom, quoted string or literal as octets; ``NIL`` as ``None``; a parenthesised list as a list."""

MAX_DEPTH = 32

_TOKEN = re.compile(
    rb"""\ *(?:
      (?P<open>\() | (?P<close>\))
    | "(?P<quoted>(?:[^"\\]|\\.)*)"
    | (?P<atom>(?:BODY|BINARY)(?:\.SIZE)?\[[^\]]*\](?:<\d+>)? | [^\s()"]+)
    )""",
    re.VERBOSE | re.IGNORECASE,
)
_LITERAL = re.compile(rb"~?\{\d+\+?\}\Z")
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_STATUS = re.compile(
    rb"(OK|NO|BAD|BYE|PREAUTH)(?: +\[([^\s\]]+)(?: ([^\]]*))?\])?(?: *(.*))?\Z", re.DOTALL | re.IGNORECASE
)


class Malformed(ValueError):
    """What the server said is no IMAP."""


@define(slots=True)
class Response:
    """One response. ``tag`` is ``*`` (untagged), ``+`` (go on) or the tag of the command that it ends."""

    tag: bytes
    parts: list[bytes]

    @property
    def head(self) -> bytes:
        """The text up to the first literal, without the tag."""
        return self.parts[0]

    def kind(self) -> bytes:
        """Return the word that tells what an untagged response is, such as ``LIST`` or ``FETCH``, upper case."""
        first, _, rest = self.parts[0].partition(b" ")
        if first.isdigit():
            first = rest.partition(b" ")[0]
        return first.upper()

    def number(self) -> int:
        """Return the number that leads responses such as ``12 EXISTS``; 0, which none can have, where it is none."""
        first = self.parts[0].partition(b" ")[0]
        return int(first) if first.isdigit() and len(first) <= 10 else 0

    def tokens(self) -> list[Token]:
        """Return everything after the tag as tokens. Raises ``Malformed``."""
        return tokenize(self.parts)


def tokenize(parts: list[bytes]) -> list[Token]:
    """Read a response's parts into tokens. Raises ``Malformed`` for brackets that do not pair and the like."""
    stack: list[list[Token]] = [[]]
    for token in _flat(parts):
        if token is _OPEN:
            if len(stack) > MAX_DEPTH:
                raise Malformed("lists nested too deep")
            stack.append([])
        elif token is _CLOSE:
            if len(stack) == 1:
                raise Malformed("a closing bracket without an opening one")
            closed = stack.pop()
            stack[-1].append(closed)
        else:
            stack[-1].append(token)
    if len(stack) > 1:
        raise Malformed("an opening bracket without a closing one")
    return stack[0]


# Two markers that no token can be: lists do not appear among the flat tokens.
_OPEN: list[Token] = [b"("]
_CLOSE: list[Token] = [b")"]


def _flat(parts: list[bytes]) -> Iterator[Token]:
    last = len(parts) - 1
    for place in range(0, last + 1, 2):
        text = parts[place]
        if place < last:
            yield from _texts(_LITERAL.sub(b"", text))
            yield parts[place + 1]
        else:
            yield from _texts(text)


def _texts(text: bytes) -> Iterator[Token]:
    place, end = 0, len(text.rstrip(b" \t"))
    while place < end:
        match = _TOKEN.match(text, place)
        if match is None:
            raise Malformed("a token was expected")
        place = match.end()
        kind, value = match.lastgroup, match[match.lastgroup or 0]
        if kind == "atom":
            yield None if value.upper() == b"NIL" else value
        elif kind == "quoted":
            yield _ESCAPED.sub(rb"\1", value) if b"\\" in value else value
        else:
            yield _OPEN if kind == "open" else _CLOSE


@frozen
class Status:
    """A status response: tagged, or untagged OK, NO, BAD, BYE and PREAUTH (RFC 9051 §7.1)."""

    kind: str
    """``"OK"``, ``"NO"``, ``"BAD"``, ``"BYE"`` or ``"PREAUTH"``."""
    code: str = ""
    """The response code in upper case, such as ``"OVERQUOTA"``; empty where there is none."""
    argument: bytes = b""
    """What follows the code within its brackets."""
    text: str = ""
    """The server's own words, safe to show: controls are spelt out."""

    @property
    def ok(self) -> bool:
        """Tell whether the server did what it was asked to."""
        return self.kind == "OK"

    def words(self) -> str:
        """Return the answer in one line for a person, code included."""
        code = f"[{self.code}] " if self.code else ""
        return f"{self.kind} {code}{self.text}".strip()


def parse_status(text: bytes) -> Status | None:
    """Read a status response without its tag; ``None`` where it is another kind of response."""
    match = _STATUS.match(text)
    if match is None:
        return None
    kind, code, argument, words = match.groups()
    return Status(kind.decode().upper(), shown(code or b"").upper(), argument or b"", shown(words or b""))


def shown(octets: bytes, most: int = 500) -> str:
    """Decode what a server said so that it can be shown: no controls, no bidi overrides, not endless."""
    text = octets[:most].decode("utf-8", "replace")
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def quote(octets: bytes) -> bytes:
    """Write a quoted string; the caller has made sure that it can be one (see ``quotable``)."""
    return b'"' + octets.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def quotable(octets: bytes) -> bool:
    """Tell whether octets can stand in a quoted string, or need a literal: 7-bit, no NUL, CR or LF, not long."""
    return len(octets) <= 1000 and octets.isascii() and not any(c in octets for c in b"\0\r\n")


_ATOM = re.compile(rb"[A-Za-z0-9!#$&'+,\-./:;<=>?@^_`|~]+\Z")


def is_atom(octets: bytes) -> bool:
    """Tell whether octets can stand as a keyword (RFC 9051 ``atom``, and nothing that any server trips over)."""
    return _ATOM.match(octets) is not None
