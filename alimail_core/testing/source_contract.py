"""Every promise of a source, as tests to inherit.

A plug-in's whole test of its contract::

    class TestMbox(SourceContract):
        keeps_flags = False

        def make(self, tmp_path, folders):
            for path, mails in folders.items():
                write_mbox(tmp_path / path[-1], mails)
            return lambda: MboxSource(tmp_path)

Each test is given ``tmp_path`` by pytest and makes its own store. What a store cannot do is declared by the
class attributes; a test that needs it is then not collected at all, so that none passes without having tried
anything. An attribute that is not true makes a test fail.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import ClassVar, TypeVar

from attrs import define, evolve

from alimail_core.contract import Source
from alimail_core.errors import Remark, Transient
from alimail_core.header import fingerprint
from alimail_core.model import (
    INBOX,
    Cursor,
    Entry,
    Folder,
    FolderPath,
    Gone,
    Message,
    Traits,
    Unreadable,
    Unusable,
)
from alimail_core.testing import asking
from alimail_core.testing.asking import Listing, Mail, listing, messages
from alimail_core.testing.mail import message, odd_messages

Test = TypeVar("Test", bound=Callable[..., None])
Item = TypeVar("Item")

LOOKS = 2_000
"""So often a wait may ask whether it is over before it has told what came."""

MANY = 100
"""Requests in a stream that a side must not have taken as a whole before it answers the first."""

CHINA = timezone(timedelta(hours=8))
FILLED = tuple(
    Mail(
        message(f"No. {n}", message_id=f"{n}@example.org"),
        internal_date=datetime(2024, 2, n, 9, 30, n, 0, UTC),
    )
    for n in range(1, 5)
)
"""Four messages, different in all that counts."""
LATE = Mail(
    message("Late", message_id="late@example.org"), internal_date=datetime(2024, 3, 1, 8, 0, tzinfo=CHINA)
)
NOWHERE = Folder(("No such folder",))


def needs(*capabilities: str) -> Callable[[Test], Test]:
    """Mark a test as demanded only where all these class attributes are true."""

    def mark(test: Test) -> Test:
        test.__dict__["needs"] = capabilities
        return test

    return mark


class Contract:
    """Collects only what a subclass declares to be able to do."""

    demanded: ClassVar[dict[str, Callable[..., None]]] = {}
    """Every test of the suite by name, those included that a subclass does not need to pass."""

    def __init_subclass__(cls) -> None:
        """Put ``None``, which no runner collects, in place of the tests that are not demanded."""
        super().__init_subclass__()
        own = {name: test for name, test in vars(cls).items() if name.startswith("test_") and callable(test)}
        cls.demanded = cls.demanded | own
        for name, test in cls.demanded.items():
            able = all(getattr(cls, capability) for capability in test.__dict__.get("needs", ()))
            if getattr(cls, name) is not (test if able else None):
                setattr(cls, name, test if able else None)


class SourceContract(Contract):
    """What every source promises. Implement ``make``, and the changes that the store allows."""

    holds_folders: ClassVar[bool] = True
    """The account has folders besides the inbox, one within another."""
    keeps_flags: ClassVar[bool] = True
    keeps_keywords: ClassVar[bool] = True
    keeps_dates: ClassVar[bool] = True
    tells_news: ClassVar[bool] = False
    """The side hears of new messages while it waits."""
    can_add: ClassVar[bool] = False
    can_delete: ClassVar[bool] = False
    can_flag: ClassVar[bool] = False
    can_renumber: ClassVar[bool] = False
    can_break: ClassVar[bool] = False

    # What the subclass gives.

    def make(self, tmp_path: Path, folders: Mapping[FolderPath, Sequence[Mail]]) -> Callable[[], Source]:
        """Make a new store that holds these messages, and return what opens a session with it.

        Called once a test; the same object then gets the changes below.
        """
        raise NotImplementedError

    def takes(self, octets: bytes) -> bool:
        """Tell whether the store can hold such a message at all."""
        return True

    def same(self, given: bytes, got: bytes) -> bool:
        """Tell whether ``got`` is what the store must give back after it was given ``given``."""
        return given == got

    def add(self, path: FolderPath, mail: Mail) -> None:
        """Add a message, as another client or a delivery does (``can_add``)."""
        raise NotImplementedError

    def delete(self, path: FolderPath, key: str) -> None:
        """Delete a message for good, as another client does (``can_delete``)."""
        raise NotImplementedError

    def flag(self, path: FolderPath, key: str, flags: frozenset[str]) -> None:
        """Replace the flags of a message, as another client does (``can_flag``)."""
        raise NotImplementedError

    def renumber(self, path: FolderPath) -> None:
        """Give every message of a folder a new key, such as under a new UIDVALIDITY (``can_renumber``)."""
        raise NotImplementedError

    def break_connection(self, source: Source) -> None:
        """Cut the connection beneath an open session (``can_break``)."""
        raise NotImplementedError

    # Folders.

    def test_the_inbox_is_listed_once_under_its_own_path(self, tmp_path: Path) -> None:
        """Every side lists the inbox as ``("INBOX",)``."""
        with self.make(tmp_path, {INBOX: FILLED})() as source:
            inbox = asking.folder_of(source, INBOX)
            assert inbox.selectable
            assert inbox.messages in (None, len(FILLED))

    @needs("holds_folders")
    def test_every_folder_is_listed_once_with_its_containers(self, tmp_path: Path) -> None:
        """Folders are named by Unicode components, whatever stands in them."""
        wanted = {("文件",), ("文件", "二〇二四"), ("A & B",), ("A & B", "x~y", "z")}
        with self.make(tmp_path, dict.fromkeys(wanted, ()))() as source:
            paths = [folder.path for folder in source.folders()]
        assert len(paths) == len(set(paths))
        assert wanted | {("A & B", "x~y"), INBOX} <= set(paths)

    def test_an_unknown_folder_is_unusable_and_the_others_go_on(self, tmp_path: Path) -> None:
        """A folder that vanished is one ``Unusable`` in its place, no exception."""
        with self.make(tmp_path, {INBOX: FILLED})() as source:
            inbox = asking.folder_of(source, INBOX)
            first, *pages = source.changes([(NOWHERE, None), (inbox, None)])
            assert isinstance(first, Unusable)
            assert first.path == NOWHERE.path
            assert len(asking.gathered(pages, INBOX).entries) == len(FILLED)

    def test_entries_of_an_unknown_folder_are_answered_once(self, tmp_path: Path) -> None:
        """Fetching from a folder that vanished gives one answer an entry, none of them a message."""
        with self.make(tmp_path, {INBOX: FILLED})() as source:
            entries = list(listing(source, INBOX).entries.values())
            answers = asking.fetched(source, [(NOWHERE, entries)])
            assert not any(isinstance(answer, Message) for answer in answers.values())
            assert list(source.look(NOWHERE, [entry.key for entry in entries])) == []

    # Listing.

    def test_without_a_cursor_everything_is_listed(self, tmp_path: Path) -> None:
        """A cursor of ``None`` is answered by complete pages with an entry for every message."""
        with self.make(tmp_path, {INBOX: FILLED})() as source:
            listed = listing(source, INBOX)
            assert listed.complete
            assert len(listed.entries) == len(FILLED)

    def test_an_empty_folder_is_one_complete_page(self, tmp_path: Path) -> None:
        """A folder without messages still answers, with a cursor."""
        with self.make(tmp_path, {INBOX: ()})() as source:
            listed = listing(source, INBOX)
            assert listed.complete
            assert not listed.entries

    @needs("holds_folders")
    def test_folders_are_answered_in_order(self, tmp_path: Path) -> None:
        """Many folders at once are answered in the order of the requests."""
        counts = {INBOX: FILLED[:1], ("B",): FILLED[:2], ("A",): FILLED[:3], ("A", "C"): ()}
        with self.make(tmp_path, counts)() as source:
            requests: list[tuple[Folder, Cursor | None]] = [
                (asking.folder_of(source, at), None) for at in counts
            ]
            told = asking.listings(source, requests)
        assert [len(listed.entries) for listed in told.values()] == [1, 2, 3, 0]

    def test_requests_of_listings_are_read_lazily(self, tmp_path: Path) -> None:
        """The first folder is answered before a long stream of requests was read to its end."""
        with self.make(tmp_path, {INBOX: FILLED[:1]})() as source:
            inbox = asking.folder_of(source, INBOX)
            taken: list[tuple[Folder, Cursor | None]] = []
            pages = source.changes(counted((inbox, None), taken))
            next(pages)
            assert 0 < len(taken) < MANY
            assert len(list(pages)) == MANY - 1

    def test_keys_and_witnesses_are_the_same_in_the_next_session(self, tmp_path: Path) -> None:
        """A key names the same message for ever, with the same size and date."""
        open_source = self.make(tmp_path, {INBOX: FILLED})
        with open_source() as source:
            before, octets = _seen(source)
        with open_source() as source:
            after, again = _seen(source)
            stable = source.traits.stable_octets
        assert after.witnesses == before.witnesses
        assert after.epoch == before.epoch
        assert not stable or octets == again

    @needs("keeps_dates")
    def test_dates_are_the_messages_own(self, tmp_path: Path) -> None:
        """The internal date is aware and the one that the message came with."""
        mails = [
            FILLED[0],
            LATE,
            Mail(FILLED[1].octets, internal_date=datetime(1999, 12, 31, 23, 59, 59, 0, UTC)),
        ]
        with self.make(tmp_path, {INBOX: mails})() as source:
            dates = [entry.internal_date for entry in listing(source, INBOX).entries.values()]
        assert sorted(filter(None, dates)) == sorted(
            mail.internal_date for mail in mails if mail.internal_date
        )

    @needs("keeps_flags")
    def test_flags_are_told_as_the_contract_spells_them(self, tmp_path: Path) -> None:
        """System flags are capitalised, all that is set is told, and nothing else."""
        sets = [
            frozenset({"\\Seen"}),
            frozenset({"\\Answered", "\\Flagged"}),
            frozenset({"\\Draft", "\\Seen"}),
        ]
        self._check_flags(tmp_path, [*sets, frozenset()])

    @needs("keeps_flags", "keeps_keywords")
    def test_keywords_are_told_as_the_server_spells_them(self, tmp_path: Path) -> None:
        """A keyword is a flag without a backslash."""
        self._check_flags(tmp_path, [frozenset({"$Forwarded", "\\Seen"}), frozenset({"Important"})])

    def _check_flags(self, tmp_path: Path, sets: Sequence[frozenset[str]]) -> None:
        mails = [evolve(mail, flags=flags) for mail, flags in zip(FILLED, sets, strict=False)]
        with self.make(tmp_path, {INBOX: mails})() as source:
            listed = listing(source, INBOX)
            told = messages(source, listed)
        by_octets = {mail.octets: mail.flags for mail in mails}
        for given, flags in by_octets.items():
            keys = [key for key, one in told.items() if self.same(given, one.octets)]
            assert [listed.entries[key].flags for key in keys] == [flags]
            assert all(told[key].flags in (None, flags) for key in keys)

    # Messages.

    def test_octets_are_untouched(self, tmp_path: Path) -> None:
        """However odd a message, the source gives its octets as they are."""
        odd = {name: octets for name, octets in odd_messages().items() if self.takes(octets)}
        with self.make(tmp_path, {INBOX: [Mail(octets) for octets in odd.values()]})() as source:
            got = [one.octets for one in messages(source, listing(source, INBOX)).values()]
        assert len(got) == len(odd)
        for name, given in odd.items():
            assert any(self.same(given, octets) for octets in got), f"{name!r} was not given as it is"

    def test_sizes_are_those_of_the_octets(self, tmp_path: Path) -> None:
        """Where octets are stable, a size that is told is the number of octets that are given."""
        with self.make(tmp_path, {INBOX: FILLED})() as source:
            listed = listing(source, INBOX)
            for key, one in messages(source, listed).items():
                told = listed.entries[key].size
                assert told in (None, len(one.octets)) or not source.traits.stable_octets

    def test_identical_messages_are_different_entries(self, tmp_path: Path) -> None:
        """Two copies of a message have two keys, and both are given."""
        with self.make(tmp_path, {INBOX: [FILLED[0], FILLED[0]]})() as source:
            assert len(messages(source, listing(source, INBOX))) == 2

    @needs("holds_folders")
    def test_many_folders_are_fetched_at_once(self, tmp_path: Path) -> None:
        """One stream of requests over several folders gives one answer an entry, each from its own folder."""
        paths: list[FolderPath] = [INBOX, ("A",), ("A", "B")]
        with self.make(tmp_path, {path: FILLED[: n + 1] for n, path in enumerate(paths)})() as source:
            told = [listing(source, path) for path in paths]
            requests = [(one.folder, list(one.entries.values())) for one in told]
            answers = asking.fetched(source, requests)
        assert [
            sum(isinstance(a, Message) and a.folder == path for a in answers.values()) for path in paths
        ] == [1, 2, 3]

    def test_requests_of_messages_are_read_lazily(self, tmp_path: Path) -> None:
        """The first message is given before a long stream of requests was read to its end."""
        with self.make(tmp_path, {INBOX: FILLED[:1]})() as source:
            listed = listing(source, INBOX)
            taken: list[tuple[Folder, Sequence[Entry]]] = []
            answers = source.fetch(counted((listed.folder, list(listed.entries.values())), taken))
            next(answers)
            assert 0 < len(taken) < MANY
            assert len(list(answers)) == MANY - 1

    def test_a_key_alone_is_enough(self, tmp_path: Path) -> None:
        """A witness that was not told contradicts nothing."""
        with self.make(tmp_path, {INBOX: FILLED})() as source:
            listed = listing(source, INBOX)
            bare = [Entry(key) for key in listed.entries]
            answers = asking.fetched(source, [(listed.folder, bare)])
            assert all(isinstance(answer, Message) for answer in answers.values())
            assert len(list(source.headers(listed.folder, bare))) == len(FILLED)

    def test_headers_tell_messages_apart_as_the_messages_do(self, tmp_path: Path) -> None:
        """The four fields read from the header alone give the fingerprint of the whole message."""
        with self.make(tmp_path, {INBOX: FILLED})() as source:
            listed = listing(source, INBOX)
            told = list(source.headers(listed.folder, list(listed.entries.values())))
            whole = messages(source, listed)
        assert sorted(headers.key for headers in told) == sorted(whole)
        for headers in told:
            assert fingerprint(headers.octets) == fingerprint(whole[headers.key].octets)

    def test_look_tells_what_stands_there_now(self, tmp_path: Path) -> None:
        """Each key that exists is told once, with size, date and flags."""
        with self.make(tmp_path, {INBOX: FILLED})() as source:
            listed = listing(source, INBOX)
            some = list(listed.entries)[:2]
            found = {entry.key: entry for entry in source.look(listed.folder, some)}
            assert list(source.look(listed.folder, [])) == []
        assert sorted(found) == sorted(some)
        for key, entry in found.items():
            asking.check_entry(entry)
            assert entry.flags == listed.entries[key].flags
            _agree(entry, listed.entries[key])

    def test_reading_changes_nothing(self, tmp_path: Path) -> None:
        """Whatever was read, no flag is set and nothing is gone: ``\\Seen`` least of all."""
        open_source = self.make(tmp_path, {INBOX: FILLED})
        with open_source() as source:
            before = listing(source, INBOX)
            _read_everything(source, before)
        with open_source() as source:
            assert listing(source, INBOX).entries == before.entries

    # Sessions.

    @needs("holds_folders")
    def test_other_methods_work_between_two_folders(self, tmp_path: Path) -> None:
        """While ``changes`` is suspended between two folders, everything else can be asked."""
        paths: list[FolderPath] = [INBOX, ("A",), ("B",)]
        with self.make(tmp_path, dict.fromkeys(paths, FILLED))() as source:
            folders = [asking.folder_of(source, path) for path in paths]
            pages = source.changes([(folder, None) for folder in folders])
            told = {}
            for path, listed in asking.each_listing(pages, paths):
                told[path] = listed
                _read_everything(source, listed)
        assert [len(listed.entries) for listed in told.values()] == [len(FILLED)] * 3

    def test_iterators_may_be_left_unfinished(self, tmp_path: Path) -> None:
        """A stream that nobody reads on disturbs nothing that comes after it."""
        with self.make(tmp_path, {INBOX: FILLED})() as source:
            listed = listing(source, INBOX)
            entries = list(listed.entries.values())
            left = [
                iter(source.folders()),
                source.changes([(listed.folder, None), (listed.folder, None)]),
                source.headers(listed.folder, entries),
                source.look(listed.folder, list(listed.entries)),
            ]
            for stream in left:
                next(stream)
                assert len(messages(source, listing(source, INBOX))) == len(FILLED)

    def test_fetch_may_be_closed_early(self, tmp_path: Path) -> None:
        """A fetch that is closed after its first answer leaves a session that works."""
        with self.make(tmp_path, {INBOX: FILLED})() as source:
            listed = listing(source, INBOX)
            answers = source.fetch([(listed.folder, list(listed.entries.values()))])
            next(answers)
            answers.close()  # type: ignore[attr-defined]
            assert len(messages(source, listing(source, INBOX))) == len(FILLED)

    def test_close_is_idempotent_and_never_raises(self, tmp_path: Path) -> None:
        """A side can be closed twice, also in the middle of a stream, and opened anew."""
        open_source = self.make(tmp_path, {INBOX: FILLED})
        source = open_source()
        assert source.__enter__() is source
        pages = source.changes([(asking.folder_of(source, INBOX), None)])
        next(pages)
        source.close()
        source.close()
        with open_source() as again:
            assert len(listing(again, INBOX).entries) == len(FILLED)

    def test_two_sessions_see_the_same(self, tmp_path: Path) -> None:
        """A source does not lock out others, its owner least of all."""
        open_source = self.make(tmp_path, {INBOX: FILLED})
        with open_source() as one, open_source() as other:
            assert listing(one, INBOX).witnesses == listing(other, INBOX).witnesses
            assert len(messages(one, listing(one, INBOX))) == len(messages(other, listing(other, INBOX)))

    def test_traits_and_remarks_are_told(self, tmp_path: Path) -> None:
        """What an endpoint is like is known from the moment that it is open."""
        with self.make(tmp_path, {})() as source:
            assert isinstance(source.traits, Traits)
            assert source.traits.tells_news == self.tells_news
            for remark in source.remarks():
                assert isinstance(remark, Remark)
                assert remark.level in {"ok", "note", "warning", "fault"}
                assert remark.text

    @needs("can_break")
    def test_a_lost_connection_is_transient(self, tmp_path: Path) -> None:
        """A session whose connection is gone raises ``Transient``, closes quietly, and a new one works."""
        open_source = self.make(tmp_path, {INBOX: FILLED})
        with open_source() as source:
            listed = listing(source, INBOX)
            entries = list(listed.entries.values())
            self.break_connection(source)
            for ask in (
                lambda: list(source.changes([(listed.folder, None)])),
                lambda: list(source.fetch([(listed.folder, entries)])),
                lambda: list(source.look(listed.folder, list(listed.entries))),
            ):
                assert _raises_transient(ask), "a lost connection MUST raise Transient"
        with open_source() as source:
            assert len(messages(source, listing(source, INBOX))) == len(FILLED)

    # Changes.

    def test_a_quiet_folder_has_no_news(self, tmp_path: Path) -> None:
        """With the cursor of the last listing nothing is gone, and no key is new."""
        open_source = self.make(tmp_path, {INBOX: FILLED})
        with open_source() as source:
            before = listing(source, INBOX)
        with open_source() as source:
            after = listing(source, INBOX, before.cursor)
        assert after.entries.keys() <= before.entries.keys()
        assert _held(before, after).keys() == before.entries.keys()
        assert after.epoch == before.epoch

    @needs("can_add")
    def test_a_new_message_is_told(self, tmp_path: Path) -> None:
        """A message that came since the cursor is told, and can be fetched."""
        open_source = self.make(tmp_path, {INBOX: FILLED})
        before, after = self._around(open_source, lambda _: self.add(INBOX, LATE))
        (key,) = _held(before, after).keys() - before.entries.keys()
        with open_source() as source:
            (answer,) = asking.fetched(source, [(after.folder, [after.entries[key]])]).values()
        assert isinstance(answer, Message)
        assert self.same(LATE.octets, answer.octets)

    @needs("can_add")
    def test_a_message_that_comes_while_listing_is_told_now_or_next(self, tmp_path: Path) -> None:
        """Nothing slips between a listing and the next one with its cursor."""
        with self.make(tmp_path, {INBOX: FILLED})() as source:
            pages = source.changes([(asking.folder_of(source, INBOX), None)])
            first = next(pages)
            self.add(INBOX, LATE)
            now = asking.gathered([first, *pages], INBOX)
            after = listing(source, INBOX, now.cursor)
            assert len(now.entries.keys() | _held(now, after).keys()) == len(FILLED) + 1

    @needs("tells_news", "can_add")
    def test_wait_tells_of_a_message_that_arrives(self, tmp_path: Path) -> None:
        """Whether it came since the cursor or comes while it is waited for; a listing has it then."""
        with self.make(tmp_path, {INBOX: FILLED})() as source:
            before = listing(source, INBOX)
            arrival = Arrival(lambda: self.add(INBOX, LATE))
            assert source.wait(before.folder, before.cursor, arrival), "a message that arrives MUST be told"
            assert source.wait(before.folder, before.cursor, Arrival()), "so MUST be one that had arrived"
            assert len(_held(before, listing(source, INBOX, before.cursor))) == len(FILLED) + 1

    @needs("tells_news")
    def test_wait_ends_when_it_is_over(self, tmp_path: Path) -> None:
        """It does not go on, says that nothing came, and leaves a session that works."""
        with self.make(tmp_path, {INBOX: FILLED})() as source:
            before = listing(source, INBOX)
            for looks in (0, 2):
                assert not source.wait(before.folder, before.cursor, Arrival(over_after=looks))
            assert len(messages(source, listing(source, INBOX))) == len(FILLED)

    @needs("can_delete")
    def test_a_deleted_message_is_told(self, tmp_path: Path) -> None:
        """A deletion shows by a complete listing without the key, or by the key among the gone."""
        open_source = self.make(tmp_path, {INBOX: FILLED})
        before, after = self._around(open_source, lambda listed: self.delete(INBOX, min(listed.entries)))
        assert before.entries.keys() - _held(before, after).keys() == {min(before.entries)}

    @needs("can_delete")
    def test_a_deleted_message_is_gone(self, tmp_path: Path) -> None:
        """``Gone`` is the answer for what was deleted and for nothing else; the other methods leave it out."""
        with self.make(tmp_path, {INBOX: FILLED})() as source:
            listed = listing(source, INBOX)
            victim = max(listed.entries)
            self.delete(INBOX, victim)
            entries = list(listed.entries.values())
            answers = asking.fetched(source, [(listed.folder, entries)])
            assert {key for (_, key), answer in answers.items() if isinstance(answer, Gone)} == {victim}
            assert victim not in {headers.key for headers in source.headers(listed.folder, entries)}
            looked = {entry.key for entry in source.look(listed.folder, list(listed.entries))}
            assert looked == listed.entries.keys() - {victim}

    @needs("can_flag")
    def test_changed_flags_are_told(self, tmp_path: Path) -> None:
        """A message whose flags changed since the cursor is listed with its present flags."""
        open_source = self.make(tmp_path, {INBOX: FILLED})
        wish = frozenset({"\\Flagged", "\\Seen"})
        before, after = self._around(open_source, lambda listed: self.flag(INBOX, min(listed.entries), wish))
        assert _held(before, after)[min(before.entries)].flags == wish
        assert _held(before, after).keys() == before.entries.keys()

    @needs("can_renumber")
    def test_new_keys_come_in_a_new_epoch(self, tmp_path: Path) -> None:
        """Where old keys lost their meaning the epoch differs, the listing is complete, and old keys give nothing.

        Whether one is gone only a session that has listed the folder must tell: its message may stand there anew.
        """
        open_source = self.make(tmp_path, {INBOX: FILLED})
        before, after = self._around(open_source, lambda _: self.renumber(INBOX))
        assert after.epoch != before.epoch
        assert after.complete
        assert len(after.entries) == len(FILLED)
        assert not after.entries.keys() & before.entries.keys()
        with open_source() as source:
            answers = asking.fetched(source, [(before.folder, list(before.entries.values()))])
            assert all(isinstance(answer, Gone | Unreadable) for answer in answers.values())

    def _around(
        self, open_source: Callable[[], Source], change: Callable[[Listing], None]
    ) -> tuple[Listing, Listing]:
        """List, change the store, and list with the cursor in another session."""
        with open_source() as source:
            before = listing(source, INBOX)
        change(before)
        with open_source() as source:
            return before, listing(source, INBOX, before.cursor)


@define
class Arrival:
    """Asked whether a wait is over: lets something happen the first time, and is not asked for ever."""

    happen: Callable[[], None] = lambda: None
    over_after: int | None = None
    asked: int = 0

    def __call__(self) -> bool:
        """Tell whether it is over."""
        self.asked += 1
        if self.asked == 1:
            self.happen()
        late = (self.over_after or 0) + LOOKS
        assert self.asked < late, "wait() MUST tell what has come, and end when it is over"
        time.sleep(0 if self.asked < LOOKS // 2 else 0.01)
        return self.over_after is not None and self.asked > self.over_after


def counted(item: Item, taken: list[Item]) -> Iterator[Item]:
    """Give an item ``MANY`` times, and note in ``taken`` how often it was taken."""
    for _ in range(MANY):
        taken.append(item)
        yield item


def _held(before: Listing, after: Listing) -> dict[str, Entry]:
    """Return what the folder holds, by what was known before and what was told after."""
    if after.complete:
        return after.entries
    kept = {key: entry for key, entry in before.entries.items() if key not in after.gone}
    return kept | after.entries


def _seen(source: Source) -> tuple[Listing, dict[str, bytes]]:
    listed = listing(source, INBOX)
    return listed, {key: one.octets for key, one in messages(source, listed).items()}


def _read_everything(source: Source, listed: Listing) -> None:
    entries = list(listed.entries.values())
    assert len(list(source.headers(listed.folder, entries))) == len(entries)
    assert len(messages(source, listed)) == len(entries)
    assert len(list(source.look(listed.folder, list(listed.entries)))) == len(entries)
    assert any(folder.path == listed.folder.path for folder in source.folders())


def _agree(one: Entry, other: Entry) -> None:
    assert one.size == other.size or None in (one.size, other.size)
    assert one.internal_date == other.internal_date or None in (one.internal_date, other.internal_date)


def _raises_transient(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except Transient:
        return True
    return False
