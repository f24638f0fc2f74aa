"""The way in by a Kerberos ticket: HTTP's Negotiate (RFC 4559) over the GSSAPI, for the service ``HTTP/host``.

Each request brings a token of its own, so that none is sent twice for the sake of the login, whether the server
remembers connections or not. exchangelib's own way (requests-gssapi) sends each twice, is not bound to the
certificate, and writes what goes wrong to a log, so that a missing ticket looks like a refused one.
"""

from __future__ import annotations

import base64
import functools
import re
from typing import TYPE_CHECKING, Any, Final

from requests.auth import AuthBase

from alimail_core import AlimailError, Denied, LoginDenied, Transient, dial

if TYPE_CHECKING:
    from alimail_ews.options import EwsOptions

INSTALL_REMEDY: Final = (
    'pip install "alimail-ews[kerberos]", which on Linux needs a C compiler and the headers of Kerberos and Python '
    "(Debian: gcc libkrb5-dev python3-dev; Red Hat: gcc krb5-devel python3-devel). Or use auth = ntlm."
)
TICKET_REMEDY: Final = (
    "Get one with `kinit NAME@REALM` as the user that alimail runs as (KRB5CCNAME says where it lies, `klist` shows "
    "it), or name a keytab in KRB5_CLIENT_KTNAME, and tickets are got whenever they are needed. Or use auth = ntlm."
)
SERVICE_REMEDY: Final = (
    "Give as host the name that the ticket is for: `setspn -Q HTTP/NAME` in the domain shows whether one is. "
    "`kvno HTTP/NAME` tries it here. See too that /etc/krb5.conf knows the realm and its KDCs, and that the clocks "
    "agree."
)
REFUSED_REMEDY: Final = (
    "See by `klist` whose ticket it is, and that this account may log in; that HTTP/NAME belongs to the account that "
    "Exchange runs as (`setspn -Q HTTP/NAME`); that the clocks agree within five minutes; and, with Extended "
    "Protection, that nothing with a certificate of its own stands before the server."
)
PROOF_REMEDY: Final = (
    "Something else may answer in the server's place: check host and port, and use tls = implicit."
)

_SPNEGO: Final = "1.3.6.1.5.5.2"
_KERBEROS: Final = "1.2.840.113554.1.2.2"
_EXPIRED, _NO_KDC = -1765328352 % 2**32, -1765328228 % 2**32
"""KRB5KRB_AP_ERR_TKT_EXPIRED and KRB5_KDC_UNREACH as the GSSAPI's minor status, which is unsigned."""
_OWN_DIGESTS: Final = frozenset({"md5", "sha1"})
"""Digests of certificates in whose place the binding has SHA-256 (RFC 5929 §4.1)."""


class Ticket(AuthBase):  # type: ignore[misc]
    """Proves requests by the ticket of this machine's user. May be used by several threads.

    The server's own proof is looked at wherever it comes. With TLS a certificate has told already who answers, and
    Exchange need not repeat it on a connection that it knows; without TLS the proof must come.
    """

    def __init__(self, host: str, bindings: bytes | None) -> None:
        self._host = host.strip("[]")
        self._bindings = bindings

    @classmethod
    def of(cls, options: EwsOptions) -> Ticket:
        """Make what proves requests to a server, after a look at its certificate.

        Raises ``Denied`` where Kerberos is not installed or the certificate is not trusted, or ``Transient``.
        """
        _library()
        return cls(options.host, None if options.tls == "none" else _bindings(_certificate(options)))

    def __call__(self, request: Any) -> Any:
        """Put a token on a request. Raises ``Denied`` (no ticket, or none for this server) or ``Transient``."""
        context = self._context(_SPNEGO)
        request.headers["Authorization"] = f"Negotiate {base64.b64encode(self._first(context)).decode()}"
        request.register_hook("response", functools.partial(self._answered, context))
        return request

    def _first(self, context: Any) -> bytes:
        library = _library()
        try:
            return bytes(context.step())
        except library.exceptions.GSSError:
            pass
        # What negotiates tells little of why it cannot: Kerberos alone is asked again.
        try:
            return bytes(self._context(_KERBEROS).step())
        except library.exceptions.GSSError as error:
            raise _told(error, self._host) from None

    def _context(self, mechanism: str) -> Any:
        library = _library()
        return library.SecurityContext(
            usage="initiate",
            name=library.Name(f"HTTP@{self._host}", library.NameType.hostbased_service),
            mech=library.OID.from_int_seq(mechanism),
            flags=[library.RequirementFlag.mutual_authentication],
            channel_bindings=self._bindings and library.raw.ChannelBindings(application_data=self._bindings),
        )

    def _answered(self, context: Any, response: Any, **_: Any) -> Any:
        """Look at the server's own proof, where what it answers will be read."""
        if response.status_code not in (200, 500):
            return response
        said = re.search(r"Negotiate\s+([A-Za-z0-9+/=]+)", response.headers.get("WWW-Authenticate", ""), re.I)
        try:
            if said is not None:
                context.step(base64.b64decode(said[1]))
            is_proven = said is not None and context.complete
        except (ValueError, _library().exceptions.GSSError):
            is_proven = False
        if not is_proven and (said is not None or self._bindings is None):
            response.close()
            raise Denied(
                f"{self._host} did not prove that it knows the key of HTTP/{self._host}", remedy=PROOF_REMEDY
            )
        return response


def principal() -> str:
    """Return whose ticket it is, such as ``svc@OLD.EXAMPLE``; empty where that cannot be told."""
    library = _library()
    try:
        return str(library.Credentials(usage="initiate").name)
    except library.exceptions.GSSError:
        return ""


def _library() -> Any:
    """Return python-gssapi. Raises ``Denied`` where it, or the system's library under it, is missing."""
    try:
        import gssapi
    except (ImportError, OSError) as error:
        raise Denied(f"Kerberos is not installed here ({error})", remedy=INSTALL_REMEDY) from None
    return gssapi


def _certificate(options: EwsOptions) -> bytes:
    """Return the server's certificate, DER, once it is verified."""
    with dial(options) as sock:
        shown: bytes = sock.getpeercert(binary_form=True)  # type: ignore[attr-defined]
    return shown


def _bindings(certificate: bytes) -> bytes:
    """Return what ties a token to this TLS server and no other (tls-server-end-point, RFC 5929 §4.1)."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    read = x509.load_der_x509_certificate(certificate)
    try:
        digest = read.signature_hash_algorithm
    except ValueError:  # an algorithm that nobody here knows
        digest = None
    if digest is None or digest.name in _OWN_DIGESTS:
        digest = hashes.SHA256()
    return b"tls-server-end-point:" + read.fingerprint(digest)


def _told(error: Any, host: str) -> AlimailError:
    """Return what a failure to make a token means."""
    library = _library()
    told = error.get_all_statuses(error.min_code, False) or [str(error)]
    words = "; ".join(word.strip("\0 ") for word in told)
    if isinstance(error, library.exceptions.MissingCredentialsError):
        return LoginDenied(f"there is no Kerberos ticket here: {words}", remedy=TICKET_REMEDY)
    if isinstance(error, library.exceptions.ExpiredCredentialsError) or error.min_code == _EXPIRED:
        return LoginDenied(f"the Kerberos ticket has expired: {words}", remedy=TICKET_REMEDY)
    if error.min_code == _NO_KDC:
        return Transient(f"no Kerberos ticket for HTTP/{host}: {words}", remedy=SERVICE_REMEDY)
    return Denied(f"no Kerberos ticket for HTTP/{host}: {words}", remedy=SERVICE_REMEDY)
