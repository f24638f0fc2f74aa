"""Rosters as spreadsheet programs really leave them: in older encodings, with numbers, with odd quotation marks."""

from __future__ import annotations

from pathlib import Path

import openpyxl
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from alimail_core.sheets import files
from alimail_core.sheets.files import SheetError, read_sheets
from alimail_core.sheets.roster import Roster, scan_roster

COMMON = "".join(
    bytes((row, column)).decode("gb2312", "ignore")
    for row in range(0xB0, 0xF8)
    for column in range(0xA1, 0xFF)
)
"""The common Chinese characters."""


def roster_of(tmp_path: Path, text: str, encoding: str) -> Roster:
    """Read a roster from a csv in an encoding."""
    (tmp_path / "roster.csv").write_bytes(text.encode(encoding))
    return scan_roster(tmp_path / "roster.csv")


def guesses(octets: bytes) -> tuple[str, list[str]]:
    """Return a text as it is read, and what is said of how."""
    text, guess = files._decode(octets)
    return text, guess.split()[:1]


WESTERN = "source,target,source user\nanna@old,anna@new,Müller\njose@old,jose@new,José Peña\n"
CHINESE = "原邮箱,目标邮箱,原用户名\nanna@old,anna@new,李娜\nrong@old,rong@new,朱镕基\n"


@pytest.mark.parametrize(
    ("text", "encoding", "told"),
    [
        (WESTERN, "latin-1", "Windows-1252"),
        (WESTERN, "utf-8", ""),
        (CHINESE, "gb18030", "GB18030"),
        (CHINESE, "utf-8-sig", ""),
        (CHINESE, "utf-16", ""),
        (WESTERN, "utf-16-le", "UTF-16 without the mark at its beginning"),
        (CHINESE, "utf-16-be", "UTF-16 without the mark at its beginning"),
    ],
)
def test_a_guessed_encoding_is_right_and_told(tmp_path: Path, text: str, encoding: str, told: str) -> None:
    """Umlauts stay umlauts, and whoever reads that it was a guess knows how to make it certain."""
    roster = roster_of(tmp_path, text, encoding)
    users = [line.split(",")[2] for line in text.splitlines()[1:]]
    assert ([row.source_user for row in roster.rows], roster.faults) == (users, [])
    remarks = [(remark.text.partition(" (")[0], remark.remedy) for remark in roster.remarks]
    what = f"roster.csv: it is not UTF-8, and was read as {told}"
    assert remarks == ([(what, "save it as UTF-8, or as xlsx, if names come out wrong")] if told else [])


def test_utf_16_that_is_cut_off_is_told() -> None:
    """Such as a download that broke: nothing is guessed of it."""
    with pytest.raises(SheetError, match="cut off"):
        guesses(WESTERN.encode("utf-16")[:-1])


@pytest.mark.slow
@given(
    st.text(st.sampled_from(COMMON), min_size=1), st.text(st.characters(min_codepoint=1, max_codepoint=0x7E))
)
def test_common_chinese_is_never_taken_for_anything_else(chinese: str, ascii: str) -> None:
    """However short, and whatever stands around it; but for what is UTF-8 as well, as two letters can be."""
    text = f"{ascii},{chinese},{ascii}"
    octets = text.encode("gb18030")
    assume(octets.decode("utf-8", "ignore").encode() != octets)
    assert guesses(octets) == (text, ["GB18030"])


@given(st.lists(st.tuples(st.sampled_from("äöüÄÖÜßéèêàçñøåæîõ"), st.sampled_from("aelnrst ,\n")), min_size=1))
def test_accents_beside_plain_letters_are_never_taken_for_chinese(pairs: list[tuple[str, str]]) -> None:
    """As they stand in names: an accented letter, then a plain one or the end of a word or cell."""
    text = "source,target\n" + "".join(f"M{accented}{plain}" for accented, plain in pairs)
    assert guesses(text.encode("cp1252")) == (text, ["Windows-1252"])


@pytest.mark.parametrize(
    ("text", "where", "told"),
    [
        ('source,target\na@b,"c@d\n', "row 2", "a quotation mark is not closed"),
        ('source,target\na@b,c@d\n"e@f,g@h\n' + "x\n" * 70_000, "row 3", "a quotation mark is not closed"),
        ('source,target\na@b,"c"@d\n', "row 2", "text follows a closing quotation mark"),
    ],
)
def test_quotation_marks_are_told_in_plain_words(tmp_path: Path, text: str, where: str, told: str) -> None:
    """With the row in which the cell begins, and how it is written."""
    [fault] = roster_of(tmp_path, text, "utf-8").faults
    assert (fault.where, fault.message) == (f"roster.csv {where}", told)
    assert '""' in fault.remedy


def test_waves_may_be_numbers_in_their_cells(tmp_path: Path) -> None:
    """Nobody formats 1 and 2 as text; what is no whole number is told as such, a formula as one."""
    workbook = openpyxl.Workbook()
    sheet = workbook.worksheets[0]
    sheet.append(["source", "target", "wave"])
    for number, wave in enumerate((1, 2.0, "3", None, 1.5, -1, "=A1", True)):
        sheet.append([f"a{number}@b", f"a{number}@d", wave])
    workbook.save(tmp_path / "roster.xlsx")
    roster = scan_roster(tmp_path / "roster.xlsx")
    assert [row.wave for row in roster.rows] == [1, 2, 3, None]
    assert [(fault.where.partition("!")[2], fault.message) for fault in roster.faults] == [
        ("C6", "the wave is not a whole number"),
        ("C7", "the wave is not a whole number"),
        ("C8", "the wave is a formula"),
        ("C9", "the wave was turned into TRUE or FALSE"),
    ]


def test_nobody_has_to_hear_of_a_guess(tmp_path: Path) -> None:
    """Who reads a sheet for its cells alone leaves that out."""
    (tmp_path / "a.csv").write_bytes("ä".encode("latin-1"))
    [[row]] = read_sheets(tmp_path / "a.csv", len)
    assert row.cells[0].text == "ä"
    (tmp_path / "b.csv").write_bytes(b"\x81\xff")
    with pytest.raises(SheetError, match="no encoding"):
        read_sheets(tmp_path / "b.csv", len)
