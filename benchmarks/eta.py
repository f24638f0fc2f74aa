"""Was the estimate honest? What alimail's progress showed after a fifth of the time, against what came.

The events of its log are given to the very tally that the progress display stands on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
from attrs import frozen

from alimail_core import events
from alimail_core.cli.tally import Tally

FRACTION = 0.2


@frozen
class EtaError:
    """``shown``: seconds that were said to be left, ``None`` where no estimate was shown yet; ``left``: that were."""

    shown: float | None
    left: float
    at_least: bool = False

    def __str__(self) -> str:
        """Write it for the table."""
        if self.shown is None:
            return "none shown yet"
        return f"{'at least ' if self.at_least else ''}{(self.shown - self.left) / self.left:+.0%}"


def eta_error(log: Path, began: datetime, wall: float, accounts: int = 1) -> EtaError | None:
    """Return how wrong the estimate was; ``began``: when the process started. ``None`` where nothing was logged."""
    if not log.exists():
        return None
    lines = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    if not lines:
        return None
    tally, end = Tally(_seconds(lines[0], began), accounts), wall * FRACTION
    for line in lines:
        now = _seconds(line, began)
        if now > end:
            break
        for event in _event(line):
            tally.take(event, now)
    estimate = tally.estimate(end)
    left = wall - end
    return EtaError(None, left) if estimate is None else EtaError(estimate.seconds, left, estimate.at_least)


def _seconds(line: Mapping[str, Any], began: datetime) -> float:
    return (datetime.fromisoformat(line["timestamp"]) - began) / timedelta(seconds=1)


def _event(line: Mapping[str, Any]) -> Iterator[events.Event]:
    """Make the event again that a line was made from; lines that are not from events give none."""
    kind = getattr(events, re.sub(r"(?:^|_)(\w)", lambda letter: letter[1].upper(), line["event"]), None)
    if kind is not None:
        names = [each.name for each in attrs.fields(kind)]
        yield kind(**{name: _hashable(line[name]) for name in names})


def _hashable(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value
