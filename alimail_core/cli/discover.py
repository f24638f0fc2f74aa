"""``alimail discover``: from addresses to the servers that their mailboxes are on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alimail_core.cli import options
from alimail_core.cli.check import remarks_json
from alimail_core.cli.frame import Frame
from alimail_core.cli.output import complain, remark_lines, say, write_json
from alimail_core.errors import Fault, InputError

if TYPE_CHECKING:
    from alimail_core.discovery import Guesses, Tried

CAUTION = (
    "A password is sent to the server that you name: compare this with what the provider tells its customers."
)


def discover(
    context: typer.Context,
    addresses: Annotated[
        list[str],
        typer.Argument(metavar="ADDRESS", help="Mailboxes whose servers are looked for, one or more."),
    ],
    ispdb: Annotated[
        bool,
        typer.Option(
            "--ispdb", help="Also ask Mozilla's list of providers, which thereby learns the domain."
        ),
    ] = False,
    ca: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Trust these certificates (PEM) instead of the system's."),
    ] = None,
    json: options.Json = False,
) -> int:
    """Look for the servers of mailboxes, try what was found, and show the lines for the configuration.

    Asked are, for each address's domain, its SRV records, what it publishes for mail programs (over https), its mail
    exchangers, and the usual names. Each guess is shown with its reasons, and whether it answers with encryption.
    Nothing is logged in to, no address is sent anywhere, and nothing is written or used: that is yours to do.

    \b
    Examples:
      alimail discover anna@old.example
      alimail discover anna@old.example bob@other.example --ispdb
      alimail discover anna@old.example --json | jq '.domains[].source'

    \b
    Exit code 0: a server was found for each domain; 3: not for all; 1: for none.
    JSON: {domains: [{domain, addresses, remarks: [{level, text, remedy}],
                      guesses: [{kind, host, port, tls, login, why: [...], note, answered, fault, remedy}],
                      source: {kind, host, port, tls, ca, login} or null, url}]}
    """
    from alimail_core.discovery import guess_servers, kinds_of, try_guesses

    frame = Frame.of(context)
    kinds = kinds_of(frame.registry)
    if not kinds:
        raise InputError(
            "no plug-in is installed whose servers can be looked for", remedy="pip install alimail-imap"
        )
    found: list[dict[str, Any]] = []
    for domain, of_domain in _by_domain(addresses).items():
        guesses = guess_servers(domain, kinds, frame.clock, ispdb=ispdb, ca=ca)
        tried: list[Tried] = []
        if not json:
            say(domain, *(line for remark in guesses.remarks for line in remark_lines(remark)))
        for each in try_guesses(guesses.guesses, kinds, ca=ca):
            tried.append(each)
            if not json:
                say(*_lines(each))
        found.append(_json(guesses, of_domain, tried))
        if not json:
            say(*_result(found[-1]))
    if json:
        write_json({"domains": found})
    elif any(each["source"] for each in found):
        complain(CAUTION)
    answered = [each["source"] is not None for each in found]
    return 0 if all(answered) else 3 if any(answered) else 1


def _by_domain(addresses: Sequence[str]) -> dict[str, list[str]]:
    """Return the addresses by their domains. Raises ``InputError`` with all that are none."""
    from alimail_core.sheets.roster import address_fault

    faults = [
        Fault(address, *fault) for address in addresses if (fault := address_fault(address)) is not None
    ]
    if faults:
        raise InputError("there are faults in the addresses", faults)
    domains: dict[str, list[str]] = {}
    for address in addresses:
        domains.setdefault(address.rpartition("@")[2].lower(), []).append(address)
    return domains


def propose(frame: Frame, kind: str, address: str) -> dict[str, object]:
    """Look for an address's server of one kind, show what was tried; return what ``[source]`` would say of it.

    Empty where none was found.
    """
    from alimail_core.discovery import guess_servers, kinds_of, source_table, try_guesses

    kinds = [each for each in kinds_of(frame.registry) if each.name == kind]
    guesses = guess_servers(address.rpartition("@")[2], kinds, frame.clock) if kinds else None
    found: dict[str, object] = {}
    for remark in guesses.remarks if guesses else ():
        complain(*remark_lines(remark))
    for each in try_guesses(guesses.guesses, kinds) if guesses else ():
        complain(*_lines(each))
        if each.options is not None and not found:
            found = source_table(each)
    complain(
        CAUTION if found else f"No {kind} server was found; `alimail discover {address}` asks for all kinds."
    )
    return found


def _lines(tried: Tried) -> Iterator[str]:
    from alimail_core.discovery import USUAL

    guess, why = tried.guess, "; ".join(tried.guess.why)
    if tried.options is None:
        where = guess.host if guess.port is None else f"{guess.host} port {guess.port}"
        yield f"  no   {guess.kind} {where} ({why}): {tried.fault}"
        if tried.remedy and guess.why != (USUAL,):
            yield f"         -> {tried.remedy}"
    else:
        host, port = tried.options.address
        yield f"  yes  {guess.kind} {host} port {port}, tls = {tried.options.tls} ({why})"
        if guess.note:
            yield f"         note: {guess.note}"


def _result(domain: dict[str, Any]) -> Iterator[str]:
    from alimail_core.structure import toml_text

    if domain["source"] is None:
        yield f"  No server was found for {domain['domain']}. Its provider's help pages name it."
        return
    yield ""
    yield "[source]"
    for key, value in domain["source"].items():
        yield f"{key} = {toml_text(value)}"
    yield f"# alimail copy '{domain['url']}' TARGET_URL"
    yield ""


def _json(guesses: Guesses, addresses: Sequence[str], tried: Sequence[Tried]) -> dict[str, Any]:
    from alimail_core.discovery import source_table, source_url

    best = next((each for each in tried if each.options is not None), None)
    return {
        "domain": guesses.domain,
        "addresses": list(addresses),
        "remarks": remarks_json(guesses.remarks),
        "guesses": [_guess_json(each) for each in tried],
        "source": None if best is None else source_table(best),
        "url": None if best is None else source_url(best, addresses[0]),
    }


def _guess_json(tried: Tried) -> dict[str, Any]:
    guess, settled = tried.guess, tried.options
    return {
        "kind": guess.kind,
        "host": guess.host,
        "port": guess.port if settled is None else settled.address[1],
        "tls": None if settled is None else settled.tls,
        "login": guess.login,
        "why": list(guess.why),
        "note": guess.note,
        "answered": settled is not None,
        "fault": tried.fault,
        "remedy": tried.remedy,
    }
