"""MIME content as Exchange gives it: made from what it stores, with other octets each time."""

from __future__ import annotations

import re
from typing import Final

_BOUNDARY: Final = re.compile(rb'(?i)boundary="?([^"\r\n;]{1,70})')
_SIGNED: Final = re.compile(
    rb"(?i)^content-type:\s*(multipart/signed|application/(x-)?pkcs7-mime)", re.MULTILINE
)
_FIELD: Final = re.compile(rb"(?m)^[!-9;-~]+:(?:.*\r\n)(?:[ \t].*\r\n)*")


def render_anew(octets: bytes, number: int) -> bytes:
    """Return a message that says the same in other octets: another boundary, or its header in another order.

    What is signed or encrypted is given as it came; so is what has no header to speak of.
    """
    end = octets.find(b"\r\n\r\n")
    if end < 0:
        return octets
    header, body = octets[: end + 2], octets[end + 2 :]
    if _SIGNED.search(header):
        return octets
    boundary = _BOUNDARY.search(header)
    if boundary is not None:
        return _other_boundary(header, body, boundary, number)
    return _other_order(header, number) + body


def _other_boundary(header: bytes, body: bytes, declared: re.Match[bytes], number: int) -> bytes:
    old = declared[1]
    new = b"_%04d_%b" % (number % 10_000, old[-50:])
    if new in body or b'boundary="' + old in body or b"boundary=" + old in body:
        return header + body  # a part of the same boundary, or of one that begins like it: leave it alone
    header = header[: declared.start(1)] + new + header[declared.end(1) :]
    return header + body.replace(b"\r\n--" + old, b"\r\n--" + new)


def _other_order(header: bytes, number: int) -> bytes:
    fields = _FIELD.findall(header)
    names = {field.partition(b":")[0].strip().lower() for field in fields}
    if b"".join(fields) != header or len(names) < len(fields):
        return header  # what stands twice means something by its order
    turn = number % len(fields)
    return b"".join(fields[turn:] + fields[:turn])
