"""Read a configuration's file as TOML, with the line of each key; what cannot be read is told with its line."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Final

from alimail_core.config.toml_lines import locate
from alimail_core.errors import Fault, InputError
from alimail_core.structure import KeyPath
from alimail_core.text import printable

MAX_OCTETS: Final = 16 * 1024 * 1024


_KEY_TWICE: Final = ("a key is given that was given above", "leave one of the two out")
_TABLE_TWICE: Final = (
    "a table is begun that was begun above",
    "put the keys of both into one table; only [[account]] may be repeated",
)
_BACKSLASH: Final = (
    "a \\ in text is the beginning of a code",
    "write it twice, or put the text in single quotes, as in 'C:\\roster.csv'",
)
_SENTENCES: Final = {
    "Cannot overwrite a value": _KEY_TWICE,
    "Duplicate inline table key": _KEY_TWICE,
    "Cannot mutate immutable namespace": _KEY_TWICE,
    "Cannot declare": _TABLE_TWICE,
    "Cannot redefine namespace": _TABLE_TWICE,
    "Expected '='": ("there is no = after a key", 'write it as in host = "mail.old.example"'),
    "Illegal character '\\n'": ("a quotation mark is not closed", "close it in the same line"),
    "Invalid hex value": _BACKSLASH,
    "Unescaped '\\'": _BACKSLASH,
}
"""What tomllib says (by the beginning), in words of our own, and what to do."""
_CURLY: Final = re.compile("[“”„‟‘’‚‛«»「」＂＇]")
_HOW_CURLY: Final = ("a quotation mark is not the plain one", 'write " (type it with an English keyboard)')

HOW_TO_WRITE: Final = (
    'text stands in quotes ("25MB"), numbers, true, false and days (2024-01-31) do not; a line that begins with # is '
    "not read; https://toml.io tells the rest"
)


def read_text(path: Path) -> str:
    """Return a configuration's text. Raises ``InputError``."""
    name = printable(str(path))
    try:
        with path.open("rb") as file:
            octets = file.read(MAX_OCTETS + 1)
    except OSError as error:
        raise InputError(
            f"{name} cannot be read: {error.strerror}", remedy="`alimail init` writes one"
        ) from None
    if len(octets) > MAX_OCTETS:
        raise _single(name, f"has more than {MAX_OCTETS} octets", "list the accounts in a roster")
    try:
        return octets.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        raise _single(f"{name}:{line}", "is not UTF-8", "save the file as UTF-8") from None


def _single(where: str, message: str, remedy: str) -> InputError:
    return InputError("the configuration cannot be read", [Fault(where, message, remedy)])


def parse(text: str, name: str) -> tuple[dict[str, Any], dict[KeyPath, int]]:
    """Return the document and where each of its keys stands. Raises ``InputError`` for a text that is no TOML."""
    try:
        return tomllib.loads(text), locate(text.replace("\r\n", "\n"))
    except tomllib.TOMLDecodeError as error:
        message, remedy, line = _syntax(str(error), text)
        raise _single(f"{name}:{line}", message, remedy) from None
    except RecursionError:
        raise _single(name, "values are nested too deep", "") from None
    except ValueError:  # a number with more digits than Python converts
        raise _single(name, "a number in it is too long", "") from None


def _syntax(message: str, text: str) -> tuple[str, str, int]:
    """Return what is wrong, what to do, and the line, which tomllib tells as "(at line 3, column 5)", if it does."""
    match = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", message)
    line = int(match.group(1)) if match and match.group(1) else text.count("\n") + 1
    column = int(match.group(2)) if match and match.group(2) else 1
    if _CURLY.match(text.split("\n")[line - 1][column - 1 :]):
        return *_HOW_CURLY, line
    if told := next((told for begin, told in _SENTENCES.items() if message.startswith(begin)), None):
        return *told, line
    # What it quotes of the file may be any character, and is cut off: a line may hold a secret put there by mistake.
    sentence = re.sub(r": .*| \(.*| '.*", "", message[: match.start()] if match else message)
    return printable(sentence).lower(), HOW_TO_WRITE, line
