"""The rules of ``alimail_outlook.rules`` as PowerShell: every probe is a call, and nothing is decided twice.

Keys and names are spelt by ``powershell.quoted``, so that a ProgID is data. A 64-bit shell is needed, since a 32-bit
one is shown other keys under the same names: ``FIRST`` starts the right one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from alimail_core.powershell import listed, quoted
from alimail_outlook.rules import (
    ADDIN,
    EXCUSES,
    REMEMBERED,
    RULES,
    KeyExists,
    Probe,
    Rule,
    Unlisted,
    expanded,
)

_HIVES: Final = {
    "HKCU": "HKEY_CURRENT_USER",
    "HKLM": "HKEY_LOCAL_MACHINE",
    "HKCR": "HKEY_CLASSES_ROOT",
}

_CLASSES: Final = (
    r"HKCR\CLSID",
    r"HKCR\WOW6432Node\CLSID",
    r"HKLM\Software\WOW6432Node\Classes\CLSID",
)
"""Where a class's server is looked for, as ``machine/looking.py`` does."""

FIRST: Final = r"""
$Me = $MyInvocation.MyCommand.Path
if ($env:PROCESSOR_ARCHITEW6432) {
    & (Join-Path $env:windir 'SysNative\WindowsPowerShell\v1.0\powershell.exe') -NoProfile `
        -ExecutionPolicy Bypass -File $Me
    exit $LASTEXITCODE
}
"""
"""A 32-bit shell on a 64-bit Windows, as Intune's agent starts it, hands over to the 64-bit one."""

HELPERS: Final = r"""
function Get-First([string[]]$Keys, [string]$Name) {
    foreach ($key in $Keys) {
        $item = Get-ItemProperty -LiteralPath $key -ErrorAction SilentlyContinue
        $value = [string]$item.$Name
        if ($value -ne '') { return $value }
    }
    return ''
}

function Test-KeyExists([string[]]$Keys) {
    foreach ($key in $Keys) {
        if (Test-Path -LiteralPath $key) { return $true }
    }
    return $false
}

function Test-ValueIs([string[]]$Keys, [string]$Name, [string[]]$Wanted, [bool]$Absent) {
    foreach ($key in $Keys) {
        $item = Get-ItemProperty -LiteralPath $key -ErrorAction SilentlyContinue
        $value = $item.$Name
        if ($null -ne $value) { return @($Wanted | Where-Object { $_ -eq [string]$value }).Count -gt 0 }
    }
    return $Absent
}

function Get-Beneath([string]$Path) {
    $Path
    foreach ($key in @(Get-ChildItem -LiteralPath $Path -Recurse -ErrorAction SilentlyContinue)) {
        [string]$key.PSPath
    }
}

function Get-Words([string]$Path) {
    $key = Get-Item -LiteralPath $Path -ErrorAction SilentlyContinue
    if (-not $key) { return }
    foreach ($name in $key.GetValueNames()) {
        $name
        $data = $key.GetValue($name)
        if ([string]$key.GetValueKind($name) -eq 'Binary') {
            [Text.Encoding]::Unicode.GetString($data)
            # The text need not begin at an even octet.
            if ($data.Length -gt 1) { [Text.Encoding]::Unicode.GetString($data, 1, $data.Length - 1) }
        }
        else { [string]$data }
    }
}

function Get-File([string]$Url) {
    if (-not $Url.ToLowerInvariant().StartsWith('file:///')) { return $Url }
    return [Uri]::UnescapeDataString($Url.Substring(8)).Replace('/', '\')
}

function Get-Library() {
    $manifest = (Get-First $AddinKeys 'Manifest').Split('|')[0]
    if ($manifest -ne '') { return Get-File $manifest }
    $class = Get-First @($ProgIdKey) '(default)'
    if ($class -ne '') {
        foreach ($key in $ClassKeys) {
            $server = $key + '\' + $class + '\InprocServer32'
            $library = (Get-First @($server) '(default)').Trim('"')
            if ($library.ToLowerInvariant().EndsWith('mscoree.dll')) {
                $library = Get-File (Get-First @(Get-Beneath $server) 'CodeBase')
            }
            if ($library -ne '') { return $library }
        }
    }
    return Get-First @($Remembered) 'DLL'
}

function Test-Unlisted([string[]]$Keys) {
    $wanted = @()
    foreach ($name in @($ProgId, (Get-Library), (Get-First $AddinKeys 'FriendlyName'))) {
        if ($name.Length -gt 4) { $wanted += $name.ToLowerInvariant() }
    }
    foreach ($key in $Keys) {
        foreach ($path in @(Get-Beneath $key)) {
            foreach ($word in @(Get-Words $path)) {
                $text = ([string]$word).ToLowerInvariant()
                if ($text -eq $ProgId) { return $false }
                foreach ($each in $wanted) {
                    if ($text.Contains($each)) { return $false }
                }
            }
        }
    }
    return $true
}
"""


def path(key: str) -> str:
    """Return a key as PowerShell names it: with its provider, so that no drive has to be there."""
    hive, _, rest = key.partition("\\")
    return rf"Registry::{_HIVES[hive]}\{rest}"


def paths(keys: Sequence[str], progid: str) -> str:
    """Return an expression whose value are these keys, with each version of Office and the ProgID in their places."""
    return listed(path(key) for key in expanded(tuple(keys), progid))


def call(probe: Probe, progid: str) -> str:
    """Return the call that evaluates a probe."""
    keys = paths(probe.keys, progid)
    if isinstance(probe, KeyExists):
        return f"Test-KeyExists {keys}"
    if isinstance(probe, Unlisted):
        return f"Test-Unlisted {keys}"
    name = quoted(probe.value.replace("{progid}", progid))
    return f"Test-ValueIs {keys} {name} {listed(probe.wanted)} ${str(probe.absent).lower()}"


def values(progid: str) -> list[str]:
    """Return what the helpers know of the add-in."""
    return [
        f"$ProgId = {quoted(progid)}",
        "$ProgIdKey = {}".format(quoted(path(rf"HKCR\{progid}\CLSID"))),
        f"$ClassKeys = {listed(map(path, _CLASSES))}",
        f"$AddinKeys = {paths(ADDIN, progid)}",
        f"$Remembered = {quoted(path(REMEMBERED))}",
    ]


def installed(progid: str) -> str:
    """Return an expression: does every rule hold without which the others mean nothing?"""
    return " -and ".join(f"({call(rule.probe, progid)})" for rule in RULES if rule.stops and rule.probe)


def probed() -> list[Rule]:
    """Return the rules that a script can evaluate, in their order."""
    return [rule for rule in RULES if rule.probe is not None]


def judged(progid: str) -> Iterator[str]:
    """Give the lines that put the level of each rule into ``$Levels``, as ``verify`` would tell it.

    Where a rule stops, those after it have no level.
    """
    yield "$Levels = @{}"
    yield "$Stopped = $false"
    for rule in probed():
        assert rule.probe is not None
        excuse = EXCUSES.get(rule.name)
        yield "if (-not $Stopped) {"
        yield f"    $held = {call(rule.probe, progid)}"
        if excuse is not None:
            yield f"    if (-not $held) {{ $held = {call(excuse, progid)} }}"
        yield f"    if ($held) {{ $Levels[{quoted(rule.name)}] = 'ok' }}"
        stopping = " $Stopped = $true;" if rule.stops else ""
        yield f"    else {{{stopping} $Levels[{quoted(rule.name)}] = {quoted(rule.level)} }}"
        yield "}"
