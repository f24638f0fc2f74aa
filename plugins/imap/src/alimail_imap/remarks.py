"""What ``alimail check`` tells of an IMAP server."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from datetime import UTC, datetime

from alimail_core import Remark
from alimail_imap.session import Session

_OLD_TLS = ("TLSv1", "TLSv1.1")


def remarks_of(session: Session, *, sink: bool) -> Iterator[Remark]:
    """Say what is worth knowing of the server behind a session, as a source or as a sink."""
    yield _protection(session)
    yield from _delta(session)
    if sink:
        yield from _writing(session)
    if session.options.host.lower().endswith(("outlook.office365.com", "outlook.office.com")):
        yield Remark("note", "Exchange Online takes no passwords over IMAP", "Use auth = xoauth2.")
    for alert in session.connection.alerts:
        yield Remark("warning", f"the server says: {alert}")


def _protection(session: Session) -> Remark:
    tls = session.connection.wire.tls
    if tls is None:
        return Remark("warning", "the connection is not encrypted", "Use tls = implicit or starttls.")
    version = tls.version() or "TLS"
    text = f"encrypted with {version}, the certificate holds until {_expiry(tls):%Y-%m-%d}"
    if version in _OLD_TLS:
        return Remark(
            "warning", text, "This version of TLS is not secure any more; raise tls_minimum if you can."
        )
    return Remark("ok", text)


def _expiry(tls: ssl.SSLSocket) -> datetime:
    certificate = tls.getpeercert() or {}
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)


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
