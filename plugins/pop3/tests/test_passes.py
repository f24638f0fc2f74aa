"""Whole passes from a maildrop: nothing twice, whatever comes in between."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from itertools import count

import pytest

from alimail_core import INBOX, Patience, TransferOptions
from alimail_core.folders.policy import FolderPolicy
from alimail_core.ledger import Ledger
from alimail_core.seam import Stop
from alimail_core.testing.canned import Peer
from alimail_core.testing.clock import FakeClock
from alimail_core.testing.mail import message
from alimail_core.testing.memory import MemoryMailbox, MemorySink
from alimail_core.transfer import PassSummary, run_pass
from alimail_pop3 import wire
from alimail_pop3.connection import WHOLE
from alimail_pop3.source import Pop3Source
from alimail_pop3.testing import CLOSE, CannedServer, with_dots

pytestmark = pytest.mark.slow

MAILS = [message(f"No. {n}", message_id=f"{n}@example.org") for n in range(300)]


class Account:
    """A maildrop, a mailbox in memory, and passes between them."""

    def __init__(self, server: CannedServer) -> None:
        self.server = server
        self.target = MemoryMailbox()
        self.clock = FakeClock()
        self.ledger = Ledger.in_memory("test", self.clock, None)
        self.id = self.ledger.account("old@example.org", "new@example.org")

    def run(self) -> PassSummary:
        """Make one pass."""
        server = self.server
        return run_pass(
            account="old@example.org",
            ledger=self.ledger,
            account_id=self.id,
            open_source=lambda: Pop3Source(server.options, server.credentials, self.clock),
            open_sink=lambda: MemorySink(self.target),
            options=TransferOptions(batch_messages=20),
            policy=FolderPolicy(),
            observe=lambda event: None,
            clock=self.clock,
            stop=Stop(),
        )

    def assert_all_there_once(self) -> None:
        """The target has exactly what the server has, and a second pass changes nothing."""
        assert self.target.contents() == {INBOX: Counter(self.server.messages)}
        before = self.target.snapshot()
        summary = self.run()
        assert (summary.state, summary.copied, summary.adopted) == ("done", 0, 0)
        assert self.target.snapshot() == before


@pytest.fixture
def account() -> Iterator[Account]:
    """An account with a server of its own."""
    with CannedServer(MAILS) as server:
        made = Account(server)
        with closing(made.ledger):
            yield made


def whole(server: CannedServer) -> list[bytes]:
    """Return the commands that read a whole message."""
    return [line for line in server.received if line.startswith(b"RETR") or line.endswith(b" %d" % WHOLE)]


def lose_once(server: CannedServer, command: bytes, words: bytes) -> None:
    """Let the first answer to a command be other words."""

    def reply(line: bytes) -> bytes:
        del server.replies[command]
        return words

    server.replies[command] = reply


@pytest.mark.parametrize(("command", "sizes"), [(b"TOP 200 9", None), (b"RETR 200", [1] * 300)])
@pytest.mark.parametrize(
    "words",
    [
        b"+OK\r\n" + with_dots(MAILS[199])[:100] + CLOSE,
        b"-ERR [SYS/TEMP] try later\r\n",
        b"+OK\r\n" + with_dots(MAILS[199]) + b"nonsense\r\n",
        CLOSE,
    ],
)
def test_a_connection_that_is_lost_costs_what_was_in_flight(
    account: Account, words: bytes, command: bytes, sizes: list[int] | None
) -> None:
    """The next session goes on where the last one ended, and fetches next to nothing again."""
    account.server.sizes = sizes
    lose_once(account.server, command, words)
    assert account.run().state == "done"
    assert len(account.server.commands(b"PASS")) == 2
    assert len(MAILS) <= len(whole(account.server)) <= len(MAILS) + 100
    account.assert_all_there_once()


class Trickling(CannedServer):
    """Says an octet now and then to one command of its first client, for longer than anybody should listen."""

    def converse(self, peer: Peer, number: int) -> None:
        """Have the first client wait."""

        def trickle(_: bytes) -> bytes:
            del self.replies[b"TOP 200"]
            peer.say(b"+OK\r\n")
            for _ in range(5_000):
                peer.say(b"x")
                time.sleep(0.001)
            raise AssertionError("the client is still there")

        if number == 0:
            self.replies[b"TOP 200"] = trickle
        super().converse(peer, number)


def test_an_answer_that_trickles_without_end_costs_its_connection_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The pass lets go of it by itself, and goes on with another. Here each wait takes a second."""
    seconds = count()
    monkeypatch.setattr(wire, "monotonic", lambda: float(next(seconds)))
    monkeypatch.setattr(Patience, "SECONDS", 10.0)
    with Trickling(MAILS) as server:
        account = Account(server)
        with closing(account.ledger):
            assert account.run().state == "done"
            assert len(server.commands(b"PASS")) == 2
            account.assert_all_there_once()


def test_a_maildrop_that_its_owner_reads_is_waited_for(account: Account) -> None:
    """A lock passes; the pass waits and goes on by itself."""
    lose_once(account.server, b"PASS", b"-ERR [IN-USE] your mail program is reading\r\n")
    assert account.run().state == "done"
    account.assert_all_there_once()


def test_new_mail_and_gone_mail_cost_what_changed(account: Account) -> None:
    """A later pass lists, fetches what is new, and leaves what the owner deleted where it is in the target."""
    account.run()
    account.server.received.clear()
    account.server.uidls = [f"id{n}".encode() for n in (*range(10, 300), 400)]
    account.server.messages = [*MAILS[10:], message("new", message_id="new@example.org")]
    assert account.run().copied == 1
    read = whole(account.server)
    assert b"TOP 291 %d" % WHOLE in read
    assert len(read) <= 1 + 3  # by which sizes are tried
    assert sum(account.target.contents()[INBOX].values()) == 301


def test_identifiers_that_a_server_made_anew_copy_nothing_twice(account: Account) -> None:
    """A server that was moved often gives all messages other identifiers: they are known by what they are."""
    account.run()
    account.server.uidls = [b"new%d" % n for n in range(300)]
    assert account.run().copied == 0
    account.assert_all_there_once()


@pytest.mark.parametrize("sizes", [[1] * 300, None])
def test_a_server_that_loses_its_identifiers_copies_nothing_twice(
    account: Account, sizes: list[int] | None
) -> None:
    """From UIDL to none, and back, with sizes that can be believed or not."""
    account.server.sizes = sizes
    account.run()
    account.server.replies[b"UIDL"] = b"-ERR unknown command\r\n"
    assert account.run().copied == 0
    account.assert_all_there_once()
    del account.server.replies[b"UIDL"]
    assert account.run().copied == 0
    account.assert_all_there_once()
