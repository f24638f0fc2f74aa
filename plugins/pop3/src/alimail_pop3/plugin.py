"""What this distribution registers with alimail: the kind ``pop3``, as a source."""

from __future__ import annotations

from alimail_core import SourceKind, hookimpl
from alimail_pop3.options import Pop3Options
from alimail_pop3.source import open_source


@hookimpl
def alimail_sources() -> list[SourceKind[Pop3Options]]:
    """Register POP3 as a source."""
    return [
        SourceKind("pop3", "The inbox of a mailbox on a POP3 server (RFC 1939).", Pop3Options, open_source)
    ]
