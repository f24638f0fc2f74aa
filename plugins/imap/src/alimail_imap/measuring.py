"""How much stands in each folder: hints for the plan and the order of work, many folders at the price of one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from attrs import evolve

from alimail_core import Folder
from alimail_imap.connection import Connection, of_kind
from alimail_imap.mailboxes import Names
from alimail_imap.shares import Address
from alimail_imap.tokens import Response, quotable

Mailbox: TypeAlias = tuple[Address, str]
"""A server's address, and a user there."""
Told: TypeAlias = list[tuple[bytes, Mapping[str, int]]]
"""The name of each folder, and numbers by item name."""

_KEPT: dict[Mailbox, Told] = {}
"""What was told over a connection that died, in this process: the next one does not ask again. A server may bear no
more than a few commands each time, and these are the least of what is wanted of it."""


def kept(mailbox: Mailbox) -> Told | None:
    """Return what the last connection was told of this, if it died; ``None``: it is to be asked."""
    return _KEPT.get(mailbox)


def keep(mailbox: Mailbox, told: Told | None) -> None:
    """Note what a connection that died was told of this; ``None``: it ended in order, and the next one asks."""
    if told is None:
        _KEPT.pop(mailbox, None)
    else:
        _KEPT[mailbox] = told


def status_items(connection: Connection) -> bytes:
    """Write what STATUS is to tell of a folder: messages and, where the server can (RFC 8438), octets."""
    return b"(MESSAGES SIZE)" if connection.offers("STATUS=SIZE") else b"(MESSAGES)"


def ask(connection: Connection, names: Names, folders: Iterable[Folder]) -> Told:
    """Ask STATUS of all folders in one round trip (RFC 9051 §6.3.11)."""
    wires = [names.wire(folder) for folder in folders if folder.selectable]
    commands = [
        (b"STATUS ", connection.inline(name), b" ", status_items(connection))
        for name in wires
        # What only a go-ahead would carry is not worth a round trip.
        if quotable(name) or connection.sends_at_once(len(name))
    ]
    answers = list(connection.pipeline(commands, doing="folder"))
    return [told for responses, _ in answers for told in read_statuses(responses)]


def measured(names: Names, folders: Iterable[Folder], told: Told) -> list[Folder]:
    """Return the folders with what was told of them. One of which nothing was told has no hints."""
    known = {names.wire(folder): folder for folder in folders}
    for name, numbers in told:
        if name in known:
            known[name] = _hinted(known[name], numbers)
    return list(known.values())


def read_statuses(responses: Iterable[Response]) -> Iterator[tuple[bytes, Mapping[str, int]]]:
    """Read STATUS responses: the name of each folder, and numbers by item name."""
    for response in of_kind(list(responses), b"STATUS"):
        name = response.tokens()[1:2]
        # An unquoted NIL is a folder of that name.
        raw = name[0] if name and isinstance(name[0], bytes) else b"NIL"
        yield b"INBOX" if raw.upper() == b"INBOX" else raw, read_status(response)


def _hinted(folder: Folder, numbers: Mapping[str, int]) -> Folder:
    return evolve(folder, messages=numbers.get("MESSAGES"), octets=numbers.get("SIZE"))


def read_status(response: Response) -> dict[str, int]:
    """Read a STATUS response into numbers by item name."""
    tokens = response.tokens()
    items = tokens[-1] if isinstance(tokens[-1], list) else []
    pairs = zip(items[::2], items[1::2], strict=False)
    return {
        name.decode("ascii", "replace").upper(): int(value)
        for name, value in pairs
        if isinstance(name, bytes) and isinstance(value, bytes) and value.isdigit() and len(value) < 20
    }
