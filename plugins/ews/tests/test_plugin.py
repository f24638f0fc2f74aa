"""What the distribution registers."""

from __future__ import annotations

import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
from attrs import fields

from alimail_core import InputError
from alimail_core.cli.copy import one_mailbox
from alimail_core.cli.frame import Frame
from alimail_core.config.load import loads
from alimail_core.registry import Registry
from alimail_core.secrets import NO_SECRET
from alimail_core.urls import parse_url
from alimail_ews.options import EwsOptions


def test_ews_is_a_source_and_brings_its_verbs() -> None:
    """The installed distribution registers the kind by its entry point, and is told to have no problem."""
    registry = Registry.load(only=["ews"])
    assert registry.source("ews").options is EwsOptions
    assert "source ews" in next(info.registers for info in registry.plugins() if info.name == "ews")
    assert registry.problems == ()
    words = " ".join(registry.source("ews").leaves_behind)
    assert "calendars" in words
    assert "archive_folder" in words


def test_a_url_names_a_service_account_and_the_mailbox() -> None:
    """As the guide writes it, with an @ in a value that need not be escaped."""
    registry = Registry.load(only=["ews"])
    text = "ews://svc%40old.example@mail.old.example/?mailbox=ann@old.example&access=delegate&ca=/etc/ca.pem"
    endpoint, user = parse_url(text, registry, "source")
    assert user == "svc@old.example"
    assert endpoint.options == EwsOptions(
        "mail.old.example", ca=Path("/etc/ca.pem"), mailbox="ann@old.example", access="delegate"
    )
    assert endpoint.options.url == "https://mail.old.example/EWS/Exchange.asmx"


@pytest.mark.parametrize(
    ("options", "url"),
    [
        (EwsOptions("h"), "https://h/EWS/Exchange.asmx"),
        (EwsOptions("h", 8443), "https://h:8443/EWS/Exchange.asmx"),
        (EwsOptions("h", tls="none", url_path="/x"), "http://h/x"),
        (EwsOptions("h", 443, tls="none"), "http://h:443/EWS/Exchange.asmx"),
        (EwsOptions("[::1]"), "https://[::1]/EWS/Exchange.asmx"),
        (EwsOptions("::1"), "https://[::1]/EWS/Exchange.asmx"),
    ],
)
def test_requests_go_where_the_options_say(options: EwsOptions, url: str) -> None:
    """Host, port and path make the URL."""
    assert options.url == url


@pytest.mark.parametrize(
    "query", ["tls=starttls", "url_path=EWS", "max_connections=0", "mailbox_connections=0"]
)
def test_what_cannot_be_is_refused_as_it_is_written(query: str) -> None:
    """Before any server is asked."""
    with pytest.raises(InputError) as caught:
        parse_url(f"ews://a@h?{query}", Registry.load(only=["ews"]), "source")
    assert query.partition("=")[0] in str(caught.value.faults)


@pytest.mark.parametrize(("auth", "is_asked"), [("kerberos", False), ("ntlm", True), ("auto", True)])
def test_a_ticket_needs_no_secret(auth: str, is_asked: bool, tmp_path: Path) -> None:
    """Neither in a configuration nor of a URL, whose user would be asked at the prompt."""
    registry = Registry.load(only=["ews", "alimail", "imap"])
    (tmp_path / "accounts.csv").write_text("source,target\nann@old.example,ann@new.example\n")
    text = f"""
        [migration]
        name = "x"
        roster = "accounts.csv"
        [source]
        kind = "ews"
        host = "mail.old.example"
        auth = "{auth}"
        [target]
        kind = "alimail"
        secret = "env:TARGET"
    """
    spec = loads(text, registry, path=tmp_path / "alimail.toml")
    assert (spec.accounts[0].source_secret != NO_SECRET) is is_asked
    urls = (f"ews://ann%40old.example@mail.old.example?auth={auth}", "alimail://ann@new.example")
    with pytest.raises(InputError, match="password") if is_asked else nullcontext():
        copied = one_mailbox(Frame(registry), *urls, (None, "env:TARGET"))
        assert copied.accounts[0].source_secret == NO_SECRET


def test_every_option_tells_what_it_is_for() -> None:
    """``alimail plugins show ews`` prints these texts."""
    for field in fields(EwsOptions):
        assert field.metadata["help"].endswith((".", "`"))


def test_nothing_large_is_imported_before_a_mailbox_is_opened() -> None:
    """Every command loads the plug-in, and exchangelib takes a second."""
    code = "import sys, alimail_ews.plugin; print(*{'exchangelib', 'requests', 'lxml'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
