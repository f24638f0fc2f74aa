"""The registry: what plug-ins register, and what happens to those that break a promise."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from concurrent.futures import Executor
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any, Literal

import pytest
from attrs import Factory, field, frozen

from alimail_core import registry as registry_module
from alimail_core.contract import (
    Command,
    Credentials,
    ExecutorKind,
    MapContext,
    Sink,
    SinkKind,
    Source,
    SourceKind,
    option,
)
from alimail_core.errors import PluginError
from alimail_core.events import Event, PassStarted
from alimail_core.hookspec import hookimpl
from alimail_core.model import Folder, FolderPath
from alimail_core.registry import OptionRow, PluginProblem, Registry, describe_options
from alimail_core.seam import Clock
from alimail_core.secrets import Secret

CONTEXT = MapContext("a@old.example", "a@new.example", "original")


@frozen
class _Options:
    host: str = option("The server.")
    port: int | None = option("The port.", default=None)
    mode: Literal["a", "b"] = option("How.", default="a")
    paths: tuple[Path, ...] = option("Where.", default=())
    words: list[str] = option("Which.", default=Factory(lambda: ["x"]))
    token: Secret | None = option("A token.", default=None, secret=True)


@frozen
class _NoHelp:
    host: str


@frozen
class _PlainSecret:
    token: str = option("A token.", secret=True)


@frozen
class _Reserved:
    kind: str = option("Taken by the core.")


@frozen
class _Strange:
    what: Clock = option("Nothing that TOML can say.")


@frozen
class _Unresolved:
    what: Nowhere = option("A type that is not there.")  # type: ignore[name-defined]  # noqa: F821


class _Unfinished(Source):
    def close(self) -> None:
        """Do nothing."""


def _open(options: Any, credentials: Credentials, clock: Clock) -> Any:
    raise AssertionError("nothing is opened here")


def _open_unfinished(options: Any, credentials: Credentials, clock: Clock) -> _Unfinished:
    raise AssertionError("nothing is opened here")


def _source(name: str = "demo", options: type = _Options, opener: Any = _open) -> SourceKind[Any]:
    return SourceKind(name, "A demonstration.", options, opener)


def _sink(opener: Any) -> SinkKind[Any]:
    return SinkKind("demo", "A demonstration.", _Options, opener)


class _Plugin:
    """Registers whatever it is given."""

    def __init__(self, sources: Any = (), sinks: Any = ()) -> None:
        self.sources = sources
        self.sinks = sinks

    @hookimpl
    def alimail_sources(self) -> Any:
        return self.sources

    @hookimpl
    def alimail_sinks(self) -> Any:
        return self.sinks


class _Misspelt:
    @hookimpl
    def alimail_source(self) -> Iterable[SourceKind[Any]]:
        return [_source()]


class _WrongArgument:
    @hookimpl
    def alimail_observe(self, happening: Event) -> None:
        raise AssertionError("never called")


class _Raising:
    @hookimpl
    def alimail_sources(self) -> Iterable[SourceKind[Any]]:
        raise RuntimeError("no \x1b[31mluck")


class _Extending:
    """Every hook that is not about endpoints."""

    def __init__(self, answer: object = None) -> None:
        self.answer = answer
        self.seen: list[Event] = []

    @hookimpl
    def alimail_executors(self) -> Iterable[ExecutorKind]:
        def start(workers: int) -> Executor:
            raise AssertionError("never started")

        return [ExecutorKind("cluster", "Many machines.", start, same_process=False)]

    @hookimpl
    def alimail_commands(self) -> Iterable[Command]:
        return [Command("greet", "Greet.", lambda arguments: 0)]

    @hookimpl
    def alimail_map_folder(self, folder: Folder) -> Any:
        return self.answer

    @hookimpl
    def alimail_observe(self, event: Event) -> None:
        self.seen.append(event)


class _Commanding:
    """Registers one command."""

    def __init__(self, command: Command) -> None:
        self.command = command

    @hookimpl
    def alimail_commands(self) -> Iterable[Command]:
        return [self.command]


class _BadObserver:
    @hookimpl
    def alimail_observe(self) -> None:
        raise ValueError("broken on purpose")


class _Distribution:
    def __init__(self, name: str, version: str = "1.0") -> None:
        self.name = name
        self.version = version
        self.metadata = {"Name": name}


class _Point:
    """An entry point that gives an object, or raises, instead of importing a module."""

    def __init__(self, name: str, plugin: object, distribution: str) -> None:
        self.name = name
        self.plugin = plugin
        self.dist = _Distribution(distribution)

    def load(self) -> object:
        if isinstance(self.plugin, BaseException):
            raise self.plugin
        return self.plugin


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> list[_Point]:
    """Stand in for the installed distributions."""
    points: list[_Point] = []
    monkeypatch.setattr(registry_module, "entry_points", lambda group: points if group == "alimail" else [])
    monkeypatch.delenv("ALIMAIL_PLUGINS", raising=False)
    return points


def test_the_core_comes_through_the_same_door() -> None:
    """A bare registry has the core's two executors and nothing else."""
    registry = Registry()
    assert [(role, kind.name) for role, kind in registry.kinds()] == [
        ("executor", "processes"),
        ("executor", "threads"),
    ]
    assert registry.executor("threads").same_process
    assert not registry.executor("processes").same_process
    with registry.executor("threads").open(2) as pool:
        assert pool.submit(os.getpid).result() == os.getpid()
    with registry.executor("processes").open(1) as pool:
        assert pool.submit(os.getpid).result() != os.getpid()


def test_our_own_plugin_is_found() -> None:
    """The installed IMAP plug-in gives a source and a sink, and no promise of it is broken."""
    registry = Registry.load(only=["imap"])
    assert registry.problems == ()
    assert registry.source("imap").options is registry.sink("imap").options
    assert [info.registers for info in registry.plugins() if info.name == "imap"] == [
        ("source imap", "sink imap")
    ]


@pytest.mark.parametrize(
    ("plugin", "told"),
    [
        (ImportError("No module named 'x'"), "cannot be imported: ImportError: No module named 'x'"),
        (SystemExit("bye"), "cannot be imported: SystemExit: bye"),
        (_Misspelt(), "unknown hook 'alimail_source'"),
        (_WrongArgument(), "happening"),
        (_Raising(), "alimail_sources failed: RuntimeError: no \\x1b[31mluck"),
        (_Plugin(sources=3), "alimail_sources failed: TypeError"),
        (_Plugin(sources=["imap"]), "gives str where SourceKind is due"),
        (_Plugin(sources=[SinkKind("x", "", _Options, _open)]), "gives SinkKind where SourceKind is due"),
        (_Plugin(sources=[_source("My Source")]), "'My Source' is no name"),
        (_Plugin(sources=[_source(), _source()]), "registers the source demo twice"),
        (_Plugin(sources=[_source(opener="open")]), "demo: there is nothing to call"),
        (_Plugin(sources=[_source(options=dict)]), "its options are not an attrs class"),
        (_Plugin(sources=[_source(options=_NoHelp)]), "the option host has no help text"),
        (_Plugin(sources=[_source(options=_PlainSecret)]), "its type must be Secret"),
        (_Plugin(sources=[_source(options=_Reserved)]), "has a name that the core uses itself"),
        (_Plugin(sources=[_source(options=_Strange)]), "has a type that a configuration cannot give"),
        (_Plugin(sources=[_source(options=_Unresolved)]), "types of its options cannot be told"),
        (_Plugin(sources=[_source(opener=_open_unfinished)]), "_Unfinished lacks changes, fetch, folders"),
        (_Plugin(sources=[_source(opener=_Unfinished)]), "_Unfinished lacks changes, fetch, folders"),
        (_Plugin(sinks=[_sink(_open_unfinished)]), "_Unfinished is not a Sink"),
        (_Commanding(Command("go", "Go.")), "go: there is nothing to call"),
        (
            _Commanding(Command("go", "Go.", len, commands=[Command("on", "On.", len)])),
            "go: a group of verbs runs nothing itself",
        ),
        (_Commanding(Command("go", "Go.", commands=[Command("On", "On.", len)])), "go: 'On' is no name"),
    ],
)
def test_a_broken_plugin_is_named_and_the_others_work(
    installed: list[_Point], plugin: object, told: str
) -> None:
    """The problem names plug-in and distribution; the healthy plug-ins before and after it are used."""
    installed += [
        _Point("first", _Plugin(sources=[_source("first")]), "alimail-a"),
        _Point("broken", plugin, "alimail-broken"),
        _Point("last", _Plugin(sources=[_source("last")]), "alimail-z"),
    ]
    registry = Registry.load()
    (problem,) = registry.problems
    assert (problem.distribution, problem.plugin) == ("alimail-broken", "broken")
    assert told in problem.message
    assert [kind.name for role, kind in registry.kinds() if role == "source"] == ["first", "last"]
    assert {info.name: bool(info.problem) for info in registry.plugins()} == {
        "core": False,
        "first": False,
        "last": False,
        "broken": True,
    }
    with pytest.raises(PluginError, match="plug-in broken of alimail-broken"):
        registry.source("broken")


def test_a_name_that_two_plugins_claim_is_used_by_neither(installed: list[_Point]) -> None:
    """Which of them is meant cannot be told, so both distributions are named, with the way to choose."""
    installed += [
        _Point("one", _Plugin(sources=[_source("demo"), _source("other")]), "alimail-one"),
        _Point("two", _Plugin(sources=[_source("demo")]), "alimail-two"),
    ]
    registry = Registry.load()
    with pytest.raises(PluginError, match=r"alimail-one 1\.0 and alimail-two 1\.0") as caught:
        registry.source("demo")
    assert "ALIMAIL_PLUGINS" in caught.value.remedy
    assert registry.source("other").name == "other"
    assert [problem.distribution for problem in registry.problems] == ["alimail-one", "alimail-two"]
    assert Registry.load(only={"two"}).source("demo").name == "demo"


def test_the_environment_limits_what_is_loaded(
    installed: list[_Point], monkeypatch: pytest.MonkeyPatch
) -> None:
    """``ALIMAIL_PLUGINS`` names entry points; others are not even imported, and one that is missing is told."""
    installed += [
        _Point("good", _Plugin(sources=[_source("good")]), "alimail-good"),
        _Point("bad", ImportError("never"), "alimail-bad"),
    ]
    monkeypatch.setenv("ALIMAIL_PLUGINS", "good, pop3")
    assert Registry.load().problems == (
        PluginProblem("", "pop3", "it is not installed", "pip install alimail-pop3"),
    )
    monkeypatch.setenv("ALIMAIL_PLUGINS", "")
    assert [info.name for info in Registry.load().plugins()] == ["core"]


def test_what_is_not_installed_tells_how_to_get_it() -> None:
    """Known kinds name their distribution; unknown ones the nearest that is there."""
    registry = Registry()
    registry.register(_Plugin(sources=[_source("imap")]))
    with pytest.raises(PluginError, match="no source called ews") as caught:
        registry.source("ews")
    assert caught.value.remedy == "pip install alimail-ews"
    with pytest.raises(PluginError) as caught:
        registry.source("imapp")
    assert caught.value.remedy == "did you mean imap?"
    with pytest.raises(PluginError) as caught:
        registry.sink("alimail")
    assert caught.value.remedy == "pip install alimail-sink"
    with pytest.raises(PluginError) as caught:
        registry.executor("thread")
    assert caught.value.remedy == "did you mean threads?"


def test_an_embedder_is_told_at_once() -> None:
    """``register`` raises for a broken plug-in or a taken name, and keeps nothing of it."""
    registry = Registry()
    registry.register(_Plugin(sources=[_source()]), name="mine", distribution="app", version="2")
    with pytest.raises(PluginError, match=r"plug-in other: it registers the source demo, and so does app 2"):
        registry.register(_Plugin(sources=[_source("new"), _source("demo")]), name="other")
    with pytest.raises(PluginError, match="unknown hook"):
        registry.register(_Misspelt())
    assert [kind.name for role, kind in registry.kinds() if role == "source"] == ["demo"]


def test_two_registries_share_nothing() -> None:
    """What one is given, the other does not know."""
    one, other = Registry(), Registry()
    one.register(_Plugin(sources=[_source()]))
    with pytest.raises(PluginError):
        other.source("demo")


def test_the_last_registered_hook_answers_first() -> None:
    """A folder goes where the last plug-in with an opinion says."""
    registry = Registry()
    folder = Folder(("A",))
    assert registry.map_folder(folder, CONTEXT) is None
    registry.register(_OnlyMaps(("first",)))
    registry.register(_OnlyMaps(("last",)))
    registry.register(_OnlyMaps(None))
    assert registry.map_folder(folder, CONTEXT) == ("last",)


class _OnlyMaps:
    def __init__(self, answer: FolderPath | None) -> None:
        self.answer = answer

    @hookimpl
    def alimail_map_folder(self, folder: Folder, context: MapContext) -> FolderPath | None:
        return self.answer


@pytest.mark.parametrize("answer", ["Archive", (), ["A"], ("A", 3)])
def test_an_answer_that_is_no_path_is_an_error(answer: Any) -> None:
    """Nothing is guessed where a plug-in answers with something else than a tuple of names."""
    registry = Registry()
    registry.register(_OnlyMaps(answer))
    with pytest.raises(PluginError, match="is no path"):
        registry.map_folder(Folder(("A",)), CONTEXT)


def test_commands_and_executors_are_given_out() -> None:
    """A plug-in's verbs and executors are found by name, and listed with its hooks."""
    registry = Registry()
    registry.register(_Extending(), name="ext")
    assert [command.name for command in registry.commands()] == ["greet"]
    assert not registry.executor("cluster").same_process
    assert registry.plugins()[-1].registers == ("executor cluster", "command greet", "map_folder", "observe")


def test_a_broken_observer_stops_nothing_and_is_named_once(caplog: pytest.LogCaptureFixture) -> None:
    """The others see every event; the log names the plug-in one time, however many events there are."""
    registry = Registry()
    before, after = _Extending(), _Plugin()
    registry.register(before, name="before")
    registry.register(_BadObserver(), name="bad", distribution="alimail-bad", version="3")
    registry.register(after, name="after")
    events = [PassStarted("a@b", number) for number in range(3)]
    with caplog.at_level(logging.WARNING):
        for event in events:
            registry.observe(event)
    assert before.seen == events
    (record,) = caplog.records
    assert "alimail-bad 3" in record.getMessage()
    assert "broken on purpose" in record.getMessage()


def test_hook_calls_are_shown_on_wish(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``ALIMAIL_TRACE_PLUGINS=1`` writes each call to stderr, without a control character of a folder's name."""
    monkeypatch.setenv("ALIMAIL_TRACE_PLUGINS", "1")
    registry = Registry()
    registry.register(_OnlyMaps(("x",)))
    registry.map_folder(Folder(("evil\x1b]0;\u202e",)), CONTEXT)
    shown = capsys.readouterr().err
    assert "alimail_map_folder" in shown
    assert "\x1b" not in shown
    assert "\u202e" not in shown


def test_options_are_described() -> None:
    """Type, default and help of each option are told as an administrator writes them in TOML."""
    assert describe_options(_Options) == [
        OptionRow("host", "text", "", "The server.", secret=False, required=True),
        OptionRow("port", "whole number", "", "The port.", secret=False, required=False),
        OptionRow("mode", '"a" or "b"', '"a"', "How.", secret=False, required=False),
        OptionRow("paths", "list of: path", "", "Where.", secret=False, required=False),
        OptionRow("words", "list of: text", '["x"]', "Which.", secret=False, required=False),
        OptionRow("token", "reference to a secret", "", "A token.", secret=True, required=False),
    ]


def test_fields_that_are_not_set_by_users_are_no_options() -> None:
    """A field with ``init=False`` is the plug-in's own affair."""

    @frozen
    class Options:
        host: str = option("The server.")
        cache: int = field(init=False, default=0)

    assert [row.name for row in describe_options(Options)] == ["host"]


def test_entry_points_are_what_the_stand_in_pretends() -> None:
    """The stand-in of these tests has the attributes of a real entry point that the registry reads."""
    real = EntryPoint("imap", "alimail_imap.plugin", "alimail")
    assert all(hasattr(real, name) for name in ("name", "dist", "load"))
    assert issubclass(Sink, Source)
