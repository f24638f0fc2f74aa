"""Time, sleep and chance: the one seam through which they enter, so that tests never wait."""

from __future__ import annotations

import random
import threading
import time
from datetime import UTC, datetime

PATIENCE = 900.0
"""Seconds without any progress, by the monotonic clock, for which a server that was reached before is waited for: one
that is down for ten minutes costs ten minutes, not the run."""


class Clock:
    """The real world. Tests hand in a subclass whose ``sleep`` moves its own time."""

    def now(self) -> datetime:
        """Return the wall clock, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()

    def sleep(self, seconds: float, until: threading.Event | None = None) -> None:
        """Wait, or return as soon as ``until`` is set."""
        if until is not None:
            until.wait(seconds)
        else:
            time.sleep(seconds)

    def random(self) -> float:
        """Return a number in [0, 1) for jitter; nothing secret hangs on it."""
        return random.random()


class Stop:
    """A wish to stop, seen between two batches. ``set`` may be called from a signal handler or any thread."""

    def __init__(self) -> None:
        self.event = threading.Event()
        self.signal = 2

    def set(self, signal: int = 2) -> None:
        """Ask to stop; ``signal`` becomes the exit code's lower part (130 for SIGINT, 143 for SIGTERM)."""
        self.signal = signal
        self.event.set()

    def is_set(self) -> bool:
        """Tell whether somebody asked to stop."""
        return self.event.is_set()
