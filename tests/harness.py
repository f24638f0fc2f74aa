"""Two mailboxes in memory, a ledger in memory, and passes between them: what every engine test stands on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TypeVar, cast
from unittest.mock import patch

import sqlalchemy as sa
from attrs import Factory, define, evolve

from alimail_core.contract import Sink, Source
from alimail_core.ends import Ends
from alimail_core.errors import AlimailError
from alimail_core.events import Event
from alimail_core.folders.policy import FolderPolicy
from alimail_core.ledger import Ledger, State
from alimail_core.ledger.schema import account, message
from alimail_core.messages import EVERYTHING, MessageFilter
from alimail_core.model import Batch, Folder, Moved, NotStored, Stored
from alimail_core.options import TransferOptions
from alimail_core.seam import Stop
from alimail_core.secrets import Secret
from alimail_core.spec import AccountSpec, Endpoint
from alimail_core.testing.clock import FakeClock
from alimail_core.testing.faults import Countdown, FaultingSink, FaultingSource, Killed
from alimail_core.testing.memory import FIRST_DATE, MemoryMailbox, MemorySink, MemorySource, MemoryTraits
from alimail_core.transfer import PassSummary, run_pass
from alimail_core.undo import undo_account

_T = TypeVar("_T")

IN_TURN = TransferOptions(read_ahead_octets=0)
"""Read in the consumer's own thread, so that a test repeats exactly."""


@define
class Deeds:
    """What the target has done for us, by octets, however it ended: stored (as sent), moved, and removed."""

    written: Counter[bytes] = Factory(Counter)
    late: Counter[bytes] = Factory(Counter)
    """Of ``written``: what it stored longer after its connection had ended than is waited for."""
    moved: Counter[bytes] = Factory(Counter)
    removed: Counter[bytes] = Factory(Counter)
    """By passes."""
    undone: Counter[bytes] = Factory(Counter)
    """Removed by undoing."""
    undone_late: Counter[bytes] = Factory(Counter)
    """Of ``undone``: what it removed longer after its connection had ended than is waited for."""


@define
class NoOptions:
    """An end that needs none."""


ACCOUNT = AccountSpec(
    "old@example.org",
    "new@example.org",
    Endpoint("memory", NoOptions()),
    Endpoint("memory", NoOptions()),
    "old",
    "new",
    Secret.literal("old"),
    Secret.literal("new"),
)


@define
class WorldsEnds:
    """What ``undo_account`` asks of its ``Ends``."""

    source: Callable[[], Source]
    sink: Callable[[], Sink]
    account: AccountSpec = ACCOUNT

    def check_in(self) -> None:
        """Nobody asks to stop."""


class CountingSink(MemorySink):
    """A sink that counts what it stored and removed."""

    def __init__(
        self, mailbox: MemoryMailbox, deeds: Deeds, plan: Countdown, settle_seconds: float, undoing: bool
    ) -> None:
        super().__init__(mailbox)
        self._deeds = deeds
        self._plan = plan
        self._settle_seconds = settle_seconds
        self._undoing = undoing

    def append(self, batches: Iterable[Batch]) -> Iterator[Stored | NotStored]:
        sent: dict[int, bytes] = {}

        def noted() -> Iterator[Batch]:
            for batch in batches:
                sent.update((each.id, each.octets) for each in batch)
                yield batch

        for outcome in super().append(noted()):
            if isinstance(outcome, Stored):
                self._deeds.written[sent[outcome.id]] += 1
                self._deeds.late[sent[outcome.id]] += self._too_late
            yield outcome

    @property
    def _too_late(self) -> bool:
        return self._plan.finishing and self._plan.late_seconds > self._settle_seconds

    def move(self, folder: Folder, keys: Sequence[str], to: Folder) -> Iterator[Moved]:
        here = self.mailbox.folder(folder.path)
        octets = {key: found.octets for key in keys if (found := here.find(key))}
        for answer in super().move(folder, keys, to):
            self._deeds.moved[octets[answer.key]] += 1
            yield answer

    def remove(self, folder: Folder, keys: Sequence[str]) -> Iterator[str]:
        here = self.mailbox.folder(folder.path)
        octets = {key: found.octets for key in keys if (found := here.find(key))}
        for key in super().remove(folder, keys):
            if self._undoing:
                self._deeds.undone[octets[key]] += 1
                self._deeds.undone_late[octets[key]] += self._too_late
            else:
                self._deeds.removed[octets[key]] += 1
            yield key


class World:
    """A source, a target, and a ledger whose unsynced tail is lost when ``crash`` is called."""

    def __init__(
        self,
        *,
        source: MemoryTraits | None = None,
        target: MemoryTraits | None = None,
        options: TransferOptions = IN_TURN,
        policy: FolderPolicy | None = None,
    ) -> None:
        self.source = MemoryMailbox(source or MemoryTraits())
        self.target = MemoryMailbox(target or MemoryTraits(), first_date=FIRST_DATE + timedelta(days=365))
        self.options = options
        self.policy = policy or FolderPolicy()
        self.messages: MessageFilter = EVERYTHING
        self.clock = FakeClock()
        self.stop = Stop()
        self.events: list[Event] = []
        self.plan = Countdown(at=0)
        self.deeds = Deeds()
        self.durable = b""
        self._open(None)

    def _open(self, snapshot: bytes | None) -> None:
        self.ledger = Ledger.in_memory("test", self.clock, snapshot)
        self.account_id = self.ledger.account("old@example.org", "new@example.org")
        self.ledger.on_sync = self._synced
        self._synced()

    def _synced(self) -> None:
        self.durable = self.ledger.snapshot()
        if self.plan.at and self.plan.kind.kills:
            self.plan.step("ledger sync")

    def run_faulty(self, plan: Countdown, *, power: bool = True) -> PassSummary | None:
        """Make one pass with a fault in it.

        Where it kills the process, what was not on the disk is lost (``power``), or only the process is.
        """
        return self._struck(plan, self.run, power)

    def undo(self, plan: Countdown, folder: str = "", *, dry_run: bool = False, power: bool = True) -> None:
        """Take back what passes have written, or try; whatever becomes of it, passes may follow."""

        def undone() -> None:
            ends = WorldsEnds(self._open_source, lambda: self._open_sink(undoing=True))
            with suppress(AlimailError):
                undo_account(cast(Ends, ends), self.ledger, self.account_id, folder, dry_run=dry_run)

        self._struck(plan, undone, power)
        self.ledger.enable([self.account_id])
        self._synced()

    def _struck(self, plan: Countdown, act: Callable[[], _T], power: bool) -> _T | None:
        self.plan = plan
        plan.clock = self.clock
        try:
            return act()
        except Killed:
            self.plan = Countdown(at=0)
            if power:
                self.crash()
            else:
                self._bury()
            return None
        finally:
            self.plan = Countdown(at=0)

    def crash(self) -> None:
        """Lose everything that was not on the disk, and start a new process after a new boot."""
        self.ledger.close()
        self._open(self.durable)
        self._bury()

    def _bury(self) -> None:
        """Let the lease of the pass that was killed be a dead process's."""
        with self.ledger.engine.begin() as connection:
            connection.execute(account.update().values(owner='{"boot": "earlier", "pid": 1, "start": "1"}'))

    def lose_ledger(self) -> None:
        """Throw the ledger away."""
        self.ledger.close()
        self._open(None)

    def run(
        self,
        *,
        sink: type[MemorySink] = MemorySink,
        observe: Callable[[Event], None] | None = None,
        refill: bool = False,
        retry: bool = False,
        trial: int | None = None,
        **changed: object,
    ) -> PassSummary:
        """Make one pass; ``changed`` are transfer options for it alone."""
        return run_pass(
            account="old@example.org",
            ledger=self.ledger,
            account_id=self.account_id,
            open_source=self._open_source,
            open_sink=lambda: self._open_sink(sink),
            options=evolve(self.options, **changed) if changed else self.options,  # type: ignore[arg-type]
            policy=self.policy,
            messages=self.messages,
            observe=observe or self.events.append,
            clock=self.clock,
            stop=self.stop,
            refill=refill,
            retry=retry,
            trial=trial,
            endpoints=("memory old", "memory new"),
        )

    def _open_source(self) -> Source:
        side = MemorySource(self.source)
        return FaultingSource(side, self.plan) if self.plan.at else side

    def _open_sink(self, sink: type[MemorySink] = MemorySink, *, undoing: bool = False) -> Sink:
        side = sink(self.target)
        if type(side) is MemorySink:
            side = CountingSink(self.target, self.deeds, self.plan, self.options.settle_seconds, undoing)
        return FaultingSink(side, self.plan) if self.plan.at else side

    def run_looking(self) -> PassSummary:
        """Make one pass that looks at every folder of the target, as it does where something is to be written."""
        with patch("alimail_core.transfer.run.targets_with_news", lambda p, _: list(p.targets.values())):
            return self.run()

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
