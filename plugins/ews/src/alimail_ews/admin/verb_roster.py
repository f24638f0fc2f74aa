"""``alimail exchange roster`` on the command line: it parses, calls and draws."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alimail_core import Argument, Command, Fault, InputError

if TYPE_CHECKING:
    from alimail_ews.admin.roster import Outcome

_HELP = """Turn the list of addresses that Exchange exported into a roster for `alimail migrate`.

The list may be in UTF-16, UTF-8 or the machine's code page, with any columns, one of them PrimarySmtpAddress. Every
address keeps its prefix; where that cannot be, the mailbox is named with what to do, and the others are written.

\b
Examples:
  alimail exchange roster addresses.csv --target-domain new.example -o accounts.csv
  alimail exchange roster addresses.csv --target-domain new.example --map exceptions.csv -o accounts.xlsx
  alimail exchange roster addresses.csv --target-domain new.example --accounts console.xlsx --without room -o a.csv

\b
Exit code 0: every mailbox is in the roster, or left out by its kind; 3: some are to be decided; 2: the list is none.
JSON: {written, accounts: [{address, target, kind}], inconsistent: [{where, address, why, remedy}],
       left_out: [{where, address, why}], remarks: [{level, text, remedy}]}
"""

_ARGUMENTS = (
    Argument("file", "The list, as Export-Csv wrote it."),
    Argument("--target-domain", "The domain of the new addresses.", default=""),
    Argument("--map", "A sheet of exceptions, csv or xlsx: source address and target address.", default=""),
    Argument("--accounts", "The accounts that the new system has: its export of employees.", default=""),
    Argument("--without", "Leave out mailboxes of a kind: shared, room or equipment.", many=True),
    Argument("--language", "The language of the roster: en or zh.", default="en"),
    Argument("--output", "The roster to write, csv or xlsx.", default="accounts.csv", short="-o"),
    Argument("--json", "Write one JSON document, for programs; its keys are told above.", flag=True),
)
_WITHOUT = ("shared", "room", "equipment")


def _roster(arguments: dict[str, Any]) -> int:
    """Write a roster."""
    from alimail_core.commands import write_json
    from alimail_ews.admin import roster as making

    faults = [
        *_one_of("--without", arguments["--without"], _WITHOUT),
        *_one_of("--language", [arguments["--language"]], ("en", "zh")),
        *_domain_fault(arguments["--target-domain"]),
    ]
    if faults:
        raise InputError("what is asked for cannot be done", faults)
    wish = making.Wish(
        arguments["--target-domain"].lower(),
        making.read_exceptions(Path(arguments["--map"])) if arguments["--map"] else {},
        making.read_accounts(Path(arguments["--accounts"])) if arguments["--accounts"] else None,
        arguments["--without"],
    )
    found = making.outcome(Path(arguments["file"]), wish)
    output = Path(arguments["--output"])
    if found.accounts:
        making.write(output, found, arguments["--language"])
    if arguments["--json"]:
        write_json(_json(found, output))
    else:
        _show(found, output)
    return 3 if found.inconsistent else 0


def _show(found: Outcome, output: Path) -> None:
    from alimail_core.commands import complain, remark_lines, say, table

    say(*(line for remark in found.remarks for line in remark_lines(remark)))
    kinds = ("person", "shared", "room", "equipment")
    table(("Kind", "Mailboxes"), [(kind, found.count(kind)) for kind in kinds if found.count(kind)])
    for refusal in found.left_out:
        say(f"left out: {refusal.address}: {refusal.why} ({refusal.where})")
    for refusal in found.inconsistent:
        complain(
            f"to be decided: {refusal.address}: {refusal.why} ({refusal.where})", f"  -> {refusal.remedy}"
        )
    if others := len(found.accounts) - found.count("person"):
        say(
            f"without an owner: {others:,} of them; each needs an account of its own at the target. --without "
            "leaves them out."
        )
    number = len(found.accounts)
    many = "1 account" if number == 1 else f"{number:,} accounts"
    say(f"written: {output}, {many}" if number else "no roster was written")


def _one_of(option: str, values: Iterable[str], known: Collection[str]) -> list[Fault]:
    remedy = f"it is one of {', '.join(known)}"
    return [Fault(option, f"there is no {value}", remedy) for value in values if value not in known]


def _domain_fault(domain: str) -> list[Fault]:
    from alimail_core.commands import address_fault

    if not domain or not address_fault(f"a@{domain}"):
        return []
    return [Fault("--target-domain", f"{domain} is no domain", "write it as in an address, after the @")]


def _json(found: Outcome, output: Path) -> dict[str, object]:
    return {
        "written": str(output) if found.accounts else None,
        "accounts": [{"address": e.address, "target": e.target, "kind": e.kind} for e in found.accounts],
        "inconsistent": [
            {"where": e.where, "address": e.address, "why": e.why, "remedy": e.remedy}
            for e in found.inconsistent
        ],
        "left_out": [{"where": e.where, "address": e.address, "why": e.why} for e in found.left_out],
        "remarks": [{"level": e.level, "text": e.text, "remedy": e.remedy} for e in found.remarks],
    }


COMMAND = Command("roster", _HELP, _roster, _ARGUMENTS)
