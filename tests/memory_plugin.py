"""A plug-in whose servers are in memory, for tests of everything above the engine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from attrs import field, frozen

from alimail_core.cli import main
from alimail_core.contract import Argument, Command, Credentials, SinkKind, SourceKind, option
from alimail_core.errors import LoginDenied
from alimail_core.hookspec import hookimpl
from alimail_core.model import Entry, Folder, Gone, Message, Unreadable
from alimail_core.registry import Registry
from alimail_core.seam import Clock
from alimail_core.testing import FakeClock, MemoryMailbox, MemorySink, MemorySource

Run: TypeAlias = Callable[..., int]
"""The command line: it takes words, and returns its exit code."""

PASSWORD = "correct horse"
SIDES = (("source", "old"), ("target", "new"))


@frozen
class MemoryOptions:
    """The options of a server in memory."""

    host: str = option("The server's name.")
    region: str = option("Where it would stand, if it stood anywhere.", default="here")


class HookedSource(MemorySource):
    """A source that lets a test act whenever messages are asked for."""

    def __init__(self, mailbox: MemoryMailbox, before_fetch: Callable[[], None]) -> None:
        super().__init__(mailbox)
        self._before_fetch = before_fetch

    def fetch(
        self, requests: Iterable[tuple[Folder, Sequence[Entry]]]
    ) -> Iterator[Message | Gone | Unreadable]:
        """Let the test act before each message."""
        for answer in super().fetch(requests):
            self._before_fetch()
            yield answer


@frozen
class MemoryPlugin:
    """All servers of one test. ``boxes`` has each mailbox by its user and host."""

    boxes: dict[str, MemoryMailbox] = field(factory=lambda: defaultdict(MemoryMailbox))
    before_fetch: list[Callable[[], None]] = field(factory=list)
    said: list[dict[str, Any]] = field(factory=list)

    @hookimpl
    def alimail_sources(self) -> list[SourceKind[MemoryOptions]]:
        """Register the source, and the same for those who need no password."""
        return [
            SourceKind("mem", "A mailbox in memory.", MemoryOptions, self._source),
            SourceKind("open", "The same, open to all.", MemoryOptions, self._open, needs_secret=False),
        ]

    @hookimpl
    def alimail_sinks(self) -> list[SinkKind[MemoryOptions]]:
        """Register the sink."""
        return [SinkKind("mem", "A mailbox in memory.", MemoryOptions, self._sink)]

    @hookimpl
    def alimail_commands(self) -> list[Command]:
        """Register a verb."""
        arguments = (
            Argument("words", "What to say."),
            Argument("--to", "Whom to.", default="all"),
            Argument("--loud", "Louder.", flag=True),
        )
        words = (Argument("--word", "One of them.", many=True, short="-w"),)
        group = Command("say", "Say.", commands=[Command("all", "Say words.", self._say, words)])
        return [Command("say-it", "Say something.", self._say, arguments), group]

    def _say(self, arguments: dict[str, Any]) -> int:
        self.said.append(arguments)
        return 7

    def _box(self, options: MemoryOptions, credentials: Credentials) -> MemoryMailbox:
        if credentials.password() != PASSWORD:
            raise LoginDenied(
                f"login of {credentials.user} refused: \x1b]0;evil\x07\u202e[red]no",
                remedy="See the password.",
            )
        user = credentials.user if "@" in credentials.user else f"{credentials.user}@{options.host}"
        return self.boxes[user]

    def _source(self, options: MemoryOptions, credentials: Credentials, _clock: Clock) -> MemorySource:
        return HookedSource(self._box(options, credentials), self._act)

    def _open(self, options: MemoryOptions, credentials: Credentials, _clock: Clock) -> MemorySource:
        return MemorySource(self.boxes[f"{credentials.user}@{options.host}"])

    def _sink(self, options: MemoryOptions, credentials: Credentials, _clock: Clock) -> MemorySink:
        return MemorySink(self._box(options, credentials))

    def _act(self) -> None:
        for action in self.before_fetch:
            action()


def registry_of(plugin: MemoryPlugin) -> Registry:
    """Return a registry with the plug-in and no other."""
    registry = Registry()
    registry.register(plugin, name="mem", distribution="alimail-mem", version="1.0")
    return registry


def command_line(registry: Registry, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return ``alimail`` in a folder, with the passwords of ``config_of``, and nothing of its user's beside it."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("OLD", PASSWORD)
    monkeypatch.setenv("NEW", PASSWORD)
    for name in ("XDG_STATE_HOME", "HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(folder / "home"))
    return lambda *words: main(words, registry, FakeClock())


def config_of(*names: str) -> str:
    """Return a configuration of these people's accounts, with their passwords in ``OLD`` and ``NEW``."""
    sides = (
        f'[{side}]\nkind = "mem"\nhost = "{age}.example"\nsecret = "env:{age.upper()}"\n'
        for side, age in SIDES
    )
    people = (
        f'[[account]]\nsource_address = "{name}@old.example"\ntarget_address = "{name}@new.example"\n'
        for name in names
    )
    return "".join(['[migration]\nname = "test"\n', *sides, *people])
