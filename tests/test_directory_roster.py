"""Employees and groups in spreadsheets: every way in which they are written, and every fault with its cell."""

from __future__ import annotations

import csv
import datetime
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alimail_core.errors import InputError
from alimail_core.provisioning.directory import Directory, Employee, Group
from alimail_core.provisioning.plan import plan
from alimail_core.provisioning.roster import (
    EMPLOYEE_COLUMNS,
    GROUP_COLUMNS,
    DirectoryRoster,
    read_directory,
    scan_directory,
)
from alimail_core.sheets.templates import TEMPLATES, Sheet, write_template

HEADINGS = {
    "en": [names[0].split("|")[0] for names in EMPLOYEE_COLUMNS.values()],
    "zh": [names[1].split("|")[0] for names in EMPLOYEE_COLUMNS.values()],
}
ANNA = [
    "李安娜",
    "anna@x.example",
    "0042",
    "Corr3ct-Horse",
    "销售/西部",
    "01",
    "Boss",
    "+4917",
    "5120",
    "bob@x.example",
    "al@x.example；a2@x.example",
]
BOB = ["Bob", "Bob@x.example", "", "", "", "", "", "", "", "", ""]
FOUND = [
    Employee(
        "anna@x.example",
        name="李安娜",
        number="0042",
        department=("销售", "西部"),
        extension="01",
        title="Boss",
        mobile="+4917",
        quota=5120,
        manager="bob@x.example",
        aliases=frozenset({"al@x.example", "a2@x.example"}),
    ),
    Employee("Bob@x.example", name="Bob"),
]


def _csv(rows: Sequence[Sequence[str]], delimiter: str = ",") -> str:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter).writerows(rows)
    return text.getvalue()


def _sheet(path: Path, rows: Sequence[Sequence[Any]]) -> Path:
    """Write rows as a spreadsheet program does, csv or xlsx by the name."""
    if path.suffix == ".csv":
        path.write_text(_csv(rows), "utf-8")
    else:
        workbook = openpyxl.Workbook()
        for row in rows:
            workbook.worksheets[0].append(list(row))
        workbook.save(path)
    path.chmod(0o600)
    return path


def _told(roster: DirectoryRoster) -> list[tuple[str, str]]:
    return [(fault.where, fault.message) for fault in roster.faults]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_csv_is_read_as_it_is_saved(tmp_path: Path, encoding: str, delimiter: str, language: str) -> None:
    """Whatever the encoding, the delimiter and the language of the headings."""
    path = tmp_path / "staff.csv"
    path.write_bytes(_csv([HEADINGS[language], ANNA, BOB], delimiter).encode(encoding))
    path.chmod(0o600)
    roster = scan_directory(path)
    told = ["staff.csv: it is not UTF-8, and was read as GB18030 (Chinese)"] if encoding == "gb18030" else []
    assert (roster.faults, [remark.text for remark in roster.remarks]) == ([], told)
    assert [row.employee for row in roster.employees] == FOUND
    assert [row.secret and row.secret.get() for row in roster.employees] == ["Corr3ct-Horse", None]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10)
@given(order=st.permutations(range(len(ANNA))), languages=st.lists(st.booleans(), min_size=11, max_size=11))
def test_headings_stand_in_any_order_and_language(
    tmp_path: Path, order: list[int], languages: list[bool]
) -> None:
    """Columns are found by what they are called, each for itself."""
    headings = [HEADINGS["zh" if chinese else "en"][at] for at, chinese in enumerate(languages)]
    rows = [[row[at] for at in order] for row in (headings, ANNA, BOB)]
    assert [row.employee for row in scan_directory(_sheet(tmp_path / "staff.xlsx", rows)).employees] == FOUND


@pytest.mark.parametrize("columns", [EMPLOYEE_COLUMNS, GROUP_COLUMNS])
def test_every_heading_names_one_column(columns: dict[str, tuple[str, str]]) -> None:
    """No spelling stands for two columns of a sheet."""
    names = [name for group in columns.values() for name in "|".join(group).split("|")]
    assert len(set(names)) == len(names)


def test_all_faults_are_told_together(tmp_path: Path) -> None:
    """Each with its cell, its value and a remedy; of a password never the value."""
    staff = _sheet(
        tmp_path / "staff.csv",
        [
            ["姓名", "account", "工号", "密码", "部门", "quota", "manager", "alias"],
            ["Anna", "anna@x.example", "1", "S3cret", "Sales/West", "", "", ""],
            ["", "bob@x.example", "1", "S3cretS3cret\x07", "sales/West", "5 GB", "nobody@x.example", ""],
            ["Carl", "c..d@x.example", "3", "alllowercase", "Sales//West", "", "", ""],
            ["Dora", "dora", "4", "env:", "/", "", "", ""],
            ["E" * 101, "ANNA@x.example", "5", "", "", "", "", "anna@x.example"],
            ["Fr\x1b[1med", "-f@x.example", "6", "", "", "", "", ""],
        ],
    )
    lists = _sheet(
        tmp_path / "groups.csv",
        [
            ["组名称", "邮件组地址", "成员", "管理员"],
            ["All", "all@x.example", "anna@x.example, ghost@x.example; guest@y.example", "bob@x.example"],
            ["Other", "all@x.example", "no address", ""],
            ["Bob", "bob@x.example", "", ""],
        ],
    )
    roster = scan_directory(staff, lists)
    roster.nobodies()
    assert _told(roster) == [
        ("staff.csv!D2", "the password has 6 characters"),
        ("staff.csv!A3", "the name is empty"),
        ("staff.csv!F3", 'the quota "5 GB" is not a whole number'),
        ("staff.csv!D3", "the password has spaces or characters beyond ASCII"),
        ("staff.csv!B4", 'the account "c..d@x.example" has two dots in a row'),
        ("staff.csv!E4", 'the department "Sales//West" has an empty name in it'),
        ("staff.csv!D4", "the password is too simple"),
        ("staff.csv!B5", 'the account "dora" is not a mail address'),
        ("staff.csv!E5", 'the department "/" has an empty name in it'),
        ("staff.csv!D5", "the password is not complete after env:"),
        ("staff.csv!A6", f'the name "{"E" * 60}…" is longer than 100 characters'),
        ("staff.csv!A7", 'the name "Fr\\x1b[1med" has control characters or line ends in it'),
        ("staff.csv!B7", 'the account "-f@x.example" cannot be an account'),
        ("groups.csv!C3", 'the members "no" is not a mail address'),
        ("groups.csv!C3", 'the members "address" is not a mail address'),
        (
            "groups.csv!A3",
            'the group name "Other" is another one than "All" in groups.csv!B2, for the same group',
        ),
        ("staff.csv!C3", 'the employee number "1" stands in staff.csv!C2 already'),
        ("staff.csv!B6", 'the address "ANNA@x.example" stands in staff.csv!B2 already'),
        ("staff.csv!H6", 'the address "anna@x.example" stands in staff.csv!B2 already'),
        ("groups.csv!B4", 'the address "bob@x.example" stands in staff.csv!B3 already'),
        ("staff.csv!E3", 'the department "sales" is spelt "Sales" in staff.csv!E2'),
        ("staff.csv!G3", 'the manager "nobody@x.example" is nobody'),
        ("groups.csv!C2", 'the member "ghost@x.example" is nobody'),
    ]
    assert "S3cret" not in repr(roster) + repr(roster.faults)
    with pytest.raises(InputError) as caught:
        read_directory(staff, lists)
    assert len(caught.value.faults) == len(roster.faults)
    assert str(caught.value) == "the employees and groups have 23 faults"


_text = st.text(max_size=12) | st.sampled_from(["a@x.example", "=1+1", "#", "A/B", "env:", "5120", ""])
_rows = st.lists(st.lists(_text, max_size=11), max_size=5)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(rows=_rows, octets=st.binary(max_size=40), chinese=st.booleans())
def test_whatever_a_file_holds_gives_rows_or_faults(
    tmp_path: Path, rows: list[list[str]], octets: bytes, chinese: bool
) -> None:
    """Nothing else is raised, and what has no fault can be planned."""
    path = tmp_path / "any.csv"
    text = _csv([HEADINGS["zh" if chinese else "en"], *rows])
    path.write_bytes(text.encode("utf-8", "surrogatepass") + octets)
    for files in ((path, None), (None, path)):
        roster = scan_directory(*files)
        roster.nobodies()
        assert roster.faults or roster.employees or roster.groups
        if not roster.faults:
            plan(roster.wish().directory, Directory())


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (42, '"42" was turned into a number'),
        (13800138000.0, '"13800138000" was turned into a number'),
        (datetime.datetime(2026, 3, 1), '"2026-03-01 00:00:00" was turned into a date'),
        ("=HYPERLINK(A1)", '"=HYPERLINK(A1)" is a formula'),
        (True, '"True" was turned into TRUE or FALSE'),
    ],
)
@pytest.mark.parametrize("column", ["name", "account", "employee number", "department", "mobile", "aliases"])
def test_what_excel_made_of_a_cell_is_a_fault(tmp_path: Path, value: object, told: str, column: str) -> None:
    """A staff number of digits may have lost its zeros; the value is shown, so that it is found."""
    headings = ["name", "account", "employee number", "department", "mobile", "aliases"]
    row: list[object] = ["A", "a@x.example", None, None, None, None]
    row[headings.index(column)] = value
    path = _sheet(tmp_path / "staff.xlsx", [headings, row])
    cell = f"staff.xlsx Sheet!{'ABCDEF'[headings.index(column)]}2"
    assert (cell, f"the {column} {told}") in _told(scan_directory(path))


def test_what_excel_made_of_a_password_is_not_shown(tmp_path: Path) -> None:
    """Its digits are the password."""
    path = _sheet(tmp_path / "staff.xlsx", [["name", "account", "password"], ["A", "a@x.example", 12345678]])
    roster = scan_directory(path)
    assert _told(roster) == [("staff.xlsx Sheet!C2", "the password was turned into a number")]
    assert "12345678" not in repr(roster)


def test_a_quota_may_be_a_number(tmp_path: Path) -> None:
    """It is one."""
    path = _sheet(tmp_path / "staff.xlsx", [["name", "account", "quota"], ["A", "a@x.example", 5120]])
    assert read_directory(path).employees[0].employee.quota == 5120
    path = _sheet(tmp_path / "staff.xlsx", [["name", "account", "quota"], ["A", "a@x.example", 1.5]])
    assert _told(scan_directory(path)) == [
        ("staff.xlsx Sheet!C2", 'the quota "1.5" was turned into a number')
    ]


def test_accounts_may_be_written_without_the_domain(tmp_path: Path) -> None:
    """Where it is told; members and managers as well."""
    staff = _sheet(
        tmp_path / "s.csv", [["name", "account", "manager"], ["A", "a", ""], ["B", "b@y.example", "a"]]
    )
    lists = _sheet(
        tmp_path / "g.csv", [["group name", "group address", "members"], ["G", "g", "a;b@y.example"]]
    )
    roster = read_directory(staff, lists, "x.example")
    assert [row.employee.address for row in roster.employees] == ["a@x.example", "b@y.example"]
    assert roster.employees[1].employee.manager == "a@x.example"
    assert roster.groups[0].group == Group(
        "g@x.example", "G", members=frozenset({"a@x.example", "b@y.example"})
    )


def test_a_group_may_have_a_row_for_each_member(tmp_path: Path) -> None:
    """The rows of one address are one group."""
    rows = [
        ["group name", "group address", "members", "owners"],
        ["G", "g@x.example", "a@x.example", "a@x.example"],
        ["", "G@x.example", "b@x.example", ""],
    ]
    people = frozenset({"a@x.example", "b@x.example"})
    (group,) = scan_directory(None, _sheet(tmp_path / "g.csv", rows)).groups
    assert group.group == Group("g@x.example", "G", frozenset({"a@x.example"}), people)


def test_who_is_there_already_is_somebody(tmp_path: Path) -> None:
    """A member need not be in the roster when the service has the address."""
    staff = _sheet(
        tmp_path / "s.csv", [["name", "account", "manager"], ["A", "a@x.example", "ceo@x.example"]]
    )
    roster = scan_directory(staff)
    roster.nobodies(["CEO@x.example"])
    assert roster.faults == []


def test_one_workbook_may_hold_both_sheets(tmp_path: Path) -> None:
    """Each kind finds its own."""
    workbook = openpyxl.Workbook()
    for title, rows in (
        ("Groups", [["group name", "group address", "members"], ["G", "g@x.example", "a@x.example"]]),
        ("Staff", [["account", "name"], ["a@x.example", "A"]]),
    ):
        sheet = workbook.create_sheet(title)
        for row in rows:
            sheet.append(row)
    workbook.save(tmp_path / "all.xlsx")
    roster = read_directory(tmp_path / "all.xlsx", tmp_path / "all.xlsx")
    assert [row.employee.name for row in roster.employees] == ["A"]
    assert [row.group.name for row in roster.groups] == ["G"]


def test_a_missing_or_empty_file_is_told(tmp_path: Path) -> None:
    """So is a sheet without its columns, or without rows."""
    assert "cannot be read" in scan_directory(tmp_path / "none.csv").faults[0].message
    path = _sheet(tmp_path / "s.csv", [["name", "mobile"], ["A", "1"]])
    assert _told(scan_directory(path)) == [("s.csv row 1", "there is no column for the account")]
    path = _sheet(tmp_path / "s.csv", [["name", "account"]])
    assert scan_directory(path).faults[0].message == "there is no employee in it"


def test_an_empty_cell_wishes_nothing(tmp_path: Path) -> None:
    """What the service has stays."""
    path = _sheet(
        tmp_path / "s.csv", [["name", "account", "mobile", "department"], ["A", "a@x.example", "", ""]]
    )
    there = Directory.of([Employee("a@x.example", "A", mobile="1", department=("D",))])
    assert plan(read_directory(path).wish().directory, there).waves == ()


@pytest.mark.parametrize("suffix", ["csv", "xlsx"])
@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("sheet", ["employees", "groups"])
def test_a_template_is_a_roster_without_rows(
    tmp_path: Path, suffix: str, language: Literal["en", "zh"], sheet: Sheet
) -> None:
    """Its notes and its example are read as nothing, and filled in it gives what was typed."""
    path = tmp_path / f"roster.{suffix}"
    write_template(path, language, sheet)
    files = (path, None) if sheet == "employees" else (None, path)
    roster = scan_directory(*files)
    assert [fault.message for fault in roster.faults] == [f"there is no {sheet[:-1]} in it"]
    assert roster.remarks == []
    row = ANNA if sheet == "employees" else ["G", "g@x.example", "a@x.example", "a@x.example"]
    _append(path, row)
    roster = scan_directory(*files)
    assert (roster.faults, roster.remarks) == ([], [])
    things = [row.employee for row in roster.employees] + [row.group for row in roster.groups]
    assert (
        things == [FOUND[0]]
        if sheet == "employees"
        else [Group("g@x.example", "G", *[frozenset({"a@x.example"})] * 2)]
    )


def _append(path: Path, row: Sequence[str]) -> None:
    if path.suffix == ".csv":
        with path.open("a", encoding="utf-8", newline="") as file:
            csv.writer(file).writerow(row)
        return
    workbook = openpyxl.load_workbook(path)
    sheet = workbook.worksheets[0]
    for column, text in enumerate(row, 1):
        cell = sheet.cell(sheet.max_row + (column == 1), column, text)
        cell.data_type = "s"
    workbook.save(path)


def test_a_template_warns_of_what_is_no_address(tmp_path: Path) -> None:
    """A spreadsheet program checks the cells below the example, and lets the user go on."""
    write_template(tmp_path / "e.xlsx", "zh", "employees")
    sheet = openpyxl.load_workbook(tmp_path / "e.xlsx").worksheets[0]
    (check,) = sheet.data_validations.dataValidation
    first = len(TEMPLATES["employees"].notes["zh"]) + 3
    assert str(check.sqref).startswith(f"B{first}:B")
    assert (check.formula1, check.errorStyle) == (f'ISNUMBER(FIND("@",B{first}))', "warning")
