"""A small organisation in memory: mailboxes by login, a plug-in that opens them, a migration between them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from attrs import evolve, frozen

from alimail_core.contract import Credentials, ExecutorKind, Sink, SinkKind, Source, SourceKind, option
from alimail_core.errors import Denied
from alimail_core.events import Event, Observer
from alimail_core.hookspec import hookimpl
from alimail_core.migration import Migration
from alimail_core.model import FolderPath
from alimail_core.options import TransferOptions
from alimail_core.registry import Registry
from alimail_core.seam import Clock, Stop
from alimail_core.secrets import Secret
from alimail_core.spec import AccountSpec, Endpoint, MigrationSpec
from alimail_core.testing.clock import FakeClock
from alimail_core.testing.memory import MemoryMailbox, MemorySink, MemorySource, MemoryTraits

PASSWORD = "open sesame"

PLAIN = MemoryTraits()


@frozen
class MemoryOptions:
    """The options of the plug-in ``memory``."""

    host: str = option("The server's name.", default="")


class Organisation:
    """Accounts ``NAME@old.example`` and ``NAME@new.example``, both sides in memory, and all that a test can turn."""

    def __init__(
        self,
        folder: Path,
        names: Sequence[str] = ("anna",),
        *,
        source: MemoryTraits = PLAIN,
        target: MemoryTraits = PLAIN,
        **changed: Any,
    ) -> None:
        self.clock = FakeClock()
        self.stop = Stop()
        self.events: list[Event] = []
        self.sources = {name: MemoryMailbox(source) for name in names}
        self.targets = {name: MemoryMailbox(target) for name in names}
        self.wrap_source: Callable[[str, Source], Source] = lambda _, side: side
        self.wrap_sink: Callable[[str, Sink], Sink] = lambda _, side: side
        self.executors: list[ExecutorKind] = []
        self.spec = MigrationSpec(
            name="test",
            ledger=str(folder / "test.ledger"),
            accounts=tuple(map(account, names)),
            options=TransferOptions(read_ahead_octets=0),
            **changed,
        )

    @hookimpl
    def alimail_sources(self) -> Iterable[SourceKind[Any]]:
        """Register the source."""
        return [SourceKind("memory", "A mailbox in memory.", MemoryOptions, self._open_source)]

    @hookimpl
    def alimail_sinks(self) -> Iterable[SinkKind[Any]]:
        """Register the sink."""
        return [SinkKind("memory", "A mailbox in memory.", MemoryOptions, self._open_sink)]

    @hookimpl
    def alimail_executors(self) -> Iterable[ExecutorKind]:
        """Register the executors that a test brings along."""
        return self.executors

    @property
    def registry(self) -> Registry:
        """Make a registry that knows this organisation."""
        registry = Registry()
        registry.register(self, name="memory", distribution="tests")
        return registry

    def migration(self, *observers: Observer, **changed: Any) -> Migration:
        """Open the migration; ``changed`` are fields of its specification."""
        return Migration(
            evolve(self.spec, **changed),
            self.registry,
            observers=[self.events.append, *observers],
            clock=self.clock,
            stop=self.stop,
        )

    def give(self, name: str, *messages: bytes, path: FolderPath = ("INBOX",)) -> list[int]:
        """Deliver messages to the source mailbox of an account; return their UIDs."""
        return [self.sources[name].deliver(path, octets) for octets in messages]

    def _open_source(self, _options: MemoryOptions, login: Credentials, _clock: Clock) -> Source:
        name = _log_in(login)
        return self.wrap_source(name, MemorySource(self.sources[name]))

    def _open_sink(self, _options: MemoryOptions, login: Credentials, _clock: Clock) -> Sink:
        name = _log_in(login)
        return self.wrap_sink(name, MemorySink(self.targets[name]))


def account(name: str) -> AccountSpec:
    """Name an account of the organisation."""
    secret = Secret.literal(PASSWORD)
    endpoint = Endpoint("memory", MemoryOptions())
    return AccountSpec(
        f"{name}@old.example", f"{name}@new.example", endpoint, endpoint, name, name, secret, secret
    )


def message(subject: str, body: str = "Hello", **fields: str) -> bytes:
    """Write a message; ``fields`` are more header fields, their underscores hyphens."""
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    head = f"Message-ID: <{subject.replace(' ', '.')}@old.example>\r\nFrom: a@old.example\r\n"
    date = "Date: Mon, 1 Jan 2024 10:00:00 +0000\r\n"
    return f"{head}{date}Subject: {subject}\r\n{more}\r\n{body}\r\n".encode()


def _log_in(login: Credentials) -> str:
    if login.password() != PASSWORD:
        raise Denied("NO [AUTHENTICATIONFAILED] login failed", remedy="Check the password.")
    return login.user
