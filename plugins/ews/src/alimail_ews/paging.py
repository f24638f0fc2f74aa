"""Read pages of FindItem and FindFolder; list a folder page by page, while others work in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from attrs import evolve, frozen

from alimail_ews.answers import Node
from alimail_ews.session import Malformed

_LAST: Final[Mapping[str, bool]] = {"true": True, "1": True, "false": False, "0": False}
_TIMES: Final = 3
"""So often may a listing begin anew, and so often in a row may a page bring nothing."""


@frozen
class Page:
    """One answer of FindItem or FindFolder."""

    items: Sequence[Node]
    is_last: bool | None
    """``None``: the server does not say, or contradicts itself."""


def page_of(answer: Node, kind: str, offset: int) -> Page:
    """Read a response message about the items or folders from an offset on; ``kind`` is ``Items`` or ``Folders``.

    What it says of its end is optional (FindResponsePagingAttributes), and there are servers that say the same of
    every page: it is believed where the number of all agrees.
    """
    root = answer.find("RootFolder")
    found = root.find(kind) if root else None
    nodes = found.children if found else []
    told = root.attributes if root else {}
    last = _LAST.get(told.get("IncludesLastItemInRange", "").strip())
    total = told.get("TotalItemsInView", "").strip()
    if total.isdecimal() and len(total) < 12:
        reached = offset + len(nodes) >= int(total)
        last = reached if last in (None, reached) else None
    return Page(nodes, True if not nodes else last)


def pages(ask: Callable[[int], Page], first: Page) -> Iterator[Page]:
    """Give the pages of a folder, of which ``first`` has been asked for; ``ask`` asks for the page at an offset.

    Everything that was in the folder from the beginning to the end is told. What leaves it meanwhile moves all that
    comes behind: so each page begins within the one before, and where it does not, it is looked for further in
    front. Something may be told twice. Raises ``Malformed`` where there is no end, and what ``ask`` raises.
    """
    page, offset, anew, barren = first, 0, 0, 0
    yield page
    while not page.is_last:
        keys, size = {key_of(item) for item in page.items}, len(page.items)
        page, offset = _after(ask, keys, size, offset + size)
        fresh = [item for item in page.items if key_of(item) not in keys]
        if not fresh and page.is_last is None:
            page = evolve(page, is_last=True)
        yield evolve(page, items=fresh)
        barren = 0 if fresh else barren + 1
        anew += offset == 0
        if max(anew, barren) > _TIMES:
            raise Malformed("a listing does not come to an end")


def _after(ask: Callable[[int], Page], keys: set[str], size: int, end: int) -> tuple[Page, int]:
    """Ask for the page that goes on after the one with these keys, which ended at ``end``; return its offset too.

    Where none of these is left or they were moved too far, that is the folder's first page.
    """
    back = min(1, size - 1)  # a server that tells one item at a time has no room for two
    while True:
        offset = max(0, end - back)
        page = ask(offset)
        if not offset or size == 1 or any(key_of(item) in keys for item in page.items):
            return page, offset
        back = size if back == 1 else back + size


def key_of(item: Node) -> str:
    """Return an item's identifier, empty where it has none."""
    identifier = item.find("ItemId")
    return identifier.attributes.get("Id", "") if identifier else ""
