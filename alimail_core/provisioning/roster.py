"""Read employees and mail groups from spreadsheets; tell every fault with sheet, row, column and value.

The columns are those of the console's own import file, English or Chinese, in any order, and a few more. A file may
be csv or xlsx, and one workbook may hold both sheets. No message repeats what stands in a password column.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final

from attrs import Factory, define, evolve, field, frozen

from alimail_core.errors import InputError
from alimail_core.provisioning.directory import (
    NOBODY,
    DepartmentPath,
    Directory,
    Employee,
    Group,
    addresses_of,
    fold,
)
from alimail_core.provisioning.distinguished import (
    LONGEST,
    department_of,
    is_name,
    mail_addresses,
    names_of,
    same_name,
)
from alimail_core.provisioning.faults import tell_doubled, tell_twin_departments
from alimail_core.provisioning.passwords import password_fault
from alimail_core.provisioning.plan import Wish
from alimail_core.secrets import Secret, cell_fault, file_remark, parse_cell
from alimail_core.sheets.columns import Columns, Findings, Table, read_table, unfit, wanted
from alimail_core.sheets.files import Row
from alimail_core.sheets.options import LDAP, EmployeeColumn, GroupColumn, SheetOptions
from alimail_core.sheets.roster import address_fault, count
from alimail_core.text import printable

EMPLOYEE_COLUMNS: Final[Mapping[EmployeeColumn, tuple[str, ...]]] = {
    "name": ("name|full name|employee name|display name", "姓名|员工姓名|名字|显示名|显示名称"),
    "account": (
        "account|mail account|email account|email|email address|mail address|address|mailbox",
        "邮箱帐号|邮箱账号|邮箱|邮箱地址|帐号|账号|员工邮箱|邮件地址",
    ),
    "employee number": (
        "employee number|employee no|employee id|staff number|staff no|staff id|number",
        "工号|员工编号|员工号",
    ),
    "password": ("password|mail password|email password|initial password", "邮箱密码|密码|初始密码|登录密码"),
    "department": ("department|department path|dept|organisation unit", "部门|部门路径|所属部门|所在部门"),
    "extension": ("extension|phone extension|work phone|office phone", "分机号|分机|工作电话|办公电话"),
    "title": ("title|job title|position|post", "职务|职位|岗位"),
    "mobile": ("mobile|mobile phone|cell phone|phone", "手机|手机号|手机号码|移动电话"),
    "quota": ("quota|quota mb|mailbox quota|mailbox size|mailbox capacity", "邮箱容量(M)|邮箱容量|容量|配额"),
    "manager": ("manager|manager email|supervisor|reports to", "直属上级|直接上级|上级|主管|经理"),
    "aliases": ("aliases|alias|email aliases|email alias", "别名|邮箱别名"),
}
"""The headings of each column, English and Chinese; the first of each is what a template has."""

GROUP_COLUMNS: Final[Mapping[GroupColumn, tuple[str, ...]]] = {
    "group name": ("group name|mail group|mail group name|list name", "邮件组名称|组名称|群组名称|邮件组"),
    "group address": (
        "group address|group account|group email|list address",
        "邮件组地址|邮件组帐号|邮件组账号|组地址|群组地址",
    ),
    "owners": ("owners|owner|group owner|administrator|administrators", "管理员|负责人|所有者|组管理员"),
    "members": ("members|member|group members|member address", "成员|组成员|成员邮箱|成员地址"),
}

EXAMPLE_ACCOUNT: Final = "# anna@new.example"
EXAMPLE_GROUP: Final = "# everybody@new.example"

MAX_TEXT: Final = 100
"""The longest name, title, number or single department, in characters."""

MAX_CELL: Final = 32_767
"""What a cell of a spreadsheet holds; lists of members may be that long."""

_LOCAL: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,62}[A-Za-z0-9_-])?")
_SEPARATORS: Final = re.compile(r"[\s;,；，、]+")
_PLAIN: Final[Mapping[EmployeeColumn, str]] = {
    "name": "name",
    "employee number": "number",
    "extension": "extension",
    "title": "title",
    "mobile": "mobile",
}
"""Columns of plain text, with the field of ``Employee`` that each is."""


@frozen
class EmployeeRow:
    """An employee as a row has it. An empty cell wishes nothing."""

    employee: Employee
    at: Mapping[str, str]
    """The cell of each column, and under ``""`` the row, for messages."""
    secret: Secret | None = field(default=None, repr=False)


@frozen
class GroupRow:
    """A mail group, of one row or several."""

    group: Group
    where: str
    """The cell of its address."""
    people_at: Mapping[str, str]
    """The cell of each owner and member, by address."""


@define
class DirectoryRoster(Findings):
    """What the files gave: employees and groups, what is wrong, and what is merely worth knowing."""

    employees: list[EmployeeRow] = Factory(list)
    groups: list[GroupRow] = Factory(list)
    addresses: dict[str, str] = Factory(dict)
    """What distinguished names mean, by ``same_name``."""

    def wish(self, freeze: Collection[str] = (), only: Collection[str] = ()) -> Wish:
        """Return what is wished, or the part of it that is about the addresses ``only``.

        Raises ``InputError`` for one of them that is not in the roster. Call it where there is no fault.
        """
        things: list[Employee | Group] = [row.employee for row in self.employees]
        things += [row.group for row in self.groups]
        if only:
            chosen = {fold(address): address for address in only}
            things = [thing for thing in things if fold(thing.address) in chosen]
            absent = chosen.keys() - {fold(thing.address) for thing in things}
            if absent:
                names = ", ".join(printable(chosen[key]) for key in sorted(absent))
                raise InputError(f"not in the roster: {names}", remedy="see to the addresses")
        secrets = {fold(row.employee.address): row.secret for row in self.employees if row.secret}
        return Wish(Directory.of(things), freeze, secrets)

    def nobodies(self, known: Collection[str] = ()) -> None:
        """Note as faults the members, owners and managers in the employees' domains who are nobody.

        ``known`` has addresses that are there already.
        """
        mailboxes: list[Employee | Group] = [row.employee for row in self.employees]
        mailboxes += [row.group for row in self.groups]
        there = {fold(each) for mailbox in mailboxes for each in addresses_of(mailbox)} | {*map(fold, known)}
        ours = {fold(row.employee.address).rpartition("@")[2] for row in self.employees}
        for address, role, where in self._named_people():
            if fold(address).rpartition("@")[2] in ours and fold(address) not in there:
                self.fault(
                    where, f'the {role} "{printable(address)}" is nobody', "correct it, or list the person"
                )

    def _named_people(self) -> Iterator[tuple[str, str, str]]:
        for row in self.employees:
            if row.employee.manager:
                yield row.employee.manager, "manager", row.at["manager"]
        for group in self.groups:
            for address, where in group.people_at.items():
                yield address, "owner" if address in group.group.owners else "member", where


def read_directory(
    employees: Path | None,
    groups: Path | None = None,
    domain: str = "",
    known: Collection[str] = (),
    options: SheetOptions | None = None,
) -> DirectoryRoster:
    """Return the employees and groups of files without faults. Raises ``InputError`` with all of them.

    ``known`` has the addresses that are there already: who has one is somebody.
    """
    roster = scan_directory(employees, groups, domain, options)
    roster.nobodies(known)
    if roster.faults:
        raise InputError(
            f"the employees and groups have {count(roster.faults)}", roster.faults, remarks=roster.remarks
        )
    return roster


@frozen
class EmployeeSheet:
    """Where employees stand, and how that is read, for who wants no more than a first password."""

    path: Path
    domain: str = ""
    headings: tuple[tuple[str, EmployeeColumn], ...] = ()

    def secret(self, address: str) -> Secret:
        """Return the first password that the sheet gives for an address. Raises ``KeyError`` for none.

        Other faults of the sheet are no matter here; of an account that stands there twice nobody knows the password.
        """
        try:
            told = self.path.stat()
        except OSError:
            raise KeyError(address) from None
        return _given(self, told.st_mtime_ns, told.st_size)[fold(address)]


@functools.lru_cache(maxsize=2)
def _given(sheet: EmployeeSheet, _changed: int, _size: int) -> Mapping[str, Secret]:
    """Read once for all accounts of a run."""
    rows = scan_directory(sheet.path, None, sheet.domain, SheetOptions(dict(sheet.headings))).employees
    times = Counter(fold(row.employee.address) for row in rows)
    keys = ((fold(row.employee.address), row.secret) for row in rows)
    return {key: secret for key, secret in keys if secret is not None and times[key] == 1}


def scan_directory(
    employees: Path | None,
    groups: Path | None = None,
    domain: str = "",
    options: SheetOptions | None = None,
) -> DirectoryRoster:
    """Read employees and groups, and judge them together. Never raises for what is in a file.

    ``domain`` is put behind accounts that are written without one.
    """
    roster, wishes = DirectoryRoster(), options or SheetOptions()
    sheets: list[_Employees | _Groups] = []
    if employees is not None:
        staff_columns = Columns(EMPLOYEE_COLUMNS, ("name", "account"), {**LDAP, **wishes.employee_headings})
        staff = read_table(employees, staff_columns, roster)
        if staff is not None:
            sheets.append(_Employees(employees, staff, roster, domain, wishes.department_base))
    if groups is not None:
        list_columns = Columns(
            GROUP_COLUMNS, ("group name", "group address"), {**LDAP, **wishes.group_headings}
        )
        lists = read_table(groups, list_columns, roster)
        if lists is not None:
            sheets.append(_Groups(groups, lists, roster, domain))
    for sheet in sheets:  # a name may stand in the one sheet, and the address that it means in the other
        roster.addresses |= sheet.named()
    for sheet in sheets:
        sheet.read()
    tell_doubled(roster)
    tell_twin_departments(roster)
    return roster


@define
class _Cells:
    """What both sheets' readers share: a cell's text, or a fault."""

    path: Path
    table: Table[Any]
    roster: DirectoryRoster
    domain: str

    own: ClassVar[str]
    """The column of a row's own address."""

    def named(self) -> dict[str, str]:
        """Return the addresses of those who have a distinguished name."""
        cells = [(self.table.cell(row, "distinguished name").text, row) for row in self.table.rows]
        found = {same_name(name): self.table.cell(row, self.own).text.strip() for name, row in cells if name}
        return {name: self.whole(address) for name, address in found.items() if address}

    def whole(self, text: str) -> str:
        """Put the domain behind an account that is written without one."""
        return text if "@" in text or "＠" in text or not self.domain else f"{text}@{self.domain}"

    def meant(self, text: str) -> str:
        """Return the address that a distinguished name means; whatever else it is stays."""
        return self.roster.addresses.get(same_name(text), text) if is_name(text) else text

    def text(self, row: Row, column: str, limit: int = MAX_TEXT) -> str:
        """Return what a cell holds, without spaces around it; empty, and a fault, where it cannot stand there."""
        cell = self.table.cell(row, column)
        fault = cell.fault or unfit(cell.text.strip(), limit)
        if fault:
            self.told(row, column, cell.raw or cell.text, fault, cell.remedy)
            return ""
        return cell.text.strip()

    def address(self, row: Row, column: str, text: str, *, ours: bool) -> str:
        """Return a mail address, with the domain where it has none; empty, and a fault, where it is none."""
        whole = self.whole(text)
        fault = address_fault(whole)
        if fault is None and ours:
            fault = local_part_fault(whole.rpartition("@")[0])
        if fault is not None:
            self.told(row, column, text, *fault)
            return ""
        return whole

    def addresses(self, row: Row, column: str, *, ours: bool) -> frozenset[str]:
        """Return the addresses of a cell, separated by semicolons, commas, spaces or lines."""
        cell = self.table.cell(row, column)
        if cell.fault:
            self.told(row, column, cell.raw, cell.fault, cell.remedy)
            return NOBODY
        if is_name(cell.text):
            texts = [self.meant(name) for name in names_of(cell.text[:MAX_CELL])]
        else:
            texts = split_addresses(mail_addresses(cell.text))
        found = {self.address(row, column, text, ours=ours) for text in texts}
        return frozenset(found - {""})

    def told(self, row: Row, column: str, value: str, fault: str, remedy: str) -> None:
        shown = f' "{printable(value[:60])}{"…" if len(value) > 60 else ""}"' if value else ""
        self.roster.fault(self.table.at(row, column), f"the {column}{shown} {fault}", remedy)


@define
class _Employees(_Cells):
    base: str = ""
    own: ClassVar[str] = "account"

    def read(self) -> None:
        rows = wanted(self.table, "account", EXAMPLE_ACCOUNT, self.roster)
        if not rows:
            remedy = f"write a row below its headings, {self.table.headings.where}, for each employee"
            self.roster.fault(printable(str(self.path)), "there is no employee in it", remedy)
        for row in rows:
            made = self._made(row)
            if (
                made.employee.address
            ):  # other faults of the row do not make anybody's member or manager a nobody
                self.roster.employees.append(made)
        literal = any(
            row.secret is not None and row.secret.scheme == "literal" for row in self.roster.employees
        )
        if literal and (remark := file_remark(self.path, "passwords")):
            self.roster.remarks.append(remark)

    def _made(self, row: Row) -> EmployeeRow:
        texts: dict[str, Any] = {name: self.text(row, column) or None for column, name in _PLAIN.items()}
        account, manager = self.text(row, "account", 254), self.meant(self.text(row, "manager", LONGEST))
        for column, text in (("name", texts["name"]), ("account", account)):
            if (
                not text
                and not self.table.cell(row, column).text.strip()
                and not self.table.cell(row, column).fault
            ):
                self.told(row, column, "", "is empty", "")
        address = self.address(row, "account", account, ours=True) if account else ""
        employee = Employee(
            address,
            **texts,
            department=self._department(row),
            quota=self._quota(row),
            manager=self.address(row, "manager", manager, ours=False) or None if manager else None,
            aliases=self._aliases(row, address),
        )
        at = {column: row.at(index) for index, column in self.table.columns.items()}
        return EmployeeRow(employee, at | {"": row.where}, self._secret(row, address))

    def _aliases(self, row: Row, address: str) -> frozenset[str]:
        text, found = self.table.cell(row, "aliases").text, self.addresses(row, "aliases", ours=True)
        if mail_addresses(text) == text:
            return found
        return frozenset(each for each in found if fold(each) != fold(address))  # it names the main one too

    def _department(self, row: Row) -> DepartmentPath | None:
        text = self.text(row, "department", LONGEST)
        if is_name(text) or (not text and self.table.cell(row, "distinguished name").text):
            return department_of(text or self.table.cell(row, "distinguished name").text, self.base) or None
        if not text:
            return None
        path = tuple(name.strip() for name in text.strip("/").split("/"))
        fault = "has an empty name in it" if not all(path) else unfit(max(path, key=len), MAX_TEXT)
        if fault:
            self.told(row, "department", text, fault, "write A/B/C for C in B in A")
        return path

    def _quota(self, row: Row) -> int | None:
        cell = self.table.cell(row, "quota")
        text = cell.raw if cell.fault and cell.raw.isdigit() else cell.text.strip()
        if (cell.fault and text != cell.raw) or (text and not re.fullmatch(r"[0-9]{1,9}", text)):
            self.told(
                row, "quota", cell.raw or text, cell.fault or "is not a whole number", "write megabytes: 5120"
            )
            return None
        return int(text) if text else None

    def _secret(self, row: Row, address: str) -> Secret | None:
        """Return where the password is; whatever is wrong with it, it is not repeated."""
        cell = self.table.cell(row, "password")
        fault = (cell.fault, cell.remedy) if cell.fault else None
        if fault is None and cell.text.strip():
            fault = cell_fault(cell.text)
        if fault is None and cell.text.strip():
            secret = parse_cell(cell.text, label=f"target {address}", base=self.path.parent)
            fault = password_fault(secret.get()) if secret.scheme == "literal" else None
            if fault is None:
                return secret
        if fault is not None:
            self.told(row, "password", "", *fault)
        return None


@define
class _Groups(_Cells):
    own: ClassVar[str] = "group address"

    def read(self) -> None:
        rows = wanted(self.table, "group address", EXAMPLE_GROUP, self.roster)
        if not rows:
            remedy = f"write a row below its headings, {self.table.headings.where}, for each group"
            self.roster.fault(printable(str(self.path)), "there is no group in it", remedy)
        made: dict[str, GroupRow] = {}
        for row in rows:
            found = self._made(row)
            if not found.group.address:
                continue
            known = made.get(fold(found.group.address))
            made[fold(found.group.address)] = found if known is None else self._joined(row, known, found)
        self.roster.groups += made.values()

    def _made(self, row: Row) -> GroupRow:
        text = self.text(row, "group address", 254)
        if not text and not self.table.cell(row, "group address").fault:
            self.told(row, "group address", "", "is empty", "name the group in each of its rows")
        address = self.address(row, "group address", text, ours=True) if text else ""
        owners = self.addresses(row, "owners", ours=False)
        members = self.addresses(row, "members", ours=False)
        people_at = {each: self.table.at(row, "members") for each in members}
        people_at |= {each: self.table.at(row, "owners") for each in owners}
        name = self.text(row, "group name") or None
        where = self.table.at(row, "group address")
        return GroupRow(Group(address, name, owners, members), where, people_at)

    def _joined(self, row: Row, known: GroupRow, more: GroupRow) -> GroupRow:
        """Put the people of another row of the same group into it."""
        one, other = known.group, more.group
        if one.name and other.name and one.name != other.name:
            fault = f'is another one than "{printable(one.name)}" in {known.where}, for the same group'
            self.told(row, "group name", other.name, fault, "leave it empty in all rows but the first")
        group = evolve(
            one,
            name=one.name or other.name,
            owners=one.owners | other.owners,
            members=one.members | other.members,
        )
        return GroupRow(group, known.where, {**more.people_at, **known.people_at})


def split_addresses(text: str) -> list[str]:
    """Return the addresses of a cell, which semicolons, commas, spaces or lines separate."""
    return [each for each in _SEPARATORS.split(text[:MAX_CELL]) if each]


def local_part_fault(local: str) -> tuple[str, str] | None:
    """Say why Alibaba Mail would not take what stands before the @ of a new address; ``None``: it would."""
    if not _LOCAL.fullmatch(local):
        return (
            "cannot be an account",
            "up to 64 letters, digits, dots, hyphens and underscores; the first is a letter or digit",
        )
    return ("has two dots in a row", "leave one of them") if ".." in local else None
