"""The little WebDAV that an address book needs: two methods, multistatus answers, and the cards in them.

Nothing in an answer can make it costly to read: its size is bounded, and a document type, and with it every entity,
is refused.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from attrs import frozen

from alimail_core import Denied
from alimail_outlook.addressbook.book import Person

DAV: Final = "{DAV:}"
CARD: Final = "{urn:ietf:params:xml:ns:carddav}"

_LINE: Final = re.compile(
    r'^(?:[\w-]+\.)?(?P<name>FN|EMAIL)(?:;(?:"[^"]*"|[^":])*)?:(?P<value>.*)$', re.IGNORECASE | re.MULTILINE
)
"""A property of a card that is wanted, perhaps in a group and with parameters (RFC 6350 §3.3)."""


@frozen
class Resource:
    """One resource of a multistatus answer, with the properties that it has."""

    href: str
    properties: dict[str, Element]

    def text(self, name: str) -> str:
        """Return a property's text; empty where it has none."""
        found = self.properties.get(name)
        return "" if found is None else (found.text or "").strip()

    def hrefs(self, name: str) -> list[str]:
        """Return the addresses within a property."""
        found = self.properties.get(name)
        return [] if found is None else [(each.text or "").strip() for each in found.iter(f"{DAV}href")]

    @property
    def is_book(self) -> bool:
        """Tell whether it is an address book (RFC 6352 §5.2)."""
        kind = self.properties.get(f"{DAV}resourcetype")
        return kind is not None and kind.find(f"{CARD}addressbook") is not None


def resources(octets: bytes) -> Iterator[Resource]:
    """Read a multistatus answer (RFC 4918 §13). Raises ``Denied`` where it is none."""
    root = _tree(octets)
    if root.tag != f"{DAV}multistatus":
        raise Denied("what answers is no WebDAV", remedy="Name the server's own address for CardDAV.")
    for response in root.iter(f"{DAV}response"):
        properties = {
            each.tag: each
            for part in response.iter(f"{DAV}propstat")
            if " 200 " in f"{part.findtext(f'{DAV}status', '')} "
            for within in part.iter(f"{DAV}prop")
            for each in within
        }
        yield Resource(response.findtext(f"{DAV}href", "").strip(), properties)


def _tree(octets: bytes) -> Element:
    builder = TreeBuilder()
    parser = expat.ParserCreate(namespace_separator="}")

    def refuse(*_: object) -> None:
        raise Denied("the answer has a document type", remedy="Ask who runs the server.")

    def named(name: str) -> str:
        return f"{{{name}" if "}" in name else name

    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = lambda name, attributes: builder.start(named(name), attributes)
    parser.EndElementHandler = lambda name: builder.end(named(name))
    parser.CharacterDataHandler = builder.data
    try:
        parser.Parse(octets, True)
        return builder.close()
    except (expat.ExpatError, LookupError, ValueError):
        raise Denied(
            "what answers is no WebDAV", remedy="Name the server's own address for CardDAV."
        ) from None


def person_of(card: str) -> Person:
    """Return name and first address of a card, of whatever version."""
    unfolded = re.sub(r"\r?\n[ \t]", "", card).replace("\r\n", "\n")
    found: dict[str, str] = {}
    for line in _LINE.finditer(unfolded):
        value = re.sub(r"\\(.)", lambda mark: " " if mark[1] in "nN" else mark[1], line["value"])
        found.setdefault(line["name"].upper(), value.strip())
    return Person(found.get("EMAIL", ""), found.get("FN", ""))
