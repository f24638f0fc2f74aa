"""Read what a domain publishes of its servers for mail programs: Mozilla's autoconfiguration, ``clientConfig`` 1.1.

Only over https, so that it is the domain itself that tells; no address is sent along. Nothing in a page can make it
costly to read: its size is bounded, and a document type, and with it every entity, is refused.
"""

from __future__ import annotations

import http.client
import ssl
import threading
import urllib.error
import urllib.request
from concurrent.futures import Future
from typing import IO, Final
from xml.parsers import expat

from attrs import define, field, frozen

from alimail_core.seam import Clock

MAX_OCTETS: Final = 256 * 1024
"""The most octets of a page; those that are published have a few thousand."""
SECONDS: Final = 15.0
"""How long a page may take to arrive."""
_STEP_SECONDS: Final = 5.0
_SERVERS: Final = frozenset({"incomingServer", "outgoingServer"})
_TOO_LONG: Final = "it takes too long to arrive"

__all__ = ["ISPDB", "NotPublished", "Published", "fetch", "pages", "servers"]

ISPDB: Final = "https://autoconfig.thunderbird.net/v1.1/{domain}"
"""Mozilla's own list of providers: whoever asks tells it the domain."""
_PAGES: Final = (
    "https://autoconfig.{domain}/mail/config-v1.1.xml",
    "https://{domain}/.well-known/autoconfig/mail/config-v1.1.xml",
)


class NotPublished(Exception):
    """A page that is not there, or none that can be used; the text says why."""


@frozen
class Published:
    """One server of a page, as it is written there."""

    service: str
    """``type``, such as ``imap``."""
    host: str
    port: str
    user: str
    """The user name's pattern, such as ``%EMAILADDRESS%``."""
    logins: tuple[str, ...]
    """The ways to log in, such as ``password-cleartext`` or ``OAuth2``."""


def pages(domain: str) -> list[str]:
    """Return where a domain would publish, in ASCII."""
    return [page.format(domain=domain) for page in _PAGES]


def fetch(url: str, context: ssl.SSLContext, clock: Clock, question: bytes | None = None) -> bytes:
    """Return a page; with ``question``, which is XML, what it is answered.

    Raises ``NotPublished``, also where a server sends on and on.
    """
    page: Future[bytes] = Future()
    # In a thread of its own, which is left alone then: a header that comes octet by octet begins the socket's
    # time-out anew with each.
    threading.Thread(
        target=_fetch, args=(page, url, context, clock, question), name="autoconfig", daemon=True
    ).start()
    try:
        return page.result(SECONDS)
    except TimeoutError:
        raise NotPublished(_TOO_LONG) from None


def _fetch(
    page: Future[bytes], url: str, context: ssl.SSLContext, clock: Clock, question: bytes | None
) -> None:
    try:
        page.set_result(_read(url, context, clock.monotonic() + SECONDS, clock, question))
    except BaseException as error:  # noqa: BLE001 - raised where the page is waited for, whatever it is
        page.set_exception(error)


def _read(url: str, context: ssl.SSLContext, end: float, clock: Clock, question: bytes | None) -> bytes:
    request = urllib.request.Request(url, question, {"Content-Type": "text/xml; charset=utf-8"})
    try:
        with _opener(context).open(request, timeout=_STEP_SECONDS) as response:
            octets = bytearray()
            while chunk := response.read1(64 * 1024):
                octets += chunk
                if len(octets) > MAX_OCTETS:
                    raise NotPublished(f"it has more than {MAX_OCTETS} octets")
                if clock.monotonic() > end:
                    raise NotPublished(_TOO_LONG)
            return bytes(octets)
    except urllib.error.HTTPError as error:
        error.close()
        raise NotPublished(f"it answers {error.code}") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NotPublished(_reason(error)) from None


def _reason(error: Exception) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {cause.verify_message}"
    if isinstance(cause, OSError):
        return cause.strerror or type(cause).__name__
    return str(cause) if isinstance(cause, str) else type(cause).__name__


def _opener(context: ssl.SSLContext) -> urllib.request.OpenerDirector:
    """Return what knows https and nothing else: a redirection to http, ftp or a file leads nowhere."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPSHandler(context=context),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.HTTPDefaultErrorHandler(),
        _Redirections(),
    ):
        opener.add_handler(handler)
    return opener


class _Redirections(urllib.request.HTTPRedirectHandler):
    max_redirections = 3

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        if not newurl.lower().startswith("https://"):
            fp.close()
            raise NotPublished("it leads away from https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def servers(page: bytes) -> list[Published]:
    """Return the servers that a page names, for incoming mail and outgoing (``smtp``). Raises ``NotPublished``."""
    reading = _Reading()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = reading.doctype
    parser.StartElementHandler = reading.begin
    parser.CharacterDataHandler = reading.text
    parser.EndElementHandler = reading.end
    try:
        parser.Parse(page, True)
    except (expat.ExpatError, LookupError, ValueError):  # the last two: an encoding that Python does not know
        raise NotPublished("it is no XML") from None
    if not reading.is_config:
        raise NotPublished("it is no clientConfig")
    return reading.found


@define
class _Reading:
    """A page being read: a server, where we are in one, and what its elements hold."""

    found: list[Published] = field(factory=list)
    is_config: bool = False
    _depth: int = 0
    _server: dict[str, list[str]] | None = None
    _words: list[str] = field(factory=list)

    def doctype(self, *_: object) -> None:
        raise NotPublished("it has a document type")

    def begin(self, name: str, attributes: dict[str, str]) -> None:
        if not self._depth:
            self.is_config = name == "clientConfig"
        self._depth += 1
        self._words = []
        if name in _SERVERS:
            self._server = {"type": [attributes.get("type", "")]}

    def text(self, words: str) -> None:
        self._words.append(words)

    def end(self, name: str) -> None:
        self._depth -= 1
        if self._server is None:
            return
        if name in _SERVERS:
            self._add(self._server)
            self._server = None
        else:
            self._server.setdefault(name, []).append("".join(self._words).strip())
        self._words = []

    def _add(self, server: dict[str, list[str]]) -> None:
        service, host, port, user = (
            server.get(name, [""])[0] for name in ("type", "hostname", "port", "username")
        )
        self.found.append(Published(service, host, port, user, tuple(server.get("authentication", ()))))
