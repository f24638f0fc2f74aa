"""The page that goes with a roll-out's files: what each is, and the steps, in English and Chinese."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

from alimail_core.commands import printable
from alimail_outlook.rollout.policy import NAME
from alimail_outlook.rollout.scripts import Wishes

Language: TypeAlias = Literal["en", "zh"]
Method: TypeAlias = Literal["gpo", "intune", "script"]

_TITLE: Final[Mapping[Language, str]] = {
    "en": "Alibaba Mail's plug-in for Outlook, on many machines",
    "zh": "在多台电脑上部署阿里邮箱 Outlook 插件",
}
_METHODS: Final[Mapping[Language, Mapping[Method, str]]] = {
    "en": {"gpo": "Group Policy", "intune": "Microsoft Intune", "script": "a management tool of your own"},
    "zh": {"gpo": "组策略", "intune": "Microsoft Intune", "script": "自有的管理工具"},
}
_HEADINGS: Final[Mapping[Language, tuple[str, str]]] = {
    "en": ("File", "What it does"),
    "zh": ("文件", "作用"),
}
_SCRIPTS: Final[Mapping[Language, Mapping[str, str]]] = {
    "en": {
        "install.ps1": "Checks the installer's SHA-256{signer}, installs it in silence, sees that it is registered. "
        "Does nothing where that is done already.",
        "detect.ps1": "Ends with 0 and a line of text where it is installed, otherwise with 1.",
        "collect.ps1": "Asks whether Outlook loads it, by the rules of `alimail outlook verify` that the registry "
        "answers{collect}. Run it as the person who uses Outlook: most of what it reads is theirs.",
        "uninstall.ps1": "Runs the uninstaller of the plug-in that `install.ps1` had installed.",
    },
    "zh": {
        "install.ps1": "校验安装程序的 SHA-256{signer}，静默安装，并确认已注册到 Outlook。已安装时不做任何事。",
        "detect.ps1": "已安装时输出一行文字并返回 0，否则返回 1。",
        "collect.ps1": "按 `alimail outlook verify` 中注册表可回答的规则，检查 Outlook 是否会加载插件{collect}。"
        "请以使用 Outlook 的用户身份运行，因为所读的设置大多属于该用户。",
        "uninstall.ps1": "运行由 `install.ps1` 安装的插件的卸载程序。",
    },
}
_SIGNER: Final[Mapping[Language, str]] = {"en": " and its signer", "zh": " 和签名者"}
_COLLECT: Final[Mapping[Language, str]] = {
    "en": ", and writes the answer, with the names of machine and user, to `{folder}`",
    "zh": "，并将结果（含计算机名和用户名）写入 `{folder}`",
}

_STEPS: Final[Mapping[Language, Mapping[Method, tuple[str, ...]]]] = {
    "en": {
        "gpo": (
            "Copy this folder to a share that computers may read, and only administrators may change.",
            "In a Group Policy object for the computers: {where}: `startup.cmd`.",
            f"Copy `policy\\{NAME}.admx` and the folders `en-US` and `zh-CN` into the central store "
            "(`SYSVOL\\…\\Policies\\PolicyDefinitions`), and switch on User Configuration, Administrative Templates, "
            "Alibaba Mail. If you use Microsoft's “List of managed add-ins”, add `{progid}` with 1 there instead.",
            "User Configuration, Windows Settings, Scripts, Logon: `logon.cmd`, to collect.",
        ),
        "intune": (
            "Pack this folder with Microsoft's IntuneWinAppUtil: "
            "`IntuneWinAppUtil -c FOLDER -s install.ps1 -o OUTPUT`.",
            "Apps, Windows, Add, Windows app (Win32): the file that was made. The commands, the install behaviour "
            "({runs}) and the return codes are in `intune.json`.",
            "Detection rules: use a custom detection script: `detect.ps1`; 32-bit: No; enforce signature check: No.",
            "To keep it on: Devices, Configuration, Settings catalog, “List of managed add-ins (User)” of Outlook: "
            "`{progid}` with 1.",
            "To collect: Devices, Scripts and remediations: `collect.ps1` as the detection script, run with the "
            "logged-on credentials, in 64-bit PowerShell. It ends with 1 where Outlook does not load the plug-in.",
        ),
        "script": (
            "Copy this folder to each machine, or to a share.",
            "Run `powershell -NoProfile -ExecutionPolicy Bypass -File install.ps1` {runs}.",
            "For each user, `reg import keep-on.reg` keeps Outlook from disabling it.",
            "Run `collect.ps1` as the user, some days later.",
        ),
    },
    "zh": {
        "gpo": (
            "将此文件夹复制到计算机可读、仅管理员可改的共享中。",
            "在面向计算机的组策略对象中：{where}：`startup.cmd`。",
            f"将 `policy\\{NAME}.admx` 和 `en-US`、`zh-CN` 文件夹复制到中央存储"
            "（`SYSVOL\\…\\Policies\\PolicyDefinitions`），启用“用户配置 > 管理模板 > 阿里邮箱”中的策略。"
            "如果已在使用微软的“托管加载项列表”，请改为在其中添加 `{progid}`，值为 1。",
            "“用户配置 > Windows 设置 > 脚本 > 登录”：`logon.cmd`，用于收集状态。",
        ),
        "intune": (
            "用微软的 IntuneWinAppUtil 打包此文件夹：`IntuneWinAppUtil -c 文件夹 -s install.ps1 -o 输出`。",
            "“应用 > Windows > 添加 > Windows 应用 (Win32)”：选择打好的文件。"
            "命令、安装行为（{runs}）和返回代码见 `intune.json`。",
            "检测规则：使用自定义检测脚本 `detect.ps1`；32 位：否；强制签名检查：否。",
            "保持启用：“设备 > 配置 > 设置目录”中 Outlook 的“托管加载项列表（用户）”：`{progid}`，值为 1。",
            "收集状态：“设备 > 脚本和修正”：`collect.ps1` 作为检测脚本，使用登录凭据、64 位 PowerShell 运行。"
            "Outlook 未加载插件时返回 1。",
        ),
        "script": (
            "将此文件夹复制到每台电脑或共享中。",
            "{runs}运行 `powershell -NoProfile -ExecutionPolicy Bypass -File install.ps1`。",
            "对每个用户运行 `reg import keep-on.reg`，避免 Outlook 禁用插件。",
            "几天后以用户身份运行 `collect.ps1`。",
        ),
    },
}
_WHERE: Final[Mapping[Language, Mapping[bool, str]]] = {
    "en": {
        False: "Computer Configuration, Windows Settings, Scripts, Startup",
        True: "User Configuration, Windows Settings, Scripts, Logon",
    },
    "zh": {False: "计算机配置 > Windows 设置 > 脚本 > 启动", True: "用户配置 > Windows 设置 > 脚本 > 登录"},
}
_RUNS: Final[Mapping[Language, Mapping[Method, Mapping[bool, str]]]] = {
    "en": {
        "gpo": {False: "", True: ""},
        "intune": {False: "System", True: "User"},
        "script": {False: "as an administrator", True: "as the user"},
    },
    "zh": {
        "gpo": {False: "", True: ""},
        "intune": {False: "系统", True: "用户"},
        "script": {False: "以管理员身份", True: "以用户身份"},
    },
}
_LAST: Final[Mapping[Language, tuple[str, ...]]] = {
    "en": (
        "Begin with a few machines, and look at what they answer before the rest follows.",
        "`alimail outlook report FOLDER` makes of what was collected a table, a page and a sheet.",
        "Exit codes of `install.ps1`: 0 installed; 3010, 1641 installed, a restart is needed; 2 the installer is not "
        "there; 4 it is not the one that was prepared; 5 it took longer than ten minutes; 6 it ended well, and the "
        "plug-in is not registered; others are the installer's own.",
        "New Outlook and Outlook on the web load no such plug-in: `alimail outlook addin build`.",
    ),
    "zh": (
        "先在少量电脑上部署，确认结果后再推广。",
        "`alimail outlook report 文件夹` 将收集的结果汇总为表格、网页和 CSV。",
        "`install.ps1` 的返回代码：0 已安装；3010、1641 已安装，需要重启；2 找不到安装程序；"
        "4 安装程序不是准备的那个；5 超过十分钟；6 安装程序正常结束，但插件未注册；其他代码来自安装程序。",
        "新版 Outlook 和网页版不加载此类插件：请用 `alimail outlook addin build`。",
    ),
}
_SHARE: Final[Mapping[Language, str]] = {
    "en": "Let people write into `{folder}`, and only administrators read or change what is there: set the share so "
    "that everybody may create files, and their owner may change them.",
    "zh": "共享 `{folder}`：允许所有人新建文件、所有者修改自己的文件，仅管理员可读取全部内容。",
}


def readme(wishes: Wishes, method: Method, language: Language) -> list[str]:
    """Return the page's lines."""
    folder = _code(wishes.collect)
    told = {
        "progid": _code(wishes.progid),
        "where": _WHERE[language][wishes.per_user],
        "runs": _RUNS[language][method][wishes.per_user],
    }
    pieces = {
        "signer": _SIGNER[language] if wishes.signer else "",
        "collect": _COLLECT[language].format(folder=folder) if folder else "",
    }
    headings = _HEADINGS[language]
    files = [f"| `{name}` | {text.format(**pieces)} |" for name, text in _SCRIPTS[language].items()]
    steps = [text.format(**told) for text in _STEPS[language][method]]
    if folder:
        steps.append(_SHARE[language].format(folder=folder))
    return [
        f"# {_TITLE[language]}: {_METHODS[language][method]}",
        "",
        f"* `{_code(wishes.installer)}`",
        f"* SHA-256 `{wishes.sha256}`",
        f"* ProgID `{_code(wishes.progid)}`",
        "",
        f"| {' | '.join(headings)} |",
        "|---|---|",
        *files,
        "",
        *(f"{number}. {step}" for number, step in enumerate(steps, 1)),
        "",
        *(f"* {text}" for text in _LAST[language]),
    ]


def _code(text: str) -> str:
    """Return what stands between backticks: nothing in it ends them."""
    return printable(text).replace("`", "'").replace("|", "\\|")
