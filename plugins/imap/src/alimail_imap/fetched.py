"""What FETCH tells of a message: UID, size, date, flags, octets; and the same things as we write them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

from attrs import define

from alimail_core import SYSTEM_FLAGS
from alimail_imap.tokens import Malformed, Response, Token, is_atom

LISTED = b"(UID FLAGS INTERNALDATE RFC822.SIZE)"
"""The items that a listing asks for."""
LISTED_WITH_LABELS = b"(UID FLAGS INTERNALDATE RFC822.SIZE X-GM-LABELS)"

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH_NUMBERS = {name.lower(): number for number, name in enumerate(_MONTHS, 1)}
_DATE = re.compile(r" *(\d{1,2})-([A-Za-z]{3})[a-z]*-(\d{2,4})[ T]+(\d{1,2}):(\d{2})(?::(\d{2}))? *(.*)")
_ZONE = re.compile(r"([+-])(\d{2}):?(\d{2})")


@define(slots=True)
class Fetched:
    """One FETCH response; what it did not tell is ``None``."""

    number: int
    uid: int | None = None
    size: int | None = None
    internal_date: datetime | None = None
    flags: frozenset[str] | None = None
    octets: bytes | None = None
    """BODY[], or the part of it that was asked for."""
    labels: tuple[bytes, ...] = ()
    """X-GM-LABELS: the other folders on Gmail in which the message stands."""


# What most servers say when they are asked for a listing, and before a message's octets; the rest is read by tokens.
_PLAIN = re.compile(
    rb"""(\d{1,10})\ FETCH\ \(
    (?:(?: UID\ (\d{1,10}) | FLAGS\ \(([^()]*)\) | INTERNALDATE\ "([^"]*)" | RFC822\.SIZE\ (\d{1,19})
         | MODSEQ\ \(\d{1,20}\) )\ ?)+
    (?: \) | BODY\[\]\ (\{)\d+\} )\Z""",
    re.VERBOSE,
)


def parse_fetch(response: Response) -> Fetched | None:
    """Read a FETCH response; ``None`` where it cannot be read, which counts as not having been said."""
    if (match := _PLAIN.match(response.head)) is not None and response.parts[2:] in ([], [b")"]):
        return _read_plain(match, response.parts[1] if match[6] else None)
    try:
        tokens = response.tokens()
    except Malformed:
        return None
    return _read_items(response, tokens)


def _read_plain(match: re.Match[bytes], octets: bytes | None) -> Fetched:
    number, uid, flags, date, size, _ = match.groups()
    return Fetched(
        int(number),
        None if uid is None else int(uid),
        None if size is None else int(size),
        None if date is None else parse_date(date),
        None if flags is None else _flags_of(flags),
        octets,
    )


def read_listed(response: Response) -> Fetched | None:
    """Read an answer to ``LISTED``; an unasked FETCH, which tells flags alone, is none."""
    fetched = parse_fetch(response) if response.kind() == b"FETCH" else None
    if fetched is None or not fetched.uid or fetched.flags is None or fetched.size is None:
        return None
    return fetched


def _read_items(response: Response, tokens: list[Token]) -> Fetched | None:
    items = tokens[2] if len(tokens) > 2 else None
    if not isinstance(items, list):
        return None
    fetched = Fetched(response.number())
    for name, value in zip(items[::2], items[1::2], strict=False):
        if isinstance(name, bytes):
            _read_item(fetched, name.upper(), value)
    return fetched


def _read_item(fetched: Fetched, name: bytes, value: Token) -> None:
    if name == b"UID":
        fetched.uid = _number(value)
    elif name == b"RFC822.SIZE":
        fetched.size = _number(value)
    elif name == b"INTERNALDATE" and isinstance(value, bytes):
        fetched.internal_date = parse_date(value)
    elif name == b"FLAGS" and isinstance(value, list):
        fetched.flags = spell_flags(flag for flag in value if isinstance(flag, bytes))
    elif name == b"X-GM-LABELS" and isinstance(value, list):
        fetched.labels = tuple(label for label in value if isinstance(label, bytes))
    elif name.startswith(b"BODY[") and isinstance(value, bytes):
        fetched.octets = value


def _number(value: Token) -> int | None:
    return int(value) if isinstance(value, bytes) and value.isdigit() and len(value) < 20 else None


@lru_cache(maxsize=1024)
def _flags_of(text: bytes) -> frozenset[str]:
    return spell_flags(text.split())


def spell_flags(flags: Iterable[bytes]) -> frozenset[str]:
    """Spell flags as the core does: system flags capitalised, keywords as they came, without ``\\Recent``."""
    texts = (flag.decode("utf-8", "replace") for flag in flags)
    spelt = {f"\\{text[1:].capitalize()}" if text.startswith("\\") else text for text in texts}
    return frozenset(spelt - {"\\Recent"})


def write_flags(flags: Iterable[str], *, also: frozenset[str] = frozenset()) -> bytes:
    """Write a flag list: the four system flags and keywords that are valid atoms; ``also`` lets more through."""
    written = SYSTEM_FLAGS | also
    valid = (flag for flag in sorted(flags) if flag in written or is_atom(flag.encode()))
    return b"(%s)" % b" ".join(flag.encode() for flag in valid)


def parse_date(text: bytes) -> datetime | None:
    """Read an INTERNALDATE, its zone kept (UTC where it has none); ``None`` where it is no date at all."""
    match = _DATE.match(text.decode("ascii", "replace"))
    if match is None:
        return None
    day, month, year, hour, minute, second, zone = match.groups()
    number = _MONTH_NUMBERS.get(month.lower(), 0)
    try:
        return datetime(
            _full_year(year), number, int(day), int(hour), int(minute), int(second or 0), 0, _zone(zone)
        )
    except ValueError:
        return None


def _full_year(year: str) -> int:
    number = int(year)
    if len(year) > 2:
        return number
    return number + (1900 if number >= 70 else 2000)


@lru_cache(maxsize=256)
def _zone(text: str) -> timezone:
    match = _ZONE.match(text)
    if match is None:
        return UTC
    offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
    if offset >= timedelta(hours=24) or not offset:
        return UTC
    return timezone(-offset if match[1] == "-" else offset)


def write_date(when: datetime) -> bytes:
    """Write a date for APPEND (RFC 9051 ``date-time``): two-digit day, four-digit year, numeric zone."""
    offset = when.utcoffset()
    if offset is None or offset % timedelta(minutes=1):
        when = when.replace(tzinfo=UTC) if offset is None else when.astimezone(UTC)
    text = when.isoformat()  # such as 2009-02-01T23:59:58+01:30
    date = f"{text[8:10]}-{_MONTHS[when.month - 1]}-{text[:4]}"
    return f'"{date} {text[11:19]} {text[-6:-3]}{text[-2:]}"'.encode()
