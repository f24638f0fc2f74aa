"""What FETCH tells, in many servers' spelling, and dates and flags as we write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alimail_imap.fetched import parse_date, parse_fetch, spell_flags, write_date, write_flags
from alimail_imap.tokens import Response

EAST = timezone(timedelta(hours=8))


def fetched(*parts: bytes) -> object:
    """Read a FETCH response given as parts."""
    return parse_fetch(Response(b"*", list(parts)))


def test_the_common_spelling_and_any_order_tell_the_same() -> None:
    """The quick way and the careful way of reading an entry agree."""
    quick = fetched(
        b'7 FETCH (UID 9 FLAGS (\\seen $X) INTERNALDATE "01-Jan-2020 10:00:00 +0800" RFC822.SIZE 12)'
    )
    careful = fetched(
        b'7 FETCH (RFC822.SIZE 12 MODSEQ (5) INTERNALDATE " 1-Jan-2020 10:00:00 +0800" FLAGS (\\SEEN $X) UID 9)'
    )
    assert quick == careful
    assert quick is not None


def test_octets_come_from_a_literal_a_string_or_nil() -> None:
    """BODY[] may be a literal or, where it is short, a quoted string; NIL is no content."""
    literal = parse_fetch(Response(b"*", [b"1 FETCH (UID 2 BODY[] {3}", b"a\r\n", b" RFC822.SIZE 3)"]))
    quoted = parse_fetch(Response(b"*", [b'1 FETCH (BODY[] "abc" UID 2)']))
    nothing = parse_fetch(Response(b"*", [b"1 FETCH (UID 2 BODY[] NIL)"]))
    assert literal is not None
    assert (literal.uid, literal.octets, literal.size) == (2, b"a\r\n", 3)
    assert quoted is not None
    assert quoted.octets == b"abc"
    assert nothing is not None
    assert nothing.octets is None


@pytest.mark.parametrize(
    "text", [b"1 FETCH", b"1 FETCH (", b"1 FETCH UID 2", b"1 FETCH NIL", b"1 FETCH ()) x"]
)
def test_an_answer_that_cannot_be_read_counts_as_not_said(text: bytes) -> None:
    """A FETCH response that breaks the grammar is passed over."""
    assert parse_fetch(Response(b"*", [text])) is None


@given(st.binary(max_size=120))
def test_garbage_raises_nothing(text: bytes) -> None:
    """No FETCH response whatever raises an exception."""
    parse_fetch(Response(b"*", [b"1 FETCH (" + text]))


@pytest.mark.parametrize(
    ("text", "when"),
    [
        (b"17-Jul-1996 02:44:25 -0700", datetime(1996, 7, 17, 9, 44, 25, tzinfo=UTC)),
        (b" 1-Jan-2024 00:00:00 +0800", datetime(2023, 12, 31, 16, 0, 0, tzinfo=UTC)),
        (b"1-JAN-2024 00:00:00 +0800", datetime(2023, 12, 31, 16, 0, 0, tzinfo=UTC)),
        (b"01-Jan-2024 00:00:00", datetime(2024, 1, 1, tzinfo=UTC)),
        (b"01-Jan-2024 00:00:00 GMT", datetime(2024, 1, 1, tzinfo=UTC)),
        (b"01-Jan-99 00:00:00 +0000", datetime(1999, 1, 1, tzinfo=UTC)),
        (b"01-Jan-24 00:00:00 +0000", datetime(2024, 1, 1, tzinfo=UTC)),
        (b"01-January-2024 7:05 +05:30", datetime(2024, 1, 1, 1, 35, tzinfo=UTC)),
        (b"01-Jan-2024 00:00:00 +9999", datetime(2024, 1, 1, tzinfo=UTC)),
        (b"31-Feb-2024 00:00:00 +0000", None),
        (b"01-Foo-2024 00:00:00 +0000", None),
        (b"00-Jan-0000 00:00:00 +0000", None),
        (b"yesterday", None),
        (b"", None),
    ],
)
def test_dates_are_read_in_every_spelling_met(text: bytes, when: datetime | None) -> None:
    """Dates are aware, keep their instant, and are None where they are none."""
    assert parse_date(text) == when


def test_the_zone_is_kept() -> None:
    """An hour is not lost on the way: the offset that the server told stays."""
    when = parse_date(b"01-Jan-2024 00:00:00 -0330")
    assert when is not None
    assert when.utcoffset() == -timedelta(hours=3, minutes=30)


@given(
    st.datetimes(
        datetime(1000, 1, 2),
        datetime(9999, 12, 30),
        timezones=st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
    )
)
def test_a_date_that_is_written_is_read_back(when: datetime) -> None:
    """Writing and reading keep the instant to the second, whatever the zone."""
    assert parse_date(write_date(when).strip(b'"')) == when.replace(microsecond=0)


def test_dates_are_written_as_the_grammar_has_them() -> None:
    """The day has two digits, the month is English whatever the locale, an odd offset becomes UTC."""
    assert write_date(datetime(2001, 2, 3, 4, 5, 6, tzinfo=EAST)) == b'"03-Feb-2001 04:05:06 +0800"'
    odd = timezone(timedelta(hours=8, minutes=5, seconds=43))
    assert write_date(datetime(1900, 12, 31, 8, 5, 43, tzinfo=odd)) == b'"31-Dec-1900 00:00:00 +0000"'


def test_flags_are_spelt_one_way_and_recent_is_left_out() -> None:
    """Servers spell system flags in every case; keywords stay as they are."""
    flags = spell_flags([b"\\SEEN", b"\\recent", b"$Forwarded", b"nonjunk", b"\\deleted"])
    assert flags == {"\\Seen", "$Forwarded", "nonjunk", "\\Deleted"}


def test_only_flags_that_a_server_can_read_are_written() -> None:
    """Unknown system flags and keywords that are no atoms never cost a message (they break the command)."""
    wanted = {"\\Seen", "\\Recent", "\\Indexed", "\\Deleted", "$MDNSent", "a b", "größe", "", "x(", "\\X-EON"}
    assert write_flags(wanted) == b"($MDNSent \\Seen)"
