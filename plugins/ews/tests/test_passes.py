"""Whole passes from an Exchange mailbox: nothing twice, whatever comes in between."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest

from alimail_core import INBOX, Event, FolderPath, TransferOptions, Waiting
from alimail_core.folders.policy import FolderPolicy
from alimail_core.identity import content_digest
from alimail_core.ledger import Ledger
from alimail_core.ledger.facts import facts
from alimail_core.seam import Stop
from alimail_core.testing.clock import FakeClock
from alimail_core.testing.mail import message
from alimail_core.testing.memory import MemoryMailbox, MemorySink, StoredMessage
from alimail_core.transfer import PassSummary, run_pass
from plugins.ews.tests.conftest import Office
from tests.exchange import Mailbox, faults

pytestmark = pytest.mark.slow

PROJECT = ("Projects", "重要")


class Account:
    """Amy's mailbox, a mailbox in memory, and passes between them."""

    def __init__(self, office: Office) -> None:
        self.office = office
        self.wishes: dict[str, Any] = {}
        self.target = MemoryMailbox()
        self.clock = FakeClock()
        self.events: list[Event] = []
        self.ledger = Ledger.in_memory("test", self.clock, None)
        self.id = self.ledger.account("amy@old.example", "amy@new.example")

    def run(self) -> PassSummary:
        """Make one pass."""
        return run_pass(
            account="amy@old.example",
            ledger=self.ledger,
            account_id=self.id,
            open_source=lambda: self.office.open(**self.wishes),
            open_sink=lambda: MemorySink(self.target),
            options=TransferOptions(batch_messages=20),
            policy=FolderPolicy(),
            observe=self.events.append,
            clock=self.clock,
            stop=Stop(),
        )

    def held(self) -> dict[FolderPath, Counter[bytes]]:
        """Return what the target holds, by what a reader sees."""
        return {
            path: Counter(content_digest(octets) for octets in held.elements())
            for path, held in self.target.contents().items()
            if held
        }

    def stored(self, words: bytes) -> StoredMessage:
        """Return the one message of the target's inbox that has these words in it."""
        (found,) = [one for one in self.target.tree[INBOX].messages.values() if words in one.octets]
        return found

    def assert_all_there_once(self) -> None:
        """The target has exactly what the mailbox has, and a second pass changes nothing."""
        assert self.held() == sent(self.office.amy)
        before = self.target.snapshot()
        summary = self.run()
        assert (summary.state, summary.copied, summary.adopted) == ("done", 0, 0)
        assert self.target.snapshot() == before


def sent(mailbox: Mailbox) -> dict[FolderPath, Counter[bytes]]:
    """Return what a mailbox of Exchange holds, as it stands in the target."""
    found = {}
    for folder in mailbox.folders.values():
        path = INBOX if folder.distinguished == "inbox" else folder.path
        if folder.items:
            found[path] = Counter(content_digest(item.mime) for item in folder.items.values())
    return found


@pytest.fixture
def account(office: Office) -> Iterator[Account]:
    """An account with mail in three folders."""
    for number in range(130):
        folder = ("inbox", "sentitems", PROJECT)[number % 3]
        office.amy.deliver(folder, message(f"No. {number}", message_id=f"{number}@x"))
    made = Account(office)
    with closing(made.ledger):
        yield made


def test_everything_arrives_once_and_a_quiet_folder_costs_one_request(account: Account) -> None:
    """A pass with nothing new asks once a folder, and for no message."""
    assert account.run().copied == 130
    account.office.server.requests.clear()
    account.assert_all_there_once()
    asked = account.office.server.requests
    with account.office.open() as source:
        folders = sum(folder.selectable for folder in source.folders())
    assert asked["SyncFolderItems"] == folders
    assert asked["GetItem"] == 0


def test_flags_and_dates_come_along(account: Account) -> None:
    """As they are, and as they change."""
    amy = account.office.amy
    date = datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC)
    item = amy.deliver("inbox", message("marked", message_id="m@x"), flags=["\\Flagged"], received=date)
    account.run()
    held = account.stored(b"Subject: marked")
    assert held.flags == {"\\Flagged"}
    assert held.internal_date == date
    amy.change(item, is_read=True)
    account.run()
    held = account.stored(b"Subject: marked")
    assert held.flags == {"\\Flagged", "\\Seen"}
    account.assert_all_there_once()


def test_what_is_moved_in_exchange_moves_in_the_target(account: Account) -> None:
    """Its identifier changes there; nothing is copied again."""
    amy = account.office.amy
    account.run()
    for item in list(amy.folder("inbox").items.values())[:5]:
        amy.move(item, amy.folder(("Tidied up",)))
    summary = account.run()
    assert summary.copied == 0
    account.assert_all_there_once()


def test_a_mailbox_that_was_moved_to_another_database_is_not_copied_again(account: Account) -> None:
    """All identifiers are new; its messages are recognised by what they are."""
    account.run()
    account.office.amy.relocate()
    summary = account.run()
    assert summary.copied == 0
    account.assert_all_there_once()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("operation", ["FindFolder", "SyncFolderItems", "GetItem"])
def test_an_answer_that_trickles_without_end_costs_its_connection_alone(
    account: Account, operation: str
) -> None:
    """The pass lets go of it by itself, and goes on with another."""
    account.office.server.faults.add(faults.Delivery(trickle=300), operation=operation)
    assert account.run().state == "done"
    assert any(isinstance(event, Waiting) and "hardly moved" in event.reason for event in account.events)
    account.assert_all_there_once()


def test_throttling_is_waited_out_where_everybody_sees_it(account: Account) -> None:
    """The pass goes on when the server says, and tells meanwhile that it waits."""
    account.office.server.faults.add(faults.busy(90_000), operation="GetItem", times=2)
    began = account.clock.monotonic()
    assert account.run().state == "done"
    assert account.clock.monotonic() - began >= 90
    assert any(isinstance(event, Waiting) and "ErrorServerBusy" in event.reason for event in account.events)
    account.assert_all_there_once()


@pytest.mark.parametrize(
    "fault", [faults.LOST, faults.Delivery(cut=3_000), faults.garbage(), faults.http(502)]
)
@pytest.mark.parametrize("operation", ["FindFolder", "SyncFolderItems", "GetItem"])
def test_what_passes_leaves_no_trace(account: Account, operation: str, fault: faults.Fault) -> None:
    """A connection that is lost in the middle of anything costs time and no message."""
    account.office.server.faults.add(fault, operation=operation, times=2)
    assert account.run().state == "done"
    account.assert_all_there_once()


def test_a_damaged_item_is_a_problem_and_comes_when_it_is_mended(account: Account) -> None:
    """The report names it with the server's words; the next pass tries again."""
    amy = account.office.amy
    item = amy.deliver("inbox", message("damaged", message_id="d@x"))
    amy.change(item, failure="ErrorItemCorrupt")
    summary = account.run()
    assert (summary.copied, summary.problems) == (130, 1)
    amy.change(item, failure=None)
    assert account.run().copied == 1
    account.assert_all_there_once()


def test_what_is_no_mail_is_counted_once_for_the_report(account: Account) -> None:
    """However many passes there are, the report has as many appointments as stay."""
    for _ in range(3):
        account.office.amy.deliver(
            "calendar", b"BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n", item_class="IPM.Appointment"
        )
    account.office.amy.deliver("inbox", message("one"))
    for name in ("Ann", "Bob"):
        card = f"BEGIN:VCARD\r\nFN:{name}\r\nEND:VCARD\r\n".encode()
        account.office.amy.deliver("deleteditems", card, item_class="IPM.Contact")
    account.run()
    account.run()
    assert facts(account.ledger)[account.id].notes == [
        ("no mail, and stays at the source: Calendar", 3),
        ("no mail, and stays at the source: Deleted Items", 2),
    ]


def test_public_folders_arrive_once(account: Account) -> None:
    """They are listed anew in each pass, for they have no state, and nothing of them is copied again."""
    public = account.office.server.organisation.add_public_folders()
    first, *_ = [
        public.deliver(("Sales", "Asia"), message(f"S {n}", message_id=f"s{n}@x")) for n in range(30)
    ]
    account.wishes = {"public_folder": "Public", "public_folder_account": account.office.amy.address}
    assert account.run().copied == 160
    before = account.target.snapshot()
    assert account.run().copied == 0
    assert account.target.snapshot() == before
    public.change(first, is_read=True)
    public.deliver(("Sales",), message("new", message_id="new@x"))
    public.deliver(("Elsewhere",), message("not here")).folder.elsewhere = True
    summary = account.run()
    assert (summary.copied, summary.problems) == (1, 1)
    held = account.held()
    assert held["Public", "Sales", "Asia"].total() == 30
    assert held["Public", "Sales"].total() == 1
