"""What earlier passes have left of many accounts at once: a plan of thousands would ask for each of them in turn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import sqlalchemy as sa
from attrs import field, frozen

from alimail_core.ledger.ledger import Ledger
from alimail_core.ledger.queries import FOLDER_COLUMNS, chunks, folder_rows
from alimail_core.ledger.rows import FolderRow
from alimail_core.ledger.schema import State, account, folder, message

LEFT = (State.PENDING, State.SENT, State.UNREADABLE, State.LEFT_OUT)
"""What the next pass has to do with, whether it is listed again or not."""


@frozen
class Earlier:
    """What the ledger has of one account."""

    account_id: int
    placed_by: str = ""
    """The words for the folder policy of the last pass that paired folders; empty: there was none."""
    sources: list[FolderRow] = field(factory=list)
    targets: list[FolderRow] = field(factory=list)
    left: dict[int, tuple[int, int]] = field(factory=dict)
    """Messages and octets in one of the states of ``LEFT``, by source folder; nothing where there are none."""


def earlier(ledger: Ledger, account_ids: Sequence[int]) -> Mapping[int, Earlier]:
    """Return what the ledger has of these accounts, by their ids."""
    found: dict[int, Earlier] = {}
    with ledger.reading() as connection:
        for ids in chunks(account_ids):
            accounts = sa.select(account.c.id, account.c.placed_by).where(account.c.id.in_(ids))
            found |= {row.id: Earlier(row.id, row.placed_by) for row in connection.execute(accounts)}
            here = folder.c.account_id.in_(ids)
            folders = sa.select(*FOLDER_COLUMNS, folder.c.account_id, folder.c.side).where(here)
            rows = connection.execute(folders.order_by(folder.c.id)).all()
            owners: dict[int, Earlier] = {}
            for (*_, account_id, side), row in zip(rows, folder_rows(rows), strict=True):
                owner = owners[row.id] = found[account_id]
                (owner.sources if side == "source" else owner.targets).append(row)
            c = message.c
            comes_from = sa.select(folder.c.id).where(here, folder.c.side == "source")
            left = sa.select(c.folder_id, sa.func.count(), sa.func.coalesce(sa.func.sum(c.size), 0))
            left = left.where(c.folder_id.in_(comes_from), c.state.in_(LEFT)).group_by(c.folder_id)
            for folder_id, messages, octets in connection.execute(left):
                owners[folder_id].left[folder_id] = int(messages), int(octets)
    return found
