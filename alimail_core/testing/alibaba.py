"""The Alibaba profile: a Dovecot that presents itself as Alibaba Mail's IMAP server is known to.

It stands on the vendor's pages and on what clients have logged; whatever is not known is made as poor as a client
may fear. It has IMAP4rev1 with UIDPLUS, XLIST and ID and **nothing else**: any other extension is
answered BAD, not merely left unannounced. Beyond that:

* LOGIN is the only way in; a refused one says nothing about its cause.
* No EXAMINE. No response codes but those of SELECT, UIDPLUS and TRYCREATE.
* The five system flags alone, no ``\\*``: keywords are silently not stored.
* ``[UNSEEN 0]``, UIDVALIDITY always 1: a folder that is deleted and made again begins its UIDs anew under it.
* Special folders have Chinese names, and their attributes come without being asked for.
* Folder names with ``+``, ``*`` or a backslash are refused.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Self

from attrs import define, field

from alimail_core.model import FolderPath
from alimail_core.testing.oracle import Snapshot, decode_modified_utf7
from alimail_core.testing.proxy import CutError, DelayProxy, Session
from alimail_core.testing.servers import Dovecot
from alimail_core.testing.streams import Item, Line, Part

GREETING = b"* OK AliYun IMAP Server Ready(10.0.0.1)\r\n"
CAPABILITIES = b"IMAP4rev1 IDLE XLIST UIDPLUS ID SASL-IR AUTH=XOAUTH AUTH=XOAUTH2 AUTH=EXTERNAL"
FLAGS = (b"\\Answered", b"\\Flagged", b"\\Deleted", b"\\Seen", b"\\Draft")
SPECIAL_FOLDERS = {"已发送": "\\Sent", "草稿": "\\Drafts", "垃圾邮件": "\\Junk", "已删除邮件": "\\Trash"}
FORBIDDEN = "+*\\"
UIDVALIDITY = b"1"

_COMMANDS = frozenset(
    b"CAPABILITY NOOP LOGOUT ID LOGIN SELECT CREATE DELETE RENAME SUBSCRIBE UNSUBSCRIBE LIST LSUB XLIST STATUS "
    b"APPEND CHECK CLOSE EXPUNGE SEARCH FETCH STORE COPY UID IDLE".split()
)
_AFTER_UID = frozenset(b"FETCH STORE COPY SEARCH EXPUNGE".split())
_EXTENDED: Mapping[bytes, re.Pattern[bytes]] = {
    # What a command looks like when it uses an extension.
    b"SELECT": re.compile(rb"\)\r\n\Z"),
    b"LIST": re.compile(rb"\A\(|\)\r\n\Z"),
    b"STATUS": re.compile(rb"\([^()]*\b(?:HIGHESTMODSEQ|SIZE|APPENDLIMIT|MAILBOXID|DELETED)\b[^()]*\)\r\n\Z"),
    b"FETCH": re.compile(rb"CHANGEDSINCE|MODSEQ|BINARY|PREVIEW|SNIPPET|SAVEDATE|EMAILID|THREADID|X-[A-Z]+"),
    b"STORE": re.compile(rb"UNCHANGEDSINCE"),
    b"SEARCH": re.compile(rb"\ARETURN \(|\bMODSEQ \d"),
}
_BRACKETS = re.compile(rb"\[[^]]*\]")
"""Sections of BODY[...], which hold header fields' names."""
_KEPT_CODES = frozenset(b"READ-ONLY READ-WRITE TRYCREATE APPENDUID COPYUID".split())
_KEPT_ATTRIBUTES = re.compile(rb"\\(?:Noselect|Noinferiors|Inbox|Sent|Drafts|Junk|Trash)", re.IGNORECASE)
_APPEND_TAIL = re.compile(rb'(?: \(([^()]*)\))?( "[^"]*")? \{\d+\}\r\n\Z')
_STORE_FLAGS = re.compile(rb"(FLAGS(?:\.SILENT)? )\(?([^()\r\n]*)\)?\r\n\Z", re.IGNORECASE)
_NAME = re.compile(rb'"((?:\\.|[^"\\])*)"|\{\d+\+\}\r\n|[^ \r\n]+')
_CODE = re.compile(rb"\[([A-Z0-9-]+)([^\]]*)\] ?")


class AlibabaSession(Session):
    """One client's connection."""

    proxy: AlibabaProxy

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._open: dict[bytes, bytes] = {}
        """Commands that the server has not answered: tag -> name."""
        self._answered = asyncio.Condition()
        self._whole: bytes | None = None
        """A command that is being collected, because its literals may hold names."""
        self._name = b""
        self._names_folder = False
        """The literal of the APPEND under way is the folder's name."""
        self._greeted = False
        self._unseen_told = False
        self._response = b""

    # -- what the client says

    async def command(self, item: Item) -> None:
        """Refuse what Alibaba Mail does not have; hand on the rest, one command after another."""
        if isinstance(item, Line) and item.literal is not None and not item.synchronising:
            tag = item.words[0] if item.first else b"*"
            self.say(tag + b" BAD literals without waiting are not supported\r\n* BYE protocol error\r\n")
            await self.flush()
            raise CutError
        if isinstance(item, Part) or not item.first:
            await self._go_on(item)
        elif item.octets.strip().upper() == b"DONE" and b"IDLE" in self._open.values():
            self.pass_on(item)
        else:
            await self._begin(item)

    async def _begin(self, line: Line) -> None:
        tag, self._name, _ = line.words
        self.proxy.commands[self._name.decode("latin-1")] += 1
        if self._name == b"APPEND":
            await self._settled(b"APPEND")
            await self._begin_append(tag, line)
        else:
            await self._settled()
            self._whole = b""
            await self._collect(line)

    async def _go_on(self, item: Item) -> None:
        if self._whole is not None:
            await self._collect(item)
        elif isinstance(item, Part):
            self.pass_on(item)
        elif self._names_folder:
            self._names_folder = False
            self._send_append(item)
        elif item.octets.strip():
            # More after the message: MULTIAPPEND. Nothing may be stored, so the server gets what it refuses.
            self._spoil(b" BAD\r\n")
        else:
            self.pass_on(item)

    async def _begin_append(self, tag: bytes, line: Line) -> None:
        self._open[tag] = b"APPEND"
        self._names_folder = re.search(rb"\A\S+ \S+ \{\d+\}\r\n\Z", line.octets) is not None
        if self._names_folder:
            self.pass_on(line)
        else:
            self._send_append(line)

    def _send_append(self, line: Line) -> None:
        """Hand on the line that announces the message, without the flags that cannot be stored."""
        match = _APPEND_TAIL.search(line.octets)
        if match is None:
            self._spoil(line.words[0] + b" BAD\r\n" if line.first else b" BAD\r\n")
            return
        flags = b"" if match[1] is None else b" (" + _storable(match[1]) + b")"
        literal = line.octets[line.octets.rindex(b" {") :]
        octets = line.octets[: match.start()] + flags + (match[2] or b"") + literal
        self.pass_on(Line(octets, line.first, line.literal, True))

    def _spoil(self, octets: bytes) -> None:
        """End an APPEND by what the server behind answers BAD, and stores nothing."""
        self.pass_on(Line(octets, False, None, False))

    async def _collect(self, item: Item) -> None:
        assert self._whole is not None
        octets = item.octets
        if isinstance(item, Line) and item.literal is not None:
            self.say(b"+ go ahead\r\n")
            self.commands.grant()
            octets = re.sub(rb"\}\r\n\Z", b"+}\r\n", octets)
        self._whole += octets
        if isinstance(item, Line) and item.literal is None:
            whole, self._whole = self._whole, None
            await self._run(whole)

    async def _run(self, whole: bytes) -> None:
        tag, name, arguments = Line(whole, True, None, False).words
        if name == b"UID":
            word, _, arguments = arguments.partition(b" ")
            name = word.upper() if word.upper() in _AFTER_UID else b"UID"
        refusal = self.proxy.refusal(name, arguments)
        if refusal is not None:
            self.proxy.refused[self._name.decode("latin-1")] += 1
            self.say(tag + b" " + refusal + b"\r\n")
            return
        if name == b"STORE":
            whole = _STORE_FLAGS.sub(lambda match: match[1] + b"(" + _storable(match[2]) + b")\r\n", whole)
        self._open[tag] = name
        self._unseen_told = False
        self.pass_on(Line(whole, True, None, False))

    async def _settled(self, *but: bytes) -> None:
        """Wait until the server has answered everything, as a server that does one thing at a time."""
        await self.flush()
        async with self._answered:
            await self._answered.wait_for(lambda: all(name in but for name in self._open.values()))

    # -- what the server says

    async def flush(self) -> None:
        """Let go what was collected, and wake who waits for an answer."""
        await super().flush()
        async with self._answered:
            self._answered.notify_all()

    def response(self, item: Item) -> None:
        """Let the server's answer look like Alibaba Mail's."""
        if isinstance(item, Part):
            self.say(item.octets)
        elif not self._greeted:
            self._greeted = True
            self.say(GREETING)
        elif not item.first:
            self.say(_status(item.octets) if self._response == b"STATUS" else item.octets)
        elif item.octets.startswith(b"+"):
            self.commands.grant()
            self.say(item.octets)
        elif item.octets.startswith(b"* "):
            self._response = item.words[1]
            self.say(self._untagged(item.octets))
        else:
            self._response = b""
            self.say(self._tagged(*item.words))

    def _untagged(self, line: bytes) -> bytes:
        kind = self._response
        if kind == b"OK":
            return self._select_code(line)
        if kind == b"CAPABILITY":
            return b"* CAPABILITY " + CAPABILITIES + b"\r\n"
        if kind == b"FLAGS":
            return b"* FLAGS (" + b" ".join(FLAGS) + b")\r\n"
        if kind in (b"LIST", b"LSUB", b"XLIST"):
            return re.sub(rb"\(([^)]*)\)", _attributes, line, count=1)
        if kind == b"STATUS":
            return _status(line)
        return b"* ID NIL\r\n" if kind == b"ID" else line

    def _select_code(self, line: bytes) -> bytes:
        match = _CODE.search(line)
        code = match[1] if match is not None else b""
        if code == b"PERMANENTFLAGS":
            return b"* OK [PERMANENTFLAGS (" + b" ".join(FLAGS) + b")] Limited\r\n"
        if code == b"UIDVALIDITY":
            return b"* OK [UIDVALIDITY " + UIDVALIDITY + b"] UIDs valid\r\n"
        if code == b"UNSEEN":
            self._unseen_told = True
        return line if code in (b"UNSEEN", b"UIDNEXT", b"") else b""

    def _tagged(self, tag: bytes, kind: bytes, text: bytes) -> bytes:
        name = self._open.pop(tag, b"")
        if name == b"LOGIN" and kind == b"NO":
            return tag + b" NO LOGIN failed\r\n"
        text = _CODE.sub(_code, text, count=1) if text.startswith(b"[") else text
        answer = tag + b" " + kind + b" " + (text if text.strip() else b"done\r\n")
        if name == b"SELECT" and kind == b"OK" and not self._unseen_told:
            return b"* OK [UNSEEN 0] first unseen\r\n" + answer
        return answer


def _storable(flags: bytes) -> bytes:
    wanted = {flag.lower() for flag in FLAGS}
    return b" ".join(flag for flag in flags.split() if flag.lower() in wanted)


def _attributes(match: re.Match[bytes]) -> bytes:
    return b"(" + b" ".join(word for word in match[1].split() if _KEPT_ATTRIBUTES.fullmatch(word)) + b")"


def _status(line: bytes) -> bytes:
    return re.sub(rb"(\([^()]*\bUIDVALIDITY )\d+([^()]*\)\r\n)\Z", rb"\g<1>" + UIDVALIDITY + rb"\g<2>", line)


def _code(match: re.Match[bytes]) -> bytes:
    """Keep a tagged response code, change its UIDVALIDITY, or take it out."""
    if match[1] in (b"APPENDUID", b"COPYUID"):
        _, _, uids = match[2].strip().partition(b" ")
        return b"[" + match[1] + b" " + UIDVALIDITY + b" " + uids + b"] "
    return match[0] if match[1] in _KEPT_CODES else b""


@define(eq=False)
class AlibabaProxy(DelayProxy):
    """Makes the Dovecot behind it look like Alibaba Mail; everything of ``DelayProxy`` holds here too."""

    examine: bytes = field(default=b"BAD unknown command EXAMINE", kw_only=True)
    """What EXAMINE is answered."""
    commands: Counter[str] = field(factory=Counter, init=False, repr=False)
    """How many of each command clients have sent."""
    refused: Counter[str] = field(factory=Counter, init=False, repr=False)
    """How many of them were answered here because Alibaba Mail has no such thing."""

    session: ClassVar[type[Session]] = AlibabaSession

    def refusal(self, name: bytes, arguments: bytes) -> bytes | None:
        """Return the answer to a command that is refused here, ``None`` to one that the server may have."""
        if name == b"EXAMINE":
            return self.examine
        if name == b"AUTHENTICATE":
            return b"NO AUTHENTICATE failed"
        if name not in _COMMANDS or name == b"UID":
            return b"BAD unknown command"
        extended = _EXTENDED.get(name)
        if extended is not None and extended.search(_BRACKETS.sub(b"", arguments.upper())):
            return b"BAD invalid arguments"
        if name in (b"CREATE", b"RENAME") and _unfit(arguments):
            return b"NO " + name + b" failed: invalid mailbox name"
        return None


def _unfit(arguments: bytes) -> bool:
    """Tell whether the last folder name of a command has a character that Alibaba Mail does not take."""
    *_, last = _NAME.finditer(arguments)
    raw = arguments[last.end() :].rstrip(b"\r\n") if last[0].startswith(b"{") else last[1] or last[0]
    name = decode_modified_utf7(re.sub(rb"\\(.)", rb"\1", raw) if last[1] is not None else raw)
    return name is None or any(char in FORBIDDEN for char in name)


@define(eq=False, kw_only=True)
class AlibabaServer:
    """A Dovecot with the Alibaba profile before it, and the helpers of both. IMAP alone, in clear and with TLS."""

    folder: Path | None = None
    quota_octets: int | None = None
    round_trip: float = 0.0
    max_connections: int | None = None
    fsync: bool = False
    own_passwords: bool = False
    dovecot: Dovecot = field(init=False)
    proxy: AlibabaProxy = field(init=False)

    def start(self) -> Self:
        """Start both; return when the server greets."""
        self.dovecot = Dovecot(
            folder=self.folder,
            quota_octets=self.quota_octets,
            special_use=SPECIAL_FOLDERS,
            fsync=self.fsync,
            own_passwords=self.own_passwords,
        ).start()
        self.proxy = AlibabaProxy(
            (self.dovecot.host, self.dovecot.imap_port),
            round_trip=self.round_trip,
            max_connections=self.max_connections,
            certificate=self.dovecot.certificate,
        ).start()
        return self

    def stop(self) -> None:
        """End both. Idempotent."""
        self.proxy.stop()
        self.dovecot.stop()

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(self, *exception: object) -> None:
        """Stop."""
        self.stop()

    @property
    def host(self) -> str:
        """Loopback."""
        return self.proxy.host

    @property
    def imap_port(self) -> int:
        """The port that speaks in clear."""
        return self.proxy.port

    @property
    def imaps_port(self) -> int:
        """The port with implicit TLS."""
        return self.proxy.tls_port

    @property
    def password(self) -> str:
        """Every user's password."""
        return self.dovecot.password

    @property
    def ca_file(self) -> Path:
        """The authority to trust, PEM."""
        return self.dovecot.ca_file

    def set_password(self, user: str, password: str) -> None:
        """See ``Dovecot.set_password``."""
        self.dovecot.set_password(user, password)

    def new_user(self, name: str = "user") -> str:
        """Return an address that nobody has used yet on this server."""
        return self.dovecot.new_user(name)

    def create(self, user: str, folder: FolderPath) -> None:
        """See ``Dovecot.create``; takes names that the profile would refuse."""
        self.dovecot.create(user, folder)

    def delete(self, user: str, folder: FolderPath) -> None:
        """See ``Dovecot.delete``; here the new folder has the same UIDVALIDITY."""
        self.dovecot.delete(user, folder)

    def deliver(
        self,
        user: str,
        folder: FolderPath,
        octets: bytes,
        *,
        flags: Iterable[str] = (),
        date: datetime | None = None,
    ) -> None:
        """See ``Dovecot.deliver``."""
        self.dovecot.deliver(user, folder, octets, flags=flags, date=date)

    def append(
        self,
        user: str,
        folder: FolderPath,
        octets: bytes,
        *,
        flags: Iterable[str] = (),
        date: datetime | None = None,
    ) -> None:
        """See ``Dovecot.append``."""
        self.dovecot.append(user, folder, octets, flags=flags, date=date)

    def snapshot(self, user: str) -> Snapshot:
        """See ``Dovecot.snapshot``."""
        return self.dovecot.snapshot(user)

    def set_quota(self, user: str, octets: int | None) -> None:
        """See ``Dovecot.set_quota``."""
        self.dovecot.set_quota(user, octets)

    def kill_connections(self, user: str) -> None:
        """See ``Dovecot.kill_connections``."""
        self.dovecot.kill_connections(user)

    def log_tail(self, lines: int = 40) -> str:
        """See ``Dovecot.log_tail``."""
        return self.dovecot.log_tail(lines)
