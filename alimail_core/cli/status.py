"""``alimail status``: how far everything has come, from the ledger; also while a run goes on elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from alimail_core.cli import options
from alimail_core.cli.carry import nobody
from alimail_core.cli.frame import Frame, all_of_it_stays
from alimail_core.cli.output import (
    MANY,
    STATE_WORDS,
    count_text,
    duration_text,
    octets_text,
    plain,
    reason_lines,
    say,
    table,
    write_json,
)

if TYPE_CHECKING:
    from alimail_core.seam import Clock
    from alimail_core.status import AccountStatus


def status(
    context: typer.Context,
    config: options.Config = options.CONFIG,
    search: options.Search = "",
    only: options.Only = None,
    wave: options.Wave = None,
    pending: Annotated[
        bool,
        typer.Option(
            "--pending", help="Only accounts whose password is missing, or was refused when they last ran."
        ),
    ] = False,
    json: options.Json = False,
) -> int:
    """Show the state of every account, from the ledger alone: no server is asked, no password needed.

    It may be asked at any time, also while `alimail migrate` runs in another terminal.

    \b
    Examples:
      alimail status
      alimail status --search @sales.example
      alimail status --wave 1
      alimail status --pending       # who has to be asked for a password
      alimail status --json | jq '.accounts[] | select(.problems > 0) | .source_address'

    \b
    JSON: {accounts: [{source_address, target_address, state, enabled, in_roster, passes, started, ended,
           settled_messages, settled_octets, pending_messages, pending_octets, left_out, quarantined, problems,
           written_octets, octets_per_second, reason, remedy}]}; times are ISO 8601 in UTC, or null
    state: done, problems, trial, stopped, failed, pending (a password is missing), running, interrupted,
           disabled; empty: no pass ever began
    """
    frame = Frame.of(context)
    with all_of_it_stays():
        from alimail_core import choice

        with frame.migration(choice.some(frame.load(config), only, wave)) as migration:
            found = migration.status(search)
        if search and not found:
            raise nobody(search)
        rows = [row for row in found if not pending or row.state == "pending"]
        if json:
            write_json({"accounts": [plain(row) for row in rows]})
            return 0
        if pending and not rows:
            say("Nobody's password is missing, nor was any refused when its account last ran.")
            return 0
        _show(rows, frame.clock)
    say(*reason_lines((row.source_address, row.reason, row.remedy) for row in rows))
    if len(rows) > MANY:
        states = Counter(map(_state, rows))
        say("; ".join(f"{number:,} {state}" for state, number in states.most_common()))
    settled, left = sum(row.settled_messages for row in rows), sum(row.pending_messages for row in rows)
    there = f"{count_text(settled, 'message')} ({octets_text(sum(row.settled_octets for row in rows))})"
    left_out = sum(row.left_out for row in rows)
    besides = f", {left_out:,} left out by wish" if left_out else ""
    say(f"{count_text(len(rows), 'account')}: {there} there, {left:,} known to be left{besides}")
    return 0


def _show(rows: Sequence[AccountStatus], clock: Clock) -> None:
    """Write a line for each account; with its target where the source alone does not tell it."""
    branches = len({row.source_address for row in rows}) < len(rows)
    headings = ("Account", *(["Target"] if branches else []), "State", "Since", "There", "Octets", "Left")
    table((*headings, "Problems"), [_row(row, clock, branches) for row in rows])


def _row(row: AccountStatus, clock: Clock, branches: bool) -> tuple[object, ...]:
    return (
        row.source_address,
        *([row.target_address] if branches else []),
        _state(row),
        _since(row, clock),
        row.settled_messages,
        octets_text(row.settled_octets),
        row.pending_messages,
        row.problems,
    )


def _state(row: AccountStatus) -> str:
    words = STATE_WORDS.get(row.state, row.state) or "not begun"
    words += "" if row.enabled or row.state == "disabled" else ", disabled"
    return words if row.in_roster else f"{words}, not in the roster any more"


def _since(row: AccountStatus, clock: Clock) -> str:
    at = row.started if row.state == "running" else row.ended or row.started
    return f"{duration_text((clock.now() - at).total_seconds())} ago" if at else ""
