"""A mail server in memory, and the source and the sink that open it: reference and test double in one.

``MemoryMailbox`` is the server. It outlives every connection, gives out UIDs as a real one does, and lets a
test act as its users (``deliver``, ``delete``, ``move`` ...) and as its administrators (``renumber``,
``remake``). ``MemoryTraits`` says how good or how odd a server it is; a test may change
``mailbox.traits`` between two passes. Everything is deterministic.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TypeVar

from attrs import define, evolve, field, frozen

from alimail_core.contract import Sink, Source
from alimail_core.errors import OverQuota, Refused, Transient
from alimail_core.folders.spelling import encoded_length
from alimail_core.header import header
from alimail_core.model import (
    INBOX,
    PAGE,
    Batch,
    Changes,
    Cursor,
    Delivery,
    Entry,
    FlagChange,
    Folder,
    FolderPath,
    Gone,
    Headers,
    Message,
    Moved,
    NotStored,
    PathRules,
    Quota,
    SinkTraits,
    SpecialUse,
    Stored,
    Traits,
    Unreadable,
    Unusable,
)

_T = TypeVar("_T")

FIRST_DATE = datetime(2024, 1, 1, tzinfo=UTC)
"""What the server's own clock showed first; it goes on by one second at each message."""


@frozen
class MemoryTraits:
    """What the server is like: how good, and how odd. The default is a good one without CONDSTORE."""

    uidplus: bool = True
    """``append`` and ``move`` tell the new key."""
    delta: bool = False
    """``changes`` tells what changed since a cursor (and the server knows a folder that was made again)."""
    moves: bool = True
    storable_flags: frozenset[str] | None = None
    """PERMANENTFLAGS without ``\\*``; others are dropped as they are stored. ``None``: any keyword."""
    keeps_dates: bool = True
    """False: what is appended gets the server's own date."""
    stable_octets: bool = True
    """False: every fetch renders the message anew, with a header field that was not there before."""
    bare_listings: bool = False
    """A source's listing tells keys alone, as over POP3: no size, no date, no flags."""
    tells_news: bool = False
    """A source hears of what arrives while it waits."""
    rules: PathRules = field(factory=PathRules)
    page: int = PAGE
    """The most entries in one page of ``changes``."""
    window: int = 1
    """How many batches the sink takes before it answers the first of them."""
    shuffle: int | None = None
    """The seed of the order in which ``fetch``, ``headers`` and ``append`` answer; ``None``: as asked."""
    quota_octets: int | None = None
    max_message_octets: int | None = None
    alter: Callable[[bytes], bytes] | None = None
    """What the server makes of a message that is appended."""
    refuse: Callable[[bytes], Refused | None] | None = None
    """The server's NO to a message that is appended, or ``None``."""


@define
class StoredMessage:
    """A message as it stands in a folder of the server. ``modseq``: when it last changed (RFC 7162)."""

    uid: int
    octets: bytes = field(repr=False)
    flags: frozenset[str]
    internal_date: datetime
    modseq: int
    unreadable: str | None = None
    """Why the server will not give it, where it will not."""


@define(eq=False)
class MemoryFolder:
    """A folder of the server. ``vanished`` tells, by UID, when a message went (RFC 7162 QRESYNC)."""

    path: FolderPath
    validity: int
    mailbox_id: int
    """Changes whenever the folder is made (RFC 8474); told only by servers with ``delta``."""
    special_use: SpecialUse | None = None
    selectable: bool = True
    closed: str | None = None
    """Why the server does not open it now, where it does not: its NO to a listing."""
    uid_next: int = 1
    messages: dict[int, StoredMessage] = field(factory=dict)
    vanished: dict[int, int] = field(factory=dict)

    def key(self, uid: int) -> str:
        """Return the key that the source and the sink tell of a UID."""
        return f"{self.validity}/{uid}"

    def find(self, key: str) -> StoredMessage | None:
        """Return the message that a key names now."""
        validity, _, uid = key.partition("/")
        ours = validity == str(self.validity) and uid.isdecimal()
        return self.messages.get(int(uid)) if ours else None

    @property
    def octets(self) -> int:
        """Return the size of all its messages."""
        return sum(len(message.octets) for message in self.messages.values())


class MemoryMailbox:
    """One account's mailbox on a server: what is on its disk, whoever is connected.

    The methods are what other people do to it: its user with another client, the MX that delivers, an
    administrator. They raise ``KeyError`` for a folder or UID that is not there.
    """

    def __init__(self, traits: MemoryTraits = MemoryTraits(), *, first_date: datetime = FIRST_DATE) -> None:
        self.traits = traits
        self.tree: dict[FolderPath, MemoryFolder] = {}
        self.renderings = 0
        self._modseq = 0
        self._made = 0
        self._date = first_date
        self.make(INBOX)

    def folder(self, path: FolderPath) -> MemoryFolder:
        """Return a folder; its case may differ where the server does not tell cases apart."""
        return self.tree[self.spelling(path)]

    def spelling(self, path: FolderPath) -> FolderPath:
        """Return a path as the server spells it: an existing folder's own case, ``INBOX`` in capitals."""
        if path[:1] and path[0].upper() == "INBOX":
            path = (*INBOX, *path[1:])
        if self.traits.rules.case_sensitive or path in self.tree:
            return path
        folded = [part.casefold() for part in path]
        alike = (here for here in self.tree if [part.casefold() for part in here] == folded)
        return next(alike, path)

    def make(
        self, path: FolderPath, *, special_use: SpecialUse | None = None, selectable: bool = True
    ) -> MemoryFolder:
        """Make a folder and its parents, or return the one that is there. Obeys no path rules."""
        if len(path) > 1:
            path = (*self.make(path[:-1]).path, path[-1])
        path = self.spelling(path)
        if path not in self.tree:
            self._made += 1
            self.tree[path] = MemoryFolder(path, 1, self._made, special_use, selectable)
        folder = self.tree[path]
        folder.selectable = folder.selectable or selectable
        return folder

    def deliver(
        self,
        path: FolderPath,
        octets: bytes,
        flags: Iterable[str] = (),
        internal_date: datetime | None = None,
    ) -> int:
        """Put a message into a folder, made if need be, exactly as it is, and return its UID."""
        folder = self.make(path)
        uid, folder.uid_next = folder.uid_next, folder.uid_next + 1
        date = internal_date or self._tick()
        folder.messages[uid] = StoredMessage(uid, octets, frozenset(flags), date, self._step())
        return uid

    def delete(self, path: FolderPath, uid: int) -> StoredMessage:
        """Delete and expunge a message, and return what it was."""
        folder = self.folder(path)
        message = folder.messages.pop(uid)
        folder.vanished[uid] = self._step()
        return message

    def set_flags(self, path: FolderPath, uid: int, flags: Iterable[str]) -> None:
        """Replace the flags of a message."""
        message = self.folder(path).messages[uid]
        message.flags = frozenset(flags)
        message.modseq = self._step()

    def move(self, path: FolderPath, uid: int, to: FolderPath) -> int:
        """Move a message, its flags and its date into another folder, and return its new UID."""
        self.folder(to)
        message = self.delete(path, uid)
        return self.deliver(to, message.octets, message.flags, message.internal_date)

    def copy(self, path: FolderPath, uid: int, to: FolderPath) -> int:
        """Copy a message, its flags and its date, and return the copy's UID."""
        message = self.folder(path).messages[uid]
        return self.deliver(to, message.octets, message.flags, message.internal_date)

    def rename_folder(self, path: FolderPath, to: FolderPath) -> None:
        """Rename a folder and all beneath it. UIDs stay; the renamed folders get a new UIDVALIDITY."""
        path = self.folder(path).path
        if path == INBOX or self.spelling(to) in self.tree:
            raise ValueError(f"cannot rename {path} to {to}")
        moving = [here for here in self.tree if here[: len(path)] == path]
        if len(to) > 1:
            self.make(to[:-1])
        for here in moving:
            folder = self.tree.pop(here)
            folder.path = (*to, *here[len(path) :])
            folder.validity += 1
            self.tree[folder.path] = folder

    def remove_folder(self, path: FolderPath) -> None:
        """Delete a folder with its messages; folders beneath it stay."""
        del self.tree[self.folder(path).path]

    def renumber(self, path: FolderPath, new_validity: bool) -> None:
        """Give the messages UIDs from 1 in their order, as a server does that has lost its index.

        Without a new UIDVALIDITY this shows only by UIDNEXT going back and by witnesses.
        """
        folder = self.folder(path)
        self._made += 1
        folder.mailbox_id = self._made
        folder.validity += new_validity
        folder.vanished.clear()
        kept = [folder.messages[uid] for uid in sorted(folder.messages)]
        folder.messages = {n: evolve(one, uid=n, modseq=self._step()) for n, one in enumerate(kept, 1)}
        folder.uid_next = len(kept) + 1

    def remake(self, path: FolderPath) -> None:
        """Delete a folder and make it again, empty, with the same UIDVALIDITY and UIDs from 1 (as Alibaba)."""
        old = self.tree.pop(self.folder(path).path)
        self.make(old.path, special_use=old.special_use).validity = old.validity

    def spoil(self, path: FolderPath, uid: int, reason: str | None) -> None:
        """Make a message unreadable for ``reason``, or readable again."""
        self.folder(path).messages[uid].unreadable = reason

    def uids(self, path: FolderPath) -> list[int]:
        """Return the UIDs of a folder, ascending."""
        return sorted(self.folder(path).messages)

    def contents(self) -> dict[FolderPath, Counter[bytes]]:
        """Return the octets of each folder's messages as a multiset; folders without messages are left out."""
        return {
            path: Counter(message.octets for message in folder.messages.values())
            for path, folder in self.tree.items()
            if folder.messages
        }

    def everything(self) -> Counter[bytes]:
        """Return the octets of all messages as one multiset."""
        return sum(self.contents().values(), Counter())

    def snapshot(self) -> object:
        """Return everything that a read-only visitor must not change, to be compared."""
        return {
            path: (folder.validity, folder.uid_next, {m.uid: evolve(m) for m in folder.messages.values()})
            for path, folder in self.tree.items()
        }

    @property
    def modseq(self) -> int:
        """Return the number of the last change."""
        return self._modseq

    @property
    def octets(self) -> int:
        """Return the size of everything that is stored."""
        return sum(folder.octets for folder in self.tree.values())

    def _step(self) -> int:
        self._modseq += 1
        return self._modseq

    def _tick(self) -> datetime:
        self._date += timedelta(seconds=1)
        return self._date


class MemorySource(Source):
    """A session with a ``MemoryMailbox`` that only reads.

    Use after ``close``, or of another method while ``fetch`` or ``append`` is under way, or within a folder that is
    still being listed, raises ``RuntimeError``: the user of a side has broken the contract.
    """

    def __init__(self, mailbox: MemoryMailbox) -> None:
        self.mailbox = mailbox
        self._closed = False
        self._lost = False
        self._busy = ""
        self._used = 0
        seed = mailbox.traits.shuffle
        self._random = None if seed is None else random.Random(seed)

    @property
    def traits(self) -> Traits:
        """Tell what the server is like."""
        traits = self.mailbox.traits
        return Traits(
            stable_octets=traits.stable_octets,
            lists_flags=not traits.bare_listings,
            tells_news=traits.tells_news,
        )

    def folders(self) -> Iterator[Folder]:
        """List the folders, parents first."""
        self._ready()
        yield from [self._told(folder) for _, folder in sorted(self.mailbox.tree.items())]

    def changes(self, requests: Iterable[tuple[Folder, Cursor | None]]) -> Iterator[Changes | Unusable]:
        """List each folder, or what changed in it where the server can tell and the cursor still counts."""
        for asked, cursor in requests:
            self._ready()
            folder = self._open(asked)
            if folder is None:
                yield Unusable(asked.path, "NO [NONEXISTENT] no such mailbox")
            elif folder.closed is not None:
                yield Unusable(asked.path, folder.closed)
            else:
                for page in self._listing(asked, folder, cursor or {}):
                    used = self._used
                    yield page
                    if page.cursor is None and used != self._used:
                        raise RuntimeError(
                            "a folder's listing went on after the side was used for something else"
                        )

    def headers(self, folder: Folder, entries: Sequence[Entry]) -> Iterator[Headers]:
        """Give the headers of what is there and readable."""
        self._ready()
        for entry in self._mixed(entries):
            message = self._find(folder, entry)
            if message is not None and message.unreadable is None:
                yield Headers(entry.key, message.octets[: header(message.octets)[1]])

    def fetch(
        self, requests: Iterable[tuple[Folder, Sequence[Entry]]]
    ) -> Iterator[Message | Gone | Unreadable]:
        """Give one answer for each entry."""
        with self._occupied("fetch"):
            for folder, entries in requests:
                for entry in self._mixed(entries):
                    self._connected()
                    yield self._answer(folder, entry)

    def look(self, folder: Folder, keys: Sequence[str]) -> Iterator[Entry]:
        """List those of the keys that exist."""
        self._ready()
        here = self._open(folder)
        found = [here.find(key) for key in keys] if here else []
        yield from [_entry(here, message) for message in found if here and message]

    def wait(self, folder: Folder, cursor: Cursor, over: Callable[[], bool]) -> bool:
        """Look again and again."""
        while not over():
            self._ready()
            here = self._open(folder)
            if here is None:
                raise Refused("NO [NONEXISTENT] no such mailbox")
            arrived = here.uid_next > _number(cursor, "uid_next")
            if arrived or not _continues(here, cursor, self.mailbox.traits.delta):
                return True
            time.sleep(0.001)
        return False

    def close(self) -> None:
        """End the session."""
        self._closed = True

    def lose_connection(self) -> None:
        """Cut the connection: whatever is asked from now on raises ``Transient``."""
        self._lost = True

    def _connected(self) -> None:
        if self._lost:
            raise Transient("connection lost")

    def _ready(self) -> None:
        self._used += 1
        if self._closed:
            raise RuntimeError("a side was used after close()")
        if self._busy:
            raise RuntimeError(f"a side was used while {self._busy}() was under way")
        self._connected()

    @contextmanager
    def _occupied(self, method: str) -> Iterator[None]:
        self._ready()
        self._busy = method
        try:
            yield
        finally:
            self._busy = ""

    def _open(self, folder: Folder) -> MemoryFolder | None:
        found = self.mailbox.tree.get(self.mailbox.spelling(folder.path))
        return found if found and found.selectable else None

    def _told(self, folder: MemoryFolder) -> Folder:
        if not folder.selectable:
            return Folder(folder.path, folder.special_use, selectable=False)
        return Folder(folder.path, folder.special_use, messages=len(folder.messages), octets=folder.octets)

    def _listing(self, asked: Folder, folder: MemoryFolder, cursor: Cursor) -> Iterator[Changes]:
        """Take the folder's state at one instant, and tell it page by page."""
        traits = self.mailbox.traits
        same = bool(cursor) and _continues(folder, cursor, traits.delta)
        generation = _number(cursor, "generation") + (bool(cursor) and not same)
        epoch = f"{folder.validity}.{generation}"
        since = _number(cursor, "modseq") if same and traits.delta else -1
        told = [_entry(folder, one) for one in folder.messages.values() if one.modseq > since]
        if not self.traits.lists_flags:
            told = [Entry(entry.key) for entry in told]
        gone = [folder.key(uid) for uid, when in folder.vanished.items() if when > since >= 0]
        note = _note(folder, self.mailbox.modseq, generation)
        pages = [told[at : at + traits.page] for at in range(0, len(told), traits.page)] or [[]]
        for number, page in enumerate(pages, 1):
            last = number == len(pages)
            yield Changes(
                folder=asked,
                epoch=epoch,
                entries=tuple(page),
                gone=tuple(gone) if last else (),
                complete=since < 0,
                cursor=note if last else None,
                storable_flags=traits.storable_flags,
            )

    def _find(self, folder: Folder, entry: Entry) -> StoredMessage | None:
        """Return the message that an entry names, unless its witness no longer holds."""
        here = self._open(folder)
        message = here.find(entry.key) if here else None
        if message is None or entry.size not in (None, len(message.octets)):
            return None
        return message if entry.internal_date in (None, message.internal_date) else None

    def _answer(self, folder: Folder, entry: Entry) -> Message | Gone | Unreadable:
        message = self._find(folder, entry)
        if message is None:
            return Gone(folder.path, entry.key)
        if message.unreadable is not None:
            return Unreadable(folder.path, entry.key, message.unreadable)
        return Message(
            folder.path, entry.key, self._rendered(message.octets), message.flags, message.internal_date
        )

    def _rendered(self, octets: bytes) -> bytes:
        if self.mailbox.traits.stable_octets:
            return octets
        self.mailbox.renderings += 1
        return b"X-Rendered: %d\r\n" % self.mailbox.renderings + octets

    def _mixed(self, items: Sequence[_T]) -> Sequence[_T]:
        return items if self._random is None else self._random.sample(items, len(items))


class MemorySink(MemorySource, Sink):
    """A session with a ``MemoryMailbox`` that also writes."""

    @property
    def traits(self) -> SinkTraits:
        """Tell what the server is like and can do."""
        traits = self.mailbox.traits
        return SinkTraits(
            stable_octets=traits.stable_octets,
            rules=traits.rules,
            max_message_octets=traits.max_message_octets,
            moves=traits.moves,
        )

    def quota(self) -> Quota | None:
        """Tell the storage used and allowed, where there is a limit."""
        self._ready()
        limit = self.mailbox.traits.quota_octets
        return None if limit is None else Quota(self.mailbox.octets, limit)

    def create(self, wanted: Sequence[tuple[FolderPath, SpecialUse | None]]) -> Iterator[Folder | Unusable]:
        """Make folders; a name that breaks the path rules is refused or trimmed as they say."""
        self._ready()
        for path, special_use in wanted:
            reason = _unfit(path, self.mailbox.traits.rules)
            if reason is not None:
                yield Unusable(path, reason)
            else:
                path = _trimmed(path, self.mailbox.traits.rules)
                yield self._told(self.mailbox.make(path, special_use=special_use))

    def append(self, batches: Iterable[Batch]) -> Iterator[Stored | NotStored]:
        """Store what is taken from ``batches``, ``traits.window`` batches at a time."""
        with self._occupied("append"):
            coming = iter(batches)
            while taken := list(islice(coming, self.mailbox.traits.window)):
                yield from self._append([one for batch in taken for one in batch])

    def change_flags(self, folder: Folder, changes: Sequence[FlagChange]) -> None:
        """Add and remove flags; those that the server cannot store are passed over."""
        self._ready()
        here = self._open(folder)
        for change in changes if here else ():
            message = here.find(change.key) if here else None
            if message is not None:
                flags = (message.flags | self._storable(change.add)) - change.remove
                if flags != message.flags:
                    self.mailbox.set_flags(folder.path, message.uid, flags)

    def move(self, folder: Folder, keys: Sequence[str], to: Folder) -> Iterator[Moved]:
        """Move the messages that exist."""
        self._demand_moves()
        target = self._open(to)
        if target is None:
            raise Refused("NO [TRYCREATE] no such mailbox")
        for message in self._existing(folder, keys):
            key = self.mailbox.folder(folder.path).key(message.uid)
            uid = self.mailbox.move(folder.path, message.uid, to.path)
            yield Moved(key, target.key(uid) if self.mailbox.traits.uidplus else None)

    def remove(self, folder: Folder, keys: Sequence[str]) -> Iterator[str]:
        """Remove the messages that exist."""
        self._demand_moves()
        for message in self._existing(folder, keys):
            self.mailbox.delete(folder.path, message.uid)
            yield self.mailbox.folder(folder.path).key(message.uid)

    def _demand_moves(self) -> None:
        self._ready()
        if not self.mailbox.traits.moves:
            raise RuntimeError("move() or remove() was called on a sink that cannot do it safely")

    def _existing(self, folder: Folder, keys: Sequence[str]) -> list[StoredMessage]:
        here = self._open(folder)
        found = [here.find(key) for key in dict.fromkeys(keys)] if here else []
        return [message for message in found if message is not None]

    def _storable(self, flags: frozenset[str]) -> frozenset[str]:
        storable = self.mailbox.traits.storable_flags
        return flags if storable is None else flags & storable

    def _append(self, deliveries: Sequence[Delivery]) -> Iterator[Stored | NotStored]:
        if self._lost:
            yield from [NotStored(one.id, Transient("not sent: connection lost")) for one in deliveries]
        self._connected()
        outcomes: list[Stored | NotStored] = []
        full: OverQuota | None = None
        for delivery in deliveries:
            try:
                outcomes.append(self._store(delivery, full))
            except OverQuota as error:
                full = error
                outcomes.append(NotStored(delivery.id, Transient(error.message)))
        yield from self._mixed(outcomes)
        if full is not None:
            raise full

    def _store(self, delivery: Delivery, full: OverQuota | None) -> Stored | NotStored:
        """Store one message. After OVERQUOTA nothing more is tried. Raises ``OverQuota``."""
        traits = self.mailbox.traits
        folder = self._open(delivery.folder)
        if full is not None:
            return NotStored(delivery.id, Transient("not sent: " + full.message))
        if folder is None:
            return NotStored(delivery.id, Refused("NO [TRYCREATE] no such mailbox"))
        if (refusal := self._refusal(delivery.octets)) is not None:
            return NotStored(delivery.id, refusal)
        octets = traits.alter(delivery.octets) if traits.alter else delivery.octets
        if traits.quota_octets is not None and self.mailbox.octets + len(octets) > traits.quota_octets:
            raise OverQuota("NO [OVERQUOTA] mailbox is full", remedy="Enlarge the mailbox, then run again.")
        date = delivery.internal_date if traits.keeps_dates else None
        uid = self.mailbox.deliver(folder.path, octets, self._storable(delivery.flags), date)
        return Stored(delivery.id, folder.key(uid) if traits.uidplus else None)

    def _refusal(self, octets: bytes) -> Refused | None:
        traits = self.mailbox.traits
        if traits.max_message_octets is not None and len(octets) > traits.max_message_octets:
            return Refused("NO [TOOBIG] message is too large", about="size")
        return traits.refuse(octets) if traits.refuse else None


def _entry(folder: MemoryFolder, message: StoredMessage) -> Entry:
    return Entry(folder.key(message.uid), len(message.octets), message.internal_date, message.flags)


def _note(folder: MemoryFolder, modseq: int, generation: int) -> Cursor:
    """Write the cursor: what must still be true next time, with the last message as a probe of the UIDs."""
    last = max(folder.messages, default=0)
    probe = folder.messages.get(last)
    return {
        "validity": folder.validity,
        "mailbox_id": folder.mailbox_id,
        "uid_next": folder.uid_next,
        "modseq": modseq,
        "generation": generation,
        "probe": [last, len(probe.octets), probe.internal_date.isoformat()] if probe else None,
    }


def _continues(folder: MemoryFolder, cursor: Cursor, delta: bool) -> bool:
    """Tell whether the folder's UIDs still mean what they meant when the cursor was written."""
    if cursor["validity"] != folder.validity or _number(cursor, "uid_next") > folder.uid_next:
        return False
    if delta and cursor["mailbox_id"] != folder.mailbox_id:
        return False
    probe = cursor["probe"]
    message = folder.messages.get(probe[0]) if isinstance(probe, list) else None
    return message is None or probe[1:] == [len(message.octets), message.internal_date.isoformat()]  # type: ignore[index]


def _number(cursor: Cursor, name: str) -> int:
    value = cursor.get(name, 0)
    if not isinstance(value, int):
        raise TypeError(f"not a cursor of ours: {name} is not a number")
    return value


def _unfit(path: FolderPath, rules: PathRules) -> str | None:
    """Return the server's NO to a path that its rules do not allow."""
    if rules.max_depth is not None and len(path) > rules.max_depth:
        return "NO hierarchy too deep"
    if rules.delimiter is None and len(path) > 1:
        return "NO no hierarchy here"
    forbidden = {*rules.forbidden, *(rules.delimiter or "")}
    for name in path:
        if not name or any(char in forbidden or ord(char) < 32 or ord(char) == 127 for char in name):
            return "NO invalid mailbox name"
        if rules.max_octets is not None and encoded_length(name, rules) > rules.max_octets:
            return "NO mailbox name too long"
    return None


def _trimmed(path: FolderPath, rules: PathRules) -> FolderPath:
    return path if rules.keep_spaces else tuple(name.strip(" .") or name for name in path)
