"""Where Autodiscover is asked, and which of its steps are shown and not taken: a password follows nobody's word."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from alimail_core import Clock
from alimail_core.testing.certificates import make_certificate
from alimail_ews.admin.check import Check, Finding, Wish
from alimail_ews.options import EwsOptions
from plugins.ews.tests.test_exchange_check import PEOPLE, SECRET, fill, levels, mailboxes, run
from tests.exchange.fixtures import StartExchange
from tests.internet import Zone, internet

pytestmark = [pytest.mark.server, pytest.mark.slow]


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SVC", SECRET)


@contextmanager
def redirecting(status: int, location: str) -> Iterator[tuple[int, list[bytes]]]:
    """Answer HTTP in clear with a redirection; give the port, and what was asked."""
    asked: list[bytes] = []
    head = f"HTTP/1.1 {status} Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n".encode()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    sock, _ = listener.accept()
                except OSError:
                    return
                with sock:
                    asked.append(sock.recv(4096))
                    sock.sendall(head)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1], asked
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def hinted(zone: Zone, folder: Path, status: int, location: str) -> tuple[list[Finding], list[bytes]]:
    """Look for a server where only the forgeable steps say something; return what was asked in clear as well."""
    shown = make_certificate(folder, "old.example")
    with internet(zone, shown) as world, redirecting(status, location) as (port, asked):
        world.ports["autodiscover.old.example", 80] = port
        options = EwsOptions("", ca=shown.ca_file, auth="basic")
        check = Check(Wish(options, "OLD\\svc", lambda: SECRET, ["anna@old.example"]), Clock())
        return list(check.run()), asked


HOSTER = "https://autodiscover.hoster.example/autodiscover/autodiscover.xml"
HERE = {("autodiscover.old.example", "A"): ["127.0.0.1"], ("old.example", "A"): ["127.0.0.1"]}
SRV = ("_autodiscover._tcp.old.example", "SRV")


def test_what_can_be_forged_is_shown_and_not_asked(tmp_path: Path) -> None:
    """The third step of MS-OXDISCO and the fourth: no name and no password goes there before somebody has looked."""
    found, asked = hinted(HERE | {SRV: ["5 0 444 mail.hoster.example."]}, tmp_path, 302, HOSTER)
    assert levels(found, "server") == ["warning", "warning", "fault"]
    first, second, _ = (each.remark for each in found)
    assert (HOSTER in first.text, first.remedy.endswith(f"--server {HOSTER}")) == (True, True)
    assert "https://mail.hoster.example:444/autodiscover/autodiscover.xml" in second.remedy
    (request,) = asked
    assert request.startswith(b"GET /autodiscover/autodiscover.xml ")
    assert b"anna" not in request
    assert b"uthorization" not in request


@pytest.mark.parametrize(
    ("zone", "status", "location", "told"),
    [
        (HERE, 200, HOSTER, "answers 200"),
        (HERE, 302, "http://hoster.example/autodiscover/autodiscover.xml", "no URL with https"),
        (HERE, 302, "https://x:y@hoster.example/", "no URL with https"),
        (HERE, 302, "", "leads nowhere"),
        (HERE, 302, HOSTER, "_autodiscover._tcp.old.example: there is none"),
        (HERE | {SRV: ["0 0 0 ."]}, 302, HOSTER, "no such server"),
        ({}, 302, HOSTER, "autodiscover.old.example/autodiscover/autodiscover.xml: "),
    ],
)
def test_steps_that_lead_nowhere_say_why(
    tmp_path: Path, zone: Zone, status: int, location: str, told: str
) -> None:
    """None of them is passed over in silence, and each is only a note."""
    found, _ = hinted(zone, tmp_path, status, location)
    assert levels(found, "server")[-1] == "fault"
    notes = [each.remark.text for each in found if each.remark.level == "note"]
    assert told in " ".join(notes)


def test_an_autodiscover_that_was_looked_at_is_asked_where_it_is(
    exchange: StartExchange, capsys: pytest.CaptureFixture[str]
) -> None:
    """--server takes its URL; the domain's own places are left alone then."""
    server = fill(exchange())
    place = f"https://localhost:{server.port}/Autodiscover/Autodiscover.xml"
    assert run("--server", place, "--ca", server.ca_file, *mailboxes(PEOPLE[0])) == 0
    assert f"names {server.url}" in capsys.readouterr().out
    assert run("--server", place, "--ca", server.ca_file, *mailboxes("nobody@old.example")) == 3
    assert "autodiscover.old.example" not in capsys.readouterr().out
    assert run("--server", place.replace("https", "http")) == 2
    told = capsys.readouterr().err
    assert "https alone" in told
    assert "--mailbox" in told
