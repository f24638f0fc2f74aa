"""``changes``: what a folder holds, or what changed in it since its cursor.

The cursor of a folder holds what EXAMINE said at the listing's start, so that whatever happens meanwhile is told
next time, and up to four *witnesses*: a few messages with size and date, by which a folder is known again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from itertools import islice
from typing import Any

from attrs import define, evolve, field, frozen

from alimail_core import PAGE, Changes, Cursor, Entry, Folder, Refused, Transient, Unusable
from alimail_imap.connection import astring, collect, of_kind
from alimail_imap.fetched import LISTED, LISTED_WITH_LABELS, Fetched, parse_fetch, read_listed
from alimail_imap.grades import raise_passing
from alimail_imap.labels import Rank, owns, rank_folder
from alimail_imap.measuring import read_status
from alimail_imap.session import CLOCK_LIKE, Key, Selected, Session, epoch_name
from alimail_imap.together import Told, list_together
from alimail_imap.tokens import Response
from alimail_imap.uidsets import Range, count, expand, format_sets, parse_set

READ_AHEAD = 64
"""How many folders are asked at once whether anything changed in them, or what is in them."""
SMALL = 500
"""A folder of at most so many messages is listed together with others."""
TOGETHER = PAGE
"""The most messages that are listed together, as far as their number is known before."""
MAX_WITNESSES = 4
MAX_MOVED = 8
"""So often at the most a server may expunge while one folder is listed."""
MAX_VANISHED = 2_000_000
"""A server that names more vanished UIDs than this is asked for the whole folder instead."""

Witness = tuple[int, int, str]
"""UID, size, and internal date in ISO form."""


@frozen
class Mark:
    """A cursor, read."""

    uidvalidity: int
    marker: int = 0
    uidnext: int | None = None
    modseq: int | None = None
    exists: int = 0
    witnesses: tuple[Witness, ...] = ()
    storable: frozenset[str] | None = field(default=None)

    @property
    def epoch(self) -> str:
        """The folder's epoch."""
        return epoch_name(self.uidvalidity, self.marker)

    def cursor(self) -> Cursor:
        """Write the cursor as the core keeps it."""
        return {
            "uidvalidity": self.uidvalidity,
            "marker": self.marker,
            "uidnext": self.uidnext,
            "modseq": self.modseq,
            "exists": self.exists,
            "witnesses": [list(witness) for witness in self.witnesses],
            "storable": None if self.storable is None else sorted(self.storable),
        }

    @classmethod
    def read(cls, cursor: Cursor | None) -> Mark | None:
        """Read a cursor; ``None`` where there is none or it cannot be used."""
        if cursor is None:
            return None
        values: dict[str, Any] = dict(cursor)
        try:
            return cls(
                uidvalidity=int(values["uidvalidity"]),
                marker=int(values["marker"]),
                uidnext=_optional(values["uidnext"]),
                modseq=_optional(values["modseq"]),
                exists=int(values["exists"]),
                witnesses=tuple(_read_witness(*witness) for witness in values["witnesses"]),
                storable=None if values["storable"] is None else frozenset(map(str, values["storable"])),
            )
        except (KeyError, TypeError, ValueError):
            return None


@define
class _Request:
    """One folder that was asked for, and what is known of it by now."""

    folder: Folder
    mark: Mark | None
    hint: int | None
    """How many messages there were when that was told on some occasion; ``None``: it was not."""
    sent: int
    """How many we have sent there since it was listed: they have certainly changed it."""
    status: Mapping[str, int] = field(factory=dict)
    told: Told | None = None

    @property
    def size(self) -> int | None:
        """About how many messages there are; ``None``: unknown."""
        known = self.hint if self.mark is None else self.mark.exists + self.sent
        return self.status.get("MESSAGES", known)

    def may_have_grown(self) -> bool:
        """Tell whether its size is not known, or was small when it was last looked at."""
        if self.sent:
            return False
        return self.hint is None if self.mark is None else self.mark.exists <= SMALL

    def may_be_unchanged(self) -> bool:
        """Tell whether STATUS could show it: only a UIDVALIDITY from a clock tells a folder that was made again."""
        return (
            self.mark is not None
            and not self.sent
            and bool(self.mark.modseq)
            and self.mark.uidvalidity >= CLOCK_LIKE
        )

    def is_unchanged(self) -> bool:
        """Tell whether STATUS has shown that all is as it was; only HIGHESTMODSEQ tells of flags."""
        if self.mark is None or not self.may_be_unchanged():
            return False
        wanted = {
            "MESSAGES": self.mark.exists,
            "UIDNEXT": self.mark.uidnext,
            "UIDVALIDITY": self.mark.uidvalidity,
            "HIGHESTMODSEQ": self.mark.modseq,
        }
        return wanted.items() <= self.status.items()


def _optional(value: Any) -> int | None:
    return None if value is None else int(value)


def _read_witness(uid: Any, size: Any, date: Any) -> Witness:
    return int(uid), int(size), datetime.fromisoformat(date).isoformat()


class Lister:
    """Answers ``changes`` over one session."""

    def __init__(self, session: Session, *, write: bool) -> None:
        self._session = session
        self._connection = session.connection
        self._write = write
        # Labels are the source's way to keep one message in many folders; in a sink each entry is one.
        self._once = (
            not write and session.options.gmail_labels == "one" and session.connection.offers("X-GM-EXT-1")
        )
        self._items = LISTED_WITH_LABELS if self._once else LISTED

    def changes(self, requests: Iterable[tuple[Folder, Cursor | None]]) -> Iterator[Changes | Unusable]:
        """See ``Source.changes``."""
        waiting = iter(requests)
        while part := [self._request(*one) for one in islice(waiting, READ_AHEAD)]:
            self._ask_status(part)
            self._list_together(part)
            for one in part:
                if one.is_unchanged():
                    yield self._unchanged(one)
                elif one.told is not None:
                    yield self._told(one, one.told)
                else:
                    yield from self._list(one.folder, one.mark)

    # Many folders at once

    def _request(self, folder: Folder, cursor: Cursor | None) -> _Request:
        name = self._session.names.wire(folder)
        hint = self._session.sizes.get(name) if folder.messages is None else folder.messages
        return _Request(folder, Mark.read(cursor), hint, self._session.sent[name])

    def _ask_status(self, part: Sequence[_Request]) -> None:
        """Ask in one round trip how much there is in each folder, and whether anything changed in it."""
        extended = self._connection.offers("CONDSTORE") or self._connection.offers("QRESYNC")
        items = b" (MESSAGES UIDNEXT UIDVALIDITY HIGHESTMODSEQ)" if extended else b" (MESSAGES)"
        asked = [
            one
            for one in part
            # STATUS of the open folder would be stale (RFC 9051 §6.3.11).
            if not self._is_selected(one.folder)
            and ((extended and one.may_be_unchanged()) or (len(part) > 1 and one.may_have_grown()))
        ]
        self._connection.settle()
        names = (astring(self._session.names.wire(one.folder)) for one in asked)
        for one, tag in zip(
            asked, [self._connection.send(b"STATUS ", name, items) for name in names], strict=True
        ):
            responses, status = collect(self._connection.until(tag))
            told = next(of_kind(responses, b"STATUS"), None)
            one.status = read_status(told) if told is not None and status.ok else {}

    def _list_together(self, part: Sequence[_Request]) -> None:
        """List the small folders with all commands in flight."""
        small: list[_Request] = []
        messages = 0
        for one in part:
            if one.size is not None and one.size <= SMALL and not one.is_unchanged():
                messages += one.size
                if messages <= TOGETHER:
                    small.append(one)
        if len(small) > 1 and self._knows_to_open(small[0].folder):
            folders = [one.folder for one in small]
            for one, told in zip(
                small, list_together(self._session, folders, self._items, write=self._write), strict=True
            ):
                one.told = told

    def _knows_to_open(self, folder: Folder) -> bool:
        """Find out with one folder whether this server has EXAMINE, before many are opened unseen."""
        if not self._write and not self._session.examine_is_known:
            try:
                self._session.select(folder)
            except Refused:
                return False
        return True

    def _unchanged(self, one: _Request) -> Changes:
        assert one.mark is not None
        self._note(one.folder, one.mark)
        return Changes(one.folder, one.mark.epoch, cursor=one.mark.cursor(), storable_flags=one.mark.storable)

    def _told(self, one: _Request, told: Told) -> Changes:
        new = self._next_mark(told.state, one.mark, told.listed)
        self._note(one.folder, new)
        witnesses = _Witnesses()
        witnesses.offer(told.listed)
        top = max((fetched.uid or 0 for fetched in told.listed), default=0)
        entries = [_entry(new.epoch, each) for each in told.listed if self._owns(one.folder, each)]
        page = Changes(one.folder, new.epoch, complete=True, storable_flags=new.storable)
        return self._page(page, entries, self._finish(new, witnesses, top))

    def _is_selected(self, folder: Folder) -> bool:
        """Tell whether a folder is open: its STATUS would be stale then (RFC 9051 §6.3.11)."""
        selected = self._session.selected
        return selected is not None and selected[0] == self._session.names.wire(folder)

    # One folder

    def _list(self, folder: Folder, mark: Mark | None) -> Iterator[Changes | Unusable]:
        try:
            state = self._session.select(folder, write=self._write, fresh=True)
        except Refused as error:
            yield Unusable(folder.path, error.message)
            return
        new = self._next_mark(state, mark)
        self._note(folder, new)
        if self._once:
            _ = self._ranks  # Asked for now: while a listing streams nothing else can be asked.
        page = Changes(folder, new.epoch, storable_flags=new.storable)
        if mark is None or mark.epoch != new.epoch or not state.modseq or not mark.modseq:
            yield from self._list_all(page, new)
        elif "QRESYNC" in self._connection.capabilities:
            yield from self._list_changed(page, new, mark, vanished=True)
        elif (mark.modseq, mark.uidnext, mark.exists) == (state.modseq, state.uidnext, state.exists):
            yield evolve(page, cursor=new.cursor())
        elif self._nothing_expunged(mark, state):
            yield from self._list_changed(page, new, mark, vanished=False)
        else:
            yield from self._list_all(page, new)

    def _next_mark(self, state: Selected, mark: Mark | None, listed: Sequence[Fetched] | None = None) -> Mark:
        """Decide whether the old keys still hold: the new mark has the old witnesses only where they do.

        ``listed`` is the whole folder where that is known already.
        """
        new = Mark(
            uidvalidity=state.uidvalidity,
            uidnext=state.uidnext,
            modseq=state.modseq,
            exists=state.exists,
            # PERMANENTFLAGS tells of what can be stored only where the folder was opened to write.
            storable=state.storable if self._write else None,
        )
        if mark is None:
            return new
        if state.uidvalidity != mark.uidvalidity:
            # A UIDVALIDITY must grow. One that went back may have been given before.
            return evolve(new, marker=mark.marker + (state.uidvalidity < mark.uidvalidity))
        if _went_back(mark.uidnext, state.uidnext) or _went_back(mark.modseq, state.modseq):
            return evolve(new, marker=mark.marker + 1)
        kept = self._check_witnesses(mark, listed)
        if kept is None:
            return evolve(new, marker=mark.marker + 1)
        return evolve(new, marker=mark.marker, witnesses=kept)

    def _check_witnesses(self, mark: Mark, listed: Sequence[Fetched] | None) -> tuple[Witness, ...] | None:
        """Return the witnesses that stand as they did; ``None`` where one has become another message."""
        known = {uid: (size, date) for uid, size, date in mark.witnesses}
        kept: list[Witness] = []
        found = self.fetch_uids(known, b"(UID INTERNALDATE RFC822.SIZE)") if listed is None else listed
        for fetched in found:
            witness = _witness(fetched)
            if witness is not None and witness[0] in known:
                if not _is_same_witness(known[witness[0]], witness):
                    return None
                kept.append(witness)
        return tuple(kept)

    def _nothing_expunged(self, mark: Mark, state: Selected) -> bool:
        """Tell whether every message from before is still there, without QRESYNC: by counting the new ones."""
        if mark.uidnext is None or state.uidnext is None:
            return False
        if mark.uidnext == state.uidnext:
            return mark.exists == state.exists
        new = sum(1 for _ in self._fetch(b"UID FETCH %d:* (UID)" % mark.uidnext, mark.uidnext))
        return mark.exists + new == state.exists

    # Listings

    def _list_all(self, page: Changes, new: Mark) -> Iterator[Changes | Unusable]:
        """List the folder whole, in windows of sequence numbers.

        While only FETCH is sent the server must not expunge (RFC 9051 §7.5.1), so sequence numbers stay; where one
        does so all the same, the window is listed again, in the folder as it is then.
        """
        page = evolve(page, complete=True)
        witnesses = _Witnesses()
        first, top, total, moved = 1, 0, new.exists, 0
        while first <= total:
            last = min(first + PAGE - 1, total)
            found, expunged = self._window(first, last)
            if expunged:
                moved += 1
                if moved > MAX_MOVED:
                    raise Transient(f"{'/'.join(page.folder.path)}: messages went whenever it was listed")
                first = max(1, first - expunged)
                total = self._session.select(page.folder, write=self._write, fresh=True).exists
                continue
            if not self._fill_gaps(first, last, found):
                yield from self._unlistable(page, first)
                return
            listed = [fetched for uid, fetched in sorted(found.items()) if uid > top]
            top = max(top, *found) if found else top
            witnesses.offer(listed)
            entries = [_entry(new.epoch, fetched) for fetched in listed if self._owns(page.folder, fetched)]
            first = last + 1
            if first > total:
                yield self._page(page, entries, self._finish(new, witnesses, top))
                return
            yield self._page(page, entries, None)
        yield self._page(page, [], self._finish(new, witnesses, top))

    def _page(self, page: Changes, entries: list[Entry], mark: Mark | None) -> Changes:
        return evolve(page, entries=entries, cursor=None if mark is None else mark.cursor())

    def _finish(self, new: Mark, witnesses: _Witnesses, top: int) -> Mark:
        return evolve(new, uidnext=new.uidnext or top + 1, witnesses=witnesses.best())

    def _window(self, first: int, last: int) -> tuple[dict[int, Fetched], int]:
        """Fetch one window; return what was told by UID, and how many messages were expunged meanwhile."""
        responses, status = self._connection.run(b"FETCH %d:%d " % (first, last), self._items)
        raise_passing(status)
        found: dict[int, Fetched] = {}
        expunged = 0
        for response in responses:
            kind = response.kind()
            if (fetched := read_listed(response)) is not None and first <= fetched.number <= last:
                found[fetched.uid or 0] = fetched
            elif kind == b"EXPUNGE":
                expunged += 0 < response.number() <= last
            elif kind == b"VANISHED":
                expunged += count(_vanished(response))
        return found, expunged

    def _fill_gaps(self, first: int, last: int, found: dict[int, Fetched]) -> bool:
        """Ask again for messages whose size or date the server would not tell; tell whether all are there now."""
        missing = set(range(first, last + 1)).difference(fetched.number for fetched in found.values())
        for numbers in format_sets(missing):
            for response in self._connection.run(b"FETCH ", numbers, b" (UID FLAGS)")[0]:
                fetched = parse_fetch(response) if response.kind() == b"FETCH" else None
                if fetched is not None and fetched.uid and fetched.number in missing:
                    missing.discard(fetched.number)
                    found.setdefault(fetched.uid, fetched)
        return not missing

    def _unlistable(self, page: Changes, first: int) -> Iterator[Unusable]:
        """Give up a folder: one that is listed in part would make what is missing look like deleted."""
        reason = "the server does not list all the messages that it says are there"
        if first > 1:
            raise Transient(f"{'/'.join(page.folder.path)}: {reason}")
        yield Unusable(page.folder.path, reason)

    def _list_changed(
        self, page: Changes, new: Mark, mark: Mark, *, vanished: bool
    ) -> Iterator[Changes | Unusable]:
        """List what CONDSTORE says has changed and QRESYNC says has vanished (RFC 7162 §3.1.4.1, §3.2.6)."""
        witnesses = _Witnesses(list(new.witnesses))
        gone: list[Range] = []
        listed: list[Fetched] = []
        modifiers = b" (CHANGEDSINCE %d%s)" % (mark.modseq or 0, b" VANISHED" if vanished else b"")
        responses = self._connection.stream(b"UID FETCH 1:* ", self._items, modifiers)
        while True:
            try:
                response = next(responses)
            except StopIteration as stop:
                raise_passing(stop.value)
                if not stop.value.ok:
                    raise Transient(f"{'/'.join(page.folder.path)}: {stop.value.words()}") from None
                break
            if response.kind() == b"VANISHED":
                gone += _vanished(response)
                if len(gone) > MAX_VANISHED:
                    raise Transient("the server says that more messages vanished than a folder can hold")
            elif (fetched := read_listed(response)) is not None:
                listed.append(fetched)
                if len(listed) == PAGE:
                    witnesses.offer(listed)
                    yield self._page(page, self._entries(page.folder, new, listed, gone), None)
                    listed = []
        witnesses.offer(listed)
        entries = self._entries(page.folder, new, listed, gone)
        for part in _gone_pages(new.epoch, gone, mark.uidnext or 2**32):
            yield evolve(page, entries=(), gone=part)
        yield self._page(page, entries, evolve(new, witnesses=witnesses.best()))

    def _entries(
        self, folder: Folder, mark: Mark, listed: Sequence[Fetched], gone: list[Range]
    ) -> list[Entry]:
        """Pick what the folder owns; what it owns no more is as good as gone."""
        gone += [(one.uid or 0, one.uid or 0) for one in listed if not self._owns(folder, one)]
        return [_entry(mark.epoch, one) for one in listed if self._owns(folder, one)]

    # Helpers

    def _note(self, folder: Folder, mark: Mark) -> None:
        """Let the session know what keys and flags of this folder are now."""
        name = self._session.names.wire(folder)
        self._session.epochs[name] = mark.epoch
        self._session.next_uids[name] = mark.uidnext or 1
        self._session.storable[name] = mark.storable
        self._session.sent.pop(name, None)
        self._session.sizes.pop(name, None)

    def _owns(self, folder: Folder, fetched: Fetched) -> bool:
        return not self._once or owns(folder, fetched.labels, self._ranks)

    @cached_property
    def _ranks(self) -> frozenset[Rank]:
        """The ranks of the folders that the server shows."""
        return frozenset(rank_folder(folder) for folder in self._session.list_folders() if folder.selectable)

    def fetch_uids(self, uids: Iterable[int], items: bytes) -> Iterator[Fetched]:
        """Fetch some items of some UIDs of the selected folder, those of them that exist, each once."""
        wanted = set(uids)
        for numbers in format_sets(wanted):
            responses, status = self._connection.run(b"UID FETCH ", numbers, b" ", items)
            raise_passing(status)
            for response in responses:
                fetched = parse_fetch(response) if response.kind() == b"FETCH" else None
                if fetched is not None and fetched.uid in wanted:
                    wanted.discard(fetched.uid)
                    yield fetched

    def _fetch(self, command: bytes, lowest: int) -> Iterator[Fetched]:
        for response in self._connection.stream(command):
            fetched = parse_fetch(response) if response.kind() == b"FETCH" else None
            # ``n:*`` names the last message even where its UID is less than n.
            if fetched is not None and fetched.uid is not None and fetched.uid >= lowest:
                yield fetched


class _Witnesses:
    """Keeps a few messages of a listing by which the folder is known again: the first and the last ones."""

    def __init__(self, kept: list[Witness] | None = None) -> None:
        self._kept = sorted(kept or [])

    def offer(self, listed: list[Fetched]) -> None:
        for fetched in (*listed[:1], *listed[-2:]):
            witness = _witness(fetched)
            if witness is not None and witness not in self._kept:
                self._kept = sorted([*self._kept, witness])
        self._kept = [*self._kept[:1], *self._kept[1:][1 - MAX_WITNESSES :]]

    def best(self) -> tuple[Witness, ...]:
        return tuple(self._kept)


def _witness(fetched: Fetched) -> Witness | None:
    if fetched.uid is None or fetched.size is None or fetched.internal_date is None:
        return None
    return fetched.uid, fetched.size, fetched.internal_date.isoformat()


def _is_same_witness(known: tuple[int, str], witness: Witness) -> bool:
    size, date = known
    return size == witness[1] and datetime.fromisoformat(date) == datetime.fromisoformat(witness[2])


def _went_back(old: int | None, new: int | None) -> bool:
    return old is not None and new is not None and new < old


def _entry(epoch: str, fetched: Fetched) -> Entry:
    key = str(Key(epoch, fetched.uid or 0))
    return Entry(key, fetched.size, fetched.internal_date, fetched.flags or frozenset())


def _vanished(response: Response) -> list[Range]:
    try:
        return parse_set(response.head.split(b" ")[-1])
    except ValueError:
        return []


def _gone_pages(epoch: str, gone: list[Range], below: int) -> Iterator[list[str]]:
    if (
        count(gone) > MAX_VANISHED
        and sum(1 for _ in islice(expand(gone, below), MAX_VANISHED)) == MAX_VANISHED
    ):
        raise Transient("the server says that more messages vanished than a folder can hold")
    keys = (str(Key(epoch, uid)) for uid in expand(gone, below))
    while part := list(islice(keys, PAGE)):
        yield part
