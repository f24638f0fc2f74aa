"""What both servers really hold, read with Python's own imaplib and compared without a line of the engine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import TypeAlias

from attrs import evolve, frozen

from alimail_core.model import FolderPath
from alimail_core.testing.oracle import Kept, Snapshot
from tools.demo.office import DELETED_FROM, MAP, altered

CARRIED = frozenset({"\\Seen", "\\Answered", "\\Flagged", "\\Draft"})
"""The flags that Alibaba Mail stores and a migration carries; keywords it cannot store."""

ALTERED = altered()
"""What any mail would become in this target, whoever puts it there; `alimail verify` names these messages."""

Office: TypeAlias = Mapping[str, Snapshot]
"""Every mailbox of one server, by the local part of its address."""

Mail: TypeAlias = Counter[tuple[str, FolderPath, Kept]]
"""Messages with mailbox and folder."""


@frozen
class Findings:
    """How the target differs from what it must hold; all zero means that each message is there exactly once."""

    messages: int
    folders: int
    missing: int
    """Octets that should stand in a folder once more."""
    doubled: int
    """Octets that stand in a folder once too often, or come from nowhere."""
    marked_otherwise: int
    """There once, but with other flags or another internal date."""

    @property
    def clean(self) -> bool:
        """Tell whether nothing differs."""
        return not (self.missing or self.doubled or self.marked_otherwise)


def read(snapshot: Callable[[str], Snapshot], addresses: Mapping[str, str]) -> Office:
    """Read all mailboxes of one server; ``addresses`` by local part."""
    return {local: snapshot(address) for local, address in addresses.items()}


def expected(source: Office, before: Office | None = None) -> Mail:
    """Return what the target must hold: the source's mail where it belongs, and what was deleted there ``before``.

    A migration keeps what was carried and then deleted at the source, unless it is told to mirror deletions.
    """
    deleted = {
        local: {DELETED_FROM: folders[DELETED_FROM] - source[local][DELETED_FROM]}
        for local, folders in (before or {}).items()
    }
    return Counter(_arrives(*place) for office in (source, deleted) for place in _mail(office).elements())


def compare(wanted: Mail, target: Office) -> Findings:
    """Hold the target against what it must hold, as multisets."""
    found = _mail(target)
    octets_wanted, octets_found = _octets(wanted), _octets(found)
    same = (octets_wanted & octets_found).total()
    return Findings(
        messages=found.total(),
        folders=len({(local, path) for local, path, _ in found}),
        missing=(octets_wanted - octets_found).total(),
        doubled=(octets_found - octets_wanted).total(),
        marked_otherwise=same - (wanted & found).total(),
    )


def count(office: Office) -> int:
    """Count the messages of all mailboxes."""
    return _mail(office).total()


def _mail(office: Office) -> Mail:
    return Counter(dict(_places(office)))


def _places(office: Office) -> Iterator[tuple[tuple[str, FolderPath, Kept], int]]:
    for local, folders in office.items():
        for path, held in folders.items():
            for kept, times in held.items():
                yield (local, path, kept), times


def _arrives(local: str, path: FolderPath, kept: Kept) -> tuple[str, FolderPath, Kept]:
    digest = ALTERED.get(kept.digest, kept.digest)
    return local, MAP.get(path, path), evolve(kept, digest=digest, flags=kept.flags & CARRIED)


def _octets(mail: Mail) -> Counter[tuple[str, FolderPath, str]]:
    reduced = Counter[tuple[str, FolderPath, str]]()
    for (local, path, kept), times in mail.items():
        reduced[local, path, kept.digest] += times
    return reduced
