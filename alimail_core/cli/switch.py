"""``alimail enable`` and ``alimail disable``: which accounts may run, also while a run goes on elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from alimail_core.cli import options
from alimail_core.cli.carry import nobody
from alimail_core.cli.frame import Frame
from alimail_core.cli.output import complain, count_text, say
from alimail_core.errors import InputError

Who = Annotated[
    str | None,
    typer.Argument(
        metavar="TEXT", help="Accounts with this text in one of their two addresses; ALL for all."
    ),
]


def enable(
    context: typer.Context,
    text: Who = None,
    config: options.Config = options.CONFIG,
    only: options.Only = None,
    wave: options.Wave = None,
) -> int:
    """Let accounts run again that were disabled. It takes effect at the next `alimail migrate`.

    \b
    Examples:
      alimail enable anna@old.example
      alimail enable --wave 2
      alimail enable ALL
    """
    return _switch(context, text, config, only, wave, on=True)


def disable(
    context: typer.Context,
    text: Who = None,
    config: options.Config = options.CONFIG,
    only: options.Only = None,
    wave: options.Wave = None,
) -> int:
    """Keep accounts from running. One that runs stops within seconds, between two batches, with nothing lost.

    \b
    Examples:
      alimail disable anna@old.example
      alimail disable @sales.example -c branch.toml
      alimail disable --only ann@old.example --only bob@old.example
    """
    return _switch(context, text, config, only, wave, on=False)


def _switch(
    context: typer.Context,
    text: str | None,
    config: Path,
    only: Sequence[str] | None,
    wave: int | None,
    *,
    on: bool,
) -> int:
    from alimail_core import choice

    if text is None and not only and wave is None:
        raise InputError(
            "which accounts?", remedy="Say TEXT, --only ADDRESS or --wave N; ALL for all of them."
        )
    frame = Frame.of(context)
    search = "" if text is None or text == "ALL" else text
    with frame.migration(choice.some(frame.load(config), only, wave)) as migration:
        names = migration.enable(search) if on else migration.disable(search)
    if not names:
        raise nobody(search)
    say(*(f"{'enabled' if on else 'disabled'}: {name}" for name in names))
    complain(count_text(len(names), "account"))
    return 0
