"""The files of the add-in and the search behind a login, as an ASGI application."""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from alimail_core import AlimailError, Clock
from alimail_core.commands import printable
from alimail_outlook.addin.building import Site, site_files
from alimail_outlook.addin.login import HOURS, Check, Limit, Sessions
from alimail_outlook.addressbook.book import Book, fold

Answer: TypeAlias = Callable[[Request], Awaitable[Response]]

REFUSED_AFTER: Final = 3.0
"""Seconds before which no refusal is answered: an address that is nobody's, for which the mail server is not asked,
looks like one with another password."""

MOST_OCTETS: Final = 4096
"""Of what a login sends."""

COOKIE: Final = "__Host-alimail"
"""Browsers take a cookie with this prefix by TLS (or from loopback) and for this host alone (RFC 6265bis)."""

_MARK: Final = "x-alimail"
_AT_ONCE: Final = 8
_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "xml": "application/xml; charset=utf-8",
    "png": "image/png",
}

_log = logging.getLogger(__name__)


def application(
    site: Site, book: Book, check: Check, clock: Clock, *, refused_after: float = REFUSED_AFTER
) -> Starlette:
    """Return the application: files below the path of ``site.base``, the search below that of ``site.api``."""
    service = _Service(site, book, check, clock, refused_after)
    files, api = urlsplit(site.base).path, urlsplit(site.api).path
    routes = [
        Route(f"{files}/{name}", partial(_file, octets, _TYPES[name.rpartition(".")[2]], site.headers))
        for name, octets in site_files(site).items()
    ]
    verbs: dict[str, tuple[str, Answer]] = {
        "session": ("GET", service.session),
        "login": ("POST", service.log_in),
        "logout": ("POST", service.log_out),
        "people": ("GET", service.people),
    }
    for name, (method, verb) in verbs.items():
        routes.append(Route(f"{api}/{name}", partial(service.guarded, verb), methods=[method, "OPTIONS"]))
    return Starlette(routes=routes)


async def _file(octets: bytes, kind: str, headers: dict[str, str], _: Request) -> Response:
    return Response(octets, media_type=kind, headers=headers)


class _Service:
    """The search and its login."""

    def __init__(self, site: Site, book: Book, check: Check, clock: Clock, refused_after: float) -> None:
        self._site = site
        self._book = book
        self._check = check
        self._clock = clock
        self._refused_after = refused_after
        self._sessions = Sessions(clock)
        self._by_address = Limit(5, 900, clock)
        self._by_client = Limit(100, 900, clock)  # an office may have one address
        self._searches = Limit(120, 60, clock)
        self._threads: anyio.CapacityLimiter | None = None

    async def guarded(self, verb: Answer, request: Request) -> Response:
        """Answer the pane and nobody else.

        Another site can make a browser ask, with its cookie. It cannot send our header without a preflight, which
        only the pane's own origin passes (https://fetch.spec.whatwg.org/#cors-preflight-fetch).
        """
        origin = request.headers.get("origin")
        if origin is not None and origin != self._site.origin:
            response: Response = _fault(403)
        elif request.method == "OPTIONS":
            response = Response(status_code=204)
            response.headers["Access-Control-Allow-Methods"] = "GET, POST"
            response.headers["Access-Control-Allow-Headers"] = "content-type, x-alimail"
        elif _MARK not in request.headers:
            response = _fault(403)
        else:
            response = await verb(request)
        if origin == self._site.origin:
            response.headers["Access-Control-Allow-Origin"] = self._site.origin
            response.headers["Access-Control-Allow-Credentials"] = "true"
        response.headers["Cache-Control"] = "no-store"
        response.headers["Vary"] = "Origin"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    async def session(self, request: Request) -> Response:
        """Tell who is logged in."""
        return JSONResponse({"address": self._who(request)})

    async def people(self, request: Request) -> Response:
        """Search."""
        address = self._who(request)
        if address is None:
            return _fault(401)
        if not self._searches.allows(address):
            return _fault(429)
        self._searches.count(address)
        text = request.query_params.get("q", "")
        if not 0 < len(text) <= 100:
            return _fault(400)
        people, more = await anyio.to_thread.run_sync(self._book.search, text)
        return JSONResponse({"people": [each.told() for each in people], "more": more})

    async def log_out(self, request: Request) -> Response:
        """End the session."""
        self._sessions.end(request.cookies.get(COOKIE, ""))
        return _with_cookie(Response(status_code=204), "", 0)

    async def log_in(self, request: Request) -> Response:
        """Begin a session.

        Every refusal takes as long. An attempt counts before the server is asked, and no more when it was right.
        """
        login = await _login(request)
        if login is None:
            return _fault(400)
        address, password = login
        client = request.client.host if request.client else ""
        if not (self._by_address.allows(address) and self._by_client.allows(client)):
            return _fault(429)
        self._by_address.count(address)
        self._by_client.count(client)
        began = self._clock.monotonic()
        try:
            right = address in self._book and await self._asked(address, password)
        except AlimailError as error:
            _log.warning("the mail server cannot tell who may log in: %s", printable(str(error)))
            return _fault(503)
        if not right:
            await anyio.sleep(max(0.0, self._refused_after - (self._clock.monotonic() - began)))
            return _fault(401)
        self._by_address.forgive(address)
        self._by_client.forgive(client)
        return _with_cookie(JSONResponse({"address": address}), self._sessions.begin(address), HOURS * 3600)

    async def _asked(self, address: str, password: str) -> bool:
        self._threads = self._threads or anyio.CapacityLimiter(_AT_ONCE)
        return await anyio.to_thread.run_sync(self._check, address, password, limiter=self._threads)

    def _who(self, request: Request) -> str | None:
        """Return who is logged in and still in the address book: whoever left it, searches no more."""
        address = self._sessions.who(request.cookies.get(COOKIE, ""))
        return address if address is not None and address in self._book else None


async def _login(request: Request) -> tuple[str, str] | None:
    """Return address and password of a request, ``None`` where they are none."""
    octets = bytearray()
    try:
        async for part in request.stream():
            octets += part
            if len(octets) > MOST_OCTETS:
                return None
        told: Any = json.loads(octets)
    except (ValueError, RecursionError, ClientDisconnect):
        return None
    if not isinstance(told, dict):
        return None
    address, password = told.get("address"), told.get("password")
    if not isinstance(address, str) or not isinstance(password, str):
        return None
    whole = fold(address) and password and len(address) <= 254 and len(password) <= 256
    return (address.strip(), password) if whole and address.isprintable() and "\0" not in password else None


def _fault(status: int) -> Response:
    return Response(status_code=status)


def _with_cookie(response: Response, token: str, seconds: int) -> Response:
    """Set the session's cookie: out of scripts' reach, and apart for each site that frames the pane (CHIPS)."""
    response.headers["Set-Cookie"] = (
        f"{COOKIE}={token}; Max-Age={seconds}; Path=/; Secure; HttpOnly; SameSite=None; Partitioned"
    )
    return response
