"""The scripts of one version of Exchange: each step, all of them in one, and the way back.

No script holds anything from outside: names stand in ``values.ps1`` alone, as ``powershell.quoted`` spells them, so
that what the scripts do can be read, compared between versions and tested once for all. They are written for
PowerShell 1 where the version is 2007, and 2 where it is 2010: no ``try``, no ``$PSScriptRoot``, no ``-in``.

Every change stands in a block of ``if (Confirm-Change ...)``, which tells what happens and, with ``-WhatIf``, lets
nothing happen. What is to be undone is kept in ``kept-values.txt``: a value that was there before it is changed,
what is made after it was made, so that the way back can neither forget the one nor take what was never ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from attrs import frozen

from alimail_core.powershell import listed, quoted
from alimail_ews.admin import undoing
from alimail_ews.admin.helpers import helpers
from alimail_ews.admin.versions import Version

POLICY: Final = "SupermanPolicy"
SCOPE: Final = "alimail migrated mailboxes"
ASSIGNMENT: Final = "alimail impersonation"
MAX_CONCURRENT_API: Final = 100
NETLOGON: Final = r"HKLM:\SYSTEM\CurrentControlSet\Services\Netlogon\Parameters"


@frozen
class Wishes:
    """What the scripts are for."""

    version: Version
    databases: tuple[str, ...]
    domain: str
    account: str
    csv: str
    """Where the list of addresses is on the Exchange machine; empty: beside the scripts."""
    full_access: bool
    scoped: bool


@frozen
class Step:
    """One script: a name for its file, and what it does."""

    slug: str
    lines: Callable[[Wishes], str]
    wanted: Callable[[Wishes], bool] = lambda wishes: True
    parameters: str = "[switch]$WhatIf"


def all_scripts(wishes: Wishes) -> dict[str, list[str]]:
    """Return the lines of every file by its name, in the order in which they run."""
    steps = numbered(wishes)
    files = {
        name: [*_head(wishes, name, step.parameters), *step.lines(wishes).strip("\n").split("\n")]
        for name, step in steps.items()
    }
    undo = undoing.undo(wishes.version, full_access=wishes.full_access, scoped=wishes.scoped)
    return {
        "values.ps1": _values(wishes),
        "helpers.ps1": helpers(wishes.version, full_access=wishes.full_access),
        **files,
        "all.ps1": [*_head(wishes, "all.ps1", "[switch]$WhatIf, [switch]$Yes"), *_all(steps)],
        "undo.ps1": [
            *_head(wishes, "undo.ps1", "[switch]$WhatIf, [switch]$Yes"),
            *undo.strip("\n").split("\n"),
        ],
    }


def numbered(wishes: Wishes) -> dict[str, Step]:
    """Return the steps that this version has and that were wished for, by their files' names."""
    wanted = [step for step in STEPS if step.wanted(wishes)]
    return {f"{number:02}-{step.slug}.ps1": step for number, step in enumerate(wanted, 1)}


def _head(wishes: Wishes, name: str, parameters: str) -> list[str]:
    return [
        f"# {name}, for {wishes.version.product}. Written by alimail; README.md tells what it does.",
        f"param({parameters})",
        "$Here = Split-Path -Parent $MyInvocation.MyCommand.Path",
        ". (Join-Path $Here 'helpers.ps1')",
        "",
    ]


def _values(wishes: Wishes) -> list[str]:
    csv = quoted(wishes.csv) if wishes.csv else "Join-Path $Here 'addresses.csv'"
    return [
        "# What was asked for. The other scripts take these values, and hold none of their own.",
        f"$Databases = {listed(wishes.databases)}",
        f"$Domain = {quoted(wishes.domain)}",
        f"$Account = {quoted(wishes.account)}",
        f"$CsvPath = {csv}",
        f"$PolicyName = {quoted(POLICY)}",
        f"$ScopeName = {quoted(SCOPE)}",
        f"$AssignmentName = {quoted(ASSIGNMENT)}",
        f"$MaxConcurrentApi = {MAX_CONCURRENT_API}",
        f"$Netlogon = {quoted(NETLOGON)}",
    ]


def _all(steps: Iterable[str]) -> list[str]:
    lines = [
        "# Every step in its order. -WhatIf changes nothing; -Yes asks for nothing but the password.",
    ]
    for name in steps:
        yes = " -Yes:$Yes" if "netlogon" in name else ""
        lines += [f"Write-Host '== {name}'", f"& (Join-Path $Here '{name}') -WhatIf:$WhatIf{yes}"]
    return lines


def _account(wishes: Wishes) -> str:
    return r"""
Confirm-Shell
if (Get-User -Identity $Account -ErrorAction SilentlyContinue) {
    Write-Host ($Account + ' is there already, and stays as it is.')
}
elseif (Confirm-Change ('Make the account ' + $Account + ' with a mailbox in ' + $Databases[0])) {
    $password = Read-Host -AsSecureString 'Its password (it is not written down anywhere)'
    New-Mailbox -Name $Account -Alias $Account -SamAccountName $Account `
        -UserPrincipalName ($Account + '@' + $Domain) -Database $Databases[0] `
        -Password $password -ResetPasswordOnNextLogon $false | Out-Null
    Save-Kept 'account' $Account
}
"""


def _impersonation(wishes: Wishes) -> str:
    if not wishes.version.rbac:
        return _BEGIN + _RIGHTS_2007
    whom = "the mailboxes of that scope" if wishes.scoped else "every mailbox"
    narrow = " `\n        -CustomRecipientWriteScope $ScopeName" if wishes.scoped else ""
    assignment = _ASSIGNMENT.replace("@@WHOM@@", whom).replace("@@SCOPE@@", narrow)
    return _BEGIN + (_SCOPE if wishes.scoped else "") + assignment


_BEGIN: Final = """
Confirm-Shell
Confirm-Account
"""

_ASSIGNMENT: Final = r"""
if (Get-ManagementRoleAssignment -Identity $AssignmentName -ErrorAction SilentlyContinue) {
    Write-Host ($Account + ' may impersonate already.')
}
elseif (Confirm-Change ('Let ' + $Account + ' impersonate @@WHOM@@')) {
    New-ManagementRoleAssignment -Name $AssignmentName -Role ApplicationImpersonation -User $Account@@SCOPE@@ |
        Out-Null
    Save-Kept 'assignment' $AssignmentName
}
Write-Host 'It may take up to an hour until every server knows.'
"""

_SCOPE: Final = r"""
$places = @()
foreach ($database in $Databases) {
    $found = Get-MailboxDatabase -Identity $database
    $places += "(Database -eq '" + ([string]$found.DistinguishedName).Replace("'", "''") + "')"
}
$filter = "(EmailAddresses -like '*@" + $Domain + "') -and (" + [string]::Join(' -or ', [string[]]$places) + ')'
if (Get-ManagementScope -Identity $ScopeName -ErrorAction SilentlyContinue) {
    Write-Host ('The scope "' + $ScopeName + '" is there already.')
}
elseif (Confirm-Change ('Make the scope "' + $ScopeName + '": ' + $filter)) {
    New-ManagementScope -Name $ScopeName -RecipientRestrictionFilter $filter | Out-Null
    Save-Kept 'scope' $ScopeName
}
Write-Host ('Mailboxes in it: ' + @(Get-Mailbox -Filter $filter -ResultSize Unlimited).Count)
"""

_RIGHTS_2007: Final = r"""
function Add-Right([string]$Name, [string]$Right) {
    $there = Get-ADPermission -Identity $Name -User $Account -ErrorAction SilentlyContinue |
        Where-Object { (-not $_.IsInherited) -and (-not $_.Deny) -and ([string]$_.ExtendedRights -match $Right) }
    if ($there) { return }
    if (Confirm-Change ('Give ' + $Account + ' ' + $Right + ' on ' + $Name)) {
        Add-ADPermission -Identity $Name -User $Account -ExtendedRights $Right | Out-Null
        Save-Kept ('right|' + $Name) $Right
    }
}

foreach ($server in @(Get-ExchangeServer | Where-Object { $_.IsClientAccessServer })) {
    Add-Right ([string]$server.DistinguishedName) 'ms-Exch-EPI-Impersonation'
}
foreach ($database in $Databases) {
    Add-Right ([string](Get-MailboxDatabase -Identity $database).DistinguishedName) 'ms-Exch-EPI-May-Impersonate'
}
Write-Host 'It may take some minutes until every server knows. The account must be in no group of administrators.'
"""


def _export(wishes: Wishes) -> str:
    return r"""
Confirm-Shell
if (Test-Path -LiteralPath $CsvPath) {
    Write-Host ($CsvPath + ' is there already and stays as it is, since lines of it may have been taken out.')
    Write-Host 'Delete it to have the addresses written anew.'
}
elseif (Confirm-Change ('Write the addresses of all mailboxes to ' + $CsvPath)) {
    $mailboxes = @()
    foreach ($database in $Databases) {
        $mailboxes += @(Get-Mailbox -Database $database -ResultSize Unlimited)
    }
    $mailboxes |
        Where-Object { $_.SamAccountName -ne $Account } |
        Where-Object { [string]$_.RecipientTypeDetails -ne 'DiscoveryMailbox' } |
        Select-Object -Property @('PrimarySmtpAddress', 'DisplayName', 'Alias', 'SamAccountName',
            'RecipientTypeDetails', 'Database') |
        Export-Csv -Path $CsvPath -NoTypeInformation -Encoding UTF8
    Write-Host ('Mailboxes: ' + @(Read-Addresses).Count)
}
"""


def _full_access_one(wishes: Wishes) -> str:
    return r"""
Confirm-Shell
Confirm-Account
if (-not $Mailbox) { $Mailbox = @(Read-Addresses)[0] }
if ($Mailbox) { Add-FullAccess $Mailbox }
"""


def _full_access_all(wishes: Wishes) -> str:
    return r"""
Confirm-Shell
Confirm-Account
foreach ($address in @(Read-Addresses)) { Add-FullAccess $address }
"""


def _policy(wishes: Wishes) -> str:
    version = wishes.version
    scope = "" if version.old_association else " -ThrottlingPolicyScope Regular"
    limits = " `\n        ".join(f"-{name} {version.lifted}" for name in version.throttling)
    return rf"""
Confirm-Shell
if (Get-ThrottlingPolicy -Identity $PolicyName -ErrorAction SilentlyContinue) {{
    Write-Host ('There is a policy ' + $PolicyName + ' already, and it stays as it is.')
}}
elseif (Confirm-Change ('Make the throttling policy ' + $PolicyName + ' without limits')) {{
    New-ThrottlingPolicy -Name $PolicyName{scope} `
        {limits} |
        Out-Null
    Save-Kept 'policy' $PolicyName
}}
"""


def _apply_policy(wishes: Wishes) -> str:
    return r"""
Confirm-Shell
foreach ($address in @($Account) + @(Read-Addresses)) {
    $mailbox = Get-Mailbox -Identity $address -ErrorAction SilentlyContinue
    if ((-not $mailbox) -and (-not $WhatIf)) {
        Write-Warning ('There is no mailbox ' + $address + ': take its line out of the list, or see to its spelling.')
        continue
    }
    $before = [string]$mailbox.ThrottlingPolicy
    if ($before.EndsWith($PolicyName)) { continue }
    if (Confirm-Change ('Apply ' + $PolicyName + ' to ' + $address)) {
        Save-Kept ('policy of|' + $address) $before
@@APPLY@@
    }
}
""".replace("@@APPLY@@", undoing.association(wishes.version, "$address", "$PolicyName", 8))


def _verify_policy(wishes: Wishes) -> str:
    version = wishes.version
    # In 2010 a limit that was lifted is empty; since 2013 it says so.
    lifted = "" if version.lifted == "$null" else version.lifted
    return rf"""
Confirm-Shell
$policy = Get-ThrottlingPolicy -Identity $PolicyName -ErrorAction SilentlyContinue
$wrong = 0
if (-not $policy) {{
    Write-Warning ('There is no policy ' + $PolicyName + ' yet.')
    $wrong += 1
}}
else {{
    foreach ($limit in @({", ".join(f"'{name}'" for name in version.throttling)})) {{
        $value = [string]$policy.$limit
        if ($value -ne '{lifted}') {{
            Write-Warning ($limit + ' is ' + $value)
            $wrong += 1
        }}
    }}
}}
foreach ($address in @($Account) + @(Read-Addresses)) {{
    $mailbox = Get-Mailbox -Identity $address -ErrorAction SilentlyContinue
    if (-not ([string]$mailbox.ThrottlingPolicy).EndsWith($PolicyName)) {{
        Write-Warning ($address + ' does not have ' + $PolicyName)
        $wrong += 1
    }}
}}
if ($wrong -eq 0) {{ Write-Host ($PolicyName + ' has no limits, and applies to all.') }}
"""


def _max_concurrent_api(wishes: Wishes) -> str:
    return r"""
$before = [string](Get-ItemProperty -Path $Netlogon).MaxConcurrentApi
if ($before -and ([int64]$before -ge $MaxConcurrentApi)) {
    Write-Host ('MaxConcurrentApi is ' + $before + ' already.')
}
elseif (Confirm-Change ('Set MaxConcurrentApi on ' + $env:COMPUTERNAME + ' to ' + $MaxConcurrentApi)) {
    Save-Kept ('MaxConcurrentApi|' + $env:COMPUTERNAME) $before
    New-ItemProperty -Path $Netlogon -Name MaxConcurrentApi -PropertyType DWord -Value $MaxConcurrentApi -Force |
        Out-Null
    Write-Host 'It holds as soon as Netlogon has been restarted.'
}
"""


def _restart_netlogon(wishes: Wishes) -> str:
    return undoing.RESTART


STEPS: Final = (
    Step("create-account", _account),
    Step("impersonation", _impersonation),
    Step("export-addresses", _export),
    Step(
        "full-access-one",
        _full_access_one,
        lambda wishes: wishes.full_access,
        "[string]$Mailbox, [switch]$WhatIf",
    ),
    Step("full-access-all", _full_access_all, lambda wishes: wishes.full_access),
    Step("throttling-policy", _policy, lambda wishes: bool(wishes.version.throttling)),
    Step("apply-policy", _apply_policy, lambda wishes: bool(wishes.version.throttling)),
    Step("verify-policy", _verify_policy, lambda wishes: bool(wishes.version.throttling)),
    Step("max-concurrent-api", _max_concurrent_api),
    Step("restart-netlogon", _restart_netlogon, parameters="[switch]$WhatIf, [switch]$Yes"),
)
"""All steps, in the order in which one needs the other."""
