"""``alimail outlook rollout`` on the command line: it parses, calls and draws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alimail_core import Argument, Command, Fault, InputError

_HELP = """Write what brings the plug-in to many machines: scripts, policies, and a page with the steps.

PowerShell scripts that install, detect, collect and uninstall, each whole in itself; for gpo a start-up script and a
policy (ADMX) that keeps the plug-in on; for intune the commands and the detection rule; a page in English and
Chinese. The installer is held against --signer or --sha256 here, as `alimail outlook install` does, and is copied
beside them; each machine runs it only where it is the same file. Nothing is run here.

\b
Examples:
  alimail outlook rollout --method gpo --exe AlimailOutlook.exe --signer "Maker Ltd" --progid Maker.Product -o gpo
  alimail outlook rollout --method intune --exe AlimailOutlook.exe --signer "Maker Ltd" --progid Maker.Product \\
      --collect '\\\\server\\outlook$' -o intune
  alimail outlook rollout --method script --exe setup.exe --sha256 HEX --progid Maker.Product \\
      --silent-args "/quiet /norestart" --uninstall-args /quiet -o script
"""

_ARGUMENTS = (
    Argument("--method", "gpo (Group Policy), intune (Microsoft Intune) or script.", default=""),
    Argument("--exe", "The installer, as `alimail outlook download` brought it.", default=""),
    Argument("--progid", "The add-in's ProgID: its key under Outlook's Addins.", default=""),
    Argument("--signer", "Who must have signed it; each machine asks Windows as well.", default=""),
    Argument("--sha256", "The SHA-256 that it must have, hexadecimal.", default=""),
    Argument("--silent-args", "How it runs without questions; by default as its kind does.", default=""),
    Argument("--uninstall-args", "The same for its uninstaller.", default=""),
    Argument("--collect", "A folder or share that each machine writes its state to.", default=""),
    Argument("--per-user", "It installs for one user, not for the machine.", flag=True),
    Argument("--output", "The folder to write to.", default="outlook-rollout", short="-o"),
)


def _rollout(arguments: dict[str, Any]) -> int:
    from alimail_core import Clock
    from alimail_core.commands import say
    from alimail_outlook.machine.install import SILENT, silent_arguments
    from alimail_outlook.machine.program import read_program
    from alimail_outlook.machine.trust import hold, unlikely
    from alimail_outlook.rollout.prepare import METHODS, wishes, write

    method, signer, sha256 = (arguments[name].strip() for name in ("--method", "--signer", "--sha256"))
    faults = list(unlikely(sha256))
    if method not in METHODS:
        faults.append(Fault("--method", "there is no such method", f"it is one of {', '.join(METHODS)}"))
    if not arguments["--exe"]:
        faults.append(Fault("--exe", "no installer is named", "give the file that `download` brought"))
    if not (signer or sha256):
        remedy = "`alimail outlook download` shows who signed it; or give a SHA-256 that you trust"
        faults.append(Fault("--signer", "nothing says which installer is the right one", remedy))
    if faults:
        raise InputError("what is asked for cannot be prepared", faults)
    program = read_program(Path(arguments["--exe"]), Clock().now())
    known = hold(program, signer, sha256)
    wanted = ".msi" if program.kind == "msi" else ".exe"
    if program.path.suffix.lower() != wanted:
        fault = Fault(
            "--exe", "Windows runs a file by the end of its name", f"let its name end with {wanted}"
        )
        raise InputError("what is asked for cannot be prepared", [fault])
    silently = silent_arguments(program, arguments["--silent-args"])
    folder = Path(arguments["--output"])
    wished = wishes(
        program.path,
        arguments["--progid"],
        # By its common name, whatever of the signer was given here: that is what Windows tells.
        signer=program.signature.signer if signer and program.signature.names else signer,
        arguments=silently,
        uninstall_arguments=arguments["--uninstall-args"].strip() or SILENT.get(program.kind, silently),
        collect=arguments["--collect"],
        per_user=arguments["--per-user"],
    )
    written = write(wished, method, program.path, folder)
    say(*known, f"{len(written)} files written to {folder}" if written else f"{folder} has all of it already")
    say("Next: read README.md there (README.zh.md in Chinese), and begin with a few machines.")
    return 0


COMMAND = Command("rollout", _HELP, _rollout, _ARGUMENTS)
