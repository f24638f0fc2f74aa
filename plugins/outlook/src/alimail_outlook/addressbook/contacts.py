"""The organisation's address book as files that mail programs import, for people without the plug-in."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator
from typing import Final, Literal, TypeAlias

from alimail_core.commands import cell
from alimail_outlook.addressbook.book import Person

Format: TypeAlias = Literal["vcard", "csv", "outlook"]
FORMATS: Final[tuple[Format, ...]] = ("vcard", "csv", "outlook")

_OUTLOOK: Final = (
    "First Name",
    "Last Name",
    "Department",
    "Job Title",
    "Business Phone",
    "E-mail Address",
    "E-mail Type",
    "E-mail Display Name",
)
_PHONE: Final = re.compile(r"\+?[\d ().-]{1,30}", re.ASCII)
_FOLD: Final = 75
"""Octets of a line of a vCard (RFC 2426 §2.6)."""


def exported(people: Iterable[Person], form: Format, encoding: str) -> bytes:
    """Return the people as a file, by name. Raises ``UnicodeEncodeError`` where the encoding has not all of them."""
    ordered = sorted(people, key=lambda person: (person.name, person.address))
    if form == "vcard":
        return "".join(map(_card, ordered)).encode(encoding)
    rows = map(_outlook_row if form == "outlook" else _row, ordered)
    headings = _OUTLOOK if form == "outlook" else ("name", "address", "department", "title", "phone")
    text = io.StringIO(newline="")
    csv.writer(text).writerows([headings, *rows])
    # With a mark at its beginning, for programs that would otherwise guess a Windows code page.
    return text.getvalue().encode("utf-8-sig" if encoding == "utf-8" else encoding)


def _row(person: Person) -> list[str]:
    return list(map(_safe, (person.name, person.address, person.department, person.title, person.phone)))


def _outlook_row(person: Person) -> list[str]:
    first, last = parts(person.name)
    texts = (first, last, person.department, person.title, person.phone, person.address)
    return [*map(_safe, texts), "SMTP", _safe(f"{person.name} ({person.address})" if person.name else "")]


def parts(name: str) -> tuple[str, str]:
    """Return first and last name; a name without a space, such as a Chinese one, is all of it the last."""
    first, _, last = name.strip().rpartition(" ")
    return first.strip(), last


def _safe(text: str) -> str:
    """Return a cell that no spreadsheet runs; a telephone number stays as it is, since it is to be dialled."""
    return text if _PHONE.fullmatch(text) else cell(text)


def _card(person: Person) -> str:
    """Return a vCard 3.0 (RFC 2426)."""
    first, last = parts(person.name)
    lines = [
        "BEGIN:VCARD",
        "VERSION:3.0",
        f"N:{_escaped(last)};{_escaped(first)};;;",
        f"FN:{_escaped(person.name or person.address)}",
        f"EMAIL;TYPE=INTERNET:{_escaped(person.address)}",
    ]
    told = {
        "ORG": f";{_escaped(person.department)}" if person.department else "",
        "TITLE": _escaped(person.title),
        "TEL;TYPE=WORK": _escaped(person.phone),
    }
    lines += [f"{name}:{text}" for name, text in told.items() if text]
    return "".join(f"{part}\r\n" for line in [*lines, "END:VCARD"] for part in _folded(line))


def _escaped(text: str) -> str:
    made = re.sub(r"([\\;,])", r"\\\1", text)
    return re.sub(r"\r\n|[\r\n]", r"\\n", made)


def _folded(line: str) -> Iterator[str]:
    """Cut a line so that no part has more than 75 octets, and no character is cut."""
    part = ""
    for character in line:
        if len((part + character).encode("utf-8", "surrogatepass")) > _FOLD:
            yield part
            part = " "
        part += character
    yield part
