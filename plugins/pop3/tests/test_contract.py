"""The contract's own suite, over a real Dovecot, and over a server that has nothing but what must be there."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar

import pytest

from alimail_core.contract import Source
from alimail_core.model import FolderPath
from alimail_core.seam import Clock
from alimail_core.testing.asking import Mail
from alimail_core.testing.servers import Dovecot
from alimail_core.testing.source_contract import SourceContract
from alimail_pop3.source import Pop3Source
from alimail_pop3.testing import CannedServer, credentials_for, options_for


class OverPop3(SourceContract):
    """What is the same for every server."""

    holds_folders = False
    keeps_flags = False
    keeps_keywords = False
    keeps_dates = False
    can_break = True

    def break_connection(self, source: Source) -> None:
        assert isinstance(source, Pop3Source)
        source.connection.wire._sock.shutdown(socket.SHUT_RDWR)


@pytest.mark.server
class TestDovecot(OverPop3):
    """A server with UIDL, TOP and PIPELINING, and others at work in the same mailbox."""

    can_add = True
    can_delete = True
    dovecot: Dovecot

    @pytest.fixture(autouse=True)
    def _choose_server(self, pop3_server: Dovecot) -> None:
        self.dovecot = pop3_server

    def make(self, tmp_path: Path, folders: Mapping[FolderPath, Sequence[Mail]]) -> Callable[[], Source]:
        self.user = self.dovecot.new_user("contract")
        for path, mails in folders.items():
            for mail in mails:
                self.add(path, mail)
        options, credentials = options_for(self.dovecot), credentials_for(self.dovecot, self.user)
        return lambda: Pop3Source(options, credentials, Clock())

    def takes(self, octets: bytes) -> bool:
        return octets != b""

    def same(self, given: bytes, got: bytes) -> bool:
        """Dovecot mends line ends as it stores a message."""
        mended = re.sub(rb"\r*\n", b"\r\n", given)
        return mended.removesuffix(b"\r") == got

    def add(self, path: FolderPath, mail: Mail) -> None:
        self.dovecot.append(self.user, path, mail.octets, flags=mail.flags, date=mail.internal_date)

    def delete(self, path: FolderPath, key: str) -> None:
        with self.dovecot.direct(self.user) as imap:
            imap.select("INBOX")
            uid = key.removeprefix("uidl/")[:8]
            assert imap.uid("STORE", str(int(uid, 16)), "+FLAGS.SILENT", "(\\Deleted)")[0] == "OK"
            imap.expunge()


class Canned(OverPop3):
    """A server of ours."""

    capabilities: ClassVar[Sequence[bytes] | None] = (b"TOP", b"UIDL", b"USER", b"PIPELINING")
    replies: ClassVar[Mapping[bytes, bytes]] = {}

    @pytest.fixture(autouse=True)
    def _end_server(self) -> Iterator[None]:
        with ExitStack() as self.servers:
            yield

    def make(self, tmp_path: Path, folders: Mapping[FolderPath, Sequence[Mail]]) -> Callable[[], Source]:
        octets = [mail.octets for mails in folders.values() for mail in mails]
        server = CannedServer(octets, capabilities=self.capabilities, replies=self.replies)
        self.servers.enter_context(server)
        return lambda: Pop3Source(server.options, server.credentials, Clock())

    def takes(self, octets: bytes) -> bool:
        return octets.endswith(b"\r\n") or octets == b""


class TestCanned(Canned):
    """A server with everything, whose list tells exact sizes."""

    def takes(self, octets: bytes) -> bool:
        return True


class TestPoor(Canned):
    """A server with nothing but what RFC 1939 demands of all."""

    capabilities = None
    replies: ClassVar[Mapping[bytes, bytes]] = dict.fromkeys([b"UIDL", b"TOP"], b"-ERR unknown command\r\n")
