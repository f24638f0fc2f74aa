"""The filters and orders of FindItem and FindFolder that clients really use; any other is refused, not ignored."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from tests.exchange.shapes import moment
from tests.exchange.soap import NAMESPACES, Element, Failure, Request, children, local_name
from tests.exchange.store import Folder, Item

Found = TypeVar("Found", Folder, Item)

_VALUES: Final[dict[str, Callable[[Item], str]]] = {
    "item:DateTimeReceived": lambda item: moment(item.received),
    "item:ItemClass": lambda item: item.item_class,
    "item:Size": lambda item: f"{item.size:012}",
    "item:Subject": lambda item: item.header_text("Subject") or "",
    "message:IsRead": lambda item: "true" if item.is_read else "false",
    "message:InternetMessageId": lambda item: item.header_text("Message-ID") or "",
}
_FOLDER_VALUES: Final[dict[str, Callable[[Folder], str]]] = {
    "folder:DisplayName": lambda folder: folder.name,
    "folder:FolderClass": lambda folder: folder.folder_class,
}
_COMPARISONS: Final[dict[str, Callable[[str, str], bool]]] = {
    "IsEqualTo": lambda one, other: one == other,
    "IsNotEqualTo": lambda one, other: one != other,
    "IsGreaterThan": lambda one, other: one > other,
    "IsGreaterThanOrEqualTo": lambda one, other: one >= other,
    "IsLessThan": lambda one, other: one < other,
    "IsLessThanOrEqualTo": lambda one, other: one <= other,
}


def chosen(found: list[Found], request: Request) -> list[Found]:
    """Return those that meet the request's restriction. Raises ``Failure``."""
    restriction = request.find("m:Restriction")
    if restriction is None:
        return found
    (test,) = children(restriction)
    return [thing for thing in found if _meets(thing, test)]


def in_order(found: list[Item], request: Request) -> list[Item]:
    """Return items in the order that was asked for. Raises ``Failure``."""
    for order in reversed(children(request.find("m:SortOrder"))):
        value_of = _VALUES.get(_path(order))
        if value_of is None:
            raise Failure(
                "ErrorUnsupportedPathForSortGroup", "The property can't be used for sorting or grouping."
            )
        found = sorted(found, key=value_of, reverse=order.get("Order") == "Descending")
    return found


def _meets(thing: Folder | Item, test: Element) -> bool:
    kind = local_name(test)
    if kind in ("And", "Or"):
        results = [_meets(thing, inner) for inner in children(test)]
        return all(results) if kind == "And" else any(results)
    if kind == "Not":
        return not _meets(thing, children(test)[0])
    value = _value(thing, _path(test))
    if kind == "Exists":
        return value is not None
    if kind not in _COMPARISONS:
        raise Failure("ErrorUnsupportedQueryFilter", "The query filter type is not supported.")
    constant = test.find("t:FieldURIOrConstant/t:Constant", NAMESPACES)
    if constant is None:
        raise Failure("ErrorUnsupportedQueryFilter", "The query filter type is not supported.")
    wanted = constant.get("Value", "")
    return _COMPARISONS[kind](value or "", f"{int(wanted):012}" if wanted.isdigit() else wanted)


def _value(thing: Folder | Item, path: str) -> str | None:
    if isinstance(thing, Folder):
        folder_value = _FOLDER_VALUES.get(path)
        if folder_value is not None:
            return folder_value(thing)
    elif (item_value := _VALUES.get(path)) is not None:
        return item_value(thing)
    raise Failure("ErrorUnsupportedPathForQuery", "The property can't be used with this type of restriction.")


def _path(node: Element) -> str:
    uri = node.find("t:FieldURI", NAMESPACES)
    return "" if uri is None else uri.get("FieldURI", "")
