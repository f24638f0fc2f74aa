"""The cookie by which Exchange's front end finds a mailbox's back end, and what happens when it is old."""

from __future__ import annotations

from http.cookies import CookieError, SimpleCookie

from attrs import define, frozen

from tests.exchange.store import Mailbox

NAME = "X-BackEndCookie"


@frozen
class Routed:
    """What became of one request at the front end."""

    cookies: tuple[str, ...]
    served: bool = True


@define
class Affinity:
    """Hands cookies out and reads them again."""

    strict: bool = False
    """A cookie that has expired costs the request: 503, with a new cookie. Otherwise the front end finds its way."""
    epoch: int = 1
    strays: int = 0
    """Requests that came with a cookie of another mailbox or of another time."""
    followed: int = 0
    """Requests that came with the right cookie."""

    def expire(self) -> None:
        """Move every mailbox to another back end: the cookies that are about are of no use."""
        self.epoch += 1

    def route(self, header: str, mailbox: Mailbox | None) -> Routed:
        """Find the back end for a request."""
        if mailbox is None:
            return Routed(())
        wanted = f"{mailbox.sid}~{self.epoch}"
        shown = _cookie(header)
        if shown == wanted:
            self.followed += 1
            return Routed(())
        self.strays += shown is not None
        new = f"{NAME}={wanted}; path=/EWS; secure; HttpOnly"
        return Routed((new,), served=shown is None or not self.strict)


def _cookie(header: str) -> str | None:
    try:
        found = SimpleCookie(header).get(NAME)
    except CookieError:
        return None
    return None if found is None else found.value
