"""What an administrator should know of an Exchange server; ``alimail check`` prints it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from alimail_core import Remark, dial, tls_remark
from alimail_ews.builds import is_online, product
from alimail_ews.folders import Folders
from alimail_ews.grades import ONLINE_REMEDY
from alimail_ews.session import Session

_SHOWN: Final = 5


def remarks_of(session: Session, folders: Folders) -> Iterator[Remark]:
    """Tell what the server is, how it was got into, how the connection is protected, and what is left behind."""
    options, build = session.options, session.server.build
    yield Remark("ok", f"{product(build)}, build {build or 'not told'}, EWS as {session.version}")
    yield Remark("ok", f"logged in by {session.auth}, {_access(session)}")
    if is_online(options.host, build):
        yield Remark("warning", "this is Exchange Online", ONLINE_REMEDY)
    with dial(options) as sock:
        yield tls_remark(sock if options.tls != "none" else None)  # type: ignore[arg-type]
    if folders.public:
        where = options.public_folder or ""
        yield Remark("ok", f"brings the public folders: {len(folders.public):,} beneath {where}")
    left = sorted(folders.left_behind, key=lambda each: -each.items)
    if left:
        names = ", ".join(f"{'/'.join(each.path)} ({each.items})" for each in left[:_SHOWN])
        more = f" and {len(left) - _SHOWN} folders more" if len(left) > _SHOWN else ""
        yield Remark(
            "note",
            f"what is no mail stays: {names}{more}",
            "Export calendars and contacts from Outlook, or let their owners do so.",
        )


def _access(session: Session) -> str:
    if session.who.impersonated is not None:
        return f"acting for {session.who.impersonated} (impersonation)"
    if session.who.mailbox is not None:
        return f"reading {session.who.mailbox} (delegate)"
    return "reading the user's own mailbox"
