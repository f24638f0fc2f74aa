"""The verbs of one machine: they parse, call and draw."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from alimail_core import Argument, Command
from alimail_outlook.machine import helps

if TYPE_CHECKING:
    from alimail_outlook.machine.looking import Finding, Sight
    from alimail_outlook.machine.program import Program
    from alimail_outlook.machine.repair import Step

_SIGNER = Argument(
    "--signer",
    "Who must have signed it: the whole common name or organisation, or the certificate's SHA-256.",
    default="",
)
_SHA256 = Argument("--sha256", "The SHA-256 that the file must have, hexadecimal.", default="")
_PROGID = Argument("--progid", "The add-in's name in the registry, where it cannot be found out.", default="")
_YES = Argument("--yes", "Do not ask.", flag=True, short="-y")
_JSON = Argument("--json", "Write one JSON document, for programs; its keys are told above.", flag=True)


def _download(arguments: dict[str, Any]) -> int:
    import os

    from alimail_core import Clock, InputError
    from alimail_outlook.machine.download import fetch, name_of, plain
    from alimail_outlook.machine.program import read_program
    from alimail_outlook.machine.trust import Untrusted, hold, unlikely

    signer, sha256 = arguments["--signer"].strip(), arguments["--sha256"].strip()
    if faults := list(unlikely(sha256)):
        raise InputError("nothing was downloaded", faults)
    url = plain(arguments["--url"])
    target = Path(arguments["--output"] or name_of(url))
    target = target / name_of(url) if target.is_dir() else target
    if target.exists():
        raise InputError(f"{target} is there already", remedy="Move it away, or name another file by -o.")
    if not os.access(target.parent, os.W_OK):
        raise InputError(f"{target} cannot be written: the folder is not there, or not yours")
    fetched = fetch(url, target, _progress())
    try:
        program = read_program(fetched.path, Clock().now(), target.name)
        known = hold(program, signer, sha256)
    except (InputError, Untrusted):
        fetched.path.unlink()  # not what was asked for: nobody shall find and run it
        raise
    fetched.path.replace(target)
    _show_program(program, target, fetched.url, known, arguments["--json"])
    return 0


def _progress() -> Any:
    import sys

    from alimail_core.commands import complain

    shown = -1

    def progress(octets: int, whole: int | None) -> None:
        nonlocal shown
        tenth = octets * 10 // whole if whole else octets >> 24
        if tenth > shown and sys.stderr.isatty():
            complain(f"{octets >> 10:,} KiB" + (f" of {whole >> 10:,}" if whole else ""))
            shown = tenth

    return progress


def _show_program(program: Program, path: Path, url: str, known: list[str], as_json: bool) -> None:
    from alimail_core.commands import say, table, write_json

    signature = program.signature
    built = program.built.date().isoformat() if program.built else ""
    facts = {
        "file": str(path),
        "url": url,
        "octets": program.octets,
        "sha256": program.digest,
        "kind": program.kind,
        "product": program.product,
        "version": program.version,
        "built": built,
        "signer": signature.signer if signature.names else "",
        "certificate": signature.thumbprint,
        "certificate_expires": signature.expires.date().isoformat() if signature.expires else "",
        "signature_problem": signature.problem or signature.outdated,
        "verified": known,
    }
    if as_json:
        write_json(facts)
        return
    table(
        ("What", "Found"), [(name, str(text)) for name, text in facts.items() if text and name != "verified"]
    )
    if url.startswith("http:"):
        say("", "It came without encryption: anybody on the way could have changed it. Its signature tells.")
    say(
        "",
        *(
            known
            or ["Nothing was compared. Give `install` the signer or the digest that you know to be right."]
        ),
    )


def _install(arguments: dict[str, Any]) -> int:
    import re
    import shutil

    from alimail_core import AlimailError, Clock, Fault, InputError
    from alimail_core.commands import say
    from alimail_outlook.machine import install
    from alimail_outlook.machine.program import read_program
    from alimail_outlook.machine.trust import hold, unlikely
    from alimail_outlook.machine.windows import Windows

    path, clock = Path(arguments["--exe"]), Clock()
    signer, sha256 = arguments["--signer"].strip(), arguments["--sha256"].strip()
    faults = list(unlikely(sha256))
    if not (signer or sha256):
        faults.append(Fault("--signer", "nothing says which installer is the right one", _ONE_OF))
    try:
        seconds = float(arguments["--time-limit"])
        if not 0 < seconds <= 86400:
            raise ValueError
    except ValueError:
        faults.append(Fault("--time-limit", "it is no number of seconds of a day"))
    if not path.is_file():
        there = f"there is no file {path}" if arguments["--exe"] else "no installer is named"
        faults.append(Fault("--exe", there, "`alimail outlook download` gets one."))
    if faults:
        raise InputError("nothing was installed", faults)
    read_program(path, clock.now())  # what is no program is named by the name that was given
    windows = Windows.find()
    log = [f"installer {path}, on {windows.name}"]
    with windows.scratch() as folder:
        # A copy that nobody else can change, so that what is run is what was looked at.
        harmless = re.sub(r"[^A-Za-z0-9._-]", "_", path.name)
        copy = Path(shutil.copyfile(path, folder / harmless))
        program = read_program(copy, clock.now(), path.name)
        try:
            known = hold(program, signer, sha256)
            log += [
                f"{program.kind}, version {program.version or 'unknown'}, SHA-256 {program.digest}",
                *known,
            ]
            silently = install.silent_arguments(program, arguments["--silent-args"])
            install.refuse_unfit(windows, program)
            install.refuse_while_running(windows)
            done = install.install(windows, program, silently, seconds, clock, log)
        except AlimailError as error:
            log.append(f"failed: {error}")
            raise
        finally:
            _keep_log(arguments["--log"], "install", log)
    say(*known, f"installed: {done.progid} {done.version}".rstrip())
    say(*(f"  {place}" for place in done.places))
    if done.restart:
        say(f"{done.restart}: restart Windows, then `alimail outlook verify`.")
        return 3
    say("Start Outlook, then `alimail outlook verify`.")
    return 0


_ONE_OF = (
    "Give --signer NAME (`alimail outlook download` shows it), or --sha256 HEX from a source that you trust."
)


def _keep_log(wish: str, verb: str, lines: list[str]) -> None:
    from platformdirs import user_log_path

    from alimail_core.commands import complain, printable, written_whole

    path = Path(wish) if wish else user_log_path("alimail", appauthor=False) / f"outlook-{verb}.log"
    try:
        with written_whole(path) as file:
            file.writelines(f"{printable(line)}\n" for line in lines)
    except OSError as error:
        complain(f"the log could not be written to {path}: {error.strerror}")
    else:
        complain(f"log: {path}")


def _verify(arguments: dict[str, Any]) -> int:
    from alimail_outlook.machine.looking import look
    from alimail_outlook.machine.windows import Windows

    sight = look(Windows.find(), arguments["--progid"])
    return _tell(sight, _findings(sight), arguments["--json"])


def _findings(sight: Sight) -> list[Finding]:
    from alimail_core import Clock
    from alimail_outlook.machine.looking import findings

    return list(findings(sight, Clock().now()))


def _tell(sight: Sight, found: list[Finding], as_json: bool) -> int:
    from alimail_core.commands import say, table, write_json

    faults = [each for each in found if each.level == "fault"]
    if as_json:
        write_json(
            {
                "on": sight.windows.name,
                "progid": sight.addin.progid,
                "version": sight.remembered.get("Version", ""),
                "places": list(sight.addin.places),
                "dll": sight.addin.dll,
                "findings": [
                    {
                        "rule": each.rule.name,
                        "title": each.rule.title,
                        "level": each.level,
                        "found": each.found,
                        "remedy": each.remedy,
                    }
                    for each in found
                ],
            }
        )
    else:
        name = f"{sight.addin.progid or 'no add-in'} {sight.remembered.get('Version', '')}".rstrip()
        say(f"{name} on {sight.windows.name}", "")
        marks = {"fault": "FAULT"}
        table(
            ("Rule", "Result", "What was found"),
            [(each.rule.title, marks.get(each.level, each.level), each.found) for each in found],
        )
        for each in found:
            if each.remedy:
                say("", f"{each.rule.title}: {each.found}", f"  -> {each.remedy}")
        say("", f"in the way: {len(faults)}" if faults else "nothing is in the way")
    return 3 if faults else 0


def _repair(arguments: dict[str, Any]) -> int:
    from alimail_core import AlimailError
    from alimail_core.commands import complain, say
    from alimail_outlook.machine import repair
    from alimail_outlook.machine.install import refuse_while_running
    from alimail_outlook.machine.looking import look
    from alimail_outlook.machine.windows import Windows

    windows = Windows.find()
    sight = look(windows, arguments["--progid"])
    refuse_while_running(windows)  # Outlook writes what it knows over it when it ends
    for step in repair.steps(sight, _findings(sight)):
        if not _agreed(step, yes=arguments["--yes"]):
            say(f"left: {step.text}")
            continue
        try:
            step.do()
            say(f"done: {step.text}")
        except AlimailError as error:
            complain(f"not done: {step.text}: {error}", f"  -> {error.remedy}")
    say("")
    sight = look(windows, arguments["--progid"] or sight.addin.progid)
    return _tell(sight, _findings(sight), as_json=False)


def _agreed(step: Step, *, yes: bool) -> bool:
    import sys

    from alimail_core import InputError
    from alimail_core.commands import printable

    if yes:
        return True
    if not sys.stdin.isatty():
        raise InputError(
            "nobody can be asked here", remedy="Say --yes to do all that `verify` finds to repair."
        )
    return input(f"{printable(step.text)}? [y/N] ").strip().lower() in ("y", "yes")


def _uninstall(arguments: dict[str, Any]) -> int:
    from alimail_core import AlimailError, Clock
    from alimail_core.commands import say
    from alimail_outlook.machine import install
    from alimail_outlook.machine.windows import Windows

    windows = Windows.find()
    install.refuse_while_running(windows)
    log = [f"uninstall, on {windows.name}"]
    try:
        progid = install.uninstall(windows, arguments["--progid"], Clock(), log)
    except AlimailError as error:
        log.append(f"failed: {error}")
        raise
    finally:
        _keep_log(arguments["--log"], "uninstall", log)
    say(f"uninstalled: {progid}")
    return 0


_LOG = Argument("--log", "Where to write what was done; by default in the user's folder of logs.", default="")


def commands() -> list[Command]:
    """Return them in the order in which they are used."""
    return [
        Command(
            "download",
            helps.DOWNLOAD,
            _download,
            (
                Argument("--url", "Where the installer is.", default=helps.URL),
                Argument(
                    "--output", "The file to write; by default named as the URL ends.", default="", short="-o"
                ),
                _SIGNER,
                _SHA256,
                _JSON,
            ),
        ),
        Command(
            "install",
            helps.INSTALL,
            _install,
            (
                Argument("--exe", "The installer.", default=""),
                _SIGNER,
                _SHA256,
                Argument(
                    "--silent-args",
                    "What makes it ask nothing, where its kind is not known or that is not enough.",
                    default="",
                ),
                Argument("--time-limit", "Seconds after which it is ended.", default="600"),
                _LOG,
            ),
        ),
        Command("verify", helps.VERIFY, _verify, (_PROGID, _JSON)),
        Command("repair", helps.REPAIR, _repair, (_PROGID, _YES)),
        Command("uninstall", helps.UNINSTALL, _uninstall, (_PROGID, _LOG)),
    ]
