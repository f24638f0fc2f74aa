"""What ``alimail check`` tells of an IMAP server."""

from __future__ import annotations

from collections.abc import Iterator

from alimail_core import Remark, tls_remark
from alimail_imap.session import Session


def remarks_of(session: Session, *, sink: bool) -> Iterator[Remark]:
    """Say what is worth knowing of the server behind a session, as a source or as a sink."""
    yield tls_remark(session.connection.wire.tls)
    yield from _delta(session)
    if sink:
        yield from _writing(session)
    if session.options.host.lower().endswith(("outlook.office365.com", "outlook.office.com")):
        yield Remark("note", "Exchange Online takes no passwords over IMAP", "Use auth = xoauth2.")
    for alert in session.connection.alerts:
        yield Remark("warning", f"the server says: {alert}")


def _delta(session: Session) -> Iterator[Remark]:
    connection = session.connection
    if connection.offers("QRESYNC"):
        yield Remark("ok", "later passes cost what has changed (QRESYNC)")
    elif connection.offers("CONDSTORE"):
        yield Remark("ok", "later passes cost what has changed, unless messages were deleted (CONDSTORE)")
    else:
        yield Remark(
            "note", "later passes list every folder whole: the server has neither CONDSTORE nor QRESYNC"
        )
    if connection.offers("X-GM-EXT-1"):
        yield Remark("note", f"labels are folders here; gmail_labels = {session.options.gmail_labels}")


def _writing(session: Session) -> Iterator[Remark]:
    connection = session.connection
    if not connection.offers("UIDPLUS"):
        yield Remark("note", "no UIDPLUS: where a message was stored is read back, once a folder")
        yield Remark(
            "note", "no UIDPLUS: a message that moves at the source stays where it is in this mailbox"
        )
    if not (connection.offers("LITERAL+") or connection.offers("LITERAL-")):
        yield Remark("note", "no LITERAL+: each message waits a round trip; several connections share that")
