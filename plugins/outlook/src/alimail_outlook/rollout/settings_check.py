"""What a domain publishes for mail programs, held against the servers of its site. Nothing is logged in to."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from typing import Any, Final
from xml.parsers import expat
from xml.sax.saxutils import escape

from attrs import define, field, frozen

from alimail_core import Clock, Remark
from alimail_core.autoconfig import NotPublished, fetch, pages, servers
from alimail_core.commands import printable
from alimail_outlook.findings import Finding
from alimail_outlook.rollout.settings import AUTODISCOVER, PORTS, SITES, Service, Site, label

_SECONDS: Final = 5.0
"""For an answer of the DNS."""

_SITES_BY_EXCHANGER: Final = {
    "qiye.aliyun.com": "cn",
    "mxhichina.com": "cn",
    "hk.aliyun.com": "hk",
    "sg.aliyun.com": "sg",
    "de.alibabacloud.com": "de",
    "us.alibabacloud.com": "us",
}
"""By the end of an exchanger's name. Those of cn and sg are known, the others are by analogy."""

_QUESTION: Final = """<?xml version="1.0" encoding="utf-8"?>
<Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/requestschema/2006">
<Request><EMailAddress>{}</EMailAddress>
<AcceptableResponseSchema>http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a</AcceptableResponseSchema>
</Request></Autodiscover>"""


@frozen
class Protocol:
    """What Autodiscover tells of one protocol."""

    kind: str
    host: str
    port: str
    login: str


@define
class Check:
    """Ask for everything of one domain, in ASCII. ``region`` is empty: whatever the mail exchangers say."""

    domain: str
    region: str
    clock: Clock
    context: ssl.SSLContext
    site: Site = field(init=False, default=SITES["cn"])

    def run(self) -> Iterator[Finding]:
        """Ask, and give the findings as they come."""
        yield self._site()
        for service in PORTS:
            yield self._record(service)
        yield self._autoconfig()
        yield self._autodiscover()

    def _site(self) -> Finding:
        found = sorted(str(each.exchange).rstrip(".").lower() for each in self._ask(self.domain, "MX"))
        regions = {
            region
            for end, region in _SITES_BY_EXCHANGER.items()
            for exchanger in found
            if f".{exchanger}".endswith(f".{end}")
        }
        if self.region:
            self.site = SITES[self.region]
            if regions and self.region not in regions:
                text = (
                    f"the mail exchangers look like {', '.join(sorted(regions))}, and {self.region} was given"
                )
                return Finding(
                    "region", Remark("warning", text, "See in the console which region it was bought in.")
                )
            return Finding("region", Remark("ok", f"{self.region}, as given"))
        if len(regions) == 1:
            self.site = SITES[regions.pop()]
            return Finding(
                "region", Remark("ok", f"{self.site.region}, by the mail exchanger {printable(found[0])}")
            )
        told = printable(", ".join(found[:3])) or "there are none"
        text = f"the mail exchangers tell no region ({told}); cn is taken"
        return Finding("region", Remark("warning", text, "Say it: --region cn, hk, sg, de or us."))

    def _record(self, service: Service) -> Finding:
        """Hold a service's SRV record against the site."""
        name, wanted = f"{label(service)}.{self.domain}", f"{self.site.hosts[service]} {PORTS[service]}"
        told = [f"{str(each.target).rstrip('.').lower()} {each.port}" for each in self._ask(name, "SRV")]
        if not told:
            remedy = f"Publish: {name}. SRV 0 1 {PORTS[service]} {self.site.hosts[service]}."
            return Finding(service, Remark("warning", f"no SRV record {name}", remedy))
        wrong = [each for each in told if not self._is_right(service, *each.split(" "))]
        if wrong:
            text = f"{name} leads to {printable(', '.join(wrong))}"
            return Finding(service, Remark("fault", text, f"Let it lead to {wanted} alone."))
        return Finding(service, Remark("ok", f"{name} leads to {printable(told[0])}"))

    def _is_right(self, service: Service, host: str, port: str) -> bool:
        known = host in self.site.older and host.startswith(self.site.hosts[service].partition(".")[0])
        return (host == self.site.hosts[service] or known) and port == str(PORTS[service])

    def _autoconfig(self) -> Finding:
        step, reasons = "autoconfig", []
        for url in pages(self.domain):
            try:
                told = servers(fetch(url, self.context, self.clock))
            except NotPublished as reason:
                reasons.append(f"{url}: {reason}")
                continue
            wrong = [
                f"{each.service} {each.host} {each.port}"
                for each in told
                if each.service not in PORTS or not self._is_right(each.service, each.host.lower(), each.port)  # type: ignore[arg-type]
            ]
            wrong += [f"{each.service} as {each.user}" for each in told if each.user != "%EMAILADDRESS%"]
            if not told:
                wrong.append("no server")
            if wrong:
                text = f"{url} tells {printable(', '.join(wrong))}"
                return Finding(
                    step, Remark("fault", text, "Publish the page that `settings -o FOLDER` writes.")
                )
            return Finding(step, Remark("ok", f"{url} tells the servers"))
        text = f"no page for Thunderbird and others ({'; '.join(reasons)})"
        return Finding(
            step, Remark("warning", text, "Publish the page that `settings -o FOLDER` writes, by https.")
        )

    def _autodiscover(self) -> Finding:
        """Ask as Outlook does, in its order, of an address that need not be there."""
        step, address, reasons = "autodiscover", f"postmaster@{self.domain}", []
        hosts = [self.domain, f"autodiscover.{self.domain}"]
        hosts += [
            str(each.target).rstrip(".").lower() for each in self._ask(f"{AUTODISCOVER}.{self.domain}", "SRV")
        ]
        for host in dict.fromkeys(hosts):
            url = f"https://{host}/autodiscover/autodiscover.xml"
            try:
                told = protocols(
                    fetch(url, self.context, self.clock, _QUESTION.format(escape(address)).encode())
                )
            except NotPublished as reason:
                reasons.append(f"{url}: {reason}")
                continue
            return Finding(step, self._judged(url, told, address))
        remedy = "Let a host answer Outlook, or give people the servers: see docs/guides/outlook.md."
        return Finding(
            step, Remark("warning", f"nobody answers Outlook ({printable('; '.join(reasons))})", remedy)
        )

    def _judged(self, url: str, told: Sequence[Protocol], address: str) -> Remark:
        mail = [each for each in told if each.kind.lower() in PORTS]
        wrong = [
            f"{each.kind} {each.host} {each.port}"
            for each in mail
            if not self._is_right(each.kind.lower(), each.host.lower(), each.port)  # type: ignore[arg-type]
        ]
        if not mail or wrong:
            what = printable(", ".join(wrong)) or "no IMAP, POP3 or SMTP"
            return Remark("fault", f"{url} tells {what}", "It leads people to another server: correct it.")
        logins = {each.login or "nothing, and Outlook takes what is before the @" for each in mail} - {
            address
        }
        if logins:
            text = f"{url} tells as login of {address}: {printable(', '.join(sorted(logins)))}"
            return Remark("fault", text, "It must be the whole address that was asked about.")
        return Remark("ok", f"{url} tells the servers and the login")

    def _ask(self, name: str, kind: str) -> list[Any]:
        """Return records; none where there are none or nobody answers."""
        import dns.exception
        import dns.resolver

        try:
            return list(dns.resolver.resolve(name, kind, lifetime=_SECONDS))
        except (dns.exception.DNSException, OSError):
            return []


def protocols(page: bytes) -> list[Protocol]:
    """Return what an Autodiscover answer tells. Raises ``NotPublished``; a document type is refused."""
    found: list[Protocol] = []
    open_names: list[str] = []
    words: dict[str, str] = {}

    def doctype(*_: object) -> None:
        raise NotPublished("it has a document type")

    def begin(name: str, _: dict[str, str]) -> None:
        open_names.append(name.rpartition(":")[2])
        if open_names[-1] == "Protocol":
            words.clear()

    def text(characters: str) -> None:
        words[open_names[-1]] = words.get(open_names[-1], "") + characters

    def end(_: str) -> None:
        if open_names.pop() == "Protocol":
            parts = (words.get(name, "").strip() for name in ("Type", "Server", "Port", "LoginName"))
            found.append(Protocol(*parts))

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = doctype
    parser.StartElementHandler, parser.EndElementHandler = begin, end
    parser.CharacterDataHandler = text
    try:
        parser.Parse(page, True)
    except (expat.ExpatError, LookupError, ValueError):
        raise NotPublished("it is no XML") from None
    return found
