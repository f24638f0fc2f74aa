"""How folders and items are written: which properties a shape asks for, which a version has, and what each is."""

from __future__ import annotations

import re
from binascii import b2a_base64
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from email.utils import getaddresses, parsedate_to_datetime
from typing import Final, Generic, TypeVar

from attrs import frozen

from tests.exchange.rendering import render_anew
from tests.exchange.soap import (
    NAMESPACES,
    Failure,
    Request,
    age,
    attribute,
    children,
    element,
    local_name,
    text,
)
from tests.exchange.store import Folder, Item

Thing = TypeVar("Thing")
Write = Callable[[Thing], bytes]

_PROPERTY_TAG: Final = re.compile(r"0[xX][0-9a-fA-F]{1,4}|\d{1,5}")


@frozen
class Property(Generic[Thing]):
    """One property: its path as a shape asks for it, how it is written, and in which shapes it comes unasked."""

    path: str
    write: Write[Thing]
    since: str = "Exchange2007_SP1"
    default: bool = False


@frozen
class Shape:
    """What one request wants of each thing."""

    base: str
    paths: frozenset[str]
    extended: tuple[Mapping[str, str], ...]
    headers: tuple[str, ...]
    """Single fields of ``InternetMessageHeaders``."""
    mime: bool

    @classmethod
    def of(cls, request: Request, where: str) -> Shape:
        """Read the shape of a request. Raises ``Failure`` for a property that makes no sense."""
        node = request.find(where)
        assert node is not None, "the schema has been kept"
        paths, extended, headers = set(), [], []
        for wanted in children(node.find("t:AdditionalProperties", NAMESPACES)):
            if local_name(wanted) == "FieldURI":
                paths.add(wanted.get("FieldURI", ""))
            elif local_name(wanted) == "IndexedFieldURI":
                headers.append(wanted.get("FieldIndex", ""))
            else:
                extended.append(_checked({str(name): str(value) for name, value in wanted.attrib.items()}))
        mime = node.findtext("t:IncludeMimeContent", "false", NAMESPACES) in ("true", "1")
        base = node.findtext("t:BaseShape", "IdOnly", NAMESPACES)
        return cls(
            base, frozenset(paths), tuple(extended), tuple(headers), mime or "item:MimeContent" in paths
        )

    def choose(self, among: Iterable[Property[Thing]], request: Request) -> list[Write[Thing]]:
        """Return how to write those properties that are wanted and that this client's version has."""
        newest = age(request.version)
        return [it.write for it in among if age(it.since) <= newest and self.wants(it)]

    def wants(self, wanted: Property[Thing]) -> bool:
        """Tell whether a property is asked for, by its name or with the others of a base shape."""
        by_base = self.base == "AllProperties" or (self.base == "Default" and wanted.default)
        return by_base or wanted.path in self.paths


def _checked(path: Mapping[str, str]) -> Mapping[str, str]:
    """Return an extended property's path if it is one (the schema cannot tell)."""
    named = "PropertyName" in path or "PropertyId" in path
    in_set = "PropertySetId" in path or "DistinguishedPropertySetId" in path
    tag = path.get("PropertyTag")
    if (tag is None) == (not named) or named != in_set or (tag and not _PROPERTY_TAG.fullmatch(tag)):
        raise Failure("ErrorInvalidExtendedProperty", "Extended property is not valid.")
    return path


def _extended(shape: Shape, thing: Thing, tags_of: Callable[[Thing], Mapping[tuple[int, str], str]]) -> bytes:
    """Write those of the wanted extended properties that a thing has."""
    if not shape.extended:
        return b""
    values, written = tags_of(thing), []
    for path in shape.extended:
        if "PropertyTag" not in path:
            continue  # named properties: nothing in this store has one
        tag = int(path["PropertyTag"], 0)
        value = values.get((tag, path["PropertyType"]))
        if value is not None:
            uri = b'<t:ExtendedFieldURI PropertyTag="0x%x" PropertyType=%b/>' % (
                tag,
                attribute(path["PropertyType"]),
            )
            written.append(b"<t:ExtendedProperty>%b%b</t:ExtendedProperty>" % (uri, element("Value", value)))
    return b"".join(written)


def moment(when: datetime) -> str:
    """Write a time as EWS does: UTC, whole seconds."""
    return when.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _flag(name: str, value: bool) -> bytes:
    return element(name, "true" if value else "false")


def _number(name: str, value: int) -> bytes:
    return element(name, str(value))


# -- folders


def folder_id(folder: Folder, name: str = "FolderId") -> bytes:
    """Write a folder's identifier."""
    return f'<t:{name} Id="{folder.id}" ChangeKey="{folder.change_key}"/>'.encode()


def _parent_id(folder: Folder, parent: Folder) -> bytes:
    return f'<t:ParentFolderId Id="{folder.parent_id}" ChangeKey="{parent.change_key}"/>'.encode()


_FOLDER_ELEMENTS: Final = {
    "IPF.Appointment": "CalendarFolder",
    "IPF.Contact": "ContactsFolder",
    "IPF.Task": "TasksFolder",
}


def folder_element(folder: Folder) -> str:
    """Return the name of the element that a folder is written as."""
    return "SearchFolder" if folder.search else _FOLDER_ELEMENTS.get(folder.folder_class, "Folder")


_RIGHTS: Final = b"".join(
    _flag(right, True)
    for right in ("CreateAssociated", "CreateContents", "CreateHierarchy", "Delete", "Modify", "Read")
)  # fmt: skip

_FOLDER_BEFORE: Final = (
    Property[Folder](
        "folder:ParentFolderId",
        lambda it: _parent_id(it, it.parent) if it.parent is not None else b"",
    ),
    Property[Folder](
        "folder:FolderClass", lambda it: element("FolderClass", it.folder_class) if it.folder_class else b""
    ),
    Property[Folder]("folder:DisplayName", lambda it: element("DisplayName", it.name), default=True),
    Property[Folder]("folder:TotalCount", lambda it: _number("TotalCount", len(it.items)), default=True),
    Property[Folder](
        "folder:ChildFolderCount", lambda it: _number("ChildFolderCount", len(it.children)), default=True
    ),
)
_FOLDER_AFTER: Final = (
    Property[Folder](
        "folder:EffectiveRights", lambda it: b"<t:EffectiveRights>%b</t:EffectiveRights>" % _RIGHTS
    ),
    Property[Folder](
        "folder:DistinguishedFolderId",
        lambda it: element("DistinguishedFolderId", it.distinguished) if it.distinguished else b"",
        since="Exchange2013",
    ),
)
_UNREAD: Final = Property[Folder](
    "folder:UnreadCount", lambda it: _number("UnreadCount", it.unread), default=True
)


def folder_writer(shape: Shape, request: Request) -> Write[Folder]:
    """Return what writes folders in the shape that was asked for."""
    before, after, last = (
        shape.choose(some, request) for some in (_FOLDER_BEFORE, _FOLDER_AFTER, (_UNREAD,))
    )

    def write(folder: Folder) -> bytes:
        name = folder_element(folder)
        counts = last if name in ("Folder", "TasksFolder", "SearchFolder") else ()
        parts = [
            folder_id(folder),
            *(each(folder) for each in before),
            _extended(shape, folder, _folder_tags),
        ]
        parts += [each(folder) for each in (*after, *counts)]
        return b"<t:%b>%b</t:%b>" % (name.encode(), b"".join(parts), name.encode())

    return write


def _folder_tags(folder: Folder) -> dict[tuple[int, str], str]:
    size = str(sum(item.size for item in folder.items.values()))
    return {
        (0x10F4, "Boolean"): "true" if folder.hidden else "false",
        (0x3601, "Integer"): "0" if folder.parent is None else ("2" if folder.search else "1"),
        (0x0E08, "Integer"): size,
        (0x0E08, "Long"): size,
        (0x3613, "String"): folder.folder_class,
        (0x3001, "String"): folder.name,
        (0x3602, "Integer"): str(len(folder.items)),
        (0x3603, "Integer"): str(folder.unread),
        (0x66B5, "String"): "".join(f"\ufffd{name}" for name in folder.path),
    }


# -- items


_ITEM_ELEMENTS: Final = (
    ("IPM.Note", "Message"),
    ("REPORT.", "Message"),
    ("IPM.StickyNote", "Message"),
    ("IPM.Schedule.Meeting.Request", "MeetingRequest"),
    ("IPM.Schedule.Meeting.Resp", "MeetingResponse"),
    ("IPM.Schedule.Meeting.Canceled", "MeetingCancellation"),
    ("IPM.Appointment", "CalendarItem"),
    ("IPM.Contact", "Contact"),
    ("IPM.DistList", "DistributionList"),
    ("IPM.Task", "Task"),
    ("IPM.Post", "PostItem"),
)
_LIKE_MESSAGES: Final = ("Message", "MeetingRequest", "MeetingResponse", "MeetingCancellation")


def item_element(item: Item) -> str:
    """Return the name of the element that an item is written as."""
    return next((name for begin, name in _ITEM_ELEMENTS if item.item_class.startswith(begin)), "Item")


def item_id(item: Item) -> bytes:
    """Write an item's identifier."""
    return f'<t:ItemId Id="{item.id}" ChangeKey="{item.change_key}"/>'.encode()


def _header(element_name: str, field_name: str) -> Write[Item]:
    def write(item: Item) -> bytes:
        value = item.header_text(field_name)
        return element(element_name, value) if value is not None else b""

    return write


def _mailbox(name: str, address: str) -> bytes:
    if not address:
        return b"<t:Mailbox>%b</t:Mailbox>" % element("Name", name)
    return b"<t:Mailbox>%b%b%b</t:Mailbox>" % (
        element("Name", name or address),
        element("EmailAddress", address),
        element("RoutingType", "SMTP"),
    )


def _people(element_name: str, field_name: str, *, one: bool = False) -> Write[Item]:
    def write(item: Item) -> bytes:
        found = getaddresses([item.header_text(field_name) or ""])
        people = [_mailbox(name, address) for name, address in found if name or address]
        people = people[:1] if one else people
        inside = b"".join(people)
        name = element_name.encode()
        return b"<t:%b>%b</t:%b>" % (name, inside, name) if people else b""

    return write


def _display(element_name: str, field_name: str) -> Write[Item]:
    def write(item: Item) -> bytes:
        people = getaddresses([item.header_text(field_name) or ""])
        return element(element_name, "; ".join(name or address for name, address in people))

    return write


def _sent(item: Item) -> datetime:
    try:
        return parsedate_to_datetime(str(item.header["Date"])).astimezone(UTC)
    except (TypeError, ValueError, IndexError, OverflowError):
        return item.received


def _header_fields(fields: Iterable[tuple[str, object]]) -> bytes:
    inside = b"".join(
        b"<t:InternetMessageHeader HeaderName=%b>%b</t:InternetMessageHeader>"
        % (attribute(name), text(re.sub(r"\r?\n[ \t]*", " ", str(value))))
        for name, value in fields
    )
    return b"<t:InternetMessageHeaders>%b</t:InternetMessageHeaders>" % inside if inside else b""


def _categories(item: Item) -> bytes:
    inside = b"".join(element("String", category) for category in item.categories)
    return b"<t:Categories>%b</t:Categories>" % inside if inside else b""


def _attached(item: Item) -> bool:
    return b"multipart/mixed" in item.mime[: max(item.mime.find(b"\r\n\r\n"), 0)].lower()


_SP1, _2010, _2013 = "Exchange2007_SP1", "Exchange2010", "Exchange2013"

_ITEM_TO_HEADERS: Final = (
    Property[Item](
        "item:ParentFolderId", lambda it: folder_id(it.folder, "ParentFolderId")
    ),
    Property[Item]("item:ItemClass", lambda it: element("ItemClass", it.item_class)),
    Property[Item]("item:Subject", _header("Subject", "Subject"), default=True),
    Property[Item]("item:Sensitivity", lambda it: element("Sensitivity", "Normal"), default=True),
    Property[Item]("item:DateTimeReceived", lambda it: element("DateTimeReceived", moment(it.received))),
    Property[Item]("item:Size", lambda it: _number("Size", it.size), default=True),
    Property[Item]("item:Categories", _categories),
    Property[Item]("item:Importance", lambda it: element("Importance", it.importance)),
    Property[Item]("item:InReplyTo", _header("InReplyTo", "In-Reply-To")),
    Property[Item]("item:IsSubmitted", lambda it: _flag("IsSubmitted", False)),
    Property[Item]("item:IsDraft", lambda it: _flag("IsDraft", it.is_draft)),
    Property[Item]("item:IsFromMe", lambda it: _flag("IsFromMe", False)),
    Property[Item]("item:IsResend", lambda it: _flag("IsResend", False)),
    Property[Item]("item:IsUnmodified", lambda it: _flag("IsUnmodified", not it.is_draft)),
)  # fmt: skip
_ALL_HEADERS: Final = Property[Item](
    "item:InternetMessageHeaders", lambda it: _header_fields(it.header.items())
)
_ITEM_TO_EXTENDED: Final = (
    Property[Item]("item:DateTimeSent", lambda it: element("DateTimeSent", moment(_sent(it))), default=True),
    Property[Item](
        "item:DateTimeCreated", lambda it: element("DateTimeCreated", moment(it.received)), default=True
    ),
    Property[Item]("item:DisplayCc", _display("DisplayCc", "Cc")),
    Property[Item]("item:DisplayTo", _display("DisplayTo", "To")),
    Property[Item](
        "item:HasAttachments", lambda it: _flag("HasAttachments", _attached(it)), default=True
    ),
)  # fmt: skip
_ITEM_AFTER: Final = (
    Property[Item](
        "item:EffectiveRights", lambda it: b"<t:EffectiveRights>%b</t:EffectiveRights>" % _RIGHTS, since=_SP1
    ),
    Property[Item](
        "item:LastModifiedTime", lambda it: element("LastModifiedTime", moment(it.modified)), since=_SP1
    ),
    Property[Item]("item:IsAssociated", lambda it: _flag("IsAssociated", False), since=_2010),
    Property[Item](
        "item:Flag",
        lambda it: b"<t:Flag>%b</t:Flag>" % element("FlagStatus", it.flag_status),
        since=_2013,
    ),
)  # fmt: skip
_OF_MESSAGES: Final = (
    Property[Item]("message:Sender", _people("Sender", "From", one=True)),
    Property[Item]("message:ToRecipients", _people("ToRecipients", "To")),
    Property[Item]("message:CcRecipients", _people("CcRecipients", "Cc")),
    Property[Item](
        "message:IsReadReceiptRequested",
        lambda it: _flag("IsReadReceiptRequested", False)),
    Property[Item]("message:From", _people("From", "From", one=True), default=True),
    Property[Item](
        "message:InternetMessageId", _header("InternetMessageId", "Message-ID")),
    Property[Item](
        "message:IsRead", lambda it: _flag("IsRead", it.is_read), default=True),
    Property[Item]("message:References", _header("References", "References")),
    Property[Item]("message:ReplyTo", _people("ReplyTo", "Reply-To")),
)  # fmt: skip

ONLY_IN_GET_ITEM: Final = frozenset(
    {"item:MimeContent", "item:Body", "item:UniqueBody", "item:NormalizedBody", "item:TextBody", "item:Attachments",
     "item:InternetMessageHeaders", "item:ResponseObjects", "message:ToRecipients", "message:CcRecipients",
     "message:BccRecipients", "message:ReplyTo"}
)  # fmt: skip
"""What FindItem and SyncFolderItems refuse to tell."""


def item_writer(shape: Shape, request: Request, *, anew: bool = False) -> Write[Item]:
    """Return what writes items in the shape that was asked for; ``anew``: their MIME with other octets each time."""
    to_headers, to_extended, after, of_messages = (
        shape.choose(some, request)
        for some in (_ITEM_TO_HEADERS, _ITEM_TO_EXTENDED, _ITEM_AFTER, _OF_MESSAGES)
    )
    all_headers = shape.wants(_ALL_HEADERS)

    def headers(item: Item) -> bytes:
        if all_headers:
            return _ALL_HEADERS.write(item)
        return _header_fields(
            (name, value) for name in shape.headers for value in item.header.get_all(name, [])
        )

    def write(item: Item) -> bytes:
        name = item_element(item)
        parts = [_mime(item, anew=anew)] if shape.mime else []
        parts += [item_id(item), *(each(item) for each in to_headers), headers(item)]
        parts += [each(item) for each in to_extended]
        parts.append(_extended(shape, item, _item_tags))
        parts += [each(item) for each in (*after, *(of_messages if name in _LIKE_MESSAGES else ()))]
        return b"<t:%b>%b</t:%b>" % (name.encode(), b"".join(parts), name.encode())

    return write


def _mime(item: Item, *, anew: bool) -> bytes:
    octets = item.mime
    if anew:
        item.renderings += 1
        octets = render_anew(octets, item.renderings)
    return b'<t:MimeContent CharacterSet="UTF-8">%b</t:MimeContent>' % b2a_base64(octets, newline=False)


def _item_tags(item: Item) -> dict[tuple[int, str], str]:
    tags: dict[tuple[int, str], str | None] = {
        (0x001A, "String"): item.item_class,
        (0x0037, "String"): item.header_text("Subject"),
        (0x0E06, "SystemTime"): moment(item.received),
        (0x0E07, "Integer"): str(item.is_read | item.is_draft << 3),
        (0x0E08, "Integer"): str(item.size),
        (0x0E08, "Long"): str(item.size),
        (0x1035, "String"): item.header_text("Message-ID"),
        (0x1080, "Integer"): None if item.icon_index is None else str(item.icon_index),
        (0x1081, "Integer"): None if item.last_verb is None else str(item.last_verb),
        (0x1090, "Integer"): {"Flagged": "2", "Complete": "1"}.get(item.flag_status),
        (0x3007, "SystemTime"): moment(item.received),
        (0x3008, "SystemTime"): moment(item.modified),
        (0x0039, "SystemTime"): moment(_sent(item)),
    }
    return {path: value for path, value in tags.items() if value is not None}
