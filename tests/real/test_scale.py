"""Large folders by the real command: memory stays bounded, and what is there already costs nothing again."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from attrs import frozen

from alimail_core.model import INBOX
from alimail_core.testing.alibaba import AlibabaServer
from alimail_core.testing.mail import attachment, message, multipart
from alimail_core.testing.servers import Dovecot
from tests.real.bench import WAIT_SECONDS
from tests.real.mailboxes import Server
from tests.real.peers import Courier

MEMORY = 300
"""MiB that a copy may take at its peak, whatever the folder's size."""

WATCHED = """
import re, sys
from alimail_core.cli import main
code = main(sys.argv[2:])
with open("/proc/self/status") as status, open(sys.argv[1], "w") as peak:
    peak.write(re.search(r"VmHWM:\\s+(\\d+) kB", status.read())[1])
sys.exit(code)
"""
"""The command ``alimail``, which at its end writes down the most memory that it had, in KiB."""

_BEGUN = re.compile(r"imap-login: Info: Login: user=<(?P<user>[^>]*)>.* mpid=(?P<pid>\d+)")
_ENDED = re.compile(r"imap\([^)]*\)<(?P<pid>\d+)>: Info: Disconnected: .*\bout=(?P<octets>\d+)")


@frozen
class Done:
    """How one run ended. ``memory``: its peak in MiB."""

    code: int
    output: str
    memory: int


@frozen
class Copy:
    """``alimail copy`` between two mailboxes, with a ledger of its own."""

    folder: Path
    source: Server
    user: str
    target: Server
    target_user: str

    def run(self) -> Done:
        """Run the command in a process of its own."""
        peak = self.folder / "peak"
        target = "alimail" if isinstance(self.target, AlibabaServer) else "imap"
        words = [
            "copy", "--plain", "--ledger", str(self.folder / "copy.ledger"),
            "--source-secret", "env:OLD", "--target-secret", "env:NEW",
            _url("imap", self.source, self.user), _url(target, self.target, self.target_user),
        ]  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", WATCHED, str(peak), *words],
            env=os.environ | {"OLD": self.source.password, "NEW": self.target.password},
            capture_output=True, text=True, timeout=800, check=False,
        )  # fmt: skip
        return Done(done.returncode, done.stdout + done.stderr, int(peak.read_text()) // 1024)


def _url(kind: str, server: Server, user: str) -> str:
    if kind == "alimail":
        return f"alimail://{user}?host={server.host}&port={server.imap_port}&tls=none"
    lone = "&max_connections=1" if isinstance(server, Courier) else ""
    return f"{kind}://{quote(user, safe='')}@{server.host}:{server.imap_port}?tls=none{lone}"


def told(server: Dovecot, user: str, since: int) -> int:
    """Wait until the sessions that a user began since a place in the log have ended; return the octets told there."""
    end = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        log = server.log.read_bytes()[since:].decode("utf-8", "replace")
        begun = {each["pid"] for each in _BEGUN.finditer(log) if each["user"] == user}
        ended = {each["pid"]: int(each["octets"]) for each in _ENDED.finditer(log)}
        if begun and begun <= ended.keys():
            return sum(ended[pid] for pid in begun)
        time.sleep(0.01)
    raise TimeoutError(server.log_tail())


@pytest.fixture
def large(pytestconfig: pytest.Config) -> int:
    """Return how many messages a large folder has; with ``--long`` it is really large."""
    return 50_000 if pytestconfig.getoption("--long") else 5_000


@pytest.mark.server
@pytest.mark.parametrize("kind", ["dovecot", "alibaba"])
def test_a_large_folder_in_little_memory(
    kind: str,
    large: int,
    source_server: Dovecot,
    target_server: Dovecot,
    alibaba_server: AlibabaServer,
    tmp_path: Path,
) -> None:
    """All of it arrives in bounded memory; a second run copies nothing and asks for no message."""
    target = target_server if kind == "dovecot" else alibaba_server
    # The profile's proxy is a good deal slower than what it stands before.
    large = large if kind == "dovecot" else large // 5
    user, target_user = source_server.new_user("large"), target.new_user("large")
    began = datetime(2015, 1, 1, tzinfo=UTC)
    for number in range(large):
        octets = message(f"Number {number}", "A line.\r\n" * 20, message_id=f"{number}@example.org")
        source_server.deliver(user, INBOX, octets, date=began + timedelta(minutes=number))
    copy = Copy(tmp_path, source_server, user, target, target_user)
    done = copy.run()
    assert done.code == 0, done.output
    assert done.memory < MEMORY
    sent = source_server.snapshot(user)[INBOX]
    assert target.snapshot(target_user)[INBOX] == sent
    assert sent.total() == large
    dovecot = target if isinstance(target, Dovecot) else target.dovecot
    since = [each.log.stat().st_size for each in (source_server, dovecot)]
    again = copy.run()
    assert again.code == 0, again.output
    assert again.memory < MEMORY
    # A listing has sixty octets or more for each message; to log in and open a folder takes a few hundred.
    assert told(source_server, user, since[0]) < 10 * large
    assert told(dovecot, target_user, since[1]) < 10 * large
    assert target.snapshot(target_user)[INBOX] == sent


@pytest.mark.server
def test_large_messages_in_little_memory(
    source_server: Dovecot, target_server: Dovecot, tmp_path: Path
) -> None:
    """Many messages of some megabytes wait for one another instead of filling the memory."""
    user, target_user = source_server.new_user("heavy"), target_server.new_user("heavy")
    for number in range(40):
        heavy = multipart([attachment(os.urandom(4_000_000))], message_id=f"{number}@example.org")
        source_server.deliver(user, INBOX, heavy, date=datetime(2020, 1, 1, tzinfo=UTC))
    done = Copy(tmp_path, source_server, user, target_server, target_user).run()
    assert done.code == 0, done.output
    assert done.memory < MEMORY
    assert target_server.snapshot(target_user)[INBOX] == source_server.snapshot(user)[INBOX]
