"""Messages that are left out by wish: the filter, trials, and what a changed wish carries later, each once."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from alimail_core.errors import Refused
from alimail_core.messages import EVERYTHING, MessageFilter
from alimail_core.model import INBOX
from alimail_core.proof.results import AccountProof
from alimail_core.testing.mail import message
from alimail_core.testing.memory import MemoryTraits
from alimail_core.units import Octets, parse_octets
from tests.harness import World
from tests.organisation import Organisation

days = st.dates(date(2020, 1, 1), date(2020, 1, 9))
moments = st.datetimes(
    datetime(2020, 1, 1), datetime(2020, 1, 9), timezones=st.just(UTC) | st.just(timezone(timedelta(hours=8)))
)
sizes = st.integers(0, 9)
flag_sets = st.frozensets(st.sampled_from(["\\Seen", "\\Flagged", "x"]))


@st.composite
def filters(draw: st.DrawFn) -> MessageFilter:
    """Draw a filter that some message can pass."""
    since, before = draw(st.none() | days), draw(st.none() | days)
    larger, smaller = draw(st.none() | sizes), draw(st.none() | sizes)
    if since and before and since >= before:
        since = None
    if larger is not None and smaller is not None and larger + 1 >= smaller:
        larger = None
    most, least = (None if each is None else Octets(each) for each in (smaller, larger))
    return MessageFilter(since, before, least, most, draw(st.booleans()), draw(st.booleans()))


def passes(wish: MessageFilter, size: int, moment: datetime, flags: frozenset[str]) -> bool:
    """Decide by RFC 9051 §6.4.4, key by key."""
    day = date(moment.year, moment.month, moment.day)
    return (
        (wish.since is None or day >= wish.since)
        and (wish.before is None or day < wish.before)
        and (wish.larger is None or size > wish.larger)
        and (wish.smaller is None or size < wish.smaller)
        and not (wish.unseen and "\\Seen" in flags)
        and not (wish.flagged and "\\Flagged" not in flags)
    )


@given(filters(), sizes, moments, flag_sets)
def test_the_filter_means_what_the_search_keys_mean(
    wish: MessageFilter, size: int, moment: datetime, flags: frozenset[str]
) -> None:
    """A message passes if it meets every key that is given; a filter that says nothing wants everything."""
    assert wish.wants(size, moment, flags) is passes(wish, size, moment, flags)
    assert (str(wish) == "") == (wish == EVERYTHING)


@given(filters(), st.none() | sizes, st.none() | moments, st.none() | flag_sets, sizes, moments, flag_sets)
def test_what_is_not_known_is_not_guessed(
    wish: MessageFilter,
    size: int | None,
    moment: datetime | None,
    flags: frozenset[str] | None,
    any_size: int,
    any_moment: datetime,
    any_flags: frozenset[str],
) -> None:
    """A verdict that is given early is the one that is given when all is known, whatever that is."""
    early = wish.wants(size, moment, flags)
    whole = wish.wants(
        any_size if size is None else size,
        any_moment if moment is None else moment,
        any_flags if flags is None else flags,
    )
    assert early is None or early is whole


@given(filters(), filters())
def test_filters_with_the_same_words_are_the_same(one: MessageFilter, other: MessageFilter) -> None:
    """The ledger keeps the words, and considers anew what was left out when they change."""
    assert (str(one) == str(other)) == (one == other)


@pytest.mark.parametrize(
    ("text", "octets"),
    [("25MB", 25_000_000), ("1.5 kB", 1_500), ("2KiB", 2_048), ("7B", 7), ("1gb", 10**9), ("1 TiB", 2**40)],
)
def test_sizes_are_read_with_their_units(text: str, octets: int) -> None:
    """Decimal and binary units in any case, with or without a space."""
    assert parse_octets(text) == octets


@pytest.mark.parametrize("text", ["", "MB", "-1MB", "1 mile", "1iB", "1e3B", "0x1B"])
def test_what_is_no_size_is_refused(text: str) -> None:
    """Nothing is guessed."""
    with pytest.raises(ValueError, match="such as 25MB"):
        parse_octets(text)


YEARS = range(2018, 2024)


def archive(*, bare: bool = False, delta: bool = False) -> World:
    """Make a world with a message of each year at its source, the even years' read, and a larger one each."""
    world = World(source=MemoryTraits(bare_listings=bare, delta=delta))
    for year in YEARS:
        flags = {"\\Seen"} if year % 2 == 0 else set()
        body = "x" * (1_000 if year > 2020 else 10)
        world.source.deliver(
            INBOX, message(subject=str(year), body=body), flags, datetime(year, 5, 5, tzinfo=UTC)
        )
    return world


def years(world: World) -> list[int]:
    """Return the years of the messages in the target, ascending."""
    dates = [one.internal_date for one in world.target.folder(INBOX).messages.values()]
    return sorted(each.year for each in dates)


LISTINGS = pytest.mark.parametrize(
    ("bare", "delta"), [(False, False), (False, True), (True, False)], ids=["whole", "delta", "bare"]
)


@pytest.mark.slow
@LISTINGS
@pytest.mark.parametrize(
    ("wish", "wanted"),
    [
        (MessageFilter(since=date(2021, 5, 5)), [2021, 2022, 2023]),
        (MessageFilter(before=date(2021, 5, 5)), [2018, 2019, 2020]),
        (MessageFilter(larger=Octets(900)), [2021, 2022, 2023]),
        (MessageFilter(smaller=Octets(900), unseen=True), [2019]),
        (MessageFilter(flagged=True), []),
    ],
    ids=str,
)
def test_a_filter_holds_back_and_a_wider_one_carries_the_rest(
    bare: bool, delta: bool, wish: MessageFilter, wanted: list[int]
) -> None:
    """What is left out is counted and nothing is written for it again; without the filter the rest comes, once."""
    world = archive(bare=bare, delta=delta)
    world.messages = wish
    summary = world.run()
    assert (years(world), summary.left_out) == (wanted, len(YEARS) - len(wanted))
    assert (summary.state, summary.problems) == ("done", 0)
    world.assert_settled()
    world.messages = EVERYTHING
    assert world.run().copied == len(YEARS) - len(wanted)
    assert world.target.contents() == world.source.contents()
    world.assert_settled()


@LISTINGS
def test_a_narrower_filter_leaves_what_was_copied(bare: bool, delta: bool) -> None:
    """Only what comes later is held back by it."""
    world = archive(bare=bare, delta=delta)
    world.run()
    world.messages = MessageFilter(before=date(2019, 1, 1))
    world.source.deliver(INBOX, message(subject="new"), (), datetime(2024, 5, 5, tzinfo=UTC))
    assert world.run().left_out == 1
    assert years(world) == list(YEARS)


@pytest.mark.parametrize("delta", [False, True])
def test_a_message_that_comes_to_pass_the_filter_is_carried(delta: bool) -> None:
    """A flag that is set at the source is enough, though the filter is the same."""
    world = archive(delta=delta)
    world.messages = MessageFilter(flagged=True)
    assert world.run().copied == 0
    world.source.set_flags(INBOX, world.source.uids(INBOX)[0], {"\\Flagged"})
    assert world.run().copied == 1
    assert years(world) == [2018]


def test_what_was_carried_follows_its_move_though_the_filter_does_not_want_it_any_more() -> None:
    """A moved message is told from a new one before the filter sees it."""
    world = archive()
    world.run()
    world.messages = MessageFilter(since=date(2030, 1, 1))
    world.source.make(("Old",))
    world.source.move(INBOX, world.source.uids(INBOX)[0], ("Old",))
    summary = world.run()
    assert (summary.copied, summary.left_out) == (0, 0)
    assert world.target.contents() == world.source.contents()


def test_what_is_left_out_and_leaves_the_source_is_forgotten() -> None:
    """It is neither left to be carried, nor counted any more."""
    world = archive()
    world.messages = MessageFilter(since=date(2020, 1, 1))
    assert world.run().left_out == 2
    world.source.delete(INBOX, world.source.uids(INBOX)[0])
    assert world.run().left_out == 1
    assert world.states() == {"STORED": 4, "LEFT_OUT": 1, "VANISHED": 1}


@pytest.mark.slow
@LISTINGS
def test_a_trial_carries_the_newest_of_each_folder_and_a_pass_the_rest(bare: bool, delta: bool) -> None:
    """No message is there twice, whatever is tried how often before."""
    world = archive(bare=bare, delta=delta)
    world.source.deliver(("Work",), message(subject="only one"), (), datetime(2020, 1, 1, tzinfo=UTC))
    summary = world.run(trial=2)
    assert (summary.state, summary.copied, summary.left_out) == ("trial", 3, 4)
    assert years(world) == [2022, 2023]
    assert world.run(trial=2).copied == 0
    assert world.run(trial=3).copied == 1
    assert years(world) == [2021, 2022, 2023]
    summary = world.run()
    assert (summary.state, summary.copied, summary.left_out) == ("done", 3, 0)
    assert world.target.contents() == world.source.contents()
    world.assert_settled()


def test_what_was_refused_is_offered_again_on_wish_alone() -> None:
    """An ordinary pass leaves it in quarantine; a retry carries it once the target takes it."""
    world = World(target=MemoryTraits(refuse=lambda _: Refused("NO", about="form")))
    world.source.deliver(INBOX, message(subject="odd"))
    assert world.run().state == "problems"
    world.target.traits = evolve(world.target.traits, refuse=None)
    assert world.run().copied == 0
    summary = world.run(retry=True)
    assert (summary.state, summary.copied, summary.problems) == ("done", 1, 0)
    world.assert_settled()


def test_what_was_refused_is_still_judged_by_the_flags_that_came_with_it() -> None:
    """Where only the message tells its flags, they are kept also of one that the target did not take."""
    refusing = MemoryTraits(refuse=lambda _: Refused("NO", about="form"))
    world = World(source=MemoryTraits(bare_listings=True), target=refusing)
    world.source.deliver(INBOX, message(subject="odd"), {"\\Flagged"})
    world.messages = MessageFilter(flagged=True)
    assert world.run().state == "problems"
    world.target.traits = evolve(refusing, refuse=None)
    assert world.run(retry=True).copied == 1


def prove(office: Organisation, **changed: object) -> AccountProof:
    """Change the migration, and return the one account's proof by it."""
    office.spec = evolve(office.spec, **changed)  # type: ignore[arg-type]
    with office.migration() as migration:
        [proof] = migration.verify()
    return proof


def of_the_years(folder: Path, source: MemoryTraits) -> Organisation:
    """Return an organisation whose Anna has read a message of each year."""
    office = Organisation(folder, source=source)
    for year in YEARS:
        moment = datetime(year, 5, 5, tzinfo=UTC)
        office.sources["anna"].deliver(INBOX, message(subject=str(year)), {"\\Seen"}, moment)
    return office


@pytest.mark.parametrize("bare", [False, True])
def test_the_proof_counts_what_is_left_out_by_the_filter_of_today(tmp_path: Path, bare: bool) -> None:
    """It is complete with what the filter wants, and no longer once the filter is wider."""
    office = of_the_years(tmp_path, MemoryTraits(bare_listings=bare))
    wish = MessageFilter(since=date(2022, 1, 1))
    office.spec = evolve(office.spec, messages=wish)
    with office.migration() as migration:
        migration.run()
    [folder] = (proof := prove(office)).folders
    assert (proof.complete, folder.messages, folder.proven, folder.left_out) == (True, 6, 2, 4)
    [folder] = (proof := prove(office, messages=MessageFilter(since=date(2021, 1, 1)))).folders
    assert (proof.complete, folder.proven, folder.left_out, folder.pending) == (False, 2, 3, 1)
    [folder] = (proof := prove(office, messages=EVERYTHING)).folders
    assert (proof.complete, folder.left_out, folder.pending) == (False, 0, 4)


@pytest.mark.slow
@pytest.mark.parametrize("delta", [False, True])
def test_the_plan_tells_what_the_filter_leaves_out(tmp_path: Path, delta: bool) -> None:
    """Before the first pass and after it, with the filter of then and with a wider one."""
    office = of_the_years(tmp_path, MemoryTraits(delta=delta))
    told = []
    for since in (2022, 2022, 2021, 1990):
        office.spec = evolve(office.spec, messages=MessageFilter(since=date(since, 1, 1)))
        with office.migration() as migration:
            [plan] = migration.plan()
            [folder] = plan.folders
            told.append((folder.messages, folder.left_out))
            if since == 2022:
                migration.run()
    assert told == [(2, 4), (0, 4), (1, 3), (4, 0)]


def test_a_proof_after_a_trial_says_what_is_pending(tmp_path: Path) -> None:
    """A trial is no filter: what it left is still to come, and the proof and the status say so."""
    office = Organisation(tmp_path)
    for year in YEARS:
        office.sources["anna"].deliver(INBOX, message(subject=str(year)), {"\\Seen"})
    with office.migration() as migration:
        assert migration.run(trial=2).exit_code == 0
        [status] = migration.status()
        [plan] = migration.plan()
    assert (status.state, status.settled_messages, status.left_out) == ("trial", 2, 4)
    assert plan.messages == 4
    [folder] = (proof := prove(office)).folders
    assert (proof.complete, folder.pending, folder.left_out) == (False, 4, 0)
