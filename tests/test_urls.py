"""The URLs of ``alimail copy``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import pytest
from attrs import frozen
from hypothesis import given
from hypothesis import strategies as st

from alimail_core.contract import Credentials, SinkKind, SourceKind, option
from alimail_core.errors import AlimailError, InputError, PluginError
from alimail_core.hookspec import hookimpl
from alimail_core.registry import Registry
from alimail_core.seam import Clock
from alimail_core.secrets import Secret
from alimail_core.spec import Endpoint
from alimail_core.urls import parse_url


@frozen
class _Server:
    host: str = option("The server.")
    port: int | None = option("The port.", default=None)
    tls: Literal["implicit", "none"] = option("Encryption.", default="implicit")
    plain: bool = option("In clear.", default=False)
    ca: Path | None = option("Certificates.", default=None)
    wait: float = option("Seconds.", default=1.0)
    words: tuple[str, ...] = option("Words.", default=())
    token: Secret | None = option("A token.", default=None)


@frozen
class _Service:
    region: Literal["cn", "sg"] = option("Where.", default="cn")
    host: str | None = option("A host of your own.", default=None)


def _open(options: Any, credentials: Credentials, clock: Clock) -> Any:
    raise AssertionError("nothing is opened here")


class _Plugin:
    @hookimpl
    def alimail_sources(self) -> list[SourceKind[Any]]:
        return [SourceKind("server", "A server.", _Server, _open)]

    @hookimpl
    def alimail_sinks(self) -> list[SinkKind[Any]]:
        return [SinkKind("service", "A service.", _Service, _open)]


REGISTRY = Registry()
REGISTRY.register(_Plugin())


def _faults(text: str, side: Literal["source", "target"] = "source") -> list[str]:
    with pytest.raises(InputError) as caught:
        parse_url(text, REGISTRY, side)
    assert {fault.where for fault in caught.value.faults} == {f"{side} URL"}
    return [fault.message for fault in caught.value.faults]


def test_encryption_is_found_where_it_is_not_told() -> None:
    """Of a mail server the URL need tell neither port nor encryption; it may also say so in so many words."""
    registry = Registry.load(["imap", "pop3"])
    for kind in ("imap", "pop3"):
        left_out, _ = parse_url(f"{kind}://anna@mail.old.example", registry, "source")
        said, _ = parse_url(f"{kind}://anna@mail.old.example?tls=auto", registry, "source")
        assert left_out == said
        assert (said.options.tls, said.options.port) == ("auto", None)


def test_a_server_has_host_port_and_options() -> None:
    """Query values become the plug-in's types; the user is decoded."""
    endpoint, user = parse_url(
        "server://anna%40old.example@mail.old.example:1143?tls=none&plain=true&ca=%2Fca.pem&wait=2.5&words=a,b"
        "&token=env:T",
        REGISTRY,
        "source",
    )
    options = _Server(
        "mail.old.example", 1143, "none", True, Path("/ca.pem"), 2.5, ("a", "b"), Secret("env", "T")
    )
    assert (endpoint, user) == (Endpoint("server", options), "anna@old.example")


def test_an_address_needs_no_host() -> None:
    """Where the plug-in knows its hosts, user and domain are the login."""
    assert parse_url("service://anna@new.example?region=sg", REGISTRY, "target") == (
        Endpoint("service", _Service("sg")),
        "anna@new.example",
    )
    own = parse_url("service://anna%40new.example@new.example/?host=mine.example", REGISTRY, "target")
    assert own == (Endpoint("service", _Service("cn", "mine.example")), "anna@new.example")


def test_an_ipv6_host_stands_in_brackets() -> None:
    """The brackets are the URL's, not the host's."""
    endpoint, _ = parse_url("server://a@[::1]:993", REGISTRY, "source")
    assert (endpoint.options.host, endpoint.options.port) == ("::1", 993)


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1))
def test_any_user_survives_percent_encoding(user: str) -> None:
    """What is encoded as RFC 3986 has it comes out unchanged."""
    assert parse_url(f"server://{quote(user, safe='')}@h", REGISTRY, "source")[1] == user


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1))
def test_any_path_survives_percent_encoding(path: str) -> None:
    """Query values are decoded once; ``+`` is no space."""
    endpoint, _ = parse_url(
        f"server://a@h?words={quote(path.replace(',', ''), safe='+')}", REGISTRY, "source"
    )
    assert endpoint.options.words == (path.replace(",", ""),)


@given(
    st.one_of(
        st.text(),
        st.text("server:/?#[]@%&=+ab1.\x00").map("server://".__add__),
        st.text("hoststlwaiprde=&%0129,").map("server://a@h?".__add__),
    )
)
def test_no_text_raises_anything_else(text: str) -> None:
    """Whatever is typed, the answer is an endpoint or an error with a message."""
    try:
        endpoint, user = parse_url(text, REGISTRY, "source")
    except (InputError, PluginError):
        return
    assert isinstance(endpoint.options, _Server)
    assert user


@pytest.mark.parametrize(
    "url", ["server://anna:S3cret@h", "server://anna:S3%63ret@h:993?x=y", "server://:S3cret@h"]
)
def test_a_password_is_refused_and_not_repeated(url: str) -> None:
    """The fault names the option to use instead, and nothing of the URL."""
    with pytest.raises(AlimailError) as caught:
        parse_url(url, REGISTRY, "source")
    assert isinstance(caught.value, InputError)
    (fault,) = caught.value.faults
    assert fault.message == "it has a password in it"
    assert "--source-secret" in fault.remedy
    assert "S3" not in f"{caught.value} {fault}"


def test_all_faults_are_told_together() -> None:
    """Unknown options, wrong types and a wrong port are found in one go."""
    assert _faults("server://a@h:99999?tsl=none&tls=off&wait=soon&plain=yes&plain=no&words") == [
        "the port is not a number from 1 to 65535",
        "the option plain is given twice",
        "the option words has no value",
        "tsl is not an option here",
        'tls must be "implicit" or "none"',
        "plain must be true or false",
        "wait must be a number",
    ]


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("mail.example", "it has not the form of a URL for a mailbox"),
        ("server://a@h/folder", "it has not the form of a URL for a mailbox"),
        ("server://a@h?tls=none#x", "it has not the form of a URL for a mailbox"),
        ("server://h", "it does not say whose mailbox it is"),
        ("server://@h", "it does not say whose mailbox it is"),
        ("server://a@b@h", "it has more than one @"),
        ("server://a@", "its host is not the name or address of one"),
        ("server://a@h ost", "its host is not the name or address of one"),
        ("server://a%zz@h", "the user is not percent-encoded UTF-8"),
        ("server://a%ff@h", "the user is not percent-encoded UTF-8"),
        ("server://a%0d%0a@h", "the user has control characters in it"),
        ("server://a@h?host=other", "the host is given twice"),
        ("server://a@h:1?port=2", "the port is given twice"),
        ("server://a@h?token=hunter2", "token is not a reference to a secret"),
    ],
)
def test_what_is_no_url_says_why(url: str, told: str) -> None:
    """Each fault has words of its own."""
    assert _faults(url) == [told]


def test_an_address_of_another_domain_is_refused() -> None:
    """Of two domains neither is guessed; a service has no port."""
    assert _faults("service://a%40b.example@c.example:99", "target") == [
        "service takes no port",
        "the user has another domain than the URL",
    ]


def test_an_unknown_kind_tells_what_to_install() -> None:
    """The scheme names the plug-in."""
    with pytest.raises(PluginError) as caught:
        parse_url("pop3://a@h", REGISTRY, "source")
    assert caught.value.remedy == "pip install alimail-pop3"
    with pytest.raises(PluginError):
        parse_url("service://a@h", REGISTRY, "source")


def test_the_kinds_that_are_shipped_read_the_documented_urls() -> None:
    """The examples of the handbook are read by the installed IMAP plug-in."""
    endpoint, user = parse_url(
        "imap://anna@10.0.0.5:143?tls=starttls&ca=old-ca.pem", Registry.load(["imap"]), "source"
    )
    assert (endpoint.options.address, endpoint.options.tls, user) == (("10.0.0.5", 143), "starttls", "anna")
