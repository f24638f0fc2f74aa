"""Read a workbook that holds nothing but text, as a roster should, in a quarter of the time that openpyxl takes.

Of thousands of rows that is most of what `alimail status` waits for. Whatever is not plain text here (a number, a
date, a formula, a part of the format that is not known) is ``NotPlain``, and openpyxl's to read and to judge.
"""

from __future__ import annotations

import posixpath
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

_MAIN: Final = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_OFFICE: Final = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_CELL, _VALUE, _INLINE = f"{_MAIN}c", f"{_MAIN}v", f"{_MAIN}is"
_TEXT, _RUN = f"{_MAIN}t", f"{_MAIN}r"
_WORKBOOK: Final = "xl/workbook.xml"


class NotPlain(Exception):
    """Something in the workbook is not plain text."""


def text_sheets(
    path: Path, rows: int, columns: int
) -> Iterator[tuple[str, list[tuple[int, list[str | None]]]]]:
    """Give each sheet's title and its rows: the number and the cells, ``None`` for an empty one.

    Raises ``NotPlain`` for a row or column beyond so many as well, and what a broken file makes the XML parser and
    ``zipfile`` raise.
    """
    with zipfile.ZipFile(path) as archive:
        parts = _parts(archive)
        strings = [target for kind, target in parts.values() if kind == f"{_OFFICE}/sharedStrings"]
        shared = _shared(archive, strings[0]) if strings else []
        for sheet in ElementTree.fromstring(archive.read(_WORKBOOK)).iter(f"{_MAIN}sheet"):
            kind, target = parts.get(sheet.get(f"{{{_OFFICE}}}id", ""), ("", ""))
            if kind != f"{_OFFICE}/worksheet":
                raise NotPlain
            yield sheet.get("name", ""), list(_rows(archive, target, shared, rows, columns))


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


def _shared(archive: zipfile.ZipFile, target: str) -> list[str]:
    with archive.open(target) as file:
        found = []
        for _, element in ElementTree.iterparse(file):
            if element.tag == f"{_MAIN}si":
                found.append(_text(element))
                element.clear()
        return found


def _rows(
    archive: zipfile.ZipFile, target: str, shared: Sequence[str], rows: int, columns: int
) -> Iterator[tuple[int, list[str | None]]]:
    number = 0
    with archive.open(target) as file:
        for _, element in ElementTree.iterparse(file):
            if element.tag == f"{_MAIN}row":
                told = int(element.get("r", number + 1))
                if not number < told <= rows:
                    raise NotPlain
                number = told
                yield number, _cells(element, number, shared, columns)
                element.clear()


def _cells(row: ElementTree.Element, number: int, shared: Sequence[str], columns: int) -> list[str | None]:
    """Return a row's cells, which name their columns in order, up to the last that is not empty."""
    cells: list[str | None] = []
    for cell in row:
        column = _column(cell.get("r", ""), number)
        if cell.tag != _CELL or not len(cells) <= column < columns:
            raise NotPlain
        if len(cell):
            cells += [None] * (column - len(cells))
            cells.append(_content(cell, shared))
    return cells


def _column(name: str, row: int) -> int:
    """Return the place of a cell in its row; the first is 0."""
    letters = name.removesuffix(str(row))
    if not (letters.isascii() and letters.isalpha() and letters.isupper()):
        raise NotPlain
    place = 0
    for letter in letters:
        place = place * 26 + ord(letter) - ord("A") + 1
    return place - 1


def _content(cell: ElementTree.Element, shared: Sequence[str]) -> str:
    kind, content = cell.get("t"), cell[0]
    if kind == "s" and content.tag == _VALUE and len(cell) == 1 and (content.text or "").isdecimal():
        return shared[int(content.text or "")]
    if kind == "inlineStr" and content.tag == _INLINE and len(cell) == 1:
        return _text(content)
    raise NotPlain


def _text(element: ElementTree.Element) -> str:
    """Return a text, whose parts may each have a font; how it is pronounced is beside it, and no part of it."""
    parts = [part for part in element if part.tag == _TEXT]
    parts += [text for run in element if run.tag == _RUN for text in run if text.tag == _TEXT]
    text = "".join(part.text or "" for part in parts)
    if not text or "x005F_" in text:  # an escaped underscore, which openpyxl reads in a way of its own
        raise NotPlain
    return text
