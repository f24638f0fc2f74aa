"""The ledger's nouns: a folder, a message and a stranger as they are stored, and how their columns are read."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from math import floor

from attrs import frozen

from alimail_core.model import Cursor, Entry, FolderPath, SpecialUse


@frozen
class FolderRow:
    """A folder of either side as the ledger has it."""

    id: int
    path: FolderPath
    special_use: SpecialUse | None
    epoch: str | None
    cursor: Cursor | None
    target_id: int | None
    rule: str


@frozen(slots=True)
class Row:
    """A message as the ledger has it; the columns are told in ``schema.message``."""

    id: int
    folder_id: int
    key: str | None
    size: int | None
    date: int | None
    zone: int | None
    flags: str
    gone: int
    state: int
    fingerprint: bytes | None
    message_hash: bytes | None
    digest: bytes | None
    canonical: bytes | None
    sent_digest: bytes | None
    stored_digest: bytes | None
    batch_id: int | None
    doubts: int
    target_id: int | None
    target_key: str | None
    target_size: int | None
    target_date: int | None
    origin: int | None
    carried: str | None
    target_gone: int
    moving_to: int | None

    @property
    def internal_date(self) -> datetime | None:
        """The internal date as the source listed it, with its zone."""
        return to_date(self.date, self.zone)

    @property
    def entry(self) -> Entry:
        """The row as an entry of its source."""
        return Entry(self.key or "", self.size, self.internal_date, split_flags(self.flags))

    @property
    def target_entry(self) -> Entry:
        """The row as an entry of its target."""
        return Entry(self.target_key or "", self.target_size, to_date(self.target_date, 0))

    def known_flags(self, listed: bool) -> frozenset[str] | None:
        """Return the flags at the source; ``None`` where only the message tells them, and it was never read."""
        return split_flags(self.flags) if listed or self.digest is not None else None

    def is_twin_of(self, other: Row) -> bool:
        """Tell whether two messages are known to differ in nothing but line ends."""
        ours, theirs = self.canonical or self.digest, other.canonical or other.digest
        return ours is not None and ours == theirs


@frozen(slots=True)
class StrangerRow:
    """An entry of a target folder that no message claims."""

    id: int
    folder_id: int
    key: str
    size: int | None
    date: int | None
    fingerprint: bytes | None
    message_hash: bytes | None

    @property
    def entry(self) -> Entry:
        """The row as an entry of its folder."""
        return Entry(self.key, self.size, to_date(self.date, 0))


@frozen
class BatchRow:
    """What is known of a batch's sending; times in seconds since 1970."""

    intended: float
    ended: float | None
    """When its connection ended without an answer to all of it; ``None``: not yet."""
    over: bool
    """The server answered and can do no more about it."""


def to_date(seconds: int | None, zone: int | None) -> datetime | None:
    """Make an aware datetime of stored seconds and minutes of zone."""
    if seconds is None:
        return None
    return _epoch_in(zone or 0) + timedelta(seconds=seconds)


@lru_cache(maxsize=256)
def _epoch_in(zone: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC).astimezone(timezone(timedelta(minutes=zone)))


def from_date(date: datetime | None) -> tuple[int | None, int | None]:
    """Make seconds since 1970 and minutes of zone; fractions of a second are cut off."""
    if date is None:
        return None, None
    zone = date.utcoffset()  # its minutes by hand: each message of each listing comes here, and some twice
    return floor(date.timestamp()), zone.days * 1440 + zone.seconds // 60 if zone else 0


def join_flags(flags: Iterable[str]) -> str:
    """Write flags as the ledger keeps them: sorted, a space between."""
    return _joined(frozenset(flags))


@lru_cache(maxsize=1024)  # few differ, as below
def _joined(flags: frozenset[str]) -> str:
    return " ".join(sorted(flags))


@lru_cache(maxsize=1024)  # few differ among many thousand messages, and each set of one flag has 216 octets
def split_flags(text: str | None) -> frozenset[str]:
    """Read flags back."""
    return frozenset((text or "").split())


def contradicts(size: int | None, date: int | None, entry: Entry) -> bool:
    """Tell whether a witness on record and a listed one cannot be of the same message."""
    if size is not None and entry.size is not None and size != entry.size:
        return True
    return date is not None and from_date(entry.internal_date)[0] not in (None, date)
