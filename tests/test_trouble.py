"""What goes wrong in a pass, and what becomes of it: nothing is lost, and each reason is named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import ClassVar, Literal

import pytest
import sqlalchemy as sa
from attrs import evolve

from alimail_core.errors import InDoubt, Refused, Transient
from alimail_core.events import Event, ProblemFound, Waiting
from alimail_core.folders.policy import FolderPolicy, FolderRule
from alimail_core.identity import mend
from alimail_core.ledger import schema
from alimail_core.model import (
    INBOX,
    Batch,
    Changes,
    Cursor,
    Folder,
    FolderPath,
    NotStored,
    SpecialUse,
    Stored,
    Unusable,
)
from alimail_core.seam import Stop
from alimail_core.testing.faults import Countdown, FaultKind
from alimail_core.testing.mail import message
from alimail_core.testing.memory import MemoryMailbox, MemorySink, MemoryTraits
from alimail_core.units import Octets
from tests.harness import IN_TURN, World

pytestmark = pytest.mark.slow


def problems(world: World) -> list[tuple[str, str]]:
    return [(row.kind, row.reason) for row in world.ledger.problems(world.account_id)]


def no_nul(octets: bytes) -> Refused | None:
    return Refused("NO NUL is not allowed", about="form") if b"\0" in octets else None


def test_a_full_mailbox_stops_the_account_and_a_larger_one_goes_on() -> None:
    """OVERQUOTA is the account's trouble, not the message's: the next pass carries the rest."""
    world = World(target=MemoryTraits(quota_octets=1000), options=evolve(IN_TURN, batch_messages=2))
    for number in range(9):
        world.source.deliver(INBOX, message(subject=str(number)))
    summary = world.run()
    assert (summary.state, summary.problems) == ("failed", 0)
    assert "full" in summary.reason
    assert summary.remedy
    there = sum(world.target.everything().values())
    assert 0 < there < 9
    world.target.traits = MemoryTraits()
    assert world.run().copied == 9 - there
    assert world.target.contents() == world.source.contents()
    world.assert_settled()


def test_a_message_that_is_refused_for_its_form_is_mended() -> None:
    """It goes with the least change that helps, and the change is counted."""
    world = World(target=MemoryTraits(refuse=no_nul))
    odd = message(subject="nul", body="a\0b")
    world.source.deliver(INBOX, odd)
    world.source.deliver(INBOX, message(subject="sound"))
    assert world.run().copied == 2
    assert world.target.everything()[mend(odd)] == 1
    assert any("mended" in text for text, _ in world.ledger.notes(world.account_id))
    world.assert_settled()
    world.lose_ledger()
    assert world.run().copied == 0


def test_a_message_that_is_refused_still_is_quarantined_with_the_servers_words() -> None:
    """It does not hold up the others, it is not offered again by itself, and refill offers it again."""
    world = World(
        target=MemoryTraits(
            refuse=lambda octets: Refused("NO [CANNOT] not me") if b"evil" in octets else None
        )
    )
    world.source.deliver(INBOX, message(subject="evil"))
    world.source.deliver(INBOX, message(subject="good"))
    summary = world.run()
    assert (summary.state, summary.copied, summary.problems) == ("problems", 1, 1)
    assert problems(world) == [("refused", "NO [CANNOT] not me")]
    assert world.run().copied == 0
    assert problems(world) == [("refused", "NO [CANNOT] not me")]
    world.target.traits = MemoryTraits()
    assert world.run(refill=True).copied == 1
    assert problems(world) == []


class Gruff(MemorySink):
    """A sink that says NO without a reason to what has "odd" in it, some times, whether it has stored it or not."""

    times: ClassVar[int]
    acts: ClassVar[bool]
    offered: ClassVar[list[list[bytes]]]

    def append(self, batches: Iterable[Batch]) -> Iterator[Stored | NotStored]:
        for batch in batches:
            self.offered.append([each.octets for each in batch])
            odd = [each for each in batch if b"odd" in each.octets] if len(self.offered) <= self.times else []
            kept = [each for each in batch if self.acts or each not in odd]
            answers = {answer.id: answer for answer in super().append([kept] if kept else [])}
            answers |= {each.id: NotStored(each.id, self.no) for each in odd}
            yield from answers.values()

    no = Refused("NO not now", explained=False)


def gruff(monkeypatch: pytest.MonkeyPatch, times: int, *, acts: bool) -> list[list[bytes]]:
    """Say how often it says NO, and whether it stores all the same; return what it will have been offered."""
    offered: list[list[bytes]] = []
    for name, value in {"times": times, "acts": acts, "offered": offered}.items():
        monkeypatch.setattr(Gruff, name, value, raising=False)
    return offered


@pytest.mark.parametrize("acts", [False, True])
@pytest.mark.parametrize("about", ["form", "other"])
def test_a_no_without_a_reason_is_not_believed_at_once(
    acts: bool, about: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once all else has gone it is looked for, and sent alone where it is not there: unchanged, and never twice."""
    offered = gruff(monkeypatch, 1, acts=acts)
    monkeypatch.setattr(Gruff, "no", Refused("NO not now", about=about, explained=False))
    world = World(options=evolve(IN_TURN, batch_messages=3))
    odd = message(subject="odd", body="a\0b")
    for each in (odd, message(subject="two"), message(subject="three"), message(subject="four")):
        world.source.deliver(INBOX, each)
    summary = world.run(sink=Gruff)
    assert (summary.state, summary.copied, summary.problems) == ("done", 4, 0)
    assert offered[2:] == ([] if acts else [[odd]])
    assert world.target.contents() == world.source.contents()
    world.assert_settled()


def test_a_no_without_a_reason_that_is_said_again_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message is named, and offered again by wish alone: as often as in the pass before."""
    offered = gruff(monkeypatch, 9, acts=False)
    world = World()
    for subject in ("odd", "two"):
        world.source.deliver(INBOX, message(subject=subject))
    summary = world.run(sink=Gruff)
    assert (summary.state, summary.copied, summary.problems) == ("problems", 1, 1)
    assert problems(world) == [("refused", "NO not now")]
    assert len(offered) == 2
    assert world.run(sink=Gruff).problems == 1
    assert len(offered) == 2
    assert world.run(sink=Gruff, retry=True).problems == 1
    assert len(offered) == 4


def test_a_target_that_refuses_everything_without_a_reason_means_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only so many messages travel again, one by one, before all are named."""
    offered = gruff(monkeypatch, 99, acts=False)
    monkeypatch.setattr("alimail_core.transfer.send.UNEXPLAINED", 5)
    world = World()
    for number in range(20):
        world.source.deliver(INBOX, message(subject=f"odd {number}"))
    assert world.run(sink=Gruff).problems == 20
    assert [len(batch) for batch in offered] == [20, 1, 1, 1, 1, 1]


def test_a_message_beyond_the_targets_limit_is_never_sent() -> None:
    """It is quarantined with both sizes."""
    world = World(target=MemoryTraits(max_message_octets=1000))
    world.source.deliver(INBOX, message(body="x" * 2000))
    world.source.deliver(INBOX, message())
    assert world.run().copied == 1
    [(kind, reason)] = problems(world)
    assert kind == "refused"
    assert "1,000" in reason


def test_what_the_source_does_not_give_is_tried_again_next_time() -> None:
    """An unreadable message is a problem until it can be read."""
    world = World()
    uid = world.source.deliver(INBOX, message(subject="stuck"))
    world.source.deliver(INBOX, message(subject="free"))
    world.source.spoil(INBOX, uid, "NO [SERVERBUG] broken")
    summary = world.run()
    assert (summary.state, summary.copied) == ("problems", 1)
    assert problems(world) == [("unreadable", "NO [SERVERBUG] broken")]
    world.source.spoil(INBOX, uid, None)
    assert world.run().copied == 1
    assert problems(world) == []
    world.assert_settled()


class Choking(MemorySink):
    """A sink whose connection dies, having stored nothing, whenever it is offered one certain message."""

    def append(self, batches: Iterable[Batch]) -> Iterator[Stored | NotStored]:
        for batch in batches:
            if any(b"poison" in each.octets for each in batch):
                for each in batch:
                    yield NotStored(each.id, InDoubt("connection lost"))
                raise Transient("BYE invalid character in literal")
            yield from super().append([batch])


def test_a_message_on_which_the_target_chokes_is_set_aside() -> None:
    """A connection that dies again and again at one message is evidence against it; the others go on."""
    world = World()
    for subject in ("one", "poison", "two", "three"):
        world.source.deliver(INBOX, message(subject=subject))
    summary = world.run(sink=Choking)
    assert (summary.state, summary.copied) == ("problems", 3)
    [(kind, reason)] = problems(world)
    assert kind == "refused"
    assert "ended the connection" in reason


def test_a_second_copy_that_arrives_late_is_removed() -> None:
    """A server that finishes an APPEND after its settle time makes two of one; our own later copy goes."""
    world = World()
    world.source.deliver(INBOX, message(subject="slow"))
    world.run_faulty(Countdown(1, FaultKind.LATE, only="append", late_seconds=100))
    world.clock.advance(1000)
    assert sum(world.target.everything().values()) == 2
    world.run()
    assert sum(world.target.everything().values()) == 1
    assert problems(world) == []
    world.assert_settled()


def test_without_safe_removal_a_second_copy_is_named() -> None:
    """Where the target cannot remove exactly one message, the report names the extra one."""
    world = World(target=MemoryTraits(moves=False))
    world.source.deliver(INBOX, message(subject="slow"))
    world.run_faulty(Countdown(1, FaultKind.LATE, only="append", late_seconds=100))
    world.clock.advance(1000)
    summary = world.run()
    assert summary.state == "problems"
    assert [kind for kind, _ in problems(world)] == ["extra"]
    world.assert_settled()


class Doubling(MemorySink):
    """A sink whose server stores each message twice, and tells of one."""

    def append(self, batches: Iterable[Batch]) -> Iterator[Stored | NotStored]:
        for batch in batches:
            for each in batch:
                if b"twice" in each.octets:
                    self.mailbox.deliver(each.folder.path, each.octets, each.flags)
            yield from super().append([batch])


@pytest.mark.parametrize("uidplus", [True, False])
def test_what_the_target_stores_twice_by_itself_is_named(uidplus: bool) -> None:
    """The pass notes how many, once; a stranger that is only alike is not taken for one."""
    world = World(target=MemoryTraits(uidplus=uidplus))
    for subject in ("once", "twice"):
        world.source.deliver(INBOX, message(subject=subject, message_id=f"<{subject}@x>"))
    # One of the same header and size, and with another body, was there before.
    world.target.deliver(INBOX, message(subject="other", body="Bye", message_id="<other@x>"))
    world.source.deliver(INBOX, message(subject="other", body="Yes", message_id="<other@x>"))
    summary = world.run(sink=Doubling)
    assert (summary.state, summary.copied) == ("done", 3)
    world.assert_settled()
    [(text, count)] = world.ledger.notes(world.account_id)
    assert "sent once and stand twice" in text
    assert count == 1


def test_a_wish_to_stop_is_granted_between_two_batches() -> None:
    """The pass ends settled, and says that the same command goes on."""
    world = World(options=evolve(IN_TURN, batch_messages=1))
    for number in range(5):
        world.source.deliver(INBOX, message(subject=str(number)))
    stop = world.stop

    def after_two(_: Event) -> None:
        if sum(world.target.everything().values()) >= 2:
            stop.set(15)

    summary = world.run(observe=after_two)
    assert summary.state == "stopped"
    assert sum(world.target.everything().values()) < 5
    assert world.states()["SENT"] == 0
    world.stop = Stop()
    world.run()
    assert world.target.contents() == world.source.contents()


def test_disabling_takes_effect_within_the_pass() -> None:
    """An account that is disabled while it runs ends before its next batch."""
    world = World(options=evolve(IN_TURN, batch_messages=1))
    for number in range(5):
        world.source.deliver(INBOX, message(subject=str(number)))

    def disable(_: Event) -> None:
        if sum(world.target.everything().values()) == 1:
            world.ledger.enable([world.account_id], False)

    summary = world.run(observe=disable)
    assert (summary.state, "enable" in summary.remedy) == ("disabled", True)
    assert sum(world.target.everything().values()) < 5


def test_the_limit_of_a_migration_stops_it() -> None:
    """No batch begins that would carry it over the limit."""
    world = World(options=evolve(IN_TURN, batch_messages=1, limit_octets=Octets(500)))
    for number in range(5):
        world.source.deliver(INBOX, message(subject=str(number)))
    summary = world.run()
    assert summary.state == "failed"
    assert "limit" in summary.reason
    assert world.target.octets <= 500


def test_a_target_that_ignores_dates_is_told_once() -> None:
    """That all mail would show its day of migration stands in the report."""
    world = World(target=MemoryTraits(keeps_dates=False))
    for number in range(3):
        world.source.deliver(INBOX, message(subject=str(number)), (), datetime(2001, 2, 3, tzinfo=UTC))
    world.run()
    world.source.deliver(INBOX, message(subject="later"), (), datetime(2001, 2, 3, tzinfo=UTC))
    world.run()
    assert [count for text, count in world.ledger.notes(world.account_id) if "internal dates" in text] == [1]


def test_a_connection_that_never_comes_back_is_given_up_with_its_reason() -> None:
    """After some attempts without any progress the account ends, and the waits were told."""
    world = World()
    world.source.deliver(INBOX, message())
    summary = world.run(sink=Unreachable)
    assert summary.state == "failed"
    assert any(isinstance(event, Waiting) for event in world.events)


class Unreachable(MemorySink):
    """A sink that answers nothing."""

    def folders(self) -> Iterator[Folder]:
        raise Transient("connection refused", remedy="Is the server up?")


def test_rules_send_a_folder_elsewhere_and_leave_another_out() -> None:
    """A rule of the configuration decides before any policy."""
    policy = FolderPolicy(
        rules=(FolderRule(("Projects",), ("Archive", "Projects")), FolderRule(("Spam",), None))
    )
    world = World(policy=policy)
    world.source.deliver(("Projects", "A"), message(subject="a"))
    world.source.deliver(("Spam",), message(subject="spam"))
    world.run()
    assert set(world.target.contents()) == {("Archive", "Projects", "A")}
    world.assert_settled()


def test_a_folder_that_the_target_will_not_make_is_a_problem() -> None:
    """Its messages wait, and everything else is carried."""
    world = World()
    world.source.deliver(("Bad",), message(subject="waits"))
    world.source.deliver(INBOX, message(subject="goes"))
    summary = world.run(sink=Grudging)
    assert (summary.state, summary.copied) == ("problems", 1)
    assert "NO not here" in problems(world)[0][1]
    assert any(isinstance(event, ProblemFound) for event in world.events)
    assert world.run().copied == 1
    assert problems(world) == []


class Grudging(MemorySink):
    """A sink that makes no folder."""

    def create(self, wanted: Sequence[tuple[FolderPath, SpecialUse | None]]) -> Iterator[Folder | Unusable]:
        for path, _ in wanted:
            yield Unusable(path, "NO not here")


def test_adoption_by_headers_reads_no_body() -> None:
    """With adopt = headers a pre-filled target is adopted although its octets differ."""
    world = World()
    world.source.deliver(INBOX, message(message_id="<1@x>"))
    world.target.deliver(INBOX, b"X-Other-Tool: yes\r\n" + message(message_id="<1@x>", body="changed"))
    summary = world.run(adopt="headers")
    assert (summary.copied, summary.adopted) == (0, 1)


def test_mail_that_was_forwarded_to_the_target_is_not_copied() -> None:
    """A copy with other trace headers is the same message, unless the user wants it twice."""
    for wish, copies in (("match", 1), ("ignore", 2)):
        world = World()
        mail = message(message_id="<1@x>")
        world.source.deliver(INBOX, mail)
        world.target.deliver(INBOX, b"Received: from old by new; Mon, 1 Jan 2024 10:00:01 +0800\r\n" + mail)
        world.run(delivered_twice=wish)
        assert sum(world.target.everything().values()) == copies


def test_refill_carries_again_what_an_emptied_mailbox_lost() -> None:
    """By itself a pass says that the copies are gone; on wish it makes them again."""
    world = World()
    for number in range(4):
        world.source.deliver(INBOX, message(subject=str(number)))
    world.run()
    world.target = MemoryMailbox()
    assert world.run(refill=True).copied == 4
    assert world.target.contents() == world.source.contents()
    world.target = MemoryMailbox()
    world.source.deliver(INBOX, message(subject="new"))
    assert world.run().copied == 1
    assert any("--refill" in text for text, _ in world.ledger.notes(world.account_id))
    assert world.run(refill=True).copied == 4
    assert world.target.contents() == world.source.contents()
    world.assert_settled()


def test_a_source_that_renders_anew_at_each_fetch_is_copied_once() -> None:
    """EWS gives other octets each time; the key is what counts."""
    world = World(source=MemoryTraits(stable_octets=False))
    for number in range(3):
        world.source.deliver(INBOX, message(subject=str(number)))
    world.run()
    world.assert_settled()
    world.lose_ledger()
    assert world.run().copied == 0


@pytest.mark.parametrize("order", ["recent", "strict"])
def test_the_order_of_sending(order: Literal["recent", "strict"]) -> None:
    """Recent mail goes first, or all goes in the source's order."""
    world = World(options=evolve(IN_TURN, order=order))
    now = world.clock.now()
    for number, days in enumerate([400, 1, 300, 2]):
        world.source.deliver(INBOX, message(subject=f"s{number}"), (), now - timedelta(days=days))
    world.run()
    sent = [one.octets for _, one in sorted(world.target.folder(INBOX).messages.items())]
    numbers = [next(n for n in range(4) if b"s%d" % n in octets) for octets in sent]
    assert numbers == ([1, 3, 0, 2] if order == "recent" else [0, 1, 2, 3])


def test_a_pass_with_threads_carries_the_same() -> None:
    """Reading ahead in another thread changes nothing in the outcome."""
    world = World(options=evolve(IN_TURN, read_ahead_octets=2_000, batch_messages=3))
    for number in range(50):
        world.source.deliver(INBOX, message(subject=str(number), body="x" * 300))
    world.run()
    assert world.target.contents() == world.source.contents()
    world.assert_settled()


@pytest.mark.parametrize("cut", [False, True])
def test_a_message_that_the_target_takes_for_another_is_named(cut: bool) -> None:
    """Also where the connection dies once before what was stored is read back."""
    world = World(options=evolve(IN_TURN, batch_messages=1))
    world.source.deliver(INBOX, message(subject="first"))
    world.source.deliver(INBOX, message(subject="second"))
    lost = [] if cut else [True]

    class Confusing(MemorySink):
        def append(self, batches: Iterable[Batch]) -> Iterator[Stored | NotStored]:
            for outcome in super().append(batches):
                if isinstance(outcome, Stored) and outcome.key == "1/2":
                    self.mailbox.delete(INBOX, 2)
                    outcome = evolve(outcome, key="1/1")
                yield outcome

        def changes(self, requests: Iterable[tuple[Folder, Cursor | None]]) -> Iterator[Changes | Unusable]:
            if not lost and self.mailbox.everything():
                lost.append(True)
                raise Transient("the connection was lost")
            return super().changes(requests)

    summary = world.run(sink=Confusing)
    assert (summary.state, summary.problems) == ("problems", 1)
    assert "took this message for another one" in problems(world)[0][1]
    assert world.target.everything().total() == 1


class LyingSink(MemorySink):
    """A sink whose server names, for every message that it stores, a UID that is nobody's."""

    def append(self, batches: Iterable[Batch]) -> Iterator[Stored | NotStored]:
        for outcome in super().append(batches):
            yield Stored(outcome.id, "1/99") if isinstance(outcome, Stored) else outcome


def test_a_wrong_uid_is_found_out() -> None:
    """APPENDUID names what does not exist: the message is looked for by what it is, and is neither lost nor gone."""
    world = World()
    world.source.deliver(INBOX, message())
    world.run(sink=LyingSink)
    world.run_looking()
    world.assert_settled()
    with world.ledger.engine.connect() as connection:
        (row,) = connection.execute(sa.select(schema.message))
    assert (row.target_key, row.target_gone) == ("1/1", 0)
    assert len(world.target.uids(INBOX)) == 1
