"""A server on the network: how to reach it, and what is never done on the way.

For every protocol that begins with a TCP connection. TLS is always verified, encryption that was asked for is
never given up, and a password goes in clear over a network only where an administrator said so in so many words.
"""

from __future__ import annotations

import ipaddress
import re
import socket
import ssl
import warnings
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Final, Literal, TypeVar

from attrs import evolve, frozen

from alimail_core.contract import option
from alimail_core.errors import AlimailError, Denied, InputError, Remark, Transient

PROBE_SECONDS: Final = 15.0
"""How long a server may take to answer each step while it is found out what it has."""

_encrypted: Final[set[tuple[str, int]]] = set()
"""Where TLS has begun in this process: other octets from there later are passing, and no wrong option."""

_VERSIONS = {
    "1.0": ssl.TLSVersion.TLSv1,
    "1.1": ssl.TLSVersion.TLSv1_1,
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}
_OLD_VERSIONS = ("TLSv1", "TLSv1.1")

_NO_HOSTS: Final = (
    (re.compile(r"://"), "is a URL", "write the server's name alone, and the protocol as `kind`"),
    (
        re.compile(r"^[^:]*:\d*$|\]:"),
        "has a port in it",
        "write the server's name alone, and the number as `port`",
    ),
    (re.compile(r"@"), "is an address", "write its server's name; `alimail discover ADDRESS` finds it"),
    (re.compile(r"[\s/]"), "is not a server's name", "write it as its certificate has it: mail.old.example"),
)
"""What people write for a server's name, none of which is one; an IPv6 address has colons of its own."""


class NobodyThere(Transient):
    """There is no connection to be had: refused, no way there, or no answer in time."""


class NoTls(Denied):
    """A server answers there, and has no TLS: it speaks in clear at once, or offers none later on."""


@frozen
class ServerOptions:
    """The options of one server: inherit from it, and give the protocol's own ports."""

    implicit_port: ClassVar[int]
    """The port of the protocol within TLS."""
    cleartext_port: ClassVar[int]
    """The port where the protocol begins in clear."""
    service: ClassVar[str] = ""
    """The protocol in SRV records (RFC 6186) and autoconfigurations: its servers can then be looked for."""
    usual_names: ClassVar[tuple[str, ...]] = ()
    """What such servers are often called, such as ``imap`` for ``imap.example.org``."""

    host: str = option("The server's name, as its certificate has it.")
    port: int | None = option(
        "The port. By default the protocol's own: with implicit TLS 993 for IMAP, 995 for POP3 and 443 for EWS, "
        "otherwise 143, 110 and 80.",
        default=None,
    )
    tls: Literal["auto", "implicit", "starttls", "none"] = option(
        "`implicit`: TLS from the first octet (RFC 8314); `starttls`: begin in clear and never log in without "
        "TLS; `none`: no encryption at all; `auto`: the best of these that the server has, found by trying once and "
        "then kept, `none` only with `allow_plaintext_login`.",
        default="auto",
    )
    allow_plaintext_login: bool = option(
        "With `tls = none`, or where `auto` finds nothing better, send the password in clear over a network. Not "
        "needed on this machine's loopback.",
        default=False,
    )
    ca: Path | None = option(
        "A PEM file of the certificates to trust instead of the system's, for a server with a certificate of "
        "your own making.",
        default=None,
    )
    tls_minimum: Literal["1.0", "1.1", "1.2", "1.3"] = option(
        "The oldest TLS version to accept. Old servers such as Exchange 2007 need 1.0, which is not secure.",
        default="1.2",
    )
    timeout: float = option(
        "Seconds without one octet after which a connection counts as lost.", default=180.0
    )

    @host.validator
    def _check_host(self, _: object, value: str) -> None:
        for wrong, message, remedy in _NO_HOSTS:
            if wrong.search(value):
                raise InputError(f"'host' {message}", remedy=remedy)

    @port.validator
    def _check_port(self, _: object, value: int | None) -> None:
        if value is not None and not 1 <= value <= 65535:
            raise ValueError("must be from 1 to 65535")

    @property
    def address(self) -> tuple[str, int]:
        """Return the host and port to connect to; with ``auto`` those that are tried first."""
        begins_with_tls = self.tls in ("auto", "implicit")
        return self.host, self.port or (self.implicit_port if begins_with_tls else self.cleartext_port)

    @property
    def may_be_plain(self) -> bool:
        """Tell whether a password may go there without encryption."""
        return self.allow_plaintext_login or _is_loopback(self.host)


class Patience:
    """How long one connection is waited for although it hardly moves.

    Whoever sends an octet now and then is never silent, and may never end; the slowest line that anybody has carries
    more than ``OCTETS`` in ``SECONDS``. Time that passes while nobody waits does not count. For one thread.
    """

    OCTETS: ClassVar = 16 * 1024
    """So many octets, in either direction, show that a connection moves."""
    SECONDS: ClassVar = 3600.0
    """So long we wait for as many, or for the end of what was asked."""

    def __init__(self) -> None:
        self._waited = 0.0
        self._moved = 0

    def begin(self) -> None:
        """Begin anew: something was asked, or was answered to its end."""
        self._waited, self._moved = 0.0, 0

    def moved(self, octets: int) -> None:
        """Count octets that came or went."""
        self._moved += octets
        if self._moved >= self.OCTETS:
            self._waited, self._moved = 0.0, 0

    def waited(self, seconds: float) -> str:
        """Count time spent waiting; return why the connection counts as lost, empty as long as it does not."""
        self._waited += seconds
        if self._waited <= self.SECONDS:
            return ""
        return f"the connection hardly moved while we waited for {self.SECONDS:g} seconds"


_Server = TypeVar("_Server", bound=ServerOptions)


def dial(options: ServerOptions) -> socket.socket:
    """Connect, and encrypt at once where TLS is implicit. With ``auto`` it is: see ``find_tls``.

    Raises ``Denied`` (no consent to a password in clear, certificate not trusted, no such server; ``NoTls``),
    ``Transient`` (``NobodyThere``) or ``InputError`` (a ``ca`` that is none); leaves no socket behind when it does.
    """
    if options.tls == "none" and not options.may_be_plain:
        raise Denied(
            f"the password would go to {options.host} without encryption",
            remedy="Use tls = implicit or starttls; or say allow_plaintext_login = true as well.",
        )
    context = None if options.tls == "none" else tls_context(options)
    sock = _connect(options)
    if context is None or options.tls == "starttls":
        return sock
    try:
        encrypted = context.wrap_socket(sock, server_hostname=options.host.strip("[]"))
    except OSError as error:
        sock.close()
        if _is_no_tls(error) and options.address in _encrypted:
            raise Transient(f"what answers at {options.host} now speaks no TLS, and did before") from error
        if _is_no_tls(error) and _speaks_in_clear(options):
            host, port = options.address
            raise NoTls(
                f"what answers at {host} port {port} speaks no TLS",
                remedy="Check port and tls (implicit, starttls).",
            ) from error
        raise tls_error(error, options) from error
    _encrypted.add(options.address)
    return encrypted


def find_tls(options: _Server, begin: Callable[[_Server], None]) -> _Server:
    """Return the options with the best ``tls`` that the server has in place of ``auto``, and the port that has it.

    ``begin`` connects, encrypts as its options say, does not log in, and lets go again. Only ``NobodyThere`` and
    ``NoTls`` lead on to the next best; whatever else it raises is raised: a certificate that is not trusted, or a
    STARTTLS that is offered and then refused, may be somebody's work who stands on the way. A password in clear is
    the last resort where that is allowed, and only after certain answers: a port that is silent proves nothing.
    """
    if options.tls != "auto":
        return options
    failed: list[AlimailError] = []
    ways: tuple[Literal["implicit", "starttls", "none"], ...] = ("implicit", "starttls", "none")
    for tls in ways:
        tried = evolve(options, tls=tls, timeout=min(options.timeout, PROBE_SECONDS))
        if tls == "none" and not (options.may_be_plain and all(map(_is_certain, failed))):
            break
        try:
            begin(tried)
        except (NobodyThere, NoTls) as error:
            failed.append(error)
            if isinstance(error, NobodyThere) and (options.port or len(failed) > 1):
                break
        else:
            return evolve(options, tls=tls, port=tried.address[1])
    raise _no_way(options, failed)


def _is_certain(error: AlimailError) -> bool:
    return isinstance(error, NoTls) or isinstance(error.__cause__, ConnectionRefusedError)


def _no_way(options: ServerOptions, failed: Sequence[AlimailError]) -> AlimailError:
    said = "; ".join(map(str, failed))
    if isinstance(failed[-1], NobodyThere):
        return NobodyThere(said, remedy=failed[-1].remedy)
    if options.may_be_plain:
        remedy = "A port that is silent proves nothing. Only if the server is known to have no TLS, use tls = none."
    else:
        remedy = "Ask for TLS there. Only if there can be none, say allow_plaintext_login = true."
    return NoTls(f"{options.host} has no encryption: {said}", remedy=remedy)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def _connect(options: ServerOptions) -> socket.socket:
    host, port = options.address
    try:
        sock = socket.create_connection((host, port), options.timeout)
    except (OSError, UnicodeError) as error:
        # Two dots in a row, and what else no name can have, the system is not even asked for.
        if isinstance(error, UnicodeError) or (
            isinstance(error, socket.gaierror) and error.errno == socket.EAI_NONAME
        ):
            raise Denied(
                f"there is no server of the name {host}",
                remedy="Check its spelling, and that this machine can look it up.",
            ) from error
        reason = error.strerror or str(error) or type(error).__name__
        raise NobodyThere(
            f"no connection to {host} port {port}: {reason}",
            remedy="Check the host name and port, and that no firewall stands between.",
        ) from error
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


_ENDED = (ssl.SSLEOFError, ssl.SSLZeroReturnError)
"""A connection that ends in the handshake; the second one with the Python 3.11.2 and OpenSSL 3 of Debian 12."""


def _is_no_tls(error: OSError) -> bool:
    """Tell whether TLS failed because of octets that are none: what OpenSSL says of that changes with versions."""
    if not isinstance(error, ssl.SSLError) or isinstance(error, (ssl.SSLCertVerificationError, *_ENDED)):
        return False
    reason = error.reason or ""
    return "ALERT" not in reason and reason != "UNSUPPORTED_PROTOCOL"


def _speaks_in_clear(options: ServerOptions) -> bool:
    """Meet the server again and only listen: mail servers in clear speak first, and in TLS none ever does."""
    try:
        with _connect(evolve(options, timeout=min(options.timeout, PROBE_SECONDS))) as sock:
            return bool(sock.recv(1))
    except (OSError, AlimailError):
        return False


def tls_context(options: ServerOptions) -> ssl.SSLContext:
    """Make the TLS settings that the options ask for: always verified. Raises ``InputError`` for a bad ``ca``."""
    try:
        context = ssl.create_default_context(cafile=options.ca)
    except (OSError, ssl.SSLError) as error:
        raise InputError(
            f"the file {str(options.ca)!r} holds no certificates that can be read",
            remedy="Give ca as a PEM file with one or more certificates.",
        ) from error
    if options.tls_minimum in ("1.0", "1.1"):
        # OpenSSL 3 has TLS 1.0 and 1.1 only at this level; the administrator asked for it in so many words.
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
    with warnings.catch_warnings():
        # Python warns of the versions before 1.2.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = _VERSIONS[options.tls_minimum]
    return context


def tls_error(error: OSError, options: ServerOptions) -> Denied | Transient:
    """Return what to raise where TLS could not begin."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return Denied(
            f"the certificate of {options.host} is not trusted: {error.verify_message}",
            remedy="Use the name that the certificate has; for a certificate of your own making give its file as ca.",
        )
    if isinstance(error, ssl.SSLError) and not isinstance(error, _ENDED):
        return Denied(
            f"no TLS with {options.host}: {error.reason or 'the server speaks none'}",
            remedy="Check port and tls (implicit, starttls); an old server may need a lower tls_minimum.",
        )
    return Transient(f"the connection was lost while TLS began: {error.strerror or type(error).__name__}")


def tls_remark(tls: ssl.SSLSocket | None) -> Remark:
    """Tell how a connection is protected; ``None``: not at all."""
    if tls is None:
        return Remark("warning", "the connection is not encrypted", "Use tls = implicit or starttls.")
    version = tls.version() or "TLS"
    certificate = tls.getpeercert() or {}
    expiry = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate["notAfter"])), UTC)
    text = f"encrypted with {version}, the certificate holds until {expiry:%Y-%m-%d}"
    if version in _OLD_VERSIONS:
        return Remark(
            "warning", text, "This version of TLS is not secure any more; raise tls_minimum if you can."
        )
    return Remark("ok", text)
