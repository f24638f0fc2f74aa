"""The ways in: NTLM and Kerberos for real, Basic, tokens; which a server offers, and what it says when it refuses."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from attrs import define, evolve, field

from tests.exchange.ntlm import Handshake, NotProven, channel_bindings
from tests.exchange.organisation import Account, Organisation
from tests.exchange.soap import Answer
from tests.exchange.wire import HttpRequest, Session

_NTLM = base64.b64encode(b"NTLMSSP").decode()[:8]
"""How a token of NTLM begins."""


@define(eq=False)
class Door:
    """Lets accounts in. One who is in by NTLM stays in for as long as the connection lasts."""

    organisation: Organisation
    schemes: Sequence[str] = ("NTLM", "Basic")
    """What is offered, best first: ``Negotiate`` (NTLM, Kerberos by ``keytab``), ``NTLM``, ``Basic``, ``Bearer``."""
    takes: Sequence[str] | None = None
    """Which of them lead in; ``None``: all that are offered."""
    keytab: Path | None = None
    """The keys of the services for which tickets are taken."""
    prove: Callable[[bytes], bytes] = bytes
    """Makes what is sent as the server's proof to one with a ticket, of what it should be; nothing where empty."""
    tokens: Mapping[str, str] = field(factory=dict, repr=False)
    """OAuth access token -> login."""
    extended_protection: bool = False
    """A login over TLS must be bound to the server's certificate, as Exchange 2019 and SE want it by default."""
    handshakes: int = 0
    """How many NTLM handshakes were begun: what MaxConcurrentApi is about."""
    wrong: int = 0
    """How many wrong passwords came, by whatever way: what locks an account."""
    refusals: int = 0
    """How many requests were answered with 401."""

    def enter(self, request: HttpRequest, session: Session) -> Account | Answer:
        """Return who it is, or what to say instead."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if not token:
            return self._known(session) or self.refuse()
        offered = {name.lower() for name in (self.schemes if self.takes is None else self.takes)}
        if scheme.lower() not in offered:
            return self.refuse()
        if scheme.lower() == "negotiate" and self.keytab is not None and not token.startswith(_NTLM):
            return self._kerberos(token, self.keytab, session)
        if scheme.lower() in ("ntlm", "negotiate"):
            return self._ntlm(scheme, token, session)
        if scheme.lower() == "bearer":
            return self.organisation.account(self.tokens.get(token, "")) or self.refuse()
        return self._basic(token)

    def refuse(self, *challenges: str) -> Answer:
        """Return a 401 with the ways that are offered, or with one handshake's next token."""
        self.refusals += 1
        return Answer(
            401,
            b"",
            content_type="text/html",
            many=tuple(("WWW-Authenticate", challenge) for challenge in challenges or self._offers()),
        )

    def _offers(self) -> list[str]:
        more = {
            "Basic": f'Basic realm="exch.{self.organisation.domain}"',
            "Bearer": 'Bearer client_id="00000002-0000-0ff1-ce00-000000000000", token_types="app_asserted_user_v1"',
        }
        return [more.get(scheme, scheme) for scheme in self.schemes]

    def _known(self, session: Session) -> Account | None:
        return None if session.login is None else self.organisation.account(session.login)

    def _ntlm(self, scheme: str, token: str, session: Session) -> Account | Answer:
        try:
            octets = base64.b64decode(token, validate=True)
            if session.handshake is None:
                self.handshakes += 1
                session.login = None
                session.handshake = Handshake(
                    self.organisation.netbios,
                    self.organisation.domain,
                    self._password,
                    channel_bindings(session.end_point)
                    if self.extended_protection and session.end_point
                    else None,
                )
                challenge = session.handshake.challenge(octets)
                return self.refuse(f"{scheme} {base64.b64encode(challenge).decode()}")
            handshake, session.handshake = session.handshake, None
            session.login = handshake.prove(octets)
        except (ValueError, NotProven):
            self.wrong += 1
            session.handshake = session.login = None
            return self.refuse()
        return self._known(session) or self.refuse()

    def _kerberos(self, token: str, keytab: Path, session: Session) -> Account | Answer:
        from tests.exchange.negotiate import accept  # only who asks for it needs the GSSAPI

        session.login = None
        try:
            bound_to = session.end_point if self.extended_protection else None
            session.login, session.proof = accept(base64.b64decode(token, validate=True), keytab, bound_to)
        except (ValueError, NotProven):
            return self.refuse()
        return self._known(session) or self.refuse()

    def proven(self, answer: Answer, proof: bytes) -> Answer:
        """Put the server's own proof into an answer."""
        if not (shown := self.prove(proof)):
            return answer
        told = ("WWW-Authenticate", f"Negotiate {base64.b64encode(shown).decode()}")
        return evolve(answer, many=(*answer.many, told))

    def _password(self, user: str, domain: str) -> str | None:
        account = self.organisation.account(f"{domain}\\{user}" if domain and "@" not in user else user)
        return None if account is None else account.password

    def _basic(self, token: str) -> Account | Answer:
        try:
            login, _, password = base64.b64decode(token, validate=True).decode().partition(":")
        except ValueError:
            return self.refuse()
        account = self.organisation.account(login)
        if account is not None and account.password == password:
            return account
        self.wrong += 1
        return self.refuse()
