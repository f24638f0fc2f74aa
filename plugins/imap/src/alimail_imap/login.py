"""From a host name to a connection that is logged in, or an error with a remedy."""

from __future__ import annotations

import base64

from alimail_core import (
    Credentials,
    Denied,
    NoTls,
    Refused,
    Transient,
    dial,
    find_tls,
    tls_context,
    tls_error,
)
from alimail_imap.connection import Connection, astring
from alimail_imap.grades import grade, grade_bye
from alimail_imap.options import ImapOptions
from alimail_imap.tokens import Status, parse_status
from alimail_imap.wire import Wire

_greeted: set[tuple[str, int]] = set()
"""Where an IMAP server has answered in this process: something else there later is passing, and no wrong option."""


def connect(options: ImapOptions, credentials: Credentials) -> Connection:
    """Connect, encrypt and log in; the connection knows the capabilities that hold after login.

    What ``introduction`` says is still to be said. Raises ``Transient`` (no connection, server busy), ``Denied``
    (login refused, certificate not trusted, encryption not to be had) or ``InputError``; leaves no socket behind
    when it does.
    """
    connection = _begin(options)
    try:
        _log_in(connection, options, credentials)
        return connection
    except BaseException:
        connection.wire.close()
        raise


def probe(options: ImapOptions) -> ImapOptions:
    """Find out what ``tls = auto`` is for this server. See ``SourceKind.probe``."""
    return find_tls(options, lambda tried: _begin(tried).close())


def _begin(options: ImapOptions) -> Connection:
    """Connect and encrypt."""
    wire = Wire(dial(options), options.timeout)
    try:
        connection = Connection(wire)
        _greet(connection, options)
        if options.tls == "starttls":
            _start_tls(connection, options)
        return connection
    except BaseException:
        wire.close()
        raise


def _greet(connection: Connection, options: ImapOptions) -> None:
    greeting = connection.wire.read()
    status = parse_status(greeting.head) if greeting.tag == b"*" else None
    if status is None and options.address in _greeted:
        raise Transient("what answers there now is not the IMAP server that did before")
    if status is None:
        raise Denied(
            "what answers there is not an IMAP server",
            remedy="Check host, port and tls (implicit, starttls).",
        )
    _greeted.add(options.address)
    if status.kind == "BYE":
        raise grade_bye(status)
    if status.kind == "PREAUTH":
        raise Denied(
            "the server is logged in already (PREAUTH), as whom is not known", remedy="Use another port."
        )
    if status.code == "CAPABILITY":
        connection.capabilities = frozenset(status.argument.decode("ascii", "replace").upper().split())
    else:
        _ask_capabilities(connection)


def _start_tls(connection: Connection, options: ImapOptions) -> None:
    remedy = "Use tls = implicit. If the server is known to offer STARTTLS, somebody on the way takes it out."
    if not connection.offers("STARTTLS"):
        # Where logins are switched off and there is no way to switch them on, the way was taken out.
        missing = Denied if connection.offers("LOGINDISABLED") else NoTls
        raise missing(f"{options.host} offers no STARTTLS", remedy=remedy)
    _, status = connection.run(b"STARTTLS", doing="login")
    if not status.ok:
        raise Denied(f"{options.host} refused STARTTLS: {status.words()}", remedy=remedy)
    try:
        connection.wire.start_tls(tls_context(options), options.host.strip("[]"))
    except OSError as error:
        raise tls_error(error, options) from error
    # What was announced in clear counts no more.
    _ask_capabilities(connection)


def _log_in(connection: Connection, options: ImapOptions, credentials: Credentials) -> None:
    password = credentials.password()
    connection.keep_secret(password.encode())
    if options.auth == "xoauth2":
        status = _xoauth2(connection, credentials.user, password)
    elif _wants_plain(connection, options, credentials.user, password):
        status = _plain(connection, options.master_user, credentials.user, password)
    else:
        status = _login(connection, options, credentials.user, password)
    if not status.ok:
        raise grade(status, "login")
    if status.code != "CAPABILITY":
        _ask_capabilities(connection)


def _ask_capabilities(connection: Connection) -> None:
    """Ask what the server can do. None may refuse that (RFC 9051 §6.1.1), and no password has to do with it."""
    _, status = connection.run(b"CAPABILITY")
    if not status.ok:
        error = grade(status, "read")
        if not isinstance(error, Refused):
            raise error
        raise Transient(
            f"the server refuses CAPABILITY: {status.words()}",
            remedy="No IMAP server does so: see its log, and whether a firewall or proxy on the way answers in its "
            "place. alimail tries again by itself.",
        )


def _wants_plain(connection: Connection, options: ImapOptions, user: str, password: str) -> bool:
    if options.auth != "auto" or options.master_user is not None:
        return options.auth != "login" or options.master_user is not None
    plain = connection.offers("AUTH=PLAIN")
    return plain and (connection.offers("LOGINDISABLED") or not (user + password).isascii())


def _login(connection: Connection, options: ImapOptions, user: str, password: str) -> Status:
    if connection.offers("LOGINDISABLED"):
        raise Denied(
            f"{options.host} does not let anybody log in this way",
            remedy="Use tls = implicit or starttls; servers switch logins off where there is no encryption.",
        )
    arguments = (astring(user.encode()), b" ", astring(password.encode()))
    _, status = connection.run(b"LOGIN ", *arguments, doing="login")
    return status


def _plain(connection: Connection, master: str | None, user: str, password: str) -> Status:
    # RFC 4616: authorisation identity, authentication identity, password.
    identity, login = (user, master) if master is not None else ("", user)
    return _authenticate(connection, b"PLAIN", f"{identity}\0{login}\0{password}".encode())


def _xoauth2(connection: Connection, user: str, token: str) -> Status:
    return _authenticate(connection, b"XOAUTH2", f"user={user}\x01auth=Bearer {token}\x01\x01".encode())


def _authenticate(connection: Connection, mechanism: bytes, answer: bytes) -> Status:
    """Run a SASL exchange of one message from us (RFC 9051 §6.2.2); a challenge after it is answered empty."""
    encoded = base64.b64encode(answer)
    connection.keep_secret(encoded)
    at_once = connection.offers("SASL-IR")
    tag = connection.send(b"AUTHENTICATE " + mechanism, b" " + encoded if at_once else b"", doing="login")
    answers = [] if at_once else [encoded]
    for _ in range(16):
        response = connection.receive()
        if response.tag == tag:
            return connection.end(response)
        if response.tag == b"+":
            # A second challenge tells why an XOAUTH2 token was refused; an empty answer ends the exchange.
            connection.wire.write([(answers.pop() if answers else b"") + b"\r\n"])
    raise connection.wire.fail("the login did not come to an end")


def introduction(connection: Connection) -> list[tuple[bytes]]:
    """Write the commands that tell who we are where the server likes to know (RFC 2971), and switch on what we use
    (RFC 5161, 7162). They go before all others, and whatever is answered will do.
    """
    wishes = [(b'ID ("name" "alimail")',)] if connection.offers("ID") else []
    return [*wishes, (b"ENABLE QRESYNC",)] if connection.offers("ENABLE", "QRESYNC") else wishes
