"""``addressbook check`` against real servers: who is let in, what they offer, and whether a colleague is found."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from alimail_core import Clock, Employee, InputError, Step, StepDone
from alimail_core.testing.certificates import Certificate, make_certificate
from alimail_directory.provisioner import open_provisioner
from alimail_directory.testing import OpenPlatformServer
from alimail_outlook.addressbook.dav import person_of
from alimail_outlook.addressbook.verbs import COMMAND
from plugins.outlook.tests.directories import BASE, HOST, LI, LOGIN, PASSWORD, Place, openldap, radicale
from tests.internet import internet

pytestmark = [
    pytest.mark.server,
    # ldap3 names two tables of pyasn1 as they were called before.
    pytest.mark.filterwarnings("ignore:(tag|type)Map is deprecated:DeprecationWarning"),
]

DOMAIN = "new.example"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """What all of these servers show."""
    return make_certificate(tmp_path_factory.mktemp("tls"), DOMAIN, f"dav.{DOMAIN}", "dav.evil.example")


@pytest.fixture(scope="module")
def dav(tmp_path_factory: pytest.TempPathFactory, certificate: Certificate) -> Iterator[Place]:
    """Radicale."""
    with radicale(tmp_path_factory.mktemp("radicale"), certificate) as place:
        yield place


@pytest.fixture(scope="module")
def ldap(tmp_path_factory: pytest.TempPathFactory, certificate: Certificate) -> Iterator[Place]:
    """OpenLDAP."""
    with openldap(tmp_path_factory.mktemp("slapd"), certificate) as place:
        yield place


@pytest.fixture
def check(
    certificate: Certificate,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Any:
    """Run the verb with an account and ``--json``; return its exit code and the findings by their steps."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LI", PASSWORD)

    def run(**given: Any) -> tuple[int, dict[str, Any]]:
        command = next(each for each in COMMAND.commands if each.name == "check")
        assert command.run is not None
        arguments: dict[str, Any] = {each.name: each.default or "" for each in command.arguments}
        arguments |= {
            "--login": LOGIN,
            "--secret": "env:LI",
            "--ca": str(certificate.ca_file),
            "--json": True,
        }
        code = command.run(arguments | {f"--{name}": value for name, value in given.items()})
        output = capsys.readouterr().out
        assert PASSWORD not in output
        told = json.loads(output)
        assert told["found"] == (code == 0)
        return code, {each["step"]: each for some in told["directories"] for each in some["findings"]}

    return run


@pytest.mark.parametrize(
    ("colleague", "found"),
    [
        ("anna@new.example", "Anna Smith <anna@new.example>"),
        ("SMITH anna", "Anna Smith <anna@new.example>"),
        ("王小明", "王小明 <wang@new.example>"),
        ("(Jo)", "Joanna (Jo) Smythe <joanna@new.example>"),
        ("Anna Smythe Li", ""),
        ("nna@new.example", ""),
        ("*", ""),
        ("<a", ""),
    ],
)
def test_a_colleague_is_found_by_name_or_address(
    check: Any, dav: Place, ldap: Place, colleague: str, found: str
) -> None:
    """At both servers alike: by all words of a name in any order, or by the whole address, and nobody else."""
    places = {"carddav": f"https://{HOST}:{dav.port}", "ldap": f"ldaps://{HOST}:{ldap.port}"}
    code, told = check(colleague=colleague, **places)
    assert code == (0 if found else 3)
    assert told["CardDAV: address book"]["text"] == "address books: Staff"
    assert told["LDAP: address book"]["text"] == f"entries beneath {BASE}"
    for kind in ("CardDAV", "LDAP"):
        search = told[f"{kind}: search"]
        assert search["text"] == (f"found: {found}" if found else f"{colleague} is not found")
        assert bool(search["remedy"]) != bool(found)


def test_several_colleagues_are_counted(check: Any, dav: Place, ldap: Place) -> None:
    """A part of two names finds both."""
    code, told = check(
        colleague="anna", carddav=f"https://{HOST}:{dav.port}", ldap=f"ldap://{HOST}:{ldap.clear_port}/{BASE}"
    )
    assert code == 0
    assert told["CardDAV: search"]["text"].endswith(", and 1 more")
    assert told["LDAP: search"]["text"].endswith(", and 1 more")


@pytest.mark.parametrize("login", [LOGIN, LI, "li"])
def test_ldap_lets_in_by_address_short_name_or_entry(check: Any, ldap: Place, login: str) -> None:
    """OpenLDAP itself takes entries' names alone; which entry it is, the server is asked."""
    code, told = check(colleague="wang@new.example", ldap=f"ldaps://{HOST}:{ldap.port}/{BASE}", login=login)
    assert (code, told["LDAP: login"]["level"]) == (0, "ok")
    assert "TLSv1." in told["LDAP: login"]["text"]


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"secret": "env:WRONG"}, "lets li@new.example not in: invalidCredentials"),
        ({"login": "nobody@new.example"}, "does not tell which entry nobody@new.example is"),
        ({"login": "uid=nobody,dc=new,dc=example"}, "not in: invalidCredentials"),
        ({"ca": ""}, "is not trusted"),
        ({"base": "ou=nowhere,dc=new,dc=example"}, "has no such entry"),
        ({"port": "clear_port"}, "while TLS began"),
        ({"scheme": "ldap"}, "terminated by server"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_each_fault_of_ldap_is_told(
    check: Any, ldap: Place, monkeypatch: pytest.MonkeyPatch, wish: dict[str, str], words: str
) -> None:
    """The step that failed is the last, and what the server said is in it."""
    monkeypatch.setenv("WRONG", "wrong")
    given = dict(wish)
    scheme, base = given.pop("scheme", "ldaps"), given.pop("base", BASE)
    port = getattr(ldap, given.pop("port", "port"))
    code, told = check(colleague="anna", ldap=f"{scheme}://{HOST}:{port}/{base}", **given)
    assert code == 3
    *_, last = told.values()
    assert words in last["text"]
    assert last["level"] == "fault"


@contextmanager
def answering(answer: bytes) -> Iterator[tuple[str, bytearray]]:
    """Play a server for LDAP without TLS that has one answer for everything; give its URL, and what it hears."""
    heard = bytearray()

    def serve(listening: socket.socket) -> None:
        with suppress(OSError):  # who has heard enough hangs up, and then the test is over
            for _ in range(2):  # to see that somebody is there, and in earnest
                with listening.accept()[0] as peer:
                    peer.settimeout(5)
                    while octets := peer.recv(4096):
                        heard.extend(octets)
                        peer.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, args=[listening], daemon=True).start()
        yield f"ldap://{HOST}:{listening.getsockname()[1]}/{BASE}", heard


def test_ldap_without_tls_is_told_no_password(check: Any) -> None:
    """A server that refuses to begin TLS, or whoever plays it, learns nothing of the account."""
    # An extended response to message 1: unwillingToPerform (RFC 4511 §4.14.2).
    with answering(bytes.fromhex("300c02010178070a01350400 0400")) as (url, heard):
        code, told = check(colleague="anna", ldap=url)
    assert (code, list(told)) == (3, ["LDAP: login"])
    assert b"1.3.6.1.4.1.1466.20037" in heard
    assert PASSWORD.encode() not in heard
    assert LOGIN.encode() not in heard


def test_ldap_whose_tls_does_not_begin_is_told_no_password(
    check: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the library has for a reason: it says so by its return value alone."""
    monkeypatch.setattr("ldap3.Connection.start_tls", lambda _: False)
    with answering(b"") as (url, heard):
        code, told = check(colleague="anna", ldap=url)
    assert (code, told["LDAP: login"]["text"][-17:]) == (3, "TLS did not begin")
    assert not heard


@pytest.mark.parametrize("answer", ["30050201017f00", "300c02010161070a0900040004 00"])
def test_what_is_broken_ldap_is_told(check: Any, answer: str) -> None:
    """An operation that there is not, and a type in the place of another."""
    with answering(bytes.fromhex(answer)) as (url, _):
        code, told = check(colleague="anna", ldap=url)
    assert code == 3
    assert "does not speak LDAP" in told["LDAP: login"]["text"]


def test_carddav_is_found_from_the_domain(check: Any, dav: Place, certificate: Certificate) -> None:
    """By its SRV record, and from there by the well-known address that leads to the root."""
    zone = {
        (f"_carddavs._tcp.{DOMAIN}", "SRV"): [f"0 1 {dav.port} dav.{DOMAIN}."],
        (f"dav.{DOMAIN}", "A"): ["127.0.0.1"],
    }
    with internet(zone, certificate) as world:
        world.ports[f"dav.{DOMAIN}", dav.port] = dav.port
        code, told = check(colleague="anna@new.example", carddav=DOMAIN)
    assert code == 0, told
    assert f"https://dav.{DOMAIN}:{dav.port} (the SRV record" in told["CardDAV: login"]["text"]


@pytest.mark.parametrize(
    ("target", "words"),
    [("dav.evil.example.", "is not within new.example"), (".", "there is no such server")],
)
def test_an_srv_record_leads_nowhere_else(
    check: Any, dav: Place, certificate: Certificate, target: str, words: str
) -> None:
    """The DNS can be forged: another domain's server gets no password, whatever its certificate says."""
    zone = {
        (f"_carddavs._tcp.{DOMAIN}", "SRV"): [f"0 1 {dav.port} {target}"],
        ("dav.evil.example", "A"): ["127.0.0.1"],
    }
    with internet(zone, certificate) as world:
        world.ports["dav.evil.example", dav.port] = dav.port
        code, told = check(colleague="anna", carddav=DOMAIN)
    assert code == 3
    assert words in told["CardDAV: login"]["text"]
    assert not [each for each in world.asked if each.startswith("A ")]


def test_carddav_knows_who_is_not_let_in(check: Any, dav: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong password is told with its causes, a certificate that is not trusted as such."""
    monkeypatch.setenv("WRONG", "wrong")
    code, told = check(colleague="anna", carddav=f"https://{HOST}:{dav.port}", secret="env:WRONG")
    assert (code, list(told)) == (3, ["CardDAV: login"])
    assert "not in" in told["CardDAV: login"]["text"]
    code, told = check(colleague="anna", carddav=f"https://{HOST}:{dav.port}", ca="")
    assert (code, list(told)) == (3, ["CardDAV: login"])
    assert "is not trusted" in told["CardDAV: login"]["text"]


PRINCIPAL = (
    '<multistatus xmlns="DAV:"><response><href>/</href><propstat><prop><current-user-principal>{}'
    "</current-user-principal></prop><status>HTTP/1.1 200 OK</status></propstat></response></multistatus>"
)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ((302, "https://elsewhere.example/"), "no password is sent there"),
        ((302, "http://localhost/"), "no password is sent there"),
        ((302, "/"), "in circles"),
        ((302, "https://localhost:99999/"), "is no address"),
        ((207, PRINCIPAL.format("<href>https://[no/</href>")), "is no address"),
        ((207, '<!DOCTYPE a [<!ENTITY b "c">]><multistatus xmlns="DAV:"/>'), "document type"),
        ((207, "<html>"), "is no WebDAV"),
        ((200, "hello"), "answers 200"),
        ((404, ""), "offers no CardDAV"),
        (
            (207, PRINCIPAL.format("<current-user-principal><unauthenticated/></current-user-principal>")),
            "offers no",
        ),
        (
            (207, PRINCIPAL.format("<current-user-principal><href>/me/</href></current-user-principal>")),
            "no address b",
        ),
        ((207, "a" * (8 * 1024 * 1024 + 1)), "without an end"),
    ],
    ids=[
        "other host",
        "clear",
        "circle",
        "no port",
        "no host",
        "entities",
        "html",
        "200",
        "404",
        "nobody",
        "no book",
        "endless",
    ],
)
def test_whatever_answers_is_no_address_book(
    check: Any, certificate: Certificate, answer: tuple[int, str], words: str
) -> None:
    """Strange answers end as a finding; a redirection never carries the password to another server."""
    with _web(certificate, *answer) as port:
        code, told = check(colleague="anna", carddav=f"https://{HOST}:{port}")
    *_, last = told.values()
    assert (code, last["level"]) == (3, "fault")
    assert words in last["text"]
    assert last["remedy"]


@contextmanager
def _web(certificate: Certificate, status: int, told: str) -> Iterator[int]:
    """Give a web server that has one answer; where that is a redirection, ``told`` is where it leads."""

    class Handler(BaseHTTPRequestHandler):
        def do_PROPFIND(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            body = b"" if status == 302 else told.encode()
            if status == 302:
                self.send_header("Location", told)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = certificate.context().wrap_socket(
            server.socket, server_side=True, do_handshake_on_connect=False
        )
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        thread = threading.Thread(target=server.serve_forever, args=[0.05], daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join(10)


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[OpenPlatformServer]:
    """The API with two people, one of them frozen, and a configuration that leads there."""
    people = [
        Employee("anna@new.example", "Anna Smith", title="Buyer", extension="123", mobile="+49 170 1"),
        Employee("gone@new.example", "Gone Smith", active=False),
    ]
    with OpenPlatformServer() as server:
        with open_provisioner(server.options(), Clock()) as provisioner:
            made = list(provisioner.carry_out(Step(each) for each in people))
            assert all(isinstance(each, StepDone) for each in made)
        server.platform.calls.clear()
        monkeypatch.setenv("APP", server.platform.application_id)
        monkeypatch.setenv("APP_SECRET", server.platform.application_secret)
        (tmp_path / "alimail.toml").write_text(
            f'[migration]\nname = "new"\n[provision]\nkind = "alimail"\nurl = "{server.url}"\n'
            'application_id = "env:APP"\napplication_secret = "env:APP_SECRET"\ncalls_per_second = 5000\n'
        )
        yield server


def test_the_api_is_asked_where_it_is_configured(
    check: Any, platform: OpenPlatformServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It needs no account; who is frozen is nobody's colleague; nothing is written."""
    code, told = check(colleague="smith", login="")
    assert (code, told["provisioner: search"]["text"]) == (0, "found: Anna Smith <anna@new.example>")
    assert told["provisioner: address book"]["text"].startswith("people: 1,")
    assert {call.split(" ")[0] for call in platform.platform.calls} == {"GET", "POST"}
    assert [call for call in platform.platform.calls if call.startswith("POST")] == [
        "POST /oauth2/v2.0/token"
    ]
    assert check(colleague="gone@new.example", login="")[0] == 3
    monkeypatch.setenv("APP_SECRET", "wrong")
    code, told = check(colleague="smith", login="")
    assert (code, list(told)) == (3, ["provisioner: login"])
    assert "application_secret" in told["provisioner: login"]["remedy"]


def test_the_api_tells_the_people_to_export(
    platform: OpenPlatformServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a sheet; mobile numbers and who is frozen stay out."""
    monkeypatch.chdir(tmp_path)
    run = next(each.run for each in COMMAND.commands if each.name == "export")
    assert run is not None
    given = {"--book": "", "--config": "", "--format": "csv", "--encoding": "utf-8", "--output": "book.csv"}
    assert run(given) == 0
    rows = (tmp_path / "book.csv").read_text("utf-8-sig").splitlines()
    assert rows == ["name,address,department,title,phone", "Anna Smith,anna@new.example,,Buyer,123"]
    (tmp_path / "alimail.toml").unlink()
    with pytest.raises(InputError, match="nobody to export"):
        run(given)


def test_what_is_asked_for_must_make_sense(check: Any) -> None:
    """All that is missing is told together, and addresses that are none are refused before anybody is asked."""
    with pytest.raises(InputError) as caught:
        check(colleague=" ", login="")
    assert [each.where for each in caught.value.faults] == ["--colleague", "addressbook check"]
    for wish in (
        {"ldap": "ldap.new.example"},
        {"ldap": "ldaps://li:word@ldap.new.example"},
        {"ldap": "ldaps://ldap.new.example:port/"},
        {"ldap": "ldaps://ldap.new.example/dc=new?mail"},
        {"secret": PASSWORD, "ldap": "ldaps://ldap.new.example"},
        {"carddav": "http://new.example/"},
        {"carddav": "https://li:word@new.example/"},
        {"carddav": "https://new.example:port/"},
        {"carddav": "new.example?word"},
    ):
        with pytest.raises(InputError) as caught:
            check(colleague="anna", **wish)
        assert "word" not in str(caught.value)


@pytest.mark.parametrize(
    ("card", "name", "address"),
    [
        ("FN:Anna\nEMAIL:a@b.example\nEMAIL:c@b.example\n", "Anna", "a@b.example"),
        ('fn;X="a:b;c":Smith\\, An\n na\r\nitem1.email;PREF=1:a@b.example\r\n', "Smith, Anna", "a@b.example"),
        ("NOTE:no\n EMAIL:evil@b.example\nXFN:no\nTEL:1\n", "", ""),
    ],
)
def test_cards_are_read(card: str, name: str, address: str) -> None:
    """Whatever their version: folded, grouped, with parameters; the first address counts (RFC 6350 §3)."""
    found = person_of(card)
    assert (found.name, found.address) == (name, address)
