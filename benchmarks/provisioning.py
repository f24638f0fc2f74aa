"""``make bench WORK=provisioning``: an organisation of 10,000 is read, planned, and made by the Open Platform API.

The service is the strict one on loopback, some way off, in this process; alimail is a process of its own. Making is
measured with a tenth of the people: what counts is how near it comes to the least that the domain's pace allows, the
number of calls divided by the calls a second.
"""

from __future__ import annotations

import sys
import tempfile
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen
from openpyxl import Workbook

from alimail_core.provisioning.roster import read_directory
from alimail_directory.testing import OpenPlatform, OpenPlatformServer
from benchmarks.measure import Command, Taken, take

PEOPLE, DEPARTMENTS, GROUPS = 10_000, 500, 300
MEMBERS = 30
"""Of each group."""
ROUND_TRIP = 0.1
CALLS_PER_SECOND = 40
DOMAIN = "big.example"
CONFIG = """[migration]
name = "big"
[provision]
kind = "alimail"
url = "{url}"
application_id = "env:APPLICATION_ID"
application_secret = "env:APPLICATION_SECRET"
calls_per_second = {pace}.0
employees = "employees.xlsx"
groups = "groups.xlsx"
"""


@frozen
class Goal:
    """What was measured, and what it must not exceed."""

    what: str
    value: float
    limit: float
    unit: str

    @property
    def met(self) -> bool:
        """Tell whether it is kept."""
        return self.value <= self.limit

    def __str__(self) -> str:
        """Write it as a reader wants it."""
        verdict = "met" if self.met else "MISSED"
        return f"{self.what:28} {self.value:8.2f} {self.unit:3} goal {self.limit:g}  {verdict}"


def main(words: Sequence[str]) -> int:
    """Measure; return 1 where a command failed."""
    parser = ArgumentParser(prog="make bench WORK=provisioning", description=__doc__)
    parser.add_argument(
        "--scale", type=float, default=1.0, help="a smaller organisation, for use while working"
    )
    parser.add_argument(
        "--pace", type=int, default=CALLS_PER_SECOND, help="calls a second that the domain has"
    )
    chosen = parser.parse_args(words)
    people = max(50, int(PEOPLE * chosen.scale))
    with tempfile.TemporaryDirectory(prefix="alimail-bench") as name:
        folder = Path(name)
        write(folder, people)
        goals = [_read(folder), *_plan(folder)]
        write(folder, people // 10)
        goals.append(_apply(folder, chosen.pace))
    print(f"{people:,} employees:", *goals, sep="\n")
    return 0


def write(folder: Path, people: int) -> None:
    """Write sheets of so many people, and departments and groups in proportion."""
    departments, groups = max(1, people * DEPARTMENTS // PEOPLE), max(1, people * GROUPS // PEOPLE)
    rows: list[Sequence[object]] = [("name", "account", "employee number", "department", "title", "manager")]
    for number in range(people):
        # The first is his own superior's superior: nobody.
        boss = f"person{number // 20:05}@{DOMAIN}" if number else ""
        place = f"Area {number % departments % 25}/Team {number % departments}"
        rows.append((f"Person {number}", f"person{number:05}@{DOMAIN}", f"{number:06}", place, "Clerk", boss))
    _save(folder / "employees.xlsx", rows)
    lists: list[Sequence[object]] = [("group name", "group address", "owners", "members")]
    for group in range(groups):
        members = "; ".join(
            f"person{(group * 7 + each) % people:05}@{DOMAIN}" for each in range(min(MEMBERS, people))
        )
        lists.append(
            (f"Group {group}", f"group{group}@{DOMAIN}", f"person{group % people:05}@{DOMAIN}", members)
        )
    _save(folder / "groups.xlsx", lists)


def _save(path: Path, rows: Sequence[Sequence[object]]) -> None:
    book = Workbook(write_only=True)
    sheet = book.create_sheet("sheet")
    for row in rows:
        sheet.append(list(row))
    book.save(path)


def _read(folder: Path) -> Goal:
    begun = time.monotonic()
    read_directory(folder / "employees.xlsx", folder / "groups.xlsx")
    return Goal("read both xlsx", time.monotonic() - begun, 5.0, "s")


def _plan(folder: Path) -> tuple[Goal, Goal]:
    sheets = ("--employees", str(folder / "employees.xlsx"), "--groups", str(folder / "groups.xlsx"))
    taken = _run(folder, ("provision", "plan", "--quiet", *sheets))
    return Goal("plan, whole process", taken.wall, 10.0, "s"), Goal("plan, memory", taken.memory, 300.0, "MB")


def _apply(folder: Path, pace: int) -> Goal:
    platform = OpenPlatform(calls_per_second=pace)
    with OpenPlatformServer(platform, round_trip=ROUND_TRIP) as server:
        (folder / "alimail.toml").write_text(CONFIG.format(url=server.url, pace=pace), "utf-8")
        own = {"APPLICATION_ID": platform.application_id, "APPLICATION_SECRET": platform.application_secret}
        words = ("provision", "apply", "--yes", "--quiet", "-c", str(folder / "alimail.toml"))
        taken = _run(folder, words, own)
    floor = len(platform.calls) / pace
    told = f"{len(platform.calls):,} calls took {taken.wall:.1f} s, {platform.throttled} put off; least {floor:.1f} s"
    print(f"apply: {len(platform.users):,} accounts, {told}", file=sys.stderr)
    return Goal("apply / pace of the domain", taken.wall / floor, 1.2, "x")


def _run(folder: Path, words: Sequence[str], own: dict[str, str] | None = None) -> Taken:
    output = folder / "output.txt"
    command = Command((str(Path(sys.executable).parent / "alimail"), *words), own or {})
    taken = take([command], output, 3600.0)
    if taken.code:
        sys.exit(f"`alimail {' '.join(words)}` ended with {taken.code}: {output.read_text('utf-8')[-2000:]}")
    return taken


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
