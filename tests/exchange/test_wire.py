"""What the test server does on the wire: it throttles, forgets, and breaks in each of the ways that tests ask for."""

from __future__ import annotations

import gzip
import http.client
import socket
import threading

import pytest
from lxml import etree

from alimail_core.testing.mail import message
from tests.exchange import ExchangeServer, faults, schema
from tests.exchange.asking import ROOT, Asker, envelope
from tests.exchange.faults import LOST, Delivery, Fault
from tests.exchange.fixtures import StartExchange
from tests.exchange.soap import Request

pytestmark = pytest.mark.server


@pytest.fixture
def server(exchange: StartExchange) -> ExchangeServer:
    """One with Amy and Bob."""
    server = exchange(tls=False)
    server.organisation.add_mailbox("amy", password="amys").deliver("inbox", message())
    server.organisation.add_mailbox("bob", password="bobs")
    return server


@pytest.fixture
def asker(server: ExchangeServer) -> Asker:
    """Amy herself."""
    return Asker(server, login="OLD\\amy", password="amys")


# -- throttling


def test_busy_says_how_long_to_stay_away(server: ExchangeServer, asker: Asker) -> None:
    """A fault with its back-off, or without where the server is in no mood to tell."""
    server.faults.add(faults.busy(2_500))
    server.faults.add(faults.busy(None))
    said = asker.get_folder()
    assert (said.status, said.fault, said.values()) == (
        500,
        "ErrorServerBusy",
        {"BackOffMilliseconds": "2500"},
    )
    said = asker.get_folder()
    assert (said.fault, said.values()) == ("ErrorServerBusy", {})
    assert asker.get_folder().codes == ["NoError"]
    assert server.faults.struck == 2


def test_a_load_balancer_sends_away_in_its_own_words(server: ExchangeServer, asker: Asker) -> None:
    """No SOAP in it, only a status and when to come back."""
    server.faults.add(faults.http(503, retry_after="7", body=b"<html>Service Unavailable</html>"))
    said = asker.get_folder()
    assert (said.status, said.headers["Retry-After"], said.headers["Content-Type"]) == (503, "7", "text/html")


def test_single_messages_of_an_answer_fail(server: ExchangeServer, asker: Asker) -> None:
    """Of a batch one is told to come back later, and how much later; the others are there."""
    amy = server.organisation.mailboxes["amy@old.example"]
    ids = [amy.deliver("inbox", message(f"{number}")).id for number in range(3)]
    server.faults.add(faults.InMessages("ErrorServerBusy", {"BackOffMilliseconds": "10"}, frozenset({1})))
    said = asker.get_items(*ids)
    assert said.codes == ["NoError", "ErrorServerBusy", "NoError"]
    assert said.values() == {"BackOffMilliseconds": "10"}
    server.faults.add(faults.InMessages("ErrorTimeoutExpired"))
    assert asker.get_items(*ids).codes == ["ErrorTimeoutExpired"] * 3


def test_too_many_objects_and_too_many_requests(server: ExchangeServer, asker: Asker) -> None:
    """Two limits of an account, of which the second counts what is under way."""
    server.faults.add(faults.too_many_objects())
    assert asker.get_folder().fault == "ErrorTooManyObjectsOpened"
    server.max_concurrency = 0
    assert asker.get_folder().fault == "ErrorExceededConnectionCount"
    server.max_concurrency = 1
    assert asker.get_folder().codes == ["NoError"]
    assert asker.get_folder().codes == ["NoError"]


def test_a_storm_of_401_sends_everybody_back_to_the_door(server: ExchangeServer, asker: Asker) -> None:
    """With the ways that are offered, as if the password had been wrong."""
    server.faults.add(faults.http(401), times=2)
    assert [asker.get_folder().status for _ in range(3)] == [401, 401, 200]


def test_a_fault_strikes_whom_and_when_it_is_meant_for(server: ExchangeServer, asker: Asker) -> None:
    """By operation, by mailbox, after some that pass."""
    bob = Asker(server, login="OLD\\bob", password="bobs")
    server.faults.add(faults.busy(), operation="FindItem", mailbox="amy@old.example", skip=1, times=1)
    said = [bob.find_items(), asker.get_folder(), asker.find_items(), asker.find_items(), asker.find_items()]
    assert [answer.fault for answer in said] == [None, None, None, "ErrorServerBusy", None]


# -- broken on the way


def test_an_answer_is_cut_off(server: ExchangeServer, asker: Asker) -> None:
    """After so many octets, or before the first: the client hears the end, not a whole answer."""
    server.faults.add(Delivery(cut=50))
    with pytest.raises(http.client.HTTPException):
        asker.get_folder()
    server.faults.add(LOST)
    with pytest.raises(http.client.RemoteDisconnected):
        asker.get_folder()
    assert server.requests["GetFolder"] == 2, "both were carried out"


@pytest.mark.parametrize("octets", [-1, 30])
def test_an_answer_stalls(server: ExchangeServer, asker: Asker, octets: int) -> None:
    """Until the client has waited long enough."""
    server.faults.add(Delivery(stall=octets))
    asker.timeout = 0.2
    with pytest.raises(TimeoutError):
        asker.get_folder()
    asker.timeout = 20
    assert asker.get_folder().codes == ["NoError"]


def test_an_answer_trickles(server: ExchangeServer, asker: Asker) -> None:
    """Octet by octet, and whole in the end."""
    server.faults.add(Delivery(piece=1))
    assert asker.get_folder().codes == ["NoError"]


@pytest.mark.parametrize(
    "fault", [faults.garbage(), faults.entity_bomb(), faults.outside_entity("file:///etc/passwd")]
)
def test_what_comes_is_no_answer(server: ExchangeServer, asker: Asker, fault: Fault) -> None:
    """Status 200 and nothing that a careful parser takes for one, or unfolds."""
    server.faults.add(fault)
    said = asker.get_folder()
    assert said.status == 200
    try:
        assert schema.parse(said.octets).tag == "e"
    except etree.XMLSyntaxError:
        assert schema.answer_fault(said.octets)


def test_a_document_without_end_is_sent(server: ExchangeServer, asker: Asker) -> None:
    """As large as it was ordered."""
    server.faults.add(faults.huge(3 << 20))
    assert len(asker.get_folder().octets) > 3 << 20


def test_everybody_is_cut_off_at_once(server: ExchangeServer) -> None:
    """As by a restart: an idle connection ends."""
    with socket.create_connection(("localhost", server.port), timeout=20) as sock:
        sock.sendall(b"POST /EWS/Exchange.asmx HTTP/1.1\r\nContent-Length: 0\r\n\r\n")
        assert sock.recv(1 << 16).startswith(b"HTTP/1.1 401")
        server.hang_up()
        assert sock.recv(1) == b""


# -- the front end


def test_the_cookie_leads_to_the_back_end_until_it_is_old(server: ExchangeServer, asker: Asker) -> None:
    """Given out once, followed while it is right, replaced when not; strictly, an old one costs the request."""
    body = envelope(
        f"<m:GetFolder><m:FolderShape><t:BaseShape>IdOnly</t:BaseShape></m:FolderShape>{ROOT}</m:GetFolder>"
    )
    cookie = asker.post(body).headers["Set-Cookie"].split(";")[0]
    assert cookie.startswith("X-BackEndCookie=")
    assert asker.post(body, headers={"Cookie": cookie}).headers["Set-Cookie"] is None
    assert (server.affinity.followed, server.affinity.strays) == (1, 0)
    server.affinity.expire()
    said = asker.post(body, headers={"Cookie": cookie})
    assert (said.status, server.affinity.strays) == (200, 1)
    assert said.headers["Set-Cookie"] is not None
    server.affinity.strict = True
    said = asker.post(body, headers={"Cookie": cookie})
    assert said.status == 503
    new = said.headers["Set-Cookie"].split(";")[0]
    assert asker.post(body, headers={"Cookie": new}).status == 200


# -- HTTP itself


def test_answers_are_compressed_for_who_takes_it(server: ExchangeServer, asker: Asker) -> None:
    """Where the server is set up so, and nobody else gets what he cannot read."""
    server.compress = True
    body = envelope(
        f"<m:GetFolder><m:FolderShape><t:BaseShape>IdOnly</t:BaseShape></m:FolderShape>{ROOT}</m:GetFolder>"
    )
    said = asker.post(body, headers={"Accept-Encoding": "gzip, deflate"})
    assert said.headers["Content-Encoding"] == "gzip"
    assert b"NoError" in gzip.decompress(said.octets)
    assert asker.post(body, headers={"Accept-Encoding": "identity"}).codes == ["NoError"]


def test_names_hold_what_xml_does_not_allow(server: ExchangeServer, asker: Asker) -> None:
    """And come as references that a strict parser refuses, as from Exchange."""
    folder = server.organisation.mailboxes["amy@old.example"].folder(["a\x1fb"])
    said = asker.get_folder(f'<m:FolderIds><t:FolderId Id="{folder.id}"/></m:FolderIds>')
    assert b"<t:DisplayName>a&#x1F;b</t:DisplayName>" in said.octets


def test_a_mailbox_changes_while_it_is_read(server: ExchangeServer, asker: Asker) -> None:
    """Between any two requests, at the moment that the test chooses."""
    amy = server.organisation.mailboxes["amy@old.example"]

    def change(request: Request) -> None:
        amy.deliver("inbox", message("meanwhile"))

    server.meanwhile = change
    assert len(asker.find_items().all("t:ItemId")) == 2
    assert len(asker.find_items().all("t:ItemId")) == 3


def test_tls_with_a_certificate_that_names_the_server(exchange: StartExchange) -> None:
    """A client that checks it comes in; answers come with their length as well as in chunks."""
    server = exchange(chunked=False)
    server.organisation.add_mailbox("amy", password="amys")
    said = Asker(server, login="amy@old.example", password="amys").get_folder()
    assert said.codes == ["NoError"]
    assert int(said.headers["Content-Length"]) == len(said.octets)


def test_a_request_comes_in_chunks_and_waits_to_be_asked(server: ExchangeServer, asker: Asker) -> None:
    """Both ways in which clients send what they do not know the length of, or what is long."""
    body = envelope(
        f"<m:GetFolder><m:FolderShape><t:BaseShape>IdOnly</t:BaseShape></m:FolderShape>{ROOT}</m:GetFolder>"
    )
    half = len(body) // 2
    framed = b"".join(
        b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:half].encode(), body[half:].encode())
    )
    with socket.create_connection(("localhost", server.port), timeout=20) as sock:
        sock.sendall(
            b"POST /EWS/Exchange.asmx HTTP/1.1\r\nAuthorization: Basic T0xEXGFteTphbXlz\r\n"
            b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
        )
        assert sock.recv(1 << 16) == b"HTTP/1.1 100 Continue\r\n\r\n"
        sock.sendall(framed + b"0\r\n\r\n")
        answer = b""
        while octets := sock.recv(1 << 16):
            answer += octets
    assert answer.startswith(b"HTTP/1.1 200 OK")
    assert answer.endswith(b"0\r\n\r\n")


def test_many_are_served_side_by_side(server: ExchangeServer, asker: Asker) -> None:
    """One that stalls holds up nobody, and the most connections at once are counted."""
    server.faults.add(Delivery(stall=-1))
    asker.timeout = 20

    def wait_for_an_answer() -> None:
        with pytest.raises(http.client.RemoteDisconnected):
            asker.get_folder()

    waiting = threading.Thread(target=wait_for_an_answer)
    waiting.start()
    try:
        while not server.faults.struck:
            waiting.join(0.001)
        assert Asker(server, login="OLD\\bob", password="bobs").get_folder().codes == ["NoError"]
        assert server.most_connections >= 2
    finally:
        server.hang_up()
        waiting.join(20)
    assert not waiting.is_alive()
