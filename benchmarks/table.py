"""Tables of what was measured: for the terminal, and the same in Markdown for docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from math import inf
from statistics import median
from typing import Literal

from attrs import frozen

from benchmarks.sitting import Run
from benchmarks.tools import SUBJECT
from benchmarks.works import COPY, Goal, Phase, Work

Of = Literal["wall", "cpu", "memory"]
HEAD = ("work", "tool", "wall s", "spread", "alimail / tool", "CPU s", "peak MB", "runs")


@frozen
class Result:
    """A work's runs, with or without TLS."""

    name: str
    work: Work
    tls: bool
    runs: tuple[Run, ...]

    @property
    def title(self) -> str:
        """Name it."""
        return f"{self.name}, TLS" if self.tls else self.name

    def phases(self) -> list[Phase]:
        """Return the phases that are measured, in their order; where there are later ones, not the first copy."""
        found = list(dict.fromkeys(run.phase for run in self.runs))
        return found if self.work.change is None else [phase for phase in found if phase != COPY]

    def tools(self, phase: Phase) -> list[str]:
        """Return the tools that ran in a phase, in their order: a script without a memory has one phase only."""
        ran = {run.tool for run in self.runs if run.phase == phase}
        return sorted(ran, key=(SUBJECT, *self.work.peers).index)

    def sound(self, tool: str, phase: Phase) -> list[Run]:
        """Return the runs whose time counts."""
        return [run for run in self.runs if run.tool == tool and run.phase == phase and not run.fault]

    def median(self, tool: str, phase: Phase, of: Of = "wall") -> float | None:
        """Return a tool's median, ``None`` where no run counts."""
        values = self.values(tool, phase, of)
        return median(values) if values else None

    def values(self, tool: str, phase: Phase, of: Of = "wall") -> list[float]:
        """Return what each run that counts has taken."""
        return [getattr(run.taken, of) for run in self.sound(tool, phase)]

    def ratio(self, tool: str, phase: Phase) -> float | None:
        """Return alimail's median wall time as a multiple of a tool's."""
        ours, theirs = self.median(SUBJECT, phase), self.median(tool, phase)
        return ours / theirs if ours is not None and theirs else None


# -- goals


@frozen
class Verdict:
    """A goal, and what was reached: ``None`` where no peer was measured, infinity where no run of ours counts."""

    goal: Goal
    reached: float | None

    @property
    def met(self) -> bool | None:
        """Tell whether it was met."""
        return None if self.reached is None else self.reached <= self.goal.limit

    def __str__(self) -> str:
        """Write it in a line."""
        if self.reached is None:
            return f"{self.goal}: not measured"
        return f"{self.goal}: {self.reached:.2f} {'met' if self.met else 'MISSED'}"


def verdicts(result: Result) -> list[Verdict]:
    """Hold a work's result against its goals."""
    return [Verdict(goal, _reached(result, goal)) for goal in result.work.goals]


def _reached(result: Result, goal: Goal) -> float | None:
    if not result.sound(SUBJECT, goal.phase):
        return inf
    if goal.of == "memory":
        return max(result.values(SUBJECT, goal.phase, "memory"), default=None)
    if not goal.against:
        return result.median(SUBJECT, goal.phase)
    peers = result.work.peers if goal.against == "best peer" else (goal.against,)
    ratios = [ratio for peer in peers if (ratio := result.ratio(peer, goal.phase)) is not None]
    return max(ratios, default=None)


# -- lines


def rows(result: Result) -> Iterator[tuple[str, ...]]:
    """Give a row for each phase and tool; see ``HEAD``."""
    for phase in result.phases():
        for tool in result.tools(phase):
            title = result.title if phase == COPY else f"{result.title}: {phase}"
            yield (title, tool, *_numbers(result, tool, phase))


def _numbers(result: Result, tool: str, phase: Phase) -> tuple[str, ...]:
    walls = result.values(tool, phase)
    if not walls:
        return ("-", "-", "-", "-", "-", "0, not sound")
    cpu, memory = result.median(tool, phase, "cpu"), max(result.values(tool, phase, "memory"))
    ratio = "" if tool == SUBJECT else _ratio(result, tool, phase)
    spread = f"{min(walls):.2f}–{max(walls):.2f}"
    return (f"{median(walls):.2f}", spread, ratio, f"{cpu:.2f}", f"{memory:.0f}", str(len(walls)))


def _ratio(result: Result, tool: str, phase: Phase) -> str:
    """Write the ratio of medians with the spread of the ratios turn by turn."""
    ratio = result.ratio(tool, phase)
    if ratio is None:
        return "-"
    turns = zip(result.values(SUBJECT, phase), result.values(tool, phase), strict=False)
    ratios = [ours / theirs for ours, theirs in turns]
    return f"{ratio:.2f} ({min(ratios):.2f}–{max(ratios):.2f})"


def remarks(result: Result) -> Iterator[str]:
    """Give what else is to be said: goals, the estimate, the relay's share, what went wrong."""
    yield from map(str, verdicts(result))
    ours = [run for run in result.runs if run.tool == SUBJECT and run.phase in result.phases()]
    etas = [str(run.eta) for run in ours if run.eta is not None and run.phase == COPY]
    if etas:
        yield f"estimate after a fifth of the time: {', '.join(etas)}"
    if result.work.round_trip and ours:
        share = max(run.relay / run.taken.wall for run in ours)
        yield f"relay: at most {share:.0%} of a core"
    yield from sorted(
        {f"{run.tool}, {run.phase}, NOT COUNTED: {run.fault}" for run in result.runs if run.fault}
    )


def as_text(result: Result) -> str:
    """Write a result for a terminal."""
    lines = [HEAD, *rows(result)]
    widths = [max(len(row[column]) for row in lines) for column in range(len(HEAD))]
    table = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in lines
    ]
    return "\n".join([*table, *(f"  {remark}" for remark in remarks(result))])


def as_markdown(results: Sequence[Result]) -> str:
    """Write results as one table, and the remarks as a list below it."""
    body = [row for result in results for row in rows(result)]
    table = [_line(HEAD), _line(["---"] * len(HEAD)), *map(_line, body)]
    listed = [f"- {result.title}: {remark}" for result in results for remark in remarks(result)]
    return "\n".join([*table, "", *listed])


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |"
