"""The two servers, the configuration, and the command line as a person uses it."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import define, field
from rich.console import Console
from rich.text import Text

from alimail_core.testing.alibaba import AlibabaServer
from alimail_core.testing.servers import Dovecot
from tools.demo.office import PEOPLE, SPECIAL_USE

MARKER = ".alimail-demo"
_POLL_SECONDS = 0.02


class BrokenPromise(Exception):
    """Something is not as the demo promises; the text says what."""


@define
class Stage:
    """A folder to work in, two servers, and what is told on the way."""

    folder: Path
    target: AlibabaServer
    source: Dovecot = field(factory=lambda: Dovecot(special_use=SPECIAL_USE))
    console: Console = field(factory=lambda: Console(highlight=False, markup=False, emoji=False))

    def tell(self, text: str) -> None:
        """Explain what comes next."""
        self.console.print()
        self.console.print(Text(text, style="cyan"))
        self.console.file.flush()

    def tell_end(self, heading: str, *lines: str) -> None:
        """Sum up, and say where the report lies. Raises ``BrokenPromise`` where there is none."""
        page = self.folder / "alimail-report" / "report.html"
        if not page.exists():
            raise BrokenPromise(f"there is no report at {page}")
        self.tell(heading)
        for line in lines:
            self.console.print(line)
        self.console.print(page, soft_wrap=True)

    def run(self, *words: str, expect: int = 0) -> None:
        """Show a command and run it. Raises ``BrokenPromise`` where it ends with another exit code."""
        with self.running(*words) as process:
            code = process.wait()
        if code != expect:
            raise BrokenPromise(f"`{shlex.join(words)}` ended with {code}, and {expect} was promised")

    @contextmanager
    def running(self, *words: str) -> Iterator[subprocess.Popen[bytes]]:
        """Show a command and start it; it does not outlive the block."""
        self.console.print(Text(f"$ {shlex.join(words)}", style="bold"), soft_wrap=True)
        self.console.file.flush()
        process = subprocess.Popen(words, cwd=self.folder, env=environment(), stdin=subprocess.DEVNULL)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()

    def run_and_kill(self, *words: str, arrived: int, meanwhile: Callable[[], None] = lambda: None) -> int:
        """Run a command until so many messages stand in the target, and kill it; return how many stand there.

        ``meanwhile`` happens once half of them do.
        """
        with self.running(*words) as process:
            for wanted, act in ((arrived // 2, meanwhile), (arrived, lambda: None)):
                while self.arrived() < wanted and process.poll() is None:
                    time.sleep(_POLL_SECONDS)
                act()
            process.kill()
            code = process.wait()
        if self.console.is_terminal:
            self.console.show_cursor()
        if code != -signal.SIGKILL:
            raise BrokenPromise(f"`{shlex.join(words)}` ended with {code} before it could be killed")
        return self.arrived()

    def arrived(self) -> int:
        """Count the messages on the target's disk."""
        mail = self.target.dovecot.base / "mail"
        return sum(len(files) for place, _, files in os.walk(mail) if Path(place).name in ("cur", "new"))

    def fill_in(self) -> Sequence[str]:
        """Do what an administrator does after ``init``: complete the configuration and the roster.

        Returns the lines that were changed. Passwords stand in two files with mode 0600 and nowhere else.
        """
        roster = self.folder / "accounts.csv"  # made by init with mode 0600
        rows = (f"{person.old},,,{person.new},{self.target.password},\n" for person in PEOPLE)
        with roster.open("a", encoding="utf-8") as file:
            file.writelines(rows)
        changes = self.servers()
        config = self.folder / "alimail.toml"
        config.write_text(changed(config.read_text("utf-8"), changes), "utf-8")
        return [f"  {line}" for line in told(changes)]

    def servers(self) -> dict[str, dict[str, str]]:
        """Write both authorities and the old server's master password; return what the configuration says of them."""
        shutil.copy(self.source.ca_file, self.folder / "old-ca.pem")
        shutil.copy(self.target.ca_file, self.folder / "new-ca.pem")
        self.write_secret("old-master.secret", self.source.master_password)
        return {
            "source": {
                "port": str(self.source.imaps_port),
                "ca": '"old-ca.pem"',
                "master_user": f'"{self.source.master_user}"',
                "secret": '"file:old-master.secret"',
            },
            "target": {"port": str(self.target.imaps_port), "ca": '"new-ca.pem"'},
            "transfer": {"settle_seconds": "3.0"},
        }

    def write_secret(self, name: str, value: str) -> None:
        with open(os.open(self.folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(value + "\n")


@contextmanager
def on_stage(folder: Path, *, round_trip: float = 0.0) -> Iterator[Stage]:
    """Start both servers over an empty folder, the target so many seconds away; end them however the block ends."""
    make_empty(folder)
    stage = Stage(folder, AlibabaServer(round_trip=round_trip))
    with stage.source, stage.target:
        yield stage


def make_empty(folder: Path) -> None:
    """Throw away what an earlier demo left, and nothing that is not a demo's. Raises ``BrokenPromise``."""
    if folder.exists() and any(folder.iterdir()):
        if not (folder / MARKER).exists():
            raise BrokenPromise(f"{folder} holds something that no demo has made: choose another --folder")
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).touch()


def environment() -> Mapping[str, str]:
    """Let ``alimail`` be the one beside this Python, whether or not its environment is activated."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"}


def told(changes: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Say what was changed, a line a key."""
    return [f"[{table}] {key} = {value}" for table, keys in changes.items() for key, value in keys.items()]


def changed(text: str, changes: Mapping[str, Mapping[str, str]]) -> str:
    """Give keys of a configuration that ``init`` wrote, where they stand commented out, their values."""
    head, *tables = re.split(r"(?m)^(?=\[)", text)
    for index, table in enumerate(tables):
        for key, value in changes.get(table[1 : table.index("]")], {}).items():
            tables[index], times = re.subn(rf"(?m)^# {key} = .*$", f"{key} = {value}", tables[index])
            if times != 1:
                raise BrokenPromise(f"`alimail init` has no line for {key}")
    return head + "".join(tables)
