"""Keep passing until told to stop: every account again and again, each at its own time.

An account is due again so many seconds after its last pass has ended, so one that takes long or whose server is down
holds up no other, but for the worker that it has. A pass that failed doubles its account's pause, up to an hour; one
that gets through makes it what it was. An account that is disabled is passed over until it is enabled. The accounts
run in threads of this process, whatever ``executor`` says: what is new is little, and waiting needs no other machine.

Nothing is kept but what the ledger has anyway, so a watch that was killed is simply started again.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from attrs import define, field

from alimail_core.executors import LOOK
from alimail_core.migration import Migration
from alimail_core.spec import AccountSpec
from alimail_core.transfer import PassSummary

LONGEST = 3_600.0
"""Seconds between two passes over an account that fails, at the most; more only where that was asked for."""


@define(eq=False)
class _Turn:
    """When an account is due, and how often in a row it failed."""

    account: AccountSpec
    due: float = 0.0
    failures: int = 0

    def ended(self, summary: PassSummary, every: float, now: float) -> None:
        """Take in how a pass ended."""
        self.failures = self.failures + 1 if summary.state in ("failed", "pending") else 0
        self.due = now + max(every, min(every * 2.0 ** min(self.failures, 16), LONGEST))


@define
class Watch:
    """A watch over a migration's accounts; ``run`` returns when ``migration.stop`` is set."""

    migration: Migration
    every: float
    """Seconds between the end of an account's pass and its next one."""
    tell: Callable[[PassSummary], None]
    """Called, in the thread of ``run``, with how each pass ended."""
    _turns: list[_Turn] = field(factory=list, init=False)
    _running: dict[Future[PassSummary], _Turn] = field(factory=dict, init=False)

    def run(self) -> None:
        """Make passes until somebody asks to stop, and those under way have ended. Raises ``LedgerError``."""
        migration = self.migration
        self._turns = [_Turn(account) for account in migration.spec.accounts]
        with ThreadPoolExecutor(max(migration.spec.workers, 1), thread_name_prefix="alimail") as pool:
            try:
                while not migration.stop.is_set():
                    self._begin(pool)
                    self._wait()
            finally:
                migration.stop.event.set()
        self._collect()

    def _begin(self, pool: ThreadPoolExecutor) -> None:
        """Begin what is due, as far as workers are free: who is due longest goes first."""
        now, busy = self.migration.clock.monotonic(), list(self._running.values())
        ready = (turn for turn in self._turns if turn.due <= now and turn not in busy)
        for turn in sorted(ready, key=lambda turn: turn.due):
            if len(self._running) >= max(self.migration.spec.workers, 1):
                return
            if self.migration.is_enabled(turn.account):
                self._running[pool.submit(self.migration.run_account, turn.account)] = turn
            else:
                turn.due = now + self.every

    def _wait(self) -> None:
        """Wait until a pass ends, or the next is due; not for long, so that a wish to stop is seen."""
        if self._running:
            wait(self._running, LOOK, return_when=FIRST_COMPLETED)
            self._collect()
            return
        clock = self.migration.clock
        pause = min((turn.due for turn in self._turns), default=self.every) - clock.monotonic()
        if pause > 0:
            clock.sleep(pause, self.migration.stop.event)

    def _collect(self) -> None:
        for future in [each for each in self._running if each.done()]:
            turn, summary = self._running.pop(future), future.result()
            turn.ended(summary, self.every, self.migration.clock.monotonic())
            self.tell(summary)
