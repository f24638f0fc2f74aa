"""The checklist of the change: made from the ledger and the DNS as they are at this moment; it changes neither."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta

from attrs import frozen

from alimail_core.status import AccountStatus

LOW = 300
"""Seconds to live of an MX record that make a change quick."""

RECENT = timedelta(days=1)
"""A last pass that is older leaves much to the final one."""

SHOWN = 10
"""Accounts that one step names at most."""


@frozen
class Exchangers:
    """Where a domain's mail is delivered (MX, RFC 5321 §5), as the resolver of this machine told it."""

    domain: str
    hosts: tuple[str, ...] = ()
    """In the order of preference."""
    ttl: int | None = None
    """Seconds that others may still keep this answer."""
    fault: str = ""
    """Why it could not be looked up."""


@frozen
class Step:
    """One line of the checklist. ``done`` is what was seen; what nobody can see from here is never done."""

    done: bool
    text: str
    remedy: str = ""


@frozen
class Checklist:
    """Everything that the change takes, in its order."""

    made: datetime
    domains: tuple[Exchangers, ...]
    steps: tuple[Step, ...]


def look_up(domain: str) -> Exchangers:
    """Ask this machine's resolver for a domain's MX records; what fails is told in the answer."""
    import dns.exception
    import dns.resolver

    try:
        answer = dns.resolver.resolve(domain, "MX", lifetime=5.0)
    except (dns.exception.DNSException, OSError) as error:
        return Exchangers(domain, fault=f"could not look up: {type(error).__name__}")
    assert answer.rrset is not None
    records = sorted((record.preference, str(record.exchange).rstrip(".")) for record in answer)
    return Exchangers(domain, tuple(host for _, host in records), answer.rrset.ttl)


def make_checklist(
    accounts: Sequence[AccountStatus], now: datetime, look: Callable[[str], Exchangers]
) -> Checklist:
    """Tell what is done and what is left, for the accounts of the roster; ``look`` asks for each domain once."""
    here = [each for each in accounts if each.in_roster]
    names = dict.fromkeys(each.target_address.rpartition("@")[2].lower() for each in here)
    domains = tuple(look(name) for name in names if name)
    return Checklist(now, domains, (*_carried(here, now), *_changed(domains, now), *_ended(here)))


def _carried(accounts: Sequence[AccountStatus], now: datetime) -> Iterator[Step]:
    behind = [each for each in accounts if each.state not in ("done", "problems") or each.pending_messages]
    if behind or not accounts:
        text = f"{len(behind):,} of {len(accounts):,} accounts are not in sync: {_named(behind)}"
        yield Step(False, text, "`alimail status` tells why; `alimail migrate` goes on.")
    else:
        yield Step(True, f"all {len(accounts):,} accounts are in sync as of their last pass")
    ended = [each.ended for each in accounts if each.ended is not None]
    if ended:
        oldest = min(ended)
        text = f"the account that was passed longest ago was on {oldest:%Y-%m-%d %H:%M} UTC"
        yield Step(
            now - oldest <= RECENT, text, "`alimail migrate` shortly before the change keeps it short."
        )
    odd = [each for each in accounts if each.problems]
    problems = sum(each.problems for each in odd)
    text = f"{problems:,} problems" + (f": {_named(odd)}" if odd else "")
    yield Step(not problems, text, "`alimail report` names them; decide on each before the change.")


def _changed(domains: Sequence[Exchangers], now: datetime) -> Iterator[Step]:
    for each in domains:
        if each.fault:
            yield Step(False, f"MX of {each.domain}: {each.fault}", "Look at it where the DNS is reached.")
            continue
        ttl = each.ttl or 0
        text = f"MX of {each.domain}: {', '.join(each.hosts)}, to live {ttl:,} s more at most"
        earliest = now + timedelta(seconds=ttl)
        remedy = f"Lower it to {LOW} s; lowered now, it is low everywhere by {earliest:%Y-%m-%d %H:%M} UTC."
        yield Step(ttl <= LOW, text, remedy)
        text = f"point the MX of {each.domain}, and its people's clients, to the new system"
        yield Step(False, text, "Where the hosts above are the new system's already, this is done.")
    longest = max((each.ttl or 0 for each in domains), default=0)
    wait = f"{longest:,} s at least" if longest else "as long as the old record lived"
    text = f"the final delta: after the change keep `alimail watch` running, {wait}, and better some days"
    yield Step(False, text, "The old servers get mail meanwhile: leave them on.")


def _ended(accounts: Sequence[AccountStatus]) -> Iterator[Step]:
    yield Step(
        False, "prove it: `alimail verify --full`, then `alimail report`", "Before the old system is off."
    )
    enabled = [each for each in accounts if each.enabled]
    text = f"disable the accounts: {len(enabled):,} are enabled" if enabled else "all accounts are disabled"
    yield Step(
        not enabled, text, "`alimail disable ALL`, once nothing new came for two days; then the old server."
    )


def _named(accounts: Sequence[AccountStatus]) -> str:
    names = [each.source_address for each in accounts[:SHOWN]]
    return ", ".join([*names, *(["…"] if len(accounts) > SHOWN else [])])
