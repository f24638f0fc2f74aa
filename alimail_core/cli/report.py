"""``alimail report``: what was moved, what was not and why, written down."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from alimail_core.cli import options
from alimail_core.cli.carry import nobody
from alimail_core.cli.frame import Frame
from alimail_core.cli.output import plain, say, write_json


def report(
    context: typer.Context,
    config: options.Config = options.CONFIG,
    search: options.Search = "",
    only: options.Only = None,
    wave: options.Wave = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            metavar="PATH",
            help="Where the files go. Default: `report_folder` of the configuration, or beside the ledger.",
            show_default=False,
        ),
    ] = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of `report.json`, and write nothing.")
    ] = False,
    json: options.Json = False,
) -> int:
    """Write the report's files from the ledger and the last proof, and tell where they are. No server is asked.

    \b
    Examples:
      alimail report
      alimail verify --full; alimail report
      alimail report --folder sales --search @sales.example
      alimail report --folder wave-1 --wave 1
      alimail report --schema > report.schema.json

    \b
    JSON: {files: [text]}
    """
    if schema:
        from alimail_core.report.files import schema_text

        say(*schema_text().splitlines())
        return 0
    from alimail_core import choice

    frame = Frame.of(context)
    with frame.migration(choice.some(frame.load(config), only, wave)) as migration:
        if search and not migration.status(search):
            raise nobody(search)  # rather than write an empty report over a full one
        paths = migration.report(folder=folder, search=search)
    if json:
        write_json({"files": plain(paths)})
    else:
        say("The report:", *(f"  {path}" for path in paths))
    return 0
