"""Slips in a roster that nobody sees on the screen: each is named with its cell, and none is passed over."""

from __future__ import annotations

from pathlib import Path

import openpyxl
import pytest

from alimail_core.sheets.roster import address_fault, scan_roster

HEADINGS = "source,target"
ROW = "anna@old.example,anna@new.example"


@pytest.mark.parametrize(
    ("address", "fault"),
    [
        ("anna＠old.example", "has a full-width ＠ in it"),
        ("anna@old。example", "has a full-width 。 in it"),
        ("anna@old．example", "has a full-width ． in it"),
        ("ａnna@old.example", "has a full-width ａ in it"),
        ("an na@old.example", "has a space in it"),
        ("anna\u3000@old.example", "has a space in it"),
        ("anna@old.example\u200b", "has an invisible character in it (U+200B)"),
        ("\u202aanna@old.example", "has an invisible character in it (U+202A)"),
    ],
)
def test_what_cannot_be_seen_in_an_address_is_named(address: str, fault: str) -> None:
    """A keyboard or a copied cell leaves characters behind that look right."""
    told = address_fault(address)
    assert told is not None
    assert told[0] == fault
    assert told[1]


def test_addresses_in_chinese_are_addresses() -> None:
    """Only what looks like ASCII, and is not, is refused."""
    assert address_fault("王伟@例子.中国") is None


def test_a_cell_without_a_heading_is_told(tmp_path: Path) -> None:
    """Most often a comma in a password has cut it in two; neither half is shown."""
    path = tmp_path / "roster.csv"
    path.write_text(
        f"{HEADINGS},target password\n{ROW},S3c,ret\n# a note,of somebody,,and more\n{ROW[1:]},fine\n"
    )
    path.chmod(0o600)
    warnings = [each for each in scan_roster(path).remarks if each.level == "warning"]
    assert [each.text for each in warnings] == ["no heading is above this, and it is not read: roster.csv!D2"]
    assert "quotation marks" in warnings[0].remedy


@pytest.mark.parametrize("odd", [False, True])
def test_merged_rows_are_told(odd: bool, tmp_path: Path) -> None:
    """A wave that is merged over two accounts counts for the first one alone. A merged title is no matter."""
    book = openpyxl.Workbook()
    book.create_sheet("Notes").merge_cells("A1:A9")
    sheet = book.active
    assert sheet is not None
    sheet.title = "People"
    for row in (["All of them"], ["source", "target", "wave", "left"]):
        sheet.append(row)
    sheet.append(
        ["anna@old.example", "anna@new.example", "1", 0.5 if odd else None]
    )  # openpyxl reads fractions
    sheet.append(["bert@old.example", "bert@new.example"])
    sheet.merge_cells("A1:C1")
    sheet.merge_cells("C3:C4")
    book.save(tmp_path / "roster.xlsx")
    roster = scan_roster(tmp_path / "roster.xlsx")
    assert [row.wave for row in roster.rows] == [1, None]
    assert [each.text for each in roster.remarks if each.level == "warning"] == [
        "roster.xlsx People!C3:C4 is merged: only its first row has it"
    ]
