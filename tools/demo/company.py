"""A company of thirty: twenty at a head office with IMAP, ten at a branch with POP3; its servers and its files."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from attrs import define, field

from alimail_core.model import FolderPath
from alimail_core.testing.alibaba import AlibabaServer
from alimail_core.testing.oracle import Kept
from alimail_core.testing.servers import Dovecot
from tools.demo.office import INBOX, RENAMED, Person, Writer, fill_folders
from tools.demo.proof import Mail
from tools.demo.stage import Stage, changed, make_empty, told

BRANCH_DOMAIN = "branch.harbour.example"
HEAD_NAMES = (
    "Anna Berg", "Jonas Koch", "Marie Blanc", "Peter Holm", "Sofia Rossi", "Tom Baker", "Eva Novak", "Jan de Vries",
    "Lena Vogel", "Omar Haddad", "Li Wei", "Chen Mei", "Wang Fang", "Zhang Min", "Liu Yang", "Zhao Lei", "Sun Hao",
    "Zhou Xin", "Wu Jie", "Xu Ting",
)  # fmt: skip
BRANCH_NAMES = (
    "Carla Diaz", "Nils Lund", "Ida Moen", "Rosa Lima", "Ben Clark", "Huang Bo", "Ma Rui", "Gao Jun", "He Ying",
    "Lin Tao",
)  # fmt: skip


def _person(name: str, domain: str, folders: Mapping[FolderPath, int]) -> Person:
    return Person(name, name.lower().replace(" ", "."), folders, domain)


HEAD_PEOPLE = tuple(
    _person(
        name,
        "harbour.example",
        {INBOX: 13, ("Sent",): 5, (RENAMED[0] if number < 2 else ("客户", f"No. {number}")): 4},
    )
    for number, name in enumerate(HEAD_NAMES)
)
"""Two of them rename a folder in their last week."""
BRANCH_PEOPLE = tuple(_person(name, BRANCH_DOMAIN, {INBOX: 12}) for name in BRANCH_NAMES)
PEOPLE = (*HEAD_PEOPLE, *BRANCH_PEOPLE)
"""Some 850 messages with a scale of 1, and a third of each folder twice."""

MISTYPED, GONE = HEAD_PEOPLE[3], HEAD_PEOPLE[12]
"""Who has a wrong password in the roster, and whose mailbox is deleted while it is carried."""


@define
class CompanyStage(Stage):
    """Two old servers and a new one; the files are those of one migration."""

    branch: Dovecot = field(factory=lambda: Dovecot(pop3=True))

    def fill(self, writer: Writer, scale: int) -> None:
        """Put everybody's mail into the old servers."""
        fill_folders(self.source, writer, HEAD_PEOPLE, scale)
        fill_folders(self.branch, writer, BRANCH_PEOPLE, scale)

    def fill_in_company(self) -> Sequence[str]:
        """Do what an administrator does after ``init``; return the lines that are new in the configuration."""
        for name, server in (("old", self.source), ("branch", self.branch), ("new", self.target)):
            shutil.copy(server.ca_file, self.folder / f"{name}-ca.pem")
        changes = {
            "migration": {"workers": "8"},
            "source": {"ca": '"old-ca.pem"'},
            "target": {"port": str(self.target.imaps_port), "ca": '"new-ca.pem"'},
            "transfer": {"settle_seconds": "3.0"},
        }
        branch = [
            "[sources.branch]",
            'kind = "pop3"',
            'host = "127.0.0.1"',
            f"port = {self.branch.pop3s_port}",
        ]
        branch.append('ca = "branch-ca.pem"')
        config = self.folder / "alimail.toml"
        written = changed(config.read_text("utf-8"), changes)
        config.write_text("\n".join([written, *branch, ""]), "utf-8")
        self.write_roster(mistyped=MISTYPED)
        return [f"  {line}" for line in (*told(changes), *branch)]

    def write_roster(self, *, mistyped: Person | None = None) -> None:
        """Fill in the spreadsheet that ``init`` made, a row a person, and keep its mode of 0600."""
        path = self.folder / "accounts.csv"
        with path.open(encoding="utf-8-sig", newline="") as file:
            headings = next(row for row in csv.reader(file) if row and not row[0].startswith("#"))
        with path.open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.DictWriter(file, headings, restval="")
            writer.writeheader()
            writer.writerows(self._row(person, "x" if person is mistyped else "") for person in PEOPLE)

    def _row(self, person: Person, slip: str) -> Mapping[str, str]:
        at_branch = person.domain == BRANCH_DOMAIN
        return {
            "Source address": person.old,
            "Source system": "branch" if at_branch else "",
            "Source password": (self.branch if at_branch else self.source).password + slip,
            "Target address": person.new,
            "Target password": self.target.password,
        }

    def change_exchanger(self, writer: Writer) -> Mail:
        """Let new mail arrive at the new system, one message a person; return what arrived."""
        now = datetime.now(UTC).replace(microsecond=0)
        arrived = Mail()
        for person in PEOPLE:
            octets = writer.mail(person, now)
            self.target.deliver(person.new, INBOX, octets, date=now)
            arrived[person.local, INBOX, Kept(sha256(octets).hexdigest(), frozenset(), now)] += 1
        return arrived


@contextmanager
def company_on_stage(folder: Path) -> Iterator[CompanyStage]:
    """Start the three servers over an empty folder; end them however the block ends."""
    make_empty(folder)
    stage = CompanyStage(folder, AlibabaServer())
    with stage.source, stage.branch, stage.target:
        yield stage
