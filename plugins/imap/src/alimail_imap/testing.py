"""For tests: a server that says what it is told to, canned words of real and of hostile servers."""

from __future__ import annotations

import contextlib
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, BinaryIO, Self, TypeAlias

from alimail_core.contract import Credentials
from alimail_imap.options import ImapOptions

if TYPE_CHECKING:
    from alimail_core.testing.servers import Dovecot

Reply: TypeAlias = bytes | Callable[[bytes], bytes]
"""What to send for a command, lines ended by CRLF, with ``{tag}`` where the tag goes; or a function of the
command (without its tag, literals included) that returns it. ``{last}`` stands for the tag of the command before.
Where ``{tag}`` does not occur, an OK follows.
"""

CLOSE = b"<close>"
"""At the end of a reply: close the connection."""
GREETING = b"* OK IMAP4rev1 ready\r\n"

_LITERAL = re.compile(rb"\{(\d+)(\+?)\}\r\n\Z")


class CannedServer:
    """Listens on loopback and answers each command by the longest prefix in ``replies``.

    Each connection is served by a thread of its own, which has its number as name: ``"0"``, ``"1"``, and so on.

    ``received`` holds every command without its tag. ``literals`` maps a command's prefix to what is said instead
    of ``+`` when it announces a literal. ``late`` answers to commands that begin with ``late_to`` are kept until
    the next command has begun: a client that waits for them waits for ever. With ``tls`` it encrypts after
    STARTTLS. The first ``most`` connections are greeted, and those after them are sent away.
    """

    def __init__(
        self,
        replies: Mapping[bytes, Reply] | None = None,
        *,
        capabilities: bytes = b"IMAP4rev1 LITERAL+ UIDPLUS",
        greeting: bytes = GREETING,
        literals: Mapping[bytes, bytes] | None = None,
        late: int = 0,
        late_to: bytes = b"APPEND",
        tls: ssl.SSLContext | None = None,
        most: int | None = None,
    ) -> None:
        self.replies: dict[bytes, Reply] = {
            b"CAPABILITY": b"* CAPABILITY " + capabilities + b"\r\n",
            b'LIST "" ""': b'* LIST (\\Noselect) "/" ""\r\n',
            **(replies or {}),
        }
        self.greeting = greeting
        self.literals = dict(literals or {})
        self._late = late
        self._late_to = late_to
        self._tls = tls
        self._most = most
        self.received: list[bytes] = []
        self.failure: BaseException | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._peers: list[threading.Thread] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    @property
    def options(self) -> ImapOptions:
        """Options that lead to this server."""
        port: int = self._listener.getsockname()[1]
        return ImapOptions(host="127.0.0.1", port=port, tls="none", timeout=5.0)

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
            with contextlib.closing(_Peer(sock)) as peer, contextlib.suppress(ConnectionError):
                if self._most is not None and number >= self._most:
                    peer.say(b"* BYE Too many connections\r\n")
                else:
                    self._converse(peer)
        except BaseException as error:  # noqa: BLE001  (told to the test by close)
            self.failure = error

    def _converse(self, peer: _Peer) -> None:
        if not peer.say(self.greeting):
            return
        for tag, command in self._commands(peer):
            self.received.append(command)
            if command.upper().startswith(b"LOGOUT"):
                return
            answer = self._answer(peer, tag, command)
            if self._late and command.startswith(self._late_to):
                self._late -= 1
                peer.owed = answer
            elif not peer.say(answer):
                return
            elif command == b"STARTTLS" and self._tls is not None:
                peer.encrypt(self._tls)

    def _answer(self, peer: _Peer, tag: bytes, command: bytes) -> bytes:
        found = max((prefix for prefix in self.replies if command.startswith(prefix)), key=len, default=b"")
        reply = self.replies.get(found, b"")
        words = reply(command) if callable(reply) else reply
        if b"{tag}" not in words and not words.endswith(CLOSE):
            words += b"{tag} OK done\r\n"
        last, peer.last = peer.last, tag
        return words.replace(b"{tag}", tag).replace(b"{last}", last)

    def _commands(self, peer: _Peer) -> Iterator[tuple[bytes, bytes]]:
        while line := peer.line():
            peer.say(peer.owed)
            peer.owed = b""
            tag, _, command = line.partition(b" ")
            refused = False
            while (match := _LITERAL.search(command)) is not None and not refused:
                if not match[2]:
                    words = self._literal_reply(command)
                    if not peer.say(words.replace(b"{tag}", tag)):
                        return
                    refused = b"{tag}" in words
                if not refused:
                    command += peer.octets(int(match[1])) + peer.line()
            if refused:
                self.received.append(command)
            else:
                yield tag, command.removesuffix(b"\r\n")

    def _literal_reply(self, command: bytes) -> bytes:
        found = max((prefix for prefix in self.literals if command.startswith(prefix)), key=len, default=b"")
        return self.literals.get(found, b"+ go on\r\n")


def options_for(server: Dovecot) -> ImapOptions:
    """Return options that lead to a Dovecot of ``alimail_core.testing.servers``, without encryption."""
    return ImapOptions(host=server.host, port=server.imap_port, tls="none", timeout=20.0)


def credentials_for(server: Dovecot, user: str) -> Credentials:
    """Return the credentials of one of its users."""
    return Credentials(user, lambda: server.password)


class _Peer:
    """One connection, seen from the server."""

    def __init__(self, sock: socket.socket) -> None:
        self.owed = b""
        self.last = b""
        self._sock = sock
        self._stream: BinaryIO = sock.makefile("rb")

    def encrypt(self, context: ssl.SSLContext) -> None:
        self._stream.close()
        self._sock = context.wrap_socket(self._sock, server_side=True)
        self._stream = self._sock.makefile("rb")

    def close(self) -> None:
        self._stream.close()
        self._sock.close()

    def line(self) -> bytes:
        return self._stream.readline()

    def octets(self, size: int) -> bytes:
        return self._stream.read(size)

    def say(self, words: bytes) -> bool:
        """Send; return False where the connection ends with it."""
        self._sock.sendall(words.removesuffix(CLOSE))
        return not words.endswith(CLOSE)
