"""What a folder holds, and what changed in it: by SyncFolderItems, or by FindItem where a server has not got that."""

from __future__ import annotations

import contextlib
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from typing import Final, TypeAlias

from attrs import evolve, frozen

from alimail_core import Changes, Cursor, Entry, Folder, FolderPath, Refused, Unusable
from alimail_ews.answers import Node
from alimail_ews.flags import item_of
from alimail_ews.folders import Folders
from alimail_ews.grades import NO_FOLDER, NO_STATE, Saying, grade, saying_of
from alimail_ews.paging import Page, page_of, pages
from alimail_ews.parallel import ahead
from alimail_ews.reading import Reader, Sizes
from alimail_ews.session import Malformed, NotDone, Session
from alimail_ews.soap import find_items, sync_items

_CHANGES: Final = 512
"""The most changes that SyncFolderItems tells at once (MS-OXWSSYNC §3.1.4.2)."""
_PAGE: Final = 1_000
_TIMES: Final = 4
"""So often is what cannot be read asked for."""

_Asked: TypeAlias = tuple[Folder, Cursor | None]


@frozen
class _Page:
    """One answer of SyncFolderItems."""

    state: str
    is_last: bool
    items: list[Node]
    """Of what is new or changed."""
    read: list[str]
    """Keys of which only the mark as read is known to have changed."""
    gone: list[str]


class Lister:
    """Lists folders.

    ``id_of`` returns a folder's identifier, ``None`` where there is no such folder; ``known`` what was found of all.
    """

    def __init__(
        self,
        session: Session,
        reader: Reader,
        executor: Executor,
        sizes: Sizes,
        id_of: Callable[[Folder], str | None],
        known: Callable[[], Folders],
    ) -> None:
        self._session = session
        self._reader = reader
        self._executor = executor
        self._sizes = sizes
        self._id_of = id_of
        self._known = known
        self._can_sync = True
        self.others: Counter[FolderPath] = Counter()
        """What is no mail in folders of mail, as far as they were listed whole."""

    def changes(self, requests: Iterable[_Asked]) -> Iterator[Changes | Unusable]:
        """Tell what folders hold, or what changed in them; several folders are asked for at once."""
        connections = self._session.options.connections
        for (folder, _), first in ahead(self._executor, self._first, requests, connections):
            if isinstance(first, Unusable):
                yield first
            else:
                yield from self._told(folder, *first)

    def _first(self, asked: _Asked) -> Unusable | tuple[str, bool, _Page | Page]:
        """Ask for a folder's first page: its identifier, whether all of it is told, and the page.

        It is one of FindItem where the server does not tell changes.
        """
        folder, cursor = asked
        identifier = self._id_of(folder)
        if identifier is None:
            return Unusable(folder.path, "there is no such folder")
        known = self._known()
        if identifier in known.closed:
            return Unusable(folder.path, f"what lies beneath it is not told: {known.closed[identifier]}")
        state = _state(cursor, _epoch(identifier))
        try:
            if identifier in known.public:
                return self._first_public(folder, identifier)
            page = self._page(identifier, state)
            if isinstance(page, Saying) and page.code in NO_STATE and state is not None:
                state, page = None, self._page(identifier, None)
            if page is None:
                return identifier, True, self._found(identifier, 0)
        except (Refused, Malformed) as error:
            return Unusable(folder.path, error.message)
        if isinstance(page, Saying):
            return Unusable(folder.path, page.words)
        return identifier, state is None, page

    def _first_public(self, folder: Folder, identifier: str) -> Unusable | tuple[str, bool, Page]:
        """Ask for the first page of a public folder: SyncFolderItems is not made for these."""
        page = self._found(identifier, 0)
        if folder.messages and not page.items:
            return Unusable(
                folder.path,
                f"the server counts {folder.messages:,} items in it and lists none: the account may not read "
                "them, or they are in a public folder mailbox on another server",
            )
        return identifier, True, page

    def _page(self, identifier: str, state: str | None) -> _Page | Saying | None:
        """Ask for one page of changes; return what the server says instead, or ``None`` where it tells no changes.

        Raises what ``Session.ask`` does.
        """
        if not self._can_sync:
            return None
        try:
            answers = self._answers(sync_items(identifier, state, _CHANGES))
        except Refused as refused:
            # Some servers say by a fault what others say in a response message: of this folder, or of its state.
            if isinstance(refused, NotDone) and refused.saying.code in NO_STATE | NO_FOLDER:
                return refused.saying
            # Otherwise it is of an operation that the server has not got, or cannot do for anybody.
            if state is not None:
                raise
            self._can_sync = False
            return None
        if len(answers) != 1:
            raise Malformed("the server told of another number of folders than were asked for")
        saying = saying_of(answers[0])
        if saying.code == "NoError":
            return _page_of(answers[0])
        error = grade(saying)
        if not isinstance(error, Refused):
            raise error
        # What is said neither of the folder nor of its state is said of the operation: FindItem may do.
        return saying if state is not None or saying.code in NO_STATE | NO_FOLDER else None

    def _answers(self, operation: str) -> list[Node]:
        """Ask again for what cannot be read: only if it stays so, the folder is to blame."""
        for _ in range(_TIMES - 1):
            with contextlib.suppress(Malformed):
                return list(self._session.ask(operation))
        return list(self._session.ask(operation))

    def _told(self, folder: Folder, identifier: str, complete: bool, page: _Page | Page) -> Iterator[Changes]:
        if isinstance(page, Page):
            yield from self._by_pages(folder, identifier, page)
            return
        epoch, counted = _epoch(identifier), 0
        self.others[folder.path] = 0
        while True:
            cursor = {"epoch": epoch, "state": page.state} if page.is_last else None
            gone = () if complete else tuple(page.gone)
            # The next page comes while this one is worked on.
            coming = None if page.is_last else self._executor.submit(self._page, identifier, page.state)
            entries, others = self._entries(page)
            self.others[folder.path] += others if complete else 0
            counted += len(page.items)
            if complete and page.is_last and counted < (folder.messages or 0):
                yield from self._left_out(folder, identifier)
            yield Changes(folder, epoch, entries, gone, complete, cursor)
            if coming is None:
                return
            before, told = page.state, coming.result()
            if not isinstance(told, _Page):
                raise Malformed(
                    f"a listing broke off: {told.words if told else 'no changes are told any more'}"
                )
            page = told
            if page.state == before and not page.is_last:
                raise Malformed("a listing does not come to an end")

    def _left_out(self, folder: Folder, identifier: str) -> Iterator[Changes]:
        """Tell the folder by FindItem as well, where it counts more items than SyncFolderItems told.

        grommunio passes over items that it cannot read: they would be missed without a word. What is told twice does
        no harm, and a count that is wrong costs these requests.
        """
        with contextlib.suppress(Refused):
            first = self._found(identifier, 0)
            yield from (evolve(page, cursor=None) for page in self._by_pages(folder, identifier, first))

    def _entries(self, page: _Page) -> tuple[tuple[Entry, ...], int]:
        entries, others = self._mail(page.items)
        unknown = [key for key in page.read if key not in entries]
        # That the mark changed is told without the other flags.
        return (*entries.values(), *self._reader.look(unknown)), others

    def _mail(self, nodes: Iterable[Node]) -> tuple[dict[str, Entry], int]:
        """Return the entries of what is mail, by their keys, and how much is something else."""
        items = [item for node in nodes if (item := item_of(node)) is not None]
        mail = [item for item in items if item.is_mail]
        for item in mail:
            self._sizes.learn(item.entry.key, item.octets)
        return {item.entry.key: item.entry for item in mail}, len(items) - len(mail)

    def _by_pages(self, folder: Folder, identifier: str, first: Page) -> Iterator[Changes]:
        """Tell a whole folder by FindItem."""
        epoch = _epoch(identifier)

        def ask(offset: int) -> Page:
            try:
                return self._found(identifier, offset)
            except (
                Refused
            ) as error:  # what was told before stands, so the folder cannot be put aside any more
                raise Malformed(f"a listing broke off: {error.message}") from error

        self.others[folder.path] = 0
        for page in pages(ask, first):
            entries, others = self._mail(page.items)
            self.others[folder.path] += others
            cursor = {"epoch": epoch} if page.is_last else None
            yield Changes(folder, epoch, tuple(entries.values()), complete=True, cursor=cursor)

    def _found(self, identifier: str, offset: int) -> Page:
        """Ask for a page of what a folder holds, the oldest first. Raises what ``Session.ask`` does."""
        answers = self._answers(find_items(identifier, offset, _PAGE))
        saying = saying_of(answers[0]) if answers else Saying("", "no answer")
        if saying.code != "NoError":
            raise grade(saying)
        return page_of(answers[0], "Items", offset)


def _state(cursor: Cursor | None, epoch: str) -> str | None:
    """Return the state in a cursor; ``None`` where it is of another folder, or has none."""
    state = cursor.get("state") if cursor and cursor.get("epoch") == epoch else None
    return state if isinstance(state, str) and state else None


def _epoch(identifier: str) -> str:
    """Name the epoch of a folder: what moved to another database, or was made anew, has another identifier."""
    return hashlib.sha256(identifier.encode()).hexdigest()[:16]


def _page_of(answer: Node) -> _Page:
    items, read, gone = [], [], []
    changes = answer.find("Changes")
    for change in changes.children if changes else ():
        identifier = change.find("ItemId")
        key = identifier.attributes.get("Id", "") if identifier else ""
        if change.name in ("Create", "Update"):
            items += change.children[:1]
        elif change.name == "Delete" and key:
            gone.append(key)
        elif change.name == "ReadFlagChange" and key:
            read.append(key)
    # A full page may not be the last, whatever it says: grommunio cuts off deletions so, and what was moved away
    # would look as if it had been copied.
    is_full = changes is not None and len(changes.children) >= _CHANGES
    is_last = answer.told("IncludesLastItemInRange").strip() not in ("false", "0") and not is_full
    return _Page(answer.told("SyncState").strip(), is_last, items, read, gone)
