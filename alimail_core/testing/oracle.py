"""What really stands in a mailbox: read with the standard library alone, by none of the code under test."""

from __future__ import annotations

import binascii
import hashlib
import imaplib
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import TypeAlias

from attrs import frozen

from alimail_core.folders.spelling import encode_modified_utf7
from alimail_core.model import FolderPath

_CHUNK = 250


@frozen
class Kept:
    """One message as a server keeps it. ``internal_date`` is in UTC; ``\\Recent`` is left out."""

    digest: str
    """SHA-256 of the octets that the server gives, in hexadecimal."""
    flags: frozenset[str]
    internal_date: datetime


Snapshot: TypeAlias = dict[FolderPath, Counter[Kept]]
"""Every folder that can hold messages, with the multiset of its messages."""


def take_snapshot(
    imap: imaplib.IMAP4, delimiter: str, prefix: str = "", mended: Callable[[bytes], bytes] = bytes
) -> Snapshot:
    """Read every folder's every message. ``imap`` is logged in; no flag is changed.

    ``mended`` makes of a message's octets those whose digest is taken.
    """
    return {
        folder_path(raw, delimiter, prefix): Counter(_messages(imap, raw, mended))
        for raw in selectable_folders(imap)
    }


def digests(snapshot: Snapshot) -> dict[FolderPath, Counter[str]]:
    """Reduce a snapshot to its messages' digests, without the folders that hold none."""
    return {path: Counter(kept.digest for kept in held.elements()) for path, held in snapshot.items() if held}


def selectable_folders(imap: imaplib.IMAP4) -> list[bytes]:
    """Return the raw names of all folders that can hold messages."""
    _, lines = imap.list('""', '"*"')
    listed = [_listed(line) for line in lines if line is not None]
    return [name for attributes, name in listed if b"\\Noselect" not in attributes]


_LIST = re.compile(rb'\(([^)]*)\) (?:NIL|"(?:\\.|[^"])*") (.*)', re.DOTALL)


def _listed(line: bytes | tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    """Split one LIST answer into attributes and raw name; a name sent as a literal comes as a pair."""
    head, name = line if isinstance(line, tuple) else (line, None)
    match = _LIST.match(head)
    assert match is not None, head
    if name is None:
        name = match[2]
        if name.startswith(b'"'):
            name = re.sub(rb"\\(.)", rb"\1", name[1:-1])
    return match[1], name


def folder_path(raw: bytes, delimiter: str, prefix: str = "") -> FolderPath:
    """Turn a raw mailbox name into a path, without the namespace's prefix."""
    name = decode_modified_utf7(raw)
    path = tuple((name if name is not None else raw.decode("latin-1")).removeprefix(prefix).split(delimiter))
    return ("INBOX", *path[1:]) if path[0].upper() == "INBOX" else path


def mailbox_argument(path: FolderPath, delimiter: str) -> str:
    """Write a path as a quoted mailbox name for imaplib."""
    return quoted(encode_modified_utf7(delimiter.join(path)).decode("ascii"))


def quoted(text: str) -> str:
    """Write an IMAP quoted string."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


_SHIFTED = re.compile(rb"&([A-Za-z0-9+,]*)-")


def decode_modified_utf7(raw: bytes) -> str | None:
    """Read modified UTF-7 (RFC 9051 §A.1); ``None`` where ``raw`` is not valid."""
    try:
        plain = _SHIFTED.sub(_unshift, raw)
        return plain.decode("utf-8")
    except (binascii.Error, UnicodeDecodeError):
        return None


def _unshift(match: re.Match[bytes]) -> bytes:
    if not match[1]:
        return b"&"
    encoded = match[1].replace(b",", b"/")
    return binascii.a2b_base64(encoded + b"=" * (-len(encoded) % 4)).decode("utf-16-be").encode("utf-8")


def _messages(imap: imaplib.IMAP4, raw: bytes, mended: Callable[[bytes], bytes]) -> Iterator[Kept]:
    kind, answer = imap.select(quoted(raw.decode("latin-1")), readonly=True)
    assert kind == "OK", answer
    total = int(answer[0] or 0)
    for first in range(1, total + 1, _CHUNK):
        span = f"{first}:{min(first + _CHUNK - 1, total)}"
        _, parts = imap.fetch(span, "(FLAGS INTERNALDATE BODY.PEEK[])")
        yield from (_kept(part[0], mended(part[1])) for part in parts if isinstance(part, tuple))


_FLAGS = re.compile(rb"FLAGS \(([^)]*)\)")
_DATE = re.compile(rb'INTERNALDATE "([^"]*)"')


def _kept(head: bytes, octets: bytes) -> Kept:
    flags, date = _FLAGS.search(head), _DATE.search(head)
    assert flags is not None, head
    assert date is not None, head
    return Kept(
        hashlib.sha256(octets).hexdigest(),
        frozenset(flags[1].decode("latin-1").split()) - {"\\Recent"},
        datetime.strptime(date[1].decode("ascii").strip(), "%d-%b-%Y %H:%M:%S %z").astimezone(UTC),
    )


def append_exactly(
    imap: imaplib.IMAP4, mailbox: str, octets: bytes, flags: Iterable[str], date: datetime | None
) -> None:
    """APPEND these very octets; imaplib's own ``append`` mends line ends. Raises ``imaplib.IMAP4.error``."""
    arguments = [mailbox, f"({' '.join(sorted(flags))})"]
    if date is not None:
        arguments.append(imaplib.Time2Internaldate(date))
    # ``literal`` is what imaplib sends after the server's ``+``.
    imap.literal = octets  # type: ignore[assignment]
    kind, answer = imap.xatom("APPEND", *arguments)
    if kind != "OK":
        raise imap.error(f"APPEND: {answer[0]!r}")
