"""The latest proof of each account, kept beside the report: what it said, and the digest of each message.

One pair of files an account, each written whole, so that proofs of single accounts may be made at any time, and a
proof that is cut off leaves the one before in its place.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import cattrs

from alimail_core.errors import InputError
from alimail_core.files import written_whole
from alimail_core.model import FolderPath
from alimail_core.proof.results import AccountProof, Altered, MessageProof
from alimail_core.text import cell

VERSION = 2
"""Of the files. One of another version is passed over: to prove again is the way to have it."""

MESSAGE_COLUMNS = (
    "account",
    "target",
    "folder",
    "key",
    "target folder",
    "target key",
    "octets",
    "sha256",
    "outcome",
)
"""The list of messages: octets as the source lists them, the digest of what stands in the target."""


class ProofStore:
    """The latest proofs of a migration, in a folder. Several threads may keep proofs of different accounts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(
        self,
        source_address: str,
        target_address: str,
        prove: Callable[[Callable[[MessageProof], None], Altered], AccountProof],
    ) -> AccountProof:
        """Call ``prove`` with what takes each message's proof; keep all that it tells, and return its answer.

        ``prove`` is also given what earlier proofs found of messages that the target altered: both copies are read
        but once. Raises ``InputError`` where the folder cannot be written, and what ``prove`` raises.
        """
        stem = self._stem(source_address, target_address)
        known = self._altered(stem)
        try:
            with written_whole(stem.with_suffix(".csv")) as messages:
                rows = csv.writer(messages)
                proof = prove(lambda each: rows.writerow(_cells(target_address, each)), known)
            # A proof that failed has not looked at all of them again.
            altered = {**(known if proof.failed else {}), **_altered_in(proof)}
            with written_whole(stem.with_suffix(".json")) as file:
                listed = [[*key, text] for key, text in altered.items()]
                told = {"version": VERSION, "proof": proof, "altered": listed}
                json.dump(_CONVERTER.unstructure(told), file)
        except OSError as error:
            raise InputError(
                f"the proof cannot be kept in {self._folder}: {error.strerror}",
                remedy="Set `report_folder` to a folder that you may write to.",
            ) from error
        return proof

    def find(self, source_address: str, target_address: str) -> AccountProof | None:
        """Return an account's latest proof. Raises ``InputError`` for a file that is not one of ours."""
        path = self._stem(source_address, target_address).with_suffix(".json")
        try:
            told = json.loads(path.read_text(encoding="utf-8"))
            if told["version"] != VERSION:
                return None
            return _CONVERTER.structure(told["proof"], AccountProof)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise InputError(
                f"the proof {path} cannot be read: {error.strerror}", remedy="See that you may read it."
            ) from error
        except (ValueError, KeyError, TypeError, cattrs.BaseValidationError) as error:
            raise InputError(
                f"{path} is no proof that can be read: {type(error).__name__}",
                remedy="Remove it, and verify again.",
            ) from error

    def messages(self, source_address: str, target_address: str) -> Iterator[str]:
        """Give the text of an account's list of messages, which has ``MESSAGE_COLUMNS``; none where none is kept."""
        path = self._stem(source_address, target_address).with_suffix(".csv")
        if path.exists():
            with path.open(encoding="utf-8", newline="") as file:
                while text := file.read(1 << 20):
                    yield text

    @staticmethod
    def _altered(stem: Path) -> Altered:
        """Return what the latest proof has kept; nothing where it cannot be read, since a new one is the remedy."""
        try:
            told = json.loads(stem.with_suffix(".json").read_text(encoding="utf-8"))
            return {(tuple(folder), key): text for folder, key, text in told["altered"]}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def _stem(self, source_address: str, target_address: str) -> Path:
        pair = hashlib.sha256(f"{source_address}\0{target_address}".encode()).hexdigest()
        return self._folder / "proofs" / pair[:24]


def path_text(path: FolderPath) -> str:
    r"""Write a path in one line as ``split_path`` reads it: ``A/B``, with ``\/`` for a slash in a name."""
    return "/".join(name.replace("\\", "\\\\").replace("/", "\\/") for name in path)


def _altered_in(proof: AccountProof) -> Altered:
    return {
        (folder.source, each.key): each.text
        for folder in proof.folders
        for each in folder.findings
        if each.kind == "altered"
    }


def _cells(target_address: str, each: MessageProof) -> list[Any]:
    return [
        cell(each.account),
        cell(target_address),
        cell(path_text(each.folder)),
        cell(each.key),
        cell(path_text(each.target)),
        cell(each.target_key),
        each.size,
        each.digest.hex(),
        each.outcome,
    ]


def _make_converter() -> cattrs.Converter:
    converter = cattrs.Converter()
    converter.register_unstructure_hook(datetime, lambda date: date.isoformat())
    converter.register_structure_hook(datetime, lambda text, _: datetime.fromisoformat(text))
    return converter


_CONVERTER = _make_converter()
