"""What this distribution registers with alimail: the kind ``alimail``, a sink."""

from __future__ import annotations

from alimail_core import SinkKind, hookimpl
from alimail_sink.options import AlibabaOptions
from alimail_sink.sink import open_sink


@hookimpl
def alimail_sinks() -> list[SinkKind[AlibabaOptions]]:
    """Register Alibaba Mail as a sink."""
    return [SinkKind("alimail", "A mailbox of Alibaba Mail.", AlibabaOptions, open_sink)]
