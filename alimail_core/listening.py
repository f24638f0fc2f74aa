"""Hear of an account's new mail when it comes, over one connection of its own, where its server tells of it."""

from __future__ import annotations

import enum
from collections.abc import Callable

from alimail_core.ends import Ends
from alimail_core.errors import AlimailError, Refused
from alimail_core.model import INBOX, Cursor, Folder


class Heard(enum.Enum):
    """How listening ended."""

    NEWS = "a message has come, or may have"
    NOTHING = "it was over before one came"
    NOT_NOW = "no connection was to spare, or it was lost"
    NEVER = "the server does not tell"


def listen(
    ends: Ends,
    cursor: Cursor,
    over: Callable[[], bool],
    *,
    keep: int,
    tell_bug: Callable[[Exception], None],
) -> Heard:
    """Wait until a message has come into the source's inbox since its cursor, or ``over()`` is true.

    Only where the server bears ``keep`` connections more besides: passes go before. Never raises: what is wrong with
    an account, its next pass tells.
    """
    try:
        source = ends.spare_source(keep)
        if source is None:
            return Heard.NOT_NOW
        with source:
            if not source.traits.tells_news:
                return Heard.NEVER
            return Heard.NEWS if source.wait(Folder(INBOX), cursor, over) else Heard.NOTHING
    except Refused:
        return Heard.NEVER
    except AlimailError:
        return Heard.NOT_NOW
    except Exception as bug:  # noqa: BLE001 - one account's bug must not end the watch over the others
        tell_bug(bug)
        return Heard.NEVER
