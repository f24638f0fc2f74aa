"""Servers from nothing but an address: by a real name server, a real web server and real mail servers on loopback."""

from __future__ import annotations

import io
import json
import os
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alimail_core import autoconfig, discovery
from alimail_core.autoconfig import MAX_OCTETS, NotPublished, Published, servers
from alimail_core.cli import main
from alimail_core.config.load import loads
from alimail_core.discovery import (
    Guess,
    Tried,
    guess_servers,
    kinds_of,
    source_table,
    source_url,
    try_guesses,
)
from alimail_core.errors import InputError
from alimail_core.registry import Registry
from alimail_core.seam import Clock
from alimail_core.testing import FakeClock
from alimail_core.testing.certificates import Certificate, make_certificate
from alimail_core.testing.servers import Dovecot
from alimail_core.urls import parse_url
from alimail_imap.testing import CannedServer
from tests.internet import Internet, internet

pytestmark = pytest.mark.slow

HERE = ["127.0.0.1"]
NAMES = (
    "mail.old.example",
    "imap.old.example",
    "autoconfig.old.example",
    "old.example",
    "autoconfig.thunderbird.net",
)
PAGE = "autoconfig.old.example/mail/config-v1.1.xml"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """Return what all servers of this internet show."""
    return make_certificate(tmp_path_factory.mktemp("certificates"), *NAMES)


@pytest.fixture(scope="module")
def mail(certificate: Certificate) -> Iterator[Dovecot]:
    """Run a mail server with IMAP and POP3."""
    settings = f"ssl_cert = <{certificate.file}\nssl_key = <{certificate.key_file}\n"
    with Dovecot(pop3=True, settings=settings) as server:
        yield server


@pytest.fixture
def registry() -> Registry:
    """Load what knows of mail servers."""
    return Registry.load(["imap", "pop3", "alimail"])


def zone(**more: list[str]) -> dict[tuple[str, str], list[str]]:
    """Write a zone in which the names are here; ``MX`` and ``imaps`` and their like are of old.example."""
    own: dict[tuple[str, str], list[str]] = {(name, "A"): HERE for name in NAMES}
    for key, records in more.items():
        own["old.example" if key == "MX" else f"_{key}._tcp.old.example", "MX" if key == "MX" else "SRV"] = (
            records
        )
    return own


def find(
    registry: Registry, certificate: Certificate, *, ispdb: bool = False, clock: Clock | None = None
) -> tuple[dict[str, Tried], list[str]]:
    """Return what came of each guess, by kind, host and port, and the remarks."""
    kinds, ca = kinds_of(registry), certificate.ca_file
    found = guess_servers("old.example", kinds, clock or Clock(), ispdb=ispdb, ca=ca)
    tried = try_guesses(found.guesses, kinds, ca=ca)
    return {f"{each.guess.kind} {each.guess.host}:{each.guess.port}": each for each in tried}, [
        remark.text for remark in found.remarks
    ]


def page(*server: str) -> bytes:
    """Write a page, with a server's element."""
    provider = f'<emailProvider id="x">{"".join(server)}</emailProvider>'
    return f'<clientConfig version="1.1">{provider}</clientConfig>'.encode()


def server(
    service: str, host: str, port: object, user: str = "%EMAILADDRESS%", login: str = "password-cleartext"
) -> str:
    """Write a server's element."""
    return (
        f'<incomingServer type="{service}"><hostname>{host}</hostname><port>{port}</port><socketType>SSL</socketType>'
        f"<username>{user}</username><authentication>{login}</authentication></incomingServer>"
    )


# SRV, usual names, MX


def test_a_server_is_found_by_its_srv_records(
    registry: Registry, certificate: Certificate, mail: Dovecot
) -> None:
    """On whatever port it has, with the best encryption; what is printed is what the program reads."""
    records = zone(
        imaps=[f"0 1 {mail.imaps_port} mail.old.example."],
        imap=[f"0 1 {mail.imap_port} mail.old.example."],
        pop3s=[f"0 1 {mail.pop3s_port} mail.old.example."],
        pop3=["0 0 0 ."],
    )
    with internet(records, certificate) as world:
        here = [mail.imap_port, mail.imaps_port, mail.pop3s_port]
        world.ports |= {("mail.old.example", port): port for port in here}
        found, remarks = find(registry, certificate)
    assert [name for name, tried in found.items() if tried.options is not None] == [
        f"imap mail.old.example:{mail.imaps_port}",
        f"imap mail.old.example:{mail.imap_port}",
        f"pop3 mail.old.example:{mail.pop3s_port}",
    ]
    best = found[f"imap mail.old.example:{mail.imaps_port}"]
    assert best.options.tls == "implicit"
    assert found[f"imap mail.old.example:{mail.imap_port}"].options.tls == "starttls"
    assert best.guess.why == ("the SRV record _imaps._tcp.old.example",)
    assert "_pop3._tcp.old.example says: there is no such server" in remarks
    assert not mail.log_tail(500).count("Login:")
    endpoint, user = parse_url(source_url(best, "o'neil+x@old.example"), registry, "source")
    assert (endpoint.options, user) == (best.options, "o'neil+x@old.example")
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in source_table(best).items())
    text = f'[migration]\nname = "x"\n[source]\n{lines}\n[target]\nkind = "alimail"\n' + (
        '[[account]]\nsource_address = "a@old.example"\ntarget_address = "a@new.example"\n'
    )
    assert loads(text, registry).accounts[0].source.options == best.options


def test_records_are_tried_as_their_domain_prefers_them(registry: Registry, certificate: Certificate) -> None:
    """The lower priority first, then the greater weight; IMAP before POP3, which brings less; each server once."""
    imaps = ["20 9 993 c.old.example.", "10 1 993 b.old.example.", "10 9 993 a.old.example."]
    with internet(
        zone(imaps=imaps, imap=["0 1 0 b.old.example."], pop3s=["0 0 995 a.old.example."]), certificate
    ):
        found, _ = find(registry, certificate)
    hosts = [
        f"{tried.guess.kind} {tried.guess.host[0]}" for tried in found.values() if len(tried.guess.host) == 13
    ]
    assert hosts == ["imap a", "imap b", "imap c", "pop3 a"]
    assert len(found["imap b.old.example:None"].guess.why) == 2


def test_a_record_that_cannot_be_had_now_hides_no_other(registry: Registry, certificate: Certificate) -> None:
    """A name server that fails at one name is told of, and asked for the next one."""
    with internet(zone(imap=["0 1 143 mail.old.example."]), certificate) as world:
        world.failing.add("_imaps._tcp.old.example")
        found, remarks = find(registry, certificate)
    assert found["imap mail.old.example:None"].guess.why[0] == "the SRV record _imap._tcp.old.example"
    assert any("_imaps._tcp.old.example" in text for text in remarks)


def test_a_server_is_found_by_its_usual_name(
    registry: Registry, certificate: Certificate, mail: Dovecot
) -> None:
    """On the protocol's ports; where implicit TLS is not there, STARTTLS is found."""
    with internet(zone(MX=["10 mail.old.example."]), certificate) as world:
        world.ports |= {
            ("imap.old.example", 993): mail.imaps_port,
            ("mail.old.example", 143): mail.imap_port,
            ("mail.old.example", 110): mail.pop3_port,
        }
        found, _ = find(registry, certificate)
    answered = {name: tried.options.tls for name, tried in found.items() if tried.options is not None}
    assert answered == {
        "imap mail.old.example:None": "starttls",
        "imap imap.old.example:None": "implicit",
        "pop3 mail.old.example:None": "starttls",
    }
    assert found["imap mail.old.example:None"].guess.why == (
        "it takes the domain's mail (MX)",
        discovery.USUAL,
    )
    assert source_table(found["imap imap.old.example:None"]) == {
        "kind": "imap",
        "host": "imap.old.example",
        "tls": "implicit",
        "ca": str(certificate.ca_file),
    }
    assert "no server of the name" in found["pop3 pop.old.example:None"].fault


def test_a_provider_is_known_by_where_the_mail_goes(registry: Registry, certificate: Certificate) -> None:
    """Its servers have names of their own, and its administrators something to know."""
    records = zone(MX=["10 old-example.mail.protection.outlook.com."])
    with internet(records, certificate):
        found, _ = find(registry, certificate)
    guess = found["imap outlook.office365.com:None"].guess
    assert "Microsoft 365" in guess.why[0]
    assert "xoauth2" in guess.note
    for exchanger, host in {
        "notgoogle.com": "imap.gmail.com",
        "163mx01.mxmail.netease.com": "imap.qiye.163.com",  # of people's free boxes
        "mx3.qq.com": "imap.exmail.qq.com",
    }.items():
        with internet(zone(MX=[f"1 {exchanger}."]), certificate):
            found, _ = find(registry, certificate)
        assert f"imap {host}:None" not in found


def test_each_known_provider_has_hosts_that_may_be_tried() -> None:
    """The table has no typing errors that a look can find."""
    for provider in discovery.PROVIDERS.values():
        assert provider.hosts.keys() == {"imap", "pop3"}
        assert all(discovery._HOST.fullmatch(host) for host in provider.hosts.values())


# autoconfig


def test_a_server_is_found_by_what_its_domain_publishes(
    registry: Registry, certificate: Certificate, mail: Dovecot
) -> None:
    """The domain vouches for its page by its certificate, so it stands before the DNS; redirections are followed."""
    own = page(
        server("imap", "mail.%EMAILDOMAIN%", mail.imaps_port, "%EMAILLOCALPART%"),
        server("pop3", "mail.old.example", mail.pop3s_port, login="OAuth2"),
        server("exchange", "mail.old.example", 443),
    )
    records = zone(imaps=[f"0 1 {mail.imap_port} mail.old.example."])
    with internet(records, certificate) as world:
        world.pages |= {PAGE: "https://old.example/here.xml", "old.example/here.xml": own}
        world.ports |= {
            ("mail.old.example", port): port for port in (mail.imaps_port, mail.imap_port, mail.pop3s_port)
        }
        found, remarks = find(registry, certificate)
        asked = world.asked
    best = next(iter(found.values()))
    assert best.guess == Guess(
        "imap", "mail.old.example", (f"https://{PAGE}",), mail.imaps_port, "local-part"
    )
    assert source_table(best)["login"] == "local-part"
    assert source_url(best, "anna@old.example").startswith(f"imap://anna@mail.old.example:{mail.imaps_port}?")
    assert "xoauth2" in found[f"pop3 mail.old.example:{mail.pop3s_port}"].guess.note
    assert remarks == ["https://old.example/.well-known/autoconfig/mail/config-v1.1.xml: it answers 404"]
    assert not [each for each in asked if "thunderbird" in each or "anna" in each or "?" in each]


@pytest.mark.parametrize("port", ["", "0", "65536", "99999", "-1", "x", "²"])
def test_a_published_port_that_is_none_is_left_out(
    port: str, registry: Registry, certificate: Certificate
) -> None:
    """The protocol's own are tried instead."""
    with internet(zone(), certificate) as world:
        world.pages[PAGE] = page(server("imap", "mail.old.example", port))
        found, _ = find(registry, certificate)
    tried = next(iter(found.values()))
    assert (tried.guess.host, tried.guess.why[0]) == ("mail.old.example", f"https://{PAGE}")
    assert "port 993: Connection refused" in tried.fault


def test_mozillas_list_is_asked_by_wish_alone(
    registry: Registry, certificate: Certificate, mail: Dovecot
) -> None:
    """It learns the domain, and never an address."""
    with internet(zone(), certificate) as world:
        world.pages["autoconfig.thunderbird.net/v1.1/old.example"] = page(
            server("imap", "mail.old.example", 993)
        )
        world.ports["mail.old.example", 993] = mail.imaps_port
        found, _ = find(registry, certificate, ispdb=True)
        assert found["imap mail.old.example:None"].guess.why == (
            "https://autoconfig.thunderbird.net/v1.1/old.example",
            discovery.USUAL,
        )


@pytest.mark.parametrize(
    ("served", "told"),
    [
        (b"not XML at all", "it is no XML"),
        (b"<html><body>hello</body></html>", "it is no clientConfig"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><clientConfig>&a;</clientConfig>', "it has a document type"),
        (b'<!DOCTYPE clientConfig SYSTEM "file:///etc/passwd"><clientConfig/>', "it has a document type"),
        (b'<?xml version="1.0" encoding="no-such"?><clientConfig/>', "it is no XML"),
        (page("x" * MAX_OCTETS), "octets"),
        ("http://old.example/plain.xml", "leads away from https"),
        ("file:///etc/passwd", "it answers 302"),
        (f"https://{PAGE}", "it answers 302"),
    ],
)
def test_a_page_that_is_none_is_told_and_not_used(
    served: bytes | str, told: str, registry: Registry, certificate: Certificate
) -> None:
    """Whatever a web server gives, the search goes on."""
    with internet(zone(), certificate) as world:
        world.pages[PAGE] = served
        found, remarks = find(registry, certificate)
    assert told in remarks[0]
    assert all(tried.guess.why == (discovery.USUAL,) for tried in found.values())


class Hasty(FakeClock):
    """A clock on which each look takes half a minute."""

    def monotonic(self) -> float:
        """Pass, and tell the time."""
        self.advance(30)
        return super().monotonic()


def test_a_page_that_never_ends_is_left(registry: Registry, certificate: Certificate) -> None:
    """A server that sends for ever does not hold up the search."""
    with internet(zone(), certificate) as world:
        world.pages[PAGE] = page()
        _, remarks = find(registry, certificate, clock=Hasty())
    assert "it takes too long" in remarks[0]


def test_a_header_that_never_ends_is_left(
    registry: Registry, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does one whose every octet comes in time, and whose header has no end."""
    monkeypatch.setattr(autoconfig, "SECONDS", 0.3)
    with internet(zone(), certificate) as world:
        world.dripping.add(PAGE)
        _, remarks = find(registry, certificate)
    assert "it takes too long" in remarks[0]


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "10.0.0.1", "::1", "", "a b.example", "\x1b[2J.example", "-.x"]
)
def test_a_published_host_that_is_none_is_not_tried(
    host: str, registry: Registry, certificate: Certificate
) -> None:
    """Nobody is led to this machine itself, where a password may go in clear, nor to an address without a name."""
    published = Published("imap", host, "143", "", ())
    with internet(zone(), certificate) as world:
        world.pages[PAGE] = page()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(autoconfig, "servers", lambda _: [published])
            found, remarks = find(registry, certificate)
    assert all(tried.guess.why == (discovery.USUAL,) for tried in found.values())
    assert "not the name of a server" in remarks[0]
    assert remarks[0].isprintable()


@given(st.binary(max_size=200) | st.text(alphabet="<>/!?&;[]=\"'ab ").map(str.encode))
def test_no_page_does_more_than_not_help(octets: bytes) -> None:
    """Whatever its octets are, reading ends, and in one error alone."""
    for octets_of_page in (octets, b"<clientConfig>" + octets + b"</clientConfig>"):
        try:
            assert isinstance(servers(octets_of_page), list)
        except NotPublished:
            pass


# what must not be used


def test_what_is_not_safe_is_told_and_not_used(
    registry: Registry, certificate: Certificate, mail: Dovecot, tmp_path: Path
) -> None:
    """A certificate of somebody else's, and a server without encryption: found, shown, no way in."""
    with CannedServer() as plain, internet(zone(), certificate) as world:
        world.ports |= {
            ("imap.old.example", 993): mail.imaps_port,
            ("mail.old.example", 143): plain.port,
        }
        found, _ = find(registry, make_certificate(tmp_path))
        assert "certificate" in found["imap imap.old.example:None"].fault
        assert "no STARTTLS" in found["imap mail.old.example:None"].fault
        assert not any(tried.options for tried in found.values())
        assert not plain.commands(b"LOGIN")


def test_without_a_name_server_the_answer_is_plain(
    registry: Registry, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so once, does not ask on and on, and finds nothing."""
    monkeypatch.setattr(discovery, "DNS_SECONDS", 0.2)
    with internet(zone(), certificate, silent=True) as world:
        found, remarks = find(registry, certificate)
        assert world.asked.count("SRV _imaps._tcp.old.example") == 0
    assert not any(tried.options for tried in found.values())
    assert len([text for text in remarks if "the DNS gave no answer" in text]) == 1


@pytest.mark.parametrize("domain", ["localhost", "a..b", "x" * 64 + ".example", "[127.0.0.1]", "10.0.0.1"])
def test_a_domain_that_is_none_is_not_asked_for(domain: str, registry: Registry) -> None:
    """It is told as what it is."""
    found = guess_servers(domain, kinds_of(registry), Clock())
    assert not found.guesses
    assert found.remarks[0].level == "fault"


def test_a_domain_in_other_letters_is_asked_for_as_the_dns_has_it(
    registry: Registry, certificate: Certificate
) -> None:
    """Unicode names travel as their ASCII form (IDNA)."""
    with internet(zone(), certificate) as world:
        guess_servers("büro.example", kinds_of(registry), Clock(), ca=certificate.ca_file)
        assert "MX xn--bro-hoa.example" in world.asked


# the command


def run(world: Internet, registry: Registry, *words: str) -> int:
    """Run the command with the authority of this internet."""
    return main(["discover", "--ca", str(world.certificate.ca_file), *words], registry)


def test_the_command_shows_every_guess_and_the_lines_to_use(
    registry: Registry,
    certificate: Certificate,
    mail: Dovecot,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With its reasons, what came of it, and what to write; nothing is written by itself."""
    monkeypatch.chdir(tmp_path)
    with internet(zone(), certificate) as world:
        world.ports["imap.old.example", 993] = mail.imaps_port
        assert run(world, registry, "anna@old.example", "bob@OLD.example") == 0
        out, err = capsys.readouterr()
        assert "  yes  imap imap.old.example port 993, tls = implicit (a usual name)" in out
        assert "  no   pop3 pop.old.example (a usual name): there is no server of the name" in out
        assert '[source]\nkind = "imap"\nhost = "imap.old.example"\ntls = "implicit"\nca = ' in out
        assert "# alimail copy 'imap://anna%40old.example@imap.old.example?tls=implicit&ca=" in out
        assert "A password is sent" in err
        assert run(world, registry, "anna@old.example", "carl@nowhere.example") == 3
        assert run(world, registry, "carl@nowhere.example") == 1
        assert "No server was found for nowhere.example" in capsys.readouterr().out
    assert os.listdir(tmp_path) == []


def test_the_command_tells_programs_the_same(
    registry: Registry, certificate: Certificate, mail: Dovecot, capsys: pytest.CaptureFixture[str]
) -> None:
    """One JSON document: the guesses, the source, the URL."""
    with internet(zone(), certificate) as world:
        world.ports["mail.old.example", 143] = mail.imap_port
        assert run(world, registry, "anna@old.example", "--json") == 0
    (domain,) = json.loads(capsys.readouterr().out)["domains"]
    assert (domain["domain"], domain["addresses"]) == ("old.example", ["anna@old.example"])
    assert domain["source"]["tls"] == "starttls"
    (answered,) = [each for each in domain["guesses"] if each["answered"]]
    assert (answered["host"], answered["port"], answered["why"]) == (
        "mail.old.example",
        143,
        ["a usual name"],
    )


class _Keyboard(io.StringIO):
    """What somebody types at a terminal."""

    def isatty(self) -> bool:
        """Return that it is one."""
        return True


def test_init_looks_for_the_server_of_an_address(
    registry: Registry,
    certificate: Certificate,
    mail: Dovecot,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was found is proposed, port and encryption too; where nothing was, it is told, and asked again."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.ca_file))
    typed = ["", "", "anna@none.example", "anna@old.example", *[""] * 20]
    monkeypatch.setattr(sys, "stdin", _Keyboard("\n".join(typed)))
    with internet(zone(imaps=["0 1 1993 mail.old.example."]), certificate) as world:
        world.ports["mail.old.example", 1993] = mail.imaps_port
        assert main(["init"], registry) == 0
    told = capsys.readouterr()
    assert "No imap server was found; `alimail discover anna@none.example`" in told.err
    assert "compare this with what the provider tells" in told.err
    text = Path("alimail.toml").read_text("utf-8")
    for line in ('host = "mail.old.example"', "port = 1993", 'tls = "implicit"', 'login = "address"'):
        assert f"\n{line}\n" in text


def test_what_is_no_address_is_told_all_at_once(
    registry: Registry, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anybody is asked."""
    assert main(["discover", "anna", "bob@old.example", "x@y@z"], registry) == 2
    told = capsys.readouterr().err
    assert "anna" in told
    assert "x@y@z" in told


def test_a_bad_ca_is_told_before_anybody_is_asked(registry: Registry, certificate: Certificate) -> None:
    """It is the user's mistake, and no server's."""
    with internet(zone(), certificate) as world:
        with pytest.raises(InputError):
            guess_servers("old.example", kinds_of(registry), Clock(), ca=Path("/nonexistent.pem"))
        assert not world.asked


def test_nobody_to_look_for_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    """Without plug-ins for mail servers there is nothing to find, and it is said what to install."""
    assert main(["discover", "anna@old.example"], Registry()) == 2
    assert "pip install alimail-imap" in capsys.readouterr().err


def test_the_guide_can_be_followed(
    registry: Registry,
    certificate: Certificate,
    mail: Dovecot,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its commands run, and the first says what the guide says."""
    guide = (Path(__file__).parent.parent / "docs" / "guides" / "discover.md").read_text("utf-8")
    commands = re.findall(r"^```console\n\$ alimail (.*?)\n```$", guide, re.MULTILINE)
    (shown,) = re.findall(r"^```text\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)
    (table,) = re.findall(r"^```toml\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)
    records = zone(MX=["10 mail.old.example."], imaps=["0 1 993 mail.old.example."])
    del records["imap.old.example", "A"]
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.ca_file))
    with internet(records, certificate) as world:
        world.ports |= {
            ("mail.old.example", 993): mail.imaps_port,
            ("mail.old.example", 995): mail.pop3s_port,
        }
        assert [main(shlex.split(command), registry) for command in commands[:1]] == [0]
        assert capsys.readouterr().out.strip() == shown.strip()
        assert [main(shlex.split(command), registry) for command in commands[1:]] == [0]
    assert table in shown
