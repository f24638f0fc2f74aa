"""How sheets of employees and groups are to be read, where they come from another program."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from attrs import field, frozen

EmployeeColumn: TypeAlias = Literal[
    "name",
    "account",
    "employee number",
    "password",
    "department",
    "extension",
    "title",
    "mobile",
    "quota",
    "manager",
    "aliases",
    "distinguished name",
    "ignored",
]
GroupColumn: TypeAlias = Literal[
    "group name", "group address", "owners", "members", "distinguished name", "ignored"
]

LDAP: Final[Mapping[str, Literal["distinguished name"]]] = {
    "distinguishedName": "distinguished name",
    "dn": "distinguished name",
}
"""Headings of exports from a directory, which no template has."""


@frozen
class SheetOptions:
    """How the sheets are to be read, where they come from another program."""

    employee_headings: Mapping[str, EmployeeColumn] = field(factory=dict)
    group_headings: Mapping[str, GroupColumn] = field(factory=dict)
    department_base: str = ""
    """The part of distinguished names within which the departments are."""
