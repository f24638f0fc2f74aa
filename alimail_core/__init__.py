"""alimail: move an organisation's mail, every message once, proven.

The public names, all importable from here. They are imported when they are first asked for, so that
``alimail --help`` and a plug-in that needs two names do not wait for the rest.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alimail_core.contract import (
        Argument,
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
    from alimail_core.errors import (
        AlimailError,
        Denied,
        Fault,
        InDoubt,
        InputError,
        Interrupted,
        LeaseHeld,
        LeaseLost,
        LedgerError,
        OverQuota,
        PluginError,
        Refused,
        Throttled,
        Transient,
    )
    from alimail_core.events import (
        BatchSettled,
        Event,
        FolderListed,
        FolderSettled,
        Noted,
        Observer,
        PassEnded,
        PassStarted,
        ProblemFound,
        Waiting,
    )
    from alimail_core.folders import FolderPolicy
    from alimail_core.hookspec import hookimpl
    from alimail_core.logs import JsonLog
    from alimail_core.model import (
        BATCH_MESSAGES,
        BATCH_OCTETS,
        INBOX,
        PAGE,
        SYSTEM_FLAGS,
        Batch,
        Changes,
        Cursor,
        Delivery,
        Entry,
        FlagChange,
        Folder,
        FolderPath,
        Gone,
        Headers,
        Message,
        Moved,
        NotStored,
        PathRules,
        Quota,
        Remark,
        SinkTraits,
        SpecialUse,
        Stored,
        Traits,
        Unreadable,
        Unusable,
    )
    from alimail_core.options import TransferOptions
    from alimail_core.seam import Clock, Stop
    from alimail_core.secrets import Secret, parse_secret
    from alimail_core.spec import AccountSpec, Endpoint, MigrationSpec
    from alimail_core.transfer import PassSummary

_HOMES = {
    "contract": (
        "Argument Command Credentials ExecutorKind MapContext Sink SinkKind Source SourceKind option"
    ),
    "errors": (
        "AlimailError Denied Fault InDoubt InputError Interrupted LeaseHeld LeaseLost LedgerError "
        "OverQuota PluginError Refused Throttled Transient"
    ),
    "events": (
        "BatchSettled Event FolderListed FolderSettled Noted Observer PassEnded PassStarted "
        "ProblemFound Waiting"
    ),
    "folders": "FolderPolicy",
    "hookspec": "hookimpl",
    "logs": "JsonLog",
    "model": (
        "BATCH_MESSAGES BATCH_OCTETS INBOX PAGE SYSTEM_FLAGS Batch Changes Cursor Delivery Entry "
        "FlagChange Folder FolderPath Gone Headers Message Moved NotStored PathRules Quota Remark "
        "SinkTraits SpecialUse Stored Traits Unreadable Unusable"
    ),
    "options": "TransferOptions",
    "seam": "Clock Stop",
    "secrets": "Secret parse_secret",
    "spec": "AccountSpec Endpoint MigrationSpec",
    "transfer": "PassSummary",
}
"""Each public name's module."""

_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = [
    "AccountSpec",
    "AlimailError",
    "Argument",
    "BATCH_MESSAGES",
    "BATCH_OCTETS",
    "Batch",
    "BatchSettled",
    "Changes",
    "Clock",
    "Command",
    "Credentials",
    "Cursor",
    "Delivery",
    "Denied",
    "Endpoint",
    "Entry",
    "Event",
    "ExecutorKind",
    "Fault",
    "FlagChange",
    "Folder",
    "FolderListed",
    "FolderPath",
    "FolderPolicy",
    "FolderSettled",
    "Gone",
    "Headers",
    "INBOX",
    "InDoubt",
    "InputError",
    "Interrupted",
    "JsonLog",
    "LeaseHeld",
    "LeaseLost",
    "LedgerError",
    "MapContext",
    "Message",
    "MigrationSpec",
    "Moved",
    "NotStored",
    "Noted",
    "Observer",
    "OverQuota",
    "PAGE",
    "PassEnded",
    "PassStarted",
    "PassSummary",
    "PathRules",
    "PluginError",
    "ProblemFound",
    "Quota",
    "Refused",
    "Remark",
    "SYSTEM_FLAGS",
    "Secret",
    "Sink",
    "SinkKind",
    "SinkTraits",
    "Source",
    "SourceKind",
    "SpecialUse",
    "Stop",
    "Stored",
    "Throttled",
    "Traits",
    "TransferOptions",
    "Transient",
    "Unreadable",
    "Unusable",
    "Waiting",
    "hookimpl",
    "option",
    "parse_secret",
]


def __getattr__(name: str) -> object:
    """Import a public name's module and hand the name out, once."""
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return sorted({*globals(), *__all__})
