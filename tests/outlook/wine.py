"""A Wine of a test's own: a prefix that is thrown away, kept running meanwhile because each start takes seconds."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from alimail_outlook.machine.windows import Windows


@contextmanager
def own_wine(prefix: Path) -> Iterator[Windows]:
    """Make a prefix, and let ``WINEPREFIX`` lead there until the block ends."""
    before = os.environ.get("WINEPREFIX")
    os.environ["WINEPREFIX"] = str(prefix)
    try:
        windows = Windows.find()
        kept = subprocess.Popen(
            [*windows.wine, "cmd"],
            env=windows.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield windows
        finally:
            windows.run(["wineboot", "--kill"])  # ends what is in this prefix, and nothing else
            assert kept.stdin is not None
            kept.stdin.close()
            kept.wait(60)
    finally:
        if before is None:
            del os.environ["WINEPREFIX"]
        else:
            os.environ["WINEPREFIX"] = before
