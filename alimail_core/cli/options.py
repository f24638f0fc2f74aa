"""The options that several verbs share, each spelt once."""

from __future__ import annotations

import enum
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

CONFIG = Path("alimail.toml")


class Language(enum.StrEnum):
    """The languages that people are written to in."""

    EN = "en"
    ZH = "zh"


Config = Annotated[
    Path, typer.Option("--config", "-c", metavar="FILE", help="The configuration of the migration.")
]
Search = Annotated[
    str, typer.Option(metavar="TEXT", help="Only accounts with this text in one of their two addresses.")
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only", metavar="ADDRESS", help="Only the account with exactly this address; may be repeated."
    ),
]
Wave = Annotated[
    int | None,
    typer.Option("--wave", metavar="N", help="Only accounts with this number in the roster's column wave."),
]
Json = Annotated[
    bool, typer.Option("--json", help="Write one JSON document, for programs; its keys are told above.")
]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="Show no progress and no table; the exit code and errors tell.")
]
Plain = Annotated[
    bool, typer.Option("--plain", help="Show progress as lines that stay, as it is done off a terminal.")
]
Log = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Append what happens to this file, as JSON lines.")
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")]
InLanguage = Annotated[
    Language, typer.Option("--language", help="The language of what is written for people.")
]
SecretReference = Annotated[
    str | None,
    typer.Option(
        metavar="REF",
        help="Where the password is: env:NAME, file:PATH, keyring:SERVICE/USER, command:PROGRAM ARGS, or prompt "
        "(the default on a terminal).",
        show_default=False,
    ),
]


def said(config: Path, search: str, only: Iterable[str], wave: int | None) -> str:
    """Return the words that said which migration, and which of its accounts; each verb takes them."""
    words = [] if config == CONFIG else ["-c", str(config)]
    words += [f"--search={search}"] if search else []
    words += [f"--only={address}" for address in only]
    words += [] if wave is None else [f"--wave={wave}"]
    return "".join(f" {shlex.quote(word)}" for word in words)
