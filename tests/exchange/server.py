"""An Exchange server for tests: it listens on loopback, speaks EWS over an ``Organisation``, and can be made to fail.

::

    with ExchangeServer() as server:
        amy = server.organisation.add_mailbox("amy", password="secret")
        amy.deliver("inbox", octets, flags=["\\\\Seen"])
        server.organisation.add_account("svc", "secret", impersonates=["*"])
        ...  # server.url, server.ca_file

Every request and every answer is held against Microsoft's schemas while ``validate`` is on; what breaks them stands
in ``violations``, and leaving the ``with`` raises when anything stands there.
"""

from __future__ import annotations

import shutil
import socket
import ssl
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from attrs import define, evolve, field
from lxml import etree

from alimail_core.testing.certificates import Certificate, make_certificate
from tests.exchange import autodiscover, schema
from tests.exchange.access import impersonated
from tests.exchange.affinity import Affinity
from tests.exchange.calls import Call, Habits
from tests.exchange.faults import Delivery, Fault, Faults, InMessages, Instead
from tests.exchange.login import Door
from tests.exchange.ntlm import end_point
from tests.exchange.operations import perform
from tests.exchange.organisation import Account, Organisation
from tests.exchange.soap import (
    EXCHANGE_2016,
    MESSAGES,
    NAMESPACES,
    SCHEMA_VERSIONS,
    Answer,
    Element,
    Refusal,
    Request,
    Version,
    children,
    envelope,
    fault,
    local_name,
)
from tests.exchange.versions import require_known, require_schema, schema_violation
from tests.exchange.wire import Connection, HttpRequest, Session, accept_tls

HOST = "127.0.0.1"
EWS = "/ews/exchange.asmx"


@define(eq=False)
class ExchangeServer:
    """One server on loopback. Everything but ``port`` and ``tls`` may be changed while it runs."""

    version: Version = EXCHANGE_2016
    tls: bool = True
    validate: bool = True
    chunked: bool = True
    """Answers come in HTTP's chunks, as Exchange sends them, instead of with their length."""
    compress: bool = False
    """Answers go out by gzip where the client takes it, as IIS may be set up to do."""
    meanwhile: Callable[[Request], None] | None = None
    """Called before each operation is carried out, with the store locked: mailboxes change while they are read."""
    accent: Callable[[str, Element], None] | None = None
    """Called with each answer's operation and envelope, to make it one of a server of another make: it is held
    against the schemas before that.
    """
    max_concurrency: int | None = None
    """Requests of one account at the same time (EWSMaxConcurrency); one more is refused."""
    port: int = 0
    habits: Habits = field(factory=Habits)
    organisation: Organisation = field(factory=Organisation)
    faults: Faults = field(factory=Faults)
    affinity: Affinity = field(factory=Affinity)
    door: Door = field(init=False)

    violations: list[str] = field(factory=list, init=False)
    """What in requests and answers does not keep to the schemas."""
    requests: Counter[str] = field(factory=Counter, init=False)
    """How often each operation was asked for."""
    connections: int = field(default=0, init=False)
    most_connections: int = field(default=0, init=False)
    certificate: Certificate = field(init=False)
    _end_point: bytes | None = field(default=None, init=False)
    _folder: Path = field(init=False)
    _listener: socket.socket = field(init=False)
    _over: threading.Event = field(factory=threading.Event, init=False)
    _sockets: set[socket.socket] = field(factory=set, init=False)
    _busy: Counter[str] = field(factory=Counter, init=False)
    _lock: threading.Lock = field(factory=threading.Lock, init=False)
    _threads: list[threading.Thread] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        """Open the door over the organisation."""
        self.door = Door(self.organisation)

    # -- its life

    def start(self) -> Self:
        """Listen."""
        self._folder = Path(tempfile.mkdtemp(prefix="exch"))
        context = None
        if self.tls:
            self.certificate = make_certificate(self._folder, f"autodiscover.{self.organisation.domain}")
            context = self.certificate.context()
            shown = ssl.PEM_cert_to_DER_cert(self.certificate.file.read_text())
            self._end_point = end_point(shown)
        self._listener = socket.create_server((HOST, self.port), backlog=128)
        self.port = self._listener.getsockname()[1]
        self._run(self._accept, context)
        return self

    def stop(self) -> None:
        """End every connection and every thread. Idempotent."""
        self._over.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()
        for thread in list(self._threads):
            thread.join(10)
        shutil.rmtree(self._folder, ignore_errors=True)

    def hang_up(self) -> None:
        """Cut every connection off, as a restart of the web server does."""
        with self._lock:
            sockets = list(self._sockets)
        for sock in sockets:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop; raise where anything broke the schemas and nothing else went wrong."""
        self.stop()
        if kind is None and self.violations:
            raise AssertionError("against Microsoft's schemas:\n" + "\n".join(self.violations))

    def _run(self, *work: object) -> None:
        target, *arguments = work
        assert callable(target)
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads = [running for running in self._threads if running.is_alive()]
        self._threads.append(thread)
        thread.start()

    def _accept(self, context: ssl.SSLContext | None) -> None:
        while not self._over.is_set():
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self._run(self._serve, sock, context)

    def _serve(self, sock: socket.socket, context: ssl.SSLContext | None) -> None:
        try:
            sock = accept_tls(sock, context)
        except OSError:
            sock.close()
            return
        with self._lock:
            self._sockets.add(sock)
            self.connections += 1
            self.most_connections = max(self.most_connections, self.connections)
        try:
            Connection(sock, Session(self._end_point), self._respond, self, self._over).serve()
        finally:
            with self._lock:
                self._sockets.discard(sock)
                self.connections -= 1
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    # -- where it is

    @property
    def base_url(self) -> str:
        """Scheme, host and port."""
        return f"{'https' if self.tls else 'http'}://localhost:{self.port}"

    @property
    def url(self) -> str:
        """Where EWS answers."""
        return f"{self.base_url}/EWS/Exchange.asmx"

    @property
    def ca_file(self) -> Path:
        """The authority to trust, PEM."""
        return self.certificate.ca_file

    def log_tail(self, lines: int = 40) -> str:
        """Say what was asked and what broke the schemas; for the report of a failed test."""
        return "\n".join([repr(dict(self.requests)), *self.violations[-lines:]])

    # -- what it answers

    def _respond(self, request: HttpRequest, session: Session) -> tuple[Answer, Delivery | None]:
        answer, delivery = self._entered(request, session)
        proof, session.proof = session.proof, None
        return answer if proof is None else self.door.proven(answer, proof), delivery

    def _entered(self, request: HttpRequest, session: Session) -> tuple[Answer, Delivery | None]:
        path = urlsplit(request.path).path.lower()
        if self.habits.posts_only and path == EWS and request.method != "POST":
            return Answer(405, b"", content_type="text/html"), None
        entered = self.door.enter(request, session)
        if path not in (EWS, *autodiscover.PATHS):
            return Answer(404, b"", content_type="text/html"), None
        if isinstance(entered, Answer):
            return entered, None
        if path in autodiscover.PATHS:
            return autodiscover.answer(self, path, request.body), None
        if request.method != "POST":
            return Answer(302, b"", {"Location": f"{self.base_url}/EWS/Services.wsdl"}, "text/html"), None
        return self._call(request, session, entered)

    def _call(
        self, request: HttpRequest, session: Session, account: Account
    ) -> tuple[Answer, Delivery | None]:
        """Answer one EWS request, unless something shall go wrong with it."""
        with self._lock:
            self._busy[account.login] += 1
            crowded = self.max_concurrency is not None and self._busy[account.login] > self.max_concurrency
        try:
            if crowded:
                return fault(self.version, Refusal("ErrorExceededConnectionCount", _CROWDED)), None
            call = self._understand(request.body, account)
            self._require_action(request.headers.get("soapaction"), call.operation)
            self.requests[call.operation] += 1
            address = None if call.mailbox is None else call.mailbox.address
            wrong = self.faults.next(call.operation, address)
            if isinstance(wrong, Instead):
                return self._instead(wrong, session), None
            with self.organisation.lock:
                routed = self.affinity.route(request.headers.get("cookie", ""), call.mailbox)
                answer = (
                    self._perform(call, wrong)
                    if routed.served
                    else Answer(503, b"", content_type="text/html")
                )
            return self._accented(call.operation, self._checked(answer, routed.cookies)), _delivery(wrong)
        except Refusal as refusal:
            return self._checked(fault(self.version, refusal)), None
        finally:
            with self._lock:
                self._busy[account.login] -= 1

    def _require_action(self, told: str | None, operation: str) -> None:
        if told is None and not self.habits.wants_action:
            return
        if told != f'"{MESSAGES}/{operation}"':
            raise Refusal("ErrorInvalidRequest", f"SOAPAction {told} is not that of {operation}.")

    def _accented(self, operation: str, answer: Answer) -> Answer:
        if self.accent is None:
            return answer
        tree = etree.fromstring(answer.body)
        self.accent(operation, tree)
        return evolve(answer, body=etree.tostring(tree))

    def _perform(self, call: Request, wrong: Fault | None) -> Answer:
        if self.meanwhile is not None:
            self.meanwhile(call)
        spoilt = wrong.failure if isinstance(wrong, InMessages) else lambda _: None
        body = perform(Call(self.organisation, self.habits, call, spoilt))
        return Answer(200, envelope(self.version, body))

    def _understand(self, body: bytes, account: Account) -> Request:
        """Parse a request and find out who is meant. Raises ``Refusal``."""
        try:
            tree = schema.parse(body)
        except etree.XMLSyntaxError as error:
            self.violations.append(f"request: {error}")
            raise schema_violation("The request is no XML.") from error
        if self.validate and (violation := schema.request_fault(body)) is not None:
            self.violations.append(f"request: {violation}")
            raise schema_violation(violation)
        header, bodies = tree.find("s:Header", NAMESPACES), children(tree.find("s:Body", NAMESPACES))
        if len(bodies) != 1:
            raise schema_violation("The body of the envelope is to have one element.")
        version = _version(header)
        require_known(self.version, version)
        require_schema(bodies[0], version)
        with self.organisation.lock:
            acting = impersonated(self.organisation, account, header)
        return Request(
            local_name(bodies[0]), bodies[0], version, account, acting or account.mailbox, acting is not None
        )

    def _instead(self, wrong: Instead, session: Session) -> Answer:
        if isinstance(wrong.answer, Refusal):
            return self._checked(fault(self.version, wrong.answer))
        if wrong.answer.status != 401:
            return wrong.answer
        session.login = None
        return self.door.refuse()

    def _checked(self, answer: Answer, cookies: tuple[str, ...] = ()) -> Answer:
        """Hold an answer against the schemas before it goes out."""
        if self.validate and answer.status in (200, 500):
            violation = schema.answer_fault(answer.body)
            if violation is not None:
                self.violations.append(f"answer: {violation}")
        many = tuple(("Set-Cookie", cookie) for cookie in cookies)
        return Answer(answer.status, answer.body, answer.headers, answer.content_type, many)


_CROWDED = (
    "You have exceeded the available concurrent connections for your account. Try again once your other requests "
    "have completed."
)


def _version(header: Element | None) -> str:
    asked = None if header is None else header.find("t:RequestServerVersion", NAMESPACES)
    version = "Exchange2007_SP1" if asked is None else asked.get("Version", "")
    if version not in SCHEMA_VERSIONS:
        raise Refusal("ErrorInvalidServerVersion", "The specified server version is invalid.")
    return version


def _delivery(wrong: Fault | None) -> Delivery | None:
    return wrong if isinstance(wrong, Delivery) else None
