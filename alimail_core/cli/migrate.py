"""``alimail migrate``: carry everything that is new, changed or moved at the source."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from alimail_core.cli import options
from alimail_core.cli.carry import Looks, ask_secrets, carry, matching
from alimail_core.cli.frame import Frame
from alimail_core.cli.output import counted, say
from alimail_core.cli.plan import show_plans
from alimail_core.errors import InputError

if TYPE_CHECKING:
    from alimail_core.cli.tally import Sizes
    from alimail_core.spec import MigrationSpec


def migrate(
    context: typer.Context,
    config: options.Config = options.CONFIG,
    search: options.Search = "",
    only: options.Only = None,
    wave: options.Wave = None,
    retry_problems: Annotated[
        bool,
        typer.Option(
            "--retry-problems",
            help="Only accounts whose last pass met a problem or was cut off; what was refused is offered again.",
        ),
    ] = False,
    trial: Annotated[
        int | None,
        typer.Option(
            "--trial",
            metavar="N",
            min=1,
            help="Carry only the N newest messages of each folder, to look at; a later run carries the rest.",
        ),
    ] = None,
    refill: Annotated[
        bool,
        typer.Option(
            "--refill",
            help="Also copy again what was carried and is not in the target any more, and what was refused.",
        ),
    ] = False,
    yes: options.Yes = False,
    quiet: options.Quiet = False,
    plain: options.Plain = False,
    log: options.Log = None,
) -> int:
    """Move the mail. Run it again at any time, also after a crash: it goes on, and copies nothing twice.

    It first shows what would move to whom, and asks; with --yes it does neither, and without a terminal it must be
    said. Look at `alimail plan` for each folder.
    Ctrl-C finishes the batches under way and stops; a second Ctrl-C ends at once, also without any loss.

    \b
    Examples:
      alimail migrate
      alimail migrate --trial 20                # look at the target, then go on without --trial
      alimail migrate --only anna@old.example --only bert@old.example
      alimail migrate --search @sales.example --yes
      alimail migrate --wave 1
      alimail migrate --retry-problems --yes
      alimail migrate -c branch.toml --yes --log branch.jsonl
      alimail migrate --refill --search anna    # after Anna's new mailbox was made anew
    """
    from alimail_core import choice

    frame = Frame.of(context)
    spec = choice.some(frame.load(config), only, wave)
    matching(spec, search)  # refuses a text that nobody has, before the ledger is asked
    if retry_problems:
        spec = _with_problems(frame, spec, search)
        if not spec.accounts:
            say("No account has a problem.")
            return 0
    expected = None
    if not yes:
        expected = _ask(frame, spec, search, trial)
    summary = carry(
        frame,
        spec,
        Looks(quiet, plain, log),
        search=search,
        refill=refill,
        retry=retry_problems,
        trial=trial,
        expected=None if trial else expected,
    )
    code = summary.exit_code
    if code > 128 or not quiet:
        said = options.said(config, search, only or (), wave)
        ran = any(each.state != "disabled" for each in summary.accounts)
        next_step = _next_step(code, said, trial) if ran else "All of them are disabled; nothing was moved."
        say(next_step, stream=sys.stderr if code > 128 else None)
    return code


def _with_problems(frame: Frame, spec: MigrationSpec, search: str) -> MigrationSpec:
    """Keep the accounts whose last pass met a problem or did not come to its end."""
    from alimail_core import choice

    with frame.migration(spec) as migration:
        rows = migration.status(search)
    ended_well = ("", "done", "trial", "running", "disabled")
    odd = {
        (row.source_address, row.target_address)
        for row in rows
        if row.problems or row.state not in ended_well
    }
    return choice.keep(spec, lambda each: (each.source_address, each.target_address) in odd)


def _ask(frame: Frame, spec: MigrationSpec, search: str, trial: int | None) -> dict[str, Sizes]:
    """Show what would move and ask; return, by account, the messages and octets of each folder."""
    if not sys.stdin.isatty():
        raise InputError("migrate asks before it moves anything", remedy="Without a terminal, say --yes.")
    accounts = matching(spec, search)
    ask_secrets(accounts)
    with frame.migration(spec) as migration:
        plans = list(counted(migration.plan(search), len(accounts), "account", frame.clock))
    show_plans(spec, plans)
    if trial:
        say(f"This is a trial: of these, the {trial:,} newest messages of each folder.")
    if not typer.confirm(
        "Move it?", default=True, err=True
    ):  # the question is seen where the plan goes to a file
        say("Nothing was moved.")
        raise typer.Exit(1)
    return {
        plan.source_address: {each.source: (each.messages, each.octets) for each in plan.folders}
        for plan in plans
    }


def _next_step(code: int, given: str, trial: int | None) -> str:
    match code:
        case 0 if trial:
            return f"Next: look at the target, then `alimail migrate{given}` carries the rest."
        case 0:
            return f"Next: `alimail verify --full{given}` for a proof, `alimail report{given}` for the files."
        case 3:
            again = f"alimail migrate{given} --retry-problems"
            return f"Next: `alimail report{given}` names the problems; `{again}` tries them again."
        case 130 | 143:
            return f"Interrupted between two batches; nothing is lost. `alimail migrate{given}` goes on."
        case _:
            return f"Not everything could go on; see above. `alimail migrate{given}` tries again."
