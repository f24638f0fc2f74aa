"""For tests: a small POP3 server that says what it is told to, words of real and of hostile servers."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeAlias

from alimail_core import Credentials
from alimail_core.testing.canned import CLOSE, CannedListener, Peer, longest
from alimail_pop3.options import Pop3Options

if TYPE_CHECKING:
    from alimail_core.testing.servers import Dovecot

__all__ = ["CLOSE", "CannedServer", "Reply", "credentials_for", "options_for", "with_dots"]

Reply: TypeAlias = bytes | Callable[[bytes], bytes]
"""What to send for a command, line ends included; or a function of the command that returns it."""


class CannedServer(CannedListener):
    """A maildrop on loopback. ``replies`` overrides what is said to commands that begin so; the longest counts.

    ``received`` holds every line that came. ``capabilities`` are the lines of CAPA, ``None``: it has none. ``uidls``
    and ``sizes`` override what UIDL and LIST tell. With ``tls`` it encrypts after STLS.
    """

    def __init__(
        self,
        messages: Sequence[bytes] = (),
        replies: Mapping[bytes, Reply] | None = None,
        *,
        capabilities: Sequence[bytes] | None = (b"TOP", b"UIDL", b"USER", b"PIPELINING"),
        greeting: bytes = b"+OK ready\r\n",
        uidls: Sequence[bytes] | None = None,
        sizes: Sequence[int] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.messages = list(messages)
        self.replies = dict(replies or {})
        self.capabilities = capabilities
        self.greeting = greeting
        self.uidls = uidls
        self.sizes = sizes
        self._tls = tls
        super().__init__()

    @property
    def options(self) -> Pop3Options:
        """Options that lead to this server."""
        return Pop3Options(host="127.0.0.1", port=self.port, tls="none", timeout=5.0)

    def converse(self, peer: Peer, number: int) -> None:
        """Greet, and answer each command."""
        if not peer.say(self.greeting):
            return
        while line := peer.line():
            command = line.removesuffix(b"\r\n")
            self.received.append(command)
            if not peer.say(self._answer(command)) or command == b"QUIT":
                return
            if command == b"STLS" and self._tls is not None:
                peer.encrypt(self._tls)

    def _answer(self, command: bytes) -> bytes:
        reply = longest(self.replies, command)
        if reply is not None:
            return reply(command) if callable(reply) else reply
        word, *arguments = command.split(b" ") or [b""]
        if word in (b"RETR", b"TOP"):
            return self._message(int(arguments[0]), *map(int, arguments[1:]))
        lists = {b"CAPA": self.capabilities, b"UIDL": self._identifiers(), b"LIST": self._sizes()}
        if word in lists:
            lines = lists[word]
            return b"-ERR unknown command\r\n" if lines is None else b"\r\n".join([b"+OK", *lines, b".\r\n"])
        return b"+OK %d 0\r\n" % len(self.messages) if word == b"STAT" else b"+OK\r\n"

    def _identifiers(self) -> list[bytes]:
        told = [b"id%d" % n for n in range(len(self.messages))] if self.uidls is None else self.uidls
        return [b"%d %s" % (number, each) for number, each in enumerate(told, 1)]

    def _sizes(self) -> list[bytes]:
        told = [len(each) for each in self.messages] if self.sizes is None else self.sizes
        return [b"%d %d" % (number, each) for number, each in enumerate(told, 1)]

    def _message(self, number: int, lines: int | None = None) -> bytes:
        if not 0 < number <= len(self.messages):
            return b"-ERR no such message\r\n"
        octets = self.messages[number - 1]
        if lines is not None:
            header, blank, body = octets.partition(b"\r\n\r\n")
            octets = header + blank + b"".join(body.splitlines(keepends=True)[:lines])
        return b"+OK\r\n" + with_dots(octets)


def with_dots(octets: bytes) -> bytes:
    """Write a message as RFC 1939 §3 has it: dots doubled where a line begins, a dot at the end."""
    octets = re.sub(rb"(\A|\r\n)\.", rb"\1..", octets)
    return octets + (b".\r\n" if octets.endswith(b"\r\n") or not octets else b"\r\n.\r\n")


def options_for(server: Dovecot) -> Pop3Options:
    """Return options that lead to a Dovecot of ``alimail_core.testing.servers``, without encryption."""
    return Pop3Options(host=server.host, port=server.pop3_port, tls="none", timeout=20.0)


def credentials_for(server: Dovecot, user: str) -> Credentials:
    """Return the credentials of one of its users."""
    return Credentials(user, lambda: server.password)
