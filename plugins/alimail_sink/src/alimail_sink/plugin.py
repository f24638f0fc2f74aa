"""What this distribution registers with alimail: the kind ``alimail``, a sink.

What opens it is imported when it is needed, because every command loads every plug-in.
"""

from __future__ import annotations

from alimail_core import Clock, Credentials, Sink, SinkKind, hookimpl
from alimail_sink.options import AlibabaOptions


@hookimpl
def alimail_sinks() -> list[SinkKind[AlibabaOptions]]:
    """Register Alibaba Mail as a sink."""
    return [SinkKind("alimail", "A mailbox of Alibaba Mail.", AlibabaOptions, _open_sink)]


def _open_sink(options: AlibabaOptions, credentials: Credentials, clock: Clock) -> Sink:
    from alimail_sink.sink import open_sink

    return open_sink(options, credentials, clock)
