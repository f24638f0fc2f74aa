"""What is measured, and what alimail has to reach (see CONTRIBUTING for how to run it)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

from attrs import evolve, frozen

from alimail_core.model import INBOX, FolderPath
from benchmarks.mail import Corpus

Phase: TypeAlias = Literal["copy", "nothing new", "changed", "plan", "status", "report"]
"""A first copy of everything; a later pass that finds nothing; one that finds a ``Change``; or a verb at the desk."""
COPY: Phase = "copy"
NOTHING_NEW: Phase = "nothing new"
CHANGED: Phase = "changed"
PLAN: Phase = "plan"
STATUS: Phase = "status"
REPORT: Phase = "report"


@frozen
class Goal:
    """A limit that alimail must keep: ``limit`` times a tool's median, or in seconds or MB where no tool is named."""

    limit: float
    against: str = ""
    """A tool, or ``"best peer"``."""
    of: Literal["wall", "memory"] = "wall"
    phase: Phase = COPY

    def __str__(self) -> str:
        """Write it as a reader wants it."""
        unit = f"× {self.against}" if self.against else {"wall": "s", "memory": "MB"}[self.of]
        subject = {"wall": "", "memory": "memory "}[self.of]
        phase = "" if self.phase == COPY else f"{self.phase}: "
        return f"{phase}{subject}≤ {self.limit:g} {unit}"


@frozen
class Change:
    """What happens to the source between two passes."""

    new: int = 100
    flags: int = 100
    moved: int = 10


@frozen
class Work:
    """One thing to do. Each account has a corpus of its own; the far ends are ``round_trip`` seconds away."""

    what: str
    corpus: Corpus
    peers: tuple[str, ...]
    goals: tuple[Goal, ...]
    accounts: int = 1
    round_trip: float = 0.0
    alibaba: bool = False
    """The target announces only what Alibaba Mail does."""
    poor_source: bool = False
    """The source has no CONDSTORE."""
    change: Change | None = None
    """With it, later passes are measured and not the first."""
    exchange: bool = False
    """The source is an Exchange server; see ``benchmarks.exchange``."""
    desk: bool = False
    """No mail is moved: verbs are run over accounts that were carried; see ``benchmarks.organisation``."""
    tls: tuple[bool, ...] = (False,)
    """Without and with, unless the command line says otherwise."""

    def scaled(self, scale: float) -> Work:
        """Return a smaller work of the same kind, for use while working."""
        return self if scale == 1 else evolve(
            self, corpus=self.corpus.scaled(scale), accounts=max(1, int(self.accounts * scale))
        )  # fmt: skip


def _folders(*names: str) -> tuple[FolderPath, ...]:
    return (INBOX, *(tuple(name.split("/")) for name in names))


_TEN = _folders(
    "Customers", "Customers/Müller", "Customers/王", "Offers", "Projects/Alpha", "Projects/Beta", "Press",
    "Travel", "2019",
)  # fmt: skip
_THOUSAND = tuple((f"Branch {number // 50:02}", f"Desk {number % 50:02}") for number in range(1000))
_FAR = Corpus(1_000, 36_000_000, _TEN[:5])
_BOTH = (False, True)
_MEGABYTE = 1_000_000
_EWS = (
    "5,000 messages, 170 MB, from the tests' own Exchange server by EWS; beside it benchmarks/exchange_script.py, "
    "which is what a good script makes of exchangelib, and the same mail by IMAP; "
)

WORKS: Mapping[str, Work] = {
    "mixed": Work(
        "5,000 messages, 170 MB, 10 folders, loopback",
        Corpus(5_000, 170_000_000, _TEN),
        ("mbsync", "doveadm", "offlineimap", "imapsync"),
        (Goal(0.5, "mbsync"), Goal(0.9, "doveadm")),
        tls=_BOTH,
    ),
    "small": Work(
        "20,000 messages of 2 kB, loopback",
        Corpus(20_000, 40_000_000, even=True),
        ("mbsync", "doveadm", "imapsync"),
        (Goal(0.35, "mbsync"), Goal(1.0, "doveadm")),
        tls=_BOTH,
    ),
    "rtt50": Work(
        "1,000 messages, 36 MB, 5 folders, 50 ms round trip at both ends, rich target",
        _FAR,
        ("mbsync", "doveadm", "offlineimap", "imapsync"),
        (Goal(0.33, "mbsync"), Goal(0.5, "doveadm")),
        round_trip=0.05,
        tls=_BOTH,
    ),
    "alibaba50": Work(
        "1,000 messages, 36 MB, 5 folders, 50 ms, into a target that announces only what Alibaba Mail does",
        _FAR,
        ("mbsync", "offlineimap", "imapsync"),
        (Goal(0.1, "best peer"),),
        round_trip=0.05,
        alibaba=True,
        tls=_BOTH,
    ),
    "alibaba200": Work(
        "1,000 messages, 36 MB, 5 folders, 200 ms, into a target that announces only what Alibaba Mail does",
        _FAR,
        ("mbsync", "imapsync"),
        (Goal(0.1, "best peer"),),
        round_trip=0.2,
        alibaba=True,
        tls=_BOTH,
    ),
    "folders": Work(
        "1,000 folders with 3 messages each, 50 ms, rich target",
        Corpus(3_000, 12_000_000, _THOUSAND),
        ("mbsync",),
        (Goal(0.2, "mbsync"),),
        round_trip=0.05,
    ),
    "delta": Work(
        "100,000 messages: nothing new; then 100 new, 100 flags, 10 moved; loopback",
        Corpus(100_000, 100_000_000, _TEN, even=True),
        ("mbsync", "doveadm", "imapsync"),
        (
            Goal(1.0, phase=NOTHING_NEW),
            Goal(80, of="memory", phase=NOTHING_NEW),
            Goal(0.2, "imapsync", phase=CHANGED),
        ),
        change=Change(),
    ),
    "delta-poor": Work(
        "100,000 messages from a source without CONDSTORE: nothing new; then 100 new, 100 flags, 10 moved",
        Corpus(100_000, 100_000_000, _TEN, even=True),
        ("mbsync", "doveadm", "imapsync"),
        (Goal(0.2, "imapsync", phase=NOTHING_NEW), Goal(0.2, "imapsync", phase=CHANGED)),
        change=Change(),
        poor_source=True,
    ),
    "many": Work(
        "200 accounts of 50 messages, 50 ms, rich target; mbsync one account after another",
        Corpus(50, 500_000, _folders("Projects")),
        ("mbsync",),
        (Goal(0.2, "mbsync"),),
        accounts=200,
        round_trip=0.05,
    ),
    "ews": Work(
        _EWS + "loopback",
        Corpus(5_000, 170_000_000),
        ("exchangelib", "alimail by IMAP"),
        (Goal(0.35, "exchangelib"),),
        exchange=True,
        tls=(True,),
    ),
    "ews50": Work(
        _EWS + "50 ms round trip at both ends",
        Corpus(5_000, 170_000_000),
        ("exchangelib", "alimail by IMAP"),
        (Goal(0.35, "exchangelib"),),
        round_trip=0.05,
        exchange=True,
        tls=(True,),
    ),
    "organisation": Work(
        "a roster of 5,000 accounts and a ledger of 200 messages each, servers that answer at once",
        Corpus(200, 7_200_000),
        (),
        (Goal(5.0, phase=PLAN), Goal(1.0, phase=STATUS), Goal(10.0, phase=REPORT)),
        accounts=5_000,
        desk=True,
    ),
    "memory": Work(
        "one folder of 200,000 messages",
        Corpus(200_000, 160_000_000, even=True),
        (),
        (Goal(150, of="memory"),),
    ),
    "memory-large": Work(
        "10 messages of 60 MB",
        Corpus(10, 600 * _MEGABYTE, even=True),
        (),
        (Goal(150 + 2 * 60, of="memory"),),
    ),
}
"""By the name that ``WORK=`` takes."""
