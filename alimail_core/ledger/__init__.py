"""The ledger: the durable record of a migration, in one SQLite file or a database named by a URL.

It answers two questions at any instant, also after a crash: what is certainly in the target, and what may be.
``Ledger`` opens and guards the whole; ``Book`` is one account's part, written under a lease.
"""

from alimail_core.ledger.book import Book
from alimail_core.ledger.ids import RowIds, Standing
from alimail_core.ledger.ledger import AccountRow, Ledger, ProblemRow
from alimail_core.ledger.rows import FolderRow, Row, StrangerRow
from alimail_core.ledger.schema import Origin, State

__all__ = [
    "AccountRow",
    "Book",
    "FolderRow",
    "Ledger",
    "Origin",
    "ProblemRow",
    "Row",
    "RowIds",
    "Standing",
    "State",
    "StrangerRow",
]
