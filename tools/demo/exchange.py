"""``make demo-exchange``: an Exchange server moves, from the scripts that prepare it to the report.

The scripts are written, and a list as PowerShell exports it becomes a roster; the check finds a mailbox that the
service account may not open, and the right is given; the move is killed and goes on; people go on working; and it is
proven.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from attrs import define, field

from alimail_core.content import content_digest
from alimail_core.model import INBOX, FolderPath
from alimail_core.testing.alibaba import AlibabaServer
from alimail_core.testing.mail import message
from alimail_core.testing.oracle import take_snapshot
from tests.exchange import ExchangeServer, Mailbox
from tests.exchange.__main__ import fill
from tools.demo.__main__ import command
from tools.demo.stage import BrokenPromise, Stage, make_empty

PEOPLE = {"anna": "Anna Berg", "bo": "Bo Lund", "carla": "Carla Diaz", "mei": "陈梅", "wei": "王伟"}
REFUSED = "carla"
PASSWORD = "St33l-and-glass"  # noqa: S105 - of a server that ends with the demo
"""The service account's."""
SENT = ("已发送",)
"""What the target calls sent mail."""
SCALE, SMALL_SCALE = 200, 40
"""Messages of each person."""
_COLUMNS = (
    "PrimarySmtpAddress",
    "DisplayName",
    "Alias",
    "SamAccountName",
    "RecipientTypeDetails",
    "Database",
)

Mail = Counter[tuple[str, FolderPath, str]]
"""How often each message stands where: whose it is, the folder, and a digest of what a reader sees of it."""


@define
class ExchangeStage(Stage):
    """An Exchange server beside the new one."""

    exchange: ExchangeServer = field(factory=ExchangeServer)

    def fill(self, scale: int) -> None:
        """Make everybody's mailbox, and a service account that may open all but one."""
        organisation = self.exchange.organisation
        for number, (name, display) in enumerate(PEOPLE.items()):
            box = organisation.add_mailbox(
                name, language="zh" if name in ("mei", "wei") else "en", display=display
            )
            fill(box, argparse.Namespace(messages=scale, octets=scale * 20_000, folders=4, seed=str(number)))
        allowed = {address for address in organisation.mailboxes if not address.startswith(REFUSED)}
        organisation.add_account("superman", PASSWORD, impersonates=allowed)

    def export(self) -> None:
        """Write the list of addresses, as Export-Csv does it by default: UTF-16."""
        rows = [
            (box.address, box.name, name, name, "UserMailbox", "MDB1")
            for name, box in zip(PEOPLE, self.exchange.organisation.mailboxes.values(), strict=True)
        ]
        lines = ["#TYPE Selected.Microsoft.Exchange.Data.Directory.Management.Mailbox"]
        lines += [",".join(f'"{cell}"' for cell in row) for row in (_COLUMNS, *rows)]
        (self.folder / "addresses.csv").write_text("\r\n".join(lines) + "\r\n", "utf-16")

    def configure(self) -> list[str]:
        """Write the configuration, and the two passwords with mode 0600; return its lines."""
        shutil.copy(self.exchange.ca_file, self.folder / "old-ca.pem")
        shutil.copy(self.target.ca_file, self.folder / "new-ca.pem")
        self.write_secret("superman.txt", PASSWORD)
        self.write_secret("new.txt", self.target.password)
        lines = [
            "[migration]", 'name = "Exchange"', 'roster = "accounts.csv"',
            "[source]", 'kind = "ews"', 'host = "localhost"', f"port = {self.exchange.port}", 'ca = "old-ca.pem"',
            "master_user = 'OLD\\superman'", 'secret = "file:superman.txt"',
            "[target]", 'kind = "alimail"', 'host = "127.0.0.1"', f"port = {self.target.imaps_port}",
            'ca = "new-ca.pem"', 'secret = "file:new.txt"',
            "[transfer]", "settle_seconds = 3.0",
        ]  # fmt: skip
        (self.folder / "alimail.toml").write_text("\n".join(lines) + "\n", "utf-8")
        return lines

    def source_mail(self) -> Mail:
        """Return what stands in Exchange, at the places where it belongs in the target."""
        found: Mail = Counter()
        for name, box in zip(PEOPLE, self.exchange.organisation.mailboxes.values(), strict=True):
            for folder in box.folders.values():
                path = INBOX if folder.distinguished == "inbox" else folder.path
                path = SENT if folder.distinguished == "sentitems" else path
                seen = (sha256(content_digest(item.mime)).hexdigest() for item in folder.items.values())
                found.update((name, path, each) for each in seen)
        return found

    def target_mail(self) -> Mail:
        """Return what stands in the target, read by another program (Python's imaplib)."""
        found: Mail = Counter()
        for name in PEOPLE:
            with self.target.dovecot.direct(f"{name}@new.example") as imap:
                held = take_snapshot(imap, "/", "", content_digest)
            for path, messages in held.items():
                for each, times in messages.items():
                    found[name, path, each.digest] += times
        return found


@define
class Move:
    """The move, scene by scene; each raises ``BrokenPromise`` where something is not as promised."""

    stage: ExchangeStage
    scale: int
    begun: float = field(factory=time.monotonic)

    def perform(self) -> None:
        """Play it all."""
        self.prepare()
        self.check()
        killed_at = self.carry()
        self.prove("Nothing was lost and nothing doubled by the kill")
        news = self.delta()
        total = self.prove("The same after the last week")
        self.end(killed_at, news, total)

    def alimail(self, *words: str, expect: int = 0) -> None:
        """Run a verb of alimail."""
        self.stage.run("alimail", *words, expect=expect)

    def prepare(self) -> None:
        """Write the scripts, export the addresses, make the roster and the configuration."""
        stage = self.stage
        stage.tell(
            f"An Exchange 2016 runs on loopback, port {stage.exchange.port}, beside a server that presents itself as "
            f"Alibaba Mail. {len(PEOPLE)} people have {self.scale} messages each there. First the scripts for the "
            "Exchange machine:"
        )
        stage.fill(self.scale)
        self.alimail("exchange", "prepare", "--version", "2016", "--database", "MDB1", "--domain", "old.example",
                     "-o", "exchange")  # fmt: skip
        stage.tell(
            "They were run there (not in this demo), and wrote a list of addresses, in UTF-16. A roster of it:"
        )
        stage.export()
        self.alimail(
            "exchange", "roster", "addresses.csv", "--target-domain", "new.example", "-o", "accounts.csv"
        )
        stage.tell("And the configuration:")
        stage.console.print(*stage.configure(), sep="\n")

    def check(self) -> None:
        """Find the mailbox that may not be opened, give the right, and check again."""
        stage = self.stage
        stage.tell(
            "Is the server ready? The scope of the right leaves out one mailbox, and the check says so."
        )
        words = ("exchange", "check", "--server", f"localhost:{stage.exchange.port}", "--user", "OLD\\superman",
                 "--secret", "file:superman.txt", "--ca", "old-ca.pem", "--roster", "accounts.csv")  # fmt: skip
        self.alimail(*words, expect=3)
        account = stage.exchange.organisation.account("superman")
        assert account is not None
        account.impersonates.add("*")
        stage.tell("The administrator widens the scope. The whole way, both sides, all accounts:")
        self.alimail("check")

    def carry(self) -> int:
        """Move everybody, with a kill; return how many messages stood in the target when it came."""
        stage, wanted = self.stage, len(PEOPLE) * self.scale // 3
        stage.tell(f"Now move them. Once {wanted} messages have arrived, the process is killed (SIGKILL).")
        killed_at = stage.run_and_kill("alimail", "migrate", "--yes", arrived=wanted)
        stage.tell(f"Killed, with {killed_at:,} messages in the target. The same command goes on.")
        self.alimail("migrate", "--yes")
        return killed_at

    def delta(self) -> int:
        """Let people go on working in Exchange, and carry what they did; return how many messages arrived."""
        boxes = list(self.stage.exchange.organisation.mailboxes.values())
        for box in boxes:
            work_on(box)
        self.stage.tell(
            f"Meanwhile people went on: {2 * len(boxes)} messages arrived, {3 * len(boxes)} were filed in another "
            f"folder, {2 * len(boxes)} were read or marked; and Anna's mailbox was moved to another database, which "
            "gave everything in it new identifiers. The same command carries what is new, and follows what moved."
        )
        boxes[0].relocate()
        self.alimail("migrate", "--yes")
        return 2 * len(boxes)

    def prove(self, claim: str) -> int:
        """Hold the target against Exchange. Raises ``BrokenPromise`` where anything differs."""
        wanted, found = self.stage.source_mail(), self.stage.target_mail()
        missing, doubled = (wanted - found).total(), (found - wanted).total()
        self.stage.tell(
            f"{claim}: the target was read by another program (Python's imaplib). {found.total():,} messages stand "
            f"there; {missing} are missing, {doubled} doubled."
        )
        if missing or doubled:
            raise BrokenPromise(f"the target differs from Exchange: {missing} missing, {doubled} doubled")
        return found.total()

    def end(self, killed_at: int, news: int, total: int) -> None:
        """Prove by alimail's own means, see that nothing is left, and write the report."""
        stage = self.stage
        stage.tell("Is it all there? Every octet is read back from the target.")
        self.alimail("verify", "--full", "--quiet")
        asked = stage.exchange.requests.copy()
        stage.tell("Once more: there is nothing to do.")
        self.alimail("migrate", "--yes", "--quiet")
        if (stage.exchange.requests - asked)["GetItem"]:
            raise BrokenPromise("a pass with nothing to do has asked for messages")
        self.alimail("report")
        stage.tell_end(
            "Proven, by reading the target without alimail:",
            f"- {len(PEOPLE)} mailboxes moved from Exchange, through a kill when {killed_at:,} messages had arrived.",
            f"- {news} new messages were carried, what was filed elsewhere was followed, and a mailbox on another "
            "database was not copied again.",
            f"- {total:,} messages stand in the target: 0 missing, 0 doubled. One more run asked for none.",
            f"It took {time.monotonic() - self.begun:.0f} seconds. The scripts lie in {stage.folder.name}/exchange,",
            "the report here:",
        )


def work_on(box: Mailbox) -> None:
    """Let a mailbox's owner read, mark and file mail, and get some more."""
    items = list(box.folder("inbox").items.values())
    for item in items[:3]:
        box.move(item, box.folder(("Projects", "Filed")))
    box.change(items[3], is_read=not items[3].is_read)
    box.change(items[4], flag_status="Flagged")
    now = datetime.now(UTC).replace(microsecond=0)
    for number in range(2):
        octets = message(f"News {number}", message_id=f"news.{number}@{box.address}")
        box.deliver("inbox", octets, received=now)


@contextmanager
def exchange_on_stage(folder: Path) -> Iterator[ExchangeStage]:
    """Start both servers over an empty folder; end them however the block ends."""
    make_empty(folder)
    stage = ExchangeStage(folder, AlibabaServer())
    with stage.exchange, stage.target:
        yield stage


def main(words: list[str]) -> int:
    """Play; return 0 where everything was as promised."""

    def play(folder: Path, small: bool) -> None:
        with exchange_on_stage(folder) as stage:
            Move(stage, SMALL_SCALE if small else SCALE).perform()

    return command("tools.demo.exchange", __doc__ or "", words, play, small="a fifth of the mail")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
