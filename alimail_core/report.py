"""Write down what was carried and what was not: JSON for programs, CSV for spreadsheets, one HTML page for people.

``report.json`` has ``"schema": "alimail-report"`` and a ``"version"``, which grows when a field changes its meaning
or goes away; fields may be added at any time. Times are ISO 8601 in UTC, sizes are octets, a folder is the list of
its names. Every account has its state, its counts, its problems one by one, its notes and its latest proof.

``messages.csv`` lists, from the latest proofs, each message that stands in the target with the SHA-256 of its
octets. The proof's root digest is the SHA-256 over these digests, as octets, sorted: of a folder over its own, of
an account over all of its.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from attrs import asdict, fields, frozen

from alimail_core.errors import InputError
from alimail_core.files import written_whole
from alimail_core.ledger import Ledger
from alimail_core.ledger.ledger import NamedProblem
from alimail_core.plan import NOT_MOVED
from alimail_core.proof import AccountProof, Finding
from alimail_core.proofs import MESSAGE_COLUMNS, ProofStore, path_text
from alimail_core.spec import MigrationSpec
from alimail_core.status import AccountStatus
from alimail_core.text import cell

VERSION = 1

COUNTS = (
    "messages",
    "octets",
    "proven",
    "altered",
    "moved",
    "collapsed",
    "quarantined",
    "pending",
    "missing",
    "changed",
    "merged",
    "extra",
    "gone",
)
"""The counts of a proof that are summed up for each account."""

_FAULTS = ("missing", "changed", "merged", "pending", "quarantined")


@frozen
class Verdict:
    """The answer for one account. ``level`` is as of a remark; ``"ok"`` means that it is all there, and proven."""

    level: str
    text: str


@frozen
class AccountReport:
    """All that is known of one account."""

    status: AccountStatus
    problems: tuple[NamedProblem, ...] = ()
    notes: tuple[tuple[str, int], ...] = ()
    proof: AccountProof | None = None

    @property
    def verdict(self) -> Verdict:
        """Answer whether it is all there."""
        return _verdict(self.status, self.proof)

    def total(self, count: str) -> int:
        """Sum a count of the proof up over the folders."""
        return sum(getattr(folder, count) for folder in self.proof.folders) if self.proof else 0

    def findings(self) -> Iterator[tuple[tuple[str, ...], Finding]]:
        """Give what the proof found, with the source folder; what is in quarantine is a problem already."""
        for folder in self.proof.folders if self.proof else ():
            for finding in folder.findings:
                if finding.kind != "quarantined":
                    yield folder.source, finding


@frozen
class Report:
    """All that is known of a migration at one moment."""

    migration: str
    written: datetime
    accounts: tuple[AccountReport, ...]
    proofs: ProofStore

    @property
    def complete(self) -> bool:
        """Tell whether everything of every account is there, and proven."""
        return bool(self.accounts) and all(account.verdict.level == "ok" for account in self.accounts)


def make_report(
    migration: str,
    accounts: Iterable[AccountStatus],
    ledger: Ledger | None,
    proofs: ProofStore,
    *,
    now: datetime,
) -> Report:
    """Collect what the ledger and the latest proofs know of these accounts."""
    rows = ledger.accounts() if ledger else []
    ids = {(row.source_address, row.target_address): row.id for row in rows}
    told = []
    for status in accounts:
        addresses = status.source_address, status.target_address
        proof = proofs.find(*addresses)
        if ledger is None or addresses not in ids:
            told.append(AccountReport(status, proof=proof))
        else:
            problems, notes = ledger.named_problems(ids[addresses]), ledger.notes(ids[addresses])
            told.append(AccountReport(status, tuple(problems), tuple(notes), proof))
    return Report(migration, now, tuple(told), proofs)


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write the report's files, each whole or not at all; return their paths, the page for people first.

    Raises ``InputError`` where the folder cannot be written.
    """
    from alimail_core.report_page import page

    try:
        return [
            _write_text(folder / "report.html", page(report)),
            _write_text(folder / "report.json", json.dumps(as_json(report), indent=1) + "\n"),
            _write_csv(folder / "accounts.csv", _ACCOUNT_COLUMNS, map(_account_cells, report.accounts)),
            _write_csv(folder / "problems.csv", _PROBLEM_COLUMNS, _problem_rows(report)),
            _write_messages(folder / "messages.csv", report),
        ]
    except OSError as error:
        raise InputError(
            f"the report cannot be written to {folder}: {error.strerror}",
            remedy="Set `report_folder` to a folder that you may write to.",
        ) from error


def report_folder(spec: MigrationSpec) -> Path:
    """Return where a migration's report belongs: the folder configured, or one beside its ledger."""
    if spec.report_folder is not None:
        return spec.report_folder
    if "://" in spec.ledger:
        return Path("alimail-report")
    ledger = Path(spec.ledger)
    return ledger.with_name(f"{ledger.stem}-report")


def _verdict(status: AccountStatus, proof: AccountProof | None) -> Verdict:
    """Let the gravest of what is known decide."""
    stands = _standing(status)
    if stands is not None:
        return stands
    if proof is None or proof.at is None:
        if status.problems:
            return Verdict("warning", f"carried, with {_count(status.problems, 'problem')}; not proven yet")
        return Verdict("note", "carried; not proven yet")
    if proof.failed:
        return Verdict("fault", "could not be looked at to the end")
    if not proof.complete:
        return Verdict("fault", f"not all there: {_shortfall(proof)}")
    if status.ended is not None and status.ended > proof.at:
        return Verdict("note", f"was all there on {_moment(proof.at)}; a pass has run since")
    how = "every octet read back" if proof.full else "keys, sizes and flags compared"
    return Verdict("ok", f"all there: {how}")


def _standing(status: AccountStatus) -> Verdict | None:
    """Say why an account cannot be all there yet; ``None`` where its last pass came to its end."""
    match status.state:
        case "":
            return Verdict("fault", "not begun")
        case "failed":
            return Verdict("fault", f"could not go on: {status.reason}")
        case "running":
            return Verdict(
                "note", f"under way, {_count(status.pending_messages, 'message')} known to be left"
            )
        case "stopped" | "interrupted":
            return Verdict(
                "warning", f"{status.state}, {_count(status.pending_messages, 'message')} known to be left"
            )
        case _:
            return None


def _shortfall(proof: AccountProof) -> str:
    sums = {name: sum(getattr(folder, name) for folder in proof.folders) for name in _FAULTS}
    parts = [f"{number:,} {name}" for name, number in sums.items() if number]
    lost = sum(folder.lost for folder in proof.folders)
    return ", ".join([*parts, *([f"{_count(lost, 'folder')} emptied in the target"] if lost else [])])


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


# JSON


def as_json(report: Report) -> dict[str, Any]:
    """Return the report as plain data that JSON can hold."""
    return {
        "schema": "alimail-report",
        "version": VERSION,
        "migration": report.migration,
        "written": report.written.isoformat(),
        "complete": report.complete,
        "accounts": [_account_json(account) for account in report.accounts],
        "not_moved": list(NOT_MOVED),
    }


def _account_json(account: AccountReport) -> dict[str, Any]:
    return {
        **_plain(asdict(account.status)),
        "verdict": asdict(account.verdict),
        "problem_list": [_plain(asdict(problem)) for problem in account.problems],
        "notes": [{"text": text, "count": count} for text, count in account.notes],
        "proof": _proof_json(account.proof) if account.proof else None,
    }


def _proof_json(proof: AccountProof) -> dict[str, Any]:
    plain: dict[str, Any] = _plain(asdict(proof))
    return {**plain, "complete": proof.complete}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _moment_json(name, _plain(each)) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value.isoformat() if isinstance(value, datetime) else value


def _moment_json(name: str, value: Any) -> Any:
    """Problems keep their times as the ledger does, in seconds."""
    if name in ("first", "last") and isinstance(value, float):
        return datetime.fromtimestamp(value, UTC).isoformat()
    return value


# CSV

_ACCOUNT_COLUMNS = (
    "account",
    "target",
    "verdict",
    *(attribute.name for attribute in fields(AccountStatus) if not attribute.name.endswith("_address")),
    "proven at",
    "full",
    *COUNTS,
    "root sha256",
)

_PROBLEM_COLUMNS = (
    "account",
    "kind",
    "folder",
    "key",
    "date",
    "octets",
    "reason",
    "remedy",
    "first",
    "last",
)


def _account_cells(account: AccountReport) -> list[object]:
    status = {name: value for name, value in asdict(account.status).items() if not name.endswith("_address")}
    proof = account.proof
    return [
        account.status.source_address,
        account.status.target_address,
        account.verdict.text,
        *status.values(),
        proof.at if proof else None,
        proof.full if proof else None,
        *((account.total(name) if proof else None) for name in COUNTS),
        proof.root if proof else None,
    ]


def _problem_rows(report: Report) -> Iterator[list[object]]:
    for account in report.accounts:
        name = account.status.source_address
        for problem in account.problems:
            folder, times = path_text(problem.folder), (problem.first, problem.last)
            yield [
                name,
                problem.kind,
                folder,
                problem.key,
                problem.date,
                problem.size,
                problem.reason,
                problem.remedy,
                *(datetime.fromtimestamp(each, UTC) for each in times),
            ]
        at = account.proof.at if account.proof else None
        for path, finding in account.findings():
            yield [name, finding.kind, path_text(path), finding.key, None, None, finding.text, "", at, at]


def _write_messages(path: Path, report: Report) -> Path:
    with written_whole(path, encoding="utf-8-sig") as file:
        csv.writer(file).writerow(MESSAGE_COLUMNS)
        for account in report.accounts:
            file.writelines(
                report.proofs.messages(account.status.source_address, account.status.target_address)
            )
    return path


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    # With a mark at its beginning, for spreadsheets that would otherwise guess a Windows code page.
    with written_whole(path, encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows([_cell(value) for value in row] for row in rows)
    return path


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    return cell(value) if isinstance(value, str) else value


def _write_text(path: Path, text: str) -> Path:
    with written_whole(path) as file:
        file.write(text)
    return path
