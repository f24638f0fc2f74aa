"""What an observer sees. Progress, logs and third parties all stand on these events and on nothing else.

Every event is plain data with the account's source address, names folders by path, counts messages and octets,
and holds neither content nor secrets. Events of one account come in order; accounts run side by side.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from attrs import frozen

from alimail_core.model import FolderPath


@frozen
class Event:
    """The root of all events."""

    account: str
    """The account's source address."""


@frozen
class PassStarted(Event):
    """An account's pass holds its lease and begins."""

    number: int


@frozen
class Waiting(Event):
    """The account waits ``seconds`` and goes on by itself: the server was busy, or something is in doubt."""

    seconds: float
    reason: str


@frozen
class FolderListed(Event):
    """A source folder was listed, and moves were told from news: what it has that still must travel."""

    folder: FolderPath
    target: FolderPath
    pending_messages: int
    pending_octets: int


@frozen
class BatchSettled(Event):
    """The target has said of these messages that it has them (copied), or they were there already (adopted).

    ``folder`` is the source's, as in all events.
    """

    folder: FolderPath
    copied: int = 0
    adopted: int = 0
    octets: int = 0


@frozen
class FolderSettled(Event):
    """Everything that the listing told of a folder is settled, and its cursor stored."""

    folder: FolderPath


@frozen
class ProblemFound(Event):
    """A message or folder that was not carried, with the reason in the server's own words."""

    folder: FolderPath
    key: str | None
    reason: str
    remedy: str


@frozen
class Noted(Event):
    """Something worth knowing that cost no message: a keyword that the target cannot hold, a moved copy."""

    text: str
    count: int = 1
    """How often; the text is the same for all of them."""


@frozen
class PassEnded(Event):
    """The account's pass is over. ``state`` is ``"done"``, ``"problems"``, ``"trial"``, ``"stopped"``,
    ``"disabled"``, ``"failed"``, or ``"pending"``: a password is missing or refused.
    """

    number: int
    state: str
    copied: int
    adopted: int
    octets: int
    problems: int
    reason: str = ""
    remedy: str = ""
    left_out: int = 0
    """Messages of the source that are not carried by wish."""


@frozen
class ProofStarted(Event):
    """An account is proven: the messages that the ledger has of it, and the octets that are read back of them."""

    messages: int
    octets: int


@frozen
class MessagesProven(Event):
    """Messages of a source folder were held against the target; ``octets`` of them were read back."""

    folder: FolderPath
    messages: int
    octets: int


@frozen
class ProofEnded(Event):
    """The proof of an account is over. ``failed``: it could not be looked at to the end."""

    complete: bool
    failed: bool


Observer: TypeAlias = Callable[[Event], None]
