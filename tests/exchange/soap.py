"""Envelopes: what a client asked, and how an answer or a refusal is written.

Answers are put together from octets by hand: a server that answers with 170 MB must not be what a benchmark measures.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from attrs import field, frozen
from lxml import etree

from tests.exchange.organisation import Account
from tests.exchange.store import Mailbox

SOAP: Final = "http://schemas.xmlsoap.org/soap/envelope/"
MESSAGES: Final = "http://schemas.microsoft.com/exchange/services/2006/messages"
TYPES: Final = "http://schemas.microsoft.com/exchange/services/2006/types"
ERRORS: Final = "http://schemas.microsoft.com/exchange/services/2006/errors"
NAMESPACES: Final = {"s": SOAP, "m": MESSAGES, "t": TYPES}

Element = etree._Element

_NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_SURROGATES = re.compile("[\ud800-\udfff]")


@frozen
class Version:
    """One release: what it calls itself in a request, and the numbers by which its answers tell it."""

    name: str
    """As ``RequestServerVersion`` has it."""
    numbers: tuple[int, int, int, int]
    schema: str
    """``ServerVersionInfo/@Version``; empty with releases that do not say."""

    @property
    def header(self) -> bytes:
        """The ``ServerVersionInfo`` element."""
        kinds = ("MajorVersion", "MinorVersion", "MajorBuildNumber", "MinorBuildNumber")
        said = " ".join(f'{kind}="{number}"' for kind, number in zip(kinds, self.numbers, strict=True))
        schema = f' Version="{self.schema}"' if self.schema else ""
        return f'<h:ServerVersionInfo {said}{schema} xmlns:h="{TYPES}"/>'.encode()


EXCHANGE_2007 = Version("Exchange2007_SP1", (8, 3, 485, 1), "")
EXCHANGE_2010 = Version("Exchange2010_SP2", (14, 3, 513, 0), "Exchange2010_SP2")
EXCHANGE_2013 = Version("Exchange2013_SP1", (15, 0, 1497, 48), "V2_23")
EXCHANGE_2016 = Version("Exchange2016", (15, 1, 2507, 35), "V2017_07_11")
EXCHANGE_2019 = Version("Exchange2016", (15, 2, 1544, 4), "V2017_07_11")
VERSIONS: Final = {
    "2007": EXCHANGE_2007,
    "2010": EXCHANGE_2010,
    "2013": EXCHANGE_2013,
    "2016": EXCHANGE_2016,
    "2019": EXCHANGE_2019,
}

SCHEMA_VERSIONS: Final = (
    "Exchange2007", "Exchange2007_SP1", "Exchange2010", "Exchange2010_SP1", "Exchange2010_SP2", "Exchange2013",
    "Exchange2013_SP1", "Exchange2015", "Exchange2016",
)  # fmt: skip
"""Every value of ``RequestServerVersion``, oldest first."""


def age(version: str) -> int:
    """Return a version's place in time."""
    return SCHEMA_VERSIONS.index(version)


class Refusal(Exception):
    """The request ends in a SOAP fault with this response code."""

    def __init__(self, code: str, text: str, values: Mapping[str, str] | None = None) -> None:
        """``values`` become the fault's ``MessageXml``."""
        super().__init__(f"{code}: {text}")
        self.code, self.text, self.values = code, text, dict(values or {})


class Failure(Exception):
    """One response message of several is an error; the others go on."""

    def __init__(self, code: str, text: str, values: Mapping[str, str] | None = None) -> None:
        """``values`` become the response message's ``MessageXml``."""
        super().__init__(f"{code}: {text}")
        self.code, self.text, self.values = code, text, dict(values or {})


@frozen
class Request:
    """One call, understood as far as all operations have in common."""

    operation: str
    body: Element
    version: str
    """What ``RequestServerVersion`` asked for; without it the oldest that there is."""
    account: Account
    mailbox: Mailbox | None
    """In whose name it is made: the impersonated mailbox, or the account's own."""
    impersonates: bool = False

    def at_least(self, version: str) -> bool:
        """Tell whether the client asked for this version's schema or a later one's."""
        return age(self.version) >= age(version)

    def find(self, path: str) -> Element | None:
        """Find an element beneath the operation's own."""
        return self.body.find(path, NAMESPACES)

    def text(self, path: str, default: str = "") -> str:
        """Return an element's text."""
        found = self.find(path)
        return default if found is None else (found.text or "")


@frozen
class Answer:
    """What goes out upon one request."""

    status: int
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(factory=dict)
    content_type: str = "text/xml; charset=utf-8"
    many: tuple[tuple[str, str], ...] = ()
    """More header fields, of which some may have the same name."""


def text(value: str) -> bytes:
    """Return character data. What XML cannot hold is referred to all the same (``&#x1F;``), as Exchange does it."""
    return _referred(escape(value)).encode()


def attribute(value: str) -> bytes:
    """Return an attribute's value with its quotation marks."""
    return _referred(quoteattr(value)).encode()


def _referred(value: str) -> str:
    value = _SURROGATES.sub("?", value)
    return _NOT_XML.sub(lambda found: f"&#x{ord(found[0]):X};", value)


def element(name: str, value: str) -> bytes:
    """Return a whole element of the types' namespace."""
    return b"<t:%b>%b</t:%b>" % (name.encode(), text(value), name.encode())


def local_name(node: Element) -> str:
    """Return an element's name without its namespace."""
    return etree.QName(node).localname


def children(node: Element | None) -> list[Element]:
    """Return an element's child elements, comments left out."""
    return [] if node is None else [child for child in node if isinstance(child.tag, str)]


def envelope(version: Version, body: bytes) -> bytes:
    """Return a whole answer."""
    return (
        b'<?xml version="1.0" encoding="utf-8"?><s:Envelope xmlns:s="%b"><s:Header>%b</s:Header>'
        b'<s:Body xmlns:m="%b" xmlns:t="%b">%b</s:Body></s:Envelope>'
        % (SOAP.encode(), version.header, MESSAGES.encode(), TYPES.encode(), body)
    )


def response(operation: str, messages: Iterable[bytes]) -> bytes:
    """Return an operation's answer with its response messages."""
    name = operation.encode()
    return b"<m:%bResponse><m:ResponseMessages>%b</m:ResponseMessages></m:%bResponse>" % (
        name,
        b"".join(messages),
        name,
    )


def success(operation: str, inside: bytes) -> bytes:
    """Return one response message that went well."""
    name = operation.encode()
    return (
        b'<m:%bResponseMessage ResponseClass="Success"><m:ResponseCode>NoError</m:ResponseCode>'
        b"%b</m:%bResponseMessage>" % (name, inside, name)
    )


def failed(operation: str, failure: Failure, inside: bytes = b"") -> bytes:
    """Return one response message that says what went wrong; ``inside`` is what the schema wants all the same."""
    name = operation.encode()
    return (
        b'<m:%bResponseMessage ResponseClass="Error"><m:MessageText>%b</m:MessageText>'
        b"<m:ResponseCode>%b</m:ResponseCode><m:DescriptiveLinkKey>0</m:DescriptiveLinkKey>%b%b"
        b"</m:%bResponseMessage>"
        % (name, text(failure.text), failure.code.encode(), _message_xml("m", failure.values), inside, name)
    )


def fault(version: Version, refusal: Refusal) -> Answer:
    """Return the SOAP fault that Exchange sends with HTTP status 500."""
    body = (
        b'<s:Fault><faultcode xmlns:a="%b">a:%b</faultcode><faultstring xml:lang="en-US">%b</faultstring><detail>'
        b'<e:ResponseCode xmlns:e="%b">%b</e:ResponseCode><e:Message xmlns:e="%b">%b</e:Message>%b</detail></s:Fault>'
        % (
            TYPES.encode(), refusal.code.encode(), text(refusal.text), ERRORS.encode(), refusal.code.encode(),
            ERRORS.encode(), text(refusal.text), _message_xml("t", refusal.values),
        )
    )  # fmt: skip
    return Answer(500, envelope(version, body))


def _message_xml(prefix: str, values: Mapping[str, str]) -> bytes:
    if not values:
        return b""
    inside = b"".join(
        b"<t:Value Name=%b>%b</t:Value>" % (attribute(name), text(value)) for name, value in values.items()
    )
    return b"<%b:MessageXml>%b</%b:MessageXml>" % (prefix.encode(), inside, prefix.encode())
