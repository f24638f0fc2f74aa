"""``create``: folders and what stands above them, all commands in flight together."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence

from attrs import evolve

from alimail_core import INBOX, Folder, FolderPath, Refused, SpecialUse, Unusable
from alimail_imap.connection import Part
from alimail_imap.grades import grade
from alimail_imap.mailboxes import Names, listing_questions, read_folders
from alimail_imap.session import Session
from alimail_imap.tokens import Status

Wanted = Sequence[tuple[FolderPath, SpecialUse | None]]
Plan = Mapping[bytes, SpecialUse | None]
"""What is to be made, by its name on the wire, what stands above before what stands below."""
MEASURED = 64
"""The most folders that are asked, on this occasion, how much stands in them."""


def create_folders(session: Session, wanted: Wanted, there: Sequence[Folder]) -> Iterator[Folder | Unusable]:
    """See ``Sink.create``; ``there`` is what was listed last, and may be older than what others made meanwhile.

    Whoever asks for what is there may have lost the connection as it was made: it is subscribed to, and first, so
    that connections which never last long get through all of them.

    What was made is listed once more, because only that tells what is really there: in the same round trip, as a
    server does in order what is ambiguous otherwise (RFC 9051 §5.5), and by itself where that does not show it all.
    """
    known = {folder.path: folder for folder in there}
    _subscribe(session, [known[path] for path, _ in wanted if path in known and known[path].selectable])
    plan = _plan(session.names, wanted, known)
    refused: dict[bytes, Status] = {}
    if plan:
        refused, there = _make(session, plan, there)
    for name in plan:
        session.epochs.pop(name, None)
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


def _subscribe(session: Session, folders: Sequence[Folder]) -> None:
    """Subscribe to folders, as far as the server does that."""
    inline, wire = session.connection.inline, session.names.wire
    commands = [(b"SUBSCRIBE ", inline(wire(folder))) for folder in folders]
    deque(session.connection.pipeline(commands, doing="folder"), maxlen=0)


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


def _make(
    session: Session, plan: Plan, there: Sequence[Folder]
) -> tuple[dict[bytes, Status], Sequence[Folder]]:
    """Make and subscribe to each; return what the server said no to, and all folders as they are now.

    A folder counts more than its special use: where that is refused, it is made without. In the same round trip the
    server is asked how much stands in the folders that are ``there``, for whoever lists them next.
    """
    offered = session.connection.offers("CREATE-SPECIAL-USE")
    with_use = {name: use for name, use in plan.items() if use is not None and offered}
    refused, found = _send(session, {name: with_use.get(name) for name in plan}, there)
    again: Plan = {name: None for name in refused if name in with_use}
    if again:
        kept = {name: status for name, status in refused.items() if name not in again}
        refused, found = _send(session, again, ())
        refused = kept | refused
    listed = {session.names.wire(folder) for folder in found}
    if not listed.issuperset(plan.keys() - refused.keys()):
        found = session.list_folders()
    return refused, found


def _send(
    session: Session, plan: Plan, measured: Sequence[Folder]
) -> tuple[dict[bytes, Status], list[Folder]]:
    connection = session.connection
    commands: list[tuple[Part, ...]] = []
    for name, use in plan.items():
        argument = connection.inline(name)
        commands.append((b"CREATE ", argument, b"" if use is None else b" (USE (%s))" % use.value.encode()))
        commands.append((b"SUBSCRIBE ", argument))
    listing = listing_questions(connection)
    sizes = [
        (b"STATUS ", connection.inline(session.names.wire(folder)), b" (MESSAGES)")
        for folder in measured[:MEASURED]
        if folder.selectable
    ]
    answers = list(connection.pipeline([*commands, *listing, *sizes], doing="folder"))
    made = zip(plan, (status for _, status in answers[: len(commands) : 2]), strict=True)
    told = answers[len(commands) :]
    session.note_sizes(response for responses, _ in told for response in responses)
    refused = {name: status for name, status in made if not status.ok and status.code != "ALREADYEXISTS"}
    return refused, read_folders(connection, session.names, told[: len(listing)])


def _answer(path: FolderPath, found: Folder | None, refused: Status | None) -> Folder:
    """Return a folder as it is listed. Raises what the server's no to it stands for where it is not."""
    if found is not None and (found.selectable or refused is None or path == INBOX):
        return evolve(found, path=path)
    if refused is not None:
        raise grade(refused, "folder")
    raise Refused("the server said that it made the folder, and does not list it")
