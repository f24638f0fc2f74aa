"""Find the line of each key of a TOML document, which ``tomllib`` does not tell.

Works on text that ``tomllib`` has accepted, so it needs to know where things begin and end and nothing more.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Final

from attrs import frozen

from alimail_core.structure import KeyPath

_TOKEN: Final = re.compile(
    r"""(?P<skip>[ \t\r]+|\#[^\n]*)
      | (?P<end>\n)
      | (?P<long>\"\"\"(?:\\.|[^\\"]|"(?!""))*"{3,5}|'''(?:[^']|'(?!''))*'{3,5})
      | (?P<string>"(?:\\.|[^"\\\n])*"|'[^'\n]*')
      | (?P<mark>[\[\]{}=,.])
      | (?P<bare>[^\s\[\]{}=,."'\#]+)""",
    re.VERBOSE | re.DOTALL,
)


def locate(text: str) -> dict[KeyPath, int]:
    """Return the line, from 1, on which each table, key and array item begins; the first where there are several.

    ``text`` MUST be valid TOML. Raises ``RecursionError`` where values are nested too deep.
    """
    return _Scan(list(_tokens(text))).document()


def nearest(lines: dict[KeyPath, int], path: KeyPath) -> int:
    """Return the line of ``path``, or of the nearest thing around it; 1 where there is none."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)


@frozen
class _Token:
    kind: str
    text: str
    line: int


def _tokens(text: str) -> Iterator[_Token]:
    line = 1
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or ""
        if kind != "skip":
            yield _Token(kind, match.group(), line)
        line += match.group().count("\n")
    yield _Token("end", "", line)


class _Scan:
    """One walk over the tokens."""

    def __init__(self, tokens: list[_Token]) -> None:
        self.tokens = tokens
        self.at = 0
        self.lines: dict[KeyPath, int] = {}
        self.arrays: dict[KeyPath, int] = {}

    def document(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        while self.at < len(self.tokens):
            if self.tokens[self.at].kind == "end":
                self.at += 1
            elif self.tokens[self.at].text == "[":
                table = self.header()
            else:
                self.pair(table)
        return self.lines

    def header(self) -> KeyPath:
        line = self.tokens[self.at].line
        array = self.tokens[self.at + 1].text == "["
        self.at += 2 if array else 1
        path: KeyPath = ()
        keys = self.key()
        self.at += 2 if array else 1
        for key in keys[:-1]:
            path = self.current((*path, key), line)
        path = (*path, keys[-1])
        if array:
            self.lines.setdefault(path, line)
            self.arrays[path] = self.arrays.get(path, -1) + 1
        return self.current(path, line)

    def current(self, path: KeyPath, line: int) -> KeyPath:
        """Note the path; where it is an array of tables, step into its last table."""
        if path in self.arrays:
            path = (*path, self.arrays[path])
        self.lines.setdefault(path, line)
        return path

    def key(self) -> list[str]:
        keys = []
        while True:
            token = self.tokens[self.at]
            keys.append(tomllib.loads(f"key = {token.text}")["key"] if token.kind == "string" else token.text)
            self.at += 1
            if self.tokens[self.at].text != ".":
                return keys
            self.at += 1

    def pair(self, table: KeyPath) -> None:
        line = self.tokens[self.at].line
        for key in self.key():
            table = (*table, key)
            self.lines.setdefault(table, line)
        self.at += 1  # the equals sign
        self.value(table)

    def value(self, path: KeyPath) -> None:
        opening = self.tokens[self.at]
        if opening.kind == "mark" and opening.text in "[{":
            self.at += 1
            self.items(path, "]" if opening.text == "[" else "}")
            return
        while self.tokens[self.at].kind != "end" and self.tokens[self.at].text not in (",", "]", "}"):
            self.at += 1

    def items(self, path: KeyPath, closing: str) -> None:
        index = 0
        while self.tokens[self.at].text != closing:
            token = self.tokens[self.at]
            if token.kind == "end" or token.text == ",":
                self.at += 1
            elif closing == "}":
                self.pair(path)
            else:
                self.lines.setdefault((*path, index), token.line)
                self.value((*path, index))
                index += 1
        self.at += 1
