"""Which folders are listed, under which paths, and what is left behind."""

from __future__ import annotations

import pytest

from alimail_core import INBOX, FolderPath, SpecialUse
from alimail_core.testing.asking import listing
from alimail_core.testing.mail import message
from alimail_ews.source import EwsSource
from plugins.ews.tests.conftest import Office, make_office
from tests.exchange import EXCHANGE_2007, EXCHANGE_2010, EXCHANGE_2016, ExchangeServer, Habits, Mailbox
from tests.exchange.fixtures import StartExchange

USES = {
    "zh": {("已发送邮件",), ("草稿",), ("已删除邮件",), ("垃圾邮件",)},
    "de": {("Gesendete Elemente",), ("Entwürfe",), ("Gelöschte Elemente",), ("Junk-E-Mail",)},
    "en": {("Sent Items",), ("Drafts",), ("Deleted Items",), ("Junk E-mail",)},
}


def paths(source: EwsSource, *, selectable: bool = True) -> set[FolderPath]:
    """Return the paths of folders that hold mail, or of mere containers."""
    return {folder.path for folder in source.folders() if folder.selectable is selectable}


@pytest.mark.parametrize("version", [EXCHANGE_2007, EXCHANGE_2010, EXCHANGE_2016], ids=lambda each: each.name)
@pytest.mark.parametrize("language", USES)
def test_folders_are_known_by_what_they_are_for(
    exchange: StartExchange, version: object, language: str
) -> None:
    """Whatever they are called: the inbox is the inbox, and four have a special use."""
    office = make_office(exchange(version=version))
    box = office.server.organisation.add_mailbox("box", language=language)
    with office.open(box.address) as source:
        folders = list(source.folders())
    uses = {folder.path: folder.special_use for folder in folders if folder.special_use}
    assert set(uses) == USES[language]
    assert len(set(uses.values())) == 4
    assert (
        uses[min(USES[language], key=lambda path: path[0] not in ("草稿", "Entwürfe", "Drafts"))]
        is SpecialUse.DRAFTS
    )
    assert INBOX in {folder.path for folder in folders}


def test_what_is_no_mail_is_not_listed(office: Office) -> None:
    """Calendars, searches, Sync Issues and what can be recovered stay; the report of a check counts them."""
    amy = office.amy
    for name in ("calendar", "contacts"):
        amy.deliver(name, b"BEGIN:VCARD\r\nEND:VCARD\r\n", item_class="IPM.Contact")
    amy.deliver("conflicts", message("conflict"))
    amy.deliver("recoverableitemsroot", message("deleted"))
    amy.deliver("sentitems", message("sent"))
    with office.open() as source:
        told = paths(source)
        (left,) = [remark.text for remark in source.remarks() if "no mail" in remark.text]
    assert told == {
        INBOX,
        *[
            (name,)
            for name in (
                "Conversation History",
                "Deleted Items",
                "Drafts",
                "Junk E-mail",
                "RSS Feeds",
                "Sent Items",
            )
        ],
    }
    assert "Calendar (1)" in left
    assert "Contacts (1)" in left


def test_an_outbox_with_mail_in_it_is_listed(office: Office) -> None:
    """What never left is mail as well; an empty one is nobody's business."""
    office.amy.deliver("outbox", message("stuck"))
    with office.open() as source:
        assert ("Outbox",) in paths(source)


def test_mail_within_a_calendar_has_its_path(office: Office) -> None:
    """A folder of another kind is listed as a container where mail lies beneath it."""
    calendar = office.amy.distinguished("calendar")
    office.amy.add_folder("Minutes", calendar)
    with office.open() as source:
        assert ("Calendar", "Minutes") in paths(source)
        assert paths(source, selectable=False) == {("Calendar",)}


def test_a_folder_that_is_called_inbox_is_another_one(office: Office) -> None:
    """The inbox keeps its path, and every path is there once."""
    office.amy.rename(office.amy.distinguished("inbox"), "Posteingang")
    other = office.amy.add_folder("INBOX", office.amy.top)
    office.amy.add_folder("Below", other)
    office.amy.deliver("inbox", message("here"))
    with office.open() as source:
        found = {folder.path: folder.messages for folder in source.folders()}
    assert found[INBOX] == 1
    assert found[("INBOX (2)",)] == 0
    assert ("INBOX (2)", "Below") in found


def test_folders_come_in_pages(exchange: StartExchange) -> None:
    """A server with a limit is asked until it has told all; sizes come along."""
    office = make_office(exchange(habits=Habits(find_limit=7)))
    for number in range(40):
        office.amy.folder(("Projects", f"No. {number}"))
    office.amy.deliver(("Projects", "No. 7"), message("big", body="x" * 5_000))
    with office.open() as source:
        folders = {folder.path: folder for folder in source.folders()}
    assert {("Projects", f"No. {number}") for number in range(40)} <= folders.keys()
    assert (folders["Projects", "No. 7"].octets or 0) > 5_000


def test_an_archive_comes_by_wish(office: Office) -> None:
    """Beneath a folder of the name that was given, and not otherwise."""
    archive = office.server.organisation.add_archive(office.amy)
    archive.deliver(("Old", "Older"), message("old"))
    with office.open() as source:
        assert not any("Older" in path for path in paths(source))
    with office.open(archive_folder="Archive") as source:
        (folder,) = [each for each in source.folders() if each.path == ("Archive", "Old", "Older")]
        (page,) = source.changes([(folder, None)])
        assert len(page.entries) == 1  # type: ignore[union-attr]
        assert paths(source, selectable=False) == {("Archive",)}


def test_a_mailbox_may_be_read_by_its_owner(exchange: StartExchange) -> None:
    """Without any service account."""
    server: ExchangeServer = exchange()
    amy: Mailbox = server.organisation.add_mailbox("amy", password="secret")
    office = Office(server, amy)
    with office.open(master_user=None) as source:
        assert INBOX in paths(source)
        assert "own mailbox" in " ".join(remark.text for remark in source.remarks())


def test_an_archive_is_looked_for_and_need_not_be_there(exchange: StartExchange) -> None:
    """One configuration serves those who have one and those who have none, and servers before there were any."""
    for version in (EXCHANGE_2016, EXCHANGE_2007):
        office = make_office(exchange(version=version))
        with office.open(archive_folder="Archive") as source:
            assert INBOX in paths(source)
            assert not paths(source, selectable=False)


def test_an_archive_and_a_folder_of_its_name_are_told_apart(office: Office) -> None:
    """Each path is there once: the mailbox's own folders keep theirs."""
    office.amy.deliver(("Archive",), message("put aside"))
    office.amy.deliver(("Archive", "Old"), message("also put aside"))
    archive = office.server.organisation.add_archive(office.amy)
    archive.deliver(("Old",), message("old"))
    archive.deliver(("Older",), message("older"))
    with office.open(archive_folder="Archive") as source:
        folders = [folder for folder in source.folders() if folder.path[0] == "Archive"]
        held = {folder.path: len(listing(source, folder.path).entries) for folder in folders}
    assert len(held) == len(folders)
    assert held == {
        ("Archive",): 1,
        ("Archive", "Deleted Items"): 0,
        ("Archive", "Old"): 1,
        ("Archive", "Old (2)"): 1,
        ("Archive", "Older"): 1,
    }
