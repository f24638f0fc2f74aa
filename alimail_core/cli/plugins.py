"""``alimail plugins``: what is installed and what its options are; and the verbs that plug-ins add."""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alimail_core.cli import options
from alimail_core.cli.frame import Frame
from alimail_core.cli.output import complain, say, table, write_json
from alimail_core.errors import InputError, PluginError

if TYPE_CHECKING:
    from alimail_core.contract import Argument, Command, ProvisionerKind, SinkKind, SourceKind
    from alimail_core.registry import Registry
    from alimail_core.structure import OptionRow

    Kind = SourceKind[Any] | SinkKind[Any] | ProvisionerKind[Any]


class Action(enum.StrEnum):
    """What to tell."""

    LIST = "list"
    SHOW = "show"


def plugins(
    context: typer.Context,
    action: Annotated[Action, typer.Argument(help="What to tell.")] = Action.LIST,
    name: Annotated[str, typer.Argument(help="The kind to show, such as imap.", show_default=False)] = "",
    json: options.Json = False,
) -> int:
    """Tell which plug-ins there are, and every option of one kind of source, target or provisioner.

    \b
    Examples:
      alimail plugins
      alimail plugins show imap
      ALIMAIL_PLUGINS=imap,alimail alimail plugins      # load no others
      ALIMAIL_TRACE_PLUGINS=1 alimail plugins           # show each call of a hook

    \b
    JSON of list: [{name, distribution, version, registers: [text], problem}]
    JSON of show: [{role, name, summary, options: [{name, type, default, help, secret, required}]}]
    """
    loaded = Frame.of(context).registry
    return _show(loaded, name, json) if action is Action.SHOW else _list(loaded, json)


def _list(registry: Registry, json: bool) -> int:
    rows = registry.plugins()
    if json:
        write_json([_plugin_json(row) for row in rows])
    else:
        table(
            ("Plug-in", "Distribution", "Registers"),
            [
                (row.name, f"{row.distribution} {row.version}".strip(), ", ".join(row.registers))
                for row in rows
            ],
        )
    for problem in registry.problems:
        complain(f"{problem}", *([f"  -> {problem.remedy}"] if problem.remedy else []))
    return 3 if registry.problems else 0


def _plugin_json(row: Any) -> dict[str, object]:
    return {
        "name": row.name,
        "distribution": row.distribution,
        "version": row.version,
        "registers": list(row.registers),
        "problem": row.problem,
    }


def _show(registry: Registry, name: str, json: bool) -> int:
    from alimail_core.registry import HINTS, describe_options

    if not name:
        raise InputError("which one?", remedy="`alimail plugins list` names them.")
    found = [(role, kind) for role, kind in _ends(registry) if kind.name == name]
    if not found:
        known = ", ".join(sorted({kind.name for _, kind in _ends(registry)}))
        remedy = HINTS.get(name) or (f"There are: {known}." if known else "pip install alimail-imap")
        raise PluginError(f"there is no source, target or provisioner called {name!r}", remedy=remedy)
    described = [(role, kind, describe_options(kind.options)) for role, kind in found]
    if json:
        write_json([_kind_json(role, kind, rows) for role, kind, rows in described])
        return 0
    for role, kind, rows in described:
        say(f"{kind.name} as a {role}: {kind.summary}", "")
        say(*(line for row in rows for line in _option_lines(row)), "")
    return 0


def _ends(registry: Registry) -> Iterator[tuple[str, Kind]]:
    from alimail_core.contract import ExecutorKind

    for role, kind in registry.kinds():
        if not isinstance(kind, ExecutorKind):
            yield "target" if role == "sink" else role, kind


def _kind_json(role: str, kind: Kind, rows: list[OptionRow]) -> dict[str, object]:
    import attrs

    shown = [attrs.asdict(row) for row in rows]
    return {"role": role, "name": kind.name, "summary": kind.summary, "options": shown}


def _option_lines(row: OptionRow) -> Iterator[str]:
    import textwrap

    what = "required" if row.required else f"default {row.default or 'none'}"
    yield f"  {row.name}  ({row.type}; {what}{'; secret' if row.secret else ''})"
    yield from textwrap.wrap(row.help, 96, initial_indent="      ", subsequent_indent="      ")


def add_commands(app: typer.Typer, registry: Registry) -> None:
    """Add the plug-ins' verbs to the command line."""
    for command in registry.commands():
        _add_command(app, command)


def _add_command(app: typer.Typer, command: Command) -> None:
    if command.commands:
        group = typer.Typer(rich_markup_mode=None, no_args_is_help=True)
        group.callback()(_nothing)
        for each in command.commands:
            _add_command(group, each)
        app.add_typer(group, name=command.name, help=command.help, short_help=_first_sentence(command.help))
    else:
        app.command(command.name, help=command.help, short_help=_first_sentence(command.help))(_verb(command))


def _first_sentence(text: str) -> str:
    """Return what stands in the list of verbs, whole: left to itself, it would be cut where the line ends."""
    return f"{' '.join(text.split()).partition('. ')[0].rstrip('.')}."


def _nothing() -> None:
    """Stand for what a group does itself."""


def _verb(command: Command) -> Callable[..., int]:
    """Make the function with a signature that typer reads, from a command that knows nothing of typer."""

    def run(**values: Any) -> int:
        assert command.run is not None  # held by kinds.broken_promise
        return command.run({each.name: values[_identifier(each)] for each in command.arguments})

    parameters = [_parameter(each) for each in command.arguments]
    run.__signature__ = inspect.Signature(parameters, return_annotation=int)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def _parameter(argument: Argument) -> inspect.Parameter:
    kind: Any = bool if argument.flag else list[str] if argument.many else str
    if argument.name.startswith("--"):
        default: Any = False if argument.flag else [] if argument.many else argument.default
        names = [name for name in (argument.name, argument.short) if name]
        metavar = None if argument.flag else "TEXT"
        info: Any = typer.Option(*names, help=argument.help, metavar=metavar)
    else:
        default = inspect.Parameter.empty if argument.default is None else argument.default
        info = typer.Argument(help=argument.help, metavar=argument.name.upper())
    hint: Any = Annotated[kind | None if default is None else kind, info]
    return inspect.Parameter(
        _identifier(argument), inspect.Parameter.KEYWORD_ONLY, default=default, annotation=hint
    )


def _identifier(argument: Argument) -> str:
    return argument.name.lstrip("-").replace("-", "_")
