"""A folder is listed page by page, whatever its owner does meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from alimail_core import INBOX, Changes
from alimail_core.testing import message
from alimail_core.testing.asking import folder_of, listing
from alimail_ews.answers import Node
from alimail_ews.paging import Page, key_of, pages
from alimail_ews.session import Malformed
from plugins.ews.tests.conftest import Office, make_office
from tests.exchange import EXCHANGE_2010, Habits
from tests.exchange.faults import refused
from tests.exchange.fixtures import StartExchange
from tests.exchange.soap import Request

NEVER_ENDING = float("inf")


class Shelf:
    """A folder of numbered items that changes before each question but the first."""

    def __init__(self, items: int, most: int, changes: Sequence[tuple[float, int]]) -> None:
        """``changes``: where in the folder so many items leave, or come where the number is negative."""
        self.items, self.most, self.changes = list(range(items)), most, list(changes)
        self.new = items
        self.asked = 0

    def first(self) -> Page:
        """Answer the first question."""
        return self._page(0)

    def ask(self, offset: int) -> Page:
        """Change, then answer."""
        if self.changes:
            where, number = self.changes.pop(0)
            begin = int(where * len(self.items))
            come = range(self.new, self.new - min(number, 0))
            self.new += len(come)
            self.items[begin : begin + max(number, 0)] = come
        return self._page(offset)

    def _page(self, offset: int) -> Page:
        self.asked += 1
        nodes = [_node(number) for number in self.items[offset : offset + self.most]]
        return Page(nodes, offset + self.most >= len(self.items))

    def told(self) -> list[int]:
        """List it to its end."""
        return [int(key_of(item)) for page in pages(self.ask, self.first()) for item in page.items]


def _node(number: int) -> Node:
    return Node("Message", {}, children=[Node("ItemId", {"Id": str(number)})])


@given(
    st.integers(0, 40),
    st.integers(1, 9),
    st.lists(st.tuples(st.floats(0, 1), st.integers(-6, 12)), max_size=3),
)
@example(12, 3, [(0.0, 3)])
def test_what_stays_is_told(items: int, most: int, changes: list[tuple[float, int]]) -> None:
    """Whatever comes and goes before, within or behind the page that was read last."""
    if most == 1:
        changes = []  # nothing can be seen of what happens, one item at a time
    shelf = Shelf(items, most, changes)
    told = shelf.told()
    assert set(range(items)) & set(shelf.items) <= set(told)


@given(st.integers(0, 60), st.integers(1, 9))
def test_a_quiet_folder_is_told_once_and_in_order(items: int, most: int) -> None:
    """With one item of each page asked for again."""
    shelf = Shelf(items, most, [])
    assert shelf.told() == list(range(items))
    assert shelf.asked <= 1 + items // max(1, most - 1)


def test_a_server_that_has_no_pages_is_not_listened_to_for_ever() -> None:
    """One that answers each question with the same items, and says that there are more."""
    shelf = Shelf(10, 10, [])
    same = Page(shelf.first().items, is_last=False)
    with pytest.raises(Malformed, match="end"):
        list(pages(lambda _: same, same))


@pytest.fixture
def old_office(exchange: StartExchange) -> Office:
    """A server that tells no changes, and ten items at a time."""
    office = make_office(exchange(version=EXCHANGE_2010, habits=Habits(find_limit=10)))
    fault = refused("ErrorInvalidOperation", "This operation is not here.")
    office.server.faults.add(fault, operation="SyncFolderItems", times=NEVER_ENDING)
    return office


def test_pages_are_handed_on_as_they_come(old_office: Office) -> None:
    """A large folder is never in memory as a whole: the second page is asked for when the first was taken."""
    for number in range(35):
        old_office.amy.deliver("inbox", message(f"No. {number}"))
    with old_office.open() as source:
        told = source.changes([(folder_of(source, INBOX), None)])
        first = next(told)
        assert isinstance(first, Changes)
        assert (len(first.entries), first.complete, first.cursor) == (10, True, None)
        assert old_office.server.requests["FindItem"] == 1
        rest = [page for page in told if isinstance(page, Changes)]
    assert [len(page.entries) for page in rest] == [9, 9, 7]
    assert [page.cursor is not None for page in rest] == [False, False, True]


def test_what_is_deleted_meanwhile_hides_nothing(old_office: Office) -> None:
    """Items leave the front of the folder while it is read: each that stays is listed."""
    amy = old_office.amy
    items = [amy.deliver("inbox", message(f"No. {number}")) for number in range(60)]

    def tidy(request: Request) -> None:
        if request.operation == "FindItem" and len(amy.folder("inbox").items) > 40:
            for _ in range(4):
                amy.remove(items.pop(0))

    with old_office.open() as source:
        folder_of(source, INBOX)
        old_office.server.meanwhile = tidy
        told = Counter(listing(source, INBOX).entries)
    assert {item.id for item in items} <= set(told)


def test_a_folder_that_vanishes_while_it_is_listed_is_listed_anew(old_office: Office) -> None:
    """It is no folder that nobody may read: what was told before stands."""
    for number in range(25):
        old_office.amy.deliver(("Work",), message(f"No. {number}"))
    with old_office.open() as source:
        told = source.changes([(folder_of(source, ("Work",)), None)])
        next(told)
        old_office.amy.remove_folder(old_office.amy.folder(("Work",)))
        with pytest.raises(Malformed, match="broke off"):
            list(told)
