"""Reading ahead: a source's answers wait in a queue that is bounded by octets, while the sink is written to."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class ReadAhead(Generic[T]):
    """Iterate over ``items`` in a thread of its own. ``weight`` tells an item's octets.

    While less than the limit waits one more is read, whatever its size, so that a message larger than the limit
    passes; and no item is held anywhere but in the queue. An exception of the iterator is raised where the consumer
    has taken all that came before it. A limit of 0 reads in the
    consumer's own thread: no concurrency, for tests that must repeat exactly.
    """

    def __init__(self, items: Iterator[T], weight: Callable[[T], int], limit: int) -> None:
        self._items = items
        self._weight = weight
        self._limit = limit
        self._queue: deque[T] = deque()
        self._octets = 0
        self._ended = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._read, name="alimail-read-ahead", daemon=True)
        if limit:
            self._thread.start()

    def _read(self) -> None:
        try:
            while self._has_room():
                self._put(next(self._items))
        except StopIteration:
            return
        except BaseException as error:  # noqa: BLE001 - carried over to the consumer's thread, whatever it is
            self._error = error
        finally:
            close = getattr(self._items, "close", None)
            if close is not None:
                close()
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _has_room(self) -> bool:
        """Wait until one more item may be read; return False once nobody wants any."""
        with self._changed:
            self._changed.wait_for(lambda: self._octets < self._limit or self._ended)
            return not self._ended

    def _put(self, item: T) -> None:
        with self._changed:
            self._queue.append(item)
            self._octets += self._weight(item)
            self._changed.notify_all()

    def _take(self) -> T:
        with self._changed:
            item = self._queue.popleft()
            self._octets -= self._weight(item)
            self._changed.notify_all()
            return item

    def _has_item(self) -> bool:
        """Wait for an item; return False where none will come."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._ended)
            return bool(self._queue)

    def __iter__(self) -> Iterator[T]:
        """Give the items in their order."""
        if not self._limit:
            yield from self._items
            return
        while self._has_item():
            yield self._take()
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Stop reading and wait until the reader has let go of its side."""
        if not self._limit:
            close = getattr(self._items, "close", None)
            if close is not None:
                close()
            return
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._thread.join()
