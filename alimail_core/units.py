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


def octets_text(octets: float) -> str:
    """Return a size in decimal units, such as ``3.4 MB``."""
    if octets < 1_000:
        return f"{octets:.0f} B"
    for unit in ("kB", "MB", "GB"):
        octets /= 1_000
        if octets < 999.5:
            return f"{octets:.1f} {unit}" if octets < 10 else f"{octets:.0f} {unit}"
    return f"{octets / 1_000:.2f} TB"


def duration_text(seconds: float) -> str:
    """Return a time in the two units that matter, such as ``2 h 10 min``; never more exact than it can be."""
    whole = round(seconds)
    if whole < 60:
        return f"{max(whole, 1)} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(round(seconds / 3_600), 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def count_text(number: int, noun: str) -> str:
    """Return a number with its noun, such as ``1 message`` or ``12,345 messages``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
