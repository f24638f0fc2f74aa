"""Many machines: files for roll-out, reports, settings, the address book without the plug-in."""

from __future__ import annotations

from alimail_core import Command


def commands() -> list[Command]:
    """Return the verbs."""
    return []
