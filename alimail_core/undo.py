"""The way back: take out of a target what a migration has written there, and nothing else.

A copy is removed only where all of this is seen right before: the ledger wrote it itself, its key still has the
witness (size and date) and the flags that we gave it, and **the source still has the message**, so that no last copy
is lost. A copy that was found by reading, not by the server's word, must also have the octets that were sent.
Everything else stays and is counted by its reason.

What is removed is ``PENDING`` again: true of the target, and carried anew by the next pass. So the account is
disabled before the first removal, and only `alimail enable` lets that pass come. The rows say ``PENDING`` on the
disk, with their keys kept, before a removal is asked for: an undo that was cut off finds them again by that and goes
on, and a pass that comes first waits until nothing can be removed any more, takes whatever still stands there for a
stranger and adopts it.

A source folder of which nothing is left in the target has no place there any more: the next pass puts it where the
rules say by then.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from typing import Any

from attrs import define, field, frozen

from alimail_core.contract import Sink, Source
from alimail_core.ends import Ends, endpoint_name
from alimail_core.errors import Denied, InputError, Refused
from alimail_core.ledger import Book, FolderRow, Ledger, Origin, Row, State
from alimail_core.ledger.rows import contradicts, from_date, split_flags
from alimail_core.model import Changes, Entry, Folder, FolderPath
from alimail_core.transfer.reconcile import read_bodies
from alimail_core.transfer.state import NOT_CARRIED

ADOPTED = "were there before, or are somebody else's work"
TOUCHED = "have other flags than we gave them: somebody has worked with them"
ONLY_COPY = "are at the source no more: this may be the only copy"
UNCERTAIN = "are not certain: a pass has to look for them first"
REFUSED = "were not let go by the server"

_PART = 200
"""Messages that are looked at, and then removed, at a time."""


@frozen
class UndoneFolder:
    """What was taken out of one folder of the target, or would be."""

    path: FolderPath
    removed: int = 0
    octets: int = 0
    """Of what was removed, as the source listed it."""
    kept: Mapping[str, int] = field(factory=dict)
    """What stays in it of what the ledger knows there, counted by the reason."""


@frozen
class Undone:
    """What an undo did, or would do."""

    source_address: str
    target_address: str
    dry_run: bool
    folders: tuple[UndoneFolder, ...]

    @property
    def removed(self) -> int:
        """Messages that were removed, or would be."""
        return sum(each.removed for each in self.folders)


def undo_account(
    ends: Ends, ledger: Ledger, account_id: int, folder: str = "", *, dry_run: bool = False
) -> Undone:
    """Take out of an account's target what the ledger wrote there, or of one of its folders; see the module.

    ``folder`` is a path in the target, its names joined by ``/``. A ``dry_run`` looks as closely and changes
    nothing, neither there nor in the ledger. Raises ``InputError`` for a folder that the ledger does not know,
    ``Denied`` where the target cannot remove single messages or is not the one that was written to, ``LeaseHeld``
    while a pass is under way, ``Interrupted`` between two parts, and whatever the servers raise: run again then, it
    goes on.
    """
    if dry_run:
        with closing(ledger.read(account_id)) as book:
            return _undo(ends, book, folder, disable=None)
    with ledger.lease(account_id) as book:
        undone = _undo(ends, book, folder, disable=lambda: ledger.enable([account_id], False))
        if undone.removed:
            book.add_note("messages that `alimail undo` removed from the target again", undone.removed)
            remedy = "`alimail enable`, then `alimail migrate`, carries them again."
            book.end_pass("stopped", "`alimail undo` has removed messages from the target", remedy)
        return undone


def _undo(ends: Ends, book: Book, folder: str, *, disable: Callable[[], object] | None) -> Undone:
    """Look, and where ``disable`` is given, call it once nothing speaks against the undo, and remove."""
    account, dry_run = ends.account, disable is None
    here = (
        endpoint_name(account.source, account.source_user),
        endpoint_name(account.target, account.target_user),
    )
    if book.endpoints() != here:
        raise Denied(
            f"{account}: its last pass worked with other servers or logins than are configured now",
            remedy="Configure those again that the messages were written with.",
        )
    wanted = [row for row in book.folders("target") if folder in ("", "/".join(row.path))]
    if folder and not wanted:
        raise InputError(
            f"the ledger knows no folder {folder!r} in the target of {account}",
            remedy="`alimail undo --dry-run` without --folder lists them.",
        )
    with ends.source() as source, ends.sink() as sink:
        if not sink.traits.moves:
            raise Denied(
                f"{account}: the target cannot remove single messages safely (no UIDPLUS)",
                remedy="Remove its folders by hand, or let the mailbox be made anew.",
            )
        work = _Work(ends, book, source, sink, dry_run, {row.id: _Place(row) for row in wanted})
        if disable is not None:  # Within the lease, so that no pass slips in and carries it all again.
            disable()
        work.run()
        if not dry_run:
            _let_go_of_places(book, work.places)
    places = work.places.values()
    folders = (UndoneFolder(each.row.path, each.removed, each.octets, dict(each.kept)) for each in places)
    told = tuple(each for each in folders if each.removed or each.kept)
    return Undone(account.source_address, account.target_address, dry_run, told)


def _let_go_of_places(book: Book, places: Container[int]) -> None:
    """Unpair the source folders that have nothing in these places any more, so that today's rules decide anew."""
    held = (State.STORED, State.MOVING, State.MERGED, State.SENT, State.PENDING)
    for row in book.folders("source"):
        if row.target_id in places and not any(map(_holds_its_place, book.walk(row.id, held))):
            book.put_folder("source", row.path, row.special_use)


def _holds_its_place(row: Row) -> bool:
    """Tell whether a message stands in the target, or may."""
    if row.state == State.PENDING:
        return row.target_key is not None  # an undo had begun to remove it
    return row.state != State.STORED or not row.target_gone


@define
class _Place:
    """A folder of the target while it is worked on."""

    row: FolderRow
    folder: Folder | None = None
    """As the target has it; ``None``: it is there no more, or is another one by the same name."""
    storable: frozenset[str] | None = None
    """The flags that it can hold, in small letters; ``None``: any."""
    removed: int = 0
    octets: int = 0
    kept: Counter[str] = field(factory=Counter)

    def has_flags_of(self, row: Row, entry: Entry) -> bool:
        """Tell whether a copy has the flags that it was given (RFC 9051 §2.3.2: case does not count)."""
        given = _small(split_flags(row.carried) - NOT_CARRIED)
        return _small(entry.flags - NOT_CARRIED) == (
            given if self.storable is None else given & self.storable
        )


def _small(flags: Iterable[str]) -> frozenset[str]:
    return frozenset(flag.lower() for flag in flags)


@define
class _Work:
    """One undo under way."""

    ends: Ends
    book: Book
    source: Source
    sink: Sink
    dry_run: bool
    places: dict[int, _Place]

    def run(self) -> None:
        """Work through the source folders one by one, a part of each at a time."""
        self._find_places()
        there = {folder.path: folder for folder in self.source.folders() if folder.selectable}
        for row in self.book.folders("source"):
            known = self.book.walk(row.id, (State.STORED, State.MOVING, State.SENT, State.PENDING))
            concerned = (each for each in known if self._concerns(each))
            while part := list(islice(concerned, _PART)):
                self.ends.check_in()
                for place_id, rows in _by_place(part).items():
                    self._take_back(self.places[place_id], rows, there.get(row.path))

    def _concerns(self, row: Row) -> bool:
        """What is pending and has a key in the target is what an earlier undo had begun to remove."""
        pending = row.state == State.PENDING and row.target_key is None
        return row.target_id in self.places and not row.target_gone and not pending

    def _find_places(self) -> None:
        there = {folder.path: folder for folder in self.sink.folders()}
        for place in self.places.values():
            if folder := there.get(place.row.path):
                answer = next(iter(self.sink.changes([(folder, place.row.cursor)])), None)
                if isinstance(answer, Changes) and answer.epoch == place.row.epoch:
                    place.folder = folder
                    can = answer.storable_flags
                    place.storable = None if can is None else _small(can)

    def _take_back(self, place: _Place, rows: Sequence[Row], source_folder: Folder | None) -> None:
        stays, standing = self._judge(place, rows, source_folder)
        ours = [row for row in rows if row.id in standing and row.id not in stays]
        if not self.dry_run:
            begun = [
                row for row in rows if row.state == State.PENDING and row.id not in standing | stays.keys()
            ]
            self._set(begun, _NOWHERE)
            gone = self._remove(place, ours)
            stays |= dict.fromkeys((row.id for row in ours if row.id not in gone), REFUSED)
            ours = [row for row in ours if row.id in gone]
        place.removed += len(ours)
        place.octets += sum(row.size or 0 for row in ours)
        place.kept.update(stays.values())

    def _judge(
        self, place: _Place, rows: Sequence[Row], source_folder: Folder | None
    ) -> tuple[dict[int, str], set[int]]:
        """Tell why copies stay, by the row's id, and which of the others stand in the target at this moment."""
        stays = {row.id: reason for row in rows if (reason := _uncertain(place, row))}
        keys = [row.target_key for row in rows if row.target_key]
        for claims in self.book.by_target_keys(place.row.id, keys).values():
            if len(claims) > 1:  # one entry for two messages: a pass has to tell first which of them it is
                stays |= {row.id: UNCERTAIN for row in rows if row.id in {one.id for one in claims}}
        asked = {row.target_key: row for row in rows if row.target_key and row.id not in stays}
        found = _look(self.sink, place.folder, {key: row.target_entry for key, row in asked.items()})
        sources = {row.key: row.entry for row in asked.values() if row.key and not row.gone}
        at_source = _look(self.source, source_folder, sources)
        for key, entry in found.items():
            row = asked[key]
            if row.key not in at_source:
                stays[row.id] = ONLY_COPY
            elif not place.has_flags_of(row, entry):
                stays[row.id] = TOUCHED
        doubtful = {
            key: row for key, row in asked.items() if row.origin == Origin.FOUND and row.id not in stays
        }
        stays |= dict.fromkeys(self._altered(place, doubtful, found), ADOPTED)
        return stays, {asked[key].id for key in found}

    def _altered(self, place: _Place, rows: Mapping[str, Row], found: Mapping[str, Entry]) -> Iterator[int]:
        """Give the ids of rows whose copies have other octets than were sent, or cannot be read."""
        entries = [found[key] for key in rows if key in found]
        bodies = read_bodies(self.sink, place.folder, entries) if place.folder else {}
        for entry in entries:
            row, body = rows[entry.key], bodies.get(entry.key)
            if body is None or body.digest not in (row.sent_digest or row.digest, row.stored_digest):
                yield row.id

    def _remove(self, place: _Place, rows: Sequence[Row]) -> set[int]:
        """Remove copies that were just judged; return the ids of those that the server has let go."""
        if not rows or place.folder is None:
            return set()
        self.book.touch_target()
        self._set(rows, {"state": State.PENDING, "target_gone": 0}, sync=True)
        try:
            for _ in self.sink.remove(place.folder, [row.target_key or "" for row in rows]):
                pass
        except Refused:
            pass  # of all, of some, or of the last step: looking tells
        left = _look(self.sink, place.folder, {row.target_key or "": row.target_entry for row in rows})
        self._set([row for row in rows if row.target_key in left], _STAYS)
        gone = [row for row in rows if row.target_key not in left]
        self._set(gone, _NOWHERE)
        return {row.id for row in gone}

    def _set(self, rows: Sequence[Row], columns: Mapping[str, Any], *, sync: bool = False) -> None:
        self.book.update([{"_id": row.id, **columns} for row in rows], sync=sync)


_STAYS = {"state": State.STORED, "target_gone": 0}
_NOWHERE = {
    "state": State.PENDING,
    "target_key": None,
    "target_size": None,
    "target_date": None,
    "carried": None,
    "doubts": 0,
}


def _uncertain(place: _Place, row: Row) -> str:
    """Return why a copy stays, whatever the servers say; empty: they have to be asked."""
    if row.origin == Origin.ADOPTED:
        return ADOPTED
    known = row.target_key is not None and row.target_size is not None
    if place.folder is None or not known or row.state in (State.SENT, State.MOVING):
        return UNCERTAIN
    return ""


def _look(side: Source, folder: Folder | None, entries: Mapping[str, Entry]) -> dict[str, Entry]:
    """List those of the entries that a folder has at this moment and whose witness holds, by key."""
    if folder is None or not entries:
        return {}
    told = {entry.key: entry for entry in side.look(folder, list(entries))}
    return {
        key: entry for key, entry in told.items() if key in entries and not _contradicts(entries[key], entry)
    }


def _contradicts(known: Entry, entry: Entry) -> bool:
    return contradicts(known.size, from_date(known.internal_date)[0], entry)


def _by_place(rows: Iterable[Row]) -> dict[int, list[Row]]:
    """Divide rows by the folder of the target where they stand."""
    divided: dict[int, list[Row]] = {}
    for row in rows:
        divided.setdefault(row.target_id or 0, []).append(row)
    return divided
