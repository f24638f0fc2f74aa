"""Do one thing for many accounts side by side, and give the answers in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from itertools import islice
from typing import TypeVar

LOOK = 0.5
"""Seconds after which a thread that waits for others looks up: on Windows no signal reaches it before."""

_Item = TypeVar("_Item")
_Answer = TypeVar("_Answer")


def in_order(function: Callable[[_Item], _Answer], items: Iterable[_Item], workers: int) -> Iterator[_Answer]:
    """Call ``function`` for each item in up to ``workers`` threads; give the answers in the items' order.

    Only a few items are begun ahead of the answer that is asked for, so that whoever stops asking soon waits for
    little: closing the iterator waits for what was begun. An exception of ``function`` is raised in its place.
    """
    coming = iter(items)
    with ThreadPoolExecutor(max(workers, 1), thread_name_prefix="alimail") as pool:
        begun: deque[Future[_Answer]] = deque(
            pool.submit(function, item) for item in islice(coming, 2 * max(workers, 1))
        )
        try:
            while begun:
                if not begun[0].done() and not wait([begun[0]], LOOK).done:
                    continue
                answer = begun.popleft().result()
                begun.extend(pool.submit(function, item) for item in islice(coming, 1))
                yield answer
        finally:
            for future in begun:
                future.cancel()
