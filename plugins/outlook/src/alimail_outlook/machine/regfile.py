"""What ``reg export`` writes, as values: keys and names without regard to case, as Windows takes them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from attrs import define, field, frozen

Datum = str | int | bytes | tuple[str, ...]

_HIVES: Final = {
    "HKEY_CURRENT_USER": "HKCU",
    "HKEY_LOCAL_MACHINE": "HKLM",
    "HKEY_CLASSES_ROOT": "HKCR",
}
_ITEM: Final = re.compile(
    r"""
      ^\[(?P<key>[^\r\n]+)\]\r?$
    | ^(?:@|"(?P<name>(?:[^"\\]|\\.)*)")=
      (?: "(?P<text>(?:[^"\\]|\\.)*)"
        | dword:(?P<number>[0-9a-f]{8})
        | hex(?:\((?P<type>[0-9a-f]+)\))?:(?P<octets>[0-9a-f,\\\s]*?)(?=\r?\n[^\s]|\r?\n\r?\n|\s*\Z) )
    """,
    re.VERBOSE | re.DOTALL | re.MULTILINE | re.IGNORECASE,
)


@frozen
class Value:
    """One value of a key: a text, number, octets, or several texts. ``name`` is empty for the key's own."""

    name: str
    datum: Datum

    @property
    def text(self) -> str:
        """Return it as a person reads it."""
        if isinstance(self.datum, bytes):
            # Outlook up to 2010 kept its texts so.
            return self.datum.decode("utf-16-le", "replace").rstrip("\0")
        return "; ".join(self.datum) if isinstance(self.datum, tuple) else str(self.datum)


@define
class Tree:
    """Keys by their name in small letters (``hkcu\\software\\…``): how it is written, and its values by name."""

    keys: dict[str, tuple[str, dict[str, Value]]] = field(factory=dict)

    def __contains__(self, key: str) -> bool:
        return key.lower() in self.keys

    def values(self, key: str) -> list[Value]:
        """Return a key's values; none where it is not there."""
        return list(self.keys.get(key.lower(), ("", {}))[1].values())

    def value(self, key: str, name: str = "") -> Value | None:
        """Return one value of a key, if it is there."""
        return self.keys.get(key.lower(), ("", {}))[1].get(name.lower())

    def text(self, key: str, name: str = "") -> str:
        """Return one value as text; empty where it is not there."""
        found = self.value(key, name)
        return found.text if found is not None else ""

    def children(self, key: str) -> list[str]:
        """Return the names of the keys right beneath one, as they are written."""
        start = key.lower() + "\\"
        found: dict[str, str] = {}
        for lower, (written, _) in self.keys.items():
            if lower.startswith(start):
                name = written[len(start) :].partition("\\")[0]
                found.setdefault(name.lower(), name)
        return list(found.values())

    def beneath(self, key: str) -> Iterator[str]:
        """Give every key beneath one, and itself, as they are written."""
        start = key.lower()
        for lower, (written, _) in self.keys.items():
            if lower == start or lower.startswith(start + "\\"):
                yield written


def parsed(text: str) -> Tree:
    """Read a file that ``reg export`` wrote."""
    tree = Tree()
    values: dict[str, Value] = {}
    for match in _ITEM.finditer(text):
        if match["key"] is not None:
            hive, backslash, rest = match["key"].partition("\\")
            key = _HIVES.get(hive, hive) + backslash + rest
            _, values = tree.keys.setdefault(key.lower(), (key, {}))
        else:
            name = _plain(match["name"] or "")
            values[name.lower()] = Value(name, _datum(match))
    return tree


def _datum(match: re.Match[str]) -> Datum:
    if match["text"] is not None:
        return _plain(match["text"])
    if match["number"] is not None:
        return int(match["number"], 16)
    octets = bytes.fromhex(re.sub(r"[^0-9a-fA-F]", "", match["octets"]))
    if match["type"] in ("1", "2"):  # a text, a text with %names%
        return octets.decode("utf-16-le", "replace").rstrip("\0")
    if match["type"] == "7":
        return tuple(filter(None, octets.decode("utf-16-le", "replace").split("\0")))
    return int.from_bytes(octets, "little") if match["type"] == "b" else octets


def _plain(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text, flags=re.DOTALL)
