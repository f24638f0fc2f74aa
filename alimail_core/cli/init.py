"""``alimail init``: a commented configuration, and a roster to fill in."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from alimail_core.cli import options
from alimail_core.cli.frame import Frame
from alimail_core.cli.output import say
from alimail_core.errors import InputError

if TYPE_CHECKING:
    from alimail_core.registry import Registry

Table = dict[str, object]


def _given(help: str) -> typer.models.OptionInfo:
    return cast(typer.models.OptionInfo, typer.Option(metavar="TEXT", help=help, show_default=False))


def init(
    context: typer.Context,
    config: options.Config = options.CONFIG,
    name: Annotated[str | None, _given("What the migration is called.")] = None,
    source_kind: Annotated[str | None, _given("The plug-in for where the mail is. Default: imap.")] = None,
    source_host: Annotated[str | None, _given("The old server's name.")] = None,
    target_kind: Annotated[str | None, _given("The plug-in for where it goes. Default: alimail.")] = None,
    target_host: Annotated[str | None, _given("The new server's name, where the kind needs one.")] = None,
    region: Annotated[
        str | None, _given("Of Alibaba Mail: cn, hk, sg, de, us or personal. Default: cn.")
    ] = None,
    roster: Annotated[str | None, _given("The spreadsheet, csv or xlsx. Default: accounts.csv.")] = None,
    language: options.InLanguage = options.Language.EN,
    yes: options.Yes = False,
) -> int:
    """Write a configuration in which every option is explained, and an empty roster. Asks for what is not given.

    No file is ever overwritten. Off a terminal, or with --yes, nothing is asked and defaults are taken.

    \b
    Examples:
      alimail init
      alimail init --yes --source-host mail.old.example --region sg --roster accounts.xlsx
      alimail init -c branch.toml --target-kind imap --target-host mail.new.example --language zh
    """
    plugins = Frame.of(context).registry
    ask = _terminal if sys.stdin.isatty() and not yes else _default
    _refuse_existing(config)
    migration: Table = {
        "name": name or ask("A name for this migration", config.absolute().parent.name or "mail")
    }
    source = _end(plugins, ask, "source", source_kind, "imap", {"host": source_host})
    target = _end(plugins, ask, "target", target_kind, "alimail", {"host": target_host, "region": region})
    migration["roster"] = roster or ask("The spreadsheet of the accounts (csv or xlsx)", "accounts.csv")
    sheet = config.parent / str(migration["roster"])
    _refuse_existing(sheet)
    _write(
        plugins, config, {"migration": migration, "source": source, "target": target}, sheet, language.value
    )
    say(
        f"written: {config} and {sheet}",
        "Next: fill in the roster, look through the configuration, then `alimail check`.",
    )
    return 0


def _terminal(question: str, default: str) -> str:
    return str(typer.prompt(question, default=default or None))


def _default(_question: str, default: str) -> str:
    return default


def _end(
    registry: Registry,
    ask: Callable[[str, str], str],
    side: Literal["source", "target"],
    kind: str | None,
    default: str,
    given: dict[str, str | None],
) -> Table:
    """Ask what one side needs: its kind, what that kind demands, and where the mail lives."""
    from alimail_core.registry import describe_options

    where = "Where the mail is now" if side == "source" else "Where it goes"
    table: Table = {"kind": kind or ask(f"{where}: which kind of server", default)}
    name = str(table["kind"])
    found = registry.source(name) if side == "source" else registry.sink(name)
    rows = {row.name: row for row in describe_options(found.options)}
    for key, value in given.items():
        if value is not None and key not in rows:
            raise InputError(f"a {side} of the kind {name} has no option {key}", remedy="Leave it out.")
    for key in [row.name for row in rows.values() if row.required or row.name in given]:
        optional = not rows[key].required
        preset = rows[key].default.strip('"') if optional else ""
        value = given.get(key) or (
            ask(f"  {key}: {rows[key].help}", preset) if preset or not optional else ""
        )
        if value:
            table[key] = value
    return table


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise InputError(f"{path} is there already, and is left as it is", remedy="Choose another name.")


def _write(
    registry: Registry, config: Path, answers: dict[str, Table], sheet: Path, language: Literal["en", "zh"]
) -> None:
    from alimail_core.config import example
    from alimail_core.roster_template import write_template

    try:
        with config.open("x", encoding="utf-8", newline="\n") as file:
            file.write(example(registry, answers))
    except OSError as error:
        raise InputError(f"{config} cannot be written: {error.strerror}") from None
    write_template(sheet, language)
