"""What mailboxes hold: folders and items, and in which order they changed.

Everything is in memory, under the organisation's lock, which the server takes for each request. Identifiers are
opaque, name the database that the mailbox lies in, and change when an item is moved, as Exchange's do.
"""

from __future__ import annotations

import base64
import itertools
import struct
import uuid
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from email.header import Header, decode_header, make_header
from email.message import Message
from email.parser import BytesHeaderParser
from functools import cached_property

from attrs import define, field, fields_dict

from tests.exchange.furniture import MAIL

FolderPath = tuple[str, ...]

_KIND_FOLDER, _KIND_ITEM = 1, 2
_ID = struct.Struct(">B16sIII")
"""Kind, mailbox, database, folder, item: what every identifier says, before it is made as long as Exchange's."""
_ID_LENGTH = 87
"""Octets of an identifier before base64, which makes 116 letters of them."""


class MalformedId(Exception):
    """This is no identifier of this kind, or of any."""


@define(eq=False)
class ChangeLog:
    """Numbers of folders or items in the order of their last change; what a sync state points into.

    ``after`` costs in proportion to what changed since, so that a sync of a large folder in pages stays linear.
    """

    _changes: list[int] = field(factory=list)
    _numbers: list[int] = field(factory=list)
    _last: dict[int, int] = field(factory=dict)

    def note(self, change: int, number: int) -> None:
        """Let the thing of this number have changed, and last of all."""
        self._changes.append(change)
        self._numbers.append(number)
        self._last[number] = change

    def after(self, position: int) -> Iterator[tuple[int, int]]:
        """Give (change, number) of each thing that changed since, once, at its last change."""
        for index in range(bisect_right(self._changes, position), len(self._changes)):
            change, number = self._changes[index], self._numbers[index]
            if self._last[number] == change:
                yield change, number


@define(eq=False)
class Item:
    """One item of a folder; ``Mailbox`` has the methods that change one."""

    folder: Folder
    number: int
    mime: bytes
    item_class: str
    received: datetime
    is_read: bool = False
    is_draft: bool = False
    flag_status: str = "NotFlagged"
    categories: tuple[str, ...] = ()
    importance: str = "Normal"
    last_verb: int | None = None
    """PidTagLastVerbExecuted: 102 replied, 103 replied to all, 104 forwarded."""
    icon_index: int | None = None
    """PidTagIconIndex: 261 replied, 262 forwarded (beside others that say nothing of flags)."""
    failure: str | None = None
    """The response code that comes instead of the item whenever its content is asked for."""
    modified: datetime = field(init=False)
    """PidTagLastModificationTime: another after each change but the mark that it was read."""
    changed: int = 0
    content_changed: int = 0
    """The last change beside the mark that it was read."""
    renderings: int = 0
    """How often its MIME content was given out."""
    _header: Message | None = field(default=None, init=False)

    @property
    def header(self) -> Message:
        """The fields of its header, parsed once."""
        if self._header is None:
            end = self.mime.find(b"\r\n\r\n")
            self._header = BytesHeaderParser().parsebytes(self.mime[: end + 2] if end >= 0 else self.mime)
        return self._header

    def header_text(self, name: str) -> str | None:
        """Return a field of the header decoded, ``None`` where it is missing."""
        value = self.header[name]
        if value is None:
            return None
        try:
            return str(make_header(decode_header(value)))
        except (LookupError, UnicodeError, ValueError):
            return str(Header(str(value), "utf-8", errors="replace"))

    @property
    def size(self) -> int:
        """What the store says: more than the MIME content or less, and never exactly it."""
        return len(self.mime) + 1_309 + len(self.mime) // 70

    @property
    def id(self) -> str:
        """What ``ItemId/@Id`` says."""
        return self.folder.mailbox.identify(self.folder.number, self.number)

    @property
    def change_key(self) -> str:
        """What ``ItemId/@ChangeKey`` says; another after each change."""
        return _change_key(b"CQAAABYA", self.number, self.changed)


@define(eq=False)
class Folder:
    """One folder; a search folder has no items of its own."""

    mailbox: Mailbox
    number: int
    name: str
    parent: Folder | None
    folder_class: str
    """``IPF.Note`` for mail; empty for a few, as with Exchange's own."""
    distinguished: str | None = None
    search: bool = False
    hidden: bool = False
    readers: set[str] | None = None
    """Of a public folder: addresses of those who may read in it; ``None``: everybody."""
    elsewhere: bool = False
    """Of a public folder: its content is in another mailbox than requests without routing headers come to."""
    items: dict[int, Item] = field(factory=dict)
    children: list[Folder] = field(factory=list)
    log: ChangeLog = field(factory=ChangeLog)
    changed: int = 0
    _numbers: Iterator[int] = field(factory=lambda: itertools.count(1))

    @property
    def id(self) -> str:
        """What ``FolderId/@Id`` says."""
        return self.mailbox.identify(self.number)

    @property
    def change_key(self) -> str:
        """What ``FolderId/@ChangeKey`` says."""
        return _change_key(b"AQAAABYA", self.number, self.changed)

    @property
    def parent_id(self) -> str | None:
        """What ``ParentFolderId/@Id`` says; of public folders nothing that was told before, as was seen of some."""
        if self.parent is None:
            return None
        is_public = self.mailbox.top.distinguished == "publicfoldersroot"
        return self.mailbox.identify(self.parent.number + 1_000_000) if is_public else self.parent.id

    @property
    def path(self) -> FolderPath:
        """Its names below the top of what people see."""
        if self.parent is None or self.distinguished in ("msgfolderroot", "archivemsgfolderroot"):
            return ()
        return (*self.parent.path, self.name)

    @property
    def unread(self) -> int:
        """How many items nobody has read."""
        return sum(not item.is_read for item in self.items.values())

    def below(self) -> Iterator[Folder]:
        """Give every folder beneath this one, parents first."""
        for child in self.children:
            yield child
            yield from child.below()

    def newest_first(self) -> list[Item]:
        """Return its items in the order of FindItem."""
        return sorted(self.items.values(), key=lambda item: (item.received, item.number), reverse=True)

    def next_number(self) -> int:
        """Return a number that no item of this folder has ever had."""
        return next(self._numbers)


@define(eq=False, slots=False)
class Mailbox:
    """One mailbox, or one archive, or the public folders: a tree of folders with items."""

    address: str
    name: str
    aliases: frozenset[str] = frozenset()
    upn: str = ""
    sid: str = ""
    disabled: bool = False
    """Its account is disabled: nobody can impersonate it."""
    archive: Mailbox | None = None
    database: int = 1
    delegates: set[str] = field(factory=set)
    """Logins with FullAccess."""
    folders: dict[int, Folder] = field(factory=dict)
    log: ChangeLog = field(factory=ChangeLog)
    _changes: Iterator[int] = field(factory=lambda: itertools.count(1))
    _numbers: Iterator[int] = field(factory=lambda: itertools.count(1))
    _clock: datetime = datetime(2000, 1, 1, tzinfo=UTC)

    @cached_property
    def guid(self) -> bytes:
        """What its identifiers begin with; the same for the same name, so that a restarted server knows them."""
        return uuid.uuid5(uuid.NAMESPACE_DNS, self.address or self.name).bytes

    # -- folders

    def add_folder(
        self,
        name: str,
        parent: Folder | None,
        folder_class: str = MAIL,
        *,
        distinguished: str | None = None,
        search: bool = False,
        hidden: bool = False,
    ) -> Folder:
        """Make a folder; names may be the same as others', as Exchange would not have it but tests may."""
        folder = Folder(self, next(self._numbers), name, parent, folder_class, distinguished, search, hidden)
        self.folders[folder.number] = folder
        if parent is not None:
            parent.children.append(folder)
        self._touch_folder(folder)
        return folder

    def folder(self, path: Sequence[str] | str) -> Folder:
        """Return a folder by its names below the top, or by its distinguished id; make it where it is missing."""
        if isinstance(path, str):
            return self.distinguished(path)
        at = self.top
        for name in path:
            found = next((child for child in at.children if child.name == name), None)
            at = found or self.add_folder(name, at)
        return at

    def distinguished(self, name: str) -> Folder:
        """Return the folder with this distinguished id. Raises ``KeyError``."""
        for folder in self.folders.values():
            if folder.distinguished == name:
                return folder
        raise KeyError(name)

    @property
    def top(self) -> Folder:
        """The top of what people see."""
        tops = ("msgfolderroot", "archivemsgfolderroot", "publicfoldersroot")
        return next(folder for folder in self.folders.values() if folder.distinguished in tops)

    def rename(self, folder: Folder, name: str) -> None:
        """Give a folder another name; its id stays."""
        folder.name = name
        self._touch_folder(folder)

    def move_folder(self, folder: Folder, parent: Folder) -> None:
        """Hang a folder under another; its id and its items' ids stay."""
        if folder.parent is not None:
            folder.parent.children.remove(folder)
        folder.parent = parent
        parent.children.append(folder)
        self._touch_folder(folder)

    def remove_folder(self, folder: Folder) -> None:
        """Delete a folder with all that is beneath it."""
        if folder.parent is not None:
            folder.parent.children.remove(folder)
        for gone in (folder, *folder.below()):
            del self.folders[gone.number]
            self.log.note(next(self._changes), gone.number)

    def _touch_folder(self, folder: Folder) -> None:
        folder.changed = next(self._changes)
        self.log.note(folder.changed, folder.number)

    # -- items

    def deliver(
        self,
        path: Sequence[str] | str,
        mime: bytes,
        *,
        item_class: str = "IPM.Note",
        received: datetime | None = None,
        flags: Iterable[str] = (),
        categories: Sequence[str] = (),
    ) -> Item:
        """Put an item into a folder. ``flags`` are IMAP's system flags and ``$Forwarded``."""
        folder = self.folder(path)
        wanted = frozenset(flags)
        when = received or datetime.now(UTC).replace(microsecond=0)
        item = Item(folder, folder.next_number(), mime, item_class, when, categories=tuple(categories))
        item.is_read = "\\Seen" in wanted
        item.is_draft = "\\Draft" in wanted
        item.flag_status = "Flagged" if "\\Flagged" in wanted else "NotFlagged"
        if "$Forwarded" in wanted:
            item.last_verb, item.icon_index = 104, 262
        if "\\Answered" in wanted:
            item.last_verb, item.icon_index = 102, 261
        folder.items[item.number] = item
        self._touch(item)
        return item

    def change(self, item: Item, **fields: object) -> None:
        """Set attributes of an item; a client hears of ``is_read`` alone in an answer of its own kind."""
        for name, value in fields.items():
            if name not in fields_dict(Item):
                raise AttributeError(name)
            setattr(item, name, value)
        if "mime" in fields:
            item._header = None
        self._touch(item, content=set(fields) != {"is_read"})

    def move(self, item: Item, to: Folder) -> Item:
        """Move an item, which gives it another id."""
        del item.folder.items[item.number]
        item.folder.log.note(next(self._changes), item.number)
        item.folder, item.number = to, to.next_number()
        to.items[item.number] = item
        self._touch(item)
        return item

    def remove(self, item: Item) -> None:
        """Delete an item for good."""
        del item.folder.items[item.number]
        item.folder.log.note(next(self._changes), item.number)

    def relocate(self) -> None:
        """Move the mailbox to another database: every identifier and every sync state it gave out is dead."""
        self.database += 1

    def _touch(self, item: Item, *, content: bool = True) -> None:
        item.changed = next(self._changes)
        if content:
            item.content_changed = item.changed
            item.modified = self._now()
        item.folder.log.note(item.changed, item.number)

    def _now(self) -> datetime:
        """Return a time that is later than the last, however fast changes follow."""
        self._clock = max(datetime.now(UTC).replace(microsecond=0), self._clock + timedelta(seconds=1))
        return self._clock

    def identify(self, folder: int, item: int | None = None) -> str:
        """Return the identifier of a folder, or of an item in it."""
        kind = _KIND_FOLDER if item is None else _KIND_ITEM
        said = _ID.pack(kind, self.guid, self.database, folder, item or 0)
        return base64.b64encode(said.ljust(_ID_LENGTH, b"\0")).decode()


def read_id(identifier: str) -> tuple[bool, bytes, int, int, int]:
    """Return what an identifier says: whether of an item, store, database, folder, item. Raises ``MalformedId``."""
    try:
        said = base64.b64decode(identifier, validate=True)
        kind, guid, database, folder, item = _ID.unpack_from(said)
    except (ValueError, struct.error) as error:
        raise MalformedId(identifier) from error
    if kind not in (_KIND_FOLDER, _KIND_ITEM) or len(said) != _ID_LENGTH:
        raise MalformedId(identifier)
    return kind == _KIND_ITEM, guid, database, folder, item


def _change_key(begin: bytes, number: int, changed: int) -> str:
    return (begin + base64.b64encode(struct.pack(">IIIII", number, changed, 0, 0, changed))).decode()
