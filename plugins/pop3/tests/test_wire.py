"""Octets, lines, dots and ends: exact, and within bounds whatever a server sends."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alimail_core import Transient
from alimail_pop3 import wire as module
from alimail_pop3.connection import Connection
from alimail_pop3.testing import CannedServer, with_dots
from alimail_pop3.wire import Wire, without_dots
from tests.impatience import make_impatient

PIECES = st.lists(
    st.sampled_from([b"\r\n", b"\r", b"\n", b".", b"..", b"a", b"\0", b"\xff", b"\r\n.", b"\n.\r\n"])
)


@contextmanager
def connected() -> Iterator[tuple[Wire, socket.socket]]:
    """Make a connection: our end of it, and the server's."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname(), 5)
        with closing(Wire(ours, 5)) as wire, listener.accept()[0] as theirs:
            yield wire, theirs


@pytest.fixture
def pair() -> Iterator[tuple[Wire, socket.socket]]:
    """Our end of a connection, and the server's."""
    with connected() as made:
        yield made


@given(PIECES)
def test_octets_come_as_they_were_sent(pieces: list[bytes]) -> None:
    """Lone CR, bare LF, dots and NUL: whatever a server sends by RFC 1939 is given as it was, ended by CRLF."""
    octets = b"".join(pieces)
    octets = octets if octets.endswith(b"\r\n") or not octets else octets + b"\r\n"
    with connected() as (wire, theirs):
        theirs.sendall(with_dots(octets) + b"+OK next\r\n")
        assert without_dots(wire.body(lf=False)) == octets
        assert wire.status() == b"+OK next\r\n"


def test_a_bare_lf_ends_nothing(pair: tuple[Wire, socket.socket]) -> None:
    """Who writes a message cannot write the server's answers: a dot between bare LFs is content."""
    wire, server = pair
    smuggled = b"Subject: x\r\n\r\nhello\n.\r\n+OK\r\nSubject: forged\r\n"
    server.sendall(with_dots(smuggled))
    assert without_dots(wire.body(lf=False)) == smuggled


@pytest.mark.parametrize("end", [b".\n", b".\r\n"])
def test_a_server_that_ends_lines_with_lf_is_understood(pair: tuple[Wire, socket.socket], end: bytes) -> None:
    """Where its status line ends so, its other lines do."""
    wire, server = pair
    server.sendall(b"+OK\nSubject: x\n\n..a\n.b\n" + end + b"+OK\n")
    assert wire.status() == b"+OK\n"
    assert without_dots(wire.body(lf=True), lf=True) == b"Subject: x\n\n.a\n.b\n"
    assert wire.status() == b"+OK\n"
    server.sendall(end)
    assert wire.body(lf=True) == b""


def test_the_size_tells_whether_a_dot_after_a_bare_lf_was_doubled() -> None:
    """Some servers take a bare LF for the end of a line, and others do not."""
    assert without_dots(b"a\n..b\r\n..c\r\n", size=10) == b"a\n.b\r\n.c\r\n"
    assert without_dots(b"a\n..b\r\n..c\r\n", size=11) == b"a\n..b\r\n.c\r\n"
    assert without_dots(b"a\n..b\r\n..c\r\n") == b"a\n..b\r\n.c\r\n"


def test_a_message_arrives_in_pieces(pair: tuple[Wire, socket.socket]) -> None:
    """Wherever the network cuts, the end is found."""
    wire, server = pair
    octets = b"A: b\r\n\r\n.\r\n..\r\nend"
    for octet in with_dots(octets):
        wire._buffer += bytes([octet])
        if wire._buffer.endswith(b"end\r\n.\r\n"):
            break
        assert wire._find_end(0, False) is None
    server.close()
    assert without_dots(wire.body(lf=False)) == octets + b"\r\n"


def test_an_endless_line_ends_the_connection(pair: tuple[Wire, socket.socket]) -> None:
    """No more than a line's worth is kept of a line that never ends."""
    wire, server = pair
    server.sendall(b"+OK " + b"x" * 2 * module.MAX_LINE)
    with pytest.raises(Transient, match="endless line"):
        wire.status()
    assert wire.broken


def test_an_endless_answer_ends_the_connection(pair: tuple[Wire, socket.socket]) -> None:
    """A message is bounded, and so are capabilities."""
    wire, server = pair
    server.sendall(b"x\r\n" * 5_000)
    with pytest.raises(Transient, match="endless answer"):
        wire.body(lf=False, most=10_000)


def test_an_endless_list_ends_the_connection(
    pair: tuple[Wire, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What poplib reads line by line is bounded as well, from one command to the next."""
    monkeypatch.setattr(module, "MAX_LIST", 1_000)
    wire, server = pair
    for _ in range(2):
        wire.sendall(b"LIST\r\n")
        server.sendall(b"1 1\r\n" * 200)
        for _ in range(200):
            wire.readline()
    server.sendall(b"1 1\r\n")
    with pytest.raises(Transient, match="endless list"):
        wire.readline()


def test_what_is_no_answer_ends_the_connection(pair: tuple[Wire, socket.socket]) -> None:
    """A server that is out of step is not believed any more."""
    wire, server = pair
    server.sendall(b"Received: from\r\n")
    with pytest.raises(Transient, match="not POP3"):
        wire.status()
    with pytest.raises(Transient, match="closed"):
        wire.sendall(b"NOOP\r\n")


def test_silence_and_ends_are_transient(pair: tuple[Wire, socket.socket]) -> None:
    """A server that says nothing, or goes, may come back."""
    wire, _ = pair
    wire._sock.settimeout(0.01)
    with pytest.raises(Transient, match="silent"):
        wire.status()
    with connected() as (wire, server):
        server.close()
        with pytest.raises(Transient, match="closed the connection"):
            wire.status()


@contextmanager
def trickling(first: bytes, then: bytes, last: bytes = b"", times: int = 5_000) -> Iterator[Wire]:
    """Give our end of a connection to a server that says this, then that again and again, each time once we wait."""
    with connected() as (wire, theirs):

        def talk() -> None:
            with suppress(OSError):
                theirs.sendall(first)
                for _ in range(times):
                    time.sleep(0.001)
                    theirs.sendall(then)
                theirs.sendall(last)
                theirs.shutdown(socket.SHUT_WR)

        thread = threading.Thread(target=talk)
        thread.start()
        try:
            yield wire
        finally:
            wire.close()
            thread.join()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten waits are enough for a thousand octets."""
    make_impatient(monkeypatch, module)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("first", "then", "ask"),
    [
        (b"+OK ", b"x", Wire.status),
        (b"", b"x\r\n", lambda wire: wire.body(lf=False)),
        (b"+OK ready\r\n+OK ", b"x", lambda wire: Connection(wire, "localhost").ask_capabilities()),
        (b"+OK ready\r\n+OK ", b"x", lambda wire: Connection(wire, "localhost").pop.user("anna")),
    ],
)
def test_an_answer_that_trickles_without_end_is_given_up(
    first: bytes, then: bytes, ask: Callable[[Wire], object]
) -> None:
    """Something comes again and again, so that the server is never silent, and nothing comes to its end."""
    with trickling(first, then) as wire:
        with pytest.raises(Transient, match="hardly moved"):
            ask(wire)
        assert wire.broken


@pytest.mark.usefixtures("impatient")
def test_a_slow_answer_is_waited_for() -> None:
    """It may take as long as it likes, as long as it moves."""
    with trickling(b"", b"x" * 498 + b"\r\n", b".\r\n", 100) as wire:
        assert len(wire.body(lf=False)) == 50_000


@pytest.mark.usefixtures("impatient")
def test_each_command_is_waited_for_anew() -> None:
    """A server that says little about many commands is as good as any, also where several are in flight."""

    def slowly(_: bytes) -> bytes:
        time.sleep(0.001)
        return b"-ERR\r\n"

    with CannedServer(replies={b"RETR": slowly}) as server:
        connection = Connection(Wire(socket.create_connection(("127.0.0.1", server.port), 5), 5), "localhost")
        connection.ask_capabilities()
        assert len(list(connection.retrieve((number, None) for number in range(30)))) == 30
        for _ in range(30):
            connection.pop.noop()
        connection.close()
