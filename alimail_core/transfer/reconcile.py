"""Offer messages to the strangers of the target: one step for crashes, adoption, lost ledgers and other writers.

What the target has and we have no key for claims first, then what was sent without an answer, then what is
pending. So a settled twin never vouches for a message that was not sent (docs/invariants.md).
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import Any, Literal, TypeVar

from attrs import evolve

from alimail_core.contract import Source
from alimail_core.events import BatchSettled
from alimail_core.identity import (
    Evidence,
    claim_by_bodies,
    claim_by_headers,
    content_digest,
    digests,
    fingerprint,
    mend,
    names,
    nominees,
)
from alimail_core.ledger import Origin, Row, State, StrangerRow
from alimail_core.ledger.queries import chunks
from alimail_core.ledger.rows import contradicts, to_date
from alimail_core.model import Entry, Folder, Message, SpecialUse
from alimail_core.transfer.listing import survey
from alimail_core.transfer.state import NOT_CARRIED, Pass, Target

_T = TypeVar("_T")

_PART = 100
"""Headers read at a time."""

FEW = 16
"""Strangers are few where this many times as many pending messages were never read: about as much as a header is
smaller than its message, so that a message which is fetched twice costs less than all the headers."""

_SENT_BEFORE = (State.STORED, State.MOVING, State.SENT)


def message_hash(message_id: bytes | None) -> bytes | None:
    """Shorten a Message-ID to what the ledger keeps of it."""
    return None if message_id is None else hashlib.blake2b(message_id, digest_size=8).digest()


def reconcile(
    p: Pass, targets: Iterable[Target], *, decide: Container[int] = (), sent_only: bool = False
) -> None:
    """Survey target folders and settle whatever already stands there.

    What is pending for a folder with few strangers is left to the ``Sender``, which puts aside what meets one; in
    the folders of the ids ``decide`` it is held against them now. ``sent_only``: nothing pending claims, because what
    was moved at the source is not told from what is new yet.
    """
    wanted = list(targets)
    for part in ([target] for target in wanted) if p.counts.piecemeal else (wanted,):
        survey(p, part)
        surveyed = [target for target in part if target.surveyed is not None]
        strangers = p.book.count_strangers([target.id for target in surveyed])
        for target in surveyed:
            target.strangers = frozenset()
            if target.id in strangers:
                few = sent_only or (target.id not in decide and _are_few(p, target, strangers[target.id][0]))
                (_claim_if_sent if few else _claim)(p, target)
        _give_up_keyless(p, surveyed)
        left = p.book.count_strangers(list(strangers))
        for target in surveyed:
            latest = p.counts.latest.get(target.id)
            _, p.counts.latest[target.id] = left.get(target.id, (0, 0))
            if latest is not None and target.id in left:
                tell_doubled(p, target, latest)
            if target.id in strangers:
                find_second_copies(p, target)


def _are_few(p: Pass, target: Target, strangers: int) -> bool:
    """Tell whether to wait with what is pending until it is fetched. What is put aside comes late, out of order."""
    return p.options.order != "strict" and strangers * FEW <= p.book.unread(target.id)


def _claim(p: Pass, target: Target) -> None:
    """Let all that may stand there claim, reading the headers of what is pending.

    What stands alone on both sides claims page by page; only the rest, twins above all, is held at once. So a header
    alone decides as it would with all of it at hand, and a body only where nothing that was sent could go before.
    """
    sent, pending = p.book.who_may_claim(target.id)
    if not sent and not pending:
        return
    for ids in chunks(p.book.unread_ids(target.id)):
        read_headers(p, p.book.by_ids(ids))
    _describe(p, target)
    if not sent or (p.options.adopt != "content" and target.special_use != SpecialUse.DRAFTS):
        for ours, theirs in zip(*map(chunks, p.book.lone_pairs(target.id, alike=sent)), strict=True):
            p.check_in()
            _settle(p, target, _claims(p, target, p.book.by_ids(ours), p.book.strangers_by_ids(theirs)))
    rows, strangers = p.book.disputed(target.id)
    _settle(p, target, _claims(p, target, _likely_first(rows, strangers), strangers))


def _claim_if_sent(p: Pass, target: Target) -> None:
    """Let claim only what was sent; by the strangers that are left the ``Sender`` knows what to put aside.

    A header alone decides only where its Message-ID stands alone. So what is pending and listed like one that was
    sent is read as well, though it may not claim before all that is pending is known.
    """
    strangers = _described(p, target)
    sent = p.book.sent_to(target.id)
    rows = _likely_first(sent + p.book.pending_for(target.id, like=sent), strangers)
    claims = [claim for claim in _claims(p, target, rows, strangers) if claim[0].state != State.PENDING]
    _settle(p, target, claims)
    claimed = {stranger.id for _, stranger, _ in claims}
    left = [stranger_evidence(each) for each in strangers if each.id not in claimed]
    target.strangers = frozenset(name for each in left for name in names(each))


def _likely_first(rows: Sequence[Row], strangers: Sequence[StrangerRow]) -> list[Row]:
    """Within each part of ``wanted``, put first whose size and date are those of a stranger.

    Where fewer of several equal messages stand there than were sent, the right ones claim, and what is sent again
    brings its own flags and date.
    """
    free = Counter((each.size, each.date) for each in strangers)
    parts: dict[int, tuple[list[Row], list[Row]]] = {}
    for row in rows:
        likely = free[row.size, row.date] > 0
        free[row.size, row.date] -= likely
        parts.setdefault(row.state, ([], []))[0 if likely else 1].append(row)
    return [row for part in parts.values() for half in part for row in half]


def _settle(p: Pass, target: Target, claims: Sequence[tuple[Row, StrangerRow, dict[str, Any]]]) -> None:
    if not claims:
        return
    for row, _, _ in claims:
        _finish_move(p, row)
    p.book.claim(claims)
    by_folder: dict[int, list[Row]] = {}
    for row, _, _ in claims:
        if row.state in (State.PENDING, State.SENT):
            by_folder.setdefault(row.folder_id, []).append(row)
    for folder_id, rows in by_folder.items():
        adopted = sum(row.state == State.PENDING for row in rows)
        _count_found(p, sum(row.size or 0 for row in rows if row.state == State.SENT))
        p.counts.adopted += adopted
        p.counts.copied += len(rows) - adopted
        pair = p.by_id(folder_id)
        path = pair.source.path if pair else target.folder.path
        octets = sum(row.size or 0 for row in rows)
        p.tell(BatchSettled(p.account, path, copied=len(rows) - adopted, adopted=adopted, octets=octets))


def _count_found(p: Pass, octets: int) -> None:
    """Count what arrived without an answer, and was found, towards the pass and the migration's limit."""
    if octets:
        p.counts.octets += octets
        with p.book.write() as connection:
            p.book.count_octets(connection, octets)


def _finish_move(p: Pass, row: Row) -> None:
    """A move by COPY and EXPUNGE that was cut off after the COPY has left the old place filled: clear it.

    The copy at the goal was just listed, and the row stays MOVING until it claims it, so this may be cut off too.
    """
    if row.state == State.MOVING and row.target_key and row.target_id in p.targets and p.sink.traits.moves:
        old = p.targets[row.target_id]
        if still_as_written(p, old, [row]):
            p.book.touch_target()
            list(p.sink.remove(old.folder, [row.target_key]))


def _give_up_keyless(p: Pass, targets: Sequence[Target]) -> None:
    """What the target had said that it has, and what stands nowhere there now, its user moved or removed."""
    lost = p.book.keyless([target.id for target in targets])
    p.book.update([{"_id": row.id, "target_gone": 1} for row in lost])
    if lost:
        p.note(
            "messages that were carried and stand in their folder of the target no more: moved, removed, or their "
            "folder made anew (--refill copies them again)",
            len(lost),
        )


def _described(p: Pass, target: Target, after: int = 0) -> list[StrangerRow]:
    """List the strangers of a target folder (those ``after`` one) with what their headers tell."""
    _describe(p, target, after)
    return p.book.strangers(target.id, after=after)


def _describe(p: Pass, target: Target, after: int = 0) -> None:
    """Read, once, the headers of strangers whose fingerprint is not known yet."""
    for ids in _parts(p, p.book.unread_strangers(target.id, after)):
        bare = {row.key: row for row in p.book.strangers_by_ids(ids)}
        here: list[dict[str, Any]] = []
        for headers in p.sink.headers(target.folder, [row.entry for row in bare.values()]):
            found = fingerprint(headers.octets)
            row, short = bare[headers.key], message_hash(found.message_id)
            here.append({"_id": row.id, "fingerprint": found.value, "message_hash": short})
        p.book.describe_strangers(here)


def _parts(p: Pass, rows: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """Divide reading that may take long, so that what was read is kept and a wish to stop is seen."""
    for start in range(0, len(rows), _PART):
        p.check_in()
        yield rows[start : start + _PART]


def claim_elsewhere(p: Pass, rows: Sequence[Row]) -> None:
    """Settle where it is what its user has moved in the target, before we knew that it had arrived there.

    Each folder's own messages have claimed before. Only what has our octets, or our size and date and content, can
    be the copy that we sent; it is its user's from now on, and never moved or removed by us. Where the copy of an
    equal message has left its place, it may be that one: then nothing is known of this one, and it is sent again.
    """
    moved = p.book.left_by_copies({row.fingerprint for row in rows if row.fingerprint is not None})
    lonely = [row for row in rows if row.fingerprint not in moved]
    claimed: set[int] = set()
    for target in p.targets.values():
        left = [row for row in lonely if row.id not in claimed and row.target_id != target.id]
        strangers = _described(p, target) if left and p.is_known(target) else []
        if strangers:
            claims = _claims(p, target, left, strangers, adopt="content")
            ours = [
                (row, found, {**columns, "origin": Origin.ADOPTED})
                for row, found, columns in claims
                if columns["origin"] == Origin.FOUND
            ]
            _settle(p, target, ours)
            claimed |= {row.id for row, _, _ in ours}
    if claimed:
        p.note(
            "messages in doubt that stand in another folder of the target: their user moved them",
            len(claimed),
        )


def _claims(
    p: Pass,
    target: Target,
    rows: Sequence[Row],
    strangers: Sequence[StrangerRow],
    adopt: Literal["exact", "headers", "content"] | None = None,
) -> list[tuple[Row, StrangerRow, dict[str, Any]]]:
    """Decide which message claims which stranger, reading only the bodies that can decide it."""
    drafts = target.special_use == SpecialUse.DRAFTS
    wanted = row_evidence(p, rows)
    found = [stranger_evidence(row) for row in strangers]
    claims = claim_by_headers(wanted, found, mode=adopt or p.options.adopt, drafts=drafts)
    _, of_strangers = nominees(wanted, found, claims)
    bodies = read_bodies(p.sink, target.folder, [strangers[index].entry for index in of_strangers])
    for index in of_strangers:
        found[index] = _with_body(found[index], bodies.get(strangers[index].key))
    claims = [*claims, *claim_by_bodies(wanted, found, claims)]
    # The digests in the ledger did not decide these: read them at their source as well.
    of_rows, _ = nominees(wanted, found, claims)
    if p.options.delivered_twice == "ignore":
        of_rows = [index for index in of_rows if rows[index].state in _SENT_BEFORE]
    read_rows(p, [(index, rows[index]) for index in of_rows], wanted)
    claims = [*claims, *claim_by_bodies(wanted, found, claims)]
    return [
        (
            rows[claim.wanted],
            strangers[claim.stranger],
            _told_by_claim(rows[claim.wanted], wanted[claim.wanted], found[claim.stranger]),
        )
        for claim in claims
    ]


def _told_by_claim(row: Row, wanted: Evidence, found: Evidence) -> dict[str, Any]:
    """Return what a claim teaches of a message: whose work the copy is, and digests that were read for it.

    Only what has our octets, or our header, size and date, can be our own work; the same content in other octets
    was brought there by somebody else.
    """
    same = (wanted.digest is not None and wanted.digest == found.digest) or (
        wanted.canonical is not None and wanted.canonical == found.canonical
    )
    alike = (wanted.size, wanted.internal_date) == (found.size, found.internal_date)
    given_up = row.state == State.STORED and row.target_gone  # its key was never seen; this may be anybody's
    sent = row.state != State.PENDING and row.origin != Origin.ADOPTED and not given_up
    ours = sent and (same or alike)
    columns: dict[str, Any] = {"origin": Origin.FOUND if ours else Origin.ADOPTED}
    if row.digest is None and wanted.digest is not None:
        columns["digest"] = wanted.digest
        columns["canonical"] = None if wanted.canonical == wanted.digest else wanted.canonical
    return columns


def read_rows(p: Pass, rows: Sequence[tuple[int, Row]], wanted: list[Evidence]) -> None:
    """Read bodies at the source, and add what they tell to the evidence at each index."""
    by_folder: dict[int, list[tuple[int, Row]]] = {}
    for index, row in rows:
        if row.key is not None and not row.gone:
            by_folder.setdefault(row.folder_id, []).append((index, row))
    for folder_id, members in by_folder.items():
        pair = p.by_id(folder_id)
        if pair is None:
            continue
        bodies = read_bodies(p.source, pair.source, [row.entry for _, row in members])
        for index, row in members:
            wanted[index] = _with_body(wanted[index], bodies.get(row.key or ""))


def read_copies(p: Pass, rows: Sequence[tuple[int, Row]], found: list[Evidence]) -> None:
    """Read bodies where their copies stand in the target, and add what they tell to the evidence at each index."""
    by_target: dict[int, list[tuple[int, Row]]] = {}
    for index, row in rows:
        if row.state == State.STORED and row.target_key is not None and not row.target_gone:
            by_target.setdefault(row.target_id or 0, []).append((index, row))
    for target_id, members in by_target.items():
        if target_id in p.targets:
            entries = [row.target_entry for _, row in members]
            bodies = read_bodies(p.sink, p.targets[target_id].folder, entries)
            for index, row in members:
                found[index] = _with_body(found[index], bodies.get(row.target_key or ""))


def row_evidence(p: Pass, rows: Sequence[Row]) -> list[Evidence]:
    """Tell what is known of messages, reading the headers of those that were never read."""
    told = read_headers(p, rows)
    return [evidence(row, *told.get(row.id, (row.fingerprint, row.message_hash))) for row in rows]


def read_headers(p: Pass, rows: Sequence[Row]) -> dict[int, tuple[bytes, bytes | None]]:
    """Read the headers of those of these messages that were never read; return what the ledger keeps now, by id."""
    bare: dict[int, dict[str, Row]] = {}
    for row in rows:
        if row.fingerprint is None and row.key is not None and not row.gone:
            bare.setdefault(row.folder_id, {})[row.key] = row
    told: dict[int, tuple[bytes, bytes | None]] = {}
    for folder_id, by_key in bare.items():
        pair = p.by_id(folder_id)
        if pair is None:
            continue
        for part in _parts(p, list(by_key.values())):
            here: list[dict[str, Any]] = []
            for headers in p.source.headers(pair.source, [row.entry for row in part]):
                found = fingerprint(headers.octets)
                row, short = by_key[headers.key], message_hash(found.message_id)
                told[row.id] = (found.value, short)
                here.append({"_id": row.id, "fingerprint": found.value, "message_hash": short})
            p.book.update(here)
    return told


def stranger_evidence(row: StrangerRow) -> Evidence:
    """Tell what is known of a stranger without its body."""
    return Evidence(row.fingerprint, row.message_hash, row.size, to_date(row.date, 0))


def evidence(row: Row, value: bytes | None, short: bytes | None) -> Evidence:
    """Tell what is known of a message with this fingerprint and this short hash of its Message-ID."""
    # A mended message stands in the target with the digest that it was sent with; its canonical one is the same.
    return Evidence(
        fingerprint=value,
        message_id=short,
        size=row.size,
        internal_date=to_date(row.date, 0),
        digest=row.sent_digest or row.digest,
        canonical=row.canonical or row.digest,
    )


def read_bodies(side: Source, folder: Folder, entries: Sequence[Entry]) -> dict[str, Evidence]:
    """Read whole messages of one side, one at a time, and keep only their digests, by key."""
    found: dict[str, Evidence] = {}
    if entries:
        for answer in side.fetch([(folder, entries)]):
            if isinstance(answer, Message):
                exact = digests(answer.octets)
                found[answer.key] = Evidence(
                    digest=exact.digest,
                    canonical=exact.canonical,
                    content=content_digest(answer.octets),
                    mended=content_digest(mend(answer.octets)) if b"\0" in answer.octets else None,
                )
    return found


def _with_body(evidence: Evidence, body: Evidence | None) -> Evidence:
    if body is None:
        return evidence
    # What was sent goes before what the source gives now: a mended message, or a source that renders anew.
    return evolve(
        evidence,
        digest=evidence.digest or body.digest,
        canonical=evidence.canonical or body.canonical,
        content=body.content,
        mended=body.mended,
    )


def still_as_written(p: Pass, target: Target, rows: Sequence[Row]) -> dict[str, Row]:
    """List our copies again; return, by key, those that are there, ours, and as we wrote them.

    A key without a witness proves nothing: its folder may have been made again since, with other mail in it.
    """
    ours = {row.target_key: row for row in rows if row.target_key and _is_ours(row)}
    kept: dict[str, Row] = {}
    for entry in p.sink.look(target.folder, list(ours)) if ours else ():
        row = ours.get(entry.key)
        if row is not None and not contradicts(row.target_size, row.target_date, entry):
            kept[entry.key] = row
    return kept


def _is_ours(row: Row) -> bool:
    return row.target_size is not None and row.origin in (Origin.APPENDED, Origin.FOUND)


def find_second_copies(p: Pass, target: Target) -> None:
    """Where a message was sent again and the first attempt arrived after all, take our own later copy away.

    Only a copy whose key the server told us in answer to our APPEND, whose octets are those that we sent and
    whose flags nobody touched, next to one of the same octets, is removed, and only where that one cannot be the copy
    of an equal message which its user has moved there. Otherwise the report names both.
    """
    twice = p.book.resent(target.id)
    if not twice:
        return
    strangers = _described(p, target)
    wanted = [evidence(row, row.fingerprint, row.message_hash) for row in twice]
    found = [Evidence(row.fingerprint, row.message_hash, row.size) for row in strangers]
    of_rows, of_strangers = nominees(wanted, found, [])
    bodies = read_bodies(p.sink, target.folder, [strangers[index].entry for index in of_strangers])
    for index in of_strangers:
        found[index] = _with_body(found[index], bodies.get(strangers[index].key))
    if not p.source.traits.stable_octets:  # the first attempt had other octets: its content tells
        read_copies(p, [(index, twice[index]) for index in of_rows], wanted)
    claims = claim_by_bodies(wanted, found, [])
    moved = _left_by_twins(p, [twice[claim.wanted] for claim in claims])
    for claim in claims:
        row, same = twice[claim.wanted], wanted[claim.wanted].digest == found[claim.stranger].digest
        sure = same and row.fingerprint not in moved
        _drop_second_copy(p, target, row, strangers[claim.stranger], sure=sure)


def tell_doubled(p: Pass, target: Target, latest: int) -> None:
    """Note what this pass has sent once, and what turned up beside it as well after the ``latest`` stranger then.

    Both stay: only who resends something knows which copy is its own second one. It is no problem of the account:
    mail may be delivered to both systems, and then somebody else's copy comes here by itself.
    """
    fresh = _described(p, target, after=latest)
    if not fresh:
        return
    rows = [
        row
        for row in p.book.standing({each.fingerprint for each in fresh if each.fingerprint})
        if not row.doubts
    ]
    batches = p.book.batches_of(rows)
    sent = {batch_id for batch_id, batch in batches.items() if batch.intended >= p.began}
    once = [row for row in rows if row.target_id == target.id and row.batch_id in sent]
    wanted = [evidence(row, row.fingerprint, row.message_hash) for row in once]
    found = [stranger_evidence(row) for row in fresh]
    _, of_fresh = nominees(wanted, found, [])
    bodies = read_bodies(p.sink, target.folder, [fresh[index].entry for index in of_fresh])
    for index in of_fresh:
        found[index] = _with_body(found[index], bodies.get(fresh[index].key))
    doubled = claim_by_bodies(wanted, found, [])
    if doubled:
        p.note(
            "messages that were sent once and stand twice in the target: the server stored them twice, or somebody "
            "put equal ones there meanwhile; `alimail verify` names them among what is extra",
            len(doubled),
        )


def _left_by_twins(p: Pass, rows: Sequence[Row]) -> set[bytes]:
    """Pick the fingerprints of which another's copy does not stand in its place: its user may have moved it."""
    values = {row.fingerprint for row in rows if row.fingerprint is not None}
    own = {row.id for row in rows}
    left = p.book.left_by_copies(values)
    by_target: dict[int, list[Row]] = {}
    for twin in p.book.standing(values - left):
        if twin.id not in own:
            by_target.setdefault(twin.target_id or 0, []).append(twin)
    for target_id, twins in by_target.items():
        here = p.targets.get(target_id)
        keys = [twin.target_key for twin in twins if twin.target_key is not None]
        entries = {each.key: each for each in p.sink.look(here.folder, keys)} if here and keys else {}
        for twin in twins:
            entry = entries.get(twin.target_key or "")
            if entry is None or contradicts(twin.target_size, twin.target_date, entry):
                left.add(twin.fingerprint or b"")
    return left


def _drop_second_copy(p: Pass, target: Target, row: Row, late: StrangerRow, *, sure: bool) -> None:
    if sure and row.origin == Origin.APPENDED and p.sink.traits.moves and _untouched(p, target, row):
        # Ours becomes a stranger first, so that it is named where its removal is cut off.
        p.book.claim([(row, late, {"origin": Origin.FOUND})], left=row)
        p.book.touch_target()
        removed = list(p.sink.remove(target.folder, [row.target_key or ""]))
        p.book.target_gone(target.id, keys=removed)
        p.note("a message that arrived twice after a lost connection: our own second copy was removed")
    else:
        p.problem(
            "extra",
            "the message stands twice in the target: its first sending was finished after it was given up, "
            "or the copy of an equal message was moved there",
            row=row,
            remedy="Remove one of the two there if you wish; nothing is missing.",
        )
    p.book.update([{"_id": row.id, "doubts": 0}])


def _untouched(p: Pass, target: Target, row: Row) -> bool:
    if not still_as_written(p, target, [row]):
        return False
    entries = list(p.sink.look(target.folder, [row.target_key or ""]))
    carried = p.storable(target, (row.carried or "").split())
    bodies = read_bodies(p.sink, target.folder, entries)
    return bool(entries) and all(
        entry.flags - NOT_CARRIED == carried
        and entry.key in bodies
        and bodies[entry.key].digest == (row.sent_digest or row.digest)
        for entry in entries
    )
