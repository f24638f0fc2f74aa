"""A letter for each new person: in two forms and languages, for nobody else's eyes, and written once."""

from __future__ import annotations

import stat
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alimail_core.cli import main
from alimail_core.letters import Language
from alimail_core.provisioning.directory import Employee
from alimail_core.provisioning.letters import letter_page, letter_text, write_password_letters
from alimail_core.provisioning.passwords import PasswordFile
from alimail_core.registry import Registry
from alimail_core.testing import FakeClock
from tests.test_move import CONFIG, EMPLOYEES, ROSTER, Office, office, registry

__all__ = ["office", "registry"]

ANNA = Employee("anna@new.example", "Anna <Li>")


class _Texts(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_both_forms_tell_the_same(language: Language) -> None:
    """Address and password, and what to do with them."""
    page = _Texts()
    page.feed(letter_page(ANNA, "S3cret&<Pw>", language))
    text = letter_text(ANNA, "S3cret&<Pw>", language)
    for told in ("anna@new.example", "S3cret&<Pw>"):
        assert told in text
        assert told in page.texts
    assert any("Anna <Li>" in each for each in page.texts)


@given(st.text(), st.sampled_from(["en", "zh"]))
def test_a_name_is_a_name_whatever_it_holds(name: str, language: Language) -> None:
    """No name becomes markup, or a line of its own."""
    page = _Texts()
    page.feed(letter_page(Employee("a@x", name), "Pw", language))
    plain = _Texts()
    plain.feed(letter_page(Employee("a@x", "A"), "Pw", language))
    assert page.tags == plain.tags
    text = letter_text(Employee("a@x", name), "Pw", language)
    assert len(text.splitlines()) == len(letter_text(Employee("a@x", "A"), "Pw", language).splitlines())


def test_letters_are_their_owner_s_alone_and_written_once(tmp_path: Path) -> None:
    """Who has one gets no other; whose password was not made gets none."""
    passwords, folder = PasswordFile(tmp_path / "passwords.csv"), tmp_path / "letters"
    passwords.make(["anna@new.example", "../../evil@new.example"])
    people = [ANNA, Employee("../../evil@new.example"), Employee("given@new.example")]
    written = write_password_letters(people, passwords, folder, "en")
    assert len(written) == 2
    assert {path.parent for path in written} == {folder}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert passwords.get("anna@new.example") in written[0].read_text("utf-8")
    assert write_password_letters(people, passwords, folder, "en") == []


def test_apply_writes_letters_for_those_whom_it_made(
    office: Office,
    registry: Registry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Also on a later run, for those of an earlier one; nothing of them is shown."""
    monkeypatch.chdir(tmp_path)
    for name, text in (("alimail.toml", CONFIG), ("roster.csv", ROSTER), ("employees.csv", EMPLOYEES)):
        Path(name).write_text(text)

    def apply(*words: str) -> int:
        return main(["provision", "apply", "--yes", *words], registry, FakeClock())

    assert apply() == 0
    assert apply("--letters", "letters", "--language", "en") == 0
    told = capsys.readouterr()
    assert "1 new letter in letters" in told.err
    (letter,) = Path("letters").glob("*.txt")
    password = office.service.passwords["anna@new.example"]
    assert password in letter.read_text()
    assert password not in told.out + told.err
