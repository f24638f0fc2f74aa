"""The page that goes with the scripts: what each does, who runs it where, how long it takes, how it shows.

In English and Chinese; a table for each, so that a step which lacks one of the columns cannot be written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from attrs import frozen

from alimail_core.commands import printable
from alimail_ews.admin import scripts
from alimail_ews.admin.scripts import MAX_CONCURRENT_API, POLICY, SCOPE, Wishes

Language: TypeAlias = Literal["en", "zh"]


@frozen
class Told:
    """One step, told to an administrator."""

    what: str
    who: str
    long: str
    shows: str


_HEADINGS: Final[Mapping[Language, tuple[str, ...]]] = {
    "en": ("Script", "What it does", "Who runs it, and where", "How long", "How it shows that it worked"),
    "zh": ("脚本", "作用", "由谁、在哪里运行", "用时", "如何确认成功"),
}
_SHELL: Final[Mapping[Language, str]] = {
    "en": "an Exchange administrator, in the Exchange Management Shell",
    "zh": "Exchange 管理员，在 Exchange 命令行管理程序中运行",
}
_MACHINE: Final[Mapping[Language, str]] = {
    "en": "a local administrator, in PowerShell “as administrator”, on {servers}",
    "zh": "本机管理员，在{servers}上，以管理员身份打开 PowerShell 运行",
}
_SERVERS: Final[Mapping[Language, Mapping[bool, str]]] = {
    "en": {True: "every Exchange server", False: "every Exchange server with the role Client Access"},
    "zh": {True: "每台 Exchange 服务器", False: "每台具有客户端访问角色的 Exchange 服务器"},
}


def readme(wishes: Wishes, language: Language) -> list[str]:
    """Return the page's lines."""
    rows = [
        f"| `{name}` | {told.what} | {told.who} | {told.long} | {told.shows} |"
        for name, step in scripts.numbered(wishes).items()
        for told in (_told(step.slug, wishes, language),)
    ]
    headings = _HEADINGS[language]
    table = [f"| {' | '.join(headings)} |", "|" + "---|" * len(headings), *rows]
    before, after = _FRAME[language]
    values = {
        "product": wishes.version.product,
        "account": wishes.account,
        "domain": printable(wishes.domain),
        "databases": ", ".join(_code(name) for name in wishes.databases),
        "rights": _RIGHTS[language][_rights(wishes)],
        "csv": _code(wishes.csv or "addresses.csv"),
        "servers": _SERVERS[language][wishes.version.one_role],
        "access": _ACCESS[language][wishes.full_access],
    }
    return [
        *before.strip("\n").format_map(values).split("\n"),
        "",
        *table,
        "",
        *after.strip("\n").format_map(values).split("\n"),
    ]


def _code(text: str) -> str:
    """Show a name in Markdown so that nothing in it counts as markup."""
    shown = printable(text).replace("|", "\\|")
    runs = re.findall("`+", shown)
    if not runs:
        return f"`{shown}`"
    fence = "`" * (1 + max(map(len, runs)))
    return f"{fence} {shown} {fence}"


def _rights(wishes: Wishes) -> str:
    if not wishes.version.rbac:
        return "2007"
    return "scoped" if wishes.scoped else "all"


def _told(slug: str, wishes: Wishes, language: Language) -> Told:
    servers = _SERVERS[language][wishes.version.one_role]
    shell, machine = _SHELL[language], _MACHINE[language].format(servers=servers)
    english = {
        "create-account": Told(
            f"Makes the account {wishes.account} with a mailbox, and asks for its password there and then.",
            shell,
            "a minute",
            "`Get-Mailbox` shows the account.",
        ),
        "impersonation": Told(
            _RIGHTS["en"][_rights(wishes)],
            shell,
            "a minute, and up to an hour until every server knows",
            "`alimail exchange check` impersonates three mailboxes.",
        ),
        "export-addresses": Told(
            "Writes the addresses of all mailboxes in these databases as CSV in UTF-8. A list that is there stays.",
            shell,
            "a minute for 1,000 mailboxes",
            "It tells how many mailboxes it wrote.",
        ),
        "full-access-one": Told(
            "Gives FullAccess to one mailbox, to try it: `-Mailbox ADDRESS`, or the first of the list.",
            shell,
            "a minute",
            "`Get-MailboxPermission ADDRESS` names the account.",
        ),
        "full-access-all": Told(
            "Gives FullAccess to every mailbox of the list.",
            shell,
            "about a second for each mailbox",
            "A second run changes nothing.",
        ),
        "throttling-policy": Told(
            f"Makes the policy {POLICY}, which lifts {len(wishes.version.throttling)} limits.",
            shell,
            "a minute",
            "The verifying script looks at each limit.",
        ),
        "apply-policy": Told(
            f"Applies it to {wishes.account} and to every mailbox of the list; what each had before is kept.",
            shell,
            "about a second for each mailbox; holds after some minutes",
            "The verifying script looks at each mailbox.",
        ),
        "verify-policy": Told(
            "Reads policy and mailboxes, and changes nothing.",
            shell,
            "a second for each mailbox",
            "It says that the policy has no limits and applies to all; otherwise it warns of each that differs.",
        ),
        "max-concurrent-api": Told(
            f"Sets MaxConcurrentApi to {MAX_CONCURRENT_API}, how many passwords are checked at once; the value "
            "before is kept.",
            machine,
            "a second",
            "A second run says that the value is there already.",
        ),
        "restart-netlogon": Told(
            "Restarts Netlogon, after a warning and a question: for some seconds nobody can log in at this server.",
            machine,
            "some seconds, when few people work",
            "It says `Running`.",
        ),
    }
    chinese = {
        "create-account": Told(
            f"创建带邮箱的帐号 {wishes.account}，并当场询问其密码。",
            shell,
            "一分钟",
            "`Get-Mailbox` 能列出该帐号。",
        ),
        "impersonation": Told(
            _RIGHTS["zh"][_rights(wishes)],
            shell,
            "一分钟；各服务器最迟一小时后生效",
            "`alimail exchange check` 会以三个邮箱的身份登录。",
        ),
        "export-addresses": Told(
            "将上述数据库中所有邮箱的地址导出为 UTF-8 编码的 CSV。已有的列表保持不变。",
            shell,
            "每 1000 个邮箱约一分钟",
            "脚本会显示导出的邮箱数量。",
        ),
        "full-access-one": Told(
            "对一个邮箱授予 FullAccess 以作试验：`-Mailbox 地址`，默认取列表中的第一个。",
            shell,
            "一分钟",
            "`Get-MailboxPermission 地址` 能列出该帐号。",
        ),
        "full-access-all": Told(
            "对列表中的每个邮箱授予 FullAccess。", shell, "每个邮箱约一秒", "再次运行时不再有任何更改。"
        ),
        "throttling-policy": Told(
            f"创建限制策略 {POLICY}，取消 {len(wishes.version.throttling)} 项限制。",
            shell,
            "一分钟",
            "验证脚本会检查每一项。",
        ),
        "apply-policy": Told(
            f"对 {wishes.account} 和列表中的每个邮箱应用该策略，并保存各自原来的策略。",
            shell,
            "每个邮箱约一秒；几分钟后生效",
            "验证脚本会检查每个邮箱。",
        ),
        "verify-policy": Told(
            "只读取策略和邮箱，不做更改。",
            shell,
            "每个邮箱约一秒",
            "若一切正确，会显示该策略没有限制并已应用到全部邮箱；否则逐项警告。",
        ),
        "max-concurrent-api": Told(
            f"将 MaxConcurrentApi 设为 {MAX_CONCURRENT_API}（可同时校验的密码数），并保存原来的值。",
            machine,
            "一秒",
            "再次运行时会显示该值已存在。",
        ),
        "restart-netlogon": Told(
            "先警告并询问，然后重启 Netlogon：几秒钟内无法在该服务器上登录。",
            machine,
            "几秒钟，请在使用人数少时进行",
            "显示 `Running`。",
        ),
    }
    return (english if language == "en" else chinese)[slug]


_RIGHTS: Final[Mapping[Language, Mapping[str, str]]] = {
    "en": {
        "scoped": f"Lets the account impersonate the mailboxes of the scope “{SCOPE}”: those with an address of the "
        "domain, in these databases. No others.",
        "all": "Lets the account impersonate every mailbox of the organisation.",
        "2007": "Gives the account ms-Exch-EPI-Impersonation on the Client Access servers and "
        "ms-Exch-EPI-May-Impersonate on these databases.",
    },
    "zh": {
        "scoped": f"允许该帐号模拟管理范围“{SCOPE}”内的邮箱：位于上述数据库且具有该域地址的邮箱，其他邮箱不在其内。",
        "all": "允许该帐号模拟组织内的所有邮箱。",
        "2007": "授予该帐号客户端访问服务器上的 ms-Exch-EPI-Impersonation 权限，以及上述数据库上的 "
        "ms-Exch-EPI-May-Impersonate 权限。",
    },
}
_ACCESS: Final[Mapping[Language, Mapping[bool, str]]] = {
    "en": {
        False: "FullAccess is not given to anybody: impersonation suffices. `--full-access` adds it.",
        True: "FullAccess is given as well, as it was wished; alimail itself needs impersonation alone.",
    },
    "zh": {
        False: "不授予 FullAccess：模拟权限已足够。如需要，请使用 `--full-access`。",
        True: "按要求另外授予 FullAccess；alimail 本身只需要模拟权限。",
    },
}
_FRAME: Final[Mapping[Language, tuple[str, str]]] = {
    "en": (
        """
# Prepare {product} for alimail

Made by `alimail exchange prepare` for the account {account}, the domain {domain} and the databases {databases}.
These names stand in `values.ps1`, and nowhere else.

1. Copy this folder to an Exchange server, into a path without `[` and `]`.
2. Open the Exchange Management Shell there as administrator, in this folder. Where Windows forbids scripts:
   `Set-ExecutionPolicy RemoteSigned -Scope Process` (on Exchange 2007 without `-Scope`).
3. Look at what would happen: `.\\all.ps1 -WhatIf`. Nothing is changed.
4. Run the scripts one after another in their order, or all of them: `.\\all.ps1`. With `-Yes` it asks for nothing but
   the password.
5. Run the last two on {servers}.

Every script may be run again: what is done already stays as it is. The password is asked for by Windows and is not
written down anywhere. {access}
""",
        """
## The way back

`.\\undo.ps1` undoes every step in reverse order: it puts back the values that were there before and removes what
these scripts made, and nothing else. `.\\undo.ps1 -WhatIf` shows it first. What it needs stands in `kept-values.txt`,
which the scripts write beside themselves: **keep this folder until you are done.** Run it on each machine on which
you ran the last two scripts. The account is removed only after a question.

## Next

Take {csv} to the machine with alimail:

    alimail exchange roster addresses.csv --target-domain NEW.EXAMPLE -o accounts.csv
    alimail exchange check --server HOST --user {account}@{domain} --roster accounts.csv
""",
    ),
    "zh": (
        """
# 为 alimail 准备 {product}

由 `alimail exchange prepare` 生成。帐号：{account}；域：{domain}；数据库：{databases}。
这些名称只写在 `values.ps1` 中。

1. 将此文件夹复制到一台 Exchange 服务器上，路径中不要有 `[` 和 `]`。
2. 以管理员身份在该文件夹中打开 Exchange 命令行管理程序。如果系统禁止运行脚本：
   `Set-ExecutionPolicy RemoteSigned -Scope Process`（Exchange 2007 中不要加 `-Scope`）。
3. 先查看将要做什么：`.\\all.ps1 -WhatIf`，不会做任何更改。
4. 按顺序逐个运行脚本，或一次全部运行：`.\\all.ps1`。加上 `-Yes` 时除密码外不再询问。
5. 最后两个脚本要在{servers}上运行。

每个脚本都可以重复运行：已完成的部分保持不变。密码由 Windows 当场询问，不会写入任何文件。{access}
""",
        """
## 撤销

`.\\undo.ps1` 按相反的顺序撤销每一步：恢复原来的值，只删除这些脚本创建的内容。可先用 `.\\undo.ps1 -WhatIf` 查看。
所需信息保存在脚本旁边的 `kept-values.txt` 中：**请在全部完成之前保留此文件夹。**
凡运行过最后两个脚本的机器，都要在其上运行撤销脚本。删除帐号前会先询问。

## 下一步

将 {csv} 复制到安装了 alimail 的机器上：

    alimail exchange roster addresses.csv --target-domain NEW.EXAMPLE -o accounts.csv
    alimail exchange check --server HOST --user {account}@{domain} --roster accounts.csv
""",
    ),
}
