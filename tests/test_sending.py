"""What can be seen of a batch while it is on its way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from alimail_core.contract import Sink
from alimail_core.events import BatchSettled, Event
from alimail_core.model import Delivery, NotStored, Stored
from tests.organisation import Organisation, message


def slow_down(monkeypatch: pytest.MonkeyPatch, office: Organisation, seconds: float) -> None:
    """Let each message take the target so many seconds."""

    def wrap(_: str, sink: Sink) -> Sink:
        append = sink.append

        def slowly(batches: Iterable[list[Delivery]]) -> Iterator[Stored | NotStored]:
            for outcome in append(batches):
                office.clock.advance(seconds)
                yield outcome

        monkeypatch.setattr(sink, "append", slowly)
        return sink

    office.wrap_sink = wrap


@pytest.mark.parametrize(("seconds", "seen"), [(0.6, [2, 2, 1]), (5.0, [1, 1, 1, 1, 1]), (0.0, [5])])
def test_slow_batch_is_seen_to_move(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: float, seen: list[int]
) -> None:
    """On a slow target, progress and ledger know of messages about every second; on a quick one, by the batch."""
    office = Organisation(tmp_path)
    office.give("anna", *(message(f"Message {number}") for number in range(5)))
    slow_down(monkeypatch, office, seconds)
    in_ledger: list[int] = []

    def look(event: Event) -> None:
        if isinstance(event, BatchSettled):
            in_ledger.append(next(iter(migration.status())).settled_messages)

    migration = office.migration(look)
    with migration:
        migration.run()
    assert [event.copied for event in office.events if isinstance(event, BatchSettled)] == seen
    assert in_ledger == [sum(seen[: count + 1]) for count in range(len(seen))]
