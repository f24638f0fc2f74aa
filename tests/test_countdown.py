"""Fail at the first operation, then at the second, and so on: whatever is struck, nothing is lost or doubled."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from itertools import count

import pytest
from attrs import evolve

from alimail_core.model import INBOX
from alimail_core.testing.faults import Countdown, FaultKind
from alimail_core.testing.mail import message
from alimail_core.testing.memory import MemoryTraits
from tests.harness import IN_TURN, World

WORK = ("Work", "项目")
FAULTS = [kind for kind in FaultKind if kind is not FaultKind.MEDDLED]
TARGETS = {
    "uidplus": MemoryTraits(),
    "keyless": MemoryTraits(uidplus=False),
    "eager": MemoryTraits(window=2, delta=True),
    "ends": MemoryTraits(uidplus=False, alter=lambda octets: octets.replace(b"\r\n", b"\n") + b"\n"),
}

SAMPLE = 9
"""Without --long, one operation in so many is struck."""


def fill(target: MemoryTraits) -> World:
    """Make a source of nine messages, three of them identical, in two folders; batches of two."""
    world = World(target=target, options=evolve(IN_TURN, batch_messages=2))
    for number in range(3):
        world.source.deliver(
            INBOX, message(subject=f"inbox {number}", message_id=f"<{number}@x>"), {"\\Seen"}
        )
        world.source.deliver(WORK, message(subject=f"work {number}", message_id=f"<w{number}@x>"))
        world.source.deliver(WORK, message(subject="thrice", message_id=None))
    return world


def change(world: World) -> None:
    """Do at the source what people do between two passes."""
    world.source.deliver(INBOX, message(subject="new"))
    world.source.set_flags(INBOX, 1, {"\\Flagged"})
    world.source.move(INBOX, 2, WORK)
    world.source.move(WORK, 3, INBOX)
    world.source.rename_folder(WORK, ("Work", "archive"))


def flags(world: World, side: str) -> list[list[str]]:
    folders = (world.source if side == "source" else world.target).tree.values()
    return sorted(sorted(one.flags) for folder in folders for one in folder.messages.values())


def assert_complete(world: World, *, moved: bool = False) -> None:
    """Everything stands in the target once; a second pass writes nothing."""
    summary = world.run()
    assert summary.state == "done", summary
    alter = world.target.traits.alter or (lambda octets: octets)
    expected = {
        path: {alter(octets): n for octets, n in some.items()}
        for path, some in world.source.contents().items()
    }
    assert world.target.contents() == expected
    assert flags(world, "target") == flags(world, "source")
    world.assert_settled()


Stride = Iterator[int]


@pytest.fixture
def stride(request: pytest.FixtureRequest) -> Stride:
    """Give the operations to strike: each one with --long, else a sample that differs from test to test."""
    if request.config.getoption("--long"):
        return count(1)
    return count(1 + zlib.crc32(request.node.name.encode()) % SAMPLE, SAMPLE)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", FAULTS, ids=lambda kind: kind.name.lower())
def test_first_pass(kind: FaultKind, target: str, stride: Stride) -> None:
    """A first pass that is struck at any operation ends complete, in the next pass at the latest."""
    for at in stride:
        world = fill(TARGETS[target])
        plan = Countdown(at, kind)
        world.run_faulty(plan)
        world.clock.advance(1000)  # what the server still had to do, it has done
        assert_complete(world)
        if not plan.fired:
            return


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", FAULTS, ids=lambda kind: kind.name.lower())
def test_later_pass(kind: FaultKind, target: str, stride: Stride) -> None:
    """So does a later pass, with moves, flags and a renamed folder to follow."""
    for at in stride:
        world = fill(TARGETS[target])
        world.run()
        change(world)
        plan = Countdown(at, kind)
        world.run_faulty(plan)
        world.clock.advance(1000)  # what the server still had to do, it has done
        assert_complete(world)
        if not plan.fired:
            return
