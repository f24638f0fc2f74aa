"""``alimail move``: from a spreadsheet and old mailboxes to proven new ones, cut off anywhere."""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Iterable, Iterator
from functools import partial
from pathlib import Path

import pytest
from attrs import define, evolve, field

from alimail_core.cli import main
from alimail_core.contract import Credentials, ProvisionerKind, SinkKind
from alimail_core.counts import CountedFolder, compared
from alimail_core.errors import AlimailError, LoginDenied, Remark
from alimail_core.hookspec import hookimpl
from alimail_core.ledger.standing import StandingFolder
from alimail_core.model import INBOX, FolderCount, MailCount, SpecialUse
from alimail_core.provisioning.directory import EVERYTHING, Directory, Step, StepDone, StepNotDone
from alimail_core.registry import Registry
from alimail_core.seam import Clock
from alimail_core.testing import (
    Countdown,
    FakeClock,
    FaultKind,
    Killed,
    MemoryDirectory,
    MemoryMailbox,
    MemoryProvisioner,
    MemorySink,
    message,
)
from tests.memory_plugin import PASSWORD, MemoryOptions, MemoryPlugin, registry_of

pytestmark = pytest.mark.slow

EMPLOYEES = """name,account,department,password
Anna,anna@new.example,Sales,
Bert,bert@new.example,Sales,G1ven-One!
"""
CONFIG = """[migration]
name = "test"
roster = "roster.csv"
[source]
kind = "mem"
host = "old.example"
secret = "env:OLD"
[target]
kind = "office"
host = "new.example"
[transfer]
settle_seconds = 1.0
[provision]
kind = "office"
host = "new.example"
employees = "employees.csv"
"""
ROSTER = "source,target\nanna@old.example,anna@new.example\nbert@old.example,bert@new.example\n"


class Counting(MemoryProvisioner):
    """A provisioner that counts mail, and whose operations are counted."""

    def __init__(self, office: Office) -> None:
        super().__init__(office.service, evolve(EVERYTHING, counts_mail=True))
        self.office = office

    def read(self) -> Directory:
        """Read, or be struck."""
        self.office.countdown.step("read")
        return super().read()

    def carry_out(self, steps: Iterable[Step]) -> Iterator[StepDone | StepNotDone]:
        """Carry out each, and be struck before or after."""
        for step in steps:
            self.office.countdown.step("step")
            yield from super().carry_out([step])
            self.office.countdown.step("answer")

    def remarks(self, domains: Collection[str]) -> Iterator[Remark]:
        """Tell what the test wishes."""
        assert domains == {"new.example"}
        if isinstance(self.office.trouble, AlimailError):
            raise self.office.trouble
        yield self.office.trouble

    def count_mail(self, addresses: Iterable[str]) -> Iterator[MailCount]:
        """Count what is in the boxes, less what was taken away."""
        for address in addresses:
            messages = self.office.boxes[address].everything().total() - self.office.taken
            yield MailCount(address, (FolderCount("收件箱", messages, inbox=True),))


@define
class Office:
    """A service whose accounts are made by its provisioner, and whose mailboxes open some looks later."""

    service: MemoryDirectory = field(factory=MemoryDirectory)
    boxes: dict[str, MemoryMailbox] = field(factory=dict)
    countdown: Countdown = field(factory=lambda: Countdown(at=10**9))
    late: dict[str, int] = field(factory=dict)
    """How many logins each address refuses at first."""
    taken: int = 0
    trouble: Remark | AlimailError = field(factory=lambda: Remark("ok", "all may be made"))

    @hookimpl
    def alimail_sinks(self) -> list[SinkKind[MemoryOptions]]:
        """Register the mailboxes."""
        return [SinkKind("office", "A new mailbox.", MemoryOptions, self._sink)]

    @hookimpl
    def alimail_provisioners(self) -> list[ProvisionerKind[MemoryOptions]]:
        """Register who makes them."""
        return [ProvisionerKind("office", "An office.", MemoryOptions, lambda _o, _c: Counting(self))]

    def _sink(self, _options: MemoryOptions, credentials: Credentials, _clock: Clock) -> MemorySink:
        self.countdown.step("sink")
        self.late[credentials.user] = self.late.get(credentials.user, 0) - 1
        right = self.service.passwords.get(credentials.user) == credentials.password()
        if not right or self.late[credentials.user] >= 0:
            raise LoginDenied("login refused", remedy="See whether third-party clients are allowed.")
        return MemorySink(self.boxes.setdefault(credentials.user, _box()))


def _box() -> MemoryMailbox:
    box = MemoryMailbox()
    box.make(INBOX)
    return box


@pytest.fixture
def office() -> Office:
    """Return a service without accounts."""
    return Office()


@pytest.fixture
def registry(office: Office) -> Registry:
    """Return plug-ins with an old server, on which Anna and Bert have a letter each, and the office."""
    old = MemoryPlugin()
    for name in ("anna", "bert"):
        old.boxes[f"{name}@old.example"].deliver(INBOX, message(f"To {name}"))
    registry = registry_of(old)
    registry.register(office, name="office")
    return registry


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OLD", PASSWORD)
    for name, text in (("alimail.toml", CONFIG), ("roster.csv", ROSTER), ("employees.csv", EMPLOYEES)):
        Path(name).write_text(text)
    Path("employees.csv").chmod(0o600)


def move(registry: Registry, *words: str) -> int:
    """Move everything."""
    return main(["move", *words], registry, FakeClock())


def arrived(office: Office) -> dict[str, int]:
    """Count the messages of each new mailbox."""
    return {address: box.everything().total() for address, box in office.boxes.items()}


BOTH = {"anna@new.example": 1, "bert@new.example": 1}


def test_accounts_are_made_and_their_mail_moves(
    registry: Registry, office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    """One command; the made password and the given one both let alimail in, and neither is shown."""
    assert move(registry, "--yes") == 0
    assert arrived(office) == BOTH
    told = capsys.readouterr()
    heads = [line for line in told.out.splitlines() if line[1:2] == "/"]
    assert heads == [
        "1/7 Check", "2/7 Plan", "3/7 Provision", "4/7 Wait for logins", "5/7 Move", "6/7 Verify", "7/7 Report",
    ]  # fmt: skip
    assert "2 of 2 old mailboxes let us in: 2 messages" in told.out
    assert "The service counts 2 where 2 messages of 2 accounts were carried" in told.out
    assert Path("alimail-report/report.html").exists()
    with Path("passwords.csv").open() as file:
        made = dict(row for row in csv.reader(file))
    assert office.service.passwords == {
        "anna@new.example": made["anna@new.example"],
        "bert@new.example": "G1ven-One!",
    }
    for password in office.service.passwords.values():
        assert password not in told.out + told.err
        assert password.encode() not in Path("alimail.db").read_bytes()


def test_again_it_finds_everything_done(registry: Registry, office: Office) -> None:
    """And brings what is new."""
    assert move(registry, "--yes") == 0
    steps = office.service.asked
    assert move(registry, "--yes", "--full") == 0
    assert office.service.asked == steps
    assert arrived(office) == BOTH


@pytest.mark.slow
def test_cut_off_anywhere_the_same_command_goes_on(
    office: Office, registry: Registry, tmp_path: Path
) -> None:
    """Die at the first operation, then at the second, until a run ends before its turn comes."""
    for at in range(1, 60):
        folder = tmp_path / str(at)
        folder.mkdir()
        for name in ("alimail.toml", "roster.csv", "employees.csv"):
            (folder / name).write_text(Path(tmp_path / name).read_text())
        office.service, office.boxes = MemoryDirectory(), {}
        office.countdown = Countdown(at=at, kind=FaultKind.KILLED_BEFORE)
        go = partial(main, ["move", "--yes", "--quiet", "-c", str(folder / "alimail.toml")], registry)
        try:
            assert go(FakeClock()) in (0, 1, 3)
        except Killed:
            office.countdown = Countdown(at=10**9)
            assert go(FakeClock()) == 0, at
        fired, office.countdown = office.countdown.fired, Countdown(at=10**9)
        assert go(FakeClock()) == 0, at
        assert arrived(office) == BOTH, at
        assert office.service.steps_done == office.service.asked == 3, at
        if not fired and at > 12:
            return
    raise AssertionError("the countdown never ended")


def test_the_whole_plan_comes_first(
    registry: Registry, office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    """--plan shows it and stops; without a terminal nobody can be asked, and nothing is done."""
    assert move(registry, "--plan") == 0
    out = capsys.readouterr().out
    assert "+ employee   anna@new.example  name Anna; department Sales" in out
    assert "Plan: 3 to make" in out
    assert move(registry) == 2
    assert "say --yes" in capsys.readouterr().err
    assert office.service.asked == 0


def test_folders_of_mailboxes_that_are_still_to_be_made_are_planned(
    registry: Registry, office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    """As of an empty mailbox, which is said."""
    assert main(["plan", "--json"], registry, FakeClock()) == 0
    for told in json.loads(capsys.readouterr().out)["accounts"]:
        folders = [(each["target"], each["messages"], each["exists"]) for each in told["folders"]]
        assert folders == [(["INBOX"], 1, False)]
        assert "still to be made" in told["remarks"][0]["text"]
    assert office.countdown.operations.count("sink") == 1, "Bert's password is given, and tried"


def test_a_plan_says_that_it_is_the_old_mailbox_that_lets_nobody_in(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also where the new one is not asked, since it is still to be made."""
    Path("roster.csv").write_text("source,source password,target\nanna@old.example,wrong,anna@new.example\n")
    assert main(["plan", "--json"], registry, FakeClock()) == 3
    (account,) = json.loads(capsys.readouterr().out)["accounts"]
    assert account["remarks"][0]["text"].startswith("source")


def test_new_mailboxes_may_open_late(
    registry: Registry, office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    """They are tried until they do, and those that did are not tried again."""
    office.late = {"anna@new.example": 3}
    assert move(registry, "--yes") == 0
    assert arrived(office) == BOTH
    told = capsys.readouterr()
    assert told.err.count("1 of 2 new mailboxes let us in") == 3
    assert told.out.count("2 of 2 new mailboxes let us in") == 1
    assert office.countdown.operations.count("sink") < 3 + 3 * len(BOTH) + 2  # Bert was not tried each time


def test_who_gets_into_no_mailbox_is_told_and_the_others_go_on(
    registry: Registry, office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    """With the remedy; the exit code says that not all is there."""
    office.late = {"anna@new.example": 10**6}
    assert move(registry, "--yes", "--wait", "1m") in (1, 3)
    assert arrived(office)["bert@new.example"] == 1
    assert "anna@new.example: FAULT" in (out := capsys.readouterr().out)
    assert "third-party clients" in out


def test_an_old_mailbox_that_lets_nobody_in_is_told_before_anything_is_made(
    registry: Registry, office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the plan."""
    rows = ("anna@old.example,wrong,anna@new.example", "bert@old.example,,bert@new.example")
    Path("roster.csv").write_text("\n".join(["source,source password,target", *rows]))
    assert move(registry, "--plan") == 3
    out = capsys.readouterr().out
    assert "1 of 2 old mailboxes let us in" in out
    assert "anna@old.example: FAULT" in out
    assert office.service.asked == 0


def test_who_is_disabled_is_passed_over(
    registry: Registry, office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody waits for the mailbox of somebody who shall not move, and `check` does not try it either."""
    office.late = {"anna@new.example": 10**6}
    assert main(["disable", "anna@old.example"], registry, FakeClock()) == 0
    assert move(registry, "--yes") == 0
    out = capsys.readouterr().out
    assert "1 of 1 old mailbox let us in" in out
    assert "Mail of 1 account moves; 1 disabled; " in out
    assert "1 of 1 new mailboxes let us in" in out
    assert arrived(office) == {"bert@new.example": 1}
    assert main(["check"], registry, FakeClock()) == 0
    out = capsys.readouterr().out
    assert "anna@old.example (source): note\n  note: disabled, so not tried" in out
    assert "3 sides tried: nothing is in the way; 2 sides of disabled accounts not tried" in out


def test_faults_of_sheets_come_before_any_mailbox(registry: Registry, office: Office) -> None:
    """Who is there already is asked for, to tell all faults at once; nothing is made, and nobody logs in."""
    Path("employees.csv").write_text("name,account\nAnna,anna\n")
    office.countdown = Countdown(at=10**9)
    assert move(registry, "--yes") == 2
    assert office.countdown.operations == ["read"]


def test_a_secret_that_cannot_be_had_is_told_before_the_service_is_asked(
    registry: Registry, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else its session would be left open, and a run that can go nowhere would have asked for everybody."""
    monkeypatch.delenv("OLD")
    monkeypatch.setattr(MemoryProvisioner, "read", None)
    assert move(registry, "--yes") == 2
    assert "is not set" in capsys.readouterr().err


def test_each_step_by_itself_finds_the_passwords(registry: Registry, office: Office) -> None:
    """The made one in its file, the given one in the employees' sheet; a sheet that says two things says none."""
    verb = partial(main, registry=registry, clock=FakeClock())
    assert verb(["provision", "apply", "--yes"]) == 0
    assert verb(["migrate", "--yes"]) == 0
    assert arrived(office) == BOTH
    assert verb(["verify"]) == 0
    with Path("employees.csv").open("a") as file:
        file.write("Bert,bert@new.example,,Another-1\n")
    assert verb(["check", "--only", "anna@old.example"]) == 0
    assert verb(["check", "--only", "bert@old.example"]) == 3


@pytest.mark.parametrize(
    "trouble",
    [Remark("fault", "it may not read users", "Allow it."), LoginDenied("wrong secret", remedy="Allow it.")],
    ids=["remark", "error"],
)
def test_check_tries_who_makes_the_accounts(
    registry: Registry,
    office: Office,
    capsys: pytest.CaptureFixture[str],
    trouble: Remark | AlimailError,
) -> None:
    """What is in the way there is a fault beside those of the accounts, and nothing is made."""
    check = partial(main, registry=registry, clock=FakeClock())
    assert move(registry, "--yes", "--quiet") == 0
    steps = office.service.asked
    capsys.readouterr()
    assert check(["check"]) == 0
    assert "[provision] (office): ok" in capsys.readouterr().out
    office.trouble = trouble
    assert check(["check"]) == 3
    assert "Allow it." in capsys.readouterr().out
    assert check(["check", "--json"]) == 3
    told = json.loads(capsys.readouterr().out)
    assert (told["provision"]["side"], told["provision"]["level"]) == ("office", "fault")
    assert {each["level"] for each in told["accounts"]} == {"ok", "note"}
    assert office.service.asked == steps


# The service's own books.


def test_the_service_s_books_are_held_against_the_ledger(
    registry: Registry, office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    """More is no fault, since mail goes on arriving; fewer is."""
    assert move(registry, "--yes", "--quiet") == 0
    capsys.readouterr()
    verify = partial(main, registry=registry, clock=FakeClock())
    assert verify(["verify", "--api"]) == 0
    assert "none is missing in its books" in capsys.readouterr().out
    office.taken = -5
    assert verify(["verify", "--api"]) == 0
    office.taken = 1
    assert verify(["verify", "--api"]) == 3
    assert "FEWER" in capsys.readouterr().out
    assert verify(["verify", "--api", "--json"]) == 3
    told = json.loads(capsys.readouterr().out)
    assert told["accounts"][0]["folders"] == [{"name": "INBOX", "carried": 1, "told": 0}]
    assert verify(["verify", "--api", "--full"]) == 2


def test_folders_are_known_by_use_and_then_by_name() -> None:
    """Of folders with one name the sums are compared."""
    ours = [
        StandingFolder(INBOX, None, 3),
        StandingFolder(("已发送",), SpecialUse.SENT, 2),
        StandingFolder(("A", "Old"), None, 1),
        StandingFolder(("B", "Old"), None, 2),
        StandingFolder(("Gone",), None, 4),
        StandingFolder(("Archive",), SpecialUse.ARCHIVE, 1),
    ]
    told = MailCount(
        "a@x",
        (
            FolderCount("收件箱", 4, inbox=True),
            FolderCount("Sent", 2, SpecialUse.SENT),
            FolderCount("Old", 2),
            FolderCount("Old", 0),
            FolderCount("archive", 1),
            FolderCount("Theirs", 9),
        ),
    )
    found = {each.name: (each.carried, each.told, each.short) for each in compared(ours, told)}
    assert found == {
        "INBOX": (3, 4, False),
        "已发送": (2, 2, False),
        "Old": (3, 2, True),
        "Gone": (4, 0, True),
        "Archive": (1, 1, False),
    }
    assert CountedFolder("x", 0, 0).short is False
