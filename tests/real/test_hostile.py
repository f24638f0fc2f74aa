"""Hostile and broken source servers: their account ends with a clear reason, and the others go on."""

from __future__ import annotations

import os
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from alimail_core.events import ProblemFound
from alimail_core.migration import MigrationSummary
from alimail_core.model import INBOX
from alimail_core.secrets import Secret
from alimail_core.spec import AccountSpec, Endpoint
from alimail_core.testing.canned import Peer
from alimail_core.testing.mail import message
from alimail_core.testing.servers import Dovecot
from alimail_imap.testing import CLOSE, CannedServer
from alimail_imap.wire import MAX_LITERAL, MAX_TEXT
from tests.real.bench import HurriedClock
from tests.real.mailboxes import Carrier, account, endpoint

pytestmark = pytest.mark.server

EVIL = "a\x1b[2J\x1b]0;owned\x07\u202eb<script>alert(1)</script>"
"""What would clear a terminal, name its window, turn text around, and run in a browser."""
OCTETS = message("Hello")
HONEST: dict[bytes, bytes] = {
    b'LIST "" "*"': b'* LIST () "/" INBOX\r\n',
    b"STATUS": b"* STATUS INBOX (MESSAGES 1 UIDNEXT 2 UIDVALIDITY 1)\r\n",
    b"EXAMINE": b"* 1 EXISTS\r\n* OK [UIDVALIDITY 1] ok\r\n* OK [UIDNEXT 2] ok\r\n",
    b"FETCH": b'* 1 FETCH (UID 1 FLAGS () INTERNALDATE "01-Jan-2020 00:00:00 +0000" RFC822.SIZE %d)\r\n'
    % len(OCTETS),
    b"UID FETCH": b'* 1 FETCH (UID 1 FLAGS () INTERNALDATE "01-Jan-2020 00:00:00 +0000" RFC822.SIZE %d'
    b" BODY[] {%d}\r\n%s)\r\n" % (len(OCTETS), len(OCTETS), OCTETS),
}
"""A server with one message, as long as nothing worse is said."""


def from_canned(server: CannedServer, target: Dovecot, user: str) -> AccountSpec:
    """Name an account whose source is a canned server."""
    return AccountSpec(
        "evil@old.example",
        "evil@new.example",
        Endpoint("imap", server.options),
        endpoint(target),
        server.credentials.user,
        user,
        Secret.literal(server.credentials.password()),
        Secret.literal(target.password),
    )


def carry(server: CannedServer, source: Dovecot, target: Dovecot, folder: Path) -> MigrationSummary:
    """Run a migration of two accounts, the first of them from a canned server, the second an honest one."""
    user, honest = target.new_user("evil"), source.new_user("honest")
    honest_target = target.new_user("honest")
    source.deliver(honest, INBOX, OCTETS)
    specs = (from_canned(server, target, user), account(source, honest, target, honest_target))
    carrier = Carrier(folder, specs, clock=HurriedClock(2_000))
    with carrier.migration() as migration:
        summary = migration.run()
    assert target.snapshot(honest_target)[INBOX] == source.snapshot(honest)[INBOX]
    assert summary.accounts[1].state == "done"
    return summary


@contextmanager
def little_memory() -> Iterator[None]:
    """See that the block takes no more memory than a few of the longest lines that are taken."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 6 * MAX_TEXT
    finally:
        tracemalloc.stop()


GOODBYE = b"* BYE Going down for maintenance\r\n" + CLOSE
ENDLESS = b"* OK " + b"x" * (MAX_TEXT + 1_000_000) + CLOSE
BREAKS: dict[str, tuple[bytes, str]] = {
    "an endless line": (ENDLESS, "endless line"),
    "a huge literal": (b"* LIST () {99999999999}\r\n" + CLOSE, "more than we take"),
    "a literal beyond all numbers": (b"* LIST () {" + b"9" * 400 + b"}\r\n" + CLOSE, "closed the connection"),
    "a wrong tag": (b"ZZ9 OK whose is this?\r\n" + CLOSE, "not IMAP"),
    "garbage": (bytes(range(256)) * 40 + b"\r\n" + CLOSE, "not IMAP"),
    "no status": (b"{tag} MAYBE\r\n" + CLOSE, "no status"),
    "half a line": (b"* LI" + CLOSE, "closed the connection"),
    "a go-ahead for nothing": (b"+ go on\r\n" + CLOSE, "nothing to go on with"),
    "a goodbye": (b"* BYE Shutting down\r\n" + CLOSE, "Shutting down"),
}


@pytest.mark.long
@pytest.mark.parametrize("how", BREAKS)
def test_a_server_that_breaks_the_protocol_ends_its_own_account_alone(
    how: str, source_server: Dovecot, target_server: Dovecot, tmp_path: Path
) -> None:
    """The account fails with the reason after a few attempts, the exit code says so, the other is carried."""
    words, reason = BREAKS[how]
    with CannedServer(HONEST | {b'LIST "" "*"': words}) as server:
        summary = carry(server, source_server, target_server, tmp_path)
    assert (summary.accounts[0].state, summary.exit_code) == ("failed", 1)
    assert reason in summary.accounts[0].reason


class EndlessServer(CannedServer):
    """Never comes to the end of its greeting."""

    def converse(self, peer: Peer, number: int) -> None:
        """Talk for ever."""
        while peer.say(b"x" * 65_536):
            pass


def test_a_line_that_really_has_no_end_takes_little_memory(
    source_server: Dovecot, target_server: Dovecot, tmp_path: Path
) -> None:
    """However long a server goes on, we read a line's greatest length and end the connection."""
    with EndlessServer() as server, little_memory():
        summary = carry(server, source_server, target_server, tmp_path)
    assert (summary.accounts[0].state, summary.exit_code) == ("failed", 1)
    assert "endless line" in summary.accounts[0].reason


def test_a_huge_literal_takes_the_memory_of_what_comes(
    source_server: Dovecot, target_server: Dovecot, tmp_path: Path
) -> None:
    """Half a gigabyte that is announced, and may be sent, is not taken before it is there."""
    words = b"* LIST () {%d}\r\nabc" % MAX_LITERAL + CLOSE
    with CannedServer(HONEST | {b'LIST "" "*"': words}) as server, little_memory():
        summary = carry(server, source_server, target_server, tmp_path)
    assert (summary.accounts[0].state, summary.exit_code) == ("failed", 1)


@pytest.mark.parametrize("command", [b"CAPABILITY", b"LOGIN", b"LIST", b"EXAMINE", b"FETCH"])
def test_a_goodbye_may_come_at_any_command(
    command: bytes, source_server: Dovecot, target_server: Dovecot, tmp_path: Path
) -> None:
    """Wherever a server ends the connection, its words are the reason."""
    replies = {key: reply for key, reply in HONEST.items() if not key.startswith(command)}
    with CannedServer(replies | {command: GOODBYE}) as server:
        summary = carry(server, source_server, target_server, tmp_path)
    assert (summary.accounts[0].state, summary.exit_code) == ("failed", 1)
    assert "maintenance" in summary.accounts[0].reason


def test_a_goodbye_may_come_instead_of_a_greeting(
    source_server: Dovecot, target_server: Dovecot, tmp_path: Path
) -> None:
    """A server that sends everybody away is told so, in its own words."""
    with CannedServer(greeting=GOODBYE) as server:
        summary = carry(server, source_server, target_server, tmp_path)
    assert (summary.accounts[0].state, summary.exit_code) == ("failed", 1)
    assert "maintenance" in summary.accounts[0].reason


def test_a_message_at_which_a_server_always_ends_is_named(
    source_server: Dovecot, target_server: Dovecot, tmp_path: Path
) -> None:
    """One message that a server chokes on is a problem of its own, and not the end of its account."""
    with CannedServer(HONEST | {b"UID FETCH": GOODBYE}) as server:
        summary = carry(server, source_server, target_server, tmp_path)
    assert (summary.accounts[0].state, summary.accounts[0].problems, summary.exit_code) == ("problems", 1, 3)


def test_an_honest_canned_server_is_carried(
    source_server: Dovecot, target_server: Dovecot, tmp_path: Path
) -> None:
    """What the other tests spoil works when nobody spoils it."""
    with CannedServer(HONEST) as server:
        summary = carry(server, source_server, target_server, tmp_path)
    assert (summary.accounts[0].state, summary.accounts[0].copied) == ("done", 1)


def test_unasked_responses_disturb_nothing(
    source_server: Dovecot, target_server: Dovecot, tmp_path: Path
) -> None:
    """A server may talk of anything at any time; the one message is carried all the same."""
    noise = b"* 9 EXISTS\r\n* 3 EXPUNGE\r\n* 1 FETCH (FLAGS (\\Seen))\r\n* XYZZY {3}\r\nabc\r\n* OK [ALERT] Boo\r\n"
    with CannedServer({key: noise + reply for key, reply in HONEST.items()}) as server:
        summary = carry(server, source_server, target_server, tmp_path)
    assert (summary.accounts[0].state, summary.accounts[0].copied) == ("done", 1)


@pytest.mark.parametrize("depth", [300, 10_000])
def test_a_folder_of_many_levels_is_made_flatter(
    depth: int, source_server: Dovecot, target_server: Dovecot, tmp_path: Path
) -> None:
    """A folder deeper than any server has them is made less deep; its message arrives, and so does the inbox's."""
    deep = b"/".join(b"d" for _ in range(depth))
    listed = b'* LIST () "/" INBOX\r\n* LIST () "/" ' + deep + b"\r\n"
    with CannedServer(HONEST | {b'LIST "" "*"': listed}) as server:
        summary = carry(server, source_server, target_server, tmp_path)
    assert (summary.accounts[0].state, summary.accounts[0].copied) == ("done", 2)


def test_a_mailbox_of_too_many_folders_can_be_planned(
    target_server: Dovecot, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """So many folders (3,000; with ``--long`` 30,000) are taken in, and each has a place of its own."""
    many = 30_000 if pytestconfig.getoption("--long") else 3_000
    listed = b"".join(b'* LIST () "/" "f%d/g%d"\r\n' % (number % 300, number) for number in range(many))
    user = target_server.new_user("many")
    with CannedServer(HONEST | {b'LIST "" "*"': b'* LIST () "/" INBOX\r\n' + listed}) as server:
        carrier = Carrier(tmp_path, (from_canned(server, target_server, user),))
        with carrier.migration() as migration:
            (plan,) = migration.plan()
    assert len({folder.target for folder in plan.folders}) > many


def test_evil_names_and_words_reach_no_reader_unescaped(target_server: Dovecot, tmp_path: Path) -> None:
    """Folder names and answers made to act upon a terminal, a spreadsheet or a browser act upon none."""
    name = EVIL.encode("utf-8").replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    replies = {
        **HONEST,
        b'LIST "" "*"': b'* LIST () "/" INBOX\r\n* LIST () "/" {%d}\r\n%s\r\n* LIST () "/" "=1+1"\r\n'
        % (len(name), name),
        b"EXAMINE {": b"{tag} NO \x1b[31mred " + name + b"\r\n",
        b'EXAMINE "a': b"{tag} NO \x1b[31mred " + name + b"\r\n",
        b'EXAMINE "=': b"{tag} NO =cmd()\x1b[31m\r\n",
        b"EXAMINE =": b"{tag} NO =cmd()\x1b[31m\r\n",
    }
    with CannedServer(replies, capabilities=b"IMAP4rev1 LITERAL+") as server:
        words = [
            str(Path(sys.executable).with_name("alimail")), "copy", "--plain",
            "--ledger", str(tmp_path / "copy.ledger"), "--log", str(tmp_path / "log.jsonl"),
            "--source-secret", "env:OLD", "--target-secret", "env:NEW",
            f"imap://evil@127.0.0.1:{server.options.port}?tls=none",
            f"imap://{target_server.new_user('evil').replace('@', '%40')}"
            f"@127.0.0.1:{target_server.imap_port}?tls=none",
        ]  # fmt: skip
        env = os.environ | {"OLD": "secret", "NEW": target_server.password}
        done = subprocess.run(words, env=env, capture_output=True, timeout=600, check=False)
        carrier = Carrier(tmp_path, (from_canned(server, target_server, target_server.new_user("evil")),))
        carrier.run()
        carrier.proof()
        with carrier.migration() as migration:
            files = migration.report()
    assert done.returncode == 3, done
    assert any(isinstance(event, ProblemFound) for event in carrier.events)
    read = {path.name: path.read_bytes() for path in files}
    for text in (done.stdout, done.stderr, (tmp_path / "log.jsonl").read_bytes(), *read.values()):
        assert not any(octet in text for octet in (b"\x1b", b"\x07", "\u202e".encode()))
    page = next(text for each, text in read.items() if each.endswith(".html"))
    assert b"<script>alert" not in page
    cells = [line for each, text in read.items() if each.endswith(".csv") for line in text.splitlines()]
    assert not any(cell.strip(b'"').startswith(b"=") for line in cells for cell in line.split(b","))
