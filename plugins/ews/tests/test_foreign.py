"""Habits of servers that are not Microsoft's: each was met in grommunio, and none is against the protocol's words."""

from __future__ import annotations

import pytest

from alimail_core import INBOX, Changes, Denied, Message, Unreadable, Unusable
from alimail_core.testing import message
from alimail_core.testing.asking import folder_of, listing
from alimail_ews import listing as listing_of_changes
from plugins.ews.tests.conftest import Office, make_office
from tests.exchange import Habits, faults
from tests.exchange.fixtures import StartExchange


def test_a_fault_that_tells_of_a_state_begins_the_folder_anew(office: Office) -> None:
    """What Exchange says in a response message comes as a fault in its place."""
    item = office.amy.deliver("inbox", message("one"))
    with office.open() as source:
        cursor = listing(source, INBOX).cursor
        office.server.faults.add(faults.terse("ErrorInvalidSyncStateData"), operation="SyncFolderItems")
        told = listing(source, INBOX, cursor)
    assert (list(told.entries), told.complete) == ([item.id], True)


def test_a_fault_that_tells_of_a_folder_costs_that_folder_alone(office: Office) -> None:
    """The server still tells changes of the others."""
    with office.open() as source:
        inbox = folder_of(source, INBOX)
        office.server.faults.add(faults.terse("ErrorFolderNotFound"), operation="SyncFolderItems")
        (first,) = source.changes([(inbox, None)])
        assert isinstance(first, Unusable)
        (second,) = source.changes([(inbox, None)])
    assert isinstance(second, Changes)
    assert second.cursor is not None
    assert second.cursor["state"]
    assert office.server.requests["FindItem"] == 0


def test_an_impersonated_user_who_is_not_there_ends_it_with_a_remedy(office: Office) -> None:
    """The code is one of delegation in Exchange."""
    office.server.faults.add(faults.terse("ErrorCannotFindUser"), operation="GetFolder")
    with pytest.raises(Denied, match="ErrorCannotFindUser") as caught:
        office.open()
    assert "spelt right" in caught.value.remedy


@pytest.mark.parametrize("password", ["grüßlich", "密码"])
def test_a_password_may_have_any_letters(office: Office, password: str) -> None:
    """With Basic they go in UTF-8, for which grommunio asks (RFC 7617 §2.1)."""
    office.server.door.schemes = ("Basic",)
    office.server.organisation.add_account("chef", password, impersonates=["*"])
    office.open(password=password, master_user="chef").close()


@pytest.mark.parametrize("is_read", [True, False])
def test_what_is_listed_as_no_message_is_read_as_well(office: Office, is_read: bool) -> None:
    """An item of a kind that the server has no element for has no IsRead: grommunio lists postings so."""
    item = office.amy.deliver("inbox", message("a document"), item_class="IPM.Document.Odd")
    office.amy.change(item, is_read=is_read)
    with office.open() as source:
        (entry,) = listing(source, INBOX).entries.values()
    assert ("\\Seen" in entry.flags) is is_read


@pytest.mark.parametrize("gone", [10, 15, 20, 25])
def test_a_full_page_is_not_believed_to_be_the_last(
    exchange: StartExchange, monkeypatch: pytest.MonkeyPatch, gone: int
) -> None:
    """What is cut off would come with the next pass: too late for what was moved away meanwhile."""
    monkeypatch.setattr(listing_of_changes, "_CHANGES", 10)
    office = make_office(exchange(habits=Habits(full_is_last=True)))
    items = [office.amy.deliver("inbox", message(f"No. {number}")) for number in range(25)]
    with office.open() as source:
        first = listing(source, INBOX)
        assert len(first.entries) == 25
        for item in items[:gone]:
            office.amy.remove(item)
        told = listing(source, INBOX, first.cursor)
    assert (len(told.gone), told.complete) == (gone, False)


def test_what_a_listing_passes_over_is_named(exchange: StartExchange) -> None:
    """The folder counts more than it tells: the rest is found, and what cannot be read is a problem."""
    office = make_office(exchange(habits=Habits(passes_over_damage=True)))
    items = [office.amy.deliver("inbox", message(f"No. {number}")) for number in range(3)]
    office.amy.change(items[1], failure="ErrorItemCorrupt")
    with office.open() as source:
        told = listing(source, INBOX)
        assert told.cursor is not None
        assert told.cursor["state"]
        kinds = {each.key: type(each) for each in source.fetch([(told.folder, list(told.entries.values()))])}
        office.server.requests.clear()
        listing(source, INBOX, told.cursor)
    assert [kinds[item.id] for item in items] == [Message, Unreadable, Message]
    assert office.server.requests == {"SyncFolderItems": 1}
