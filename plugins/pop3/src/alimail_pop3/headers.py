"""What a header tells beyond the four fields of a fingerprint: when a message arrived, and by which way."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from datetime import UTC, datetime

import mailparser
from mailparser.dates import parse_mail_date
from mailparser.exceptions import MailParserError

from alimail_core import fingerprint

MAX_HEADER = 64 * 1024
"""Octets of a message in which its header is looked at: mail-parser takes 0.1 s for so much of the worst."""

# It logs pieces of messages that it cannot decode, and no log of ours holds content.
logging.getLogger("mailparser").setLevel(logging.CRITICAL + 1)


def arrived(octets: bytes) -> datetime | None:
    """Return when a message arrived: by its topmost Received that has a date, else by its Date, else ``None``.

    RFC 5322 §3.6.7: the date of a Received field follows its last semicolon.
    """
    received, date = _trace(octets)
    stamps = (value.rpartition(";")[2] for value in received)
    found = next((when for stamp in (*stamps, date) if (when := parse_mail_date(stamp).value)), None)
    return None if found is None else found.astimezone(UTC)


def name_of(octets: bytes) -> str:
    """Name a message by its header: its fingerprint, and its way here, which tells apart what was sent twice.

    Other fields are left out: old servers add some of their own once a message was read.
    """
    received, _ = _trace(octets)
    way = hashlib.blake2b(digest_size=8)
    for value in received:
        way.update("".join(value.split()).encode("utf-8", "surrogatepass") + b"\n")
    return f"{fingerprint(octets).value.hex()}-{way.hexdigest()}"


def _trace(octets: bytes) -> tuple[list[str], str]:
    """Return the Received fields, topmost first, and the Date field."""
    try:
        parsed = mailparser.parse_from_bytes(b"\r\n".join(_fields(octets)) + b"\r\n\r\n")
    except MailParserError:
        return [], ""
    return parsed.received_raw, str((parsed.message.get_all("date") or [""])[0])


def _fields(octets: bytes) -> Iterator[bytes]:
    """Give the lines of the Received and Date fields, their names well spelt: nothing else is worth parsing."""
    wanted = False
    for line in octets[:MAX_HEADER].splitlines():
        if not line.strip():
            return
        if line[:1] not in b" \t":
            name, _, value = line.partition(b":")
            wanted = name.strip().lower() in (b"received", b"date")
            line = name.strip() + b":" + value
        if wanted:
            yield line
