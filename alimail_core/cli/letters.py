"""``alimail letters``: ask people for the passwords that are missing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from alimail_core.cli import options
from alimail_core.cli.carry import matching
from alimail_core.cli.frame import Frame
from alimail_core.cli.output import count_text, say


def letters(
    context: typer.Context,
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FOLDER", help="Where the texts go, one file a person.")
    ],
    config: options.Config = options.CONFIG,
    search: options.Search = "",
    only: options.Only = None,
    wave: options.Wave = None,
    language: options.InLanguage = options.Language.EN,
    give_to: Annotated[
        str, typer.Option(metavar="TEXT", help="Who takes the passwords. Default: your mail administrator.")
    ] = "",
) -> int:
    """Write a text for each person whose password is missing, or was refused when their account last ran.

    It says which password is needed, how one for mail programs is made, and whom to give it to. It holds no secret,
    and nothing is sent. `alimail status --pending` lists the same accounts.

    \b
    Examples:
      alimail letters -o letters
      alimail letters -o letters --language zh --give-to "Ms Li, room 12"
      alimail letters -o letters-1 --wave 1
    """
    from alimail_core import choice
    from alimail_core.letters import write_letters

    frame = Frame.of(context)
    spec = choice.some(frame.load(config), only, wave)
    with frame.migration(spec) as migration:
        rows = migration.status(search)
    waiting = {(row.source_address, row.target_address) for row in rows if row.state == "pending"}
    asked = [each for each in matching(spec, search) if (each.source_address, each.target_address) in waiting]
    if not asked:
        say("Nobody has to be asked: no password is missing, and none was refused.")
        return 0
    written = write_letters(asked, output, language.value, give_to)
    say(f"written: {count_text(len(written), 'letter')} to {output}", *(f"  {path.name}" for path in written))
    return 0
