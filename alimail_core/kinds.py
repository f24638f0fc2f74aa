"""Hold what a plug-in registers to the contract, as far as that can be seen without opening anything."""

from __future__ import annotations

import inspect
import re
import typing
from collections.abc import Collection
from typing import Any, Final

import attrs

from alimail_core.contract import (
    Command,
    ExecutorKind,
    Provisioner,
    ProvisionerKind,
    Sink,
    SinkKind,
    Source,
    SourceKind,
)
from alimail_core.structure import can_structure, init_fields, is_secret
from alimail_core.text import printable

RESERVED: Final = frozenset({"kind", "login", "login_domains", "secret"})
"""Keys of ``[source]`` and ``[target]`` that are the core's own; no plug-in's option is called so."""

PROVISION_KEYS: Final = frozenset(
    {
        "kind",
        "employees",
        "groups",
        "employee_headings",
        "group_headings",
        "department_base",
        "domain",
        "passwords",
    }
)
"""The same of ``[provision]``."""

_NAME: Final = re.compile(r"[a-z][a-z0-9-]*")


def broken_promise(kind: object, kind_type: type) -> str:
    """Say which promise a registered ``kind`` breaks; empty where none is seen to be broken."""
    if not isinstance(kind, kind_type):
        return f"it gives {printable(type(kind).__name__)} where {kind_type.__name__} is due"
    assert isinstance(kind, SourceKind | SinkKind | ProvisionerKind | ExecutorKind | Command)
    if not isinstance(kind.name, str) or not _NAME.fullmatch(kind.name):
        return f"{printable(repr(kind.name))} is no name: small letters, digits and hyphens"
    if isinstance(kind, Command):
        return _command(kind)
    fault = _callable(kind.name, kind.open)
    if not fault and not isinstance(kind, ExecutorKind):
        reserved = PROVISION_KEYS if isinstance(kind, ProvisionerKind) else RESERVED
        fault = _options(kind.options, reserved) or _opened(kind.open, kind_type)
        return f"{kind.name}: {fault}" if fault else ""
    return fault


def _command(command: Command) -> str:
    if not command.commands:
        return _callable(command.name, command.run)
    if command.run is not None or command.arguments:
        return f"{command.name}: a group of verbs runs nothing itself"
    faults = (broken_promise(each, Command) for each in command.commands)
    return next((f"{command.name}: {fault}" for fault in faults if fault), "")


def _callable(name: str, function: object) -> str:
    return "" if callable(function) else f"{name}: there is nothing to call"


def _options(options_class: object, reserved: Collection[str]) -> str:
    if not isinstance(options_class, type) or not attrs.has(options_class):
        return "its options are not an attrs class"
    try:
        types = typing.get_type_hints(options_class)
    except (NameError, TypeError) as error:
        return f"the types of its options cannot be told: {printable(str(error))}"
    faults = (_option(field, types[field.name], reserved) for field in init_fields(options_class))
    return next(filter(None, faults), "")


def _option(field: attrs.Attribute[Any], type_: Any, reserved: Collection[str]) -> str:
    if not field.metadata.get("help"):
        return f"the option {field.name} has no help text: make it with option()"
    if (field.alias or field.name) in reserved:
        return f"the option {field.name} has a name that the core uses itself"
    if field.metadata.get("secret") and not is_secret(type_):
        return f"the option {field.name} is secret, so its type must be Secret"
    if field.metadata.get("account") and type_ not in (str, str | None):
        return f"the option {field.name} names an account, so its type must be str"
    if not can_structure(type_):
        return f"the option {field.name} has a type that a configuration cannot give"
    return ""


def _opened(factory: Any, kind_type: type) -> str:
    """Look at what the factory says that it returns: a class of the plug-in's own can be held to the contract."""
    made = factory if isinstance(factory, type) else _return_type(factory)
    if not isinstance(made, type) or made is Any or made in (Source, Sink, Provisioner):
        return ""
    due = {SinkKind: Sink, ProvisionerKind: Provisioner}.get(kind_type, Source)
    if not issubclass(made, due):
        return f"{made.__name__} is not a {due.__name__}"
    missing = ", ".join(sorted(made.__abstractmethods__))
    return f"{made.__name__} lacks {missing}" if missing else ""


def _return_type(factory: Any) -> object:
    function = factory if inspect.isroutine(factory) else type(factory).__call__
    try:
        return typing.get_type_hints(function).get("return")
    except (NameError, TypeError):  # annotations for type checkers only: nothing is learnt here
        return None
