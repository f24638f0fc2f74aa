"""What a server made of a message: the octets that it stores, held against those that it was sent."""

from __future__ import annotations

import re
from collections import Counter

from attrs import frozen

from alimail_core.content import as_stored_by_dovecot
from alimail_core.header import header, with_lf
from alimail_core.identity import content_digest, digests

_FIELD = re.compile(rb"^([!-9;-~]+)[ \t]*:.*(?:\n[ \t].*)*", re.MULTILINE)
_MUNGED = bytes(octet if octet < 0x80 else ord("X") for octet in range(256))
_NAMED = 8
"""The most header fields that a difference names."""


@frozen
class Difference:
    """How two copies of a message differ. ``same_content``: by no more than servers are known to change."""

    same_content: bool
    text: str


def difference(sent: bytes, stored: bytes) -> Difference:
    """Tell what differs between a message and another copy of it, from the mildest to the gravest. Never raises."""
    if digests(stored).canonical in (digests(sent).canonical, digests(as_stored_by_dovecot(sent)).canonical):
        alike = (b"\0" in sent) == (b"\0" in stored)
        return Difference(True, "line ends" if alike else "NUL octets or line ends")
    if _same(sent.replace(b"\r", b""), stored.replace(b"\r", b"")):  # Courier
        return Difference(True, "lone CR octets")
    if _same(_in_ascii(sent), _in_ascii(stored)):  # Cyrus
        return Difference(
            True, f"8-bit octets of header lines ({', '.join(_differing_fields(sent, stored))})"
        )
    if content_digest(sent) != content_digest(stored):
        return Difference(False, "another content")
    differing = []
    if fields := _differing_fields(sent, stored):
        differing.append(f"header lines ({', '.join(fields)})")
    if _body(sent) != _body(stored):
        differing.append("the body's structure or transfer encoding")
    return Difference(True, " and ".join(differing) or "the header's layout")


def _same(sent: bytes, stored: bytes) -> bool:
    return digests(sent).canonical == digests(stored).canonical


def _in_ascii(octets: bytes) -> bytes:
    """Write X for each 8-bit octet of the header, as Cyrus does (``reject8bit: no``)."""
    body = header(octets)[1]
    return octets[:body].translate(_MUNGED) + octets[body:]


def _differing_fields(sent: bytes, stored: bytes) -> list[str]:
    """Name the header fields that only one of two copies has in this form."""
    ours, theirs = _fields(sent), _fields(stored)
    found = sorted({name.decode("latin-1") for name, _ in (ours - theirs) + (theirs - ours)})
    return found if len(found) <= _NAMED else [*found[:_NAMED], f"and {len(found) - _NAMED} more"]


def _fields(octets: bytes) -> Counter[tuple[bytes, bytes]]:
    found = _FIELD.finditer(header(octets)[0])
    return Counter((match[1], b" ".join(match[0].split())) for match in found)


def _body(octets: bytes) -> bytes:
    return with_lf(octets[header(octets)[1] :]).rstrip(b"\n")
