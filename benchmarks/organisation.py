"""A migration of thousands of accounts, as its administrator's machine has it: configuration, roster, ledger.

``python -m benchmarks.organisation VERB ...`` runs ``alimail`` in such a folder. Its two servers are in memory and
answer at once, so what a verb takes is its own time: ``plan`` without its waiting for servers.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from attrs import frozen

from alimail_core.cli import main
from alimail_core.contract import Credentials, SinkKind, SourceKind, option
from alimail_core.hookspec import hookimpl
from alimail_core.ledger import Ledger, State, schema
from alimail_core.ledger.tallies import keep
from alimail_core.model import INBOX, FolderPath
from alimail_core.registry import Registry
from alimail_core.seam import Clock
from benchmarks.measure import Command

if TYPE_CHECKING:
    from alimail_core.testing.memory import MemoryMailbox, MemorySink, MemorySource

FOLDERS: tuple[FolderPath, ...] = (
    INBOX,
    ("Sent",),
    ("Drafts",),
    ("Trash",),
    ("Projects",),
    ("Projects", "Alpha"),
)
BEGAN = 1_700_000_000.0
PROBLEMS = 50
"""One account of so many has a message that the target refused."""

_CONFIG = """\
[migration]
name = "organisation"
ledger = "organisation.ledger"
roster = "roster.xlsx"
workers = 8
[source]
kind = "nowhere"
[target]
kind = "nowhere"
"""


@frozen
class NowhereOptions:
    """The options of a server that takes no time."""

    host: str = option("The server's name.", default="")


class Nowhere:
    """A plug-in whose mailboxes all look alike, and hold nothing new."""

    @hookimpl
    def alimail_sources(self) -> Iterable[SourceKind[Any]]:
        """Register the source."""
        return [SourceKind("nowhere", "A mailbox that answers at once.", NowhereOptions, _source)]

    @hookimpl
    def alimail_sinks(self) -> Iterable[SinkKind[Any]]:
        """Register the sink."""
        return [SinkKind("nowhere", "A mailbox that answers at once.", NowhereOptions, _sink)]


def _mailbox() -> MemoryMailbox:
    from alimail_core.testing.memory import MemoryMailbox  # with pytest: not for verbs that ask no server

    mailbox = MemoryMailbox()
    for path in FOLDERS:
        mailbox.make(path)
    return mailbox


def _source(_options: NowhereOptions, _login: Credentials, _clock: Clock) -> MemorySource:
    from alimail_core.testing.memory import MemorySource

    return MemorySource(_mailbox())


def _sink(_options: NowhereOptions, _login: Credentials, _clock: Clock) -> MemorySink:
    from alimail_core.testing.memory import MemorySink

    return MemorySink(_mailbox())


def registry() -> Registry:
    """Return a registry that knows these servers alone."""
    made = Registry()
    made.register(Nowhere(), name="nowhere", distribution="benchmarks")
    return made


def build(folder: Path, accounts: int, messages: int) -> None:
    """Write configuration, roster and the ledger of a first pass over everybody, so many messages each."""
    (folder / "alimail.toml").write_text(_CONFIG, "utf-8")
    _write_roster(folder / "roster.xlsx", accounts)
    place = folder / "organisation.ledger"
    Ledger.open(str(place), "organisation").close()
    engine = sa.create_engine(f"sqlite:///{place}")
    with engine.begin() as connection:
        _fill(connection, accounts, messages)
    engine.dispose()


def verb(folder: Path, name: str) -> Command:
    """Return the command that runs a verb in such a folder."""
    quiet = ["--quiet"] if name == "plan" else []
    words = [
        sys.executable,
        "-m",
        "benchmarks.organisation",
        name,
        *quiet,
        "-c",
        str(folder / "alimail.toml"),
    ]
    return Command(tuple(words), {"PYTHONPATH": str(Path(__file__).parents[1])})


def misses(folder: Path, name: str, output: str, accounts: int, messages: int) -> str:
    """Say what a verb has not told of all accounts; nothing where it has told of all."""
    wanted = {
        "plan": f"{accounts * len(FOLDERS):,}",
        "status": f"{accounts:,} accounts: {accounts * messages:,} messages",
        "report": f"person{accounts - 1:05}@old.example",
    }[name]
    told = output
    if name == "report":
        told = (folder / "organisation-report" / "accounts.csv").read_text("utf-8")
    return "" if wanted in told else f"not told: {wanted}"


def _write_roster(path: Path, accounts: int) -> None:
    from openpyxl import Workbook

    book = Workbook()
    sheet = book.create_sheet("accounts", 0)
    sheet.append(["source address", "source password", "target address", "target password", "wave"])
    for number in range(accounts):
        old, new = f"person{number:05}@old.example", f"person{number:05}@new.example"
        sheet.append([old, f"old-{number}", new, f"new-{number}", number % 5 + 1])
    book.save(path)


def _fill(connection: sa.Connection, accounts: int, messages: int) -> None:
    """Write rows as a pass over each account leaves them."""
    everybody = range(1, accounts + 1)
    connection.execute(
        schema.account.insert(),
        [
            {
                "id": number,
                "source_address": f"person{number - 1:05}@old.example",
                "target_address": f"person{number - 1:05}@new.example",
                "passes": 1,
                "state": "problems" if number % PROBLEMS == 1 else "done",
                "started": BEGAN,
                "ended": BEGAN + 60,
                "octets": 36_000 * messages,
                "seconds": 60.0,
                **keep({State.STORED.name: (messages, 36_000 * messages)}, fence=0),
            }
            for number in everybody
        ],
    )
    sides = [(side, path) for side in ("source", "target") for path in FOLDERS]
    connection.execute(
        schema.folder.insert(),
        [
            {
                "id": number * len(sides) + place,
                "account_id": number,
                "side": side,
                "path": json.dumps(path),
                "epoch": "1.0",
                "cursor": json.dumps(
                    {"validity": 1, "uid_next": 1, "modseq": 0, "generation": 0, "probe": None}
                ),
                "target_id": number * len(sides) + place + len(FOLDERS) if side == "source" else None,
            }
            for number in everybody
            for place, (side, path) in enumerate(sides)
        ],
    )
    connection.execute(
        schema.batch.insert(),
        [{"id": number, "account_id": number, "intended": BEGAN + number} for number in everybody],
    )
    one = [_message(number) for number in range(messages)]
    columns = [name for name in one[0] if name != "place"]
    connection.execute(
        sa.text(f"CREATE TEMP TABLE one AS SELECT 0 AS place, {', '.join(columns)} FROM message LIMIT 0")
    )
    values = ", ".join(f":{name}" for name in one[0])
    connection.execute(sa.text(f"INSERT INTO one ({', '.join(one[0])}) VALUES ({values})"), one)
    first = f"account.id * {len(sides)} + place"
    connection.execute(
        sa.text(
            f"INSERT INTO message (folder_id, target_id, batch_id, {', '.join(columns)})"
            f" SELECT {first}, {first} + {len(FOLDERS)}, account.id, {', '.join(f'one.{name}' for name in columns)}"
            " FROM account, one ORDER BY account.id"
        )
    )
    connection.execute(
        schema.problem.insert(),
        [
            {
                "account_id": number,
                "folder_id": number * len(sides),
                "message_id": (number - 1) * messages + 1,
                "kind": "refused",
                "reason": "NO [TOOBIG] message is too large",
                "first": BEGAN,
                "last": BEGAN,
            }
            for number in everybody
            if number % PROBLEMS == 1
        ],
    )


def _message(number: int) -> dict[str, object]:
    digest = number.to_bytes(4, "big") * 8
    return {
        "place": number % len(FOLDERS),
        "key": f"1/{number}",
        "size": 36_000,
        "date": int(BEGAN) + number,
        "zone": 0,
        "flags": "\\Seen",
        "state": int(State.STORED),
        "fingerprint": digest[:16],
        "message_hash": digest[:8],
        "digest": digest,
        "target_key": f"1/{number}",
        "target_size": 36_000,
        "target_date": int(BEGAN) + number,
        "carried": "\\Seen",
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], registry()))
