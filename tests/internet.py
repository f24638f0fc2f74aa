"""A small internet on loopback: a name server, a web server for https, and names that lead to them."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias
from unittest import mock

import dns.flags
import dns.message
import dns.rdatatype
import dns.resolver
import dns.rrset
from attrs import define, field

from alimail_core.testing.certificates import Certificate

Zone: TypeAlias = Mapping[tuple[str, str], list[str]]
"""Records by name and type: ``("old.example", "MX"): ["10 mail.old.example."]``. Any other name does not exist."""


@define
class Internet:
    """What is there while ``internet`` runs."""

    zone: Zone
    certificate: Certificate
    ports: dict[tuple[str, int], int] = field(factory=dict)
    """Where a connection to a name and port really goes; a port that is not here is closed."""
    pages: dict[str, bytes | str] = field(factory=dict)
    """By URL without its scheme: what is served, or as text where it leads to."""
    silent: bool = False
    """The name server gives no answer."""
    dripping: set[str] = field(factory=set)
    """URLs without their scheme whose answer's header comes octet by octet and has no end."""
    over: threading.Event = field(factory=threading.Event)
    failing: set[str] = field(factory=set)
    """Names of which it says that it cannot answer now."""
    questions: list[bytes] = field(factory=list)
    """What was posted."""
    authority: bool = True
    """The name server answers as the domain's own, and not for another."""
    asked: list[str] = field(factory=list)
    """What the name server and the web server were asked for."""


@contextmanager
def internet(zone: Zone, certificate: Certificate, *, silent: bool = False) -> Iterator[Internet]:
    """Give a world in which nothing else can be reached. A host's name must have an ``A`` record of 127.0.0.1."""
    world = Internet(zone, certificate, silent=silent)
    resolver = dns.resolver.Resolver(configure=False)
    resolver.lifetime = 0.2 if silent else 5.0
    with _name_server(world) as resolver.port, _web_server(world) as web:
        resolver.nameservers = ["127.0.0.1"]
        dns.resolver.override_system_resolver(resolver)
        look_up = socket.getaddrinfo

        def elsewhere(host: Any, port: Any, *more: Any, **named: Any) -> Any:
            if host == "127.0.0.1":
                return look_up(host, port, *more, **named)
            return look_up(host, web if port == 443 else world.ports.get((host, port), 1), *more, **named)

        try:
            with (
                mock.patch.object(dns.resolver, "default_resolver", resolver),
                mock.patch.object(socket, "getaddrinfo", elsewhere),
                mock.patch.dict(os.environ, {"no_proxy": "*"}),
            ):
                yield world
        finally:
            dns.resolver.restore_system_resolver()


@contextmanager
def _name_server(world: Internet) -> Iterator[int]:
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            octets, peer = server.recvfrom(4096)
            if not octets:
                return
            if not world.silent:
                server.sendto(_answer(world, dns.message.from_wire(octets)).to_wire(), peer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as end:
            end.sendto(b"", server.getsockname())
        thread.join(10)
        server.close()


def _answer(world: Internet, query: dns.message.Message) -> dns.message.Message:
    (question,) = query.question
    name, kind = question.name.to_text(omit_final_dot=True).lower(), dns.rdatatype.to_text(question.rdtype)
    world.asked.append(f"{kind} {name}")
    answer = dns.message.make_response(query)
    answer.flags |= dns.flags.RA | (dns.flags.AA if world.authority else dns.flags.Flag(0))
    records = world.zone.get((name, kind), [])
    if name in world.failing:
        answer.set_rcode(dns.rcode.SERVFAIL)
    elif records:
        answer.answer.append(dns.rrset.from_text(question.name, 60, "IN", kind, *records))
    elif not any(known == name for known, _ in world.zone):
        answer.set_rcode(dns.rcode.NXDOMAIN)
    return answer


@contextmanager
def _web_server(world: Internet) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = f"{self.headers['Host']}{self.path}"
            world.asked.append(f"https://{url}")
            while url in world.dripping and not world.over.wait(0.01):
                self.wfile.write(b"H")
            page = world.pages.get(url)
            self.send_response(404 if page is None else 302 if isinstance(page, str) else 200)
            if isinstance(page, str):
                self.send_header("Location", page)
            self.end_headers()
            self.wfile.write(page if isinstance(page, bytes) else b"")

        def do_POST(self) -> None:
            world.questions.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        context = world.certificate.context()
        # The handshake is each connection's own, so that a client that breaks off ends nobody else's.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            world.over.set()
            server.shutdown()
            thread.join(10)
