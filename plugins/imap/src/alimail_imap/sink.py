"""IMAP as a sink."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from alimail_core import (
    AlimailError,
    Batch,
    Clock,
    Credentials,
    Delivery,
    Denied,
    FlagChange,
    Folder,
    FolderPath,
    InDoubt,
    Moved,
    NotStored,
    PathRules,
    Quota,
    Refused,
    Remark,
    Sink,
    SinkTraits,
    SpecialUse,
    Stored,
    Transient,
    Unusable,
)
from alimail_imap.append import AppendStrategy
from alimail_imap.connection import Connection, astring, of_kind
from alimail_imap.creating import create_folders
from alimail_imap.fetched import write_flags
from alimail_imap.grades import grade
from alimail_imap.login import connect, introduction
from alimail_imap.options import ImapOptions
from alimail_imap.remarks import remarks_of
from alimail_imap.session import Session
from alimail_imap.shares import Shares
from alimail_imap.source import ImapSource
from alimail_imap.spread import choose
from alimail_imap.tokens import Response, Status, Token, parse_status
from alimail_imap.uidsets import expand, format_sets, parse_set

MAX_DEPTH = 50
"""The most levels of folders that we make; a deeper one is made beside its parent. No server tells its own limit."""
THIS_MOMENT = 1.0
"""Seconds for which folders that were listed with the naming are those of now: who opens a target lists it next."""
_MARK = frozenset({"\\Deleted"})
_SHARES = Shares()
"""Of all sinks in this process: it is the process's connections that a server counts."""
Choose = Callable[[Connection], AppendStrategy]


class ImapSink(ImapSource, Sink):
    """A mailbox on an IMAP server, to write to.

    ``strategy`` decides how messages are sent; ``rules`` overrides what folders can be called.
    """

    def __init__(
        self,
        session: Session,
        reconnect: Callable[[], Connection],
        *,
        strategy: AppendStrategy | None = None,
        rules: PathRules | None = None,
    ) -> None:
        super().__init__(session, write=True)
        self._reconnect = reconnect
        self._strategy = strategy or choose(session.connection)
        self._rules = rules
        self._open = True
        self._listed: list[Folder] | None = None
        self._listed_at: float | None = None
        """When that came together with the naming, by the monotonic clock, unless it was given to somebody since."""
        _SHARES.enter(session.options.address)

    @classmethod
    def open(
        cls,
        options: ImapOptions,
        credentials: Credentials,
        *,
        choose: Choose = choose,
        rules: PathRules | None = None,
    ) -> ImapSink:
        """Connect and log in; ``choose`` picks the strategy once the capabilities are known.

        Raises what ``SinkKind.open`` does.
        """
        session = Session.open(options, credentials)
        return cls(
            session, lambda: connect(options, credentials), strategy=choose(session.connection), rules=rules
        )

    @property
    def connection(self) -> Connection:
        """The connection, for the strategy."""
        return self.session.connection

    @property
    def traits(self) -> SinkTraits:
        """What this server is like and can do. The first time it is asked, and lists its folders as well."""
        options = self.session.options
        if not self.session.is_named:
            self._listed, self._listed_at = self.session.list_folders(), time.monotonic()
        return SinkTraits(
            tells_news=self.connection.offers("IDLE"),
            max_connections=options.max_connections,
            host=options.host,
            rules=self._rules or self._path_rules(),
            max_message_octets=options.max_message_octets or self._append_limit(),
            moves=self.connection.offers("UIDPLUS"),
        )

    def _path_rules(self) -> PathRules:
        delimiter = self.session.names.delimiter
        return PathRules(
            delimiter=delimiter.decode("ascii", "replace") if delimiter else None,
            forbidden=self.session.options.forbidden,
            max_octets=self.session.options.max_name_octets,
            max_depth=MAX_DEPTH,
        )

    def _append_limit(self) -> int | None:
        """Read ``APPENDLIMIT=n`` (RFC 7889); one that differs from folder to folder is learnt from each NO."""
        for word in self.connection.capabilities:
            name, _, number = word.partition("=")
            if name == "APPENDLIMIT" and number.isdigit():
                return int(number)
        return None

    def quota(self) -> Quota | None:
        """Ask for the inbox's storage quota (RFC 9208)."""
        if not self.connection.offers("QUOTA"):
            return None
        responses, status = self.connection.run(b"GETQUOTAROOT INBOX")
        for response in of_kind(responses, b"QUOTA") if status.ok else ():
            match response.tokens():
                case [_, _, list(resources)] if (quota := _storage(resources)) is not None:
                    return quota
        return None

    # Folders

    def folders(self) -> Iterable[Folder]:
        """List the folders of the personal namespace; how much stands in a target is of no use to anybody."""
        listed_at, self._listed_at = self._listed_at, None
        if self._listed is None or listed_at is None or time.monotonic() - listed_at > THIS_MOMENT:
            self._listed = self.session.list_folders()
        return self._listed

    def create(self, wanted: Sequence[tuple[FolderPath, SpecialUse | None]]) -> Iterator[Folder | Unusable]:
        """Make folders and what stands above them, subscribe to them, answer what the server really has."""
        there = self._listed if self._listed is not None else self.folders()
        self._listed = None  # it is a little old now
        return create_folders(self.session, wanted, list(there))

    # Messages

    def append(self, batches: Iterable[Batch]) -> Iterator[Stored | NotStored]:
        """Store messages in the way that suits the server (``alimail_imap.append``)."""
        _ = self.session.names  # Asked for now: lanes work side by side, and with commands in flight.
        # A server looks after each command for what is new in the folder that is open. Dovecot keeps some 30 octets
        # for each message there every time, and ends the session at its limit.
        self.session.leave()
        return self._strategy.append(self, map(self._counted, batches))

    def _counted(self, batch: Batch) -> Batch:
        self.session.sent.update(self.session.names.wire(delivery.folder) for delivery in batch)
        return batch

    def another(self) -> Connection:
        """Log in once more, for a strategy that uses several connections."""
        connection = self._reconnect()
        for words in introduction(connection):
            connection.send(*words)
        return connection

    def most_connections(self) -> int:
        """Return how many connections this mailbox may be written over, as long as others are written to as well."""
        options = self.session.options
        return min(options.append_connections, _SHARES.share(options.address, options.max_connections))

    def mailbox(self, folder: Folder) -> bytes:
        """Write a folder's name as an argument that needs no go-ahead."""
        return self.connection.inline(self.session.names.wire(folder))

    def flags(self, delivery: Delivery) -> frozenset[str]:
        """Return the flags that the folder can store: what it cannot must not cost the message."""
        storable = self.session.storable.get(self.session.names.wire(delivery.folder))
        return delivery.flags if storable is None else delivery.flags & storable

    def key(self, folder: Folder, uidvalidity: int, uid: int) -> str | None:
        """Return the key of a UID that the server just gave; ``None`` where it might name another message too."""
        key = self.session.new_key(self.session.names.wire(folder), uidvalidity, uid)
        return None if key is None else str(key)

    def change_flags(self, folder: Folder, changes: Sequence[FlagChange]) -> None:
        """Add and remove flags; messages with the same wish share a command."""
        self.session.select(folder, write=True, fresh=True)
        uids = {
            key: uid for uid, key in self.session.uids(folder, [change.key for change in changes]).items()
        }
        wishes: dict[tuple[bytes, frozenset[str]], list[int]] = {}
        for change in changes:
            for sign, flags in ((b"+", change.add), (b"-", change.remove)):
                if flags and change.key in uids:
                    wishes.setdefault((sign, flags), []).append(uids[change.key])
        commands = (
            command
            for (sign, flags), numbers in wishes.items()
            for command in self._store(numbers, sign, flags)
        )
        for _, status in self.connection.pipeline(commands, doing="folder"):
            if not status.ok:
                raise grade(status, "folder")

    def _store(self, uids: Iterable[int], sign: bytes, flags: frozenset[str]) -> Iterator[tuple[bytes, ...]]:
        """Write the commands that add or remove flags; none where the folder can store none of them."""
        storable = self.session.state.storable
        kept = write_flags(flags if storable is None else flags & storable, also=_MARK)
        for numbers in format_sets(uids) if kept != b"()" else ():
            yield b"UID STORE ", numbers, b" %sFLAGS.SILENT " % sign, kept

    def move(self, folder: Folder, keys: Sequence[str], to: Folder) -> Iterator[Moved]:
        """Move messages: MOVE where the server has it, else COPY and a removal of exactly the originals."""
        self.session.select(folder, write=True, fresh=True)
        wanted = self._present(self.session.uids(folder, keys))
        for numbers in format_sets(wanted):
            part = {uid: wanted[uid] for uid in expand(parse_set(numbers))}
            yield from self._move(numbers, part, to)

    def _move(self, numbers: bytes, part: dict[int, str], to: Folder) -> Iterator[Moved]:
        name = astring(self.session.names.wire(to))
        verb = b"MOVE" if self.connection.offers("MOVE") else b"COPY"
        try:
            responses, status = self.connection.run(b"UID ", verb, b" ", numbers, b" ", name, doing="folder")
            if not status.ok:
                raise _refused_move(responses, status)
            if verb == b"COPY":
                self._expunge_copied(numbers)
        except Transient as error:
            raise InDoubt(f"the answer to a move was lost: {error.message}") from error
        codes = [status, *(found for one in responses if (found := parse_status(one.head)) is not None)]
        new = _copied(codes)
        for uid, key in part.items():
            uidvalidity, copy = new.get(uid, (0, 0))
            yield Moved(key, self.key(to, uidvalidity, copy) if copy else None)

    def _expunge_copied(self, numbers: bytes) -> None:
        try:
            self._expunge(numbers)
        except Refused as error:
            raise InDoubt(f"copied, and then not removed: {error.message}", over=True) from error

    def remove(self, folder: Folder, keys: Sequence[str]) -> Iterator[str]:
        """Remove exactly these messages by UID EXPUNGE; others that are marked deleted stay."""
        self.session.select(folder, write=True, fresh=True)
        wanted = self._present(self.session.uids(folder, keys))
        for numbers in format_sets(wanted):
            try:
                self._expunge(numbers)
            except Transient as error:
                raise InDoubt(f"the answer to a removal was lost: {error.message}") from error
        yield from wanted.values()

    def _expunge(self, numbers: bytes) -> None:
        self.connection.ask(b"UID STORE ", numbers, b" +FLAGS.SILENT (\\Deleted)", doing="folder")
        try:
            self.connection.ask(b"UID EXPUNGE ", numbers, doing="folder")
        except Refused:
            # What stays marked would go with the next EXPUNGE of any client.
            self.connection.run(b"UID STORE ", numbers, b" -FLAGS.SILENT (\\Deleted)")
            raise

    def _present(self, wanted: dict[int, str]) -> dict[int, str]:
        if not self.connection.offers("UIDPLUS"):
            raise Denied("the server has no UIDPLUS, and without it nothing is removed from a mailbox")
        found = {fetched.uid for fetched in self._lister.fetch_uids(wanted, b"(UID FLAGS)")}
        return {uid: key for uid, key in wanted.items() if uid in found}

    def remarks(self) -> Iterable[Remark]:
        """Tell what the server can do and cannot, and how the connection is protected."""
        return remarks_of(self.session, sink=True)

    def close(self) -> None:
        """Log out."""
        if self._open:
            self._open = False
            _SHARES.leave(self.session.options.address)
        super().close()


def _refused_move(responses: list[Response], status: Status) -> AlimailError:
    """Return the error of a NO to a move; a server may have moved some of the messages before (RFC 6851 §4.3)."""
    error = grade(status, "folder")
    if any(response.kind() in (b"EXPUNGE", b"VANISHED") for response in responses):
        return InDoubt(f"moved in part: {error.message}", over=True)
    return error


def _storage(resources: list[Token]) -> Quota | None:
    """Pick STORAGE from a quota's triples of name, usage and limit."""
    for name, used, limit in zip(resources[::3], resources[1::3], resources[2::3], strict=False):
        match name, used, limit:
            case bytes(), bytes(), bytes() if (
                name.upper() == b"STORAGE" and used.isdigit() and limit.isdigit()
            ):
                return Quota(int(used) * 1024, int(limit) * 1024)
    return None


def _copied(codes: Iterable[Status]) -> dict[int, tuple[int, int]]:
    """Read COPYUID (RFC 4315 §3) wherever it stands: from each UID to the new UIDVALIDITY and UID."""
    for status in codes:
        words = status.argument.split(b" ")
        if status.code == "COPYUID" and len(words) == 3 and words[0].isdigit():
            try:
                old, new = (list(expand(parse_set(word))) for word in words[1:])
            except ValueError:
                continue
            if len(old) == len(new):
                return {uid: (int(words[0]), copy) for uid, copy in zip(old, new, strict=True)}
    return {}


def open_sink(options: ImapOptions, credentials: Credentials, clock: Clock) -> ImapSink:
    """Connect and log in. See ``SinkKind.open``."""
    return ImapSink.open(options, credentials)
