"""Is it all there? Each message of both sides: digest, flags and internal date, folder by folder."""

from __future__ import annotations

import re
from collections import Counter
from functools import partial

from alimail_core.testing.oracle import Kept, Snapshot, take_snapshot
from alimail_core.testing.servers import Dovecot

NOTHING: Counter[Kept] = Counter()


def read(server: Dovecot, user: str, added: str = "") -> Snapshot:
    """Read a mailbox as its server gives it, without folders that hold nothing.

    ``added``: a header field that a tool adds to each message by design, and that is not compared.
    """
    with server.direct(user) as imap:
        found = take_snapshot(imap, server.delimiter, server.prefix, partial(without, added))
    return {path: held for path, held in found.items() if held}


def without(field: str, octets: bytes) -> bytes:
    """Take a field out of a message once, where there is one to take out."""
    if not field:
        return octets
    return re.sub(rb"^" + field.encode() + rb":[^\n]*\n", b"", octets, count=1, flags=re.MULTILINE)


def differences(wanted: Snapshot, found: Snapshot) -> str:
    """Tell how a target differs from what is wanted; nothing where it is all there, once."""
    missing = sum((held - found.get(path, NOTHING)).total() for path, held in wanted.items())
    extra = sum((held - wanted.get(path, NOTHING)).total() for path, held in found.items())
    return f"{missing} missing or changed, {extra} too many or changed" if missing or extra else ""
