"""How often a large message stands in memory while it is read and while it is written: once."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from alimail_core.model import INBOX, Batch, Changes, Delivery, Folder, Message, Stored
from alimail_core.testing.servers import Dovecot
from alimail_imap.sink import ImapSink
from alimail_imap.source import ImapSource
from alimail_imap.testing import credentials_for, options_for

pytestmark = pytest.mark.server

OCTETS = 20_000_000
"""More than a sink takes at once of messages that have no outcome yet."""
MESSAGES = 4
ONCE = 1.5 * OCTETS
"""One message, and less than half of another one."""


def large() -> bytes:
    """Make a message that nobody else holds."""
    return b"Subject: large\r\n\r\n".ljust(OCTETS, b"x")


@contextmanager
def peak_below(octets: float) -> Iterator[None]:
    """Hold what is done to so much memory at once."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < octets, f"{peak / OCTETS:.2f} times a message at once"


@pytest.mark.parametrize("name", ["rich", "poor"])
def test_each_is_in_memory_once(request: pytest.FixtureRequest, name: str) -> None:
    """Whoever drops a message before asking for the next never has two of them, in either direction."""
    server: Dovecot = request.getfixturevalue(name)
    user = server.new_user()
    with ImapSink.open(options_for(server), credentials_for(server, user)) as sink, peak_below(ONCE):
        inbox = Folder(INBOX)

        def batches() -> Iterator[Batch]:
            for number in range(MESSAGES):
                yield [Delivery(number, inbox, large())]

        assert all(isinstance(outcome, Stored) for outcome in sink.append(batches()))
    with ImapSource.open(options_for(server), credentials_for(server, user)) as source:
        [page] = source.changes([(inbox, None)])
        assert isinstance(page, Changes)
        sizes = []
        with peak_below(ONCE):
            for answer in source.fetch([(inbox, page.entries)]):
                assert isinstance(answer, Message)
                sizes.append(len(answer.octets))
                del answer
        assert sizes == [len(large())] * MESSAGES
