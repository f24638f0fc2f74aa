"""Is it all there? Each message of both sides: digest, flags and internal date, folder by folder.

What a peer is known to do to messages is not held against it: see ``Forgiven``.
"""

from __future__ import annotations

import re
from collections import Counter

from attrs import evolve, frozen

from alimail_core.testing.oracle import Kept, Snapshot, take_snapshot
from alimail_core.testing.servers import Dovecot

NOTHING: Counter[Kept] = Counter()


@frozen
class Forgiven:
    """What a tool changes by design. ``header``: a field that it adds; ``dates``: it does not keep internal dates."""

    header: str = ""
    dates: bool = False

    def __bool__(self) -> bool:
        """Tell whether there is anything."""
        return bool(self.header) or self.dates

    def octets(self, octets: bytes) -> bytes:
        """Take out the field that was added."""
        if not self.header:
            return octets
        return re.sub(rb"^" + self.header.encode() + rb":[^\n]*\n", b"", octets, count=1, flags=re.MULTILINE)

    def snapshot(self, snapshot: Snapshot) -> Snapshot:
        """Take out of a snapshot what is not compared."""
        if not self.dates:
            return snapshot
        some = next(kept.internal_date for held in snapshot.values() for kept in held)
        return {
            path: Counter(evolve(kept, internal_date=some) for kept in held.elements())
            for path, held in snapshot.items()
        }


STRICT = Forgiven()


def read(server: Dovecot, user: str, forgiven: Forgiven = STRICT) -> Snapshot:
    """Read a mailbox as its server gives it, without folders that hold nothing."""
    with server.direct(user) as imap:
        found = take_snapshot(imap, server.delimiter, server.prefix, forgiven.octets)
    return {path: held for path, held in found.items() if held}


def differences(wanted: Snapshot, found: Snapshot, forgiven: Forgiven = STRICT) -> str:
    """Tell how a target differs from what is wanted; nothing where it is all there, once."""
    wanted, found = forgiven.snapshot(wanted), forgiven.snapshot(found)
    missing = sum((held - found.get(path, NOTHING)).total() for path, held in wanted.items())
    extra = sum((held - wanted.get(path, NOTHING)).total() for path, held in found.items())
    return f"{missing} missing or changed, {extra} too many or changed" if missing or extra else ""
