"""What the distribution registers."""

from __future__ import annotations

from pathlib import Path

import pytest
from attrs import fields

from alimail_core.registry import Registry
from alimail_core.urls import parse_url
from alimail_pop3.options import Pop3Options


def test_pop3_is_a_source_and_no_sink() -> None:
    """The installed distribution registers the kind by its entry point, and is told to have no problem."""
    registry = Registry.load(only=["pop3"])
    assert registry.source("pop3").options is Pop3Options
    assert [info.registers for info in registry.plugins() if info.name == "pop3"] == [("source pop3",)]
    assert registry.problems == ()


def test_a_url_names_a_server() -> None:
    """Host, port and options of a URL become the options' fields."""
    registry = Registry.load(only=["pop3"])
    text = (
        "pop3://anna%40example.org@mail.example:1110?tls=starttls&ca=/tmp/ca.pem&mark_seen=all"
        "&allow_plaintext_login=true"
    )
    endpoint, user = parse_url(text, registry, "source")
    assert user == "anna@example.org"
    assert endpoint.options == Pop3Options(
        "mail.example",
        1110,
        tls="starttls",
        ca=Path("/tmp/ca.pem"),
        allow_plaintext_login=True,
        mark_seen="all",
    )


@pytest.mark.parametrize(("tls", "port"), [("implicit", 995), ("starttls", 110), ("none", 110)])
def test_ports_are_those_of_pop3(tls: str, port: int) -> None:
    """Where no port is given, it is the one that RFC 8314 or RFC 1939 has."""
    endpoint, _ = parse_url(f"pop3://anna@mail.example?tls={tls}", Registry.load(only=["pop3"]), "source")
    assert endpoint.options.address == ("mail.example", port)


def test_every_option_tells_what_it_is_for() -> None:
    """``alimail plugins show pop3`` prints these texts."""
    for field in fields(Pop3Options):
        assert field.metadata["help"].endswith((".", "`"))


def test_there_is_no_future_history() -> None:
    """A negative number of days is refused as it is written."""
    with pytest.raises(ValueError, match="unread_days"):
        Pop3Options("mail.example", unread_days=-1)
