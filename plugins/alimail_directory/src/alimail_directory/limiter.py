"""The calls of a domain, one after another at its pace, whichever thread makes them."""

from __future__ import annotations

import threading
import weakref
from collections import deque
from typing import Final

from alimail_core import Clock

SLACK: Final = 1.02
"""Calls keep this much apart beyond their pace: they bunch on the way, and one too many in a second costs a pause."""

SLOWER, SLOWEST, RECOVERS = 1.04, 1.25, 0.9998
"""By how much calls are further apart after a pause, at most, and how that wears off with each call: on a busy line
they bunch more, and a pause costs forty of them."""

MADE_UP_FOR: Final = 10
"""Moments that may be made up for where a busy machine woke us late."""


class Limiter:
    """Lets calls begin one after another; used by many threads.

    They are a fixed time apart, and no second has more than the pace, whatever is made up for.
    """

    def __init__(self, calls_per_second: float, clock: Clock) -> None:
        self._least = self._apart = SLACK / calls_per_second
        self._recent: deque[float] = deque(maxlen=max(1, int(calls_per_second)))
        """When the last calls of a second began."""
        self._clock = clock
        self._lock = threading.Lock()
        self._next = 0.0

    def wait(self) -> None:
        """Return when a call may begin."""
        with self._lock:
            mine = self._next
            if len(self._recent) == self._recent.maxlen:
                mine = max(mine, self._recent[0] + self._apart * len(self._recent))
            left = mine - self._clock.monotonic()
            if left > 0:
                self._clock.sleep(left)
            now = self._clock.monotonic()
            self._recent.append(now)
            self._next = max(mine + self._apart, now - MADE_UP_FOR * self._apart)
            self._apart = max(self._apart * RECOVERS, self._least)

    def pause(self, seconds: float) -> None:
        """Let nobody begin a call for so long, all threads alike, and go on a little slower."""
        with self._lock:
            now = self._clock.monotonic()
            if self._next < now + self._apart * MADE_UP_FOR:  # several calls may tell of one pause
                self._apart = min(self._apart * SLOWER, self._least * SLOWEST)
            self._next = max(self._next, now + seconds)


_shared: weakref.WeakValueDictionary[tuple[str, float, int], Limiter] = weakref.WeakValueDictionary()
_sharing = threading.Lock()


def limiter_of(base_url: str, calls_per_second: float, clock: Clock) -> Limiter:
    """Return the one limiter of a service that all who use it now in this process share."""
    key = (base_url, calls_per_second, id(clock))
    with _sharing:
        limiter = _shared.get(key) or Limiter(calls_per_second, clock)
        _shared[key] = limiter
        return limiter
