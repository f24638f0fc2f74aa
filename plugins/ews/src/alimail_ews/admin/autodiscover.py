"""Where a mailbox's EWS is, by Autodiscover's plain XML (MS-OXDSCLI), which every version since 2007 speaks.

Asked are the two places beneath the address's own domain that MS-OXDISCO names first, over TLS with a trusted
certificate: a password goes nowhere else. Where a redirection leads beyond them is told, and an administrator
compares it and gives it as ``--server``.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit
from xml.parsers import expat
from xml.sax.saxutils import escape

from attrs import frozen

from alimail_core import Refused

PATH: Final = "/autodiscover/autodiscover.xml"

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
