"""What can go wrong between a client and Exchange, made to happen to the requests that a test names."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from attrs import define, field, frozen

from tests.exchange.soap import Answer, Failure, Refusal


@frozen
class Instead:
    """The operation is not carried out; this is answered. A ``Refusal`` becomes the SOAP fault of it."""

    answer: Answer | Refusal


@frozen
class Delivery:
    """The operation is carried out, and its answer goes wrong on its way.

    The octets are those of the body; -1: not even the status line is sent.
    """

    cut: int | None = None
    """Close the connection after so many octets."""
    stall: int | None = None
    """Say nothing more after so many octets, until the client goes or the server ends."""
    trickle: int | None = None
    """Say a space now and then after so many octets, 5,000 times, and then nothing more."""
    piece: int | None = None
    """Send in pieces of so many octets, each by itself."""


@frozen
class InMessages:
    """The operation is carried out, but response messages of its answer, all or some, say that they failed."""

    code: str
    values: Mapping[str, str] = field(factory=dict)
    only: frozenset[int] | None = None
    """Numbers of the messages, counted from 0."""

    def failure(self, number: int) -> Failure | None:
        """Return what is said instead of a message."""
        if self.only is not None and number not in self.only:
            return None
        return Failure(self.code, "The operation failed. Try again later.", self.values)


Fault = Instead | Delivery | InMessages

LOST: Final = Delivery(cut=-1)
"""The request was carried out; the connection ends without a word."""


def busy(milliseconds: int | None = 100) -> Instead:
    """Throttled: ``ErrorServerBusy``, with how long to stay away, or without where ``None``."""
    words = "The server cannot service this request right now. Try again later."
    values = {} if milliseconds is None else {"BackOffMilliseconds": str(milliseconds)}
    return Instead(Refusal("ErrorServerBusy", words, values))


def refused(code: str, words: str = "An internal server error occurred. The operation failed.") -> Instead:
    """Any other SOAP fault."""
    return Instead(Refusal(code, words))


def terse(code: str, words: str = "E-3051: no more is told", status: int = 200) -> Instead:
    """A SOAP fault as grommunio has it: without a detail, and with the code where SOAP has Client or Server."""
    told = f"<faultcode>{code}</faultcode><faultstring>{words}</faultstring>"
    begin = '<SOAP:Envelope xmlns:SOAP="http://schemas.xmlsoap.org/soap/envelope/"><SOAP:Header/><SOAP:Body>'
    text = f"{begin}<SOAP:Fault>{told}</SOAP:Fault></SOAP:Body></SOAP:Envelope>"
    return Instead(Answer(status, text.encode()))


def too_many_objects() -> Instead:
    """Too many folders or items are open in this session."""
    return refused("ErrorTooManyObjectsOpened", "Too many objects opened.")


def http(status: int, *, retry_after: str | None = None, body: bytes = b"") -> Instead:
    """An answer of the web server or of a load balancer before it: 503 with ``Retry-After``, 401, 302 …"""
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return Instead(Answer(status, body, headers, "text/html"))


def garbage(octets: bytes = b"<?xml version='1.0'?><s:Envelope xmlns:s='no") -> Instead:
    """Octets that are no XML, or no end of it, with status 200."""
    return Instead(Answer(200, octets))


def entity_bomb() -> Instead:
    """Entities that would grow to gigabytes where a parser unfolds them."""
    grow = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    return garbage(f'<?xml version="1.0"?><!DOCTYPE e [<!ENTITY e0 "ha">{grow}]><e>&e9;</e>'.encode())


def outside_entity(url: str) -> Instead:
    """An entity that would have a parser read a file or ask another server."""
    return garbage(f'<?xml version="1.0"?><!DOCTYPE e [<!ENTITY x SYSTEM "{url}">]><e>&x;</e>'.encode())


def huge(octets: int) -> Instead:
    """A well-formed document without end, for those that read whole answers into memory."""
    return garbage(b"<?xml version='1.0'?><e>" + b"x" * octets + b"</e>")


@define
class _Strike:
    fault: Fault
    when: Callable[[str, str | None], bool]
    left: float
    skip: int


@define
class Faults:
    """What shall go wrong, in the order in which it was told; one request suffers one fault."""

    struck: int = 0
    """How many requests have suffered one."""
    _strikes: list[_Strike] = field(factory=list)
    _lock: threading.Lock = field(factory=threading.Lock)

    def add(
        self,
        fault: Fault,
        *,
        operation: str | None = None,
        mailbox: str | None = None,
        times: float = 1,
        skip: int = 0,
    ) -> None:
        """Let requests of an operation (``None``: of any), made for a mailbox's address, go wrong.

        ``skip`` so many first, then ``times`` many (``float("inf")``: all).
        """

        def when(asked: str, address: str | None) -> bool:
            return operation in (None, asked) and mailbox in (None, address)

        with self._lock:
            self._strikes.append(_Strike(fault, when, times, skip))

    def clear(self) -> None:
        """Let nothing more go wrong."""
        with self._lock:
            self._strikes.clear()

    def next(self, operation: str, mailbox: str | None) -> Fault | None:
        """Return what shall happen to this request."""
        with self._lock:
            for strike in self._strikes:
                if strike.left <= 0 or not strike.when(operation, mailbox):
                    continue
                if strike.skip > 0:
                    strike.skip -= 1
                    continue
                strike.left -= 1
                self.struck += 1
                return strike.fault
        return None


def pieces(octets: bytes, size: int) -> Iterator[bytes]:
    """Cut octets into pieces."""
    for begin in range(0, len(octets), size):
        yield octets[begin : begin + size]
