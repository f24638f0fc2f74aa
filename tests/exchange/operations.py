"""The operations: each takes a request over the organisation and returns what stands in the answer's body.

What the plug-in does not need is refused as Exchange refuses what it does not know. ``Failure`` inside one response
message leaves the others alone; ``Refusal`` ends the request.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from attrs import define

from tests.exchange.access import find_folder, find_item, folders_named
from tests.exchange.restrictions import chosen, in_order
from tests.exchange.shapes import ONLY_IN_GET_ITEM, Shape, folder_writer, item_id, item_writer
from tests.exchange.soap import (
    Element,
    Failure,
    Refusal,
    Request,
    attribute,
    children,
    element,
    failed,
    response,
    success,
)
from tests.exchange.store import Folder, Item, MalformedId, Organisation

Thing = TypeVar("Thing")


@define
class Habits:
    """What differs between servers, or is theirs to decide."""

    renders_anew: bool = True
    """MIME content comes with other octets each time."""
    malformed_id_fails_all: bool = True
    """One malformed ItemId is answered by a fault for the whole GetItem, else by its own response message."""
    find_limit: int = 1000
    """Most things in one answer of FindItem or FindFolder (a throttling policy's FindCountLimit)."""
    sync_limit: int = 512
    """Most changes in one answer, whatever was asked for."""


@define
class Call:
    """One request, with what it is about."""

    organisation: Organisation
    habits: Habits
    request: Request
    spoilt: Callable[[int], Failure | None] = lambda _: None
    """What is to go wrong with the response message of this number, counted from 0."""


Operation = Callable[[Call], bytes]


def get_folder(call: Call) -> bytes:
    """GetFolder: one response message for each folder asked."""
    shape = Shape.of(call.request, "m:FolderShape")
    write = folder_writer(shape, call.request)

    def one(node: Element) -> bytes:
        folder = find_folder(call.organisation, call.request, node)
        return b"<m:Folders>%b</m:Folders>" % write(folder)

    return _each(call, folders_named(call.request, "m:FolderIds"), one, on_error=b"<m:Folders/>")


def find_folders(call: Call) -> bytes:
    """FindFolder: what is beneath each folder asked, one level or all, in pages."""
    shape = Shape.of(call.request, "m:FolderShape")
    write = folder_writer(shape, call.request)
    traversal = call.request.body.get("Traversal", "Shallow")

    def one(node: Element) -> bytes:
        parent = find_folder(call.organisation, call.request, node)
        if traversal == "Deep" and parent.distinguished == "publicfoldersroot":
            raise Failure(
                "ErrorOperationNotAllowedWithPublicFolderRoot",
                "Only folder shallow traversal is supported for public folder root.",
            )
        found: list[Folder] = []
        if traversal != "SoftDeleted":
            found = list(parent.below()) if traversal == "Deep" else list(parent.children)
        found = chosen(found, call.request)
        page, attributes = _page(found, call, "m:IndexedPageFolderView")
        inside = b"".join(write(folder) for folder in page)
        return b"<m:RootFolder %b><t:Folders>%b</t:Folders></m:RootFolder>" % (attributes, inside)

    return _each(call, folders_named(call.request, "m:ParentFolderIds"), one)


def find_items(call: Call) -> bytes:
    """FindItem: a page of what lies in each folder asked, the newest first unless another order is wished."""
    shape = Shape.of(call.request, "m:ItemShape")
    _refuse_content(shape)
    write = item_writer(shape, call.request)
    traversal = call.request.body.get("Traversal", "Shallow")

    def one(node: Element) -> bytes:
        folder = find_folder(call.organisation, call.request, node)
        found = folder.newest_first() if traversal == "Shallow" else []
        found = in_order(chosen(found, call.request), call.request)
        page, attributes = _page(found, call, "m:IndexedPageItemView")
        inside = b"".join(write(item) for item in page)
        return b"<m:RootFolder %b><t:Items>%b</t:Items></m:RootFolder>" % (attributes, inside)

    return _each(call, folders_named(call.request, "m:ParentFolderIds"), one)


def get_items(call: Call) -> bytes:
    """GetItem: one response message for each item asked, in their order."""
    shape = Shape.of(call.request, "m:ItemShape")
    write = item_writer(shape, call.request, anew=call.habits.renders_anew)

    def one(node: Element) -> bytes:
        try:
            item = find_item(call.organisation, call.request, node)
        except MalformedId as error:
            if call.habits.malformed_id_fails_all:
                raise Refusal("ErrorInvalidId", "The specified object id is not valid.") from error
            raise Failure("ErrorInvalidIdMalformed", "Id is malformed.") from error
        if item.failure is not None and (shape.mime or shape.base == "AllProperties"):
            raise Failure(item.failure, FAILURES.get(item.failure, "The item could not be read."))
        return b"<m:Items>%b</m:Items>" % write(item)

    return _each(call, children(call.request.find("m:ItemIds")), one, on_error=b"<m:Items/>")


FAILURES: Final = {
    "ErrorContentConversionFailed": "Content conversion failed.",
    "ErrorMimeContentConversionFailed": "The MIME content could not be converted.",
    "ErrorMessageSizeExceeded": "The message exceeds the maximum supported size.",
    "ErrorItemCorrupt": "The item is corrupt.",
    "ErrorCorruptData": "The data is corrupt.",
    "ErrorInternalServerError": "An internal server error occurred. The operation failed.",
    "ErrorUnsupportedMimeConversion": "GetItem can't return MIME content for this item.",
}
"""What Exchange says with an item that it cannot give."""


# -- synchronisation


def sync_items(call: Call) -> bytes:
    """SyncFolderItems: what is new, changed, read or gone since a state, at most 512 at a time."""
    request = call.request
    shape = Shape.of(request, "m:ItemShape")
    write = item_writer(shape, request)
    most = min(int(request.text("m:MaxChangesReturned")), call.habits.sync_limit)

    def one(node: Element) -> bytes:
        _refuse_content(shape)
        folder = _sync_folder(call, node)
        state = SyncState.read(request.text("m:SyncState"), folder)
        ignored = {ignored.get("Id", "") for ignored in children(request.find("m:Ignore"))}
        changes: list[bytes] = []
        last = True
        for change, number in folder.log.after(state.position):
            if len(changes) == most:
                last = False
                break
            written = _item_change(folder, number, state, write, ignored)
            changes += [written] if written else []
            state.position = change
        state.base = state.position if last else state.base
        return _synced(state.text(folder), b"IncludesLastItemInRange", last, changes)

    return _each(call, children(request.find("m:SyncFolderId")), one)


def _item_change(
    folder: Folder, number: int, state: SyncState, write: Callable[[Item], bytes], ignored: set[str]
) -> bytes:
    """Write one change, or nothing where the client knows it, or never knew what is gone."""
    item, known = folder.items.get(number), number in state
    if item is None:
        gone = b'<t:ItemId Id="%b"/>' % folder.mailbox.identify(folder.number, number).encode()
        return b"<t:Delete>%b</t:Delete>" % gone if state.forget(number) else b""
    if item.id in ignored:
        state.learn(number)
        return b""
    if known and item.content_changed <= state.base:
        read = element("IsRead", "true" if item.is_read else "false")
        return b"<t:ReadFlagChange>%b%b</t:ReadFlagChange>" % (item_id(item), read)
    state.learn(number)
    kind = b"Update" if known else b"Create"
    return b"<t:%b>%b</t:%b>" % (kind, write(item), kind)


def sync_hierarchy(call: Call) -> bytes:
    """SyncFolderHierarchy: which folders came, changed or went since a state."""
    request = call.request
    shape = Shape.of(request, "m:FolderShape")
    write = folder_writer(shape, request)

    def one(node: Element | None) -> bytes:
        top = _sync_folder(call, node) if node is not None else _own_top(call)
        state = SyncState.read(request.text("m:SyncState"), top)
        beneath = {folder.number for folder in top.below()}
        changes: list[bytes] = []
        for change, number in top.mailbox.log.after(state.position):
            state.position = change
            if number in beneath:
                kind = b"Update" if number in state else b"Create"
                state.learn(number)
                changes.append(b"<t:%b>%b</t:%b>" % (kind, write(top.mailbox.folders[number]), kind))
            elif state.forget(number):
                gone = b'<t:FolderId Id="%b"/>' % top.mailbox.identify(number).encode()
                changes.append(b"<t:Delete>%b</t:Delete>" % gone)
        return _synced(state.text(top), b"IncludesLastFolderInRange", True, changes)

    return _each(call, children(request.find("m:SyncFolderId")) or [None], one)


def _synced(state: str, end: bytes, last: bool, changes: Sequence[bytes]) -> bytes:
    return b"<m:SyncState>%b</m:SyncState><m:%b>%b</m:%b><m:Changes>%b</m:Changes>" % (
        state.encode(), end, b"true" if last else b"false", end, b"".join(changes),
    )  # fmt: skip


@define
class SyncState:
    """What a client has: every change up to a position, and of the numbers up to there those in ``ranges``."""

    base: int
    """Where the last synchronisation that was carried to its end ended."""
    position: int
    ranges: list[list[int]]
    """First and last of each run of numbers that the client was told, ascending."""

    @classmethod
    def read(cls, text: str, folder: Folder) -> SyncState:
        """Understand what was given out for this folder; the empty text is the beginning of all."""
        if not text:
            return cls(0, 0, [])
        try:
            place, base, position, ranges = json.loads(base64.b64decode(text, validate=True))
        except (ValueError, TypeError):
            place = None
        if place != folder.id:
            words = "Synchronization state data is corrupt or otherwise invalid."
            raise Failure("ErrorInvalidSyncStateData", words)
        return cls(base, position, ranges)

    def text(self, folder: Folder) -> str:
        """Return it as the client shall keep it."""
        return base64.b64encode(
            json.dumps([folder.id, self.base, self.position, self.ranges]).encode()
        ).decode()

    def __contains__(self, number: int) -> bool:
        """Tell whether the client was told of this number and not of its end."""
        return self._run(number) is not None

    def learn(self, number: int) -> None:
        """Note that the client is told of it."""
        if self.ranges and self.ranges[-1][1] == number - 1:
            self.ranges[-1][1] = number
        elif number not in self:
            self.ranges.append([number, number])
            self.ranges.sort()

    def forget(self, number: int) -> bool:
        """Note that it is gone; tell whether the client had it."""
        run = self._run(number)
        if run is None:
            return False
        first, last = run
        self.ranges.remove(run)
        self.ranges += [part for part in ([first, number - 1], [number + 1, last]) if part[0] <= part[1]]
        self.ranges.sort()
        return True

    def _run(self, number: int) -> list[int] | None:
        return next((run for run in self.ranges if run[0] <= number <= run[1]), None)


def _sync_folder(call: Call, node: Element) -> Folder:
    try:
        folder = find_folder(call.organisation, call.request, node)
    except Failure as failure:
        if failure.code == "ErrorItemNotFound":
            raise Failure(
                "ErrorSyncFolderNotFound", "The folder to be synchronized could not be found."
            ) from failure
        raise
    if folder.search:
        raise Failure("ErrorInvalidFolderTypeForOperation", "Search folders cannot be synchronized.")
    return folder


def _own_top(call: Call) -> Folder:
    if call.request.mailbox is None:
        raise Failure("ErrorMissingEmailAddress", "The account has no mailbox.")
    return call.request.mailbox.distinguished("msgfolderroot")


# -- others


def resolve_names(call: Call) -> bytes:
    """ResolveNames: mailboxes of the directory by the beginning of an address or a name."""
    asked = call.request.text("m:UnresolvedEntry").lower().removeprefix("smtp:")
    everybody = call.organisation.mailboxes.values()
    found = [one for one in everybody if one.address.startswith(asked) or one.name.lower().startswith(asked)]
    if not found:
        failure = Failure("ErrorNameResolutionNoResults", "No results were found.")
        return response("ResolveNames", [failed("ResolveNames", failure)])
    inside = b"".join(
        b"<t:Resolution><t:Mailbox>%b%b%b%b</t:Mailbox></t:Resolution>"
        % (
            element("Name", one.name), element("EmailAddress", one.address), element("RoutingType", "SMTP"),
            element("MailboxType", "Mailbox"),
        )
        for one in found[:100]
    )  # fmt: skip
    attributes = b'TotalItemsInView="%d" IncludesLastItemInRange="true"' % len(found)
    whole = b"<m:ResolutionSet %b>%b</m:ResolutionSet>" % (attributes, inside)
    return response("ResolveNames", [success("ResolveNames", whole)])


_ZONES: Final = {"UTC": "(UTC) Coordinated Universal Time", "China Standard Time": "(UTC+08:00) Beijing"}


def get_time_zones(call: Call) -> bytes:
    """GetServerTimeZones: two of them, by name only."""
    asked = {node.text for node in children(call.request.find("m:Ids"))} or set(_ZONES)
    inside = b"".join(
        b"<t:TimeZoneDefinition Id=%b Name=%b/>" % (attribute(key), attribute(name))
        for key, name in _ZONES.items()
        if key in asked
    )
    whole = b"<m:TimeZoneDefinitions>%b</m:TimeZoneDefinitions>" % inside
    return response("GetServerTimeZones", [success("GetServerTimeZones", whole)])


def convert_ids(call: Call) -> bytes:
    """ConvertId: from an EWS id to the same; clients ask it to hear which version they talk to."""

    def one(node: Element) -> bytes:
        same = node.get("Format") == call.request.body.get("DestinationFormat") == "EwsId"
        try:
            call.organisation.find(node.get("Id", ""))
        except MalformedId as error:
            raise Failure("ErrorInvalidIdMalformed", "Id is malformed.") from error
        if not same:
            raise Failure("ErrorUnsupportedTypeForConversion", "The type is not supported for conversion.")
        return b'<m:AlternateId xsi:type="t:AlternateIdType" Format="EwsId" Id=%b Mailbox=%b %b/>' % (
            attribute(node.get("Id", "")),
            attribute(node.get("Mailbox", "")),
            b'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"',
        )

    return _each(call, children(call.request.find("m:SourceIds")), one)


OPERATIONS: Final[dict[str, Operation]] = {
    "GetFolder": get_folder,
    "FindFolder": find_folders,
    "FindItem": find_items,
    "GetItem": get_items,
    "SyncFolderItems": sync_items,
    "SyncFolderHierarchy": sync_hierarchy,
    "ResolveNames": resolve_names,
    "GetServerTimeZones": get_time_zones,
    "ConvertId": convert_ids,
}


def perform(call: Call) -> bytes:
    """Carry out the operation that a request names. Raises ``Refusal``."""
    operation = OPERATIONS.get(call.request.operation)
    if operation is None:
        raise Refusal(
            "ErrorInvalidRequest", f"The request is invalid: {call.request.operation} is not served here."
        )
    try:
        return operation(call)
    except Failure as failure:  # of the shape, which is the same for everything that was asked
        request = call.request
        asked = [node for where in _ASKED for node in children(request.find(where))]
        inside = {"GetItem": b"<m:Items/>"}.get(request.operation, b"")
        return response(request.operation, [failed(request.operation, failure, inside)] * max(len(asked), 1))


_ASKED: Final = ("m:ItemIds", "m:FolderIds", "m:ParentFolderIds")


def _each(
    call: Call, nodes: Sequence[Thing], one: Callable[[Thing], bytes], *, on_error: bytes = b""
) -> bytes:
    """Answer with one response message for each of the things asked."""
    name, messages = call.request.operation, []
    for number, node in enumerate(nodes):
        try:
            if (spoilt := call.spoilt(number)) is not None:
                raise spoilt
            messages.append(success(name, one(node)))
        except Failure as failure:
            messages.append(failed(name, failure, on_error))
    return response(name, messages)


def _refuse_content(shape: Shape) -> None:
    refused = shape.mime or shape.paths & ONLY_IN_GET_ITEM
    if refused:
        raise Failure("ErrorInvalidPropertyRequest", "Property is not valid for this operation.")


def _page(found: Sequence[Thing], call: Call, view: str) -> tuple[Sequence[Thing], bytes]:
    """Cut a page out, and return the paging attributes with it."""
    node = call.request.find(view)
    fraction = call.request.find(view.replace("Indexed", "Fractional"))
    most, offset = call.habits.find_limit, 0
    if fraction is not None:
        node, (over, under) = (
            fraction,
            (int(fraction.get(name, "1")) for name in ("Numerator", "Denominator")),
        )
        if under <= 0 or not 0 <= over <= under:
            raise Failure(
                "ErrorInvalidFractionalPagingParameters", "Fractional paging parameters are invalid."
            )
        offset = len(found) * over // under
    elif node is not None:
        offset = int(node.get("Offset", "0"))
        if offset < 0:
            raise Failure("ErrorInvalidIndexedPagingParameters", "Paging offset must be non-negative.")
    if node is not None and node.get("MaxEntriesReturned") is not None:
        asked = int(node.get("MaxEntriesReturned", "0"))
        if asked <= 0:
            raise Failure("ErrorInvalidPagingMaxRows", "MaxEntriesReturned must be greater than zero.")
        most = min(most, asked)
    if node is not None and node.get("BasePoint") == "End":
        end = max(len(found) - offset, 0)
        page, last = found[max(end - most, 0) : end], end - most <= 0
    else:
        page, last = found[offset : offset + most], offset + most >= len(found)
    paging = b'IndexedPagingOffset="%d" ' % (offset + len(page)) if node is not None else b""
    total = b'TotalItemsInView="%d" IncludesLastItemInRange="%b"' % (
        len(found),
        b"true" if last else b"false",
    )
    return page, paging + total
