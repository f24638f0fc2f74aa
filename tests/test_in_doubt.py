"""What was sent without an answer, when its message moves or its user tidies up: found by the state machine."""

from __future__ import annotations

from typing import Any

import pytest

from alimail_core.model import INBOX, FolderPath
from alimail_core.testing.faults import FaultKind
from alimail_core.testing.memory import MemoryTraits
from tests.test_machine import Migration, never

pytestmark = pytest.mark.slow

WORK = ("Work",)
NO_FLAGS: frozenset[str] = frozenset()


def begin(mail: list[FolderPath], **wishes: Any) -> Migration:
    """Begin a migration into a server that tells no UIDs."""
    story = Migration()
    server = MemoryTraits(uidplus=False, refuse=never)
    told: Any = [(place, "plain", number, NO_FLAGS) for number, place in enumerate(mail)]
    story.begin(server=server, source=MemoryTraits(), mail=told, wishes=wishes)
    return story


def strike(story: Migration, place: FolderPath, how: str, kind: FaultKind) -> None:
    """Let one more message arrive, and its pass be killed at its first APPEND."""
    mail: Any = [(place, how, 9, NO_FLAGS)]
    story.mail_arrives_and_its_pass_is_struck(
        acts=[], kind=kind, late=5.0, mail=mail, power=True, where=("append", 1)
    )


@pytest.mark.parametrize("moves", ["copy", "follow"])
def test_a_message_that_moves_while_it_is_in_doubt_stands_where_it_belongs(moves: str) -> None:
    """With `moves = copy` a copy that arrived in the old place stays there, and the new place gets its own."""
    story = begin([INBOX], moves=moves)
    story.a_pass_completes(refill=False)
    strike(story, WORK, "plain", FaultKind.KILLED_LATE)
    story.move_at_source(1, INBOX)
    story.a_pass_completes(refill=False)
    assert len(story.world.target.uids(INBOX)) == 2


def test_a_moved_copy_does_not_vouch_for_its_twin_in_doubt() -> None:
    """Its user moved the first message's copy; an equal message was sent, and never arrived: it is sent again."""
    story = begin([INBOX])
    story.a_pass_completes(refill=False)
    story.move_in_target(0, WORK)
    strike(story, ("Projects",), "twin", FaultKind.KILLED_BEFORE)
    story.world.source.make(WORK)
    story.a_pass_completes(refill=False)
    assert len(story.world.target.uids(("Projects",))) == 1


def test_a_moved_twin_is_not_taken_for_a_late_second_copy() -> None:
    """A message was sent again; then its user moves the copy of an equal one beside it, and both stay."""
    story = Migration()
    told: Any = [(WORK, "plain", 0, NO_FLAGS)]
    story.begin(server=MemoryTraits(refuse=never), source=MemoryTraits(), mail=told, wishes={})
    story.a_pass_completes(refill=False)
    strike(story, INBOX, "twin", FaultKind.KILLED_BEFORE)
    story.a_pass_completes(refill=False)
    story.move_in_target(1, INBOX)
    story.a_pass_completes(refill=False)
    assert (len(story.world.target.uids(INBOX)), len(story.world.target.uids(WORK))) == (2, 0)
