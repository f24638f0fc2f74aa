"""``alimail exchange prepare`` on the command line: it parses, calls and draws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alimail_core import Argument, Command

_HELP = """Write PowerShell scripts that let a service account read the mailboxes, and a way back.

One script for each step, for your version of Exchange; one that runs all (-WhatIf shows it first); one that undoes
all; and a page that explains them, in English and Chinese. Nothing is run, no password is asked for here.

\b
Examples:
  alimail exchange prepare --version 2016 --database MDB1 --domain old.example -o exchange
  alimail exchange prepare --version 2010 --database MDB1 --database MDB2 --domain old.example --as-in-guide -o guide
"""

_ARGUMENTS = (
    Argument("--version", "The version of Exchange: 2007, 2010, 2013, 2016, 2019 or se.", default=""),
    Argument("--database", "A mailbox database whose mailboxes are moved; give it once for each.", many=True),
    Argument("--domain", "The domain of the old addresses, such as old.example.", default=""),
    Argument("--account", "The service account to make.", default="superman"),
    Argument(
        "--csv",
        "Where the list of addresses is on the Exchange machine; beside the scripts by default.",
        default="",
    ),
    Argument("--full-access", "Give FullAccess to every mailbox as well; impersonation suffices.", flag=True),
    Argument(
        "--as-in-guide",
        "Exactly the steps of Alibaba Mail's guide: FullAccess as well, and impersonation of every mailbox.",
        flag=True,
    ),
    Argument("--output", "The folder to write to.", default="exchange", short="-o"),
)


def _prepare(arguments: dict[str, Any]) -> int:
    """Write the scripts."""
    from alimail_core.commands import say
    from alimail_ews.admin.prepare import wishes, write

    folder = Path(arguments["--output"])
    wished = wishes(
        arguments["--version"],
        arguments["--database"],
        arguments["--domain"],
        arguments["--account"],
        arguments["--csv"],
        full_access=arguments["--full-access"],
        as_in_guide=arguments["--as-in-guide"],
    )
    written = write(wished, folder)
    say(f"{len(written)} files written to {folder}" if written else f"{folder} has all of it already")
    say("Next: copy the folder to the Exchange server, and read README.md (README.zh.md in Chinese) there.")
    return 0


COMMAND = Command("prepare", _HELP, _prepare, _ARGUMENTS)
