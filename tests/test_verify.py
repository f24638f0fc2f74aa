"""Is it all there? Everything that can be wrong between two mailboxes, and what the proof says of it."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Literal

import pytest
from attrs import evolve

from alimail_core.errors import Interrupted, Refused
from alimail_core.events import BatchSettled, Event, MessagesProven, ProofEnded, ProofStarted
from alimail_core.folders.policy import FolderPolicy
from alimail_core.ledger import Ledger
from alimail_core.model import (
    INBOX,
    Batch,
    Changes,
    Cursor,
    Entry,
    Folder,
    Gone,
    Message,
    NotStored,
    Stored,
    Unreadable,
    Unusable,
)
from alimail_core.proof import readback
from alimail_core.proof.differences import difference
from alimail_core.proof.results import AccountProof, FolderProof, root_digest
from alimail_core.proof.store import MESSAGE_COLUMNS, ProofStore
from alimail_core.report.contents import report_folder
from alimail_core.seam import Stop
from alimail_core.testing.memory import MemoryMailbox, MemorySink, MemorySource, MemoryTraits
from tests.organisation import Organisation, message

pytestmark = pytest.mark.slow

DRAFTS = ("Drafts",)


def carried(office: Organisation, *messages: bytes) -> Organisation:
    """Carry messages of Anna's inbox, and a second time, so that the target's witness is known."""
    office.give("anna", *messages)
    run(office)
    office.give("anna", message("the last one"))
    run(office)
    return office


def run(office: Organisation) -> None:
    """Make one pass."""
    with office.migration() as migration:
        migration.run()


def prove(office: Organisation, *, full: bool = False) -> AccountProof:
    """Return Anna's proof."""
    with office.migration() as migration:
        [proof] = migration.verify("anna", full=full)
    for folder in proof.folders:
        outcomes = ("proven", "altered", "moved", "merged", "collapsed", "quarantined", "pending")
        told = sum(getattr(folder, name) for name in outcomes)
        assert told <= folder.messages <= told + folder.missing + folder.changed, (
            "each message has one outcome"
        )
    return proof


def listed(office: Organisation) -> list[dict[str, str]]:
    """Return the list of messages that Anna's latest proof has left."""
    store = ProofStore(report_folder(office.spec))
    text = "".join(store.messages("anna@old.example", "anna@new.example"))
    return list(csv.DictReader(io.StringIO(text, newline=""), MESSAGE_COLUMNS))


def inbox(proof: AccountProof) -> FolderProof:
    """Return what the proof says of the inbox."""
    [found] = [folder for folder in proof.folders if folder.source == INBOX]
    return found


def kinds(folder: FolderProof) -> list[str]:
    """Return the kinds of the findings."""
    return [finding.kind for finding in folder.findings]


BOTH = pytest.mark.parametrize("full", [False, True], ids=["quick", "full"])


@BOTH
def test_what_was_carried_is_all_there(tmp_path: Path, full: bool) -> None:
    """After a pass the proof is complete, counts every message, and finds nothing."""
    office = carried(Organisation(tmp_path), message("one"), message("two"))
    office.give("anna", message("draft"), path=DRAFTS)
    run(office)
    proof = prove(office, full=full)
    assert proof.complete
    assert proof.exit_code == 0
    assert [(folder.source, folder.messages, folder.proven) for folder in proof.folders] == [
        (DRAFTS, 1, 1),
        (INBOX, 3, 3),
    ]
    assert proof.remarks == ()
    assert sum(folder.octets for folder in proof.folders) == office.sources["anna"].octets


@BOTH
def test_an_account_that_never_ran_is_pending(tmp_path: Path, full: bool) -> None:
    """Without a ledger everything is told as not carried yet, and no ledger is made."""
    office = Organisation(tmp_path)
    office.give("anna", message("one"))
    proof = prove(office, full=full)
    assert not proof.complete
    assert proof.exit_code == 3
    assert inbox(proof).pending == 1
    assert not Path(office.spec.ledger).exists()


def test_what_came_since_the_last_pass_is_pending(tmp_path: Path) -> None:
    """A message that arrived at the source after the last pass is not carried yet; it is not missing."""
    office = carried(Organisation(tmp_path), message("one"))
    office.give("anna", message("new"))
    found = inbox(prove(office))
    assert (found.messages, found.proven, found.pending, found.missing) == (3, 2, 1, 0)


def test_a_source_key_that_names_another_message_now_is_pending(tmp_path: Path) -> None:
    """After the source's folder was made again under the same keys, its new messages are not taken for carried."""
    office = carried(Organisation(tmp_path), message("one"))
    office.sources["anna"].remake(INBOX)
    office.give("anna", message("another one"))
    found = inbox(prove(office))
    assert (found.messages, found.pending, found.gone) == (1, 1, 2)


def test_a_new_folder_of_the_source_is_pending(tmp_path: Path) -> None:
    """A folder that no pass has seen is told with its target."""
    office = carried(Organisation(tmp_path), message("one"))
    office.give("anna", message("new"), path=("Projects",))
    proof = prove(office)
    [projects] = [folder for folder in proof.folders if folder.source == ("Projects",)]
    assert (projects.target, projects.pending) == (("Projects",), 1)


class Liar(MemorySink):
    """A sink that says OK to everything and keeps all but the second message."""

    def append(self, batches: Iterable[Batch]) -> Iterator[Stored | NotStored]:
        """Store, and forget."""
        for outcome in super().append(batches):
            if isinstance(outcome, Stored) and outcome.key == "1/2":
                self.mailbox.delete(INBOX, 2)
            yield outcome


@BOTH
def test_what_the_target_never_kept_is_missing(tmp_path: Path, full: bool) -> None:
    """A message that the target said it stored, and that was never seen there, is missing."""
    office = Organisation(tmp_path)
    office.wrap_sink = lambda name, _: Liar(office.targets[name])
    office.give("anna", message("one"), message("two"), message("three"))
    run(office)
    proof = prove(office, full=full)
    found = inbox(proof)
    assert (found.proven, found.missing) == (2, 1)
    assert [(finding.kind, finding.key) for finding in found.findings] == [("missing", "1/2")]
    assert not proof.complete


@BOTH
def test_what_its_user_removed_is_not_missing(tmp_path: Path, full: bool) -> None:
    """A copy that stood in the target and was removed there since is told so, and is no fault."""
    office = carried(Organisation(tmp_path), message("one"), message("two"))
    office.targets["anna"].delete(INBOX, 1)
    proof = prove(office, full=full)
    found = inbox(proof)
    assert (found.proven, found.moved, found.missing) == (2, 1, 0)
    assert kinds(found) == ["moved"]
    assert proof.complete


def test_what_its_user_moved_is_found_by_its_fingerprint(tmp_path: Path) -> None:
    """A copy that its user moved to a folder of their own is found there."""
    office = carried(Organisation(tmp_path), message("one"), message("two"))
    target = office.targets["anna"]
    target.make(("Keep",))
    target.move(INBOX, 1, ("Keep",))
    found = inbox(prove(office))
    assert found.moved == 1
    assert found.findings[0].target == ("Keep",)
    assert "Keep" in found.findings[0].text


def test_a_copy_moved_among_our_folders_is_no_extra(tmp_path: Path) -> None:
    """What its user moved into another folder of ours is not told as somebody else's mail there."""
    office = Organisation(tmp_path)
    office.give("anna", message("one"), message("two"))
    office.give("anna", message("three"), path=("Projects",))
    run(office)
    office.targets["anna"].move(INBOX, 1, ("Projects",))
    proof = prove(office)
    assert [folder.extra for folder in proof.folders] == [0, 0]
    assert inbox(proof).findings[0].target == ("Projects",)


@BOTH
def test_a_target_that_was_renumbered_since_is_proven_under_its_new_keys(tmp_path: Path, full: bool) -> None:
    """No pass has looked since; what stands there is no less there, and nobody has moved it."""
    office = carried(Organisation(tmp_path), message("one"), message("two"))
    prove(office)
    before = {each["target key"] for each in listed(office)}
    target = office.targets["anna"]
    target.renumber(INBOX, True)
    target.delete(INBOX, 1)
    proof = prove(office, full=full)
    found = inbox(proof)
    assert (found.proven, found.moved, found.extra, found.lost) == (2, 1, 0, False)
    assert [finding.text for finding in found.findings] == ["moved or removed in the target since"]
    assert before.isdisjoint(each["target key"] for each in listed(office))
    assert proof.complete


def test_a_folder_that_its_user_tidied_up_is_not_lost(tmp_path: Path) -> None:
    """Where all copies of a folder were moved to another by their user, all is still there."""
    office = carried(Organisation(tmp_path), message("one"))
    target = office.targets["anna"]
    target.make(("Keep",))
    for uid in target.uids(INBOX):
        target.move(INBOX, uid, ("Keep",))
    proof = prove(office)
    assert (inbox(proof).moved, inbox(proof).lost) == (2, False)
    assert proof.complete


def test_equal_messages_are_found_one_by_one(tmp_path: Path) -> None:
    """One copy in another folder vouches for one message, not for its twin."""
    office = Organisation(tmp_path)
    office.give("anna", message("twin"), message("twin"), message("other"))
    run(office)
    target = office.targets["anna"]
    target.make(("Keep",))
    target.move(INBOX, 1, ("Keep",))
    target.delete(INBOX, 2)
    found = inbox(prove(office))
    assert sorted(finding.target for finding in found.findings) == [INBOX, ("Keep",)]


@BOTH
def test_a_mailbox_that_was_made_anew_is_not_complete(tmp_path: Path, full: bool) -> None:
    """Where nothing of what was carried is left, the proof is not complete and names the remedy."""
    office = carried(Organisation(tmp_path), message("one"), message("two"))
    office.targets["anna"].remake(INBOX)
    proof = prove(office, full=full)
    assert inbox(proof).lost
    assert not proof.complete
    assert any("--refill" in remark.remedy for remark in proof.remarks)


def test_a_folder_that_was_deleted_in_the_target_is_lost(tmp_path: Path) -> None:
    """A target folder that is gone with all that was carried into it makes the proof incomplete."""
    office = Organisation(tmp_path)
    office.give("anna", message("one"), path=("Projects",))
    run(office)
    office.targets["anna"].remove_folder(("Projects",))
    assert not prove(office).complete


def test_a_key_that_names_another_message_now_proves_nothing(tmp_path: Path) -> None:
    """After a folder was made again under the same keys, other people's messages are not taken for ours."""
    office = carried(Organisation(tmp_path), message("one"))
    target = office.targets["anna"]
    target.remake(INBOX)
    target.deliver(INBOX, message("somebody else's"))
    target.deliver(INBOX, message("somebody else's too"))
    found = inbox(prove(office))
    assert (found.proven, found.moved, found.extra) == (0, 2, 2)


def test_mail_of_others_in_the_target_is_extra(tmp_path: Path) -> None:
    """What others put into the target is counted once, and is no fault."""
    office = carried(Organisation(tmp_path), message("one"))
    office.targets["anna"].deliver(INBOX, message("from the new MX"))
    proof = prove(office)
    assert inbox(proof).extra == 1
    assert proof.complete


def test_mail_of_others_is_counted_once_where_folders_share_a_target(tmp_path: Path) -> None:
    """Where two folders go into one, what others put there is told of one of them."""
    office = Organisation(tmp_path, policy=FolderPolicy(history="inbox"))
    office.give("anna", message("one"))
    office.give("anna", message("two"), path=("Projects",))
    run(office)
    office.targets["anna"].deliver(INBOX, message("from the new MX"))
    proof = prove(office)
    assert [folder.target for folder in proof.folders] == [INBOX, INBOX]
    assert sum(folder.extra for folder in proof.folders) == 1
    assert proof.complete


def test_quarantined_messages_have_their_reason(tmp_path: Path) -> None:
    """A message that the target refused is told with the server's own words, and the proof is not complete."""
    office = Organisation(tmp_path, target=MemoryTraits(max_message_octets=400))
    office.give("anna", message("small"), message("large", "x" * 500))
    run(office)
    proof = prove(office)
    [finding] = inbox(proof).findings
    assert finding.kind == "quarantined"
    assert "400" in finding.text or "too large" in finding.text
    assert not proof.complete


def test_unreadable_messages_are_quarantined(tmp_path: Path) -> None:
    """A message that the source did not give is told with the reason."""
    office = Organisation(tmp_path)
    [uid] = office.give("anna", message("one"))
    office.sources["anna"].spoil(INBOX, uid, "NO corrupt")
    run(office)
    [finding] = inbox(prove(office)).findings
    assert (finding.kind, finding.text) == ("quarantined", "NO corrupt")


def test_what_left_the_source_is_counted(tmp_path: Path) -> None:
    """A carried message that was deleted at the source is told as gone; no more is proven than is there."""
    office = carried(Organisation(tmp_path), message("one"))
    office.sources["anna"].delete(INBOX, 1)
    found = inbox(prove(office))
    assert (found.messages, found.gone, found.proven) == (1, 1, 1)


def test_a_mirrored_deletion_is_no_finding(tmp_path: Path) -> None:
    """What is gone from both sides needs no word, not even where the whole folder is."""
    office = carried(Organisation(tmp_path), message("one"))
    for uid in office.sources["anna"].uids(INBOX):
        office.sources["anna"].delete(INBOX, uid)
    options = evolve(office.spec.options, deletions="mirror")
    with office.migration(options=options) as migration:
        migration.run()
    assert office.targets["anna"].uids(INBOX) == []
    proof = prove(office)
    assert proof.complete
    assert inbox(proof).findings == ()


def test_flags_changed_on_either_side_are_told_apart(tmp_path: Path) -> None:
    """Flags that the target's user changed, and those that the source's user changed, are counted, no fault."""
    office = carried(Organisation(tmp_path), message("one"), message("two"))
    office.targets["anna"].set_flags(INBOX, 1, {"\\Flagged"})
    office.sources["anna"].set_flags(INBOX, 2, {"\\Seen"})
    proof = prove(office)
    found = inbox(proof)
    assert (found.flags_changed, found.flags_pending) == (1, 1)
    assert proof.complete


def test_a_keyword_that_the_target_cannot_hold_is_no_change(tmp_path: Path) -> None:
    """A flag that was left behind, because the target cannot store it, was not changed by anybody."""
    storable = frozenset({"\\Seen", "\\Answered", "\\Flagged", "\\Draft"})
    office = Organisation(tmp_path, target=MemoryTraits(storable_flags=storable))
    office.sources["anna"].deliver(INBOX, message("one"), {"$Forwarded", "\\Seen"})
    run(office)
    assert inbox(prove(office)).flags_changed == 0


def test_a_message_rotten_in_the_target_is_changed(tmp_path: Path) -> None:
    """Only a full proof sees that a copy of the same size holds another content; it is a fault."""
    office = carried(Organisation(tmp_path), message("one", "to be"))
    stored = office.targets["anna"].folder(INBOX).messages[1]
    stored.octets = stored.octets.replace(b"to be", b"to do")
    assert prove(office).complete
    proof = prove(office, full=True)
    found = inbox(proof)
    assert (found.changed, found.proven) == (1, 1)
    assert found.findings[0].text == "the target holds another content"
    assert not proof.complete


def test_octets_that_changed_at_the_source_are_told(tmp_path: Path) -> None:
    """Where the source gives other octets under a key than were carried, a full proof says so."""
    office = carried(Organisation(tmp_path), message("one", "to be"))
    given = office.sources["anna"].folder(INBOX).messages[1]
    given.octets = given.octets.replace(b"to be", b"to do")
    found = inbox(prove(office, full=True))
    assert found.changed == 1
    assert "the source gives other octets" in found.findings[0].text


def test_a_source_that_renders_anew_is_not_compared(tmp_path: Path) -> None:
    """Where the source's octets are not stable, the digest of what was sent is the proof."""
    office = carried(Organisation(tmp_path, source=MemoryTraits(stable_octets=False)), message("one"))
    proof = prove(office, full=True)
    assert inbox(proof).proven == 2
    assert proof.complete


def stamp(octets: bytes) -> bytes:
    """Alter a message as a server does that adds a header field."""
    return b"X-Stored-By: mx.new.example\r\n" + octets


def test_what_the_target_altered_is_no_fault_and_told(tmp_path: Path) -> None:
    """A copy to which the server added a header is altered, with the field named; the next proof is exact.

    What was found stays told, by proofs that read no octet as well, and past one that failed.
    """
    office = carried(Organisation(tmp_path, target=MemoryTraits(alter=stamp)), message("one"))
    first = prove(office, full=True)
    found = inbox(first)
    assert (found.altered, found.changed) == (2, 0)
    assert "header lines (X-Stored-By)" in found.findings[0].text
    assert first.complete
    office.wrap_sink = lambda name, _: Blind(office.targets[name])
    assert prove(office).failed
    office.wrap_sink = lambda _, side: side
    for full in (True, False):
        later = inbox(prove(office, full=full))
        assert later.altered == 2
        assert later.findings == found.findings
        assert later.root == found.root


def test_an_altered_copy_that_rots_later_is_changed(tmp_path: Path) -> None:
    """The digest kept of an altered copy vouches for exactly those octets."""
    office = carried(Organisation(tmp_path, target=MemoryTraits(alter=stamp)), message("one", "to be"))
    prove(office, full=True)
    stored = office.targets["anna"].folder(INBOX).messages[1]
    stored.octets = stored.octets.replace(b"to be", b"to do")
    assert inbox(prove(office, full=True)).changed == 1


def test_a_quick_proof_sees_altered_copies_by_their_size(tmp_path: Path) -> None:
    """A copy of another size than was sent is told as altered, though not how."""
    office = carried(Organisation(tmp_path, target=MemoryTraits(alter=stamp)), message("one"))
    found = inbox(prove(office))
    assert (found.altered, found.proven) == (2, 0)


@BOTH
def test_identical_messages_that_the_target_merged_are_no_loss(tmp_path: Path, full: bool) -> None:
    """Where a server keeps one of two identical messages, the pass that saw it says so; then all is there."""
    office = Organisation(tmp_path)
    office.wrap_sink = lambda name, _: Merging(office.targets[name])
    office.give("anna", message("twin"), message("twin"), message("other"))
    with office.migration() as migration:
        first = migration.run()
        assert (first.exit_code, first.accounts[0].problems) == (3, 1)
        again = migration.run()
        assert (again.exit_code, again.accounts[0].problems, again.accounts[0].copied) == (0, 0, 0)
    assert office.targets["anna"].uids(INBOX) == [1, 3]
    proof = prove(office, full=full)
    found = inbox(proof)
    assert (found.proven, found.merged, found.missing) == (2, 1, 0)
    assert kinds(found) == ["merged"]
    assert proof.complete


@pytest.mark.parametrize("duplicates", ["keep", "collapse"])
def test_a_copy_that_stands_for_a_twin_is_not_mirrored_away(
    tmp_path: Path, duplicates: Literal["keep", "collapse"]
) -> None:
    """Where one of two identical messages is deleted at the source, the one copy of both stays for the other."""
    office = Organisation(tmp_path)
    office.spec = evolve(
        office.spec, options=evolve(office.spec.options, deletions="mirror", duplicates=duplicates)
    )
    office.wrap_sink = lambda name, _: Merging(office.targets[name])
    office.give("anna", message("twin"), message("twin"))
    run(office)
    office.sources["anna"].delete(INBOX, 1)
    for _ in range(3):
        run(office)
        assert office.targets["anna"].everything() == office.sources["anna"].everything()
        assert prove(office).complete
    office.sources["anna"].delete(INBOX, 2)
    run(office)
    assert not office.targets["anna"].everything()


def test_a_message_that_the_target_took_for_another_is_not_there(tmp_path: Path) -> None:
    """Where a server gives a message the key of another with other content, that is a loss and stays one."""
    office = Organisation(tmp_path)
    office.wrap_sink = lambda name, _: Merging(office.targets[name])
    office.give("anna", message("one"), message("two"), message("three"))
    for _ in range(2):
        with office.migration() as migration:
            assert migration.run().exit_code == 3
    proof = prove(office)
    assert (inbox(proof).proven, inbox(proof).quarantined) == (2, 1)
    assert "took this message for another one" in inbox(proof).findings[0].text
    assert not proof.complete


def doubled(office: Organisation) -> None:
    """Let Anna's first message stand twice in the target, and let the ledger have it as a problem."""
    carried(office, message("one"))
    office.targets["anna"].deliver(INBOX, message("one"))
    with closing(Ledger.open(office.spec.ledger, "test", office.clock)) as ledger, ledger.lease(1) as book:
        [row, *_] = book.rows()
        book.add_problem("extra", "the message stands twice", row=row)
    run(office)


@pytest.mark.parametrize("uid", [1, 3], ids=["our copy", "the other copy"])
@pytest.mark.parametrize("by", ["pass", "proof"])
def test_a_second_copy_is_a_problem_until_one_is_removed(tmp_path: Path, uid: int, by: str) -> None:
    """The next pass, or proof, that finds one of the two gone forgets the problem; until then it stays."""
    office = Organisation(tmp_path)
    doubled(office)
    prove(office)
    with office.migration() as migration:
        assert migration.run().exit_code == 3
    office.targets["anna"].delete(INBOX, uid)
    if by == "proof":
        prove(office)
        with office.migration() as migration:
            assert migration.status()[0].problems == 0
    with office.migration() as migration:
        assert migration.run().exit_code == 0


@BOTH
def test_observers_see_how_far_a_proof_has_come(tmp_path: Path, full: bool) -> None:
    """A proof tells what it has before it, each page of it and the octets read back, and its answer."""
    office = carried(Organisation(tmp_path), message("one"), message("two", "x" * 1_000))
    office.events.clear()
    prove(office, full=full)
    octets = office.sources["anna"].octets if full else 0
    assert office.events == [
        ProofStarted("anna@old.example", 3, octets),
        MessagesProven("anna@old.example", INBOX, 3, octets),
        ProofEnded("anna@old.example", complete=True, failed=False),
    ]


def test_a_long_reading_is_told_and_can_be_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a page of large messages, observers hear of each part, the parts sum up, and a stop is heeded."""
    monkeypatch.setattr(readback, "BATCH_OCTETS", 1_500)
    office = carried(Organisation(tmp_path), *(message(str(n), "x" * 1_000) for n in range(4)))
    office.events.clear()
    prove(office, full=True)
    parts = [each for each in office.events if isinstance(each, MessagesProven)]
    assert [each.messages for each in parts] == [0, 0, 5]
    assert sum(each.octets for each in parts) == office.sources["anna"].octets

    def stop(event: Event) -> None:
        if isinstance(event, MessagesProven):
            office.stop.set()

    office.events.clear()
    with office.migration(stop) as migration, pytest.raises(Interrupted):
        list(migration.verify(full=True))
    assert [type(each) for each in office.events] == [ProofStarted, MessagesProven]


class Merging(MemorySink):
    """A sink whose server keeps the first of two twins, and answers the second with the first one's key."""

    def append(self, batches: Iterable[Batch]) -> Iterator[Stored | NotStored]:
        """Store, and merge."""
        for outcome in super().append(batches):
            if isinstance(outcome, Stored) and outcome.key == "1/2":
                self.mailbox.delete(INBOX, 2)
                outcome = evolve(outcome, key="1/1")
            yield outcome


def test_collapsed_messages_are_counted(tmp_path: Path) -> None:
    """Twins that were not copied by wish are neither pending nor missing."""
    office = Organisation(tmp_path)
    office.spec = evolve(office.spec, options=evolve(office.spec.options, duplicates="collapse"))
    office.give("anna", message("twin"), message("twin"))
    run(office)
    proof = prove(office)
    assert (inbox(proof).proven, inbox(proof).collapsed) == (1, 1)
    assert proof.complete


def test_a_copy_that_the_target_does_not_give_is_missing(tmp_path: Path) -> None:
    """What the target lists and cannot give is not there."""
    office = carried(Organisation(tmp_path), message("one"))
    office.targets["anna"].spoil(INBOX, 1, "NO corrupt")
    assert prove(office).complete
    [finding] = inbox(prove(office, full=True)).findings
    assert finding.kind == "missing"
    assert "NO corrupt" in finding.text


def test_line_ends_mended_by_the_target_are_altered(tmp_path: Path) -> None:
    """A missing last line end that the target adds is told as line ends."""
    mend = MemoryTraits(alter=lambda octets: octets if octets.endswith(b"\r\n") else octets + b"\r\n")
    office = carried(Organisation(tmp_path, target=mend), message("one").removesuffix(b"\r\n"))
    found = inbox(prove(office, full=True))
    assert found.altered == 1
    assert found.findings[0].text == "the target altered line ends"


def strict(octets: bytes) -> Refused | None:
    """Refuse a message with NUL octets."""
    return Refused("NO NUL octets", about="form") if b"\0" in octets else None


def test_a_mended_message_is_what_was_sent(tmp_path: Path) -> None:
    """A message that had to be mended for the target is proven by the digest that it was sent with."""
    office = carried(Organisation(tmp_path, target=MemoryTraits(refuse=strict)), message("one", "N\0L"))
    proof = prove(office, full=True)
    assert inbox(proof).proven == 2
    assert proof.complete


def test_a_mended_message_that_the_target_altered_is_no_fault(tmp_path: Path) -> None:
    """The target's change is told by what was sent, not by what the source has."""
    target = MemoryTraits(refuse=strict, alter=stamp)
    office = carried(Organisation(tmp_path, target=target), message("one", "N\0L"))
    found = inbox(prove(office, full=True))
    assert (found.altered, found.changed) == (2, 0)
    assert {finding.text for finding in found.findings} == {"the target altered header lines (X-Stored-By)"}


def test_an_adopted_copy_with_other_trace_headers_is_altered(tmp_path: Path) -> None:
    """A message that the old system forwarded was adopted; its copy is the same but for the trace."""
    office = Organisation(tmp_path)
    office.give("anna", message("one", Received="by old"))
    office.targets["anna"].deliver(INBOX, message("one", Received="by new; for anna"))
    run(office)
    assert len(office.targets["anna"].uids(INBOX)) == 1
    found = inbox(prove(office, full=True))
    assert found.altered == 1
    assert "header lines (Received)" in found.findings[0].text


def test_altered_digests_are_not_kept_while_a_pass_runs(tmp_path: Path) -> None:
    """Beside a running pass the proof writes nothing, and says that the next one reads again."""
    office = carried(Organisation(tmp_path, target=MemoryTraits(alter=stamp)), message("one"))
    with closing(Ledger.open(office.spec.ledger, "test", office.clock)) as ledger:
        account_id = ledger.account("anna@old.example", "anna@new.example")
        with ledger.lease(account_id):
            proof = prove(office, full=True)
        with closing(ledger.read(account_id)) as book:
            assert all(row.stored_digest is None for row in book.rows())
    assert inbox(proof).altered == 2
    assert any("a pass is under way" in remark.text for remark in proof.remarks)


def test_the_root_can_be_computed_from_the_list_of_messages(tmp_path: Path) -> None:
    """Each message in the target is told with its digest; sorted and hashed they give the root."""
    office = carried(Organisation(tmp_path), message("one"), message("two"))
    office.give("anna", message("draft"), path=DRAFTS)
    run(office)
    proof = prove(office, full=True)
    told = listed(office)
    assert {each["outcome"] for each in told} == {"identical"}
    assert proof.root == root_digest(bytes.fromhex(each["sha256"]) for each in told)
    inboxes = [bytes.fromhex(each["sha256"]) for each in told if each["folder"] == "INBOX"]
    assert inbox(proof).root == root_digest(inboxes)
    stored = office.targets["anna"].everything()
    assert sorted(each["sha256"] for each in told) == sorted(
        hashlib.sha256(octets).hexdigest() for octets in stored.elements()
    )


def test_the_root_of_a_quick_proof_is_the_ledgers(tmp_path: Path) -> None:
    """A quick and a full proof of an untouched account have the same root."""
    office = carried(Organisation(tmp_path), message("one"), message("two"))
    assert prove(office).root == prove(office, full=True).root


class Blind(MemorySink):
    """A sink that lists no folder."""

    def changes(self, requests: Iterable[tuple[Folder, Cursor | None]]) -> Iterator[Changes | Unusable]:
        """Refuse."""
        for folder, _ in requests:
            yield Unusable(folder.path, "NO ask somebody else")


def test_a_folder_that_cannot_be_listed_fails_the_proof(tmp_path: Path) -> None:
    """What could not be looked at is not proven, and the exit code says so."""
    office = carried(Organisation(tmp_path), message("one"))
    office.wrap_sink = lambda name, _: Blind(office.targets[name])
    proof = prove(office)
    assert proof.failed
    assert proof.exit_code == 1
    assert any("cannot be listed" in remark.text for remark in proof.remarks)


def test_one_account_that_cannot_be_opened_fails_alone(tmp_path: Path) -> None:
    """A proof of many accounts goes on past one whose login is refused."""
    office = Organisation(tmp_path, ["anna", "bob"])
    office.give("bob", message("one"))
    run(office)
    del office.sources["anna"]
    with office.migration() as migration:
        anna, bob = migration.verify()
    assert anna.failed
    assert "KeyError" in anna.remarks[0].text
    assert bob.complete


class Stopping(MemorySource):
    """A source during whose first reading somebody asks to stop."""

    def __init__(self, mailbox: MemoryMailbox, stop: Stop) -> None:
        super().__init__(mailbox)
        self.stop = stop
        self.read = 0

    def fetch(
        self, requests: Iterable[tuple[Folder, Sequence[Entry]]]
    ) -> Iterator[Message | Gone | Unreadable]:
        """Read, and ask to stop."""
        self.stop.set()
        self.read += 1
        yield from super().fetch(requests)


def test_a_proof_can_be_stopped(tmp_path: Path) -> None:
    """A wish to stop ends a proof between two pages, and leaves the proof before it in its place."""
    office = carried(Organisation(tmp_path), message("one"))
    office.give("anna", message("draft"), path=DRAFTS)
    run(office)
    prove(office, full=True)
    office.wrap_source = lambda name, _: Stopping(office.sources[name], office.stop)
    with pytest.raises(Interrupted):
        prove(office, full=True)
    assert len(listed(office)) == 3


def test_a_proof_of_a_large_folder_can_be_stopped(tmp_path: Path) -> None:
    """A wish to stop is heeded within a folder as well."""
    office = Organisation(tmp_path)
    office.give("anna", *(message(f"number {number}") for number in range(1_001)))
    run(office)
    source = Stopping(office.sources["anna"], office.stop)
    office.wrap_source = lambda _, side: source
    with pytest.raises(Interrupted):
        prove(office, full=True)
    assert source.read == 1


@BOTH
def test_a_proof_changes_neither_side(tmp_path: Path, full: bool) -> None:
    """Both mailboxes are as they were, and so is what the next pass would do."""
    office = carried(Organisation(tmp_path), message("one"), message("two"))
    before = office.sources["anna"].snapshot(), office.targets["anna"].snapshot()
    prove(office, full=full)
    assert (office.sources["anna"].snapshot(), office.targets["anna"].snapshot()) == before
    with office.migration() as migration:
        assert migration.run().accounts[0].copied == 0


def test_a_proof_beside_a_running_pass_reads_on(tmp_path: Path) -> None:
    """While a pass is under way a proof tells what is settled and what is pending."""
    office = Organisation(tmp_path)
    office.give("anna", message("one"), message("two"))
    proofs: list[AccountProof] = []

    def look(event: Event) -> None:
        if isinstance(event, BatchSettled) and not proofs:
            proofs.append(prove(office))

    options = evolve(office.spec.options, batch_messages=1)
    with office.migration(look, options=options) as migration:
        migration.run()
    found = inbox(proofs[0])
    assert found.messages == 2
    assert found.missing == 0


def test_a_server_without_uidplus_is_proven_by_fingerprint(tmp_path: Path) -> None:
    """Where the target never told a key, its copies are found by looking."""
    office = Organisation(tmp_path, target=MemoryTraits(uidplus=False))
    office.give("anna", message("one"), message("two"))
    run(office)
    proof = prove(office, full=True)
    assert inbox(proof).missing == 0
    assert proof.complete


@pytest.mark.parametrize(
    ("sent", "stored", "same", "text"),
    [
        (message("a"), message("a").replace(b"\r\n", b"\n"), True, "line ends"),
        (message("a"), message("a", "Bye"), False, "another content"),
        (message("a"), stamp(message("a")), True, "header lines (X-Stored-By)"),
        (
            message("a", "=C3=A9", Content_Transfer_Encoding="quoted-printable"),
            message("a", "w6k=", Content_Transfer_Encoding="base64"),
            True,
            "header lines (Content-Transfer-Encoding) and the body's structure or transfer encoding",
        ),
        (message("a", "N\0L"), message("a", "NL"), True, "NUL octets or line ends"),
        (b"", message("a"), False, "another content"),
    ],
    ids=["line ends", "content", "header", "encoding", "NUL", "nothing"],
)
def test_a_difference_is_told_as_mildly_as_is_true(sent: bytes, stored: bytes, same: bool, text: str) -> None:
    """What a reader sees decides; what differs is named."""
    found = difference(sent, stored)
    assert (found.same_content, found.text) == (same, text)


def test_many_differing_fields_are_not_all_named() -> None:
    """A difference names a few fields and counts the rest."""
    more = "".join(f"X-{letter}: 1\r\n" for letter in "ABCDEFGHIJ").encode()
    assert "and 2 more" in difference(message("a"), more + message("a")).text
