"""From a host name to a session: TLS, logins, refusals, each with its remedy."""

from __future__ import annotations

import base64
import contextlib
import socket
import ssl
from pathlib import Path
from typing import Literal

import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alimail_core.contract import Credentials
from alimail_core.errors import (
    AlimailError,
    Denied,
    InputError,
    LoginDenied,
    OverQuota,
    Refused,
    Throttled,
    Transient,
)
from alimail_core.network import NoTls
from alimail_core.testing.certificates import make_certificate
from alimail_imap.grades import Doing, grade
from alimail_imap.login import connect, probe
from alimail_imap.options import ImapOptions
from alimail_imap.source import ImapSource
from alimail_imap.testing import CLOSE, GREETING, CannedServer, Reply
from alimail_imap.tokens import parse_status


def login(
    server: CannedServer, credentials: Credentials | None = None, master_user: str | None = None
) -> CannedServer:
    """Log in and out; return the server, which tells what it was sent."""
    options = evolve(server.options, master_user=master_user)
    with server:
        connect(options, credentials or server.credentials).close()
    return server


def person(user: str, password: str) -> Credentials:
    """Make credentials."""
    return Credentials(user, lambda: password)


def test_capabilities_are_asked_again_after_login() -> None:
    """What a server announces before login does not count after it."""
    server = CannedServer()
    told = iter([b"* CAPABILITY IMAP4rev1\r\n", b"* CAPABILITY IMAP4rev1 UIDPLUS\r\n"])
    server.replies[b"CAPABILITY"] = lambda _: next(told)
    with server:
        connection = connect(server.options, server.credentials)
        assert connection.offers("UIDPLUS")
        connection.close()


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("answer", [b"BAD Unknown command", b"NO Not now"])
def test_a_refusal_of_capability_is_not_the_passwords_fault(answer: bytes, when: str) -> None:
    """No server may refuse it, so the server's words are told, and neither the user nor the password is blamed."""
    sound = b"* CAPABILITY IMAP4rev1\r\n{tag} OK done\r\n"
    told = iter([sound] if when == "after" else [])
    server = CannedServer({b"CAPABILITY": lambda _: next(told, b"{tag} " + answer + b"\r\n")})
    with server, pytest.raises(Transient, match=answer.decode()) as error:
        connect(server.options, server.credentials)
    assert "CAPABILITY" in str(error.value)
    assert "password" not in error.value.remedy
    assert "later" not in error.value.remedy


def test_capabilities_told_with_the_login_are_not_asked_again() -> None:
    """A CAPABILITY code in the tagged OK saves the round trip."""
    server = login(CannedServer({b"LOGIN": b"{tag} OK [CAPABILITY IMAP4rev1 MOVE] welcome\r\n"}))
    assert len(server.commands(b"CAPABILITY")) == 1


def test_quotes_and_backslashes_are_escaped() -> None:
    """A password may hold what ends a quoted string."""
    server = login(CannedServer(), person("anna", 'a"b\\c'))
    assert b'LOGIN "anna" "a\\"b\\\\c"' in server.received


@pytest.mark.parametrize("capabilities", [b"IMAP4rev1", b"IMAP4rev1 LITERAL+"])
def test_a_password_that_is_not_ascii_travels_as_a_literal(capabilities: bytes) -> None:
    """Quoted strings are 7-bit; without AUTH=PLAIN a literal carries the rest."""
    server = login(CannedServer(capabilities=capabilities), person("anna", "pässwort"))
    assert server.commands(b"LOGIN")[0].endswith("\r\npässwort".encode())


def test_a_password_that_is_not_ascii_goes_by_sasl_where_offered() -> None:
    """SASL PLAIN is UTF-8 by its standard."""
    server = login(CannedServer(capabilities=b"IMAP4rev1 AUTH=PLAIN SASL-IR"), person("anna", "pässwort"))
    (command,) = server.commands(b"AUTHENTICATE PLAIN ")
    assert base64.b64decode(command.split()[2]).decode() == "\0anna\0pässwort"


def test_a_master_user_acts_for_the_account() -> None:
    """SASL PLAIN carries the authorisation identity first."""
    capabilities = b"IMAP4rev1 AUTH=PLAIN SASL-IR"
    server = login(CannedServer(capabilities=capabilities), person("anna", "x"), master_user="admin")
    (command,) = server.commands(b"AUTHENTICATE PLAIN ")
    assert base64.b64decode(command.split()[2]) == b"anna\0admin\0x"


def test_without_sasl_ir_the_answer_waits_for_the_challenge() -> None:
    """The initial response is sent with the command only where the server says that it can be."""
    script: dict[bytes, Reply] = {b"AUTHENTICATE": b"+ \r\n", b"": b"{tag} OK\r\n"}
    with CannedServer(script, capabilities=b"IMAP4rev1 AUTH=PLAIN") as server:
        server.replies[b"AUTHENTICATE PLAIN"] = b"+ \r\n{tag} OK [CAPABILITY IMAP4rev1] in\r\n"
        connect(evolve(server.options, auth="plain"), server.credentials).close()
    assert b"AUTHENTICATE PLAIN" in server.received


def test_a_refused_token_ends_the_exchange() -> None:
    """Google tells why in a second challenge; an empty answer lets it say NO."""
    why = b"+ eyJzdGF0dXMiOiI0MDAifQ==\r\n{tag} NO [AUTHENTICATIONFAILED] Invalid credentials (Failure)\r\n"
    server = CannedServer({b"AUTHENTICATE XOAUTH2": why}, capabilities=b"IMAP4rev1 SASL-IR")
    with server, pytest.raises(Denied, match="Invalid credentials"):
        connect(evolve(server.options, auth="xoauth2"), server.credentials)
    (command,) = server.commands(b"AUTHENTICATE")
    token = base64.b64decode(command.split()[2])
    assert token == b"user=anna@example.org\x01auth=Bearer secret\x01\x01"


dial_here = socket.create_connection

ENCODED = base64.b64encode(b"\0anna@example.org\0secret")


@pytest.mark.parametrize("auth", ["login", "plain"])
@pytest.mark.parametrize(
    "words",
    [
        b"{tag} NO LOGIN failed: anna secret is wrong\r\n",
        b"* BYE who is secret?\r\n",
        b"secret no IMAP\r\n",
        b"{tag} secret\r\n",
        b"{tag} NO secret is " + ENCODED + b"\r\n",
    ],
)
def test_a_password_that_the_server_says_aloud_is_not_repeated(
    words: bytes, auth: Literal["login", "plain"]
) -> None:
    """It is left out, wherever in an answer it stands, and so is what it was sent as."""
    script: dict[bytes, Reply] = {b"AUTHENTICATE": words, b"LOGIN": words}
    server = CannedServer(script, capabilities=b"IMAP4rev1 AUTH=PLAIN SASL-IR")
    with server, pytest.raises((Denied, Transient)) as told:
        connect(evolve(server.options, auth=auth), server.credentials)
    assert "***" in str(told.value)
    assert "secret" not in str(told.value)
    assert auth == "login" or ENCODED.decode() not in str(told.value)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"{tag} NO [AUTHENTICATIONFAILED] Authentication failed.\r\n", LoginDenied),
        (b"{tag} NO LOGIN failed.\r\n", LoginDenied),
        (b"{tag} NO [UNAVAILABLE] Temporary authentication failure.\r\n", Transient),
        (b"{tag} NO [ALERT] Too many simultaneous connections. (Failure)\r\n", Throttled),
        (b"* BYE Too many connections from your IP\r\n" + CLOSE, Throttled),
        (CLOSE, Transient),
    ],
)
def test_refused_logins_are_graded(answer: bytes, kind: type[AlimailError]) -> None:
    """A wrong password stops the account with a remedy, a busy server does not."""
    with CannedServer({b"LOGIN": answer}) as server, pytest.raises(AlimailError) as caught:
        connect(server.options, server.credentials)
    assert type(caught.value) is kind
    assert kind is not LoginDenied or caught.value.remedy
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("greeting", "kind"),
    [
        (b"* BYE Server shutting down\r\n", Transient),
        (b"* PREAUTH IMAP4rev1 welcome\r\n", Denied),
        (b"+OK POP3 ready\r\n", Denied),
        (b"220 mail ESMTP\r\n", Denied),
        (b"", Transient),
    ],
)
def test_what_greets_us_otherwise_is_told(
    greeting: bytes, kind: type[AlimailError], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A POP3 or SMTP server is recognised as none of ours, and PREAUTH is not trusted."""
    monkeypatch.setattr("alimail_imap.login._greeted", set())  # ports are used again
    with CannedServer(greeting=greeting + CLOSE) as server, pytest.raises(kind):
        connect(server.options, server.credentials)


def test_what_greets_us_otherwise_later_is_passing() -> None:
    """Where an IMAP server has answered, something on the way answers in its place now: no option is wrong."""
    with CannedServer() as server:
        connect(server.options, server.credentials).close()
        server.greeting = b"HTTP/1.1 502 Bad Gateway\r\n" + CLOSE
        with pytest.raises(Transient, match="did before"):
            connect(server.options, server.credentials)


def test_a_server_without_starttls_gets_no_password() -> None:
    """When somebody takes STARTTLS out of the capabilities there is no downgrade."""
    with CannedServer() as server, pytest.raises(Denied, match="STARTTLS"):
        connect(evolve(server.options, tls="starttls"), server.credentials)
    assert not server.commands(b"LOGIN")


def test_a_refused_starttls_gets_no_password() -> None:
    """Nor is there one when the command is refused."""
    replies: dict[bytes, Reply] = {b"STARTTLS": b"{tag} NO not now\r\n"}
    with CannedServer(replies, capabilities=b"IMAP4rev1 STARTTLS") as server, pytest.raises(Denied):
        connect(evolve(server.options, tls="starttls"), server.credentials)
    assert not server.commands(b"LOGIN")


def test_logindisabled_is_obeyed() -> None:
    """A password is not sent where the server has said that it will not take it."""
    with CannedServer(capabilities=b"IMAP4rev1 LOGINDISABLED") as server, pytest.raises(Denied):
        connect(server.options, server.credentials)
    assert not server.commands(b"LOGIN")


def test_no_password_in_clear_over_a_network() -> None:
    """On any host but this machine, plain text needs a second consent; no connection is even tried."""
    with pytest.raises(Denied, match="without encryption") as caught:
        connect(ImapOptions(host="mail.example.org", tls="none"), person("a", "b"))
    assert "allow_plaintext_login" in caught.value.remedy


def test_a_ca_file_that_is_none_is_an_input_error() -> None:
    """A wrong path is told before anything is connected to."""
    with pytest.raises(InputError):
        connect(ImapOptions(host="127.0.0.1", port=1, ca=Path("/nonexistent.pem")), person("a", "b"))


def test_nobody_listening_is_transient() -> None:
    """A server that is away may come back."""
    server = CannedServer()
    options = server.options
    server.close()
    with pytest.raises(Transient, match="no connection"):
        connect(options, server.credentials)


@pytest.mark.parametrize(
    ("words", "doing", "kind"),
    [
        ("NO [OVERQUOTA] Quota exceeded (mailbox for user is full)", "append", OverQuota),
        ("NO Over quota", "append", OverQuota),
        ("NO [OVERQUOTA] Account exceeded command or bandwidth limits.", "append", Throttled),
        ("NO [OVERQUOTA] Quota exceeded", "read", Throttled),
        ("NO [TOOBIG] Message too large", "append", Refused),
        ("NO [LIMIT] Append exceeds limit", "append", Refused),
        ("BAD Command Argument Error. 11", "append", Refused),
        ("NO Message contains bare newlines", "append", Refused),
        ("NO Message contains NUL characters", "append", Refused),
        ("NO [SERVERBUG] Internal error occurred. Refer to server log", "append", Transient),
        ("NO System busy, please try later", "read", Transient),
        ("BAD Request is throttled. Suggested Backoff Time: 299 milliseconds", "read", Throttled),
        ("NO [NOPERM] Permission denied", "folder", Refused),
        ("NO User is authenticated but not connected.", "folder", Refused),
        ("NO [AUTHORIZATIONFAILED] not for you", "login", Denied),
    ],
)
def test_answers_are_graded(words: str, doing: Doing, kind: type[AlimailError]) -> None:
    """Codes decide first, then the words of the servers that were met."""
    status = parse_status(words.encode())
    assert status is not None
    assert type(grade(status, doing)) is kind


def test_a_suggested_pause_is_read() -> None:
    """Exchange tells its wish in milliseconds."""
    status = parse_status(b"BAD Request is throttled. Suggested Backoff Time: 299 milliseconds")
    assert status is not None
    error = grade(status, "read")
    assert isinstance(error, Throttled)
    assert error.retry_after == 0.299


def test_a_refused_message_says_what_about() -> None:
    """The engine mends a message's form, and never its size; what gives no reason it offers once more."""
    told = {
        "NO Message contains bare newlines": ("form", True),
        "NO Message too large": ("size", True),
        "NO [CANNOT] Not possible": ("other", True),
        "NO Not now": ("other", False),
        "BAD": ("form", False),
    }
    for words, what in told.items():
        status = parse_status(words.encode())
        assert status is not None
        error = grade(status, "append")
        assert isinstance(error, Refused)
        assert (error.about, error.explained) == what


def test_remarks_name_what_matters() -> None:
    """Check tells of missing encryption, and of the server's own alerts."""
    replies: dict[bytes, Reply] = {b"LOGIN": b"{tag} OK [ALERT] Maintenance on Sunday\r\n"}
    with CannedServer(replies) as server, ImapSource.open(server.options, server.credentials) as source:
        texts = " ".join(remark.text for remark in source.remarks())
    assert "not encrypted" in texts
    assert "Maintenance on Sunday" in texts


def test_words_slipped_in_before_tls_do_not_count(tmp_path: Path) -> None:
    """What somebody on the way adds to the answer to STARTTLS is thrown away, and capabilities are asked anew."""
    certificate = make_certificate(tmp_path)
    replies: dict[bytes, Reply] = {
        b"STARTTLS": b"{tag} OK begin\r\n* CAPABILITY IMAP4rev1 SLIPPED-IN\r\nA2 OK [CAPABILITY SLIPPED-IN] x\r\n"
    }
    server = CannedServer(replies, capabilities=b"IMAP4rev1 STARTTLS UIDPLUS", tls=certificate.context())
    options = evolve(server.options, tls="starttls", ca=certificate.ca_file)
    with server:
        connection = connect(options, server.credentials)
        assert connection.offers("UIDPLUS")
        assert not connection.offers("SLIPPED-IN")
        assert connection.wire.tls is not None
        connection.close()
    assert server.received.index(b"STARTTLS") < server.received.index(server.commands(b"LOGIN")[0])


# tls = auto


@pytest.mark.parametrize(
    ("capabilities", "replies", "kind"),
    [
        (b"IMAP4rev1", {}, NoTls),
        (b"IMAP4rev1 LOGINDISABLED", {}, Denied),
        (b"IMAP4rev1 STARTTLS", {b"STARTTLS": b"{tag} NO not now\r\n"}, Denied),
        (b"IMAP4rev1 STARTTLS", {b"STARTTLS": CLOSE}, Transient),
    ],
    ids=["none", "stripped", "refused", "cut"],
)
def test_a_starttls_that_was_taken_out_is_no_leave_to_go_on(
    capabilities: bytes, replies: dict[bytes, Reply], kind: type[AlimailError]
) -> None:
    """Only a server that offers none, and takes logins without it, is one that has no TLS."""
    with CannedServer(replies, capabilities=capabilities) as server, pytest.raises(AlimailError) as caught:
        connect(evolve(server.options, tls="starttls"), server.credentials)
    assert type(caught.value) is kind
    assert not server.commands(b"LOGIN")


def test_what_a_server_has_is_found_without_logging_in(tmp_path: Path) -> None:
    """STARTTLS where the port is known to begin in clear; on loopback nothing at all is enough."""
    certificate = make_certificate(tmp_path)
    for capabilities, found in ((b"IMAP4rev1 STARTTLS", "starttls"), (b"IMAP4rev1", "none")):
        with CannedServer(capabilities=capabilities, tls=certificate.context()) as server:
            options = evolve(server.options, tls="auto", ca=certificate.ca_file)
            assert probe(options) == evolve(options, tls=found, port=server.port)
        assert not server.commands(b"LOGIN")


def test_a_preauth_greeting_is_no_leave_to_go_on() -> None:
    """Somebody who forges PREAUTH would keep STARTTLS from ever being asked for."""
    with CannedServer(greeting=b"* PREAUTH welcome\r\n") as server, pytest.raises(Denied, match="PREAUTH"):
        probe(evolve(server.options, tls="auto"))


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(
    greeting=st.sampled_from(
        [GREETING, b"* OK [CAPABILITY IMAP4rev1] go\r\n", b"* PREAUTH in\r\n", b"\x16\x03\r\n"]
    ),
    words=st.lists(
        st.sampled_from([b"STARTTLS", b"LOGINDISABLED", b"AUTH=PLAIN", b"SASL-IR", b"XXXXXXXX"]), unique=True
    ),
    answer=st.sampled_from(
        [
            b"{tag} OK\r\n",
            b"{tag} NO\r\n",
            b"{tag} BAD\r\n",
            b"* OK\r\n{tag} OK in\r\n",
            CLOSE,
            b"* BYE\r\n" + CLOSE,
        ]
    ),
    tls=st.booleans(),
)
def test_who_has_no_trusted_certificate_gets_no_password(
    greeting: bytes,
    words: list[bytes],
    answer: bytes,
    tls: bool,
    elsewhere: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever is said on the way to a server on the network, and however it is put together."""
    monkeypatch.setattr(
        socket, "create_connection", lambda address, timeout: dial_here(("127.0.0.1", address[1]), 0.2)
    )
    capabilities = b" ".join([b"IMAP4rev1", *words])
    server = CannedServer(
        {b"STARTTLS": answer}, capabilities=capabilities, greeting=greeting, tls=elsewhere if tls else None
    )
    options = ImapOptions("mail.old.example", port=server.port, timeout=0.2)
    with contextlib.suppress(OSError), server, pytest.raises(AlimailError):
        connect(probe(options), server.credentials)
    assert not [each for each in server.received if b"secret" in each or ENCODED in each]


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """Return what a server shows that nobody vouches for."""
    return make_certificate(tmp_path_factory.mktemp("elsewhere")).context()
