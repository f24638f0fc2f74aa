"""Write to the target: intents on disk before octets leave, outcomes settled with the next intent.

One ``Sender`` carries what is pending of some source folders into their target folders. A reader thread fetches
ahead; this thread hands batches to the sink, and the sink decides how many it keeps in flight. The order of
writes follows from docs/invariants.md.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from attrs import evolve, field, frozen

from alimail_core.dates import date_of
from alimail_core.errors import AlimailError, InDoubt, Refused, Transient
from alimail_core.events import BatchSettled, Noted
from alimail_core.header import decoded
from alimail_core.identity import Digests, Fingerprint, digests, fingerprint, mend, names
from alimail_core.ledger import Origin, Row, State
from alimail_core.ledger.rows import from_date, join_flags, split_flags
from alimail_core.model import (
    Delivery,
    Entry,
    Folder,
    FolderPath,
    Gone,
    Message,
    NotStored,
    Stored,
    Unreadable,
)
from alimail_core.transfer.readahead import ReadAhead
from alimail_core.transfer.reconcile import evidence, message_hash
from alimail_core.transfer.state import Pair, Pass

_PAGE = 500
"""Rows asked from the ledger at a time, and so the most entries in one request to the source."""

RECENT = timedelta(days=90)

POISON = 3
"""A message at which the connection dies this often in one pass, while it alone is asked or sent, is set aside."""

SUSPECT = 2
"""A message that was in doubt this often is sent while nothing else is on its way: only then does a connection that
dies tell of it. Otherwise a server that ends each connection after a while would accuse whatever was under way."""

UNEXPLAINED = 100
"""So many messages that were refused without a reason are offered once more in a pass: who refuses more means it."""

_IDENTIFIER = 998
"""Octets of a Message-ID that are kept: as long as a line may be (RFC 5322 §2.1.1)."""

SETTLE_SECONDS = 1.0
"""How long a settle waits for the next intent before it is written, unsynced, for those who watch the ledger."""


@frozen
class Parcel:
    """A message with all that the ledger will note of it when it is sent."""

    row: Row
    pair: Pair
    octets: bytes = field(repr=False)
    source_flags: frozenset[str]
    internal_date: datetime | None
    exact: Digests
    header: Fingerprint
    mended: bool = False


@frozen
class _Missing:
    """A message that the source did not give; no reason: it is gone from there."""

    row: Row
    reason: str


@frozen
class _InFlight:
    parcel: Parcel
    batch_id: int


class Sender:
    """Carries what is pending in the given pairs. ``run`` raises whatever ends the attempt, all settled."""

    def __init__(self, p: Pass, pairs: Sequence[Pair]) -> None:
        self._p = p
        self._pairs = pairs
        self._asked: dict[tuple[FolderPath, str], tuple[Row, Pair]] = {}
        self._again: deque[Parcel] = deque()
        self._flying: dict[int, _InFlight] = {}
        self._settles: list[dict[str, Any]] = []
        self._settled: dict[FolderPath, list[int]] = {}
        self._doubtful: dict[int, bool] = {}
        self._aside: set[int] = set()
        self._homeless: set[int] = set()
        self._halt: AlimailError | None = None
        self._ended_by: AlimailError | None = None
        self._held: Parcel | None = None
        self._next: list[Parcel] = []
        """A batch that waits for what is on its way."""
        self._alone = False
        """What is on its way is to stay alone."""
        self._twins: set[tuple[int, bytes]] = set()
        self._told = p.clock.monotonic()
        self._most = p.sink.traits.max_message_octets

    def run(self) -> set[int]:
        """Send until nothing is left to send; what is in doubt or waits for better days stays in the ledger.

        Return the ids of the target folders for which messages were put aside: each shares a name with a stranger
        there, and is pending until they have been matched.
        """
        ahead = ReadAhead(self._fetched(), _weight, self._p.options.read_ahead_octets)
        with closing(ahead):
            found = iter(ahead)
            while self._stream_again(found):
                pass
        self._flush()
        if self._halt is not None:
            raise self._halt
        return self._aside

    def _stream_again(self, found: Iterator[Parcel | _Missing]) -> bool:
        """Give the sink one stream of batches and settle its outcomes; True where another stream is needed."""
        try:
            for outcome in self._p.sink.append(self._batches(found)):
                self._take(outcome)
                self._settle_now_and_then()
        except AlimailError as error:
            self._halt = error
        for flying in self._flying.values():  # no outcome: it may stand there
            self._doubt(flying, InDoubt("the sink gave no answer"))
        self._flying.clear()
        return self._halt is None and bool(self._again or self._next)

    # the way in: from the source to parcels

    def _fetched(self) -> Iterator[Parcel | _Missing]:
        """Fetch what is pending; runs in the reader's thread and only reads the ledger."""
        for answer in self._answers():
            row, pair = self._asked.pop((answer.folder, answer.key), (None, None))
            if row is None or pair is None:
                continue  # nobody asked for it, or it was answered before
            if isinstance(answer, Message):
                yield _parcel(row, pair, answer)
            else:
                yield _Missing(row, "" if isinstance(answer, Gone) else answer.reason)
            del answer  # it may be large, and the next one is read now
        for row, _ in self._asked.values():
            yield _Missing(row, "the source gave no answer for this message")

    def _answers(self) -> Iterator[Message | Gone | Unreadable]:
        """Ask for everything in one stream; or, once the source has failed at that, for one message at a time."""
        if not self._p.counts.careful:
            yield from self._p.source.fetch(self._requests())
            return
        for folder, entries in self._requests():
            for entry in entries:
                yield from self._one_answer(folder, entry)

    def _one_answer(self, folder: Folder, entry: Entry) -> Iterator[Message | Gone | Unreadable]:
        """Ask for one message; where the connection dies at it again and again, that is evidence against it."""
        row, _ = self._asked[folder.path, entry.key]
        try:
            yield from self._p.source.fetch([(folder, [entry])])
        except Transient as error:
            self._p.counts.choked[row.id] += 1
            if self._p.counts.choked[row.id] < POISON:
                raise
            yield Unreadable(
                folder.path, entry.key, f"the source failed {POISON} times at this message: {error}"
            )
            raise

    def _requests(self) -> Iterator[tuple[Folder, Sequence[Entry]]]:
        recent = None
        if self._p.options.order == "recent":
            recent = int((self._p.clock.now() - RECENT).timestamp())
        for pair in self._pairs:
            last: Row | None = None
            while rows := self._p.book.pending_page(pair.id, last, _PAGE, recent):
                last = rows[-1]
                for row in rows:
                    self._asked[pair.source.path, row.key or ""] = (row, pair)
                yield pair.source, [row.entry for row in rows]

    def _missing(self, row: Row, reason: str) -> None:
        """Note why a message cannot be sent now: it left the source, or the source does not give it."""
        if reason:
            self._p.book.update([{"_id": row.id, "state": State.UNREADABLE}])
            self._p.problem("unreadable", reason, row=row, remedy="It is tried again in the next pass.")
            # Its folder may have been renumbered since it was listed: should there be another attempt, it lists it.
            self._p.counts.listed.pop(row.folder_id, None)
        else:
            self._p.book.update([{"_id": row.id, "state": State.VANISHED, "gone": 1}])

    # the way out: from parcels to batches

    def _batches(self, found: Iterator[Parcel | _Missing]) -> Iterator[list[Delivery]]:
        """Make batches; each is on disk as an intent before it is handed over.

        Nothing is raised here, inside the sink's stream: what ends the attempt ends the stream, so that the
        sink first answers what it has taken.
        """
        while self._halt is None:
            try:
                batch, self._next = self._next or self._next_batch(found), []
                if not batch:
                    return
                alone = batch[0].row.doubts >= SUSPECT
                if self._flying and (alone or self._alone):
                    self._next = batch  # in the next stream, once what is on its way is heard
                    return
                self._alone = alone
                self._p.check_in()
                deliveries = self._intend(batch)
            except AlimailError as error:
                self._halt = error
                return
            yield deliveries
            del batch, deliveries  # they are the sink's now

    def _next_batch(self, found: Iterator[Parcel | _Missing]) -> list[Parcel]:
        batch: list[Parcel] = []
        octets = 0
        options = self._p.options
        if self._ended_by is not None:
            raise self._ended_by
        while len(batch) < options.batch_messages:
            try:
                parcel = self._next_parcel(found)
            except AlimailError as error:
                self._ended_by = error
                if not batch:
                    raise
                break  # what was fetched before the source failed is carried all the same
            if parcel is None:
                break
            alone = parcel.mended or parcel.row.doubts > 0
            if batch and (alone or octets + len(parcel.octets) > options.batch_octets):
                self._held = parcel
                break
            batch.append(parcel)
            self._twins.add((parcel.pair.target.id, parcel.exact.digest))
            octets += len(parcel.octets)
            if alone or octets >= options.batch_octets:
                break
        return batch

    def _next_parcel(self, found: Iterator[Parcel | _Missing]) -> Parcel | None:
        if self._held is not None:
            held, self._held = self._held, None
            return held
        while True:
            item = self._again.popleft() if self._again else next(found, None)
            if isinstance(item, _Missing):
                self._missing(item.row, item.reason)
            elif item is None or self._wanted(item):
                return item

    def _wanted(self, parcel: Parcel) -> bool:
        """Put aside what is not sent now: it may stand there, is too large for it, or is not wanted by wish."""
        p, row = self._p, parcel.row
        if p.messages.wants(row.size, parcel.internal_date, parcel.source_flags) is False:
            self._leave_out(parcel)
            return False
        if self._meets_a_stranger(parcel):
            self._aside.add(parcel.pair.target.id)
            self._settles.append({"_id": row.id, **_measures(parcel)})
            return False
        most = self._most
        if most is not None and len(parcel.octets) > most:
            reason = f"the message has {len(parcel.octets):,} octets; the target takes at most {most:,}"
            self._refuse(
                parcel, Refused(reason, about="size", remedy="Keep it elsewhere, or ask for a higher limit.")
            )
            return False
        if p.options.duplicates != "collapse" or parcel.mended:
            return True
        if self._has_twin(parcel):
            p.book.update([{"_id": row.id, "state": State.COLLAPSED, **_measures(parcel)}])
            p.note("identical messages of one folder, copied once by wish")
            return False
        if refused := p.counts.refused.get((parcel.pair.target.id, parcel.exact.digest)):
            self._refuse(parcel, refused)
            return False
        return True

    def _leave_out(self, parcel: Parcel) -> None:
        """Keep of a message that the filter does not want what the listing had not told, to consider it anew."""
        date, zone = from_date(parcel.internal_date)
        told = {"date": date, "zone": zone, **_measures(parcel)}
        self._p.book.update([{"_id": parcel.row.id, "state": State.LEFT_OUT, **told}])
        text = f"messages that are left out by wish ({self._p.left_out_by})"
        self._p.tell(Noted(self._p.account, text))

    def _meets_a_stranger(self, parcel: Parcel) -> bool:
        strangers = parcel.pair.target.strangers
        if not strangers:
            return False
        known = evidence(parcel.row, parcel.header.value, message_hash(parcel.header.message_id))
        return not strangers.isdisjoint(names(known))

    def _has_twin(self, parcel: Parcel) -> bool:
        target_id, digest = parcel.pair.target.id, parcel.exact.digest
        return (target_id, digest) in self._twins or self._p.book.has_twin(target_id, digest, parcel.row.id)

    def _intend(self, batch: Sequence[Parcel]) -> list[Delivery]:
        """Write the intent: from its sync on, these messages may stand in the target. Earlier settles ride along."""
        p = self._p
        with p.book.write(sync=True) as connection:
            p.keep_limit(self._in_flight() + sum(len(parcel.octets) for parcel in batch))
            batch_id = p.book.new_batch(connection)
            intents = [
                {
                    "_id": parcel.row.id,
                    "state": State.SENT,
                    "batch_id": batch_id,
                    "target_id": parcel.pair.target.id,
                    "target_key": None,
                    "origin": None,
                    "target_size": None,
                    "target_date": None,
                    "carried": join_flags(parcel.source_flags),
                    **_measures(parcel),
                }
                for parcel in batch
            ]
            p.book.put(connection, [*self._settles, *intents])
            self._count_octets(connection)
        self._told_settled()
        self._twins.clear()
        for parcel in batch:
            self._flying[parcel.row.id] = _InFlight(parcel, batch_id)
            p.counts.looked.discard(parcel.pair.target.id)
        return [self._delivery(parcel) for parcel in batch]

    def _delivery(self, parcel: Parcel) -> Delivery:
        target = parcel.pair.target
        flags = self._p.storable(target, parcel.source_flags)
        for flag in parcel.source_flags - flags:
            self._p.counts.dropped[flag] += 1
        return Delivery(parcel.row.id, target.folder, parcel.octets, flags, parcel.internal_date)

    # what became of it

    def _take(self, outcome: Stored | NotStored) -> None:
        flying = self._flying.pop(outcome.id, None)
        if flying is None:
            return  # a second answer for one delivery: the first one counts
        if isinstance(outcome, Stored):
            self._store(flying.parcel, outcome.key)
        elif isinstance(outcome.error, Refused) and self._is_homeless(flying.parcel, outcome.error):
            # The folder is gone, not the message's fault: the next attempt makes it again.
            self._settles.append(_unsent(flying.parcel.row))
            self._halt = self._halt or Transient(str(outcome.error), remedy=outcome.error.remedy)
        elif isinstance(outcome.error, Refused):
            self._refused(flying, outcome.error)
        elif isinstance(outcome.error, InDoubt):
            self._doubt(flying, outcome.error)
        else:
            self._settles.append(_unsent(flying.parcel.row))
            self._halt = self._halt or outcome.error

    def _is_homeless(self, parcel: Parcel, error: Refused) -> bool:
        """Tell whether the folder is not there. A target that says so however often it was made refuses messages."""
        target_id = parcel.pair.target.id
        if error.about != "folder" or self._p.counts.homeless[target_id] >= POISON:
            return False
        self._homeless.add(target_id)
        return True

    def _store(self, parcel: Parcel, key: str | None) -> None:
        settle = {"_id": parcel.row.id, "state": State.STORED, "target_key": key, "target_gone": 0}
        settle["origin"] = Origin.APPENDED if key is not None else None
        self._settles.append(settle)
        told = self._settled.setdefault(parcel.pair.source.path, [0, 0])
        told[0] += 1
        told[1] += len(parcel.octets)
        if parcel.mended:
            self._p.note(
                "messages mended so that the target took them (NUL octets out, lone CR or LF made CRLF)"
            )

    def _refused(self, flying: _InFlight, error: Refused) -> None:
        parcel, unexplained = flying.parcel, self._p.counts.unexplained
        if not error.explained and parcel.row.id not in unexplained and len(unexplained) < UNEXPLAINED:
            unexplained.add(parcel.row.id)
            self._park(flying, over=True)
            return
        mended = mend(parcel.octets) if error.about != "size" and not parcel.mended else parcel.octets
        if mended == parcel.octets:
            self._refuse(parcel, error)
        else:
            self._settles.append(_unsent(parcel.row))
            self._again.append(evolve(parcel, octets=mended, mended=True))

    def _refuse(self, parcel: Parcel, error: Refused) -> None:
        self._settles.append({"_id": parcel.row.id, "state": State.REFUSED, **_measures(parcel)})
        if self._p.options.duplicates == "collapse":
            self._p.counts.refused[parcel.pair.target.id, parcel.exact.digest] = error
        identifier = decoded((parcel.header.message_id or b"")[:_IDENTIFIER], "utf-8")
        remedy = error.remedy or "Look at it at its source. If the target never takes it, keep it elsewhere."
        self._p.problem("refused", str(error), row=parcel.row, remedy=remedy, identifier=identifier)

    def _doubt(self, flying: _InFlight, error: InDoubt) -> None:
        """Park what got no answer. Where it was alone on its way, that is evidence against it."""
        self._park(flying, over=error.over)
        if self._alone:
            self._p.counts.lost[flying.parcel.row.id] += 1

    def _park(self, flying: _InFlight, *, over: bool) -> None:
        """Leave it as sent: only looking at the target decides, once everything else has gone."""
        self._doubtful[flying.batch_id] = self._doubtful.get(flying.batch_id, True) and over

    def _flush(self) -> None:
        """Write the last settles, and when the batches in doubt ended."""
        p = self._p
        self._write_settles()
        p.counts.homeless.update(self._homeless)
        for over in (False, True):
            ended = [batch_id for batch_id, is_over in self._doubtful.items() if is_over is over]
            if ended:
                p.book.end_batches(ended, over=over)
        self._doubtful.clear()

    def _settle_now_and_then(self) -> None:
        """On a slow target, do not let a whole batch pass before `status` and progress see any of it."""
        if self._settles and self._p.clock.monotonic() - self._told >= SETTLE_SECONDS:
            self._write_settles()

    def _write_settles(self) -> None:
        if self._settles:
            with self._p.book.write() as connection:
                self._p.book.put(connection, self._settles)
                self._count_octets(connection)
        self._told_settled()

    def _count_octets(self, connection: sa.Connection) -> None:
        """Count towards the migration's limit what the target has taken, with the settles that say so."""
        self._p.book.count_octets(connection, sum(octets for _, octets in self._settled.values()))

    def _in_flight(self) -> int:
        """Return the octets that are on their way, or arrived and not yet counted in the ledger."""
        arrived = sum(octets for _, octets in self._settled.values())
        return arrived + sum(len(each.parcel.octets) for each in self._flying.values())

    def _told_settled(self) -> None:
        """The settles are in the ledger: count them and let the observers know."""
        self._settles = []
        p = self._p
        self._told = p.clock.monotonic()
        for path, (messages, octets) in self._settled.items():
            p.counts.copied += messages
            p.counts.octets += octets
            p.tell(BatchSettled(p.account, path, copied=messages, octets=octets))
        self._settled = {}


def _weight(item: Parcel | _Missing) -> int:
    """What an item counts for: its octets, and more than the objects around them take, here and at those who ask.

    So some 3,000 small messages wait at the most: enough for any target, and each more would be memory alone.
    """
    return 10 * 1024 + (len(item.octets) if isinstance(item, Parcel) else 0)


def _parcel(row: Row, pair: Pair, message: Message) -> Parcel:
    if row.size is None:
        row = evolve(row, size=len(message.octets))
    flags = split_flags(row.flags) if message.flags is None else message.flags
    date = message.internal_date or row.internal_date or date_of(message.octets)
    exact, header = digests(message.octets), fingerprint(message.octets)
    return Parcel(row, pair, message.octets, flags, date, exact, header)


def _measures(parcel: Parcel) -> dict[str, Any]:
    """Return the columns by which a message is known again, with flags that perhaps no listing tells."""
    exact = parcel.exact
    return {
        "flags": join_flags(parcel.source_flags),
        "size": parcel.row.size,
        "digest": exact.digest,
        "canonical": None if exact.canonical == exact.digest else exact.canonical,
        "sent_digest": digests(parcel.octets).digest if parcel.mended else None,
        "fingerprint": parcel.header.value,
        "message_hash": message_hash(parcel.header.message_id),
    }


def _unsent(row: Row) -> dict[str, Any]:
    """Return the change that makes a row pending again: nothing of it stands in the target."""
    return {"_id": row.id, "state": State.PENDING, "batch_id": None, "target_id": None, "carried": None}
