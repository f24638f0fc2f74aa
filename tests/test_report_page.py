"""The report's page in a real Chromium: loads nothing, needs no script, fits a phone and paper, keeps nobody out."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve

from alimail_core.errors import Remark
from alimail_core.report.cells import MANY
from alimail_core.report.contents import Report
from alimail_core.report.page import page
from tests.browser import Browser
from tests.report_samples import sample

pytestmark = pytest.mark.slow

SCREENS = {"desktop": (1280, 900), "phone": (360, 740), "small phone": (320, 568)}

DOZEN = 12
"""Accounts among which each answer is given."""

LONG = "W" * 300
"""A name that no line holds."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests of this file."""
    with Browser() as started:
        yield started


def long_names(folder: Path) -> Report:
    """Make a report whose names have nowhere to break."""
    report = sample(folder, DOZEN)
    accounts = tuple(
        evolve(each, status=evolve(each.status, source_address=f"{LONG}@old.example", reason=LONG))
        for each in report.accounts
    )
    return evolve(report, migration=LONG, accounts=accounts)


REPORTS = {
    "nobody": lambda folder: sample(folder, 0),
    "one": lambda folder: sample(folder, 1, healthy=True),
    "a dozen": lambda folder: sample(folder, DOZEN),
    "long names": long_names,
}


@pytest.fixture(params=REPORTS)
def written(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A page of each kind, in a file."""
    return write(tmp_path, REPORTS[request.param](tmp_path))


def write(folder: Path, report: Report) -> Path:
    """Write a report's page alone."""
    path = folder / "report.html"
    path.write_text(page(report), "utf-8")
    return path


def test_the_page_asks_for_nothing_but_itself(browser: Browser, written: Path) -> None:
    """The browser asks for one file, and has nothing to complain of."""
    shown = browser.open(written)
    assert shown.requests == [written.as_uri()]
    assert shown.complaints == []
    shown.close()


def test_the_pages_policy_forbids_what_might_slip_in(browser: Browser, tmp_path: Path) -> None:
    """Were an image or a script in it, the page's own policy would keep the browser from it, and it would say so."""
    path = write(tmp_path, sample(tmp_path, 1))
    slipped = '<img src="http://192.0.2.1/spy.png"><script>document.title = "ran"</script></main>'
    path.write_text(path.read_text("utf-8").replace("</main>", slipped), "utf-8")
    shown = browser.open(path)
    assert shown.evaluate("document.title") != "ran"
    assert len(shown.complaints) == 2
    assert all("Content Security Policy" in each for each in shown.complaints)
    shown.close()


LOOK = """[document.body.innerText, ...[...document.querySelectorAll("body *")].map(
    each => JSON.stringify(each.getBoundingClientRect()))]"""


def test_the_page_needs_no_script(browser: Browser, written: Path) -> None:
    """With scripts switched off it says the same, and everything has the same place."""
    with_scripts, without = browser.open(written), browser.open(written, scripts=False)
    assert with_scripts.evaluate(LOOK) == without.evaluate(LOOK)
    with_scripts.close()
    without.close()


def test_each_remedy_is_told_once_with_all_whom_it_helps(browser: Browser, tmp_path: Path) -> None:
    """One step helps accounts that are in trouble and accounts that are merely under way: it counts them together."""
    report = sample(tmp_path, DOZEN, healthy=True)
    never, tried = (
        evolve(report.accounts[0].status, state=""),
        evolve(report.accounts[1].status, state="trial"),
    )
    proof = report.accounts[2].proof
    assert proof is not None
    fault = Remark("fault", "the folder cannot be listed", "Ask the provider.")
    unread = evolve(proof, remarks=(fault, evolve(fault, text="another cannot be listed")), failed=True)
    accounts = (
        evolve(report.accounts[1], status=tried),
        evolve(report.accounts[0], status=never),
        evolve(report.accounts[2], proof=unread),
    )
    shown = browser.open(write(tmp_path, evolve(report, accounts=accounts)))
    steps = shown.evaluate("[...document.querySelectorAll('#to-do + ol li')].map(each => each.innerText)")
    shown.close()
    assert steps[0] == (f"2 accounts: Run alimail migrate. ({never.source_address}, {tried.source_address})")
    assert steps[1].startswith("1 account: Ask the provider. (")
    assert len(steps) == 3


@pytest.mark.parametrize("dark", [False, True], ids=["day", "night"])
@pytest.mark.parametrize("screen", ["desktop", "phone"])
def test_the_page_keeps_nobody_out(browser: Browser, written: Path, screen: str, dark: bool) -> None:
    """axe-core finds nothing: contrast, landmarks, headings, tables, language, names of pictures and links."""
    width, height = SCREENS[screen]
    shown = browser.open(written, width=width, height=height, dark=dark)
    assert violations(shown) == []
    shown.close()


def test_the_checker_sees_what_would_keep_people_out(browser: Browser, tmp_path: Path) -> None:
    """Pale words, a skipped heading, a table without headings and a page without language do not pass."""
    path = write(tmp_path, sample(tmp_path, DOZEN))
    text = path.read_text("utf-8").replace("--quiet: #52606d", "--quiet: #b0b8c0").replace(' lang="en"', "")
    path.write_text(
        text.replace("<h2", "<h4").replace("</h2", "</h4").replace("<svg", "<svg aria-label='' x"), "utf-8"
    )
    shown = browser.open(path)
    rules = {rule for rule, _ in violations(shown)}
    assert {"color-contrast", "heading-order", "html-has-lang", "svg-img-alt"} <= rules
    shown.close()


def violations(shown: Any) -> list[tuple[str, str]]:
    """Return the rules that axe-core finds broken, each with the first place."""
    shown.evaluate(files("axe_core_python").joinpath("axe.min.js").read_text("utf-8"))
    found = shown.evaluate("axe.run(document, {resultTypes: ['violations']})")
    assert len(found["passes"]) > 10, "it has looked at the page"
    return [(each["id"], each["nodes"][0]["html"]) for each in found["violations"]]


OUTSIDE = """[...document.querySelectorAll("body *")].filter(each => {
    const box = each.getBoundingClientRect();
    return !each.closest("thead") && (box.right > innerWidth + 0.5 || box.left < -0.5);
}).map(each => each.outerHTML.slice(0, 200))"""


@pytest.mark.parametrize("screen", SCREENS)
def test_nothing_hangs_over_the_edge(browser: Browser, written: Path, screen: str) -> None:
    """On no screen does the page scroll sideways, whatever the names are."""
    width, height = SCREENS[screen]
    shown = browser.open(written, width=width, height=height)
    assert shown.evaluate("innerWidth") == width
    assert shown.evaluate("document.documentElement.scrollWidth") <= width
    assert shown.evaluate(OUTSIDE) == []
    shown.close()


BROKEN = """[...document.querySelectorAll("td.number div")].filter(each => {
    const range = document.createRange();
    range.selectNodeContents(each);
    return new Set([...range.getClientRects()].map(box => box.top)).size > 1;
}).map(each => each.textContent)"""


@pytest.mark.parametrize("screen", SCREENS)
def test_no_number_is_broken_in_two(browser: Browser, tmp_path: Path, screen: str) -> None:
    """A number is in one line on every screen."""
    width, height = SCREENS[screen]
    shown = browser.open(write(tmp_path, sample(tmp_path, 30)), width=width, height=height)
    assert shown.evaluate(BROKEN) == []
    shown.close()


def test_the_first_screen_is_for_a_manager(browser: Browser, tmp_path: Path) -> None:
    """Answer, sums, how the accounts stand and what to do first are seen without scrolling."""
    shown = browser.open(write(tmp_path, sample(tmp_path, 30)))
    ends = shown.evaluate(
        "['.answer', '.sums', '.bar', '#to-do', '#to-do + ol li'].map("
        "name => document.querySelector(name).getBoundingClientRect().bottom)"
    )
    assert ends == sorted(ends)
    assert ends[-1] < 900
    shown.close()


def test_paper_is_white_and_has_what_paper_needs(browser: Browser, tmp_path: Path) -> None:
    """Printed at night it is black on white, without links to click, each page of a table with its headings."""
    shown = browser.open(write(tmp_path, sample(tmp_path, 30)), width=680, dark=True, media="print")
    look = shown.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color,"
        " getComputedStyle(document.querySelector('nav')).display,"
        " getComputedStyle(document.querySelector('thead')).display,"
        " getComputedStyle(document.querySelector('tbody tr')).breakInside]"
    )
    assert look == ["rgb(255, 255, 255)", "rgb(0, 0, 0)", "none", "table-header-group", "avoid"]
    assert shown.evaluate(OUTSIDE) == []
    assert violations(shown) == []
    paper = shown.paper()
    assert paper.startswith(b"%PDF")
    assert 5 < len(re.findall(rb"/Type /Page\b", paper)) < 40
    shown.close()


def test_five_thousand_accounts_stay_readable(browser: Browser, tmp_path: Path) -> None:
    """What needs a look comes first and is bounded, the table of all accounts comes late and has every one."""
    path = write(tmp_path, sample(tmp_path, 5_000))
    assert path.stat().st_size < 8_000_000
    shown = browser.open(path, width=360, height=740)
    assert shown.evaluate("document.documentElement.scrollWidth") <= 360
    rows = shown.evaluate(
        "Object.fromEntries([...document.querySelectorAll('section')].map("
        "each => [each.querySelector('h2').id, each.querySelectorAll('tbody tr').length]))"
    )
    order = ["to-do", "progress", "attention", "problems", "not-moved", "changed", "folders", "balance"]
    assert list(rows) == [*order, "accounts", "proof", "servers", "words"]
    assert rows["attention"] == MANY
    assert 0 < rows["problems"] <= MANY
    assert rows["accounts"] == 5_000
    assert shown.evaluate("document.querySelectorAll('#to-do + ol li').length") <= 8
    shown.close()


def test_the_drawing_ends_where_the_sums_are(browser: Browser, tmp_path: Path) -> None:
    """The line of the progress only rises, stays inside of its frame, and its words tell the last point."""
    report = sample(tmp_path, 30)
    shown = browser.open(write(tmp_path, report))
    label = shown.evaluate("document.querySelector('.plot svg').getAttribute('aria-label')")
    assert f"{report.progress[-1].messages:,} messages" in label
    heights = shown.evaluate(
        "(() => { const line = document.querySelector('.line'), n = line.getTotalLength();"
        " return [...Array(101).keys()].map(i => line.getPointAtLength(n * i / 100).y) })()"
    )
    assert heights == sorted(heights, reverse=True)
    assert 0 <= heights[-1] < heights[0] <= 100
    shown.close()
