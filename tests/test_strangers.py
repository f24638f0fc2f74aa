"""What stands in the target already, and how little is read to know it; what was in doubt and was moved there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Literal

import pytest
from attrs import evolve

from alimail_core.errors import Transient
from alimail_core.folders.policy import FolderPolicy
from alimail_core.model import INBOX, Batch, Changes, Cursor, Folder, FolderPath, NotStored, Stored, Unusable
from alimail_core.testing.faults import Countdown, FaultKind
from alimail_core.testing.mail import message
from alimail_core.testing.memory import MemorySink, MemoryTraits
from alimail_core.transfer.listing import survey
from alimail_core.transfer.state import Pass, Target
from tests.harness import IN_TURN, World
from tests.readings import Readings

pytestmark = pytest.mark.slow

MANY = 80
WELCOME = message(subject="Welcome", message_id="welcome@provider")
WORK: FolderPath = ("Work",)
OTHER = message(subject="number 1000", message_id="1000@example.org", body="Another body.\r\n")
DATE = datetime(2024, 5, 1, tzinfo=UTC)

TARGETS = {
    "uidplus": MemoryTraits(window=2),
    "keyless, several at a time": MemoryTraits(uidplus=False, window=3, shuffle=7, delta=True),
}
every_target = pytest.mark.parametrize("target", TARGETS.values(), ids=list(TARGETS))


def mail(number: int, body: str = "A body.\r\n") -> bytes:
    return message(subject=f"number {number}", message_id=f"{number}@example.org", body=body)


def pending(target: MemoryTraits | None = None, count: int = MANY) -> World:
    """Make a source with many messages in its inbox, and a target that has greeted its user."""
    world = World(target=target, options=evolve(IN_TURN, batch_messages=20))
    for number in range(count):
        world.source.deliver(INBOX, mail(number), {"\\Seen"})
    world.target.deliver(INBOX, WELCOME)
    return world


def assert_complete(world: World, *foreign: bytes) -> None:
    """The target has what the source has, each once, and what others wrote; a second pass writes nothing."""
    assert (world.target.everything() - world.source.everything()) == Counter(foreign)
    assert not world.source.everything() - world.target.everything()
    world.assert_settled()


@every_target
def test_a_welcome_mail_costs_no_reading(target: MemoryTraits, monkeypatch: pytest.MonkeyPatch) -> None:
    """One stranger and many pending: not one header is read at the source, and each message is fetched once."""
    world = pending(target)
    read = Readings(monkeypatch)
    assert world.run().copied == MANY
    assert (read["source headers"], read["source bodies"]) == (0, MANY)
    assert read["target bodies"] == 0
    assert_complete(world, WELCOME)


def test_in_strict_order_headers_are_read_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is put aside where the source's order is wished, though all headers are read for it."""
    world = pending()
    world.target.deliver(INBOX, mail(3), internal_date=DATE)
    read = Readings(monkeypatch)
    assert world.run(order="strict").adopted == 1
    assert read["source headers"] == MANY
    kept = [world.target.folder(INBOX).messages[uid].octets for uid in world.target.uids(INBOX)]
    assert kept[2:] == [mail(number) for number in range(MANY) if number != 3]
    assert_complete(world, WELCOME)


@pytest.mark.parametrize("share", [2, 10])
def test_what_another_tool_has_half_copied_is_known_by_its_headers(
    share: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where strangers are many, the headers of what is pending are read, and no body of what stands there."""
    world = pending()
    done = MANY // share
    for one in list(world.source.folder(INBOX).messages.values())[:done]:
        world.target.deliver(INBOX, one.octets, one.flags, one.internal_date)
    read = Readings(monkeypatch)
    summary = world.run()
    assert (summary.adopted, summary.copied) == (done, MANY - done)
    assert (read["source headers"], read["source bodies"]) == (MANY, MANY - done)
    assert read["target bodies"] == 0
    assert_complete(world, WELCOME)


@every_target
@pytest.mark.parametrize("adopt", ["exact", "headers", "content"])
def test_few_that_stand_there_are_adopted(
    adopt: Literal["exact", "headers", "content"], target: MemoryTraits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A message that meets a stranger is put aside and claims it; all others are sent as they come."""
    world = pending(target)
    foreign = [mail(5), b"Received: by mx\r\n" + mail(7), mail(9, body="Another body.\r\n")]
    for octets in foreign:
        world.target.deliver(INBOX, octets, (), DATE)
    read = Readings(monkeypatch)
    summary = world.run(adopt=adopt)
    assert read["source headers"] == 0
    adopted = {5, 7, 9} if adopt == "headers" else {5, 7}
    assert (summary.adopted, summary.copied) == (len(adopted), MANY - len(adopted))
    sent = Counter(mail(number) for number in range(MANY) if number not in adopted)
    assert world.target.everything() == sent + Counter([WELCOME, *foreign])
    world.assert_settled()


@every_target
@pytest.mark.parametrize("duplicates", ["keep", "collapse"])
@pytest.mark.parametrize("standing", [1, 2, 4])
def test_identical_messages_claim_as_multisets(
    duplicates: Literal["keep", "collapse"], standing: int, target: MemoryTraits
) -> None:
    """Of three equal messages as many claim as stand there; the rest is sent, or collapsed into those by wish."""
    world = pending(target)
    for _ in range(3):
        world.source.deliver(INBOX, mail(1000))
    for _ in range(standing):
        world.target.deliver(INBOX, mail(1000), (), DATE)
    summary = world.run(duplicates=duplicates)
    assert summary.adopted == min(3, standing)
    assert summary.copied == MANY + (0 if duplicates == "collapse" else 3 - summary.adopted)
    assert world.run(duplicates=duplicates).copied == 0
    there = max(3, standing) if duplicates == "keep" else standing
    assert world.target.everything()[mail(1000)] == there


@every_target
def test_a_settled_twin_vouches_for_none_that_was_not_sent(target: MemoryTraits) -> None:
    """Of equal messages the one in doubt claims what stands there, and the one that was never sent is sent."""
    world = World(target=target, options=evolve(IN_TURN, batch_messages=1, order="strict"))
    for _ in range(2):
        world.source.deliver(INBOX, mail(1000))
    for number in range(MANY):
        world.source.deliver(INBOX, mail(number))
    world.run_faulty(Countdown(1, FaultKind.KILLED_AFTER, only="append"))
    assert world.target.everything() == Counter([mail(1000)])
    world.options = evolve(world.options, order="recent", batch_messages=20)
    summary = world.run()
    assert (summary.copied, summary.adopted) == (MANY + 2, 0)
    assert_complete(world)


@every_target
def test_what_is_in_doubt_is_not_taken_for_what_is_pending(
    target: MemoryTraits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A header does not decide for what was sent while what is pending may have the same: bodies are read.

    The two versions share their fields, size and date; another tool has copied the one that is pending.
    """
    world = World(target=target, options=evolve(IN_TURN, batch_messages=1, order="strict"))
    sent, waiting = mail(1000, body="body A\r\n"), mail(1000, body="body B\r\n")
    world.source.deliver(INBOX, sent, (), DATE)
    world.source.deliver(INBOX, waiting, (), DATE)
    for number in range(MANY):
        world.source.deliver(INBOX, mail(number))
    world.run_faulty(Countdown(1, FaultKind.KILLED_BEFORE, only="append"))
    world.target.deliver(INBOX, waiting, (), DATE)
    world.options = evolve(world.options, order="recent", batch_messages=20)
    read = Readings(monkeypatch)
    summary = world.run()
    assert (summary.copied, summary.adopted) == (MANY + 1, 1)
    assert read["source headers"] == 1
    assert_complete(world)


@every_target
def test_what_is_pending_claims_only_when_all_of_it_is_known(target: MemoryTraits) -> None:
    """One that looks like the stranger does not take it from another one of its Message-ID, which it really is."""
    world = World(target=target, options=evolve(IN_TURN, batch_messages=1, order="strict"))
    looks, really = mail(1001, body="body A\r\n"), mail(1001, body="body B\r\n")
    world.source.deliver(INBOX, mail(1000, body="body C\r\n"), (), DATE)
    world.source.deliver(INBOX, looks, (), DATE)
    world.source.deliver(INBOX, really, (), DATE + timedelta(days=1))
    for number in range(MANY):
        world.source.deliver(INBOX, mail(number))
    world.run_faulty(Countdown(1, FaultKind.KILLED_BEFORE, only="append"))
    world.target.deliver(INBOX, really, (), DATE)
    world.options = evolve(world.options, order="recent", batch_messages=20)
    assert world.run().adopted == 1
    assert_complete(world)


class LosingThenBlind(MemorySink):
    """A sink that loses its connection at its first batch, as mail comes; right after it cannot list a folder."""

    troubles = 0

    def append(self, batches: Iterable[Batch]) -> Iterator[Stored | NotStored]:
        if LosingThenBlind.troubles == 0:
            LosingThenBlind.troubles = 1
            next(iter(batches))
            self.mailbox.deliver(INBOX, OTHER)
            raise Transient("connection lost")
        yield from super().append(batches)

    def changes(self, requests: Iterable[tuple[Folder, Cursor | None]]) -> Iterator[Changes | Unusable]:
        for folder, cursor in requests:
            if LosingThenBlind.troubles == 1:
                LosingThenBlind.troubles = 2
                yield Unusable(folder.path, "NO [INUSE] try again")
            else:
                yield from super().changes([(folder, cursor)])


def test_what_was_put_aside_is_decided_though_more_is_pending(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message that is sent again alone, before all others of its target folder, waits for none of them."""
    world = World(policy=FolderPolicy(history="inbox"), options=evolve(IN_TURN, batch_messages=1))
    world.source.deliver(INBOX, mail(1000))
    for number in range(MANY):
        world.source.deliver(WORK, mail(number))
    world.run(limit_octets=0)
    monkeypatch.setattr(LosingThenBlind, "troubles", 0)
    world.run(sink=LosingThenBlind, observe=lambda _: world.clock.advance(1))
    world.run()
    assert_complete(world, OTHER)


@every_target
def test_a_crash_while_messages_are_put_aside_costs_nothing(target: MemoryTraits) -> None:
    """What was put aside is pending, whatever ends the pass; the next one decides it."""
    other = mail(49, body="Another body.\r\n")
    for at in (1, 3, 4, 5):
        world = pending(target, 50)
        world.target.deliver(INBOX, mail(30), (), DATE)
        world.target.deliver(INBOX, other, (), DATE)
        world.run_faulty(Countdown(at, FaultKind.KILLED_AFTER, only="append"))
        world.run()
        assert_complete(world, WELCOME, other)


def test_folders_that_share_a_target_are_held_against_the_same_strangers() -> None:
    """Of two folders that go into one, the message that comes first claims what stands there."""
    world = pending(count=50)
    for number in range(100, 150):
        world.source.deliver(WORK, mail(number))
    world.source.deliver(WORK, mail(7))
    world.policy = FolderPolicy(history="inbox")
    world.target.deliver(INBOX, mail(7), (), DATE)
    summary = world.run()
    assert (summary.copied, summary.adopted) == (100, 1)
    assert_complete(world, WELCOME)


# In doubt, and moved in the target before it was looked for


def doubtful(target: MemoryTraits | None = None) -> World:
    """Make a pass that dies as the target has stored a message, of which no answer came."""
    world = World(target=target)
    world.source.deliver(WORK, mail(1))
    world.target.make(("Done",))
    world.run()
    world.source.deliver(INBOX, mail(2), {"\\Seen"})
    world.run_faulty(Countdown(1, FaultKind.KILLED_AFTER, only="append"))
    assert world.target.everything()[mail(2)] == 1
    return world


def notes(world: World) -> str:
    return " | ".join(text for text, _ in world.ledger.notes(world.account_id))


@every_target
def test_a_message_in_doubt_that_its_user_moved_is_settled_where_it_is(target: MemoryTraits) -> None:
    """It is found in the other folder, counted once, and not sent again."""
    world = doubtful(target)
    world.target.move(INBOX, 1, WORK)
    assert world.run().copied == 1
    assert world.target.contents() == {WORK: Counter([mail(1), mail(2)])}
    assert "their user moved them" in notes(world)
    assert "sent again" not in notes(world)
    world.assert_settled()
    world.source.set_flags(INBOX, 1, {"\\Seen", "\\Flagged"})
    world.run()
    assert world.target.folder(WORK).messages[2].flags == {"\\Seen", "\\Flagged"}
    world.source.delete(INBOX, 1)
    world.run(deletions="mirror")
    assert mail(2) in world.target.everything(), "what its user moved is its user's"


@every_target
def test_what_is_found_nowhere_is_sent_again_and_said_so(target: MemoryTraits) -> None:
    """Its user removed it, or moved it where nothing of ours stands: rather twice than never."""
    world = doubtful(target)
    world.target.move(INBOX, 1, ("Done",))
    assert world.run().copied == 1
    assert world.target.contents()[INBOX] == Counter([mail(2)])
    assert "sent again, as nothing said that they had arrived" in notes(world)
    world.assert_settled()


@every_target
def test_a_folder_that_cannot_be_listed_hides_what_was_moved_there(target: MemoryTraits) -> None:
    """The message is sent again, and the folder is named: nothing waits for ever for what cannot be looked at."""
    world = doubtful(target)
    world.target.move(INBOX, 1, WORK)
    summary = world.run(sink=HalfBlind)
    assert (summary.state, summary.copied) == ("problems", 1)
    assert world.target.everything() == Counter([mail(1), mail(2), mail(2)])
    assert "sent again, as nothing said that they had arrived" in notes(world)
    [problem] = world.ledger.problems(world.account_id)
    assert (problem.kind, "Work" in problem.reason) == ("folder", True)
    assert world.run().state == "done"
    world.assert_settled()


class HalfBlind(MemorySink):
    """A sink that cannot list one of its folders."""

    def changes(self, requests: Iterable[tuple[Folder, Cursor | None]]) -> Iterator[Changes | Unusable]:
        for folder, cursor in requests:
            if folder.path == WORK:
                yield Unusable(folder.path, "NO [NOPERM] not yours")
            else:
                yield from super().changes([(folder, cursor)])


@every_target
def test_another_folders_own_messages_claim_first(target: MemoryTraits) -> None:
    """A copy that another folder's message has a right to is not taken for one that was moved."""
    world = doubtful(target)
    world.target.delete(INBOX, 1)
    world.source.deliver(WORK, mail(2))
    world.target.deliver(WORK, mail(2), (), DATE)
    summary = world.run()
    assert (summary.copied, summary.adopted) == (1, 1)
    assert_complete(world)


def test_mail_like_it_that_others_wrote_elsewhere_is_not_ours() -> None:
    """The same message with other trace headers came there on its own way: ours is sent."""
    world = doubtful()
    world.target.delete(INBOX, 1)
    world.target.deliver(WORK, b"Received: by mx\r\n" + mail(2))
    assert world.run().copied == 1
    assert world.target.contents()[INBOX] == Counter([mail(2)])


class Losing(MemorySink):
    """A sink that loses its connection at its first batch, having stored nothing."""

    struck = False

    def append(self, batches: Iterable[Batch]) -> Iterator[Stored | NotStored]:
        if not Losing.struck:
            Losing.struck = True
            next(iter(batches))
            self.lose_connection()
            raise Transient("connection lost")
        yield from super().append(batches)


def test_what_this_pass_lost_is_not_searched(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost connection costs no look at other folders: nobody has moved what was sent a moment ago."""
    world = World()
    world.source.deliver(WORK, mail(1))
    world.run()
    looked: list[list[str]] = []

    def noted(p: Pass, targets: Iterable[Target]) -> None:
        wanted = list(targets)
        looked.append(["/".join(target.folder.path) for target in wanted])
        survey(p, wanted)

    monkeypatch.setattr("alimail_core.transfer.reconcile.survey", noted)
    monkeypatch.setattr(Losing, "struck", False)
    world.source.deliver(INBOX, mail(2))
    assert world.run(sink=Losing, observe=lambda _: world.clock.advance(1)).copied == 1
    assert ["INBOX"] in looked
    assert not any("Work" in each for each in looked)
