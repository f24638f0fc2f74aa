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

from alimail_core.header import base64, decoded, fingerprint, header, with_lf

MAX_DEPTH = 20
"""Levels of nesting that are opened. What lies deeper counts as it stands."""

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
    which is as 0x80. Never raises.
    """
    hashed = hashlib.sha256()
    for piece in _pieces(with_lf(as_stored_by_dovecot(octets)), 0):
        hashed.update(len(piece).to_bytes(8, "big"))
        hashed.update(piece)
    return hashed.digest()


def as_stored_by_dovecot(octets: bytes) -> bytes:
    """Replace each NUL by 0x80, as Dovecot does with what it is sent and with what stands in its files."""
    return octets.replace(b"\0", b"\x80") if b"\0" in octets else octets


def _pieces(octets: bytes, depth: int) -> Iterator[bytes]:
    """Take a message with LF line ends apart: its fields, and then its leaves."""
    yield b"message"
    yield fingerprint(octets).value
    yield from _part(octets, depth)


def _part(octets: bytes, depth: int) -> Iterator[bytes]:
    head, body = header(octets)
    if head and not _FIRST_IS_FIELD.match(head):
        head, body = b"", 0
    # A line that is no field may be the text of a message that lacks its blank line.
    if stray := b"\n".join(_NO_FIELD.findall(head)):
        yield stray
    kind, parameters = _content_type(head)
    inside = (
        _multipart(octets[body:], parameters) if kind.startswith(b"multipart/") and depth < MAX_DEPTH else []
    )
    for part in inside:
        yield from _part(part, depth + 1)
    if inside:
        return
    leaf, encoded = _transfer_decoded(head, octets[body:])
    if kind in (b"message/rfc822", b"message/global") and depth < MAX_DEPTH:
        yield from _pieces(with_lf(leaf) if encoded else leaf, depth + 1)
    else:
        yield _normalised(leaf, encoded, kind, parameters)


def _content_type(head: bytes) -> tuple[bytes, bytes]:
    field = _TYPE.search(head)
    kind, semicolon, parameters = (field[1] if field else b"").partition(b";")
    return kind.strip().lower() or b"text/plain", semicolon + parameters


def _parameter(pattern: re.Pattern[bytes], parameters: bytes) -> bytes:
    found = pattern.search(parameters)
    return (found[1] if found[1] is not None else found[2]) if found else b""


def _multipart(body: bytes, parameters: bytes) -> list[bytes]:
    """Cut a multipart's body at its delimiter lines (RFC 2046 §5.1.1); nothing where there are none."""
    boundary = _parameter(_BOUNDARY, parameters).rstrip()
    if not boundary:
        return []
    body = b"\n" + body
    parts, start = [], -1
    for line in re.finditer(rb"\n--" + re.escape(boundary) + rb"(--)?[ \t]*(?=\n|\Z)", body):
        if start >= 0:
            parts.append(body[start : line.start()])
        if line[1]:
            return parts
        start = line.end() + 1
    return [*parts, body[start:]] if start >= 0 else []


def _transfer_decoded(head: bytes, body: bytes) -> tuple[bytes, bool]:
    """Undo the transfer encoding, and tell whether there was one."""
    field = _TRANSFER.search(head)
    encoding = field[1].lower() if field else b""
    if encoding == b"base64":
        return base64(body), True
    if encoding == b"quoted-printable":
        return binascii.a2b_qp(body).replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"), True
    return body, False


def _normalised(leaf: bytes, encoded: bool, kind: bytes, parameters: bytes) -> bytes:
    if kind.startswith(b"text/"):
        charset = _parameter(_CHARSET, parameters).decode("latin-1")
        leaf = decoded(leaf, charset or "utf-8").encode("utf-8", "surrogatepass")
        leaf = with_lf(leaf)
    elif not encoded:
        leaf = leaf.replace(b"\n", b"\r\n")
    return leaf.rstrip(b"\r\n")
