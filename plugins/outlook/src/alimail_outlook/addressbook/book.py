"""The organisation's address book, from a sheet that somebody exported, searched in memory."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Literal, TypeAlias

from attrs import asdict, frozen

from alimail_core import AlimailError, Clock, InputError
from alimail_core.commands import Columns, Findings, Table, address_fault, read_table

Column: TypeAlias = Literal["name", "address", "department", "title", "phone"]

COLUMNS: Final[Columns[Column]] = Columns(
    {
        "name": ("name|full name|display name|employee name", "姓名|显示名|显示名称|员工姓名|名字"),
        "address": (
            "address|email|email address|e-mail address|mail address|account|mail account|email account",
            "邮箱|邮箱地址|邮箱帐号|邮箱账号|邮件地址|员工邮箱|帐号|账号",
        ),
        "department": ("department|department path|dept", "部门|部门路径|所属部门|所在部门"),
        "title": ("title|job title|position", "职务|职位|岗位"),
        "phone": (
            "extension|phone|work phone|business phone|office phone",
            "分机|分机号|工作电话|办公电话|电话",
        ),
    },
    ("address",),
)
"""The headings of an address book. Of the console's own export all else, such as passwords, is not read."""

MOST: Final = 50
"""How many people one search tells at most."""

LOOK_AGAIN: Final = 5.0
"""Seconds after which the file's date is looked at again."""

_log = logging.getLogger(__name__)


@frozen
class Person:
    """Somebody in the address book; empty where nothing is known."""

    address: str
    name: str = ""
    department: str = ""
    title: str = ""
    phone: str = ""

    def told(self) -> dict[str, str]:
        """Return what the pane is told."""
        return asdict(self)


@frozen
class _Entry:
    person: Person
    names: str
    """Folded name and address, each part of them after a space."""
    line: str
    """All of it folded, a line for each field, so that no word spans two."""


class Book:
    """The people of a sheet, read anew when the file changes; a file that went bad leaves what was read before."""

    def __init__(self, path: Path, clock: Clock) -> None:
        """Read the file. Raises ``InputError`` with its faults."""
        self._path = path
        self._clock = clock
        self._stamp = _stamp(path)
        self._entries = _entries(
            read_people(path)
        )  # replaced as a whole: threads search while it is read anew
        self._looked = clock.monotonic()

    def __len__(self) -> int:
        """Tell how many people are in it."""
        return len(self._entries)

    def __contains__(self, address: str) -> bool:
        """Tell whether an address is somebody's, in whatever case."""
        self._renew()
        return fold(address) in self._entries

    def search(self, text: str) -> tuple[list[Person], bool]:
        """Return people in whom every word of ``text`` occurs, and whether there are more than ``MOST``.

        Those come first of whose name or address a part begins with it; then the order is that of names.
        """
        self._renew()
        words = fold(text).split()
        if not words:
            return [], False
        found = [
            (f" {words[0]}" not in entry.names, entry.line, key, entry.person)
            for key, entry in self._entries.items()
            if all(word in entry.line for word in words)
        ]
        return [person for *_, person in sorted(found, key=lambda each: each[:3])[:MOST]], len(found) > MOST

    def _renew(self) -> None:
        now = self._clock.monotonic()
        if now - self._looked < LOOK_AGAIN:
            return
        self._looked = now
        try:
            stamp = _stamp(self._path)
            if stamp == self._stamp:
                return
            self._stamp = stamp
            self._entries = _entries(read_people(self._path))
        except (AlimailError, OSError) as error:
            _log.warning("the address book cannot be read anew, the old one stays: %s", error)


def read_people(path: Path) -> Mapping[str, Person]:
    """Return the people of a csv or xlsx, by folded address; the first where an address is there twice.

    Rows without an address that can be one are left out: an export of contacts has some. Raises ``InputError``
    where the sheet cannot be read or has nobody in it.
    """
    findings = Findings()
    table = read_table(path, COLUMNS, findings)
    if table is None or findings.faults:
        raise InputError(f"{path} is no address book", findings.faults)
    people: dict[str, Person] = {}
    for person in _rows(table):
        people.setdefault(fold(person.address), person)
    if not people:
        raise InputError(f"nobody is in {path}", remedy="it needs a row for each person, with a mail address")
    return people


def fold(text: str) -> str:
    """Return a text without case, width and composition, for comparing."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).strip()


def _rows(table: Table[Column]) -> Iterator[Person]:
    for row in table.rows:
        texts = {column: table.cell(row, column).text.strip() for column in COLUMNS.names}
        if texts["address"] and not address_fault(texts["address"]):
            yield Person(**texts)


def _entries(people: Mapping[str, Person]) -> Mapping[str, _Entry]:
    return {
        key: _Entry(
            each,
            f" {fold(each.name)} {fold(each.address)}".replace(".", " "),
            "\n".join(
                fold(part) for part in (each.name, each.address, each.department, each.title, each.phone)
            ),
        )
        for key, each in people.items()
    }


def _stamp(path: Path) -> tuple[int, int]:
    try:
        told = path.stat()
    except OSError:
        return (0, 0)  # what is wrong with it, reading it tells
    return told.st_mtime_ns, told.st_size
