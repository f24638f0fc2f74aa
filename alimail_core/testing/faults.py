"""Faults at a countdown: the n-th operation fails, or the process dies there, until a run ends unharmed.

The loop of a crash test::

    for plan in countdowns(FaultKind.AFTER):
        source, sink = FaultingSource(open_source(), plan), FaultingSink(open_sink(), plan)
        ...run, run again without faults, compare the multisets of both sides...

One plan may count the operations of several sides, and ``plan.step("ledger commit")`` those of anything else.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import chain, count, islice
from typing import Never

from attrs import define, field

from alimail_core.contract import Sink, Source
from alimail_core.errors import AlimailError, InDoubt, Remark, Throttled, Transient
from alimail_core.model import (
    Batch,
    Changes,
    Cursor,
    Delivery,
    Entry,
    FlagChange,
    Folder,
    FolderPath,
    Gone,
    Headers,
    LeftBehind,
    Message,
    Moved,
    NotStored,
    Quota,
    SinkTraits,
    SpecialUse,
    Stored,
    Traits,
    Unreadable,
    Unusable,
)
from alimail_core.testing.clock import FakeClock


class Killed(BaseException):
    """The process died at this instant. Nothing catches it, and every later step of the plan raises it anew."""


class FaultKind(enum.Enum):
    """What happens at the operation. Reading has no effect, so there all but ``KILLED_*`` are ``BEFORE``."""

    BEFORE = "the connection is lost before the server acts"
    AFTER = "the server acts, and the connection is lost before its reply"
    LATE = "the connection is lost, and the server acts later (Countdown.finish_late)"
    HALF = "the server does the first half, and answers NO"
    TORN = "the server does the first half, and the connection is lost"
    THROTTLED = "the server asks for a slower pace before it acts"
    KILLED_BEFORE = "the process dies before the server acts"
    KILLED_AFTER = "the server acts, and the process dies before its reply"
    KILLED_LATE = "the process dies, and the server acts later (Countdown.finish_late)"
    MEDDLED = "Countdown.meddle is called, as if by another writer, and all goes on"

    @property
    def kills(self) -> bool:
        """Tell whether the process dies."""
        return self in _KILLS

    @property
    def acts(self) -> bool:
        """Tell whether the server does, or will do, at least a part."""
        return self in _ACTS


_KILLS = {FaultKind.KILLED_BEFORE, FaultKind.KILLED_AFTER, FaultKind.KILLED_LATE}
_WHOLE = {FaultKind.AFTER, FaultKind.KILLED_AFTER}
_HALF = {FaultKind.HALF, FaultKind.TORN}
_LATE = {FaultKind.LATE, FaultKind.KILLED_LATE}
_ACTS = _WHOLE | _HALF | _LATE


@define
class Countdown:
    """A plan: at the ``at``-th operation, ``kind`` happens, once.

    ``taken_ahead``: how many batches a sink has taken, the struck one included, when the fault strikes it.
    With a ``clock``, late effects come by themselves after ``late_seconds`` of its time.
    """

    at: int
    kind: FaultKind = FaultKind.BEFORE
    taken_ahead: int = 1
    clock: FakeClock | None = None
    late_seconds: float = 10.0
    meddle: Callable[[], None] | None = None
    only: str | None = None
    """Count just the operations of this name."""
    operations: list[str] = field(factory=list, init=False)
    """The names of all operations so far."""
    dead: bool = field(default=False, init=False)
    finishing: bool = field(default=False, init=False)
    """The server does just now what it still had to do."""
    _late: list[Callable[[], None]] = field(factory=list, init=False)

    @property
    def fired(self) -> bool:
        """Tell whether the fault has happened."""
        return len(self.operations) >= self.at

    @property
    def struck(self) -> str | None:
        """Return the name of the operation that was struck, ``None`` as long as none was."""
        return self.operations[self.at - 1] if self.fired else None

    def next(self, operation: str) -> FaultKind | None:
        """Count an operation, and return what shall happen to it. Raises ``Killed`` in a dead process."""
        if self.dead:
            raise Killed(f"{operation} after the process died")
        if self.only not in (None, operation):
            return None
        self.operations.append(operation)
        if len(self.operations) != self.at:
            return None
        if self.kind is FaultKind.MEDDLED and self.meddle is not None:
            self.meddle()
        return None if self.kind is FaultKind.MEDDLED else self.kind

    def step(self, operation: str) -> None:
        """Count an operation that has no effect beyond this process; raise what shall happen to it."""
        kind = self.next(operation)
        if kind is not None:
            self.fail(kind, operation)

    def fail(self, kind: FaultKind, operation: str) -> Never:
        """Raise what the caller of a struck operation sees."""
        if kind.kills:
            self.dead = True
            raise Killed(operation)
        if kind is FaultKind.THROTTLED:
            raise Throttled(f"{operation}: slow down", retry_after=self.late_seconds)
        raise Transient(f"{operation}: connection lost")

    def defer(self, effect: Callable[[], None]) -> None:
        """Keep an effect for later."""
        self._late.append(effect)
        if self.clock is not None:
            self.clock.later(self.late_seconds, self.finish_late)

    def finish_late(self) -> int:
        """Let the server do now what it still had to do, and return how many effects that were."""
        late, self._late = self._late, []
        self.finishing = True
        for effect in late:
            effect()
        self.finishing = False
        return len(late)


def countdowns(
    kind: FaultKind, *, taken_ahead: int = 1, clock: Callable[[], FakeClock] | None = None
) -> Iterator[Countdown]:
    """Give a plan for the first operation, the second, and so on, until one was left unfired: the last."""
    for at in count(1):
        plan = Countdown(at, kind, taken_ahead, clock() if clock else None)
        yield plan
        if not plan.fired:
            return


class FaultingSource(Source):
    """A source around a source. Every call counts as one operation, and every page and answer of a stream.

    Once its connection is lost each further call raises ``Transient``.
    """

    def __init__(self, source: Source, plan: Countdown) -> None:
        self.source = source
        self.plan = plan
        self._lost = False

    @property
    def traits(self) -> Traits:
        """Tell what the wrapped source is like."""
        return self.source.traits

    def folders(self) -> Iterable[Folder]:
        """List folders, or fail."""
        self._read("folders")
        return self.source.folders()

    def changes(self, requests: Iterable[tuple[Folder, Cursor | None]]) -> Iterator[Changes | Unusable]:
        """Tell changes, or fail before any of the pages."""
        for page in self.source.changes(requests):
            self._read("changes")
            yield page

    def headers(self, folder: Folder, entries: Sequence[Entry]) -> Iterator[Headers]:
        """Give headers, or fail before any of them."""
        for answer in self.source.headers(folder, entries):
            self._read("headers")
            yield answer

    def fetch(
        self, requests: Iterable[tuple[Folder, Sequence[Entry]]]
    ) -> Iterator[Message | Gone | Unreadable]:
        """Give messages, or fail before any of them."""
        for answer in self.source.fetch(requests):
            self._read("fetch")
            yield answer

    def look(self, folder: Folder, keys: Sequence[str]) -> Iterator[Entry]:
        """List keys, or fail."""
        self._read("look")
        yield from self.source.look(folder, keys)

    def remarks(self) -> Iterable[Remark]:
        """Tell the wrapped source's remarks; never fails."""
        return self.source.remarks()

    def left_behind(self) -> Iterable[LeftBehind]:
        """Name what the wrapped source names."""
        return self.source.left_behind()

    def close(self) -> None:
        """Close the wrapped source."""
        self.source.close()

    def _read(self, operation: str) -> None:
        kind = self._next(operation)
        if kind is not None:
            self._fail(kind, operation)

    def _next(self, operation: str) -> FaultKind | None:
        if self._lost and not self.plan.dead:
            raise Transient(f"{operation}: the connection is lost already")
        return self.plan.next(operation)

    def _fail(self, kind: FaultKind, operation: str) -> Never:
        self._lost = True
        self.plan.fail(kind, operation)


class FaultingSink(FaultingSource, Sink):
    """A sink around a sink. In ``append`` every batch counts as one operation.

    A struck batch is answered as the contract says: ``NotStored(Transient)`` where the server did not act,
    ``NotStored(InDoubt)`` otherwise; then the connection is lost, except after a NO (``HALF``).
    """

    def __init__(self, sink: Sink, plan: Countdown) -> None:
        super().__init__(sink, plan)
        self.sink = sink
        self._unfinished = 0
        self._closed = False

    @property
    def traits(self) -> SinkTraits:
        """Tell what the wrapped sink is like and can do."""
        return self.sink.traits

    def quota(self) -> Quota | None:
        """Tell the quota, or fail."""
        self._read("quota")
        return self.sink.quota()

    def create(self, wanted: Sequence[tuple[FolderPath, SpecialUse | None]]) -> Iterator[Folder | Unusable]:
        """Make folders, or fail."""
        kind = self._next("create")
        if kind is not None:
            self._strike(kind, "create", len(wanted), lambda n: _exhaust(self.sink.create(wanted[:n])))
        yield from self.sink.create(wanted)

    def append(self, batches: Iterable[Batch]) -> Iterator[Stored | NotStored]:
        """Store batches up to the one that is struck; answer that one as its fault demands."""
        coming = iter(batches)
        struck: list[tuple[FaultKind, Batch]] = []

        def unharmed() -> Iterator[Batch]:
            for batch in coming:
                kind = self._next("append")
                if kind is not None:
                    struck.append((kind, batch))
                    return
                yield batch

        yield from self.sink.append(unharmed())
        if struck:
            kind, batch = struck[0]
            ahead = islice(coming, self.plan.taken_ahead - 1)
            yield from self._strike_append(kind, [*batch, *chain.from_iterable(ahead)])
            yield from self.append(coming)

    def change_flags(self, folder: Folder, changes: Sequence[FlagChange]) -> None:
        """Change flags, or fail."""
        kind = self._next("change_flags")
        if kind is not None:
            size = len(changes)
            self._strike(kind, "change_flags", size, lambda n: self.sink.change_flags(folder, changes[:n]))
        self.sink.change_flags(folder, changes)

    def move(self, folder: Folder, keys: Sequence[str], to: Folder) -> Iterator[Moved]:
        """Move messages, or fail."""
        kind = self._next("move")
        if kind is not None:
            self._strike(kind, "move", len(keys), lambda n: _exhaust(self.sink.move(folder, keys[:n], to)))
        yield from self.sink.move(folder, keys, to)

    def remove(self, folder: Folder, keys: Sequence[str]) -> Iterator[str]:
        """Remove messages, or fail."""
        kind = self._next("remove")
        if kind is not None:
            self._strike(kind, "remove", len(keys), lambda n: _exhaust(self.sink.remove(folder, keys[:n])))
        yield from self.sink.remove(folder, keys)

    def close(self) -> None:
        """Close the wrapped sink, once the server has finished what it does late."""
        self._closed = True
        if not self._unfinished:
            self.sink.close()

    def _strike(self, kind: FaultKind, operation: str, size: int, effect: Callable[[int], None]) -> Never:
        """Let as much happen as the kind says, and raise."""
        self._act(kind, size, effect)
        self._lost = True
        if kind.acts and not kind.kills and operation == "move":
            raise InDoubt(f"{operation}: connection lost", over=kind is FaultKind.HALF)
        self.plan.fail(kind, operation)

    def _strike_append(self, kind: FaultKind, taken: Sequence[Delivery]) -> Iterator[NotStored]:
        self._act(kind, len(taken), lambda n: _exhaust(self.sink.append([taken[:n]])))
        if kind.kills:
            self._fail(kind, "append")
        over = kind is FaultKind.HALF
        for delivery in taken:
            yield NotStored(delivery.id, InDoubt("NO, or no answer", over=over) if kind.acts else _not_sent())
        if not over:
            self._fail(kind, "append")

    def _act(self, kind: FaultKind, size: int, effect: Callable[[int], None]) -> None:
        if kind in _WHOLE:
            effect(size)
        elif kind in _HALF:
            effect((size + 1) // 2)
        elif kind in _LATE:
            self._unfinished += 1
            self.plan.defer(lambda: self._finish(size, effect))

    def _finish(self, size: int, effect: Callable[[int], None]) -> None:
        effect(size)
        self._unfinished -= 1
        if self._closed:
            self.close()


def _not_sent() -> Transient:
    return Transient("not sent: connection lost")


def _exhaust(stream: Iterable[object]) -> None:
    """Have the server do it all. What it answers never arrives, its NO as well."""
    with suppress(AlimailError):
        deque(stream, maxlen=0)
