"""For tests: a server that says what it is told to, canned words of real and of hostile servers."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, TypeAlias

from alimail_core.contract import Credentials
from alimail_core.testing.canned import CLOSE, CannedListener, Peer, longest
from alimail_imap.options import ImapOptions

if TYPE_CHECKING:
    from alimail_core.testing.servers import Dovecot

__all__ = ["CLOSE", "GREETING", "CannedServer", "Reply", "credentials_for", "options_for"]

Reply: TypeAlias = bytes | Callable[[bytes], bytes]
"""What to send for a command, lines ended by CRLF, with ``{tag}`` where the tag goes; or a function of the
command (without its tag, literals included) that returns it. ``{last}`` stands for the tag of the command before.
Where ``{tag}`` does not occur, an OK follows.
"""

GREETING = b"* OK IMAP4rev1 ready\r\n"

_LITERAL = re.compile(rb"\{(\d+)(\+?)\}\r\n\Z")


class CannedServer(CannedListener):
    """Listens on loopback and answers each command by the longest prefix in ``replies``.

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
        super().__init__()

    @property
    def options(self) -> ImapOptions:
        """Options that lead to this server."""
        return ImapOptions(host="127.0.0.1", port=self.port, tls="none", timeout=5.0)

    def converse(self, peer: Peer, number: int) -> None:
        """Greet, and answer each command."""
        if self._most is not None and number >= self._most:
            peer.say(b"* BYE Too many connections\r\n")
        elif peer.say(self.greeting):
            self._answer_all(peer)

    def _answer_all(self, peer: Peer) -> None:
        last = b""
        owed: list[bytes] = []
        for tag, command in self._commands(peer, owed):
            self.received.append(command)
            if command.upper().startswith(b"LOGOUT"):
                return
            answer = self._answer(command).replace(b"{tag}", tag).replace(b"{last}", last)
            last = tag
            if self._late and command.startswith(self._late_to):
                self._late -= 1
                owed.append(answer)
            elif not peer.say(answer):
                return
            elif command == b"STARTTLS" and self._tls is not None:
                peer.encrypt(self._tls)

    def _answer(self, command: bytes) -> bytes:
        reply = longest(self.replies, command) or b""
        words = reply(command) if callable(reply) else reply
        return words if b"{tag}" in words or words.endswith(CLOSE) else words + b"{tag} OK done\r\n"

    def _commands(self, peer: Peer, owed: list[bytes]) -> Iterator[tuple[bytes, bytes]]:
        """Read commands with their literals; what is ``owed`` is said once the next one has begun."""
        while line := peer.line():
            peer.say(b"".join(owed))
            owed.clear()
            tag, _, command = line.partition(b" ")
            refused = False
            while (match := _LITERAL.search(command)) is not None and not refused:
                if not match[2]:
                    told = longest(self.literals, command)
                    words = b"+ go on\r\n" if told is None else told
                    if not peer.say(words.replace(b"{tag}", tag)):
                        return
                    refused = b"{tag}" in words
                if not refused:
                    command += peer.octets(int(match[1])) + peer.line()
            if refused:
                self.received.append(command)
            else:
                yield tag, command.removesuffix(b"\r\n")


def options_for(server: Dovecot) -> ImapOptions:
    """Return options that lead to a Dovecot of ``alimail_core.testing.servers``, without encryption."""
    return ImapOptions(host=server.host, port=server.imap_port, tls="none", timeout=20.0)


def credentials_for(server: Dovecot, user: str) -> Credentials:
    """Return the credentials of one of its users."""
    return Credentials(user, lambda: server.password)
