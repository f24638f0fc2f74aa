"""Storing over several connections: each message once, one outcome each, whichever connection dies."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator

import pytest
from attrs import evolve

from alimail_core.errors import AlimailError, InDoubt, Interrupted, OverQuota, Transient
from alimail_core.model import BATCH_MESSAGES, BATCH_OCTETS, Batch, Delivery, Folder, NotStored, Stored
from alimail_imap.shares import USUAL, Shares
from alimail_imap.sink import ImapSink
from alimail_imap.spread import (
    AT_ONCE,
    FIRST,
    FIRST_ROUNDS,
    MAX_OWED,
    PATIENCE,
    ROUNDS,
    Pace,
    Spread,
    _Waiting,
)
from alimail_imap.testing import CLOSE, CannedServer

BOX = Folder(("Box",))
POOR = b"IMAP4rev1 UIDPLUS"
RICH = b"IMAP4rev1 LITERAL+ MULTIAPPEND UIDPLUS"
MESSAGES = ROUNDS * FIRST * 2
MAIN = "0"


def batch(first: int = 0, messages: int = MESSAGES) -> list[Delivery]:
    """Make a batch of messages that tell their number."""
    numbers = range(first, first + messages)
    return [Delivery(number, BOX, b"Subject: %d\r\n\r\nhello\r\n" % number) for number in numbers]


class Server(CannedServer):
    """Answers no APPEND before so many connections have brought one; notes which of them brought what."""

    def __init__(
        self,
        connections: int = FIRST,
        answer: Callable[[bytes], bytes] = lambda _: b"",
        most: int | None = None,
        capabilities: bytes = POOR,
    ) -> None:
        replies = {b"LOGIN": self._log_in, b"APPEND": self._append}
        self._together = threading.Condition()
        self._wanted = connections
        self._answer_to = answer
        self.logins = 0
        self.brought: list[str] = []
        super().__init__(replies, capabilities=capabilities, most=most)

    def _log_in(self, _: bytes) -> bytes:
        self.logins += 1
        return b""

    def _append(self, command: bytes) -> bytes:
        with self._together:
            self.brought.append(threading.current_thread().name)
            self._together.notify_all()
            assert self._together.wait_for(lambda: len(set(self.brought)) >= self._wanted, 10)
        return self._answer_to(command)

    def await_commands(self, number: int) -> None:
        """Wait until so many APPENDs have come."""
        with self._together:
            assert self._together.wait_for(lambda: len(self.brought) >= number, 10)

    def sent(self) -> list[int]:
        """Return the numbers of the messages that came, in ascending order."""
        return sorted(
            int(command.split()[-2 if b"hello" in command else -1]) for command in self.commands(b"APPEND")
        )


def store(
    server: Server, batches: Iterable[Batch]
) -> tuple[dict[int, Stored | NotStored], AlimailError | None]:
    """Append batches; return the outcome of each delivery, of which there is exactly one, and what was raised."""
    found: list[Stored | NotStored] = []
    error: AlimailError | None = None
    with server, ImapSink.open(server.options, server.credentials, choose=lambda _: Spread()) as sink:
        try:
            found.extend(sink.append(batches))
        except AlimailError as raised:
            error = raised
    outcomes = {outcome.id: outcome for outcome in found}
    assert len(found) == len(outcomes)
    return outcomes, error


def grades(outcomes: Iterable[Stored | NotStored]) -> dict[str, int]:
    """Count the outcomes by what they say."""
    names = [type(one.error).__name__ if isinstance(one, NotStored) else "Stored" for one in outcomes]
    return {name: names.count(name) for name in set(names)}


def test_connections_share_the_messages() -> None:
    """Each message goes once, over one of the connections."""
    server = Server()
    outcomes, error = store(server, [batch(), batch(MESSAGES)])
    assert error is None
    assert grades(outcomes.values()) == {"Stored": 2 * MESSAGES}
    assert server.sent() == list(range(2 * MESSAGES))
    assert len(set(server.brought)) >= FIRST


def test_whole_commands_are_shared_where_many_messages_fit_in_one() -> None:
    """Over MULTIAPPEND a few connections take turns, and each message goes once."""
    server = Server(connections=2, capabilities=RICH)
    batches = [batch(first, BATCH_MESSAGES) for first in range(0, 6 * BATCH_MESSAGES, BATCH_MESSAGES)]
    with server, ImapSink.open(server.options, server.credentials) as sink:
        outcomes = list(sink.append(batches))
    assert sorted(outcome.id for outcome in outcomes) == list(range(6 * BATCH_MESSAGES))
    assert set(grades(outcomes)) == {"Stored"}
    assert len(server.commands(b"APPEND")) == len(batches)
    assert 2 <= len(set(server.brought)) <= server.logins <= AT_ONCE


def test_a_batch_for_each_lane_and_one_that_waits() -> None:
    """No lane is idle until the next intent is on the disk, and no more than that is held."""
    taken, heard, enough = 0, 0, threading.Event()

    def batches() -> Iterator[Batch]:
        nonlocal taken
        for number in range(3 * AT_ONCE):
            taken += 1
            assert taken - heard <= AT_ONCE + 1
            if taken > AT_ONCE:
                enough.set()
            yield [Delivery(number, BOX, b"x" * BATCH_OCTETS)]

    def answer(_: bytes) -> bytes:
        assert enough.wait(4)
        return b""

    server = Server(connections=1, capabilities=RICH, answer=answer)
    with server, ImapSink.open(server.options, server.credentials) as sink:
        for outcome in sink.append(batches()):
            assert isinstance(outcome, Stored)
            heard += 1
    assert heard == 3 * AT_ONCE


def test_no_more_is_taken_than_is_heard_of() -> None:
    """Lanes that are faster than their outcomes are taken in do not gather them, and the messages, in memory."""
    server, taken, heard, most = Server(connections=1, capabilities=RICH), 0, 0, 0

    def batches() -> Iterator[Batch]:
        nonlocal taken, most
        for first in range(0, 3 * MAX_OWED, BATCH_MESSAGES):
            taken += BATCH_MESSAGES
            most = max(most, taken - heard)
            yield batch(first, BATCH_MESSAGES)
            server.await_commands(taken // BATCH_MESSAGES)  # so that a lane has nothing to do

    with server, ImapSink.open(server.options, server.credentials) as sink:
        for _ in sink.append(batches()):
            heard += 1
    assert heard == taken == 3 * MAX_OWED
    assert most <= MAX_OWED + BATCH_MESSAGES


def test_lanes_go_to_different_folders() -> None:
    """What waits for a folder that others are writing to lets another folder's go first, each in its order."""
    waiting = _Waiting()
    there = [evolve(one, folder=Folder(("There",))) for one in batch(10, 3)]
    for one in (*batch(messages=3), *there):
        waiting.put([one])
    taken = [waiting.take()[0] for _ in range(3)]
    assert [one.id for one in taken] == [0, 10, 1]
    waiting.land(taken[0])
    waiting.land(taken[2])
    waiting.put_back(taken[2])
    assert len(waiting) == 4
    assert [waiting.take()[0].id for _ in range(4)] == [1, 2, 11, 12]


def test_few_messages_are_not_worth_a_login() -> None:
    """A connection more costs as much as some messages."""
    server = Server(connections=1)
    outcomes, _ = store(server, [batch(messages=ROUNDS)])
    assert grades(outcomes.values()) == {"Stored": ROUNDS}
    assert server.logins == 1


def test_large_messages_are_worth_one() -> None:
    """It is their octets that count."""
    server = Server(connections=2)
    large = [evolve(one, octets=one.octets + b"x" * 1_500_000) for one in batch(messages=4)]
    outcomes, _ = store(server, [large])
    assert grades(outcomes.values()) == {"Stored": 4}
    assert server.logins > 1


def test_a_server_that_bears_no_more_is_not_asked_again() -> None:
    """What is refused costs nothing, and the next call knows how many the server bore."""
    server, strategy = Server(connections=2, most=2), Spread()
    with server, ImapSink.open(server.options, server.credentials, choose=lambda _: strategy) as sink:
        assert grades(sink.append([batch()])) == {"Stored": MESSAGES}
        end = time.monotonic() + 60
        while strategy.pace.bears != 2 and time.monotonic() < end:
            time.sleep(0.01)  # a lane that is refused when all is stored already is heard by itself
        assert strategy.pace.bears == 2
    assert server.sent() == list(range(MESSAGES))


@pytest.mark.parametrize("main", [True, False])
def test_a_connection_that_dies_costs_only_what_it_had_sent(main: bool) -> None:
    """One message is in doubt; the one that waited for its go-ahead there is sent by another connection."""
    died = threading.Event()

    def answer(_: bytes) -> bytes:
        if (threading.current_thread().name == MAIN) == main and not died.is_set():
            died.set()
            return CLOSE
        return b""

    server = Server(answer=answer)
    outcomes, error = store(server, [batch()])
    assert grades(outcomes.values()) == {"Stored": MESSAGES - 1, "InDoubt": 1}
    assert server.sent() == list(range(MESSAGES))
    assert isinstance(error, Transient) == main


def test_nobody_waits_for_a_connection_that_is_not_needed_any_more() -> None:
    """A lane that is still logging in when all is stored has nothing to answer for, and ends by itself."""
    let_in = threading.Event()
    waited: list[bool] = []
    server = Server(connections=1)

    def log_in(_: bytes) -> bytes:
        server.logins += 1
        if server.logins > 1:
            waited.append(let_in.wait(60))
        return b""

    server.replies[b"LOGIN"] = log_in
    with server, ImapSink.open(server.options, server.credentials, choose=lambda _: Spread()) as sink:
        outcomes = list(sink.append([batch()]))
        assert grades(outcomes) == {"Stored": MESSAGES}
        let_in.set()
    assert set(server.brought) == {MAIN}
    assert all(waited)


def test_no_batch_is_taken_once_the_main_connection_died() -> None:
    """What was taken is answered, and then the engine opens the account anew."""
    died = threading.Event()

    def answer(_: bytes) -> bytes:
        if threading.current_thread().name == MAIN:
            died.set()
            return CLOSE
        return b""

    taken: list[int] = []

    def batches() -> Iterator[Batch]:
        for number in range(0, 100 * MESSAGES, MESSAGES):
            taken.append(number)
            yield batch(number)

    server = Server(answer=answer)
    outcomes, error = store(server, batches())
    assert isinstance(error, Transient)
    assert len(outcomes) == MESSAGES * len(taken)
    assert len(taken) < 100
    assert grades(outcomes.values())["InDoubt"] == 1


def test_all_connections_may_die() -> None:
    """What was sent is in doubt, what was not is passing, and nothing waits for ever."""
    server = Server(answer=lambda _: CLOSE)
    outcomes, error = store(server, [batch()])
    assert len(outcomes) == MESSAGES
    found = grades(outcomes.values())
    assert found.keys() == {"InDoubt", "Transient"}
    assert found["InDoubt"] == len(server.sent()) == len(set(server.sent()))
    assert isinstance(error, Transient)


def test_a_full_mailbox_stops_all_connections() -> None:
    """What is with the server is answered, what waits is not sent, and the account is told to stop."""
    words = b"{tag} NO [OVERQUOTA] Quota exceeded\r\n"
    outcomes, error = store(Server(answer=lambda _: words), [batch(), batch(MESSAGES)])
    assert isinstance(error, OverQuota)
    assert not any(isinstance(one, Stored) for one in outcomes.values())
    assert not any(isinstance(one.error, InDoubt) for one in outcomes.values() if isinstance(one, NotStored))
    assert len(outcomes) in (MESSAGES, 2 * MESSAGES)


def test_what_stops_the_batches_comes_through() -> None:
    """After everything that was taken has its outcome."""

    def batches() -> Iterator[Batch]:
        yield batch()
        raise Interrupted("asked to stop")

    server = Server()
    outcomes, error = store(server, batches())
    assert isinstance(error, Interrupted)
    assert grades(outcomes.values()) == {"Stored": MESSAGES}


def test_a_bug_is_not_swallowed() -> None:
    """What breaks in a lane's thread is raised in the caller's."""
    server = Server()
    with server, ImapSink.open(server.options, server.credentials, choose=lambda _: Spread()) as sink:
        sink.flags = _broken  # type: ignore[method-assign]
        with pytest.raises(ZeroDivisionError):
            list(sink.append([batch()]))


def _broken(delivery: Delivery) -> frozenset[str]:
    raise ZeroDivisionError(delivery.id)


def test_an_early_close_leaves_the_connection_in_step() -> None:
    """No lane outlives the call, and the next command gets its own answer."""
    server = Server()
    with server, ImapSink.open(server.options, server.credentials, choose=lambda _: Spread()) as sink:
        outcomes = sink.append([batch()])
        assert isinstance(next(outcomes), Stored)
        outcomes.close()  # type: ignore[attr-defined]
        assert not [thread for thread in threading.enumerate() if thread.name == "append"]
        assert sink.connection.run(b"NOOP")[1].ok
    assert len(set(server.sent())) == len(server.sent())


def test_connections_are_given_up_for_another_mailbox() -> None:
    """Once a second mailbox of the same server is written to, the first one keeps its half."""
    server = Server()
    options = evolve(server.options, max_connections=FIRST + 1)
    with server, ImapSink.open(options, server.credentials, choose=lambda _: Spread()) as sink:

        def batches() -> Iterator[Batch]:
            yield batch()
            with ImapSink.open(options, server.credentials):
                yield batch(MESSAGES)
                yield batch(2 * MESSAGES)
                yield []

        assert grades(sink.append(batches())) == {"Stored": 3 * MESSAGES}
    assert len(set(server.brought[:MESSAGES])) == FIRST
    assert len(set(server.brought[2 * MESSAGES :])) <= FIRST // 2


def test_a_server_is_shared_evenly_with_room_for_one_more() -> None:
    """Every mailbox has at least its own connection, however many there are."""
    shares, here, there = Shares(), ("here", 993), ("there", 993)
    shares.enter(here)
    assert shares.share(here, 16) == 15
    assert shares.share(here, None) == USUAL - 1
    shares.enter(here)
    shares.enter(there)
    assert shares.share(here, 16) == 7
    assert shares.share(here, 1) == shares.share(here, 2) == 1
    shares.leave(here)
    assert shares.share(here, 16) == 15


def test_a_closed_sink_leaves_its_share_once() -> None:
    """Closing twice is closing once."""
    server = Server()
    options = evolve(server.options, max_connections=9)
    with server, ImapSink.open(options, server.credentials) as sink:
        other = ImapSink.open(options, server.credentials)
        assert sink.most_connections() == 4
        other.close()
        other.close()
        assert sink.most_connections() == 8


class Ticks:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def _measure(pace: Pace, clock: Ticks, lanes: int, seconds: float) -> None:
    """Let each lane bring its messages in so many seconds."""
    pace.note(lanes, 0)
    clock.now += seconds
    for _ in range(lanes * ROUNDS - 1):
        pace.note(lanes, 0)


def test_lanes_are_doubled_while_that_pays() -> None:
    """Where twice as many lanes bring as much as half of them did, they stay as they are."""
    clock = Ticks()
    pace = Pace(clock)
    _measure(pace, clock, FIRST, 1.0)
    assert pace.wanted == 2 * FIRST
    _measure(pace, clock, 2 * FIRST, 1.0)
    assert pace.wanted == 4 * FIRST
    for _ in range(PATIENCE):
        _measure(pace, clock, 4 * FIRST, 2.0)
    _measure(pace, clock, 4 * FIRST, 0.1)
    assert pace.wanted == 4 * FIRST


def test_the_first_measurement_is_short() -> None:
    """Nothing was measured before it, so it can only say yes; the later ones are compared, and take their time."""
    clock = Ticks()
    pace = Pace(clock)
    for _ in range(FIRST * FIRST_ROUNDS):
        pace.note(FIRST, 0)
    assert pace.wanted == 2 * FIRST
    clock.now += 0.001
    for _ in range(2 * FIRST * (ROUNDS - 1)):
        pace.note(2 * FIRST, 0)
    assert pace.wanted == 2 * FIRST


def test_lanes_that_are_not_open_yet_are_not_measured() -> None:
    """Their login takes time, which says nothing about the server."""
    clock = Ticks()
    pace = Pace(clock)
    _measure(pace, clock, FIRST - 1, 1.0)
    assert pace.wanted == FIRST
