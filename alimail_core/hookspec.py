"""The hooks of alimail, and nothing else: what a plug-in may implement.

A plug-in is a module (or object) that an installed distribution names under the entry-point group ``alimail``::

    [project.entry-points.alimail]
    mbox = "alimail_mbox.plugin"

and that implements any of the hooks below, marked with ``@alimail_core.hookimpl``::

    from alimail_core import SourceKind, hookimpl

    @hookimpl
    def alimail_sources():
        return [SourceKind(name="mbox", summary="...", options=MboxOptions, open=open_mbox)]

Hooks only *register*. Everything behind them is a plain typed object whose promises stand in
``alimail_core.contract``. A misspelt hook is an error that names the distribution; the other plug-ins go on.
Arguments may be added to a hook in later versions, never taken away, so implement only those that you use.
``ALIMAIL_PLUGINS=imap,mbox`` limits what is loaded.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pluggy

from alimail_core.contract import Command, ExecutorKind, MapContext, ProvisionerKind, SinkKind, SourceKind
from alimail_core.events import Event
from alimail_core.model import Folder, FolderPath

hookspec = pluggy.HookspecMarker("alimail")
hookimpl = pluggy.HookimplMarker("alimail")


@hookspec
def alimail_sources() -> Iterable[SourceKind[Any]]:  # type: ignore[empty-body]
    """Register where mail can come from. Called once, when the registry is made."""


@hookspec
def alimail_sinks() -> Iterable[SinkKind[Any]]:  # type: ignore[empty-body]
    """Register where mail can go to. Called once, when the registry is made."""


@hookspec
def alimail_provisioners() -> Iterable[ProvisionerKind[Any]]:  # type: ignore[empty-body]
    """Register where employees, departments and groups can be made. Called once, when the registry is made."""


@hookspec
def alimail_executors() -> Iterable[ExecutorKind]:  # type: ignore[empty-body]
    """Register a way to run accounts side by side. The core brings ``threads`` and ``processes``."""


@hookspec
def alimail_commands() -> Iterable[Command]:  # type: ignore[empty-body]
    """Register verbs of your own for the command line, described without its library."""


@hookspec(firstresult=True)
def alimail_map_folder(folder: Folder, context: MapContext) -> FolderPath | None:
    """Override where one source folder goes; ``None`` leaves it to the next plug-in and then to the policy.

    Asked for each folder that no rule of the configuration names, once: the answer is kept in the ledger. The
    core still makes the path valid for the sink and free of collisions. MUST be deterministic.
    """


@hookspec
def alimail_observe(event: Event) -> None:
    """See everything that happens (``alimail_core.events``), in the thread in which it happens.

    Where accounts run in other processes, it is seen in the process that began the run, if they can reach it.
    Return quickly. An exception raised here is logged and does not stop the migration.
    """
