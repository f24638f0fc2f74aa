"""Small folders that are listed many in a round trip, and those that then have to be asked by themselves."""

from __future__ import annotations

import pytest
from attrs import evolve

from alimail_core.model import Changes, Entry, Folder, Message, Unusable
from alimail_imap.listing import SMALL
from alimail_imap.sink import ImapSink
from alimail_imap.source import ImapSource
from alimail_imap.testing import CannedServer, Reply

CLOCK = 1_700_000_000
DATE = b'INTERNALDATE "01-Jan-2020 00:00:01 +0000"'
FOLDERS = [Folder((name,), messages=2) for name in ("a", "b", "c")]


class Mailbox:
    """Three folders of two messages each, on a server that opens them in whatever order it is told."""

    def __init__(self, **said: bytes) -> None:
        self._open = b""
        self._said = {name.encode(): words for name, words in said.items()}
        """By folder: what is said, once, in place of its listing."""

    def open(self, command: bytes) -> bytes:
        """Answer SELECT and EXAMINE."""
        self._open = command.split()[-1].strip(b'"')
        return b"* 2 EXISTS\r\n* OK [UIDVALIDITY %d] ok\r\n* OK [UIDNEXT 3] ok\r\n" % CLOCK

    def listing(self, _: bytes) -> bytes:
        """Answer FETCH of everything."""
        if self._open in self._said:
            return self._said.pop(self._open)
        return self.line(1) + self.line(2)

    def line(self, number: int) -> bytes:
        """Tell of one message; its size tells the folder."""
        told = (number, number, DATE, ord(self._open))
        return b"* %d FETCH (UID %d FLAGS () %s RFC822.SIZE %d)\r\n" % told

    def replies(self) -> dict[bytes, Reply]:
        """Return what a server says that has these folders."""
        return {
            b"SELECT": self.open,
            b"EXAMINE": self.open,
            b"UID FETCH 1:*": self.listing,
            b"FETCH 1:2": self.listing,
        }


def listed(found: list[Changes | Unusable]) -> list[tuple[str, list[tuple[str, int | None]]]]:
    """Return each answer's folder, with key and size of what it tells."""
    return [
        (page.folder.path[0], [(entry.key, entry.size) for entry in page.entries])
        for page in found
        if isinstance(page, Changes)
    ]


ALL = [(name, [(f"{CLOCK}/{uid}", ord(name)) for uid in (1, 2)]) for name in "abc"]


@pytest.mark.parametrize(("late_to", "late"), [(b"SELECT", 3), (b"UID FETCH", 2)])
def test_small_folders_share_a_round_trip(late_to: bytes, late: int) -> None:
    """A server that answers nothing before the next command has come is not waited for in vain."""
    server = CannedServer(Mailbox().replies(), late=late, late_to=late_to)
    with server, ImapSink.open(server.options, server.credentials) as sink:
        found = list(sink.changes((folder, None) for folder in FOLDERS))
    assert listed(found) == ALL
    assert all(isinstance(page, Changes) and page.complete and page.cursor for page in found)


def test_one_folder_shows_how_folders_are_opened() -> None:
    """What EXAMINE is on this server is found out with the first of them, and not with all at once."""
    server = CannedServer(Mailbox().replies(), late=2, late_to=b"UID FETCH")
    with server, ImapSource.open(server.options, server.credentials) as source:
        found = list(source.changes((folder, None) for folder in FOLDERS))
    assert listed(found) == ALL
    assert len(server.commands(b"EXAMINE")) == 1 + len(FOLDERS)


@pytest.mark.parametrize(
    "odd",
    [
        b"* 2 FETCH (UID 2 FLAGS () %s RFC822.SIZE 98)\r\n" % DATE,
        b"* 1 EXPUNGE\r\n",
        b"{tag} NO [SERVERBUG] not now\r\n",
        b"* 1 FETCH (FLAGS (\\Seen))\r\n",
    ],
)
def test_a_folder_that_was_not_told_whole_is_asked_by_itself(odd: bytes) -> None:
    """A message that is missing, or went meanwhile, and a server that says no, cost the others nothing."""
    server = CannedServer(Mailbox(b=odd).replies())
    with server, ImapSource.open(server.options, server.credentials) as source:
        found = list(source.changes((folder, None) for folder in FOLDERS))
    assert listed(found) == ALL
    assert [command for command in server.commands(b"FETCH") if command.startswith(b"FETCH 1:2")] != []


def test_a_folder_that_does_not_open_is_told_in_its_place() -> None:
    """What is said after a refused SELECT is of no folder that was asked for."""
    replies = Mailbox().replies() | {b'SELECT "b"': b"{tag} NO [NOPERM] not yours\r\n"}
    server = CannedServer(replies)
    with server, ImapSink.open(server.options, server.credentials) as sink:
        found = list(sink.changes((folder, None) for folder in FOLDERS))
    assert isinstance(found[1], Unusable)
    assert listed(found) == [ALL[0], ALL[2]]


def test_a_large_folder_is_asked_by_itself() -> None:
    """What is held in memory at once is small."""
    large = evolve(FOLDERS[1], messages=SMALL + 1)
    server = CannedServer(Mailbox().replies())
    with server, ImapSink.open(server.options, server.credentials) as sink:
        found = list(sink.changes((folder, None) for folder in (FOLDERS[0], large, FOLDERS[2])))
    assert listed(found) == ALL
    assert len(server.commands(b"UID FETCH 1:*")) == 2


CURSOR = {
    "uidvalidity": CLOCK,
    "marker": 0,
    "uidnext": 3,
    "modseq": None,
    "exists": 2,
    "witnesses": [[1, 4711, "2020-01-01T00:00:01+00:00"]],
    "storable": None,
}


def test_a_folder_that_was_small_and_has_grown_is_asked_by_itself() -> None:
    """Without CONDSTORE the cursor alone tells a size, and that is the one of long ago."""
    grown = b"* STATUS b (MESSAGES %d)\r\n" % (SMALL + 1)
    server = CannedServer(Mailbox().replies() | {b"STATUS b": grown, b'STATUS "b"': grown})
    with server, ImapSink.open(server.options, server.credentials) as sink:
        list(sink.changes((folder, CURSOR) for folder in FOLDERS))
    assert len(server.commands(b"UID FETCH 1:*")) == 2


def test_what_was_known_of_a_small_folder_is_held_against_its_listing() -> None:
    """A UID that names another message than before begins a new epoch, without a further question."""
    server = CannedServer(Mailbox().replies())
    with server, ImapSink.open(server.options, server.credentials) as sink:
        found = list(sink.changes((folder, CURSOR) for folder in FOLDERS))
    assert [page.epoch for page in found if isinstance(page, Changes)] == [f"{CLOCK}.1"] * 3
    assert not [command for command in server.commands(b"UID FETCH") if b"1:*" not in command]


def test_small_folders_are_read_with_many_commands_in_flight() -> None:
    """A server that keeps each FETCH waiting for the next command is not waited for in vain."""

    def fetch(_: bytes) -> bytes:
        return b"* 1 FETCH (UID 1 RFC822.SIZE 2 %s BODY[] {2}\r\nhi)\r\n" % DATE

    replies = Mailbox().replies() | {b"UID FETCH 1 ": fetch}
    folders = [Folder((name,)) for name in "abcdefgh"]
    server = CannedServer(replies, late=len(folders) - 1, late_to=b"UID FETCH 1 ")
    with server, ImapSource.open(server.options, server.credentials) as source:
        answers = list(source.fetch((folder, [Entry(f"{CLOCK}/1", 2)]) for folder in folders))
        assert [answer.folder for answer in answers] == [folder.path for folder in folders]
        assert all(isinstance(answer, Message) and answer.octets == b"hi" for answer in answers)
