"""A Kerberos realm on loopback for tests: MIT's KDC with a database, tickets and keytabs of its own in one folder.

Nothing of this machine's own Kerberos is read or touched.
"""

from __future__ import annotations

import os
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from attrs import frozen

from alimail_core.testing.servers import free_ports

HOST: Final = "127.0.0.1"
REALM: Final = "OLD.EXAMPLE"
_PATH: Final = f"{os.environ['PATH']}:/usr/sbin"
_WAIT_SECONDS: Final = 60.0


@frozen
class Realm:
    """A running KDC, and what its users and services need of it."""

    folder: Path
    port: int

    @property
    def environment(self) -> dict[str, str]:
        """What leads the libraries of Kerberos to this realm and to its user's tickets, and nowhere else."""
        return {
            "KRB5_CONFIG": str(self.folder / "krb5.conf"),
            "KRB5_KDC_PROFILE": str(self.folder / "kdc.conf"),
            "KRB5RCACHENAME": f"file2:{self.folder / 'replays'}",
            "KRB5CCNAME": f"FILE:{self.folder / 'tickets'}",
            "KRB5_CLIENT_KTNAME": f"FILE:{self.folder / 'client.keytab'}",
        }

    def add(self, *names: str) -> None:
        """Make principals such as ``svc`` and ``HTTP/localhost``, each with a random key in a keytab of its own."""
        for name in names:
            self._kadmin(f"addprinc -randkey {name}")
            self._kadmin(f"ktadd -k {self.keytab(name)} {name}")

    def keytab(self, name: str) -> Path:
        """Return where a principal's key lies."""
        return self.folder / f"{name.replace('/', '-')}.keytab"

    def log_in(self, name: str, *, life: str = "1h") -> None:
        """Get a ticket, as ``kinit`` does."""
        self._run("kinit", "-l", life, "-k", "-t", str(self.keytab(name)), name)

    def log_out(self) -> None:
        """Take the tickets away, if there are any."""
        (self.folder / "tickets").unlink(missing_ok=True)

    def _kadmin(self, question: str) -> None:
        # By -q it would end with 0 whatever its answer is.
        self._run("kadmin.local", "-r", REALM, *question.split())

    def _run(self, *command: str, words: str = "") -> None:
        done = subprocess.run(
            command,
            env={"PATH": _PATH, **self.environment},
            input=words,
            text=True,
            capture_output=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr}")


@contextmanager
def running_realm(folder: Path) -> Iterator[Realm]:
    """Give a realm that ``localhost`` belongs to, without anybody in it."""
    (port,) = free_ports(1)
    (folder / "krb5.conf").write_text(
        f"""[libdefaults]
default_realm = {REALM}
dns_lookup_kdc = false
dns_lookup_realm = false
dns_canonicalize_hostname = false
rdns = false
udp_preference_limit = 1
[realms]
{REALM} = {{
  kdc = {HOST}:{port}
}}
[domain_realm]
localhost = {REALM}
"""
    )
    (folder / "kdc.conf").write_text(
        f"""[kdcdefaults]
kdc_listen = ""
kdc_tcp_listen = {HOST}:{port}
[realms]
{REALM} = {{
  database_name = {folder / "principal"}
  key_stash_file = {folder / "stash"}
}}
[logging]
kdc = FILE:{folder / "kdc.log"}
"""
    )
    realm = Realm(folder, port)
    password = secrets.token_hex()
    realm._run("kdb5_util", "create", "-s", "-r", REALM, words=f"{password}\n{password}\n")
    with (folder / "kdc.out").open("wb") as out:
        process = subprocess.Popen(
            ("krb5kdc", "-n", "-r", REALM),
            env={"PATH": _PATH, **realm.environment},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    try:
        _wait(process, realm)
        yield realm
    finally:
        process.terminate()
        process.wait(_WAIT_SECONDS)


def _wait(process: subprocess.Popen[bytes], realm: Realm) -> None:
    deadline = time.monotonic() + _WAIT_SECONDS
    while True:
        try:
            socket.create_connection((HOST, realm.port), 1).close()
            return
        except OSError as error:
            if process.poll() is not None or time.monotonic() > deadline:
                told = "".join(file.read_text() for file in realm.folder.glob("kdc.[lo]*") if file.is_file())
                raise RuntimeError(f"the KDC does not answer: {told}") from error
            time.sleep(0.02)
