"""What an installation is taken for, by the registry before and after it; and what is run, to the letter."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import nullcontext
from pathlib import Path

import pytest
from attrs import define, field

from alimail_core import AlimailError
from alimail_core.testing.clock import FakeClock
from alimail_outlook import rules
from alimail_outlook.machine.install import InstallFailed, install, refuse_unfit, silent_arguments
from alimail_outlook.machine.program import Program, Signature
from alimail_outlook.machine.regfile import Datum, Tree, Value
from alimail_outlook.machine.windows import Ended, Windows

OURS = "Maker.Mail"
ENTRY = rf"{rules.UNINSTALL[0]}\Maker"
ADDIN = rf"{rules.ADDINS[0]}\{OURS}"
CLASS = "{01234567-89AB-CDEF-0123-456789ABCDEF}"
INSTALLED: dict[str, dict[str, Datum]] = {
    ADDIN: {"LoadBehavior": 3, "FriendlyName": "Mail"},
    rf"HKCU\Software\Classes\{OURS}\CLSID": {"": CLASS},
    rf"HKCU\Software\Classes\CLSID\{CLASS}\InprocServer32": {"": r"C:\Maker\bin\mail.dll"},
    ENTRY: {"UninstallString": r'"C:\Maker\uninst.exe"', "DisplayVersion": "1.2"},
}
OTHERS: dict[str, dict[str, Datum]] = {
    rf"{rules.UNINSTALL[1]}\Browser": {
        "DisplayName": "A browser",
        "UninstallString": r'"C:\Browser\uninst.exe"',
    }
}
"""What Windows brought by itself meanwhile."""


@define
class Played(Windows):
    """A Windows whose registry is a dict; programs that are run are noted, and change it."""

    keys: dict[str, dict[str, Datum]] = field(factory=dict)
    brings: dict[str, dict[str, Datum]] = field(factory=dict)
    ended: Ended = field(default=Ended(0, ""))
    ran: list[str] = field(factory=list)

    def read(self, keys: Iterable[str]) -> Tree:
        wanted = [key.lower() for key in keys]
        return Tree(
            {
                key.lower(): (key, {name.lower(): Value(name, datum) for name, datum in values.items()})
                for key, values in self.keys.items()
                if any(f"{key.lower()}\\".startswith(f"{each}\\") for each in wanted)
            }
        )

    def run_for_code(self, command: object, seconds: float, rest: str = "") -> Ended:
        assert isinstance(command, list)
        self.ran.append(" ".join([*command, rest]).rstrip())
        if "setup" in command[-1]:
            self.keys |= self.brings
            return self.ended
        for key in INSTALLED if "Maker" in command[0] else OTHERS:
            self.keys.pop(key, None)
        return Ended(0, "")

    def set_value(self, key: str, name: str, value: str | int) -> None:
        self.keys.setdefault(key, {})[name] = value

    def delete_key(self, key: str) -> None:
        del self.keys[key]


def program(*, product: str = "", digest: str = "0" * 64, bits: int = 64) -> Program:
    """An installer."""
    return Program(Path("setup.exe"), 1, digest, "nsis", Signature(), bits, "9.9", product, name="setup.exe")


def installed(windows: Played, installer: Program) -> str:
    """Install; return the add-in that was found."""
    return install(windows, installer, "/S", 9, FakeClock(), []).progid


def test_the_add_in_is_the_one_that_was_added() -> None:
    """Others that were there, or come meanwhile, are not taken for it; its version and class are found."""
    windows = Played(keys={rf"{rules.ADDINS[1]}\Other.Tool": {"LoadBehavior": 3}}, brings=INSTALLED | OTHERS)
    done = install(windows, program(), "/S", 9, FakeClock(), [])
    assert (done.progid, done.version, done.places) == (OURS, "1.2", (ADDIN,))
    assert windows.keys[rules.REMEMBERED]["DLL"] == r"C:\Maker\bin\mail.dll"
    assert windows.keys[rules.REMEMBERED]["Uninstall"] == ENTRY


def test_an_add_in_that_was_there_is_not_what_was_installed() -> None:
    """One that is alone is not meant by that, where the installer registered nothing."""
    windows = Played(keys={rf"{rules.ADDINS[1]}\Other.Tool": {"LoadBehavior": 3}})
    with pytest.raises(InstallFailed, match=r"registered no add-in .* there: Other\.Tool"):
        installed(windows, program())


def test_the_same_installer_may_run_again() -> None:
    """It changes nothing in the registry, and is still the one that was remembered; another is not."""
    windows = Played(brings=INSTALLED)
    assert installed(windows, program()) == OURS
    assert installed(windows, program()) == OURS
    assert windows.keys[rules.REMEMBERED]["Uninstall"] == ENTRY, "what was found at first is kept"
    with pytest.raises(InstallFailed, match="registered no add-in"):
        installed(windows, program(digest="1" * 64))
    windows.brings = {ENTRY: INSTALLED[ENTRY] | {"DisplayVersion": "1.3"}}
    assert installed(windows, program(digest="1" * 64)) == OURS, "a newer version of it"


def test_an_installer_may_leave_its_work_to_another_program() -> None:
    """It has ended well, and the add-in comes some seconds later."""
    windows, clock = Played(), FakeClock()
    clock.later(7, lambda: windows.keys.update(INSTALLED))
    assert install(windows, program(), "/S", 9, clock, []).version == "1.2"


def test_what_another_brought_is_not_uninstalled_with_a_failed_one() -> None:
    """Of what came meanwhile only that is taken away which belongs to the add-in."""
    windows = Played(brings=OTHERS | INSTALLED, ended=Ended(1603, ""))
    with pytest.raises(InstallFailed, match=r"1603 \(Windows Installer met a fatal error\).*A browser"):
        installed(windows, program())
    assert windows.ran[1:] == [r"C:\Maker\uninst.exe /S"]
    assert list(windows.keys) == list(OTHERS)


@pytest.mark.parametrize(("product", "ran"), [("Browser of another maker", 0), ("A browser", 1)])
def test_a_failed_one_without_an_add_in_is_known_by_its_name(product: str, ran: int) -> None:
    """Where it came to the list of programs and no further, its product's name tells."""
    windows = Played(brings=OTHERS, ended=Ended(None, ""))
    with pytest.raises(InstallFailed, match="took longer than 9 seconds"):
        installed(windows, program(product=product))
    assert len(windows.ran) == 1 + ran


@pytest.mark.parametrize(
    ("ended", "words", "remedy"),
    [
        (
            Ended(-1, "it wants more rights", 740),
            "cannot be run: it wants more rights",
            "Run as administrator",
        ),
        (Ended(1925, ""), "ended with 1925", "Run as administrator"),
        (Ended(1618, ""), r"1618 \(another installation is under way\)", "log"),
        (Ended(None, ""), "took longer", "--silent-args"),
        (Ended(7, ""), "ended with 7;", "log"),
    ],
)
def test_why_it_failed_is_told(ended: Ended, words: str, remedy: str) -> None:
    """What Windows says of it, and what to do."""
    with pytest.raises(InstallFailed, match=words) as caught:
        installed(Played(ended=ended), program())
    assert remedy in caught.value.remedy


def test_arguments_are_passed_on_as_they_are_given() -> None:
    """NSIS wants a folder without quotation marks, others want them within a word: nothing is taken apart."""
    given = r'/S /v"/qn A=1" /D=C:\Program Files\x'
    windows = Played(brings=INSTALLED)
    assert silent_arguments(program(), f" {given} ") == given
    install(windows, program(), given, 9, FakeClock(), [])
    assert windows.ran[0].endswith(f"setup.exe {given}")


@pytest.mark.parametrize(
    ("second", "bits", "runs"),
    [
        ("empty", 32, False),
        ("whole", 32, True),
        ("empty", 64, True),
        ("none", 32, True),
        ("none", 64, False),
    ],
)
def test_what_wine_cannot_run_is_refused(tmp_path: Path, second: str, bits: int, runs: bool) -> None:
    """A Wine without its 32-bit half ends such programs with 0, as if they had done their work."""
    if second != "none":
        (tmp_path / "drive_c" / "windows" / "syswow64").mkdir(parents=True)
    if second == "whole":
        (tmp_path / "drive_c" / "windows" / "syswow64" / "ntdll.dll").touch()
    windows = Windows(("wine",), tmp_path)
    if runs:
        refuse_unfit(windows, program(bits=bits))
    else:
        with pytest.raises(InstallFailed, match=f"a program of {bits} bits"):
            refuse_unfit(windows, program(bits=bits))


NO_SERVER = Ended(53, "no server")


@pytest.mark.parametrize(
    ("ends", "told"),
    [
        ([Ended(None, "")], "it took too long"),
        ([NO_SERVER] * 3, "no server"),
        ([NO_SERVER, NO_SERVER, Ended(1, "no such key")], ""),
        ([Ended(1, "no such key")], ""),
    ],
)
def test_what_could_not_be_read_does_not_count_as_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends: list[Ended], told: str
) -> None:
    """By a program that is ended nobody learns what the registry has; one that does not begin is begun again."""
    monkeypatch.setattr("alimail_outlook.machine.windows._PAUSES", (0.0, 0.0))
    coming = iter(ends)
    monkeypatch.setattr(Windows, "run", lambda *_: next(coming))
    windows = Windows(("wine",), tmp_path)
    with pytest.raises(AlimailError, match=told) if told else nullcontext():
        assert windows.read([ENTRY]).keys == {}
    assert not list(coming)


@pytest.mark.parametrize(("display", "has", "asked"), [("", False, 3), ("", True, 1), (":0", False, 0)])
def test_wine_without_a_display_draws_nowhere_while_an_installer_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, display: str, has: bool, asked: int
) -> None:
    """The setting is there for that time alone, and what a user has set himself stays."""
    settings = {"Graphics": "x11"} if has else {}
    seen: list[str] = []

    def run(self: Windows, command: list[str], seconds: float = 0) -> Ended:
        verb, *rest = command[1:]
        if command[0] == "cmd":
            seen.append(f"run, {settings.get('Graphics', 'as it is')}")
            return Ended(0, "")
        seen.append(verb)
        if verb == "add":
            settings[rest[2]] = rest[6]
        elif verb == "delete":
            del settings[rest[2]]
        return Ended(0 if verb != "query" or "Graphics" in settings else 1, "")

    monkeypatch.setattr(Windows, "run", run)
    windows = Windows(("wine",), tmp_path, {"DISPLAY": display})
    windows.run_for_code(["setup.exe"], 9)
    assert len(seen) == 1 + asked
    assert ("run, null" in seen) is (not has and not display)
    assert settings == ({"Graphics": "x11"} if has else {})
