"""All that is known of a migration at one moment: of each account its state, balance, problems, proof and verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from attrs import field, frozen

from alimail_core.ledger import Ledger
from alimail_core.ledger.facts import AccountFacts, NamedProblem, Point, facts, progress
from alimail_core.proof.results import MAX_FINDINGS, AccountProof, Finding
from alimail_core.proof.store import ProofStore
from alimail_core.registry import Registry
from alimail_core.spec import MigrationSpec
from alimail_core.status import AccountStatus
from alimail_core.units import count_text
from alimail_core.ways import Server

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

_NO_FAULTS = ("altered", "moved", "merged")

_NAMED = ("missing", "changed", *_NO_FAULTS)
"""What a proof names message by message, up to ``MAX_FINDINGS`` of a folder."""

_ONLY_COUNTED = f"beyond the {MAX_FINDINGS:,} of a folder that a proof names"

_LISTED = {"altered": "; messages.csv has each by its key"}
"""Where they are named all the same."""

_ENABLE = "`alimail enable` lets it run; without it, what is left stays where it is."
_RUN = "Run `alimail migrate`."
_AGAIN = "Run `alimail migrate` again: it goes on where it was, and nothing is copied twice."
_VERIFY = "Run `alimail verify --full`, and then `alimail report` again."


@frozen
class Verdict:
    """The answer for one account. ``level`` is as of a remark; ``"ok"`` means that it is all there, and proven."""

    level: str
    text: str
    remedy: str = ""
    """What to do about it; empty where nothing needs to be done."""


@frozen
class AccountReport:
    """All that is known of one account."""

    status: AccountStatus
    facts: AccountFacts = field(factory=AccountFacts)
    proof: AccountProof | None = None
    leaves_behind: tuple[str, ...] = ()
    """What the protocol of its source cannot bring."""

    @property
    def problems(self) -> list[NamedProblem]:
        """What was not carried, oldest first."""
        return self.facts.problems

    @property
    def verdict(self) -> Verdict:
        """Answer whether it is all there."""
        return _standing(self.status) or _verdict(self.status, self.facts, self.proof)

    def total(self, count: str) -> int:
        """Sum a count of the proof up over the folders."""
        return sum(getattr(folder, count) for folder in self.proof.folders) if self.proof else 0

    def otherwise(self) -> Counter[str]:
        """Count what cost no message: notes of the passes, and what the proof found that is no fault, by how.

        A proof names so many findings of a kind, and counts them all.
        """
        told = Counter(dict(self.facts.notes))
        found = [finding for _, finding in self.findings() if finding.kind in _NO_FAULTS]
        told.update(f"{finding.kind}: {finding.text}" for finding in found)
        for _, kind, count in self.unnamed():
            if kind in _NO_FAULTS:
                told[f"{kind}, {_ONLY_COUNTED}{_LISTED.get(kind, '')}"] += count
        return told

    def unnamed(self) -> Iterator[tuple[tuple[str, ...], str, int]]:
        """Give what the proof counts in a folder beyond what it names: source folder, kind, how many."""
        for folder in self.proof.folders if self.proof else ():
            named = Counter(finding.kind for finding in folder.findings)
            for kind in _NAMED:
                count = getattr(folder, kind) - named[kind]
                if count > 0:
                    yield folder.source, kind, count

    def beyond(self) -> Iterator[tuple[tuple[str, ...], Finding]]:
        """Give the same as findings, one for each folder and kind, so that nobody takes those named for all."""
        for path, kind, count in self.unnamed():
            yield path, Finding(kind, "", (), f"{count:,} more, {_ONLY_COUNTED}{_LISTED.get(kind, '')}")

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
    progress: tuple[Point, ...] = ()
    """How far all these accounts had come, at some moments from the first batch sent to the last."""
    servers: tuple[Server, ...] = ()
    """Of the whole configuration."""
    partial: bool = False
    """Accounts were left out by wish."""

    @property
    def complete(self) -> bool:
        """Tell whether everything of every account is there, and proven."""
        return bool(self.accounts) and all(account.verdict.level == "ok" for account in self.accounts)


def make_report(
    spec: MigrationSpec,
    registry: Registry,
    accounts: Iterable[AccountStatus],
    ledger: Ledger | None,
    proofs: ProofStore,
    servers: Iterable[Server],
    *,
    now: datetime,
    partial: bool = False,
) -> Report:
    """Collect what the ledger and the latest proofs know of these accounts. No server is asked."""
    ids = {(row.source_address, row.target_address): row.id for row in (ledger.accounts() if ledger else [])}
    known = facts(ledger) if ledger else {}
    behind = {
        (each.source_address, each.target_address): registry.source(each.source.kind).leaves_behind
        for each in spec.accounts
    }
    told, told_ids = [], set()
    for status in accounts:
        addresses = status.source_address, status.target_address
        account_id = ids.get(addresses, 0)
        told_ids.add(account_id)
        fact = known.get(account_id) or AccountFacts()
        told.append(AccountReport(status, fact, proofs.find(*addresses), behind.get(addresses, ())))
    points = progress(ledger, told_ids) if ledger else []
    return Report(spec.name, now, tuple(told), proofs, tuple(points), tuple(servers), partial)


def report_folder(spec: MigrationSpec) -> Path:
    """Return where a migration's report belongs: the folder configured, or one beside its ledger."""
    if spec.report_folder is not None:
        return spec.report_folder
    if "://" in spec.ledger:
        return Path("alimail-report")
    ledger = Path(spec.ledger)
    return ledger.with_name(f"{ledger.stem}-report")


def _verdict(status: AccountStatus, facts: AccountFacts, proof: AccountProof | None) -> Verdict:
    """Let the proof decide, where the last pass came to its end."""
    if proof is None or proof.at is None:
        if status.problems:
            return Verdict(
                "warning", f"carried, with {count_text(status.problems, 'problem')}; not proven yet", _VERIFY
            )
        return Verdict("note", "carried; not proven yet", _VERIFY)
    if proof.failed:
        remedy = " ".join(dict.fromkeys(each.remedy for each in proof.remarks if each.level == "fault"))
        return Verdict("fault", "could not be looked at to the end", remedy or _VERIFY)
    if not proof.complete:
        return Verdict("fault", f"not all there: {_shortfall(proof)}", _repair(proof))
    if _is_over(proof.at, status, facts):
        text = f"was all there on {moment_text(proof.at)}; a pass has brought or met more since"
        return Verdict("note", text, _VERIFY)
    how = "every octet read back" if proof.full else "keys, sizes and flags compared"
    return Verdict("ok", f"all there: {how}")


def _standing(status: AccountStatus) -> Verdict | None:
    """Say why an account cannot be all there yet; ``None`` where its last pass came to its end."""
    left = f"{count_text(status.pending_messages, 'message')} known to be left"
    match status.state:
        case "":
            return Verdict("fault", "not begun", _RUN)
        case "failed":
            return Verdict("fault", f"could not go on: {status.reason}", status.remedy)
        case "pending":
            return Verdict("fault", f"waits for its password: {status.reason}", status.remedy)
        case "trial":
            text = f"tried, {count_text(status.left_out, 'message')} still to come"
            return Verdict("warning", text, _RUN)
        case "running":
            return Verdict("note", f"under way, {left}", "Wait until the pass is over.")
        case "disabled":
            return Verdict(
                "warning", f"disabled, {left}" if status.passes else "disabled, not begun", _ENABLE
            )
        case "stopped" | "interrupted":
            return Verdict("warning", f"{status.state}, {left}", _AGAIN)
        case _:
            return None


def _is_over(proven: datetime, status: AccountStatus, facts: AccountFacts) -> bool:
    """Tell whether a pass has changed the target since it was proven, or met what it could not carry."""
    if status.ended is None or status.ended <= proven:
        return False
    changed = facts.changed is None or facts.changed > proven.timestamp()
    return changed or status.pending_messages > 0 or any(each.first > proven for each in facts.problems)


def _shortfall(proof: AccountProof) -> str:
    sums = {name: sum(getattr(folder, name) for folder in proof.folders) for name in _FAULTS}
    parts = [f"{number:,} {name}" for name, number in sums.items() if number]
    lost = sum(folder.lost for folder in proof.folders)
    return ", ".join([*parts, *([f"{count_text(lost, 'folder')} emptied in the target"] if lost else [])])


def _repair(proof: AccountProof) -> str:
    """Say what to do about the gravest that lacks."""
    folders = proof.folders
    if any(folder.missing or folder.changed or folder.lost for folder in folders):
        return "See which, below. `alimail migrate --refill` copies again what is not in the target."
    if any(folder.quarantined for folder in folders):
        return "See which messages stay behind, below, and tell their owners."
    return "Run `alimail migrate`, then `alimail verify` again."


def moment_text(at: datetime) -> str:
    """Write a time in UTC, to the minute."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
