"""HTTP/1.1 as the server speaks it: one thread for each connection, and no more than EWS clients need."""

from __future__ import annotations

import gzip
import select
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Final, Protocol

from attrs import define, evolve, field, frozen

from tests.exchange.faults import Delivery, pieces
from tests.exchange.ntlm import Handshake
from tests.exchange.soap import Answer

_LINE: Final = 65_536
_CHUNK: Final = 1 << 20


@frozen
class HttpRequest:
    """What arrived, with its header's names in small letters."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


@define(eq=False)
class Session:
    """What the server knows of one connection: NTLM proves a connection, not a request."""

    end_point: bytes | None = None
    """With TLS: what a login can be bound to."""
    handshake: Handshake | None = None
    login: str | None = None
    proof: bytes | None = None
    """What the next answer brings, so that the client can tell that it is the right server."""


Respond = Callable[[HttpRequest, Session], tuple[Answer, Delivery | None]]


class Settings(Protocol):
    """What of the server's settings matters on the wire."""

    chunked: bool
    compress: bool


class Broken(Exception):
    """The client went away, or sends what is not HTTP."""


@define(eq=False)
class Connection:
    """One client's connection, from its first request to its end."""

    sock: socket.socket
    session: Session
    respond: Respond
    settings: Settings
    over: threading.Event
    _buffer: bytearray = field(factory=bytearray)

    def serve(self) -> None:
        """Answer requests until either side has enough."""
        try:
            while (request := self._read()) is not None:
                answer, delivery = self.respond(request, self.session)
                close = request.headers.get("connection", "").lower() == "close"
                answer = self._compressed(answer, request)
                if not self._write(answer, delivery or Delivery(), close=close) or close:
                    return
        except (OSError, Broken):
            return

    # -- reading

    def _read(self) -> HttpRequest | None:
        line = self._line()
        if not line:
            return None
        try:
            method, path, _ = line.decode("latin-1").split(" ", 2)
        except ValueError as error:
            raise Broken(line) from error
        headers: dict[str, str] = {}
        while field_line := self._line():
            name, _, value = field_line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        if headers.get("expect", "").lower() == "100-continue":
            self.sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        return HttpRequest(method, path, headers, self._body(headers))

    def _body(self, headers: Mapping[str, str]) -> bytes:
        if headers.get("transfer-encoding", "").lower() != "chunked":
            return self._exactly(int(headers.get("content-length", "0")))
        parts = []
        while size := int(self._line().split(b";")[0], 16):
            parts.append(self._exactly(size))
            self._line()
        self._line()
        return b"".join(parts)

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            if len(self._buffer) > _LINE or not self._more():
                if self._buffer:
                    raise Broken("half a line")
                return b""
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        return line

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            if not self._more():
                raise Broken("half a body")
        octets = bytes(self._buffer[:size])
        del self._buffer[:size]
        return octets

    def _more(self) -> bool:
        octets = self.sock.recv(262_144)
        self._buffer += octets
        return bool(octets)

    # -- writing

    def _write(self, answer: Answer, delivery: Delivery, *, close: bool) -> bool:
        """Send an answer as the delivery has it; tell whether the connection goes on."""
        if delivery.cut == -1:
            return False
        if delivery.stall == -1:
            return self._wait()
        head, body = self._head(answer, close=close), self._framed(answer.body)
        cut = delivery.cut if delivery.cut is not None else delivery.stall
        if cut is not None:
            self.sock.sendall(head + body[:cut])
            return delivery.stall is not None and self._wait()
        if delivery.trickle is not None:
            return self._trickle(head + body[: delivery.trickle] if delivery.trickle >= 0 else b"")
        if delivery.piece is not None:
            for part in pieces(head + body, delivery.piece):
                self.sock.sendall(part)
        else:
            self.sock.sendall(head + body)
        return True

    def _compressed(self, answer: Answer, request: HttpRequest) -> Answer:
        if not self.settings.compress or "gzip" not in request.headers.get("accept-encoding", ""):
            return answer
        headers = {**answer.headers, "Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        return evolve(answer, body=gzip.compress(answer.body, 1), headers=headers)

    def _head(self, answer: Answer, *, close: bool) -> bytes:
        length = (
            "Transfer-Encoding: chunked" if self.settings.chunked else f"Content-Length: {len(answer.body)}"
        )
        lines = [
            f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}",
            f"Content-Type: {answer.content_type}",
            "Cache-Control: private",
            "Server: Microsoft-IIS/10.0",
            length,
            *(f"{name}: {value}" for name, value in (*answer.headers.items(), *answer.many)),
            *(["Connection: close"] if close else []),
        ]
        return "\r\n".join(lines).encode() + b"\r\n\r\n"

    def _framed(self, body: bytes) -> bytes:
        if not self.settings.chunked:
            return body
        parts = [b"%x\r\n%b\r\n" % (len(part), part) for part in pieces(body, _CHUNK)]
        return b"".join((*parts, b"0\r\n\r\n"))

    def _trickle(self, begin: bytes) -> bool:
        """Begin an answer, and go on with it for longer than anybody should listen."""
        self.sock.sendall(begin)
        for _ in range(5_000):
            if self.over.wait(0.001):
                break
            self.sock.sendall(b" ")
        return False

    def _wait(self) -> bool:
        """Say nothing until the client goes or the server ends."""
        while not self.over.is_set():
            readable, _, _ = select.select([self.sock], [], [], 0.05)
            if readable and not self._more():
                break
        return False


def accept_tls(sock: socket.socket, context: ssl.SSLContext | None) -> socket.socket:
    """Finish the handshake of a new connection. Raises ``OSError`` where the client will not."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock if context is None else context.wrap_socket(sock, server_side=True)
