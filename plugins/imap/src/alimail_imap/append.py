"""Storing messages: APPEND and MULTIAPPEND, octet for octet, in the way that suits the server.

A *strategy* turns batches into commands. ``choose`` picks one by capability; a plug-in that knows its server
better hands its own to ``ImapSink``. Three come with this plug-in:

``Pipelined``
    One APPEND a message, several in flight. Without LITERAL+ the literal of each waits for the server's
    go-ahead, but the next command is with the server by then, so a message costs one round trip and not two
    (RFC 9051 §5.5). With ``messages=1`` it goes turn by turn, for a server that cannot take more.
``Multi``
    One APPEND for a whole batch's messages of a folder (RFC 3502) with literals that do not wait (RFC 7888).
``spread.Spread``
    One of these over several connections side by side.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeAlias

from attrs import define, field, frozen

from alimail_core import (
    BATCH_MESSAGES,
    BATCH_OCTETS,
    AlimailError,
    Batch,
    Delivery,
    Folder,
    InDoubt,
    NotStored,
    Refused,
    Stored,
    Transient,
)
from alimail_imap.connection import MAX_IN_FLIGHT, Connection
from alimail_imap.fetched import write_date, write_flags
from alimail_imap.grades import grade
from alimail_imap.tokens import Response, Status
from alimail_imap.uidsets import count, expand, parse_set

Outcome: TypeAlias = Stored | NotStored


class Link(Protocol):
    """What a strategy is given to work with."""

    @property
    def connection(self) -> Connection:
        """The logged-in connection of the sink; nothing is in flight on it when a strategy begins."""

    def another(self) -> Connection:
        """Log in once more, for a strategy that works with several connections; it must close what it opened.

        May be called from any thread. Raises what ``connect`` does.
        """

    def most_connections(self) -> int:
        """Return how many connections, this one included, the mailbox may be written over at this moment."""

    def mailbox(self, folder: Folder) -> bytes:
        """Write a folder's name as an argument that needs no go-ahead."""

    def flags(self, delivery: Delivery) -> frozenset[str]:
        """Return those of a message's flags that its folder can store, as far as that is known."""

    def key(self, folder: Folder, uidvalidity: int, uid: int) -> str | None:
        """Return the key of a UID that APPENDUID told; ``None`` where it would not be a safe name."""


class AppendStrategy(Protocol):
    """How batches become commands. One strategy belongs to one sink and may remember things between calls."""

    def append(self, link: Link, batches: Iterable[Batch]) -> Iterator[Outcome]:
        """Keep every promise of ``Sink.append``."""


@frozen
class Pipelined:
    """One APPEND a message; at most so many messages and octets are sent and not yet answered."""

    messages: int = 64
    octets: int = BATCH_OCTETS

    def append(self, link: Link, batches: Iterable[Batch]) -> Iterator[Outcome]:
        """See ``AppendStrategy``."""
        return self.run(link).outcomes(batches)

    def run(self, link: Link, connection: Connection | None = None) -> Run:
        """Begin a run over the sink's connection, or over another one."""
        return Run(link, self.messages, self.octets, connection)


@define
class Multi:
    """One APPEND for all of a batch's messages of a folder; at most so much is sent and not yet answered.

    No standard promises that a server which says NO to such a command stored nothing. So all of its messages are
    in doubt, and those that come again travel alone.
    """

    messages: int = 2 * BATCH_MESSAGES
    octets: int = 2 * BATCH_OCTETS
    _alone: set[int] = field(factory=set, init=False)

    def append(self, link: Link, batches: Iterable[Batch]) -> Iterator[Outcome]:
        """See ``AppendStrategy``."""
        return self.run(link).outcomes(batches)

    def run(self, link: Link, connection: Connection | None = None) -> Run:
        """Begin a run over the sink's connection, or over another one."""
        return _MultiRun(link, self.messages, self.octets, self._alone, connection)


@define
class Command:
    """One APPEND on its way: its messages, and of how many of them at least an octet was sent."""

    tag: bytes
    deliveries: list[Delivery]
    begun: int = 0


class Run:
    """One call of ``append`` over one connection: the sink's, where no other is given."""

    def __init__(
        self, link: Link, most_messages: int, most_octets: int, connection: Connection | None = None
    ) -> None:
        self.link = link
        self.connection = connection or link.connection
        self.ready: deque[Outcome] = deque()
        self.flying: dict[bytes, Command] = {}
        self._most_messages = most_messages
        self._most_octets = most_octets
        self._stop: AlimailError | None = None

    def outcomes(self, batches: Iterable[Batch]) -> Iterator[Outcome]:
        """Give exactly one outcome for each delivery taken, then raise where the account cannot go on."""
        self.connection.settle()
        waiting: deque[list[Delivery]] = deque()
        source = iter(batches)
        try:
            while self._stop is None:
                if not waiting:
                    if not self._take(source, waiting):
                        break
                    continue
                self.make_room(waiting[0])
                if self._stop is None:
                    self.send(waiting.popleft())
                while self.ready:
                    yield self.ready.popleft()
            while self.flying:
                self.hear()
        except Transient as error:
            self._stop = self._lose(error)
        yield from self.ready
        for delivery in (one for group in waiting for one in group):
            yield NotStored(delivery.id, Transient("the account stopped before this message was sent"))
        if self._stop is not None:
            raise self._stop

    def _take(self, source: Iterator[Batch], waiting: deque[list[Delivery]]) -> bool:
        """Take the next batch, which is the permission to send it; what goes wrong there ends the run."""
        try:
            batch = next(source, None)
        except AlimailError as error:
            self._stop = error
            return False
        if batch is not None:
            waiting.extend(self.plan(batch))
        return batch is not None

    def plan(self, batch: Batch) -> Iterator[list[Delivery]]:
        """Divide a batch into commands."""
        return ([delivery] for delivery in batch)

    def make_room(self, group: Sequence[Delivery]) -> None:
        """Hear answers until the next command may be sent."""
        while self.flying and not self._is_room(group):
            self.hear()

    def _is_room(self, group: Sequence[Delivery]) -> bool:
        flying = [one for command in self.flying.values() for one in command.deliveries]
        octets = sum(len(one.octets) for one in (*flying, *group))
        return (
            len(self.flying) < MAX_IN_FLIGHT
            and len(flying) + len(group) <= self._most_messages
            and octets <= self._most_octets
        )

    # Sending

    def send(self, group: list[Delivery]) -> None:
        """Send one command of one folder's messages. What is answered meanwhile becomes ready."""
        command = Command(self.connection.next_tag(), group)
        self.connection.begin(command.tag)
        self.flying[command.tag] = command
        line = command.tag + b" APPEND " + self.link.mailbox(group[0].folder)
        if all(self.connection.sends_at_once(len(one.octets)) for one in group):
            self._send_at_once(command, line)
        else:
            self._send_in_turn(command, line)

    def _send_at_once(self, command: Command, line: bytes) -> None:
        """Send literals that do not wait; small messages share a write."""
        chunks: list[bytes] = [line]
        size = 0
        for delivery in command.deliveries:
            chunks += (self._arguments(delivery), b" {%d+}\r\n" % len(delivery.octets), delivery.octets)
            size += len(delivery.octets)
            command.begun += 1
            if size > 65_536:
                self.connection.wire.write(chunks)
                chunks, size = [], 0
        self.connection.wire.write([*chunks, b"\r\n"])

    def _send_in_turn(self, command: Command, line: bytes) -> None:
        """Send literals after the server's go-ahead; before it come the answers to earlier commands."""
        for delivery in command.deliveries:
            self.connection.wire.write([line, self._arguments(delivery), b" {%d}\r\n" % len(delivery.octets)])
            while (response := self.connection.receive()).tag != b"+":
                self._note(response)
                if command.tag not in self.flying:
                    return
            command.begun += 1
            self.connection.wire.write([delivery.octets])
            line = b""
        self.connection.wire.write([b"\r\n"])

    def _arguments(self, delivery: Delivery) -> bytes:
        flags = self.link.flags(delivery)
        written = b" " + write_flags(flags) if flags else b""
        return written + (b" " + write_date(delivery.internal_date) if delivery.internal_date else b"")

    # Hearing

    def hear(self) -> None:
        """Wait for one response. Raises ``Transient``."""
        response = self.connection.receive()
        if response.tag == b"+":
            raise self.connection.wire.fail("the server asked to go on where there was nothing to go on with")
        self._note(response)

    def _note(self, response: Response) -> None:
        command = self.flying.get(response.tag)
        if command is not None:
            status = self.connection.end(response)
            if status.ok and command.begun < len(command.deliveries):
                raise self.connection.wire.fail("the server said OK before it had the message")
            del self.flying[response.tag]
            if status.ok:
                self.ready.extend(self._stored(command, status))
            else:
                self._refuse(command, status)

    def _stored(self, command: Command, status: Status) -> Iterator[Outcome]:
        uidvalidity, uids = read_appenduid(status, len(command.deliveries))
        for delivery, uid in zip(command.deliveries, uids, strict=True):
            key = None if uid is None else self.link.key(delivery.folder, uidvalidity, uid)
            yield Stored(delivery.id, key)

    def _refuse(self, command: Command, status: Status) -> None:
        error = grade(status, "append")
        outcome = error if isinstance(error, Refused | Transient) else Transient(error.message)
        if not isinstance(error, Refused):
            self._stop = self._stop or error
        # Where the folder is not there, certainly nothing was stored.
        homeless = isinstance(error, Refused) and error.about == "folder"
        if len(command.deliveries) > 1 and not homeless:
            self.doubt(command)
            over = InDoubt(error.message, over=True)
            self.ready.extend(NotStored(one.id, over) for one in command.deliveries)
        else:
            self.ready.extend(NotStored(one.id, outcome) for one in command.deliveries)

    def doubt(self, command: Command) -> None:
        """Note that a command of several messages was refused."""

    def _lose(self, error: Transient) -> Transient:
        """Hear what the server said last, and answer for what it left unanswered."""
        try:
            while self.flying and not self.connection.wire.broken:
                self.hear()
        except Transient as last:
            error = last
        for command in self.flying.values():
            for place, delivery in enumerate(command.deliveries):
                doubt = InDoubt(f"no answer: {error.message}") if place < command.begun else None
                self.ready.append(NotStored(delivery.id, doubt or Transient(error.message)))
        self.flying.clear()
        return error


class _MultiRun(Run):
    """One call of ``append`` over a server that takes many messages in one command."""

    def __init__(
        self, link: Link, most_messages: int, most_octets: int, alone: set[int], connection: Connection | None
    ) -> None:
        super().__init__(link, most_messages, most_octets, connection)
        self._alone = alone

    def plan(self, batch: Batch) -> Iterator[list[Delivery]]:
        groups: dict[bytes, list[Delivery]] = {}
        for delivery in batch:
            # An empty literal ends a MULTIAPPEND without effect (RFC 3502 §6.3.11).
            if not delivery.octets or (self._alone and hash(delivery.octets) in self._alone):
                yield [delivery]
            else:
                groups.setdefault(self.link.mailbox(delivery.folder), []).append(delivery)
        yield from groups.values()

    def doubt(self, command: Command) -> None:
        self._alone.update(hash(one.octets) for one in command.deliveries)


def read_appenduid(status: Status, messages: int) -> tuple[int, list[int | None]]:
    """Read APPENDUID (RFC 4315 §3): UIDVALIDITY and the UID of each message, all ``None`` where it does not fit."""
    nothing: list[int | None] = [None] * messages
    uidvalidity, _, uids = status.argument.partition(b" ")
    if status.code != "APPENDUID" or not uidvalidity.isdigit():
        return 0, nothing
    try:
        found = parse_set(uids)
    except ValueError:
        return 0, nothing
    return int(uidvalidity), list(expand(found)) if count(found) == messages else nothing
