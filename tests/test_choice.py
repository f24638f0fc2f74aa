"""Which accounts a run takes: by exact addresses, by their problems, as a trial; all by the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alimail_core.cli import main
from alimail_core.errors import Refused
from alimail_core.model import INBOX
from alimail_core.testing import FakeClock, MemoryTraits, message
from tests.memory_plugin import MemoryPlugin, Run, command_line, config_of, registry_of

NAMES = ("anna", "bert", "carl")
CONFIG = config_of(*NAMES)


@pytest.fixture
def plugin() -> MemoryPlugin:
    """Return two servers in memory, with three mailboxes of three letters on the old one."""
    plugin = MemoryPlugin()
    for name in NAMES:
        for number in range(3):
            plugin.boxes[f"{name}@old.example"].deliver(INBOX, message(f"Letter {number}"))
        plugin.boxes[f"{name}@new.example"].make(INBOX)
    return plugin


@pytest.fixture
def migrate(plugin: MemoryPlugin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return ``alimail migrate``, in a folder of its own with a configuration for all accounts."""
    alimail = command_line(registry_of(plugin), tmp_path, monkeypatch)
    Path("alimail.toml").write_text(CONFIG)
    return lambda *words: alimail("migrate", "--yes", *words)


def held(plugin: MemoryPlugin) -> list[int]:
    """Count the messages in each new mailbox."""
    return [len(plugin.boxes[f"{name}@new.example"].uids(INBOX)) for name in NAMES]


def test_only_the_accounts_that_are_named_are_carried(migrate: Run, plugin: MemoryPlugin) -> None:
    """An address of either side names its account, in any case; a part of one does not."""
    assert migrate("--only", "ANNA@old.example", "--only", "carl@new.example") == 0
    assert held(plugin) == [3, 0, 3]


def test_an_address_that_nobody_has_is_told_before_anything_moves(
    migrate: Run, plugin: MemoryPlugin, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of them together, with the nearest that there is, and exit code 2."""
    assert migrate("--only", "anna@old.example", "--only", "brt@old.example", "--only", "\x1bx@y") == 2
    told = capsys.readouterr().err
    assert "brt@old.example" in told
    assert "did you mean bert@old.example?" in told
    assert "\\x1bx@y" in told
    assert held(plugin) == [0, 0, 0]


@pytest.mark.slow
def test_problems_are_tried_again_and_nothing_else(
    migrate: Run, plugin: MemoryPlugin, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the target refused is offered again; an account without a problem is not looked at."""
    box = plugin.boxes["bert@new.example"]
    box.traits = MemoryTraits(
        refuse=lambda octets: Refused("NO", about="form") if b"Letter 1" in octets else None
    )
    assert migrate() == 3
    box.traits = MemoryTraits()
    plugin.boxes["anna@old.example"].deliver(INBOX, message("new"))
    assert migrate("--retry-problems") == 0
    assert held(plugin) == [3, 3, 3]
    capsys.readouterr()
    assert migrate("--retry-problems") == 0
    assert capsys.readouterr().out == "No account has a problem.\n"


def test_a_trial_says_so_and_how_to_go_on(
    migrate: Run, plugin: MemoryPlugin, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is not told as if all were there; the next run carries the rest."""
    assert migrate("--trial", "1") == 0
    told = capsys.readouterr().out
    assert "the rest is to come" in told
    assert "`alimail migrate` carries the rest" in told
    assert "6 messages left out by wish" in told
    assert held(plugin) == [1, 1, 1]
    assert main(["status"], registry_of(plugin)) == 0
    assert "3 messages (" in (told := capsys.readouterr().out)
    assert " there, 0 known to be left, 6 left out by wish" in told
    assert migrate() == 0
    assert "all there" in capsys.readouterr().out
    assert held(plugin) == [3, 3, 3]


def test_waves_go_one_after_the_other_and_alone_by_wish(
    migrate: Run, plugin: MemoryPlugin, capsys: pytest.CaptureFixture[str]
) -> None:
    """Lower numbers first, accounts without one last; a wave without accounts is refused."""
    parts = Path("alimail.toml").read_text().split("[[account]]")
    waves = ["", "", "wave = 10\n", "wave = 2\n"]
    listed = [part + wave for part, wave in zip(parts, waves, strict=True)]
    Path("alimail.toml").write_text("[[account]]".join(listed))
    assert migrate("--wave", "10", "--quiet") == 0
    assert held(plugin) == [0, 3, 0]
    assert migrate("--wave", "3") == 2
    assert "there are: 2, 10" in capsys.readouterr().err
    assert migrate("--plain") == 0
    lines = [line.split()[0] for line in capsys.readouterr().out.splitlines() if "@old.example" in line]
    assert lines[-3:] == ["carl@old.example", "bert@old.example", "anna@old.example"]
    assert held(plugin) == [3, 3, 3]


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["plan", "check", "status", "verify"])
def test_who_looks_chooses_as_who_carries_does(
    migrate: Run, plugin: MemoryPlugin, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    """Accounts by address or wave, and no word of the others, whatever the ledger knows of them."""
    assert migrate("--quiet") == 0
    text = Path("alimail.toml").read_text().rstrip()
    Path("alimail.toml").write_text(f"{text}\nwave = 2\n")
    for words, name in ((["--only", "bert@new.example"], "bert"), (["--wave", "2"], "carl")):
        capsys.readouterr()
        assert main([verb, *words, "--json"], registry_of(plugin), FakeClock()) == 0
        told = json.loads(capsys.readouterr().out)["accounts"]
        found = {each.get("account") or each["source_address"] for each in told}
        assert found == {f"{name}@old.example"}
    assert main([verb, "--only", "carla@old.example"], registry_of(plugin), FakeClock()) == 2
    assert "did you mean carl@old.example?" in capsys.readouterr().err


@pytest.mark.slow
def test_who_writes_or_switches_chooses_as_who_carries_does(
    migrate: Run, plugin: MemoryPlugin, capsys: pytest.CaptureFixture[str]
) -> None:
    """The report has no word of the others; of letters and switches nobody else hears."""
    text = Path("alimail.toml").read_text().rstrip()
    Path("alimail.toml").write_text(f"{text}\nwave = 2\n")
    assert migrate("--quiet") == 0

    def run(*words: str) -> tuple[int, str]:
        capsys.readouterr()
        code = main(words, registry_of(plugin), FakeClock())
        told = capsys.readouterr()
        return code, told.out + told.err

    for number, words in enumerate((["--only", "carl@old.example"], ["--wave", "2"])):
        assert run("report", *words, "--folder", f"files-{number}")[0] == 0
        report = json.loads(Path(f"files-{number}/report.json").read_text("utf-8"))
        assert [each["source_address"] for each in report["accounts"]] == ["carl@old.example"]
        assert report["partial"]
        assert "of some accounts alone" in Path(f"files-{number}/report.html").read_text("utf-8")
    assert run("report", "--folder", "all")[0] == 0
    assert not json.loads(Path("all/report.json").read_text("utf-8"))["partial"]
    assert run("report", "--search", "nobody", "--folder", "none")[0] == 2
    assert not Path("none").exists()
    assert "Nobody has to be asked" in run("letters", "-o", "letters", "--wave", "2")[1]
    assert run("letters", "-o", "letters", "--wave", "7")[0] == 2
    assert run("disable", "--wave", "2") == (0, "disabled: carl@old.example\n1 account\n")
    assert run("enable", "--only", "CARL@new.example") == (0, "enabled: carl@old.example\n1 account\n")
    both = "disabled: carl@old.example\ndisabled: anna@old.example\n2 accounts\n"
    assert run("disable", "anna@new.example", "carl@old.example") == (0, both)
    assert run("disable", "anna@new.example", "--only", "carl@old.example") == (0, both)
    assert run("disable", "--search", "Anna@", "--wave", "2")[0] == 2  # she is of no wave
    assert run("enable", "--search", "Anna@") == (0, "enabled: anna@old.example\n1 account\n")
    assert run("enable", "ALL")[1].count("enabled: ") == 3
    for words, told in (
        ([], "ALL for all of them"),
        (["example"], "ADDRESS: no account has the address example"),
        (["ALL", "anna@old.example"], "said together"),
    ):
        code, out = run("disable", *words)
        assert (code, told in out, "disabled: " in out) == (2, True, False)


def test_the_next_step_is_told_for_the_same_accounts(
    migrate: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """The proof that follows is that of those who were carried: the others have not begun."""
    assert migrate("--trial", "1", "--only", "anna@old.example", "--only", "bert@new.example") == 0
    told = capsys.readouterr().out
    assert "`alimail migrate --only=anna@old.example --only=bert@new.example` carries the rest" in told
    assert migrate("--search", "anna's") == 2
    assert migrate("--search", "Anna@") == 0
    assert "`alimail verify --full --search=Anna@` for a proof" in capsys.readouterr().out


def test_a_trial_of_nothing_is_refused(migrate: Run) -> None:
    """At least one message of each folder is tried."""
    assert migrate("--trial", "0") == 2
