"""Sources whose listings tell keys alone, as over POP3; and mailboxes reached by one protocol after another."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from attrs import evolve

from alimail_core.model import INBOX
from alimail_core.testing.mail import message
from alimail_core.testing.memory import MemoryTraits
from tests.harness import World

BARE = MemoryTraits(bare_listings=True)
WHEN = datetime(2024, 2, 3, 4, 5, tzinfo=UTC)


def filled(traits: MemoryTraits) -> World:
    """Make a world with five messages at its source, read ones among them."""
    world = World(source=traits)
    for number in range(5):
        flags = {"\\Seen"} if number % 2 else set()
        world.source.deliver(INBOX, message(subject=f"s{number}"), flags, WHEN)
    return world


def reach_otherwise(world: World, *, bare: bool) -> None:
    """Let the same mailbox be listed by another protocol: with other keys, in another epoch."""
    world.source.traits = evolve(world.source.traits, bare_listings=bare)
    world.source.renumber(INBOX, new_validity=True)


def flags_in_target(world: World) -> list[list[str]]:
    """Return the flags of the target's messages in the order of their subjects."""
    stored = sorted(world.target.folder(INBOX).messages.values(), key=lambda one: one.octets)
    return [sorted(one.flags) for one in stored]


def test_flags_and_dates_come_with_the_messages() -> None:
    """Flags that only the message tells are carried, and are not taken away when the next listing has none."""
    world = filled(BARE)
    assert world.run().copied == 5
    assert flags_in_target(world) == [[], ["\\Seen"], [], ["\\Seen"], []]
    assert {one.internal_date for one in world.target.folder(INBOX).messages.values()} == {WHEN}
    world.assert_settled()
    assert flags_in_target(world) == [[], ["\\Seen"], [], ["\\Seen"], []]


def test_a_flag_that_its_user_set_in_the_target_stays() -> None:
    """A listing that tells no flags takes none away from what people do in the new mailbox."""
    world = filled(BARE)
    world.run()
    for uid in world.target.uids(INBOX):
        world.target.set_flags(INBOX, uid, {"\\Flagged"})
    world.assert_settled()
    assert flags_in_target(world) == [["\\Flagged"]] * 5


@pytest.mark.parametrize("bare", [True, False])
def test_a_mailbox_that_is_reached_otherwise_is_not_copied_twice(bare: bool) -> None:
    """What came by one protocol is known again by another, whether or not the listings tell sizes."""
    world = filled(MemoryTraits(bare_listings=bare))
    assert world.run().copied == 5
    before = flags_in_target(world)
    reach_otherwise(world, bare=not bare)
    world.source.deliver(INBOX, message(subject="new"), (), WHEN)
    summary = world.run()
    assert (summary.copied, summary.adopted) == (1, 0)
    assert world.target.contents() == world.source.contents()
    assert sorted(before) == sorted(flags_in_target(world)[1:])
    world.assert_settled()


def test_a_mailbox_that_is_reached_otherwise_twice_is_not_copied_twice() -> None:
    """The size that one protocol told is still known when the other has come and gone."""
    world = filled(MemoryTraits())
    world.run()
    for bare in (True, False, True):
        reach_otherwise(world, bare=bare)
        summary = world.run()
        assert (summary.copied, summary.adopted) == (0, 0)
    assert world.target.contents() == world.source.contents()
