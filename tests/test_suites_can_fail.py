"""The suites that we ship can fail: ends that break their contract in one way each, and the test that tells it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import chain
from pathlib import Path

import pytest
from attrs import evolve

from alimail_core.errors import AlimailError, Transient
from alimail_core.model import (
    INBOX,
    Batch,
    Changes,
    Cursor,
    Delivery,
    Entry,
    FlagChange,
    Folder,
    FolderPath,
    Gone,
    Headers,
    Message,
    Moved,
    NotStored,
    SpecialUse,
    Stored,
    Unreadable,
    Unusable,
)
from alimail_core.testing import MemorySink, MemorySource, MemoryTraits
from tests import test_testing as good

pytestmark = pytest.mark.slow

Told = Iterator[Changes | Unusable]
Asked = Iterable[tuple[Folder, Cursor | None]]
Answers = Iterator[Message | Gone | Unreadable]
Wanted = Iterable[tuple[Folder, Sequence[Entry]]]
Outcomes = Iterator[Stored | NotStored]


# Sources.


class DropsAnEntry(MemorySource):
    def changes(self, requests: Asked) -> Told:
        for page in super().changes(requests):
            yield evolve(page, entries=page.entries[1:]) if isinstance(page, Changes) else page


class PutsACursorOnEveryPage(MemorySource):
    def changes(self, requests: Asked) -> Told:
        for page in super().changes(requests):
            yield evolve(page, cursor=page.cursor or {}) if isinstance(page, Changes) else page


class ForgetsTheCursor(MemorySource):
    def changes(self, requests: Asked) -> Told:
        for page in super().changes(requests):
            yield evolve(page, cursor=None) if isinstance(page, Changes) else page


class WritesAHugeCursor(MemorySource):
    def changes(self, requests: Asked) -> Told:
        for page in super().changes(requests):
            if isinstance(page, Changes) and page.cursor is not None:
                page = evolve(page, cursor={**page.cursor, "keys": ["1/1"] * 1000})
            yield page


class KeepsItsEpoch(MemorySource):
    def changes(self, requests: Asked) -> Told:
        for page in super().changes(requests):
            yield evolve(page, epoch="always") if isinstance(page, Changes) else page


class CallsDeltasComplete(MemorySource):
    def changes(self, requests: Asked) -> Told:
        for page in super().changes(requests):
            yield evolve(page, complete=True) if isinstance(page, Changes) else page


class ForgetsTheGone(MemorySource):
    def changes(self, requests: Asked) -> Told:
        for page in super().changes(requests):
            yield evolve(page, gone=()) if isinstance(page, Changes) else page


class TellsNaiveDates(MemorySource):
    def changes(self, requests: Asked) -> Told:
        for page in super().changes(requests):
            yield _each_entry(page, lambda one: evolve(one, internal_date=_naive(one)))


class TellsRecent(MemorySource):
    def changes(self, requests: Asked) -> Told:
        for page in super().changes(requests):
            yield _each_entry(page, lambda one: evolve(one, flags=one.flags | {"\\Recent"}))


class SpellsFlagsInCapitals(MemorySource):
    def changes(self, requests: Asked) -> Told:
        for page in super().changes(requests):
            yield _each_entry(page, lambda one: evolve(one, flags=frozenset(map(str.upper, one.flags))))


class CountsWrongSizes(MemorySource):
    def changes(self, requests: Asked) -> Told:
        for page in super().changes(requests):
            yield _each_entry(page, lambda one: evolve(one, size=(one.size or 0) + 1))


class NamesKeysByTheSession(MemorySource):
    sessions = 0

    def changes(self, requests: Asked) -> Told:
        NamesKeysByTheSession.sessions += 1
        for page in super().changes(requests):
            yield _each_entry(page, lambda one: evolve(one, key=f"{one.key}-{self.sessions}"))


class ReadsAllRequestsFirst(MemorySource):
    def changes(self, requests: Asked) -> Told:
        return super().changes(list(requests))


class RaisesForAnUnknownFolder(MemorySource):
    def changes(self, requests: Asked) -> Told:
        for page in super().changes(requests):
            if isinstance(page, Unusable):
                raise Transient(page.reason)
            yield page


class IsDisturbedBetweenFolders(MemorySource):
    asked = 0

    def changes(self, requests: Asked) -> Told:
        for page in super().changes(requests):
            before = self.asked
            yield page
            if self.asked != before:
                return

    def look(self, folder: Folder, keys: Sequence[str]) -> Iterator[Entry]:
        self.asked += 1
        return super().look(folder, keys)


class ListsTheInboxAsTheServerDoes(MemorySource):
    def folders(self) -> Iterator[Folder]:
        for folder in super().folders():
            yield evolve(folder, path=("Inbox",)) if folder.path == INBOX else folder


class ForgetsContainers(MemorySource):
    def folders(self) -> Iterator[Folder]:
        return (folder for folder in super().folders() if len(folder.path) != 2 or folder.messages)


class AnswersTwice(MemorySource):
    def fetch(self, requests: Wanted) -> Answers:
        for answer in super().fetch(requests):
            yield answer
            yield answer


class LeavesAnAnswerOut(MemorySource):
    def fetch(self, requests: Wanted) -> Answers:
        return (answer for answer in super().fetch(requests) if not answer.key.endswith("/3"))


class LeavesTheGoneOut(MemorySource):
    def fetch(self, requests: Wanted) -> Answers:
        return (answer for answer in super().fetch(requests) if not isinstance(answer, Gone))


class SaysGoneUnasked(MemorySource):
    def fetch(self, requests: Wanted) -> Answers:
        for answer in super().fetch(requests):
            yield Gone(answer.folder, answer.key) if answer.key.endswith("/2") else answer


class SetsSeen(MemorySource):
    def fetch(self, requests: Wanted) -> Answers:
        for answer in super().fetch(requests):
            for stored in self.mailbox.folder(answer.folder).messages.values():
                stored.flags |= {"\\Seen"}
            yield answer


class MendsLineEnds(MemorySource):
    def fetch(self, requests: Wanted) -> Answers:
        for answer in super().fetch(requests):
            yield _with_octets(answer, good.mended)


class StripsTheLastLineEnd(MemorySource):
    def fetch(self, requests: Wanted) -> Answers:
        for answer in super().fetch(requests):
            yield _with_octets(answer, lambda octets: octets.removesuffix(b"\r\n\r\n"))


class TakesAllRequestsOfMessages(MemorySource):
    def fetch(self, requests: Wanted) -> Answers:
        return super().fetch(list(requests))


class NeedsTheWitness(MemorySource):
    def fetch(self, requests: Wanted) -> Answers:
        return super().fetch((folder, [_never(one) for one in entries]) for folder, entries in requests)


class IsLostWhenClosedEarly(MemorySource):
    def fetch(self, requests: Wanted) -> Answers:
        for answer in super().fetch(requests):
            try:
                yield answer
            except GeneratorExit:
                self.lose_connection()
                raise


class LeavesAHeaderOut(MemorySource):
    def headers(self, folder: Folder, entries: Sequence[Entry]) -> Iterator[Headers]:
        return super().headers(folder, entries[1:])


class GivesHalfTheHeader(MemorySource):
    def headers(self, folder: Folder, entries: Sequence[Entry]) -> Iterator[Headers]:
        for one in super().headers(folder, entries):
            yield evolve(one, octets=one.octets.replace(b"Message-ID", b"X-Other"))


class LooksWithoutFlags(MemorySource):
    def look(self, folder: Folder, keys: Sequence[str]) -> Iterator[Entry]:
        return (evolve(one, size=None, flags=frozenset({"\\Seen"})) for one in super().look(folder, keys))


class LooksIntoItsMemory(MemorySource):
    def look(self, folder: Folder, keys: Sequence[str]) -> Iterator[Entry]:
        return iter([Entry(key, 1) for key in keys])


class CannotBeClosedTwice(MemorySource):
    def close(self) -> None:
        if self._closed:
            raise OSError("already closed")
        super().close()


class RaisesWhatTheSocketRaises(MemorySource):
    def _connected(self) -> None:
        if self._lost:
            raise ConnectionResetError("reset by peer")


def _each_entry(page: Changes | Unusable, change: Callable[[Entry], Entry]) -> Changes | Unusable:
    return evolve(page, entries=[*map(change, page.entries)]) if isinstance(page, Changes) else page


def _with_octets(
    answer: Message | Gone | Unreadable, change: Callable[[bytes], bytes]
) -> Message | Gone | Unreadable:
    return evolve(answer, octets=change(answer.octets)) if isinstance(answer, Message) else answer


def _naive(entry: Entry) -> datetime | None:
    return entry.internal_date and entry.internal_date.replace(tzinfo=None)


def _never(entry: Entry) -> Entry:
    return entry if entry.size is not None else Entry("0/0")


class HearsNothing(MemorySource):
    def wait(self, folder: Folder, cursor: Cursor, over: Callable[[], bool]) -> bool:
        while not over():
            pass
        return False


class HearsOnlyWhatComesNow(MemorySource):
    def wait(self, folder: Folder, cursor: Cursor, over: Callable[[], bool]) -> bool:
        pages = list(super().changes([(folder, None)]))
        now = pages[-1]
        return super().wait(folder, (isinstance(now, Changes) and now.cursor) or {}, over)


class WaitsOn(MemorySource):
    def wait(self, folder: Folder, cursor: Cursor, over: Callable[[], bool]) -> bool:
        return super().wait(folder, cursor, lambda: over() and False)


class CallsTheEndNews(MemorySource):
    def wait(self, folder: Folder, cursor: Cursor, over: Callable[[], bool]) -> bool:
        super().wait(folder, cursor, over)
        return True


SOURCE_MUTANTS: dict[type[MemorySource], str] = {
    DropsAnEntry: "test_without_a_cursor_everything_is_listed",
    PutsACursorOnEveryPage: "test_without_a_cursor_everything_is_listed",
    ForgetsTheCursor: "test_an_empty_folder_is_one_complete_page",
    WritesAHugeCursor: "test_an_empty_folder_is_one_complete_page",
    KeepsItsEpoch: "test_new_keys_come_in_a_new_epoch",
    CallsDeltasComplete: "test_a_quiet_folder_has_no_news",
    ForgetsTheGone: "test_a_deleted_message_is_told",
    TellsNaiveDates: "test_dates_are_the_messages_own",
    TellsRecent: "test_without_a_cursor_everything_is_listed",
    SpellsFlagsInCapitals: "test_flags_are_told_as_the_contract_spells_them",
    CountsWrongSizes: "test_sizes_are_those_of_the_octets",
    NamesKeysByTheSession: "test_keys_and_witnesses_are_the_same_in_the_next_session",
    ReadsAllRequestsFirst: "test_requests_of_listings_are_read_lazily",
    RaisesForAnUnknownFolder: "test_an_unknown_folder_is_unusable_and_the_others_go_on",
    IsDisturbedBetweenFolders: "test_other_methods_work_between_two_folders",
    ListsTheInboxAsTheServerDoes: "test_the_inbox_is_listed_once_under_its_own_path",
    ForgetsContainers: "test_every_folder_is_listed_once_with_its_containers",
    AnswersTwice: "test_octets_are_untouched",
    LeavesAnAnswerOut: "test_octets_are_untouched",
    LeavesTheGoneOut: "test_a_deleted_message_is_gone",
    SaysGoneUnasked: "test_a_deleted_message_is_gone",
    SetsSeen: "test_reading_changes_nothing",
    MendsLineEnds: "test_octets_are_untouched",
    StripsTheLastLineEnd: "test_octets_are_untouched",
    TakesAllRequestsOfMessages: "test_requests_of_messages_are_read_lazily",
    NeedsTheWitness: "test_a_key_alone_is_enough",
    IsLostWhenClosedEarly: "test_fetch_may_be_closed_early",
    LeavesAHeaderOut: "test_headers_tell_messages_apart_as_the_messages_do",
    GivesHalfTheHeader: "test_headers_tell_messages_apart_as_the_messages_do",
    LooksWithoutFlags: "test_look_tells_what_stands_there_now",
    LooksIntoItsMemory: "test_a_deleted_message_is_gone",
    CannotBeClosedTwice: "test_close_is_idempotent_and_never_raises",
    RaisesWhatTheSocketRaises: "test_a_lost_connection_is_transient",
    HearsNothing: "test_wait_tells_of_a_message_that_arrives",
    HearsOnlyWhatComesNow: "test_wait_tells_of_a_message_that_arrives",
    WaitsOn: "test_wait_ends_when_it_is_over",
    CallsTheEndNews: "test_wait_ends_when_it_is_over",
}


# Sinks.


class LosesAnOutcome(MemorySink):
    def append(self, batches: Iterable[Batch]) -> Outcomes:
        return (outcome for outcome in super().append(batches) if outcome.id != 11)


class AnswersAnOutcomeTwice(MemorySink):
    def append(self, batches: Iterable[Batch]) -> Outcomes:
        return chain.from_iterable((outcome, outcome) for outcome in super().append(batches))


class StoresTwice(MemorySink):
    def _append(self, deliveries: Sequence[Delivery]) -> Outcomes:
        list(super()._append(deliveries))
        return super()._append(deliveries)


class RetriesAfterALostConnection(MemorySink):
    def _append(self, deliveries: Sequence[Delivery]) -> Outcomes:
        self._lost = False
        return super()._append(deliveries)


class CallsTheUnsentStored(MemorySink):
    def _append(self, deliveries: Sequence[Delivery]) -> Outcomes:
        if self._lost:
            yield from [Stored(one.id) for one in deliveries]
        yield from super()._append(deliveries)


class LeavesTheTakenUnanswered(MemorySink):
    def _append(self, deliveries: Sequence[Delivery]) -> Outcomes:
        self._connected()
        return super()._append(deliveries)


class StoresIntoTheInbox(MemorySink):
    def _append(self, deliveries: Sequence[Delivery]) -> Outcomes:
        return super()._append([evolve(one, folder=Folder(INBOX)) for one in deliveries])


class MendsWhatItStores(MemorySink):
    def _append(self, deliveries: Sequence[Delivery]) -> Outcomes:
        return super()._append([evolve(one, octets=one.octets.replace(b"\n", b"\r\n")) for one in deliveries])


class DropsFlags(MemorySink):
    def _append(self, deliveries: Sequence[Delivery]) -> Outcomes:
        return super()._append([evolve(one, flags=one.flags - {"\\Draft"}) for one in deliveries])


class IgnoresDates(MemorySink):
    def _append(self, deliveries: Sequence[Delivery]) -> Outcomes:
        return super()._append([evolve(one, internal_date=None) for one in deliveries])


class TellsAnotherKey(MemorySink):
    def append(self, batches: Iterable[Batch]) -> Outcomes:
        for outcome in super().append(batches):
            yield evolve(outcome, key="1/1") if isinstance(outcome, Stored) else outcome


class TakesEverythingFirst(MemorySink):
    def append(self, batches: Iterable[Batch]) -> Outcomes:
        return super().append(list(batches))


class TakesAllBeforeItAnswers(MemorySink):
    def append(self, batches: Iterable[Batch]) -> Outcomes:
        yield from list(super().append(batches))


class RaisesForAMissingFolder(MemorySink):
    def append(self, batches: Iterable[Batch]) -> Outcomes:
        for outcome in super().append(batches):
            if isinstance(outcome, NotStored):
                raise outcome.error
            yield outcome


class MakesAMissingFolder(MemorySink):
    def _append(self, deliveries: Sequence[Delivery]) -> Outcomes:
        for one in deliveries:
            self.mailbox.make(one.folder.path)
        return super()._append(deliveries)


class SwallowsTheGiversError(MemorySink):
    def append(self, batches: Iterable[Batch]) -> Outcomes:
        try:
            yield from super().append(batches)
        except AlimailError as error:
            self.last_error = error


class MakesASecondFolder(MemorySink):
    def create(self, wanted: Sequence[tuple[FolderPath, SpecialUse | None]]) -> Iterator[Folder | Unusable]:
        here = {folder.path for folder in self.folders()} - {INBOX}
        return super().create(
            [((*path[:-1], path[-1] + "_") if path in here else path, use) for path, use in wanted]
        )


class EmptiesWhatItMakes(MemorySink):
    def create(self, wanted: Sequence[tuple[FolderPath, SpecialUse | None]]) -> Iterator[Folder | Unusable]:
        for path in self.mailbox.tree.keys() & {path for path, _ in wanted}:
            self.mailbox.remake(path)
        return super().create(wanted)


class RefusesNestedFolders(MemorySink):
    def create(self, wanted: Sequence[tuple[FolderPath, SpecialUse | None]]) -> Iterator[Folder | Unusable]:
        for path, use in wanted:
            missing = len(path) > 1 and path[:-1] not in self.mailbox.tree
            yield from [Unusable(path, "NO no parent")] if missing else super().create([(path, use)])


class TrimsNames(MemorySink):
    def create(self, wanted: Sequence[tuple[FolderPath, SpecialUse | None]]) -> Iterator[Folder | Unusable]:
        return super().create([(tuple(name.strip() for name in path), use) for path, use in wanted])


class ReplacesFlags(MemorySink):
    def change_flags(self, folder: Folder, changes: Sequence[FlagChange]) -> None:
        here = self.mailbox.folder(folder.path)
        for change in changes:
            if (message := here.find(change.key)) is not None:
                self.mailbox.set_flags(folder.path, message.uid, change.add)


class StumblesOverTheGone(MemorySink):
    def change_flags(self, folder: Folder, changes: Sequence[FlagChange]) -> None:
        for change in changes:
            if not list(self.look(folder, [change.key])):
                raise Transient("NO no such message")
            super().change_flags(folder, [change])


class CopiesInsteadOfMoving(MemorySink):
    def move(self, folder: Folder, keys: Sequence[str], to: Folder) -> Iterator[Moved]:
        for message in self._existing(folder, keys):
            self.mailbox.copy(folder.path, message.uid, to.path)
            yield Moved(f"1/{message.uid}", None)


class MovesOneTooMany(MemorySink):
    def move(self, folder: Folder, keys: Sequence[str], to: Folder) -> Iterator[Moved]:
        last = keys[-1].partition("/")[2]
        moved = list(super().move(folder, keys, to))
        list(super().move(folder, [f"1/{int(last) + 1}"], to))
        return iter(moved)


class ExpungesAllThatIsMarked(MemorySink):
    def remove(self, folder: Folder, keys: Sequence[str]) -> Iterator[str]:
        yield from super().remove(folder, keys)
        here = self.mailbox.folder(folder.path)
        for uid in [uid for uid, one in here.messages.items() if "\\Deleted" in one.flags]:
            self.mailbox.delete(folder.path, uid)


class AnswersWhatItDidNotRemove(MemorySink):
    def remove(self, folder: Folder, keys: Sequence[str]) -> Iterator[str]:
        list(super().remove(folder, keys))
        return iter(keys)


SINK_MUTANTS: dict[type[MemorySink], str] = {
    LosesAnOutcome: "test_each_delivery_has_one_outcome_and_one_message",
    AnswersAnOutcomeTwice: "test_each_delivery_has_one_outcome_and_one_message",
    StoresTwice: "test_each_delivery_has_one_outcome_and_one_message",
    RetriesAfterALostConnection: "test_a_connection_that_breaks_answers_all_that_was_taken",
    CallsTheUnsentStored: "test_a_connection_that_breaks_answers_all_that_was_taken",
    LeavesTheTakenUnanswered: "test_a_connection_that_breaks_answers_all_that_was_taken",
    StoresIntoTheInbox: "test_each_delivery_has_one_outcome_and_one_message",
    MendsWhatItStores: "test_odd_messages_are_stored_as_they_are_or_refused",
    DropsFlags: "test_flags_are_stored_as_far_as_the_folder_can",
    IgnoresDates: "test_dates_are_the_messages_own",
    TellsAnotherKey: "test_a_key_that_is_told_is_the_messages_key",
    TakesEverythingFirst: "test_a_stream_is_answered_before_it_ends",
    TakesAllBeforeItAnswers: "test_a_stream_is_answered_before_it_ends",
    RaisesForAMissingFolder: "test_a_missing_folder_refuses_its_messages_only",
    MakesAMissingFolder: "test_a_missing_folder_refuses_its_messages_only",
    SwallowsTheGiversError: "test_an_error_of_the_stream_of_batches_comes_through",
    MakesASecondFolder: "test_creating_twice_is_creating_once",
    EmptiesWhatItMakes: "test_creating_twice_is_creating_once",
    RefusesNestedFolders: "test_parents_are_made",
    TrimsNames: "test_names_that_the_rules_allow_are_made",
    ReplacesFlags: "test_flags_are_added_and_removed_never_replaced",
    StumblesOverTheGone: "test_flags_of_what_is_gone_are_passed_over",
    CopiesInsteadOfMoving: "test_move_moves_exactly_these",
    MovesOneTooMany: "test_move_moves_exactly_these",
    ExpungesAllThatIsMarked: "test_remove_leaves_what_others_marked_as_deleted",
    AnswersWhatItDidNotRemove: "test_remove_removes_exactly_these",
}


def name_of(value: object) -> str:
    """Name a case by its mutant alone."""
    return value.__name__ if isinstance(value, type) else "caught"


@pytest.mark.parametrize(("mutant", "test"), SOURCE_MUTANTS.items(), ids=name_of)
def test_a_source_that_breaks_its_contract_fails(
    mutant: type[MemorySource], test: str, tmp_path: Path
) -> None:
    """The named test of ``SourceContract`` tells the source from a good one."""

    class Suite(good.TestMemorySource):
        opened = mutant
        server = MemoryTraits(delta=True, page=2, tells_news=True)

    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever a broken end raises, the suite has told it
        getattr(Suite(), test)(tmp_path)
    assert not isinstance(caught.value, AttributeError | TypeError | NotImplementedError)


@pytest.mark.parametrize(("mutant", "test"), SINK_MUTANTS.items(), ids=name_of)
def test_a_sink_that_breaks_its_contract_fails(mutant: type[MemorySink], test: str, tmp_path: Path) -> None:
    """The named test of ``SinkContract`` tells the sink from a good one."""

    class Suite(good.TestMemorySink):
        opened = mutant

    with pytest.raises(Exception) as caught:  # noqa: PT011 - whatever a broken end raises, the suite has told it
        getattr(Suite(), test)(tmp_path)
    assert not isinstance(caught.value, AttributeError | TypeError | NotImplementedError)
