"""alimail: move an organisation's mail, every message once, proven.

The public names, all importable from here. They are imported when they are first asked for, so that
``alimail --help`` and a plug-in that needs two names do not wait for the rest.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alimail_core.check import CheckResult
    from alimail_core.config.load import load, load_provision, loads
    from alimail_core.contract import (
        Argument,
        Command,
        Credentials,
        ExecutorKind,
        MapContext,
        Provisioner,
        ProvisionerKind,
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
        LoginDenied,
        OverQuota,
        PluginError,
        Refused,
        Remark,
        Throttled,
        Transient,
    )
    from alimail_core.events import (
        BatchSettled,
        Event,
        FolderListed,
        FolderSettled,
        MessagesProven,
        Noted,
        Observer,
        PassEnded,
        PassStarted,
        ProblemFound,
        ProofEnded,
        ProofStarted,
        Waiting,
    )
    from alimail_core.folders.mapping import Skipped
    from alimail_core.folders.policy import FolderPolicy, FolderRule
    from alimail_core.header import fingerprint
    from alimail_core.hookspec import hookimpl
    from alimail_core.logs import JsonLog
    from alimail_core.messages import MessageFilter
    from alimail_core.migration import Migration, MigrationSummary
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
        FolderCount,
        FolderPath,
        Gone,
        Headers,
        LeftBehind,
        MailCount,
        Message,
        Moved,
        NotStored,
        PathRules,
        Quota,
        SinkTraits,
        SpecialUse,
        Stored,
        Traits,
        Unreadable,
        Unusable,
    )
    from alimail_core.network import (
        NobodyThere,
        NoTls,
        Patience,
        ServerOptions,
        dial,
        find_tls,
        tls_context,
        tls_error,
        tls_remark,
    )
    from alimail_core.options import TransferOptions
    from alimail_core.pace import Pace
    from alimail_core.plan import AccountPlan, FolderPlan
    from alimail_core.proof.results import (
        AccountComparison,
        AccountProof,
        Finding,
        FolderComparison,
        FolderProof,
        MessageProof,
        Mismatch,
        root_digest,
    )
    from alimail_core.provisioning.directory import (
        Department,
        DepartmentPath,
        Directory,
        Employee,
        Group,
        ProvisionerTraits,
        Step,
        StepDone,
        StepNotDone,
        Thing,
        department_key,
        fold,
        key_of,
    )
    from alimail_core.registry import PluginInfo, PluginProblem, Registry
    from alimail_core.seam import Clock, Stop
    from alimail_core.secrets import Secret, parse_secret
    from alimail_core.spec import AccountSpec, Endpoint, MigrationSpec, ProvisionSpec
    from alimail_core.status import AccountStatus
    from alimail_core.structure import OptionRow, describe_options
    from alimail_core.transfer import PassSummary
    from alimail_core.units import Octets
    from alimail_core.urls import parse_url

_HOMES = {
    "check": "CheckResult",
    "config.load": "load load_provision loads",
    "contract": (
        "Argument Command Credentials ExecutorKind MapContext Provisioner ProvisionerKind Sink SinkKind Source "
        "SourceKind option"
    ),
    "provisioning.directory": (
        "Department DepartmentPath Directory Employee Group ProvisionerTraits Step StepDone StepNotDone Thing "
        "department_key fold key_of"
    ),
    "errors": (
        "AlimailError Denied Fault InDoubt InputError Interrupted LeaseHeld LeaseLost LedgerError LoginDenied "
        "OverQuota PluginError Refused Remark Throttled Transient"
    ),
    "events": (
        "BatchSettled Event FolderListed FolderSettled MessagesProven Noted Observer PassEnded PassStarted "
        "ProblemFound ProofEnded ProofStarted Waiting"
    ),
    "folders.mapping": "Skipped",
    "folders.policy": "FolderPolicy FolderRule",
    "header": "fingerprint",
    "hookspec": "hookimpl",
    "logs": "JsonLog",
    "migration": "Migration MigrationSummary",
    "messages": "MessageFilter",
    "model": (
        "BATCH_MESSAGES BATCH_OCTETS INBOX PAGE SYSTEM_FLAGS Batch Changes Cursor Delivery Entry "
        "FlagChange Folder FolderCount FolderPath Gone Headers LeftBehind MailCount Message Moved NotStored "
        "PathRules Quota SinkTraits SpecialUse Stored Traits Unreadable Unusable"
    ),
    "network": "NobodyThere NoTls Patience ServerOptions dial find_tls tls_context tls_error tls_remark",
    "options": "TransferOptions",
    "pace": "Pace",
    "plan": "AccountPlan FolderPlan",
    "proof.results": (
        "AccountComparison AccountProof Finding FolderComparison FolderProof MessageProof Mismatch root_digest"
    ),
    "registry": "PluginInfo PluginProblem Registry",
    "seam": "Clock Stop",
    "secrets": "Secret parse_secret",
    "spec": "AccountSpec Endpoint MigrationSpec ProvisionSpec",
    "status": "AccountStatus",
    "structure": "OptionRow describe_options",
    "transfer": "PassSummary",
    "units": "Octets",
    "urls": "parse_url",
}
"""Each public name's module."""

_MODULE_OF = {name: module for module, names in _HOMES.items() for name in names.split()}

__all__ = [
    "AccountComparison",
    "AccountPlan",
    "AccountProof",
    "AccountSpec",
    "AccountStatus",
    "AlimailError",
    "Argument",
    "BATCH_MESSAGES",
    "BATCH_OCTETS",
    "Batch",
    "BatchSettled",
    "Changes",
    "CheckResult",
    "Clock",
    "Command",
    "Credentials",
    "Cursor",
    "Delivery",
    "Denied",
    "Department",
    "DepartmentPath",
    "Directory",
    "Employee",
    "Endpoint",
    "Entry",
    "Event",
    "ExecutorKind",
    "Fault",
    "Finding",
    "FlagChange",
    "Folder",
    "FolderCount",
    "FolderListed",
    "FolderPath",
    "FolderComparison",
    "FolderPlan",
    "FolderPolicy",
    "FolderProof",
    "FolderRule",
    "FolderSettled",
    "Gone",
    "Group",
    "Headers",
    "INBOX",
    "InDoubt",
    "InputError",
    "Interrupted",
    "JsonLog",
    "LeaseHeld",
    "LeaseLost",
    "LedgerError",
    "LeftBehind",
    "LoginDenied",
    "MailCount",
    "MapContext",
    "Message",
    "MessageFilter",
    "MessageProof",
    "MessagesProven",
    "Migration",
    "MigrationSpec",
    "MigrationSummary",
    "Mismatch",
    "Moved",
    "NoTls",
    "NobodyThere",
    "NotStored",
    "Noted",
    "Observer",
    "Octets",
    "OptionRow",
    "OverQuota",
    "PAGE",
    "Pace",
    "PassEnded",
    "PassStarted",
    "PassSummary",
    "PathRules",
    "Patience",
    "PluginError",
    "PluginInfo",
    "PluginProblem",
    "ProblemFound",
    "ProofEnded",
    "ProofStarted",
    "Provisioner",
    "ProvisionerKind",
    "ProvisionSpec",
    "ProvisionerTraits",
    "Quota",
    "Refused",
    "Registry",
    "Remark",
    "SYSTEM_FLAGS",
    "Secret",
    "ServerOptions",
    "Sink",
    "SinkKind",
    "SinkTraits",
    "Skipped",
    "Source",
    "SourceKind",
    "SpecialUse",
    "Step",
    "StepDone",
    "StepNotDone",
    "Stop",
    "Stored",
    "Thing",
    "Throttled",
    "Traits",
    "TransferOptions",
    "Transient",
    "Unreadable",
    "Unusable",
    "Waiting",
    "department_key",
    "describe_options",
    "dial",
    "find_tls",
    "fingerprint",
    "fold",
    "hookimpl",
    "key_of",
    "load",
    "load_provision",
    "loads",
    "option",
    "parse_secret",
    "parse_url",
    "root_digest",
    "tls_context",
    "tls_error",
    "tls_remark",
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
