"""``alimail enable`` and ``alimail disable``: which accounts may run, also while a run goes on elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from alimail_core.cli import options
from alimail_core.cli.carry import matching
from alimail_core.cli.frame import Frame
from alimail_core.cli.output import complain, count_text, say
from alimail_core.errors import InputError

ALL = "ALL"

Who = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="ADDRESS", help="Whole addresses, source or target, one or more; ALL for all accounts."
    ),
]


def enable(
    context: typer.Context,
    who: Who = None,
    config: options.Config = options.CONFIG,
    search: options.Search = "",
    only: options.Only = None,
    wave: options.Wave = None,
) -> int:
    """Let accounts run again that were disabled. It takes effect at the next `alimail migrate`.

    \b
    Examples:
      alimail enable anna@old.example bob@old.example
      alimail enable --wave 2
      alimail enable ALL
    """
    return _switch(context, config, [*(who or ()), *(only or ())], search, wave, on=True)


def disable(
    context: typer.Context,
    who: Who = None,
    config: options.Config = options.CONFIG,
    search: options.Search = "",
    only: options.Only = None,
    wave: options.Wave = None,
) -> int:
    """Keep accounts from running. One that runs stops within seconds, between two batches, with nothing lost.

    Each account is named. It is no fault of a run that some are disabled: its exit code is that of the others.

    \b
    Examples:
      alimail disable anna@old.example bob@old.example
      alimail disable --search @sales.example -c branch.toml
      alimail disable ALL
    """
    return _switch(context, config, [*(who or ()), *(only or ())], search, wave, on=False)


def _switch(
    context: typer.Context, config: Path, addresses: Sequence[str], search: str, wave: int | None, *, on: bool
) -> int:
    from alimail_core import choice

    if not addresses and not search and wave is None:
        remedy = "Say ADDRESS, --search TEXT or --wave N; ALL for all of them."
        raise InputError("which accounts?", remedy=remedy)
    if ALL in addresses and len(addresses) > 1:
        raise InputError(f"{ALL} and addresses are said together", remedy="Say one of them.")
    frame = Frame.of(context)
    spec = choice.only(frame.load(config), [each for each in addresses if each != ALL], "ADDRESS")
    spec = choice.some(spec, None, wave)
    matching(spec, search)  # refuses a text that nobody has
    with frame.migration(spec) as migration:
        names = migration.enable(search) if on else migration.disable(search)
    say(*(f"{'enabled' if on else 'disabled'}: {name}" for name in names))
    complain(count_text(len(names), "account"))
    return 0
