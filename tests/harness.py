"""Two mailboxes in memory, a ledger in memory, and passes between them: what every engine test stands on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import sqlalchemy as sa
from attrs import evolve

from alimail_core.contract import Sink, Source
from alimail_core.events import Event
from alimail_core.folders import FolderPolicy
from alimail_core.ledger import Ledger, State
from alimail_core.ledger.schema import message
from alimail_core.options import TransferOptions
from alimail_core.seam import Clock, Stop
from alimail_core.testing.memory import MemoryMailbox, MemorySink, MemorySource, MemoryTraits
from alimail_core.transfer import PassSummary, run_pass

IN_TURN = TransferOptions(read_ahead_octets=0)
"""Read in the consumer's own thread, so that a test repeats exactly."""


class TestClock(Clock):
    """Time that goes on only when somebody sleeps."""

    __test__ = False

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)
        self.on_sleep: Callable[[], None] = lambda: None

    def now(self) -> datetime:
        self.time += timedelta(microseconds=1)
        return self.time

    def monotonic(self) -> float:
        return self.now().timestamp()

    def sleep(self, seconds: float, until: object = None) -> None:
        self.time += timedelta(seconds=seconds)
        self.on_sleep()

    def random(self) -> float:
        return 0.5


class World:
    """A source, a target, and a ledger whose unsynced tail is lost when ``crash`` is called."""

    def __init__(
        self,
        *,
        source: MemoryTraits = MemoryTraits(),
        target: MemoryTraits = MemoryTraits(),
        options: TransferOptions = IN_TURN,
        policy: FolderPolicy = FolderPolicy(),
    ) -> None:
        self.source = MemoryMailbox(source)
        self.target = MemoryMailbox(target)
        self.options = options
        self.policy = policy
        self.clock = TestClock()
        self.stop = Stop()
        self.events: list[Event] = []
        self.wrap_source: Callable[[MemorySource], Source] = lambda side: side
        self.wrap_sink: Callable[[MemorySink], Sink] = lambda side: side
        self.durable: bytes = b""
        self._open(None)

    def _open(self, snapshot: bytes | None) -> None:
        self.ledger = Ledger.in_memory("test", self.clock, snapshot)
        self.account_id = self.ledger.account("old@example.org", "new@example.org")
        self.ledger.on_sync = self._synced
        self._synced()

    def _synced(self) -> None:
        self.durable = self.ledger.snapshot()

    def crash(self) -> None:
        """Lose everything that was not on the disk, and start a new process."""
        self.ledger.close()
        self._open(self.durable)

    def lose_ledger(self) -> None:
        """Throw the ledger away."""
        self.ledger.close()
        self._open(None)

    def run(self, **changed: object) -> PassSummary:
        """Make one pass."""
        return run_pass(
            account="old@example.org",
            ledger=self.ledger,
            account_id=self.account_id,
            open_source=lambda: self.wrap_source(MemorySource(self.source)),
            open_sink=lambda: self.wrap_sink(MemorySink(self.target)),
            options=evolve(self.options, **changed) if changed else self.options,  # type: ignore[arg-type]
            policy=self.policy,
            observe=self.events.append,
            clock=self.clock,
            stop=self.stop,
        )

    def states(self) -> Counter[str]:
        """Count the ledger's messages by state."""
        with self.ledger.engine.connect() as connection:
            return Counter(State(row[0]).name for row in connection.execute(sa.select(message.c.state)))

    def assert_settled(self) -> None:
        """A second pass writes nothing, on either side."""
        before = self.target.snapshot()
        summary = self.run()
        assert (summary.copied, summary.adopted) == (0, 0), summary
        assert self.target.snapshot() == before
