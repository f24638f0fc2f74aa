"""What the ledger knows of servers: the encryption, and its port, that ``tls = auto`` stood for when it was tried."""

from __future__ import annotations

from typing import TypeAlias

import sqlalchemy as sa

from alimail_core.ledger.ledger import Ledger
from alimail_core.ledger.schema import server

Place: TypeAlias = tuple[str, str, int]
"""A kind, a host, and the port as it was given, 0 where it was left out."""
Way: TypeAlias = tuple[str, int]
"""What was found: ``tls``, and the port that has it."""


def known_way(ledger: Ledger, place: Place) -> Way | None:
    """Return what was found at a place, ``None`` where nobody has looked. Raises ``LedgerError``."""
    with ledger.told_plainly(), ledger.engine.connect() as connection:
        return _read(connection.execution_options(alimail_reading=True), place)


def keep_way(ledger: Ledger, place: Place, way: Way) -> Way:
    """Keep what was found at a place; return what holds there from now on. Raises ``LedgerError``.

    What was kept first holds, whoever finds something else later. No encryption at all is the one exception: it is
    never asked about again but to do better.
    """
    with ledger.told_plainly(), ledger.engine.begin() as connection:
        known = _read(connection, place)
        if known is not None and known[0] != "none":
            return known
        values = dict(zip(("kind", "host", "port", "tls", "found_port"), (*place, *way), strict=True))
        connection.execute(server.delete().where(_here(place)))
        connection.execute(server.insert().values(values))
        return way


def _read(connection: sa.Connection, place: Place) -> Way | None:
    row = connection.execute(sa.select(server.c.tls, server.c.found_port).where(_here(place))).first()
    return None if row is None else (str(row.tls), int(row.found_port))


def _here(place: Place) -> sa.ColumnElement[bool]:
    kind, host, port = place
    return (server.c.kind == kind) & (server.c.host == host) & (server.c.port == port)
