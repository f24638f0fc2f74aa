"""Write files that are there whole or not at all, for their owner's eyes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from alimail_core.errors import InputError
from alimail_core.text import printable


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


@contextmanager
def new_files_in(folder: Path) -> Iterator[None]:
    """Make a folder where it is missing, for a block that writes new files into it and overwrites none.

    Raises ``InputError`` in place of the ``OSError`` of a file that is there already or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except FileExistsError as error:
        raise InputError(
            f"{printable(str(error.filename))} is there already", remedy="name another folder"
        ) from None
    except OSError as error:
        raise InputError(f"{printable(str(folder))} cannot be written: {error.strerror}") from None
