"""Counts what a pass reads on either side in memory: header fields and whole messages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import pytest

from alimail_core.model import Entry, Folder, Gone, Headers, Message, Unreadable
from alimail_core.testing.memory import MemorySink, MemorySource


class Readings(Counter[str]):
    """By ``"source headers"``, ``"source bodies"``, ``"target headers"``, ``"target bodies"``: how many were read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        headers, fetch = MemorySource.headers, MemorySource.fetch

        def counted_headers(
            side: MemorySource, folder: Folder, entries: Sequence[Entry]
        ) -> Iterator[Headers]:
            self[f"{_name(side)} headers"] += len(entries)
            return headers(side, folder, entries)

        def counted_fetch(
            side: MemorySource, requests: Iterable[tuple[Folder, Sequence[Entry]]]
        ) -> Iterator[Message | Gone | Unreadable]:
            for answer in fetch(side, requests):
                self[f"{_name(side)} bodies"] += 1
                yield answer

        monkeypatch.setattr(MemorySource, "headers", counted_headers)
        monkeypatch.setattr(MemorySource, "fetch", counted_fetch)


def _name(side: MemorySource) -> str:
    return "target" if isinstance(side, MemorySink) else "source"
