"""A migration as plain data: what ``config`` makes of a file, and what a worker in another process is given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import field, frozen

from alimail_core.errors import Remark
from alimail_core.folders.policy import FolderPolicy
from alimail_core.messages import EVERYTHING, MessageFilter
from alimail_core.model import FolderPath
from alimail_core.options import TransferOptions
from alimail_core.pace import Pace
from alimail_core.secrets import Secret
from alimail_core.sheets.options import SheetOptions


@frozen
class Endpoint:
    """One side of accounts: a plug-in's name and its options, an instance of the plug-in's attrs class."""

    kind: str
    options: Any


@frozen
class AccountSpec:
    """One mailbox pair. Its identity is the two addresses, whatever endpoints and logins it has today."""

    source_address: str
    target_address: str
    source: Endpoint
    target: Endpoint
    source_user: str
    target_user: str
    source_secret: Secret = field(repr=False)
    target_secret: Secret = field(repr=False)
    wave: int | None = None
    """Lower waves are carried first, ``None`` last; ``MigrationSpec.accounts`` has them in this order."""
    root: FolderPath = ()
    """The folder of the target beneath which all of it goes; empty: wherever the migration's policy says."""

    def __str__(self) -> str:
        """Name the account for a person."""
        return f"{self.source_address} -> {self.target_address}"


@frozen
class MigrationSpec:
    """A whole migration: everything that ``alimail_core.migration.Migration`` needs, and no secret's value."""

    name: str
    """What binds the ledger to this migration."""
    ledger: str
    """A path, or a database URL."""
    accounts: tuple[AccountSpec, ...]
    options: TransferOptions = field(factory=TransferOptions)
    policy: FolderPolicy = field(factory=FolderPolicy)
    messages: MessageFilter = EVERYTHING
    workers: int = 4
    """Accounts side by side."""
    executor: str = "threads"
    every: float = 300.0
    """Seconds that ``watch`` pauses after each account's pass."""
    pace: tuple[Pace, ...] = ()
    """How fast mail may be read at which time of day, by all accounts together."""
    report_folder: Path | None = None
    """Where ``report`` writes; ``None``: beside the ledger."""
    remarks: tuple[Remark, ...] = field(default=(), eq=False)
    """What an administrator should know of configuration and roster, such as a column that is not read."""
    partial: bool = False
    """Accounts of the configuration were left out by wish: further ones that the ledger knows may be among them."""

    def policy_of(self, account: AccountSpec) -> FolderPolicy:
        """Return where the folders of one account go."""
        policy = self.policy.of(account.source_address, account.target_address)
        return policy.beneath(account.root) if account.root else policy


@frozen
class ProvisionSpec:
    """What ``provision`` needs of a configuration; ``endpoint`` is ``None`` where the console is filled by hand."""

    name: str
    """What binds the ledger to this migration."""
    ledger: str
    """A path, or a database URL."""
    endpoint: Endpoint | None
    employees: Path | None
    groups: Path | None
    domain: str
    passwords: Path
    sheets: SheetOptions = field(factory=SheetOptions)
    settle_seconds: float = 30.0
    """How long the service may take to finish a step whose connection has ended, or to show one that is done."""
