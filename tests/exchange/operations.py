"""The operations: each takes a request over the organisation and returns what stands in the answer's body.

What the plug-in does not need is refused as Exchange refuses what it does not know. ``Failure`` inside one response
message leaves the others alone; ``Refusal`` ends the request.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from tests.exchange.access import find_folder, find_item, folders_named, require_read
from tests.exchange.calls import Call, each, refuse_content
from tests.exchange.restrictions import chosen, in_order
from tests.exchange.shapes import Shape, folder_writer, item_writer
from tests.exchange.soap import (
    Element,
    Failure,
    Refusal,
    attribute,
    children,
    element,
    failed,
    response,
    success,
)
from tests.exchange.store import Folder, MalformedId
from tests.exchange.sync import sync_hierarchy, sync_items

Thing = TypeVar("Thing")


def get_folder(call: Call) -> bytes:
    """GetFolder: one response message for each folder asked."""
    shape = Shape.of(call.request, "m:FolderShape")
    write = folder_writer(shape, call.request)

    def one(node: Element) -> bytes:
        folder = find_folder(call.organisation, call.request, node)
        return b"<m:Folders>%b</m:Folders>" % write(folder)

    return each(call, folders_named(call.request, "m:FolderIds"), one, on_error=b"<m:Folders/>")


def find_folders(call: Call) -> bytes:
    """FindFolder: what is beneath each folder asked, one level or all, in pages."""
    shape = Shape.of(call.request, "m:FolderShape")
    write = folder_writer(shape, call.request)
    traversal = call.request.body.get("Traversal", "Shallow")

    def one(node: Element) -> bytes:
        parent = find_folder(call.organisation, call.request, node)
        require_read(call.request, parent)
        if traversal == "Deep" and parent.mailbox is call.organisation.public:
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

    return each(call, folders_named(call.request, "m:ParentFolderIds"), one)


def find_items(call: Call) -> bytes:
    """FindItem: a page of what lies in each folder asked, the newest first unless another order is wished."""
    shape = Shape.of(call.request, "m:ItemShape")
    refuse_content(shape)
    write = item_writer(shape, call.request)
    traversal = call.request.body.get("Traversal", "Shallow")

    def one(node: Element) -> bytes:
        folder = find_folder(call.organisation, call.request, node)
        require_read(call.request, folder)
        found = folder.newest_first() if traversal == "Shallow" and not folder.elsewhere else []
        if call.habits.hides_damage:
            found = [item for item in found if item.failure is None]
        found = in_order(chosen(found, call.request), call.request)
        page, attributes = _page(found, call, "m:IndexedPageItemView")
        inside = b"".join(write(item) for item in page)
        return b"<m:RootFolder %b><t:Items>%b</t:Items></m:RootFolder>" % (attributes, inside)

    return each(call, folders_named(call.request, "m:ParentFolderIds"), one)


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

    return each(call, children(call.request.find("m:ItemIds")), one, on_error=b"<m:Items/>")


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

    return each(call, children(call.request.find("m:SourceIds")), one)


OPERATIONS: Final[dict[str, Callable[[Call], bytes]]] = {
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
