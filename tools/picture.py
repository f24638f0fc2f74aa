"""Make ``docs/picture.svg``: a real run on a real terminal, as it looks on its way and at its end.

``python -m tools.picture`` starts the demo's servers, runs ``alimail migrate`` and ``alimail verify --full`` in a
pseudo-terminal, and draws their screens with rich. Nothing in the picture is fetched when somebody looks at it.
"""

from __future__ import annotations

import codecs
import fcntl
import io
import os
import pty
import random
import re
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from attrs import Factory, define
from rich.console import Console
from rich.text import Text

from tools.demo.office import Writer, fill
from tools.demo.stage import Stage, environment, on_stage

PICTURE = Path(__file__).parents[1] / "docs" / "picture.svg"
COLUMNS, ROWS = 112, 40
SCALE = 12
ROUND_TRIP = 0.03
"""Seconds to the target and back: about as far as a server in the same country."""

_CONTROL = re.compile(r"\x1b\[(\??[0-9;]*)([A-Za-z])|[\r\n]")
_UNFINISHED = re.compile(r"\x1b(?:\[[?0-9;]*)?\Z")
_FONTS = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)


@define
class Screen:
    """As much of a terminal as alimail needs: lines, carriage return, cursor up, erase line."""

    lines: list[str] = Factory(lambda: [""])
    row: int = 0
    rest: str = ""
    """The beginning of a control sequence whose end was not written yet."""

    def feed(self, text: str) -> None:
        """Show what a program wrote. Raises ``ValueError`` for a control sequence that is not known here."""
        text = self.rest + text
        unfinished = _UNFINISHED.search(text)
        self.rest = unfinished[0] if unfinished else ""
        text, at = text.removesuffix(self.rest), 0
        for match in _CONTROL.finditer(text):
            self.lines[self.row] += text[at : match.start()]
            at = match.end()
            self._obey(match[0], match[1] or "", match[2])
        self.lines[self.row] += text[at:]

    def _obey(self, sequence: str, argument: str, kind: str | None) -> None:
        if sequence == "\n":
            self.row += 1
            self.lines += [""] * (self.row + 1 - len(self.lines))
        elif kind == "A":
            self.row -= int(argument or 1)
        elif kind == "K":
            self.lines[self.row] = ""
        elif sequence != "\r" and argument != "?25" and kind != "m":
            raise ValueError(f"a control sequence that this screen does not know: {sequence!r}")


def watch(stage: Stage, *command: str) -> Iterator[list[str]]:
    """Run a command in a pseudo-terminal; give its screen each time something was written."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    wishes = {name: value for name, value in environment().items() if name != "NO_COLOR"}
    wishes["TERM"] = "xterm"
    with open(ours, "rb", buffering=0) as reader:
        process = subprocess.Popen(
            command, cwd=stage.folder, env=wishes, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
        )
        os.close(theirs)
        screen = Screen()
        for text in _texts(reader):
            screen.feed(text)
            yield list(screen.lines)
    if process.wait():
        raise RuntimeError("\n".join(screen.lines))


def _texts(reader: io.FileIO) -> Iterator[str]:
    """Read what is written until the program has closed its terminal."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    while True:
        try:
            yield decoder.decode(reader.read(65_536))
        except OSError:  # EIO: how Linux says that nobody has the terminal open any more
            return


def halfway(screens: Sequence[list[str]]) -> list[str]:
    """Return the live lines of the middle of a run: those that tell how long it will take yet."""
    live = [screen for screen in screens if screen[-1].endswith(" left")]
    return [line for line in live[len(live) // 2] if re.search(r"\d+/\d|\d of [\d,]+\+? messages", line)]


def draw(parts: Sequence[tuple[str, Sequence[str]]]) -> str:
    """Draw commands with what they wrote, as SVG."""
    console = Console(
        record=True, width=COLUMNS, file=io.StringIO(), highlight=False, markup=False, emoji=False
    )
    for command, lines in parts:
        if command:
            console.print(Text.assemble(("$ ", "bold green"), (command, "bold")))
        for line in lines:
            console.print(Text(line, style="dim" if line == "..." else "", no_wrap=True))
        console.print()
    return _FONTS.sub("", console.export_svg(title="alimail", unique_id="alimail"))


def main() -> int:
    """Make the picture."""
    with tempfile.TemporaryDirectory() as place, on_stage(Path(place), round_trip=ROUND_TRIP) as stage:
        fill(stage.source, Writer(random.Random(1), datetime.now(UTC).replace(microsecond=0)), SCALE)
        stage.run("alimail", "init", "--yes", "--name", "Harbour", "--source-host", "127.0.0.1",
                  "--target-host", "127.0.0.1")  # fmt: skip
        stage.fill_in()
        moved = list(watch(stage, "alimail", "migrate", "--yes"))
        verified = list(watch(stage, "alimail", "verify", "--full"))
    table = next(at for at, line in enumerate(moved[-1]) if line.startswith("Account "))
    answer = next(at for at, line in enumerate(verified[-1]) if line.startswith("All there"))
    parts = [
        ("alimail migrate --yes", [*halfway(moved), "", "..."]),
        ("", moved[-1][table:-2]),
        ("alimail verify --full", verified[-1][answer : answer + 7]),
    ]
    PICTURE.write_text(draw(parts), "utf-8")
    print(f"{PICTURE}: {PICTURE.stat().st_size:,} octets")
    return 0


if __name__ == "__main__":
    sys.exit(main())
