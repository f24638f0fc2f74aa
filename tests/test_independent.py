"""Two mailboxes held against each other, whatever has filled them."""

from __future__ import annotations

import json
import re
import tracemalloc
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st

from alimail_core.contract import Source
from alimail_core.events import MessagesProven, ProofEnded, ProofStarted
from alimail_core.folders.policy import FolderPolicy
from alimail_core.header import fingerprint
from alimail_core.identity import content_digest
from alimail_core.messages import MessageFilter
from alimail_core.model import (
    INBOX,
    Changes,
    Cursor,
    Entry,
    Folder,
    FolderPath,
    Gone,
    Headers,
    Message,
    SpecialUse,
    Unreadable,
    Unusable,
)
from alimail_core.options import TransferOptions
from alimail_core.proof.results import AccountComparison, FolderComparison
from alimail_core.testing.memory import MemoryMailbox, MemorySink, MemorySource, MemoryTraits
from tests.memory_plugin import MemoryPlugin, Run, command_line, config_of, registry_of
from tests.organisation import Organisation

pytestmark = pytest.mark.slow

DAY = datetime(2024, 5, 1, 12, tzinfo=UTC)
PLACES: tuple[FolderPath, ...] = (INBOX, ("Projects",), ("Travel",))
BOTH = pytest.mark.parametrize("full", [False, True], ids=["quick", "full"])


def compare(office: Organisation, *, full: bool = False) -> AccountComparison:
    """Compare Anna's two mailboxes, and see that both stayed as they are."""
    sides = office.sources["anna"], office.targets["anna"]
    before = [side.snapshot() for side in sides]
    with office.migration() as migration:
        [told] = migration.compare("anna", full=full)
    assert [side.snapshot() for side in sides] == before, "both sides are read-only"
    assert not Path(office.spec.ledger).exists(), "no ledger is made"
    for folder in told.folders:
        parts = ("same", "altered", "moved", "collapsed", "left_out", "missing", "changed")
        counted = sum(getattr(folder, name) for name in parts)
        assert counted <= folder.messages <= counted + folder.unreadable, "each message has one outcome"
    return told


def at(told: AccountComparison, path: FolderPath = INBOX) -> FolderComparison:
    """Return what is told of one folder of the target."""
    [found] = [folder for folder in told.folders if folder.target == path]
    return found


def fill(
    office: Organisation, ours: Iterable[bytes], theirs: Iterable[bytes], path: FolderPath = INBOX
) -> None:
    """Put messages into a folder of both sides, all of one date."""
    for side, letters in ((office.sources["anna"], ours), (office.targets["anna"], theirs)):
        side.make(path)
        for octets in letters:
            side.deliver(path, octets, (), DAY)


def letter(message_id: str = "a@x", subject: str = "Hello", body: str = "Dear all", more: str = "") -> bytes:
    """Return a message; without Message-ID where that is empty."""
    first = f"Message-ID: <{message_id}>\r\n" if message_id else ""
    head = f"{first}From: anna@old.example\r\nSubject: {subject}\r\n{more}"
    return f"{head}\r\n{body}\r\n".encode()


# What a brute-force comparison of multisets says


def canonical(octets: bytes) -> bytes:
    """Write a message with one kind of line end, and one at its end."""
    return re.sub(rb"\r*\n|\r", b"\n", octets).rstrip(b"\n")


def by_headers(octets: bytes) -> Hashable | None:
    """What the headers alone may decide by."""
    found = fingerprint(octets)
    if found.value == fingerprint(b"").value:
        return None
    return found.value if found.message_id else (found.value, len(octets))


def take_pairs(
    ours: list[bytes], theirs: list[bytes], key: Callable[[bytes], Hashable | None]
) -> list[bytes]:
    """Take out of both lists who shares a key, one by one; return those of ours."""
    taken = []
    for mine in list(ours):
        value = key(mine)
        twin = next((each for each in theirs if value is not None and key(each) == value), None)
        if twin is not None:
            ours.remove(mine)
            theirs.remove(twin)
            taken.append(mine)
    return taken


LETTERS = st.builds(
    lambda message_id, subject, body, more, end: letter(message_id, subject, body, more).replace(b"\r\n", end),
    st.sampled_from(["a@x", "b@x", ""]),
    st.sampled_from(["Hello", "Offer"]),
    st.sampled_from(["Dear all", "Dear all\r\n", "Bye"]),
    st.sampled_from(["", "X-Trace: 1\r\n", "X-Trace: 22\r\n"]),
    st.sampled_from([b"\r\n", b"\n"]),
) | st.just(b"\r\nno header at all\r\n")  # fmt: skip
BOXES = st.dictionaries(st.sampled_from(PLACES), st.lists(LETTERS, max_size=6))


def office_of(
    folder: str, ours: dict[FolderPath, list[bytes]], theirs: dict[FolderPath, list[bytes]]
) -> Organisation:
    """Make an organisation with these mailboxes."""
    office = Organisation(Path(folder))
    for path in {*ours, *theirs}:
        fill(office, ours.get(path, ()), theirs.get(path, ()), path)
    return office


@settings(deadline=None)
@given(BOXES, BOXES, st.booleans())
def test_it_agrees_with_a_brute_force_comparison(
    ours: dict[FolderPath, list[bytes]], theirs: dict[FolderPath, list[bytes]], full: bool
) -> None:
    """Folder by folder, and then anywhere: as many are the same, altered, moved and left over as multisets say."""
    with TemporaryDirectory() as folder:
        told = compare(office_of(folder, ours, theirs), full=full)
    left = {path: (list(ours.get(path, ())), list(theirs.get(path, ()))) for path in PLACES}
    for path, (mine, other) in left.items():
        same = [] if full else take_pairs(mine, other, by_headers)
        same += take_pairs(mine, other, canonical)
        altered = take_pairs(mine, other, content_digest)
        found = [each for each in told.folders if each.target == path]
        assert sum(each.same for each in found) == len(same)
        assert sum(each.altered for each in found) == len(altered)
    rest = [each for mine, _ in left.values() for each in mine]
    extra = [each for _, other in left.values() for each in other]
    moved = [] if full else take_pairs(rest, extra, by_headers)
    moved += take_pairs(rest, extra, canonical) + take_pairs(rest, extra, content_digest)
    sums = {
        name: sum(getattr(each, name) for each in told.folders)
        for name in ("moved", "missing", "changed", "extra")
    }
    assert sums["moved"] == len(moved)
    assert sums["missing"] + sums["changed"] == len(rest)
    assert sums["extra"] + sums["changed"] == len(extra)
    assert told.complete == (not rest)
    assert told.exit_code == (3 if rest else 0)


@settings(deadline=None)
@given(st.lists(LETTERS, max_size=8), st.lists(LETTERS, max_size=8))
def test_in_one_folder_every_count_is_exact(ours: list[bytes], theirs: list[bytes]) -> None:
    """Who is left shares a Message-ID with somebody left opposite and is changed, unless its twin stands there."""
    with TemporaryDirectory() as folder:
        told = compare(office_of(folder, {INBOX: ours}, {INBOX: theirs}), full=True)
    mine, other = list(ours), list(theirs)
    paired = take_pairs(mine, other, canonical)
    paired += take_pairs(mine, other, content_digest)
    there = {canonical(each) for each in paired}
    lonely = [each for each in mine if canonical(each) not in there]
    changed = take_pairs(lonely, other, lambda octets: fingerprint(octets).message_id)
    found = at(told)
    assert found.changed == len(changed)
    assert found.missing == len(mine) - len(changed)
    assert found.extra == len(other)
    assert Counter(each.kind for each in found.mismatches) == {
        name: count for name in ("missing", "changed", "extra", "altered") if (count := getattr(found, name))
    }


def test_what_is_missing_is_named_without_its_subject(tmp_path: Path) -> None:
    """Folder, date, size and Message-ID name a message; its subject and text stand nowhere."""
    office = Organisation(tmp_path)
    fill(office, [letter("a@x", "Secret plan", "of which none shall know")], [])
    told = compare(office)
    [found] = at(told).mismatches
    assert (found.kind, found.source, found.target) == ("missing", INBOX, INBOX)
    assert (found.date, found.message_id) == (DAY, "<a@x>")
    assert found.size == len(letter("a@x", "Secret plan", "of which none shall know"))
    assert "Secret" not in str(told)
    assert "none shall know" not in str(told)
    assert told.exit_code == 3


def test_a_copy_in_another_folder_is_found_there(tmp_path: Path) -> None:
    """Also in a folder that nothing of the source goes to; what else stands there is extra, and named."""
    office = Organisation(tmp_path)
    fill(office, [letter("a@x"), letter("b@x")], [letter("b@x")])
    office.targets["anna"].deliver(("Filed",), letter("a@x"), (), DAY)
    office.targets["anna"].deliver(("Filed",), letter("mine@x"))
    told = compare(office)
    assert (at(told).same, at(told).moved, at(told).missing) == (1, 1, 0)
    assert [(each.kind, each.target) for each in at(told).mismatches] == [("moved", ("Filed",))]
    filed = at(told, ("Filed",))
    assert (filed.sources, filed.there, filed.extra) == ((), 2, 1)
    assert filed.mismatches[0].message_id == "<mine@x>"
    assert told.complete


@BOTH
def test_a_second_copy_is_told_as_one(tmp_path: Path, full: bool) -> None:
    """What the target has twice is extra, and said to be a second copy; what it has once of two is missing."""
    office = Organisation(tmp_path)
    fill(office, [letter("a@x"), letter("b@x"), letter("b@x")], [letter("a@x"), letter("a@x"), letter("b@x")])
    told = compare(office, full=full)
    assert (at(told).same, at(told).missing, at(told).extra) == (2, 1, 1)
    texts = {each.kind: each.text for each in at(told).mismatches}
    assert texts == {
        "missing": "the target has it fewer times than the source",
        "extra": "a second copy, by all that was compared",
    }


def test_only_the_full_form_sees_another_body(tmp_path: Path) -> None:
    """The quick form goes by headers, and says so; the full form tells the change."""
    office = Organisation(tmp_path)
    fill(office, [letter(body="Pay 10")], [letter(body="Pay 99")])
    quick, full = compare(office), compare(office, full=True)
    assert (quick.complete, at(quick).same) == (True, 1)
    assert any("bodies were not compared" in remark.text for remark in quick.remarks)
    assert (full.exit_code, at(full).changed, at(full).missing, at(full).extra) == (3, 1, 0, 0)
    assert not any("bodies were not compared" in remark.text for remark in full.remarks)


@BOTH
def test_what_servers_do_to_octets_is_altered(tmp_path: Path, full: bool) -> None:
    """Cyrus writes X for 8-bit octets of a header, so that not even its fields are the same."""
    office = Organisation(tmp_path)
    sent = letter(subject="Größe").replace("ö".encode(), b"\xf6")
    fill(office, [sent], [bytes(ord("X") if octet > 0x7F else octet for octet in sent)])
    told = compare(office, full=full)
    assert (at(told).altered, at(told).changed, told.exit_code) == (1, 0, 0)


class Forgetful(MemorySink):
    """A sink that gives a header without what it cannot read: of one message the subject, of another everything."""

    def headers(self, folder: Folder, entries: Sequence[Entry]) -> Iterator[Headers]:
        """Leave out."""
        for found in super().headers(folder, entries):
            octets = re.sub(rb"Subject: .*\r\n", b"", found.octets)
            yield Headers(found.key, b"\r\n" if b"none@x" in octets else octets)


def test_a_server_that_reads_headers_otherwise_is_asked_for_the_message(tmp_path: Path) -> None:
    """A Message-ID, or size and date, are reason enough to look at the octets."""
    office = Organisation(tmp_path)
    fill(office, [letter("a@x"), letter("none@x")], [letter("none@x")])
    office.targets["anna"].deliver(INBOX, letter("a@x", body="Dear all\r\n"), (), DAY + timedelta(days=1))
    office.wrap_sink = lambda name, _: Forgetful(office.targets[name])
    found = at(compare(office))
    assert (found.same, found.missing, found.changed, found.extra) == (2, 0, 0, 0)


def test_a_twin_of_what_is_there_is_no_changed_message(tmp_path: Path) -> None:
    """Nor is what the filter does not want: another version in the target is extra then."""
    office = Organisation(tmp_path, messages=MessageFilter(since=date(2024, 1, 1)))
    fill(office, [letter(), letter()], [letter(), letter(body="Another")])
    office.sources["anna"].deliver(INBOX, letter("b@x"), (), datetime(2020, 1, 1, tzinfo=UTC))
    office.targets["anna"].deliver(INBOX, letter("b@x", body="Another"))
    found = at(compare(office, full=True))
    assert (found.same, found.missing, found.changed, found.left_out, found.extra) == (1, 1, 0, 1, 2)


def test_versions_of_a_draft_are_read_also_in_the_quick_form(tmp_path: Path) -> None:
    """Drafts share their headers, so these decide nothing."""
    office = Organisation(tmp_path)
    office.sources["anna"].make(("Drafts",), special_use=SpecialUse.DRAFTS)
    fill(
        office,
        [letter(body="one"), letter(body="two")],
        [letter(body="two"), letter(body="three")],
        ("Drafts",),
    )
    drafts = at(compare(office), ("Drafts",))
    assert (drafts.same, drafts.changed, drafts.missing, drafts.extra) == (1, 1, 0, 0)


@BOTH
def test_flags_and_dates_that_differ_are_told_and_no_fault(tmp_path: Path, full: bool) -> None:
    """Only what the target can store counts, in any case, and never \\Deleted."""
    office = Organisation(
        tmp_path, target=MemoryTraits(storable_flags=frozenset({"\\Seen", "\\Flagged", "Work"}))
    )
    source, target = office.sources["anna"], office.targets["anna"]
    later = DAY + timedelta(days=1)
    for name, ours, theirs, when in (
        ("same", ["\\Seen", "work", "\\Deleted", "Unknown"], ["\\Seen", "Work"], DAY),
        ("flags", ["\\Seen"], ["\\Flagged"], DAY),
        ("date", [], [], later),
    ):
        source.deliver(INBOX, letter(name), ours, DAY)
        target.deliver(INBOX, letter(name), theirs, when)
    found = at(compare(office, full=full))
    assert (found.same, found.flags, found.dates, found.complete) == (3, 1, 1, True)
    assert [(each.kind, each.message_id, each.text) for each in found.mismatches] == [
        ("flags", "<flags>", "only at the source: \\seen; only in the target: \\flagged"),
        ("dates", "<date>", "the target has 2024-05-02 12:00:00Z"),
    ]


@BOTH
def test_of_the_same_messages_those_of_one_date_go_together(tmp_path: Path, full: bool) -> None:
    """Whatever order they stand in, no date is told to differ that has its like."""
    office = Organisation(tmp_path)
    days = [DAY + timedelta(days=number) for number in range(3)]
    for side, order in ((office.sources["anna"], days), (office.targets["anna"], days[::-1])):
        for day in order:
            side.deliver(INBOX, letter(), (), day)
    found = at(compare(office, full=full))
    assert (found.same, found.dates) == (3, 0)


@BOTH
def test_what_the_filter_does_not_want_is_not_missing(tmp_path: Path, full: bool) -> None:
    """It may stand there; a wanted message never loses its copy to one that is not."""
    office = Organisation(tmp_path, messages=MessageFilter(since=date(2024, 1, 1)))
    old = datetime(2020, 1, 1, tzinfo=UTC)
    office.sources["anna"].deliver(INBOX, letter("a@x"), (), old)
    office.sources["anna"].deliver(INBOX, letter("a@x"), (), DAY)
    office.sources["anna"].deliver(INBOX, letter("b@x"), (), old)
    office.targets["anna"].deliver(INBOX, letter("a@x"), (), old)
    found = at(compare(office, full=full))
    assert (found.same, found.left_out, found.missing, found.complete) == (1, 2, 0, True)


@BOTH
@pytest.mark.parametrize("wish", ["keep", "collapse"])
def test_twins_that_were_collapsed_by_wish_are_not_missing(tmp_path: Path, full: bool, wish: str) -> None:
    """Only where the configuration says so, and only what is identical."""
    office = Organisation(tmp_path)
    office.spec = evolve(office.spec, options=TransferOptions(duplicates=wish))  # type: ignore[arg-type]
    fill(office, [letter(), letter(), letter(body="Another")], [letter()])
    found = at(compare(office, full=full))
    twins = (found.collapsed, found.missing)
    assert twins == ((1, 1) if wish == "collapse" else (0, 2))


def test_folders_that_go_to_one_place_are_compared_there_together(tmp_path: Path) -> None:
    """Under the policy that puts everything into the inbox, both folders' messages are looked for there."""
    office = Organisation(tmp_path, policy=FolderPolicy("inbox"))
    office.sources["anna"].deliver(INBOX, letter("a@x"))
    office.sources["anna"].deliver(("Projects",), letter("b@x"))
    for name in ("a@x", "b@x"):
        office.targets["anna"].deliver(INBOX, letter(name))
    told = compare(office)
    assert (at(told).sources, at(told).same) == ((INBOX, ("Projects",)), 2)


@BOTH
def test_a_source_that_lists_keys_alone_is_compared(tmp_path: Path, full: bool) -> None:
    """Over POP3 no flag, date or size is listed: what cannot be compared is said, and nothing is made up."""
    office = Organisation(
        tmp_path,
        source=MemoryTraits(bare_listings=True),
        messages=MessageFilter(since=date(2024, 1, 1)),
    )
    office.sources["anna"].deliver(INBOX, letter("old@x"), (), datetime(2020, 1, 1, tzinfo=UTC))
    fill(office, [letter("a@x"), letter("")], [letter("a@x"), letter("")])
    office.targets["anna"].set_flags(INBOX, 1, ["\\Seen"])
    told = compare(office, full=full)
    assert (at(told).same, at(told).left_out, at(told).missing, at(told).dates) == (2, 1, 0, 0)
    untold = [
        remark.text for remark in told.remarks if "were not compared: the source lists none" in remark.text
    ]
    assert bool(untold) != full, "only the message itself tells"
    assert at(told).flags == (1 if full else 0)


@BOTH
def test_what_a_side_will_not_give_is_told(tmp_path: Path, full: bool) -> None:
    """It cannot be compared, so not all is known to be there."""
    office = Organisation(tmp_path)
    fill(office, [letter("a@x"), letter("b@x")], [letter("a@x"), letter("b@x")])
    office.sources["anna"].spoil(INBOX, 2, "NO [SERVERBUG] cannot read")
    told = compare(office, full=full)
    assert (at(told).same, at(told).unreadable, at(told).extra, told.exit_code) == (1, 1, 1, 3)
    assert "cannot read" in next(each.text for each in at(told).mismatches if each.kind == "unreadable")


class Restless(MemorySource):
    """A source whose owner deletes a message as soon as it is listed."""

    def headers(self, folder: Folder, entries: Sequence[Entry]) -> Iterator[Headers]:
        """Give what is left."""
        if self.mailbox.folder(INBOX).messages.get(1):
            self.mailbox.delete(INBOX, 1)
        yield from super().headers(folder, entries)


def test_what_goes_while_it_is_compared_is_not_told(tmp_path: Path) -> None:
    """A message that its owner deletes meanwhile is in neither count."""
    office = Organisation(tmp_path)
    fill(office, [letter("a@x"), letter("b@x")], [letter("b@x")])
    office.wrap_source = lambda name, _: Restless(office.sources[name])
    with office.migration() as migration:
        [told] = migration.compare()
    assert (at(told).messages, at(told).same, told.complete) == (1, 1, True)


class Closed(MemorySink):
    """A sink one of whose folders cannot be listed."""

    def changes(self, requests: Iterable[tuple[Folder, Cursor | None]]) -> Iterator[Changes | Unusable]:
        """Refuse one folder."""
        for request in requests:
            if request[0].path == ("Projects",):
                yield Unusable(request[0].path, "NO [NOPERM] not yours")
            else:
                yield from super().changes([request])


def test_a_folder_that_cannot_be_listed_is_a_failure(tmp_path: Path) -> None:
    """The rest is compared all the same."""
    office = Organisation(tmp_path)
    fill(office, [letter("a@x")], [letter("a@x")])
    fill(office, [], [letter("b@x")], ("Projects",))
    office.wrap_sink = lambda name, _: Closed(office.targets[name])
    told = compare(office)
    assert (at(told).same, told.failed, told.exit_code) == (1, True, 1)
    assert "not yours" in next(each.text for each in told.remarks if each.level == "fault")


def test_one_account_that_cannot_be_opened_leaves_the_others(tmp_path: Path) -> None:
    """A bug and a refusal each end their own account."""
    office = Organisation(tmp_path, ("anna", "bert", "cleo"))

    def wrap(name: str, side: Source) -> Source:
        if name != "anna":
            raise ZeroDivisionError
        return side

    office.wrap_source = wrap
    with office.migration() as migration:
        told = list(migration.compare())
    assert [each.exit_code for each in told] == [0, 1, 1]
    assert "a bug in alimail" in told[1].remarks[0].text


def test_observers_see_how_far_it_has_come(tmp_path: Path) -> None:
    """The events are those of a proof; both sides' messages count."""
    office = Organisation(tmp_path)
    fill(office, [letter("a@x")], [letter("a@x")])
    compare(office, full=True)
    size = len(letter("a@x"))
    assert office.events[0] == ProofStarted("anna@old.example", 2, 2 * size)
    told = [each for each in office.events if isinstance(each, MessagesProven)]
    assert (sum(each.messages for each in told), sum(each.octets for each in told)) == (2, 2 * size)
    assert office.events[-1] == ProofEnded("anna@old.example", True, False)


class Endless(MemorySource):
    """A source that makes up so many messages as they are asked for, and keeps none."""

    def __init__(self, mailbox: MemoryMailbox, messages: int) -> None:
        super().__init__(mailbox)
        self._messages = messages

    def changes(self, requests: Iterable[tuple[Folder, Cursor | None]]) -> Iterator[Changes | Unusable]:
        """List them page by page."""
        for folder, _ in requests:
            for first in range(0, self._messages, 1000):
                last = first + 1000 >= self._messages
                entries = [Entry(f"1/{uid}", 100 + uid, DAY) for uid in range(first, first + 1000)]
                yield Changes(folder, "1", entries, complete=True, cursor={} if last else None)

    def headers(self, folder: Folder, entries: Sequence[Entry]) -> Iterator[Headers]:
        """Make the headers."""
        return (Headers(entry.key, letter(f"{entry.key}@x")) for entry in entries)

    def fetch(
        self, requests: Iterable[tuple[Folder, Sequence[Entry]]]
    ) -> Iterator[Message | Gone | Unreadable]:
        """Make the messages."""
        for folder, entries in requests:
            for entry in entries:
                yield Message(folder.path, entry.key, letter(f"{entry.key}@x"))


def peak(folder: Path, messages: int) -> int:
    """Return the most memory that a comparison takes; the target is empty, so that each message is missing."""
    office = Organisation(folder)
    office.wrap_source = lambda name, _: Endless(office.sources[name], messages)
    tracemalloc.start()
    try:
        [told] = (migration := office.migration()).compare()
        migration.close()
        assert at(told).missing == messages
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_mailbox(tmp_path: Path) -> None:
    """Eight times the messages, the same memory."""
    assert peak(tmp_path, 16_000) < 1.5 * peak(tmp_path, 2_000)


# the command line


@pytest.fixture
def plugin() -> MemoryPlugin:
    """Return two servers in memory, with Anna's mailbox on both: one message of two is in the new one."""
    plugin = MemoryPlugin()
    for name in ("a@x", "b@x"):
        plugin.boxes["anna@old.example"].deliver(INBOX, letter(name, "\x1b]0;evil\x07"), (), DAY)
    plugin.boxes["anna@new.example"].deliver(INBOX, letter("a@x", "\x1b]0;evil\x07"), (), DAY)
    return plugin


@pytest.fixture
def run(plugin: MemoryPlugin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return ``alimail verify --independent`` of the two mailboxes, in a folder of its own."""
    alimail = command_line(registry_of(plugin), tmp_path, monkeypatch)
    return lambda *words: alimail("verify", *words)


URLS = (
    "mem://anna@old.example",
    "mem://anna@new.example",
    "--source-secret",
    "env:OLD",
    "--target-secret",
    "env:NEW",
)


def test_two_urls_are_compared_without_any_file(
    run: Run, plugin: MemoryPlugin, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first line is the answer, what is missing is named, and nothing is left behind on this machine."""
    assert run("--independent", *URLS) == 3
    out = capsys.readouterr().out
    assert out.startswith("NOT all there: of 2 messages of 1 account: 1 missing.\n")
    assert "missing: INBOX, 2024-05-01 12:00Z, " in out
    assert "<b@x>: not in the target" in out
    assert "What this cannot tell:" in out
    assert "evil" not in out
    plugin.boxes["anna@new.example"].deliver(INBOX, letter("b@x", "\x1b]0;evil\x07"), (), DAY)
    assert run("--independent", "--full", *URLS) == 0
    assert capsys.readouterr().out.startswith(
        "All there: 2 messages of 1 account (every octet of both sides read).\n"
    )
    assert run("--independent", "--quiet", *URLS) == 0
    assert capsys.readouterr().out.count("\n") == 1
    assert not list(Path().rglob("*")), "nothing is written"


def test_the_accounts_of_a_configuration_are_compared(
    run: Run, plugin: MemoryPlugin, capsys: pytest.CaptureFixture[str]
) -> None:
    """As JSON, with what the help promises; no ledger is made."""
    Path("alimail.toml").write_text(config_of("anna", "bert"))
    plugin.boxes["bert@old.example"].make(INBOX)
    assert run("--independent", "--json") == 3
    told = json.loads(capsys.readouterr().out)
    assert (told["complete"], told["full"]) == (False, False)
    anna, bert = told["accounts"]
    assert (anna["account"], anna["complete"], bert["complete"]) == ("anna@old.example", False, True)
    [inbox] = [folder for folder in anna["folders"] if folder["target"] == ["INBOX"]]
    assert (inbox["messages"], inbox["there"], inbox["same"], inbox["missing"]) == (2, 1, 1, 1)
    [found] = inbox["mismatches"]
    assert found["message_id"] == "<b@x>"
    assert found["date"] == "2024-05-01T12:00:00+00:00"
    assert run("--independent", "--search", "bert") == 0
    assert sorted(each.name for each in Path().iterdir()) == ["alimail.toml"]


@pytest.mark.parametrize("words", [URLS, ("--independent", URLS[0]), ("--source-secret", "env:OLD")])
def test_urls_go_with_independent_and_in_pairs(
    run: Run, capsys: pytest.CaptureFixture[str], words: Sequence[str]
) -> None:
    """Anything else ends with 2 and the right form."""
    assert run(*words) == 2
    assert "alimail verify --independent SOURCE_URL TARGET_URL" in capsys.readouterr().err


def test_a_login_that_is_refused_ends_with_1(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What could not be compared is not told to be all there."""
    monkeypatch.setenv("NEW", "wrong")
    assert run("--independent", *URLS) == 1
    out = capsys.readouterr().out
    assert "1 account could not be compared" in out
    assert "See the password." in out
