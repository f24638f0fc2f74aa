"""Connections to servers: what is said where there is none, and how it is found out what encryption they have."""

from __future__ import annotations

import contextlib
import itertools
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Literal, NoReturn

import pytest
from attrs import evolve, frozen

from alimail_core.errors import AlimailError, Denied, InputError, Transient
from alimail_core.network import NobodyThere, NoTls, ServerOptions, dial, find_tls, tls_error
from alimail_core.structure import Misfits, structure
from alimail_core.testing.canned import CLOSE, CannedListener, Peer
from alimail_core.testing.certificates import make_certificate


@frozen
class Options(ServerOptions):
    """A protocol's."""

    implicit_port = 993
    cleartext_port = 143


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [(socket.EAI_NONAME, Denied, "no server of the name"), (socket.EAI_AGAIN, Transient, "no connection")],
)
def test_a_name_that_is_none_is_no_passing_trouble(
    code: int, kind: type[AlimailError], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that does not exist ends the account at once; a name server that does not answer is waited for."""

    def look_up(*_: object) -> NoReturn:
        raise socket.gaierror(code, "as the system says it")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(kind, match=words):
        dial(ServerOptions("mail.old.example", port=993))


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_that_is_none_is_told_with_its_place(port: int) -> None:
    """It is a fault of the configuration, before anything is connected to."""
    with pytest.raises(Misfits) as caught:
        structure({"host": "mail.old.example", "port": port}, Options)
    (item,) = caught.value.items
    assert (item.path, item.message) == (("port",), "must be from 1 to 65535")


# tls = auto

Way = Literal["auto", "implicit", "starttls", "none"]


def refused() -> NobodyThere:
    """Return what ``dial`` raises where a port is closed."""
    error = NobodyThere("refused")
    error.__cause__ = ConnectionRefusedError()
    return error


ANSWERS: dict[str, Callable[[], AlimailError] | None] = {
    "has it": None,
    "refused": refused,
    "silent": lambda: NobodyThere("silent"),
    "no TLS": lambda: NoTls("no TLS"),
    "not trusted": lambda: Denied("not trusted"),
    "lost": lambda: Transient("lost"),
}


def find(options: Options, implicit: str, starttls: str) -> tuple[Way | None, list[tuple[Way, int]]]:
    """Return what is found on a server that answers so, ``None`` where nothing is, and what was tried."""
    tried: list[tuple[Way, int]] = []

    def begin(each: Options) -> None:
        tried.append((each.tls, each.address[1]))
        answer = ANSWERS[{"implicit": implicit, "starttls": starttls, "none": "has it"}[each.tls]]
        if answer is not None:
            raise answer()

    try:
        found = find_tls(options, begin)
    except AlimailError:
        return None, tried
    assert found == evolve(options, tls=found.tls, port=tried[-1][1])
    return found.tls, tried


@pytest.mark.parametrize("port", [None, 4711])
@pytest.mark.parametrize("plain", [False, True])
@pytest.mark.parametrize(("implicit", "starttls"), list(itertools.product(ANSWERS, ANSWERS)))
def test_only_certain_answers_lead_to_the_next_best(
    implicit: str, starttls: str, plain: bool, port: int | None
) -> None:
    """The best that is there; nothing after a certificate that is not trusted; clear text only by leave and proof."""
    options = Options("mail.old.example", port=port, allow_plaintext_login=plain)
    found, tried = find(options, implicit, starttls)
    # On one port there is nobody to ask a second time where nobody answered the first.
    goes_on = implicit == "no TLS" or (implicit in ("refused", "silent") and port is None)
    may_be_plain = plain and starttls == "no TLS" and implicit != "silent"
    if implicit == "has it":
        assert (found, len(tried)) == ("implicit", 1)
    elif goes_on and starttls == "has it":
        assert (found, len(tried)) == ("starttls", 2)
    elif goes_on and may_be_plain:
        assert (found, len(tried)) == ("none", 3)
    else:
        assert (found, len(tried)) == (None, 2 if goes_on else 1)
    ports = [port or usual for usual in (993, 143, 143)]
    assert tried == list(zip(("implicit", "starttls", "none"), ports, strict=True))[: len(tried)]


def test_what_is_said_is_not_asked() -> None:
    """Whoever names an encryption gets that or nothing."""
    tried: list[Options] = []
    options = Options("mail.old.example", tls="starttls")
    assert find_tls(options, tried.append) is options
    assert not tried


@pytest.mark.parametrize(
    ("implicit", "starttls", "kind", "remedy"),
    [
        ("refused", "silent", NobodyThere, ""),
        ("refused", "no TLS", NoTls, "allow_plaintext_login"),
        ("no TLS", "no TLS", NoTls, "allow_plaintext_login"),
        ("not trusted", "has it", Denied, ""),
        ("lost", "has it", Transient, ""),
    ],
)
def test_what_is_missing_is_told(implicit: str, starttls: str, kind: type[AlimailError], remedy: str) -> None:
    """A server that is away is waited for; one without encryption stops the account, with what may be done."""

    def begin(each: Options) -> None:
        answer = ANSWERS[implicit if each.tls == "implicit" else starttls]
        assert answer is not None
        raise answer()

    with pytest.raises(AlimailError) as caught:
        find_tls(Options("mail.old.example"), begin)
    assert type(caught.value) is kind
    assert remedy in caught.value.remedy


class Speaks(CannedListener):
    """Says something at once, something else once it was spoken to, and then listens no more."""

    def __init__(self, greeting: bytes, answer: bytes = b"") -> None:
        self.greeting = greeting
        self.answer = answer
        super().__init__()

    def converse(self, peer: Peer, number: int) -> None:
        """Say it, and wait until the client has gone."""
        if peer.say(self.greeting) and peer.octets(1) and peer.say(self.answer):
            while peer.line():
                pass


@pytest.mark.slow
@pytest.mark.parametrize(
    ("greeting", "answer", "kind"),
    [
        (b"* OK ready\r\n", b"", NoTls),
        (b"+OK ready\r\n", b"", NoTls),
        (b"\x00\x00\x00\x00\x00\x00", b"", NoTls),
        (b"", b"\x15\x03\x01\x00\x02\x02\x28", Denied),  # the alert handshake_failure: it speaks TLS
        (b"", b"HTTP/1.1 400 Bad Request\r\n\r\n" + CLOSE, Denied),
        (b"", CLOSE, Transient),
        (CLOSE, b"", Transient),
    ],
)
def test_what_speaks_no_tls_is_told_from_what_speaks_it_badly(
    greeting: bytes, answer: bytes, kind: type[AlimailError], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a greeting in clear proves that there is no TLS: not an alert, nor a connection that ends."""
    monkeypatch.setattr("alimail_core.network._encrypted", set())  # ports are used again
    with Speaks(greeting, answer) as server, pytest.raises(AlimailError) as caught:
        dial(Options("127.0.0.1", port=server.port, tls="implicit", timeout=20.0))
    assert type(caught.value) is kind


@pytest.mark.parametrize("kind", [ssl.SSLEOFError, ssl.SSLZeroReturnError])
def test_a_connection_that_ends_in_the_handshake_is_lost_whatever_python_calls_it(
    kind: type[ssl.SSLError],
) -> None:
    """It may be there again in a minute, in Python 3.11.2 as well."""
    assert type(tls_error(kind(8, "EOF occurred"), Options("127.0.0.1"))) is Transient


class Encrypted(CannedListener):
    """Speaks TLS 1.2 from the first octet, but after the first ``most`` connections something else."""

    def __init__(self, context: ssl.SSLContext, most: int = 9) -> None:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        self.context = context
        self.most = most
        super().__init__()

    def converse(self, peer: Peer, number: int) -> None:
        """Encrypt; the client may not like it."""
        with contextlib.suppress(OSError):
            if number < self.most:
                peer.encrypt(self.context)
            else:
                peer.say(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")


def test_tls_that_is_not_trusted_or_too_old_is_tls(tmp_path: Path) -> None:
    """Neither is taken for a server that has none."""
    certificate = make_certificate(tmp_path)
    with Encrypted(certificate.context()) as server:
        trusting = Options("127.0.0.1", port=server.port, ca=certificate.ca_file, timeout=20.0)
        dial(trusting).close()
        for each in (evolve(trusting, ca=None), evolve(trusting, tls_minimum="1.3")):
            with pytest.raises(AlimailError) as caught:
                dial(each)
            assert type(caught.value) is Denied


def test_what_speaks_no_tls_later_is_passing(tmp_path: Path) -> None:
    """Where TLS has begun, something on the way answers in its place now: no option is wrong."""
    certificate = make_certificate(tmp_path)
    with Encrypted(certificate.context(), most=1) as server:
        trusting = Options("127.0.0.1", port=server.port, ca=certificate.ca_file, timeout=20.0)
        dial(trusting).close()
        with pytest.raises(Transient, match="did before"):
            dial(trusting)


@pytest.mark.parametrize("host", ["mail..old.example", ".old.example", f"{'x' * 64}.example"])
def test_a_name_that_no_server_can_have_is_told(host: str) -> None:
    """Python refuses to look it up, by an error that is none of the network."""
    with pytest.raises(Denied, match="no server of the name") as caught:
        dial(Options(host, port=1))
    assert "spelling" in caught.value.remedy


def test_a_port_that_is_closed_is_a_certain_answer() -> None:
    """Nobody listens: that is told by the system, and not only a silence."""
    with Speaks(b"") as server:
        port = server.port
    with pytest.raises(NobodyThere) as caught:
        dial(Options("127.0.0.1", port=port))
    assert isinstance(caught.value.__cause__, ConnectionRefusedError)


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("imaps://mail.old.example", "is a URL"),
        ("imap://anna:S3cret@mail.old.example:143", "is a URL"),
        ("mail.old.example:993", "has a port"),
        ("[2001:db8::1]:993", "has a port"),
        ("anna@old.example", "is an address"),
        ("mail.old.example/anna", "is not a server's name"),
        ("mail.old. example", "is not a server's name"),
    ],
)
def test_what_is_no_servers_name_is_told_before_anybody_looks_for_it(host: str, told: str) -> None:
    """A URL, a port or an address in its place has a remedy of its own; it is not repeated, for its password."""
    with pytest.raises(InputError, match=told) as caught:
        Options(host)
    assert caught.value.remedy
    assert "S3cret" not in caught.value.message + caught.value.remedy


@pytest.mark.parametrize(
    "host", ["mail.old.example", "post_1", "192.0.2.1", "2001:db8::1", "[2001:db8::1]", "::1"]
)
def test_a_name_or_an_address_of_a_machine_is_a_host(host: str) -> None:
    """With a port of its own, also where it has colons."""
    assert Options(host, port=1).address == (host, 1)
