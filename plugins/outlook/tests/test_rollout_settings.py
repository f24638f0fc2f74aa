"""What a domain should publish, and what a small internet on loopback publishes of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

import pytest

from alimail_core import InputError
from alimail_core.autoconfig import NotPublished, servers
from alimail_core.testing.certificates import Certificate, make_certificate
from alimail_outlook.rollout import settings, verb_settings
from alimail_outlook.rollout.settings_check import protocols
from tests.internet import Internet, internet

DOMAIN = "new.example"
ADDRESS = f"postmaster@{DOMAIN}"
AUTOCONFIG = f"autoconfig.{DOMAIN}"
AUTODISCOVER = f"autodiscover.{DOMAIN}"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """One that every host of this domain may show."""
    return make_certificate(tmp_path_factory.mktemp("tls"), DOMAIN, AUTOCONFIG, AUTODISCOVER)


@pytest.fixture
def world(certificate: Certificate) -> Iterator[Internet]:
    """A domain of the site sg that publishes all that it should."""
    zone = {
        (DOMAIN, "MX"): ["10 mx1.sg.aliyun.com."],
        **{(host, "A"): ["127.0.0.1"] for host in (DOMAIN, AUTOCONFIG, AUTODISCOVER)},
    }
    site = settings.site("sg")
    for record in settings.records(site, AUTODISCOVER):
        line = record.line(DOMAIN).split(" ")
        zone[(f"{record.label}.{DOMAIN}", "SRV")] = [" ".join(line[4:])]
    with internet(zone, certificate) as made:
        made.pages[f"{AUTOCONFIG}/mail/config-v1.1.xml"] = settings.autoconfig(site, DOMAIN).encode()
        answer = settings.autodiscover(site, ADDRESS).encode()
        made.pages[f"{AUTODISCOVER}/autodiscover/autodiscover.xml"] = answer
        yield made


def check(world: Internet, capsys: pytest.CaptureFixture[str], **more: Any) -> tuple[int, dict[str, Any]]:
    """Run the verb; return its exit code and the findings by their steps."""
    given: dict[str, Any] = {each.name: each.default or "" for each in verb_settings.COMMAND.arguments}
    given |= {"--check": DOMAIN, "--ca": str(world.certificate.ca_file), "--json": True, **more}
    assert verb_settings.COMMAND.run is not None
    code = verb_settings.COMMAND.run(given)
    told = json.loads(capsys.readouterr().out)
    assert told["domain"] == DOMAIN
    return code, {each["step"]: each for each in told["findings"]} | {"for region": told["region"]}


def levels(found: dict[str, Any]) -> dict[str, str]:
    """Return the levels by their steps."""
    return {step: each["level"] for step, each in found.items() if step != "for region"}


def test_what_is_published_as_written_is_right(world: Internet, capsys: pytest.CaptureFixture[str]) -> None:
    """The site is told by the mail exchanger; Outlook's question names an address."""
    code, found = check(world, capsys)
    assert set(levels(found).values()) == {"ok"}, found
    assert (code, found["for region"]) == (0, "sg")
    assert ADDRESS.encode() in world.questions[0]


def test_another_site_is_a_fault(world: Internet, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever asks for another site is told of the exchangers, and each wrong server is named."""
    code, found = check(world, capsys, **{"--region": "de"})
    assert code == 3
    assert levels(found).pop("region") == "warning"
    assert set(list(levels(found).values())[1:]) == {"fault"}
    assert "imap.sg.aliyun.com" in found["imap"]["text"]


def test_nothing_published_is_wanting_only(world: Internet, capsys: pytest.CaptureFixture[str]) -> None:
    """People can still type the servers; each finding says what to publish."""
    world.pages.clear()
    world.zone.clear()  # type: ignore[attr-defined]
    code, found = check(world, capsys)
    assert code == 0
    assert set(levels(found).values()) == {"warning"}
    assert all(each["remedy"] for step, each in found.items() if step != "for region")


@pytest.mark.parametrize(
    ("page", "level"),
    [
        (settings.autodiscover(settings.site("sg"), "postmaster"), "fault"),
        (settings.autodiscover(settings.site("sg"), ""), "fault"),
        ("<Autodiscover/>", "fault"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><a>&b;</a>", "warning"),
        ("no XML", "warning"),
    ],
)
def test_a_wrong_answer_to_outlook_is_told(
    world: Internet, capsys: pytest.CaptureFixture[str], page: str, level: str
) -> None:
    """A login that is not the whole address leads to a wrong password, though the servers are right."""
    world.pages[f"{AUTODISCOVER}/autodiscover/autodiscover.xml"] = page.encode()
    _, found = check(world, capsys)
    assert found["autodiscover"]["level"] == level


@pytest.mark.parametrize("region", settings.SITES)
def test_the_pages_are_what_their_readers_take(region: str) -> None:
    """Our own readers find every server with TLS and the whole address; Outlook's parts stand in its namespace."""
    site = settings.site(region)
    wanted = {(service, host, str(settings.PORTS[service])) for service, host in site.hosts.items()}
    told = servers(settings.autoconfig(site, "a&b.example").encode())
    assert {(each.service, each.host, each.port) for each in told} == wanted
    assert {each.user for each in told} == {"%EMAILADDRESS%"}
    page = settings.autodiscover(site, "a&b@new.example")
    found = protocols(page.encode())
    assert {(each.kind.lower(), each.host, each.port) for each in found} == wanted
    assert {each.login for each in found} == {"a&b@new.example"}
    space = "{http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a}"
    account = ElementTree.fromstring(page.encode())[0][0]
    assert [each.tag.removeprefix(space) for each in account][:2] == ["AccountType", "Action"]


def test_odd_names_are_refused() -> None:
    """A domain and a region are judged before anybody is asked."""
    for domain in ("", "localhost", "a b.example", "-.example", "10.0.0.1"):
        with pytest.raises(InputError):
            settings.ascii_domain(domain)
    assert settings.ascii_domain("例子.example") == "xn--fsqu00a.example"
    with pytest.raises(InputError):
        settings.site("moon")
    with pytest.raises(NotPublished):
        protocols(b"<a>")
