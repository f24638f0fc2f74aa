"""The wishes that a user may have of a migration; every field is an option of the configuration.

The texts are the configuration reference: ``docs/reference/configuration.md`` is made from them.
"""

from __future__ import annotations

from typing import Literal

from attrs import frozen

from alimail_core.contract import option
from alimail_core.model import BATCH_MESSAGES, BATCH_OCTETS
from alimail_core.units import Octets

TERABYTE = Octets(10**12)
"""What Alibaba Mail takes in one migration, in octets."""


@frozen
class TransferOptions:
    """How messages are carried. The defaults are what an administrator wants who has not thought about it."""

    adopt: Literal["exact", "headers", "content"] = option(
        "What a message that stands in the target already must share with ours to count as ours: `exact`: its "
        "octets, or a Message-ID that stands alone on both sides with the same size and date; `headers`: its "
        "Message-ID, Date, From and Subject (faster for a target that another tool has filled); `content`: "
        "its decoded content, always read.",
        default="exact",
    )
    delivered_twice: Literal["match", "ignore"] = option(
        "Mail that the old system forwarded to the new one stands in both with other trace headers. `match` "
        "finds it there and does not copy it; `ignore` copies it.",
        default="match",
    )
    duplicates: Literal["keep", "collapse"] = option(
        "Identical messages in one folder of the source: `keep` all of them, or `collapse` them into one.",
        default="keep",
    )
    deletions: Literal["keep", "mirror"] = option(
        "A message that was carried and then deleted at the source: `keep` it in the target, or `mirror` the "
        "deletion where our copy is still as we wrote it.",
        default="keep",
    )
    moves: Literal["follow", "copy"] = option(
        "A message that was carried and then moved at the source: `follow` moves our copy as well where it is "
        "still as we wrote it; `copy` leaves both.",
        default="follow",
    )
    order: Literal["recent", "strict"] = option(
        "`recent` carries the last 90 days first, so that people can work after minutes; `strict` keeps the "
        "source's order at the price of speed.",
        default="recent",
    )
    limit_octets: Octets | None = option(
        "Stop before the migration has written more than this many octets in all, such as 500GB. Alibaba "
        "Mail takes 1 TB.",
        default=TERABYTE,
    )
    settle_seconds: float = option(
        "After a connection was lost in the middle of a message, how many seconds the target may still take to "
        "finish it before it is looked for and, where it is missing, sent again; for `provision` the same of a step.",
        default=30.0,
    )
    batch_messages: int = option(
        "The most messages that one step of the ledger covers.", default=BATCH_MESSAGES
    )
    batch_octets: int = option("The most octets that one step of the ledger covers.", default=BATCH_OCTETS)
    read_ahead_octets: int = option(
        "How many octets may wait in memory between source and target, per account; 0 reads and writes in turn.",
        default=32 * 1024 * 1024,
    )

    def __attrs_post_init__(self) -> None:
        """Refuse numbers with which nothing could move."""
        for name in ("batch_messages", "batch_octets"):
            if getattr(self, name) < 1:
                raise ValueError(f"'{name}' must be at least 1")
        if self.read_ahead_octets < 0:
            raise ValueError("'read_ahead_octets' must not be negative")
        if self.settle_seconds < 0:
            raise ValueError("'settle_seconds' must not be negative")
        if self.limit_octets is not None and self.limit_octets < 0:
            raise ValueError("'limit_octets' must not be negative")
