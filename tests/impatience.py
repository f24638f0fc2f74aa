"""Make a connection impatient: what takes an hour of hardly moving takes ten waits in a test."""

from __future__ import annotations

from itertools import count
from types import ModuleType

import pytest

from alimail_core import Patience


def make_impatient(monkeypatch: pytest.MonkeyPatch, reader: ModuleType) -> None:
    """Let each wait of a module that reads take a second, and ten of them be enough for a thousand octets."""
    seconds = count()
    monkeypatch.setattr(reader, "monotonic", lambda: float(next(seconds)))
    monkeypatch.setattr(Patience, "SECONDS", 10.0)
    monkeypatch.setattr(Patience, "OCTETS", 1000)
