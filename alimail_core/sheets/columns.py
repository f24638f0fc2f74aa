"""Find the columns of a sheet by their headings: English or Chinese, in any order, below any notes.

What rosters of every kind have in common. Notes begin with ``#``: above the headings lines that have nothing else,
below them rows whose own column does.
"""

from __future__ import annotations

import itertools
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Generic, TypeVar

from attrs import Factory, define, field, frozen

from alimail_core.errors import Fault, Remark
from alimail_core.sheets.files import Cell, Row, SheetError, merged_rows, read_sheets
from alimail_core.structure import did_you_mean
from alimail_core.text import printable

C = TypeVar("C", bound=str)

IGNORED: Final = "ignored"
"""What a heading of the user's own may stand for, so that its column is not read."""

_EMPTY: Final = Cell("")


@define
class Findings:
    """What is wrong with a file, and what is merely worth knowing."""

    faults: list[Fault] = Factory(list)
    remarks: list[Remark] = Factory(list)

    def fault(self, where: str, message: str, remedy: str = "") -> None:
        """Note a fault."""
        self.faults.append(Fault(where, message, remedy))


@frozen
class Columns(Generic[C]):
    """The columns that a kind of sheet may have."""

    names: Mapping[C, tuple[str, ...]]
    """Headings by column: English, then Chinese, separated by ``|``; the first of each is what a template has."""
    required: Sequence[C]
    extra: Mapping[str, C] = Factory(dict)
    """Further headings of the user's own."""

    def table(self) -> dict[str, C]:
        """Return the column by each heading as ``plain`` spells it."""
        spelt = {
            plain(name): column for column, group in self.names.items() for name in "|".join(group).split("|")
        }
        further = {plain(heading): column for heading, column in self.extra.items()}
        return {heading: column for heading, column in (spelt | further).items() if column != IGNORED}


@frozen
class Table(Generic[C]):
    """The rows below the headings, and which column is which."""

    headings: Row
    rows: Sequence[Row]
    columns: Mapping[int, C]
    _index: Mapping[C, int] = field(init=False, repr=False)

    @_index.default
    def _indexed(self) -> Mapping[C, int]:
        return {column: index for index, column in self.columns.items()}

    def cell(self, row: Row, column: C) -> Cell:
        """Return a cell of a row, an empty one where there is none."""
        index = self._index.get(column, len(row.cells))
        return row.cells[index] if index < len(row.cells) else _EMPTY

    def at(self, row: Row, column: C) -> str:
        """Name a cell of a row; the row where the column is not there."""
        index = self._index.get(column)
        return row.where if index is None else row.at(index)


def read_table(path: Path, columns: Columns[C], findings: Findings) -> Table[C] | None:
    """Return the first sheet that has most of the required headings; ``None`` where something is wrong with them.

    Never raises for what is in the file.
    """
    try:
        return _read(path, columns, findings)
    except SheetError as error:
        findings.fault(printable(error.where or str(path)), error.message, error.remedy)
        return None


def wanted(table: Table[C], column: C, example: str, findings: Findings) -> list[Row]:
    """Return the rows without those whose ``column`` begins with ``#``; all but the template's example are told."""
    texts = [(row, table.cell(row, column).text.strip()) for row in table.rows]
    left_out = [row for row, text in texts if is_note(text) and text != example]
    if left_out:
        text = f"left out, since the {column} begins with #: {places(row.where for row in left_out)}"
        findings.remarks.append(Remark("note", text))
    return [row for row, text in texts if not is_note(text)]


def unfit(text: str, limit: int) -> str:
    """Say why a text cannot stand in a cell; empty where it can."""
    odd = not text.isprintable() and any(
        unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp") for each in text
    )
    if odd:
        return "has control characters or line ends in it"
    return f"is longer than {limit} characters" if len(text) > limit else ""


def plain(heading: str) -> str:
    """Return a heading without case, width, spaces and punctuation."""
    text = unicodedata.normalize("NFKC", heading[:200]).casefold()
    return "".join(character for character in text if character.isalnum())


def is_note(text: str) -> bool:
    """Tell whether a text begins with a hash."""
    return text.lstrip().startswith(("#", "＃"))


def places(where: Iterable[str]) -> str:
    """Name some places of a file."""
    found = list(where)
    return ", ".join(found[:3]) + (" and more" if len(found) > 3 else "")


def _read(path: Path, columns: Columns[C], findings: Findings) -> Table[C] | None:
    table = columns.table()

    def known(row: Sequence[str]) -> int:
        return sum(plain(text) in table for text in row)

    sheets = [_without_notes(rows, known) for rows in read_sheets(path, known, findings.remarks.append)]
    found = [(rows, named) for rows in sheets if (named := _named(rows, table, columns.required))]
    if not any(sheets):
        findings.fault(printable(str(path)), "there is nothing in it", "`alimail roster template` writes one")
        return None
    if not found:
        where = sheets[0][0].where if sheets and sheets[0] else printable(str(path))
        needed = " and ".join(columns.required)
        findings.fault(where, "there are no headings that I know", f"the first row must name {needed}")
        return None
    rows, named = max(found, key=lambda each: len(set(each[1].values()) & set(columns.required)))
    findings.remarks += _not_read(path, rows)
    return Table(rows[0], rows[1:], named) if _complete(rows[0], named, columns, findings) else None


def _named(rows: Sequence[Row], table: Mapping[str, C], required: Collection[C]) -> dict[int, C]:
    """Return which columns of a sheet are known, if its first row has a heading that is required."""
    if not rows:
        return {}
    named = {index: table.get(plain(cell.text)) for index, cell in enumerate(rows[0].cells)}
    columns = {index: column for index, column in named.items() if column}
    return columns if any(column in required for column in columns.values()) else {}


def _complete(row: Row, named: Mapping[int, C], columns: Columns[C], findings: Findings) -> bool:
    before = len(findings.faults)
    for column, times in Counter(named.values()).items():
        if times > 1:
            findings.fault(row.where, f"there are {times} columns for the {column}", "leave one of them")
    for column in columns.required:
        if column not in named.values():
            english, chinese = (group.split("|")[0] for group in columns.names[column])
            remedy = f'call it "{english}" or "{chinese}"'
            findings.fault(row.where, f"there is no column for the {column}", remedy)
    for index, cell in enumerate(row.cells):
        if index not in named and cell.text.strip():
            text = printable(cell.text.strip()[:60])
            remedy = did_you_mean(text.casefold(), columns.names)
            findings.remarks.append(
                Remark("note", f'{row.at(index)}: the column "{text}" is not read', remedy)
            )
    return len(findings.faults) == before


def _not_read(path: Path, rows: Sequence[Row]) -> Iterator[Remark]:
    """Warn of what stands below the headings and has none, and of merged cells, whose lower rows are empty."""
    headings = rows[0]
    named = {index for index, cell in enumerate(headings.cells) if cell.text.strip() or cell.fault}
    strays = [
        row.at(index)
        for row in rows[1:]
        for index, cell in enumerate(row.cells)
        if index not in named and cell.text.strip() and not is_note(row.cells[0].text)
    ]
    if strays:
        remedy = "in a csv, text with the delimiter in it stands in quotation marks"
        yield Remark("warning", f"no heading is above this, and it is not read: {places(strays)}", remedy)
    for area, last in merged_rows(path, headings.sheet):
        if last > headings.number:
            remedy = "take the merging back, and write it in each row"
            yield Remark("warning", f"{headings.sheet}!{area} is merged: only its first row has it", remedy)


def _without_notes(rows: Sequence[Row], known: Callable[[Sequence[str]], int]) -> Sequence[Row]:
    """Leave out notes and a title above the headings. A row with more than one cell may be the headings."""

    def is_title(row: Row) -> bool:
        texts = [text for cell in row.cells if (text := cell.text.strip())]
        return len(texts) == 1 and not known(texts)

    noted = itertools.takewhile(lambda row: _is_note_row([cell.text for cell in row.cells]), rows)
    rest = rows[sum(1 for _ in noted) :]
    return rest[sum(1 for _ in itertools.takewhile(is_title, rest)) :] or rest


def _is_note_row(texts: Sequence[str]) -> bool:
    return is_note(texts[0]) and not any(text.strip() for text in texts[1:])
