"""What a configuration says of accounts and folders that there are not: mostly a slip, and nobody would notice."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from alimail_core.errors import Remark
from alimail_core.folders.policy import FolderPolicy, matches
from alimail_core.model import FolderPath
from alimail_core.spec import AccountSpec, Endpoint
from alimail_core.text import printable
from alimail_core.units import count_text


def idle_domains(
    domains: Iterable[str], endpoint: Endpoint, accounts: Iterable[AccountSpec], where: str
) -> Iterator[Remark]:
    """Warn of each domain that no account on this endpoint has; ``where`` names the place for a person."""
    there = {
        address.rpartition("@")[2].casefold()
        for account in accounts
        for address, its in (
            (account.source_address, account.source),
            (account.target_address, account.target),
        )
        if its is endpoint
    }
    for domain in domains:
        if domain.casefold() not in there:
            near = difflib.get_close_matches(domain.casefold(), there, n=1, cutoff=0.8)
            remedy = f"did you mean {printable(near[0])}?" if near else ""
            yield Remark("warning", printable(f"{where}: no account here has an address of {domain}"), remedy)


def idle_rules(
    policy: FolderPolicy, accounts: Sequence[AccountSpec], where: Callable[[int], str]
) -> Iterator[Remark]:
    """Warn of each rule that is for accounts of which there is none; ``where`` names a rule's place by its index."""
    for index, rule in enumerate(policy.rules):
        addresses = ((each.source_address, each.target_address) for each in accounts)
        if rule.accounts and not any(map(rule.is_for, addresses)):
            names = ", ".join(rule.accounts)
            text = f"{where(index)}: rule {index + 1} is for {names}, and there is no such account"
            yield Remark("warning", printable(text), "see how that is spelt")


def unmatched_rules(
    policy: FolderPolicy, folders: Mapping[tuple[str, str], Iterable[FolderPath]]
) -> Iterator[Remark]:
    """Warn of each rule that matches no folder, where it is for somebody whose folders are known.

    ``folders`` has all of each account that was looked at, by its source and target address.
    """
    if not policy.rules:
        return
    trees = {
        addresses: {path[:length] for path in paths for length in range(1, len(path) + 1)}
        for addresses, paths in folders.items()
    }
    for number, rule in enumerate(policy.rules, 1):
        its = [paths for addresses, paths in trees.items() if rule.is_for(addresses)]
        if not its or any(matches(rule.source, path) for paths in its for path in paths):
            continue
        pattern = "/".join(rule.source)
        names = {name.casefold(): name for name in sorted("/".join(path) for paths in its for path in paths)}
        near = difflib.get_close_matches(pattern.casefold(), names, n=1, cutoff=0.8)
        text = f"rule {number} ({pattern}) matches no folder of {count_text(len(its), 'account')}"
        advice = f"Did you mean {names[near[0]]}?" if near else "`alimail plan` shows how folders are spelt."
        yield Remark(
            "warning", printable(text), printable(f"{advice} Capitals count; a folder B in A is A/B.")
        )
