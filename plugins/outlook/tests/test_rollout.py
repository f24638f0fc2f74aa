"""The files of a roll-out: what they hold, and what the scripts do when they are run in a shell of the tests' own."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import tree_sitter_powershell
from hypothesis import given, settings
from hypothesis import strategies as st
from tree_sitter import Language, Parser

from alimail_core import AlimailError, InputError
from alimail_outlook.rollout import policy, verb_rollout
from alimail_outlook.rollout.prepare import METHODS, files, wishes, write
from alimail_outlook.rollout.scripts import Wishes, all_scripts
from alimail_outlook.rules import ADDINS, REMEMBERED, RULES, UNINSTALL, expanded
from plugins.outlook.tests.scripted_machine import Machine
from tests.outlook import standin

PROGID = "Maker.Product"
PARSER = Parser(Language(tree_sitter_powershell.language()))
UNINSTALLER = r"C:\Program Files\Maker\uninst.exe"
odd = st.text(st.characters(codec="utf-8") | st.sampled_from("'`$\"(){};|&#@’‛\n\r😀"), max_size=12)


@pytest.fixture
def installer(tmp_path: Path) -> Path:
    """A file that is as good as an installer here."""
    path = tmp_path / "Maker Setup.exe"
    path.write_bytes(b"MZ and the rest")
    return path


def rolled_out(installer: Path, method: Any = "script", **more: Any) -> Path:
    """Write the files of a roll-out, and return their folder."""
    folder: Path = installer.parent / method
    write(wishes(installer, PROGID, **more), method, installer, folder)
    return folder


def machine(**more: Any) -> Machine:
    """A machine on which the installer works, and what it installs can be uninstalled."""
    made = Machine(**more)
    key = rf"{UNINSTALL[1]}\Maker"

    def install(_: str) -> int:
        made.put(rf"{ADDINS[1]}\{PROGID}", "LoadBehavior", 3)
        made.put(key, "UninstallString", f'"{UNINSTALLER}"')
        return 0

    def uninstall(_: str) -> int:
        made.take(rf"{ADDINS[1]}\{PROGID}")
        made.take(key)
        return 0

    made.put(rf"{UNINSTALL[1]}\Other", "UninstallString", "other.exe")
    made.programs = {"Maker Setup.exe": install, "uninst.exe": uninstall}
    return made


@pytest.mark.parametrize("method", METHODS)
def test_the_same_wish_writes_the_same_files_once(installer: Path, method: Any) -> None:
    """A second call writes nothing; a folder with other files is left as it is."""
    wished = wishes(installer, PROGID)
    folder = installer.parent / "out"
    assert set(write(wished, method, installer, folder)) == {*files(wished, method), installer.name}
    assert write(wished, method, installer, folder) == []
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match="other files"):
        write(wishes(installer, "Other.Product"), method, installer, folder)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    """The installer, the ProgID and the folder to collect in are judged together, before anything is written."""
    with pytest.raises(InputError) as caught:
        wishes(tmp_path / "none.exe", "a\\b", collect="\\\\server\\*", signer="a\nb")
    assert {fault.where for fault in caught.value.faults} == {"--exe", "--progid", "--collect", "--signer"}


def test_an_installer_that_nothing_vouches_for_is_refused(installer: Path) -> None:
    """Without signer and hash, and with another hash, before anything is written."""
    run = verb_rollout.COMMAND.run
    assert run is not None
    folder = installer.parent / "out"
    given = {each.name: each.default or "" for each in verb_rollout.COMMAND.arguments}
    given |= {"--method": "gpo", "--exe": str(installer), "--progid": PROGID, "--output": str(folder)}
    with pytest.raises(InputError) as caught:
        run(given)
    assert [fault.where for fault in caught.value.faults] == ["--signer"]
    with pytest.raises(AlimailError):
        run(given | {"--sha256": "0" * 64})
    program = standin.build(installer.parent / "made")
    named = program.rename(program.with_suffix(".bin"))
    with pytest.raises(InputError, match="cannot be prepared") as caught:
        run(given | {"--exe": str(named), "--sha256": hashlib.sha256(named.read_bytes()).hexdigest()})
    assert caught.value.faults[0].remedy == "let its name end with .exe"
    assert not folder.exists()


@pytest.mark.slow
@settings(max_examples=8)  # each of them parses 500 lines
@given(odd, odd, odd, odd, odd)
def test_scripts_parse_whatever_they_hold(
    installer: str, signer: str, arguments: str, collect: str, progid: str
) -> None:
    """Nothing that was asked for becomes code: with it and without it the trees have the same commands."""
    wished = Wishes(progid, installer, "0" * 64, signer, arguments, "", collect)
    for name, lines in all_scripts(wished).items():
        tree = PARSER.parse("\r\n".join(lines).encode()).root_node
        assert not tree.has_error, name
        assert commands(tree) == plain_commands()[name]


@cache
def plain_commands() -> dict[str, list[bytes]]:
    """Return the commands of each script where nothing odd was asked for."""
    plain = all_scripts(Wishes("P.Q", "x", "0" * 64))
    return {
        name: commands(PARSER.parse("\r\n".join(lines).encode()).root_node) for name, lines in plain.items()
    }


def commands(node: Any) -> list[bytes]:
    """Return the names of all commands, in their order."""
    own = [node.text] if node.type == "command_name" else []
    return own + [each for child in node.children for each in commands(child)]


def test_scripts_are_read_by_every_windows_powershell(installer: Path) -> None:
    """UTF-8 with its mark, lines with CRLF; what cmd.exe reads is ASCII."""
    for name, octets in files(wishes(installer, PROGID), "gpo").items():
        assert octets.count(b"\n") == octets.count(b"\r\n")
        if name.endswith(".ps1"):
            assert octets.startswith(b"\xef\xbb\xbf")
        if name.endswith(".cmd"):
            octets.decode("ascii")


def test_it_installs_once_and_remembers(installer: Path) -> None:
    """A second run does nothing; another version is installed over the first; then all of it goes again."""
    made, folder = machine(), rolled_out(installer)
    assert made.run(folder / "detect.ps1") == 1
    assert made.said == []
    assert made.run(folder / "install.ps1") == 0
    assert made.run(folder / "detect.ps1") == 0
    assert made.said, "without a text Intune takes it as not installed"
    assert made.run(folder / "install.ps1") == 0
    assert made.ran == ["Maker Setup.exe /S"]
    installer.write_bytes(b"MZ of a newer version")
    newer = installer.parent / "newer"
    write(wishes(installer, PROGID), "script", installer, newer)
    assert made.run(newer / "install.ps1") == 0
    assert made.ran == ["Maker Setup.exe /S"] * 2
    assert made.run(newer / "uninstall.ps1") == 0
    assert made.ran[2:] == ["uninst.exe /S"]
    assert made.run(newer / "detect.ps1") == 1
    assert not [key for key in made.registry if key.endswith(REMEMBERED.rpartition("\\")[2].lower())]
    assert made.run(newer / "uninstall.ps1") == 0


def test_arguments_reach_the_installer_as_they_are(installer: Path) -> None:
    """NSIS wants a folder with blanks without quotation marks, InstallShield wants them within a word."""
    made = machine()
    folder = rolled_out(installer, arguments=r'/S /v"/qn A=1" /D=C:\Program Files\x')
    assert made.run(folder / "install.ps1") == 0
    assert made.ran == [r'Maker Setup.exe /S /v"/qn A=1" /D=C:\Program Files\x']


def test_a_package_of_windows_installer_is_run_by_it(installer: Path) -> None:
    """A package is no program itself."""
    made = machine()
    made.programs["msiexec.exe"] = made.programs["Maker Setup.exe"]
    package = installer.rename(installer.with_suffix(".msi"))
    assert made.run(rolled_out(package, arguments="/qn") / "install.ps1") == 0
    (line,) = made.ran
    assert line.startswith('msiexec.exe /i "')
    assert line.endswith('Maker Setup.msi" /qn')


def test_a_product_of_windows_installer_is_removed_by_it(installer: Path) -> None:
    """Its uninstaller's line names the product, and is written to ask."""
    made, folder = machine(), rolled_out(installer)
    product = "{01234567-89AB-CDEF-0123-456789ABCDEF}"
    assert made.run(folder / "install.ps1") == 0
    made.put(REMEMBERED, "UninstallCommand", f"MsiExec.exe /I{product}")
    made.programs["msiexec.exe"] = made.programs["uninst.exe"]
    assert made.run(folder / "uninstall.ps1") == 0
    assert made.ran[1:] == [f"msiexec.exe /x {product} /qn /norestart"]


@pytest.mark.parametrize("command", [f'"{UNINSTALLER}" /old', f"{UNINSTALLER} /old", UNINSTALLER])
def test_an_uninstaller_is_found_in_its_line(installer: Path, command: str) -> None:
    """With and without quotation marks, and whatever it is called with when a person is there."""
    made, folder = machine(), rolled_out(installer, arguments="/S /D=C:\\x")
    assert made.run(folder / "install.ps1") == 0
    made.put(REMEMBERED, "UninstallCommand", command)
    made.put(REMEMBERED, "Uninstall", rf"{UNINSTALL[1]}\Maker")  # of `alimail outlook install`
    assert made.run(folder / "uninstall.ps1") == 0
    assert made.ran[1:] == ["uninst.exe /S"]


def test_what_is_not_as_prepared_is_never_run(installer: Path) -> None:
    """Another octet, no file, no signature or another's: each has its code and nothing is run."""
    signed = rolled_out(installer, "intune", signer="Maker Ltd")
    for signer in ("", "Makers Ltd"):
        made = machine(signer=signer)
        assert made.run(signed / "install.ps1") == 4
        assert made.ran == []
    assert machine(signer="Maker Ltd").run(signed / "install.ps1") == 0
    folder = rolled_out(installer)
    (folder / installer.name).write_bytes(b"MZ and the resT")
    made = machine()
    assert made.run(folder / "install.ps1") == 4
    (folder / installer.name).unlink()
    assert made.run(folder / "install.ps1") == 2
    assert made.ran == []


@pytest.mark.parametrize(("code", "told"), [(1, 1), (1603, 1603), (0, 6), (None, 5)])
def test_an_installer_that_fails_is_told(installer: Path, code: int | None, told: int) -> None:
    """Its own code; one for success without a registration; one for an installer that hangs and is ended."""
    made, folder = machine(), rolled_out(installer)
    made.programs["Maker Setup.exe"] = lambda _: code
    assert made.run(folder / "install.ps1") == told
    assert made.processes[0].killed is (code is None)
    assert made.run(folder / "detect.ps1") == 1


def test_a_restart_is_passed_on(installer: Path) -> None:
    """3010 is success for Intune and for us."""
    made, folder = machine(), rolled_out(installer)
    install = made.programs["Maker Setup.exe"]
    made.programs["Maker Setup.exe"] = lambda given: (install(given) or 0) + 3010
    assert made.run(folder / "install.ps1") == 3010
    assert made.run(folder / "detect.ps1") == 0


def test_what_somebody_else_installed_is_not_uninstalled_by_guess(installer: Path) -> None:
    """Without a note of its uninstaller nothing is run."""
    made, folder = machine(), rolled_out(installer)
    made.programs["Maker Setup.exe"]("")
    assert made.run(folder / "uninstall.ps1") == 3
    assert made.ran == []


def test_intune_gets_the_detection_that_is_beside_it(installer: Path) -> None:
    """The script in the JSON is the file's octets; the commands name files that are there."""
    folder = rolled_out(installer, "intune", per_user=True)
    app = json.loads((folder / "intune.json").read_bytes())
    (rule,) = app["detectionRules"]
    assert base64.b64decode(rule["scriptContent"]) == (folder / "detect.ps1").read_bytes()
    assert rule["runAs32Bit"] is False
    assert app["installExperience"]["runAsAccount"] == "user"
    for command in (app["installCommandLine"], app["uninstallCommandLine"]):
        assert (folder / command.split()[-1]).exists()


def test_the_policy_names_only_what_it_has() -> None:
    """Each text that the definition asks for is there in each language, and the key is the one that verify reads."""
    made = policy.files("A&B.C")
    definition = ElementTree.fromstring(made[f"{policy.NAME}.admx"])
    spaces = {"p": "http://schemas.microsoft.com/GroupPolicy/2006/07/PolicyDefinitions"}
    wanted = set(re.findall(r"\$\(string\.(\w+)\)", made[f"{policy.NAME}.admx"].decode()))
    for language in ("en-US", "zh-CN"):
        texts = ElementTree.fromstring(made[f"{language}/{policy.NAME}.adml"])
        assert {each.attrib["id"] for each in texts.iterfind(".//p:string", spaces)} == wanted
    for items, value in (("enabledList", "string"), ("disabledList", "delete")):
        found = definition.findall(f".//p:{items}/p:item", spaces)
        assert {each.attrib["valueName"] for each in found} == {"A&B.C"}
        assert all(each.find(f"p:value/p:{value}", spaces) is not None for each in found)
    keys = {each.attrib["key"] for each in definition.iterfind(".//p:enabledList/p:item", spaces)}
    (rule,) = (each for each in RULES if each.name == "policy_addin")
    assert rule.probe is not None
    read = {key.partition("\\")[2] for key in expanded(rule.probe.keys, PROGID)}
    assert keys < read


@pytest.mark.parametrize("method", METHODS)
def test_both_pages_tell_every_file(installer: Path, method: Any) -> None:
    """Each script and each file for a person stands in the page, in both languages, with nothing left open."""
    folder = rolled_out(installer, method, collect=r"\\server\outlook$", signer="Maker Ltd")
    for page in ("README.md", "README.zh.md"):
        told = (folder / page).read_text("utf-8-sig")
        assert "{" not in told
        assert all(path.name in told for path in folder.glob("*.ps1"))
        assert r"\\server\outlook$" in told
        for name in ("startup.cmd", "intune.json", "keep-on.reg"):
            if (folder / name).exists() and name != "keep-on.reg":
                assert name in told
