"""What a run has done and what is left, added up from its events: the numbers behind the progress display."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from attrs import Factory, define, field, frozen

from alimail_core.events import (
    BatchSettled,
    Event,
    FolderListed,
    FolderSettled,
    PassEnded,
    PassStarted,
    ProblemFound,
    Waiting,
)
from alimail_core.model import FolderPath

WINDOW_SECONDS = 60.0
"""How far back the pace is measured: long enough to be calm, short enough to follow a server that slows down."""

MEASURE_SECONDS = 5.0
"""No pace and no estimate before so much time was watched: a first burst tells nothing."""


@define
class Window:
    """The pace of the last minute, of messages and of octets."""

    began: float
    steps: deque[tuple[float, int, int]] = Factory(deque)

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

    target: FolderPath
    pending_messages: int
    pending_octets: int
    messages: int = 0
    octets: int = 0

    def left(self) -> tuple[int, int]:
        """Return messages and octets that still must travel."""
        messages = max(0, self.pending_messages - self.messages)
        return messages, max(0, self.pending_octets - self.octets) if messages else 0


@define
class AccountTally:
    """One account's pass so far."""

    account: str
    window: Window
    expected: tuple[int, int] | None = None
    """Messages and octets that a plan has counted; ``None``: only what is listed is known."""
    state: str = "running"
    folder: FolderPath = ()
    folders: dict[FolderPath, FolderTally] = Factory(dict)
    copied: int = 0
    adopted: int = 0
    octets: int = 0
    problems: int = 0
    waiting_until: float = 0.0
    waiting_for: str = ""

    def find(self, path: FolderPath) -> FolderTally | None:
        """Return the tally of a folder by its source path, else by the target path that it goes to."""
        own = self.folders.get(path)
        return own or next((each for each in self.folders.values() if each.target == path), None)

    @property
    def messages(self) -> int:
        """Return how many messages are settled."""
        return self.copied + self.adopted

    def left(self) -> tuple[int, int]:
        """Return messages and octets that still must travel, as far as is known."""
        if self.state != "running":
            return 0, 0
        lefts = [each.left() for each in self.folders.values()]
        messages, octets = sum(each for each, _ in lefts), sum(each for _, each in lefts)
        if self.expected is not None:
            messages = max(messages, self.expected[0] - self.messages)
            octets = max(octets, self.expected[1] - self.octets)
        return messages, octets


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
    expected: Mapping[str, tuple[int, int]] = field(factory=dict)
    accounts: dict[str, AccountTally] = Factory(dict)
    window: Window = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Begin to watch the pace."""
        self.window = Window(self.began)

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
            case Waiting():
                account.waiting_until, account.waiting_for = now + event.seconds, event.reason
            case FolderListed():
                account.folders[event.folder] = FolderTally(
                    event.target, event.pending_messages, event.pending_octets
                )
            case BatchSettled():
                self._settle(account, event, now)
            case FolderSettled():
                _close(account, event)
            case ProblemFound():
                _set_aside(account, event)
            case PassEnded():
                _end(account, event)
        return account

    def _settle(self, account: AccountTally, event: BatchSettled, now: float) -> None:
        messages = event.copied + event.adopted
        account.folder = event.folder
        account.copied += event.copied
        account.adopted += event.adopted
        account.octets += event.octets
        folder = account.find(event.folder)
        if folder is not None:
            folder.messages += messages
            folder.octets += event.octets
        account.window.add(now, messages, event.octets)
        self.window.add(now, messages, event.octets)

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

    def left(self) -> tuple[int, int]:
        """Return messages and octets that still must travel, as far as is known."""
        lefts = [each.left() for each in self.accounts.values()]
        lefts += [size for name, size in self.expected.items() if name not in self.accounts]
        return sum(each for each, _ in lefts), sum(each for _, each in lefts)

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
        pace, (messages, octets) = self.window.pace(now), self.left()
        if pace is None or not pace[0] or not messages:
            return None
        by_octets = octets / pace[1] if pace[1] else 0.0
        return Estimate(max(messages / pace[0], by_octets), not self.all_known())


def _close(account: AccountTally, event: FolderSettled) -> None:
    folder = account.find(event.folder)
    if folder is not None:
        folder.pending_messages = folder.messages


def _set_aside(account: AccountTally, event: ProblemFound) -> None:
    account.problems += 1
    folder = account.find(event.folder)
    if folder is not None and event.key is not None:
        folder.messages += 1


def _end(account: AccountTally, event: PassEnded) -> None:
    account.state = event.state
    account.copied, account.adopted = event.copied, event.adopted
    account.octets, account.problems = event.octets, event.problems
