"""What a configuration says of accounts that there are not: mostly a slip, and it would do nothing without a word."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator, Sequence

from alimail_core.errors import Remark
from alimail_core.folders.policy import FolderPolicy
from alimail_core.spec import AccountSpec, Endpoint
from alimail_core.text import printable


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
