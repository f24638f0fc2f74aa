"""An Exchange organisation as its Management Shell shows it, for the commands that the prepared scripts call."""

from __future__ import annotations

import copy
import csv
import os
from collections.abc import Callable
from typing import Any

from attrs import define, field

from tests.powershell import Cmdlet, Shell, Stopped, text

Given = dict[str, Any]


@define
class Organisation:
    """What the scripts change, and look at."""

    mailboxes: dict[str, dict[str, Any]] = field(factory=dict)
    """By account name; the properties that ``Get-Mailbox`` shows."""
    full_access: set[tuple[str, str]] = field(factory=set)
    rights: set[tuple[str, str, str]] = field(factory=set)
    scopes: dict[str, str] = field(factory=dict)
    assignments: dict[str, tuple[str, str | None]] = field(factory=dict)
    policies: dict[str, dict[str, str]] = field(factory=dict)
    registry: dict[str, int] = field(factory=dict)
    restarts: int = 0
    passwords: int = 0
    """How often one was asked for."""
    changes: int = 0
    """How many commands have changed something."""
    break_at: int = 0
    """The change that fails, counted from 1; 0: none."""
    has_association: bool = True
    """False: Exchange 2010 before SP1."""

    def add(self, name: str, policy: str = "", details: str = "UserMailbox") -> None:
        """Let there be a mailbox in the database MDB1."""
        self.mailboxes[name] = {
            "SamAccountName": name,
            "Alias": name,
            "DisplayName": name.title(),
            "PrimarySmtpAddress": f"{name}@old.example",
            "RecipientTypeDetails": details,
            "Database": "MDB1",
            "ThrottlingPolicy": policy,
        }

    def state(self) -> dict[str, Any]:
        """Return everything that an administrator would want back."""
        kept = ("mailboxes", "full_access", "rights", "scopes", "assignments", "policies", "registry")
        return {name: copy.deepcopy(getattr(self, name)) for name in kept}

    def shell(self) -> Shell:
        """Open a shell for one script."""
        return Shell(dict(self._commands()))

    # -- what is asked for

    def _one(self, identity: Any) -> dict[str, Any]:
        for mailbox in self.mailboxes.values():
            if text(identity).lower() in (mailbox["SamAccountName"], mailbox["PrimarySmtpAddress"]):
                return mailbox
        raise Stopped(f"{identity} could not be found")

    def _get_mailbox(self, _: Shell, given: Given, flowing: list[Any]) -> Any:
        if "Identity" in given:
            return self._one(given["Identity"])
        known = [
            each for each in self.mailboxes.values() if given.get("Database") in (None, each["Database"])
        ]
        return copy.deepcopy(known)

    def _changing(self, change: Callable[[Given], None]) -> Cmdlet:
        def run(_: Shell, given: Given, flowing: list[Any]) -> Any:
            self.changes += 1
            if self.changes == self.break_at:
                raise Stopped("the connection to the domain controller was lost")
            change(given)
            return {"Identity": given.get("Identity", given.get("Name"))}

        return run

    def _looking(self, known: dict[str, Any]) -> Cmdlet:
        def run(_: Shell, given: Given, flowing: list[Any]) -> Any:
            if given["Identity"] not in known:
                raise Stopped(f"{given['Identity']} could not be found")
            found = known[given["Identity"]]
            return found if isinstance(found, dict) else {"Name": given["Identity"]}

        return run

    # -- what is changed

    def _new_mailbox(self, given: Given) -> None:
        assert given["Password"] == "secure"
        self.add(given["Name"])

    def _set_policy(self, given: Given) -> None:
        policy = given["ThrottlingPolicy"]
        if policy is not None and policy not in self.policies and policy != "Finance":
            raise Stopped("there is no such policy")
        self._one(given["Identity"])["ThrottlingPolicy"] = text(policy)

    def _remove_policy(self, given: Given) -> None:
        if any(each["ThrottlingPolicy"] == given["Identity"] for each in self.mailboxes.values()):
            raise Stopped("the policy is applied to mailboxes")
        del self.policies[given["Identity"]]

    def _new_policy(self, given: Given) -> None:
        limits = {name: text(value) for name, value in given.items() if name not in ("Name", "*")}
        self.policies[given["Name"]] = limits

    def _remove_scope(self, given: Given) -> None:
        if any(scope == given["Identity"] for _, scope in self.assignments.values()):
            raise Stopped("the scope is in use")
        del self.scopes[given["Identity"]]

    def _add_full_access(self, given: Given) -> None:
        self._one(given["User"])
        self.full_access.add((self._one(given["Identity"])["PrimarySmtpAddress"], given["User"]))

    def _get_full_access(self, _: Shell, given: Given, flowing: list[Any]) -> Any:
        there = (self._one(given["Identity"])["PrimarySmtpAddress"], given["User"]) in self.full_access
        return {"AccessRights": ["FullAccess"], "IsInherited": False, "Deny": False} if there else None

    def _get_rights(self, _: Shell, given: Given, flowing: list[Any]) -> Any:
        self._one(given["User"])
        return [
            {"ExtendedRights": [right], "IsInherited": False, "Deny": False}
            for name, user, right in sorted(self.rights)
            if (name, user) == (given["Identity"], given["User"])
        ]

    def _restart(self, given: Given) -> None:
        self.restarts += 1

    def _read_host(self, _: Shell, given: Given, flowing: list[Any]) -> Any:
        self.passwords += "AsSecureString" in given
        return "secure" if "AsSecureString" in given else "y"

    def _commands(self) -> dict[str, Cmdlet]:
        changing, right = self._changing, ("Identity", "User", "ExtendedRights")
        commands: dict[str, Cmdlet] = {
            "Get-Mailbox": self._get_mailbox,
            "Get-User": self._get_mailbox,
            "New-Mailbox": changing(self._new_mailbox),
            "Remove-Mailbox": changing(lambda given: self.mailboxes.pop(given["Identity"]) and None),
            "Get-MailboxDatabase": lambda _, given, flowing: {"DistinguishedName": f"CN={given['Identity']}"},
            "Get-ExchangeServer": lambda *_: [
                {"DistinguishedName": f"CN=EX{number}", "IsClientAccessServer": number < 3}
                for number in (1, 2, 3)
            ],
            "Get-ADPermission": self._get_rights,
            "Add-ADPermission": changing(lambda given: self.rights.add(tuple(given[each] for each in right))),  # type: ignore[arg-type]
            "Remove-ADPermission": changing(
                lambda given: self.rights.remove(tuple(given[each] for each in right))
            ),  # type: ignore[arg-type]
            "Get-MailboxPermission": self._get_full_access,
            "Add-MailboxPermission": changing(self._add_full_access),
            "Remove-MailboxPermission": changing(
                lambda given: self.full_access.remove((given["Identity"], given["User"]))
            ),
            "Get-ManagementScope": self._looking(self.scopes),
            "New-ManagementScope": changing(
                lambda given: self.scopes.update({given["Name"]: given["RecipientRestrictionFilter"]})
            ),
            "Remove-ManagementScope": changing(self._remove_scope),
            "Get-ManagementRoleAssignment": self._looking(self.assignments),
            "New-ManagementRoleAssignment": changing(
                lambda given: self.assignments.update(
                    {given["Name"]: (given["User"], given.get("CustomRecipientWriteScope"))}
                )
            ),
            "Remove-ManagementRoleAssignment": changing(
                lambda given: self.assignments.pop(given["Identity"]) and None
            ),
            "Get-ThrottlingPolicy": self._looking(self.policies),
            "New-ThrottlingPolicy": changing(self._new_policy),
            "Remove-ThrottlingPolicy": changing(self._remove_policy),
            "Set-Mailbox": changing(self._set_policy),
            "Set-ThrottlingPolicyAssociation": changing(self._set_policy),
            "Get-ItemProperty": lambda *_: dict(self.registry),
            "New-ItemProperty": changing(
                lambda given: self.registry.update({given["Name"]: int(given["Value"])})
            ),
            "Remove-ItemProperty": changing(lambda given: self.registry.pop(given["Name"]) and None),
            "Restart-Service": changing(self._restart),
            "Get-Service": lambda *_: {"Status": "Running"},
            "Read-Host": self._read_host,
            "Get-Command": lambda _, given, flowing: given["*"][0] if given["*"][0] in commands else None,
        }
        if not self.has_association:
            del commands["Set-ThrottlingPolicyAssociation"]
        return commands | FILES


def _get_content(_: Shell, given: Given, flowing: list[Any]) -> Any:
    with open(given["LiteralPath"], encoding="utf-8-sig") as file:
        return file.read().splitlines()


def _add_content(_: Shell, given: Given, flowing: list[Any]) -> None:
    with open(given["LiteralPath"], "a", encoding="utf-8") as file:
        file.write(f"{given['Value']}\n")


def _import_csv(_: Shell, given: Given, flowing: list[Any]) -> Any:
    with open(given["Path"], encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def _select(_: Shell, given: Given, flowing: list[Any]) -> Any:
    return [{name: each.get(name) for name in given["Property"]} for each in flowing]


def _export_csv(_: Shell, given: Given, flowing: list[Any]) -> None:
    with open(given["Path"], "w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, list(flowing[0]), quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows(flowing)


def _say(shell: Shell, given: Given, flowing: list[Any]) -> None:
    shell.said.append(text(given["*"]))


FILES: dict[str, Cmdlet] = {
    "Add-Content": _add_content,
    "Export-Csv": _export_csv,
    "Get-Content": _get_content,
    "Import-Csv": _import_csv,
    "Join-Path": lambda _, given, flowing: os.path.join(*given["*"]),
    "Select-Object": _select,
    "Split-Path": lambda _, given, flowing: os.path.dirname(given["Parent"]),
    "Test-Path": lambda _, given, flowing: os.path.exists(given["LiteralPath"]),
    "Write-Host": _say,
    "Write-Warning": _say,
}
