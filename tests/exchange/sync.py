"""SyncFolderItems and SyncFolderHierarchy: what changed since a state that the client keeps (MS-OXWSSYNC)."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence

from attrs import define

from tests.exchange.access import find_folder
from tests.exchange.calls import Call, each, refuse_content
from tests.exchange.shapes import Shape, folder_writer, item_id, item_writer
from tests.exchange.soap import Element, Failure, children, element
from tests.exchange.store import Folder, Item


def sync_items(call: Call) -> bytes:
    """SyncFolderItems: what is new, changed, read or gone since a state, at most 512 at a time."""
    request = call.request
    shape = Shape.of(request, "m:ItemShape")
    write = item_writer(shape, request)
    most = min(int(request.text("m:MaxChangesReturned")), call.habits.sync_limit)

    def one(node: Element) -> bytes:
        refuse_content(shape)
        folder = _sync_folder(call, node)
        state = SyncState.read(request.text("m:SyncState"), folder)
        ignored = {ignored.get("Id", "") for ignored in children(request.find("m:Ignore"))}
        changes: list[bytes] = []
        last = True
        for change, number in folder.log.after(state.position):
            if len(changes) == most:
                last = False
                break
            written = _item_change(folder, number, state, write, ignored)
            item = folder.items.get(number)
            passes_over = call.habits.passes_over_damage or call.habits.hides_damage
            if passes_over and item is not None and item.failure is not None:
                written = b""
            changes += [written] if written else []
            state.position = change
        state.base = state.position if last else state.base
        says_last = last or call.habits.full_is_last
        return _synced(state.text(folder), b"IncludesLastItemInRange", says_last, changes)

    return each(call, children(request.find("m:SyncFolderId")), one)


def _item_change(
    folder: Folder, number: int, state: SyncState, write: Callable[[Item], bytes], ignored: set[str]
) -> bytes:
    """Write one change, or nothing where the client knows it, or never knew what is gone."""
    item, known = folder.items.get(number), number in state
    if item is None:
        gone = b'<t:ItemId Id="%b"/>' % folder.mailbox.identify(folder.number, number).encode()
        return b"<t:Delete>%b</t:Delete>" % gone if state.forget(number) else b""
    if item.id in ignored:
        state.learn(number)
        return b""
    if known and item.content_changed <= state.base:
        read = element("IsRead", "true" if item.is_read else "false")
        return b"<t:ReadFlagChange>%b%b</t:ReadFlagChange>" % (item_id(item), read)
    state.learn(number)
    kind = b"Update" if known else b"Create"
    return b"<t:%b>%b</t:%b>" % (kind, write(item), kind)


def sync_hierarchy(call: Call) -> bytes:
    """SyncFolderHierarchy: which folders came, changed or went since a state."""
    request = call.request
    shape = Shape.of(request, "m:FolderShape")
    write = folder_writer(shape, request)

    def one(node: Element | None) -> bytes:
        top = _sync_folder(call, node) if node is not None else _own_top(call)
        state = SyncState.read(request.text("m:SyncState"), top)
        beneath = {folder.number for folder in top.below()}
        changes: list[bytes] = []
        for change, number in top.mailbox.log.after(state.position):
            state.position = change
            if number in beneath:
                kind = b"Update" if number in state else b"Create"
                state.learn(number)
                changes.append(b"<t:%b>%b</t:%b>" % (kind, write(top.mailbox.folders[number]), kind))
            elif state.forget(number):
                gone = b'<t:FolderId Id="%b"/>' % top.mailbox.identify(number).encode()
                changes.append(b"<t:Delete>%b</t:Delete>" % gone)
        return _synced(state.text(top), b"IncludesLastFolderInRange", True, changes)

    return each(call, children(request.find("m:SyncFolderId")) or [None], one)


def _synced(state: str, end: bytes, last: bool, changes: Sequence[bytes]) -> bytes:
    return b"<m:SyncState>%b</m:SyncState><m:%b>%b</m:%b><m:Changes>%b</m:Changes>" % (
        state.encode(), end, b"true" if last else b"false", end, b"".join(changes),
    )  # fmt: skip


@define
class SyncState:
    """What a client has: every change up to a position, and of the numbers up to there those in ``ranges``."""

    base: int
    """Where the last synchronisation that was carried to its end ended."""
    position: int
    ranges: list[list[int]]
    """First and last of each run of numbers that the client was told, ascending."""

    @classmethod
    def read(cls, text: str, folder: Folder) -> SyncState:
        """Understand what was given out for this folder; the empty text is the beginning of all."""
        if not text:
            return cls(0, 0, [])
        try:
            place, base, position, ranges = json.loads(base64.b64decode(text, validate=True))
        except (ValueError, TypeError):
            place = None
        if place != folder.id:
            words = "Synchronization state data is corrupt or otherwise invalid."
            raise Failure("ErrorInvalidSyncStateData", words)
        return cls(base, position, ranges)

    def text(self, folder: Folder) -> str:
        """Return it as the client shall keep it."""
        return base64.b64encode(
            json.dumps([folder.id, self.base, self.position, self.ranges]).encode()
        ).decode()

    def __contains__(self, number: int) -> bool:
        """Tell whether the client was told of this number and not of its end."""
        return self._run(number) is not None

    def learn(self, number: int) -> None:
        """Note that the client is told of it."""
        if self.ranges and self.ranges[-1][1] == number - 1:
            self.ranges[-1][1] = number
        elif number not in self:
            self.ranges.append([number, number])
            self.ranges.sort()

    def forget(self, number: int) -> bool:
        """Note that it is gone; tell whether the client had it."""
        run = self._run(number)
        if run is None:
            return False
        first, last = run
        self.ranges.remove(run)
        self.ranges += [part for part in ([first, number - 1], [number + 1, last]) if part[0] <= part[1]]
        self.ranges.sort()
        return True

    def _run(self, number: int) -> list[int] | None:
        return next((run for run in self.ranges if run[0] <= number <= run[1]), None)


def _sync_folder(call: Call, node: Element) -> Folder:
    try:
        folder = find_folder(call.organisation, call.request, node)
    except Failure as failure:
        if failure.code == "ErrorItemNotFound":
            raise Failure(
                "ErrorSyncFolderNotFound", "The folder to be synchronized could not be found."
            ) from failure
        raise
    if folder.mailbox is call.organisation.public:  # the reference says so; which code it is, it does not
        raise Failure("ErrorInvalidOperation", "Public folders cannot be synchronized.")
    if folder.search:
        raise Failure("ErrorInvalidFolderTypeForOperation", "Search folders cannot be synchronized.")
    return folder


def _own_top(call: Call) -> Folder:
    if call.request.mailbox is None:
        raise Failure("ErrorMissingEmailAddress", "The account has no mailbox.")
    return call.request.mailbox.distinguished("msgfolderroot")
