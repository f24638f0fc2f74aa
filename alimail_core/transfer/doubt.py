"""What is in doubt: looked for once everything else has gone, and sent again only when nothing can follow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from attrs import frozen

from alimail_core.ledger import Row, State
from alimail_core.ledger.rows import BatchRow
from alimail_core.transfer.reconcile import claim_elsewhere, reconcile
from alimail_core.transfer.send import POISON, Sender
from alimail_core.transfer.state import Pair, Pass, Target


def resolve_doubts(p: Pass) -> None:
    """Find what was sent without an answer, or send it again when the first sending can no longer arrive.

    A server may go on for a while with what it was sent before the connection ended, so a message that is not
    found counts as missing only when the look began ``settle_seconds`` after that (docs/invariants.md).
    """
    if p.counts.piecemeal:
        for target in _targets_of(p, _doubtful(p)):
            _resolve(p, target)
    _resolve(p)
    reconcile(p, [p.targets[target_id] for target_id in p.book.unfinished() if target_id in p.targets])


def _resolve(p: Pass, only: Target | None = None) -> None:
    """Settle what is in doubt in all folders, or in one, as far as they can be listed."""
    while doubtful := _doubtful(p, only):
        reconcile(p, _targets_of(p, doubtful))
        rows = [row for row in _doubtful(p, only) if _was_looked_for(p, row)]
        if not rows:
            break  # settled; or their folders cannot be listed now, which is a problem of its own
        verdict = _judge(p, rows)
        missing = _not_moved(p, verdict.missing)
        _missing(p, missing)
        if verdict.missing:
            folders = {row.folder_id for row in missing}
            send(p, [pair for pair in p.pairs if pair.id in folders])
        else:
            p.wait(
                verdict.seconds, f"messages in doubt, which the target may still be storing: {len(rows):,}"
            )


def adopt_undone(p: Pass) -> None:
    """Take what an undo that was cut off has not removed for a stranger, once the target can no longer remove it.

    Its connections died before this pass began, and nobody knows when.
    """
    if not p.book.is_being_undone():
        return
    over = p.began + p.options.settle_seconds - p.book.now
    if over > 0:
        p.wait(over, "an undo was cut off, and the target may still be removing messages")
    p.book.adopt_undone()


def send(p: Pass, pairs: Sequence[Pair]) -> None:
    """Send what is pending in these pairs, and read back once what then stands in their target folders.

    A target folder that could not be listed is not written to: what stands there already is not known. What was
    put aside, because it may stand there, is decided when all else is there, and what claimed nothing goes last.
    """
    while ready := _ready(p, pairs):
        aside = Sender(p, ready).run()
        targets = list({pair.target.id: pair.target for pair in ready}.values())
        reconcile(p, targets, decide=aside)
        _tell_redated(p, targets)
        tell_merged(p, targets)
        tell_lost(p, targets)
        if not aside:
            break


def _ready(p: Pass, pairs: Sequence[Pair]) -> list[Pair]:
    pending = p.book.pending()
    return [pair for pair in pairs if pair.id in pending and pair.target.surveyed is not None]


def _tell_redated(p: Pass, targets: Sequence[Target]) -> None:
    if p.book.redated([target.id for target in targets]):
        p.note_once("the target does not keep internal dates: messages show the day of their migration there")


def tell_merged(p: Pass, targets: Sequence[Target]) -> None:
    """Where a target folder gave a message the key of an earlier one, only the earlier one stands there.

    An identical one is there once, which is named in the pass that saw it; another's content is not there.
    """
    by_target: dict[int, list[Row]] = {}
    for row in p.book.merged([target.id for target in targets]):
        by_target.setdefault(row.target_id or 0, []).append(row)
    for target_id, rows in by_target.items():
        _tell_merged(p, rows, p.book.by_target_keys(target_id, [row.target_key or "" for row in rows]))


def _tell_merged(p: Pass, rows: Sequence[Row], keepers: Mapping[str, Sequence[Row]]) -> None:
    for row in rows:
        kept = keepers[row.target_key or ""][0]
        state = State.MERGED if row.is_twin_of(kept) else State.REFUSED
        p.book.update([{"_id": row.id, "state": state, "target_key": None, "target_size": None}])
        if state == State.MERGED:
            reason = "the target stores this message and an identical one as a single message"
            p.problem("merged", reason, row=row, remedy="Nothing need be done: its content is there once.")
        else:
            reason = "the target took this message for another one, which it had, and keeps only that"
            p.problem(
                "refused", reason, row=row, remedy="Look at both at their source; keep this one elsewhere."
            )


def tell_lost(p: Pass, targets: Iterable[Target]) -> None:
    """Name what targets said in this pass that they stored, and what no look there has shown since.

    It stays stored, on the target's word, and is not sent again by itself: a rule there may have moved it.
    """
    looked = {target.id for target in targets}
    for row in p.book.never_seen(p.began):
        if row.target_id not in looked:
            continue
        p.problem(
            "lost",
            "the target said that it stored this message, and does not show it",
            row=row,
            remedy="Look for it in the target's other folders. Where it is nowhere, --refill copies it again.",
        )


def _doubtful(p: Pass, only: Target | None = None) -> list[Row]:
    rows = p.book.rows(states=[State.SENT])
    return rows if only is None else [row for row in rows if row.target_id == only.id]


def _targets_of(p: Pass, rows: Sequence[Row]) -> list[Target]:
    ids = dict.fromkeys(row.target_id for row in rows)
    return [p.targets[target_id] for target_id in ids if target_id in p.targets]


def _was_looked_for(p: Pass, row: Row) -> bool:
    target = p.targets.get(row.target_id or 0)
    return target is None or target.surveyed is not None


@frozen
class _Verdict:
    missing: list[Row]
    """Certainly not in the target, and nothing can bring them there any more."""
    seconds: float
    """How long to wait until the next of the others can be judged."""


def _judge(p: Pass, rows: Sequence[Row]) -> _Verdict:
    batches = p.book.batches_of(rows)
    missing, latest = [], []
    for row in rows:
        sent = batches.get(row.batch_id, BatchRow(0.0, 0.0, over=True))
        ended, over = sent.ended, sent.over
        if ended is not None and ended > p.book.now:
            # The clock was set back since then: the whole time is waited once more.
            p.book.end_batches([row.batch_id or 0], over=over)
            ended = p.book.now
        settled = 0.0 if over else (ended or 0.0) + p.options.settle_seconds
        target = p.targets.get(row.target_id or 0)
        surveyed = target.surveyed if target is not None else p.book.now  # no such folder there any more
        if surveyed is not None and surveyed >= settled:
            missing.append(row)
        else:
            latest.append(settled)
    return _Verdict(missing, max(min(latest, default=0.0) - p.book.now, 0.1))


def _not_moved(p: Pass, rows: Sequence[Row]) -> list[Row]:
    """Settle what its user has moved to another folder of the target; return what stands nowhere there.

    What this pass has sent was looked for at once, and is not searched. In a folder that cannot be listed nothing
    is found, and then it is sent again: rather twice than never.
    """
    batches = p.book.batches_of(rows)
    earlier = {
        row.id for row in rows if row.batch_id in batches and batches[row.batch_id].intended <= p.began
    }
    if not earlier:
        return list(rows)
    reconcile(p, p.unseen(), decide=p.targets)
    claim_elsewhere(p, [row for row in _doubtful(p) if row.id in earlier])
    still = {row.id for row in _doubtful(p)}
    return [row for row in rows if row.id in still]


def _missing(p: Pass, rows: Sequence[Row]) -> None:
    again = [row for row in rows if p.counts.lost[row.id] < POISON]
    p.book.update(
        [
            {
                "_id": row.id,
                "state": State.PENDING,
                "batch_id": None,
                "target_id": None,
                "carried": None,
                "doubts": row.doubts + 1,
            }
            for row in again
        ],
        sync=True,
    )
    for row in rows:
        if p.counts.lost[row.id] >= POISON:
            p.book.update([{"_id": row.id, "state": State.REFUSED}])
            p.problem(
                "refused",
                f"the target ended the connection {POISON} times while this message was sent",
                row=row,
                remedy="The target may choke on it: look at the message at its source, or ask the target's support.",
            )
    if again:
        p.note(
            "messages sent again, as nothing said that they had arrived, and they were not found", len(again)
        )
    gone = [row for row in again if row.gone]
    p.book.update([{"_id": row.id, "state": State.VANISHED} for row in gone])
