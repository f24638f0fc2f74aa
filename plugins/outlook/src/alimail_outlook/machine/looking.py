"""What is on a machine, held against the table of rules: which add-in there is, and whether Outlook loads it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Final

from attrs import evolve, frozen

from alimail_core import InputError
from alimail_outlook import rules
from alimail_outlook.machine.program import Program, Signature, read_program
from alimail_outlook.machine.regfile import Tree, Value
from alimail_outlook.machine.windows import Windows
from alimail_outlook.rules import KeyExists, Level, Probe, Rule, ServerIs, Unlisted

_USERS: Final = r"HKCU\Software\Microsoft\Office"
"""With the user's own add-ins, and for each version the lists, preferences and profiles."""
_POLICIES: Final = tuple(rf"{hive}\Software\Policies\Microsoft\Office" for hive in ("HKCU", "HKLM"))

_EVERYBODYS: Final = re.compile(
    r"(microsoft|onenote|skype|teams|umoutlook|oscaddin|access|colleague|ucaddin|exchange|search|sharepoint|lync)",
    re.IGNORECASE,
)
"""How the ProgIDs of Office's own add-ins begin."""
_ALIBABAS: Final = re.compile(r"ali ?(mail|baba|yun|cloud|outlook)|dingtalk|阿里", re.IGNORECASE)


@frozen
class Addin:
    """An add-in as it is registered. Paths are Windows' own."""

    progid: str
    places: tuple[str, ...]
    """The keys that it is registered under; none where it is known by name only."""
    title: str = ""
    dll: str = ""
    """What COM loads, or the manifest of a VSTO add-in; empty where no class is registered."""
    managed: bool = False
    vsto: bool = False

    def is_named_in(self, value: Value) -> bool:
        """Tell whether a value of a list of Outlook's names it."""
        if value.name.casefold() == self.progid.casefold():
            return True
        names = [name.casefold() for name in (self.progid, self.dll, self.title) if len(name) > 4]
        datum = value.datum
        texts = [value.name, value.text]
        if isinstance(datum, bytes):  # the text need not begin at an even octet
            texts.append(datum[1:].decode("utf-16-le", "replace"))
        return any(name in text.casefold() for text in texts for name in names)


@frozen
class Sight:
    """What was seen of a machine at one time."""

    windows: Windows
    tree: Tree
    addin: Addin

    @property
    def remembered(self) -> dict[str, str]:
        """What ``install`` noted."""
        return {value.name: value.text for value in self.tree.values(rules.REMEMBERED)}


@frozen
class Finding:
    """A rule, and what was found."""

    rule: Rule
    level: Level
    found: str

    @property
    def remedy(self) -> str:
        """What to do, where something is to be done."""
        return self.rule.remedy if self.level in ("fault", "warning", "note") else ""


def look(windows: Windows, progid: str = "") -> Sight:
    """See what is there. Raises ``InputError`` where several add-ins could be meant and none is named."""
    keys = [
        *rules.expanded((*rules.ADDINS[1:], *rules.UNINSTALL, rules.REMEMBERED, *rules.PROFILES[1:])),
        *rules.expanded(rules.INSTALLED),
        _USERS,
        *_POLICIES,
        *rules.VSTO,
        rules.NET,
        rules.CLICK_TO_RUN,
        rules.APP_PATHS,
    ]
    tree = windows.read(keys)
    name = progid or known_addin(tree)
    if not name and (names := _likely(tree)):
        raise InputError(
            f"several add-ins could be meant: {', '.join(sorted(names))}", remedy="Name one: `--progid NAME`."
        )
    if not name:
        return Sight(windows, tree, Addin("", ()))
    named = [rf"{root}\{name}\CLSID" for root in rules.CLASS_NAMES]
    clsids = windows.read(named)
    clsid = next(filter(None, map(clsids.text, named)), "")
    classes = windows.read(rf"{key}\{clsid}" for key in rules.CLASSES) if clsid else Tree()
    addin = _addin(tree, classes, name, clsid)
    return Sight(windows, tree, evolve(addin, dll=windows.expanded(addin.dll)))


def addins(tree: Tree) -> dict[str, str]:
    """Return the ProgIDs of all add-ins with their titles."""
    found: dict[str, str] = {}
    for place in rules.ADDINS:
        for name in tree.children(place):
            title = tree.text(rf"{place}\{name}", "FriendlyName") or found.get(name, "")
            found[name] = title
    return found


def known_addin(tree: Tree) -> str:
    """Return the add-in that is remembered, or that alone can be meant; empty where there is none."""
    names = _likely(tree)
    return tree.text(rules.REMEMBERED, "ProgID") or (names[0] if len(names) == 1 else "")


def _likely(tree: Tree) -> list[str]:
    """Return the add-ins that sound like Alibaba's; where none does, all that are not Office's own."""
    found = {name.lower(): name for name in addins(tree) if not _EVERYBODYS.match(name)}
    return preferred(tree, list(found.values()))


def preferred(tree: Tree, names: Sequence[str], *, only: bool = False) -> list[str]:
    """Return those that sound like Alibaba's; where none does, all of them, unless ``only`` those are asked for."""
    titles = {name.lower(): f"{name} {title}" for name, title in addins(tree).items()}
    return [name for name in names if _ALIBABAS.search(titles[name.lower()])] or ([] if only else list(names))


def _addin(tree: Tree, classes: Tree, progid: str, clsid: str) -> Addin:
    places = tuple(key for key in rules.expanded(rules.ADDIN, progid) if key in tree)

    def first(name: str) -> str:
        return next(filter(None, (tree.text(place, name) for place in places)), "")

    manifest = first("Manifest").partition("|")[0]
    servers = [rf"{key}\{clsid}\InprocServer32" for key in rules.CLASSES]
    server = next((key for key in servers if classes.text(key)), "")
    dll = classes.text(server).strip('"') if server else ""
    managed = dll.lower().endswith("mscoree.dll")
    if managed:
        bases = (classes.text(key, "CodeBase") for key in classes.beneath(server))
        dll = _from_url(next(filter(None, bases), ""))
    if manifest:
        dll = _from_url(manifest)
    if not dll:
        dll = tree.text(rules.REMEMBERED, "DLL")
    return Addin(progid, places, first("FriendlyName"), dll, managed, bool(manifest))


def _from_url(text: str) -> str:
    from urllib.parse import unquote

    if text.lower().startswith("file:///"):
        return unquote(text[8:]).replace("/", "\\")
    return text


# The rules


def findings(sight: Sight, now: datetime) -> Iterator[Finding]:
    """Hold what was seen against each rule, in the table's order."""
    dll = _Dll(sight, now)
    special: dict[str, Callable[[], tuple[Level, str]]] = {
        "policy_signed": lambda: _policy_signed(sight, dll),
        "dll_present": dll.present,
        "dll_signed": dll.signed,
        "bitness": lambda: _bitness(sight, dll),
        "runtime": lambda: _runtime(sight),
    }
    for rule in rules.RULES:
        if rule.probe is None:
            level, found = special[rule.name]()
        else:
            level, found = _probed(rule, rule.probe, sight)
        # What is special finds a fault; how bad that is, the table says.
        yield Finding(rule, rule.level if level == "fault" else level, found or rule.fault)
        if rule.stops and level != "ok":
            return


def _probed(rule: Rule, probe: Probe, sight: Sight) -> tuple[Level, str]:
    held, found = holds(probe, sight)
    if not held and rule.name in rules.EXCUSES:
        held, found = holds(rules.EXCUSES[rule.name], sight)
    if held:
        return "ok", found or rule.title
    return "fault", f"{rule.fault} ({found})" if found else rule.fault


def holds(probe: Probe, sight: Sight) -> tuple[bool, str]:
    """Evaluate a probe; return whether it holds, and what was found, for people."""
    progid, tree = sight.addin.progid, sight.tree
    keys = rules.expanded(probe.keys, progid)
    if isinstance(probe, KeyExists):
        there = [key for key in keys if progid and key in tree]
        return bool(there), ", ".join(there)
    if isinstance(probe, Unlisted):
        named = list(naming(sight, probe))
        return not named, ", ".join(key for key, _ in named)
    if isinstance(probe, ServerIs):
        return _server_is(keys, probe, tree)
    name = probe.value.replace("{progid}", progid)
    key = next((key for key in keys if tree.value(key, name) is not None), None)
    if key is None:
        return probe.absent, ""
    value = tree.text(key, name)
    return value in probe.wanted, f"{value} in {key}"


def naming(sight: Sight, probe: Unlisted) -> Iterator[tuple[str, Value]]:
    """Give the keys and values that name the add-in."""
    for key in rules.expanded(probe.keys, sight.addin.progid):
        for beneath in sight.tree.beneath(key):
            for value in sight.tree.values(beneath):
                if sight.addin.is_named_in(value):
                    yield beneath, value


def _server_is(keys: Sequence[str], probe: ServerIs, tree: Tree) -> tuple[bool, str]:
    for key in (beneath for root in keys for beneath in tree.beneath(root)):
        servers = [f".{tree.text(key, name).lower()}" for name in probe.values]
        if any(server.endswith(f".{domain}") for server in servers for domain in probe.domains):
            return True, tree.text(key, "Account Name") or tree.text(key, "Email")
    return False, ""


class _Dll:
    """The file that Outlook loads, looked at once."""

    def __init__(self, sight: Sight, now: datetime) -> None:
        self.name = sight.addin.dll
        self.vsto = sight.addin.vsto
        self.path = sight.windows.to_path(self.name) if self.name else None
        self.program: Program | None = None
        self.problem = ""
        if self.path is not None and self.path.is_file() and not self.vsto:
            try:
                self.program = read_program(self.path, now)
            except InputError as error:
                self.problem = str(error)

    def present(self) -> tuple[Level, str]:
        if not self.name:
            return "warning", "no COM class is registered under its ProgID, so its DLL is not known"
        if self.path is None or not self.path.is_file():
            return "fault", f"{self.name} is registered, and not there"
        return ("fault", self.problem) if self.problem else ("ok", self.name)

    def signed(self) -> tuple[Level, str]:
        if self.program is None:
            return (
                "unknown",
                "a VSTO manifest: Windows alone can read its signature" if self.vsto else "no DLL",
            )
        signature = self.program.signature
        if signature.problem or not self.is_signed:
            return "fault", signature.problem or signature.outdated
        return "ok", f"by {signature.signer}{signature.outdated and '; '}{signature.outdated}"

    @property
    def is_signed(self) -> bool:
        """An old one is, where a time stamp says that it was signed in time."""
        signature = self.program.signature if self.program is not None else Signature(problem="not read")
        return not signature.problem and (signature.stamped or not signature.outdated)


def _policy_signed(sight: Sight, dll: _Dll) -> tuple[Level, str]:
    wants = any(
        sight.tree.text(key, "RequireAddinSig") == "1" for key in rules.expanded(rules.POLICY_SECURITY)
    )
    if not wants:
        return "ok", "no policy asks for it"
    return ("ok", "asked for, and signed") if dll.is_signed else ("fault", "")


def office_bits(tree: Tree) -> int | None:
    """Return Office's bitness, where the registry tells it."""
    said = [tree.text(rules.CLICK_TO_RUN, "Platform")]
    said += [tree.text(key, "Bitness") for key in rules.expanded(rules.INSTALLED)]
    return next(
        ({"x86": 32, "x64": 64}[each.lower()] for each in said if each.lower() in ("x86", "x64")), None
    )


def _bitness(sight: Sight, dll: _Dll) -> tuple[Level, str]:
    office, places = office_bits(sight.tree), sight.addin.places
    if office is None:
        return "unknown", "Office does not tell its bitness here"
    for_all = [place for place in places if place.startswith("HKLM")]
    if for_all == list(places):  # HKCU is read by both
        only_32 = all("WOW6432Node" in place for place in for_all)
        if office == 64 and only_32:
            return "fault", "Office has 64 bits, and the plug-in is registered for 32 only"
        has_both = any("WOW6432Node" in key for key in sight.tree.beneath(rules.UNINSTALL[2]))
        if office == 32 and has_both and not any("WOW6432Node" in place for place in for_all):
            return "fault", "Office has 32 bits, and the plug-in is registered for 64 only"
    bits = dll.program.bits if dll.program is not None and not sight.addin.managed else None
    if bits is not None and bits != office:
        return "fault", f"Office has {office} bits, and the plug-in's DLL {bits}"
    return "ok", f"{office} bits"


def _runtime(sight: Sight) -> tuple[Level, str]:
    if not (sight.addin.managed or sight.addin.vsto):
        return "ok", "it needs none"
    release = sight.tree.text(rules.NET, "Release")
    wanting = [] if release.isdigit() and int(release) >= rules.NET_45 else [".NET Framework 4.5 or later"]
    if sight.addin.vsto and not any(
        sight.tree.text(key, "Version") for root in rules.VSTO for key in sight.tree.beneath(root)
    ):
        wanting.append("the VSTO runtime")
    return ("fault", f"missing: {', '.join(wanting)}") if wanting else ("ok", "there")
