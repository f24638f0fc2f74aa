"""When a message arrived, and what it is called where no server names it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alimail_pop3.headers import arrived, name_of

FIFTH = datetime(2024, 2, 5, 1, 30, 1, tzinfo=UTC)
RECEIVED = b"Received: from a by b id 1; x;\r\n\tMon, 5 Feb 2024 09:30:01 +0800 (CST)\r\n"
EARLIER = b"Received: from c by d; Sun, 4 Feb 2024 09:30:01 +0800\r\n"
DATE = b"Date: Sat, 3 Feb 2024 12:00:00 -0500\r\n"


@pytest.mark.parametrize(
    ("header", "wanted"),
    [
        (RECEIVED + EARLIER + DATE, FIFTH),
        (b"received : x; 5 Feb 24 01:30:01 GMT\r\n" + EARLIER, FIFTH),
        (b"Received: from a by b\r\n" + RECEIVED + DATE, FIFTH),
        (b"Received: from a by b; the day before\r\n" + DATE, datetime(2024, 2, 3, 17, tzinfo=UTC)),
        (DATE.replace(b"\r\n", b"\n"), datetime(2024, 2, 3, 17, tzinfo=UTC)),
        (b"Subject: =?utf-8?b?!?=\r\nDate: someday\r\n", None),
        (b"Subject: none\r\n\r\n" + DATE, None),
        (b"", None),
        (b"\0\xff\r\n", None),
    ],
)
def test_the_topmost_received_tells_when_a_message_arrived(header: bytes, wanted: datetime | None) -> None:
    """The topmost Received that has a date, else Date, else none; in UTC, and never from the body."""
    assert arrived(header + b"\r\n\r\nReceived: x; Tue, 6 Feb 2024 00:00:00 +0000\r\n") == wanted


def test_a_message_sent_twice_has_two_names() -> None:
    """Its way here tells apart what shares Message-ID, Date, From and Subject."""
    same = b"Message-ID: <a@b>\r\nSubject: x\r\n\r\n"
    assert name_of(RECEIVED + same) != name_of(EARLIER + same)


def test_what_servers_add_does_not_change_a_name() -> None:
    """Old servers note in the header that a message was read, and fold it anew."""
    before = RECEIVED + b"Message-ID: <a@b>\r\nSubject: x\r\n"
    after = (
        RECEIVED.replace(b"\r\n\t", b" ") + b"Status: RO\r\nX-UIDL: 17\r\nMessage-ID: <a@b>\r\nSubject: x\r\n"
    )
    assert name_of(before) == name_of(after)


@given(
    st.binary(max_size=300), st.sampled_from([b"Received: ", b"Date: ", b"Content-Type: multipart/mixed; "])
)
def test_no_header_raises(octets: bytes, field: bytes) -> None:
    """Whatever strangers wrote, there is a name, and perhaps a date."""
    assert name_of(field + octets)
    found = arrived(field + octets)
    assert found is None or found.tzinfo is not None


def test_no_content_is_logged(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    """mail-parser logs what it cannot decode, and is kept from it."""
    header = b"Received: =?utf-8?b?c2VjcmV0?=" + b"=?utf-8?b?" * 20 + b"; no date\r\nDate: =?x?q?secret?=\r\n"
    assert arrived(header) is None
    assert not caplog.records
    assert "".join(capfd.readouterr()) == ""
