"""IDLE, with what servers say in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import pytest

from alimail_core import Credentials, Cursor, Folder, Refused, Transient
from alimail_core.model import INBOX
from alimail_imap.idle import RENEW, wait_for_mail
from alimail_imap.listing import Mark
from alimail_imap.session import Session
from alimail_imap.testing import CLOSE, CannedServer, Reply

EXAMINED = b"* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 9] x\r\n"
CURSOR = Mark(uidvalidity=7, uidnext=9, exists=3).cursor()
GO_AHEAD = b"+ {tag} idling\r\n"  # so written, no OK follows by itself
DONE = b"{last} OK done, by {tag}"  # the line end is that of DONE, which the server takes for a tag


def wait(
    idle: bytes,
    *,
    done: bytes = DONE,
    cursor: Cursor = CURSOR,
    looks: int = 20,
    clock: Callable[[], float] | None = None,
    examined: bytes = EXAMINED,
) -> tuple[bool, list[bytes]]:
    """Wait at a server that says this; return what was told, and which commands it got."""

    def other(command: bytes) -> bytes:
        return b"" if command else done  # DONE stands where a tag does, and has no command behind it

    replies: dict[bytes, Reply] = {b"EXAMINE": examined, b"IDLE": idle, b"": other}
    with CannedServer(replies, capabilities=b"IMAP4rev1 IDLE") as server:
        session = Session.open(server.options, Credentials("anna", lambda: "secret"))
        asked: Iterator[int] = count()
        try:
            ticks = clock or (lambda: 0.0)
            told = wait_for_mail(session, Folder(INBOX), cursor, lambda: next(asked) >= looks, ticks)
            session.connection.ask(b"NOOP")  # the connection is in step
        finally:
            session.close()
        return told, server.received


def idled(received: list[bytes]) -> int:
    """Count how often the server was asked to idle."""
    return sum(command.startswith(b"IDLE") for command in received)


def test_a_message_more_is_news() -> None:
    """EXISTS that tells of more messages than there were ends the wait."""
    told, received = wait(GO_AHEAD + b"* 4 EXISTS\r\n")
    assert (told, idled(received)) == (True, 1)


@pytest.mark.parametrize(
    "words",
    [
        b"",
        b"* 3 EXISTS\r\n",
        b"* OK Still here\r\n",
        b"* 1 FETCH (FLAGS (\\Seen))\r\n",
        b"* 2 EXPUNGE\r\n",
        b"* 0 RECENT\r\n",
    ],
)
def test_everything_else_is_not(words: bytes) -> None:
    """Flags, deletions and what servers say to keep a connection open are no new mail."""
    told, received = wait(GO_AHEAD + words, looks=3)
    assert (told, idled(received)) == (False, 1)


@pytest.mark.parametrize("gone", [b"* 1 EXPUNGE\r\n", b"* VANISHED 5\r\n", b"* VANISHED what,ever\r\n"])
def test_a_message_that_comes_for_one_that_goes_is_news(gone: bytes) -> None:
    """The count is the same as before, and all the same one has come."""
    told, _ = wait(GO_AHEAD + gone + b"* 3 EXISTS\r\n")
    assert told


def test_what_comes_with_the_end_is_news() -> None:
    """A server may tell of a message in its answer to DONE."""
    told, _ = wait(GO_AHEAD, done=b"* 4 EXISTS\r\n" + DONE, looks=2)
    assert told


@pytest.mark.parametrize(
    "examined",
    [
        EXAMINED.replace(b"UIDNEXT 9", b"UIDNEXT 10"),
        EXAMINED.replace(b"UIDVALIDITY 7", b"UIDVALIDITY 8"),
        b"* 4 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n",
    ],
)
def test_what_came_since_the_cursor_is_news_at_once(examined: bytes) -> None:
    """Nothing slips between a listing and the wait."""
    told, received = wait(GO_AHEAD, examined=examined)
    assert (told, idled(received)) == (True, 0)


def test_a_cursor_that_says_nothing_is_news() -> None:
    """Where it cannot be known whether something came, a look tells."""
    assert wait(GO_AHEAD, cursor={})[0]


def test_it_is_issued_anew_in_time() -> None:
    """A server may end a session that says nothing for half an hour."""
    ticks = count()
    told, received = wait(GO_AHEAD, clock=lambda: next(ticks) * RENEW / 2, looks=8)
    assert not told
    assert idled(received) > 1


@pytest.mark.parametrize(
    "idle",
    [
        b"{tag} NO not here\r\n",
        b"{tag} BAD what?\r\n",
        b"{tag} OK done\r\n",
        GO_AHEAD + b"{tag} OK enough\r\n",
    ],
)
def test_a_server_that_does_not_idle_is_refused(idle: bytes) -> None:
    """Whatever it announces: who is refused asks at intervals."""
    with pytest.raises(Refused, match="does not idle"):
        wait(idle)


@pytest.mark.parametrize("idle", [GO_AHEAD + b"* BYE logged out for inactivity\r\n" + CLOSE, CLOSE])
def test_a_connection_that_ends_is_transient(idle: bytes) -> None:
    """So is every connection that is lost."""
    with pytest.raises(Transient):
        wait(idle)


def test_it_does_not_begin_when_it_is_over() -> None:
    """Nothing is asked then."""
    told, received = wait(GO_AHEAD, looks=0)
    assert (told, idled(received)) == (False, 0)
