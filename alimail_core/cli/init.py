"""``alimail init``: a commented configuration, and a roster to fill in."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import typer
from attrs import frozen

from alimail_core.cli import options
from alimail_core.cli.frame import Frame
from alimail_core.cli.interview import Flag, Interview, Place, Table, refuse_existing
from alimail_core.cli.output import say
from alimail_core.errors import InputError

if TYPE_CHECKING:
    from alimail_core.contract import SinkKind, SourceKind
    from alimail_core.registry import Registry


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
    source_host: Annotated[
        str | None, _given("The old server's name; `alimail discover ADDRESS` looks for it.")
    ] = None,
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
    provisioner: Annotated[
        str | None,
        _given("The plug-in that makes the new mailboxes, such as alimail. Default: none, they are there."),
    ] = None,
    employees: Annotated[
        str | None,
        _given("With a provisioner: the employees' spreadsheet. Default: employees.xlsx.", "FILE"),
    ] = None,
    groups: Annotated[str | None, _given("The same of the mail groups. Default: none.", "FILE")] = None,
    application_id: Annotated[
        str | None, _given("Of alimail: where the application's id is, such as env:NAME.", "REFERENCE")
    ] = None,
    application_secret: Annotated[
        str | None, _given("The same of its secret, such as file:PATH.", "REFERENCE")
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
      alimail init --provisioner alimail --application-id env:APP_ID --application-secret file:app.secret
      alimail init -c branch.toml --roster branch.csv --target-kind imap --target-host mail.new.example
    """
    given = {
        ("migration", "name"): Flag("--name", name),
        ("migration", "roster"): Flag("--roster", roster),
        ("source", "kind"): Flag("--source-kind", source_kind),
        ("source", "host"): Flag("--source-host", source_host),
        ("source", "port"): Flag("--source-port", source_port),
        ("source", "tls"): Flag("--source-tls", source_tls),
        ("source", "allow_plaintext_login"): Flag(
            "--allow-plaintext-login", "true" if allow_plaintext_login else None
        ),
        ("source", "login"): Flag("--login", login),
        ("source", "login_domains"): Flag("--login-domain", login_domain or None),
        ("target", "kind"): Flag("--target-kind", target_kind),
        ("target", "host"): Flag("--target-host", target_host),
        ("target", "region"): Flag("--region", region),
        ("folders", "history"): Flag("--history", history),
        ("folders", "folder"): Flag("--folder", folder),
        ("transfer", "limit_octets"): Flag("--limit", limit),
        ("provision", "kind"): Flag("--provisioner", provisioner),
        ("provision", "employees"): Flag("--employees", employees),
        ("provision", "groups"): Flag("--groups", groups),
        ("provision", "application_id"): Flag("--application-id", application_id),
        ("provision", "application_secret"): Flag("--application-secret", application_secret),
        ("roster", "language"): Flag("--language", language.value if language else None),
    }
    from alimail_core.config.toml_lines import locate

    asks = sys.stdin.isatty() and not yes
    interview = Interview(
        {place: flag for place, flag in given.items() if flag.value is not None}, config.parent, asks
    )
    refuse_existing(config)
    frame = Frame.of(context)
    _hold(interview, frame, config)
    interview.raise_faults()
    sheet = config.parent / str(interview.answers["migration"]["roster"])
    lines = locate(_write(frame.registry, config, interview.answers, sheet))
    written = [config, sheet, *_write_employees(config.parent, interview.answers)]
    say(
        f"written: {', '.join(str(each) for each in written[:-1])} and {written[-1]}",
        *(
            f"To be filled in: {config}:{lines[place]}: {place[1]} of [{place[0]}]"
            for place in interview.unanswered
        ),
        f"Next: fill in the {'roster' if len(written) == 2 else 'sheets'}, look through the configuration, then "
        "`alimail check`.",
    )
    return 0


def _hold(interview: Interview, frame: Frame, config: Path) -> None:
    """Ask everything that the form of Alibaba Mail's console asks, in its order.

    Who names domains, or a folder, has thereby answered the question that they belong to.
    """
    from alimail_core.config.tables import EndpointTable, FoldersTable, MigrationTable
    from alimail_core.options import TransferOptions

    take, answers = interview.take, interview.answers
    here = config.absolute().parent.name or "mail"
    take("migration", "name", MigrationTable, "A name for this migration", here, silent=here)
    _end(interview, frame, "source", "Where the mail is now", "imap")
    local = "local-part" if ("source", "login_domains") in interview.given else ""
    question = "  login there: address (anna@old.example) or local-part (anna)"
    take("source", "login", EndpointTable, question, local or "address", silent=local)
    if local or answers["source"].get("login") == "local-part":
        question = (
            "  domains that log in with the address all the same, with commas between them (empty: none)"
        )
        take("source", "login_domains", EndpointTable, question)
    _end(interview, frame, "target", "Where it goes", "alimail")
    folder = "folder" if ("folders", "folder") in interview.given else ""
    question = "Old mail goes to its original folders, the inbox, or one folder: original, inbox or folder"
    take("folders", "history", FoldersTable, question, folder or "original", silent=folder)
    if answers["folders"].get("history") == "folder":
        take("folders", "folder", FoldersTable, "  that folder", "Old mail")
        if not answers["folders"].get("folder"):
            interview.refuse(("folders", "history"), "which folder, it does not say", "Add --folder PATH.")
    elif folder and answers["folders"].get("history"):
        interview.refuse(("folders", "folder"), "goes with --history folder alone", "Leave one of them out.")
    take("transfer", "limit_octets", TransferOptions, "How many octets may be moved in all", "1 TB")
    sheet = "accounts.csv"
    question = "The spreadsheet of the accounts (csv or xlsx)"
    take("migration", "roster", MigrationTable, question, sheet, silent=sheet, fits=interview.sheet_fits)
    take("roster", "language", _Sheet, "  its headings: en or zh", "en", silent="en")
    _provisioner(interview, frame.registry)


def _end(
    interview: Interview, frame: Frame, side: Literal["source", "target"], where: str, preset: str
) -> None:
    """Ask what one side needs: its kind, what that kind demands, and of the source how to reach it."""
    from alimail_core.config.tables import EndpointTable
    from alimail_core.registry import describe_options

    find: Callable[[str], SourceKind[Any] | SinkKind[Any]] = (
        frame.registry.source if side == "source" else frame.registry.sink
    )
    role = "source" if side == "source" else "sink"
    known = sorted(kind.name for its_role, kind in frame.registry.kinds() if its_role == role)
    question = f"{where}: which kind of server ({', '.join(known)})"
    interview.take(side, "kind", EndpointTable, question, preset, silent=preset, fits=find)
    name = str(interview.answers[side].get("kind", ""))
    if not name:  # a flag that is told; which others fit hangs on it
        return
    kind = find(name)
    rows = {row.name: row for row in describe_options(kind.options)}
    own = {"kind", "login", "login_domains"}
    for place in interview.given:
        if place[0] == side and place[1] not in rows and place[1] not in own:
            interview.refuse(place, f"a {side} of the kind {name} has no option {place[1]}", "Leave it out.")
    for row in rows.values():
        if row.required or (row.name == "region" and side == "target"):
            question = f"  {row.name}: {row.help}".rstrip(".")
            if row.name == "host" and side == "source":
                question += ", or an address there, to look for it"
            finds = partial(_look_for, interview, frame, (side, row.name), name)
            interview.take(side, row.name, kind.options, question, row.default.strip('"'), finds=finds)
            if row.required and row.name not in interview.answers[side]:
                interview.unanswered.append((side, row.name))
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


def _look_for(interview: Interview, frame: Frame, place: Place, kind: str, typed: str) -> bool:
    """Look for the old server where an address was typed in its place; tell whether it was."""
    from alimail_core.cli.discover import propose

    if place != ("source", "host") or "@" not in typed:
        return False
    found = propose(frame, kind, typed.strip())
    interview.found.update({(place[0], key): str(value) for key, value in found.items()})
    return True


def _provisioner(interview: Interview, registry: Registry) -> None:
    """Ask who makes the new mailboxes, and what that needs."""
    from alimail_core.config.tables import ProvisionTable
    from alimail_core.registry import describe_options

    kinds = [kind.name for role, kind in registry.kinds() if role == "provisioner"]
    wished = any(table == "provision" for table, _ in interview.given)
    if not kinds and not wished:
        return
    question = f"Who makes the new mailboxes: {', '.join(kinds)} (empty: they are there, or the console does)"
    silent = "alimail" if wished else ""
    interview.take("provision", "kind", ProvisionTable, question, silent=silent, fits=registry.provisioner)
    name = str(interview.answers["provision"].get("kind", ""))
    if not name:
        return
    kind = registry.provisioner(name)
    rows = {row.name: row for row in describe_options(kind.options)}
    known = rows.keys() | {row.name for row in describe_options(ProvisionTable)}
    for place in interview.given:
        if place[0] == "provision" and place[1] not in known:
            interview.refuse(
                place, f"a provisioner of the kind {name} has no option {place[1]}", "Leave it out."
            )
    region = str(interview.answers["target"].get("region", ""))
    if "region" in rows and f'"{region}"' in rows["region"].type:
        interview.answers["provision"]["region"] = region
    for row in rows.values():
        if row.required:
            first = row.help.partition(", as a reference")[0].rstrip(".")
            interview.take("provision", row.name, kind.options, f"  {row.name}: {first}")
            if row.name not in interview.answers["provision"]:
                interview.unanswered.append(("provision", row.name))
    sheet, fits = "employees.xlsx", interview.is_sheet
    question = "  the spreadsheet of the employees (csv or xlsx)"
    interview.take("provision", "employees", ProvisionTable, question, sheet, silent=sheet, fits=fits)
    question = "  the spreadsheet of the mail groups (empty: none)"
    interview.take("provision", "groups", ProvisionTable, question, fits=fits)


def _write(registry: Registry, config: Path, answers: dict[str, Table], sheet: Path) -> str:
    """Write both files; return the configuration."""
    from alimail_core.config.text import example
    from alimail_core.sheets.templates import write_template

    text = example(registry, answers)
    try:
        with config.open("x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except OSError as error:
        raise InputError(f"{config} cannot be written: {error.strerror}") from None
    write_template(sheet, cast(Literal["en", "zh"], answers["roster"]["language"]))
    return text


def _write_employees(folder: Path, answers: dict[str, Table]) -> list[Path]:
    """Write sheets of employees and groups that are wished and not there yet; return their names."""
    from alimail_core.sheets.templates import write_template

    sheets: dict[Literal["employees", "groups"], Path] = {
        name: folder / str(answers["provision"][name])
        for name in ("employees", "groups")
        if name in answers["provision"]
    }
    new = {name: path for name, path in sheets.items() if not path.exists()}
    for name, path in new.items():
        write_template(path, cast(Literal["en", "zh"], answers["roster"]["language"]), name)
    return [*new.values()]
