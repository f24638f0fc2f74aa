"""Write files that are there whole or not at all, for their owner's eyes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


@contextmanager
def written_whole(path: Path, *, encoding: str = "utf-8") -> Iterator[TextIO]:
    """Give a file to write text to; it takes the place of ``path`` once the block ends without an error.

    Made with mode 0600 (no effect on Windows); its folder is made where it is missing. Line ends are the writer's
    own. Raises ``OSError``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    number, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mkstemp makes it 0600
    try:
        with open(number, "w", encoding=encoding, newline="") as file:
            yield file
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
