"""A large folder is matched page by page; the outcome is that of a matching with both sides at hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Literal

import pytest
from attrs import evolve, frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alimail_core.model import INBOX, Entry, Folder, Headers
from alimail_core.testing.mail import message
from alimail_core.testing.memory import FIRST_DATE, MemoryMailbox, MemorySink, MemorySource, MemoryTraits
from tests.harness import IN_TURN, World
from tests.readings import Readings

pytestmark = pytest.mark.slow


@frozen
class Mail:
    """A message as one side has it; a name is a Message-ID. ``traced``: something on the way added a header."""

    name: str | None
    body: str
    day: int
    traced: bool = False

    @property
    def octets(self) -> bytes:
        plain = message("A subject", f"{self.body}\r\n", message_id=self.name)
        return b"X-TUID: 1\r\n" + plain if self.traced else plain

    @property
    def content(self) -> tuple[str | None, str]:
        return self.name, self.body


names, bodies, days = (
    st.sampled_from(["1@x", "2@x", "3@x", "4@x", None]),
    st.sampled_from("AB"),
    st.integers(0, 1),
)
modes: st.SearchStrategy[Literal["exact", "content"]] = st.sampled_from(["exact", "content"])
at_source = st.lists(st.builds(Mail, names, bodies, days), max_size=6)
in_target = st.lists(st.builds(Mail, names, bodies, days, st.booleans()), max_size=6)


def left_to_send(
    source: Sequence[Mail], target: Sequence[Mail], mode: Literal["exact", "content"]
) -> Counter[tuple[str | None, str]]:
    """Match by brute force, as docs/invariants.md and ``adopt`` have it; return what claims nothing, by content."""

    def alone(side: Sequence[Mail], one: Mail) -> bool:
        return one.name is not None and sum(each.name == one.name for each in side) == 1

    by_header = [
        (ours, theirs)
        for ours in source
        for theirs in target
        if mode == "exact" and ours.name == theirs.name and alone(source, ours) and alone(target, theirs)
        if (ours.day, theirs.traced) == (theirs.day, False)
    ]
    rest = Counter(each.content for each in source)
    there = Counter(each.content for each in target)
    for ours, theirs in by_header:
        rest[ours.content] -= 1
        there[theirs.content] -= 1
    return rest - there


def deliver(mailbox: MemoryMailbox, mail: Sequence[Mail]) -> None:
    for each in mail:
        mailbox.deliver(INBOX, each.octets, (), FIRST_DATE + timedelta(days=each.day))


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(modes, at_source, at_source, in_target, st.sampled_from([1, 2, 1_000]), st.booleans())
def test_pages_claim_what_all_at_once_would(
    monkeypatch: pytest.MonkeyPatch,
    mode: Literal["exact", "content"],
    carried: list[Mail],
    later: list[Mail],
    others: list[Mail],
    page: int,
    uidplus: bool,
) -> None:
    """Of what stands there of ours, its keys void, and of others, brute force claims as much; the rest is sent."""
    monkeypatch.setattr("alimail_core.ledger.queries._CHUNK", page)
    world = World(target=MemoryTraits(uidplus=uidplus), options=evolve(IN_TURN, adopt=mode))
    deliver(world.source, carried)
    world.run()
    world.target.renumber(INBOX, True)
    deliver(world.source, later)
    deliver(world.target, others)
    before = world.target.everything()
    assert world.run().state == "done"
    sent = left_to_send([*carried, *later], [*carried, *others], mode)
    octets = {each.content: each.octets for each in [*carried, *later]}
    wanted = Counter({octets[content]: count for content, count in sent.items()})
    assert world.target.everything() - before == wanted
    world.assert_settled()


@pytest.mark.parametrize("page", [1, 7, 1_000])
def test_what_another_tool_has_marked_is_read_once(page: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each with a header more and another date: headers and bodies of both sides decide, and each is read once."""
    monkeypatch.setattr("alimail_core.ledger.queries._CHUNK", page)
    world = World()
    mail = [Mail(f"{number}@x", "A", 0) for number in range(20)]
    deliver(world.source, mail)
    deliver(world.target, [evolve(each, traced=True, day=1) for each in reversed(mail)])
    read = Readings(monkeypatch)
    assert world.run().adopted == 20
    assert set(read.values()) == {20}
    world.assert_settled()


def test_what_names_nobody_is_not_held() -> None:
    """Where another's mail fills the folder, neither it nor ours is matched with anything."""
    world = World()
    deliver(world.source, [Mail(f"{number}@x", "A", 0) for number in range(20)])
    deliver(world.target, [Mail(f"{number}@y", "AB", 1) for number in range(20)])
    world.run(order="strict")
    with world.ledger.lease(world.account_id) as book:
        [target] = book.folders("target")
        assert book.disputed(target.id) == ([], [])
    assert world.target.everything().total() == 40


def read_otherwise(
    monkeypatch: pytest.MonkeyPatch, sides: type[MemorySource], **replaced: tuple[bytes, bytes]
) -> None:
    """Let these sides tell headers in their own way, as an old server does that keeps a cache of them."""
    headers = MemorySource.headers

    def told(side: MemorySource, folder: Folder, entries: Sequence[Entry]) -> Iterator[Headers]:
        for each in headers(side, folder, entries):
            octets = each.octets
            for old, new in replaced.values() if isinstance(side, sides) else ():
                octets = octets.replace(old, new)
            yield Headers(each.key, octets)

    monkeypatch.setattr(MemorySource, "headers", told)


ODD_ID, ODD_SUBJECT = (b"1@x", b"other@x"), (b"A subject", b"Another")


@pytest.mark.parametrize(("mode", "day"), [("exact", 1), ("content", 0)])
def test_on_no_page_claims_what_is_pending_before_what_was_sent(
    mode: Literal["exact", "content"], day: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The header that both servers tell names the pending twin alone; the copy is the one's that was sent."""
    world = World(options=evolve(IN_TURN, adopt=mode))
    sent, pending = Mail("1@x", "A", 0), Mail("1@x", "A", day)
    deliver(world.source, [sent])
    world.run()
    world.target.renumber(INBOX, True)
    deliver(world.source, [pending])
    read_otherwise(monkeypatch, MemorySource, message_id=ODD_ID)
    world.run()
    assert world.target.everything() == Counter({sent.octets: 2})
    world.assert_settled()


def test_a_message_id_alone_makes_bodies_worth_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """The target tells another subject, and has a header more and another date."""
    world = World()
    mail = Mail("1@x", "A", 0)
    deliver(world.source, [mail])
    deliver(world.target, [evolve(mail, traced=True, day=1)])
    read_otherwise(monkeypatch, MemorySink, subject=ODD_SUBJECT)
    assert world.run().adopted == 1


def test_a_digest_on_record_makes_a_body_of_the_same_size_worth_reading(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The target was renumbered, keeps no dates and tells other headers: the octets are ours all the same."""
    world = World(target=MemoryTraits(keeps_dates=False))
    deliver(world.source, [Mail("1@x", "A", 0)])
    world.run()
    world.target.renumber(INBOX, True)
    deliver(world.source, [Mail("2@x", "A longer body", 0)])
    read_otherwise(monkeypatch, MemorySink, message_id=ODD_ID, subject=ODD_SUBJECT)
    world.run()
    with world.ledger.lease(world.account_id) as book:
        assert [row.target_gone for row in book.rows()] == [0, 0]
