"""How many commands and round trips the plug-in needs of a real Dovecot: the number, and never a duration."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from attrs import define, field

from alimail_core.model import INBOX, Changes, Delivery, Folder, FolderPath, Message, Stored
from alimail_core.testing.proxy import DelayProxy, Session
from alimail_core.testing.servers import Dovecot
from alimail_core.testing.streams import Item, Line
from alimail_imap.options import ImapOptions
from alimail_imap.sink import ImapSink
from alimail_imap.source import ImapSource
from alimail_imap.testing import credentials_for, options_for
from alimail_imap.tokens import Response
from alimail_imap.wire import Wire

pytestmark = pytest.mark.server


class _Counted(Session):
    """Notes the commands that pass."""

    async def command(self, item: Item) -> None:
        """Pass it on."""
        if isinstance(item, Line) and item.first:
            assert isinstance(self.proxy, CountingProxy)
            self.proxy.commands.append(item.octets.partition(b" ")[2].rstrip())
        await super().command(item)


@define(eq=False)
class CountingProxy(DelayProxy):
    """A proxy that knows what was asked."""

    commands: list[bytes] = field(factory=list)
    session = _Counted

    def count(self, word: bytes) -> int:
        """Return how many commands began with a word."""
        return sum(command.startswith(word) for command in self.commands)

    def options(self) -> ImapOptions:
        """Return options that lead through this proxy."""
        return ImapOptions(host=self.host, port=self.port, tls="none", timeout=20.0)


@pytest.fixture(scope="module")
def maildirs() -> Iterator[Dovecot]:
    """A Dovecot whose mailboxes are quickly filled."""
    with Dovecot() as server:
        yield server


@pytest.fixture
def proxy(maildirs: Dovecot) -> Iterator[CountingProxy]:
    """A way to it on which commands are counted."""
    with CountingProxy((maildirs.host, maildirs.imap_port)) as running:
        yield running


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let little wait in our sockets, so that the server soon waits for us."""

    def connect(address: tuple[str, int], *_: Any) -> socket.socket:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
        sock.connect(address)
        return sock

    monkeypatch.setattr(socket, "create_connection", connect)


@define
class Turns:
    """Counts how often an answer is waited for after something was sent: each time costs a round trip."""

    count: int = 0
    _sent: bool = False

    def sent(self) -> None:
        """Something was written."""
        self._sent = True

    def waited(self) -> None:
        """An answer is read: only the first one after something was sent was waited for."""
        self.count += self._sent
        self._sent = False

    def taken(self) -> int:
        """Return how many there were since this was asked last."""
        count, self.count = self.count, 0
        return count


@pytest.fixture
def turns(monkeypatch: pytest.MonkeyPatch) -> Turns:
    """Count the turns of all connections; for what is done over one at a time."""
    counted = Turns()
    write, read = Wire.write, Wire.read

    def counted_write(self: Wire, chunks: Iterable[bytes]) -> None:
        counted.sent()
        write(self, chunks)

    def counted_read(self: Wire) -> Response:
        counted.waited()
        return read(self)

    monkeypatch.setattr(Wire, "write", counted_write)
    monkeypatch.setattr(Wire, "read", counted_read)
    return counted


def test_a_source_is_listed_in_three_round_trips(maildirs: Dovecot, turns: Turns) -> None:
    """Login; all that is asked of a mailbox, its folders and their sizes among it; and what is in them."""
    user = maildirs.new_user()
    for number in range(5):
        maildirs.deliver(user, (f"Box {number}",), b"Subject: one\r\n\r\n")
    with ImapSource.open(options_for(maildirs), credentials_for(maildirs, user)) as source:
        assert turns.taken() == 1
        folders = list(source.folders())
        assert turns.taken() == 1
        assert {folder.messages for folder in folders} == {0, 1}
        pages = list(source.changes((folder, None) for folder in folders))
        assert turns.taken() == 1
    assert len(pages) == len(folders) == 6


def test_a_target_is_made_listed_and_read_back_in_one_round_trip_each(
    maildirs: Dovecot, turns: Turns
) -> None:
    """Its naming and its folders are asked together, what stands in old folders while new ones are made, and what was
    written to is not asked whether it has changed.
    """
    user = maildirs.new_user()
    maildirs.deliver(user, INBOX, b"Subject: here already\r\n\r\n")
    wanted: list[tuple[FolderPath, None]] = [((f"Box {number}",), None) for number in range(4)]
    with ImapSink.open(options_for(maildirs), credentials_for(maildirs, user)) as sink:
        assert turns.taken() == 1
        assert sink.traits.rules.delimiter == "/"
        assert turns.taken() == 1
        there = list(sink.folders())
        assert turns.taken() == 0
        assert [folder.path for folder in there] == [folder.path for folder in sink.folders()] == [INBOX]
        assert turns.taken() == 1
        made = [folder for folder in sink.create(wanted) if isinstance(folder, Folder)]
        assert turns.taken() == 1
        folders = [*there, *made]
        cursors = {
            page.folder.path: page.cursor
            for page in sink.changes((folder, None) for folder in folders)
            if isinstance(page, Changes)
        }
        assert turns.taken() == 1
        batch = [Delivery(number, folder, b"Subject: new\r\n\r\n") for number, folder in enumerate(folders)]
        assert all(isinstance(outcome, Stored) for outcome in sink.append([batch]))
        turns.taken()
        pages = list(sink.changes((folder, cursors[folder.path]) for folder in folders))
        assert turns.taken() == 1
        assert [len(page.entries) for page in pages if isinstance(page, Changes)] == [2, 1, 1, 1, 1]
        again = list(sink.changes((folder, cursors[folder.path]) for folder in folders))
        assert len(again) == len(folders)


@pytest.mark.usefixtures("narrow")
def test_a_slow_reader_asks_for_each_message_once(maildirs: Dovecot, proxy: CountingProxy) -> None:
    """A Dovecot that waits for us answers two FETCHs side by side, and all the same nothing is asked for again."""
    user, line = maildirs.new_user(), b"x" * 78 + b"\r\n"
    for number in range(1_500):
        maildirs.deliver(user, INBOX, b"Message-ID: <%d@example.org>\r\n\r\n" % number + line * 100)
    with ImapSource.open(proxy.options(), credentials_for(maildirs, user)) as source:
        pages = list(source.changes([(Folder(INBOX), None)]))
        entries = [entry for page in pages if isinstance(page, Changes) for entry in page.entries]
        answers = list(source.fetch([(Folder(INBOX), entries)]))
    assert len(answers) == 1_500
    assert all(isinstance(answer, Message) for answer in answers)
    assert proxy.count(b"UID FETCH") == 3


def test_folders_are_measured_as_they_are_listed(maildirs: Dovecot, proxy: CountingProxy) -> None:
    """Messages and octets of each folder are known from the list on, without a question more."""
    user = maildirs.new_user()
    for number in range(1, 4):
        for _ in range(number):
            maildirs.deliver(user, (f"Box {number}",), b"Subject: sized\r\n\r\n" + b"x" * number + b"\r\n")
    with ImapSource.open(proxy.options(), credentials_for(maildirs, user)) as source:
        found = {folder.path: (folder.messages, folder.octets) for folder in source.folders()}
    assert found == {INBOX: (0, 0), ("Box 1",): (1, 21), ("Box 2",): (2, 44), ("Box 3",): (3, 69)}
    assert (proxy.count(b"LIST"), proxy.count(b"STATUS")) == (1, 0)


def test_many_folders_are_made_between_two_listings(maildirs: Dovecot, proxy: CountingProxy) -> None:
    """A real server makes folders whose commands come all at once, parents before what is beneath them.

    Those that are there are subscribed to, all at once as well.
    """
    wanted: list[tuple[FolderPath, None]] = [((f"{number}", "a", "b"), None) for number in range(100)]
    with ImapSink.open(proxy.options(), credentials_for(maildirs, maildirs.new_user())) as sink:
        made = list(sink.create(wanted))
        again = list(sink.create(wanted))
    assert (
        [folder.path for folder in made] == [folder.path for folder in again] == [path for path, _ in wanted]
    )
    assert all(isinstance(folder, Folder) and folder.selectable for folder in made)
    assert [proxy.count(word) for word in (b"CREATE", b"SUBSCRIBE", b"LIST")] == [300, 400, 3]
