"""``alimail outlook rollout`` on the command line: it parses, calls and draws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alimail_core import Argument, Command, Fault, InputError

_HELP = """Write what brings the plug-in to many machines: scripts, policies, and a page with the steps.

PowerShell scripts that install, detect, collect and uninstall, each whole in itself; for gpo a start-up script and a
policy (ADMX) that keeps the plug-in on; for intune the commands and the detection rule; a page in English and
Chinese. The installer is copied beside them, and is run only where its SHA-256 is the same. Nothing is run here.

\b
Examples:
  alimail outlook rollout --method gpo --exe AlimailOutlook.exe --progid Maker.Product -o outlook-gpo
  alimail outlook rollout --method intune --exe AlimailOutlook.exe --progid Maker.Product --signer "Maker Ltd" \\
      --collect '\\\\server\\outlook$' -o outlook-intune
  alimail outlook rollout --method script --exe setup.exe --progid Maker.Product --silent-args /VERYSILENT \\
      --silent-args /NORESTART --uninstall-args /VERYSILENT -o outlook-script
"""

_ARGUMENTS = (
    Argument("--method", "gpo (Group Policy), intune (Microsoft Intune) or script.", default=""),
    Argument("--exe", "The installer, as `alimail outlook download` brought it.", default=""),
    Argument("--progid", "The add-in's ProgID: its key under Outlook's Addins.", default=""),
    Argument("--sha256", "Refuse an installer with another one.", default=""),
    Argument("--signer", "Install only what Windows takes as signed by this name.", default=""),
    Argument("--silent-args", "What makes it install in silence; once for each. By default /S.", many=True),
    Argument("--uninstall-args", "The same for its uninstaller. By default /S.", many=True),
    Argument("--collect", "A folder or share that each machine writes its state to.", default=""),
    Argument("--per-user", "It installs for one user, not for the machine.", flag=True),
    Argument("--output", "The folder to write to.", default="outlook-rollout", short="-o"),
)


def _rollout(arguments: dict[str, Any]) -> int:
    from alimail_core.commands import say
    from alimail_outlook.rollout.prepare import METHODS, wishes, write

    method = arguments["--method"]
    if method not in METHODS:
        raise InputError(
            "what is asked for cannot be prepared",
            [Fault("--method", "there is no such method", f"it is one of {', '.join(METHODS)}")],
        )
    installer, folder = Path(arguments["--exe"]), Path(arguments["--output"])
    wished = wishes(
        installer,
        arguments["--progid"],
        sha256=arguments["--sha256"],
        signer=arguments["--signer"],
        arguments=arguments["--silent-args"],
        uninstall_arguments=arguments["--uninstall-args"],
        collect=arguments["--collect"],
        per_user=arguments["--per-user"],
    )
    written = write(wished, method, installer, folder)
    say(f"{len(written)} files written to {folder}" if written else f"{folder} has all of it already")
    say("Next: read README.md there (README.zh.md in Chinese), and begin with a few machines.")
    return 0


COMMAND = Command("rollout", _HELP, _rollout, _ARGUMENTS)
