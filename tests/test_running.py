"""Servers that let nobody in: they cost their own accounts a little, and the run's other accounts nothing."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from attrs import evolve

from alimail_core.contract import Sink, Source
from alimail_core.errors import LoginDenied, Transient, Unreached
from alimail_core.events import PassEnded, Waiting
from alimail_core.governor import Governor
from alimail_core.running import LITTLE_PATIENCE
from alimail_core.seam import PATIENCE, Stop
from alimail_core.spec import Endpoint
from alimail_core.testing.clock import FakeClock
from alimail_core.testing.memory import MemoryMailbox, MemorySource, MemoryTraits
from tests.organisation import MemoryOptions, Organisation, account, message

AWAY = "no connection to mail.old.example port 993: Connection refused"
REMEDY = "Check the host name and port."


class Office(Organisation):
    """An organisation where accounts called ``away…`` are on a source server of their own.

    ``is_away`` says whether that server lets nobody in; ``takes`` is how long it takes to say so.
    """

    def __init__(self, folder: Path, names: list[str], is_away: Callable[[], bool], workers: int = 1) -> None:
        super().__init__(folder, names, workers=workers)
        self.is_away = is_away
        self.takes = 0.0
        self.knocks = 0
        elsewhere = Endpoint("memory", MemoryOptions("mail.old.example"))
        self.spec = evolve(
            self.spec,
            accounts=tuple(
                evolve(account(name), source=elsewhere) if name.startswith("away") else account(name)
                for name in names
            ),
        )
        self.wrap_source = self._opened
        for name in names:
            self.give(name, message(f"for {name}"))

    def _opened(self, name: str, side: Source) -> Source:
        if name.startswith("away"):
            self.knocks += 1
            if self.is_away():
                self.clock.advance(self.takes)
                raise Transient(AWAY, remedy=REMEDY)
        return side

    def ends(self) -> list[tuple[str, str]]:
        """Return the accounts' names and states in the order in which they ended."""
        return [
            (each.account.removesuffix("@old.example"), each.state)
            for each in self.events
            if isinstance(each, PassEnded)
        ]


def passing(seconds: float, office: Office, side: Sink) -> Sink:
    """Open a sink that takes its time."""
    office.clock.advance(seconds)
    return side


def test_a_server_that_nobody_reaches_holds_up_no_other(tmp_path: Path) -> None:
    """With a single worker, the accounts that can go on are done before anybody waits."""
    office = Office(tmp_path, ["away1", "away2", "anna", "bob"], lambda: True)
    began: dict[str, float] = {}

    def note(name: str, side: Sink) -> Sink:
        began.setdefault(name, office.clock.monotonic())
        return side

    office.wrap_sink = note
    with office.migration() as migration:
        summary = migration.run()
    assert [each.state for each in summary.accounts] == ["failed", "failed", "done", "done"]
    assert office.ends()[:2] == [("anna", "done"), ("bob", "done")]
    assert began == {"anna": 0.0, "bob": 0.0}


def test_a_server_that_nobody_reaches_is_given_up_soon(tmp_path: Path) -> None:
    """The account ends with the reason and the remedy; meanwhile the progress says what it waits for."""
    office = Office(tmp_path, ["away"], lambda: True)
    with office.migration() as migration:
        [summary] = migration.run().accounts
        [status] = migration.status()
    assert (summary.state, summary.reason, summary.remedy) == ("failed", f"source: {AWAY}", REMEDY)
    assert (status.state, status.reason) == ("failed", f"source: {AWAY}")
    assert LITTLE_PATIENCE <= office.clock.monotonic() < PATIENCE / 4
    waits = [each for each in office.events if isinstance(each, Waiting)]
    assert len(waits) > 2
    assert {each.reason for each in waits} == {f"source: {AWAY}"}
    assert office.ends() == [("away", "failed")]


def test_a_server_that_comes_back_during_the_run_loses_nothing(tmp_path: Path) -> None:
    """While others are carried, a server that is away is tried again for as long as that takes."""
    office = Office(tmp_path, ["away", "anna", "bob", "carl"], lambda: office.clock.monotonic() < 1000)
    office.wrap_sink = lambda name, side: passing(0.0 if name == "away" else 400.0, office, side)
    with office.migration() as migration:
        summary = migration.run()
    assert summary.exit_code == 0
    assert office.targets["away"].everything() == office.sources["away"].everything()


def test_a_server_that_was_reached_and_is_down_for_ten_minutes_costs_ten_minutes(tmp_path: Path) -> None:
    """The second account on it waits, without anybody's worker, until the server is back."""
    office = Office(tmp_path, ["away1", "away2"], lambda: 0 < office.clock.monotonic() < 600)
    office.wrap_sink = lambda _, side: passing(1.0, office, side)
    with office.migration() as migration:
        summary = migration.run()
    assert summary.exit_code == 0
    assert 600 <= office.clock.monotonic() < 900


@pytest.mark.slow
def test_a_server_that_answers_nobody_costs_one_time_out_and_not_one_an_account(tmp_path: Path) -> None:
    """Twenty accounts on it knock no more often than two would."""
    office = Office(tmp_path, [f"away{number}" for number in range(20)], lambda: True)
    office.takes = 180.0
    with office.migration() as migration:
        summary = migration.run()
    assert {each.state for each in summary.accounts} == {"failed"}
    assert office.knocks == 2


def test_a_wish_to_stop_ends_the_waiting(tmp_path: Path) -> None:
    """Whoever presses Ctrl-C while servers are away has the run's end at once."""
    office = Office(tmp_path, ["away1", "away2"], lambda: True)

    def stop(event: object) -> None:
        if isinstance(event, Waiting):
            office.stop.set(2)

    with office.migration(stop) as migration:
        summary = migration.run()
    assert {each.state for each in summary.accounts} == {"stopped"}
    assert summary.exit_code == 130


def test_a_watch_gets_its_worker_back_at_once(tmp_path: Path) -> None:
    """One pass before a server that is away ends without any waiting."""
    office = Office(tmp_path, ["away"], lambda: True)
    with office.migration() as migration:
        summary = migration.run_account(migration.spec.accounts[0])
    assert (summary.state, summary.reason) == ("failed", f"source: {AWAY}")
    assert office.clock.monotonic() == 0.0


def test_what_crosses_a_process_border_keeps_whether_somebody_got_in() -> None:
    """The error is plain data, as all of ours."""
    error = pickle.loads(pickle.dumps(Unreached(AWAY, was_reached=True, remedy=REMEDY)))
    assert (str(error), error.was_reached, error.remedy) == (AWAY, True, REMEDY)


def _no_connection() -> Source:
    raise Transient(AWAY)


def test_who_waits_behind_one_who_knocks_is_told_with_it() -> None:
    """An account that waits for the slot does not knock itself when the first one was turned away."""
    governor = Governor(FakeClock(), Stop())
    governor.take(["old"])
    waiting = threading.Event()

    def second() -> None:
        waiting.set()
        governor.take(["old"])

    with ThreadPoolExecutor(1) as pool:
        later = pool.submit(second)
        assert waiting.wait(30)
        with pytest.raises(Unreached):
            governor.open("old", _no_connection)
        with pytest.raises(Unreached, match="refused"):
            later.result(30)


def test_one_at_a_time_knocks_at_a_server_that_is_away() -> None:
    """After the pause one is let through; the others are told at once, until that one got in."""
    clock = FakeClock()
    governor = Governor(clock, Stop())
    for _ in range(2):
        governor.take(["old"])
        with pytest.raises(Unreached):
            governor.open("old", _no_connection)
        with pytest.raises(Unreached):
            governor.take(["old"])
        clock.advance(60)
    governor.take(["old"])
    with pytest.raises(Unreached):
        governor.take(["old"])
    side = MemorySource(MemoryMailbox(MemoryTraits()))
    assert governor.open("old", lambda: side) is side
    governor.take(["old"])


def test_a_refused_login_is_an_answer() -> None:
    """A server that refuses one account is not away for the others."""
    clock = FakeClock()
    governor = Governor(clock, Stop())
    governor.take(["old"])
    with pytest.raises(Unreached):
        governor.open("old", _no_connection)
    clock.advance(60)
    governor.take(["old"])
    with pytest.raises(LoginDenied):
        governor.open("old", _refused)
    governor.take(["old"])


def _refused() -> Source:
    raise LoginDenied("NO [AUTHENTICATIONFAILED]")
