"""The verbs of one machine, as the plug-in registers them."""

from __future__ import annotations

from alimail_core import Command


def commands() -> list[Command]:
    """Return them in the order in which they are used."""
    return []
