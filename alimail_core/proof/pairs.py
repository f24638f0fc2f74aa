"""Two listings, and who stands for whom: a table on the disk, so that memory does not grow with the mailboxes.

The rules of pairing are those of ``alimail_core.identity``, as set operations: entries that share what is asked for
pair off as multisets, and among equals those of the same size and date go together, then those of the same size,
then the earlier ones. The database is SQLite's own temporary one: a file that has no name, gone when it is closed.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import groupby

from attrs import frozen

from alimail_core.content import content_digest
from alimail_core.header import fingerprint
from alimail_core.identity import digests
from alimail_core.ledger.rows import from_date, to_date
from alimail_core.model import Entry, Folder, FolderPath

OURS, THEIRS = 0, 1
"""The two sides: the source, and the target."""

CHUNK = 500
"""Entries that are asked for at once."""

LONGEST_ID = 250
"""Octets of a Message-ID that are kept; a longer one is cut, and ends with its hash."""

_SCHEMA = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -16000;
CREATE TABLE entry (
    id INTEGER PRIMARY KEY, side INTEGER NOT NULL, folder INTEGER NOT NULL, place INTEGER NOT NULL,
    key TEXT NOT NULL, size INTEGER, date INTEGER, flags TEXT,
    drafts INTEGER NOT NULL,            -- versions of a draft share their headers, which then decide nothing
    unwanted INTEGER NOT NULL,          -- the filter does not want it: it may stand there and need not
    message_id BLOB, fingerprint BLOB,  -- NULL where the headers were not read, or have none
    canonical BLOB, content BLOB,       -- NULL where the octets were not read
    fault TEXT,                         -- why its side will not give it
    partner INTEGER, how TEXT,          -- who it stands for, and by what that was seen
    wanted INTEGER,                     -- its octets are to be read next
    UNIQUE (folder, key)
);
CREATE TEMP TABLE pair (ours INTEGER PRIMARY KEY, theirs INTEGER NOT NULL);
"""

_FREE = "partner IS NULL AND fault IS NULL"


@frozen(slots=True)
class Row:
    """One entry of the table; ``folder`` counts the folders in the order in which they were begun."""

    id: int
    folder: int
    key: str
    size: int | None
    date: int | None
    flags: str | None
    message_id: bytes | None
    text: str = ""
    """What was asked besides."""

    @property
    def entry(self) -> Entry:
        """The row as its side listed it."""
        return Entry(self.key, self.size, to_date(self.date, 0))


_COLUMNS = ("id", "folder", "key", "size", "date", "flags", "message_id")


class Pairs:
    """The table. Close it. ``folders`` has each folder that was begun, and ``places`` where it is compared."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.executescript(_SCHEMA)
        self._database.execute("BEGIN")
        self.folders: list[Folder] = []
        self._of_folder: list[tuple[int, int, bool]] = []

    def close(self) -> None:
        """Let go of the table."""
        self._database.close()

    # what is known

    def begin(self, side: int, folder: Folder, place: int, *, drafts: bool) -> int:
        """Begin a folder of one side, which is compared with what the other side has at the same place."""
        self.folders.append(folder)
        self._of_folder.append((side, place, drafts))
        return len(self.folders) - 1

    def add(self, folder: int, entries: Iterable[tuple[Entry, str | None, bool]]) -> None:
        """Take in entries of a folder, each with its flags as they compare and whether it is unwanted."""
        side, place, drafts = self._of_folder[folder]
        self._database.executemany(
            "INSERT OR IGNORE INTO entry (side, folder, place, drafts, key, size, date, flags, unwanted)"
            f" VALUES ({side}, {folder}, {place}, {int(drafts)}, ?, ?, ?, ?, ?)",
            (
                (each.key, each.size, from_date(each.internal_date)[0], flags, unwanted)
                for each, flags, unwanted in entries
            ),
        )

    def note_header(self, row: int, octets: bytes) -> None:
        """Take in what an entry's header says."""
        found = fingerprint(octets)
        self._set(row, message_id=_short(found.message_id), fingerprint=found.value)

    def note_octets(self, row: int, octets: bytes, *, content: bool) -> None:
        """Take in what an entry's octets say; ``content``: also what a reader sees of them."""
        self.note_header(row, octets)
        self._set(row, canonical=digests(octets).canonical, wanted=None)
        self._database.execute("UPDATE entry SET size = coalesce(size, ?) WHERE id = ?", (len(octets), row))
        if content:
            self._set(row, content=content_digest(octets))

    def note(self, row: int, *, date: int | None, flags: str | None, unwanted: bool) -> None:
        """Take in what a message tells of itself where its listing did not."""
        self._database.execute(
            "UPDATE entry SET date = coalesce(date, ?), flags = coalesce(flags, ?), unwanted = unwanted OR ?"
            " WHERE id = ?",
            (date, flags, unwanted, row),
        )

    def note_fault(self, row: int, reason: str) -> None:
        """Note that a side has an entry, and will not give it."""
        self._set(row, fault=reason, wanted=None)

    def forget(self, row: int) -> None:
        """Take out an entry that is gone since it was listed."""
        self._database.execute("DELETE FROM entry WHERE id = ?", (row,))

    def _set(self, row: int, **values: object) -> None:
        names = ", ".join(f"{name} = ?" for name in values)
        self._database.execute(f"UPDATE entry SET {names} WHERE id = ?", (*values.values(), row))

    # who stands for whom

    def pair(self, how: str, *by: str, only: str = "TRUE", here: bool = True) -> None:
        """Pair off who shares the columns ``by``; ``here``: at the same place, else anywhere.

        Those that the filter does not want come last, so that none of them takes what another needs.
        """
        columns = [*by, *(["place"] if here else [])]
        for unwanted in (0, 1):
            for alike in (["size", "date"], ["size"], []):
                self._pair_off(how, list(dict.fromkeys([*columns, *alike])), only, unwanted)

    def _pair_off(self, how: str, columns: Sequence[str], only: str, unwanted: int) -> None:
        names = ", ".join(columns)

        def turns(side: int, more: str) -> str:
            return (
                f"SELECT id, {names}, row_number() OVER (PARTITION BY {names} ORDER BY id) AS turn FROM entry"
                f" WHERE side = {side} AND {_FREE} AND ({only}) AND {more}"
            )

        run = self._database.execute
        run(
            f"INSERT INTO pair SELECT ours.id, theirs.id FROM ({turns(OURS, f'unwanted = {unwanted}')}) AS ours"
            f" JOIN ({turns(THEIRS, 'TRUE')}) AS theirs USING ({names}, turn)"
        )
        run("UPDATE entry SET partner = pair.theirs, how = ? FROM pair WHERE entry.id = pair.ours", (how,))
        run("UPDATE entry SET partner = pair.ours, how = ? FROM pair WHERE entry.id = pair.theirs", (how,))
        run("DELETE FROM pair")

    def want_likely(self, *, here: bool) -> None:
        """Want the octets of who is free, and shares with somebody free opposite what makes a pair likely.

        That is a fingerprint, a Message-ID, or size and date: a server may read an odd header otherwise than we do.
        """
        for mine, other in ((OURS, THEIRS), (THEIRS, OURS)):
            for names in (("fingerprint",), ("message_id",), ("size", "date")):
                columns = ", ".join([*names, *(["place"] if here else [])])
                free = f"SELECT {columns} FROM entry WHERE side = {other} AND {_FREE}"
                self.want(f"side = {mine} AND {_FREE} AND ({columns}) IN ({free})")

    def want(self, which: str) -> None:
        """Want the octets of all entries of a kind that were not read for what a reader sees of them."""
        self._database.execute(
            f"UPDATE entry SET wanted = 1 WHERE content IS NULL AND fault IS NULL AND {which}"
        )

    def find_twins(self) -> None:
        """Mark who has no partner, and is identical to another of its source folder that has one."""
        self._database.execute(
            "UPDATE entry SET how = 'twin' WHERE side = 0 AND partner IS NULL AND (folder, canonical) IN"
            " (SELECT folder, canonical FROM entry WHERE side = 0 AND partner IS NOT NULL)"
        )

    def judge(self, rows: Iterable[Row], how: str) -> None:
        """Say anew by what a pair is one."""
        for row in rows:
            self._set(row.id, how=how)

    # what is asked of it

    def place_of(self, row: Row) -> int:
        """Return where a row is compared."""
        return self._of_folder[row.folder][1]

    def path_of(self, row: Row) -> FolderPath:
        """Return the folder that a row stands in."""
        return self.folders[row.folder].path

    def chunks(self, side: int, which: str, text: str = "''") -> Iterator[list[tuple[Folder, list[Row]]]]:
        """Give rows of a kind, so many at once, by folder. Rows may be changed between two chunks.

        ``text``: an expression that is asked besides.
        """
        last = 0
        while found := self._database.execute(
            f"SELECT {', '.join(_COLUMNS)}, {text} FROM entry"
            f" WHERE id > {last} AND side = {side} AND ({which}) ORDER BY id LIMIT {CHUNK}"
        ).fetchall():
            last = found[-1][0]
            rows = [Row(*each) for each in found]
            yield [
                (self.folders[folder], list(group)) for folder, group in groupby(rows, lambda row: row.folder)
            ]

    def rows(self, side: int, which: str, text: str = "''") -> Iterator[Row]:
        """Give all rows of a kind, as ``chunks`` does."""
        return (row for chunk in self.chunks(side, which, text) for _, rows in chunk for row in rows)

    def matched(self, which: str) -> Iterator[tuple[Row, Row]]:
        """Give pairs of a kind, ``ours`` before ``theirs``. Rows may be changed meanwhile."""
        columns = ", ".join(f"{side}.{name}" for side in ("ours", "theirs") for name in _COLUMNS)
        last, width = 0, len(_COLUMNS)
        while found := self._database.execute(
            f"SELECT {columns} FROM entry AS ours JOIN entry AS theirs ON theirs.id = ours.partner"
            f" WHERE ours.id > {last} AND ours.side = 0 AND ({which}) ORDER BY ours.id LIMIT {CHUNK}"
        ).fetchall():
            last = found[-1][0]
            yield from ((Row(*each[:width]), Row(*each[width:])) for each in found)

    def count(self, which: str, what: str = "count(*)") -> dict[int, int]:
        """Count the rows of a kind at each place, or sum something up."""
        found = self._database.execute(f"SELECT place, {what} FROM entry WHERE {which} GROUP BY place")
        return dict(found.fetchall())

    def any(self, which: str) -> bool:
        """Tell whether there is a row of a kind."""
        found: tuple[int] = self._database.execute(
            f"SELECT EXISTS (SELECT 1 FROM entry WHERE {which})"
        ).fetchone()
        return bool(found[0])


def _short(message_id: bytes | None) -> bytes | None:
    if message_id is None or len(message_id) <= LONGEST_ID:
        return message_id
    return message_id[: LONGEST_ID - 33] + b"~" + blake2b(message_id, digest_size=16).hexdigest().encode()
