"""Commands and their answers over one wire (RFC 9051 §2.2, §5.5).

Commands may be in flight together. Each has a tag; whoever sent it reads until its tagged answer. Answers to
commands that nobody waits for any more (an iterator that was left unfinished) are read and dropped before the
next command, so that the connection never falls out of step.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import TypeAlias

from attrs import frozen

from alimail_core import Transient
from alimail_imap.grades import Doing, grade, grade_bye
from alimail_imap.tokens import Malformed, Response, Status, parse_status, quotable, quote, shown
from alimail_imap.wire import MAX_LITERAL, MAX_TEXT, Wire

MAX_ANSWER = MAX_LITERAL + MAX_TEXT
"""The most octets of memory that the answer to one command may take, where it is kept as a whole."""
MAX_UNTAGGED = 2 * MAX_ANSWER
"""The most octets of responses, kept or not, before one that ends a command: more than all in flight ask for."""
RESPONSE_COST = 400
"""What a response takes besides its own octets: a million tiny ones are not tiny."""
MIN_SECRET = 4
"""Anything shorter occurs in what servers say by chance."""
MAX_IN_FLIGHT = 64
"""The most small commands that are with the server and not yet answered."""


@frozen
class Literal:
    """An argument that cannot be quoted, or must not be: it travels as a literal."""

    octets: bytes


Part: TypeAlias = bytes | Literal


def astring(octets: bytes) -> Part:
    """Write a mailbox name, user name or password: quoted, or as a literal where it cannot be."""
    return quote(octets) if quotable(octets) else Literal(octets)


class Connection:
    """An IMAP connection: sends commands, hands out what comes back, keeps the capabilities."""

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.capabilities: frozenset[str] = frozenset()
        self.alerts: list[str] = []
        self._secrets: list[bytes] = []
        self._next = 0
        self._pending: deque[bytes] = deque()
        self._held: deque[Response] = deque()
        self._early: dict[bytes, Status] = {}
        self._untagged = 0
        """Octets of responses since the last one that ended a command, or asked us to go on."""

    def keep_secret(self, *secrets: bytes) -> None:
        """Let none of these be repeated when the server says it aloud."""
        self._secrets += [secret for secret in secrets if len(secret) >= MIN_SECRET]

    def _without_secrets(self, octets: bytes) -> bytes:
        for secret in self._secrets:
            octets = octets.replace(secret, b"***")
        return octets

    def offers(self, *names: str) -> bool:
        """Tell whether the server announces all of these capabilities."""
        return self.capabilities.issuperset(names)

    def inline(self, name: bytes) -> bytes:
        """Write a mailbox name as an argument that needs no go-ahead."""
        if not quotable(name) and self.sends_at_once(len(name)):
            return b"{%d+}\r\n%s" % (len(name), name)
        # A server that lists 8-bit names takes them so.
        return quote(name)

    # Sending

    def send(self, *parts: Part, doing: Doing = "read") -> bytes:
        """Send one command without waiting for its answer; return its tag.

        A literal waits for the server's go-ahead where it must. Raises ``Transient``, or the grade of the
        server's NO to a literal.
        """
        tag = self.next_tag()
        self.begin(tag)
        line: list[bytes] = [tag, b" "]
        for part in parts:
            if isinstance(part, bytes):
                line.append(part)
            elif self.sends_at_once(len(part.octets)):
                line += (b"{%d+}\r\n" % len(part.octets), part.octets)
            else:
                self._write([*line, b"{%d}\r\n" % len(part.octets)])
                self._await_go_ahead(tag, doing)
                line = [part.octets]
        self._write([*line, b"\r\n"])
        return tag

    def _write(self, chunks: Sequence[bytes]) -> None:
        """Send; where the server has gone, raise what it said last: that may stand unread."""
        try:
            self.wire.write(chunks)
        except Transient:
            while True:
                self.receive()

    def next_tag(self) -> bytes:
        """Return a tag that was not used before, for a command that the caller writes by itself."""
        self._next += 1
        return b"A%d" % self._next

    def begin(self, tag: bytes) -> None:
        """Note that a command is on its way."""
        self._pending.append(tag)

    def sends_at_once(self, octets: int) -> bool:
        """Tell whether a literal of this size may follow without the server's go-ahead (RFC 7888)."""
        if "LITERAL+" in self.capabilities:
            return True
        return "LITERAL-" in self.capabilities and octets <= 4096

    def _await_go_ahead(self, tag: bytes, doing: Doing) -> None:
        held: list[Response] = []
        while (response := self.receive()).tag != b"+":
            if response.tag == tag:
                self._held.extend(held)
                raise grade(self.end(response), doing)
            held.append(response)
        self._held.extend(held)

    # Receiving

    def receive(self) -> Response:
        """Return the next response of whatever kind. Raises ``Transient``, with the server's words after a BYE."""
        if self._held:
            return self._held.popleft()
        response = self.wire.read()
        if response.tag == b"*":
            self._untagged += sum(map(len, response.parts))
            if self._untagged > MAX_UNTAGGED:
                raise self.wire.fail("the server talks on and on, and ends no command")
            self._notice(response)
            return response
        if response.tag != b"+" and response.tag not in self._pending:
            words = shown(self._without_secrets(response.tag), 60)
            raise self.wire.fail(f"the server said something that is not IMAP: {words!r}")
        self._untagged = 0
        self.wire.patience.begin()
        return response

    def end(self, response: Response) -> Status:
        """Note that a tagged response ends its command; return its status."""
        self._pending.remove(response.tag)
        head = self._without_secrets(response.head)
        status = parse_status(head)
        if status is None:
            raise self.wire.fail(f"the server gave no status: {shown(head, 60)!r}")
        self._read_code(status)
        return status

    def until(self, tag: bytes) -> Generator[Response, None, Status]:
        """Give the untagged responses until a command's own answer; return that answer's status.

        Commands in flight are waited for in the order in which they were sent; an answer that comes before its
        turn is kept for it.
        """
        while tag not in self._early:
            if tag not in self._pending:
                raise RuntimeError("this stream was left unfinished, and something else was asked since")
            response = self.receive()
            if response.tag == tag:
                return self.end(response)
            if response.tag == b"*":
                yield response
                del response  # it may be large, and the next one is read now
            elif response.tag == b"+":
                raise self.wire.fail("the server asked to go on where there was nothing to go on with")
            else:
                self._early[response.tag] = self.end(response)
        return self._early.pop(tag)

    def run(self, *parts: Part, doing: Doing = "read") -> tuple[list[Response], Status]:
        """Send a command and wait for it; return the untagged responses and its status, whatever it is."""
        self.settle()
        tag = self.send(*parts, doing=doing)
        return collect(self.until(tag))

    def ask(self, *parts: Part, doing: Doing = "read") -> list[Response]:
        """Send a command and wait for it; return the untagged responses. Raises the grade of NO and BAD."""
        responses, status = self.run(*parts, doing=doing)
        if not status.ok:
            raise grade(status, doing)
        return responses

    def stream(self, *parts: Part, doing: Doing = "read") -> Generator[Response, None, Status]:
        """Send a command and give its untagged responses as they come; return its status."""
        self.settle()
        tag = self.send(*parts, doing=doing)
        return (yield from self.until(tag))

    def pipeline(
        self, commands: Iterable[Sequence[Part]], *, doing: Doing = "read"
    ) -> Iterator[tuple[list[Response], Status]]:
        """Send many commands, the next ones always in flight; give the responses and status of each, in order.

        The iterator is to be run to its end before anything else is asked. Commands that may be answered side by
        side share their untagged responses: a reader goes by what those say, not by whose they are.
        """
        self.settle()
        sent: deque[bytes] = deque()
        for parts in commands:
            sent.append(self.send(*parts, doing=doing))
            if len(sent) == MAX_IN_FLIGHT:
                yield collect(self.until(sent.popleft()))
        while sent:
            yield collect(self.until(sent.popleft()))

    def settle(self) -> None:
        """Read and drop what commands are still owed that nobody waits for."""
        while self._pending:
            response = self.receive()
            if response.tag in self._pending:
                self.end(response)
        self._held.clear()
        self._early.clear()

    def _notice(self, response: Response) -> None:
        kind = response.kind()
        if kind == b"CAPABILITY":
            self._set_capabilities(response.head.partition(b" ")[2])
        elif kind in (b"BYE", b"OK", b"NO", b"BAD"):
            status = parse_status(self._without_secrets(response.head))
            if status is not None and status.kind == "BYE":
                self._pending.clear()
                error = grade_bye(status)
                self.wire.close()
                raise error
            if status is not None:
                self._read_code(status)

    def _read_code(self, status: Status) -> None:
        if status.code == "CAPABILITY":
            self._set_capabilities(status.argument)
        elif status.code == "ALERT" and len(self.alerts) < 10:
            self.alerts.append(status.text)

    def _set_capabilities(self, words: bytes) -> None:
        self.capabilities = frozenset(words.decode("ascii", "replace").upper().split())

    def close(self) -> None:
        """Say LOGOUT where the server still listens, and let go. Never raises."""
        try:
            if not self.wire.broken and not self._pending:
                self.wire.write([b"%s LOGOUT\r\n" % self.next_tag()])
        except Transient:
            pass
        self.wire.close()


def collect(responses: Generator[Response, None, Status]) -> tuple[list[Response], Status]:
    """Run a stream of responses to its end; return them, and the status. Raises ``Transient`` where it is endless."""
    kept: list[Response] = []
    octets = 0
    while True:
        try:
            response = next(responses)
        except StopIteration as stop:
            status: Status = stop.value
            return kept, status
        octets += sum(map(len, response.parts)) + RESPONSE_COST
        if octets > MAX_ANSWER:
            raise Transient("the server's answer to one command is longer than we take")
        kept.append(response)


def of_kind(responses: Sequence[Response], *kinds: bytes) -> Iterator[Response]:
    """Pick the responses of some kinds, and of those the ones that can be read."""
    for response in responses:
        if response.kind() in kinds:
            try:
                response.tokens()
            except Malformed:
                continue
            yield response
