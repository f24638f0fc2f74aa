"""An authenticated session with one mailbox: requests go out, records of answers come in, errors are graded.

exchangelib logs in and holds the connections (its protocol class, without its caches and without its waiting); what
goes over them is ours, because exchangelib holds whole answers in memory.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Final

import requests
from attrs import frozen
from exchangelib.protocol import BaseProtocol

from alimail_core import (
    AlimailError,
    Clock,
    Credentials,
    Denied,
    LoginDenied,
    Refused,
    Throttled,
    Transient,
)
from alimail_ews.answers import MalformedAnswer, Node, read_answer
from alimail_ews.attempts import first_try, password_id, was_refused
from alimail_ews.connections import connections, exchange, graded, reason_of, schemes_of
from alimail_ews.grades import (
    ADDRESS_REMEDY,
    LOGIN_REMEDY,
    NETLOGON_REMEDY,
    NO_VERSION,
    PUBLISHED_REMEDY,
    Saying,
    grade,
    saying_of,
)
from alimail_ews.kerberos import REFUSED_REMEDY
from alimail_ews.options import EwsOptions
from alimail_ews.soap import VERSIONS, Who, action, distinguished, envelope, get_folders

_PIECE: Final = 128 * 1024
"""Octets that are read at a time."""
_MAX_PAGE: Final = 64 * 1024
"""Octets of an answer to what is no operation."""


class Malformed(Transient):
    """An answer that cannot be read; the same request may fail again, and one that asks for less may not."""


class NotDone(Refused):
    """What the server will not do, which neither passes nor ends all; ``saying`` is what it says."""

    def __init__(self, saying: Saying, remedy: str) -> None:
        super().__init__(f"the server said: {saying.words}", remedy=remedy)
        self.saying = saying


def error_of(saying: Saying) -> AlimailError:
    """Return the error that an answer other than ``NoError`` stands for, with what was said where it is refused."""
    error = grade(saying)
    return NotDone(saying, error.remedy) if isinstance(error, Refused) else error


class _Fault(Exception):
    """A fault in place of an answer."""

    def __init__(self, saying: Saying) -> None:
        super().__init__(saying.words)
        self.saying = saying


@frozen
class Server:
    """What is known of the server that answers."""

    build: str = ""
    """Such as ``15.1.2507``; empty where it does not tell."""
    version: str = ""
    """The version of the schema that it says to speak."""


_spoken: dict[str, str] = {}
"""The version of requests that each server was found to take."""
_offers: dict[str, str] = {}
"""How to log in at each server, as it was found."""
_let_in: dict[bytes, int] = {}
"""Who was let in, in this process, and how often in a row not since."""
_PATIENCE: Final = 20
"""So often may a password be refused that was taken before, until it is believed that it is no good any more."""


class Session:
    """One mailbox, opened. ``ask`` may be called from several threads, as many as the options have connections."""

    def __init__(
        self,
        options: EwsOptions,
        who: Who,
        auth: str,
        protocol: BaseProtocol,
        login: bytes,
        password: bytes | None,
        clock: Clock,
    ) -> None:
        self.options = options
        self.who = who
        self.auth = auth
        self.server = Server()
        self._protocol = protocol
        self._login = login
        self._password = password
        self._clock = clock
        self._closed = False

    @classmethod
    def open(cls, options: EwsOptions, credentials: Credentials, clock: Clock | None = None) -> Session:
        """Find out how to log in. Nothing else is asked: the first request tells whether one is let in.

        Raises ``Transient``, ``Denied`` (certificate not trusted, no such server, no EWS there) or ``InputError``.
        """
        user, who = options.master_user or credentials.user, _who(options, credentials.user)
        password = "" if options.auth == "kerberos" else credentials.password()
        if any(ord(character) < 32 or ord(character) == 127 for character in user + password):
            raise Denied("the user name or the password has a control character in it", remedy="Correct it.")
        if options.tls == "none" and not options.may_be_plain:
            raise Denied(
                f"the password would go to {options.host} without encryption",
                remedy="Use tls = implicit; or say allow_plaintext_login = true as well.",
            )
        auth = options.auth if options.auth != "auto" else _offered(options)
        login = hashlib.sha256("\0".join((options.url, auth, user, password)).encode()).digest()
        tried = password_id(options.host, user, password) if auth in ("ntlm", "basic") else None
        made = connections(options, user, password, auth)
        return cls(options, who, auth, made, login, tried, clock or Clock())

    def ask(self, operation: str, swell: Callable[[int], None] = lambda _: None) -> Iterator[Node]:
        """Send an operation; give its response messages as they come, those included that tell of an error.

        ``swell`` is told the octets of a message that is being read, whenever they have grown. Raises ``Transient``,
        ``Throttled``, ``Denied``; ``NotDone`` for a fault that is none of these; ``Malformed`` for an answer that
        cannot be read.
        """
        known = _spoken.get(self.options.url)
        versions = VERSIONS[VERSIONS.index(known) :] if known else VERSIONS
        for version in versions:
            try:
                yield from self._asked(operation, version, swell)
            except _Fault as fault:
                code = fault.saying.code
                may_be_version = code in NO_VERSION or (known is None and code == "ErrorSchemaValidation")
                if not may_be_version or version == versions[-1]:
                    raise error_of(fault.saying) from None
            else:
                _spoken[self.options.url] = version
                return

    def page(self, octets: bytes) -> bytes:
        """Send octets as they are, to what stands beside EWS such as Autodiscover; return the XML that comes, 64 KiB
        at most. Raises ``Transient``, ``Throttled``, ``Denied``.
        """
        http = self._protocol.get_session()
        try:
            with contextlib.closing(self._post(http, octets)) as answer:
                return next(answer.iter_content(_MAX_PAGE), b"")
        except requests.RequestException as error:
            raise Transient(f"the connection was lost within an answer: {reason_of(error)}") from error
        finally:
            self._protocol.retire_session(http)

    @property
    def version(self) -> str:
        """Return the version that requests have; before the first answer the one that is tried first."""
        return _spoken.get(self.options.url, VERSIONS[0])

    def close(self) -> None:
        """Close the connections; those in use close when they are let go. Idempotent; never raises."""
        self._closed = True
        with contextlib.suppress(Exception):
            self._protocol.close()

    def _asked(self, operation: str, version: str, swell: Callable[[int], None]) -> Iterator[Node]:
        http = self._protocol.get_session()
        octets = envelope(operation, version, self.who)
        is_sound = False
        try:
            with contextlib.closing(self._post(http, octets, {"SOAPAction": action(operation)})) as answer:
                yield from self._records(answer, swell)
            is_sound = True
        finally:
            # What was left unread must not be taken for the answer to the next question.
            if is_sound and not self._closed:
                self._protocol.release_session(http)
            else:
                self._protocol.retire_session(http)

    def _post(
        self, http: requests.Session, octets: bytes, headers: Mapping[str, str] | None = None
    ) -> requests.Response:
        """Send a request; return an answer that may be read."""
        if self._password is None or self._login in _let_in:
            return self._posted(http, octets, headers)
        with first_try(self._password, self._clock, self.options.timeout):
            return self._posted(http, octets, headers)

    def _posted(
        self, http: requests.Session, octets: bytes, headers: Mapping[str, str] | None
    ) -> requests.Response:
        anchor = self.who.impersonated or self.who.mailbox or ""
        # It only says where the mailbox may be near, and a header field holds ASCII.
        near = {"X-AnchorMailbox": anchor} if anchor and anchor.isascii() else {}
        headers = {"X-PreferServerAffinity": "true", **near, **(headers or {})}
        answer = exchange(self.options, http, octets, headers)
        try:
            if answer.status_code == 401:
                raise self._refusal()
            if answer.status_code not in (200, 500):
                raise graded(answer)
            # Without the field one may look oneself (RFC 9110 §8.3).
            if "xml" not in answer.headers.get("Content-Type", "xml").lower():
                if answer.status_code == 500:
                    raise graded(answer)
                raise Denied("the server answered with something else than XML", remedy=PUBLISHED_REMEDY)
        except BaseException:
            answer.close()
            raise
        _let_in[self._login] = 0
        return answer

    def _refusal(self) -> AlimailError:
        """Return what a 401 means: nobody, or nobody now. It is what a busy domain controller causes as well."""
        if self.auth == "oauth" and self._login in _let_in:
            return Transient(
                "the server does not take the access token any more", remedy="A new one is asked for."
            )
        failures = _let_in.get(self._login, _PATIENCE) + 1
        if failures > _PATIENCE:
            _let_in.pop(self._login, None)
            if self._password is not None:
                was_refused(self._password, self._clock)
            remedy = REFUSED_REMEDY if self.auth == "kerberos" else LOGIN_REMEDY
            return LoginDenied("the server refused the login (HTTP 401)", remedy=remedy)
        _let_in[self._login] = failures
        return Throttled(
            "the server refused a login that it had taken before (HTTP 401)", remedy=NETLOGON_REMEDY
        )

    def _records(self, answer: requests.Response, swell: Callable[[int], None]) -> Iterator[Node]:
        try:
            for node in read_answer(answer.iter_content(_PIECE), swell):
                if node.name == "Fault":
                    raise _Fault(saying_of(node))
                if node.name == "ServerVersionInfo":
                    self.server = _server(node)
                elif node.name.endswith("ResponseMessage"):
                    yield node
        except MalformedAnswer as error:
            raise Malformed(str(error)) from None
        except requests.RequestException as error:
            raise Transient(f"the connection was lost within an answer: {reason_of(error)}") from error


def _who(options: EwsOptions, user: str) -> Who:
    """Return whose mailbox it is, and how it is got into."""
    mailbox = options.mailbox or (user if options.master_user else None)
    if mailbox is None:
        return Who()
    if "@" not in mailbox:
        raise Denied("the mailbox to open is not named by its address", remedy=ADDRESS_REMEDY)
    return Who(impersonated=mailbox) if options.access == "impersonation" else Who(mailbox=mailbox)


def _offered(options: EwsOptions) -> str:
    """Ask the server how one may log in, and choose. Raises what ``Session.open`` does."""
    if options.url not in _offers:
        _offers[options.url] = _choose(options)
    return _offers[options.url]


def _choose(options: EwsOptions) -> str:
    # A whole request: there are servers that look at what is asked before they look at who asks.
    operation = get_folders([distinguished("inbox", Who())])
    request = envelope(operation, VERSIONS[-1], Who())
    protocol = connections(options, "", "", "none")
    http = protocol.get_session()
    try:
        with contextlib.closing(
            exchange(options, http, request, {"SOAPAction": action(operation)})
        ) as answer:
            if answer.status_code not in (200, 400, 401, 500):
                raise graded(answer)
            told = answer.headers.get("WWW-Authenticate", "")
    finally:
        http.close()
    schemes = schemes_of(told)
    if "ntlm" in schemes:
        return "ntlm"
    if "basic" in schemes:
        return "basic"
    if "negotiate" in schemes:
        return "ntlm"
    if "bearer" in schemes:
        raise Denied(
            "the server takes access tokens only",
            remedy="Use auth = oauth, and a secret such as command:PROGRAM that prints a token.",
        )
    raise Denied("the server offers no way to log in that we know", remedy=PUBLISHED_REMEDY)


def _server(node: Node) -> Server:
    told = node.attributes
    names = ("MajorVersion", "MinorVersion", "MajorBuildNumber", "MinorBuildNumber")
    numbers = [told.get(name, "") for name in names]
    return Server(
        ".".join(numbers) if all(number.isdecimal() for number in numbers) else "",
        told.get("Version", "")[:40],
    )
