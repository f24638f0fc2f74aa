"""A migration as a whole: accounts side by side, and none that stops another."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
import sqlalchemy as sa
from attrs import evolve

from alimail_core.contract import ExecutorKind, Source
from alimail_core.errors import LedgerError, PluginError
from alimail_core.events import BatchSettled, Event, PassEnded, PassStarted
from alimail_core.ledger import Ledger
from alimail_core.ledger.schema import account as accounts
from alimail_core.logs import JsonLog
from alimail_core.migration import MigrationSummary
from alimail_core.model import Batch, Folder, NotStored, Stored
from alimail_core.registry import Registry
from alimail_core.secrets import Secret
from alimail_core.testing.memory import MemoryMailbox, MemorySink, MemoryTraits
from alimail_core.transfer import PassSummary
from tests.organisation import Organisation, account, message

pytestmark = pytest.mark.slow


def states(summary: MigrationSummary) -> dict[str, str]:
    """Return each account's state by its name."""
    return {each.account.partition("@")[0]: each.state for each in summary.accounts}


def test_every_account_is_carried(tmp_path: Path) -> None:
    """A run carries all accounts, each into its own target, and sums up in the roster's order."""
    names = [f"user{number}" for number in range(12)]
    office = Organisation(tmp_path, names)
    for name in names:
        office.give(name, message(f"for {name}"))
    with office.migration() as migration:
        summary = migration.run()
    assert [each.account for each in summary.accounts] == [f"{name}@old.example" for name in names]
    assert summary.exit_code == 0
    assert all(office.targets[name].everything() == office.sources[name].everything() for name in names)


def test_search_narrows_a_run(tmp_path: Path) -> None:
    """Only accounts with the text in one of their addresses are run, whatever its case."""
    office = Organisation(tmp_path, ["anna", "bob"])
    with office.migration() as migration:
        assert states(migration.run("ANNA@NEW")) == {"anna": "done"}


def test_a_refused_login_stops_only_its_account(tmp_path: Path) -> None:
    """One account whose password is wrong fails with the remedy; the others are carried."""
    office = Organisation(tmp_path, ["anna", "bob"])
    office.give("bob", message("for bob"))
    wrong = evolve(account("anna"), source_secret=Secret.literal("wrong"))
    with office.migration(accounts=(wrong, account("bob"))) as migration:
        summary = migration.run()
    assert states(summary) == {"anna": "failed", "bob": "done"}
    assert summary.accounts[0].remedy == "Check the password."
    assert summary.exit_code == 1
    assert office.targets["bob"].everything() == office.sources["bob"].everything()


class Broken(Source):
    """A source with a bug, whose exception holds a piece of a message."""

    def __init__(self, source: Source) -> None:
        self.source = source

    traits = property(lambda self: self.source.traits)
    changes = headers = fetch = look = None  # type: ignore[assignment]

    def folders(self) -> Iterable[Folder]:
        """Fail."""
        raise ZeroDivisionError("Dear Anna, your PIN is 1234")

    def close(self) -> None:
        """Close the source."""
        self.source.close()


def test_a_bug_stops_only_its_account_and_is_logged_without_content(tmp_path: Path) -> None:
    """A bug is told with its type, its trace goes to the log without its text, and the others are carried."""
    office = Organisation(tmp_path, ["anna", "bob"])
    office.wrap_source = lambda name, side: Broken(side) if name == "anna" else side
    with JsonLog(tmp_path / "log.jsonl", "test") as log, office.migration(log) as migration:
        summary = migration.run()
    assert states(summary) == {"anna": "failed", "bob": "done"}
    assert "ZeroDivisionError" in summary.accounts[0].reason
    written = (tmp_path / "log.jsonl").read_text()
    assert "in folders" in written
    assert "PIN" not in written + repr(summary) + repr(office.events)


def test_every_account_tells_its_end(tmp_path: Path) -> None:
    """Each account ends with one PassEnded, also one that failed before its pass began."""
    office = Organisation(tmp_path, ["anna", "bob", "carl"])
    office.wrap_source = lambda name, side: Broken(side) if name == "anna" else side
    lost = evolve(account("carl"), source=evolve(account("carl").source, kind="lotus"))
    with office.migration(accounts=(account("anna"), account("bob"), lost)) as migration:
        summary = migration.run()
    ends = [event.account for event in office.events if isinstance(event, PassEnded)]
    assert sorted(ends) == ["anna@old.example", "bob@old.example", "carl@old.example"]
    assert "lotus" in summary.accounts[2].reason


def test_observers_see_one_event_at_a_time(tmp_path: Path) -> None:
    """Observers are called from several threads, but never two at once."""
    names = [f"user{number}" for number in range(8)]
    office = Organisation(tmp_path, names, workers=8)
    inside: list[int] = []
    together: list[int] = []

    def observer(_event: Event) -> None:
        inside.append(1)
        together.append(len(inside))
        inside.pop()

    for name in names:
        office.give(name, message("one"), message("two"))
    with office.migration(observer) as migration:
        migration.run()
    assert set(together) == {1}


def test_an_observer_that_fails_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """What an observer raises is logged, and the other observers and the migration go on."""
    office = Organisation(tmp_path)
    office.give("anna", message("one"))

    def observer(_event: Event) -> None:
        raise KeyError("mine")

    with office.migration(observer) as migration:
        assert migration.run().exit_code == 0
    assert any(isinstance(event, BatchSettled) for event in office.events)
    assert "an observer failed" in caplog.text


def test_a_wish_to_stop_ends_every_account(tmp_path: Path) -> None:
    """After a stop no account begins, those under way end between two batches, and the exit code says so."""
    names = [f"user{number}" for number in range(6)]
    office = Organisation(tmp_path, names, workers=2)
    for name in names:
        office.give(name, message("one"), message("two"))

    def stop_at_first(event: Event) -> None:
        if isinstance(event, PassStarted):
            office.stop.set(15)

    with office.migration(stop_at_first) as migration:
        summary = migration.run()
    assert set(states(summary).values()) == {"stopped"}
    assert summary.exit_code == 143
    assert not any(mailbox.everything() for mailbox in office.targets.values())


def test_a_stopped_run_goes_on_later(tmp_path: Path) -> None:
    """What a stopped run left is carried by the next run, and nothing twice."""
    office = Organisation(tmp_path)
    office.give("anna", message("one"), message("two"))

    def stop_at_batch(event: Event) -> None:
        if isinstance(event, BatchSettled):
            office.stop.set(2)

    options = evolve(office.spec.options, batch_messages=1)
    with office.migration(stop_at_batch, options=options) as migration:
        migration.run()
    office.stop.event.clear()
    with office.migration() as migration:
        assert migration.run().exit_code == 0
    assert office.targets["anna"].everything() == office.sources["anna"].everything()


def test_a_disabled_account_does_not_run(tmp_path: Path) -> None:
    """A disabled account is not opened, says so everywhere, is no fault, and runs again once it is enabled."""
    office = Organisation(tmp_path, ["anna", "bob"])
    office.give("anna", message("one"))
    with office.migration() as migration:
        assert migration.disable("anna") == ["anna@old.example"]
        summary = migration.run()
        assert states(summary) == {"anna": "disabled", "bob": "done"}
        assert "disabled" in summary.accounts[0].reason
        assert summary.exit_code == 0
        assert [each.state for each in migration.status()] == ["disabled", "done"]
        assert migration.known().accounts[0].verdict.text == "disabled, not begun"
        planned, _ = migration.plan()
        assert (planned.level, planned.messages, planned.remarks[0].text[:8]) == ("note", 0, "disabled")
        assert migration.enable("anna") == ["anna@old.example"]
        assert states(migration.run("anna")) == {"anna": "done"}


def test_status_tells_who_is_disabled_without_hiding_what_is_there(tmp_path: Path) -> None:
    """Whose last pass came to its end is still all there; whose did not is disabled, and stopped once enabled."""
    office = Organisation(tmp_path, ["anna", "bob"])
    with office.migration() as migration:
        migration.run("anna")
        with closing(Ledger.open(office.spec.ledger, "test", office.clock)) as ledger:
            bob = ledger.account("bob@old.example", "bob@new.example")
            with ledger.lease(bob) as book:
                book.begin_pass("old", "new")
                book.end_pass("disabled", "the account was disabled", "")
        migration.disable("")
        assert [(each.state, each.enabled) for each in migration.status()] == [
            ("done", False),
            ("disabled", False),
        ]
        migration.enable("")
        assert [each.state for each in migration.status()] == ["done", "stopped"]


def test_an_account_that_another_process_works_on_fails_alone(tmp_path: Path) -> None:
    """An account whose lease is held is named; the others are carried."""
    office = Organisation(tmp_path, ["anna", "bob"])
    with closing(Ledger.open(office.spec.ledger, "test", office.clock)) as ledger:
        held = ledger.account("anna@old.example", "anna@new.example")
        with ledger.lease(held), office.migration() as migration:
            summary = migration.run()
    assert states(summary) == {"anna": "failed", "bob": "done"}
    assert "another process" in summary.accounts[0].reason


def test_refill_carries_again_what_the_target_lost(tmp_path: Path) -> None:
    """Only with ``refill`` is a message copied again that was removed from the target."""
    office = Organisation(tmp_path)
    office.give("anna", message("one"))
    with office.migration() as migration:
        migration.run()
        office.targets["anna"].delete(("INBOX",), 1)
        office.give("anna", message("two"))
        migration.run()
        assert len(office.targets["anna"].uids(("INBOX",))) == 1
        assert migration.run(refill=True).exit_code == 0
    assert office.targets["anna"].everything() == office.sources["anna"].everything()


def test_a_foreign_ledger_is_refused(tmp_path: Path) -> None:
    """A run on another migration's ledger raises, and touches no mailbox."""
    office = Organisation(tmp_path)
    Ledger.open(office.spec.ledger, "another").close()
    with office.migration() as migration, pytest.raises(LedgerError, match="another"):
        migration.run()
    assert office.events == []


def test_an_unknown_executor_is_named(tmp_path: Path) -> None:
    """A run with an executor that no plug-in brings raises and says which there are."""
    office = Organisation(tmp_path)
    with office.migration(executor="dask") as migration, pytest.raises(PluginError) as caught:
        migration.run()
    assert "processes, threads" in caught.value.remedy


def test_two_migrations_live_side_by_side(tmp_path: Path) -> None:
    """Two migrations in one process do not know of each other."""
    offices = [Organisation(tmp_path / name, [name]) for name in ("anna", "bob")]
    for office, name in zip(offices, ("anna", "bob"), strict=True):
        office.give(name, message(f"for {name}"))
    migrations = [office.migration() for office in offices]
    threads = [threading.Thread(target=migration.run) for migration in migrations]
    for thread in threads:
        thread.start()
    for thread, migration in zip(threads, migrations, strict=True):
        thread.join()
        migration.close()
    for office, name in zip(offices, ("anna", "bob"), strict=True):
        assert office.targets[name].everything() == office.sources[name].everything()
        assert {event.account for event in office.events} == {f"{name}@old.example"}


def test_many_workers_share_one_ledger(tmp_path: Path) -> None:
    """Forty accounts side by side neither wait for each other's connections to the ledger nor lock it."""
    names = [f"user{number}" for number in range(40)]
    office = Organisation(tmp_path, names, workers=40)
    for name in names:
        office.give(name, message(f"for {name}"))
    with office.migration() as migration:
        assert migration.run().exit_code == 0


def test_a_prompt_cannot_be_used_in_other_processes(tmp_path: Path) -> None:
    """An account whose secret only this process knows fails with a remedy where others would do the work."""
    office = Organisation(tmp_path)
    asked = evolve(account("anna"), target_secret=Secret("prompt", "", "target anna"))
    with office.migration(executor="processes", accounts=(asked,)) as migration:
        summary = migration.run()
    assert states(summary) == {"anna": "failed"}
    assert "env:NAME" in summary.accounts[0].remedy


def test_a_worker_process_builds_all_it_needs_from_plain_data(tmp_path: Path) -> None:
    """A worker in another process has the installed plug-ins alone; what it cannot do is told of its account."""
    office = Organisation(tmp_path, ["anna", "bob"], workers=2)
    with office.migration(executor="processes") as migration:
        summary = migration.run()
    assert states(summary) == {"anna": "failed", "bob": "failed"}
    assert "no source called memory" in summary.accounts[0].reason
    assert [event.state for event in office.events if isinstance(event, PassEnded)] == ["failed", "failed"]


def test_a_worker_that_dies_is_told_of_its_account(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A worker process that is killed fails its account with a word, and the run ends."""
    office = Organisation(tmp_path)
    office.executors = [ExecutorKind("mortal", "Processes that die.", _mortal, same_process=False)]
    with office.migration(executor="mortal") as migration:
        summary = migration.run()
    assert states(summary) == {"anna": "failed"}
    assert "BrokenProcessPool" in summary.accounts[0].reason
    assert "a bug at the account anna@old.example" in caplog.text


def _mortal(workers: int) -> Executor:
    return ProcessPoolExecutor(workers, initializer=_die)


def _die() -> None:
    raise SystemExit(9)


@pytest.mark.parametrize(
    ("found", "signal", "code"),
    [
        (["done"], None, 0),
        (["done", "problems"], None, 3),
        (["problems", "failed"], None, 1),
        (["stopped"], None, 3),
        (["done", "disabled"], None, 0),
        (["disabled", "pending"], None, 1),
        (["disabled", "done", "pending"], None, 3),
        (["stopped", "failed"], 2, 130),
        (["stopped", "done"], 15, 143),
        (["done"], 15, 0),
        ([], None, 0),
    ],
)
def test_the_exit_code_says_how_it_ended(found: list[str], signal: int | None, code: int) -> None:
    """An interruption counts only where something was left undone for it."""
    summary = MigrationSummary(tuple(PassSummary("a", 1, state) for state in found), signal)
    assert summary.exit_code == code


def test_status_tells_of_accounts_that_never_ran(tmp_path: Path) -> None:
    """Without a ledger every account of the roster is told as never run, and no ledger is made."""
    office = Organisation(tmp_path, ["anna", "bob"])
    with office.migration() as migration:
        told = migration.status()
    assert [(each.source_address, each.state, each.passes) for each in told] == [
        ("anna@old.example", "", 0),
        ("bob@old.example", "", 0),
    ]
    assert not Path(office.spec.ledger).exists()


def test_status_counts_what_is_settled_and_pending(tmp_path: Path) -> None:
    """Status tells settled, pending and quarantined messages, and the pace of a first pass."""
    target = MemoryTraits(max_message_octets=400)
    office = Organisation(tmp_path, ["anna", "bob"], target=target)
    small, large = message("small"), message("large", "x" * 500)
    office.give("anna", small, large)
    with office.migration() as migration:
        summary = migration.run("anna")
        [anna] = migration.status("anna")
    assert summary.exit_code == 3
    assert (anna.state, anna.settled_messages, anna.settled_octets) == ("problems", 1, len(small))
    assert (anna.quarantined, anna.problems, anna.pending_messages) == (1, 1, 0)
    assert anna.written_octets == len(small)


def test_status_works_while_a_pass_runs(tmp_path: Path) -> None:
    """Another migration object reads how far a running account has come."""
    office = Organisation(tmp_path)
    office.give("anna", message("one"), message("two"))
    seen: list[str] = []

    def look(event: Event) -> None:
        if isinstance(event, BatchSettled):
            with Organisation(tmp_path).migration() as other:
                seen.extend(each.state for each in other.status())

    with office.migration(look) as migration:
        migration.run()
        assert seen == ["running"]
        assert migration.status()[0].state == "done"


def test_status_tells_a_pass_whose_process_is_gone(tmp_path: Path) -> None:
    """A pass that was cut off with its process is told as interrupted, not as running."""
    office = Organisation(tmp_path)
    with closing(Ledger.open(office.spec.ledger, "test", office.clock)) as ledger:
        account_id = ledger.account("anna@old.example", "anna@new.example")
        with ledger.lease(account_id) as book:
            book.begin_pass("memory", "memory")
        with ledger.engine.begin() as connection:
            connection.execute(
                sa.update(accounts).values(owner='{"boot": "earlier", "pid": 1, "start": "1"}')
            )
    with office.migration() as migration:
        assert migration.status()[0].state == "interrupted"


def test_status_tells_what_only_the_ledger_knows(tmp_path: Path) -> None:
    """An account that was taken out of the roster is told, and marked."""
    office = Organisation(tmp_path, ["anna", "bob"])
    with office.migration() as migration:
        migration.run()
    with office.migration(accounts=(account("bob"),)) as migration:
        told = migration.status()
    assert [(each.source_address, each.in_roster) for each in told] == [
        ("bob@old.example", True),
        ("anna@old.example", False),
    ]


class Slow(MemorySink):
    """A sink that asks the run to stop once it stored something, and goes on once the ledger says so as well."""

    def __init__(self, mailbox: MemoryMailbox, stored: Callable[[], None]) -> None:
        super().__init__(mailbox)
        self.stored = stored

    def append(self, batches: Iterable[Batch]) -> Iterator[Stored | NotStored]:
        """Store one batch after the other."""
        for outcome in super().append(batches):
            self.stored()
            yield outcome


def test_workers_elsewhere_are_stopped_through_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What works in another process ends between two batches as well; afterwards every account may run again."""
    office = Organisation(tmp_path, ["anna", "bob"], workers=1)
    office.give("anna", *(message(f"number {number}") for number in range(5)))
    office.executors = [
        ExecutorKind("far", "As if in other processes.", ThreadPoolExecutor, same_process=False)
    ]
    monkeypatch.setattr(Registry, "load", lambda: office.registry)

    def stop_and_wait() -> None:
        office.stop.set()
        deadline = time.monotonic() + 60
        with (
            closing(Ledger.open(office.spec.ledger, "test")) as ledger,
            ledger.engine.connect() as connection,
        ):
            while time.monotonic() < deadline:
                if connection.execute(sa.select(accounts.c.stop_fence)).first() != (None,):
                    break
                connection.rollback()
                time.sleep(0.01)

    office.wrap_sink = lambda name, _: Slow(office.targets[name], stop_and_wait)
    options = evolve(office.spec.options, batch_messages=1)
    with office.migration(executor="far", options=options) as migration:
        summary = migration.run()
        assert states(summary) == {"anna": "stopped", "bob": "stopped"}
        assert summary.accounts[0].reason == "stopped on request"
        assert summary.exit_code == 130
        assert all(each.enabled for each in migration.status())
    assert 0 < len(office.targets["anna"].uids(("INBOX",))) < 5


def test_a_wish_to_stop_ends_with_the_pass_that_it_reached(tmp_path: Path) -> None:
    """Whoever asks other processes to stop may be killed then: every account can run again, and none is disabled."""
    office = Organisation(tmp_path)
    office.give("anna", message("one"), message("two"), message("three"))

    def ask(event: Event) -> None:
        if isinstance(event, BatchSettled):
            with Organisation(tmp_path).migration() as other:
                other.ask_to_stop(office.spec.accounts)

    options = evolve(office.spec.options, batch_messages=1)
    with office.migration(ask, options=options) as migration:
        [stopped] = migration.run().accounts
    assert (stopped.state, stopped.reason) == ("stopped", "stopped on request")
    assert 0 < len(office.targets["anna"].uids(("INBOX",))) < 3
    with office.migration() as migration:
        assert migration.status()[0].enabled
        assert states(migration.run()) == {"anna": "done"}
