"""What the state machine has found, one story each: moves at the source while the target was not left alone.

The ``Auditor`` of the machine judges these too: nothing is written twice, nothing is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from alimail_core.model import INBOX
from alimail_core.testing.faults import FaultKind
from alimail_core.testing.memory import MemoryTraits
from tests.test_machine import Migration, never, no_nul

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
    """Its twin left both sides; sent again by wish, it is no arrival that could be that one, moved."""
    story = begin()
    story.copy_at_source(0, SENT)
    story.a_pass_completes(refill=False)
    story.delete_at_source(0)
    story.delete_in_target(0)
    story.delete_in_target(1)
    story.a_pass_completes(refill=True)
    assert len(story.world.target.uids(SENT)) == 1
