"""Odd messages through the whole tool: each lands as it is, or lands altered and is told so, or is named."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, frozen

from alimail_core.contract import Credentials, SourceKind
from alimail_core.hookspec import hookimpl
from alimail_core.model import INBOX, Changes, Cursor, Entry, Folder, Gone, Message, Unreadable, Unusable
from alimail_core.registry import Registry
from alimail_core.seam import Clock
from alimail_core.secrets import Secret
from alimail_core.spec import AccountSpec, Endpoint
from alimail_core.testing.alibaba import AlibabaServer
from alimail_core.testing.mail import attachment, message, multipart, odd_messages, sound_messages
from alimail_core.testing.memory import MemoryMailbox, MemorySource
from alimail_core.testing.servers import Dovecot
from tests.real.mailboxes import Carrier, Server, account, endpoint, folder_of

WHEN = datetime(2024, 2, 3, 4, 5, 6, tzinfo=UTC)

ALTERED = {
    "bare LF": "line ends",
    "bare CR": "line ends",
    "mixed ends": "line ends",
    "CR CR LF": "line ends",
    "ends in CR": "line ends",
    "NUL octets": "NUL octets or line ends",
}
"""What Dovecot stores otherwise than it was sent, and how the proof tells it."""


@frozen
class AnyOptions:
    """A mailbox in memory needs none."""


class ExactSource:
    """A plug-in whose source gives messages octet for octet, whatever they are; no server keeps them all so."""

    def __init__(self, mailbox: MemoryMailbox, dated: bool = True) -> None:
        self._mailbox = mailbox
        self._make = MemorySource if dated else UndatedSource

    @hookimpl
    def alimail_sources(self) -> Iterable[SourceKind[Any]]:
        """Register it."""
        return [SourceKind("exact", "A mailbox in memory.", AnyOptions, self._open)]

    def _open(self, _options: AnyOptions, _login: Credentials, _clock: Clock) -> MemorySource:
        return self._make(self._mailbox)


class UndatedSource(MemorySource):
    """A source that does not know when its messages arrived, as POP3."""

    def changes(self, requests: Iterable[tuple[Folder, Cursor | None]]) -> Iterator[Changes | Unusable]:
        """Leave dates out."""
        for page in super().changes(requests):
            if isinstance(page, Changes):
                page = evolve(page, entries=[evolve(entry, internal_date=None) for entry in page.entries])
            yield page

    def fetch(
        self, requests: Iterable[tuple[Folder, Sequence[Entry]]]
    ) -> Iterator[Message | Gone | Unreadable]:
        """Leave dates out."""
        for answer in super().fetch(requests):
            yield evolve(answer, internal_date=None) if isinstance(answer, Message) else answer


def carrier_from(
    folder: Path, mailbox: MemoryMailbox, target: Server, user: str, *, dated: bool = True
) -> Carrier:
    """Return what carries a mailbox in memory into a server's."""
    registry = Registry.load()
    registry.register(ExactSource(mailbox, dated), name="exact", distribution="tests")
    secret = Secret.literal(target.password)
    spec = AccountSpec(
        "odd@old.example", "odd@new.example", Endpoint("exact", AnyOptions()), endpoint(target), "odd", user,
        secret, secret,
    )  # fmt: skip
    return Carrier(folder, (spec,), registry=registry)


def carry_odd(folder: Path, target: Dovecot | AlibabaServer) -> tuple[str, MemoryMailbox, dict[str, str]]:
    """Carry every odd message; return the target's user, the source and, by name, what the proof says of each."""
    mailbox, user = MemoryMailbox(), target.new_user("odd")
    mailbox.make(INBOX)
    names = {
        mailbox.folder(INBOX).key(mailbox.deliver(INBOX, octets, internal_date=WHEN)): name
        for name, octets in odd_messages().items()
    }
    carrier = carrier_from(folder, mailbox, target, user)
    summary = carrier.run()
    assert (summary.state, summary.copied, summary.problems) == ("problems", len(names) - 1, 1)
    proof = folder_of(carrier.proof(), INBOX)
    told = {names[each.key]: f"{each.kind}: {each.text}" for each in proof.findings}
    assert (proof.messages, proof.proven) == (len(names), len(names) - len(told))
    carrier.assert_nothing_new()
    again = folder_of(carrier.proof(), INBOX)
    assert (again.altered, again.proven) == (proof.altered, proof.proven)
    return user, mailbox, told


def assert_told(told: dict[str, str]) -> None:
    """The empty message is named with the server's words, the altered ones with what differs, and no others."""
    assert told.pop("empty").startswith("quarantined: the server said: NO Can't save a zero byte message")
    assert told == {name: f"altered: the target altered {what}" for name, what in ALTERED.items()}


def digests(mailbox: MemoryMailbox, *but: str) -> Counter[str]:
    """Return the digests of a mailbox's messages, less the named odd ones."""
    left_out = {octets for name, octets in odd_messages().items() if name in but}
    return Counter(sha256(octets).hexdigest() for octets in mailbox.everything() if octets not in left_out)


@pytest.mark.server
@pytest.mark.parametrize("kind", ["dovecot", "alibaba"])
def test_every_odd_message_lands_or_is_named(
    kind: str, target_server: Dovecot, alibaba_server: AlibabaServer, tmp_path: Path
) -> None:
    """Whatever can be stored is stored, octet for octet or altered and told so; the empty message is named."""
    target = target_server if kind == "dovecot" else alibaba_server
    user, mailbox, told = carry_odd(tmp_path, target)
    assert_told(told)
    kept = Counter(each.digest for each in target.snapshot(user)[INBOX].elements())
    assert digests(mailbox, "empty", *ALTERED) - kept == Counter()
    assert kept.total() == mailbox.everything().total() - 1


@pytest.mark.server
def test_what_one_server_keeps_another_keeps_as_well(
    source_server: Dovecot, target_server: Dovecot, tmp_path: Path
) -> None:
    """Between two servers of one make every odd message, twins and all, lands octet for octet."""
    user, target_user = source_server.new_user("odd"), target_server.new_user("odd")
    corpus = [octets for name, octets in odd_messages().items() if name != "empty"]
    for octets in (*corpus, *list(sound_messages().values())[:5]):
        source_server.append(user, INBOX, octets, flags={"\\Seen"}, date=WHEN)
    carrier = Carrier(tmp_path, (account(source_server, user, target_server, target_user),))
    assert carrier.run().state == "done"
    proof = folder_of(carrier.proof(), INBOX)
    assert (proof.messages, proof.proven, proof.findings) == (len(corpus) + 5, len(corpus) + 5, ())
    assert target_server.snapshot(target_user) == source_server.snapshot(user)
    carrier.assert_nothing_new()


@pytest.mark.server
@pytest.mark.parametrize("kind", ["dovecot", "alibaba"])
def test_a_message_of_40_megabytes_lands(
    kind: str, source_server: Dovecot, target_server: Dovecot, alibaba_server: AlibabaServer, tmp_path: Path
) -> None:
    """A message larger than any batch travels alone, among small ones, and arrives as it is."""
    target = target_server if kind == "dovecot" else alibaba_server
    user, target_user = source_server.new_user("big"), target.new_user("big")
    big = multipart([attachment(random.Random(1).randbytes(30_000_000))], message_id="big@example.org")
    assert len(big) > 40_000_000
    for octets in (message("before"), big, message("after")):
        source_server.deliver(user, INBOX, octets, date=WHEN)
    carrier = Carrier(tmp_path, (account(source_server, user, target, target_user),))
    assert carrier.run().state == "done"
    proof = folder_of(carrier.proof(), INBOX)
    assert (proof.messages, proof.proven) == (3, 3)
    assert target.snapshot(target_user)[INBOX] == source_server.snapshot(user)[INBOX]
    carrier.assert_nothing_new()


DATES = [
    datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC),
    datetime(1971, 12, 31, 23, 59, 59, tzinfo=timezone(timedelta(hours=-11, minutes=-30))),
    datetime(1999, 12, 31, 23, 59, 59, tzinfo=timezone(timedelta(hours=14))),
    datetime(2004, 2, 29, 12, 0, 0, tzinfo=timezone(timedelta(hours=-3, minutes=-30))),
    datetime(2025, 12, 31, 23, 59, 59, tzinfo=timezone(timedelta(hours=5, minutes=45))),
]


@pytest.mark.server
@pytest.mark.parametrize("kind", ["dovecot", "alibaba"])
def test_dates_of_all_times_and_zones_are_kept(
    kind: str, target_server: Dovecot, alibaba_server: AlibabaServer, tmp_path: Path
) -> None:
    """The instant of arrival is the same on both sides, whatever the zone that the source tells it in."""
    target = target_server if kind == "dovecot" else alibaba_server
    mailbox, user = MemoryMailbox(), target.new_user("dates")
    mailbox.make(INBOX)
    for number, date in enumerate(DATES):
        mailbox.deliver(INBOX, message(f"Number {number}", message_id=f"{number}@example.org"), (), date)
    carrier = carrier_from(tmp_path, mailbox, target, user)
    assert carrier.run().state == "done"
    assert {each.internal_date for each in target.snapshot(user)[INBOX]} == set(DATES)
    assert folder_of(carrier.proof(), INBOX).proven == len(DATES)
    carrier.assert_nothing_new()


@pytest.mark.server
def test_a_source_without_dates_gives_those_of_the_messages(target_server: Dovecot, tmp_path: Path) -> None:
    """Where nobody knows when a message arrived, its own header says when it was sent; else the target's clock."""
    mailbox, user = MemoryMailbox(), target_server.new_user("undated")
    mailbox.make(INBOX)
    mailbox.deliver(INBOX, message("Dated", date="Fri, 29 Feb 2008 23:30:00 -0330"))
    mailbox.deliver(INBOX, message("Undated", date="yesterday, half past", message_id="2@example.org"))
    # A file system's clock may be some milliseconds behind.
    began = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=1)
    carrier = carrier_from(tmp_path, mailbox, target_server, user, dated=False)
    assert carrier.run().state == "done"
    dates = sorted(each.internal_date for each in target_server.snapshot(user)[INBOX])
    assert dates[0] == datetime(2008, 3, 1, 3, 0, tzinfo=UTC)
    assert began <= dates[1] <= datetime.now(UTC)
    assert folder_of(carrier.proof(), INBOX).proven == 2
    carrier.assert_nothing_new()
