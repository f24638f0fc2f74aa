"""Entries of the target that no message claims, as a proof needs them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from alimail_core.contract import Sink
from alimail_core.header import fingerprint
from alimail_core.ledger import Row
from alimail_core.model import Changes, Entry, Folder, FolderPath


class Strangers:
    """Entries that nobody claims: counted, and searched for what is not where it was carried to."""

    def __init__(self, sink: Sink) -> None:
        self.unlisted: list[Folder] = []
        """Folders that hold nothing of ours. They are listed only when something is searched."""
        self._sink = sink
        self._counts: Counter[FolderPath] = Counter()
        self._by_size: dict[int | None, list[tuple[Folder, str]]] = {}
        self._by_fingerprint: dict[bytes, list[tuple[FolderPath, str]]] = {}

    def add(self, folder: Folder, entry: Entry) -> None:
        """Take in an entry."""
        self._counts[folder.path] += 1
        self._by_size.setdefault(entry.size, []).append((folder, entry.key))

    def has(self, path: FolderPath, sizes: Iterable[int | None]) -> bool:
        """Tell whether a folder has one of these sizes; ask before anything is searched."""
        return any(folder.path == path for size in sizes for folder, _ in self._by_size.get(size, ()))

    def count(self, path: FolderPath) -> int:
        """Count those of one folder, less what was found to be ours."""
        return self._counts[path]

    def find(self, rows: Sequence[Row]) -> dict[int, tuple[FolderPath, str]]:
        """Search for messages by size and fingerprint; return where each was found, and under which key.

        No entry is found twice.
        """
        self._list_rest()
        self._read_headers(rows)
        found = {}
        for row in rows:
            places = self._by_fingerprint.get(row.fingerprint) if row.fingerprint else None
            if places:
                found[row.id] = path, _ = places.pop()
                self._counts[path] -= 1
        return found

    def _list_rest(self) -> None:
        rest, self.unlisted = self.unlisted, []
        for page in self._sink.changes((folder, None) for folder in rest):
            if isinstance(
                page, Changes
            ):  # what cannot be listed cannot be searched, and proves nothing either way
                for entry in page.entries:
                    self.add(page.folder, entry)

    def _read_headers(self, rows: Sequence[Row]) -> None:
        """Read, once, the headers of entries that have the size of one of these messages."""
        asked: dict[FolderPath, tuple[Folder, list[Entry]]] = {}
        for size in {size for row in rows for size in (row.size, row.target_size) if size is not None}:
            for folder, key in self._by_size.pop(size, ()):
                asked.setdefault(folder.path, (folder, []))[1].append(Entry(key, size))
        for folder, entries in asked.values():
            for headers in self._sink.headers(folder, entries):
                value = fingerprint(headers.octets).value
                self._by_fingerprint.setdefault(value, []).append((folder.path, headers.key))
