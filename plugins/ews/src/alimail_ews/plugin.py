"""What this distribution registers with alimail: the kind ``ews``, as a source.

What opens it is imported when it is needed, because every command loads every plug-in, and exchangelib takes a
second to import.
"""

from __future__ import annotations

from alimail_core import Clock, Command, Credentials, Source, SourceKind, hookimpl
from alimail_ews import admin
from alimail_ews.options import EwsOptions

LEAVES_BEHIND = (
    "calendars, contacts, tasks, notes and journals, and such items where they lie among mail",
    "rules, automatic replies, signatures and rights of others to the mailbox",
    "search folders, Sync Issues and what can still be recovered after it was deleted",
    "the archive mailbox, unless `archive_folder` names a place for it; public folders, unless `public_folder` does",
)
"""What is in a mailbox of Exchange and is not brought."""


@hookimpl
def alimail_sources() -> list[SourceKind[EwsOptions]]:
    """Register Exchange as a source."""
    return [
        SourceKind(
            "ews",
            "A mailbox on Microsoft Exchange 2007 to SE, by Exchange Web Services.",
            EwsOptions,
            _open_source,
            leaves_behind=LEAVES_BEHIND,
        )
    ]


@hookimpl
def alimail_commands() -> list[Command]:
    """Register ``alimail exchange``."""
    return admin.commands()


def _open_source(options: EwsOptions, credentials: Credentials, clock: Clock) -> Source:
    from alimail_ews.source import open_source

    return open_source(options, credentials, clock)
