"""Pytest fixtures that hand out a running Exchange. ``conftest.py`` takes them in with the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, TypeAlias

import pytest

from tests.exchange.server import ExchangeServer

StartExchange: TypeAlias = Callable[..., ExchangeServer]


@pytest.fixture
def exchange() -> Iterator[StartExchange]:
    """Start Exchange servers of the test's own: ``exchange(version=EXCHANGE_2010)``; they end with the test.

    The test fails where a request or an answer broke Microsoft's schemas and stands in ``violations`` to the end.
    """
    with ExitStack() as stack:

        def start(**wishes: Any) -> ExchangeServer:
            return stack.enter_context(ExchangeServer(**wishes))

        yield start
