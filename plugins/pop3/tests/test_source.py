"""Reading a maildrop: what is asked, what is answered, what is never done."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Literal

import pytest
from attrs import evolve

from alimail_core import (
    INBOX,
    AlimailError,
    Clock,
    Entry,
    Folder,
    Gone,
    Message,
    Throttled,
    Transient,
    Unreadable,
)
from alimail_core.testing.asking import fetched, listing, messages
from alimail_core.testing.mail import message
from alimail_pop3 import connection as connection_module
from alimail_pop3.options import Pop3Options
from alimail_pop3.remarks import remarks_of
from alimail_pop3.source import Pop3Source, open_source
from alimail_pop3.testing import CLOSE, CannedServer, Reply, with_dots

MAILS = [message(f"No. {n}", message_id=f"{n}@example.org") for n in range(6)]
GUESSED = [len(mail) + 1 for mail in MAILS]
"""Sizes that are not exact, so that messages are read by RETR."""
INBOX_FOLDER = Folder(INBOX)


def opened(server: CannedServer, options: Pop3Options | None = None) -> Pop3Source:
    """Open a session."""
    return Pop3Source(options or server.options, server.credentials, Clock())


def got(source: Pop3Source) -> dict[str, object]:
    """Fetch everything that is listed; return the answers by key."""
    listed = listing(source, INBOX)
    answers = fetched(source, [(listed.folder, list(listed.entries.values()))])
    return {key: answer for (_, key), answer in answers.items()}


def test_nothing_is_deleted_and_what_was_noted_is_taken_back() -> None:
    """No session says DELE; each says RSET before QUIT."""
    with CannedServer(MAILS) as server:
        with opened(server) as source:
            assert len(got(source)) == 6
            assert len(list(source.look(INBOX_FOLDER, ["uidl/id1"]))) == 1
        assert server.received[-2:] == [b"RSET", b"QUIT"]
        for place in [at for at, line in enumerate(server.received) if line == b"QUIT"]:
            assert server.received[place - 1] == b"RSET"
        assert not server.commands(b"DELE")


def test_a_session_that_is_left_in_the_middle_ends_without_quit() -> None:
    """Where answers are owed, the connection just ends, and that changes nothing either."""
    with CannedServer(MAILS) as server:
        source = opened(server)
        listed = listing(source, INBOX)
        next(source.fetch([(listed.folder, list(listed.entries.values()))]))
        source.close()
    assert not server.commands(b"QUIT")


def test_several_messages_are_in_flight() -> None:
    """With PIPELINING the next RETR is with the server before the first message was read, and not without."""
    for capabilities, ahead in (([b"USER", b"TOP", b"PIPELINING"], 6), ([b"USER", b"TOP"], 1), (None, 1)):
        with (
            CannedServer(MAILS, capabilities=capabilities, sizes=GUESSED) as server,
            opened(server) as source,
        ):
            listed = listing(source, INBOX)
            answers = source.fetch([(listed.folder, list(listed.entries.values()))])
            next(answers)
            list(source.headers(listed.folder, []))
            source.connection.settle()
            assert len(server.commands(b"RETR")) == ahead
            answers.close()  # type: ignore[attr-defined]


def test_large_messages_are_not_all_asked_for_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in flight is bounded by octets as well, and one larger message is asked for alone."""
    monkeypatch.setattr(connection_module, "OCTETS_IN_FLIGHT", len(MAILS[0]) * 2 + 20)
    large = message("Large", "x\r\n" * 1000)
    mails = [MAILS[0], MAILS[1], large, MAILS[2]]
    sizes = [len(mail) + 1 for mail in mails]
    with CannedServer(mails, sizes=sizes) as server, opened(server) as source:
        assert [type(answer) for answer in got(source).values()] == [Message] * 4
        listed = listing(source, INBOX)
        answers = source.fetch([(listed.folder, list(listed.entries.values()))])
        next(answers)
        answers.close()  # type: ignore[attr-defined]
        source.connection.settle()
    assert len(server.commands(b"RETR")) == 4 + 2


def test_a_refused_message_is_asked_for_again_in_a_new_session() -> None:
    """What the server refuses twice is unreadable, in its own words; the others come."""
    broken = dict.fromkeys([b"RETR 3", b"TOP 3 "], b"-ERR cannot open message\r\n")
    with CannedServer(MAILS, broken) as server, opened(server) as source:
        answers = got(source)
    unreadable = [answer for answer in answers.values() if isinstance(answer, Unreadable)]
    assert [answer.key for answer in unreadable] == ["uidl/id2"]
    assert "cannot open message" in unreadable[0].reason
    assert sum(isinstance(answer, Message) for answer in answers.values()) == 5
    assert len(server.commands(b"PASS")) == 2


@pytest.mark.parametrize("sizes", [None, GUESSED])
def test_a_message_that_comes_empty_is_unreadable(sizes: list[int] | None) -> None:
    """It has a size, so it was not opened: no empty message is carried for it. One without a size is."""
    empty = dict.fromkeys([b"RETR 3", b"TOP 3 "], b"+OK\r\n.\r\n")
    with CannedServer(MAILS, empty, sizes=sizes) as server, opened(server) as source:
        answers = got(source)
    assert [key for key, answer in answers.items() if isinstance(answer, Unreadable)] == ["uidl/id2"]
    with CannedServer([b""], sizes=[0]) as server, opened(server) as source:
        [answer] = got(source).values()
    assert isinstance(answer, Message)


def test_a_message_that_is_gone_is_told_so_by_a_new_session() -> None:
    """A session sees the maildrop as it was at login, so only another one can tell."""
    with CannedServer(MAILS) as server, opened(server) as source:
        listed = listing(source, INBOX)
        server.uidls = [b"id0", b"id2", b"id3", b"id4", b"id5"]
        server.messages = MAILS[:1] + MAILS[2:]
        for command in (b"RETR 2", b"TOP 2 "):
            server.replies[command] = lambda _: (
                b"-ERR expunged\r\n"
                if len(server.commands(b"PASS")) == 1
                else b"+OK\r\n" + with_dots(MAILS[2])
            )
        first, second = list(listed.entries.values())[:2]
        answers = fetched(source, [(listed.folder, [first, second])])
    assert [type(answer) for answer in answers.values()] == [Message, Gone]


def test_an_identifier_that_comes_back_with_another_size_is_another_message() -> None:
    """A key counts only with its witness."""
    with CannedServer(MAILS) as server, opened(server) as source:
        listed = listing(source, INBOX)
        entry = listed.entries["uidl/id0"]
        asked = [Entry(entry.key, (entry.size or 0) + 1)]
        (answer,) = fetched(source, [(listed.folder, asked)]).values()
    assert isinstance(answer, Gone)


def test_sizes_that_are_not_exact_hide_no_message() -> None:
    """Where the list only estimates, a message comes whatever was listed."""
    with CannedServer(MAILS, sizes=[1, 2, 3, 4, 5, 6]) as server, opened(server) as source:
        assert all(isinstance(answer, Message) for answer in got(source).values())


def test_a_giant_is_refused_before_it_is_sent() -> None:
    """No memory holds what a server announces."""
    with CannedServer(MAILS, sizes=[2**40, *map(len, MAILS[1:])]) as server, opened(server) as source:
        answers = got(source)
    assert [key for key, answer in answers.items() if isinstance(answer, Unreadable)] == ["uidl/id0"]
    assert b"RETR 1" not in server.received


@pytest.mark.parametrize(
    "words",
    [
        b"+OK\r\n" + with_dots(MAILS[2])[:50] + CLOSE,
        b"-ERR [SYS/TEMP] disk\r\n",
        b"what?\r\n",
        b"+OK no end\r\n" + CLOSE,
        2 * b"+OK 40 octets\r\n" + with_dots(MAILS[2]),  # the second line would be a part of the message
    ],
)
def test_what_comes_in_the_middle_is_transient(words: bytes) -> None:
    """A lost connection, a passing fault and nonsense end the session, after what came before them."""
    with CannedServer(MAILS, {b"RETR 3": words}, sizes=GUESSED) as server, opened(server) as source:
        listed = listing(source, INBOX)
        answers = source.fetch([(listed.folder, list(listed.entries.values()))])
        assert all(isinstance(next(answers), Message) for _ in range(2))
        with pytest.raises(Transient):
            next(answers)


@pytest.mark.parametrize(
    ("words", "kind"),
    [(b"-ERR [IN-USE] locked\r\n", Transient), (b"-ERR [LOGIN-DELAY] wait\r\n", Throttled)],
)
def test_a_new_session_may_have_to_wait(words: bytes, kind: type[AlimailError]) -> None:
    """Where the maildrop is taken, or logins are counted, the engine waits and comes again."""
    with CannedServer(MAILS) as server, opened(server) as source:
        listing(source, INBOX)
        server.replies[b"PASS"] = words
        with pytest.raises(AlimailError) as caught:
            listing(source, INBOX)
    assert type(caught.value) is kind


def test_where_top_gives_all_nothing_is_marked_as_read() -> None:
    """Some servers mark at once what RETR gives; TOP of all lines does not, and is held to the size."""
    short = b"+OK\r\n" + with_dots(MAILS[1])[:-20] + b"\r\n.\r\n"
    replies: dict[bytes, Reply] = {b"TOP 2 9": short, b"TOP 5 9": b"-ERR cannot\r\n"}
    with CannedServer(MAILS, replies) as server, opened(server) as source:
        assert source._listed().exact
        listed = listing(source, INBOX)
        octets = {one.octets for one in messages(source, listed).values()}
    assert octets == set(MAILS)
    assert server.commands(b"RETR") == [b"RETR 2", b"RETR 5"]


# Flags and dates


@pytest.mark.parametrize(
    ("mark_seen", "seen"),
    [("old", [True, False, True]), ("all", [True, True, True]), ("none", [False, False, False])],
)
def test_history_arrives_as_read(mark_seen: Literal["old", "all", "none"], seen: list[bool]) -> None:
    """By default what arrived more than two weeks ago, or at no known time, is marked; the rest is left unread."""
    now = datetime.now(UTC)
    days = [now - timedelta(days=15), now - timedelta(days=13)]
    mails = [b"Date: %b\r\n\r\n%d\r\n" % (format_datetime(day).encode(), n) for n, day in enumerate(days)]
    server = CannedServer([*mails, b"Subject: none\r\n\r\n"])
    with server, opened(server, evolve(server.options, mark_seen=mark_seen)) as source:
        told = list(messages(source, listing(source, INBOX)).values())
        assert not source.traits.lists_flags
    assert [one.flags == frozenset({"\\Seen"}) for one in told] == seen
    assert [one.internal_date and one.internal_date.date() for one in told] == [
        *[d.date() for d in days],
        None,
    ]


def test_how_old_is_old_can_be_said() -> None:
    """``unread_days`` moves the line."""
    when = format_datetime(datetime.now(UTC) - timedelta(hours=30)).encode()
    with CannedServer([b"Date: " + when + b"\r\n\r\n"]) as server:
        for days, flags in ((1, {"\\Seen"}), (2, set())):
            with opened(server, evolve(server.options, unread_days=days)) as source:
                (one,) = messages(source, listing(source, INBOX)).values()
                assert one.flags == frozenset(flags)


# What check tells


def remarks(replies: dict[bytes, Reply] | None = None, **wishes: object) -> str:
    """Return what ``check`` tells of a server, as one text."""
    server = CannedServer(MAILS, replies, **wishes)  # type: ignore[arg-type]
    with server, open_source(server.options, server.credentials, Clock()) as source:
        return "\n".join(f"{remark.level}: {remark.text} {remark.remedy}" for remark in source.remarks())


def test_check_tells_what_pop3_does_not_bring() -> None:
    """The inbox only, without flags; and here without encryption."""
    told = remarks()
    assert "inbox only" in told
    assert "local archives" in told
    assert "not encrypted" in told
    assert "later passes cost one list" in told


def test_check_tells_what_a_server_lacks() -> None:
    """No CAPA, UIDL, TOP, PIPELINING, and sizes that are guesses."""
    unknown = b"-ERR unknown command\r\n"
    told = remarks({b"UIDL": unknown, b"TOP": unknown}, capabilities=None)
    for word in ("CAPA", "UIDL", "TOP", "PIPELINING"):
        assert f"({word})" in told or f"no {word}" in told
    assert "not exact" in remarks(sizes=[1] * 6)


@pytest.mark.parametrize(
    ("words", "told"),
    [(b"EXPIRE 0", "EXPIRE 0"), (b"EXPIRE 30 USER", "after 30 days"), (b"EXPIRE NEVER", "")],
)
def test_check_warns_where_the_server_deletes_what_was_read(words: bytes, told: str) -> None:
    """A provider that does not let mail stay tells so by EXPIRE (RFC 2449 §6.7)."""
    text = remarks(capabilities=[b"TOP", b"UIDL", b"USER", b"PIPELINING", words])
    assert ("warning: the server" in text) is bool(told)
    assert told in text


@pytest.mark.parametrize(
    ("host", "user", "told"),
    [
        ("pop.gmail.com", "anna@gmail.com", ["until it was read once", "imap.gmail.com", "recent:ADDRESS"]),
        ("POP.GMAIL.COM.", "recent:anna@gmail.com", ["last 30 days"]),
        ("outlook.office365.com", "anna@example.org", ["takes no passwords", "estimates sizes"]),
        ("notgmail.com", "anna@example.org", []),
    ],
)
def test_check_tells_of_providers_peculiarities(host: str, user: str, told: list[str]) -> None:
    """Gmail shows a message once, Exchange guesses sizes."""
    with CannedServer(MAILS) as server, opened(server) as source:
        options = evolve(server.options, host=host)
        found = list(remarks_of(source.connection, options, user, source._listed()))
    text = "\n".join(f"{remark.text} {remark.remedy}" for remark in found)
    assert all(word in text for word in told)
    assert ("Gmail" in text or "Exchange" in text) is bool(told)
