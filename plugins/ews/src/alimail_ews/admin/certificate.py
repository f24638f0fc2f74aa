"""Look at a server's certificate as strictly as a migration will, and say of each fault what mends it."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from alimail_core import Clock, Denied, Remark, dial, tls_context, tls_remark
from alimail_ews.options import EwsOptions

_SOON: Final = timedelta(days=30)

# OpenSSL's numbers (x509_vfy.h): its words for them change from version to version.
_NOT_YET, _EXPIRED, _SELF_SIGNED, _SELF_SIGNED_CHAIN, _NO_ISSUER, _NO_LEAF_ISSUER, _NAME, _ADDRESS = (
    9,
    10,
    18,
    19,
    20,
    21,
    62,
    64,
)
_OWN: Final = (
    "If it is of your own making, give its authority: --ca FILE (PEM), and `ca` in the configuration."
)
REMEDIES: Final = {
    _NOT_YET: "It is not valid yet: see to the clocks of both machines.",
    _EXPIRED: "Renew it on the Exchange server (admin center > Servers > Certificates), and assign it to IIS.",
    _SELF_SIGNED: f"It vouches for itself, as Exchange makes one at its installation. {_OWN}",
    _SELF_SIGNED_CHAIN: f"Its authority is not one that this machine trusts. {_OWN}",
    _NO_ISSUER: f"The server sends no chain to an authority that this machine trusts. {_OWN} Otherwise install the "
    "intermediate certificate on the server.",
    _NO_LEAF_ISSUER: f"The server sends no chain to an authority that this machine trusts. {_OWN} Otherwise install "
    "the intermediate certificate on the server.",
}


def look(options: EwsOptions, clock: Clock) -> Iterator[Remark]:
    """Tell how the connection is protected. Raises ``Denied`` or ``Transient`` where there is none to be had."""
    try:
        with dial(options) as sock:
            assert isinstance(sock, ssl.SSLSocket)
            yield tls_remark(sock)
            yield from _expiry(sock, clock)
    except Denied as denied:
        cause = denied.__cause__
        if not isinstance(cause, ssl.SSLCertVerificationError):
            raise
        if cause.verify_code in (_NAME, _ADDRESS):
            names = ", ".join(_names(options)) or "none"
            raise Denied(
                f"the certificate is not for {options.host}; the names in it: {names}",
                remedy="Give one of these names as --server, if it leads to this server; or have the certificate "
                "made anew with this name.",
            ) from cause
        raise Denied(str(denied), remedy=REMEDIES.get(cause.verify_code, denied.remedy)) from cause


def _expiry(sock: ssl.SSLSocket, clock: Clock) -> Iterator[Remark]:
    certificate = sock.getpeercert() or {}
    over = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)
    if over - clock.now() < _SOON:
        yield Remark(
            "warning",
            f"the certificate ends on {over:%Y-%m-%d}, maybe before the migration does",
            "Renew it on the Exchange server beforehand.",
        )


def _names(options: EwsOptions) -> list[str]:
    """Return the names of a certificate whose chain is trusted and whose name is not the server's.

    Nothing is sent over this connection.
    """
    context = tls_context(options)
    context.check_hostname = False
    try:
        with (
            socket.create_connection(options.address, options.timeout) as sock,
            context.wrap_socket(sock, server_hostname=options.host) as tls,
        ):
            certificate: dict[str, Any] = tls.getpeercert() or {}
    except OSError:
        return []
    alternatives = certificate.get("subjectAltName", ())
    return [str(name) for kind, name in alternatives if kind in ("DNS", "IP Address")][:10]
