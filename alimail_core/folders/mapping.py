"""Where each folder of a source goes: a pure function of folders, policy, the sink's rules and the last mapping.

The first of these that names a folder decides:

1. the **previous** mapping: what a pass has decided stays, whatever is configured since;
2. the **rules** of the configuration, in their order;
3. a plug-in's **override** (``alimail_map_folder``);
4. the **policy**. Under ``original`` the inbox meets the inbox and a special-use folder its counterpart
   (``special_uses``); under ``inbox`` everything goes into the inbox, trash and junk too; under ``folder`` the whole
   tree, INBOX itself included, stands under the folder named, under its own names.

A folder that none of them names follows its parent, under its own name. Names are made fit for the sink
(``spelling``), and two folders never share a target unless a rule, or the policy ``inbox``, merges them: the later
gets " (2)". Where the sink allows no folder beneath another, or none so deep, a child stands beside its parent as
"parent - child".

Every folder of the source is either mapped or skipped with a reason; none is passed over in silence.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence

from attrs import evolve, frozen

from alimail_core.folders.policy import FolderPolicy, matches
from alimail_core.folders.special_uses import special_uses
from alimail_core.folders.spelling import (
    encode_name,
    escape,
    fit,
    unfit_characters,
)
from alimail_core.model import INBOX, Folder, FolderPath, PathRules, SpecialUse

_NAMED = 5
"""Folders that one sentence names."""


@frozen
class Mapped:
    """One folder's place. ``special_use`` is what its target shall be made as; ``rule`` says why, for ``plan``."""

    source: FolderPath
    target: FolderPath
    special_use: SpecialUse | None
    rule: str


@frozen
class Skipped:
    """A folder that does not move, and why."""

    source: FolderPath
    reason: str


def map_folders(
    sources: Iterable[Folder],
    policy: FolderPolicy,
    rules: PathRules,
    *,
    target_folders: Sequence[Folder] = (),
    previous: Mapping[FolderPath, FolderPath] | None = None,
    override: Callable[[Folder], FolderPath | None] | None = None,
) -> tuple[list[Mapped], list[Skipped]]:
    """Give each source folder its place in the target; both lists are sorted by the source's path.

    ``previous`` is what earlier passes decided, by source path; it is never changed and its targets, also those
    of folders that are gone, are given to nobody else. The result does not depend on the order of ``sources``.
    A container (not selectable) is mapped only where something that moves stands beneath its target.
    ``override`` is asked once for each folder that neither ``previous`` nor a rule names.
    """
    mapper = _Mapper(sources, policy, rules, target_folders, previous or {})
    mapper.place_fixed()
    if override is not None:
        mapper.place_overridden(override)
    mapper.place_rest()
    return mapper.result()


def places_kept(
    sources: Sequence[Folder],
    policy: FolderPolicy,
    rules: PathRules,
    *,
    target_folders: Sequence[Folder],
    previous: Mapping[FolderPath, FolderPath],
    override: Callable[[Folder], FolderPath | None],
) -> str:
    """Say which folders stay where earlier passes put them, though ``policy`` would now do otherwise; or nothing.

    What was carried stays, and what is new goes beside it: to carry a folder to a second place would double it.
    """
    mapped, _ = map_folders(sources, policy, rules, target_folders=target_folders, override=override)
    wished = {row.source: row.target for row in mapped}
    kept = [
        f"{'/'.join(folder.path)} (goes to {'/'.join(previous[folder.path])}, and by today's wishes "
        + (f"to {'/'.join(wished[folder.path])})" if folder.path in wished else "nowhere)")
        for folder in sorted(sources, key=lambda folder: folder.path)
        if folder.selectable and previous.get(folder.path, ()) not in ((), wished.get(folder.path))
    ]
    if not kept:
        return ""
    more = f", and {len(kept) - _NAMED:,} more" if len(kept) > _NAMED else ""
    return f"[folders] has changed, and folders that were carried keep their place: {', '.join(kept[:_NAMED])}{more}"


@frozen
class _Place:
    target: FolderPath
    rule: str
    renamed: str = ""


class _Mapper:
    """One mapping under way: places are given in rounds, the surest first, parents before children."""

    def __init__(
        self,
        sources: Iterable[Folder],
        policy: FolderPolicy,
        rules: PathRules,
        targets: Sequence[Folder],
        previous: Mapping[FolderPath, FolderPath],
    ) -> None:
        self._sources = {folder.path: folder for folder in sources}
        self._policy, self._rules, self._previous = policy, rules, previous
        self._uses = {path: use for use, path in special_uses(self._sources.values()).items()}
        self._counterparts = special_uses(targets)
        self._childless = {folder.path for folder in targets if not folder.inferiors}
        self._depth = 1 if rules.delimiter is None else rules.max_depth
        # ancestors that were not listed are placed as well, so that children do not depend on it
        tree = {path[:end] for path in self._sources for end in range(1, len(path) + 1)}
        self._ruling = {path: self._rule_for(path) for path in tree | previous.keys()}
        self._order = sorted(tree, key=lambda path: (len(path), not self._is_fit(path[-1]), path))
        self._places: dict[FolderPath, _Place] = {}
        # by realm: what the folders under one rule-mapped folder have taken; () is everybody else's
        self._taken: defaultdict[FolderPath, dict[FolderPath, FolderPath]] = defaultdict(dict)
        self._suffixes: dict[tuple[FolderPath, FolderPath], int] = {}

    # -- the rounds

    def place_fixed(self) -> None:
        """Place what is certain: the previous mapping, the inbox, what rules name, special uses."""
        for source, target in self._previous.items():
            self._taken[self._realm(source)].setdefault(self._fold(target), source)
        self._taken[()].setdefault(INBOX, INBOX)
        for path in self._order:
            if place := self._fixed(path):
                self._give(path, place)
        for path in self._order:
            if path not in self._places and (place := self._special(path)):
                self._give(path, place)

    def place_overridden(self, override: Callable[[Folder], FolderPath | None]) -> None:
        """Ask a plug-in for each listed folder that no rule and no earlier pass names."""
        for path in self._order:
            if path in self._sources and path not in self._previous and self._ruling[path] is None:
                wanted = override(self._sources[path])
                if wanted:
                    self._forget(path)
                    target, renamed = self._path(wanted)
                    self._give(path, self._unique(path, _Place(target, "plug-in", renamed)))

    def place_rest(self) -> None:
        """Let everything else follow its parent."""
        for path in self._order:
            if path not in self._places:
                self._give(path, self._following(path))

    # -- one folder

    def _fixed(self, path: FolderPath) -> _Place | None:
        if path in self._previous:
            return _Place(self._previous[path], "previous pass")
        ruling = self._ruling[path]
        if ruling is not None:
            number, length = ruling
            target = self._policy.rules[number].target
            if target is None or length < len(path):
                return None
            fitted, renamed = self._path(target)
            return _Place(fitted, self._rule_name(number), renamed)
        if self._policy.history == "inbox":
            return _Place(INBOX, "history inbox")
        return _Place(INBOX, "inbox") if path == INBOX and self._policy.history == "original" else None

    def _special(self, path: FolderPath) -> _Place | None:
        use = self._uses.get(path)
        target = self._counterparts.get(use) if use and self._is_original(path) else None
        if use is None or target is None or self._taken[()].get(self._fold(target)) in self._sources:
            return None
        return _Place(target, f"special use {use.value}")

    def _following(self, path: FolderPath) -> _Place:
        if len(path) > 1:
            base, renamed = self._places[path[:-1]].target, ""
        else:
            base, renamed = self._path(self._policy.folder) if self._policy.history == "folder" else ((), "")
        target, own = self._child(base, path[-1])
        ruling = self._ruling[path]
        rule = self._policy.reason if ruling is None else self._rule_name(ruling[0])
        return self._unique(path, _Place(target, rule, own or renamed))

    def _give(self, path: FolderPath, place: _Place) -> None:
        self._places[path] = place
        self._taken[self._realm(path)].setdefault(self._fold(place.target), path)

    def _forget(self, path: FolderPath) -> None:
        place = self._places.pop(path, None)
        key = self._fold(place.target) if place else ()
        if place and path != INBOX and self._taken[()].get(key) == path:
            del self._taken[()][key]

    def _unique(self, path: FolderPath, place: _Place) -> _Place:
        """Add a number where another folder of the realm stands at the target already."""
        taken, target = self._taken[self._realm(path)], place.target
        key = (self._realm(path), self._fold(target))
        number = self._suffixes.get(key, 1)
        while taken.get(self._fold(target), path) != path:
            number += 1
            tail = escape(f" ({number})", self._rules)
            target = (*place.target[:-1], fit(place.target[-1], self._rules, tail))
        self._suffixes[key] = number
        if target == place.target:
            return place
        return evolve(place, target=target, renamed="another folder has that name there")

    # -- paths

    def _path(self, path: FolderPath) -> tuple[FolderPath, str]:
        """Make a path that somebody wished for fit for the sink, and say what was changed."""
        target: FolderPath = ()
        reasons = []
        for name in path:
            if not target and name.casefold() == "inbox":
                name = "INBOX"
            target, reason = self._child(target, name)
            reasons.append(reason)
        return target, next(filter(None, reasons), "")

    def _child(self, base: FolderPath, name: str) -> tuple[FolderPath, str]:
        encoded = encode_name(name, self._rules)
        if base and (base in self._childless or (self._depth is not None and len(base) >= self._depth)):
            beside = base[-1] + escape(" - ", self._rules) + encoded
            return (*base[:-1], fit(beside, self._rules)), "no folder can stand beneath its parent there"
        fitted = fit(encoded, self._rules)
        return (*base, fitted), self._reason(name, encoded, fitted)

    def _reason(self, name: str, encoded: str, fitted: str) -> str:
        if fitted == name:
            return ""
        if fitted != encoded:
            return "the name is too long there"
        shown = " ".join(_shown(char) for char in unfit_characters(name, self._rules))
        return f"{shown} cannot stand in a name there" if shown else "a name cannot be empty there"

    def _is_fit(self, name: str) -> bool:
        return fit(encode_name(name, self._rules), self._rules) == name

    def _fold(self, path: FolderPath) -> FolderPath:
        """Make equal what the sink takes for equal."""
        if not self._rules.case_sensitive:
            path = tuple(name.casefold() for name in path)
        # RFC 9051 §5.1: INBOX in any case is the inbox, on every server.
        return (*INBOX, *path[1:]) if path[:1] and path[0].casefold() == "inbox" else path

    # -- rules

    def _rule_for(self, path: FolderPath) -> tuple[int, int] | None:
        """Find the rule that decides for a folder, and the length of its nearest ancestor or self that matches."""
        for number, rule in enumerate(self._policy.rules):
            for length in range(len(path), 0, -1):
                if matches(rule.source, path[:length]):
                    return number, length
        return None

    def _rule_name(self, number: int) -> str:
        return f"rule {self._policy.rules[number].number or number + 1}"

    def _realm(self, path: FolderPath) -> FolderPath:
        ruling = self._ruling[path]
        return path[: ruling[1]] if ruling else ()

    def _is_original(self, path: FolderPath) -> bool:
        return self._policy.history == "original" and self._ruling[path] is None

    # -- the result

    def result(self) -> tuple[list[Mapped], list[Skipped]]:
        """Sort out what moves."""
        skipped = {path: reason for path in self._sources if (reason := self._excluded(path))}
        needed = {
            above for path in self._sources if path not in skipped for above in self._containers_of(path)
        }
        mapped = []
        for path, folder in self._sources.items():
            if path in skipped:
                continue
            if folder.selectable or path in self._previous or path in needed:
                mapped.append(self._mapped(path))
            else:
                skipped[path] = "it holds no messages, and no folder goes beneath it"
        return (
            sorted(mapped, key=lambda row: row.source),
            [Skipped(path, skipped[path]) for path in sorted(skipped)],
        )

    def _containers_of(self, path: FolderPath) -> list[FolderPath]:
        """List the containers above a folder that moves which stand above its target as well."""
        if not self._sources[path].selectable:
            return []
        target = self._places[path].target
        above = [(path[:end], self._places[path[:end]].target) for end in range(1, len(path))]
        return [each for each, place in above if len(place) < len(target) and target[: len(place)] == place]

    def _excluded(self, path: FolderPath) -> str:
        if path in self._previous:
            return ""
        ruling = self._ruling[path]
        if ruling is not None:
            return (
                f"{self._rule_name(ruling[0])} leaves it out"
                if self._policy.rules[ruling[0]].target is None
                else ""
            )
        use = self._sources[path].special_use
        if use in self._policy.skip and self._places[path].rule != "plug-in":
            return f"{use.value} shows messages of other folders" if use else ""
        return ""

    def _mapped(self, path: FolderPath) -> Mapped:
        place = self._places[path]
        rule = f"{place.rule}; renamed: {place.renamed}" if place.renamed else place.rule
        use = self._uses.get(path) if self._is_original(path) else None
        if use is not None and self._counterparts.get(use, place.target) != place.target:
            use = None
        return Mapped(path, place.target, use, rule)


def _shown(char: str) -> str:
    return f"'{char}'" if char.isprintable() else f"U+{ord(char):04X}"
