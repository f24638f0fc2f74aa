"""Whole passes from Exchange into memory, with something going wrong at each request, in each state of a migration.

What is held, whatever went wrong: the account ends ``done``, every message stands in the target once and was written
once, flags and moves have arrived, and another pass changes nothing.
"""

from __future__ import annotations

import email
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager

import pytest
from attrs import define, field

from alimail_core import INBOX, Batch, Credentials, NotStored, Stored, TransferOptions
from alimail_core.folders.policy import FolderPolicy
from alimail_core.ledger import Ledger
from alimail_core.seam import Stop
from alimail_core.testing.clock import FakeClock
from alimail_core.testing.mail import message
from alimail_core.testing.memory import MemoryMailbox, MemorySink
from alimail_core.transfer import PassSummary, run_pass
from alimail_ews.options import EwsOptions
from alimail_ews.source import EwsSource
from tests.exchange import ExchangeServer, Habits, Mailbox, faults
from tests.exchange.faults import LOST, Delivery, Fault, InMessages

pytestmark = pytest.mark.server

PLACES = ("inbox", ("Projects",), "sentitems")
NAMES = {"inbox": INBOX, "sentitems": ("Sent Items",), ("Projects",): ("Projects",)}
MESSAGES = 24
REQUESTS = [
    *(("GetFolder", number) for number in (0, 1)),
    *(("FindFolder", number) for number in (0, 1)),
    *(("SyncFolderItems", number) for number in (0, 2, 5, 7)),
    ("GetItem", 0),
]
"""The requests that go wrong: those that a pass has in each state, however fast its threads are."""


@define(eq=False)
class World:
    """One server with Amy's mailbox, a mailbox in memory, a ledger, and passes between them."""

    server: ExchangeServer
    amy: Mailbox
    target: MemoryMailbox = field(factory=MemoryMailbox)
    clock: FakeClock = field(factory=FakeClock)
    ledger: Ledger = field(init=False)
    account: int = field(init=False)
    written: Counter[str] = field(factory=Counter)

    def __attrs_post_init__(self) -> None:
        """Begin a migration."""
        self.ledger = Ledger.in_memory("test", self.clock, None)
        self.account = self.ledger.account(self.amy.address, "new@example.org")

    def run(self) -> PassSummary:
        """Make one pass."""
        options = EwsOptions(
            "localhost", self.server.port, "none", allow_plaintext_login=True, timeout=0.5, auth="basic",
            master_user="svc", mailbox_connections=2,
        )  # fmt: skip
        credentials = Credentials(self.amy.address, lambda: "secret")
        return run_pass(
            account=self.amy.address,
            ledger=self.ledger,
            account_id=self.account,
            open_source=lambda: EwsSource.open(options, credentials),
            open_sink=lambda: CountingSink(self.target, self.written),
            options=TransferOptions(batch_messages=5, settle_seconds=1.0),
            policy=FolderPolicy(),
            observe=lambda event: None,
            clock=self.clock,
            stop=Stop(),
        )

    def theirs(self) -> Counter[tuple[str, str, bool]]:
        """What Exchange has: folder, message, whether it is read."""
        return Counter(
            (NAMES[place][-1], str(item.header["Message-ID"]), item.is_read)
            for place in PLACES
            for item in self.amy.folder(place).items.values()
        )

    def ours(self) -> Counter[tuple[str, str, bool]]:
        """What the target has."""
        return Counter(
            (path[-1], _name(kept.octets), "\\Seen" in kept.flags)
            for path, folder in self.target.tree.items()
            for kept in folder.messages.values()
        )

    def fill(self) -> None:
        """Put mail into Exchange."""
        for number in range(MESSAGES):
            octets = message(f"No. {number}", message_id=f"{number}@old.example")
            self.amy.deliver(PLACES[number % 3], octets, flags=["\\Seen"] if number % 2 else [])

    def assert_there_once(self) -> None:
        """Look at all, and see that another pass changes nothing."""
        assert self.ours() == self.theirs()
        assert set(self.written.values()) == {1}, "something was written twice"
        before = self.target.snapshot()
        summary = self.run()
        assert (summary.state, summary.copied, summary.adopted) == ("done", 0, 0)
        assert self.target.snapshot() == before


class CountingSink(MemorySink):
    """A sink that counts what it stored."""

    def __init__(self, mailbox: MemoryMailbox, written: Counter[str]) -> None:
        """Count into ``written``, by Message-ID."""
        super().__init__(mailbox)
        self._written = written

    def append(self, batches: Iterable[Batch]) -> Iterator[Stored | NotStored]:
        """Store, and count."""
        names: dict[int, str] = {}

        def noted() -> Iterator[Batch]:
            for batch in batches:
                names.update((each.id, _name(each.octets)) for each in batch)
                yield batch

        for outcome in super().append(noted()):
            self._written[names[outcome.id]] += isinstance(outcome, Stored)
            yield outcome


def _name(octets: bytes) -> str:
    return str(email.message_from_bytes(octets)["Message-ID"])


@contextmanager
def world() -> Iterator[World]:
    """Start a server whose pages are small, so that even a small mailbox takes many requests."""
    habits = Habits(sync_limit=5, find_limit=10)
    with ExchangeServer(tls=False, habits=habits) as server:
        amy = server.organisation.add_mailbox("amy", password="secret")
        server.organisation.add_account("svc", "secret", impersonates=["*"])
        made = World(server, amy)
        made.fill()
        with closing(made.ledger):
            yield made


# -- the states in which a fault can strike


def first(it: World) -> None:
    """Nothing was carried yet."""


def later(it: World) -> None:
    """Everything was, and since then people have worked: mail came, was read, filed and deleted."""
    assert it.run().state == "done"
    inbox, projects = it.amy.folder("inbox"), it.amy.folder(("Projects",))
    items = list(inbox.items.values())
    it.amy.change(items[0], is_read=not items[0].is_read)
    it.amy.move(items[1], projects)
    for number in range(3):
        it.amy.deliver("inbox", message(f"New {number}", message_id=f"new{number}@old.example"))


def moved(it: World) -> None:
    """Everything was, and then the mailbox went to another database: no identifier means anything any more."""
    assert it.run().state == "done"
    it.amy.relocate()


STATES = (first, later, moved)

WRONG: dict[str, Fault] = {
    "busy for a while": faults.busy(500),
    "busy, without saying how long": faults.busy(None),
    "busy, each message by itself": InMessages("ErrorServerBusy", {"BackOffMilliseconds": "500"}),
    "one message of an answer times out": InMessages("ErrorTimeoutExpired", only=frozenset({1})),
    "too many objects opened": faults.too_many_objects(),
    "a passing error inside": faults.refused("ErrorInternalServerTransientError"),
    "the store is not there": faults.refused("ErrorMailboxStoreUnavailable"),
    "the mailbox fails over": faults.refused("ErrorMailboxFailover"),
    "503 from a balancer": faults.http(503, retry_after="1", body=b"<html>"),
    "500 without XML": faults.http(500, body=b"<html>"),
    "502 from a gateway": faults.http(502, body=b"<html>"),
    "401 from a busy controller": faults.http(401),
    "the answer is lost": LOST,
    "the answer is cut in its head": Delivery(cut=40),
    "the answer is cut in its middle": Delivery(cut=2_000),
    "the answer stalls": Delivery(stall=100),
    "the answer trickles": Delivery(piece=97),
    "no XML comes": faults.garbage(),
    "entities grow": faults.entity_bomb(),
    "an entity reaches out": faults.outside_entity("file:///etc/passwd"),
}


CASES = [
    pytest.param(state, wrong, operation, number, id=f"{state.__name__}-{wrong}-{operation}-{number}")
    for state in STATES
    for wrong in WRONG
    for operation, number in REQUESTS
    # Whoever was never let in and is refused has a wrong password, as far as anybody can tell.
    if (state, wrong, operation, number) != (first, "401 from a busy controller", "GetFolder", 0)
]


@pytest.mark.long(sample=6)
@pytest.mark.parametrize(("state", "wrong", "operation", "number"), CASES)
def test_one_request_goes_wrong(
    state: Callable[[World], None], wrong: str, operation: str, number: int
) -> None:
    """Any of a pass's requests, in any state, in any way: the same pass ends well."""
    with world() as it:
        state(it)
        it.server.faults.add(WRONG[wrong], operation=operation, skip=number)
        assert it.run().state == "done"
        assert it.server.faults.struck == 1
        it.assert_there_once()


@pytest.mark.long(sample=2)
@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("state", STATES)
def test_all_goes_wrong_for_a_while(state: Callable[[World], None], wrong: str) -> None:
    """Three requests in a row, whichever they are: the same pass ends well."""
    with world() as it:
        state(it)
        it.server.faults.add(WRONG[wrong], times=3, skip=4)
        assert it.run().state == "done"
        assert it.server.faults.struck == 3
        it.assert_there_once()


def test_a_mark_as_read_is_not_lost_with_the_answer_that_would_have_told_it() -> None:
    """SyncFolderItems tells once that a mark changed; what was not understood of its item must be asked again."""
    with world() as it:
        assert it.run().state == "done"
        item = next(iter(it.amy.folder("inbox").items.values()))
        it.amy.change(item, is_read=not item.is_read)
        it.server.faults.add(faults.garbage(), operation="GetItem")
        assert it.run().state == "done"
        it.assert_there_once()
