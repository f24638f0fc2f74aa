"""The console's own spreadsheets: files that it imports, made of a plan, and its export, read as what is there.

Nobody but the console can say that an import worked. So nothing here is believed to be done: the next plan is made
from the next export.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import evolve, frozen

from alimail_core.errors import Fault, InputError
from alimail_core.files import new_files_in
from alimail_core.provisioning.directory import (
    Directory,
    Employee,
    Group,
    Kind,
    ProvisionerTraits,
    Step,
    Thing,
    carried_out,
    department_text,
    fold,
    key_of,
)
from alimail_core.provisioning.plan import Plan
from alimail_core.provisioning.roster import (
    EMPLOYEE_COLUMNS,
    GROUP_COLUMNS,
    split_addresses,
)
from alimail_core.sheets.columns import Columns, Findings, Table, read_table
from alimail_core.sheets.files import Row, write_sheet
from alimail_core.sheets.options import EmployeeColumn, GroupColumn
from alimail_core.sheets.roster import address_fault, count
from alimail_core.sheets.templates import Language
from alimail_core.text import printable

PART: Final = 3_000
"""Rows that the console takes in one file."""

_FIELDS: Final[Mapping[EmployeeColumn, str]] = {
    "name": "name",
    "account": "address",
    "employee number": "number",
    "password": "",
    "department": "department",
    "extension": "extension",
    "title": "title",
    "mobile": "mobile",
    "quota": "quota",
}
"""The columns of the console's employee file, in its order, each with the field of ``Employee`` that it holds."""

CONSOLE: Final = ProvisionerTraits(frozenset(_FIELDS.values()) - {"address", ""}, renames=False)
"""What the console's files can hold."""


@frozen
class Export:
    """What the console's export told: what is there, and which fields it knows."""

    directory: Directory
    traits: ProvisionerTraits


def read_export(paths: Sequence[Path], domain: str = "") -> Export:
    """Read what the console has exported, employees and groups in any of the files; none: nothing is there.

    The console's numbers may be numbers. Raises ``InputError`` with every fault.
    """
    findings = Findings()
    things: list[tuple[str, Employee | Group]] = []
    fields = set() if paths else set(CONSOLE.employee_fields)
    for path in paths:
        staff = _table(path, Columns(EMPLOYEE_COLUMNS, ("account",)), findings)
        if findings.faults:
            continue
        lists = _table(path, Columns(GROUP_COLUMNS, ("group address",)), findings)
        if staff is None and lists is None and not findings.faults:
            message = "lists neither employees nor groups"
            findings.fault(printable(str(path)), message, 'an export has a column "邮箱帐号" or "邮件组地址"')
        if staff is not None:
            fields |= {_FIELDS[column] for column in staff.columns.values() if column in _FIELDS}
            things += [(row.where, _employee(staff, row, domain)) for row in staff.rows]
        if lists is not None:
            things += [(row.where, _group(lists, row, domain)) for row in lists.rows]
    found = _unique(things, findings)
    if findings.faults:
        raise InputError(f"the console's export has {count(findings.faults)}", findings.faults)
    traits = evolve(CONSOLE, employee_fields=CONSOLE.employee_fields & fields)
    return Export(Directory.of(found), traits)


def write_import(
    plan: Plan, actual: Directory, folder: Path, password: Callable[[str], str], language: Language = "zh"
) -> list[Path]:
    """Write the files with which the console carries out a plan; return them in the order in which to import them.

    New employees first, in parts of 3,000 rows, each with the ``password`` of its address; then whole rows of those
    who change, then groups with all their members. Departments come with their employees. Each file is its owner's
    alone. Raises ``InputError`` where one exists.
    """
    after = carried_out(actual, plan.steps())
    new = [after.employees[key_of(step.thing)] for step in _about(plan, Kind.EMPLOYEE) if step.makes]
    new_keys = {key_of(employee) for employee in new}
    changed = [
        after.employees[key]
        for key in sorted({key_of(step.thing) for step in _about(plan, Kind.EMPLOYEE)} - new_keys)
    ]
    groups = [after.groups[key] for key in sorted({key_of(step.thing) for step in _about(plan, Kind.GROUP)})]
    headings = _headings(EMPLOYEE_COLUMNS, _FIELDS, language)
    rows = {
        "employees-new": [headings, *(_row(each, password(each.address)) for each in new)],
        "employees-changed": [headings, *(_row(each, "") for each in changed)],
        "groups": [_headings(GROUP_COLUMNS, GROUP_COLUMNS, language), *(_group_row(each) for each in groups)],
    }
    with new_files_in(folder):
        return [path for name, sheet in rows.items() for path in _write_parts(folder, name, sheet)]


def _about(plan: Plan, kind: Kind) -> Iterator[Step]:
    return (step for step in plan.steps() if step.kind is kind)


def _write_parts(folder: Path, name: str, rows: Sequence[Sequence[str]]) -> Iterator[Path]:
    for number, at in enumerate(range(1, len(rows), PART), 1):
        path = folder / f"{name}-{number}.xlsx"
        write_sheet(path, [rows[0], *rows[at : at + PART]])
        yield path


def _headings(columns: Mapping[Any, Sequence[str]], wanted: Iterable[str], language: Language) -> list[str]:
    return [columns[column][0 if language == "en" else 1].split("|")[0] for column in wanted]


def _row(employee: Employee, password: str) -> list[str]:
    values = [getattr(employee, name) if name else password for name in _FIELDS.values()]
    return [_text(value) for value in values]


def _group_row(group: Group) -> list[str]:
    return [group.name or "", group.address, ";".join(sorted(group.owners)), ";".join(sorted(group.members))]


def _text(value: object) -> str:
    return department_text(value) if isinstance(value, tuple) else "" if value is None else str(value)


def _table(path: Path, columns: Columns[Any], findings: Findings) -> Table[Any] | None:
    """Return the table of a file that has such a sheet, ``None`` where it has not, which may be right."""
    own = Findings()
    table = read_table(path, columns, own)
    findings.faults += [each for each in own.faults if not _is_another_kind(each)]
    return table


def _is_another_kind(fault: Fault) -> bool:
    return fault.message == "there are no headings that I know"


def _value(table: Table[Any], row: Row, column: str) -> str:
    cell = table.cell(row, column)
    return (cell.raw if cell.fault else cell.text).strip()


def _employee(table: Table[EmployeeColumn], row: Row, domain: str) -> Employee:
    told: dict[str, Any] = {
        name: _value(table, row, column)
        for column, name in _FIELDS.items()
        if name and column in table.columns.values()
    }
    told["address"] = _whole(told["address"], domain)
    if "department" in told:
        told["department"] = tuple(filter(None, (name.strip() for name in told["department"].split("/"))))
    if "quota" in told:
        told["quota"] = int(told["quota"]) if told["quota"].isdecimal() else None
    return Employee(**told)


def _group(table: Table[GroupColumn], row: Row, domain: str) -> Group:
    people = (
        frozenset(_whole(each, domain) for each in split_addresses(_value(table, row, column)))
        for column in ("owners", "members")
    )
    return Group(
        _whole(_value(table, row, "group address"), domain), _value(table, row, "group name"), *people
    )


def _whole(address: str, domain: str) -> str:
    return f"{address}@{domain}" if address and domain and "@" not in address else address


def _unique(things: Sequence[tuple[str, Employee | Group]], findings: Findings) -> list[Thing]:
    """Return what was read once each; tell what is no address, and employees who are there twice."""
    kept: dict[tuple[type, str], Employee | Group] = {}
    for where, thing in things:
        known = kept.get((type(thing), fold(thing.address)))
        if fault := address_fault(thing.address):
            message = f'"{printable(thing.address[:60])}" {fault[0]}'
            findings.fault(
                where, message, "tell the domain with --domain where accounts are written without it"
            )
        elif isinstance(known, Group) and isinstance(thing, Group):
            joined = evolve(known, owners=known.owners | thing.owners, members=known.members | thing.members)
            kept[Group, fold(thing.address)] = joined
        elif known is not None:
            findings.fault(where, f"{printable(thing.address)} is there twice", "export it once")
        else:
            kept[type(thing), fold(thing.address)] = thing
    return list(kept.values())
