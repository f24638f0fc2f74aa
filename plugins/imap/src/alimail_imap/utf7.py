"""Modified UTF-7, in which folder names travel (RFC 9051 §A.1): ``王`` is ``&c4s-``, and ``&`` is ``&-``."""

from __future__ import annotations

import re
from binascii import a2b_base64, b2a_base64

_SHIFTED = re.compile(r"[^\x20-\x7e]+|&")
_CODED = re.compile(rb"&([A-Za-z0-9+,]*)-")


def encode(text: str) -> bytes:
    """Encode a name. Raises ``ValueError`` where it holds half of a surrogate pair."""
    return _SHIFTED.sub(_shift, text).encode("ascii")


def decode(raw: bytes) -> str | None:
    """Decode a name; ``None`` where the octets are none, or not the one spelling of it."""
    try:
        parts = [
            part.decode("ascii") if index % 2 == 0 else _unshift(part)
            for index, part in enumerate(_CODED.split(raw))
        ]
        text = "".join(parts)
        return text if encode(text) == raw else None
    except ValueError:
        return None


def _shift(match: re.Match[str]) -> str:
    if match[0] == "&":
        return "&-"
    coded = b2a_base64(match[0].encode("utf-16-be"), newline=False).rstrip(b"=").replace(b"/", b",")
    return f"&{coded.decode('ascii')}-"


def _unshift(coded: bytes) -> str:
    padded = coded.replace(b",", b"/") + b"=" * (-len(coded) % 4)
    return a2b_base64(padded).decode("utf-16-be") or "&"
