"""What a folder holds, and what changed in it: by SyncFolderItems, or by FindItem where a server has not got that."""

from __future__ import annotations

import contextlib
import hashlib
from array import array
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor
from typing import Final, TypeAlias

from attrs import frozen

from alimail_core import Changes, Cursor, Entry, Folder, FolderPath, Refused, Remark, Unusable
from alimail_ews.answers import Node
from alimail_ews.flags import item_of
from alimail_ews.folders import Folders
from alimail_ews.grades import NO_FOLDER, NO_STATE, REPAIR_REMEDY, Saying, grade, saying_of
from alimail_ews.paging import Page, key_of, page_of, pages
from alimail_ews.parallel import ahead
from alimail_ews.reading import Reader, Sizes
from alimail_ews.session import Malformed, NotDone, Session
from alimail_ews.soap import count_items, find_items, sync_items

_CHANGES: Final = 512
"""The most changes that SyncFolderItems tells at once (MS-OXWSSYNC §3.1.4.2)."""
_PAGE: Final = 1_000
_TIMES: Final = 4
"""So often is what cannot be read asked for."""

_MANY: Final = 2**53
"""More items than any folder has."""

_Asked: TypeAlias = tuple[Folder, Cursor | None]


@frozen
class _Page:
    """One answer of SyncFolderItems."""

    state: str
    is_last: bool
    items: list[Node]
    """Of what is new or changed."""
    new: int
    """How many of these are new."""
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

    def _first(self, asked: _Asked) -> Unusable | tuple[str, int | None, _Page | Page]:
        """Ask for a folder's first page: its identifier, how many of its items were told before, and the page.

        ``None``: all of it is told. The page is one of FindItem where the server does not tell changes.
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
                return identifier, None, self._found(identifier, 0)
        except (Refused, Malformed) as error:
            return Unusable(folder.path, error.message)
        if isinstance(page, Saying):
            return Unusable(folder.path, page.words)
        return identifier, None if state is None else _told_before(cursor), page

    def _first_public(self, folder: Folder, identifier: str) -> Unusable | tuple[str, None, Page]:
        """Ask for the first page of a public folder: SyncFolderItems is not made for these."""
        page = self._found(identifier, 0)
        if folder.messages and not page.items:
            return Unusable(
                folder.path,
                f"the server counts {folder.messages:,} items in it and lists none: the account may not read "
                "them, or they are in a public folder mailbox on another server",
            )
        return identifier, None, page

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

    def _told(
        self, folder: Folder, identifier: str, before: int | None, page: _Page | Page
    ) -> Iterator[Changes]:
        """Tell a folder, or what changed in it where ``before`` many of its items were told already."""
        if isinstance(page, Page):
            yield from self._by_pages(folder, identifier, page)
            return
        epoch, complete = _epoch(identifier), before is None
        told, held = array("q"), before or 0
        if complete:
            self.others[folder.path] = 0
        while True:
            gone = () if complete else tuple(page.gone)
            # The next page comes while this one is worked on.
            coming = None if page.is_last else self._executor.submit(self._page, identifier, page.state)
            entries, others = self._entries(page)
            self.others[folder.path] += others if complete else 0
            told.extend(_hashes(page.items))
            held = max(0, held + page.new - len(page.gone))
            if coming is None:
                held = len(set(told)) if complete else held
                held, shortage = yield from self._beyond(folder, identifier, told, held, complete=complete)
                cursor = {"epoch": epoch, "state": page.state, "items": held}
                yield Changes(folder, epoch, entries, gone, complete, cursor, shortage=shortage)
                return
            yield Changes(folder, epoch, entries, gone, complete)
            state, answer = page.state, coming.result()
            if not isinstance(answer, _Page):
                raise Malformed(
                    f"a listing broke off: {answer.words if answer else 'no changes are told any more'}"
                )
            page = answer
            if page.state == state and not page.is_last:
                raise Malformed("a listing does not come to an end")

    def _beyond(
        self, folder: Folder, identifier: str, told: array[int], held: int, *, complete: bool
    ) -> Generator[Changes, None, tuple[int, Remark | None]]:
        """Where a folder counts more items than the ``held`` ones, tell what FindItem lists beyond those in ``told``.

        Return how many were told then, and a remark where there are more still. grommunio passes over items that it
        cannot read, and a damaged view of Exchange's lacks some: they would be missed without a word.
        """
        # Asked anew, and before and after, because people go on: what left or came meanwhile was not withheld.
        if (folder.messages or 0) <= held or (before := self._counted(folder, identifier)) <= held:
            return held, None
        known = set(told)
        with contextlib.suppress(Refused):
            for page in pages(self._asking(identifier), self._found(identifier, 0)):
                fresh = [item for item in page.items if not known.issuperset(_hashes([item]))]
                known.update(_hashes(fresh))
                entries, others = self._mail(fresh)
                self.others[folder.path] += others if complete else 0
                yield Changes(folder, _epoch(identifier), tuple(entries.values()), complete=complete)
        held = max(held, len(known))
        counts = min(before, self._counted(folder, identifier))
        if counts <= held:
            return held, None
        text = f"it counts {counts:,} items and the server lists {held:,} of them, asked twice"
        return held, Remark("warning", text, REPAIR_REMEDY)

    def _counted(self, folder: Folder, identifier: str) -> int:
        """Ask how many items a folder has at this moment."""
        with contextlib.suppress(Refused):
            for answer in self._answers(count_items(identifier)):
                found = answer.find("Folders")
                count = found.children[0].told("TotalCount").strip() if found and found.children else ""
                if count.isdecimal():
                    return int(count)
        return folder.messages or 0

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
        epoch, told = _epoch(identifier), array("q")
        self.others[folder.path] = 0
        for page in pages(self._asking(identifier), first):
            entries, others = self._mail(page.items)
            self.others[folder.path] += others
            told.extend(_hashes(page.items))
            cursor: Cursor | None = None
            shortage: Remark | None = None
            if page.is_last:
                cursor, held = {"epoch": epoch}, len(set(told))
                _, shortage = yield from self._beyond(folder, identifier, told, held, complete=True)
            yield Changes(
                folder, epoch, tuple(entries.values()), complete=True, cursor=cursor, shortage=shortage
            )

    def _asking(self, identifier: str) -> Callable[[int], Page]:
        """Return what asks for a folder's further pages."""

        def ask(offset: int) -> Page:
            try:
                return self._found(identifier, offset)
            except (
                Refused
            ) as error:  # what was told before stands, so the folder cannot be put aside any more
                raise Malformed(f"a listing broke off: {error.message}") from error

        return ask

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


def _told_before(cursor: Cursor | None) -> int:
    """Return how many items of its folder a cursor says that were told; where it is older than that, any number."""
    items = cursor.get("items") if cursor else None
    return items if isinstance(items, int) else _MANY


def _hashes(items: Iterable[Node]) -> list[int]:
    """Return a number for each item that tells its identifier: of a large folder these are kept, and no texts."""
    return [hash(key) for item in items if (key := key_of(item))]


def _epoch(identifier: str) -> str:
    """Name the epoch of a folder: what moved to another database, or was made anew, has another identifier."""
    return hashlib.sha256(identifier.encode()).hexdigest()[:16]


def _page_of(answer: Node) -> _Page:
    items, read, gone, new = [], [], [], 0
    changes = answer.find("Changes")
    for change in changes.children if changes else ():
        identifier = change.find("ItemId")
        key = identifier.attributes.get("Id", "") if identifier else ""
        if change.name in ("Create", "Update"):
            items += change.children[:1]
            new += change.name == "Create"
        elif change.name == "Delete" and key:
            gone.append(key)
        elif change.name == "ReadFlagChange" and key:
            read.append(key)
    # A full page may not be the last, whatever it says: grommunio cuts off deletions so, and what was moved away
    # would look as if it had been copied.
    is_full = changes is not None and len(changes.children) >= _CHANGES
    is_last = answer.told("IncludesLastItemInRange").strip() not in ("false", "0") and not is_full
    return _Page(answer.told("SyncState").strip(), is_last, items, new, read, gone)
