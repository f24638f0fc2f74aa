"""Sets of UIDs: compressed, cut, read back."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alimail_imap.uidsets import count, expand, format_sets, parse_set, ranges

UIDS = st.sets(st.integers(1, 2**32 - 1) | st.integers(1, 300))


@given(UIDS, st.integers(24, 200))
def test_sets_say_each_number_once_and_keep_to_the_length(uids: set[int], octets: int) -> None:
    """What is written says exactly the numbers, ascending, in pieces no longer than allowed."""
    sets = list(format_sets(uids, octets))
    told = [uid for text in sets for uid in expand(parse_set(text))]
    assert told == sorted(uids)
    assert all(len(text) <= octets for text in sets)


@given(UIDS)
def test_ranges_are_the_fewest(uids: set[int]) -> None:
    """Between two ranges at least one number is missing."""
    found = list(ranges(uids))
    assert all(after[0] > before[1] + 1 for before, after in pairwise(found))
    assert count(found) == len(uids)


def test_twenty_thousand_neighbours_are_one_range() -> None:
    """Dovecot refuses a line of 20,000 UIDs; a range is a few octets."""
    assert list(format_sets(range(1, 20_001))) == [b"1:20000"]


def test_many_strangers_are_cut_at_eight_thousand_octets() -> None:
    """UIDs without neighbours are divided among several sets."""
    sets = list(format_sets(range(1, 20_001, 2)))
    assert len(sets) > 1
    assert max(map(len, sets)) <= 8_000


def test_a_range_written_backwards_is_the_same_range() -> None:
    """RFC 9051 lets a server write 4:2 for 2:4."""
    assert parse_set(b"4:2,9") == [(2, 4), (9, 9)]


@pytest.mark.parametrize(
    "text", [b"", b"*", b"1:*", b"0", b"4294967296", b"1,,2", b"a", b"-1", b"1:2:3", b" 1"]
)
def test_what_is_no_set_is_refused(text: bytes) -> None:
    """Anything but numbers and ranges raises ValueError."""
    with pytest.raises(ValueError, match=r".*"):
        parse_set(text)


def test_a_huge_range_is_counted_without_being_listed() -> None:
    """A hostile range costs nothing until it is listed, and listing stops where it is told to."""
    found = parse_set(b"1:4294967295")
    assert count(found) == 2**32 - 1
    assert list(expand(found, below=4)) == [1, 2, 3]
