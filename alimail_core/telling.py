"""What a worker in another process tells, while it works, the process that began the run.

That process listens. With its work each worker is given a ``Line``, which is plain data, and connects over it. What
it tells is gathered for a moment first, so that a quick pass costs a few messages a second and not one a batch. When
its work is over it waits until all was heard, so that nothing of an account comes after its end. A worker on another
machine reaches nobody: it tells nothing on the way, and its pass goes on all the same.
"""

from __future__ import annotations

import logging
import queue
import secrets
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener
from types import TracebackType
from typing import Any, Self

from attrs import evolve, field, frozen

from alimail_core.events import BatchSettled, Event, Observer

GATHER_SECONDS = 0.25
"""How long what is told waits for more, before all of it travels together."""

HEARD_SECONDS = 10.0
"""How long a worker that has finished waits until it was heard."""

_log = logging.getLogger(__name__)


@frozen
class Line:
    """How a worker reaches who listens. Whoever has the key is believed, so it stands in no repr."""

    address: Any
    """What ``multiprocessing.connection.Client`` takes: a path, or a pipe's name on Windows."""
    key: bytes = field(repr=False)


class Listening:
    """Hears what workers tell, and hands each event to ``hear`` in a thread of its own. A context manager."""

    def __init__(self, hear: Observer) -> None:
        self._hear = hear
        self._closing = False
        key = secrets.token_bytes(32)
        self._listener = Listener(authkey=key, backlog=128)
        self.line = Line(self._listener.address, key)
        self._door = threading.Thread(target=self._answer, name="alimail-door", daemon=True)
        self._door.start()

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Listen no more; who is still connected is heard to its end."""
        self._closing = True
        Client(self.line.address).close()  # or else the thread would wait for the next worker for ever
        self._door.join()
        self._listener.close()

    def _answer(self) -> None:
        while not self._closing:
            try:
                worker = self._listener.accept()
            except (OSError, EOFError, AuthenticationError) as error:
                _log.debug("somebody connected who is no worker of ours: %s", type(error).__name__)
                continue
            threading.Thread(target=self._listen, args=[worker], name="alimail-ear", daemon=True).start()

    def _listen(self, worker: Connection[Any, Any]) -> None:
        """Hear one worker until it has told all, or is gone."""
        with worker:
            try:
                while (events := worker.recv()) is not None:
                    for event in events:
                        self._hear(event)
                worker.send(None)
            except (OSError, EOFError) as error:
                _log.debug("a worker is gone: %s", type(error).__name__)


@contextmanager
def contact(line: Line) -> Iterator[Observer | None]:
    """Connect to who listens; what is told until the end has been heard then. ``None``: nobody can be reached."""
    try:
        connection = Client(line.address, authkey=line.key)
    except (OSError, EOFError, AuthenticationError) as error:
        _log.debug("nobody listens: %s", type(error).__name__)
        yield None
        return
    told: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
    teller = threading.Thread(target=_tell, args=[connection, told], name="alimail-teller", daemon=True)
    teller.start()
    try:
        yield told.put
    finally:
        told.put(None)
        teller.join(HEARD_SECONDS)


def _tell(connection: Connection[Any, Any], told: queue.SimpleQueue[Event | None]) -> None:
    """Send what is told until ``None``; then wait until it was heard."""
    with connection:
        try:
            while events := list(_gathered(told)):
                connection.send(list(merged(filter(None, events))))
                if events[-1] is None:
                    connection.send(None)
                    connection.poll(HEARD_SECONDS)
                    return
        except (OSError, EOFError) as error:
            _log.debug("nobody listens any more: %s", type(error).__name__)


def _gathered(told: queue.SimpleQueue[Event | None]) -> Iterator[Event | None]:
    """Wait for something that is told; give it and what comes within the next moment, up to ``None``."""
    event = told.get()
    until = time.monotonic() + GATHER_SECONDS
    while event is not None:
        yield event
        try:
            event = told.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            return
    yield None


def merged(events: Iterable[Event]) -> Iterator[Event]:
    """Add up batches of one folder that follow each other; copied and adopted ones stay apart, as pace counts one."""
    last: Event | None = None
    for event in events:
        if isinstance(last, BatchSettled) and isinstance(event, BatchSettled) and _alike(last, event):
            last = evolve(
                last,
                copied=last.copied + event.copied,
                adopted=last.adopted + event.adopted,
                octets=last.octets + event.octets,
            )
            continue
        if last is not None:
            yield last
        last = event
    if last is not None:
        yield last


def _alike(one: BatchSettled, other: BatchSettled) -> bool:
    same = one.account == other.account and one.folder == other.folder
    return same and bool(one.adopted) == bool(other.adopted)
