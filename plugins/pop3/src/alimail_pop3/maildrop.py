"""What a maildrop holds, as one session sees it, and by which keys its messages are known in the next.

A key is ``uidl/`` and the message's unique identifier (UIDL, RFC 1939 §7). Where the server has no UIDL, or gives one
identifier to several messages, it is ``header/``, a name made of the message's header, and a number where several
share that too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

from alimail_core import Denied, Entry, Transient
from alimail_pop3.connection import WHOLE, Connection, Said
from alimail_pop3.grades import shown
from alimail_pop3.headers import name_of

MAX_NUMBER = 10_000_000
MAX_PROBE = 128 * 1024
"""The largest message that sizes are tried by, in octets."""


@frozen
class Maildrop:
    """The messages of a maildrop in its order. Numbers hold for one session only (RFC 1939 §4)."""

    numbers: Mapping[str, int]
    """By key."""
    sizes: Mapping[int, int | None]
    """By number, as LIST tells them."""
    exact: bool
    """LIST was found to tell what RETR gives. Many servers tell what the message has on their disk, or guess."""

    def entry(self, key: str) -> Entry:
        """Return a message as it is listed. A size that is not exact is not told: it would be no witness."""
        return Entry(key, self.size(key))

    def size(self, key: str) -> int | None:
        """Return the exact size of a message, ``None`` where it is not known."""
        return self.sizes[self.numbers[key]] if self.exact else None


def read_maildrop(connection: Connection) -> Maildrop:
    """List what is there. Raises ``Transient`` or ``Denied``."""
    sizes = _sizes(connection)
    return Maildrop(_keys(connection, sizes), sizes, _are_exact(connection, sizes))


def _sizes(connection: Connection) -> dict[int, int | None]:
    try:
        told = _read_list(connection, b"LIST")
    except Said as said:
        if count_messages(connection) == 0:
            return {}
        raise connection.grade(said.answer, "list") from None
    return {number: int(word) if word.isdigit() and len(word) < 16 else None for number, word in told}


def count_messages(connection: Connection) -> int | None:
    """Return how many messages STAT tells, ``None`` where it tells nothing that makes sense."""
    try:
        words = connection.exchange(b"STAT").split()
    except Said:
        return None
    known = len(words) > 1 and words[1].isdigit() and len(words[1]) < 9
    return int(words[1]) if known else None


def _unique(connection: Connection) -> dict[int, str]:
    """Return the identifiers of UIDL by number, without those that several messages share."""
    try:
        told = {number: word for number, word in _read_list(connection, b"UIDL") if word}
    except Said as said:
        error = connection.grade(said.answer, "read")
        if isinstance(error, Transient):
            raise error from None
        return {}
    often = Counter(told.values())
    return {
        number: word.decode("ascii", "backslashreplace") for number, word in told.items() if often[word] == 1
    }


def _read_list(connection: Connection, command: bytes) -> list[tuple[int, bytes]]:
    """Read LIST or UIDL: each message's number and what is told of it.

    What cannot be read is asked for once more, as something on the way may have spoilt it; so is what is refused
    although the server has it. Raises ``Said``, ``Transient``, or ``Denied`` where the list stays unreadable.
    """
    odd = ""
    has_it = command != b"UIDL" or connection.offers("UIDL")
    for once_more in (True, False):
        try:
            return [_numbered(line) for line in connection.lines(command)]
        except Said:
            if not (once_more and has_it):
                raise
        except ValueError as error:
            odd = str(error)
    raise Denied(
        f"the server's list of messages cannot be read: to {command.decode()} it says {odd}",
        remedy="Its administrator must mend that. If it has IMAP too, move the mailbox by that.",
    )


def _numbered(line: bytes) -> tuple[int, bytes]:
    """Read a line of LIST or UIDL. Raises ``ValueError``: to pass over the line would be to pass over a message."""
    number, _, rest = line.strip().partition(b" ")
    if not (number.isdigit() and len(number) < 9 and 0 < int(number) <= MAX_NUMBER):
        raise ValueError(repr(shown(line)))
    words = rest.split()
    return int(number), words[0] if words else b""


def _keys(connection: Connection, numbers: Iterable[int]) -> dict[str, int]:
    unique = _unique(connection) if numbers else {}
    keys = {f"uidl/{unique[number]}": number for number in numbers if number in unique}
    return keys | _header_keys(connection, [number for number in numbers if number not in unique])


def _header_keys(connection: Connection, numbers: Sequence[int]) -> dict[str, int]:
    """Name messages by their headers, and those that cannot be read by their place, so that they are told too."""
    seen: Counter[str] = Counter()
    keys: dict[str, int] = {}
    for number, header in zip(numbers, connection.headers(numbers), strict=True):
        name = name_of(header) if isinstance(header, bytes) else "unreadable"
        seen[name] += 1
        keys[f"header/{name}/{seen[name]}"] = number
    return keys


def _are_exact(connection: Connection, sizes: Mapping[int, int | None]) -> bool:
    """Try a few small messages: does LIST tell the octets that they have?"""
    small = sorted((size, number) for number, size in sizes.items() if size is not None and size <= MAX_PROBE)
    tried = sorted({small[0], small[len(small) // 2], small[-1]} if small else ())
    answers = connection.tops([number for _, number in tried], WHOLE) if connection.has_top else iter(())
    told = [
        isinstance(octets, bytes) and has_size(octets, size)
        for (size, _), octets in zip(tried, answers, strict=False)
    ]
    return bool(told) and all(told)


def has_size(octets: bytes, size: int | None) -> bool:
    """Tell whether a size is exact, with or without the line end that an answer must have and a message need not."""
    return len(without_added_end(octets, size)) == size


def without_added_end(octets: bytes, size: int | None) -> bytes:
    """Take away the line end that POP3 had to add to a message without one, where its exact size says so."""
    return octets[:-2] if size == len(octets) - 2 and octets.endswith(b"\r\n") else octets
