"""Quantities as people write them."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final, NewType

Octets = NewType("Octets", int)
"""A number of octets; in a configuration a whole number, or text such as ``25MB`` (decimal) or ``25MiB`` (binary)."""

_SIZE: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,3})?) ?([kmgt]?)(i?)b", re.IGNORECASE)
_DURATION: Final = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,3})?) ?([smhd])")
_SECONDS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_POWERS: Final = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


def parse_octets(text: str) -> Octets:
    """Read a size with its unit: B, kB, MB, GB, TB, or KiB, MiB, GiB, TiB. Raises ``ValueError``."""
    match = _SIZE.fullmatch(text.strip())
    if match is None or (match[3] and not match[2]):
        raise ValueError("must be a size such as 25MB")
    unit = (1024 if match[3] else 1000) ** _POWERS[match[2].lower()]
    return Octets(int(Decimal(match[1]) * unit))


def parse_duration(text: str) -> float:
    """Read a time with its unit, such as 90s, 5m, 2h or 1d; return seconds, at least one. Raises ``ValueError``."""
    match = _DURATION.fullmatch(text.strip())
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    if seconds < 1:
        raise ValueError("must be a time such as 90s, 5m or 2h")
    return seconds
