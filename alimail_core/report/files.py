"""Write down what was carried and what was not: JSON for programs, CSV for spreadsheets, one HTML page for people.

``report.schema.json`` in this package says what ``report.json`` holds. Its ``version`` grows when a field changes its
meaning or goes away; fields may be added at any time. Times are ISO 8601 in UTC, sizes are octets, a folder is the
list of its names.

``messages.csv`` lists, from the latest proofs, each message that stands in the target with the SHA-256 of its
octets. The proof's root digest is the SHA-256 over these digests, as octets, sorted: of a folder over its own, of
an account over all of its.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from itertools import chain
from pathlib import Path
from typing import Any

import cattrs
from attrs import asdict, astuple, fields

from alimail_core.errors import InputError
from alimail_core.files import written_whole
from alimail_core.ledger.facts import Balance
from alimail_core.plan import NOT_MOVED
from alimail_core.proof.results import AccountProof, FolderProof
from alimail_core.proof.store import MESSAGE_COLUMNS, path_text
from alimail_core.report.contents import COUNTS, AccountReport, Report
from alimail_core.report.page import page
from alimail_core.status import AccountStatus
from alimail_core.text import cell
from alimail_core.ways import Server

VERSION = 1


def schema_text() -> str:
    """Return the JSON Schema of ``report.json``."""
    return files("alimail_core.report").joinpath("report.schema.json").read_text("utf-8")


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write the report's files, each whole or not at all; return their paths, the page for people first.

    Raises ``InputError`` where the folder cannot be written.
    """
    try:
        return [
            _write_text(folder / "report.html", page(report)),
            _write_text(folder / "report.json", "".join(_json_lines(report))),
            _write_csv(folder / "accounts.csv", _ACCOUNT_COLUMNS, map(_account_cells, report.accounts)),
            _write_csv(folder / "folders.csv", _FOLDER_COLUMNS, _folder_rows(report)),
            _write_csv(folder / "problems.csv", _PROBLEM_COLUMNS, _problem_rows(report)),
            _write_csv(folder / "notes.csv", ("account", "target", "what", "how often"), _note_rows(report)),
            _write_csv(folder / "servers.csv", _SERVER_COLUMNS, map(astuple, report.servers)),
            _write_messages(folder / "messages.csv", report),
        ]
    except OSError as error:
        raise InputError(
            f"the report cannot be written to {folder}: {error.strerror}",
            remedy="Set `report_folder` to a folder that you may write to.",
        ) from error


# JSON


def as_json(report: Report) -> dict[str, Any]:
    """Return the report as plain data that JSON can hold, as ``schema_text()`` says."""
    return {
        "schema": "alimail-report",
        "version": VERSION,
        "migration": report.migration,
        "written": report.written.isoformat(),
        "complete": report.complete,
        "partial": report.partial,
        "accounts": [_account_json(account) for account in report.accounts],
        "progress": [_plain(point) for point in report.progress],
        "servers": [_plain(server) for server in report.servers],
        "not_moved": list(NOT_MOVED),
    }


def _json_lines(report: Report) -> Iterator[str]:
    """Write one account a line: fast however many there are, and one of them is easily found."""
    told = as_json(report)
    accounts = told.pop("accounts")
    yield f'{json.dumps(told)[:-1]}, "accounts": [\n'
    yield ",\n".join(map(json.dumps, accounts))
    yield "\n]}\n"


def _account_json(account: AccountReport) -> dict[str, Any]:
    facts = account.facts
    return {
        **_plain(account.status),
        "seconds": facts.seconds,
        "verdict": _plain(account.verdict),
        "source": {"messages": facts.balance.messages, "octets": facts.source_octets},
        "target": {"messages": facts.target_messages, "octets": facts.target_octets},
        "balance": _plain(facts.balance),
        "altered": facts.altered,
        "mended": facts.mended,
        "renamed_folders": [_plain(each) for each in facts.renamed],
        "problem_list": [_plain(problem) for problem in facts.problems],
        "notes": [{"text": text, "count": count} for text, count in facts.notes],
        "leaves_behind": list(account.leaves_behind),
        "proof": _proof_json(account.proof) if account.proof else None,
    }


def _proof_json(proof: AccountProof) -> dict[str, Any]:
    return {**_plain(proof), "complete": proof.complete}


def _make_converter() -> cattrs.Converter:
    converter = cattrs.Converter()
    converter.register_unstructure_hook(datetime, datetime.isoformat)
    return converter


_plain = _make_converter().unstructure


# CSV

_ACCOUNT_COLUMNS = (
    "account",
    "target",
    "verdict",
    "what to do",
    *(attribute.name for attribute in fields(AccountStatus) if not attribute.name.endswith("_address")),
    "seconds",
    "source octets",
    "target messages",
    "target octets",
    *(f"ledger {attribute.name}" for attribute in fields(Balance)),
    "ledger altered",
    "ledger mended",
    "proven at",
    "full",
    *COUNTS,
    "root sha256",
)

_FOLDER_COLUMNS = ("account", "target", "folder", "target folder", "rule", *COUNTS, "root sha256")

_PROBLEM_COLUMNS = (
    "account",
    "target",
    "kind",
    "folder",
    "key",
    "date",
    "octets",
    "message id",
    "reason",
    "remedy",
    "first",
    "last",
)

_SERVER_COLUMNS = tuple(attribute.name for attribute in fields(Server))


def _account_cells(account: AccountReport) -> list[object]:
    status = asdict(account.status)
    facts, proof = account.facts, account.proof
    return [
        *_addresses(account),
        account.verdict.text,
        account.verdict.remedy,
        *(value for name, value in status.items() if not name.endswith("_address")),
        facts.seconds,
        facts.source_octets,
        facts.target_messages,
        facts.target_octets,
        *asdict(facts.balance).values(),
        facts.altered,
        facts.mended,
        proof.at if proof else None,
        proof.full if proof else None,
        *((account.total(name) if proof else None) for name in COUNTS),
        proof.root if proof else None,
    ]


def _addresses(account: AccountReport) -> tuple[str, str]:
    """Name an account by both of its addresses: either of them may be another account's as well."""
    return account.status.source_address, account.status.target_address


def _folder_rows(report: Report) -> Iterator[list[object]]:
    """Give each folder that the ledger or the proof knows, with what both say of it."""
    for account in report.accounts:
        proven = {folder.source: folder for folder in (account.proof.folders if account.proof else ())}
        for placed in account.facts.folders:
            folder = proven.pop(placed.source, None)
            yield [*_folder_place(account, placed.source, placed.target), placed.rule, *_folder_proof(folder)]
        for folder in proven.values():
            yield [*_folder_place(account, folder.source, folder.target), "", *_folder_proof(folder)]


def _folder_place(account: AccountReport, *paths: tuple[str, ...]) -> list[object]:
    return [*_addresses(account), *map(path_text, paths)]


def _folder_proof(folder: FolderProof | None) -> list[object]:
    return [getattr(folder, name, None) for name in (*COUNTS, "root")]


def _problem_rows(report: Report) -> Iterator[list[object]]:
    for account in report.accounts:
        for problem in account.problems:
            yield [
                *_addresses(account),
                problem.kind,
                path_text(problem.folder),
                problem.key,
                problem.date,
                problem.size,
                problem.message_id,
                problem.reason,
                problem.remedy,
                problem.first,
                problem.last,
            ]
        at = account.proof.at if account.proof else None
        for path, finding in chain(account.findings(), account.beyond()):
            told = finding.kind, path_text(path), finding.key, None, None, "", finding.text, "", at, at
            yield [*_addresses(account), *told]


def _note_rows(report: Report) -> Iterator[tuple[object, ...]]:
    for account in report.accounts:
        for text, count in account.otherwise().items():
            yield *_addresses(account), text, count


def _write_messages(path: Path, report: Report) -> Path:
    with written_whole(path, encoding="utf-8-sig") as file:
        csv.writer(file).writerow(MESSAGE_COLUMNS)
        for account in report.accounts:
            if account.proof:  # one of an earlier version has other columns
                file.writelines(report.proofs.messages(*_addresses(account)))
    return path


def _write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    # With a mark at its beginning, for spreadsheets that would otherwise guess a Windows code page.
    with written_whole(path, encoding="utf-8-sig") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows([_cell(value) for value in row] for row in rows)
    return path


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
    return cell(value) if isinstance(value, str) else value


def _write_text(path: Path, text: str) -> Path:
    with written_whole(path) as file:
        file.write(text)
    return path
