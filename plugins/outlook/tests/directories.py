"""Directories of real makers on loopback, with the same three people: Radicale for CardDAV, OpenLDAP for LDAP."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
from attrs import frozen

from alimail_core.testing.certificates import Certificate
from alimail_core.testing.servers import free_ports

HOST: Final = "localhost"
LOGIN: Final = "li@new.example"
PASSWORD: Final = "the-word=for,li"
PEOPLE: Final = (
    ("anna", "Anna Smith", "anna@new.example"),
    ("joanna", "Joanna (Jo) Smythe", "joanna@new.example"),
    ("wang", "王小明", "wang@new.example"),
)
BASE: Final = "dc=new,dc=example"
LI: Final = f"uid=li,ou=people,{BASE}"
_SCHEMAS: Final = ("core", "cosine", "inetorgperson")
_WAIT_SECONDS: Final = 60.0


@frozen
class Place:
    """Where a server listens on loopback: within TLS, and for LDAP in clear."""

    port: int
    clear_port: int = 0


@contextmanager
def radicale(folder: Path, certificate: Certificate) -> Iterator[Place]:
    """Give a CardDAV server where ``LOGIN`` has the address book "Staff", beside a calendar."""
    (port,) = free_ports(1)
    (folder / "users").write_text(f"{LOGIN}:{PASSWORD}\n")
    (folder / "config").write_text(
        f"""[server]
hosts = 127.0.0.1:{port}
ssl = True
certificate = {certificate.file}
key = {certificate.key_file}
[auth]
type = htpasswd
htpasswd_filename = {folder / "users"}
htpasswd_encryption = plain
delay = 0
[rights]
type = owner_only
[storage]
filesystem_folder = {folder / "data"}
[web]
type = none
[logging]
level = warning
"""
    )
    words = [sys.executable, "-m", "radicale", "--config", str(folder / "config")]
    with _running(words, folder / "radicale.log", port):
        _fill(f"https://{HOST}:{port}", certificate)
        yield Place(port)


def _fill(url: str, certificate: Certificate) -> None:
    import ssl

    trusts = ssl.create_default_context(cafile=certificate.ca_file)
    mine = f"/{LOGIN}"
    with httpx.Client(base_url=url, verify=trusts, auth=(LOGIN, PASSWORD), trust_env=False) as client:
        for name, kind, title in (
            ("staff", '<C:addressbook xmlns:C="urn:ietf:params:xml:ns:carddav"/>', "Staff"),
            ("days", '<C:calendar xmlns:C="urn:ietf:params:xml:ns:caldav"/>', "Days"),
        ):
            told = (
                '<mkcol xmlns="DAV:"><set><prop><resourcetype><collection/>'
                f"{kind}</resourcetype><displayname>{title}</displayname></prop></set></mkcol>"
            )
            client.request("MKCOL", f"{mine}/{name}/", content=told.encode()).raise_for_status()
        for uid, name, address in PEOPLE:
            card = f"BEGIN:VCARD\r\nVERSION:3.0\r\nUID:{uid}\r\nFN:{name}\r\nN:{name};;;;\r\n"
            card += f"item1.EMAIL;TYPE=INTERNET:{address}\r\nEND:VCARD\r\n"
            headers = {"Content-Type": "text/vcard; charset=utf-8"}
            client.put(f"{mine}/staff/{uid}.vcf", content=card.encode(), headers=headers).raise_for_status()


@contextmanager
def openldap(folder: Path, certificate: Certificate) -> Iterator[Place]:
    """Give an LDAP server that nobody reads without logging in, but for names of entries by mail."""
    port, clear_port = free_ports(2)
    (folder / "db").mkdir()
    lines = [
        *(f"include /etc/ldap/schema/{name}.schema" for name in _SCHEMAS),
        "modulepath /usr/lib/ldap",
        "moduleload back_mdb",
        f"pidfile {folder / 'slapd.pid'}",
        f"TLSCACertificateFile {certificate.ca_file}",
        f"TLSCertificateFile {certificate.file}",
        f"TLSCertificateKeyFile {certificate.key_file}",
        "security simple_bind=128",
        "database mdb",
        f'suffix "{BASE}"',
        f"directory {folder / 'db'}",
        "access to attrs=userPassword by anonymous auth by * none",
        "access to attrs=entry,mail,uid by users read by anonymous read",
        "access to * by users read by anonymous search",
    ]
    (folder / "slapd.conf").write_text("\n".join(lines) + "\n")
    (folder / "people.ldif").write_text("\n".join(_entries()), "utf-8")
    # Debian's AppArmor lets the program of that path read its own folders alone: a copy is another path.
    slapd = str(shutil.copy("/usr/sbin/slapd", folder / "slapd"))
    conf = ["-f", str(folder / "slapd.conf")]
    subprocess.run(
        [slapd, "-Tadd", "-q", *conf, "-l", str(folder / "people.ldif")],
        check=True,
        capture_output=True,
        timeout=60,
    )
    where = f"ldaps://127.0.0.1:{port}/ ldap://127.0.0.1:{clear_port}/"
    with _running([slapd, "-d", "0", *conf, "-h", where], folder / "slapd.log", port):
        yield Place(port, clear_port)


def _entries() -> Iterator[str]:
    import base64

    yield f"dn: {BASE}\nobjectClass: dcObject\nobjectClass: organization\no: New\n"
    yield f"dn: ou=people,{BASE}\nobjectClass: organizationalUnit\nou: people\n"
    li = ("li", "Li Wei", LOGIN)
    for uid, name, address in (*PEOPLE, li):
        told = base64.b64encode(name.encode()).decode()
        yield f"dn: uid={uid},ou=people,{BASE}\nobjectClass: inetOrgPerson\nuid: {uid}\ncn:: {told}\nsn:: {told}"
        password = f"userPassword: {PASSWORD}\n" if uid == "li" else ""
        yield f"mail: {address}\n{password}"


@contextmanager
def _running(words: Sequence[str], log: Path, port: int) -> Iterator[None]:
    with log.open("wb") as file:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=file, stderr=file)
    try:
        end = time.monotonic() + _WAIT_SECONDS
        while not _listens(port):
            if process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"{words[0]} did not start\n{log.read_text()[-2000:]}")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(20)


def _listens(port: int) -> bool:
    with socket.socket() as tried:
        return tried.connect_ex(("127.0.0.1", port)) == 0
