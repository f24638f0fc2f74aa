"""What a comparison of two mailboxes says: plain data. ``alimail_core.independent`` makes it."""

from __future__ import annotations

from datetime import datetime

from attrs import frozen

from alimail_core.model import FolderPath, Remark

FAULTS = ("missing", "changed", "unreadable")
"""The counts that say that not all is there."""

KINDS = (*FAULTS, "altered", "moved", "extra", "flags", "dates")
"""What a mismatch can be, the gravest first."""


@frozen
class Mismatch:
    """One message that is not on both sides, or not the same on both: what, where, why; never its subject or text.

    ``kind`` is one of ``KINDS``. Size and date are the source's, or the target's of what only that has.
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
        return not any(getattr(self, kind) for kind in FAULTS)


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
