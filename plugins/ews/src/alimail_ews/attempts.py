"""How often a password is tried that was not taken yet: once. Directories lock an account after a few refusals, and a
service account's password stands behind every mailbox, over several connections and ways to log in.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from alimail_core import Clock, LoginDenied
from alimail_ews.grades import LOGIN_REMEDY

FORBEARANCE: Final = 15 * 60.0
"""Seconds for which a refused password is not tried again in this process: so long a directory may count, and who
watches for days must hear of an account that was unlocked.
"""

_refused: dict[bytes, float] = {}
"""When passwords were refused last, by the clock of whoever tried."""
_locks: dict[bytes, threading.Lock] = {}


def password_id(host: str, user: str, password: str) -> bytes:
    """Name a password without telling it; by whatever way it goes in, it is the same."""
    return hashlib.sha256("\0".join((host, user, password)).encode()).digest()


@contextmanager
def first_try(name: bytes, clock: Clock, seconds: float) -> Iterator[None]:
    """Let one thread after another try a password, and none once it was refused. Raises ``LoginDenied`` then.

    Nobody waits longer than ``seconds`` for another's try, which may hang.
    """
    lock = _locks.setdefault(name, threading.Lock())
    is_held = lock.acquire(timeout=seconds)
    try:
        when = _refused.get(name)
        if when is not None and clock.monotonic() - when < FORBEARANCE:
            raise LoginDenied(
                "the server refused this password before (HTTP 401); it is not tried again, lest it lock the account",
                remedy=LOGIN_REMEDY,
            )
        yield
    finally:
        if is_held:
            lock.release()


def was_refused(name: bytes, clock: Clock) -> None:
    """Note that a password was refused."""
    _refused[name] = clock.monotonic()


def forget() -> None:
    """Forget all, as a new process does."""
    _refused.clear()
    _locks.clear()
