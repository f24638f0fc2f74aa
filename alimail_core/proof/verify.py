"""Is it all there? Both sides are listed afresh and held against the ledger; nothing that a pass said is trusted.

A quick proof: every message of the source that the filter wants is settled, and the target lists its copy, with its
size and flags. A full proof besides reads every copy back and compares its digest with what was sent, and, where the
source gives the same octets each time, with the source. What the target stores otherwise than it was sent is looked
at: what a reader sees decides whether it was *altered* (its headers, line ends, encoding) or is another message. The
digest of an altered copy is kept in the ledger, so that the next proof of it is exact.

Both sides stay as they are. Memory holds the numbers of the ledger's rows and the entries that nobody claims, but
no list of messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing

from attrs import Factory, asdict, define, evolve

from alimail_core.check import fault_of
from alimail_core.contract import Sink, Source
from alimail_core.ends import Ends
from alimail_core.errors import AlimailError, Interrupted, LeaseHeld, Remark
from alimail_core.events import MessagesProven, Observer, ProofEnded, ProofStarted
from alimail_core.folders.policy import FolderPolicy
from alimail_core.ledger import Book, Ledger, ProblemRow, Row, State
from alimail_core.ledger.rows import FolderRow, contradicts, split_flags
from alimail_core.messages import MessageFilter
from alimail_core.model import Changes, Entry, Folder, FolderPath, Unusable
from alimail_core.plan import map_account, previous_places
from alimail_core.proof.readback import Readback, Reading
from alimail_core.proof.results import (
    MAX_FINDINGS,
    AccountProof,
    Altered,
    Finding,
    FolderProof,
    MessageProof,
    root_digest,
)
from alimail_core.proof.strangers import Strangers

_CARRIED = (State.STORED, State.MOVING)
_QUARANTINED = (State.REFUSED, State.UNREADABLE)
_NEVER_SENT = (State.PENDING, State.LEFT_OUT, State.VANISHED)
_MERGED = "the target keeps this message and an identical one as one"
_NO_FLAGS = frozenset({"\\deleted", "\\recent"})


def verify_account(
    ends: Ends,
    ledger: Ledger | None,
    account_id: int | None,
    policy: FolderPolicy,
    messages: MessageFilter,
    *,
    full: bool,
    known: Altered,
    each_message: Callable[[MessageProof], None],
    observe: Observer,
    tell_bug: Callable[[Exception], None],
) -> AccountProof:
    """Prove one account; all of one that never ran is pending. Raises ``Interrupted`` and nothing else.

    ``known``: how the target altered messages, as earlier proofs found.
    """
    account = ends.account
    observe(_started(ledger, account_id, account.source_address, full))
    proof = AccountProof(
        account.source_address, full=full, target_address=account.target_address, at=ends.clock.now()
    )
    try:
        proof = _look(ends, ledger, account_id, policy, messages, proof, known, each_message, observe)
    except Interrupted:
        raise
    except AlimailError as error:
        proof = evolve(proof, failed=True, remarks=(*proof.remarks, *fault_of(error)))
    except Exception as bug:  # noqa: BLE001 - one account's bug must not end the proof of the others
        tell_bug(bug)
        remark = Remark("fault", f"{type(bug).__name__}: a bug in alimail or in a plug-in", "Report it.")
        proof = evolve(proof, failed=True, remarks=(*proof.remarks, remark))
    observe(ProofEnded(proof.account, proof.complete, proof.failed))
    return proof


def _started(ledger: Ledger | None, account_id: int | None, account: str, full: bool) -> ProofStarted:
    counts = ledger.counts(account_id) if ledger is not None and account_id is not None else {}
    octets = sum(counts[state.name][1] for state in _CARRIED if state.name in counts) if full else 0
    return ProofStarted(account, sum(messages for messages, _ in counts.values()), octets)


def _look(
    ends: Ends,
    ledger: Ledger | None,
    account_id: int | None,
    policy: FolderPolicy,
    messages: MessageFilter,
    proof: AccountProof,
    known: Altered,
    each_message: Callable[[MessageProof], None],
    observe: Observer,
) -> AccountProof:
    with ExitStack() as stack:
        book = None
        if ledger is not None and account_id is not None:
            book = stack.enter_context(closing(ledger.read(account_id)))
        source = stack.enter_context(ends.source())
        sink = stack.enter_context(ends.sink())
        problems = _problems(ledger, account_id)
        prover = _Prover(
            ends, book, source, sink, messages, proof.full, known, each_message, observe, problems
        )
        proof = prover.prove(policy, proof)
    if ledger is not None and account_id is not None and (prover.altered or prover.over):
        proof = _write_down(ledger, account_id, prover, proof)
    return proof


def _problems(ledger: Ledger | None, account_id: int | None) -> dict[int, ProblemRow]:
    """Return what the passes said of messages that were not carried, by the number of their row."""
    problems = ledger.problems(account_id) if ledger is not None and account_id is not None else []
    return {row.message_id: row for row in problems if row.message_id is not None}


def _write_down(ledger: Ledger, account_id: int, prover: _Prover, proof: AccountProof) -> AccountProof:
    """Keep how the target stores what it altered, and forget problems that are over, unless a pass is under way."""
    altered = [{"_id": row_id, "stored_digest": each} for row_id, each in prover.altered.items()]
    try:
        with ledger.lease(account_id) as book:
            book.update(altered, sync=True)
            book.forget_problems("extra", prover.over)
        return proof
    except LeaseHeld:
        text = "a pass is under way, so the digests of altered messages were not kept; the next proof reads again"
        return evolve(proof, remarks=(*proof.remarks, *([Remark("note", text)] if altered else [])))


@define
class _Tally:
    """What is counted of one source folder; see ``FolderProof``."""

    messages: int = 0
    octets: int = 0
    proven: int = 0
    altered: int = 0
    moved: int = 0
    collapsed: int = 0
    left_out: int = 0
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
    unwanted: set[int] = Factory(set)
    """Rows that were never sent, and that the filter does not want."""
    absent: int = 0
    """In the source, carried, and not where they were carried to."""
    found: int = 0
    """Of those, found in another folder of the target."""
    digests: list[bytes] = Factory(list)
    findings: list[Finding] = Factory(list)

    def count_uncarried(self, unwanted: bool) -> None:
        """Count what was not carried: what the filter of today surely does not want need not be."""
        self.tally.left_out += unwanted
        self.tally.pending += not unwanted

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
        messages: MessageFilter,
        full: bool,
        known: Altered,
        each_message: Callable[[MessageProof], None],
        observe: Observer,
        problems: dict[int, ProblemRow],
    ) -> None:
        self.over: list[int] = []
        """Messages of which a second copy was told, and that stand there once now."""
        self._readback = Readback(source, sink, lambda row: self._here[self._path_of(row)], self._read_part)
        self._read = 0
        self._ends = ends
        self._book = book
        self._source = source
        self._sink = sink
        self._messages = messages
        self._full = full
        self._known = known
        self._each_message = each_message
        self._observe = observe
        self._problems = problems
        self._targets: dict[int, FolderRow] = {}
        self._here: dict[FolderPath, Folder] = {}
        self._standing: set[int] = set()
        self._merged: dict[int, bool] = {}
        """Rows whose entry an earlier row claims, and whether that has the same content."""
        self._resized: set[int] = set()
        self._touched: set[int] = set()
        self._strangers = Strangers(sink)
        self._remarks: list[Remark] = []
        self._failed = False

    @property
    def altered(self) -> dict[int, bytes]:
        """By row: how the target stores what it altered, where the ledger does not know it yet."""
        return self._readback.altered

    def prove(self, policy: FolderPolicy, proof: AccountProof) -> AccountProof:
        """List the target, then walk through the source folder by folder."""
        sources = list(self._source.folders())
        targets = list(self._sink.folders())
        book = self._book
        previous = previous_places(book.folders("source"), book.folders("target")) if book else {}
        mapped, _ = map_account(self._ends, previous, policy, self._sink.traits.rules, sources, targets)
        self._here = {folder.path: folder for folder in targets if folder.selectable}
        self._list_target()
        self.over = [row.id for row in self._book.doubled() if not self._is_double(row)] if self._book else []
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
            self._merged.update((row.id, row.is_twin_of(ours[0])) for row in ours[1:])

    def _stands(self, row: Row, entry: Entry, storable: frozenset[str] | None) -> None:
        self._standing.add(row.id)
        if entry.size is not None and row.sent_digest is None and row.size not in (None, entry.size):
            self._resized.add(row.id)
        if row.carried is not None and _kept(entry.flags, None) != _kept(split_flags(row.carried), storable):
            self._touched.add(row.id)

    def _is_double(self, row: Row) -> bool:
        """Tell whether a message stands in the target, beside an entry of its size that nobody claims."""
        sizes = (row.size, row.target_size)
        return row.id in self._standing and self._strangers.has(self._path_of(row), sizes)

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
            if page.shortage is not None:
                name = "/".join(page.folder.path)
                self._fail(f"the source's folder {name}: {page.shortage.text}", page.shortage.remedy)
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
                flags = entry.flags if self._source.traits.lists_flags else None
                unwanted = self._messages.wants(entry.size, entry.internal_date, flags) is False
                folder.count_uncarried(unwanted)
                continue
            folder.listed.add(row.id)
            if row.state in _NEVER_SENT:
                flags = entry.flags if self._source.traits.lists_flags else row.known_flags(False)
                if self._messages.wants(row.size, row.internal_date, flags) is False:
                    folder.unwanted.add(row.id)
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
            standing += self._find_absent(folder, [row for row in rows if self._is_absent(row)])
            readings = self._readback.read(folder.source, standing, folder.listed) if self._full else {}
            for row in standing:
                self._judge(folder, row, readings.get(row.id))
            self._tell_page(folder, rows)

    def _tell_page(self, folder: _Folder, rows: Sequence[Row]) -> None:
        """Tell how many messages were looked at, and the octets of theirs that were not told as they were read."""
        octets = sum(row.size or 0 for row in rows if row.state in _CARRIED) if self._full else 0
        rest, self._read = max(0, octets - self._read), 0
        self._observe(MessagesProven(self._ends.account.source_address, folder.source.path, len(rows), rest))

    def _read_part(self, path: FolderPath, octets: int) -> None:
        self._ends.check_in()
        self._read += octets
        self._observe(MessagesProven(self._ends.account.source_address, path, 0, octets))

    def _sort(self, folder: _Folder, row: Row) -> bool:
        """Count what needs no look at the target; tell whether the row stands there."""
        here = row.id in folder.listed
        state = State(row.state)
        if state in _CARRIED:
            folder.tally.gone += not here
            folder.tally.flags_changed += row.id in self._touched
            if row.id in self._merged:
                self._tell_merged(folder, row)
            return row.id in self._standing
        if here and state in _QUARANTINED:
            folder.find("quarantined", row.key, self._reason(row))
        elif here and state == State.MERGED:
            folder.find("merged", row.key, _MERGED)
        elif here and state == State.COLLAPSED:
            folder.tally.collapsed += 1
        elif here:
            folder.count_uncarried(row.id in folder.unwanted)
        return False

    def _tell_merged(self, folder: _Folder, row: Row) -> None:
        """Say of a message whose entry an earlier one claims what no pass has noted yet."""
        if self._merged[row.id]:
            folder.find("merged", row.key, _MERGED)
        else:
            folder.find("missing", row.key, "the target took it for another message, and keeps only that")

    def _is_absent(self, row: Row) -> bool:
        return row.state in _CARRIED and row.id not in self._standing and row.id not in self._merged

    def _reason(self, row: Row) -> str:
        told = self._problems.get(row.id)
        return told.reason if told else "no reason was kept"

    def _find_absent(self, folder: _Folder, rows: Sequence[Row]) -> list[Row]:
        """Say of what does not stand where it was carried to whether it was moved, removed, or never there.

        Return what stands in its folder all the same, under another key: the target has given new ones to all, or its
        user has moved it away and back.
        """
        found = self._strangers.find(rows) if rows else {}
        renamed = []
        for row in rows:
            path, key = found.get(row.id, (None, ""))
            if path is not None and path == self._path_of(row):
                renamed.append(evolve(row, target_key=key))
                continue
            here = row.id in folder.listed
            folder.absent += here
            if path is not None or row.target_size is not None:  # it was seen there
                folder.found += path is not None
                if here:  # else it is gone from both sides, or need not be there
                    self._tell_moved(folder, row, path)
            elif row.state == State.MOVING:
                folder.find("pending", row.key, "a move of the copy was cut off; the next pass finishes it")
            else:
                text = "the target said that it stored it, and it was never seen there"
                folder.find("missing", row.key, text)
        return renamed

    def _tell_moved(self, folder: _Folder, row: Row, to: FolderPath | None) -> None:
        if to is None:
            folder.find("moved", row.key, "moved or removed in the target since")
        else:
            folder.find("moved", row.key, f"moved in the target since, to {'/'.join(to)}", to)

    def _judge(self, folder: _Folder, row: Row, reading: Reading | None) -> None:
        """Say of a message that stands in the target whether it is what was carried.

        What the source has no more is counted as gone from there, and named only where something is wrong with it.
        """
        digest = row.stored_digest or row.sent_digest or row.digest or b""
        outcome, text = "listed", ""
        if reading is not None:
            outcome, text, digest = reading.outcome, reading.text, reading.digest or b""
        elif row.stored_digest or row.id in self._resized:
            outcome, text = "altered", "the target stores it otherwise than it was sent"
        if outcome == "altered" and row.stored_digest and row.id not in self.altered:
            text = self._known.get((folder.source.path, row.key or ""), text)
        if outcome in ("identical", "listed"):
            folder.tally.proven += row.id in folder.listed
        elif row.id in folder.listed or outcome in ("changed", "missing"):
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

    def _fail(self, text: str, remedy: str = "See to it on the server, then verify again.") -> None:
        self._failed = True
        self._remarks.append(Remark("fault", text, remedy))


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
