"""``alimail exchange roster``: the list of addresses that Exchange exported becomes a roster for a migration.

The list is what ``Export-Csv`` writes, of our script or of an administrator's own command: UTF-16, UTF-8 or the
machine's code page, with a first line ``#TYPE ...`` or without, and whatever columns were selected.

An address keeps its prefix, what stands before the @, since people expect that and Alibaba Mail's own migration
demands it. Where that cannot be, the mailbox is left out and named; a sheet of exceptions (``--map``) decides.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, TypeAlias

from attrs import Factory, define, evolve, frozen

from alimail_core import Fault, InputError, Remark
from alimail_core.commands import (
    Columns,
    Findings,
    Row,
    Table,
    address_fault,
    printable,
    read_table,
    same_address,
    write_accounts,
)

Column: TypeAlias = Literal["PrimarySmtpAddress", "name", "type", "alias"]
Kind: TypeAlias = Literal["person", "shared", "room", "equipment"]

COLUMNS: Final[Mapping[Column, tuple[str, ...]]] = {
    "PrimarySmtpAddress": ("PrimarySmtpAddress|EmailAddress|Mail", "主 SMTP 地址|邮箱地址|电子邮件地址"),
    "name": ("DisplayName", "显示名称"),
    "type": ("RecipientTypeDetails", "收件人类型"),
    "alias": ("Alias", "别名"),
}
"""The properties of a mailbox by which Exchange names its columns; faults tell what is called here as there."""

_PAIRS: Final[Mapping[Literal["source", "target"], tuple[str, ...]]] = {
    "source": ("source address|source|old address|PrimarySmtpAddress", "原邮箱地址|原邮箱|源地址|旧地址"),
    "target": ("target address|target|new address", "目标帐号|目标账号|目标地址|新邮箱地址|新地址"),
}
_ACCOUNTS: Final[Mapping[Literal["account"], tuple[str, ...]]] = {
    "account": (
        "account|mail account|email|email address|address",
        "邮箱帐号|邮箱账号|邮箱|邮箱地址|帐号|账号",
    )
}

KINDS: Final[Mapping[str, Kind]] = {
    "UserMailbox": "person",
    "LinkedMailbox": "person",
    "LegacyMailbox": "person",
    "SharedMailbox": "shared",
    "TeamMailbox": "shared",
    "RoomMailbox": "room",
    "SchedulingMailbox": "room",
    "EquipmentMailbox": "equipment",
}
"""What is moved, by its RecipientTypeDetails; of a list without that column everything counts as a person's."""

_NOT_HERE: Final = {
    "RemoteUserMailbox": "this mailbox is in Exchange Online, not on this server",
    "RemoteSharedMailbox": "this mailbox is in Exchange Online, not on this server",
    "RemoteRoomMailbox": "this mailbox is in Exchange Online, not on this server",
    "RemoteEquipmentMailbox": "this mailbox is in Exchange Online, not on this server",
    "MailUser": "this is an address elsewhere, without a mailbox here",
    "MailContact": "this is an address elsewhere, without a mailbox here",
}
_EXPORT: Final = (
    "export it with the script of `alimail exchange prepare`, or: Get-Mailbox -ResultSize Unlimited | Select-Object "
    "PrimarySmtpAddress,DisplayName,Alias,RecipientTypeDetails | Export-Csv addresses.csv -NoTypeInformation "
    "-Encoding UTF8"
)
_PREFIX: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
"""What a new account may surely be called; the console decides."""
_MAP_REMEDY: Final = "give it a line in the sheet of exceptions (--map): its address, and the new one"


@frozen
class Found:
    """A mailbox of the list, and what becomes of it."""

    where: str
    address: str
    name: str
    kind: Kind
    alias: str = ""
    target: str = ""


@frozen
class Refusal:
    """A mailbox that is not in the roster: why, and what to do."""

    where: str
    address: str
    why: str
    remedy: str = ""


@define
class Outcome:
    """What a list gave."""

    accounts: list[Found] = Factory(list)
    inconsistent: list[Refusal] = Factory(list)
    """Their prefixes cannot be the same on both systems, or there is no account for them."""
    left_out: list[Refusal] = Factory(list)
    """Not to be moved by their kind, or by wish."""
    remarks: list[Remark] = Factory(list)

    def count(self, kind: str) -> int:
        """Tell how many mailboxes of a kind are in the roster."""
        return sum(found.kind == kind for found in self.accounts)


@frozen
class Wish:
    """How addresses become new ones."""

    target_domain: str = ""
    exceptions: Mapping[str, str] = Factory(dict)
    """New addresses by old ones, as ``same_address`` spells these."""
    accounts: Collection[str] | None = None
    """The accounts that the new system has, spelt so; ``None``: nobody said."""
    without: Collection[Kind] = ()


def outcome(path: Path, wish: Wish) -> Outcome:
    """Read a list and decide on every mailbox. Raises ``InputError`` where it is no such list."""
    found = Outcome()
    findings = Findings()
    table = read_table(path, Columns(COLUMNS, ("PrimarySmtpAddress",)), findings)
    if table is None:
        raise _no_list(path, findings.faults, _EXPORT)
    if not table.rows:
        findings.fault(printable(str(path)), "there is no mailbox in it", "see that Get-Mailbox shows some")
        raise _no_list(path, findings.faults, _EXPORT)
    found.remarks += [each for each in findings.remarks if "is not read" not in each.text]
    mailboxes = list(_mailboxes(table, wish, found))
    found.remarks += _lost_letters(mailboxes)
    _settle(mailboxes, wish, found)
    unused = set(wish.exceptions) - {same_address(each.address) for each in mailboxes}
    if unused:
        text = f"the sheet of exceptions has addresses that the list has not: {_some(unused)}"
        found.remarks.append(Remark("warning", text, "See to their spelling."))
    found.remarks += _aliases(found.accounts)
    return found


def read_exceptions(path: Path) -> dict[str, str]:
    """Read a sheet of old and new addresses. Raises ``InputError`` with every fault."""
    findings = Findings()
    table = read_table(path, Columns(_PAIRS, ("source", "target")), findings)
    if table is None:
        raise _no_list(path, findings.faults, "give it two columns, source address and target address")
    pairs: dict[str, str] = {}
    for row in table.rows:
        old, new = (table.cell(row, column).text.strip() for column in ("source", "target"))
        for address in (old, new):
            if fault := address_fault(address):
                findings.fault(row.where, f"{printable(address)} {fault[0]}", fault[1])
        if pairs.setdefault(same_address(old), new) != new:
            findings.fault(row.where, f"{printable(old)} has another target already", "leave one of them")
    if findings.faults:
        raise InputError(f"{printable(str(path))} cannot be used as a sheet of exceptions", findings.faults)
    return pairs


def read_accounts(path: Path) -> frozenset[str]:
    """Read which accounts the new system has, from its export of employees. Raises ``InputError``."""
    findings = Findings()
    table = read_table(path, Columns(_ACCOUNTS, ("account",)), findings)
    if table is None:
        raise _no_list(path, findings.faults, "export the employees from the console of Alibaba Mail")
    return frozenset(
        same_address(text) for row in table.rows if (text := table.cell(row, "account").text.strip())
    )


def write(path: Path, found: Outcome, language: Literal["en", "zh"]) -> None:
    """Write the roster. Raises ``InputError`` where the file is there already or cannot be written."""
    write_accounts(
        path,
        [{"source address": each.address, "target address": each.target} for each in found.accounts],
        language,
    )


def _no_list(path: Path, faults: Sequence[Fault], remedy: str) -> InputError:
    return InputError(f"{printable(str(path))} is no such list", faults, remedy=remedy)


def _mailboxes(table: Table[Column], wish: Wish, found: Outcome) -> Iterator[Found]:
    """Give the mailboxes that may be moved; tell of the others."""
    seen: dict[str, str] = {}
    for row in table.rows:
        address, kind = (
            table.cell(row, "PrimarySmtpAddress").text.strip(),
            table.cell(row, "type").text.strip() or "UserMailbox",
        )
        if why := _NOT_HERE.get(kind):
            found.left_out.append(Refusal(row.where, address, why))
        elif kind not in KINDS:
            found.left_out.append(
                Refusal(row.where, address, f"a mailbox of Exchange's own ({printable(kind)})")
            )
        elif KINDS[kind] in wish.without:
            found.left_out.append(
                Refusal(row.where, address, f"it is a {KINDS[kind]} mailbox, left out by wish")
            )
        elif fault := address_fault(address) if address else ("has no address", ""):
            remedy = "see Get-Mailbox NAME | Format-List PrimarySmtpAddress"
            found.inconsistent.append(
                Refusal(row.where, address or _named(table, row), fault[0], fault[1] or remedy)
            )
        elif (first := seen.setdefault(same_address(address), row.where)) != row.where:
            found.left_out.append(Refusal(row.where, address, f"it stands in {first} already"))
        else:
            name, alias = (table.cell(row, column).text.strip() for column in ("name", "alias"))
            yield Found(row.where, address, name, KINDS[kind], alias)


def _named(table: Table[Column], row: Row) -> str:
    return table.cell(row, "name").text.strip() or row.where


def _settle(mailboxes: Sequence[Found], wish: Wish, found: Outcome) -> None:
    """Give every mailbox its target, and leave out those whose target is not certain."""
    settled: dict[str, list[Found]] = defaultdict(list)
    for mailbox in mailboxes:
        target = wish.exceptions.get(same_address(mailbox.address), "")
        mapped = bool(target)
        prefix = mailbox.address.rpartition("@")[0]
        if not mapped:
            target = f"{prefix.lower()}@{wish.target_domain}" if wish.target_domain else ""
        if not target:
            found.inconsistent.append(
                Refusal(
                    mailbox.where,
                    mailbox.address,
                    "there is no target for it",
                    "give --target-domain, or " + _MAP_REMEDY,
                )
            )
        elif not mapped and not _PREFIX.fullmatch(prefix):
            why = f"the prefix {prefix} has characters that a new account may not have"
            found.inconsistent.append(Refusal(mailbox.where, mailbox.address, why, _MAP_REMEDY))
        elif wish.accounts is not None and same_address(target) not in wish.accounts:
            why = f"the new system has no account {target}"
            remedy = "make it (`alimail provision`), or " + _MAP_REMEDY
            found.inconsistent.append(Refusal(mailbox.where, mailbox.address, why, remedy))
        else:
            settled[same_address(target)].append(evolve(mailbox, target=target))
    for group in settled.values():
        if len(group) == 1:
            found.accounts += group
        else:
            found.inconsistent += _clashing(group)


def _clashing(group: Sequence[Found]) -> Iterator[Refusal]:
    for each in group:
        others = ", ".join(other.address for other in group if other is not each)
        why = f"{others} would go to {each.target} as well"
        yield Refusal(each.where, each.address, why, f"decide who gets it; for the other: {_MAP_REMEDY}")


def _lost_letters(mailboxes: Iterable[Found]) -> Iterator[Remark]:
    lost = [each.address for each in mailboxes if "?" in each.name or "\ufffd" in each.name]
    if lost:
        yield Remark(
            "note",
            f"names have lost letters in the export, which harms nothing: {_some(lost)}",
            "Export-Csv writes question marks for them unless it is told -Encoding UTF8.",
        )


def _aliases(accounts: Iterable[Found]) -> Iterator[Remark]:
    """Tell of mailboxes that are called otherwise within Exchange: other migrations trip over them, ours does not."""
    other = [
        each.address
        for each in accounts
        if each.alias and same_address(each.alias) != same_address(each.address.rpartition("@")[0])
    ]
    if other:
        yield Remark(
            "note", f"the alias differs from the address, which alimail does not mind: {_some(other)}"
        )


def _some(addresses: Iterable[str]) -> str:
    found = sorted(addresses)
    more = f" and {len(found) - 3:,} more" if len(found) > 3 else ""
    return ", ".join(printable(address) for address in found[:3]) + more


def domains(accounts: Iterable[Found]) -> list[tuple[str, int]]:
    """Return the domains of old addresses with how many there are, the largest first."""
    return Counter(each.address.rpartition("@")[2].lower() for each in accounts).most_common()
