"""The pane in a real Chromium, served as it is in earnest, with a double in the place of Office.js."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvicorn
from attrs import define

from alimail_core import Clock
from alimail_outlook.addin.building import OFFICE_JS, Site
from alimail_outlook.addin.server import application
from alimail_outlook.addressbook.book import Book
from tests.browser import Browser, Page

pytestmark = pytest.mark.slow

HERE = Path(__file__).parent

PEOPLE = """name,address,department,title,extension
王小明,wang@new.example,销售部/华东,经理,8001
Anna Müller,anna@new.example,Sales/North,Head of sales,8002
<img src=x onerror=alert(1)>,odd@new.example,</li><script>alert(2)</script>,,
"""

KEYS = {"Tab": 9, "Enter": 13, "Escape": 27, "ArrowUp": 38, "ArrowDown": 40}


def check(address: str, password: str) -> bool:
    """Let in whoever has the one password."""
    return password == "right"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests of this file."""
    with Browser() as started:
        yield started


@pytest.fixture
def base(tmp_path: Path) -> Iterator[str]:
    """The add-in, served on loopback."""
    sheet = tmp_path / "people.csv"
    sheet.write_text(PEOPLE, "utf-8")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        site = Site.of(f"http://127.0.0.1:{listening.getsockname()[1]}/outlook", "", "Example")
        app = application(site, Book(sheet, Clock()), check, Clock(), refused_after=0.0)
        server = uvicorn.Server(uvicorn.Config(app, ws="none", lifespan="off", log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        yield site.base
        server.should_exit = True
        thread.join(60)
        assert not thread.is_alive()


@define(eq=False)
class Pane:
    """The page, and somebody at its keyboard."""

    page: Page
    base: str

    def until(self, expression: str) -> Any:
        """Wait until an expression is true in the page, a minute at most; return it."""
        return self.page.evaluate(
            f"""new Promise((done, lost) => {{
                const end = Date.now() + 60000;
                (function look() {{
                    const value = ({expression});
                    if (value) done(value);
                    else if (Date.now() > end) lost(new Error("never came: " + document.body.innerText));
                    else setTimeout(look, 20);
                }})();
            }})"""
        )

    def press(self, key: str) -> None:
        """Press a key."""
        told = {"key": key, "code": key, "windowsVirtualKeyCode": KEYS[key]}
        text = {"text": "\r"} if key == "Enter" else {}
        self.page.ask("Input.dispatchKeyEvent", type="keyDown", **told, **text)
        self.page.ask("Input.dispatchKeyEvent", type="keyUp", **told)

    def write(self, text: str) -> None:
        """Write where the focus is, in place of what is there."""
        self.page.evaluate("document.activeElement.select()")
        self.page.ask("Input.insertText", text=text)

    def log_in(self, password: str = "right") -> None:
        """Log in by keyboard alone: the address is there, the focus in the password."""
        self.until("document.activeElement.id === 'password'")
        self.write(password)
        self.press("Enter")

    def search(self, text: str, count: int) -> None:
        """Search, and wait for so many people."""
        self.until("document.activeElement.id === 'query'")
        self.write(text)
        self.until(f"document.querySelectorAll('#people li').length === {count} && note.textContent")

    @property
    def note(self) -> str:
        """What a screen reader is told."""
        return str(self.page.evaluate("note.textContent"))

    @property
    def done(self) -> dict[str, Any]:
        """What Outlook was asked for."""
        return dict(self.page.evaluate("DONE"))

    @property
    def focused(self) -> str:
        """Name what has the focus, as a screen reader does."""
        return str(self.page.evaluate("document.activeElement.ariaLabel ?? document.activeElement.id"))


def opened(
    browser: Browser,
    base: str,
    mode: str | None = "compose",
    *,
    width: int = 320,
    dark: bool = False,
    **played: Any,
) -> Pane:
    """Open the pane as Outlook does, in a new session."""
    double = (HERE / "office_double.js").read_text("utf-8")
    told = {"mode": mode, "language": "en-US"} | played
    script = f"globalThis.PLAYED = {json.dumps(told)};\n{double}"
    page = browser.open(f"{base}/pane.html", width=width, height=700, dark=dark, before=script)
    return Pane(page, base)


@pytest.fixture(autouse=True)
def no_cookies(browser: Browser) -> None:
    """Each test begins with a browser that was never here."""
    browser.ask("Storage.clearCookies")


def test_a_colleague_is_found_and_added_by_keyboard(browser: Browser, base: str) -> None:
    """Log in, search, go down to the person, add to To and Cc, and back: no mouse, and each step is told."""
    pane = opened(browser, base)
    pane.log_in()
    pane.search("anna", 1)
    assert pane.note == "Found: 1"
    pane.press("ArrowDown")
    assert pane.focused == "Add Anna Müller to To"
    pane.press("Enter")
    pane.until("note.textContent === 'Anna Müller was added to To.'")
    pane.press("Tab")
    pane.press("Enter")
    pane.until("note.textContent === 'Anna Müller was added to Cc.'")
    person = {"displayName": "Anna Müller", "emailAddress": "anna@new.example"}
    assert pane.done["added"] == [["to", [person]], ["cc", [person]]]
    pane.press("Escape")
    assert pane.focused == "query"
    pane.page.close()


def test_the_arrows_stay_in_the_column(browser: Browser, base: str) -> None:
    """Down and up go from person to person at the same button, and from the first back to the field."""
    pane = opened(browser, base)
    pane.log_in()
    pane.search("new.example", 3)
    pane.press("ArrowDown")
    pane.press("Tab")
    pane.press("ArrowDown")
    assert pane.focused == "Add Anna Müller to Cc"
    pane.press("ArrowUp")
    pane.press("ArrowUp")
    assert pane.focused == "query"
    pane.page.close()


def test_it_speaks_chinese(browser: Browser, base: str) -> None:
    """Outlook's language is the pane's, also for screen readers."""
    pane = opened(browser, base, language="zh-CN")
    pane.log_in()
    pane.search("小明", 1)
    assert pane.page.evaluate("document.documentElement.lang") == "zh-CN"
    assert pane.page.evaluate("document.title") == "企业通讯录"
    pane.press("ArrowDown")
    assert pane.focused == "将 王小明 添加到收件人"
    words = json.loads(pane.page.evaluate("import('./words.js').then(w => JSON.stringify(w.WORDS))"))
    assert words["en"].keys() == words["zh"].keys()
    pane.page.close()


def test_where_a_message_is_read_it_writes_a_new_one(browser: Browser, base: str) -> None:
    """There is nothing to add to, so a new message is opened."""
    pane = opened(browser, base, "read")
    pane.log_in()
    pane.search("anna", 1)
    pane.press("ArrowDown")
    assert pane.focused == "Write a message to Anna Müller"
    pane.press("Enter")
    assert pane.done["written"] == [{"toRecipients": ["anna@new.example"]}]
    pane.page.close()


def test_outside_of_outlook_it_only_searches(browser: Browser, base: str) -> None:
    """It says so, and offers nothing that it cannot do."""
    pane = opened(browser, base, None)
    pane.until("document.activeElement.id === 'address'")
    pane.write("anna@new.example")
    pane.press("Tab")
    pane.log_in()
    pane.until("note.textContent.startsWith('Outside of Outlook')")
    pane.search("anna", 1)
    assert pane.page.evaluate("document.querySelectorAll('#people button').length") == 0
    pane.page.close()


def test_what_outlook_or_the_server_refuses_is_told(browser: Browser, base: str) -> None:
    """A wrong password, a full message, a session that is over: each has its words, and the way on has the focus."""
    pane = opened(browser, base, failure="The field is full.")
    pane.log_in("wrong")
    pane.until("note.textContent === 'Address or password are not right.'")
    assert pane.focused == "password"
    assert pane.page.evaluate("password.value") == ""
    pane.log_in()
    pane.search("anna", 1)
    pane.press("ArrowDown")
    pane.press("Enter")
    pane.until("note.textContent === 'Outlook did not add Anna Müller: The field is full.'")
    browser.ask("Storage.clearCookies")
    pane.press("Escape")
    pane.write("wang")
    pane.until("note.textContent === 'Please log in again.'")
    assert pane.focused == "password"
    pane.page.close()


def test_it_keeps_nothing_that_a_script_can_read(browser: Browser, base: str) -> None:
    """A session lasts over an opening of the pane, and neither storage nor cookies tell a script of it."""
    pane = opened(browser, base)
    pane.log_in()
    pane.until("document.activeElement.id === 'query'")
    pane.page.close()
    again = opened(browser, base)
    again.until("document.activeElement.id === 'query'")
    assert again.page.evaluate("[document.cookie, localStorage.length, sessionStorage.length]") == ["", 0, 0]
    again.page.evaluate("document.getElementById('log-out').click()")
    again.until("document.activeElement.id === 'password'")
    again.page.close()


def test_it_loads_nothing_from_elsewhere_but_office_js(browser: Browser, base: str) -> None:
    """Names from the address book stay text, and the browser has nothing to complain of but the missing Office.js."""
    pane = opened(browser, base)
    pane.log_in()
    pane.search("odd", 1)
    assert pane.page.evaluate("document.querySelector('#people .name').textContent.startsWith('<img')")
    hosts = {urlsplit(each).netloc for each in pane.page.requests}
    assert hosts == {urlsplit(base).netloc, urlsplit(OFFICE_JS).netloc}
    assert [each for each in pane.page.complaints if "ERR_NAME_NOT_RESOLVED" not in each] == []
    pane.page.close()


def test_the_policy_keeps_out_what_might_slip_in(browser: Browser, base: str) -> None:
    """An inline script and a picture from elsewhere are refused by the page's own policy."""
    pane = opened(browser, base)
    pane.until("document.activeElement.id === 'password'")
    pane.page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'RAN = 1'}),"
        " Object.assign(document.createElement('img'), {src: 'http://192.0.2.1/spy.png', alt: ''}))"
    )
    pane.until("typeof RAN === 'undefined'")
    for _ in range(1000):
        if sum("Content Security Policy" in each for each in pane.page.complaints) >= 2:
            break
        time.sleep(0.01)
        pane.page.evaluate("1")  # what it answers, the browser's other words come before
    assert sum("Content Security Policy" in each for each in pane.page.complaints) >= 2
    pane.page.close()


@pytest.mark.parametrize("ground", ["#ffffff", "#1f1f1f"], ids=["day", "night"])
def test_it_keeps_nobody_out(browser: Browser, base: str, ground: str) -> None:
    """axe-core finds nothing at the login nor in the list, narrow as a pane is, in Outlook's own theme."""
    pane = opened(browser, base, width=300, ground=ground, dark=ground == "#ffffff")
    pane.until("document.activeElement.id === 'password'")
    assert violations(pane) == []
    pane.log_in()
    pane.search("new.example", 3)
    assert violations(pane) == []
    assert pane.page.evaluate("document.documentElement.scrollWidth") <= 300
    shade = pane.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert shade == ("rgb(255, 255, 255)" if ground == "#ffffff" else "rgb(31, 31, 31)")
    pane.page.close()


def violations(pane: Pane) -> list[tuple[str, str]]:
    """Return the rules that axe-core finds broken, each with the first place."""
    pane.page.evaluate(files("axe_core_python").joinpath("axe.min.js").read_text("utf-8"))
    found = pane.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    assert len(found["passes"]) > 10, "it has looked at the page"
    return [(each["id"], each["nodes"][0]["html"]) for each in found["violations"]]
