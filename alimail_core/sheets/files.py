"""Read and write plain tables, csv and xlsx, within limits and without trusting what is in them.

Cells come as the text that their author typed. A cell that a spreadsheet program has turned into something else,
a number, a date, a formula, comes with a fault instead of a guess.
"""

from __future__ import annotations

import csv
import io
import itertools
import os
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from xml.etree import ElementTree
from xml.parsers import expat

from attrs import field, frozen

from alimail_core.errors import Remark
from alimail_core.sheets.text_workbook import NotPlain, Value, merged, plain_sheets
from alimail_core.text import cell as safe_cell
from alimail_core.text import printable

MAX_ROWS: Final = 100_000
MAX_COLUMNS: Final = 200
MAX_OCTETS: Final = 64 * 1024 * 1024
"""The largest file, and what an xlsx may hold unpacked, in octets."""

_TEXT_FORMAT: Final = "@"
_RETYPE: Final = "format the column as text, then type it again"
_FAULTS: Final[Mapping[str, tuple[str, str]]] = {
    "f": ("is a formula", "paste its value instead"),
    "n": ("was turned into a number", _RETYPE),
    "d": ("was turned into a date", _RETYPE),
    "b": ("was turned into TRUE or FALSE", _RETYPE),
    "e": ("is an error of the spreadsheet", "mend the cell"),
}
"""What is wrong with a cell that is no text, and what to do, by its type in the file."""


class SheetError(Exception):
    """A file that is no table, or too large a one. Becomes a fault of the file."""

    def __init__(self, message: str, remedy: str = "", where: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.where = where


@frozen
class Cell:
    """One cell: its text, or what is wrong with it (``fault`` completes "the address ...")."""

    text: str
    fault: str = ""
    remedy: str = ""
    raw: str = field(default="", repr=False)
    """With a fault: what the cell holds, such as ``42`` or ``=A1``, for whoever may show it or can make use of it."""


_EMPTY: Final = Cell("")


@frozen
class Row:
    """One row that is not empty. ``number`` counts from 1, as a spreadsheet program shows it."""

    sheet: str
    """What stands before the cell's name in a message: the file, and in an xlsx the sheet."""
    number: int
    cells: Sequence[Cell]

    @property
    def where(self) -> str:
        """Name the row."""
        return f"{self.sheet} row {self.number}"

    def at(self, column: int) -> str:
        """Name a cell of the row, such as ``roster.xlsx Sheet1!B7``."""
        return f"{self.sheet}!{column_letters(column)}{self.number}"


def read_sheets(
    path: Path, known: Callable[[Sequence[str]], int], tell: Callable[[Remark], None] = lambda _: None
) -> Iterator[list[Row]]:
    """Give the sheets of a file, each with its rows that are not empty. What the file is, its octets tell.

    ``known`` counts the headings that are known in a row; by it a csv's delimiter is told. ``tell`` hears of an
    encoding that had to be guessed. Raises ``SheetError``.
    """
    octets = _octets(path)
    if octets.startswith(b"PK\x03\x04"):
        return _read_xlsx(path)
    if octets.startswith(b"\xd0\xcf\x11\xe0"):
        raise SheetError(
            "this is an old xls, or an xlsx with a password", "save it as xlsx without a password"
        )
    name = printable(path.name)
    text, guess = _decode(octets)
    if guess:
        remedy = "save it as UTF-8, or as xlsx, if names come out wrong"
        tell(Remark("note", f"{name}: it is not UTF-8, and was read as {guess}", remedy))
    return iter([_read_csv(name, text, known)])


@frozen
class Check:
    """What a spreadsheet program warns of while a column is filled in: all but what the formula holds true of."""

    formula: str
    """With ``{cell}`` for the cell."""
    message: str


def write_sheet(path: Path, rows: Iterable[Sequence[str]], checks: Mapping[int, Check] | None = None) -> None:
    """Write rows of text as csv or xlsx, by the name's end, such that no cell is taken for anything but text.

    ``checks`` are by column, for the cells below the rows, and only xlsx has them. The file is its owner's alone
    (mode 0600). Raises ``FileExistsError``.
    """
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _BINARY, 0o600), "wb") as file:
        if path.suffix.lower() == ".xlsx":
            _write_xlsx(file, rows, checks or {})
        else:
            file.write(b"\xef\xbb\xbf")  # the BOM tells Excel that it is UTF-8
            file.write(_csv_text(rows).encode())


@lru_cache(maxsize=MAX_COLUMNS)
def column_letters(index: int) -> str:
    """Return a column's name as a spreadsheet program shows it; 0 is A."""
    letters = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


_BINARY: Final[int] = getattr(os, "O_BINARY", 0)


def _octets(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            octets = file.read(MAX_OCTETS + 1)
    except OSError as error:
        raise SheetError(f"cannot be read: {error.strerror}", "see that the file is there") from None
    if len(octets) > MAX_OCTETS:
        raise SheetError(f"has more than {MAX_OCTETS} octets", "split it")
    return octets


def _decode(octets: bytes) -> tuple[str, str]:
    """Return the text, and the encoding where it had to be guessed."""
    if octets.startswith((b"\xff\xfe", b"\xfe\xff")):
        if (text := _decoded(octets, "utf-16")) is None:
            raise SheetError("begins as UTF-16 and does not go on so: it is cut off", "have it written anew")
        return text, ""
    # In UTF-16 every other octet of plain letters is 0, which no other text has.
    for encoding, zeros in (("utf-16-le", octets[1::2]), ("utf-16-be", octets[0::2])):
        if 4 * zeros.count(0) > len(octets) and (text := _decoded(octets, encoding)) is not None:
            return text, "UTF-16 without the mark at its beginning"
    if (text := _decoded(octets, "utf-8-sig")) is not None:
        return text, ""
    chinese, western = _decoded(octets, "gb18030"), _decoded(octets, "cp1252")
    if western is not None and _is_western(western, chinese):
        return western, "Windows-1252 (Western Europe): as Chinese, most of its characters would be rare ones"
    if chinese is not None:
        return chinese, "GB18030 (Chinese)"
    raise SheetError("is text in no encoding that I know", "save it as UTF-8, or as xlsx")


def _decoded(octets: bytes, encoding: str) -> str | None:
    try:
        return octets.decode(encoding)
    except UnicodeDecodeError:
        return None


def _is_western(western: str, chinese: str | None) -> bool:
    """Tell two readings of the same octets apart: with accents, or, where that is possible, in Chinese.

    An accented letter stands mostly beside a plain one. Read as GB18030, it takes that with it into a character that
    GB2312, the 6,763 common ones, has not. Chinese is almost all of common ones, and many of its octets are no
    letters in Windows-1252.
    """
    if not all(each.isascii() or each.isalpha() or each in _WESTERN_MARKS for each in western):
        return False
    foreign = "" if chinese is None else "".join(each for each in chinese if not each.isascii())
    common = sum(bool(each.encode("gb2312", "ignore")) for each in foreign)
    return 2 * common < max(len(foreign), 1)


_WESTERN_MARKS: Final = "\xa0«»‘’‚“”„–—…€§°·¡¿"


def _read_csv(name: str, text: str, known: Callable[[Sequence[str]], int]) -> list[Row]:
    def headings(delimiter: str) -> int:
        try:
            counts = (known(record) for _, record in itertools.islice(_records(name, text, delimiter), 20))
            return next(filter(None, counts), 0)  # notes may stand above the headings
        except SheetError:  # not this delimiter, then; if it is none of them, the reading below tells why
            return -1

    rows = []
    for number, record in _records(name, text, max(",;\t", key=headings)):
        if number > MAX_ROWS:
            raise _too_many()
        rows.append(Row(name, number, [Cell(item) for item in record]))
    return rows


def _records(name: str, text: str, delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Give the records that are not empty, numbered as a spreadsheet program numbers its rows."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    number = 0
    try:
        for number, record in enumerate(reader, 1):
            if any(item.strip() for item in record):
                yield number, record[:MAX_COLUMNS]
    except csv.Error as error:
        # The others that there are: the file, or the room for one cell, ended within quotation marks.
        goes_on = "expected after" in str(error)
        what = "text follows a closing quotation mark" if goes_on else "a quotation mark is not closed"
        remedy = 'close it, or write "" for one that belongs to the text'
        raise SheetError(what, remedy, f"{name} row {number + 1}") from None


def _csv_text(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([safe_cell(item) for item in row] for row in rows)
    return text.getvalue()


def _read_xlsx(path: Path) -> Iterator[list[Row]]:
    try:
        _refuse_bombs(path)
        yield from _plain_worksheets(path) or _worksheets(path)
    except SheetError:
        raise
    except Exception as error:  # noqa: BLE001 - a crafted or broken workbook raises anything; openpyxl has no root error
        raise SheetError(
            f"is not a workbook that can be read ({type(error).__name__})", "save it anew"
        ) from None


def _refuse_bombs(path: Path) -> None:
    """Bound what is unpacked, and refuse document types: entities have no place in a workbook."""
    with zipfile.ZipFile(path) as archive:
        if sum(item.file_size for item in archive.infolist()) > MAX_OCTETS * 4:
            raise SheetError("is too large when it is unpacked", "split it")
        for item in archive.infolist():
            if item.filename.lower().endswith((".xml", ".rels")):
                with archive.open(item) as file:
                    _refuse_document_type(file)


def _refuse_document_type(file: Any) -> None:
    begun = False

    def begin(*_: object) -> None:
        nonlocal begun
        begun = True

    def refuse(*_: object) -> None:
        raise SheetError("has a document type in its XML, which no workbook has", "save it anew")

    parser = expat.ParserCreate()
    parser.StartElementHandler = begin
    parser.StartDoctypeDeclHandler = refuse
    while not begun and (chunk := file.read(4096)):
        parser.Parse(chunk)


def merged_rows(path: Path, sheet: str) -> list[tuple[str, int]]:
    """Return which cells of a sheet are merged over several rows, such as C3:C4, and the last row of each."""
    with suppress(NotPlain, ElementTree.ParseError, zipfile.BadZipFile, KeyError, OSError):
        return next((areas for title, areas in merged(path) if _sheet_name(path, title) == sheet), [])
    return []  # a csv, which has none, or a workbook that only openpyxl can read


def _plain_worksheets(path: Path) -> list[list[Row]]:
    """Return the sheets of a workbook of text and whole numbers; nothing where openpyxl has to look."""
    try:
        sheets = list(plain_sheets(path, MAX_ROWS, MAX_COLUMNS))
    except (NotPlain, ElementTree.ParseError, KeyError, IndexError, ValueError):
        return []
    return [_plain_rows(_sheet_name(path, title), rows) for title, rows in sheets]


def _plain_rows(name: str, rows: Iterable[tuple[int, list[Value]]]) -> list[Row]:
    return [
        Row(name, number, [_plain_cell(value) for value in cells[:used]])
        for number, cells in rows
        if (used := _used(cells))
    ]


def _plain_cell(value: Value) -> Cell:
    if isinstance(value, str):
        return Cell(value)
    return _EMPTY if value is None else Cell("", *_FAULTS["n"], str(value))


def _sheet_name(path: Path, title: str) -> str:
    return f"{printable(path.name)} {printable(title)}"


def _worksheets(path: Path) -> Iterator[list[Row]]:
    import openpyxl

    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of extensions that openpyxl does not know, such as data validation
        workbook = openpyxl.load_workbook(file, read_only=True, data_only=False, keep_links=False)
        try:
            for sheet in workbook.worksheets:
                sheet.reset_dimensions()  # what a file says of its own size is not to be trusted
                yield _rows(_sheet_name(path, sheet.title), sheet)
        finally:
            workbook.close()


def _rows(name: str, sheet: Any) -> list[Row]:
    rows = []
    for number, padded in enumerate(sheet.iter_rows(max_col=MAX_COLUMNS), 1):
        if used := _used([cell.value for cell in padded]):
            if number > MAX_ROWS:
                raise _too_many()
            rows.append(Row(name, number, [_cell(cell) for cell in padded[:used]]))
    return rows


def _used(values: Sequence[object]) -> int:
    """Count a row's cells without the empty ones at its end, of which there are as many as columns are allowed."""
    used = len(values)
    while used and _is_blank(values[used - 1]):
        used -= 1
    return used


def _is_blank(value: object) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _cell(cell: Any) -> Cell:
    if cell.value is None:
        return _EMPTY
    kind = cell.data_type
    if kind == "s" and isinstance(cell.value, str):
        return Cell(cell.value)
    fault, remedy = _FAULTS.get(kind, ("is not text", _RETYPE))
    return Cell("", fault, remedy, _raw(cell.value))


def _raw(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _write_xlsx(file: Any, rows: Iterable[Sequence[str]], checks: Mapping[int, Check]) -> None:
    import openpyxl

    workbook = openpyxl.Workbook()
    sheet = workbook.active
    for number, row in enumerate(rows, 1):
        for column, text in enumerate(row, 1):
            cell = sheet.cell(number, column)
            cell.value, cell.data_type = printable(text), "s"  # never a formula, whatever it begins with
    for index, check in checks.items():
        _add_check(sheet, column_letters(index), sheet.max_row + 1, check)
    for column in range(1, 27):  # typed later: passwords of digits stay as they are
        sheet.column_dimensions[column_letters(column - 1)].number_format = _TEXT_FORMAT
        sheet.column_dimensions[column_letters(column - 1)].width = 28
    workbook.save(file)


def _add_check(sheet: Any, column: str, row: int, check: Check) -> None:
    from openpyxl.worksheet.datavalidation import DataValidation

    formula = check.formula.format(
        cell=f"{column}{row}"
    )  # of the first cell; programs shift it for the others
    validation = DataValidation(
        type="custom", formula1=formula, errorStyle="warning", error=check.message, showErrorMessage=True
    )
    validation.add(f"{column}{row}:{column}{MAX_ROWS}")
    sheet.add_data_validation(validation)


def _too_many() -> SheetError:
    return SheetError(f"has more than {MAX_ROWS} rows", "split it")
