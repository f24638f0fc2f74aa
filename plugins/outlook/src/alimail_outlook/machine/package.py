"""A package of Windows Installer: is it what was signed.

A package is a compound file (MS-CFB): streams and storages in a tree, cut into sectors that tables chain together.
Its signature is a stream beside the others, and signs the digest of all of them in the order of their names, each
storage's class behind what is in it. As Windows takes it, what no stream has (free sectors, times, the names
themselves) is not covered, unless a second stream has a digest of these: it is covered, and not compared here.
"""

from __future__ import annotations

import hashlib
import struct
from array import array
from collections.abc import Iterator
from mmap import mmap
from typing import Any, Final

from attrs import frozen

from alimail_outlook.machine.authenticode import Broken, Signed, held

MAGIC: Final = bytes.fromhex("d0cf11e0a1b11ae1")

_STORAGE, _STREAM, _ROOT = 1, 2, 5
_LAST: Final = 0xFFFFFFFA
"""Greater numbers of sectors and entries mean an end, or none."""
_DEPTH: Final = 16
_SIGNATURE: Final = "\5DigitalSignature\0".encode("utf-16-le")
_OF_NAMES: Final = "\5MsiDigitalSignatureEx\0".encode("utf-16-le")


def verified(octets: mmap) -> Signed:
    """Verify a package's signature. Raises ``Broken`` where there is none, or it is not even known whose it is."""
    try:
        package = _Compound(octets)
        top = {entry.name: entry for entry in package.children(package.root)}
        if _SIGNATURE not in top:
            raise Broken("it is not signed")
        raw = b"".join(package.content(top[_SIGNATURE]))
        return held(raw, package.digest)
    except (ValueError, IndexError, struct.error):
        raise Broken("it is damaged: its streams do not fit together") from None


@frozen
class _Entry:
    """A stream or storage. ``name`` is UTF-16 with the zero at its end, by which entries are in order."""

    name: bytes
    kind: int
    left: int
    right: int
    child: int
    kind_of_storage: bytes
    start: int
    size: int


class _Compound:
    """A compound file. Every method raises ``ValueError`` and its like where it is damaged."""

    def __init__(self, octets: mmap) -> None:
        self._octets = octets
        version, _, shift = struct.unpack_from("<HHH", octets, 0x1A)
        if (version, shift) not in ((3, 9), (4, 12)):
            raise ValueError
        self._size = 1 << shift
        first, _, cutoff, small, _, more, _ = struct.unpack_from("<7I", octets, 0x30)
        self._cutoff = cutoff
        self._chain = self._table(more)
        self._entries = [_entry(raw) for piece in self._sectors(first) for raw in _cut(piece, 128)]
        self.root = self._entries[0]
        streams = sum(entry.size for entry in self._entries if entry.kind == _STREAM)
        if self.root.kind != _ROOT or streams > len(octets):  # many may not share what there is once
            raise ValueError
        self._small_chain = array("I", b"".join(self._sectors(small)) if small < _LAST else b"")
        self._small = b"".join(self._sectors(self.root.start)) if self.root.start < _LAST else b""

    def _table(self, more: int) -> array[int]:
        """Return for each sector which is next; ``more`` has where the table itself goes on beyond the header."""
        numbers = list(struct.unpack_from("<109I", self._octets, 0x4C))
        while more < _LAST:
            *further, more = struct.unpack(f"<{self._size // 4}I", self._sector(more))
            numbers += further
            if len(numbers) * self._size > len(self._octets) + 109 * self._size:
                raise ValueError  # more than there are sectors
        return array("I", b"".join(self._sector(number) for number in numbers if number < _LAST))

    def _sector(self, number: int) -> bytes:
        begin = (number + 1) * self._size
        if begin >= len(self._octets):
            raise ValueError
        return self._octets[begin : begin + self._size].ljust(self._size, b"\0")

    def _sectors(self, first: int) -> Iterator[bytes]:
        return map(self._sector, _chained(self._chain, first))

    def content(self, entry: _Entry) -> Iterator[bytes]:
        """Give a stream's octets piece by piece."""
        left = entry.size
        small = left < self._cutoff
        pieces = (
            (self._small[at * 64 : at * 64 + 64] for at in _chained(self._small_chain, entry.start))
            if small
            else self._sectors(entry.start)
        )
        while left > 0:
            piece = next(pieces, b"")[:left]
            if not piece:
                raise ValueError
            left -= len(piece)
            yield piece

    def children(self, storage: _Entry) -> list[_Entry]:
        """Return what is in a storage, by name."""
        found: dict[int, _Entry] = {}
        waiting = [storage.child]
        while waiting:
            number = waiting.pop()
            if number > _LAST:
                continue
            if number in found:
                raise ValueError
            found[number] = entry = self._entries[number]
            waiting += (entry.left, entry.right)
        return sorted(found.values(), key=lambda entry: entry.name)

    def digest(self, algorithm: str) -> bytes:
        """Return the digest that a signature has of it."""
        digest = hashlib.new(algorithm)
        for entry in self.children(self.root):
            if entry.name == _OF_NAMES:
                self._feed(digest, entry, 0)
        for entry in self.children(self.root):
            if entry.name not in (_SIGNATURE, _OF_NAMES):
                self._feed(digest, entry, 0)
        digest.update(self.root.kind_of_storage)
        return digest.digest()

    def _feed(self, digest: Any, entry: _Entry, depth: int) -> None:
        if entry.kind == _STREAM:
            for piece in self.content(entry):
                digest.update(piece)
        elif entry.kind == _STORAGE and depth < _DEPTH:
            for child in self.children(entry):
                self._feed(digest, child, depth + 1)
            digest.update(entry.kind_of_storage)
        else:
            raise ValueError


def _chained(chain: array[int], number: int) -> Iterator[int]:
    for _ in range(len(chain) + 1):
        if number > _LAST:
            return
        yield number
        number = chain[number]
    raise ValueError  # it goes round in a circle


def _cut(octets: bytes, size: int) -> Iterator[bytes]:
    for at in range(0, len(octets), size):
        yield octets[at : at + size]


def _entry(raw: bytes) -> _Entry:
    length, kind = struct.unpack_from("<HB", raw, 0x40)
    left, right, child = struct.unpack_from("<3I", raw, 0x44)
    start, size = struct.unpack_from("<II", raw, 0x74)
    return _Entry(raw[: min(length, 64)], kind, left, right, child, raw[0x50:0x60], start, size)
