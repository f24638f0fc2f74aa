"""Every step of a plan happens once, whatever is struck on the way, and nothing else happens."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from alimail_core.contract import Provisioner
from alimail_core.errors import Denied, InputError, Interrupted, LeaseHeld, Transient
from alimail_core.ledger import Ledger
from alimail_core.ledger.steps import StepBook, StepState
from alimail_core.provisioning.apply import FRESH, Provisioned, Reading, provision
from alimail_core.provisioning.directory import (
    EVERYTHING,
    Directory,
    Employee,
    Group,
    ProvisionerTraits,
    Step,
    Thing,
)
from alimail_core.provisioning.passwords import PasswordFile, generate, password_fault
from alimail_core.provisioning.plan import Wish
from alimail_core.seam import Stop
from alimail_core.secrets import Secret
from alimail_core.testing import (
    Countdown,
    FakeClock,
    FaultingProvisioner,
    FaultKind,
    Killed,
    MemoryDirectory,
    MemoryProvisioner,
)

WISHED: list[Thing] = [
    Employee("anna@x", name="Anna", number="1", department=("Sales", "West"), manager="bob@x"),
    Employee("bob@x", name="Bob", number="2", department=("Sales",), title="Head"),
    Employee("carl.new@x", number="3"),
    Group("all@x", "All", frozenset({"bob@x"}), frozenset({"anna@x", "bob@x", "guest@y"})),
]
THERE: list[Thing] = [Employee("carl@x", number="3"), Employee("old@x")]


class Desk:
    """An organisation, its ledger of which only what was synced outlives a crash, and runs over both."""

    def __init__(self, tmp_path: Path, traits: ProvisionerTraits = EVERYTHING) -> None:
        self.service = MemoryDirectory(Directory.of(THERE))
        self.traits = traits
        self.clock = FakeClock()
        self.passwords = tmp_path / "passwords.csv"
        self.ledger = Ledger.in_memory(clock=self.clock)
        self.durable = self.ledger.snapshot()

    def open(self) -> Provisioner:
        """Open a provisioner without faults."""
        return MemoryProvisioner(self.service, self.traits)

    def run(
        self,
        countdown: Countdown | None = None,
        *,
        wished: list[Thing] | None = None,
        stop: Stop | None = None,
    ) -> Provisioned:
        """Provision, in a process that may be killed."""
        struck = countdown or Countdown(at=10**9)

        def synced() -> None:
            if not struck.dead:
                self.durable = self.ledger.snapshot()

        self.ledger.on_sync = synced
        wish = Wish(Directory.of(WISHED if wished is None else wished))
        return provision(
            wish,
            lambda: FaultingProvisioner(self.open(), struck),
            self.ledger,
            PasswordFile(self.passwords),
            clock=self.clock,
            stop=stop,
        )

    def crash(self) -> None:
        """Lose everything that was not on the disk."""
        self.ledger = Ledger.in_memory(clock=self.clock, snapshot=self.durable)
        with self.ledger.engine.begin() as connection:
            if sa.inspect(connection).has_table("provision"):
                connection.exec_driver_sql(
                    "UPDATE provision SET owner = ''"
                )  # this process stands for another

    def states(self) -> list[StepState]:
        """Return the states of all steps in the ledger."""
        return [row.state for row in StepBook(self.ledger).rows()]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """Found an organisation."""
    return Desk(tmp_path)


def _countdowns(kind: FaultKind, tmp_path: Path, run: Callable[[Desk, Countdown], None]) -> Iterator[Desk]:
    """Strike the first operation, then the second, until a run ends before its turn comes."""
    for at in range(1, 200):
        folder = tmp_path / str(at)
        folder.mkdir()
        desk = Desk(folder)
        countdown = Countdown(at=at, kind=kind, clock=desk.clock)
        run(desk, countdown)
        yield desk
        if not countdown.fired:
            return
    raise AssertionError("the countdown never ended")


def _until_done(desk: Desk, countdown: Countdown) -> None:
    try:
        ended = desk.run(countdown)
    except Killed:
        desk.crash()
        ended = desk.run()
    assert ended.complete


FAULTS = [kind for kind in FaultKind if kind is not FaultKind.MEDDLED]


@pytest.mark.slow
@pytest.mark.parametrize("kind", FAULTS, ids=lambda kind: kind.name)
def test_whatever_is_struck_every_step_happens_once(tmp_path: Path, kind: FaultKind) -> None:
    """The service did each step once, and ends as after an undisturbed run; nothing is left in doubt."""
    quiet = tmp_path / "quiet"
    quiet.mkdir()
    undisturbed = Desk(quiet)
    assert undisturbed.run().complete
    for desk in _countdowns(kind, tmp_path, _until_done):
        desk.clock.advance(60)  # whatever comes late has come
        assert desk.service.directory == undisturbed.service.directory
        assert desk.service.steps_done - undisturbed.service.steps_done <= (
            kind in (FaultKind.HALF, FaultKind.TORN)
        )
        assert desk.service.asked == desk.service.steps_done, "nothing is sent twice"
        assert StepState.SENT not in desk.states()
        for key, password in desk.service.passwords.items():
            assert PasswordFile(desk.passwords).get(key) == password
        steps = desk.service.steps_done
        assert desk.run().complete
        assert desk.service.steps_done == steps, "a second run does nothing"


def test_what_was_not_sent_is_not_in_doubt(desk: Desk) -> None:
    """Steps whose turn had not come when the connection was lost are sent without a look or a wait."""
    people: list[Thing] = [Employee(f"p{number}@x") for number in range(9)]
    countdown = Countdown(at=2, kind=FaultKind.BEFORE)
    assert desk.run(countdown, wished=people).complete
    assert "look" not in countdown.operations
    assert max(desk.clock.slept) < 30


def test_a_run_about_others_leaves_doubts_alone(desk: Desk) -> None:
    """What is in doubt is settled by a run that asks about it, and no other one."""
    countdown = Countdown(at=2, kind=FaultKind.KILLED_LATE)
    with pytest.raises(Killed):
        desk.run(countdown)
    desk.crash()
    desk.run(wished=[Employee("bob@x", name="Bob")])
    assert desk.states().count(StepState.SENT) == 1
    countdown.finish_late()
    assert desk.run().complete
    assert StepState.SENT not in desk.states()
    assert desk.service.asked == desk.service.steps_done


def test_what_was_refused_and_is_there_now_is_settled(desk: Desk) -> None:
    """Somebody has made it by hand, and the ledger learns of it."""
    desk.service.refuse = {"bob@x": "403 no licence"}
    assert not desk.run().complete
    desk.service.directory = Directory.of(
        [
            *desk.service.directory.things(),
            Employee("bob@x", name="Bob", number="2", department=("Sales",), title="Head"),
        ]
    )
    desk.service.refuse = {}
    assert desk.run().complete
    assert set(desk.states()) == {StepState.DONE}


def test_what_is_wished_stands_there_and_the_rest_is_told(desk: Desk) -> None:
    """The plan that is left is empty, and names what nobody wished."""
    ended = desk.run()
    assert ended.complete
    assert ended.done == desk.service.steps_done == len(desk.states())
    assert [extra.name for extra in ended.left.extras] == ["old@x"]
    assert set(desk.service.directory.employees) == {"anna@x", "bob@x", "carl.new@x", "old@x"}


class Counting(MemoryProvisioner):
    """Counts how often it was read."""

    reads = 0

    def read(self) -> Directory:
        """Read, and count it."""
        Counting.reads += 1
        return super().read()


@pytest.mark.parametrize(
    ("seconds", "in_doubt", "reads"),
    [(0.0, False, 2), (FRESH + 1, False, 3), (0.0, True, 3)],
    ids=["fresh", "old", "in doubt"],
)
def test_what_the_plan_has_read_is_not_read_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, seconds: float, in_doubt: bool, reads: int
) -> None:
    """The first attempt begins with it, unless it is old or a step may have come since; the proof is read anew."""
    monkeypatch.setattr(Counting, "reads", 0)
    if in_doubt:
        with pytest.raises(Killed):
            desk.run(Countdown(at=3, kind=FaultKind.KILLED_AFTER))
        desk.crash()
    session = Counting(desk.service)
    reading = Reading.of(session, desk.clock)
    desk.clock.advance(seconds)
    passwords = PasswordFile(desk.passwords)
    ended = provision(
        Wish(Directory.of(WISHED)),
        lambda: Counting(desk.service),
        desk.ledger,
        passwords,
        clock=desk.clock,
        reading=reading,
    )
    assert ended.complete
    assert Counting.reads == reads
    assert desk.service.asked == desk.service.steps_done


def test_who_is_not_taken_with_the_manager_is_made_without(desk: Desk) -> None:
    """Who is refused as manager costs nobody the account."""
    desk.service.refuse = {"bob@x": "403 no licence"}
    staff: list[Thing] = [
        Employee("bob@x"),
        Employee("anna@x", manager="bob@x"),
        Employee("dora@x", manager="anna@x"),
    ]
    ended = desk.run(wished=staff)
    assert [each.name for each in ended.refused] == ["bob@x", "anna@x"]
    there = desk.service.directory.employees
    assert (there["anna@x"].manager, there["dora@x"].manager) == (None, "anna@x")


def test_a_refusal_stops_nothing_else(desk: Desk) -> None:
    """It is told with the service's words, tried again by the next run, and not in this one."""
    desk.service.directory = Directory.of([*THERE, Group("else@x")])
    desk.service.refuse = {"bob@x": "403 no licence is left"}
    ended = desk.run()
    assert not ended.complete
    assert [(each.name, each.message) for each in ended.refused if "licence" in each.message] == [
        ("bob@x", "was refused: 403 no licence is left")
    ]
    assert "anna@x" in desk.service.directory.employees
    assert desk.states().count(StepState.REFUSED) >= 1
    desk.service.refuse = {}
    assert desk.run().complete


def test_somebody_else_may_be_faster(desk: Desk) -> None:
    """What is made between reading and the step is taken for ours where it is as wished."""

    class Meddled(MemoryProvisioner):
        def read(self) -> Directory:
            told = super().read()
            if "bob@x" not in told.employees:
                self.service.directory = Directory.of(
                    [*THERE, Employee("bob@x", "Bob", "2", ("Sales",), "Head")]
                )
            return told

    desk.open = lambda: Meddled(desk.service)  # type: ignore[method-assign]
    ended = desk.run()
    assert ended.complete
    assert ended.found >= 1


def test_a_service_that_says_done_and_shows_nothing_is_told(desk: Desk) -> None:
    """It gets the time that it may take, and then a person looks."""

    class Liar(MemoryProvisioner):
        def read(self) -> Directory:
            return Directory.of(THERE)

    desk.open = lambda: Liar(desk.service)  # type: ignore[method-assign]
    ended = desk.run()
    assert all("does not show it" in each.message or "409" in each.message for each in ended.refused)
    assert ended.left.waves


def test_a_service_that_shows_late_is_waited_for(desk: Desk) -> None:
    """The run ends complete, and no step is sent twice."""

    class Slow(MemoryProvisioner):
        def read(self) -> Directory:
            due = desk.clock.monotonic() >= 25
            return super().read() if due else Directory.of(THERE)

    desk.open = lambda: Slow(desk.service)  # type: ignore[method-assign]
    assert desk.run().complete
    assert desk.service.steps_done == len(desk.states())


def test_a_service_that_stays_away_ends_the_run(desk: Desk) -> None:
    """After a quarter of an hour without any progress."""

    def away() -> Provisioner:
        raise Transient("connection refused")

    desk.open = away  # type: ignore[method-assign]
    with pytest.raises(Transient):
        desk.run()
    assert desk.clock.monotonic() >= 900


def test_who_may_not_go_on_is_told_at_once(desk: Desk) -> None:
    """Denied is not tried again."""

    def denied() -> Provisioner:
        raise Denied("403 the application lacks the permission users:write", remedy="grant it in the console")

    desk.open = denied  # type: ignore[method-assign]
    with pytest.raises(Denied):
        desk.run()
    assert desk.clock.slept == []


def test_a_wish_to_stop_is_heeded_between_two_steps(desk: Desk) -> None:
    """What was begun is noted, and the next run goes on."""
    stop = Stop()

    class Stopping(MemoryProvisioner):
        def carry_out(self, steps):  # type: ignore[no-untyped-def]
            for outcome in super().carry_out(steps):
                stop.set(15)
                yield outcome

    normal, desk.open = desk.open, lambda: Stopping(desk.service)  # type: ignore[method-assign]
    with pytest.raises(Interrupted) as caught:
        desk.run(stop=stop)
    assert caught.value.signal == 15
    assert StepState.SENT not in desk.states()
    desk.open = normal  # type: ignore[method-assign]
    assert desk.run().complete


def test_two_processes_do_not_provision_at_once(desk: Desk) -> None:
    """The second is told so and does nothing."""
    with StepBook.lease(desk.ledger), pytest.raises(LeaseHeld):
        desk.run()
    assert desk.service.steps_done == 0


def test_a_ledger_without_provisioning_tells_no_steps(desk: Desk) -> None:
    """Reading makes no tables."""
    assert StepBook(desk.ledger).rows() == []


# Passwords.


def test_the_roster_s_password_is_used_and_not_written_down(desk: Desk) -> None:
    """The file has only those that were made."""
    wish = Wish(Directory.of(WISHED), passwords={"anna@x": Secret.literal("G1ven-One!")})
    provision(wish, desk.open, desk.ledger, PasswordFile(desk.passwords), clock=desk.clock)
    assert desk.service.passwords["anna@x"] == "G1ven-One!"
    text = desk.passwords.read_text()
    assert "G1ven" not in text
    assert f"bob@x,{desk.service.passwords['bob@x']}" in text.splitlines()


def test_no_password_reaches_the_ledger(desk: Desk) -> None:
    """Nor what a plan or a step shows."""
    desk.run()
    for password in desk.service.passwords.values():
        assert password.encode() not in desk.ledger.snapshot()
    assert "Sup3r" not in repr(Step(WISHED[0], password=lambda: "Sup3r"))


def test_passwords_that_are_made_keep_the_rules() -> None:
    """All four classes, no look-alikes, and a letter first, so that no spreadsheet takes them for a formula."""
    made = {generate() for _ in range(300)}
    assert len(made) == 300
    for password in made:
        assert password_fault(password) is None
        assert not set(password) & set("0Oo1Il|=+@\"',;:")
        assert password[0].isalpha()


@pytest.mark.parametrize(
    ("password", "told"),
    [
        ("Sh0rt!x", "has 7 characters"),
        ("Aa1" + "x" * 62, "has 65 characters"),
        ("alllower1", "is too simple"),
        ("With Space1", "has spaces"),
        ("Pässwort1", "beyond ASCII"),
        ("Good-enough", ""),
        ("Good1enough", ""),
    ],
)
def test_the_rules_are_the_console_s(password: str, told: str) -> None:
    """8 to 64 characters of at least three classes."""
    fault = password_fault(password)
    assert (told in fault[0]) if fault else not told


def test_the_file_of_passwords_only_grows(tmp_path: Path) -> None:
    """It is its owner's alone, keeps what it has, and survives a row that a crash cut off."""
    path = tmp_path / "passwords.csv"
    PasswordFile(path).make(["anna@x", "bob@x"])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    anna = PasswordFile(path).get("ANNA@X")
    path.write_bytes(path.read_bytes() + b"carl@x,Cut")
    again = PasswordFile(path)
    again.make(["anna@x", "carl@x"])
    assert PasswordFile(path).get("anna@x") == anna
    assert PasswordFile(path).get("carl@x") == again.get("carl@x") != "Cut"


def test_a_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    """So is one that is something else."""
    (tmp_path / "open.csv").write_text("address,password\n")
    (tmp_path / "open.csv").chmod(0o644)
    with pytest.raises(InputError, match="may be read by others"):
        PasswordFile(tmp_path / "open.csv")
    (tmp_path / "other.csv").write_text("source address,target address\n")
    with pytest.raises(InputError, match="not a file of passwords"):
        PasswordFile(tmp_path / "other.csv")
    (tmp_path / "link.csv").symlink_to(tmp_path / "open.csv")
    with pytest.raises(InputError, match="no file of its own"):
        PasswordFile(tmp_path / "link.csv")
