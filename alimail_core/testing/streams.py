"""One direction of an IMAP connection, cut into lines and literals as its octets come; no input or output."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TypeAlias

from attrs import frozen

MAX_LINE = 1 << 20

_LITERAL = re.compile(rb"\{(\d{1,18})(\+?)\}\r?\n\Z")


@frozen
class Line:
    """A line with its end. ``first``: it begins a command or response, not after a literal within one."""

    octets: bytes
    first: bool
    literal: int | None
    """How many octets the line announces."""
    synchronising: bool
    """The announced octets come only when the other side has said ``+`` (RFC 9051 §4.3)."""

    @property
    def words(self) -> list[bytes]:
        """The first three words: tag, name in upper case, and what follows with its line end."""
        tag, _, rest = self.octets.partition(b" ")
        name, _, arguments = rest.partition(b" ")
        return [tag.rstrip(), name.strip().upper(), arguments]


@frozen
class Part:
    """Some octets of a literal, as many as came together."""

    octets: bytes


Item: TypeAlias = Line | Part


class Stream:
    """Cuts a stream. For a client's stream, tell by ``grant`` that the server has said ``+``.

    A client that announces a synchronising literal and is told NO goes on with another command; that is how
    the octets that follow are taken when nothing was granted.
    """

    def __init__(self, *, client: bool) -> None:
        self._client = client
        self._line = b""
        self._first = True
        self._announced: int | None = None
        self._granted = False
        self._left = 0

    def grant(self) -> None:
        """The server has said ``+``: the announced octets come next."""
        self._granted = True

    @property
    def between(self) -> bool:
        """Tell whether what was given so far ends with a whole command or response."""
        return self._first and not self._line and not self._left and self._announced is None

    def feed(self, data: bytes) -> Iterator[Item]:
        """Take octets as they came; give what they complete. Run it to its end before the next call.

        Raises ``ValueError`` for a line of more than ``MAX_LINE`` octets.
        """
        at = 0
        while at < len(data):
            self._enter_literal()
            if self._left:
                end = min(at + self._left, len(data))
                self._left -= end - at
                yield Part(data[at:end])
            else:
                end = data.find(b"\n", at) + 1 or len(data)
                self._line += data[at:end]
                if self._line.endswith(b"\n"):
                    yield self._complete()
                elif len(self._line) > MAX_LINE:
                    raise ValueError("a line without end")
            at = end

    def _enter_literal(self) -> None:
        announced, self._announced = self._announced, None
        if announced is not None and self._granted:
            self._left = announced
        elif announced is not None:
            self._first = True

    def _complete(self) -> Line:
        octets, self._line = self._line, b""
        match = _LITERAL.search(octets)
        first, self._first = self._first, match is None
        if match is None:
            return Line(octets, first, None, False)
        self._announced = int(match[1])
        synchronising = self._client and not match[2]
        self._granted = not synchronising
        return Line(octets, first, self._announced, synchronising)
