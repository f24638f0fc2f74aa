"""Sources that render each message anew, as Exchange does, while passes are struck: found by the state machine."""

from __future__ import annotations

import pytest

from alimail_core.ledger.facts import facts
from alimail_core.model import INBOX
from alimail_core.testing.faults import FaultKind
from alimail_core.testing.memory import MemoryTraits
from tests.test_machine import Migration, never

pytestmark = pytest.mark.slow

NO_FLAGS: frozenset[str] = frozenset()


def begin() -> Migration:
    """Begin a migration from a source that renders anew; one pass has carried the first message."""
    story = Migration()
    story.begin(
        server=MemoryTraits(window=2, page=2, refuse=never),
        source=MemoryTraits(stable_octets=False),
        mail=[(INBOX, "plain", 0, NO_FLAGS)],
        wishes={"batch_messages": 2},
    )
    story.a_pass_completes(refill=False)
    return story


def test_a_first_sending_that_ends_after_the_second_is_named() -> None:
    """The target stores what was sent to it long after alimail was killed, in octets that were rendered for that."""
    story = begin()
    story.mail_arrives_and_its_pass_is_struck(
        acts=[],
        kind=FaultKind.KILLED_LATE,
        late=100.0,
        mail=[(INBOX, "plain", 1, NO_FLAGS), (INBOX, "twin", 2, NO_FLAGS)],
        power=True,
        where=("append", 1),
    )
    story.a_pass_completes(refill=False)
    (told,) = facts(story.world.ledger).values()
    assert [problem.kind for problem in told.problems] == ["extra", "extra"]


def test_what_was_sent_without_an_answer_is_known_again_when_the_source_renumbers() -> None:
    """A message without a Message-ID: only its copy tells what was sent, and where the copy is only a look."""
    story = begin()
    story.mail_arrives_and_its_pass_is_struck(
        acts=[],
        kind=FaultKind.KILLED_BEFORE,
        late=5.0,
        mail=[
            (INBOX, "plain", 1, NO_FLAGS),
            (INBOX, "nameless", 2, NO_FLAGS),
            (("Work",), "plain", 3, NO_FLAGS),
        ],
        power=True,
        where=("append", 2),
    )
    story.renumber_source(INBOX, new_validity=True)
    story.a_pass_completes(refill=False)
    assert len(story.world.target.uids(INBOX)) == 3
