"""The servers of Alibaba Mail as mail programs ask for them: what an organisation publishes for its domain.

Outlook asks by Autodiscover, Thunderbird and others for Mozilla's ``clientConfig`` 1.1, others for SRV records
(RFC 6186, RFC 8314). The user name is always the whole address: a static Autodiscover page cannot say so, since
Outlook then takes what is before the @, so ``autodiscover`` takes the address that was asked about.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final, Literal, TypeAlias
from xml.sax.saxutils import escape

from attrs import frozen

from alimail_core import Fault, InputError
from alimail_core.commands import printable

Service: TypeAlias = Literal["imap", "pop3", "smtp"]

PORTS: Final[Mapping[Service, int]] = {"imap": 993, "pop3": 995, "smtp": 465}
"""All with TLS from the first octet."""

_LABELS: Final[Mapping[Service, str]] = {
    "imap": "_imaps._tcp",
    "pop3": "_pop3s._tcp",
    "smtp": "_submissions._tcp",
}
AUTODISCOVER: Final = "_autodiscover._tcp"

_HOST: Final = re.compile(r"(?=.{4,253}\Z)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]*[a-z0-9]")


@frozen
class Site:
    """One site of Alibaba Mail and its hosts."""

    region: str
    hosts: Mapping[Service, str]
    older: frozenset[str] = frozenset()
    """Names that lead to the same servers, and need no change."""


def _site(region: str, end: str, *older: str) -> Site:
    return Site(
        region, {"imap": f"imap.{end}", "pop3": f"pop.{end}", "smtp": f"smtp.{end}"}, frozenset(older)
    )


SITES: Final[Mapping[str, Site]] = {
    site.region: site
    for site in (
        _site("cn", "qiye.aliyun.com", "imap.mxhichina.com", "pop3.mxhichina.com", "smtp.mxhichina.com"),
        _site("hk", "hk.aliyun.com", "imaphk.qiye.aliyun.com"),
        _site("sg", "sg.aliyun.com"),
        _site("de", "de.alibabacloud.com"),
        _site("us", "us.alibabacloud.com"),
    )
}


@frozen
class Record:
    """An SRV record to publish, by its name before the domain."""

    label: str
    host: str
    port: int

    def line(self, domain: str) -> str:
        """Return it as a zone file has it."""
        return f"{self.label}.{domain}. 3600 IN SRV 0 1 {self.port} {self.host}."


def ascii_domain(domain: str) -> str:
    """Return a domain's name as DNS has it. Raises ``InputError``."""
    try:
        name = domain.encode("idna").decode().lower().rstrip(".")
    except UnicodeError:
        name = ""
    if not _HOST.fullmatch(name):
        fault = Fault(
            "domain", f"{printable(domain[:60])!r} is no domain", "write what is after the @ of an address"
        )
        raise InputError("what is asked for has a fault", [fault])
    return name


def site(region: str) -> Site:
    """Return a site. Raises ``InputError``."""
    if region not in SITES:
        fault = Fault(
            "--region", f"there is no {printable(region[:20])!r}", f"it is one of {', '.join(SITES)}"
        )
        raise InputError("what is asked for has a fault", [fault])
    return SITES[region]


def records(site: Site, autodiscover: str = "") -> list[Record]:
    """Return the SRV records to publish; ``autodiscover`` is the host that answers Outlook, where there is one."""
    made = [Record(_LABELS[service], host, PORTS[service]) for service, host in site.hosts.items()]
    return [*made, Record(AUTODISCOVER, autodiscover, 443)] if autodiscover else made


def label(service: Service) -> str:
    """Return the name of a service's SRV record before the domain."""
    return _LABELS[service]


def autoconfig(site: Site, domain: str) -> str:
    """Return the page of Mozilla's ``clientConfig`` 1.1: IMAP first, as what is preferred."""
    incoming = "".join(
        _server("incomingServer", service, site.hosts[service]) for service in ("imap", "pop3")
    )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<clientConfig version="1.1">
  <emailProvider id="{escape(domain)}">
    <domain>{escape(domain)}</domain>
    <displayName>Alibaba Mail</displayName>
    <displayShortName>Alibaba Mail</displayShortName>
{incoming}{_server("outgoingServer", "smtp", site.hosts["smtp"])}  </emailProvider>
</clientConfig>
"""


def _server(element: str, service: Service, host: str) -> str:
    return f"""    <{element} type="{service}">
      <hostname>{host}</hostname>
      <port>{PORTS[service]}</port>
      <socketType>SSL</socketType>
      <authentication>password-cleartext</authentication>
      <username>%EMAILADDRESS%</username>
    </{element}>
"""


def autodiscover(site: Site, address: str) -> str:
    """Return what Outlook is answered of one address (Autodiscover, POX): IMAP first, then POP3, and SMTP."""
    protocols = "".join(_protocol(service, site.hosts[service], address) for service in PORTS)
    return f"""<?xml version="1.0" encoding="utf-8"?>
<Autodiscover xmlns="http://schemas.microsoft.com/exchange/autodiscover/responseschema/2006">
  <Response xmlns="http://schemas.microsoft.com/exchange/autodiscover/outlook/responseschema/2006a">
    <Account>
      <AccountType>email</AccountType>
      <Action>settings</Action>
{protocols}    </Account>
  </Response>
</Autodiscover>
"""


def _protocol(service: Service, host: str, address: str) -> str:
    return f"""      <Protocol>
        <Type>{service.upper()}</Type>
        <Server>{host}</Server>
        <Port>{PORTS[service]}</Port>
        <LoginName>{escape(address)}</LoginName>
        <DomainRequired>off</DomainRequired>
        <SPA>off</SPA>
        <SSL>on</SSL>
        <AuthRequired>on</AuthRequired>
      </Protocol>
"""


def files(site: Site, domain: str) -> dict[str, str]:
    """Return what to publish, by the path beneath a folder: one for each host, and the records."""
    return {
        f"autoconfig.{domain}/mail/config-v1.1.xml": autoconfig(site, domain),
        f"autodiscover.{domain}/autodiscover/autodiscover.xml": autodiscover(site, f"PERSON@{domain}"),
        "records.zone": "".join(f"{line}\n" for line in _zone(site, domain)),
    }


def _zone(site: Site, domain: str) -> Iterator[str]:
    yield f"; SRV records of {domain} for mail programs (RFC 6186, RFC 8314). Alibaba Mail, region {site.region}."
    for record in records(site, f"autodiscover.{domain}"):
        yield record.line(domain)
