"""``alimail outlook addressbook`` on the command line: it parses, calls and draws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alimail_core import Argument, Command, Fault, InputError

_HELP = """Write the organisation's address book as contacts that mail programs import.

The book is a sheet (csv or xlsx) with the columns name, address, department, title and phone, in English or Chinese,
such as the console's export of employees; what else is in it is not read. Of the formats, vcard is for most programs
and telephones, outlook for classic Outlook (File, Open & Export, Import/Export, Comma Separated Values) and csv for
spreadsheets. Classic Outlook reads a csv in the code page of Windows: --encoding gb18030 for Chinese Windows.

\b
Examples:
  alimail outlook addressbook export --book employees.xlsx --format vcard -o contacts.vcf
  alimail outlook addressbook export --book employees.xlsx --format outlook --encoding gb18030 -o contacts.csv
"""

_ARGUMENTS = (
    Argument("--book", "The sheet of people.", default=""),
    Argument("--format", "vcard, csv or outlook.", default="vcard"),
    Argument("--encoding", "utf-8, or gb18030 for Chinese Windows.", default="utf-8"),
    Argument("--output", "The file to write.", default="", short="-o"),
)

_ENCODINGS = ("utf-8", "gb18030")


def _export(arguments: dict[str, Any]) -> int:
    from alimail_core.commands import printable, say, written_whole
    from alimail_outlook.addin.book import read_people
    from alimail_outlook.rollout.contacts import FORMATS, exported

    faults = [Fault(name, "none is given") for name in ("--book", "--output") if not arguments[name]]
    for name, known in (("--format", FORMATS), ("--encoding", _ENCODINGS)):
        if arguments[name] not in known:
            faults.append(Fault(name, "there is no such one", f"it is one of {', '.join(known)}"))
    if faults:
        raise InputError("what is asked for has a fault", faults)
    people = list(read_people(Path(arguments["--book"])).values())
    octets = exported(people, arguments["--format"], arguments["--encoding"])
    path = Path(arguments["--output"])
    try:
        with written_whole(path) as file:
            file.buffer.write(octets)
    except OSError as error:
        raise InputError(f"{printable(str(path))} cannot be written: {error.strerror}") from None
    say(f"written to {path}: people: {len(people):,}")
    return 0


COMMAND = Command(
    "addressbook",
    "The address book for people without the plug-in.",
    commands=[Command("export", _HELP, _export, _ARGUMENTS)],
)
