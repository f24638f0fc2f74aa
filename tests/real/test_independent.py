"""Two real mailboxes held against each other: whoever filled the target, and whatever has become of it since."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from alimail_core.cli import main
from alimail_core.model import INBOX
from alimail_core.registry import Registry
from alimail_core.testing.servers import Dovecot
from tests.real.bench import FOLDERS, Bench, Place, fill

pytestmark = pytest.mark.server

MBSYNC = """\
IMAPStore source
Host {source.server.host}
Port {source.port}
User {source.user}
Pass {source.server.password}
AuthMechs LOGIN
SSLType None

IMAPStore target
Host {target.server.host}
Port {target.port}
User {target.user}
Pass {target.server.password}
AuthMechs LOGIN
SSLType None

Channel all
Far :source:
Near :target:
Patterns *
Sync Pull
Create Near
CopyArrivalDate yes
SyncState {state}/
"""


def compare(
    source: Place, target: Place, *words: str, capsys: pytest.CaptureFixture[str], code: int
) -> list[dict[str, Any]]:
    """Run ``alimail verify --independent`` on the two; return what it tells of each folder of the target."""
    before = source.snapshot(), target.snapshot()
    urls = [
        f"imap://{quote(each.user, safe='')}@{each.server.host}:{each.port}?tls=none"
        for each in (source, target)
    ]
    secrets = ["--source-secret", "env:OLD", "--target-secret", "env:NEW"]
    found = main(["verify", "--independent", "--json", *words, *secrets, *urls], Registry.load(["imap"]))
    out = capsys.readouterr().out
    assert found == code, out
    assert (source.snapshot(), target.snapshot()) == before, "both sides are read-only"
    [account] = json.loads(out)["accounts"]
    folders: list[dict[str, Any]] = account["folders"]
    return folders


def total(folders: list[dict[str, Any]], name: str) -> int:
    """Sum a count up."""
    return sum(folder[name] for folder in folders)


@pytest.fixture
def places(
    source_server: Dovecot, target_server: Dovecot, monkeypatch: pytest.MonkeyPatch
) -> tuple[Place, Place]:
    """Return two mailboxes that nobody has used yet."""
    monkeypatch.setenv("OLD", source_server.password)
    monkeypatch.setenv("NEW", target_server.password)
    return Place.at(source_server, "old"), Place.at(target_server, "new")


def test_a_target_that_mbsync_has_filled_is_all_there(
    places: tuple[Place, Place], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By octets mbsync's own header line is seen, and nothing else; so it is where no Message-ID tells who is who."""
    source, target = places
    fill(source, 11, 150, odd=False)
    (tmp_path / "mbsyncrc").write_text(MBSYNC.format(source=source, target=target, state=tmp_path))
    done = subprocess.run(
        ["mbsync", "-q", "-c", tmp_path / "mbsyncrc", "all"], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    quick = compare(source, target, capsys=capsys, code=0)
    assert total(quick, "same") + total(quick, "altered") == total(quick, "messages") == 150
    assert total(quick, "same") > 100
    assert [total(quick, name) for name in ("extra", "flags", "dates")] == [0, 0, 0]
    full = compare(source, target, "--full", capsys=capsys, code=0)
    assert (total(full, "altered"), total(full, "same")) == (150, 0)

    with target.dovecot.direct(target.user) as imap:
        imap.select("INBOX")
        imap.store("1:2", "+FLAGS", "(\\Deleted)")
        imap.expunge()
        imap.store("1", "+FLAGS", "(Mine)")
    target.deliver(INBOX, b"From: me@new.example\r\nMessage-ID: <mine@new.example>\r\n\r\nHello\r\n")
    for words in ((), ("--full",)):
        folders = compare(source, target, *words, capsys=capsys, code=3)
        assert (total(folders, "missing"), total(folders, "extra"), total(folders, "flags")) == (2, 1, 1)
        named = [
            each["message_id"]
            for folder in folders
            for each in folder["mismatches"]
            if each["kind"] == "extra"
        ]
        assert named == ["<mine@new.example>"]


def test_what_alimail_has_carried_is_the_same_to_the_last_octet(
    places: tuple[Place, Place], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With twins, mail without Message-ID and odd mail; and then one filed elsewhere, one with a new text."""
    source, target = places
    fill(source, 12, 100)
    bench = Bench(source, target, tmp_path / "ledger")
    assert bench.run().problems == 0
    messages = source.on_disk()
    for words in ((), ("--full",)):
        folders = compare(source, target, *words, capsys=capsys, code=0)
        assert total(folders, "same") + total(folders, "altered") == messages
        assert [total(folders, name) for name in ("moved", "extra", "flags", "dates")] == [0, 0, 0, 0]

    with target.dovecot.direct(target.user) as imap:
        imap.create("Filed")
        imap.select("INBOX")
        imap.uid("MOVE", "1", "Filed")
    altered = min(
        path
        for path in target.dovecot.maildir(target.user, FOLDERS[1]).glob("cur/*")
        if path.stat().st_size < 2000
    )
    octets = altered.read_bytes()
    # Of the same size: Dovecot ends the session of whoever reads a file that its name tells another size of.
    kept, ends = octets.rstrip(b"\r\n"), octets[len(octets.rstrip(b"\r\n")) :]
    altered.write_bytes(kept[:-1] + (b"?" if kept.endswith(b"!") else b"!") + ends)
    target.dovecot.doveadm("force-resync", "-u", target.user, "*")
    folders = compare(source, target, "--full", capsys=capsys, code=3)
    assert (total(folders, "moved"), total(folders, "changed") + total(folders, "missing")) == (1, 1)
