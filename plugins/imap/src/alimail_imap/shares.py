"""How the connections that a server bears are shared among the mailboxes that this process writes to.

The engine counts one connection a mailbox; a sink that opens more must leave room for the others by itself.
"""

from __future__ import annotations

import threading
from collections import Counter

Address = tuple[str, int]

USUAL = 9
"""What is taken for the most where nobody said: eight for a mailbox, and room for one more.

By default Dovecot bears 10 of one user from one address, Gmail 15 of one account wherever they come from, its owner's
telephone among them, and Courier 4 from one address. A server that bears fewer refuses one, and is heard.
"""


class Shares:
    """Counts the mailboxes of each server. Safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._mailboxes: Counter[Address] = Counter()

    def enter(self, address: Address) -> None:
        """Note that a mailbox of a server was opened."""
        with self._lock:
            self._mailboxes[address] += 1

    def leave(self, address: Address) -> None:
        """Note that it was closed."""
        with self._lock:
            self._mailboxes[address] -= 1

    def share(self, address: Address, most: int | None) -> int:
        """Return how many connections each mailbox may have, so that one more mailbox finds room."""
        with self._lock:
            return max(1, ((most or USUAL) - 1) // max(1, self._mailboxes[address]))
