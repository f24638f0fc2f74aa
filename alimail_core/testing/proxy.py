"""A proxy on loopback that stands before an IMAP server: it makes the way long, and breaks it where told.

::

    with DelayProxy((server.host, server.imap_port), round_trip=0.05) as proxy:
        ...  # connect to proxy.port

Octets pass untouched; ``faultproxy.FaultProxy`` does worse. It runs in a thread of its own, so that it may be used
from any test, and all its methods may be called from any thread. The server behind it is spoken to in clear.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, ClassVar, Literal, Self, TypeVar

from attrs import define, field

from alimail_core.testing.certificates import Certificate
from alimail_core.testing.streams import Item, Line, Stream

HOST = "127.0.0.1"
_CHUNK = 256 * 1024
_WAITING_CHUNKS = 256
_START_SECONDS = 60.0
_LAST_ROUNDS = 20
"""Rounds of the event loop in which what was broken off is closed, TLS upon sockets as well."""

Direction = Literal["up", "down"]
T = TypeVar("T")


class CutError(Exception):
    """The connection is to be broken here. Never leaves its session."""


class Lane:
    """One direction's way out: what is sent arrives ``delay`` seconds later, in order."""

    def __init__(self, writer: asyncio.StreamWriter, delay: float, flowing: asyncio.Event) -> None:
        self._writer = writer
        self._delay = delay
        self._flowing = flowing
        self._queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_WAITING_CHUNKS)
        self._task = asyncio.create_task(self._carry()) if delay else None
        self._writing = asyncio.Lock()
        self._alone = 0
        # What was sent has left us, so that a connection is broken after exactly the octets that were told.
        # (asyncio's TLS pauses at its limit and not beyond it, and so would for ever at 0.)
        writer.transport.set_write_buffer_limits(1 if writer.get_extra_info("sslcontext") else 0)

    async def send(self, data: bytes) -> None:
        """Send, or wait until there is room. What the other end no longer takes is dropped."""
        if self._task is None:
            await self._write(data)
        else:
            await self._queue.put((asyncio.get_running_loop().time() + self._delay, data))

    def trickle(self, octets: int) -> None:
        """Let the next so many octets leave one at a time."""
        self._alone = octets

    async def finish(self) -> None:
        """Wait until everything has arrived, then tell the other end that no more comes."""
        if self._task is not None:
            await self._queue.join()
            self._task.cancel()
        if not self._writer.is_closing():
            if self._writer.can_write_eof():
                with suppress(OSError):  # the other end was faster and is gone already
                    self._writer.write_eof()
            else:
                self._writer.close()

    def abort(self) -> None:
        """Break off at once."""
        if self._task is not None:
            self._task.cancel()
        self._writer.transport.abort()

    async def _carry(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            due, data = await self._queue.get()
            await asyncio.sleep(due - clock())
            await self._write(data)
            self._queue.task_done()

    async def _write(self, data: bytes) -> None:
        async with self._writing:
            alone, self._alone = min(self._alone, len(data)), max(0, self._alone - len(data))
            for at in range(alone):
                await self._push(data[at : at + 1])
            await self._push(data[alone:])

    async def _push(self, data: bytes) -> None:
        await self._flowing.wait()
        if self._writer.is_closing():
            return
        self._writer.write(data)
        try:
            await self._writer.drain()
        except ConnectionError:
            self._writer.transport.abort()


class Session:
    """One client's connection and the one to the server that belongs to it."""

    def __init__(
        self,
        proxy: DelayProxy,
        client: asyncio.StreamReader,
        up: Lane,
        server: asyncio.StreamReader,
        down: Lane,
    ) -> None:
        self.proxy = proxy
        self.up = up
        self.down = down
        self.commands = Stream(client=True)
        self.responses = Stream(client=False)
        self._client = client
        self._server = server
        self._to_server: list[bytes] = []
        self._to_client: list[bytes] = []

    # -- what a proxy with a mind of its own overrides

    async def command(self, item: Item) -> None:
        """Take a piece of what the client says. May raise ``CutError``."""
        self.pass_on(item)

    def response(self, item: Item) -> None:
        """Take a piece of what the server says. May raise ``CutError``."""
        if isinstance(item, Line) and item.first and item.octets.startswith(b"+"):
            self.commands.grant()
        self.say(item.octets)

    # -- what it uses for that

    def pass_on(self, item: Item) -> None:
        """Say something to the server."""
        self._to_server.append(item.octets)

    def say(self, octets: bytes) -> None:
        """Say something to the client."""
        self._to_client.append(octets)

    async def flush(self) -> None:
        """Let go what was collected for either side."""
        up, self._to_server = b"".join(self._to_server), []
        down, self._to_client = b"".join(self._to_client), []
        if up:
            await self._send(self.up, up, "up")
        if down:
            await self._send(self.down, down, "down")

    # -- its life

    async def run(self) -> None:
        """Carry until both ends are done, or the way is cut."""
        up, down = asyncio.create_task(self._carry_up()), asyncio.create_task(self._carry_down())
        try:
            await down
            if up.done():
                up.result()
        finally:
            up.cancel()
            down.cancel()
            self.abort()

    def abort(self) -> None:
        """Break both connections."""
        self.up.abort()
        self.down.abort()

    async def _carry_up(self) -> None:
        try:
            while data := await read_some(self._client):
                for item in self.commands.feed(data):
                    await self.command(item)
                await self.flush()
            await self.up.finish()
        except CutError:
            self.abort()
        except BaseException:
            self.abort()
            raise

    async def _carry_down(self) -> None:
        try:
            while data := await read_some(self._server):
                for item in self.responses.feed(data):
                    self.response(item)
                await self.flush()
            await self.down.finish()
        except CutError:
            self.abort()

    async def _send(self, lane: Lane, data: bytes, direction: Direction) -> None:
        room, cut = self.proxy.room(direction, len(data))
        await lane.send(data[:room])
        if cut:
            await lane.finish()
            raise CutError


async def read_some(reader: asyncio.StreamReader) -> bytes:
    """Return what has come, nothing where the connection is over, however it ended."""
    try:
        return await reader.read(_CHUNK)
    except (ConnectionError, ssl.SSLError):
        return b""


@define(eq=False)
class DelayProxy:
    """Adds a round trip's time, breaks connections, refuses them, stalls. See the methods."""

    upstream: tuple[str, int]
    round_trip: float = 0.0
    """Seconds; half of them each way, and once more to connect."""
    certificate: Certificate | None = None
    """With it, ``tls_port`` speaks implicit TLS."""
    max_connections: int | None = None
    """Clients beyond this many at once hear BYE."""
    host: str = field(default=HOST, init=False)
    port: int = field(default=0, init=False)
    tls_port: int = field(default=0, init=False)
    accepted: int = field(default=0, init=False)
    """Connections so far, without those that were refused."""
    broken: int = field(default=0, init=False)
    """How many of them ``cut_after`` broke."""

    _loop: asyncio.AbstractEventLoop = field(init=False, repr=False)
    _thread: threading.Thread | None = field(default=None, init=False, repr=False)
    _listeners: list[asyncio.Server] = field(factory=list, init=False, repr=False)
    _sessions: dict[asyncio.Task[None], Session | None] = field(factory=dict, init=False, repr=False)
    _flowing: asyncio.Event = field(factory=asyncio.Event, init=False, repr=False)
    _cuts: dict[Direction, int] = field(factory=dict, init=False, repr=False)
    _stalls: dict[Direction, int] = field(factory=dict, init=False, repr=False)

    session: ClassVar[type[Session]] = Session

    def start(self) -> Self:
        """Listen, from a thread of its own."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._thread.start()
        self._do(self._listen())
        return self

    def stop(self) -> None:
        """Break all connections and end. Idempotent."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._do(self._end())
            self._loop.call_soon_threadsafe(self._loop.stop)
            thread.join()
            self._loop.close()

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, *exception: object) -> None:
        """Stop."""
        self.stop()

    # -- faults

    def cut_after(self, octets: int, direction: Direction) -> None:
        """Pass this many octets more in one direction (all connections together), then break that connection."""
        self._cuts[direction] = octets

    def stall(self) -> None:
        """Let nothing pass, in either direction, until ``resume``."""
        self._call(self._flowing.clear)

    def stall_after(self, octets: int, direction: Direction) -> None:
        """Pass this many octets more in one direction (all connections together), then ``stall``."""
        self._stalls[direction] = octets

    @property
    def stalled(self) -> bool:
        """Whether nothing passes now."""
        return not self._flowing.is_set()

    def resume(self) -> None:
        """Let octets pass again."""
        self._call(self._flowing.set)

    def drop_all(self) -> None:
        """Break all connections at once."""
        self._call(self._drop)

    # -- what sessions ask

    def room(self, direction: Direction, octets: int) -> tuple[int, bool]:
        """Return how many of these octets may pass, and whether the connection is broken then; count them."""
        if direction in self._stalls:
            self._stalls[direction] -= octets
            if self._stalls[direction] <= 0:
                del self._stalls[direction]
                self._flowing.clear()
        left = self._cuts.get(direction)
        if left is None or octets < left:
            if left is not None:
                self._cuts[direction] = left - octets
            return octets, False
        del self._cuts[direction]
        self.broken += 1
        return left, True

    # -- inside its thread

    def _call(self, function: Any) -> None:
        async def run() -> None:
            function()

        self._do(run())

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_START_SECONDS)

    async def _listen(self) -> None:
        self._flowing.set()
        plain = await asyncio.start_server(self._accept, HOST, self.port)
        self._listeners.append(plain)
        self.port = plain.sockets[0].getsockname()[1]
        if self.certificate is not None:
            secure = await asyncio.start_server(
                self._accept, HOST, self.tls_port, ssl=self.certificate.context()
            )
            self._listeners.append(secure)
            self.tls_port = secure.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        self._drop()
        await asyncio.gather(*self._sessions, return_exceptions=True)
        for _ in range(_LAST_ROUNDS):
            await asyncio.sleep(0)

    def _drop(self) -> None:
        for task, session in self._sessions.items():
            if session is not None:
                session.abort()
            task.cancel()

    async def _accept(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if self.max_connections is not None and len(self._sessions) >= self.max_connections:
            to_client.write(b"* BYE Too many connections\r\n")
            to_client.close()
            return
        self.accepted += 1
        self._sessions[task] = None
        try:
            await asyncio.sleep(self.round_trip)
            server, to_server = await asyncio.open_connection(*self.upstream)
            delay = self.round_trip / 2
            up, down = Lane(to_server, delay, self._flowing), Lane(to_client, delay, self._flowing)
            session = self._sessions[task] = self.session(self, client, up, server, down)
            await session.run()
        except (ConnectionError, asyncio.CancelledError):
            to_client.transport.abort()
        finally:
            del self._sessions[task]
