"""The ledger: whose it is, what state its file is in, and who may write."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from alimail_core.errors import LeaseHeld, LeaseLost, LedgerError
from alimail_core.ledger import Ledger, RowIds, Standing, State
from alimail_core.ledger.schema import ADDED, SCHEMA_VERSION
from alimail_core.model import INBOX, Entry
from alimail_core.testing.clock import FakeClock

DEAD = '{"boot": "earlier", "pid": 1, "start": "1"}'


def make(path: Path, name: str = "move") -> None:
    ledger = Ledger.open(str(path), name)
    ledger.account("a@x", "a@y")
    ledger.close()


def refusal(path: Path, name: str = "move") -> LedgerError:
    before = path.read_bytes()
    with pytest.raises(LedgerError) as told:
        Ledger.open(str(path), name)
    assert path.read_bytes() == before, "the file was touched"
    assert told.value.remedy
    return told.value


def test_a_ledger_belongs_to_one_migration(tmp_path: Path) -> None:
    """Another migration's is refused, by both names."""
    make(tmp_path / "l.db", "spring")
    error = refusal(tmp_path / "l.db", "autumn")
    assert "'spring'" in str(error)
    assert "'autumn'" in str(error)


@pytest.mark.parametrize(
    ("name", "outcome"),
    [("spring", nullcontext()), ("autumn", pytest.raises(LedgerError, match="'spring'"))],
)
def test_two_that_make_a_ledger_at_once(
    name: str, outcome: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever finds none, and comes second to make it, takes the other's where it is of the same migration."""
    path, write = tmp_path / "l.db", Ledger._write

    def second(ledger: Ledger) -> Any:
        monkeypatch.setattr(Ledger, "_write", write)
        make(path, "spring")
        return write(ledger)

    monkeypatch.setattr(Ledger, "_write", second)
    with outcome, closing(Ledger.open(str(path), name)) as ledger:
        assert [row.source_address for row in ledger.accounts()] == ["a@x"]


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """A text file with its name is not overwritten."""
    path = tmp_path / "l.db"
    path.write_text("my notes\n" * 100)
    assert "not a ledger" in str(refusal(path))


def test_another_programs_database_is_refused(tmp_path: Path) -> None:
    """A database without our mark gets no tables of ours."""
    path = tmp_path / "l.db"
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("CREATE TABLE bookmarks (url TEXT)")
    assert "not a ledger of alimail" in str(refusal(path))


def test_a_truncated_ledger_is_refused(tmp_path: Path) -> None:
    """Half a file is told as such."""
    path = tmp_path / "l.db"
    make(path)
    path.write_bytes(path.read_bytes()[:-4096])
    assert "truncated" in str(refusal(path))


def test_a_ledger_whose_wal_was_written_back_in_part_is_whole(tmp_path: Path) -> None:
    """Killed in a checkpoint, the first page counts pages that only the WAL has: nothing is lost."""
    path, killed = tmp_path / "l.db", tmp_path / "killed.db"
    make(path)
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("PRAGMA wal_autocheckpoint = 0")
        notes = [(f"{number} {'x' * 4000}",) for number in range(50)]
        raw.executemany("INSERT INTO note (account_id, text, count) VALUES (1, ?, 1)", notes)
        raw.commit()
        before = path.read_bytes()
        killed.with_name("killed.db-wal").write_bytes(path.with_name("l.db-wal").read_bytes())
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        first = path.read_bytes()[:4096]
    killed.write_bytes(first + before[4096:])
    Ledger.open(str(killed), "move").close()
    with closing(sqlite3.connect(killed)) as raw:
        assert raw.execute("SELECT count(*) FROM note").fetchone() == (50,)


def test_a_ledger_with_broken_pages_is_refused(tmp_path: Path) -> None:
    """Garbage inside is told with what to do."""
    path = tmp_path / "l.db"
    make(path)
    octets = bytearray(path.read_bytes())
    octets[100:4096] = b"\xff" * 3996
    path.write_bytes(octets)
    assert "cannot be used" in str(refusal(path))


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    """An older alimail does not write into what a newer one made."""
    path = tmp_path / "l.db"
    make(path)
    with closing(sqlite3.connect(path)) as raw:
        raw.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    assert "newer" in str(refusal(path))


def test_an_older_schema_is_brought_up_to_date(tmp_path: Path) -> None:
    """A ledger of the first version is taken on with all that it has."""
    path = tmp_path / "l.db"
    make(path)
    with closing(sqlite3.connect(path)) as raw:
        for table, column, _ in ADDED:
            raw.execute(f"ALTER TABLE {table.name} DROP COLUMN {column}")
        raw.execute("DROP INDEX message_restless")
        raw.execute("CREATE INDEX message_state ON message (folder_id, state)")
        raw.execute("UPDATE migration SET schema_version = 1")
        raw.execute("PRAGMA user_version = 1")
        raw.commit()
    with closing(Ledger.open(str(path), "move")) as ledger:
        account_id = ledger.account("a@x", "a@y")
        with ledger.lease(account_id) as book:
            assert book.begin_pass("", "", "unseen") == 1
            book.add_problem("refused", "too large", identifier="<a@x>")
    with closing(sqlite3.connect(path)) as raw:
        assert raw.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        assert raw.execute("SELECT left_out_by FROM account").fetchone() == ("unseen",)
        names = {name for (name,) in raw.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}
        assert "message_restless" in names
        assert "message_state" not in names


def test_only_a_pass_that_writes_takes_time() -> None:
    """The time of an account is that of its passes up to their last settled batch; idle ones do not count."""
    clock = FakeClock()
    with closing(Ledger.in_memory(clock=clock)) as ledger:
        account_id = ledger.account("a@x", "a@y")
        for octets in (100, None, 50):
            with ledger.lease(account_id) as book:
                book.begin_pass("", "")
                clock.advance(10)
                if octets is not None:
                    with book.write() as connection:
                        book.count_octets(connection, octets)
                clock.advance(1000)
                book.end_pass("done")
        [row] = ledger.accounts()
        assert (row.octets, row.seconds) == (150, 20.0)


def test_a_missing_ledger_is_told_where_reading_needs_one(tmp_path: Path) -> None:
    """Reading verbs make no empty ledger."""
    with pytest.raises(LedgerError, match="no ledger"):
        Ledger.open(str(tmp_path / "l.db"), "move", create=False)
    assert not (tmp_path / "l.db").exists()


def test_an_empty_file_is_a_new_ledger(tmp_path: Path) -> None:
    """What a crash before the first commit leaves behind is no obstacle."""
    path = tmp_path / "l.db"
    path.touch()
    make(path)
    assert path.stat().st_size > 0


def test_a_database_without_tables_is_filled(tmp_path: Path) -> None:
    """What a crash, or a full disk, right before the first commit leaves behind is no obstacle either."""
    path = tmp_path / "l.db"
    with closing(sqlite3.connect(path)) as raw:
        raw.execute("PRAGMA journal_mode = WAL")
    assert path.stat().st_size > 0
    make(path)
    with closing(Ledger.open(str(path), "move", create=False)) as ledger:
        assert ledger.accounts()


def test_a_locked_ledger_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that holds the file is named as the reason."""
    monkeypatch.setattr("alimail_core.ledger.ledger.BUSY_SECONDS", 0.05)
    path = tmp_path / "l.db"
    make(path)
    ledger = Ledger.open(str(path), "move")
    with closing(sqlite3.connect(path, isolation_level=None)) as raw:
        raw.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match="locked") as told:
            ledger.account("b@x", "b@y")
        assert "end that program" in told.value.remedy
        raw.execute("ROLLBACK")
    ledger.close()


def test_two_passes_never_share_an_account() -> None:
    """A living owner keeps its lease; a dead one's is taken over."""
    ledger = Ledger.in_memory(clock=FakeClock())
    account = ledger.account("a@x", "a@y")
    with ledger.lease(account), pytest.raises(LeaseHeld, match="a@x"), ledger.lease(account):
        pass
    with ledger.lease(account, owner=DEAD), ledger.lease(account) as book:
        book.begin_pass("", "")
    ledger.close()


def test_a_pass_that_lost_its_lease_changes_nothing() -> None:
    """Its next transaction raises, and what it would have written is not there."""
    ledger = Ledger.in_memory(clock=FakeClock())
    account = ledger.account("a@x", "a@y")
    with ledger.lease(account, owner=DEAD) as old:
        folder = old.put_folder("source", INBOX, None)
        with ledger.lease(account):
            with pytest.raises(LeaseLost):
                old.listed(folder, [Entry("1/1", 10)])
            assert old.pending() == {}
    ledger.close()


def test_the_account_is_its_pair_of_addresses() -> None:
    """Asked again, the same pair is the same account."""
    ledger = Ledger.in_memory()
    first = ledger.account("a@x", "a@y")
    assert ledger.account("a@x", "a@y") == first
    assert ledger.account("a@x", "b@y") != first
    ledger.close()


def test_a_key_counts_only_with_its_witness() -> None:
    """A key that comes back with another size is another message."""
    ledger = Ledger.in_memory(clock=FakeClock())
    account = ledger.account("a@x", "a@y")
    with ledger.lease(account) as book:
        folder = book.put_folder("source", INBOX, None)
        [first] = book.listed(folder, [Entry("7", 100)])
        [same] = book.listed(folder, [Entry("7", 100)])
        [other] = book.listed(folder, [Entry("7", 101)])
        assert first == same != other
        states = {row.id: State(row.state) for row in book.rows()}
        assert states == {first: State.VANISHED, other: State.PENDING}
    ledger.close()


@given(st.lists(st.integers(0, 2_000) | st.integers(0, 2**40)), st.integers(0, 2_000))
def test_a_compact_set_of_ids_is_a_set(ids: list[int], other: int) -> None:
    """It holds what was added, and nothing beside it."""
    kept = RowIds(ids)
    assert all(each in kept for each in ids)
    assert (other in kept) == (other in set(ids))


def test_what_a_whole_listing_does_not_name_stands_there_no_more() -> None:
    """Over the pages of one listing, for our own messages and for strangers."""
    ledger = Ledger.in_memory(clock=FakeClock())
    with ledger.lease(ledger.account("a@x", "a@y")) as book:
        folder, target = book.put_folder("source", INBOX, None), book.put_folder("target", INBOX, None)
        ids = book.listed(folder, [Entry(str(n), 10) for n in range(3)])
        stored = {"state": State.STORED, "target_id": target}
        book.update([{"_id": each, "target_key": f"t{each}", **stored} for each in ids])
        book.target_listed(target, [Entry("s1", 5), Entry("s2", 5)])
        seen = Standing()
        book.target_listed(target, [Entry("s2", 5), Entry(f"t{ids[0]}", 10)], seen)
        book.target_listed(target, [Entry("s3", 5), Entry(f"t{ids[2]}", 10)], seen)
        book.target_holds(target, seen)
        assert [row.id for row in book.rows() if row.target_gone] == [ids[1]]
        assert [row.key for row in book.strangers(target)] == ["s2", "s3"]
    ledger.close()


def test_what_a_pass_asks_of_messages_at_rest_is_read_off_an_index() -> None:
    """So a pass with nothing new does not go through all messages, however many there are."""
    ledger = Ledger.in_memory(clock=FakeClock())
    plans: list[str] = []

    def explain(_connection: Any, cursor: Any, statement: str, values: Any, *_: Any) -> None:
        if "FROM message" in statement or "FROM folder, message" in statement:
            plans.append(
                "; ".join(row[3] for row in cursor.execute("EXPLAIN QUERY PLAN " + statement, values))
            )

    with ledger.lease(ledger.account("a@x", "a@y")) as book:
        sa.event.listen(ledger.engine, "before_cursor_execute", explain)
        for ask in (
            book.flag_changes,
            book.unfinished,
            book.misplaced,
            book.resent,
            book.gone_sizes,
            book.progress,
            book.pending,
            book.unsettled,
            lambda: book.never_seen(0.0),
        ):
            ask()
        sa.event.remove(ledger.engine, "before_cursor_execute", explain)
    assert len(plans) == 13
    whole = (
        "message_restless (folder_id=?)",
        "(folder_id=? AND state=?",
        "COVERING INDEX message_place (folder_id=?)",
    )
    assert [plan for plan in plans if not any(part in plan for part in whole)] == []
    assert sum("message_restless" in plan for plan in plans) == 5
    ledger.close()


def test_a_pass_begins_without_going_through_all_messages() -> None:
    """The ledger has those of all accounts; each problem of an earlier pass is looked up by its own message."""
    ledger = Ledger.in_memory(clock=FakeClock())
    plans: list[str] = []

    def explain(_connection: Any, cursor: Any, statement: str, values: Any, *_: Any) -> None:
        if not statement.startswith(("INSERT", "PRAGMA", "BEGIN")):
            plans.extend(row[3] for row in cursor.execute("EXPLAIN QUERY PLAN " + statement, values))

    with ledger.lease(ledger.account("a@x", "a@y")) as book:
        sa.event.listen(ledger.engine, "before_cursor_execute", explain)
        book.begin_pass("old", "new")
        sa.event.remove(ledger.engine, "before_cursor_execute", explain)
    assert any(plan.startswith("SEARCH problem") for plan in plans)
    assert [plan for plan in plans if plan.startswith("SCAN message")] == []
    ledger.close()


def test_counts_are_kept_until_the_next_lease(tmp_path: Path) -> None:
    """Whoever reads them meanwhile counts afresh, and so does whoever finds a pass killed."""
    ledger = Ledger.open(str(tmp_path / "l.db"), "move")
    account_id = ledger.account("a@x", "a@y")
    with ledger.lease(account_id) as book:
        folder = book.put_folder("source", INBOX, None)
        first, _ = book.listed(folder, [Entry("1", 10), Entry("2", 20)])
    assert ledger.counts(account_id) == {"PENDING": (2, 30)}
    with sqlite3.connect(tmp_path / "l.db") as raw:  # read off what was kept, and not counted
        raw.execute("DELETE FROM message WHERE id = 2")
        raw.commit()
    assert ledger.counts(account_id) == {"PENDING": (2, 30)}
    with ledger.lease(account_id) as book:
        book.update([{"_id": first, "state": State.STORED}])
        assert ledger.counts(account_id) == {"STORED": (1, 10)}
    assert ledger.counts_of([account_id]) == {account_id: {"STORED": (1, 10)}}
    ledger.close()


def test_a_status_reads_while_a_pass_writes(tmp_path: Path) -> None:
    """Readers in other threads and processes see the last commit and wait for nobody."""
    path = tmp_path / "l.db"
    ledger = Ledger.open(str(path), "move")
    account = ledger.account("a@x", "a@y")
    seen: list[int] = []

    def read() -> None:
        other = Ledger.open(str(path), "move")
        seen.append(sum(n for n, _ in other.counts(account).values()))
        other.close()

    with ledger.lease(account) as book:
        folder = book.put_folder("source", INBOX, None)
        book.listed(folder, [Entry(str(n), 10) for n in range(2500)])
        with book.write() as connection:
            book.put(connection, [{"_id": 1, "state": State.STORED}])
            thread = threading.Thread(target=read)
            thread.start()
            thread.join()
    assert seen == [2500]
    ledger.close()
