"""``alimail move``: accounts are made and their mail moves, in one run that may be cut off anywhere."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from attrs import define

from alimail_core.cli import options
from alimail_core.cli.carry import Looks, ask_secrets, carry
from alimail_core.cli.frame import Frame
from alimail_core.cli.making import make
from alimail_core.cli.output import MARKS, complain, count_text, octets_text, remark_lines, say
from alimail_core.cli.provision import write_letters
from alimail_core.cli.provision_text import counted, plan_lines, show_end, summary
from alimail_core.errors import Denied, InputError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from alimail_core.check import CheckResult
    from alimail_core.provisioning.organisation import Organisation, Planned
    from alimail_core.spec import MigrationSpec

STEPS = ("+", "~", "\x1b[32m", "\x1b[33m")
"""How the lines of steps begin, plain and in colour."""

FEW = 20
"""Lines that are shown of a longer list; the verbs that are named beside it show all."""


def move(
    context: typer.Context,
    config: options.Config = options.CONFIG,
    plan: Annotated[bool, typer.Option("--plan", help="Show what would be done, and stop.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="At the end read every message back and compare its octets.")
    ] = False,
    wait: Annotated[
        str,
        typer.Option(metavar="TIME", help="How long new mailboxes may take until they let people in."),
    ] = "10m",
    letters: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write a letter with the first password for each new person."),
    ] = None,
    language: options.InLanguage = options.Language.EN,
    yes: options.Yes = False,
    quiet: options.Quiet = False,
    plain: options.Plain = False,
    log: options.Log = None,
) -> int:
    """Make the accounts of [provision] and move everybody's mail: check, plan, provision, wait, move, verify, report.

    It tries every old mailbox first, shows the whole plan, and asks once. Passwords that are made go to the new
    mailboxes' logins by themselves, by reference; they are shown nowhere. Cut off at any step, by Ctrl-C, a crash or
    kill -9, the same command goes on: what is done is found done. Run it again later for what is new.

    Each step is also a verb of its own: `check`, `provision`, `migrate`, `verify` and `report` do the same in pieces.

    \b
    Examples:
      alimail move --plan
      alimail move
      alimail move --letters letters --language zh
      alimail move --yes --full --log move.jsonl

    \b
    Exit codes: 0: everything is there, and proven; 3: something is not, and is named; 1: could not go on;
    2: bad configuration, sheets or roster; 130 or 143: interrupted, and the same command goes on.
    """
    frame = Frame.of(context)
    run = _Move.begin(frame, config, wait, Looks(quiet, plain, log))
    if run.planned is not None:
        context.call_on_close(run.planned.close)
    run.check()
    run.show_plan()
    if plan:
        return run.code
    if not yes:
        _confirm()
    run.provision()
    if letters is not None:
        run.write_letters(letters, language)
    run.wait()
    run.migrate()
    run.verify(full=full)
    run.report()
    return run.code


@define
class _Move:
    """One run, step by step. ``code`` is the gravest exit code so far."""

    frame: Frame
    looks: Looks
    spec: MigrationSpec
    organisation: Organisation
    planned: Planned | None
    patience: float
    moving: MigrationSpec
    """The same without those that are disabled."""
    code: int = 0

    @classmethod
    def begin(cls, frame: Frame, config: Path, wait: str, looks: Looks) -> _Move:
        """Read configuration, roster and sheets; all faults are told before any mailbox is opened."""
        from alimail_core.config.load import load_provision
        from alimail_core.provisioning.organisation import Organisation
        from alimail_core.units import parse_duration

        try:
            patience = parse_duration(wait)
        except ValueError as error:
            raise InputError(f"--wait {error}") from None
        spec, provisioned = frame.load(config), load_provision(config, frame.registry)
        organisation = Organisation(provisioned, frame.registry, frame.clock)
        makes = provisioned.employees is not None or provisioned.groups is not None
        if makes:
            organisation.opener()  # so that the want of one is told before the faults of any sheet
        ask_secrets(spec.accounts, to_be_made=True)
        planned = organisation.plan(to_apply=True) if makes else None
        return cls(frame, looks, spec, organisation, planned, patience, spec)

    def check(self) -> None:
        """Try every old mailbox; one that nobody gets into is told, and the others go on."""
        from alimail_core import choice

        _head(1, "Check")
        with self.frame.migration(self.spec, log=self.looks.log) as migration:
            looked_at = list(migration.check(sides=("source",)))
        tried = iter([each.tried for each in looked_at])  # in the accounts' order, which `keep` goes through
        self.moving = choice.keep(self.spec, lambda _: next(tried))
        results = [each for each in looked_at if each.tried]
        good = [each for each in results if each.level != "fault"]
        messages, octets = sum(each.messages for each in good), sum(each.octets for each in good)
        say(f"{len(good):,} of {count_text(len(results), 'old mailbox').replace('mailboxs', 'mailboxes')} let us in: "
            f"{count_text(messages, 'message')}, {octets_text(octets)}")  # fmt: skip
        self._note(each for each in results if each.level == "fault")

    def show_plan(self) -> None:
        """Show what would be made, and what would move."""
        _head(2, "Plan")
        if self.planned is not None:
            lines = list(plan_lines(self.planned.plan))
            if len(lines) > FEW:  # what a person must see of a long plan; its steps are counted
                lines = [*counted(self.planned.plan), *(line for line in lines if not line.startswith(STEPS))]
            shown = [] if self.looks.quiet else lines[:FEW]
            print(*shown, sep="\n", end="\n" if shown else "")
            if len(lines) > len(shown) and not self.looks.quiet:
                say(f"... and {len(lines) - len(shown):,} more: `alimail provision plan` shows them all")
            say(summary(self.planned.plan))
            if self.planned.plan.problems:
                self.code = max(self.code, 3)
        moving, all_of_them = len(self.moving.accounts), len(self.spec.accounts)
        over = f"{all_of_them - moving:,} disabled; " if moving < all_of_them else ""
        say(f"Mail of {count_text(moving, 'account')} moves; {over}`alimail plan` shows each folder.")

    def provision(self) -> None:
        """Make what is wished."""
        if self.planned is None:
            return
        _head(3, "Provision")
        ended = make(self.frame, self.organisation, self.planned, each=False, quiet=self.looks.quiet)
        show_end(ended, self.organisation.spec.passwords, json=False)
        if not ended.complete:
            self.code = 3

    def write_letters(self, folder: Path, language: options.Language) -> None:
        """Write to the new people."""
        if self.planned is not None:
            write_letters(self.organisation, self.planned, folder, language)

    def wait(self) -> None:
        """Wait until the new mailboxes let their people in."""
        from alimail_core.logins import wait_for_logins

        _head(4, "Wait for logins")

        def tell(ready: int, everyone: int) -> None:
            if ready < everyone and not self.looks.quiet:
                complain(f"{ready:,} of {everyone:,} new mailboxes let us in")

        with self.frame.migration(self.moving, log=self.looks.log) as migration:
            shut = wait_for_logins(migration, self.patience, tell)
        everyone = len(self.moving.accounts)
        say(f"{everyone - len(shut):,} of {everyone:,} new mailboxes let us in")
        self._note(shut)

    def migrate(self) -> None:
        """Carry the mail."""
        _head(5, "Move")
        self._end(carry(self.frame, self.spec, self.looks).exit_code)

    def verify(self, *, full: bool) -> None:
        """Prove it."""
        from alimail_core.cli.answer import prove

        _head(6, "Verify")
        self._end(prove(self.frame, self.moving, full=full, quiet=self.looks.quiet, plain=self.looks.plain))
        if self.planned is not None:
            self._end(self._ask_books())

    def _ask_books(self) -> int:
        """Hold the service's own books against the ledger, where it tells them; return the exit code."""
        from alimail_core.cli.counts import count

        if not self.planned or not self.planned.traits.counts_mail:
            return 0
        try:
            return count(self.frame, self.organisation, self.moving, json=False, quiet=True)
        except Denied as error:  # one witness less, which nobody has promised
            say(f"The service's own books were not asked: {error.message}", f"  -> {error.remedy}")
            return 0

    def report(self) -> None:
        """Write it down."""
        _head(7, "Report")
        with self.frame.migration(self.spec) as migration:
            say(*(f"  {path}" for path in migration.report()))

    def _note(self, results: Iterable[CheckResult]) -> None:
        """Tell some of those that nobody gets into."""
        told = list(results)
        for each in told[:FEW]:
            say(f"{each.address}: {MARKS[each.level]}")
            say(
                *(line for remark in each.remarks if remark.level == "fault" for line in remark_lines(remark))
            )
        if len(told) > FEW:
            say(f"... and {len(told) - FEW:,} more: `alimail check` tells them all")
        if told:
            self.code = max(self.code, 3)

    def _end(self, code: int) -> None:
        """Keep the gravest code; an interruption ends the run."""
        if code > 128:
            say("Interrupted; nothing is lost. The same command goes on.", stream=sys.stderr)
            raise typer.Exit(code)
        self.code = 1 if 1 in (code, self.code) else max(code, self.code)


def _confirm() -> None:
    if not sys.stdin.isatty():
        raise InputError(
            "move asks before it makes or moves anything", remedy="Without a terminal, say --yes."
        )
    if not typer.confirm("Do all of this?", default=False, err=True):
        say("Nothing was changed.")
        raise typer.Exit(1)


def _head(number: int, name: str) -> None:
    say("", f"{number}/7 {name}")
