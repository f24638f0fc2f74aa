"""A source of mail on disk: one tree of Maildirs for each account."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import attrs

import alimail_core as core

Listings = Iterable[tuple[core.Folder, core.Cursor | None]]
Fetches = Iterable[tuple[core.Folder, Sequence[core.Entry]]]
Answer = core.Message | core.Gone | core.Unreadable
FLAGS = dict(zip("DFRST", ("\\Draft", "\\Flagged", "\\Answered", "\\Seen", "\\Deleted"), strict=True))


class MaildirSource(core.Source):
    """A directory of Maildirs, one within another; the inbox is the one called ``INBOX``."""

    traits = core.Traits()

    def __init__(self, root: Path) -> None:
        self._root = root
        self._scanned: tuple[str, dict[str, str]] = ("", {})

    def close(self) -> None:
        """Nothing to let go of: no file stays open between two calls."""

    def folders(self) -> Iterator[core.Folder]:
        """List every directory but the parts of Maildirs; one without mail of its own is a container."""
        for place, names, _ in os.walk(self._root, onerror=_raise):
            names[:] = sorted(name for name in names if name not in ("cur", "new", "tmp"))
            handle = os.path.relpath(place, self._root)
            path = tuple(map(_text, handle.split(os.sep)))  # Unicode; the handle keeps what the disk has
            if handle != ".":
                yield core.Folder(path, selectable=_has_mail(place), handle=handle)

    def changes(self, requests: Listings) -> Iterator[core.Changes | core.Unusable]:
        """Tell all that a folder holds, each time: the engine finds what is new."""
        for folder, _ in requests:
            try:
                keys = sorted(self._scan(folder))
            except OSError as error:
                yield core.Unusable(folder.path, str(error))
                continue
            for start in range(0, len(keys) or 1, core.PAGE):
                entries = tuple(self.look(folder, keys[start : start + core.PAGE]))
                cursor: core.Cursor | None = {} if start + core.PAGE >= len(keys) else None
                yield core.Changes(folder, "1", entries, complete=True, cursor=cursor)  # one epoch for ever

    def look(self, folder: core.Folder, keys: Sequence[str]) -> Iterator[core.Entry]:
        """Tell of each file that is there its size, its date and its flags."""
        for key in keys:
            try:
                yield self._read(folder, key, octets=False)[0]
            except FileNotFoundError:
                continue
            except OSError as error:
                raise core.Transient(str(error)) from error

    def fetch(self, requests: Fetches) -> Iterator[Answer]:
        """Give each file's octets as they are, or say what became of it."""
        return (self._answer(folder, entry) for folder, entries in requests for entry in entries)

    def _answer(self, folder: core.Folder, asked: core.Entry) -> Answer:
        try:
            found, octets = self._read(folder, asked.key)
        except FileNotFoundError:
            return core.Gone(folder.path, asked.key)
        except OSError as error:
            return core.Unreadable(folder.path, asked.key, str(error))
        is_same = asked.size in (None, found.size) and asked.internal_date in (None, found.internal_date)
        return core.Message(folder.path, asked.key, octets) if is_same else core.Gone(folder.path, asked.key)

    def headers(self, folder: core.Folder, entries: Sequence[core.Entry]) -> Iterator[core.Headers]:
        """Give whole messages: to find where a header ends, the file is read anyway."""
        for answer in self.fetch([(folder, entries)]):
            if isinstance(answer, core.Message):
                yield core.Headers(answer.key, answer.octets)

    def _read(self, folder: core.Folder, key: str, *, octets: bool = True) -> tuple[core.Entry, bytes]:
        """Read a message's file. Raises ``FileNotFoundError`` only where it certainly is gone."""
        names = self._scanned[1] if self._scanned[0] == folder.handle else {}
        while True:
            with suppress(FileNotFoundError, KeyError):
                file = self._root / folder.handle / names[key]
                return _entry(key, file), file.read_bytes() if octets else b""
            names = self._scan(folder)  # its flags changed, and so did its name; or it is gone
            if key not in names:
                raise FileNotFoundError(key)

    def _scan(self, folder: core.Folder) -> dict[str, str]:
        """Find where each message lies, by the part of its name that never changes. Raises ``OSError``."""
        place, names, seen = self._root / folder.handle, dict[str, str](), list[int]()
        # A directory that changes while it is read may show a renamed file under neither name: read it again.
        while seen != (seen := [(place / part).stat().st_mtime_ns for part in ("new", "cur")]):
            names = {_text(os.path.basename(file).partition(":")[0]): file for file in _files(place)}
        self._scanned = (folder.handle, names)
        return names


def _files(place: Path) -> Iterator[str]:
    for part in ("new", "cur"):
        with os.scandir(place / part) as found:  # a link is passed over: it could lead to another's file
            yield from (f"{part}/{file.name}" for file in found if file.is_file(follow_symlinks=False))


def _has_mail(place: str) -> bool:
    return all(os.path.isdir(part) and not os.path.islink(part) for part in (f"{place}/cur", f"{place}/new"))


def _entry(key: str, file: Path) -> core.Entry:
    status = file.lstat()
    flags = frozenset(FLAGS[letter] for letter in file.name.partition(":2,")[2] if letter in FLAGS)
    return core.Entry(key, status.st_size, datetime.fromtimestamp(int(status.st_mtime), UTC), flags)


def _text(name: str) -> str:
    return os.fsencode(name).decode(errors="backslashreplace")  # names on disk are octets, of any encoding


def _raise(error: OSError) -> None:
    grade = core.Transient if isinstance(error, FileNotFoundError) else core.Denied
    raise grade(str(error), remedy="Run alimail as a user who may read this mail.") from error


@attrs.frozen
class MaildirOptions:
    """The options of ``maildir``."""

    root: Path = core.option("The directory that holds a tree of Maildirs for each user name.")


def open_maildir(options: MaildirOptions, login: core.Credentials, clock: core.Clock) -> core.Source:
    """Open one account's tree. No password is asked for: whoever can read the files may."""
    root = options.root / login.user
    if login.user in ("", ".", "..") or "/" in login.user or not _has_mail(f"{root}/INBOX"):
        raise core.Denied(f"there is no mail of {login.user}", remedy=f"Put it into {root}/INBOX.")
    return MaildirSource(root)


@core.hookimpl
def alimail_sources() -> list[core.SourceKind[MaildirOptions]]:
    """Register the source ``maildir``."""
    return [core.SourceKind("maildir", "Maildirs on disk.", MaildirOptions, open_maildir, needs_secret=False)]
