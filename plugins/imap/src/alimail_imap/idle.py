"""IDLE (RFC 2177): the server tells of new mail by itself, in the one folder that is selected."""

from __future__ import annotations

import time
from collections.abc import Callable

from alimail_core import Cursor, Folder, Refused
from alimail_imap.connection import Connection, collect
from alimail_imap.grades import grade
from alimail_imap.listing import Mark
from alimail_imap.session import Selected, Session
from alimail_imap.tokens import Response
from alimail_imap.uidsets import count, parse_set

RENEW = 20 * 60.0
"""Seconds after which IDLE is issued anew: RFC 2177 has it done after 29 minutes at the latest."""

LOOK = 0.5
"""Seconds after which it is looked whether to go on waiting."""


def wait_for_mail(
    session: Session,
    folder: Folder,
    cursor: Cursor,
    over: Callable[[], bool],
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """See ``Source.wait``. ``clock`` counts the seconds of ``RENEW``."""
    state = session.select(folder, fresh=True)
    mark = Mark.read(cursor)
    if mark is None or _has_grown(mark, state):
        return True
    idle = _Idle(session.connection, state.exists, clock)
    while not over():
        if idle.hears(over):
            return True
    return False


def _has_grown(mark: Mark, state: Selected) -> bool:
    """Tell whether a message may have come since a cursor was written."""
    if mark.uidvalidity != state.uidvalidity:
        return True
    if mark.uidnext is None or state.uidnext is None:
        return state.exists > mark.exists
    return state.uidnext != mark.uidnext


class _Idle:
    """A folder whose messages are counted by what the server says of it."""

    def __init__(self, connection: Connection, exists: int, clock: Callable[[], float]) -> None:
        self._connection = connection
        self._exists = exists
        self._clock = clock

    def hears(self, over: Callable[[], bool]) -> bool:
        """Let the server idle once; tell whether a message has come. Raises ``Refused`` where it will not."""
        connection, until = self._connection, self._clock() + RENEW
        connection.settle()
        tag = connection.send(b"IDLE", doing="folder")
        heard = idles = False
        while not heard and not over() and self._clock() < until:
            if connection.wire.has_come(LOOK):
                response = connection.receive()
                self._must_go_on(response, tag)
                idles = idles or response.tag == b"+"
                heard = self._takes(response)
        while not idles:  # DONE is no command before the server's go-ahead
            response = connection.receive()
            self._must_go_on(response, tag)
            idles = response.tag == b"+"
            heard = self._takes(response) or heard
        connection.wire.write([b"DONE\r\n"])
        responses, status = collect(connection.until(tag))
        if not status.ok:
            raise grade(status, "folder")
        told = [self._takes(response) for response in responses]
        return heard or any(told)

    def _must_go_on(self, response: Response, tag: bytes) -> None:
        if response.tag == tag:
            status = self._connection.end(response)
            raise Refused(f"the server does not idle: {status.words()}")

    def _takes(self, response: Response) -> bool:
        """Count; tell whether there is one message more."""
        kind, before = response.kind(), self._exists
        if response.tag != b"*":
            return False
        if kind == b"EXISTS":
            self._exists = response.number()
        elif kind == b"EXPUNGE":
            self._exists -= 1
        elif kind == b"VANISHED":
            self._exists -= _vanished(response, self._exists)
        return self._exists > before


def _vanished(response: Response, exists: int) -> int:
    """Count the UIDs that are gone; all, where they cannot be read: rather a look too many than a message missed."""
    try:
        return count(parse_set(response.head.rpartition(b" ")[2]))
    except ValueError:
        return exists
