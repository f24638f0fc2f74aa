"""Workbooks of text and whole numbers are read as openpyxl reads them, and all others are left to it."""

from __future__ import annotations

import zipfile
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import openpyxl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from alimail_core.sheets.files import Row, _plain_worksheets, _worksheets, read_sheets

# Not what openpyxl itself takes for a formula, an error or an escape when it writes.
TEXTS = st.text(
    st.characters(exclude_categories=("Cc", "Cs"), exclude_characters="=#_\ufffe\uffff"),
    min_size=1,
    max_size=12,
)
VALUES = st.none() | TEXTS | st.integers(-(10**15) + 1, 10**15 - 1)


def save(path: Path, rows: list[list[object]]) -> Path:
    """Write rows as a spreadsheet program does."""
    workbook = openpyxl.Workbook()
    for row in rows:
        workbook.active.append(row)
    workbook.create_sheet("空的")
    workbook.save(path)
    return path


@given(st.lists(st.lists(VALUES, max_size=5), min_size=1, max_size=5))
@example([["a", " "], [" ", None]])
def test_text_and_numbers_are_read_as_openpyxl_reads_them(rows: list[list[object]]) -> None:
    """Whatever it is, with empty rows and cells between."""
    with TemporaryDirectory() as folder:
        path = save(Path(folder) / "list.xlsx", rows)
        assert _plain_worksheets(path) == list(_worksheets(path))


@pytest.mark.parametrize("value", [10**15, 1.5, True, date(2026, 1, 2), "=1+1", "#REF!", "a_x005F_b"])
def test_anything_else_is_left_to_openpyxl(tmp_path: Path, value: object) -> None:
    """One cell is enough."""
    path = save(tmp_path / "list.xlsx", [["source address", "target address"], ["a@x.example", value]])
    assert _plain_worksheets(path) == []
    [first, _] = read_sheets(path, len)
    assert first[1].cells[0].text == "a@x.example"


PARTS = {
    "xl/workbook.xml": """<workbook xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"
        xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships">
        <sheets><sheet name="名单" sheetId="1" r:id="rId1"/></sheets></workbook>""",
    "xl/_rels/workbook.xml.rels": """<Relationships
        xmlns="http://schemas.openxmlformats.org/package/2006/relationships">
        <Relationship Id="rId1" Target="/xl/worksheets/sheet1.xml"
          Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet"/>
        <Relationship Id="rId2" Target="sharedStrings.xml"
          Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/sharedStrings"/>
        <Relationship Id="rId3" Target="styles.xml"
          Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/styles"/>
        </Relationships>""",
    "xl/styles.xml": """<styleSheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">
        <numFmts count="1"><numFmt numFmtId="164" formatCode="yyyy"/></numFmts>
        <cellStyleXfs><xf numFmtId="14"/><xf numFmtId="14"/><xf numFmtId="14"/></cellStyleXfs>
        <cellXfs><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="1"/></cellXfs></styleSheet>""",
    "xl/sharedStrings.xml": """<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">
        <si><t xml:space="preserve"> plain </t></si>
        <si><r><t>in </t></r><r><rPr><b/></rPr><t>parts</t></r></si>
        <si><t>课</t><rPh sb="0" eb="1"><t>ke</t></rPh><phoneticPr fontId="1"/></si></sst>""",
    "xl/worksheets/sheet1.xml": """<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">
        <sheetData><row r="2"><c r="A2" t="s"><v>0</v></c><c r="C2" s="1"/><c r="AB2" t="s"><v>1</v></c></row>
        <row r="7"><c r="B7" t="s"><v>2</v></c><c r="C7" s="2"><v>7</v></c><c r="D7" s="1"/></row>
        </sheetData></worksheet>""",
}


def excel(path: Path, **changed: str) -> Path:
    """Write a workbook as Excel lays it out, but for the parts that are told otherwise."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in PARTS.items():
            archive.writestr(name, changed.get(Path(name).stem, part))
    return path


def told(sheets: list[list[Row]]) -> list[tuple[int, list[tuple[int, str]]]]:
    """Return the rows of the only sheet, with the cells that are not empty."""
    [rows] = sheets
    return [
        (row.number, [(place, cell.text) for place, cell in enumerate(row.cells) if cell.text])
        for row in rows
    ]


def test_shared_texts_are_read_with_their_parts(tmp_path: Path) -> None:
    """Fonts make no difference, pronunciations are no part of a text, and gaps stay gaps."""
    found = _plain_worksheets(excel(tmp_path / "list.xlsx"))
    assert told(found) == [(2, [(0, " plain "), (27, "in parts")]), (7, [(1, "课")])]
    assert found[0][0].where == "list.xlsx 名单 row 2"
    assert [cell.raw for cell in found[0][1].cells] == ["", "", "7"]


@pytest.mark.parametrize(
    ("part", "old", "new"),
    [
        ("sheet1", "<v>2</v>", "<v>3</v>"),
        ("sheet1", "<v>2</v>", "<v>-1</v>"),
        ("sheet1", 'r="B7"', 'r="B8"'),
        ("sheet1", 'r="AB2"', 'r="A2"'),
        ("sheet1", 'r="AB2"', 'r="ZZZ2"'),
        ("sheet1", 'row r="7"', 'row r="2"'),
        ("sheet1", 'row r="7"', 'row r="999999999"'),
        ("sheet1", "<v>2</v>", "<f>A2</f><v>2</v>"),
        ("sheet1", "<v>7</v>", "<v>7</v><v>8</v>"),
        ("sheet1", 's="2"', 's="1"'),
        ("sheet1", 's="2"', 's="3"'),
        ("styles", '"164"', '"1"'),
        ("sheet1", "</row>", "</raw>"),
        ("sharedStrings", "<t>课</t>", "<t/>"),
        ("workbook", "rId1", "rId2"),
        ("workbook.xml", "sheet1.xml", "sheet2.xml"),
        ("workbook.xml", "sharedStrings.xml", "sharedStrings.bin"),
    ],
)
def test_what_is_odd_is_left_to_openpyxl(tmp_path: Path, part: str, old: str, new: str) -> None:
    """Whatever does not look as it should is for openpyxl to read or to refuse."""
    [text] = [text for name, text in PARTS.items() if Path(name).stem == part]
    assert old in text
    assert _plain_worksheets(excel(tmp_path / "list.xlsx", **{part: text.replace(old, new)})) == []
