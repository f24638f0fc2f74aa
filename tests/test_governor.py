"""The slots of servers: never more connections than a server bears, and a slower pace where it asks for one."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest
from attrs import define

from alimail_core.errors import (
    AlimailError,
    Denied,
    Interrupted,
    LeaseLost,
    LedgerError,
    Throttled,
    Transient,
)
from alimail_core.executors import in_order
from alimail_core.governor import GovernedSource, Governor
from alimail_core.model import INBOX, Entry, Folder, SinkTraits, Traits
from alimail_core.seam import Stop
from alimail_core.testing.clock import FakeClock
from alimail_core.testing.memory import MemoryMailbox, MemorySink, MemorySource
from tests.organisation import Organisation, message


@define
class Server:
    """Counts who is connected to a server that bears only so many."""

    limit: int | None
    now: int = 0
    most: int = 0
    refused: int = 0

    def enter(self) -> None:
        """Connect."""
        with _LOCK:
            self.now += 1
            self.most = max(self.most, self.now)
            if self.limit is not None and self.now > self.limit:
                self.refused += 1

    def leave(self) -> None:
        """Disconnect."""
        with _LOCK:
            self.now -= 1


_LOCK = threading.Lock()


class LimitedSource(MemorySource):
    """A source on a server with a limit."""

    def __init__(self, mailbox: MemoryMailbox, server: Server) -> None:
        super().__init__(mailbox)
        self.server = server
        server.enter()

    @property
    def traits(self) -> Traits:
        """Tell the limit."""
        return Traits(max_connections=self.server.limit, host="mail.example")

    def close(self) -> None:
        """Leave the server."""
        self.server.leave()
        super().close()


class LimitedSink(MemorySink):
    """A sink on the same server."""

    def __init__(self, mailbox: MemoryMailbox, server: Server) -> None:
        super().__init__(mailbox)
        self.server = server
        server.enter()

    @property
    def traits(self) -> SinkTraits:
        """Tell the limit."""
        return SinkTraits(max_connections=self.server.limit, host="mail.example", moves=True)

    def close(self) -> None:
        """Leave the server."""
        self.server.leave()
        super().close()


@pytest.mark.slow
@pytest.mark.parametrize("limit", [1, 2, 3, 5])
def test_a_servers_limit_is_kept_and_nobody_waits_for_ever(tmp_path: Path, limit: int) -> None:
    """Eight workers on one server that is source and target stay under its limit, and all accounts end.

    An account by itself is let in, even where the limit is below its two connections.
    """
    names = [f"user{number}" for number in range(8)]
    office = Organisation(tmp_path, names, workers=8)
    server = Server(limit)
    office.wrap_source = lambda name, _: LimitedSource(office.sources[name], server)
    office.wrap_sink = lambda name, _: LimitedSink(office.targets[name], server)
    for name in names:
        office.give(name, message(f"for {name}"))
    with office.migration() as migration:
        assert migration.run().exit_code == 0
    assert server.most <= max(limit, 2)
    assert server.now == 0


def governor() -> tuple[Governor, FakeClock, Stop]:
    """Make a governor with a clock that nobody waits for."""
    clock, stop = FakeClock(), Stop()
    return Governor(clock, stop), clock, stop


def is_free(slots: Governor, stop: Stop, *endpoints: str) -> bool:
    """Tell whether slots can be had; they are given back."""
    return _can_take(slots, stop, endpoints, seconds=30.0)


def is_full(slots: Governor, stop: Stop, *endpoints: str) -> bool:
    """Tell whether slots cannot be had for a while."""
    return not _can_take(slots, stop, endpoints, seconds=0.2)


def _can_take(slots: Governor, stop: Stop, endpoints: tuple[str, ...], seconds: float) -> bool:
    taken = threading.Event()

    def take() -> None:
        try:
            slots.take(endpoints)
        except Interrupted:
            return
        taken.set()

    thread = threading.Thread(target=take)
    thread.start()
    was_taken = taken.wait(seconds)
    stop.set()
    thread.join()
    stop.event.clear()
    if taken.is_set():
        for endpoint in endpoints:
            slots.give_back(endpoint)
    return was_taken


def test_one_account_goes_first_while_a_server_is_unknown() -> None:
    """Until a side has been open nobody knows what its server bears."""
    slots, _, stop = governor()
    slots.take(["a"])
    assert is_full(slots, stop, "a")
    slots.learn("a", Traits(max_connections=2))
    assert is_free(slots, stop, "a")


@pytest.mark.slow
def test_endpoints_on_one_host_share_its_slots() -> None:
    """Two endpoints that turn out to be one server are counted together."""
    slots, _, stop = governor()
    slots.take(["a"])
    slots.learn("a", Traits(max_connections=2, host="mail.example"))
    slots.take(["b"])
    slots.learn("b", Traits(max_connections=2, host="mail.example"))
    assert is_full(slots, stop, "a")
    assert is_full(slots, stop, "b")
    slots.give_back("a")
    assert is_free(slots, stop, "b")


def test_a_server_that_throttles_gets_its_time_and_half_the_load() -> None:
    """After a Throttled nobody is let in before the server's time is over, and then half as many at once."""
    slots, clock, stop = governor()
    slots.take(["a"])
    slots.learn("a", Traits())
    for _ in range(3):
        slots.take(["a"])
    slots.slow_down("a", 30.0)
    for _ in range(3):
        slots.give_back("a", in_peace=False)
    before = clock.monotonic()
    slots.take(["a"])
    assert clock.monotonic() - before >= 30
    assert is_full(slots, stop, "a")
    slots.give_back("a")
    assert is_free(slots, stop, "a")


def test_the_pace_grows_again_by_one() -> None:
    """Each side that ends in peace lets one more in."""
    slots, _, stop = governor()
    slots.take(["a"])
    slots.learn("a", Traits())
    slots.slow_down("a", None)
    assert is_full(slots, stop, "a")
    slots.give_back("a")
    slots.take(["a"])
    assert is_free(slots, stop, "a")


class Busy(MemorySource):
    """A source whose server is busy once it is asked."""

    def folders(self) -> Iterable[Folder]:  # type: ignore[override]
        """Ask for a slower pace."""
        raise Throttled("BYE too many requests", retry_after=10.0)


def test_what_a_side_is_told_reaches_the_governor() -> None:
    """A Throttled raised while a side is used slows its server down; closing gives the slot back, once."""
    slots, clock, stop = governor()
    slots.take(["a"])
    side = slots.open("a", lambda: Busy(MemoryMailbox()))
    governed = GovernedSource(side, slots, "a")
    with pytest.raises(Throttled), governed:
        governed.folders()
    governed.close()
    slots.take(["a"])
    assert clock.monotonic() >= 10
    assert is_full(slots, stop, "a")


def test_a_side_that_does_not_open_gives_its_slot_back() -> None:
    """A refused login leaves no slot behind."""
    slots, _, stop = governor()

    def refuse() -> MemorySource:
        raise Denied("NO")

    slots.take(["a"])
    with pytest.raises(Denied):
        slots.open("a", refuse)
    assert is_free(slots, stop, "a")


def test_a_side_that_cannot_tell_what_it_is_like_is_closed_and_gives_its_slot_back() -> None:
    """A server may break off when it is asked for what ``traits`` tell; nobody waits for that slot for ever."""

    class Dumb(LimitedSource):
        @property
        def traits(self) -> Traits:
            raise Transient("the server sent an endless line")

    (slots, clock, stop), server = governor(), Server(1)
    slots.take(["a"])
    with pytest.raises(Transient, match="endless line"):
        slots.open("a", lambda: Dumb(MemoryMailbox(), server))
    assert server.now == 0
    clock.advance(600)
    assert is_free(slots, stop, "a")


def test_who_waits_for_a_slot_can_be_stopped() -> None:
    """A wish to stop ends the wait."""
    slots, _, stop = governor()
    slots.take(["a"])
    threading.Timer(0.05, stop.set).start()
    with pytest.raises(Interrupted):
        slots.take(["a"])


def test_answers_come_in_order_and_few_are_begun_ahead() -> None:
    """Whoever stops asking early has begun little."""
    begun: list[int] = []

    def double(number: int) -> int:
        begun.append(number)
        return 2 * number

    assert list(in_order(double, range(20), 4)) == [2 * number for number in range(20)]
    begun.clear()
    answers = in_order(double, range(1_000), 2)
    assert next(answers) == 0
    answers.close()  # type: ignore[attr-defined]
    assert len(begun) < 10


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (LedgerError("locked"), "locked"),
        (LeaseLost("taken"), "taken"),
        (Interrupted("stopped"), "stopped"),
        (Transient("away"), "source old.example: away"),
    ],
)
def test_only_what_a_server_says_is_told_as_its_own(error: AlimailError, told: str) -> None:
    """The requests are read off the ledger while the source is asked: its faults are none of the server's."""

    def requests() -> Iterator[tuple[Folder, Sequence[Entry]]]:
        yield Folder(INBOX), []
        raise error

    slots, _, _ = governor()
    slots.take(["a"])
    side = slots.open("a", lambda: MemorySource(MemoryMailbox()))
    governed = GovernedSource(side, slots, "a", side="source old.example")
    with governed, pytest.raises(type(error)) as caught:
        list(governed.fetch(requests()))
    assert str(caught.value) == told
