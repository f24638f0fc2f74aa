"""The calls of a domain, one after another at its pace, whichever thread makes them."""

from __future__ import annotations

import threading
import weakref
from typing import Final

from alimail_core import Clock

SLACK: Final = 1.02
"""Calls keep this much apart beyond their pace: they bunch on the way, and one too many in a second costs a pause."""


class Limiter:
    """Hands out the moments at which a call may be made; used by many threads."""

    def __init__(self, calls_per_second: float, clock: Clock) -> None:
        self._apart = SLACK / calls_per_second
        self._clock = clock
        self._lock = threading.Lock()
        self._next = 0.0

    def wait(self) -> None:
        """Wait for the next moment, and take it. Moments that nobody wanted are not made up for."""
        with self._lock:
            now = self._clock.monotonic()
            mine = max(self._next, now)
            self._next = mine + self._apart
        if mine > now:
            self._clock.sleep(mine - now)

    def pause(self, seconds: float) -> None:
        """Let nobody begin a call for so long, all threads alike."""
        with self._lock:
            self._next = max(self._next, self._clock.monotonic() + seconds)


_shared: weakref.WeakValueDictionary[tuple[str, float, int], Limiter] = weakref.WeakValueDictionary()
_sharing = threading.Lock()


def limiter_of(base_url: str, calls_per_second: float, clock: Clock) -> Limiter:
    """Return the one limiter of a service that all who use it now in this process share."""
    key = (base_url, calls_per_second, id(clock))
    with _sharing:
        limiter = _shared.get(key) or Limiter(calls_per_second, clock)
        _shared[key] = limiter
        return limiter
