"""A real Dovecot for the tests marked ``server``."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from alimail_core.testing.servers import Dovecot


@pytest.fixture(scope="session")
def pop3_server() -> Iterator[Dovecot]:
    """A Dovecot that speaks POP3 and IMAP over the same mailboxes."""
    with Dovecot(pop3=True) as server:
        yield server
