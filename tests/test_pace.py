"""How fast mail is read at which time of day, by the clock of the machine."""

from __future__ import annotations

import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from alimail_core.errors import Interrupted
from alimail_core.events import Noted
from alimail_core.governor import Governor
from alimail_core.pace import Pace, pace_at, shared
from alimail_core.seam import Stop
from alimail_core.structure import Misfits, structure
from alimail_core.testing.clock import FakeClock
from alimail_core.units import Octets
from tests.organisation import Organisation, message

OFFICE = Pace(Octets(100), "08:00", "18:00", ("mon", "tue", "wed", "thu", "fri"))
NIGHT = Pace(Octets(900), "18:00", "08:00")
MONDAY = datetime(2026, 1, 5, tzinfo=UTC)
hours = st.integers(0, 23).map("{:02}:00".format)


@pytest.mark.parametrize(
    ("hour", "pace"), [(7.9, NIGHT), (8, OFFICE), (17.9, OFFICE), (18, NIGHT), (24 * 5 + 9, None)]
)
def test_a_pace_holds_from_its_beginning_to_its_end(hour: float, pace: Pace | None) -> None:
    """Its end belongs to what comes after; on days that are not named it does not begin."""
    assert pace_at([NIGHT, OFFICE], MONDAY + timedelta(hours=hour)) == pace


def test_a_night_belongs_to_the_day_on_which_it_begins() -> None:
    """Friday's lasts into Saturday morning, and Sunday's is not one."""
    night = evolve(NIGHT, days=("fri",))
    assert [night.holds(MONDAY + timedelta(days=day, hours=3)) for day in range(7)] == [
        day == 5 for day in range(7)
    ]


@given(hours, hours, st.datetimes(datetime(2026, 1, 5), datetime(2026, 1, 12)))
def test_of_two_halves_of_a_day_one_holds(begin: str, end: str, moment: datetime) -> None:
    """From one hour to another and back leaves no gap and no overlap; the same hour twice is the whole day."""
    halves = [Pace(Octets(1), begin, end), Pace(Octets(1), end, begin)]
    assert sum(pace.holds(moment) for pace in halves) == (2 if begin == end else 1)


def test_where_several_hold_the_slowest_does() -> None:
    """A limit for always is an upper bound, also beside others."""
    always = Pace(Octets(500))
    assert pace_at([always, OFFICE], MONDAY + timedelta(hours=9)) == OFFICE
    assert pace_at([always, NIGHT], MONDAY) == always


@given(st.integers(1, 10**6), st.integers(1, 1_000))
def test_workers_that_cannot_see_each_other_keep_a_pace_together(speed: int, workers: int) -> None:
    """Each keeps its share, and none stands still."""
    [part] = shared([Pace(Octets(speed))], workers)
    assert part.octets_per_second * workers <= max(speed, workers)
    assert part.octets_per_second >= 1


@pytest.mark.parametrize(
    "wrong",
    [{"begin": "8:00"}, {"end": "24:00"}, {"octets_per_second": 0}, {"days": ["monday"]}, {"from": "08:00"}],
)
def test_what_is_no_pace_is_refused(wrong: dict[str, object]) -> None:
    """Nothing is guessed, and nothing may stand still for ever."""
    with pytest.raises(Misfits):
        structure({"octets_per_second": "1kB"} | wrong, Pace)


def test_who_has_read_too_much_waits() -> None:
    """The octets of all together are counted, whoever read them; a break is not saved up."""
    clock = FakeClock()
    governor = Governor(clock, Stop(), [Pace(Octets(100))])
    governor.keep_pace(300)
    governor.keep_pace(200)
    assert clock.monotonic() == pytest.approx(5)
    clock.advance(1_000)
    governor.keep_pace(100)
    assert clock.monotonic() == pytest.approx(1_006)


def test_a_pace_that_ends_holds_nobody_any_longer() -> None:
    """Who waits goes on within a second of its end, and what was owed is forgotten."""
    start = datetime(2026, 1, 5, 12).astimezone()
    clock = FakeClock(start)
    governor = Governor(clock, Stop(), [Pace(Octets(1), "08:00", "12:01")])
    assert "until 12:01" in governor.keep_pace(10_000)
    assert 60 <= clock.monotonic() <= 61
    assert governor.keep_pace(10_000) == ""
    assert clock.monotonic() <= 61


def test_who_waits_for_the_pace_hears_a_wish_to_stop() -> None:
    """Within a second, however slow the pace is."""
    clock, stop = FakeClock(), Stop()
    clock.later(5, lambda: stop.set(signal.SIGTERM))
    with pytest.raises(Interrupted):
        Governor(clock, stop, [Pace(Octets(1))]).keep_pace(10_000)
    assert clock.monotonic() <= 6


def test_a_migration_keeps_its_pace_and_says_so_once(tmp_path: Path) -> None:
    """All accounts' messages count, time is taken for them, and an observer is told in words."""
    office = Organisation(tmp_path, ("anna", "bert"), pace=(Pace(Octets(1_000)),))
    for name in ("anna", "bert"):
        office.give(name, *(message(f"{name} {number}") for number in range(3)))
    with office.migration() as migration:
        assert migration.run().exit_code == 0
    octets = sum(box.octets for box in office.sources.values())
    assert office.clock.monotonic() >= octets / 1_000 > 0
    notes = [event for event in office.events if isinstance(event, Noted)]
    told = "at most 1,000 octets are read in a second"
    assert sorted((event.account, event.text) for event in notes) == [
        ("anna@old.example", told),
        ("bert@old.example", told),
    ]
