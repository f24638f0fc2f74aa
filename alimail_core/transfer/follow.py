"""What people did at the source since the last pass: moves, flags and deletions, carried to our own copies.

Only what is provably ours and still as we wrote it is touched in the target.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from attrs import evolve

from alimail_core.errors import InDoubt, Refused, Transient
from alimail_core.identity import Claim, claim_by_bodies, claim_by_headers, nominees
from alimail_core.ledger import Origin, Row, State
from alimail_core.ledger.rows import split_flags
from alimail_core.model import FlagChange, SpecialUse
from alimail_core.transfer.reconcile import read_copies, read_rows, reconcile, row_evidence, still_as_written
from alimail_core.transfer.state import Pair, Pass, Target


def follow_moves(p: Pass) -> None:
    """Tell what was moved at the source from what is new, and let our copy follow.

    On IMAP and EWS a moved message has a new key, and so has every message of a renamed or renumbered folder:
    each looks like "gone there, new here". All folders were listed before this is called.
    """
    _settle_begun(p)
    paired = {pair.id for pair in p.pairs}
    sizes = p.book.gone_sizes()
    arrived = [row for row in p.book.arrived(sizes) if row.folder_id in paired] if sizes else []
    departed = p.book.departed({row.size for row in arrived}) if arrived else []
    if not p.source.traits.stable_octets and _find_sent(p, departed):
        departed = p.book.departed({row.size for row in arrived})
    departed.sort(
        key=lambda row: (not _stands(row), row.gone)
    )  # of equal ones, first those whose copy stands
    _take_over(
        p, [(departed[claim.stranger], arrived[claim.wanted]) for claim in _moved(p, arrived, departed)]
    )
    if _follows(p):
        _move_misplaced(p)


def _settle_begun(p: Pass) -> None:
    """Find out how moves ended that were cut off; what has not happened is begun anew where it is still right."""
    begun = p.book.rows(states=[State.MOVING])
    if not begun:
        return
    # What was moved stands at its goal as a stranger, and claims it there.
    places = dict.fromkeys(place for row in begun for place in (row.moving_to, row.target_id))
    reconcile(p, [p.targets[place] for place in places if place in p.targets], sent_only=True)
    left = p.book.rows(states=[State.MOVING])
    # Where one of its folders cannot be listed now, it may have happened unseen: only time will tell.
    _stay(p, [row for row in left if _was_seen(p, row.target_id) and _was_seen(p, row.moving_to)])


def _find_sent(p: Pass, departed: Sequence[Row]) -> bool:
    """Look where the copies are of what was sent without an answer: only they tell what it was.

    A source that renders anew gives a message that moved other octets than those that were sent.
    """
    sent = {row.target_id for row in departed if row.state == State.SENT}
    reconcile(p, [target for target in p.targets.values() if target.id in sent], sent_only=True)
    return bool(sent)


def _was_seen(p: Pass, target_id: int | None) -> bool:
    target = p.targets.get(target_id or 0)
    return target is None or target.surveyed is not None


def _moved(p: Pass, arrived: Sequence[Row], departed: Sequence[Row]) -> list[Claim]:
    if not departed:
        return []
    goals = {pair.id: pair.target.id for pair in p.pairs}
    wanted = [
        evolve(told, place=goals.get(row.folder_id))
        for row, told in zip(arrived, row_evidence(p, arrived), strict=True)
    ]
    found = [
        evolve(told, place=row.target_id if _stands(row) else None)
        for row, told in zip(departed, row_evidence(p, departed), strict=True)
    ]
    drafts = {pair.id for pair in p.pairs if pair.target.special_use == SpecialUse.DRAFTS}
    claims = [
        claim
        for claim in claim_by_headers(wanted, found, mode="exact", drafts=False)
        if drafts.isdisjoint((arrived[claim.wanted].folder_id, departed[claim.stranger].folder_id))
    ]
    of_arrived, of_departed = nominees(wanted, found, claims)
    if not p.source.traits.stable_octets:  # the digests of what it gave then say nothing of what it gives now
        read_copies(p, [(index, departed[index]) for index in of_departed], found)
    read_rows(p, [(index, arrived[index]) for index in of_arrived], wanted)
    return [*claims, *claim_by_bodies(wanted, found, claims)]


def _take_over(p: Pass, moved: Sequence[tuple[Row, Row]]) -> None:
    """Let known messages stand where the source has them now; what gets no place here is copied again.

    That is a copy which stands in another folder and must not be moved: by wish, or because it is not our work. And
    it is what had left both sides, when an earlier pass found it nowhere at the source: it was not moved, it is back.
    """
    goals = {pair.id: pair.target.id for pair in p.pairs}
    apart = [
        old for old, new in moved if _stands(old) and (old.gone > 1 or old.target_id != goals[new.folder_id])
    ]
    seen = _seen(p, apart)
    places: list[tuple[Row, Row, dict[str, Any]]] = []
    for old, new in moved:
        now = seen.get(old.id, old)
        if old.gone > 1 and not _stands(now):
            continue
        nowhere = not _stands(now) and now.state != State.SENT
        if nowhere or now.target_id == goals[new.folder_id] or _may_move(p, now):
            places.append((old, new, _kept_flags(p, old)))
    p.book.take_places(places)


def _stands(row: Row) -> bool:
    return row.state == State.STORED and not row.target_gone


def _follows(p: Pass) -> bool:
    return p.options.moves == "follow" and p.sink.traits.moves


def _may_move(p: Pass, row: Row) -> bool:
    """Tell whether a copy is ours to move. Its key may not be known: then it is moved once it was found."""
    return _follows(p) and row.origin != Origin.ADOPTED


def _seen(p: Pass, rows: Sequence[Row]) -> dict[int, Row]:
    """Return, by id, copies as the ledger has them once it was made sure that they stand where it says.

    One that is not there under its key was moved or removed by its user, or its folder was renumbered or made anew:
    a look at the whole folder tells.
    """
    lost = [row for here, group in _by_target(rows).items() for row in _not_as_written(p, here, group)]
    if lost:
        reconcile(p, [p.targets[here] for here in _by_target(lost) if here in p.targets], sent_only=True)
        _stay(p, [row for row in lost if row.target_id not in p.targets])
    known = {row.id: row for row in p.book.by_ids([row.id for row in lost])}
    return {row.id: known.get(row.id, row) for row in rows}


def _by_target(rows: Iterable[Row]) -> dict[int, list[Row]]:
    groups: dict[int, list[Row]] = {}
    for row in rows:
        groups.setdefault(row.target_id or 0, []).append(row)
    return groups


def _not_as_written(p: Pass, here: int, rows: Sequence[Row]) -> list[Row]:
    standing = still_as_written(p, p.targets[here], rows) if here in p.targets else {}
    return [row for row in rows if row.target_key not in standing]


def _kept_flags(p: Pass, old: Row) -> dict[str, Any]:
    """Return the columns that keep a message's flags where the new listing did not tell any."""
    return {} if p.source.traits.lists_flags else {"flags": old.flags}


def _move_misplaced(p: Pass) -> None:
    """Move our copies to where their messages belong now."""
    goals = {pair.id: pair.target.id for pair in p.pairs}
    rows = [row for row in p.book.misplaced() if row.folder_id in goals and row.target_id in p.targets]
    p.book.update(
        [{"_id": row.id, "state": State.MOVING, "moving_to": goals[row.folder_id]} for row in rows],
        sync=bool(rows),
    )
    groups: dict[tuple[int, int], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.target_id or 0, goals[row.folder_id]), []).append(row)
    targets = {pair.target.id: pair.target for pair in p.pairs}
    for (here, goal), group in groups.items():
        _move(p, p.targets[here], targets[goal], group)


def _move(p: Pass, here: Target, goal: Target, rows: Sequence[Row]) -> None:
    ours = still_as_written(p, here, rows)
    if ours:
        p.book.touch_target()
        p.counts.looked.difference_update((here.id, goal.id))
    moved = 0
    try:
        for answer in p.sink.move(here.folder, list(ours), goal.folder) if ours else ():
            row = ours[answer.key]
            place = {"target_id": goal.id, "target_key": answer.new_key, "target_gone": 0, "moving_to": None}
            origin = Origin.FOUND if answer.new_key is not None else row.origin
            p.book.update([{"_id": row.id, "state": State.STORED, "origin": origin, **place}])
            moved += 1
    except Refused as error:
        p.problem("folder", f"copies could not be moved in the target: {error}", remedy=error.remedy)
    except InDoubt as error:
        # The rows stay MOVING, and the next attempt looks where the copies are.
        raise Transient(str(error), remedy=error.remedy) from error
    if moved:
        p.note("copies moved in the target, because their messages were moved at the source", moved)
    left = p.book.by_ids([row.id for row in rows])
    _stay(p, [row for row in left if row.state == State.MOVING])
    if len(ours) < len(rows):  # moved or removed there since: to be noted, else it is tried for ever
        reconcile(p, [here], sent_only=True)


def _stay(p: Pass, rows: Sequence[Row]) -> None:
    """Leave copies where they are, or were. Those of a folder that is not there are gone with it.

    If it comes back, all of it is listed again.
    """
    lost = {row.target_id or 0 for row in rows} - p.targets.keys()
    for target_id in lost:
        p.book.forget_cursor(target_id)
    p.book.update(
        [
            {
                "_id": row.id,
                "state": State.STORED,
                "moving_to": None,
                "target_gone": int(row.target_gone or row.target_id in lost),
            }
            for row in rows
        ]
    )


def carry_flags(p: Pass) -> None:
    """Carry the difference between the source's flags as we last knew them and as they are now."""
    for target_id, rows in _by_target(p.book.flag_changes()).items():
        target = p.targets.get(target_id)
        if target is not None and target.surveyed is not None:
            _carry_flags(p, target, rows)


def _carry_flags(p: Pass, target: Target, rows: Sequence[Row]) -> None:
    changes = []
    for row in rows:
        before, now = split_flags(row.carried), split_flags(row.flags)
        add, remove = p.storable(target, now - before), p.storable(target, before - now)
        if add or remove:
            changes.append(FlagChange(row.target_key or "", add, remove))
    try:
        if changes:
            p.sink.change_flags(target.folder, changes)
    except Refused as error:
        name = "/".join(target.folder.path)
        p.problem("folder", f"flags could not be changed in {name}: {error}", remedy=error.remedy)
        return
    p.book.update([{"_id": row.id, "carried": row.flags} for row in rows])
    p.counts.deeds += len(rows)


def mirror_deletions(p: Pass) -> None:
    """By wish, remove our copies of what was deleted at the source, where they are still as we wrote them."""
    if p.options.deletions != "mirror" or p.incomplete:
        return
    by_target = _by_target(p.book.gone_rows())
    if by_target and not p.sink.traits.moves:
        p.note_once("deletions that could not be mirrored: the target cannot remove single messages safely")
        return
    for target_id, rows in by_target.items():
        if target_id in p.targets:
            _remove(p, p.targets[target_id], rows)


def _remove(p: Pass, target: Target, rows: Sequence[Row]) -> None:
    ours = still_as_written(p, target, rows)
    if ours:
        p.book.touch_target()
    try:
        removed = list(p.sink.remove(target.folder, list(ours))) if ours else []
    except Refused as error:
        name = "/".join(target.folder.path)
        p.problem("folder", f"copies could not be removed from {name}: {error}", remedy=error.remedy)
        return
    # If one comes back at the source, it is new: nobody but us has taken its copy away.
    p.book.update([{"_id": ours[key].id, "target_gone": 1, "state": State.VANISHED} for key in removed])
    p.counts.deeds += len(removed)
    if removed:
        p.note(
            "copies removed from the target, because their messages were deleted at the source", len(removed)
        )


def targets_with_news(p: Pass, pairs: Sequence[Pair]) -> list[Target]:
    """Choose the target folders that must be looked at before anything is written: the others cost nothing.

    Piecemeal, one look in a pass is enough where nothing is written.
    """
    news = {row.target_id for row in p.book.resent()}
    news |= {row.target_id for row in p.book.doubled()}
    news |= p.book.unfinished()
    if p.counts.piecemeal:
        news -= p.counts.looked
    news |= {row.target_id for row in p.book.flag_changes()}
    pending = p.book.pending()
    news |= {pair.target.id for pair in pairs if pair.id in pending}
    return [target for target in p.targets.values() if target.id in news or target.remade]
