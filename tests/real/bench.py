"""Real mailboxes filled, carried and looked at: what the crash tests on real servers stand on.

A ``Place`` is one user's mailbox on a server. A ``Bench`` carries one into another by the library, in this process;
an ``Office`` by the command ``alimail``, in processes that can be killed. What stands in a mailbox is told by
``alimail_core.testing.oracle`` and by the servers' files, never by the code under test.
"""

from __future__ import annotations

import imaplib
import json
import os
import random
import re
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

from attrs import define, evolve, field, frozen

from alimail_core.contract import Credentials, Sink, Source
from alimail_core.events import Event
from alimail_core.folders.policy import FolderPolicy
from alimail_core.ledger import Ledger, State
from alimail_core.model import INBOX, FolderPath
from alimail_core.options import TransferOptions
from alimail_core.seam import Clock, Stop
from alimail_core.testing.alibaba import AlibabaServer
from alimail_core.testing.faults import Countdown, FaultingSink, FaultingSource
from alimail_core.testing.mail import message, odd_messages
from alimail_core.testing.oracle import (
    Kept,
    Snapshot,
    append_exactly,
    folder_path,
    mailbox_argument,
    selectable_folders,
    take_snapshot,
)
from alimail_core.testing.servers import Dovecot
from alimail_core.transfer import PassSummary, run_pass
from alimail_imap.options import ImapOptions
from alimail_imap.sink import ImapSink
from alimail_imap.source import ImapSource
from alimail_sink.options import AlibabaOptions
from alimail_sink.sink import AlibabaSink

Server: TypeAlias = Dovecot | AlibabaServer

PROJECTS: FolderPath = ("Projects", "客户")
SENT: FolderPath = ("Sent",)
FOLDERS = (INBOX, PROJECTS, SENT)
ELSEWHERE = {SENT: ("已发送",)}
"""Where Alibaba Mail has a folder that other servers call otherwise."""
SYSTEM = ("\\Seen", "\\Answered", "\\Flagged", "\\Draft")

WAIT_SECONDS = 60.0
"""How long a test waits for what will surely happen. No test asserts a duration."""


class HurriedClock(Clock):
    """Time that runs ``pace`` times as fast: the engine waits as long as it wants, and its servers a while."""

    def __init__(self, pace: float = 20.0) -> None:
        self._pace = pace
        self._wall, self._began = time.time(), time.monotonic()

    def now(self) -> datetime:
        """Return the hurried wall clock."""
        return datetime.fromtimestamp(self._wall + self.monotonic(), UTC)

    def monotonic(self) -> float:
        """Return hurried seconds since the clock was made."""
        return (time.monotonic() - self._began) * self._pace

    def sleep(self, seconds: float, until: threading.Event | None = None) -> None:
        """Wait a part of it."""
        super().sleep(seconds / self._pace, until)

    def random(self) -> float:
        """Return no jitter."""
        return 0.0


@frozen
class Place:
    """One user's mailbox. ``port``: where the engine is sent, such as a proxy before the server."""

    server: Server
    user: str
    port: int
    timeout: float = 20.0
    tls: bool = False

    @classmethod
    def at(cls, server: Server, name: str, port: int | None = None) -> Place:
        """Take a mailbox that nobody has used yet."""
        return cls(server, server.new_user(name), port or server.imap_port)

    @property
    def dovecot(self) -> Dovecot:
        """The server that keeps the mail."""
        return self.server.dovecot if isinstance(self.server, AlibabaServer) else self.server

    @property
    def credentials(self) -> Credentials:
        """How the engine logs in."""
        return Credentials(self.user, lambda: self.server.password)

    @property
    def options(self) -> ImapOptions:
        """How the engine reaches it by plain IMAP."""
        return ImapOptions(**self.way)

    @property
    def way(self) -> dict[str, Any]:
        """What leads to it, as options of any plug-in."""
        way: dict[str, Any] = {
            "host": self.server.host,
            "port": self.port,
            "tls": "none",
            "timeout": self.timeout,
        }
        return way | {"host": "localhost", "tls": "implicit", "ca": self.dovecot.ca_file} if self.tls else way

    @property
    def kind(self) -> str:
        """The plug-in that writes here."""
        return "alimail" if isinstance(self.server, AlibabaServer) else "imap"

    def open_source(self) -> Source:
        """Open it to read."""
        return ImapSource.open(self.options, self.credentials)

    def open_sink(self) -> Sink:
        """Open it to write, as the plug-in of its kind does."""
        if self.kind == "imap":
            return ImapSink.open(self.options, self.credentials)
        return AlibabaSink.open(AlibabaOptions(**self.way).imap(), self.credentials)

    def path(self, folder: FolderPath) -> FolderPath:
        """Return what a folder of the source is called here."""
        return ELSEWHERE.get(folder, folder) if self.kind == "alimail" else folder

    def deliver(self, folder: FolderPath, *messages: bytes, flags: Iterable[str] = (), days: int = 1) -> None:
        """Put messages into a folder, so many days old."""
        date = datetime.now(UTC).replace(microsecond=0) - timedelta(days=days)
        for octets in messages:
            self.server.deliver(self.user, self.path(folder), octets, flags=flags, date=date)

    def snapshot(self) -> Snapshot:
        """Read it whole, without the folders that hold nothing."""
        with self.dovecot.direct(self.user) as imap:
            found = take_snapshot(imap, self.dovecot.delimiter, self.dovecot.prefix)
        return {path: held for path, held in found.items() if held}

    def read(self) -> dict[FolderPath, list[tuple[bytes, frozenset[str], datetime]]]:
        """Read every message: octets, flags and internal date, by folder and in order."""
        with self.dovecot.direct(self.user) as imap:
            return {folder: list(_read(imap, self._argument(folder))) for folder in FOLDERS}

    def _argument(self, folder: FolderPath) -> str:
        return "INBOX" if folder == INBOX else mailbox_argument(self.path(folder), "/")

    def sizes(self, folder: FolderPath) -> list[int]:
        """Return the sizes of a folder's messages, ascending."""
        with self.dovecot.direct(self.user) as imap:
            return sorted(len(octets) for octets, _, _ in _read(imap, self._argument(folder)))

    def set_flags(self, folder: FolderPath, number: int, *flags: str) -> None:
        """Let a message have these flags and no others, as its user does."""
        with self.dovecot.direct(self.user) as imap:
            imap.select(self._argument(folder))
            imap.store(str(number), "FLAGS", f"({' '.join(flags)})")

    def given(self) -> dict[FolderPath, int]:
        """Return for each folder how many UIDs it has ever given, which is how many messages it was told to store."""
        with self.dovecot.direct(self.user) as imap:
            names = selectable_folders(imap)
            answers = [imap.status(f'"{name.decode()}"', "(UIDNEXT)")[1][0] for name in names]
        uids = [int(re.findall(rb"UIDNEXT (\d+)", answer)[0]) - 1 for answer in answers]
        return {folder_path(name, "/"): uid for name, uid in zip(names, uids, strict=True) if uid}

    def on_disk(self) -> int:
        """Count the messages that the server has on its disk at this instant, without disturbing it."""
        home = self.dovecot.base / "mail" / self.user
        return sum(len(files) for top, _, files in os.walk(home) if top.endswith(("/cur", "/new")))

    def wait_for(self, messages: int, alive: Callable[[], bool] = lambda: True) -> bool:
        """Watch until so many messages are on the disk; False where ``alive`` ends first, or time is up."""
        end = time.monotonic() + WAIT_SECONDS
        while alive() and time.monotonic() < end:
            if self.on_disk() >= messages:
                return True
            time.sleep(0.002)
        return False

    def renumber(self, folder: FolderPath) -> None:
        """Have the server give every message of a folder another UID, and the folder another UIDVALIDITY."""
        place = self.dovecot.maildir(self.user, self.path(folder))
        for file in (*place.glob("dovecot.index*"), place / "dovecot-uidlist"):
            file.unlink()
        # The last message becomes the first, so that no UID names what it named before.
        held = sorted((place / "cur").iterdir(), reverse=True)
        for number, file in enumerate(held):
            file.rename(
                file.with_name(f"{number + 1}.M{number:09}P1.again{file.name[file.name.index(',') :]}")
            )

    @contextmanager
    def appending(self, folder: FolderPath) -> Iterator[Callable[..., None]]:
        """Give a function ``append(octets, flags, date)`` that works as any other mail program does."""
        mailbox = self._argument(folder)
        if folder != INBOX:
            self.server.create(self.user, self.path(folder))
        with self.dovecot.direct(self.user) as imap:
            yield lambda octets, flags=(), date=None: append_exactly(imap, mailbox, octets, flags, date)


def _read(imap: imaplib.IMAP4, mailbox: str) -> Iterator[tuple[bytes, frozenset[str], datetime]]:
    kind, answer = imap.select(mailbox, readonly=True)
    assert kind == "OK", answer
    _, parts = imap.fetch("1:*", "(FLAGS INTERNALDATE BODY.PEEK[])") if answer[0] != b"0" else ("OK", [])
    for part in parts:
        if isinstance(part, tuple):
            date = imaplib.Internaldate2tuple(part[0])
            assert date is not None
            flags = frozenset(flag.decode() for flag in imaplib.ParseFlags(part[0]))
            yield part[1], flags - {"\\Recent"}, datetime.fromtimestamp(time.mktime(date), UTC)


def fill(place: Place, seed: int, messages: int, *, odd: bool = True) -> None:
    """Fill three folders: ordinary mail, the same message several times, mail without Message-ID, odd mail."""
    draw = random.Random(seed)
    for folder in FOLDERS[1:]:
        place.server.create(place.user, folder)
    while messages > 0:
        octets = _ordinary(draw)
        copies = min(messages, draw.choices((1, 2, 3), (90, 8, 2))[0])
        for _ in range(copies):
            flags = draw.sample(SYSTEM, draw.randint(0, 2))
            place.deliver(draw.choice(FOLDERS), octets, flags=flags, days=draw.randint(0, 400))
        messages -= copies
    if odd:
        _fill_odd(place, draw)


def _ordinary(draw: random.Random) -> bytes:
    number = draw.getrandbits(64)
    name = None if draw.random() < 0.1 else f"{number:x}@old.example"
    body = f"{number} 你好\r\n" * draw.choice((1, 10, 100, 1000))
    return message(f"number {number % 1000}", body, message_id=name)


def _fill_odd(place: Place, draw: random.Random) -> None:
    """Append every odd message that Dovecot takes, some with keywords; it refuses an empty one."""
    corpus = [octets for name, octets in odd_messages().items() if name != "empty"]
    draw.shuffle(corpus)
    for number, folder in enumerate(FOLDERS):
        with place.appending(folder) as append:
            for octets in corpus[number :: len(FOLDERS)]:
                flags = [*draw.sample(SYSTEM, 1), *draw.sample(("$Forwarded", "Projekt"), draw.randint(0, 1))]
                date = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(minutes=draw.randrange(2_000_000))
                append(octets, flags, date)


def carried(source: Snapshot, target: Place) -> Snapshot:
    """Return what a source's mail looks like in a target: its own folder names, no keywords at Alibaba Mail."""
    if target.kind == "imap":
        return source
    return {
        target.path(path): Counter(map(_without_keywords, held.elements())) for path, held in source.items()
    }


def _without_keywords(kept: Kept) -> Kept:
    return evolve(kept, flags=kept.flags & set(SYSTEM))


def differences(source: Place, target: Place) -> tuple[Snapshot, Snapshot]:
    """Return what is missing in the target and what is there too much: octets, flags and dates, by its folders."""
    wanted, found = carried(source.snapshot(), target), target.snapshot()
    return less(wanted, found), less(found, wanted)


def less(one: Snapshot, other: Snapshot) -> Snapshot:
    """Return what stands in one mailbox and not in the other."""
    left = {path: held - other.get(path, Counter()) for path, held in one.items()}
    return {path: held for path, held in left.items() if held}


def assert_all_there(source: Place, target: Place) -> None:
    """Octets, flags and dates of both sides are the same multisets, folder by folder."""
    missing, extra = differences(source, target)
    assert (missing, extra) == ({}, {})


def assert_written_once(target: Place) -> None:
    """The server has never stored more than what stands there now: no copy was written and taken away again."""
    assert target.given() == {path: held.total() for path, held in target.snapshot().items()}


def assert_claims(ledger: Path, messages: int) -> None:
    """In the ledger each message is stored, and no two claim one entry (docs/invariants.md, 4)."""
    with closing(sqlite3.connect(ledger)) as connection:
        rows = connection.execute("SELECT state, target_id, target_key FROM message").fetchall()
    assert Counter(State(row[0]).name for row in rows) == {"STORED": messages}
    assert len({row[1:] for row in rows if row[2] is not None}) == messages


# carried by the library, in this process


@define
class Bench:
    """One account between two places, by the library. The ledger is a file, opened anew for each pass."""

    source: Place
    target: Place
    ledger: Path
    clock: Clock = field(factory=HurriedClock)
    options: TransferOptions = field(factory=lambda: TransferOptions(batch_messages=10))
    observe: Callable[[Event], None] = lambda _: None
    on_sync: Callable[[], None] = lambda: None

    def run(self, plan: Countdown | None = None, *, refill: bool = False, **changed: Any) -> PassSummary:
        """Make one pass, struck where the plan says."""
        ledger = Ledger.open(str(self.ledger), "bench", self.clock)
        with closing(ledger):
            account_id = ledger.account("old@example.org", "new@example.org")
            ledger.on_sync = self.on_sync
            return run_pass(
                account="old@example.org",
                ledger=ledger,
                account_id=account_id,
                open_source=lambda: _faulty(FaultingSource, self.source.open_source(), plan),
                open_sink=lambda: _faulty(FaultingSink, self.target.open_sink(), plan),
                options=evolve(self.options, **changed),
                policy=FolderPolicy(),
                observe=self.observe,
                clock=self.clock,
                stop=Stop(),
                refill=refill,
            )

    def assert_settled(self) -> None:
        """Another pass writes nothing, and what stands in the target stays as it is."""
        before = self.target.snapshot()
        summary = self.run()
        assert (summary.state, summary.copied, summary.adopted) == ("done", 0, 0), summary
        assert self.target.snapshot() == before

    def assert_complete(self) -> None:
        """Everything is there, each message is claimed by one entry, and another pass writes nothing."""
        assert_all_there(self.source, self.target)
        self.assert_settled()

    def notes(self) -> list[str]:
        """Return what the ledger noted of the account."""
        with closing(Ledger.open(str(self.ledger), "bench", self.clock)) as ledger:
            return [text for text, _ in ledger.notes(1)]

    def lose_ledger(self) -> None:
        """Throw the ledger away."""
        self.ledger.unlink()


def _faulty(wrap: Any, side: Any, plan: Countdown | None) -> Any:
    return side if plan is None else wrap(side, plan)


# carried by the command, in processes of their own


@define
class Office:
    """One account between two places, by ``alimail migrate``, with a configuration in a folder of its own.

    ``alimail copy`` has no option for the settle time, and with its thirty seconds most of the time of a kill test
    would be waiting. ``migrate`` runs the same pass and reads the time from its configuration.
    """

    folder: Path
    source: Place
    target: Place
    transfer: Mapping[str, float] = {"settle_seconds": 1.5, "batch_messages": 20}

    def __attrs_post_init__(self) -> None:
        """Write the configuration."""
        self.folder.mkdir(parents=True, exist_ok=True)
        sides = {"source": ("imap", self.source), "target": (self.target.kind, self.target)}
        text = f'[migration]\nname = "kills"\nledger = "{self.ledger}"\n'
        for side, (kind, place) in sides.items():
            text += f'[{side}]\nkind = "{kind}"\nsecret = "env:{side.upper()}"\n'
            text += "".join(f"{name} = {_toml(value)}\n" for name, value in place.way.items())
        text += "[transfer]\n" + "".join(f"{name} = {value}\n" for name, value in self.transfer.items())
        text += f'[[account]]\nsource_address = "{self.source.user}"\ntarget_address = "{self.target.user}"\n'
        (self.folder / "alimail.toml").write_text(text, "utf-8")

    @property
    def ledger(self) -> Path:
        """The ledger's file."""
        return self.folder / "kills.ledger"

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start ``alimail``; the caller waits for it or kills it."""
        command = [
            str(Path(sys.executable).with_name("alimail")),
            *(words or ("migrate", "--yes", "--log", "log.jsonl")),
        ]
        secrets = {"SOURCE": self.source.server.password, "TARGET": self.target.server.password}
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=os.environ | secrets,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self) -> tuple[int, str]:
        """Run ``alimail migrate`` to its end; return exit code and output."""
        return end(self.start())

    def last_pass(self) -> dict[str, Any]:
        """Return what the log has of the last pass's end."""
        lines = (json.loads(line) for line in (self.folder / "log.jsonl").read_text("utf-8").splitlines())
        last: dict[str, Any] = [line for line in lines if line["event"] == "pass_ended"][-1]
        return last


def _toml(value: object) -> str:
    return f"{value}" if isinstance(value, int | float) else f'"{value}"'


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait until a process ends; return exit code and the output that nobody has read yet."""
    with ended(process):
        assert process.stdout is not None
        output = process.stdout.read()
        return process.wait(), output


def wait_until_told(process: subprocess.Popen[str], words: str) -> None:
    """Read what a process says until a line has these words."""
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        said.append(line)
        if words in line:
            return
    raise AssertionError(f"{words!r} was never said, but: {said}")


@contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """End a process with the block, whatever happens inside."""
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()


def kill_some(
    start: Callable[[], subprocess.Popen[str]], target: Place, draw: random.Random, messages: int
) -> None:
    """Start up to three runs and kill each some milliseconds after the target has so many messages."""
    # A run of so few messages is over soon: the first kill comes before that, later ones may come too late.
    assert _kill_one(start, target, draw, messages, latest=0.04), "the run was over before its kill"
    for _ in range(draw.randrange(3)):
        _kill_one(start, target, draw, messages, latest=0.2)


def _kill_one(
    start: Callable[[], subprocess.Popen[str]],
    target: Place,
    draw: random.Random,
    messages: int,
    latest: float,
) -> bool:
    there = target.on_disk()
    at = draw.randint(there, min(there + messages // 2, messages))
    delay = draw.choice((0.0, 0.002, 0.02, latest)) * draw.random()
    with ended(start()) as process:
        target.wait_for(at + (at == there and draw.random() < 0.7), lambda: process.poll() is None)
        time.sleep(delay)
        return process.poll() is None
