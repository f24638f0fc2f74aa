"""The core's executors keep the contract, and what workers tell on the way is gathered, never lost or disordered."""

from __future__ import annotations

import threading
from collections import Counter
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from alimail_core.events import BatchSettled, Event, FolderSettled, PassStarted
from alimail_core.telling import Line, Listening, contact, merged
from alimail_core.testing import ExecutorContract

INBOX = ("INBOX",)


@pytest.mark.server
class TestThreads(ExecutorContract):
    name = "threads"


@pytest.mark.server
class TestProcesses(ExecutorContract):
    name = "processes"


EVENTS = st.lists(
    st.builds(
        BatchSettled,
        st.sampled_from("ab"),
        st.sampled_from([INBOX, ("Sent",)]),
        copied=st.integers(0, 9),
        adopted=st.integers(0, 1),
        octets=st.integers(0, 99),
    )
    | st.builds(FolderSettled, st.sampled_from("ab"), st.just(INBOX)),
    max_size=30,
)


def sums(events: list[Event]) -> Counter[tuple[object, ...]]:
    """Add up what batches tell, by account and folder."""
    told: Counter[tuple[object, ...]] = Counter()
    for event in events:
        if isinstance(event, BatchSettled):
            for what in ("copied", "adopted", "octets"):
                told[event.account, event.folder, what] += getattr(event, what)
    return told


def shape(events: list[Event]) -> list[object]:
    """Tell what came in which order, without regard to how many batches in a row there were."""
    kept: list[object] = []
    for event in events:
        what = (
            (event.account, event.folder, bool(event.adopted)) if isinstance(event, BatchSettled) else event
        )
        if not (isinstance(event, BatchSettled) and kept[-1:] == [what]):
            kept.append(what)
    return kept


@given(EVENTS)
def test_gathered_batches_add_up_and_nothing_changes_places(events: list[Event]) -> None:
    """No message is lost or told twice, and no two batches that can be told together stay apart."""
    found = list(merged(events))
    assert sums(found) == sums(events)
    assert shape(found) == shape(events)
    assert len(found) == len(shape(events))


def test_nobody_listens() -> None:
    """A worker that reaches nobody is told so, and goes on."""
    with Listening(lambda _: None) as listening:
        line = listening.line
    with contact(line) as tell:
        assert tell is None


def test_who_has_not_the_key_is_not_heard() -> None:
    """A stranger at the door is turned away, and the next worker is heard."""
    events: list[Event] = []
    with Listening(events.append) as listening:
        with pytest.raises((AuthenticationError, EOFError, OSError)):
            Client(listening.line.address, authkey=b"guessed")
        with contact(listening.line) as tell:
            assert tell is not None
            tell(PassStarted("anna", 1))
        assert events == [PassStarted("anna", 1)]
    assert b"guessed" not in repr(listening.line).encode()
    assert repr(listening.line.key) not in repr(evolve(listening.line))


def test_a_worker_that_is_gone_holds_up_nobody() -> None:
    """Its connection ends in the middle of a word; what others tell is heard, and the listening ends."""
    heard = threading.Event()
    with Listening(lambda _: heard.set()) as listening:
        gone = Client(listening.line.address, authkey=listening.line.key)
        gone._send(b"\x00\x00\x01")  # type: ignore[attr-defined]
        gone.close()
        with contact(listening.line) as tell:
            assert tell is not None
            tell(PassStarted("bob", 1))
        assert heard.wait(30)


def test_a_run_that_ends_before_its_worker_costs_the_worker_nothing() -> None:
    """Whoever tells something to nobody any more is not stopped by that."""
    listening = Listening(lambda _: None)
    with contact(listening.line) as tell:
        assert tell is not None
        with listening:
            tell(PassStarted("anna", 1))
        for number in range(1000):
            tell(PassStarted("anna", number))


def test_a_path_that_is_no_door(tmp_path: Path) -> None:
    """Nobody is reached over a line that leads nowhere."""
    with contact(Line(str(tmp_path / "nowhere"), b"key")) as tell:
        assert tell is None
