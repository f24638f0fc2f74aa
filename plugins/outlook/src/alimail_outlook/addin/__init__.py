"""New Outlook and the web: an Office add-in that searches the organisation's address book."""

from __future__ import annotations

from alimail_core import Command


def commands() -> list[Command]:
    """Return the verbs."""
    return []
