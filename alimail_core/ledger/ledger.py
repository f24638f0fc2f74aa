"""The ledger as a whole: opened, guarded, and read by ``status`` and ``report``."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from attrs import field, frozen
from sqlalchemy.pool import StaticPool

from alimail_core.errors import LeaseHeld, LedgerError
from alimail_core.ledger import schema
from alimail_core.ledger.book import Book
from alimail_core.ledger.lease import is_alive, this_owner
from alimail_core.ledger.schema import (
    APPLICATION_ID,
    SCHEMA_VERSION,
    account,
    migration,
    problem,
)
from alimail_core.ledger.tallies import Counts, count, keep, kept_counts
from alimail_core.seam import Clock

BUSY_SECONDS = 60.0


@frozen
class AccountRow:
    """One account as the ledger has it."""

    id: int
    source_address: str
    target_address: str
    enabled: bool = field(converter=bool)
    state: str
    reason: str
    remedy: str
    passes: int
    started: float | None
    ended: float | None
    octets: int
    owner: str
    heartbeat: float | None = None
    seconds: float | None = None


@frozen
class ProblemRow:
    """One message or folder that was not carried, and why."""

    account_id: int
    folder_id: int | None
    message_id: int | None
    kind: str
    reason: str
    remedy: str
    first: float
    last: float


class Ledger:
    """A migration's ledger. Safe to use from several threads; each account's ``Book`` has its own connection."""

    def __init__(self, engine: sa.Engine, clock: Clock) -> None:
        self.engine = engine
        self.clock = clock
        self.on_sync: Callable[[], None] = lambda: None
        """Called after each synced commit; the crash tests take their snapshot of the durable state here."""

    @classmethod
    def open(cls, location: str, name: str, clock: Clock | None = None, *, create: bool = True) -> Ledger:
        """Open the ledger of the migration ``name`` at a path or database URL, making it where it is new.

        Raises ``LedgerError`` for a file that is foreign, truncated, locked, of a newer version or of another
        migration; such a file is not touched.
        """
        if "://" in location:
            engine = _database_engine(location)
        else:
            path = Path(location)
            try:
                _examine_file(path, create)
            except OSError as error:
                raise LedgerError(
                    f"the ledger {path} cannot be used: {error.strerror}", remedy=_PLACE_REMEDY
                ) from error
            engine = _sqlite_engine(path)
        ledger = cls(engine, clock or Clock())
        with _told_plainly(location):
            ledger._bind(name)
        return ledger

    @classmethod
    def in_memory(
        cls, name: str = "memory", clock: Clock | None = None, snapshot: bytes | None = None
    ) -> Ledger:
        """Make a ledger that lives in this process only, optionally from an earlier ``snapshot()``."""
        connection = sqlite3.connect(":memory:", check_same_thread=False, isolation_level=None)
        if snapshot is not None:
            connection.deserialize(snapshot)
        engine = sa.create_engine("sqlite://", creator=lambda: connection, poolclass=StaticPool)
        sa.event.listen(engine, "begin", _begin)
        ledger = cls(engine, clock or Clock())
        ledger._bind(name)
        return ledger

    def snapshot(self) -> bytes:
        """Return the whole of an in-memory ledger as octets."""
        with self.engine.connect() as connection:
            raw = connection.connection.dbapi_connection
            assert isinstance(raw, sqlite3.Connection)
            return raw.serialize()

    def _bind(self, name: str) -> None:
        """Make the tables where there are none, and refuse a ledger that belongs to another migration.

        A ledger that is whole is only read, so that nobody waits for a pass that is writing.
        """
        with self.reading() as connection:
            made = sa.inspect(connection).has_table(migration.name)
            row = connection.execute(sa.select(migration)).first() if made else None
        if row is None:
            with self._write() as connection:
                schema.metadata.create_all(connection)
                row = connection.execute(sa.select(migration)).first()
                if row is None:  # and no other process has come first
                    self._mark(connection, name)
                    return
        if row.name != name:
            raise LedgerError(
                f"the ledger belongs to the migration {row.name!r}, not to {name!r}",
                remedy="Name the ledger of this migration, or a new file.",
            )
        if row.schema_version < SCHEMA_VERSION:
            self._upgrade(row.schema_version)

    def _mark(self, connection: sa.Connection, name: str) -> None:
        """Write down, in tables that were just made, whose they are and of what version."""
        values = {"schema_version": SCHEMA_VERSION, "created": self.clock.now().timestamp()}
        connection.execute(migration.insert().values(id=name, name=name, **values))
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql(f"PRAGMA application_id = {APPLICATION_ID}")
            connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _upgrade(self, version: int) -> None:
        with self._write() as connection:
            schema.metadata.create_all(connection)
            for table, name, kind in schema.ADDED:
                if name not in {column["name"] for column in sa.inspect(connection).get_columns(table.name)}:
                    connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {name} {kind}")
            for index in schema.message.indexes:
                index.create(connection, checkfirst=True)
            for name in schema.REMOVED_INDEXES:
                connection.exec_driver_sql(f"DROP INDEX IF EXISTS {name}")
            connection.execute(migration.update().values(schema_version=SCHEMA_VERSION))
            if connection.dialect.name == "sqlite":
                connection.exec_driver_sql(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def close(self) -> None:
        """Let go of the database."""
        self.engine.dispose()

    @contextmanager
    def told_plainly(self) -> Iterator[None]:
        """Turn the database's own errors into ``LedgerError`` with a remedy."""
        with _told_plainly(str(self.engine.url.database or "")):
            yield

    def set_sync(self, connection: sa.Connection, sync: bool) -> None:
        """Say whether the next commit waits for the disk (SQLite: outside, PostgreSQL: inside a transaction)."""
        if connection.dialect.name == "sqlite":
            raw = connection.connection.dbapi_connection
            assert isinstance(raw, sqlite3.Connection)
            raw.execute(f"PRAGMA synchronous = {'FULL' if sync else 'NORMAL'}")
        else:
            connection.exec_driver_sql(f"SET LOCAL synchronous_commit = {'on' if sync else 'off'}")

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Give a connection for questions, in which nobody waits for a pass that is writing."""
        with self.told_plainly(), self.engine.connect() as connection:
            yield connection.execution_options(alimail_reading=True)

    @contextmanager
    def _write(self) -> Iterator[sa.Connection]:
        with self.told_plainly(), self.engine.begin() as connection:
            yield connection

    # accounts

    def account(self, source_address: str, target_address: str) -> int:
        """Return the account's id, made where it is new: an account is its pair of addresses, nothing else."""
        where = (account.c.source_address == source_address) & (account.c.target_address == target_address)
        with self._write() as connection:
            found = connection.execute(sa.select(account.c.id).where(where)).scalar()
            if found is not None:
                return int(found)
            values = {"source_address": source_address, "target_address": target_address}
            made = connection.execute(account.insert().values(values))
            assert made.inserted_primary_key is not None
            return int(made.inserted_primary_key[0])

    def accounts(self, search: str = "") -> list[AccountRow]:
        """List accounts whose source or target address contains ``search``, in order of their making."""
        names = [attribute.name for attribute in AccountRow.__attrs_attrs__]
        query = sa.select(*(account.c[name] for name in names)).order_by(account.c.id)
        if search:
            either = account.c.source_address.icontains(search, autoescape=True)
            query = query.where(either | account.c.target_address.icontains(search, autoescape=True))
        with self.reading() as connection:
            return [AccountRow(*row) for row in connection.execute(query)]

    def enable(self, account_ids: Sequence[int], enabled: bool = True) -> None:
        """Let accounts run, or stop them: a running pass sees it before its next batch."""
        with self._write() as connection:
            connection.execute(
                account.update().where(account.c.id.in_(account_ids)).values(enabled=int(enabled))
            )

    def ask_to_stop(self, account_ids: Sequence[int]) -> None:
        """Ask the passes that hold these accounts now to stop before their next batch; later ones may run."""
        with self._write() as connection:
            here = account.c.id.in_(account_ids)
            connection.execute(account.update().where(here).values(stop_fence=account.c.fence))

    def counts(self, account_id: int) -> Counts:
        """Return messages and octets by state, such as ``{"STORED": (120, 4711)}``."""
        return self.counts_of([account_id])[account_id]

    def counts_of(self, account_ids: Sequence[int]) -> dict[int, Counts]:
        """Return the same of many accounts, by their ids."""
        with self.reading() as connection:
            told = kept_counts(connection, account_ids)
            stale = [account_id for account_id in account_ids if account_id not in told]
            return told | count(connection, stale)

    def problem_counts(self) -> dict[int, int]:
        """Count what was not carried, by account; one that has nothing of it is left out."""
        query = sa.select(problem.c.account_id, sa.func.count()).group_by(problem.c.account_id)
        with self.reading() as connection:
            return {int(account_id): int(number) for account_id, number in connection.execute(query)}

    def problems(self, account_id: int | None = None) -> list[ProblemRow]:
        """List what was not carried, oldest first."""
        names = [attribute.name for attribute in ProblemRow.__attrs_attrs__]
        query = sa.select(*(problem.c[name] for name in names)).order_by(problem.c.id)
        if account_id is not None:
            query = query.where(problem.c.account_id == account_id)
        with self.reading() as connection:
            return [ProblemRow(**row) for row in connection.execute(query).mappings()]

    def notes(self, account_id: int) -> list[tuple[str, int]]:
        """List what cost no message and was counted, such as dropped keywords."""
        query = sa.select(schema.note.c.text, schema.note.c.count).where(
            schema.note.c.account_id == account_id
        )
        with self.reading() as connection:
            return [
                (str(text), int(count))
                for text, count in connection.execute(query.order_by(schema.note.c.id))
            ]

    def total_octets(self) -> int:
        """Return the octets that this migration has written, over all accounts."""
        with self.reading() as connection:
            return int(connection.execute(sa.select(sa.func.sum(account.c.octets))).scalar() or 0)

    # books

    def read(self, account_id: int) -> Book:
        """Open an account's book for reading; it holds no lease, and must be closed."""
        return Book(self, account_id, fence=None)

    @contextmanager
    def lease(self, account_id: int, owner: str | None = None) -> Iterator[Book]:
        """Take the account for one pass and give its book.

        Raises ``LeaseHeld`` where another living process works on it. A dead owner's lease is taken over.
        """
        mine = owner or this_owner()
        with self._write() as connection:
            row = connection.execute(sa.select(account).where(account.c.id == account_id)).one()
            silent_for = self.clock.now().timestamp() - (row.heartbeat or 0.0)
            if row.owner and row.owner != mine and is_alive(row.owner, silent_for):
                raise LeaseHeld(
                    f"another process works on {row.source_address}",
                    remedy="Wait until it is done, or stop it; `alimail status` shows it.",
                )
            fence = row.fence + 1
            connection.execute(
                account.update()
                .where(account.c.id == account_id)
                .values(owner=mine, fence=fence, heartbeat=self.clock.now().timestamp())
            )
        book = Book(self, account_id, fence=fence)
        try:
            yield book
        finally:
            book.close()
            with self.reading() as connection:  # nobody changes it until the lease is given back
                counted = count(connection, [account_id])[account_id]
            with self._write() as connection:
                mine_still = (account.c.id == account_id) & (account.c.fence == fence)
                connection.execute(
                    account.update().where(mine_still).values(owner="", **keep(counted, fence))
                )


def _sqlite_engine(path: Path) -> sa.Engine:
    engine = sa.create_engine(
        f"sqlite:///{path}",
        max_overflow=-1,  # a connection for each book that is open: the workers are the limit
        connect_args={"timeout": BUSY_SECONDS, "check_same_thread": False},
    )

    @sa.event.listens_for(engine, "connect")
    def _connected(raw: Any, _record: object) -> None:
        raw.isolation_level = None  # transactions begin where we say, not where the driver thinks
        raw.execute("PRAGMA journal_mode = WAL")
        raw.execute("PRAGMA synchronous = FULL")
        raw.execute("PRAGMA temp_store = MEMORY")

    sa.event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: sa.Connection) -> None:
    # Writers queue up at their first statement rather than fail at their last (SQLITE_BUSY_SNAPSHOT).
    reading = connection.get_execution_options().get("alimail_reading")
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


_PLACE_REMEDY = "See that you may read and write it, and its folder too; or name another file with `ledger`."


def _database_engine(url: str) -> sa.Engine:
    """Make what connects to a database; nothing is asked of it yet. Raises ``LedgerError`` where nothing here can."""
    try:
        with suppress(sa.exc.ArgumentError):
            if sa.make_url(url).get_backend_name() in ("postgresql", "sqlite"):
                return sa.create_engine(url, max_overflow=-1)
    except ImportError as error:
        text = f"{url.partition('://')[0]} needs the Python package {error.name}, which is not installed"
        raise LedgerError(text, remedy="Install it, or let `ledger` be a file.") from error
    raise LedgerError(
        "the ledger is in no kind of database that can be used",
        remedy="Let `ledger` be a file, or postgresql+psycopg://USER@HOST/DATABASE.",
    )


def _examine_file(path: Path, create: bool) -> None:
    """Refuse, before anything is written, a file that is no ledger of ours or not whole."""
    remedy = (
        "Name another file with `ledger`, or put the ledger's backup there: lost knowledge is found again."
    )
    if not path.exists():
        if not create:
            raise LedgerError(f"there is no ledger at {path}", remedy="Run `alimail migrate` first.")
        path.parent.mkdir(parents=True, exist_ok=True)
        return
    if not path.is_file():
        raise LedgerError(f"the ledger {path} is not a file", remedy="Name a file with `ledger`.")
    # The WAL is asked for first: whoever leaves last takes it away.
    has_wal = _size_of(path.with_name(path.name + "-wal")) > 0
    with path.open("rb") as file:
        head = file.read(100)
    size = path.stat().st_size
    if size == 0:
        return  # a crash before the first commit leaves an empty file
    if len(head) < 100 or not head.startswith(b"SQLite format 3\0"):
        raise LedgerError(f"{path} is not a ledger", remedy=remedy)
    page_size = int.from_bytes(head[16:18], "big")
    page_size = 65536 if page_size == 1 else page_size
    pages, application_id = (int.from_bytes(head[at : at + 4], "big") for at in (28, 68))
    # While the WAL is written back, or where that was cut off, the first page counts pages that only the WAL has.
    if size < page_size * pages and head[24:28] == head[92:96] and not has_wal:
        raise LedgerError(f"the ledger {path} is truncated", remedy=remedy)
    if application_id == 0 and pages == 1:
        return  # no table in it: so does a crash, or a full disk, right before the first commit
    if application_id != APPLICATION_ID and not (has_wal and application_id == 0):
        raise LedgerError(f"{path} is a database, but not a ledger of alimail", remedy=remedy)
    version = int.from_bytes(head[60:64], "big")
    if version > SCHEMA_VERSION:
        raise LedgerError(
            f"the ledger {path} was written by a newer alimail (schema {version})", remedy="Update alimail."
        )
    with _told_plainly(str(path)), closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as raw:
        raw.execute("SELECT count(*) FROM sqlite_master").fetchone()


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


@contextmanager
def _told_plainly(location: str) -> Iterator[None]:
    """Turn a database's own errors into ``LedgerError`` with a remedy."""
    try:
        yield
    except (sqlite3.DatabaseError, sa.exc.DBAPIError) as error:
        said = str(getattr(error, "orig", None) or error).splitlines()[0]
        where = f" {location}" if location else ""
        if "locked" in said:
            remedy = "Another program holds it: end that program, or wait, and run again."
        elif "full" in said or "disk I/O" in said:
            remedy = "Make room on the disk that holds the ledger and run again; nothing is lost."
        elif "unable to open" in said or "readonly" in said:
            remedy = _PLACE_REMEDY
        else:
            remedy = "Put its backup in its place, or a new file: what is in the target is found again."
        raise LedgerError(f"the ledger{where} cannot be used: {said}", remedy=remedy) from error
