"""The search behind its login: who gets in, who does not, and what an outsider can learn."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from attrs import define, field
from starlette.applications import Starlette

from alimail_core import Clock, Registry, Transient
from alimail_core.cli import main
from alimail_core.testing import FakeClock
from alimail_core.testing.servers import Dovecot
from alimail_outlook.addin.building import Site
from alimail_outlook.addin.login import HOURS, Limit, Sessions, mail_server
from alimail_outlook.addin.server import COOKIE, application
from alimail_outlook.addressbook.book import LOOK_AGAIN, MOST, Book

BASE = "https://addin.example.com/outlook"
PANE = {"X-Alimail": "pane", "Origin": "https://addin.example.com"}

PEOPLE = """姓名,邮箱帐号,部门,职务,密码,分机
王小明,wang@new.example,销售部/华东,经理,hidden-1,8001
Anna Müller,anna@new.example,Sales/North,Head of sales,hidden-2,8002
Ben Anderson,ben@new.example,Development,Engineer,hidden-3,
,room@new.example,,,hidden-4,
No Address,,,,,
"""


class Client:
    """Somebody's browser: it keeps cookies, and asks the application without a network."""

    def __init__(self, app: Starlette) -> None:
        self._app = app
        self.cookies = httpx.Cookies()
        self.headers = dict(PANE)

    def get(self, path: str, **more: Any) -> httpx.Response:
        """Ask for something."""
        return self.request("GET", path, **more)

    def post(self, path: str, **more: Any) -> httpx.Response:
        """Send something."""
        return self.request("POST", path, **more)

    def request(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Ask the application."""

        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(
                transport=transport,
                base_url="https://addin.example.com",
                cookies=self.cookies,
                headers=self.headers,
            ) as client:
                answer = await client.request(method, path, **more)
                self.cookies = client.cookies
                return answer

        return anyio.run(ask)


@define(eq=False)
class Desk:
    """The application with a login that is played, and what that was asked."""

    folder: Path
    clock: FakeClock = field(factory=FakeClock)
    asked: list[str] = field(factory=list)
    lost: bool = False

    @property
    def sheet(self) -> Path:
        """Where the address book is."""
        return self.folder / "people.csv"

    def check(self, address: str, password: str) -> bool:
        """Let in whoever has the one password."""
        self.asked.append(address)
        if self.lost:
            raise Transient("the server is away")
        return password == "right"

    def client(self, refused_after: float = 0.0) -> Client:
        """Return somebody's browser."""
        site = Site.of(BASE, "", "Example")
        book = Book(self.sheet, self.clock)
        app = application(site, book, self.check, self.clock, refused_after=refused_after)
        return Client(app)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    """A desk with an address book."""
    made = Desk(tmp_path)
    made.sheet.write_text(PEOPLE, "utf-8")
    return made


def log_in(client: Client, address: str = "anna@new.example", password: str = "right") -> httpx.Response:
    """Try a login."""
    return client.post("/outlook/api/login", json={"address": address, "password": password})


def names(client: Client, text: str) -> list[str]:
    """Return the addresses that a search finds, without their domain."""
    answer = client.get("/outlook/api/people", params={"q": text})
    assert answer.status_code == 200, answer.text
    return [each["address"].partition("@")[0] for each in answer.json()["people"]]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("anna", ["anna"]),
        ("MULLER", []),
        ("müller", ["anna"]),
        ("ｍüｌｌｅｒ", ["anna"]),
        ("小明", ["wang"]),
        ("sales north", ["anna"]),
        ("north engineer", []),
        ("an", ["anna", "ben", "wang"]),  # of the first two a name begins with it
        ("new.example", ["room", "anna", "ben", "wang"]),
        ("hidden", []),
        ("   ", []),
    ],
)
def test_a_search_finds_people_by_every_word(desk: Desk, text: str, found: list[str]) -> None:
    """Case, width and order of words do not matter; what is not for the pane is not even searched."""
    client = desk.client()
    assert log_in(client).status_code == 200
    assert names(client, text) == found


def test_nobody_searches_without_a_login(desk: Desk) -> None:
    """Neither without a session, nor with one that was made up, is over, or was ended."""
    client = desk.client()
    assert client.get("/outlook/api/people?q=anna").status_code == 401
    assert client.get("/outlook/api/session").json() == {"address": None}
    client.cookies.set(COOKIE, "made-up")
    assert client.get("/outlook/api/people?q=anna").status_code == 401
    client.cookies.clear()
    log_in(client)
    assert client.get("/outlook/api/session").json() == {"address": "anna@new.example"}
    kept = dict(client.cookies)
    client.post("/outlook/api/logout")
    client.cookies.update(kept)
    assert client.get("/outlook/api/people?q=anna").status_code == 401
    client.cookies.clear()
    log_in(client)
    desk.clock.sleep(HOURS * 3600 + 1)
    assert client.get("/outlook/api/people?q=anna").status_code == 401


def test_the_session_is_out_of_scripts_reach(desk: Desk) -> None:
    """The cookie is one that no script reads, no clear connection carries, and no other site's frame shares."""
    cookie = log_in(desk.client()).headers["set-cookie"]
    assert {"Secure", "HttpOnly", "SameSite=None", "Partitioned", "Path=/"} <= set(cookie.split("; "))
    assert cookie.startswith("__Host-")


def test_only_who_stands_in_the_book_gets_in(desk: Desk) -> None:
    """A mailbox elsewhere at the same server opens nothing, and the server is not even asked about it."""
    client = desk.client()
    assert log_in(client, "eve@other.example").status_code == 401
    assert desk.asked == []
    assert log_in(client, "ANNA@new.example", "wrong").status_code == 401
    assert desk.asked == ["ANNA@new.example"]
    assert log_in(client, " anna@NEW.example ").status_code == 200


def test_whoever_leaves_the_book_searches_no_more(desk: Desk) -> None:
    """The sheet is read anew when it changes; one that went bad leaves what was read before."""
    client = desk.client()
    log_in(client)
    desk.sheet.write_text(PEOPLE.replace("王小明", "王大明"), "utf-8")
    assert names(client, "大明") == []
    desk.clock.sleep(LOOK_AGAIN + 1)
    assert names(client, "大明") == ["wang"]
    desk.sheet.write_text("nothing of use\n", "utf-8")
    desk.clock.sleep(LOOK_AGAIN + 1)
    assert names(client, "大明") == ["wang"]
    desk.sheet.write_text(PEOPLE.replace("anna@", "other@"), "utf-8")
    os.utime(desk.sheet, (1, 1))
    desk.clock.sleep(LOOK_AGAIN + 1)
    assert client.get("/outlook/api/people?q=anna").status_code == 401


def test_refusals_take_as_long_for_nobody_as_for_somebody(desk: Desk) -> None:
    """Neither answer nor time tells whether an address is somebody's."""
    client = desk.client(refused_after=0.2)
    told = []
    for address in ("anna@new.example", "nobody@new.example"):
        client.cookies.clear()
        began = time.monotonic()
        answer = log_in(client, address, "wrong")
        told.append((answer.status_code, answer.content, time.monotonic() - began >= 0.2))
    assert told == [(401, b"", True)] * 2


def test_guessing_is_bounded(desk: Desk) -> None:
    """Five attempts for an address, then none is passed on until time has gone by, however it is spelt."""
    client = desk.client()
    for spelling in ("anna@new.example", "Anna@new.example", "ANNA@NEW.EXAMPLE", "anna@new.example ") * 2:
        log_in(client, spelling, "wrong")
    assert len(desk.asked) == 5
    assert log_in(client).status_code == 429
    assert log_in(client, "ben@new.example").status_code == 200
    desk.clock.sleep(901)
    assert log_in(client).status_code == 200


def test_one_place_cannot_guess_for_all(desk: Desk) -> None:
    """A hundred wrong attempts from one address, whomever they are for; right ones do not count."""
    client = desk.client()
    answers = [log_in(client, f"person{number}@new.example", "wrong").status_code for number in range(99)]
    assert set(answers) == {401}
    assert [log_in(client).status_code for _ in range(6)] == [200] * 6
    assert log_in(client, "ben@new.example", "wrong").status_code == 401
    assert log_in(client).status_code == 429


def test_searches_are_bounded(desk: Desk) -> None:
    """In number and in length, and one tells of no more than fifty people."""
    rows = "".join(f"Person {number},p{number}@new.example\n" for number in range(MOST + 1))
    desk.sheet.write_text(f"name,address\nAnna,anna@new.example\n{rows}", "utf-8")
    client = desk.client()
    log_in(client)
    answer = client.get("/outlook/api/people?q=person").json()
    assert (len(answer["people"]), answer["more"]) == (MOST, True)
    assert client.get("/outlook/api/people", params={"q": "x" * 101}).status_code == 400
    answers = {client.get("/outlook/api/people?q=anna").status_code for _ in range(120)}
    assert answers == {200, 429}


def test_no_other_site_asks_in_somebodys_name(desk: Desk) -> None:
    """A request from another origin, or without the pane's header, gets nothing; the pane's own preflight passes."""
    client = desk.client()
    log_in(client)
    assert (
        client.get("/outlook/api/people?q=a", headers={"Origin": "https://evil.example"}).status_code == 403
    )
    del client.headers["X-Alimail"]
    assert client.get("/outlook/api/people?q=a").status_code == 403
    answer = client.request("OPTIONS", "/outlook/api/people")
    assert answer.headers["access-control-allow-origin"] == "https://addin.example.com"
    evil = client.request("OPTIONS", "/outlook/api/people", headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in evil.headers


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 4000,
        json.dumps({"address": 1, "password": "x"}).encode(),
        json.dumps({"address": "anna@new.example\r\nX", "password": "right"}).encode(),
        json.dumps({"address": "anna@new.example", "password": "x" * 5000}).encode(),
        json.dumps({"address": "anna@new.example", "password": ""}).encode(),
        b'{"address": "anna@new.example", "password": "\\ud800\\u0000"}',
    ],
)
def test_what_is_no_login_reaches_nobody(desk: Desk, octets: bytes) -> None:
    """It is refused at once."""
    assert desk.client().post("/outlook/api/login", content=octets).status_code == 400
    assert desk.asked == []


def test_a_mail_server_that_is_away_is_told(desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    """It is no wrong password, and the log has the server's words and no secret."""
    desk.lost = True
    assert log_in(desk.client()).status_code == 503
    assert "the server is away" in caplog.text
    assert "right" not in caplog.text


def test_files_come_with_their_headers(desk: Desk) -> None:
    """Each has its type and a policy; only Outlook may frame it; nothing else is served."""
    client = desk.client()
    answer = client.get("/outlook/pane.html")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'self' https://outlook.office.com" in policy
    assert "unsafe" not in policy
    assert client.get("/outlook/pane.js").headers["content-type"].startswith("text/javascript")
    assert client.get("/outlook/manifest.xml").status_code == 200
    for path in ("/outlook/../login.py", "/outlook/pane/pane.js", "/", "/outlook/api/people.json"):
        assert client.get(path).status_code in (401, 404)


def test_limits_and_sessions_stay_small() -> None:
    """What outsiders send does not fill the memory."""
    clock = FakeClock()
    limit, sessions = Limit(1, 60, clock), Sessions(clock)
    for number in range(20_100):
        limit.count(str(number))
        sessions.begin("anna@new.example")
    assert len(limit._times) == 20_000
    assert len(sessions._open) == 20_000


@pytest.fixture(scope="module")
def dovecot() -> Iterator[Dovecot]:
    """A real mail server."""
    with Dovecot() as server:
        yield server


@pytest.mark.server
def test_a_real_mail_server_is_asked(dovecot: Dovecot) -> None:
    """Whoever it lets in gets in, by TLS that is verified; a server that is not trusted is told at the start."""
    url = f"imap://{dovecot.host}:{dovecot.imaps_port}?tls=implicit&ca={dovecot.ca_file}"
    check = mail_server(url, Registry.load(only=["imap"]), Clock())
    assert check("anna@new.example", dovecot.password)
    assert not check("anna@new.example", "wrong")


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["--listen", "0.0.0.0:8443"], "in clear"),
        (["--listen", "here"], "no address and port"),
        (["--certificate", "missing.pem"], "not there"),
        (["--book", "missing.csv"], "missing.csv"),
        (["--login", "imap://anna:secret@mail.example"], "it is no server"),
    ],
)
def test_serve_refuses_before_it_listens(
    desk: Desk, words: list[str], fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What cannot be served safely is told with its option."""
    given = {"--book": str(desk.sheet), "--login": "imap://mail.example", words[0]: words[1]}
    assert main(["outlook", "addin", "serve", *(word for pair in given.items() for word in pair)]) == 2
    told = capsys.readouterr().err
    assert fault in told
    assert "secret" not in told
