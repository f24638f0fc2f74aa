"""Write what was carried and what was not: JSON for programs, CSV for spreadsheets, one HTML page for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from alimail_core.ledger import Ledger
from alimail_core.spec import MigrationSpec
from alimail_core.status import AccountStatus
from alimail_core.verify import AccountProof


def report_folder(spec: MigrationSpec) -> Path:
    """Return where a migration's report belongs: the folder configured, or one beside its ledger."""
    if spec.report_folder is not None:
        return spec.report_folder
    if "://" in spec.ledger:
        return Path("alimail-report")
    ledger = Path(spec.ledger)
    return ledger.with_name(f"{ledger.stem}-report")


def write_report(
    name: str,
    accounts: Sequence[AccountStatus],
    ledger: Ledger | None,
    folder: Path,
    *,
    proofs: Sequence[AccountProof] = (),
    now: datetime,
) -> list[Path]:
    """Write the report's files; return their paths."""
    raise NotImplementedError
