"""``alimail enable`` and ``alimail disable``: which accounts may run, also while a run goes on elsewhere."""

from __future__ import annotations

from typing import Annotated

import typer

from alimail_core.cli import options
from alimail_core.cli.frame import Frame
from alimail_core.cli.output import complain, count_text, say
from alimail_core.errors import InputError

Who = Annotated[
    str,
    typer.Argument(
        metavar="TEXT", help="Accounts with this text in one of their two addresses; ALL for all."
    ),
]


def enable(context: typer.Context, text: Who, config: options.Config = options.CONFIG) -> int:
    """Let accounts run again that were disabled. It takes effect at the next `alimail migrate`.

    \b
    Examples:
      alimail enable anna@old.example
      alimail enable ALL
    """
    return _switch(context, text, config, on=True)


def disable(context: typer.Context, text: Who, config: options.Config = options.CONFIG) -> int:
    """Keep accounts from running. One that runs stops within seconds, between two batches, with nothing lost.

    \b
    Examples:
      alimail disable anna@old.example
      alimail disable @sales.example -c branch.toml
    """
    return _switch(context, text, config, on=False)


def _switch(context: typer.Context, text: str, config: options.Config, *, on: bool) -> int:
    frame = Frame.of(context)
    search = "" if text == "ALL" else text
    with frame.migration(frame.load(config)) as migration:
        names = migration.enable(search) if on else migration.disable(search)
    if not names:
        raise InputError(f"no account has {text!r} in its addresses", remedy="`alimail status` lists them.")
    say(*(f"{'enabled' if on else 'disabled'}: {name}" for name in names))
    complain(count_text(len(names), "account"))
    return 0
