"""How far every account has come, from the ledger alone; also while another process works on it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from attrs import evolve, frozen

from alimail_core.ledger import AccountRow, Ledger
from alimail_core.ledger.lease import is_alive
from alimail_core.spec import AccountSpec

_SETTLED = ("STORED", "MOVING", "COLLAPSED", "MERGED")
_OPEN = ("PENDING", "SENT", "UNREADABLE")

_COMPLETE = ("done", "problems", "trial")
"""How a pass ends that went through all folders."""


@frozen
class AccountStatus:
    """One account as the ledger has it; messages and octets as the source listed them."""

    source_address: str
    target_address: str
    state: str = ""
    """How its last pass ended, ``"running"``, ``"interrupted"`` where its process is gone, ``""`` if it never ran;
    ``"pending"``: a password is missing now, or was missing or refused when it last ran; ``"disabled"``: it is, and
    no pass has come to its end. Who is disabled after such a pass keeps that one's state."""
    enabled: bool = True
    in_roster: bool = True
    """False: the ledger knows it, and the configuration no longer does."""
    passes: int = 0
    started: datetime | None = None
    ended: datetime | None = None
    settled_messages: int = 0
    settled_octets: int = 0
    pending_messages: int = 0
    """Listed, and not yet dealt with. What was never listed is not known here."""
    pending_octets: int = 0
    left_out: int = 0
    """Messages that the last pass left out by wish: by the filter, or because it was a trial."""
    quarantined: int = 0
    problems: int = 0
    written_octets: int = 0
    """What this migration has written, over all passes."""
    octets_per_second: float | None = None
    """Over all passes that wrote, each from its begin to its last settled batch; ``None`` where unknown."""
    reason: str = ""
    remedy: str = ""


def status_of(
    accounts: Iterable[AccountSpec],
    ledger: Ledger | None,
    search: str = "",
    *,
    now: datetime,
    others: bool = True,
) -> list[AccountStatus]:
    """Tell the state of the accounts given, then, if wished, of ``others`` that only the ledger knows."""
    found = ledger.accounts(search) if ledger else []
    rows = {(row.source_address, row.target_address): row for row in found}
    counts = ledger.counts_of([row.id for row in found]) if ledger else {}
    problems = ledger.problem_counts() if ledger else {}

    def known(row: AccountRow, *, in_roster: bool) -> AccountStatus:
        return _status(row, counts[row.id], problems.get(row.id, 0), now, in_roster=in_roster)

    told = []
    for account in accounts:
        row = rows.pop((account.source_address, account.target_address), None)
        if row is not None:
            status = known(row, in_roster=True)
        else:
            status = AccountStatus(account.source_address, account.target_address)
        told.append(_with_secrets(status, account))
    return told + [known(row, in_roster=False) for row in rows.values() if others]


def _with_secrets(status: AccountStatus, account: AccountSpec) -> AccountStatus:
    """Tell what is missing now, whatever the last pass met; of who is disabled nothing is wanted."""
    secrets = (account.source_secret, account.target_secret)
    missing = [remark for secret in secrets if secret.is_missing and (remark := secret.check())]
    if not missing or status.state == "running" or not status.enabled:
        return status
    reason = "; ".join(remark.text for remark in missing)
    return evolve(status, state="pending", reason=reason, remedy=missing[0].remedy)


def _status(
    row: AccountRow, counts: dict[str, tuple[int, int]], problems: int, now: datetime, *, in_roster: bool
) -> AccountStatus:
    settled, pending = _sum(counts, _SETTLED), _sum(counts, _OPEN)
    return AccountStatus(
        row.source_address,
        row.target_address,
        state=_state(row, now),
        enabled=row.enabled,
        in_roster=in_roster,
        passes=row.passes,
        started=_date(row.started),
        ended=_date(row.ended),
        settled_messages=settled[0],
        settled_octets=settled[1],
        pending_messages=pending[0],
        pending_octets=pending[1],
        left_out=counts.get("LEFT_OUT", (0, 0))[0],
        quarantined=counts.get("REFUSED", (0, 0))[0],
        problems=problems,
        written_octets=row.octets,
        octets_per_second=row.octets / row.seconds if row.seconds else None,
        reason=row.reason,
        remedy=row.remedy,
    )


def _state(row: AccountRow, now: datetime) -> str:
    """Tell how the last pass ended, and of who is disabled since, that no pass is missed."""
    state = _ended(row, now)
    if not row.enabled and state not in _COMPLETE:
        return "disabled" if state != "running" else state
    return "stopped" if state == "disabled" else state


def _ended(row: AccountRow, now: datetime) -> str:
    """A pass whose process is gone cannot say so itself."""
    if row.state != "running":
        return row.state
    silent_for = now.timestamp() - (row.heartbeat or 0.0)
    return "running" if row.owner and is_alive(row.owner, silent_for) else "interrupted"


def _sum(counts: dict[str, tuple[int, int]], states: Iterable[str]) -> tuple[int, int]:
    found = [counts[state] for state in states if state in counts]
    return sum(messages for messages, _ in found), sum(octets for _, octets in found)


def _date(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
