"""Files for the console and from it: what it would make of them is what was wished."""

from __future__ import annotations

import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import openpyxl
import pytest

from alimail_core.errors import InputError
from alimail_core.provisioning.console_sheets import CONSOLE, read_export, write_import
from alimail_core.provisioning.directory import Directory, Employee, Group, Thing
from alimail_core.provisioning.plan import plan

STAFF: list[Thing] = [
    Employee("anna@x.example", "李安娜", "0042", ("销售", "西部"), "Boss", "+4917", "01", 5120),
    Employee("bob@x.example", "=cmd|'/c calc'!A1", None, ("销售",)),
    Group(
        "all@x.example", "All", frozenset({"bob@x.example"}), frozenset({"anna@x.example", "guest@y.example"})
    ),
]


def _rows(path: Path) -> list[list[Any]]:
    return [[cell.value for cell in row] for row in openpyxl.load_workbook(path).worksheets[0].iter_rows()]


def _exported(path: Path, rows: Sequence[Sequence[Any]]) -> Path:
    workbook = openpyxl.Workbook()
    for row in rows:
        workbook.worksheets[0].append([None if value == "" else value for value in row])
    workbook.save(path)
    return path


class Console:
    """The console, as far as it is known: it takes rows of employees and groups, and exports what it has."""

    def __init__(self, tmp_path: Path) -> None:
        self.folder = tmp_path
        self.employees: dict[str, list[Any]] = {}
        self.groups: dict[str, list[Any]] = {}

    def take(self, path: Path) -> None:
        """Import a file, of at most 3,000 rows."""
        headings, *rows = _rows(path)
        assert len(rows) <= 3_000
        home = self.groups if path.name.startswith("groups") else self.employees
        for row in rows:
            if path.name.startswith("employees-new"):
                assert row[1] not in home, "an account that exists cannot be imported as a new one"
                assert row[3], "a new account has a password"
            home[row[1]] = [
                None if heading in ("邮箱密码", "Password") else value
                for heading, value in zip(headings, row, strict=True)
            ]

    def export(self, name: str) -> list[Path]:
        """Export employees and groups, numbers as numbers."""
        staff: list[list[Any]] = [
            ["姓名", "邮箱帐号", "工号", "邮箱密码", "部门", "分机号", "职务", "手机", "邮箱容量(M)"]
        ]
        lists: list[list[Any]] = [["邮件组名称", "邮件组地址", "管理员", "成员"]]
        staff += [[*row[:8], int(row[8]) if row[8] else None] for row in self.employees.values()]
        return [
            _exported(self.folder / f"{name}.xlsx", staff),
            _exported(self.folder / f"{name}-groups.xlsx", [*lists, *self.groups.values()]),
        ]


@pytest.mark.parametrize("language", ["en", "zh"])
def test_what_is_imported_and_exported_needs_nothing(tmp_path: Path, language: Literal["en", "zh"]) -> None:
    """From an empty console, and again after a change; no cell that is written is a formula."""
    console = Console(tmp_path)
    for turn, wished in enumerate((STAFF, [*STAFF[1:], Employee("anna@x.example", "Anna", title="CEO")])):
        there = read_export(console.export(f"before{turn}") if turn else [])
        made = plan(Directory.of(wished), there.directory, there.traits)
        assert made.waves
        files = write_import(
            made, there.directory, tmp_path / f"import{turn}", lambda address: f"Pw-{address}", language
        )
        for path in files:
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            for row in openpyxl.load_workbook(path).worksheets[0].iter_rows():
                assert {cell.data_type for cell in row if cell.value is not None} <= {"s"}
            console.take(path)
        after = read_export(console.export(f"after{turn}"))
        assert plan(Directory.of(wished), after.directory, after.traits).waves == ()
    assert console.employees["anna@x.example"][:5] == ["Anna", "anna@x.example", "0042", None, "销售/西部"]
    assert console.employees["bob@x.example"][0] == "=cmd|'/c calc'!A1"


@pytest.mark.slow
def test_new_employees_come_in_parts_with_their_passwords(tmp_path: Path) -> None:
    """Of 3,000 rows each, headings not counted."""
    staff = [Employee(f"p{number}@x.example", "P") for number in range(3_001)]
    files = write_import(
        plan(Directory.of(staff), Directory(), CONSOLE), Directory(), tmp_path / "i", str.upper
    )
    assert [path.name for path in files] == ["employees-new-1.xlsx", "employees-new-2.xlsx"]
    first, second = (_rows(path) for path in files)
    assert (len(first), len(second)) == (3_001, 2)
    assert first[1][1:4] == ["p0@x.example", None, "P0@X.EXAMPLE"]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """A folder that has such files already is refused; without steps no file is written."""
    made = plan(Directory.of(STAFF), Directory(), CONSOLE)
    write_import(made, Directory(), tmp_path, str.upper)
    with pytest.raises(InputError, match="is there already"):
        write_import(made, Directory(), tmp_path, str.upper)
    assert write_import(plan(Directory(), Directory()), Directory(), tmp_path / "none", str.upper) == []


def test_columns_that_were_not_exported_are_not_compared(tmp_path: Path) -> None:
    """They are told; otherwise no plan would ever be empty."""
    path = _exported(tmp_path / "e.xlsx", [["邮箱帐号", "姓名"], ["anna", "李安娜"], ["bob", "Bob"]])
    there = read_export([path], "x.example")
    made = plan(Directory.of(STAFF[:2]), there.directory, there.traits)
    assert [(step.key, step.fields) for step in made.steps() if "name" in step.fields] == [
        ("bob@x.example", ("name",))
    ]
    assert "number is not carried, of 1 in the roster: set it in the console" in made.notes


def test_faults_of_an_export_are_told_together(tmp_path: Path) -> None:
    """With file and row."""
    staff = _exported(tmp_path / "s.xlsx", [["邮箱帐号"], ["anna"], ["b@x.example"], ["B@x.example"]])
    other = _exported(tmp_path / "o.xlsx", [["something"], ["else"]])
    with pytest.raises(InputError) as caught:
        read_export([staff, other, tmp_path / "none.xlsx"])
    assert [(fault.where.rpartition("/")[2], fault.message) for fault in caught.value.faults] == [
        ("o.xlsx", "lists neither employees nor groups"),
        ("none.xlsx", "cannot be read: No such file or directory"),
        ("s.xlsx Sheet row 2", '"anna" is not a mail address'),
        ("s.xlsx Sheet row 4", "B@x.example is there twice"),
    ]
