"""The verbs of ``alimail exchange``, as the plug-in registers them."""

from __future__ import annotations

from alimail_core import Command
from alimail_ews.admin import verb_check, verb_prepare, verb_roster


def commands() -> list[Command]:
    """Return the group."""
    return [
        Command(
            "exchange",
            "Prepare a Microsoft Exchange server, list its mailboxes, and check it before anything moves.",
            commands=[verb_prepare.COMMAND, verb_roster.COMMAND, verb_check.COMMAND],
        )
    ]
