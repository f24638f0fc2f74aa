"""A proxy that does to an IMAP connection what servers and networks do, at a moment of the test's choice.

::

    with FaultProxy((server.host, server.imap_port)) as proxy:
        proxy.strike(WireFault.LOST, Moment.APPEND_AFTER, number=2)
        ...  # connect to proxy.port, or with a certificate to proxy.tls_port
        assert proxy.struck == [(WireFault.LOST, Moment.APPEND_AFTER)]

``strike`` plans one fault; ``haunt`` draws them from a seed. It stands before any server, also before another proxy
such as ``AlibabaProxy``, and does nothing that it was not told to.
"""

from __future__ import annotations

import asyncio
import enum
import random
import re
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar

from attrs import define, field

from alimail_core.testing.proxy import HOST, CutError, DelayProxy, Lane, Session, read_some
from alimail_core.testing.streams import Item, Line, Part

GARBAGE = b"\x00\xff\xfe this is no IMAP {12345\r\n"
UNASKED = (
    b"* OK Still here\r\n* 4000000000 FETCH (FLAGS (\\Seen))\r\n* NO [XQUOTA] Disk nearly full\r\n"
    b'* XNEWS (a "b" {3}\r\nc)\r)\r\n* SEARCH\r\n'
)
"""Nothing of this was asked for, all of it may be said (RFC 9051 §5.2, §7)."""
TRICKLED_OCTETS = 1000
"""So many octets of what is trickled leave one at a time, so that a large message does not take for ever."""


class WireFault(enum.Enum):
    """What happens. Where a reply is under way at the moment (a greeting, a literal), *acts* means: has spoken."""

    CUT = "the connection breaks before the server acts"
    LOST = "the server acts, and the connection breaks before its reply"
    LATE = "the connection breaks, and the server acts when FaultProxy.release says so"
    TRUNCATED = "half of what is being said arrives, and then the connection ends in order"
    STALLED = "nothing is heard any more, in either direction, and nothing is closed"
    SILENT = "the server acts, its reply is swallowed, and the connection goes on"
    NO = "the answer is NO, and the server does not act"
    BAD = "the answer is BAD, and the server does not act"
    BYE = "the server says BYE and closes, and does not act"
    DELAYED = "all goes well, after a pause"
    TRICKLED = "all goes well, one octet at a time"
    GARBAGE = "the server says something that is no IMAP, and goes on"
    UNASKED = "the server tells what nobody asked for, and goes on"


class Moment(enum.Enum):
    """The moment: where in its talk a connection stands."""

    CONNECT = "the connection is there, and the server has not greeted"
    TLS = "the server's first octets of the TLS handshake (on ``tls_port``)"
    GREETING = "the server greets"
    LOGIN = "LOGIN or AUTHENTICATE"
    LIST = "LIST, XLIST or LSUB"
    CREATE = "CREATE"
    SELECT = "SELECT, EXAMINE or STATUS"
    LISTING = "FETCH of anything but content, or SEARCH"
    HEADERS = "FETCH of header fields"
    FETCH_BEFORE = "FETCH of whole messages, before its answer"
    FETCH_WITHIN = "within the literal of a message that is fetched"
    FETCH_AFTER = "after the messages, at the tagged answer"
    APPEND_BEFORE = "APPEND, before its literal"
    APPEND_WITHIN = "within the literal of a message that is appended"
    APPEND_AFTER = "after the last literal, at the command's end"
    SETTLE = "the first look at a folder after something was appended"
    LOGOUT = "LOGOUT"
    OTHER = "any other command"


_MOMENTS: Mapping[bytes, Moment] = {
    b"LOGIN": Moment.LOGIN,
    b"AUTHENTICATE": Moment.LOGIN,
    b"LIST": Moment.LIST,
    b"XLIST": Moment.LIST,
    b"LSUB": Moment.LIST,
    b"CREATE": Moment.CREATE,
    b"SELECT": Moment.SELECT,
    b"EXAMINE": Moment.SELECT,
    b"STATUS": Moment.SELECT,
    b"SEARCH": Moment.LISTING,
    b"APPEND": Moment.APPEND_BEFORE,
    b"LOGOUT": Moment.LOGOUT,
}
_CONTENT = re.compile(
    rb"(?:BODY(?:\.PEEK)?\[\]|BINARY(?:\.PEEK)?\[\]|RFC822(?:\.PEEK)?(?![.A-Z]))", re.IGNORECASE
)
_CONTENT_FOLLOWS = re.compile(rb"(?:BODY\[\]|BINARY\[\]|RFC822)(?:<\d+>)? ~?\{\d+\}\r\n\Z", re.IGNORECASE)
_APPENDS = (Moment.APPEND_BEFORE, Moment.APPEND_WITHIN)
_WORDS = {WireFault.GARBAGE: GARBAGE, WireFault.UNASKED: UNASKED}
_SPOIL = Line(b" BAD\r\n", False, None, False)
"""Ends an APPEND so that the server refuses it, whatever it has taken of it."""


class FaultSession(Session):
    """One client's connection."""

    proxy: FaultProxy

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.released = asyncio.Event()
        """The server may have the end of a command that came ``LATE``."""
        self.over = asyncio.Event()
        self._open: dict[bytes, Moment] = {}
        """Commands that the server has not answered: tag -> where they began."""
        self._due: dict[bytes, WireFault] = {}
        """By tag: what becomes of the server's answer."""
        self._tag = b""
        """The command that is being sent."""
        self._doomed: WireFault | None = None
        """It is to be ``LOST`` or ``LATE`` at its end."""
        self._awaited: bytes | None = None
        """The client is gone; the session ends when the server has answered this tag."""
        self._swallowed = False
        """It was answered here, and what still comes of it is not handed on."""
        self._spoiled = False
        """It is an APPEND that was answered here, and the server is to refuse it as well."""
        self._within = False
        """The first octets of a message come next: towards the server."""
        self._content = False
        """The same towards the client."""
        self._greeted = False
        self._commands = 0
        self._full = False
        """It has had all the commands that it may have."""
        self._muted = False
        self._queued = b""
        """Words to be said once the server is between two responses."""
        self._pause = 0.0
        self._ending: Callable[[], Awaitable[None]] | None = None

    # -- its life

    async def run(self) -> None:
        """Carry until both ends are done, or a fault ends it."""
        try:
            fault = self.proxy.meet(Moment.CONNECT)
            if fault is not None:
                self._tell(fault, Line(b"", True, None, False))
                self._muted |= fault is WireFault.SILENT
                await self.flush()
            await super().run()
        except CutError:
            self.abort()
        finally:
            self.over.set()

    async def flush(self) -> None:
        """Let go what was collected, then do what a fault has left to be done."""
        pause, self._pause = self._pause, 0.0
        if pause:
            await asyncio.sleep(pause)
        await super().flush()
        ending, self._ending = self._ending, None
        if ending is not None:
            await ending()

    async def _break(self) -> None:
        raise CutError

    # -- what the client says

    async def command(self, item: Item) -> None:
        """Strike where that was planned; hand on the rest."""
        moment = self._moment(item)
        if self._muted or self._swallowed:
            return
        if self._full:
            if not self._open:
                self._end_after(b"")
                await self.flush()
            return
        fault = self.proxy.meet(moment) if moment is not None and not self._spoiled else None
        if fault in (WireFault.LOST, WireFault.LATE):
            self._doomed = fault
        elif fault is not None and moment is not None:
            await self._strike(fault, moment, item)
            return
        ends = isinstance(item, Line) and item.literal is None
        if ends and self._doomed is not None:
            await self._lose(item)
        self.pass_on(_SPOIL if ends and self._spoiled else item)

    def _moment(self, item: Item) -> Moment | None:
        """Tell at which moment this piece of a command is said; ``None``: at none that counts."""
        if isinstance(item, Line) and item.first:
            return self._begin(item)
        appends = self._open.get(self._tag) is Moment.APPEND_BEFORE
        if isinstance(item, Part):
            within, self._within = self._within, False
            return Moment.APPEND_WITHIN if appends and within else None
        self._within = True
        return Moment.APPEND_AFTER if appends and item.literal is None else None

    def _begin(self, line: Line) -> Moment | None:
        tag, name, arguments = line.words
        if not name:
            return None  # so goes AUTHENTICATE on, or IDLE
        self._tag, self._doomed, self._spoiled, self._swallowed = tag, None, False, False
        self._commands += 1
        if self.proxy.most_commands is not None and self._commands > self.proxy.most_commands:
            self._full = True
            return None
        moment = self._open[tag] = self.proxy.moment_of(name, arguments)
        # A folder's name may come as a literal as well.
        self._within = not arguments.startswith(b"{")
        return moment

    async def _strike(self, fault: WireFault, moment: Moment, item: Item) -> None:
        """Do what is to be done before the server has this piece of a command."""
        match fault:
            case WireFault.CUT:
                self.pass_on(_half(item))
                self._ending = self._break
            case WireFault.TRUNCATED if moment in _APPENDS:
                self.pass_on(_half(item))
                self._end_after(b"")
            case WireFault.TRUNCATED | WireFault.SILENT:
                self._due[self._tag] = fault
                self.pass_on(item)
            case WireFault.STALLED:
                self.pass_on(item if moment is Moment.APPEND_AFTER else _half(item))
                self._muted = True
            case WireFault.NO | WireFault.BAD:
                self._refuse(fault, moment, item)
            case WireFault.BYE:
                self._end_after(self.proxy.answer(b"*", fault))
            case _:
                self._harm(fault)
                self.pass_on(item)
        await self.flush()

    def _harm(self, fault: WireFault) -> None:
        """Do what leaves the command its way."""
        if fault is WireFault.DELAYED:
            self._pause = self.proxy.pause
        elif fault is WireFault.TRICKLED:
            self.up.trickle(TRICKLED_OCTETS)
            self.down.trickle(TRICKLED_OCTETS)
        else:
            self._interject(_WORDS[fault])

    def _refuse(self, fault: WireFault, moment: Moment, item: Item) -> None:
        """Answer in the server's stead; of a message that it has seen the beginning of, it gets a spoilt end."""
        self._interject(self.proxy.answer(self._tag, fault))
        if moment in (Moment.APPEND_WITHIN, Moment.APPEND_AFTER):
            self._spoiled = True
            self._due[self._tag] = WireFault.SILENT
            self.pass_on(item if moment is Moment.APPEND_WITHIN else _SPOIL)
        else:
            del self._open[self._tag]
            self._swallowed = True

    async def _lose(self, end: Item) -> None:
        """Break the client's connection; let the server have the command's end, at once or when it is released."""
        self._awaited = self._tag
        await self.flush()
        self.down.abort()
        self.proxy.losing.append(self)
        if self._doomed is WireFault.LATE:
            await self.released.wait()
        await self.up.send(end.octets)
        await asyncio.Event().wait()  # ends with the session

    # -- what the server says

    def response(self, item: Item) -> None:
        """Strike where that was planned; hand on the rest."""
        if isinstance(item, Line) and item.first and item.words[0] == self._awaited:
            raise CutError
        if self._muted or self._awaited is not None:
            return
        if isinstance(item, Line) and item.first:
            queued, self._queued = self._queued, b""
            self.say(queued)
        fault = self._fault_of(item)
        if isinstance(item, Line):
            self._content = _CONTENT_FOLLOWS.search(item.octets) is not None
        if fault is not None:
            self._tell(fault, item)
        else:
            super().response(item)

    def _fault_of(self, item: Item) -> WireFault | None:
        """Return what befalls this piece of the server's words."""
        if isinstance(item, Part):
            return self.proxy.meet(Moment.FETCH_WITHIN) if self._content else None
        if not item.first:
            return None
        if not self._greeted:
            self._greeted = True
            return self.proxy.meet(Moment.GREETING)
        tag = item.words[0]
        if tag == b"+":
            return (
                WireFault.SILENT
                if self._due.get(self._tag) is WireFault.SILENT and not self._spoiled
                else None
            )
        if tag == b"*":
            return WireFault.TRUNCATED if WireFault.TRUNCATED in self._due.values() else None
        due, moment = self._due.pop(tag, None), self._open.pop(tag, None)
        if self._full and not self._open:
            self._muted, self._ending = True, self.down.finish
        return due or (self.proxy.meet(Moment.FETCH_AFTER) if moment is Moment.FETCH_BEFORE else None)

    def _tell(self, fault: WireFault, item: Item) -> None:
        """Say to the client what a fault leaves of a piece of the server's words."""
        octets, inside = item.octets, isinstance(item, Part)
        self._content = False
        half = _half(item).octets
        match fault:
            case WireFault.CUT | WireFault.LOST | WireFault.LATE:
                self.say(half if inside else b"")
                self._muted, self._ending = True, self._break
            case WireFault.TRUNCATED:
                self._end_after(half)
            case WireFault.STALLED:
                self.say(half if inside else b"")
                self._muted = True
            case WireFault.SILENT:
                pass
            case WireFault.BYE:
                self._end_after((half if inside else b"") + self.proxy.answer(b"*", fault))
            case WireFault.NO | WireFault.BAD if isinstance(item, Part):
                self._due[
                    next(tag for tag, moment in self._open.items() if moment is Moment.FETCH_BEFORE)
                ] = fault
                self.say(octets)
            case WireFault.NO | WireFault.BAD:
                self.say(self.proxy.answer(octets.partition(b" ")[0] or b"*", fault))
            case WireFault.GARBAGE | WireFault.UNASKED:
                before = half if inside else b""
                self.say(before + _WORDS[fault] + octets[len(before) :])
            case _:
                self._harm(fault)
                self.say(octets)

    def _interject(self, words: bytes) -> None:
        """Say something as soon as the server is not in the middle of a response."""
        if self.responses.between:
            self.say(words)
        else:
            self._queued += words

    def _end_after(self, words: bytes) -> None:
        """Say these last words and close in order; what the client still says is not heard."""
        self.say(words)
        self._muted, self._ending = True, self.down.finish


def _half(item: Item) -> Part:
    return Part(item.octets[: len(item.octets) // 2])


@define(eq=False)
class FaultProxy(DelayProxy):
    """Breaks what it is told to break; everything of ``DelayProxy`` holds here too.

    Faults that are planned for one moment come one after another, each counting from the moment of its planning.
    """

    words: bytes = field(default=b"Not now", kw_only=True)
    """What follows after NO, BAD and BYE: a response code too, if it begins with one."""
    most_commands: int | None = field(default=None, kw_only=True)
    """Each connection is closed, in order, once so many commands are answered and one more has begun."""
    pause: float = field(default=0.1, kw_only=True)
    """Seconds of a fault that is ``DELAYED``."""
    reached: Counter[Moment] = field(factory=Counter, init=False, repr=False)
    """How often each moment has come."""
    struck: list[tuple[WireFault, Moment]] = field(factory=list, init=False, repr=False)
    """What has happened so far, in order."""
    losing: list[FaultSession] = field(factory=list, init=False, repr=False)
    """Sessions whose client is gone, and whose server has a command to finish."""
    _planned: list[_Plan] = field(factory=list, init=False, repr=False)
    _draw: Callable[[Moment], WireFault | None] = field(default=lambda _: None, init=False, repr=False)
    _appended: bool = field(default=False, init=False, repr=False)
    _inner_port: int = field(default=0, init=False, repr=False)
    _tunnels: set[asyncio.Task[None]] = field(factory=set, init=False, repr=False)

    session: ClassVar[type[Session]] = FaultSession

    # -- what a test says

    def strike(self, fault: WireFault, moment: Moment, number: int = 1) -> None:
        """Let a fault happen when this moment comes the ``number``-th time from now, over all connections."""
        self._call(lambda: self._planned.append(_Plan(fault, moment, number)))

    def haunt(self, seed: object, rate: float, faults: Sequence[WireFault] = tuple(WireFault)) -> None:
        """From now on, let one of ``faults`` happen at any moment with the probability ``rate``."""
        draw = random.Random(f"{seed}")
        self._call(
            lambda: setattr(self, "_draw", lambda _: draw.choice(faults) if draw.random() < rate else None)
        )

    def calm(self) -> None:
        """Forget what was planned and drawn; what is broken stays so."""

        def forget() -> None:
            self._planned.clear()
            self._draw = lambda _: None

        self._call(forget)

    def release(self) -> int:
        """Let servers have the ends of commands that came ``LATE``; return when they have answered, and how many."""
        return self._do(self._release())

    # -- what sessions ask

    def meet(self, moment: Moment) -> WireFault | None:
        """Count a moment; return what shall happen at it."""
        self.reached[moment] += 1
        for plan in self._planned:
            plan.left -= plan.moment is moment
        due = next((plan for plan in self._planned if not plan.left), None)
        if due is not None:
            self._planned.remove(due)
        fault = due.fault if due is not None else self._draw(moment)
        if fault is not None:
            self.struck.append((fault, moment))
        return fault

    def moment_of(self, name: bytes, arguments: bytes) -> Moment:
        """Tell the moment at which a command begins."""
        if name == b"UID":
            word, _, arguments = arguments.partition(b" ")
            name = word.strip().upper()
        moment = _fetch_moment(arguments) if name == b"FETCH" else _MOMENTS.get(name, Moment.OTHER)
        if moment is Moment.APPEND_BEFORE:
            self._appended = True
        elif self._appended and moment in (Moment.SELECT, Moment.LISTING):
            self._appended = moment is Moment.SELECT
            return Moment.SETTLE
        return moment

    def answer(self, tag: bytes, fault: WireFault) -> bytes:
        """Write what is said where a server refuses."""
        return b"%s %s %s\r\n" % (tag, fault.name.encode(), self.words)

    # -- inside its thread

    async def _release(self) -> int:
        losing, self.losing = self.losing, []
        for session in losing:
            session.released.set()
            await session.over.wait()
        return len(losing)

    async def _listen(self) -> None:
        """Put, before the port with TLS, one that looks at the handshake."""
        outer, self.tls_port = self.tls_port, self._inner_port
        await super()._listen()
        self._inner_port, self.tls_port = self.tls_port, outer
        if self.certificate is not None:
            listener = await asyncio.start_server(self._tunnel, HOST, outer)
            self._listeners.append(listener)
            self.tls_port = listener.sockets[0].getsockname()[1]

    async def _end(self) -> None:
        for tunnel in self._tunnels:
            tunnel.cancel()
        await asyncio.gather(*self._tunnels, return_exceptions=True)
        await super()._end()

    async def _tunnel(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tunnels.add(task)
        try:
            server, to_server = await asyncio.open_connection(HOST, self._inner_port)
            up, down = Lane(to_server, 0.0, self._flowing), Lane(to_client, 0.0, self._flowing)
            await self._pass_through(client, up, server, down)
        except (CutError, ConnectionError, asyncio.CancelledError):
            to_client.transport.abort()
        finally:
            self._tunnels.discard(task)

    async def _pass_through(
        self, client: asyncio.StreamReader, up: Lane, server: asyncio.StreamReader, down: Lane
    ) -> None:
        sending = asyncio.create_task(_carry(client, up))
        try:
            fault = self.meet(Moment.TLS)
            if fault is not None:
                await self._disturb(fault, await read_some(server), down)
            await _carry(server, down)
        finally:
            sending.cancel()
            up.abort()
            down.abort()

    async def _disturb(self, fault: WireFault, hello: bytes, down: Lane) -> None:
        """Strike the first of what the server says in a handshake."""
        match fault:
            case WireFault.CUT | WireFault.LOST | WireFault.LATE:
                raise CutError
            case WireFault.TRUNCATED:
                await self._say_last(hello[: len(hello) // 2], down)
            case WireFault.STALLED | WireFault.SILENT:
                await asyncio.Event().wait()
            case WireFault.NO | WireFault.BAD | WireFault.BYE:
                await self._say_last(self.answer(b"*", fault), down)
            case WireFault.DELAYED:
                await asyncio.sleep(self.pause)
            case WireFault.TRICKLED:
                down.trickle(TRICKLED_OCTETS)
            case WireFault.GARBAGE | WireFault.UNASKED:
                await down.send(_WORDS[fault])
        await down.send(hello)

    async def _say_last(self, words: bytes, down: Lane) -> None:
        await down.send(words)
        await down.finish()
        raise CutError


async def _carry(reader: asyncio.StreamReader, lane: Lane) -> None:
    while data := await read_some(reader):
        await lane.send(data)
    await lane.finish()


def _fetch_moment(arguments: bytes) -> Moment:
    if _CONTENT.search(arguments):
        return Moment.FETCH_BEFORE
    return Moment.HEADERS if b"HEADER" in arguments.upper() else Moment.LISTING


@define
class _Plan:
    fault: WireFault
    moment: Moment
    left: int
