"""Choose accounts of a migration: a migration of some of its accounts is a migration like any other."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence

from attrs import evolve

from alimail_core.errors import Fault, InputError
from alimail_core.spec import AccountSpec, MigrationSpec
from alimail_core.text import printable, same_address


def only(spec: MigrationSpec, addresses: Sequence[str], place: str = "--only") -> MigrationSpec:
    """Keep the accounts with one of these addresses, source or target, in any case; none given: all of them.

    Raises ``InputError`` with a fault for each address that no account has; ``place``: where they were given.
    """
    if not addresses:
        return spec
    wanted = {same_address(address): address for address in addresses}
    known = {
        same_address(address): address
        for account in spec.accounts
        for address in (account.source_address, account.target_address)
    }
    faults = [
        Fault(place, f"no account has the address {printable(address)}", _nearest(address, known.values()))
        for same, address in wanted.items()
        if same not in known
    ]
    if faults:
        raise InputError(
            "not every account is in the roster", faults, remedy="`alimail status` lists them all"
        )
    return keep(spec, lambda each: not wanted.keys().isdisjoint(_names(each)))


def some(spec: MigrationSpec, addresses: Sequence[str] | None, number: int | None) -> MigrationSpec:
    """Keep the accounts that are named, and of those one wave's; ``None``: all of them. Raises ``InputError``."""
    spec = only(spec, addresses or ())
    return spec if number is None else wave(spec, number)


def wave(spec: MigrationSpec, number: int) -> MigrationSpec:
    """Keep the accounts of one wave. Raises ``InputError`` where it has none."""
    kept = keep(spec, lambda each: each.wave == number)
    if not kept.accounts:
        waves = sorted({each.wave for each in spec.accounts if each.wave is not None})
        remedy = (
            f"there are: {', '.join(map(str, waves))}" if waves else "fill in the roster's column wave (批次)"
        )
        raise InputError(f"no account is of wave {number}", remedy=remedy)
    return kept


def keep(spec: MigrationSpec, wanted: Callable[[AccountSpec], bool]) -> MigrationSpec:
    """Return the migration of the accounts that are wanted alone."""
    return evolve(spec, accounts=tuple(filter(wanted, spec.accounts)), partial=True)


def _names(account: AccountSpec) -> set[str]:
    return {same_address(account.source_address), same_address(account.target_address)}


def _nearest(address: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(address, list(known), n=1, cutoff=0.8)
    return f"did you mean {printable(near[0])}?" if near else ""
