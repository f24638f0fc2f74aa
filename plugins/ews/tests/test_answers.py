"""Reading answers: in whatever pieces they come, and whatever a hostile server makes of them."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alimail_ews import answers
from alimail_ews.answers import MalformedAnswer, Node, read_answer

MESSAGES = "http://schemas.microsoft.com/exchange/services/2006/messages"
TYPES = "http://schemas.microsoft.com/exchange/services/2006/types"
HEAD = (
    f'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" xmlns:m="{MESSAGES}" xmlns:t="{TYPES}">'
    '<s:Header><t:ServerVersionInfo MajorVersion="15"/></s:Header>'
    "<s:Body><m:GetItemResponse><m:ResponseMessages>"
)
TAIL = "</m:ResponseMessages></m:GetItemResponse></s:Body></s:Envelope>"


def answered(*inside: str) -> bytes:
    """Write an answer with items of these contents."""
    items = "".join(
        f'<m:GetItemResponseMessage ResponseClass="Success"><m:Items><t:Message>{each}</t:Message></m:Items>'
        "</m:GetItemResponseMessage>"
        for each in inside
    )
    return (HEAD + items + TAIL).encode()


def cut(octets: bytes, size: int) -> Iterator[bytes]:
    """Give octets in pieces."""
    for begin in range(0, len(octets), size):
        yield octets[begin : begin + size]


def messages(octets: bytes, size: int = 1 << 16) -> list[Node]:
    """Return the items of an answer that comes in pieces."""
    records = list(read_answer(cut(octets, size)))
    assert records.pop(0).name == "ServerVersionInfo"
    found = [record.find("Items", "Message") for record in records]
    return [each for each in found if each is not None]


@given(
    st.lists(
        st.tuples(st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])), st.binary()),
        max_size=4,
    ),
    st.integers(1, 300),
    st.sampled_from(["", "\n", "\r\n ", "\t"]),
)
def test_pieces_make_no_difference(items: list[tuple[str, bytes]], size: int, fold: str) -> None:
    """Texts and octets are what they were, wherever the answer and its lines of base64 are cut."""
    inside = []
    for subject, octets in items:
        text = fold.join(part.decode() for part in cut(base64.b64encode(octets), 76))
        inside.append(f"<t:MimeContent>{text}</t:MimeContent><t:Subject>{escape(subject)}</t:Subject>")
    told = messages(answered(*inside), size)
    assert [node.told("Subject") for node in told] == [subject for subject, _ in items]
    mime = [node.find("MimeContent") for node in told]
    assert [node and node.octets for node in mime] == [octets for _, octets in items]


def test_a_message_is_given_as_soon_as_it_is_there() -> None:
    """The first record comes before the answer has ended, and its message is not held on to."""
    octets = answered("<t:MimeContent>YQ==</t:MimeContent>", "<t:MimeContent>Yg==</t:MimeContent>")
    taken = []

    def pieces() -> Iterator[bytes]:
        for piece in cut(octets, 50):
            taken.append(piece)
            yield piece

    records = read_answer(pieces())
    next(records)
    next(records)
    assert 0 < sum(map(len, taken)) < len(octets) - 100


def test_a_message_tells_how_it_grows() -> None:
    """Whoever reads hears of a large message before all of it is in memory."""
    grown: list[int] = []
    octets = answered(f"<t:MimeContent>{base64.b64encode(bytes(1_000_000)).decode()}</t:MimeContent>")
    list(read_answer(cut(octets, 1 << 16), grown.append))
    assert grown[-1] == 1_000_000
    assert grown == sorted(grown)
    assert len(grown) > 4


@pytest.mark.parametrize("text", ["YQ", "Y", "!!!!", "YQ==YQ==", "YWJj=", "€€€€"])
def test_what_is_no_base64_is_no_message(text: str) -> None:
    """Damage is told, never half of a message."""
    (node,) = messages(answered(f"<t:MimeContent>{text}</t:MimeContent>"))
    mime = node.find("MimeContent")
    assert mime is not None
    assert mime.octets is None


def test_damage_beyond_one_piece_is_seen() -> None:
    """Padding in the middle of a large message is damage as well."""
    text = base64.b64encode(bytes(answers._DECODED)).decode() + "YQ==" + "YWJj" * answers._DECODED
    (node,) = messages(answered(f"<t:MimeContent>{text}</t:MimeContent>"))
    mime = node.find("MimeContent")
    assert mime is not None
    assert mime.octets is None


@pytest.mark.parametrize("reference", ["&#x0;", "&#X1f;", "&#11;", "&#xFFFE;", "&#0;", "&#x00008;"])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_characters_that_xml_has_not_are_replaced(reference: str, size: int) -> None:
    """Exchange writes them where they stand in names; nothing else is touched."""
    (node,) = messages(answered(f"<t:Subject>a{reference}b&#x20;&#9;&amp;#x0;&#x1F600;</t:Subject>"), size)
    assert node.told("Subject") == "a?b \t&#x0;\U0001f600"


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"no XML",
        answered("x")[:-1],
        answered("x") + b"<more/>",
        b'<?xml version="1.0"?><!DOCTYPE e [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><e>&b;</e>',
        b'<!DOCTYPE e SYSTEM "file:///etc/passwd"><e/>',
        b"<e>&unknown;</e>",
        b"<e>" * 100 + b"</e>" * 100,
        answered("<t:A>" * 100 + "</t:A>" * 100),
        b"<e>" + b"x" * 10_001 + b"</e>",
        b"<e>" + b"<f/>" * 10_001 + b"</e>",
        answered("<t:A/>" * 1_001),
        answered(f"<t:A>{'x' * 10_001}</t:A>"),
        answered(f'<t:A b="{"x" * 10_001}"/>'),
    ],
    ids=lambda octets: repr(octets[-30:]),
)
def test_hostile_answers_are_malformed(octets: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is no answer, has entities, or is larger than any, ends the reading and nothing else."""
    monkeypatch.setattr(answers, "MAX_NODES", 1_000)
    monkeypatch.setattr(answers, "MAX_TEXT", 10_000)
    with pytest.raises(MalformedAnswer):
        list(read_answer(cut(octets, 1 << 16)))


def test_a_message_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server cannot fill the memory with one message."""
    monkeypatch.setattr(answers, "MAX_MESSAGE", 400_000)
    octets = answered(f"<t:MimeContent>{'A' * 800_000}</t:MimeContent>")
    with pytest.raises(MalformedAnswer, match="400000"):
        list(read_answer(cut(octets, 1 << 16)))


def test_what_came_before_the_damage_is_given() -> None:
    """Messages that were complete are not lost with the rest of the answer."""
    octets = answered("<t:Subject>one</t:Subject>", "<t:Subject>two</t:Subject>").replace(b"two", b"\x01")
    records = read_answer(cut(octets, 1 << 16))
    assert [next(records).told("Items", "Message", "Subject") for _ in range(2)] == ["", "one"]
    with pytest.raises(MalformedAnswer):
        next(records)


@given(st.binary(max_size=300), st.integers(1, 50))
def test_nothing_else_is_raised(octets: bytes, size: int) -> None:
    """Whatever octets come, either they are read or they are malformed."""
    try:
        list(read_answer(cut(octets, size)))
    except MalformedAnswer:
        return
    assert octets.strip().endswith(b">")
