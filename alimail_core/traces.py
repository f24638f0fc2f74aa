"""Where an exception came from, told without what it may hold of a message."""

from __future__ import annotations

import traceback
from collections.abc import Iterator

from alimail_core.errors import AlimailError


def trace_of(error: BaseException) -> Iterator[str]:
    """Give the chain of exceptions with their frames, outermost cause first.

    The text of an exception is left out, because it may hold a piece of a message (such as that of ``int(b"…")``),
    except that of our own errors and of the operating system, which hold none.
    """
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        yield from trace_of(cause)
    for frame in traceback.extract_tb(error.__traceback__):
        yield f"{frame.filename}:{frame.lineno} in {frame.name}"
    text = f": {error}" if isinstance(error, AlimailError | OSError) else ""
    yield f"{type(error).__module__}.{type(error).__qualname__}{text}"
