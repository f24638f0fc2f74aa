"""The guides' code is the examples' code, and it runs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from alimail_core.cli import VERBS
from alimail_core.config.load import loads
from alimail_core.registry import Registry
from alimail_core.testing import message
from alimail_core.testing.alibaba import AlibabaServer
from alimail_core.testing.fixtures import StartAlibaba, StartDovecot
from alimail_core.testing.oracle import digests
from alimail_core.testing.servers import Dovecot

ROOT = Path(__file__).parent.parent
GUIDES = ROOT / "docs" / "guides"
MBOX = ROOT / "examples" / "alimail-mbox"
EMBED = ROOT / "examples" / "embed.py"

BLOCK = re.compile(r"^```(\S+)(?: file=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(guide: str, language: str) -> list[str]:
    """Return the fenced blocks of a guide that are in one language."""
    return [
        code for found, _, code in BLOCK.findall((GUIDES / guide).read_text("utf-8")) if found == language
    ]


def files(guide: str) -> dict[str, str]:
    """Return the files that a guide builds, each put together from its blocks in their order."""
    built: dict[str, list[str]] = defaultdict(list)
    for _, name, code in BLOCK.findall((GUIDES / guide).read_text("utf-8")):
        if name:
            built[name].append(code)
    return {name: "\n".join(parts) for name, parts in built.items()}


def lines(text: str) -> list[str]:
    """Return the lines of a file that are not blank: how far apart a guide's pieces stand says nothing."""
    return [line for line in text.splitlines() if line.strip()]


def python(*arguments: str | Path, at: Path, path: Path) -> subprocess.CompletedProcess[str]:
    """Run this Python in another folder, with one more place to import from."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(path), str(ROOT)])}
    environment.pop("PYTEST_ADDOPTS", None)
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, cwd=at, env=environment, capture_output=True, text=True, timeout=800)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The plug-in that the guide builds, in a folder of its own."""
    folder = tmp_path_factory.mktemp("alimail-mbox")
    for name, text in files("write-a-source.md").items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, "utf-8")
    return folder


def test_the_source_guide_builds_the_example() -> None:
    """What the guide builds is the example, file by file, apart from what the guide says that it leaves out."""
    tracked = {
        path.relative_to(MBOX).as_posix() for path in MBOX.rglob("*") if path.suffix in (".py", ".toml")
    }
    built = files("write-a-source.md")
    assert built.keys() == tracked
    for name, text in built.items():
        assert lines(text) == lines((MBOX / name).read_text("utf-8")), f"{name} differs"


def test_the_example_is_small() -> None:
    """A complete source plug-in is less than 150 lines."""
    assert len((MBOX / "src/alimail_mbox/plugin.py").read_text("utf-8").splitlines()) < 150


@pytest.mark.slow
def test_the_guides_plug_in_passes_its_tests(built: Path) -> None:
    """The plug-in built from the guide's blocks passes the contract's suite and its own tests, without a warning."""
    run = python(
        "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "tests", at=built, path=built / "src"
    )
    assert run.returncode == 0, run.stdout + run.stderr
    passed = re.search(r"(\d+) passed", run.stdout)
    assert passed is not None, run.stdout
    assert int(passed[1]) > 35
    assert "skipped" not in run.stdout


@pytest.mark.slow
def test_the_guides_plug_in_is_typed(built: Path) -> None:
    """The plug-in built from the guide's blocks has no fault that ``mypy --strict`` finds."""
    cache = ROOT / ".mypy_cache"
    run = python(
        "-m", "mypy", "--strict", f"--cache-dir={cache}", "src", "tests", at=built, path=built / "src"
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_embedding_guide_shows_the_example() -> None:
    """Each piece of Python in the guide stands in the example, line for line."""
    example = EMBED.read_text("utf-8")
    shown = blocks("embed.md", "python")
    assert len(shown) > 5
    for code in shown:
        assert code in example


@pytest.mark.slow
def test_the_embedding_example_runs(tmp_path: Path) -> None:
    """Two migrations run in one process, one is stopped and gone on with, and both are proven."""
    run = python("-W", "error", EMBED, at=tmp_path, path=ROOT)
    assert run.returncode == 0, run.stdout + run.stderr
    said = run.stdout
    assert "exit codes: 0 and 130" in said
    assert "exit code: 0; proven: [True, True]" in said
    assert not run.stderr
    copied = [int(count) for count in re.findall(r"cai@\S+ is (?:stopped|done), (\d+) messages", said)]
    assert len(copied) == 2
    assert 20 <= copied[0] < 100
    assert sum(copied) == 100


PAGES = [*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"), *ROOT.glob("plugins/*/*.md"), MBOX / "README.md"]
LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]+)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    """Each link of a page to another file of the repository leads to one."""
    for target in LINK.findall(page.read_text("utf-8")):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


class Office:
    """The migration of the administrator's guide, between two servers on loopback."""

    def __init__(self, folder: Path, old: Dovecot, new: AlibabaServer) -> None:
        self.folder = folder
        self.old = old
        self.new = new

    def run(self, command: str) -> None:
        """Run one command as the guide shows it; it must succeed."""
        words = shlex.split(command)
        place = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        secrets = {"ANNA_NEW": self.new.password, "BOB_NEW": self.new.password}
        done = subprocess.run(
            words,
            cwd=self.folder,
            env=os.environ | secrets | {"PATH": place},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, f"$ {command}\n{done.stdout}\n{done.stderr}"
        if words[:2] == ["alimail", "init"]:
            self.fill_in()

    def fill_in(self) -> None:
        """Do what the guide tells after ``init``: write both files, with this test's servers in them."""
        configuration, *_ = blocks("admin.md", "toml")
        real = {
            'host = "mail.old.example"': f"{self.place(self.old)}",
            'region = "sg"': f'region = "sg"\n{self.place(self.new)}',
        }
        for shown, meant in real.items():
            assert shown in configuration
            configuration = configuration.replace(shown, meant)
        (roster,) = blocks("admin.md", "csv")
        (self.folder / "alimail.toml").write_text(configuration, "utf-8")
        (self.folder / "accounts.csv").write_text(roster, "utf-8")
        (self.folder / "old-master.txt").write_text(self.old.master_password, "utf-8")

    def place(self, server: Dovecot | AlibabaServer) -> str:
        """Write where a server is."""
        return f'host = "{server.host}"\nport = {server.imaps_port}\nca = "{server.ca_file}"'


def test_the_administrators_guide_shows_tables_that_are_read() -> None:
    """Every option that it shows after the first configuration is one, with a value that can be."""
    _, *wishes = blocks("admin.md", "toml")
    ends = '[source]\nkind = "imap"\nhost = "h"\nsecret = "prompt"\n'
    ends += '[target]\nkind = "imap"\nhost = "t"\nsecret = "prompt"\n[migration]\nname = "x"\n'
    account = '[[account]]\nsource_address = "a@x.example"\ntarget_address = "a@y.example"\n'
    for wish in wishes:
        loads(ends + wish + account, Registry.load(["imap", "pop3"]))


@pytest.mark.server
def test_the_administrators_guide_can_be_followed(
    tmp_path: Path, dovecot: StartDovecot, alibaba: StartAlibaba
) -> None:
    """Every command of the guide succeeds, one after the other, and the mail is there at the end, once."""
    office = Office(tmp_path, dovecot(master_user="migrator"), alibaba())
    office.old.deliver("anna@old.example", ("INBOX",), message("Old"))
    office.old.deliver("anna@old.example", ("Projects", "2024"), message("Project"))
    office.old.deliver("bob@old.example", ("Sent",), message("Sent"))
    commands = [
        line.removeprefix("$ ")
        for code in blocks("admin.md", "console")
        for line in code.splitlines()
        if line
    ]
    verbs = {command.split()[1] for command in commands if command.startswith("alimail")}
    assert verbs == {"--version", *VERBS} - {"copy", "watch", "discover", "provision", "move"}
    for command in commands:
        office.run(command)
        if command.startswith("alimail enable"):
            office.old.deliver("bob@old.example", ("INBOX",), message("New"))
    for name, count in {"anna": 2, "bob": 2}.items():
        here = digests(office.old.snapshot(f"{name}@old.example"))
        there = digests(office.new.snapshot(f"{name}@new.example"))
        assert sum(here.values(), Counter()) == sum(there.values(), Counter())
        assert sum(there.values(), Counter()).total() == count
    assert (tmp_path / "alimail-report" / "report.html").exists()
