"""POP3 as a source: one folder, the inbox."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import TypeAlias

from alimail_core import (
    INBOX,
    PAGE,
    Changes,
    Clock,
    Credentials,
    Cursor,
    Entry,
    Folder,
    Gone,
    Headers,
    Message,
    Remark,
    Source,
    Traits,
    Unreadable,
    Unusable,
)
from alimail_pop3.connection import refused
from alimail_pop3.grades import Answer
from alimail_pop3.headers import arrived
from alimail_pop3.login import connect
from alimail_pop3.maildrop import Maildrop, count_messages, has_size, read_maildrop, without_added_end
from alimail_pop3.options import Pop3Options
from alimail_pop3.remarks import remarks_of
from alimail_pop3.wire import MAX_MESSAGE

EPOCH = "pop3"
"""The one epoch: an identifier of UIDL is never given to another message (RFC 1939 §7)."""
_Asked: TypeAlias = tuple[Entry, int]
"""An entry, and the message's number in this session."""
_SEEN = frozenset({"\\Seen"})


class Pop3Source(Source):
    """A maildrop, read only: nothing is deleted, and what a server may have noted of reading is taken back (RSET).

    A session sees the maildrop as it was at login. So each listing, and each look, has a session of its own.
    """

    def __init__(self, options: Pop3Options, credentials: Credentials, clock: Clock) -> None:
        self._options = options
        self._credentials = credentials
        self._clock = clock
        self.connection = connect(options, credentials)
        self._maildrop: Maildrop | None = None

    @property
    def traits(self) -> Traits:
        """What this server is like."""
        options = self._options
        return Traits(lists_flags=False, max_connections=options.max_connections, host=options.host)

    def folders(self) -> Iterable[Folder]:
        """List the inbox, all that POP3 shows."""
        return [Folder(INBOX, messages=count_messages(self.connection))]

    # Listing

    def changes(self, requests: Iterable[tuple[Folder, Cursor | None]]) -> Iterator[Changes | Unusable]:
        """Tell all that the maildrop holds, each time: the engine finds what is new."""
        maildrop: Maildrop | None = None
        for folder, _ in requests:
            if folder.path != INBOX:
                yield Unusable(folder.path, "POP3 shows the inbox only")
                continue
            maildrop = maildrop or self._listed_anew()
            yield from _pages(folder, maildrop)

    def look(self, folder: Folder, keys: Sequence[str]) -> Iterator[Entry]:
        """List those of the keys that exist at this moment."""
        if folder.path == INBOX and keys:
            maildrop = self._listed_anew()
            yield from (maildrop.entry(key) for key in keys if key in maildrop.numbers)

    def _listed(self) -> Maildrop:
        """Return the maildrop as this session sees it."""
        if self._maildrop is None:
            self._maildrop = read_maildrop(self.connection)
        return self._maildrop

    def _listed_anew(self) -> Maildrop:
        """Return the maildrop as it is now: a session that has listed it once will not see what came since."""
        if self._maildrop is not None:
            self._maildrop = None
            self.connection.leave()
            self.connection = connect(self._options, self._credentials)
        return self._listed()

    # Reading

    def headers(self, folder: Folder, entries: Sequence[Entry]) -> Iterator[Headers]:
        """Give the headers by TOP."""
        numbers = self._listed().numbers if folder.path == INBOX else {}
        here = [(entry.key, numbers[entry.key]) for entry in entries if entry.key in numbers]
        told = self.connection.headers([number for _, number in here])
        for (key, _), octets in zip(here, told, strict=True):
            if isinstance(octets, bytes):
                yield Headers(key, octets)

    def fetch(
        self, requests: Iterable[tuple[Folder, Sequence[Entry]]]
    ) -> Iterator[Message | Gone | Unreadable]:
        """Give messages, several RETR in flight where the server takes them (PIPELINING)."""
        for folder, entries in requests:
            here: list[_Asked] = []
            for entry in entries:
                found = self._find(folder, entry)
                if isinstance(found, int):
                    here.append((entry, found))
                else:
                    yield found
            yield from self._retrieved(folder, here)

    def _find(self, folder: Folder, entry: Entry) -> int | Gone | Unreadable:
        """Return a message's number, or what is to be answered without asking for it."""
        maildrop = self._listed()
        number = maildrop.numbers.get(entry.key) if folder.path == INBOX else None
        if number is None or _differs(entry.size, maildrop.size(entry.key)):
            return Gone(folder.path, entry.key)
        size = maildrop.sizes[number] or 0
        if size > MAX_MESSAGE:
            return Unreadable(folder.path, entry.key, f"{size} octets are more than we take")
        return number

    def _retrieved(self, folder: Folder, here: Sequence[_Asked]) -> Iterator[Message | Gone | Unreadable]:
        """Read by TOP, if that was seen to give all, what it does not give by RETR, and the rest in a new session."""
        if self._listed().exact:
            here = yield from self._given(folder, here, top=True)
        here = yield from self._given(folder, here)
        if not here:
            return
        self._listed_anew()
        for entry, _ in here:
            found = self._find(folder, entry)
            yield self._asked_again(folder, entry, found) if isinstance(found, int) else found

    def _given(
        self, folder: Folder, here: Sequence[_Asked], *, top: bool = False
    ) -> Generator[Message, None, list[_Asked]]:
        """Give what one command gives; return what it refuses, or gives empty or in another size than TOP must."""
        maildrop, left = self._listed(), []
        wanted = [(number, maildrop.sizes[number]) for _, number in here]
        for asked, answer in zip(here, self.connection.retrieve(wanted, top=top), strict=True):
            size = maildrop.size(asked[0].key)
            if isinstance(answer, Answer):
                refused(answer, self.connection)
                left.append(asked)
            elif _is_empty(answer, maildrop.sizes[asked[1]]) or (top and not has_size(answer, size)):
                left.append(asked)
            else:
                yield self._message(folder, asked[0].key, without_added_end(answer, size))
        return left

    def _asked_again(self, folder: Folder, entry: Entry, number: int) -> Message | Unreadable:
        """Ask once more for what exists, and was refused."""
        maildrop = self._listed()
        (answer,) = self.connection.retrieve([(number, maildrop.sizes[number])])
        if isinstance(answer, Answer):
            return Unreadable(folder.path, entry.key, refused(answer, self.connection).message)
        if _is_empty(answer, maildrop.sizes[number]):
            return Unreadable(folder.path, entry.key, "the server gave no content")
        return self._message(folder, entry.key, without_added_end(answer, maildrop.size(entry.key)))

    def _message(self, folder: Folder, key: str, octets: bytes) -> Message:
        date = arrived(octets)
        return Message(folder.path, key, octets, _SEEN if self._is_seen(date) else frozenset(), date)

    def _is_seen(self, date: datetime | None) -> bool:
        options = self._options
        if options.mark_seen != "old":
            return options.mark_seen == "all"
        # What has no date at all is no news.
        return date is None or self._clock.now() - date > timedelta(days=options.unread_days)

    def remarks(self) -> Iterable[Remark]:
        """Tell what the server can do and cannot, and how the connection is protected."""
        return remarks_of(self.connection, self._options, self._credentials.user, self._listed())

    def close(self) -> None:
        """Take leave, so that nothing changes."""
        self.connection.close()


def _pages(folder: Folder, maildrop: Maildrop) -> Iterator[Changes]:
    entries = (maildrop.entry(key) for key in maildrop.numbers)
    left = len(maildrop.numbers)
    while True:
        page = tuple(islice(entries, PAGE))
        left -= len(page)
        yield Changes(folder, EPOCH, page, complete=True, cursor=None if left else {})
        if not left:
            return


def _is_empty(octets: bytes, size: int | None) -> bool:
    """Tell whether a message that has a size came without anything, as from a server that cannot open it.

    Two octets may be a line end that a server counts and does not give.
    """
    return not octets and size is not None and size > len(b"\r\n")


def _differs(one: int | None, other: int | None) -> bool:
    return None not in (one, other) and one != other


def open_source(options: Pop3Options, credentials: Credentials, clock: Clock) -> Pop3Source:
    """Connect and log in. See ``SourceKind.open``."""
    return Pop3Source(options, credentials, clock)
