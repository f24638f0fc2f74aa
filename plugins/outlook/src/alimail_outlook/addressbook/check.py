"""Does a directory let us in, what does it offer, and does a search find a colleague: the same of every kind."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar, Final

from alimail_core import AlimailError, Remark
from alimail_core.commands import printable
from alimail_outlook.addressbook.book import Person, fold
from alimail_outlook.findings import Finding

MOST: Final = 20
"""How many people a search asks for."""
SECONDS: Final = 30.0
"""How long a server may be silent."""

_NOBODY: Final = (
    "See how the console spells the name, whether that person is hidden from the address book there, and whether "
    "this account may see all of it."
)


class Directory(ABC):
    """A place that may have the organisation's people. Each step raises ``AlimailError`` where it cannot be done."""

    title: ClassVar[str]

    @property
    @abstractmethod
    def where(self) -> str:
        """Tell which one it is, for people."""

    @abstractmethod
    def log_in(self) -> Remark:
        """Get there and in; tell how."""

    @abstractmethod
    def offer(self) -> Remark:
        """Tell what address books there are."""

    @abstractmethod
    def search(self, text: str) -> list[Person]:
        """Ask the server for people whose name or address contains the words, at most about ``MOST``."""

    @abstractmethod
    def close(self) -> None:
        """Let go. Idempotent."""


def check(directory: Directory, colleague: str) -> Iterator[Finding]:
    """Give a finding for each step, as they come; the first that cannot be done is the last."""
    steps = (
        ("login", directory.log_in),
        ("address book", directory.offer),
        ("search", lambda: _found(directory, colleague)),
    )
    try:
        for name, step in steps:
            try:
                remark = step()
            except AlimailError as error:
                remark = Remark("fault", error.message, error.remedy)
            yield Finding(f"{directory.title}: {name}", remark)
            if remark.level == "fault":
                return
    finally:
        directory.close()


def _found(directory: Directory, colleague: str) -> Remark:
    people = [each for each in directory.search(colleague) if is_meant(each, colleague)]
    if not people:
        return Remark("fault", f"{printable(colleague)} is not found", _NOBODY)
    first, *others = people
    more = f", and {len(others)} more" if others else ""
    return Remark("ok", f"found: {printable(first.name)} <{printable(first.address)}>{more}")


def is_meant(person: Person, text: str) -> bool:
    """Tell whether it is the person who was asked for: by the whole address, or by all words of a name.

    The server has searched already, and may have been generous.
    """
    if "@" in text:
        return fold(person.address) == fold(text)
    line = fold(f"{person.name}\n{person.address}")
    return bool(person.address) and all(word in line for word in fold(text).split())
