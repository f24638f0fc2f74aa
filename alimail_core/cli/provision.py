"""``alimail provision``: employees, departments and mail groups, before the mail moves."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from alimail_core.cli import options
from alimail_core.cli.output import count_text, say, write_json
from alimail_core.cli.provision_text import plan_json, plan_lines, summary
from alimail_core.errors import InputError

if TYPE_CHECKING:
    from alimail_core.console_sheets import Export
    from alimail_core.directory_plan import Plan, Wish


class Action(enum.StrEnum):
    """What to do."""

    PLAN = "plan"
    EXPORT = "export"


def provision(
    action: Annotated[Action, typer.Argument(help="See what is to be done, or write the files that do it.")],
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
            help="What the console exported: what is there now; may be repeated. Without it, nothing is there.",
        ),
    ] = None,
    domain: Annotated[
        str, typer.Option(metavar="DOMAIN", help="Put behind accounts that are written without one.")
    ] = "",
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS", help="Only this employee or group; may be repeated."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FOLDER", help="For export: where the console's files go."),
    ] = None,
    passwords: Annotated[
        Path,
        typer.Option(metavar="FILE", help="For export: where new passwords are kept; they are made once."),
    ] = Path("passwords.csv"),
    language: Annotated[
        options.Language, typer.Option("--language", help="For export: the language of the headings.")
    ] = options.Language.ZH,
    json: options.Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show the summary only.")] = False,
    detailed_exitcode: Annotated[
        bool, typer.Option("--detailed-exitcode", help="Exit with 4 where there is something to do.")
    ] = False,
) -> int:
    """Compare the employees and groups that you wish with those that are there; write files that the console imports.

    Nothing is ever deleted: what is there and not wished is named and left alone. An empty cell changes nothing. A
    person with an employee number keeps the mailbox when the address changes.

    \b
    Examples:
      alimail roster template employees -o employees.xlsx
      alimail provision plan --employees employees.xlsx --there export.xlsx
      alimail provision export --employees employees.xlsx --groups groups.xlsx --there export.xlsx -o import
      alimail provision plan --employees employees.xlsx --only anna@new.example --json

    \b
    Exit codes: 0: planned; 3: something cannot be done, and is named; 4 with --detailed-exitcode: something is to be
    done. Faults of the files: 2, all together.
    JSON: {steps: [{action, kind, name, was, fields: {NAME: {before, after}}}], as_wished,
           problems: [{kind, name, message, remedy}], extras: [{kind, name, within}], notes: [text]}
    """
    if employees is None and groups is None:
        raise InputError("nothing is wished", remedy="Name a file with --employees or --groups.")
    wish, export, made = _planned(employees, groups, there or [], domain, only or [])
    if json:
        write_json(plan_json(made))
    else:
        for line in () if quiet or action is Action.EXPORT else plan_lines(made):
            print(line)
        say(summary(made))
    if action is Action.EXPORT:
        if output is None:
            raise InputError("where to?", remedy="Name a folder with --output.")
        written = _write(wish, export, made, output, passwords, language)
        say(*([] if json else written))
    if made.problems:
        return 3
    return 4 if detailed_exitcode and made.waves else 0


def _planned(
    employees: Path | None, groups: Path | None, there: list[Path], domain: str, only: list[str]
) -> tuple[Wish, Export, Plan]:
    """Read all files and plan. Raises ``InputError`` with every fault of the export, or of the roster."""
    from attrs import evolve

    from alimail_core.console_sheets import read_export
    from alimail_core.directory import Kind, addresses_of
    from alimail_core.directory_plan import plan
    from alimail_core.directory_roster import read_directory

    export = read_export(there, domain)
    known = [
        address
        for home in (export.directory.employees, export.directory.groups)
        for each in home.values()
        for address in addresses_of(each)
    ]
    wish = read_directory(employees, groups, domain, known).wish(only=only)
    made = plan(wish.directory, export.directory, export.traits, wish.freeze)
    asked = set() if only else {Kind.GROUP} if employees is None else {Kind.DEPARTMENT, Kind.EMPLOYEE}
    if groups is not None and not only:
        asked |= {Kind.GROUP}
    return wish, export, evolve(made, extras=tuple(each for each in made.extras if each.kind in asked))


def _write(
    wish: Wish, export: Export, made: Plan, output: Path, passwords: Path, language: options.Language
) -> list[str]:
    """Write the console's files, with the passwords of new employees; return what to say."""
    from alimail_core.console_sheets import write_import
    from alimail_core.directory import Employee, fold
    from alimail_core.passwords import PasswordFile

    kept = PasswordFile(passwords)
    new = [step.thing.address for step in made.steps() if step.makes and isinstance(step.thing, Employee)]
    made_here = [address for address in new if fold(address) not in wish.passwords]
    kept.make(made_here)

    def password(address: str) -> str:
        own = wish.passwords.get(fold(address))
        return own.get() if own is not None else kept.get(address)

    files = write_import(made, export.directory, output, password, language.value)
    if not files:
        return ["Nothing to import."]
    lines = ["Import in the console, in this order:", *(f"  {path}" for path in files)]
    if made_here:
        lines.append(f"{count_text(len(made_here), 'new password')} in {passwords}; only you can read it.")
    return [
        *lines,
        "Then export there again, and see with `alimail provision plan --there FILE` that nothing is left.",
    ]
