"""Distance: a relay in a process of its own that lets octets arrive half a round trip after they were sent.

::

    with Relay.start(0.05, [server.imap_port]) as relay:
        ...  # connect to relay.ports[server.imap_port]

It looks into nothing (TLS passes), knows one loop and large buffers, and so costs little of what it stands
between: ``cpu`` tells how much. A connection costs what TCP's own would: one round trip until the client may send,
half a one more until the server hears of it. At most ``WINDOW`` octets are under way in one direction, as TCP's
window has it.
"""

from __future__ import annotations

import heapq
import itertools
import json
import os
import selectors
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Self

from attrs import frozen

HOST = "127.0.0.1"
WINDOW = 4 << 20
_CHUNK = 256 << 10
_BACKLOG = 256


# -- what the benchmark sees


@frozen
class Relay:
    """A running relay. ``ports``: a server's port -> the port to connect to instead."""

    ports: Mapping[int, int]
    _process: subprocess.Popen[str]

    @classmethod
    def start(cls, round_trip: float, ports: Sequence[int]) -> Self:
        """Stand before these ports of loopback, ``round_trip`` seconds away."""
        process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(round_trip), *map(str, ports)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
        )  # fmt: skip
        assert process.stdout is not None
        return cls(dict(zip(ports, json.loads(process.stdout.readline()), strict=True)), process)

    def cpu(self) -> float:
        """Return how many seconds of a core it has used so far."""
        with open(f"/proc/{self._process.pid}/stat", encoding="ascii") as stat:
            times = stat.read().rpartition(")")[2].split()[11:13]
        return sum(map(int, times)) / os.sysconf("SC_CLK_TCK")

    def __enter__(self) -> Self:
        """Return itself, which runs already."""
        return self

    def __exit__(self, *exception: object) -> None:
        """End it, with all its connections."""
        self._process.communicate()


# -- its process


class Loop:
    """Waits for sockets and for times, and calls back."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self.running = True

    def at(self, due: float, call: Callable[[], None]) -> None:
        """Call at a time of the monotonic clock."""
        heapq.heappush(self._timers, (due, next(self._numbers), call))

    def watch(self, sock: socket.socket | int, events: int, call: Callable[[int], None]) -> None:
        """Call with what a socket is ready for; ``events`` 0 forgets it."""
        known = sock in self._selector.get_map()
        if not events:
            if known:
                self._selector.unregister(sock)
        elif known:
            self._selector.modify(sock, events, call)
        else:
            self._selector.register(sock, events, call)

    def run(self) -> None:
        """Go on until ``running`` is unset."""
        while self.running:
            wait = self._timers[0][0] - time.monotonic() if self._timers else None
            for key, ready in self._selector.select(wait):
                key.data(ready)
            now = time.monotonic()
            while self._timers and self._timers[0][0] <= now:
                heapq.heappop(self._timers)[2]()


class Lane:
    """One direction: what is read from one socket is due later at the other."""

    def __init__(self, link: Link, reader: socket.socket) -> None:
        self.writer: socket.socket | None = None
        self.reading = self.blocked = self.done = False
        self._link = link
        self._reader = reader
        self._queue: deque[tuple[float, memoryview]] = deque()
        self._held = 0

    def read(self) -> None:
        """Take what has come; nothing marks the end."""
        try:
            data = self._reader.recv(_CHUNK)
        except BlockingIOError:
            return
        due = max(time.monotonic() + self._link.delay, self._link.established)
        self._queue.append((due, memoryview(data)))
        self._held += len(data)
        self._link.loop.at(due, self._link.guarded(self.flush))
        self.reading = bool(data) and self._held < WINDOW
        self._link.rewatch()

    def flush(self) -> None:
        """Hand on what is due, as far as the socket takes it."""
        before = self.reading, self.blocked
        self.blocked = False
        now = time.monotonic()
        while self._queue and self._queue[0][0] <= now and not self.blocked:
            self._send(*self._queue.popleft())
        if not self.done and self._held < WINDOW and not self._ending():
            self.reading = True
        if (self.reading, self.blocked) != before:
            self._link.rewatch()

    def _ending(self) -> bool:
        return bool(self._queue) and not self._queue[-1][1]

    def _send(self, due: float, data: memoryview) -> None:
        assert self.writer is not None
        if not data:
            self.done, self.reading = True, False
            self.writer.shutdown(socket.SHUT_WR)
            self._link.close_if_done()
            return
        try:
            sent = self.writer.send(data)
        except BlockingIOError:
            sent = 0
        self._held -= sent
        if sent < len(data):
            self._queue.appendleft((due, data[sent:]))
            self.blocked = True


class Link:
    """One client's connection and the one to its server."""

    def __init__(self, loop: Loop, client: socket.socket, upstream: int, round_trip: float) -> None:
        self.loop = loop
        self.delay = round_trip / 2
        self.established = time.monotonic() + 3 * self.delay
        self._upstream = upstream
        self._client = client
        self._server: socket.socket | None = None
        self._closed = False
        self._up = Lane(self, client)
        self._up.reading = True
        self._down: Lane | None = None
        loop.at(self.established, self.guarded(self._connect))
        self.rewatch()

    def guarded(self, call: Callable[[], None]) -> Callable[[], None]:
        """Return a call that is left out once the link is closed, and closes it where a socket fails."""

        def guarded() -> None:
            if self._closed:
                return
            try:
                call()
            except OSError:
                self.close()

        return guarded

    def rewatch(self) -> None:
        """Wait for what the lanes wait for."""
        self._watch(self._client, self._up, self._down)
        if self._server is not None:
            self._watch(self._server, self._down, self._up)

    def close_if_done(self) -> None:
        """Close when both directions have ended."""
        if self._up.done and self._down is not None and self._down.done:
            self.close()

    def close(self) -> None:
        """Close both connections at once."""
        self._closed = True
        for sock in (self._client, self._server):
            if sock is not None:
                self.loop.watch(sock, 0, _ignore)
                sock.close()

    def _connect(self) -> None:
        self._server = _tuned(socket.create_connection((HOST, self._upstream)))
        self._down = Lane(self, self._server)
        self._down.writer, self._up.writer = self._client, self._server
        self._down.reading = True
        self.rewatch()

    def _watch(self, sock: socket.socket, comes: Lane | None, goes: Lane | None) -> None:
        if self._closed:
            return
        events = selectors.EVENT_READ if comes is not None and comes.reading else 0
        events |= selectors.EVENT_WRITE if goes is not None and goes.blocked else 0

        def ready(what: int) -> None:
            if what & selectors.EVENT_READ and comes is not None:
                self.guarded(comes.read)()
            if what & selectors.EVENT_WRITE and goes is not None:
                self.guarded(goes.flush)()

        self.loop.watch(sock, events, ready)


def _ignore(_ready: int) -> None:
    """Stand in where nothing is waited for."""


def _tuned(sock: socket.socket) -> socket.socket:
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _serve(loop: Loop, upstream: int, round_trip: float) -> int:
    listener = socket.create_server((HOST, 0), backlog=_BACKLOG)

    def accept(_ready: int) -> None:
        with suppress(ConnectionError):
            Link(loop, _tuned(listener.accept()[0]), upstream, round_trip)

    loop.watch(listener, selectors.EVENT_READ, accept)
    return int(listener.getsockname()[1])


def main(words: Sequence[str]) -> None:
    """Relay until standard input ends: ``ROUND_TRIP PORT...``; prints the ports to connect to, as JSON."""
    loop = Loop()
    print(json.dumps([_serve(loop, int(port), float(words[0])) for port in words[1:]]), flush=True)

    def end(_ready: int) -> None:
        loop.running = False

    loop.watch(sys.stdin.fileno(), selectors.EVENT_READ, end)
    loop.run()


if __name__ == "__main__":
    main(sys.argv[1:])
