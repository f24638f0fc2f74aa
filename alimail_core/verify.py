"""Is it all there? Both sides are listed afresh and held against the ledger; nothing that a pass said is trusted.

A quick proof: every message of the source is settled, and the target lists its copy, with its size and flags. A
full proof besides reads every copy back and compares its digest with what was sent, and, where the source gives
the same octets each time, with the source. What the target stores otherwise than it was sent is looked at: what a
reader sees decides whether it was *altered* (its headers, line ends, encoding) or is another message. The digest of
an altered copy is kept in the ledger, so that the next proof of it is exact.

Both sides stay as they are. Memory holds the numbers of the ledger's rows and the entries that nobody claims, but
no list of messages.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing

from attrs import Factory, asdict, define, evolve

from alimail_core.check import fault_of
from alimail_core.compare import Difference, difference
from alimail_core.contract import Sink, Source
from alimail_core.ends import Ends
from alimail_core.errors import AlimailError, Interrupted, LeaseHeld
from alimail_core.folders import FolderPolicy
from alimail_core.header import fingerprint
from alimail_core.identity import Digests, digests, mend
from alimail_core.ledger import Book, Ledger, ProblemRow, Row, State
from alimail_core.ledger.rows import FolderRow, contradicts, split_flags
from alimail_core.model import Changes, Entry, Folder, FolderPath, Message, Remark, Unreadable, Unusable
from alimail_core.plan import map_account
from alimail_core.proof import (
    MAX_FINDINGS,
    AccountProof,
    Finding,
    FolderProof,
    MessageProof,
    root_digest,
)

__all__ = ["AccountProof", "Finding", "FolderProof", "MessageProof", "root_digest", "verify_account"]

_CARRIED = (State.STORED, State.MOVING)
_QUARANTINED = (State.REFUSED, State.UNREADABLE)
_NO_FLAGS = frozenset({"\\deleted", "\\recent"})


def verify_account(
    ends: Ends,
    ledger: Ledger | None,
    account_id: int | None,
    policy: FolderPolicy,
    *,
    full: bool,
    each_message: Callable[[MessageProof], None],
    tell_bug: Callable[[Exception], None],
) -> AccountProof:
    """Prove one account; all of one that never ran is pending. Raises ``Interrupted`` and nothing else."""
    account = ends.account
    proof = AccountProof(
        account.source_address, full=full, target_address=account.target_address, at=ends.clock.now()
    )
    try:
        with ExitStack() as stack:
            book = None
            if ledger is not None and account_id is not None:
                book = stack.enter_context(closing(ledger.read(account_id)))
            source = stack.enter_context(ends.source())
            sink = stack.enter_context(ends.sink())
            prover = _Prover(ends, book, source, sink, full, each_message, _problems(ledger, account_id))
            proof = prover.prove(policy, proof)
        if ledger is not None and account_id is not None and prover.altered:
            proof = _keep_digests(ledger, account_id, prover.altered, proof)
        return proof
    except Interrupted:
        raise
    except AlimailError as error:
        return evolve(proof, failed=True, remarks=(*proof.remarks, *fault_of(error)))
    except Exception as bug:  # noqa: BLE001 - one account's bug must not end the proof of the others
        tell_bug(bug)
        remark = Remark("fault", f"{type(bug).__name__}: a bug in alimail or in a plug-in", "Report it.")
        return evolve(proof, failed=True, remarks=(*proof.remarks, remark))


def _problems(ledger: Ledger | None, account_id: int | None) -> dict[int, ProblemRow]:
    """Return what the passes said of messages that were not carried, by the number of their row."""
    problems = ledger.problems(account_id) if ledger is not None and account_id is not None else []
    return {row.message_id: row for row in problems if row.message_id is not None}


def _keep_digests(
    ledger: Ledger, account_id: int, altered: dict[int, bytes], proof: AccountProof
) -> AccountProof:
    """Write down how the target stores what it altered, unless a pass is under way."""
    try:
        with ledger.lease(account_id) as book:
            book.update(
                [{"_id": row_id, "stored_digest": each} for row_id, each in altered.items()], sync=True
            )
        return proof
    except LeaseHeld:
        text = "a pass is under way, so the digests of altered messages were not kept; the next proof reads again"
        return evolve(proof, remarks=(*proof.remarks, Remark("note", text)))


@define
class _Tally:
    """What is counted of one source folder; see ``FolderProof``."""

    messages: int = 0
    octets: int = 0
    proven: int = 0
    altered: int = 0
    moved: int = 0
    collapsed: int = 0
    quarantined: int = 0
    pending: int = 0
    missing: int = 0
    changed: int = 0
    merged: int = 0
    gone: int = 0
    flags_changed: int = 0
    flags_pending: int = 0


@define
class _Folder:
    """One source folder under way."""

    source: Folder
    target: FolderPath
    row: FolderRow | None
    tally: _Tally = Factory(_Tally)
    listed: set[int] = Factory(set)
    """Rows that the source lists now."""
    absent: int = 0
    """In the source, carried, and not where they were carried to."""
    found: int = 0
    """Of those, found in another folder of the target."""
    digests: list[bytes] = Factory(list)
    findings: list[Finding] = Factory(list)

    def find(self, kind: str, key: str | None, text: str, target: FolderPath | None = None) -> None:
        """Count a message under its kind, and name it."""
        count = getattr(self.tally, kind) + 1
        setattr(self.tally, kind, count)
        if count <= MAX_FINDINGS:
            self.findings.append(Finding(kind, key or "", self.target if target is None else target, text))

    def proof(self, extra: int) -> FolderProof:
        """Sum up."""
        carried = self.tally.proven + self.tally.altered + self.tally.changed + self.tally.merged
        return FolderProof(
            self.source.path,
            self.target,
            **asdict(self.tally),
            extra=extra,
            root=root_digest(self.digests),
            lost=self.absent > 0 and not carried and not self.found,
            findings=tuple(self.findings),
        )


class _Prover:
    """One account's proof under way."""

    def __init__(
        self,
        ends: Ends,
        book: Book | None,
        source: Source,
        sink: Sink,
        full: bool,
        each_message: Callable[[MessageProof], None],
        problems: dict[int, ProblemRow],
    ) -> None:
        self.altered: dict[int, bytes] = {}
        """By row: how the target stores what it altered, where the ledger does not know it yet."""
        self._ends = ends
        self._book = book
        self._source = source
        self._sink = sink
        self._full = full
        self._each_message = each_message
        self._problems = problems
        self._targets: dict[int, FolderRow] = {}
        self._here: dict[FolderPath, Folder] = {}
        self._standing: set[int] = set()
        self._merged: set[int] = set()
        self._resized: set[int] = set()
        self._touched: set[int] = set()
        self._strangers = _Strangers(sink)
        self._remarks: list[Remark] = []
        self._failed = False

    def prove(self, policy: FolderPolicy, proof: AccountProof) -> AccountProof:
        """List the target, then walk through the source folder by folder."""
        sources = list(self._source.folders())
        targets = list(self._sink.folders())
        mapped, _ = map_account(self._ends, self._book, policy, self._sink, sources, targets)
        self._here = {folder.path: folder for folder in targets if folder.selectable}
        self._list_target()
        places = {row.source: row.target for row in mapped}
        done = [*self._walk(sources, places)]
        told: set[FolderPath] = set()
        folders = []
        for folder in done:
            folders.append(folder.proof(0 if folder.target in told else self._strangers.count(folder.target)))
            told.add(folder.target)
        self._remarks += [_lost(folder) for folder in folders if folder.lost]
        return evolve(
            proof,
            folders=tuple(folders),
            root=root_digest(each for folder in done for each in folder.digests),
            remarks=(*proof.remarks, *self._remarks),
            failed=self._failed,
        )

    # the target

    def _list_target(self) -> None:
        """List the target's folders that hold something of ours: which rows stand there, and what nobody claims."""
        rows = {row.path: row for row in self._book.folders("target")} if self._book else {}
        self._targets = {row.id: row for row in rows.values()}
        wanted = [self._here[path] for path in rows if path in self._here]
        for page in self._sink.changes((folder, None) for folder in wanted):
            self._ends.check_in()
            if isinstance(page, Unusable):
                self._fail(f"the target's folder {'/'.join(page.path)} cannot be listed: {page.reason}")
            else:
                self._take_target_page(rows[page.folder.path], page)
        self._strangers.unlisted = [folder for path, folder in self._here.items() if path not in rows]

    def _take_target_page(self, folder: FolderRow, page: Changes) -> None:
        assert self._book is not None
        claims = self._book.by_target_keys(folder.id, [entry.key for entry in page.entries])
        for entry in page.entries:
            ours = [
                row
                for row in claims.get(entry.key, ())
                if not contradicts(row.target_size, row.target_date, entry)
            ]
            if not ours:
                self._strangers.add(page.folder, entry)
            for row in ours[:1]:
                self._stands(row, entry, page.storable_flags)
            self._merged.update(row.id for row in ours[1:])

    def _stands(self, row: Row, entry: Entry, storable: frozenset[str] | None) -> None:
        self._standing.add(row.id)
        if entry.size is not None and row.sent_digest is None and row.size not in (None, entry.size):
            self._resized.add(row.id)
        if row.carried is not None and _kept(entry.flags, None) != _kept(split_flags(row.carried), storable):
            self._touched.add(row.id)

    # the source

    def _walk(self, sources: Sequence[Folder], places: dict[FolderPath, FolderPath]) -> Iterator[_Folder]:
        """Prove each folder of the source that moves, and then those that only the ledger knows."""
        rows = {row.path: row for row in self._book.folders("source")} if self._book else {}
        listed = [folder for folder in sources if folder.selectable and folder.path in places]
        current: _Folder | None = None
        for page in self._source.changes((folder, None) for folder in listed):
            self._ends.check_in()
            if isinstance(page, Unusable):
                self._fail(f"the source's folder {'/'.join(page.path)} cannot be listed: {page.reason}")
                continue
            if current is None:
                path = page.folder.path
                current = _Folder(page.folder, places[path], rows.get(path))
            self._take_source_page(current, page)
            if page.cursor is not None:
                self._prove(current)
                yield current
                current = None
        there = {folder.path for folder in sources}
        for row in rows.values():
            if row.path not in there and row.target_id in self._targets:
                vanished = _Folder(Folder(row.path), self._targets[row.target_id].path, row)
                self._prove(vanished)
                yield vanished

    def _take_source_page(self, folder: _Folder, page: Changes) -> None:
        keys = [entry.key for entry in page.entries]
        known = self._book.by_keys(folder.row.id, keys) if self._book and folder.row else {}
        for entry in page.entries:
            folder.tally.messages += 1
            folder.tally.octets += entry.size or 0
            row = known.get(entry.key)
            if row is None or contradicts(row.size, row.date, entry):
                folder.tally.pending += 1
                continue
            folder.listed.add(row.id)
            if self._flags_differ(row, entry):
                folder.tally.flags_pending += 1

    def _flags_differ(self, row: Row, entry: Entry) -> bool:
        """Tell whether the source lists other flags than were carried."""
        if row.carried is None or not self._source.traits.lists_flags:
            return False
        return _kept(entry.flags, None) != _kept(split_flags(row.carried), None)

    # one folder

    def _prove(self, folder: _Folder) -> None:
        """Walk through the ledger's rows of a folder, and say of each what has become of it."""
        after = 0
        while self._book and folder.row and (rows := self._book.page(folder.row.id, after)):
            self._ends.check_in()
            after = rows[-1].id
            standing = [row for row in rows if self._sort(folder, row)]
            self._find_absent(folder, [row for row in rows if self._is_absent(row)])
            readings = self._read_back(folder, standing) if self._full else {}
            for row in standing:
                self._judge(folder, row, readings.get(row.id))

    def _sort(self, folder: _Folder, row: Row) -> bool:
        """Count what needs no look at the target; tell whether the row stands there."""
        here = row.id in folder.listed
        state = State(row.state)
        if state in _CARRIED:
            folder.tally.gone += not here
            folder.tally.flags_changed += row.id in self._touched
            if self._is_merged(row):
                folder.find("merged", row.key, "the target keeps this message and an identical one as one")
            return row.id in self._standing
        if here and state in _QUARANTINED:
            folder.find("quarantined", row.key, self._reason(row))
        elif here and state == State.COLLAPSED:
            folder.tally.collapsed += 1
        elif here:
            folder.tally.pending += 1
        return False

    def _is_absent(self, row: Row) -> bool:
        return row.state in _CARRIED and row.id not in self._standing and not self._is_merged(row)

    def _is_merged(self, row: Row) -> bool:
        """Tell whether another message claims the same entry, by the listing or by what the pass has seen."""
        told = self._problems.get(row.id)
        return row.id in self._merged or (
            row.id not in self._standing and told is not None and told.kind == "merged"
        )

    def _reason(self, row: Row) -> str:
        told = self._problems.get(row.id)
        return told.reason if told else "no reason was kept"

    def _find_absent(self, folder: _Folder, rows: Sequence[Row]) -> None:
        """Say of what does not stand where it was carried to whether it was moved, removed, or never there."""
        found = self._strangers.find(rows) if rows else {}
        for row in rows:
            here = row.id in folder.listed
            folder.absent += here
            if row.id in found:
                folder.found += 1
                name = "/".join(found[row.id])
                folder.find("moved", row.key, f"moved in the target since, to {name}", found[row.id])
            elif row.target_size is not None:  # it was seen there
                if here:  # else it is gone from both sides
                    folder.find("moved", row.key, "moved or removed in the target since")
            elif row.state == State.MOVING:
                folder.find("pending", row.key, "a move of the copy was cut off; the next pass finishes it")
            else:
                text = "the target said that it stored it, and it was never seen there"
                folder.find("missing", row.key, text)

    def _judge(self, folder: _Folder, row: Row, reading: _Reading | None) -> None:
        """Say of a message that stands in the target whether it is what was carried."""
        digest = row.stored_digest or row.sent_digest or row.digest or b""
        outcome, text = "listed", ""
        if reading is not None:
            outcome, text, digest = reading.outcome, reading.text, reading.digest or b""
        elif row.stored_digest or row.id in self._resized:
            outcome, text = "altered", "the target stores it otherwise than it was sent"
        if outcome in ("identical", "listed"):
            folder.tally.proven += 1
        else:
            folder.find(outcome, row.key, text)
        if digest:
            folder.digests.append(digest)
        if outcome in ("identical", "listed", "altered", "changed"):
            self._tell(folder, row, outcome, digest)

    def _tell(self, folder: _Folder, row: Row, outcome: str, digest: bytes) -> None:
        self._each_message(
            MessageProof(
                self._ends.account.source_address,
                folder.source.path,
                row.key or "",
                self._path_of(row),
                row.target_key or "",
                row.size or 0,
                digest,
                outcome,
            )
        )

    def _path_of(self, row: Row) -> FolderPath:
        found = self._targets.get(row.target_id or 0)
        return found.path if found else ()

    def _fail(self, text: str) -> None:
        self._failed = True
        self._remarks.append(Remark("fault", text, "See to it on the server, then verify again."))

    # octets

    def _read_back(self, folder: _Folder, rows: Sequence[Row]) -> dict[int, _Reading]:
        """Read copies from the target, and their messages from the source where that can tell something."""
        stored = self._digests_in_target(rows)
        given = self._digests_at_source(folder, rows)
        return {row.id: self._reading(folder, row, stored.get(row.id), given.get(row.id)) for row in rows}

    def _digests_in_target(self, rows: Sequence[Row]) -> dict[int, Digests | str]:
        """Return each copy's digests by row, or why it could not be read; nothing of what is gone."""
        by_place: dict[tuple[FolderPath, str], Row] = {}
        asked: dict[FolderPath, list[Entry]] = {}
        for row in rows:
            by_place[self._path_of(row), row.target_key or ""] = row
            asked.setdefault(self._path_of(row), []).append(row.target_entry)
        found: dict[int, Digests | str] = {}
        for answer in self._sink.fetch((self._here[path], entries) for path, entries in asked.items()):
            asked_for = by_place.get((answer.folder, answer.key))
            if asked_for is not None and isinstance(answer, Message):
                found[asked_for.id] = digests(answer.octets)
            elif asked_for is not None and isinstance(answer, Unreadable):
                found[asked_for.id] = answer.reason
        return found

    def _digests_at_source(self, folder: _Folder, rows: Sequence[Row]) -> dict[int, bytes]:
        """Return the digests of what the source gives now, by row; nothing where it gives other octets each time."""
        here = {row.key or "": row for row in rows if row.id in folder.listed}
        if not here or not self._source.traits.stable_octets:
            return {}
        found = {}
        for answer in self._source.fetch([(folder.source, [row.entry for row in here.values()])]):
            if isinstance(answer, Message) and answer.key in here:
                found[here[answer.key].id] = digests(answer.octets).digest
        return found

    def _reading(
        self, folder: _Folder, row: Row, stored: Digests | str | None, given: bytes | None
    ) -> _Reading:
        if stored is None:
            return _Reading("moved", "moved or removed in the target while it was read")
        if isinstance(stored, str):
            return _Reading("missing", f"the target lists it and does not give it: {stored}")
        sent = row.sent_digest or row.digest or given
        if given is not None and row.digest is not None and given != row.digest:
            return _Reading("changed", "the source gives other octets now than were carried", stored.digest)
        if stored.digest == sent:
            return _Reading("identical", "", stored.digest)
        if stored.digest == row.stored_digest:
            return _Reading("altered", "as the target altered it when it stored it", stored.digest)
        found = self._examine(folder, row, stored)
        if not found.same_content:
            return _Reading("changed", f"the target holds {found.text}", stored.digest)
        self.altered[row.id] = stored.digest
        return _Reading("altered", f"the target altered {found.text}", stored.digest)

    def _examine(self, folder: _Folder, row: Row, stored: Digests) -> Difference:
        """Read both copies of one message, and tell what differs."""
        ours = _octets(self._source, folder.source, row.entry) if row.id in folder.listed else None
        theirs = _octets(self._sink, self._here[self._path_of(row)], row.target_entry)
        if ours is None or theirs is None:
            if stored.canonical == (row.canonical or row.digest):
                return Difference(True, "line ends")
            return Difference(False, "other octets than it was sent, and the source has the message no more")
        return difference(mend(ours) if row.sent_digest else ours, theirs)


@define
class _Reading:
    """What was learnt of one copy by reading it."""

    outcome: str
    text: str
    digest: bytes | None = None


class _Strangers:
    """Entries of the target that nobody claims: counted, and searched for what is not where it was carried to."""

    def __init__(self, sink: Sink) -> None:
        self.unlisted: list[Folder] = []
        """Folders that hold nothing of ours. They are listed only when something is searched."""
        self._sink = sink
        self._counts: Counter[FolderPath] = Counter()
        self._by_size: dict[int | None, list[tuple[Folder, str]]] = {}
        self._by_fingerprint: dict[bytes, list[FolderPath]] = {}

    def add(self, folder: Folder, entry: Entry) -> None:
        """Take in an entry."""
        self._counts[folder.path] += 1
        self._by_size.setdefault(entry.size, []).append((folder, entry.key))

    def count(self, path: FolderPath) -> int:
        """Count those of one folder, less what was found to be ours."""
        return self._counts[path]

    def find(self, rows: Sequence[Row]) -> dict[int, FolderPath]:
        """Search for messages by size and fingerprint; return where each was found. No entry is found twice."""
        self._list_rest()
        self._read_headers(rows)
        found = {}
        for row in rows:
            places = self._by_fingerprint.get(row.fingerprint) if row.fingerprint else None
            if places:
                found[row.id] = places.pop()
                self._counts[found[row.id]] -= 1
        return found

    def _list_rest(self) -> None:
        rest, self.unlisted = self.unlisted, []
        for page in self._sink.changes((folder, None) for folder in rest):
            if isinstance(
                page, Changes
            ):  # what cannot be listed cannot be searched, and proves nothing either way
                for entry in page.entries:
                    self.add(page.folder, entry)

    def _read_headers(self, rows: Sequence[Row]) -> None:
        """Read, once, the headers of entries that have the size of one of these messages."""
        asked: dict[FolderPath, tuple[Folder, list[Entry]]] = {}
        for size in {size for row in rows for size in (row.size, row.target_size) if size is not None}:
            for folder, key in self._by_size.pop(size, ()):
                asked.setdefault(folder.path, (folder, []))[1].append(Entry(key, size))
        for folder, entries in asked.values():
            for headers in self._sink.headers(folder, entries):
                value = fingerprint(headers.octets).value
                self._by_fingerprint.setdefault(value, []).append(folder.path)


def _octets(side: Source, folder: Folder, entry: Entry) -> bytes | None:
    found = None
    for answer in side.fetch([(folder, [entry])]):
        if isinstance(answer, Message):
            found = answer.octets
    return found


def _kept(flags: frozenset[str], storable: frozenset[str] | None) -> set[str]:
    """Return flags as they compare: without case, without those that are never carried, only what can be stored."""
    can = None if storable is None else {flag.lower() for flag in storable}
    kept = {flag.lower() for flag in flags} - _NO_FLAGS
    return kept if can is None else kept & can


def _lost(folder: FolderProof) -> Remark:
    return Remark(
        "fault",
        f"nothing of what was carried from {'/'.join(folder.source)} is in the target any more",
        "If its user emptied it, all is well; if it was made anew, `alimail migrate --refill` copies again.",
    )
