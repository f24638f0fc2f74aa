"""Read copies back from the target, and say of each whether it is what was sent, altered, or another message."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TypeAlias

from attrs import define

from alimail_core.contract import Sink, Source
from alimail_core.identity import Digests, digests, mend
from alimail_core.ledger import Row
from alimail_core.model import BATCH_OCTETS, Entry, Folder, FolderPath, Gone, Message, Unreadable
from alimail_core.proof.differences import Difference, difference

_Answer: TypeAlias = Message | Gone | Unreadable


@define
class Reading:
    """What was learnt of one copy by reading it."""

    outcome: str
    """``"identical"``, ``"altered"``, ``"changed"``, ``"missing"``, or ``"moved"``."""
    text: str
    digest: bytes | None = None


class Readback:
    """The octets of both sides of one account. ``each_part`` is told how many octets more were read."""

    def __init__(
        self,
        source: Source,
        sink: Sink,
        place: Callable[[Row], Folder],
        each_part: Callable[[FolderPath, int], None],
    ) -> None:
        self.altered: dict[int, bytes] = {}
        """By row: how the target stores what it altered, where the ledger does not know it yet."""
        self._source = source
        self._sink = sink
        self._place = place
        self._each_part = each_part

    def read(self, folder: Folder, rows: Sequence[Row], listed: set[int]) -> dict[int, Reading]:
        """Read copies of a source folder's messages; of those ``listed`` there now, the messages as well."""
        here = [row for row in rows if row.id in listed]
        stored = self._digests_in_target(folder.path, rows)
        given = self._digests_at_source(folder, here)
        present = {row.id for row in here}
        return {
            row.id: self._reading(folder, row, stored.get(row.id), given.get(row.id), row.id in present)
            for row in rows
        }

    def _digests_in_target(self, path: FolderPath, rows: Sequence[Row]) -> dict[int, Digests | str]:
        """Return each copy's digests by row, or why it could not be read; nothing of what is gone."""
        by_place: dict[tuple[FolderPath, str], Row] = {}
        asked: dict[FolderPath, tuple[Folder, list[Entry]]] = {}
        for row in rows:
            target = self._place(row)
            by_place[target.path, row.target_key or ""] = row
            asked.setdefault(target.path, (target, []))[1].append(row.target_entry)
        found: dict[int, Digests | str] = {}
        for answer in self._counted(path, self._sink.fetch(asked.values())):
            asked_for = by_place.get((answer.folder, answer.key))
            if asked_for is not None and isinstance(answer, Message):
                found[asked_for.id] = digests(answer.octets)
            elif asked_for is not None and isinstance(answer, Unreadable):
                found[asked_for.id] = answer.reason
        return found

    def _counted(self, path: FolderPath, answers: Iterable[_Answer]) -> Iterator[_Answer]:
        """Pass answers on, and tell now and then how many octets they had."""
        octets = 0
        for answer in answers:
            yield answer
            octets += len(answer.octets) if isinstance(answer, Message) else 0
            if octets >= BATCH_OCTETS:
                self._each_part(path, octets)
                octets = 0

    def _digests_at_source(self, folder: Folder, rows: Sequence[Row]) -> dict[int, bytes]:
        """Return the digests of what the source gives now, by row; nothing where it gives other octets each time."""
        by_key = {row.key or "": row for row in rows}
        if not by_key or not self._source.traits.stable_octets:
            return {}
        return {
            by_key[answer.key].id: digests(answer.octets).digest
            for answer in self._source.fetch([(folder, [row.entry for row in rows])])
            if isinstance(answer, Message) and answer.key in by_key
        }

    def _reading(
        self, folder: Folder, row: Row, stored: Digests | str | None, given: bytes | None, present: bool
    ) -> Reading:
        if stored is None:
            return Reading("moved", "moved or removed in the target while it was read")
        if isinstance(stored, str):
            return Reading("missing", f"the target lists it and does not give it: {stored}")
        sent = row.sent_digest or row.digest or given
        if given is not None and row.digest is not None and given != row.digest:
            return Reading("changed", "the source gives other octets now than were carried", stored.digest)
        if stored.digest == sent:
            return Reading("identical", "", stored.digest)
        if stored.digest == row.stored_digest:
            return Reading("altered", "as the target altered it when it stored it", stored.digest)
        found = self._examine(folder, row, stored, present)
        if not found.same_content:
            return Reading("changed", f"the target holds {found.text}", stored.digest)
        self.altered[row.id] = stored.digest
        return Reading("altered", f"the target altered {found.text}", stored.digest)

    def _examine(self, folder: Folder, row: Row, stored: Digests, present: bool) -> Difference:
        """Read both copies of one message, and tell what differs."""
        ours = _octets(self._source, folder, row.entry) if present else None
        theirs = _octets(self._sink, self._place(row), row.target_entry)
        if ours is None or theirs is None:
            if stored.canonical == (row.canonical or row.digest):
                return Difference(True, "line ends")
            return Difference(False, "other octets than it was sent, and the source has the message no more")
        return difference(mend(ours) if row.sent_digest else ours, theirs)


def _octets(side: Source, folder: Folder, entry: Entry) -> bytes | None:
    found = None
    for answer in side.fetch([(folder, [entry])]):
        if isinstance(answer, Message):
            found = answer.octets
    return found
