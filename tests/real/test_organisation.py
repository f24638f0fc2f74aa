"""What happens to an organisation's accounts between real servers: one disappears, two share a target."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from alimail_core import INBOX, Event, Migration, Registry, loads
from alimail_core.events import BatchSettled, Observer
from alimail_core.testing.fixtures import StartDovecot
from alimail_core.testing.mail import message
from alimail_core.testing.oracle import digests
from alimail_core.testing.servers import Dovecot

pytestmark = pytest.mark.server

LONG = "A line of mail.\r\n" * 60_000
SLOW = 'pace = [{octets_per_second = "4MB"}]'
"""So much and so slow that it does not fit into the buffers between us and a server whose account is closed."""


def migration(
    folder: Path,
    ends: tuple[Dovecot, Dovecot],
    pairs: list[tuple[str, str]],
    *observers: Observer,
    kind: str = "imap",
    pace: str = "",
    rest: str = "",
) -> Migration:
    """Open a migration of these accounts, in batches of two."""
    old, new = ends
    text = f"""
[migration]
name = "organisation"
roster = "accounts.csv"
{pace}
[source]
kind = "{kind}"
host = "{old.host}"
port = {old.imaps_port if kind == "imap" else old.pop3s_port}
ca = "{old.ca_file}"
secret = "env:OLD"
[target]
kind = "imap"
host = "{new.host}"
port = {new.imaps_port}
ca = "{new.ca_file}"
secret = "env:NEW"
[transfer]
batch_messages = 2
read_ahead_octets = 0
settle_seconds = 0.2
{rest}
"""
    rows = "".join(f"{source},{target}\n" for source, target in pairs)
    (folder / "accounts.csv").write_text(f"source,target\n{rows}")
    registry = Registry.load(["imap", "pop3"])
    return Migration(loads(text, registry, path=folder / "alimail.toml"), registry, observers=observers)


@pytest.fixture
def ends(dovecot: StartDovecot, monkeypatch: pytest.MonkeyPatch) -> tuple[Dovecot, Dovecot]:
    """Start the old and the new server."""
    old, new = dovecot(pop3=True), dovecot()
    monkeypatch.setenv("OLD", old.password)
    monkeypatch.setenv("NEW", new.password)
    return old, new


@pytest.mark.parametrize(("side", "kind"), [("source", "imap"), ("source", "pop3"), ("target", "imap")])
def test_a_mailbox_that_disappears_stops_its_account_alone(
    tmp_path: Path, ends: tuple[Dovecot, Dovecot], side: str, kind: str
) -> None:
    """In the middle of a run somebody deletes a mailbox: its account says so, others end, and it can come back."""
    old, new = ends
    names = ("anna", "bert", "cleo")
    pairs = [(f"{name}@old.example", f"{name}@new.example") for name in names]
    for (source, _), count in zip(pairs, (1, 24, 1), strict=True):
        for number in range(count):
            old.deliver(source, INBOX, message(str(number), LONG, message_id=f"{number}.{source}"))
    server, gone = (old, pairs[1][0]) if side == "source" else (new, pairs[1][1])
    closed: list[Event] = []

    def close(event: Event) -> None:
        if isinstance(event, BatchSettled) and event.account == pairs[1][0] and not closed:
            closed.append(event)
            server.close_account(gone)

    with migration(tmp_path, ends, pairs, close, kind=kind, pace=SLOW) as moving:
        anna, bert, cleo = moving.run().accounts
        assert (anna.state, cleo.state) == ("done", "done")
        assert bert.state == "pending", bert
        assert 0 < bert.copied < 24
        assert "exist" in bert.remedy, bert
    server.open_account(gone)
    with migration(tmp_path, ends, pairs, kind=kind) as moving:
        assert [each.state for each in moving.run().accounts] == ["done"] * 3
        assert [each.copied for each in moving.run().accounts] == [0] * 3
        assert all(proof.complete for proof in moving.verify(full=True))
    for source, target in pairs:
        assert digests(new.snapshot(target)) == digests(old.snapshot(source))


def test_two_sources_share_a_target_and_stay_apart(tmp_path: Path, ends: tuple[Dovecot, Dovecot]) -> None:
    """A letter that both got arrives twice; what is done with one copy, an undo even, leaves the other alone."""
    old, new = ends
    to_both = message("To both", message_id="both@example.org")
    sources, target = ("info@old.example", "sales@old.example"), "office@new.example"
    for source in sources:
        old.deliver(source, INBOX, to_both)
        old.deliver(source, ("Projects", "Crane"), message(f"Of {source}", message_id=f"1.{source}"))
    wish = '[folders]\nshared_targets = "apart"\nrules = [{source = "Projects", target = "Work"}]\n'
    there = {
        source: {
            (source, "INBOX"): digests(old.snapshot(source))[INBOX],
            (source, "Work", "Crane"): digests(old.snapshot(source))["Projects", "Crane"],
        }
        for source in sources
    }
    with migration(tmp_path, ends, [(source, target) for source in sources], rest=wish) as moving:
        for copied in (2, 0):
            done = moving.run().accounts
            assert [(each.state, each.copied) for each in done] == [("done", copied)] * 2, done
        assert _filled(new, target) == there[sources[0]] | there[sources[1]]
        for proof in moving.verify(full=True):
            assert proof.complete, proof
            assert [folder.extra for folder in proof.folders if folder.extra] == []
        assert moving.undo(moving.spec.accounts[0]).removed == 2
        assert _filled(new, target) == there[sources[1]]
        assert [proof.complete for proof in moving.verify(full=True)] == [False, True]
        moving.enable("info")
        assert [(each.state, each.copied) for each in moving.run().accounts] == [("done", 2), ("done", 0)]
        assert _filled(new, target) == there[sources[0]] | there[sources[1]]


def _filled(server: Dovecot, user: str) -> dict[tuple[str, ...], Counter[str]]:
    return {path: held for path, held in digests(server.snapshot(user)).items() if held}
