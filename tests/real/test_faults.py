"""Faults between the engine and real servers: at any operation, at any octet, and with the power."""

from __future__ import annotations

import random
import shutil
import sqlite3
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, ClassVar, Never

import pytest
from attrs import define, field

from alimail_core.events import Event, Waiting
from alimail_core.model import INBOX
from alimail_core.options import TransferOptions
from alimail_core.testing.clock import FakeClock
from alimail_core.testing.faultproxy import FaultProxy, Moment, WireFault
from alimail_core.testing.faults import Countdown, FaultKind, Killed
from alimail_core.testing.mail import message
from alimail_core.testing.proxy import DelayProxy, Session
from alimail_core.testing.servers import Dovecot
from alimail_core.testing.streams import Item, Line
from tests.real.bench import (
    PROJECTS,
    Bench,
    Place,
    Server,
    assert_all_there,
    assert_claims,
    assert_written_once,
    fill,
)
from tests.strikes import strikes

pytestmark = pytest.mark.server

TARGETS = ("rich", "alibaba")
KILLED = [kind for kind in FaultKind if kind.kills]
KINDS = [kind for kind in FaultKind if kind not in (FaultKind.MEDDLED, FaultKind.THROTTLED)]

Start = Callable[[str], Server]


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Start:
    """Give the whole run's target of a kind; an Alibaba Mail is not started for those who do not ask."""
    names = {"rich": "target_server", "alibaba": "alibaba_server"}
    return lambda kind: request.getfixturevalue(names[kind])


# at any operation


@pytest.mark.timeout(1800)  # with --long some forty runs on real servers
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name.lower())
def test_struck_at_any_operation(
    kind: FaultKind,
    target: str,
    request: pytest.FixtureRequest,
    source_server: Dovecot,
    server: Start,
    tmp_path: Path,
) -> None:
    """A pass that is struck at any operation ends complete, in the next pass at the latest, all written once."""
    source = nine(source_server)
    unharmed = strike(small(source, server(target), tmp_path / "ledger"), sys.maxsize, kind)
    for at in strikes(request, kind, unharmed.operations):
        assert strike(small(source, server(target), tmp_path / f"{at}.ledger"), at, kind).fired


def strike(bench: Bench, at: int, kind: FaultKind) -> Countdown:
    """Make a struck pass and an unharmed one, and see that all is there, written once; return what was counted."""
    plan = Countdown(at, kind, clock=bench.clock)  # type: ignore[arg-type]
    run_until_killed(bench, plan)
    bench.run()
    plan.finish_late()
    bench.assert_complete()
    assert_written_once(bench.target)
    return plan


def nine(source_server: Dovecot) -> Place:
    """Fill a source with nine messages, three of them identical, in two folders."""
    source = Place.at(source_server, "old")
    for number in range(3):
        source.deliver(INBOX, message(f"inbox {number}", message_id=f"{number}@x"), flags=["\\Seen"])
        source.deliver(PROJECTS, message(f"work {number}", message_id=f"w{number}@x"), days=200)
        source.deliver(PROJECTS, message("thrice", message_id=None))
    return source


def small(source: Place, target_server: Server, ledger: Path) -> Bench:
    """Carry a source in batches of two, in turn; nobody waits."""
    options = TransferOptions(batch_messages=2, read_ahead_octets=0)
    return Bench(source, Place.at(target_server, "new"), ledger, FakeClock(), options)


def run_until_killed(bench: Bench, plan: Countdown) -> None:
    """Make a pass that the plan may end at once."""
    try:
        bench.run(plan)
    except Killed:
        assert plan.dead


# with the power


@define
class PowerLoss(Countdown):
    """A process that dies with its machine: what the ledger had not synced may be lost, in part or all of it."""

    ledger: Path = field(kw_only=True)
    draw: random.Random = field(kw_only=True)
    sending: bool = field(kw_only=True)
    """Count only batches: the server has, or gets, what the disk may not know of."""

    def next(self, operation: str) -> FaultKind | None:
        """Count an operation where it counts."""
        if self.sending and operation != "append" and not self.dead:
            return None
        return super().next(operation)

    def synced(self) -> None:
        """Keep what is on the disk for certain."""
        for file in self._files:
            if file.exists():
                shutil.copy(file, self._kept(file))

    def fail(self, kind: FaultKind, operation: str) -> Never:
        """Die; the disk may have got any part of what was written since the last sync, beginning with the first."""
        log, certain = self._files[1], self._kept(self._files[1])
        if log.exists() and certain.exists() and self.draw.random() < 0.5:
            now, then = log.read_bytes(), certain.read_bytes()
            if now.startswith(then):
                certain.write_bytes(now[: self.draw.randint(len(then), len(now))])
        super().fail(kind, operation)

    def put_back(self) -> None:
        """Start the machine again: the ledger is what the disk has."""
        for file in (*self._files, self.ledger.with_name(self.ledger.name + "-shm")):
            file.unlink(missing_ok=True)
        for file in self._files:
            if self._kept(file).exists():
                shutil.copy(self._kept(file), file)
        if self.ledger.exists():
            # The process that held the lease was one of an earlier boot.
            with closing(sqlite3.connect(self.ledger, isolation_level=None)) as connection:
                connection.execute(
                    "UPDATE account SET owner = ?", ('{"boot": "earlier", "pid": 1, "start": "1"}',)
                )

    @property
    def _files(self) -> tuple[Path, Path]:
        return self.ledger, self.ledger.with_name(self.ledger.name + "-wal")

    @staticmethod
    def _kept(file: Path) -> Path:
        return file.with_name("disk." + file.name)


@pytest.mark.long
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("seed", range(15))
def test_power_loss(seed: int, target: str, source_server: Dovecot, server: Start, tmp_path: Path) -> None:
    """With the ledger's unsynced tail lost twice, in two passes, nothing is lost and nothing written again."""
    draw = random.Random(f"power {seed}")
    bench = small(nine(source_server), server(target), tmp_path / "power.ledger")
    fill(bench.source, seed, 30, odd=False)
    plans = []
    for _ in range(2):
        sending = draw.random() < 0.7
        plan = PowerLoss(
            draw.randint(1, 20 if sending else 70),
            draw.choice([FaultKind.KILLED_LATE, FaultKind.KILLED_LATE, *KILLED]),
            clock=bench.clock,  # type: ignore[arg-type]
            ledger=bench.ledger,
            draw=draw,
            sending=sending,
        )
        plans.append(plan)
        bench.on_sync = plan.synced
        run_until_killed(bench, plan)
        plan.put_back()
        bench.source.deliver(INBOX, message(f"later {seed}", message_id=None))
    bench.run()
    for plan in plans:
        plan.finish_late()
    bench.assert_complete()
    assert_written_once(bench.target)
    assert_claims(bench.ledger, bench.source.on_disk())


# after the connection


def behind(proxy: DelayProxy, target_server: Server, name: str) -> Place:
    """Take a mailbox that is reached by way of a proxy."""
    return Place.at(target_server, name, proxy.port)


@pytest.fixture
def way(server: Start) -> Iterator[Callable[[str], tuple[Server, FaultProxy]]]:
    """Give a target of a kind and the proxy that leads to it."""
    with ExitStack() as stack:

        def start(kind: str) -> tuple[Server, FaultProxy]:
            target = server(kind)
            return target, stack.enter_context(FaultProxy((target.host, target.imap_port)))

        yield start


Way = Callable[[str], tuple[Server, FaultProxy]]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("number", [1, 2])
def test_an_append_that_is_finished_after_its_connection_died(
    target: str, number: int, source_server: Dovecot, way: Way, tmp_path: Path
) -> None:
    """While the settle time runs, the server stores what it was sent before: it is found, and not sent again."""
    target_server, proxy = way(target)
    # The settle time passes while the engine waits, and not while a busy machine connects anew.
    bench = Bench(
        Place.at(source_server, "old"), behind(proxy, target_server, "new"), tmp_path / "l", FakeClock()
    )
    fill(bench.source, number, 40, odd=False)
    doubts: list[Waiting] = []

    def observe(event: Event) -> None:
        if isinstance(event, Waiting) and "in doubt" in event.reason:
            doubts.append(event)
            proxy.release()

    bench.observe = observe
    proxy.strike(WireFault.LATE, Moment.APPEND_AFTER, number)
    summary = bench.run()
    assert (summary.state, summary.copied) == ("done", 40)
    assert len(doubts) == 1
    bench.assert_complete()
    assert_written_once(bench.target)


@pytest.mark.parametrize("target", TARGETS)
def test_an_append_that_is_finished_after_it_was_given_up(
    target: str, source_server: Dovecot, way: Way, tmp_path: Path
) -> None:
    """What the server stores long after it was sent again stands twice, until the next look takes our copy away."""
    target_server, proxy = way(target)
    bench = Bench(
        Place.at(source_server, "old"), behind(proxy, target_server, "new"), tmp_path / "l", FakeClock()
    )
    for number in range(12):
        bench.source.deliver(INBOX, message(f"number {number}", message_id=f"{number}@x"), flags=["\\Seen"])
    proxy.strike(WireFault.LATE, Moment.APPEND_AFTER)
    assert bench.run().copied == 12
    assert_all_there(bench.source, bench.target)
    assert proxy.release() == 1
    twice = bench.target.on_disk() - 12
    assert twice == {"rich": 10, "alibaba": 1}[target]
    bench.source.deliver(INBOX, message("new", message_id="new@x"))
    summary = bench.run()
    assert (summary.state, summary.copied) == ("done", 1)
    bench.assert_complete()
    assert bench.target.given() == {INBOX: 13 + twice}


class HalfSession(Session):
    """A server that stores the first half of a MULTIAPPEND, says NO, and takes the rest for nothing."""

    keep: ClassVar[int] = 3

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._tag = b""
        self._literals = 0
        self._halved: set[bytes] = set()

    async def command(self, item: Item) -> None:
        """Hand on messages up to the last that is kept, and then the command's end."""
        if isinstance(item, Line) and item.first:
            self._tag, self._literals = item.words[0], 0
        if isinstance(item, Line) and item.literal is not None:
            self._literals += 1
        if self._literals <= self.keep:
            await super().command(item)
        elif isinstance(item, Line) and item.literal is None:
            self._halved.add(self._tag)
            self.pass_on(Line(b"\r\n", False, None, False))

    def response(self, item: Item) -> None:
        """Say NO where the server said OK."""
        if isinstance(item, Line) and item.first and item.words[0] in self._halved:
            item = Line(item.words[0] + b" NO [SERVERBUG] Internal error occurred\r\n", True, None, False)
        super().response(item)


class HalfProxy(DelayProxy):
    """Stands before a server that does half of what it is told."""

    session = HalfSession


def test_a_multiappend_that_stores_half_and_says_no(
    source_server: Dovecot, target_server: Dovecot, tmp_path: Path
) -> None:
    """What was stored is found, and only the rest is sent again, each message alone."""
    with HalfProxy((target_server.host, target_server.imap_port)) as proxy:
        bench = Bench(Place.at(source_server, "old"), behind(proxy, target_server, "new"), tmp_path / "l")
        fill(bench.source, 1, 40, odd=False)
        summary = bench.run()
        assert (summary.state, summary.copied) == ("done", 40)
        bench.assert_complete()
        assert_written_once(bench.target)


CUTS = 5


@pytest.mark.long
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("seed", range(15))
def test_cut_at_any_octet(seed: int, target: str, source_server: Dovecot, way: Way, tmp_path: Path) -> None:
    """Five times in a pass a connection breaks after some octets of a message: it goes on where it was."""
    draw = random.Random(f"cuts {seed}")
    target_server, proxy = way(target)
    bench = Bench(Place.at(source_server, "old"), behind(proxy, target_server, "new"), tmp_path / "ledger")
    fill(bench.source, seed, 100)
    messages = bench.source.on_disk()
    part = sum(file.stat().st_size for file in files(bench.source)) // (2 * CUTS)
    left = [draw.randint(part // 5, part) for _ in range(CUTS)]
    broken = proxy.broken + CUTS

    def observe(_: Event) -> None:
        if left and proxy.broken == broken - len(left):
            proxy.cut_after(left.pop(), "up")

    bench.observe = observe
    try:
        summary = bench.run()
    finally:
        proxy.cut_after(sys.maxsize, "up")
    assert (summary.state, summary.copied) == ("done", messages)
    assert not left
    bench.assert_complete()
    assert_written_once(bench.target)


def files(place: Place) -> Iterator[Path]:
    """Give the files in which a server keeps a mailbox's messages."""
    return (place.dovecot.base / "mail" / place.user).rglob("cur/*")
