"""Is it all there? Both sides are listed afresh and held against the ledger; nothing that a pass said is trusted."""

from __future__ import annotations

from collections.abc import Callable

from attrs import field, frozen

from alimail_core.ends import Ends
from alimail_core.ledger import Ledger
from alimail_core.model import FolderPath, Remark


@frozen
class Finding:
    """One message that is not as it was carried, or was not carried: what, where, why.

    ``kind``: ``"missing"``, ``"changed"``, ``"altered"``, ``"quarantined"``, ``"pending"``, ``"moved"`` or
    ``"unlisted"`` (a whole folder that could not be listed).
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
    """One source folder. Counts of messages, except ``octets``."""

    source: FolderPath
    target: FolderPath
    messages: int = 0
    """In the source now."""
    octets: int = 0
    proven: int = 0
    """Stand in the target, as they were carried; in a full proof with every octet read back."""
    altered: int = 0
    """Stand in the target, and it stores other octets than it was sent. No fault: what a reader sees is there."""
    moved: int = 0
    """Carried, and moved or removed in the target since, by its user."""
    collapsed: int = 0
    """Not carried by wish: identical to another of the folder."""
    quarantined: int = 0
    """The target will not take them, or the source not give them; the report has the reasons."""
    pending: int = 0
    """In the source and not carried yet, such as what came after the last pass."""
    missing: int = 0
    """The target said that it has them, and they are not there."""
    changed: int = 0
    """Stand in the target with another content than was carried."""
    gone: int = 0
    """Carried, and no longer in the source."""
    flags_changed: int = 0
    """Copies whose flags the target's user has changed since."""
    flags_pending: int = 0
    """Messages whose flags have changed at the source since the last pass."""
    root: str = ""
    """SHA-256, in hexadecimal, over the sorted digests of what stands in the target."""
    findings: tuple[Finding, ...] = ()


@frozen
class AccountProof:
    """The answer for one account: ``complete`` says that all is there."""

    account: str
    folders: tuple[FolderProof, ...] = ()
    full: bool = False
    extra: int = 0
    """Entries of the target's folders that others put there."""
    root: str = ""
    remarks: tuple[Remark, ...] = ()
    """Why an account could not be looked at, and what the proof does not say."""
    failed: bool = False
    """It could not be looked at to the end."""
    target_address: str = field(default="", kw_only=True)

    @property
    def complete(self) -> bool:
        """Tell whether each message of the source stands in the target, as it was carried."""
        return not self.failed and not any(
            folder.missing or folder.changed or folder.pending or folder.quarantined
            for folder in self.folders
        )

    @property
    def exit_code(self) -> int:
        """0: all there; 3: something is not; 1: could not be looked at."""
        return 1 if self.failed else 0 if self.complete else 3


def verify_account(
    ends: Ends,
    ledger: Ledger | None,
    account_id: int | None,
    *,
    full: bool,
    each_message: Callable[[MessageProof], None],
    tell_bug: Callable[[Exception], None],
) -> AccountProof:
    """Prove one account; one that never ran has nothing but pending messages."""
    raise NotImplementedError
