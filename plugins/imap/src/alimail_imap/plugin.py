"""What this distribution registers with alimail: the kind ``imap``, as a source and as a sink."""

from __future__ import annotations

from alimail_core import SinkKind, SourceKind, hookimpl
from alimail_imap.options import ImapOptions
from alimail_imap.sink import open_sink
from alimail_imap.source import open_source


@hookimpl
def alimail_sources() -> list[SourceKind[ImapOptions]]:
    """Register IMAP as a source."""
    return [SourceKind("imap", "A mailbox on an IMAP server (RFC 9051, RFC 3501).", ImapOptions, open_source)]


@hookimpl
def alimail_sinks() -> list[SinkKind[ImapOptions]]:
    """Register IMAP as a sink."""
    return [SinkKind("imap", "A mailbox on an IMAP server (RFC 9051, RFC 3501).", ImapOptions, open_sink)]
