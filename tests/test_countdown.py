"""Fail at the first operation, then at the second, and so on: whatever is struck, nothing is lost or doubled."""

from __future__ import annotations

import sys
from copy import deepcopy

import pytest
from attrs import evolve

from alimail_core.model import INBOX
from alimail_core.testing.faults import Countdown, FaultKind
from alimail_core.testing.mail import message
from alimail_core.testing.memory import MemoryTraits
from tests.harness import IN_TURN, World
from tests.strikes import strikes

pytestmark = pytest.mark.slow

WORK = ("Work", "项目")
FAULTS = [kind for kind in FaultKind if kind is not FaultKind.MEDDLED]
TARGETS = {
    "uidplus": MemoryTraits(),
    "keyless": MemoryTraits(uidplus=False),
    "eager": MemoryTraits(window=2, delta=True),
    "ends": MemoryTraits(uidplus=False, alter=lambda octets: octets.replace(b"\r\n", b"\n") + b"\n"),
}


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


def twin(world: World) -> World:
    """Copy a world whose pass has ended: both servers, the ledger, and the time."""
    other = World(options=world.options)
    other.source, other.target = deepcopy(world.source), deepcopy(world.target)
    other.clock.advance(world.clock.monotonic())
    other.durable = world.ledger.snapshot()
    other.crash()
    return other


def strike(world: World, plan: Countdown) -> None:
    """Make a struck pass and then an unharmed one: everything stands in the target once, and no pass writes more."""
    world.run_faulty(plan)
    if plan.kind is FaultKind.KILLED_LATE:
        world.run()  # while the server is not done
    world.clock.advance(1000)  # what the server still had to do, it has done
    before = world.target.snapshot()
    summary = world.run()
    assert summary.state == "done", summary
    alter = world.target.traits.alter or (lambda octets: octets)
    expected = {
        path: {alter(octets): n for octets, n in some.items()}
        for path, some in world.source.contents().items()
    }
    assert world.target.contents() == expected
    assert flags(world, "target") == flags(world, "source")
    if (summary.copied, summary.adopted) != (0, 0) or world.target.snapshot() != before:
        world.assert_settled()


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", FAULTS, ids=lambda kind: kind.name.lower())
def test_first_pass(kind: FaultKind, target: str, request: pytest.FixtureRequest) -> None:
    """A first pass that is struck at any operation ends complete in the next pass at the latest, all written once."""
    unharmed = Countdown(sys.maxsize, kind)
    strike(fill(TARGETS[target]), unharmed)
    for at in strikes(request, kind, unharmed.operations):
        world, plan = fill(TARGETS[target]), Countdown(at, kind)
        strike(world, plan)
        assert plan.struck == unharmed.operations[at - 1]
        assert all(folder.uid_next == len(folder.messages) + 1 for folder in world.target.tree.values())


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", FAULTS, ids=lambda kind: kind.name.lower())
def test_later_pass(kind: FaultKind, target: str, request: pytest.FixtureRequest) -> None:
    """So does a later pass, with moves, flags and a renamed folder to follow."""
    world = fill(TARGETS[target])
    world.run()
    change(world)
    unharmed = Countdown(sys.maxsize, kind)
    strike(twin(world), unharmed)
    for at in strikes(request, kind, unharmed.operations):
        plan = Countdown(at, kind)
        strike(twin(world), plan)
        assert plan.struck == unharmed.operations[at - 1]
