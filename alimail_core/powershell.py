"""Write what PowerShell reads: values from outside as expressions that nothing in them can end.

PowerShell takes five characters for a single quotation mark (``'`` and U+2018 to U+201B), and a file holds more that
an eye does not see. So a value is spelt in letters, digits, spaces and ASCII punctuation, and everything else by its
number: what a name holds is data, in every encoding of the file and every version of PowerShell.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from itertools import groupby

__all__ = ["BOM", "file_octets", "listed", "quoted"]

BOM = "\ufeff"
"""Without it Windows PowerShell 5 and older take a file for one in the machine's old code page."""


def quoted(text: str) -> str:
    """Return an expression whose value is ``text``, in brackets where it is more than one piece.

    Characters beyond U+FFFF are given as the two halves that .NET keeps them in; lone halves stay what they are.
    """
    pieces = list(_pieces(text))
    return pieces[0] if len(pieces) == 1 else f"({' + '.join(pieces)})"


def listed(texts: Iterable[str]) -> str:
    """Return an expression whose value is an array of these texts."""
    return f"@({', '.join(quoted(text) for text in texts)})"


def file_octets(lines: Iterable[str]) -> bytes:
    """Return lines as a file that every Windows PowerShell reads: UTF-8 with a BOM, CRLF."""
    return (BOM + "".join(f"{line}\r\n" for line in lines)).encode()


def _pieces(text: str) -> Iterator[str]:
    """Give the parts of a concatenation; it begins with a string, so that ``+`` joins and never counts."""
    runs = [(plain, "".join(run)) for plain, run in groupby(text, _is_plain)]
    if not runs or not runs[0][0]:
        yield "''"
    for plain, run in runs:
        if plain:
            yield "'{}'".format(run.replace("'", "''"))
        else:
            units = run.encode("utf-16-be", "surrogatepass")
            for high, low in zip(units[::2], units[1::2], strict=True):
                yield f"[char]0x{high:02X}{low:02X}"


def _is_plain(character: str) -> bool:
    """Tell whether a character may stand in the file as it is: visible ASCII, letters and digits of any script."""
    if character.isascii():
        return character.isprintable()
    return unicodedata.category(character) in ("Lu", "Ll", "Lt", "Lo", "Nd") and character <= "\uffff"
