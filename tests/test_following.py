"""What the state machine has found, one story each: moves at the source while the target was not left alone.

The ``Auditor`` of the machine judges these too: nothing is written twice, nothing is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import pytest
from attrs import evolve

from alimail_core.errors import Refused
from alimail_core.ledger.facts import facts
from alimail_core.messages import EVERYTHING
from alimail_core.model import INBOX, Batch, Folder, Moved, NotStored, PathRules, Stored
from alimail_core.testing.faults import Countdown, FaultKind, Killed
from alimail_core.testing.memory import MemorySink, MemoryTraits
from tests.harness import World
from tests.test_machine import Migration, never, no_nul

pytestmark = pytest.mark.slow  # each some tenths of a second, and they are many

WORK = ("Work",)
SENT = ("Sent",)
NO_FLAGS: frozenset[str] = frozenset()
PLAIN = MemoryTraits(refuse=never)


def begin(*, source: MemoryTraits = PLAIN, target: MemoryTraits = PLAIN, **wishes: Any) -> Migration:
    """Begin a migration of two messages in the inbox, which one pass has carried."""
    story = Migration()
    story.begin(server=target, source=source, mail=[(INBOX, "plain", 0, NO_FLAGS)] * 2, wishes=wishes)
    story.a_pass_completes(refill=False)
    return story


def the_target_is_renumbered(story: Migration) -> None:
    story.renumber_target(INBOX, new_validity=True)


def its_user_deletes_the_copy(story: Migration) -> None:
    story.delete_in_target(0)


def its_user_moves_the_copy(story: Migration) -> None:
    story.move_in_target(0, SENT)


def the_folder_is_made_anew(story: Migration) -> None:
    story.remove_folder_in_target(INBOX, again=True, newcomer=False)


def its_user_flags_the_copy(story: Migration) -> None:
    story.flag_in_target(0, frozenset({"\\Flagged"}))


def nothing_happens(story: Migration) -> None:
    pass


MEANWHILE = [
    nothing_happens,
    the_target_is_renumbered,
    its_user_deletes_the_copy,
    its_user_moves_the_copy,
    the_folder_is_made_anew,
]


@pytest.mark.parametrize("deletions", ["keep", "mirror"])
@pytest.mark.parametrize("uidplus", [True, False])
@pytest.mark.parametrize("meanwhile", MEANWHILE)
def test_a_moved_message_is_not_copied_again(
    meanwhile: Callable[[Migration], None], uidplus: bool, deletions: str
) -> None:
    """Whatever became of our copy since it was looked at last."""
    story = begin(target=MemoryTraits(uidplus=uidplus, refuse=never), deletions=deletions)
    meanwhile(story)
    story.move_at_source(0, WORK)
    story.a_pass_completes(refill=False)


def test_a_copy_whose_folder_is_gone_stays_gone() -> None:
    """The target's user deleted the folder; then its message moves at the source."""
    story = Migration()
    story.begin(
        server=MemoryTraits(refuse=never),
        source=MemoryTraits(),
        mail=[(WORK, "plain", 0, NO_FLAGS)],
        wishes={},
    )
    story.a_pass_completes(refill=False)
    story.remove_folder_in_target(WORK, again=False, newcomer=False)
    story.move_at_source(0, INBOX)
    story.a_pass_completes(refill=False)
    assert not story.world.target.everything()


def test_what_cannot_be_read_now_is_not_a_deletion() -> None:
    """A renumbered message that the source does not give just now looks deleted; `mirror` waits until it tells."""
    story = begin(deletions="mirror")
    story.spoil_at_source(0, "NO broken")
    story.renumber_source(INBOX, new_validity=True)
    story.a_pass_completes(refill=False)
    assert len(story.world.target.uids(INBOX)) == 2
    story.spoil_at_source(0, None)
    story.a_pass_completes(refill=False)


def test_a_mended_message_is_known_again_at_a_source_that_renders_anew() -> None:
    """The ledger is lost, and neither octets nor size of a message with NULs are what they were."""
    story = begin(source=MemoryTraits(stable_octets=False), target=MemoryTraits(refuse=no_nul))
    story.arrive(INBOX, "nul", 0, NO_FLAGS)
    story.a_pass_completes(refill=False)
    story.the_ledger("is lost")
    story.a_pass_completes(refill=False)


@pytest.mark.parametrize("stable", [True, False])
def test_mail_to_oneself_is_known_after_a_renumbering(stable: bool) -> None:
    """Sent and received share a Message-ID; a mailbox that changed its database gives both new keys."""
    story = begin(source=MemoryTraits(stable_octets=stable))
    story.copy_at_source(0, SENT)
    story.arrive(INBOX, "sibling", 0, NO_FLAGS)
    story.a_pass_completes(refill=False)
    for path in (INBOX, SENT):
        story.renumber_source(path, new_validity=True)
    story.a_pass_completes(refill=False)


def test_a_move_that_was_cut_off_goes_on_in_a_renumbered_folder() -> None:
    """The process died between the intent and the MOVE, and the target lost its index."""
    story = begin()
    story.mail_is_moved_and_its_pass_is_struck([(0, WORK)], FaultKind.KILLED_BEFORE, "move", power=True)
    story.renumber_target(INBOX, new_validity=True)
    story.a_pass_completes(refill=False)
    assert len(story.world.target.uids(WORK)) == 1


def test_a_duplicate_of_what_is_refused_is_refused_as_well() -> None:
    """By wish only one of two is sent; where that one is refused, the other is named too, and not called a twin."""
    story = begin(duplicates="collapse")
    story.arrive(INBOX, "never", 0, NO_FLAGS)
    story.copy_at_source(2, INBOX)
    story.a_pass_completes(refill=False)
    story.a_pass_completes(refill=True)


def test_many_duplicates_of_what_is_refused_are_read_twice_at_most() -> None:
    """Each once to see that it is one of them, and once when it turns out that none of them is taken."""
    story = begin(duplicates="collapse")
    story.arrive(INBOX, "never", 0, NO_FLAGS)
    for _ in range(7):
        story.copy_at_source(2, INBOX)
    everything = Countdown(1_000, only="fetch")
    story.world.run_faulty(everything)
    assert len(everything.operations) <= 2 * 8
    assert story.world.states()["REFUSED"] == 8
    story.a_pass_completes(refill=False)


@pytest.mark.parametrize("deletions", ["keep", "mirror"])
def test_a_message_takes_the_copy_in_its_own_folder(deletions: str) -> None:
    """Copies are not moved by wish, so two of them stand; after a renumbering the right one is known again."""
    story = begin(moves="copy", deletions=deletions)
    story.copy_at_source(0, INBOX)
    story.move_at_source(0, SENT)
    story.copy_at_source(2, SENT)
    story.a_pass_completes(refill=False)
    story.renumber_source(SENT, new_validity=True)
    story.a_pass_completes(refill=False)


def test_a_copy_that_stands_goes_before_one_that_was_removed() -> None:
    """Of two equal messages one was deleted, and its copy with it; the other moves to where that one was."""
    story = begin(deletions="mirror")
    story.copy_at_source(0, WORK)
    story.a_pass_completes(refill=False)
    story.delete_at_source(2)
    story.a_pass_completes(refill=False)
    story.move_at_source(0, WORK)
    story.a_pass_completes(refill=False)
    assert len(story.world.target.uids(WORK)) == 1


def test_what_comes_back_after_its_deletion_was_mirrored_is_carried() -> None:
    """Its user deletes a message at the source, sees the copy go, and takes it out of the trash again."""
    story = begin(deletions="mirror")
    octets = story.mail[0]
    story.delete_at_source(0)
    story.a_pass_completes(refill=False)
    assert len(story.world.target.uids(INBOX)) == 1
    story.world.source.deliver(INBOX, octets)
    story.books.arrived(octets)
    story.a_pass_completes(refill=False)
    assert len(story.world.target.uids(INBOX)) == 2


@pytest.mark.parametrize("looked", [True, False])
def test_what_comes_back_after_both_sides_lost_it_is_carried(looked: bool) -> None:
    """It left the source and was not moved, as a pass has seen: what is there again is new, wherever it stands."""
    story = begin()
    octets = story.mail[0]
    story.delete_at_source(0)
    if looked:
        story.delete_in_target(0)
        story.a_pass_completes(refill=False)
    else:
        story.a_pass_completes(refill=False)
        story.delete_in_target(0)
    story.world.source.deliver(INBOX, octets)
    story.books.arrived(octets)
    story.a_pass_completes(refill=False)
    assert len(story.world.target.uids(INBOX)) == 2


def test_what_comes_back_takes_its_copy_where_that_stands() -> None:
    """Deleted at the source long ago and put back elsewhere: nobody has touched the copy, which follows."""
    story = begin()
    octets = story.mail[0]
    story.delete_at_source(0)
    story.a_pass_completes(refill=False)
    story.world.source.deliver(WORK, octets)
    story.books.arrived(octets)
    assert story.world.run().copied == 0
    assert (len(story.world.target.uids(INBOX)), len(story.world.target.uids(WORK))) == (1, 1)
    story.a_pass_completes(refill=False)


def test_what_was_moved_and_cannot_be_read_yet_is_not_back() -> None:
    """Its copy was removed by its user, and only later can be seen that it was moved."""
    story = begin()
    story.delete_in_target(0)
    story.move_at_source(0, WORK)
    story.spoil_at_source(1, "NO broken")
    story.a_pass_completes(refill=False)
    story.spoil_at_source(1, None)
    story.a_pass_completes(refill=False)
    assert not story.world.target.uids(WORK)


@pytest.mark.parametrize("then", ["moved again", "renumbered"])
@pytest.mark.parametrize("kind", [FaultKind.KILLED_BEFORE, FaultKind.KILLED_AFTER])
def test_a_message_whose_move_was_cut_off_moves_on(kind: FaultKind, then: str) -> None:
    """Before the next pass its user files it elsewhere, or the source renumbers the folder where it is now."""
    story = begin()
    story.mail_is_moved_and_its_pass_is_struck([(0, WORK)], kind, "move", power=True)
    if then == "moved again":
        story.move_at_source(1, SENT)
    else:
        story.renumber_source(WORK, new_validity=True)
    story.a_pass_completes(refill=False)


def test_a_duplicate_is_carried_once_its_twin_is_nowhere() -> None:
    """The twin that was copied left the source, then its copy the target: what it stood for is not lost."""
    story = begin(duplicates="collapse")
    story.copy_at_source(0, INBOX)
    story.a_pass_completes(refill=False)
    story.delete_at_source(0)
    story.a_pass_completes(refill=False)
    story.remove_folder_in_target(INBOX, again=True, newcomer=False)
    story.a_pass_completes(refill=True)
    assert len(story.world.target.uids(INBOX)) == 2


def test_what_is_refilled_is_not_taken_for_a_move() -> None:
    """Its twin left both sides; sent again by wish, it is no arrival that could be that one, moved.

    The pass before could not list all, so it may have moved as far as anybody knows.
    """
    story = begin()
    story.copy_at_source(0, SENT)
    story.a_pass_completes(refill=False)
    story.delete_at_source(0)
    story.hide_at_source(SENT)
    story.world.run()
    story.world.source.folder(SENT).closed = None
    story.delete_in_target(0)
    story.delete_in_target(1)
    story.books.pass_begins(refill=True)
    story.world.run(refill=True)
    story.a_pass_completes(refill=False)
    assert len(story.world.target.uids(SENT)) == 1


def test_what_its_user_filed_before_we_knew_of_it_is_its_users() -> None:
    """The process died after the APPEND; the copy was filed, so it is found there, and neither copied nor removed."""
    story = begin(deletions="mirror")
    story.copy_at_source(0, SENT)
    story.a_pass_completes(refill=False)
    new = [(INBOX, "plain", 0, NO_FLAGS)]
    story.mail_arrives_and_its_pass_is_struck([], new, FaultKind.KILLED_AFTER, ("append", 1), 5.0, True)
    story.move_in_target(2, SENT)
    story.a_pass_completes(refill=False)
    assert (len(story.world.target.uids(INBOX)), len(story.world.target.uids(SENT))) == (2, 2)
    story.delete_at_source(2)
    story.a_pass_completes(refill=False)
    assert len(story.world.target.uids(SENT)) == 2


def test_a_flag_that_was_set_before_a_move_follows_as_well() -> None:
    """The source tells only changes, so nobody names the flag once more."""
    story = begin(source=MemoryTraits(delta=True))
    story.flag_at_source(0, frozenset({"\\Seen"}))
    story.move_at_source(0, WORK)
    story.a_pass_completes(refill=False)


def test_after_a_trial_the_rest_is_carried() -> None:
    """What a trial left out waits for the first pass that is none."""
    story = begin()
    for _ in range(3):
        story.arrive(INBOX, "plain", 0, NO_FLAGS)
    story.a_pass_carries_some(None, EVERYTHING, 1)
    assert len(story.world.target.uids(INBOX)) == 3
    story.a_pass_completes(refill=False)


def test_one_stranger_among_many_arrivals_is_known() -> None:
    """So few strangers are held against what is fetched: the message that stands there is not sent."""
    story = begin()
    for _ in range(20):
        story.arrive(INBOX, "plain", 0, NO_FLAGS)
    story.world.target.deliver(INBOX, story.mail[7])
    story.books.brought(story.mail[7])
    story.a_pass_completes(refill=False)
    assert len(story.world.target.uids(INBOX)) == 22


def test_a_message_that_moves_on_before_its_copy_was_seen_is_not_copied() -> None:
    """The move ended after the process died, and its goal cannot be listed: it is known all the same."""
    story = begin()
    story.mail_is_moved_and_its_pass_is_struck([(0, WORK)], FaultKind.KILLED_AFTER, "move", power=True)
    story.world.target.folder(WORK).closed = "NO it is locked"
    story.move_at_source(1, SENT)
    story.world.run()
    story.world.target.folder(WORK).closed = None
    story.a_pass_completes(refill=False)
    assert (len(story.world.target.uids(WORK)), len(story.world.target.uids(SENT))) == (0, 1)


def test_equal_messages_keep_their_folders_when_both_are_renumbered() -> None:
    """Copies are not moved by wish, so each takes the one that stands where it belongs."""
    story = begin(moves="copy")
    story.arrive(SENT, "plain", 0, NO_FLAGS)
    story.a_pass_completes(refill=False)
    story.copy_at_source(2, INBOX)
    story.a_pass_completes(refill=False)
    for path in (INBOX, SENT):
        story.renumber_source(path, new_validity=True)
    story.a_pass_completes(refill=False)


def test_many_equal_messages_are_known_without_the_ledger() -> None:
    """Each claims one of its equals in the target: as many as there are."""
    story = begin()
    for _ in range(6):
        story.copy_at_source(0, INBOX)
    story.a_pass_completes(refill=False)
    story.the_ledger("is lost")
    story.a_pass_completes(refill=False)
    assert len(story.world.target.uids(INBOX)) == 8


def test_a_refill_carries_what_is_missing_and_nothing_else() -> None:
    """The target tells only changes, so what stands there is not named once more."""
    story = begin(target=MemoryTraits(delta=True, refuse=never))
    story.delete_in_target(0)
    story.a_pass_completes(refill=True)
    assert len(story.world.target.uids(INBOX)) == 2


class CopyingSink(MemorySink):
    """A server without MOVE whose process dies between COPY and EXPUNGE."""

    def move(self, folder: Folder, keys: Sequence[str], to: Folder) -> Iterator[Moved]:
        for one in self._existing(folder, keys):
            self.mailbox.copy(folder.path, one.uid, to.path)
        raise Killed("after COPY")
        yield  # a generator


def test_a_move_by_copy_waits_until_its_goal_can_be_listed() -> None:
    """It was cut off after its COPY: as long as nobody can see that one, it is not done again."""
    world = World()
    world.source.deliver(INBOX, b"Subject: 1\r\n\r\n1\r\n")
    world.source.make(WORK)
    world.run()
    world.source.move(INBOX, 1, WORK)
    with pytest.raises(Killed):
        world.run(sink=CopyingSink)
    world.crash()
    world.target.folder(WORK).closed = "NO it is locked"
    world.run()
    world.target.folder(WORK).closed = None
    world.run()
    assert (len(world.target.uids(WORK)), len(world.target.uids(INBOX))) == (1, 0)
    world.assert_settled()


def test_a_copy_follows_though_another_writer_was_at_its_goal_first() -> None:
    """While moves are told, one that was cut off is looked for: what arrives meanwhile claims nothing."""
    story = begin()
    story.mail_is_moved_and_its_pass_is_struck([(0, WORK)], FaultKind.KILLED_BEFORE, "move", power=True)
    story.world.target.deliver(WORK, story.mail[1])
    story.books.brought(story.mail[1])
    story.move_at_source(0, WORK)
    story.a_pass_completes(refill=False)
    assert (len(story.world.target.uids(INBOX)), len(story.world.target.uids(WORK))) == (0, 3)


def test_what_stands_at_the_goal_of_a_move_is_not_forgotten() -> None:
    """A lost copy is looked for while moves are told; a stranger beside it stays one, for an arrival to claim."""
    story = begin(target=MemoryTraits(delta=True, refuse=never))
    story.move_at_source(1, WORK)
    story.a_pass_completes(refill=False)
    story.world.target.deliver(INBOX, story.mail[1])
    story.books.brought(story.mail[1])
    story.delete_in_target(0)
    story.move_at_source(0, SENT)
    story.move_at_source(1, INBOX)
    story.a_pass_completes(refill=False)
    assert len(story.world.target.uids(INBOX)) == 2
    story.copy_at_source(0, INBOX)
    story.a_pass_completes(refill=False)
    assert len(story.world.target.uids(INBOX)) == 2


def test_a_copy_that_nobody_saw_is_no_longer_ours_once_it_is_gone() -> None:
    """Its UID was told and never listed; then it was deleted, and another writer brought the same message."""
    story = begin(deletions="mirror")
    story.arrive(INBOX, "plain", 0, NO_FLAGS)
    read_back = Countdown(3, FaultKind.KILLED_BEFORE, only="changes")
    story.world.run_faulty(read_back, power=False)
    story.delete_in_target(2)
    story.other_writer(INBOX, 2)
    story.delete_at_source(2)
    story.a_pass_completes(refill=False)
    assert len(story.world.target.uids(INBOX)) == 3


def test_a_duplicate_is_carried_in_the_pass_that_moves_its_twin() -> None:
    """What its twin stood for is not there any more: nobody waits for another pass."""
    story = begin(duplicates="collapse")
    story.copy_at_source(0, INBOX)
    story.a_pass_completes(refill=False)
    story.move_at_source(0, WORK)
    assert story.world.run().copied == 1
    story.a_pass_completes(refill=False)


def test_what_moved_to_a_folder_without_a_place_waits() -> None:
    """Its header was read, the pass died; then the folder is gone in the target, and cannot be made again."""
    story = begin()
    story.mail_is_moved_and_its_pass_is_struck([(0, WORK)], FaultKind.KILLED_BEFORE, "look", power=False)
    traits = story.world.target.traits
    story.world.target.remove_folder(WORK)
    story.world.target.traits = evolve(traits, rules=PathRules(forbidden="k"))
    assert story.world.run().state == "problems"
    assert len(story.world.target.uids(INBOX)) == 2
    story.world.target.traits = traits
    story.a_pass_completes(refill=False)
    assert len(story.world.target.uids(WORK)) == 1


def test_a_deletion_that_removes_nothing_takes_no_proof_back() -> None:
    """What others brought is never removed, though its message was deleted: the target stays as it was proven."""
    story = begin(deletions="mirror")
    story.world.target.deliver(WORK, story.compose("plain", 0))
    story.world.source.deliver(WORK, next(iter(story.world.target.folder(WORK).messages.values())).octets)
    story.world.run()
    story.world.source.delete(WORK, 1)
    before = changed(story.world)
    story.world.clock.advance(10)
    story.world.run()
    assert changed(story.world) == before
    assert len(story.world.target.uids(WORK)) == 1


@pytest.mark.parametrize("meanwhile", [nothing_happens, its_user_flags_the_copy])
def test_what_an_undo_removes_late_is_carried_again(meanwhile: Callable[[Migration], None]) -> None:
    """The undo died after it had asked; the target removes the copies while the next pass is under way."""
    story = begin()
    undo(story, FaultKind.KILLED_LATE, "remove")
    meanwhile(story)
    undo(story, FaultKind.KILLED_BEFORE, "remove")
    story.a_pass_completes(refill=False)
    assert len(story.world.target.uids(INBOX)) == 2


def undo(story: Migration, kind: FaultKind, operation: str) -> None:
    story.it_is_undone(None, dry_run=False, kind=kind, where=(operation, 1), late=5.0, power=True)


class MergingSink(MemorySink):
    """A server that keeps the first of two identical messages, and answers the second with the first one's key."""

    def append(self, batches: Iterable[Batch]) -> Iterator[Stored | NotStored]:
        for outcome in super().append(batches):
            if isinstance(outcome, Stored) and outcome.key == "1/2":
                self.mailbox.delete(INBOX, 2)
                outcome = Stored(outcome.id, "1/1")
            yield outcome


@pytest.mark.parametrize("ends", [(b"", b""), (b"\r\n", b""), (b"", b"\r\n")])
def test_what_was_merged_is_carried_once_its_twin_is_elsewhere(ends: tuple[bytes, bytes]) -> None:
    """As long as the copy stands for both, nothing is done; line ends at the end make no other message."""
    world = World()
    for end in ends:
        world.source.deliver(INBOX, b"Message-ID: <1@x>\r\n\r\n1" + end)
    world.run(sink=MergingSink)
    assert world.states() == {"STORED": 1, "MERGED": 1}
    assert world.run().copied == 0
    world.source.make(WORK)
    world.source.move(INBOX, 1, WORK)
    world.run()
    world.run()
    assert (len(world.target.uids(INBOX)), len(world.target.uids(WORK))) == (1, 1)
    world.assert_settled()


class StayingSink(MemorySink):
    """A sink whose server refuses to move anything."""

    def move(self, folder: Folder, keys: Sequence[str], to: Folder) -> Iterator[Moved]:
        raise Refused("NO not now")
        yield  # a generator


def test_a_move_that_moves_nothing_takes_no_proof_back() -> None:
    """The move was refused, then its user removed the copy."""
    story = begin()
    story.move_at_source(0, WORK)
    story.world.run(sink=StayingSink)
    story.delete_in_target(0)
    before = changed(story.world)
    story.world.clock.advance(10)
    story.world.run()
    assert changed(story.world) == before
    story.a_pass_completes(refill=False)


def changed(world: World) -> float | None:
    """When a pass last changed what stands in the target, as a proof is told."""
    return facts(world.ledger)[world.account_id].changed
