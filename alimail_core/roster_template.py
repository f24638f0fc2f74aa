"""Write a roster to fill in: headings, notes and an example, none of which is read as an account."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal, TypeAlias

from alimail_core.errors import InputError
from alimail_core.roster import COLUMNS, EXAMPLE_ADDRESS, Column
from alimail_core.sheets import write_sheet
from alimail_core.text import printable

Language: TypeAlias = Literal["en", "zh"]

NOTES: Final[Mapping[Language, tuple[str, ...]]] = {
    "en": (
        "# One row below the headings for each account. Rows that begin with # are notes and are not read.",
        "# Leave a user name empty where it is as the configuration says: the address, or what stands before the @.",
        "# A password is written itself, or where it is: env:NAME, file:PATH, keyring:SERVICE/USER, command:PROGRAM.",
        "# Leave a password empty while you do not have it: the other accounts go on without this one.",
        "# Wave: a number; lower ones are carried first, and those without a number last.",
    ),
    "zh": (
        "# 标题行以下每行填写一个帐号。以 # 开头的行为说明，不会被读取。",
        "# 用户名可留空：此时按配置中的 login 取完整邮箱地址，或 @ 之前的部分。",
        "# 密码栏可直接填写密码，也可填写其所在之处：env:NAME、file:PATH、keyring:SERVICE/USER 或 command:PROGRAM。",
        "# 暂时没有密码时请留空：其余帐号照常迁移。",
        "# 批次：填写数字，数字小的先迁移；留空的最后迁移。",
    ),
}
"""What stands above the headings."""

_EXAMPLE: Final[Mapping[Column, str]] = {
    "source address": EXAMPLE_ADDRESS,
    "source password": "env:ANNA_OLD",
    "target address": "anna@new.example",
    "target password": "env:ANNA_NEW",
}


def write_template(path: Path, language: Language = "en") -> None:
    """Write a roster without accounts, csv or xlsx by the name's end, readable by its owner only.

    Raises ``InputError`` where the file exists or cannot be written, or is to be of another kind.
    """
    if path.suffix.lower() not in (".csv", ".xlsx"):
        raise InputError(
            f"{printable(str(path))} is neither csv nor xlsx", remedy="end its name with one of them"
        )
    headings = [names[0 if language == "en" else 1].split("|")[0].capitalize() for names in COLUMNS.values()]
    example = [_EXAMPLE.get(column, "") for column in COLUMNS]
    try:
        write_sheet(path, [*([note] for note in NOTES[language]), headings, example])
    except FileExistsError:
        raise InputError(f"{printable(str(path))} is there already", remedy="choose another name") from None
    except OSError as error:
        raise InputError(f"{printable(str(path))} cannot be written: {error.strerror}") from None
