"""Requests of Exchange Web Services as octets: the few operations that are needed, each with few fields.

Everything here is in the schemas since Exchange 2007 SP1 (MS-OXWSCDATA and the other MS-OXWS documents), except
pages of FindFolder (2010) and distinguished names of archives (2010 SP1).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from attrs import frozen

VERSIONS: Final = ("Exchange2013", "Exchange2010_SP2", "Exchange2007_SP1")
"""What is asked for, the newest first: later servers speak the first, and nothing that came after it is needed."""

_MESSAGES: Final = "http://schemas.microsoft.com/exchange/services/2006/messages"
_ENVELOPE: Final = (
    '<?xml version="1.0" encoding="utf-8"?>'
    '<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" '
    f'xmlns:m="{_MESSAGES}" '
    'xmlns:t="http://schemas.microsoft.com/exchange/services/2006/types">'
    "<s:Header>{header}</s:Header><s:Body>{body}</s:Body></s:Envelope>"
)
_FIELDS: Final = (
    "item:Size",
    "item:DateTimeReceived",
    "item:DateTimeCreated",
    "item:ItemClass",
    "item:IsDraft",
    "item:Categories",
    "message:IsRead",
)
_MIME_CONTENT: Final = '<t:FieldURI FieldURI="item:MimeContent"/>'
_MIME_INCLUDED: Final = "<t:IncludeMimeContent>true</t:IncludeMimeContent>"
ICON_INDEX: Final = "0x1080"
LAST_VERB: Final = "0x1081"
FLAG_STATUS: Final = "0x1090"
MARKS: Final = "0xe07"
MODIFIED: Final = "0x3008"
"""PidTagIconIndex, PidTagLastVerbExecuted, PidTagFlagStatus, PidTagMessageFlags, PidTagLastModificationTime
(MS-OXPROPS)."""
FOLDER_OCTETS: Final = "0xe08"
HIDDEN: Final = "0x10f4"
"""PidTagMessageSizeExtended, PidTagAttributeHidden."""

_NOT_ALLOWED: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@frozen
class Who:
    """Whose mailbox requests are for; both ``None``: that of whoever logs in."""

    impersonated: str | None = None
    """A primary address whose owner the requests act as."""
    mailbox: str | None = None
    """An address whose folders are named, with the caller's own rights to them."""


def envelope(body: str, version: str, who: Who) -> bytes:
    """Put an operation into the envelope that says for which version and as whom it is."""
    header = f'<t:RequestServerVersion Version="{version}"/>'
    if who.impersonated is not None:
        address = f"<t:PrimarySmtpAddress>{_text(who.impersonated)}</t:PrimarySmtpAddress>"
        header += (
            f"<t:ExchangeImpersonation><t:ConnectingSID>{address}</t:ConnectingSID></t:ExchangeImpersonation>"
        )
    return _ENVELOPE.format(header=header, body=body).encode()


def action(operation: str) -> str:
    """Return the field SOAPAction, which a request by HTTP has to have (SOAP 1.1 §6.1.1, and each operation's WSDL).

    Exchange does without it; servers that were made from the WSDL may go by it alone.
    """
    name = operation.removeprefix("<m:").partition(" ")[0].partition(">")[0]
    return f'"{_MESSAGES}/{name}"'


def distinguished(name: str, who: Who) -> str:
    """Name a folder by what it is for."""
    if who.mailbox is None:
        return f'<t:DistinguishedFolderId Id="{name}"/>'
    mailbox = f"<t:Mailbox><t:EmailAddress>{_text(who.mailbox)}</t:EmailAddress></t:Mailbox>"
    return f'<t:DistinguishedFolderId Id="{name}">{mailbox}</t:DistinguishedFolderId>'


def get_folders(folders: Iterable[str]) -> str:
    """Ask for the identifiers of folders; ``folders`` are elements as ``distinguished`` makes them."""
    shape = "<m:FolderShape><t:BaseShape>IdOnly</t:BaseShape></m:FolderShape>"
    return f"<m:GetFolder>{shape}<m:FolderIds>{''.join(folders)}</m:FolderIds></m:GetFolder>"


def count_items(folder: str) -> str:
    """Ask how many items a folder has, by its own books; those that are associated are not among them."""
    shape = _shape("Folder", '<t:FieldURI FieldURI="folder:TotalCount"/>')
    return f"<m:GetFolder>{shape}<m:FolderIds>{folder_id(folder)}</m:FolderIds></m:GetFolder>"


def find_folders(root: str, offset: int | None, most: int, *, deep: bool = True) -> str:
    """Ask for all folders beneath one, or (not ``deep``) for those right beneath it.

    What is asked for is a page of them; ``None``: all at once, as Exchange 2007 has it.
    """
    fields = "".join(
        f'<t:FieldURI FieldURI="folder:{name}"/>'
        for name in ("DisplayName", "ParentFolderId", "FolderClass", "TotalCount", "ChildFolderCount")
    )
    fields += _extended(FOLDER_OCTETS, "Long") + _extended(HIDDEN, "Boolean")
    shape = _shape("Folder", fields)
    view = "" if offset is None else _view("Folder", offset, most)
    parents = f"<m:ParentFolderIds>{root}</m:ParentFolderIds>"
    traversal = "Deep" if deep else "Shallow"
    return f'<m:FindFolder Traversal="{traversal}">{shape}{view}{parents}</m:FindFolder>'


def sync_items(folder: str, state: str | None, most: int) -> str:
    """Ask what changed in a folder since a state of it; ``None``: for all that it holds."""
    since = "" if state is None else f"<m:SyncState>{_text(state)}</m:SyncState>"
    return (
        f"<m:SyncFolderItems>{_shape('Item', _ITEM_FIELDS)}"
        f"<m:SyncFolderId>{folder_id(folder)}</m:SyncFolderId>{since}"
        f"<m:MaxChangesReturned>{most}</m:MaxChangesReturned></m:SyncFolderItems>"
    )


def find_items(folder: str, offset: int, most: int) -> str:
    """Ask for a page of what a folder holds, the oldest first."""
    order = (
        '<m:SortOrder><t:FieldOrder Order="Ascending"><t:FieldURI FieldURI="item:DateTimeReceived"/>'
        "</t:FieldOrder></m:SortOrder>"
    )
    return (
        f'<m:FindItem Traversal="Shallow">{_shape("Item", _ITEM_FIELDS)}{_view("Item", offset, most)}{order}'
        f"<m:ParentFolderIds>{folder_id(folder)}</m:ParentFolderIds></m:FindItem>"
    )


def get_items(keys: Iterable[str], *, mime: bool) -> str:
    """Ask for items by their identifiers, with their octets or without."""
    ids = "".join(f"<t:ItemId Id={_attribute(key)}/>" for key in keys)
    # There are two ways to ask for octets, and servers that know only one of them.
    field, more = (_MIME_CONTENT, _MIME_INCLUDED) if mime else ("", "")
    shape = _shape("Item", field + _ITEM_FIELDS, more)
    return f"<m:GetItem>{shape}<m:ItemIds>{ids}</m:ItemIds></m:GetItem>"


def _shape(what: str, fields: str, more: str = "") -> str:
    base = "<t:BaseShape>IdOnly</t:BaseShape>"
    additional = f"<t:AdditionalProperties>{fields}</t:AdditionalProperties>"
    return f"<m:{what}Shape>{base}{more}{additional}</m:{what}Shape>"


def _view(what: str, offset: int, most: int) -> str:
    return f'<m:IndexedPage{what}View MaxEntriesReturned="{most}" Offset="{offset}" BasePoint="Beginning"/>'


def _extended(tag: str, kind: str) -> str:
    return f'<t:ExtendedFieldURI PropertyTag="{tag}" PropertyType="{kind}"/>'


_ITEM_FIELDS: Final = "".join(
    [
        *(f'<t:FieldURI FieldURI="{name}"/>' for name in _FIELDS),
        *(_extended(tag, "Integer") for tag in (ICON_INDEX, LAST_VERB, FLAG_STATUS, MARKS)),
        _extended(MODIFIED, "SystemTime"),
    ]
)


def folder_id(folder: str) -> str:
    """Name a folder by its identifier."""
    return f"<t:FolderId Id={_attribute(folder)}/>"


def _text(text: str) -> str:
    return escape(_allowed(text))


def _attribute(text: str) -> str:
    # What is no space is a space once an attribute was read, unless it is written as its number.
    return quoteattr(_allowed(text), {"\n": "&#10;", "\r": "&#13;", "\t": "&#9;"})


def _allowed(text: str) -> str:
    """Replace what XML 1.0 cannot have at all: no name or identifier that a server gave has it."""
    return _NOT_ALLOWED.sub("\ufffd", text)
