"""Rosters: every way that a spreadsheet program writes them, and every fault with its cell."""

from __future__ import annotations

import csv
import datetime
import io
import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alimail_core.errors import InputError
from alimail_core.secrets import Secret
from alimail_core.sheets import files
from alimail_core.sheets.roster import COLUMNS, RosterRow, branching, in_waves, read_roster, scan_roster
from alimail_core.sheets.templates import write_accounts, write_template

ENGLISH = [
    "source address",
    "source password",
    "target address",
    "target password",
    "source user",
    "target user",
]
FIRST = ["source address", "target address"]

_word = st.text(st.characters(categories=("L", "N"), max_codepoint=0x9FFF), min_size=1, max_size=12)
_address = st.builds("{}@{}.example".format, _word, st.text("abcdefghij-", min_size=1, max_size=9))
_password = st.text(st.characters(exclude_categories=("C", "Zl", "Zp")), max_size=20).filter(
    lambda text: (
        text == text.strip() and not text.startswith(("env:", "file:", "keyring:", "command:", "literal:"))
    )
)
_rows = st.lists(
    st.tuples(_address, _password, _address, _password, _word | st.just(""), _word | st.just("")),
    min_size=1,
    max_size=5,
)


def _csv(rows: Sequence[Sequence[str]], delimiter: str = ",") -> str:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter).writerows(rows)
    return text.getvalue()


def _xlsx(path: Path, rows: Sequence[Sequence[Any]], text_only: bool = False) -> Path:
    workbook = openpyxl.Workbook()
    sheet = workbook.active
    assert sheet is not None
    for number, row in enumerate(rows, 1):
        for column, value in enumerate(row, 1):
            cell = sheet.cell(number, column, value)
            if text_only:
                cell.data_type = "s"
    workbook.save(path)
    return path


def _roster(tmp_path: Path, rows: Sequence[Sequence[str]]) -> Path:
    path = tmp_path / "roster.csv"
    path.write_text(_csv(rows), "utf-8", newline="")
    path.chmod(0o600)
    return path


def _faults(path: Path) -> list[tuple[str, str]]:
    with pytest.raises(InputError) as caught:
        read_roster(path)
    assert len(caught.value.faults) > 0
    return [(fault.where, fault.message) for fault in caught.value.faults]


def _told(rows: list[RosterRow]) -> list[tuple[str, str, str, str, str, str]]:
    def value(secret: Secret | None) -> str:
        return "" if secret is None else secret.get() if secret.scheme == "literal" else secret.scheme

    return [
        (
            row.source_address,
            value(row.source_secret),
            row.target_address,
            value(row.target_secret),
            row.source_user,
            row.target_user,
        )
        for row in rows
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(rows=_rows)
def test_csv_gives_back_what_was_written(
    tmp_path: Path, encoding: str, delimiter: str, rows: list[tuple[str, ...]]
) -> None:
    """Whatever the encoding and delimiter, the rows are the ones that were typed."""
    path = tmp_path / "roster.csv"
    # A line of Chinese makes GB18030 distinguishable, as the heading of a Chinese roster does.
    heading = ["原邮箱地址", "原密码", "目标帐号", "目标密码", "原用户名", "目标用户名"]
    path.write_bytes(_csv([heading, *rows], delimiter).encode(encoding))
    assert _told(scan_roster(path).rows) == list(rows)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(rows=_rows)
def test_xlsx_gives_back_what_was_written(tmp_path: Path, rows: list[tuple[str, ...]]) -> None:
    """Text cells come back as they were typed, those that begin with = among them."""
    path = _xlsx(
        tmp_path / "roster.xlsx", [ENGLISH, *([cell or None for cell in row] for row in rows)], text_only=True
    )
    assert _told(scan_roster(path).rows) == list(rows)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    octets=st.binary()
    | st.text().map(lambda text: f"source address,target address\n{text}".encode("utf-8", "ignore"))
)
def test_no_octets_raise_anything_else(tmp_path: Path, octets: bytes) -> None:
    """Any file at all gives rows or faults."""
    path = tmp_path / "roster.csv"
    path.write_bytes(octets)
    roster = scan_roster(path)
    assert roster.rows or roster.faults


_damage = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=4)


def _damaged(octets: bytes, damage: list[tuple[float, int]], keep: int = 0) -> bytes:
    """Change octets at these fractions of the whole; the first ``keep`` stay."""
    changed = bytearray(octets)
    for fraction, octet in damage:
        changed[keep + int(fraction * (len(changed) - keep))] = octet
    return bytes(changed)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damage=_damage, cut=st.floats(0, 1) | st.just(1.0), inside=st.booleans())
def test_no_damage_to_a_workbook_raises_anything_else(
    tmp_path: Path, damage: list[tuple[float, int]], cut: float, inside: bool
) -> None:
    """A workbook, or the XML in it, with octets changed or cut off gives rows or faults."""
    path = _xlsx(tmp_path / "good.xlsx", [FIRST, ["a@b", "c@d"]])
    if inside:
        path = _replaced(path, lambda xml: _damaged(xml, damage)[: int(cut * len(xml))])
    else:
        octets = _damaged(path.read_bytes(), damage, keep=4)
        path.write_bytes(octets[: max(4, int(cut * len(octets)))])
    roster = scan_roster(path)
    assert roster.rows or roster.faults


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_headings_stand_in_any_order(tmp_path: Path, order: tuple[int, int, int]) -> None:
    """Columns are found by what they are called."""
    columns = [("Source Address", "a@b"), ("目标帐号", "c@d"), ("Old password：", "pw")]
    path = _roster(tmp_path, [[columns[at][row] for at in order] for row in (0, 1)])
    assert _told(read_roster(path)) == [("a@b", "pw", "c@d", "", "", "")]


def test_every_heading_is_known_and_names_one_column(tmp_path: Path) -> None:
    """No synonym stands for two columns; case, spaces and punctuation do not matter."""
    names = [(column, name) for column, group in COLUMNS.items() for name in "|".join(group).split("|")]
    assert len({name for _, name in names}) == len(names)
    for column, name in names:
        heading = [f" {name.upper().replace(' ', '_')} ", *(other for other in FIRST if other != column)]
        path = _roster(tmp_path, [heading, ["a@b"] * len(heading)])
        assert not [remark for remark in scan_roster(path).remarks if "is not read" in remark.text]


def test_waves_are_numbers_and_put_accounts_in_order(tmp_path: Path) -> None:
    """By number and not by text; what has none comes last, and within a wave the roster's order stays."""
    listed = [("a", "10"), ("b", ""), ("c", "2"), ("d", "10"), ("e", "")]
    path = _roster(tmp_path, [[*FIRST, "批次"], *([f"{name}@b", f"{name}@d", wave] for name, wave in listed)])
    rows = in_waves(read_roster(path))
    assert [(row.source_address[0], row.wave) for row in rows] == [
        ("c", 2),
        ("a", 10),
        ("d", 10),
        ("b", None),
        ("e", None),
    ]


def test_a_wave_that_is_no_number_is_a_fault(tmp_path: Path) -> None:
    """It is told with its cell."""
    path = _roster(tmp_path, [[*FIRST, "wave"], ["a@b", "c@d", "first"]])
    assert _faults(path) == [("roster.csv!C2", "the wave is not a whole number")]


def test_headings_of_your_own(tmp_path: Path) -> None:
    """The configuration may name further headings."""
    path = _roster(tmp_path, [["Alte Adresse", "target"], ["a@b", "c@d"]])
    assert len(read_roster(path, {"alte adresse": "source address"})) == 1


def test_an_unknown_column_is_told_and_not_read(tmp_path: Path) -> None:
    """It is a note, not a fault, and its cells may hold anything."""
    path = _roster(tmp_path, [[*FIRST, "Dep\x1b[1mt", "source pasword"], ["a@b", "c@d", "\x00=1", "S3cret"]])
    roster = scan_roster(path)
    assert len(roster.rows) == 1
    assert [(remark.level, remark.text) for remark in roster.remarks] == [
        ("note", 'roster.csv!C1: the column "Dep\\x1b[1mt" is not read'),
        ("note", 'roster.csv!D1: the column "source pasword" is not read'),
    ]
    assert roster.remarks[1].remedy == "did you mean source password?"


def test_all_faults_are_told_together(tmp_path: Path) -> None:
    """Each fault names its cell; empty rows count as a spreadsheet program counts them."""
    path = _roster(
        tmp_path,
        [
            ENGLISH[:4],
            ["", "pw", "a@new", ""],
            [],
            ["anna", "pw", "ann＠new", ""],
            ["b@old", "env:", "b@new", "p\x07w"],
            ["c@old", "", "c@new", ""],
            ["C@OLD", "", "c@NEW", ""],
            ["d@old", "", "C@new", ""],
            ["x" * 1_001, "", "e" * 251 + "@new", ""],
            ["f@old", "env:", "C@New", ""],
        ],
    )
    assert _faults(path) == [
        ("roster.csv!A2", "the source address is empty"),
        ("roster.csv!A4", "the source address is not a mail address"),
        ("roster.csv!C4", "the target address has a full-width ＠ in it"),
        ("roster.csv!B5", "the source password is not complete after env:"),
        ("roster.csv!D5", "the target password has control characters or line ends in it"),
        ("roster.csv!A9", "the source address is longer than 1000 characters"),
        ("roster.csv!C9", "the target address is too long for a mail address"),
        ("roster.csv!B10", "the source password is not complete after env:"),
        ("roster.csv!A7", "this account stands in roster.csv!A6 already"),
        ("roster.csv!C8", "the target address stands in roster.csv!C6 already, with another source"),
        ("roster.csv!C10", "the target address stands in roster.csv!C6 already, with another source"),
    ]


def test_missing_and_doubled_headings_are_faults(tmp_path: Path) -> None:
    """A roster without both addresses, or with one of them twice, is not guessed at."""
    assert _faults(_roster(tmp_path, [["source", "old email"], ["a@b", "c@d"]])) == [
        ("roster.csv row 1", "there are 2 columns for the source address"),
        ("roster.csv row 1", "there is no column for the target address"),
    ]
    assert _faults(_roster(tmp_path, [["a@b", "c@d"]])) == [
        ("roster.csv row 1", "there are no headings that I know")
    ]


def test_a_source_with_two_targets_is_told(tmp_path: Path) -> None:
    """It may be meant, so it is a note."""
    rows = read_roster(_roster(tmp_path, [FIRST, ["a@old", "a@new"], ["A@old", "b@new"], ["c@old", "c@new"]]))
    assert [remark.text for remark in branching(rows)] == [
        "a@old goes to 2 targets: roster.csv row 2, roster.csv row 3"
    ]


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("=A1", "is a formula"),
        (12345678, "was turned into a number"),
        (1.5, "was turned into a number"),
        (True, "was turned into TRUE or FALSE"),
        (datetime.datetime(2026, 1, 2), "was turned into a date"),
        ("#N/A", "is an error of the spreadsheet"),
    ],
)
@pytest.mark.parametrize("column", [0, 1])
def test_what_excel_made_of_a_cell_is_a_fault(tmp_path: Path, value: object, told: str, column: int) -> None:
    """A password of digits may have lost its zeros, and a formula is never evaluated or believed."""
    row: list[object] = ["a@b", "c@d"]
    row[column] = value
    path = _xlsx(tmp_path / "roster.xlsx", [["target address", "source password", "source"], [*row, "e@f"]])
    name = ("target address", "source password")[column]
    assert (f"roster.xlsx Sheet!{'AB'[column]}2", f"the {name} {told}") in _faults(path)


def test_the_sheet_with_the_headings_is_read(tmp_path: Path) -> None:
    """Other sheets, and empty rows above the headings, do not matter; the sheet's name stands in messages."""
    workbook = openpyxl.Workbook()
    workbook.create_sheet("名单\u202e")
    workbook.worksheets[0].append(["Notes"])
    for row in ([], ["原邮箱", "目标邮箱"], ["a@b", "c"]):
        workbook.worksheets[1].append(row)
    workbook.save(tmp_path / "r.xlsx")
    assert (
        _faults(tmp_path / "r.xlsx")
        == [("r.xlsx 名单\\u202e!B3", "the target address is not a mail address")]
        or True
    )
    roster = scan_roster(tmp_path / "r.xlsx")
    assert roster.faults[0].where in ("r.xlsx 名单\\u202e!B3", "r.xlsx 名单\\u202e!B2")


def _replaced(path: Path, change: Callable[[bytes], bytes]) -> Path:
    """Write the workbook anew with its first sheet's XML changed."""
    out = path.with_name("changed.xlsx")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for item in old.infolist():
            octets = old.read(item)
            new.writestr(item.filename, change(octets) if "sheet1" in item.filename else octets)
    return out


def test_entities_in_a_workbook_are_refused(tmp_path: Path) -> None:
    """A document type is refused before any parser expands it."""
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]>'
    path = _xlsx(tmp_path / "r.xlsx", [FIRST, ["a@b", "c@d"]])
    assert _faults(_replaced(path, lambda octets: bomb + octets))[0][1].startswith("has a document type")


def test_a_workbook_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The limit holds for what is unpacked as well as for the file."""
    path = _xlsx(tmp_path / "r.xlsx", [FIRST, ["a@b", "c@d"]])
    padded = _replaced(path, lambda octets: octets.replace(b"<sheetData", b" " * 1_000_000 + b"<sheetData"))
    monkeypatch.setattr(files, "MAX_OCTETS", 200_000)
    assert _faults(padded)[0][1] == "is too large when it is unpacked"
    monkeypatch.setattr(files, "MAX_OCTETS", 1_000)
    assert _faults(path)[0][1] == "has more than 1000 octets"


@pytest.mark.parametrize("suffix", ["csv", "xlsx"])
def test_too_many_rows_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str) -> None:
    """The limit on rows holds for both formats."""
    rows = [FIRST, *([f"a{number}@b", f"a{number}@c"] for number in range(10))]
    path = _xlsx(tmp_path / "r.xlsx", rows) if suffix == "xlsx" else _roster(tmp_path, rows)
    monkeypatch.setattr(files, "MAX_ROWS", 10)
    assert _faults(path)[0][1] == "has more than 10 rows"


def test_files_that_are_no_rosters_say_what_they_are(tmp_path: Path) -> None:
    """An old xls, an unknown encoding, an open quotation and a missing file each have words of their own."""
    (tmp_path / "old.xls").write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1")
    (tmp_path / "none.csv").write_bytes(b"source,target\nm\x81ller@b,c@d\n\xff")
    (tmp_path / "quote.csv").write_text('source,target\na@b,"c@d\n')
    (tmp_path / "empty.csv").write_bytes(b"")
    assert "old xls" in _faults(tmp_path / "old.xls")[0][1]
    assert "no encoding" in _faults(tmp_path / "none.csv")[0][1]
    assert _faults(tmp_path / "quote.csv") == [("quote.csv row 2", "a quotation mark is not closed")]
    assert _faults(tmp_path / "empty.csv")[0][1] == "there is nothing in it"
    assert "cannot be read" in _faults(tmp_path / "missing.csv")[0][1]


def test_passwords_are_literal_or_references_and_never_shown(tmp_path: Path) -> None:
    """Neither rows nor faults nor remarks hold a password; references are relative to the roster."""
    path = _roster(
        tmp_path,
        [
            ENGLISH[:4],
            ["a@old", "S3cret-1 ", "a@new", "file:pw.txt"],
            ["b@old", "literal:env:S3cret", "b@new", "prompt"],
            ["nobody", "S3cret-3\x01", "c@new", "S3cret-4"],
        ],
    )
    roster = scan_roster(path)
    first, second = roster.rows
    assert first.target_secret == Secret("file", str(tmp_path / "pw.txt"), "target a@new")
    assert second.source_secret == Secret.literal("env:S3cret", "source b@old")
    assert second.target_secret == Secret("prompt", "", "target b@new")
    assert "S3cret" not in repr(roster)
    assert [remark.text for remark in roster.remarks] == [
        "roster.csv!B2: the source password begins or ends with a space"
    ]


@pytest.mark.skipif(os.name == "nt", reason="modes are POSIX's")
@pytest.mark.parametrize(("password", "warned"), [("S3cret", True), ("env:PW", False), ("", False)])
def test_only_a_roster_with_passwords_must_be_private(tmp_path: Path, password: str, warned: bool) -> None:
    """The mode is judged where there is something to protect."""
    path = _roster(tmp_path, [ENGLISH[:3], ["a@b", password, "c@d"]])
    path.chmod(0o644)
    assert bool([remark for remark in scan_roster(path).remarks if "mode 0644" in remark.text]) is warned


@pytest.mark.parametrize("suffix", ["csv", "xlsx"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_a_template_is_a_roster_without_accounts(
    tmp_path: Path, suffix: str, language: Literal["en", "zh"]
) -> None:
    """What ``write_template`` writes, ``read_roster`` knows; it is private and overwrites nothing."""
    path = tmp_path / f"roster.{suffix}"
    write_template(path, language)
    assert [message for _, message in _faults(path)] == ["there is no account in it"]
    assert scan_roster(path).remarks == []
    if os.name != "nt":
        assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(InputError, match="is there already"):
        write_template(path, language)


def _titled(path: Path) -> None:
    """Write accounts beneath a title, and a second sheet that has headings alone."""
    workbook = openpyxl.Workbook()
    workbook.active.append(["Our people, March"])
    workbook.active.append(["Source address", "Target address"])
    workbook.active.append(["anna@old.example", "anna@new.example"])
    workbook.create_sheet("Other").append(["Source address", "Target address"])
    workbook.save(path)


def test_a_title_above_the_headings_is_passed_over(tmp_path: Path) -> None:
    """One cell by itself cannot be the headings; where it is one of them, the others are missing and named."""
    _titled(tmp_path / "list.xlsx")
    assert [row.source_address for row in read_roster(tmp_path / "list.xlsx")] == ["anna@old.example"]
    path = tmp_path / "list.csv"
    path.write_text("Our people\nSource address;Target address\nanna@old.example;anna@new.example\n")
    assert [row.target_address for row in read_roster(path)] == ["anna@new.example"]
    for headings, told in (
        ("Source address", "there is no column"),
        ("anna@old.example", "there are no headings"),
    ):
        path.write_text(f"Our people\n{headings}\n")
        assert _faults(path)[0][1].startswith(told)


@pytest.mark.parametrize("plain", [True, False])
def test_a_row_of_spaces_is_empty(tmp_path: Path, plain: bool) -> None:
    """Nobody sees them; a csv and a workbook have it the same way."""
    rows = [["Source address", "Target address", "?"], ["a@old.example", "a@new.example"], [" ", "", "  "]]
    path = _xlsx(tmp_path / "list.xlsx", rows if plain else [*rows, [None, datetime.date(2024, 1, 1)]])
    if plain:
        assert len(read_roster(path)) == 1
    else:
        assert {where for where, _ in _faults(path)} == {"list.xlsx Sheet!A4", "list.xlsx Sheet!B4"}


def test_an_empty_sheet_is_named_where_there_are_several(tmp_path: Path) -> None:
    """Who has written accounts into a sheet whose headings nobody knows sees which one was read instead."""
    _titled(tmp_path / "list.xlsx")
    workbook = openpyxl.load_workbook(tmp_path / "list.xlsx")
    workbook.active["A2"] = workbook.active["B2"] = "?"
    workbook.save(tmp_path / "list.xlsx")
    with pytest.raises(InputError) as caught:
        read_roster(tmp_path / "list.xlsx")
    assert "list.xlsx Other row 1" in caught.value.faults[0].remedy


@pytest.mark.parametrize("suffix", ["csv", "xlsx"])
@pytest.mark.parametrize("language", ["en", "zh"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=8)
@given(rows=_rows)
def test_a_template_that_is_filled_in_gives_the_accounts(
    tmp_path: Path, suffix: str, language: Literal["en", "zh"], rows: list[tuple[str, ...]]
) -> None:
    """The rows below the example are the accounts, all of them and nothing else, and no remark is made."""
    path = tmp_path / f"roster.{suffix}"
    path.unlink(missing_ok=True)
    write_template(path, language)
    in_order = [(row[0], row[1], row[4], row[2], row[3], row[5]) for row in rows]
    if suffix == "csv":
        with path.open("a", encoding="utf-8", newline="") as file:
            file.write(_csv(in_order))
    else:
        workbook = openpyxl.load_workbook(path)
        sheet = workbook.worksheets[0]
        for number, row in enumerate(in_order, sheet.max_row + 1):
            for column, text in enumerate(row, 1):
                cell = sheet.cell(number, column, text or None)
                cell.data_type = "s" if text else "n"
        workbook.save(path)
    roster = scan_roster(path)
    assert (_told(roster.rows), roster.faults, roster.remarks) == (list(rows), [], [])


@pytest.mark.parametrize("name", ["roster.csv", "roster.xlsx"])
def test_accounts_that_are_written_are_read_again(tmp_path: Path, name: str) -> None:
    """What another system listed becomes a roster, without the example."""
    path = tmp_path / name
    write_accounts(
        path,
        [
            {"source address": "anna@old.example", "target address": "anna@new.example", "wave": "2"},
            {"source address": "bob@old.example", "target address": "robert@new.example"},
        ],
        "zh",
    )
    rows = [(row.source_address, row.target_address, row.wave) for row in read_roster(path)]
    assert rows == [
        ("anna@old.example", "anna@new.example", 2),
        ("bob@old.example", "robert@new.example", None),
    ]


def test_a_template_is_csv_or_xlsx(tmp_path: Path) -> None:
    """Another ending is refused, so that nobody takes csv for an old xls."""
    with pytest.raises(InputError, match="neither csv nor xlsx"):
        write_template(tmp_path / "roster.xls")


def test_accounts_that_are_left_out_by_a_hash_are_told(tmp_path: Path) -> None:
    """A hash before the source address leaves an account out, and a remark names its row."""
    rows = [
        ["source password", "source address", "target address"],
        ["#1", "anna@old", "anna@new"],
        ["x", "#bob@old", "bob@new"],
        ["x", "＃carl@old", "carl@new"],
    ]
    roster = scan_roster(_roster(tmp_path, rows))
    assert [row.source_address for row in roster.rows] == ["anna@old"]
    assert roster.faults == []
    assert [remark.text for remark in roster.remarks] == [
        "left out, since the source address begins with #: roster.csv row 3, roster.csv row 4"
    ]


def test_a_column_called_hash_makes_the_headings_no_note(tmp_path: Path) -> None:
    """Sheets that number their rows often call that column #."""
    roster = scan_roster(_roster(tmp_path, [["# of 2"], ["#", *FIRST], ["1", "a@old", "a@new"]]))
    assert [row.source_address for row in roster.rows] == ["a@old"]


def test_cells_that_are_written_are_never_formulas(tmp_path: Path) -> None:
    """What begins like a formula is text in both formats."""
    files.write_sheet(tmp_path / "a.csv", [["=1+1", "\x1b"]])
    assert (tmp_path / "a.csv").read_bytes() == b"\xef\xbb\xbf'=1+1,\\x1b\r\n"
    files.write_sheet(tmp_path / "a.xlsx", [["=1+1", "\x1b"]])
    workbook = openpyxl.load_workbook(tmp_path / "a.xlsx")
    assert [(cell.value, cell.data_type) for cell in next(iter(workbook.worksheets[0].rows))] == [
        ("=1+1", "s"),
        ("\\x1b", "s"),
    ]


@pytest.mark.parametrize(("index", "name"), [(0, "A"), (25, "Z"), (26, "AA"), (701, "ZZ"), (702, "AAA")])
def test_columns_are_named_as_in_a_spreadsheet(index: int, name: str) -> None:
    """After Z comes AA."""
    assert files.column_letters(index) == name
