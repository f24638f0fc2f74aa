"""From a host name to a connection that is logged in, or an error with a remedy."""

from __future__ import annotations

import base64

from alimail_core import Credentials, Denied, NoTls, Transient, dial, find_tls, tls_context, tls_error
from alimail_pop3.connection import Connection, Said
from alimail_pop3.options import Pop3Options
from alimail_pop3.wire import Wire

_greeted: set[tuple[str, int]] = set()
"""Where a POP3 server has answered in this process: something else there later is passing, and no wrong option."""


def connect(options: Pop3Options, credentials: Credentials) -> Connection:
    """Connect, encrypt and log in; the connection knows the capabilities that hold after login.

    Raises ``Transient`` (no connection, server busy, maildrop locked), ``Denied`` (login refused, certificate not
    trusted, encryption not to be had) or ``InputError``; leaves no socket behind when it does.
    """
    connection = _begin(options)
    try:
        _log_in(connection, options, credentials)
        connection.ask_capabilities()
        return connection
    except BaseException:
        connection.wire.close()
        raise


def probe(options: Pop3Options) -> Pop3Options:
    """Find out what ``tls = auto`` is for this server. See ``SourceKind.probe``."""
    return find_tls(options, lambda tried: _begin(tried).close())


def _begin(options: Pop3Options) -> Connection:
    """Connect and encrypt."""
    wire = Wire(dial(options), options.timeout)
    try:
        connection = _greeted_by(wire, options)
        connection.ask_capabilities()
        if options.tls == "starttls":
            _start_tls(connection, options)
        return connection
    except BaseException:
        wire.close()
        raise


def _greeted_by(wire: Wire, options: Pop3Options) -> Connection:
    try:
        connection = Connection(wire, options.host.strip("[]"))
    except Denied as error:
        if options.address in _greeted:
            raise Transient("what answers there now is not the POP3 server that did before") from error
        raise
    _greeted.add(options.address)
    return connection


def _start_tls(connection: Connection, options: Pop3Options) -> None:
    remedy = "Use tls = implicit. If the server is known to offer STLS, somebody on the way takes it out."
    if connection.capabilities is not None and not connection.offers("STLS"):
        # Where nobody can log in and there is no way to change that, the way was taken out.
        missing = NoTls if connection.offers("USER") or connection.offers("SASL") else Denied
        raise missing(f"{options.host} offers no STLS", remedy=remedy)
    try:
        connection.exchange(b"STLS")
    except Said as said:
        refused = NoTls if connection.capabilities is None else Denied
        raise refused(f"{options.host} refused STLS: {said.answer.words}", remedy=remedy) from None
    try:
        connection.wire.start_tls(tls_context(options), options.host.strip("[]"))
    except OSError as error:
        raise tls_error(error, options) from error
    # What was announced in clear counts no more.
    connection.capabilities = None
    connection.ask_capabilities()


def _log_in(connection: Connection, options: Pop3Options, credentials: Credentials) -> None:
    user, password = credentials.user, credentials.password()
    if any(ord(character) < 32 or ord(character) == 127 for character in user + password):
        raise Denied("the user name or the password has a control character in it", remedy="Correct it.")
    connection.secret = password
    try:
        if options.auth == "apop" or (options.auth == "auto" and _apop_is_due(connection, options)):
            _apop(connection, options, user, password)
        else:
            _with_password(connection, options, user, password)
    except Said as said:
        raise connection.grade(said.answer, "login") from None


def _apop_is_due(connection: Connection, options: Pop3Options) -> bool:
    return connection.wire.tls is None and connection.has_challenge and options.master_user is None


def _apop(connection: Connection, options: Pop3Options, user: str, password: str) -> None:
    """Prove the password without sending it (RFC 1939 §7); where it may be tried in clear as well, do that after."""
    if not connection.has_challenge:
        raise Denied(f"{options.host} offers no APOP", remedy="Use auth = auto.")
    try:
        connection.run(lambda: connection.pop.apop(user, password))
    except Said as said:
        # Servers offer APOP to everybody, and many accounts have no secret for it.
        if options.auth == "apop" or isinstance(connection.grade(said.answer, "login"), Transient):
            raise
        _with_password(connection, options, user, password)


def _with_password(connection: Connection, options: Pop3Options, user: str, password: str) -> None:
    if options.auth == "xoauth2":
        _authenticate(connection, b"XOAUTH2", f"user={user}\x01auth=Bearer {password}\x01\x01".encode())
    elif _wants_plain(connection, options, user, password):
        # RFC 4616: authorisation identity, authentication identity, password.
        identity, login = (user, options.master_user) if options.master_user is not None else ("", user)
        _authenticate(connection, b"PLAIN", f"{identity}\0{login}\0{password}".encode())
    else:
        _user_and_pass(connection, options, user, password)


def _wants_plain(connection: Connection, options: Pop3Options, user: str, password: str) -> bool:
    if options.master_user is not None or options.auth == "plain":
        return True
    offered = "PLAIN" in (connection.capabilities or {}).get("SASL", [])
    return (
        options.auth == "auto" and offered and not ((user + password).isascii() and connection.offers("USER"))
    )


def _user_and_pass(connection: Connection, options: Pop3Options, user: str, password: str) -> None:
    known = connection.capabilities is not None
    if known and connection.wire.tls is None and not connection.offers("USER"):
        raise Denied(
            f"{options.host} does not let anybody log in this way",
            remedy="Use tls = implicit or starttls; servers switch logins off where there is no encryption.",
        )
    connection.run(lambda: connection.pop.user(user))
    connection.run(lambda: connection.pop.pass_(password))


def _authenticate(connection: Connection, mechanism: bytes, answer: bytes) -> None:
    """Run a SASL exchange of one message from us (RFC 5034); a challenge after it is answered empty."""
    answers = [base64.b64encode(answer)]
    line = connection.exchange(b"AUTH " + mechanism)
    for _ in range(16):
        if line[:3].upper() == b"+OK":
            return
        # A second challenge tells why an XOAUTH2 token was refused; an empty answer ends the exchange.
        line = connection.exchange(answers.pop() if answers else b"")
    raise connection.wire.fail("the login did not come to an end")
