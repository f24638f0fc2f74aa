"""The folders of a mailbox: which hold mail, what they are for, and what their paths are."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor
from functools import partial
from typing import Final

from attrs import evolve, frozen

from alimail_core import INBOX, Denied, Folder, FolderPath, LeftBehind, Refused, SpecialUse
from alimail_ews.answers import Node
from alimail_ews.flags import extended, number
from alimail_ews.grades import NO_ARCHIVE, NO_FOLDER, PUBLIC_REMEDY, grade, saying_of
from alimail_ews.paging import page_of
from alimail_ews.parallel import ahead
from alimail_ews.session import Malformed, NotDone, Session, error_of
from alimail_ews.soap import (
    FOLDER_OCTETS,
    HIDDEN,
    VERSIONS,
    Who,
    distinguished,
    find_folders,
    folder_id,
    get_folders,
)

_PAGE: Final = 1_000
_ROOT: Final = "msgfolderroot"
_ARCHIVE: Final = "archivemsgfolderroot"
_PUBLIC: Final = "publicfoldersroot"
_USES: Final[Mapping[str, SpecialUse]] = {
    "drafts": SpecialUse.DRAFTS,
    "sentitems": SpecialUse.SENT,
    "deleteditems": SpecialUse.TRASH,
    "junkemail": SpecialUse.JUNK,
}
_OUTLOOKS_OWN: Final = "syncissues"
"""What Outlook writes for itself; a distinguished name since Exchange 2013, known by what it is called before."""
_OUTLOOKS_NAMES: Final = frozenset({"sync issues", "同步问题", "同步處理問題", "synchronisierungsprobleme"})
_MAIL: Final = ("IPF.NOTE", "IPF.IMAP", "IPF.POST")
"""Classes of folders that hold mail, in upper case; a folder without a class does as well."""


@frozen
class Folders:
    """What a mailbox has."""

    mail: tuple[Folder, ...] = ()
    left_behind: tuple[LeftBehind, ...] = ()
    public: frozenset[str] = frozenset()
    """Identifiers of public folders, whose changes no server tells."""
    closed: Mapping[str, str] = {}
    """Identifiers of folders beneath which nothing could be listed, with what the server said."""


@frozen
class _Found:
    """A folder as it was found; ``kept``: neither hidden nor a search."""

    id: str
    parent: str
    name: str
    holds_mail: bool
    kept: bool
    items: int | None
    octets: int | None
    may_have_folders: bool


def list_folders(session: Session, executor: Executor, *, public: bool) -> Folders:
    """List the folders of a mailbox, of its archive where that is wished, and public folders where this account
    brings them.

    Raises what ``Session.ask`` does, and ``Denied`` where there are no public folders to be read.
    """
    options = session.options
    named = _named(session, ("inbox", "outbox", *_USES))
    if session.version == VERSIONS[0]:
        with contextlib.suppress(Refused):  # a server may know the version, and not this name
            named |= _named(session, (_OUTLOOKS_OWN,))
    taken = {INBOX}
    found, closed = _all(session, executor, _ROOT)
    mail, left_behind = _beneath(found, (), named, taken)
    if options.archive_folder is not None:
        found, more_closed = _archive(session, executor)
        archive = _beneath(found, (options.archive_folder,), {}, taken)
        mail, left_behind, closed = mail + archive[0], left_behind + archive[1], closed | more_closed
    if not public or options.public_folder is None:
        return Folders(tuple(mail), tuple(left_behind), closed=closed)
    found, more_closed = _public(session, executor)
    beneath = _beneath(found, (options.public_folder,), {}, taken)
    ids = frozenset(folder.id for folder in found)
    return Folders((*mail, *beneath[0]), (*left_behind, *beneath[1]), ids, closed | more_closed)


def _named(session: Session, names: tuple[str, ...]) -> dict[str, str]:
    """Return what distinguished folders are, by their identifiers: those that there are, in one request."""
    try:
        answers = list(session.ask(get_folders(distinguished(name, session.who) for name in names)))
    except NotDone:
        if len(names) == 1:
            raise
        answers = []
    if len(answers) != len(names):
        return _named_one_by_one(session, names)
    found = {}
    for name, answer in zip(names, answers, strict=True):
        saying = saying_of(answer)
        if saying.code != "NoError" and name == "inbox":
            raise grade(saying)
        for folder in _children(answer.find("Folders")):
            found[_id(folder, "FolderId")] = name
    return found


def _named_one_by_one(session: Session, names: tuple[str, ...]) -> dict[str, str]:
    """Do the same for a server that puts all folders into one answer, or refuses all because of one."""
    if len(names) == 1:
        raise Malformed("the server told of another number of folders than were asked for")
    found: dict[str, str] = {}
    for name in names:
        try:
            found |= _named(session, (name,))
        except NotDone:
            if name == "inbox":
                raise
    return found


def _beneath(
    found: Iterable[_Found], prefix: FolderPath, named: Mapping[str, str], taken: set[FolderPath]
) -> tuple[list[Folder], list[LeftBehind]]:
    """List what was found beneath a root: folders of mail with what they stand in, and how much is no mail.

    ``taken`` has the paths that others have, and gets those of these.
    """
    listed = prefix in taken
    placed = dict(_placed(found, prefix, named, taken))
    mail = {path: folder for path, folder in placed.items() if folder.holds_mail}
    # An empty outbox is nothing that anybody wants to see in the new system.
    empty = [path for path, folder in mail.items() if named.get(folder.id) == "outbox" and folder.items == 0]
    for path in empty:
        del mail[path]
    above = {path[:end] for path in mail for end in range(len(prefix) + 1, len(path))}
    folders = [
        Folder(
            path,
            _USES.get(named.get(folder.id, "")),
            selectable=path in mail,
            messages=folder.items if path in mail else None,
            octets=folder.octets if path in mail else None,
            handle=folder.id if path in mail else "",
        )
        for path, folder in placed.items()
        if path in mail or path in above
    ]
    if prefix and folders and not listed:
        taken.add(prefix)
        folders.insert(0, Folder(prefix, selectable=False))
    left = [
        LeftBehind(path, folder.items)
        for path, folder in placed.items()
        if folder.items and not folder.holds_mail
    ]
    return folders, left


def _placed(
    folders: Iterable[_Found], prefix: FolderPath, named: Mapping[str, str], taken: set[FolderPath]
) -> Iterator[tuple[FolderPath, _Found]]:
    """Give each folder its path, parents first; leave out what is hidden or Outlook's own, with all beneath it."""
    found = {folder.id: folder for folder in folders}
    beneath = defaultdict(list)
    for folder in sorted(found.values(), key=lambda each: (each.name, each.id)):
        beneath[folder.parent if folder.parent in found else ""].append(folder)
    places = [(prefix, folder) for folder in reversed(beneath[""])]
    while places:
        above, folder = places.pop()
        if not folder.kept or named.get(folder.id) == _OUTLOOKS_OWN:
            continue
        if above == () and folder.name.lower() in _OUTLOOKS_NAMES:
            continue
        path = INBOX if named.get(folder.id) == "inbox" else _free(above, folder.name, taken)
        taken.add(path)
        yield path, folder
        places += [(path, child) for child in reversed(beneath[folder.id])]


def _free(above: FolderPath, name: str, taken: set[FolderPath]) -> FolderPath:
    """Return a path that no other folder has: somebody may call a folder INBOX that is not the inbox."""
    path, again = (*above, name), 2
    while path in taken:
        path, again = (*above, f"{name} ({again})"), again + 1
    return path


def _archive(session: Session, executor: Executor) -> tuple[list[_Found], dict[str, str]]:
    """Find all folders of the archive; none where this mailbox has none, as most have not."""
    if session.version == VERSIONS[-1]:
        return [], {}
    try:
        return _all(session, executor, _ARCHIVE)
    except NotDone as error:
        if error.saying.code not in NO_ARCHIVE:
            raise
        return [], {}


def _public(session: Session, executor: Executor) -> tuple[list[_Found], dict[str, str]]:
    """Find all public folders: deep searches are refused there (MS-OXWSFOLD)."""
    try:
        return _walk(session, executor, distinguished(_PUBLIC, Who()))  # which belongs to no mailbox
    except Refused as refused:
        raise Denied(f"no public folders: {refused.message}", remedy=PUBLIC_REMEDY) from refused


def _all(session: Session, executor: Executor, root: str) -> tuple[list[_Found], dict[str, str]]:
    """Find all folders beneath a root, and beneath which nothing could be listed.

    Where the server has no deep search, or does not tell what each folder stands in, that is seen level by level.
    """
    top = distinguished(root, session.who)
    try:
        found = list(_pages(session, top, deep=True))
    except NotDone as error:
        if error.saying.code in NO_ARCHIVE | NO_FOLDER:
            raise
    else:
        if all(folder.parent for folder in found):
            return found, {}
    return _walk(session, executor, top)


def _walk(session: Session, executor: Executor, root: str) -> tuple[list[_Found], dict[str, str]]:
    """Find all folders beneath a root, and beneath which nothing could be listed: level by level, several at once.

    Raises ``Refused`` where that is so of the root.
    """
    found: dict[str, _Found] = {}
    closed: dict[str, str] = {}
    level = [("", root)]
    while level:
        asked, level = level, []
        for (parent, _), told in ahead(
            executor, partial(_right_beneath, session), asked, session.options.connections
        ):
            if isinstance(told, Refused):
                if not parent:
                    raise told
                closed[parent] = told.message
                found[parent] = evolve(found[parent], holds_mail=True)  # so that it is asked for, and told
                continue
            for folder in told:
                if folder.id in found:
                    continue
                # What the topmost folders say of their parent is not always the root that was asked for.
                found[folder.id] = evolve(folder, parent=parent)
                if folder.kept and folder.may_have_folders:
                    level.append((folder.id, folder_id(folder.id)))
    return list(found.values()), closed


def _right_beneath(session: Session, parent: tuple[str, str]) -> list[_Found] | Refused:
    try:
        return list(_pages(session, parent[1], deep=False))
    except Refused as error:
        return error


def _pages(session: Session, top: str, *, deep: bool) -> Iterator[_Found]:
    """Find folders beneath one, page by page where the server has pages; each is given once."""
    offset: int | None = 0 if session.version != VERSIONS[-1] else None
    known: set[str] = set()
    while True:
        answers = list(session.ask(find_folders(top, offset, _PAGE, deep=deep)))
        if not answers:
            raise Malformed("the server told nothing of the folders")
        saying = saying_of(answers[0])
        if saying.code != "NoError":
            raise error_of(saying)
        page = page_of(answers[0], "Folders", offset or 0)
        fresh = [folder for folder in map(_found, page.items) if folder.id not in known]
        yield from fresh
        if offset is None or page.is_last or not fresh:
            return
        known.update(folder.id for folder in fresh)
        offset += len(page.items)


def _found(node: Node) -> _Found:
    more = extended(node)
    octets = number(more, FOLDER_OCTETS)
    count = node.told("TotalCount").strip()
    holds = node.told("FolderClass").strip().upper()
    return _Found(
        _id(node, "FolderId"),
        _id(node, "ParentFolderId"),
        node.told("DisplayName").strip() or "?",
        node.name == "Folder" and (holds in ("", "IPF") or holds.startswith(_MAIL)),
        node.name != "SearchFolder" and more.get(HIDDEN, "").lower() not in ("true", "1"),
        int(count) if count.isdecimal() else None,
        octets if octets is None or octets >= 0 else None,
        node.told("ChildFolderCount").strip() != "0",
    )


def _children(node: Node | None) -> list[Node]:
    return node.children if node else []


def _id(node: Node, name: str) -> str:
    identifier = node.find(name)
    return identifier.attributes.get("Id", "") if identifier else ""
