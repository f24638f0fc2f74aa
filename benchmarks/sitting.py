"""One sitting: a work is set up, and the tools take turns at it, each run checked before its time counts."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from attrs import Factory, define, frozen

from alimail_core.model import INBOX, FolderPath
from alimail_core.testing.oracle import Snapshot, mailbox_argument
from benchmarks import check
from benchmarks.eta import EtaError, eta_error
from benchmarks.exchange import at_exchange
from benchmarks.mail import deliver, letter
from benchmarks.measure import Taken, take
from benchmarks.organisation import build, misses, verb
from benchmarks.stage import Job, Stage
from benchmarks.tools import SUBJECT, Tool, log_file
from benchmarks.works import CHANGED, COPY, NOTHING_NEW, PLAN, REPORT, STATUS, Change, Phase, Work

LONGEST_SECONDS = 1800.0
_TAIL = 600


@frozen
class Run:
    """One run of one tool. With a ``fault`` its time does not count."""

    phase: Phase
    tool: str
    taken: Taken
    fault: str = ""
    eta: EtaError | None = None
    relay: float = 0.0
    """Seconds of a core that the relay used meanwhile."""


@define
class Sitting:
    """A work on its stage."""

    work: Work
    stage: Stage
    tls: bool
    tell: Callable[[str], None]
    users: tuple[str, ...] = ()
    wanted: dict[str, Snapshot] = Factory(dict)
    """What each source holds; read when it is first asked for."""

    def fill(self) -> None:
        """Make the sources' mail."""
        self.tell(f"filling {self.work.accounts} mailbox(es)")
        self.users = tuple(self.stage.source.new_user("old") for _ in range(self.work.accounts))
        for number, user in enumerate(self.users):
            self.work.corpus.fill(self.stage.source, user, number + 1)

    def first_copies(self, tools: Sequence[Tool], runs: int) -> Iterator[Run]:
        """Measure the copy of everything into empty mailboxes."""
        for tool in turns(tools, runs):
            job = self.stage.job(tool.name, self.users, self.tls)
            yield self.run(tool, job, COPY)
            self.stage.clear(job)

    def later_passes(self, tools: Sequence[Tool], runs: int, change: Change) -> Iterator[Run]:
        """Measure passes over what has been copied, without and with changes at the source."""
        jobs = {tool.name: self.stage.job(tool.name, self.users, self.tls) for tool in tools}
        for tool in tools:
            yield self.run(tool, jobs[tool.name], COPY)
        for number in range(runs):
            order = list(turns(tools, runs))[number * len(tools) : (number + 1) * len(tools)]
            for tool in order:
                yield self.run(tool, jobs[tool.name], NOTHING_NEW)
            happen(change, self.stage, self.users[0], self.work.corpus.folders[-1], number)
            self.wanted = {}
            for tool in order:
                yield self.run(tool, jobs[tool.name], CHANGED)

    def run(self, tool: Tool, job: Job, phase: Phase) -> Run:
        """Let a tool do a job, and look whether it did."""
        commands = tool.commands(job)
        log_file(job).unlink(missing_ok=True)
        # The source is read before the first run, so that no tool finds it colder than the others do.
        self.want()
        output, before = job.folder / "output", self.relayed()
        began = datetime.now(UTC)
        taken = take(commands, output, LONGEST_SECONDS)
        relay = self.relayed() - before
        eta = eta_error(log_file(job), began, taken.wall, len(job.pairs)) if tool.name == SUBJECT else None
        fault = _failure(taken, output) or self.fault(tool.adds, job)
        self.tell(f"{tool.name}, {phase}: {taken.wall:.2f} s {fault}")
        return Run(phase, tool.name, taken, fault, eta, relay)

    def want(self) -> dict[str, Snapshot]:
        """Return what each source holds."""
        if not self.wanted:
            self.wanted = {user: check.read(self.stage.source, user) for user in self.users}
        return self.wanted

    def fault(self, added: str, job: Job) -> str:
        """Compare both sides message by message; return what is wrong."""
        for source, target in job.pairs:
            found = check.read(self.stage.target, target.user, added)
            fault = check.differences(self.want()[source.user], found)
            if fault:
                return f"{source.user}: {fault}"
        return ""

    def relayed(self) -> float:
        """Return the relay's CPU seconds so far."""
        return self.stage.relay.cpu() if self.stage.relay is not None else 0.0


def sit(work: Work, tools: Sequence[Tool], *, tls: bool, runs: int, tell: Callable[[str], None]) -> list[Run]:
    """Measure a work with the tools that it is for; the tools take turns."""
    if work.desk:
        return list(at_the_desk(work, runs, tell))
    if work.exchange:
        return [Run(*measured) for measured in at_exchange(work, runs, tell)]
    chosen = [tool for tool in tools if tool.name in (SUBJECT, *work.peers)]
    with Stage.built(round_trip=work.round_trip, poor_source=work.poor_source, alibaba=work.alibaba) as stage:
        sitting = Sitting(work, stage, tls, tell)
        sitting.fill()
        if work.change is None:
            return list(sitting.first_copies(chosen, runs))
        return list(sitting.later_passes(chosen, runs, work.change))


def at_the_desk(work: Work, runs: int, tell: Callable[[str], None]) -> Iterator[Run]:
    """Measure the verbs of a large migration, one after another."""
    with TemporaryDirectory() as place:
        folder = Path(place)
        tell(f"writing a ledger of {work.accounts} account(s)")
        build(folder, work.accounts, work.corpus.messages)
        for _ in range(runs):
            for phase in (PLAN, STATUS, REPORT):
                output = folder / "output"
                output.write_bytes(b"")
                taken = take([verb(folder, phase)], output, LONGEST_SECONDS)
                told = output.read_text("utf-8", "replace")
                fault = _failure(taken, output) or misses(
                    folder, phase, told, work.accounts, work.corpus.messages
                )
                tell(f"{phase}: {taken.wall:.2f} s, {taken.cpu:.2f} s of CPU {fault}")
                yield Run(phase, SUBJECT, taken, fault)


def turns(tools: Sequence[Tool], runs: int) -> Iterator[Tool]:
    """Let every tool run so many times, another one first each time."""
    for number in range(runs):
        first = number % len(tools)
        yield from (*tools[first:], *tools[:first])


def happen(change: Change, stage: Stage, user: str, elsewhere: FolderPath, seed: int) -> None:
    """Let a source's owner go on: mail arrives in the inbox, some is flagged, some filed elsewhere."""
    draw, now = random.Random(f"change {seed}"), datetime.now(UTC).replace(microsecond=0)
    for number in range(change.new):
        octets = letter(draw, f"new{seed}.{number}", 2000, now)
        deliver(stage.source, user, INBOX, 10_000_000 + seed * 1000 + number, octets, now, "")
    with stage.source.direct(user) as imap:
        _, answer = imap.select("INBOX")
        held = int(answer[0] or 0) - change.new
        for number in draw.sample(range(1, held + 1), min(held, change.flags)):
            imap.store(str(number), "+FLAGS", "(\\Answered \\Flagged)")
        there = mailbox_argument(elsewhere, "/")
        for _ in range(min(held, change.moved)):
            imap.xatom("MOVE", "1", there)


def _failure(taken: Taken, output: Path) -> str:
    if not taken.code:
        return ""
    return f"exit code {taken.code}: {output.read_text('utf-8', 'replace')[-_TAIL:].strip()}"
