"""A server that says what it is told to: canned words of real and of hostile servers, for a protocol to build on."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import BinaryIO, Self, TypeVar

from alimail_core.contract import Credentials

CLOSE = b"<close>"
"""At the end of what is said: close the connection."""

_T = TypeVar("_T")


class CannedListener(ABC):
    """Listens on loopback, and holds a conversation with each client in a thread of its own.

    The thread has the connection's number as name: ``"0"``, ``"1"``, and so on. ``received`` holds what clients said.
    """

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.failure: BaseException | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._peers: list[threading.Thread] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @abstractmethod
    def converse(self, peer: Peer, number: int) -> None:
        """Talk with one client until the connection ends. What this raises, ``close`` raises."""

    @property
    def port(self) -> int:
        """The port that it listens on."""
        port: int = self._listener.getsockname()[1]
        return port

    @property
    def credentials(self) -> Credentials:
        """Any will do."""
        return Credentials("anna@example.org", lambda: "secret")

    def commands(self, word: bytes) -> list[bytes]:
        """Return the commands received that begin with a word."""
        return [command for command in self.received if command.startswith(word)]

    def close(self) -> None:
        """Stop listening, and raise what went wrong in the server."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
        for thread in self._peers:
            thread.join(10)
        if self.failure is not None:
            raise self.failure

    def __enter__(self) -> Self:
        """Return the running server."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        self.close()

    def _serve(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            number = len(self._peers)
            thread = threading.Thread(target=self._attend, args=[sock, number], name=str(number), daemon=True)
            self._peers.append(thread)
            thread.start()

    def _attend(self, sock: socket.socket, number: int) -> None:
        try:
            with contextlib.closing(Peer(sock)) as peer, contextlib.suppress(ConnectionError):
                self.converse(peer, number)
        except BaseException as error:  # noqa: BLE001  (told to the test by close)
            self.failure = error


class Peer:
    """One connection, seen from the server."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._stream: BinaryIO = sock.makefile("rb")

    def encrypt(self, context: ssl.SSLContext) -> None:
        """Speak TLS from here on."""
        self._stream.close()
        self._sock = context.wrap_socket(self._sock, server_side=True)
        self._stream = self._sock.makefile("rb")

    def close(self) -> None:
        """End the connection."""
        self._stream.close()
        self._sock.close()

    def line(self) -> bytes:
        """Return the next line with its end; nothing where the client has gone."""
        return self._stream.readline()

    def octets(self, size: int) -> bytes:
        """Return so many octets."""
        return self._stream.read(size)

    def say(self, words: bytes) -> bool:
        """Send; return False where the connection ends with it (``CLOSE``)."""
        self._sock.sendall(words.removesuffix(CLOSE))
        return not words.endswith(CLOSE)


def longest(replies: Mapping[bytes, _T], command: bytes) -> _T | None:
    """Return what is said to the longest prefix that the command has, ``None`` where it has none."""
    found = max((prefix for prefix in replies if command.startswith(prefix)), key=len, default=None)
    return None if found is None else replies[found]
