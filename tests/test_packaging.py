"""What others get: sdists and wheels that build, install into an empty environment, and run there.

Nothing is downloaded. The new environment's dependencies are those of the running one, lent by links, and of those
only what our wheels say that they need: an import that is not declared fails here.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tarfile
import venv
import zipfile
from collections.abc import Iterable
from email.message import Message
from email.parser import Parser
from hashlib import sha256
from importlib.metadata import Distribution, distribution, packages_distributions
from pathlib import Path

import pytest
from attrs import field, frozen
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from alimail_core import INBOX
from alimail_core.testing import message
from alimail_core.testing.oracle import digests
from alimail_core.testing.servers import Dovecot

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
PROJECTS = {
    "alimail": ROOT,
    "alimail-imap": ROOT / "plugins" / "imap",
    "alimail-pop3": ROOT / "plugins" / "pop3",
    "alimail-ews": ROOT / "plugins" / "ews",
    "alimail-outlook": ROOT / "plugins" / "outlook",
    "alimail-sink": ROOT / "plugins" / "alimail_sink",
    "alimail-directory": ROOT / "plugins" / "alimail_directory",
    "alimail-mbox": ROOT / "examples" / "alimail-mbox",
}
PACKAGES = {name: name.replace("-", "_") for name in PROJECTS} | {"alimail": "alimail_core"}
LOWER_BOUND = re.compile(r">=[0-9]")


def run(*command: str | Path, at: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a program that sees nothing of this environment and of no package index."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "PYTHON"))}
    wishes = {"PIP_CONFIG_FILE": os.devnull, "PIP_NO_INDEX": "1", "PYTHONWARNINGS": "default", **environment}
    return subprocess.run(
        [str(word) for word in command],
        cwd=at,
        env=kept | wishes,
        capture_output=True,
        text=True,
        timeout=800,
    )


def succeed(*command: str | Path, at: Path) -> str:
    """Run a program that must succeed, and return what it said."""
    done = run(*command, at=at)
    assert done.returncode == 0, f"{command} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist of each project, and the wheel that is built from its sdist."""
    folder = tmp_path_factory.mktemp("dist")
    for project in PROJECTS.values():
        succeed(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, project, at=folder)
    return folder


def wheel(dist: Path, name: str) -> zipfile.ZipFile:
    """Open the wheel of a distribution."""
    (found,) = dist.glob(f"{name.replace('-', '_')}-*.whl")
    return zipfile.ZipFile(found)


def metadata(dist: Path, name: str) -> Message:
    """Return a wheel's metadata."""
    with wheel(dist, name) as archive:
        (path,) = [path for path in archive.namelist() if path.endswith(".dist-info/METADATA")]
        return Parser().parsestr(archive.read(path).decode())


def requirements(told: Message, extra: str = "") -> list[Requirement]:
    """Return what a distribution requires, with one of its extras or none."""
    wanted = map(Requirement, told.get_all("Requires-Dist", []))
    return [each for each in wanted if each.marker is None or each.marker.evaluate({"extra": extra})]


@pytest.mark.parametrize("name", PROJECTS)
def test_a_wheel_holds_the_package_and_nothing_else(dist: Path, name: str) -> None:
    """A wheel has the package with its mark of types, the licence, and no tests."""
    with wheel(dist, name) as archive:
        paths = archive.namelist()
    package = PACKAGES[name]
    tops = {path.partition("/")[0] for path in paths}
    assert {top for top in tops if not top.endswith(".dist-info")} == {package}
    assert f"{package}/py.typed" in paths
    assert any(path.endswith(".dist-info/licenses/LICENSE") for path in paths)
    assert not [path for path in paths if "/tests/" in path or "/test_" in path or "__pycache__" in path]


@pytest.mark.parametrize("name", PROJECTS)
def test_an_sdist_is_what_its_project_is(dist: Path, name: str) -> None:
    """An sdist has sources, readme and licence of its own project and of no other."""
    (found,) = dist.glob(f"{name.replace('-', '_')}-*.tar.gz")
    with tarfile.open(found) as archive:
        paths = {path.partition("/")[2] for path in archive.getnames()}
    assert {"pyproject.toml", "README.md", "LICENSE", "PKG-INFO"} <= paths
    assert len([path for path in paths if path.endswith("pyproject.toml")]) == 1
    assert not [path for path in paths if "__pycache__" in path or path.startswith(".venv")]


@pytest.mark.parametrize("name", PROJECTS)
def test_metadata_tells_what_an_index_shows(dist: Path, name: str) -> None:
    """Licence, readme and Python version are told, and each dependency has a lower bound."""
    told = metadata(dist, name)
    assert told["License-Expression"] == "Apache-2.0"
    assert told.get_all("License-File") == ["LICENSE"]
    assert told["Requires-Python"] == ">=3.11"
    assert told["Description-Content-Type"] == "text/markdown"
    assert told["Summary"]
    assert str(told.get_payload()).startswith(f"# {name}\n")
    for line in told.get_all("Requires-Dist", []):
        requirement = Requirement(line)
        assert requirement.extras or LOWER_BOUND.search(str(requirement.specifier)), (
            f"{line} has no lower bound"
        )


@pytest.mark.parametrize("name", PROJECTS)
def test_what_is_required_is_imported(dist: Path, name: str) -> None:
    """No distribution asks for another that its code does not use."""
    used: set[str] = set()
    with wheel(dist, name) as archive:
        for path in archive.namelist():
            if path.endswith(".py"):
                used |= imported(archive.read(path).decode())
    providers = packages_distributions()
    found: set[str] = {canonicalize_name(owner) for module in used for owner in providers.get(module, ())}
    found |= {ours for ours, package in PACKAGES.items() if package in used}
    required = {canonicalize_name(each.name) for each in requirements(metadata(dist, name))}
    assert required <= found


def imported(code: str) -> set[str]:
    """Return the top-level modules that a piece of Python imports."""
    nodes = list(ast.walk(ast.parse(code)))
    whole = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    whole |= {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return {name.partition(".")[0] for name in whole}


def test_extras_bring_the_plug_ins(dist: Path) -> None:
    """Each extra names the distributions that it stands for, and ``alimail[all]`` those of all."""
    told = metadata(dist, "alimail")
    plain = {each.name for each in requirements(told)}

    def added(extra: str) -> set[str]:
        return {each.name for each in requirements(told, extra)} - plain

    assert not {name for name in plain if name.startswith("alimail")}
    assert added("imap") == {"alimail-imap"}
    assert added("pop3") == {"alimail-pop3"}
    assert added("ews") == {"alimail-ews"}
    assert added("outlook") == {"alimail-outlook"}
    assert added("alibaba") == {"alimail-directory", "alimail-imap", "alimail-sink"}
    assert added("all") == added("alibaba") | added("pop3") | added("ews") | added("outlook") | added(
        "keyring"
    )


# An environment of its own


@frozen
class Environment:
    """A virtual environment with nothing in it, not even pip."""

    folder: Path
    dist: Path
    lent: set[str] = field(factory=set)

    @property
    def packages(self) -> Path:
        """Where its packages lie."""
        (found,) = self.folder.glob("lib/python3*/site-packages")
        return found

    def install(self, name: str, extra: str = "") -> None:
        """Install a distribution by its wheel, as pip does it: what it needs must be here or among our wheels."""
        self.lend(requirements(metadata(self.dist, name), extra))
        wanted = f"{name}[{extra}]" if extra else name
        pip = (sys.executable, "-m", "pip", "--python", self.folder / "bin" / "python")
        succeed(*pip, "install", "--quiet", "--find-links", self.dist, wanted, at=self.folder)
        succeed(*pip, "check", at=self.folder)

    def lend(self, wanted: Iterable[Requirement]) -> None:
        """Link what is required from the running environment, and what that requires in turn."""
        for requirement in wanted:
            name = canonicalize_name(requirement.name)
            if name in PROJECTS:
                self.lend(requirements(metadata(self.dist, name)))
                for extra in requirement.extras:
                    self.lend(requirements(metadata(self.dist, name), extra))
            elif name not in self.lent:
                self.lent.add(name)
                self.link(found := distribution(name))
                lines = map(Requirement, found.requires or ())
                self.lend(one for one in lines if one.marker is None or one.marker.evaluate({"extra": ""}))

    def link(self, found: Distribution) -> None:
        """Link the top-level files and folders of a distribution."""
        paths = found.files or ()
        for top in {path.parts[0] for path in paths} - {"..", "__pycache__"}:
            here, there = self.packages / top, Path(str(found.locate_file(top)))
            if not here.exists():
                here.symlink_to(there)

    def alimail(self, *words: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the command that is installed there."""
        return run(self.folder / "bin" / "alimail", *words, at=self.folder, **environment)

    def said(self, *words: str | Path, **environment: str) -> str:
        """Run the command, which must succeed."""
        done = self.alimail(*words, **environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def empty(tmp_path: Path, dist: Path) -> Environment:
    """An empty environment that knows where our wheels are."""
    venv.create(tmp_path / "venv", symlinks=True)
    return Environment(tmp_path / "venv", dist)


def test_the_core_alone_says_what_to_install_and_an_extra_brings_it(empty: Environment) -> None:
    """The core runs without a plug-in and tells which package has one; ``alimail[alibaba]`` brings ours."""
    empty.install("alimail")
    assert "alimail-report" in empty.said("report", "--schema"), "what is no Python is in the wheel too"
    assert empty.said("--version").strip() == "alimail 0.1.0"
    assert "threads" in empty.said("plugins")
    succeed(empty.folder / "bin" / "python", "-c", IMPORT_ALL, at=empty.folder)
    words = ("--source-secret", "env:SECRET", "--target-secret", "env:SECRET")
    done = empty.alimail("copy", "imap://ann@old.example", "alimail://ann@new.example", *words, SECRET="x")
    assert done.returncode == 2
    assert "pip install alimail-imap" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr

    empty.install("alimail", "alibaba")
    listed = empty.said("plugins")
    assert "alimail-imap" in listed
    assert "alimail-sink" in listed
    assert "alimail-directory" in listed
    assert "max_connections" in empty.said("plugins", "show", "imap")
    assert "region" in empty.said("plugins", "show", "alimail")
    empty.said("init", "--yes", "--source-host", "mail.old.example", "--region", "sg")
    assert 'region = "sg"' in (empty.folder / "alimail.toml").read_text("utf-8")


IMPORT_ALL = """
import importlib, pkgutil, alimail_core
for module in pkgutil.walk_packages(alimail_core.__path__, "alimail_core."):
    if not module.name.startswith("alimail_core.testing"):
        importlib.import_module(module.name)
"""
"""Every module of the core but those for tests must do with what is declared."""


@pytest.mark.server
def test_what_is_installed_moves_mail(
    empty: Environment, source_server: Dovecot, target_server: Dovecot, tmp_path: Path
) -> None:
    """From wheels alone, ``alimail copy`` moves a mailbox from a server, and one from a third party's plug-in."""
    empty.install("alimail", "imap")
    empty.install("alimail-mbox")
    user, taker = source_server.new_user(), target_server.new_user()
    source_server.deliver(user, INBOX, letter("by IMAP"))
    deliver(tmp_path / "mail" / "ann@old.example" / "INBOX", letter("from disk").replace(b"\r\n", b"\n"))
    target = url(target_server, taker)
    for source in (url(source_server, user), f"maildir://ann@old.example?root={tmp_path / 'mail'}"):
        words = (
            "--source-secret",
            "env:OLD",
            "--target-secret",
            "env:NEW",
            "--verify",
            "--ledger",
            f"{len(source)}.db",
        )
        told = empty.said(
            "copy", *words, source, target, OLD=source_server.password, NEW=target_server.password
        )
        assert "1 message" in told
    snapshot = target_server.snapshot(taker)
    wanted = [sha256(letter(subject)).hexdigest() for subject in ("by IMAP", "from disk")]
    assert sorted(digests(snapshot)[INBOX].elements()) == sorted(wanted)
    assert snapshot.keys() == {INBOX}


def letter(subject: str) -> bytes:
    """Write a message."""
    return message(subject, message_id=f"{subject.replace(' ', '.')}@example.org")


def deliver(maildir: Path, octets: bytes) -> None:
    """Put a message into a Maildir."""
    for part in ("tmp", "new", "cur"):
        (maildir / part).mkdir(parents=True)
    (maildir / "cur" / "1700000000.M1P1.host:2,S").write_bytes(octets)


def url(server: Dovecot, user: str) -> str:
    """Write the URL of a mailbox."""
    return f"imap://{user.replace('@', '%40')}@{server.host}:{server.imaps_port}?ca={server.ca_file}"
