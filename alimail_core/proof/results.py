"""What is said of two mailboxes: plain data, of messages, folders and accounts.

A *proof* holds both sides against the ledger (``verify``); a *comparison* holds them against each other
(``independent``).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import TypeAlias

from attrs import frozen

from alimail_core.errors import Remark
from alimail_core.model import FolderPath

MAX_FINDINGS = 1_000
"""What a folder names of one kind; a mailbox that was emptied would name every message."""

_FAULTS = ("missing", "changed", "unreadable")
"""The counts of a comparison that say that not all is there."""

MISMATCH_KINDS = (*_FAULTS, "altered", "moved", "extra", "flags", "dates")
"""What a mismatch can be, the gravest first."""

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


@frozen
class Mismatch:
    """One message that is not on both sides, or not the same on both: what, where, why; never its subject or text.

    ``kind`` is one of ``MISMATCH_KINDS``. Size and date are the source's, or the target's of what only that has.
    """

    kind: str
    source: FolderPath | None
    """``None`` for what only the target has."""
    target: FolderPath
    """Where it stands in the target, or would."""
    date: datetime | None
    size: int | None
    message_id: str
    text: str


@frozen
class FolderComparison:
    """A folder of the target, and all folders of the source that go there. Counts of messages, except ``octets``.

    ``messages`` is the sum of ``same``, ``altered``, ``moved``, ``collapsed``, ``left_out``, ``missing``, ``changed``
    and the source's share of ``unreadable``.
    """

    target: FolderPath
    sources: tuple[FolderPath, ...] = ()
    """Empty: nothing of the source goes there."""
    exists: bool = True
    """The target has it."""
    messages: int = 0
    """In the source."""
    octets: int = 0
    there: int = 0
    """In the target's folder."""
    same: int = 0
    """Stand in the target: by their octets where ``full``, else by their headers."""
    altered: int = 0
    """Stand in the target, which stores other octets. No fault: what a reader sees is the same."""
    moved: int = 0
    """Stand in another folder of the target. No fault."""
    collapsed: int = 0
    """Identical to another message of their folder that stands there, and ``duplicates`` is ``"collapse"``."""
    left_out: int = 0
    """Do not stand there, and the filter of the configuration does not want them."""
    missing: int = 0
    changed: int = 0
    """The target has a message of this Message-ID, with another content."""
    unreadable: int = 0
    """One of the two sides lists them, and does not give them."""
    extra: int = 0
    """In the target, and not in the source. No fault: it may be anything that came since."""
    flags: int = 0
    """Stand there with other flags."""
    dates: int = 0
    """Stand there with another internal date."""
    mismatches: tuple[Mismatch, ...] = ()
    """At most ``MAX_FINDINGS`` of each kind; the counts tell how many there are."""

    @property
    def complete(self) -> bool:
        """Tell whether each message of the source that is wanted stands in the target."""
        return not any(getattr(self, kind) for kind in _FAULTS)


@frozen
class AccountComparison:
    """Two mailboxes held against each other."""

    account: str
    target_address: str
    full: bool = False
    """Every octet of both was read."""
    at: datetime | None = None
    folders: tuple[FolderComparison, ...] = ()
    remarks: tuple[Remark, ...] = ()
    """What could not be compared, and why."""
    failed: bool = False
    """It could not be compared to the end."""

    @property
    def complete(self) -> bool:
        """Tell whether each message of the source that is wanted stands in the target."""
        return not self.failed and all(folder.complete for folder in self.folders)

    @property
    def exit_code(self) -> int:
        """0: all of the source is in the target; 3: something is not; 1: it could not be compared."""
        return 1 if self.failed else 0 if self.complete else 3
