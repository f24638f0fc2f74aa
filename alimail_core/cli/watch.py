"""``alimail watch``: keep passing until told to stop, so that the target follows new mail."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from alimail_core.cli import options
from alimail_core.cli.carry import ask_secrets, matching
from alimail_core.cli.frame import Frame
from alimail_core.cli.output import STATE_WORDS, complain, count_text, octets_text, say
from alimail_core.errors import InputError
from alimail_core.units import parse_duration

if TYPE_CHECKING:
    from alimail_core.migration import Migration
    from alimail_core.seam import Clock
    from alimail_core.transfer import PassSummary


def watch(
    context: typer.Context,
    config: options.Config = options.CONFIG,
    search: options.Search = "",
    only: options.Only = None,
    wave: options.Wave = None,
    every: Annotated[
        str,
        typer.Option(metavar="TIME", help="The pause after each account's pass; else the configuration's."),
    ] = "",
    log: options.Log = None,
) -> int:
    """Keep moving new mail until told to stop: every account that is enabled again and again.

    A server that tells of new mail (IDLE) is listened to between two passes, over one connection for each account and
    as far as connections are to spare: what comes into an inbox is moved at once. All other servers, folders and
    changes are looked at after the pause.

    It writes a line for each pass that brought something, or ended in another way than the one before. An account
    whose server is down is tried ever more rarely, up to once an hour, and holds up no other. Ctrl-C or SIGTERM
    finishes the batches under way and stops; killed, it is simply started again. Configuration and roster are read
    when it starts.

    \b
    Examples:
      alimail watch
      alimail watch --every 90s
      alimail watch --wave 1
      alimail watch -c branch.toml --log branch.jsonl
    """
    from attrs import evolve

    from alimail_core import choice
    from alimail_core.watch import Watch

    frame = Frame.of(context)
    spec = choice.some(frame.load(config), only, wave)
    spec = evolve(spec, accounts=tuple(matching(spec, search)))
    pause = _seconds(every) if every else spec.every
    ask_secrets(spec.accounts)
    with frame.migration(spec, log=log) as migration:
        say(_opening(migration))
        sys.stdout.flush()
        Watch(migration, pause, _Lines(frame.clock)).run()
    given = options.said(config, search, only or (), wave) + (f" --every={every}" if every else "")
    complain(f"Interrupted between two batches; nothing is lost. `alimail watch{given}` goes on.")
    return 128 + frame.stop.signal


def _opening(migration: Migration) -> str:
    """Say how many accounts are watched: one that is disabled has no pass, and so no line that tells of it."""
    disabled = sum(not each.enabled for each in migration.status() if each.in_roster)
    asleep = f", of which {disabled:,} {'is' if disabled == 1 else 'are'} disabled" if disabled else ""
    return f"watching {count_text(len(migration.spec.accounts), 'account')}{asleep}; Ctrl-C stops"


def _seconds(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise InputError(f"--every {error}") from None


class _Lines:
    """One line for each pass that has something new to tell."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._before: dict[str, tuple[str, str]] = {}

    def __call__(self, summary: PassSummary) -> None:
        """Write the line, or nothing."""
        end = (summary.state, summary.reason)
        news = self._before.get(summary.account, ("done", "")) != end and summary.state != "stopped"
        self._before[summary.account] = end
        if not (news or summary.copied or summary.adopted):
            return
        brought = f"{summary.copied:,} copied, {summary.adopted:,} were there, {octets_text(summary.octets)}"
        told = [brought, *([f"{summary.problems:,} problems"] if summary.problems else [])]
        state = STATE_WORDS.get(summary.state, summary.state)
        told += [f"{state}: {summary.reason}" if summary.reason else state]
        say(f"{self._clock.now():%Y-%m-%d %H:%M:%SZ} {summary.account}: {'; '.join(told)}")
        if news and summary.remedy:
            say(f"  -> {summary.remedy}")
        sys.stdout.flush()
