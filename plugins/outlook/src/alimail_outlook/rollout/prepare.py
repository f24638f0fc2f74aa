"""``alimail outlook rollout``: the files for one way to bring the plug-in to many machines, in a folder."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from alimail_core import Fault, InputError
from alimail_core.commands import printable, unfit
from alimail_core.powershell import file_octets
from alimail_outlook.rollout import policy
from alimail_outlook.rollout.readme import Method, readme
from alimail_outlook.rollout.scripts import Wishes, all_scripts

METHODS: Final[tuple[Method, ...]] = ("gpo", "intune", "script")
LARGEST: Final = 1024 * 1024 * 1024
"""Of an installer, in octets."""

_PROGID: Final = re.compile(r"[\w.-]{1,128}", re.ASCII)
_NAME: Final = re.compile(r"[^\\/:*?\"<>|\x00-\x1f]{1,200}")
"""What Windows takes as a file's name."""
_POWERSHELL: Final = "powershell.exe -NoProfile -ExecutionPolicy Bypass -File"


def wishes(
    installer: Path,
    progid: str,
    *,
    signer: str = "",
    arguments: str = "/S",
    uninstall_arguments: str = "/S",
    collect: str = "",
    per_user: bool = False,
) -> Wishes:
    """Judge what was asked for. Raises ``InputError`` with every fault."""
    faults = [*_progid(progid), *_collect(collect)]
    for option, text in [
        ("--signer", signer),
        ("--silent-args", arguments),
        ("--uninstall-args", uninstall_arguments),
    ]:
        if text and (fault := unfit(text, 1_000)):
            faults.append(Fault(option, f"it {fault}"))
    found = ""
    if not _NAME.fullmatch(installer.name):
        faults.append(Fault("--exe", "no installer is named", "give the file that `download` brought"))
    else:
        try:
            found = _sha256(installer)
        except OSError as error:
            faults.append(Fault("--exe", f"{printable(str(installer))} cannot be read: {error.strerror}"))
        except ValueError as error:
            faults.append(Fault("--exe", f"{printable(str(installer))} {error}"))
    if faults:
        raise InputError("what is asked for cannot be prepared", faults)
    return Wishes(
        progid,
        installer.name,
        found,
        signer,
        arguments,
        uninstall_arguments,
        collect,
        per_user,
    )


def files(wished: Wishes, method: Method) -> dict[str, bytes]:
    """Return every file but the installer by its path. The same wishes give the same octets."""
    made = {name: file_octets(lines) for name, lines in all_scripts(wished).items()}
    if method == "gpo":
        made |= {"startup.cmd": _cmd("install.ps1"), "logon.cmd": _cmd("collect.ps1")}
        made |= {f"policy/{name}": octets for name, octets in policy.files(wished.progid).items()}
    elif method == "intune":
        app = json.dumps(intune_app(wished, made["detect.ps1"]), indent=2)
        made["intune.json"] = app.encode() + b"\n"
    if method != "gpo":
        made["keep-on.reg"] = policy.registry_file(wished.progid)
    return made | {
        "README.md": file_octets(readme(wished, method, "en")),
        "README.zh.md": file_octets(readme(wished, method, "zh")),
    }


def write(wished: Wishes, method: Method, installer: Path, folder: Path) -> list[str]:
    """Write the files and a copy of the installer into a folder; return the names of those that are new.

    Raises ``InputError`` before anything is written where a file is there with other octets: it may be in use.
    """
    made = files(wished, method)
    try:
        other = [name for name, octets in made.items() if _differs(folder / name, octets)]
        copy = folder / wished.installer
        if copy.exists() and _sha256(copy) != wished.sha256:
            other.append(wished.installer)
        if other:
            raise InputError(
                f"{printable(str(folder))} has other files in it: {', '.join(map(printable, other))}",
                remedy="Give a folder of its own to each version and each method.",
            )
        missing = [name for name in made if not (folder / name).exists()]
        for name in missing:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(made[name])
        if not copy.exists():
            shutil.copyfile(installer, copy)
            missing.append(wished.installer)
    except OSError as error:
        place = printable(str(error.filename or folder))
        raise InputError(f"{place} cannot be written: {error.strerror}") from None
    return missing


def intune_app(wished: Wishes, detect: bytes) -> Mapping[str, Any]:
    """Return what Intune is told of a Win32 app, by the names that Microsoft Graph has (``win32LobApp``)."""
    return {
        "@odata.type": "#microsoft.graph.win32LobApp",
        "displayName": "Alibaba Mail for Outlook",
        "publisher": wished.signer or "Alibaba",
        "setupFilePath": "install.ps1",
        "installCommandLine": f"{_POWERSHELL} install.ps1",
        "uninstallCommandLine": f"{_POWERSHELL} uninstall.ps1",
        "installExperience": {
            "runAsAccount": "user" if wished.per_user else "system",
            "deviceRestartBehavior": "basedOnReturnCode",
        },
        "detectionRules": [
            {
                "@odata.type": "#microsoft.graph.win32LobAppPowerShellScriptDetection",
                "enforceSignatureCheck": False,
                "runAs32Bit": False,
                "scriptContent": base64.b64encode(detect).decode(),
            }
        ],
        "returnCodes": [
            {"returnCode": 0, "type": "success"},
            {"returnCode": 3010, "type": "softReboot"},
            {"returnCode": 1641, "type": "hardReboot"},
            {"returnCode": 1618, "type": "retry"},
        ],
    }


def _cmd(script: str) -> bytes:
    """Return a batch file that runs a script beside it, whatever the execution policy; ASCII alone."""
    return f'@echo off\r\n{_POWERSHELL} "%~dp0{script}"\r\n'.encode("ascii")


def _differs(path: Path, octets: bytes) -> bool:
    return path.exists() and path.read_bytes() != octets


def _sha256(path: Path) -> str:
    """Return a file's digest. Raises ``OSError``, and ``ValueError`` where it is no installer by its size."""
    size = path.stat().st_size
    if not 0 < size <= LARGEST:
        raise ValueError("is empty" if not size else "has more than 1 GiB")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _progid(progid: str) -> Iterator[Fault]:
    if not progid:
        remedy = "`alimail outlook install` on one machine finds it; regedit shows it under Outlook\\Addins"
        yield Fault("--progid", "the add-in's ProgID is not known", remedy)
    elif not _PROGID.fullmatch(progid):
        remedy = "it is the name of its key under Outlook\\Addins, such as Maker.Product"
        yield Fault("--progid", f"{printable(progid[:60])} is no ProgID", remedy)


def _collect(collect: str) -> Iterator[Fault]:
    if collect and (fault := unfit(collect, 240)):
        yield Fault("--collect", f"it {fault}")
    elif set("*?[]") & set(collect):
        yield Fault("--collect", "PowerShell takes * ? [ ] for a pattern", "choose a folder without them")
