"""Which messages are carried: the administrator's filter, a pure function of what is known of a message.

Its terms are the search keys of RFC 9051 §6.4.4, and mean what they mean there.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime

from attrs import frozen

from alimail_core.contract import option
from alimail_core.units import Octets


@frozen
class MessageFilter:
    """Which messages are carried. What is left out is counted, and carried once the filter is widened."""

    since: date | None = option(
        "Only messages that arrived on this day or later, by their internal date, such as 2024-01-31.",
        default=None,
    )
    before: date | None = option(
        "Only messages that arrived before this day, by their internal date.", default=None
    )
    larger: Octets | None = option("Only messages of more octets than this, such as 100kB.", default=None)
    smaller: Octets | None = option("Only messages of fewer octets than this, such as 25MB.", default=None)
    unseen: bool = option("Only messages that nobody has read.", default=False)
    flagged: bool = option("Only messages that are flagged.", default=False)

    def __attrs_post_init__(self) -> None:
        """Refuse a filter that no message can pass."""
        if self.since is not None and self.before is not None and self.since >= self.before:
            raise ValueError("'before' must be a later day than since")
        if self.larger is not None and self.smaller is not None and self.larger + 1 >= self.smaller:
            raise ValueError("'smaller' must leave room above larger")

    def wants(
        self, size: int | None, internal_date: datetime | None, flags: Collection[str] | None
    ) -> bool | None:
        """Tell whether a message is carried; ``None`` where that hangs on what is not known (``None``) of it.

        The day is the internal date's own, in its own time zone.
        """
        verdicts: list[bool | None] = []
        day = None if internal_date is None else internal_date.date()
        if self.since is not None:
            verdicts.append(None if day is None else day >= self.since)
        if self.before is not None:
            verdicts.append(None if day is None else day < self.before)
        if self.larger is not None:
            verdicts.append(None if size is None else size > self.larger)
        if self.smaller is not None:
            verdicts.append(None if size is None else size < self.smaller)
        if self.unseen:
            verdicts.append(None if flags is None else "\\Seen" not in flags)
        if self.flagged:
            verdicts.append(None if flags is None else "\\Flagged" in flags)
        return False if False in verdicts else None if None in verdicts else True

    def __str__(self) -> str:
        """Say it for a person; two filters that leave out the same say the same. Empty: everything is carried."""
        parts = [
            f"since {self.since}" if self.since is not None else "",
            f"before {self.before}" if self.before is not None else "",
            f"larger than {self.larger:,} octets" if self.larger is not None else "",
            f"smaller than {self.smaller:,} octets" if self.smaller is not None else "",
            "unseen" if self.unseen else "",
            "flagged" if self.flagged else "",
        ]
        return ", ".join(filter(None, parts))


EVERYTHING = MessageFilter()
