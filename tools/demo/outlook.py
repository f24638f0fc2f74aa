"""``make demo-outlook``: the plug-in for Outlook, from a forged installer that is refused to 500 machines in a table.

A stand-in for the plug-in's installer is built and signed, and runs under Wine in a prefix of its own: refused where
one bit is another, installed, disabled as Outlook disables an add-in, found by ``verify``, repaired. Then a colleague
in the organisation's address book, the files of a roll-out, what 500 machines would tell, and the add-in for new
Outlook in a real browser. No Outlook takes part.
"""

from __future__ import annotations

import json
import random
import shlex
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import uvicorn
from attrs import define, field
from rich.console import Console
from rich.text import Text

from alimail_core import Clock, Employee, Step
from alimail_directory.provisioner import open_provisioner
from alimail_directory.testing import OpenPlatformServer
from alimail_outlook import rules
from alimail_outlook.addin.building import Site
from alimail_outlook.addin.server import application
from alimail_outlook.addressbook.book import Book
from alimail_outlook.machine.windows import Windows
from alimail_outlook.rollout.scripts import SCHEMA
from plugins.outlook.tests.test_addin_pane import PEOPLE, check, opened
from tests.browser import Browser
from tests.outlook import standin
from tests.outlook.wine import own_wine
from tools.demo.__main__ import command
from tools.demo.stage import BrokenPromise, environment, make_empty

MACHINES, SMALL_MACHINES = 500, 60
_OFFICE = r"HKCU\Software\Microsoft\Office\16.0\Outlook"
_DLL = r"c:\program files\alimail stand-in\standin.dll"
_CONFIG = """[migration]
name = "demo"
[provision]
kind = "alimail"
url = "{url}"
application_id = "file:application.id"
application_secret = "file:application.secret"
"""
_TROUBLES = (
    {"load_behavior": "fault"},
    {"disabled_items": "fault", "load_behavior": "fault"},
    {"policy_restricted": "fault"},
    {"registered": "fault"},
    {"do_not_disable": "warning"},
)
"""What is wrong with one machine in six."""


@define
class Demo:
    """A folder, a Windows, and what is told on the way."""

    folder: Path
    windows: Windows
    console: Console = field(factory=lambda: Console(highlight=False, markup=False, emoji=False))
    begun: float = field(factory=time.monotonic)

    def tell(self, text: str) -> None:
        """Explain what comes next."""
        self.console.print()
        self.console.print(Text(text, style="cyan"))
        self.console.file.flush()

    def run(self, *words: str, expect: int = 0) -> None:
        """Show a command and run it. Raises ``BrokenPromise`` where it ends with another exit code."""
        self.console.print(Text(f"$ alimail outlook {shlex.join(words)}", style="bold"), soft_wrap=True)
        self.console.file.flush()
        whole = ["alimail", "outlook", *words]
        where = {"WINEPREFIX": str(self.windows.prefix), "XDG_STATE_HOME": str(self.folder / "state")}
        code = subprocess.run(whole, cwd=self.folder, env={**environment(), **where}, check=False).returncode
        if code != expect:
            raise BrokenPromise(f"`{shlex.join(whole)}` ended with {code}, and {expect} was promised")

    def perform(self, machines: int) -> None:
        """Play all of it."""
        self.refuse_and_install()
        self.break_and_repair()
        self.find_a_colleague()
        self.roll_out(machines)
        picture = self.open_the_pane()
        self.tell("As it was promised, each command by its exit code:")
        for line in (
            "- An installer with one bit turned was refused, and the right one installed.",
            "- What keeps Outlook from loading it was found, and put right; then it was uninstalled.",
            "- A colleague was found in the organisation's address book, and nobody was not.",
            f"- {machines} machines stand in {self.folder / 'report' / 'outlook.html'}",
            f"- The pane for new Outlook: {picture}",
            f"It took {time.monotonic() - self.begun:.0f} seconds.",
        ):
            self.console.print(line, soft_wrap=True)

    def refuse_and_install(self) -> None:
        """Build and sign an installer; one bit of it is turned."""
        self.tell("A stand-in for the plug-in's installer is built and signed; a copy has one bit turned.")
        certificate = standin.certificate(self.folder / "build" / "signer")
        right = standin.sign(standin.build(self.folder / "build"), certificate).rename(
            self.folder / "plugin.exe"
        )
        octets = bytearray(right.read_bytes())
        octets[len(octets) // 2] ^= 1
        (self.folder / "forged.exe").write_bytes(octets)
        self.run("install", "--exe", "forged.exe", "--signer", standin.SIGNER, expect=1)
        self.tell("The right one, under Wine:")
        self.run("install", "--exe", "plugin.exe", "--signer", standin.SIGNER)

    def break_and_repair(self) -> None:
        """Disable it as Outlook does."""
        self.tell("It is disabled as Outlook disables what was slow: LoadBehavior 2, and a disabled item.")
        self.windows.set_value(rf"{rules.ADDINS[0]}\{standin.PROGID}", "LoadBehavior", 2)
        item = (b"\1\0\0\0" + _DLL.encode("utf-16-le") + bytes(2)).hex()
        key = rf"{_OFFICE}\Resiliency\DisabledItems"
        self.windows.run(["reg", "add", key, "/v", "3F2A11", "/t", "REG_BINARY", "/d", item, "/f"])
        self.run("verify", expect=3)
        self.tell("What the registry can put right is:")
        self.run("repair", "--yes")
        self.run("uninstall")

    def find_a_colleague(self) -> None:
        """Ask an Open Platform API on loopback for what the plug-in is for."""
        self.tell(
            "What the plug-in is for: does the mail service offer the address book, and is a colleague found?"
        )
        people = [
            Step(each)
            for each in (Employee("anna@new.example", "Anna Smith"), Employee("wang@new.example", "王小明"))
        ]
        with OpenPlatformServer() as server:
            with open_provisioner(server.options(), Clock()) as provisioner:
                list(provisioner.carry_out(people))
            for name, word in (
                ("id", server.platform.application_id),
                ("secret", server.platform.application_secret),
            ):
                (self.folder / f"application.{name}").write_text(word)
                (self.folder / f"application.{name}").chmod(0o600)
            (self.folder / "alimail.toml").write_text(_CONFIG.format(url=server.url))
            self.run("addressbook", "check", "--colleague", "王小明")
            self.run("addressbook", "check", "--colleague", "nobody@new.example", expect=3)
            self.run("addressbook", "export", "--format", "outlook", "-o", "contacts.csv")

    def roll_out(self, machines: int) -> None:
        """Write what brings it to many machines, and let them tell how they stand."""
        self.tell("For many machines, by Group Policy:")
        words = ("--method", "gpo", "--exe", "plugin.exe", "--signer", standin.SIGNER)
        self.run(
            "rollout", *words, "--progid", standin.PROGID, "--collect", r"\\server\outlook$", "-o", "rollout"
        )
        self.console.print("\n".join(sorted(each.name for each in (self.folder / "rollout").iterdir())))
        self.tell(
            f"{machines} machines tell how they stand (made up here, in the form that the script writes):"
        )
        _tell_states(self.folder / "collected", machines)
        self.run("report", "collected", "-o", "report", expect=3)

    def open_the_pane(self) -> Path:
        """Build the add-in, and look at its pane; return the picture."""
        self.tell(
            "For new Outlook and the web, an add-in; its pane is opened in Chromium, without an Outlook:"
        )
        self.run("addin", "build", "--base-url", "https://addin.new.example/outlook", "-o", "addin")
        picture = self.folder / "pane.png"
        with _served(self.folder) as base, Browser() as browser:
            pane = opened(browser, base)
            pane.log_in()
            pane.search("anna", 1)
            picture.write_bytes(pane.page.picture())
        return picture


def _tell_states(folder: Path, machines: int) -> None:
    folder.mkdir()
    chance, now = random.Random(9), datetime.now(UTC)
    for number in range(machines):
        levels = {rule.name: "ok" for rule in rules.RULES}
        if number % 6 == 0:
            levels |= chance.choice(_TROUBLES)
        state = {
            "schema": SCHEMA,
            "version": 1,
            "machine": f"PC{number:04}",
            "user": f"user{number}",
            "at": f"{now - timedelta(hours=chance.randrange(200)):%Y-%m-%dT%H:%M:%SZ}",
            "progid": standin.PROGID,
            "installer": "0" * 64,
            "levels": levels,
        }
        (folder / f"PC{number:04}.json").write_text(json.dumps(state), "utf-8-sig")


@contextmanager
def _served(folder: Path) -> Iterator[str]:
    sheet = folder / "people.csv"
    sheet.write_text(PEOPLE, "utf-8")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        site = Site.of(f"http://127.0.0.1:{listening.getsockname()[1]}/outlook", "", "Example")
        served = application(site, Book(sheet, Clock()), check, Clock(), refused_after=0.0)
        server = uvicorn.Server(uvicorn.Config(served, ws="none", lifespan="off", log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            yield site.base
        finally:
            server.should_exit = True
            thread.join(10)


def main(words: list[str]) -> int:
    """Play; return 0 where everything was as promised."""

    def play(folder: Path, small: bool) -> None:
        make_empty(folder)
        with own_wine(folder / "wine") as windows:
            Demo(folder, windows).perform(SMALL_MACHINES if small else MACHINES)

    return command("tools.demo.outlook", __doc__ or "", words, play, small=f"{SMALL_MACHINES} machines")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
