"""The way in to servers that leave it open: asked once, told, and never talked down later."""

from __future__ import annotations

import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import pytest
from attrs import evolve, frozen

from alimail_core.contract import Credentials, SourceKind, option
from alimail_core.events import Event, Noted
from alimail_core.ledger import Ledger
from alimail_core.ledger.servers import Way, keep_way, known_way
from alimail_core.migration import Migration
from alimail_core.model import INBOX
from alimail_core.network import ServerOptions
from alimail_core.registry import Registry
from alimail_core.seam import Clock
from alimail_core.secrets import Secret
from alimail_core.spec import AccountSpec, Endpoint, MigrationSpec
from alimail_core.testing.mail import message
from alimail_core.testing.servers import Dovecot
from alimail_core.ways import Server as Told
from alimail_core.ways import Ways
from alimail_imap.options import ImapOptions
from alimail_imap.testing import CannedServer

Tls = Literal["auto", "implicit", "starttls", "none"]


@frozen
class Options(ServerOptions):
    """A protocol's."""

    implicit_port = 993
    cleartext_port = 143

    depth: int = option("How deep.", default=3)


class Server:
    """Has some encryption, and counts how often it is asked."""

    def __init__(self, tls: Tls) -> None:
        self.tls: Tls = tls
        self.asked = 0
        self.kind = SourceKind("line", "A server.", Options, self._open, probe=self._probe)

    def _open(self, options: Options, credentials: Credentials, clock: Clock) -> Any:
        raise AssertionError("nothing is opened here")

    def _probe(self, options: Options) -> Options:
        self.asked += 1
        time.sleep(0.01)  # so that others, if they may, come in meanwhile
        return evolve(options, tls=self.tls, port=evolve(options, tls=self.tls).address[1])


OPEN = Options("mail.old.example")


def quiet(_: str) -> None:
    """Be told, and let it be."""


def find(ways: Ways, server: Server, options: Options = OPEN, *, keep: bool = True) -> Way:
    """Return what way is taken."""
    told: list[str] = []
    asked = server.asked
    taken = ways.options_for(server.kind, options, told.append, keep=keep)
    assert evolve(taken, tls=options.tls, port=options.port) == options
    assert len(told) == server.asked - asked
    return taken.tls, taken.address[1]


@pytest.fixture
def ledger(tmp_path: Path) -> Any:
    """Open a ledger."""
    with closing(Ledger.open(str(tmp_path / "test.ledger"), "test")) as opened:
        yield opened


def test_a_server_is_asked_once_whoever_asks_later(ledger: Ledger) -> None:
    """Not again in this run, however many accounts begin at once, and not in the next one."""
    server = Server("starttls")
    ways = Ways(lambda: ledger)
    with ThreadPoolExecutor(8) as threads:
        taken = threads.map(lambda _: ways.options_for(server.kind, OPEN, quiet, keep=True), range(40))
        assert set(taken) == {evolve(OPEN, tls="starttls", port=143)}
    assert server.asked == 1
    assert find(Ways(lambda: ledger), server, evolve(OPEN, depth=4, host="Mail.Old.Example")) == (
        "starttls",
        143,
    )
    assert server.asked == 1


def test_who_comes_later_cannot_talk_it_down(ledger: Ledger) -> None:
    """What was found first holds, also where the server seems to have less now, or another process found less."""
    assert find(Ways(lambda: ledger), Server("implicit")) == ("implicit", 993)
    assert find(Ways(lambda: ledger), Server("none"), evolve(OPEN, allow_plaintext_login=True)) == (
        "implicit",
        993,
    )
    assert keep_way(ledger, ("line", "mail.old.example", 0), ("none", 143)) == ("implicit", 993)


def test_another_port_or_kind_is_another_server(ledger: Ledger) -> None:
    """Each is asked for itself."""
    ways = Ways(lambda: ledger)
    assert find(ways, Server("implicit")) == ("implicit", 993)
    assert find(ways, Server("starttls"), evolve(OPEN, port=1143)) == ("starttls", 1143)
    assert known_way(ledger, ("other", "mail.old.example", 0)) is None


def test_leave_that_is_taken_back_counts_no_more(ledger: Ledger) -> None:
    """A server without encryption is asked anew once a password may not go there in clear any more."""
    plain = evolve(OPEN, allow_plaintext_login=True)
    assert find(Ways(lambda: ledger), Server("none"), plain) == ("none", 143)
    assert find(Ways(lambda: ledger), Server("starttls"), plain) == ("none", 143)
    assert find(Ways(lambda: ledger), Server("starttls")) == ("starttls", 143)
    assert find(Ways(lambda: ledger), Server("none"), plain) == ("starttls", 143)


def test_who_only_looks_keeps_nothing(ledger: Ledger) -> None:
    """A check remembers for as long as it runs, whether there is a ledger or not."""
    for ways in (Ways(lambda: ledger), Ways(lambda: None)):
        server = Server("implicit")
        assert find(ways, server, keep=False) == ("implicit", 993)
        assert find(ways, server, keep=False) == ("implicit", 993)
        assert server.asked == 1
    assert known_way(ledger, ("line", "mail.old.example", 0)) is None


def test_what_is_said_or_cannot_be_tried_is_left_as_it_is() -> None:
    """An encryption that was named; a kind that cannot find out; options of something else than a server."""
    ways, server = Ways(lambda: None), Server("implicit")
    named = evolve(OPEN, tls="starttls")
    assert ways.options_for(server.kind, named, quiet, keep=True) is named
    assert ways.options_for(evolve(server.kind, probe=None), OPEN, quiet, keep=True) is OPEN
    assert ways.options_for(server.kind, "anything", quiet, keep=True) == "anything"
    assert server.asked == 0
    assert ways.remarks("line", named) == ways.remarks("line", OPEN) == ways.remarks("line", "anything") == []


def test_a_ledger_of_before_learns_it(tmp_path: Path) -> None:
    """The table is made where an earlier version has not."""
    path = tmp_path / "test.ledger"
    Ledger.open(str(path), "test").close()
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("DROP TABLE server")
        raw.execute("UPDATE migration SET schema_version = 4")
        raw.execute("PRAGMA user_version = 4")
        raw.commit()
    with closing(Ledger.open(str(path), "test")) as ledger:
        assert find(Ways(lambda: ledger), Server("implicit")) == ("implicit", 993)


# a whole migration


def migration(folder: Path, source: ImapOptions, target: ImapOptions, password: str) -> MigrationSpec:
    """Move one mailbox."""
    secret = Secret.literal(password)
    account = AccountSpec(
        "anna@example.org",
        "anna@new.example",
        Endpoint("imap", source),
        Endpoint("imap", target),
        "anna@example.org",
        "anna@new.example",
        secret,
        secret,
    )
    return MigrationSpec("test", str(folder / "test.ledger"), (account,))


@pytest.mark.server
def test_a_migration_finds_the_way_tells_it_and_keeps_to_it(tmp_path: Path) -> None:
    """By real servers: checked without a ledger, carried with one, and later not carried where TLS is taken out."""
    with Dovecot() as server, CannedServer() as stripped:
        server.append("anna@example.org", INBOX, message("one"))
        here = ImapOptions(host=server.host, ca=server.ca_file, timeout=20.0)
        source, target = evolve(here, port=server.imap_port), evolve(here, port=server.imaps_port)
        spec = migration(tmp_path, source, target, server.password)
        events: list[Event] = []
        with Migration(spec, Registry.load(["imap"]), observers=[events.append]) as moving:
            told = {result.side: result.remarks for result in moving.check()}
            assert not Path(spec.ledger).exists()
            assert any(f"STARTTLS, port {server.imap_port}" in remark.text for remark in told["source"])
            assert any("encrypted with TLS" in remark.text for remark in told["source"])
            assert any(f"first octet, port {server.imaps_port}" in remark.text for remark in told["target"])
            assert moving.run().exit_code == 0
            assert moving.known().servers == (
                Told("source", "imap", server.host, server.imap_port, "starttls", found=True, accounts=1),
                Told("target", "imap", server.host, server.imaps_port, "implicit", found=True, accounts=1),
            )
        assert len([each for each in events if isinstance(each, Noted) and "tls = auto" in each.text]) == 2
        assert len(server.snapshot("anna@new.example")[INBOX]) == 1
        with closing(Ledger.open(spec.ledger, spec.name)) as ledger:
            assert known_way(ledger, ("imap", server.host, server.imap_port)) == (
                "starttls",
                server.imap_port,
            )
            keep_way(ledger, ("imap", "127.0.0.1", stripped.port), ("starttls", stripped.port))
        again = migration(tmp_path, evolve(source, port=stripped.port), target, server.password)
        with Migration(again, Registry.load(["imap"])) as moving:
            (summary,) = moving.run().accounts
        assert summary.state == "failed"
        assert "offers no STARTTLS" in summary.reason
        assert f"(starttls, port {stripped.port}), and is kept" in summary.remedy
        assert not stripped.commands(b"LOGIN")
