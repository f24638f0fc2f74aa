"""The checklist of the cut-over: made from ledger, proofs and DNS as they are now; it changes none of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

from attrs import evolve, frozen

from alimail_core.report.contents import AccountReport, Report, moment_text
from alimail_core.spec import AccountSpec, Endpoint
from alimail_core.status import AccountStatus

LOW = 300
"""Seconds to live of an MX record that make a change quick."""

RECENT = timedelta(days=1)
"""A last pass that is older leaves much to the final one."""

DNS_SECONDS = 5.0

SHOWN = 10
"""Accounts, and domains of old addresses, that are named at most."""

_GENERIC = frozenset({"ac", "co", "com", "edu", "gov", "net", "or", "org"})
"""Below a country's domain these are nobody's own: of ``mx.acme.com.cn`` three names belong to one owner."""


@frozen
class Exchangers:
    """Where a domain's mail is delivered (MX, RFC 5321 §5), as the resolver of this machine told it."""

    domain: str
    hosts: tuple[str, ...] = ()
    """In the order of preference."""
    ttl: int | None = None
    """Seconds that the record lives, as the domain's own name servers say; ``None``: they could not be asked."""
    fault: str = ""
    """Why it could not be looked up."""
    changed: bool = False
    """All hosts belong to the new system, as far as their names tell."""
    left: int | None = None
    """Seconds that this machine's resolver still keeps what it told: mostly less than the record lives."""
    absent: bool = False
    """The DNS has answered, and there is no such record: ``fault`` says so."""


@frozen
class Step:
    """One line of the checklist. ``done`` is what was seen; what nobody can see from here is never done."""

    done: bool
    text: str
    remedy: str = ""


@frozen
class Checklist:
    """Everything that the cut-over takes, in its order."""

    made: datetime
    domains: tuple[Exchangers, ...]
    steps: tuple[Step, ...]


def look_up(domain: str) -> Exchangers:
    """Ask this machine's resolver for a domain's MX records; what fails is told in the answer."""
    import dns.exception
    import dns.resolver

    try:
        answer = dns.resolver.resolve(domain, "MX", lifetime=DNS_SECONDS)
    except dns.resolver.NXDOMAIN:
        return Exchangers(domain, fault="the DNS knows no such domain", absent=True)
    except dns.resolver.NoAnswer:
        return Exchangers(domain, fault="there is no MX record", absent=True)
    except (dns.exception.DNSException, OSError) as error:
        return Exchangers(domain, fault=f"could not look up: {type(error).__name__}")
    assert answer.rrset is not None
    records = sorted((record.preference, str(record.exchange).rstrip(".")) for record in answer)
    return Exchangers(domain, tuple(host for _, host in records), _own_ttl(domain), left=answer.rrset.ttl)


def _own_ttl(domain: str) -> int | None:
    """Ask the domain's own name servers how long its MX record lives; of that a resolver tells the rest."""
    import dns.exception
    import dns.flags
    import dns.resolver

    own = dns.resolver.Resolver(configure=False)
    own.port = dns.resolver.get_default_resolver().port
    try:
        zone = dns.resolver.zone_for_name(domain, lifetime=DNS_SECONDS)
        servers = dns.resolver.resolve(zone, "NS", lifetime=DNS_SECONDS)
        own.nameservers = list(dns.resolver.resolve_name(servers[0].target, lifetime=DNS_SECONDS).addresses())
        answer = own.resolve(domain, "MX", lifetime=DNS_SECONDS)
    except (dns.exception.DNSException, OSError):
        return None
    # Without this flag somebody on the way has answered for them.
    is_theirs = bool(answer.response.flags & dns.flags.AA)
    return answer.rrset.ttl if is_theirs and answer.rrset is not None else None


def make_checklist(
    report: Report, accounts: Sequence[AccountSpec], look: Callable[[str], Exchangers]
) -> Checklist:
    """Tell what is done and what is left for the accounts of the roster; ``look`` asks for each domain once."""
    here = [each for each in report.accounts if each.status.in_roster]
    new = _domains(each.status.target_address for each in here)
    old = [name for name in _domains(each.status.source_address for each in here) if name not in new]
    owners = _owners_of(each.target for each in accounts) - _owners_of(each.source for each in accounts)
    with ThreadPoolExecutor(SHOWN) as pool:  # where no name server answers, all of them wait at once
        names = [*new, *old[:SHOWN]]
        seen = {name: _judged(each, owners) for name, each in zip(names, pool.map(look, names), strict=True)}
    now, statuses = report.written, [each.status for each in here]
    steps = (
        *_carried(statuses, now),
        *(step for name in new for step in _changed(seen[name], now)),
        *(_left(seen[name]) for name in old[:SHOWN]),
        *_not_looked_at(old[SHOWN:]),
        _delta(list(seen.values())),
        _proven(here),
        _ended(statuses),
    )
    return Checklist(now, tuple(seen.values()), steps)


def _domains(addresses: Iterable[str]) -> list[str]:
    names = (address.rpartition("@")[2].lower() for address in addresses)
    return [name for name in dict.fromkeys(names) if name]


def _owners_of(endpoints: Iterable[Endpoint]) -> set[str]:
    """Return whose servers these are, by their names."""
    addresses = {getattr(each.options, "address", None) for each in endpoints}
    return {_owner(address[0]) for address in addresses if isinstance(address, tuple)}


def _owner(host: str) -> str:
    """Return the domain of a host's owner, as far as its name tells: ``aliyun.com`` of ``mx1.sg.aliyun.com``."""
    names = host.lower().rstrip(".").split(".")
    country = len(names) > 2 and len(names[-1]) == 2 and names[-2] in _GENERIC
    return ".".join(names[-3 if country else -2 :])


def _judged(seen: Exchangers, owners: set[str]) -> Exchangers:
    return evolve(seen, changed=bool(seen.hosts) and {_owner(host) for host in seen.hosts} <= owners)


def _carried(accounts: Sequence[AccountStatus], now: datetime) -> Iterator[Step]:
    behind = [each for each in accounts if each.state not in ("done", "problems") or each.pending_messages]
    if behind or not accounts:
        text = f"{len(behind):,} of {len(accounts):,} accounts are not in sync: {_named(behind)}"
        running = sum(each.state == "running" for each in behind)
        text += f"; of {running:,} a pass is under way, ask again after it" if running else ""
        yield Step(False, text, "`alimail status` tells why; `alimail migrate` goes on.")
    else:
        yield Step(True, f"all {len(accounts):,} accounts are in sync as of their last pass")
    ended = [each.ended for each in accounts if each.ended is not None]
    if ended:
        oldest = min(ended)
        text = f"the last pass of each account is not older than {oldest:%Y-%m-%d %H:%M} UTC"
        yield Step(
            now - oldest <= RECENT, text, "`alimail migrate` shortly before the cut-over keeps it short."
        )
    odd = [each for each in accounts if each.problems]
    problems = sum(each.problems for each in odd)
    text = f"{problems:,} problems" + (f": {_named(odd)}" if odd else "")
    yield Step(not problems, text, "`alimail report` names them; decide on each before the cut-over.")


def _changed(seen: Exchangers, now: datetime) -> Iterator[Step]:
    """Tell of a domain of the new addresses: its record shall live shortly, and then lead to the new system."""
    hosts = ", ".join(seen.hosts)
    if seen.changed:
        yield Step(True, f"the MX of {seen.domain} leads to the new system: {hosts}")
        return
    if seen.absent:
        remedy = "See that the roster has it as it is spelt; where it is right, nobody's mail gets there yet."
        yield Step(False, f"MX of {seen.domain}: {seen.fault}", remedy)
    elif seen.fault:
        yield Step(False, f"MX of {seen.domain}: {seen.fault}", "Look at it where the DNS is reached.")
    elif seen.ttl is None:
        text = f"MX of {seen.domain}: {hosts}; its own name servers could not be asked how long it lives"
        remedy = f"See at your DNS provider's that it lives {LOW} s at most, some days before the change."
        yield Step(False, text, remedy)
    else:
        kept = max(seen.ttl, seen.left or 0)  # what was lowered lately is kept as it was
        text = f"MX of {seen.domain}: {hosts}, which others keep for {kept:,} s"
        earliest = now + timedelta(seconds=kept)
        remedy = f"Lower it to {LOW} s; lowered now, it is low everywhere by {earliest:%Y-%m-%d %H:%M} UTC."
        yield Step(kept <= LOW, text, remedy)
    text = f"point the MX of {seen.domain}, and its people's clients, to the new system"
    remedy = (
        "Before, let the domain's SPF record (TXT) name the new system as well: else others may refuse what is sent "
        "from there."
    )
    if hosts:
        remedy = f"Where the hosts above are the new system's already, this is done. {remedy}"
    yield Step(False, text, remedy)


def _left(seen: Exchangers) -> Step:
    """Tell of a domain that only old addresses have."""
    if seen.changed:
        return Step(
            True,
            f"mail to the old addresses of {seen.domain} goes to the new system: {', '.join(seen.hosts)}",
        )
    told = seen.fault or f"goes to {', '.join(seen.hosts)}"
    remedy = (
        "Where the domain stays yours, point its MX to the new system and make its addresses known there, or let the "
        "old system forward; else people have to tell their new addresses."
    )
    return Step(False, f"mail to the old addresses of {seen.domain}: {told}", remedy)


def _not_looked_at(domains: Sequence[str]) -> Iterator[Step]:
    """Tell of domains that only old addresses have beyond those that are looked at."""
    if domains:
        more = ", …" if len(domains) > SHOWN else ""
        text = f"mail to the old addresses of {len(domains):,} further domains: {', '.join(domains[:SHOWN])}{more}"
        yield Step(False, text, "They were not looked at: see where their MX records lead.")


def _delta(domains: Sequence[Exchangers]) -> Step:
    longest = max((max(each.ttl or 0, each.left or 0) for each in domains), default=0)
    wait = f"{longest:,} s at least" if longest else "as long as the old record lived"
    text = f"the final delta: after the cut-over keep `alimail watch` running, {wait}, and better some days"
    return Step(False, text, "The old servers get mail meanwhile: leave them on.")


def _proven(accounts: Sequence[AccountReport]) -> Step:
    """Tell whose latest proof read every octet and holds: nothing was added to the target or taken away since."""
    proofs = [
        each.proof for each in accounts if each.verdict.level == "ok" and each.proof and each.proof.full
    ]
    dates = [proof.at for proof in proofs if proof.at is not None]
    if accounts and len(proofs) == len(accounts):
        text = f"all {len(accounts):,} accounts are proven, every octet read back, since {moment_text(min(dates))}"
        return Step(True, f"{text}; what arrived at the old system later is in no proof")
    proven = {id(proof) for proof in proofs}
    rest = [each.status for each in accounts if id(each.proof) not in proven]
    text = (
        f"prove it: {len(rest):,} of {len(accounts):,} accounts have no full proof that holds: {_named(rest)}"
    )
    return Step(False, text, "After the final delta, `alimail verify --full`, then `alimail report`.")


def _ended(accounts: Sequence[AccountStatus]) -> Step:
    enabled = [each for each in accounts if each.enabled]
    text = f"disable the accounts: {len(enabled):,} are enabled" if enabled else "all accounts are disabled"
    remedy = "`alimail disable ALL`, once nothing new came for two days; then the old server."
    return Step(not enabled, text, remedy)


def _named(accounts: Sequence[AccountStatus]) -> str:
    names = [each.source_address for each in accounts[:SHOWN]]
    return ", ".join([*names, *(["…"] if len(accounts) > SHOWN else [])])
