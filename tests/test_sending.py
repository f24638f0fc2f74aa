"""What can be seen of a batch while it is on its way, and how much memory it takes."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from attrs import evolve

from alimail_core.contract import Sink, Source
from alimail_core.errors import Refused
from alimail_core.events import BatchSettled, Event
from alimail_core.model import INBOX, Delivery, Message, NotStored, Stored
from tests.organisation import Organisation, message


def slow_down(monkeypatch: pytest.MonkeyPatch, office: Organisation, seconds: float) -> None:
    """Let each message take the target so many seconds."""

    def wrap(_: str, sink: Sink) -> Sink:
        append = sink.append

        def slowly(batches: Iterable[list[Delivery]]) -> Iterator[Stored | NotStored]:
            for outcome in append(batches):
                office.clock.advance(seconds)
                yield outcome

        monkeypatch.setattr(sink, "append", slowly)
        return sink

    office.wrap_sink = wrap


WORK = ("Work",)


@pytest.mark.parametrize(("seconds", "seen"), [(0.6, [2, 2, 1]), (5.0, [1, 1, 1, 1, 1]), (0.0, [5])])
def test_slow_batch_is_seen_to_move(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, seen: list[int]
) -> None:
    """On a slow target, progress and ledger know of messages about every second; on a quick one, by the batch."""
    office = Organisation(tmp_path)
    office.give("anna", *(message(f"Message {number}") for number in range(5)))
    slow_down(monkeypatch, office, seconds)
    in_ledger: list[int] = []

    def look(event: Event) -> None:
        if isinstance(event, BatchSettled):
            in_ledger.append(next(iter(migration.status())).settled_messages)

    migration = office.migration(look)
    with migration:
        migration.run()
    assert [event.copied for event in office.events if isinstance(event, BatchSettled)] == seen
    assert in_ledger == [sum(seen[: count + 1]) for count in range(len(seen))]


def lose(monkeypatch: pytest.MonkeyPatch, office: Organisation, *, keyed: bool) -> None:
    """Let the target keep only the first of the messages that it says it has."""

    def wrap(_: str, sink: Sink) -> Sink:
        append, mailbox = sink.append, office.targets["anna"]

        def losing(batches: Iterable[list[Delivery]]) -> Iterator[Stored | NotStored]:
            for outcome in append(batches):
                assert isinstance(outcome, Stored)
                for uid in mailbox.uids(INBOX)[1:]:
                    mailbox.delete(INBOX, uid)
                yield outcome if keyed else evolve(outcome, key=None)

        monkeypatch.setattr(sink, "append", losing)
        return sink

    office.wrap_sink = wrap


@pytest.mark.parametrize("keyed", [True, False])
def test_what_the_target_says_that_it_stored_and_does_not_show_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keyed: bool
) -> None:
    """It is not all there: each is a problem until it is found, or copied again by wish."""
    office = Organisation(tmp_path)
    office.give("anna", *(message(f"Message {number}") for number in range(3)))
    lose(monkeypatch, office, keyed=keyed)
    with office.migration() as migration:
        [first] = migration.run().accounts
        assert (first.state, first.copied, first.problems) == ("problems", 3, 2)
        office.wrap_sink = lambda _, sink: sink
        assert migration.run().accounts[0].problems == 2
        assert migration.run(refill=True).exit_code == 0
    assert office.targets["anna"].everything() == office.sources["anna"].everything()


@pytest.mark.parametrize(("times", "problems"), [(1, 0), (99, 1)])
def test_a_folder_that_is_not_there_is_made_again_and_not_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, times: int, problems: int
) -> None:
    """It is no message's fault; and where it helps nothing, the other folders are carried all the same."""
    office = Organisation(tmp_path)
    office.give("anna", message("One"))
    office.sources["anna"].deliver(WORK, message("Two"))
    refused: list[Delivery] = []

    def wrap(_: str, sink: Sink) -> Sink:
        append = sink.append

        def refusing(batches: Iterable[list[Delivery]]) -> Iterator[Stored | NotStored]:
            for batch in batches:
                here = [each for each in batch if each.folder.path == INBOX or len(refused) >= times]
                for each in batch:
                    if each not in here:
                        refused.append(each)
                        yield NotStored(each.id, Refused("NO [TRYCREATE] no such mailbox", about="folder"))
                yield from append([here])

        monkeypatch.setattr(sink, "append", refusing)
        return sink

    office.wrap_sink = wrap
    with office.migration() as migration:
        [summary] = migration.run().accounts
    assert (summary.copied, summary.problems) == (2 - problems, problems)
    assert len(refused) < 6


def test_a_folder_that_is_made_again_within_a_pass_has_none_of_our_keys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its UIDVALIDITY is the old one and its UIDs begin anew: nobody's key is taken for another's."""
    office = Organisation(tmp_path)
    office.give("anna", message("Inbox"))
    for number in range(4):
        office.sources["anna"].deliver(WORK, message(f"Message {number}"))
    target, stored = office.targets["anna"], list[int]()

    def wrap(_: str, sink: Sink) -> Sink:
        append = sink.append

        def deleting(batches: Iterable[list[Delivery]]) -> Iterator[Stored | NotStored]:
            for each in (each for batch in batches for each in batch):
                if len(stored) == 3:  # one of them in the inbox
                    target.remove_folder(WORK)
                stored.append(each.id)
                if WORK in target.tree:
                    yield from append([[each]])
                else:
                    yield NotStored(each.id, Refused("NO [TRYCREATE] no such mailbox", about="folder"))

        monkeypatch.setattr(sink, "append", deleting)
        return sink

    office.wrap_sink = wrap
    with office.migration() as migration:
        [first] = migration.run().accounts
        assert (first.state, first.problems) == ("problems", 2)
        office.wrap_sink = lambda _, sink: sink
        assert migration.run(refill=True).exit_code == 0
    assert target.everything() == office.sources["anna"].everything()


LARGE = 10_000_000


def fetch_large(_: str, source: Source) -> Source:
    """Let a source make large messages of small ones, each when it is asked for."""
    fetch = source.fetch

    def grown(requests: object) -> Iterator[object]:
        for answer in fetch(requests):  # type: ignore[arg-type]
            assert isinstance(answer, Message)
            yield evolve(answer, octets=answer.octets.ljust(LARGE, b"x"))

    source.fetch = grown  # type: ignore[method-assign,assignment]
    return source


def store_small(_: str, sink: Sink) -> Sink:
    """Let a sink keep of each message its beginning alone."""
    append = sink.append

    def shrunk(batches: Iterable[list[Delivery]]) -> Iterator[Stored | NotStored]:
        for batch in batches:
            small = [evolve(delivery, octets=delivery.octets[:200]) for delivery in batch]
            del batch
            yield from append([small])

    sink.append = shrunk  # type: ignore[method-assign,assignment]
    return sink


@pytest.mark.slow
def test_of_large_messages_one_is_sent_and_one_is_read_meanwhile(tmp_path: Path) -> None:
    """However many there are, no third one is in memory."""
    office = Organisation(tmp_path)
    office.give("anna", *(message(f"Message {number}") for number in range(8)))
    office.wrap_source, office.wrap_sink = fetch_large, store_small
    options = evolve(office.spec.options, read_ahead_octets=LARGE // 2, batch_octets=LARGE // 2)
    with office.migration(options=options) as migration:
        tracemalloc.start()
        try:
            [summary] = migration.run().accounts
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert (summary.state, summary.copied) == ("done", 8)
    assert peak < 2.8 * LARGE, f"{peak / LARGE:.2f} times a message at once"
