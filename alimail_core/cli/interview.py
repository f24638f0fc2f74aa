"""What ``init`` asks: answers from the command line, from the terminal, or none, each held against its option."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import typer
from attrs import Factory, define, frozen

from alimail_core.cli.output import complain
from alimail_core.errors import AlimailError, Fault, InputError

Table = dict[str, object]
Place = tuple[str, str]
"""A table and a key of the configuration."""


@frozen
class Flag:
    """What the command line says of one place: a text, the texts of a list, or nothing."""

    name: str
    value: str | list[str] | None


@define
class Interview:
    """The answers: what the command line gives, else what is asked, else nothing, which leaves the default."""

    given: Mapping[Place, Flag]
    folder: Path
    """Where the files go."""
    asks: bool
    answers: dict[str, Table] = Factory(lambda: defaultdict(dict))
    unanswered: list[Place] = Factory(list)
    """What must be given, and nobody has said."""
    faults: list[Fault] = Factory(list)
    """Flags that do not fit, where nobody can be asked again."""
    found: dict[Place, str] = Factory(dict)
    """What was found out meanwhile, and is proposed where it is asked for."""

    def take(
        self,
        table: str,
        key: str,
        cls: type[Any],
        question: str,
        preset: str = "",
        *,
        silent: str = "",
        fits: Callable[[str], object] = str,
        finds: Callable[[str], bool] = lambda _: False,
    ) -> None:
        """Find one answer, and on a terminal ask again while it does not fit.

        ``silent``: the answer where nobody is asked; ``fits`` raises ``AlimailError`` for what its type allows and
        is wrong all the same; ``finds`` tells of what was typed that it is no answer, and has looked for one. Off a
        terminal, what does not fit is noted among the faults.
        """
        flag = self.given.get((table, key))
        value = flag.value if flag else None
        asked = flag is None and self.asks
        while True:
            if asked:
                preset = self.found.get((table, key), preset)
                value = typer.prompt(question, default=preset, show_default=bool(preset))
                if finds(str(value)):
                    continue
                if key == "login_domains":
                    value = [each.strip() for each in str(value).split(",") if each.strip()]
            try:
                return self._put(table, key, cls, value or silent, fits)
            except InputError as error:
                if not self.asks:
                    return self.refuse((table, key), error.message, error.remedy)
                complain(f"  {error.message}", *([f"  -> {error.remedy}"] if error.remedy else []))
                asked = True

    def refuse(self, place: Place, message: str, remedy: str) -> None:
        """Note a flag that does not fit; on a terminal raise ``InputError`` before more is asked."""
        where = self.given[place].name if place in self.given else f"[{place[0]}] {place[1]}"
        self.faults.append(Fault(where, message, remedy))
        if self.asks:
            self.raise_faults()

    def raise_faults(self) -> None:
        """Raise ``InputError`` with all faults, where there are any."""
        from alimail_core.sheets.roster import count

        if self.faults:
            remedy = "`alimail init --help` tells what fits."
            raise InputError(f"nothing is written: {count(self.faults)}", self.faults, remedy=remedy)

    def _put(
        self, table: str, key: str, cls: type[Any], value: object, fits: Callable[[str], object]
    ) -> None:
        """Keep an answer; an empty one leaves the default. Raises ``InputError`` for one that does not fit."""
        from alimail_core.structure import Misfits, structure

        self.answers[table].pop(key, None)
        if not value:
            return
        known = {name: each for name, each in self.answers[table].items() if hasattr(cls, name)}
        try:
            made = getattr(structure({**known, key: value}, cls, from_text=True), key)
        except Misfits as error:
            for item in error.items:
                if item.path[:1] == (key,):
                    raise InputError(f"[{table}] {key} {item.message}", remedy=item.remedy) from None
            made = value
        if isinstance(value, str):
            try:
                fits(value)
            except AlimailError as error:
                raise InputError(error.message, remedy=error.remedy) from None
        # As it was written: a path is relative to the configuration, and 1 TB is easier to read than its zeros.
        is_number = isinstance(made, int) and str(value).lstrip("+-").isdecimal()
        self.answers[table][key] = made if isinstance(made, bool | tuple) or is_number else value

    def is_sheet(self, name: str) -> None:
        """Raise ``InputError`` for what is no spreadsheet by its name."""
        if Path(name).suffix.lower() not in (".csv", ".xlsx"):
            raise InputError(f"{name} is neither csv nor xlsx", remedy="End its name with one of them.")

    def sheet_fits(self, name: str) -> None:
        """Raise ``InputError`` for a roster that cannot be written."""
        self.is_sheet(name)
        refuse_existing(self.folder / name)


def refuse_existing(path: Path) -> None:
    """Raise ``InputError`` for a file that is there, since none is ever overwritten, or whose folder is not."""
    if path.exists():
        raise InputError(f"{path} is there already, and is left as it is", remedy="Choose another name.")
    if not path.parent.is_dir():
        raise InputError(f"there is no folder {path.parent}", remedy="Make it first, or choose another name.")
