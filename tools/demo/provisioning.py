"""``make demo-provision``: an organisation of 300 is made from a spreadsheet, and its mail moves into it.

Five faults in the sheets, told at once; a plan; a kill in the middle of making; a second sheet; then one command that
makes the rest and moves everybody's mail, with passwords that nobody has typed; and it is proven.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from attrs import define, field

from alimail_core.model import FolderPath
from alimail_core.testing.alibaba import AlibabaServer
from alimail_core.testing.oracle import decode_modified_utf7
from alimail_core.testing.servers import Dovecot
from alimail_directory.testing import OpenPlatform, OpenPlatformServer
from tools.demo.__main__ import command
from tools.demo.office import SPECIAL_USE, Person, Writer
from tools.demo.staff import NEW_DOMAIN, OLD_DOMAIN, Sheets
from tools.demo.stage import BrokenPromise, Stage, changed, make_empty, told

PEOPLE, SMALL = 300, 48
FOLDERS: Mapping[FolderPath, int] = {("INBOX",): 3, ("Sent",): 1}
"""Each person's mail."""

Held = Counter[tuple[str, str, str, str]]
"""Messages on a server's disk: whose, in which folder, the digest of the octets, the flags."""


@define
class ProvisionStage(Stage):
    """An old server, a new one, and the new one's Open Platform API; the files are those of one organisation."""

    platform: OpenPlatform = field(factory=OpenPlatform)
    api: OpenPlatformServer = field(init=False)

    def arrived(self) -> int:
        """Count the accounts that are made; the demo kills by that."""
        return len(self.platform.users)

    def fill_in_files(self) -> Sequence[str]:
        """Do what an administrator does after ``init``; return the lines that are new in the configuration."""
        self.write_secret("application.secret", self.platform.application_secret)
        changes = {
            "migration": {"workers": "8"},
            **self.servers(),
            "provision": {"kind": '"alimail"', "employees": '"employees.xlsx"', "groups": '"groups.xlsx"'},
        }
        own = [f'url = "{self.api.url}"', 'application_id = "env:APPLICATION_ID"']
        own.append('application_secret = "file:application.secret"')
        config = self.folder / "alimail.toml"
        written = changed(config.read_text("utf-8"), changes)
        before, table, after = written.partition("[provision]\n")
        kind = 'kind = "alimail"'
        config.write_text(before + table + after.replace(kind, "\n".join([kind, *own]), 1), "utf-8")
        os.environ["APPLICATION_ID"] = self.platform.application_id
        return [f"  {line}" for line in (*told(changes), *(f"[provision] {line}" for line in own))]


@contextmanager
def provision_on_stage(folder: Path) -> Iterator[ProvisionStage]:
    """Start the servers over an empty folder; end them however the block ends."""
    make_empty(folder)
    target = AlibabaServer(own_passwords=True)
    stage = ProvisionStage(folder, target, Dovecot(special_use=SPECIAL_USE))
    stage.api = OpenPlatformServer(stage.platform)
    stage.platform.on_password = target.set_password
    stage.platform.mail_folders = lambda address: counted(stage.target.dovecot, address)
    with stage.source, stage.target, stage.api:
        yield stage


@define
class Founding:
    """The play, scene by scene; each raises ``BrokenPromise`` where something is not as promised."""

    stage: ProvisionStage
    sheets: Sheets
    begun: float = field(factory=time.monotonic)

    def perform(self) -> None:
        """Play it all."""
        self.prepare()
        self.faults()
        self.plan()
        killed_at = self.apply()
        self.second_sheet()
        self.move()
        self.tell_end(killed_at, self.prove())

    def alimail(self, verb: str, *words: str, expect: int = 0) -> None:
        """Run a verb of alimail."""
        self.stage.run("alimail", verb, *words, expect=expect)

    def prepare(self) -> None:
        """Fill the old server; write the configuration and the sheets."""
        stage, people = self.stage, len(self.sheets.rows)
        stage.tell(
            f"Three servers run on loopback: the old mail server, with the mail of {people} people; a new one that "
            "presents itself as Alibaba Mail and has no account yet; and its Open Platform API, which takes 40 calls "
            "a second and refuses whatever is not documented."
        )
        fill(stage.source, [row.local for row in self.sheets.rows])
        self.alimail(
            "init", "--yes", "--name", "Harbour", "--source-host", "127.0.0.1", "--target-host", "127.0.0.1"
        )
        stage.tell("Filled in with an editor; all secrets are references:")
        stage.console.print(*stage.fill_in_files(), sep="\n")

    def faults(self) -> None:
        """Read sheets with five faults."""
        self.stage.tell(
            f"The staff department has sent {len(self.sheets.rows)} employees and {len(self.sheets.groups)} groups. "
            "Five cells are wrong, and all are told at once, before anything is touched:"
        )
        self.sheets.write(self.stage.folder, spoilt=True)
        self.alimail("provision", "plan", expect=2)

    def plan(self) -> None:
        """Read them mended."""
        self.stage.tell("Mended. What would be made? Nothing is, yet.")
        self.sheets.write(self.stage.folder)
        self.alimail("provision", "plan", "--quiet")

    def apply(self) -> int:
        """Make the organisation, with a kill; return how many accounts there were then."""
        wanted = len(self.sheets.rows) // 3
        self.stage.tell(f"Make them. Once {wanted} accounts are there, the process is killed (SIGKILL).")
        killed_at = self.stage.run_and_kill(
            "alimail", "provision", "apply", "--yes", "--quiet", arrived=wanted
        )
        self.stage.tell(
            f"Killed, with {killed_at} accounts there. The same command goes on, and makes nothing twice:"
        )
        self.alimail("provision", "apply", "--yes", "--quiet")
        self.alimail("provision", "status")
        self.alimail("provision", "plan", "--quiet", "--detailed-exitcode")
        return killed_at

    def second_sheet(self) -> None:
        """Let a month pass."""
        self.sheets.change()
        self.sheets.write(self.stage.folder)
        self.sheets.write_roster(self.stage.folder)
        self.stage.tell(
            "A month later the staff department sends a second sheet: one person is married and has another name and "
            "address, two change their departments, three are new, one has left. And the mail shall move: the roster "
            "names the old and the new address of each, and no password. The whole plan:"
        )
        self.alimail("move", "--plan")

    def move(self) -> None:
        """Make the rest and move everybody's mail."""
        self.stage.tell("All of it, in one command:")
        self.alimail("move", "--yes", "--plain", "--quiet")
        self.stage.tell(
            "The service's own books, which are asked without IMAP, say the same; nothing is left to plan:"
        )
        self.alimail("verify", "--api", "--quiet")
        self.alimail("provision", "plan", "--quiet", "--detailed-exitcode")

    def prove(self) -> Held:
        """Compare the files of both servers, and the accounts with the sheets. Raises ``BrokenPromise``."""
        old = held(self.stage.source, OLD_DOMAIN, self.sheets.new_locals())
        new = held(self.stage.target.dovecot, NEW_DOMAIN, {})
        there = {user["email"] for user in self.stage.platform.users.values()}
        if old != new:
            raise BrokenPromise(
                f"{(old - new).total()} messages are missing and {(new - old).total()} doubled"
            )
        if missing := self.sheets.addresses() - there:
            raise BrokenPromise(f"no account was made for {sorted(missing)}")
        return new

    def tell_end(self, killed_at: int, mail: Held) -> None:
        """Sum up what was proven."""
        platform = self.stage.platform
        self.stage.tell("Proven, by reading both servers' files and the service's books without alimail:")
        made = [each for each in platform.calls if each == "POST /v2/users"]
        for line in (
            f"- {len(platform.users)} accounts in {len(platform.departments)} departments and {len(platform.groups)} "
            f"groups, through a kill when {killed_at} accounts were there: {len(made)} calls made them.",
            "- One person was renamed and kept the mailbox; who has left was left alone.",
            f"- {mail.total():,} messages stand in the new mailboxes, each once, with the same octets and flags: 0 "
            "missing, 0 doubled. Every login used a password that alimail had made, and that no person has seen.",
            f"It took {time.monotonic() - self.begun:.0f} seconds.",
        ):
            self.stage.console.print(line)


def fill(server: Dovecot, names: Sequence[str]) -> None:
    """Give each of these people some mail."""
    writer = Writer(random.Random(5), datetime.now(UTC).replace(microsecond=0))
    for local in names:
        person = Person(local, local, FOLDERS, OLD_DOMAIN)
        for folder, count in FOLDERS.items():
            server.plant(person.old, folder)
            for _ in range(count):
                when = writer.date()
                flags = writer.random.choice(((), ("\\Seen",), ("\\Seen", "\\Answered")))
                server.deliver(person.old, folder, writer.mail(person, when), flags=flags, date=when)


def held(server: Dovecot, domain: str, renamed: dict[str, str]) -> Held:
    """Read a server's disk: no IMAP, and no line of alimail's engine."""
    found = Held()
    for home in (server.base / "mail").iterdir():
        local = home.name.removesuffix(f"@{domain}")
        for name, file in _files(home):
            octets = file.read_bytes().replace(b"\r\n", b"\n")
            flags = "".join(sorted(file.name.rpartition(":2,")[2]))
            found[renamed.get(local, local), name, sha256(octets).hexdigest(), flags] += 1
    return found


def counted(server: Dovecot, address: str) -> list[dict[str, object]]:
    """Return a mailbox's folders as the API tells them."""
    counts = Counter(name for name, _ in _files(server.base / "mail" / address.lower()))
    ids = {"inbox": "2", "sent": "1"}
    return [
        {"id": ids.get(name, f"9{at}"), "displayName": name, "totalItemCount": str(count)}
        for at, (name, count) in enumerate(counts.items())
    ]


def _files(home: Path) -> Iterator[tuple[str, Path]]:
    """Give the messages of a mailbox, each with its folder; what is sent has one name everywhere."""
    for place in (home / "inbox", *(home / "mail").glob("*")):
        name = "inbox" if place.name == "inbox" else (decode_modified_utf7(place.name.encode()) or place.name)
        for part in ("cur", "new"):
            for file in (place / part).glob("*") if (place / part).is_dir() else ():
                yield {"Sent": "sent", "已发送": "sent"}.get(name, name), file


def main(words: Sequence[str]) -> int:
    """Play; return 0 where everything was as promised."""

    def play(folder: Path, small: bool) -> None:
        with provision_on_stage(folder) as stage:
            Founding(stage, Sheets.of(SMALL if small else PEOPLE)).perform()

    return command(
        "tools.demo.provisioning", __doc__ or "", words, play, small=f"{SMALL} people instead of {PEOPLE}"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
