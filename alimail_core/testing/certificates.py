"""A throw-away certificate authority for servers on loopback, made with the ``openssl`` command."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

from attrs import frozen

_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "3"]


@frozen
class Certificate:
    """What a server on loopback shows (``localhost``, 127.0.0.1, and names it was asked for), and its authority."""

    ca_file: Path
    """PEM: what a client must trust."""
    file: Path
    key_file: Path

    def context(self) -> ssl.SSLContext:
        """Return the TLS settings of a server that shows this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.file, self.key_file)
        return context


def make_certificate(folder: Path, *names: str) -> Certificate:
    """Make an authority and a certificate for loopback and ``names``, valid three days, as files in ``folder``."""
    alternatives = ",".join(["DNS:localhost", "IP:127.0.0.1", *(f"DNS:{name}" for name in names)])
    made = Certificate(folder / "ca.pem", folder / "certificate.pem", folder / "key.pem")
    ca_key = folder / "ca.key"
    _openssl(
        *_KEY,
        *("-subj", "/CN=alimail throw-away authority", "-out", made.ca_file, "-keyout", ca_key),
        *("-addext", "keyUsage=critical,keyCertSign,cRLSign"),
    )
    _openssl(
        *_KEY,
        *("-subj", "/CN=localhost", "-out", made.file, "-keyout", made.key_file),
        *("-CA", made.ca_file, "-CAkey", ca_key),
        *("-addext", f"subjectAltName={alternatives}"),
        *("-addext", "basicConstraints=critical,CA:FALSE"),
    )
    ca_key.unlink()
    return made


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", "req", "-x509", *arguments], check=True, capture_output=True, timeout=60)
