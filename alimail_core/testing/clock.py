"""A clock for tests: nobody waits, chance is seeded, and what is due happens while others sleep."""

from __future__ import annotations

import heapq
import random
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count

from alimail_core.seam import Clock


class FakeClock(Clock):
    """Time that only moves when somebody sleeps, or when a test says so.

    ``later`` schedules what the world does by itself, such as a server that finishes an APPEND after its
    connection was lost. It happens in the thread whose sleep passes its time, at its own time.
    """

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC), seed: int = 0) -> None:
        self._start = start
        self._passed = 0.0
        self._random = random.Random(seed)
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._order = count()
        self._lock = threading.RLock()
        self.slept: list[float] = []
        """Every sleep so far, in seconds."""

    def now(self) -> datetime:
        """Return the start plus what has passed."""
        return self._start + timedelta(seconds=self._passed)

    def monotonic(self) -> float:
        """Return the seconds that have passed."""
        return self._passed

    def sleep(self, seconds: float, until: threading.Event | None = None) -> None:
        """Let the time pass without waiting; an ``until`` that is set already costs none."""
        if until is not None and until.is_set():
            return
        self.slept.append(seconds)
        self.advance(seconds)

    def set_wall(self, by: timedelta) -> None:
        """Set the wall clock, forward or back, as an administrator does; ``monotonic`` knows nothing of it."""
        self._start += by

    def random(self) -> float:
        """Return the next number of the seeded row."""
        return self._random.random()

    def later(self, seconds: float, action: Callable[[], object]) -> None:
        """Call ``action`` once ``seconds`` have passed from now."""
        with self._lock:
            heapq.heappush(self._due, (self._passed + seconds, next(self._order), action))

    def advance(self, seconds: float) -> None:
        """Let time pass, doing what falls due in its order."""
        with self._lock:
            end = self._passed + max(seconds, 0.0)
            while self._due and self._due[0][0] <= end:
                when, _, action = heapq.heappop(self._due)
                self._passed = max(self._passed, when)
                action()
            self._passed = max(self._passed, end)
