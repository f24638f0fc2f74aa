"""What somebody does wrong at the command line, and what it says then: one plain error, and never a bug."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.memory_plugin import MemoryPlugin, Run, command_line, config_of, registry_of

URLS = ("mem://anna%40old.example@old.example", "mem://anna%40new.example@new.example")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return the command line, in a folder of its own with a configuration for two accounts."""
    alimail = command_line(registry_of(MemoryPlugin()), tmp_path, monkeypatch)
    Path("alimail.toml").write_text(config_of("anna", "bert"))
    return alimail


ROOT = Path(__file__).parent.parent
CALL = """
import sys
from tests.memory_plugin import MemoryPlugin, registry_of
from alimail_core.cli import main
from alimail_core.model import INBOX
from alimail_core.testing import message

plugin = MemoryPlugin()
for name in ("anna", "bert"):
    plugin.boxes[f"{name}@old.example"].deliver(("项目",), message("one"))
    plugin.boxes[f"{name}@new.example"].make(INBOX)
sys.exit(main(sys.argv[1:], registry_of(plugin)))
"""


def call(*words: str, **changed: Any) -> subprocess.CompletedProcess[bytes]:
    """Run a process of its own, in the current folder; ``changed`` are its streams, and variables in ``env``."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), **changed.pop("env", {})}
    command = [sys.executable, "-c", CALL, *words]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **changed}
    return subprocess.run(command, timeout=60, check=False, env=env, **pipes)


@pytest.mark.slow
@pytest.mark.parametrize("words", [("--help",), ("status",), ("plan", "--json"), ("migrate", "--yes")])
def test_output_that_cannot_be_written(words: tuple[str, ...], run: Run) -> None:
    """A full disk is told as one, and is no bug."""
    with open("/dev/full", "wb") as full:
        done = call(*words, stdout=full)
    assert done.returncode == 1
    said, remedy = done.stderr.splitlines()[-2:]
    assert said == b"alimail: the output cannot be written: No space left on device"
    assert remedy.startswith(b"  -> ")
    assert b"bug" not in done.stderr


@pytest.mark.slow
def test_a_run_goes_on_though_nobody_hears_of_it(run: Run, tmp_path: Path) -> None:
    """Neither a full disk beneath its log and its progress, nor a closed stream, stops an account."""
    with open("/dev/full", "wb") as full:
        done = call("migrate", "--yes", "--log", "/dev/full", stderr=full)
        assert done.returncode == 0
        assert call("status", "-c", "none.toml", stderr=full).returncode == 2
    assert done.stdout.count(b"all there") == 3
    done = call("migrate", "--yes", "--log", "/dev/full")
    told = b"alimail: the log /dev/full cannot be written any more: No space left on device"
    assert [line for line in done.stderr.splitlines() if line.startswith(b"alimail")] == [told]
    closed = f"exec {sys.executable} -c '{CALL}' migrate --yes <&- >&- 2>&-"
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run(["sh", "-c", closed], timeout=60, check=False, env=env).returncode == 0
    assert run("status") == 0


@pytest.mark.slow
def test_more_accounts_at_once_than_files_may_be_open(run: Run) -> None:
    """What the customary limit of open files forbids and the process may allow itself, it does."""
    people = [f"p{number}" for number in range(12)]
    config = config_of(*people).replace('name = "test"', 'name = "test"\nworkers = 12')
    Path("alimail.toml").write_text(config)
    words = ["migrate", "--yes"]
    command = ["sh", "-c", f'ulimit -S -n 16; exec "{sys.executable}" -c "$0" "$@"', CALL, *words]
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, timeout=60, check=False, env=env, capture_output=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_names_that_the_terminal_cannot_show(run: Run) -> None:
    """Where output is in an encoding without Chinese, a folder's name comes as an escape."""
    done = call("plan", env={"PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0, done.stderr
    assert rb"\u9879\u76ee" in done.stdout


@pytest.mark.parametrize("words", [("copy", *URLS), ("init", "--yes"), ("status",)])
def test_a_folder_that_is_gone(
    words: tuple[str, ...],
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whoever stands in a folder that was deleted is told so, by every verb."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert run(*words) == 2
    assert capsys.readouterr().err.splitlines() == [
        "alimail: the current folder cannot be found: it was deleted or moved",
        "  -> `cd` to another one.",
    ]


@pytest.mark.parametrize(
    ("ledger", "told"),
    [
        ("folder", "is not a file"),
        ("/dev/null", "is not a file"),
        ("alimail.toml/x.ledger", "cannot be used: "),
        ("mysql://db.example/mail", "the ledger is in no kind of database that can be used"),
        ("nonsense://db.example/mail", "the ledger is in no kind of database that can be used"),
    ],
)
def test_a_ledger_in_a_wrong_place(
    ledger: str, told: str, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is no file, or no database that can be used, is told before anything is done, with what to do."""
    Path("folder").mkdir()
    config = config_of("anna").replace('name = "test"', f'name = "test"\nledger = "{ledger}"')
    Path("alimail.toml").write_text(config)
    assert run("migrate", "--yes") == 1
    error, remedy = capsys.readouterr().err.splitlines()
    assert told in error
    assert remedy.startswith("  -> ")


def test_a_home_that_is_no_folder(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`copy` keeps its ledger at home, and says where it cannot."""
    monkeypatch.setenv("XDG_STATE_HOME", "/dev/null")
    secrets = ("--source-secret", "env:OLD", "--target-secret", "env:NEW")
    assert run("copy", *URLS, *secrets) == 1
    assert capsys.readouterr().err.startswith("alimail: the ledger /dev/null/alimail/copies/")


@pytest.mark.parametrize("verb", [["migrate", "--yes"], ["status"]])
def test_a_ledger_that_may_not_be_read(
    verb: list[str], run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder that is closed to us is told as such: by status too, which would else say that nothing has begun."""

    def refuse(path: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    config = config_of("anna").replace('name = "test"', 'name = "test"\nledger = "closed/x.ledger"')
    Path("alimail.toml").write_text(config)
    real = Path.stat
    monkeypatch.setattr(
        Path, "stat", lambda path, **how: (refuse if "closed" in path.parts else real)(path, **how)
    )
    assert run(*verb) == 1
    error, remedy = capsys.readouterr().err.splitlines()
    assert error.endswith("closed/x.ledger cannot be used: Permission denied")
    assert remedy.startswith("  -> See that you may read and write it")


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("name = “move”", "a quotation mark is not the plain one"),
        ("name = ＂move＂", "a quotation mark is not the plain one"),
        ('name = "move', "a quotation mark is not closed"),
        ('name: "move"', "there is no = after a key"),
        (r'roster = "C:\Users\anna.csv"', r"a \ in text is the beginning of a code"),
        (r'roster = "D:\mail\anna.csv"', r"a \ in text is the beginning of a code"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_slip_in_a_line_of_the_configuration(
    line: str, told: str, end: str, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """What people type by habit is named in their words, not in the parser's."""
    Path("alimail.toml").write_text(f"[migration]{end}{line}{end}executor = 3{end}", "utf-8", newline="")
    assert run("status") == 2
    told_lines = capsys.readouterr().err.splitlines()
    assert told_lines[1] == f"alimail.toml:2: {told}"
    assert told_lines[2].startswith("  -> ")


@pytest.mark.parametrize("verb", ["check", "plan", "status", "verify", "report", "cutover"])
def test_an_error_does_not_get_into_json(verb: str, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Where there is no answer, standard output is empty: a program goes by the exit code."""
    Path("alimail.toml").write_text("[migration]")
    assert run(verb, "--json") == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("alimail: alimail.toml has ")
