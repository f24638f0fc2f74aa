"""A folder that counts more items than its server lists: never passed over without a word, and never by mistake."""

from __future__ import annotations

import pytest

from alimail_core import INBOX, Changes, Cursor
from alimail_core.testing.asking import folder_of
from alimail_core.testing.mail import message
from alimail_ews.source import EwsSource
from plugins.ews.tests.conftest import Office, make_office
from plugins.ews.tests.test_accents import without
from tests.exchange import Habits, Item, faults
from tests.exchange.fixtures import StartExchange
from tests.exchange.soap import Request

pytestmark = pytest.mark.slow

MESSAGES = 12
FOREVER = float("inf")


@pytest.fixture(params=["by changes", "by pages"])
def office(request: pytest.FixtureRequest, exchange: StartExchange) -> Office:
    """A mailbox whose damaged items nothing lists; one server tells changes, the other has FindItem alone."""
    made = make_office(exchange(habits=Habits(hides_damage=True, sync_limit=5, find_limit=5)))
    if request.param == "by pages":
        refused = faults.refused("ErrorInvalidOperation")
        made.server.faults.add(refused, operation="SyncFolderItems", times=FOREVER)
    return made


def fill(office: Office) -> list[Item]:
    """Put mail into the inbox."""
    return [office.amy.deliver("inbox", message(f"No. {number}")) for number in range(MESSAGES)]


def told(source: EwsSource, cursor: Cursor | None = None) -> tuple[list[str], Changes]:
    """Return the keys that are told of the inbox, and the last page, which alone may tell of a shortage."""
    pages = [
        each for each in source.changes([(folder_of(source, INBOX), cursor)]) if isinstance(each, Changes)
    ]
    assert not any(page.cursor or page.shortage for page in pages[:-1])
    return [entry.key for page in pages for entry in page.entries], pages[-1]


def test_what_nothing_lists_is_counted_and_told_with_what_to_do(office: Office) -> None:
    """In each pass, also in one that asks for changes alone, until the folder is mended."""
    items = fill(office)
    office.amy.change(items[3], failure="ErrorItemCorrupt")
    cursor = None
    for _ in range(2):
        with office.open() as source:
            keys, last = told(source, cursor)
        assert last.shortage is not None
        assert "counts 12 items" in last.shortage.text
        assert "lists 11" in last.shortage.text
        assert "New-MailboxRepairRequest" in last.shortage.remedy
        cursor = last.cursor
    office.amy.change(items[3], failure=None)
    with office.open() as source:
        keys, last = told(source, cursor)
    assert items[3].id in keys
    assert last.shortage is None


def test_what_is_damaged_later_is_told_by_the_next_pass(office: Office) -> None:
    """A cursor knows how many items were told."""
    items = fill(office)
    with office.open() as source:
        _, last = told(source)
    assert last.shortage is None
    office.amy.remove(items[0])
    office.amy.change(office.amy.deliver("inbox", message("new")), failure="ErrorItemCorrupt")
    office.amy.deliver("inbox", message("newer"))
    with office.open() as source:
        _, last = told(source, last.cursor)
    assert last.shortage is not None
    assert "lists 12" in last.shortage.text


def test_an_item_is_told_once_however_it_was_found(exchange: StartExchange) -> None:
    """What SyncFolderItems passes over comes by FindItem, and only that: a proof counts what it is told."""
    office = make_office(exchange(habits=Habits(passes_over_damage=True, sync_limit=5, find_limit=5)))
    items = fill(office)
    office.amy.change(items[3], failure="ErrorItemCorrupt")
    with office.open() as source:
        keys, last = told(source)
    assert sorted(keys) == sorted(item.id for item in items)
    assert last.shortage is None


@pytest.mark.parametrize("operation", ["SyncFolderItems", "FindItem", "GetFolder"])
def test_people_who_work_meanwhile_are_no_shortage(office: Office, operation: str) -> None:
    """Mail is deleted and comes just before one of the requests: what was counted is not there any more."""
    items = fill(office)
    office.amy.change(items[-1], failure="ErrorItemCorrupt")  # so that all three are asked
    deleted = iter(items)

    def meanwhile(request: Request) -> None:
        if request.operation == operation and (item := next(deleted, None)) and item is not items[-1]:
            office.amy.remove(item)
            if operation != "GetFolder":
                office.amy.deliver("inbox", message("new"))

    with office.open() as source:
        inbox = folder_of(source, INBOX)
        office.amy.change(items[-1], failure=None)
        office.server.meanwhile = meanwhile
        pages = [each for each in source.changes([(inbox, None)]) if isinstance(each, Changes)]
    assert pages[-1].shortage is None


def test_a_count_that_lags_is_asked_for_again(office: Office) -> None:
    """Of what was deleted between the list of folders and theirs of items nothing is told."""
    items = fill(office)
    with office.open() as source:
        inbox = folder_of(source, INBOX)
        for item in items[:4]:
            office.amy.remove(item)
        office.server.requests.clear()
        pages = [each for each in source.changes([(inbox, None)]) if isinstance(each, Changes)]
    assert sum(len(page.entries) for page in pages) == 8
    assert pages[-1].shortage is None
    assert office.server.requests["GetFolder"] == 1


def test_a_server_that_does_not_count_says_nothing(office: Office) -> None:
    """Then nothing can be missed either."""
    fill(office)
    office.server.accent = without("TotalCount")
    with office.open() as source:
        keys, last = told(source)
    assert len(keys) == MESSAGES
    assert last.shortage is None


def test_a_cursor_of_an_older_version_still_serves(office: Office) -> None:
    """It does not know how many items were told, so nothing is compared."""
    items = fill(office)
    with office.open() as source:
        _, last = told(source)
    assert last.cursor is not None
    older = {name: value for name, value in last.cursor.items() if name != "items"}
    office.amy.change(items[0], failure="ErrorItemCorrupt")
    with office.open() as source:
        _, last = told(source, older)
    assert (last.shortage is None) is ("state" in older)
