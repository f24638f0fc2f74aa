"""The script that collects and ``alimail outlook verify`` say the same of the same registry, whatever it holds."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from alimail_outlook import rules
from alimail_outlook.machine.looking import holds, look
from alimail_outlook.machine.regfile import Tree, Value
from alimail_outlook.machine.windows import Windows
from alimail_outlook.rollout.prepare import wishes, write
from alimail_outlook.rollout.probes import probed
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
entries = st.lists(registered | classes | listed | policies, max_size=12)


class ThisWindows:
    """As much of ``Windows`` as reading takes: a registry of these entries."""

    def __init__(self, told: Iterable[Entry]) -> None:
        self.tree = Tree()
        for key, name, datum in told:
            parts = key.split("\\")
            for end in range(2, len(parts) + 1):
                part = "\\".join(parts[:end])
                values = self.tree.keys.setdefault(part.lower(), (part, {}))[1]
            values[name.lower()] = Value(name, datum)

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


def collected(script: Path, told: Iterable[Entry]) -> tuple[int, dict[str, Any]]:
    """Run the script on a machine with these entries; return its exit code and what it wrote."""
    machine = Machine()
    for key, name, datum in told:
        machine.put(key, name, datum)
    code = machine.run(script)
    (file,) = script.parent.parent.glob("*.json")
    return code, json.loads(file.read_text("utf-8-sig"))


@pytest.mark.slow
@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(entries)
@example([(ADDINS[0], "LoadBehavior", 2), (ADDINS[1], "LoadBehavior", 3)])
@example([(ADDINS[1], "LoadBehavior", 3), (rules.expanded((rules.DISABLED_ITEMS,))[0], "1", MENTIONS[1])])
def test_both_say_the_same_of_every_rule(script: Path, told: list[Entry]) -> None:
    """Level by level, in the table's order up to the rule that stops; the exit code tells of faults."""
    told = [(rf"HKCR\{PROGID}\CLSID", "", CLASS), *told]
    sight = look(cast(Windows, ThisWindows(told)), PROGID)
    expected = {}
    for rule in probed():
        assert rule.probe is not None
        held = holds(rule.probe, sight)[0]
        if not held and rule.name in rules.EXCUSES:
            held = holds(rules.EXCUSES[rule.name], sight)[0]
        expected[rule.name] = "ok" if held else rule.level
        if rule.stops and not held:
            break
    code, state = collected(script, told)
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
