"""The sheets of a staff department: employees with their departments, mail groups, and who changes in a month."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path

from attrs import define, evolve, frozen
from openpyxl import Workbook

OLD_DOMAIN, NEW_DOMAIN = "harbour.example", "harbour-cn.example"

AREAS = ("Sales", "Engineering", "Finance", "研发")
PLACES = ("North", "South", "East", "West")
"""Four areas with four departments each: twenty."""
GROUPS = 10
FIRST = (
    "Anna",
    "Jonas",
    "Marie",
    "Peter",
    "Sofia",
    "Tom",
    "Eva",
    "Jan",
    "Lena",
    "Omar",
    "Mei",
    "Wei",
    "Fang",
)
LAST = (
    "Berg",
    "Koch",
    "Blanc",
    "Holm",
    "Rossi",
    "Baker",
    "Novak",
    "Vries",
    "Vogel",
    "Chen",
    "Wang",
    "Zhang",
    "Liu",
)

HEADINGS = ("Name", "Account", "Employee number", "Password", "Department", "Title", "Manager")


@frozen
class Row:
    """An employee."""

    name: str
    local: str
    number: str
    department: str
    title: str = ""
    manager: str = ""


@define
class Sheets:
    """What the staff department sends."""

    rows: list[Row]
    groups: dict[str, list[str]]
    """Members by the local part of a group."""
    before: dict[str, str]
    """The old server's local part of each person, by number."""

    @classmethod
    def of(cls, people: int) -> Sheets:
        """Write the first sheets."""
        rows = [_row(number) for number in range(people)]
        members = {
            f"team{group}": [row.local for row in rows[people // 2 + group :: GROUPS]]
            for group in range(GROUPS)
        }
        return cls(rows, members, {row.number: row.local for row in rows})

    def change(self) -> None:
        """Let a month pass: a new name, two other departments, three new people, and one who has left."""
        bride, *movers = self.rows[7], self.rows[8], self.rows[9]
        self._replace(evolve(bride, name="Jan Holm-Sun", local="jan.holm-sun", title="Head of port"))
        for row, area in zip(movers, AREAS, strict=False):
            self._replace(evolve(row, department=f"{area}/{PLACES[3]}"))
        self.rows.remove(self.rows[11])
        start = len(self.before) + 1000
        self.rows += [
            Row(f"New Person {number}", f"new{number}", f"{start + number:05d}", "Sales/North")
            for number in range(3)
        ]

    def _replace(self, row: Row) -> None:
        at = next(at for at, each in enumerate(self.rows) if each.number == row.number)
        self.rows[at] = row

    def addresses(self) -> set[str]:
        """Return the addresses of all who are wished."""
        return {f"{row.local}@{NEW_DOMAIN}" for row in self.rows}

    def new_locals(self) -> dict[str, str]:
        """Return the new local part of whoever has another one than at the old server."""
        now = {row.number: row.local for row in self.rows}
        return {old: now[number] for number, old in self.before.items() if now.get(number, old) != old}

    def write(self, folder: Path, *, spoilt: bool = False) -> None:
        """Write both sheets as xlsx; ``spoilt`` with five faults."""
        rows = [_cells(row) for row in self.rows]
        groups = [
            [f"Team {name[4:]}", f"{name}@{NEW_DOMAIN}", self._owner(), self._members(name)]
            for name in self.groups
        ]
        if spoilt:
            rows[4][1] = f"eva novak@{NEW_DOMAIN}"  # a space in an account
            rows[12][1] = rows[10][1]  # one address for two
            rows[20][3] = "secret"  # a password that the console refuses
            rows[22][2] = 42  # a number whose zeros a spreadsheet program took away
            groups[3][3] += f"; nobody@{NEW_DOMAIN}"  # a member who is not there
        _write(folder / "employees.xlsx", HEADINGS, rows)
        _write(folder / "groups.xlsx", ("Group name", "Group address", "Owners", "Members"), groups)

    def _owner(self) -> str:
        return f"{self.rows[0].local}@{NEW_DOMAIN}"

    def _members(self, name: str) -> str:
        there = {row.local for row in self.rows}
        return "; ".join(f"{local}@{NEW_DOMAIN}" for local in self.groups[name] if local in there)

    def write_roster(self, folder: Path) -> None:
        """Fill in the roster that ``init`` made: who moves whereto, and no password."""
        now = {row.number: row.local for row in self.rows}
        with (folder / "accounts.csv").open("w", encoding="utf-8-sig", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("Source address", "Target address"))
            for number, old in self.before.items():
                writer.writerow((f"{old}@{OLD_DOMAIN}", f"{now.get(number, old)}@{NEW_DOMAIN}"))


def _row(number: int) -> Row:
    name = f"{FIRST[number % len(FIRST)]} {LAST[number // len(FIRST) % len(LAST)]}"
    area, place = AREAS[number % 4], PLACES[number // 4 % 4]
    local = f"{name.lower().replace(' ', '.')}{number}"
    boss = number % 4 if number >= 16 and number % 5 == 0 else None
    manager = f"{_row(boss).local}@{NEW_DOMAIN}" if boss is not None else ""
    return Row(name, local, f"{number + 1:05d}", f"{area}/{place}", "Head" if number < 16 else "", manager)


def _cells(row: Row) -> list[object]:
    return [row.name, f"{row.local}@{NEW_DOMAIN}", row.number, "", row.department, row.title, row.manager]


def _write(path: Path, headings: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    for row in (headings, *rows):
        sheet.append(list(row))
    book.save(path)
    os.chmod(path, 0o600)
