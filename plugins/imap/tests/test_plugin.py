"""What the distribution registers."""

from __future__ import annotations

from attrs import fields

from alimail_core.registry import Registry
from alimail_core.urls import parse_url
from alimail_imap.options import ImapOptions


def test_imap_is_a_source_and_a_sink() -> None:
    """The installed distribution registers the kind by its entry point, and is told to have no problem."""
    registry = Registry.load(only=["imap"])
    assert registry.source("imap").options is ImapOptions
    assert registry.sink("imap").options is ImapOptions
    assert registry.problems == ()


def test_a_url_names_a_server() -> None:
    """Host, port and options of a URL become the options' fields."""
    registry = Registry.load(only=["imap"])
    text = "imap://anna%40example.org@127.0.0.1:1143?tls=none&master_user=boss&timeout=5"
    endpoint, user = parse_url(text, registry, "source")
    assert user == "anna@example.org"
    assert endpoint.options == ImapOptions("127.0.0.1", 1143, tls="none", master_user="boss", timeout=5.0)


def test_every_option_tells_what_it_is_for() -> None:
    """``alimail plugins show imap`` prints these texts."""
    for field in fields(ImapOptions):
        assert field.metadata["help"].endswith((".", "`"))
