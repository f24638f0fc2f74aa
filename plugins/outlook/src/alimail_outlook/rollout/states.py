"""What machines have written: read as anybody's files, since everybody may write to the folder that collects them.

A file is refused, and told, where it is no state; of several of one machine and user the latest counts. What it says
is judged by the rules' own table: a name that the table does not have is told as it is.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from attrs import frozen

from alimail_core import InputError
from alimail_core.commands import printable
from alimail_outlook.rollout.scripts import SCHEMA
from alimail_outlook.rules import RULES, Rule

LARGEST: Final = 64 * 1024
"""Of a file, in octets; those that the script writes have less than one thousand."""
MOST: Final = 200_000
"""Of files in a folder."""

Standing: TypeAlias = Literal["loaded", "at risk", "not loaded", "not installed"]

STANDINGS: Final[Mapping[Standing, str]] = {
    "not loaded": "installed, and Outlook does not load it",
    "not installed": "not installed",
    "at risk": "nothing keeps Outlook from loading it, but something wants a look",
    "loaded": "loaded",
}
"""How a machine stands, the gravest first, and what that means."""

_RULES: Final[Mapping[str, Rule]] = {rule.name: rule for rule in RULES}
_LEVELS: Final = frozenset({"ok", "note", "warning", "fault", "unknown"})
_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)


@frozen
class State:
    """One user's Outlook on one machine. Its texts are as they were written: escape them."""

    machine: str
    user: str
    at: datetime
    progid: str
    installer: str
    """The SHA-256 of what ``install.ps1`` installed; empty where that was somebody else."""
    levels: Mapping[str, str]

    @property
    def broken(self) -> list[Rule]:
        """Return the rules that do not hold, in the table's order; one that is not known stands for itself."""
        names = [name for name, level in self.levels.items() if level in ("fault", "warning")]
        order = list(_RULES)
        names.sort(key=lambda name: order.index(name) if name in _RULES else len(order))
        return [_RULES.get(name) or Rule(name, name, f"the rule {name} does not hold", "") for name in names]

    @property
    def standing(self) -> Standing:
        """Tell how it stands."""
        if any(
            _RULES[name].stops for name, level in self.levels.items() if name in _RULES and level == "fault"
        ):
            return "not installed"
        if "fault" in self.levels.values():
            return "not loaded"
        return "at risk" if "warning" in self.levels.values() else "loaded"


@frozen
class Collected:
    """All of a folder."""

    states: tuple[State, ...]
    """By machine and user, one of each."""
    refused: Mapping[str, str]
    """Files that are no state, by name, and why not."""
    older: int = 0
    """Files that a later one of the same machine and user has taken the place of."""


def collected(folder: Path) -> Collected:
    """Read a folder, and those in it. Raises ``InputError`` where it cannot be read, or has none of it."""
    latest: dict[tuple[str, str], State] = {}
    refused: dict[str, str] = {}
    older = 0
    for path in _files(folder):
        try:
            state = _state(path)
        except ValueError as fault:
            refused[str(path.relative_to(folder))] = str(fault)
            continue
        key = (state.machine.casefold(), state.user.casefold())
        before = latest.get(key)
        older += before is not None
        if before is None or before.at < state.at:
            latest[key] = state
    if not latest and not refused:
        raise InputError(
            f"{printable(str(folder))} has no *.json in it",
            remedy="Name the folder that was given as --collect to `alimail outlook rollout`.",
        )
    return Collected(tuple(latest[key] for key in sorted(latest)), refused, older)


def _files(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise InputError(
            f"{printable(str(folder))} is no folder", remedy="Name the one that machines write to."
        )
    try:
        found = sorted(path for path in folder.rglob("*.json") if path.is_file() and not path.is_symlink())
    except OSError as error:
        raise InputError(f"{printable(str(folder))} cannot be read: {error.strerror}") from None
    if len(found) > MOST:
        raise InputError(f"{printable(str(folder))} has more than {MOST:,} files")
    yield from found


def _state(path: Path) -> State:
    """Read one file. Raises ``ValueError`` with what is wrong with it."""
    try:
        with path.open("rb") as file:
            octets = file.read(LARGEST + 1)
    except OSError as error:
        raise ValueError(f"it cannot be read: {error.strerror}") from None
    if len(octets) > LARGEST:
        raise ValueError(f"it has more than {LARGEST} octets")
    try:
        told = json.loads(octets.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON") from None
    if not isinstance(told, dict) or told.get("schema") != SCHEMA or told.get("version") != 1:
        raise ValueError("it is not what collect.ps1 writes")
    return State(
        _text(told, "machine", empty=False),
        _text(told, "user"),
        _moment(told),
        _text(told, "progid"),
        _text(told, "installer"),
        _levels(told),
    )


def _text(told: Mapping[str, Any], name: str, *, empty: bool = True) -> str:
    value = told.get(name)
    if not isinstance(value, str) or len(value) > 300 or not (value or empty):
        raise ValueError(f"its {name} is no text, or too long")
    return value


def _moment(told: Mapping[str, Any]) -> datetime:
    value = told.get("at")
    if not isinstance(value, str) or not _MOMENT.fullmatch(value):
        raise ValueError("its time is none")
    return datetime.fromisoformat(value)  # whose ValueError says what is wrong with it


def _levels(told: Mapping[str, Any]) -> Mapping[str, str]:
    value = told.get("levels")
    if not isinstance(value, dict) or not value or len(value) > 100:
        raise ValueError("its levels are none")
    if not all(
        len(name) <= 100 and isinstance(level, str) and level in _LEVELS for name, level in value.items()
    ):
        raise ValueError("it has a level that is none")
    return value
