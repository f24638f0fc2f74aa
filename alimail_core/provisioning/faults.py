"""What is wrong with employees and groups only when they are looked at together."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from alimail_core.provisioning.directory import DepartmentPath, department_key, department_text, fold
from alimail_core.text import printable

if TYPE_CHECKING:
    from alimail_core.provisioning.roster import DirectoryRoster


def tell_doubled(roster: DirectoryRoster) -> None:
    """Tell addresses that two would have, and numbers that two employees have."""
    first: dict[str, str] = {}
    numbers: dict[str, str] = {}
    for row in roster.employees:
        own = [
            (row.employee.address, row.at["account"]),
            *((each, row.at["aliases"]) for each in row.employee.aliases),
        ]
        for address, where in sorted(own):
            _tell_if_taken(roster, first, address, where)
        number = row.employee.number
        if (
            number
            and (other := numbers.setdefault(number, row.at["employee number"])) != row.at["employee number"]
        ):
            message = f'the employee number "{printable(number)}" stands in {other} already'
            roster.fault(row.at["employee number"], message, "give each person a number of their own")
    for group in roster.groups:
        _tell_if_taken(roster, first, group.group.address, group.where)


def _tell_if_taken(roster: DirectoryRoster, first: dict[str, str], address: str, where: str) -> None:
    other = first.setdefault(fold(address), where)
    if other != where:
        message = f'the address "{printable(address)}" stands in {other} already'
        roster.fault(where, message, "leave one of them out, or choose another address")


def tell_twin_departments(roster: DirectoryRoster) -> None:
    """Tell departments that are spelt in two ways: each would be made, or the second one not found."""
    first: dict[str, tuple[DepartmentPath, str]] = {}
    told: dict[str, set[DepartmentPath]] = defaultdict(set)
    for row in roster.employees:
        path = row.employee.department or ()
        for end in range(1, len(path) + 1):
            key = department_key(path[:end])
            known, where = first.setdefault(key, (path[:end], row.at["department"]))
            if known[-1] != path[end - 1] and path[:end] not in told[key]:
                told[key].add(path[:end])
                roster.fault(
                    row.at["department"],
                    f'the department "{printable(department_text(path[:end]))}" is spelt '
                    f'"{printable(department_text(known))}" in {where}',
                    "spell it alike everywhere",
                )
