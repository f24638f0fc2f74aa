"""The servers that tests stand on are what they say."""

from __future__ import annotations

import imaplib
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from hashlib import sha256
from typing import NoReturn

import pytest

from alimail_core.testing.fixtures import StartDovecot
from alimail_core.testing.oracle import Kept, decode_modified_utf7, digests
from alimail_core.testing.servers import Dovecot

WHEN = datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC)
LETTER = b"Subject: hello\r\n\r\nWorld\r\n"


def digest(octets: bytes) -> str:
    return sha256(octets).hexdigest()


def listens(port: int) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def test_modified_utf7_is_read() -> None:
    """Names on the wire become Unicode, and what is no modified UTF-7 becomes nothing."""
    assert decode_modified_utf7(b"&XfJT0ZAB- &- x") == "已发送 & x"
    assert decode_modified_utf7(b"&AAA") == "&AAA"
    assert decode_modified_utf7(b"&2AA-") is None


@pytest.mark.server
def test_delivered_and_appended_messages_are_in_the_snapshot(source_server: Dovecot) -> None:
    """A snapshot holds each message's octets, flags and date, wherever and however it was put in."""
    user = source_server.new_user()
    source_server.deliver(user, ("INBOX",), LETTER, flags={"\\Seen", "\\Flagged"}, date=WHEN)
    source_server.create(user, ("Büro", "a.b"))
    source_server.append(user, ("Büro", "a.b"), b"bare\nline\r\n", flags={"$Work"}, date=WHEN)
    snapshot = source_server.snapshot(user)
    assert snapshot[("INBOX",)] == Counter([Kept(digest(LETTER), frozenset({"\\Seen", "\\Flagged"}), WHEN)])
    (kept,) = snapshot[("Büro", "a.b")]
    assert (kept.flags, kept.internal_date) == (frozenset({"$Work"}), WHEN)


@pytest.mark.server
def test_twins_count_twice(source_server: Dovecot) -> None:
    """A snapshot is a multiset."""
    user = source_server.new_user()
    for _ in range(3):
        source_server.deliver(user, ("INBOX",), LETTER, date=WHEN)
    assert digests(source_server.snapshot(user)) == {("INBOX",): Counter({digest(LETTER): 3})}


@pytest.mark.server
def test_it_speaks_tls_with_a_certificate_that_its_authority_vouches_for(source_server: Dovecot) -> None:
    """A client that trusts the authority's file, and checks the name, logs in over implicit TLS."""
    context = ssl.create_default_context(cafile=source_server.ca_file)
    with imaplib.IMAP4_SSL("localhost", source_server.imaps_port, ssl_context=context) as imap:
        assert imap.login("amy@example.org", source_server.password)[0] == "OK"


@pytest.mark.server
def test_a_wrong_password_is_refused(source_server: Dovecot) -> None:
    """Any user logs in, but with the server's password alone."""
    imap = imaplib.IMAP4(source_server.host, source_server.imap_port)
    with pytest.raises(imaplib.IMAP4.error, match="AUTHENTICATIONFAILED"):
        imap.login("amy@example.org", "wrong")
    imap.shutdown()


@pytest.mark.server
def test_the_master_user_acts_for_anybody(source_server: Dovecot) -> None:
    """SASL PLAIN with an authorisation identity opens another's mailbox."""
    user = source_server.new_user()
    source_server.deliver(user, ("INBOX",), LETTER)
    login = f"{user}\0{source_server.master_user}\0{source_server.master_password}"
    with imaplib.IMAP4(source_server.host, source_server.imap_port) as imap:
        imap.authenticate("PLAIN", lambda _: login.encode())
        assert imap.select("INBOX")[1] == [b"1"]


@pytest.mark.server
def test_a_quota_refuses_what_is_too_much_until_it_is_raised(dovecot: StartDovecot) -> None:
    """The limit holds from the start, and another one for whoever logs in after it was set."""
    server = dovecot(quota_octets=20_000)
    user = server.new_user()
    with pytest.raises(imaplib.IMAP4.error, match="OVERQUOTA"):
        server.append(user, ("INBOX",), b"x" * 40_000)
    server.set_quota(user, 100_000)
    server.append(user, ("INBOX",), b"x" * 40_000)
    server.set_quota(user, 50_000)
    with pytest.raises(imaplib.IMAP4.error, match="OVERQUOTA"):
        server.append(user, ("INBOX",), b"x" * 40_000)


@pytest.mark.server
def test_it_is_shaped_as_wished(dovecot: StartDovecot) -> None:
    """Capability list, delimiter, prefix, special folders and POP3 are the caller's choice."""
    server = dovecot(
        capability="IMAP4rev1 UIDPLUS",
        delimiter=".",
        prefix="INBOX.",
        special_use={"INBOX.Post": "\\Sent"},
        pop3=True,
    )
    user = server.new_user()
    server.deliver(user, ("Büro", "x"), LETTER, date=WHEN)
    with imaplib.IMAP4(server.host, server.imap_port) as imap:
        imap.login(user, server.password)
        assert imap.capability()[1][-1:] == [b"IMAP4rev1 UIDPLUS"]
        listed = imap.list()[1]
    assert b'(\\HasNoChildren) "." INBOX.B&APw-ro.x' in listed
    assert ("Büro", "x") in server.snapshot(user)
    assert server.pop3_port


def _hear_the_end(session: imaplib.IMAP4) -> NoReturn:
    """Ask until the server ends the session: its process takes its time to hear that it is to end."""
    while True:
        session.noop()


@pytest.mark.server
def test_connections_are_limited_and_killed(dovecot: StartDovecot) -> None:
    """One connection beyond the limit is refused; killed ones hear BYE; a direct session does not count."""
    server = dovecot(max_connections=1)
    user = server.new_user()
    first, second = (imaplib.IMAP4(server.host, server.imap_port) for _ in range(2))
    first.login(user, server.password)
    with pytest.raises(imaplib.IMAP4.error, match="Maximum number of connections"):
        second.login(user, server.password)
    assert ("INBOX",) in server.snapshot(user)
    server.kill_connections(user)
    with pytest.raises(imaplib.IMAP4.abort):
        _hear_the_end(first)
    first.shutdown()
    second.shutdown()
    server.kill_connections("nobody@example.org")


@pytest.mark.server
def test_nothing_is_left_after_the_end() -> None:
    """A stopped server's port is closed, and its temporary folder is gone."""
    with Dovecot() as server:
        base, port = server.base, server.imap_port
        assert base.is_dir()
    assert not base.exists()
    with pytest.raises(ConnectionRefusedError):
        imaplib.IMAP4(server.host, port)


@pytest.mark.server
def test_a_server_ends_with_whoever_started_it_and_was_killed() -> None:
    """No server is left behind by a process that had no time to stop it."""
    code = """if True:
        from alimail_core.testing.servers import Dovecot
        print(Dovecot().start().imap_port, flush=True)
        input()
    """
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout is not None
        port = int(owner.stdout.readline())
        assert listens(port)
        owner.send_signal(signal.SIGKILL)
    end = time.monotonic() + 20
    while listens(port) and time.monotonic() < end:
        time.sleep(0.01)
    assert not listens(port)
