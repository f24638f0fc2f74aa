"""``python -m benchmarks [WORK ...]``: measure, print, and on request write docs/benchmarks.md."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.sitting import sit
from benchmarks.table import Result, as_markdown, as_text, verdicts
from benchmarks.tools import SUBJECT, Tool, all_tools
from benchmarks.works import WORKS

BUSY = 0.5
"""The load average before a sitting above which its numbers are not to be trusted much."""
PROVISIONING = "provisioning"
PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
_HEAD = """\
# Benchmarks

Written by `make bench WRITE=1`, not by hand: each section by the sitting that last measured its work. Whole
processes, wall time, the tools in turns, between two Dovecots on loopback that write as durably as Dovecot does by
default (`mail_fsync = optimized`, Maildir); distance is a relay that delays every octet by half the round trip, at
both ends. Each run was compared with its source message by message (digest, flags, internal date) before its time
counted. "alimail / tool" is the ratio of medians: below 1 alimail is the faster one. CPU is the tool's own, user and
system. Memory is the peak of its whole process tree.

| tool | version | settings |
|---|---|---|
{tools}
"""
_SECTION = "\n## "


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument(
        "works",
        nargs="*",
        metavar="WORK",
        help=f"of {', '.join(WORKS)}; all by default; or {PROVISIONING} alone",
    )
    parser.add_argument("--runs", type=int, default=3, help="of each tool")
    parser.add_argument(
        "--scale", type=float, default=1.0, help="make every work smaller, for use while working"
    )
    parser.add_argument("--tls", choices=("on", "off"), help="by default both, where a work says so")
    parser.add_argument(
        "--tools", default="", help="only these, with commas between; alimail is always measured"
    )
    parser.add_argument("--write", action="store_true", help="write docs/benchmarks.md")
    chosen = parser.parse_args(words)
    if chosen.write and chosen.scale != 1:
        parser.error("the page tells of whole works: --write goes without --scale")
    unknown = set(chosen.works) - set(WORKS)
    if unknown:
        parser.error(f"no such work: {', '.join(sorted(unknown))}")
    return chosen


def main(words: Sequence[str]) -> int:
    """Measure; return 1 where a run of alimail was not sound, whether or not the goals were met."""
    if words[:1] == [PROVISIONING]:  # no mail is moved, and no peer does it
        from benchmarks import provisioning

        return provisioning.main(words[1:])
    chosen = parse(words)
    picked = {SUBJECT, *chosen.tools.split(",")}
    tools = [tool for tool in all_tools() if not chosen.tools or tool.name in picked]
    load = _load()
    if load:
        _tell(load)
    results = []
    for name in chosen.works or WORKS:
        work = WORKS[name].scaled(chosen.scale)
        of_work = []
        for tls in {"on": (True,), "off": (False,)}.get(chosen.tls, work.tls):
            runs = sit(work, tools, tls=tls, runs=chosen.runs, tell=_tell)
            of_work.append(Result(name, work, tls, tuple(runs)))
            print(as_text(of_work[-1]), end="\n\n", flush=True)
        results += of_work
        if chosen.write:
            written = PAGE.read_text("utf-8") if PAGE.exists() else ""
            PAGE.write_text(page(written, of_work, tools, load), "utf-8")
    missed = sum(verdict.met is False for result in results for verdict in verdicts(result))
    print(f"goals missed: {missed}")
    return int(any(run.fault and run.tool == SUBJECT for result in results for run in result.runs))


def page(written: str, results: Sequence[Result], tools: Sequence[Tool], load: str = "") -> str:
    """Return the text of docs/benchmarks.md: what was ``written``, its section of the ``results`` anew.

    A tool that took no part now stays described where an older section has it.
    """
    (name,) = {result.name for result in results}
    head, *parts = written.split(_SECTION)
    sections = {part.partition("\n")[0]: part for part in parts}
    machine = f"{_machine()} {load}".strip()
    sections[name] = f"{name}\n\n{WORKS[name].what}. {machine}\n\n{as_markdown(results)}\n"
    listed = head.partition("|---|---|---|\n")[2].splitlines()
    described = {line.split(" | ")[0]: line for line in listed}
    described |= {f"| {tool.name}": f"| {tool.name} | {tool.version()} | {tool.settings} |" for tool in tools}
    everything = _SECTION.join(sections.values())
    rows = [line for tool, line in described.items() if f" {tool} | " in everything]
    head = _HEAD.format(tools="\n".join(rows))
    return _SECTION.join([head, *(sections[known] for known in WORKS if known in sections)])


def _load() -> str:
    load = os.getloadavg()[0]
    if load <= BUSY:
        return ""
    return f"The machine had other work (load average {load:.1f} before the start): the ratios are noisy."


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {memory:.0f} GB, "
        f"Linux {platform.release().partition('-')[0]}, Python {platform.python_version()}."
    )


def _tell(text: str) -> None:
    width = shutil.get_terminal_size().columns
    print(text[:2000] if "exit code" in text else text[:width], file=sys.stderr, flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit("interrupted")
