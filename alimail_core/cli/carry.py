"""What ``migrate`` and ``copy`` share: ask for passwords, run with progress, tell how it ended, prove it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from alimail_core.cli.output import (
    MANY,
    STATE_WORDS,
    complain,
    count_text,
    octets_text,
    reason_lines,
    say,
    table,
)
from alimail_core.errors import InputError

if TYPE_CHECKING:
    from alimail_core.cli.frame import Frame
    from alimail_core.cli.tally import Sizes
    from alimail_core.errors import Remark
    from alimail_core.events import Observer
    from alimail_core.migration import MigrationSummary
    from alimail_core.spec import AccountSpec, MigrationSpec
    from alimail_core.transfer import PassSummary


@frozen
class Looks:
    """How a user wants to see a run, and where it is logged."""

    quiet: bool
    plain: bool
    log: Path | None


def carry(
    frame: Frame,
    spec: MigrationSpec,
    looks: Looks,
    *,
    search: str = "",
    refill: bool = False,
    retry: bool = False,
    trial: int | None = None,
    expected: Mapping[str, Sizes] | None = None,
) -> MigrationSummary:
    """Run one pass over the accounts, drawn from its events, and tell how it ended."""
    accounts = matching(spec, search)
    ask_secrets(accounts)
    with ExitStack() as stack:
        observers: list[Observer] = []
        if not looks.quiet:
            from alimail_core.cli.progress import make_progress

            progress = make_progress(len(accounts), frame.clock, expected, plain=looks.plain)
            observers.append(stack.enter_context(progress))
        migration = stack.enter_context(frame.migration(spec, observers, looks.log))
        summary = migration.run(search, refill=refill, retry=retry, trial=trial)
    if looks.quiet:
        complain(
            *reason_lines(
                (each.account, each.reason, each.remedy)
                for each in summary.accounts
                if each.state in ("failed", "pending")
            )
        )
    else:
        show_summary(summary.accounts)
    return summary


def matching(spec: MigrationSpec, search: str) -> list[AccountSpec]:
    """Return the accounts that have a text in one of their addresses.

    Raises ``InputError`` where none has: nothing done because of a slip must not look as if all were done.
    """
    found = [
        each
        for each in spec.accounts
        if search.casefold() in f"{each.source_address}\n{each.target_address}".casefold()
    ]
    if search and not found:
        raise nobody(search)
    return found


def nobody(search: str) -> InputError:
    """Return what refuses a text that is in nobody's addresses."""
    return InputError(f"no account has {search!r} in its addresses", remedy="`alimail status` lists them.")


def ask_secrets(accounts: Sequence[AccountSpec], *, to_be_made: bool = False) -> None:
    """Tell which secrets cannot be had, all of them, and ask for those that are to be asked for at a prompt.

    ``to_be_made``: first passwords of new mailboxes need not be there yet.

    Before any server is asked, and before progress is drawn over a question. Accounts whose secrets cannot be had
    wait, and the others go on. Raises ``InputError`` where no other is left and not all just wait for their people.
    """
    told: dict[Remark, None] = {}
    ready = 0
    for account in accounts:
        secrets = (account.source_secret, account.target_secret)
        lost = [
            (secret, remark)
            for secret in secrets
            if not (to_be_made and secret.is_made)
            and (remark := secret.check()) is not None
            and remark.level == "fault"
        ]
        told |= {remark: None for secret, remark in lost if not secret.is_missing}
        ready += not lost
    for remark in told:
        complain(remark.text, f"  -> {remark.remedy}")
    if told and not ready:
        raise InputError("no account can be opened without these secrets; nothing was begun")
    asked = (secret for each in accounts for secret in (each.source_secret, each.target_secret))
    for secret in asked:
        if not secret.leaves_process and secret.check() is None:
            secret.get()


def show_summary(accounts: Sequence[PassSummary]) -> None:
    """Write the closing table: every account, or where there are many those that need a look, and the sum."""
    few = len(accounts) <= MANY
    shown = [each for each in accounts if few or each.state not in ("done", "disabled")]
    rows = [_row(each) for each in shown]
    copied, adopted = sum(each.copied for each in accounts), sum(each.adopted for each in accounts)
    octets, problems = sum(each.octets for each in accounts), sum(each.problems for each in accounts)
    if len(accounts) != 1:
        done = sum(each.state == "done" for each in accounts)
        state = f"{done:,} of {count_text(len(accounts), 'account')} all there"
        disabled = sum(each.state == "disabled" for each in accounts)
        state += f", {disabled:,} disabled" if disabled else ""
        rows.append(("total", state, copied, adopted, octets_text(octets), problems))
    table(("Account", "State", "Copied", "Were there", "Octets", "Problems"), rows)
    left_out = sum(each.left_out for each in accounts)
    say(*([f"{count_text(left_out, 'message')} left out by wish"] if left_out else []))
    say(*reason_lines((each.account, each.reason, each.remedy) for each in shown))


def _row(each: PassSummary) -> tuple[object, ...]:
    state = STATE_WORDS.get(each.state, each.state)
    return each.account, state, each.copied, each.adopted, octets_text(each.octets), each.problems
