"""Two servers, as far away as a work wants them, and the mailboxes on them that a tool is pointed at."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Self

from attrs import field, frozen

from alimail_core.testing.servers import Dovecot
from benchmarks.relay import Relay

HOST = "localhost"

ALIBABA = "IMAP4rev1 IDLE XLIST UIDPLUS ID SASL-IR"
"""What Alibaba Mail announces of what Dovecot can: no LITERAL+, no MULTIAPPEND, no CONDSTORE."""
POOR = "IMAP4rev1 LITERAL+ IDLE NAMESPACE UIDPLUS CHILDREN ID MOVE"
"""A server without CONDSTORE and QRESYNC, such as Exchange's or an old one."""


@frozen
class End:
    """One mailbox, as a tool reaches it."""

    kind: str
    """The plug-in of alimail that is for it."""
    port: int
    user: str
    password: str = field(repr=False)
    tls: bool
    ca_file: Path
    host: str = HOST


@frozen
class Job:
    """What a tool has to do: bring each pair's target up to its source. ``folder`` keeps its state between runs."""

    folder: Path
    pairs: tuple[tuple[End, End], ...]
    target: Dovecot
    """The server of the targets, for a tool that works on it by other ways than IMAP."""

    def file(self, name: str, text: str) -> Path:
        """Write a file beside the tool's state, for our eyes only."""
        path = self.folder / name
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
        return path


@frozen
class Stage:
    """Everything that stands while a work is measured."""

    folder: Path
    source: Dovecot
    target: Dovecot
    relay: Relay | None
    alibaba: bool

    @classmethod
    @contextmanager
    def built(cls, *, round_trip: float, poor_source: bool, alibaba: bool) -> Iterator[Self]:
        """Start it all, as durable as Dovecot is by default; nothing is left afterwards."""
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="alibench")))
            source = stack.enter_context(Dovecot(capability=POOR if poor_source else None, fsync=True))
            target = stack.enter_context(
                Dovecot(
                    capability=ALIBABA if alibaba else None,
                    fsync=True,
                    settings=f"imapc_password = {source.password}",
                )
            )
            relay = None
            if round_trip:
                ports = [port for each in (source, target) for port in (each.imap_port, each.imaps_port)]
                relay = stack.enter_context(Relay.start(round_trip, ports))
            yield cls(folder, source, target, relay, alibaba)

    def job(self, name: str, sources: tuple[str, ...], tls: bool) -> Job:
        """Give a tool new mailboxes for the sources' mail, and a new place for its state."""
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))
        kind = "alimail" if self.alibaba else "imap"
        pairs = tuple(
            (
                self._end("imap", self.source, user, tls),
                self._end(kind, self.target, self.target.new_user(name), tls),
            )
            for user in sources
        )
        return Job(folder, pairs, self.target)

    def clear(self, job: Job) -> None:
        """Remove what a job has made, and let the disk come to rest before anything is measured."""
        for _, target in job.pairs:
            shutil.rmtree(self.target.base / "mail" / target.user, ignore_errors=True)
        shutil.rmtree(job.folder)
        os.sync()

    def _end(self, kind: str, server: Dovecot, user: str, tls: bool) -> End:
        port = server.imaps_port if tls else server.imap_port
        if self.relay is not None:
            port = self.relay.ports[port]
        return End(kind, port, user, server.password, tls, server.ca_file)
