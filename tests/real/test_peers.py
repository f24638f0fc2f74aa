"""Servers of other makes than Dovecot, as source and as target: each message lands, or is named."""

from __future__ import annotations

import imaplib
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import permutations
from pathlib import Path
from typing import TypeAlias

import pytest

from alimail_core.identity import mend
from alimail_core.model import INBOX, FolderPath
from alimail_core.proof.results import FolderProof
from alimail_core.testing.alibaba import AlibabaServer
from alimail_core.testing.mail import odd_messages
from alimail_core.testing.memory import MemoryMailbox
from alimail_core.testing.oracle import (
    Snapshot,
    append_exactly,
    digests,
    mailbox_argument,
    take_snapshot,
)
from alimail_core.testing.servers import Dovecot
from tests.real.mailboxes import Carrier, account
from tests.real.peers import Courier, Cyrus
from tests.real.test_odd import carrier_from
from tests.real.test_scale import Copy

MAKES = ("dovecot", "alibaba", "cyrus", "courier")
AnyServer = Dovecot | AlibabaServer | Cyrus | Courier


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


def keeper(server: AnyServer) -> Dovecot | Cyrus | Courier:
    """Return the server that keeps the mail, which behind the Alibaba profile is a Dovecot."""
    return server.dovecot if isinstance(server, AlibabaServer) else server


def snapshot(server: AnyServer, user: str, mended: Callable[[bytes], bytes] = bytes) -> Snapshot:
    """Read a whole mailbox with the standard library alone; see ``take_snapshot``."""
    with session(server, user) as imap:
        return take_snapshot(imap, keeper(server).delimiter, keeper(server).prefix, mended)


Twice: TypeAlias = tuple[Counter[str], Counter[str]]
"""The digests of a mailbox's messages: as they are, and with what servers refuse or change mended."""


def kept(server: AnyServer, user: str) -> Twice:
    """Read a mailbox's digests."""
    return counted(snapshot(server, user)), counted(snapshot(server, user, mend))


def counted(found: Snapshot) -> Counter[str]:
    """Count the digests of a whole mailbox."""
    return Counter(digest for folder in digests(found).values() for digest in folder.elements())


def assert_all_told(way: str, folders: Iterable[FolderProof], sent: Twice, found: Twice) -> None:
    """What the proof says is what stands there: each message landed, or is named. Prints the counts."""
    count = Counter[str]()
    for folder in folders:
        count.update({kind: getattr(folder, kind) for kind in (*TOLD, *LOST)})
    assert {kind: count[kind] for kind in LOST} == dict.fromkeys(LOST, 0)
    landed = count["proven"] + count["altered"]
    assert (landed, landed + count["quarantined"]) == (found[0].total(), sent[0].total())
    same, mended = ((old & new).total() for old, new in zip(sent, found, strict=True))
    assert same <= count["proven"] <= mended
    print(
        f"{way}: {sent[0].total()} = {same} the same + {mended - same} mended + {landed - mended} altered"
        f" + {count['quarantined']} named"
    )


TOLD = ("proven", "altered", "quarantined")
LOST = ("missing", "changed", "pending", "merged", "moved")


@pytest.fixture
def server(
    request: pytest.FixtureRequest, makes: dict[str, Cyrus | Courier]
) -> Callable[[str, str], AnyServer]:
    """Return what gives a server of a make, as ``"source"`` or as ``"target"``."""

    def give(make: str, side: str) -> AnyServer:
        if make in makes:
            return makes[make]
        found: AnyServer = request.getfixturevalue(
            f"{side}_server" if make == "dovecot" else "alibaba_server"
        )
        return found

    return give


Give = Callable[[str, str], AnyServer]


@pytest.mark.server
@pytest.mark.parametrize("make", MAKES)
def test_odd_messages_land_or_are_named(
    make: str, server: Give, pytestconfig: pytest.Config, tmp_path: Path
) -> None:
    """Into a server of any make each odd message lands, or is named; there are 1,200 of them with ``--long``."""
    target = server(make, "target")
    mailbox, user = MemoryMailbox(), target.new_user("odd")
    began = datetime(2020, 1, 1, tzinfo=UTC)
    for number, octets in enumerate(corpus(1_200 if pytestconfig.getoption("--long") else 200, 4)):
        mailbox.deliver(INBOX, octets, {"\\Seen"} if number % 3 else (), began + timedelta(hours=number))
    carrier = carrier_from(tmp_path, mailbox, target, user)
    carrier.run()
    originals = list(mailbox.everything().elements())
    sent = digests_of(originals), digests_of(map(mend, originals))
    assert_all_told(f"memory to {make}", carrier.proof().folders, sent, kept(target, user))
    before = snapshot(target, user)
    carrier.assert_nothing_new()
    assert snapshot(target, user) == before


def digests_of(messages: Iterable[bytes]) -> Counter[str]:
    """Count the digests of messages."""
    return Counter(sha256(octets).hexdigest() for octets in messages)


PATHS: list[FolderPath] = [INBOX, ("Büro", "内部"), ("a&b",), ("Sent",), ("1",), ("INBOX", "under")]


def fill(server: AnyServer, user: str, messages: Sequence[bytes]) -> int:
    """Put messages, with flags and dates, into folders as this server has them; return how many it took."""
    draw, taken = random.Random(7), 0
    with session(server, user) as imap:
        for number, path in enumerate(PATHS):
            mailbox = mailbox_argument(wire_path(server, path), keeper(server).delimiter)
            if path != INBOX:
                imap.create(mailbox)
            for octets in messages[number :: len(PATHS)]:
                flags = draw.sample(("\\Seen", "\\Flagged", "\\Answered", "\\Draft"), draw.randint(0, 3))
                date = datetime(2015, 1, 1, 12, tzinfo=UTC) + timedelta(minutes=draw.randrange(5_000_000))
                with suppress(imaplib.IMAP4.error):
                    append_exactly(imap, mailbox, octets, flags, date)
                    taken += 1
    return taken


def wire_path(server: AnyServer, path: FolderPath) -> FolderPath:
    """Return a path as it stands on this server, beneath its prefix."""
    prefix = keeper(server).prefix.rstrip(keeper(server).delimiter)
    return (prefix, *path) if prefix and path != INBOX else path


@contextmanager
def session(server: AnyServer, user: str) -> Iterator[imaplib.IMAP4]:
    """Log in with the standard library alone."""
    with imaplib.IMAP4(keeper(server).host, keeper(server).imap_port) as imap:
        imap.login(user, server.password)
        yield imap


@pytest.mark.server
@pytest.mark.long
@pytest.mark.parametrize(("old", "new"), [*permutations(MAKES, 2)])
def test_between_makes_all_lands_and_a_second_run_writes_nothing(
    old: str, new: str, server: Give, pytestconfig: pytest.Config, tmp_path: Path
) -> None:
    """Whatever the makes, each message of each folder lands or is named, once; 400 of them with ``--long``."""
    source, target = server(old, "source"), server(new, "target")
    user, target_user = source.new_user("old"), target.new_user("new")
    total = 400 if pytestconfig.getoption("--long") else 100
    taken = fill(source, user, corpus(total, 4))
    carrier = Carrier(tmp_path, (account(source, user, target, target_user),))
    assert carrier.run().state in ("done", "problems")
    sent = kept(source, user)
    assert sent[0].total() == taken > 0.8 * total
    assert_all_told(f"{old} to {new}", carrier.proof().folders, sent, kept(target, target_user))
    before = snapshot(target, target_user)
    carrier.assert_nothing_new()
    assert snapshot(target, target_user) == before


@pytest.mark.server
@pytest.mark.long
@pytest.mark.parametrize(("old", "new"), [*permutations(MAKES, 2)])
def test_the_command_twice_writes_nothing_the_second_time(
    old: str, new: str, server: Give, tmp_path: Path
) -> None:
    """``alimail copy`` between any two servers carries everything, and again nothing."""
    source, target = server(old, "source"), server(new, "target")
    user, target_user = source.new_user("old"), target.new_user("new")
    taken = fill(source, user, corpus(60, 4))
    copy = Copy(tmp_path, source, user, target, target_user)
    first = copy.run()
    before = snapshot(target, target_user)
    landed = counted(before).total()
    assert first.code == (0 if landed == taken else 3), first.output
    again = copy.run()
    assert again.code == first.code, again.output
    assert snapshot(target, target_user) == before
    assert landed > 0.8 * taken
