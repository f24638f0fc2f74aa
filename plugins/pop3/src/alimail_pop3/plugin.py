"""What this distribution registers with alimail: the kind ``pop3``, as a source.

What opens it is imported when it is needed, because every command loads every plug-in.
"""

from __future__ import annotations

from alimail_core import Clock, Credentials, Source, SourceKind, hookimpl
from alimail_pop3.options import Pop3Options

LEAVES_BEHIND = (
    "folders other than the inbox, and with them sent mail and drafts",
    "flags: which messages were answered or marked; old ones arrive as read, as `mark_seen` says",
    "what mail programs have fetched and removed from the server: it lies in their local archives",
)
"""What POP3 shows nothing of."""


@hookimpl
def alimail_sources() -> list[SourceKind[Pop3Options]]:
    """Register POP3 as a source."""
    return [
        SourceKind(
            "pop3",
            "The inbox of a mailbox on a POP3 server (RFC 1939).",
            Pop3Options,
            _open_source,
            probe=_probe,
            leaves_behind=LEAVES_BEHIND,
        )
    ]


def _open_source(options: Pop3Options, credentials: Credentials, clock: Clock) -> Source:
    from alimail_pop3.source import open_source

    return open_source(options, credentials, clock)


def _probe(options: Pop3Options) -> Pop3Options:
    from alimail_pop3.login import probe

    return probe(options)
