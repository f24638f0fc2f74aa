"""``alimail verify --independent``: hold two mailboxes against each other, whatever has filled them."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from alimail_core.cli.frame import Frame
from alimail_core.cli.output import MANY, count_text, path_text, plain, remark_lines, say, table, write_json
from alimail_core.comparison import FAULTS, AccountComparison, FolderComparison

if TYPE_CHECKING:
    from alimail_core.comparison import Mismatch
    from alimail_core.events import Observer
    from alimail_core.spec import MigrationSpec

FEW = 20
"""Mismatches that are shown of each account; ``--json`` has more."""

BESIDES = ("altered", "moved", "collapsed", "left_out", "extra", "flags", "dates")
"""The counts that are no fault."""

_WORDS = {"left_out": "left out", "flags": "with other flags", "dates": "with another date"}


def compare(
    frame: Frame,
    spec: MigrationSpec,
    *,
    full: bool,
    search: str = "",
    json: bool = False,
    quiet: bool = False,
    plain: bool = False,
) -> int:
    """Read both sides and tell what differs; return the exit code."""
    with ExitStack() as stack:
        observers: list[Observer] = []
        if not quiet and (not json or sys.stderr.isatty()):
            from alimail_core.cli.carry import matching
            from alimail_core.cli.progress import make_progress

            accounts = len(matching(spec, search))
            observers.append(stack.enter_context(make_progress(accounts, frame.clock, plain=plain)))
        migration = stack.enter_context(frame.migration(spec, observers))
        told = list(migration.compare(search, full=full))
    codes = {each.exit_code for each in told}
    code = 1 if 1 in codes else max(codes, default=0)
    if json:
        write_json({"complete": code == 0, "full": full, "accounts": [_json(each) for each in told]})
        return code
    say(_answer(told, code, full))
    if not quiet:
        _show(told)
    return code


def _answer(told: Sequence[AccountComparison], code: int, full: bool) -> str:
    folders = [folder for each in told for folder in each.folders]
    total = f"{count_text(_total(folders, 'messages'), 'message')} of {count_text(len(told), 'account')}"
    if code == 0:
        how = "every octet of both sides read" if full else "headers compared; --full reads every octet"
        return f"All there: {total} ({how})."
    parts = [counts] if (counts := _counts(folders, FAULTS)) else []
    failed = sum(each.failed for each in told)
    parts += [f"{count_text(failed, 'account')} could not be compared"] if failed else []
    return f"NOT all there: of {total}: {', '.join(parts)}."


def _show(told: Sequence[AccountComparison]) -> None:
    shown = [each for each in told if each.exit_code] if len(told) > MANY else told
    rows = [_row(each.account, each.folders) for each in shown]
    if len(told) != 1:
        rows.append(_row("total", [folder for each in told for folder in each.folders]))
    table(("Account", "Source", "Target", "The same", "Besides"), rows)
    say(*(line for each in shown for line in _details(each)))
    shared = dict.fromkeys(remark for each in told for remark in each.remarks if remark.level == "note")
    say("What this cannot tell:", *(line for remark in shared for line in remark_lines(remark)))


def _row(name: str, folders: Sequence[FolderComparison]) -> tuple[object, ...]:
    besides = "; ".join(filter(None, (_counts(folders, FAULTS), _counts(folders, BESIDES))))
    return name, *(_total(folders, count) for count in ("messages", "there", "same")), besides


def _counts(folders: Sequence[FolderComparison], names: Sequence[str]) -> str:
    counted = ((_total(folders, name), _WORDS.get(name, name)) for name in names)
    return ", ".join(f"{number:,} {name}" for number, name in counted if number)


def _total(folders: Sequence[FolderComparison], name: str) -> int:
    return sum(int(getattr(folder, name)) for folder in folders)


def _details(told: AccountComparison) -> Iterator[str]:
    found = [each for folder in told.folders for each in folder.mismatches]
    grave = [remark for remark in told.remarks if remark.level != "note"]
    if found or grave:
        yield f"{told.account}:"
    for remark in grave:
        yield from remark_lines(remark)
    found.sort(key=lambda each: each.kind not in FAULTS)
    for each in found[:FEW]:
        yield f"  {each.kind}: {_who(each)}: {each.text}"
    if len(found) > FEW:
        yield f"  ... and {len(found) - FEW:,} more; --json names up to 1,000 of each kind and folder"


def _who(each: Mismatch) -> str:
    """Name a message so that its owner can find it, without its subject."""
    date = f"{each.date:%Y-%m-%d %H:%M}Z" if each.date else "no date"
    size = f"{each.size:,} octets" if each.size is not None else "size unknown"
    folder = each.target if each.source is None else each.source
    return f"{path_text(folder)}, {date}, {size}, {each.message_id or 'no Message-ID'}"


def _json(told: AccountComparison) -> dict[str, Any]:
    found: dict[str, Any] = plain(told)
    found.pop("full")
    return {**found, "complete": told.complete}
