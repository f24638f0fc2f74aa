"""One connection's octets: socket, TLS, lines and literals, each within bounds.

The socket never blocks: while an answer is awaited or octets are sent we poll, and while octets are sent what
the server says meanwhile is read, so that two full pipes never wait for one another.
"""

from __future__ import annotations

import re
import select
import socket
import ssl
from collections.abc import Iterable
from io import BytesIO
from time import monotonic

from alimail_core import Patience, Transient
from alimail_imap.tokens import Response

MAX_TEXT = 16 * 1024 * 1024
"""The most octets of one response outside literals: room for a SEARCH of two million messages."""
MAX_LITERAL = 512 * 1024 * 1024
"""The most octets of one literal that we let a server send."""
MAX_WAITING = 8 * 1024 * 1024
"""The most octets that we read ahead while we are sending."""

_CHUNK = 256 * 1024
_JOIN = 64 * 1024
_LITERAL_END = re.compile(rb"\{(\d{1,19})\+?\}\Z")
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)
_WANT = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError, InterruptedError)


class Wire:
    """Reads responses and writes commands. Any failure makes it unusable and raises ``Transient``."""

    def __init__(self, sock: socket.socket, timeout: float) -> None:
        self._sock = sock
        self._timeout = timeout
        self._buffer = bytearray()
        self._place = 0
        self.patience = Patience()
        self.broken = False
        sock.setblocking(False)

    @property
    def tls(self) -> ssl.SSLSocket | None:
        """The socket where it is encrypted, to ask for its version and the server's certificate."""
        return self._sock if isinstance(self._sock, ssl.SSLSocket) else None

    def start_tls(self, context: ssl.SSLContext, host: str) -> None:
        """Encrypt from here on. What the server sent before is thrown away: it could be anybody's (CVE-2011-0411).

        Raises ``ssl.SSLError`` or ``OSError``.
        """
        self._buffer.clear()
        self._place = 0
        self._sock.settimeout(self._timeout)
        self._sock = context.wrap_socket(self._sock, server_hostname=host)
        self._sock.setblocking(False)

    def close(self) -> None:
        """Let go of the socket."""
        self.broken = True
        self._sock.close()

    def fail(self, reason: str) -> Transient:
        """Make the wire unusable; return what to raise."""
        self.close()
        return Transient(reason)

    # Reading

    def read(self) -> Response:
        """Wait for one whole response. Raises ``Transient``."""
        text = self._read_line(MAX_TEXT)
        tag, _, rest = text.partition(b" ")
        response = Response(tag, [rest])
        taken = 0
        while (match := _LITERAL_END.search(rest)) is not None and tag == b"*":
            size = int(match[1])
            taken += size + len(rest)
            if taken > MAX_LITERAL + MAX_TEXT or size > MAX_LITERAL:
                raise self.fail(f"the server announced a literal of {size} octets, more than we take")
            literal = self._read_octets(size)
            rest = self._read_line(MAX_TEXT)
            response.parts += (literal, rest)
        return response

    def _read_line(self, most: int) -> bytes:
        searched = self._place
        while (end := self._buffer.find(b"\n", searched)) < 0:
            if len(self._buffer) - self._place > most:
                raise self.fail("the server sent an endless line")
            searched_already = len(self._buffer) - self._place
            self._fill()
            searched = self._place + searched_already
        line = bytes(memoryview(self._buffer)[self._place : end])
        self._place = end + 1
        return line[:-1] if line.endswith(b"\r") else line

    def _read_octets(self, size: int) -> bytes:
        here = len(self._buffer) - self._place
        if size <= here:
            octets = bytes(memoryview(self._buffer)[self._place : self._place + size])
            self._place += size
            return octets
        # Memory is taken as octets arrive, never because the server said so; and once: the buffer is handed out.
        literal = BytesIO()
        literal.write(memoryview(self._buffer)[self._place :])
        self._buffer.clear()
        self._place = 0
        missing = size - here
        while missing:
            missing -= literal.write(self._receive(min(missing, _CHUNK)))
        return literal.getvalue()

    def has_come(self, seconds: float) -> bool:
        """Wait for so long at the most until something has come that is not read yet. Raises ``Transient``."""
        if self._place < len(self._buffer):
            return True
        octets = self._receive_now(_CHUNK)
        if octets is None and _ready(self._sock, True, False, seconds):
            octets = self._receive_now(_CHUNK)
        self._buffer += octets or b""
        return octets is not None

    def _fill(self) -> None:
        if self._place:
            del self._buffer[: self._place]
            self._place = 0
        self._buffer += self._receive(_CHUNK)

    def _receive(self, most: int) -> bytes:
        while True:
            octets = self._receive_now(most)
            if octets is not None:
                return octets
            self._poll(write=False)

    def _receive_now(self, most: int) -> bytes | None:
        """Return what has come, ``None`` where nothing has yet."""
        if self.broken:
            raise Transient("the connection is closed")
        try:
            if _QUICKACK is not None:
                # Else the kernel delays its ACK by 40 ms, and servers without TCP_NODELAY wait for it.
                self._sock.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
            octets = self._sock.recv(most)
        except _WANT:
            return None
        except OSError as error:
            raise self.fail(f"the connection was lost: {_reason(error)}") from error
        if not octets:
            raise self.fail("the server closed the connection")
        self.patience.moved(len(octets))
        return octets

    # Writing

    def write(self, chunks: Iterable[bytes]) -> None:
        """Send all of it. Raises ``Transient``; some of it may then have been sent."""
        self.patience.begin()
        pending = bytearray()
        for chunk in chunks:
            if len(chunk) > _JOIN:
                self._send(pending)
                pending = bytearray()
                self._send(chunk)
            else:
                pending += chunk
                if len(pending) > _JOIN:
                    self._send(pending)
                    pending = bytearray()
        self._send(pending)

    def _send(self, octets: bytes | bytearray) -> None:
        if self.broken:
            raise Transient("the connection is closed")
        view = memoryview(octets)
        while view:
            try:
                sent = self._sock.send(view)
            except _WANT:
                self._listen_while_sending()
                continue
            except OSError as error:
                # The socket stays open: what the server said last may tell why it went.
                raise Transient(f"the connection was lost: {_reason(error)}") from error
            self.patience.moved(sent)
            view = view[sent:]

    def _listen_while_sending(self) -> None:
        full = len(self._buffer) - self._place > MAX_WAITING
        self._poll(write=True, read=not full)
        if not full:
            octets = self._receive_now(_CHUNK)
            if octets is not None:
                self._buffer += octets

    def _poll(self, *, write: bool, read: bool = True) -> None:
        began = monotonic()
        if not _ready(self._sock, read, write, self._timeout):
            raise self.fail(f"the server was silent for {self._timeout:g} seconds")
        if lost := self.patience.waited(monotonic() - began):
            raise self.fail(lost)


def _ready(sock: socket.socket, read: bool, write: bool, timeout: float) -> bool:
    if hasattr(select, "poll"):  # Unlike select(), poll() takes any number of descriptors; Windows lacks it.
        poll = select.poll()
        poll.register(sock, (select.POLLIN if read else 0) | (select.POLLOUT if write else 0))
        return bool(poll.poll(timeout * 1000))
    readers, writers, _ = select.select([sock] if read else [], [sock] if write else [], [], timeout)
    return bool(readers or writers)


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__
