"""Commands and their answers: ``poplib`` for the short ones, our own reading for messages, several in flight."""

from __future__ import annotations

import poplib
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import zip_longest
from typing import TypeVar

from attrs import frozen

from alimail_core import BATCH_OCTETS, AlimailError, Denied, Refused, Transient
from alimail_pop3.grades import Answer, Doing, grade, parse_answer
from alimail_pop3.wire import MAX_LIST, Wire, without_dots

IN_FLIGHT = 32
"""The most RETR or TOP that are with the server and not yet answered (PIPELINING, RFC 2449 §6.6)."""
OCTETS_IN_FLIGHT = BATCH_OCTETS // 2
"""The most octets, by the server's own list, that they may ask for; one larger message is asked for alone."""

MAX_CAPABILITIES = 64 * 1024
"""The most octets of an answer to CAPA."""
WHOLE = 99_999_999
"""As many lines as TOP can be asked for: the whole message. Unlike RETR it makes no server count it as read."""

_PART = 500
"""How many headers are held at once."""

_Said = TypeVar("_Said")
_CHALLENGE = re.compile(rb"\A\+OK[^<]*<[!-;=?-~]+@[!-;=?-~]+>\s*\Z")


class _Poplib(poplib.POP3):
    """The standard library's client, over a connection that was made by us."""

    def __init__(self, wire: Wire, host: str) -> None:
        self._wire = wire
        super().__init__(host)

    def _create_socket(self, timeout: object) -> Wire:
        return self._wire


@frozen
class _Command:
    """A command whose answer has many lines."""

    line: bytes
    expected: int
    """Octets that its answer will have, as far as can be told: only for how many are sent ahead."""
    size: int | None = None
    """Octets of the message as listed."""


class Said(Exception):
    """The server's ``-ERR`` to one command."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.words)
        self.answer = answer


class Connection:
    """A POP3 connection. Making one reads the greeting, and raises what a refusal in it means."""

    def __init__(self, wire: Wire, host: str) -> None:
        self.wire = wire
        self.capabilities: dict[str, list[str]] | None = None
        """What CAPA tells, names in upper case; ``None``: the server has no CAPA."""
        self.secret = ""
        """What no error may repeat."""
        self._owed: deque[_Command] = deque()
        """What was sent and is not answered yet."""
        self._has_top = True
        self.pop = self._greet(host)

    def _greet(self, host: str) -> poplib.POP3:
        try:
            return _Poplib(self.wire, host)
        except poplib.error_proto as error:
            answer = self._read_error(error)
            if answer is not None:
                raise self.grade(answer, "greeting") from None
            raise Denied(
                "what answers there is not a POP3 server",
                remedy="Check host, port and tls (implicit, starttls).",
            ) from None

    @property
    def has_challenge(self) -> bool:
        """Tell whether the greeting has a challenge for APOP: a message identifier (RFC 1939 §7), nothing else."""
        return _CHALLENGE.search(self.pop.getwelcome()) is not None

    def offers(self, name: str) -> bool:
        """Tell whether the server announces a capability."""
        return self.capabilities is not None and name in self.capabilities

    @property
    def login_delay(self) -> float | None:
        """Seconds that the server wants between two logins (RFC 2449 §6.5)."""
        words = (self.capabilities or {}).get("LOGIN-DELAY", [])
        return float(words[0]) if words and words[0].isdigit() and len(words[0]) < 9 else None

    def ask_capabilities(self) -> None:
        """Ask CAPA (RFC 2449), which a server need not have. What it told once it does not take back by a refusal."""
        with suppress(Said):
            lines = self.lines(b"CAPA", MAX_CAPABILITIES)
            words = (line.decode("ascii", "replace").upper().split() for line in lines)
            self.capabilities = {each[0]: each[1:] for each in words if each}

    def grade(self, answer: Answer, doing: Doing) -> AlimailError:
        """Return the error that a ``-ERR`` stands for."""
        return grade(answer, doing, self.login_delay)

    # One command

    def run(self, command: Callable[[], _Said]) -> _Said:
        """Let poplib send one command and read its answer. Raises ``Said`` or ``Transient``."""
        self.settle()
        return self._said(command)

    def _said(self, command: Callable[[], _Said]) -> _Said:
        try:
            return command()
        except poplib.error_proto as error:
            answer = self._read_error(error)
            if answer is None:
                raise self.wire.fail("the server said something that is not POP3") from None
            raise Said(answer) from None

    def _read_error(self, error: poplib.error_proto) -> Answer | None:
        """Read what a server said; ``None`` where it was no answer. poplib's own complaints are text."""
        said = error.args[0] if error.args else b""
        return parse_answer(said, self.secret) if isinstance(said, bytes) else None

    def exchange(self, line: bytes) -> bytes:
        """Send a line, and return the status line that answers it. Raises ``Said`` or ``Transient``."""
        self.settle()
        self.wire.sendall(line + b"\r\n")
        return self._status()

    def lines(self, command: bytes, most: int = MAX_LIST) -> list[bytes]:
        """Send a command that a list answers; return its lines, which poplib stumbles over where they are odd.

        Raises ``Said`` or ``Transient``.
        """
        lf = not self.exchange(command).endswith(b"\r\n")
        return self.wire.body(lf=lf, most=most).splitlines()

    def _status(self) -> bytes:
        line = self.wire.status()
        if line[:1] == b"+":
            return line
        answer = parse_answer(line, self.secret)
        assert answer is not None  # Wire.status lets nothing else pass.
        raise Said(answer)

    # Messages

    @property
    def has_top(self) -> bool:
        """Tell whether the server has TOP, as far as is known: a server without CAPA is tried."""
        return self._has_top and (self.capabilities is None or self.offers("TOP"))

    def headers(self, numbers: Sequence[int]) -> Iterator[bytes | Answer]:
        """Give headers in order: by TOP, and where the server refuses that, whole messages.

        The last line end is left out: it is not the message's but POP3's where the message has none at all.
        """
        for start in range(0, len(numbers), _PART):
            part = numbers[start : start + _PART]
            told = list(self.tops(part)) if self.has_top else []
            self._has_top = self.has_top and any(isinstance(answer, bytes) for answer in told)
            for number, answer in zip_longest(part, told):
                octets = answer if isinstance(answer, bytes) else next(self.retrieve([(number, None)]))
                yield octets.removesuffix(b"\r\n") if isinstance(octets, bytes) else octets

    def tops(self, numbers: Iterable[int], lines: int = 0) -> Iterator[bytes | Answer]:
        """Give the headers of messages and so many of their lines, several commands in flight."""
        return self._pipeline(_Command(b"TOP %d %d\r\n" % (number, lines), 4096) for number in numbers)

    def retrieve(
        self, wanted: Iterable[tuple[int, int | None]], *, top: bool = False
    ) -> Iterator[bytes | Answer]:
        """Give whole messages, of each the number and the size as listed, in order; or the ``-ERR`` instead.

        By RETR, or by TOP, which marks nothing as read. Dovecot takes such a mark back upon RSET; Courier does not.
        """
        lines = b"TOP %%d %d\r\n" % WHOLE if top else b"RETR %d\r\n"
        return self._pipeline(_Command(lines % number, size or 0, size) for number, size in wanted)

    def _pipeline(self, commands: Iterable[_Command]) -> Iterator[bytes | Answer]:
        """Send commands, the next ones in flight where the server takes that, and give each answer in order.

        Left unfinished, the answers that are still owed are read and dropped before the next command.
        """
        self.settle()
        most = IN_FLIGHT if self.offers("PIPELINING") else 1
        coming = iter(commands)
        following = next(coming, None)
        while following is not None or self._owed:
            lines: list[bytes] = []
            while following is not None and self._has_room(following.expected, most):
                lines.append(following.line)
                self._owed.append(following)
                following = next(coming, None)
            if lines:
                self.wire.sendall(b"".join(lines))
            yield self._answer()

    def _has_room(self, octets: int, most: int) -> bool:
        if not self._owed:
            return True
        waiting = sum(command.expected for command in self._owed)
        return len(self._owed) < most and waiting + octets <= OCTETS_IN_FLIGHT

    def _answer(self) -> bytes | Answer:
        command = self._owed.popleft()
        self.wire.patience.begin()
        try:
            status = self._status()
        except Said as said:
            return said.answer
        lf = not status.endswith(b"\r\n")
        octets = without_dots(self.wire.body(lf=lf), lf=lf, size=command.size)
        if octets.startswith(status) and len(octets) != command.size:
            # No header begins so: what should stand before the message is in it, and all after it is out of step.
            raise self.wire.fail("the server said that it gives a message, and said it again")
        return octets

    def settle(self) -> None:
        """Read and drop what commands are still owed that nobody waits for."""
        while self._owed:
            self._answer()

    def leave(self) -> None:
        """Take leave so that the server changes nothing. Raises ``Transient`` where the connection was lost.

        RSET takes back all that a server may have noted for the end, such as which messages were read.
        """
        with suppress(Said):
            self.run(lambda: self.pop.rset())
        with suppress(Said):
            self.run(lambda: self.pop.quit())
        self.wire.close()

    def close(self) -> None:
        """Take leave where the server still listens; never raises.

        A connection that ends without QUIT changes nothing either (RFC 1939 §6).
        """
        with suppress(Transient):
            if not self.wire.broken and not self._owed:
                self.leave()
        self.wire.close()


def refused(answer: Answer, connection: Connection) -> Refused:
    """Return the refusal of one message. Raises what is not about the message but about the mailbox or the server."""
    error = connection.grade(answer, "read")
    if not isinstance(error, Refused):
        raise error
    return error
