"""How many of our messages stand in each folder of the targets, as the ledger has it."""

from __future__ import annotations

import json
from collections import defaultdict

import sqlalchemy as sa
from attrs import frozen

from alimail_core.ledger.ledger import Ledger
from alimail_core.ledger.schema import State, folder, message
from alimail_core.model import FolderPath, SpecialUse


@frozen
class StandingFolder:
    """A folder of a target, with the messages that this migration knows to stand there."""

    path: FolderPath
    special_use: SpecialUse | None
    messages: int


def standing(ledger: Ledger) -> dict[int, list[StandingFolder]]:
    """Return each account's folders in the target, by the account's id. What its users took away is not counted."""
    m, f = message.c, folder.c
    ours = sa.and_(m.target_id == f.id, m.state.in_((State.STORED, State.MOVING)), m.target_gone == 0)
    query = (
        sa.select(f.account_id, f.path, f.special_use, sa.func.count(m.id).label("messages"))
        .select_from(folder.outerjoin(message, ours))
        .where(f.side == "target")
        .group_by(f.id)
        .order_by(f.id)
    )
    found: dict[int, list[StandingFolder]] = defaultdict(list)
    with ledger.reading() as connection:
        for row in connection.execute(query):
            use = SpecialUse(row.special_use) if row.special_use else None
            found[row.account_id].append(StandingFolder(tuple(json.loads(row.path)), use, int(row.messages)))
    return found
