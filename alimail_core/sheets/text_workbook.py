"""Read a workbook of text and whole numbers, as a roster is, in a quarter of the time that openpyxl takes.

Of thousands of rows that is most of what `alimail status` waits for. Whatever else there is (a fraction, a date, a
formula, a part of the format that is not known) is ``NotPlain``, and openpyxl's to read and to judge.
"""

from __future__ import annotations

import posixpath
import re
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final, TypeAlias
from xml.etree import ElementTree

from attrs import frozen

_MAIN: Final = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_OFFICE: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_CELL, _VALUE, _INLINE = f"{_MAIN}c", f"{_MAIN}v", f"{_MAIN}is"
_TEXT, _RUN = f"{_MAIN}t", f"{_MAIN}r"
_WORKBOOK: Final = "xl/workbook.xml"

_NUMBER_FORMATS: Final = frozenset({"0", "1", "2", "3", "4", "49"})
"""Formats that every workbook has, and that show a number as a number (ECMA-376 part 1, 18.8.30): no date."""
_WHOLE: Final = re.compile(r"-?[0-9]{1,15}")
"""All digits that a spreadsheet program keeps."""

_MERGED: Final = re.compile(
    rb'<(?:\w+:)?mergeCell\s[^>]*?ref="([A-Z]{1,3})([0-9]{1,7}):([A-Z]{1,3})([0-9]{1,7})"'
)

Value: TypeAlias = str | int | None
"""What a cell holds; ``None``: nothing."""
_Parts: TypeAlias = Mapping[str, tuple[str, str]]


class NotPlain(Exception):
    """Something in the workbook is neither text nor a whole number."""


def plain_sheets(path: Path, rows: int, columns: int) -> Iterator[tuple[str, list[tuple[int, list[Value]]]]]:
    """Give each sheet's title and its rows: the number and the cells.

    Raises ``NotPlain`` for a row or column beyond so many as well, and what a broken file makes the XML parser and
    ``zipfile`` raise.
    """
    with zipfile.ZipFile(path) as archive:
        parts = _parts(archive)
        cells = _Cells(_shared(archive, parts), _styles(archive, parts))
        for sheet in ElementTree.fromstring(archive.read(_WORKBOOK)).iter(f"{_MAIN}sheet"):
            kind, target = parts.get(sheet.get(f"{{{_OFFICE}}}id", ""), ("", ""))
            if kind != f"{_OFFICE}/worksheet":
                raise NotPlain
            yield sheet.get("name", ""), list(_rows(archive, target, cells, rows, columns))


def merged(path: Path) -> Iterator[tuple[str, list[tuple[str, int]]]]:
    """Give each sheet's title and its merged areas of several rows, such as C3:C4, each with its last row.

    Raises as ``plain_sheets`` does.
    """
    with zipfile.ZipFile(path) as archive:
        parts = _parts(archive)
        for sheet in ElementTree.fromstring(archive.read(_WORKBOOK)).iter(f"{_MAIN}sheet"):
            _, target = parts.get(sheet.get(f"{{{_OFFICE}}}id", ""), ("", ""))
            found = [tuple(map(bytes.decode, each)) for each in _MERGED.findall(archive.read(target))]
            yield (
                sheet.get("name", ""),
                [(f"{left}{top}:{right}{low}", int(low)) for left, top, right, low in found if top != low],
            )


def _parts(archive: zipfile.ZipFile) -> dict[str, tuple[str, str]]:
    """Return the kind and the place of each part of the workbook, by its id."""
    if _WORKBOOK not in archive.namelist():
        raise NotPlain
    found = ElementTree.fromstring(archive.read("xl/_rels/workbook.xml.rels"))
    parts = {each.get("Id", ""): (each.get("Type", ""), _place(each.get("Target", ""))) for each in found}
    if not all(place.lower().endswith(".xml") for _, place in parts.values()):
        raise NotPlain  # nobody has looked for document types in it
    return parts


def _place(target: str) -> str:
    return posixpath.normpath(posixpath.join("/xl", target)).lstrip("/")


def _part(parts: _Parts, name: str) -> str:
    """Return the place of a part of which there is one, if any."""
    return next((target for kind, target in parts.values() if kind == f"{_OFFICE}/{name}"), "")


def _styles(archive: zipfile.ZipFile, parts: _Parts) -> set[str]:
    """Return the styles, as cells name them, in which a number is shown as one."""
    target = _part(parts, "styles")
    if not target:
        return set()
    root = ElementTree.fromstring(archive.read(target))
    redefined = {each.get("numFmtId") for each in root.iter(f"{_MAIN}numFmt")}
    formats = [each.get("numFmtId", "") for each in root.iterfind(f"{_MAIN}cellXfs/{_MAIN}xf")]
    return {str(place) for place, each in enumerate(formats) if each in _NUMBER_FORMATS - redefined}


def _shared(archive: zipfile.ZipFile, parts: _Parts) -> list[str]:
    """Return the texts that cells name by number."""
    target = _part(parts, "sharedStrings")
    if not target:
        return []
    with archive.open(target) as file:
        found = []
        for _, element in ElementTree.iterparse(file):
            if element.tag == f"{_MAIN}si":
                found.append(_text(element))
                element.clear()
        return found


def _rows(
    archive: zipfile.ZipFile, target: str, cells: _Cells, rows: int, columns: int
) -> Iterator[tuple[int, list[Value]]]:
    number = 0
    with archive.open(target) as file:
        for _, element in ElementTree.iterparse(file):
            if element.tag == f"{_MAIN}row":
                told = int(element.get("r", number + 1))
                if not number < told <= rows:
                    raise NotPlain
                number = told
                yield number, cells.of(element, number, columns)
                element.clear()


@frozen
class _Cells:
    """How cells are read."""

    shared: Sequence[str]
    styles: Collection[str]

    def of(self, row: ElementTree.Element, number: int, columns: int) -> list[Value]:
        """Return a row's cells, which name their columns in order, up to the last that is not empty."""
        cells: list[Value] = []
        digits = str(number)
        for cell in row:
            column = _column(cell.get("r", "").removesuffix(digits))
            if cell.tag != _CELL or not len(cells) <= column < columns:
                raise NotPlain
            if len(cell):
                cells += [None] * (column - len(cells))
                cells.append(self._value(cell))
        return cells

    def _value(self, cell: ElementTree.Element) -> str | int:
        kind, content = cell.get("t", "n"), cell[0]
        if len(cell) > 1:
            raise NotPlain
        if kind == "inlineStr" and content.tag == _INLINE:
            return _text(content)
        text = content.text or ""
        if kind == "s" and content.tag == _VALUE and text.isdecimal():
            return self.shared[int(text)]
        plain = kind == "n" and content.tag == _VALUE and cell.get("s", "0") in self.styles
        if plain and _WHOLE.fullmatch(text):
            return int(text)
        raise NotPlain


@lru_cache(maxsize=1_000)
def _column(letters: str) -> int:
    """Return the place of a column; the first is 0."""
    if not (letters.isascii() and letters.isalpha() and letters.isupper()):
        raise NotPlain
    place = 0
    for letter in letters:
        place = place * 26 + ord(letter) - ord("A") + 1
    return place - 1


def _text(element: ElementTree.Element) -> str:
    """Return a text, whose parts may each have a font; how it is pronounced is beside it, and no part of it."""
    if len(element) == 1 and element[0].tag == _TEXT:
        text = element[0].text
    else:
        parts = [part for part in element if part.tag == _TEXT]
        parts += [text for run in element if run.tag == _RUN for text in run if text.tag == _TEXT]
        text = "".join(part.text or "" for part in parts)
    if not text or "x005F_" in text:  # an escaped underscore, which openpyxl reads in a way of its own
        raise NotPlain
    return text
