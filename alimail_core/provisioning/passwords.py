"""First passwords: the console's rules, new ones without look-alikes, and the file that they are written to."""

from __future__ import annotations

import csv
import functools
import io
import os
import secrets
import stat
import string
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from alimail_core.errors import InputError
from alimail_core.provisioning.directory import fold
from alimail_core.text import printable

SHORTEST: Final = 8
LONGEST: Final = 64

CLASSES: Final = (string.ascii_uppercase, string.ascii_lowercase, string.digits, string.punctuation)
"""Of which a password must have at least three."""

LENGTH: Final = 16

CLEAR: Final = ("ABCDEFGHJKLMNPQRSTUVWXYZ", "abcdefghijkmnpqrstuvwxyz", "23456789", "#%*-_?")
"""The same without those that look alike (0 O o, 1 I l |) or that a spreadsheet or shell takes for something else."""


def password_fault(password: str) -> tuple[str, str] | None:
    """Say what the console will not take in a password, and how to mend it; ``None``: nothing. Does not repeat it."""
    if not SHORTEST <= len(password) <= LONGEST:
        return f"has {len(password)} characters", f"the console takes {SHORTEST} to {LONGEST}"
    if not password.isascii() or not password.isprintable() or " " in password:
        return "has spaces or characters beyond ASCII", "use letters, digits and punctuation"
    if sum(any(each in group for each in password) for group in CLASSES) < 3:
        return "is too simple", "use three of these: capitals, small letters, digits, punctuation"
    return None


def generate() -> str:
    """Return a new password of all four classes, about 90 bits, that begins with a letter."""
    characters = "".join(CLEAR)
    while True:
        made = "".join(secrets.choice(characters) for _ in range(LENGTH))
        if made[0].isalpha() and all(any(each in group for each in made) for group in CLEAR):
            return made


def kept_password(path: Path, address: str) -> str:
    """Return the password that was made for an address. Raises ``KeyError`` where none was, and ``InputError``."""
    try:
        told = path.stat()
    except OSError:
        raise KeyError(address) from None
    return _kept(path, told.st_mtime_ns, told.st_size).get(address)


@functools.lru_cache(maxsize=2)
def _kept(path: Path, _changed: int, _size: int) -> PasswordFile:
    return PasswordFile(path)  # read once for all accounts of a run


class PasswordFile:
    """The passwords that were made, by address: a csv which only its owner may read, and that only grows.

    A password is on the disk before the account is begun with it. After a crash the account has the one that stands
    here, whether it was made before the crash or is made after it.
    """

    def __init__(self, path: Path) -> None:
        """Read what is there. Raises ``InputError`` for a file that is another's, or that others may read."""
        self.path = path
        self._known: dict[str, str] = {}
        try:
            if path.exists():
                self._examine()
                self._known = dict(self._read())
        except OSError as error:
            raise self._refused(
                f"cannot be read: {error.strerror}", "see to the file, or name another"
            ) from None

    def get(self, address: str) -> str:
        """Return the password that was made for an address. Raises ``KeyError`` where none was."""
        return self._known[fold(address)]

    def has(self, address: str) -> bool:
        """Tell whether a password was made for an address."""
        return fold(address) in self._known

    def make(self, addresses: Iterable[str]) -> None:
        """Make a password for each address that has none; all are on the disk when this returns."""
        new = {address: generate() for address in addresses if fold(address) not in self._known}
        if new:
            self._write(new)

    def _write(self, new: Mapping[str, str]) -> None:
        try:
            self._append(new)
        except OSError as error:
            raise self._refused(f"cannot be written: {error.strerror}", "name another") from None
        self._known |= {fold(address): password for address, password in new.items()}

    def keep_for(self, address: str, old: str) -> None:
        """Keep the password of ``old`` for another address as well, which its account is about to get."""
        if fold(old) in self._known and fold(address) not in self._known:
            self._write({address: self._known[fold(old)]})

    def _append(self, new: Mapping[str, str]) -> None:
        text = io.StringIO(newline="")
        before = self.path.read_bytes() if self.path.exists() else b""
        if before and not before.endswith(b"\n"):
            text.write("\r\n")  # a crash cut the last row off
        csv.writer(text).writerows([*([] if before else [("address", "password")]), *new.items()])
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0)
        with os.fdopen(os.open(self.path, flags, 0o600), "ab") as file:
            file.write(text.getvalue().encode())
            file.flush()
            os.fsync(file.fileno())

    def _read(self) -> Iterable[tuple[str, str]]:
        with self.path.open(encoding="utf-8", newline="") as file:
            for row in csv.reader(file):
                if len(row) != 2:
                    continue  # a crash, or a full disk, cut the last row off: no account was begun with it
                if password_fault(row[1]) is None:
                    yield fold(row[0]), row[1]

    def _examine(self) -> None:
        if not self.path.is_file() or self.path.is_symlink():
            raise self._refused("is no file of its own", "name another")
        with self.path.open("rb") as file:
            head = file.readline(100)
        if head and head.strip() != b"address,password":
            raise self._refused("is not a file of passwords", "name another")
        if os.name != "nt" and stat.S_IMODE(self.path.stat().st_mode) & 0o077:
            raise self._refused(
                "may be read by others than its owner", f"chmod 600 {printable(str(self.path))}"
            )

    def _refused(self, what: str, remedy: str) -> InputError:
        return InputError(f"{printable(str(self.path))} {what}", remedy=remedy)
