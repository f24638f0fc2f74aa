"""When a message arrived, told by its own header where its source does not say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from alimail_core.header import header

_FIELD = re.compile(rb"^(received|date)[ \t]*:(.*(?:\n[ \t].*)*)", re.IGNORECASE | re.MULTILINE)


def date_of(octets: bytes) -> datetime | None:
    """Return the date of the topmost Received field, else of the Date field, else ``None``; always aware.

    RFC 5322 §3.6.7: the date of a Received field follows its last semicolon. Never raises.
    """
    for name in (b"received", b"date"):
        for value in _values(octets, name):
            found = _parsed(value.rpartition(b";")[2])
            if found is not None:
                return found
    return None


def _values(octets: bytes, name: bytes) -> Iterator[bytes]:
    for match in _FIELD.finditer(header(octets)[0]):
        if match[1].lower() == name:
            yield match[2]


def _parsed(value: bytes) -> datetime | None:
    try:
        found = parsedate_to_datetime(b" ".join(value.split()).decode("ascii", "replace"))
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
