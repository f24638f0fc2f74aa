"""Small folders listed together: EXAMINE and FETCH of each in flight at once, so that many cost one round trip."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen

from alimail_core import Folder, Refused
from alimail_imap.connection import collect
from alimail_imap.fetched import Fetched, read_listed
from alimail_imap.session import Selected, Session
from alimail_imap.tokens import Response


@frozen
class Told:
    """What was said of one folder: its state as it was opened, and every message that it had then."""

    state: Selected
    listed: list[Fetched]
    """In ascending order of UIDs."""


def list_together(
    session: Session, folders: Sequence[Folder], items: bytes, *, write: bool
) -> list[Told | None]:
    """Open and list folders, in their order; ``None`` where one is to be asked by itself, and with more care.

    All that is said is held in memory, so ask for small folders only. How folders are opened on this server must
    be known by now (``Session.examine_is_known``), or ``write`` be wished.
    """
    session.connection.settle()
    sent = [
        (session.send_select(folder, write=write), session.connection.send(b"UID FETCH 1:* ", items))
        for folder in folders
    ]
    return [_told(session, select, tag, write) for select, tag in sent]


def _told(session: Session, select: tuple[bytes, bytes], tag: bytes, write: bool) -> Told | None:
    opening, name = select
    selected = collect(session.connection.until(opening))
    responses, status = collect(session.connection.until(tag))
    try:
        state = session.note_selected((name, write), *selected)
    except Refused:
        return None
    return _whole(state, responses) if status.ok else None


def _whole(state: Selected, responses: Sequence[Response]) -> Told | None:
    """Take a listing that accounts for every message, and for none that went meanwhile."""
    if any(response.kind() in (b"EXPUNGE", b"VANISHED") for response in responses):
        return None
    listed = {fetched.uid or 0: fetched for one in responses if (fetched := read_listed(one)) is not None}
    missing = set(range(1, state.exists + 1)).difference(fetched.number for fetched in listed.values())
    return None if missing else Told(state, [fetched for _, fetched in sorted(listed.items())])
