"""An address book by CardDAV (RFC 6352), found as RFC 6764 says; read only, and over https alone.

What the DNS or a redirection says can be somebody's work who stands on the way, so the password goes to the domain
that was named and the servers within it, or to the one server that was named, and nowhere else.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final
from urllib.parse import urljoin, urlsplit
from xml.sax.saxutils import escape

import httpx
from attrs import define, field, frozen

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
    tls_remark,
)
from alimail_core.commands import printable
from alimail_outlook.addressbook.book import Person
from alimail_outlook.addressbook.check import MOST, SECONDS, Directory
from alimail_outlook.addressbook.dav import CARD, DAV, Resource, person_of, resources

_WELL_KNOWN: Final = "/.well-known/carddav"
_REDIRECTIONS: Final = 5
_LARGEST: Final = 8 * 1024 * 1024
"""Of an answer, in octets."""
_DNS_SECONDS: Final = 5.0
_SHAPE: Final = "write a domain, or https://HOST/PATH of the server"

_PROPERTIES: Final = (
    '<propfind xmlns="DAV:" xmlns:c="urn:ietf:params:xml:ns:carddav"><prop>{}</prop></propfind>'
)
_QUERY: Final = (
    '<c:addressbook-query xmlns="DAV:" xmlns:c="urn:ietf:params:xml:ns:carddav">'
    "<prop><c:address-data/></prop>"
    '<c:filter test="anyof">{}</c:filter><c:limit><c:nresults>{}</c:nresults></c:limit></c:addressbook-query>'
)
_FILTER: Final = '<c:prop-filter name="{}" test="allof">{}</c:prop-filter>'
_MATCH: Final = '<c:text-match collation="i;unicode-casemap" match-type="contains">{}</c:text-match>'


@frozen
class DavServer(ServerOptions):
    """Where it is."""

    implicit_port: ClassVar[int] = 443
    cleartext_port: ClassVar[int] = 80


@define
class CardDav(Directory):
    """One account at one server."""

    title: ClassVar[str] = "CardDAV"

    place: str
    """A domain, or a URL."""
    login: str
    secret: Secret
    options: dict[str, Any] = field(factory=dict)
    """Of the server: ``ca``."""
    _http: httpx.Client | None = field(default=None, init=False)
    _homes: list[str] = field(factory=list, init=False)
    _books: list[str] = field(factory=list, init=False)

    @classmethod
    def at(cls, place: str, login: str, secret: Secret, **options: Any) -> CardDav:
        """Take a domain or URL. Raises ``InputError`` for what is neither."""
        _checked(place if "://" in place else f"https://{place}")
        return cls(place, login, secret, options)

    @property
    def where(self) -> str:
        """Name the domain or server."""
        return self.place

    def log_in(self) -> Remark:
        """Find the server and its path, get in, and learn where the account's address books are."""
        url, why = _found(self.place)
        parts = urlsplit(url)
        server = DavServer(parts.hostname or "", parts.port, "implicit", timeout=SECONDS, **self.options)
        with dial(server) as socket:  # says best why nobody is there
            encrypted = tls_remark(socket)  # type: ignore[arg-type]
        self._http = httpx.Client(
            base_url=url,
            auth=(self.login, self.secret.get()),
            verify=tls_context(server),
            timeout=SECONDS,
            trust_env=False,
            headers={"User-Agent": "alimail", "Content-Type": "application/xml; charset=utf-8"},
        )
        principal = self._principal(url)
        self._homes = [
            _joined(principal, href)
            for each in self._properties(principal, 0, "<c:addressbook-home-set/>")
            for href in each.hrefs(f"{CARD}addressbook-home-set")
        ]
        return Remark(encrypted.level, f"{printable(url)} ({why}): {encrypted.text}", encrypted.remedy)

    def _principal(self, url: str) -> str:
        """Return who we are there (RFC 5397); without a path the well-known one is asked first (RFC 6764 §6)."""
        paths = [url] if urlsplit(url).path.strip("/") else [urljoin(url, _WELL_KNOWN), urljoin(url, "/")]
        for path in paths:
            try:
                told = self._properties(path, 0, "<current-user-principal/>")
            except _NotThere:
                continue
            for each in told:
                for href in each.hrefs(f"{DAV}current-user-principal"):
                    return _joined(path, href)
        raise Denied(
            f"{printable(url)} offers no CardDAV to {printable(self.login)}",
            remedy="Name the address for CardDAV that the mail service documents, with its path.",
        )

    def offer(self) -> Remark:
        """List the address books."""
        listed = [
            (_joined(home, each.href), each.text(f"{DAV}displayname") or each.href)
            for home in self._homes
            for each in self._properties(home, 1, "<resourcetype/><displayname/>")
            if each.is_book
        ]
        if not listed:
            remedy = (
                "The server has none for this account: the organisation's book may have to be shared with it."
            )
            return Remark("fault", "there is no address book", remedy)
        self._books = [url for url, _ in listed]
        return Remark("ok", f"address books: {printable(', '.join(name for _, name in listed))}")

    def search(self, text: str) -> list[Person]:
        """Ask for cards where each word is a part of the name, or of the address."""
        words = "".join(_MATCH.format(escape(word)) for word in text.split())
        wanted = "".join(_FILTER.format(name, words) for name in ("FN", "EMAIL"))
        body = _QUERY.format(wanted, MOST)
        cards = [
            each.text(f"{CARD}address-data")
            for book in self._books
            for each in self._multistatus("REPORT", book, 1, body)
        ]
        return [person_of(card) for card in cards if card]

    def _properties(self, url: str, depth: int, names: str) -> list[Resource]:
        return self._multistatus("PROPFIND", url, depth, _PROPERTIES.format(names))

    def _multistatus(self, method: str, url: str, depth: int, body: str) -> list[Resource]:
        for _ in range(_REDIRECTIONS):
            status, leads_to, octets = self._sent(method, url, depth, body)
            if status in (301, 302, 303, 307, 308) and leads_to:
                url = _joined(url, leads_to)
                continue
            if status == 401:
                remedy = (
                    "Check --login (mostly the whole address) and --secret; the account may want a password for "
                    "clients of its own, or may not be let in by them at all."
                )
                raise LoginDenied(f"the server lets {printable(self.login)} not in", remedy=remedy)
            if status in (404, 405, 410):
                raise _NotThere(
                    f"there is nothing at {printable(url)}: {status}",
                    remedy="Name its address: --carddav https://HOST/PATH.",
                )
            if status != 207:
                raise Denied(f"{printable(url)} answers {status}", remedy="Ask who runs the server.")
            return list(resources(octets))
        raise Denied(f"{printable(url)} leads round in circles", remedy="Ask who runs the server.")

    def _sent(self, method: str, url: str, depth: int, body: str) -> tuple[int, str, bytes]:
        """Send one request to our own server. Raises ``Denied`` for another, ``Transient`` for no answer."""
        assert self._http is not None
        if _origin(url) != _origin(str(self._http.base_url)):
            raise Denied(
                f"the server leads to {printable(url)}, and no password is sent there",
                remedy="If that is the right server, name it: --carddav https://HOST/PATH.",
            )
        octets = bytearray()
        try:
            with self._http.stream(
                method, url, content=body.encode(), headers={"Depth": str(depth)}
            ) as answer:
                for part in answer.iter_bytes():
                    octets += part
                    if len(octets) > _LARGEST:
                        raise Denied("an answer without an end", remedy="Ask who runs the server.")
                return answer.status_code, answer.headers.get("Location", ""), bytes(octets)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            reason = printable(str(error)[:200]) or type(error).__name__
            raise Transient(f"no answer from {printable(url)}: {reason}", remedy="Try again.") from None

    def close(self) -> None:
        """Let go of the connections."""
        if self._http is not None:
            self._http.close()
            self._http = None


class _NotThere(Denied):
    """Nothing is at an address; there may be at another."""


def _found(place: str) -> tuple[str, str]:
    """Return the server's URL, and how it was found. Raises ``InputError`` or ``Denied``."""
    if "://" in place:
        return _checked(place), "as given"
    domain = place.strip().rstrip(".").lower()
    name = f"_carddavs._tcp.{domain}"
    records = sorted(_ask(name, "SRV"), key=lambda each: (each.priority, -each.weight))
    if not records:
        return _checked(f"https://{domain}"), "the domain itself, since it has no SRV record"
    host = str(records[0].target).rstrip(".").lower()
    if not host:
        raise Denied(f"{printable(name)} says: there is no such server", remedy=f"If there is, {_SHAPE}.")
    if host != domain and not host.endswith(f".{domain}"):
        # RFC 6764 §8: the DNS is not proof, and a certificate for that name neither.
        remedy = f"If that is the mail service's own, name it: --carddav https://{host}."
        raise Denied(
            f"{printable(name)} leads to {printable(host)}, which is not within {printable(domain)}",
            remedy=printable(remedy),
        )
    texts = [b"".join(each.strings).decode("utf-8", "replace") for each in _ask(name, "TXT")]
    path = next((text.removeprefix("path=") for text in texts if text.startswith("path=/")), "")
    return _checked(f"https://{host}:{records[0].port}{path}"), f"the SRV record {name}"


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        fits = parts.scheme == "https" and parts.hostname and "@" not in parts.netloc and parts.port != 0
    except ValueError:
        fits = False
    if not fits or parts.query or parts.fragment:  # not repeated: it may have a password in it
        raise InputError(
            "what is given for --carddav is no address of a server", remedy=f"{_SHAPE}; https alone"
        )
    return url


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or 443


def _joined(url: str, href: str) -> str:
    """Return where a server leads. Raises ``Denied`` where that is no address."""
    try:
        leads_to = urljoin(url, href)
        _origin(leads_to)
    except ValueError:
        remedy = "Ask who runs the server."
        raise Denied(
            f"{printable(url)} leads to {printable(href[:200])}, which is no address", remedy=remedy
        ) from None
    return leads_to


def _ask(name: str, kind: str) -> list[Any]:
    """Return records; none where there are none or nobody answers."""
    import dns.exception
    import dns.resolver

    try:
        return list(dns.resolver.resolve(name, kind, lifetime=_DNS_SECONDS))
    except (dns.exception.DNSException, OSError):
        return []
