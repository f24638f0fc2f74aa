"""Keep passing until told to stop: every account again and again, each at its own time.

An account is due again so many seconds after its last pass has ended, so one that takes long or whose server is down
holds up no other, but for the worker that it has. A pass that failed doubles its account's pause, up to an hour; one
that gets through makes it what it was. An account that is disabled is passed over until it is enabled. The accounts
run in threads of this process, whatever ``executor`` says: what is new is little, and waiting needs no other machine.

Between two passes an account whose server tells of new mail is listened to, over one connection, as far as
connections are to spare; what comes into its inbox makes it due at once. News that bring nothing make the next news
wait longer, up to the ordinary pause.

Nothing is kept but what the ledger has anyway, so a watch that was killed is simply started again.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import Any

from attrs import define, field

from alimail_core.executors import LOOK
from alimail_core.listening import Heard
from alimail_core.migration import Migration
from alimail_core.spec import AccountSpec
from alimail_core.transfer import PassSummary

LONGEST = 3_600.0
"""Seconds between two passes over an account that fails, at the most; more only where that was asked for."""

SOON = 1.0
"""Seconds between a pass and the next one that news bring about, so that mail that comes in one go makes one pass."""

LISTENERS = 200
"""Accounts that are listened to at once, at the most: each has a thread and a connection. The others are asked."""


@define(eq=False)
class _Turn:
    """When an account is due, and how its passes went."""

    account: AccountSpec
    due: float = 0.0
    failures: int = 0
    """How many passes in a row failed."""
    ended_at: float = 0.0
    may_listen: bool = False
    """Nobody has listened yet since the last pass."""
    is_deaf: bool = False
    """Its server does not tell of new mail."""
    heard: bool = False
    """It is due because of news."""
    vain: int = 0
    """How many news in a row brought nothing."""

    def ended(self, summary: PassSummary, every: float, now: float) -> None:
        """Take in how a pass ended."""
        self.failures = self.failures + 1 if summary.state in ("failed", "pending") else 0
        self.ended_at = now
        self.due = now + max(every, min(every * 2.0 ** min(self.failures, 16), LONGEST))
        brought = summary.copied or summary.adopted
        self.vain = 0 if brought else self.vain + self.heard
        idle = self.failures or self.is_deaf or summary.state == "disabled"
        self.heard, self.may_listen = False, not idle

    def listened(self, heard: Heard) -> None:
        """Take in how listening ended; news make the account due."""
        self.is_deaf = heard is Heard.NEVER
        if heard is Heard.NEWS:
            self.heard = True
            self.due = min(self.due, self.ended_at + SOON * 2.0 ** min(self.vain, 16))


@define
class Watch:
    """A watch over a migration's accounts; ``run`` returns when ``migration.stop`` is set."""

    migration: Migration
    every: float
    """Seconds between the end of an account's pass and its next one."""
    tell: Callable[[PassSummary], None]
    """Called, in the thread of ``run``, with how each pass ended."""
    listens: bool = True
    """Hear of new mail where a server tells of it."""
    _turns: list[_Turn] = field(factory=list, init=False)
    _running: dict[Future[PassSummary], _Turn] = field(factory=dict, init=False)
    _listening: dict[Future[Heard], _Turn] = field(factory=dict, init=False)

    def run(self) -> None:
        """Make passes until somebody asks to stop, and those under way have ended. Raises ``LedgerError``."""
        migration = self.migration
        self._turns = [_Turn(account) for account in migration.spec.accounts]
        workers = ThreadPoolExecutor(self._workers, thread_name_prefix="alimail")
        with workers, ThreadPoolExecutor(LISTENERS, thread_name_prefix="listen") as listeners:
            try:
                while not migration.stop.is_set():
                    self._begin(workers)
                    self._listen(listeners)
                    self._wait()
            finally:
                migration.stop.event.set()
        self._collect()

    @property
    def _workers(self) -> int:
        return max(self.migration.spec.workers, 1)

    def _begin(self, pool: ThreadPoolExecutor) -> None:
        """Begin what is due, as far as workers are free: who is due longest goes first."""
        now, busy = self.migration.clock.monotonic(), {*self._running.values(), *self._listening.values()}
        ready = (turn for turn in self._turns if turn.due <= now and turn not in busy)
        for turn in sorted(ready, key=lambda turn: turn.due):
            if len(self._running) >= self._workers:
                return
            if self.migration.is_enabled(turn.account):
                self._running[pool.submit(self.migration.run_account, turn.account)] = turn
            else:
                turn.due = now + self.every

    def _listen(self, pool: ThreadPoolExecutor) -> None:
        """Begin to listen to those who are not due; once after each pass, until the next one."""
        now = self.migration.clock.monotonic()
        for turn in self._turns:
            if not self.listens or len(self._listening) >= LISTENERS:
                return
            if turn.may_listen and turn.due > now:
                turn.may_listen = False
                self._listening[pool.submit(self._hear, turn)] = turn

    def _hear(self, turn: _Turn) -> Heard:
        clock, stop = self.migration.clock, self.migration.stop
        return self.migration.listen(turn.account, lambda: stop.is_set() or clock.monotonic() >= turn.due)

    def _wait(self) -> None:
        """Wait until a pass ends, news come or the next is due; not for long, so that a wish to stop is seen."""
        clock = self.migration.clock
        if self._running or self._listening:
            under_way: list[Future[Any]] = [*self._running, *self._listening]
            wait(under_way, LOOK, return_when=FIRST_COMPLETED)
            self._collect()
            return
        pause = min((turn.due for turn in self._turns), default=self.every) - clock.monotonic()
        if pause > 0:
            clock.sleep(pause, self.migration.stop.event)

    def _collect(self) -> None:
        for future in [each for each in self._running if each.done()]:
            turn, summary = self._running.pop(future), future.result()
            turn.ended(summary, self.every, self.migration.clock.monotonic())
            self.tell(summary)
        for listened in [each for each in self._listening if each.done()]:
            self._listening.pop(listened).listened(listened.result())
