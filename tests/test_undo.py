"""The way back: what alimail wrote leaves the target again, and nothing else does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from unittest.mock import patch

import pytest
from attrs import evolve

from alimail_core.cli import main
from alimail_core.config.load import load
from alimail_core.errors import Denied, InDoubt, InputError, LeaseHeld, Refused
from alimail_core.folders.policy import FolderPolicy, FolderRule
from alimail_core.migration import Migration
from alimail_core.model import INBOX, Cursor, Folder, Unusable
from alimail_core.registry import Registry
from alimail_core.testing import FakeClock, MemoryMailbox, MemorySink, MemoryTraits, message
from alimail_core.testing.faults import Killed
from alimail_core.testing.servers import Dovecot
from alimail_core.undo import ADOPTED, ONLY_COPY, TOUCHED, Undone
from alimail_core.units import Octets
from tests.memory_plugin import PASSWORD, MemoryPlugin, config_of, registry_of

pytestmark = pytest.mark.slow

CONFIG = config_of("anna")
OLD, NEW = "anna@old.example", "anna@new.example"


@pytest.fixture
def plugin() -> MemoryPlugin:
    """Return two servers in memory: five letters in the inbox and two elsewhere on the old one."""
    plugin = MemoryPlugin()
    plugin.boxes[NEW] = MemoryMailbox(MemoryTraits(moves=True))
    for number in range(5):
        plugin.boxes[OLD].deliver(INBOX, message(f"Letter {number}"), ["\\Seen"])
    plugin.boxes[OLD].make(("Work",))
    for number in range(2):
        plugin.boxes[OLD].deliver(("Work",), message(f"Task {number}"))
    plugin.boxes[NEW].make(INBOX)
    return plugin


@pytest.fixture
def migration(plugin: MemoryPlugin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Migration]:
    """Return the migration of one account, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OLD", PASSWORD)
    monkeypatch.setenv("NEW", PASSWORD)
    Path("alimail.toml").write_text(CONFIG)
    registry = registry_of(plugin)
    with Migration(load(Path("alimail.toml"), registry), registry, clock=FakeClock()) as migration:
        yield migration


def undo(migration: Migration, folder: str = "", *, dry_run: bool = False) -> Undone:
    """Undo the one account."""
    return migration.undo(migration.spec.accounts[0], folder, dry_run=dry_run)


def there(plugin: MemoryPlugin) -> int:
    """Count what stands in the target."""
    return plugin.boxes[NEW].everything().total()


def test_a_whole_account_leaves_the_target_and_comes_again_by_wish(
    plugin: MemoryPlugin, migration: Migration
) -> None:
    """What was written is removed and waits; only an enabled account carries it again, each once."""
    assert migration.run().accounts[0].copied == 7
    before = plugin.boxes[NEW].everything()
    assert undo(migration).removed == 7
    assert there(plugin) == 0
    assert migration.run().accounts[0].state == "disabled"
    assert there(plugin) == 0
    assert migration.status()[0].pending_messages == 7
    migration.enable("")
    assert migration.run().accounts[0].copied == 7
    assert plugin.boxes[NEW].everything() == before
    assert migration.run().accounts[0].copied == 0


def test_an_undone_folder_goes_where_the_rules_say_by_then(
    plugin: MemoryPlugin, migration: Migration
) -> None:
    """One that still holds a copy keeps its place, and so does every other that was not undone."""
    migration.run()
    jobs = FolderPolicy(rules=(FolderRule(("Work",), ("Jobs",)), FolderRule(INBOX, ("Old",))))
    plugin.boxes[NEW].set_flags(INBOX, 1, {"\\Seen", "\\Flagged"})
    assert (undo(migration, "Work").removed, undo(migration, "INBOX").removed) == (2, 4)
    migration.enable("")
    migration.spec = evolve(migration.spec, policy=jobs)
    assert {each.source: each.target for each in next(iter(migration.plan())).folders} == {
        INBOX: INBOX,
        ("Work",): ("Jobs",),
    }
    assert migration.run().accounts[0].copied == 6
    held = {path: len(plugin.boxes[NEW].uids(path)) for path in (INBOX, ("Work",), ("Jobs",))}
    assert held == {INBOX: 5, ("Work",): 0, ("Jobs",): 2}
    assert migration.run().accounts[0].copied == 0


def test_a_dry_run_tells_the_same_and_changes_nothing(plugin: MemoryPlugin, migration: Migration) -> None:
    """A dry run counts what would go, folder by folder, and leaves target, ledger and account alone."""
    migration.run()
    before = plugin.boxes[NEW].snapshot()
    planned = undo(migration, dry_run=True)
    assert {each.path: each.removed for each in planned.folders} == {INBOX: 5, ("Work",): 2}
    assert plugin.boxes[NEW].snapshot() == before
    assert migration.status()[0].enabled
    assert [(each.path, each.removed) for each in undo(migration).folders] == [
        (each.path, each.removed) for each in planned.folders
    ]


def test_one_folder_is_undone_and_no_other(plugin: MemoryPlugin, migration: Migration) -> None:
    """Only the folder that was named loses copies; one that nobody knows is refused."""
    migration.run()
    assert undo(migration, "Work").removed == 2
    assert there(plugin) == 5
    with pytest.raises(InputError, match="no folder 'Wrok'"):
        undo(migration, "Wrok")


def test_what_is_not_ours_or_not_as_we_wrote_it_stays(plugin: MemoryPlugin, migration: Migration) -> None:
    """Foreign, adopted and touched mail stays, and so does what the source has no more: the last copy."""
    old, new = plugin.boxes[OLD], plugin.boxes[NEW]
    new.deliver(INBOX, message("Letter 0"), ["\\Seen"])
    new.deliver(INBOX, message("Foreign"))
    migration.run()
    flagged, read = new.uids(INBOX)[2], new.uids(("Work",))[0]
    new.set_flags(INBOX, flagged, ["\\Seen", "\\Flagged"])
    new.set_flags(("Work",), read, ["\\Seen"])
    new.delete(INBOX, new.uids(INBOX)[-1])
    old.delete(INBOX, old.uids(INBOX)[3])
    adopted = sum(each.kept.get(ADOPTED, 0) for each in undo(migration, dry_run=True).folders)
    done = undo(migration)
    kept = {reason: count for each in done.folders for reason, count in each.kept.items()}
    assert adopted == kept[ADOPTED] == 1
    assert (kept[TOUCHED], kept[ONLY_COPY], done.removed) == (1, 1, 2)
    assert there(plugin) == 5


def test_what_its_user_removed_does_not_come_again(plugin: MemoryPlugin, migration: Migration) -> None:
    """A message that its user deleted in the target before stays deleted after an undo and a new pass."""
    migration.run()
    new = plugin.boxes[NEW]
    new.delete(INBOX, new.uids(INBOX)[0])
    assert undo(migration).removed == 6
    migration.enable("")
    assert migration.run().accounts[0].copied == 6


@pytest.mark.parametrize("removed_first", [0, 2, 5])
@pytest.mark.parametrize("again", [True, False])
def test_an_undo_that_was_killed_goes_on(
    plugin: MemoryPlugin, migration: Migration, removed_first: int, again: bool
) -> None:
    """Killed before, in the middle of, or after a removal: a second undo ends it, and a pass copies nothing twice."""
    migration.run()
    before = plugin.boxes[NEW].everything()

    def remove(sink: MemorySink, folder: Folder, keys: Sequence[str]) -> Iterator[str]:
        yield from real(sink, folder, keys[:removed_first])
        raise Killed("killed")

    real: Callable[[MemorySink, Folder, Sequence[str]], Iterator[str]] = MemorySink.remove
    with patch.object(MemorySink, "remove", remove), pytest.raises(Killed):
        undo(migration)
    assert there(plugin) == 7 - removed_first
    if again:
        undo(migration)
        assert there(plugin) == 0
    migration.enable("")
    migration.run()
    assert plugin.boxes[NEW].everything() == before
    assert migration.run().accounts[0].copied == 0


def test_a_removal_without_an_answer_is_looked_for_where_the_folder_can_be_opened(
    plugin: MemoryPlugin, migration: Migration
) -> None:
    """What may have been removed counts as standing only once it was seen, so that nothing is forgotten."""
    migration.run()
    remove = MemorySink.remove

    def cut(self: MemorySink, folder: Folder, keys: Sequence[str]) -> Iterator[str]:
        yield from remove(self, folder, keys)
        raise InDoubt("the answer to a removal was lost")

    def busy(self: MemorySink, requests: Iterable[tuple[Folder, Cursor | None]]) -> Iterator[Unusable]:
        yield from (Unusable(folder.path, "NO [INUSE]") for folder, _ in requests)

    with patch.object(MemorySink, "remove", cut), pytest.raises(InDoubt):
        undo(migration)
    with patch.object(MemorySink, "changes", busy):
        undo(migration)
    migration.enable("")
    assert migration.run().accounts[0].state == "done"
    assert plugin.boxes[NEW].contents() == plugin.boxes[OLD].contents()


@pytest.mark.parametrize("removed", [0, 2])
@pytest.mark.parametrize("refused", [False, True])
def test_only_what_is_seen_to_be_gone_counts_as_removed(
    refused: bool, removed: int, plugin: MemoryPlugin, migration: Migration
) -> None:
    """A server that removes less than it was asked to, whatever it answers, costs nothing and doubles nothing."""
    plugin.boxes[NEW].traits = MemoryTraits(moves=True, delta=True)
    migration.run()
    remove = MemorySink.remove

    def less(self: MemorySink, folder: Folder, keys: Sequence[str]) -> Iterator[str]:
        yield from remove(self, folder, keys[:removed])
        if refused:
            raise Refused("NO no more of them")

    with patch.object(MemorySink, "remove", less):
        undo(migration)
    migration.enable("")
    assert migration.run().accounts[0].state == "done"
    assert plugin.boxes[NEW].contents() == plugin.boxes[OLD].contents()


def test_an_undo_that_is_refused_disables_nothing(plugin: MemoryPlugin, migration: Migration) -> None:
    """A wrong folder, or a pass under way, leaves the account as it was."""
    migration.run()
    with pytest.raises(InputError):
        undo(migration, "No such")
    held = patch("alimail_core.ledger.ledger.Ledger.lease", side_effect=LeaseHeld("a pass is under way"))
    with held, pytest.raises(LeaseHeld):
        undo(migration)
    assert migration.status()[0].enabled


def test_a_target_that_cannot_remove_single_messages_is_left_alone(
    plugin: MemoryPlugin, migration: Migration
) -> None:
    """Without a safe way to remove exactly our copies nothing is removed at all."""
    plugin.boxes[NEW] = MemoryMailbox(MemoryTraits(moves=False))
    plugin.boxes[NEW].make(INBOX)
    migration.run()
    with pytest.raises(Denied, match="safely"):
        undo(migration)
    assert there(plugin) == 7


def test_the_command_shows_asks_and_removes(
    plugin: MemoryPlugin, migration: Migration, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a terminal it removes only with --yes; --dry-run only tells; a name must be somebody's."""

    def run(*words: str) -> int:
        return main(["undo", *words], registry_of(plugin), FakeClock())

    migration.run()
    assert run("--account", OLD, "--dry-run") == 0
    assert "7 messages would be removed" in capsys.readouterr().out
    assert run("--account", OLD) == 2
    assert run("--account", "nobody@old.example") == 2
    assert there(plugin) == 7
    assert run("--account", NEW, "--yes") == 0
    assert "7 messages removed" in capsys.readouterr().out
    assert there(plugin) == 0


def test_places_that_hold_nothing_are_let_go_of_by_wish(
    plugin: MemoryPlugin,
    migration: Migration,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A first pass that could write nothing has placed the folders; the command asks, though nothing is removed."""
    limited = evolve(migration.spec.options, limit_octets=Octets(1))
    migration.spec = evolve(migration.spec, options=limited)
    assert migration.run().accounts[0].state == "failed"
    migration.spec = evolve(migration.spec, policy=FolderPolicy(rules=(FolderRule(("Work",), ("Jobs",)),)))
    [planned] = migration.plan()
    assert {each.source: each.target for each in planned.folders}[("Work",)] == ("Work",)
    assert "`alimail undo`" in planned.remarks[0].remedy
    asked: list[str] = []

    def confirm(text: str, **_: object) -> bool:
        asked.append(text)
        return True

    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("typer.confirm", confirm)
    assert main(["undo", "--account", OLD], registry_of(plugin), FakeClock()) == 0
    assert asked == ["There is nothing to remove. Let go of the places of its folders that are empty there?"]
    capsys.readouterr()
    migration.enable("")
    [planned] = migration.plan()
    assert {each.source: each.target for each in planned.folders}[("Work",)] == ("Jobs",)


@pytest.mark.server
def test_a_real_server_is_as_it_was_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a real server exactly our copies go: what stood there before is as it was, and all comes again by wish."""
    monkeypatch.chdir(tmp_path)
    with Dovecot() as old, Dovecot() as new:
        user, target = old.new_user(), new.new_user()
        for number in range(30):
            old.deliver(user, INBOX if number % 2 else ("Wörk", "2019"), message(f"Letter {number}"))
        new.deliver(target, INBOX, message("Foreign"))
        before = new.snapshot(target)
        imap_config(old, user, new, target)
        assert main(["migrate", "--yes", "--quiet"], Registry.load()) == 0
        after = new.snapshot(target)
        assert main(["undo", "--account", "a@old.example", "--yes"]) == 0
        assert {path: mail for path, mail in new.snapshot(target).items() if mail} == before
        assert main(["enable", "ALL"]) == 0
        assert main(["migrate", "--yes", "--quiet"]) == 0
        assert new.snapshot(target).keys() == after.keys()


def imap_config(old: Dovecot, user: str, new: Dovecot, target: str) -> None:
    """Write, in this folder, a configuration for one account between two real servers."""
    for name, server in (("old", old), ("new", new)):
        Path(name).write_text(server.password)
        Path(name).chmod(0o600)
    Path("alimail.toml").write_text(
        f"""
[migration]
name = "test"
[source]
kind = "imap"
host = "{old.host}"
port = {old.imaps_port}
ca = "{old.ca_file}"
secret = "file:old"
[target]
kind = "imap"
host = "{new.host}"
port = {new.imaps_port}
ca = "{new.ca_file}"
secret = "file:new"
[[account]]
source_address = "a@old.example"
target_address = "a@new.example"
source_user = "{user}"
target_user = "{target}"
"""
    )
