"""The plug-in over real Dovecots, one that offers everything and one that offers what Alibaba Mail does."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from typing import Literal

import pytest
from attrs import evolve

from alimail_core.contract import Credentials
from alimail_core.errors import Denied, OverQuota, Refused
from alimail_core.model import (
    INBOX,
    PAGE,
    Changes,
    Delivery,
    Entry,
    FlagChange,
    Folder,
    Gone,
    Message,
    NotStored,
    SpecialUse,
    Stored,
)
from alimail_core.testing.mail import odd_messages, sound_messages
from alimail_core.testing.servers import Dovecot
from alimail_imap.append import Multi, Pipelined
from alimail_imap.login import connect, probe
from alimail_imap.options import ImapOptions
from alimail_imap.sink import ImapSink
from alimail_imap.source import ImapSource
from alimail_imap.spread import Pace, Spread
from alimail_imap.testing import credentials_for, options_for

pytestmark = pytest.mark.server

EAST = timezone(timedelta(hours=8))


@pytest.fixture(params=["rich", "poor"])
def server(request: pytest.FixtureRequest) -> Dovecot:
    """Each test runs against both."""
    dovecot: Dovecot = request.getfixturevalue(request.param)
    return dovecot


@pytest.fixture
def user(rich: Dovecot) -> str:
    """A mailbox that nobody has used before, on any server."""
    return rich.new_user()


@pytest.fixture
def sink(server: Dovecot, user: str) -> Iterator[ImapSink]:
    """An empty mailbox to write to."""
    with ImapSink.open(options_for(server), credentials_for(server, user)) as opened:
        yield opened


@pytest.fixture
def source(server: Dovecot, user: str, sink: ImapSink) -> Iterator[ImapSource]:
    """The same mailbox to read."""
    with ImapSource.open(options_for(server), credentials_for(server, user)) as opened:
        yield opened


def box(sink: ImapSink, *path: str) -> Folder:
    """Make a folder."""
    (folder,) = sink.create([(path or ("Box",), None)])
    assert isinstance(folder, Folder)
    return folder


def store(sink: ImapSink, folder: Folder, *messages: bytes, flags: frozenset[str] = frozenset()) -> list[str]:
    """Store messages; return their keys."""
    batch = [Delivery(number, folder, octets, flags) for number, octets in enumerate(messages)]
    outcomes = sorted(sink.append([batch]), key=lambda outcome: outcome.id)
    keys = [outcome.key for outcome in outcomes if isinstance(outcome, Stored)]
    assert len(keys) == len(messages)
    return [key for key in keys if key is not None]


def plain(number: int) -> bytes:
    """Write a small message."""
    return b"Message-ID: <%d@example.org>\r\nSubject: %d\r\n\r\nHello.\r\n" % (number, number)


def listing(source: ImapSource, folder: Folder, cursor: object = None) -> list[Changes]:
    """List a folder."""
    found = list(source.changes([(folder, cursor)]))  # type: ignore[list-item]
    assert all(isinstance(page, Changes) for page in found)
    return [page for page in found if isinstance(page, Changes)]


def entries(source: ImapSource, folder: Folder) -> list[Entry]:
    """Return all entries of a folder."""
    return [entry for page in listing(source, folder) for entry in page.entries]


def test_each_server_gets_its_strategy(rich: Dovecot, poor: Dovecot) -> None:
    """The rich one takes MULTIAPPEND, the poor one APPENDs in flight."""
    for dovecot, kind in ((rich, Multi), (poor, Pipelined)):
        with ImapSink.open(options_for(dovecot), credentials_for(dovecot, dovecot.new_user())) as opened:
            assert isinstance(opened._strategy, Spread)
            assert type(opened._strategy.way) is kind


def test_what_is_stored_is_read_back(sink: ImapSink, source: ImapSource) -> None:
    """Octets, flags, date and key come back as they went."""
    folder = box(sink, "北京", "R&D")
    when = datetime(2001, 2, 3, 4, 5, 6, tzinfo=EAST)
    flags = frozenset({"\\Seen", "\\Flagged", "\\Answered", "\\Draft", "$Forwarded"})
    messages = list(sound_messages().values())
    batch = [Delivery(number, folder, octets, flags, when) for number, octets in enumerate(messages)]
    outcomes = {outcome.id: outcome for outcome in sink.append([batch])}
    keys = {outcome.key: number for number, outcome in outcomes.items() if isinstance(outcome, Stored)}
    listed = entries(source, folder)
    assert {entry.key for entry in listed} == set(keys)
    assert {entry.flags for entry in listed} == {flags}
    assert {entry.internal_date for entry in listed} == {when}
    for answer in source.fetch([(folder, listed)]):
        assert isinstance(answer, Message)
        assert answer.octets == messages[keys[answer.key]]


def test_odd_messages_are_stored_or_refused_one_by_one(sink: ImapSink) -> None:
    """Every odd message has an outcome that is certain, whatever else was in its batch."""
    folder = box(sink)
    batch = [Delivery(number, folder, octets) for number, octets in enumerate(odd_messages().values())]
    first = {outcome.id: outcome for outcome in sink.append([batch])}
    doubted = [one for one in batch if not isinstance(first[one.id], Stored)]
    again = {outcome.id: outcome for outcome in sink.append([doubted])}
    assert len(first) == len(batch)
    for outcome in again.values():
        assert isinstance(outcome, Stored) or isinstance(outcome.error, Refused)


def test_reading_leaves_no_trace(sink: ImapSink, source: ImapSource) -> None:
    """Fetching octets and headers sets no Seen flag."""
    folder = box(sink)
    store(sink, folder, plain(1), plain(2))
    listed = entries(source, folder)
    assert len(list(source.fetch([(folder, listed)]))) == 2
    assert {headers.octets for headers in source.headers(folder, listed)} == {
        b"Message-ID: <%d@example.org>\r\nSubject: %d\r\n\r\n" % (n, n) for n in (1, 2)
    }
    assert {entry.flags for entry in source.look(folder, [entry.key for entry in listed])} == {frozenset()}


def test_a_second_listing_tells_what_changed(sink: ImapSink, source: ImapSource) -> None:
    """New, changed, removed and moved messages are told; keys stay what they were."""
    folder, other = box(sink), box(sink, "Other")
    keys = store(sink, folder, *(plain(number) for number in range(6)))
    keys = keys or [entry.key for entry in entries(sink, folder)]
    cursor = listing(source, folder)[-1].cursor
    sink.change_flags(folder, [FlagChange(keys[0], add=frozenset({"\\Seen"}))])
    assert list(sink.remove(folder, [keys[1]])) == [keys[1]]
    (moved,) = sink.move(folder, [keys[2]], other)
    assert moved.key == keys[2]
    (new,) = store(sink, folder, plain(9))
    pages = listing(source, folder, cursor)
    told = {entry.key: entry for page in pages for entry in page.entries}
    assert told[keys[0]].flags == {"\\Seen"}
    assert new in told
    if pages[0].complete:
        assert set(told) == {keys[0], *keys[3:], new}
    else:
        assert {key for page in pages for key in page.gone} >= {keys[1], keys[2]}
        assert set(told) == {keys[0], new}
    assert [entry.key for entry in entries(source, other)] == (
        [moved.new_key] if moved.new_key else [told[new].key]
    )


def test_nothing_new_is_told_as_nothing(sink: ImapSink, source: ImapSource) -> None:
    """With QRESYNC an unchanged folder costs one STATUS, and its cursor stays."""
    folder = box(sink)
    store(sink, folder, plain(1))
    cursor = listing(source, folder)[-1].cursor
    (page,) = listing(source, folder, cursor)
    assert page.cursor == cursor
    assert page.complete is not source.session.connection.offers("QRESYNC")
    assert len(page.entries) == page.complete


def test_a_folder_made_again_is_another(sink: ImapSink, source: ImapSource) -> None:
    """Old keys are gone in it, though its UIDs are the same."""
    folder = box(sink)
    (old,) = store(sink, folder, plain(1))
    first = listing(source, folder)[-1]
    assert sink.session.run_refusable(b'DELETE "Box"').ok
    folder = box(sink)
    store(sink, folder, plain(2))
    (page,) = listing(source, folder, first.cursor)
    assert page.complete
    assert page.epoch != first.epoch
    assert list(source.fetch([(folder, [Entry(old)])])) == [Gone(folder.path, old)]


def test_a_large_folder_is_listed_in_pages(rich: Dovecot, user: str) -> None:
    """Ten thousand messages and one come in three pages."""
    with ImapSink.open(options_for(rich), credentials_for(rich, user)) as sink:
        folder = box(sink)
        batches = [
            [Delivery(k + n, folder, plain(k + n)) for n in range(500)] for k in range(0, 2 * PAGE, 500)
        ]
        assert sum(1 for _ in sink.append([*batches, [Delivery(2 * PAGE, folder, plain(0))]])) == 2 * PAGE + 1
        pages = listing(sink, folder)
    assert [len(page.entries) for page in pages] == [PAGE, PAGE, 1]
    assert len({entry.key for page in pages for entry in page.entries}) == 2 * PAGE + 1


def test_a_large_message_goes_and_comes(sink: ImapSink, source: ImapSource) -> None:
    """Forty megabytes are octets like any others."""
    folder = box(sink)
    octets = plain(1) + b"0123456789abcdef\r\n" * (40_000_000 // 18)
    store(sink, folder, octets)
    (message,) = source.fetch([(folder, entries(source, folder))])
    assert isinstance(message, Message)
    assert message.octets == octets


def test_messages_of_many_folders_are_fetched_in_one_stream(sink: ImapSink, source: ImapSource) -> None:
    """Each comes with its own folder."""
    folders = [box(sink, f"F{number}") for number in range(8)]
    for number, folder in enumerate(folders):
        store(sink, folder, *(plain(10 * number + k) for k in range(number)))
    requests = [(folder, entries(source, folder)) for folder in folders]
    got = [answer for answer in source.fetch(requests) if isinstance(answer, Message)]
    assert len(got) == sum(range(8))
    for message in got:
        subject = message.octets.partition(b"Subject: ")[2].partition(b"\r\n")[0]
        assert message.folder == (f"F{int(subject) // 10}",)


def test_odd_folder_names_are_made_and_listed_alike(sink: ImapSink) -> None:
    """What is created is what is listed, and what cannot be is told."""
    names = [
        "007",
        "NIL",
        "a.b",
        'quo"te',
        "back\\slash",
        "R&D",
        "%",
        "*",
        "+",
        "已发送",
        "naïve",
        " x",
        "x" * 60,
    ]
    made = [
        folder for folder in sink.create([((name,), None) for name in names]) if isinstance(folder, Folder)
    ]
    listed = {folder.path: folder.handle for folder in sink.folders()}
    assert len(made) >= len(names) - 3
    for folder in made:
        assert listed[folder.path] == folder.handle


def test_special_use_is_told(user: str) -> None:
    """What a folder is for is told by the listing and by the answer to its creation."""
    with (
        Dovecot(special_use={"Gesendet": "\\Sent"}) as dovecot,
        ImapSink.open(options_for(dovecot), credentials_for(dovecot, user)) as sink,
    ):
        (folder,) = sink.create([(("Gesendet",), SpecialUse.SENT)])
        assert isinstance(folder, Folder)
        listed = {one.path: one.special_use for one in sink.folders()}
    assert listed[("Gesendet",)] is SpecialUse.SENT
    assert folder.special_use is SpecialUse.SENT


def test_a_prefix_is_found_and_applied(user: str) -> None:
    """With everything beneath INBOX. the paths are the same as without."""
    with (
        Dovecot(delimiter=".", prefix="INBOX.", layout="maildir++") as dovecot,
        ImapSink.open(options_for(dovecot), credentials_for(dovecot, user)) as sink,
    ):
        folder = box(sink, "Kunden", "Nord")
        assert folder.handle == "INBOX.Kunden.Nord"
        assert {one.path for one in sink.folders()} >= {INBOX, ("Kunden", "Nord")}
        store(sink, folder, plain(1))
        assert len(entries(sink, folder)) == 1


def test_a_full_mailbox_stops_the_account(user: str) -> None:
    """The quota is told, and when it is used up the account stops with a remedy."""
    with (
        Dovecot(quota_octets=102_400) as dovecot,
        ImapSink.open(options_for(dovecot), credentials_for(dovecot, user)) as sink,
    ):
        quota = sink.quota()
        assert quota is not None
        assert quota.limit == 102_400
        folder = box(sink)
        batches = [[Delivery(n, folder, plain(n) + b"x" * 40_000 + b"\r\n")] for n in range(5)]
        found: list[Stored | NotStored] = []
        with pytest.raises(OverQuota) as caught:
            found.extend(sink.append(batches))
        assert caught.value.remedy
        assert len(entries(sink, folder)) == 2


@pytest.mark.parametrize("tls", ["implicit", "starttls"])
def test_encrypted_logins(rich: Dovecot, user: str, tls: Literal["implicit", "starttls"]) -> None:
    """With the server's certificate as ca both ways of TLS work, and check tells of them."""
    port = rich.imaps_port if tls == "implicit" else rich.imap_port
    options = evolve(options_for(rich), tls=tls, port=port, ca=rich.ca_file)
    with ImapSink.open(options, credentials_for(rich, user)) as sink:
        folder = box(sink)
        store(sink, folder, plain(1) + b"x" * 3_000_000)
        assert len(entries(sink, folder)) == 1
        assert any("encrypted with TLSv1" in remark.text and "20" in remark.text for remark in sink.remarks())


def test_the_best_encryption_is_found(rich: Dovecot, monkeypatch: pytest.MonkeyPatch) -> None:
    """Implicit TLS where both are there, STARTTLS where that is all, and neither port need be told."""
    options = ImapOptions(host=rich.host, ca=rich.ca_file)
    monkeypatch.setattr(ImapOptions, "cleartext_port", rich.imap_port)
    monkeypatch.setattr(ImapOptions, "implicit_port", rich.imaps_port)
    assert probe(options) == evolve(options, tls="implicit", port=rich.imaps_port)
    monkeypatch.setattr(ImapOptions, "implicit_port", rich.imap_port)
    assert probe(options) == evolve(options, tls="starttls", port=rich.imap_port)
    with pytest.raises(Denied, match="not trusted"):
        probe(evolve(options, ca=None, port=rich.imaps_port))


def test_an_unknown_certificate_is_denied(rich: Dovecot, user: str) -> None:
    """The remedy names the option that helps."""
    with pytest.raises(Denied, match="not trusted") as caught:
        connect(evolve(options_for(rich), tls="implicit", port=rich.imaps_port), credentials_for(rich, user))
    assert "ca" in caught.value.remedy


def test_tls_where_there_is_none_is_denied(rich: Dovecot, user: str) -> None:
    """Implicit TLS on the port for STARTTLS is told as what it is."""
    with pytest.raises(Denied, match="no TLS"):
        connect(evolve(options_for(rich), tls="implicit"), credentials_for(rich, user))


def test_a_master_user_opens_any_mailbox(rich: Dovecot, user: str) -> None:
    """The administrator's password opens the account's mailbox."""
    with ImapSink.open(options_for(rich), credentials_for(rich, user)) as sink:
        box(sink, "Mine")
    options = evolve(options_for(rich), master_user=rich.master_user)
    with ImapSource.open(options, Credentials(user, lambda: rich.master_password)) as source:
        assert ("Mine",) in {folder.path for folder in source.folders()}


def test_a_wrong_password_is_denied(rich: Dovecot, user: str) -> None:
    """And the password is in no message."""
    with pytest.raises(Denied) as caught:
        connect(options_for(rich), Credentials(user, lambda: "hunter2"))
    assert "hunter2" not in f"{caught.value} {caught.value.remedy}"


def test_a_server_that_bears_no_more_connections_is_written_over_those_that_it_bears() -> None:
    """What is refused costs no message, and is heard, also where all is stored by then.

    Dovecot counts connections when they have logged in, so of many that come at once it lets in too many.
    """
    pace, most = Pace(wanted=8), 4
    batch = [Delivery(number, Folder(INBOX), b"Subject: %d\r\n\r\nx\r\n" % number) for number in range(100)]
    with Dovecot(capability="IMAP4rev1 UIDPLUS", max_connections=most) as server, ExitStack() as others:
        options, credentials = options_for(server), credentials_for(server, server.new_user())
        for _ in range(most - 1):
            others.callback(connect(options, credentials).close)
        with ImapSink.open(options, credentials, choose=lambda _: Spread(pace=pace)) as sink:
            assert all(isinstance(outcome, Stored) for outcome in sink.append([batch]))
            for thread in threading.enumerate():
                if thread.name == "append":
                    thread.join()
            assert pace.bears == 1
            assert all(isinstance(outcome, Stored) for outcome in sink.append([batch]))
        others.close()
        with ImapSource.open(options, credentials) as source:
            assert [folder.messages for folder in source.folders()] == [200]
