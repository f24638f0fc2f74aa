"""Whether an installer is the one that is meant. Nothing is run before this says so."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from alimail_core import AlimailError, Fault
from alimail_outlook.machine.program import Program

_ASK: Final = (
    "$s = Get-AuthenticodeSignature -LiteralPath $env:ALIMAIL_FILE; "
    "[Console]::OutputEncoding = [Text.Encoding]::UTF8; $s.Status; "
    "if ($s.SignerCertificate) { $s.SignerCertificate.GetNameInfo('SimpleName', $false) }"
)
"""The path goes by the environment, so that no character of it is read as PowerShell."""


class Untrusted(AlimailError):
    """The file is not what was asked for. It was not run."""


def unlikely(digest: str) -> Iterator[Fault]:
    """Give a fault where a digest was given that no file can have."""
    if digest and not re.fullmatch("[0-9a-fA-F]{64}", digest):
        yield Fault("--sha256", f"it is no SHA-256, which has 64 hexadecimal digits: {digest[:80]}")


def hold(program: Program, signer: str, digest: str) -> list[str]:
    """Hold a file against the signer's name and the SHA-256 that were given, at least one of them.

    Returns what was found, for people. Raises ``Untrusted``.
    """
    found = []
    if digest:
        if program.digest != digest.strip().lower():
            raise Untrusted(
                f"{program.name} is another file: its SHA-256 is {program.digest}",
                remedy="Download it again, or ask whoever gave you the digest; do not run it.",
            )
        found.append("SHA-256 as it was given")
    if signer:
        found.append(_held_to_signer(program, signer, by_digest=bool(digest)))
    return found


def _held_to_signer(program: Program, signer: str, *, by_digest: bool) -> str:
    signature = program.signature
    by_windows = _asked_windows(program.path, signer)
    if by_windows and program.kind == "msi":
        return by_windows
    # A time stamp carries a signature past its certificate's end, but whether the stamp's own signer is to be trusted
    # can only Windows tell; where it is not asked, the digest of the file is the way.
    problem = signature.problem or ("" if by_windows else signature.outdated)
    if problem:
        raise Untrusted(
            f"{program.name}: {problem} (signer: {signature.signer})",
            remedy="Do not run it. Download it again, or ask its maker. "
            + ("" if by_digest else "One that you know by its digest is taken with --sha256 alone."),
        )
    if not signature.is_by(signer):
        raise Untrusted(
            f"{program.name} is signed by another: {' / '.join(signature.names)}, not by {signer}",
            remedy="The name must be the whole common name or organisation, or the certificate's SHA-256 "
            f"({signature.thumbprint}).",
        )
    unsure = (
        "" if by_windows else "; that its certificate leads to an authority can be checked on Windows only"
    )
    return f"signed by {signature.signer}{unsure}"


def _asked_windows(path: Path, signer: str) -> str:
    """Ask Windows too, where this is one; return what it says. Raises ``Untrusted``."""
    if sys.platform != "win32":
        return ""
    import os

    done = subprocess.run(
        ["powershell.exe", "-NoProfile", "-NonInteractive", "-Command", _ASK],
        env={**os.environ, "ALIMAIL_FILE": str(path.absolute())},
        capture_output=True,
        timeout=120,
        check=False,
    )
    status, *names = done.stdout.decode("utf-8", "replace").split("\r\n")[:2]
    if status != "Valid":
        raise Untrusted(
            f"Windows says of the signature of {path.name}: {status or 'nothing'}",
            remedy="Do not run it. One that you know by its digest is taken with --sha256 alone.",
        )
    return (
        f"signed by {names[0]}, as Windows says" if names and names[0].casefold() == signer.casefold() else ""
    )
