"""What a user wishes of folders: where history goes, and own rules before it. ``mapping`` obeys."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from itertools import product
from typing import Literal

from attrs import evolve, frozen

from alimail_core.model import FolderPath, SpecialUse

VIEWS = frozenset({SpecialUse.FLAGGED, SpecialUse.IMPORTANT})
"""Folders that, marked so by their server, show messages which stand in other folders as well (RFC 6154 §2, RFC
8457). ``\\All`` is not among them: on some servers it is the only place of an archived message."""


@frozen
class FolderRule:
    """One line of a user's own mapping: folders that match ``source`` go to ``target``, or nowhere (``None``).

    ``source`` holds one shell-style pattern a component (``*``, ``?``, ``[seq]``), case-sensitive; ``**`` alone
    stands for any number of components, none included. A rule decides for a folder that it matches **and for
    everything beneath it**; what is beneath keeps its place under the target. Two folders that match the same
    rule, or two rules with one target, are merged. The first rule that decides for a folder wins, so exceptions
    come before what they are excepted from.
    """

    source: tuple[str, ...]
    target: FolderPath | None
    accounts: tuple[str, ...] = ()
    """Shell-style patterns, in any case: only for accounts with such an address on either side; none: for all."""
    number: int | None = None
    """Its place among the user's rules, from 1, where that is not its place in the policy."""

    def __attrs_post_init__(self) -> None:
        _at_least_one(self.source)
        if self.target is not None:
            _at_least_one(self.target)

    def is_for(self, addresses: Iterable[str]) -> bool:
        """Tell whether it decides for the account with these addresses."""
        folded = [address.casefold() for address in addresses]
        patterns = [pattern.casefold() for pattern in self.accounts]
        return not patterns or any(fnmatch.fnmatchcase(*each[::-1]) for each in product(patterns, folded))


@frozen
class FolderPolicy:
    """Where history goes: the wishes of the console, and the user's own rules before them."""

    history: Literal["original", "inbox", "folder"] = "original"
    folder: FolderPath = ()
    """Under ``folder``: the folder that takes everything."""
    rules: tuple[FolderRule, ...] = ()
    skip: frozenset[SpecialUse] = VIEWS
    """Folders whose server marks them so are left out, and told, unless a rule names them."""
    is_apart: bool = False
    """The folder that takes everything is one for each account that shares a target, which nobody wished by name."""

    @property
    def reason(self) -> str:
        """Name what places a folder that no rule does."""
        return 'shared_targets = "apart"' if self.is_apart else f"history {self.history}"

    def __attrs_post_init__(self) -> None:
        if self.history == "folder":
            _at_least_one(self.folder)

    def of(self, *addresses: str) -> FolderPolicy:
        """Return the policy for the account with these addresses: without the rules that are for others."""
        if not any(rule.accounts for rule in self.rules):
            return self
        rules = (
            evolve(rule, number=number) for number, rule in enumerate(self.rules, 1) if rule.is_for(addresses)
        )
        return evolve(self, rules=tuple(rules))

    def beneath(self, root: FolderPath) -> FolderPolicy:
        """Return the policy that places everything beneath one folder. Not for ``inbox``, which has no folders."""
        rules = tuple(
            rule if rule.target is None else evolve(rule, target=(*root, *rule.target)) for rule in self.rules
        )
        return evolve(self, history="folder", folder=(*self.folder, *root), rules=rules, is_apart=True)

    def __str__(self) -> str:
        """Say it whole; two policies that say the same are the same."""
        rules = [(rule.source, rule.target) for rule in self.rules]
        return f"{self.history} {self.folder} {rules} {sorted(use.value for use in self.skip)}"


def _at_least_one(path: Sequence[str]) -> None:
    if not path:
        raise ValueError("a folder must be named here")


def split_path(text: str) -> FolderPath:
    r"""Read a path or a rule's pattern as a user writes it: ``A/B``, with ``\/`` and ``\\`` for a literal one."""
    parts, escaped = [""], False
    for char in text:
        if escaped or char not in "\\/":
            parts[-1] += char if char in "\\/" or not escaped else "\\" + char
            escaped = False
        elif char == "\\":
            escaped = True
        else:
            parts.append("")
    return (*parts[:-1], parts[-1] + "\\" * escaped)


def matches(pattern: Sequence[str], path: Sequence[str]) -> bool:
    """Tell whether a rule's pattern matches exactly this path; time grows with the product of their lengths."""
    reached = {0}
    for name in (*path, None):
        for at, part in enumerate(pattern):
            if part == "**" and at in reached:
                reached.add(at + 1)
        if name is None:
            break
        reached = {
            at if pattern[at] == "**" else at + 1
            for at in reached
            if at < len(pattern) and (pattern[at] == "**" or fnmatch.fnmatchcase(name, pattern[at]))
        }
    return len(pattern) in reached
