"""How the command line shows things: numbers for people, tables and lines that nothing untrusted can bend, JSON."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from alimail_core.text import printable
from alimail_core.units import count_text as count_text
from alimail_core.units import duration_text as duration_text
from alimail_core.units import octets_text as octets_text

if TYPE_CHECKING:
    from alimail_core.errors import Remark
    from alimail_core.model import FolderPath
    from alimail_core.seam import Clock

T = TypeVar("T")

STATE_WORDS = {
    "done": "all there",
    "problems": "done, with problems",
    "trial": "tried; the rest is to come",
    "stopped": "stopped",
    "disabled": "disabled",
    "failed": "FAILED",
    "pending": "WAITS for its password",
}
"""The words for how a pass ended."""

NARROWEST = 10
"""Cells that a cut text keeps."""

MANY = 20
"""Beyond so many accounts a table of a run has only those that need a look, and `status` sums their states up."""

NAMED = 5
"""So many accounts are named that share a reason; the table has all."""

EVERY = 5.0
"""Seconds between two lines that tell how far it has come, where not each step has one."""

MARKS = {"ok": "ok", "note": "note", "warning": "warning", "fault": "FAULT"}
"""The words for a remark's level, so that no meaning hangs on colour."""


def path_text(path: FolderPath) -> str:
    """Return a folder's name for a person, safe to show."""
    return " / ".join(printable(part) for part in path)


def is_dumb(stream: TextIO) -> bool:
    """Tell whether to write plain lines: no terminal, a dumb one, or a wish by ``NO_COLOR`` (no-color.org)."""
    return not stream.isatty() or os.environ.get("TERM") == "dumb" or bool(os.environ.get("NO_COLOR"))


def prepare_streams() -> None:
    """Let output go nowhere that was closed, and write as an escape what its encoding cannot say.

    A file that is opened later would else take the closed one's place, and get what is meant for people.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - it stays open as long as the process
        elif name == "stdout" and isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="backslashreplace")


def say(*lines: str, stream: TextIO | None = None) -> None:
    """Write lines to standard output, each made safe to show."""
    for line in lines:
        print(printable(line), file=stream or sys.stdout)


def complain(*lines: str) -> None:
    """Write lines to standard error, each made safe to show."""
    for line in lines:
        tell(printable(line), sys.stderr)


def tell(line: str, stream: TextIO) -> None:
    """Write a line, safe to show already, of which nothing depends: where it cannot be written, all goes on."""
    try:
        print(line, file=stream, flush=True)
    except OSError:
        give_up(stream)


def give_up(stream: TextIO) -> None:
    """Let whatever is still written there go nowhere: nobody reads it any more, or its disk is full."""
    with suppress(OSError):  # it has no file beneath
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def write_json(value: object) -> None:
    """Write one JSON document: ASCII only, so that no terminal acts upon what it holds."""
    print(json.dumps(value, indent=2, ensure_ascii=True))


def table(headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table to standard output, numbers to the right; on a terminal no wider than that is."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    print(*table_lines(headings, rows, width), sep="\n")


def table_lines(
    headings: Sequence[str], rows: Iterable[Sequence[object]], width: int | None = None
) -> Iterator[str]:
    """Lay out a table with widths as a terminal counts them (a Chinese character takes two cells).

    Where it would be wider than ``width``, the widest texts are cut, and numbers never.
    """
    columns = [list(map(_cell, column)) for column in zip(headings, *rows, strict=True)]
    right = {n for n, column in enumerate(columns) if any(map(_is_number, column[1:]))}
    widths = _fitted([max(map(_width, column)) for column in columns], right, width)
    laid_out = ([_fill(text, widths[n], n in right) for text in column] for n, column in enumerate(columns))
    for row in zip(*laid_out, strict=True):
        yield "  ".join(row).rstrip()


def _width(text: str) -> int:
    """Count a text's cells."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _fill(text: str, width: int, right: bool) -> str:
    """Bring a text to so many cells."""
    gap = width - _width(text)
    if gap >= 0:
        return " " * gap + text if right else text + " " * gap
    from rich.cells import set_cell_size

    return f"{set_cell_size(text, width - 1)}…"


def _fitted(widths: list[int], right: set[int], width: int | None) -> list[int]:
    """Take cells from the widest columns of text until all fit, or none can give any more."""
    room = sys.maxsize if width is None else width - 2 * (len(widths) - 1)
    texts = [n for n in range(len(widths)) if n not in right]
    while sum(widths) > room and texts:
        widest = max(texts, key=widths.__getitem__)
        if widths[widest] <= NARROWEST:
            break
        widths[widest] -= 1
    return widths


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else printable(str(value))


def _is_number(text: str) -> bool:
    return bool(text) and text.replace(",", "").isdigit()


def remark_lines(remark: Remark) -> Iterator[str]:
    """Give a remark as lines: its level and text, then what to do."""
    yield f"  {MARKS.get(remark.level, remark.level)}: {remark.text}"
    if remark.remedy:
        yield f"    -> {remark.remedy}"


def reason_lines(accounts: Iterable[tuple[str, str, str]]) -> Iterator[str]:
    """Give why accounts are as they are and what to do: of each its name, reason and remedy.

    A reason that holds for several is told once: a server that is down would else fill the screen.
    """
    alike: dict[tuple[str, str], list[str]] = {}
    for name, reason, remedy in accounts:
        if reason:
            alike.setdefault((reason, remedy), []).append(name)
    for (reason, remedy), names in alike.items():
        yield f"{names_text(names)}: {reason}"
        if remedy:
            yield f"  -> {remedy}"


def names_text(names: Sequence[str]) -> str:
    """Name some accounts of many."""
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"


def counted(things: Iterable[T], total: int, noun: str, clock: Clock) -> Iterator[T]:
    """Give the things, and on a terminal say now and then how many there were: thousands take minutes."""
    told = clock.monotonic()
    for number, thing in enumerate(things, 1):
        if sys.stderr.isatty() and clock.monotonic() - told >= EVERY:
            told = clock.monotonic()
            complain(f"{number:,} of {count_text(total, noun)} looked at")
        yield thing


def plain(value: Any) -> Any:
    """Turn the library's plain data (attrs, tuples, paths, enumerations, octets) into what JSON can hold."""
    import enum
    from datetime import datetime
    from pathlib import PurePath

    import attrs

    if attrs.has(type(value)):
        return {
            each.name: plain(getattr(value, each.name)) for each in attrs.fields(type(value)) if each.repr
        }
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(each) for each in value]
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    return value.hex() if isinstance(value, bytes) else str(value) if isinstance(value, PurePath) else value
