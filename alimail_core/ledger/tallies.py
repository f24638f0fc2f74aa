"""How many messages of an account stand in each state, and their octets: for `status`, of thousands at once.

Whoever gives a lease back leaves the counts with the account. They hold until somebody takes the next one, because
nobody writes without; an account whose pass runs, or was killed, is counted afresh.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeAlias

import sqlalchemy as sa

from alimail_core.ledger.schema import State, account, folder, message

Counts: TypeAlias = dict[str, tuple[int, int]]
"""Messages and octets by the name of their state."""

FEW = 500
"""Accounts that are looked up one by one; of more than so many it is quicker to read all."""


def keep(counts: Counts, fence: int) -> dict[str, Any]:
    """Return the columns of an account that keep its counts, as the lease with this fence leaves them."""
    return {"tally": json.dumps(counts), "tally_fence": fence}


def kept_counts(connection: sa.Connection, account_ids: Sequence[int]) -> dict[int, Counts]:
    """Return the counts of those accounts whose last lease has left them, and nobody has had them since."""
    query = sa.select(account.c.id, account.c.tally).where(account.c.tally_fence == account.c.fence)
    wanted = set(account_ids)
    if len(wanted) <= FEW:
        query = query.where(account.c.id.in_(wanted))
    kept = [(account_id, tally) for account_id, tally in connection.execute(query) if account_id in wanted]
    told = json.loads(f"[{','.join(tally for _, tally in kept)}]")  # of thousands at once, for it is quicker
    return {
        account_id: {name: (messages, octets) for name, (messages, octets) in tally.items()}
        for (account_id, _), tally in zip(kept, told, strict=True)
    }


def count(connection: sa.Connection, account_ids: Sequence[int]) -> dict[int, Counts]:
    """Count messages and octets by state."""
    told: dict[int, Counts] = {account_id: {} for account_id in account_ids}
    if not told:
        return told
    # Folder by folder first, which an index has in order; then few rows are left to be joined.
    by_folder = sa.select(
        message.c.folder_id,
        message.c.state,
        sa.func.count().label("messages"),
        sa.func.coalesce(sa.func.sum(message.c.size), 0).label("octets"),
    ).group_by(message.c.folder_id, message.c.state)
    if len(account_ids) <= FEW:
        theirs = sa.select(folder.c.id).where(folder.c.account_id.in_(account_ids))
        by_folder = by_folder.where(message.c.folder_id.in_(theirs))
    sums = by_folder.subquery()
    owner = folder.c.account_id
    query = (
        sa.select(owner, sums.c.state, sa.func.sum(sums.c.messages), sa.func.sum(sums.c.octets))
        .join(folder, folder.c.id == sums.c.folder_id)
        .group_by(owner, sums.c.state)
    )
    for account_id, state, number, size in connection.execute(query):
        if account_id in told:
            told[account_id][State(state).name] = int(number), int(size)
    return told
