"""The limit of a whole migration: no batch begins that would carry it over, whoever else sends meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from attrs import evolve

from alimail_core.events import Event, PassEnded
from alimail_core.model import Batch, NotStored, Stored
from alimail_core.testing.memory import MemoryMailbox, MemorySink
from alimail_core.units import Octets
from tests.organisation import Organisation, message

NAMES = ("anna", "bert", "carl", "dora")
LETTER = message("one")


class Crowd:
    """Lets no batch arrive before every account has sent one, or has come to its end."""

    def __init__(self) -> None:
        self._left = len(NAMES)
        self._all = threading.Event()
        self._lock = threading.Lock()

    def one_more(self) -> None:
        """Count an account that has sent, or has ended without."""
        with self._lock:
            self._left -= 1
        if self._left <= 0:
            self._all.set()

    def sent(self) -> None:
        """Count an account that has sent, and wait for the others."""
        self.one_more()
        assert self._all.wait(30)

    def observe(self, event: Event) -> None:
        """Count an account that could not send."""
        if isinstance(event, PassEnded) and not event.copied:
            self.one_more()


class CrowdedSink(MemorySink):
    """A sink whose batches wait for the crowd."""

    def __init__(self, mailbox: MemoryMailbox, crowd: Crowd) -> None:
        super().__init__(mailbox)
        self._crowd = crowd

    def append(self, batches: Iterable[Batch]) -> Iterator[Stored | NotStored]:
        """Take one batch, and store it when everybody has one."""
        for batch in batches:
            self._crowd.sent()
            yield from super().append([batch])


def test_accounts_side_by_side_keep_the_limit_together(tmp_path: Path) -> None:
    """There is room for two letters: of four accounts that would send at once, two do, and the others say why not."""
    office, crowd = Organisation(tmp_path, NAMES, workers=len(NAMES)), Crowd()
    for name in NAMES:
        office.give(name, LETTER)
    office.wrap_sink = lambda name, _: CrowdedSink(office.targets[name], crowd)
    options = evolve(office.spec.options, limit_octets=Octets(2 * len(LETTER)))
    with office.migration(crowd.observe, options=options) as migration:
        summaries = migration.run().accounts
    assert sum(target.octets for target in office.targets.values()) == 2 * len(LETTER)
    assert sorted(each.state for each in summaries) == ["done", "done", "failed", "failed"]
    assert {each.reason for each in summaries if each.state == "failed"} == {
        f"the migration has reached its limit of {2 * len(LETTER):,} octets"
    }
