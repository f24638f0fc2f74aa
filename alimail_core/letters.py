"""Write to the people whose passwords are needed: one text a person, which says what to do and holds no secret."""

from __future__ import annotations

import hashlib
import re
import textwrap
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
    again: str
    """After the opening, where nothing is missing and something was refused."""
    source: str
    steps: str
    """Before the steps of many systems, one of which is theirs."""
    own_steps: str
    """Before the steps of the one system that it is."""
    range: str
    """What else to set there, whatever system it is."""
    target: str
    closing: str
    recipient: str
    """Whom to give a password to, where nobody is named."""


@frozen
class _System:
    """An old system that wants a password of its own for mail programs, and how its people make one."""

    hosts: re.Pattern[str]
    """Matches the end of its servers' names."""
    steps: Mapping[Language, str]


def _system(hosts: str, en: str, zh: str) -> _System:
    return _System(re.compile(rf"(^|\.)({hosts})\.?$", re.IGNORECASE), {"en": en, "zh": zh})


SYSTEMS: Final = (
    _system(
        r"gmail\.com|googlemail\.com",
        "Google: switch on 2-Step Verification, then make an app password at myaccount.google.com/apppasswords. "
        "Where that page offers none, your organisation forbids it: say so.",
        "Google：先开启两步验证，再打开 myaccount.google.com/apppasswords 生成应用专用密码。"
        "如页面不提供，说明贵单位未允许，请告知。",
    ),
    _system(
        r"office365\.com|outlook\.com|partner\.outlook\.cn",
        "Microsoft 365, Outlook.com, Hotmail: they take no password from other programs. Say that your mailbox "
        "is there.",
        "Microsoft 365、Outlook.com、Hotmail：不接受其他程序用密码登录。请告知您的邮箱在此系统。",
    ),
    _system(
        r"mail\.me\.com",
        "Apple iCloud: switch on two-factor authentication, then account.apple.com, Sign-In and Security, "
        "App-Specific Passwords.",
        "Apple iCloud：先开启双重认证，再打开 account.apple.com，登录与安全，App 专用密码。",
    ),
    _system(
        r"mail\.yahoo\.com|yahoo\.co\.jp",
        "Yahoo: account security, external connections, Create app password.",
        "Yahoo：帐户安全，外部连接，生成应用密码。",
    ),
    _system(
        r"exmail\.qq\.com",
        "Tencent Exmail: in the settings for sending and receiving (收发信设置) switch on IMAP; under mailbox "
        "binding (邮箱绑定) switch on secure login (安全登录), and make a client-specific password (客户端专用密码). "
        "Where it cannot be switched on, the old system's administrator has to allow it.",
        "腾讯企业邮箱：设置，收发信设置，开启 IMAP/SMTP 服务；设置，邮箱绑定，开启安全登录，生成客户端专用密码。"
        "如无法开启，须由原邮箱的管理员放开权限。",
    ),
    _system(
        r"(imap|pop)\.qq\.com",
        "QQ Mail: settings, account (账号与安全), switch on the IMAP or POP3 service, then make an authorization "
        "code (授权码). The QQ password is not taken.",
        "QQ 邮箱：设置，账号与安全（旧版为“账户”），开启 POP3/IMAP/SMTP 服务，生成授权码。QQ 密码不能用于客户端。",
    ),
    _system(
        r"qiye\.163\.com",
        "NetEase for companies: settings, client settings (客户端设置), switch on the authorization code for clients "
        "(客户端授权码), and make one. It is shown once.",
        "网易企业邮箱：设置，客户端设置，开启客户端授权码，生成授权密码。该密码只显示一次。",
    ),
    _system(
        r"163\.com|126\.com|yeah\.net",
        "163, 126, yeah.net: settings, POP3/SMTP/IMAP, switch on the service, then make an authorization password "
        "(授权密码). It is shown once.",
        "163、126、yeah.net：设置，POP3/SMTP/IMAP，开启服务，新增授权密码。该密码只显示一次。",
    ),
    _system(
        r"zoho\.(com|eu|in|jp|sa|ca|uk|com\.au|com\.cn)|zohocloud\.ca",
        "Zoho: in the mail's settings, Mail Accounts, switch on IMAP; then accounts.zoho.com, Security, "
        "App Passwords, Generate New Password.",
        "Zoho：在邮箱设置的邮件帐户中开启 IMAP；再打开 accounts.zoho.com，安全，应用密码，生成新密码。",
    ),
)
"""Looked up in 2026: Apple's and Yahoo's in their own help, the others' in what their customers and resellers wrote.

The first that matches counts.
"""

WORDS: Final[Mapping[Language, _Words]] = {
    "en": _Words(
        opening="""Your mailbox moves

From: {source}
To:   {target}

All your mail is copied to the new mailbox. For that, this is needed from you:
""",
        again="""
(What you gave already did not let us in: it may be mistyped, changed since, or not the one for mail programs.)
""",
        source="""
* The password of your OLD mailbox, {source}.
""",
        range="""\
  If its settings have a range for mail programs, such as the last 30 days, choose all mail: nothing else can be seen.
""",
        steps="""\
  Where you log in with a code or a telephone besides the password, the password alone does not do. Make one for mail
  programs ("app password", "client password", "authorization code") in the web mail of the old system:
{steps}
  - others: look for "IMAP" or "mail programs" in the settings
""",
        own_steps="""\
  The one that you log in with does not do. This is what the old system wants:
{steps}
""",
        target="""
* The password of your NEW mailbox, {target}.
  If Alibaba Mail asks for a security password for third-party clients, that one: log in to the web mail, open the
  settings, account and security (账户与安全), account security, third-party client security (三方客户端安全管理),
  switch the password on, and make a new one. It is shown once.
""",
        closing="""
Give it to {recipient}, in person or as you are told. Do not send it by mail, not even as an answer to
this text.
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
        again="""
（您之前提供的密码未能登录：可能有误、已更改，或不是客户端专用密码。）
""",
        source="""
* 原邮箱 {source} 的密码。
""",
        range="""\
  如果原邮箱设置中有客户端收取范围（例如“最近30天”），请改为“全部”，否则较早的邮件无法迁移。
""",
        steps="""\
  如果登录时除密码外还需要验证码或手机确认，仅有登录密码是不够的。请在原邮箱网页版中生成客户端专用密码（也称“应用专用密码”或“授权码”）：
{steps}
  - 其他系统：在设置中查找“IMAP”或“客户端”
""",
        own_steps="""\
  网页登录密码不能用于迁移。原邮箱的要求是：
{steps}
""",
        target="""
* 新邮箱 {target} 的密码。
  如果阿里邮箱要求使用“三方客户端安全密码”，请提供该密码：登录网页版，设置，账户与安全，账户安全，三方客户端安全管理，
  启用三方客户端安全密码，再点击“生成新密码”。该密码只显示一次，请记下。
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
    Where the old server is one of a system that is known, only its steps are told.
    """
    words, host = WORDS[language], str(getattr(account.source.options, "host", ""))
    known = [each for each in SYSTEMS if each.hosts.search(host)][:1]
    how = words.own_steps if known else words.steps
    pieces = {"source": words.source + how + words.range, "target": words.target}
    missing, own = _sides(account)
    parts = [words.opening, "" if missing else words.again]
    parts += [*(pieces[side] for side in missing or own), words.closing]
    return "".join(parts).format(
        source=printable(account.source_address),
        target=printable(account.target_address),
        recipient=printable(recipient) or words.recipient,
        steps="\n".join(_wrapped(each.steps[language], language) for each in known or SYSTEMS),
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


def _wrapped(step: str, language: Language) -> str:
    """Write one step of a list. Chinese has no spaces to break it at, and is broken anywhere by who shows it."""
    if language == "zh":
        return f"  - {step}"
    return textwrap.fill(step, 104, initial_indent="  - ", subsequent_indent="    ")


def _sides(account: AccountSpec) -> tuple[list[str], list[str]]:
    """Return the sides whose password is missing, and those whose is this person's own: not one that all share."""
    secrets = {"source": account.source_secret, "target": account.target_secret}
    missing = [side for side, secret in secrets.items() if secret.is_missing]
    return missing, [side for side, secret in secrets.items() if secret.label.startswith(f"{side} ")]
