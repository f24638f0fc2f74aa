"""Pytest fixtures that start real servers. A ``conftest.py`` takes them in with one line::

    pytest_plugins = ["alimail_core.testing.fixtures"]

Whoever uses one marks the test ``server``. When a test fails, the end of its servers' logs is in the report.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack
from typing import Any, Protocol, TypeAlias, TypeVar

import pytest

from alimail_core.testing.alibaba import AlibabaServer
from alimail_core.testing.servers import Dovecot


class LoggedServer(Protocol):
    """What the fixtures need of a server."""

    def log_tail(self, lines: int = 40) -> str:
        """Return the end of its log."""

    def __enter__(self) -> object: ...
    def __exit__(self, *exception: Any) -> None: ...


Server = TypeVar("Server", bound=LoggedServer)
StartDovecot: TypeAlias = Callable[..., Dovecot]
StartAlibaba: TypeAlias = Callable[..., AlibabaServer]

_SERVERS = pytest.StashKey[list[LoggedServer]]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the logs of the servers that a failed test used."""
    report = yield
    if report.failed:
        for server in item.config.stash.get(_SERVERS, []):
            report.sections.append((f"end of the log of {server!r}", server.log_tail()))
    return report


def _starter(
    request: pytest.FixtureRequest, make: Callable[..., Server], stack: ExitStack
) -> Callable[..., Server]:
    running = request.config.stash.setdefault(_SERVERS, [])

    def start(**wishes: Any) -> Server:
        server = make(**wishes)
        stack.enter_context(server)
        running.append(server)
        stack.callback(running.remove, server)
        return server

    return start


@pytest.fixture
def dovecot(request: pytest.FixtureRequest) -> Iterator[StartDovecot]:
    """Start Dovecots of the test's own: ``dovecot(quota_octets=...)``; they end with the test."""
    with ExitStack() as stack:
        yield _starter(request, Dovecot, stack)


@pytest.fixture
def alibaba(request: pytest.FixtureRequest) -> Iterator[StartAlibaba]:
    """Start servers that present themselves as Alibaba Mail; they end with the test."""
    with ExitStack() as stack:
        yield _starter(request, AlibabaServer, stack)


@pytest.fixture(scope="session")
def source_server(request: pytest.FixtureRequest) -> Iterator[Dovecot]:
    """A Dovecot with everything, for the whole run: take ``new_user()`` for each test."""
    with ExitStack() as stack:
        yield _starter(request, Dovecot, stack)()


@pytest.fixture(scope="session")
def target_server(request: pytest.FixtureRequest) -> Iterator[Dovecot]:
    """Another Dovecot with everything, for the whole run: take ``new_user()`` for each test."""
    with ExitStack() as stack:
        yield _starter(request, Dovecot, stack)()


@pytest.fixture(scope="session")
def alibaba_server(request: pytest.FixtureRequest) -> Iterator[AlibabaServer]:
    """A server that presents itself as Alibaba Mail, for the whole run: take ``new_user()`` for each test."""
    with ExitStack() as stack:
        yield _starter(request, AlibabaServer, stack)()
