"""A first pass asks both sides what is in their folders while the target makes others; whatever happens then."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import pytest

from alimail_core.contract import Source
from alimail_core.errors import Transient
from alimail_core.messages import MessageFilter
from alimail_core.model import INBOX, Changes, Cursor, Folder, FolderPath, SpecialUse, Unusable
from alimail_core.options import TransferOptions
from alimail_core.seam import Stop
from alimail_core.testing.faults import FaultKind, countdowns
from alimail_core.testing.mail import message
from alimail_core.testing.memory import MemorySink, MemorySource, MemoryTraits
from alimail_core.transfer import listing, state
from alimail_core.units import Octets
from tests.harness import World

AHEAD = TransferOptions()
WORK: FolderPath = ("Work",)
MINE = message(subject="delivered to the new system already", message_id="mine@example.org")


def office(*, target: MemoryTraits | None = None, each: int = 3) -> World:
    """Make a source with mail in two folders, of which the target has one, and another's message in it."""
    world = World(target=target, options=AHEAD)
    for path in (INBOX, WORK):
        for number in range(each):
            name = f"{path[0]}-{number}"
            world.source.deliver(path, message(subject=name, message_id=f"{name}@example.org"))
    world.target.deliver(INBOX, MINE)
    return world


def assert_complete(world: World) -> None:
    """The target has what the source has, each once, beside what was there; a second pass writes nothing."""
    expected = world.source.everything()
    expected[MINE] += 1
    assert world.target.everything() == expected
    world.assert_settled()


class Asked:
    """Notes which folders each side was asked for, call by call."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.source: list[list[FolderPath]] = []
        self.sink: list[list[FolderPath]] = []
        changes = MemorySource.changes

        def noted(
            side: MemorySource, requests: Iterable[tuple[Folder, Cursor | None]]
        ) -> Iterator[Changes | Unusable]:
            here = list(requests)
            calls = self.sink if isinstance(side, MemorySink) else self.source
            calls.append([folder.path for folder, _ in here])
            return changes(side, here)

        monkeypatch.setattr(MemorySource, "changes", noted)


def _in_order(
    wanted: Sequence[tuple[FolderPath, SpecialUse | None]], made: Iterable[Folder | Unusable]
) -> Iterator[Folder | Unusable]:
    by_path = {each.path: each for each in made}
    return (by_path[path] for path, _ in wanted)


def test_the_source_is_listed_while_the_target_makes_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    """The target answers only once the source was asked; each side is asked once before anything is written."""
    asked, source_asked = Asked(monkeypatch), threading.Event()
    changes, create = MemorySource.changes, MemorySink.create

    def tell(
        side: MemorySource, requests: Iterable[tuple[Folder, Cursor | None]]
    ) -> Iterator[Changes | Unusable]:
        if not isinstance(side, MemorySink):
            source_asked.set()
        return changes(side, requests)

    def wait(
        sink: MemorySink, wanted: Sequence[tuple[FolderPath, SpecialUse | None]]
    ) -> Iterator[Folder | Unusable]:
        assert source_asked.wait(60)
        return create(sink, wanted)

    monkeypatch.setattr(MemorySource, "changes", tell)
    monkeypatch.setattr(MemorySink, "create", wait)
    world = office()
    assert world.run().state == "done"
    assert [each for each in asked.source if each] == [[INBOX, WORK]]
    assert [each for each in asked.sink if each] == [[INBOX, WORK]] * 2  # before, and to read back
    assert_complete(world)


@pytest.mark.parametrize(("held", "pages"), [(1, 1), (2, 1), (3, 2), (5_000, 5)])
def test_so_much_is_heard_ahead_and_the_rest_in_its_time(
    held: int, pages: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "_AHEAD", held)
    ask, listed = state.Pass.ask_ahead, Counter[str]()
    changes = MemorySource.changes

    def ask_and_count(p: state.Pass, side: Source, folders: Sequence[Folder], _: object) -> None:
        ask(p, side, folders)  # the other side is always too slow
        assert listed[type(side).__name__] == pages

    def count(
        side: MemorySource, requests: Iterable[tuple[Folder, Cursor | None]]
    ) -> Iterator[Changes | Unusable]:
        for page in changes(side, requests):
            listed[type(side).__name__] += 1
            yield page

    world = World(source=MemoryTraits(page=2), target=MemoryTraits(page=2, uidplus=False), options=AHEAD)
    for number in range(9):
        octets = message(subject=str(number), message_id=f"{number}@example.org")
        world.source.deliver(INBOX, octets)
        world.target.deliver(INBOX, octets if number % 2 else message(subject=f"other {number}"))
    others = world.target.everything() - world.source.everything()
    monkeypatch.setattr(state.Pass, "ask_ahead", ask_and_count)
    monkeypatch.setattr(MemorySource, "changes", count)
    summary = world.run(sink=MemorySink)
    assert (summary.state, summary.copied, summary.adopted) == ("done", 5, 4)
    assert world.target.everything() == world.source.everything() + others
    world.assert_settled()


def test_what_was_not_asked_ahead_is_asked_in_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a folder cannot be made, another one moves up into the part that is listed first."""
    world, last = office(), ("Zoo",)
    world.source.deliver(last, message(subject="last", message_id="last@example.org"))
    create, asked = MemorySink.create, Asked(monkeypatch)

    def refuse_work(
        sink: MemorySink, wanted: Sequence[tuple[FolderPath, SpecialUse | None]]
    ) -> Iterator[Folder | Unusable]:
        yield from create(sink, [each for each in wanted if each[0] != WORK])
        yield Unusable(WORK, "NO not now")

    monkeypatch.setattr(listing, "_PART", 6)
    monkeypatch.setattr(
        MemorySink, "create", lambda sink, wanted: _in_order(wanted, refuse_work(sink, wanted))
    )
    summary = world.run()
    assert (summary.state, summary.copied, summary.problems) == ("problems", 4, 1)
    assert [each for each in asked.source if each] == [[INBOX, WORK], [last]]
    monkeypatch.setattr(MemorySink, "create", create)
    assert world.run().state == "done"
    assert_complete(world)


def test_a_target_folder_that_nothing_goes_to_is_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither where its source is empty, nor to the end where what is there is left out by wish."""
    listed = Counter[FolderPath]()
    changes = MemorySource.changes

    def count(
        side: MemorySource, requests: Iterable[tuple[Folder, Cursor | None]]
    ) -> Iterator[Changes | Unusable]:
        for page in changes(side, requests):
            if isinstance(side, MemorySink) and isinstance(page, Changes):
                listed[page.folder.path] += len(page.entries)
            yield page

    monkeypatch.setattr(MemorySource, "changes", count)
    monkeypatch.setattr(state, "_AHEAD", 2)
    world = World(target=MemoryTraits(page=2), options=AHEAD)
    world.source.make(WORK)
    world.source.deliver(INBOX, message(subject="large", body="x" * 5_000))
    world.messages = MessageFilter(smaller=Octets(1_000))
    for path in (INBOX, WORK):
        for number in range(20):
            world.target.deliver(path, message(subject=f"{number}"))
    assert world.run().state == "done"
    assert listed == {INBOX: 2}


def test_a_wish_to_stop_is_heard_between_two_pages() -> None:
    world = office()
    stopped_at = Counter[str]()

    class Slow(MemorySink):
        def changes(self, requests: Iterable[tuple[Folder, Cursor | None]]) -> Iterator[Changes | Unusable]:
            for page in super().changes(requests):
                world.stop.set()
                stopped_at["pages"] += 1
                yield page

    assert world.run(sink=Slow).state == "stopped"
    assert stopped_at["pages"] == 1
    world.stop = Stop()
    assert world.run().state == "done"
    assert_complete(world)


def test_a_bug_is_not_hidden_by_what_the_other_side_says(monkeypatch: pytest.MonkeyPatch) -> None:
    making = threading.Event()

    def fail(sink: MemorySink, wanted: object) -> Iterator[Folder | Unusable]:
        making.set()
        raise ZeroDivisionError

    def lose(side: MemorySource, requests: object) -> Iterator[Changes | Unusable]:
        assert making.wait(60)
        raise Transient("connection lost")

    monkeypatch.setattr(MemorySink, "create", fail)
    monkeypatch.setattr(MemorySource, "changes", lose)
    with pytest.raises(ZeroDivisionError):
        office().run()


def test_a_folder_that_cannot_be_made_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its mail was listed already; that is not taken in, and comes with the pass in which the folder is there."""
    create = MemorySink.create

    def refuse(
        sink: MemorySink, wanted: Sequence[tuple[FolderPath, SpecialUse | None]]
    ) -> Iterator[Folder | Unusable]:
        return (Unusable(path, "NO not now") for path, _ in wanted)

    world = office()
    monkeypatch.setattr(MemorySink, "create", refuse)
    summary = world.run()
    assert (summary.state, summary.copied, summary.problems) == ("problems", 3, 1)
    monkeypatch.setattr(MemorySink, "create", create)
    assert world.run().state == "done"
    assert_complete(world)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [FaultKind.BEFORE, FaultKind.AFTER, FaultKind.KILLED_BEFORE])
def test_whatever_fails_meanwhile_each_message_is_there_once(kind: FaultKind) -> None:
    for plan in countdowns(kind):
        world = office(target=MemoryTraits(uidplus=False), each=1)
        world.run_faulty(plan)
        assert world.run().state == "done", plan
        assert_complete(world)
