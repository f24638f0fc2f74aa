"""Reports of made-up migrations, of any size, with everything in them that a report can tell. The same each time."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from alimail_core.errors import Remark
from alimail_core.ledger.facts import AccountFacts, Balance, NamedProblem, PlacedFolder, Point
from alimail_core.proof.results import AccountProof, Finding, FolderProof
from alimail_core.proof.store import ProofStore
from alimail_core.report.contents import AccountReport, Report
from alimail_core.status import AccountStatus
from alimail_core.ways import Server

BEGAN = datetime(2026, 3, 6, 18, 0, tzinfo=UTC)
FOLDERS = {
    ("INBOX",): (("INBOX",), "inbox"),
    ("Sent Items",): (("已发送",), "special use"),
    ("Deleted Items",): (("已删除邮件",), "special use"),
    ("Projects", "A/B + C"): (("Projects", "A_B _ C"), "history original, renamed"),
    ("Projects", "2024"): (("Projects", "2024"), "history original"),
}
POP3 = (
    "folders other than the inbox",
    "flags",
    "what mail programs have fetched and removed from the server",
)


def sample(folder: Path, accounts: int, *, healthy: bool = False) -> Report:
    """Make a report of so many accounts; unless ``healthy``, about one in ten needs a look."""
    chance = random.Random(accounts)
    told = tuple(_account(number, chance, healthy=healthy) for number in range(accounts))
    return Report(
        "Acme Ltd. to Alibaba Mail",
        BEGAN + timedelta(days=2),
        told,
        ProofStore(folder),
        tuple(
            _progress(
                sum(each.status.written_octets for each in told),
                sum(each.facts.target_messages for each in told),
            )
        ),
        (
            Server(
                "source", "imap", "mail.acme-headquarters.example", 143, "starttls", True, max(accounts, 1)
            ),
            Server("target", "alimail", "imap.qiye.aliyun.com", 993, "implicit", False, max(accounts, 1)),
        ),
    )


def _account(number: int, chance: random.Random, *, healthy: bool) -> AccountReport:
    name = f"{chance.choice(['anna', 'bob', 'chen.wei', 'dagmar', 'eve'])}.{number:04}"
    state = (
        "done"
        if healthy
        else chance.choices(
            ["done", "problems", "failed", "pending", "stopped", "running", ""], [80, 8, 3, 2, 2, 2, 3]
        )[0]
    )
    messages = chance.randrange(200, 30_000) if state not in ("", "pending") else 0
    refused = chance.randrange(1, 9) if state == "problems" else 0
    left = messages // 3 if state in ("stopped", "failed", "running") else 0
    there = messages - refused - left
    size = 78_000
    facts = AccountFacts(
        Balance(messages, there=there, refused=refused, pending=left),
        messages * size,
        there,
        there * (size + 12),
        altered=there // 100,
        seconds=there / 40 if there else None,
        folders=[PlacedFolder(path, *place) for path, place in FOLDERS.items()] if messages else [],
        problems=[_problem(index, chance) for index in range(refused)],
        notes=[("the target cannot store the keyword $Forwarded: left out", there // 50)]
        if there > 50
        else [],
    )
    ended = BEGAN + timedelta(hours=3)
    status = AccountStatus(
        f"{name}@mail.acme-headquarters.example",
        f"{name}@acme.example",
        state=state,
        passes=int(state not in ("", "pending")),
        started=BEGAN if messages else None,
        ended=ended if messages and state != "running" else None,
        settled_messages=there,
        settled_octets=there * size,
        pending_messages=left,
        pending_octets=left * size,
        quarantined=refused,
        problems=refused,
        written_octets=there * size,
        octets_per_second=40.0 * size if there else None,
        reason=_REASONS.get(state, ("", ""))[0],
        remedy=_REASONS.get(state, ("", ""))[1],
    )
    proof = (
        _proof(status, facts, chance)
        if state in ("done", "problems") and (healthy or chance.random() < 0.95)
        else None
    )
    return AccountReport(status, facts, proof, POP3 if number % 7 == 3 else ())


_REASONS = {
    "failed": (
        "NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)",
        "Check the password; third-party clients may be forbidden for this account.",
    ),
    "pending": ("the cell `source password` is empty", "`alimail letters` writes to those who have it."),
}


def _problem(index: int, chance: random.Random) -> NamedProblem:
    return NamedProblem(
        "refused",
        chance.choice(list(FOLDERS)),
        f"1/{chance.randrange(10_000)}",
        chance.randrange(10_000, 90_000_000),
        datetime(2019, 5, 1 + index, 9, 30, tzinfo=UTC),
        f"<{sha256(chance.randbytes(4)).hexdigest()[:24]}@mail.acme-headquarters.example>",
        "NO APPEND failed: message size exceeds fixed maximum message size",
        "Raise the limit of the target, then `alimail migrate --retry-problems`.",
        BEGAN,
        BEGAN,
    )


def _proof(status: AccountStatus, facts: AccountFacts, chance: random.Random) -> AccountProof:
    balance = facts.balance
    folders = []
    for index, (path, (target, _)) in enumerate(FOLDERS.items()):
        mine = balance.there // len(FOLDERS) + (balance.there % len(FOLDERS) if index == 0 else 0)
        altered = min(facts.altered, mine) if index == 0 else 0
        refused = balance.refused if index == 0 else 0
        found = Finding("altered", "1/7", target, "the target altered line ends")
        folders.append(
            FolderProof(
                path,
                target,
                mine + refused,
                mine * 78_000,
                mine - altered,
                altered,
                quarantined=refused,
                root=sha256(chance.randbytes(8)).hexdigest(),
                findings=(found,) * min(altered, 3),
            )
        )
    remark = Remark("note", "the target does not keep internal dates", "Readers sort by the Date field.")
    return AccountProof(
        status.source_address,
        tuple(folders),
        full=True,
        root=sha256(chance.randbytes(8)).hexdigest(),
        remarks=(remark,) if balance.refused else (),
        target_address=status.target_address,
        at=BEGAN + timedelta(hours=5),
    )


def _progress(octets: int, messages: int) -> list[Point]:
    """An evening, a pause over night, and the rest of it the next day."""
    shape = [(hour / 4, min(hour / 4 * 0.17, 1)) for hour in range(20)]
    shape += [(14 + hour / 4, 0.81 + 0.19 * hour / 30) for hour in range(31)]
    return [
        Point(BEGAN + timedelta(hours=at), round(messages * part), round(octets * part)) for at, part in shape
    ]
