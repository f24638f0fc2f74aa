"""``alimail outlook addressbook`` on the command line: it parses, calls and draws."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from alimail_core import Argument, Command, Fault, InputError

if TYPE_CHECKING:
    from alimail_outlook.addressbook.book import Person
    from alimail_outlook.addressbook.check import Directory
    from alimail_outlook.addressbook.provisioned import Provisioned

_EXPORT: Final = """Write the organisation's address book as contacts that mail programs import.

The book is a sheet (csv or xlsx) with the columns name, address, department, title and phone, in English or Chinese,
such as the console's export of employees; what else is in it is not read. Without --book the people are those that
the provisioner of [provision] tells, such as the Open Platform API: all but the frozen ones, also who is hidden from
the address book in the console.

Of the formats, vcard is for most programs and telephones, outlook for classic Outlook (File, Open & Export,
Import/Export, Comma Separated Values) and csv for spreadsheets. Classic Outlook reads a csv in the code page of
Windows: --encoding gb18030 for Chinese Windows.

\b
Examples:
  alimail outlook addressbook export --book employees.xlsx --format vcard -o contacts.vcf
  alimail outlook addressbook export --book employees.xlsx --format outlook --encoding gb18030 -o contacts.csv
  alimail outlook addressbook export --config alimail.toml --format vcard -o contacts.vcf
"""

_CHECK: Final = """See whether people would find a colleague: ask each directory that there is, with an account.

Asked are the provisioner of [provision] in the configuration (of Alibaba Mail the Open Platform API), a server for
CardDAV and one for LDAP, whichever are named. Of each: does it let us in, has it an address book, does a search find
--colleague, who is a name or an address that you know to be there. Nothing is changed. A domain's CardDAV server is
found by its SRV record or /.well-known/carddav; the password goes over verified TLS alone, and to no other server.

\b
Examples:
  alimail outlook addressbook check --colleague anna@new.example
  alimail outlook addressbook check --colleague 王小明 --carddav new.example \\
    --login li@new.example --secret prompt
  alimail outlook addressbook check --colleague "Anna Smith" --json --secret env:PASSWORD \\
    --ldap ldaps://ldap.new.example/ou=people,dc=new,dc=example --login li@new.example

\b
Exit code 0: each of them finds the colleague; 3: one does not, with the remedy; 2: what was asked for has a fault.
JSON: {colleague, found, directories: [{where, findings: [{step, level, text, remedy}]}]}
"""

_CONFIG: Final = "The configuration with [provision]; by default alimail.toml, where it is there."

_EXPORT_ARGUMENTS: Final = (
    Argument("--book", "The sheet of people.", default=""),
    Argument("--config", _CONFIG, default=""),
    Argument("--format", "vcard, csv or outlook.", default="vcard"),
    Argument("--encoding", "utf-8, or gb18030 for Chinese Windows.", default="utf-8"),
    Argument("--output", "The file to write.", default="", short="-o"),
)

_CHECK_ARGUMENTS: Final = (
    Argument("--colleague", "Name or address of somebody who must be found.", default=""),
    Argument("--config", _CONFIG, default=""),
    Argument("--carddav", "A domain, or https://HOST/PATH of its server.", default=""),
    Argument(
        "--ldap", "ldaps://HOST/BASE, or ldap://HOST/BASE, which begins TLS before it logs in.", default=""
    ),
    Argument("--login", "The account, for CardDAV and LDAP: mostly its whole address.", default=""),
    Argument(
        "--secret",
        "Where its password is: env:NAME, file:PATH, keyring:SERVICE/USER, command:PROGRAM ARGS or prompt.",
        default="prompt",
    ),
    Argument("--ca", "A PEM file of the certificates to trust instead of the system's.", default=""),
    Argument("--json", "Write one JSON document, for programs; its keys are told above.", flag=True),
)

_ENCODINGS: Final = ("utf-8", "gb18030")
_DEFAULT_CONFIG: Final = Path("alimail.toml")


def _export(arguments: dict[str, Any]) -> int:
    from alimail_core.commands import printable, say, written_whole
    from alimail_outlook.addressbook.contacts import FORMATS, exported

    faults = []
    if not arguments["--output"]:
        faults.append(Fault("--output", "none is given", "name the file to write, such as contacts.vcf"))
    for name, known in (("--format", FORMATS), ("--encoding", _ENCODINGS)):
        if arguments[name] not in known:
            faults.append(Fault(name, "there is no such one", f"it is one of {', '.join(known)}"))
    if faults:
        raise InputError("what is asked for has a fault", faults)
    people = _people(arguments)
    octets = exported(people, arguments["--format"], arguments["--encoding"])
    path = Path(arguments["--output"])
    try:
        with written_whole(path) as file:
            file.buffer.write(octets)
    except OSError as error:
        raise InputError(f"{printable(str(path))} cannot be written: {error.strerror}") from None
    say(f"written to {path}: people: {len(people):,}")
    return 0


def _people(arguments: dict[str, Any]) -> list[Person]:
    from alimail_outlook.addressbook.book import read_people

    if arguments["--book"]:
        return list(read_people(Path(arguments["--book"])).values())
    provisioned = _provisioned(arguments["--config"])
    if provisioned is None:
        remedy = "give a sheet; or name a provisioner in [provision] of the configuration"
        raise InputError("nobody to export", [Fault("--book", "none is given", remedy)])
    return provisioned.people()


def _check(arguments: dict[str, Any]) -> int:
    from alimail_core.commands import write_json
    from alimail_outlook.addressbook.check import check
    from alimail_outlook.findings import exit_code, show

    directories = _directories(arguments)
    colleague = arguments["--colleague"].strip()
    found = [(each.where, list(check(each, colleague))) for each in directories]
    findings = [finding for _, some in found for finding in some]
    code = exit_code(findings)
    if arguments["--json"]:
        told = [{"where": where, "findings": [each.told() for each in some]} for where, some in found]
        write_json({"colleague": colleague, "found": code == 0, "directories": told})
    else:
        show(findings)
    return code


def _directories(arguments: dict[str, Any]) -> list[Directory]:
    """Return what is to be asked. Raises ``InputError`` with all that is wrong."""
    from alimail_core import parse_secret

    carddav, ldap, login = (arguments[name].strip() for name in ("--carddav", "--ldap", "--login"))
    faults = []
    if not arguments["--colleague"].strip():
        faults.append(Fault("--colleague", "none is given", "name somebody who must be found"))
    if (carddav or ldap) and not login:
        faults.append(Fault("--login", "none is given", "name the account, mostly its whole address"))
    provisioned = _provisioned(arguments["--config"])
    if provisioned is None and not (carddav or ldap):
        remedy = "name --carddav or --ldap; or a provisioner in [provision] of the configuration"
        faults.append(Fault("addressbook check", "there is no directory to ask", remedy))
    secret = parse_secret(arguments["--secret"], label=login)
    directories: list[Directory] = [] if provisioned is None else [provisioned]
    options = {"ca": Path(arguments["--ca"])} if arguments["--ca"] else {}
    if carddav:
        _need("httpx")
        from alimail_outlook.addressbook.carddav import CardDav

        directories.append(CardDav.at(carddav, login, secret, **options))
    if ldap:
        _need("ldap3")
        from alimail_outlook.addressbook.ldap import Ldap

        directories.append(Ldap.at(ldap, login, secret, **options))
    if faults:
        raise InputError("what is asked for has a fault", faults)
    return directories


def _provisioned(config: str) -> Provisioned | None:
    """Return the configuration's provisioner; ``None``: there is none."""
    path = Path(config) if config else _DEFAULT_CONFIG
    if not config and not path.exists():
        return None
    from alimail_core import Registry
    from alimail_outlook.addressbook.provisioned import Provisioned

    return Provisioned.configured(path, Registry.load())


def _need(module: str) -> None:
    if importlib.util.find_spec(module) is None:
        raise InputError(f"{module} is not installed", remedy='pip install "alimail-outlook[directory]"')


COMMAND: Final = Command(
    "addressbook",
    "The address book: whether servers offer it and find people, and contacts for those without the plug-in.",
    commands=[
        Command("check", _CHECK, _check, _CHECK_ARGUMENTS),
        Command("export", _EXPORT, _export, _EXPORT_ARGUMENTS),
    ],
)
