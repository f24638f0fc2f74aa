"""The first steps of a pass: pair the folders, list the source, survey the target."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from alimail_core.errors import AlimailError
from alimail_core.events import FolderListed, Noted
from alimail_core.folders.mapping import Mapped, map_folders, places_kept
from alimail_core.folders.special_uses import special_use_of
from alimail_core.ledger import FolderRow, Row, RowIds, Standing, State
from alimail_core.model import INBOX, Changes, Folder, FolderPath, SpecialUse, Unusable
from alimail_core.transfer.state import Pair, Pass, Target

_T = TypeVar("_T")

_FIRST = {INBOX: 0}
_BLOCK = 1_000
"""Messages that are left out in one transaction."""
_PART = 20_000
"""Messages that are listed before the first of them is carried: seconds, on any server."""
_USE_ORDER = {SpecialUse.SENT: 1, SpecialUse.DRAFTS: 2, SpecialUse.JUNK: 8, SpecialUse.TRASH: 9}


def pair_folders(p: Pass, listed: Callable[[], Sequence[Folder]]) -> None:
    """Map the folders that are ``listed`` at the source, create what the target lacks, keep the mapping for ever."""
    known = {row.path: row for row in p.book.folders("target")}
    known_by_id = {row.id: row for row in known.values()}
    before = {row.path: row for row in p.book.folders("source")}
    previous = {
        path: known_by_id[row.target_id].path for path, row in before.items() if row.target_id in known_by_id
    }
    targets = {folder.path: folder for folder in p.sink.folders()}
    p.counts.places = max(p.counts.places, len(targets))
    sources = _asked_again(p, listed(), before.values())
    p.later = any(row.epoch is not None for row in before.values())
    mapped, skipped = map_folders(
        sources,
        p.policy,
        p.sink.traits.rules,
        target_folders=list(targets.values()),
        previous=previous,
        override=p.map_folder,
    )
    too_late = _too_late(p, sources, list(targets.values()), previous)
    lacking = frozenset(row.target for row in mapped if row.target not in targets)
    wanted = [(row.target, row.special_use) for row in mapped if row.target in lacking | p.counts.asked_for]
    p.counts.asked_for = lacking
    for path, _ in wanted:
        if path in known:
            # A server may give the folder that is made again the old UIDVALIDITY, and its keys to other messages.
            p.book.forget_target_keys(known[path].id, "")
    by_path = {folder.path: folder for folder in sources}
    made = _made(p, wanted, targets, [(by_path[row.source], row.target) for row in mapped])
    p.counts.asked_for = frozenset()
    for kept in known.values():
        if kept.path in targets:
            p.targets[kept.id] = Target(kept.id, targets[kept.path], special_use=kept.special_use)
    with p.book.write():  # one transaction for a thousand folders
        for row in mapped:
            source, target = by_path[row.source], targets.get(row.target) or made.get(row.target)
            if isinstance(target, Folder):
                _pair(p, source, target, row, before.get(row.source), known.get(target.path))
                if target.path in known and row.target in made:
                    p.targets[known[target.path].id].remade = True
            elif source.selectable:
                p.incomplete = True
                reason = target.reason if target else "the server did not answer"
                text = f"the folder {'/'.join(row.target)} could not be made: {reason}"
                p.problem("folder", text, remedy="It is tried again next time.")
        p.book.place_by(str(p.policy))
        if too_late:
            p.note(too_late)
    for folder in skipped:
        p.tell(Noted(p.account, f"the folder {'/'.join(folder.source)} is left out: {folder.reason}"))
    p.pairs.sort(key=lambda pair: (_priority(pair.source), pair.id))
    _forget_lost(p, before.values(), {folder.path for folder in sources if folder.selectable})


def _made(
    p: Pass,
    wanted: Sequence[tuple[FolderPath, SpecialUse | None]],
    there: Mapping[FolderPath, Folder],
    mapped: Iterable[tuple[Folder, FolderPath]],
) -> dict[FolderPath, Folder | Unusable]:
    """Make folders in the target; meanwhile a first pass asks both sides what is in the folders that come first.

    A later pass asks a target folder only where there is news, and with ``refill`` the source is asked for other
    things first.
    """
    if p.later or p.refill or p.counts.piecemeal or not p.options.read_ahead_octets:
        return _create(p, wanted)
    to_list = sorted((each for each in mapped if each[0].selectable), key=lambda each: _priority(each[0]))
    first = next(_parts(to_list, lambda each: each[0]), [])
    in_vain = threading.Event()

    def create_and_look() -> dict[FolderPath, Folder | Unusable]:
        made = _create(p, wanted)
        goals = dict.fromkeys(path for source, path in first if source.messages != 0)
        found = (there.get(path) or made.get(path) for path in goals)
        p.ask_ahead(p.sink, [folder for folder in found if isinstance(folder, Folder)], in_vain.is_set)
        return made

    with ThreadPoolExecutor(1, thread_name_prefix="alimail-make") as pool:
        making = pool.submit(create_and_look)
        try:
            p.ask_ahead(p.source, [source for source, _ in first], making.done)
        except AlimailError:
            in_vain.set()
            bug = making.exception()
            if bug is not None and not isinstance(bug, AlimailError):
                raise bug from None
            raise
        return making.result()


def _create(
    p: Pass, wanted: Sequence[tuple[FolderPath, SpecialUse | None]]
) -> dict[FolderPath, Folder | Unusable]:
    return dict(zip((path for path, _ in wanted), p.sink.create(wanted), strict=False))


def _asked_again(p: Pass, sources: Sequence[Folder], known: Iterable[FolderRow]) -> Sequence[Folder]:
    """Ask once more for the list where it lacks a folder that the last one had.

    A list of which a line was lost looks the same, and all that stands in the folder would count as deleted.
    """
    here = {folder.path: folder for folder in sources if folder.selectable}
    if all(row.path in here for row in known if row.cursor is not None):
        return sources
    again = list(p.source.folders())
    return list({folder.path: folder for folder in (*again, *here.values())}.values())


def _too_late(
    p: Pass, sources: Sequence[Folder], targets: Sequence[Folder], previous: Mapping[FolderPath, FolderPath]
) -> str:
    """Where the wishes for folders have changed since the last pass, say which of them come too late."""
    if p.book.placed_by() in ("", str(p.policy)):
        return ""
    rules = p.sink.traits.rules
    return places_kept(
        sources, p.policy, rules, target_folders=targets, previous=previous, override=p.map_folder
    )


def _pair(
    p: Pass,
    source: Folder,
    target: Folder,
    mapped: Mapped,
    before: FolderRow | None,
    known: FolderRow | None,
) -> None:
    """Remember where a source folder goes, writing only what the ledger does not have yet."""
    used_as = special_use_of(source)
    # What the source uses as drafts is drafts, wherever a rule sends it: versions there share a Message-ID.
    use = target.special_use or mapped.special_use or used_as
    if known is None or known.special_use != use:
        target_id = p.book.put_folder("target", target.path, use)
    else:
        target_id = known.id
    if before is None or before.target_id != target_id or before.special_use != used_as:
        rule = before.rule if before else mapped.rule
        source_id = p.book.put_folder("source", source.path, used_as, target_id, rule)
    else:
        source_id = before.id
    kept = p.targets.setdefault(target_id, Target(target_id, target))
    kept.special_use = use
    if source.selectable:
        p.pairs.append(Pair(source_id, source, kept))


def _priority(folder: Folder) -> int:
    """The inbox first and then what was sent, so that people can work after minutes; junk and trash last."""
    use = special_use_of(folder)
    return _FIRST.get(folder.path, _USE_ORDER.get(use, 5) if use else 5)


def chunks(p: Pass) -> list[list[Pair]]:
    """Divide the work: a first pass carries some folders whole before it lists the next; later all at once.

    A later pass lists every folder before it writes, to tell a message that was moved from a new one.
    """
    return [p.pairs] if p.later else list(_parts(p.pairs, lambda pair: pair.source))


def _parts(items: Iterable[_T], folder_of: Callable[[_T], Folder]) -> Iterator[list[_T]]:
    """Cut what there is to do for folders, in this order, into parts that can be listed in seconds."""
    part: list[_T] = []
    messages = 0
    for item in items:
        here = folder_of(item).messages or 0
        if part and messages + here > _PART:
            yield part
            part, messages = [], 0
        part.append(item)
        messages += here
    if part:
        yield part


def list_source(p: Pass, pairs: Sequence[Pair]) -> list[Pair]:
    """Take what changed in each folder since its cursor into the ledger; return those that could be listed."""
    rows = {row.id: row for row in p.book.folders("source")}
    by_path = {pair.source.path: pair for pair in pairs}
    seen: dict[int, RowIds] = {}
    kept = p.counts.listed.keys() & {pair.id for pair in pairs} if p.counts.piecemeal else frozenset[int]()
    p.cursors |= {each: p.counts.listed[each] for each in kept if p.counts.listed[each] != rows[each].cursor}
    wanted = [(pair.source, rows[pair.id].cursor) for pair in pairs if pair.id not in kept]
    for page in p.changes(p.source, wanted):
        p.check_in()
        if isinstance(page, Unusable):
            p.incomplete = True
            p.problem(
                "folder", page.reason, pair=by_path.get(page.path), remedy="It is tried again next time."
            )
            continue
        pair = by_path[page.folder.path]
        with p.book.write():
            if pair.id not in seen:
                seen[pair.id] = RowIds()
                if rows[pair.id].epoch != page.epoch:
                    p.book.forget_keys(pair.id, page.epoch)
            _take_page(p, pair, page, seen[pair.id])
        if page.shortage is not None:
            p.incomplete = True
            p.problem("folder", page.shortage.text, pair=pair, remedy=page.shortage.remedy)
        if page.cursor is not None:
            p.counts.deeds += pair.id not in p.counts.listed
            p.cursors[pair.id] = p.counts.listed[pair.id] = page.cursor
    return [pair for pair in pairs if pair.id in seen or pair.id in kept]


def leave_out(p: Pass, pairs: Iterable[Pair]) -> None:
    """Leave out what the filter does not want, as far as the listing tells, and in a trial all but the newest.

    Moved messages were told from new ones before: what was carried is never left out.
    """
    if not p.left_out_by:
        return
    left_out = 0
    for pair in pairs:
        unwanted = (row.id for row in p.book.walk(pair.id, [State.PENDING]) if is_wanted(p, row) is False)
        while part := [{"_id": row_id, "state": State.LEFT_OUT} for row_id in islice(unwanted, _BLOCK)]:
            p.check_in()
            p.book.update(part)
            left_out += len(part)
        if p.trial is not None:
            left_out += p.book.leave_out_all_but(pair.id, p.trial)
    if left_out:
        p.tell(Noted(p.account, f"messages that are left out by wish ({p.left_out_by})", left_out))


def is_wanted(p: Pass, row: Row) -> bool | None:
    """Tell whether the filter wants a message, by what the ledger has of it; ``None``: that does not tell."""
    flags = row.known_flags(p.source.traits.lists_flags)
    return p.messages.wants(row.size, row.internal_date, flags)


def tell_listed(p: Pass, pairs: Iterable[Pair]) -> None:
    """Tell what these folders have that still must travel, once moved messages are told from new ones."""
    pending = p.book.pending()
    for pair in pairs:
        messages, octets = pending.get(pair.id, (0, 0))
        p.tell(FolderListed(p.account, pair.source.path, pair.target.folder.path, messages, octets))


def _take_page(p: Pass, pair: Pair, page: Changes, seen: RowIds) -> None:
    seen.update(p.book.listed(pair.id, page.entries, flags=p.source.traits.lists_flags))
    if page.gone and not page.complete:
        p.book.mark_gone(pair.id, keys=page.gone)
    if page.complete and page.cursor is not None:
        p.book.mark_gone(pair.id, all_but=seen)


def _forget_lost(p: Pass, known: Iterable[FolderRow], here: set[FolderPath]) -> None:
    """Note of folders that the source has no more that their messages are gone from there.

    A folder may be back next time, and then it is listed as a whole: what was noted as gone was not.
    """
    for row in known:
        if row.path not in here and row.epoch is not None:
            p.book.mark_gone(row.id, all_but=())
            p.book.forget_cursor(row.id)
            p.counts.listed.pop(row.id, None)


def survey(p: Pass, targets: Iterable[Target]) -> None:
    """Ask the target what changed in its folders: our messages get their witness, others are strangers."""
    wanted = list(targets)
    rows = {row.id: row for row in p.book.folders("target")}
    by_path = {target.folder.path: target for target in wanted}
    began = p.asked_at(p.sink)
    listed: dict[int, Standing] = {}
    for target in wanted:
        target.surveyed = None  # what an earlier look said no longer counts, also where this one fails
    for page in p.changes(p.sink, ((target.folder, rows[target.id].cursor) for target in wanted)):
        p.check_in()
        if isinstance(page, Unusable):
            p.problem(
                "folder", f"{'/'.join(page.path)} in the target: {page.reason}", remedy="It is tried again."
            )
            continue
        target = by_path[page.folder.path]
        with p.book.write():
            if target.id not in listed:
                listed[target.id] = Standing()
                _begin_survey(p, rows[target.id], page)
            _take_target_page(p, target, page, listed[target.id])
        if page.cursor is not None:
            target.storable, target.surveyed, target.remade = page.storable_flags, began, False
            p.counts.looked.add(target.id)


def _begin_survey(p: Pass, row: FolderRow, page: Changes) -> None:
    if row.epoch != page.epoch:
        if row.epoch is not None:
            p.note(f"the target's folder {'/'.join(row.path)} was made anew or renumbered")
        p.book.forget_target_keys(row.id, page.epoch)


def _take_target_page(p: Pass, target: Target, page: Changes, seen: Standing) -> None:
    p.book.target_listed(target.id, page.entries, seen)
    if page.gone and not page.complete:
        p.book.target_gone(target.id, keys=page.gone)
    if page.cursor is not None:
        if page.complete:
            p.book.target_holds(target.id, seen)
        p.book.save_cursors({target.id: page.cursor}, sync=False)
