"""Every promise of an executor, as tests to inherit.

A plug-in's whole test of its executor::

    pytest_plugins = ["alimail_core.testing.fixtures"]


    @pytest.mark.server
    class TestDask(ExecutorContract):
        name = "dask"

The executor is found by its name among the installed plug-ins, as a run finds it. Mail is carried between two
Dovecots, so ``alimail-imap`` must be installed where the work is done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import ClassVar

import pytest

from alimail_core import errors
from alimail_core.errors import AlimailError
from alimail_core.events import BatchSettled, Event, FolderSettled, Noted, PassEnded, PassStarted
from alimail_core.migration import Migration
from alimail_core.model import INBOX
from alimail_core.registry import Registry
from alimail_core.secrets import Secret
from alimail_core.spec import AccountSpec, Endpoint, MigrationSpec
from alimail_core.telling import Line, Listening, contact
from alimail_core.testing.mail import message
from alimail_core.testing.oracle import digests
from alimail_core.testing.servers import Dovecot
from alimail_core.testing.source_contract import Contract, needs
from alimail_core.transfer import PassSummary

WORKERS = 2
MESSAGES = 4
LONG = 60.0
"""Seconds after which something that should happen at once has not happened."""

_ERRORS = [
    each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, AlimailError)
]


class ExecutorContract(Contract):
    """Inherit, name the executor, and mark the class ``server``."""

    name: ClassVar[str]
    tells_meanwhile: ClassVar[bool] = True
    """False: its workers may run where they cannot reach us, so that of a pass only its end is told."""

    @pytest.fixture(scope="class")
    @classmethod
    def executor(cls) -> Iterator[Executor]:
        """The executor, as a run finds it, open."""
        with Registry.load().executor(cls.name).open(WORKERS) as executor:
            yield executor

    def test_answers_belong_to_their_work(self, executor: Executor) -> None:
        """More work than workers is all done, and each answer stands in its own future."""
        futures = {executor.submit(abs, -number): number for number in range(5 * WORKERS)}
        assert {future.result(LONG): number for future, number in futures.items()} == {
            number: number for number in range(5 * WORKERS)
        }

    @pytest.mark.parametrize("kind_of_error", _ERRORS, ids=lambda each: each.__name__)
    def test_errors_arrive_as_they_were_raised(
        self, executor: Executor, kind_of_error: type[AlimailError]
    ) -> None:
        """Each of our errors keeps its class, its words, its remedy, and all that it tells beside."""
        error = kind_of_error("what happened", remedy="what to do")
        came = executor.submit(_raise, error).exception(LONG)
        assert type(came) is kind_of_error
        assert (str(came), came.__dict__) == (str(error), error.__dict__)

    def test_what_a_worker_is_given_is_plain_data(self, executor: Executor, tmp_path: Path) -> None:
        """A migration, and how a pass ended, are equal on the other side."""
        spec = MigrationSpec("plain", str(tmp_path / "ledger"), (_account(_endpoint(993), "a", "b"),))
        summary = PassSummary("a", 1, "problems", 2, 3, 4, 5, "why", "remedy", 6)
        assert executor.submit(_same, (spec, summary)).result(LONG) == (spec, summary)

    @needs("tells_meanwhile")
    def test_what_happens_is_told_while_it_happens(self, executor: Executor, tmp_path: Path) -> None:
        """An event arrives while the work that it tells of still goes on."""
        heard = tmp_path / "heard"
        with Listening(lambda _: heard.touch()) as listening:
            assert executor.submit(_tell_and_wait, listening.line, str(heard)).result(2 * LONG)

    @needs("tells_meanwhile")
    def test_all_is_told_before_the_work_ends(self, executor: Executor) -> None:
        """When the answer is there, everything has been heard, in its order."""
        events: list[Event] = []
        with Listening(events.append) as listening:
            executor.submit(_tell_many, listening.line, 100).result(LONG)
            assert [event.count for event in events if isinstance(event, Noted)] == list(range(100))

    def test_accounts_are_carried_and_proven(
        self, tmp_path: Path, source_server: Dovecot, target_server: Dovecot
    ) -> None:
        """Between real servers all of it arrives, a second run has nothing to do, and each end is told once."""
        pairs = [(source_server.new_user(), target_server.new_user()) for _ in range(3)]
        for user, _ in pairs:
            for number in range(MESSAGES):
                source_server.deliver(user, INBOX, message(f"{user} {number}"))
        events: list[Event] = []
        with self._migration(tmp_path, source_server, target_server, pairs, events.append) as migration:
            summary = migration.run()
            assert [(each.state, each.copied) for each in summary.accounts] == [("done", MESSAGES)] * 3
            for user, _ in pairs:
                self._hold_events([event for event in events if event.account == user])
            assert all(proof.complete for proof in migration.verify(full=True))
            assert [each.copied for each in migration.run().accounts] == [0, 0, 0]
        for source, target in pairs:
            assert digests(target_server.snapshot(target)) == digests(source_server.snapshot(source))

    def _hold_events(self, events: list[Event]) -> None:
        """Hold what was told of one account: its end is last and there once, and what led to it adds up."""
        assert [isinstance(event, PassEnded) for event in events] == [False] * (len(events) - 1) + [True]
        if self.tells_meanwhile:
            assert isinstance(events[0], PassStarted)
            assert any(isinstance(event, FolderSettled) for event in events)
            assert sum(event.copied for event in events if isinstance(event, BatchSettled)) == MESSAGES

    def test_a_wish_to_stop_reaches_all_and_costs_nothing(
        self, tmp_path: Path, source_server: Dovecot, target_server: Dovecot
    ) -> None:
        """A run that was stopped ends by itself, and the next one carries exactly what is missing."""
        # So many that some are left when the wish arrives, however busy the machine is.
        pairs = [(source_server.new_user(), target_server.new_user()) for _ in range(8 * WORKERS)]
        for user, _ in pairs:
            source_server.deliver(user, INBOX, message(user))

        def stop(_: Event) -> None:
            migration.stop.set()

        migration = self._migration(tmp_path, source_server, target_server, pairs, stop)
        with migration:
            stopped = migration.run()
        assert {each.state for each in stopped.accounts} <= {"done", "stopped"}
        assert "stopped" in {each.state for each in stopped.accounts}
        assert stopped.exit_code == 130
        with self._migration(tmp_path, source_server, target_server, pairs, lambda _: None) as migration:
            assert migration.run().exit_code == 0
        for source, target in pairs:
            assert digests(target_server.snapshot(target)) == digests(source_server.snapshot(source))

    def _migration(
        self,
        tmp_path: Path,
        source: Dovecot,
        target: Dovecot,
        pairs: list[tuple[str, str]],
        observe: Callable[[Event], None],
    ) -> Migration:
        ends = _endpoint(source.imap_port), _endpoint(target.imap_port)
        accounts = [_account(ends[0], *pair, ends[1], source.password, target.password) for pair in pairs]
        spec = MigrationSpec(
            "real", str(tmp_path / "ledger"), tuple(accounts), workers=WORKERS, executor=self.name
        )
        return Migration(spec, Registry.load(), observers=[observe])


def _endpoint(port: int) -> Endpoint:
    options = Registry.load().source("imap").options
    return Endpoint("imap", options(host="127.0.0.1", port=port, tls="none"))


def _account(
    source: Endpoint,
    user: str,
    goes_to: str,
    target: Endpoint | None = None,
    source_password: str = "one",
    target_password: str = "two",
) -> AccountSpec:
    secrets = Secret.literal(source_password), Secret.literal(target_password)
    return AccountSpec(user, goes_to, source, target or source, user, goes_to, *secrets)


def _raise(error: AlimailError) -> None:
    raise error


def _same(thing: object) -> object:
    return thing


def _tell_and_wait(line: Line, heard: str) -> bool:
    """Tell something; wait until a file says that it was heard."""
    until = time.monotonic() + LONG
    with contact(line) as tell:
        assert tell is not None
        tell(PassStarted("anna", 1))
        while not Path(heard).exists() and time.monotonic() < until:
            time.sleep(0.01)
        return Path(heard).exists()


def _tell_many(line: Line, count: int) -> None:
    with contact(line) as tell:
        assert tell is not None
        for number in range(count):
            tell(Noted("anna", "something", number))
