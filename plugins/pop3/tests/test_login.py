"""From a host name to a session: TLS, logins, refusals, each with its remedy."""

from __future__ import annotations

import base64
import hashlib
import socket
import ssl
from contextlib import suppress
from pathlib import Path
from typing import Literal

import pytest
from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alimail_core import (
    AlimailError,
    Credentials,
    Denied,
    InputError,
    LoginDenied,
    NoTls,
    Refused,
    Throttled,
    Transient,
)
from alimail_core.testing.certificates import make_certificate
from alimail_pop3.grades import Doing, grade, parse_answer
from alimail_pop3.login import connect, probe
from alimail_pop3.options import Pop3Options
from alimail_pop3.testing import CLOSE, CannedServer

dial_here = socket.create_connection
CHALLENGE = b"+OK ready <1896.697170952@mail.example>\r\n"
Auth = Literal["auto", "user", "apop", "plain", "xoauth2"]


def login(
    server: CannedServer,
    *,
    auth: Auth = "auto",
    password: str = "secret",
    master_user: str | None = None,
) -> CannedServer:
    """Log in and out; return the server, which tells what it was sent."""
    options = evolve(server.options, auth=auth, master_user=master_user)
    with server:
        connect(options, Credentials("anna@example.org", lambda: password)).close()
    return server


def test_user_and_pass() -> None:
    """The plain way; capabilities are asked again after it, for servers tell more then."""
    server = login(CannedServer())
    assert server.received == [
        b"CAPA",
        b"USER anna@example.org",
        b"PASS secret",
        b"CAPA",
        b"RSET",
        b"QUIT",
    ]


def test_a_server_without_capa_is_logged_in_to() -> None:
    """CAPA is an extension, and older servers refuse it."""
    assert login(CannedServer(capabilities=None)).commands(b"PASS") == [b"PASS secret"]


@pytest.mark.parametrize("odd", [b"+OK\r\n\r\n\xff\xfe\r\nTOP\r\nuser\r\n.\r\n", b"+OK\nTOP\nUSER\n.\n"])
def test_odd_capabilities_are_read(odd: bytes) -> None:
    """Empty lines, other octets than ASCII, small letters and bare LFs put nobody off."""
    with CannedServer(replies={b"CAPA": odd}) as server:
        connection = connect(server.options, server.credentials)
        assert connection.offers("TOP")
        assert connection.offers("USER")
        connection.close()


def test_apop_proves_the_password_without_sending_it() -> None:
    """Where the connection is not encrypted and the server offers it (RFC 1939 §7)."""
    server = login(CannedServer(greeting=CHALLENGE))
    digest = hashlib.md5(b"<1896.697170952@mail.example>secret").hexdigest().encode()
    assert server.commands(b"APOP") == [b"APOP anna@example.org " + digest]
    assert not server.commands(b"PASS")


@pytest.mark.parametrize(
    "greeting",
    [b"+OK ready <no challenge>\r\n", b"+OK <a@b> ready\r\n", b"+OK ready <\xff\x01@mail.example>\r\n"],
)
def test_what_is_no_challenge_is_not_answered(greeting: bytes) -> None:
    """A forged challenge could draw the password out of our answers (CVE-2007-1558)."""
    assert not login(CannedServer(greeting=greeting)).commands(b"APOP")


def test_a_refused_apop_is_followed_by_user_and_pass() -> None:
    """Servers offer APOP to everybody, and many accounts have no secret for it."""
    server = CannedServer(greeting=CHALLENGE, replies={b"APOP": b"-ERR no shared secret\r\n"})
    assert login(server).commands(b"PASS") == [b"PASS secret"]


def test_an_apop_that_was_asked_for_stays_one() -> None:
    """With ``auth = apop`` no password is sent, come what may."""
    refusing = CannedServer(greeting=CHALLENGE, replies={b"APOP": b"-ERR no shared secret\r\n"})
    for server in (refusing, CannedServer()):
        with pytest.raises(Denied):
            login(server, auth="apop")
        assert not server.commands(b"PASS")


def test_sasl_plain_carries_what_is_not_ascii() -> None:
    """SASL PLAIN is UTF-8 by its standard."""
    script = {b"AUTH PLAIN": b"+ \r\n"}
    server = login(CannedServer(replies=script, capabilities=[b"SASL PLAIN", b"USER"]), password="pässwort")
    assert base64.b64decode(server.received[2]).decode() == "\0anna@example.org\0pässwort"


def test_a_master_user_acts_for_the_account() -> None:
    """SASL PLAIN carries the authorisation identity first."""
    server = login(CannedServer(replies={b"AUTH PLAIN": b"+ \r\n"}), master_user="admin")
    assert base64.b64decode(server.received[2]) == b"anna@example.org\0admin\0secret"


def test_a_refused_token_ends_the_exchange() -> None:
    """Microsoft and Google tell why in a second challenge; an empty answer lets them refuse."""
    token = base64.b64encode(b"user=anna@example.org\x01auth=Bearer secret\x01\x01")
    script = {b"AUTH": b"+ \r\n", token: b"+ eyJzdGF0dXMiOiI0MDAifQ==\r\n", b"": b"-ERR [AUTH] bad token\r\n"}
    server = CannedServer(replies=script)
    with pytest.raises(Denied, match="bad token"):
        login(server, auth="xoauth2")
    assert server.received[-2:] == [token, b""]


@pytest.mark.parametrize(
    ("answer", "kind", "remedy"),
    [
        (b"-ERR [AUTH] Authentication failed.\r\n", LoginDenied, "password"),
        (b"-ERR [AUTH] Application-specific password required\r\n", LoginDenied, "applications"),
        (b"-ERR [AUTH] Your account is locked\r\n", Denied, "password"),
        (b"-ERR account disabled\r\n", Denied, "password"),
        (b"-ERR invalid login\r\n", LoginDenied, "password"),
        (b"-ERR\r\n", LoginDenied, "password"),
        (b"-ERR [IN-USE] Do you have another POP session running?\r\n", Transient, "mail program"),
        (b"-ERR [IN-USE/BY-OWNER] no\r\n", Transient, "mail program"),
        (b"-ERR maildrop already locked\r\n", Transient, "mail program"),
        (b"-ERR [LOGIN-DELAY] minimum time between mail checks violation\r\n", Throttled, ""),
        (b"-ERR [SYS/TEMP] Temporary authentication failure.\r\n", Transient, "later"),
        (b"-ERR [SYS/PERM] mailbox is corrupt\r\n", Denied, "administrator"),
        (b"-ERR Too many simultaneous connections\r\n", Throttled, "max_connections"),
        (b"-ERR POP3 is not enabled for this account\r\n", LoginDenied, "Switch POP3 on"),
        (
            b"-ERR Plaintext authentication disallowed on non-secure (SSL/TLS) connections.\r\n",
            Denied,
            "starttls",
        ),
        (b"+OK\r\n" + CLOSE, Transient, ""),
        (CLOSE, Transient, ""),
        (b"* BAD\r\n", Transient, ""),
        (b"+OK " + b"x" * 100_000, Transient, ""),
    ],
)
def test_refused_logins_are_graded(answer: bytes, kind: type[AlimailError], remedy: str) -> None:
    """A wrong password stops the account with a remedy; a locked maildrop and a busy server do not."""
    with CannedServer(replies={b"PASS": answer}) as server, pytest.raises(AlimailError) as caught:
        connect(server.options, server.credentials)
    assert type(caught.value) is kind
    assert remedy in caught.value.remedy
    assert "secret" not in str(caught.value)


def test_a_delay_between_logins_is_obeyed() -> None:
    """The server's own LOGIN-DELAY says how long to wait (RFC 2449 §6.5)."""
    server = CannedServer(
        replies={b"PASS": b"-ERR [LOGIN-DELAY] too often\r\n"}, capabilities=[b"USER", b"LOGIN-DELAY 900"]
    )
    with server, pytest.raises(Throttled) as caught:
        connect(server.options, server.credentials)
    assert caught.value.retry_after == 900.0


def test_a_server_that_repeats_the_password_is_not_repeated() -> None:
    """Some servers quote the command that they refuse."""
    with CannedServer(replies={b"PASS": lambda line: b"-ERR unknown: " + line + b"\r\n"}) as server:
        with pytest.raises(Denied) as caught:
            connect(server.options, server.credentials)
        assert "PASS ***" in str(caught.value)


@pytest.mark.parametrize("password", ["x\r\nDELE 1", "x\0y", "x\ny"])
def test_no_password_is_a_command(password: str) -> None:
    """What could end a line never reaches the server."""
    server = CannedServer()
    with pytest.raises(Denied, match="control character"):
        login(server, password=password)
    assert server.received == [b"CAPA"]


@pytest.mark.parametrize(
    ("greeting", "kind"),
    [
        (b"-ERR [SYS/TEMP] not now\r\n", Transient),
        (b"-ERR Too many connections from your IP\r\n", Throttled),
        (b"-ERR go away\r\n", Transient),
        (b"* OK IMAP4rev1 ready\r\n", Denied),
        (b"220 mail ESMTP\r\n", Denied),
        (b"\x15\x03\x01\r\n", Denied),
        (b"+OK " + b"x" * 100_000, Denied),
        (b"", Transient),
    ],
)
def test_what_greets_us_otherwise_is_told(
    greeting: bytes, kind: type[AlimailError], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An IMAP or SMTP server is recognised as none of ours; one that is busy may have time later."""
    monkeypatch.setattr("alimail_pop3.login._greeted", set())  # ports are used again
    with CannedServer(greeting=greeting + CLOSE) as server, pytest.raises(AlimailError) as caught:
        connect(server.options, server.credentials)
    assert type(caught.value) is kind


def test_what_greets_us_otherwise_later_is_passing() -> None:
    """Where a POP3 server has answered, something on the way answers in its place now: no option is wrong."""
    with CannedServer() as server:
        connect(server.options, server.credentials).close()
        server.greeting = b"HTTP/1.1 502 Bad Gateway\r\n" + CLOSE
        with pytest.raises(Transient, match="did before"):
            connect(server.options, server.credentials)


# Encryption


@pytest.mark.parametrize("replies", [{}, {b"STLS": b"-ERR not now\r\n"}])
def test_a_server_without_stls_gets_no_password(replies: dict[bytes, bytes]) -> None:
    """When somebody takes STLS out of the capabilities, or refuses it, there is no downgrade."""
    capabilities = [b"USER", b"STLS"] if replies else [b"USER"]
    with (
        CannedServer(replies=replies, capabilities=capabilities) as server,
        pytest.raises(Denied, match="STLS"),
    ):
        connect(evolve(server.options, tls="starttls"), server.credentials)
    assert not server.commands(b"PASS")


@pytest.mark.parametrize("capabilities", [[b"USER", b"STLS"], None])
def test_words_slipped_in_before_tls_do_not_count(tmp_path: Path, capabilities: list[bytes] | None) -> None:
    """What somebody on the way adds to the answer to STLS is thrown away, and capabilities are asked anew."""
    certificate = make_certificate(tmp_path)
    server = CannedServer(
        replies={b"STLS": b"+OK begin\r\n+OK\r\nSLIPPED-IN\r\n.\r\n"},
        capabilities=capabilities,
        greeting=CHALLENGE,
        tls=certificate.context(),
    )
    with server:
        options = evolve(server.options, tls="starttls", ca=certificate.ca_file)
        connection = connect(options, server.credentials)
        assert not connection.offers("SLIPPED-IN")
        assert connection.wire.tls is not None
        connection.close()
    assert server.received.index(b"STLS") < server.received.index(b"PASS secret")


def test_a_certificate_that_is_not_trusted_is_denied(tmp_path: Path) -> None:
    """Nobody logs in to whoever has a certificate of his own making."""
    certificate = make_certificate(tmp_path)
    server = CannedServer(capabilities=[b"USER", b"STLS"], tls=certificate.context())
    options = evolve(server.options, tls="starttls")
    # The server sees its peer break off.
    with suppress(OSError), server, pytest.raises(Denied, match="not trusted"):
        connect(options, server.credentials)
    assert not server.commands(b"PASS")


def test_no_password_where_the_server_takes_none_in_clear() -> None:
    """A server that announces no USER before encryption is not sent one all the same."""
    with CannedServer(capabilities=[b"TOP", b"STLS"]) as server, pytest.raises(Denied, match="in this way"):
        connect(server.options, server.credentials)
    assert server.received == [b"CAPA"]


def test_no_password_in_clear_over_a_network() -> None:
    """On any host but this machine, plain text needs a second consent; no connection is even tried."""
    with pytest.raises(Denied, match="without encryption") as caught:
        connect(Pop3Options(host="mail.example.org", tls="none"), Credentials("a", lambda: "b"))
    assert "allow_plaintext_login" in caught.value.remedy


def test_a_ca_file_that_is_none_is_an_input_error() -> None:
    """A wrong path is told before anything is connected to."""
    with pytest.raises(InputError):
        connect(
            Pop3Options(host="127.0.0.1", port=1, ca=Path("/nonexistent.pem")), Credentials("a", lambda: "b")
        )


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
        (b"-ERR no such message", "read", Refused),
        (b"-ERR [SYS/TEMP] disk", "read", Transient),
        (b"-ERR [SYS/PERM] disk", "list", Denied),
        (b"-ERR what?", "list", Transient),
        (b"-err [auth] small letters", "login", LoginDenied),
        (b"-ERR Mailbox is locked by POP server", "login", Transient),
        (b"-ERR Server busy, try again later", "greeting", Transient),
        (b"-ERR Please use authorization code", "login", LoginDenied),
    ],
)
def test_answers_are_graded(words: bytes, doing: Doing, kind: type[AlimailError]) -> None:
    """Codes decide first, then the words of the servers that were met."""
    answer = parse_answer(words)
    assert answer is not None
    assert type(grade(answer, doing)) is kind


def test_no_words_reach_a_terminal_raw() -> None:
    """Control characters in a server's words are not handed on."""
    answer = parse_answer(b"-ERR \x1b[31mred\x07 \xff")
    assert answer is not None
    assert answer.words.isprintable()


# tls = auto


@pytest.mark.parametrize(
    ("capabilities", "replies", "kind"),
    [
        ([b"USER"], {}, NoTls),
        ([b"SASL PLAIN"], {}, NoTls),
        (None, {b"STLS": b"-ERR unknown\r\n"}, NoTls),
        ([b"TOP"], {}, Denied),
        ([b"USER", b"STLS"], {b"STLS": b"-ERR not now\r\n"}, Denied),
        ([b"USER", b"STLS"], {b"STLS": CLOSE}, Transient),
    ],
    ids=["none", "none, SASL", "no CAPA", "stripped", "refused", "cut"],
)
def test_a_stls_that_was_taken_out_is_no_leave_to_go_on(
    capabilities: list[bytes] | None, replies: dict[bytes, bytes], kind: type[AlimailError]
) -> None:
    """Only a server that offers none, and takes logins without it, is one that has no TLS."""
    with (
        CannedServer(replies=replies, capabilities=capabilities) as server,
        pytest.raises(AlimailError) as caught,
    ):
        connect(evolve(server.options, tls="starttls"), server.credentials)
    assert type(caught.value) is kind
    assert not server.commands(b"PASS")


def test_what_a_server_has_is_found_without_logging_in(tmp_path: Path) -> None:
    """STLS where the port is known to begin in clear; on loopback nothing at all is enough."""
    certificate = make_certificate(tmp_path)
    for capabilities, found in (([b"USER", b"STLS"], "starttls"), ([b"USER"], "none")):
        with CannedServer(capabilities=capabilities, tls=certificate.context()) as server:
            options = evolve(server.options, tls="auto", ca=certificate.ca_file)
            assert probe(options) == evolve(options, tls=found, port=server.port)
        assert not server.commands(b"USER")


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(
    greeting=st.sampled_from([b"+OK ready\r\n", CHALLENGE, b"-ERR busy\r\n", b"\x16\x03\r\n"]),
    words=st.none() | st.lists(st.sampled_from([b"STLS", b"USER", b"SASL PLAIN", b"XXXX"]), unique=True),
    answer=st.sampled_from([b"+OK\r\n", b"-ERR\r\n", b"+OK\r\n+OK in\r\n", CLOSE]),
    tls=st.booleans(),
)
def test_who_has_no_trusted_certificate_gets_no_password(
    greeting: bytes,
    words: list[bytes] | None,
    answer: bytes,
    tls: bool,
    elsewhere: ssl.SSLContext,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever is said on the way to a server on the network, and however it is put together."""
    monkeypatch.setattr(
        socket, "create_connection", lambda address, timeout: dial_here(("127.0.0.1", address[1]), 0.2)
    )
    server = CannedServer(
        replies={b"STLS": answer}, capabilities=words, greeting=greeting, tls=elsewhere if tls else None
    )
    options = Pop3Options("mail.old.example", port=server.port, timeout=0.2)
    with suppress(OSError), server, pytest.raises(AlimailError):
        connect(probe(options), server.credentials)
    assert not [each for each in server.received if each[:4] in (b"PASS", b"APOP", b"AUTH")]


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """Return what a server shows that nobody vouches for."""
    return make_certificate(tmp_path_factory.mktemp("elsewhere")).context()
