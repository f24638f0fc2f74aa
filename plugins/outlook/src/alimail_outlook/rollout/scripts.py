"""The scripts of a roll-out: install, detect, collect, uninstall.

Each stands alone, since Intune takes a script for detection without the files beside it: what was asked for as
values at its head, spelt by ``powershell.quoted``; helpers; what it does. They are written for Windows PowerShell 5,
and may run again at any time.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

from alimail_core.powershell import listed, quoted
from alimail_outlook.rollout import probes
from alimail_outlook.rules import UNINSTALL

SECONDS: Final = 600
"""How long an installer may take."""

SCHEMA: Final = "alimail-outlook-state"
"""What a machine's JSON says that it is."""


@frozen
class Wishes:
    """What the files are for."""

    progid: str
    installer: str
    """The file's name."""
    sha256: str
    """Of the installer, in lower case."""
    signer: str = ""
    """The name (CN) of who signed it; empty: only the hash counts."""
    arguments: str = "/S"
    """With which it installs in silence, as they follow its name."""
    uninstall_arguments: str = "/S"
    collect: str = ""
    """The folder, such as a share, that machines write their state to; empty: none."""
    per_user: bool = False
    """It installs for one user, in whose session it has to run."""


def all_scripts(wishes: Wishes) -> dict[str, list[str]]:
    """Return the lines of every script by its file's name. The same wishes give the same lines."""
    collecting = [*probes.looks(), *probes.judged(wishes.progid), *_lines(_COLLECT)]
    return {
        "install.ps1": _script("install.ps1", wishes, _INSTALL),
        "detect.ps1": _script("detect.ps1", wishes, _DETECT),
        "collect.ps1": _script("collect.ps1", wishes, "\n".join(collecting)),
        "uninstall.ps1": _script("uninstall.ps1", wishes, _UNINSTALL),
    }


def _script(name: str, wishes: Wishes, body: str) -> list[str]:
    return [
        f"# {name}. Written by alimail; README.md tells what it does.",
        *_lines(probes.FIRST),
        *_values(wishes),
        *_lines(probes.HELPERS),
        *_lines(_OWN_HELPERS.replace("@@INSTALLED@@", probes.installed(wishes.progid))),
        *_lines(body),
    ]


def _lines(text: str) -> list[str]:
    return text.strip("\n").split("\n")


def _values(wishes: Wishes) -> list[str]:
    return [
        *probes.values(wishes.progid),
        f"$InstallerName = {quoted(wishes.installer)}",
        f"$Sha256 = {quoted(wishes.sha256)}",
        f"$Signer = {quoted(wishes.signer)}",
        f"$Arguments = {quoted(wishes.arguments)}",
        f"$UninstallArguments = {quoted(wishes.uninstall_arguments)}",
        f"$Collect = {quoted(wishes.collect)}",
        f"$UninstallKeys = {listed(map(probes.path, UNINSTALL))}",
        f"$Seconds = {SECONDS}",
    ]


_OWN_HELPERS: Final = r"""
function Test-Installed() {
    return @@INSTALLED@@
}

function Get-Programs() {
    foreach ($key in $UninstallKeys) {
        foreach ($program in @(Get-ChildItem -LiteralPath $key -ErrorAction SilentlyContinue)) {
            [string]$program.PSPath
        }
    }
}

function Wait-Program([string]$File, [string]$Line) {
    if ($Line -eq '') { $process = Start-Process -FilePath $File -PassThru }
    else { $process = Start-Process -FilePath $File -ArgumentList $Line -PassThru }
    # Whoever does not ask for the handle now is not told the exit code later.
    $handle = $process.Handle
    if (-not $process.WaitForExit($Seconds * 1000)) {
        $process.Kill()
        Write-Host ($File + ' took longer than ' + $Seconds + ' seconds, and was ended.')
        exit 5
    }
    return [int]$process.ExitCode
}
"""

_DETECT: Final = r"""
# Intune: text and exit code 0 mean that it is installed; 1 that it is not.
if (Test-Installed) {
    Write-Output ($ProgId + ' is registered with Outlook.')
    exit 0
}
exit 1
"""

_INSTALL: Final = r"""
$Installer = Join-Path (Split-Path -Parent $Me) $InstallerName
if ((Test-Installed) -and ((Get-First @($Remembered) 'Installer') -eq $Sha256)) {
    Write-Output ($ProgId + ' is installed already.')
    exit 0
}
if (-not (Test-Path -LiteralPath $Installer)) {
    Write-Output ($Installer + ' is not there. Nothing was run.')
    exit 2
}
$hash = [string](Get-FileHash -LiteralPath $Installer -Algorithm SHA256).Hash
if ($hash -ne $Sha256) {
    Write-Output ($Installer + ' is not the file that was prepared: its SHA-256 is ' + $hash + '. Nothing was run.')
    exit 4
}
if ($Signer -ne '') {
    $signature = Get-AuthenticodeSignature -LiteralPath $Installer
    $found = [string]$signature.SignerCertificate.GetNameInfo('SimpleName', $false)
    if (([string]$signature.Status -ne 'Valid') -or ($found -ne $Signer)) {
        Write-Output ('Windows does not take it as signed by ' + $Signer + ', it says: ' +
            [string]$signature.Status + ', ' + $found + '. Nothing was run.')
        exit 4
    }
}
$before = @(Get-Programs)
if ($InstallerName -match '\.msi$') { $code = Wait-Program 'msiexec.exe' ('/i "' + $Installer + '" ' + $Arguments) }
else { $code = Wait-Program $Installer $Arguments }
if (($code -ne 0) -and ($code -ne 3010) -and ($code -ne 1641)) {
    Write-Output ('The installer failed with exit code ' + $code + '.')
    exit $code
}
if (-not (Test-Installed)) {
    Write-Output ('The installer ended well, and ' + $ProgId + ' is not registered with Outlook.')
    exit 6
}
if (-not (Test-Path -LiteralPath $Remembered)) { New-Item -Path $Remembered -Force | Out-Null }
Set-ItemProperty -LiteralPath $Remembered -Name 'ProgID' -Value $ProgId
Set-ItemProperty -LiteralPath $Remembered -Name 'Installer' -Value $Sha256
$new = @(Get-Programs | Where-Object { $before -notcontains $_ })
if ($new.Count -eq 1) {
    $command = Get-First $new 'UninstallString'
    Set-ItemProperty -LiteralPath $Remembered -Name 'UninstallCommand' -Value $command
}
Write-Output ($ProgId + ' is installed.')
exit $code
"""

_UNINSTALL: Final = r"""
$command = Get-First @($Remembered) 'UninstallCommand'
if (-not (Test-Installed)) {
    Write-Output ($ProgId + ' is not installed.')
    exit 0
}
if ($command -eq '') {
    Write-Output 'Its uninstaller is not known: it was not installed by install.ps1 in this account.'
    exit 3
}
if ($command -match '\{[0-9A-Fa-f-]{36}\}') {
    $product = $command.Substring($command.IndexOf('{'), 38)
    $code = Wait-Program 'msiexec.exe' ('/x ' + $product + ' /qn /norestart')
}
elseif ($command.StartsWith('"')) { $code = Wait-Program ($command.Split('"')[1]) $UninstallArguments }
else {
    $end = $command.ToLowerInvariant().IndexOf('.exe ')
    if ($end -ge 0) { $command = $command.Substring(0, $end) + '.exe' }
    $code = Wait-Program $command $UninstallArguments
}
# An uninstaller may go on as a copy of itself after it has ended.
foreach ($second in 1..60) {
    if (-not (Test-Installed)) { break }
    Start-Sleep -Seconds 1
}
if (Test-Installed) {
    Write-Output ('The uninstaller ended with exit code ' + $code + ', and ' + $ProgId + ' is still registered.')
    exit 6
}
Remove-Item -LiteralPath $Remembered -Recurse
Write-Output ($ProgId + ' is gone.')
exit $code
"""

_COLLECT: Final = rf"""
$faults = @()
foreach ($rule in @($Levels.Keys)) {{
    if ($Levels[$rule] -eq 'fault') {{ $faults += $rule }}
}}
$state = @{{
    'schema' = '{SCHEMA}'
    'version' = 1
    'machine' = [string]$env:COMPUTERNAME
    'user' = [string]$env:USERNAME
    'at' = [DateTime]::UtcNow.ToString('yyyy-MM-ddTHH:mm:ssZ')
    'progid' = $ProgId
    'installer' = Get-First @($Remembered) 'Installer'
    'levels' = $Levels
}}
if ($Collect -ne '') {{
    $name = ([string]$env:COMPUTERNAME + '_' + [string]$env:USERNAME) + '.json'
    $file = Join-Path $Collect $name
    # Whole or not at all: who reads the folder meanwhile sees the file of before.
    Set-Content -LiteralPath ($file + '.new') -Value (ConvertTo-Json $state -Compress) -Encoding UTF8
    Move-Item -LiteralPath ($file + '.new') -Destination $file -Force
}}
if ($faults.Count -eq 0) {{
    Write-Output ($ProgId + ': nothing keeps Outlook from loading it.')
    exit 0
}}
Write-Output ($ProgId + ' is not loaded: ' + [string]::Join(', ', [string[]]$faults))
exit 1
"""
