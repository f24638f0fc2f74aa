"""Whatever a user or a server says is text in the report: no browser, spreadsheet or program acts upon it."""

from __future__ import annotations

import csv
import json
import re
import tempfile
from pathlib import Path

from attrs import evolve
from hypothesis import example, given
from hypothesis import strategies as st

from alimail_core.errors import Remark
from alimail_core.ledger.facts import AccountFacts, Balance, NamedProblem, PlacedFolder
from alimail_core.markup import tag
from alimail_core.proof.results import AccountProof, Finding, FolderProof
from alimail_core.proof.store import ProofStore
from alimail_core.report.contents import AccountReport, Report
from alimail_core.report.files import as_json, write_report
from alimail_core.report.page import page
from alimail_core.status import AccountStatus
from alimail_core.text import printable
from tests.report_samples import BEGAN
from tests.test_report import parsed

HTML_PIECES = [
    "<",
    ">",
    "&",
    '"',
    "'",
    "</td>",
    "<script>",
    "<!--",
    "-->",
    "]]>",
    "&lt;",
    "</style>",
    "<svg/",
]
SHEET_PIECES = ["=", "+", "-", "@", "\t", "\r", "\n", ",", ";", "|", '"', "＝", " =1+1", "\ufeff=1", "\u202e"]
PIECES = st.sampled_from([*HTML_PIECES, *SHEET_PIECES]) | st.characters() | st.sampled_from("az 0")
TEXTS = st.lists(PIECES, min_size=1, max_size=12).map("".join)


def saying(text: str) -> Report:
    """Make a report in which everything that is not ours says this."""
    path = (text, text)
    problem = NamedProblem("refused", path, text, 1, BEGAN, text, text, text, BEGAN, BEGAN)
    faults = (Finding("missing", text, path, text), Finding("altered", text, path, text))
    folder = FolderProof(path, (text,), 1, 1, missing=1, altered=1, findings=faults)
    proof = AccountProof(
        text,
        (folder,),
        full=True,
        root=text,
        remarks=(Remark("fault", text, text),),
        target_address=text,
        at=BEGAN,
    )
    facts = AccountFacts(
        Balance(1, refused=1),
        folders=[PlacedFolder(path, (text,), text)],
        problems=[problem],
        notes=[(text, 1)],
    )
    status = AccountStatus(text, text, state="done", ended=BEGAN, reason=text, remedy=text)
    stopped = evolve(status, state="failed")
    halted = AccountReport(stopped, facts, None, (text,))
    accounts = (AccountReport(status, facts, proof, (text,)), halted, halted)
    return Report(text, BEGAN, accounts, ProofStore(Path("/nowhere")))


@given(TEXTS)
@example("<script>alert(1)</script>")
@example("\" onload='x' a=\"")
def test_text_is_never_an_element(text: str) -> None:
    """Whatever is said, the page has the elements and attributes that it has for a harmless word."""
    said, harmless = parsed(page(saying(text.replace("`", "'")))), parsed(page(saying("word")))
    assert [(name, sorted(told)) for name, told in said.elements] == [
        (name, sorted(told)) for name, told in harmless.elements
    ]


@given(TEXTS)
def test_text_is_shown_as_it_is(text: str) -> None:
    """What is said stands on the page, with what cannot be seen made visible."""
    shown = "".join(parsed(page(saying(text))).text)
    assert printable(text) in shown
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", shown)


@given(TEXTS)
@example("=HYPERLINK(1)")
@example("\n=1")
@example("\ufeff=1")
def test_text_is_never_a_formula(text: str) -> None:
    """No cell begins, after what a spreadsheet passes over, as a formula does; no row is torn in two."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [path for path in write_report(saying(text), Path(folder)) if path.suffix == ".csv"]
        harmless = write_report(saying("word"), Path(folder) / "harmless")
        for path in paths:
            rows = list(csv.reader(path.read_text("utf-8-sig").splitlines(keepends=True)))
            [same] = [each for each in harmless if each.name == path.name]
            expected = list(csv.reader(same.read_text("utf-8-sig").splitlines(keepends=True)))
            assert list(map(len, rows)) == list(map(len, expected)), path.name
            for cell in (cell for row in rows for cell in row):
                assert not re.match(r"[\s\ufeff]*[=+@\-\t\r＝＋－＠]", cell), (path.name, cell)
                assert not re.search(r"[\x00-\x1f\x7f\u202a-\u202e]", cell), (path.name, cell)


@given(TEXTS)
def test_programs_get_the_very_text(text: str) -> None:
    """JSON is in ASCII, and what is read from it is what was said."""
    written = json.dumps(as_json(saying(text)))
    assert written.isascii()
    account = json.loads(written)["accounts"][0]
    assert json.loads(written)["migration"] == text
    assert account["problem_list"][0]["folder"] == [text, text]
    assert account["problem_list"][0]["message_id"] == text


@given(TEXTS)
def test_only_what_was_made_as_markup_is_markup(text: str) -> None:
    """An element escapes its text and its attributes, wherever they came from; what is an element stays one."""
    checker = parsed(tag("p", tag("b", text), text, (text, 5), title=text))
    assert [name for name, _ in checker.elements] == ["p", "b"]
    assert checker.elements[0][1]["title"] == printable(text)
    assert "".join(checker.text) == f"{printable(text) * 3}5"
