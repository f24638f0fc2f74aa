"""A Windows machine as PowerShell shows it, for the commands that the scripts of a roll-out call."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from attrs import define, field

from tests.powershell import Cmdlet, Exited, Shell, Stopped, text

Given = dict[str, Any]
Datum = str | int | bytes

_HIVES: Final = {"hkcu": "hkey_current_user", "hklm": "hkey_local_machine", "hkcr": "hkey_classes_root"}


@define
class Key:
    """One key, as ``Get-Item`` gives it."""

    values: dict[str, Datum]

    def GetValueNames(self) -> list[str]:
        return list(self.values)

    def GetValue(self, name: str) -> Datum:
        return self.values[name]

    def GetValueKind(self, name: str) -> str:
        kinds = {bytes: "Binary", int: "DWord", str: "String"}
        return kinds[type(self.values[name])]


@define
class Certificate:
    """Who signed a file."""

    name: str

    def GetNameInfo(self, kind: str, issuer: bool) -> str:
        assert (kind, issuer) == ("SimpleName", False)
        return self.name


@define
class Process:
    """A program that was started; ``ExitCode`` is None while it runs."""

    ExitCode: int | None
    Handle: int = 1
    killed: bool = False

    def WaitForExit(self, milliseconds: int) -> bool:
        assert milliseconds == 600_000
        return self.ExitCode is not None

    def Kill(self) -> None:
        self.killed = True


@define
class Machine:
    """What the scripts look at and change."""

    registry: dict[str, dict[str, Datum]] = field(factory=dict)
    """By key, in small letters and with its hive whole; each with its values by name."""
    signer: str = ""
    """Who signed the installer; empty: nobody."""
    files: dict[str, bytes] = field(factory=dict)
    """Those of Windows itself, by their paths."""
    signed: set[str] = field(factory=set)
    """Which of these Windows takes as signed."""
    programs: dict[str, Callable[[str], int | None]] = field(factory=dict)
    """What can be run, by the file's name: it gets its arguments as one line and returns its exit code."""
    ran: list[str] = field(factory=list)
    processes: list[Process] = field(factory=list)
    said: list[str] = field(factory=list)

    def put(self, key: str, name: str, datum: Datum) -> None:
        """Set a value of a key that is written as ``reg.exe`` takes it."""
        self.registry.setdefault(_whole(key), {})[name] = datum

    def take(self, key: str) -> None:
        """Remove a key and all beneath it."""
        whole = _whole(key)
        for each in [each for each in self.registry if each == whole or each.startswith(whole + "\\")]:
            del self.registry[each]

    def run(self, script: Path) -> int:
        """Run a script; return its exit code."""
        shell = Shell(self._commands())
        try:
            shell.run(script)
        except Exited as ended:
            return ended.code
        finally:
            self.said = shell.said
        raise AssertionError("every script ends with a code of its own")

    def _commands(self) -> dict[str, Cmdlet]:
        return {
            "ConvertTo-Json": lambda _, given, flowing: json.dumps(given["*"][0]),
            "Get-AuthenticodeSignature": lambda _, given, flowing: {
                "Status": "Valid" if self.signer or given["LiteralPath"] in self.signed else "NotSigned",
                "SignerCertificate": Certificate(self.signer),
            },
            "Get-ChildItem": self._children,
            "Get-FileHash": lambda _, given, flowing: {
                "Hash": hashlib.sha256(Path(given["LiteralPath"]).read_bytes()).hexdigest().upper()
            },
            "Get-Item": lambda _, given, flowing: Key(self._values(given)),
            "Get-ItemProperty": lambda _, given, flowing: {
                name or "(default)": datum for name, datum in self._values(given).items()
            },
            "Join-Path": lambda _, given, flowing: os.path.join(*given["*"]),
            "Move-Item": lambda _, given, flowing: os.replace(given["LiteralPath"], given["Destination"]),
            "New-Item": lambda _, given, flowing: self.registry.setdefault(_key(given["Path"]), {}),
            "ReadAllBytes": lambda _, given, flowing: self.files[given["*"][0]],
            "Remove-Item": lambda _, given, flowing: self.registry.pop(_key(given["LiteralPath"])) and None,
            "Set-Content": _set_content,
            "Set-ItemProperty": lambda _, given, flowing: self._set(given),
            "Split-Path": lambda _, given, flowing: os.path.dirname(given["Parent"]),
            "Start-Process": lambda _, given, flowing: self._start(given),
            "Start-Sleep": lambda *_: None,
            "Test-Path": lambda _, given, flowing: self._is_there(given["LiteralPath"]),
            "Write-Host": _say,
        }

    def _values(self, given: Given) -> dict[str, Datum]:
        key = _key(given["LiteralPath"])
        if not self._is_there(given["LiteralPath"]):
            raise Stopped(f"{key} is not there")
        return self.registry.get(key, {})

    def _is_there(self, path: str) -> bool:
        if not path.startswith("Registry::"):
            return path in self.files or os.path.exists(path)
        key = _key(path)
        return any(each == key or each.startswith(key + "\\") for each in self.registry)

    def _children(self, _: Shell, given: Given, flowing: list[Any]) -> list[dict[str, str]]:
        start = _key(given["LiteralPath"]) + "\\"
        names = {key[len(start) :] for key in self.registry if key.startswith(start)}
        if not given.get("Recurse"):
            names = {name.partition("\\")[0] for name in names}
        return [{"PSPath": f"Registry::{start}{name}"} for name in sorted(names)]

    def _set(self, given: Given) -> None:
        self.registry[_key(given["LiteralPath"])][given["Name"]] = given["Value"]

    def _start(self, given: Given) -> Process:
        arguments = given.get("ArgumentList", "")
        name = given["FilePath"].replace("\\", "/").rpartition("/")[2]
        self.ran.append(f"{name} {arguments}".strip())
        self.processes.append(Process(self.programs[name](arguments)))
        return self.processes[-1]


def _whole(key: str) -> str:
    hive, _, rest = key.lower().partition("\\")
    return f"{_HIVES[hive]}\\{rest}"


def _key(path: str) -> str:
    assert path.startswith("Registry::"), path
    return path.removeprefix("Registry::").lower()


def _set_content(_: Shell, given: Given, flowing: list[Any]) -> None:
    assert given["Encoding"] == "UTF8"
    Path(given["LiteralPath"]).write_text(f"{given['Value']}\r\n", encoding="utf-8-sig")


def _say(shell: Shell, given: Given, flowing: list[Any]) -> None:
    shell.said.append(text(given["*"]))
