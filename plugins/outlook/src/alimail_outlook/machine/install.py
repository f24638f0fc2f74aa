"""Run an installer that is trusted, see what it registered, and undo what a failed one left."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath
from typing import Final

from attrs import field, frozen

from alimail_core import AlimailError, Clock
from alimail_outlook import rules
from alimail_outlook.machine.looking import addins, look, preferred
from alimail_outlook.machine.program import Kind, Program
from alimail_outlook.machine.regfile import Tree
from alimail_outlook.machine.windows import Ended, Windows

SILENT: Final[dict[Kind, str]] = {
    "nsis": "/S",
    "inno": "/VERYSILENT /SUPPRESSMSGBOXES /NORESTART /SP-",
    "burn": "/quiet /norestart",
    "msi in exe": "/quiet /norestart",
    "msi": "/qn /norestart",
}
"""What each kind of installer takes, so that it asks nothing."""

RESTART: Final = {3010: "it asks for a restart", 1641: "it has begun a restart"}
"""Exit codes of Windows Installer, which others use too: done, and complete after a restart."""

_ELEVATION: Final = 740
"""Windows' error for a program that wants an administrator, and is begun by none."""
_FOR_ADMINISTRATORS: Final = 1925
_REASONS: Final = {
    1602: "somebody cancelled it",
    1603: "Windows Installer met a fatal error",
    1618: "another installation is under way",
    1625: "a policy forbids it",
    1633: "it is for another kind of processor",
    1638: "another version of it is installed already",
    _FOR_ADMINISTRATORS: "it wants an administrator",
}
"""What the exit codes of Windows Installer say."""

_TREES: Final = (*rules.ADDINS, *rules.UNINSTALL, rules.REMEMBERED)
_UNINSTALL_SECONDS: Final = 300.0
_GOES_ON: Final = 15.0
"""Seconds for what an installer has left to another program."""
_LOOK_AGAIN: Final = 0.5
"""Seconds between two looks for what was done: NSIS's uninstaller goes on after its first process has ended."""


class InstallFailed(AlimailError):
    """The installer or uninstaller did not do what it is for."""


@frozen
class Installed:
    """What an installation did."""

    progid: str
    version: str
    code: int
    places: tuple[str, ...] = field(factory=tuple)

    @property
    def restart(self) -> str:
        """What it says of a restart; empty where it wants none."""
        return RESTART.get(self.code, "")


def silent_arguments(program: Program, given: str) -> str:
    """Return how to run it without questions. Raises ``InstallFailed`` for a kind that is not known."""
    if given.strip():
        return given.strip()
    if program.kind not in SILENT:
        raise InstallFailed(
            f"{program.name} is no installer of NSIS, Inno Setup or Windows Installer",
            remedy="Ask its maker how to run it without questions, and say so: --silent-args='/quiet'.",
        )
    return SILENT[program.kind]


def refuse_while_running(windows: Windows) -> None:
    """Raise ``InstallFailed`` where Outlook runs: nothing of the user's is closed."""
    if windows.is_running("OUTLOOK.EXE"):
        raise InstallFailed(
            "Outlook is running", remedy="Save your work, close Outlook, and run the command again."
        )


def install(
    windows: Windows, program: Program, arguments: str, seconds: float, clock: Clock, log: list[str]
) -> Installed:
    """Install; remember what was registered. ``program.path`` must be a copy that nobody else can write.

    Lines are added to ``log``. Raises ``InstallFailed`` after undoing what it can.
    """
    before = windows.read(_TREES)
    ended = _run(windows, program, arguments, seconds)
    log.append(f"exit code {ended.code}")
    log.extend(ended.said.splitlines())
    done = ended.code == 0 or ended.code in RESTART
    after = _settled(windows, before, program, clock) if done else windows.read(_TREES)
    log.extend(f"registered: {key}" for key in _new(before, after))
    if not done:
        undone = _undo(windows, before, after, program, clock, log)
        raise InstallFailed(f"{_how(ended, seconds)}; {undone}", remedy=_remedy(ended))
    progid = _registered(before, after, program)
    if not progid:
        there = ", ".join(sorted(addins(after)))
        raise InstallFailed(
            "the installer ended well, and registered no add-in for Outlook"
            + (f" besides those that were there: {there}" if there else ""),
            remedy="Is it the plug-in's installer, for this user? Its own uninstaller takes it away: `Apps` in "
            "Windows' settings."
            + (" If it is one of those: `alimail outlook verify --progid NAME`." if there else ""),
        )
    return _remember(windows, before, after, progid, program, ended.code or 0)


def _settled(windows: Windows, before: Tree, program: Program, clock: Clock) -> Tree:
    """Return the registry once the add-in is in it: some installers end, and leave the work to another program."""
    end = clock.monotonic() + _GOES_ON
    while True:
        after = windows.read(_TREES)
        if _registered(before, after, program) or clock.monotonic() > end:
            return after
        clock.sleep(_LOOK_AGAIN)


def refuse_unfit(windows: Windows, program: Program) -> None:
    """Raise ``InstallFailed`` where programs of its bitness do not run: Wine would end as if all were well."""
    if not windows.runs(program.bits):
        raise InstallFailed(
            f"{program.name} is a program of {program.bits} bits, and {windows.name} runs none",
            remedy="dpkg --add-architecture i386 && apt update && apt install wine32:i386; then let WINEPREFIX lead "
            "to a new folder."
            if program.bits == 32
            else "Let WINEPREFIX lead to a new folder: this one was made for 32 bits.",
        )


def _run(windows: Windows, program: Program, arguments: str, seconds: float) -> Ended:
    path = windows.to_windows(program.path)
    command = ["msiexec.exe", "/i", str(path)] if program.kind == "msi" else [str(path)]
    return windows.run_for_code(command, seconds, arguments)


def _how(ended: Ended, seconds: float) -> str:
    if ended.code is None:
        return f"the installer took longer than {seconds:g} seconds and was ended"
    if ended.fault:
        return f"the installer cannot be run: {ended.said}"
    reason = _REASONS.get(ended.code, "")
    return f"the installer ended with {ended.code}" + (f" ({reason})" if reason else "")


def _remedy(ended: Ended) -> str:
    if ended.code is None:
        return "Did it wait for somebody? Say by --silent-args what makes it ask nothing; or give it a --time-limit."
    if ended.fault == _ELEVATION or ended.code == _FOR_ADMINISTRATORS:
        return "Open the terminal with `Run as administrator`, and run the command again."
    return "Its log tells more, where it writes one."


def _new(before: Tree, after: Tree) -> list[str]:
    return [written for key, (written, _) in after.keys.items() if key not in before.keys]


def _registered(before: Tree, after: Tree, program: Program) -> str:
    """Return the add-in that was added; where it was there already, the one that changed or must be meant.

    Empty where there is none: an add-in that was there before is not taken for this installer's by being alone.
    """
    known, now = addins(before), addins(after)
    new = [name for name in now if name not in known]
    places = [(place, name) for place in rules.ADDINS for name in now]
    changed = [
        name
        for place, name in places
        if after.values(rf"{place}\{name}") != before.values(rf"{place}\{name}")
    ]
    remembered = after.text(rules.REMEMBERED, "ProgID")
    again = after.text(rules.REMEMBERED, "Installer") == program.digest or _entry(before, after)
    if not (new or changed) and again and remembered in now:
        return remembered
    return next(iter([*preferred(after, new or changed), *preferred(after, list(now), only=True)]), "")


def _remember(
    windows: Windows, before: Tree, after: Tree, progid: str, program: Program, code: int
) -> Installed:
    sight = look(windows, progid)
    entry = _entry(before, after) or find_entry(after, sight.addin.dll, sight.addin.title)
    version = (after.text(entry, "DisplayVersion") if entry else "") or program.version
    notes = {
        "ProgID": progid,
        "Version": version,
        "Signer": "" if program.signature.problem else program.signature.signer,
        "Installer": program.digest,
        "Uninstall": entry,
        "DLL": sight.addin.dll or _only_dll(windows, after, entry),
    }
    for name, text in notes.items():
        windows.set_value(rules.REMEMBERED, name, text)
    return Installed(progid, version, code, sight.addin.places)


def _entry(before: Tree, after: Tree) -> str:
    """Return the key of what was added to the programs that can be uninstalled, or changed there; empty for none."""
    entries = _entries(after)
    new = [key for key in entries if key not in before]
    changed = [key for key in entries if key in before and after.values(key) != before.values(key)]
    return next(iter([*new, *changed]), "")


def _only_dll(windows: Windows, tree: Tree, entry: str) -> str:
    """Return the one DLL in the folder of what was installed; empty where it is not one."""
    if not entry:
        return ""
    folder = tree.text(entry, "InstallLocation").strip('"')
    if not folder and (words := uninstall_words(tree, entry)):
        folder = str(PureWindowsPath(words[0]).parent)
    path = windows.to_path(folder) if folder else Path()
    found = [each for each in path.glob("*") if each.suffix.lower() == ".dll"] if folder else []
    return str(PureWindowsPath(folder, found[0].name)) if len(found) == 1 else ""


def _undo(windows: Windows, before: Tree, after: Tree, program: Program, clock: Clock, log: list[str]) -> str:
    """Take away what was added; return a sentence of what was done."""
    added = Tree({lower: key for lower, key in after.keys.items() if lower not in before.keys})
    if not added.keys:
        return "it had registered nothing"
    entry = _own_entry(windows, added, program)
    if entry and (words := uninstall_words(after, entry)):
        ended = windows.run_for_code(words, _UNINSTALL_SECONDS)
        log.append(f"undo: {subprocess.list2cmdline(words)}: exit code {ended.code}")
        _gone(windows, [entry], clock)
    left = windows.read(_TREES)
    for key, _ in added.keys.values():
        if key in left and (key == entry or key.rpartition("\\")[0] in rules.ADDINS):
            windows.delete_key(key)
            log.append(f"undo: deleted {key}")
    others = [key for key in _entries(added) if key != entry and key in left]
    if not others:
        return "what it had registered was taken away again"
    names = ", ".join(after.text(key, "DisplayName") or key.rpartition("\\")[2] for key in others)
    return f"of what was installed meanwhile this was left, since it may be another's: {names}"


def _own_entry(windows: Windows, added: Tree, program: Program) -> str:
    """Return which of the entries added to the programs' list is this installer's; empty for none.

    Windows installs other programs whenever it likes, and theirs are not to be uninstalled.
    """
    for name, title in addins(added).items():
        if entry := find_entry(added, look(windows, name).addin.dll, title):
            return entry
    product = program.product.casefold()
    named = [
        key for key in _entries(added) if product and product in added.text(key, "DisplayName").casefold()
    ]
    return named[0] if len(named) == 1 else ""


def _entries(tree: Tree) -> list[str]:
    return [rf"{root}\{name}" for root in rules.UNINSTALL for name in tree.children(root)]


# Uninstalling


def uninstall_words(tree: Tree, entry: str) -> list[str]:
    """Return the command that uninstalls without questions; empty where none is registered."""
    quiet, plain = tree.text(entry, "QuietUninstallString"), tree.text(entry, "UninstallString")
    if quiet:
        return _split(quiet)
    words = _split(plain)
    if not words:
        return []
    name = PureWindowsPath(words[0]).name.lower()
    if name.startswith("msiexec"):
        product = re.search(r"\{[0-9A-Fa-f-]+\}", plain)
        return ["msiexec.exe", "/X", product[0], "/qn", "/norestart"] if product else []
    inno = re.fullmatch(r"unins\d+\.exe", name)
    return [*words, *(("/VERYSILENT", "/SUPPRESSMSGBOXES", "/NORESTART") if inno else ("/S",))]


def _split(command: str) -> list[str]:
    """Split a command as Windows does: quotes, or up to ``.exe`` where a path with blanks has none."""
    match = re.match(r'\s*(?:"([^"]+)"|(.+?\.exe)(?=\s|$)|(\S+))\s*(.*)', command, re.IGNORECASE)
    if not match:
        return []
    rest = re.findall(r'"([^"]*)"|(\S+)', match[4])
    return [match[1] or match[2] or match[3], *(quoted or plain for quoted, plain in rest)]


def find_entry(tree: Tree, dll: str, title: str) -> str:
    """Return the key of the programs' list that belongs to an add-in: the one remembered, by its folder or title."""
    remembered = tree.text(rules.REMEMBERED, "Uninstall")
    if remembered and remembered in tree:
        return remembered
    entries = _entries(tree)
    folder = str(PureWindowsPath(dll).parent).lower() if dll else ""
    for entry in entries:
        words = _split(tree.text(entry, "UninstallString"))
        home = tree.text(entry, "InstallLocation").strip('"\\') or (
            str(PureWindowsPath(words[0]).parent) if words else ""
        )
        if len(home) > 3 and f"{folder}\\".startswith(f"{home.lower()}\\"):
            return entry
    named = [entry for entry in entries if title and title.lower() in tree.text(entry, "DisplayName").lower()]
    return named[0] if len(named) == 1 else ""


def uninstall(windows: Windows, progid: str, clock: Clock, log: list[str]) -> str:
    """Uninstall by the add-in's own uninstaller, and see that it is gone; return the ProgID.

    Raises ``InstallFailed``.
    """
    sight = look(windows, progid)
    addin = sight.addin
    if not addin.places:
        raise InstallFailed(
            "no such plug-in is registered with Outlook", remedy="`alimail outlook verify` tells more."
        )
    entry = find_entry(sight.tree, addin.dll, addin.title)
    words = uninstall_words(sight.tree, entry) if entry else []
    if not words:
        raise InstallFailed(
            f"no uninstaller is registered for {addin.progid}",
            remedy="Install it anew, then uninstall; or take it off in `Apps` of Windows' settings.",
        )
    ended = windows.run_for_code(words, _UNINSTALL_SECONDS)
    log.append(f"{subprocess.list2cmdline(words)}: exit code {ended.code}")
    if ended.code not in (0, *RESTART):
        raise InstallFailed(
            f"the uninstaller ended with {ended.code}", remedy="Run it by hand, and see what it says."
        )
    # Outlook keeps a key of its own with nothing but LoadBehavior in it for what is registered for all users.
    noted = [
        key for key in addin.places if {value.name for value in sight.tree.values(key)} <= {"LoadBehavior"}
    ]
    registered = [key for key in addin.places if key not in noted] or list(addin.places)
    if not _gone(windows, registered, clock):
        raise InstallFailed(
            f"the uninstaller ended, and {registered[0]} is still there",
            remedy="Restart, then look again: `verify`.",
        )
    left = windows.read([*addin.places, rules.REMEMBERED])
    for key in [*addin.places, rules.REMEMBERED]:
        if key in left:
            windows.delete_key(key)
    return addin.progid


def _gone(windows: Windows, keys: Sequence[str], clock: Clock) -> bool:
    end = clock.monotonic() + _UNINSTALL_SECONDS / 5
    while True:
        left = windows.read(keys)
        if not any(key in left for key in keys):
            return True
        if clock.monotonic() > end:
            return False
        clock.sleep(_LOOK_AGAIN)
