"""How long the engine waits and what it says meanwhile; and a wall clock that is not to be trusted."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from attrs import evolve

from alimail_core.errors import Throttled, Transient
from alimail_core.events import Waiting
from alimail_core.model import INBOX, Folder
from alimail_core.testing.faults import Countdown, FaultKind
from alimail_core.testing.mail import message
from alimail_core.testing.memory import MemoryMailbox, MemorySink
from tests.harness import IN_TURN, World

DOWN_SECONDS = 600.0


def filled(messages: int = 9) -> World:
    """Return a source with some mail, and small batches."""
    world = World(options=evolve(IN_TURN, batch_messages=2))
    for number in range(messages):
        world.source.deliver(INBOX, message(f"number {number}"))
    return world


def waits(world: World) -> list[Waiting]:
    """Return the waits that were told."""
    return [event for event in world.events if isinstance(event, Waiting)]


def down_at(world: World, until: float) -> type[MemorySink]:
    """Make a kind of sink whose server is down for a while."""

    class Down(MemorySink):
        def __init__(self, mailbox: MemoryMailbox) -> None:
            if world.clock.monotonic() < until:
                raise Transient("no connection to mail.new.example port 993: Connection refused")
            super().__init__(mailbox)

    return Down


def test_a_server_that_is_down_for_ten_minutes_costs_ten_minutes() -> None:
    """The pass goes on as soon as the server is back, and no later than five minutes after."""
    world = filled()
    summary = world.run(sink=down_at(world, DOWN_SECONDS))
    assert (summary.state, summary.copied) == ("done", 9)
    assert world.target.contents() == world.source.contents()
    assert DOWN_SECONDS <= world.clock.monotonic() < DOWN_SECONDS + 300
    assert all("Connection refused" in each.reason for each in waits(world))
    world.assert_settled()


def test_a_server_that_stays_away_is_given_up_after_a_quarter_of_an_hour() -> None:
    """The account ends with the reason, and the next pass begins where this one did."""
    world = filled()
    summary = world.run(sink=down_at(world, 1e9))
    assert (summary.state, summary.copied) == ("failed", 0)
    assert "Connection refused" in summary.reason
    assert 900 <= world.clock.monotonic() < 1200
    assert world.run().copied == 9
    world.assert_settled()


def test_waits_grow_and_differ() -> None:
    """Each is about twice as long as the last, up to five minutes, and no two accounts knock in step."""
    seen = []
    for drawn in (1, 2):
        world = filled()
        for _ in range(drawn):
            world.clock.random()
        world.run(sink=down_at(world, DOWN_SECONDS))
        seconds = [each.seconds for each in waits(world)]
        assert all(min(2.0**n, 300) / 2 <= each <= min(2.0**n, 300) for n, each in enumerate(seconds, 1))
        seen.append(seconds)
    assert seen[0] != seen[1]


def test_what_a_server_asks_for_is_obeyed_and_told() -> None:
    """A server that asks for 40 seconds gets them, and its words are in the progress."""
    world = filled()
    asked = iter([Throttled("the server said: NO [THROTTLED] come back in 40 s", retry_after=40.0)])

    class Busy(MemorySink):
        def folders(self) -> Iterator[Folder]:
            for error in asked:
                raise error
            return super().folders()

    assert world.run(sink=Busy).state == "done"
    assert [(each.seconds, each.reason) for each in waits(world)] == [
        (40.0, "the server said: NO [THROTTLED] come back in 40 s")
    ]


@pytest.mark.slow
def test_a_server_that_asks_for_a_little_time_again_and_again_gets_it() -> None:
    """Many short waits that were asked for are no more of a reason to give up than a few long ones."""
    world = filled()

    class Busy(MemorySink):
        def folders(self) -> Iterator[Folder]:
            if world.clock.monotonic() < DOWN_SECONDS:
                raise Throttled("the server said: NO [THROTTLED] slower", retry_after=5.0)
            return super().folders()

    summary = world.run(sink=Busy)
    assert (summary.state, summary.copied) == ("done", 9)


@pytest.mark.slow
@pytest.mark.parametrize("days", [-400, -1, 400], ids=lambda days: f"{days}d")
@pytest.mark.parametrize("kind", [FaultKind.KILLED_BEFORE, FaultKind.KILLED_AFTER, FaultKind.KILLED_LATE])
def test_a_wall_clock_that_is_set_after_a_crash(kind: FaultKind, days: int) -> None:
    """What was in doubt is waited for once more by the clock that counts now; nothing is lost or written twice."""
    world = filled()
    world.run_faulty(Countdown(2, kind, clock=world.clock, only="append"))
    world.clock.set_wall(timedelta(days=days))
    summary = world.run()
    assert summary.state == "done"
    assert world.target.contents() == world.source.contents()
    assert max(world.deeds.written.values(), default=1) == 1
    world.assert_settled()


@pytest.mark.slow
@pytest.mark.parametrize("days", [-400, 400])
def test_a_wall_clock_that_is_set_in_the_middle_of_a_pass(days: int) -> None:
    """A pass whose clock jumps while something is in doubt ends complete."""
    world = filled()
    world.plan = Countdown(2, FaultKind.LATE, clock=world.clock, only="append")
    world.clock.later(5.0, lambda: world.clock.set_wall(timedelta(days=days)))
    summary = world.run()
    world.plan = Countdown(0)
    assert summary.state == "done"
    assert world.target.contents() == world.source.contents()
    world.assert_settled()
