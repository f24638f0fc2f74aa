"""``alimail init``: a commented configuration, and a roster to fill in."""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer
from attrs import Factory, define, frozen

from alimail_core.cli import options
from alimail_core.cli.frame import Frame
from alimail_core.cli.output import complain, say
from alimail_core.errors import InputError

if TYPE_CHECKING:
    from alimail_core.registry import Registry

Table = dict[str, object]
Given = Mapping[tuple[str, str], object]
"""What the command line says: table, key -> text, or the texts of a list."""


@frozen
class _Sheet:
    """What is asked of the roster alone."""

    language: Literal["en", "zh"] = "en"


def _given(help: str, metavar: str = "TEXT") -> typer.models.OptionInfo:
    return cast(typer.models.OptionInfo, typer.Option(metavar=metavar, help=help, show_default=False))


def init(
    context: typer.Context,
    config: options.Config = options.CONFIG,
    name: Annotated[str | None, _given("What the migration is called.")] = None,
    source_kind: Annotated[str | None, _given("The plug-in for where the mail is. Default: imap.")] = None,
    source_host: Annotated[str | None, _given("The old server's name.")] = None,
    source_port: Annotated[
        str | None, _given("The old server's port. Default: the protocol's own.", "N")
    ] = None,
    source_tls: Annotated[
        str | None, _given("auto, implicit, starttls or none. Default: auto, the best that it has.")
    ] = None,
    allow_plaintext_login: Annotated[
        bool, typer.Option("--allow-plaintext-login", help="Log in without encryption where it has none.")
    ] = False,
    login: Annotated[
        str | None, _given("User names at the old server: address or local-part. Default: address.")
    ] = None,
    login_domain: Annotated[
        list[str] | None,
        _given("With local-part: a domain that logs in with the address; may be repeated.", "DOMAIN"),
    ] = None,
    target_kind: Annotated[str | None, _given("The plug-in for where it goes. Default: alimail.")] = None,
    target_host: Annotated[str | None, _given("The new server's name, where the kind needs one.")] = None,
    region: Annotated[
        str | None, _given("Of Alibaba Mail: cn, hk, sg, de, us or personal. Default: cn.")
    ] = None,
    history: Annotated[
        str | None, _given("Where old mail goes: original, inbox or folder. Default: original.")
    ] = None,
    folder: Annotated[
        str | None, _given("With --history folder: its path, such as Archive/Old mail.", "PATH")
    ] = None,
    limit: Annotated[
        str | None, _given("How many octets may be moved in all. Default: 1 TB.", "OCTETS")
    ] = None,
    roster: Annotated[str | None, _given("The spreadsheet, csv or xlsx. Default: accounts.csv.")] = None,
    language: Annotated[
        options.Language | None,
        typer.Option(help="The language of the spreadsheet's headings. Default: en.", show_default=False),
    ] = None,
    yes: options.Yes = False,
) -> int:
    """Write a configuration in which every option is explained, and an empty roster. Asks for what is not given.

    No file is ever overwritten. Off a terminal, or with --yes, nothing is asked and defaults are taken.

    \b
    Examples:
      alimail init
      alimail init --yes --source-host mail.old.example --region sg --roster accounts.xlsx
      alimail init --source-kind pop3 --source-host pop.old.example --login local-part --login-domain b.example
      alimail init --history folder --folder "Archive/Old mail"
      alimail init -c branch.toml --target-kind imap --target-host mail.new.example --language zh
    """
    given: dict[tuple[str, str], object] = {
        ("migration", "name"): name,
        ("migration", "roster"): roster,
        ("source", "kind"): source_kind,
        ("source", "host"): source_host,
        ("source", "port"): source_port,
        ("source", "tls"): source_tls,
        ("source", "allow_plaintext_login"): "true" if allow_plaintext_login else None,
        ("source", "login"): login,
        ("source", "login_domains"): login_domain or None,
        ("target", "kind"): target_kind,
        ("target", "host"): target_host,
        ("target", "region"): region,
        ("folders", "history"): history,
        ("folders", "folder"): folder,
        ("transfer", "limit_octets"): limit,
        ("roster", "language"): language.value if language else None,
    }
    asks = sys.stdin.isatty() and not yes
    interview = _Interview({place: value for place, value in given.items() if value is not None}, asks)
    _refuse_existing(config)
    _hold(interview, Frame.of(context).registry, config)
    sheet = config.parent / str(interview.answers["migration"]["roster"])
    _refuse_existing(sheet)
    _write(Frame.of(context).registry, config, interview.answers, sheet)
    say(
        f"written: {config} and {sheet}",
        "Next: fill in the roster, look through the configuration, then `alimail check`.",
    )
    return 0


def _hold(interview: _Interview, registry: Registry, config: Path) -> None:
    """Ask everything that the form of Alibaba Mail's console asks, in its order.

    Who names domains, or a folder, has thereby answered the question that they belong to.
    """
    from alimail_core.config_tables import EndpointTable, FoldersTable, MigrationTable
    from alimail_core.options import TransferOptions

    take, answers = interview.take, interview.answers
    here = config.absolute().parent.name
    take(
        "migration",
        "name",
        MigrationTable,
        "A name for this migration",
        here or "mail",
        silent=here or "mail",
    )
    _end(interview, registry, "source", "Where the mail is now", "imap")
    local = "local-part" if ("source", "login_domains") in interview.given else ""
    question = "  login there: address (anna@old.example) or local-part (anna)"
    take("source", "login", EndpointTable, question, local or "address", silent=local)
    if local or answers["source"].get("login") == "local-part":
        question = (
            "  domains that log in with the address all the same, with commas between them (empty: none)"
        )
        take("source", "login_domains", EndpointTable, question)
    _end(interview, registry, "target", "Where it goes", "alimail")
    folder = "folder" if ("folders", "folder") in interview.given else ""
    question = "Old mail goes to its original folders, the inbox, or one folder: original, inbox or folder"
    take("folders", "history", FoldersTable, question, folder or "original", silent=folder)
    if answers["folders"].get("history") == "folder":
        take("folders", "folder", FoldersTable, "  that folder", "Old mail")
    take("transfer", "limit_octets", TransferOptions, "How many octets may be moved in all", "1000000000000")
    sheet = "accounts.csv"
    take(
        "migration",
        "roster",
        MigrationTable,
        "The spreadsheet of the accounts (csv or xlsx)",
        sheet,
        silent=sheet,
    )
    take("roster", "language", _Sheet, "  its headings: en or zh", "en", silent="en")


def _end(
    interview: _Interview, registry: Registry, side: Literal["source", "target"], where: str, preset: str
) -> None:
    """Ask what one side needs: its kind, what that kind demands, and of the source how to reach it."""
    from alimail_core.config_tables import EndpointTable
    from alimail_core.registry import describe_options

    interview.take(side, "kind", EndpointTable, f"{where}: which kind of server", preset, silent=preset)
    name = str(interview.answers[side]["kind"])
    kind = registry.source(name) if side == "source" else registry.sink(name)
    rows = {row.name: row for row in describe_options(kind.options)}
    own = {"kind", "login", "login_domains"}
    for table, key in interview.given:
        if table == side and key not in rows and key not in own:
            raise InputError(f"a {side} of the kind {name} has no option {key}", remedy="Leave it out.")
    for row in rows.values():
        if row.required or (row.name == "region" and side == "target"):
            interview.take(side, row.name, kind.options, f"  {row.name}: {row.help}", row.default.strip('"'))
        elif (side, row.name) in interview.given and side == "target":
            interview.take(side, row.name, kind.options, "")
    if side == "target":
        return
    if "port" in rows:
        interview.take(side, "port", kind.options, "  port (empty: the protocol's own)")
    if "tls" in rows:
        choices = rows["tls"].type.replace('"', "")
        interview.take(side, "tls", kind.options, f"  encryption: {choices}", rows["tls"].default.strip('"'))
    wanted = (side, "allow_plaintext_login") in interview.given
    if "allow_plaintext_login" in rows and (wanted or interview.answers[side].get("tls") in ("auto", "none")):
        question = "  log in without encryption where the server has none: true or false"
        interview.take(side, "allow_plaintext_login", kind.options, question, "false")


@define
class _Interview:
    """The answers: what the command line gives, else what is asked, else nothing, which leaves the default."""

    given: Given
    asks: bool
    answers: dict[str, Table] = Factory(lambda: defaultdict(dict))

    def take(
        self, table: str, key: str, cls: type[Any], question: str, preset: str = "", *, silent: str = ""
    ) -> None:
        """Find one answer, and ask again while it does not fit; ``silent``: the answer where nobody is asked.

        Raises ``InputError`` for one from the command line that does not fit.
        """
        value = self.given.get((table, key))
        asked = value is None and self.asks
        while True:
            if asked:
                value = typer.prompt(question, default=preset, show_default=bool(preset))
                if key == "login_domains":
                    value = [each.strip() for each in str(value).split(",") if each.strip()]
            fault = self._put(table, key, cls, value or silent)
            if not fault:
                return
            if not asked:
                raise InputError(f"[{table}] {key} {fault}", remedy="`alimail init --help` tells what fits.")
            complain(f"  this {fault}")

    def _put(self, table: str, key: str, cls: type[Any], value: object) -> str:
        """Keep an answer; say what is wrong with it instead, if anything is. An empty one leaves the default."""
        from alimail_core.structure import Misfits, structure

        self.answers[table].pop(key, None)
        if not value:
            return ""
        known = {name: each for name, each in self.answers[table].items() if hasattr(cls, name)}
        try:
            made = getattr(structure({**known, key: value}, cls, from_text=True), key)
        except Misfits as error:
            about = [item for item in error.items if item.path[:1] == (key,)]
            if about:
                return about[0].message
            made = value
        # A path is kept as it was written: relative to the configuration.
        self.answers[table][key] = made if isinstance(made, bool | int | tuple) else value
        return ""


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise InputError(f"{path} is there already, and is left as it is", remedy="Choose another name.")


def _write(registry: Registry, config: Path, answers: dict[str, Table], sheet: Path) -> None:
    from alimail_core.config import example
    from alimail_core.roster_template import write_template

    try:
        with config.open("x", encoding="utf-8", newline="\n") as file:
            file.write(example(registry, answers))
    except OSError as error:
        raise InputError(f"{config} cannot be written: {error.strerror}") from None
    write_template(sheet, cast(Literal["en", "zh"], answers["roster"]["language"]))
