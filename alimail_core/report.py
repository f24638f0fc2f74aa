"""All that is known of a migration at one moment: of each account its state, problems, notes, proof and verdict."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from attrs import frozen

from alimail_core.ledger import Ledger
from alimail_core.ledger.ledger import NamedProblem
from alimail_core.proof import AccountProof, Finding
from alimail_core.proofs import ProofStore
from alimail_core.spec import MigrationSpec
from alimail_core.status import AccountStatus

COUNTS = (
    "messages",
    "octets",
    "proven",
    "altered",
    "moved",
    "collapsed",
    "left_out",
    "quarantined",
    "pending",
    "missing",
    "changed",
    "merged",
    "extra",
    "gone",
)
"""The counts of a proof that are summed up for each account."""

_FAULTS = ("missing", "changed", "pending", "quarantined")


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
        case "pending":
            return Verdict("fault", f"waits for its password: {status.reason}")
        case "trial":
            return Verdict("warning", f"tried, {_count(status.left_out, 'message')} still to come")
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
