"""Requests, held to Microsoft's schemas."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alimail_ews import soap
from alimail_ews.soap import Who, envelope
from tests.exchange import schema

NAMES = ("inbox", "sentitems", "msgfolderroot", "archivemsgfolderroot", "syncissues")
anything = st.text(min_size=1)


@given(anything, anything, st.sampled_from(["impersonation", "delegate", "own"]), st.sampled_from(NAMES))
def test_whatever_servers_and_administrators_say_makes_sound_requests(
    text: str, who: str, access: str, name: str
) -> None:
    """Identifiers, states and addresses are data in a request, whatever stands in them."""
    whom = {"impersonation": Who(impersonated=who), "delegate": Who(mailbox=who), "own": Who()}[access]
    folder = soap.distinguished(name, whom)
    for operation in (
        soap.get_folders([folder, folder]),
        soap.find_folders(folder, 0, 1000),
        soap.find_folders(folder, None, 1000),
        soap.sync_items(text, text, 512),
        soap.sync_items(text, None, 512),
        soap.find_items(text, 7, 1000),
        soap.get_items([text, text], mime=True),
        soap.get_items([text], mime=False),
    ):
        assert schema.request_fault(envelope(operation, soap.VERSIONS[0], whom)) is None


@pytest.mark.parametrize("text", ["a<b>&\"'", "\n\r\t", "\x00\ufffe\ud800", "]]>", "重要 \U0001f600"])
def test_an_identifier_arrives_as_it_is(text: str) -> None:
    """Quotes, tags and line ends in it change nothing; what XML cannot have at all is replaced."""
    root = schema.parse(envelope(soap.get_items([text], mime=True), soap.VERSIONS[0], Who()))
    (item,) = root.iter("{http://schemas.microsoft.com/exchange/services/2006/types}ItemId")
    wanted = "".join("\ufffd" if c in "\x00\ufffe\ud800" else c for c in text)
    assert item.get("Id") == wanted


def test_octets_are_asked_for_in_both_ways() -> None:
    """As a field and as a wish of its own: there are servers that know one of them."""
    root = schema.parse(envelope(soap.get_items(["a"], mime=True), soap.VERSIONS[0], Who()))
    types = "{http://schemas.microsoft.com/exchange/services/2006/types}"
    assert root.findtext(f".//{types}IncludeMimeContent") == "true"
    assert "item:MimeContent" in [node.get("FieldURI") for node in root.iter(f"{types}FieldURI")]
