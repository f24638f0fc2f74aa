"""Read the roster: the spreadsheet that lists accounts. Every fault is told with sheet, row and column.

A roster is csv (UTF-8, UTF-16 with BOM, GB18030, Windows-1252; comma, semicolon or tab) or xlsx. Its first row that
is neither empty nor a note nor a title has the headings, English or Chinese, in any order. A title is one cell by
itself. Notes begin with ``#``: above the headings lines that have nothing else, below them rows whose source address
does. It is untrusted input: sizes are bounded, formulas are refused, and no message repeats what stands in a password
column.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final, Literal, TypeAlias

from attrs import Factory, define, field, frozen

from alimail_core.errors import Fault, InputError, Remark
from alimail_core.secrets import Secret, cell_fault, file_remark, parse_cell
from alimail_core.sheets.columns import Columns, Findings, Table, places, read_table, unfit, wanted
from alimail_core.sheets.files import Row
from alimail_core.text import printable, same_address

Column: TypeAlias = Literal[
    "source address",
    "source password",
    "source user",
    "target address",
    "target password",
    "target user",
    "wave",
    "source system",
]
_Values: TypeAlias = dict[Column, str | Secret]

MAX_FIELD: Final = 1_000
"""The longest address or user name, in characters; a password may be longer, since tokens are."""

MAX_PASSWORD: Final = 10_000

EXAMPLE_ADDRESS: Final = "# anna@old.example"
"""The source address of a template's example; an account that its author left out is told, the example is not."""

COLUMNS: Final[Mapping[Column, tuple[str, ...]]] = {
    "source address": (
        "source address|source|source email|source mailbox|source account|old address|old email|old mailbox|"
        "original address|original email|from",
        "原邮箱地址|原邮箱|原邮箱帐号|原邮箱账号|原地址|原帐号|原账号|源邮箱地址|源邮箱|源地址|源帐号|源账号|旧邮箱地址|旧邮箱|旧地址",
    ),
    "source password": (
        "source password|source secret|old password|original password",
        "原密码|原邮箱密码|源密码|源邮箱密码|旧密码|旧邮箱密码",
    ),
    "source user": (
        "source user|source user name|source login|old user|original user",
        "原用户名|原登录名|源用户名|源登录名",
    ),
    "target address": (
        "target address|target|target email|target mailbox|target account|new address|new email|new mailbox|"
        "destination address|destination|to",
        "目标帐号|目标账号|目标邮箱|目标邮箱地址|目标邮箱帐号|目标邮箱账号|目标地址|新邮箱地址|新邮箱|新地址|新帐号|新账号",
    ),
    "target password": (
        "target password|target secret|new password|destination password",
        "目标密码|目标邮箱密码|目标帐号密码|目标账号密码|新密码|新邮箱密码",
    ),
    "target user": ("target user|target user name|target login|new user", "目标用户名|目标登录名|新用户名"),
    "wave": ("wave|batch|priority", "批次|迁移批次|波次|优先级"),
    "source system": ("source system|old system|system", "原系统|源系统|旧系统"),
}
"""The headings of each column, English and Chinese; the first of each is what a template has."""

_REQUIRED: Final[tuple[Column, ...]] = ("source address", "target address")
_PASSWORDS: Final[tuple[Column, ...]] = ("source password", "target password")
_NUMBER: Final = re.compile(r"-?[0-9.]+")
_WIDE: Final = {chr(0xFEE0 + code): chr(code) for code in range(0x21, 0x7F)} | {"。": ".", "｡": "."}
"""What a Chinese or Japanese keyboard may type for a character of ASCII (U+FF01 to U+FF5E), and full stops."""
_ADDRESS: Final = re.compile(r"[^\s@\"<>(),;:\\\[\]]+@[\w-]+(?:\.[\w-]+)*")


@frozen
class RosterRow:
    """One account as a roster lists it; what it leaves empty, the configuration decides."""

    where: str
    """File, sheet and row, for messages."""
    source_address: str
    target_address: str
    source_user: str = ""
    target_user: str = ""
    source_secret: Secret | None = field(default=None, repr=False)
    target_secret: Secret | None = field(default=None, repr=False)
    wave: int | None = None
    source_system: str = ""
    """The ``[sources.NAME]`` of the configuration that its mailbox is on; empty: ``[source]``."""
    at: Callable[[Column], str] = field(kw_only=True, repr=False, eq=False)
    """Names the place of one value, for messages; where that is not known the row."""


@define
class Roster(Findings):
    """What a file gave: rows, what is wrong, and what is merely worth knowing."""

    rows: list[RosterRow] = Factory(list)
    faulty: list[RosterRow] = Factory(list)
    """Rows with a fault beside their addresses, so that these are held against the others' all the same."""


def read_roster(path: Path, headings: Mapping[str, Column] | None = None) -> list[RosterRow]:
    """Return the accounts of a roster. Raises ``InputError`` with every fault; see ``scan_roster`` for the rest."""
    roster = scan_roster(path, headings)
    faults = [*roster.faults, *doubled([*roster.rows, *roster.faulty])]
    if faults:
        raise InputError(f"{printable(str(path))} has {count(faults)}", faults, remarks=roster.remarks)
    return roster.rows


def scan_roster(path: Path, headings: Mapping[str, Column] | None = None) -> Roster:
    """Read a roster and return all of it, faults included; each row is judged by itself.

    ``headings`` names further headings: the file's own -> one of ``COLUMNS``. Never raises for what is in the file.
    """
    roster = Roster()
    table = read_table(path, Columns(COLUMNS, _REQUIRED, headings or {}), roster)
    if table is not None:
        _Reader(path, table, roster, path.parent).read()
    return roster


def doubled(rows: Iterable[RosterRow], *, shared_targets: bool = False) -> list[Fault]:
    """Tell the accounts that are listed twice and, unless they may be shared, the targets of two sources."""
    accounts: dict[tuple[str, str], RosterRow] = {}
    targets: dict[str, RosterRow] = {}
    faults = []
    for row in rows:
        target = same_address(row.target_address)
        twin = accounts.setdefault((same_address(row.source_address), target), row)
        other = targets.setdefault(target, row)
        if twin is not row:
            message = f"this account stands in {twin.at('source address')} already"
            faults.append(Fault(row.at("source address"), message, "leave one of them out"))
        elif other is not row and not shared_targets:
            message = (
                f"the target address stands in {other.at('target address')} already, with another source"
            )
            remedy = 'give each source a target of its own, or say shared_targets = "apart" in [folders]'
            faults.append(Fault(row.at("target address"), message, remedy))
    return faults


def shared(rows: Iterable[RosterRow]) -> frozenset[str]:
    """Return the targets into which several sources go, as ``same_address`` spells them."""
    targets = Counter(same_address(row.target_address) for row in rows)
    return frozenset(target for target, times in targets.items() if times > 1)


def branching(rows: Iterable[RosterRow]) -> list[Remark]:
    """Tell the sources that go to more than one target."""
    targets: dict[str, list[RosterRow]] = defaultdict(list)
    for row in rows:
        targets[same_address(row.source_address)].append(row)
    groups = [
        group for group in targets.values() if len({same_address(row.target_address) for row in group}) > 1
    ]
    return [
        Remark("note", f"{printable(group[0].source_address)} goes to {len(group)} targets: {_places(group)}")
        for group in groups
    ]


def _places(rows: Iterable[RosterRow]) -> str:
    return places(row.where for row in rows)


def in_waves(rows: Iterable[RosterRow]) -> list[RosterRow]:
    """Put lower waves first, and last what has none; within a wave the order stays."""
    return sorted(rows, key=lambda row: (row.wave is None, row.wave or 0))


def address_fault(address: str) -> tuple[str, str] | None:
    """Say what is wrong with a mail address and how to mend it; ``None``: nothing that can be seen from here."""
    for character in address:
        if character in _WIDE:
            return f"has a full-width {character} in it", f"write {_WIDE[character]}"
        if character.isspace():
            return "has a space in it", "take it out"
        if not character.isprintable():
            return f"has an invisible character in it (U+{ord(character):04X})", "type it anew"
    if len(address.encode("utf-8", "replace")) > 254:
        return "is too long for a mail address", ""
    if not _ADDRESS.fullmatch(address):
        return "is not a mail address", "write local-part@domain"
    return None


def count(faults: Sequence[object]) -> str:
    """Say how many faults there are."""
    return "1 fault" if len(faults) == 1 else f"{len(faults)} faults"


@define
class _Reader:
    """One reading of one file."""

    path: Path
    table: Table[Column]
    roster: Roster
    base: Path
    """Where relative paths in cells start."""

    def read(self) -> None:
        rows = wanted(self.table, "source address", EXAMPLE_ADDRESS, self.roster)
        if not rows:
            remedy = f"write a row below its headings, {self.table.headings.where}, for each account"
            self.roster.fault(printable(str(self.path)), "there is no account in it", remedy)
        literal = False
        for row in rows:
            before = len(self.roster.faults)
            values = self._values(row)
            if len(self.roster.faults) > before:
                if all(column in values for column in _REQUIRED):
                    self.roster.faulty.append(self._made(row, values))
            else:
                made = self._made(row, values)
                self.roster.rows.append(made)
                secrets = (made.source_secret, made.target_secret)
                literal |= any(secret is not None and secret.scheme == "literal" for secret in secrets)
        if literal and (remark := file_remark(self.path, "passwords")):
            self.roster.remarks.append(remark)

    def _values(self, row: Row) -> _Values:
        """Return what a row holds and is right."""
        values: _Values = {}
        for column in self.table.columns.values():
            cell = self.table.cell(row, column)
            if column == "wave" and _NUMBER.fullmatch(cell.raw):  # here what a program made of it is as good
                self._plain_value(values, row, column, cell.raw)
            elif fault := cell.fault or unfit(cell.text, MAX_PASSWORD if column in _PASSWORDS else MAX_FIELD):
                self._fault(row, column, fault, cell.remedy)
            elif column in _PASSWORDS:
                self._password(values, row, column, cell.text)
            else:
                self._plain_value(values, row, column, cell.text.strip())
        return values

    def _fault(self, row: Row, column: Column, what: str, remedy: str) -> None:
        self.roster.fault(self.table.at(row, column), f"the {column} {what}", remedy)

    def _plain_value(self, values: _Values, row: Row, column: Column, text: str) -> None:
        if column in _REQUIRED:
            fault = address_fault(text) if text else ("is empty", "")
            if fault:
                self._fault(row, column, *fault)
                return
        if column == "wave" and text and not re.fullmatch(r"[0-9]{1,6}", text):
            remedy = "write 1, 2, 3 and so on, or leave it empty: the last"
            self._fault(row, column, "is not a whole number", remedy)
            return
        values[column] = text

    def _password(self, values: _Values, row: Row, column: Column, text: str) -> None:
        if not text.strip():
            return
        if text != text.strip():
            self.roster.remarks.append(
                Remark(
                    "warning",
                    f"{self.table.at(row, column)}: the {column} begins or ends with a space",
                    "see whether it belongs there",
                )
            )
        if fault := cell_fault(text):
            remedy = f"{fault[1]}; a password that looks like a reference is written literal:PASSWORD"
            self._fault(row, column, fault[0], remedy)
        else:
            values[column] = parse_cell(text, base=self.base)

    def _made(self, row: Row, values: _Values) -> RosterRow:
        def text(column: Column) -> str:
            return str(values.get(column, ""))

        def secret(column: Column, address: Column, side: str) -> Secret | None:
            found = values.get(column)
            return found.labelled(f"{side} {text(address)}") if isinstance(found, Secret) else None

        return RosterRow(
            row.where,
            text("source address"),
            text("target address"),
            text("source user"),
            text("target user"),
            secret("source password", "source address", "source"),
            secret("target password", "target address", "target"),
            int(text("wave")) if text("wave") else None,
            text("source system"),
            at=partial(self.table.at, row),
        )
