"""The play: see the package."""

from __future__ import annotations

import argparse
import random
import signal
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attrs import define, field

from alimail_core.testing.servers import ServerError
from tools.demo import proof
from tools.demo.office import PEOPLE, LastWeek, Writer, fill, work_on
from tools.demo.stage import BrokenPromise, Stage, on_stage

ROOT = Path(__file__).parents[2]
SCALE, SMALL_SCALE = 10, 2
"""A scale of 1 is some 230 messages."""


@define
class Play:
    """The demo, scene by scene; each raises ``BrokenPromise`` where something is not as promised."""

    stage: Stage
    scale: int
    begun: float = field(factory=time.monotonic)
    writer: Writer = field(factory=lambda: Writer(random.Random(1), datetime.now(UTC).replace(microsecond=0)))

    def perform(self) -> None:
        """Play it all."""
        self.prepare()
        self.look()
        killed_at = self.migrate()
        before = self.source()
        first = self.prove("Nothing was lost and nothing doubled by the kill", proof.expected(before))
        week = self.last_week()
        after = self.source()
        last = self.prove("The same after the last week", proof.expected(after, before))
        self.nothing_left()
        self.tell_end(killed_at, first, week, last)

    def prepare(self) -> None:
        """Fill the source; write configuration and roster."""
        stage = self.stage
        stage.tell(
            f"Two mail servers run on loopback, with TLS: the old one on port {stage.source.imaps_port}, and on port "
            f"{stage.target.imaps_port} one that presents itself as Alibaba Mail. The old one is being filled with "
            f"the mail of {len(PEOPLE)} people."
        )
        fill(stage.source, self.writer, self.scale)
        stage.tell("A configuration with every option explained, and an empty roster:")
        stage.run("alimail", "init", "--yes", "--name", "Harbour", "--source-host", "127.0.0.1",
                  "--target-host", "127.0.0.1")  # fmt: skip
        lines = stage.fill_in()
        stage.tell(
            "Filled in with an editor: the accounts in accounts.csv, which only its owner can read, and"
        )
        stage.console.print(*lines, sep="\n")

    def look(self) -> None:
        """Check and plan: nothing is written yet."""
        self.stage.tell("Can everything be reached? Nothing is written.")
        self.stage.run("alimail", "check")
        self.stage.tell("What would go where? Nothing is written here either.")
        self.stage.run("alimail", "plan")

    def migrate(self) -> int:
        """Carry everything, with a kill in the middle; return how many messages stood in the target then."""
        wanted = 80 * self.scale
        self.stage.tell(f"Now move it. Once {wanted} messages have arrived, the process is killed (SIGKILL).")
        killed_at = self.stage.run_and_kill("alimail", "migrate", "--yes", arrived=wanted)
        self.stage.tell(
            f"Killed, with {killed_at:,} messages in the target and some on their way. The ledger knows:"
        )
        self.stage.run("alimail", "status")
        self.stage.tell("Run the same command again. It looks for what was on its way, and goes on.")
        self.stage.run("alimail", "migrate", "--yes")
        return killed_at

    def source(self) -> proof.Office:
        """Read the source's mailboxes."""
        return proof.read(self.stage.source.snapshot, {person.local: person.old for person in PEOPLE})

    def target(self) -> proof.Office:
        """Read the target's mailboxes."""
        return proof.read(self.stage.target.snapshot, {person.local: person.new for person in PEOPLE})

    def prove(self, claim: str, wanted: proof.Mail) -> proof.Findings:
        """Hold the target against what it must hold. Raises ``BrokenPromise`` where anything differs."""
        findings = proof.compare(wanted, self.target())
        self.stage.tell(
            f"{claim}: both servers were read by another program (Python's imaplib). {findings.messages:,} messages "
            f"stand in the target; {findings.missing} are missing, {findings.doubled} doubled, "
            f"{findings.marked_otherwise} have other flags or another date."
        )
        if not findings.clean:
            raise BrokenPromise(f"the target differs from the source: {findings}")
        return findings

    def last_week(self) -> LastWeek:
        """Let people go on working at the source, and carry what they did."""
        week = work_on(self.stage.source, self.writer)
        self.stage.tell(
            f"Meanwhile people went on at the old server: {week.arrived} messages arrived, {week.flagged} were "
            f"marked, {week.moved} moved, {week.deleted} deleted, and a folder with {week.renamed} was renamed. "
            "The same command carries that, and only that."
        )
        self.stage.run("alimail", "migrate", "--yes")
        return week

    def nothing_left(self) -> None:
        """Prove by alimail's own means, and write the report; neither changes anything."""
        before = self.target()
        self.stage.tell("Is it all there? Every octet is read back from the target.")
        self.stage.run("alimail", "verify", "--full")
        self.stage.tell("Once more: there is nothing to do, and nothing is written.")
        self.stage.run("alimail", "migrate", "--yes")
        self.stage.tell("Written down, for the files:")
        self.stage.run("alimail", "report")
        if self.target() != before:
            raise BrokenPromise("a pass with nothing to do has changed the target")

    def tell_end(self, killed_at: int, first: proof.Findings, week: LastWeek, last: proof.Findings) -> None:
        """Sum up what was proven, and say where the report lies."""
        self.stage.tell_end(
            "Proven, by reading both servers without alimail:",
            f"- {first.messages:,} messages of {len(PEOPLE)} mailboxes arrived exactly once in {first.folders} "
            f"folders, through a kill when {killed_at:,} had arrived: same octets (SHA-256), folder, flags, date.",
            f"- The last week was followed: {week.arrived} messages new, {week.flagged} marked, "
            f"{week.moved + week.renamed} moved, {week.deleted} deleted (these are kept in the target).",
            f"- {last.messages:,} messages stand in the target: 0 missing, 0 doubled. One more run changed nothing.",
            f"- {len(proof.ALTERED)} odd messages are stored by any such server with other line ends; `verify` names "
            "them.",
            f"It took {time.monotonic() - self.begun:.0f} seconds. The report:",
        )


def main(words: Sequence[str]) -> int:
    """Play; return 0 where everything was as promised."""

    def play(folder: Path, small: bool) -> None:
        with on_stage(folder) as stage:
            Play(stage, SMALL_SCALE if small else SCALE).perform()

    return command("tools.demo", __doc__ or "", words, play, small="some 500 messages instead of 2,300")


def command(
    name: str, description: str, words: Sequence[str], play: Callable[[Path, bool], None], *, small: str
) -> int:
    """Be the command of a demo: read its options, ``play`` into a folder, tell how it ended by the exit code."""
    parser = argparse.ArgumentParser(prog=f"python -m {name}", description=description)
    parser.add_argument("--small", action="store_true", help=small)
    parser.add_argument(
        "--folder", type=Path, default=ROOT / "demo-run", help="where the report lies afterwards"
    )
    wishes = parser.parse_args(words)
    signal.signal(signal.SIGTERM, interrupted)
    try:
        play(wishes.folder.absolute(), wishes.small)
    except (BrokenPromise, ServerError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted; its servers have ended", file=sys.stderr)
        return 130
    return 0


def interrupted(*_: Any) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
