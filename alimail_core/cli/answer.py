"""Answer "is it all there?": by the ledger, or by holding two mailboxes against each other whatever has filled them.

Both ways go from options to an answer in the same steps. What they count and how they say it is a ``_Manner``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, TypeAlias

from attrs import frozen

from alimail_core.cli.carry import matching
from alimail_core.cli.output import MANY, count_text, path_text, remark_lines, say, table, write_json
from alimail_core.cli.output import plain as plain_data

if TYPE_CHECKING:
    from alimail_core.cli.frame import Frame
    from alimail_core.cli.progress import Progress
    from alimail_core.cli.tally import Sizes
    from alimail_core.events import Observer
    from alimail_core.proof.results import (
        AccountComparison,
        AccountProof,
        Finding,
        FolderComparison,
        FolderProof,
        Mismatch,
    )
    from alimail_core.spec import MigrationSpec

    Account: TypeAlias = AccountProof | AccountComparison
    Folder: TypeAlias = FolderProof | FolderComparison

FEW = 20
"""Findings that are shown of each account."""

_WORDS = {"left_out": "left out", "flags": "with other flags", "dates": "with another date"}


@frozen
class _Manner:
    """One way to look."""

    how: Mapping[bool, str]
    """What was looked at, with ``--full`` and without."""
    columns: Mapping[str, str]
    """The counts that the table has, by their headings."""
    short: Sequence[str]
    """The counts that say that not all is there."""
    besides: Sequence[str]
    """The counts that are no fault."""
    failed: str
    """What could not be done with an account."""
    found: Callable[[Any], list[tuple[str, str]]]
    """A folder's findings: the kind of each, and its line."""
    more: str
    """Where all of them are."""
    limits: str = ""
    """What stands above the notes of all accounts together; without it each account has its own."""


def _finding(folder: FolderProof, each: Finding) -> tuple[str, str]:
    return each.kind, f"{each.kind}: {path_text(folder.source)} {each.key}: {each.text}"


def _mismatch(each: Mismatch) -> tuple[str, str]:
    """Name a message so that its owner can find it, without its subject."""
    date = f"{each.date:%Y-%m-%d %H:%M}Z" if each.date else "no date"
    size = f"{each.size:,} octets" if each.size is not None else "size unknown"
    folder = each.target if each.source is None else each.source
    who = f"{path_text(folder)}, {date}, {size}, {each.message_id or 'no Message-ID'}"
    return each.kind, f"{each.kind}: {who}: {each.text}"


_BY_LEDGER = _Manner(
    how={
        True: "every octet was read back",
        False: "keys, sizes and flags compared; --full reads every octet",
    },
    columns={"Messages": "messages", "Proven": "proven"},
    short=("missing", "changed", "pending", "quarantined"),
    besides=("altered", "moved", "merged", "collapsed", "left_out", "extra"),
    failed="could not be looked at",
    found=lambda folder: [_finding(folder, each) for each in folder.findings],
    more="`alimail report` names up to 1,000 of each kind and folder",
)
_AFRESH = _Manner(
    how={True: "every octet of both sides read", False: "headers compared; --full reads every octet"},
    columns={"Source": "messages", "Target": "there", "The same": "same"},
    short=("missing", "changed", "unreadable"),
    besides=("altered", "moved", "collapsed", "left_out", "extra", "flags", "dates"),
    failed="could not be compared",
    found=lambda folder: [_mismatch(each) for each in folder.mismatches],
    more="--json names up to 1,000 of each kind and folder",
    limits="What this cannot tell:",
)


def prove(
    frame: Frame,
    spec: MigrationSpec,
    *,
    full: bool,
    independent: bool = False,
    search: str = "",
    json: bool = False,
    quiet: bool = False,
    plain: bool = False,
) -> int:
    """Look at both sides and tell the answer; return the exit code."""
    manner = _AFRESH if independent else _BY_LEDGER
    with ExitStack() as stack:
        observers: list[Observer] = []
        if not quiet and (not json or sys.stderr.isatty()):
            expected = None if independent else _expected(frame, spec, search, full=full)
            observers.append(stack.enter_context(_progress(frame, spec, search, expected, plain=plain)))
        migration = stack.enter_context(frame.migration(spec, observers))
        look = migration.compare if independent else migration.verify
        told: list[Account] = list(look(search, full=full))
    codes = {each.exit_code for each in told}
    code = 1 if 1 in codes else max(codes, default=0)
    if json:
        write_json({"complete": code == 0, "full": full, "accounts": [_json(each) for each in told]})
        return code
    say(_answer(told, manner, full))
    if not quiet:
        _show(told, manner)
    return code


def _progress(
    frame: Frame, spec: MigrationSpec, search: str, expected: Mapping[str, Sizes] | None, *, plain: bool
) -> Progress:
    from alimail_core.cli.progress import make_progress

    return make_progress(len(matching(spec, search)), frame.clock, expected, plain=plain)


def _expected(frame: Frame, spec: MigrationSpec, search: str, *, full: bool) -> dict[str, Sizes]:
    """Return all that the ledger has of each account, so that the estimate is one of the whole."""
    with frame.migration(spec) as migration:
        rows = [row for row in migration.status(search) if row.in_roster]
    return {
        row.source_address: {
            (): (
                row.settled_messages + row.pending_messages + row.quarantined,
                row.settled_octets if full else 0,
            )
        }
        for row in rows
    }


def _answer(told: Sequence[Account], manner: _Manner, full: bool) -> str:
    folders = [folder for each in told for folder in each.folders]
    total = f"{count_text(_total(folders, 'messages'), 'message')} of {count_text(len(told), 'account')}"
    if all(each.exit_code == 0 for each in told):
        merged, left_out = _total(folders, "merged"), _total(folders, "left_out")
        besides = (
            f" The target keeps {merged:,} of them and an identical one as one message." if merged else ""
        )
        besides += f" {left_out:,} of them are left out by the filter." if left_out else ""
        return f"All there: {total} ({manner.how[full]}).{besides}"
    parts = [counts] if (counts := _counts(folders, manner.short)) else []
    lost = _total(folders, "lost")
    parts += [f"{count_text(lost, 'folder')} emptied or made anew in the target"] if lost else []
    failed = sum(each.failed for each in told)
    parts += [f"{count_text(failed, 'account')} {manner.failed}"] if failed else []
    return f"NOT all there: of {total}: {', '.join(parts)}."


def _show(told: Sequence[Account], manner: _Manner) -> None:
    """Write a line for each account, or where there are many for those that need a look, and what was found."""
    shown = [each for each in told if each.exit_code] if len(told) > MANY else told
    rows = [_row(each.account, each.folders, manner) for each in shown]
    if len(told) != 1:
        rows.append(_row("total", [folder for each in told for folder in each.folders], manner))
    table(("Account", *manner.columns, "Besides"), rows)
    say(*(line for each in shown for line in _details(each, manner)))
    if manner.limits:
        shared = dict.fromkeys(remark for each in told for remark in each.remarks if remark.level == "note")
        say(manner.limits, *(line for remark in shared for line in remark_lines(remark)))


def _row(name: str, folders: Sequence[Folder], manner: _Manner) -> tuple[object, ...]:
    besides = "; ".join(filter(None, (_counts(folders, manner.short), _counts(folders, manner.besides))))
    return name, *(_total(folders, count) for count in manner.columns.values()), besides


def _counts(folders: Sequence[Folder], names: Sequence[str]) -> str:
    counted = ((_total(folders, name), _WORDS.get(name, name)) for name in names)
    return ", ".join(f"{number:,} {name}" for number, name in counted if number)


def _total(folders: Sequence[Folder], name: str) -> int:
    """Sum a count, of which one of the two ways may know nothing."""
    return sum(int(getattr(folder, name, 0)) for folder in folders)


def _details(told: Account, manner: _Manner) -> Iterator[str]:
    """Tell of one account its remarks, and its findings, those that are faults first."""
    found = [each for folder in told.folders for each in manner.found(folder)]
    found.sort(key=lambda each: each[0] not in manner.short)
    remarks = [remark for remark in told.remarks if not manner.limits or remark.level != "note"]
    if found or remarks:
        yield f"{told.account}:"
    for remark in remarks:
        yield from remark_lines(remark)
    yield from (f"  {line}" for _, line in found[:FEW])
    if len(found) > FEW:
        yield f"  ... and {len(found) - FEW:,} more; {manner.more}"


def _json(told: Account) -> dict[str, Any]:
    found: dict[str, Any] = plain_data(told)
    found.pop("full")
    return {**found, "complete": told.complete}
