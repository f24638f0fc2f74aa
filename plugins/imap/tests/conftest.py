"""Real Dovecots for the tests marked ``server``: one with everything, one that presents itself poorly."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from alimail_core.testing.servers import Dovecot


@pytest.fixture(scope="session")
def rich() -> Iterator[Dovecot]:
    """A Dovecot that offers all it can."""
    with Dovecot(mail_format="sdbox") as server:
        yield server


@pytest.fixture(scope="session")
def poor() -> Iterator[Dovecot]:
    """A Dovecot that offers what Alibaba Mail does."""
    with Dovecot(mail_format="sdbox", capability="IMAP4rev1 IDLE XLIST UIDPLUS ID SASL-IR") as server:
        yield server
