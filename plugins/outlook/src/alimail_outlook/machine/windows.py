"""Windows, or Wine's: programs that run there, its registry by ``reg.exe``, its files.

One way for both: every command runs under ``wine`` where this is not Windows, in ``WINEPREFIX``. A registry key is
read by ``reg export``, whose file says names, types and values without a loss and in no language.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path, PureWindowsPath
from typing import Final

from attrs import define, field, frozen

from alimail_core import AlimailError
from alimail_outlook.machine.regfile import Tree, parsed

_SECONDS: Final = 120.0
"""For a command of Windows itself; the first one under Wine makes the prefix, which takes a while."""

_AT_ONCE: Final = 4

_NO_SUCH_KEY: Final = 1
"""What ``reg.exe`` ends with where a key is not there."""

_PAUSES: Final = (1.0, 3.0)
"""Seconds until a program that could not run is begun again: Wine's may not where its prefix was made just now."""

_WINES_DRIVERS: Final = r"HKCU\Software\Wine\Drivers"
_WINES_OWN: Final = {
    "programfiles": r"C:\Program Files",
    "programfiles(x86)": r"C:\Program Files (x86)",
    "commonprogramfiles": r"C:\Program Files\Common Files",
    "systemdrive": "C:",
    "systemroot": r"C:\windows",
    "windir": r"C:\windows",
}
"""Names that texts of the registry have in them, as every new prefix of Wine has them."""


class NoWindows(AlimailError):
    """There is neither Windows nor Wine."""


@frozen
class Ended:
    """How a program ended. ``code`` is None where it was ended because it took too long."""

    code: int | None
    said: str
    fault: int = 0
    """Windows' own error where it was not even begun."""


@define
class Windows:
    """The Windows that commands run on. ``wine`` is empty on Windows itself."""

    wine: tuple[str, ...] = ()
    prefix: Path = field(factory=Path)
    environment: dict[str, str] = field(factory=dict, repr=False)

    @staticmethod
    def find() -> Windows:
        """Return this machine's. Raises ``NoWindows``."""
        if sys.platform == "win32":
            return Windows(environment=dict(os.environ))
        wine = shutil.which("wine") or shutil.which("wine64")
        if wine is None:
            raise NoWindows(
                "Outlook's plug-in is a program for Windows, and this is none",
                remedy="Run this on the Windows machine; to try an installer here, install Wine (apt install wine).",
            )
        prefix = Path(os.environ.get("WINEPREFIX") or Path.home() / ".wine").absolute()
        # Nobody sits before Wine's dialogues: not the one that offers Mono and Gecko, nor menus of the desktop.
        quiet = {"WINEDEBUG": "-all", "WINEDLLOVERRIDES": "mscoree,mshtml=;winemenubuilder.exe=d"}
        found = Windows((wine,), prefix, quiet | dict(os.environ) | {"WINEPREFIX": str(prefix)})
        if not (prefix / "system.reg").exists():
            prefix.mkdir(parents=True, exist_ok=True)
            found.run(["wineboot", "-i"])
        return found

    @property
    def name(self) -> str:
        """What to call it."""
        return f"Wine in {self.prefix}" if self.wine else "Windows"

    def run(self, command: Sequence[str | Path] | str, seconds: float = _SECONDS) -> Ended:
        """Run a program to its end; where that takes longer, end it and what it has started.

        A command that is one text is for Windows itself, which gives it to the program as it stands.
        """
        words = command if isinstance(command, str) else [*self.wine, *map(str, command)]
        with tempfile.TemporaryFile() as said:
            # Into a file, not a pipe: what a program leaves running would hold a pipe open.
            try:
                process = subprocess.Popen(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=subprocess.STDOUT,
                    env=self.environment,
                    start_new_session=True,
                )
            except OSError as error:
                return Ended(-1, str(error.strerror), getattr(error, "winerror", None) or -1)
            try:
                code: int | None = process.wait(seconds)
            except subprocess.TimeoutExpired:
                self._end(process)
                code = None
            said.seek(0)
            return Ended(code, said.read(64 * 1024).decode(errors="replace").strip())

    def run_for_code(self, command: Sequence[str], seconds: float, rest: str = "") -> Ended:
        """Run a program whose exit code is needed whole: Wine's own is cut to eight bits, 3010 comes out as 194.

        ``rest`` follows the words as it stands, since installers differ in how they read quotation marks.
        """
        line = f"{subprocess.list2cmdline(command)} {rest}".rstrip()
        if not self.wine:
            return self.run(line, seconds)
        with self.scratch() as folder:
            batch, code = folder / "run.bat", folder / "code.txt"
            batch.write_text(
                f"@{_for_batch(line)}\r\n@>{self.to_windows(code)} echo %ERRORLEVEL%\r\n", "utf-8", newline=""
            )
            with self._display():
                ended = self.run(["cmd", "/c", str(self.to_windows(batch))], seconds)
            if ended.code is not None and code.exists():
                ended = Ended(int(code.read_text("ascii")), ended.said)
            return ended

    @contextmanager
    def _display(self) -> Iterator[None]:
        """Give Wine windows that are drawn nowhere, where it has no display.

        Some installers make windows even when they are silent, such as Inno Setup's, and fail where they cannot.
        """
        asked = ("query", _WINES_DRIVERS, "/v", "Graphics")
        shown = sys.platform == "darwin" or any(map(self.environment.get, ("DISPLAY", "WAYLAND_DISPLAY")))
        if shown or self._reg(*asked).code == 0:
            yield
            return
        self.set_value(_WINES_DRIVERS, "Graphics", "null")
        try:
            yield
        finally:
            self.delete_value(_WINES_DRIVERS, "Graphics")

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        if self.wine:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            subprocess.run(
                ["taskkill", "/T", "/F", "/PID", str(process.pid)], capture_output=True, check=False
            )
        process.wait()

    # The registry

    def read(self, keys: Iterable[str]) -> Tree:
        """Return the keys with all beneath them; a key that is not there gives nothing. Raises ``AlimailError``."""
        with self.scratch() as folder:
            with ThreadPoolExecutor(_AT_ONCE) as pool:
                wanted = {folder / f"{number}.reg": key for number, key in enumerate(keys)}
                list(pool.map(self._export, wanted.values(), wanted))
            found = Tree()
            for file in wanted:
                if file.exists():
                    found.keys.update(parsed(file.read_text("utf-16")).keys)
            return found

    def _export(self, key: str, file: Path) -> None:
        words = ("export", key, str(self.to_windows(file)), "/y")
        ended = self._reg(*words)
        for pause in _PAUSES:
            if ended.code in (0, _NO_SUCH_KEY, None):
                break
            time.sleep(pause)
            ended = self._reg(*words)
        if ended.code not in (0, _NO_SUCH_KEY):  # else what was not read in time would count as not there
            text = f"{key} cannot be read: {ended.said or ended.code or 'it took too long'}"
            raise AlimailError(
                text, remedy="Run the same command again; if it stays so, restart Windows, or Wine."
            )

    def _reg(self, *words: str) -> Ended:
        return self.run([self._system("reg.exe"), *words])

    def _system(self, program: str) -> str:
        if self.wine:
            return program
        root = Path(os.environ.get("SYSTEMROOT", r"C:\Windows"))
        # A 32-bit Python would be led to the 32-bit reg.exe, and that one to the 32-bit keys.
        native = root / "Sysnative" / program
        return str(native if native.exists() else root / "System32" / program)

    def set_value(self, key: str, name: str, value: str | int) -> None:
        """Write a text or a number. Raises ``AlimailError``."""
        kind = "REG_DWORD" if isinstance(value, int) else "REG_SZ"
        self._must("add", key, "/v", name, "/t", kind, "/d", str(value), "/f")

    def delete_value(self, key: str, name: str) -> None:
        """Take a value away. Raises ``AlimailError``."""
        self._must("delete", key, "/v", name, "/f")

    def delete_key(self, key: str) -> None:
        """Take a key away with all beneath it. Raises ``AlimailError``."""
        self._must("delete", key, "/f")

    def _must(self, *words: str) -> None:
        ended = self._reg(*words)
        if ended.code != 0:
            raise AlimailError(
                f"{words[1]} cannot be changed: {ended.said or ended.code}",
                remedy="HKLM asks for an administrator: open the terminal with `Run as administrator`."
                if words[1].startswith("HKLM")
                else "",
            )

    def expanded(self, text: str) -> str:
        """Return a text with its ``%NAMES%`` replaced: ``reg export`` tells values of REG_EXPAND_SZ as written."""
        if not self.wine:
            return os.path.expandvars(text)
        return re.sub("%([^%]+)%", lambda name: _WINES_OWN.get(name[1].lower(), name[0]), text)

    def runs(self, bits: int | None) -> bool:
        """Tell whether programs of so many bits run here; None: that is not known of the program."""
        if not self.wine or bits is None:
            return True
        # A prefix for 32 bits has no such folder, and a Wine of 64 bits alone leaves it empty.
        second = self.prefix / "drive_c" / "windows" / "syswow64"
        return second.exists() if bits == 64 else not second.exists() or (second / "ntdll.dll").exists()

    # Files and processes

    def to_path(self, windows: str) -> Path:
        """Return where a file of Windows lies, whatever the case of its name; it need not be there."""
        if not self.wine:
            return Path(windows)
        pure = PureWindowsPath(windows)
        path = self.prefix / "dosdevices" / pure.drive.lower()
        for part in pure.parts[1:]:
            path = path / part if (path / part).exists() else _alike(path, part)
        return path

    def to_windows(self, path: Path) -> PureWindowsPath:
        """Return a file's name as Windows has it."""
        if not self.wine:
            return PureWindowsPath(path.absolute())
        drive_c = (self.prefix / "drive_c").resolve()
        whole = path.resolve()
        if whole.is_relative_to(drive_c):
            return PureWindowsPath("C:\\", *whole.relative_to(drive_c).parts)
        return PureWindowsPath("Z:\\", *whole.parts[1:])

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give a folder that Windows' programs see, and that nobody else can write to; it is gone afterwards."""
        parent = None
        if self.wine:
            parent = self.prefix / "drive_c" / "windows" / "temp"
            parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix="alimail-", dir=parent))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)  # what was ended may hold a file a moment longer

    def is_running(self, program: str) -> bool:
        """Tell whether a program runs, such as ``OUTLOOK.EXE``."""
        # Wine's tasklist lists nothing; its debugger has every name in quotes.
        asked = ["winedbg", "--command", "info proc"] if self.wine else [self._system("tasklist.exe")]
        said = self.run(asked).said.casefold()
        return any(line.strip(" '=").startswith(program.casefold()) for line in re.split(r"\n|'", said))


def _for_batch(line: str) -> str:
    """Return a command so that a batch file gives it to its program as it is."""
    parts = line.replace("%", "%%").split('"')
    # What stands between quotation marks is no sign of the shell's.
    return '"'.join(
        part if number % 2 else re.sub(r"[&|<>^()]", r"^\g<0>", part) for number, part in enumerate(parts)
    )


def _alike(folder: Path, name: str) -> Path:
    try:
        entries = list(folder.iterdir())
    except OSError:
        entries = []
    return next((each for each in entries if each.name.casefold() == name.casefold()), folder / name)
