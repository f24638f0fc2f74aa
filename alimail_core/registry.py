"""Find plug-ins, hold them to their contract, and give out what they registered.

A ``Registry`` is made by whoever needs one; nothing here is global. One broken plug-in is named with its
distribution, and the others work.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import sys
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from importlib.metadata import EntryPoint, entry_points, version
from typing import Any, Final, TypeAlias

import pluggy
from attrs import define, field, frozen

from alimail_core import hookspec
from alimail_core.contract import Command, ExecutorKind, MapContext, ProvisionerKind, SinkKind, SourceKind
from alimail_core.errors import PluginError
from alimail_core.events import Event
from alimail_core.kinds import broken_promise
from alimail_core.model import Folder, FolderPath
from alimail_core.structure import OptionRow, describe_options, did_you_mean
from alimail_core.text import printable

__all__ = ["OptionRow", "PluginInfo", "PluginProblem", "Registry", "describe_options"]

GROUP: Final = "alimail"
"""The entry-point group."""

HINTS: Final[Mapping[str, str]] = {
    "alimail": "pip install alimail-sink",
    "provisioner alimail": "pip install alimail-directory",
    "imap": "pip install alimail-imap",
    "pop3": "pip install alimail-pop3",
    "ews": "pip install alimail-ews",
    "outlook": "pip install alimail-outlook",
}
"""How to get the kinds that we know of, by name; with its role where two distributions have one of that name."""

_HOOKS: Final[Mapping[str, tuple[str, type]]] = {
    "source": ("alimail_sources", SourceKind),
    "sink": ("alimail_sinks", SinkKind),
    "provisioner": ("alimail_provisioners", ProvisionerKind),
    "executor": ("alimail_executors", ExecutorKind),
    "command": ("alimail_commands", Command),
}

_Kind: TypeAlias = SourceKind[Any] | SinkKind[Any] | ProvisionerKind[Any] | ExecutorKind | Command

_log = logging.getLogger(__name__)


@frozen
class PluginProblem:
    """Why a plug-in, or a part of it, is not used."""

    distribution: str
    plugin: str
    message: str
    remedy: str = ""

    def __str__(self) -> str:
        """Say it in one line."""
        of = f" of {self.distribution}" if self.distribution else ""
        return f"plug-in {self.plugin}{of}: {self.message}"


@frozen
class PluginInfo:
    """One plug-in, for ``alimail plugins list``."""

    name: str
    distribution: str
    version: str
    registers: tuple[str, ...]
    """Such as ``"source imap"``."""
    problem: str = ""


@define
class _Plugin:
    """One registered plug-in with a plug-in manager of its own: what it does can be told from what others do."""

    name: str
    distribution: str
    version: str
    hooks: Any = field(default=None, repr=False)
    kinds: list[tuple[str, _Kind]] = field(factory=list)


class _Broken(Exception):
    """A plug-in that cannot be used, and why. Never leaves this module."""


class Registry:
    """The plug-ins of one run. Kinds, commands and hooks of all of them are reached through it."""

    def __init__(self) -> None:
        """Make a registry that knows nothing but the core's own executors."""
        self._plugins: list[_Plugin] = []
        self._problems: list[PluginProblem] = []
        self._found: dict[tuple[str, str], list[tuple[_Plugin, _Kind]]] = defaultdict(list)
        self._manager = _manager()
        self._silenced: set[str] = set()
        if os.environ.get("ALIMAIL_TRACE_PLUGINS") == "1":
            self._manager.trace.root.setwriter(_trace)
            self._manager.enable_tracing()
        self.register(CorePlugin(), name="core", distribution="alimail", version=_core_version())

    @classmethod
    def load(cls, only: Collection[str] | None = None) -> Registry:
        """Make a registry of the installed plug-ins.

        ``only`` limits it to these entry-point names; by default to those of the environment variable
        ``ALIMAIL_PLUGINS``, separated by commas, where it is set. Never raises for a plug-in's fault: see
        ``problems``.
        """
        registry = cls()
        wanted = _limit(only)
        points = sorted(entry_points(group=GROUP), key=lambda point: (_distribution(point), point.name))
        for point in points:
            if wanted is None or point.name in wanted:
                registry._load(point)
        for name in sorted((wanted or frozenset()) - {point.name for point in points}):
            registry._problems.append(PluginProblem("", name, "it is not installed", HINTS.get(name, "")))
        registry._note_collisions()
        return registry

    def register(
        self, plugin: object, *, name: str | None = None, distribution: str = "", version: str = ""
    ) -> None:
        """Add a plug-in (a module or object with hooks) that the caller brings along.

        Raises ``PluginError`` where it breaks its contract or takes a name that is taken; nothing of it is
        registered then.
        """
        record = _Plugin(
            name or str(getattr(plugin, "__name__", type(plugin).__name__)), distribution, version
        )
        try:
            self._admit(record, plugin)
            self._refuse_taken(record)
        except _Broken as error:
            raise PluginError(str(PluginProblem(distribution, record.name, str(error)))) from error
        self._add(record, plugin)

    def source(self, name: str) -> SourceKind[Any]:
        """Return the kind of source called ``name``. Raises ``PluginError`` that tells what to install."""
        kind = self._kind("source", name)
        assert isinstance(kind, SourceKind)
        return kind

    def sink(self, name: str) -> SinkKind[Any]:
        """Return the kind of sink called ``name``. Raises ``PluginError`` that tells what to install."""
        kind = self._kind("sink", name)
        assert isinstance(kind, SinkKind)
        return kind

    def provisioner(self, name: str) -> ProvisionerKind[Any]:
        """Return the kind of provisioner called ``name``. Raises ``PluginError`` that tells what to install."""
        kind = self._kind("provisioner", name)
        assert isinstance(kind, ProvisionerKind)
        return kind

    def executor(self, name: str) -> ExecutorKind:
        """Return the executor called ``name``. Raises ``PluginError`` that tells what to install."""
        kind = self._kind("executor", name)
        assert isinstance(kind, ExecutorKind)
        return kind

    def kinds(
        self,
    ) -> Iterator[tuple[str, SourceKind[Any] | SinkKind[Any] | ProvisionerKind[Any] | ExecutorKind]]:
        """Give every kind that can be used, by name, each with its role, such as ``"source"``."""
        for (role, _), found in sorted(self._found.items(), key=lambda item: item[0]):
            kind = found[0][1]
            if len(found) == 1 and not isinstance(kind, Command):
                yield role, kind

    def commands(self) -> list[Command]:
        """Return the verbs that plug-ins add, by name; those that two plug-ins claim are left out."""
        found = (found for (role, _), found in sorted(self._found.items()) if role == "command")
        return [entry[0][1] for entry in found if len(entry) == 1 and isinstance(entry[0][1], Command)]

    def map_folder(self, folder: Folder, context: MapContext) -> FolderPath | None:
        """Ask the plug-ins where a folder goes; ``None``: none of them has a wish.

        Raises ``PluginError`` where the answer is no path: a guess here would put mail in a wrong place.
        """
        path: object = self._manager.hook.alimail_map_folder(folder=folder, context=context)
        if path is None:
            return None
        if not isinstance(path, tuple) or not path or not all(isinstance(part, str) for part in path):
            raise PluginError(
                f"alimail_map_folder answered {printable(repr(path))} for a folder, which is no path",
                remedy="a path is a tuple of names; ALIMAIL_TRACE_PLUGINS=1 shows which plug-in answered",
            )
        return path

    def observe(self, event: Event) -> None:
        """Tell every observer. What one raises is logged, once for each plug-in, and stops nothing."""
        for plugin in reversed(self._plugins):
            try:
                plugin.hooks.alimail_observe(event=event)
            except Exception as error:  # noqa: BLE001 - third-party code; it must not stop a migration
                self._log_observer(plugin, error)

    def plugins(self) -> list[PluginInfo]:
        """List the plug-ins in the order of their registration, then those that could not be registered."""
        told = [self._info(plugin) for plugin in self._plugins]
        names = {(info.distribution, info.name) for info in told}
        return told + [
            PluginInfo(problem.plugin, problem.distribution, "", (), problem.message)
            for problem in self._problems
            if (problem.distribution, problem.plugin) not in names
        ]

    @property
    def problems(self) -> tuple[PluginProblem, ...]:
        """Everything that is wrong with the installed plug-ins."""
        return tuple(self._problems)

    def _load(self, point: EntryPoint) -> None:
        record = _Plugin(point.name, _distribution(point), point.dist.version if point.dist else "")
        try:
            plugin = _import(point)
            self._admit(record, plugin)
        except _Broken as error:
            self._problems.append(PluginProblem(record.distribution, record.name, str(error)))
        else:
            self._add(record, plugin)

    def _admit(self, record: _Plugin, plugin: object) -> None:
        """Try the plug-in alone, in a manager of its own; raise ``_Broken`` where it breaks a promise."""
        manager = _manager()
        try:
            manager.register(plugin, name=record.name)
            manager.check_pending()
        except (pluggy.PluginValidationError, ValueError, TypeError) as error:
            raise _Broken(_tell(error)) from error
        record.hooks = manager.hook
        for role, (hook, kind_type) in _HOOKS.items():
            record.kinds += [(role, kind) for kind in _collect(manager.hook, hook, kind_type)]
        _refuse_twins(record)

    def _add(self, record: _Plugin, plugin: object) -> None:
        self._manager.register(plugin, name=f"{record.distribution}:{record.name}:{len(self._plugins)}")
        self._plugins.append(record)
        for role, kind in record.kinds:
            self._found[role, kind.name].append((record, kind))

    def _refuse_taken(self, record: _Plugin) -> None:
        for role, kind in record.kinds:
            for other, _ in self._found.get((role, kind.name), []):
                raise _Broken(f"it registers the {role} {kind.name}, and so does {_of(other)}")

    def _note_collisions(self) -> None:
        for (role, name), found in self._found.items():
            for plugin, _ in found:
                others = ", ".join(_of(other) for other, _ in found if other is not plugin)
                if others:
                    message = f"it registers the {role} {name}, and so does {others}; neither is used"
                    self._problems.append(PluginProblem(plugin.distribution, plugin.name, message, _CHOOSE))

    def _kind(self, role: str, name: str) -> _Kind:
        found = self._found.get((role, name), [])
        if len(found) == 1:
            return found[0][1]
        if found:
            owners = " and ".join(_of(plugin) for plugin, _ in found)
            raise PluginError(f"the {role} {name} is registered by {owners}", remedy=_CHOOSE)
        for problem in self._problems:
            if problem.plugin == name and problem.distribution:
                raise PluginError(str(problem), remedy=problem.remedy or f"mend {problem.distribution}")
        known = {other for other_role, other in self._found if other_role == role}
        remedy = HINTS.get(f"{role} {name}") or HINTS.get(name) or did_you_mean(name, known)
        raise PluginError(f"there is no {role} called {printable(name)}", remedy=remedy)

    def _info(self, plugin: _Plugin) -> PluginInfo:
        own = (plugin.distribution, plugin.name)
        problem = "; ".join(
            item.message for item in self._problems if (item.distribution, item.plugin) == own
        )
        registers = [f"{role} {kind.name}" for role, kind in plugin.kinds]
        registers += [hook for hook in ("map_folder", "observe") if _implements(plugin, f"alimail_{hook}")]
        return PluginInfo(plugin.name, plugin.distribution, plugin.version, tuple(registers), problem)

    def _log_observer(self, plugin: _Plugin, error: Exception) -> None:
        if plugin.name not in self._silenced:
            self._silenced.add(plugin.name)
            _log.warning(
                "the observer of %s failed, told once: %s", _of(plugin), _tell(error), exc_info=error
            )


class CorePlugin:
    """What the core brings itself, through the same door as everybody."""

    @hookspec.hookimpl
    def alimail_executors(self) -> Iterable[ExecutorKind]:
        """Register ``threads`` and ``processes``."""
        return [
            ExecutorKind("threads", "Threads of this process.", _threads, same_process=True),
            ExecutorKind("processes", "Processes of this machine.", _processes, same_process=False),
        ]


_CHOOSE: Final = "uninstall one of them, or choose with ALIMAIL_PLUGINS=NAME,..."


def _threads(workers: int) -> Executor:
    return ThreadPoolExecutor(workers, thread_name_prefix="alimail")


def _processes(workers: int) -> Executor:
    # Spawned, not forked: a fork copies the locks that other threads hold, and Windows has none.
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))


def _manager() -> pluggy.PluginManager:
    manager = pluggy.PluginManager("alimail")
    manager.add_hookspecs(hookspec)
    return manager


def _limit(only: Collection[str] | None) -> frozenset[str] | None:
    if only is not None:
        return frozenset(only)
    listed = os.environ.get("ALIMAIL_PLUGINS")
    return None if listed is None else frozenset(filter(None, map(str.strip, listed.split(","))))


def _distribution(point: EntryPoint) -> str:
    return point.dist.name if point.dist else ""


def _import(point: EntryPoint) -> object:
    try:
        return point.load()
    except (Exception, SystemExit) as error:
        raise _Broken(f"it cannot be imported: {_tell(error)}") from error


def _collect(hooks: Any, hook: str, kind_type: type) -> Iterator[Any]:
    """Call one registering hook of one plug-in and hold what it returns to the contract."""
    try:
        kinds = [kind for answer in getattr(hooks, hook)() for kind in answer]
    except Exception as error:
        raise _Broken(f"{hook} failed: {_tell(error)}") from error
    for kind in kinds:
        fault = broken_promise(kind, kind_type)
        if fault:
            raise _Broken(f"{hook}: {fault}")
        yield kind


def _refuse_twins(record: _Plugin) -> None:
    names = [(role, kind.name) for role, kind in record.kinds]
    for role, name in names:
        if names.count((role, name)) > 1:
            raise _Broken(f"it registers the {role} {name} twice")


def _implements(plugin: _Plugin, hook: str) -> bool:
    return bool(getattr(plugin.hooks, hook).get_hookimpls())


def _of(plugin: _Plugin) -> str:
    return f"{plugin.distribution} {plugin.version}".strip() or plugin.name


def _tell(error: BaseException) -> str:
    return printable(f"{type(error).__name__}: {' '.join(str(error).split())}"[:500])


def _core_version() -> str:
    return version("alimail")


def _trace(text: str) -> None:
    print(*(printable(line) for line in text.splitlines()), sep="\n", file=sys.stderr)
