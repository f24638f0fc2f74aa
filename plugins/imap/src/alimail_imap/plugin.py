"""What this distribution registers with alimail: the kind ``imap``, as a source and as a sink.

What opens them is imported when it is needed, because every command loads every plug-in.
"""

from __future__ import annotations

from alimail_core import Clock, Credentials, Sink, SinkKind, Source, SourceKind, hookimpl
from alimail_imap.options import ImapOptions


@hookimpl
def alimail_sources() -> list[SourceKind[ImapOptions]]:
    """Register IMAP as a source."""
    return [
        SourceKind(
            "imap",
            "A mailbox on an IMAP server (RFC 9051, RFC 3501).",
            ImapOptions,
            _open_source,
            probe=_probe,
        )
    ]


@hookimpl
def alimail_sinks() -> list[SinkKind[ImapOptions]]:
    """Register IMAP as a sink."""
    return [
        SinkKind(
            "imap", "A mailbox on an IMAP server (RFC 9051, RFC 3501).", ImapOptions, _open_sink, probe=_probe
        )
    ]


def _open_source(options: ImapOptions, credentials: Credentials, clock: Clock) -> Source:
    from alimail_imap.source import open_source

    return open_source(options, credentials, clock)


def _open_sink(options: ImapOptions, credentials: Credentials, clock: Clock) -> Sink:
    from alimail_imap.sink import open_sink

    return open_sink(options, credentials, clock)


def _probe(options: ImapOptions) -> ImapOptions:
    from alimail_imap.login import probe

    return probe(options)
