"""What a run has done and what is left, added up from its events: the numbers behind the progress display."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import TypeAlias

from attrs import Factory, define, frozen

from alimail_core.events import (
    BatchSettled,
    Event,
    FolderListed,
    FolderSettled,
    MessagesProven,
    PassEnded,
    PassStarted,
    ProblemFound,
    ProofEnded,
    ProofStarted,
    Waiting,
)
from alimail_core.model import FolderPath

Size: TypeAlias = tuple[int, int]
"""Messages and octets."""

Sizes: TypeAlias = Mapping[FolderPath, Size]
"""What was counted beforehand of each folder of an account; a number for all folders has the path ``()``."""

WINDOW_SECONDS = 60.0
"""How far back the pace is measured: long enough to be calm, short enough to follow a server that slows down."""

MEASURE_SECONDS = 2.0
"""No pace and no estimate before so much time was watched: a first burst tells nothing."""


@define
class Window:
    """The pace of the last minute, of messages and of octets."""

    began: float
    steps: deque[tuple[float, int, int]] = Factory(deque)

    def start(self, now: float) -> None:
        """Count from now on, where nothing was settled yet: what came before were logins and listings."""
        if not self.steps:
            self.began = now

    def add(self, now: float, messages: int, octets: int) -> None:
        """Note what has just been settled."""
        self.steps.append((now, messages, octets))
        self._forget(now)

    def pace(self, now: float) -> tuple[float, float] | None:
        """Return messages and octets a second, ``None`` while too little was seen."""
        self._forget(now)
        span = min(WINDOW_SECONDS, now - self.began)
        if span < MEASURE_SECONDS or not self.steps:
            return None
        return (
            sum(messages for _, messages, _ in self.steps) / span,
            sum(octets for _, _, octets in self.steps) / span,
        )

    def _forget(self, now: float) -> None:
        while self.steps and self.steps[0][0] < now - WINDOW_SECONDS:
            self.steps.popleft()


@define
class FolderTally:
    """One source folder: what its last listing left to do, and what was dealt with since."""

    pending_messages: int
    pending_octets: int
    messages: int = 0
    octets: int = 0

    def left(self) -> Size:
        """Return messages and octets that still must travel."""
        messages = max(0, self.pending_messages - self.messages)
        return messages, max(0, self.pending_octets - self.octets) if messages else 0


@define
class AccountTally:
    """One account's pass, or proof, so far."""

    account: str
    window: Window
    expected: Sizes | None = None
    """What a plan has counted; ``None``: only what is listed is known."""
    state: str = "running"
    folder: FolderPath = ()
    folders: dict[FolderPath, FolderTally] = Factory(dict)
    copied: int = 0
    adopted: int = 0
    octets: int = 0
    problems: int = 0
    waiting_until: float = 0.0
    waiting_for: str = ""

    @property
    def messages(self) -> int:
        """Return how many messages are dealt with."""
        return self.copied + self.adopted

    def listed(self, path: FolderPath, messages: int, octets: int) -> None:
        """Count what a folder's listing left to do; where that has no sizes, by the plan's."""
        planned, expected = (self.expected or {}).get(path, (0, 0))
        if messages and not octets and planned:
            octets = expected * messages // planned
        self.folders[path] = FolderTally(messages, octets)

    def settle(self, path: FolderPath, messages: int, octets: int) -> None:
        """Count messages of a folder as dealt with."""
        self.folder = path
        self.octets += octets
        folder = self.folders.get(path) or self.folders.get(())
        if folder is not None:
            folder.messages += messages
            folder.octets += octets

    def left(self) -> Size:
        """Return messages and octets that are still to be dealt with, as far as is known.

        A folder's own listing counts more than what a plan has said of it: mail that was moved does not travel.
        """
        if self.state != "running":
            return 0, 0
        unlisted = [size for path, size in (self.expected or {}).items() if path not in self.folders]
        return _sum([*unlisted, *(each.left() for each in self.folders.values())])


@frozen
class Estimate:
    """How long the rest takes at the pace of the last minute. ``at_least``: not everything is listed yet."""

    seconds: float
    at_least: bool


@define
class Tally:
    """A whole run so far. ``take`` every event, with the clock's monotonic seconds at which it came."""

    began: float
    total_accounts: int
    expected: Mapping[str, Sizes] = Factory(dict)
    accounts: dict[str, AccountTally] = Factory(dict)
    window: Window = Factory(lambda self: Window(self.began), takes_self=True)

    def take(self, event: Event, now: float) -> AccountTally:
        """Count an event; return the account that it was about."""
        account = self.accounts.get(event.account)
        if account is None:
            account = AccountTally(event.account, Window(now), self.expected.get(event.account))
            self.accounts[event.account] = account
        if not isinstance(event, Waiting):
            account.waiting_until = 0.0
        match event:
            case PassStarted():
                account.state = "running"
            case ProofStarted():
                account.state, account.expected = "running", {}
                account.folders[()] = FolderTally(event.messages, event.octets)
                self.window.start(now)
            case Waiting():
                account.waiting_until, account.waiting_for = now + event.seconds, event.reason
            case FolderListed():
                account.listed(event.folder, event.pending_messages, event.pending_octets)
                account.window.start(now)
                self.window.start(now)
            case BatchSettled():
                account.copied += event.copied
                account.adopted += event.adopted
                account.settle(event.folder, event.copied + event.adopted, event.octets)
                if not event.adopted:  # what was there already tells nothing of how fast mail travels
                    self._move(account, event.copied, event.octets, now)
            case MessagesProven():
                account.copied += event.messages
                account.settle(event.folder, event.messages, event.octets)
                self._move(account, event.messages, event.octets, now)
            case FolderSettled():
                _close(account, event)
            case ProblemFound():
                _set_aside(account, event)
            case PassEnded():
                _end(account, event)
            case ProofEnded():
                account.state = "failed" if event.failed else "done" if event.complete else "problems"
        return account

    def _move(self, account: AccountTally, messages: int, octets: int, now: float) -> None:
        account.window.add(now, messages, octets)
        self.window.add(now, messages, octets)

    def running(self) -> list[AccountTally]:
        """Return the accounts that are being worked on, in the order in which they began."""
        return [each for each in self.accounts.values() if each.state == "running"]

    def sum(self) -> tuple[int, int, int]:
        """Return messages, octets and problems of all accounts."""
        rows = self.accounts.values()
        return (
            sum(each.messages for each in rows),
            sum(each.octets for each in rows),
            sum(each.problems for each in rows),
        )

    def left(self) -> Size:
        """Return messages and octets that are still to be dealt with, as far as is known."""
        unseen = [sizes.values() for name, sizes in self.expected.items() if name not in self.accounts]
        return _sum([*(each.left() for each in self.accounts.values()), *chain.from_iterable(unseen)])

    def all_known(self) -> bool:
        """Tell whether ``left`` is the whole: everything was counted before, or every pass is over."""
        seen = self.accounts.values()
        open_ones = [each for each in seen if each.state == "running" and each.expected is None]
        unseen = self.total_accounts - len(seen)
        return not open_ones and unseen <= sum(name not in self.accounts for name in self.expected)

    def estimate(self, now: float) -> Estimate | None:
        """Return the time that the rest takes, ``None`` while no pace is known or nothing is left.

        Small mail is bound by messages and large mail by octets: the slower of the two decides.
        """
        pace, left = self.window.pace(now), _sum([self.left(), self._like_those_that_are_over()])
        if pace is None or not any(left):
            return None
        by_each = [each / speed for each, speed in zip(left, pace, strict=True) if speed]
        return Estimate(max(by_each), not self.all_known()) if by_each else None

    def _like_those_that_are_over(self) -> Size:
        """Guess what accounts hold of which nothing is known yet: each as much as those that are over had."""
        over = [each for each in self.accounts.values() if each.state not in ("running", "disabled")]
        unseen = self.total_accounts - len(self.accounts.keys() | self.expected.keys())
        if not over:
            return 0, 0
        messages, octets = _sum((each.copied, each.octets if each.copied else 0) for each in over)
        return messages * unseen // len(over), octets * unseen // len(over)


def _sum(sizes: Iterable[Size]) -> Size:
    told = list(sizes)
    return sum(messages for messages, _ in told), sum(octets for _, octets in told)


def _close(account: AccountTally, event: FolderSettled) -> None:
    folder = account.folders.get(event.folder)
    if folder is not None:
        folder.pending_messages = folder.messages


def _set_aside(account: AccountTally, event: ProblemFound) -> None:
    account.problems += 1
    folder = account.folders.get(event.folder)
    if folder is not None and event.key is not None:
        folder.messages += 1


def _end(account: AccountTally, event: PassEnded) -> None:
    account.state = event.state
    account.copied, account.adopted = event.copied, event.adopted
    account.octets = max(account.octets, event.octets)  # of what was there already, only the batches tell
    account.problems = event.problems
