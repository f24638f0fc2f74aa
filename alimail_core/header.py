"""The header fields by which messages are told apart, read from octets fast and without ever raising.

The standard library's parser and mail-parser build a tree of the whole message in Python, line by line; they
cost milliseconds where two regular expressions cost microseconds, and every message of a migration comes here.
So this module reads just four fields, and forgives what servers and clients do to them.
"""

from __future__ import annotations

import binascii
import calendar
import hashlib
import re
from email.utils import parsedate_tz
from encodings import normalize_encoding
from encodings.aliases import aliases
from functools import lru_cache

from attrs import frozen

MAX_HEADER = 1024 * 1024
"""Octets of a message in which its header is looked for. What is beyond counts as body."""
_PIECE = 256 * 1024
"""Octets that are decoded at a time."""

_BLANK_LINE = re.compile(rb"\n\r*\n")
_BLANK_LINE_CR = re.compile(rb"\r\r")
_BLANK_FIRST = re.compile(rb"\r*\n")
_BLANK_FIRST_CR = re.compile(rb"\r")
_LINE_END = re.compile(rb"(?<!\r)\r++\n")  # so written, a million CRs cost no more than a million letters
_FIELD = re.compile(rb"\n(message-id|date|from|subject)[ \t]*:(.*(?:\n[ \t].*)*)", re.IGNORECASE)
_ENCODED_WORD = re.compile(
    rb"=\?([\w.:+-]{1,40})(?:\*[\w-]*)?\?([bq])\?([^?\n]*)\?=", re.IGNORECASE | re.ASCII
)
_NOT_BASE64 = bytes(
    set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
)
_ADDRESS = re.compile(r"(?<![^\s<>\"(),;:@])[^\s<>\"(),;:@]++@[^\s<>\"(),;:@]++")

# The named charsets of the standard library. Not among them are the codecs whose cost a hostile message could
# choose (punycode, idna) or that are no charset (unicode_escape); mbcs means another thing on each Windows.
_CHARSETS = {normalize_encoding(name).lower() for pair in aliases.items() for name in pair} - {
    "mbcs",
    "ansi",
    "dbcs",
}
# Mail says the small set and means the large one that contains it.
_MEANT = {"gb2312": "gb18030", "gbk": "gb18030", "cp936": "gb18030", "ms936": "gb18030"}


@frozen
class Fingerprint:
    """``value``: 16 octets. ``message_id``: the Message-ID without whitespace, ``None`` where there is none."""

    value: bytes
    message_id: bytes | None


def fingerprint(octets: bytes) -> Fingerprint:
    """Hash the normalised Message-ID, Date, From and Subject of a header or a whole message.

    Any line ends are taken; the first field of a name counts; a missing field is as good as an empty one.
    Unfolded, RFC 2047 decoded, in one case, without whitespace; a date as an instant, From as its addresses.
    """
    found: dict[bytes, bytes] = {}
    for match in _FIELD.finditer(b"\n" + header(octets)[0]):
        found.setdefault(match[1].lower(), match[2].replace(b"\0", b""))
    message_id = b"".join(found.get(b"message-id", b"").split())
    fields = (
        message_id,
        _date(found.get(b"date", b"")),
        _addresses(text(found.get(b"from", b""))).encode("utf-8", "surrogatepass"),
        _plain(text(found.get(b"subject", b""))).encode("utf-8", "surrogatepass"),
    )
    hashed = hashlib.blake2b(digest_size=16)
    for field in fields:
        hashed.update(len(field).to_bytes(8, "big") + field)
    return Fingerprint(hashed.digest(), message_id or None)


def header(octets: bytes) -> tuple[bytes, int]:
    """Find where the first blank line ends the header: its octets with LF line ends, and the offset of the body.

    A lone CR is a line end only where the header has no LF at all: within a line, servers take it for content.
    """
    by_lf = octets.find(b"\n", 0, MAX_HEADER) >= 0
    if blank := (_BLANK_FIRST if by_lf else _BLANK_FIRST_CR).match(octets):
        return b"", blank.end()
    end = (_BLANK_LINE if by_lf else _BLANK_LINE_CR).search(octets, 0, MAX_HEADER)
    head, body = (octets[: end.start()], end.end()) if end else (octets[:MAX_HEADER], MAX_HEADER)
    if not by_lf:
        return head.replace(b"\r", b"\n"), body
    return _crlf_to_lf(head.rstrip(b"\r")), body


def with_lf(octets: bytes) -> bytes:
    """Write every line end as LF: CRLF, a lone CR, a lone LF, and CRs before an LF, of which servers drop some."""
    return _crlf_to_lf(octets).replace(b"\r", b"\n")


def _crlf_to_lf(octets: bytes) -> bytes:
    if b"\r\r\n" in octets:
        return _LINE_END.sub(b"\n", octets)
    return octets.replace(b"\r\n", b"\n")


def text(value: bytes) -> str:
    """Decode a field's value: encoded words (RFC 2047), else UTF-8, else Latin-1; never raises."""
    if b"=?" not in value:
        return decoded(value, "utf-8")
    parts: list[str] = []
    run: list[bytes] = []
    charset, position = "", 0
    for word in _ENCODED_WORD.finditer(value):
        between = value[position : word.start()]
        name = word[1].decode("ascii").lower()
        if between.strip() or not run or name != charset:
            # Software cuts characters in two; so neighbours of one charset are decoded together.
            parts.append(decoded(b"".join(run), charset))
            parts.append(decoded(between, "utf-8") if between.strip() or not run else "")
            run = []
        charset, position = name, word.end()
        run.append(base64(word[3]) if word[2] in b"Bb" else binascii.a2b_qp(word[3], header=True))
    parts.append(decoded(b"".join(run), charset))
    parts.append(decoded(value[position:], "utf-8"))
    return "".join(parts)


def decoded(octets: bytes, charset: str) -> str:
    """Decode by a charset as mail names it; what it cannot be is read as Latin-1, so that nothing is lost."""
    codec = _codec(charset.strip()[:100])  # no name is longer, and no long one is to be remembered
    if codec is not None:
        try:
            return octets.decode(codec)
        except (UnicodeError, LookupError):
            return octets.decode("latin-1")
    return octets.decode("latin-1")


@lru_cache(maxsize=256)
def _codec(charset: str) -> str | None:
    name = normalize_encoding(charset.lower())
    return _MEANT.get(name, name) if name in _CHARSETS else None


def base64(octets: bytes, begin: int = 0, end: int | None = None) -> bytes:
    """Decode the base64 in a range as far as it can be; whatever is not of its alphabet is passed over."""
    end = len(octets) if end is None else end
    kept = bytearray()
    for place in range(begin, end, _PIECE):  # a large attachment is not copied as a whole
        kept += octets[place : min(place + _PIECE, end)].translate(None, _NOT_BASE64)
    if len(kept) % 4 == 1:
        del kept[-1]
    kept += b"=" * (-len(kept) % 4)
    return binascii.a2b_base64(kept)


def _plain(value: str) -> str:
    # Common software loses or doubles a space where it cuts a long subject into encoded words.
    return "".join(value.split()).casefold()


def _addresses(value: str) -> str:
    """Leave out the display names, which servers quote, encode and drop as they like."""
    return " ".join(_ADDRESS.findall(value)).casefold() or _plain(value)


def _date(value: bytes) -> bytes:
    plain = b" ".join(value.split())
    try:
        parsed = parsedate_tz(plain[:200].decode("latin-1"))
        if parsed is not None:
            return str(calendar.timegm((*parsed[:6], 0, 1, 0)) - (parsed[9] or 0)).encode("ascii")
    except (ValueError, OverflowError, IndexError, TypeError):
        return plain.lower()
    return plain.lower()
