"""Hostile and broken servers: nothing endless, nothing out of step, every end a Transient with its reason."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count, pairwise

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from alimail_core.errors import Throttled, Transient
from alimail_core.model import Changes, Entry, Folder, Message
from alimail_imap import connection as connection_module
from alimail_imap import wire
from alimail_imap.connection import Connection
from alimail_imap.login import connect
from alimail_imap.source import ImapSource
from alimail_imap.testing import CLOSE, CannedServer, Reply
from tests.impatience import make_impatient

BOX = Folder(("Box",))


def opened(server: CannedServer) -> Connection:
    """Connect to a canned server."""
    return connect(server.options, server.credentials)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (b"ZZ9 OK whose is this?\r\n", "not IMAP"),
        (b"\x00\x01\x02 garbage\r\n", "not IMAP"),
        (b"\r\n", "not IMAP"),
        (b"{tag} MAYBE\r\n", "no status"),
        (b"+ go on\r\n", "nothing to go on with"),
        (b"* 1 FETCH (BODY[] {99999999999}\r\n", "more than we take"),
        (b"* 1 FETCH (BODY[] {1000}\r\nshort" + CLOSE, "closed the connection"),
        (b"* OK half a li" + CLOSE, "closed the connection"),
        (b"* BYE Shutting down\r\n" + CLOSE, "Shutting down"),
    ],
)
def test_what_breaks_the_protocol_ends_the_connection(words: bytes, reason: str) -> None:
    """The engine is told to reconnect, and why; the connection is not used again."""
    with CannedServer({b"NOOP": words + (b"" if words.endswith(CLOSE) else CLOSE)}) as server:
        connection = opened(server)
        with pytest.raises(Transient, match=reason):
            connection.run(b"NOOP")
        with pytest.raises(Transient):
            connection.run(b"NOOP")
        connection.close()


def test_words_of_farewell_are_read_also_where_nothing_can_be_sent_any_more() -> None:
    """The server says why it goes, and goes, before our next command: the reason is its own, not a broken pipe."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    theirs.sendall(b"* OK still here\r\n* BYE Enough for today\r\n")
    theirs.close()
    connection = Connection(wire.Wire(ours, 5.0))
    with pytest.raises(Transient, match="Broken pipe"):
        connection.wire.write([b"A0 NOOP\r\n"] * 1_000_000)  # so many that the kernel knows before the end
    with pytest.raises(Transient, match="Enough for today"):
        connection.run(b"NOOP")
    assert connection.wire.broken


def test_an_endless_line_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server cannot fill our memory with one line."""
    monkeypatch.setattr(wire, "MAX_TEXT", 300_000)
    with CannedServer({b"NOOP": b"* OK " + b"x" * 1_000_000 + CLOSE}) as server:
        connection = opened(server)
        with pytest.raises(Transient, match="endless line"):
            connection.run(b"NOOP")


@contextmanager
def trickling(first: bytes, then: bytes, last: bytes = b"", times: int | None = None) -> Iterator[Connection]:
    """Give a connection to a server that says this, then that again and again, each time once we wait."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()

    def talk() -> None:
        with suppress(OSError):
            theirs.sendall(first)
            for _ in range(times) if times else count():
                time.sleep(0.001)
                theirs.sendall(then)
            theirs.sendall(last)

    thread = threading.Thread(target=talk)
    thread.start()
    try:
        yield Connection(wire.Wire(ours, 5.0))
    finally:
        ours.close()
        thread.join()
        theirs.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten waits are enough for a thousand octets."""
    make_impatient(monkeypatch, wire)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("first", "then"),
    [(b"", b"* OK\r\n"), (b"* OK ", b"x"), (b"* 1 FETCH (BODY[] {9999}\r\n", b"x")],
)
def test_an_answer_that_trickles_without_end_is_given_up(first: bytes, then: bytes) -> None:
    """Something comes again and again, so that the server is never silent, and nothing comes to its end."""
    with trickling(first, then) as connection, pytest.raises(Transient, match="hardly moved"):
        connection.run(b"NOOP")


@pytest.mark.usefixtures("impatient")
def test_a_slow_answer_is_waited_for() -> None:
    """It may take as long as it likes, as long as it moves."""
    body = b"x" * 500
    with trickling(b"* 1 FETCH (BODY[] {50000}\r\n", body, b")\r\nA1 OK\r\n", 100) as connection:
        [response], status = connection.run(b"NOOP")
    assert (len(response.parts[1]), status.ok) == (50_000, True)


@pytest.mark.usefixtures("impatient")
def test_each_command_is_waited_for_anew() -> None:
    """A server that says little about many commands is as good as any."""

    def slowly(_: bytes) -> bytes:
        time.sleep(0.001)
        return b"{tag} OK\r\n"

    with CannedServer({b"NOOP": slowly}) as server:
        connection = opened(server)
        for _ in range(30):
            connection.run(b"NOOP")
        connection.close()


def test_unasked_responses_without_end_are_not_read_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that says ever more, and ends no command, is given up; one that ends them may say as much in all."""
    monkeypatch.setattr(connection_module, "MAX_UNTAGGED", 10_000)
    words = b"* OK Still here\r\n" * 500
    with CannedServer({b"NOOP": words, b"CHECK": 2 * words}) as server:
        connection = opened(server)
        for _ in range(3):
            connection.run(b"NOOP")
        with pytest.raises(Transient, match="on and on"):
            connection.run(b"CHECK")


def test_silence_is_transient() -> None:
    """A server that says nothing for the time given counts as lost."""
    silent: dict[bytes, Reply] = {b"NOOP": b"* OK wait for it {tag}\r\n"}
    with CannedServer(silent) as server:
        connection = connect(evolve(server.options, timeout=1.0), server.credentials)
        with pytest.raises(Transient, match="silent"):
            connection.run(b"NOOP")


def test_a_bye_that_asks_for_a_slower_pace_is_throttled() -> None:
    """The last words of a server that throws us out are heard."""
    with CannedServer({b"NOOP": b"* BYE Too many connections from your host\r\n" + CLOSE}) as server:
        connection = opened(server)
        with pytest.raises(Throttled):
            connection.run(b"NOOP")


def test_answers_before_their_turn_are_kept() -> None:
    """A server may finish two commands in another order than they were sent in."""
    with CannedServer() as server:
        connection = opened(server)
        tag = connection.send(b"NOOP")
        later = connection.send(b"NOOP")
        first = connection.wire.read()
        second = connection.wire.read()
        connection._held.extend((second, first))
        for waited in (tag, later):
            with pytest.raises(StopIteration) as stop:
                next(connection.until(waited))
            assert stop.value.value.ok
        connection.close()


def test_an_answer_that_nobody_waits_for_is_dropped() -> None:
    """A stream that was left unfinished does not put the next command out of step."""
    fetches = b"".join(
        b"* %d FETCH (UID %d BODY[] {3}\r\nabc)\r\n" % (number, number) for number in range(1, 9)
    )
    with CannedServer({b"FETCH": fetches, b"STATUS": b"* STATUS Box (MESSAGES 8)\r\n"}) as server:
        connection = opened(server)
        stream = connection.stream(b"FETCH 1:8 BODY[]")
        next(stream)
        stream.close()
        responses = connection.ask(b"STATUS Box (MESSAGES)")
        assert [response.kind() for response in responses] == [b"STATUS"]
        connection.close()


def test_unasked_responses_disturb_nothing() -> None:
    """EXISTS, EXPUNGE, FETCH with flags alone, alerts and unknown words may come at any time."""
    noise = b"* 9 EXISTS\r\n* 2 EXPUNGE\r\n* 1 FETCH (FLAGS (\\Seen))\r\n* OK [X (]) \x80\r\n* XYZZY {3}\r\nabc\r\n"
    body = b"* 1 FETCH (UID 7 BODY[] {3}\r\nabc)\r\n* 1 FETCH (UID 7 BODY[] {3}\r\nxyz)\r\n"
    replies: dict[bytes, Reply] = {
        b"EXAMINE": b"* OK [X (]) \x80\r\n* 1 EXISTS\r\n* OK [UIDVALIDITY 1] ok\r\n* OK [UNSEEN 0] ok\r\n",
        b"FETCH": noise
        + b'* 1 FETCH (UID 7 FLAGS () INTERNALDATE "01-Jan-2020 00:00:00 +0000" RFC822.SIZE 3)\r\n',
        b"UID FETCH 7": noise + body + noise,
    }
    replies[b"EXAMINE"] = (
        b"* OK [X (]) \x80\r\n* 1 EXISTS\r\n* OK [UIDVALIDITY 1] ok\r\n* OK [UNSEEN 0] ok\r\n"
    )
    with CannedServer(replies) as server, ImapSource.open(server.options, server.credentials) as source:
        (page,) = source.changes([(BOX, None)])
        assert isinstance(page, Changes)
        assert [entry.key for entry in page.entries] == ["1/7"]
        (message,) = source.fetch([(BOX, page.entries)])
        assert isinstance(message, Message)
        assert message.octets == b"abc"


def test_two_full_pipes_do_not_wait_for_one_another() -> None:
    """A server that talks more than the pipe holds while we send is listened to meanwhile."""
    with CannedServer({b"NOOP": b"* OK " + b"x" * 30_000 + b"\r\n"}) as server:
        connection = opened(server)
        connection.wire._sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 262_144)
        tags = [connection.send(b"NOOP" + b" " * 100_000) for _ in range(300)]
        for tag in tags:
            for response in connection.until(tag):
                assert response.kind() == b"OK"
        connection.close()


def test_a_large_literal_arrives_whole() -> None:
    """Octets are the ones that were sent, whatever the pieces they came in."""
    octets = bytes(range(256)) * 20_000
    body = b"* 1 FETCH (UID 7 BODY[] {%d}\r\n%s)\r\n" % (len(octets), octets)
    replies: dict[bytes, Reply] = {
        b"EXAMINE": b"* 1 EXISTS\r\n* OK [UIDVALIDITY 1] ok\r\n",
        b"UID FETCH": body,
    }
    with CannedServer(replies) as server, ImapSource.open(server.options, server.credentials) as source:
        (message,) = source.fetch([(BOX, [Entry("1/7")])])
        assert isinstance(message, Message)
        assert message.octets == octets


class Pieces(wire.Wire):
    """A wire on which octets come in the pieces that a test chooses."""

    def __init__(self, octets: bytes, cuts: list[int]) -> None:
        places = [0, *sorted(cut % (len(octets) + 1) for cut in cuts), len(octets)]
        self.pieces = [octets[start:end] for start, end in pairwise(places) if start < end]
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self._own = socket.create_connection(listener.getsockname())
        super().__init__(self._own, 1.0)

    def _receive_now(self, most: int) -> bytes | None:
        if not self.pieces:
            raise self.fail("no more")
        piece, rest = self.pieces[0][:most], self.pieces[0][most:]
        self.pieces[:1] = [rest] if rest else []
        return piece


LITERALS = st.lists(st.binary(max_size=40) | st.just(b"* OK\r\n") | st.just(b"{3}\r\n"), max_size=4)


@given(st.lists(LITERALS, min_size=1, max_size=5), st.lists(st.integers(0, 500), max_size=20))
def test_responses_are_the_same_however_they_are_cut(said: list[list[bytes]], cuts: list[int]) -> None:
    """Lines and literals come apart in the same places whatever pieces the network makes of them."""
    octets = b"".join(
        b"* X" + b"".join(b" {%d}\r\n%s" % (len(literal), literal) for literal in literals) + b"\r\n"
        for literals in said
    )
    pieces = Pieces(octets, cuts)
    for literals in said:
        assert pieces.read().parts[1::2] == literals
    with pytest.raises(Transient, match="no more"):
        pieces.read()


def test_a_response_of_many_literals_is_bounded_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred literals are no way around the bound on one."""
    monkeypatch.setattr(wire, "MAX_LITERAL", 1_000)
    monkeypatch.setattr(wire, "MAX_TEXT", 1_000)
    words = b"* X" + b" {900}\r\n" + b"x" * 900 + b" {900}\r\n" + b"x" * 900 + b" {900}\r\n" + CLOSE
    with CannedServer({b"NOOP": words}) as server:
        connection = opened(server)
        with pytest.raises(Transient, match="more than we take"):
            connection.run(b"NOOP")


def test_an_answer_without_end_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short responses for ever do not fill our memory either."""
    monkeypatch.setattr(connection_module, "MAX_ANSWER", 10_000)
    with CannedServer({b"NOOP": b"* 1 RECENT\r\n" * 2_000}) as server:
        connection = opened(server)
        with pytest.raises(Transient, match="longer than we take"):
            connection.run(b"NOOP")
        connection.close()


def test_many_tiny_responses_count_for_what_they_cost(monkeypatch: pytest.MonkeyPatch) -> None:
    """A response of ten octets takes hundreds of memory, and counts so."""
    monkeypatch.setattr(connection_module, "MAX_ANSWER", 100_000)
    with CannedServer({b"NOOP": b"* 1 RECENT\r\n" * 1_000}) as server:
        connection = opened(server)
        with pytest.raises(Transient, match="longer than we take"):
            connection.run(b"NOOP")
        connection.close()
