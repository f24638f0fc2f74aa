"""``create``: folders and what stands above them, all commands in flight together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from attrs import evolve

from alimail_core import INBOX, Folder, FolderPath, Refused, SpecialUse, Unusable
from alimail_imap.connection import Connection
from alimail_imap.grades import grade
from alimail_imap.mailboxes import Names, list_folders
from alimail_imap.session import Session
from alimail_imap.tokens import Status

Wanted = Sequence[tuple[FolderPath, SpecialUse | None]]
Plan = Mapping[bytes, SpecialUse | None]
"""What is to be made, by its name on the wire, what stands above before what stands below."""


def create_folders(session: Session, wanted: Wanted, there: Sequence[Folder]) -> Iterator[Folder | Unusable]:
    """See ``Sink.create``; ``there`` is what was listed last, and may be older than what others made meanwhile.

    What was made is listed once more, because only that tells what is really there.
    """
    plan = _plan(session.names, wanted, {folder.path: folder for folder in there})
    refused = _make(session.connection, plan)
    for name in plan:
        session.epochs.pop(name, None)
    if plan:
        there = list_folders(session.connection, session.names)
    paths = {folder.path: folder for folder in there}
    handles = {folder.handle: folder for folder in there}
    for path, _ in wanted:
        try:
            name = session.names.from_path(path)
            found = paths.get(path) or handles.get(name.decode("latin-1"))
            made = evolve(found, messages=0) if found is not None and name in plan else found
            yield _answer(path, made, refused.get(name))
        except Refused as error:
            yield Unusable(path, error.message)


def _plan(names: Names, wanted: Wanted, there: Mapping[FolderPath, Folder]) -> Plan:
    plan: dict[bytes, SpecialUse | None] = {}
    for path, use in wanted:
        if path in there and there[path].selectable:
            continue
        try:
            name = names.from_path(path)
        except Refused:
            continue  # Its answer says so.
        for depth in range(1, len(path)):
            if path[:depth] not in there:
                plan.setdefault(names.from_path(path[:depth]), None)
        plan[name] = use or plan.get(name)
    return plan


def _make(connection: Connection, plan: Plan) -> dict[bytes, Status]:
    """Make and subscribe to each; return what the server said no to.

    A folder counts more than its special use: where that is refused, it is made without.
    """
    with_use = {name: use for name, use in plan.items() if use is not None and _offers_uses(connection)}
    refused = _send(connection, {name: with_use.get(name) for name in plan})
    again = {name: None for name in refused if name in with_use}
    return {name: status for name, status in refused.items() if name not in again} | _send(connection, again)


def _offers_uses(connection: Connection) -> bool:
    return connection.offers("CREATE-SPECIAL-USE")


def _send(connection: Connection, plan: Plan) -> dict[bytes, Status]:
    commands: list[tuple[bytes, ...]] = []
    for name, use in plan.items():
        argument = connection.inline(name)
        commands.append((b"CREATE ", argument, b"" if use is None else b" (USE (%s))" % use.value.encode()))
        commands.append((b"SUBSCRIBE ", argument))
    statuses = [status for _, status in connection.pipeline(commands, doing="folder")]
    made = zip(plan, statuses[::2], strict=True)
    return {name: status for name, status in made if not status.ok and status.code != "ALREADYEXISTS"}


def _answer(path: FolderPath, found: Folder | None, refused: Status | None) -> Folder:
    """Return a folder as it is listed. Raises what the server's no to it stands for where it is not."""
    if found is not None and (found.selectable or refused is None or path == INBOX):
        return evolve(found, path=path)
    if refused is not None:
        raise grade(refused, "folder")
    raise Refused("the server said that it made the folder, and does not list it")
