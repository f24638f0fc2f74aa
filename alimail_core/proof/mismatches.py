"""What the pairs of two mailboxes come to: counts for each place, and a name for each message that has no like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from attrs import Factory, define

from alimail_core.ledger.rows import join_flags, split_flags, to_date
from alimail_core.model import FolderPath
from alimail_core.proof.pairs import OURS, THEIRS, Pairs, Row
from alimail_core.proof.results import MAX_FINDINGS, MISMATCH_KINDS, FolderComparison, Mismatch

ALONE = "partner IS NULL AND fault IS NULL"
"""Who stands for nobody."""

MISSING = f"side = 0 AND {ALONE} AND NOT unwanted"
"""Of those, who ought to."""

_COUNTS = {
    "messages": ("side = 0", "count(*)"),
    "octets": ("side = 0", "CAST(total(size) AS INTEGER)"),
    "there": ("side = 1", "count(*)"),
    "same": ("side = 0 AND how = 'same'", "count(*)"),
    "left_out": (f"side = 0 AND {ALONE} AND unwanted", "count(*)"),
}
"""What is counted without being named."""

_TEXTS = {
    "altered": "the target stores other octets, and a reader sees the same, in ",
    "changed": "the target has another content under this Message-ID, in ",
    "moved": "it stands in ",
}
"""What is said of pairs that are more than the same, before the name of the target's folder."""


@define
class Place:
    """A folder of the target, there or not made yet, and what is told of it and of what of the source goes there."""

    target: FolderPath
    sources: list[FolderPath] = Factory(list)
    exists: bool = False
    storable: frozenset[str] | None = None
    """What flags it can hold; ``None``: any."""
    counts: Counter[str] = Factory(Counter)
    mismatches: list[Mismatch] = Factory(list)

    def find(
        self, kind: str, text: str, row: Row, source: FolderPath | None, target: FolderPath | None = None
    ) -> None:
        """Count a message under its kind, and name it."""
        self.counts[kind] += 1
        if self.counts[kind] <= MAX_FINDINGS:
            message_id = (row.message_id or b"").decode("utf-8", "replace")
            date = to_date(row.date, 0)
            self.mismatches.append(
                Mismatch(kind, source, target or self.target, date, row.size, message_id, text)
            )

    def told(self) -> FolderComparison:
        """Sum up."""
        ordered = sorted(self.mismatches, key=lambda each: MISMATCH_KINDS.index(each.kind))
        return FolderComparison(
            self.target, tuple(self.sources), self.exists, mismatches=tuple(ordered), **self.counts
        )


def sum_up(
    pairs: Pairs, places: Sequence[Place], *, full: bool, collapse: bool
) -> tuple[FolderComparison, ...]:
    """Tell of each place what stands there, and what does not; see ``compare_account``."""
    for name, (which, what) in _COUNTS.items():
        for place, count in pairs.count(which, what).items():
            places[place].counts[name] = count
    _tell_missing(pairs, places, collapse)
    _tell_unreadable(pairs, places)
    _tell_extra(pairs, places, "canonical" if full else "fingerprint")
    _tell_pairs(pairs, places)
    return tuple(place.told() for place in places)


def _tell_missing(pairs: Pairs, places: Sequence[Place], collapse: bool) -> None:
    for row in pairs.rows(OURS, MISSING, "coalesce(how, '')"):
        place, twin = places[pairs.place_of(row)], row.text == "twin"
        if twin and collapse:
            place.counts["collapsed"] += 1
        else:
            text = "the target has it fewer times than the source" if twin else "not in the target"
            place.find("missing", text, row, pairs.path_of(row))


def _tell_unreadable(pairs: Pairs, places: Sequence[Place]) -> None:
    for side, name in ((OURS, "source"), (THEIRS, "target")):
        for row in pairs.rows(side, "partner IS NULL AND fault IS NOT NULL", "fault"):
            text = f"the {name} lists it and does not give it: {row.text}"
            path = pairs.path_of(row) if side == OURS else None
            places[pairs.place_of(row)].find("unreadable", text, row, path)


def _tell_extra(pairs: Pairs, places: Sequence[Place], by: str) -> None:
    again = f"(place, {by}) IN (SELECT place, {by} FROM entry WHERE side = 1 AND partner IS NOT NULL)"
    for row in pairs.rows(THEIRS, ALONE, f"CASE WHEN {again} THEN 'again' ELSE '' END"):
        text = "a second copy, by all that was compared" if row.text else "not in the source"
        places[pairs.place_of(row)].find("extra", text, row, None)


def _tell_pairs(pairs: Pairs, places: Sequence[Place]) -> None:
    """Tell who stands there otherwise, or elsewhere."""

    def find(kind: str, text: str, ours: Row, theirs: Row) -> None:
        to = places[pairs.place_of(theirs)].target
        places[pairs.place_of(ours)].find(kind, text, ours, pairs.path_of(ours), to)

    for kind, text in _TEXTS.items():
        for ours, theirs in pairs.matched(f"ours.how = '{kind}'"):
            find(kind, text + "/".join(places[pairs.place_of(theirs)].target), ours, theirs)
    for ours, theirs in pairs.matched("ours.how <> 'changed' AND ours.date <> theirs.date"):
        find("dates", f"the target has {to_date(theirs.date, 0):%Y-%m-%d %H:%M:%SZ}", ours, theirs)
    for ours, theirs in pairs.matched("ours.how <> 'changed' AND ours.flags <> theirs.flags"):
        differing = _flags_text(ours.flags, theirs.flags, places[pairs.place_of(theirs)].storable)
        if differing:
            find("flags", differing, ours, theirs)


def _flags_text(ours: str | None, theirs: str | None, storable: frozenset[str] | None) -> str:
    """Say how flags differ in what the target can store; nothing where they do not."""
    wanted, found = split_flags(ours), split_flags(theirs)
    if storable is not None:
        wanted &= {flag.lower() for flag in storable}
    told = (("only at the source", wanted - found), ("only in the target", found - wanted))
    return "; ".join(f"{where}: {join_flags(flags)}" for where, flags in told if flags)
