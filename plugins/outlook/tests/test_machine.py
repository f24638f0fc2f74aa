"""Real installers on a Windows of our own, which is Wine's: installed, verified, broken, repaired, uninstalled."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from alimail_core.cli import main
from alimail_core.registry import Registry
from alimail_outlook import rules
from alimail_outlook.machine.install import find_entry, uninstall_words
from alimail_outlook.machine.looking import look
from alimail_outlook.machine.regfile import Tree, Value
from alimail_outlook.machine.windows import Windows
from tests.outlook import standin
from tests.outlook.wine import own_wine

pytestmark = [pytest.mark.slow, pytest.mark.server]

OFFICE = r"HKCU\Software\Microsoft\Office\16.0\Outlook"
POLICY = r"HKCU\Software\Policies\Microsoft\Office\16.0\Outlook\Resiliency"
BITNESS = r"HKLM\Software\Microsoft\Office\16.0\Outlook"
DLL = r"C:\Program Files\Alimail stand-in\standin.dll"
KEYS = (*rules.ADDINS, *rules.UNINSTALL)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for installers."""
    return tmp_path_factory.mktemp("installers")


@pytest.fixture(scope="module")
def signer(home: Path) -> standin.Certificate:
    """Who signs them."""
    return standin.certificate(home / "signer")


@pytest.fixture(scope="module")
def wine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Windows]:
    """Wine in a prefix that is thrown away."""
    with own_wine(tmp_path_factory.mktemp("wine")) as windows:
        yield windows


@pytest.fixture
def windows(wine: Windows) -> Iterator[Windows]:
    """Wine with nothing installed."""
    yield wine
    whole = (OFFICE, POLICY, BITNESS, rules.REMEMBERED)
    left = wine.read([*KEYS, *whole])
    for key in (
        *whole,
        *(rf"{root}\{name}" for root in KEYS for name in left.children(root)),
    ):
        if key in left:
            wine.delete_key(key)


@pytest.fixture
def outlook(
    windows: Windows, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Any:
    """Run ``alimail outlook …``; return its exit code and what it said."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    registry = Registry.load(only=["outlook"])

    def run(*words: object) -> tuple[int, str]:
        capsys.readouterr()
        code = main(["outlook", *map(str, words)], registry)
        return code, "".join(capsys.readouterr())

    return run


def faults(outlook: Any) -> set[str]:
    """Verify, and return the rules that do not hold."""
    code, said = outlook("verify", "--json")
    found = {each["rule"] for each in json.loads(said)["findings"] if each["level"] == "fault"}
    assert code == (3 if found else 0)
    return found


def is_gone(windows: Windows, file: str) -> bool:
    """Tell whether a file goes: an uninstaller takes them away last, when the registry says that it is done."""
    end = time.monotonic() + 60
    while windows.to_path(file).exists() and time.monotonic() < end:
        time.sleep(0.05)
    return not windows.to_path(file).exists()


def put(windows: Windows, key: str, name: str, octets: bytes) -> None:
    """Write octets into the registry, as Outlook does."""
    words = ["reg", "add", key, "/v", name, "/t", "REG_BINARY", "/d", octets.hex(), "/f"]
    assert windows.run(words).code == 0


def test_a_plug_in_is_installed_broken_repaired_and_uninstalled(
    windows: Windows, outlook: Any, home: Path, signer: standin.Certificate
) -> None:
    """Each thing that keeps Outlook from loading it is found by its rule, and what can be put right is."""
    installer = standin.sign(standin.build(home / "well"), signer)
    code, said = outlook("install", "--exe", installer, "--signer", standin.SIGNER)
    assert code == 0, said
    assert f"installed: {standin.PROGID} {standin.VERSION}" in said
    assert faults(outlook) == set()
    windows.delete_value(rules.REMEMBERED, "DLL")
    assert look(windows).addin.dll == DLL, "by the user's own classes, which HKCR of Wine does not have"

    # As Outlook disables an add-in, and as policies forbid one.
    windows.set_value(rules.ADDINS[0] + rf"\{standin.PROGID}", "LoadBehavior", 2)
    disabled = b"\1\0\0\0" + DLL.lower().encode("utf-16-le") + b"\0\0alimail stand-in\0"
    put(windows, rf"{OFFICE}\Resiliency\DisabledItems", "3F2A", disabled)
    put(windows, rf"{OFFICE}\Resiliency\DisabledItems", "other", "c:\\other.dll".encode("utf-16-le"))
    put(windows, rf"{OFFICE}\Resiliency\CrashingAddinList", "77", standin.PROGID.encode("utf-16-le"))
    windows.set_value(POLICY, "RestrictToList", 1)
    windows.set_value(rf"{POLICY}\AddinList", standin.PROGID, "0")
    windows.set_value(rf"{OFFICE}\Preferences", "UseNewOutlook", 1)
    dll = windows.to_path(DLL.upper())
    dll.rename(dll.with_suffix(".away"))
    theirs = {"policy_addin", "policy_restricted", "new_outlook", "dll_present"}
    assert faults(outlook) == theirs | {"load_behavior", "disabled_items", "crashing_addins"}

    assert outlook("repair")[0] == 2, "nobody is there who could be asked"
    code, said = outlook("repair", "--yes")
    assert (code, said.count("done: "), said.count("FAULT")) == (3, 4, len(theirs)), said
    lists = windows.read([OFFICE])
    kept = [value.name for value in lists.values(rf"{OFFICE}\Resiliency\DisabledItems")]
    assert kept == ["other"], "what is of others stays"

    dll.with_suffix(".away").rename(dll)
    windows.set_value(rf"{POLICY}\AddinList", standin.PROGID, "1")
    windows.set_value(rf"{OFFICE}\Preferences", "UseNewOutlook", 0)
    windows.set_value(BITNESS, "Bitness", "x86")
    assert faults(outlook) == {"bitness"}
    windows.delete_key(BITNESS)
    windows.delete_key(POLICY)

    assert outlook("uninstall")[0] == 0
    assert is_gone(windows, DLL)
    assert faults(outlook) == {"registered"}


def test_one_for_all_users_of_32_bits_is_found(
    windows: Windows, outlook: Any, home: Path, signer: standin.Certificate
) -> None:
    """What registers under WOW6432Node is found there; Outlook's own note in HKCU counts first, and goes too."""
    name = "Other.Maker's-Product_1"
    installer = standin.sign(standin.build(home / "wow", hive="HKLM", view=32, progid=name), signer)
    where = r"C:\My & 50% (or more)\x"  # to the letter, through Wine's batch file
    wish = ("--signer", standin.SIGNER, "--silent-args", rf"/S /D={where}")
    code, said = outlook("install", "--exe", installer, *wish)
    assert code == 0, said
    assert look(windows).addin.dll == rf"{where}\standin.dll"
    place = rf"{rules.ADDINS[2]}\{name}"
    assert place.lower() in said.lower()
    windows.set_value(rf"{rules.ADDINS[0]}\{name}", "LoadBehavior", 2)
    assert faults(outlook) == {"load_behavior"}
    assert outlook("repair", "--yes")[0] == 0
    assert outlook("uninstall")[0] == 0
    assert windows.read(rules.ADDINS).children(rules.ADDINS[0]) == []


def test_a_package_of_windows_installer_is_installed(
    windows: Windows, outlook: Any, home: Path, signer: standin.Certificate
) -> None:
    """It is verified as a program is, run by Windows Installer, and uninstalled by it."""
    package = standin.sign(standin.package(home / "package"), signer)
    code, said = outlook("install", "--exe", package, "--signer", standin.SIGNER)
    assert code == 0, said
    assert f"installed: {standin.PROGID} 0.9.1" in said
    assert faults(outlook) == set()
    assert look(windows).addin.dll.endswith(r"\Alimail stand-in\standin.dll")
    assert outlook("uninstall")[0] == 0


def test_a_restart_that_is_asked_for_is_told(
    windows: Windows, outlook: Any, home: Path, signer: standin.Certificate
) -> None:
    """3010 is a success that is not over; Wine's exit codes of eight bits do not hide it."""
    installer = standin.sign(standin.build(home / "restart", ending="restart"), signer)
    code, said = outlook("install", "--exe", installer, "--signer", standin.SIGNER)
    assert (code, "restart Windows" in said) == (3, True)


def long_enough(windows: Windows) -> int:
    """Return in how many seconds an installer has surely registered what it brings, however busy this machine is."""
    began = time.monotonic()
    windows.run(["cmd", "/c", "exit"])
    return 5 + int(20 * (time.monotonic() - began))


@pytest.mark.parametrize(
    ("ending", "words"), [("fails", "ended with 5"), ("hangs", "took longer than {limit} seconds")]
)
def test_what_a_failed_installer_left_is_taken_away(
    windows: Windows,
    outlook: Any,
    home: Path,
    signer: standin.Certificate,
    ending: str,
    words: str,
    tmp_path: Path,
) -> None:
    """Files and keys of an installer that fails or hangs are gone, and the log has what was done."""
    installer = standin.sign(standin.build(home / ending, ending=ending), signer)
    log = tmp_path / "install.log"
    limit = 60 if ending == "fails" else long_enough(windows)
    wish = ("--signer", standin.SIGNER, "--log", log, "--time-limit", limit)
    code, said = outlook("install", "--exe", installer, *wish)
    assert (code, words.format(limit=limit) in said) == (1, True), said
    left = windows.read(KEYS)
    assert not any(left.children(key) for key in rules.ADDINS)
    assert is_gone(windows, DLL)
    assert "undo: " in log.read_text("utf-8")
    assert not windows.is_running("standin")


def test_what_is_not_trusted_never_runs(
    windows: Windows, outlook: Any, home: Path, signer: standin.Certificate, tmp_path: Path
) -> None:
    """Changed by one octet, by another, unsigned, a script: refused by name, and nothing is registered."""
    right = standin.sign(standin.build(home / "right"), signer)
    changed = bytearray(right.read_bytes())
    changed[len(changed) // 2] ^= 1
    other = standin.sign(
        standin.build(home / "other"), standin.certificate(tmp_path / "other", "Another, Ltd.")
    )
    cases = {
        "changed.exe": (bytes(changed), 1, "changed after that"),
        "other.exe": (other.read_bytes(), 1, "signed by another: Another, Ltd."),
        "unsigned.exe": (standin.build(home / "bare").read_bytes(), 1, "not signed"),
        "script.exe": (b"@echo off\r\n", 2, "a text or a script"),
    }
    for name, (octets, code, words) in cases.items():
        (tmp_path / name).write_bytes(octets)
        ended, said = outlook("install", "--exe", tmp_path / name, "--signer", standin.SIGNER)
        assert (ended, words in said, name in said) == (code, True, True), said
    assert outlook("install", "--exe", right)[0] == 2, "neither signer nor digest was given"
    assert outlook("install", "--exe", right, "--sha256", "abc")[0] == 2, "no digest is so short"
    left = windows.read(KEYS)
    assert not any(left.children(key) for key in rules.ADDINS)


def test_nothing_is_done_while_outlook_runs(
    windows: Windows, outlook: Any, home: Path, signer: standin.Certificate
) -> None:
    """Outlook is not closed for its user: he is asked to."""
    stand_in = windows.to_path(r"C:\OUTLOOK.EXE")
    stand_in.write_bytes(standin.build(home / "runs", ending="hangs", progid="Runs.Addin").read_bytes())
    running = subprocess.Popen([*windows.wine, "C:\\OUTLOOK.EXE", "/S"], env=windows.environment)
    try:
        for _ in range(100):
            if windows.is_running("OUTLOOK.EXE"):
                break
        installer = standin.sign(standin.build(home / "closed"), signer)
        code, said = outlook("install", "--exe", installer, "--signer", standin.SIGNER)
        assert (code, "close Outlook" in said) == (1, True)
        assert outlook("uninstall")[0] == 1
        assert outlook("repair", "--yes")[0] == 1
        assert running.poll() is None
    finally:
        running.kill()
        running.wait()


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"UninstallString": r'"C:\A b\uninst.exe"'}, [r"C:\A b\uninst.exe", "/S"]),
        ({"UninstallString": r"C:\A b\uninst.exe"}, [r"C:\A b\uninst.exe", "/S"]),
        (
            {"UninstallString": r'"C:\A\unins000.exe"'},
            [r"C:\A\unins000.exe", "/VERYSILENT", "/SUPPRESSMSGBOXES", "/NORESTART"],
        ),
        (
            {"UninstallString": "MsiExec.exe /I{0A-1B}"},
            ["msiexec.exe", "/X", "{0A-1B}", "/qn", "/norestart"],
        ),
        (
            {"UninstallString": "x.exe", "QuietUninstallString": r'"C:\A b\u.exe" /quiet "/log=a b"'},
            [r"C:\A b\u.exe", "/quiet", "/log=a b"],
        ),
        ({}, []),
    ],
)
def test_uninstallers_of_each_kind_are_called_without_questions(
    values: dict[str, str], words: list[str]
) -> None:
    """NSIS, Inno Setup, Windows Installer, and whatever has a quiet command of its own."""
    key = rf"{rules.UNINSTALL[1]}\Product"
    entry = {name.lower(): Value(name, text) for name, text in values.items()}
    entry |= {"installlocation": Value("InstallLocation", "C:\\A\\")}
    tree = Tree({key.lower(): (key, entry)})
    assert uninstall_words(tree, key) == words
    assert find_entry(tree, r"c:\a\bin\addin.dll", "") == key
    assert find_entry(tree, r"C:\AB\addin.dll", "") == ""
