"""One run: the passes of many accounts in an executor, and what becomes of a server that lets nobody in.

Who waits for a server that cannot be reached waits here, without a worker, so that all workers are for the accounts
that can go on. While the run has others to carry, such an account is tried again and again, which costs nothing.
When none is left, a server that nobody got into during this run gets ``LITTLE_PATIENCE`` from its first failure on,
and one that was reached and went away ``PATIENCE``: it is likely to come back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Executor, Future, wait
from contextlib import ExitStack
from typing import TYPE_CHECKING

from attrs import define, evolve, field, frozen

from alimail_core.check import prompt_remark
from alimail_core.contract import ExecutorKind
from alimail_core.ends import shared_out
from alimail_core.errors import AlimailError, Denied, Remark, Unreached
from alimail_core.events import Event, PassEnded, Waiting
from alimail_core.executors import LOOK
from alimail_core.pace import shared
from alimail_core.seam import PATIENCE
from alimail_core.spec import AccountSpec, MigrationSpec

if TYPE_CHECKING:
    from alimail_core.migration import Migration
    from alimail_core.telling import Line
    from alimail_core.transfer import PassSummary

LITTLE_PATIENCE = 60.0
"""Seconds for which a server that nobody has reached yet is waited for, once nothing else is left to do."""

LONGEST_PAUSE = 60.0
"""Seconds between two tries at the most."""


@frozen
class Wish:
    """What is wished of one run, beyond the configuration; see ``Migration.run``."""

    refill: bool = False
    retry: bool = False
    trial: int | None = None


ORDINARY = Wish()


@define(eq=False)
class _Turn:
    """An account of the run, and how often its pass began before a server that lets nobody in."""

    account: AccountSpec
    tries: int = 0
    since: float = 0.0
    """When it was first turned away, by the monotonic clock."""
    due: float = 0.0

    def turned_away(self, now: float) -> float:
        """Take in that nobody was reached; return the seconds until the next try."""
        self.since = now if not self.tries else self.since
        self.tries += 1
        pause = min(LONGEST_PAUSE, 2.0**self.tries)
        self.due = now + pause
        return pause


@define(eq=False)
class Running:
    """One run under way: the accounts' passes in an executor, and their summaries as they come."""

    migration: Migration
    kind: ExecutorKind
    accounts: Sequence[AccountSpec]
    wish: Wish
    elsewhere: Callable[[MigrationSpec, Wish, Line | None], PassSummary]
    """What makes one pass over a migration's only account in another process, and tells over the line how it goes."""
    _line: Line | None = field(default=None, init=False)
    _futures: dict[Future[PassSummary], _Turn] = field(factory=dict, init=False)
    _away: list[_Turn] = field(factory=list, init=False)
    """Those whose server cannot be reached, until they are tried again."""
    _done: dict[_Turn, PassSummary] = field(factory=dict, init=False)

    def finish(self) -> list[PassSummary]:
        """Run them all; return the summaries in the accounts' order."""
        turns = [_Turn(account) for account in self.accounts]
        with ExitStack() as stack:
            if not self.kind.same_process:
                # With all of multiprocessing: only for who has workers elsewhere.
                from alimail_core.telling import Listening

                self._line = stack.enter_context(Listening(self._hear)).line
            executor = stack.enter_context(self.kind.open(max(self.migration.spec.workers, 1)))
            try:
                for turn in turns:
                    self._begin(executor, turn)
                while self._futures or self._away:
                    for future in self._ended():
                        self._take(self._futures.pop(future), future)
                    self._try_again(executor)
            except BaseException:
                self.migration.stop.set()
                executor.shutdown(wait=False, cancel_futures=True)
                raise
        return [self._done[turn] for turn in turns]

    def _begin(self, executor: Executor, turn: _Turn) -> None:
        self._futures[self._submit(executor, turn.account)] = turn

    def _submit(self, executor: Executor, account: AccountSpec) -> Future[PassSummary]:
        if self.kind.same_process:
            return executor.submit(self.migration.try_account, account, self.wish)
        if remark := _cannot_leave(account):
            refused: Future[PassSummary] = Future()
            refused.set_exception(Denied(remark.text, remedy=remark.remedy))
            return refused
        # The account alone: a thousand accounts would otherwise each carry all thousand along.
        spec = self.migration.spec
        accounts = (shared_out(account, spec.workers),)
        alone = evolve(spec, accounts=accounts, pace=shared(spec.pace, spec.workers))
        return executor.submit(self.elsewhere, alone, self.wish, self._line)

    def _hear(self, event: Event) -> None:
        """Let the observers see what a worker tells; of an account's end its summary tells."""
        if not isinstance(event, PassEnded):
            self.migration.observe(event)

    def _ended(self) -> Iterator[Future[PassSummary]]:
        """Give the passes that have ended, after a short wait; ask those elsewhere to stop if somebody wishes."""
        stop = self.migration.stop
        if not self._futures:
            pause = min(turn.due for turn in self._away) - self.migration.clock.monotonic()
            self.migration.clock.sleep(max(min(pause, LOOK), 0.0), stop.event)
            return
        ended, waiting = wait(self._futures, LOOK, return_when=FIRST_COMPLETED)
        if not self.kind.same_process and stop.is_set():
            self._stop_others(waiting)
        yield from ended

    def _stop_others(self, waiting: set[Future[PassSummary]]) -> None:
        """Ask other processes to stop, through the one thing that they share with us: the ledger.

        Asked at every look, because an account may be about to begin. The wish ends with the pass that it reaches,
        so nothing has to be taken back, also where this process is killed.
        """
        running = [self._futures[future].account for future in waiting if not future.cancel()]
        self.migration.ask_to_stop(running)

    def _try_again(self, executor: Executor) -> None:
        """Begin again what is due; a wish to stop ends what waits."""
        waiting, self._away = self._away, []
        for turn in waiting:
            if self.migration.stop.is_set():
                self._done[turn] = self.migration.ended(turn.account, "stopped", "stopped on request", "")
            elif turn.due <= self.migration.clock.monotonic():
                self._begin(executor, turn)
            else:
                self._away.append(turn)

    def _take(self, turn: _Turn, future: Future[PassSummary]) -> None:
        """Take in how a pass ended: with a summary, or before a server that will be tried again."""
        migration = self.migration
        try:
            self._done[turn] = future.result()
        except CancelledError:
            self._done[turn] = migration.ended(turn.account, "stopped", "stopped on request", "")
        except Unreached as error:
            self._turned_away(turn, error)
        except AlimailError as error:
            self._done[turn] = migration.ended(turn.account, "failed", str(error), error.remedy)
        except Exception as bug:  # noqa: BLE001 - such as a worker process that was killed
            migration.tell_bug(turn.account, bug)
            reason = f"its worker failed: {type(bug).__name__}"
            self._done[turn] = migration.ended(turn.account, "failed", reason, "Run again.")
        else:
            if not self.kind.same_process:
                migration.tell_end(self._done[turn])

    def _turned_away(self, turn: _Turn, error: Unreached) -> None:
        now = self.migration.clock.monotonic()
        pause = turn.turned_away(now)
        others = any(not each.tries for each in self._futures.values())
        if not others and now - turn.since >= (PATIENCE if error.was_reached else LITTLE_PATIENCE):
            self._done[turn] = self.migration.ended(turn.account, "failed", str(error), error.remedy)
            return
        self._away.append(turn)
        self.migration.observe(Waiting(turn.account.source_address, pause, str(error)))


def _cannot_leave(account: AccountSpec) -> Remark | None:
    for secret in (account.source_secret, account.target_secret):
        if not secret.leaves_process:
            return prompt_remark(secret)
    return None
