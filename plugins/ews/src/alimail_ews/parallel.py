"""Several requests in flight, and little that waits for whoever takes the answers."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import Final, Generic, TypeVar

from attrs import define

Item = TypeVar("Item")
Result = TypeVar("Result")

LARGE: Final = 4 * 1024 * 1024
"""From so many octets on, one message at a time is read, whatever else is in flight."""


class Stopped(Exception):
    """Nobody takes what comes any more."""


@define
class _Waiting(Generic[Item]):
    item: Item
    octets: int
    is_large: bool


class Channel(Generic[Item]):
    """What several threads have read and one takes: bounded by octets, and with one large message in it at most."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._changed = threading.Condition()
        self._waiting: deque[_Waiting[Item]] = deque()
        self._held = 0
        self._large: object | None = None
        """Who reads a large message, or has put it here and it was not taken yet."""
        self._stopped = False

    def begin_large(self, who: object) -> None:
        """Wait until nobody else's large message is in memory. Raises ``Stopped``."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._large in (None, who))
            self._check()
            self._large = who

    def put(self, item: Item, octets: int, who: object) -> None:
        """Hand something over; wait while too much waits. Raises ``Stopped``."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._stopped or not self._held or self._held + octets <= self._limit
            )
            self._check()
            self._waiting.append(_Waiting(item, octets, self._large is who))
            self._held += octets
            self._changed.notify_all()

    def take(self) -> Item:
        """Take the next; wait for it."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting))
            waiting = self._waiting.popleft()
            self._held -= waiting.octets
            if waiting.is_large:
                self._large = None
            self._changed.notify_all()
            return waiting.item

    def stop(self) -> None:
        """Let nobody wait any more who has something to hand over."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def _check(self) -> None:
        if self._stopped:
            raise Stopped


def ahead(
    executor: Executor, work: Callable[[Item], Result], items: Iterable[Item], number: int
) -> Iterator[tuple[Item, Result]]:
    """Give each item with what became of it, in order; so many are worked on at once."""
    begun: deque[tuple[Item, Future[Result]]] = deque()
    for item in items:
        begun.append((item, executor.submit(work, item)))
        if len(begun) >= number:
            first, future = begun.popleft()
            yield first, future.result()
    while begun:
        first, future = begun.popleft()
        yield first, future.result()
