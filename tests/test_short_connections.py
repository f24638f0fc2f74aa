"""Connections that end after a little work: what each achieves stays achieved, so that a pass comes to its end."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import ClassVar

import pytest
from attrs import evolve

from alimail_core.contract import Source
from alimail_core.errors import InDoubt, Refused, Throttled, Transient
from alimail_core.model import (
    INBOX,
    Batch,
    Changes,
    Cursor,
    Entry,
    FlagChange,
    Folder,
    Gone,
    Message,
    NotStored,
    Stored,
    Unreadable,
    Unusable,
)
from alimail_core.testing.faults import Countdown, FaultKind
from alimail_core.testing.mail import message
from alimail_core.testing.memory import MemoryMailbox, MemorySink, MemorySource, MemoryTraits
from tests.harness import IN_TURN, World

FOLDERS = 9
COMMANDS = 4
"""What a connection bears: a few folders listed, or one that is listed and read."""

Requests = Iterable[tuple[Folder, Cursor | None]]


class Short(MemorySource):
    """A side whose connection ends after so many commands, or that asks for time then."""

    end: ClassVar[Transient]

    def __init__(self, mailbox: MemoryMailbox) -> None:
        super().__init__(mailbox)
        self._left = COMMANDS

    def _spend(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise self.end

    def changes(self, requests: Requests) -> Iterator[Changes | Unusable]:
        for one in requests:
            self._spend()
            yield from super().changes([one])


class ShortSource(Short):
    """A source like that."""

    def fetch(
        self, requests: Iterable[tuple[Folder, Sequence[Entry]]]
    ) -> Iterator[Message | Gone | Unreadable]:
        for one in requests:
            self._spend()
            yield from super().fetch([one])


class ShortSink(Short, MemorySink):
    """A sink like that."""

    def append(self, batches: Iterable[Batch]) -> Iterator[Stored | NotStored]:
        for batch in batches:
            try:
                self._spend()
            except Transient:
                yield from [NotStored(each.id, Transient("not sent")) for each in batch]
                raise
            yield from super().append([batch])

    def change_flags(self, folder: Folder, changes: Sequence[FlagChange]) -> None:
        self._spend()
        super().change_flags(folder, changes)


class ShortWorld(World):
    """A world whose source is short of breath."""

    def _open_source(self) -> Source:
        return ShortSource(self.source)


def fill(world: World, subject: str = "first") -> None:
    """Put one message into each folder."""
    for number in range(FOLDERS):
        world.source.deliver((f"Folder {number}",), message(f"{subject} {number}"))


ends = pytest.mark.parametrize("end", [Transient("the server closed the connection"), Throttled("slower")])


@ends
def test_a_source_that_ends_each_connection_after_some_commands(
    end: Transient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was listed is not listed again: a first pass, and one that must list all before it writes, end."""
    monkeypatch.setattr(Short, "end", end, raising=False)
    world = ShortWorld()
    fill(world)
    assert world.run().state == "done"
    fill(world, "second")
    assert world.run().copied == FOLDERS
    assert world.target.contents() == world.source.contents()
    world.assert_settled()


@ends
def test_a_target_that_ends_each_connection_after_some_commands(
    end: Transient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One folder after another is looked at, written to, read back, and given its flags."""
    monkeypatch.setattr(Short, "end", end, raising=False)
    world = World()
    fill(world)
    assert world.run(sink=ShortSink).state == "done"
    fill(world, "second")
    for number in range(FOLDERS):
        world.source.set_flags((f"Folder {number}",), 1, frozenset({"\\Seen"}))
    assert world.run(sink=ShortSink).state == "done"
    assert world.target.contents() == world.source.contents()
    world.assert_settled()


@ends
def test_a_refill_of_a_target_that_ends_each_connection_after_some_commands(
    end: Transient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where something was looked at, it is not looked at again; what is refused is offered once."""
    monkeypatch.setattr(Short, "end", end, raising=False)
    never = Refused("NO [CANNOT] not me")
    world = World(target=MemoryTraits(refuse=lambda octets: never if b"evil" in octets else None))
    fill(world)
    world.source.deliver(("Folder 0",), message("evil"))
    assert world.run().problems == 1
    for number in range(FOLDERS):
        world.target.delete((f"Folder {number}",), 1)
    summary = world.run(sink=ShortSink, refill=True)
    assert (summary.state, summary.copied, summary.problems) == ("problems", FOLDERS, 1)
    world.source.delete(("Folder 0",), 2)
    assert world.target.contents() == world.source.contents()
    world.assert_settled()


@ends
@pytest.mark.parametrize("moved", [False, True])
def test_what_an_earlier_run_left_in_doubt_in_more_folders_than_a_connection_can_look_at(
    moved: bool, end: Transient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them are looked at, over several connections, before anything is sent again."""
    monkeypatch.setattr(Short, "end", end, raising=False)
    world = World()
    fill(world)
    kind = FaultKind.KILLED_AFTER if moved else FaultKind.KILLED_BEFORE
    world.run_faulty(Countdown(at=1, kind=kind, only="append"))
    assert world.states()["SENT"] == FOLDERS
    if moved:
        for number in range(FOLDERS):
            world.target.move((f"Folder {number}",), 1, (f"Folder {(number + 1) % FOLDERS}",))
    summary = world.run(sink=ShortSink)
    assert (summary.state, summary.copied) == ("done", FOLDERS)
    assert world.target.everything() == world.source.everything()
    world.assert_settled()


class Hasty(MemorySink):
    """A sink that takes sixteen batches at once, and whose connection ends when two of them are stored."""

    def append(self, batches: Iterable[Batch]) -> Iterator[Stored | NotStored]:
        coming = iter(batches)
        while taken := list(islice(coming, 16)):
            yield from super().append(taken[:2])
            for each in chain.from_iterable(taken[2:]):
                yield NotStored(each.id, InDoubt("no answer: the server closed the connection"))
            if taken[2:]:
                raise Transient("the server closed the connection")


def test_no_message_is_accused_of_the_end_of_a_connection_that_it_shared() -> None:
    """A message that was under way whenever a connection ended is sent alone in the end, and arrives."""
    world = World(options=evolve(IN_TURN, batch_messages=1))
    for number in range(30):
        world.source.deliver(INBOX, message(f"number {number}"))
    summary = world.run(sink=Hasty)
    assert (summary.state, summary.copied, summary.problems) == ("done", 30, 0)
    world.assert_settled()


@pytest.mark.parametrize("error", [Throttled("slower"), None])
def test_a_server_that_asks_for_time_is_not_asked_for_one_message_at_a_time(error: Transient | None) -> None:
    """That would ask more of it. A connection that dies again and again at its work is another matter."""
    world = World()
    asked: list[int] = []
    for number in range(9):
        world.source.deliver(INBOX, message(f"number {number}"))

    class Busy(MemorySource):
        def fetch(
            self, requests: Iterable[tuple[Folder, Sequence[Entry]]]
        ) -> Iterator[Message | Gone | Unreadable]:
            for folder, entries in requests:
                asked.append(len(entries))
                if len(asked) < 4:
                    raise error or Transient("the connection was lost")
                yield from super().fetch([(folder, entries)])

    world._open_source = lambda: Busy(world.source)  # type: ignore[method-assign]
    assert world.run().state == "done"
    assert asked[3:] == ([9] if error else [1] * 9)
