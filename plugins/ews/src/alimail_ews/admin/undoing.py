"""The way back: ``undo.ps1`` puts back what ``kept-values.txt`` tells of, the last step first."""

from __future__ import annotations

from typing import Final

from alimail_ews.admin.versions import Version

RESTART: Final = r"""
Write-Warning ('For some seconds ' + $env:COMPUTERNAME + ' will check no passwords: Outlook, telephones and shares')
Write-Warning 'that log in just then may ask for one. Open connections stay. Do it when few people work.'
if (Confirm-Wish 'Restart Netlogon now?') {
    if (Confirm-Change ('Restart Netlogon on ' + $env:COMPUTERNAME)) {
        Restart-Service -Name Netlogon -Force
        Write-Host ('Netlogon: ' + (Get-Service -Name Netlogon).Status)
    }
}
"""
"""Of the step, and of the way back, since the value holds from the next start on."""

_BEGIN: Final = r"""
Confirm-Shell
if ($Kept.Count -eq 0) { Write-Host 'There is nothing to undo.' }
"""

_MAX_CONCURRENT_API: Final = r"""
$restart = $false
foreach ($key in @($Kept.Keys)) {
    if (-not $key.StartsWith('MaxConcurrentApi|')) { continue }
    $machine = $key.Substring(17)
    if ($machine -ne $env:COMPUTERNAME) {
        Write-Warning ('MaxConcurrentApi of ' + $machine + ' is put back by this script on ' + $machine + '.')
        continue
    }
    $before = $Kept[$key]
    if (Confirm-Change ('Put MaxConcurrentApi back to ' + $before + ' (empty: as it is without a value)')) {
        if ($before) {
            New-ItemProperty -Path $Netlogon -Name MaxConcurrentApi -PropertyType DWord -Value $before -Force |
                Out-Null
        }
        elseif ((Get-ItemProperty -Path $Netlogon).MaxConcurrentApi) {
            Remove-ItemProperty -Path $Netlogon -Name MaxConcurrentApi
        }
        Clear-Kept $key
        $restart = $true
    }
}
if ($restart) {
@@RESTART@@
}
""".replace("@@RESTART@@", "\n".join(f"    {line}" for line in RESTART.strip("\n").split("\n")))

_POLICY: Final = r"""
foreach ($key in @($Kept.Keys)) {
    if (-not $key.StartsWith('policy of|')) { continue }
    $address = $key.Substring(10)
    $before = $Kept[$key]
    if (-not $before) { $before = $null }
    if (Confirm-Change ('Give ' + $address + ' back its throttling policy: ' + $before + ' (empty: the default)')) {
        if (Get-Mailbox -Identity $address -ErrorAction SilentlyContinue) {
@@APPLY@@
        }
        Clear-Kept $key
    }
}

if ($Kept.ContainsKey('policy') -and (Confirm-Change ('Remove the throttling policy ' + $PolicyName))) {
    if (Get-ThrottlingPolicy -Identity $PolicyName -ErrorAction SilentlyContinue) {
        Remove-ThrottlingPolicy -Identity $PolicyName -Confirm:$false
    }
    Clear-Kept 'policy'
}
"""

_FULL_ACCESS: Final = r"""
foreach ($key in @($Kept.Keys)) {
    if (-not $key.StartsWith('full access|')) { continue }
    $address = $key.Substring(12)
    if (Confirm-Change ('Take FullAccess to ' + $address + ' away from ' + $Kept[$key])) {
        if (Get-Mailbox -Identity $address -ErrorAction SilentlyContinue) {
            Remove-MailboxPermission -Identity $address -User $Kept[$key] -AccessRights FullAccess `
                -InheritanceType All -Confirm:$false
        }
        Clear-Kept $key
    }
}
"""

_ASSIGNMENT: Final = r"""
if ($Kept.ContainsKey('assignment') -and (Confirm-Change ('Let ' + $Account + ' impersonate nobody any more'))) {
    if (Get-ManagementRoleAssignment -Identity $AssignmentName -ErrorAction SilentlyContinue) {
        Remove-ManagementRoleAssignment -Identity $AssignmentName -Confirm:$false
    }
    Clear-Kept 'assignment'
}
"""

_SCOPE: Final = r"""
if ($Kept.ContainsKey('scope') -and (Confirm-Change ('Remove the scope "' + $ScopeName + '"'))) {
    if (Get-ManagementScope -Identity $ScopeName -ErrorAction SilentlyContinue) {
        Remove-ManagementScope -Identity $ScopeName -Confirm:$false
    }
    Clear-Kept 'scope'
}
"""

_RIGHTS_2007: Final = r"""
foreach ($key in @($Kept.Keys)) {
    if (-not $key.StartsWith('right|')) { continue }
    $name = $key.Substring(6)
    if (Confirm-Change ('Take ' + $Kept[$key] + ' on ' + $name + ' away from ' + $Account)) {
        Remove-ADPermission -Identity $name -User $Account -ExtendedRights $Kept[$key] -Confirm:$false
        Clear-Kept $key
    }
}
"""

_ACCOUNT: Final = r"""
if ($Kept.ContainsKey('account')) {
    $made = $Kept['account']
    Write-Warning ('The account ' + $made + ' was made by these scripts. It goes with its mailbox.')
    if ((Confirm-Wish ('Remove the account ' + $made + '?')) -and (Confirm-Change ('Remove the account ' + $made))) {
        if (Get-Mailbox -Identity $made -ErrorAction SilentlyContinue) {
            Remove-Mailbox -Identity $made -Confirm:$false
        }
        Clear-Kept 'account'
    }
}
"""

_END: Final = r"""
if ((-not $WhatIf) -and ($Kept.Count -eq 0)) { Write-Host 'All is as it was before.' }
"""


def undo(version: Version, *, full_access: bool, scoped: bool) -> str:
    """Return the script's text after its head."""
    parts = [_BEGIN, _MAX_CONCURRENT_API]
    if version.throttling:
        parts.append(_POLICY.replace("@@APPLY@@", association(version, "$address", "$before", 12)))
    if full_access:
        parts.append(_FULL_ACCESS)
    if version.rbac:
        parts += [_ASSIGNMENT, _SCOPE] if scoped else [_ASSIGNMENT]
    else:
        parts.append(_RIGHTS_2007)
    return "".join([*parts, _ACCOUNT, _END])


def association(version: Version, address: str, policy: str, indent: int) -> str:
    """Return what gives a mailbox a policy; before its SP1, Exchange 2010 has the older way alone."""
    command = f"Set-ThrottlingPolicyAssociation -Identity {address} -ThrottlingPolicy {policy}"
    lines = [command]
    if version.old_association:
        lines = [
            "if (Get-Command Set-ThrottlingPolicyAssociation -ErrorAction SilentlyContinue) {",
            f"    {command}",
            "}",
            f"else {{ Set-Mailbox -Identity {address} -ThrottlingPolicy {policy} }}",
        ]
    return "\n".join(" " * indent + line for line in lines)
