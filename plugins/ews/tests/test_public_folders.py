"""Public folders: by wish, by one account, level by level."""

from __future__ import annotations

from typing import Any

import pytest

from alimail_core import Changes, Denied, Folder, FolderPath, Message, Unusable
from alimail_core.testing.mail import message
from alimail_ews.options import EwsOptions
from alimail_ews.source import EwsSource
from plugins.ews.tests.conftest import Office, make_office
from tests.exchange import EXCHANGE_2007, EXCHANGE_2016, Habits, Mailbox
from tests.exchange.fixtures import StartExchange

TOP = "公用文件夹"
AMY = "amy@old.example"
WISH: dict[str, Any] = {"public_folder": TOP, "public_folder_account": AMY}
TREE: dict[FolderPath, int] = {
    ("Notices",): 2,
    ("Sales",): 0,
    ("Sales", "2019"): 3,
    ("Sales", "2019", "Asia"): 1,
    ("Sales", "2020"): 0,
}


def plant(office: Office) -> Mailbox:
    """Give the organisation a tree of public folders."""
    public = office.server.organisation.add_public_folders()
    for path, number in TREE.items():
        public.folder(path)
        for count in range(number):
            public.deliver(path, message(f"{path[-1]} {count}", message_id=f"{count}@{len(path)}"))
    return public


@pytest.fixture
def public(office: Office) -> Mailbox:
    """The tree, in the office's organisation."""
    return plant(office)


def beneath(source: EwsSource) -> dict[FolderPath, Folder]:
    """Return what lies beneath the top folder, by its paths there."""
    return {folder.path[1:]: folder for folder in source.folders() if folder.path[0] == TOP}


def told(source: EwsSource, folder: Folder) -> list[Changes | Unusable]:
    """Return what is told of one folder."""
    return list(source.changes([(folder, None)]))


@pytest.mark.parametrize("version", [EXCHANGE_2007, EXCHANGE_2016], ids=lambda each: each.name)
@pytest.mark.parametrize("access", ["impersonation", "delegate"])
def test_they_come_beneath_a_folder_of_their_own(exchange: StartExchange, version: Any, access: str) -> None:
    """All levels, with all messages, in pages; nothing is asked for that public folders refuse."""
    office = make_office(exchange(version=version, habits=Habits(find_limit=2)))
    organisation = office.server.organisation
    organisation.accounts["old\\svc"].mailbox = organisation.add_mailbox("svc")
    office.amy.delegates.add("OLD\\svc")
    plant(office)
    with office.open(access=access, **WISH) as source:
        folders = beneath(source)
        assert not folders.pop(()).selectable
        assert {path: folder.messages for path, folder in folders.items()} == TREE
        synced = office.server.requests["SyncFolderItems"]
        for path, folder in folders.items():
            pages = [page for page in told(source, folder) if isinstance(page, Changes)]
            assert all(page.complete for page in pages)
            entries = [entry for page in pages for entry in page.entries]
            answers = list(source.fetch([(folder, entries)]))
            assert {each.key for each in answers if isinstance(each, Message)} == {
                entry.key for entry in entries
            }
            assert len(answers) == TREE[path]
    assert office.server.requests["SyncFolderItems"] == synced


def test_one_account_brings_them(office: Office, public: Mailbox) -> None:
    """However many accounts there are with this configuration: never once for each."""
    bob = office.server.organisation.add_mailbox("bob")
    with office.open(bob.address, **WISH) as source:
        assert not beneath(source)
        assert not [remark for remark in source.remarks() if "public" in remark.text]
    with office.open("AMY@old.example", **WISH) as source:
        assert beneath(source)
        (words,) = [remark.text for remark in source.remarks() if "public" in remark.text]
        assert f"{len(TREE)} beneath {TOP}" in words
    with office.open("svc", mailbox=AMY, **WISH) as source:
        assert beneath(source)
    with office.open() as source:
        assert not beneath(source)
        assert not [remark for remark in source.remarks() if "public" in remark.text]


def test_a_level_costs_a_request_for_each_folder_that_has_some(office: Office, public: Mailbox) -> None:
    """What has no folders beneath it is not asked for any."""
    with office.open() as source:
        list(source.folders())
    before = office.server.requests["FindFolder"]
    office.server.requests.clear()
    with office.open(**WISH) as source:
        list(source.folders())
    assert office.server.requests["FindFolder"] == before + 3  # the root, Sales, Sales/2019


def test_what_is_no_mail_in_them_is_counted(office: Office, public: Mailbox) -> None:
    """A public calendar stays, and is named."""
    calendar = public.add_folder("Holidays", public.folder(("Sales",)), "IPF.Appointment")
    public.deliver(
        ("Sales", "Holidays"), b"BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n", item_class="IPM.Appointment"
    )
    with office.open(**WISH) as source:
        left = {each.path: each.items for each in source.left_behind()}
        assert not any(folder.handle == calendar.id for folder in source.folders())
    assert left == {(TOP, "Sales", "Holidays"): 1}


def test_a_folder_that_may_not_be_read_is_a_problem(office: Office, public: Mailbox) -> None:
    """It is named with the server's words, with what lies beneath it; the others come."""
    public.folder(("Sales",)).readers = {"bob@old.example"}
    public.folder(("Notices",)).elsewhere = True
    with office.open(**WISH) as source:
        folders = beneath(source)
        (sales,) = told(source, folders["Sales",])
        (notices,) = told(source, folders["Notices",])
    assert set(folders) == {(), ("Notices",), ("Sales",)}
    assert isinstance(sales, Unusable)
    assert "beneath" in sales.reason
    assert "ErrorAccessDenied" in sales.reason
    assert isinstance(notices, Unusable)
    assert "counts 2 items" in notices.reason


def test_where_there_are_none_the_account_stops(office: Office) -> None:
    """With the server's word, and what to do."""
    with pytest.raises(Denied, match="ErrorNoPublicFolderReplicaAvailable") as caught:
        office.open(**WISH)
    assert "public_folder_account" in caught.value.remedy


def test_where_to_and_by_whom_are_said_together() -> None:
    """One without the other is refused as it is written."""
    with pytest.raises(ValueError, match="together"):
        EwsOptions("h", public_folder="Public")
    with pytest.raises(ValueError, match="together"):
        EwsOptions("h", public_folder_account=AMY)
