"""``alimail exchange check`` on the command line: it parses, calls and draws."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from alimail_core import Argument, Command, Fault, InputError

if TYPE_CHECKING:
    from alimail_ews.admin.check import Facts, Finding, Wish

_HELP = """Try everything that a migration needs of an Exchange server, before it begins. Nothing is changed.

Where the server is, its certificate, that Exchange Web Services answer, the login, product and build, three mailboxes
of the roster, round trip and throughput, throttling. Each fault with what to do about it.

\b
Examples:
  alimail exchange check --server mail.old.example --user 'OLD\\superman' --roster accounts.csv
  alimail exchange check --server https://mail.old.example/EWS/Exchange.asmx --user superman@old.example \\
      --secret file:superman.txt --mailbox anna@old.example --json
  alimail exchange check --user superman@old.example --mailbox anna@old.example      # by Autodiscover

\b
Exit code 0: nothing is in the way; 3: there is a fault; 2: what was asked for is none.
JSON: {findings: [{step, level, text, remedy}], url, product, build, schemes, login, round_trip_ms,
       octets_per_second}
"""

_ARGUMENTS = (
    Argument(
        "--server",
        "The server's name, with a port where it is not 443, or its URL; or that of an Autodiscover to ask.",
        default="",
    ),
    Argument("--user", "The service account, such as OLD\\superman or superman@old.example.", default=""),
    Argument(
        "--secret",
        "Where its password is: env:NAME, file:PATH, keyring:SERVICE/USER, command:PROGRAM ARGS, or prompt.",
        default="prompt",
    ),
    Argument("--roster", "A roster: three of its source addresses are tried.", default=""),
    Argument("--mailbox", "An address to try; give it once for each.", many=True),
    Argument(
        "--access",
        "How the account gets in: impersonation, or delegate (FullAccess).",
        default="impersonation",
    ),
    Argument(
        "--auth",
        "How to log in: auto tries what is offered; or ntlm, basic, kerberos, oauth.",
        default="auto",
    ),
    Argument("--ca", "A PEM file of the certificates to trust instead of the system's.", default=""),
    Argument("--tls-minimum", "The oldest TLS version to accept: 1.0, 1.1, 1.2 or 1.3.", default="1.2"),
    Argument("--json", "Write one JSON document, for programs; its keys are told above.", flag=True),
)


_CHOICES: Final[Mapping[str, tuple[str, ...]]] = {
    "--access": ("impersonation", "delegate"),
    "--auth": ("auto", "ntlm", "basic", "kerberos", "oauth"),
    "--tls-minimum": ("1.0", "1.1", "1.2", "1.3"),
}


def _check(arguments: dict[str, Any]) -> int:
    from alimail_core import Clock
    from alimail_core.commands import write_json
    from alimail_ews.admin.check import Check

    check = Check(_wish(arguments), Clock())
    findings = list(check.run())
    if arguments["--json"]:
        write_json(_json(findings, check.facts))
    else:
        _show(findings)
    return 3 if any(finding.remark.level == "fault" for finding in findings) else 0


def _wish(arguments: dict[str, Any]) -> Wish:
    """Read what was asked for. Raises ``InputError`` with every fault."""
    from alimail_core import parse_secret
    from alimail_core.commands import address_fault, printable, read_roster
    from alimail_ews.admin import autodiscover, check
    from alimail_ews.options import EwsOptions

    faults: list[Fault] = []
    if not arguments["--user"]:
        faults.append(
            Fault("--user", "none is given", "name the account that `alimail exchange prepare` made")
        )
    for address in arguments["--mailbox"]:
        if fault := address_fault(address):
            faults.append(Fault("--mailbox", f"{address} {fault[0]}", fault[1]))
    mailboxes = list(arguments["--mailbox"])
    if arguments["--roster"]:
        mailboxes += [row.source_address for row in read_roster(Path(arguments["--roster"]))]
    if not arguments["--server"] and not mailboxes:
        remedy = "name it, or with --mailbox or --roster whose server is looked for"
        faults.append(Fault("--server", "none is given, and no mailbox", remedy))
    server = arguments["--server"]
    url = server if "://" in server else f"https://{server}{EwsOptions('').url_path}"
    for name, known in _CHOICES.items():
        if arguments[name] not in known:
            faults.append(
                Fault(name, f"there is no {printable(arguments[name])}", f"it is one of {', '.join(known)}")
            )
    usual = EwsOptions("").url_path
    host, port, path, scheme = "", None, usual, "https"
    try:
        if server:
            host, port, path, scheme = autodiscover.split(url)
    except ValueError as error:
        faults.append(Fault("--server", str(error), "give a name, a name with a port, or the URL of EWS"))
    place: tuple[str, int] | None = None
    if autodiscover.is_place(path):
        if scheme != "https":
            faults.append(
                Fault("--server", "Autodiscover is asked by https alone", "give its URL with https")
            )
        if not mailboxes:
            faults.append(
                Fault("--mailbox", "none is given", "Autodiscover is asked for a mailbox: name one")
            )
        place, host, port, path = (host, port or 443), "", None, usual
    if faults:
        raise InputError("what is asked for cannot be checked", faults)
    options = EwsOptions(
        host,
        port,
        "implicit" if scheme == "https" else "none",
        ca=Path(arguments["--ca"]) if arguments["--ca"] else None,
        tls_minimum=arguments["--tls-minimum"],
        auth=arguments["--auth"],
        access=arguments["--access"],
        url_path=path if len(path) > 1 else usual,
        timeout=60.0,
    )
    secret = parse_secret(arguments["--secret"], label=arguments["--user"])
    return check.Wish(options, arguments["--user"], secret.get, mailboxes, place)


def _show(findings: list[Finding]) -> None:
    from alimail_core.commands import say, table

    marks = {"fault": "FAULT"}
    rows = [
        (each.step, marks.get(each.remark.level, each.remark.level), each.remark.text) for each in findings
    ]
    table(("Step", "Result", "What was found"), rows)
    wanting = [each for each in findings if each.remark.remedy]
    for each in wanting:
        say("", f"{each.step}: {each.remark.text}", f"  -> {each.remark.remedy}")
    faults = sum(each.remark.level == "fault" for each in findings)
    say("", f"in the way: {faults}" if faults else "nothing is in the way")


def _json(findings: list[Finding], facts: Facts) -> dict[str, object]:
    return {
        "findings": [
            {"step": e.step, "level": e.remark.level, "text": e.remark.text, "remedy": e.remark.remedy}
            for e in findings
        ],
        "url": facts.url,
        "product": facts.product,
        "build": facts.build,
        "schemes": facts.schemes,
        "login": facts.login,
        "round_trip_ms": None if facts.round_trip is None else round(facts.round_trip * 1000, 1),
        "octets_per_second": None if facts.octets_per_second is None else round(facts.octets_per_second),
    }


COMMAND = Command("check", _HELP, _check, _ARGUMENTS)
