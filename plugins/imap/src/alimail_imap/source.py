"""IMAP as a source."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from alimail_core import (
    Changes,
    Clock,
    Credentials,
    Cursor,
    Entry,
    Folder,
    Gone,
    Headers,
    Message,
    Remark,
    Source,
    Traits,
    Unreadable,
    Unusable,
)
from alimail_imap.idle import wait_for_mail
from alimail_imap.listing import Lister
from alimail_imap.options import ImapOptions
from alimail_imap.reading import Reader
from alimail_imap.remarks import remarks_of
from alimail_imap.session import Session


class ImapSource(Source):
    """A mailbox on an IMAP server, read only: folders are opened with EXAMINE, octets read with BODY.PEEK."""

    def __init__(self, session: Session, *, write: bool = False) -> None:
        self.session = session
        self._lister = Lister(session, write=write)
        self._reader = Reader(session)

    @classmethod
    def open(cls, options: ImapOptions, credentials: Credentials) -> ImapSource:
        """Connect and log in. Raises what ``SourceKind.open`` does."""
        return cls(Session.open(options, credentials))

    @property
    def traits(self) -> Traits:
        """What this server is like."""
        options = self.session.options
        return Traits(
            tells_news=self.session.connection.offers("IDLE"),
            max_connections=options.max_connections,
            host=options.host,
        )

    def folders(self) -> Iterable[Folder]:
        """List the folders of the personal namespace, with how much stands in each."""
        return self.session.list_folders(measured=True)

    def changes(self, requests: Iterable[tuple[Folder, Cursor | None]]) -> Iterator[Changes | Unusable]:
        """Tell what changed: by QRESYNC or CONDSTORE where the server has them, else by a whole listing."""
        return self._lister.changes(requests)

    def headers(self, folder: Folder, entries: Sequence[Entry]) -> Iterator[Headers]:
        """Give the fingerprint's header fields."""
        return self._reader.headers(folder, entries)

    def fetch(
        self, requests: Iterable[tuple[Folder, Sequence[Entry]]]
    ) -> Iterator[Message | Gone | Unreadable]:
        """Fetch messages, the next command always in flight."""
        return self._reader.fetch(requests)

    def look(self, folder: Folder, keys: Sequence[str]) -> Iterator[Entry]:
        """List those of the keys that exist at this moment."""
        return self._reader.look(folder, keys)

    def wait(self, folder: Folder, cursor: Cursor, over: Callable[[], bool]) -> bool:
        """Let the server tell of new mail by IDLE."""
        return wait_for_mail(self.session, folder, cursor, over)

    def remarks(self) -> Iterable[Remark]:
        """Tell what the server can do and cannot, and how the connection is protected."""
        return remarks_of(self.session, sink=False)

    def close(self) -> None:
        """Log out."""
        self.session.close()


def open_source(options: ImapOptions, credentials: Credentials, clock: Clock) -> ImapSource:
    """Connect and log in. See ``SourceKind.open``."""
    return ImapSource.open(options, credentials)
