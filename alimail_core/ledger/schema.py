"""The ledger's tables: plain, few, commented. ``sqlite3 alimail.db .schema`` shows the same.

It holds no content, no subject and no password. Digests and fingerprints are one-way; Message-IDs are kept
only as a short hash, but of a message in quarantine, so that its owner can look it up. Times are
seconds since 1970 in UTC; an internal date keeps its zone beside it, in minutes.
"""

from __future__ import annotations

from enum import IntEnum

from sqlalchemy import (
    BigInteger,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    and_,
    literal_column,
    not_,
    or_,
)

SCHEMA_VERSION = 7
APPLICATION_ID = 0x616C696D
"""``alim``: the four octets at offset 68 of the SQLite file by which a foreign database is told apart."""


class State(IntEnum):
    """Where a message stands. The numbers are stored: never renumber."""

    PENDING = 0
    """Listed at the source; no octet of it has been sent since its last certain failure."""
    SENT = 1
    """An intent covers it: it may stand in the target. Only looking there decides."""
    STORED = 2
    """The target has it, by the server's word or by what was read there."""
    REFUSED = 3
    """In quarantine: the target will not take it; a problem tells why."""
    UNREADABLE = 4
    """The source did not give it; a problem tells why. Tried again in the next pass."""
    COLLAPSED = 5
    """By wish not copied, because an identical message of the same folder was."""
    VANISHED = 6
    """It left the source before it could be carried."""
    MOVING = 7
    """Stored; a move of our copy to ``moving_to`` was begun and its end is not known."""
    MERGED = 8
    """The target keeps it and an identical message as one: nothing of its own stands there, and nothing is lost."""
    LEFT_OUT = 9
    """By wish not carried, as ``account.left_out_by`` says; considered anew when that or its flags change."""


class Origin(IntEnum):
    """How the ledger knows a message's key in the target. The numbers are stored: never renumber."""

    APPENDED = 1
    """The server told the key in answer to our own APPEND: provably ours."""
    FOUND = 2
    """We sent it and found it there by reading."""
    ADOPTED = 3
    """It was there before we sent anything: somebody else's work."""


metadata = MetaData()

migration = Table(
    "migration",
    metadata,
    Column("id", Text, primary_key=True),
    Column("schema_version", Integer, nullable=False),
    Column("name", Text, nullable=False),
    Column("created", Float, nullable=False),
)

account = Table(
    "account",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("source_address", Text, nullable=False),
    Column("target_address", Text, nullable=False),
    Column("source_endpoint", Text, nullable=False, server_default=""),
    Column("target_endpoint", Text, nullable=False, server_default=""),
    Column("enabled", Integer, nullable=False, server_default="1"),
    Column("passes", Integer, nullable=False, server_default="0"),
    # what the last pass said: "", "running", or the state of a PassSummary
    Column("state", Text, nullable=False, server_default=""),
    Column("reason", Text, nullable=False, server_default=""),
    Column("remedy", Text, nullable=False, server_default=""),
    Column("started", Float),
    Column("ended", Float),
    Column("octets", BigInteger, nullable=False, server_default="0"),
    # from the begin of each pass to its last settled batch; NULL: not known, the ledger is of an earlier version
    Column("seconds", Float, default=0.0),
    # when a pass last added messages to the target or took some away; NULL: as above
    Column("changed", Float, default=0.0),
    Column("left_out_by", Text, nullable=False, server_default=""),  # what the last pass chose messages by
    Column("placed_by", Text, nullable=False, server_default=""),  # the folder policy of the last pass
    # the lease: every write of a pass carries the fence, so a pass that lost its lease stops
    Column("owner", Text, nullable=False, server_default=""),
    Column("fence", Integer, nullable=False, server_default="0"),
    Column("heartbeat", Float),
    Column("stop_fence", Integer),  # the pass with this fence is asked to stop, and no later one
    # messages and octets by state, in JSON, as the lease with this fence has left them; with any other it is stale
    Column("tally", Text),
    Column("tally_fence", Integer),
    UniqueConstraint("source_address", "target_address"),
)

folder = Table(
    "folder",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account_id", ForeignKey("account.id"), nullable=False),
    Column("side", Text, nullable=False),  # "source" or "target"
    Column("path", Text, nullable=False),  # JSON array of names
    Column("special_use", Text, nullable=False, server_default=""),
    Column("epoch", Text),
    Column("cursor", Text),  # JSON, the side's own
    Column("target_id", Integer),  # of a source folder: where its messages go
    Column("rule", Text, nullable=False, server_default=""),
    UniqueConstraint("account_id", "side", "path"),
)

message = Table(
    "message",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("folder_id", ForeignKey("folder.id"), nullable=False),
    Column("key", Text),  # NULL: the old key means nothing any more
    Column("size", BigInteger),
    Column("date", BigInteger),
    Column("zone", SmallInteger),
    Column("flags", Text, nullable=False, server_default=""),  # as the source has them now
    Column("gone", SmallInteger, nullable=False, server_default="0"),  # 1: left the source; 2: for good
    Column("state", SmallInteger, nullable=False, server_default="0"),
    Column("fingerprint", LargeBinary(16)),
    Column("message_hash", LargeBinary(8)),
    Column("digest", LargeBinary(32)),  # of the octets as they were read
    Column("canonical", LargeBinary(32)),  # NULL where equal to digest
    Column("sent_digest", LargeBinary(32)),  # NULL where equal to digest; else the message was mended
    Column("stored_digest", LargeBinary(32)),  # NULL unless the target altered what it stored
    Column("batch_id", Integer),
    Column("doubts", SmallInteger, nullable=False, server_default="0"),
    Column("target_id", Integer),  # folder where it stands, or was sent to
    Column("target_key", Text),
    Column("target_size", BigInteger),
    Column("target_date", BigInteger),
    Column("origin", SmallInteger),
    Column("carried", Text),  # flags that the target was given; differs from flags: to be carried
    Column("target_gone", SmallInteger, nullable=False, server_default="0"),  # moved or removed there since
    Column("moving_to", Integer),
    UniqueConstraint("folder_id", "key"),
    # With the size, so that sums are read off it alone; it is written whenever the state is, and not more often.
    Index("message_place", "folder_id", "state", "target_id", "size"),
    Index("message_target", "target_id", "target_key"),
    Index("message_digest", "target_id", "digest"),
)

_M, _NO = message.c, literal_column("0", Integer)
RESTLESS = not_(
    or_(
        _M.state != literal_column(str(int(State.STORED))),
        and_(
            _M.gone == _NO,
            _M.doubts == _NO,
            _M.target_key.is_not(None),
            _M.target_size.is_not(None),
            _M.carried.is_not(None),
            _M.carried == _M.flags,
        ),
    )
)
"""Stored, and a pass may have something to do with it, which is true of few: they have an index of their own.

SQLite takes it where a question has these very words, without a parameter in them, and does not ask for the state by
itself: without statistics the larger index would seem as good then.
"""
Index("message_restless", _M.folder_id, sqlite_where=RESTLESS)

stranger = Table(
    "stranger",
    metadata,
    # an entry of a target folder that no message claims
    Column("id", Integer, primary_key=True),
    Column("folder_id", ForeignKey("folder.id"), nullable=False),
    Column("key", Text, nullable=False),
    Column("size", BigInteger),
    Column("date", BigInteger),
    Column("fingerprint", LargeBinary(16)),
    Column("message_hash", LargeBinary(8)),
    UniqueConstraint("folder_id", "key"),
)

batch = Table(
    "batch",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account_id", ForeignKey("account.id"), nullable=False),
    Column("intended", Float, nullable=False),
    Column("ended", Float),  # when its connection ended without an answer; NULL: answered, or killed
    # 1: the server answered, so nothing of it can still happen; 0: it may still finish
    Column("over", SmallInteger, nullable=False, server_default="0"),
)

problem = Table(
    "problem",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("account_id", ForeignKey("account.id"), nullable=False),
    Column("folder_id", Integer),
    Column("message_id", Integer),
    # "refused", "unreadable", "folder", "extra", "merged", "lost"
    Column("kind", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("remedy", Text, nullable=False, server_default=""),
    Column("identifier", Text, nullable=False, server_default=""),  # the Message-ID of a refused message
    Column("first", Float, nullable=False),
    Column("last", Float, nullable=False),
    UniqueConstraint("account_id", "folder_id", "message_id", "kind"),
)

note = Table(
    "note",
    metadata,
    # what cost no message and is worth counting: a keyword dropped, a message mended, a copy moved
    Column("id", Integer, primary_key=True),
    Column("account_id", ForeignKey("account.id"), nullable=False),
    Column("text", Text, nullable=False),
    Column("count", Integer, nullable=False),
    UniqueConstraint("account_id", "text"),
)

server = Table(
    "server",
    metadata,
    # what `tls = auto` was found to be, once, so that nobody on the way can talk us into less later
    Column("kind", Text, primary_key=True),
    Column("host", Text, primary_key=True),
    Column("port", Integer, primary_key=True, autoincrement=False),  # as it was given; 0: it was left out
    Column("tls", Text, nullable=False),
    Column("found_port", Integer, nullable=False),
)

ADDED = (
    (account, "stop_fence", "INTEGER"),
    (account, "left_out_by", "TEXT NOT NULL DEFAULT ''"),
    (account, "placed_by", "TEXT NOT NULL DEFAULT ''"),
    (account, "tally", "TEXT"),
    (account, "tally_fence", "INTEGER"),
    (account, "seconds", "FLOAT"),
    (account, "changed", "FLOAT"),
    (problem, "identifier", "TEXT NOT NULL DEFAULT ''"),
)
"""Columns that a ledger of an earlier version may lack."""

REMOVED_INDEXES = ("message_state",)
"""Indexes of an earlier version that others stand for now."""
