"""Make a ``MigrationSpec`` of one TOML file and its roster; tell every fault at once, each with its line.

The file's tables are the attrs classes of ``tables``; ``[source]`` and ``[target]`` also hold the options of
the plug-in that their ``kind`` names. Nothing is touched but these files: no server, no secret, no ledger.
"""

from __future__ import annotations

import difflib
import functools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, TypeVar
from urllib.parse import urlsplit

from attrs import define, field, frozen

from alimail_core.config.file import parse, read_text
from alimail_core.config.idle import idle_domains, idle_rules
from alimail_core.config.tables import (
    TABLES,
    AccountTable,
    EndpointTable,
    FoldersTable,
    MigrationTable,
    ProvisionTable,
)
from alimail_core.config.toml_lines import nearest
from alimail_core.contract import ExecutorKind, SinkKind, SourceKind, needs_secret
from alimail_core.errors import Fault, InputError, PluginError, Remark
from alimail_core.kinds import PROVISION_KEYS, RESERVED
from alimail_core.messages import MessageFilter
from alimail_core.options import TransferOptions
from alimail_core.registry import Registry
from alimail_core.sameness import is_own_target
from alimail_core.secrets import NO_SECRET, Given, Secret
from alimail_core.sheets.options import SheetOptions
from alimail_core.sheets.roster import (
    Column,
    RosterRow,
    address_fault,
    branching,
    count,
    doubled,
    in_waves,
    scan_roster,
    shared,
)
from alimail_core.spec import AccountSpec, Endpoint, MigrationSpec, ProvisionSpec
from alimail_core.structure import KeyPath, Misfits, accounts_named, did_you_mean, structure
from alimail_core.text import printable, same_address
from alimail_core.units import parse_duration

_PLACES: Final[Mapping[str, Column]] = {
    "source_address": "source address",
    "target_address": "target address",
    "source_system": "source system",
}
"""Keys of an [[account]] whose lines messages name, by the roster's columns."""

Side: TypeAlias = Literal["source", "target"]
T = TypeVar("T")
K = TypeVar("K")
_Kind: TypeAlias = SourceKind[Any] | SinkKind[Any]


def load(path: Path, registry: Registry) -> MigrationSpec:
    """Read a configuration and its roster. Raises ``InputError`` with all faults of both."""
    return loads(read_text(path), registry, path=path)


def load_provision(path: Path, registry: Registry) -> ProvisionSpec:
    """Read of a configuration what provisioning needs: ``[migration]`` and ``[provision]``, and no roster."""
    return _Reading.of(read_text(path), registry, path).provision()


def loads(text: str, registry: Registry, *, path: Path = Path("alimail.toml")) -> MigrationSpec:
    """Read a configuration given as text; ``path`` is where relative paths start and what messages name."""
    return _Reading.of(text, registry, path).spec()


@frozen
class _End:
    """One side of accounts, as a table of the file has it."""

    table: EndpointTable
    endpoint: Endpoint
    side: Side
    name: str = ""
    """That of ``[sources.NAME]``."""


@define
class _Reading:
    """One reading of one file: what it gives, and everything that is wrong with it."""

    registry: Registry
    name: str
    """The file's, as it may be shown."""
    base: Path
    """What paths in the file are relative to."""
    document: dict[str, Any]
    lines: dict[KeyPath, int]
    faults: list[tuple[int, Fault]] = field(factory=list)
    roster: str = "the roster"
    """Its name, as it may be shown."""
    roster_faults: list[Fault] = field(factory=list)
    faulty_rows: list[RosterRow] = field(factory=list)
    """Rows of the roster that make no account, and may have a second fault."""
    remarks: list[Remark] = field(factory=list)

    @classmethod
    def of(cls, text: str, registry: Registry, path: Path) -> _Reading:
        """Begin to read. Raises ``InputError`` for a text that is no TOML."""
        name = printable(str(path))
        return cls(registry, name, path.absolute().parent, *parse(text, name))

    def spec(self) -> MigrationSpec:
        self.unknown_tables()
        migration = self.table("migration", MigrationTable)
        read = migration or self.what_is_right()
        options = self.table("transfer", TransferOptions, optional=True)
        messages = self.table("messages", MessageFilter, optional=True)
        folders = self.table("folders", FoldersTable, optional=True)
        sources = self.sources()
        target = self.endpoint("target", ("target",))
        # A faulty table is told, and not also what hangs on it.
        apart = folders is None or folders.shared_targets == "apart"
        rows = in_waves(self.rows(read, shared_targets=apart))
        executor = self.executor(read)
        accounts = self.accounts(rows, sources, target, executor)
        ledger = self.ledger(read)
        self.raise_faults()
        assert migration is not None
        assert options is not None
        assert folders is not None
        assert messages is not None
        self.remarks += idle_rules(folders.policy, accounts, lambda at: self.where(("folders", "rules", at)))
        return MigrationSpec(
            name=migration.name,
            ledger=ledger,
            accounts=accounts,
            options=options,
            policy=folders.policy,
            messages=messages,
            workers=migration.workers,
            executor=migration.executor,
            every=parse_duration(migration.every),
            pace=migration.pace,
            report_folder=migration.report_folder,
            remarks=tuple(self.remarks),
        )

    def provision(self) -> ProvisionSpec:
        self.unknown_tables()
        migration = self.table("migration", MigrationTable)
        value = self.document.get("provision", {})
        keys = PROVISION_KEYS
        own = {key: item for key, item in value.items() if key in keys} if isinstance(value, dict) else value
        table = self.structured(("provision",), own, ProvisionTable)
        endpoint = None
        named = value.get("kind") if isinstance(value, dict) else None
        if named and isinstance(named, str):
            kind = self.known(("provision", "kind"), self.registry.provisioner, named)
            rest = {key: item for key, item in value.items() if key not in keys}
            options = kind and self.structured(("provision",), rest, kind.options)
            endpoint = Endpoint(named, options)
        elif table is not None:
            for key in sorted(value.keys() - keys):
                self.fault(
                    ("provision", key), f"there is no option {printable(key)}", did_you_mean(key, keys)
                )
        ledger = self.ledger(migration)
        transfer = self.table("transfer", TransferOptions, optional=True)
        self.raise_faults()
        assert migration is not None
        assert table is not None
        assert transfer is not None
        passwords = self.base / table.passwords
        return ProvisionSpec(
            migration.name,
            ledger,
            endpoint,
            table.employees,
            table.groups,
            table.domain,
            passwords,
            SheetOptions(table.employee_headings, table.group_headings, table.department_base),
            transfer.settle_seconds,
        )

    def unknown_tables(self) -> None:
        for key in self.document:
            if key not in TABLES:
                self.fault((key,), f"there is no table [{printable(key)}]", did_you_mean(key, TABLES))

    def table(self, name: str, cls: type[T], *, optional: bool = False) -> T | None:
        if name not in self.document and not optional:
            self.fault((), f"the table [{name}] is missing", "`alimail init` writes a file with all of them")
            return None
        return self.structured((name,), self.document.get(name, {}), cls)

    def structured(self, path: KeyPath, value: Any, cls: type[T]) -> T | None:
        try:
            return structure(value, cls, base=self.base)
        except Misfits as error:
            for item in error.items:
                table = printable(".".join(each for each in path if isinstance(each, str)))
                about = item.text if item.path else f"[{table}] {item.message}"
                self.fault((*path, *item.path), about, item.remedy)
            return None

    def what_is_right(self) -> MigrationTable | None:
        """Return a faulty [migration] without its faults, so that what hangs on the rest is looked at as well."""
        value = self.document.get("migration")
        if not isinstance(value, dict):
            return None
        try:
            return structure(value, MigrationTable, base=self.base)
        except Misfits as error:
            wrong = {item.path[0] for item in error.items if item.path}
        rest = {key: item for key, item in value.items() if key not in wrong}
        return structure(rest | {"name": "unnamed"}, MigrationTable, base=self.base)

    def sources(self) -> dict[str, _End | None]:
        """Return the old systems by their names in small letters; that of [source] is empty."""
        named = self.document.get("sources", {})
        if not isinstance(named, dict):
            self.fault(("sources",), "a further old system is written [sources.NAME]", "")
            named = {}
        if "" in named:
            self.fault(("sources", ""), "a further old system has no name", "write [sources.NAME]")
            named = {name: table for name, table in named.items() if name}
        others = {name.casefold(): self.endpoint("source", ("sources", name), name) for name in named}
        return {**others, "": self.endpoint("source", ("source",))}

    def endpoint(self, side: Side, path: KeyPath, name: str = "") -> _End | None:
        if path[0] not in self.document:
            self.table(side, EndpointTable)
            return None
        value = self.document["sources"][name] if name else self.document[side]
        own = (
            {key: item for key, item in value.items() if key in RESERVED}
            if isinstance(value, dict)
            else value
        )
        table = self.structured(path, own, EndpointTable)
        if not isinstance(value, dict) or not isinstance(value.get("kind"), str):
            return None
        kind = self.known((*path, "kind"), lambda kind: self.kind(side, kind), value["kind"])
        if kind is None:
            return None
        rest = {key: item for key, item in value.items() if key not in RESERVED}
        options = self.structured(path, rest, kind.options)
        if table is None or options is None:
            return None
        return _End(table, Endpoint(kind.name, options), side, name)

    def kind(self, side: Side, name: str) -> _Kind:
        return self.registry.source(name) if side == "source" else self.registry.sink(name)

    def known(self, path: KeyPath, find: Callable[[str], K], name: str) -> K | None:
        try:
            return find(name)
        except PluginError as error:
            self.fault(path, error.message, error.remedy)
            return None

    def executor(self, migration: MigrationTable | None) -> ExecutorKind | None:
        if migration is None:
            return None
        return self.known(("migration", "executor"), self.registry.executor, migration.executor)

    def ledger(self, migration: MigrationTable | None) -> str:
        if migration is None:
            return ""
        if "://" not in migration.ledger:
            return str(self.base / os.path.expanduser(migration.ledger))
        try:
            password = urlsplit(migration.ledger).password
        except ValueError:
            self.fault(("migration", "ledger"), "ledger is not a URL", "")
        else:
            if password is not None or "password=" in migration.ledger:
                remedy = "leave it out: PGPASSWORD or ~/.pgpass is where PostgreSQL's own tools have it"
                self.fault(("migration", "ledger"), "ledger has a password in it", remedy)
        return migration.ledger

    def rows(self, migration: MigrationTable | None, *, shared_targets: bool) -> list[RosterRow]:
        """Return the accounts of roster and file; tell what is wrong with them together."""
        before = len(self.faults)
        rows, faulty = self.inline(), list[RosterRow]()
        if migration and migration.roster:
            self.roster = printable(migration.roster.name)
            roster = scan_roster(migration.roster, migration.headings)
            rows, faulty = [*roster.rows, *rows], roster.faulty
            self.faulty_rows = faulty
            self.roster_faults += roster.faults
            self.remarks += roster.remarks
        self.roster_faults += doubled([*rows, *faulty], shared_targets=shared_targets)
        self.remarks += branching(rows)
        if not rows and migration and len(self.faults) == before and not self.roster_faults:
            self.fault(
                ("migration",), "there is no account", 'name a roster = "FILE", or write [[account]] tables'
            )
        return rows

    def inline(self) -> list[RosterRow]:
        listed = self.document.get("account", [])
        if not isinstance(listed, list):
            self.fault(("account",), "account must be written [[account]], since there may be several", "")
            return []
        made = [self.account(index, value) for index, value in enumerate(listed)]
        return [row for row in made if row is not None]

    def account(self, index: int, value: object) -> RosterRow | None:
        path: KeyPath = ("account", index)
        table = self.structured(path, value, AccountTable)
        if table is None:
            return None
        before = len(self.faults)
        for key, address in (
            ("source_address", table.source_address),
            ("target_address", table.target_address),
        ):
            if fault := address_fault(address):
                self.fault((*path, key), f"{key} {fault[0]}", fault[1])
        if len(self.faults) > before:
            return None
        where = self.where(path)
        places = {column: self.where((*path, key)) for key, column in _PLACES.items()}
        return RosterRow(
            where,
            table.source_address,
            table.target_address,
            table.source_user,
            table.target_user,
            table.source_secret and table.source_secret.labelled(f"source {table.source_address}"),
            table.target_secret and table.target_secret.labelled(f"target {table.target_address}"),
            table.wave,
            table.source_system,
            at=lambda column: places.get(column, where),
        )

    def accounts(
        self,
        rows: list[RosterRow],
        sources: Mapping[str, _End | None],
        target: _End | None,
        executor: ExecutorKind | None,
    ) -> tuple[AccountSpec, ...]:
        common = shared(rows)
        made = []
        for row in rows:
            source = self.source_of(row, sources)
            if source is not None and target is not None:
                made.append((row, self.account_spec(row, source, target, executor, common)))
        for row in self.faulty_rows:
            self.source_of(row, sources)
        self.tell_same_mailboxes(made)
        if not self.faults and not self.roster_faults:  # a faulty row may be the one that is looked for
            self.tell_absent(made, filter(None, sources.values()))
            self.tell_idle([each for _, each in made], filter(None, (*sources.values(), target)))
        return tuple(account for _, account in made)

    def source_of(self, row: RosterRow, sources: Mapping[str, _End | None]) -> _End | None:
        system = row.source_system.casefold()
        if system not in sources:
            names = sorted(set(sources) - {""})
            remedy = did_you_mean(system, names) if names else "write one, with the keys of [source]"
            fault = Fault(row.at("source system"), f"there is no [sources.{printable(system)}]", remedy)
            self.roster_faults.append(fault)
        return sources.get(system)

    def tell_same_mailboxes(self, accounts: Iterable[tuple[RosterRow, AccountSpec]]) -> None:
        """Refuse a target that is its own source, and one mailbox that two target addresses open."""
        users: dict[str, RosterRow] = {}
        for row, account in accounts:
            if is_own_target(account):
                message = "the target is the source itself: the same user on the same server"
                self.roster_faults.append(
                    Fault(row.at("target address"), message, "see `host` in [source] and [target]")
                )
            other = users.setdefault(same_address(account.target_user), row)
            if same_address(other.target_address) != same_address(row.target_address):
                message = (
                    f"the target's user name is that of {other.at('target address')}, with another address"
                )
                remedy = "give each target a user of its own, or the same address where it is one mailbox"
                self.roster_faults.append(Fault(row.at("target address"), message, remedy))

    def tell_absent(self, accounts: Iterable[tuple[RosterRow, AccountSpec]], sources: Iterable[_End]) -> None:
        """Refuse an option for an account that its system does not have: what it alone brings would stay, unsaid."""
        known = list(accounts)
        for end in sources:
            table = ("sources", end.name) if end.name else ("source",)
            users = {account.source_user.casefold() for _, account in known if account.source is end.endpoint}
            for name, user in accounts_named(end.endpoint.options).items():
                if user.casefold() not in users:
                    near = difflib.get_close_matches(user.casefold(), users, n=1, cutoff=0.8)
                    remedy = f"did you mean {printable(near[0])}?" if near else "give it a line in the roster"
                    self.fault((*table, name), f"{name} is the source user of no account", remedy)

    def tell_idle(self, accounts: Sequence[AccountSpec], ends: Iterable[_End]) -> None:
        """Tell the `login_domains` that no account on that system has: a slip there sends the wrong user name."""
        for end in (end for end in ends if end.table.login_domains):
            where = self.where((*(("sources", end.name) if end.name else (end.side,)), "login_domains"))
            self.remarks += idle_domains(end.table.login_domains, end.endpoint, accounts, where)

    def account_spec(
        self,
        row: RosterRow,
        source: _End,
        target: _End,
        executor: ExecutorKind | None,
        common: frozenset[str],
    ) -> AccountSpec:
        return AccountSpec(
            row.source_address,
            row.target_address,
            source.endpoint,
            target.endpoint,
            row.source_user or source.table.user_of(row.source_address),
            row.target_user or target.table.user_of(row.target_address),
            self.secret(row, row.source_secret, source, executor),
            self.secret(row, row.target_secret, target, executor),
            row.wave,
            (row.source_address,) if same_address(row.target_address) in common else (),
        )

    def secret(
        self,
        row: RosterRow,
        own: Secret | None,
        end: _End,
        executor: ExecutorKind | None,
    ) -> Secret:
        side, common = end.side, end.table.secret
        secret = own or (common and common.labelled(f"every {side} account {end.name}".strip()))
        if secret is None and not needs_secret(self.kind(side, end.endpoint.kind), end.endpoint.options):
            return NO_SECRET
        if secret is None:
            address = row.source_address if side == "source" else row.target_address
            first = self.first_passwords if side == "target" else None
            label = f"{side} {address}"
            return Secret.made(first[0], address, label, first[1]) if first else Secret.missing(label)
        if executor and not executor.same_process and not secret.leaves_process:
            message = f"the {side} password is asked at a prompt, which executor = {executor.name} cannot do"
            self.roster_faults.append(
                Fault(row.where, message, "use another reference, or executor = threads")
            )
        return secret

    @functools.cached_property
    def first_passwords(self) -> tuple[Path, Given] | None:
        """Return where `provision` keeps passwords, and where others are given; ``None``: it makes no accounts.

        Faults of the table are for who provisions.
        """
        from alimail_core.provisioning.roster import EmployeeSheet

        value = self.document.get("provision")
        if not isinstance(value, dict) or not value.get("employees"):
            return None
        own = {key: item for key, item in value.items() if key in PROVISION_KEYS}
        try:
            table = structure(own, ProvisionTable, base=self.base)
        except Misfits:
            return None
        assert table.employees is not None
        headings = tuple(table.employee_headings.items())
        return self.base / table.passwords, EmployeeSheet(table.employees, table.domain, headings)

    def where(self, path: KeyPath) -> str:
        return f"{self.name}:{nearest(self.lines, path)}"

    def fault(self, path: KeyPath, message: str, remedy: str) -> None:
        self.faults.append((nearest(self.lines, path), Fault(self.where(path), message, remedy)))

    def raise_faults(self) -> None:
        told = [fault for _, fault in sorted(self.faults, key=lambda item: item[0])] + self.roster_faults
        if told:
            own = [fault for fault in told if fault.where.startswith(f"{self.name}:")]
            rest = [fault for fault in told if fault not in own]
            names = ((self.name, own), (self.roster, rest))
            message = ", ".join(f"{name} has {count(faults)}" for name, faults in names if faults)
            raise InputError(message, told, remarks=self.remarks)
