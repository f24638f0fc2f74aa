"""Untrusted text on its way to a terminal, a cell and a page."""

from __future__ import annotations

import csv
import io
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from alimail_core.text import cell, html, printable

FORMULA = "=+-@\t\r\n＝＋－＠"


@given(st.text())
def test_printable_leaves_nothing_that_a_terminal_acts_upon(text: str) -> None:
    """No control, format or unassigned character is left, but the two joiners that scripts are spelt with."""
    left = set(printable(text)) - {"\u200c", "\u200d"}
    assert not [
        char for char in left if unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    ]


@given(st.text())
def test_printable_is_idempotent(text: str) -> None:
    """What was escaped once is not escaped again."""
    assert printable(printable(text)) == printable(text)


def test_printable_keeps_what_people_write() -> None:
    """Letters of all scripts, spaces of all kinds and emoji with joiners stay as they are."""
    text = "Größe 已发送邮件\u3000נשלח می\u200cخواهم 👩\u200d💻"
    assert printable(text) == text


def test_printable_shows_what_hides() -> None:
    """Escape sequences and bidi overrides become visible."""
    assert printable("a\x1b[31mb\u202etxt.exe\ud800") == "a\\x1b[31mb\\u202etxt.exe\\ud800"


@given(st.text())
def test_a_cell_is_never_a_formula(text: str) -> None:
    """Read back from csv, a cell begins with nothing that a spreadsheet calculates."""
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerow([cell(text)])
    shown = buffer.getvalue().removesuffix("\r\n").strip('"')
    assert not shown.lstrip().startswith(tuple(FORMULA))


def test_a_cell_keeps_harmless_text() -> None:
    """Only what is risky is marked."""
    assert [cell("a=b"), cell("=1"), cell("  @x"), cell("")] == ["a=b", "'=1", "'  @x", ""]


def test_html_is_escaped_and_visible() -> None:
    """Neither markup nor a bidi override reaches a page."""
    assert html("<b a='\"'>&\u202e") == "&lt;b a=&#x27;&quot;&#x27;&gt;&amp;\\u202e"
