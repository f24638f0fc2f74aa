"""``alimail provision``: a plan that is shown, files for the console, and nothing said that should not be."""

from __future__ import annotations

import csv
import json
import os
import shlex
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from attrs import frozen

from alimail_core.cli import main
from alimail_core.contract import ProvisionerKind, option
from alimail_core.errors import Denied, Transient
from alimail_core.hookspec import hookimpl
from alimail_core.provisioning.directory import (
    Directory,
    Employee,
    Step,
    StepDone,
    StepNotDone,
)
from alimail_core.registry import Registry
from alimail_core.seam import Clock
from alimail_core.secrets import Secret
from alimail_core.testing import FakeClock, MemoryDirectory, MemoryProvisioner
from tests.test_console_sheets import Console
from tests.test_guides import blocks

EMPLOYEES = """name,account,employee number,password,department
Anna,anna@x.example,1,G1ven-One!,Sales/West
Bob,bob@x.example,2,,Sales
"""
GROUPS = "组名称,邮件组地址,成员\nAll,all@x.example,anna@x.example;bob@x.example\n"
THERE = "姓名,邮箱帐号,工号,部门\nRob,bob@x.example,2,Sales\nOld,old@x.example,9,\n"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (("e.csv", EMPLOYEES), ("g.csv", GROUPS), ("there.csv", THERE)):
        (tmp_path / name).write_text(text, "utf-8")
    monkeypatch.chdir(tmp_path)


def _plan(*words: str) -> int:
    return main(["provision", "plan", "--employees", "e.csv", "--there", "there.csv", *words])


def test_a_plan_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    """Marks say what is made, changed and not wished; no password is shown."""
    assert _plan("--groups", "g.csv") == 0
    shown = capsys.readouterr().out
    assert shown.splitlines() == [
        "+ department Sales/West",
        "+ employee   anna@x.example  name Anna; number 1; department Sales/West",
        "~ employee   bob@x.example  name Rob -> Bob",
        "+ group      all@x.example  name All",
        "~ group      all@x.example  members + anna@x.example, bob@x.example",
        "? employee   old@x.example is there and not wished: left alone",
        "Plan: 3 to make, 2 to change, 1 as wished, 1 there and not wished.",
    ]


def test_exit_codes_tell_what_is_to_be_done(capsys: pytest.CaptureFixture[str]) -> None:
    """4 by wish where there is something to do, 3 where something cannot be done, 2 for faults."""
    assert _plan("--detailed-exitcode") == 4
    assert _plan("--only", "bob@x.example", "--quiet", "--detailed-exitcode") == 4
    Path("e.csv").write_text("name,account,employee number\nRob,bob@x.example,2\n")
    assert _plan("--detailed-exitcode") == 0
    Path("e.csv").write_text("name,account,employee number\nEve,bob@x.example,3\n")
    assert _plan("--detailed-exitcode") == 3
    assert "may be another person" in capsys.readouterr().out
    Path("e.csv").write_text("name,account\nEve,eve\nAda,\n")
    assert _plan() == 2
    assert 'e.csv!B2: the account "eve" is not a mail address' in capsys.readouterr().err
    assert main(["provision", "plan"]) == 2
    assert _plan("--only", "who@x.example") == 2


def test_a_plan_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    """One JSON document, with the fields before and after."""
    assert _plan("--json", "--only", "BOB@x.example") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["steps"] == [
        {
            "action": "change",
            "kind": "employee",
            "name": "bob@x.example",
            "was": "bob@x.example",
            "fields": {"name": {"before": "Rob", "after": "Bob"}},
        }
    ]
    assert (told["extras"], told["problems"], told["as_wished"]) == ([], [], 1)


def test_files_for_the_console_are_written(capsys: pytest.CaptureFixture[str]) -> None:
    """The roster's passwords and those that were made are in them, and only the latter in the file of passwords."""
    words = ["provision", "export", "--employees", "e.csv", "--groups", "g.csv", "-o", "import"]
    assert main(words) == 0
    shown = capsys.readouterr()
    assert "1 new password in passwords.csv" in shown.out
    kept = Path("passwords.csv").read_text().splitlines()
    assert [line.partition(",")[0] for line in kept] == ["address", "bob@x.example"]
    password = kept[1].partition(",")[2]
    assert password not in shown.out + shown.err
    assert "G1ven" not in shown.out + shown.err + "".join(kept)
    assert sorted(path.name for path in Path("import").iterdir()) == ["employees-new-1.xlsx", "groups-1.xlsx"]
    assert main([*words[:-1], "again"]) == 0
    assert Path("passwords.csv").read_text().splitlines() == kept, "a password is made once"
    assert main(words) == 2
    assert main(words[:-2]) == 2


def test_colour_is_for_terminals(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """And not where NO_COLOR is set; what a file holds never becomes a command to the terminal."""
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    Path("e.csv").write_text("name,account\nAnna\u202e,anna@x.example\n", "utf-8")
    assert _plan() == 0
    assert "\x1b[32m+ employee   anna@x.example  name Anna\\u202e\x1b[0m" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    assert _plan() == 0
    assert "\x1b" not in capsys.readouterr().out


def test_the_guide_can_be_followed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Each command succeeds, and after the console has done its part nothing is left."""
    files = dict(
        zip(("employees.csv", "groups.csv", "export.csv"), blocks("provision.md", "csv"), strict=True)
    )
    for name, text in files.items():
        Path(name).write_text(text, "utf-8")
    console = Console(tmp_path)
    _, *rows = csv.reader(files["export.csv"].splitlines())
    console.employees = {row[1]: [*row[:3], None, *row[3:]] for row in rows}
    commands = [
        line.removeprefix("$ ") for code in blocks("provision.md", "console") for line in code.splitlines()
    ]
    seen = {" plan ": blocks("provision.md", "text")[0], " export ": blocks("provision.md", "text")[1]}
    for command in commands:
        assert main(shlex.split(command)[1:]) == 0
        shown = capsys.readouterr().out
        for verb in [verb for verb in seen if verb in command]:
            assert seen.pop(verb) in shown
        if " export " in command:
            for path in sorted(Path("import").iterdir()):
                console.take(path)
            console.export("after")
    assert "Plan: 0 to make, 0 to change," in shown
    assert not seen
    assert len(console.employees) == 5


# Applying, with a service in memory.


@frozen
class MemOptions:
    """The options of a service in memory."""

    region: str = option("Where it would be.", default="here")
    secret: Secret | None = option("Who may get in.", default=None, secret=True)


class MemPlugin:
    """A service in memory, as a plug-in."""

    def __init__(self) -> None:
        self.opened = MemoryProvisioner
        self.service = MemoryDirectory(Directory.of([Employee("bob@x.example", "Rob", "2", ("Sales",))]))

    @hookimpl
    def alimail_provisioners(self) -> list[ProvisionerKind[MemOptions]]:
        """Register it."""
        return [ProvisionerKind("mem", "In memory.", MemOptions, self._open)]

    def _open(self, options: MemOptions, _clock: Clock) -> MemoryProvisioner:
        if options.secret is not None:
            options.secret.get()
        return self.opened(self.service)


CONFIG = """[migration]
name = "move"

[provision]
kind = "mem"
employees = "e.csv"
groups = "g.csv"
"""


@pytest.fixture
def plugin() -> MemPlugin:
    """Write a configuration for a service in memory."""
    Path("alimail.toml").write_text(CONFIG)
    return MemPlugin()


def _run(plugin: MemPlugin, *words: str) -> int:
    registry = Registry()
    registry.register(plugin, name="mem", distribution="alimail-mem")
    return main(["provision", *words], registry, FakeClock())


def test_a_plan_is_carried_out_and_proven(plugin: MemPlugin, capsys: pytest.CaptureFixture[str]) -> None:
    """``apply`` ends with what it read there; again, there is nothing to do; ``status`` tells what was done."""
    assert _run(plugin, "plan", "--detailed-exitcode") == 4
    assert _run(plugin, "apply", "--yes") == 0
    shown = capsys.readouterr()
    assert shown.out.splitlines()[-3:] == [
        "Plan: 3 to make, 2 to change, 1 as wished.",
        "5 steps done, 0 refused.",
        "Read again: everything is there as wished.",
    ]
    assert "done     employee   anna@x.example" in shown.err.splitlines()
    assert plugin.service.passwords == {"anna@x.example": "G1ven-One!"}
    assert "G1ven" not in shown.out + shown.err
    assert _run(plugin, "plan", "--detailed-exitcode") == 0
    assert _run(plugin, "apply", "--yes", "--json") == 0
    assert _run(plugin, "status") == 0
    assert "done" in capsys.readouterr().out


def test_what_is_refused_is_told_with_the_services_words(
    plugin: MemPlugin, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 3, also of ``status``; when it is mended, the same command does the rest."""
    plugin.service.refuse = {"anna@x.example": "403 no licence \x1b[0mis left"}
    assert _run(plugin, "apply", "--yes", "--json") == 3
    told = json.loads(capsys.readouterr().out)
    assert [each["message"] for each in told["refused"] if each["name"] == "anna@x.example"] == [
        "was refused: 403 no licence \x1b[0mis left"
    ]
    assert _run(plugin, "apply", "--yes") == 3
    shown = capsys.readouterr().out
    assert "! employee   anna@x.example was refused: 403 no licence \\x1b[0mis left" in shown
    assert _run(plugin, "status", "--json") == 3
    waiting = json.loads(capsys.readouterr().out)["open"]
    assert "anna@x.example" in [each["name"] for each in waiting]
    plugin.service.refuse = {}
    assert _run(plugin, "apply", "--yes") == 0
    assert _run(plugin, "status") == 0


def test_an_apply_that_stops_in_the_middle_says_what_was_done(
    plugin: MemPlugin, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also with --quiet; the same command goes on."""

    class Locked(MemoryProvisioner):
        def carry_out(self, steps: Iterable[Step]) -> Iterator[StepDone | StepNotDone]:
            for number, step in enumerate(steps):
                if number:
                    yield StepNotDone(step, Transient("never sent"))
                    raise Denied("the licence has ended", remedy="Renew it.")
                yield from super().carry_out([step])

    plugin.opened = Locked
    assert _run(plugin, "apply", "--yes", "--quiet") == 1
    told = capsys.readouterr().err
    assert "Stopped: 2 of 5 steps done, 0 refused." in told
    assert told.index("Stopped") < told.index("the licence has ended")
    plugin.opened = MemoryProvisioner
    assert _run(plugin, "apply", "--yes", "--quiet") == 0
    assert plugin.service.steps_done == 5


def test_apply_asks_first(plugin: MemPlugin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal it wants to be told; a no changes nothing, and makes no password."""
    monkeypatch.setattr("sys.stdin.isatty", lambda: False)
    assert _run(plugin, "apply") == 2
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("typer.confirm", lambda *_, **__: False)
    assert _run(plugin, "apply") == 1
    assert plugin.service.asked == 0
    assert not Path("passwords.csv").exists()
    monkeypatch.setattr("typer.confirm", lambda *_, **__: True)
    assert _run(plugin, "apply") == 0


def test_somebody_who_is_not_wished_is_frozen_by_name(plugin: MemPlugin) -> None:
    """And nobody else is."""
    plugin.service.directory = Directory.of([*plugin.service.directory.things(), Employee("old@x.example")])
    assert _run(plugin, "apply", "--yes", "--freeze", "old@x.example") == 0
    frozen_ones = [key for key, each in plugin.service.directory.employees.items() if each.active is False]
    assert frozen_ones == ["old@x.example"]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (("mem", "men"), "there is no provisioner called men"),
        (('"mem"', '"mem"\nregoin = "here"'), "regoin"),
        (('kind = "mem"\n', ""), "there is no provisioner that could do it"),
        (('kind = "mem"\n', 'secret = "x"\n'), "there is no option secret"),
        (('"mem"', '"mem"\nsecret = "S3cret"'), "secret is not a reference to a secret"),
    ],
)
def test_faults_of_the_configuration_are_told(
    plugin: MemPlugin, capsys: pytest.CaptureFixture[str], change: tuple[str, str], told: str
) -> None:
    """With line and remedy, before anything is asked of the service."""
    Path("alimail.toml").write_text(CONFIG.replace(*change))
    assert _run(plugin, "apply", "--yes") == 2
    shown = capsys.readouterr().err
    assert told in shown
    assert "S3cret" not in shown
    assert plugin.service.asked == 0


def test_a_run_that_is_interrupted_goes_on(plugin: MemPlugin) -> None:
    """The exit code says so, and nothing is in doubt."""

    class Interrupted(MemoryProvisioner):
        def carry_out(self, steps: Iterable[Step]) -> Iterator[StepDone | StepNotDone]:
            for outcome in super().carry_out(steps):
                os.kill(os.getpid(), signal.SIGTERM)
                yield outcome

    plugin.opened = Interrupted
    assert _run(plugin, "apply", "--yes") == 143
    plugin.opened = MemoryProvisioner
    assert _run(plugin, "status") == 0
    assert _run(plugin, "apply", "--yes") == 0
    assert plugin.service.asked == plugin.service.steps_done == 5
