"""APPEND over several connections.

Without LITERAL+ a message costs one round trip however cleverly its connection is used (``append.Pipelined``), and
connections side by side share that wait. With it one connection keeps one processor of the server busy, or waits for
its disk; a second and a third one help. Each connection is a *lane*: a thread that takes one command's messages after
another from what all of them share and sends them by ``append.Run``, which answers for what it took. So a lane that
dies leaves only its own few messages in doubt, and the others go on.

How many lanes there are is found out: a few to begin with, twice as many while that pays, and never more again than
the server bore when it refused or dropped one.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from queue import SimpleQueue
from typing import TypeAlias

from attrs import define, field, frozen

from alimail_core import (
    BATCH_MESSAGES,
    BATCH_OCTETS,
    AlimailError,
    Batch,
    Delivery,
    FolderPath,
    NotStored,
    Transient,
)
from alimail_imap.append import AppendStrategy, Link, Multi, Outcome, Pipelined
from alimail_imap.connection import Connection

FIRST = 4
"""Lanes to begin with, where there is work for them, at a server of which nothing is known."""
AT_ONCE = 4
"""Lanes to a server whose literals do not wait: one keeps one of its processors busy or waits for its disk, and more
than these bring nothing."""
ROUNDS = 8
"""How many messages cost a lane about as much time as its login."""
ROUND_OCTETS = 1024 * 1024
FIRST_ROUNDS = 2
"""The first measurement has none before it to be held against: it only sees that the server bears so many."""
GAIN = 1.15
"""Twice as many lanes must bring at least this much more, else there are enough."""
PATIENCE = 3
"""After so many measurements without gain nothing is added any more."""
MAX_OWED = 4 * BATCH_MESSAGES
"""No further batch is taken while so many messages have no outcome, or one that was not heard yet: lanes may be
faster than we take it in."""
_COST = 16 * 1024
"""What a message costs beside its octets, as octets: its round trip."""


@define
class Pace:
    """How many lanes there shall be. Remembers over all calls of ``append`` of one sink what the server bore."""

    clock: Callable[[], float] = time.monotonic
    wanted: int = FIRST
    bears: int | None = None
    """``None``: it never refused one."""
    _best: float = 0.0
    _idle: int = 0
    _lanes: int = 0
    _begun: float = 0.0
    _messages: int = 0
    _work: int = 0

    def note(self, lanes: int, octets: int) -> None:
        """Take in that a message was answered while so many lanes were open."""
        if lanes != self._lanes:
            self._begin(lanes)
        self._messages += 1
        self._work += octets + _COST
        if self._messages >= lanes * (ROUNDS if self._best else FIRST_ROUNDS):
            self._judge(self._work / max(self.clock() - self._begun, 1e-6))
            self._begin(lanes)

    def refused(self, lanes: int) -> None:
        """Take in that the server refused or dropped a lane, and that so many are left."""
        self.bears = max(1, lanes)

    def _begin(self, lanes: int) -> None:
        self._lanes, self._begun, self._messages, self._work = lanes, self.clock(), 0, 0

    def _judge(self, rate: float) -> None:
        if self._lanes < self.wanted or self._idle >= PATIENCE:
            return
        if rate > self._best * GAIN:
            self._best, self._idle = rate, 0
            self.wanted = 2 * self._lanes
        else:
            self._idle += 1


@define
class Spread:
    """Send in one ``way`` over as many connections as pay. The order of messages is not kept."""

    way: Pipelined | Multi = field(factory=Pipelined)
    pace: Pace = field(factory=Pace)
    rounds: int = ROUNDS
    """A lane more is worth its login where so many messages wait for each, or ``ROUND_OCTETS``."""
    ahead: int = ROUNDS
    """How many commands wait for each lane, so that none is ever idle."""
    owed: int = 2 * BATCH_OCTETS
    """No further batch is taken while more octets than this have no outcome."""

    def append(self, link: Link, batches: Iterable[Batch]) -> Iterator[Outcome]:
        """See ``AppendStrategy``."""
        return _Spreading(link, self).outcomes(batches)


def choose(connection: Connection, first: int = FIRST) -> AppendStrategy:
    """Pick the strategy that suits a server's capabilities; ``first``: with how many lanes to begin."""
    if not connection.offers("LITERAL+"):
        return Spread(pace=Pace(wanted=first))
    few = Pace(wanted=AT_ONCE, bears=AT_ONCE)
    # A batch for each lane, and one that waits: a lane would else be idle until the next intent is on the disk.
    owed = AT_ONCE * BATCH_OCTETS
    if not connection.offers("MULTIAPPEND"):
        return Spread(pace=few, owed=owed)
    return Spread(Multi(), few, rounds=BATCH_MESSAGES // 4, ahead=1, owed=owed)


class _Waiting:
    """Commands' messages that wait for a lane, in their order within each folder. To be used under a lock.

    Servers lock a folder while they store into it, so next is the one that the fewest messages are on their way to.
    """

    def __init__(self) -> None:
        self._groups: dict[FolderPath, deque[list[Delivery]]] = {}
        self._flying: Counter[FolderPath] = Counter()

    def __len__(self) -> int:
        return sum(map(len, self._groups.values()))

    def __iter__(self) -> Iterator[Delivery]:
        return (one for groups in self._groups.values() for group in groups for one in group)

    def put(self, group: list[Delivery]) -> None:
        """Let a group wait."""
        self._groups.setdefault(group[0].folder.path, deque()).append(group)

    def put_back(self, delivery: Delivery) -> None:
        """Let one that was taken, and certainly not stored, wait again, before the others of its folder."""
        self._groups.setdefault(delivery.folder.path, deque()).appendleft([delivery])

    def take(self) -> list[Delivery]:
        """Take the next group; each of it counts as on its way until it is told to ``land``."""
        path = min(self._groups, key=self._flying.__getitem__)
        group = self._groups[path].popleft()
        if not self._groups[path]:
            del self._groups[path]
        self._flying[path] += len(group)
        return group

    def land(self, delivery: Delivery) -> None:
        """Note that one is no longer on its way."""
        self._flying[delivery.folder.path] -= 1

    def clear(self) -> None:
        """Let nothing wait any more."""
        self._groups.clear()


@frozen
class _Ended:
    """A lane has ended by itself, because of an error."""

    error: AlimailError
    main: bool
    broken: bool
    """Its connection is gone, or was never had; False: the server said that the account cannot go on."""


_Told: TypeAlias = "Outcome | _Ended | BaseException | None"
"""``None``: a lane has taken what was waiting, and there may be room for more."""


class _Spreading:
    """One call of ``append``. ``outcomes`` runs in the caller's thread, ``_lane`` in one thread for each lane."""

    def __init__(self, link: Link, spread: Spread) -> None:
        self._link = link
        self._spread = spread
        self._pace = spread.pace
        self._plan = spread.way.run(link).plan
        self._told: SimpleQueue[_Told] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._owed: dict[int, int] = {}
        """The octets of each delivery that was taken and not yet answered. Only the caller's thread touches it."""
        self._owed_octets = 0
        """All of them together."""
        self._stop: AlimailError | None = None
        self._lost: AlimailError | None = None
        """Why the main connection is gone."""
        self._changed = threading.Condition()
        # Under the condition's lock:
        self._waiting = _Waiting()
        self._alive = 0
        self._closing = False
        self._connecting: set[threading.Thread] = set()
        """Lanes that have no connection yet."""
        self._bore: int | None = None
        """How many had one when nobody listened any more."""

    # In the caller's thread

    def outcomes(self, batches: Iterable[Batch]) -> Iterator[Outcome]:
        """Give exactly one outcome for each delivery taken, then raise where the account cannot go on."""
        source = iter(batches)
        more = True
        try:
            self._open_lane(main=True)
            while True:
                while more and self._wants_more():
                    more = self._take(source)
                self._grow()
                if not self._owed:
                    if not more or self._stopped():
                        break
                    continue
                outcome = self._hear()
                if outcome is not None:
                    yield outcome
        finally:
            self._close()
        while not self._told.empty():
            self._hear()
        # While others worked the main connection may have died unnoticed; whoever uses it next will notice.
        if (error := self._stop or self._lost) is not None:
            raise error

    def _stopped(self) -> bool:
        return self._stop is not None or self._lost is not None

    def _wants_more(self) -> bool:
        """Tell whether lanes will soon want for work. Nothing is taken any more once the main connection is gone."""
        if self._stopped() or len(self._owed) >= MAX_OWED or self._owed_octets > self._spread.owed:
            return False
        with self._changed:
            return len(self._waiting) < max(self._spread.ahead * self._alive, 1)

    def _take(self, source: Iterator[Batch]) -> bool:
        """Take the next batch, which is the permission to send it; what goes wrong there ends the run."""
        try:
            batch = next(source, None)
        except AlimailError as error:
            self._stop = error
            return False
        if batch is None:
            return False
        self._owed |= {delivery.id: len(delivery.octets) for delivery in batch}
        self._owed_octets += sum(len(delivery.octets) for delivery in batch)
        groups = list(self._plan(batch))
        with self._changed:
            for group in groups:
                self._waiting.put(group)
            self._changed.notify_all()
        return True

    def _grow(self) -> None:
        """Open lanes where each has enough to do."""
        wanted = min(self._pace.wanted, self._pace.bears or self._pace.wanted)
        if self._alive >= wanted:
            return
        most = min(wanted, self._link.most_connections())
        while self._alive < most and self._work_for(self._alive + 1) and not self._stopped():
            self._open_lane()

    def _work_for(self, lanes: int) -> bool:
        with self._changed:
            waiting = [len(one.octets) for one in self._waiting]
        return len(waiting) > self._spread.rounds * lanes or sum(waiting) > ROUND_OCTETS * lanes

    def _open_lane(self, *, main: bool = False) -> None:
        with self._changed:
            self._alive += 1
        thread = threading.Thread(target=self._lane, args=[main], name="append", daemon=True)
        self._threads.append(thread)
        if not main:
            with self._changed:
                self._connecting.add(thread)
        thread.start()

    def _hear(self) -> Outcome | None:
        """Wait for what a lane has to tell."""
        told = self._told.get()
        if told is None:
            return None
        if isinstance(told, _Ended):
            self._note_end(told)
            return None
        if isinstance(told, BaseException):
            raise told
        octets = self._owed.pop(told.id)
        self._owed_octets -= octets
        self._pace.note(self._alive, octets)
        return told

    def _note_end(self, ended: _Ended) -> None:
        if not ended.broken:
            self._stop = self._stop or ended.error
        elif ended.main:
            self._lost = ended.error
        else:
            self._pace.refused(self._alive)
        if self._stop is not None or not self._alive:
            self._give_up(ended.error)

    def _give_up(self, error: AlimailError) -> None:
        """Answer for what no lane will send any more."""
        unsent = Transient(f"the account stopped before this message was sent: {error.message}")
        with self._changed:
            for delivery in self._waiting:
                self._told.put(NotStored(delivery.id, unsent))
            self._waiting.clear()

    def _close(self) -> None:
        """End the lanes. One that still logs in has nothing to answer for: when all is well nobody waits for it.

        It ends by itself. Where something is wrong the account is opened anew soon, and that may need its connection.
        """
        with self._changed:
            self._closing = True
            self._changed.notify_all()
            left = set() if self._stopped() else set(self._connecting)
            self._bore = self._alive - len(left)
        for thread in self._threads:
            if thread not in left:
                thread.join()

    # In a lane's thread

    def _lane(self, main: bool) -> None:
        try:
            connection = self._link.connection if main else self._connect()
            try:
                self._work(connection, main)
            finally:
                if not main:
                    connection.close()
        except AlimailError as error:  # There was no connection to be had.
            self._leave(_Ended(error, main, broken=True))
            if self._bore is not None:
                self._pace.refused(self._bore)
        except BaseException as bug:  # noqa: BLE001  (raised in the caller's thread)
            self._leave(bug)

    def _connect(self) -> Connection:
        try:
            return self._link.another()
        finally:
            with self._changed:
                self._connecting.discard(threading.current_thread())

    def _leave(self, told: _Told) -> None:
        with self._changed:
            self._alive -= 1
        self._told.put(told)

    def _work(self, connection: Connection, main: bool) -> None:
        """Send what waits, as long as there is any to come."""
        while self._await_work(main):
            taken: dict[int, Delivery] = {}
            run = self._spread.way.run(self._link, connection)
            try:
                for outcome in run.outcomes(self._feed(taken, main)):
                    delivery = taken.pop(outcome.id)
                    with self._changed:
                        self._waiting.land(delivery)
                    if connection.wire.broken and _is_unsent(outcome):
                        self._hand_back(delivery)
                    else:
                        self._told.put(outcome)
                    del delivery  # its octets would stay as long as this lane has nothing to do
            except AlimailError as error:
                self._leave(_Ended(error, main, connection.wire.broken))
                return

    def _await_work(self, main: bool) -> bool:
        """Wait for work; return False where there is none to come, or none for this lane."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing or self._is_surplus(main))
            surplus = self._is_surplus(main)
            self._alive -= surplus
            return not self._closing and not surplus

    def _is_surplus(self, main: bool) -> bool:
        """Tell whether other mailboxes need the connection of a lane more."""
        return not main and self._alive > self._link.most_connections()

    def _feed(self, taken: dict[int, Delivery], main: bool) -> Iterator[Batch]:
        """Give one command's messages after another; none when nothing waits: what was sent is heard to its end."""
        while True:
            with self._changed:
                if self._closing or not self._waiting or self._is_surplus(main):
                    return
                group = self._waiting.take()
            self._told.put(None)
            taken |= {delivery.id: delivery for delivery in group}
            yield group
            del group

    def _hand_back(self, delivery: Delivery) -> None:
        """Leave to other lanes what certainly was not stored, as its octets were never sent."""
        with self._changed:
            self._waiting.put_back(delivery)
            self._changed.notify_all()


def _is_unsent(outcome: Outcome) -> bool:
    return isinstance(outcome, NotStored) and isinstance(outcome.error, Transient)
