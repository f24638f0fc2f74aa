"""What the scripts share, ``helpers.ps1``: the gate before every change, and the book of what was there before."""

from __future__ import annotations

from typing import Final

from alimail_ews.admin.versions import Version

_HELPERS: Final = r"""
# What the steps share. It does nothing by itself.
. (Join-Path $Here 'values.ps1')
$ErrorActionPreference = 'Stop'
$KeptPath = Join-Path $Here 'kept-values.txt'

function Confirm-Shell {
    if (-not (Get-Command Get-Mailbox -ErrorAction SilentlyContinue)) {
        throw 'This needs the Exchange Management Shell: open that, and run it there.'
    }
}

function Confirm-Account {
    # With -WhatIf the account may be still to come.
    if ((-not $WhatIf) -and (-not (Get-User -Identity $Account -ErrorAction SilentlyContinue))) {
        throw ('There is no account ' + $Account + ' yet: run the first script before this one.')
    }
}

function Confirm-Change([string]$What) {
    if ($WhatIf) {
        Write-Host ('What if: ' + $What)
        return $false
    }
    Write-Host $What
    return $true
}

function Confirm-Wish([string]$Question) {
    if ($WhatIf -or $Yes) { return $true }
    return ((Read-Host ($Question + ' (y/n)')) -eq 'y')
}

function Read-Kept {
    # One line for each: name and value; a name alone says that its value was put back.
    $found = @{}
    if (Test-Path -LiteralPath $KeptPath) {
        foreach ($line in @(Get-Content -LiteralPath $KeptPath)) {
            $parts = $line.Split("`t")
            $key = [Uri]::UnescapeDataString($parts[0])
            if ($parts.Length -lt 2) { $found.Remove($key) }
            else { $found[$key] = [Uri]::UnescapeDataString($parts[1]) }
        }
    }
    return $found
}

$Kept = Read-Kept

function Save-Kept([string]$Key, [string]$Value) {
    # The first value alone: a second run must not take ours for the one that was there before.
    if (-not $Kept.ContainsKey($Key)) {
        $line = [Uri]::EscapeDataString($Key) + "`t" + [Uri]::EscapeDataString($Value)
        Add-Content -LiteralPath $KeptPath -Value $line -Encoding UTF8
        $Kept[$Key] = $Value
    }
}

function Clear-Kept([string]$Key) {
    Add-Content -LiteralPath $KeptPath -Value ([Uri]::EscapeDataString($Key)) -Encoding UTF8
    $Kept.Remove($Key)
}

function Read-Addresses {
    if (Test-Path -LiteralPath $CsvPath) {
        foreach ($row in @(Import-Csv -Path $CsvPath)) {
            if ($row.PrimarySmtpAddress) { $row.PrimarySmtpAddress }
        }
    }
    elseif (-not $WhatIf) {
        throw ('There is no list of addresses at ' + $CsvPath + ': run the script that exports them before this one.')
    }
}
"""

_FULL_ACCESS: Final = r"""
function Add-FullAccess([string]$Address) {
    $there = Get-MailboxPermission -Identity $Address -User $Account -ErrorAction SilentlyContinue |
        Where-Object { (-not $_.IsInherited) -and (-not $_.Deny) -and ([string]$_.AccessRights -match 'FullAccess') }
    if ($there) { return }
    if (Confirm-Change ('Give ' + $Account + ' FullAccess to ' + $Address)) {
        Add-MailboxPermission -Identity $Address -User $Account -AccessRights FullAccess `
            -InheritanceType All@@MAPPING@@ | Out-Null
        Save-Kept ('full access|' + $Address) $Account
    }
}
"""


def helpers(version: Version, *, full_access: bool) -> list[str]:
    """Return the file's lines; what gives FullAccess is in it only where that is wished for."""
    text = _HELPERS
    if full_access:
        text += _FULL_ACCESS.replace("@@MAPPING@@", " -AutoMapping $false" if version.auto_mapping else "")
    return text.strip("\n").split("\n")
