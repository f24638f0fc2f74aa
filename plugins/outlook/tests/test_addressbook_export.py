"""The address book as files for others: whatever people are called, it is read back as it was, and nothing is run."""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alimail_core import InputError
from alimail_core.text import cell
from alimail_outlook.addressbook.book import Person, read_people
from alimail_outlook.addressbook.contacts import exported, parts
from alimail_outlook.addressbook.verbs import COMMAND

texts = st.text(st.characters(codec="utf-8"), max_size=60) | st.sampled_from(
    ["=1+1", "a;b,c\\d", "王小明", ""]
)
people = st.builds(Person, st.just("anna@new.example"), texts, texts, texts, texts)


def fields(octets: bytes) -> dict[str, str]:
    """Read one vCard: unfold, split, take the escapes away (RFC 2426 §2.6, §4)."""
    lines = octets.decode().replace("\r\n ", "").split("\r\n")
    assert (lines[0], lines[1], lines[-2], lines[-1]) == ("BEGIN:VCARD", "VERSION:3.0", "END:VCARD", "")
    found = dict(line.split(":", 1) for line in lines[2:-2])
    return {
        name: re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], text) for name, text in found.items()
    }


@given(people)
def test_a_card_is_read_back(person: Person) -> None:
    """Each field is its own, and no line has more than 75 octets."""
    octets = exported([person], "vcard", "utf-8")
    assert max(map(len, octets.split(b"\r\n"))) <= 75
    found = fields(octets)
    plain = {name: re.sub(r"\r\n|\r", "\n", text) for name, text in vars_of(person).items()}
    assert found["EMAIL;TYPE=INTERNET"] == person.address
    assert found["FN"] == (plain["name"] or person.address)
    assert found.get("TITLE", "") == plain["title"]
    assert found.get("TEL;TYPE=WORK", "") == plain["phone"]
    assert found.get("ORG", ";") == f";{plain['department']}"


def vars_of(person: Person) -> dict[str, str]:
    """Return a person's fields."""
    return person.told()


@given(people)
def test_no_cell_is_a_formula(person: Person) -> None:
    """In both sheets; a telephone number keeps its plus."""
    for form in ("csv", "outlook"):
        octets = exported([person], form, "utf-8")
        assert octets.startswith(b"\xef\xbb\xbf")
        headings, row = csv.reader(io.StringIO(octets.decode("utf-8-sig"), newline=""))
        assert len(headings) == len(row)
        told = dict(zip(headings, row, strict=True))
        phone = told.pop("phone" if form == "csv" else "Business Phone")
        assert all(text == cell(text) or text.startswith("'") for text in told.values())
        assert phone == person.phone or phone == cell(person.phone)
    row = (
        exported([Person("a@b.example", phone="+86 10 1234")], "csv", "utf-8")
        .decode("utf-8-sig")
        .split("\r\n")
    )
    assert row[1] == ",a@b.example,,,+86 10 1234"


def test_what_is_exported_is_a_book_again(tmp_path: Path) -> None:
    """``addin serve`` reads the sheet that ``export`` writes."""
    people = [
        Person("anna@new.example", "Anna Smith", "Sales/East", "Buyer", "+86 10"),
        Person("b@c.example", "王小明"),
    ]
    (tmp_path / "people.csv").write_bytes(exported(people, "csv", "utf-8"))
    assert list(read_people(tmp_path / "people.csv").values()) == people


def test_names_have_parts() -> None:
    """The last word is the last name; a Chinese name is one word."""
    assert parts("Anna Maria Smith") == ("Anna Maria", "Smith")
    assert parts("王小明") == ("", "王小明")
    assert parts("") == ("", "")


def test_the_verb_writes_for_chinese_windows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From the console's headings, in the code page that classic Outlook reads."""
    run = next(each.run for each in COMMAND.commands if each.name == "export")
    assert run is not None
    book, out = tmp_path / "people.csv", tmp_path / "contacts.csv"
    book.write_text("姓名,邮箱帐号,部门,邮箱密码\n王小明,wang@new.example,销售,secret\n", encoding="utf-8")
    given = {"--book": str(book), "--format": "outlook", "--encoding": "gb18030", "--output": str(out)}
    assert run(given) == 0
    assert "people: 1" in capsys.readouterr().out
    text = out.read_bytes().decode("gb18030")
    assert "王小明,销售" in text
    assert "secret" not in text
    with pytest.raises(InputError) as caught:
        run(given | {"--format": "x", "--encoding": "y", "--output": ""})
    assert len(caught.value.faults) == 3
