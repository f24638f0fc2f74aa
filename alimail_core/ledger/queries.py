"""What the ledger says of one account: what a pass, a plan or a proof asks of it; for matching, see ``claimants``."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa

from alimail_core.ledger.rows import BatchRow, FolderRow, Row
from alimail_core.ledger.schema import (
    RESTLESS,
    Origin,
    State,
    account,
    batch,
    folder,
    message,
    note,
    problem,
    stranger,
)
from alimail_core.model import FolderPath, SpecialUse

if TYPE_CHECKING:
    from alimail_core.ledger.ledger import Ledger

_T = TypeVar("_T")

_CHUNK = 1_000
"""Keys in one statement: below every database's limit on parameters."""

IN_TARGET = (State.STORED, State.MOVING)

STANDS = sa.and_(message.c.state == State.STORED, message.c.target_gone == 0)
"""The target has it, as far as we know; where it has no key yet, looking there will tell."""

_DEPARTED = (
    sa.and_(message.c.gone != 0, RESTLESS),
    sa.and_(message.c.gone != 0, message.c.state.in_((State.MOVING, State.SENT, State.REFUSED))),
)
"""It left the source, and what became of it is known or will be: the one or the other, each from its own index."""

IS_BEING_UNDONE = sa.and_(message.c.state == State.PENDING, message.c.target_key.is_not(None))
"""An undo has asked for the removal of its copy, and was cut off before it knew how that ended."""

_OPEN = message.c.state.in_((State.PENDING, State.SENT, State.MOVING))


FOLDER_COLUMNS = [
    folder.c[name] for name in ("id", "path", "special_use", "epoch", "cursor", "target_id", "rule")
]
_FOLDERS = (
    sa.select(*FOLDER_COLUMNS)
    .where(folder.c.account_id == sa.bindparam("_id"), folder.c.side == sa.bindparam("_side"))
    .order_by(folder.c.id)
)
_PLACED_BY = sa.select(account.c.placed_by).where(account.c.id == sa.bindparam("_id"))
_ENABLED = sa.select(account.c.enabled).where(account.c.id == sa.bindparam("_id"))

# Asked before every batch, and to build a statement takes longer than to run it.
_WRITTEN = sa.select(sa.func.sum(account.c.octets))
_UNDER_WAY = sa.select(account.c.id).where(account.c.owner != "", account.c.id != sa.bindparam("_id"))
_SENT_BY_OTHERS = sa.select(sa.func.sum(message.c.size)).where(
    message.c.state == State.SENT,
    message.c.folder_id.in_(
        sa.select(folder.c.id).where(folder.c.account_id.in_(_UNDER_WAY), folder.c.side == "source")
    ),
)

_ROW = [message.c[name] for name in Row.__slots__ if name != "__weakref__"]


def chunks(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Cut many keys or rows into what one statement can take."""
    for start in range(0, len(items), _CHUNK):
        yield items[start : start + _CHUNK]


def execute_many(connection: sa.Connection, statement: sa.UpdateBase, rows: Sequence[dict[str, Any]]) -> None:
    """Run a statement for many rows, all of the same columns (two at least), by the driver itself.

    What SQLAlchemy does for each row costs more than the row costs the database. A statement that is kept, and not
    built for the call, is written once for each set of columns.
    """
    written, in_order = _compiled(statement, connection.dialect, tuple(rows[0]))
    connection.exec_driver_sql(written, rows if in_order is None else list(map(in_order, rows)))


@lru_cache(maxsize=128)
def _compiled(
    statement: sa.UpdateBase, dialect: sa.Dialect, columns: tuple[str, ...]
) -> tuple[str, itemgetter[Any] | None]:
    """Write a statement for a driver; where it takes values by their places, tell how a row gives them."""
    compiled = statement.compile(dialect=dialect, column_keys=list(columns))
    return str(compiled), itemgetter(*(compiled.positiontup or ())) if compiled.positional else None


@lru_cache(maxsize=1_000)
def _path(text: str) -> FolderPath:
    """Read a folder's path; those of thousands of accounts are much alike."""
    return tuple(json.loads(text))


def folder_rows(found: Sequence[Any]) -> list[FolderRow]:
    """Make folders of rows that begin with ``FOLDER_COLUMNS``."""
    cursors = json.loads(f"[{','.join(row.cursor or 'null' for row in found)}]")  # together, which is quicker
    return [
        FolderRow(row_id, _path(path), SpecialUse(use) if use else None, epoch, cursor, target_id, rule)
        for (row_id, path, use, epoch, _, target_id, rule, *_), cursor in zip(found, cursors, strict=True)
    ]


def _in_order(rows: Iterable[Row]) -> list[Row]:
    return sorted(rows, key=attrgetter("id"))


def content_of(columns: Any) -> sa.ColumnElement[bytes]:
    """Return the digest that messages share which differ in nothing but line ends."""
    return sa.func.coalesce(columns.canonical, columns.digest)


def stands_somewhere(columns: Any) -> sa.ColumnElement[bool]:
    """Return what lets a message stand for its twin: its source or its target has it still."""
    return sa.or_(columns.gone == 0, columns.target_gone == 0)


class Queries:
    """See the module. Used by the pass's own thread and its reader; a lock keeps them apart."""

    def __init__(self, ledger: Ledger, account_id: int) -> None:
        self.account_id = account_id
        self._ledger = ledger
        self._lock = threading.RLock()
        self._connection = ledger.engine.connect()

    def close(self) -> None:
        """Give the connection back. Idempotent."""
        with self._lock:
            self._connection.close()

    @property
    def now(self) -> float:
        """The ledger's clock in seconds since 1970."""
        return self._ledger.clock.now().timestamp()

    def _read(self, query: sa.Executable, values: Mapping[str, Any] | None = None) -> list[Any]:
        return self._take(query, values, list)

    def _take(
        self, query: sa.Executable, values: Mapping[str, Any] | None, into: Callable[[Iterable[Any]], _T]
    ) -> _T:
        with self._lock, self._ledger.told_plainly():
            if self._connection.in_transaction():
                return into(self._connection.execute(query, values))
            self._connection.execution_options(alimail_reading=True)
            try:
                return into(self._connection.execute(query, values))
            finally:
                self._connection.rollback()  # the read's own transaction, which SQLAlchemy began by itself
                self._connection.execution_options(alimail_reading=False)

    def _rows(
        self, *where: sa.ColumnElement[bool], order: Any = message.c.id, limit: int | None = None
    ) -> list[Row]:
        query = sa.select(*_ROW).where(*where).order_by(order).limit(limit)
        return [Row(*row) for row in self._read(query)]

    def _restless(self, *where: sa.ColumnElement[bool]) -> list[Row]:
        """List what a pass may have something to do with, of what is stored."""
        return self._rows(self._here, RESTLESS, *where)

    # the account

    def enabled(self) -> bool:
        """Tell whether the account may go on."""
        return bool(self._read(_ENABLED, {"_id": self.account_id})[0][0])

    def placed_by(self) -> str:
        """Return the words for the folder policy of the last pass that paired folders; empty: there was none."""
        return str(self._read(_PLACED_BY, {"_id": self.account_id})[0][0])

    def endpoints(self) -> tuple[str, str]:
        """Return the servers that the last pass worked with, as it named them: source and target."""
        query = sa.select(account.c.source_endpoint, account.c.target_endpoint)
        row = self._read(query.where(account.c.id == self.account_id))[0]
        return str(row[0]), str(row[1])

    def noted(self, text: str) -> bool:
        """Tell whether this was noted of the account before."""
        query = sa.select(note.c.id).where(note.c.account_id == self.account_id, note.c.text == text)
        return bool(self._read(query.limit(1)))

    def open_problems(self) -> int:
        """Count what the report names as not carried."""
        query = sa.select(sa.func.count()).where(problem.c.account_id == self.account_id)
        return int(self._read(query)[0][0])

    def progress(self) -> tuple[int, ...]:
        """Measure how far the account has come: two equal answers mean that nothing was achieved between them."""
        messages = sa.select(sa.func.count()).select_from(message).where(self._here)
        cursors = sa.select(sa.func.count(folder.c.cursor)).where(folder.c.account_id == self.account_id)
        return tuple(int(self._read(each)[0][0]) for each in (messages, messages.where(_OPEN), cursors))

    def total_octets(self) -> int:
        """Return the octets that the whole migration has written, and those on their way from other accounts."""
        mine = {"_id": self.account_id}
        return sum(int(self._read(each, mine)[0][0] or 0) for each in (_WRITTEN, _SENT_BY_OTHERS))

    @property
    def _here(self) -> sa.ColumnElement[bool]:
        """What holds of this account's messages, and of no other's."""
        return message.c.folder_id.in_(self._mine("source"))

    def _mine(self, side: str) -> sa.Select[Any]:
        return sa.select(folder.c.id).where(folder.c.account_id == self.account_id, folder.c.side == side)

    # folders

    def folders(self, side: str) -> list[FolderRow]:
        """List the folders of a side in order of their making."""
        return folder_rows(self._read(_FOLDERS, {"_id": self.account_id, "_side": side}))

    # messages, by where they stand

    def rows(
        self, *, target_id: int | None = None, folder_id: int | None = None, states: Sequence[State] = ()
    ) -> list[Row]:
        """List an account's messages, narrowed to a target folder, a source folder, some states."""
        where: list[sa.ColumnElement[bool]] = [self._here]
        if target_id is not None:
            where.append(message.c.target_id == target_id)
        if folder_id is not None:
            where.append(message.c.folder_id == folder_id)
        if states:
            where.append(message.c.state.in_(states))
        return self._rows(*where)

    def page(self, folder_id: int, after: int, *, states: Sequence[State] = ()) -> list[Row]:
        """Return a source folder's next messages by id, to walk through many without holding them all."""
        c = message.c
        narrowed = [c.state.in_(states)] if states else []
        return self._rows(c.folder_id == folder_id, c.id > after, *narrowed, limit=_CHUNK)

    def walk(self, folder_id: int, states: Sequence[State]) -> Iterator[Row]:
        """Give a source folder's messages in these states by id; their states may change meanwhile."""
        after = 0
        while rows := self.page(folder_id, after, states=states):
            after = rows[-1].id
            yield from rows

    def by_keys(self, folder_id: int, keys: Sequence[str]) -> dict[str, Row]:
        """Return those messages of a source folder that have one of these keys, by key."""
        c = message.c
        rows = [
            row for chunk in chunks(keys) for row in self._rows(c.folder_id == folder_id, c.key.in_(chunk))
        ]
        return {row.key: row for row in rows if row.key is not None}

    def by_ids(self, row_ids: Sequence[int]) -> list[Row]:
        """Return messages as they are on record now, by id."""
        return _in_order(row for part in chunks(row_ids) for row in self._rows(message.c.id.in_(part)))

    def misplaced(self) -> list[Row]:
        """List our own copies that stand in another folder than where their messages' folder goes."""
        c, f = message.c, folder.c
        mine = sa.and_(f.account_id == self.account_id, f.side == "source", c.folder_id == f.id)
        seen = sa.and_(c.target_key.is_not(None), c.target_size.is_not(None))
        ours = sa.and_(c.gone == 0, c.origin.in_((Origin.APPENDED, Origin.FOUND)))
        # An index serves "before" and "behind", and not "other".
        others = (c.target_id < f.target_id, c.target_id > f.target_id)
        return _in_order(row for other in others for row in self._rows(mine, STANDS, seen, ours, other))

    def by_target_keys(self, target_id: int, keys: Sequence[str]) -> dict[str, list[Row]]:
        """Return what claims these entries of a target folder, by key; of two claims the earlier comes first."""
        c = message.c
        found: dict[str, list[Row]] = {}
        for chunk in chunks(keys):
            for row in self._rows(c.target_id == target_id, c.target_key.in_(chunk), c.state.in_(IN_TARGET)):
                found.setdefault(row.target_key or "", []).append(row)
        return found

    def count_all(self, state: State) -> int:
        """Count the account's messages that the source has and that stand in a state."""
        query = sa.select(sa.func.count()).where(self._here, message.c.state == state, message.c.gone == 0)
        return int(self._read(query)[0][0])

    def pending(self) -> dict[int, tuple[int, int]]:
        """Return messages and octets that still must travel, by source folder."""
        c = message.c
        query = sa.select(c.folder_id, sa.func.count(), sa.func.coalesce(sa.func.sum(c.size), 0))
        rows = self._read(query.where(self._here, c.state == State.PENDING).group_by(c.folder_id))
        return {int(row[0]): (int(row[1]), int(row[2])) for row in rows}

    def pending_page(self, folder_id: int, after: Row | None, limit: int, recent: int | None) -> list[Row]:
        """Return the next rows to send: those dated since ``recent`` first, each part in ascending order.

        ``recent`` of ``None`` keeps the source's order throughout (by id, which is the order of listing).
        """
        c = message.c
        here = sa.and_(c.folder_id == folder_id, c.state == State.PENDING)
        if recent is None:
            return self._rows(here, *([c.id > after.id] if after else []), limit=limit)
        new = c.date >= recent
        old = sa.or_(c.date < recent, c.date.is_(None))
        rows: list[Row] = []
        if after is None or (after.date is not None and after.date >= recent):
            rows = self._rows(here, new, *([c.id > after.id] if after else []), limit=limit)
            after = None
        # Rows that another part of the same page left room for.
        if len(rows) < limit:
            rows += self._rows(here, old, *([c.id > after.id] if after else []), limit=limit - len(rows))
        return rows

    def unsettled(self) -> set[int]:
        """Return the source folders whose cursor must not be stored yet."""
        query = sa.select(message.c.folder_id).where(self._here, _OPEN).distinct()
        return {int(row[0]) for row in self._read(query)}

    # what may stand in the target

    def never_seen(self, since: float) -> list[Row]:
        """List what targets have said since then that they stored, that no look there showed, nor was named."""
        c = message.c
        sent = sa.exists().where(batch.c.id == c.batch_id, batch.c.intended >= since)
        named = sa.select(problem.c.message_id).where(
            problem.c.account_id == self.account_id, problem.c.kind == "lost"
        )
        return self._restless(c.target_gone == 1, c.target_size.is_(None), sent, c.id.not_in(named))

    def unfinished(self) -> set[int]:
        """Return the target folders in which something waits to be found by looking there."""
        c = message.c
        # Without a witness a key proves nothing: its folder may have been made again since.
        unknown = sa.or_(c.target_key.is_(None), c.target_size.is_(None))
        unseen = sa.and_(RESTLESS, c.target_gone == 0, unknown)
        query = sa.select(c.target_id, c.moving_to).where(self._here).distinct()
        waiting = (unseen, c.state.in_((State.SENT, State.MOVING)))
        rows = [row for each in waiting for row in self._read(query.where(each))]
        return {int(folder_id) for row in rows for folder_id in row if folder_id is not None}

    def has_twin(self, target_id: int, digest: bytes, but: int) -> bool:
        """Tell whether another message with this digest was sent to, or is stored in, a target folder."""
        c = message.c
        states = c.state.in_((State.SENT, State.STORED, State.MOVING))
        query = (
            sa.select(c.id)
            .where(c.target_id == target_id, states, c.digest == digest, c.id != but, stands_somewhere(c))
            .limit(1)
        )
        return bool(self._read(query))

    def merged(self, target_ids: Sequence[int]) -> list[Row]:
        """List messages whose key in one of these target folders is an earlier message's as well."""
        c, twin = message.c, message.alias()
        same = (twin.c.target_id == c.target_id, twin.c.target_key == c.target_key)
        rows: list[Row] = []
        for part in chunks(target_ids):
            # Said of both: PostgreSQL would read every account's messages for the twin else.
            earlier = sa.select(twin.c.id).where(*same, twin.c.target_id.in_(part), twin.c.id < c.id)
            rows += self._rows(c.target_id.in_(part), c.target_key.is_not(None), earlier.exists())
        return rows

    def doubled(self) -> list[Row]:
        """List messages that are told to stand twice in the target."""
        told = sa.select(problem.c.message_id).where(
            problem.c.account_id == self.account_id, problem.c.kind == "extra"
        )
        return self._rows(message.c.id.in_(told))

    def still_doubled(self) -> set[int]:
        """Return those of ``doubled`` that stand in the target beside a stranger with the same header, or size."""
        c, s, told = message.c, stranger.c, [row.id for row in self.doubled()]
        unread = sa.and_(s.fingerprint.is_(None), s.size == c.target_size)
        alike = sa.or_(s.fingerprint == c.fingerprint, unread)
        beside = sa.select(s.id).where(s.folder_id == c.target_id, alike)
        return {row.id for row in self._rows(c.id.in_(told), STANDS, beside.exists())}

    def redated(self, target_ids: Sequence[int]) -> int:
        """Count our messages to which these target folders gave another internal date than they were sent with."""
        c = message.c
        ours = (c.origin.in_((Origin.APPENDED, Origin.FOUND)), c.date.is_not(None))
        query = sa.select(sa.func.count()).where(*ours, c.target_date != c.date)
        return sum(int(self._read(query.where(c.target_id.in_(part)))[0][0]) for part in chunks(target_ids))

    def is_being_undone(self) -> bool:
        """Tell whether an undo was cut off, so that the target may still be removing something."""
        return bool(self._read(sa.select(message.c.id).where(self._here, IS_BEING_UNDONE).limit(1)))

    # doubts

    def resent(self, target_id: int | None = None) -> list[Row]:
        """List what was sent again after a doubt and is stored, so that a second copy may yet turn up."""
        c = message.c
        where = [c.doubts > 0, *([] if target_id is None else [c.target_id == target_id])]
        return self._restless(*where)

    def left_by_copies(self, values: Iterable[bytes]) -> set[bytes]:
        """Pick those fingerprints of which a copy is gone from its place: it may stand anywhere else there now."""
        c = message.c
        gone = sa.and_(self._here, c.state == State.STORED, c.target_gone == 1)
        query = sa.select(c.fingerprint).distinct().where(gone)
        parts = chunks(sorted(values))
        return {row.fingerprint for part in parts for row in self._read(query.where(c.fingerprint.in_(part)))}

    def standing(self, values: Iterable[bytes]) -> list[Row]:
        """List what has one of these fingerprints, and a copy that stands as far as is known."""
        c = message.c
        parts = chunks(sorted(values))
        return [row for part in parts for row in self._rows(self._here, STANDS, c.fingerprint.in_(part))]

    def batches_of(self, rows: Iterable[Row]) -> dict[int | None, BatchRow]:
        """Return the batches in which these messages were sent last, by id."""
        columns = (batch.c.id, batch.c.intended, batch.c.ended, batch.c.over)
        ids = sorted({row.batch_id for row in rows if row.batch_id is not None})
        found = [
            row for part in chunks(ids) for row in self._read(sa.select(*columns).where(columns[0].in_(part)))
        ]
        return {row.id: BatchRow(row.intended, row.ended, bool(row.over)) for row in found}

    # what people did at the source

    def flag_changes(self) -> list[Row]:
        """List stored messages whose flags at the source are not those that the target was given."""
        c = message.c
        return self._restless(
            c.target_gone == 0,
            c.gone == 0,
            c.target_key.is_not(None),
            c.carried.is_not(None),
            c.carried != c.flags,
        )

    def gone_rows(self) -> list[Row]:
        """List messages that the target has and the source has no more.

        But for what stands for a twin there, and what may be a message that the source does not give just now.
        """
        c, twin = message.c, message.alias()
        into = sa.select(folder.c.id).where(folder.c.target_id == c.target_id, folder.c.side == "source")
        into = into.correlate(message)  # over two levels SQLAlchemy does not see it by itself
        stood_for = sa.select(twin.c.id).where(
            twin.c.folder_id.in_(into),
            twin.c.state.in_((State.COLLAPSED, State.MERGED)),
            twin.c.gone == 0,
            content_of(twin.c) == content_of(c),
        )
        return self._restless(c.gone != 0, c.target_gone == 0, ~stood_for.exists(), ~self._may_be_unread())

    def _may_be_unread(self) -> sa.ColumnElement[bool]:
        """Return what holds of a message that may be one which the source has and does not give just now."""
        c, unread = message.c, message.alias()
        query = sa.select(unread.c.id).where(
            unread.c.folder_id.in_(self._mine("source")),
            unread.c.state == State.UNREADABLE,
            unread.c.gone == 0,
            sa.or_(unread.c.size == c.size, unread.c.size.is_(None), c.size.is_(None)),
        )
        return query.exists()

    def gone_sizes(self) -> set[int | None]:
        """Return the sizes of what the source has no more, to tell moves from new messages cheaply.

        ``None`` among them: the size of something is not known.
        """
        query = sa.select(message.c.size).distinct().where(self._here)
        return {row.size for departed in _DEPARTED for row in self._read(query.where(departed))}

    def departed(self, sizes: set[int | None]) -> list[Row]:
        """List what left the source and may have one of these sizes, whatever became of it since."""
        return _in_order(row for departed in _DEPARTED for row in self._of_sizes(sizes, departed))

    def arrived(self, sizes: set[int | None]) -> list[Row]:
        """List pending messages that may have one of these sizes and never stood in the target.

        What is sent again, by wish or because it was refused, has not arrived at the source now.
        """
        c = message.c
        return self._of_sizes(sizes, sa.and_(c.state == State.PENDING, c.target_id.is_(None)))

    def _of_sizes(self, sizes: set[int | None], where: sa.ColumnElement[bool]) -> list[Row]:
        known = [size for size in sizes if size is not None]
        if len(known) < len(sizes):
            return self._rows(self._here, where)
        unknown = self._rows(self._here, where, message.c.size.is_(None))
        parts = chunks(sorted(known))
        return unknown + [
            row for part in parts for row in self._rows(self._here, where, message.c.size.in_(part))
        ]
