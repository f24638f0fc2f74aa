"""Real mail servers on loopback, private to whoever starts them: for tests, demonstrations and plug-in authors.

::

    with Dovecot(capability="IMAP4rev1 UIDPLUS", quota_octets=10**6) as server:
        server.deliver("amy@example.org", ("INBOX",), octets, flags={"\\\\Seen"}, date=when)
        ...  # 127.0.0.1, server.imap_port, any user, server.password
        server.snapshot("amy@example.org")

Needs Dovecot 2.3 (Debian: ``dovecot-imapd``, ``dovecot-pop3d``) and ``openssl``. Nothing of the system's own
Dovecot is read or written; it listens on 127.0.0.1 only.
"""

from __future__ import annotations

import grp
import imaplib
import itertools
import os
import pwd
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

from attrs import define, field

from alimail_core.model import FolderPath
from alimail_core.testing import dovecot_config
from alimail_core.testing.certificates import Certificate, make_certificate
from alimail_core.testing.oracle import Snapshot, append_exactly, mailbox_argument, take_snapshot

HOST = "127.0.0.1"
START_SECONDS = 60.0
STOP_SECONDS = 20.0
_PORTS = range(16384, 32768)
"""Below those that Linux and others give by themselves (RFC 6335 §6 has them begin at 49152)."""
_PATH = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"
_WITH_US = 'exec 3<&0; (read -r _ <&3; kill -TERM 0) & exec "$@" 3<&- </dev/null'
"""Run a server that ends when our end of its standard input closes: with us, even where we are killed."""
_LETTERS = {"\\Draft": "D", "\\Flagged": "F", "\\Answered": "R", "\\Seen": "S", "\\Deleted": "T"}
"""The flags of a Maildir file's name."""


class ServerError(Exception):
    """A server did not start, or one of its tools failed; the text ends with the end of its log."""


@define(eq=False)
class Dovecot:
    """One private Dovecot. Start it with ``with`` or ``start``; it ends with ``stop``.

    Any user logs in with ``password``. ``master_user`` logs in for any user with ``master_password`` (SASL
    PLAIN with an authorisation identity).
    """

    folder: Path | None = None
    """Where mail and log stay after the end; ``None``: a temporary folder that ends with the server."""
    capability: str | None = None
    """Exactly what is announced after login; Dovecot goes on to take what it does not announce."""
    quota_octets: int | None = None
    """Each mailbox's storage limit; see ``set_quota`` to change it while the server runs."""
    max_connections: int = 0
    """Connections of one user from one address; 0: no limit."""
    delimiter: str = "/"
    prefix: str = ""
    """The personal namespace's prefix, such as ``INBOX.`` (which needs ``delimiter="."``)."""
    special_use: Mapping[str, str] = field(factory=dict)
    """Folders that every mailbox has from its beginning: name -> attribute, such as ``"Sent": "\\Sent"``."""
    pop3: bool = False
    mail_format: str = "maildir"
    """Dovecot's driver for the mail: ``maildir`` (what ``deliver`` needs), ``sdbox`` or ``mdbox``."""
    layout: str = "fs"
    """How a Maildir's folders lie on disk: ``fs`` or ``maildir++``."""
    fsync: bool = False
    """Write as durably as Dovecot does by default (for benchmarks) instead of as fast as it can."""
    own_passwords: bool = False
    """Each user logs in with what ``set_password`` gave, and nobody else does."""
    settings: str = ""
    """More lines for the configuration."""

    password: str = field(factory=lambda: secrets.token_hex(8), repr=False)
    master_user: str = "master"
    master_password: str = field(factory=lambda: secrets.token_hex(8), repr=False)
    host: str = field(default=HOST, init=False)
    imap_port: int = field(default=0, init=False)
    imaps_port: int = field(default=0, init=False)
    pop3_port: int = field(default=0, init=False)
    pop3s_port: int = field(default=0, init=False)
    certificate: Certificate = field(init=False)
    _run: Path = field(init=False, repr=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False, repr=False)
    _places: dict[tuple[str, FolderPath], Path] = field(factory=dict, init=False, repr=False)
    _numbers: Iterator[int] = field(factory=itertools.count, init=False, repr=False)

    # -- its life

    def start(self) -> Self:
        """Start, and return when the server greets. Raises ``ServerError`` with its log."""
        # A socket's path holds at most 107 octets, so the sockets get a short folder whatever `folder` is.
        self._run = Path(tempfile.mkdtemp(prefix="ali"))
        try:
            self._prepare()
            for _ in range(5):
                if self._launch():
                    return self
            raise ServerError(f"Dovecot did not start\n{self.log_tail()}")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the server and wait until it has ended. Idempotent."""
        # To the whole group: the server's own orderly end takes a second longer.
        self._end_process(signal.SIGTERM)
        shutil.rmtree(self._run, ignore_errors=True)

    def _end_process(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        for number in (how, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            try:
                process.communicate(timeout=STOP_SECONDS)
                return
            except subprocess.TimeoutExpired:
                continue

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def _prepare(self) -> None:
        """Make folders that both the server's users can enter, the certificate and the users' files."""
        self._run.chmod(0o755)
        for place in (self.base, self.base / "mail"):
            place.mkdir(parents=True, exist_ok=True)
            place.chmod(0o755)
        self._give_away(self.base / "mail")
        self.certificate = make_certificate(self._run)
        self.ca_file.chmod(0o644)
        for name in ("users", "closed", "passwords"):
            (self._run / name).touch()
        (self._run / "masters").write_text(f"{self.master_user}:{{PLAIN}}{self.master_password}\n")
        for name in ("users", "closed", "passwords", "masters"):
            self._protect(self._run / name)

    def _protect(self, file: Path) -> None:
        """Let the server's authentication process alone read a file."""
        file.chmod(0o600)
        if os.geteuid() == 0:
            os.chown(file, pwd.getpwnam("dovecot").pw_uid, -1)

    def _give_away(self, place: Path) -> None:
        """Hand a folder to the user that keeps mail; Dovecot never keeps any as root."""
        if os.geteuid() == 0:
            account = _mail_account()
            os.chown(place, account.pw_uid, account.pw_gid)

    def _launch(self) -> bool:
        """Start on fresh ports; False if the server ended, as when another process was faster at a port."""
        self.imap_port, self.imaps_port, self.pop3_port, self.pop3s_port = free_ports(4)
        self._conf.write_text(dovecot_config.write(self, self._run, self.base, _mail_account(), _group()))
        self._conf.chmod(0o600)
        command = ["/bin/sh", "-c", _WITH_US, "sh", _tool("dovecot"), "-F", "-c", str(self._conf)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
        )
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            if _greets(self.imap_port):
                return True
            time.sleep(0.005)
        self._end_process(signal.SIGKILL)
        return False

    # -- where things are

    @property
    def base(self) -> Path:
        """Where mail and log are."""
        return self.folder if self.folder is not None else self._run / "data"

    @property
    def ca_file(self) -> Path:
        """The authority to trust, PEM."""
        return self.certificate.ca_file

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.base / "dovecot.log"

    def log_tail(self, lines: int = 40) -> str:
        """Return the end of the server's log."""
        if not self.log.exists():
            return "(no log)"
        return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-lines:])

    @property
    def _conf(self) -> Path:
        return self._run / "server.conf"

    def new_user(self, name: str = "user") -> str:
        """Return an address that nobody has used yet on this server."""
        return f"{name}{next(self._numbers)}@example.org"

    def maildir(self, user: str, folder: FolderPath = ("INBOX",)) -> Path:
        """Return the folder's place on disk, making it where it does not exist."""
        key = (user, folder)
        if key not in self._places:
            name = self.prefix + self.delimiter.join(folder) if folder != ("INBOX",) else "INBOX"
            if folder != ("INBOX",):
                self.create(user, folder)
            else:
                with self.direct(user) as imap:
                    imap.select("INBOX")
            self._places[key] = Path(self.doveadm("mailbox", "path", "-u", user, name).strip())
        return self._places[key]

    # -- what is inside

    def plant(self, user: str, folder: FolderPath = ("INBOX",)) -> None:
        """Make a folder of a mailbox that nobody has opened yet, on disk alone: hundreds a second, where ``create``
        needs a session each. For names in ASCII, Maildirs and ``layout="fs"``."""
        home = self.base / "mail" / user
        place = home / "inbox" if folder == ("INBOX",) else home.joinpath("mail", *folder)
        for part in ("cur", "new", "tmp"):
            (place / part).mkdir(parents=True, exist_ok=True)
        for made in (home, *(each for each in home.rglob("*") if each.is_dir())):
            self._give_away(made)
        self._places[user, folder] = place

    def create(self, user: str, folder: FolderPath) -> None:
        """Make a folder and subscribe to it; one that exists is left as it is."""
        mailbox = self._argument(folder)
        with self.direct(user) as imap:
            kind, answer = imap.create(mailbox)
            if kind != "OK" and b"ALREADYEXISTS" not in answer[0]:
                raise ServerError(f"CREATE {mailbox}: {answer[0]!r}")
            imap.subscribe(mailbox)

    def delete(self, user: str, folder: FolderPath) -> None:
        """Delete a folder with what is in it. Made again, it has a new UIDVALIDITY."""
        self._places.pop((user, folder), None)
        with self.direct(user) as imap:
            kind, answer = imap.delete(self._argument(folder))
            if kind != "OK":
                raise ServerError(f"DELETE {folder}: {answer[0]!r}")

    def deliver(
        self,
        user: str,
        folder: FolderPath,
        octets: bytes,
        *,
        flags: Iterable[str] = (),
        date: datetime | None = None,
    ) -> None:
        """Put a message into a folder by writing its Maildir file: thousands a second, UIDs in this order.

        System flags only. What the server then gives has CRLF where ``octets`` has a bare LF: use ``append``
        for odd messages and for keywords. ``date`` (aware) is kept to the second.
        """
        self._deliver(self.maildir(user, folder), octets, flags, date or datetime.now(UTC))

    def _deliver(self, place: Path, octets: bytes, flags: Iterable[str], date: datetime) -> None:
        size = f",S={len(octets)}"
        if octets.count(b"\n") == octets.count(b"\r\n"):
            size += f",W={len(octets)}"
        letters = "".join(sorted(_LETTERS[flag] for flag in flags))
        name = f"{int(time.time())}.M{next(self._numbers):09}P{os.getpid()}.alimail{size}:2,{letters}"
        file = f"{place}/tmp/{name}"
        with open(file, "wb", buffering=0) as writer:
            os.fchmod(writer.fileno(), 0o644)  # for who keeps the mail, whatever our umask is
            writer.write(octets)
        os.utime(file, (date.timestamp(), date.timestamp()))
        os.rename(file, f"{place}/cur/{name}")

    def append(
        self,
        user: str,
        folder: FolderPath,
        octets: bytes,
        *,
        flags: Iterable[str] = (),
        date: datetime | None = None,
    ) -> None:
        """Put a message into a folder that exists by APPEND, octets untouched on the wire."""
        with self.direct(user) as imap:
            append_exactly(imap, self._argument(folder), octets, flags, date)

    def snapshot(self, user: str) -> Snapshot:
        """Read the whole mailbox: the oracle that tests compare both sides by."""
        with self.direct(user) as imap:
            return take_snapshot(imap, self.delimiter, self.prefix)

    def _argument(self, folder: FolderPath) -> str:
        if folder == ("INBOX",):
            return "INBOX"
        parts = (*self.prefix.split(self.delimiter)[:-1], *folder) if self.prefix else folder
        return mailbox_argument(parts, self.delimiter)

    # -- at work

    @contextmanager
    def direct(self, user: str) -> Iterator[imaplib.IMAP4]:
        """Open a session of the user's past login: no password, no connection that a limit counts."""
        command = [_tool("doveadm"), "-c", str(self._conf), "exec", "imap", "-u", user]
        imap = imaplib.IMAP4_stream(shlex.join(command) + f" 2>>{shlex.quote(str(self.log))}")
        try:
            yield imap
            imap.logout()
        except BaseException:
            with suppress(OSError):  # what was not sent yet to a session that has ended
                imap.shutdown()
            imap.process.wait()
            raise

    def set_quota(self, user: str, octets: int | None) -> None:
        """Change one mailbox's storage limit, ``None`` for no limit; it holds for sessions that begin later."""
        rule = f"*:bytes={octets or 0}"
        self._list(
            "users",
            user,
            f"{user}::::::: userdb_quota_rule={rule}\n",
            lambda: rule in self.doveadm("user", "-f", "quota_rule", user).split(),
        )

    def set_password(self, user: str, password: str) -> None:
        """Let a user in with this password, within a second; for a server with ``own_passwords``."""
        with (self._run / "passwords").open("a", encoding="utf-8") as file:
            file.write(f"{user.lower()}:{{PLAIN}}{password}\n")

    def close_account(self, user: str) -> None:
        """Take an account away: its sessions end and nobody can log in to it, as if there had never been one."""
        self._list("closed", user, f"{user}:\n", lambda: not self._lets_in(user))
        self.kill_connections(user)

    def open_account(self, user: str) -> None:
        """Put an account that was closed back, with its mail."""
        self._list("closed", user, "", lambda: self._lets_in(user))

    def _lets_in(self, user: str) -> bool:
        return "auth succeeded" in self.doveadm("auth", "test", user, self.password, allow=(0, 77))

    def _list(self, name: str, user: str, line: str, holds: Callable[[], bool]) -> None:
        """Replace a user's line of a file that the server reads, and wait until the change holds."""
        file, replacement = self._run / name, self._run / f"{name}.new"
        lines = file.read_text("utf-8").splitlines(keepends=True)
        kept = "".join(each for each in lines if not each.startswith(f"{user}:"))
        replacement.write_text(kept + line, "utf-8")
        self._protect(replacement)
        replacement.rename(file)
        # Dovecot looks at the file's date and size, at most once a second.
        for _ in range(1000):
            if holds():
                return
            file.write_text(file.read_text("utf-8") + "#\n", "utf-8")
            time.sleep(0.02)
        raise ServerError(f"the line of {user} in {name} did not take hold\n{self.log_tail()}")

    def kill_connections(self, user: str) -> None:
        """End all of a user's sessions at once."""
        self.doveadm("kick", user, allow=(0, 68))  # 68: nobody was there (EX_NOHOST)

    def doveadm(self, *arguments: str, allow: Iterable[int] = (0,)) -> str:
        """Run ``doveadm`` against this server; return what it printed. Raises ``ServerError``."""
        command = self.command(*arguments)
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode not in allow:
            raise ServerError(f"doveadm {arguments[0]} failed: {done.stderr}\n{self.log_tail()}")
        return done.stdout

    def command(self, *arguments: str) -> list[str]:
        """Return the command line that runs ``doveadm`` against this server."""
        return [_tool("doveadm"), "-c", str(self._conf), *arguments]


def _tool(name: str) -> str:
    found = shutil.which(name, path=_PATH)
    if found is None:
        raise ServerError(f"{name} is not installed (Debian: apt install dovecot-imapd dovecot-pop3d)")
    return found


@cache
def _mail_account() -> pwd.struct_passwd:
    """Return whose the mail is: ours, or where we are root an account that may keep nothing else."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())


def _group() -> str:
    return grp.getgrgid(_mail_account().pw_gid).gr_name


def free_ports(count: int) -> list[int]:
    """Return ports for a server that must be told them before it starts.

    None of those that the system gives by itself to whoever connects or listens meanwhile.
    """
    free: list[int] = []
    while len(free) < count:
        port = secrets.choice(_PORTS)
        with suppress(OSError), socket.create_server((HOST, port)):
            if port not in free:
                free.append(port)
    return free


def _greets(port: int) -> bool:
    try:
        with socket.create_connection((HOST, port), START_SECONDS) as connection:
            return connection.recv(4) == b"* OK"
    except OSError:
        return False
