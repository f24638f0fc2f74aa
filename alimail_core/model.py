"""The nouns of alimail: frozen, typed, free of any protocol.

Everything here is plain data that may cross a thread or a process. A side is either end of an account,
its source or its sink.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TypeAlias

from attrs import field, frozen

from alimail_core.errors import InDoubt, Refused, Remark, Transient

FolderPath: TypeAlias = tuple[str, ...]
"""A folder's name as Unicode components, outermost first, without delimiter or wire encoding."""

Cursor: TypeAlias = Mapping[str, object]
"""A side's own note of how far a listing has come: small, JSON-able, opaque to the core."""

INBOX: FolderPath = ("INBOX",)
"""The path by which every side names the folder that new mail arrives in (RFC 9051 §5.1)."""

SYSTEM_FLAGS = frozenset({"\\Seen", "\\Answered", "\\Flagged", "\\Draft"})
"""The flags of RFC 9051 §2.3.2 that a migration carries; ``\\Deleted`` and ``\\Recent`` it never does."""


class SpecialUse(enum.Enum):
    """What a folder is for (RFC 6154 §2, RFC 8457), whatever it is called."""

    ALL = "\\All"
    ARCHIVE = "\\Archive"
    DRAFTS = "\\Drafts"
    FLAGGED = "\\Flagged"
    IMPORTANT = "\\Important"
    JUNK = "\\Junk"
    SENT = "\\Sent"
    TRASH = "\\Trash"


@frozen
class Folder:
    """A folder as one side lists it.

    ``messages`` and ``octets`` are hints for planning and order of work, ``None`` where the side did not say.
    """

    path: FolderPath
    special_use: SpecialUse | None = None
    selectable: bool = True
    """False for a mere container (``\\Noselect``): it holds folders, never messages."""
    inferiors: bool = True
    """False where the server allows no folder beneath it (``\\Noinferiors``)."""
    messages: int | None = None
    octets: int | None = None
    handle: str = field(default="", eq=False)
    """The side's own raw name for the folder, such as the mailbox name on the wire. Only the side reads it."""


@frozen
class Entry:
    """What a listing says of one message.

    ``size`` (octets, RFC822.SIZE) and ``internal_date`` (aware) together are the key's *witness*; either is
    ``None`` where this listing did not tell it, which contradicts nothing.
    """

    key: str
    size: int | None = None
    internal_date: datetime | None = None
    flags: frozenset[str] = frozenset()


@frozen
class Changes:
    """One page of what a folder holds, or of what changed in it since a cursor.

    A folder is answered by one or more pages in a row, at most ``PAGE`` entries each, all with the same
    ``epoch`` and ``complete``. Exactly the last page carries a ``cursor``.
    """

    folder: Folder
    epoch: str
    """Changes when the folder's old keys have lost their meaning (IMAP: a new UIDVALIDITY, and more)."""
    entries: Sequence[Entry] = ()
    """Messages that are new, or whose flags may have changed. The engine tells which from its ledger."""
    gone: Sequence[str] = ()
    """Keys known to exist no more. Not needed where ``complete``."""
    complete: bool = False
    """True: the pages together list every message of the folder, and a key that is not in them is gone."""
    cursor: Cursor | None = None
    storable_flags: frozenset[str] | None = None
    """The flags that this folder can store (PERMANENTFLAGS without ``\\*``); ``None``: any keyword."""
    shortage: Remark | None = None
    """On the last page: the folder has more messages than its server lists, asked again. A problem in the report;
    ``None`` also where the side does not know how many there are."""


PAGE = 5_000
"""The most entries in one page of ``Changes``."""


@frozen
class Unusable:
    """A folder that could not be listed, or not be made: a problem in the report, tried again next time."""

    path: FolderPath
    reason: str


@frozen
class Headers:
    """Header fields of one message in RFC 5322 form, at least Message-ID, Date, From and Subject."""

    key: str
    octets: bytes = field(repr=False)


@frozen
class Message:
    """A message as its source gave it. ``octets`` are untouched; ``None`` means "as it was listed"."""

    folder: FolderPath
    key: str
    octets: bytes = field(repr=False)
    flags: frozenset[str] | None = None
    internal_date: datetime | None = None


@frozen
class Gone:
    """The key exists no more, or no longer names what its witness says: the source was asked again."""

    folder: FolderPath
    key: str


@frozen
class Unreadable:
    """The source has the message and will not give it: a problem, tried again in the next pass."""

    folder: FolderPath
    key: str
    reason: str


@frozen
class Delivery:
    """A message on its way into a folder of the sink. ``id`` is the engine's; outcomes name it."""

    id: int
    folder: Folder
    octets: bytes = field(repr=False)
    flags: frozenset[str] = frozenset()
    internal_date: datetime | None = None


Batch: TypeAlias = Sequence[Delivery]
"""Messages that travel together, of one or several folders: what one intent in the ledger covers."""

BATCH_OCTETS = 4 * 1024 * 1024
BATCH_MESSAGES = 500


@frozen
class Stored:
    """The server said that it has the message. ``key`` is its key there, ``None`` where it did not tell."""

    id: int
    key: str | None = None


@frozen
class NotStored:
    """The message was not stored, as far as is known. The error's grade says how far that is.

    ``Refused``: the server will not take it. ``InDoubt``: it may have. ``Transient``: nothing of it was
    acted upon, it may be sent again at once.
    """

    id: int
    error: Refused | InDoubt | Transient


@frozen
class Moved:
    """A message moved within the sink; ``new_key`` is ``None`` where the server did not tell."""

    key: str
    new_key: str | None


@frozen
class FlagChange:
    """Flags to add to and to take from one message; all others are left as they are."""

    key: str
    add: frozenset[str] = frozenset()
    remove: frozenset[str] = frozenset()


@frozen
class Traits:
    """What a source is like. Each field is used by the engine."""

    stable_octets: bool = True
    """The same key gives the same octets each time (IMAP, POP3: yes; EWS renders anew: no)."""
    lists_flags: bool = True
    """A listing tells flags. False (POP3): a message's flags come with the message itself, once, and those of an
    ``Entry`` say nothing."""
    tells_news: bool = False
    """``wait`` may be called: the server tells by itself of new messages (IMAP IDLE)."""
    max_connections: int | None = None
    """Connections that the server bears at once for this endpoint's host; ``None`` where unknown."""
    host: str = ""
    """What the governor counts connections and pace by. Empty: no server, no limit."""


@frozen
class PathRules:
    """What a sink can call a folder. Folder mapping obeys it (see ``alimail_core.folders.mapping``)."""

    delimiter: str | None = "/"
    """Cannot stand in a component; ``None``: the sink is flat."""
    forbidden: str = ""
    """Characters besides the delimiter and the controls that a component cannot hold."""
    max_depth: int | None = None
    max_octets: int | None = None
    """Octets of one component as ``encoding`` writes it."""
    encoding: str = "imap-utf-7"
    """``"imap-utf-7"`` (RFC 9051 §A.1) or ``"utf-8"``."""
    case_sensitive: bool = True
    """False: names that differ only in case are one folder there."""
    keep_spaces: bool = True
    """False: leading and trailing spaces or dots of a component are lost or refused there."""


@frozen
class Quota:
    """Storage in octets (RFC 9208 STORAGE times 1,024)."""

    used: int
    limit: int


@frozen
class FolderCount:
    """How many messages a folder has, as a service's own books tell it beside the protocol of its mail."""

    name: str
    """Its own name, without those of the folders that it is in."""
    messages: int
    special_use: SpecialUse | None = None
    inbox: bool = False


@frozen
class MailCount:
    """The folders of one mailbox; ``reason`` says why there are none, where it could not be looked at."""

    address: str
    folders: tuple[FolderCount, ...] = ()
    reason: str = ""


@frozen
class SinkTraits(Traits):
    """What a sink is like, beyond a source's traits."""

    rules: PathRules = PathRules()
    max_message_octets: int | None = None
    """APPENDLIMIT (RFC 7889), or as configured; a larger message is quarantined without being sent."""
    moves: bool = False
    """``move`` and ``remove`` are safe here: they touch exactly the keys given (MOVE, or UIDPLUS)."""


@frozen
class LeftBehind:
    """A folder at the source whose items are no mail: a calendar, contacts, tasks. It stays there."""

    path: FolderPath
    items: int
