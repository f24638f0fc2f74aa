"""A first pass asks both sides what is in their folders while the target makes others; whatever happens then."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence

import pytest

from alimail_core.model import INBOX, Changes, Cursor, Folder, FolderPath, SpecialUse, Unusable
from alimail_core.options import TransferOptions
from alimail_core.testing.faults import FaultKind, countdowns
from alimail_core.testing.mail import message
from alimail_core.testing.memory import MemorySink, MemorySource, MemoryTraits
from alimail_core.transfer import state
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


@pytest.mark.parametrize("held", [1, 2, 5])
def test_what_was_not_heard_ahead_is_heard_in_its_time(held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of both sides so much is heard ahead and no more; the pages after that are not lost."""
    monkeypatch.setattr(state, "_AHEAD", held)
    world = World(source=MemoryTraits(page=2), target=MemoryTraits(page=2, uidplus=False), options=AHEAD)
    for number in range(9):
        octets = message(subject=str(number), message_id=f"{number}@example.org")
        world.source.deliver(INBOX, octets)
        if number % 2:
            world.target.deliver(INBOX, octets)
    world.target.deliver(INBOX, MINE)
    summary = world.run()
    assert (summary.state, summary.copied, summary.adopted) == ("done", 5, 4)
    assert_complete(world)


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
