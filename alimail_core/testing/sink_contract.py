"""Every promise of a sink, as tests to inherit.

A sink is also a source, so ``SinkContract`` runs all of ``SourceContract`` over what the sink itself wrote::

    class TestMySink(SinkContract):
        tells_keys = False

        def make_sink(self, tmp_path):
            server = start_server(tmp_path)
            return lambda: MySink(server.port)

Where a server alters what it stores, override ``same``; where it refuses odd messages, ``takes``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, cast

from alimail_core.contract import Sink, Source
from alimail_core.errors import InDoubt, Interrupted, Refused, Transient
from alimail_core.folders.spelling import encode_name, fit
from alimail_core.model import (
    INBOX,
    Batch,
    Delivery,
    Entry,
    FlagChange,
    Folder,
    FolderPath,
    NotStored,
    PathRules,
    Quota,
    SinkTraits,
    SpecialUse,
    Stored,
    Unusable,
)
from alimail_core.testing import asking
from alimail_core.testing.asking import Mail, listing, messages
from alimail_core.testing.mail import message, odd_messages, odd_names
from alimail_core.testing.source_contract import FILLED, LATE, MANY, NOWHERE, SourceContract, needs

ARCHIVE: FolderPath = ("Archive",)


def deliveries(folder: Folder, mails: Iterable[Mail], first: int = 1) -> list[Delivery]:
    """Return mails on their way into a folder, with ids from ``first``."""
    return [
        Delivery(number, folder, mail.octets, mail.flags, mail.internal_date)
        for number, mail in enumerate(mails, first)
    ]


def outcomes_of(sink: Sink, batches: Sequence[Batch]) -> dict[int, Stored | NotStored]:
    """Append, and check that each delivery got exactly one outcome."""
    wanted = {delivery.id for batch in batches for delivery in batch}
    outcomes: dict[int, Stored | NotStored] = {}
    for outcome in sink.append(iter(batches)):
        assert outcome.id in wanted, f"append() answered what was not handed over: {outcome}"
        assert outcome.id not in outcomes, f"append() MUST answer {outcome.id} once, it did so twice"
        outcomes[outcome.id] = outcome
    assert outcomes.keys() == wanted, f"append() left without an outcome: {wanted - outcomes.keys()}"
    return outcomes


def store(sink: Sink, path: FolderPath, mails: Sequence[Mail]) -> list[str | None]:
    """Make a folder, store mails, each of which MUST be stored, and return the keys that were told."""
    (folder,) = sink.create([(path, None)])
    assert isinstance(folder, Folder), f"{path} MUST be made: {folder}"
    outcomes = outcomes_of(sink, [deliveries(folder, mails)] if mails else [])
    for outcome in outcomes.values():
        assert isinstance(outcome, Stored), f"the message MUST be stored: {outcome}"
    return [outcome.key for _, outcome in sorted(outcomes.items()) if isinstance(outcome, Stored)]


class SinkContract(SourceContract):
    """What every sink promises. Implement ``make_sink``; the rest has sensible defaults."""

    can_add: ClassVar[bool] = True
    can_flag: ClassVar[bool] = True
    can_delete: ClassVar[bool] = True
    """Also: ``traits.moves`` is true, so ``move`` and ``remove`` are tried."""
    tells_keys: ClassVar[bool] = True
    """``append`` tells the key of what it stored, always. False: never."""

    # What the subclass gives.

    def make_sink(self, tmp_path: Path) -> Callable[[], Sink]:
        """Make a new, empty account, and return what opens a session with it. Called once a test."""
        raise NotImplementedError

    def make(self, tmp_path: Path, folders: Mapping[FolderPath, Sequence[Mail]]) -> Callable[[], Source]:
        """Fill a new account through the sink itself."""
        self._open = self.make_sink(tmp_path)
        with self._open() as sink:
            for path, mails in folders.items():
                store(sink, path, mails)
        return self._open

    def add(self, path: FolderPath, mail: Mail) -> None:
        """Add a message through a session of its own."""
        with self._open() as sink:
            store(sink, path, [mail])

    def delete(self, path: FolderPath, key: str) -> None:
        """Delete a message through a session of its own."""
        with self._open() as sink:
            assert list(sink.remove(asking.folder_of(sink, path), [key])) == [key]

    def flag(self, path: FolderPath, key: str, flags: frozenset[str]) -> None:
        """Replace flags through a session of its own."""
        with self._open() as sink:
            folder = asking.folder_of(sink, path)
            (entry,) = sink.look(folder, [key])
            sink.change_flags(folder, [FlagChange(key, flags - entry.flags, entry.flags - flags)])

    # Traits and folders.

    def test_the_traits_of_a_sink_are_told(self, tmp_path: Path) -> None:
        """A sink says what it can do, and that agrees with what its suite declares."""
        with self.make_sink(tmp_path)() as sink:
            assert isinstance(sink.traits, SinkTraits)
            assert sink.traits.moves is self.can_delete, "traits.moves and the suite's can_delete differ"

    def test_quota_counts_octets(self, tmp_path: Path) -> None:
        """Quota is storage in octets, or unknown."""
        with self.make_sink(tmp_path)() as sink:
            store(sink, INBOX, FILLED)
            quota = sink.quota()
            assert quota is None or isinstance(quota, Quota)
            assert quota is None or 0 <= quota.used <= quota.limit

    def test_creating_twice_is_creating_once(self, tmp_path: Path) -> None:
        """A folder that exists, the inbox as well, is answered as it is, with what is in it."""
        wanted: list[tuple[FolderPath, SpecialUse | None]] = [(INBOX, None), (ARCHIVE, SpecialUse.ARCHIVE)]
        open_sink = self.make_sink(tmp_path)
        with open_sink() as sink:
            first = _made(sink, wanted)
            store(sink, first[1].path, FILLED)
            assert [folder.path for folder in _made(sink, [*wanted, *wanted])] == [
                one.path for one in first
            ] * 2
        with open_sink() as sink:
            assert [folder.path for folder in _made(sink, wanted)] == [one.path for one in first]
            assert asking.folder_of(sink, INBOX)
            assert len(listing(sink, first[1].path).entries) == len(FILLED)

    @needs("holds_folders")
    def test_parents_are_made(self, tmp_path: Path) -> None:
        """A folder can be made before those above it, and both hold messages then."""
        with self.make_sink(tmp_path)() as sink:
            _made(sink, [(("A", "文件", "C"), None), (("A", "文件"), None), (("A",), None)])
            for path in (("A", "文件", "C"), ("A", "文件"), ("A",)):
                store(sink, path, FILLED[:1])
                assert len(listing(sink, path).entries) == 1

    @needs("holds_folders")
    def test_names_that_the_rules_allow_are_made(self, tmp_path: Path) -> None:
        """``traits.rules`` tells what a folder can be called: each such name is made and listed as it is."""
        open_sink = self.make_sink(tmp_path)
        with open_sink() as sink:
            names = names_for(sink.traits.rules)
            made = _made(sink, [(("Odd", name), None) for name in names])
            assert [folder.path for folder in made] == [("Odd", name) for name in names]
        with open_sink() as sink:
            listed = {folder.path for folder in sink.folders()}
            assert {("Odd", name) for name in names} <= listed

    def test_a_new_folder_is_empty(self, tmp_path: Path) -> None:
        """What was just made is listed complete and without entries."""
        with self.make_sink(tmp_path)() as sink:
            (folder,) = _made(sink, [(ARCHIVE, None)])
            listed = listing(sink, folder.path)
            assert listed.complete
            assert not listed.entries

    # Appending.

    def test_each_delivery_has_one_outcome_and_one_message(self, tmp_path: Path) -> None:
        """Several batches over several folders: what is stored stands once, in its own folder."""
        open_sink = self.make_sink(tmp_path)
        with open_sink() as sink:
            inbox, other = _made(sink, [(INBOX, None), (ARCHIVE, None)])
            batches = [
                deliveries(inbox, FILLED, 10),
                [*deliveries(other, FILLED[:2], 20), *deliveries(inbox, [LATE], 30)],
                deliveries(other, FILLED[2:3], 40),
            ]
            outcomes = outcomes_of(sink, batches)
            assert all(isinstance(outcome, Stored) for outcome in outcomes.values())
        with open_sink() as sink:
            assert self._holds(sink, INBOX, [*FILLED, LATE])
            assert self._holds(sink, other.path, FILLED[:3])

    def test_odd_messages_are_stored_as_they_are_or_refused(self, tmp_path: Path) -> None:
        """A message that the server will not take is ``NotStored(Refused)`` and does not hold up the others."""
        odd = odd_messages()
        with self.make_sink(tmp_path)() as sink:
            (inbox,) = _made(sink, [(INBOX, None)])
            names = dict(enumerate(odd, 1))
            singles = [[Delivery(number, inbox, odd[name])] for number, name in names.items()]
            outcomes = outcomes_of(sink, singles)
            got = [one.octets for one in messages(sink, listing(sink, INBOX)).values()]
        stored = [names[n] for n, outcome in outcomes.items() if isinstance(outcome, Stored)]
        assert len(got) == len(stored)
        for number, outcome in outcomes.items():
            if self.takes(odd[names[number]]):
                assert isinstance(outcome, Stored), f"{names[number]!r} MUST be stored: {outcome}"
                assert any(self.same(odd[names[number]], octets) for octets in got), names[number]
            else:
                assert isinstance(outcome, NotStored), f"the suite says that {names[number]!r} is refused"
                assert isinstance(outcome.error, Refused)

    def test_a_key_that_is_told_is_the_messages_key(self, tmp_path: Path) -> None:
        """``Stored.key`` is the key under which the listing shows that very message."""
        with self.make_sink(tmp_path)() as sink:
            keys = store(sink, INBOX, FILLED)
            got = messages(sink, listing(sink, INBOX))
        if not self.tells_keys:
            assert keys == [None] * len(FILLED)
            return
        assert len(set(keys)) == len(FILLED)
        for key, mail in zip(keys, FILLED, strict=True):
            assert key in got
            assert self.same(mail.octets, got[key].octets)

    @needs("keeps_flags")
    def test_flags_are_stored_as_far_as_the_folder_can(self, tmp_path: Path) -> None:
        """System flags are kept; a keyword is kept where ``storable_flags`` says so, and costs no message."""
        flags = frozenset({"\\Seen", "\\Answered", "\\Flagged", "\\Draft", "$Forwarded"})
        with self.make_sink(tmp_path)() as sink:
            store(sink, INBOX, [Mail(FILLED[0].octets, flags), Mail(FILLED[1].octets)])
            listed = listing(sink, INBOX)
        storable = listed.storable_flags
        kept = flags if storable is None else flags & storable
        assert kept >= flags - {"$Forwarded"}, f"system flags MUST be storable, here are only {storable}"
        assert ("$Forwarded" in kept) is self.keeps_keywords, "storable_flags and keeps_keywords differ"
        assert sorted(map(sorted, (entry.flags for entry in listed.entries.values()))) == [[], sorted(kept)]

    def test_a_date_of_none_is_the_servers_affair(self, tmp_path: Path) -> None:
        """A delivery without a date is stored with an aware date of the server's choice."""
        with self.make_sink(tmp_path)() as sink:
            store(sink, INBOX, [Mail(FILLED[0].octets)])
            (key,) = listing(sink, INBOX).entries
            (entry,) = sink.look(asking.folder_of(sink, INBOX), [key])
            assert entry.internal_date is not None

    def test_a_stream_is_answered_before_it_ends(self, tmp_path: Path) -> None:
        """Taking is a permission with an intent on disk behind it: a sink does not take all before it answers."""
        with self.make_sink(tmp_path)() as sink:
            (inbox,) = _made(sink, [(INBOX, None)])
            taken: list[int] = []
            outcomes = sink.append(_one_by_one(inbox, taken))
            assert not taken, "append() MUST NOT take anything before its outcomes are asked for"
            answered = [next(outcomes).id]
            assert len(taken) < MANY, "append() took the whole stream before it answered the first delivery"
            answered += [outcome.id for outcome in outcomes]
            assert sorted(answered) == list(range(MANY))
            assert len(listing(sink, INBOX).entries) == MANY

    def test_nothing_to_store_is_nothing_done(self, tmp_path: Path) -> None:
        """Neither an empty stream nor an empty batch has outcomes."""
        with self.make_sink(tmp_path)() as sink:
            assert outcomes_of(sink, []) == {}
            assert outcomes_of(sink, [[], []]) == {}
            assert not listing(sink, INBOX).entries

    def test_a_missing_folder_refuses_its_messages_only(self, tmp_path: Path) -> None:
        """A folder that is not there is ``NotStored(Refused)`` for what goes there, and nothing for the rest."""
        with self.make_sink(tmp_path)() as sink:
            (inbox,) = _made(sink, [(INBOX, None)])
            mixed = [*deliveries(inbox, FILLED[:2]), *deliveries(NOWHERE, FILLED[2:3], 3)]
            outcomes = outcomes_of(sink, [mixed, deliveries(inbox, FILLED[3:], 4)])
            refused = outcomes.pop(3)
            assert isinstance(refused, NotStored)
            assert isinstance(refused.error, Refused)
            assert all(isinstance(outcome, Stored) for outcome in outcomes.values())
            assert self._holds(sink, INBOX, [*FILLED[:2], *FILLED[3:]])
            assert NOWHERE.path not in {folder.path for folder in sink.folders()}

    def test_append_may_be_closed_early(self, tmp_path: Path) -> None:
        """After an early close what was answered stands once, nothing stands twice, and the account goes on."""
        open_sink = self.make_sink(tmp_path)
        sink = open_sink()
        (inbox,) = _made(sink, [(INBOX, None)])
        outcomes = sink.append([[one] for one in deliveries(inbox, FILLED)])
        assert isinstance(next(outcomes), Stored)
        outcomes.close()  # type: ignore[attr-defined]
        sink.close()
        with open_sink() as sink:
            got = [one.octets for one in messages(sink, listing(sink, INBOX)).values()]
            store(sink, INBOX, [LATE])
        copies = [sum(self.same(mail.octets, octets) for octets in got) for mail in FILLED]
        assert max(copies) == 1
        assert sum(copies) == len(got)

    def test_an_error_of_the_stream_of_batches_comes_through(self, tmp_path: Path) -> None:
        """Whatever stops the giver of batches reaches the caller as it is; what was taken is stored at most once."""
        open_sink = self.make_sink(tmp_path)
        with open_sink() as sink:
            (inbox,) = _made(sink, [(INBOX, None)])
            assert _interrupted(sink, deliveries(inbox, FILLED[:2]))
        with open_sink() as sink:
            got = [one.octets for one in messages(sink, listing(sink, INBOX)).values()]
            assert all(sum(self.same(mail.octets, octets) for octets in got) <= 1 for mail in FILLED)

    def test_strangers_are_left_alone(self, tmp_path: Path) -> None:
        """Writing does not touch what was there before."""
        open_sink = self.make_sink(tmp_path)
        with open_sink() as sink:
            store(sink, INBOX, FILLED)
            before = listing(sink, INBOX)
        with open_sink() as sink:
            store(sink, INBOX, [LATE, FILLED[0]])
            after = listing(sink, INBOX)
        assert before.entries.items() <= after.entries.items()
        assert len(after.entries) == len(FILLED) + 2

    @needs("can_break")
    def test_a_connection_that_breaks_answers_all_that_was_taken(self, tmp_path: Path) -> None:
        """What was taken has its outcome, then comes ``Transient``; nothing stands twice."""
        open_sink = self.make_sink(tmp_path)
        taken: list[Delivery] = []
        with open_sink() as sink:
            (inbox,) = _made(sink, [(INBOX, None)])
            outcomes = _until_transient(sink.append(self._breaking(sink, inbox, taken)))
        assert sorted(outcomes) == sorted(delivery.id for delivery in taken)
        with open_sink() as sink:
            got = [one.octets for one in messages(sink, listing(sink, INBOX)).values()]
        for delivery in taken:
            copies = sum(self.same(delivery.octets, octets) for octets in got)
            assert copies in _copies(outcomes[delivery.id]), f"{outcomes[delivery.id]} stands {copies} times"

    def _breaking(self, sink: Sink, folder: Folder, taken: list[Delivery]) -> Iterator[Batch]:
        """Give batches of one message, and cut the connection before the third."""
        for delivery in deliveries(folder, FILLED):
            if delivery.id == 3:
                self.break_connection(sink)
            taken.append(delivery)
            yield [delivery]

    # Changing what was written.

    @needs("keeps_flags")
    def test_flags_are_added_and_removed_never_replaced(self, tmp_path: Path) -> None:
        """Only what a change names is changed, twice is as good as once, and other messages keep theirs."""
        with self.make_sink(tmp_path)() as sink:
            store(sink, INBOX, [Mail(mail.octets, frozenset({"\\Seen", "\\Draft"})) for mail in FILLED])
            listed = listing(sink, INBOX)
            one, other, *rest = listed.entries
            changes = [
                FlagChange(one, add=frozenset({"\\Flagged"}), remove=frozenset({"\\Seen"})),
                FlagChange(other, add=frozenset({"\\Answered", "\\Seen"})),
                FlagChange(rest[0]),
            ]
            for _ in range(2):
                sink.change_flags(listed.folder, changes)
                now = {entry.key: entry.flags for entry in sink.look(listed.folder, list(listed.entries))}
                assert now.pop(one) == {"\\Flagged", "\\Draft"}
                assert now.pop(other) == {"\\Answered", "\\Seen", "\\Draft"}
                assert list(now.values()) == [{"\\Seen", "\\Draft"}] * len(rest)

    @needs("keeps_flags", "can_delete")
    def test_flags_of_what_is_gone_are_passed_over(self, tmp_path: Path) -> None:
        """A key that is gone does not keep the others from their change."""
        with self.make_sink(tmp_path)() as sink:
            store(sink, INBOX, FILLED[:3])
            listed = listing(sink, INBOX)
            gone, *kept = listed.entries
            assert list(sink.remove(listed.folder, [gone])) == [gone]
            sink.change_flags(
                listed.folder, [FlagChange(key, frozenset({"\\Flagged"})) for key in listed.entries]
            )
            flags = {entry.key: entry.flags for entry in sink.look(listed.folder, list(listed.entries))}
            assert flags == dict.fromkeys(kept, frozenset({"\\Flagged"}))

    @needs("can_delete", "holds_folders")
    def test_move_moves_exactly_these(self, tmp_path: Path) -> None:
        """What is moved leaves its folder and stands once in the other, as it was; the rest stays untouched."""
        with self.make_sink(tmp_path)() as sink:
            store(sink, INBOX, [Mail(m.octets, frozenset({"\\Seen"}), m.internal_date) for m in FILLED])
            (other,) = _made(sink, [(ARCHIVE, None)])
            before = listing(sink, INBOX)
            octets = {key: one.octets for key, one in messages(sink, before).items()}
            some = list(before.entries)[1:3]
            moved = {one.key: one.new_key for one in sink.move(before.folder, some, other)}
            assert sorted(moved) == sorted(some)
            assert list(sink.move(before.folder, some, other)) == [], "a key that is gone MUST be left out"
            assert listing(sink, INBOX).entries == _without(before.entries, some)
            there = listing(sink, other.path)
            arrived = {key: one.octets for key, one in messages(sink, there).items()}
        assert sorted(arrived.values()) == sorted(octets[key] for key in some)
        assert all(entry.flags == {"\\Seen"} for entry in there.entries.values())
        for key, new_key in moved.items():
            assert new_key is None or arrived[new_key] == octets[key]

    @needs("can_delete")
    def test_remove_removes_exactly_these(self, tmp_path: Path) -> None:
        """What is removed is answered and gone; a second time there is nothing to answer."""
        with self.make_sink(tmp_path)() as sink:
            store(sink, INBOX, [*FILLED, FILLED[0]])
            before = listing(sink, INBOX)
            some = list(before.entries)[1:3]
            assert sorted(sink.remove(before.folder, some)) == sorted(some)
            assert list(sink.remove(before.folder, some)) == []
            assert listing(sink, INBOX).entries == _without(before.entries, some)

    @needs("can_delete", "keeps_flags")
    def test_remove_leaves_what_others_marked_as_deleted(self, tmp_path: Path) -> None:
        """A message that its owner marked ``\\Deleted`` is not expunged along with ours."""
        self.make(tmp_path, {INBOX: FILLED})
        with self._open() as sink:
            before = listing(sink, INBOX)
            ours, theirs, *_ = before.entries
            self.flag(INBOX, theirs, frozenset({"\\Deleted"}))
            (marked,) = sink.look(before.folder, [theirs])
            assert "\\Deleted" in marked.flags, "the suite's flag() did not mark the message"
            assert list(sink.remove(before.folder, [ours])) == [ours]
            left = {entry.key for entry in sink.look(before.folder, list(before.entries))}
            assert left == before.entries.keys() - {ours}

    def _holds(self, sink: Sink, path: FolderPath, mails: Sequence[Mail]) -> bool:
        """Tell whether a folder holds exactly these messages, once each."""
        got = [one.octets for one in messages(sink, listing(sink, path)).values()]
        once = all(sum(self.same(mail.octets, octets) for octets in got) == 1 for mail in mails)
        return once and len(got) == len(mails)


def names_for(rules: PathRules) -> list[str]:
    """Return odd names as they must be spelt for a sink; no two of them are one folder there."""
    names = [fit(encode_name(name, rules), rules) for name in odd_names()]
    return list({name if rules.case_sensitive else name.casefold(): name for name in names}.values())


def _made(sink: Sink, wanted: Sequence[tuple[FolderPath, SpecialUse | None]]) -> list[Folder]:
    made = list(sink.create(wanted))
    assert len(made) == len(wanted), "create() MUST answer each folder once, in order"
    assert not any(isinstance(folder, Unusable) for folder in made), f"could not be made: {made}"
    return cast(list[Folder], made)


def _one_by_one(folder: Folder, taken: list[int]) -> Iterator[Batch]:
    for number in range(MANY):
        taken.append(number)
        octets = message(f"No. {number}", message_id=f"stream-{number}@example.org")
        yield [Delivery(number, folder, octets, internal_date=datetime(2024, 1, 1, 0, 0, tzinfo=UTC))]


def _interrupted(sink: Sink, first: Batch) -> bool:
    def batches() -> Iterator[Batch]:
        yield first
        raise Interrupted("asked to stop")

    try:
        for _ in sink.append(batches()):
            pass
    except Interrupted:
        return True
    return False


def _until_transient(stream: Iterator[Stored | NotStored]) -> dict[int, Stored | NotStored]:
    outcomes: dict[int, Stored | NotStored] = {}
    try:
        for outcome in stream:
            assert outcome.id not in outcomes, f"{outcome.id} MUST be answered once"
            outcomes[outcome.id] = outcome
    except Transient:
        return outcomes
    raise AssertionError("append() MUST raise Transient when its connection is lost")


def _copies(outcome: Stored | NotStored) -> set[int]:
    """Return how many copies may stand of a message with this outcome."""
    if isinstance(outcome, Stored):
        return {1}
    return {0, 1} if isinstance(outcome.error, InDoubt) else {0}


def _without(entries: dict[str, Entry], keys: Sequence[str]) -> dict[str, Entry]:
    return {key: entry for key, entry in entries.items() if key not in keys}
