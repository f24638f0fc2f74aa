"""Hold the connections to each server under its limit, and keep the pace that a server or the user asks for.

Every open side holds one slot of its server, which is known by ``traits.host``. Until a first side of an endpoint
has been open, nothing is known of its server, and one account at a time is let in. A server that throttles halves
what is let in at once and gets the time that it asked for; each side that then ends in peace lets one more in. Who
asked first goes first, and who was sent away asks again, so that of many accounts each gets its turn.

A server that nobody got into in this run, or for ``PATIENCE``, is tried by one account at a time, with pauses that
grow; all others are told so at once, so that a server that answers nobody costs one time-out and not one an account.

What is read is counted as it arrives, from all servers and for all accounts together, and who has read more than the
time of day allows waits before the next message.

The slots are those of one process, and so is the pace. Workers in other processes hold slots of their own: each is
given its part of pace and connections.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import TypeVar

from attrs import Factory, define

from alimail_core.contract import Sink, Source
from alimail_core.errors import (
    AlimailError,
    Denied,
    Interrupted,
    Remark,
    Throttled,
    Transient,
    Unreached,
)
from alimail_core.model import (
    Batch,
    Changes,
    Cursor,
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
from alimail_core.pace import Pace, pace_at
from alimail_core.seam import PATIENCE, Clock, Stop

_LOOK = 0.5
"""Seconds of real time after which somebody who waits for a slot looks whether to stop."""

_SLICE = 1.0
"""Seconds after which who waits for the pace looks whether another one holds now."""

_LONGEST_PAUSE = 60.0
"""Seconds at the most until a server that lets nobody in is tried again."""

_Side = TypeVar("_Side", bound=Source)


@define(eq=False)
class _Server:
    """One server, or an endpoint of which the server is not known yet. ``limit`` of ``None``: none is known."""

    limit: int | None = 1
    held: int = 0
    pace: int | None = None
    """How many are let in at once since it throttled; ``None``: it never did."""
    not_before: float = 0.0
    """By the monotonic clock."""
    reached: bool = False
    """Somebody got in, in this run and within ``PATIENCE``."""
    failures: int = 0
    """How many in a row did not get in."""
    reason: tuple[str, str] = ("", "")
    """Why not, and the remedy."""
    failing_since: float = 0.0
    next_try: float = 0.0
    trying: bool = False
    """Somebody knocks at a server that lets nobody in."""

    def let_in(self) -> None:
        """Take in that the server answers."""
        self.reached, self.failures, self.trying = True, 0, False

    def turn_away(self, error: Transient, now: float) -> Unreached:
        """Take in that somebody did not get in; return what that one is told."""
        was_reached, self.trying = self.reached, False
        self.failing_since = self.failing_since if self.failures else now
        self.failures += 1
        self.next_try = now + min(_LONGEST_PAUSE, 2.0 ** min(self.failures, 16))
        self.reason = error.message, error.remedy
        self.reached = was_reached and now - self.failing_since < PATIENCE
        return Unreached(error.message, was_reached=was_reached, remedy=error.remedy)

    @property
    def is_away(self) -> bool:
        """Tell whether the server is known to let nobody in."""
        return self.failures > 0 and not self.reached

    def knock(self, now: float) -> None:
        """Raise ``Unreached`` where the server is away, and another one knocks or has just done so."""
        if self.is_away and (self.trying or now < self.next_try):
            raise Unreached(self.reason[0], remedy=self.reason[1])

    def has_room(self, wanted: int, now: float) -> bool:
        """Tell whether so many slots may be had now; an account that is alone is always let in."""
        if self.not_before > now or (self.is_away and (self.trying or now < self.next_try)):
            return False
        limits = [limit for limit in (self.limit, self.pace) if limit is not None]
        return self.held == 0 or self.held + wanted <= min(limits, default=self.held + wanted)


@define(eq=False)
class _Waiter:
    """Somebody who waits for slots of these endpoints; they are had when ``may_go`` is set."""

    endpoints: Sequence[str]
    may_go: threading.Event = Factory(threading.Event)


class Governor:
    """The slots of all servers that one process works with. Safe to use from several threads."""

    def __init__(self, clock: Clock, stop: Stop, paces: Sequence[Pace] = ()) -> None:
        self._clock = clock
        self._stop = stop
        self._paces = paces
        self._due = 0.0
        """When all that was read may have been read, by the monotonic clock."""
        self._lock = threading.RLock()
        self._servers: defaultdict[str, _Server] = defaultdict(_Server)
        self._by_host: dict[str, _Server] = {}
        self._places = count()
        self._queue: dict[int, _Waiter] = {}
        """Who waits for room, by their places; who waits for a server's time is not among them."""

    def take(self, endpoints: Sequence[str]) -> None:
        """Wait until each of the endpoints has a slot free, and take them all at once.

        All or none: two accounts that each hold one and wait for the other's would wait for ever. Who asked first
        goes first, unless another of its servers has no room. Raises ``Interrupted`` where somebody asks to stop,
        and ``Unreached`` where a server is away.
        """
        place = next(self._places)
        while True:
            self.check_in()
            waiter = _Waiter(endpoints)
            with self._lock:
                now = self._clock.monotonic()
                servers = {self._server(name) for name in endpoints}
                for server in servers:
                    server.knock(now)
                pause = max(server.not_before for server in servers) - now
                if pause <= 0:
                    self._queue[place] = waiter
                    self._let_go()
            if pause > 0:
                self._clock.sleep(pause, self._stop.event)
            elif self._was_let_go(place, waiter):
                return

    @property
    def waiting(self) -> list[Sequence[str]]:
        """What those want who wait for room, in the order in which they asked."""
        with self._lock:
            return [self._queue[place].endpoints for place in sorted(self._queue)]

    def _was_let_go(self, place: int, waiter: _Waiter) -> bool:
        """Wait in the queue; not for long, so that it is seen what else has changed."""
        try:
            waiter.may_go.wait(_LOOK)
        finally:
            with self._lock:
                self._queue.pop(place, None)
        return waiter.may_go.is_set()

    def _let_go(self) -> None:
        """Give slots to those who wait, in the order in which they asked, as far as there is room."""
        now = self._clock.monotonic()
        for place in sorted(self._queue):
            waiter = self._queue[place]
            wanted = Counter(map(self._server, waiter.endpoints))
            if all(server.has_room(number, now) for server, number in wanted.items()):
                for server, number in wanted.items():
                    server.held += number
                    server.trying = server.is_away
                del self._queue[place]
                waiter.may_go.set()

    def take_spare(self, endpoint: str, keep: int) -> bool:
        """Take a slot of a server that bears so many more besides, or tell that it may not be had; never waits.

        None is to be had of a server that is not known yet, that is away, or that has throttled.
        """
        with self._lock:
            server = self._server(endpoint)
            full = server.limit is not None and server.held + 1 + keep > server.limit
            if full or not server.reached or server.failures or server.pace is not None:
                return False
            server.held += 1
            return True

    def check_in(self) -> None:
        """Raise ``Interrupted`` where somebody asks to stop."""
        if self._stop.is_set():
            raise Interrupted(
                "stopped on request", signal=self._stop.signal, remedy="Run the same command again."
            )

    def keep_pace(self, octets: int) -> str:
        """Wait until these octets, which were just read, may have been; say which pace holds, if one does.

        Raises ``Interrupted`` where somebody asks to stop. A pace that ends meanwhile holds nobody any longer.
        """
        pace = self._pace()
        if pace is None:
            return ""
        with self._lock:
            self._due = max(self._due, self._clock.monotonic()) + octets / pace.octets_per_second
            due = self._due
        while (left := due - self._clock.monotonic()) > 0:
            self.check_in()
            if self._pace() != pace:
                with self._lock:
                    self._due = min(self._due, self._clock.monotonic())
                break
            self._clock.sleep(min(left, _SLICE), self._stop.event)
        return str(pace)

    def _pace(self) -> Pace | None:
        return pace_at(self._paces, self._clock.now().astimezone()) if self._paces else None

    def give_back(self, endpoint: str, *, in_peace: bool = True) -> None:
        """Give one slot back. ``in_peace``: the server did not throttle meanwhile."""
        with self._lock:
            server = self._server(endpoint)
            server.held -= 1
            server.trying = False
            if server.pace is not None and in_peace:
                server.pace += 1
            self._let_go()

    def learn(self, endpoint: str, traits: Traits) -> None:
        """Take in what an open side tells of its server."""
        with self._lock:
            server = self._server(endpoint)
            limit = traits.max_connections
            known = self._by_host.setdefault(traits.host, server) if traits.host else server
            if known is not server:
                known.held += server.held
                self._servers[endpoint] = known
                limit = min((each for each in (limit, known.limit) if each is not None), default=None)
            known.limit = limit
            self._let_go()

    def slow_down(self, endpoint: str, retry_after: float | None) -> None:
        """Halve what is let in at a server at once, and let nobody in before it is ready again."""
        with self._lock:
            server = self._server(endpoint)
            server.pace = max(1, server.held // 2)
            if retry_after is not None:
                server.not_before = max(server.not_before, self._clock.monotonic() + retry_after)

    def open(self, endpoint: str, opener: Callable[[], _Side]) -> _Side:
        """Open a side in a slot that was taken; a side that does not open gives it back.

        Raises what ``opener`` raises, and ``Unreached`` instead of a bare ``Transient``.
        """
        try:
            side, traits = _open(opener)
        except Throttled as error:
            self._let_in(endpoint)
            self.slow_down(endpoint, error.retry_after)
            self.give_back(endpoint, in_peace=False)
            raise
        except Transient as error:
            with self._lock:
                unreached = self._server(endpoint).turn_away(error, self._clock.monotonic())
            self.give_back(endpoint)
            raise unreached from error
        except BaseException as error:
            if isinstance(error, Denied):
                self._let_in(endpoint)
            self.give_back(endpoint)
            raise
        self._let_in(endpoint)
        self.learn(endpoint, traits)
        return side

    def _let_in(self, endpoint: str) -> None:
        with self._lock:
            self._server(endpoint).let_in()

    def _server(self, endpoint: str) -> _Server:
        return self._servers[endpoint]


def _open(opener: Callable[[], _Side]) -> tuple[_Side, Traits]:
    """Open a side and let it tell what it is like, for which it may ask its server; one that cannot is closed."""
    side = opener()
    try:
        return side, side.traits
    except BaseException:
        side.close()
        raise


class GovernedSource(Source):
    """A source around a source: holds a slot until it is closed, and tells the governor when it is throttled.

    ``tell`` is told in words what pace holds, when that changes. ``side`` names it in what its errors say.
    """

    def __init__(
        self,
        source: Source,
        governor: Governor,
        endpoint: str,
        tell: Callable[[str], None] = lambda _: None,
        side: str = "",
    ) -> None:
        self._source = source
        self._side = side
        self._tell = tell
        self._told = ""
        self._governor = governor
        self._endpoint = endpoint
        self._throttled = False
        self._closed = False

    @property
    def traits(self) -> Traits:
        """Tell what the wrapped source is like."""
        return self._source.traits

    def folders(self) -> Iterable[Folder]:
        """List the folders."""
        with self._watched():
            return list(self._source.folders())

    def changes(self, requests: Iterable[tuple[Folder, Cursor | None]]) -> Iterator[Changes | Unusable]:
        """List what folders hold."""
        with self._watched():
            yield from self._source.changes(requests)

    def headers(self, folder: Folder, entries: Sequence[Entry]) -> Iterator[Headers]:
        """Give headers."""
        with self._watched():
            yield from self._source.headers(folder, entries)

    def fetch(
        self, requests: Iterable[tuple[Folder, Sequence[Entry]]]
    ) -> Iterator[Message | Gone | Unreadable]:
        """Give messages, no faster than the wished pace has it."""
        with self._watched():
            for answer in self._source.fetch(requests):
                if isinstance(answer, Message):
                    self._keep_pace(len(answer.octets))
                yield answer
                del answer  # it may be large, and the next one is read now

    def _keep_pace(self, octets: int) -> None:
        held = self._governor.keep_pace(octets)
        if held != self._told:
            self._told = held
            self._tell(held or "as much is read as comes: the slow hours are over")

    def look(self, folder: Folder, keys: Sequence[str]) -> Iterator[Entry]:
        """List keys."""
        with self._watched():
            yield from self._source.look(folder, keys)

    def wait(self, folder: Folder, cursor: Cursor, over: Callable[[], bool]) -> bool:
        """Wait for new messages."""
        with self._watched():
            return self._source.wait(folder, cursor, over)

    def remarks(self) -> Iterable[Remark]:
        """Tell the wrapped source's remarks."""
        return self._source.remarks()

    def left_behind(self) -> Iterable[LeftBehind]:
        """Name what the wrapped source names."""
        return self._source.left_behind()

    def close(self) -> None:
        """Close the wrapped source and give the slot back."""
        if not self._closed:
            self._closed = True
            self._source.close()
            self._governor.give_back(self._endpoint, in_peace=not self._throttled)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except AlimailError as error:
            error.name_side(self._side)
            if isinstance(error, Throttled):
                self._throttled = True
                self._governor.slow_down(self._endpoint, error.retry_after)
            raise


class GovernedSink(GovernedSource, Sink):
    """A sink around a sink; see ``GovernedSource``."""

    def __init__(
        self,
        sink: Sink,
        governor: Governor,
        endpoint: str,
        tell: Callable[[str], None] = lambda _: None,
        side: str = "",
    ) -> None:
        super().__init__(sink, governor, endpoint, tell, side)
        self._sink = sink

    @property
    def traits(self) -> SinkTraits:
        """Tell what the wrapped sink is like and can do."""
        return self._sink.traits

    def quota(self) -> Quota | None:
        """Tell the quota."""
        with self._watched():
            return self._sink.quota()

    def create(self, wanted: Sequence[tuple[FolderPath, SpecialUse | None]]) -> Iterator[Folder | Unusable]:
        """Make folders."""
        with self._watched():
            yield from self._sink.create(wanted)

    def append(self, batches: Iterable[Batch]) -> Iterator[Stored | NotStored]:
        """Store messages."""
        with self._watched():
            yield from self._sink.append(batches)

    def change_flags(self, folder: Folder, changes: Sequence[FlagChange]) -> None:
        """Add and remove flags."""
        with self._watched():
            self._sink.change_flags(folder, changes)

    def move(self, folder: Folder, keys: Sequence[str], to: Folder) -> Iterator[Moved]:
        """Move messages."""
        with self._watched():
            yield from self._sink.move(folder, keys, to)

    def remove(self, folder: Folder, keys: Sequence[str]) -> Iterator[str]:
        """Remove messages."""
        with self._watched():
            yield from self._sink.remove(folder, keys)
