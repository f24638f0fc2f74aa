"""The content digest: what a reader sees of a message, whatever a server made of its octets.

Two copies of one message differ after other trace headers were added, other boundaries or transfer encodings
chosen, header fields folded anew, or line ends mended. Here they are the same; and whatever cannot be decoded
counts as it stands, so that different content stays different: rather twice in the target than never.
"""

from __future__ import annotations

import binascii
import hashlib
import re
from collections.abc import Iterator

from alimail_core.header import MAX_HEADER, base64, decoded, fingerprint, header, with_lf

MAX_DEPTH = 20
"""Levels of nesting that are opened. What lies deeper counts as it stands."""

_TNEF = b"\x78\x9f\x3e\x22"
_TNEF_KEY_ENDS = 6
"""A winmail.dat begins with a key of two octets that whoever writes it draws at random (MS-OXTNEF, LegacyKey)."""

_NO_FIELD = re.compile(rb"^(?![!-9;-~]+[ \t]*:|[ \t]|>?From ).+$", re.MULTILINE)
_FIRST_IS_FIELD = re.compile(rb"[!-9;-~]+[ \t]*:|>?From ")
_TYPE = re.compile(rb"^content-type[ \t]*:(.*(?:\n[ \t].*)*)", re.IGNORECASE | re.MULTILINE)
_TRANSFER = re.compile(rb"^content-transfer-encoding[ \t]*:\s*([\w-]+)", re.IGNORECASE | re.MULTILINE)
_PARAMETER = rb"[;\s]%s\s*=\s*(?:\"((?:[^\"\\]|\\.)*+)\"|([^\s;\"]+))"
_BOUNDARY = re.compile(_PARAMETER % b"boundary", re.IGNORECASE | re.DOTALL)
_CHARSET = re.compile(_PARAMETER % b"charset", re.IGNORECASE | re.DOTALL)


def content_digest(octets: bytes) -> bytes:
    """Digest the fingerprint's fields and the decoded leaf parts, in their order; 32 octets.

    Text is compared as Unicode, without regard to line ends; at the end of a part line ends do not count. The
    nesting of multiparts does not count either, that of attached messages does. A NUL counts as Dovecot stores it,
    which is as 0x80, and the random key of a winmail.dat (TNEF) not at all. Never raises.
    """
    hashed = hashlib.sha256()
    whole = with_lf(as_stored_by_dovecot(octets))
    for piece in _pieces(whole, 0, len(whole), 0):
        hashed.update(len(piece).to_bytes(8, "big"))
        hashed.update(piece)
    return hashed.digest()


def as_stored_by_dovecot(octets: bytes) -> bytes:
    """Replace each NUL by 0x80, as Dovecot does with what it is sent and with what stands in its files."""
    return octets.replace(b"\0", b"\x80") if b"\0" in octets else octets


def _pieces(octets: bytes, begin: int, end: int, depth: int) -> Iterator[bytes]:
    """Take the message with LF line ends that stands in a range apart: its fields, and then its leaves.

    Ranges and not slices, so that a message of 60 MB is not copied for each level of it.
    """
    yield b"message"
    yield fingerprint(octets[begin : min(end, begin + MAX_HEADER)]).value
    yield from _part(octets, begin, end, depth)


def _part(octets: bytes, begin: int, end: int, depth: int) -> Iterator[bytes]:
    head, length = header(octets[begin : min(end, begin + MAX_HEADER)])
    if head and not _FIRST_IS_FIELD.match(head):
        head, length = b"", 0
    body = min(begin + length, end)
    # A line that is no field may be the text of a message that lacks its blank line.
    if stray := b"\n".join(_NO_FIELD.findall(head)):
        yield stray
    kind, parameters = _content_type(head)
    is_open = depth < MAX_DEPTH
    inside = _multipart(octets, body, end, parameters) if kind.startswith(b"multipart/") and is_open else []
    for part in inside:
        yield from _part(octets, *part, depth + 1)
    if inside:
        return
    decoded_leaf = _transfer_decoded(head, octets, body, end)
    if kind not in (b"message/rfc822", b"message/global") or not is_open:
        leaf = octets[body:end] if decoded_leaf is None else decoded_leaf
        yield _normalised(leaf, decoded_leaf is not None, kind, parameters)
    elif decoded_leaf is None:
        yield from _pieces(octets, body, end, depth + 1)
    else:
        message = with_lf(decoded_leaf)
        yield from _pieces(message, 0, len(message), depth + 1)


def _content_type(head: bytes) -> tuple[bytes, bytes]:
    field = _TYPE.search(head)
    kind, semicolon, parameters = (field[1] if field else b"").partition(b";")
    return kind.strip().lower() or b"text/plain", semicolon + parameters


def _parameter(pattern: re.Pattern[bytes], parameters: bytes) -> bytes:
    found = pattern.search(parameters)
    return (found[1] if found[1] is not None else found[2]) if found else b""


def _multipart(octets: bytes, begin: int, end: int, parameters: bytes) -> list[tuple[int, int]]:
    """Cut a multipart's body at its delimiter lines (RFC 2046 §5.1.1); nothing where there are none."""
    boundary = _parameter(_BOUNDARY, parameters).rstrip()
    if not boundary:
        return []
    parts, start = [], -1
    for line in _delimiters(octets, begin, end, boundary):
        if start >= 0:
            parts.append((start, line.start()))
        if line[1]:
            return parts
        start = line.end() + 1
    return [*parts, (start, end)] if start >= 0 else []


def _delimiters(octets: bytes, begin: int, end: int, boundary: bytes) -> Iterator[re.Match[bytes]]:
    """Find the lines of a boundary, each with the line end before it, if there is one in the range or just before."""
    delimiter = b"--" + re.escape(boundary) + rb"(--)?[ \t]*(?=\n|\Z)"
    if begin and octets[begin - 1 : begin] == b"\n":
        begin -= 1
    elif first := re.compile(delimiter).match(octets, begin, end):
        yield first
        begin = first.end()
    yield from re.compile(b"\n" + delimiter).finditer(octets, begin, end)


def _transfer_decoded(head: bytes, octets: bytes, begin: int, end: int) -> bytes | None:
    """Undo the transfer encoding of what stands in a range; ``None`` where there is none."""
    field = _TRANSFER.search(head)
    encoding = field[1].lower() if field else b""
    if encoding == b"base64":
        return base64(octets, begin, end)
    if encoding == b"quoted-printable":
        return binascii.a2b_qp(octets[begin:end]).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    return None


def _normalised(leaf: bytes, encoded: bool, kind: bytes, parameters: bytes) -> bytes:
    if kind.startswith(b"text/"):
        charset = _parameter(_CHARSET, parameters).decode("latin-1")
        leaf = decoded(leaf, charset or "utf-8").encode("utf-8", "surrogatepass")
        leaf = with_lf(leaf)
    elif not encoded:
        leaf = leaf.replace(b"\n", b"\r\n")
    elif leaf.startswith(_TNEF):
        leaf = _TNEF + leaf[_TNEF_KEY_ENDS:]
    return leaf.rstrip(b"\r\n")
