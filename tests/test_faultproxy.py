"""The fault proxy does at each moment what it says, and nothing that it was not told to."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Self

import pytest
from attrs import frozen

from alimail_core.testing.faultproxy import GARBAGE, UNASKED, FaultProxy, Moment, WireFault
from alimail_core.testing.servers import Dovecot

pytestmark = pytest.mark.server

LETTER = b"Subject: hello\r\n\r\nWorld\r\n"
ENDED = b""
"""What is heard of a connection that is over."""


@frozen
class Talk:
    """A client that is logged in by way of a proxy, with one message in its inbox."""

    connection: socket.socket
    reader: socket.SocketIO

    def say(self, *octets: bytes) -> Self:
        self.connection.sendall(b"".join(octets))
        return self

    def hear(self) -> bytes:
        """Return the next line, nothing where the connection is over, ``b"..."`` where nothing comes."""
        try:
            return self.reader.readline()
        except ConnectionError:
            return ENDED
        except TimeoutError:
            return b"..."

    def be_patient_with(self, fault: WireFault) -> None:
        """Wait long for what is to come, and not long for what is not."""
        self.connection.settimeout(1.5 if fault in (WireFault.SILENT, WireFault.STALLED) else 30)

    def answer(self, tag: bytes = b"t") -> bytes:
        """Return the line that ends an answer."""
        while (line := self.hear()) and not line.startswith((tag + b" ", b"...")):
            pass
        return line

    def append(self, octets: bytes = LETTER) -> bytes:
        """Send a message without waiting; return the answer."""
        self.say(b"t APPEND INBOX {%d+}\r\n" % len(octets), octets, b"\r\n")
        return self.answer()


@pytest.fixture
def user(source_server: Dovecot) -> str:
    """A mailbox with one message."""
    name = source_server.new_user()
    source_server.deliver(name, ("INBOX",), LETTER)
    return name


@pytest.fixture
def proxy(source_server: Dovecot) -> Iterator[FaultProxy]:
    """A proxy before a Dovecot."""
    upstream = (source_server.host, source_server.imap_port)
    with FaultProxy(upstream, certificate=source_server.certificate, pause=0.01) as proxy:
        yield proxy


@contextmanager
def talking(proxy: FaultProxy, server: Dovecot, user: str) -> Iterator[Talk]:
    with (
        socket.create_connection((proxy.host, proxy.port), 30) as connection,
        connection.makefile("rb", buffering=0) as reader,
    ):
        talk = Talk(connection, reader)
        talk.hear()
        login = b"l LOGIN %s %s\r\n" % (user.encode(), server.password.encode())
        assert talk.say(login).answer(b"l").startswith(b"l OK")
        yield talk


@pytest.fixture
def talk(proxy: FaultProxy, source_server: Dovecot, user: str) -> Iterator[Talk]:
    """A client that is logged in."""
    with talking(proxy, source_server, user) as talk:
        yield talk


def held(server: Dovecot, user: str, at_least: int = 0) -> int:
    """Count the messages in the inbox, once there are so many of them: nobody hears when what is silenced is done."""
    for _ in range(300):
        if (found := server.snapshot(user)[("INBOX",)].total()) >= at_least:
            break
    return found


APPENDS = (Moment.APPEND_BEFORE, Moment.APPEND_WITHIN, Moment.APPEND_AFTER)
ANSWERS: list[tuple[WireFault, bytes, int]] = [
    (WireFault.CUT, ENDED, 0),
    (WireFault.LOST, ENDED, 1),
    (WireFault.SILENT, b"...", 1),
    (WireFault.NO, b"t NO Not now\r\n", 0),
    (WireFault.BAD, b"t BAD Not now\r\n", 0),
    (WireFault.BYE, ENDED, 0),
    (WireFault.DELAYED, b"t OK", 1),
    (WireFault.TRICKLED, b"t OK", 1),
    (WireFault.GARBAGE, b"t OK", 1),
    (WireFault.UNASKED, b"t OK", 1),
]


@pytest.mark.parametrize(
    ("fault", "answer", "stored"), ANSWERS, ids=lambda value: getattr(value, "name", None)
)
@pytest.mark.parametrize("moment", APPENDS, ids=lambda moment: moment.name.lower())
def test_a_message_is_stored_or_not_and_answered_or_not(
    moment: Moment,
    fault: WireFault,
    answer: bytes,
    stored: int,
    proxy: FaultProxy,
    talk: Talk,
    user: str,
    source_server: Dovecot,
) -> None:
    """Before, within and after a literal each fault leaves the server, and the client, what it says."""
    proxy.strike(fault, moment)
    talk.be_patient_with(fault)
    heard = talk.append()
    assert heard.startswith(answer)
    assert (heard == ENDED) == (answer == ENDED)
    assert proxy.struck == [(fault, moment)]
    proxy.release()
    talk.connection.close()
    assert held(source_server, user, 1 + stored) == 1 + stored


def test_what_comes_late_comes_when_it_is_released(
    proxy: FaultProxy, talk: Talk, user: str, source_server: Dovecot
) -> None:
    """The client is cut off, and the server stores the message only when it is let."""
    proxy.strike(WireFault.LATE, Moment.APPEND_AFTER)
    assert talk.append() == ENDED
    assert held(source_server, user) == 1
    assert proxy.release() == 1
    assert held(source_server, user) == 2
    assert proxy.release() == 0


@pytest.mark.parametrize(("number", "struck"), [(1, [True, False, False]), (3, [False, False, True])])
def test_the_nth_time_is_struck_and_no_other(
    number: int, struck: list[bool], proxy: FaultProxy, talk: Talk
) -> None:
    """A fault happens once, when its moment has come so many times."""
    proxy.strike(WireFault.NO, Moment.LIST, number)
    answers = [talk.say(b't LIST "" "*"\r\n').answer().startswith(b"t NO") for _ in range(3)]
    assert answers == struck
    assert proxy.reached[Moment.LIST] == 3


def fetch(talk: Talk, fault: WireFault | None = None) -> bytes:
    """Fetch the message, which a fault may befall; return all that is heard."""
    talk.say(b"s SELECT INBOX\r\n").answer(b"s")
    if fault is not None:
        talk.be_patient_with(fault)
    talk.say(b"t UID FETCH 1:* (UID BODY.PEEK[])\r\n")
    heard = b""
    while (line := talk.hear()) and not line.startswith((b"t ", b"...")):
        heard += line
    return heard + line


@pytest.mark.parametrize(
    ("fault", "moment", "is_so"),
    [
        (WireFault.CUT, Moment.FETCH_BEFORE, lambda heard: heard == b""),
        (WireFault.CUT, Moment.FETCH_WITHIN, lambda heard: heard.endswith(LETTER[: len(LETTER) // 2])),
        (WireFault.CUT, Moment.FETCH_AFTER, lambda heard: heard.endswith(LETTER + b")\r\n")),
        (
            WireFault.TRUNCATED,
            Moment.FETCH_AFTER,
            lambda heard: b"\r\nt OK" in heard and not heard.endswith(b"\n"),
        ),
        (WireFault.STALLED, Moment.FETCH_WITHIN, lambda heard: heard.endswith(b"...")),
        (WireFault.SILENT, Moment.FETCH_AFTER, lambda heard: heard.endswith(LETTER + b")\r\n...")),
        (WireFault.SILENT, Moment.FETCH_WITHIN, lambda heard: LETTER not in heard and b"t OK" in heard),
        (WireFault.NO, Moment.FETCH_WITHIN, lambda heard: heard.endswith(LETTER + b")\r\nt NO Not now\r\n")),
        (WireFault.GARBAGE, Moment.FETCH_WITHIN, lambda heard: GARBAGE in heard and LETTER not in heard),
        (WireFault.UNASKED, Moment.FETCH_BEFORE, lambda heard: heard.startswith(UNASKED) and LETTER in heard),
        (WireFault.BYE, Moment.FETCH_AFTER, lambda heard: heard.endswith(LETTER + b")\r\n* BYE Not now\r\n")),
        (WireFault.TRICKLED, Moment.FETCH_BEFORE, lambda heard: LETTER in heard and b"t OK" in heard),
    ],
)
def test_a_message_is_heard_as_far_as_the_fault_leaves_it(
    fault: WireFault, moment: Moment, is_so: Callable[[bytes], bool], proxy: FaultProxy, talk: Talk
) -> None:
    """Before, within and after a literal that is fetched each fault leaves the client what it says."""
    proxy.strike(fault, moment)
    assert is_so(fetch(talk, fault))
    assert proxy.struck == [(fault, moment)]


@pytest.mark.parametrize(
    ("fault", "greeting"),
    [
        (WireFault.CUT, ENDED),
        (WireFault.BYE, b"* BYE Not now\r\n"),
        (WireFault.GARBAGE, GARBAGE),
        (WireFault.UNASKED, b"* OK Still here\r\n"),
    ],
)
@pytest.mark.parametrize("moment", [Moment.CONNECT, Moment.GREETING])
def test_a_connection_begins_as_the_fault_says(
    moment: Moment, fault: WireFault, greeting: bytes, proxy: FaultProxy
) -> None:
    """A client hears nothing, a goodbye or nonsense."""
    proxy.strike(fault, moment)
    with (
        socket.create_connection((proxy.host, proxy.port), 30) as connection,
        connection.makefile("rb") as reader,
    ):
        assert Talk(connection, reader).hear() == greeting  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "fault", [WireFault.CUT, WireFault.TRUNCATED, WireFault.BYE, WireFault.GARBAGE, None]
)
def test_a_handshake_fails_or_succeeds(
    fault: WireFault | None, proxy: FaultProxy, source_server: Dovecot
) -> None:
    """TLS is struck before the server's first octets are through, and untouched it is TLS."""
    if fault is not None:
        proxy.strike(fault, Moment.TLS)
    context = ssl.create_default_context(cafile=source_server.ca_file)
    with socket.create_connection((proxy.host, proxy.tls_port), 30) as connection:
        if fault is None:
            with context.wrap_socket(connection, server_hostname="localhost") as secure:
                assert secure.recv(100).startswith(b"* OK")
        else:
            with pytest.raises((ConnectionError, ssl.SSLError)):
                context.wrap_socket(connection, server_hostname="localhost")
    assert proxy.reached[Moment.TLS] == 1


def test_a_seed_repeats_itself_and_calm_ends_it(proxy: FaultProxy, talk: Talk) -> None:
    """The same seed strikes the same moments of the same talk, until all is calm."""
    rows = []
    for seed in (7, 7, 8):
        proxy.struck.clear()
        proxy.haunt(seed, 0.3, [WireFault.NO, WireFault.BAD])
        rows.append([talk.say(b"t NOOP\r\n").answer()[:4] for _ in range(30)])
        assert 0 < len(proxy.struck) < 30
        assert {moment for _, moment in proxy.struck} == {Moment.OTHER}
    assert rows[0] == rows[1] != rows[2]
    proxy.calm()
    assert {talk.say(b"t NOOP\r\n").answer()[:4] for _ in range(30)} == {b"t OK"}


def test_the_first_look_after_a_message_is_a_moment_of_its_own(proxy: FaultProxy, talk: Talk) -> None:
    """What reads after an APPEND settles; what reads before it, or once more, lists."""
    fetch(talk)
    assert not proxy.reached[Moment.SETTLE]
    talk.append()
    talk.say(b"t SELECT INBOX\r\n").answer()
    for _ in range(2):
        talk.say(b"t UID FETCH 1:* (FLAGS)\r\n").answer()
    assert (proxy.reached[Moment.SETTLE], proxy.reached[Moment.LISTING]) == (2, 1)
