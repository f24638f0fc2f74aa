"""Folders as an IMAP server lists them: LIST, XLIST, SPECIAL-USE, NAMESPACE; and names to and fro.

On the wire a folder is octets in modified UTF-7 with a delimiter; inside it is a tuple of Unicode names. Only
the personal namespace (RFC 2342) is ours, and its prefix (``INBOX.``) is no part of a path.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

from attrs import evolve, frozen

from alimail_core import INBOX, Denied, Folder, FolderPath, Refused, SpecialUse
from alimail_imap.connection import Connection, Part, of_kind
from alimail_imap.grades import raise_passing
from alimail_imap.tokens import Response, Status, Token
from alimail_imap.utf7 import decode, encode

_ALL = b'"*"'
_DELIMITER = b'LIST "" ""'
_USES = {use.value.lower(): use for use in SpecialUse} | {
    # XLIST, as Gmail began it and Coremail and Alibaba Mail still have it.
    "\\allmail": SpecialUse.ALL,
    "\\starred": SpecialUse.FLAGGED,
    "\\spam": SpecialUse.JUNK,
}

MAX_LEVELS = 64
"""The most levels that a name is divided into; what lies deeper is one name, delimiters and all. No mailbox that
people use is so deep, and each level of a hostile server's ten thousand would be a folder to be made."""
MAX_TREE = 1_000_000
"""The most levels of all names of a listing together: what their mapping takes memory for."""


def _readable(raw: bytes) -> str:
    """Return a name to show for octets that are not valid modified UTF-7 (some servers send UTF-8, some GB18030)."""
    decoded = decode(raw)
    if decoded is not None:
        return decoded
    for encoding in ("utf-8", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return raw.decode("latin-1")


@frozen
class Names:
    """How this server writes paths: its delimiter (``None``: no hierarchy) and the personal prefix."""

    delimiter: bytes | None = b"/"
    prefix: bytes = b""
    foreign: tuple[bytes, ...] = ()
    """Prefixes of other users' and shared namespaces."""

    def wire(self, folder: Folder) -> bytes:
        """Return a folder's name on the wire: the one that the server told, or else the one made from its path."""
        return folder.handle.encode("latin-1") if folder.handle else self.from_path(folder.path)

    def from_path(self, path: FolderPath) -> bytes:
        """Write a path as this server does. Raises ``Refused`` where it cannot be written."""
        if path == INBOX:
            return b"INBOX"
        parts = [encode(name) for name in path]
        if not parts or not all(parts) or (len(parts) > 1 and self.delimiter is None):
            raise Refused("this server has no folders within folders, or a name is empty")
        if self.delimiter is not None and any(self.delimiter in part for part in parts):
            raise Refused(f"a folder's name cannot hold {self.delimiter.decode('latin-1')!r} on this server")
        return self.prefix + (self.delimiter or b"").join(parts)

    def to_path(self, raw: bytes, delimiter: bytes | None) -> FolderPath:
        """Read a name from the wire. The inbox, in whatever case, is ``("INBOX",)``."""
        if raw.upper() == b"INBOX":
            return INBOX
        own = raw.removeprefix(self.prefix)
        parts = own.split(delimiter, MAX_LEVELS - 1) if delimiter else [own]
        path = tuple(_readable(part) for part in parts)
        return INBOX + path[1:] if parts[0].upper() == b"INBOX" and len(path) > 1 else path

    def is_personal(self, raw: bytes) -> bool:
        """Tell whether a name is the account's own."""
        return not any(
            raw.startswith(prefix) or raw + (self.delimiter or b"") == prefix for prefix in self.foreign
        )


Answer: TypeAlias = tuple[list[Response], Status]
"""What was said to one command."""


def naming_question(connection: Connection) -> tuple[bytes]:
    """Write the command whose answer tells delimiter and prefix: NAMESPACE where it is offered, else a LIST."""
    return (b"NAMESPACE",) if connection.offers("NAMESPACE") else (_DELIMITER,)


def read_names(connection: Connection, answer: Answer, prefix: str | None) -> Names:
    """Read the answer to ``naming_question``; ask once more where it does not tell. ``prefix`` overrides.

    Raises ``Transient`` or ``Denied`` where the server cannot tell now.
    """
    if not answer[1].ok:
        # Refused in passing, this would give every folder another name, for ever in a target.
        answer = connection.run(*naming_question(connection))
        raise_passing(answer[1])
    names = _read_namespace(connection, answer)
    if names is None:
        names = Names(
            _ask_delimiter(connection) if connection.offers("NAMESPACE") else _read_delimiter(answer[0])
        )
    return names if prefix is None else evolve(names, prefix=encode(prefix))


def _read_namespace(connection: Connection, answer: Answer) -> Names | None:
    responses, status = answer
    for response in of_kind(responses, b"NAMESPACE") if status.ok else ():
        personal, *foreign = [list(_spaces(token)) for token in response.tokens()[1:4]] or [[]]
        if personal:
            prefix, delimiter = personal[0]
            others = tuple(name for spaces in foreign for name, _ in spaces if name)
            return Names(delimiter or _ask_delimiter(connection), prefix, others)
    return None


def _spaces(token: Token) -> Iterator[tuple[bytes, bytes | None]]:
    for space in token if isinstance(token, list) else ():
        match space:
            case [bytes(prefix), (bytes() | None) as delimiter, *_]:
                yield prefix, delimiter or None


def _ask_delimiter(connection: Connection) -> bytes | None:
    return _read_delimiter(connection.run(_DELIMITER)[0])


def _read_delimiter(responses: list[Response]) -> bytes | None:
    listed = list(parse_list(responses))
    # The root has no name; anything else was not asked for here.
    roots = [one for one in listed if not one.name]
    return next((one.delimiter for one in roots or listed), b"/")


@frozen
class Listed:
    """One LIST or XLIST response."""

    name: bytes
    delimiter: bytes | None
    attributes: frozenset[str]
    """In lower case."""

    @property
    def selectable(self) -> bool:
        """Tell whether the folder can hold messages."""
        return not self.attributes & {"\\noselect", "\\nonexistent"}


def parse_list(responses: Iterable[Response]) -> Iterator[Listed]:
    """Read LIST and XLIST responses, passing over what cannot be read."""
    for response in of_kind(list(responses), b"LIST", b"XLIST"):
        match response.tokens():
            case [_, list(attributes), (bytes() | None) as delimiter, name, *_]:
                words = (
                    word.decode("ascii", "replace").lower() for word in attributes if isinstance(word, bytes)
                )
                # An unquoted NIL here is a folder of that name: nothing else can stand in this place.
                yield Listed(name if isinstance(name, bytes) else b"NIL", delimiter or None, frozenset(words))


def listing_questions(connection: Connection, status: bytes = b"") -> list[tuple[Part, ...]]:
    """Write the commands whose answers list all folders, with their special uses.

    On a server with LIST-STATUS (RFC 5819) the first one also tells these items of STATUS for each of them.
    """
    return [_listing(connection, _ALL, status), *([(b'XLIST "" "*"',)] if connection.offers("XLIST") else [])]


def read_folders(connection: Connection, names: Names, answers: Sequence[Answer]) -> list[Folder]:
    """Read from the answers to ``listing_questions`` the account's own folders.

    Each path is there once; a name that collides as text gets a suffix. Raises ``Denied`` where there are more of
    them than any mailbox has, or where the server lists none.
    """
    listed = {
        one.name: one for one in _read_all(connection, answers) if one.name and names.is_personal(one.name)
    }
    folders = [_folder(one, names) for one in listed.values()]
    if sum(len(folder.path) for folder in folders) > MAX_TREE:
        raise Denied(f"the server lists {len(folders)} folders, more than we take")
    found: dict[FolderPath, Folder] = {}
    # Names with one spelling come first, so that a broken one never takes a good one's path.
    for folder in sorted(folders, key=lambda folder: not _is_plain(folder, names)):
        found.setdefault(_free_path(folder, found), folder)
    paths = {folder.handle: path for path, folder in found.items()}
    listed_once = {folder.handle: folder for folder in folders}
    return [evolve(folder, path=paths[handle]) for handle, folder in listed_once.items()]


def _is_plain(folder: Folder, names: Names) -> bool:
    try:
        return names.from_path(folder.path) == names.wire(folder)
    except Refused:
        return False


def _free_path(folder: Folder, taken: Mapping[FolderPath, Folder]) -> FolderPath:
    number, free = 1, folder.path
    while free in taken and taken[free].handle != folder.handle:
        number += 1
        free = (*folder.path[:-1], f"{folder.path[-1]} ({number})")
    return free


def list_names(connection: Connection, pattern: Part) -> list[Listed]:
    """LIST what matches, with special uses where the server tells them only when asked to."""
    return _listed(connection, pattern, connection.run(*_listing(connection, pattern)))


def _listing(connection: Connection, pattern: Part, status: bytes = b"") -> tuple[Part, ...]:
    wishes = []
    if connection.offers("LIST-EXTENDED", "SPECIAL-USE"):
        wishes.append(b"SPECIAL-USE")
    if status and connection.offers("LIST-STATUS"):
        wishes.append(b"STATUS " + status)
    return (b'LIST "" ', pattern, *([b" RETURN (" + b" ".join(wishes) + b")"] if wishes else []))


def _listed(connection: Connection, pattern: Part, answer: Answer) -> list[Listed]:
    responses, status = answer
    if not status.ok and (connection.offers("LIST-EXTENDED") or connection.offers("LIST-STATUS")):
        responses, status = connection.run(b'LIST "" ', pattern)
    if not status.ok:
        raise_passing(status)
        raise Denied(f"the server does not list folders: {status.words()}")
    told = [response for response in responses if response.kind() in (b"LIST", b"XLIST")]
    listed = list(parse_list(told))
    if len(listed) < len(told):
        # Passed over, it would count as a folder that is gone. If it was spoiled on its way, it comes whole now.
        again, _ = connection.run(*_listing(connection, pattern))
        names = {one.name for one in listed}
        listed += [one for one in parse_list(again) if one.name not in names]
    return listed


def _read_all(connection: Connection, answers: Sequence[Answer]) -> list[Listed]:
    """Read what LIST told; and where that told no special uses, those of XLIST."""
    listed = _listed(connection, _ALL, answers[0])
    if not any(use in one.attributes for one in listed for use in _USES):
        uses = {one.name: one.attributes for responses, _ in answers[1:] for one in parse_list(responses)}
        listed = [evolve(one, attributes=one.attributes | uses.get(one.name, frozenset())) for one in listed]
    return listed


def _folder(listed: Listed, names: Names) -> Folder:
    raw = b"INBOX" if listed.name.upper() == b"INBOX" else listed.name
    # A server that delimits with "/" may list a name that ends with it; that is the same folder.
    path = names.to_path(raw.removesuffix(listed.delimiter or b"\0") or raw, listed.delimiter)
    uses = [_USES[word] for word in sorted(listed.attributes) if word in _USES]
    return Folder(
        path=path,
        special_use=uses[0] if uses and path != INBOX else None,
        selectable=listed.selectable,
        inferiors=listed.delimiter is not None and "\\noinferiors" not in listed.attributes,
        handle=raw.decode("latin-1"),
    )
