"""Departments by path and by id: the API knows ids, people know paths."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from attrs import define, field

from alimail_core import DepartmentPath, department_key, fold
from alimail_directory.api import GET_DEPARTMENT, LIST_DEPARTMENTS, ROOT
from alimail_directory.client import Client, Json, NotThere
from alimail_directory.mapping import text_of

DEEPEST: Final = 100
"""Levels of departments: a tree that is no tree ends somewhere."""


@define
class Departments:
    """What is known of the departments, and how the rest is found; used by many threads."""

    client: Client
    paths: dict[str, DepartmentPath] = field(factory=lambda: {ROOT: ()})
    """By id."""
    _ids: dict[str, str] = field(factory=lambda: {"": ROOT})
    """By key. Of two that are spelt alike the first, as everywhere."""
    _lock: threading.Lock = field(factory=threading.Lock)

    def note(self, parent: str, department: Json) -> tuple[str, DepartmentPath] | None:
        """Remember a department that was told; return its id and path, ``None`` where its name cannot be a path's.

        A slash parts the names of a path, so a department with one in its name, and all within it, is left out.
        """
        id, name = text_of(department, "id"), text_of(department, "name").strip()
        if not id or not name or "/" in fold(name):
            return None
        with self._lock:
            path = (*self.paths[parent], name)
            if self._ids.setdefault(department_key(path), id) != id:
                self.paths[id] = self.paths[self._ids[department_key(path)]]  # its people are in that one
            else:
                self.paths[id] = path
        return id, path

    def children(self, parent: str) -> Iterator[tuple[Json, str, DepartmentPath]]:
        """Ask for the departments within another, and remember them: each with its id and path."""
        for each in self.client.pages(LIST_DEPARTMENTS, parent):
            if (noted := self.note(parent, each)) is not None:
                yield each, *noted

    def id_of(self, path: DepartmentPath) -> str | None:
        """Return the id of a department, asking where it is not known; ``None``: it is not there."""
        known = self._ids.get(department_key(path))
        if known is not None or not path:
            return known
        parent = self.id_of(path[:-1])
        return None if parent is None else self._asked(parent, path)

    def learn(self, id: str, depth: int = 0) -> None:
        """Ask for a department that is known by its id alone, and for those that it is in."""
        if id in self.paths or depth > DEEPEST:
            return
        with suppress(NotThere):
            told = self.client.call(GET_DEPARTMENT, id)
            parent = text_of(told, "parentId") or ROOT
            self.learn(parent, depth + 1)
            if parent in self.paths:
                self.note(parent, told)

    def look(self, path: DepartmentPath) -> DepartmentPath | None:
        """Ask for a department as it is now; by its id where that is known, which sees a new one soonest."""
        known = self._ids.get(department_key(path))
        if known is not None:
            try:
                told = self.client.call(GET_DEPARTMENT, known)
            except NotThere:
                return None
            return self.paths[known] if fold(text_of(told, "name")) == fold(path[-1]) else None
        parent = self.id_of(path[:-1])
        found = None if parent is None else self._asked(parent, path)
        return None if found is None else self.paths[found]

    def _asked(self, parent: str, path: DepartmentPath) -> str | None:
        for _ in self.children(parent):
            pass
        return self._ids.get(department_key(path))
