"""The demo keeps its promises, and its proof would notice if it did not."""

from __future__ import annotations

import csv
import re
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from attrs import evolve

from alimail_core.testing.oracle import Kept, Snapshot
from tests.outlook import standin
from tools.demo import proof
from tools.demo.company import GONE, MISTYPED
from tools.demo.exchange import PASSWORD
from tools.demo.office import altered

ROOT = Path(__file__).parents[1]
WHEN = datetime(2024, 1, 1, 10, tzinfo=UTC)
ONE, TWO = Kept("1" * 64, frozenset({"\\Seen", "$Forwarded"}), WHEN), Kept("2" * 64, frozenset(), WHEN)
SEEN = evolve(ONE, flags=frozenset({"\\Seen"}))
SOURCE: Snapshot = {("INBOX",): Counter({ONE: 2}), ("Sent",): Counter({TWO: 1})}
ALL_THERE: Snapshot = {("INBOX",): Counter({SEEN: 2}), ("已发送",): Counter({TWO: 1})}


def compared(target: Snapshot, *, before: Snapshot | None = None) -> tuple[int, int, int]:
    """Return how many messages are missing, doubled and marked otherwise."""
    wanted = proof.expected({"anna": SOURCE}, None if before is None else {"anna": before})
    found = proof.compare(wanted, {"anna": target})
    assert found.clean == (found.missing == found.doubled == found.marked_otherwise == 0)
    return found.missing, found.doubled, found.marked_otherwise


def play(module: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Play a small demo over a folder that is not there yet, to its end."""
    command = [sys.executable, "-m", module, "--small", "--folder", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=800, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def test_proof_accepts_a_faithful_target() -> None:
    """The same messages in the folders that they belong in, without the keywords, are all there."""
    assert compared(ALL_THERE) == (0, 0, 0)


@pytest.mark.parametrize(
    ("change", "differs"),
    [
        ({("INBOX",): Counter({SEEN: 1})}, (1, 0, 0)),
        ({("INBOX",): Counter({SEEN: 3})}, (0, 1, 0)),
        ({("INBOX",): Counter({SEEN: 1, TWO: 1})}, (1, 1, 0)),
        ({("INBOX",): Counter({SEEN: 1, evolve(SEEN, flags=frozenset()): 1})}, (0, 0, 1)),
        ({("INBOX",): Counter({evolve(SEEN, internal_date=datetime(2024, 1, 2, tzinfo=UTC)): 2})}, (0, 0, 2)),
        ({("已发送",): Counter(), ("Sent",): Counter({TWO: 1})}, (1, 1, 0)),
        ({("Drafts",): Counter({evolve(TWO, digest="3" * 64): 1})}, (0, 1, 0)),
    ],
    ids=["lost", "doubled", "exchanged", "flags", "date", "other folder", "from nowhere"],
)
def test_proof_notices(change: Snapshot, differs: tuple[int, int, int]) -> None:
    """Each way in which a migration could fail is seen, and counted as what it is."""
    assert compared({**ALL_THERE, **change}) == differs


def test_proof_knows_that_deleted_mail_is_kept() -> None:
    """What was deleted at the source since stands in the target on purpose: once, and it must."""
    three = evolve(TWO, digest="3" * 64)
    before: Snapshot = {**SOURCE, ("Sent",): Counter({TWO: 1, three: 1})}
    kept: Snapshot = {**ALL_THERE, ("已发送",): Counter({TWO: 1, three: 1})}
    assert compared(kept, before=before) == (0, 0, 0)
    assert compared(ALL_THERE, before=before) == (1, 0, 0)
    assert compared(kept) == (0, 1, 0)


@pytest.mark.server
def test_demo_keeps_its_promises(tmp_path: Path) -> None:
    """From an empty folder to the proof: killed in the middle, every message once, and the report is there."""
    folder = tmp_path / "run"
    done = play("tools.demo", folder)
    *_, proven = done.stdout.partition("Proven, by reading both servers without alimail:\n")
    text = " ".join(proven.split())
    assert "5 mailboxes arrived exactly once" in text
    assert "10 deleted (these are kept in the target)" in text
    assert re.search(r"- 6\d\d messages stand in the target: 0 missing, 0 doubled\.", text)
    assert f"{len(altered())} odd messages" in text
    assert text.endswith(f"The report: {folder}/alimail-report/report.html")
    assert (folder / "alimail-report" / "report.html").stat().st_size > 0
    _assert_secrets_kept(folder, done.stdout + done.stderr)


@pytest.mark.server
def test_the_company_moves_until_the_old_systems_can_end(tmp_path: Path) -> None:
    """Thirty accounts by two protocols, two in trouble, a kill, a repair, the change: proven, and nothing told."""
    folder = tmp_path / "run"
    done = play("tools.demo.organisation", folder)
    told, _, proven = done.stdout.partition("Proven, by reading all servers without alimail:\n")
    text = " ".join(proven.split())
    assert "30 mailboxes moved, 20 by IMAP and 10 by POP3" in text
    assert re.search(r"- \d\d\d messages stand in the target: 0 missing, 0 doubled\.", text)
    for person in (MISTYPED, GONE):
        assert re.search(rf"{person.old} +WAITS for its password", told)
    roster = folder / "accounts.csv"
    secrets = _passwords(roster)
    assert len(secrets) == 3
    _assert_kept_in([roster], secrets, folder, done.stdout + done.stderr)


@pytest.mark.server
@pytest.mark.slow
def test_an_organisation_is_made_and_its_mail_moves_in(tmp_path: Path) -> None:
    """Five faults, a kill, a second sheet, one command: proven, and no password told or written but into its file."""
    folder = tmp_path / "run"
    done = play("tools.demo.provisioning", folder)
    told, _, proven = done.stdout.partition("Proven, by reading both servers' files")
    text = " ".join(proven.split())
    assert "51 accounts in 20 departments and 10 groups" in text
    assert "192 messages stand in the new mailboxes" in text
    assert "have 5 faults" in done.stderr
    assert "7/7 Report" in told
    with (folder / "passwords.csv").open(newline="") as file:
        made = {row[1] for row in csv.reader(file)} - {"password"}
    _assert_kept_in([folder / "passwords.csv"], made, folder, done.stdout + done.stderr)


@pytest.mark.server
@pytest.mark.slow
def test_an_exchange_server_moves_through_a_refusal_and_a_kill(tmp_path: Path) -> None:
    """Scripts, roster, check, five mailboxes, one of them on another database meanwhile: proven, and nothing told."""
    folder = tmp_path / "run"
    done = play("tools.demo.exchange", folder)
    told, _, proven = done.stdout.partition("Proven, by reading the target without alimail:\n")
    assert re.search(r"FAULT +carla@old.example: the server said: ErrorImpersonateUserDenied", told)
    assert "- 210 messages stand in the target: 0 missing, 0 doubled." in proven
    assert (folder / "exchange" / "all.ps1").exists()
    secrets = {PASSWORD, (folder / "new.txt").read_text().strip()}
    files = [folder / "superman.txt", folder / "new.txt"]
    _assert_kept_in(files, secrets, folder, done.stdout + done.stderr)


@pytest.mark.server
@pytest.mark.slow
def test_outlook_s_plug_in_is_refused_installed_repaired_and_rolled_out(tmp_path: Path) -> None:
    """All of it under Wine and in Chromium; sixty machines instead of five hundred is all that is small about it."""
    folder = tmp_path / "run"
    done = play("tools.demo.outlook", folder)
    told, _, promised = done.stdout.partition("As it was promised, each command by its exit code:\n")
    forged, _, rest = told.partition("--exe plugin.exe")
    assert "changed after that" in done.stderr
    assert "installed:" not in forged
    assert f"installed: {standin.PROGID} {standin.VERSION}" in rest
    assert re.search(r"not among the disabled items +FAULT", rest)
    assert "nothing is in the way" in rest
    assert "found: 王小明 <wang@new.example>" in rest
    assert (folder / "contacts.csv").read_text("utf-8-sig").count("@new.example,SMTP") == 2
    assert "- 60 machines stand in" in promised
    assert (folder / "pane.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "report" / "outlook.csv").read_text("utf-8-sig").count("\nPC") == 60


def _assert_secrets_kept(folder: Path, told: str) -> None:
    """No password was shown or written anywhere but into the two files that only their owner can read."""
    master, roster = folder / "old-master.secret", folder / "accounts.csv"
    secrets = {master.read_text().strip(), *_passwords(roster)}
    assert len(secrets) == 2
    _assert_kept_in([master, roster], secrets, folder, told)


def _passwords(roster: Path) -> set[str]:
    with roster.open(encoding="utf-8-sig", newline="") as file:
        headings, *rows = (row for row in csv.reader(file) if not row[0].startswith("#"))
    columns = [headings.index("Source password"), headings.index("Target password")]
    cells = {row[column] for row in rows for column in columns}
    return {cell for cell in cells if cell and not cell.startswith("env:")}


def _assert_kept_in(files: list[Path], secrets: set[str], folder: Path, told: str) -> None:
    holders = {path for path in folder.rglob("*") if path.is_file() and _holds(path, secrets)}
    assert holders == set(files)
    assert {path.stat().st_mode & 0o777 for path in holders} == {0o600}
    assert not any(secret in told for secret in secrets)


def _holds(path: Path, secrets: set[str]) -> bool:
    octets = path.read_bytes()
    return any(secret.encode() in octets for secret in secrets)


@pytest.mark.slow
def test_demo_leaves_other_folders_alone(tmp_path: Path) -> None:
    """A folder that no demo has made is refused, and stays as it is."""
    (tmp_path / "mine").write_text("mine")
    command = [sys.executable, "-m", "tools.demo", "--folder", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "no demo has made" in done.stderr
    assert [each.name for each in tmp_path.iterdir()] == ["mine"]
