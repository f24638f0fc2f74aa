"""What a proof says: plain data, of messages, folders and accounts. ``alimail_core.verify`` makes it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TypeAlias

from attrs import frozen

from alimail_core.model import FolderPath, Remark

MAX_FINDINGS = 1_000
"""Findings of one kind that a folder's proof names; a mailbox that was emptied would name every message."""

Altered: TypeAlias = Mapping[tuple[FolderPath, str], str]
"""By source folder and key: how the target altered a message, in the words of the proof that read both copies."""


def root_digest(digests: Iterable[bytes]) -> str:
    """Return the SHA-256, in hexadecimal, over digests of 32 octets each, sorted and joined without anything between.

    Anyone can compute it again from the report's list of messages.
    """
    return hashlib.sha256(b"".join(sorted(digests))).hexdigest()


@frozen
class Finding:
    """One message that is not as it was carried, or was not carried: what, where, why.

    ``kind``: ``"missing"``, ``"changed"``, ``"pending"``, ``"quarantined"``, or, of what is no fault, ``"altered"``,
    ``"moved"`` and ``"merged"``.
    """

    kind: str
    key: str
    target: FolderPath
    text: str


@frozen
class MessageProof:
    """One message that stands in the target, for the report's list; ``digest`` is SHA-256, 32 octets."""

    account: str
    folder: FolderPath
    key: str
    target: FolderPath
    target_key: str
    size: int
    digest: bytes
    outcome: str
    """``"identical"``, ``"altered"`` or ``"changed"``; ``"listed"`` where its octets were not read."""


@frozen
class FolderProof:
    """One source folder. Counts of messages, except ``octets``.

    Where nothing is wrong, ``messages`` is the sum of ``proven``, ``altered``, ``moved``, ``merged``, ``collapsed``
    and ``left_out``.
    """

    source: FolderPath
    target: FolderPath
    messages: int = 0
    """In the source now."""
    octets: int = 0
    proven: int = 0
    """Of those, stand in the target as they were carried; in a full proof with every octet read back."""
    altered: int = 0
    """Stand in the target, and it stores other octets than it was sent. No fault: what a reader sees is there."""
    moved: int = 0
    """Carried, and moved or removed in the target since, by its user."""
    collapsed: int = 0
    """Not carried by wish: identical to another of the folder."""
    left_out: int = 0
    """Not carried by wish: the filter of the configuration, as it is now, does not want them."""
    quarantined: int = 0
    """The target will not take them, or the source not give them; the report has the reasons."""
    pending: int = 0
    """In the source and not carried yet, such as what came after the last pass."""
    missing: int = 0
    """The target said that it has them, and they are not there."""
    changed: int = 0
    """Stand in the target with another content than was carried."""
    merged: int = 0
    """The target keeps each of them and an identical one as one message. No fault: the content is there once."""
    extra: int = 0
    """Entries of the target folder that others put there; told once where several folders share it."""
    gone: int = 0
    """Carried, and no longer in the source."""
    flags_changed: int = 0
    """Copies whose flags the target's user has changed since."""
    flags_pending: int = 0
    """Messages whose flags have changed at the source since the last pass."""
    root: str = ""
    """SHA-256, in hexadecimal, over the sorted digests of what stands in the target."""
    lost: bool = False
    """Nothing of what was carried is in the target any more: its folder was emptied, or made anew."""
    findings: tuple[Finding, ...] = ()
    """At most ``MAX_FINDINGS`` of each kind; the counts tell how many there are."""

    @property
    def complete(self) -> bool:
        """Tell whether each message of the folder stands in the target, as it was carried."""
        faults = self.missing + self.changed + self.pending + self.quarantined
        return not faults and not self.lost


@frozen
class AccountProof:
    """The answer for one account: ``complete`` says that all is there."""

    account: str
    folders: tuple[FolderProof, ...] = ()
    full: bool = False
    root: str = ""
    """As of a folder, over the digests of all folders."""
    remarks: tuple[Remark, ...] = ()
    """Why an account could not be looked at, and what the proof does not say."""
    failed: bool = False
    """It could not be looked at to the end."""
    target_address: str = ""
    at: datetime | None = None
    """When it was begun."""

    @property
    def complete(self) -> bool:
        """Tell whether each message of the source stands in the target, as it was carried."""
        return not self.failed and all(folder.complete for folder in self.folders)

    @property
    def exit_code(self) -> int:
        """0: all there; 3: something is not; 1: could not be looked at."""
        return 1 if self.failed else 0 if self.complete else 3
