"""``alimail outlook settings`` on the command line: it parses, calls and draws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alimail_core import Argument, Command, Fault, InputError

_HELP = """Find out what a domain tells mail programs of its servers, and write what it should publish.

--check asks the DNS (MX, SRV), Mozilla's autoconfiguration and Outlook's Autodiscover, and holds the answers against
the servers of the domain's region. -o writes the pages and records to publish. Nothing is logged in to.

\b
Examples:
  alimail outlook settings --check new.example
  alimail outlook settings --check new.example --region sg --json
  alimail outlook settings --domain new.example --region sg -o publish

\b
Exit code 0: all is published and right, or only wanting; 3: something leads to another server.
JSON: {domain, region, findings: [{step, level, text, remedy}]}
"""

_ARGUMENTS = (
    Argument("--check", "The domain whose published settings are looked at.", default=""),
    Argument("--domain", "The domain that files are written for.", default=""),
    Argument("--region", "The region: cn, hk, sg, de or us; by default what the MX says, or cn.", default=""),
    Argument("--ca", "A PEM file of the certificates to trust instead of the system's.", default=""),
    Argument("--output", "The folder to write to.", default="", short="-o"),
    Argument("--json", "Write one JSON document, for programs; its keys are told above.", flag=True),
)


def _settings(arguments: dict[str, Any]) -> int:
    from alimail_outlook.rollout.settings import ascii_domain, site

    domain, output, region = arguments["--domain"], arguments["--output"], arguments["--region"]
    if bool(domain) != bool(output) or not (domain or arguments["--check"]):
        fault = Fault(
            "settings", "there is nothing to do", "say --check DOMAIN, or --domain DOMAIN -o FOLDER"
        )
        raise InputError("what is asked for has a fault", [fault])
    if region:
        site(region)
    if domain:
        _write(ascii_domain(domain), region or "cn", Path(output))
    return _check(ascii_domain(arguments["--check"]), arguments) if arguments["--check"] else 0


def _write(domain: str, region: str, folder: Path) -> None:
    from alimail_core.commands import complain, printable, written_whole
    from alimail_outlook.rollout.settings import files, site

    for name, text in files(site(region), domain).items():
        try:
            with written_whole(folder / name) as file:
                file.write(text)
        except OSError as error:
            raise InputError(f"{printable(str(folder / name))} cannot be written: {error.strerror}") from None
        complain(f"written: {folder / name}")


def _check(domain: str, arguments: dict[str, Any]) -> int:
    from alimail_core import Clock, ServerOptions, tls_context
    from alimail_core.commands import write_json
    from alimail_outlook.findings import exit_code, show
    from alimail_outlook.rollout.settings_check import Check

    ca = Path(arguments["--ca"]) if arguments["--ca"] else None
    check = Check(domain, arguments["--region"], Clock(), tls_context(ServerOptions(domain, ca=ca)))
    findings = list(check.run())
    if arguments["--json"]:
        told = [each.told() for each in findings]
        write_json({"domain": domain, "region": check.site.region, "findings": told})
    else:
        show(findings)
    return exit_code(findings)


COMMAND = Command("settings", _HELP, _settings, _ARGUMENTS)
