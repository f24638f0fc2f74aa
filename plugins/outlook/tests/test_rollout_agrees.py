"""The script that collects and ``alimail outlook verify`` say the same of the same registry, whatever it holds."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast
from unittest import mock

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from alimail_outlook import rules
from alimail_outlook.machine.looking import findings, look
from alimail_outlook.machine.program import Program, Signature
from alimail_outlook.machine.regfile import Tree, Value
from alimail_outlook.machine.windows import Windows
from alimail_outlook.rollout.prepare import wishes, write
from plugins.outlook.tests.scripted_machine import Datum, Machine

PROGID, CLASS, DLL = "Maker.Product", "{C0FFEE00-0000-0000-0000-000000000000}", r"C:\Maker\addin.dll"
Entry = tuple[str, str, Datum]


def wide(text: str) -> bytes:
    """Return a text as Outlook's lists keep it."""
    return text.encode("utf-16-le")


ADDINS = [key.replace("{progid}", PROGID) for key in rules.ADDIN]
SERVER = rf"HKCR\CLSID\{CLASS}\InprocServer32"
MENTIONS: list[Datum] = [
    wide(PROGID),
    b"\x01" + wide(f"xx{PROGID.upper()}") + b"\0\0",
    wide(DLL.lower()),
    wide("Friendly Maker"),
    wide("Other.Product"),
    b"",
    PROGID,
    3,
]
registered = st.sampled_from(
    [(key, "LoadBehavior", number) for key in ADDINS for number in (0, 2, 3, 9)]
    + [(ADDINS[1], "FriendlyName", "Friendly Maker"), (ADDINS[1], "Other", "")]
    + [(ADDINS[2], "Manifest", "file:///C:/Maker/addin%2Edll|vstolocal")]
)
classes = st.sampled_from(
    [
        (SERVER, "", rf'"{DLL}"'),
        (SERVER, "", r"C:\Windows\mscoree.dll"),
        (rf"{SERVER}\1.0", "CodeBase", "file:///C:/Maker/addin.dll"),
        (rules.REMEMBERED, "DLL", DLL),
    ]
)
listed = st.builds(
    lambda key, name, datum: (key, name, datum),
    st.sampled_from(rules.expanded((rules.DISABLED_ITEMS, rules.CRASHING_ADDINS))).flatmap(
        lambda key: st.sampled_from([key, rf"{key}\beneath"])
    ),
    st.sampled_from(["1", PROGID.lower(), f"the {PROGID}", DLL]),
    st.sampled_from(MENTIONS),
)
policies = st.builds(
    lambda key, name, datum: (key, name, datum),
    st.sampled_from(rules.expanded((rules.DO_NOT_DISABLE, *rules.POLICY_ADDINS, *rules.POLICY_RESILIENCY))),
    st.sampled_from([PROGID, "RestrictToList", "Other.Product"]),
    st.sampled_from([0, 1, 2, "0", "1", "2", "", "x"]),
)
offices = st.sampled_from(
    [(rules.CLICK_TO_RUN, "Platform", word) for word in ("x86", "X64", "arm")]
    + [(key, "Bitness", word) for key in rules.expanded(rules.INSTALLED) for word in ("x86", "x64")]
    + [(rules.APP_PATHS, "Path", r"C:\Office"), (rf"{rules.UNINSTALL[2]}\Other", "DisplayName", "Other")]
    + [(key, "UseNewOutlook", datum) for key in rules.expanded((rules.PREFERENCES,)) for datum in (0, 1)]
    + [(key, "RequireAddinSig", datum) for key in rules.expanded(rules.POLICY_SECURITY) for datum in (0, 1)]
    + [(rules.NET, "Release", datum) for datum in (rules.NET_45, rules.NET_45 - 1, "", "4.5")]
    + [(rf"{key}\v4", "Version", "10.0") for key in rules.VSTO]
)
profiles = st.builds(
    lambda key, name, datum: (rf"{key}\Outlook\9375", name, datum),
    st.sampled_from(rules.expanded(rules.PROFILES)),
    st.sampled_from(["IMAP Server", "smtp server", "Account Name"]),
    st.sampled_from(
        [
            "imap.qiye.Aliyun.com",
            wide("imap.qiye.aliyun.com\0"),
            "aliyun.com",
            "notaliyun.com",
            "aliyun.com.no",
            7,
        ]
    ),
)
entries = st.lists(registered | classes | listed | policies | offices | profiles, max_size=16)
LOADED = [(key, "LoadBehavior", 3) for key in ADDINS]
OFFICE_32, OFFICE_64 = (rules.CLICK_TO_RUN, "Platform", "x86"), (rules.CLICK_TO_RUN, "Platform", "x64")
WINDOWS_64 = (rf"{rules.UNINSTALL[2]}\Other", "DisplayName", "Other")
CODE_BASE = (rf"{SERVER}\1.0", "CodeBase", "file:///C:/Maker/addin.dll")
MACHINES = {32: 0x14C, 64: 0x8664}


class ThisWindows:
    """As much of ``Windows`` as reading takes: a registry of these entries, and the DLL, where there is one."""

    name = "Windows"

    def __init__(self, told: Iterable[Entry], dll: Path) -> None:
        self.tree, self.dll = Tree(), dll
        for key, name, datum in told:
            parts = key.split("\\")
            for end in range(2, len(parts) + 1):
                part = "\\".join(parts[:end])
                values = self.tree.keys.setdefault(part.lower(), (part, {}))[1]
            values[name.lower()] = Value(name, datum)

    def to_path(self, windows: str) -> Path:
        """Return where a file lies."""
        return self.dll if windows == DLL else self.dll.with_name("none")

    def expanded(self, text: str) -> str:
        """Return a text as it is: the tests' registry has no names in it."""
        return text

    def read(self, keys: Iterable[str]) -> Tree:
        """Return the keys with all beneath them."""
        found = Tree()
        for key in keys:
            found.keys.update({each.lower(): self.tree.keys[each.lower()] for each in self.tree.beneath(key)})
        return found


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The script that collects, into its own folder."""
    folder = tmp_path_factory.mktemp("rollout")
    installer = folder / "setup.exe"
    installer.write_bytes(b"MZ")
    write(wishes(installer, PROGID, collect=str(folder)), "script", installer, folder / "out")
    return folder / "out" / "collect.ps1"


def collected(
    script: Path, told: Iterable[Entry], bits: int = 0, *, signed: bool = False
) -> tuple[int, dict[str, Any]]:
    """Run the script on a machine with these entries and a DLL; return its exit code and what it wrote."""
    machine = Machine()
    for key, name, datum in told:
        machine.put(key, name, datum)
    if bits:
        machine.files[DLL] = program(bits)
        machine.signed |= {DLL} if signed else set()
    code = machine.run(script)
    (file,) = script.parent.parent.glob("*.json")
    return code, json.loads(file.read_text("utf-8-sig"))


def program(bits: int) -> bytes:
    """Return as much of a program as says for what machine it is."""
    header = b"MZ".ljust(60, b"\0") + (128).to_bytes(4, "little")
    return header.ljust(128, b"\0") + b"PE\0\0" + MACHINES[bits].to_bytes(2, "little")


@pytest.mark.slow
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(entries, st.sampled_from([0, 32, 64]), st.booleans())
@example([(ADDINS[0], "LoadBehavior", 2), (ADDINS[1], "LoadBehavior", 3)], 0, False)
@example([LOADED[1], (rules.expanded((rules.DISABLED_ITEMS,))[0], "1", MENTIONS[1])], 0, False)
@example([LOADED[1], (SERVER, "", DLL), OFFICE_32], 64, False)
@example([LOADED[1], OFFICE_32], 0, False)
@example([LOADED[1], OFFICE_32, WINDOWS_64], 0, False)
@example([LOADED[0], OFFICE_32, WINDOWS_64], 0, False)
@example([LOADED[2], (SERVER, "", DLL), OFFICE_64], 64, True)
@example([LOADED[0], (SERVER, "", "mscoree.dll"), (rules.NET, "Release", 1)], 0, False)
@example(
    [LOADED[0], (SERVER, "", "mscoree.dll"), CODE_BASE, (rules.NET, "Release", rules.NET_45), OFFICE_32],
    64,
    True,
)
@example([(ADDINS[0], "Manifest", "a.vsto"), (rules.NET, "Release", rules.NET_45)], 0, False)
def test_both_say_the_same_of_every_rule(script: Path, told: list[Entry], bits: int, signed: bool) -> None:
    """Level by level, in the table's order up to the rule that stops; the exit code tells of faults."""
    told = [(rf"HKCR\{PROGID}\CLSID", "", CLASS), *told]
    dll = script.parent / "addin.dll"
    dll.unlink(missing_ok=True)
    if bits:
        dll.write_bytes(program(bits))
    signature = Signature(problem="" if signed else "it is not signed")
    seen = Program(dll, 0, "", "exe", signature, bits)
    sight = look(cast(Windows, ThisWindows(told, dll)), PROGID)
    with mock.patch("alimail_outlook.machine.looking.read_program", return_value=seen):
        expected = {each.rule.name: each.level for each in findings(sight, datetime(2026, 1, 1, tzinfo=UTC))}
    code, state = collected(script, told, bits, signed=signed)
    assert state["levels"] == expected
    assert code == ("fault" in expected.values())


def test_what_is_written_names_machine_and_user(script: Path) -> None:
    """And when, of what; and nothing else of the machine."""
    _, state = collected(script, [(ADDINS[1], "LoadBehavior", 3)])
    levels = state.pop("levels")
    assert levels["load_behavior"] == "ok"
    assert state == {
        "schema": "alimail-outlook-state",
        "version": 1,
        "machine": "EX1",
        "user": "",
        "at": "2026-11-29T01:02:03Z",
        "progid": PROGID,
        "installer": "",
    }
