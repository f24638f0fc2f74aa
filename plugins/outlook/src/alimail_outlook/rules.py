"""What must hold so that Outlook loads the plug-in: one table, for ``verify`` here and for the scripts of a roll-out.

A rule has a probe where the registry alone answers it: ``verify`` evaluates it (``machine/looking.py``), and scripts
are generated from it. A rule without a probe needs more (files, several values together): ``verify`` and the script
that collects have a function of its name each, and a test holds the two together. Names are stable: they stand in
JSON and in what machines report.

Keys are written as ``reg.exe`` takes them. ``{progid}`` stands for the add-in, ``{version}`` for each of
``OFFICE_VERSIONS``; a key with ``{version}`` is asked for with all of them.
"""

from __future__ import annotations

from typing import Final, Literal

from attrs import frozen

Level = Literal["ok", "note", "warning", "fault", "unknown"]

OFFICE_VERSIONS: Final = ("16.0", "15.0", "14.0")
"""Outlook 2016 and later (with Microsoft 365), 2013, 2010; the newest first."""

REMEMBERED: Final = r"HKCU\Software\alimail\Outlook"
"""Where ``install`` keeps ``ProgID``, ``Version``, ``Signer``, ``Installer`` (SHA-256), ``DLL`` and ``Uninstall``
(the key that has its uninstaller) as texts; ``install.ps1`` keeps ``UninstallCommand`` instead of the last."""

ADDINS: Final = (
    r"HKCU\Software\Microsoft\Office\Outlook\Addins",
    r"HKLM\Software\Microsoft\Office\Outlook\Addins",
    r"HKLM\Software\WOW6432Node\Microsoft\Office\Outlook\Addins",
)
"""Where add-ins are registered. The user's own key comes first: Outlook writes there what became of an add-in."""

ADDIN: Final = tuple(rf"{key}\{{progid}}" for key in ADDINS)

UNINSTALL: Final = (
    r"HKCU\Software\Microsoft\Windows\CurrentVersion\Uninstall",
    r"HKLM\Software\Microsoft\Windows\CurrentVersion\Uninstall",
    r"HKLM\Software\WOW6432Node\Microsoft\Windows\CurrentVersion\Uninstall",
)

_OUTLOOK: Final = r"HKCU\Software\Microsoft\Office\{version}\Outlook"
_POLICIES: Final = (
    r"HKCU\Software\Policies\Microsoft\Office\{version}\Outlook",
    r"HKLM\Software\Policies\Microsoft\Office\{version}\Outlook",
)
DISABLED_ITEMS: Final = rf"{_OUTLOOK}\Resiliency\DisabledItems"
CRASHING_ADDINS: Final = rf"{_OUTLOOK}\Resiliency\CrashingAddinList"
DO_NOT_DISABLE: Final = rf"{_OUTLOOK}\Resiliency\DoNotDisableAddinList"
PREFERENCES: Final = rf"{_OUTLOOK}\Preferences"
PROFILES: Final = (
    rf"{_OUTLOOK}\Profiles",
    r"HKCU\Software\Microsoft\Windows NT\CurrentVersion\Windows Messaging Subsystem\Profiles",
)
"""Outlook's accounts, since 2013 and before."""

CLICK_TO_RUN: Final = r"HKLM\Software\Microsoft\Office\ClickToRun\Configuration"
APP_PATHS: Final = r"HKLM\Software\Microsoft\Windows\CurrentVersion\App Paths\OUTLOOK.EXE"
INSTALLED: Final = (
    r"HKLM\Software\Microsoft\Office\{version}\Outlook",
    r"HKLM\Software\WOW6432Node\Microsoft\Office\{version}\Outlook",
)
"""Where classic Outlook leaves traces of itself, and Office its bitness."""

CLASS_NAMES: Final = (
    r"HKCU\Software\Classes",
    r"HKCR",
    r"HKLM\Software\WOW6432Node\Classes",
)
"""Where a ProgID's class is told. HKCR has all of it on Windows; on Wine not the user's, nor 32 bits' own."""

CLASSES: Final = (
    r"HKCU\Software\Classes\CLSID",
    r"HKCU\Software\Classes\WOW6432Node\CLSID",
    r"HKCR\CLSID",
    r"HKCR\WOW6432Node\CLSID",
    r"HKLM\Software\WOW6432Node\Classes\CLSID",
)
"""Where a class's server is registered."""

NET: Final = r"HKLM\Software\Microsoft\NET Framework Setup\NDP\v4\Full"
NET_45: Final = 378389
"""What the registry calls .NET Framework 4.5, the oldest that today's add-ins are made for."""
VSTO: Final = (
    r"HKLM\Software\Microsoft\VSTO Runtime Setup",
    r"HKLM\Software\WOW6432Node\Microsoft\VSTO Runtime Setup",
)

POLICY_ADDINS: Final = tuple(rf"{key}\Resiliency\AddinList" for key in _POLICIES)
"""The policy "List of managed add-ins": a value named as the ProgID; 0 never, 1 always, 2 as the user likes."""

POLICY_RESILIENCY: Final = tuple(rf"{key}\Resiliency" for key in _POLICIES)
POLICY_SECURITY: Final = tuple(rf"{key}\Security" for key in _POLICIES)


@frozen
class KeyExists:
    """It holds where one of the keys is there."""

    keys: tuple[str, ...]


@frozen
class ValueIs:
    """It holds where the first of the keys that has the value has it as ``wanted``; a number in decimal.

    ``absent``: whether it holds where no key has the value.
    """

    keys: tuple[str, ...]
    value: str
    wanted: tuple[str, ...]
    absent: bool = False


@frozen
class Unlisted:
    """It holds where no value beneath the keys names the add-in.

    A value names it when its name is the ProgID, or its name or data (octets as UTF-16, little-endian) contain the
    ProgID or the path of its DLL, whatever the case.
    """

    keys: tuple[str, ...]


@frozen
class ServerIs:
    """It holds where a value of one of these names, somewhere beneath the keys, is a server within the domains.

    The value is a text, or octets as UTF-16, little-endian.
    """

    keys: tuple[str, ...]
    values: tuple[str, ...]
    domains: tuple[str, ...]
    """In small letters."""


Probe = KeyExists | ValueIs | Unlisted | ServerIs


@frozen
class Rule:
    """One line of ``verify``: what holds, what it means where it does not, and what to do."""

    name: str
    title: str
    fault: str
    remedy: str
    probe: Probe | None = None
    level: Level = "fault"
    """What it is where it does not hold."""
    stops: bool = False
    """Where it does not hold, the rules after it that ask about the add-in mean nothing."""


RULES: Final = (
    Rule(
        "registered",
        "registered with Outlook",
        "no key under Outlook's Addins: the plug-in is not installed",
        "Run `alimail outlook install`; a remote user must run it in his own session where it installs for one user.",
        KeyExists(ADDIN),
        stops=True,
    ),
    Rule(
        "load_behavior",
        "LoadBehavior is 3 (at start)",
        "Outlook does not load it at start",
        "Run `alimail outlook repair`, then start Outlook anew.",
        ValueIs(ADDIN, "LoadBehavior", ("3",)),
    ),
    Rule(
        "disabled_items",
        "not among the disabled items",
        "Outlook has disabled it (Resiliency\\DisabledItems)",
        "Run `alimail outlook repair`; in Outlook: File > Options > Add-ins > Manage: Disabled Items.",
        Unlisted((DISABLED_ITEMS,)),
    ),
    Rule(
        "crashing_addins",
        "not among the add-ins that crashed",
        "Outlook notes that it crashed or was slow (Resiliency\\CrashingAddinList)",
        "Run `alimail outlook repair`; where it comes back, look for a newer version of the plug-in.",
        Unlisted((CRASHING_ADDINS,)),
    ),
    Rule(
        "do_not_disable",
        "kept from being disabled",
        "Outlook may disable it when it starts slowly (Resiliency\\DoNotDisableAddinList does not have it)",
        "Run `alimail outlook repair`, or roll out the policy that keeps it on.",
        ValueIs((DO_NOT_DISABLE,), "{progid}", tuple(str(number) for number in range(1, 10))),
        level="warning",
    ),
    Rule(
        "policy_addin",
        "no policy forbids it",
        "a policy says that it is never loaded (Resiliency\\AddinList has it as 0)",
        "Ask who manages the group policies: the list of managed add-ins must have it as 1, or not at all.",
        ValueIs(POLICY_ADDINS, "{progid}", ("1", "2"), absent=True),
    ),
    Rule(
        "policy_restricted",
        "no policy shuts out what it does not list",
        "a policy blocks every add-in that it does not list (Resiliency\\RestrictToList is 1)",
        "Ask who manages the group policies to add it to the list of managed add-ins as 1.",
        ValueIs(POLICY_RESILIENCY, "RestrictToList", ("0",), absent=True),
    ),
    Rule(
        "policy_signed",
        "signed, where a policy asks for it",
        "a policy loads signed add-ins only (Security\\RequireAddinSig), and its DLL is unsigned",
        "Ask the maker for a signed version.",
    ),
    Rule(
        "dll_present",
        "its DLL is there",
        "the file that is registered is not there",
        "Install it anew: `alimail outlook uninstall`, then `install`.",
    ),
    Rule(
        "dll_signed",
        "its DLL is signed",
        "the DLL has no valid signature",
        "Compare it with the DLL of a fresh download; a damaged one is put right by `install`.",
        level="warning",
    ),
    Rule(
        "bitness",
        "made for the bitness of this Office",
        "Office and the plug-in are of different bitness",
        "Install the plug-in's other version, or the other Office: an add-in is loaded by its own bitness only.",
    ),
    Rule(
        "runtime",
        "the .NET and VSTO runtimes that it needs",
        "a runtime that it needs is missing",
        "Install .NET Framework 4.8 and the Visual Studio 2010 Tools for Office Runtime, both from Microsoft.",
    ),
    Rule(
        "new_outlook",
        "new Outlook is switched off",
        "new Outlook is switched on, and it loads no COM add-ins",
        "Switch it off (top right of its window), or use the Office add-in: `alimail outlook addin build`.",
        ValueIs((PREFERENCES,), "UseNewOutlook", ("0",), absent=True),
    ),
    Rule(
        "classic_outlook",
        "classic Outlook is installed",
        "no classic Outlook was found, and new Outlook loads no COM add-ins",
        "Install classic Outlook, or use the Office add-in: `alimail outlook addin build`.",
        KeyExists((APP_PATHS, CLICK_TO_RUN, *INSTALLED)),
        level="warning",
    ),
    Rule(
        "account",
        "an account of Alibaba Mail is set up",
        "no account with a server of Alibaba Mail's own name was found in Outlook's profiles",
        "Unless your domain has a name of its own for the server: add one; `alimail outlook settings --check DOMAIN` "
        "tells the servers.",
        ServerIs(
            PROFILES,
            ("IMAP Server", "POP3 Server", "SMTP Server"),
            ("aliyun.com", "mxhichina.com", "alibabacloud.com", "alimail.com"),
        ),
        level="note",
    ),
)
"""In the order in which they are shown."""

EXCUSES: Final = {
    "do_not_disable": ValueIs(
        POLICY_ADDINS, "{progid}", ("1",)
    ),  # such a one is never disabled for being slow
    "policy_restricted": ValueIs(POLICY_ADDINS, "{progid}", ("1", "2")),
}
"""A rule that does not hold is excused where this does."""


def expanded(keys: tuple[str, ...], progid: str = "") -> tuple[str, ...]:
    """Return the keys with each version of Office and the add-in's ProgID, in the order in which they are read."""
    versions = [key.replace("{version}", version) for version in OFFICE_VERSIONS for key in keys]
    return tuple(dict.fromkeys(key.replace("{progid}", progid) for key in versions))
