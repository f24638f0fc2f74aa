"""Where a mailbox's EWS is, by Autodiscover's plain XML (MS-OXDSCLI), which every version since 2007 speaks.

Asked are the two places beneath the address's own domain that MS-OXDISCO names first, over TLS with a trusted
certificate: a password goes nowhere else. Where a redirection leads beyond them is told, and an administrator
compares it and gives it as ``--server``. So are the third and the fourth step, a redirection in clear and an SRV
record, which anybody on the way can forge: they are asked without a name, and what they say is shown.
"""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit
from xml.parsers import expat
from xml.sax.saxutils import escape

from attrs import frozen

from alimail_core import Refused

PATH: Final = "/autodiscover/autodiscover.xml"
_SECONDS: Final = 10.0
_DNS_SECONDS: Final = 5.0
_MOST: Final = 5
"""SRV records that are shown."""

_REQUEST: Final = (
    '<?xml version="1.0" encoding="utf-8"?>'
    '<Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006"><Request>'
    "<EMailAddress>{}</EMailAddress><AcceptableResponseSchema>"
    "http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a</AcceptableResponseSchema>"
    "</Request></Autodiscover>"
)
_TOLD: Final = ("EwsUrl", "RedirectAddr", "RedirectUrl", "ErrorCode", "Message")


@frozen
class Located:
    """What Autodiscover told: a URL, or whom to ask instead."""

    url: str = ""
    instead: str = ""
    """An address or a URL that it points to."""


def request(address: str) -> bytes:
    """Ask for the settings of a mailbox."""
    return _REQUEST.format(escape(address)).encode()


def located(octets: bytes) -> Located:
    """Read an answer. Raises ``Refused`` where it tells of an error or is none; it is not trusted."""
    told = _texts(octets)
    if url := told.get("EwsUrl", ""):
        return Located(url=url)
    if instead := told.get("RedirectAddr") or told.get("RedirectUrl"):
        return Located(instead=instead)
    code, words = told.get("ErrorCode", ""), told.get("Message", "")
    said = f"error {code}: {words}" if code else "it names no Exchange Web Services"
    raise Refused("".join(each for each in said if each.isprintable())[:300])


def places(domain: str) -> list[tuple[str, int]]:
    """Return the hosts and ports that are asked for a domain's mailboxes, the first first."""
    return [(f"autodiscover.{domain}", 443), (domain, 443)]


def is_place(url_path: str) -> bool:
    """Tell whether a URL's path is Autodiscover's, so that it names whom to ask, and not EWS."""
    return url_path.lower() == PATH


@frozen
class Hint:
    """What a forgeable step says: where it was found, and the URL that it leads to, or why it leads nowhere."""

    where: str
    url: str = ""
    fault: str = ""


def hints(domain: str) -> Iterator[Hint]:
    """Take the third and the fourth step (MS-OXDISCO) of a domain, without a name. Never raises for what comes."""
    try:
        name = domain.encode("idna").decode()
    except UnicodeError:
        return
    yield _redirection(f"autodiscover.{name}")
    yield from _records(f"_autodiscover._tcp.{name}")


def _redirection(host: str) -> Hint:
    where = f"http://{host}{PATH}"
    connection = http.client.HTTPConnection(host, 80, timeout=_SECONDS)
    try:
        connection.request("GET", PATH)
        answer = connection.getresponse()
        status, leads_to = answer.status, answer.headers.get("Location", "")
    except (OSError, http.client.HTTPException) as error:
        return Hint(where, fault=getattr(error, "strerror", None) or type(error).__name__)
    finally:
        connection.close()
    if status not in (301, 302, 303, 307, 308) or not leads_to:
        return Hint(where, fault=f"it answers {status} and leads nowhere")
    leads_to = "".join(filter(str.isprintable, leads_to))[:200]
    try:
        scheme = split(leads_to)[3]
    except ValueError:
        scheme = ""
    if scheme != "https":
        return Hint(
            where, fault=f"it leads to {leads_to}, and no password goes there: that is no URL with https"
        )
    return Hint(where, leads_to)


def _records(name: str) -> Iterator[Hint]:
    import dns.exception
    import dns.resolver

    where = f"the SRV record {name}"
    try:
        found: list[Any] = list(dns.resolver.resolve(name, "SRV", lifetime=_DNS_SECONDS))
    except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
        yield Hint(where, fault="there is none")
        return
    except (dns.exception.DNSException, OSError) as error:
        yield Hint(where, fault=f"the DNS gave no answer ({type(error).__name__})")
        return
    for each in sorted(found, key=lambda each: (each.priority, -each.weight))[:_MOST]:
        host = "".join(filter(str.isprintable, str(each.target))).rstrip(".")[:200]
        if not host:
            yield Hint(where, fault="it says that there is no such server")
        else:
            yield Hint(where, f"https://{host}{'' if each.port in (0, 443) else f':{each.port}'}{PATH}")


def split(url: str) -> tuple[str, int | None, str, str]:
    """Return host, port, path and scheme of a URL. Raises ``ValueError`` for what is none of EWS's."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query:
        raise ValueError("it is no URL of a server")
    return parts.hostname, parts.port, parts.path, parts.scheme


def _texts(octets: bytes) -> dict[str, str]:
    """Return the first text of each element that matters. Raises ``Refused``."""
    found: dict[str, str] = {}
    text: list[str] = []

    def begin(*_: object) -> None:
        text.clear()

    def end(element: str) -> None:
        name = element.rpartition(" ")[2]
        if name in _TOLD:
            found.setdefault(name, "".join(text).strip())
        text.clear()

    def refuse(*_: object) -> None:
        raise Refused("it answers with a document type, which Autodiscover has not")

    parser = expat.ParserCreate(namespace_separator=" ")
    parser.StartElementHandler, parser.EndElementHandler = begin, end
    parser.CharacterDataHandler, parser.StartDoctypeDeclHandler = text.append, refuse
    try:
        parser.Parse(octets, True)
    except expat.ExpatError:
        raise Refused("it answers with something else than XML") from None
    return found
