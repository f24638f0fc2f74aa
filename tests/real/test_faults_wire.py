"""Every fault of the wire at every moment of its talk: each message is there once or named, and the report is true.

A ``FaultProxy`` stands before the target, or before the source. Without ``--long`` a few moments meet one fault each,
all drawn from ``--sample-seed``; with it, each moment meets each fault.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy as sa
from attrs import define, evolve

from alimail_core.events import Event, Waiting
from alimail_core.ledger import Ledger, State, schema
from alimail_core.ledger.facts import NamedProblem, facts
from alimail_core.model import INBOX
from alimail_core.options import TransferOptions
from alimail_core.testing.clock import FakeClock
from alimail_core.testing.faultproxy import FaultProxy, Moment, WireFault
from alimail_core.testing.mail import message
from alimail_core.testing.oracle import Snapshot
from alimail_core.testing.servers import Dovecot
from alimail_core.transfer import PassSummary
from tests.real.bench import PROJECTS, Bench, HurriedClock, Place, Server, carried, less
from tests.soak import Soak

pytestmark = pytest.mark.server

SILENCE_SECONDS = 2.0
"""After so long a connection counts as lost, where a fault lets it fall silent."""
SILENCE = (WireFault.STALLED, WireFault.SILENT)
DATE = datetime(2024, 2, 29, 12, tzinfo=UTC)

BEGINNING = (Moment.CONNECT, Moment.TLS, Moment.GREETING)
FETCHING = (Moment.FETCH_BEFORE, Moment.FETCH_WITHIN, Moment.FETCH_AFTER)
APPENDING = (Moment.APPEND_BEFORE, Moment.APPEND_WITHIN, Moment.APPEND_AFTER)
READING = (
    *BEGINNING,
    Moment.LOGIN,
    Moment.LIST,
    Moment.SELECT,
    Moment.LISTING,
    Moment.HEADERS,
    *FETCHING,
    Moment.LOGOUT,
    Moment.OTHER,
)
CHANGING = (Moment.CREATE, *APPENDING, Moment.OTHER)

AT_TARGETS = [
    *(("alibaba", moment) for moment in (*READING, Moment.CREATE, *APPENDING, Moment.SETTLE)),
    # Others are read as any source is; what they are asked for differs in these:
    *(("rich", moment) for moment in (Moment.SELECT, Moment.LISTING, *CHANGING, Moment.SETTLE)),
    # And this one differs in how messages are sent.
    *(("poor", moment) for moment in (*APPENDING, Moment.SETTLE)),
]


def faults_at(moment: Moment) -> list[WireFault]:
    """Return the faults to try at a moment, one of those that look the same to a client."""
    same = set()
    if moment not in CHANGING:
        same |= {WireFault.LOST, WireFault.LATE}  # as CUT: nothing happens that nobody hears of
    if moment in BEGINNING:
        same |= {WireFault.SILENT}  # as STALLED: nothing else is said that could still be heard
    if moment is Moment.TLS:
        # As NO and GARBAGE: words, and no handshake.
        same |= {WireFault.BAD, WireFault.BYE, WireFault.UNASKED}
    return [fault for fault in WireFault if fault not in same]


@define
class Trial:
    """One account whose way to one of its sides is struck."""

    bench: Bench
    proxy: FaultProxy
    wanted: Snapshot
    """What shall stand in the target in the end."""

    @classmethod
    def of(cls, fault: WireFault, source: Place, target: Place, folder: Path, proxy: FaultProxy) -> Trial:
        """Fill the source; a few of its messages stand in the target already, and are known again there."""
        for number in range(30):
            body = f"{number} 你好\r\n" * (3000 if number == 7 else 5)
            letter = message(f"inbox {number}", body, message_id=f"{number}@x" if number > 2 else None)
            for place in (source, target) if number < 3 else (source,):
                place.server.deliver(place.user, INBOX, letter, flags=["\\Seen"], date=DATE)
        source.server.create(source.user, PROJECTS)
        for number in range(9):
            letter = message(f"work {number % 7}", message_id=None)
            source.server.deliver(source.user, PROJECTS, letter, flags=["\\Flagged"], date=DATE)
        # The clock is hurried: a server has a second and a half to be late. Struck in the handshake it is never late,
        # but waited for; and who is late until the engine waits for it is so whatever time it is.
        options = TransferOptions(batch_messages=20, settle_seconds=30.0)
        hurried = HurriedClock(200.0 if source.tls or target.tls else 20.0)
        clock = FakeClock() if fault is WireFault.LATE else hurried
        bench = Bench(source, target, folder / f"{fault.name}.ledger", clock, options)
        return cls(bench, proxy, carried(source.snapshot(), target))

    def run(self) -> PassSummary:
        """Make one pass; while something is in doubt, the server does what it was hindered from doing."""

        def observe(event: Event) -> None:
            if isinstance(event, Waiting) and "in doubt" in event.reason:
                self.proxy.release()

        self.bench.observe = observe
        return self.bench.run()

    def prove(self, summary: PassSummary) -> None:
        """See that what a struck pass says is true, and that a clean one brings what is missing and nothing else."""
        missing, written = self._prove_one(summary)
        self.proxy.calm()
        self.proxy.release()
        # Nothing falls silent any more: whoever is slow now is waited for.
        self.bench.source, self.bench.target = (
            evolve(place, timeout=20.0) for place in (self.bench.source, self.bench.target)
        )
        summary = self.bench.run()
        left, written_now = self._prove_one(summary)
        assert written_now - written == total(missing) - total(left)
        assert total(left) == len([each for each in self.problems() if each.kind == "refused"])
        if summary.copied or summary.adopted:
            settled = self.bench.run()
            assert (settled.state, settled.copied, settled.adopted) == (summary.state, 0, 0)
            assert self._prove_one(settled) == (left, written_now)

    def _prove_one(self, summary: PassSummary) -> tuple[Snapshot, int]:
        """Hold a pass against both sides; return what is missing, and how many messages were ever written."""
        found, given = self.bench.target.snapshot(), self.bench.target.given()
        missing = less(self.wanted, found)
        assert less(found, self.wanted) == {}
        assert given == {path: held.total() for path, held in found.items()}
        there, stored = total(found), self._stored()
        match summary.state:
            case "done":
                assert (missing, summary.problems) == ({}, 0)
                assert stored == there
            case "problems":
                self._assert_named(missing)
                assert stored == there
            case _:
                # A refused login leaves the account pending: somebody may have to set a password.
                assert summary.state in ("failed", "pending")
                assert summary.reason
                assert stored <= there
        return missing, there

    def _assert_named(self, missing: Snapshot) -> None:
        """Each message that is missing has a problem with a reason, or its folder has one."""
        problems = self.problems()
        assert all(each.reason for each in problems)
        folders = {self.bench.target.path(each.folder) for each in problems if not each.key}
        messages = Counter(self.bench.target.path(each.folder) for each in problems if each.key)
        unnamed = {
            path: held.total()
            for path, held in missing.items()
            if path not in folders
            and held.total() > messages[path]
            and not any(each.reason.startswith("/".join(path)) for each in problems if not each.folder)
        }
        assert unnamed == {}

    def problems(self) -> list[NamedProblem]:
        """Return what the ledger names."""
        with closing(Ledger.open(str(self.bench.ledger), "bench", self.bench.clock)) as ledger:
            return facts(ledger)[1].problems

    def _stored(self) -> int:
        """Return how many messages the ledger says are in the target."""
        query = sa.select(sa.func.count()).where(schema.message.c.state == State.STORED)
        with (
            closing(Ledger.open(str(self.bench.ledger), "bench", self.bench.clock)) as ledger,
            ledger.engine.connect() as connection,
        ):
            return int(connection.execute(query).scalar_one())


def total(snapshot: Snapshot) -> int:
    """Count the messages of all folders."""
    return sum(held.total() for held in snapshot.values())


@pytest.fixture
def drawn(request: pytest.FixtureRequest, moment: Moment) -> tuple[Sequence[WireFault], random.Random]:
    """Give the faults to try, all of them with --long, and what else there is to draw."""
    draw = random.Random(f"{request.config.getoption('--sample-seed')} {request.node.name}")
    faults = faults_at(moment)
    return (faults if request.config.getoption("--long") else [draw.choice(faults)]), draw


Drawn = tuple[Sequence[WireFault], random.Random]


def reached_by(place: Place, proxy: FaultProxy, fault: WireFault, moment: Moment) -> Place:
    """Let a place be reached by way of a proxy, with TLS where that is to be struck."""
    port = proxy.tls_port if moment is Moment.TLS else proxy.port
    return evolve(
        place, port=port, tls=moment is Moment.TLS, timeout=SILENCE_SECONDS if fault in SILENCE else 20.0
    )


def before(place: Place) -> FaultProxy:
    """Put a proxy before a place's server."""
    return FaultProxy(
        (place.server.host, place.server.imap_port), certificate=place.dovecot.certificate, words=b"Not now"
    )


@pytest.mark.long
@pytest.mark.parametrize(
    ("target", "moment"), AT_TARGETS, ids=lambda each: each.name.lower() if isinstance(each, Moment) else each
)
def test_every_fault_of_a_target(
    target: str,
    moment: Moment,
    drawn: Drawn,
    source_server: Dovecot,
    server: Callable[[str], Server],
    tmp_path: Path,
) -> None:
    """Struck once at any moment, a pass ends by itself and truly; each message is there once or named."""
    faults, draw = drawn
    for fault in faults:
        place = Place.at(server(target), "new")
        with before(place) as proxy:
            trial = Trial.of(
                fault,
                Place.at(source_server, "old"),
                reached_by(place, proxy, fault, moment),
                tmp_path,
                proxy,
            )
            proxy.strike(fault, moment, draw.choice((1, 1, 2, 3)))
            summary = trial.run()
            if moment in APPENDING and fault in (WireFault.NO, WireFault.BAD):
                assert summary.state == "done"  # it gives no reason, and is not believed at once
            trial.prove(summary)
            assert proxy.reached[moment]


@pytest.mark.long
@pytest.mark.parametrize("moment", READING, ids=lambda moment: moment.name.lower())
def test_every_fault_of_a_source(
    moment: Moment,
    drawn: Drawn,
    source_server: Dovecot,
    target_server: Dovecot,
    tmp_path: Path,
) -> None:
    """Struck once at any moment, a pass ends by itself and truly; each message is there once or named."""
    faults, draw = drawn
    for fault in faults:
        place = Place.at(source_server, "old")
        with before(place) as proxy:
            trial = Trial.of(
                fault,
                reached_by(place, proxy, fault, moment),
                Place.at(target_server, "new"),
                tmp_path,
                proxy,
            )
            proxy.strike(fault, moment, draw.choice((1, 1, 2, 3)))
            trial.prove(trial.run())
            assert proxy.reached[moment]


def test_soak(
    request: pytest.FixtureRequest, source_server: Dovecot, server: Callable[[str], Server]
) -> None:
    """Whatever strikes a mailbox's runs, and kills them, in the end both sides hold the same."""
    soak = Soak(source_server, [server("alibaba")], most_runs=2)
    soak.survive(request.config.getoption("--sample-seed"))
    assert soak.tally.rounds == 1
