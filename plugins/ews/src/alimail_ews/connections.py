"""Connections to an Exchange server: exchangelib logs in and holds them, verified as the options say.

A connection is a ``requests`` session of its own, as NTLM demands, and keeps its server's cookies (affinity).
"""

from __future__ import annotations

import re
from http import client as http_client
from io import BufferedReader, RawIOBase
from time import monotonic
from typing import Any, Final

import requests
from exchangelib.configuration import Configuration
from exchangelib.credentials import Credentials as ExchangeCredentials
from exchangelib.protocol import BaseProtocol
from exchangelib.transport import NOAUTH, NTLM
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase, HTTPBasicAuth
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from alimail_core import AlimailError, Patience, Transient, dial, tls_context
from alimail_ews.grades import grade_status
from alimail_ews.kerberos import Ticket
from alimail_ews.options import EwsOptions

NO_HTTP_REMEDY: Final = "Check host and port: EWS is at 443 by HTTPS."
_QUOTED: Final = re.compile(r'"(?:[^"\\]|\\.)*"')


class _Incoming(RawIOBase):
    """The octets of one answer, head and body, as the socket gives them, and waited for with patience.

    Nothing above can do it: whoever asks for a piece there comes back when it is whole. Requests need none: the whole
    of one must go within the ``timeout``. Raises ``Transient``, which nobody in between takes for an error of theirs.
    """

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._sock = raw._sock
        """Where requests_ntlm finds the server's certificate."""
        self._patience = Patience()

    def readable(self) -> bool:
        return True

    def fileno(self) -> int:
        return int(self._raw.fileno())

    def readinto(self, buffer: Any) -> int | None:
        began = monotonic()
        octets: int | None = self._raw.readinto(buffer)
        if lost := self._patience.waited(monotonic() - began):
            raise Transient(lost)
        self._patience.moved(octets or 0)
        return octets

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Answer(http_client.HTTPResponse):
    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        self.fp = BufferedReader(_Incoming(self.fp.detach()))


class _Connection(HTTPConnection):
    response_class = _Answer


class _TlsConnection(HTTPSConnection):
    response_class = _Answer


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class _Adapter(HTTPAdapter):  # type: ignore[misc]
    """HTTP whose answers are waited for with patience, and over TLS with our settings and no others.

    That is always verified, against the system's certificates or ``ca``.
    """

    def __init__(self, context: Any, **more: Any) -> None:
        self._context = context
        super().__init__(**more)

    def init_poolmanager(self, *args: Any, **more: Any) -> None:
        super().init_poolmanager(*args, ssl_context=self._context, **more)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        # requests would add certificates of its own to those that the administrator trusts.
        if url.lower().startswith("https"):
            conn.cert_reqs = "CERT_REQUIRED"


class _Bearer(AuthBase):  # type: ignore[misc]
    """An access token (RFC 6750)."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: Any) -> Any:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def connections(options: EwsOptions, user: str, password: str, auth: str) -> BaseProtocol:
    """Make what opens connections and holds them, a class of its own for each server's TLS settings."""
    context = None if options.tls == "none" else tls_context(options)
    ticket = Ticket.of(options) if auth == "kerberos" else None

    class Connections(BaseProtocol):  # type: ignore[misc]
        HTTP_ADAPTER_CLS = staticmethod(lambda **more: _Adapter(context, **more))
        USERAGENT = "alimail"

        def create_session(self) -> Any:
            session = super().create_session()
            session.trust_env = False
            if auth == "oauth":
                session.auth = _Bearer(password)
            elif auth == "kerberos":
                session.auth = ticket
            elif auth == "basic":
                # In UTF-8, as browsers have it and servers may ask for (RFC 7617 §2.1): requests takes Latin-1.
                session.auth = HTTPBasicAuth(user.encode(), password.encode())
            return session

    secret = ExchangeCredentials(user, password) if auth == "ntlm" else None
    configuration = Configuration(
        secret,
        service_endpoint=options.url,
        auth_type=NTLM if auth == "ntlm" else NOAUTH,
        max_connections=options.connections,
    )
    return Connections(configuration)


def exchange(
    options: EwsOptions, http: requests.Session, octets: bytes, headers: dict[str, str], *, again: bool = True
) -> requests.Response:
    """Send octets; return what is answered, whatever it is. Raises ``Transient`` or ``Denied``.

    A server may close a connection that rests just when it is used again. That is asked for once more: all that we
    ask for changes nothing, so it may be repeated (RFC 9110 §9.2.2).
    """
    try:
        return http.post(
            options.url,
            data=octets,
            headers=headers,
            stream=True,
            allow_redirects=False,
            timeout=options.timeout,
        )
    except AlimailError:  # no ticket, no patience left
        raise
    except requests.RequestException as error:
        if again and isinstance(
            _root(error), ConnectionResetError | ConnectionAbortedError | BrokenPipeError
        ):
            return exchange(options, http, octets, headers, again=False)
        if not isinstance(error, requests.Timeout):
            dial(
                options
            ).close()  # which tells a certificate that is not trusted from a server that is not there
        if type(_root(error)) is http_client.BadStatusLine:
            raise Transient("what answers there does not speak HTTP", remedy=NO_HTTP_REMEDY) from error
        raise Transient(f"the connection to {options.host} was lost: {reason_of(error)}") from error
    except Exception as error:  # a login by NTLM reads what the server says, in code that is not ours
        raise Transient(
            f"the login did not come to an end: {type(error).__name__}",
            remedy="If it happens each time, try auth = basic.",
        ) from error


def schemes_of(told: str) -> set[str]:
    """Return the names of the ways to log in that a server offers (RFC 9110 §11.6.1), in lower case.

    What a realm in quotation marks says is none.
    """
    return {name.lower() for name in re.findall(r"(?:^|,)\s*([A-Za-z]+)(?=[ ,]|$)", _QUOTED.sub("", told))}


def graded(answer: requests.Response) -> AlimailError:
    """Return the error that an answer's status stands for, other than 200 and 401."""
    reason, where = answer.reason or "", answer.headers.get("Location", "")
    if where:
        reason += f", which leads to {''.join(filter(str.isprintable, where))[:200]}"
    return grade_status(answer.status_code, reason, answer.headers.get("Retry-After"))


def reason_of(error: BaseException) -> str:
    """Return what lies at the root of an error of requests, whose own words repeat addresses of objects."""
    root = _root(error)
    return getattr(root, "strerror", None) or type(root).__name__


def _root(error: BaseException) -> BaseException:
    while cause := error.__cause__ or error.__context__:
        error = cause
    return error
