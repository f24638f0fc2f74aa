"""Real Dovecots for the tests marked ``server``: one with everything, one that presents itself poorly."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from attrs import frozen

from alimail_core.contract import Credentials
from alimail_imap.options import ImapOptions

CONFIGURATION = """
base_dir = {base}/run
state_dir = {base}/run
log_path = {base}/log
protocols = imap
listen = 127.0.0.1
ssl = yes
ssl_cert = <{base}/cert.pem
ssl_key = <{base}/key.pem
ssl_min_protocol = TLSv1.2
disable_plaintext_auth = no
auth_mechanisms = plain login
auth_master_user_separator = *
mail_location = {format}:~/mail
first_valid_uid = 1
mail_fsync = never
service anvil {{
  client_limit = 500
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    port = {port}
  }}
  inet_listener imaps {{
    port = {tls_port}
  }}
}}
passdb {{
  driver = passwd-file
  args = {base}/masters
  master = yes
  result_success = continue
}}
passdb {{
  driver = static
  args = password=secret
}}
userdb {{
  driver = static
  args = uid=nobody gid=nogroup home={base}/home/%u
}}
namespace inbox {{
  inbox = yes
  separator = {separator}
  prefix = {prefix}
}}
{extra}
"""


@frozen
class Dovecot:
    """A running server. Any user name logs in with the password ``secret``."""

    base: Path
    port: int
    tls_port: int

    @property
    def options(self) -> ImapOptions:
        """Options that lead to it, without encryption."""
        return ImapOptions(host="127.0.0.1", port=self.port, tls="none", timeout=20.0)

    def credentials(self, user: str) -> Credentials:
        """Return a user's credentials."""
        return Credentials(user, lambda: "secret")

    @property
    def ca(self) -> str:
        """The certificate to trust."""
        return str(self.base / "cert.pem")


Start = Callable[..., Dovecot]


@pytest.fixture(scope="session")
def start_dovecot(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Start Dovecots with settings of their own; all are stopped at the end."""
    running: list[subprocess.Popen[bytes]] = []

    def start(
        extra: str = "", *, separator: str = "/", prefix: str = "", mail_format: str = "sdbox"
    ) -> Dovecot:
        server = Dovecot(tmp_path_factory.mktemp("dovecot"), _free_port(), _free_port())
        _configure(server, extra=extra, separator=separator, prefix=prefix, format=mail_format)
        running.append(subprocess.Popen([_binary(), "-F", "-c", str(server.base / "dovecot.conf")]))
        _await(server.port)
        return server

    yield start
    for process in running:
        process.terminate()
        process.wait(20)


@pytest.fixture(scope="session")
def rich(start_dovecot: Start) -> Dovecot:
    """A Dovecot that offers all it can."""
    return start_dovecot()


@pytest.fixture(scope="session")
def poor(start_dovecot: Start) -> Dovecot:
    """A Dovecot that offers what Alibaba Mail does."""
    return start_dovecot("imap_capability = IMAP4rev1 IDLE XLIST UIDPLUS ID SASL-IR")


def _binary() -> str:
    found = shutil.which("dovecot", path="/usr/sbin:/usr/local/sbin:/usr/bin")
    assert found is not None, "Dovecot is not installed: apt install dovecot-imapd"
    return found


def _configure(server: Dovecot, **settings: str) -> None:
    base = server.base
    for folder in (base, *base.parents[:2]):
        folder.chmod(0o755)
    (base / "home").mkdir()
    (base / "home").chmod(0o777)
    (base / "masters").write_text("boss:{PLAIN}master-secret\n")
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-keyout", str(base / "key.pem"), "-out", str(base / "cert.pem"), "-days", "3"]
    command += ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
    subprocess.run(command, check=True, capture_output=True)
    text = CONFIGURATION.format(base=base, port=server.port, tls_port=server.tls_port, **settings)
    (base / "dovecot.conf").write_text(text)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _await(port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("Dovecot did not start")
