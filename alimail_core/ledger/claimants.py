"""Who may claim what: what a target folder may have of ours, and its entries that no message claims yet.

Of large folders on both sides ids are told first, which take a hundredth of what the rows take.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import chain
from typing import Any

import sqlalchemy as sa

from alimail_core.ledger.queries import STANDS, Queries, chunks
from alimail_core.ledger.rows import Row, StrangerRow
from alimail_core.ledger.schema import State, folder, message, stranger

_STRANGER = [stranger.c[name] for name in StrangerRow.__slots__ if name != "__weakref__"]


_KEYLESS = sa.and_(STANDS, message.c.target_key.is_(None))
"""The target is said to have it, and its key there is not known."""


def _pending_for(target_id: int) -> sa.ColumnElement[bool]:
    comes_there = sa.select(folder.c.id).where(folder.c.target_id == target_id, folder.c.side == "source")
    return sa.and_(message.c.folder_id.in_(comes_there), message.c.state == State.PENDING)


def _shares_a_name(of: Any, opposite: Any) -> sa.ColumnElement[bool]:
    """Return what holds of whom a header or a listing nominates for somebody opposite."""
    return sa.or_(
        of.fingerprint.in_(sa.select(opposite.fingerprint)),
        of.message_hash.in_(sa.select(opposite.message_hash)),
        sa.tuple_(of.size, of.date).in_(sa.select(opposite.size, opposite.date)),
    )


class Claimants(Queries):
    """The questions of one account that matching asks."""

    def _ids(self, query: sa.Executable) -> array[int]:
        """Read whole numbers of many rows, eight octets each."""
        return self._take(query, None, lambda rows: array("q", chain.from_iterable(rows)))

    def sent_to(self, target_id: int) -> list[Row]:
        """List what may stand in a target folder under a key that we do not know, in the order of claiming.

        First what the target has said that it has, then what was sent without an answer.
        """
        return [row for where in self._sent_to(target_id) for row in self._rows(where)]

    def _sent_to(self, target_id: int) -> tuple[sa.ColumnElement[bool], ...]:
        c = message.c
        moving = sa.and_(self._here, c.state == State.MOVING, c.moving_to == target_id)
        sent = sa.and_(c.target_id == target_id, c.state == State.SENT)
        # A key that was told and never seen there may have been a wrong one.
        unseen = sa.and_(c.target_size.is_(None), c.target_date.is_(None), c.target_key.is_not(None))
        told = sa.and_(c.target_id == target_id, c.state == State.STORED, unseen)
        return sa.and_(c.target_id == target_id, _KEYLESS), told, moving, sent

    def who_may_claim(self, target_id: int) -> tuple[bool, bool]:
        """Tell whether there is anything of ``sent_to``, and anything pending for a target folder."""
        one = sa.select(message.c.id).limit(1)
        sent = any(self._read(one.where(each)) for each in self._sent_to(target_id))
        return sent, bool(self._read(one.where(_pending_for(target_id))))

    def pending_for(self, target_id: int, *, like: Sequence[Row]) -> list[Row]:
        """List what is pending for a target folder and listed like one of these rows.

        That is with the same internal date and the same size, or one that is not known.
        """
        listed = {(row.date, row.size) for row in like if row.date is not None}
        dates = sorted({row.date for row in like if row.date is not None})
        found = [
            row
            for part in chunks(dates)
            for row in self._rows(_pending_for(target_id), message.c.date.in_(part))
        ]
        return [row for row in found if row.size is None or (row.date, row.size) in listed]

    def unread(self, target_id: int) -> int:
        """Count what is pending for a target folder and of which not even the header was ever read."""
        query = sa.select(sa.func.count()).where(_pending_for(target_id), message.c.fingerprint.is_(None))
        return int(self._read(query)[0][0])

    def keyless(self, target_ids: Sequence[int]) -> list[Row]:
        """List what these target folders are said to have, and whose key there is not known."""
        here = message.c.target_id
        return [row for part in chunks(target_ids) for row in self._rows(here.in_(part), _KEYLESS)]

    def strangers(self, folder_id: int, *where: sa.ColumnElement[bool], after: int = 0) -> list[StrangerRow]:
        """List the entries of a target folder that no message claims, in order of their listing."""
        s = stranger.c
        query = sa.select(*_STRANGER).where(s.folder_id == folder_id, s.id > after, *where).order_by(s.id)
        return [StrangerRow(*row) for row in self._read(query)]

    def strangers_by_ids(self, stranger_ids: Sequence[int]) -> list[StrangerRow]:
        """Return some strangers as they are on record now."""
        query, parts = sa.select(*_STRANGER), chunks(stranger_ids)
        rows = (row for part in parts for row in self._read(query.where(stranger.c.id.in_(part))))
        return [StrangerRow(*row) for row in rows]

    def count_strangers(self, folder_ids: Sequence[int]) -> dict[int, tuple[int, int]]:
        """Return, by target folder, how many strangers stand there, and the id of the last one.

        Left out are those where none stands.
        """
        s = stranger.c
        query = sa.select(s.folder_id, sa.func.count(), sa.func.max(s.id)).group_by(s.folder_id)
        rows = (row for part in chunks(folder_ids) for row in self._read(query.where(s.folder_id.in_(part))))
        return {int(row[0]): (int(row[1]), int(row[2])) for row in rows}

    def _claimants(self, target_id: int) -> sa.Subquery:
        """Return all that may claim a stranger in a target folder: each part by an index of its own."""
        parts = (*self._sent_to(target_id), _pending_for(target_id))
        c = message.c
        columns = (c.id, c.key, c.gone, c.fingerprint, c.message_hash, c.size, c.date, c.digest)
        return sa.union_all(*(sa.select(*columns).where(each) for each in parts)).subquery()

    def unread_ids(self, target_id: int) -> array[int]:
        """Return whose headers are still to be read, of all that may claim a stranger in a target folder."""
        c = self._claimants(target_id).c
        return self._ids(sa.select(c.id).where(c.fingerprint.is_(None), c.key.is_not(None), c.gone == 0))

    def unread_strangers(self, folder_id: int, after: int = 0) -> array[int]:
        """Return whose headers are still to be read, of the strangers after this one."""
        s = stranger.c
        query = sa.select(s.id).where(s.folder_id == folder_id, s.id > after, s.fingerprint.is_(None))
        return self._ids(query.order_by(s.id))

    def lone_pairs(self, target_id: int, *, alike: bool) -> tuple[array[int], array[int]]:
        """Return, by ids, who may claim which stranger, where both have the same fingerprint and stand alone.

        Alone is whose Message-ID nobody else has on its side. ``alike``: only of the same size and internal date.
        """
        claimants, s = self._claimants(target_id), stranger.c
        here = sa.select(stranger).where(s.folder_id == target_id).subquery()
        ours, theirs = (
            sa.select(sa.func.min(side.c.id).label("id"), side.c.message_hash)
            .where(side.c.message_hash.is_not(None))
            .group_by(side.c.message_hash)
            .having(sa.func.count() == 1)
            .subquery()
            for side in (claimants, here)
        )
        c = message.c
        same = [c.fingerprint == s.fingerprint, *([c.size == s.size, c.date == s.date] if alike else [])]
        found = self._ids(
            sa.select(c.id, s.id)
            .select_from(ours)
            .join(theirs, ours.c.message_hash == theirs.c.message_hash)
            .join(message, c.id == ours.c.id)
            .join(stranger, s.id == theirs.c.id)
            .where(*same)
        )
        return found[::2], found[1::2]

    def disputed(self, target_id: int) -> tuple[list[Row], list[StrangerRow]]:
        """List what may claim a stranger in a target folder in the order of claiming, and what it may be.

        Left out is what is pending and never read, and whose header and listing name no stranger; and the others way
        round (see ``alimail_core.identity.names``).
        """
        claimants, s, c = self._claimants(target_id).c, stranger.c, message.c
        here = sa.select(stranger).where(s.folder_id == target_id).subquery().c
        digested = sa.select(claimants.size).where(claimants.digest.is_not(None))
        strangers = self.strangers(target_id, sa.or_(_shares_a_name(s, claimants), s.size.in_(digested)))
        nominated = sa.or_(_shares_a_name(c, here), c.digest.is_not(None))
        return self.sent_to(target_id) + self._rows(_pending_for(target_id), nominated), strangers
