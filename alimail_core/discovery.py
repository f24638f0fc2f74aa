"""Find the servers of a domain's mailboxes, from nothing but the domain; try them, and never use them by itself.

Asked are the domain's SRV records (RFC 6186), what it publishes for mail programs (``autoconfig``), its mail
exchangers, and the names that such servers usually have. A *guess* says why it was made; trying it connects and
encrypts, and logs in to nothing. DNS can be forged by whoever stands on the way, and so can a guess made from it:
a person looks at what was found before a password is sent there.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from attrs import define, evolve, field, frozen

from alimail_core import autoconfig
from alimail_core.contract import SourceKind
from alimail_core.errors import AlimailError, Remark
from alimail_core.executors import in_order
from alimail_core.network import PROBE_SECONDS, ServerOptions, tls_context
from alimail_core.registry import Registry
from alimail_core.seam import Clock
from alimail_core.text import printable

SIDE_BY_SIDE: Final = 8
"""Servers that are tried at once."""
MOST: Final = 16
"""Guesses from one page or record set: more of them is nobody's mail system."""
DNS_SECONDS: Final = 5.0
USUAL: Final = "a usual name"
"""The weakest reason for a guess."""

Login: TypeAlias = Literal["address", "local-part"]
Kind: TypeAlias = SourceKind[Any]

_HOST: Final = re.compile(r"(?=.{4,253}\Z)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]")
"""A name that a server on the network may have: no address, and never this machine itself."""


@frozen
class Provider:
    """A provider that is known by its mail exchangers: its servers by service, and what people stumble over."""

    name: str
    hosts: Mapping[str, str]
    note: str = ""


_MICROSOFT: Final = Provider(
    "Microsoft 365",
    {"imap": "outlook.office365.com", "pop3": "outlook.office365.com"},
    "Microsoft 365 takes no passwords: use auth = xoauth2",
)
_GOOGLE: Final = Provider(
    "Google",
    {"imap": "imap.gmail.com", "pop3": "pop.gmail.com"},
    "Google takes an app password or auth = xoauth2, not the account's own password",
)
_ALIBABA: Final = Provider("Alibaba Mail", {"imap": "imap.qiye.aliyun.com", "pop3": "pop.qiye.aliyun.com"})
_TENCENT: Final = Provider("Tencent Exmail", {"imap": "imap.exmail.qq.com", "pop3": "pop.exmail.qq.com"})
_NETEASE: Final = Provider("NetEase", {"imap": "imap.qiye.163.com", "pop3": "pop.qiye.163.com"})

PROVIDERS: Final[Mapping[str, Provider]] = {
    "protection.outlook.com": _MICROSOFT,
    "mx.microsoft": _MICROSOFT,
    "google.com": _GOOGLE,
    "googlemail.com": _GOOGLE,
    "qiye.aliyun.com": _ALIBABA,
    "mxhichina.com": _ALIBABA,
    "sg.aliyun.com": Provider("Alibaba Mail", {"imap": "imap.sg.aliyun.com", "pop3": "pop.sg.aliyun.com"}),
    "mxbiz1.qq.com": _TENCENT,
    "mxbiz2.qq.com": _TENCENT,
    "hzmx01.mxmail.netease.com": _NETEASE,
    "hzmx02.mxmail.netease.com": _NETEASE,
    "qiye163mx01.mxmail.netease.com": _NETEASE,
    "qiye163mx02.mxmail.netease.com": _NETEASE,
    "yandex.net": Provider(
        "Yandex",
        {"imap": "imap.yandex.com", "pop3": "pop.yandex.com"},
        "Yandex takes an app password, and IMAP has to be allowed in each mailbox's settings",
    ),
}
"""By the end of an exchanger's name; each is tried like any guess.

Tencent and NetEase take the mail of people's free boxes beneath the same domains, so theirs are whole names. Looked
up in 2026 in what is public: Alibaba's own help, and of the others DNS answers and settings that people wrote down.
"""


@frozen
class Guess:
    """A server that may have the mailboxes, and why. ``port`` of ``None``: the protocol's own."""

    kind: str
    host: str
    why: tuple[str, ...]
    port: int | None = None
    login: Login = "address"
    note: str = ""
    """What to know before it is used."""


@frozen
class Guesses:
    """What was found of one domain, the most trustworthy guess of each kind first."""

    domain: str
    guesses: tuple[Guess, ...]
    remarks: tuple[Remark, ...] = ()
    """What could not be asked, and what the answers say beside servers."""


@frozen
class Tried:
    """A guess, and what came of it: the options that lead to the server, or why they do not."""

    guess: Guess
    options: Any = None
    """``ServerOptions`` of the kind with nothing left open; ``None``: it did not answer as it should."""
    fault: str = ""
    remedy: str = ""


def kinds_of(registry: Registry) -> list[Kind]:
    """Return the kinds of sources whose servers can be looked for, those first that leave least behind."""
    kinds = [kind for role, kind in registry.kinds() if role == "source" and isinstance(kind, SourceKind)]
    found = [kind for kind in kinds if kind.probe and _service(kind)]
    return sorted(found, key=lambda kind: len(kind.leaves_behind))


def guess_servers(
    domain: str, kinds: Sequence[Kind], clock: Clock, *, ispdb: bool = False, ca: Path | None = None
) -> Guesses:
    """Ask for a domain's servers, all but the servers themselves.

    ``ispdb`` also asks Mozilla's list of providers, which thereby learns the domain. ``ca``: as for a server, for the
    pages too. Raises ``InputError`` for a bad ``ca``; everything that fails on the way is a remark.
    """
    return _Search(domain, kinds, clock, ca).run(ispdb)


def try_guesses(
    guesses: Iterable[Guess], kinds: Sequence[Kind], *, ca: Path | None = None
) -> Iterator[Tried]:
    """Try guesses side by side; give what came of each, in their order. Nothing is logged in to."""
    by_name = {kind.name: kind for kind in kinds}
    yield from in_order(lambda guess: _try(by_name[guess.kind], guess, ca), guesses, SIDE_BY_SIDE)


def _try(kind: Kind, guess: Guess, ca: Path | None) -> Tried:
    options = kind.options(host=guess.host, port=guess.port, ca=ca)
    assert kind.probe is not None
    try:
        found = kind.probe(evolve(options, timeout=PROBE_SECONDS))
    except AlimailError as error:
        return Tried(guess, fault=str(error), remedy=error.remedy)
    usual = evolve(found, port=None).address[1]
    return Tried(
        guess, evolve(found, timeout=options.timeout, port=None if found.port == usual else found.port)
    )


def source_table(tried: Tried) -> dict[str, object]:
    """Return what a configuration's ``[source]`` says of a server that answered."""
    options = tried.options
    table: dict[str, object] = {"kind": tried.guess.kind, "host": options.host}
    if options.port is not None:
        table["port"] = options.port
    table["tls"] = options.tls
    if options.ca is not None:
        table["ca"] = str(options.ca)
    if tried.guess.login != "address":
        table["login"] = tried.guess.login
    return table


def source_url(tried: Tried, address: str) -> str:
    """Return the URL of one mailbox there, as ``alimail copy`` takes it."""
    from urllib.parse import quote

    options = tried.options
    user = address if tried.guess.login == "address" else address.rpartition("@")[0]
    port = "" if options.port is None else f":{options.port}"
    ca = "" if options.ca is None else f"&ca={quote(str(options.ca))}"
    return f"{tried.guess.kind}://{quote(user, safe='')}@{options.host}{port}?tls={options.tls}{ca}"


@define
class _Search:
    """One domain's search, and what it has found so far, the most trustworthy first."""

    domain: str
    kinds: Sequence[Kind]
    clock: Clock
    ca: Path | None
    found: list[Guess] = field(factory=list)
    remarks: list[Remark] = field(factory=list)
    dns_is_away: bool = False

    def run(self, ispdb: bool) -> Guesses:
        try:
            name = self.domain.encode("idna").decode().lower().rstrip(".")
        except UnicodeError:
            name = ""
        if not _HOST.fullmatch(name):
            remark = Remark("fault", f"{self.domain} is not a domain's name", "Check the address.")
            return Guesses(self.domain, (), (remark,))
        context = tls_context(ServerOptions(name, ca=self.ca))
        exchangers = self._exchangers(name)
        for url in autoconfig.pages(name):
            self._published(url, name, context)
        self._services(name)
        if ispdb:
            self._published(autoconfig.ISPDB.format(domain=name), name, context)
        self._by_exchangers(exchangers)
        for kind in self.kinds:
            for prefix in kind.options.usual_names:
                self._add(kind, f"{prefix}.{name}", USUAL)
        order = [kind.name for kind in self.kinds]
        self.found.sort(key=lambda guess: order.index(guess.kind))
        return Guesses(self.domain, tuple(self.found), tuple(self.remarks))

    def _add(
        self,
        kind: Kind,
        host: str,
        why: str,
        port: int | None = None,
        login: Login = "address",
        note: str = "",
    ) -> None:
        """Add a guess, or one more reason for one that was made before."""
        host = host.lower().rstrip(".")
        if not _HOST.fullmatch(host):
            text = f"{why} names {printable(host)!r}, which is not the name of a server on the network"
            self.remarks.append(Remark("warning", text))
            return
        if port in (0, kind.options.implicit_port, kind.options.cleartext_port):
            port = None  # which of the two, and with what encryption, is found by trying
        for index, guess in enumerate(self.found):
            if (guess.kind, guess.host, guess.port) == (kind.name, host, port):
                self.found[index] = evolve(guess, why=(*guess.why, why), note=guess.note or note)
                return
        self.found.append(Guess(kind.name, host, (why,), port, login, note))

    # DNS

    def _services(self, name: str) -> None:
        """Ask for the SRV records of RFC 6186, those of TLS first."""
        for kind in self.kinds:
            for label in (f"_{_service(kind)}s._tcp", f"_{_service(kind)}._tcp"):
                records = self._records(f"{label}.{name}", "SRV")
                for record in sorted(records, key=lambda each: (each.priority, -each.weight))[:MOST]:
                    host = str(record.target).rstrip(".")
                    if host:
                        self._add(kind, host, f"the SRV record {label}.{name}", record.port)
                    else:
                        self.remarks.append(Remark("note", f"{label}.{name} says: there is no such server"))

    def _exchangers(self, name: str) -> list[str]:
        records = self._records(name, "MX")
        ordered = sorted(records, key=lambda each: (each.preference, str(each.exchange)))
        return [host for each in ordered[:MOST] if (host := str(each.exchange).rstrip(".").lower())]

    def _by_exchangers(self, exchangers: Sequence[str]) -> None:
        for exchanger in exchangers:
            provider = next(
                (PROVIDERS[end] for end in PROVIDERS if f".{exchanger}".endswith(f".{end}")), None
            )
            for kind in self.kinds:
                if provider is None:
                    self._add(kind, exchanger, "it takes the domain's mail (MX)")
                elif host := provider.hosts.get(_service(kind)):
                    why = f"{provider.name} takes the domain's mail (MX {exchanger})"
                    self._add(kind, host, why, note=provider.note)

    def _records(self, name: str, kind: str) -> list[Any]:
        """Return a name's records; none where the DNS says so or says nothing, which is told once."""
        import dns.exception
        import dns.resolver

        if self.dns_is_away:
            return []
        try:
            return list(dns.resolver.resolve(name, kind, lifetime=DNS_SECONDS))
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
            return []
        except (dns.exception.DNSException, OSError) as error:
            # A server that refuses one question may answer the next one.
            self.dns_is_away = not isinstance(error, dns.resolver.NoNameservers)
            text = f"the DNS gave no answer to {name} {kind} ({type(error).__name__})"
            self.remarks.append(Remark("warning", text, "Look again where the DNS is reached."))
            return []

    # autoconfig

    def _published(self, url: str, name: str, context: ssl.SSLContext) -> None:
        try:
            servers = autoconfig.servers(autoconfig.fetch(url, context, self.clock))
        except autoconfig.NotPublished as fault:
            self.remarks.append(Remark("note", f"{url}: {fault}"))
            return
        for server in servers[:MOST]:
            for kind in self.kinds:
                if _service(kind) == server.service:
                    host = server.host.replace("%EMAILDOMAIN%", name)
                    is_port = re.fullmatch(r"[0-9]{1,5}", server.port) and int(server.port) < 65536
                    port = int(server.port) if is_port else None
                    login: Login = "local-part" if server.user == "%EMAILLOCALPART%" else "address"
                    self._add(kind, host, url, port, login, _note(server))


def _note(server: autoconfig.Published) -> str:
    if server.logins and all(login == "OAuth2" for login in server.logins):
        return "it takes no passwords: use auth = xoauth2"
    return ""


def _service(kind: Kind) -> str:
    options = kind.options
    return options.service if isinstance(options, type) and issubclass(options, ServerOptions) else ""
