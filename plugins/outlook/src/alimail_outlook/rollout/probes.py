"""The rules of ``alimail_outlook.rules`` as PowerShell: every probe is a call, and nothing is decided twice.

What needs files or several values together is a function here and one in ``machine/looking.py``; a test holds the
two together.

Keys and names are spelt by ``powershell.quoted``, so that a ProgID is data. A 64-bit shell is needed, since a 32-bit
one is shown other keys under the same names: ``FIRST`` starts the right one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from alimail_core.powershell import listed, quoted
from alimail_outlook import rules
from alimail_outlook.rules import (
    ADDIN,
    EXCUSES,
    REMEMBERED,
    RULES,
    KeyExists,
    Probe,
    ServerIs,
    Unlisted,
    expanded,
)

_HIVES: Final = {
    "HKCU": "HKEY_CURRENT_USER",
    "HKLM": "HKEY_LOCAL_MACHINE",
    "HKCR": "HKEY_CLASSES_ROOT",
}

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

function Get-Server() {
    $class = Get-First $ProgIdKeys '(default)'
    if ($class -eq '') { return '' }
    foreach ($key in $ClassKeys) {
        $server = $key + '\' + $class + '\InprocServer32'
        if ((Get-First @($server) '(default)') -ne '') { return $server }
    }
    return ''
}

function Test-Managed() {
    $server = Get-Server
    if ($server -eq '') { return $false }
    return (Get-First @($server) '(default)').Trim('"').ToLowerInvariant().EndsWith('mscoree.dll')
}

function Get-Library() {
    $manifest = (Get-First $AddinKeys 'Manifest').Split('|')[0]
    if ($manifest -ne '') { return Get-File $manifest }
    $library = ''
    $server = Get-Server
    if ($server -ne '') {
        $library = (Get-First @($server) '(default)').Trim('"')
        if (Test-Managed) { $library = Get-File (Get-First @(Get-Beneath $server) 'CodeBase') }
    }
    if ($library -ne '') { return $library }
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

LOOKS: Final = r"""
function Test-ServerIs([string[]]$Keys, [string[]]$Names, [string[]]$Domains) {
    foreach ($key in $Keys) {
        foreach ($path in @(Get-Beneath $key)) {
            $item = Get-Item -LiteralPath $path -ErrorAction SilentlyContinue
            if (-not $item) { continue }
            foreach ($name in $item.GetValueNames()) {
                if ($Names -notcontains $name) { continue }
                $data = $item.GetValue($name)
                if ([string]$item.GetValueKind($name) -eq 'Binary') {
                    $data = [Text.Encoding]::Unicode.GetString($data).Trim([char]0)
                }
                $server = '.' + ([string]$data).ToLowerInvariant()
                foreach ($domain in $Domains) {
                    $end = '.' + $domain
                    if ($server.EndsWith($end)) { return $true }
                }
            }
        }
    }
    return $false
}

function Test-File() {
    if ($Library -eq '') { return $false }
    return Test-Path -LiteralPath $Library -PathType Leaf
}

function Get-DllPresent() {
    if ($Library -eq '') { return 'warning' }
    if (Test-File) { return 'ok' }
    return 'fault'
}

function Get-DllSigned() {
    if ($Vsto -or (-not (Test-File))) { return 'unknown' }
    $signature = Get-AuthenticodeSignature -LiteralPath $Library
    if ([string]$signature.Status -eq 'Valid') { return 'ok' }
    return 'fault'
}

function Get-PolicySigned() {
    foreach ($key in $SecurityKeys) {
        if ((Get-First @($key) 'RequireAddinSig') -eq '1') {
            if ((Get-DllSigned) -eq 'ok') { return 'ok' }
            return 'fault'
        }
    }
    return 'ok'
}

function Get-OfficeBits() {
    $said = @(Get-First @($ClickToRun) 'Platform')
    foreach ($key in $InstalledKeys) { $said += (Get-First @($key) 'Bitness') }
    foreach ($word in $said) {
        if ($word -eq 'x86') { return 32 }
        if ($word -eq 'x64') { return 64 }
    }
    return 0
}

function Get-DllBits() {
    # Of the header that every program has (PE): where it begins, and there for which machine it is.
    $octets = [IO.File]::ReadAllBytes($Library)
    if ($octets.Length -lt 64) { return 0 }
    $at = [BitConverter]::ToInt32($octets, 60) + 4
    if (($at -lt 4) -or ($octets.Length -lt $at + 2)) { return 0 }
    $machine = [BitConverter]::ToUInt16($octets, $at)
    if ($machine -eq 332) { return 32 }
    if (($machine -eq 34404) -or ($machine -eq 43620)) { return 64 }
    return 0
}

function Get-Bitness() {
    $office = Get-OfficeBits
    if ($office -eq 0) { return 'unknown' }
    $places = @($AddinKeys | Where-Object { Test-Path -LiteralPath $_ })
    $own = @($places | Where-Object { $_ -match 'HKEY_CURRENT_USER' })
    $of32 = @($places | Where-Object { $_ -match 'WOW6432Node' })
    # The user's own key is read by both kinds of Office.
    if ($own.Count -eq 0) {
        if (($office -eq 64) -and ($of32.Count -eq $places.Count)) { return 'fault' }
        $both = Test-KeyExists @($UninstallKeys | Where-Object { $_ -match 'WOW6432Node' })
        if (($office -eq 32) -and $both -and ($of32.Count -eq 0)) { return 'fault' }
    }
    if ($Vsto -or (Test-Managed) -or (-not (Test-File))) { return 'ok' }
    $bits = Get-DllBits
    if (($bits -ne 0) -and ($bits -ne $office)) { return 'fault' }
    return 'ok'
}

function Get-Runtime() {
    if ((-not $Vsto) -and (-not (Test-Managed))) { return 'ok' }
    $release = Get-First @($NetKey) 'Release'
    if (-not ($release -match '^[0-9]+$')) { return 'fault' }
    if ([int64]$release -lt $NetRelease) { return 'fault' }
    if (-not $Vsto) { return 'ok' }
    foreach ($key in $VstoKeys) {
        if ((Get-First @(Get-Beneath $key) 'Version') -ne '') { return 'ok' }
    }
    return 'fault'
}

$Library = Get-Library
$Vsto = (Get-First $AddinKeys 'Manifest') -ne ''
"""
"""What the script that collects needs besides."""

_LOOKED: Final = {
    "policy_signed": "Get-PolicySigned",
    "dll_present": "Get-DllPresent",
    "dll_signed": "Get-DllSigned",
    "bitness": "Get-Bitness",
    "runtime": "Get-Runtime",
}
"""The function that tells the level of a rule without a probe."""


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
    if isinstance(probe, ServerIs):
        return f"Test-ServerIs {keys} {listed(probe.values)} {listed(probe.domains)}"
    name = quoted(probe.value.replace("{progid}", progid))
    return f"Test-ValueIs {keys} {name} {listed(probe.wanted)} ${str(probe.absent).lower()}"


def values(progid: str) -> list[str]:
    """Return what the helpers know of the add-in."""
    return [
        f"$ProgId = {quoted(progid)}",
        "$ProgIdKeys = {}".format(listed(path(rf"{root}\{progid}\CLSID") for root in rules.CLASS_NAMES)),
        f"$ClassKeys = {listed(map(path, rules.CLASSES))}",
        f"$AddinKeys = {paths(ADDIN, progid)}",
        f"$Remembered = {quoted(path(REMEMBERED))}",
    ]


def installed(progid: str) -> str:
    """Return an expression: does every rule hold without which the others mean nothing?"""
    return " -and ".join(f"({call(rule.probe, progid)})" for rule in RULES if rule.stops and rule.probe)


def looks() -> list[str]:
    """Return what ``LOOKS`` knows of Office and Windows."""
    return [
        f"$SecurityKeys = {paths(rules.POLICY_SECURITY, '')}",
        f"$ClickToRun = {quoted(path(rules.CLICK_TO_RUN))}",
        f"$InstalledKeys = {paths(rules.INSTALLED, '')}",
        f"$NetKey = {quoted(path(rules.NET))}",
        f"$NetRelease = {rules.NET_45}",
        f"$VstoKeys = {listed(map(path, rules.VSTO))}",
        *LOOKS.strip("\n").split("\n"),
    ]


def judged(progid: str) -> Iterator[str]:
    """Give the lines that put the level of each rule into ``$Levels``, as ``verify`` would tell it.

    Where a rule stops, those after it have no level.
    """
    yield "$Levels = @{}"
    yield "$Stopped = $false"
    for rule in RULES:
        name = quoted(rule.name)
        yield "if (-not $Stopped) {"
        if rule.probe is None:
            yield f"    $Levels[{name}] = {_LOOKED[rule.name]}"
            if rule.level != "fault":
                yield f"    if ($Levels[{name}] -eq 'fault') {{ $Levels[{name}] = {quoted(rule.level)} }}"
        else:
            yield f"    $held = {call(rule.probe, progid)}"
            if excuse := EXCUSES.get(rule.name):
                yield f"    if (-not $held) {{ $held = {call(excuse, progid)} }}"
            yield f"    if ($held) {{ $Levels[{name}] = 'ok' }}"
            stopping = " $Stopped = $true;" if rule.stops else ""
            yield f"    else {{{stopping} $Levels[{name}] = {quoted(rule.level)} }}"
        yield "}"
