"""What this distribution registers with alimail: the verbs ``alimail outlook …``.

What does the work is imported when a verb runs, because every command loads every plug-in.
"""

from __future__ import annotations

from alimail_core import Command, hookimpl
from alimail_outlook import addin, addressbook, machine, rollout


@hookimpl
def alimail_commands() -> list[Command]:
    """Register ``alimail outlook``."""
    verbs = [*machine.commands(), *rollout.commands(), *addressbook.commands(), *addin.commands()]
    what = "Install Alibaba Mail's plug-in for Outlook, see that it is loaded, and roll it out."
    return [Command("outlook", what, commands=verbs)] if verbs else []
