"""Write about the configuration: a commented file for ``init``, and the reference in Markdown.

Both are made from the options' own texts, so that neither can say what the code does not.
``python -m alimail_core.config.text FILE`` writes the reference.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from alimail_core.config.tables import TABLES
from alimail_core.contract import ProvisionerKind, SinkKind, SourceKind
from alimail_core.errors import PluginError
from alimail_core.registry import Registry
from alimail_core.structure import OptionRow, describe_options, toml_text

WIDTH = 100

_Kind: TypeAlias = SourceKind[Any] | SinkKind[Any] | ProvisionerKind[Any]

HEAD = """# Configuration

Made by `python -m alimail_core.config.text docs/reference/configuration.md`; a test holds it current.

One TOML file, `alimail.toml` unless `--config` names another. Paths are relative to it. `alimail check` tells every
fault of it and of the roster at once, with file, line and remedy, before anything is touched.
"""

HOW_TO_READ = (
    "Every option is here, each explained above it. A key behind a # has the value that holds by itself, and none "
    "where ... stands; to give it another, take the # away."
)


def example(registry: Registry, answers: Mapping[str, Mapping[str, object]]) -> str:
    """Return a configuration with every option: what ``answers`` gives (table -> key -> value), the rest commented.

    An option that must be given and has no answer is written empty, for its author to fill in.
    """
    tables = (line for name in TABLES for line in _table(name, registry, answers.get(name, {})))
    return "\n".join([*_comment(HOW_TO_READ), "", *tables])


def reference(registry: Registry) -> str:
    """Return the reference of the configuration: every table, and the options of every plug-in installed."""
    parts = [
        HEAD,
        *(_section(f"`[{name}]`", _summary(table), describe_options(table)) for name, table in _named()),
    ]
    for kind, roles in _ends(registry):
        title = f"`kind = {toml_text(kind.name)}` in {' and '.join(f'`[{role}]`' for role in roles)}"
        parts.append(_section(title, kind.summary, describe_options(kind.options)))
    return "\n".join(parts)


def _named() -> Iterator[tuple[str, type[Any]]]:
    """Give the tables, source and target once."""
    for name, table in TABLES.items():
        if name not in ("sources", "target"):
            yield (
                {"source": "source]`, `[sources.NAME]` and `[target", "account": "[account]"}.get(name, name),
                table,
            )


_TABLE_OF = {"source": "source", "sink": "target", "provisioner": "provision"}
"""The table whose ``kind`` names a plug-in, by the role."""


def _ends(registry: Registry) -> Iterator[tuple[_Kind, list[str]]]:
    found: dict[tuple[str, type], tuple[_Kind, list[str]]] = {}
    for role, kind in registry.kinds():
        if isinstance(kind, SourceKind | SinkKind | ProvisionerKind):
            entry = found.setdefault((kind.name, kind.options), (kind, []))
            entry[1].insert(0, _TABLE_OF[role])
    yield from sorted(found.values(), key=lambda entry: entry[0].name)


def _section(title: str, text: str, rows: Iterable[OptionRow]) -> str:
    lines = [
        f"## {title}\n",
        f"{text}\n",
        "| option | type | default | |",
        "|---|---|---|---|",
    ]
    for row in rows:
        default = "must be given" if row.required else f"`{row.default}`" if row.default else ""
        lines.append(f"| `{row.name}` | {_markdown(row.type)} | {default} | {_markdown(row.help)} |")
    return "\n".join(lines) + "\n"


def _summary(table: type) -> str:
    return (table.__doc__ or "").splitlines()[0].replace("``", "`")


def _markdown(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ").replace("*", "\\*").replace("<", "&lt;")


_SIDES = {"source": "Where the mail is now. ", "target": "Where the mail goes. "}
"""What the commented file says before the summary that both sides share."""


def _table(name: str, registry: Registry, given: Mapping[str, object]) -> Iterator[str]:
    if name == "account" and not given:
        yield from _comment("[[account]] tables may list accounts here instead of, or beside, a roster.")
        yield ""
        return
    if name == "sources":
        yield from _comment(
            "[sources.NAME] tables, with the same keys as [source], are further old systems, for the accounts whose "
            "source system in the roster is NAME."
        )
        yield ""
        return
    yield from _comment(_SIDES.get(name, "") + _summary(TABLES[name]))
    yield f"[[{name}]]" if name == "account" else f"[{name}]"
    rows = [*describe_options(TABLES[name]), *_plugin_rows(name, registry, given)]
    for number, row in enumerate(rows):
        if number:
            yield ""  # else it is a wall: what explains and what is explained both begin with #
        yield from _line(row, given)
    for key in given.keys() - {row.name for row in rows}:
        yield f"{key} = {toml_text(given[key])}"
    yield ""


def _plugin_rows(name: str, registry: Registry, given: Mapping[str, object]) -> list[OptionRow]:
    finders: Mapping[str, Callable[[str], _Kind]] = {
        "source": registry.source,
        "target": registry.sink,
        "provision": registry.provisioner,
    }
    if name not in finders or "kind" not in given:
        return []
    try:
        found = finders[name](str(given["kind"]))
    except PluginError:  # not installed here; `check` will say what to install
        return []
    return describe_options(found.options)


def _line(row: OptionRow, given: Mapping[str, object]) -> Iterator[str]:
    open_ = row.required and row.name not in given
    yield from _comment(f"{'TO BE FILLED IN: ' if open_ else ''}{row.help} ({row.type})")
    if row.name in given:
        yield f"{row.name} = {toml_text(given[row.name])}"
    else:
        yield f'{row.name} = ""' if row.required else f"# {row.name} = {row.default or '...'}"


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(
        reference(Registry.load(["imap", "pop3", "ews", "alimail", "directory"])), "utf-8"
    )
