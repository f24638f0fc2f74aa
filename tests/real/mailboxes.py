"""One account between any two servers by the whole library: carried, proven, reported. See ``bench`` for crashes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from attrs import Factory, define, field

from alimail_core.contract import Credentials
from alimail_core.events import Event
from alimail_core.folders.policy import FolderPolicy
from alimail_core.migration import Migration
from alimail_core.model import FolderPath
from alimail_core.options import TransferOptions
from alimail_core.proof.results import AccountProof, FolderProof
from alimail_core.registry import Registry
from alimail_core.seam import Clock
from alimail_core.secrets import Secret
from alimail_core.spec import AccountSpec, Endpoint, MigrationSpec
from alimail_core.testing.alibaba import AlibabaServer
from alimail_core.transfer import PassSummary
from alimail_imap.options import ImapOptions
from alimail_sink.options import AlibabaOptions
from tests.real.peers import Courier


class Server(Protocol):
    """What is needed of a server: a place to connect to, and what every user logs in with."""

    @property
    def host(self) -> str:
        """Loopback."""

    @property
    def imap_port(self) -> int:
        """The port that speaks in clear."""

    @property
    def password(self) -> str:
        """Every user's password."""


def endpoint(server: Server, *, source: bool = False) -> Endpoint:
    """Return what leads to a server, by the plug-in that is made for it; nobody moves away from Alibaba Mail."""
    if isinstance(server, AlibabaServer) and not source:
        return Endpoint("alimail", AlibabaOptions(host=server.host, port=server.imap_port, tls="none"))
    connections = 1 if isinstance(server, Courier) else None
    options = ImapOptions(
        host=server.host, port=server.imap_port, tls="none", timeout=60.0, max_connections=connections
    )
    return Endpoint("imap", options)


def credentials(server: Server, user: str) -> Credentials:
    """Return how a user logs in."""
    return Credentials(user, lambda: server.password)


def account(source: Server, source_user: str, target: Server, target_user: str) -> AccountSpec:
    """Name a mailbox pair."""
    return AccountSpec(
        f"{source_user.partition('@')[0]}@old.example",
        f"{target_user.partition('@')[0]}@new.example",
        endpoint(source, source=True),
        endpoint(target),
        source_user,
        target_user,
        Secret.literal(source.password),
        Secret.literal(target.password),
    )


@define
class Carrier:
    """Migrates accounts with a ledger in ``folder``; each call opens the migration anew, as each command does."""

    folder: Path
    accounts: tuple[AccountSpec, ...]
    options: TransferOptions = Factory(lambda: TransferOptions(settle_seconds=0.5))
    events: list[Event] = field(factory=list)
    registry: Registry = Factory(Registry.load)
    clock: Clock = Factory(Clock)

    @contextmanager
    def migration(self) -> Iterator[Migration]:
        """Open it."""
        spec = MigrationSpec(
            "real",
            str(self.folder / "real.ledger"),
            self.accounts,
            self.options,
            FolderPolicy(),
            report_folder=self.folder / "report",
        )
        with Migration(spec, self.registry, observers=[self.events.append], clock=self.clock) as migration:
            yield migration

    def run(self) -> PassSummary:
        """Make one pass over the first account, and return its summary."""
        with self.migration() as migration:
            return migration.run().accounts[0]

    def proof(self) -> AccountProof:
        """Read every octet of the first account back, and return the proof."""
        with self.migration() as migration:
            return next(iter(migration.verify(full=True)))

    def assert_nothing_new(self) -> None:
        """A second pass copies nothing and adopts nothing."""
        summary = self.run()
        assert (summary.copied, summary.adopted, summary.state) == (
            0,
            0,
            "done" if not summary.problems else "problems",
        )


def folder_of(proof: AccountProof, path: FolderPath) -> FolderProof:
    """Return the proof of one source folder."""
    return next(folder for folder in proof.folders if folder.source == path)


def found(proof: FolderProof) -> Counter[str]:
    """Count a folder's findings by kind."""
    return Counter(each.kind for each in proof.findings)
