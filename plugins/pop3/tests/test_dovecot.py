"""From a real POP3 server to a real IMAP server, by the command that people run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Literal

import pytest
from attrs import evolve

from alimail_core import INBOX, Clock, Transient
from alimail_core.testing.asking import listing, messages
from alimail_core.testing.fixtures import StartDovecot
from alimail_core.testing.mail import message, odd_messages
from alimail_core.testing.oracle import digests
from alimail_core.testing.servers import Dovecot
from alimail_pop3.login import probe
from alimail_pop3.options import Pop3Options
from alimail_pop3.source import Pop3Source
from alimail_pop3.testing import credentials_for, options_for

pytestmark = pytest.mark.server

UNLIKE = {"NUL octets", "bare CR"}
"""Dovecot's IMAP gives NUL as another octet, and of a message without any LF another header than its octets have."""
LONG_AGO = datetime(2020, 2, 3, 4, 5, 6, tzinfo=UTC)
TODAY = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)


def url(kind: Literal["pop3", "imap"], server: Dovecot, user: str) -> str:
    """Write the URL of a mailbox."""
    port = server.pop3s_port if kind == "pop3" else server.imaps_port
    return f"{kind}://{user.replace('@', '%40')}@{server.host}:{port}?ca={server.ca_file}"


def copy(
    tmp_path: Path, source: str, target: str, servers: Sequence[Dovecot], *words: str, code: int = 0
) -> str:
    """Run ``alimail copy``, which must end with a code; return what it said."""
    given = (
        "--source-secret",
        "env:OLD",
        "--target-secret",
        "env:NEW",
        "--ledger",
        str(tmp_path / "ledger.db"),
    )
    done = subprocess.run(
        [str(Path(sys.executable).with_name("alimail")), "copy", *given, *words, source, target],
        env={
            "OLD": servers[0].password,
            "NEW": servers[1].password,
            "HOME": str(tmp_path),
            "PATH": "/usr/bin:/bin",
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def letter(number: int, when: datetime) -> bytes:
    """Write a message that was received at a time."""
    received = f"Received: from a by b; {when:%a, %d %b %Y %H:%M:%S} +0000\r\n".encode()
    return received + message(f"No. {number}", message_id=f"{number}@example.org")


def fill(server: Dovecot, user: str) -> list[bytes]:
    """Deliver messages, old and new, read and unread, odd ones among them; return their octets."""
    letters = [letter(number, LONG_AGO if number % 2 else TODAY) for number in range(20)]
    for number, octets in enumerate(letters):
        server.append(user, INBOX, octets, flags=["\\Flagged"] if number % 3 else [], date=LONG_AGO)
    odd = [octets for name, octets in odd_messages().items() if octets and name not in UNLIKE]
    for octets in odd:
        server.append(user, INBOX, octets)
    return letters


@pytest.mark.parametrize("tls", ["implicit", "starttls", "none"])
def test_every_way_in_shows_the_same(
    pop3_server: Dovecot, tls: Literal["implicit", "starttls", "none"]
) -> None:
    """Implicit TLS, STLS and none; and whatever was read, no flag changes and nothing is gone."""
    user = pop3_server.new_user("ways")
    letters = [letter(number, TODAY) for number in range(5)]
    for octets in letters:
        pop3_server.deliver(user, INBOX, octets)
    before = pop3_server.snapshot(user)
    port = pop3_server.pop3s_port if tls == "implicit" else pop3_server.pop3_port
    options = evolve(options_for(pop3_server), tls=tls, ca=pop3_server.ca_file, port=port)
    with Pop3Source(options, credentials_for(pop3_server, user), Clock()) as source:
        assert source.connection.offers("PIPELINING")
        got = [one.octets for one in messages(source, listing(source, INBOX)).values()]
        assert any("TLS" in remark.text for remark in source.remarks()) is (tls != "none")
    assert got == letters
    assert pop3_server.snapshot(user) == before


def test_the_best_encryption_is_found(pop3_server: Dovecot, monkeypatch: pytest.MonkeyPatch) -> None:
    """Implicit TLS where both are there, STLS where that is all, and neither port need be told."""
    options = Pop3Options(host=pop3_server.host, ca=pop3_server.ca_file)
    monkeypatch.setattr(Pop3Options, "cleartext_port", pop3_server.pop3_port)
    monkeypatch.setattr(Pop3Options, "implicit_port", pop3_server.pop3s_port)
    assert probe(options) == evolve(options, tls="implicit", port=pop3_server.pop3s_port)
    monkeypatch.setattr(Pop3Options, "implicit_port", pop3_server.pop3_port)
    assert probe(options) == evolve(options, tls="starttls", port=pop3_server.pop3_port)


def test_a_master_user_opens_every_maildrop(pop3_server: Dovecot) -> None:
    """SASL PLAIN with an authorisation identity."""
    user = pop3_server.new_user("mastered")
    pop3_server.append(user, INBOX, message("one"))
    options = evolve(options_for(pop3_server), master_user=pop3_server.master_user)
    credentials = evolve(credentials_for(pop3_server, user), password=lambda: pop3_server.master_password)
    with Pop3Source(options, credentials, Clock()) as source:
        assert len(listing(source, INBOX).entries) == 1


def test_a_locked_maildrop_passes(dovecot: StartDovecot) -> None:
    """While another session holds the maildrop the login is refused for now, with a remedy; then it works."""
    server = dovecot(pop3=True, settings="pop3_lock_session = yes")
    user = server.new_user()
    server.append(user, INBOX, message("one"))
    options, credentials = options_for(server), credentials_for(server, user)
    with Pop3Source(options, credentials, Clock()) as holder:
        assert holder.folders()
        with pytest.raises(Transient) as caught:
            Pop3Source(evolve(options, timeout=60.0), credentials, Clock())
        assert "mail program" in caught.value.remedy
    with Pop3Source(options, credentials, Clock()) as source:
        assert len(listing(source, INBOX).entries) == 1


def test_a_maildrop_is_copied_once(pop3_server: Dovecot, target_server: Dovecot, tmp_path: Path) -> None:
    """``alimail copy`` brings octets and dates, marks history as read, proves it; the second run writes nothing."""
    user, taker = pop3_server.new_user("copied"), target_server.new_user("taker")
    letters = fill(pop3_server, user)
    source, target = url("pop3", pop3_server, user), url("imap", target_server, taker)
    copy(tmp_path, source, target, [pop3_server, target_server], "--verify")
    first = target_server.snapshot(taker)
    wanted = pop3_server.snapshot(user)
    assert digests(first)[INBOX] == digests(wanted)[INBOX]
    by_digest = {one.digest: one for one in first[INBOX]}
    for number, octets in enumerate(letters):
        one = by_digest[sha256(octets).hexdigest()]
        assert ("\\Seen" in one.flags) is bool(number % 2)
        assert one.internal_date == (LONG_AGO if number % 2 else TODAY)
    told = copy(tmp_path, source, target, [pop3_server, target_server], "--verify")
    assert "all there, 0 copied" in told
    assert target_server.snapshot(taker) == first


@pytest.mark.parametrize("kinds", [("pop3", "imap"), ("imap", "pop3")])
def test_a_mailbox_is_copied_once_by_two_protocols(
    pop3_server: Dovecot,
    target_server: Dovecot,
    tmp_path: Path,
    kinds: tuple[Literal["pop3", "imap"], Literal["pop3", "imap"]],
) -> None:
    """What came by POP3 does not come again by IMAP, nor the other way round, also when a ledger was lost."""
    user, taker = pop3_server.new_user("both"), target_server.new_user("taker")
    fill(pop3_server, user)
    target = url("imap", target_server, taker)
    servers = [pop3_server, target_server]
    copy(tmp_path, url(kinds[0], pop3_server, user), target, servers)
    pop3_server.append(user, INBOX, letter(100, TODAY))
    copy(tmp_path, url(kinds[1], pop3_server, user), target, servers, "--verify")
    wanted = digests(pop3_server.snapshot(user))[INBOX]
    assert digests(target_server.snapshot(taker))[INBOX] == wanted
    (tmp_path / "ledger.db").unlink()
    copy(tmp_path, url(kinds[0], pop3_server, user), target, servers)
    assert digests(target_server.snapshot(taker))[INBOX] == wanted


@pytest.fixture
def how_many(pytestconfig: pytest.Config) -> int:
    """Return how many messages a full maildrop has."""
    return 20_000 if pytestconfig.getoption("--long") else 1_000


def test_a_full_maildrop(
    dovecot: StartDovecot, target_server: Dovecot, tmp_path: Path, how_many: int
) -> None:
    """A maildrop of very many messages, twice: each is there once."""
    server = dovecot(pop3=True)
    user, taker = server.new_user(), target_server.new_user("full")
    for number in range(how_many):
        server.deliver(user, INBOX, letter(number, LONG_AGO))
    source, target = url("pop3", server, user), url("imap", target_server, taker)
    copy(tmp_path, source, target, [server, target_server])
    wanted = digests(server.snapshot(user))[INBOX]
    assert digests(target_server.snapshot(taker))[INBOX] == wanted
    assert sum(wanted.values()) == how_many
    copy(tmp_path, source, target, [server, target_server], "--verify")
    assert digests(target_server.snapshot(taker))[INBOX] == wanted
