"""IMAP servers of other makes than Dovecot, private to a test, from where ``tools/peers`` unpacked them."""

from __future__ import annotations

import grp
import imaplib
import os
import pwd
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import ClassVar, Protocol, Self

from alimail_core.testing.servers import HOST, START_SECONDS, STOP_SECONDS, ServerError, free_ports

ROOT = Path(__file__).parents[2] / ".peers" / "root"
PASSWORD = "any will do"


class Peer(Protocol):
    """A running server; everybody logs in with ``password``."""

    delimiter: ClassVar[str]
    prefix: ClassVar[str]
    host: str
    imap_port: int
    password: str

    def new_user(self, name: str) -> str:
        """Make a mailbox that nobody has used yet, and return who logs in to it."""

    def log_tail(self, lines: int = 40) -> str:
        """Return the end of what the server complained of."""

    def __enter__(self) -> Self: ...
    def __exit__(self, *exception: object) -> None: ...


def environment(root: Path = ROOT) -> dict[str, str]:
    """Return what the programs that are unpacked in ``root`` need to find their libraries."""
    if not ROOT.is_dir():
        raise ServerError("the other makes are not there: run tools/peers")
    places = (root / "usr/lib", *root.glob("usr/lib/*-linux-gnu"), *root.glob("lib/*-linux-gnu"))
    return {"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": ":".join(map(str, places)), "LANG": "C.UTF-8"}


_CYRUS = """\
configdirectory: {base}/conf
partition-default: {base}/spool
defaultpartition: default
cyrus_user: {user}
cyrus_group: {group}
admins: admin
sasl_pwcheck_method: saslauthd
sasl_saslauthd_path: {base}/sasl/mux
sasl_mech_list: PLAIN
allowplaintext: yes
unixhierarchysep: yes
altnamespace: yes
virtdomains: off
"""
_CYRUS_SERVICES = """\
START {{
  recover cmd="{bin}/ctl_cyrusdb -C {base}/imapd.conf -r"
}}
SERVICES {{
  imap cmd="{bin}/imapd -C {base}/imapd.conf" listen="{host}:{port}" prefork=0 maxchild=20
}}
EVENTS {{
}}
"""
_PLACES = ("conf/db", "conf/proc", "conf/socket", "conf/log", "conf/msg", "conf/lock", "conf/user", "conf/quota",
           "spool", "sasl")  # fmt: skip


class Cyrus:
    """Cyrus IMAP. It asks a saslauthd for passwords, which is a thread of ours that lets everybody in."""

    delimiter: ClassVar[str] = "/"
    prefix: ClassVar[str] = ""

    def __init__(self) -> None:
        self.host = HOST
        self.password = PASSWORD
        self._users = 0
        self._base = Path(tempfile.mkdtemp(prefix="cyr"))
        self._root = self._base / "root"
        self._bin = self._root / "usr/lib/cyrus/bin"
        (self.imap_port,) = free_ports(1)

    def __enter__(self) -> Self:
        """Start; return when it greets."""
        self._prepare()
        self._doors = socket.socket(socket.AF_UNIX)
        self._doors.bind(str(self._base / "sasl" / "mux"))
        (self._base / "sasl" / "mux").chmod(0o777)
        self._doors.listen(50)
        self._door_keeper = threading.Thread(target=self._let_in, daemon=True)
        self._door_keeper.start()
        places = ("-C", self._base / "imapd.conf", "-M", self._base / "cyrus.conf", "-p", self._base / "pid")
        with open(self._base / "log", "wb") as log:
            self._process = subprocess.Popen(
                [str(self._bin / "master"), *map(str, places), "-D"],
                env=environment(self._root), stdin=subprocess.DEVNULL, stderr=log, start_new_session=True,
            )  # fmt: skip
        _wait_for_greeting(self, self._process)
        return self

    def _prepare(self) -> None:
        for name in _PLACES:
            (self._base / name).mkdir(parents=True)
        keeper = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        wishes: dict[str, object] = {
            "base": self._base,
            "bin": self._bin,
            "host": HOST,
            "port": self.imap_port,
        }
        owner = {"user": keeper.pw_name, "group": grp.getgrgid(keeper.pw_gid).gr_name}
        (self._base / "imapd.conf").write_text(_CYRUS.format(**wishes, **owner))
        (self._base / "cyrus.conf").write_text(_CYRUS_SERVICES.format(**wishes))
        self._base.chmod(0o755)
        for place in (self._base, *self._base.rglob("*")):
            os.chown(place, keeper.pw_uid, keeper.pw_gid)
        # Its keeper may be unable to enter a checkout, such as one in the home folder of root.
        for place in (self._root, self._root / "usr"):
            place.mkdir()
            place.chmod(0o755)
        for name in ("usr/lib", "lib"):
            shutil.copytree(ROOT / name, self._root / name, symlinks=True)

    def _let_in(self) -> None:
        """Say OK to user, password, service and realm, each told with its length before it."""
        with suppress(OSError):
            while True:
                asking, _ = self._doors.accept()
                with asking, asking.makefile("rb") as asked:
                    for _ in range(4):
                        asked.read(*struct.unpack(">H", asked.read(2)))
                    asking.sendall(struct.pack(">H", 2) + b"OK")

    def __exit__(self, *exception: object) -> None:
        """Stop, and leave nothing behind."""
        _end(self._process)
        self._doors.shutdown(socket.SHUT_RDWR)
        self._doors.close()
        self._door_keeper.join(STOP_SECONDS)
        shutil.rmtree(self._base)

    def new_user(self, name: str) -> str:
        """See ``Peer``."""
        self._users += 1
        user = f"{name}{self._users}"
        with imaplib.IMAP4(self.host, self.imap_port) as imap:
            imap.login("admin", PASSWORD)
            imap.create(f"user/{user}")
        return user

    def log_tail(self, lines: int = 40) -> str:
        """See ``Peer``."""
        return _tail(self._base / "log", lines)


_WORDS = re.compile(rb'"((?:[^"\\]|\\.)*)"|(\S+)')
_COURIER = {
    "PROTOCOL": "IMAP",
    "TCPREMOTEIP": HOST,
    "TCPREMOTEPORT": "1",
    "IMAP_CAPABILITY": "IMAP4rev1 UIDPLUS CHILDREN NAMESPACE THREAD=ORDEREDSUBJECT THREAD=REFERENCES SORT QUOTA IDLE",
    "IMAP_KEYWORDS": "1",
    "IMAP_IDLE_TIMEOUT": "60",
    # Locks need a daemon that watches files (gamin).
    "IMAP_USELOCKS": "0",
}
"""What Debian configures, as far as the server asks for it."""


class Courier:
    """Courier IMAP. Its own front does no more than log in; here we are that, and let everybody in.

    It runs without its locks, which need another daemon, so that **sessions side by side that write into one folder
    are told one another's UIDs**: write over one connection.
    """

    delimiter: ClassVar[str] = "."
    prefix: ClassVar[str] = "INBOX."

    def __init__(self) -> None:
        self.host = HOST
        self.password = PASSWORD
        self._users = 0
        self._base = Path(tempfile.mkdtemp(prefix="cou"))
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        """Listen."""
        self._log = open(self._base / "log", "wb")
        self._listener = socket.create_server((HOST, 0))
        self.imap_port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        return self

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                with client, suppress(ConnectionError):
                    self._greet(client)

    def _greet(self, client: socket.socket) -> None:
        """Do what comes before the login; then the server takes the connection over, and answers it."""
        client.sendall(b"* OK Courier-IMAP ready. See COPYING for distribution information.\r\n")
        with client.makefile("rb", buffering=0) as lines:
            while line := lines.readline():
                tag, _, command = line.partition(b" ")
                if command.upper().startswith(b"LOGIN"):
                    words = [quoted or bare for quoted, bare in _WORDS.findall(command)]
                    self._hand_over(client, words[1].decode(), "usr/bin/imapd", IMAPLOGINTAG=tag.decode())
                    return
                known = b"* CAPABILITY IMAP4rev1\r\n" if command.upper().startswith(b"CAPABILITY") else b""
                client.sendall(known + tag + (b" OK done\r\n" if known else b" BAD log in first\r\n"))

    def _hand_over(self, client: socket.socket, user: str, program: str, **settings: str) -> None:
        who = {"AUTHENTICATED": user, "AUTHADDR": user, "HOME": str(self._base / user), **settings}
        self._processes.append(
            subprocess.Popen(
                [str(ROOT / program), "Maildir"],
                cwd=self._base / user, env=environment() | _COURIER | who,
                stdin=client.fileno(), stdout=client.fileno(), stderr=self._log,
            )
        )  # fmt: skip

    def __exit__(self, *exception: object) -> None:
        """Stop, and leave nothing behind."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(STOP_SECONDS)
        for process in self._processes:
            process.kill()
            process.wait(STOP_SECONDS)
        self._log.close()
        shutil.rmtree(self._base)

    def maildir(self, user: str) -> Path:
        """Return where a user's inbox lies."""
        return self._base / user / "Maildir"

    def new_user(self, name: str) -> str:
        """See ``Peer``."""
        self._users += 1
        user = f"{name}{self._users}"
        for place in ("cur", "new", "tmp"):
            (self.maildir(user) / place).mkdir(parents=True)
        return user

    def log_tail(self, lines: int = 40) -> str:
        """See ``Peer``."""
        return _tail(self._base / "log", lines)


class CourierPop(Courier):
    """Courier's POP3 server."""

    @property
    def pop3_port(self) -> int:
        """Where it listens."""
        return self.imap_port

    def _greet(self, client: socket.socket) -> None:
        """Do what comes before the login."""
        client.sendall(b"+OK Hello there.\r\n")
        user = ""
        with client.makefile("rb", buffering=0) as lines:
            while line := lines.readline():
                word, _, argument = line.decode("ascii", "replace").strip().partition(" ")
                if word == "PASS":
                    self._hand_over(client, user, "usr/lib/courier/courier/courierpop3d")
                    return
                user = argument if word == "USER" else user
                client.sendall(
                    b"+OK Password required.\r\n" if word == "USER" else b"-ERR Invalid command.\r\n"
                )


def _tail(log: Path, lines: int) -> str:
    return "\n".join(log.read_text("utf-8", "replace").splitlines()[-lines:]) if log.exists() else "(no log)"


def _wait_for_greeting(peer: Peer, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end and process.poll() is None:
        with suppress(OSError), socket.create_connection((peer.host, peer.imap_port), START_SECONDS) as imap:
            if imap.recv(4) == b"* OK":
                return
        time.sleep(0.01)
    _end(process)
    raise ServerError(f"the server did not start\n{peer.log_tail()}")


def _end(process: subprocess.Popen[bytes]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
            return
