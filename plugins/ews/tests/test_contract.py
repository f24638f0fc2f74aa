"""The contract's own suite over Exchange servers: of several ages, by each kind of access, and with little of EWS."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC
from pathlib import Path
from typing import Any, ClassVar

import pytest

from alimail_core import INBOX, Credentials, FolderPath, Source
from alimail_core.identity import content_digest
from alimail_core.testing.asking import Mail
from alimail_core.testing.source_contract import SourceContract
from alimail_ews.options import EwsOptions
from alimail_ews.source import EwsSource
from tests.exchange import EXCHANGE_2007, EXCHANGE_2010, ExchangeServer, Habits, Item
from tests.exchange.faults import LOST, refused

FLAGS = ("\\Seen", "\\Answered", "\\Flagged", "\\Draft", "$Forwarded")
NEVER_ENDING = float("inf")


class OverEws(SourceContract):
    """What is the same for every server."""

    can_add = True
    can_delete = True
    can_flag = True
    can_renumber = True
    can_break = True
    wishes: ClassVar[Mapping[str, Any]] = {}
    """Of the server."""
    options: ClassVar[Mapping[str, Any]] = {"master_user": "svc"}

    @pytest.fixture(autouse=True)
    def _end_server(self) -> Iterator[None]:
        with ExitStack() as self.servers:
            yield

    def make(self, tmp_path: Path, folders: Mapping[FolderPath, Sequence[Mail]]) -> Callable[[], Source]:
        habits = Habits(renders_anew=False)
        self.server = self.servers.enter_context(ExchangeServer(**{"habits": habits, **self.wishes}))
        organisation = self.server.organisation
        self.amy = organisation.add_mailbox("amy", password="secret", language="zh")
        organisation.add_account("svc", "secret", impersonates=["*"])
        self.amy.delegates.add("OLD\\svc")
        self.prepare()
        for path, mails in folders.items():
            self.amy.folder(_place(path))
            for mail in mails:
                self.add(path, mail)
        options = EwsOptions(
            "localhost",
            self.server.port,
            "implicit" if self.server.tls else "none",
            ca=self.server.ca_file if self.server.tls else None,
            timeout=10.0,
            **self.options,
        )
        user = self.options.get("mailbox") and "svc"

        def open_source() -> Source:
            self.server.faults.clear()
            self.prepare()
            return EwsSource.open(options, Credentials(user or self.amy.address, lambda: "secret"))

        return open_source

    def prepare(self) -> None:
        """Let the server be as it is in each session."""

    def add(self, path: FolderPath, mail: Mail) -> None:
        date = mail.internal_date.astimezone(UTC) if mail.internal_date else None
        words = tuple(mail.flags - set(FLAGS))
        self.amy.deliver(_place(path), mail.octets, received=date, flags=mail.flags, categories=words)

    def delete(self, path: FolderPath, key: str) -> None:
        self.amy.remove(self._item(key))

    def flag(self, path: FolderPath, key: str, flags: frozenset[str]) -> None:
        status = "Flagged" if "\\Flagged" in flags else "NotFlagged"
        self.amy.change(self._item(key), is_read="\\Seen" in flags, flag_status=status)

    def renumber(self, path: FolderPath) -> None:
        self.amy.relocate()

    def break_connection(self, source: Source) -> None:
        self.server.faults.add(LOST, times=NEVER_ENDING)

    def _item(self, key: str) -> Item:
        item = self.server.organisation.find(key)[2]
        assert item is not None
        return item


def _place(path: FolderPath) -> FolderPath | str:
    return "inbox" if path == INBOX else path


class TestNewest(OverEws):
    """By impersonation and NTLM."""


@pytest.mark.slow
class TestExchange2007(OverEws):
    """Everybody his own mailbox, by Basic in clear, over one connection."""

    wishes: ClassVar[Mapping[str, Any]] = {"version": EXCHANGE_2007, "tls": False}
    options: ClassVar[Mapping[str, Any]] = {"auth": "basic", "mailbox_connections": 1}


@pytest.mark.slow
class TestWithoutSync(OverEws):
    """A delegate with FullAccess, at a server that tells no changes: FindItem lists, a page at a time."""

    wishes: ClassVar[Mapping[str, Any]] = {
        "version": EXCHANGE_2010,
        "habits": Habits(renders_anew=False, find_limit=3),
    }
    options: ClassVar[Mapping[str, Any]] = {"mailbox": "amy@old.example", "access": "delegate"}

    def prepare(self) -> None:
        fault = refused("ErrorInvalidOperation", "This operation is not here.")
        self.server.faults.add(fault, operation="SyncFolderItems", times=NEVER_ENDING)


@pytest.mark.slow
class TestWhatIsRenderedAnew(OverEws):
    """Octets that differ at each reading, in pages of three."""

    wishes: ClassVar[Mapping[str, Any]] = {
        "tls": False,
        "habits": Habits(renders_anew=True, sync_limit=3),
    }

    def same(self, given: bytes, got: bytes) -> bool:
        lines = (sorted(given.splitlines()), sorted(got.splitlines()))
        return lines[0] == lines[1] or content_digest(given) == content_digest(got)
