"""``alimail provision``: employees, departments and mail groups, before the mail moves."""

from __future__ import annotations

import enum
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from attrs import evolve

from alimail_core.cli import options
from alimail_core.cli.frame import Frame
from alimail_core.cli.making import make
from alimail_core.cli.output import complain, count_text, remark_lines, say, write_json
from alimail_core.cli.provision_text import (
    export_lines,
    plan_json,
    plan_lines,
    show_end,
    show_status,
    summary,
)
from alimail_core.errors import InputError

if TYPE_CHECKING:
    from alimail_core.provisioning.organisation import Organisation, Planned
    from alimail_core.provisioning.plan import Plan
    from alimail_core.spec import ProvisionSpec


class Action(enum.StrEnum):
    """What to do."""

    PLAN = "plan"
    APPLY = "apply"
    STATUS = "status"
    EXPORT = "export"


def provision(
    context: typer.Context,
    action: Annotated[Action, typer.Argument(help="What to do; see above.")],
    config: options.Config = options.CONFIG,
    employees: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The employees as they shall be: `alimail roster template employees`."
        ),
    ] = None,
    groups: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The mail groups as they shall be: `alimail roster template groups`."
        ),
    ] = None,
    there: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="What the console exported: what is there now; may be repeated. Without it, and without a "
            "provisioner in the configuration, nothing is there.",
        ),
    ] = None,
    domain: Annotated[
        str | None, typer.Option(metavar="DOMAIN", help="Put behind accounts that are written without one.")
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS", help="Only this employee or group; may be repeated."),
    ] = None,
    freeze: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="Let nobody log in there any more, who is not in the roster; may be "
            "repeated. The mailbox stays.",
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="For export: where the console's files go."),
    ] = None,
    passwords: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where new passwords are kept, each made once. Default: passwords.csv.",
            show_default=False,
        ),
    ] = None,
    letters: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="For apply and export: write a letter with the first password for each new person, as text and as a "
            "page to print; only you can read them. Who has one there already gets no other.",
        ),
    ] = None,
    language: Annotated[
        options.Language | None,
        typer.Option(
            "--language",
            help="The language of the console's headings (by default zh) and of letters (by default en).",
            show_default=False,
        ),
    ] = None,
    yes: options.Yes = False,
    json: options.Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show the summary only.")] = False,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="For plan: exit with 4 where something is to be done.")
    ] = False,
) -> int:
    """Make the employees, departments and mail groups that you wish.

    \b
      plan    compare what you wish with what is there; nothing is changed
      export  write the plan as files that the console imports
      apply   carry the plan out by the provisioner of [provision]; asks first; again, it goes on
      status  what apply has done, and what it could not do

    Nothing is ever deleted: what is there and not wished is named and left alone. An empty cell changes nothing. A
    person with an employee number keeps the mailbox when the address changes. Without a configuration, name files.

    \b
    Examples:
      alimail roster template employees -o employees.xlsx
      alimail provision plan --employees employees.xlsx --there export.xlsx
      alimail provision export --employees employees.xlsx --groups groups.xlsx --there export.xlsx -o import
      alimail provision apply --letters letters --language zh
      alimail provision apply --yes
      alimail provision plan --only anna@new.example --json

    \b
    Exit codes: 0: all well; 3: something cannot be done, and is named; 4 with --detailed-exitcode: something is to be
    done. Faults of the files: 2, all together. Interrupted: 130 or 143; the same command again goes on.
    JSON: {steps: [{action, kind, name, was, fields: {NAME: {before, after}}}], as_wished,
           problems: [{kind, name, message, remedy}], extras: [{kind, name, within}], notes: [text]}
    JSON of apply: the plan that is left, with done, found, and refused: [{kind, name, message, remedy}]
    JSON of status: {counts: {STATE: number}, open: [{kind, name, state, reason}]}
    """
    from alimail_core.provisioning.organisation import Organisation

    frame = Frame.of(context)
    spec = _settings(frame, config, action, employees, groups, domain, passwords)
    organisation = Organisation(spec, frame.registry, frame.clock)
    if action is Action.STATUS:
        return show_status(organisation.steps(), json=json)
    if action is Action.APPLY:
        if there:
            raise InputError("apply asks the provisioner what is there", remedy="Leave out --there.")
        organisation.opener()  # so that the want of one is told before the faults of any sheet
    planned = organisation.plan(there or (), only or (), freeze or (), to_apply=action is Action.APPLY)
    context.call_on_close(planned.close)
    complain(*(line for remark in planned.remarks for line in remark_lines(remark)))
    if json and action is not Action.APPLY:
        write_json(plan_json(planned.plan))
    elif not json:
        for line in () if quiet or action is Action.EXPORT else plan_lines(planned.plan):
            print(line)
        say(summary(planned.plan))
    if action is Action.APPLY:
        code = _apply(frame, organisation, planned, yes=yes, json=json, quiet=quiet)
        if letters is not None:
            write_letters(organisation, planned, letters, language or options.Language.EN)
        return code
    if action is Action.EXPORT:
        if output is None:
            raise InputError("where to?", remedy="Name a folder with --output.")
        headings = language or options.Language.ZH
        lines = export_lines(organisation.export(planned, output, headings.value), spec.passwords)
        say(*(line for line in lines if not json))
        if letters is not None:
            write_letters(organisation, planned, letters, language or options.Language.EN)
    if planned.plan.problems:
        return 3
    return 4 if detailed_exitcode and planned.plan.waves else 0


def _settings(
    frame: Frame,
    config: Path,
    action: Action,
    employees: Path | None,
    groups: Path | None,
    domain: str | None,
    passwords: Path | None,
) -> ProvisionSpec:
    """Return [provision] with what the command line says instead; plan and export need no configuration."""
    from alimail_core.config.load import load_provision
    from alimail_core.spec import ProvisionSpec

    needs_no_file = action in (Action.PLAN, Action.EXPORT) and config == options.CONFIG
    if not config.exists() and needs_no_file:
        spec = ProvisionSpec("", "", None, None, None, "", Path("passwords.csv"))
    elif not config.exists():
        raise InputError(
            f"there is no {config}", remedy="`alimail init` writes one; `--config FILE` names another."
        )
    else:
        spec = load_provision(config, frame.registry)
    spec = evolve(
        spec,
        employees=employees or spec.employees,
        groups=groups or spec.groups,
        domain=spec.domain if domain is None else domain,
        passwords=passwords or spec.passwords,
    )
    if spec.employees is None and spec.groups is None and action is not Action.STATUS:
        remedy = "Name a file with --employees or --groups, or in [provision]."
        raise InputError("nothing is wished", remedy=remedy)
    return spec


def _apply(
    frame: Frame, organisation: Organisation, planned: Planned, *, yes: bool, json: bool, quiet: bool
) -> int:
    """Ask, carry the plan out, and show what came of it."""
    if planned.plan.waves and not yes:
        _confirm(planned.plan)
    ended = make(frame, organisation, planned, each=True, quiet=quiet or json)
    show_end(ended, organisation.spec.passwords, json=json)
    return 0 if ended.complete else 3


def write_letters(
    organisation: Organisation, planned: Planned, folder: Path, language: options.Language
) -> None:
    """Write a letter for each new person, and say where."""
    written = organisation.letters(planned, folder, language.value)
    complain(f"{count_text(len(written), 'new letter')} in {folder}; only you can read them.")


def _confirm(made: Plan) -> None:
    if not sys.stdin.isatty():
        raise InputError("apply asks before it makes anything", remedy="Without a terminal, say --yes.")
    if not typer.confirm(f"Carry out {count_text(sum(1 for _ in made.steps()), 'step')}?", default=False):
        say("Nothing was changed.")
        raise typer.Exit(1)
