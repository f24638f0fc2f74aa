"""One connection's octets: socket, TLS, lines and multi-line answers, each within bounds.

The standard library's ``poplib`` speaks over it (it asks of a socket no more than ``Wire`` has) and reads short
answers. Messages are read here: ``poplib`` cuts them into lines and forgets how each ended, and gives up at a line
of 2,048 octets.
"""

from __future__ import annotations

import re
import socket
import ssl
from time import monotonic

from alimail_core import Patience, Transient

MAX_LINE = 8 * 1024
"""The most octets of a status line; RFC 2449 §4 allows 512."""
MAX_LIST = 64 * 1024 * 1024
"""The most octets of a list: room for the UIDL of a million messages."""
MAX_MESSAGE = 512 * 1024 * 1024
"""The most octets of one message that we let a server send."""

_CHUNK = 256 * 1024
_END = b"\r\n.\r\n"
_END_OF_LF = re.compile(rb"(?:\A|\n)\.\r?\n")
_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)


class Wire:
    """Reads answers and writes commands. Any failure makes it unusable and raises ``Transient``."""

    def __init__(self, sock: socket.socket, timeout: float) -> None:
        self._sock = sock
        self._timeout = timeout
        self._buffer = bytearray()
        self._left = MAX_LIST
        self.patience = Patience()
        self.broken = False

    @property
    def tls(self) -> ssl.SSLSocket | None:
        """The socket where it is encrypted, to ask for its version and the server's certificate."""
        return self._sock if isinstance(self._sock, ssl.SSLSocket) else None

    def start_tls(self, context: ssl.SSLContext, host: str) -> None:
        """Encrypt from here on. What the server sent before is thrown away: it could be anybody's (CVE-2011-0411).

        Raises ``ssl.SSLError`` or ``OSError``.
        """
        self._buffer.clear()
        self._sock = context.wrap_socket(self._sock, server_hostname=host)

    def fail(self, reason: str) -> Transient:
        """Make the wire unusable; return what to raise."""
        self.close()
        return Transient(reason)

    # What poplib wants of a socket, and of the file that it makes of one

    def makefile(self, mode: str) -> Wire:
        """Return what lines are read from."""
        return self

    def sendall(self, octets: bytes) -> None:
        """Send a command. Raises ``Transient``."""
        self._left = MAX_LIST
        self.patience.begin()
        if self.broken:
            raise Transient("the connection is closed")
        try:
            self._sock.sendall(octets)
        except OSError as error:
            raise self.fail(f"the connection was lost: {_reason(error)}") from error

    def readline(self, most: int = MAX_LINE) -> bytes:
        """Return the next line with its end, or its first ``most`` octets."""
        while (end := self._buffer.find(b"\n", 0, most)) < 0 and len(self._buffer) < most:
            self._fill()
        line = self._take(end + 1 if end >= 0 else most)
        self._left -= len(line)
        if self._left < 0:
            raise self.fail("the server sent an endless list")
        return line

    def shutdown(self, how: int) -> None:
        """Do nothing: to close is enough."""

    def close(self) -> None:
        """Let go of the socket."""
        self.broken = True
        self._sock.close()

    # What is read past poplib

    def status(self) -> bytes:
        """Return the line that begins an answer, with its end. Raises ``Transient`` for what is none."""
        line = self.readline()
        if not line.endswith(b"\n"):
            raise self.fail("the server sent an endless line")
        if line[:1] != b"+" and line[:4].upper() != b"-ERR":
            raise self.fail("the server said something that is not POP3")
        return line

    def body(self, *, lf: bool, most: int = MAX_MESSAGE) -> bytes:
        """Return the lines of an answer as they travel: dots doubled, the last line end kept, the end cut off.

        ``lf``: the server ends its lines with LF alone. Otherwise a bare LF is content, and a dot after it is
        never the end, whoever wrote the message and would like it to be.
        """
        found = self._find_end(0, lf)
        while found is None:
            searched = max(0, len(self._buffer) - len(_END))
            if len(self._buffer) > most:
                raise self.fail("the server sent an endless answer")
            self._fill()
            found = self._find_end(searched, lf)
        end, after = found
        octets = bytes(memoryview(self._buffer)[:end])
        del self._buffer[:after]
        return octets

    def _find_end(self, place: int, lf: bool) -> tuple[int, int] | None:
        """Return where the content ends, and where the next answer begins."""
        if lf:
            match = _END_OF_LF.search(self._buffer, place)
            return None if match is None else (match.end() - len(match[0].lstrip(b"\n")), match.end())
        if self._buffer.startswith(_END[2:]):
            return 0, 3
        end = self._buffer.find(_END, place)
        return None if end < 0 else (end + 2, end + len(_END))

    def _take(self, octets: int) -> bytes:
        taken = bytes(memoryview(self._buffer)[:octets])
        del self._buffer[:octets]
        return taken

    def _fill(self) -> None:
        if self.broken:
            raise Transient("the connection is closed")
        began = monotonic()
        try:
            if _QUICKACK is not None:
                # Else the kernel delays its ACK by 40 ms, and servers without TCP_NODELAY wait for it.
                self._sock.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)
            octets = self._sock.recv(_CHUNK)
        except TimeoutError as error:
            raise self.fail(f"the server was silent for {self._timeout:g} seconds") from error
        except OSError as error:
            raise self.fail(f"the connection was lost: {_reason(error)}") from error
        if not octets:
            raise self.fail("the server closed the connection")
        if lost := self.patience.waited(monotonic() - began):
            raise self.fail(lost)
        self.patience.moved(len(octets))
        self._buffer += octets


def without_dots(octets: bytes, *, lf: bool = False, size: int | None = None) -> bytes:
    """Undo the doubling of dots at the beginnings of lines (RFC 1939 §3).

    A line begins after CRLF. Some servers also double a dot after a bare LF within a message; whether this one did is
    told by the message's ``size``, where it is known.
    """
    everywhere = re.sub(rb"(\A|\n)\.\.", rb"\1.", octets) if lf or b"\n.." in octets else octets
    if lf:
        return everywhere
    strict = octets.replace(b"\r\n..", b"\r\n.")
    strict = strict[1:] if strict.startswith(b"..") else strict
    return everywhere if len(everywhere) == size else strict


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__
