"""The contract's own suites, over real Dovecots."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest

from alimail_core.contract import Sink, Source
from alimail_core.model import INBOX, FolderPath
from alimail_core.testing import asking
from alimail_core.testing.servers import Dovecot
from alimail_core.testing.sink_contract import SinkContract
from alimail_imap.append import AppendStrategy, Multi, Pipelined
from alimail_imap.session import Key
from alimail_imap.sink import ImapSink
from alimail_imap.source import ImapSource
from alimail_imap.spread import Spread
from alimail_imap.testing import credentials_for, options_for


class OverDovecot(SinkContract):
    """What is the same for every Dovecot."""

    dovecot: Dovecot
    strategy: ClassVar[AppendStrategy] = Multi()
    can_break = True
    can_renumber = True
    tells_news = True

    @pytest.fixture(autouse=True)
    def _choose_server(self, rich: Dovecot) -> None:
        self.dovecot = rich

    def make_sink(self, tmp_path: Path) -> Callable[[], Sink]:
        self.user = self.dovecot.new_user("contract")
        options, credentials = options_for(self.dovecot), credentials_for(self.dovecot, self.user)
        return lambda: ImapSink.open(options, credentials, choose=lambda _: type(self).strategy)

    def takes(self, octets: bytes) -> bool:
        return octets != b""

    def same(self, given: bytes, got: bytes) -> bool:
        """Dovecot mends line ends, and writes NUL, which RFC 9051 forbids in a literal, as another octet."""
        mended = re.sub(rb"\r*\n", b"\r\n", given).replace(b"\0", b"\x80")
        return mended.removesuffix(b"\r") == got

    def break_connection(self, source: Source) -> None:
        assert isinstance(source, ImapSource)
        # Past TLS, which must not be shut down while another thread reads it.
        socket.socket.shutdown(source.session.connection.wire._sock, socket.SHUT_RDWR)

    def flag(self, path: FolderPath, key: str, flags: frozenset[str]) -> None:
        with ImapSink.open(options_for(self.dovecot), credentials_for(self.dovecot, self.user)) as sink:
            sink.session.select(asking.folder_of(sink, path), write=True)
            parsed = Key.parse(key)
            assert parsed is not None
            wish = b"(%s)" % " ".join(flags).encode()
            assert sink.session.run_refusable(b"UID STORE %d FLAGS " % parsed.uid, wish).ok

    def renumber(self, path: FolderPath) -> None:
        assert path == INBOX
        self.dovecot.doveadm("mailbox", "update", "-u", self.user, "--uid-validity", "1900000000", "INBOX")


@pytest.mark.server
class TestRich(OverDovecot):
    """MULTIAPPEND, LITERAL+, QRESYNC, MOVE."""


@pytest.mark.server
class TestPipelined(OverDovecot):
    """APPENDs in flight with LITERAL+."""

    strategy = Pipelined()


@pytest.mark.server
class TestPoor(OverDovecot):
    """What Alibaba Mail offers: UIDPLUS, and literals that wait."""

    strategy = Pipelined()

    @pytest.fixture(autouse=True)
    def _choose_server(self, poor: Dovecot) -> None:
        self.dovecot = poor


@pytest.mark.server
class TestSpread(TestPoor):
    """The same over several connections, which are opened for every message that waits."""

    def make_sink(self, tmp_path: Path) -> Callable[[], Sink]:
        self.user = self.dovecot.new_user("contract")
        options, credentials = options_for(self.dovecot), credentials_for(self.dovecot, self.user)
        return lambda: ImapSink.open(options, credentials, choose=lambda _: Spread(rounds=0))
