"""Which of a run's operations a countdown strikes: those at which its kind of fault does what no other kind does.

Reading has no effect, so there every kind is ``BEFORE``, or ``KILLED_BEFORE`` where the process dies; so is a sync
of the ledger. Only these two strike everything, and ``THROTTLED``, which the engine answers otherwise.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import pytest

from alimail_core.testing.faults import FaultKind

EVERYWHERE = (FaultKind.BEFORE, FaultKind.KILLED_BEFORE, FaultKind.THROTTLED)
WRITES = ("create", "append", "change_flags", "move", "remove")

SAMPLE = 9
"""Without --long, one operation in so many is struck."""


def strikes(request: pytest.FixtureRequest, kind: FaultKind, operations: Sequence[str]) -> Sequence[int]:
    """Number the operations to strike, from 1; without --long a sample of them that differs from test to test."""
    places = [n for n, each in enumerate(operations, 1) if kind in EVERYWHERE or each in WRITES]
    if request.config.getoption("--long"):
        return places
    return places[zlib.crc32(request.node.name.encode()) % min(SAMPLE, len(places)) :: SAMPLE]
