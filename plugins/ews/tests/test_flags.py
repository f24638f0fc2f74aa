"""What is listed of an item, as an entry."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alimail_ews.answers import Node
from alimail_ews.flags import item_of, keyword


def node(name: str = "Message", key: str = "K", **texts: str) -> Node:
    """Write an item's element; ``x1090`` and the like are properties without an element of their own."""
    children = [Node("ItemId", {"Id": key, "ChangeKey": "C"})]
    for told, text in texts.items():
        if told.startswith("x"):
            uri = Node("ExtendedFieldURI", {"PropertyTag": f"0{told}", "PropertyType": "Integer"})
            children.append(Node("ExtendedProperty", {}, children=[uri, Node("Value", {}, text)]))
        else:
            children.append(Node(told, {}, text))
    return Node(name, {}, children=children)


@pytest.mark.parametrize(
    ("texts", "flags"),
    [
        ({}, set()),
        ({"IsRead": "true"}, {"\\Seen"}),
        ({"IsRead": "1"}, {"\\Seen"}),
        ({"IsRead": "false", "IsDraft": "false"}, set()),
        ({"xe07": "1"}, {"\\Seen"}),
        ({"xe07": "10"}, set()),
        ({"IsRead": "false", "xe07": "1"}, set()),
        ({"IsDraft": "true"}, {"\\Draft"}),
        ({"x1090": "2"}, {"\\Flagged"}),
        ({"x1090": "1"}, set()),
        ({"x1081": "102"}, {"\\Answered"}),
        ({"x1081": "103"}, {"\\Answered"}),
        ({"x1081": "104"}, {"$Forwarded"}),
        ({"x1080": "261"}, {"\\Answered"}),
        ({"x1080": "262"}, {"$Forwarded"}),
        ({"x1080": "256", "x1081": "0"}, set()),
        ({"x1080": "-1", "x1090": "two", "x1081": ""}, set()),
        ({"X1090": "2"}, set()),
    ],
)
def test_flags_come_from_marks_and_verbs(texts: dict[str, str], flags: set[str]) -> None:
    """Read and draft have elements; the others are properties of MAPI."""
    item = item_of(node(**texts))
    assert item is not None
    assert item.entry.flags == flags


@pytest.mark.parametrize("tag", ["0x1090", "0X1090", "0x01090", "4240"])
def test_a_property_may_be_named_in_several_ways(tag: str) -> None:
    """Servers write the tag as hexadecimal digits or as a number."""
    uri = Node("ExtendedFieldURI", {"PropertyTag": tag})
    flag = Node("ExtendedProperty", {}, children=[uri, Node("Value", {}, "2")])
    item = item_of(Node("Message", {}, children=[Node("ItemId", {"Id": "K"}), flag]))
    assert item is not None
    assert item.entry.flags == {"\\Flagged"}


@pytest.mark.parametrize(
    ("texts", "date"),
    [
        ({"DateTimeReceived": "2024-02-03T04:05:06Z"}, datetime(2024, 2, 3, 4, 5, 6, tzinfo=UTC)),
        ({"DateTimeReceived": "2024-02-03T04:05:06.789+08:00"}, datetime(2024, 2, 2, 20, 5, 6, tzinfo=UTC)),
        ({"DateTimeReceived": "2024-02-03T04:05:06"}, datetime(2024, 2, 3, 4, 5, 6, tzinfo=UTC)),
        (
            {"DateTimeReceived": "soon", "DateTimeCreated": "1999-12-31T23:59:59Z"},
            datetime(1999, 12, 31, 23, 59, 59, tzinfo=UTC),
        ),
        ({"DateTimeReceived": "0001-01-01T00:00:00+14:00"}, None),
        ({}, None),
        (
            {"IsDraft": "true", "DateTimeReceived": "2024-02-03T04:05:06Z", "x3008": "2025-01-01T00:00:00Z"},
            datetime(2025, 1, 1, tzinfo=UTC),
        ),
        (
            {"DateTimeReceived": "2024-02-03T04:05:06Z", "x3008": "2025-01-01T00:00:00Z"},
            datetime(2024, 2, 3, 4, 5, 6, tzinfo=UTC),
        ),
    ],
)
def test_the_date_is_that_of_arrival_and_a_drafts_that_of_its_last_change(
    texts: dict[str, str], date: datetime | None
) -> None:
    """A draft that is written on keeps its identifier: only its date tells that it is another message."""
    item = item_of(node(**texts))
    assert item is not None
    assert item.entry.internal_date == date


@pytest.mark.parametrize(
    ("name", "kind", "is_mail"),
    [
        ("Message", "IPM.Note", True),
        ("Message", "REPORT.IPM.Note.NDR", True),
        ("MeetingRequest", "IPM.Schedule.Meeting.Request", True),
        ("PostItem", "IPM.Post", True),
        ("Item", "IPM.Something.Else", True),
        ("Item", "IPM.StickyNote", False),
        ("Item", "ipm.activity", False),
        ("CalendarItem", "IPM.Appointment", False),
        ("Contact", "IPM.Contact", False),
        ("DistributionList", "IPM.DistList", False),
        ("Task", "IPM.Task", False),
        ("Message", "", True),
    ],
)
def test_only_mail_is_mail(name: str, kind: str, is_mail: bool) -> None:
    """Deleted Items hold everything; appointments and contacts among mail stay."""
    item = item_of(node(name, ItemClass=kind))
    assert item is not None
    assert item.is_mail is is_mail


def test_the_size_is_no_witness() -> None:
    """Exchange's own size grows with a flag: as part of the witness it would make another message of it."""
    item = item_of(node(Size="1234"))
    assert item is not None
    assert (item.octets, item.entry.size) == (1234, None)


def test_what_has_no_identifier_is_no_item() -> None:
    """Nothing can be asked about it."""
    assert item_of(node(key="")) is None
    assert item_of(Node("Message", {})) is None


@pytest.mark.parametrize(
    ("category", "word"),
    [
        ("Work", "Work"),
        ("Red Category", "Red_Category"),
        ("重要", "&kc2JgQ-"),
        ("R&D (2024)", "R&ACY-D_&ACg-2024&ACk-"),
        ("  ", ""),
        ("100%", "100&ACU-"),
    ],
)
def test_categories_become_keywords(category: str, word: str) -> None:
    """What IMAP cannot have in a keyword is written in modified UTF-7, as mail programs do."""
    assert keyword(category) == word


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_keywords_are_atoms_and_tell_categories_apart(one: str, other: str) -> None:
    """Whatever people call a category, a server takes it; two categories differ by more than spaces or not at all."""
    word = keyword(one)
    assert all(33 <= ord(character) < 127 and character not in '(){%*"\\]' for character in word)
    if "_".join(one.split()) != "_".join(other.split()):
        assert word != keyword(other)
