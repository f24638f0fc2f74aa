"""The benchmark measures what it says: it compares every message and counts no run that went wrong."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import ClassVar

import pytest
from attrs import evolve

from alimail_core.events import BatchSettled, FolderListed, PassStarted
from alimail_core.logs import JsonLog
from alimail_core.model import INBOX
from alimail_core.testing.clock import FakeClock
from alimail_core.testing.oracle import Kept, Snapshot
from benchmarks import check, measure
from benchmarks.__main__ import main, page
from benchmarks.eta import eta_error
from benchmarks.mail import Corpus
from benchmarks.measure import Command, Taken, take
from benchmarks.organisation import build, misses, verb
from benchmarks.relay import Relay
from benchmarks.sitting import Run, sit, turns
from benchmarks.stage import Job
from benchmarks.table import Result, as_markdown, as_text, rows, verdicts
from benchmarks.tools import Alimail, Doveadm, Tool
from benchmarks.works import CHANGED, COPY, NOTHING_NEW, WORKS, Change, Goal, Work

WHEN = datetime(2024, 1, 1, 10, tzinfo=UTC)
ONE, TWO = Kept("1" * 64, frozenset({"\\Seen"}), WHEN), Kept("2" * 64, frozenset(), WHEN)
SOURCE: Snapshot = {INBOX: Counter({ONE: 2}), ("Projects",): Counter({TWO: 1})}
TINY = Work(
    "a few messages",
    Corpus(30, 300_000, (INBOX, ("Projects",))),
    ("doveadm", "careless"),
    (Goal(100, "doveadm"), Goal(0.0001, "best peer"), Goal(1000, of="memory")),
    round_trip=0.002,
)


class Careless(Doveadm):
    """A peer that loses a message and says that all went well."""

    name: ClassVar[str] = "careless"

    def commands(self, job: Job) -> list[Command]:
        """Return a copy, and what loses one of its messages."""
        lost = job.target.command("expunge", "-u", job.pairs[0][1].user, "mailbox", "INBOX", "1")
        return [*super().commands(job), Command(tuple(lost))]


def quiet(_text: str) -> None:
    """Tell nobody."""


# -- the whole


@pytest.mark.server
def test_a_sitting() -> None:
    """Each tool's runs are measured, and those count after which both sides hold the same messages."""
    tools: list[Tool] = [Alimail(), Doveadm(), Careless()]
    result = Result("tiny", TINY, True, tuple(sit(TINY, tools, tls=True, runs=1, tell=quiet)))
    faults = {run.tool: run.fault for run in result.runs}
    assert faults.pop("careless") == "old0@example.org: 1 missing or changed, 0 too many or changed"
    assert faults == {"alimail": "", "doveadm": ""}
    assert [verdict.met for verdict in verdicts(result)] == [True, False, True]
    assert all(run.taken.memory > 1 and run.taken.cpu > 0 for run in result.runs)
    assert "0, not sound" in as_text(result)


@pytest.mark.server
def test_later_passes() -> None:
    """What changes at the source between two passes is carried, and the copy before is not measured."""
    work = evolve(TINY, change=Change(new=3, flags=4, moved=2), round_trip=0.0)
    runs = sit(work, [Alimail()], tls=False, runs=1, tell=quiet)
    assert [(run.tool, run.phase, run.fault) for run in runs] == [
        ("alimail", phase, "") for phase in (COPY, NOTHING_NEW, CHANGED)
    ]
    assert Result("tiny", work, False, tuple(runs)).phases() == [NOTHING_NEW, CHANGED]


def test_tools_take_turns() -> None:
    """Every tool runs as often as the others, and another one is first each time."""
    tools: list[Tool] = [Alimail(), Doveadm(), Careless()]
    names = [tool.name for tool in turns(tools, 3)]
    assert names[::3] == ["alimail", "doveadm", "careless"]
    assert Counter(names) == {"alimail": 3, "doveadm": 3, "careless": 3}


# -- what is compared


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (evolve(TWO, digest="3" * 64), "1 missing or changed, 1 too many or changed"),
        (evolve(TWO, flags=frozenset({"\\Seen"})), "1 missing or changed, 1 too many or changed"),
        (
            evolve(TWO, internal_date=WHEN + timedelta(seconds=1)),
            "1 missing or changed, 1 too many or changed",
        ),
        (TWO, ""),
    ],
)
def test_check_sees_each_change(change: Kept, told: str) -> None:
    """Another digest, other flags or another date are another message."""
    found = {**SOURCE, ("Projects",): Counter({change: 1})}
    assert check.differences(SOURCE, found) == told


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (
            {INBOX: Counter({ONE: 1}), ("Projects",): Counter({TWO: 1})},
            "1 missing or changed, 0 too many or changed",
        ),
        (
            {INBOX: Counter({ONE: 3}), ("Projects",): Counter({TWO: 1})},
            "0 missing or changed, 1 too many or changed",
        ),
        ({INBOX: Counter({ONE: 2, TWO: 1})}, "1 missing or changed, 1 too many or changed"),
    ],
)
def test_check_counts(found: Snapshot, told: str) -> None:
    """A lost message, a doubled one and one in another folder are told."""
    assert check.differences(SOURCE, found) == told


def test_only_what_a_tool_adds_by_design_is_taken_out() -> None:
    """A header field that a tool adds is taken out once, and from no other tool's messages."""
    octets = b"A: 1\r\nX-TUID: abc\r\nB: 2\r\n\r\nX-TUID: x\r\n"
    assert check.without("X-TUID", octets) == b"A: 1\r\nB: 2\r\n\r\nX-TUID: x\r\n"
    assert check.without("", octets) == octets


# -- what is measured


def test_a_process_tree_is_measured(tmp_path: Path) -> None:
    """Memory and CPU of a process's children count, and the first exit code that is not 0 ends the run."""
    hungry = "held = bytearray(150_000_000); sum(range(2_000_000)); import time; time.sleep(1)"
    inside = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {hungry!r}], check=True)"
    failing = Command((sys.executable, "-c", "print('why'); raise SystemExit(3)"))
    never = Command((sys.executable, "-c", "print('never')"))
    taken = measure.take([Command((sys.executable, "-c", inside)), failing, never], tmp_path / "output", 60)
    assert taken.memory > 150
    assert taken.cpu > 0
    assert taken.code == 3
    assert (tmp_path / "output").read_text() == "why\n"


def test_a_process_that_never_ends_is_killed(tmp_path: Path) -> None:
    """A tool that hangs is a run that failed, not a benchmark that hangs."""
    assert measure.take([Command(("sleep", "600"))], tmp_path / "output", 0.1).code == -9


def test_a_tool_may_keep_what_it_has_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that keeps Python from it would have every start compile what pip compiles once."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    words = (sys.executable, "-c", "import sys; raise SystemExit(sys.dont_write_bytecode)")
    assert measure.take([Command(words)], tmp_path / "output", 60).code == 0


def test_relay_passes_octets_whole_and_late() -> None:
    """Octets pass untouched in both directions, many at once as well, and none before its time."""
    sent = bytes(range(256)) * 40_000
    with socket.create_server(("127.0.0.1", 0)) as server:
        echoing = threading.Thread(target=_echo, args=(server,))
        echoing.start()
        port = server.getsockname()[1]
        began = time.monotonic()
        with (
            Relay.start(0.05, [port]) as relay,
            socket.create_connection(("127.0.0.1", relay.ports[port])) as client,
        ):
            writing = threading.Thread(target=_say, args=(client, sent))
            writing.start()
            with client.makefile("rb") as reader:
                assert reader.read(1) == sent[:1]
                # One round trip to connect and one to be answered: no noise on a machine makes that shorter.
                assert time.monotonic() - began >= 0.1
                assert reader.read() == sent[1:]
            writing.join()
            assert relay.cpu() >= 0
        echoing.join()


def _say(client: socket.socket, octets: bytes) -> None:
    client.sendall(octets)
    client.shutdown(socket.SHUT_WR)


def _echo(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        while data := connection.recv(65536):
            connection.sendall(data)


# -- at the desk


@pytest.mark.slow
def test_the_verbs_of_an_organisation_are_measured() -> None:
    """Each is run as a process of its own, and its time counts only where it has told of everybody."""
    work = evolve(WORKS["organisation"], corpus=Corpus(7, 1), accounts=60)
    runs = sit(work, [], tls=False, runs=1, tell=quiet)
    assert [(run.tool, run.phase, run.fault) for run in runs] == [
        ("alimail", phase, "") for phase in ("plan", "status", "report")
    ]
    assert {goal.phase for goal in work.goals} == {run.phase for run in runs}


@pytest.mark.slow
def test_a_verb_that_leaves_somebody_out_does_not_count(tmp_path: Path) -> None:
    """What is told is held against what was written."""
    build(tmp_path, 3, 2)
    for phase in ("plan", "status", "report"):
        output = tmp_path / "output"
        assert take([verb(tmp_path, phase)], output, 60.0).code == 0, output.read_text()
        told = output.read_text()
        assert misses(tmp_path, phase, told, 3, 2) == ""
        assert misses(tmp_path, phase, told, 4, 2).startswith("not told: ")


# -- what is told


def taken(wall: float, memory: float = 50.0) -> Taken:
    """Return what a run took."""
    return Taken(wall, wall / 2, memory, 0)


def result_of(*runs: tuple[str, float, str], goals: tuple[Goal, ...] = ()) -> Result:
    """Return a result of runs, each with its tool, its wall time and its fault."""
    work = Work("some", TINY.corpus, ("mbsync", "doveadm"), goals)
    return Result(
        "some", work, False, tuple(Run(COPY, tool, taken(wall), fault) for tool, wall, fault in runs)
    )


def test_ratios_are_of_medians() -> None:
    """A run that was slow by chance does not decide, and one that is not sound does not count."""
    result = result_of(
        ("alimail", 1.0, ""), ("mbsync", 4.0, ""), ("doveadm", 2.0, ""),
        ("alimail", 9.0, ""), ("mbsync", 5.0, ""), ("doveadm", 0.1, "lost a message"),
        ("alimail", 1.5, ""), ("mbsync", 3.0, ""), ("doveadm", 0.1, "lost a message"),
        goals=(Goal(0.4, "mbsync"), Goal(0.74, "doveadm"), Goal(0.375, "best peer"), Goal(1, "imapsync")),
    )  # fmt: skip
    assert result.ratio("mbsync", COPY) == 0.375
    assert result.ratio("doveadm", COPY) == 0.75
    assert [verdict.met for verdict in verdicts(result)] == [True, False, False, None]
    assert "1.00–9.00" in as_text(result)
    assert "0.38 (0.25–1.80)" in as_text(result)
    assert "lost a message" in as_markdown([result])


def test_a_goal_is_missed_where_no_run_of_ours_counts() -> None:
    """A copy that is not sound meets no goal, however fast it was."""
    result = result_of(("alimail", 0.1, "lost a message"), ("mbsync", 4.0, ""), goals=(Goal(0.4, "mbsync"),))
    assert [verdict.met for verdict in verdicts(result)] == [False]


def test_a_tool_that_did_not_run_in_a_phase_has_no_row_there() -> None:
    """A script that remembers nothing makes one copy, and no later pass whose runs could be unsound."""
    result = result_of(("alimail", 1.0, ""), ("mbsync", 2.0, ""))
    result = evolve(result, runs=(*result.runs, Run(NOTHING_NEW, "alimail", taken(0.5))))
    assert [row[:2] for row in rows(result)] == [
        ("some", "alimail"), ("some", "mbsync"), ("some: nothing new", "alimail")
    ]  # fmt: skip


def test_the_page_names_what_was_measured() -> None:
    """The written page has the works, the tools with their settings, and every row."""
    result = evolve(result_of(("alimail", 1.0, ""), ("doveadm", 2.0, "")), name="mixed")
    text = page("", [result], [Alimail(), Doveadm()])
    assert WORKS["mixed"].what in text
    assert Doveadm.settings in text
    assert "| mixed | doveadm | 2.00 | 2.00–2.00 | 0.50 (0.50–0.50) | 1.00 | 50 | 1 |" in text


def test_a_tool_of_an_older_section_stays_described() -> None:
    """One that stands in no section any more does not."""
    both = evolve(result_of(("alimail", 1.0, ""), ("doveadm", 2.0, "")), name="mixed")
    alone = result_of(("alimail", 1.0, ""))
    text = page("", [both], [Alimail(), Doveadm()])
    assert Doveadm.settings in page(text, [evolve(alone, name="small")], [Alimail()])
    assert Doveadm.settings not in page(text, [evolve(alone, name="mixed")], [Alimail()])


@pytest.mark.slow
def test_a_sitting_writes_the_sections_of_its_own_works_alone() -> None:
    """What others measured stays, works stand in their order, and one measured anew has one section."""
    text = ""
    for name, wall in (("small", 1.0), ("mixed", 2.0), ("small", 3.0)):
        result = evolve(result_of(("alimail", wall, ""), ("doveadm", 2.0, "")), name=name)
        text = page(text, [result], [Alimail(), Doveadm()])
    assert [line for line in text.splitlines() if line.startswith("#")] == [
        "# Benchmarks", "## mixed", "## small"
    ]  # fmt: skip
    assert "| small | alimail | 3.00 |" in text
    assert "| small | alimail | 1.00 |" not in text
    assert page(text, [result], [Alimail(), Doveadm()]) == text


def test_an_unknown_work_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """A work that is misspelt is named, and nothing is measured."""
    with pytest.raises(SystemExit):
        main(["mixt"])
    assert "no such work: mixt" in capsys.readouterr().err


def test_estimates_are_held_against_the_end(tmp_path: Path) -> None:
    """After a fifth of 100 s the display said 40 s, and 80 came: an error of -50 %."""
    clock = FakeClock(WHEN)
    account = "old@example.org"
    with JsonLog(tmp_path / "log", "bench", clock) as log:
        log(PassStarted(account, 1))
        log(FolderListed(account, INBOX, INBOX, 300, 3000))
        for _ in range(10):
            clock.sleep(10)
            log(BatchSettled(account, INBOX, copied=50, octets=500))
    error = eta_error(tmp_path / "log", WHEN, 100.0)
    assert error is not None
    assert (error.shown, error.left, str(error)) == (40.0, 80.0, "at least -50%")
    assert str(eta_error(tmp_path / "log", WHEN, 20.0)) == "none shown yet"
    assert eta_error(tmp_path / "none", WHEN, 20.0) is None
