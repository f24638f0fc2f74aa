"""Many accounts side by side, and one server that bears few: each of them gets its turn."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from attrs import Factory, define

from alimail_core.errors import Throttled
from alimail_core.governor import Governor
from alimail_core.model import Entry, Folder, Gone, Message, Traits, Unreadable
from alimail_core.seam import Stop
from alimail_core.testing.clock import FakeClock
from alimail_core.testing.memory import MemoryMailbox, MemorySource
from tests.organisation import Organisation, message

pytestmark = pytest.mark.slow

ACCOUNTS = 200
MESSAGES = 4
BEARS = 6
"""Sessions that the server bears at once; it says so to nobody."""
AT_ONCE = 3
"""Messages that it gives in one session."""


@define
class Crowded:
    """A server that sends away who is one too many, and keeps a record of who was let in."""

    inside: set[int] = Factory(set)
    most: int = 0
    entered: list[str] = Factory(list)
    sent_away: Counter[str] = Factory(Counter)
    lock: threading.Lock = Factory(threading.Lock)

    def enter(self, session: int, name: str) -> None:
        """Let a session in, or send it away for a time."""
        with self.lock:
            if len(self.inside) >= BEARS:
                self.sent_away[name] += 1
                raise Throttled("NO [LIMIT] too many connections", retry_after=20.0)
            self.inside.add(session)
            self.most = max(self.most, len(self.inside))
            self.entered.append(name)

    def leave(self, session: int) -> None:
        """Let a session go."""
        with self.lock:
            self.inside.discard(session)


class Throttling(MemorySource):
    """A source on the crowded server, which gives few messages in one session."""

    def __init__(self, mailbox: MemoryMailbox, server: Crowded, name: str) -> None:
        super().__init__(mailbox)
        self._server = server
        self._given = 0
        server.enter(id(self), name)

    @property
    def traits(self) -> Traits:
        """Name the server."""
        return Traits(host="old.example")

    def fetch(
        self, requests: Iterable[tuple[Folder, Sequence[Entry]]]
    ) -> Iterator[Message | Gone | Unreadable]:
        """Give some, and ask to come again later."""
        for answer in super().fetch(requests):
            if self._given == AT_ONCE:
                raise Throttled("BYE slower", retry_after=5.0)
            self._given += 1
            time.sleep(0.002)  # so that others come while it is inside
            yield answer

    def close(self) -> None:
        """Leave."""
        self._server.leave(id(self))
        super().close()


def lead(turns: Sequence[object], everybody: Iterable[object]) -> int:
    """Return how many turns somebody had had more than somebody else, at the worst."""
    had, worst = Counter(dict.fromkeys(everybody, 0)), 0
    for who in turns:
        had[who] += 1
        worst = max(worst, had[who] - min(had.values()))
    return worst


def test_who_waits_goes_in_turn() -> None:
    """Two hundred that ask again and again for six slots have had as many turns as each other, at any moment."""
    slots = Governor(FakeClock(), Stop())
    slots.take(["server"])
    slots.learn("server", Traits(max_connections=BEARS))
    for _ in range(BEARS - 1):
        slots.take(["server"])
    turns: list[int] = []
    asking = threading.Barrier(ACCOUNTS + 1)

    def account(number: int) -> None:
        asking.wait()
        for _ in range(5):
            slots.take(["server"])
            turns.append(number)
            time.sleep(0.001)
            slots.give_back("server")

    with ThreadPoolExecutor(ACCOUNTS) as pool:
        done = [pool.submit(account, number) for number in range(ACCOUNTS)]
        asking.wait()
        while len(slots.waiting) < ACCOUNTS:  # else who asks late is not behind by anybody's fault
            time.sleep(0.01)
        for _ in range(BEARS):
            slots.give_back("server")
    assert [each.result() for each in done] == [None] * ACCOUNTS
    assert lead(turns, range(ACCOUNTS)) <= 2


def test_a_full_server_holds_up_nobody_who_has_another() -> None:
    """Who is first in the queue and whose target has no room leaves the source to those behind."""
    slots = Governor(FakeClock(), Stop())
    for name, most in (("source", 3), ("full", 1), ("free", 3)):
        slots.take([name])
        slots.learn(name, Traits(max_connections=most))
        slots.give_back(name)
    slots.take(["full"])
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(slots.take, ["source", "full"])
        while not slots.waiting:
            time.sleep(0.01)
        pool.submit(slots.take, ["source", "free"]).result(timeout=30)
        assert not first.done()
        slots.give_back("full")
        first.result(timeout=30)


def test_many_accounts_on_a_server_that_throttles(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    """All of them end in one run: nobody fails for the others' sake, and each message is there once.

    Two hundred of them with ``--long``, else fewer: what costs is not the waiting but the passes.
    """
    names = [f"user{number}" for number in range(ACCOUNTS if pytestconfig.getoption("--long") else 40)]
    office = Organisation(tmp_path, names, workers=len(names))
    server = Crowded()
    office.wrap_source = lambda name, _: Throttling(office.sources[name], server, name)
    for name in names:
        office.give(name, *(message(f"{name} {number}") for number in range(MESSAGES)))
    with office.migration() as migration:
        summary = migration.run()
    assert Counter(each.state for each in summary.accounts) == {"done": len(names)}
    for name in names:
        assert office.targets[name].everything() == office.sources[name].everything()
    assert server.sent_away, "the server was crowded"
    assert server.most <= BEARS
