"""What we ship for tests: the ends in memory keep the contract, and the suites tell ends that do not."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import ClassVar, TypeVar

import pytest
from attrs import evolve

from alimail_core.contract import Sink, Source
from alimail_core.errors import InDoubt, OverQuota, Refused, Throttled, Transient
from alimail_core.model import (
    INBOX,
    SYSTEM_FLAGS,
    Changes,
    Cursor,
    Delivery,
    Entry,
    FlagChange,
    Folder,
    FolderPath,
    Gone,
    Message,
    NotStored,
    PathRules,
    SpecialUse,
    Stored,
    Unreadable,
    Unusable,
)
from alimail_core.testing import (
    Countdown,
    FakeClock,
    FaultingSink,
    FaultingSource,
    FaultKind,
    Killed,
    Mail,
    MemoryMailbox,
    MemorySink,
    MemorySource,
    MemoryTraits,
    SinkContract,
    SourceContract,
    countdowns,
    message,
    odd_messages,
    odd_names,
    sound_messages,
)

T = TypeVar("T")


def mended(octets: bytes) -> bytes:
    """Return a message as a server stores it that mends line ends and adds a trace field."""
    lines = octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    return b"Received: from us by them\r\n" + b"\r\n".join(lines).removesuffix(b"\r\n") + b"\r\n"


def no_nul(octets: bytes) -> Refused | None:
    """Refuse what holds a NUL octet."""
    return Refused("NO message contains NUL", about="form") if b"\0" in octets else None


# The ends in memory keep the contract.


class TestMemorySource(SourceContract):
    """The source in memory, on a server without CONDSTORE."""

    can_add = can_delete = can_flag = can_renumber = can_break = tells_news = True
    server: ClassVar[MemoryTraits] = MemoryTraits(tells_news=True)
    opened: ClassVar[type[MemorySource]] = MemorySource

    def make(self, tmp_path: Path, folders: Mapping[FolderPath, Sequence[Mail]]) -> Callable[[], Source]:
        """Fill a mailbox."""
        self.mailbox = MemoryMailbox(self.server)
        for path, mails in folders.items():
            self.mailbox.make(path)
            for mail in mails:
                self.add(path, mail)
        return lambda: self.opened(self.mailbox)

    def add(self, path: FolderPath, mail: Mail) -> None:
        """Deliver."""
        self.mailbox.deliver(path, mail.octets, mail.flags, mail.internal_date)

    def delete(self, path: FolderPath, key: str) -> None:
        """Expunge."""
        self.mailbox.delete(path, self._uid(path, key))

    def flag(self, path: FolderPath, key: str, flags: frozenset[str]) -> None:
        """Store flags."""
        self.mailbox.set_flags(path, self._uid(path, key), flags)

    def renumber(self, path: FolderPath) -> None:
        """Give a new UIDVALIDITY."""
        self.mailbox.renumber(path, new_validity=True)

    def break_connection(self, source: Source) -> None:
        """Cut the connection."""
        assert isinstance(source, MemorySource)
        source.lose_connection()

    def _uid(self, path: FolderPath, key: str) -> int:
        found = self.mailbox.folder(path).find(key)
        assert found is not None
        return found.uid


class TestMemorySourceDelta(TestMemorySource):
    """The source in memory that tells what changed, in small pages and in any order."""

    server = MemoryTraits(delta=True, page=2, shuffle=7, tells_news=True)


class TestMemorySourceUnstable(TestMemorySource):
    """The source in memory that renders messages anew at each fetch."""

    server = MemoryTraits(stable_octets=False, tells_news=True)

    def same(self, given: bytes, got: bytes) -> bool:
        """Leave the rendered field aside."""
        return got.startswith(b"X-Rendered: ") and got.partition(b"\r\n")[2] == given


class TestMemoryInbox(TestMemorySource):
    """The source in memory as if it were POP3: only an inbox, no flags, no dates."""

    holds_folders = keeps_flags = keeps_keywords = keeps_dates = can_flag = can_renumber = False


class TestMemorySink(SinkContract):
    """The sink in memory on a good server."""

    can_renumber = can_break = True
    server: ClassVar[MemoryTraits] = MemoryTraits()
    opened: ClassVar[type[MemorySink]] = MemorySink

    def make_sink(self, tmp_path: Path) -> Callable[[], Sink]:
        """Make a mailbox."""
        self.mailbox = MemoryMailbox(self.server)
        return lambda: self.opened(self.mailbox)

    def renumber(self, path: FolderPath) -> None:
        """Give a new UIDVALIDITY."""
        self.mailbox.renumber(path, new_validity=True)

    def break_connection(self, source: Source) -> None:
        """Cut the connection."""
        assert isinstance(source, MemorySource)
        source.lose_connection()


class TestMemorySinkDelta(TestMemorySink):
    """The sink in memory that takes batches ahead, answers in any order and tells what changed."""

    server = MemoryTraits(delta=True, page=2, shuffle=7, window=3)


class TestMemorySinkPoor(TestMemorySink):
    """The sink in memory as Alibaba Mail may be: no keyword, no key told, no date kept, odd names and mail."""

    keeps_keywords = keeps_dates = tells_keys = can_delete = False
    server = MemoryTraits(
        uidplus=False,
        moves=False,
        storable_flags=SYSTEM_FLAGS,
        keeps_dates=False,
        rules=PathRules(
            forbidden="+*\\", max_depth=4, max_octets=120, case_sensitive=False, keep_spaces=False
        ),
        alter=mended,
        refuse=no_nul,
    )

    def takes(self, octets: bytes) -> bool:
        """NUL octets are refused."""
        return b"\0" not in octets

    def same(self, given: bytes, got: bytes) -> bool:
        """The server mends what it stores."""
        return got == mended(given)


# The mailbox in memory has the oddities that it is made for.

SENT: FolderPath = ("Sent",)


def batches_of(*sizes: int) -> list[list[Delivery]]:
    """Return batches of so many numbered messages for the inbox."""
    coming = (Delivery(n, Folder(INBOX), b"%d" % n) for n in range(sum(sizes)))
    return [list(islice(coming, size)) for size in sizes]


def cursor_of(mailbox: MemoryMailbox) -> Cursor:
    """List the inbox and return its cursor."""
    return listed(mailbox, None)[-1].cursor or {}


def listed(mailbox: MemoryMailbox, cursor: Cursor | None) -> list[Changes]:
    """List the inbox."""
    return [
        page for page in MemorySource(mailbox).changes([(Folder(INBOX), cursor)]) if isinstance(page, Changes)
    ]


GOOD = MemoryTraits()


def filled(traits: MemoryTraits = GOOD, count: int = 3) -> MemoryMailbox:
    """Return a mailbox with numbered messages in its inbox."""
    mailbox = MemoryMailbox(traits)
    for number in range(count):
        mailbox.deliver(INBOX, b"%d" % number)
    return mailbox


@pytest.mark.parametrize("delta", [False, True])
def test_renumbering_without_a_new_validity_shows_by_uidnext(delta: bool) -> None:
    """UIDs that begin anew under the old UIDVALIDITY are a new epoch, told complete."""
    mailbox = filled(MemoryTraits(delta=delta))
    mailbox.delete(INBOX, 1)
    before = cursor_of(mailbox)
    mailbox.renumber(INBOX, new_validity=False)
    (page,) = listed(mailbox, before)
    assert page.epoch != listed(mailbox, None)[0].epoch
    assert page.complete
    assert [entry.key for entry in page.entries] == ["1/1", "1/2"]


def test_a_folder_that_was_made_again_shows_by_its_last_message() -> None:
    """As many messages as before under the same UIDs are told by the witness of the last one."""
    mailbox = filled()
    before = cursor_of(mailbox)
    mailbox.remake(INBOX)
    assert mailbox.contents() == {}
    for number in range(3):
        mailbox.deliver(INBOX, b"other %d" % number)
    (page,) = listed(mailbox, before)
    assert page.epoch != "1.0"
    (again,) = listed(mailbox, page.cursor)
    assert again.epoch == page.epoch


def test_a_key_with_another_witness_is_gone() -> None:
    """A key counts only while its witness holds."""
    mailbox = filled(count=1)
    source = MemorySource(mailbox)
    (entry,) = listed(mailbox, None)[0].entries
    asked = [entry, evolve(entry, size=99), evolve(entry, internal_date=FakeClock().now())]
    kinds = [type(answer) for one in asked for answer in source.fetch([(Folder(INBOX), [one])])]
    assert kinds == [Message, Gone, Gone]


def test_a_full_mailbox_answers_what_was_taken_and_raises() -> None:
    """OVERQUOTA stops the account: what fitted is stored, the rest certainly is not."""
    mailbox = MemoryMailbox(MemoryTraits(quota_octets=2, window=2))
    outcomes: deque[Stored | NotStored] = deque()
    stream = MemorySink(mailbox).append(batches_of(1, 2, 1))
    with pytest.raises(OverQuota):
        outcomes.extend(stream)
    assert mailbox.octets == 2
    assert [type(one) for one in outcomes] == [Stored, Stored, NotStored]
    assert isinstance(outcomes[-1], NotStored)
    assert type(outcomes[-1].error) is Transient


def test_a_message_too_large_is_refused_for_its_size() -> None:
    """APPENDLIMIT is a refusal of this message alone."""
    mailbox = MemoryMailbox(MemoryTraits(max_message_octets=3))
    (outcome,) = MemorySink(mailbox).append([[Delivery(1, Folder(INBOX), b"four")]])
    assert isinstance(outcome, NotStored)
    assert isinstance(outcome.error, Refused)
    assert outcome.error.about == "size"


def test_an_unreadable_message_is_told_so_until_it_is_mended() -> None:
    """What the server has and will not give is ``Unreadable``, with its reason."""
    mailbox = filled(count=1)
    mailbox.spoil(INBOX, 1, "NO internal error")
    source = MemorySource(mailbox)
    assert list(source.fetch([(Folder(INBOX), [Entry("1/1")])])) == [
        Unreadable(INBOX, "1/1", "NO internal error")
    ]
    assert list(source.headers(Folder(INBOX), [Entry("1/1")])) == []
    mailbox.spoil(INBOX, 1, None)
    assert isinstance(next(source.fetch([(Folder(INBOX), [Entry("1/1")])])), Message)


def test_users_rename_move_and_copy() -> None:
    """What its users do to a mailbox keeps every octet."""
    mailbox = filled()
    mailbox.make(("A", "B"))
    mailbox.move(INBOX, 1, ("A", "B"))
    mailbox.copy(INBOX, 2, ("A",))
    mailbox.rename_folder(("A",), ("Old", "A"))
    assert mailbox.contents() == {
        INBOX: Counter([b"1", b"2"]),
        ("Old", "A"): Counter([b"1"]),
        ("Old", "A", "B"): Counter([b"0"]),
    }
    assert mailbox.everything() == Counter({b"1": 2, b"0": 1, b"2": 1})
    mailbox.remove_folder(("Old", "A"))
    assert {("Old",), ("Old", "A", "B")} <= mailbox.tree.keys()


def test_misuse_of_a_side_is_a_bug() -> None:
    """A side that is used after its end, or in the middle of a fetch, raises what no engine catches."""
    source = MemorySource(filled())
    answers = source.fetch([(Folder(INBOX), [Entry("1/1"), Entry("1/2")])])
    next(answers)
    with pytest.raises(RuntimeError, match="fetch"):
        list(source.folders())
    list(answers)
    source.close()
    with pytest.raises(RuntimeError, match="close"):
        list(source.folders())


@pytest.mark.parametrize(
    ("rules", "path"),
    [
        (PathRules(), ("a/b",)),
        (PathRules(), ("a\tb",)),
        (PathRules(), ("",)),
        (PathRules(forbidden="*"), ("a*b",)),
        (PathRules(max_depth=2), ("a", "b", "c")),
        (PathRules(max_octets=6), ("文件夹",)),
        (PathRules(delimiter=None), ("a", "b")),
    ],
)
def test_a_name_against_the_rules_is_unusable(rules: PathRules, path: FolderPath) -> None:
    """The server refuses what its rules do not allow, and makes nothing."""
    mailbox = MemoryMailbox(MemoryTraits(rules=rules))
    (answer,) = MemorySink(mailbox).create([(path, SpecialUse.SENT)])
    assert isinstance(answer, Unusable)
    assert set(mailbox.tree) == {INBOX}


def test_a_server_tells_what_it_really_made() -> None:
    """Trimmed names and other cases of a name lead to the folder that the server has."""
    mailbox = MemoryMailbox(MemoryTraits(rules=PathRules(case_sensitive=False, keep_spaces=False)))
    sink = MemorySink(mailbox)
    wanted: list[tuple[FolderPath, SpecialUse | None]] = [
        (("A ", "b."), None),
        (("a", "B"), None),
        (("inbox",), None),
    ]
    made = [folder.path for folder in sink.create(wanted) if isinstance(folder, Folder)]
    assert made == [("A", "b"), ("A", "b"), INBOX]


# Faults.

KEPT = {
    FaultKind.BEFORE: (0, 0, Transient),
    FaultKind.THROTTLED: (0, 0, Transient),
    FaultKind.AFTER: (4, 4, InDoubt),
    FaultKind.LATE: (0, 4, InDoubt),
    FaultKind.TORN: (2, 2, InDoubt),
    FaultKind.HALF: (2, 2, InDoubt),
}
"""Of four messages in doubt: how many stand at once, how many in the end, and the grade of their outcome."""


@pytest.mark.parametrize("kind", KEPT)
def test_a_struck_append_is_answered_by_its_grade(kind: FaultKind) -> None:
    """Two batches were taken: each of their messages has its outcome, and the server did what the kind says."""
    clock = FakeClock()
    plan = Countdown(1, kind, taken_ahead=2, clock=clock)
    mailbox = MemoryMailbox()
    outcomes: list[Stored | NotStored] = []
    with FaultingSink(MemorySink(mailbox), plan) as sink:
        stream = sink.append(batches_of(2, 2))
        if kind is FaultKind.HALF:
            outcomes.extend(stream)
        else:
            outcomes.extend(next(stream) for _ in range(4))
            with pytest.raises(Throttled if kind is FaultKind.THROTTLED else Transient):
                next(stream)
            with pytest.raises(Transient, match="already"):
                list(sink.folders())
    at_once = len(mailbox.uids(INBOX))
    clock.advance(plan.late_seconds)
    grades = {type(one.error) for one in outcomes if isinstance(one, NotStored)}
    assert (at_once, len(mailbox.uids(INBOX)), *grades) == KEPT[kind]
    doubts = [one.error for one in outcomes if isinstance(one, NotStored) and isinstance(one.error, InDoubt)]
    assert all(error.over is (kind is FaultKind.HALF) for error in doubts)


@pytest.mark.parametrize("kind", [kind for kind in FaultKind if kind.kills])
def test_a_dead_process_does_nothing_more(kind: FaultKind) -> None:
    """After ``Killed`` every further step of any side of the plan is ``Killed`` again; only the server lives on."""
    plan = Countdown(2, kind)
    mailbox = MemoryMailbox()
    sink, source = FaultingSink(MemorySink(mailbox), plan), FaultingSource(MemorySource(mailbox), plan)
    with pytest.raises(Killed):
        list(sink.append(batches_of(1, 2)))
    for ask in (source.folders, lambda: sink.change_flags(Folder(INBOX), []), lambda: plan.step("ledger")):
        with pytest.raises(Killed):
            ask()
    sink.close()
    late = kind is FaultKind.KILLED_LATE
    assert len(mailbox.uids(INBOX)) == (3 if kind is FaultKind.KILLED_AFTER else 1)
    assert plan.finish_late() == late
    assert len(mailbox.uids(INBOX)) == (1 if kind is FaultKind.KILLED_BEFORE else 3)


@pytest.mark.parametrize("kind", [kind for kind in FaultKind if kind is not FaultKind.MEDDLED])
def test_the_countdown_strikes_each_operation_once(kind: FaultKind) -> None:
    """The loop reaches every operation of a run, and ends with a run that was left unharmed."""
    struck = []
    for plan in countdowns(kind):
        _whole_run(plan)
        struck.append(plan.struck)
    assert struck == [
        "folders", "changes", "fetch", "fetch", "headers", "headers", "look", "quota", "create",
        "append", "append", "change_flags", "move", "remove", None,
    ]  # fmt: skip


def _whole_run(plan: Countdown) -> None:
    """Do everything once, as far as the plan lets it."""
    source, sink = (
        FaultingSource(MemorySource(filled(count=2)), plan),
        FaultingSink(MemorySink(filled()), plan),
    )
    inbox, entries = Folder(INBOX), [Entry("1/1"), Entry("1/2")]
    try:
        with source, sink:
            list(source.folders())
            list(source.changes([(inbox, None)]))
            list(source.fetch([(inbox, entries)]))
            list(source.headers(inbox, entries))
            list(source.look(inbox, ["1/1"]))
            sink.quota()
            list(sink.create([(SENT, None)]))
            list(sink.append(batches_of(1, 1)))
            sink.change_flags(inbox, [FlagChange("1/1", frozenset({"\\Seen"}))])
            list(sink.move(inbox, ["1/1"], Folder(SENT)))
            list(sink.remove(inbox, ["1/2"]))
    except (Transient, InDoubt, Killed):
        assert plan.fired


@pytest.mark.parametrize(
    ("kind", "error", "moved"),
    [
        (FaultKind.BEFORE, Transient, 0),
        (FaultKind.AFTER, InDoubt, 3),
        (FaultKind.HALF, InDoubt, 2),
        (FaultKind.LATE, InDoubt, 0),
    ],
)
def test_a_struck_move_is_in_doubt(kind: FaultKind, error: type[Exception], moved: int) -> None:
    """A move whose answer was lost says so, and has happened as far as the kind says."""
    mailbox = filled()
    mailbox.make(SENT)
    sink = FaultingSink(MemorySink(mailbox), Countdown(1, kind))
    with pytest.raises(error):
        list(sink.move(Folder(INBOX), ["1/1", "1/2", "1/3"], Folder(SENT)))
    assert len(mailbox.uids(SENT)) == moved
    sink.plan.finish_late()
    assert len(mailbox.uids(SENT)) == (3 if kind is FaultKind.LATE else moved)


def test_others_may_meddle_at_any_instant() -> None:
    """A plan can let another writer act at the n-th operation, and the run goes on."""
    mailbox = filled(count=1)
    plan = Countdown(2, FaultKind.MEDDLED, meddle=lambda: mailbox.set_flags(INBOX, 1, {"\\Seen"}))
    source = FaultingSource(MemorySource(mailbox), plan)
    list(source.folders())
    (entry,) = source.look(Folder(INBOX), ["1/1"])
    assert entry.flags == {"\\Seen"}
    assert plan.fired


class TestFaultingSink(TestMemorySink):
    """A sink that waits for a fault which never comes is a sink like any other."""

    can_break = False

    def make_sink(self, tmp_path: Path) -> Callable[[], Sink]:
        """Wrap what the memory opens."""
        opened = super().make_sink(tmp_path)
        return lambda: FaultingSink(opened(), Countdown(10**9))


# The clock, and the corpus.


def test_the_clock_does_what_is_due_at_its_own_time() -> None:
    """Sleeping passes time without waiting, and what others do meanwhile sees its own time."""
    clock = FakeClock()
    times: list[float] = []
    clock.later(5, lambda: times.append(clock.monotonic()))
    clock.later(2, lambda: clock.later(1, lambda: times.append(clock.monotonic())))
    clock.sleep(4)
    assert times == [3]
    clock.sleep(4)
    assert times == [3, 5]
    assert (clock.now() - FakeClock().now()).total_seconds() == clock.monotonic() == 8
    assert clock.slept == [4, 4]
    assert [FakeClock(seed=1).random() for _ in range(2)] == [FakeClock(seed=1).random()] * 2


def test_the_corpus_is_odd_and_always_the_same() -> None:
    """No two odd messages or names are equal, and what is called sound is."""
    odd, names = odd_messages(), odd_names()
    assert odd == odd_messages()
    assert len(set(odd.values())) == len(odd) > 50
    assert len(set(names)) == len(names) > 100
    for octets in sound_messages().values():
        assert octets.endswith(b"\r\n")
        assert not {*b"\r\n"} & {*octets.replace(b"\r\n", b"")}
    assert message("你好").isascii()
