"""The organisation's address book: searched, written as contacts, and asked for at the servers that offer it.

What does the work is imported when a verb runs, because every command loads every plug-in.
"""

from __future__ import annotations

from alimail_core import Command
from alimail_outlook.addressbook import verbs


def commands() -> list[Command]:
    """Return the group."""
    return [verbs.COMMAND]
