"""Who may search: a login that the organisation's mail server vouches for, and a session after it.

No password is kept, here or anywhere: the mail server is asked, and people use what they know.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final, Protocol

from attrs import frozen

from alimail_core import (
    Clock,
    Credentials,
    Fault,
    InputError,
    LoginDenied,
    Registry,
    ServerOptions,
    parse_url,
)
from alimail_outlook.addressbook.book import fold

HOURS: Final = 12
"""How long a session lasts: a working day."""

MOST_SESSIONS: Final = 20_000
MOST_COUNTED: Final = 20_000
"""How many keys a limit remembers; the oldest make room."""


class Check(Protocol):
    """Asks whether a password is right. It blocks; it raises ``AlimailError`` where nobody can tell."""

    def __call__(self, address: str, password: str) -> bool:
        """Tell whether somebody gets in."""
        ...


def mail_server(url: str, registry: Registry, clock: Clock) -> Check:
    """Return a check at a mail server, such as ``imap://imap.example.com``.

    How to get in is found at once (``tls = auto``), so a server that cannot be reached or trusted is told before
    anything is served. Raises ``InputError``, ``PluginError``, or what the plug-in's ``probe`` raises.
    """
    scheme, mark, rest = url.partition("://")
    if not mark or "@" in rest:
        raise InputError("no login", [Fault("--login", "it is no server", "write imap://imap.example.com")])
    endpoint, _ = parse_url(f"{scheme}://anybody@{rest}", registry, "source")
    kind = registry.source(endpoint.kind)
    options = endpoint.options
    if kind.probe is not None and isinstance(options, ServerOptions) and options.tls == "auto":
        options = kind.probe(options)

    def check(address: str, password: str) -> bool:
        try:
            with kind.open(options, Credentials(address, lambda: password), clock):
                return True
        except LoginDenied:
            return False

    return check


@frozen
class Session:
    """Somebody who is logged in, until a moment of the monotonic clock."""

    address: str
    ends: float


class Sessions:
    """Sessions by the SHA-256 of their token: no comparison tells by its time how near a guess was."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._open: OrderedDict[bytes, Session] = OrderedDict()

    def begin(self, address: str) -> str:
        """Begin a session and return its token, which nobody can guess."""
        token = secrets.token_urlsafe(32)
        self._open[_digest(token)] = Session(address, self._clock.monotonic() + HOURS * 3600)
        while len(self._open) > MOST_SESSIONS:
            self._open.popitem(last=False)
        return token

    def who(self, token: str) -> str | None:
        """Return whose session it is, ``None`` where it is none or over."""
        session = self._open.get(_digest(token))
        if session is None:
            return None
        if session.ends <= self._clock.monotonic():
            self.end(token)
            return None
        return session.address

    def end(self, token: str) -> None:
        """End a session, if it is one."""
        self._open.pop(_digest(token), None)


class Limit:
    """At most ``count`` in ``seconds`` for each key, such as an address."""

    def __init__(self, count: int, seconds: float, clock: Clock) -> None:
        self._count = count
        self._seconds = seconds
        self._now: Callable[[], float] = clock.monotonic
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def allows(self, key: str) -> bool:
        """Tell whether one more is allowed, without counting it."""
        times = self._times.get(fold(key), deque())
        while times and times[0] <= self._now() - self._seconds:
            times.popleft()
        return len(times) < self._count

    def count(self, key: str) -> None:
        """Count one."""
        key = fold(key)
        self._times.setdefault(key, deque()).append(self._now())
        self._times.move_to_end(key)
        while len(self._times) > MOST_COUNTED:
            self._times.popitem(last=False)

    def forgive(self, key: str) -> None:
        """Take one back that was counted."""
        if times := self._times.get(fold(key)):
            times.pop()


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
