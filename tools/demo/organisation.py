"""``make demo-organisation``: a company of thirty moves, with trouble on the way, until the old systems can end.

Two old systems, IMAP and POP3, one new one; a password is wrong and a mailbox is deleted in the middle of it; the
process is killed; people go on working; the two are mended; the mail exchanger is changed; and it is proven.
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from attrs import define, evolve, field

from tools.demo import proof
from tools.demo.__main__ import command
from tools.demo.company import (
    BRANCH_PEOPLE,
    GONE,
    HEAD_PEOPLE,
    MISTYPED,
    PEOPLE,
    CompanyStage,
    company_on_stage,
)
from tools.demo.office import INBOX, LastWeek, Person, Writer, work_on
from tools.demo.stage import BrokenPromise

SCALE, SMALL_SCALE = 2, 1


@define
class Move:
    """The move, scene by scene; each raises ``BrokenPromise`` where something is not as promised."""

    stage: CompanyStage
    scale: int
    begun: float = field(factory=time.monotonic)
    writer: Writer = field(factory=lambda: Writer(random.Random(3), datetime.now(UTC).replace(microsecond=0)))

    def perform(self) -> None:
        """Play it all."""
        self.prepare()
        self.look()
        killed_at = self.carry()
        carried = [person for person in HEAD_PEOPLE if person not in (MISTYPED, GONE)]
        before = self.head_office(carried)
        week = self.delta()
        self.mend()
        self.prove("After the repair all thirty are in sync", proof.expected(self.source(), before))
        arrived = self.cut_over()
        wanted = proof.expected(self.source(), before) + arrived
        last = self.prove("The same after the change, with what came to the new system by itself", wanted)
        self.end()
        self.tell_end(killed_at, week, last)

    def alimail(self, verb: str, *words: str, expect: int = 0) -> None:
        """Run a verb of alimail."""
        self.stage.run("alimail", verb, *words, expect=expect)

    def prepare(self) -> None:
        """Fill the old servers; write configuration and roster."""
        stage = self.stage
        stage.tell(
            f"Three mail servers run on loopback: the head office's old one (IMAP, {len(HEAD_PEOPLE)} people), the "
            f"branch's old one (POP3, {len(BRANCH_PEOPLE)} people), and one that presents itself as Alibaba Mail. "
            "The old ones are being filled."
        )
        stage.fill(self.writer, self.scale)
        stage.tell("It is one migration, with one configuration and one roster:")
        self.alimail(
            *("init", "--yes", "--name", "Harbour", "--source-host", "127.0.0.1"),
            *("--source-port", str(stage.source.imaps_port), "--target-host", "127.0.0.1"),
        )
        lines = stage.fill_in_company()
        stage.tell(
            "Filled in with an editor: the roster, with everybody's passwords (one of them with a slip), and in the "
            "configuration"
        )
        stage.console.print(*lines, sep="\n")

    def look(self) -> None:
        """Check and plan: nothing is written yet, and the wrong password is found."""
        self.stage.tell(
            f"Can everything be reached? The password of {MISTYPED.old} is wrong, and `check` says so."
        )
        self.alimail("check", expect=3)
        self.stage.tell("What will be done to whom? The one with the wrong password is named again.")
        self.alimail("plan", "--quiet", expect=3)

    def carry(self) -> int:
        """Move everybody, with a kill and a mailbox deleted in the middle.

        Return how many messages stood in the target when the process was killed.
        """
        stage, wanted = self.stage, 240 * self.scale
        stage.tell(
            f"Now move them. Half-way, the old system's administrator deletes the mailbox of {GONE.old}. Once "
            f"{wanted} messages have arrived, the process is killed (SIGKILL)."
        )
        killed_at = stage.run_and_kill(
            *("alimail", "migrate", "--yes"),
            arrived=wanted,
            meanwhile=lambda: stage.source.close_account(GONE.old),
        )
        stage.tell(
            f"Killed, with {killed_at:,} messages in the target. The same command goes on; two accounts cannot, and "
            "hold up nobody."
        )
        self.alimail("migrate", "--yes", expect=3)
        stage.tell("Who waits, and why?")
        self.alimail("status", "--pending")
        return killed_at

    def delta(self) -> LastWeek:
        """Let people go on working at the old systems, and carry what they did."""
        stage = self.stage
        people = [person for person in HEAD_PEOPLE if person is not GONE]
        week = work_on(stage.source, self.writer, people)
        for person in BRANCH_PEOPLE:
            stage.branch.deliver(person.old, INBOX, self.writer.mail(person, self.writer.today))
        week = evolve(week, arrived=week.arrived + len(BRANCH_PEOPLE))
        stage.tell(
            f"Meanwhile people went on: {week.arrived} messages arrived, {week.flagged} were marked, {week.moved} "
            f"moved, {week.renamed} are in folders that were renamed, {week.deleted} were deleted. The same command "
            "carries that."
        )
        self.alimail("migrate", "--yes", expect=3)
        return week

    def mend(self) -> None:
        """Correct the password, put the mailbox back, and carry the two accounts."""
        stage = self.stage
        stage.tell(
            f"The slip in the roster is corrected, and the mailbox of {GONE.old} is put back from the old system's "
            "backup. Only who had trouble is carried:"
        )
        stage.write_roster()
        stage.source.open_account(GONE.old)
        self.alimail("migrate", "--yes", "--retry-problems")

    def cut_over(self) -> proof.Mail:
        """Show the checklist, change the exchanger, and carry the last delta; return what came to the new system."""
        stage = self.stage
        stage.tell("Ready for the change? The checklist is made from the true state, and kept.")
        self.alimail("cutover")
        arrived = stage.change_exchanger(self.writer)
        late = HEAD_PEOPLE[:5]
        for person in late:
            stage.source.deliver(person.old, INBOX, self.writer.mail(person, self.writer.today))
        stage.tell(
            f"The MX record points to the new system now: {arrived.total()} messages arrive there, one for each "
            f"person, and {len(late)} more at the old one, whose senders still had the old record. The final delta:"
        )
        self.alimail("migrate", "--yes")
        return arrived

    def end(self) -> None:
        """Prove by alimail's own means, see that nothing is left, disable the accounts and write the report."""
        before = self.target()
        self.stage.tell("Is it all there? Every octet is read back from the target.")
        self.alimail("verify", "--full", "--quiet")
        self.stage.tell("Once more: there is nothing to do, and nothing is written.")
        self.alimail("migrate", "--yes", "--quiet")
        if self.target() != before:
            raise BrokenPromise("a pass with nothing to do has changed the target")
        self.stage.tell(
            "The old systems can be switched off: no account runs any longer, and the report is written."
        )
        self.alimail("disable", "ALL")
        self.alimail("report")

    def head_office(self, people: Iterable[Person] = HEAD_PEOPLE) -> proof.Office:
        """Read mailboxes of the head office's old system."""
        return proof.read(self.stage.source.snapshot, {person.local: person.old for person in people})

    def source(self) -> proof.Office:
        """Read all mailboxes of both old systems."""
        branch = proof.read(
            self.stage.branch.snapshot, {person.local: person.old for person in BRANCH_PEOPLE}
        )
        return {**self.head_office(), **branch}

    def target(self) -> proof.Office:
        """Read all mailboxes of the new system."""
        return proof.read(self.stage.target.snapshot, {person.local: person.new for person in PEOPLE})

    def prove(self, claim: str, wanted: proof.Mail) -> proof.Findings:
        """Hold the target against what it must hold. Raises ``BrokenPromise`` where anything differs."""
        target = self.target()
        findings = proof.compare(wanted, target)
        marked = proof.compare(_of(HEAD_PEOPLE, wanted), _only(HEAD_PEOPLE, target)).marked_otherwise
        self.stage.tell(
            f"{claim}: all servers were read by another program (Python's imaplib). {findings.messages:,} messages "
            f"stand in the target; {findings.missing} are missing, {findings.doubled} doubled. At the head office "
            f"{marked} have other flags or another date; POP3 tells neither."
        )
        if findings.missing or findings.doubled or marked:
            raise BrokenPromise(f"the target differs from the source: {findings}")
        return findings

    def tell_end(self, killed_at: int, week: LastWeek, last: proof.Findings) -> None:
        """Sum up what was proven, and say where the report lies."""
        self.stage.tell_end(
            "Proven, by reading all servers without alimail:",
            f"- {len(PEOPLE)} mailboxes moved, {len(HEAD_PEOPLE)} by IMAP and {len(BRANCH_PEOPLE)} by POP3, through "
            f"a kill when {killed_at:,} messages had arrived: each message is there once, with the same octets.",
            "- A wrong password and a mailbox that was deleted meanwhile stopped their two accounts and no other; "
            "mended, they were carried with --retry-problems.",
            f"- The last week was followed: {week.arrived} messages new, {week.flagged} marked, "
            f"{week.moved + week.renamed} moved, {week.deleted} deleted (these are kept in the target).",
            f"- The change was made: what {len(PEOPLE)} people got at the new system by itself was left alone, and "
            "what came late to the old one was carried.",
            f"- {last.messages:,} messages stand in the target: 0 missing, 0 doubled. One more run changed nothing.",
            f"It took {time.monotonic() - self.begun:.0f} seconds. The report:",
        )


def _only(people: Iterable[Person], office: proof.Office) -> proof.Office:
    return {person.local: office[person.local] for person in people}


def _of(people: Iterable[Person], mail: proof.Mail) -> proof.Mail:
    locals_ = {person.local for person in people}
    return Counter({place: times for place, times in mail.items() if place[0] in locals_})


def main(words: Sequence[str]) -> int:
    """Play; return 0 where everything was as promised."""

    def play(folder: Path, small: bool) -> None:
        with company_on_stage(folder) as stage:
            Move(stage, SMALL_SCALE if small else SCALE).perform()

    return command("tools.demo.organisation", __doc__ or "", words, play, small="half of the mail")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
