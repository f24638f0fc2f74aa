"""Servers that several of these tests ask for by kind; a module that means another ``server`` has its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from alimail_core.testing.servers import Dovecot
from tests.real.bench import Server

KINDS = {"rich": "target_server", "poor": "poor_server", "alibaba": "alibaba_server"}


@pytest.fixture(scope="session")
def poor_server() -> Iterator[Dovecot]:
    """Start a server without LIST-STATUS, CONDSTORE and MULTIAPPEND: it takes one message with each command."""
    with Dovecot(capability="IMAP4rev1 LITERAL+ UIDPLUS") as server:
        yield server


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Callable[[str], Server]:
    """Give the whole run's server of a kind; none is started for those who do not ask."""
    return lambda kind: request.getfixturevalue(KINDS[kind])
