"""The Alibaba Mail sink, over a server that presents itself as Alibaba Mail."""

from __future__ import annotations

import re
import socket
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import pytest
from attrs import fields

from alimail_core import (
    INBOX,
    SYSTEM_FLAGS,
    Clock,
    Credentials,
    Delivery,
    Denied,
    FlagChange,
    Folder,
    NotStored,
    OverQuota,
    PathRules,
    Sink,
    Source,
    SpecialUse,
    Stored,
    Throttled,
    Transient,
)
from alimail_core.folders.spelling import encode_name, restore_name
from alimail_core.registry import Registry
from alimail_core.testing import asking
from alimail_core.testing.alibaba import AlibabaServer
from alimail_core.testing.faultproxy import FaultProxy, Moment, WireFault
from alimail_core.testing.fixtures import StartAlibaba
from alimail_core.testing.sink_contract import SinkContract
from alimail_core.urls import parse_url
from alimail_imap.spread import Spread
from alimail_sink.options import HOSTS, AlibabaOptions
from alimail_sink.sink import AlibabaSink, open_sink

LETTER = b"Message-ID: <1@example.org>\r\nSubject: hello\r\n\r\nWorld\r\n"


def options_for(server: AlibabaServer, proxy: FaultProxy | None = None) -> AlibabaOptions:
    """Return options that lead to a server on loopback, with TLS, by way of a proxy where there is one."""
    port = proxy.tls_port if proxy is not None else server.imaps_port
    return AlibabaOptions(host="localhost", port=port, ca=server.ca_file, timeout=20.0)


def open_at(server: AlibabaServer, user: str, proxy: FaultProxy | None = None) -> AlibabaSink:
    """Open a mailbox."""
    return open_sink(options_for(server, proxy), Credentials(user, lambda: server.password), Clock())


def before(server: AlibabaServer) -> FaultProxy:
    """Put a proxy before a server."""
    return FaultProxy((server.host, server.imap_port), certificate=server.dovecot.certificate)


def note_grades(outcomes: Iterable[Stored | NotStored], told: dict[int, str]) -> None:
    """Note what became of each delivery while it is told."""
    for outcome in outcomes:
        told[outcome.id] = type(outcome.error).__name__ if isinstance(outcome, NotStored) else "Stored"


@pytest.mark.server
class TestContract(SinkContract):
    """Every promise of a sink, and of a source, over the Alibaba profile."""

    tells_keys = False
    keeps_keywords = False
    can_break = True
    tells_news = True
    server: AlibabaServer

    @pytest.fixture(autouse=True)
    def _choose_server(self, alibaba_server: AlibabaServer) -> None:
        self.server = alibaba_server

    def make_sink(self, tmp_path: Path) -> Callable[[], Sink]:
        user = self.server.new_user("contract")
        return lambda: open_at(self.server, user)

    def takes(self, octets: bytes) -> bool:
        return octets != b""

    def same(self, given: bytes, got: bytes) -> bool:
        """The Dovecot behind mends line ends, and keeps a NUL as another octet."""
        mended = re.sub(rb"\r*\n", b"\r\n", given).replace(b"\0", b"\x80")
        return mended.removesuffix(b"\r") == got

    def break_connection(self, source: Source) -> None:
        assert isinstance(source, AlibabaSink)
        # Past TLS, which must not be shut down while another thread reads it.
        socket.socket.shutdown(source.session.connection.wire._sock, socket.SHUT_RDWR)


@pytest.mark.server
class TestManyConnections(TestContract):
    """The same over several connections, which are opened for every message that waits."""

    def make_sink(self, tmp_path: Path) -> Callable[[], Sink]:
        user = self.server.new_user("contract")
        credentials = Credentials(user, lambda: self.server.password)
        options = options_for(self.server).imap()
        return lambda: AlibabaSink.open(options, credentials, choose=lambda _: Spread(rounds=0))


@pytest.mark.server
@pytest.mark.parametrize("which", [1, 20, 40])
def test_a_connection_that_dies_among_many_leaves_each_message_with_its_outcome(
    alibaba: StartAlibaba, which: int
) -> None:
    """What was stored stands once, one message is in doubt and arrives late, and nothing is sent twice."""
    server = alibaba(round_trip=0.01)
    user = server.new_user()
    told: dict[int, str] = {}
    with before(server) as proxy:
        with open_at(server, user, proxy) as sink:
            (inbox,) = sink.create([(INBOX, None)])
            assert isinstance(inbox, Folder)
            proxy.strike(WireFault.LATE, Moment.APPEND_AFTER, which)
            deliveries = [Delivery(number, inbox, LETTER + b"No. %d\r\n" % number) for number in range(100)]
            with suppress(Transient):  # where it was the first connection
                note_grades(sink.append([deliveries[:50], deliveries[50:]]), told)
        assert proxy.accepted > 1
        counts = Counter(told.values())
        assert counts["InDoubt"] == 1
        assert counts["Stored"] == len(told) - 1
        proxy.release()
    bodies = server.snapshot(user)[INBOX]
    assert bodies.total() == len(told)
    assert len(bodies) == len(told)


@pytest.mark.parametrize(("region", "host"), HOSTS.items())
def test_each_region_has_its_host(region: str, host: str) -> None:
    """A region alone says where to connect; a host of one's own goes before it."""
    options = AlibabaOptions(region=region)  # type: ignore[arg-type]
    assert options.imap().address == (host, 993)
    assert AlibabaOptions(region=region, host="mail.test").imap().host == "mail.test"  # type: ignore[arg-type]


def test_every_option_has_a_help_text_and_a_default() -> None:
    """A URL with an address and nothing else is enough."""
    assert all(field.metadata["help"] for field in fields(AlibabaOptions))
    assert AlibabaOptions().imap().tls == "implicit"


def test_it_is_registered_through_the_same_door_as_anybody() -> None:
    """The entry point gives the sink kind ``alimail``, and a URL's domain is the address's."""
    registry = Registry.load(only=["alimail"])
    assert registry.problems == ()
    endpoint, user = parse_url("alimail://amy@example.org?region=hk", registry, "target")
    assert (endpoint.kind, user) == ("alimail", "amy@example.org")
    assert endpoint.options == AlibabaOptions(region="hk")


@pytest.mark.server
def test_a_refused_login_names_its_three_causes(alibaba_server: AlibabaServer) -> None:
    """The server says nothing, so the remedy says all that it can be, and never the password."""
    user = alibaba_server.new_user()
    with pytest.raises(Denied) as caught:
        open_sink(options_for(alibaba_server), Credentials(user, lambda: "wr0ng-secret"), Clock())
    remedy = caught.value.remedy
    assert all(cause in remedy for cause in ("wrong", "security password", "forbidden"))
    assert "wr0ng-secret" not in str(caught.value) + remedy


@pytest.mark.server
def test_a_certificate_that_is_not_trusted_is_not_taken_for_a_refused_login(
    alibaba_server: AlibabaServer,
) -> None:
    """The remedy fits the fault."""
    options = AlibabaOptions(host="localhost", port=alibaba_server.imaps_port)
    with pytest.raises(Denied, match="not trusted") as caught:
        open_sink(options, Credentials("amy@example.org", lambda: ""), Clock())
    assert "third-party" not in caught.value.remedy


@pytest.mark.server
def test_special_folders_are_met_by_their_use(alibaba_server: AlibabaServer) -> None:
    """The Chinese names are told with their special use."""
    with open_at(alibaba_server, alibaba_server.new_user()) as sink:
        uses = {folder.special_use: folder.path for folder in sink.folders() if folder.special_use}
    assert uses == {
        SpecialUse.SENT: ("已发送",),
        SpecialUse.DRAFTS: ("草稿",),
        SpecialUse.JUNK: ("垃圾邮件",),
        SpecialUse.TRASH: ("已删除邮件",),
    }


@pytest.mark.server
def test_keywords_are_dropped_and_the_message_is_kept(alibaba_server: AlibabaServer) -> None:
    """A keyword costs no message, and the listing tells what can be stored."""
    user = alibaba_server.new_user()
    with open_at(alibaba_server, user) as sink:
        (inbox,) = sink.create([(INBOX, None)])
        assert isinstance(inbox, Folder)
        flags = frozenset({"\\Seen", "$Forwarded"})
        (outcome,) = sink.append([[Delivery(1, inbox, LETTER, flags)]])
        assert isinstance(outcome, Stored)
        assert asking.listing(sink, INBOX).storable_flags == SYSTEM_FLAGS | {"\\Deleted"}
    (kept,) = alibaba_server.snapshot(user)[INBOX]
    assert kept.flags == {"\\Seen"}


@pytest.mark.server
@pytest.mark.parametrize("name", ["C++", "a*b", "back\\slash", "either/or", "工作+"])
def test_names_that_trip_it_are_spelt_reversibly(alibaba_server: AlibabaServer, name: str) -> None:
    """A name with a forbidden character becomes one that the server makes, and reads back as it was."""
    with open_at(alibaba_server, alibaba_server.new_user()) as sink:
        rules = sink.traits.rules
        assert isinstance(rules, PathRules)
        spelt = encode_name(name, rules)
        (made,) = sink.create([((spelt,), None)])
        assert isinstance(made, Folder)
        assert made.path == (spelt,)
    assert spelt != name
    assert restore_name(spelt) == name


@pytest.mark.server
@pytest.mark.parametrize("again", [0, 2, 3, 5])
def test_a_folder_made_anew_is_another_epoch(alibaba_server: AlibabaServer, again: int) -> None:
    """Deleted and made again under the constant UIDVALIDITY, a folder's old keys mean nothing any more.

    It is noticed whether the new folder has fewer messages, as many, or more.
    """
    user = alibaba_server.new_user()
    for number in range(3):
        alibaba_server.deliver(user, ("Box",), LETTER + b"x" * number)
    with open_at(alibaba_server, user) as sink:
        first = asking.listing(sink, ("Box",))
    alibaba_server.delete(user, ("Box",))
    alibaba_server.create(user, ("Box",))
    for number in range(again):
        alibaba_server.deliver(user, ("Box",), LETTER + b"y" * (10 + number))
    with open_at(alibaba_server, user) as sink:
        second = asking.listing(sink, ("Box",), first.cursor)
    assert second.epoch != first.epoch
    assert second.complete
    assert len(second.entries) == again
    assert not second.entries.keys() & first.entries.keys()


@pytest.mark.server
def test_only_what_the_vendor_lists_is_used(alibaba: StartAlibaba) -> None:
    """Writing, reading and removing get along with what Alibaba Mail has: nothing but EXAMINE is even tried."""
    server = alibaba()
    with open_at(server, server.new_user()) as sink:
        (folder,) = sink.create([(("Box",), None)])
        assert isinstance(folder, Folder)
        list(sink.append([[Delivery(1, folder, LETTER)]]))
        listed = asking.listing(sink, ("Box",))
        (key,) = asking.messages(sink, listed)
        sink.change_flags(folder, [FlagChange(key, add=frozenset({"\\Seen"}))])
        assert list(sink.remove(folder, [key])) == [key]
        assert any("1 TB" in remark.text for remark in sink.remarks())
    assert set(server.proxy.refused) <= {"EXAMINE"}


@pytest.mark.server
def test_a_full_mailbox_stops_the_account(alibaba: StartAlibaba) -> None:
    """The server's words alone, without a code, tell that the mailbox is full."""
    server = alibaba(quota_octets=50_000)
    with open_at(server, server.new_user()) as sink:
        (inbox,) = sink.create([(INBOX, None)])
        assert isinstance(inbox, Folder)
        with pytest.raises(OverQuota):
            list(sink.append([[Delivery(1, inbox, LETTER + b"x" * 60_000)]]))


@pytest.mark.server
def test_too_many_connections_are_passing(alibaba: StartAlibaba) -> None:
    """A server that says BYE to one connection more is asked again later, and more slowly."""
    server = alibaba(max_connections=1)
    user = server.new_user()
    with open_at(server, user), pytest.raises(Throttled):
        open_at(server, user)


@pytest.mark.server
def test_an_append_whose_answer_is_lost_is_in_doubt(alibaba: StartAlibaba) -> None:
    """The message stands in the target, and the sink does not claim to know."""
    server = alibaba()
    user = server.new_user()
    with before(server) as proxy:
        with open_at(server, user, proxy) as sink:
            (inbox,) = sink.create([(INBOX, None)])
            assert isinstance(inbox, Folder)
            proxy.strike(WireFault.LOST, Moment.APPEND_AFTER, 2)
            deliveries = [Delivery(number, inbox, LETTER + b"x" * number) for number in range(3)]
            told: dict[int, str] = {}
            with pytest.raises(Transient):
                note_grades(sink.append([deliveries]), told)
            assert told == {0: "Stored", 1: "InDoubt", 2: "Transient"}
        proxy.release()
    assert server.snapshot(user)[INBOX].total() == 2
