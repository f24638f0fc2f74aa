"""What the ledger knows of all accounts at once, for the report: few queries, however many they are."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Container, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from attrs import define, field, frozen

from alimail_core.ledger.rows import to_date
from alimail_core.ledger.schema import State, account, batch, folder, message, note, problem
from alimail_core.model import FolderPath

if TYPE_CHECKING:
    from alimail_core.ledger.ledger import Ledger

POINTS = 240
"""Points in time that the progress is told at, at most."""


@frozen
class NamedProblem:
    """A problem as a person can look it up: the folder by its path, the message by its key at the source."""

    kind: str
    folder: FolderPath
    key: str
    size: int | None
    date: datetime | None
    message_id: str
    """The message's Message-ID, of what was refused; it may be empty. No subject is kept."""
    reason: str
    """In the server's own words, where it was a server that said so."""
    remedy: str
    first: datetime
    last: datetime


@frozen
class PlacedFolder:
    """A folder of the source, where it goes, and the rule that decided."""

    source: FolderPath
    target: FolderPath
    rule: str


@define
class Balance:
    """What became of each message that the source has, as of its last listing; together they are ``messages``."""

    messages: int = 0
    there: int = 0
    """Stand in the target."""
    removed: int = 0
    """Were there, and were moved or removed by the target's user."""
    merged: int = 0
    """The target keeps each of them and an identical one as one message."""
    collapsed: int = 0
    """Not copied by wish, because an identical message of the folder was."""
    left_out: int = 0
    """Not copied by wish: the filter, or a trial."""
    refused: int = 0
    """In quarantine: the target will not take them."""
    unreadable: int = 0
    """The source did not give them; tried again in the next pass."""
    pending: int = 0
    """Known, and not carried yet."""


@define
class AccountFacts:
    """What the ledger knows of one account. Counts of messages, but for what is told in octets."""

    balance: Balance = field(factory=Balance)
    source_octets: int = 0
    """Of ``balance.messages``, as the source lists them."""
    target_messages: int = 0
    """Ours that stand in the target, also those whose message has left the source since."""
    target_octets: int = 0
    """Of those, as the target lists them."""
    altered: int = 0
    """Stored by the target otherwise than they were sent, as a full proof has found."""
    mended: int = 0
    """Sent with the least change that made the target take them."""
    seconds: float | None = None
    """From the begin of each pass that wrote to its last settled batch; ``None``: not known."""
    changed: float | None = 0.0
    """When a pass last added messages to the target or took some away, in seconds since 1970; ``None``: not known."""
    folders: list[PlacedFolder] = field(factory=list)
    problems: list[NamedProblem] = field(factory=list)
    notes: list[tuple[str, int]] = field(factory=list)

    @property
    def renamed(self) -> Iterator[PlacedFolder]:
        """Give the folders whose path in the target is another one."""
        return (placed for placed in self.folders if placed.source != placed.target)


@frozen
class Point:
    """How far the whole migration had come at one moment: messages and octets that it had sent until then."""

    at: datetime
    messages: int
    octets: int


def facts(ledger: Ledger) -> dict[int, AccountFacts]:
    """Return what is known of each account, by its id."""
    told: dict[int, AccountFacts] = defaultdict(AccountFacts)
    with ledger.reading() as connection:
        for row in connection.execute(sa.select(account.c.id, account.c.seconds, account.c.changed)):
            told[row.id].seconds, told[row.id].changed = row.seconds, row.changed
        owners = {}
        for row in connection.execute(_folders()):
            owners[row.id] = row.account_id
            if row.target_path is not None:
                placed = PlacedFolder(_path(row.path), _path(row.target_path), row.rule)
                told[row.account_id].folders.append(placed)
        for row in connection.execute(_messages()):
            _add(told[owners[row.folder_id]], row)
        for row in connection.execute(_problems()):
            told[row.account_id].problems.append(_named(row))
        for row in connection.execute(sa.select(note).order_by(note.c.id)):
            told[row.account_id].notes.append((str(row.text), int(row._mapping["count"])))
    return told


def progress(ledger: Ledger, account_ids: Container[int]) -> list[Point]:
    """Tell how far these accounts had come at ``POINTS`` moments at most, from the first batch sent to the last.

    What stood in the target before anything was sent has no moment, and is not among them.
    """
    counts = sa.select(
        batch.c.account_id,
        batch.c.intended,
        sa.func.count().label("messages"),
        sa.func.coalesce(sa.func.sum(message.c.size), 0).label("octets"),
    )
    sent = counts.join(message, message.c.batch_id == batch.c.id).where(
        message.c.state.in_((State.STORED, State.MOVING, State.MERGED))
    )
    with ledger.reading() as connection:
        rows = [
            (float(row.intended), int(row.messages), int(row.octets))
            for row in connection.execute(sent.group_by(batch.c.id).order_by(batch.c.intended))
            if row.account_id in account_ids
        ]
    return list(_points(rows))


def _points(rows: list[tuple[float, int, int]]) -> Iterator[Point]:
    """Sum up, and tell only where the next moment that is told is some way off."""
    step = (rows[-1][0] - rows[0][0]) / POINTS if rows else 0.0
    messages = octets = 0
    for index, (at, more_messages, more_octets) in enumerate(rows):
        messages, octets = messages + more_messages, octets + more_octets
        following = rows[index + 1][0] if index + 1 < len(rows) else None
        if following is None or (following - rows[0][0]) // (step or 1.0) > (at - rows[0][0]) // (
            step or 1.0
        ):
            yield Point(datetime.fromtimestamp(at, UTC), messages, octets)


def _folders() -> sa.Select[Any]:
    target = folder.alias()
    return (
        sa.select(
            folder.c.id, folder.c.account_id, folder.c.path, folder.c.rule, target.c.path.label("target_path")
        )
        .select_from(folder.outerjoin(target, target.c.id == folder.c.target_id))
        .where(folder.c.side == "source")
        .order_by(folder.c.id)
    )


def _messages() -> sa.Select[Any]:
    c = message.c
    kinds = (c.folder_id, c.state, c.gone, c.target_gone)
    return sa.select(
        *kinds,
        sa.func.count().label("messages"),
        sa.func.coalesce(sa.func.sum(c.size), 0).label("octets"),
        sa.func.coalesce(sa.func.sum(sa.func.coalesce(c.target_size, c.size)), 0).label("target_octets"),
        sa.func.count(c.stored_digest).label("altered"),
        sa.func.count(c.sent_digest).label("mended"),
    ).group_by(*kinds)


_FATES = {
    State.STORED: "there",
    State.MOVING: "there",
    State.MERGED: "merged",
    State.COLLAPSED: "collapsed",
    State.LEFT_OUT: "left_out",
    State.REFUSED: "refused",
    State.UNREADABLE: "unreadable",
}


def _add(told: AccountFacts, row: Any) -> None:
    """Add the messages of one folder that share state, and presence on both sides."""
    fate = _FATES.get(row.state, "pending")
    if fate == "there" and row.target_gone:
        fate = "removed"
    if not row.gone:
        told.balance.messages += row.messages
        told.source_octets += int(row.octets)
        setattr(told.balance, fate, getattr(told.balance, fate) + row.messages)
    if fate == "there":
        told.target_messages += row.messages
        told.target_octets += int(row.target_octets)
        told.altered += row.altered
        told.mended += row.mended


def _problems() -> sa.Select[Any]:
    p, f, m = problem.c, folder.c, message.c
    words = (p.reason, p.remedy, p.identifier, p.first, p.last)
    return (
        sa.select(p.account_id, p.kind, f.path, m.key, m.size, m.date, m.zone, *words)
        .select_from(
            problem.outerjoin(message, m.id == p.message_id).outerjoin(
                folder, f.id == sa.func.coalesce(m.folder_id, p.folder_id)
            )
        )
        .order_by(p.id)
    )


def _named(row: Any) -> NamedProblem:
    return NamedProblem(
        row.kind,
        _path(row.path) if row.path else (),
        row.key or "",
        row.size,
        to_date(row.date, row.zone),
        row.identifier,
        row.reason,
        row.remedy,
        datetime.fromtimestamp(row.first, UTC),
        datetime.fromtimestamp(row.last, UTC),
    )


def _path(text: str) -> FolderPath:
    return tuple(json.loads(text))
