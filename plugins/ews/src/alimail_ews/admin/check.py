"""``alimail exchange check``: everything that a migration needs of an Exchange server, tried before it begins.

Steps in the order in which one needs the other: the server's place, its certificate, that EWS answers, the ways in,
the login, product and build, three mailboxes, round trip and throughput, throttling. A step whose fault makes the
next ones pointless ends the check; what one mailbox lacks does not. Reads only.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Final, Literal, TypeAlias

from attrs import Factory, define, evolve, field, frozen

from alimail_core import (
    AlimailError,
    Clock,
    Credentials,
    Denied,
    LoginDenied,
    Remark,
    Throttled,
    Transient,
)
from alimail_ews import kerberos, soap
from alimail_ews.admin import autodiscover, certificate
from alimail_ews.admin.asking import asked_openly, keys_in, octets_of
from alimail_ews.answers import Node
from alimail_ews.builds import is_online, product
from alimail_ews.connections import schemes_of
from alimail_ews.grades import CODES, grade, grade_status, saying_of
from alimail_ews.options import EwsOptions
from alimail_ews.session import Session
from alimail_ews.soap import Who, distinguished

Auth: TypeAlias = Literal["auto", "ntlm", "basic", "kerberos", "oauth"]

MAILBOXES: Final = 3
"""How many of the roster are tried."""
_ROUND_TRIPS: Final = 5
_AT_ONCE: Final = 10
CLOSED: Final = datetime(2027, 4, 1, tzinfo=UTC)
ONLINE: Final = (
    "this is Exchange Online: since 2026-10-01 EWS is closed there by default, except for applications that the "
    "tenant's administrator has allow-listed, and from 2027-04-01 it is off for all"
)
ONLINE_REMEDY: Final = (
    "Read these mailboxes by IMAP with tokens instead: kind = imap, host = outlook.office365.com, auth = xoauth2. "
    "Exchange on servers of your own is not affected."
)
_SCHEMES: Final[Mapping[str, Auth]] = {
    "ntlm": "ntlm",
    "basic": "basic",
    "negotiate": "kerberos",
    "bearer": "oauth",
}
_NO_MAILBOX_OF_ITS_OWN: Final = frozenset(
    {"ErrorMissingEmailAddress", "ErrorNonExistentMailbox", "ErrorNoMailboxFound"}
)


@frozen
class Wish:
    """Whom to ask, and for whom."""

    options: EwsOptions
    """With an empty ``host`` the server is looked for by Autodiscover."""
    user: str
    password: Callable[[], str] = field(repr=False)
    mailboxes: Sequence[str] = ()
    autodiscover: tuple[str, int] | None = None
    """Host and port where Autodiscover is asked, and nowhere else; ``None``: where the mailbox's domain has it."""


@frozen
class Finding:
    """What one step found."""

    step: str
    remark: Remark


@define
class Facts:
    """What was learnt, for programs."""

    url: str = ""
    product: str = ""
    build: str = ""
    schemes: list[str] = Factory(list)
    login: str = ""
    round_trip: float | None = None
    """Seconds, the median of a few."""
    octets_per_second: float | None = None


@define
class Check:
    """One check of one server."""

    wish: Wish
    clock: Clock
    facts: Facts = Factory(Facts)
    _options: EwsOptions = field(init=False)
    _readable: list[str] = field(factory=list, init=False)
    """Mailboxes that were got into."""

    def __attrs_post_init__(self) -> None:
        """Begin with what was asked for."""
        self._options = self.wish.options

    def run(self) -> Iterator[Finding]:
        """Give what each step finds, as it does. Never raises for what the server is or says."""
        steps: list[tuple[str, Callable[[], Iterator[Remark]]]] = [
            ("server", self._place),
            ("certificate", self._certificate),
            ("EWS", self._answers),
            ("login", self._login),
            ("product", self._product),
            ("mailboxes", self._mailboxes),
            ("speed", self._speed),
            ("throttling", self._throttling),
        ]
        for name, step in steps:
            faulty = False
            for remark in _told(step()):
                faulty |= remark.level == "fault"
                yield Finding(name, remark)
            if faulty and name != "mailboxes":
                return

    # -- its steps

    def _place(self) -> Iterator[Remark]:
        if not self._options.host:
            yield from self._located()
        if is_online(self._options.host, ""):
            yield self._online()
        self.facts.url = self._options.url
        yield Remark("ok", self._options.url)

    def _located(self) -> Iterator[Remark]:
        """Find the server by Autodiscover. Raises ``Denied`` where nobody tells."""
        address = self.wish.mailboxes[0]
        domain = address.rpartition("@")[2]
        failed = []
        given = self.wish.autodiscover
        for host, port in [given] if given else autodiscover.places(domain):
            try:
                told = self._ask_autodiscover(evolve(self._options, host=host, port=port), address)
                if told.instead:
                    raise Denied(
                        f"Autodiscover at {host} points to {told.instead}",
                        remedy="Compare it with what you know, and give it as --server.",
                    )
                where, port_there, path, scheme = autodiscover.split(told.url)
            except LoginDenied:
                raise
            except (AlimailError, ValueError) as error:
                failed.append(f"{host}: {error}")
                continue
            tls = self._options.tls if scheme == "https" else "none"
            self._options = evolve(self._options, host=where, port=port_there, url_path=path, tls=tls)
            yield Remark("ok", f"Autodiscover at {host} names {told.url}")
            return
        if not given:
            yield from map(_hint, autodiscover.hints(domain))
        raise Denied(
            f"no Autodiscover for {domain}: {'; '.join(failed)}",
            remedy="Give the server as --server, or the URL of an Autodiscover that you trust.",
        )

    def _ask_autodiscover(self, options: EwsOptions, address: str) -> autodiscover.Located:
        session = self._session(evolve(options, url_path=autodiscover.PATH))
        try:
            return autodiscover.located(session.page(autodiscover.request(address)))
        finally:
            session.close()

    def _online(self) -> Remark:
        level = "fault" if self.clock.now() >= CLOSED else "warning"
        return Remark(level, ONLINE, ONLINE_REMEDY)

    def _certificate(self) -> Iterator[Remark]:
        if self._options.tls == "none":
            yield Remark("warning", "the connection is not encrypted", "Use https.")
        else:
            yield from certificate.look(self._options, self.clock)

    def _answers(self) -> Iterator[Remark]:
        """See that EWS is there, by what it says to somebody who has not said his name."""
        status, reason, headers = asked_openly(self._options)
        if status == 404 or status not in (200, 302, 400, 401, 500):
            raise grade_status(status, reason, None)
        told = ",".join(headers.get_all("WWW-Authenticate", ()))
        self.facts.schemes = [scheme for scheme in _SCHEMES if scheme in schemes_of(told)]
        if not self.facts.schemes:
            raise Denied(
                f"EWS answers with HTTP {status} and offers no way to log in",
                remedy="See that no gateway with a login page of its own stands before /EWS, and that Windows or "
                "Basic authentication is switched on for it (Get-WebServicesVirtualDirectory).",
            )
        yield Remark("ok", f"answers; ways to log in: {', '.join(self.facts.schemes)}")

    def _login(self) -> Iterator[Remark]:
        """Try the ways in that are offered, so that it is known of each; a refused password by no other way."""
        wanted = self._options.auth
        ways = [_SCHEMES[scheme] for scheme in self.facts.schemes]
        if "kerberos" in ways and "ntlm" not in ways:
            ways.insert(ways.index("kerberos"), "ntlm")  # Negotiate takes NTLM too
        if wanted != "auto":
            ways = [wanted]
        refused: list[AlimailError] = []
        for way in ways:
            if way == "oauth" and wanted != "oauth":
                continue
            try:
                text = self._logged_in(way)
            except AlimailError as error:
                if way == "kerberos" and wanted != "kerberos":
                    yield Remark("note", f"Kerberos is offered, and not needed: {error}", error.remedy)
                else:
                    refused.append(error)
                    yield Remark("warning", f"{way}: {error}")
                continue
            if not self.facts.login:
                self.facts.login = way
                self._options = evolve(self._options, auth=way)
            yield Remark("ok", text)
        if not self.facts.login:
            if refused:
                raise LoginDenied("no way in", remedy=refused[0].remedy)
            raise Denied(
                "the server takes access tokens only",
                remedy="Use --auth oauth, and a secret that is a token.",
            )

    def _logged_in(self, way: Auth) -> str:
        """Log in and ask for something small. Raises what a session does."""
        session = self._session(evolve(self._options, auth=way))
        try:
            code = self._first_code(session, Who())
            self.facts.build = self.facts.build or session.server.build
        except Denied as denied:
            if isinstance(denied, LoginDenied) or not any(
                code in str(denied) for code in _NO_MAILBOX_OF_ITS_OWN
            ):
                raise
            self.facts.build = self.facts.build or session.server.build
            code = "ErrorMissingEmailAddress"
        finally:
            session.close()
        own = "" if code not in _NO_MAILBOX_OF_ITS_OWN else ", which has no mailbox of its own"
        user = kerberos.principal() if way == "kerberos" else self.wish.user
        return f"{way} as {user}{own}"

    def _product(self) -> Iterator[Remark]:
        build = self.facts.build
        self.facts.product = product(build)
        if is_online("", build) and not is_online(self._options.host, ""):
            yield self._online()
        yield Remark("ok", f"{self.facts.product}, build {build or 'not told'}")

    def _mailboxes(self) -> Iterator[Remark]:
        if not self.wish.mailboxes:
            yield Remark("note", "no mailbox was tried", "Give --roster FILE or --mailbox ADDRESS.")
        for address in _spread(self.wish.mailboxes, MAILBOXES):
            session = self._session_for(address)
            try:
                code = self._first_code(session, session.who)
            except AlimailError as error:
                yield Remark("fault", f"{address}: {error}", error.remedy)
                continue
            finally:
                self.facts.build = self.facts.build or session.server.build
                session.close()
            if code == "NoError":
                self._readable.append(address)
                yield Remark("ok", f"{address}: can be read ({self._options.access})")
            else:
                yield Remark("fault", f"{address}: the server said: {code}")

    def _speed(self) -> Iterator[Remark]:
        if not self._readable:
            return
        session = self._session_for(self._readable[0])
        try:
            ask = soap.get_folders([distinguished("inbox", session.who)])
            taken = [self._timed(lambda: list(session.ask(ask)))[0] for _ in range(_ROUND_TRIPS + 1)]
            self.facts.round_trip = statistics.median(taken[1:])  # the first one logs in
            yield Remark("ok", f"an answer takes {self.facts.round_trip * 1000:.0f} ms")
            yield self._throughput(session)
        finally:
            session.close()

    def _throughput(self, session: Session) -> Remark:
        for name in ("inbox", "sentitems", "deleteditems"):
            keys = keys_in(session, name)
            if not keys:
                continue
            ask = soap.get_items(keys, mime=True)
            seconds, answers = self._timed(lambda ask=ask: list(session.ask(ask)))  # type: ignore[misc]
            octets = sum(octets_of(answer) for answer in answers)
            self.facts.octets_per_second = octets / max(seconds, 1e-6)
            speed = self.facts.octets_per_second / 1_000_000
            return Remark(
                "ok", f"{len(keys)} messages, {octets:,} octets, at {speed:.1f} MB/s over one connection"
            )
        return Remark("note", "the mailbox has no mail to measure with")

    def _timed(self, work: Callable[[], list[Node]]) -> tuple[float, list[Node]]:
        began = self.clock.monotonic()
        done = work()
        return self.clock.monotonic() - began, done

    def _throttling(self) -> Iterator[Remark]:
        """Ask several times at once, as a migration does, and tell what the server thinks of it."""
        if not self._readable:
            return
        session = self._session_for(self._readable[0], _AT_ONCE)
        try:
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                answers = list(pool.map(lambda _: _pressed(session), range(_AT_ONCE)))
        finally:
            session.close()
        slowed = [answer for answer in answers if isinstance(answer, Throttled)]
        lost = [answer for answer in answers if answer is not None and not isinstance(answer, Throttled)]
        if slowed:
            pause = max((each.retry_after or 0 for each in slowed), default=0)
            asked = f", and asked to wait {pause:g} s" if pause else ""
            text = f"of {_AT_ONCE} requests at once the server refused {len(slowed)}{asked}: {slowed[0]}"
            yield Remark("warning", text, slowed[0].remedy)
        elif lost:
            yield Remark(
                "warning", f"of {_AT_ONCE} requests at once {len(lost)} failed: {lost[0]}", lost[0].remedy
            )
        else:
            yield Remark("ok", f"{_AT_ONCE} requests at once were answered, none was slowed down")

    # -- what they share

    def _session(self, options: EwsOptions) -> Session:
        return Session.open(options, Credentials(self.wish.user, self.wish.password), self.clock)

    def _session_for(self, address: str, connections: int = 1) -> Session:
        options = evolve(self._options, master_user=self.wish.user, mailbox_connections=connections)
        return Session.open(options, Credentials(address, self.wish.password), self.clock)

    def _first_code(self, session: Session, who: Who) -> str:
        """Ask for the inbox; return the response code. Raises the error that it stands for where it has a grade."""
        answer = next(iter(session.ask(soap.get_folders([distinguished("inbox", who)]))), None)
        if answer is None:
            raise Transient("the server gave no answer")
        saying = saying_of(answer)
        if saying.code in _NO_MAILBOX_OF_ITS_OWN and session.options.master_user is None:
            return saying.code
        if saying.code != "NoError" and (saying.code in CODES or saying.code == "ErrorAccessDenied"):
            raise grade(saying)
        return saying.code


def _hint(hint: autodiscover.Hint) -> Remark:
    if hint.fault:
        return Remark("note", f"{hint.where}: {hint.fault}")
    return Remark(
        "warning",
        f"{hint.where} leads to {hint.url}, which was not asked: anybody on the way can forge that",
        f"If you know that server, give it: --server {hint.url}",
    )


def _told(remarks: Iterator[Remark]) -> Iterator[Remark]:
    """Give remarks until an error ends them; then give the error as one."""
    try:
        yield from remarks
    except AlimailError as error:
        yield Remark("fault", str(error), error.remedy)


def _pressed(session: Session) -> AlimailError | None:
    try:
        for answer in session.ask(soap.get_folders([distinguished("inbox", session.who)])):
            saying = saying_of(answer)
            if saying.code != "NoError":
                return grade(saying)
    except AlimailError as error:
        return error
    return None


def _spread(addresses: Sequence[str], most: int) -> list[str]:
    """Return a few addresses from the beginning, the middle and the end: the same ones each time."""
    distinct = list(dict.fromkeys(addresses))
    if len(distinct) <= most:
        return distinct
    return [distinct[round(index * (len(distinct) - 1) / (most - 1))] for index in range(most)]
