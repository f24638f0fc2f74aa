"""``alimail provision``: employees, departments and mail groups, before the mail moves."""

from __future__ import annotations

import enum
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from attrs import evolve, frozen

from alimail_core.cli import options
from alimail_core.cli.frame import Frame, heeding_signals
from alimail_core.cli.output import complain, count_text, remark_lines, say, write_json
from alimail_core.cli.provision_text import plan_json, plan_lines, show_end, show_status, summary
from alimail_core.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from alimail_core.contract import Provisioner
    from alimail_core.directory import Directory, ProvisionerTraits, Step
    from alimail_core.directory_plan import Plan, Wish
    from alimail_core.ledger.steps import StepState
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
    language: Annotated[
        options.Language, typer.Option("--language", help="For export: the language of the headings.")
    ] = options.Language.ZH,
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
    frame = Frame.of(context)
    spec = _settings(frame, config, action, employees, groups, domain, passwords)
    if action is Action.STATUS:
        return _status(frame, spec, json=json)
    desk = _Desk(frame, spec, there or [], only or [], freeze or [], quiet=quiet or json)
    if action is Action.APPLY:
        return desk.apply(yes=yes, json=json)
    made, wish, actual = desk.plan()
    if json:
        write_json(plan_json(made))
    else:
        _show(made, quiet=quiet or action is Action.EXPORT)
    if action is Action.EXPORT:
        if output is None:
            raise InputError("where to?", remedy="Name a folder with --output.")
        say(*(line for line in desk.export(made, wish, actual, output, language) if not json))
    if made.problems:
        return 3
    return 4 if detailed_exitcode and made.waves else 0


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
    from alimail_core.config import load_provision
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


@frozen
class _Desk:
    """One call: the files, and who makes the accounts."""

    frame: Frame
    spec: ProvisionSpec
    there: list[Path]
    only: list[str]
    freeze: list[str]
    quiet: bool

    def actual(self) -> tuple[Directory, ProvisionerTraits]:
        """Return what is there, by the console's export or the provisioner."""
        from alimail_core.console_sheets import read_export

        if self.there or self.spec.endpoint is None:
            export = read_export(self.there, self.spec.domain)
            return export.directory, export.traits
        with self.opener()() as provisioner:
            return provisioner.read(), provisioner.traits

    def wish(self, actual: Directory) -> Wish:
        """Return what is wished; say what is worth knowing of the sheets. Raises ``InputError`` with all faults."""
        from alimail_core.directory import Employee, Group, addresses_of
        from alimail_core.directory_roster import read_directory

        there: list[Employee | Group] = [*actual.employees.values(), *actual.groups.values()]
        known = [address for each in there for address in addresses_of(each)]
        roster = read_directory(self.spec.employees, self.spec.groups, self.spec.domain, known)
        complain(*(line for remark in roster.remarks for line in remark_lines(remark)))
        return roster.wish(self.freeze, self.only)

    def plan(self) -> tuple[Plan, Wish, Directory]:
        """Read all files and plan; of kinds that were not asked about, nothing is called extra.

        Raises ``InputError`` with every fault of the export, or of the roster.
        """
        from alimail_core.directory import Kind
        from alimail_core.directory_plan import plan

        actual, traits = self.actual()
        wish = self.wish(actual)
        made = plan(wish.directory, actual, traits, wish.freeze)
        asked = {Kind.DEPARTMENT, Kind.EMPLOYEE} if self.spec.employees else set()
        asked |= {Kind.GROUP} if self.spec.groups else set()
        extras = () if self.only else tuple(each for each in made.extras if each.kind in asked)
        return evolve(made, extras=extras), wish, actual

    def opener(self) -> Callable[[], Provisioner]:
        """Return what opens the provisioner of the configuration."""
        endpoint = self.spec.endpoint
        if endpoint is None:
            remedy = "`alimail provision export` writes files for the console; or name a kind in [provision]."
            raise InputError("there is no provisioner that could do it", remedy=remedy)
        kind = self.frame.registry.provisioner(endpoint.kind)
        return lambda: kind.open(endpoint.options, self.frame.clock)

    def apply(self, *, yes: bool, json: bool) -> int:
        """Show the plan, ask, carry it out, and show what came of it."""
        from alimail_core.ledger import Ledger
        from alimail_core.passwords import PasswordFile
        from alimail_core.provision import provision

        opener = self.opener()  # first, so that the want of one is told before any file's faults
        if self.there:
            raise InputError("apply asks the provisioner what is there", remedy="Leave out --there.")
        made, wish, _ = self.plan()
        if not json:
            _show(made, quiet=self.quiet)
        if made.waves and not yes:
            _confirm(made)
        passwords = PasswordFile(self.spec.passwords)
        ledger = Ledger.open(self.spec.ledger, self.spec.name, self.frame.clock)
        try:
            with heeding_signals(self.frame.stop):
                ended = provision(
                    wish,
                    opener,
                    ledger,
                    passwords,
                    clock=self.frame.clock,
                    stop=self.frame.stop,
                    tell=_tell_nothing if self.quiet else _tell,
                )
        finally:
            ledger.close()
        show_end(ended, self.spec.passwords, json=json)
        return 0 if ended.complete else 3

    def export(
        self, made: Plan, wish: Wish, actual: Directory, output: Path, language: options.Language
    ) -> list[str]:
        """Write the console's files, with the passwords of new employees; return what to say."""
        from alimail_core.console_sheets import write_import
        from alimail_core.directory import Employee, fold
        from alimail_core.passwords import PasswordFile

        given, kept = wish.passwords, PasswordFile(self.spec.passwords)
        new = [step.thing.address for step in made.steps() if step.makes and isinstance(step.thing, Employee)]
        needed = [address for address in new if fold(address) not in given]
        kept.make(needed)

        def password(address: str) -> str:
            own = given.get(fold(address))
            return own.get() if own is not None else kept.get(address)

        files = write_import(made, actual, output, password, language.value)
        if not files:
            return ["Nothing to import."]
        lines = ["Import in the console, in this order:", *(f"  {path}" for path in files)]
        if needed:
            where = self.spec.passwords
            lines.append(f"{count_text(len(needed), 'new password')} in {where}; only you can read it.")
        return [
            *lines,
            "Then export there again; `alimail provision plan --there FILE` shows that nothing is left.",
        ]


def _show(made: Plan, *, quiet: bool) -> None:
    for line in () if quiet else plan_lines(made):
        print(line)
    say(summary(made))


def _confirm(made: Plan) -> None:
    if not sys.stdin.isatty():
        raise InputError("apply asks before it makes anything", remedy="Without a terminal, say --yes.")
    if not typer.confirm(f"Carry out {count_text(sum(1 for _ in made.steps()), 'step')}?", default=False):
        say("Nothing was changed.")
        raise typer.Exit(1)


def _tell_nothing(_step: Step, _state: StepState, _reason: str) -> None:
    pass


def _tell(step: Step, state: StepState, reason: str) -> None:
    from alimail_core.directory import name_of

    what = f"{state.name.lower():8} {step.kind.value:10} {name_of(step.thing)}"
    complain(f"{what}: {reason}" if reason else what)


def _status(frame: Frame, spec: ProvisionSpec, *, json: bool) -> int:
    from alimail_core.ledger import Ledger
    from alimail_core.ledger.steps import StepBook

    ledger = Ledger.open(spec.ledger, spec.name, frame.clock, create=False)
    try:
        rows = StepBook(ledger).rows()
    finally:
        ledger.close()
    return show_status(rows, json=json)
