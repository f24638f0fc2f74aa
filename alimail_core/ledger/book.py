"""One account's part of the ledger, to be written: every change that a pass makes, each a short transaction.

A book that was opened under a lease writes its fence with every transaction; once another process has taken the
account over, the next transaction raises ``LeaseLost`` and changes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from alimail_core.errors import LeaseLost
from alimail_core.ledger.claimants import Claimants
from alimail_core.ledger.ids import Standing
from alimail_core.ledger.queries import (
    IN_TARGET,
    IS_BEING_UNDONE,
    chunks,
    content_of,
    execute_many,
    stands_somewhere,
)
from alimail_core.ledger.rows import Row, StrangerRow, contradicts, from_date, join_flags
from alimail_core.ledger.schema import (
    RESTLESS,
    State,
    account,
    batch,
    folder,
    message,
    note,
    problem,
    stranger,
)
from alimail_core.model import Cursor, Entry, FolderPath, SpecialUse

if TYPE_CHECKING:
    from alimail_core.ledger.ledger import Ledger


# Written once, because they run with every transaction and every batch, and to build a statement takes longer.
_MINE = account.c.id == sa.bindparam("_id")
_HOLD = (
    account.update()
    .where(_MINE, account.c.fence == sa.bindparam("_fence"))
    .values(heartbeat=sa.bindparam("_now"))
)
_TOUCH = account.update().where(_MINE).values(changed=sa.bindparam("_now"))
_COUNT = (
    account.update()
    .where(_MINE)
    .values(
        octets=account.c.octets + sa.bindparam("_octets"),
        seconds=account.c.seconds + sa.bindparam("_seconds"),
    )
)
_FOLDER: sa.BindParameter[int] = sa.bindparam("_folder")
_KEYS: sa.BindParameter[str] = sa.bindparam("_keys", type_=sa.Text, expanding=True)
_KNOWN = sa.select(
    *(message.c[name] for name in ("id", "key", "size", "date", "flags", "gone", "state"))
).where(message.c.folder_id == _FOLDER, message.c.key.in_(_KEYS))
_OURS = sa.select(
    *(message.c[name] for name in ("id", "target_key", "target_size", "target_date", "target_gone"))
).where(message.c.target_id == _FOLDER, message.c.target_key.in_(_KEYS))
_STRANGERS = sa.select(*(stranger.c[name] for name in ("id", "key", "size", "date"))).where(
    stranger.c.folder_id == _FOLDER, stranger.c.key.in_(_KEYS)
)
_STILL_THERE = sa.select(message.c.id).where(message.c.folder_id == _FOLDER, message.c.gone == 0)
_STILL_IN_TARGET = sa.select(message.c.id).where(
    message.c.target_id == _FOLDER,
    message.c.target_key.is_not(None),
    message.c.target_gone == 0,
    message.c.state.in_(IN_TARGET),
)
_STILL_STRANGERS = sa.select(stranger.c.id).where(stranger.c.folder_id == _FOLDER)
_OLD_STRANGERS = stranger.delete().where(stranger.c.folder_id == _FOLDER)
_NEW_EPOCH = folder.update().where(folder.c.id == _FOLDER).values(epoch=sa.bindparam("_epoch"), cursor=None)
_NEW_BATCH = batch.insert()
_NEW_MESSAGE = message.insert()
_CHANGE = message.update().where(message.c.id == sa.bindparam("_id"))
_NEW_STRANGER = stranger.insert()
_DESCRIBE = stranger.update().where(stranger.c.id == sa.bindparam("_id"))
_SAVE_CURSOR = (
    folder.update().where(folder.c.id == sa.bindparam("_id")).values(cursor=sa.bindparam("_cursor"))
)
_WISHES = sa.select(account.c.stop_fence, account.c.enabled).where(_MINE)

_NAMED_FOLDER = sa.select(folder.c.id).where(
    folder.c.account_id == sa.bindparam("_account_id"),
    folder.c.side == sa.bindparam("_side"),
    folder.c.path == sa.bindparam("_path"),
)
_NEW_FOLDER = folder.insert()
_CHANGE_FOLDER = folder.update().where(folder.c.id == _FOLDER)

_LEFT = sa.func.coalesce(sa.func.nullif(message.c.gone, 0), 1)
"""``gone`` of what has left the source, now or before."""

_UNSENT = (State.PENDING, State.UNREADABLE, State.LEFT_OUT)
"""What has vanished once it is gone; what was sent stays, for it may stand in the target."""

_CONSIDERED_ANEW = (State.VANISHED, State.LEFT_OUT)
"""What is pending again where a listing tells something new of it."""


def _forgotten(where: sa.ColumnElement[bool]) -> sa.Update:
    """Return what takes the keys of messages from them: they mean nothing at the source any more."""
    return message.update().where(where).values(key=None, gone=_LEFT)


def _vanished(where: sa.ColumnElement[bool]) -> sa.Update:
    """Return what lets vanish which of these messages are gone and were never sent."""
    return (
        message.update()
        .where(where, message.c.state.in_(_UNSENT), message.c.gone != 0)
        .values(state=State.VANISHED)
    )


def _forgotten_in_target(where: sa.ColumnElement[bool]) -> tuple[sa.Update, sa.Update]:
    """Return what takes from messages what they are called in the target.

    A move that was under way is void: its message is looked for where it was, like all others.
    """
    moving = sa.and_(where, message.c.state == State.MOVING)
    values = {"target_key": None, "target_size": None, "target_date": None, "target_gone": 0}
    return (
        message.update().where(moving).values(state=State.STORED, moving_to=None),
        message.update().where(where).values(values),
    )


_FORGET_KEYS = (
    _forgotten(message.c.folder_id == _FOLDER),
    _vanished(message.c.folder_id == _FOLDER),
    # What could not be read in this very pass was perhaps asked for by a key that meant nothing any more.
    problem.delete().where(problem.c.folder_id == _FOLDER, problem.c.kind == "unreadable"),
)
_FORGET_TARGET_KEYS = (*_forgotten_in_target(message.c.target_id == _FOLDER), _OLD_STRANGERS)


class Book(Claimants):
    """Everything that a pass asks and changes. See the module."""

    def __init__(self, ledger: Ledger, account_id: int, fence: int | None) -> None:
        super().__init__(ledger, account_id)
        self._fence = fence
        self._counted_at: float | None = None
        self._sqlite = self._connection.dialect.name == "sqlite"

    @contextmanager
    def write(self, *, sync: bool = False) -> Iterator[sa.Connection]:
        """One transaction under the fence. ``sync``: it is on the disk, with all before it, when this returns.

        Inside another one of the same thread it is a part of that, which then says whether it is synced.
        """
        with self._lock, self._ledger.told_plainly():
            if self._connection.in_transaction():
                assert not sync, "the outer transaction decides when it is on the disk"
                yield self._connection
                return
            if self._sqlite:
                self._ledger.set_sync(self._connection, sync)
            with self._connection.begin():
                if not self._sqlite:
                    self._ledger.set_sync(self._connection, sync)
                self._hold_fence()
                yield self._connection
            if sync:
                self._ledger.on_sync()

    def _hold_fence(self) -> None:
        mine = {"_id": self.account_id, "_fence": self._fence, "_now": self.now}
        done = self._connection.execute(_HOLD, mine)
        if done.rowcount != 1:
            raise LeaseLost("another process has taken the account over", remedy="It goes on there.")

    # the account

    def wishes(self) -> tuple[bool, bool]:
        """Tell whether somebody who cannot reach this process asks its pass to stop, and whether it is enabled."""
        stop_fence, enabled = self._read(_WISHES, {"_id": self.account_id})[0]
        return stop_fence == self._fence, bool(enabled)

    def begin_pass(self, source_endpoint: str, target_endpoint: str, left_out_by: str = "") -> int:
        """Note that a pass begins; return its number. What could not be read last time is pending again.

        So is what was left out, where ``left_out_by``, the words for what is left out, are others than last time.
        """
        with self.write() as connection:
            mine = account.c.id == self.account_id
            before = connection.execute(sa.select(account).where(mine)).one()
            number = int(before.passes) + 1
            self._counted_at = self.now
            if before.source_endpoint not in ("", source_endpoint):
                self._forget_side(connection, "source")
            if before.target_endpoint not in ("", target_endpoint):
                for each in _forgotten_in_target(self._here):
                    connection.execute(each)
                theirs = stranger.c.folder_id.in_(self._mine("target"))
                connection.execute(stranger.delete().where(theirs))
                self._forget_side(connection, "target")
            connection.execute(
                account.update()
                .where(mine)
                .values(
                    passes=number,
                    state="running",
                    reason="",
                    remedy="",
                    started=self.now,
                    ended=None,
                    source_endpoint=source_endpoint,
                    target_endpoint=target_endpoint,
                    left_out_by=left_out_by,
                )
            )
            states = [State.UNREADABLE, *([State.LEFT_OUT] if before.left_out_by != left_out_by else [])]
            again = message.c.state.in_(states) & self._here
            connection.execute(message.update().where(again).values(state=State.PENDING))
            ours = problem.c.account_id == self.account_id
            stale = problem.c.kind.in_(("unreadable", "folder", "merged"))
            # Each by its own message: no index tells these states, and the ledger has all accounts' messages.
            named = message.c.id == problem.c.message_id
            refused = sa.exists().where(named, message.c.state == State.REFUSED, message.c.gone == 0)
            lost = sa.exists().where(named, message.c.state == State.STORED, message.c.target_gone == 1)
            over = (problem.c.kind == "refused") & ~refused
            found = (problem.c.kind == "lost") & ~lost
            connection.execute(problem.delete().where(ours, stale | over | found))
            self.reconsider_twins(State.COLLAPSED, State.MERGED)
            # A batch that was never ended was cut off with its process: its connections died before now.
            never = (batch.c.account_id == self.account_id) & batch.c.ended.is_(None)
            connection.execute(batch.update().where(never).values(ended=self.now))
        return number

    def _forget_side(self, connection: sa.Connection, side: str) -> None:
        """Its server is another one now: every folder begins a new epoch when it is listed next."""
        where = (folder.c.account_id == self.account_id) & (folder.c.side == side)
        connection.execute(
            folder.update().where(where, folder.c.epoch.is_not(None)).values(epoch="", cursor=None)
        )

    def adopt_undone(self) -> None:
        """Let what an undo that was cut off has left in the target, if it did, be a stranger."""
        c, begun = message.c, sa.and_(self._here, IS_BEING_UNDONE)
        kept = sa.select(c.target_id, c.target_key, c.target_size, c.target_date).where(begun)
        columns = ["folder_id", "key", "size", "date"]
        lost = {"target_key": None, "target_size": None, "target_date": None, "carried": None}
        with self.write() as connection:
            connection.execute(stranger.insert().from_select(columns, kept))
            connection.execute(message.update().where(begun).values(lost))

    def reconsider_twins(self, *states: State) -> int:
        """What an identical copy stood for is pending again where that copy does so no more; return how many.

        A twin at the source is enough, for its user may have removed the copy in the target. What a duplicate that
        was left out (``COLLAPSED``) wants is what ``has_twin`` wants, else the two would never come to rest.
        """
        c, twin = message.c, message.alias()
        goes_to = sa.select(folder.c.target_id).where(folder.c.id == c.folder_id)
        comes_to = goes_to.correlate(message).scalar_subquery()
        stands = (twin.c.state.in_((State.SENT, State.STORED, State.MOVING)), stands_somewhere(twin.c))
        # No index has what differs in line ends alone: all that stands is read once, where something is merged.
        content = content_of(twin.c)
        mine = twin.c.folder_id.in_(self._mine("source"))
        standing = sa.select(twin.c.target_id, content).where(mine, *stands, content.is_not(None))
        alone = {
            State.COLLAPSED: ~sa.select(twin.c.id)
            .where(twin.c.target_id == comes_to, *stands, twin.c.digest == c.digest)
            .exists(),
            State.MERGED: sa.tuple_(comes_to, content_of(c)).not_in(standing),
        }
        again = 0
        with self.write() as connection:
            for state in states:
                left_out = sa.and_(self._here, c.state == state, c.gone == 0, alone[state])
                again += connection.execute(
                    message.update().where(left_out).values(state=State.PENDING)
                ).rowcount
        return again

    def end_pass(self, state: str, reason: str = "", remedy: str = "") -> None:
        """Note how the pass ended."""
        with self.write(sync=True) as connection:
            values = {"state": state, "reason": reason, "remedy": remedy, "ended": self.now}
            connection.execute(account.update().where(account.c.id == self.account_id).values(values))

    # folders

    def place_by(self, policy: str) -> None:
        """Note by which folder policy folders are paired now."""
        with self.write() as connection:
            mine = account.c.id == self.account_id
            connection.execute(account.update().where(mine).values(placed_by=policy))

    def put_folder(
        self,
        side: str,
        path: FolderPath,
        use: SpecialUse | None,
        target_id: int | None = None,
        rule: str = "",
    ) -> int:
        """Make a folder's row, or bring it up to date; return its id."""
        named = {
            "account_id": self.account_id,
            "side": side,
            "path": json.dumps(path, ensure_ascii=False),
        }
        values = {"special_use": use.value if use else "", "target_id": target_id, "rule": rule}
        with self.write() as connection:
            asked = {f"_{name}": value for name, value in named.items()}
            found = connection.execute(_NAMED_FOLDER, asked).scalar()
            if found is not None:
                connection.execute(_CHANGE_FOLDER, {"_folder": found, **values})
                return int(found)
            made = connection.execute(_NEW_FOLDER, named | values)
            assert made.inserted_primary_key is not None
            return int(made.inserted_primary_key[0])

    def save_cursors(self, cursors: Mapping[int, Cursor], *, sync: bool = True) -> None:
        """Store, by folder, how far its listing has come; everything before it is on the disk as well."""
        if cursors:
            told = [
                {"_id": folder_id, "_cursor": json.dumps(cursor)} for folder_id, cursor in cursors.items()
            ]
            with self.write(sync=sync) as connection:
                execute_many(connection, _SAVE_CURSOR, told)

    def forget_cursor(self, folder_id: int) -> None:
        """Have a folder listed as a whole next time."""
        with self.write() as connection:
            connection.execute(folder.update().where(folder.c.id == folder_id).values(cursor=None))

    # the source's listing

    def forget_keys(self, folder_id: int, epoch: str) -> None:
        """Begin a new epoch of a source folder: its keys mean nothing, and what it had is to be matched anew."""
        self._begin_epoch(folder_id, epoch, _FORGET_KEYS)

    def _begin_epoch(self, folder_id: int, epoch: str, forget: Iterable[sa.UpdateBase]) -> None:
        with self.write() as connection:
            for each in forget:
                connection.execute(each, {"_folder": folder_id})
            connection.execute(_NEW_EPOCH, {"_folder": folder_id, "_epoch": epoch})

    def listed(self, folder_id: int, entries: Sequence[Entry], *, flags: bool = True) -> list[int]:
        """Take one page of a source's listing in; return the ids of the rows that it names.

        Without ``flags`` the listing does not tell them, and those on record stay.
        """
        seen: list[int] = []
        with self.write() as connection:
            for chunk in chunks(entries):
                seen += self._listed(connection, folder_id, chunk, flags)
        return seen

    def _listed(
        self, connection: sa.Connection, folder_id: int, entries: Sequence[Entry], told: bool
    ) -> list[int]:
        names = {entry.key: entry for entry in entries}
        c = message.c
        asked = {"_folder": folder_id, "_keys": list(names)}
        known = {row.key: row for row in connection.execute(_KNOWN, asked)}
        fresh, changed, dead, seen = [], [], [], []
        for key, entry in names.items():
            row = known.get(key)
            if row is not None and contradicts(row.size, row.date, entry):
                dead.append(row.id)
                row = None
            flags = join_flags(entry.flags) if told or row is None else row.flags
            if row is None:
                seconds, zone = from_date(entry.internal_date)
                fresh.append(
                    {
                        "folder_id": folder_id,
                        "key": key,
                        "size": entry.size,
                        "date": seconds,
                        "zone": zone,
                        "flags": flags,
                        "state": State.PENDING,
                    }
                )
                continue
            seen.append(row.id)
            if flags != row.flags or row.gone or row.state == State.VANISHED:
                state = State.PENDING if row.state in _CONSIDERED_ANEW else row.state
                changed.append({"_id": row.id, "flags": flags, "gone": 0, "state": state})
        if dead:
            connection.execute(_forgotten(c.id.in_(dead)))
            connection.execute(_vanished(c.id.in_(dead)))
        if fresh:
            execute_many(connection, _NEW_MESSAGE, fresh)
            asked["_keys"] = [row["key"] for row in fresh]
            seen += connection.execute(_KNOWN, asked).scalars()
        if changed:
            execute_many(connection, _CHANGE, changed)
        return seen

    def mark_gone(
        self, folder_id: int, *, keys: Sequence[str] = (), all_but: Container[int] | None = None
    ) -> None:
        """Note that the source has these keys no more; or, after a complete listing, none but those rows."""
        c = message.c
        with self.write() as connection:
            if all_but is not None:
                there = connection.execute(_STILL_THERE, {"_folder": folder_id}).scalars()
                gone = [row_id for row_id in there if row_id not in all_but]
            else:
                gone = []
                for chunk in chunks(keys):
                    asked = {"_folder": folder_id, "_keys": chunk}
                    gone += connection.execute(_STILL_THERE.where(c.key.in_(_KEYS)), asked).scalars()
            for chunk in chunks(gone):
                connection.execute(message.update().where(c.id.in_(chunk)).values(gone=1))
                connection.execute(_vanished(c.id.in_(chunk)))

    def let_go(self) -> None:
        """Note, once all that the source has is settled, that what left it was not moved.

        But for what may be a message that the source does not give just now.
        """
        left = sa.and_(self._here, RESTLESS, message.c.gone == 1, ~self._may_be_unread())
        with self.write() as connection:
            connection.execute(message.update().where(left).values(gone=2))

    def leave_out_all_but(self, folder_id: int, newest: int) -> int:
        """Leave out what is pending of a source folder and not among its newest messages; return how many."""
        c = message.c
        wished = sa.and_(c.folder_id == folder_id, c.gone == 0, c.state != State.LEFT_OUT)
        latest = (c.date.is_(None), c.date.desc(), c.id.desc())
        kept = sa.select(c.id).where(wished).order_by(*latest).limit(newest)
        rest = sa.and_(c.folder_id == folder_id, c.state == State.PENDING, c.id.not_in(kept))
        with self.write() as connection:
            return int(connection.execute(message.update().where(rest).values(state=State.LEFT_OUT)).rowcount)

    def forget_doubts(self, seconds: float) -> None:
        """Expect no second copy any more of what was sent again this long ago."""
        c = message.c
        old = sa.select(batch.c.id).where(batch.c.intended < self.now - seconds)
        with self.write() as connection:
            resent = sa.and_(self._here, RESTLESS, c.doubts > 0)
            connection.execute(message.update().where(resent, c.batch_id.in_(old)).values(doubts=0))

    # changes of messages

    def update(self, changes: Sequence[dict[str, Any]], *, sync: bool = False) -> None:
        """Change columns of messages; each change names its row by ``_id`` and has the same columns."""
        if changes or sync:
            with self.write(sync=sync) as connection:
                self.put(connection, changes)

    @staticmethod
    def put(connection: sa.Connection, changes: Sequence[dict[str, Any]]) -> None:
        """Change columns of messages inside a transaction of the caller's; columns may differ from row to row."""
        by_columns: dict[tuple[str, ...], list[dict[str, Any]]] = {}
        for change in changes:
            by_columns.setdefault(tuple(change), []).append(change)
        for group in by_columns.values():
            execute_many(connection, _CHANGE, group)

    def touch_target(self) -> None:
        """Note that messages are about to be added to the target, or taken away: an earlier proof is over."""
        with self.write() as connection:
            connection.execute(_TOUCH, {"_id": self.account_id, "_now": self.now})

    def new_batch(self, connection: sa.Connection) -> int:
        """Make a batch's row: the intent that is about to be written."""
        self.touch_target()
        made = connection.execute(_NEW_BATCH, {"account_id": self.account_id, "intended": self.now})
        assert made.inserted_primary_key is not None
        return int(made.inserted_primary_key[0])

    def end_batches(self, batch_ids: Sequence[int], *, over: bool) -> None:
        """Note that batches ended without an answer to all of their messages."""
        with self.write() as connection:
            values = {"ended": self.now, "over": int(over)}
            connection.execute(batch.update().where(batch.c.id.in_(batch_ids)).values(values))

    def end_open_batches(self) -> None:
        """Note that every batch without an end has ended: the connections that could answer are closed."""
        with self.write() as connection:
            never = (batch.c.account_id == self.account_id) & batch.c.ended.is_(None)
            connection.execute(batch.update().where(never).values(ended=self.now))

    def count_octets(self, connection: sa.Connection, octets: int) -> None:
        """Add to what this migration has written, and to the time that it took, in a transaction of the caller's.

        So the time of a pass that wrote nothing, of which `watch` makes many, does not count.
        """
        now = self.now
        seconds = 0.0 if self._counted_at is None else now - self._counted_at
        self._counted_at = now
        connection.execute(_COUNT, {"_id": self.account_id, "_octets": octets, "_seconds": seconds})

    def take_places(self, moved: Sequence[tuple[Row, Row, dict[str, Any]]]) -> None:
        """Let known messages stand where the source now has them: the pending row of each gives way.

        What a new listing does not tell of size and date stays on record.
        """
        if not moved:
            return
        with self.write(sync=True) as connection:
            for part in chunks([new.id for _, new, _ in moved]):
                connection.execute(problem.delete().where(problem.c.message_id.in_(part)))
                connection.execute(message.delete().where(message.c.id.in_(part)))
            for old, new, columns in moved:
                place = {name: getattr(new, name) for name in ("folder_id", "key", "flags")}
                place |= {"size": old.size if new.size is None else new.size}
                dated = old if new.date is None else new
                place |= {"date": dated.date, "zone": dated.zone, "gone": 0}
                here = message.c.id == old.id
                connection.execute(message.update().where(here).values(place | columns))
                where = problem.c.message_id == old.id
                connection.execute(problem.update().where(where).values(folder_id=new.folder_id))

    # the target's listing

    def forget_target_keys(self, folder_id: int, epoch: str) -> None:
        """Begin a new epoch of a target folder: what we wrote there is to be found anew."""
        self._begin_epoch(folder_id, epoch, _FORGET_TARGET_KEYS)

    def target_listed(self, folder_id: int, entries: Sequence[Entry], seen: Standing | None = None) -> None:
        """Take one page of a target's listing in: our own messages get their witness, the rest are strangers.

        ``seen`` is told of all of them.
        """
        seen = seen or Standing()
        with self.write() as connection:
            for chunk in chunks(entries):
                self._target_listed(connection, folder_id, {entry.key: entry for entry in chunk}, seen)

    def _target_listed(
        self, connection: sa.Connection, folder_id: int, names: dict[str, Entry], seen: Standing
    ) -> None:
        c = message.c
        ours = connection.execute(_OURS, {"_folder": folder_id, "_keys": list(names)}).all()
        told, dead, known = [], [], set()
        for row in ours:
            entry = names[row.target_key]
            if contradicts(row.target_size, row.target_date, entry):
                dead.append(row.id)
                continue
            known.add(row.target_key)
            if (row.target_size is None and entry.size is not None) or row.target_gone:
                date, _ = from_date(entry.internal_date)
                told.append(
                    {
                        "_id": row.id,
                        "target_size": row.target_size if entry.size is None else entry.size,
                        "target_date": row.target_date if date is None else date,
                        "target_gone": 0,
                    }
                )
        seen.messages.update({row.id for row in ours}.difference(dead))
        if told:
            execute_many(connection, _CHANGE, told)
        if dead:
            # The key names somebody else's message now. Ours was moved or removed there since.
            connection.execute(message.update().where(c.id.in_(dead)).values(target_key=None, target_gone=1))
        unknown = {key: entry for key, entry in names.items() if key not in known}
        asked = {"_folder": folder_id, "_keys": list(unknown)}
        rows = connection.execute(_STRANGERS, asked).all() if unknown else []
        changed = {row.id for row in rows if contradicts(row.size, row.date, unknown[row.key])}
        if changed:
            connection.execute(stranger.delete().where(stranger.c.id.in_(changed)))
        standing = {row.key: row.id for row in rows if row.id not in changed}
        seen.strangers.update(standing.values())
        fresh = [
            {
                "folder_id": folder_id,
                "key": key,
                "size": entry.size,
                "date": from_date(entry.internal_date)[0],
            }
            for key, entry in unknown.items()
            if key not in standing
        ]
        if fresh:
            execute_many(connection, _NEW_STRANGER, fresh)
            asked["_keys"] = [row["key"] for row in fresh]
            seen.strangers.update(connection.execute(_STRANGERS, asked).scalars())

    def target_gone(self, folder_id: int, keys: Sequence[str]) -> None:
        """Note that these keys stand in a target folder no more."""
        c, s = message.c, stranger.c
        with self.write() as connection:
            for chunk in chunks(keys):
                ours = sa.and_(c.target_id == folder_id, c.target_key.in_(chunk), c.state.in_(IN_TARGET))
                connection.execute(message.update().where(ours).values(target_gone=1))
                connection.execute(stranger.delete().where(s.folder_id == folder_id, s.key.in_(chunk)))

    def target_holds(self, folder_id: int, seen: Standing) -> None:
        """Note, after a complete listing, that a target folder has nothing but what that named."""
        here = {"_folder": folder_id}
        with self.write() as connection:
            ours = connection.execute(_STILL_IN_TARGET, here).scalars()
            gone = [row_id for row_id in ours if row_id not in seen.messages]
            for chunk in chunks(gone):
                connection.execute(message.update().where(message.c.id.in_(chunk)).values(target_gone=1))
            others = connection.execute(_STILL_STRANGERS, here).scalars()
            gone = [row_id for row_id in others if row_id not in seen.strangers]
            for chunk in chunks(gone):
                connection.execute(stranger.delete().where(stranger.c.id.in_(chunk)))

    def describe_strangers(self, told: Sequence[dict[str, Any]]) -> None:
        """Keep what headers told of strangers: ``_id``, ``fingerprint`` and ``message_hash`` each."""
        if told:
            with self.write() as connection:
                execute_many(connection, _DESCRIBE, told)

    def claim(
        self, claims: Sequence[tuple[Row, StrangerRow, dict[str, Any]]], *, left: Row | None = None
    ) -> None:
        """Let messages claim strangers: they are stored, and the stranger is one no more.

        Each claim brings columns of its own: ``origin``, and digests where they were read. ``left`` is a row as
        it was before: the entry that it claimed till now becomes a stranger, in the same transaction.
        """
        with self.write(sync=True) as connection:
            if left is not None:
                connection.execute(
                    stranger.insert().values(
                        folder_id=left.target_id,
                        key=left.target_key,
                        size=left.target_size,
                        date=left.target_date,
                        fingerprint=left.fingerprint,
                        message_hash=left.message_hash,
                    )
                )
            changes = [
                {
                    "_id": row.id,
                    "state": State.STORED,
                    "target_id": found.folder_id,
                    "target_key": found.key,
                    "target_size": found.size,
                    "target_date": found.date,
                    "target_gone": 0,
                    "moving_to": None,
                    **({"carried": row.flags} if row.state == State.PENDING else {}),
                    **columns,
                }
                for row, found, columns in claims
            ]
            self.put(connection, changes)
            for part in chunks([found.id for _, found, _ in claims]):
                connection.execute(stranger.delete().where(stranger.c.id.in_(part)))

    # what the report tells

    def add_problem(
        self,
        kind: str,
        reason: str,
        *,
        remedy: str = "",
        folder_id: int | None = None,
        row: Row | None = None,
        identifier: str = "",
    ) -> None:
        """Name a message or folder that was not carried; the same problem twice is one."""
        where = (
            (problem.c.account_id == self.account_id)
            & (problem.c.kind == kind)
            & (problem.c.folder_id == (row.folder_id if row else folder_id))
            & (problem.c.message_id == row.id if row else problem.c.message_id.is_(None))
        )
        if row is None and folder_id is None:
            where &= problem.c.reason == reason  # nothing else tells two of them apart
        values = {"reason": reason, "remedy": remedy, "identifier": identifier, "last": self.now}
        with self.write() as connection:
            done = connection.execute(problem.update().where(where).values(values))
            if done.rowcount == 0:
                named = {
                    "folder_id": row.folder_id if row else folder_id,
                    "message_id": row.id if row else None,
                }
                connection.execute(
                    problem.insert().values(
                        account_id=self.account_id, kind=kind, first=self.now, **named, **values
                    )
                )

    def forget_problems(self, kind: str, message_ids: Sequence[int]) -> None:
        """Name these messages no more: the cause is gone."""
        with self.write() as connection:
            for part in chunks(message_ids):
                told = problem.c.message_id.in_(part) & (problem.c.kind == kind)
                connection.execute(problem.delete().where(told))

    def add_note(self, text: str, count: int = 1) -> None:
        """Count something that cost no message."""
        where = (note.c.account_id == self.account_id) & (note.c.text == text)
        with self.write() as connection:
            done = connection.execute(note.update().where(where).values(count=note.c.count + count))
            if done.rowcount == 0:
                connection.execute(note.insert().values(account_id=self.account_id, text=text, count=count))

    def offer_refused(self) -> int:
        """Send again, because its user asked, what was refused; return how many."""
        refused = sa.and_(self._here, message.c.gone == 0, message.c.state == State.REFUSED)
        stale = (problem.c.account_id == self.account_id) & (problem.c.kind == "refused")
        with self.write(sync=True) as connection:
            connection.execute(problem.delete().where(stale))
            change = message.update().where(refused).values(state=State.PENDING)
            return int(connection.execute(change).rowcount)

    def refill(self) -> int:
        """Send again, because its user asked, what stands in the target no more or was refused; return how many."""
        c = message.c
        lost = sa.or_(sa.and_(c.state == State.STORED, c.target_gone == 1), c.state == State.REFUSED)
        again = sa.and_(self._here, c.gone == 0, lost)
        values = {"state": State.PENDING, "target_key": None, "target_gone": 0, "carried": None}
        stale = (problem.c.account_id == self.account_id) & problem.c.kind.in_(("refused", "lost"))
        with self.write(sync=True) as connection:
            connection.execute(problem.delete().where(stale))
            return int(connection.execute(message.update().where(again).values(values)).rowcount)
