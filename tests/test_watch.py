"""Following new mail until told to stop."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import pytest
from attrs import evolve

from alimail_core.config.load import load
from alimail_core.errors import Refused, Transient
from alimail_core.listening import Heard
from alimail_core.migration import Migration
from alimail_core.model import INBOX, Cursor, Folder, Traits
from alimail_core.seam import Clock
from alimail_core.testing import FakeClock, MemorySource, message
from alimail_core.testing.servers import Dovecot
from alimail_core.transfer import PassSummary
from alimail_core.units import parse_duration
from alimail_core.watch import LONGEST, Watch, _Turn
from tests.memory_plugin import PASSWORD, MemoryPlugin, command_line, registry_of
from tests.organisation import Organisation, account
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


@pytest.mark.slow
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


class Telling(MemorySource):
    """A source that tells of new mail, and what happens when it is waited for."""

    waits: ClassVar[list[str]] = []
    raises: ClassVar[Exception | None] = None

    @property
    def traits(self) -> Traits:
        """Say that it tells of new mail, and that its server bears few connections."""
        return evolve(super().traits, tells_news=True, host="old.example", max_connections=3)

    def wait(self, folder: Folder, cursor: Cursor, over: Callable[[], bool]) -> bool:
        """Wait, or fail."""
        self.waits.append("/".join(folder.path))
        if self.raises is not None:
            raise self.raises
        return super().wait(folder, cursor, over)


@pytest.fixture(autouse=True)
def _nobody_waited_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Telling, "waits", [])


@pytest.fixture
def telling(tmp_path: Path) -> Callable[[Clock], Migration]:
    """Return a maker of migrations of one account, whose source tells of new mail."""
    office = Organisation(tmp_path, workers=1)
    office.wrap_source = lambda name, _: Telling(office.sources[name])
    return lambda clock: Migration(office.spec, office.registry, clock=clock)


@pytest.mark.slow
def test_new_mail_makes_an_account_due_at_once(tmp_path: Path) -> None:
    """Where the source tells of it; the interval is so long that nothing else does."""
    office = Organisation(tmp_path, workers=1)
    office.wrap_source = lambda name, _: Telling(office.sources[name])
    office.give("anna", message("one"))
    copied: list[int] = []
    with Migration(office.spec, office.registry) as migration:

        def tell(summary: PassSummary) -> None:
            copied.append(summary.copied)
            if len(copied) == 3:
                migration.stop.set()
            else:
                office.give("anna", *(message(f"new {len(copied)} {n}") for n in range(2)))

        Watch(migration, 1e6, tell).run()
    assert copied == [1, 2, 2]


def test_a_stop_ends_listening(tmp_path: Path) -> None:
    """Who listens sees the wish to stop soon, and the watch returns."""
    office = Organisation(tmp_path, workers=1)

    class Stopping(Telling):
        def wait(self, folder: Folder, cursor: Cursor, over: Callable[[], bool]) -> bool:
            office.stop.set()
            return super().wait(folder, cursor, over)

    office.wrap_source = lambda name, _: Stopping(office.sources[name])
    with Migration(office.spec, office.registry, stop=office.stop) as migration:
        Watch(migration, 1e6, lambda _: None).run()


@pytest.mark.parametrize("error", [Refused("NO IDLE"), ZeroDivisionError("a bug")])
def test_a_source_that_cannot_tell_is_asked_at_intervals(
    telling: Callable[[Clock], Migration], monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """It is tried once, and then never again."""
    monkeypatch.setattr(Telling, "raises", error)
    clock = FakeClock()
    assert watch(telling(clock), 4) == ["anna@old.example"] * 4
    assert clock.monotonic() == 900.0
    assert Telling.waits == ["INBOX"]


def test_a_connection_that_is_lost_while_listening_is_tried_after_the_next_pass(
    telling: Callable[[Clock], Migration], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until then the account is asked at its time."""
    monkeypatch.setattr(Telling, "raises", Transient("connection lost"))
    clock = FakeClock()
    watch(telling(clock), 3)
    assert clock.monotonic() == 600.0
    assert len(Telling.waits) == 2


def test_nobody_listens_over_a_connection_that_a_pass_may_need(tmp_path: Path) -> None:
    """A server that bears three connections has one to spare beside a pass, and with two workers none."""
    office = Organisation(tmp_path, ("anna", "bert"), workers=2)
    office.wrap_source = lambda name, _: Telling(office.sources[name])
    with Migration(office.spec, office.registry, clock=office.clock) as migration:
        watch(migration, 6)
    assert Telling.waits == []


def test_news_that_bring_nothing_make_the_next_news_wait() -> None:
    """So a server that calls everything news costs no more than asking; what brings something makes all as it was."""
    turn = _Turn(account("anna"))
    summary = PassSummary("anna", 1, "done")
    pauses = []
    for _ in range(12):
        turn.ended(summary, 300.0, 1_000.0)
        turn.listened(Heard.NEWS)
        pauses.append(turn.due - 1_000.0)
    assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    turn.ended(evolve(summary, copied=1), 300.0, 1_000.0)
    turn.listened(Heard.NEWS)
    assert turn.due == 1_001.0


def test_who_fails_is_not_listened_to() -> None:
    """An account that is tried ever more rarely, or not at all, is not connected to in between."""
    turn = _Turn(account("anna"))
    turn.ended(PassSummary("anna", 1, "failed"), 300.0, 0.0)
    assert not turn.may_listen
    turn.ended(PassSummary("anna", 2, "done"), 300.0, 0.0)
    assert turn.may_listen
    turn.ended(PassSummary("anna", 3, "disabled"), 300.0, 0.0)
    assert (turn.may_listen, turn.due) == (False, 300.0)


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
    alimail = command_line(registry_of(MemoryPlugin()), tmp_path, monkeypatch)
    Path("alimail.toml").write_text(CONFIG)
    assert alimail("watch", "--every", "soon") == 2
    assert alimail("watch", "--search", "nobody") == 2
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
            for _ in range(1000):
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
        output, errors = process.communicate(timeout=600)
        assert (process.returncode, there()) == (143, 22), errors
        assert output.startswith("watching 1 account; Ctrl-C stops")
        assert "`alimail watch --every=1s` goes on" in errors
        assert "1 copied" in output


@pytest.mark.server
def test_a_message_is_carried_when_it_arrives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A real process hears of it by IDLE, over one connection: its interval is a day."""
    monkeypatch.chdir(tmp_path)
    with Dovecot() as old, Dovecot() as new:
        user, target = old.new_user(), new.new_user()
        imap_config(old, user, new, target)
        old.deliver(user, INBOX, message("Before"))
        words = [sys.executable, "-c", RUN, "watch", "--every", "1d"]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            for number in range(1, 4):
                wait_until(partial(holds, new, target, number), process)
                wait_until(lambda: len(sessions(old, user)) == 1, process)
                wait_until(lambda: not sessions(new, target), process)
                old.deliver(user, INBOX, message(f"New {number}"))
            process.send_signal(signal.SIGTERM)
            output, errors = process.communicate(timeout=600)
            assert process.returncode == 143, errors
            assert output.count("1 copied") >= 3
        finally:
            process.kill()
            process.communicate()


def holds(server: Dovecot, user: str, messages: int) -> bool:
    """Tell whether a mailbox holds so many messages."""
    return sum(mail.total() for mail in server.snapshot(user).values()) == messages


def sessions(server: Dovecot, user: str) -> list[str]:
    """Return a line for each IMAP session that a user has."""
    return [line for line in server.doveadm("who", "-1", user).splitlines()[1:] if " imap " in f"{line} "]


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait until something is true of what a process does."""
    for _ in range(1000):
        if condition():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    process.kill()
    raise AssertionError(process.communicate())


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
