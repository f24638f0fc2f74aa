"""Sets of UIDs or sequence numbers as IMAP writes them (RFC 9051 §9, ``sequence-set``)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

MAX_SET_OCTETS = 8_000
"""Servers bound the length of a command line; RFC 7162 §4 promises 8,192 octets."""

Range = tuple[int, int]
"""First and last, both included, first not above last."""


def ranges(numbers: Iterable[int]) -> Iterator[Range]:
    """Join numbers, in any order, to the fewest ascending ranges."""
    first = last = 0
    for number in sorted(set(numbers)):
        if last and number == last + 1:
            last = number
            continue
        if last:
            yield first, last
        first = last = number
    if last:
        yield first, last


def format_sets(numbers: Iterable[int], max_octets: int = MAX_SET_OCTETS) -> Iterator[bytes]:
    """Write numbers as sequence sets, compressed to ranges and cut so that none is longer than ``max_octets``."""
    line: list[bytes] = []
    octets = 0
    for first, last in ranges(numbers):
        item = b"%d" % first if first == last else b"%d:%d" % (first, last)
        if line and octets + len(item) + 1 > max_octets:
            yield b",".join(line)
            line, octets = [], 0
        line.append(item)
        octets += len(item) + 1
    if line:
        yield b",".join(line)


def parse_set(text: bytes) -> list[Range]:
    """Read a set such as ``3,7:9``, in its order; a range may be written backwards.

    Raises ``ValueError`` for anything else, ``*`` included.
    """
    return [_parse_range(item) for item in text.split(b",")]


def _parse_range(item: bytes) -> Range:
    first, colon, last = item.partition(b":")
    one = _parse_number(first)
    other = _parse_number(last) if colon else one
    return min(one, other), max(one, other)


def _parse_number(text: bytes) -> int:
    if not text.isdigit() or not 0 < (number := int(text)) < 2**32:
        raise ValueError("not a UID")
    return number


def count(found: Iterable[Range]) -> int:
    """Return how many numbers the ranges hold together."""
    return sum(last - first + 1 for first, last in found)


def expand(found: Iterable[Range], below: int = 2**32) -> Iterator[int]:
    """List the ranges' numbers that are less than ``below``."""
    for first, last in found:
        yield from range(first, min(last + 1, below))
