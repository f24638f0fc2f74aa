"""An address book by LDAP (RFC 4511): read only, never without TLS, and no referral is followed with a password.

The protocol is ldap3's; what TLS must be is the house's, since ldap3 looks at no certificate unless it is told to.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any, ClassVar, Final, Literal
from urllib.parse import unquote, urlsplit

import ldap3
from attrs import define, field, frozen
from ldap3.core.exceptions import LDAPException, LDAPStartTLSError
from ldap3.utils.conv import escape_filter_chars

from alimail_core import (
    Denied,
    InputError,
    LoginDenied,
    Remark,
    Secret,
    ServerOptions,
    Transient,
    dial,
    tls_context,
    tls_error,
    tls_remark,
)
from alimail_core.commands import printable
from alimail_outlook.addressbook.book import Person
from alimail_outlook.addressbook.check import MOST, SECONDS, Directory

_NAMES: Final = ("displayName", "cn", "mail")
_SHAPE: Final = "write ldaps://HOST/BASE, such as ldaps://ldap.new.example/ou=people,dc=new,dc=example"
_TLS: Final[Mapping[str, Literal["implicit", "starttls"]]] = {"ldaps": "implicit", "ldap": "starttls"}
_NO_SUCH_OBJECT, _INVALID_DN, _INVALID_CREDENTIALS, _SIZE_LIMIT = 32, 34, 49, 4
"""Result codes (RFC 4511 §4.1.9)."""


@frozen
class LdapServer(ServerOptions):
    """Where it is; TLS from the first octet (``ldaps``), or begun before anything else is said (``ldap``)."""

    implicit_port: ClassVar[int] = 636
    cleartext_port: ClassVar[int] = 389


@define
class Ldap(Directory):
    """One server and one account. ``base`` is a distinguished name; empty: what the server says that it holds."""

    title: ClassVar[str] = "LDAP"

    server: LdapServer
    base: str
    login: str
    """A distinguished name, or what else the server takes; else the entry that has it as ``mail`` or ``uid``."""
    secret: Secret
    _session: Any = field(default=None, init=False)
    _bases: list[str] = field(factory=list, init=False)

    @classmethod
    def at(cls, url: str, login: str, secret: Secret, **options: Any) -> Ldap:
        """Read an URL (RFC 4516) as far as its base. Raises ``InputError``."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise _no_url() from None
        if parts.scheme not in _TLS or not host or "@" in parts.netloc or parts.query or parts.fragment:
            raise _no_url()
        server = LdapServer(host, port, _TLS[parts.scheme], timeout=SECONDS, **options)
        return cls(server, unquote(parts.path.lstrip("/")), login, secret)

    @property
    def where(self) -> str:
        """Name the server."""
        host, port = self.server.address
        return f"{host} port {port}"

    def log_in(self) -> Remark:
        """Connect, encrypt and bind."""
        dial(self.server).close()  # says best why nobody is there
        # Never empty: a bind without a password succeeds everywhere, and proves nothing (RFC 4513 §5.1.2).
        password = self.secret.get()
        self._session = self._opened()
        self._bind(self.login, password)
        if self._code == _INVALID_DN:
            self._bind(self._entry_of(self.login), password)
        if self._code in (_INVALID_CREDENTIALS, _INVALID_DN):
            remedy = (
                "Check --login and --secret; some servers want the entry's whole name: uid=anna,ou=people,..."
            )
            raise LoginDenied(
                f"{self.where} lets {printable(self.login)} not in: {self._words}", remedy=remedy
            )
        self._need_success("to let the account in")
        encrypted = tls_remark(self._session.socket)
        return Remark(encrypted.level, f"{self.where}: {encrypted.text}", encrypted.remedy)

    def _opened(self) -> Any:
        host, port = self.server.address
        implicit = self.server.tls == "implicit"
        tls = _HouseTls(self.server)
        server = ldap3.Server(
            host, port, use_ssl=implicit, tls=tls, get_info=ldap3.NONE, connect_timeout=SECONDS
        )
        session = ldap3.Connection(
            server,
            auto_referrals=False,
            check_names=False,
            read_only=True,
            receive_timeout=int(SECONDS),
        )
        try:
            session.open()
            if not (implicit or session.start_tls()):
                raise LDAPStartTLSError("TLS did not begin")
        except Exception as error:  # noqa: BLE001 - a broken answer makes ldap3 raise anything
            session.strategy.close()
            raise tls.fault or Denied(f"{self.where}: {_words(error)}", remedy="Use ldaps://.") from None
        return session

    def _bind(self, login: str, password: str) -> None:
        self._ask("rebind", user=login, password=password, authentication=ldap3.SIMPLE)

    def _entry_of(self, login: str) -> str:
        """Ask, as nobody, which entry an address or short name belongs to."""
        wanted = escape_filter_chars(login)
        found = self._entries(f"(|(mail={wanted})(uid={wanted}))", ("1.1",))
        if len(found) != 1:
            remedy = "Give --login as the entry's whole name, such as uid=anna,ou=people,dc=new,dc=example."
            raise LoginDenied(f"{self.where} does not tell which entry {printable(login)} is", remedy=remedy)
        return str(found[0]["dn"])

    def offer(self) -> Remark:
        """Tell where the entries are."""
        for base in self._places():
            self._ask("search", base, "(objectClass=*)", ldap3.BASE, attributes=["1.1"])
            self._need_success(f"to read {printable(base)}")
        return Remark("ok", f"entries beneath {printable(', '.join(self._places()))}")

    def search(self, text: str) -> list[Person]:
        """Ask for entries where each word is a part of name or address."""
        parts = map(escape_filter_chars, text.split())
        words = ("".join(f"({name}=*{part}*)" for name in _NAMES) for part in parts)
        found = self._entries(f"(&{''.join(f'(|{word})' for word in words)})", _NAMES)
        return [_person(each["raw_attributes"]) for each in found]

    def _entries(self, wanted: str, attributes: tuple[str, ...]) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for base in self._places():
            limits = {"size_limit": MOST, "time_limit": int(SECONDS)}
            self._ask("search", base, wanted, ldap3.SUBTREE, attributes=list(attributes), **limits)
            if self._code != _SIZE_LIMIT:
                self._need_success(f"to search {printable(base)}")
            found += [each for each in self._session.response or () if each["type"] == "searchResEntry"]
        return found

    def _places(self) -> list[str]:
        """Return the base, or what the server's own entry says (RFC 4512 §5.1)."""
        if self.base:
            return [self.base]
        if not self._bases:
            names = ["defaultNamingContext", "namingContexts"]
            self._ask("search", "", "(objectClass=*)", ldap3.BASE, attributes=names)
            told = [
                each["raw_attributes"] for each in self._session.response or () if "raw_attributes" in each
            ]
            values = {name: each[name] for each in told for name in names if each.get(name)}
            chosen = values.get(names[0]) or values.get(names[1]) or []
            self._bases = [base.decode("utf-8", "replace") for base in chosen if base]
        if not self._bases:
            raise Denied(f"{self.where} does not tell what it holds", remedy=f"Name a base: {_SHAPE}.")
        return self._bases

    def _ask(self, operation: str, *arguments: Any, **named: Any) -> None:
        """Do one operation; its result is in ``_code``. Raises ``Transient`` where there is none."""
        try:
            getattr(self._session, operation)(*arguments, **named)
        except Exception as error:  # noqa: BLE001 - a broken answer makes ldap3 raise anything
            remedy = "Try again; where it stays so, ask who runs the server."
            raise Transient(f"{self.where}: {_words(error)}", remedy=remedy) from None

    @property
    def _code(self) -> int:
        return int(self._session.result["result"])

    @property
    def _words(self) -> str:
        told = self._session.result
        return printable(" ".join(f"{told['description']} {told['message'] or ''}".split())[:300])

    def _need_success(self, what: str) -> None:
        if self._code == _NO_SUCH_OBJECT:
            remedy = "Name the right base in --ldap, or an account that may see it."
            raise Denied(f"{self.where} has no such entry, asked {what}: {self._words}", remedy=remedy)
        if self._code:
            remedy = "Ask who runs the server whether this account may read the directory."
            raise Denied(f"{self.where} refuses {what}: {self._words}", remedy=remedy)

    def close(self) -> None:
        """Let go of the connection."""
        if self._session is not None:
            self._session.strategy.close()
            self._session = None


class _HouseTls(ldap3.Tls):  # type: ignore[misc]
    """TLS as alimail always has it: verified, the name too."""

    def __init__(self, options: LdapServer) -> None:
        super().__init__(validate=ssl.CERT_REQUIRED)
        self.options = options
        self.context = tls_context(options)
        self.fault: Exception | None = None
        """Why there is none, which ldap3 tells in its own words alone."""

    def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:
        """Encrypt the connection."""
        try:
            connection.socket = self.context.wrap_socket(connection.socket, server_hostname=self.options.host)
        except OSError as error:
            self.fault = tls_error(error, self.options)
            raise


def _no_url() -> InputError:
    """Return what is raised for a text that may have a password in it, and is not repeated therefore."""
    return InputError("what is given for --ldap is not the URL of a directory", remedy=_SHAPE)


def _person(attributes: dict[str, list[bytes]]) -> Person:
    texts = {
        name: [value.decode("utf-8", "replace") for value in attributes.get(name, ())] for name in _NAMES
    }
    names = [*texts["displayName"], *texts["cn"], ""]
    return Person(next(iter(texts["mail"]), ""), names[0])


def _words(error: Exception) -> str:
    if not isinstance(error, LDAPException):
        return f"what answers does not speak LDAP ({type(error).__name__})"
    return printable(" ".join(str(error).split())[:300]) or type(error).__name__
