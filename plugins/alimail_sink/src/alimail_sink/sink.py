"""Alibaba Mail as a sink: IMAP, and what differs there."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from alimail_core import Clock, Credentials, Denied, Remark
from alimail_imap.grades import LOGIN_REMEDY
from alimail_imap.sink import ImapSink
from alimail_imap.spread import choose
from alimail_sink.options import AlibabaOptions

FIRST = 10
"""Connections that a mailbox is written over to begin with; how many more there may be is ``max_connections``."""

REFUSED_REMEDY = (
    "Alibaba Mail does not tell why it refuses a login. It is one of three: the password is wrong; the organisation "
    "has switched on the security password for third-party clients, and then that one is wanted here and not the "
    "account's; or third-party clients are forbidden for the organisation or the account: allow them in the console."
)


class AlibabaSink(ImapSink):
    """A mailbox of Alibaba Mail.

    It announces little (UIDPLUS, and neither LITERAL+ nor MULTIAPPEND), and the IMAP plug-in asks it anew after
    LOGIN and goes by that. Its UIDVALIDITY is a constant, so the keys that it tells are believed only after the
    folder was listed. Special folders are found by their attributes, whatever their names.
    """

    def remarks(self) -> Iterable[Remark]:
        """Tell what holds for Alibaba Mail, after what its server tells."""
        yield from super().remarks()
        yield Remark("note", "Alibaba Mail takes at most 1 TB in one migration; limit_octets keeps it")
        yield Remark(
            "note",
            "it keeps five flags and no keywords: a keyword is dropped and counted, its message is carried",
        )


def open_sink(options: AlibabaOptions, credentials: Credentials, clock: Clock) -> AlibabaSink:
    """Connect and log in. See ``SinkKind.open``; a refused login names its three possible causes."""
    try:
        sink = AlibabaSink.open(options.imap(), credentials, choose=partial(choose, first=FIRST))
    except Denied as error:
        if error.remedy == LOGIN_REMEDY:
            error.remedy = REFUSED_REMEDY
        raise
    assert isinstance(sink, AlibabaSink)
    return sink
