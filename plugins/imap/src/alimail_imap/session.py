"""What a source and a sink share of an open mailbox: the connection, the selected folder, the keys.

A key is ``uidvalidity/uid``. Some servers have a constant UIDVALIDITY and give old UIDs to new messages when a
folder is deleted and made again; where that was noticed, a *marker* is counted up in the folder's cursor and
stands in the epoch and the keys: ``uidvalidity.marker/uid``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from attrs import frozen

from alimail_core import Credentials, Folder, Refused
from alimail_imap import measuring
from alimail_imap.connection import Connection, Part, astring
from alimail_imap.fetched import spell_flags
from alimail_imap.grades import grade
from alimail_imap.login import connect, introduction
from alimail_imap.mailboxes import (
    Answer,
    Names,
    listing_questions,
    naming_question,
    read_folders,
    read_names,
)
from alimail_imap.measuring import Told, read_statuses, status_items
from alimail_imap.options import ImapOptions
from alimail_imap.tokens import Malformed, Response, Status, parse_status, tokenize

CLOCK_LIKE = 2**24
"""A UIDVALIDITY above this was taken from a clock, as RFC 9051 advises, and so is never given twice. A smaller one
is a counter or a constant, and is not trusted."""


@frozen
class Selected:
    """What a server said as a folder was selected; ``None`` where it did not say."""

    uidvalidity: int = 0
    uidnext: int | None = None
    modseq: int | None = None
    exists: int = 0
    storable: frozenset[str] | None = None
    """PERMANENTFLAGS without ``\\*``; ``None``: any keyword, or not told."""


@frozen
class Key:
    """A key's parts."""

    epoch: str
    uid: int

    def __str__(self) -> str:
        """Return the key as the core keeps it."""
        return f"{self.epoch}/{self.uid}"

    @classmethod
    def parse(cls, text: str) -> Key | None:
        """Read a key; ``None`` where it is none of ours."""
        epoch, _, uid = text.partition("/")
        return cls(epoch, int(uid)) if uid.isdigit() and len(uid) <= 10 and epoch else None


def epoch_name(uidvalidity: int, marker: int) -> str:
    """Name a folder's epoch."""
    return f"{uidvalidity}.{marker}" if marker else str(uidvalidity)


class Session:
    """One logged-in connection and what it has open."""

    def __init__(self, connection: Connection, options: ImapOptions, user: str) -> None:
        self.connection = connection
        self._mailbox = (options.address, user)
        self._told: Told | None = None
        """What was told of how much stands in each folder; ``None``: it was not asked over this connection."""
        self._names: Names | None = None
        self.options = options
        self.selected: tuple[bytes, bool] | None = None
        """The wire name of the folder that is selected, and whether it may be written to."""
        self.state = Selected()
        self.epochs: dict[bytes, str] = {}
        """The epoch of each folder that was listed over this session, by its wire name."""
        self.next_uids: dict[bytes, int] = {}
        """UIDNEXT of each of them as it was listed: what is stored since has this UID or a higher one."""
        self.sizes: dict[bytes, int] = {}
        """About how many messages stand in folders that were not listed yet, where that was told on some occasion."""
        self.sent: Counter[bytes] = Counter()
        """How many messages were sent to a folder since it was listed, whatever became of them."""
        self.storable: dict[bytes, frozenset[str] | None] = {}
        """What flags can be stored in each of them; ``None``: any keyword."""
        self._examine = b"EXAMINE"
        # Whoever has an extension of EXAMINE (RFC 7162) has EXAMINE; others are tried with one folder.
        self.examine_is_known = connection.offers("CONDSTORE") or connection.offers("QRESYNC")

    @classmethod
    def open(cls, options: ImapOptions, credentials: Credentials) -> Session:
        """Connect and log in. Raises what ``connect`` does."""
        return cls(connect(options, credentials), options, credentials.user)

    def close(self) -> None:
        """Log out. Never raises."""
        if not self.connection.wire.broken:
            measuring.keep(self._mailbox, None)
        elif self._told is not None:
            measuring.keep(self._mailbox, self._told)
        self.connection.close()

    # Asking

    def ask(self, *questions: Sequence[Part]) -> list[Answer]:
        """Ask several things in one round trip; what is to be said first travels with the first of them."""
        if self._names is not None:
            return list(self.connection.pipeline(questions))
        first = [*introduction(self.connection), naming_question(self.connection)]
        answers = list(self.connection.pipeline([*first, *questions]))
        self._names = read_names(self.connection, answers[len(first) - 1], self.options.folder_prefix)
        return answers[len(first) :]

    @property
    def is_named(self) -> bool:
        """Tell whether it is known how folders are named on this server."""
        return self._names is not None

    @property
    def names(self) -> Names:
        """How folders are named on this server; asked when it is first needed, with nothing in flight."""
        if self._names is None:
            self.ask()
        assert self._names is not None
        return self._names

    def note_sizes(self, responses: Iterable[Response]) -> None:
        """Take in what STATUS told of folders."""
        for name, numbers in read_statuses(responses):
            if "MESSAGES" in numbers:
                self.sizes[name] = numbers["MESSAGES"]

    def list_folders(self, *, measured: bool = False) -> list[Folder]:
        """List the account's own folders, by wish with how much stands in each.

        Raises ``Denied`` where the server does not.
        """
        status = status_items(self.connection) if measured else b""
        answers = self.ask(*listing_questions(self.connection, status))
        folders = read_folders(self.connection, self.names, answers)
        if not measured:
            return folders
        # A server with LIST-STATUS (RFC 5819) has told it with the list.
        told = list(read_statuses(answers[0][0])) or measuring.kept(self._mailbox)
        if told is None:
            self._told = []  # should the connection die over it
            told = self._told = measuring.ask(self.connection, self.names, folders)
        return measuring.measured(self.names, folders, told)

    # Selecting

    def select(self, folder: Folder, *, write: bool = False, fresh: bool = False) -> Selected:
        """Open a folder, read-only unless ``write``, and return what the server says of it.

        ``fresh`` selects again even where it is open, because what it holds is to be known as it is now.
        Raises ``Refused`` where the server will not open it.
        """
        wanted = (self.names.wire(folder), write)
        if self.selected is not None and not fresh and self.selected in (wanted, (wanted[0], True)):
            return self.state
        self.connection.settle()
        responses, status = self._try_select(wanted)
        unknown = not (status.ok or write or self.examine_is_known)
        # What is refused for now is not opened in another way.
        if unknown and isinstance(grade(status, "folder"), Refused):
            # RFC 9051 asks for EXAMINE of every server; Alibaba Mail does not list it among its commands.
            again, answer = self._run_select(b"SELECT", wanted[0])
            if answer.ok:
                self._examine, responses, status = b"SELECT", again, answer
        return self.note_selected(wanted, responses, status)

    def _try_select(self, wanted: tuple[bytes, bool]) -> tuple[list[Response], Status]:
        name, write = wanted
        return self._run_select(b"SELECT" if write else self._examine, name)

    def _run_select(self, verb: bytes, name: bytes) -> tuple[list[Response], Status]:
        self.selected = None
        return self.connection.run(verb + b" ", astring(name), doing="folder")

    def send_select(self, folder: Folder, *, write: bool = False) -> tuple[bytes, bytes]:
        """Open a folder without waiting, for a caller that hides the round trip; return the tag and the name.

        ``note_selected`` must follow when its answer has come.
        """
        name = self.names.wire(folder)
        self.selected = None
        verb = b"SELECT" if write else self._examine
        return self.connection.send(verb + b" ", astring(name), doing="folder"), name

    def note_selected(
        self, wanted: tuple[bytes, bool], responses: Sequence[Response], status: Status
    ) -> Selected:
        """Take in the answer to a SELECT or EXAMINE. Raises ``Refused`` (or a graver grade) where it is no OK."""
        if not status.ok:
            self.selected = None
            raise grade(status, "folder")
        if not any(response.kind() == b"EXISTS" for response in responses):
            # Each server must tell it (RFC 9051 §6.3.2): its line was lost or spoiled, and the folder is not empty.
            raise self.connection.wire.fail(
                "the server opened a folder without telling how much stands in it"
            )
        self.examine_is_known = self.examine_is_known or not wanted[1]
        self.selected = wanted
        self.state = read_selected(responses)
        return self.state

    def leave(self) -> None:
        """Have no folder open, where that is possible without an EXPUNGE; the answer is not waited for."""
        if self.selected is not None and self.connection.offers("UNSELECT"):
            self.connection.settle()
            self.connection.send(b"UNSELECT")
            self.selected = None

    # Keys

    def key_epoch(self, folder: Folder, uidvalidity: int) -> str:
        """Return the epoch that keys of a folder carry, as far as this session knows."""
        known = self.epochs.get(self.names.wire(folder), "")
        return known if known.partition(".")[0] == str(uidvalidity) else str(uidvalidity)

    def was_renumbered(self, folder: Folder, key: str) -> bool:
        """Tell whether a key was good as the folder was listed last, which has another UIDVALIDITY now.

        Where this session has not listed it, another one has, whatever the key.
        """
        parsed = Key.parse(key)
        if parsed is None or parsed.epoch != self.epochs.get(self.names.wire(folder), parsed.epoch):
            return False
        return not _same(parsed.epoch, str(self.state.uidvalidity))

    def new_key(self, name: bytes, uidvalidity: int, uid: int) -> Key | None:
        """Return the key of a UID that the server just gave; ``None`` where it may name another message.

        After a listing it must fit what that said: a server that tells an old UID, or one of another epoch, has
        made the folder anew or is wrong, and either way the message is to be looked for.
        """
        known = self.epochs.get(name)
        if known is None:
            return Key(str(uidvalidity), uid) if uidvalidity >= CLOCK_LIKE else None
        fits = known.partition(".")[0] == str(uidvalidity) and uid >= self.next_uids.get(name, 1)
        return Key(known, uid) if fits else None

    def uids(self, folder: Folder, keys: Iterable[str]) -> dict[int, str]:
        """Return the UIDs of those keys that can exist in the folder as it is now selected, with the key."""
        epoch = self.key_epoch(folder, self.state.uidvalidity)
        listed = self.names.wire(folder) in self.epochs
        found: dict[int, str] = {}
        for text in keys:
            key = Key.parse(text)
            if key is not None and (key.epoch == epoch or (not listed and _same(key.epoch, epoch))):
                found[key.uid] = text
        return found

    def run_refusable(self, *parts: Part) -> Status:
        """Send a command about a folder that the server may refuse; return its status."""
        _, status = self.connection.run(*parts, doing="folder")
        return status


def _same(one: str, other: str) -> bool:
    """Compare the UIDVALIDITY of two epochs: all that can be done before a folder was listed."""
    return one.partition(".")[0] == other.partition(".")[0]


def read_selected(responses: Iterable[Response]) -> Selected:
    """Read the untagged answers to a SELECT or EXAMINE."""
    found: dict[str, int] = {}
    storable: frozenset[str] | None = None
    for response in responses:
        if response.kind() == b"EXISTS":
            found["exists"] = response.number()
            continue
        status = _status_of(response)
        if status is None:
            continue
        if status.code == "PERMANENTFLAGS":
            storable = _storable(status.argument)
        elif status.code in _NUMBERS and status.argument.isdigit() and len(status.argument) < 20:
            found[_NUMBERS[status.code]] = int(status.argument)
    return Selected(
        found.get("uidvalidity", 0),
        found.get("uidnext"),
        found.get("modseq"),
        found.get("exists", 0),
        storable,
    )


_NUMBERS = {"UIDVALIDITY": "uidvalidity", "UIDNEXT": "uidnext", "HIGHESTMODSEQ": "modseq"}


def _status_of(response: Response) -> Status | None:
    return parse_status(response.head) if response.tag == b"*" else None


def _storable(argument: bytes) -> frozenset[str] | None:
    try:
        tokens = tokenize([argument])
    except Malformed:
        return None
    flags = (
        [flag for flag in tokens[0] if isinstance(flag, bytes)]
        if tokens and isinstance(tokens[0], list)
        else []
    )
    return None if b"\\*" in flags else spell_flags(flags)
