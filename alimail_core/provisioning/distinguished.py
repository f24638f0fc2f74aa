"""Distinguished names (RFC 4514), as LDAP and Active Directory export them: departments from OUs, and who is meant.

``CN=Li\\, Anna,OU=West,OU=Sales,DC=corp,DC=example`` is Anna Li in Sales/West: a name tells the innermost first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, TypeAlias

from alimail_core.provisioning.directory import DepartmentPath, fold

Rdn: TypeAlias = tuple[str, str]
"""One part of a name: its type in capitals, and its value."""

LONGEST: Final = 4_096
"""Characters of one name that are read."""

_ESCAPED: Final = re.compile(r"((?:\\[0-9A-Fa-f]{2})+)|\\(.)", re.DOTALL)
_NAME: Final = re.compile(r"\s*(?:CN|UID|OU|DC|O)\s*=", re.IGNORECASE)
_BEGIN: Final = re.compile(r"[;|\r\n]\s*(?=(?:CN|UID|OU)\s*=)", re.IGNORECASE)


def is_name(text: str) -> bool:
    """Tell whether a text is meant as a distinguished name."""
    return _NAME.match(text) is not None


def parts(name: str) -> list[Rdn]:
    """Return the parts of a name, the innermost first; what is no part is left out."""
    found = []
    for part in _split(name[:LONGEST]):
        kind, equals, value = part.partition("=")
        if equals and kind.strip():
            found.append((kind.strip().upper(), _plain(value)))
    return found


def same_name(name: str) -> str:
    """Return what two spellings of one name have in common."""
    return ",".join(f"{kind}={fold(value)}" for kind, value in parts(name))


def department_of(name: str, base: str = "") -> DepartmentPath | None:
    """Return the OUs of a name from the outermost inwards; ``None`` for one that is not within ``base``.

    A slash in an OU's name becomes a hyphen, since it parts departments.
    """
    own, within = parts(name), parts(base)
    if within and [(kind, fold(value)) for kind, value in own[-len(within) :]] != [
        (kind, fold(value)) for kind, value in within
    ]:
        return None
    inner = own[: len(own) - len(within)]
    return tuple(value.replace("/", "-") for kind, value in reversed(inner) if kind == "OU" and value)


def names_of(text: str) -> Iterator[str]:
    """Give the names of a cell, which semicolons, bars or line ends separate: commas belong to the names."""
    for name in _BEGIN.split(text):
        if name.strip():
            yield name.strip()


def mail_addresses(text: str) -> str:
    """Return the mail addresses of a cell with ``proxyAddresses``, where each says what it is: ``smtp:a@b``."""
    kinds = re.findall(r"(?:^|[\s;,|])([A-Za-z0-9]+):", text)
    if not any(kind.casefold() == "smtp" for kind in kinds):
        return text
    words = re.split(r"[;|\s]+|,(?=\s*[A-Za-z0-9]+:)", text)
    return ";".join(word[5:] for word in words if word[:5].casefold() == "smtp:")


def _split(name: str) -> Iterator[str]:
    """Split at commas and plus signs that are neither escaped nor within quotation marks."""
    begin, at, quoted = 0, 0, False
    while at < len(name):
        if name[at] == "\\":
            at += 1
        elif name[at] == '"':
            quoted = not quoted
        elif name[at] in ",+" and not quoted:
            yield name[begin:at]
            begin = at + 1
        at += 1
    yield name[begin:]


def _plain(value: str) -> str:
    value = value.strip()
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = value[1:-1]

    def one(match: re.Match[str]) -> str:
        octets, character = match.groups()
        return bytes.fromhex(octets.replace("\\", "")).decode(errors="replace") if octets else character

    return _ESCAPED.sub(one, value)
