"""Calls of the API: token, pace, pages, and what each answer means; used by many threads.

=====================  ==========================================================================================
answer                 is
=====================  ==========================================================================================
401                    a token that has ended: renewed once, by whoever meets it first
429                    no call at all: all threads pause for as long as it says, and it is made again
403                    ``Denied``, with the permission that the application lacks
404, 409               ``NotThere`` and ``Exists``, both ``Refused``
other 4xx              ``Refused``, with the server's own words
5xx, or none           of a call that writes ``InDoubt``, of one that reads ``Transient``
no connection          ``Transient``: nothing was sent
=====================  ==========================================================================================
"""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, Never, TypeAlias

import httpx

from alimail_core import Clock, Denied, InDoubt, InputError, LoginDenied, Refused, Throttled, Transient
from alimail_directory.api import ITEMS, PAGE, TOKEN_PATH, Call
from alimail_directory.limiter import limiter_of
from alimail_directory.options import ApiOptions, is_loopback

Json: TypeAlias = dict[str, Any]

LARGEST: Final = 16 * 1024 * 1024
"""Of an answer, in octets."""

LONGEST_PAUSE: Final = 20.0
"""Seconds that are waited here when the server asks for it. Whatever is longer is the engine's to wait: it can be
interrupted."""

PAUSES: Final = 8
"""How often one call may be put off."""

MOST_PAGES: Final = 100_000


class NotThere(Refused):
    """The server has no such thing."""


class Exists(Refused):
    """The server has such a thing already."""


class Client:
    """One application's way into one organisation. ``close`` it."""

    def __init__(self, options: ApiOptions, clock: Clock) -> None:
        """Begin nothing yet. Raises ``InputError`` for a file of certificates that is none."""
        self._options = options
        self._clock = clock
        self._limiter = limiter_of(options.base_url, options.calls_per_second, clock)
        self._http = _http(options)
        self._token = ""
        self._renewing = threading.Lock()

    def close(self) -> None:
        """Let go of all connections. Idempotent."""
        self._http.close()

    def log_in(self) -> None:
        """Get a token. Raises ``LoginDenied`` where id or secret are wrong, ``Transient`` where nobody is there."""
        self._renew("")

    def call(
        self,
        call: Call,
        *names: str,
        query: Mapping[str, int] | None = None,
        body: Json | None = None,
    ) -> Json:
        """Make a call and return its answer; see above for what it raises."""
        renewed, pauses = False, 0
        while True:
            token = self._token or self._renew("")
            headers = {"Authorization": f"bearer {token}"}
            answer = self._ask(call, call.at(*names), headers=headers, params=query, json=body)
            if answer.status == 401 and not renewed:
                renewed = True
                self._renew(token)
            elif answer.status == 429:
                pauses += 1
                self._put_off(answer, pauses)
            else:
                return self._judged(call, answer, body or {})

    def pages(self, call: Call, *names: str) -> Iterator[Json]:
        """Give every item of a listing. What is listed twice, since others make things meanwhile, comes twice."""
        offset, total = 0, 1
        for _ in range(MOST_PAGES):
            page = self.call(call, *names, query={"offset": offset, "limit": PAGE})
            items = listed(page, call)
            yield from items
            offset += len(items)
            total = number(page.get("total"), offset + (1 if len(items) == PAGE else 0))
            if not items or offset >= total:
                return
        raise Transient(f"the listing {call.path} does not end")

    def _ask(self, call: Call, path: str, **request: Any) -> _Answer:
        """Send one request when its moment has come, and read its answer. Raises for none."""
        self._limiter.wait()
        try:
            with self._http.stream(call.method, path, **request) as response:
                return _Answer(response.status_code, response.headers, _bounded(response))
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError) as error:
            raise Transient(f"no connection to {self._options.base_url}: {_why(error)}") from None
        except httpx.TransportError as error:
            self._lost(call, f"no answer from {self._options.base_url}: {_why(error)}")

    def _lost(self, call: Call, message: str) -> Never:
        raise InDoubt(message) if call.writes else Transient(message)

    def _put_off(self, answer: _Answer, pauses: int) -> None:
        """Let all threads pause. Raises ``Throttled`` where that is too long, or has been too often."""
        told = retry_after(answer.headers.get("Retry-After"), self._clock.now())
        seconds = told if told is not None else min(2.0 ** (pauses - 1), LONGEST_PAUSE)
        if seconds > LONGEST_PAUSE or pauses > PAUSES:
            raise Throttled(f"the API asks for a slower pace: {answer.words()}", retry_after=seconds)
        self._limiter.pause(seconds)

    def _judged(self, call: Call, answer: _Answer, body: Json) -> Json:
        if 200 <= answer.status < 300:
            if answer.json is None and not (call.writes and not answer.octets):
                self._lost(call, f"what answered is not the API: {answer.status} and no JSON")
            return answer.json or {}
        if answer.status < 400:
            remedy = "See `region` and `url` in [provision], and a proxy on the way."
            raise Denied(f"{self._options.base_url} is not the API: {answer.status}", remedy=remedy)
        words = answer.words(hide=str(body.get("password", "")))
        if answer.status == 401:
            raise LoginDenied(f"the API refuses a new token: {words}", remedy=APPLICATION_REMEDY)
        if answer.status == 403:
            remedy = f"Allow the application to {call.permission}, in the console at API Open Platform."
            raise Denied(f"the application may not {call.permission}: {words}", remedy=remedy)
        if answer.status >= 500 or answer.status == 408:
            self._lost(call, f"the API failed: {words}")
        raise _REFUSALS.get(answer.status, Refused)(words)

    def _renew(self, old: str) -> str:
        """Return a token other than ``old``; only the first thread that finds ``old`` ended asks for one."""
        with self._renewing:
            if self._token == old:
                self._token = self._new_token()
            return self._token

    def _new_token(self) -> str:
        form = {
            "grant_type": "client_credentials",
            "client_id": self._options.application_id.get(),
            "client_secret": self._options.application_secret.get(),
        }
        for pauses in range(1, PAUSES + 2):
            answer = self._ask(_TOKEN, TOKEN_PATH, data=form)
            if answer.status != 429:
                break
            self._put_off(answer, pauses)
        token = (answer.json or {}).get("access_token")
        if answer.status == 200 and isinstance(token, str) and token:
            return token
        words = answer.words(hide=form["client_secret"])
        if 400 <= answer.status < 500:
            raise LoginDenied(f"the API lets the application not in: {words}", remedy=APPLICATION_REMEDY)
        raise Transient(f"the API gives no token: {words}")


APPLICATION_REMEDY: Final = (
    "See application_id and application_secret in [provision], and in the console, Advanced Features, API Open "
    "Platform, whether the application is still there. The free edition has no API; another site than the region's "
    "knows other applications."
)

_TOKEN: Final = Call("POST", TOKEN_PATH, "")
_REFUSALS: Final[Mapping[int, type[Refused]]] = {404: NotThere, 409: Exists}


class _Answer:
    """An answer, read whole."""

    def __init__(self, status: int, headers: Mapping[str, str], octets: bytes) -> None:
        self.status, self.headers, self.octets = status, headers, octets
        self.json: Json | None = None
        with suppress(ValueError, RecursionError):
            made = json.loads(octets)
            self.json = made if isinstance(made, dict) else None

    def words(self, hide: str = "") -> str:
        """Return the status with the server's own words for people, without ``hide``, which a server may repeat."""
        told = self.json or {}
        keys = ("detailErrorCode", "error", "message", "error_description", "developerMessage")
        parts = list(dict.fromkeys(str(told[key]) for key in keys if told.get(key)))
        text = ": ".join([str(self.status), *parts])
        if hide:
            text = text.replace(hide, "***")
        return " ".join(text[:500].split())


def listed(answer: Json, call: Call) -> list[Json]:
    """Return the items of a listing's answer. Raises ``Transient`` where they are none."""
    items: object = next((answer[name] for name in ITEMS[call] if name in answer), [])
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise Transient(f"the API answered {call.path} with something that is no listing")
    return items


def number(value: object, default: int) -> int:
    """Return a number that may have come as a string, as 64-bit integers do."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        return default
    try:
        return int(value)
    except ValueError:
        return default


def retry_after(value: str | None, now: datetime) -> float | None:
    """Return the seconds of a Retry-After (RFC 9110 §10.2.3): a number or a date; ``None`` where it is neither."""
    if value is None:
        return None
    if value.strip().isdecimal() and len(value) < 10:
        return float(value)
    try:
        due = parsedate_to_datetime(value)
    except ValueError:
        return None
    due = due if due.tzinfo else due.replace(tzinfo=UTC)
    return max(0.0, (due - now).total_seconds())


def _http(options: ApiOptions) -> httpx.Client:
    try:  # reading the system's certificates takes longer than many a call
        trusts = options.base_url.startswith("https:") and ssl.create_default_context(cafile=options.ca)
    except (OSError, ssl.SSLError):
        raise InputError(
            f"{options.ca} is not a file of certificates", remedy="see `ca` in [provision]"
        ) from None
    here = is_loopback(httpx.URL(options.base_url).host)
    return httpx.Client(
        base_url=options.base_url,
        verify=trusts,
        timeout=options.timeout,
        limits=httpx.Limits(max_connections=options.connections + 1, keepalive_expiry=4.0),
        trust_env=not here,  # a proxy of the environment leads elsewhere
        headers={"User-Agent": "alimail"},
    )


def _bounded(response: httpx.Response) -> bytes:
    parts, size = [], 0
    for part in response.iter_bytes():
        size += len(part)
        if size > LARGEST:
            raise httpx.ReadError("an answer without an end")
        parts.append(part)
    return b"".join(parts)


def _why(error: Exception) -> str:
    return " ".join(str(error)[:200].split()) or type(error).__name__
