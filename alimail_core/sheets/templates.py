"""Write a roster to fill in: headings, notes and an example, none of which is read as an account."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from attrs import frozen

from alimail_core.errors import InputError
from alimail_core.provisioning import roster as provisioning_roster
from alimail_core.sheets import roster
from alimail_core.sheets.files import Check, write_sheet
from alimail_core.text import printable

Language: TypeAlias = Literal["en", "zh"]
Sheet: TypeAlias = Literal["migration", "employees", "groups"]

_PASSWORD_NOTES: Final[Mapping[Language, str]] = {
    "en": "# A password is written itself, or where it is: env:NAME, file:PATH, keyring:SERVICE/USER, "
    "command:PROGRAM.",
    "zh": "# 密码栏可直接填写密码，也可填写其所在之处：env:NAME、file:PATH、keyring:SERVICE/USER 或 "
    "command:PROGRAM。",
}
_NO_ADDRESS: Final[Mapping[Language, str]] = {"en": "This is not a mail address.", "zh": "这不是邮箱地址。"}


@frozen
class Template:
    """What a sheet to fill in has."""

    columns: Mapping[Any, Sequence[str]]
    """Headings by column, English and Chinese, of which the first are written."""
    notes: Mapping[Language, Sequence[str]]
    """What stands above the headings."""
    example: Mapping[str, str]
    addresses: Sequence[str]
    """Columns in which a spreadsheet program warns of what has no @."""


TEMPLATES: Final[Mapping[Sheet, Template]] = {
    "migration": Template(
        roster.COLUMNS,
        {
            "en": (
                "# One row below the headings for each account. Rows that begin with # are notes and are not read.",
                "# Leave a user name empty where it is as the configuration says: the address, or what stands before "
                "the @.",
                _PASSWORD_NOTES["en"],
                "# Leave a password empty while you do not have it: the other accounts go on without this one.",
                "# Wave: a number; lower ones are carried first, and those without a number last.",
                "# Source system: empty where there is one old system; else the NAME of its [sources.NAME].",
            ),
            "zh": (
                "# 标题行以下每行填写一个帐号。以 # 开头的行为说明，不会被读取。",
                "# 用户名可留空：此时按配置中的 login 取完整邮箱地址，或 @ 之前的部分。",
                _PASSWORD_NOTES["zh"],
                "# 暂时没有密码时请留空：其余帐号照常迁移。",
                "# 批次：填写数字，数字小的先迁移；留空的最后迁移。",
                "# 原系统：只有一个旧系统时请留空；否则填写配置中 [sources.NAME] 的 NAME。",
            ),
        },
        {
            "source address": roster.EXAMPLE_ADDRESS,
            "source password": "env:ANNA_OLD",
            "target address": "anna@new.example",
            "target password": "env:ANNA_NEW",
        },
        ("source address", "target address"),
    ),
    "employees": Template(
        provisioning_roster.EMPLOYEE_COLUMNS,
        {
            "en": (
                "# One row below the headings for each employee. Rows whose account begins with # are not read.",
                "# Name and account must be given. An empty cell changes nothing of an account that is there.",
                "# Employee number: keeps a person's mailbox together when the address changes.",
                "# Department: A/B/C for C in B in A. Quota in megabytes. Aliases: separated by semicolons.",
                _PASSWORD_NOTES["en"],
                "# Leave a password empty, and a safe one is made. 8 to 64 characters, of three classes at least.",
            ),
            "zh": (
                "# 标题行以下每行填写一名员工。邮箱帐号以 # 开头的行不会被读取。",
                "# 姓名和邮箱帐号必填。对已有帐号，留空的单元格不做任何更改。",
                "# 工号：员工更换邮箱地址时，凭工号保留其邮箱。",
                "# 部门：A/B/C 表示 A 下 B 下的 C。邮箱容量单位为 M。多个别名用分号分隔。",
                _PASSWORD_NOTES["zh"],
                "# 密码留空时自动生成安全的密码。密码为 8 至 64 个字符，至少包含大写、小写、数字、符号中的三类。",
            ),
        },
        {
            "name": "Anna Li",
            "account": provisioning_roster.EXAMPLE_ACCOUNT,
            "employee number": "0042",
            "department": "Sales/West",
            "quota": "5120",
        },
        ("account",),
    ),
    "groups": Template(
        provisioning_roster.GROUP_COLUMNS,
        {
            "en": (
                "# One row below the headings for each mail group, or one for each member with the group's address "
                "in all.",
                "# Owners and members are addresses, separated by semicolons. Members may be groups or elsewhere.",
                "# Members that a group has already stay, whether they stand here or not.",
            ),
            "zh": (
                "# 标题行以下每行填写一个邮件组；也可以每个成员一行，每行都填写组地址。",
                "# 管理员和成员填写邮箱地址，用分号分隔。成员可以是邮件组或外部地址。",
                "# 邮件组已有的成员会保留，无论此处是否列出。",
            ),
        },
        {
            "group name": "Everybody",
            "group address": provisioning_roster.EXAMPLE_GROUP,
            "owners": "anna@new.example",
            "members": "anna@new.example; bob@new.example",
        },
        ("group address",),
    ),
}


def write_template(path: Path, language: Language = "en", sheet: Sheet = "migration") -> None:
    """Write a sheet without rows, csv or xlsx by the name's end, readable by its owner only.

    Raises ``InputError`` where the file exists or cannot be written, or is to be of another kind.
    """
    template = TEMPLATES[sheet]
    _write(path, template, language, [template.example])


def write_accounts(
    path: Path, accounts: Iterable[Mapping[roster.Column, str]], language: Language = "en"
) -> None:
    """Write a roster with these accounts in place of the example; otherwise like ``write_template``."""
    _write(path, TEMPLATES["migration"], language, accounts)


def _write(path: Path, template: Template, language: Language, filled: Iterable[Mapping[Any, str]]) -> None:
    if path.suffix.lower() not in (".csv", ".xlsx"):
        raise InputError(
            f"{printable(str(path))} is neither csv nor xlsx", remedy="end its name with one of them"
        )
    names = template.columns.values()
    first = [each[0 if language == "en" else 1].split("|")[0] for each in names]
    headings = [text[0].upper() + text[1:] for text in first]
    cells = ([each.get(column, "") for column in template.columns] for each in filled)
    rows = [*([note] for note in template.notes[language]), headings, *cells]
    warned = {
        index: Check('ISNUMBER(FIND("@",{cell}))', _NO_ADDRESS[language])
        for index, column in enumerate(template.columns)
        if column in template.addresses
    }
    try:
        write_sheet(path, rows, warned)
    except FileExistsError:
        raise InputError(f"{printable(str(path))} is there already", remedy="choose another name") from None
    except OSError as error:
        raise InputError(f"{printable(str(path))} cannot be written: {error.strerror}") from None
