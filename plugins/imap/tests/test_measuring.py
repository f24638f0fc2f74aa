"""How much stands in each folder: hints that share their round trips and that no server owes us."""

from __future__ import annotations

import pytest

from alimail_core.errors import Transient
from alimail_core.model import INBOX, Folder
from alimail_imap.sink import ImapSink
from alimail_imap.source import ImapSource
from alimail_imap.testing import CLOSE, CannedServer, Reply

LIST = (
    b'* LIST () "/" inbox\r\n* LIST (\\Noselect) "/" "a"\r\n* LIST () "/" "a/NIL"\r\n* LIST () "/" NIL\r\n'
    b'* LIST () "/" {4}\r\nb"\xc3\xa4\r\n'
)
REPLIES: dict[bytes, Reply] = {
    b'LIST "" "*"': LIST,
    b'STATUS "INBOX"': b'* STATUS "Inbox" (MESSAGES 3 SIZE 300)\r\n',
    b'STATUS "a/NIL"': b"{tag} NO [NOPERM] denied\r\n",
    b'STATUS "NIL"': b"* STATUS NIL (MESSAGES 0 SIZE 0)\r\n",
    b"STATUS {4+}": b'* STATUS "other" (MESSAGES 9)\r\n* STATUS {4}\r\nb"\xc3\xa4 (SIZE 70 MESSAGES 7)\r\n',
}


def hints(folders: list[Folder]) -> list[tuple[int | None, int | None]]:
    """Return what is known of each folder."""
    return [(folder.messages, folder.octets) for folder in folders]


def test_each_folder_has_what_its_status_tells() -> None:
    """Whatever way its name is written; a container is not asked, and a refusal costs a hint alone."""
    with (
        CannedServer(REPLIES, capabilities=b"IMAP4rev1 LITERAL+ STATUS=SIZE") as server,
        ImapSource.open(server.options, server.credentials) as source,
    ):
        folders = list(source.folders())
    assert [folder.path for folder in folders[:3]] == [INBOX, ("a",), ("a", "NIL")]
    assert hints(folders) == [(3, 300), (None, None), (None, None), (0, 0), (7, 70)]
    assert len(server.commands(b"STATUS")) == 4


def test_all_folders_are_asked_together() -> None:
    """The next STATUS is with the server before the last is answered, and its octets are asked where told."""
    replies = REPLIES | {b"STATUS": b""}
    with (
        CannedServer(replies, capabilities=b"IMAP4rev1 LITERAL+", late=3, late_to=b"STATUS") as server,
        ImapSource.open(server.options, server.credentials) as source,
    ):
        assert len(list(source.folders())) == 5
    assert all(command.endswith(b" (MESSAGES)") for command in server.commands(b"STATUS"))


def test_a_name_that_needs_a_go_ahead_is_not_measured() -> None:
    """A hint is not worth a round trip of its own."""
    with (
        CannedServer(REPLIES, capabilities=b"IMAP4rev1 STATUS=SIZE") as server,
        ImapSource.open(server.options, server.credentials) as source,
    ):
        assert hints(list(source.folders()))[-1] == (None, None)
    assert len(server.commands(b"STATUS")) == 3


def test_a_server_tells_it_with_the_list_where_it_can() -> None:
    """So nothing more is asked (RFC 5819)."""
    told = LIST + b'* STATUS "Inbox" (MESSAGES 3)\r\n* STATUS {4}\r\nb"\xc3\xa4 (MESSAGES 7)\r\n'
    replies: dict[bytes, Reply] = {b'LIST "" "*" RETURN (SPECIAL-USE STATUS (MESSAGES))': told}
    with (
        CannedServer(replies, capabilities=b"IMAP4rev1 LIST-EXTENDED SPECIAL-USE LIST-STATUS") as server,
        ImapSource.open(server.options, server.credentials) as source,
    ):
        assert [known for known, _ in hints(list(source.folders()))] == [3, None, None, None, 7]
    assert not server.commands(b"STATUS")


def test_a_server_that_refuses_to_is_asked_by_the_folder() -> None:
    """Whatever it announces."""
    replies = {b'LIST "" "*" RETURN': b"{tag} BAD what?\r\n", **REPLIES}
    with (
        CannedServer(replies, capabilities=b"IMAP4rev1 LITERAL+ LIST-STATUS STATUS=SIZE") as server,
        ImapSource.open(server.options, server.credentials) as source,
    ):
        assert hints(list(source.folders()))[0] == (3, 300)
    assert len(server.commands(b"STATUS")) == 4


def test_what_a_connection_that_died_was_told_is_not_asked_again() -> None:
    """Nor what it died over; after a connection that ended in order all is asked anew."""
    with CannedServer(REPLIES, capabilities=b"IMAP4rev1 LITERAL+ STATUS=SIZE") as server:
        for answer, known in ((REPLIES[b'STATUS "INBOX"'], 3), (b"* STATUS" + CLOSE, None)):
            server.replies[b'STATUS "INBOX"'] = answer
            with ImapSource.open(server.options, server.credentials) as source:
                if known is None:
                    with pytest.raises(Transient):
                        list(source.folders())
                else:
                    assert hints(list(source.folders()))[0][0] == known
                source.session.connection.wire.fail("it dies")
            asked = len(server.commands(b"STATUS"))
            with ImapSource.open(server.options, server.credentials) as source:
                assert hints(list(source.folders()))[0][0] == known
            assert len(server.commands(b"STATUS")) == asked
        server.replies[b'STATUS "INBOX"'] = REPLIES[b'STATUS "INBOX"']
        with ImapSource.open(server.options, server.credentials) as source:
            assert hints(list(source.folders()))[0][0] == 3
    assert len(server.commands(b"STATUS")) > asked


def test_a_sink_is_not_measured() -> None:
    """Nobody asks how much stands in a target's folders."""
    with CannedServer(REPLIES) as server, ImapSink.open(server.options, server.credentials) as sink:
        assert len(list(sink.folders())) == 5
    assert not server.commands(b"STATUS")
