"""Asking a side as the engine does, with every rule checked that holds for any answer."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from attrs import field, frozen

from alimail_core.contract import Source
from alimail_core.model import (
    PAGE,
    Changes,
    Cursor,
    Entry,
    Folder,
    FolderPath,
    Gone,
    Message,
    Unreadable,
    Unusable,
)

MAX_CURSOR = 4096
"""Octets of a cursor as JSON that still count as small."""


@frozen
class Mail:
    """A message to be put into a store. A date of ``None`` leaves it to the store."""

    octets: bytes = field(repr=False)
    flags: frozenset[str] = frozenset()
    internal_date: datetime | None = None


@frozen
class Listing:
    """What all pages of one folder say together."""

    folder: Folder
    epoch: str
    complete: bool
    entries: dict[str, Entry]
    gone: frozenset[str]
    cursor: Cursor
    storable_flags: frozenset[str] | None

    @property
    def witnesses(self) -> dict[str, tuple[int | None, datetime | None]]:
        """Return the witness of each key."""
        return {key: (entry.size, entry.internal_date) for key, entry in self.entries.items()}


def folder_of(source: Source, path: FolderPath) -> Folder:
    """Return the folder that the side lists under a path."""
    found = [folder for folder in source.folders() if folder.path == path]
    assert len(found) == 1, f"folders() MUST list {path} once, it does so {len(found)} times"
    return found[0]


def listing(source: Source, path: FolderPath, cursor: Cursor | None = None) -> Listing:
    """Ask for one folder and return what its checked pages say."""
    pages = list(source.changes([(folder_of(source, path), cursor)]))
    return gathered(pages, path)


def listings(source: Source, requests: Sequence[tuple[Folder, Cursor | None]]) -> dict[FolderPath, Listing]:
    """Ask for many folders at once; each MUST be answered in a row and in order."""
    return dict(each_listing(source.changes(iter(requests)), [folder.path for folder, _ in requests]))


def each_listing(
    pages: Iterable[Changes | Unusable], paths: Sequence[FolderPath]
) -> Iterator[tuple[FolderPath, Listing]]:
    """Give each folder's listing as soon as its last page came; ``paths`` are those that were asked."""
    waiting = list(paths)
    row: list[Changes | Unusable] = []
    for page in pages:
        row.append(page)
        if isinstance(page, Unusable) or page.cursor is not None:
            assert waiting, f"changes() answered more than was asked: {page}"
            path = waiting.pop(0)
            yield path, gathered(row, path)
            row = []
    assert not row, "exactly the last page of a folder MUST carry a cursor, and this one ends without"
    assert not waiting, f"changes() left requests without an answer: {waiting}"


def gathered(pages: Sequence[Changes | Unusable], path: FolderPath) -> Listing:
    """Join the pages of one folder, and check the rules that hold for them."""
    given = [page for page in pages if isinstance(page, Changes)]
    assert given, f"{path} is unusable: {pages}"
    assert len(given) == len(pages), f"{path} MUST be answered by pages or by one Unusable, not by both"
    for page in given:
        _check_page(page, path)
    assert len({page.epoch for page in given}) == 1, "all pages of a folder MUST have the same epoch"
    assert len({page.complete for page in given}) == 1, "all pages of a folder MUST be complete, or none"
    *others, last = given
    assert all(page.cursor is None for page in others), "only the last page MUST carry a cursor"
    return Listing(
        folder=last.folder,
        epoch=last.epoch,
        complete=last.complete,
        entries={entry.key: entry for page in given for entry in page.entries},
        gone=frozenset(key for page in given for key in page.gone),
        cursor=_stored(last.cursor),
        storable_flags=last.storable_flags,
    )


def _check_page(page: Changes, path: FolderPath) -> None:
    assert page.folder.path == path, f"changes() answered {page.folder.path} where {path} was asked"
    assert len(page.entries) <= PAGE, f"a page MUST NOT have more than {PAGE} entries"
    for entry in page.entries:
        check_entry(entry)


def check_entry(entry: Entry) -> None:
    """Check what holds for every entry that any side tells."""
    assert entry.key, "a key MUST NOT be empty"
    assert entry.size is None or entry.size >= 0, f"a size MUST NOT be negative: {entry}"
    check_date(entry.internal_date)
    check_flags(entry.flags)


def check_date(date: datetime | None) -> None:
    """Check that a date is aware."""
    assert date is None or date.utcoffset() is not None, f"an internal date MUST be aware: {date!r}"


def check_flags(flags: frozenset[str]) -> None:
    """Check that system flags are spelt as the contract spells them."""
    for flag in flags:
        assert flag.lower() != "\\recent", "\\Recent MUST NOT be told"
        assert not flag.startswith("\\") or flag == "\\" + flag[1:].capitalize(), f"{flag} is misspelt"


def _stored(cursor: Cursor | None) -> Cursor:
    """Return a cursor as the ledger gives it back: through JSON."""
    assert cursor is not None, "the last page MUST carry a cursor"
    text = json.dumps(dict(cursor))
    assert len(text) <= MAX_CURSOR, f"a cursor MUST be small, this one has {len(text)} octets"
    again = json.loads(text)
    assert isinstance(again, dict)
    return again


def fetched(
    source: Source, requests: Sequence[tuple[Folder, Sequence[Entry]]]
) -> dict[tuple[FolderPath, str], Message | Gone | Unreadable]:
    """Fetch, and check that each entry got exactly one answer."""
    asked = {(folder.path, entry.key) for folder, entries in requests for entry in entries}
    answers: dict[tuple[FolderPath, str], Message | Gone | Unreadable] = {}
    for answer in source.fetch(iter(requests)):
        name = (answer.folder, answer.key)
        assert name in asked, f"fetch() answered what was not asked: {name}"
        assert name not in answers, f"fetch() MUST answer {name} once, it did so twice"
        answers[name] = answer
    assert answers.keys() == asked, f"fetch() left without an answer: {asked - answers.keys()}"
    return answers


def messages(source: Source, listed: Listing) -> dict[str, Message]:
    """Fetch every message of a listing; each MUST be given. Returned by key."""
    answers = fetched(source, [(listed.folder, list(listed.entries.values()))])
    for answer in answers.values():
        assert isinstance(answer, Message), f"fetch() MUST give what exists: {answer}"
        check_date(answer.internal_date)
        check_flags(answer.flags or frozenset())
    return {answer.key: answer for answer in answers.values() if isinstance(answer, Message)}
