"""The add-in's picture, drawn: a person on a blue ground, at any size."""

from __future__ import annotations

import struct
import zlib
from functools import cache
from typing import Final

_GROUND: Final = (0x0B, 0x5C, 0xAB)
_PERSON: Final = (0xFF, 0xFF, 0xFF)
_FINE: Final = 3
"""Each pixel is the mean of so many points a side, so that edges are smooth."""


@cache
def icon(size: int) -> bytes:
    """Return a PNG of ``size`` pixels a side, 8 bits a channel with alpha."""
    rows = b"".join(b"\0" + b"".join(_pixel(x, y, size) for x in range(size)) for y in range(size))
    head = struct.pack(">IIBBBBB", size, size, 8, 6, 0, 0, 0)
    chunks = (b"IHDR", head), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _pixel(x: int, y: int, size: int) -> bytes:
    steps = [(step + 0.5) / _FINE for step in range(_FINE)]
    points = [((x + right) / size, (y + down) / size) for down in steps for right in steps]
    inside = [point for point in points if _in_ground(*point)]
    if not inside:
        return bytes(4)
    white = sum(_in_person(*point) for point in inside) / len(inside)
    colour = (round(a + (b - a) * white) for a, b in zip(_GROUND, _PERSON, strict=True))
    return bytes((*colour, round(255 * len(inside) / len(points))))


def _in_ground(x: float, y: float) -> bool:
    """A square with round corners."""
    across, down = max(abs(x - 0.5) - 0.3, 0), max(abs(y - 0.5) - 0.3, 0)
    return across**2 + down**2 <= 0.2**2


def _in_person(x: float, y: float) -> bool:
    """A head over shoulders."""
    head = (x - 0.5) ** 2 + (y - 0.36) ** 2 <= 0.15**2
    shoulders = y <= 0.8 and ((x - 0.5) / 0.29) ** 2 + ((y - 0.82) / 0.26) ** 2 <= 1
    return head or shoulders
