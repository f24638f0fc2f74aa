"""Open the two ends of an account: the plug-in's factory, the secret, and a slot of the server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import cached_property
from queue import Empty, SimpleQueue
from typing import Any

from attrs import Attribute, evolve, field, fields, frozen

from alimail_core.contract import Credentials, Sink, SinkKind, Source, SourceKind
from alimail_core.errors import AlimailError, Remark
from alimail_core.governor import GovernedSink, GovernedSource, Governor
from alimail_core.network import NobodyThere, NoTls
from alimail_core.registry import Registry
from alimail_core.seam import Clock
from alimail_core.spec import AccountSpec, Endpoint
from alimail_core.ways import Ways

KEPT = 5.0
"""Seconds for which a thread that opened a sink waits for the next."""


def endpoint_name(endpoint: Endpoint, user: str) -> str:
    """Name the server, and the mailbox on it, whose keys a pass may trust.

    The server is what the options' ``address`` tells, and without one whatever options were given: looking at
    everything anew once too often costs time, and trusting another server's keys costs mail.
    """
    address = getattr(endpoint.options, "address", None)
    if isinstance(address, tuple):
        place = [":".join(map(str, address)).lower()]
    else:
        place = [_given(endpoint.options, each) for each in fields(type(endpoint.options))]
    return " ".join([endpoint.kind, *filter(None, place), user])


def _given(options: object, attribute: Attribute[Any]) -> str:
    value = getattr(options, attribute.name)
    return "" if value == attribute.default else f"{attribute.name}={value!r}"


def written_in_order(endpoint: Endpoint) -> Endpoint:
    """Return a target whose messages keep the order in which they are sent (``order = strict``)."""
    if not hasattr(endpoint.options, "append_connections"):
        return endpoint
    return evolve(endpoint, options=evolve(endpoint.options, append_connections=1))


def _place(side: str, endpoint: Endpoint) -> str:
    """Name a side and its server for a person, such as ``source mail.old.example``; nothing for no side."""
    address = getattr(endpoint.options, "address", None)
    host = address[0] if isinstance(address, tuple) else getattr(endpoint.options, "host", endpoint.kind)
    return f"{side} {host}" if side else ""


@contextmanager
def _named(place: str) -> Iterator[None]:
    """Let the errors within say first where they come from."""
    try:
        yield
    except AlimailError as error:
        error.name_side(place)
        raise


def shared_out(account: AccountSpec, workers: int) -> AccountSpec:
    """Return an account for one of several workers that cannot see each other: with its part of the connections.

    Of those that the configuration allows each gets one at least; what a server says itself, each hears by itself.
    """
    source, target = (_shared_out(each, workers) for each in (account.source, account.target))
    return evolve(account, source=source, target=target)


def _shared_out(endpoint: Endpoint, workers: int) -> Endpoint:
    most = getattr(endpoint.options, "max_connections", None)
    if most is None:
        return endpoint
    return evolve(endpoint, options=evolve(endpoint.options, max_connections=max(1, most // max(workers, 1))))


class _Coming:
    """A sink that is being opened while its source logs in, because that takes as long."""

    def __init__(self, opener: Callable[[], Sink]) -> None:
        self._opener = opener
        self._opened: Future[Sink] = Future()

    def open(self) -> None:
        """Open it; called once."""
        try:
            self._opened.set_result(self._opener())
        except BaseException as error:  # noqa: BLE001 - raised where the sink is waited for, whatever it is
            self._opened.set_exception(error)

    def wait(self) -> Sink:
        """Return the sink, or raise what its opening raised."""
        return self._opened.result()

    def let_go(self) -> None:
        """Want it no more: it is closed as soon as it is open, and nobody waits for that."""
        self._opened.add_done_callback(lambda opened: None if opened.exception() else opened.result().close())


class Openers:
    """Threads that open sinks. One that has nothing to do is kept a while: a plan of thousands needs it at once.

    They are daemons, because a server that does not answer must not keep the process from ending.
    """

    def __init__(self) -> None:
        self._free: list[SimpleQueue[_Coming]] = []
        """Where those who have nothing to do hear of the next sink. Lists are taken from and added to at once."""

    def begin(self, opener: Callable[[], Sink]) -> _Coming:
        """Let a sink be opened; return at once."""
        coming = _Coming(opener)
        try:
            self._free.pop().put(coming)
        except IndexError:
            heard: SimpleQueue[_Coming] = SimpleQueue()
            heard.put(coming)
            threading.Thread(target=self._serve, args=[heard], name="alimail-sink", daemon=True).start()
        return coming

    def _serve(self, heard: SimpleQueue[_Coming]) -> None:
        while (coming := self._next(heard)) is not None:
            coming.open()
            coming = None  # a mailbox is not kept along with the thread
            self._free.append(heard)

    def _next(self, heard: SimpleQueue[_Coming]) -> _Coming | None:
        """Wait for the next sink; ``None``: there was none for a while, and nobody will ask this thread again."""
        with suppress(Empty):
            return heard.get(timeout=KEPT)
        try:
            self._free.remove(heard)
        except ValueError:
            return heard.get()  # somebody has just asked
        return None


@frozen
class Ends:
    """How to open the ends of one account, each as often as wished.

    ``source`` takes the slots of both ends at once and ``sink`` uses the second of them: they are asked for in this
    order, as ``with ends.source() as source, ends.sink() as sink``. ``source_alone`` and ``sink_alone`` take one.
    """

    account: AccountSpec
    registry: Registry
    governor: Governor
    clock: Clock
    ways: Ways
    tell: Callable[[str], None] = lambda _: None
    """Told in words when another pace holds for what is read, and what way in to a server was found."""
    writes: bool = False
    """Keep in the ledger what way was found."""
    openers: Openers | None = None
    """Log in to both sides at the same time, where nobody is asked for a password meanwhile; ``None``: do not."""
    _coming: list[_Coming] = field(factory=list, init=False, repr=False, eq=False)

    def source(self) -> Source:
        """Open the source, with a slot for the sink kept free; not where a secret of either side cannot be had."""
        self.account.source_secret.require()
        self.account.target_secret.require()
        while self._coming:  # what an earlier attempt did not come to
            self._coming.pop().let_go()
        self.governor.take([self._of_source, self._of_sink])
        coming = self.openers.begin(self._open_sink) if self.openers and self._asks_nobody() else None
        try:
            source = self._open_source()
        except BaseException:
            if coming is not None:
                coming.let_go()
            else:
                self.governor.give_back(self._of_sink)
            raise
        self._coming.extend([coming] if coming is not None else [])
        return source

    def sink(self) -> Sink:
        """Open the sink in the slot that ``source`` has taken, or take the one that it has begun to open."""
        return self._coming.pop().wait() if self._coming else self._open_sink()

    def _asks_nobody(self) -> bool:
        return self.account.source_secret.leaves_process and self.account.target_secret.leaves_process

    def source_alone(self, side: str = "") -> Source:
        """Open the source, where the sink is not wanted; its errors say which side it is where that is given."""
        self.account.source_secret.require()
        self.governor.take([self._of_source])
        return self._open_source(side)

    def spare_source(self, keep: int) -> Source | None:
        """Open the source where its server bears so many connections more besides; else ``None``, at once."""
        return self._open_source() if self.governor.take_spare(self._of_source, keep) else None

    def sink_alone(self) -> Sink:
        """Open the sink, where the source is not wanted; its errors do not say which side it is."""
        self.account.target_secret.require()
        self.governor.take([self._of_sink])
        return self._open_sink("")

    def check_in(self) -> None:
        """Raise ``Interrupted`` where somebody asks to stop; called between two pages of long work."""
        self.governor.check_in()

    @cached_property
    def _of_source(self) -> str:
        return f"source {self.account.source.kind} {self.account.source.options!r}"

    @cached_property
    def _of_sink(self) -> str:
        return f"sink {self.account.target.kind} {self.account.target.options!r}"

    def remarks_of_source(self) -> list[Remark]:
        """Tell what was found out to open the source."""
        return self.ways.remarks(self.account.source.kind, self.account.source.options)

    def remarks_of_sink(self) -> list[Remark]:
        """Tell what was found out to open the sink."""
        return self.ways.remarks(self.account.target.kind, self.account.target.options)

    def _open_source(self, side: str = "source") -> Source:
        account, kind = self.account, self.registry.source(self.account.source.kind)
        login = Credentials(account.source_user, account.source_secret.get)
        with _named(place := _place(side, account.source)):
            opened = self.governor.open(
                self._of_source, lambda: self._opened(kind, account.source, login, place)
            )
        return GovernedSource(opened, self.governor, self._of_source, self.tell, place)

    def _open_sink(self, side: str = "target") -> Sink:
        account, kind = self.account, self.registry.sink(self.account.target.kind)
        login = Credentials(account.target_user, account.target_secret.get)
        with _named(place := _place(side, account.target)):
            opened = self.governor.open(
                self._of_sink, lambda: self._opened(kind, account.target, login, place)
            )
        return GovernedSink(opened, self.governor, self._of_sink, self.tell, place)

    def _opened(
        self, kind: SourceKind[Any] | SinkKind[Any], endpoint: Endpoint, login: Credentials, place: str
    ) -> Any:
        # Named here too: the governor keeps what was said, for the others who wait for this server.
        with _named(place):
            return self._open(kind, endpoint, login)

    def _open(self, kind: SourceKind[Any] | SinkKind[Any], endpoint: Endpoint, login: Credentials) -> Any:
        options = self.ways.options_for(kind, endpoint.options, self.tell, keep=self.writes)
        try:
            return kind.open(options, login, self.clock)
        except (NobodyThere, NoTls) as error:
            if options is not endpoint.options:
                error.remedy += (
                    f" It was found earlier for tls = auto ({options.tls}, port {options.port}), and is kept: if the "
                    "server has changed, say tls and port in the configuration."
                )
            raise
