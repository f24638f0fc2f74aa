"""Live progress, drawn from events and from nothing else.

On a terminal: a line for each account that is being worked on and one for the whole. Elsewhere (a file, a pipe,
a dumb terminal, ``NO_COLOR``, ``--plain``): a line for each folder that is settled, and a summary now and then.
Both write to standard error, so that standard output stays for results.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from alimail_core.cli.output import (
    STATE_WORDS,
    count_text,
    duration_text,
    is_dumb,
    octets_text,
    path_text,
    tell,
)
from alimail_core.cli.tally import AccountTally, Sizes, Tally
from alimail_core.events import (
    Event,
    FolderListed,
    FolderSettled,
    Noted,
    PassEnded,
    ProblemFound,
    ProofEnded,
    Waiting,
)
from alimail_core.seam import Clock
from alimail_core.text import printable

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

SUMMARY_SECONDS = 30.0
"""How often a summary is written where lines stay."""

LOUD = 10
"""Problems, and notes, that are shown as they come; further ones are counted and stand in the report."""

SHORT_KEY = 40

MORE = "(more of these are counted here, and named by `alimail report`)"


class Progress(AbstractContextManager["Progress"]):
    """An observer that draws. Events may come from several threads; each is handled in its own."""

    def __init__(self, accounts: int, clock: Clock, expected: Mapping[str, Sizes] | None = None) -> None:
        self.clock = clock
        self.tally = Tally(clock.monotonic(), accounts, expected or {})
        self._lock = threading.RLock()
        self._told = {ProblemFound: 0, Noted: 0}
        self._notes: dict[str, Counter[str]] = {}
        self._first: dict[str, int] = {}
        """The number with which each note was shown as it first came."""

    def __call__(self, event: Event) -> None:
        """Take one event, and show what has changed."""
        with self._lock:
            account = self.tally.take(event, self.clock.monotonic())
            for line in self._worth_a_line(event):
                self.write(line)
            self.show(event, account)

    def write(self, line: str) -> None:
        """Show a line that stays. It is safe to show already."""
        raise NotImplementedError

    def show(self, event: Event, account: AccountTally) -> None:
        """Show what an event has changed."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop drawing, and tell how often each note was true in the end, and of how many accounts."""
        for line in self._grown_notes():
            self.write(line)

    def _grown_notes(self) -> list[str]:
        grown = {text: each for text, each in self._notes.items() if each.total() > self._first[text]}
        lines = [f"{_whose(each)}: {_often(text, each.total())}" for text, each in list(grown.items())[:LOUD]]
        return [*lines, *([MORE] if len(grown) > LOUD else [])]

    def _worth_a_line(self, event: Event) -> list[str]:
        """Return the lines for a problem, a new note, the end of an account; in either way of drawing."""
        name = printable(event.account)
        match event:
            case ProblemFound():
                return self._sparingly(ProblemFound, f"{name}: problem in {_problem(event)}")
            case Noted(text=text, count=count):
                known = self._notes.setdefault(text, Counter())
                known[event.account] += count
                first = self._first.setdefault(text, count) == known.total()
                return self._sparingly(Noted, f"{name}: {_often(text, count)}") if first else []
            case PassEnded():
                return [f"{name}: {_ended(event)}"]
            case ProofEnded():
                looked_at = count_text(self.tally.accounts[event.account].messages, "message")
                return [f"{name}: {_proven(event)}, {looked_at} looked at"]
        return []

    def _sparingly(self, kind: type[Event], line: str) -> list[str]:
        self._told[kind] += 1
        if self._told[kind] == LOUD + 1:
            return [MORE]
        return [line] if self._told[kind] <= LOUD else []

    def total_line(self) -> str:
        """Return where the whole stands: messages, octets, pace, problems, and how long it will take yet."""
        now = self.clock.monotonic()
        messages, octets, problems = self.tally.sum()
        left, _ = self.tally.left()
        more = "" if self.tally.all_known() else "+"
        ended = sum(each.state != "running" for each in self.tally.accounts.values())
        parts = [
            f"{ended:,} of {count_text(self.tally.total_accounts, 'account')}",
            f"{messages:,} of {count_text(messages + left, 'message').replace(' ', more + ' ')}",
            octets_text(octets),
            *_pace(self.tally.window.pace(now)),
            *([count_text(problems, "problem")] if problems else []),
            *self._rest(now),
        ]
        return ", ".join(parts)

    def _rest(self, now: float) -> list[str]:
        estimate = self.tally.estimate(now)
        if estimate is None:
            return []
        return [f"{'at least' if estimate.at_least else 'about'} {duration_text(estimate.seconds)} left"]


class PlainProgress(Progress):
    """Lines that stay, for files, pipes and cron."""

    def __init__(
        self, stream: TextIO, accounts: int, clock: Clock, expected: Mapping[str, Sizes] | None = None
    ) -> None:
        super().__init__(accounts, clock, expected)
        self._stream = stream
        self._summed_up = clock.monotonic()

    def write(self, line: str) -> None:
        """Write a line at once."""
        tell(line, self._stream)

    def show(self, event: Event, account: AccountTally) -> None:
        """Write a line for a folder that is settled or a wait, and every half minute where the whole stands."""
        name = printable(event.account)
        match event:
            case FolderListed() if event.pending_messages:
                # Some sources do not tell sizes before they give messages.
                size = f", {octets_text(event.pending_octets)}" if event.pending_octets else ""
                number = count_text(event.pending_messages, "message")
                # A target that cannot have a folder's name has another one for it: its reader will look for it.
                place = "" if event.target == event.folder else f" to {path_text(event.target)}"
                self.write(f"{name}: {path_text(event.folder)}: {number}{size} to copy{place}")
            case FolderSettled():
                folder = account.folders.get(event.folder)
                if folder is not None and folder.messages:
                    size = f"{count_text(folder.messages, 'message')}, {octets_text(folder.octets)}"
                    self.write(f"{name}: {path_text(event.folder)}: {size} settled")
            case Waiting():
                self.write(f"{name}: {_waiting(event.seconds, event.reason)}")
        if self.clock.monotonic() - self._summed_up >= SUMMARY_SECONDS:
            self._summed_up = self.clock.monotonic()
            self.write(self.total_line())


class LiveProgress(Progress):
    """A few lines at the bottom of a terminal that are drawn anew four times a second."""

    def __init__(
        self, console: Console, accounts: int, clock: Clock, expected: Mapping[str, Sizes] | None = None
    ) -> None:
        from rich.live import Live

        super().__init__(accounts, clock, expected)
        self.console = console
        self._live = Live(
            console=console,
            get_renderable=self.picture,
            refresh_per_second=4,
            redirect_stdout=False,
            redirect_stderr=True,
        )

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Draw the last state and leave it there."""
        self._live.stop()
        super().__exit__(kind, error, trace)

    def write(self, line: str) -> None:
        """Write a line above the drawing."""
        from rich.text import Text

        self.console.print(Text(line))

    def picture(self) -> RenderableType:
        """Return the lines as they are now, cut to the terminal's width and height; the sum may take two."""
        from rich.console import Group
        from rich.text import Text

        with self._lock:
            running = self.tally.running()
            room = max(1, self.console.height - 4)
            lines = [self._account_line(each) for each in running[:room]]
            if len(running) > room:
                lines.append(f"... and {count_text(len(running) - room, 'account')} more")
            total = self.total_line()
        return Group(*(Text(line, no_wrap=True, overflow="ellipsis") for line in lines), Text(total))

    def _account_line(self, account: AccountTally) -> str:
        now = self.clock.monotonic()
        name = printable(account.account)
        if account.waiting_until > now:
            return f"{name}  {_waiting(account.waiting_until - now, account.waiting_for)}"
        left, _ = account.left()
        parts = [
            f"{account.messages:,}/{account.messages + left:,}",
            octets_text(account.octets),
            *_pace(account.window.pace(now)),
            *([count_text(account.problems, "problem")] if account.problems else []),
            path_text(account.folder) or "looking at both sides",  # last: where there is no room, it is cut
        ]
        return f"{name}  {'  '.join(parts)}"


def make_progress(
    accounts: int,
    clock: Clock,
    expected: Mapping[str, Sizes] | None = None,
    *,
    plain: bool,
    stream: TextIO | None = None,
) -> Progress:
    """Return the way of drawing that suits the stream (standard error unless told)."""
    stream = stream or sys.stderr
    if plain or is_dumb(stream):
        return PlainProgress(stream, accounts, clock, expected)
    from rich.console import Console

    return LiveProgress(
        Console(file=stream, markup=False, emoji=False, highlight=False), accounts, clock, expected
    )


def _pace(pace: tuple[float, float] | None) -> list[str]:
    if pace is None:
        return []
    return [
        f"{pace[0]:,.0f} messages/s" if pace[0] >= 1 else f"{pace[0] * 60:,.0f} messages/min",
        f"{octets_text(pace[1])}/s",
    ]


def _waiting(seconds: float, reason: str) -> str:
    return f"waiting {duration_text(seconds)}: {printable(reason)}"


def _whose(accounts: Collection[str]) -> str:
    return printable(next(iter(accounts))) if len(accounts) == 1 else count_text(len(accounts), "account")


def _often(text: str, count: int) -> str:
    return printable(text) if count == 1 else f"{printable(text)} ({count:,})"


def _proven(event: ProofEnded) -> str:
    if event.failed:
        return "could not be looked at to the end"
    return "all there" if event.complete else "NOT all there"


def _problem(event: ProblemFound) -> str:
    remedy = f" -> {printable(event.remedy)}" if event.remedy else ""
    place = path_text(event.folder) or "the account"
    # A person finds a message by its UID or UIDL; an ItemId is for programs, and as long as the rest of the line.
    key = f" {printable(event.key)}" if event.key and len(event.key) <= SHORT_KEY else ""
    return f"{place}{key}: {printable(event.reason)}{remedy}"


def _ended(event: PassEnded) -> str:
    parts = [STATE_WORDS.get(event.state, event.state), f"{event.copied:,} copied"]
    parts += [f"{event.adopted:,} were there already"] if event.adopted else []
    parts += [octets_text(event.octets)]
    parts += [count_text(event.problems, "problem")] if event.problems else []
    line = ", ".join(parts)
    reason = f": {printable(event.reason)}" if event.reason else ""
    return f"{line}{reason}{f' -> {printable(event.remedy)}' if event.remedy else ''}"
