"""Servers of other makes: what is optional is left out, what may be said otherwise is said otherwise."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from alimail_core import INBOX, FolderPath, Gone, Message, SpecialUse, Unreadable
from alimail_core.testing import message
from alimail_core.testing.asking import listing
from alimail_ews.source import EwsSource
from plugins.ews.tests.conftest import Office, make_office
from tests.exchange import Habits, faults
from tests.exchange.fixtures import StartExchange
from tests.exchange.soap import MESSAGES, NAMESPACES, Element

Accent = Callable[[str, Element], None]
Answers = list[Message | Gone | Unreadable]


def without(name: str) -> Accent:
    """Leave an element out of every answer."""

    def accent(_: str, tree: Element) -> None:
        for node in tree.findall(f".//t:{name}", NAMESPACES):
            node.getparent().remove(node)

    return accent


def saying(**attributes: str | None) -> Accent:
    """Say the same of the end of each page; ``None``: nothing."""

    def accent(_: str, tree: Element) -> None:
        for root in tree.iter(f"{{{MESSAGES}}}RootFolder"):
            for name, value in attributes.items():
                root.attrib.pop(name, None)
                if value is not None:
                    root.set(name, value)

    return accent


def into_one(_: str, tree: Element) -> None:
    """Put the folders or items of all response messages into the first."""
    for kind in ("Folders", "Items"):
        first, *others = tree.findall(f".//m:{kind}", NAMESPACES) or [None]
        for other in others:
            assert first is not None
            first.extend(list(other))
            messages = other.getparent().getparent()
            messages.remove(other.getparent())


def told(source: EwsSource) -> dict[FolderPath, SpecialUse | None]:
    """Return the folders with what they are for."""
    return {folder.path: folder.special_use for folder in source.folders()}


def read(source: EwsSource) -> Answers:
    """List the inbox and read all of it."""
    listed = listing(source, INBOX)
    return list(source.fetch([(listed.folder, list(listed.entries.values()))]))


def fill(office: Office) -> dict[FolderPath, SpecialUse | None]:
    """Put mail and folders into a mailbox; return the folders as they are told without any accent."""
    for number in range(25):
        office.amy.deliver("inbox", message(f"No. {number}"))
    for path in (("A", "B", "C"), ("A", "D"), ("E",)):
        office.amy.deliver(path, message("within"))
    with office.open() as source:
        folders = told(source)
    assert ("A", "B", "C") in folders
    return folders


def test_each_request_says_what_it_asks_for_in_its_header(exchange: StartExchange) -> None:
    """SOAP 1.1 demands the field; who dispatches by it must find the operation there."""
    office = make_office(exchange(habits=Habits(wants_action=True)))
    office.amy.deliver("inbox", message("one"))
    with office.open() as source:
        assert [type(each) for each in read(source)] == [Message]


def test_all_may_come_in_one_response_message(office: Office) -> None:
    """Folders are then asked for one by one, to know which is which; of messages none is asked for twice."""
    folders = fill(office)
    office.server.accent = into_one
    with office.open() as source:
        assert told(source) == folders
        office.server.requests.clear()
        assert {type(each) for each in read(source)} == {Message}
    assert office.server.requests["GetItem"] == 1


def test_one_unknown_name_may_refuse_all(office: Office) -> None:
    """What a server has no folder for is only not there."""
    folders = fill(office)
    office.server.faults.add(faults.refused("ErrorInvalidRequest"), operation="GetFolder")
    office.server.faults.add(faults.refused("ErrorInvalidRequest"), operation="GetFolder", skip=3)
    with office.open() as source:
        uses = told(source)
    assert uses.keys() == folders.keys()
    assert set(folders.values()) - set(uses.values()) == {SpecialUse.SENT}


@pytest.mark.parametrize("how", ["fault", "message"])
def test_a_deep_search_may_not_be_there(office: Office, how: str) -> None:
    """The tree is then walked."""
    folders = fill(office)
    refused = faults.refused("ErrorInvalidOperation")
    no_deep = refused if how == "fault" else faults.InMessages("ErrorInvalidOperation")
    office.server.faults.add(no_deep, operation="FindFolder")
    with office.open() as source:
        assert told(source) == folders


def test_what_a_folder_stands_in_may_not_be_told(office: Office) -> None:
    """Then it is what was asked about."""
    folders = fill(office)
    office.server.accent = without("ParentFolderId")
    with office.open() as source:
        assert told(source) == folders


@pytest.mark.parametrize(
    "accent",
    [
        saying(IncludesLastItemInRange=None, TotalItemsInView=None, IndexedPagingOffset=None),
        saying(IncludesLastItemInRange=None),
        saying(IncludesLastItemInRange="true"),
        saying(IncludesLastItemInRange="false"),
        saying(IncludesLastItemInRange="0", TotalItemsInView=None),
    ],
    ids=["nothing", "total", "always last", "never last", "never last, no total"],
)
@pytest.mark.parametrize("limit", [7, 1000])
def test_pages_may_say_anything_of_their_end(exchange: StartExchange, accent: Accent, limit: int) -> None:
    """Where nothing new comes, it is the end."""
    office = make_office(exchange(habits=Habits(find_limit=limit)))
    folders = fill(office)
    office.server.faults.add(faults.refused("ErrorInvalidOperation"), operation="SyncFolderItems")
    office.server.accent = accent
    with office.open() as source:
        assert told(source) == folders
        assert len(listing(source, INBOX).entries) == 25


def test_changes_may_be_refused_in_a_response_message(office: Office) -> None:
    """Exchange says by a fault what others say so: the folder is listed by FindItem."""
    fill(office)
    no_changes = faults.InMessages("ErrorInvalidOperation")
    office.server.faults.add(no_changes, operation="SyncFolderItems", times=float("inf"))
    with office.open() as source:
        assert len(listing(source, INBOX).entries) == 25


def test_a_listing_may_tell_fewer_dates_than_there_are(office: Office) -> None:
    """It is the same message all the same."""
    office.amy.deliver("inbox", message("one"))
    office.amy.deliver("inbox", message("two"), flags=["\\Draft"])

    def accent(operation: str, tree: Element) -> None:
        for node in tree.findall(".//t:DateTimeReceived", NAMESPACES):
            if operation == "GetItem":
                node.text = "2001-02-03T04:05:06Z"
            else:
                node.getparent().remove(node)

    office.server.accent = accent
    with office.open() as source:
        assert [type(each) for each in read(source)] == [Message, Message]


def test_an_outbox_that_does_not_count_is_listed(office: Office) -> None:
    """Whether it is empty is not known."""
    office.server.accent = without("TotalCount")
    with office.open() as source:
        assert ("Outbox",) in told(source)


def test_a_connection_that_ends_without_a_word_is_made_anew_once(office: Office) -> None:
    """As servers close what rests; the folders that were listed before need not be listed again."""
    office.amy.deliver("inbox", message("one"))
    with office.open(mailbox_connections=1) as source:
        office.server.faults.add(faults.LOST, operation="SyncFolderItems")
        assert len(listing(source, INBOX).entries) == 1
    assert office.server.requests["SyncFolderItems"] == 2
