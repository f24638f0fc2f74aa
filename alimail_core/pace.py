"""How fast mail may be read at which time of day: office hours slow, nights full."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime, time, timedelta
from typing import Literal

from attrs import evolve, frozen

from alimail_core.contract import option
from alimail_core.units import Octets

Day = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]

_DAYS: tuple[Day, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@frozen
class Pace:
    """A time of day, by the clock of the machine that runs, and what may be read in it, by all accounts together."""

    octets_per_second: Octets = option("The most octets that are read in a second, such as 500kB.")
    begin: str = option("When it begins, such as 08:00.", default="00:00")
    end: str = option(
        "When it ends; earlier than its beginning is on the next day, and the same is a whole day.",
        default="00:00",
    )
    days: tuple[Day, ...] = option("The days on which it begins.", default=_DAYS)

    def __attrs_post_init__(self) -> None:
        """Refuse what is no time of day, and a pace at which nothing moves."""
        for name in ("begin", "end"):
            if not re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", getattr(self, name)):
                raise ValueError(f"'{name}' must be a time of day such as 08:00")
        if self.octets_per_second < 1:
            raise ValueError("'octets_per_second' must be at least 1")

    def holds(self, moment: datetime) -> bool:
        """Tell whether a local time lies in it."""
        begin, end, at = time.fromisoformat(self.begin), time.fromisoformat(self.end), moment.time()
        if begin < end:
            return begin <= at < end and self._begins_on(moment)
        if at >= begin:
            return self._begins_on(moment)
        return at < end and self._begins_on(moment - timedelta(days=1))

    def _begins_on(self, moment: datetime) -> bool:
        return _DAYS[moment.weekday()] in self.days

    def __str__(self) -> str:
        """Say it for a person."""
        until = "" if self.begin == self.end else f" until {self.end}"
        return f"at most {self.octets_per_second:,} octets are read in a second{until}"


def shared(paces: Iterable[Pace], workers: int) -> tuple[Pace, ...]:
    """Divide paces among workers that cannot see each other, so that together they keep them."""
    return tuple(
        evolve(pace, octets_per_second=Octets(max(1, pace.octets_per_second // workers))) for pace in paces
    )


def pace_at(paces: Iterable[Pace], moment: datetime) -> Pace | None:
    """Return the slowest pace that holds at a local time; ``None``: as fast as it goes."""
    here = (pace for pace in paces if pace.holds(moment))
    return min(here, key=lambda pace: pace.octets_per_second, default=None)
