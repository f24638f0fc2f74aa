"""How much stands in each folder: hints for the plan and the order of work, many folders at the price of one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from attrs import evolve

from alimail_core import Folder, Transient
from alimail_imap.connection import Connection, of_kind
from alimail_imap.mailboxes import Names
from alimail_imap.shares import Address
from alimail_imap.tokens import Response, quotable

MOST_DIED = 2
"""A server whose connections have died so often in a row over these questions is not asked them any more: they are
hints, and it may bear no more than a few commands each time."""
_DIED: Counter[Address] = Counter()
"""How often that was, of each server, in this process."""


def status_items(connection: Connection) -> bytes:
    """Write what STATUS is to tell of a folder: messages and, where the server can (RFC 8438), octets."""
    return b"(MESSAGES SIZE)" if connection.offers("STATUS=SIZE") else b"(MESSAGES)"


def measure(
    connection: Connection,
    names: Names,
    folders: Iterable[Folder],
    told: Sequence[Response],
    address: Address,
) -> list[Folder]:
    """Return the folders with what STATUS tells of them (RFC 9051 §6.3.11).

    A server with LIST-STATUS (RFC 5819) has ``told`` that with the list. Another one is asked of all folders in one
    round trip. A folder of which the server tells nothing has no hints.
    """
    known = {names.wire(folder): folder for folder in folders}
    statuses = list(read_statuses(told)) or _ask(connection, known, address)
    for name, numbers in statuses:
        if name in known:
            known[name] = _hinted(known[name], numbers)
    return list(known.values())


def _ask(
    connection: Connection, known: Mapping[bytes, Folder], address: Address
) -> list[tuple[bytes, Mapping[str, int]]]:
    if _DIED[address] >= MOST_DIED:
        return []
    commands = [
        (b"STATUS ", connection.inline(name), b" ", status_items(connection))
        for name, folder in known.items()
        # What only a go-ahead would carry is not worth a round trip.
        if folder.selectable and (quotable(name) or connection.sends_at_once(len(name)))
    ]
    try:
        answers = list(connection.pipeline(commands, doing="folder"))
    except Transient:
        _DIED[address] += 1
        raise
    _DIED[address] = 0
    return [told for responses, _ in answers for told in read_statuses(responses)]


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
