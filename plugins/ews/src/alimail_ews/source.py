"""Exchange as a source."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from alimail_core import (
    Changes,
    Clock,
    Credentials,
    Cursor,
    Denied,
    Entry,
    Folder,
    FolderPath,
    Gone,
    Headers,
    LeftBehind,
    Message,
    Refused,
    Remark,
    Source,
    Traits,
    Unreadable,
    Unusable,
)
from alimail_ews.folders import Folders, list_folders
from alimail_ews.listing import Lister
from alimail_ews.options import EwsOptions
from alimail_ews.reading import Reader, Sizes
from alimail_ews.remarks import remarks_of
from alimail_ews.session import Session


class EwsSource(Source):
    """A mailbox on an Exchange server, read only: no operation is ever asked for that changes anything."""

    def __init__(self, session: Session, *, public: bool = False) -> None:
        """``public``: the public folders come with this account."""
        self.session = session
        self._public = public
        self._executor = ThreadPoolExecutor(session.options.connections, "alimail-ews")
        sizes = Sizes()
        self._reader = Reader(session, self._executor, sizes, lambda folder: self._id_of(folder) is not None)
        self._lister = Lister(session, self._reader, self._executor, sizes, self._id_of, self._list)
        self._folders: Folders | None = None
        self._ids: dict[FolderPath, str] = {}

    @classmethod
    def open(cls, options: EwsOptions, credentials: Credentials, clock: Clock | None = None) -> EwsSource:
        """Log in and see whether the mailbox may be read. Raises what ``SourceKind.open`` does."""
        public = options.brings_public_folders(credentials.user)
        source = cls(Session.open(options, credentials, clock), public=public)
        try:
            source._list()
        except Refused as refused:
            source.close()
            raise Denied(refused.message, remedy=refused.remedy) from refused
        except BaseException:
            source.close()
            raise
        return source

    @property
    def traits(self) -> Traits:
        """What this server is like. Exchange writes each message anew whenever it gives it."""
        options = self.session.options
        return Traits(
            stable_octets=False,
            max_connections=max(1, options.max_connections // options.connections),
            host=options.host,
        )

    def folders(self) -> Iterable[Folder]:
        """List the folders that hold mail, and those that hold such folders."""
        return self._list().mail

    def changes(self, requests: Iterable[tuple[Folder, Cursor | None]]) -> Iterator[Changes | Unusable]:
        """Tell what changed: one request a folder where nothing has."""
        return self._lister.changes(requests)

    def headers(self, folder: Folder, entries: Sequence[Entry]) -> Iterator[Headers]:
        """Give the headers of messages."""
        return self._reader.headers(folder, entries)

    def fetch(
        self, requests: Iterable[tuple[Folder, Sequence[Entry]]]
    ) -> Iterator[Message | Gone | Unreadable]:
        """Give messages, several requests in flight."""
        return self._reader.fetch(requests)

    def look(self, folder: Folder, keys: Sequence[str]) -> Iterator[Entry]:
        """List those of the keys that exist at this moment."""
        return self._reader.look(keys) if self._id_of(folder) else iter(())

    def remarks(self) -> Iterable[Remark]:
        """Tell what the server is, how one got in, and what stays."""
        return remarks_of(self.session, self._list())

    def left_behind(self) -> Iterable[LeftBehind]:
        """Name calendars, contacts, tasks and the like that hold something, and folders of mail with such items."""
        among = [LeftBehind(path, number) for path, number in self._lister.others.items() if number]
        return [*(each for each in self._list().left_behind if each.items), *among]

    def close(self) -> None:
        """Let go of the server."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        self.session.close()

    def _list(self) -> Folders:
        if self._folders is None:
            self._folders = list_folders(self.session, self._executor, public=self._public)
            self._ids = {folder.path: folder.handle for folder in self._folders.mail if folder.selectable}
        return self._folders

    def _id_of(self, folder: Folder) -> str | None:
        return folder.handle or self._ids.get(folder.path)


def open_source(options: EwsOptions, credentials: Credentials, clock: Clock) -> EwsSource:
    """Connect and log in. See ``SourceKind.open``."""
    return EwsSource.open(options, credentials, clock)
