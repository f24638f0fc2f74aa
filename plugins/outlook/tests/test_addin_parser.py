"""The manifest as Microsoft's own parser reads it: ``office-addin-manifest``, which ``tools/setup`` has from npm.

Its ``validate`` is not run: that asks a service of Microsoft's. What the parser reads is what the tools of Office's
developers show of an add-in; what it does not look at, such as the buttons, ``test_addin_manifest.py`` holds to the
documented rules.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

import pytest

from alimail_core.cli import main

pytestmark = pytest.mark.slow

BASE: Final = "https://addin.example.com/outlook"
PROVIDER: Final = "例子 & <Co>"
_ENVIRONMENT: Final = Path(sys.prefix)

EXPECTED: Final = {
    "id": str(uuid5(NAMESPACE_URL, BASE)),
    "version": "1.0.0.0",
    "providerName": PROVIDER,
    "defaultLocale": "en-US",
    "displayName": "Address book",
    "description": "Search your organisation's address book and add people to a message.",
    "iconUrl": f"{BASE}/icon-64.png",
    "highResolutionIconUrl": f"{BASE}/icon-128.png",
    "supportUrl": f"{BASE}/help.html",
    "hosts": ["Mailbox"],
    "appDomains": [],
    "officeAppType": "MailApp",
    "permissions": "ReadWriteItem",
    "manifestType": "xml",
}


def parsed(*manifests: Path) -> list[dict[str, Any]]:
    """Let Microsoft's parser read manifests; ``refused`` says why one was not."""
    node = shutil.which("node", path=f"{_ENVIRONMENT / 'bin'}{os.pathsep}{os.environ['PATH']}")
    assert node, "tools/setup finds a Node.js, or installs one"
    done = subprocess.run(
        [node, str(Path(__file__).with_name("read_manifests.js")), *map(str, manifests)],
        env={**os.environ, "NODE_PATH": str(_ENVIRONMENT / "node" / "node_modules")},
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    read: list[dict[str, Any]] = json.loads(done.stdout)
    return read


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manifest as an administrator has it built."""
    folder = tmp_path_factory.mktemp("addin")
    words = ["outlook", "addin", "build", "--base-url", BASE, "--provider", PROVIDER, "-o", str(folder)]
    assert main(words) == 0
    return folder / "manifest.xml"


def test_microsofts_parser_reads_what_was_built(built: Path) -> None:
    """All that it knows of an add-in is what was asked for, in Chinese and with the signs of XML too."""
    assert parsed(built) == [EXPECTED]


BREAKS: Final[dict[str, tuple[str, str, dict[str, Any] | str]]] = {
    "an element is not closed": ("</Id>", "", "Unable to parse the manifest file"),
    "an & is bare": ("&amp;", "&", "Unable to parse the manifest file"),
    "no identity": (f"<Id>{EXPECTED['id']}</Id>", "", {"id": None}),
    "a name without its text": ('<DisplayName DefaultValue="', '<DisplayName Value="', {"displayName": None}),
    "another host": ('<Host Name="Mailbox"', '<Host Name="Workbook"', {"hosts": ["Workbook"]}),
    "another kind": ('xsi:type="MailApp"', 'xsi:type="TaskPaneApp"', {"officeAppType": "TaskPaneApp"}),
    "no add-in at all": ("OfficeApp", "AnotherApp", dict.fromkeys(EXPECTED)),
}
"""What is replaced by what, and what the parser then reads otherwise; a text is why it refuses the manifest."""


def test_the_parser_sees_what_breaks_a_manifest(built: Path, tmp_path: Path) -> None:
    """A manifest with one fault is refused, or read as what it then says; so the test above can fail."""
    octets = built.read_text("utf-8")
    files = []
    for number, (old, new, _) in enumerate(BREAKS.values()):
        assert old in octets
        files.append(tmp_path / f"{number}.xml")
        files[-1].write_text(octets.replace(old, new), "utf-8")
    for (name, (_, _, expected)), read in zip(BREAKS.items(), parsed(*files), strict=True):
        if isinstance(expected, str):
            assert expected in read["refused"], name
        else:
            wanted = {key: value for key, value in (EXPECTED | expected).items() if value is not None}
            assert read == wanted, name
