"""Pytest fixtures that hand out a running Exchange. ``conftest.py`` takes them in with the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

if TYPE_CHECKING:
    from tests.exchange.server import ExchangeServer

StartExchange: TypeAlias = "Callable[..., ExchangeServer]"


@pytest.fixture
def exchange() -> Iterator[StartExchange]:
    """Start Exchange servers of the test's own: ``exchange(version=EXCHANGE_2010)``; they end with the test.

    The test fails where a request or an answer broke Microsoft's schemas and stands in ``violations`` to the end.
    """
    with ExitStack() as stack:

        def start(**wishes: Any) -> ExchangeServer:
            from tests.exchange.server import ExchangeServer  # only who asks for it needs lxml

            return stack.enter_context(ExchangeServer(**wishes))

        yield start
