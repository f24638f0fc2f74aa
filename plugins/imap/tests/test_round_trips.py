"""How many commands the plug-in needs of a real Dovecot, counted on the way: the number, and never a duration."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from attrs import define, field

from alimail_core.model import INBOX, Changes, Folder, FolderPath, Message
from alimail_core.testing.proxy import DelayProxy, Session
from alimail_core.testing.servers import Dovecot
from alimail_core.testing.streams import Item, Line
from alimail_imap.options import ImapOptions
from alimail_imap.sink import ImapSink
from alimail_imap.source import ImapSource
from alimail_imap.testing import credentials_for

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


def test_folders_are_measured_by_one_status_each(maildirs: Dovecot, proxy: CountingProxy) -> None:
    """Messages and octets of each folder are known from the list on."""
    user = maildirs.new_user()
    for number in range(1, 4):
        for _ in range(number):
            maildirs.deliver(user, (f"Box {number}",), b"Subject: sized\r\n\r\n" + b"x" * number + b"\r\n")
    with ImapSource.open(proxy.options(), credentials_for(maildirs, user)) as source:
        found = {folder.path: (folder.messages, folder.octets) for folder in source.folders()}
    assert found == {INBOX: (0, 0), ("Box 1",): (1, 21), ("Box 2",): (2, 44), ("Box 3",): (3, 69)}
    assert (proxy.count(b"LIST"), proxy.count(b"STATUS")) == (1, 4)


def test_many_folders_are_made_between_two_listings(maildirs: Dovecot, proxy: CountingProxy) -> None:
    """A real server makes folders whose commands come all at once, parents before what is beneath them."""
    wanted: list[tuple[FolderPath, None]] = [((f"{number}", "a", "b"), None) for number in range(100)]
    with ImapSink.open(proxy.options(), credentials_for(maildirs, maildirs.new_user())) as sink:
        made = list(sink.create(wanted))
        again = list(sink.create(wanted))
    assert (
        [folder.path for folder in made] == [folder.path for folder in again] == [path for path, _ in wanted]
    )
    assert all(isinstance(folder, Folder) and folder.selectable for folder in made)
    assert [proxy.count(word) for word in (b"CREATE", b"SUBSCRIBE", b"LIST")] == [300, 300, 3]
