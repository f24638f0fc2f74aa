"""``alimail roster``: a spreadsheet to fill in."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from alimail_core.cli import options
from alimail_core.cli.output import say


class Action(enum.StrEnum):
    """What to do with a roster."""

    TEMPLATE = "template"


class Kind(enum.StrEnum):
    """What a roster lists."""

    MIGRATION = "migration"
    EMPLOYEES = "employees"
    GROUPS = "groups"


def roster(
    action: Annotated[Action, typer.Argument(help="Write an empty one.")],
    kind: Annotated[
        Kind, typer.Argument(help="What it lists: mailbox pairs for a migration, employees, or mail groups.")
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Where to: NAME.xlsx or NAME.csv.")
    ],
    language: options.InLanguage = options.Language.EN,
) -> int:
    """Write a spreadsheet to fill in: headings, notes and an example. Only you can read it; nothing is overwritten.

    Headings of both languages are read, in any order. Rows that begin with # are notes.

    \b
    Examples:
      alimail roster template migration -o accounts.xlsx
      alimail roster template employees -o employees.xlsx --language zh
      alimail roster template groups -o groups.csv
    """
    from alimail_core.sheets.templates import write_template

    write_template(output, language.value, kind.value)
    say(f"written: {output}", f"Next: fill it in, {NEXT[kind]}")
    return 0


NEXT = {
    Kind.MIGRATION: 'and name it in the configuration: roster = "FILE".',
    Kind.EMPLOYEES: "then `alimail provision plan --employees FILE`.",
    Kind.GROUPS: "then `alimail provision plan --employees FILE --groups FILE`.",
}
