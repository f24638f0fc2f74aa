"""Wait until new mailboxes let their people in: a service that has made an account may take minutes to open it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from typing import Final

from alimail_core import choice
from alimail_core.check import CheckResult
from alimail_core.errors import Interrupted
from alimail_core.migration import Migration
from alimail_core.spec import AccountSpec

PAUSES: Final = (2.0, 5.0, 10.0, 20.0, 30.0)
"""Seconds between two looks; the last one for ever after."""


def wait_for_logins(
    migration: Migration,
    patience: float,
    tell: Callable[[int, int], None] = lambda _open, _all: None,
) -> Sequence[CheckResult]:
    """Try every target of a migration until all let their people in; return those that did not within ``patience``.

    Who got in once is not tried again, and who is disabled not at all. ``tell`` is called after each look with how
    many are open, of how many. ``patience`` is in seconds. Raises ``Interrupted`` where somebody asks to stop.
    """
    clock, stop, spec = migration.clock, migration.stop, migration.spec
    given_up_at = clock.monotonic() + patience
    everyone, looks = 0, 0
    while True:
        with Migration(spec, migration.registry, clock=clock, stop=stop) as looking:
            tried = [each for each in looking.check(sides=("target",)) if each.tried]
        shut = [each for each in tried if each.level == "fault"]
        everyone = everyone or len(tried)
        tell(everyone - len(shut), everyone)
        left = given_up_at - clock.monotonic()
        if not shut or left <= 0:
            return shut
        clock.sleep(min(PAUSES[min(looks, len(PAUSES) - 1)], left), stop.event)
        if stop.is_set():
            raise Interrupted("stopped on request", signal=stop.signal, remedy="Run the same command again.")
        looks += 1
        names = {each.account for each in shut}
        spec = choice.keep(spec, partial(_is_one_of, names))


def _is_one_of(names: Collection[str], account: AccountSpec) -> bool:
    return account.source_address in names
