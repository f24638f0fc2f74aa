"""Names that a sink can take: a reversible spelling of characters that it cannot, and lengths on the wire.

A name that the sink can take is never changed. In any other, each character that cannot stand there becomes
``‛`` (U+201B) and its look-alike: ``/`` becomes ``‛／``, a tab ``‛␉``. What has no look-alike is written as its
code point between two ``‛``; ``‛`` itself is doubled; the empty name is ``‛∅``. ``restore_name`` reads it back.
"""

from __future__ import annotations

import binascii
import hashlib
import re
import unicodedata

from alimail_core.model import PathRules

ESCAPE = "\u201b"
"""Begins every spelling. A sink must be able to hold it, ``∅``, letters and digits."""

_EMPTY = ESCAPE + "\u2205"
_SPELT = re.compile(f"{ESCAPE}(?:([{ESCAPE}\u2205\u2400-\u2421\uff01-\uff5e])|([0-9A-F]{{1,6}}){ESCAPE})")
_DOTS = frozenset({".", ".."})
"""Whole names that mean something else to every server with a file system beneath it."""
_BIDI = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_NOT_ASCII = re.compile(r"[^\x20-\x7e]+|&")


def encode_name(name: str, rules: PathRules) -> str:
    """Spell one component so that the sink can take it, whatever its length; a name it can take is returned as is.

    Controls, line separators, lone surrogates and characters that turn the direction of text are spelt for
    every sink. Two names that the sink cannot take never get the same spelling.
    """
    if not name:
        return _EMPTY
    if (name.isascii() and name.isalnum()) or not unfit_characters(name, rules):
        return name
    last = len(name) - 1
    return "".join(
        _spell(char, rules)
        if char == ESCAPE or name in _DOTS or _is_unfit(char, rules, at in (0, last))
        else char
        for at, char in enumerate(name)
    )


def unfit_characters(name: str, rules: PathRules) -> list[str]:
    """List, once each and sorted, the characters for which a sink cannot take a name."""
    if name in _DOTS:
        return ["."]
    last = len(name) - 1
    return sorted({char for at, char in enumerate(name) if _is_unfit(char, rules, at in (0, last))})


def escape(text: str, rules: PathRules) -> str:
    """Spell the unfit characters of a text that stands inside a name."""
    return "".join(_spell(char, rules) if _is_unfit(char, rules, False) else char for char in text)


def restore_name(name: str) -> str:
    """Undo ``encode_name``. A name that was not changed comes back as it is, unless it looks like a spelling."""
    return _SPELT.sub(_unspell, name)


def _is_unfit(char: str, rules: PathRules, at_edge: bool) -> bool:
    if char.isascii() and char.isalnum():
        return False
    return (
        char == rules.delimiter
        or char in rules.forbidden
        or char in _BIDI
        or (at_edge and not rules.keep_spaces and (char == "." or char.isspace()))
        or unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp")
    )


def _spell(char: str, rules: PathRules) -> str:
    if char == ESCAPE:
        return ESCAPE + ESCAPE
    code = ord(char)
    alike = (
        chr(0xFEE0 + code) if 0x20 < code < 0x7F else chr(0x2400 + min(code, 0x21)) if code <= 0x7F else ""
    )
    if alike and alike != rules.delimiter and alike not in rules.forbidden:
        return ESCAPE + alike
    return f"{ESCAPE}{code:X}{ESCAPE}"


def _unspell(match: re.Match[str]) -> str:
    if match[2]:
        return chr(int(match[2], 16)) if int(match[2], 16) <= 0x10FFFF else match[0]
    char = match[1]
    if char in (ESCAPE, _EMPTY[1]):
        return char if char == ESCAPE else ""
    if char >= "\uff01":
        return chr(ord(char) - 0xFEE0)
    return "\x7f" if char == "\u2421" else chr(ord(char) - 0x2400)


def fit(name: str, rules: PathRules, tail: str = "") -> str:
    """Append ``tail``, and shorten the name before it where both are too long together.

    A shortened name ends in ``~`` and eight digits of its own hash, so that two long names stay two; what it
    was, only the ledger tells. ``max_octets`` below 64 cannot be kept in every case.
    """
    if _fits(name + tail, rules):
        return name + tail
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=4).hexdigest()
    tail = escape("~", rules) + digest + tail
    kept, over = 0, len(name)
    while over - kept > 1:
        middle = (kept + over) // 2
        kept, over = (middle, over) if _fits(name[:middle] + tail, rules) else (kept, middle)
    return name[:kept] + tail


def _fits(name: str, rules: PathRules) -> bool:
    return rules.max_octets is None or encoded_length(name, rules) <= rules.max_octets


def encoded_length(name: str, rules: PathRules) -> int:
    """Count the octets of a component as the sink's encoding writes it."""
    if rules.encoding == "utf-8":
        return len(name.encode("utf-8", "surrogatepass"))
    return len(encode_modified_utf7(name))


def encode_modified_utf7(name: str) -> bytes:
    """Write a name in the modified UTF-7 of RFC 9051 §A.1."""
    return _NOT_ASCII.sub(_shift, name).encode("ascii")


def _shift(match: re.Match[str]) -> str:
    if match[0] == "&":
        return "&-"
    octets = binascii.b2a_base64(match[0].encode("utf-16-be", "surrogatepass"), newline=False)
    return "&" + octets.decode("ascii").rstrip("=").replace("/", ",") + "-"
