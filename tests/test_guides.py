"""The guides' code is the examples' code, and it runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

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
    return subprocess.run(command, cwd=at, env=environment, capture_output=True, text=True, timeout=240)


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


@pytest.mark.packaging
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


@pytest.mark.packaging
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
