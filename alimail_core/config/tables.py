"""The tables of a configuration file. Their fields' texts are the reference and the comments of ``init``."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from attrs import Factory, frozen

from alimail_core.contract import option
from alimail_core.folders.policy import FolderPolicy, FolderRule, split_path
from alimail_core.messages import MessageFilter
from alimail_core.model import SpecialUse
from alimail_core.options import TransferOptions
from alimail_core.pace import Pace
from alimail_core.secrets import Secret
from alimail_core.sheets.options import EmployeeColumn, GroupColumn
from alimail_core.sheets.roster import Column, address_fault
from alimail_core.units import parse_duration

Use = Literal["all", "archive", "drafts", "flagged", "important", "junk", "sent", "trash"]

MAX_WORKERS = 1_000

PASSWORDS = Path("passwords.csv")


@frozen
class MigrationTable:
    """What is moved, and how many at once."""

    name: str = option("Binds the ledger to this migration: the ledger of one with another name is refused.")
    ledger: str = option(
        "Where it is kept what was carried: a path, relative to this file, or the URL of a PostgreSQL database, "
        "without a password (PGPASSWORD or ~/.pgpass has that).",
        default="alimail.db",
    )
    roster: Path | None = option("The spreadsheet that lists the accounts, csv or xlsx.", default=None)
    headings: dict[str, Column] = option(
        'Further headings of the roster, such as {"Alte Adresse" = "source address"}.', default=Factory(dict)
    )
    workers: int = option("How many accounts are carried side by side.", default=4)
    executor: str = option("What carries them: `threads`, `processes`, or a plug-in's.", default="threads")
    every: str = option("How long `watch` pauses after each account's pass: 90s, 5m, 2h.", default="5m")
    pace: tuple[Pace, ...] = option(
        "How fast mail is read at most, by the time of day, by all accounts together: "
        '{begin = "08:00", end = "18:00", octets_per_second = "500kB", days = ["mon", "tue"]}; all but the speed '
        "may be left out. Where several hold, the slowest does.",
        default=(),
    )
    report_folder: Path | None = option("Where `report` writes. By default beside the ledger.", default=None)

    @name.validator
    def _check_name(self, _: object, value: str) -> None:
        if not value.strip() or len(value) > 100 or not value.isprintable():
            raise ValueError("must have 1 to 100 visible characters")

    @every.validator
    def _check_every(self, _: object, value: str) -> None:
        parse_duration(value)

    @workers.validator
    def _check_workers(self, _: object, value: int) -> None:
        if not 1 <= value <= MAX_WORKERS:
            raise ValueError(f"must be from 1 to {MAX_WORKERS}")

    @ledger.validator
    def _check_ledger(self, _: object, value: str) -> None:
        if not value.strip() or "\0" in value:
            raise ValueError("must be a path or a URL")


@frozen
class EndpointTable:
    """One side of all accounts. Beside these keys stand the options of the plug-in that ``kind`` names."""

    kind: str = option("The plug-in: `alimail plugins list` names those installed.")
    login: Literal["address", "local-part"] = option(
        "The user name of an account that the roster gives none: its whole address, or what stands before the @.",
        default="address",
    )
    login_domains: tuple[str, ...] = option(
        'With `login = "local-part"`: the domains whose accounts log in with their whole address all the same.',
        default=(),
    )
    secret: Secret | None = option(
        "The password of accounts that the roster gives none, such as a master user's: `env:NAME`, `file:PATH`, "
        "`keyring:SERVICE/USER`, `command:PROGRAM ARGS` or `prompt`; never the password itself.",
        default=None,
    )

    @login_domains.validator
    def _check_domains(self, _: object, value: tuple[str, ...]) -> None:
        if self.login == "address" and value:
            raise ValueError('is for `login = "local-part"`; with `address`, the accounts of all domains do')
        for domain in value:
            if address_fault(f"anna@{domain}"):
                raise ValueError("must be domains, such as old.example")

    def user_of(self, address: str) -> str:
        """Return the user name of an account that the roster gives none."""
        local, _, domain = address.rpartition("@")
        whole = self.login == "address" or domain.casefold() in map(str.casefold, self.login_domains)
        return address if whole else local


@frozen
class RuleTable:
    """One rule: the folders that match `source` go to `target`, or are left out. A/B names B in A."""

    source: str = option("A path, where * and ? stand for characters and ** for any number of folders.")
    target: str | None = option("The folder that takes them.", default=None)
    skip: bool = option("Leave them out.", default=False)
    accounts: tuple[str, ...] = option(
        'Only for accounts with such an address on either side: ["anna@old.example", "*@sales.example"].',
        default=(),
    )

    def __attrs_post_init__(self) -> None:
        """Refuse a rule that says both, or nothing."""
        if (self.target is None) != self.skip:
            raise ValueError("say either target or skip = true")
        if not all(split_path(self.source)) or not all(
            split_path("A" if self.target is None else self.target)
        ):
            raise ValueError("a folder must be named here, and each folder that it is in")


@frozen
class FoldersTable:
    """Where folders go."""

    history: Literal["original", "inbox", "folder"] = option(
        "`original`: each folder where it was; `inbox`: everything into the inbox; `folder`: everything under one "
        "folder, the tree as it was.",
        default="original",
    )
    folder: str = option('With `history = "folder"`: its path, such as Archive/Old mail.', default="")
    rules: tuple[RuleTable, ...] = option(
        'Your own wishes, the first that matches decides: {source = "Projects", target = "Archive/Projects"} moves a '
        'folder with the tree beneath it, {source = "Lists/**", target = "Lists"} merges a tree into one folder, and '
        '{source = "Spam", skip = true} leaves one out. With accounts = ["*@sales.example"] it is for these alone.',
        default=(),
    )
    skip: tuple[Use, ...] = option(
        "Special folders that are left out, since their messages stand in other folders as well.",
        default=("flagged", "important"),
    )
    shared_targets: Literal["refuse", "apart"] = option(
        "Several accounts that go to one target: `refuse` them, or keep them `apart`, all of each beneath a folder "
        "that is called as its source address.",
        default="refuse",
    )

    def __attrs_post_init__(self) -> None:
        """Refuse a policy that lacks its folder."""
        if self.history == "folder" and not self.folder:
            raise ValueError("'folder' must be named")
        if self.folder and not all(split_path(self.folder)):
            raise ValueError("'folder' has an empty name in it")
        if self.history == "inbox" and self.shared_targets == "apart":
            raise ValueError("history = inbox and shared_targets = apart contradict each other")

    @property
    def policy(self) -> FolderPolicy:
        """Return what it says as the engine takes it."""
        rules = (
            FolderRule(
                split_path(rule.source),
                None if rule.target is None else split_path(rule.target),
                rule.accounts,
            )
            for rule in self.rules
        )
        skip = frozenset(SpecialUse[use.upper()] for use in self.skip)
        return FolderPolicy(self.history, split_path(self.folder) if self.folder else (), tuple(rules), skip)


@frozen
class AccountTable:
    """One account, written here rather than in a roster; the table may be repeated."""

    source_address: str = option("The address at the source.")
    target_address: str = option("The address at the target.")
    source_user: str = option("The user name at the source, where it is not as `login` says.", default="")
    target_user: str = option("The user name at the target, where it is not as `login` says.", default="")
    source_secret: Secret | None = option("Where the password of the source is found.", default=None)
    target_secret: Secret | None = option("Where the password of the target is found.", default=None)
    wave: int | None = option("Lower waves are carried first, and accounts without one last.", default=None)
    source_system: str = option("The NAME of its old system's [sources.NAME]; empty: [source].", default="")


@frozen
class ProvisionTable:
    """Employees and mail groups, for `provision`. Beside these keys stand the options of the plug-in of `kind`."""

    kind: str = option(
        "The provisioner plug-in that makes accounts; empty: the console does, with files that are exported for it.",
        default="",
    )
    employees: Path | None = option("The spreadsheet of the employees as they shall be.", default=None)
    groups: Path | None = option("The spreadsheet of the mail groups as they shall be.", default=None)
    employee_headings: dict[str, EmployeeColumn] = option(
        "Further headings of the employees' sheet, such as of an export from another directory: "
        '{"EmailAddress" = "account", "EmployeeID" = "employee number", "proxyAddresses" = "aliases"}; "ignored" '
        "keeps a column from being read.",
        default=Factory(dict),
    )
    group_headings: dict[str, GroupColumn] = option(
        'The same of the groups: {"Name" = "group name", "mail" = "group address", "ManagedBy" = "owners"}.',
        default=Factory(dict),
    )
    department_base: str = option(
        "Where departments are OUs of distinguished names: within what they are, such as "
        "OU=Staff,DC=corp,DC=example. Who is elsewhere gets none.",
        default="",
    )
    domain: str = option("Put behind accounts that are written without one.", default="")
    passwords: Path = option(
        "Where new passwords are kept, for your eyes only; each is made once. An account of the roster without a "
        "target password takes the one that was made for it.",
        default=PASSWORDS,
    )


TABLES: dict[str, type[Any]] = {
    "migration": MigrationTable,
    "source": EndpointTable,
    "sources": EndpointTable,
    "target": EndpointTable,
    "folders": FoldersTable,
    "messages": MessageFilter,
    "transfer": TransferOptions,
    "account": AccountTable,
    "provision": ProvisionTable,
}
"""The tables by name, in the order in which they are written."""
