"""The guide "Move a company in an afternoon", followed to the letter between real servers."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from attrs import define, frozen

from alimail_core.model import INBOX
from alimail_core.structure import toml_text
from alimail_core.testing.alibaba import AlibabaServer
from alimail_core.testing.fixtures import StartAlibaba, StartDovecot
from alimail_core.testing.mail import message
from alimail_core.testing.oracle import digests
from alimail_core.testing.servers import Dovecot
from tools.demo.stage import changed, environment

GUIDE = Path(__file__).parent.parent / "docs" / "guides" / "move-a-company.md"
BLOCK = re.compile(r"^```(\w+)(?: file=(\S+))?(?: exit=(\d))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)

HEAD = ("anna", "bob", "info")
BRANCH = ("carl", "dana")


@frozen
class Step:
    """One thing that the guide tells its reader to do, run a command or write a file; or lines that they then see."""

    command: str = ""
    seen: str = ""
    exit_code: int = 0
    file: str = ""
    text: str = ""


def steps() -> Iterator[Step]:
    """Give what the guide says, in its order, but for the installation."""
    for language, file, code, text in BLOCK.findall(GUIDE.read_text("utf-8")):
        if language == "console":
            for line in text.splitlines():
                assert line.startswith("$ "), line
                yield Step(command=line.removeprefix("$ "), exit_code=int(code or 0))
        elif language == "text" and not file:
            yield Step(seen=text)
        elif language != "sh":
            assert file, f"a block of {language} that is no file"
            yield Step(file=file, text=text)


@define
class Reader:
    """Somebody who does what the guide says, with other servers than its."""

    folder: Path
    head: Dovecot
    branch: Dovecot
    new: AlibabaServer

    def follow(self, step: Step) -> str:
        """Do one step; return what a command said."""
        if step.command:
            return self.run(step.command, step.exit_code)
        path = self.folder / step.file
        if path.suffix == ".toml":
            self.write_configuration(path, step.text)
        else:
            path.write_text(step.text.replace("Harbour-2026", self.new.password), "utf-8")
        return ""

    def run(self, command: str, exit_code: int) -> str:
        """Run a command; it must end as the guide says."""
        words = shlex.split(command)
        done = subprocess.run(
            words,
            cwd=self.folder,
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
        )
        told = done.stdout + done.stderr
        assert done.returncode == exit_code, f"$ {command}\n{told}"
        return told

    def write_configuration(self, path: Path, text: str) -> None:
        """Write the keys and tables that the guide shows, with this test's servers where its names are."""
        first, mark, further = text.partition("[sources.branch]")
        assert path.read_text("utf-8").count('host = "mail.old.example"') == 1
        assert further.count('host = "pop.branch.example"') == 1
        written = path.read_text("utf-8").replace("mail.old.example", self.head.host)
        changes = _written(first)
        changes["source"] |= {"port": str(self.head.imaps_port), "ca": f'"{self.head.ca_file}"'}
        changes["target"] = {
            "host": f'"{self.new.host}"',
            "port": str(self.new.imaps_port),
            "ca": f'"{self.new.ca_file}"',
        }
        place = f'host = "{self.branch.host}"\nport = {self.branch.pop3s_port}\nca = "{self.branch.ca_file}"'
        further = mark + further.replace('host = "pop.branch.example"', place)
        path.write_text(f"{changed(written, changes)}\n{further}", "utf-8")


def _written(text: str) -> dict[str, dict[str, str]]:
    return {
        table: {key: toml_text(value) for key, value in keys.items()}
        for table, keys in tomllib.loads(text).items()
    }


@pytest.fixture
def reader(tmp_path: Path, dovecot: StartDovecot, alibaba: StartAlibaba) -> Reader:
    """Return a reader before the first line: servers with the guide's passwords, mail in the old ones."""
    head = dovecot(master_user="migrator", master_password="open-all-doors-7")
    branch = dovecot(pop3=True, password="Lighthouse-1")
    for name in HEAD:
        for number in range(25):
            head.deliver(f"{name}@old.example", INBOX, letter(name, number))
        head.deliver(f"{name}@old.example", ("Projects", "2024"), letter(name, 25))
    for name in BRANCH:
        branch.deliver(f"{name}@branch.example", INBOX, letter(name, 0))
    return Reader(tmp_path, head, branch, alibaba())


def letter(name: str, number: int) -> bytes:
    """Write a message of which there is one."""
    return message(f"Letter {number} to {name}", message_id=f"{number}.{name}@example.org")


def mail(server: Dovecot | AlibabaServer, address: str) -> Counter[str]:
    """Return the messages of a mailbox, whatever folder they are in."""
    return sum(digests(server.snapshot(address)).values(), Counter())


def assert_told(seen: str, told: str) -> None:
    """Find each line that the guide shows in what was said last, however wide its tables are."""
    lines = {" ".join(line.split()) for line in told.splitlines()}
    for line in seen.splitlines():
        assert line == "…" or " ".join(line.split()) in lines, f"{line}\nis not in\n{told}"


@pytest.mark.server
def test_a_company_moves_as_the_guide_says(reader: Reader) -> None:
    """Every command ends as it says, mail that comes meanwhile comes along, and at the end all is there once."""
    meanwhile: dict[str, Callable[[], None]] = {
        # What the text says between the commands: people go on, and the exchanger is changed.
        "--retry-problems": lambda: reader.head.deliver("bob@old.example", INBOX, letter("bob", 30)),
        "cutover": lambda: reader.branch.deliver("carl@branch.example", INBOX, letter("carl", 30)),
    }
    by_itself = letter("anna", 40)
    told: list[tuple[str, str]] = []
    for step in steps():
        if step.seen:
            assert_told(step.seen, "".join(text for _, text in told[-2:]))
            continue
        told.append((step.command, reader.follow(step)))
        for words in [words for words in meanwhile if words in step.command]:
            meanwhile.pop(words)()
            if "cutover" in words:
                reader.new.deliver("anna@new.example", INBOX, by_itself)
    assert not meanwhile
    checked = [text for command, text in told if command.startswith("alimail check")]
    assert "bob@new.example (target): FAULT" in checked[0]
    assert "dana@branch.example (source): FAULT" in checked[0]
    assert [path.name.split("-")[0] for path in (reader.folder / "letters").iterdir()] == [
        "dana@branch.example"
    ]
    for server, names, domain in ((reader.head, HEAD, "old"), (reader.branch, BRANCH, "branch")):
        for name in names:
            wanted = mail(server, f"{name}@{domain}.example")
            wanted.update([sha256(by_itself).hexdigest()] if name == "anna" else [])
            assert mail(reader.new, f"{name}@new.example") == wanted
    assert (reader.folder / "alimail-report" / "report.html").exists()


def test_the_guide_uses_every_verb_of_a_move() -> None:
    """Nothing that a move takes is left out of its story."""
    verbs = {step.command.split()[1] for step in steps() if step.command.startswith("alimail ")}
    assert verbs >= {
        *(
            "init",
            "check",
            "letters",
            "plan",
            "migrate",
            "undo",
            "enable",
            "status",
            "cutover",
            "verify",
            "report",
        ),
        "disable",
    }
