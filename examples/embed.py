"""alimail as a library: two migrations side by side in one process, watched, stopped, and gone on with.

Run it as it is: its servers are in memory. For yours, let ``Registry.load()`` find the installed plug-ins, or
register only those that you want, and write their options where ``ServerOptions`` stands here.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from attrs import Factory, define, frozen

from alimail_core import (
    AccountSpec,
    BatchSettled,
    Clock,
    Credentials,
    Denied,
    Endpoint,
    Event,
    Migration,
    MigrationSpec,
    MigrationSummary,
    PassEnded,
    Registry,
    Secret,
    Sink,
    SinkKind,
    Source,
    SourceKind,
    Stop,
    TransferOptions,
    hookimpl,
    option,
)
from alimail_core.testing import MemoryMailbox, MemorySink, MemorySource, message


@frozen
class ServerOptions:
    """The options of the kind ``memory``."""

    host: str = option("The server's name.")


@define
class MemoryServers:
    """A plug-in that needs no distribution: an object with hooks. Mailboxes are found by host and user."""

    mailboxes: dict[tuple[str, str], MemoryMailbox] = Factory(dict)

    @hookimpl
    def alimail_sources(self) -> Iterable[SourceKind[ServerOptions]]:
        """Register where mail can come from."""
        return [SourceKind("memory", "A server in memory.", ServerOptions, self.open_source)]

    @hookimpl
    def alimail_sinks(self) -> Iterable[SinkKind[ServerOptions]]:
        """Register where mail can go to."""
        return [SinkKind("memory", "A server in memory.", ServerOptions, self.open_sink)]

    def open_source(self, options: ServerOptions, login: Credentials, clock: Clock) -> Source:
        """Open a mailbox to read from."""
        return MemorySource(self.log_in(options, login))

    def open_sink(self, options: ServerOptions, login: Credentials, clock: Clock) -> Sink:
        """Open a mailbox to write to."""
        return MemorySink(self.log_in(options, login))

    def log_in(self, options: ServerOptions, login: Credentials) -> MemoryMailbox:
        """Return whose mailbox it is."""
        if login.password() != "secret":
            raise Denied(f"{options.host} refused {login.user}", remedy="Correct the password.")
        return self.mailboxes.setdefault((options.host, login.user), MemoryMailbox())


def describe(name: str, users: Iterable[str], ledger: Path) -> MigrationSpec:
    """Describe a migration in memory of the program. Nothing is read from a file or from the environment."""
    old = Endpoint("memory", ServerOptions(host=f"old.{name}"))
    new = Endpoint("memory", ServerOptions(host=f"new.{name}"))
    secret = Secret.literal("secret")
    return MigrationSpec(
        name=name,
        ledger=str(ledger),
        accounts=tuple(
            AccountSpec(
                source_address=f"{user}@old.{name}",
                target_address=f"{user}@new.{name}",
                source=old,
                target=new,
                source_user=user,
                target_user=user,
                source_secret=secret,
                target_secret=secret,
            )
            for user in users
        ),
        options=TransferOptions(batch_messages=10),
    )


@define
class Progress:
    """An observer: any callable that takes an event. It is called from the threads that work, one at a time."""

    migration: str
    messages: int = 0

    def __call__(self, event: Event) -> None:
        """Count what arrives, and print how each account ends."""
        match event:
            case BatchSettled(copied=copied):
                self.messages += copied
            case PassEnded(account=account, state=state, copied=copied):
                print(f"{self.migration}: {account} is {state}, {copied} messages were copied")


def run(spec: MigrationSpec, registry: Registry, stop_after: int | None = None) -> MigrationSummary:
    """Make one pass over all accounts of a migration, with progress; after some messages, ask it to stop."""
    progress, stop = Progress(spec.name), Stop()

    def cancel(_event: Event) -> None:
        if stop_after is not None and progress.messages >= stop_after:
            stop.set()

    with Migration(spec, registry, observers=[progress, cancel], stop=stop) as migration:
        return migration.run()


def prove(spec: MigrationSpec, registry: Registry) -> bool:
    """Read every message back, and tell whether all of them are there."""
    with Migration(spec, registry) as migration:
        proofs = list(migration.verify(full=True))
    return all(proof.complete for proof in proofs)


def main(folder: Path) -> int:
    """Run two migrations at once, one of which is stopped; then go on with it, and prove both."""
    servers = MemoryServers()
    registry = Registry()
    registry.register(servers)
    specs = [
        describe("red.example", ["ann", "bob"], folder / "red.ledger"),
        describe("blue.example", ["cai"], folder / "blue.ledger"),
    ]
    for spec in specs:
        fill(servers, spec)
    with ThreadPoolExecutor() as pool:
        whole = pool.submit(run, specs[0], registry)
        stopped = pool.submit(run, specs[1], registry, stop_after=20)
    print(f"exit codes: {whole.result().exit_code} and {stopped.result().exit_code}")
    again = run(specs[1], registry)
    proven = [prove(spec, registry) for spec in specs]
    print(f"exit code: {again.exit_code}; proven: {proven}")
    return 0 if all(proven) else 1


def fill(servers: MemoryServers, spec: MigrationSpec) -> None:
    """Put mail into the old mailboxes, so that there is something to move."""
    for account in spec.accounts:
        mailbox = MemoryMailbox()
        servers.mailboxes[account.source.options.host, account.source_user] = mailbox
        for number in range(100):
            mailbox.deliver(
                ("INBOX",), message(f"No. {number}", message_id=f"{number}@{account.source_address}")
            )


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        sys.exit(main(Path(place)))
