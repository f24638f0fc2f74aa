"""Servers of other makes than Dovecot, as source and as target: each message lands, or is named."""

from __future__ import annotations

import imaplib
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from alimail_core.identity import mend
from alimail_core.model import INBOX, FolderPath
from alimail_core.testing.mail import odd_messages
from alimail_core.testing.memory import MemoryMailbox
from alimail_core.testing.oracle import Snapshot, append_exactly, mailbox_argument, take_snapshot
from alimail_core.testing.servers import Dovecot
from tests.real.mailboxes import Carrier, account
from tests.real.peers import Courier, Cyrus
from tests.real.test_odd import carrier_from

MAKES = ("cyrus", "courier")
AnyServer = Dovecot | Cyrus | Courier


@pytest.fixture(scope="module")
def makes() -> Iterator[dict[str, Cyrus | Courier]]:
    """Run one server of each other make."""
    with Cyrus() as cyrus, Courier() as courier:
        yield {"cyrus": cyrus, "courier": courier}


def corpus(total: int, seed: int) -> list[bytes]:
    """Return so many messages: every odd one, and variations of them that differ in a header line."""
    odd = list(odd_messages().values())
    draw = random.Random(seed)
    varied = (b"X-Number: %d\r\n" % number + draw.choice(odd) for number in range(total - len(odd)))
    return [*odd, *varied]


def snapshot(server: AnyServer, user: str) -> Snapshot:
    """Read a whole mailbox with the standard library alone."""
    with session(server, user) as imap:
        return take_snapshot(imap, server.delimiter, server.prefix)


@pytest.mark.server
@pytest.mark.parametrize("make", MAKES)
def test_1200_odd_messages_land_or_are_named(
    make: str, makes: dict[str, Cyrus | Courier], tmp_path: Path
) -> None:
    """Into a server of another make each odd message lands as it is, or altered and told so, or is named."""
    target = makes[make]
    mailbox, user = MemoryMailbox(), target.new_user("odd")
    began = datetime(2020, 1, 1, tzinfo=UTC)
    for number, octets in enumerate(corpus(1_200, 4)):
        mailbox.deliver(INBOX, octets, {"\\Seen"} if number % 3 else (), began + timedelta(hours=number))
    carrier = carrier_from(tmp_path, mailbox, target, user)
    carrier.run()
    (proof,) = carrier.proof().folders
    assert (proof.missing, proof.changed, proof.pending, proof.merged, proof.moved) == (0, 0, 0, 0, 0)
    assert proof.proven + proof.altered + proof.quarantined == proof.messages == 1_200
    found = snapshot(target, user)[INBOX]
    assert found.total() == proof.proven + proof.altered
    sent = [octets for original in mailbox.everything().elements() for octets in {original, mend(original)}]
    wanted = Counter(sha256(octets).hexdigest() for octets in sent)
    assert (Counter(each.digest for each in found.elements()) & wanted).total() >= proof.proven
    carrier.assert_nothing_new()
    assert snapshot(target, user)[INBOX] == found


PAIRS = [
    ("dovecot", "cyrus"),
    ("cyrus", "dovecot"),
    ("courier", "cyrus"),
    ("dovecot", "courier"),
    ("courier", "dovecot"),
]
PATHS: list[FolderPath] = [INBOX, ("Büro", "内部"), ("a&b",), ("Sent",), ("1",), ("INBOX", "under")]


def fill(server: AnyServer, user: str) -> int:
    """Put odd mail, with flags and dates, into folders as this server has them; return how many it took."""
    draw, taken = random.Random(7), 0
    with session(server, user) as imap:
        for number, path in enumerate(PATHS):
            mailbox = mailbox_argument(wire_path(server, path), server.delimiter)
            if path != INBOX:
                imap.create(mailbox)
            for octets in list(odd_messages().values())[number::3]:
                flags = draw.sample(("\\Seen", "\\Flagged", "\\Answered", "\\Draft"), draw.randint(0, 3))
                date = datetime(2015, 1, 1, 12, tzinfo=UTC) + timedelta(minutes=draw.randrange(5_000_000))
                with suppress(imaplib.IMAP4.error):
                    append_exactly(imap, mailbox, octets, flags, date)
                    taken += 1
    return taken


def wire_path(server: AnyServer, path: FolderPath) -> FolderPath:
    """Return a path as it stands on this server, beneath its prefix."""
    return (server.prefix.rstrip("."), *path) if server.prefix and path != INBOX else path


@contextmanager
def session(server: AnyServer, user: str) -> Iterator[imaplib.IMAP4]:
    """Log in with the standard library alone."""
    with imaplib.IMAP4(server.host, server.imap_port) as imap:
        imap.login(user, server.password)
        yield imap


@pytest.mark.server
@pytest.mark.parametrize(("old", "new"), PAIRS)
def test_between_makes_all_lands_and_a_second_run_writes_nothing(
    old: str,
    new: str,
    makes: dict[str, Cyrus | Courier],
    source_server: Dovecot,
    target_server: Dovecot,
    tmp_path: Path,
) -> None:
    """Whatever the makes, each message of each folder lands or is named, with its flags and date, once."""
    source: AnyServer = makes.get(old, source_server)
    target: AnyServer = makes.get(new, target_server)
    user, target_user = source.new_user("old"), target.new_user("new")
    taken = fill(source, user)
    carrier = Carrier(tmp_path, (account(source, user, target, target_user),))
    assert carrier.run().state in ("done", "problems")
    proof = carrier.proof()
    lost = ("missing", "changed", "pending", "merged", "moved")
    assert {kind: sum(getattr(each, kind) for each in proof.folders) for kind in lost} == dict.fromkeys(
        lost, 0
    )
    landed = sum(each.proven + each.altered for each in proof.folders)
    assert landed + sum(each.quarantined for each in proof.folders) == taken > 80
    before = snapshot(target, target_user)
    assert sum(each.total() for each in before.values()) == landed
    carrier.assert_nothing_new()
    assert snapshot(target, target_user) == before
