"""POP3 from a server of another make than Dovecot's, by the real command."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from hashlib import sha256
from pathlib import Path

import pytest
from attrs import evolve

from alimail_core import INBOX, Clock, Credentials
from alimail_core.testing.mail import message
from alimail_core.testing.oracle import digests
from alimail_core.testing.servers import Dovecot
from alimail_imap.login import probe as probe_imap
from alimail_imap.options import ImapOptions
from alimail_pop3.login import probe as probe_pop3
from alimail_pop3.options import Pop3Options
from alimail_pop3.source import Pop3Source
from tests.real.peers import CourierPop, Cyrus

pytestmark = pytest.mark.server

MESSAGES = 400


def fill(maildir: Path) -> list[bytes]:
    """Put messages into a Maildir, with LF at their line ends as Maildirs have them; return what travels."""
    letters = []
    for number in range(MESSAGES):
        body = f".dot\r\n..two\r\nText {number}.\r\n" if number % 3 else "line\r\n" * number
        letters.append(message(f"No. {number}", body, message_id=f"{number}@example.org"))
        file = maildir / "cur" / f"{1_700_000_000 + number}.M1P1.host:2,{'S' * (number % 2)}"
        file.write_bytes(letters[-1].replace(b"\r\n", b"\n"))
    return letters


def test_a_maildrop_of_courier_arrives_once(target_server: Dovecot, tmp_path: Path) -> None:
    """Four hundred messages from Courier, twice: each is there once, and none is marked."""
    with CourierPop() as courier:
        user, taker = courier.new_user("anna"), target_server.new_user("courier")
        letters = fill(courier.maildir(user))
        files = sorted(os.listdir(courier.maildir(user) / "cur"))
        source = f"pop3://{user}@{courier.host}:{courier.pop3_port}?tls=none"
        target = f"imap://{taker.replace('@', '%40')}@{target_server.host}:{target_server.imaps_port}"
        for _ in range(2):
            copy(tmp_path, source, f"{target}?ca={target_server.ca_file}", target_server.password)
            got = digests(target_server.snapshot(taker))[INBOX]
            assert got == Counter(sha256(octets).hexdigest() for octets in letters)
        assert sorted(os.listdir(courier.maildir(user) / "cur")) == files


def copy(tmp_path: Path, source: str, target: str, password: str) -> None:
    """Run ``alimail copy``."""
    words = ("--source-secret", "env:OLD", "--target-secret", "env:NEW", "--verify", "--ledger", "ledger.db")
    done = subprocess.run(
        [str(Path(sys.executable).with_name("alimail")), "copy", *words, source, target],
        env={"OLD": "any will do", "NEW": password, "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_what_courier_and_cyrus_have_is_found() -> None:
    """Servers of other makes take an offer of TLS for noise, and go on; without any TLS, loopback may be clear."""
    with CourierPop() as courier, Cyrus() as cyrus:
        pop3 = Pop3Options(courier.host, courier.pop3_port, timeout=20.0)
        assert probe_pop3(pop3) == evolve(pop3, tls="none")
        imap = ImapOptions(cyrus.host, cyrus.imap_port, timeout=20.0)
        assert probe_imap(imap) == evolve(imap, tls="none")


def test_check_tells_what_courier_is_like() -> None:
    """It has UIDL, TOP and PIPELINING, and lists the octets that it sends."""
    with CourierPop() as courier:
        user = courier.new_user("bob")
        fill(courier.maildir(user))
        options = Pop3Options(courier.host, courier.pop3_port, tls="none", timeout=20.0)
        with Pop3Source(options, Credentials(user, lambda: courier.password), Clock()) as source:
            told = "\n".join(remark.text for remark in source.remarks())
    assert "UIDL" in told
    assert "not exact" not in told
    assert "no PIPELINING" not in told
