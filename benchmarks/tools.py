"""The tools that are measured, each with settings that serve it well; ``settings`` tells them to the reader."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote, urlencode

from attrs import frozen

from benchmarks.measure import Command
from benchmarks.stage import End, Job

SUBJECT = "alimail"


class Tool(ABC):
    """A program that brings targets up to their sources."""

    name: ClassVar[str]
    settings: ClassVar[str]
    """What it is told beyond where the mail is, in words."""
    adds: ClassVar[str] = ""
    """A header field that it adds to each message by design."""

    @abstractmethod
    def program(self) -> str | None:
        """Return where it is, ``None`` where this machine has none."""

    @abstractmethod
    def version(self) -> str:
        """Return its version."""

    @abstractmethod
    def commands(self, job: Job) -> list[Command]:
        """Return what does a job: the first time and, with the same job, every later time."""


def _said(*words: str) -> str:
    # Where servers' programs are, which is in the PATH of root alone.
    path = {"PATH": f"{os.environ['PATH']}:/usr/sbin"}
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=60, check=False, env=os.environ | path
    )
    match = re.search(r"\d+(?:\.\d+)+", done.stdout + done.stderr)
    return match[0] if match is not None else ""


class Alimail(Tool):
    """The tool that all this is about, as its users start it."""

    name = SUBJECT
    settings = (
        "`alimail copy --plain --log FILE`; many accounts: `alimail migrate`, `workers = 16`; else defaults. "
        "Under the Python that each section names: 3.11.2 is Debian 12's own, as the peers are; 3.11.7 was built "
        "from source without optimisation by profile."
    )
    workers = 16

    def program(self) -> str | None:
        """Return the command of this environment."""
        return shutil.which("alimail", path=str(Path(sys.executable).parent))

    def version(self) -> str:
        """Return its version."""
        return _said(str(self.program()), "--version")

    def commands(self, job: Job) -> list[Command]:
        """Return a copy of one mailbox or a migration of many."""
        source, target = job.pairs[0]
        words = (*self._migrate(job),) if len(job.pairs) > 1 else (*self._copy(job, source, target),)
        words = (str(self.program()), *words, "--plain", "--log", str(log_file(job)))
        return [Command(words, {"BENCH_SOURCE": source.password, "BENCH_TARGET": target.password})]

    def _copy(self, job: Job, source: End, target: End) -> list[str]:
        secrets = ["--source-secret", "env:BENCH_SOURCE", "--target-secret", "env:BENCH_TARGET"]
        return ["copy", *secrets, "--ledger", str(job.folder / "copy.ledger"), _url(source), _url(target)]

    def _migrate(self, job: Job) -> list[str]:
        source, target = job.pairs[0]
        lines = ["[migration]", 'name = "bench"', f"workers = {self.workers}"]
        for name, end in (("source", source), ("target", target)):
            options = {"host": end.host, "port": end.port} | _security(end)
            lines += [f"[{name}]", f'kind = "{end.kind}"', f'secret = "env:BENCH_{name.upper()}"']
            lines += [f"{key} = {json.dumps(value)}" for key, value in options.items()]
        for source, target in job.pairs:
            lines += ["[[account]]", f'source_address = "{source.user}"', f'target_address = "{target.user}"']
        return ["migrate", "--yes", "-c", str(job.file("bench.toml", "\n".join(lines)))]


def log_file(job: Job) -> Path:
    """Return where alimail's events are, one a line."""
    return job.folder / "log.jsonl"


def _security(end: End) -> dict[str, str | int]:
    return {"tls": "implicit", "ca": str(end.ca_file)} if end.tls else {"tls": "none"}


def _url(end: End) -> str:
    options = urlencode(_security(end))
    if end.kind == "alimail":
        return f"alimail://{end.user}?host={end.host}&port={end.port}&{options}"
    return f"imap://{quote(end.user, safe='')}@{end.host}:{end.port}?{options}"


class Mbsync(Tool):
    """isync."""

    name = "mbsync"
    settings = (
        "`Sync Pull`, `Create Near`, `Expunge Near`, `CopyArrivalDate yes`; else defaults (`PipelineDepth` without "
        "limit, `FSync yes`). Many accounts: one process after another. Its `X-TUID` header is not held against it."
    )
    adds = "X-TUID"

    def program(self) -> str | None:
        """Return where it is."""
        return shutil.which("mbsync")

    def version(self) -> str:
        """Return its version."""
        return _said("mbsync", "--version")

    def commands(self, job: Job) -> list[Command]:
        """Return one command for each pair."""
        return [self._command(job, number, *pair) for number, pair in enumerate(job.pairs)]

    def _command(self, job: Job, number: int, source: End, target: End) -> Command:
        state = job.folder / f"state{number}"
        state.mkdir(exist_ok=True)
        text = f"""
{_store("source", source)}
{_store("target", target)}
Channel all
Far :source:
Near :target:
Patterns *
Sync Pull
Create Near
Expunge Near
CopyArrivalDate yes
SyncState {state}/
"""
        return Command(("mbsync", "-q", "-c", str(job.file(f"mbsync{number}", text)), "all"))


def _store(name: str, end: End) -> str:
    security = f"SSLType IMAPS\nCertificateFile {end.ca_file}" if end.tls else "SSLType None"
    return f"""IMAPStore {name}
Host {end.host}
Port {end.port}
User {end.user}
Pass {end.password}
AuthMechs LOGIN
{security}
Timeout 300
"""


class Doveadm(Tool):
    """Dovecot's own migration, which reads by IMAP and writes the target server's files itself."""

    name = "doveadm"
    settings = (
        "`doveadm backup -R` over imapc with `imapc_features = rfc822.size fetch-headers` and "
        "`mail_prefetch_count = 20`, as Dovecot's migration guide has it. It needs a shell on the target server, and "
        "writes there without IMAP and without any distance."
    )

    def program(self) -> str | None:
        """Return where it is."""
        return shutil.which("doveadm")

    def version(self) -> str:
        """Return its version."""
        return _said("dovecot", "--version")

    def commands(self, job: Job) -> list[Command]:
        """Return one command for each pair."""
        return [Command(tuple(job.target.command(*_imapc(*pair)))) for pair in job.pairs]


def _imapc(source: End, target: End) -> list[str]:
    settings = {
        "imapc_host": source.host,
        "imapc_port": source.port,
        "imapc_user": source.user,
        "imapc_ssl": "imaps" if source.tls else "no",
        "imapc_ssl_verify": "no",
        "imapc_features": "rfc822.size fetch-headers",
        "mail_prefetch_count": 20,
    }
    options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
    return [*options, "backup", "-R", "-u", target.user, "imapc:"]


class Offlineimap(Tool):
    """OfflineIMAP, between two IMAP servers."""

    name = "offlineimap"
    settings = "`maxconnections = 4` on both sides, `readonly` source, quiet; else defaults."

    def program(self) -> str | None:
        """Return where it is."""
        return shutil.which("offlineimap")

    def version(self) -> str:
        """Return its version."""
        return _said("offlineimap", "--version")

    def commands(self, job: Job) -> list[Command]:
        """Return one command for each pair."""
        return [self._command(job, number, *pair) for number, pair in enumerate(job.pairs)]

    def _command(self, job: Job, number: int, source: End, target: End) -> Command:
        text = f"""[general]
accounts = bench
metadata = {job.folder}/state{number}
ui = quiet
[Account bench]
localrepository = target
remoterepository = source
[Repository target]
{_repository(target)}
[Repository source]
{_repository(source)}
readonly = True
createfolders = False
"""
        return Command(("offlineimap", "-o", "-c", str(job.file(f"offlineimap{number}", text))))


def _repository(end: End) -> str:
    security = f"ssl = yes\nsslcacertfile = {end.ca_file}" if end.tls else "ssl = no\nstarttls = no"
    return f"""type = IMAP
remotehost = {end.host}
remoteport = {end.port}
remoteuser = {end.user}
remotepass = {end.password}
maxconnections = 4
{security}"""


@frozen
class Imapsync(Tool):
    """imapsync, where the environment says what command it is."""

    command: str

    name = "imapsync"
    settings = "`--delete2 --nolog --nofoldersizes --nofoldersizesatend --noreleasecheck`; else defaults."

    def program(self) -> str | None:
        """Return the command's first word, where it is one."""
        words = shlex.split(self.command)
        return shutil.which(words[0]) if words else None

    def version(self) -> str:
        """Return its version."""
        return _said(*shlex.split(self.command), "--version")

    def commands(self, job: Job) -> list[Command]:
        """Return one command for each pair."""
        quiet = ("--delete2", "--nolog", "--nofoldersizes", "--nofoldersizesatend", "--noreleasecheck")
        place = ("--tmpdir", str(job.folder), "--pidfile", str(job.folder / "pid"))
        return [
            Command(
                (
                    *shlex.split(self.command),
                    *_side(job, "1", source),
                    *_side(job, "2", target),
                    *quiet,
                    *place,
                )
            )
            for source, target in job.pairs
        ]


def _side(job: Job, side: str, end: End) -> list[str]:
    secret = job.file(f"secret{side}", end.password)
    security = [f"--ssl{side}"] if end.tls else [f"--nossl{side}", f"--notls{side}"]
    where = [f"--host{side}", end.host, f"--port{side}", str(end.port)]
    return [*where, f"--user{side}", end.user, f"--passfile{side}", str(secret), *security]


def all_tools(imapsync: str = os.environ.get("IMAPSYNC", "")) -> list[Tool]:
    """Return those that this machine has, alimail first."""
    known: list[Tool] = [Alimail(), Mbsync(), Doveadm(), Offlineimap(), Imapsync(imapsync)]
    return [tool for tool in known if tool.program() is not None]
