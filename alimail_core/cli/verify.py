"""``alimail verify``: is it all there?"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alimail_core.cli import options
from alimail_core.cli.carry import ask_secrets, matching
from alimail_core.cli.frame import Frame
from alimail_core.cli.output import (
    complain,
    count_text,
    path_text,
    plain,
    remark_lines,
    say,
    table,
    write_json,
)

if TYPE_CHECKING:
    from alimail_core.spec import MigrationSpec
    from alimail_core.verify import AccountProof, FolderProof

FEW = 20
"""Findings that are shown of each account; `alimail report` has all of them."""

COUNTS = (
    "messages",
    "proven",
    "altered",
    "moved",
    "quarantined",
    "pending",
    "missing",
    "changed",
    "merged",
    "extra",
)
"""The counts that the table sums up, in its order."""

SHORT = ("missing", "changed", "pending", "quarantined")
"""The counts that say that not all is there."""


def verify(
    context: typer.Context,
    config: options.Config = options.CONFIG,
    search: options.Search = "",
    full: Annotated[
        bool, typer.Option("--full", help="Read every message back from the target and compare its octets.")
    ] = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Answer "is it all there?": list both sides afresh and hold them against each other.

    Without --full, keys, sizes and flags are compared; with it, every octet is read back. Both sides stay as they
    are; the proof is kept for `alimail report`.

    \b
    Examples:
      alimail verify
      alimail verify --full
      alimail verify --full --search anna@old.example --json > anna.json

    \b
    The columns: messages (in the source now), proven (in the target, as carried), altered (the target stores other
    octets than it was sent; told apart, no fault), moved (moved or removed in the target since, by its user),
    quarantined (the target will not take them), pending (not carried yet), missing, changed, merged (the target
    stored two as one), extra (in the target, put there by others).

    \b
    Exit code 0: all there; 3: something is not, and is named; 1: an account could not be looked at.
    JSON: {complete, full, accounts: [{account, target_address, complete, failed, root, remarks: [{level,
           text, remedy}], folders: [{source, target, messages, octets, proven, altered, moved, collapsed,
           quarantined, pending, missing, changed, merged, extra, gone, flags_changed, flags_pending, root, lost,
           findings: [{kind, key, target, text}]}]}]}
    """
    frame = Frame.of(context)
    spec = frame.load(config)
    ask_secrets(matching(spec, search))
    return prove(frame, spec, search=search, full=full, json=json, quiet=quiet)


def prove(
    frame: Frame,
    spec: MigrationSpec,
    *,
    full: bool,
    search: str = "",
    json: bool = False,
    quiet: bool = False,
) -> int:
    """Look at both sides and tell the answer; return the exit code."""
    with frame.migration(spec) as migration:
        proofs = list(_told(migration.verify(search, full=full), aloud=not (json or quiet)))
    code = _code(proofs)
    if json:
        write_json({"complete": code == 0, "full": full, "accounts": [_json(each) for each in proofs]})
        return code
    say(_answer(proofs, code, full))
    if not quiet:
        table(("Account", *(name.capitalize() for name in COUNTS)), [_row(each) for each in proofs])
        say(*(line for each in proofs for line in _details(each)))
    return code


def _told(proofs: Iterator[AccountProof], *, aloud: bool) -> Iterator[AccountProof]:
    """Pass proofs on; tell a waiting person of each, since the answer comes when the last is there."""
    for proof in proofs:
        if aloud and sys.stderr.isatty():
            complain(f"{proof.account}: {count_text(_total(proof.folders, 'messages'), 'message')} looked at")
        yield proof


def _code(proofs: Sequence[AccountProof]) -> int:
    codes = {each.exit_code for each in proofs}
    return 1 if 1 in codes else max(codes, default=0)


def _answer(proofs: Sequence[AccountProof], code: int, full: bool) -> str:
    folders = [folder for each in proofs for folder in each.folders]
    total = count_text(sum(each.messages for each in folders), "message")
    accounts = count_text(len(proofs), "account")
    if code == 0:
        how = (
            "every octet was read back"
            if full
            else "keys, sizes and flags compared; --full reads every octet"
        )
        return f"All there: {total} of {accounts} ({how})."
    parts = [f"{number:,} {name}" for name in SHORT if (number := _total(folders, name))]
    lost = sum(each.lost for each in folders)
    parts += [f"{count_text(lost, 'folder')} emptied or made anew in the target"] if lost else []
    failed = sum(each.failed for each in proofs)
    parts += [f"{count_text(failed, 'account')} could not be looked at"] if failed else []
    return f"NOT all there: of {total} of {accounts}: {', '.join(parts)}."


def _row(proof: AccountProof) -> tuple[object, ...]:
    return proof.account, *(_total(proof.folders, name) for name in COUNTS)


def _total(folders: Sequence[FolderProof], name: str) -> int:
    return sum(int(getattr(folder, name)) for folder in folders)


def _details(proof: AccountProof) -> Iterator[str]:
    findings = [(folder, each) for folder in proof.folders for each in folder.findings]
    if findings or proof.remarks:
        yield f"{proof.account}:"
    for remark in proof.remarks:
        yield from remark_lines(remark)
    for folder, each in findings[:FEW]:
        yield f"  {each.kind}: {path_text(folder.source)} {each.key}: {each.text}"
    if len(findings) > FEW:
        yield f"  ... and {len(findings) - FEW:,} more; `alimail report` names them all"


def _json(proof: AccountProof) -> dict[str, Any]:
    told: dict[str, Any] = plain(proof)
    told.pop("full")
    return {**told, "complete": proof.complete}
