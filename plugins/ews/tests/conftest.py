"""An Exchange server with one mailbox, and how to read it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from attrs import define, evolve

from alimail_core import Credentials
from alimail_ews import attempts, connections, session
from alimail_ews.options import EwsOptions
from alimail_ews.source import EwsSource
from tests.exchange import ExchangeServer, Mailbox
from tests.exchange.fixtures import StartExchange
from tests.impatience import make_impatient


@define(eq=False, repr=False)
class Office:
    """A server, the mailbox ``amy``, and the service account ``svc`` that may impersonate everybody."""

    server: ExchangeServer
    amy: Mailbox

    def options(self, **wishes: Any) -> EwsOptions:
        """Return options that lead to the server, as the service account."""
        tls, ca = ("implicit", self.server.ca_file) if self.server.tls else ("none", None)
        usual = EwsOptions("localhost", self.server.port, tls, ca=ca, master_user="svc")
        return evolve(usual, timeout=10.0, **wishes)

    def open(self, user: str = "", password: str = "secret", **wishes: Any) -> EwsSource:
        """Open the mailbox of ``user``, of amy where nobody is named."""
        return EwsSource.open(self.options(**wishes), Credentials(user or self.amy.address, lambda: password))


@pytest.fixture(autouse=True)
def _new_to_all_servers() -> Iterator[None]:
    """Forget what other tests have found out of servers on the same ports."""
    yield
    for found in (session._spoken, session._offers, session._let_in):
        found.clear()
    attempts.forget()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten waits are enough for a thousand octets."""
    make_impatient(monkeypatch, connections)


@pytest.fixture
def office(exchange: StartExchange) -> Office:
    """A server of the newest version."""
    return make_office(exchange())


def make_office(server: ExchangeServer) -> Office:
    """Put amy and the service account into a server."""
    amy = server.organisation.add_mailbox("amy", password="secret")
    server.organisation.add_account("svc", "secret", impersonates=["*"])
    return Office(server, amy)
