"""``alimail outlook report`` on the command line: it parses, calls and draws."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alimail_core import Argument, Command, InputError

MANY = 20
"""Machines that the table shows."""

_HELP = """Make of what machines have told a table, a page (outlook.html) and a sheet (outlook.csv).

FOLDER is what `alimail outlook rollout --collect` named; each machine and user has a file in it. What is no such file
is named, and not used.

\b
Examples:
  alimail outlook report /srv/outlook
  alimail outlook report '\\\\server\\outlook$' -o report
  alimail outlook report /srv/outlook --json

\b
Exit code 0: Outlook loads it everywhere; 3: somewhere it does not, or a file cannot be used.
JSON: {standings: {NAME: number}, silent, reasons: [{rule, text, count}],
       machines: [{machine, user, standing, at, progid, installer, levels: {RULE: LEVEL}}], refused: {FILE: reason}}
"""

_ARGUMENTS = (
    Argument("folder", "The folder that machines write to."),
    Argument("--output", "Where page and sheet go; without it none is written.", default="", short="-o"),
    Argument("--json", "Write one JSON document, for programs; its keys are told above.", flag=True),
)


def _report(arguments: dict[str, Any]) -> int:
    from alimail_core import Clock
    from alimail_core.commands import complain, say, table, write_json
    from alimail_outlook.rollout import report
    from alimail_outlook.rollout.states import collected

    found, now = collected(Path(arguments["folder"])), Clock().now()
    output = Path(arguments["--output"]) if arguments["--output"] else None
    if output is not None and output.resolve() == Path(arguments["folder"]).resolve():
        raise InputError(
            "the report would lie among what machines write", remedy="Name another folder with -o."
        )
    written = report.write(found, now, output) if output is not None else []
    counts = report.standings(found)
    if arguments["--json"]:
        write_json(report.as_json(found, now))
    else:
        well = counts["loaded"] + counts["at risk"]
        say(f"Outlook loads it for {well:,} of {len(found.states):,}.", "")
        table(("Standing", "Number"), [(name, count) for name, count in counts.items() if count])
        if reasons := report.reasons(found):
            say("")
            table(("Why", "Number"), [(rule.fault, count) for rule, count in reasons])
        if shown := [state for state in report.sorted_states(found) if state.standing != "loaded"]:
            say("")
            rows = [
                (state.machine, state.user, state.standing, ", ".join(rule.name for rule in state.broken))
                for state in shown[:MANY]
            ]
            table(("Machine", "User", "Standing", "Rules"), rows)
        if len(shown) > MANY:
            place = "outlook.csv has all of them" if written else "-o FOLDER writes all of them"
            say(f"and {len(shown) - MANY:,} more: {place}")
        if silent := report.silent(found, now):
            say("", f"{silent:,} have told nothing for {report.OLD_DAYS} days.")
        say(*(f"written: {path}" for path in written))
    complain(*(f"not used: {name}: {why}" for name, why in list(found.refused.items())[:MANY]))
    bad = counts["not loaded"] + counts["not installed"]
    return 3 if bad or found.refused else 0


COMMAND = Command("report", _HELP, _report, _ARGUMENTS)
