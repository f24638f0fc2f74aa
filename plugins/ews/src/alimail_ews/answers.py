"""Read answers of Exchange Web Services as they arrive: never a whole document, and no octet of it trusted.

An answer is told as *records*: the elements in its header, each response message, and a fault. A record is a small
tree; only the ``MimeContent`` in it may be large, and that is decoded while it streams. There are no document types
(and so no entities), and depth, size and number of everything are bounded.
"""

from __future__ import annotations

import binascii
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from io import BytesIO
from typing import Final
from xml.parsers import expat

from attrs import define, field

MAX_MESSAGE: Final = 512 * 1024 * 1024
"""Octets of a message that are taken at most."""
MAX_TEXT: Final = 4 * 1024 * 1024
"""Characters of any other text of a record, all together, and of what stands outside of records."""
MAX_NODES: Final = 200_000
"""Elements of a record."""
MAX_DEPTH: Final = 64

_MIME: Final = "MimeContent"
_DECODED: Final = 192 * 1024
"""Characters of base64 that are decoded at a time; a multiple of four."""
_NOT_XML: Final = re.compile(
    rb"&#(?:[xX]0*(?:[0-8bBcCeEfF]|1[0-9a-fA-F]|[fF]{3}[eEfF])|0*(?:[0-8]|1[124-9]|2\d|3[01]|6553[45]));"
)
_REFERENCE_LENGTH: Final = 16


class MalformedAnswer(Exception):
    """What came is not an answer of Exchange Web Services, or more than is taken; ``str()`` says what is wrong."""


@define
class Node:
    """An element: its name without namespace, its attributes, its text, and the elements in it."""

    name: str
    attributes: dict[str, str]
    text: str = ""
    children: list[Node] = field(factory=list)
    octets: bytes | None = field(default=None, repr=False)
    """What a ``MimeContent`` holds, decoded; ``None`` where that is no base64, and for every other element."""

    def find(self, *path: str) -> Node | None:
        """Return the first element at a path beneath this one."""
        node: Node | None = self
        for name in path:
            node = next((child for child in node.children if child.name == name), None) if node else None
        return node

    def told(self, *path: str) -> str:
        """Return the text at a path, empty where there is none."""
        node = self.find(*path)
        return node.text if node else ""


def read_answer(pieces: Iterable[bytes], swell: Callable[[int], None] = lambda _: None) -> Iterator[Node]:
    """Give the records of an answer as they are complete. Raises ``MalformedAnswer``, and what ``pieces`` raises.

    ``swell`` is told the octets of a message that is being read, whenever they have grown.
    """
    reading = _Reading(swell)
    try:
        for piece in _mended(pieces):
            yield from reading.feed(piece)
        yield from reading.feed(b"", last=True)
    finally:
        reading.end()


def _mended(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Replace references to characters that XML cannot have: Exchange writes what stands in names and categories."""
    kept = b""
    for piece in pieces:
        piece = kept + piece
        # A reference that the next piece goes on with waits for it; there is no ampersand in base64.
        begin = piece.rfind(b"&", max(0, len(piece) - _REFERENCE_LENGTH))
        cut = begin if begin >= 0 and b";" not in piece[begin:] else len(piece)
        piece, kept = piece[:cut], piece[cut:]
        yield _NOT_XML.sub(b"?", piece) if b"&#" in piece else piece
    yield kept


class _Reading:
    """One answer that is being read."""

    def __init__(self, swell: Callable[[int], None]) -> None:
        self._swell = swell
        self._done: deque[Node] = deque()
        self._names: list[str] = []
        self._open: list[Node] = []
        """The elements of the record that has begun, outermost first."""
        self._text: list[str] = []
        self._mime: _Base64 | None = None
        self._nodes = self._characters = self._outside = 0
        self._parser = parser = expat.ParserCreate(namespace_separator=" ")
        parser.buffer_text = True
        parser.buffer_size = 128 * 1024
        parser.StartElementHandler = self._begin
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._add
        parser.StartDoctypeDeclHandler = self._refuse

    def feed(self, piece: bytes, *, last: bool = False) -> Iterator[Node]:
        """Read on; give the records that are complete now."""
        try:
            self._parser.Parse(piece, last)
        except expat.ExpatError as error:
            yield from self._taken()
            raise MalformedAnswer(f"the answer is no XML: {expat.errors.messages[error.code]}") from None
        except MalformedAnswer:
            yield from self._taken()
            raise
        yield from self._taken()

    def end(self) -> None:
        """Let go of the parser, which holds megabytes, and us: that cycle would wait for the garbage collector."""
        del self._parser

    def _taken(self) -> Iterator[Node]:
        while self._done:
            yield self._done.popleft()

    @staticmethod
    def _refuse(*_: object) -> None:
        raise MalformedAnswer("the answer has a document type, which none has")

    def _begin(self, name: str, attributes: dict[str, str]) -> None:
        name = name.rpartition(" ")[2]
        if len(self._names) >= MAX_DEPTH:
            raise MalformedAnswer("the answer is nested too deeply")
        if self._open or self._is_record(name):
            self._count(nodes=1, characters=sum(map(len, attributes.values())))
            node = Node(name, attributes)
            if self._open:
                self._open[-1].text += "".join(self._text)
                self._open[-1].children.append(node)
            self._open.append(node)
            self._text.clear()
            if name == _MIME:
                self._mime = _Base64(self._swell)
        else:
            self._count(outside=1 + sum(map(len, attributes.values())))
        self._names.append(name)

    def _is_record(self, name: str) -> bool:
        parent = self._names[-1] if self._names else ""
        return parent in ("Header", "ResponseMessages") or name == "Fault"

    def _count(self, *, nodes: int = 0, characters: int = 0, outside: int = 0) -> None:
        """Count what a record holds, and what stands outside of all."""
        self._nodes += nodes
        self._characters += characters
        self._outside += outside
        if self._nodes > MAX_NODES or max(self._characters, self._outside) > MAX_TEXT:
            raise MalformedAnswer("the answer is larger than any that was asked for")

    def _add(self, text: str) -> None:
        if self._mime is not None:
            self._mime.feed(text)
        elif self._open:
            self._count(characters=len(text))
            self._text.append(text)
        else:
            self._count(outside=len(text))

    def _end(self, _: str) -> None:
        self._names.pop()
        if not self._open:
            return
        node = self._open.pop()
        if node.name == _MIME and self._mime is not None:
            node.octets, self._mime = self._mime.end(), None
        elif self._text:
            node.text += "".join(self._text)
        self._text.clear()
        if not self._open:
            self._done.append(node)
            self._nodes = self._characters = 0


class _Base64:
    """Base64 that is decoded as it comes (RFC 4648 §4), with white space anywhere, as XML has it."""

    def __init__(self, swell: Callable[[int], None]) -> None:
        self._swell = swell
        # Its value is handed out without another copy, which large messages need.
        self._octets = BytesIO()
        self._text: list[str] = []
        self._length = 0
        self._is_sound = True

    def feed(self, text: str) -> None:
        if any(space in text for space in " \t\n\r"):
            text = "".join(text.split())
        self._text.append(text)
        self._length += len(text)
        if self._length >= _DECODED:
            self._decode(self._length - self._length % 4)

    def _decode(self, length: int) -> None:
        text = "".join(self._text)
        self._text, self._length = [text[length:]], len(text) - length
        try:
            self._octets.write(binascii.a2b_base64(text[:length], strict_mode=True))
        except ValueError:  # no base64, or not even ASCII
            self._is_sound = False
        octets = self._octets.tell()
        if octets > MAX_MESSAGE:
            raise MalformedAnswer(f"a message of more than {MAX_MESSAGE} octets is not taken")
        self._swell(octets)

    def end(self) -> bytes | None:
        self._is_sound = self._is_sound and self._length % 4 == 0
        self._decode(self._length)
        return self._octets.getvalue() if self._is_sound else None
