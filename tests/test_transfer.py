"""One account's pass, between two mailboxes in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

import pytest
from attrs import evolve

from alimail_core.errors import InDoubt
from alimail_core.events import FolderListed
from alimail_core.folders.policy import FolderPolicy, FolderRule
from alimail_core.model import INBOX, Batch, Folder, Headers, NotStored, SpecialUse, Stored
from alimail_core.testing.faults import FaultKind, countdowns
from alimail_core.testing.mail import message
from alimail_core.testing.memory import MemorySink, MemorySource, MemoryTraits
from tests.harness import World
from tests.readings import Readings

pytestmark = pytest.mark.slow


def mail(number: int, body: str = "hello", message_id: str | None = None) -> bytes:
    name = message_id or f"m{number}@example.org"
    return (
        f"Message-ID: <{name}>\r\nDate: Tue, 1 Jul 2025 10:00:00 +0200\r\nFrom: a@example.org\r\n"
        f"Subject: number {number}\r\n\r\n{body} {number}\r\n"
    ).encode()


def filled(count: int = 5, **traits: object) -> World:
    world = World(**traits)  # type: ignore[arg-type]
    for number in range(count):
        world.source.deliver(INBOX, mail(number), {"\\Seen"})
        world.source.deliver(("Work", "项目"), mail(number + 100))
    return world


def test_a_first_pass_carries_everything_and_a_second_writes_nothing() -> None:
    """Every message, flag and date arrives once."""
    world = filled()
    summary = world.run()
    assert (summary.state, summary.copied) == ("done", 10)
    assert world.target.contents() == world.source.contents()
    there = world.target.folder(INBOX).messages
    here = world.source.folder(INBOX).messages
    assert [(m.flags, m.internal_date) for m in there.values()] == [
        (m.flags, m.internal_date) for m in here.values()
    ]
    world.assert_settled()


def test_without_uidplus_keys_are_found_by_reading_back() -> None:
    """A target that tells no key is read back once, and a later pass knows every message."""
    world = filled(target=MemoryTraits(uidplus=False))
    world.run()
    assert world.target.contents() == world.source.contents()
    world.assert_settled()
    world.source.set_flags(INBOX, 1, {"\\Seen", "\\Flagged"})
    world.run()
    assert world.target.folder(INBOX).messages[1].flags == {"\\Seen", "\\Flagged"}


def test_a_lost_ledger_is_rebuilt_by_adoption() -> None:
    """What stands in the target is adopted, not copied again."""
    world = filled()
    world.run()
    world.lose_ledger()
    summary = world.run()
    assert (summary.copied, summary.adopted) == (0, 10)
    assert world.target.contents() == world.source.contents()


def test_identical_messages_stay_as_many_as_they_were() -> None:
    """Duplicates of the source are kept, also when the ledger is lost between two passes."""
    world = World()
    for _ in range(3):
        world.source.deliver(INBOX, mail(1))
    world.run()
    world.lose_ledger()
    world.source.deliver(INBOX, mail(1))
    world.run()
    assert world.target.contents() == world.source.contents()


def test_identical_messages_are_collapsed_by_wish() -> None:
    """With duplicates = collapse one of each is carried."""
    world = World(options=evolve(World().options, duplicates="collapse"))
    for number in (1, 1, 2, 1):
        world.source.deliver(INBOX, mail(number))
    world.run()
    assert sorted(world.target.everything().values()) == [1, 1]
    world.assert_settled()


def test_a_move_at_the_source_is_followed() -> None:
    """A message that was moved at the source moves in the target, and is not copied."""
    world = filled()
    world.run()
    world.source.move(INBOX, 2, ("Work", "项目"))
    summary = world.run()
    assert summary.copied == 0
    assert world.target.contents() == world.source.contents()
    world.assert_settled()


def test_a_renamed_folder_moves_its_messages() -> None:
    """A folder renamed at the source leaves no message twice."""
    world = filled()
    world.run()
    world.source.rename_folder(("Work", "项目"), ("Work", "done"))
    assert world.run().copied == 0
    assert world.target.contents() == world.source.contents()
    world.assert_settled()


def test_renumbered_sides_copy_nothing() -> None:
    """New UIDs on either side, with and without a new UIDVALIDITY, cost a matching and no copy."""
    for new_validity in (True, False):
        world = filled()
        world.run()
        world.source.delete(INBOX, 1)
        world.target.delete(("Work", "项目"), 1)
        world.source.renumber(INBOX, new_validity)
        world.target.renumber(("Work", "项目"), new_validity)
        assert world.run().copied == 0
        world.source.deliver(("Work", "项目"), mail(999))
        assert world.run().copied == 1
        assert len(world.target.uids(("Work", "项目"))) == 5
        world.assert_settled()


def test_flags_are_carried_as_differences() -> None:
    """A flag that the target's user set stays; a flag that the source's user set or took is carried."""
    world = filled()
    world.run()
    world.target.set_flags(INBOX, 1, {"\\Seen", "\\Answered"})
    world.source.set_flags(INBOX, 1, {"\\Flagged"})
    world.run()
    assert world.target.folder(INBOX).messages[1].flags == {"\\Answered", "\\Flagged"}
    world.assert_settled()


def test_what_its_user_deleted_in_the_target_stays_deleted() -> None:
    """A message that was carried is never copied again by itself."""
    world = filled()
    world.run()
    world.target.delete(INBOX, 1)
    world.source.deliver(INBOX, mail(77))
    assert world.run().copied == 1
    assert len(world.target.uids(INBOX)) == 5


def test_deletions_are_kept_unless_mirrored() -> None:
    """A deletion at the source takes our copy away only by wish."""
    world = filled()
    world.run()
    world.source.delete(INBOX, 1)
    world.run()
    assert len(world.target.uids(INBOX)) == 5
    world.run(deletions="mirror")
    assert world.target.contents() == world.source.contents()


def test_a_folder_that_one_list_leaves_out_is_not_taken_for_deleted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line of the list was lost on the way: mirrored, that would empty the folder."""
    world = filled()
    world.run()
    before = world.target.snapshot()
    lists = [list(MemorySource(world.source).folders())[:1]]
    whole = MemorySource.folders

    def listed(side: MemorySource) -> Iterable[Folder]:
        return lists.pop() if lists and side.mailbox is world.source else whole(side)

    monkeypatch.setattr(MemorySource, "folders", listed)
    world.run(deletions="mirror")
    assert not lists
    assert world.target.snapshot() == before
    gone = ("Work", "项目")
    world.source.remove_folder(gone)
    world.run(deletions="mirror")
    assert gone not in world.target.contents()


def test_keywords_that_the_target_cannot_store_cost_nothing() -> None:
    """The message goes without the keyword, and the keyword is counted once."""
    world = World(target=MemoryTraits(storable_flags=frozenset({"\\Seen"})))
    world.source.deliver(INBOX, mail(1), {"\\Seen", "$Forwarded"})
    world.run()
    assert world.target.folder(INBOX).messages[1].flags == {"\\Seen"}
    world.assert_settled()
    [(text, count)] = world.ledger.notes(world.account_id)
    assert ("$Forwarded" in text, count) == (True, 1)


def test_a_header_that_the_target_reads_otherwise_hides_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was stored as the process died is found again, also where its server's idea of its header is not ours.

    Dovecot finds no field in a message whose lines end in lone CRs.
    """
    monkeypatch.setattr(MemorySink, "headers", lambda *asked: (Headers(entry.key, b"") for entry in asked[2]))
    for plan in countdowns(FaultKind.KILLED_AFTER):
        world = World()
        world.source.deliver(INBOX, b"From: a@example.org\rSubject: lone CRs\r\rbody\r")
        world.run_faulty(plan)
        world.run()
        assert world.target.contents() == world.source.contents()


def test_of_equal_messages_the_one_that_arrived_is_the_one_that_claims() -> None:
    """Where a process died after one of two twins was stored, the other one keeps its own flags and date."""
    for plan in countdowns(FaultKind.TORN):
        world = World()
        # The second one is recent, and so it is sent first.
        world.source.deliver(INBOX, mail(1), {"\\Flagged"}, datetime(2024, 1, 1, tzinfo=UTC))
        world.source.deliver(INBOX, mail(1), {"\\Answered"}, datetime(2025, 12, 24, tzinfo=UTC))
        world.run_faulty(plan)
        world.run()
        here, there = (
            sorted((one.internal_date, sorted(one.flags)) for one in side.folder(INBOX).messages.values())
            for side in (world.source, world.target)
        )
        assert there == here


def test_mail_that_was_moved_at_the_source_is_not_told_as_pending() -> None:
    """An observer hears what must travel after moves were told from news: an estimate counts no moved message."""
    world = filled()
    world.run()
    world.source.move(INBOX, 1, ("Work", "项目"))
    world.source.deliver(("Work", "项目"), mail(900))
    world.events.clear()
    world.run()
    told = {each.folder: each.pending_messages for each in world.events if isinstance(each, FolderListed)}
    assert {path: number for path, number in told.items() if number} == {("Work", "项目"): 1}


class Mute(MemorySink):
    """A sink that stores everything and whose answers are lost."""

    def append(self, batches: Iterable[Batch]) -> Iterator[Stored | NotStored]:
        """Store, and say that it is in doubt."""
        for outcome in super().append(batches):
            yield NotStored(outcome.id, InDoubt("connection lost", over=True))


def test_octets_that_were_found_after_a_doubt_are_counted() -> None:
    """What arrived without an answer counts, once it is found, towards the pass and the migration's limit."""
    world = filled(3)
    summary = world.run(sink=Mute)
    assert (summary.state, summary.copied) == ("done", 6)
    assert summary.octets == world.source.octets == world.ledger.total_octets()


def test_a_message_that_is_marked_for_deletion_is_carried_without_the_mark() -> None:
    """It arrives, the mark does not, and the report counts it once, however many passes follow."""
    world = filled(1)
    world.source.deliver(INBOX, mail(9), {"\\Deleted", "\\Seen"})
    assert world.run().copied == 3
    assert world.target.folder(INBOX).messages[2].flags == {"\\Seen"}
    world.source.set_flags(INBOX, 1, {"\\Deleted", "\\Flagged"})
    world.run()
    assert world.target.folder(INBOX).messages[1].flags == {"\\Flagged"}
    world.assert_settled()
    assert world.ledger.notes(world.account_id) == [
        ("messages that are marked for deletion at the source: carried without the mark", 1)
    ]


def test_a_draft_that_arrives_costs_no_reading_of_what_was_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only drafts need their bodies to be told apart; the rest of a renamed folder is known by its headers."""
    world = World()
    for number in range(20):
        world.source.deliver(("Old",), mail(number))
    world.source.make(("Drafts",), special_use=SpecialUse.DRAFTS)
    world.run()
    world.source.rename_folder(("Old",), ("New",))
    draft = world.source.deliver(("Drafts",), mail(30))
    assert len(world.source.folder(("Drafts",)).messages[draft].octets) == len(mail(10))
    read = Readings(monkeypatch)
    assert world.run().copied == 1
    assert read["source bodies"] == 1
    assert world.target.contents()["New",] == world.source.contents()["New",]


def test_versions_of_a_draft_are_told_apart_by_their_bodies() -> None:
    """A draft that left as another version of it arrived is not taken for it, though all that is listed agrees."""
    world = World()
    world.source.make(("Drafts",), special_use=SpecialUse.DRAFTS)
    date = datetime(2024, 5, 1, tzinfo=UTC)
    old = world.source.deliver(("Drafts",), mail(1, "first"), (), date)
    world.run()
    world.source.delete(("Drafts",), old)
    world.source.deliver(("Drafts",), mail(1, "later"), (), date)
    assert world.run().copied == 1
    assert world.target.everything() == Counter([mail(1, "first"), mail(1, "later")])


def test_changed_wishes_for_folders_make_no_second_copies_and_are_told_once() -> None:
    """What was carried keeps its place, new mail goes beside it, and the next pass says which folders that are."""
    world = World()
    for name in ("Projects", "Spam", "Same"):
        world.source.deliver((name,), message(subject=name))
    world.run()
    world.policy = FolderPolicy(
        rules=(FolderRule(("Projects",), ("Archive", "Projects")), FolderRule(("Spam",), None))
    )
    world.source.deliver(("Spam",), message(subject="more"))
    world.source.deliver(("New",), message(subject="new"))
    assert world.run().copied == 2
    assert world.target.contents() == world.source.contents()
    told = (
        "[folders] has changed, and folders that were carried keep their place: "
        "Projects (goes to Projects, and by today's wishes to Archive/Projects), "
        "Spam (goes to Spam, and by today's wishes nowhere)"
    )
    world.assert_settled()
    assert [note for note in world.ledger.notes(world.account_id) if "[folders]" in note[0]] == [(told, 1)]
