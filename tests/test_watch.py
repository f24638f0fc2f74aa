"""Following new mail until told to stop."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from attrs import evolve

from alimail_core.cli import main
from alimail_core.config import load
from alimail_core.migration import Migration
from alimail_core.model import INBOX
from alimail_core.testing import FakeClock, message
from alimail_core.testing.servers import Dovecot
from alimail_core.transfer import PassSummary
from alimail_core.units import parse_duration
from alimail_core.watch import LONGEST, Watch
from tests.memory_plugin import PASSWORD, MemoryPlugin, registry_of
from tests.test_cli import CONFIG
from tests.test_undo import imap_config

ROOT = Path(__file__).parent.parent
RUN = "from alimail_core.cli import main; raise SystemExit(main())"


@pytest.fixture
def migration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Migration:
    """Return a migration of two accounts with an empty mailbox each."""
    monkeypatch.setenv("OLD", PASSWORD)
    monkeypatch.setenv("NEW", PASSWORD)
    (tmp_path / "alimail.toml").write_text(CONFIG)
    plugin = MemoryPlugin()
    for name in ("anna", "bert"):
        plugin.boxes[f"{name}@old.example"].make(INBOX)
        plugin.boxes[f"{name}@new.example"].make(INBOX)
    registry = registry_of(plugin)
    spec = evolve(load(tmp_path / "alimail.toml", registry), workers=1)
    return Migration(spec, registry, clock=FakeClock())


def watch(
    migration: Migration, passes: int, between: Callable[[PassSummary], None] = lambda _: None
) -> list[str]:
    """Watch until so many passes have ended; return their accounts in order."""
    told: list[str] = []

    def tell(summary: PassSummary) -> None:
        told.append(summary.account)
        between(summary)
        if len(told) == passes:
            migration.stop.set()

    with migration:
        Watch(migration, 300.0, tell).run()
    return told


def test_each_account_is_passed_again_and_again(migration: Migration) -> None:
    """Accounts take turns, with the pause between two passes, until somebody asks to stop."""
    told = watch(migration, 6)
    assert told == ["anna@old.example", "bert@old.example"] * 3
    assert migration.clock.monotonic() == 600.0


def test_a_disabled_account_is_passed_over_until_it_is_enabled(migration: Migration) -> None:
    """Whoever disables an account keeps the watch from it, and enables it again without a restart."""
    seen: list[str] = []

    def between(summary: PassSummary) -> None:
        seen.append(summary.account)
        if len(seen) == 4:
            migration.enable("anna")

    migration.disable("anna")
    told = watch(migration, 6, between)
    assert told[:4] == ["bert@old.example"] * 4
    assert "anna@old.example" in told[4:]


def test_an_account_that_fails_is_tried_ever_more_rarely(
    migration: Migration, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its pause doubles up to an hour, the other account keeps its own, and success makes all as it was."""
    at: dict[str, list[float]] = {"anna@old.example": [], "bert@old.example": []}
    real = migration.run_account

    def run_account(account: object, **_: object) -> PassSummary:
        name = str(getattr(account, "source_address", ""))
        at[name].append(migration.clock.monotonic())
        fails = name.startswith("anna") and len(at[name]) < 6
        return PassSummary(name, 1, "failed", reason="down") if fails else real(account)  # type: ignore[arg-type]

    monkeypatch.setattr(migration, "run_account", run_account)
    watch(migration, 50)
    anna = at["anna@old.example"]
    pauses = [later - earlier for earlier, later in pairwise(anna)]
    assert pauses[:6] == [600.0, 1200.0, 2400.0, LONGEST, LONGEST, 300.0]
    bert = at["bert@old.example"]
    assert {later - earlier for earlier, later in pairwise(bert)} == {300.0}


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("5m", 300), ("1.5h", 5_400), ("1d", 86_400)])
def test_durations_are_read_with_their_unit(text: str, seconds: float) -> None:
    """A time is a number with a unit."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "5", "0s", "-5m", "5 minutes", "m"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Anything else is a fault."""
    with pytest.raises(ValueError, match="such as 90s"):
        parse_duration(text)


def test_bad_wishes_of_the_command_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause that is none, and a search that meets nobody, end with 2 before anything is opened."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OLD", PASSWORD)
    monkeypatch.setenv("NEW", PASSWORD)
    Path("alimail.toml").write_text(CONFIG)
    registry = registry_of(MemoryPlugin())
    assert main(["watch", "--every", "soon"], registry, FakeClock()) == 2
    assert main(["watch", "--search", "nobody"], registry, FakeClock()) == 2
    assert not Path("alimail.db").exists()


@pytest.mark.server
def test_a_watch_that_was_killed_goes_on_when_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A real process follows new mail; after kill -9 and a new start each message is there once; SIGTERM ends it."""
    monkeypatch.chdir(tmp_path)
    with Dovecot() as old, Dovecot() as new:
        user, target = old.new_user(), new.new_user()
        imap_config(old, user, new, target)

        def there() -> int:
            return sum(mail.total() for mail in new.snapshot(target).values())

        def started(count: int) -> subprocess.Popen[str]:
            words = [sys.executable, "-c", RUN, "watch", "--every", "1s"]
            process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            wait_for(count, process)
            return process

        def wait_for(count: int, process: subprocess.Popen[str]) -> None:
            for _ in range(200):
                if there() >= count:
                    return
                assert process.poll() is None, process.communicate()
                time.sleep(0.1)
            process.kill()
            raise AssertionError(process.communicate())

        for number in range(20):
            old.deliver(user, INBOX, message(f"Letter {number}"))
        process = started(20)
        old.deliver(user, INBOX, message("New"))
        wait_for(21, process)
        process.kill()
        process.communicate()
        old.deliver(user, INBOX, message("While nobody watched"))
        process = started(22)
        os.kill(process.pid, signal.SIGTERM)
        output, errors = process.communicate(timeout=60)
        assert (process.returncode, there()) == (143, 22), errors
        assert "1 copied" in output
        assert "`alimail watch` goes on" in errors


def test_the_units_are_what_systemd_takes(tmp_path: Path) -> None:
    """systemd itself finds nothing to complain about in the units that we ship."""
    verify = shutil.which("systemd-analyze")
    assert verify, "tools/setup installs systemd"
    units = []
    for unit in sorted((ROOT / "contrib" / "systemd").iterdir()):
        units.append(tmp_path / unit.name.replace("@", "@office"))
        shutil.copy(unit, tmp_path)
    done = subprocess.run(
        [verify, "verify", "--man=no", *units],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
    )
    ours = [line for line in done.stderr.splitlines() if "alimail" in line]
    assert (done.returncode, ours) == (0, []), done.stderr
