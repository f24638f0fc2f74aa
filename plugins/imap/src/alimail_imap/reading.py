"""``fetch``, ``headers`` and ``look``: messages of many folders over one connection, with commands in flight."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import takewhile

from attrs import define, field

from alimail_core import (
    BATCH_MESSAGES,
    BATCH_OCTETS,
    Entry,
    Folder,
    Gone,
    Headers,
    Message,
    Refused,
    Transient,
    Unreadable,
)
from alimail_imap.connection import MAX_IN_FLIGHT, astring, collect
from alimail_imap.fetched import LISTED, Fetched, parse_fetch
from alimail_imap.grades import grade, raise_passing
from alimail_imap.mailboxes import list_names
from alimail_imap.session import Key, Session
from alimail_imap.tokens import Response, Status
from alimail_imap.uidsets import format_sets
from alimail_imap.wire import MAX_LITERAL

COMMAND_OCTETS = BATCH_OCTETS
"""What one command asks for, but for a message that is larger than that."""
IN_FLIGHT = 2
"""Commands in flight at least: while one is answered the next is with the server already."""
IN_FLIGHT_OCTETS = 3 * COMMAND_OCTETS
"""One more may be in flight while not more than this is owed, to fill a far line. It costs us no memory, as a server
waits for us to read."""
IN_FLIGHT_MESSAGES = 4 * BATCH_MESSAGES
"""Nor more messages than this: what is known of each that is asked for does cost memory, 1 KiB of it."""

RENUMBERED = "the server gave the folder another UIDVALIDITY after it had listed it"

_MESSAGE = b" (UID RFC822.SIZE INTERNALDATE BODY.PEEK[])"
_HEADERS = b" (UID BODY.PEEK[HEADER.FIELDS (MESSAGE-ID DATE FROM SUBJECT)])"

Answer = Message | Gone | Unreadable


@define
class _Job:
    """One UID FETCH of messages of one folder, and the EXAMINE before it where one is needed."""

    folder: Folder
    entries: dict[int, Entry]
    """By UID; a key that is none of ours stands under -1, and is gone."""
    select: tuple[bytes, bytes] | None = None
    tags: list[bytes] = field(factory=list)
    opened: bool = True
    """False once its EXAMINE was refused: what is answered then may be of the folder that was open before."""
    reason: str = "the server gave no content"
    """Why what stays unanswered was not given."""

    def octets(self) -> int:
        """Add up what the server was asked for; a size that it did not tell counts as the largest."""
        return sum(BATCH_OCTETS if entry.size is None else entry.size for entry in self.entries.values())

    def take_out_giants(self) -> Iterator[Unreadable]:
        """Refuse messages larger than any memory should hold, before the server sends them."""
        for uid, entry in list(self.entries.items()):
            if (entry.size or 0) > MAX_LITERAL:
                del self.entries[uid]
                yield Unreadable(self.folder.path, entry.key, f"{entry.size} octets are more than we take")


@define
class _Left:
    """An entry that got no answer, and what the server said about its command."""

    entry: Entry
    reason: str


class Reader:
    """Fetches over one session."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._connection = session.connection
        self._open: bytes | None = None

    def fetch(self, requests: Iterable[tuple[Folder, Sequence[Entry]]]) -> Iterator[Answer]:
        """See ``Source.fetch``."""
        self._connection.settle()
        jobs = _jobs(requests)
        running: deque[_Job] = deque()
        left: list[tuple[Folder, list[_Left]]] = []
        # Opened anew: what was expunged since would otherwise still be handed out.
        self._open = None
        while True:
            while _is_room(running) and (job := next(jobs, None)) is not None:
                yield from job.take_out_giants()
                self._send(job, running, left)
            if not running:
                break
            job = running.popleft()
            unanswered: list[_Left] = []
            yield from self._answers(job, running, unanswered)
            if unanswered:
                left.append((job.folder, unanswered))
        for folder, unanswered in left:
            yield from self._ask_again(folder, unanswered)

    def _send(self, job: _Job, running: deque[_Job], left: list[tuple[Folder, list[_Left]]]) -> None:
        """Put a job on the wire; its folder is opened in the same breath once we know how that is done here."""
        name = self._session.names.wire(job.folder)
        if name != self._open:
            if running or self._session.examine_is_known:
                job.select = self._session.send_select(job.folder)
            else:
                try:
                    self._session.select(job.folder)
                except Refused as error:
                    left.append((job.folder, [_Left(entry, error.message) for entry in job.entries.values()]))
                    return
            self._open = name
        for numbers in format_sets(uid for uid in job.entries if uid > 0):
            job.tags.append(self._connection.send(b"UID FETCH ", numbers, _MESSAGE))
        running.append(job)

    def _answers(self, job: _Job, later: Iterable[_Job], unanswered: list[_Left]) -> Iterator[Answer]:
        """Give the answers to a job's commands, and those to later jobs that come before their turn."""
        self._finish_select(job, later)
        if job.opened:
            known = self._session.uids(job.folder, (entry.key for entry in job.entries.values()))
            for uid in [uid for uid in job.entries if uid not in known]:
                yield self._unknown(job.folder, job.entries.pop(uid).key)
        for tag in job.tags:
            yield from self._read(job, tag, later)
        unanswered += [_Left(entry, job.reason) for entry in job.entries.values()]

    def _finish_select(self, job: _Job, later: Iterable[_Job]) -> None:
        """Take in the answer to a job's EXAMINE; where it is a no, nothing that follows is of that folder."""
        if job.select is None:
            return
        tag, name = job.select
        responses, status = collect(self._connection.until(tag))
        try:
            self._session.note_selected((name, False), responses, status)
        except Refused as error:
            self._open = None
            for one in (job, *_of_its_folder(later)):
                one.opened, one.reason = False, error.message

    def _read(self, job: _Job, tag: bytes, later: Iterable[_Job]) -> Iterator[Answer]:
        """Give the messages that come until a command has ended, and note where the server said no to it."""
        responses = self._connection.until(tag)
        while True:
            try:
                fetched = _content(next(responses))
            except StopIteration as stop:
                if job.opened and not stop.value.ok:
                    job.reason = _reason(stop.value)
                return
            if fetched is not None and fetched.uid is not None:
                entry = self._claim(fetched.uid, job, later)
                if entry is not None:
                    yield _answer(job.folder, entry, fetched)

    def _claim(self, uid: int, job: _Job, later: Iterable[_Job]) -> Entry | None:
        """Take out of its job the entry that an answer is for.

        Commands of one folder may be answered side by side (RFC 9051 §5.5): a server that waits for us to read
        begins with the next one meanwhile. So it is the UID that tells whose an answer is.
        """
        if job.opened and (entry := job.entries.pop(uid, None)) is not None:
            return entry
        for other in _of_its_folder(later):
            entry = other.entries.get(uid) if other.opened else None
            if entry is not None and uid in self._session.uids(other.folder, [entry.key]):
                return other.entries.pop(uid)
        return None

    def _ask_again(self, folder: Folder, left: list[_Left]) -> Iterator[Answer]:
        """Ask for each entry that got no content by itself: so one that the server chokes on costs no other."""
        try:
            self._session.select(folder, fresh=True)
        except Refused as error:
            yield from (Unreadable(folder.path, one.entry.key, error.message) for one in left)
            return
        there = {entry.key: entry for entry in self.listed(folder, [one.entry.key for one in left])}
        for one in left:
            now = there.get(one.entry.key)
            if now is None:
                yield self._unknown(folder, one.entry.key)
            elif _differs(one.entry, now.size, now.internal_date):
                yield Gone(folder.path, one.entry.key)
            else:
                yield self._fetch_alone(folder, one)

    def _unknown(self, folder: Folder, key: str) -> Answer:
        """Answer for a key that the open folder does not have: where all keys have changed, nothing is gone."""
        if self._session.was_renumbered(folder, key):
            return Unreadable(folder.path, key, RENUMBERED)
        return Gone(folder.path, key)

    def _fetch_alone(self, folder: Folder, one: _Left) -> Answer:
        key = Key.parse(one.entry.key)
        assert key is not None  # It was listed a moment ago.
        responses, status = self._connection.run(b"UID FETCH %d" % key.uid, _MESSAGE)
        reason = one.reason if status.ok else _reason(status)
        for response in responses:
            fetched = _content(response)
            if fetched is not None and fetched.uid == key.uid:
                return _answer(folder, one.entry, fetched)
        return Unreadable(folder.path, one.entry.key, reason)

    # Lists and headers

    def look(self, folder: Folder, keys: Sequence[str]) -> Iterator[Entry]:
        """See ``Source.look``."""
        if self._opened(folder):
            yield from self.listed(folder, keys)

    def listed(self, folder: Folder, keys: Sequence[str]) -> Iterator[Entry]:
        """List those keys that exist in the folder, which is selected; a key that is left out does not exist.

        Raises ``Transient`` where the server does not say.
        """
        wanted = self._session.uids(folder, keys)
        if (yield from self._list(wanted, LISTED)) is None:
            return
        # One of them may be damaged, or expunged this moment; flags are told of any that exists.
        self._session.select(folder, fresh=True)
        refused = yield from self._list(wanted, b"(UID FLAGS)")
        if refused is not None:
            raise Transient(f"{'/'.join(folder.path)}: {refused.words()}")

    def _list(self, wanted: dict[int, str], items: bytes) -> Generator[Entry, None, Status | None]:
        """List what exists and take it out of ``wanted``; return the NO, if there was one."""
        refused: Status | None = None
        for numbers in list(format_sets(wanted)):
            responses = self._connection.stream(b"UID FETCH ", numbers, b" ", items)
            try:
                while True:
                    fetched = _fetched(next(responses))
                    # An unasked FETCH tells flags alone, and mostly no UID.
                    told = fetched is not None and (fetched.size is not None or items is not LISTED)
                    if told and fetched is not None and fetched.uid in wanted and fetched.flags is not None:
                        key = wanted.pop(fetched.uid)
                        yield Entry(key, fetched.size, fetched.internal_date, fetched.flags)
            except StopIteration as stop:
                raise_passing(stop.value)
                refused = refused if stop.value.ok else stop.value
        return refused

    def headers(self, folder: Folder, entries: Sequence[Entry]) -> Iterator[Headers]:
        """See ``Source.headers``."""
        if not self._opened(folder):
            return
        wanted = self._session.uids(folder, [entry.key for entry in entries])
        for numbers in list(format_sets(wanted)):
            for response in self._connection.stream(b"UID FETCH ", numbers, _HEADERS):
                fetched = _fetched(response)
                if fetched is not None and fetched.octets is not None and fetched.uid in wanted:
                    yield Headers(wanted.pop(fetched.uid), fetched.octets)

    def _opened(self, folder: Folder) -> bool:
        """Open a folder as it is now; return False where it is not there. Raises ``Transient`` where it is."""
        try:
            self._session.select(folder, fresh=True)
        except Refused as error:
            name = astring(self._session.names.wire(folder))
            if any(listed.selectable for listed in list_names(self._connection, name)):
                raise Transient(f"{'/'.join(folder.path)}: {error.message}") from error
            return False
        return True


def _fetched(response: Response) -> Fetched | None:
    return parse_fetch(response) if response.kind() == b"FETCH" else None


def _content(response: Response) -> Fetched | None:
    """Read an answer with a message's octets.

    Nothing at all where the same answer tells a size is no content: so say servers of what they cannot open.
    """
    fetched = _fetched(response)
    if fetched is None or fetched.octets is None or (fetched.size and not fetched.octets):
        return None
    return fetched


def _is_room(running: Sequence[_Job]) -> bool:
    """Tell whether one more job may be in flight: always a second one, and more of them where they are small."""
    if len(running) < IN_FLIGHT:
        return True
    octets, messages = sum(job.octets() for job in running), sum(len(job.entries) for job in running)
    return len(running) < MAX_IN_FLIGHT // 2 and octets <= IN_FLIGHT_OCTETS and messages < IN_FLIGHT_MESSAGES


def _of_its_folder(later: Iterable[_Job]) -> Iterator[_Job]:
    """Pick the jobs before the next EXAMINE: nothing of those after it can have been answered yet."""
    return takewhile(lambda job: job.select is None, later)


def _jobs(requests: Iterable[tuple[Folder, Sequence[Entry]]]) -> Iterator[_Job]:
    """Cut requests to commands of at most ``COMMAND_OCTETS``."""
    for folder, entries in requests:
        job, octets = _Job(folder, {}), 0
        for entry in entries:
            key = Key.parse(entry.key)
            size = entry.size or 0
            uid = key.uid if key is not None else -1
            full = octets + size > COMMAND_OCTETS or len(job.entries) >= BATCH_MESSAGES
            # Two keys of one UID, of an old epoch and of the present one, cannot be in one command.
            if job.entries and (full or uid in job.entries):
                yield job
                job, octets = _Job(folder, {}), 0
            job.entries[uid] = entry
            octets += size
        if job.entries:
            yield job


def _answer(folder: Folder, entry: Entry, fetched: Fetched) -> Answer:
    """Make the answer for an entry; the octets are taken out of ``fetched``, so that no idle frame keeps them."""
    octets, fetched.octets = fetched.octets or b"", None
    if _differs(entry, fetched.size, fetched.internal_date):
        return Gone(folder.path, entry.key)
    return Message(folder.path, entry.key, octets, None, fetched.internal_date)


def _differs(entry: Entry, size: int | None, date: object) -> bool:
    """Tell whether a witness no longer holds; what either side does not tell contradicts nothing."""
    if None not in (entry.size, size) and entry.size != size:
        return True
    return None not in (entry.internal_date, date) and entry.internal_date != date


def _reason(status: Status) -> str:
    """Return why messages were not given. Raises where that is the server's state and not the messages."""
    raise_passing(status)
    return grade(status, "read").message
