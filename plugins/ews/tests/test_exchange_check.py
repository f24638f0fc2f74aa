"""``alimail exchange check``: each thing that is wrong with a server is found, and has its remedy."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from alimail_core import Clock, Refused, Registry
from alimail_core.cli import main
from alimail_core.testing.mail import message
from alimail_ews.admin import autodiscover
from alimail_ews.admin.check import Check, Finding, Wish, _spread
from alimail_ews.grades import CODES
from alimail_ews.options import EwsOptions
from tests.exchange import EXCHANGE_2007, EXCHANGE_2010, EXCHANGE_2013, ExchangeServer, Habits, faults
from tests.exchange.fixtures import StartExchange

pytestmark = pytest.mark.server

SECRET = "pa55-w0rd"
PEOPLE = ("amy@old.example", "bob@old.example", "carl@old.example")


@pytest.fixture
def server(exchange: StartExchange) -> ExchangeServer:
    """One with three people and the service account, over plain HTTP on loopback."""
    return fill(exchange(tls=False))


def fill(server: ExchangeServer) -> ExchangeServer:
    """Put three people, a little mail and the service account into a server."""
    for name in ("amy", "bob", "carl"):
        server.organisation.add_mailbox(name, aliases=[f"{name}.alias@old.example"])
    for number in range(3):
        amy = server.organisation.mailbox(PEOPLE[0])
        assert amy is not None
        amy.deliver("inbox", message(f"Letter {number}"))
    server.organisation.add_account("svc", SECRET, impersonates=["*"])
    return server


@pytest.fixture(autouse=True)
def _secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SVC", SECRET)


def run(*words: object) -> int:
    """Run the verb with this plug-in alone."""
    account = ("--user", "OLD\\svc", "--secret", "env:SVC")
    return main(["exchange", "check", *account, *map(str, words)], Registry.load(only=["ews"]))


def mailboxes(*addresses: str) -> list[str]:
    """Return options that name mailboxes."""
    return [word for address in addresses for word in ("--mailbox", address)]


def findings(server: ExchangeServer, *addresses: str, password: str = SECRET) -> list[Finding]:
    """Check a server by the library."""
    options = EwsOptions("localhost", server.port, "none", timeout=10.0)
    return list(Check(Wish(options, "OLD\\svc", lambda: password, addresses or PEOPLE), Clock()).run())


def levels(found: Sequence[Finding], step: str) -> list[str]:
    """Return the levels of what a step found."""
    return [each.remark.level for each in found if each.step == step]


def remedies(found: Sequence[Finding], step: str) -> str:
    """Return what a step says is to be done."""
    return " ".join(each.remark.remedy for each in found if each.step == step)


def test_a_sound_server_has_nothing_in_the_way(
    exchange: StartExchange, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Over TLS, by a roster: every step is told, as a table and as JSON, and no secret is in either."""
    server = fill(exchange())
    roster = tmp_path / "accounts.csv"
    lines = [f"{address},{address.replace('old', 'new')}" for address in PEOPLE]
    roster.write_text("source address,target address\n" + "\n".join(lines) + "\n")
    words = ("--server", f"localhost:{server.port}", "--ca", server.ca_file, "--roster", roster)
    assert run(*words) == 0
    table = capsys.readouterr().out
    assert all(step in table for step in ("certificate", "EWS", "login", "product", "speed", "throttling"))
    assert table.count("can be read (impersonation)") == 3
    assert run(*words, "--json") == 0
    out = capsys.readouterr().out
    told = json.loads(out)
    assert told["product"] == "Exchange 2016"
    assert told["url"] == server.url
    assert (told["schemes"], told["login"]) == (["ntlm", "basic"], "ntlm")
    assert told["round_trip_ms"] > 0
    assert told["octets_per_second"] > 0
    assert SECRET not in table + out


def test_a_server_that_takes_nothing_but_posts_is_sound(exchange: StartExchange) -> None:
    """It does not even say how to log in to whoever asks otherwise."""
    found = findings(fill(exchange(tls=False, habits=Habits(posts_only=True))))
    assert levels(found, "EWS") == ["ok"]
    assert not [each for each in found if each.remark.level == "fault"]


@pytest.mark.parametrize(
    ("version", "name"),
    [
        (EXCHANGE_2007, "Exchange 2007 SP3"),
        (EXCHANGE_2010, "Exchange 2010 SP3"),
        (EXCHANGE_2013, "Exchange 2013"),
    ],
)
def test_old_versions_are_checked_as_well(exchange: StartExchange, version: object, name: str) -> None:
    """The version of requests is found out, and the product named."""
    found = findings(fill(exchange(tls=False, version=version)))
    assert not [each for each in found if each.remark.level == "fault"]
    assert any(name in each.remark.text for each in found if each.step == "product")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("ErrorImpersonateUserDenied", "ApplicationImpersonation"),
        ("ErrorImpersonationFailed", "ApplicationImpersonation"),
        ("ErrorNonPrimarySmtpAddress", "PrimarySmtpAddress"),
        ("ErrorNonExistentMailbox", "spelt right"),
        ("ErrorInvalidExchangeImpersonationHeaderData", "PrimarySmtpAddress"),
        ("ErrorMissingEmailAddress", "mailbox"),
        ("ErrorAccountDisabled", "disabled"),
    ],
)
def test_a_refusal_of_one_mailbox_has_its_remedy(server: ExchangeServer, code: str, words: str) -> None:
    """That mailbox has a fault; the others are tried and measured all the same."""
    assert code in CODES
    server.faults.add(faults.refused(code), mailbox=PEOPLE[1], times=float("inf"))
    found = findings(server)
    assert levels(found, "mailboxes") == ["ok", "fault", "ok"]
    assert words in remedies(found, "mailboxes")
    assert levels(found, "throttling") == ["ok"]


def test_what_the_server_itself_refuses(server: ExchangeServer) -> None:
    """An alias in place of the address, an address of nobody, rights that are missing for one."""
    account = server.organisation.account("svc")
    assert account is not None
    account.impersonates = set(PEOPLE) - {"bob@old.example"}
    found = findings(server, "amy.alias@old.example", "nobody@old.example", "bob@old.example")
    assert levels(found, "mailboxes") == ["fault"] * 3
    texts = [each.remark.text for each in found if each.step == "mailboxes"]
    codes = ("ErrorNonPrimarySmtpAddress", "ErrorNonExistentMailbox", "ErrorImpersonateUserDenied")
    assert all(code in text for code, text in zip(codes, texts, strict=True))


def test_full_access_is_checked_as_a_delegate(
    server: ExchangeServer, capsys: pytest.CaptureFixture[str]
) -> None:
    """With --access delegate the account's own rights count."""
    account = server.organisation.account("svc")
    assert account is not None
    account.impersonates = set()
    words = ("--server", server.url, "--access", "delegate", *mailboxes("amy@old.example"))
    assert run(*words) == 3
    assert "FullAccess" in capsys.readouterr().out


def test_a_wrong_password_ends_the_check(server: ExchangeServer) -> None:
    """It is tried once, by no other way in and never for a mailbox, and is not told."""
    found = findings(server, password="wr0ng")
    assert server.door.wrong == 1
    assert levels(found, "login") == ["warning", "warning", "fault"]
    assert "not tried again" in [each.remark.text for each in found if each.step == "login"][1]
    assert "auth = basic" in remedies(found, "login")
    assert "password" in remedies(found, "login")
    assert not levels(found, "mailboxes")
    assert "wr0ng" not in repr(found)


def test_a_way_in_that_does_not_work_says_nothing_of_the_password(server: ExchangeServer) -> None:
    """NTLM is offered, and no challenge comes: nobody has seen the password, so Basic is tried."""
    server.door.takes = ("Basic",)
    found = findings(server)
    assert levels(found, "login") == ["warning", "ok"]
    assert server.door.wrong == 0
    assert levels(found, "mailboxes") == ["ok"] * 3


@pytest.mark.parametrize(
    ("schemes", "logins", "login"),
    [
        (("Basic",), ["ok"], "basic"),
        (("Negotiate", "NTLM"), ["ok", "note"], "ntlm"),
        (("Bearer",), ["fault"], ""),
    ],
)
def test_ways_in(server: ExchangeServer, schemes: tuple[str, ...], logins: list[str], login: str) -> None:
    """What is offered is told; Kerberos without a ticket is a note; tokens alone have their own remedy."""
    server.door.schemes = schemes
    check = Check(
        Wish(EwsOptions("localhost", server.port, "none"), "OLD\\svc", lambda: SECRET, PEOPLE), Clock()
    )
    found = list(check.run())
    assert sorted(levels(found, "login")) == sorted(logins)
    assert check.facts.login == login
    assert ("--auth oauth" in remedies(found, "login")) is (login == "")


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (faults.busy(2_000), "refused 2, and asked to wait 2 s"),
        (faults.busy(None), "refused 2: "),
        (faults.refused("ErrorExceededConnectionCount"), "refused 2: "),
        (faults.http(503, retry_after="3"), "refused 2, and asked to wait 3 s"),
    ],
)
def test_throttling_that_is_felt(server: ExchangeServer, fault: faults.Fault, told: str) -> None:
    """Some of many requests at once are refused: how many, how long to wait, and the policy that lifts it."""
    # Two logins, three mailboxes, six round trips, and the folder to measure with come before.
    server.faults.add(fault, operation="GetFolder", times=2, skip=2 + 3 + 6 + 1)
    found = findings(server)
    assert levels(found, "throttling") == ["warning"]
    assert told in " ".join(each.remark.text for each in found if each.step == "throttling")
    assert "alimail exchange prepare" in remedies(found, "throttling")


@pytest.mark.parametrize(
    ("path", "told"),
    [("/elsewhere", "Check host and url_path"), ("", "")],
)
def test_ews_is_where_it_is_said_to_be(
    server: ExchangeServer, path: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A path that leads nowhere is told; a URL without one means the usual."""
    code = run("--server", f"http://localhost:{server.port}{path}", *mailboxes(PEOPLE[0]))
    assert code == (3 if told else 0)
    assert told in capsys.readouterr().out


def test_what_is_no_web_server_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """A mail server that speaks first."""
    with listening(b"* OK IMAP ready\r\n") as port:
        assert run("--server", f"http://localhost:{port}", *mailboxes(PEOPLE[0])) == 3
    assert "does not speak HTTP" in capsys.readouterr().out


@contextmanager
def listening(octets: bytes, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Accept connections, say something, and close; within TLS where there is a context."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    sock, _ = listener.accept()
                except OSError:
                    return
                try:
                    with context.wrap_socket(sock, server_side=True) if context else sock as peer:
                        peer.sendall(octets)
                        peer.recv(1)
                except OSError:
                    sock.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)


def certificate(
    folder: Path, name: str, begins: timedelta, ends: timedelta, *, own: bool = False
) -> ssl.SSLContext:
    """Make a server's certificate, from an authority in ``ca.pem`` or by itself, and return its TLS settings."""
    now = datetime.now(UTC)
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "authority")])
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])

    def signed(
        who: x509.Name, public: ec.EllipticCurvePublicKey, by: x509.Name, ca: bool
    ) -> x509.Certificate:
        builder = x509.CertificateBuilder().subject_name(who).issuer_name(by).public_key(public)
        span = (now - timedelta(days=900), now + timedelta(days=900)) if ca else (now + begins, now + ends)
        builder = (
            builder.serial_number(x509.random_serial_number())
            .not_valid_before(span[0])
            .not_valid_after(span[1])
        )
        builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        return builder.sign(key if own else authority_key, hashes.SHA256())

    authority = signed(issuer, authority_key.public_key(), issuer, ca=True)
    leaf = signed(subject, key.public_key(), subject if own else issuer, ca=False)
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    (folder / "ca.pem").write_bytes(authority.public_bytes(pem))
    (folder / "server.pem").write_bytes(leaf.public_bytes(pem) + private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem")
    return context


DAY = timedelta(days=1)


@pytest.mark.parametrize(
    ("name", "begins", "ends", "own", "trusted", "told"),
    [
        ("localhost", -30 * DAY, -DAY, False, True, "Renew it"),
        ("localhost", DAY, 30 * DAY, False, True, "clocks"),
        ("mail.other.example", -DAY, 30 * DAY, False, True, "names in it: mail.other.example"),
        ("localhost", -DAY, 30 * DAY, False, False, "--ca FILE"),
        ("localhost", -DAY, 30 * DAY, True, False, "vouches for itself"),
        ("localhost", -DAY, 10 * DAY, False, True, "maybe before the migration does"),
    ],
)
def test_each_fault_of_a_certificate_has_its_remedy(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    name: str,
    begins: timedelta,
    ends: timedelta,
    own: bool,
    trusted: bool,
    told: str,
) -> None:
    """Expired, not valid yet, for another name, from nobody known, from itself, and soon over."""
    context = certificate(tmp_path, name, begins, ends, own=own)
    with listening(b"", context) as port:
        ca = ("--ca", tmp_path / "ca.pem") if trusted else ()
        assert run("--server", f"localhost:{port}", *ca, *mailboxes(PEOPLE[0])) == 3
    said = capsys.readouterr().out
    assert told in said
    assert ("certificate  FAULT" in said) is ("maybe" not in told)


class April(Clock):
    """The day on which EWS ends in Exchange Online."""

    def now(self) -> datetime:
        """Return it."""
        return datetime(2027, 4, 1, tzinfo=UTC)


class March(Clock):
    """The day before."""

    def now(self) -> datetime:
        """Return it."""
        return datetime(2027, 3, 31, tzinfo=UTC)


@pytest.mark.parametrize(("clock", "level"), [(March(), "warning"), (April(), "fault")])
def test_exchange_online_is_told_what_holds_there(clock: Clock, level: str) -> None:
    """By its name, before anything is sent there: closed by default now, off for all from April 2027."""
    check = Check(Wish(EwsOptions("outlook.office365.com"), "svc", lambda: SECRET, PEOPLE), clock)
    remark = next(iter(check.run())).remark
    assert remark.level == level
    assert "2026-10-01" in remark.text
    assert "2027-04-01" in remark.text
    assert "kind = imap" in remark.remedy


def test_autodiscover_finds_the_server(
    exchange: StartExchange, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without --server the mailbox's own domain is asked; the first place that is silent is passed over."""
    server = fill(exchange())
    places = [("localhost", 1), ("localhost", server.port)]
    monkeypatch.setattr(autodiscover, "places", lambda domain: places)
    monkeypatch.setattr(
        autodiscover, "hints", lambda domain: [autodiscover.Hint("elsewhere", fault="silence")]
    )
    assert run("--ca", server.ca_file, *mailboxes(PEOPLE[0])) == 0
    said = capsys.readouterr().out
    assert f"names {server.url}" in said
    assert run("--ca", server.ca_file, *mailboxes("nobody@old.example")) == 3
    told = capsys.readouterr().out
    assert "error 500" in told
    assert "elsewhere: silence" in told


def test_autodiscover_is_asked_beneath_the_domain_alone() -> None:
    """A password goes to the domain's own hosts, over TLS."""
    assert autodiscover.places("old.example") == [("autodiscover.old.example", 443), ("old.example", 443)]


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"<html><body>Welcome</body></html>",
        b"<Autodiscover><Response><Account>",
        b'<!DOCTYPE a [<!ENTITY e "x">]><a><EwsUrl>&e;</EwsUrl></a>',
        b"<Autodiscover><Response><Error><ErrorCode>500</ErrorCode><Message>no\x07</Message></Error></Response>"
        b"</Autodiscover>",
    ],
)
def test_what_is_no_autodiscover_is_refused(octets: bytes) -> None:
    """A web page, half an answer, entities, an error."""
    with pytest.raises(Refused):
        autodiscover.located(octets)


@pytest.mark.parametrize(
    ("element", "url", "instead"),
    [
        ("EwsUrl", "https://mail.old.example/EWS/Exchange.asmx", ""),
        ("RedirectAddr", "", "anna@other.example"),
        ("RedirectUrl", "", "https://other.example/autodiscover.xml"),
    ],
)
def test_autodiscover_answers_are_read(element: str, url: str, instead: str) -> None:
    """The first URL counts, in whatever namespace; a redirection is told, not followed."""
    inside = f"<{element}> {url or instead} </{element}>"
    octets = f'<A xmlns="urn:x"><P>{inside}</P><P><EwsUrl>later</EwsUrl></P></A>'.encode()
    told = autodiscover.located(octets)
    assert told.url == (url or "later")
    if not instead:
        return
    told = autodiscover.located(f"<A>{inside}</A>".encode())
    assert (told.url, told.instead) == ("", instead)


def test_three_mailboxes_are_spread_over_the_roster() -> None:
    """The first, one from the middle, the last: the same ones each time, and no more than there are."""
    many = [f"user{number}@old.example" for number in range(100)]
    chosen = _spread(many, 3)
    assert (chosen[0], chosen[-1], len(chosen)) == (many[0], many[-1], 3)
    assert chosen == _spread(many, 3)
    assert _spread(["a@b", "a@b"], 3) == ["a@b"]


def test_faults_of_the_command_are_told_together(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody to log in as, no address, nowhere to go, a way in that there is not."""
    words = ("exchange", "check", "--mailbox", "amy", "--server", "ftp://x", "--user", "")
    assert main(words, Registry.load(only=["ews"])) == 2
    told = capsys.readouterr().err
    assert all(option in told for option in ("--user", "--mailbox", "--server"))
    assert run("--auth", "digest", "--access", "root", "--server", "x") == 2
    told = capsys.readouterr().err
    assert "--auth: there is no digest" in told
    assert "--access: there is no root" in told
    assert run() == 2
    assert "--server" in capsys.readouterr().err
