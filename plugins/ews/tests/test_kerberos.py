"""Getting in by a ticket: MIT's KDC gives it, alimail shows it, MIT's acceptor in the server takes it or does not."""

from __future__ import annotations

import hashlib
import itertools
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from alimail_core import AlimailError, Clock, Denied, LoginDenied, Transient
from alimail_core.testing.mail import message
from alimail_ews.admin.check import Check, Finding, Wish
from alimail_ews.kerberos import _bindings
from alimail_ews.source import EwsSource
from plugins.ews.tests.conftest import Office
from tests.exchange.kdc import Realm, running_realm

pytestmark = pytest.mark.server

SERVICE = "HTTP/localhost"
_DONE = bytes.fromhex("a1073005a0030a0100")
"""What anybody can say: accept-completed, without a word of Kerberos (NegTokenResp, RFC 4178 §4.2.2)."""


@pytest.fixture(scope="module")
def kdc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Realm]:
    """A realm with the service account, somebody whom Exchange does not know, and two services."""
    with running_realm(tmp_path_factory.mktemp("kdc")) as realm:
        realm.add("svc", "stranger", SERVICE, "HTTP/another")
        yield realm


@pytest.fixture
def realm(kdc: Realm, monkeypatch: pytest.MonkeyPatch, office: Office) -> Realm:
    """The realm with nobody logged in; the server takes its tickets alone."""
    kdc.log_out()
    for name, value in kdc.environment.items():
        monkeypatch.setenv(name, value)
    office.server.door.schemes = ("Negotiate",)
    office.server.door.keytab = kdc.keytab(SERVICE)
    return kdc


def enter(office: Office, **wishes: Any) -> EwsSource:
    """Open amy's mailbox by the ticket that lies here, without a password."""
    return office.open(password="", auth="kerberos", **wishes)


def refusal(office: Office, **wishes: Any) -> AlimailError:
    """Return why nobody gets in."""
    with pytest.raises(AlimailError) as caught:
        enter(office, **wishes)
    return caught.value


@pytest.mark.parametrize("extended_protection", [False, True])
def test_a_ticket_opens_the_door(office: Office, realm: Realm, extended_protection: bool) -> None:
    """Without a password, bound to the server's certificate where it wants that; no request is sent twice."""
    office.server.door.extended_protection = extended_protection
    office.amy.deliver("inbox", message("Letter"))
    realm.log_in("svc")
    with enter(office) as source:
        pages = source.changes([(folder, None) for folder in source.folders()])
        assert sum(len(page.entries) for page in pages) == 1
    assert office.server.door.refusals == 0


def test_a_keytab_gets_its_own_tickets(office: Office, realm: Realm, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that takes longer than a ticket lives needs nobody who types."""
    monkeypatch.setenv("KRB5_CLIENT_KTNAME", str(realm.keytab("svc")))
    with enter(office) as source:
        assert list(source.folders())


@pytest.mark.slow
def test_without_a_ticket_it_is_told_how_to_get_one(office: Office, realm: Realm) -> None:
    """None was ever there, or it has expired: the account waits, and nothing was sent that could lock it."""
    told = refusal(office)
    assert isinstance(told, LoginDenied)
    assert "no Kerberos ticket here" in str(told)
    assert "kinit" in told.remedy
    realm.log_in("svc", life="1s")
    Clock().sleep(2.1)  # Kerberos counts whole seconds
    told = refusal(office)
    assert isinstance(told, LoginDenied)
    assert "expired" in str(told)
    assert "kinit" in told.remedy
    assert office.server.door.refusals == 0


@pytest.mark.parametrize(
    ("wishes", "was", "instead", "error", "words"),
    [
        ({"host": "127.0.0.1"}, "", "", Denied, "HTTP/127.0.0.1"),
        ({}, "localhost = OLD.EXAMPLE", "localhost = ELSEWHERE.EXAMPLE", Denied, "ELSEWHERE.EXAMPLE"),
        ({}, "kdc = 127.0.0.1:", "kdc = 127.0.0.1:1\n#", Transient, "KDC"),
    ],
)
def test_no_ticket_for_this_server(
    office: Office,
    realm: Realm,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    wishes: dict[str, str],
    was: str,
    instead: str,
    error: type[AlimailError],
    words: str,
) -> None:
    """An address in the place of the service's name; a realm that is another; a KDC that is down, which may pass."""
    realm.log_in("svc")
    settings = Path(realm.environment["KRB5_CONFIG"]).read_text()
    assert was in settings
    (tmp_path / "krb5.conf").write_text(settings.replace(was, instead) if was else settings)
    monkeypatch.setenv("KRB5_CONFIG", str(tmp_path / "krb5.conf"))
    told = refusal(office, **wishes)
    assert type(told) is error
    assert words in str(told)
    assert "setspn" in told.remedy


@pytest.mark.parametrize("wrong", ["stranger", "key", "certificate"])
def test_a_ticket_that_the_server_does_not_take(office: Office, realm: Realm, wrong: str) -> None:
    """Somebody whom Exchange does not know; a key that Exchange has not; another certificate than was shown."""
    if wrong == "key":
        office.server.door.keytab = realm.keytab("HTTP/another")
    if wrong == "certificate":
        office.server.door.extended_protection = True
        office.server._end_point = b"tls-server-end-point:another"
    realm.log_in("stranger" if wrong == "stranger" else "svc")
    told = refusal(office)
    assert isinstance(told, LoginDenied)
    assert "klist" in told.remedy
    assert "password" not in told.remedy


def test_the_server_proves_itself(office: Office, realm: Realm) -> None:
    """A proof that is wrong ends it. None need come where a certificate has told who answers."""
    realm.log_in("svc")
    office.server.door.prove = lambda proof: b""
    with enter(office) as source:
        assert list(source.folders())
    for forged in (lambda proof: proof[:-4] + b"none", lambda _: _DONE, lambda _: b"none"):
        office.server.door.prove = forged
        told = refusal(office)
        assert isinstance(told, Denied)
        assert "did not prove" in str(told)


def test_without_tls_the_proof_must_come(realm: Realm, office: Office, exchange: Any) -> None:
    """Nothing else tells there who answers."""
    server = exchange(tls=False)
    server.organisation = server.door.organisation = office.server.organisation
    server.door.schemes, server.door.keytab = ("Negotiate",), realm.keytab(SERVICE)
    realm.log_in("svc")
    plain: dict[str, Any] = {"port": server.port, "tls": "none", "ca": None}
    with enter(office, **plain) as source:
        assert list(source.folders())
    server.door.prove = lambda proof: b""
    assert "did not prove" in str(refusal(office, **plain))


def test_what_is_not_installed_is_named(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra, with what it needs of the system."""
    monkeypatch.setitem(sys.modules, "gssapi", None)
    told = refusal(office)
    assert isinstance(told, Denied)
    assert "alimail-ews[kerberos]" in told.remedy


@pytest.mark.parametrize("digest", [hashes.SHA256(), hashes.SHA384()])
def test_a_token_is_bound_by_the_certificates_own_digest(digest: Any) -> None:
    """RFC 5929 §4.1."""
    key, today = ec.generate_private_key(ec.SECP256R1()), datetime(2026, 1, 1, tzinfo=UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, today, today + timedelta(days=1))
    shown = made.sign(key, digest).public_bytes(serialization.Encoding.DER)
    assert _bindings(shown) == b"tls-server-end-point:" + hashlib.new(digest.name, shown).digest()


def check(office: Office, **wishes: Any) -> tuple[list[Finding], Check]:
    """Check the server as the service account until it is in, and return what was found of that."""
    options = office.options(master_user=None, **wishes)
    made = Check(Wish(options, "OLD\\svc", lambda: "secret", [office.amy.address]), Clock())
    found = itertools.takewhile(lambda each: each.step != "product", made.run())
    return [each for each in found if each.step == "login"], made


def test_the_check_tries_the_ticket_that_is_there(office: Office, realm: Realm) -> None:
    """Beside the password where nothing else was wished, and alone where it was; it tells whose ticket it is."""
    office.server.door.schemes = ("Negotiate", "NTLM")
    found, made = check(office)
    assert [each.remark.level for each in found] == ["ok", "note"]
    assert "no Kerberos ticket here" in found[1].remark.text
    assert made.facts.login == "ntlm"
    realm.log_in("svc")
    found, made = check(office)
    assert [each.remark.level for each in found] == ["ok", "ok"]
    assert "kerberos as svc@OLD.EXAMPLE" in found[1].remark.text
    found, made = check(office, auth="kerberos")
    assert [each.remark.level for each in found] == ["ok"]
    assert made.facts.login == "kerberos"
    realm.log_out()
    found, made = check(office, auth="kerberos")
    assert [each.remark.level for each in found] == ["warning", "fault"]
    assert "kinit" in found[1].remark.remedy
