"""Write to the people whose passwords are needed: one text a person, which says what to do and holds no secret."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Literal, TypeAlias

from attrs import frozen

from alimail_core.files import new_files_in
from alimail_core.spec import AccountSpec
from alimail_core.text import printable

Language: TypeAlias = Literal["en", "zh"]


@frozen
class _Words:
    """The pieces of a letter in one language."""

    opening: str
    source: str
    target: str
    closing: str
    recipient: str
    """Whom to give a password to, where nobody is named."""


WORDS: Final[Mapping[Language, _Words]] = {
    "en": _Words(
        opening="""Your mailbox moves

From: {source}
To:   {target}

All your mail is copied to the new mailbox. For that, this is needed from you:
""",
        source="""
* The password of your OLD mailbox, {source}.
  Where you log in with a code or a telephone besides the password, the password alone does not do. Make one for mail
  programs ("app password", "client password", "authorization code") in the web mail of the old system:
  - Google: switch on 2-Step Verification, then myaccount.google.com/apppasswords
  - Apple iCloud: account.apple.com, Sign-In and Security, App-Specific Passwords
  - Yahoo: Account Security, App Passwords
  - QQ Mail, Tencent Exmail, 163 and 126: Settings, switch on IMAP/SMTP, then make an authorization code
  - others: look for "IMAP" or "mail programs" in the settings
""",
        target="""
* The password of your NEW mailbox, {target}.
  If Alibaba Mail asks for a security password for third-party clients, that one: log in to the web mail, open the
  settings, go to account and security, and make a third-party client security password. It is shown once.
""",
        closing="""
Give it to {recipient}, in person or as you are told. Do not send it by mail, not even as an answer to this text.
When the move is over, change the password, or delete the one that you made for it.

You may go on working in both mailboxes meanwhile. Nothing is deleted or changed in the old one.
""",
        recipient="your mail administrator",
    ),
    "zh": _Words(
        opening="""您的邮箱即将迁移

原邮箱：{source}
新邮箱：{target}

您的全部邮件将复制到新邮箱。为此需要您提供：
""",
        source="""
* 原邮箱 {source} 的密码。
  如果登录时除密码外还需要验证码或手机确认，仅有登录密码是不够的。请在原邮箱网页版中生成客户端专用密码（也称“应用专用密码”或“授权码”）：
  - QQ 邮箱、腾讯企业邮箱、163、126：设置中开启 IMAP/SMTP 服务，然后生成授权码
  - Google：先开启两步验证，再打开 myaccount.google.com/apppasswords
  - Apple iCloud：account.apple.com，登录与安全，App 专用密码
  - Yahoo：帐户安全，应用密码
  - 其他系统：在设置中查找“IMAP”或“客户端”
""",
        target="""
* 新邮箱 {target} 的密码。
  如果阿里邮箱要求使用“三方客户端安全密码”，请提供该密码：登录网页版，打开设置，进入帐号与安全，生成三方客户端安全密码。该密码只显示一次，请记下。
""",
        closing="""
请当面或按要求的方式交给{recipient}。不要用邮件发送密码，也不要在回复中填写密码。
迁移结束后，请修改密码，或删除为迁移生成的专用密码。

迁移期间两个邮箱都可照常使用。原邮箱中的邮件不会被删除或改动。
""",
        recipient="邮件管理员",
    ),
}


def letter(account: AccountSpec, language: Language, recipient: str = "") -> str:
    """Return what one person is to be told: which passwords, how they are made, and whom to give them to.

    Asks for what is missing; where nothing is, one was refused, and each that is this person's own is asked for.
    """
    words = WORDS[language]
    parts = [words.opening, *(getattr(words, side) for side in _needed(account)), words.closing]
    return "".join(parts).format(
        source=printable(account.source_address),
        target=printable(account.target_address),
        recipient=printable(recipient) or words.recipient,
    )


def write_letters(
    accounts: Iterable[AccountSpec], folder: Path, language: Language, recipient: str = ""
) -> list[Path]:
    """Write a letter for each account into a folder, made where it is not there; return the files.

    Raises ``InputError`` where a file exists or cannot be written.
    """
    written = []
    with new_files_in(folder):
        for account in accounts:
            path = folder / file_name(account)
            with path.open("x", encoding="utf-8", newline="\n") as file:
                file.write(letter(account, language, recipient))
            written.append(path)
    return written


def file_name(account: AccountSpec) -> str:
    """Return a name for a person's letter that no file system stumbles over, one for each pair of addresses."""
    pair = f"{account.source_address}\0{account.target_address}".encode("utf-8", "surrogatepass")
    readable = re.sub(r"[^A-Za-z0-9@._+-]", "_", account.source_address)[:60].lstrip(".-") or "mailbox"
    return f"{readable}-{hashlib.sha256(pair).hexdigest()[:8]}.txt"


def _needed(account: AccountSpec) -> list[str]:
    """Return the sides whose password a person is asked for; never one that all accounts share."""
    secrets = {"source": account.source_secret, "target": account.target_secret}
    missing = [side for side, secret in secrets.items() if secret.is_missing]
    return missing or [side for side, secret in secrets.items() if secret.label.startswith(f"{side} ")]
