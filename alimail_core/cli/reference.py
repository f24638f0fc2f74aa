"""The reference of the command line, made from its own help: ``python -m alimail_core.cli.reference FILE``."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

from alimail_core.cli import VERBS, main
from alimail_core.contract import Command
from alimail_core.registry import Registry

HEAD = """# The command line

Made from `--help` by `python -m alimail_core.cli.reference docs/reference/cli.md`; a test holds it current. The
verbs at the end come with plug-ins.
"""


def reference() -> str:
    """Return the help of every verb as Markdown, laid out the same whatever the terminal is."""
    verbs: list[tuple[str, ...]] = [(verb,) for verb in VERBS]
    for command in Registry.load().commands():
        verbs += _verbs(command)
    parts = [HEAD, f"## alimail\n\n{_help()}"]
    parts += [f"## alimail {' '.join(words)}\n\n{_help(*words)}" for words in verbs]
    return "\n".join(parts)


def _verbs(command: Command) -> Iterator[tuple[str, ...]]:
    """Give the words of a plug-in's verb, or of those within a group."""
    if not command.commands:
        yield (command.name,)
    for each in command.commands:
        yield from ((command.name, *words) for words in _verbs(each))


def _help(*words: str) -> str:
    text = io.StringIO()
    with mock.patch.dict(os.environ, {"COLUMNS": "110"}), contextlib.redirect_stdout(text):
        main([*words, "--help"])
    return f"```text\n{text.getvalue().rstrip()}\n```\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(reference(), "utf-8")
