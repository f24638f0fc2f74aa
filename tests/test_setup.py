"""``tools/setup``: does nothing where nothing changed, and puts back what others have put aside."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PIP = '#!/bin/sh\necho "$@" >>"$(dirname "$0")/asked"\n'


@pytest.mark.slow
@pytest.mark.server  # it asks for what the servers' packages have
def test_plain_packages_in_the_place_of_editable_ones_are_put_right(tmp_path: Path) -> None:
    """Who installs a clone into its ``.venv`` would else test that copy, whatever the checkout says since."""
    checkout = tmp_path / "alimail"
    (checkout / ".venv/bin").mkdir(parents=True)
    (checkout / ".venv/lib/python3.11/site-packages").mkdir(parents=True)
    for name in (
        "tools/setup",
        "pyproject.toml",
        "constraints.txt",
        "plugins/imap/pyproject.toml",
        "plugins/outlook/tests/package.json",
    ):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, checkout / name)
    for name, text in (
        ("tools/peers", "#!/bin/sh\n"),
        (".venv/bin/python", "#!/bin/sh\n"),
        (".venv/bin/npm", "#!/bin/sh\n"),
        (".venv/bin/pip", PIP),
    ):
        (checkout / name).write_text(text)
        (checkout / name).chmod(0o755)

    def asked() -> int:
        subprocess.run([checkout / "tools/setup"], check=True, timeout=60)
        return len((checkout / ".venv/bin/asked").read_text().splitlines())

    assert (asked(), asked()) == (1, 1)
    package = checkout / ".venv/lib/python3.11/site-packages/alimail_imap"
    package.mkdir()
    (package / "__init__.py").touch()
    assert asked() == 2
    assert "-e plugins/imap" in (checkout / ".venv/bin/asked").read_text().splitlines()[-1]
