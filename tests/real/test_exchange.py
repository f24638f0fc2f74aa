"""Exchange into a real Dovecot, by the real command."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from hashlib import sha256
from pathlib import Path

import pytest

from alimail_core import INBOX, FolderPath
from alimail_core.testing.mail import message
from alimail_core.testing.oracle import digests
from alimail_core.testing.servers import Dovecot
from tests.exchange import ExchangeServer, Habits, Mailbox
from tests.exchange.fixtures import StartExchange

pytestmark = pytest.mark.server

CONFIGURATION = """
[migration]
name = "move"
ledger = "ledger.db"
roster = "roster.csv"

[source]
kind = "ews"
host = "localhost"
port = {exchange.port}
ca = "{exchange.ca_file}"
master_user = 'OLD\\superman'
secret = "env:OLD"

[target]
kind = "imap"
host = "{dovecot.host}"
port = {dovecot.imaps_port}
ca = "{dovecot.ca_file}"
secret = "env:NEW"
"""


@pytest.fixture
def server(exchange: StartExchange) -> ExchangeServer:
    """A server with two mailboxes; the service account may impersonate one of them."""
    made = exchange(habits=Habits(renders_anew=False))
    for name in ("amy", "bob"):
        box = made.organisation.add_mailbox(name, password="own", language="zh")
        for number in range(40):
            folder = ("inbox", "sentitems", ("Projects", "文件"))[number % 3]
            octets = message(f"{name} {number}", message_id=f"{name}.{number}@x")
            box.deliver(folder, octets, flags=["\\Seen"] if number % 2 else [])
    made.organisation.add_account("superman", "steel", impersonates=["amy@old.example"])
    return made


def run(folder: Path, dovecot: Dovecot, *words: str) -> subprocess.CompletedProcess[str]:
    """Run ``alimail`` with both passwords at hand."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("alimail")), *words],
        env={"OLD": "steel", "NEW": dovecot.password, "HOME": str(folder), "PATH": "/usr/bin:/bin"},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=800,
        check=False,
    )


def sent(mailbox: Mailbox) -> dict[FolderPath, Counter[str]]:
    """Return the digests of what a mailbox of Exchange holds, where it stands in the target."""
    return {
        INBOX if folder.distinguished == "inbox" else folder.path: Counter(
            sha256(item.mime).hexdigest() for item in folder.items.values()
        )
        for folder in mailbox.folders.values()
        if folder.items
    }


def held(dovecot: Dovecot, user: str) -> dict[FolderPath, Counter[str]]:
    """Return the digests of what a mailbox of Dovecot holds."""
    return {path: found for path, found in digests(dovecot.snapshot(user)).items() if found}


def test_a_copy_runs_twice_and_copies_once(
    server: ExchangeServer, target_server: Dovecot, tmp_path: Path
) -> None:
    """By the URL of a service account; the mailbox, and not that account, is whose mail it is."""
    user = target_server.new_user("taker")
    place = f"{target_server.host}:{target_server.imaps_port}?ca={target_server.ca_file}"
    target = f"imap://{user.replace('@', '%40')}@{place}"
    source = f"ews://superman@localhost:{server.port}?mailbox=amy%40old.example&ca={server.ca_file}"
    words = ("--source-secret", "env:OLD", "--target-secret", "env:NEW", "--verify", source, target)
    for _ in range(2):
        done = run(tmp_path, target_server, "copy", *words)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "amy@old.example" in done.stdout
        assert held(target_server, user) == sent(server.organisation.mailboxes["amy@old.example"])


def test_one_mailbox_without_rights_stops_and_the_others_go_on(
    server: ExchangeServer, target_server: Dovecot, tmp_path: Path
) -> None:
    """Check and migrate name it with the remedy; amy's mail arrives."""
    amy, bob = target_server.new_user("amy"), target_server.new_user("bob")
    (tmp_path / "alimail.toml").write_text(
        CONFIGURATION.format(exchange=server, dovecot=target_server), "utf-8"
    )
    rows = f"source,target\namy@old.example,{amy}\nbob@old.example,{bob}\n"
    (tmp_path / "roster.csv").write_text(rows, "utf-8")
    checked = run(tmp_path, target_server, "check", "--json")
    assert checked.returncode != 0
    assert "ErrorImpersonateUserDenied" in checked.stdout
    assert "ApplicationImpersonation" in checked.stdout
    moved = run(tmp_path, target_server, "migrate", "--yes")
    assert moved.returncode == 1, moved.stdout + moved.stderr
    assert "ErrorImpersonateUserDenied" in moved.stdout + moved.stderr
    assert held(target_server, amy) == sent(server.organisation.mailboxes["amy@old.example"])
    assert held(target_server, bob) == {}
