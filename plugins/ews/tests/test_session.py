"""Getting in, and what Exchange says when it does not let one in, or not now."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from alimail_core import (
    INBOX,
    AlimailError,
    Credentials,
    Denied,
    LoginDenied,
    Message,
    Refused,
    Throttled,
    Transient,
    Unusable,
)
from alimail_core.testing.asking import listing
from alimail_core.testing.certificates import make_certificate
from alimail_core.testing.clock import FakeClock
from alimail_core.testing.mail import message
from alimail_ews import attempts, session
from alimail_ews.answers import Node
from alimail_ews.connections import schemes_of
from alimail_ews.grades import CODES, Saying, grade, saying_of
from alimail_ews.source import EwsSource
from plugins.ews.tests.conftest import Office, make_office
from tests.exchange import EXCHANGE_2007, EXCHANGE_2010, faults
from tests.exchange.fixtures import StartExchange

SECRET = "pa55-w0rd"


@pytest.mark.parametrize(
    ("schemes", "auth"),
    [
        (("Negotiate", "NTLM", "Basic"), "ntlm"),
        (("Basic",), "basic"),
        (("Negotiate",), "ntlm"),
        (("Bearer", "Basic"), "basic"),
    ],
)
def test_the_best_way_in_is_found(office: Office, schemes: tuple[str, ...], auth: str) -> None:
    """NTLM where it is offered, Basic otherwise; the password of a ticket nobody asked for is not tried."""
    office.server.door.schemes = schemes
    with office.open() as source:
        assert source.session.auth == auth


@pytest.mark.parametrize(
    ("told", "schemes"),
    [
        ('Negotiate, NTLM, Basic realm="x"', {"negotiate", "ntlm", "basic"}),
        ('basic realm="no, NTLM here"', {"basic"}),
        ('Digest realm="a \\"b, NTLM", nonce="y", Basic realm=x', {"digest", "basic"}),
        ("", set()),
    ],
)
def test_what_a_realm_says_is_no_way_in(told: str, schemes: set[str]) -> None:
    """Names of ways stand between parameters, whose values may hold anything."""
    assert schemes_of(told) == schemes


def test_a_mailbox_may_have_any_letters(office: Office) -> None:
    """No header field could hold them."""
    office.server.organisation.add_mailbox("安娜", password="secret")
    office.open("安娜@old.example").close()


def test_what_speaks_no_http_is_told(office: Office) -> None:
    """Such as a server of IMAP at the port that was given."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            for _ in range(2):
                with listener.accept()[0] as sock:
                    sock.sendall(b"* OK IMAP4rev1 ready\r\n")
                    with contextlib.suppress(ConnectionResetError):
                        sock.recv(1)

        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        with pytest.raises(Transient, match="HTTP") as caught:
            office.open(host="127.0.0.1", port=listener.getsockname()[1], tls="none", ca=None)
        thread.join()
    assert "port" in caught.value.remedy


def test_a_token_opens_the_door(office: Office) -> None:
    """With auth = oauth the secret is an access token."""
    office.server.door.schemes = ("Bearer",)
    office.server.door.tokens = {"t0ken": "OLD\\svc"}
    with office.open(password="t0ken", auth="oauth") as source:
        assert list(source.folders())
    with pytest.raises(LoginDenied):
        office.open(password="another", auth="oauth")
    with pytest.raises(Denied, match="tokens") as caught:
        office.open()
    assert "auth = oauth" in caught.value.remedy


def test_a_login_is_bound_to_the_certificate(office: Office) -> None:
    """Extended Protection, which Exchange 2019 and SE want by default: NTLM says to which server it speaks."""
    office.server.door.extended_protection = True
    with office.open(auth="ntlm") as source:
        assert list(source.folders())


def test_ntlm_is_spoken_once_a_connection(office: Office) -> None:
    """A connection that is let in stays in: the domain controller is asked as seldom as can be."""
    with office.open(mailbox_connections=1) as source:
        for _ in range(5):
            list(source.changes([(folder, None) for folder in source.folders()]))
        assert office.server.door.handshakes == 1


@pytest.mark.parametrize(
    ("wishes", "error", "words"),
    [
        ({"password": "wrong"}, LoginDenied, "password"),
        ({"password": "wrong", "auth": "basic"}, LoginDenied, "password"),
        ({"user": "nobody@old.example"}, Denied, "spelt"),
        ({"user": "alias@old.example"}, Denied, "primary address"),
        ({"user": "svc"}, Denied, "primary address"),
        ({"user": "svc", "master_user": None}, Denied, "mailbox"),
        ({"url_path": "/elsewhere"}, Denied, "url_path"),
        ({"user": "off@old.example"}, Denied, "ApplicationImpersonation"),
        ({"user": "bob@old.example", "access": "delegate"}, Denied, "FullAccess"),
        ({"master_user": "s\nvc"}, Denied, "Correct"),
    ],
)
def test_who_is_not_let_in_is_told_what_to_do(
    office: Office, wishes: dict[str, Any], error: type[AlimailError], words: str
) -> None:
    """Each refusal has its remedy, and none is taken for passing."""
    organisation = office.server.organisation
    office.amy.aliases = frozenset({"alias@old.example"})
    organisation.add_mailbox("bob", password="secret")
    organisation.add_mailbox("off", password="secret").disabled = True
    with pytest.raises(error) as caught:
        office.open(**wishes)
    assert not isinstance(caught.value, Transient)
    assert words in f"{caught.value} {caught.value.remedy}"


def test_one_mailbox_without_rights_says_so(office: Office) -> None:
    """The right to impersonate is missing for one mailbox of several."""
    account = office.server.organisation.account("svc")
    assert account is not None
    office.server.organisation.add_mailbox("bob", password="secret")
    account.impersonates = {office.amy.address}
    office.open().close()
    with pytest.raises(Denied, match="ErrorImpersonateUserDenied") as caught:
        office.open("bob@old.example")
    assert "alimail exchange prepare" in caught.value.remedy


def test_a_certificate_that_is_not_trusted_ends_it(office: Office, tmp_path: Path) -> None:
    """Neither another authority nor the system's is taken for the one that was given, nor requests' own."""
    other = make_certificate(tmp_path, "other.example")
    for ca in (other.ca_file, None):
        with pytest.raises(Denied, match="certificate") as caught:
            EwsSource.open(office.options(ca=ca), Credentials(office.amy.address, lambda: SECRET))
        assert "ca" in caught.value.remedy
    with pytest.raises(Denied, match="certificate"):
        office.open(host="127.1")


def test_a_password_never_goes_in_clear_unasked(office: Office) -> None:
    """Without TLS on a network an administrator must have said so."""
    options = office.options(host="mail.old.example", tls="none")
    with pytest.raises(Denied, match="without encryption"):
        session.Session.open(options, Credentials(office.amy.address, lambda: SECRET))


@pytest.mark.parametrize(
    ("version", "spoken"), [(EXCHANGE_2007, "Exchange2007_SP1"), (EXCHANGE_2010, "Exchange2010_SP2")]
)
def test_an_older_server_is_spoken_to_in_its_version(
    exchange: StartExchange, version: Any, spoken: str
) -> None:
    """The newest version is tried first, once; what a server takes is remembered."""
    office = make_office(exchange(version=version))
    with office.open() as source:
        assert source.session.version == spoken
        assert sum(each.messages or 0 for each in source.folders()) == 0
    asked = office.server.requests.copy()
    with office.open() as source:
        assert source.session.version == spoken
    assert office.server.requests - asked == {"GetFolder": 1, "FindFolder": 1}


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        (faults.busy(2500), 2.5),
        (faults.busy(None), None),
        (faults.too_many_objects(), None),
        (faults.http(503, retry_after="7"), 7.0),
        (faults.http(503), None),
        (faults.http(429, retry_after="soon"), None),
        (faults.http(401), None),
        (faults.refused("ErrorExceededConnectionCount"), None),
    ],
)
def test_throttling_is_told_with_its_pause(
    office: Office, fault: faults.Instead, seconds: float | None
) -> None:
    """However a server asks for a slower pace, the governor hears of it; a login that was good is no bad one."""
    with office.open() as source:
        folders = [folder for folder in source.folders() if folder.selectable]
        # One 401 alone only makes the connection log in anew.
        office.server.faults.add(fault, operation="SyncFolderItems", times=2)
        with pytest.raises(Throttled) as caught:
            list(source.changes([(folders[0], None)]))
    assert caught.value.retry_after == seconds
    assert caught.value.remedy


@pytest.mark.slow
@pytest.mark.parametrize("auth", ["ntlm", "basic"])
def test_a_wrong_password_of_many_accounts_is_tried_once(office: Office, auth: str) -> None:
    """They share the service account's, which a directory would lock; also those that come at the same time."""

    def refused(_: int) -> str:
        with pytest.raises(LoginDenied) as caught:
            office.open(password="wrong", auth=auth)
        assert caught.value.remedy
        return str(caught.value)

    with ThreadPoolExecutor(6) as pool:
        told = Counter(pool.map(refused, range(6)))
    assert sorted(told.values()) == [1, 5]
    assert office.server.door.wrong == 1
    office.open(auth=auth).close()


def test_a_refused_password_is_tried_again_after_a_while(office: Office) -> None:
    """Somebody may have unlocked the account; and another password is another matter at once."""
    clock, options = FakeClock(), office.options(auth="basic")
    credentials = Credentials(office.amy.address, lambda: "n3w")
    for seconds, wrong in ((0.0, 1), (60.0, 1), (attempts.FORBEARANCE, 2)):
        clock.sleep(seconds)
        with pytest.raises(LoginDenied):
            EwsSource.open(options, credentials, clock)
        assert office.server.door.wrong == wrong
    account = office.server.organisation.account("svc")
    assert account is not None
    account.password = "n3w"
    clock.sleep(attempts.FORBEARANCE)
    EwsSource.open(options, credentials, clock).close()


def test_a_password_that_is_refused_for_long_is_believed_to_be_wrong(office: Office) -> None:
    """Nobody is locked out by a password that was changed while mail moved."""
    office.open().close()
    office.server.faults.add(faults.http(401), times=float("inf"))
    errors = []
    for _ in range(session._PATIENCE + 1):
        with pytest.raises(AlimailError) as caught:
            office.open()
        errors.append(type(caught.value))
    assert errors == [Throttled] * session._PATIENCE + [LoginDenied]


@pytest.mark.parametrize(
    "fault",
    [
        faults.http(500, body=b"Server Error in '/EWS' Application"),
        faults.http(502),
        faults.refused("ErrorInternalServerTransientError"),
        faults.refused("ErrorMailboxStoreUnavailable"),
        faults.LOST,
        faults.Delivery(cut=200),
    ],
)
def test_what_passes_is_transient(office: Office, fault: faults.Fault) -> None:
    """A server in trouble is asked again later, whatever it is in trouble with."""
    with office.open(mailbox_connections=1) as source:
        office.server.faults.add(fault, operation="SyncFolderItems", times=9)
        with pytest.raises(Transient) as caught:
            list(source.changes([(folder, None) for folder in source.folders()]))
    assert not isinstance(caught.value, Throttled)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("octets", [-1, 0, 300])
@pytest.mark.parametrize("tls", [True, False])
def test_an_answer_that_trickles_without_end_is_given_up(
    exchange: StartExchange, octets: int, tls: bool
) -> None:
    """Be it in its first line or in its midst; what is asked next is answered over another connection."""
    office = make_office(exchange(tls=tls))
    with office.open(mailbox_connections=1) as source:
        folders = [(folder, None) for folder in source.folders() if folder.selectable]
        office.server.faults.add(faults.Delivery(trickle=octets), operation="SyncFolderItems")
        with pytest.raises(Transient, match="hardly moved"):
            list(source.changes(folders))
        assert len(list(source.changes(folders))) == len(folders)


@pytest.mark.usefixtures("impatient")
def test_a_slow_answer_is_waited_for(office: Office) -> None:
    """It may take as long as it likes, as long as it moves."""
    office.amy.deliver("inbox", message(body="y" * 50_000))
    with office.open() as source:
        listed = listing(source, INBOX)
        office.server.faults.add(faults.Delivery(piece=500), operation="GetItem", times=float("inf"))
        (read,) = source.fetch([(listed.folder, list(listed.entries.values()))])
    assert isinstance(read, Message)


@pytest.mark.parametrize("fault", [faults.garbage(), faults.entity_bomb(), faults.huge(10_000_000)])
def test_what_cannot_be_read_costs_its_folder_alone(office: Office, fault: faults.Fault) -> None:
    """It is asked for four times; a folder that stays so is named, and the others go on."""
    with office.open(mailbox_connections=1) as source:
        folders = [folder for folder in source.folders() if folder.selectable]
        office.server.faults.add(fault, operation="SyncFolderItems", times=4)
        first, *others = source.changes([(folder, None) for folder in folders])
        assert isinstance(first, Unusable)
        assert len(others) == len(folders) - 1
        office.server.faults.add(fault, operation="FindFolder", times=1)
        with pytest.raises(Transient):
            office.open()


@pytest.mark.parametrize("status", [301, 302, 403, 404, 405])
def test_what_is_no_exchange_is_told(office: Office, status: int) -> None:
    """A proxy, a login page, or EWS that is switched off: to try again would not help."""
    office.server.faults.add(faults.http(status))
    with pytest.raises(Denied, match=str(status)) as caught:
        office.open()
    assert caught.value.remedy


def test_a_web_page_is_no_answer(office: Office) -> None:
    """A gateway's own login page comes with status 200."""
    office.server.faults.add(faults.http(200, body=b"<html>log in</html>"))
    with pytest.raises(Denied, match="XML"):
        office.open()


def test_no_error_and_no_log_tells_the_password(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    """Neither right nor wrong, by NTLM or Basic."""
    caplog.set_level(logging.DEBUG)
    for auth in ("ntlm", "basic"):
        with pytest.raises(LoginDenied) as caught:
            office.open(password=SECRET, auth=auth)
        assert SECRET not in str(caught.value) + caught.value.remedy
    assert SECRET not in caplog.text
    assert SECRET not in repr(office.open().session)


def test_cookies_come_back(office: Office) -> None:
    """Affinity: whoever balances the load finds the same server again."""
    with office.open(mailbox_connections=1) as source:
        assert list(source.changes([(folder, None) for folder in source.folders()]))
    affinity = office.server.affinity
    assert affinity.followed > affinity.strays == 0


def test_every_remedy_is_a_sentence() -> None:
    """Whoever reads one knows what to do."""
    for make in CODES.values():
        assert make("words").remedy.endswith((".", ")"))


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ({"faultcode": "ErrorNonExistentMailbox", "faultstring": "no"}, "ErrorNonExistentMailbox"),
        ({"faultcode": "a:ErrorNonExistentMailbox", "faultstring": "no"}, "ErrorNonExistentMailbox"),
        (
            {"faultcode": "SOAP-ENV:Server.ErrorNonExistentMailbox", "faultstring": "no"},
            "ErrorNonExistentMailbox",
        ),
        ({"faultcode": "SOAP:Server", "faultstring": "no"}, "Server"),
        ({}, "Fault"),
    ],
)
def test_a_fault_may_be_short(parts: dict[str, str], code: str) -> None:
    """Servers of other makes tell the code in the fault itself, or only that there is one."""
    said = saying_of(Node("Fault", {}, children=[Node(name, {}, text) for name, text in parts.items()]))
    assert (said.code, said.text) == (code, parts.get("faultstring", ""))
    assert isinstance(grade(said), Denied if code.startswith("Error") else Refused)


def test_a_pause_that_a_server_asks_for_is_bounded() -> None:
    """Nobody is sent away for a week by a number."""
    value = Node("Value", {"Name": "BackOffMilliseconds"}, "999999999999")
    said = saying_of(
        Node("Fault", {}, children=[Node("detail", {}, children=[Node("MessageXml", {}, children=[value])])])
    )
    error = grade(said)
    assert isinstance(error, Throttled)
    assert error.retry_after == 3600.0
    assert json.dumps(Saying("a", "b\x1b[31mc").words) == '"a: b [31mc"'
