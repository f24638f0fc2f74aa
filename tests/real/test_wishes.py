"""What is left out by wish, between real servers: by IMAP, whose listing tells, and by POP3, whose does not."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path

import pytest

from alimail_core import INBOX, Migration, Registry, loads
from alimail_core.testing.fixtures import StartDovecot
from alimail_core.testing.mail import message
from alimail_core.testing.oracle import digests
from alimail_core.testing.servers import Dovecot

pytestmark = pytest.mark.server

YEARS = range(2018, 2024)


def config(old: Dovecot, new: Dovecot, kind: str, users: tuple[str, str], wish: str) -> str:
    """Write a configuration for one account."""
    port = {"imap": old.imaps_port, "pop3": old.pop3s_port}[kind]
    return f"""
[migration]
name = "wishes"
[source]
kind = "{kind}"
host = "{old.host}"
port = {port}
ca = "{old.ca_file}"
secret = "env:OLD"
[target]
kind = "imap"
host = "{new.host}"
port = {new.imaps_port}
ca = "{new.ca_file}"
secret = "env:NEW"
[[account]]
source_address = "{users[0]}"
target_address = "{users[1]}"
[messages]
{wish}
"""


@pytest.mark.parametrize("kind", ["imap", "pop3"])
def test_a_filter_is_kept_and_widened_between_real_servers(
    tmp_path: Path, dovecot: StartDovecot, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Years that are not wanted stay behind and are proven to be left out by wish; wanted later, they come, once."""
    old, new = dovecot(pop3=True), dovecot()
    users = old.new_user("old"), new.new_user("new")
    monkeypatch.setenv("OLD", old.password)
    monkeypatch.setenv("NEW", new.password)
    for year in YEARS:
        moment = datetime(year, 5, 5, 12, tzinfo=UTC)
        letter = message(str(year), date=format_datetime(moment), message_id=f"{year}@example.org")
        old.deliver(users[0], INBOX, letter, date=moment)
    held = []
    for wish in ("since = 2022-01-01", "since = 2020-01-01", "", "before = 2019-01-01"):
        text = config(old, new, kind, users, wish)
        spec = loads(text, Registry.load(["imap", "pop3"]), path=tmp_path / "alimail.toml")
        with Migration(spec, Registry.load(["imap", "pop3"])) as migration:
            for _ in range(2):
                [summary] = migration.run().accounts
                assert summary.state == "done", summary
            [proof] = migration.verify(full=True)
        assert proof.complete, proof
        [folder] = proof.folders
        held.append((folder.proven, folder.left_out))
        assert digests(new.snapshot(users[1]))[INBOX].total() == folder.proven
    assert held == [(2, 4), (4, 2), (6, 0), (6, 0)]
    assert digests(new.snapshot(users[1])) == digests(old.snapshot(users[0]))
