"""``alimail exchange prepare``: scripts for one version of Exchange, in a folder."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from alimail_core import Fault, InputError
from alimail_core.commands import printable, unfit
from alimail_core.powershell import file_octets
from alimail_ews.admin.readme import readme
from alimail_ews.admin.scripts import Wishes, all_scripts
from alimail_ews.admin.versions import VERSIONS

_DOMAIN: Final = re.compile(r"(?=.{1,253}\Z)[^\W_]([\w-]*[^\W_])?(\.[^\W_]([\w-]*[^\W_])?)+")
_NO_ACCOUNT: Final = frozenset("\"/\\[]:;|=,+*?<>@' ")
"""What an account's name and a mailbox's alias may not have; the space and the apostrophe trip other programs."""
_WILDCARDS: Final = frozenset("*?[]")


def wishes(
    version: str,
    databases: Sequence[str],
    domain: str,
    account: str = "superman",
    csv: str = "",
    *,
    full_access: bool = False,
    as_in_guide: bool = False,
) -> Wishes:
    """Judge what was asked for. Raises ``InputError`` with every fault."""
    faults = [
        *_version(version),
        *_databases(databases),
        *([] if _is_domain(domain) else [_domain_fault(domain)]),
        *_account(account),
        *_csv(csv),
    ]
    if faults:
        raise InputError("what is asked for cannot be prepared", faults)
    return Wishes(
        VERSIONS[version],
        tuple(dict.fromkeys(databases)),
        domain.lower(),
        account,
        csv,
        full_access=full_access or as_in_guide,
        scoped=not as_in_guide,
    )


def files(wished: Wishes) -> dict[str, bytes]:
    """Return every file by its name. The same wishes give the same octets."""
    scripts = {name: file_octets(lines) for name, lines in all_scripts(wished).items()}
    return scripts | {
        "README.md": file_octets(readme(wished, "en")),
        "README.zh.md": file_octets(readme(wished, "zh")),
    }


def write(wished: Wishes, folder: Path) -> list[str]:
    """Write the files into a folder, and return the names of those that were not there as they are now.

    What is there with the same octets stays, so that a second call does nothing. Raises ``InputError`` before
    anything is written where a file is there with others: it may be what an administrator has run.
    """
    made = files(wished)
    try:
        other = [name for name, octets in made.items() if not _may_write(folder / name, octets)]
        if other:
            raise InputError(
                f"{printable(str(folder))} has other scripts in it: {', '.join(other)}",
                remedy="Give a folder of its own to each version and each wish.",
            )
        missing = [name for name in made if not (folder / name).exists()]
        folder.mkdir(parents=True, exist_ok=True)
        for name in missing:
            (folder / name).write_bytes(made[name])
    except OSError as error:
        place = printable(str(error.filename or folder))
        raise InputError(f"{place} cannot be written: {error.strerror}") from None
    return missing


def _may_write(path: Path, octets: bytes) -> bool:
    return not path.exists() or path.read_bytes() == octets


def _version(version: str) -> Iterator[Fault]:
    if version not in VERSIONS:
        yield Fault("--version", "there is no such version", f"it is one of {', '.join(VERSIONS)}")


def _databases(databases: Sequence[str]) -> Iterator[Fault]:
    if not databases:
        yield Fault(
            "--database", "none is given", "Get-MailboxDatabase in the Exchange Management Shell names them"
        )
    for database in databases:
        if not database.strip():
            yield Fault("--database", "it is empty")
        elif fault := unfit(database, 256):
            yield Fault(
                "--database", f"{printable(database[:60])} {fault}", "give the name that Exchange shows"
            )


def _is_domain(domain: str) -> bool:
    """Tell whether it is a domain of letters, digits and hyphens, of any script."""
    return (
        bool(_DOMAIN.fullmatch(domain))
        and domain == unicodedata.normalize("NFC", domain)
        and "_" not in domain
    )


def _domain_fault(domain: str) -> Fault:
    if not domain:
        return Fault("--domain", "none is given", "give the domain of the old addresses, such as old.example")
    return Fault(
        "--domain", f"{printable(domain[:60])} is no domain", "write it as in an address, after the @"
    )


def _account(account: str) -> Iterator[Fault]:
    remedy = "up to 20 letters, digits, dots and hyphens, such as superman"
    if not account or len(account) > 20:
        yield Fault("--account", "it has no character, or more than 20", remedy)
    elif unfit(account, 20) or _NO_ACCOUNT & set(account) or not account.isascii() or account.endswith("."):
        yield Fault("--account", f"{printable(account)} has characters that no account may have", remedy)


def _csv(csv: str) -> Iterator[Fault]:
    if fault := unfit(csv, 1_000):
        yield Fault("--csv", f"it {fault}")
    elif _WILDCARDS & set(csv):
        yield Fault("--csv", "PowerShell takes * ? [ ] in a path for a pattern", "choose a path without them")
