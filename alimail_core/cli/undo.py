"""``alimail undo``: take out of the target what the migration has written there."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from alimail_core.cli import options
from alimail_core.cli.carry import ask_secrets
from alimail_core.cli.frame import Frame
from alimail_core.cli.output import count_text, octets_text, path_text, say, table
from alimail_core.errors import InputError
from alimail_core.text import printable

if TYPE_CHECKING:
    from alimail_core.spec import AccountSpec, MigrationSpec
    from alimail_core.undo import Undone


def undo(
    context: typer.Context,
    account: Annotated[
        str, typer.Option("--account", metavar="ADDRESS", help="The account, by either of its addresses.")
    ],
    config: options.Config = options.CONFIG,
    folder: Annotated[
        str, typer.Option(metavar="PATH", help="Only this folder of the target, such as Work/2019.")
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would be removed, and what would stay and why.")
    ] = False,
    yes: options.Yes = False,
) -> int:
    """Take one account's copies out of the target again: those that alimail wrote and nobody has touched since.

    What was there before, what others brought or worked with, and what the source has no more always stays; so do
    the folders, also where they are empty then. The account is disabled, and its messages wait again: `alimail
    enable` and `alimail migrate` carry them anew, what was in emptied folders to where [folders] says by then. It
    first shows the counts and asks. Interrupted, run it again.

    \b
    Examples:
      alimail undo --account anna@old.example --dry-run
      alimail undo --account anna@old.example --folder Work/2019
      alimail undo --account anna@new.example --yes
    """
    frame = Frame.of(context)
    spec = frame.load(config)
    chosen = _chosen(spec, account)
    ask_secrets([chosen])
    with frame.migration(spec) as migration:
        if dry_run or not yes:
            planned = migration.undo(chosen, folder, dry_run=True)
            _show(planned)
            if dry_run:
                return 0
            _confirm(planned)
        done = migration.undo(chosen, folder)
    _show(done)
    say("The account is disabled; `alimail enable` and `alimail migrate` carry its messages again.")
    return 0


def _chosen(spec: MigrationSpec, name: str) -> AccountSpec:
    from alimail_core import choice

    pairs = choice.keep(spec, lambda each: str(each) == name).accounts
    found = pairs or choice.only(spec, [name], "--account").accounts
    if len(found) > 1:
        told = ", ".join(f'"{printable(str(each))}"' for each in found)
        raise InputError(f"{printable(name)} belongs to several accounts", remedy=f"Name one of them: {told}")
    return found[0]


def _confirm(planned: Undone) -> None:
    if not sys.stdin.isatty():
        raise InputError("undo asks before it removes anything", remedy="Without a terminal, say --yes.")
    text = f"Remove {count_text(planned.removed, 'message')} from {planned.target_address}?"
    if not planned.removed:
        text = "There is nothing to remove. Let go of the places of its folders that are empty there?"
    if not typer.confirm(text, default=False):
        say("Nothing was removed.")
        raise typer.Exit(1)


def _show(undone: Undone) -> None:
    rows = [
        (path_text(each.path), each.removed, octets_text(each.octets), sum(each.kept.values()))
        for each in undone.folders
    ]
    table(("Folder", "To remove" if undone.dry_run else "Removed", "Octets", "Stay"), rows)
    for each in undone.folders:
        say(*(f"{path_text(each.path)}: {count:,} {reason}" for reason, count in each.kept.items()))
    would = "would be removed" if undone.dry_run else "removed"
    say(f"{undone.source_address}: {count_text(undone.removed, 'message')} {would}; folders stay")
