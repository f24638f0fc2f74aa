"""``alimail verify``: is it all there?"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alimail_core.cli import options
from alimail_core.cli.carry import ask_secrets, matching
from alimail_core.cli.frame import Frame
from alimail_core.cli.output import MANY, count_text, path_text, remark_lines, say, table, write_json
from alimail_core.cli.output import plain as plain_data
from alimail_core.errors import InputError

if TYPE_CHECKING:
    from alimail_core.cli.progress import Progress
    from alimail_core.cli.tally import Sizes
    from alimail_core.events import Observer
    from alimail_core.spec import MigrationSpec
    from alimail_core.status import AccountStatus
    from alimail_core.verify import AccountProof, FolderProof

FEW = 20
"""Findings that are shown of each account; `alimail report` has all of them."""

SHORT = ("missing", "changed", "pending", "quarantined")
"""The counts that say that not all is there."""

BESIDES = ("altered", "moved", "merged", "collapsed", "left_out", "extra")
"""The counts that are no fault."""


def verify(
    context: typer.Context,
    source_url: Annotated[
        str | None, typer.Argument(metavar="[SOURCE_URL", help="With --independent: where the mail was.")
    ] = None,
    target_url: Annotated[
        str | None, typer.Argument(metavar="TARGET_URL]", help="And where it is now.")
    ] = None,
    config: options.Config = options.CONFIG,
    search: options.Search = "",
    only: options.Only = None,
    wave: options.Wave = None,
    independent: Annotated[
        bool,
        typer.Option("--independent", help="Compare the two mailboxes afresh, without the ledger."),
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Read every message back from the target and compare its octets.")
    ] = False,
    api: Annotated[
        bool,
        typer.Option(
            "--api",
            help="Compare the ledger with the counts that the service of [provision] tells, without IMAP.",
        ),
    ] = False,
    source_secret: options.SecretReference = None,
    target_secret: options.SecretReference = None,
    json: options.Json = False,
    quiet: options.Quiet = False,
    plain: options.Plain = False,
) -> int:
    """Answer "is it all there?": list both sides afresh and hold them against each other.

    Without --full, keys, sizes and flags are compared; with it, every octet is read back. Both sides stay as they
    are; the proof is kept for `alimail report`.

    With --independent the ledger is not asked, and whatever has filled the target may be held against the source:
    the mailboxes of the configuration, or two that are named by URLs, as for `alimail copy`.

    \b
    Examples:
      alimail verify
      alimail verify --full
      alimail verify --full --only anna@old.example --json > anna.json
      alimail verify --full --wave 1
      alimail verify --api                 one more witness, which asks no mail server
      alimail verify --independent
      alimail verify --independent --full imap://anna@mail.old.example alimail://anna@new.example

    \b
    Each message in the source now is proven (in the target, as it was carried), or one of these:
      missing      the target said that it has it, and it is not there
      changed      one side holds another content now than was carried
      pending      not carried yet
      quarantined  the target will not take it, or the source not give it
    and, which is no fault:
      altered      the target stores other octets than it was sent; what a reader sees is the same
      moved        moved or removed in the target since, by its user
      merged       the target keeps it and an identical message as one
      collapsed    not carried by wish: identical to another one
      left out     not carried by wish: the filter in [messages], as it is now, does not want it
    Extra is what others have put into the target.

    \b
    With --independent a message is known by Message-ID, Date, From and Subject, with --full by its octets. It is the
    same, or altered, moved (in another folder), collapsed, left out; or missing, changed (another content under its
    Message-ID) or unreadable. Extra is what only the target has; other flags and dates are told. Each is named by
    folder, date, size and Message-ID, never by its subject. Nothing is kept for the report.

    \b
    With --api the provisioner of [provision] tells how many messages each folder has by the service's own books.
    Fewer than were carried is a fault; more is not, since mail goes on arriving.

    \b
    Exit code 0: all there; 3: something is not, and is named; 1: an account could not be looked at.
    JSON: {complete, full, accounts: [{account, target_address, complete, failed, root, remarks: [{level,
           text, remedy}], folders: [{source, target, messages, octets, proven, altered, moved, collapsed,
           left_out, quarantined, pending, missing, changed, merged, extra, gone, flags_changed, flags_pending,
           root, lost, findings: [{kind, key, target, text}]}]}]}
    JSON with --api: {complete, accounts: [{source_address, target_address, reason, folders: [{name, carried,
           told}]}]}
    JSON with --independent: {complete, full, accounts: [{account, target_address, complete, failed, at, remarks:
           [{level, text, remedy}], folders: [{target, sources, exists, messages, octets, there, same, altered,
           moved, collapsed, left_out, missing, changed, unreadable, extra, flags, dates, mismatches: [{kind,
           source, target, date, size, message_id, text}]}]}]}
    """
    from alimail_core import choice

    frame = Frame.of(context)
    spec = _two_mailboxes(frame, source_url, target_url, (source_secret, target_secret), independent)
    spec = choice.some(spec or frame.load(config), only, wave)
    if api:
        from alimail_core.cli.counts import count

        if full or independent:
            raise InputError("--api counts, and reads nothing", remedy="Leave out --full and --independent.")
        return count(frame, spec, config, search=search, json=json, quiet=quiet)
    ask_secrets(matching(spec, search))
    if independent:
        from alimail_core.cli.independent import compare

        return compare(frame, spec, search=search, full=full, json=json, quiet=quiet, plain=plain)
    return prove(frame, spec, search=search, full=full, json=json, quiet=quiet, plain=plain)


def _two_mailboxes(
    frame: Frame,
    source_url: str | None,
    target_url: str | None,
    secrets: tuple[str | None, str | None],
    independent: bool,
) -> MigrationSpec | None:
    """Return a migration of the two mailboxes named; ``None``: none are named. Raises ``InputError``."""
    from alimail_core.cli.copy import one_mailbox

    if source_url is None and secrets == (None, None):
        return None
    if source_url is None or target_url is None or not independent:
        raise InputError(
            "two URLs, and a secret for them, go with --independent",
            remedy="alimail verify --independent SOURCE_URL TARGET_URL --source-secret REF --target-secret REF",
        )
    return one_mailbox(frame, source_url, target_url, secrets)


def prove(
    frame: Frame,
    spec: MigrationSpec,
    *,
    full: bool,
    search: str = "",
    json: bool = False,
    quiet: bool = False,
    plain: bool = False,
) -> int:
    """Look at both sides and tell the answer; return the exit code."""
    with ExitStack() as stack:
        observers: list[Observer] = []
        if not quiet and (not json or sys.stderr.isatty()):
            observers.append(stack.enter_context(_progress(frame, spec, search, full=full, plain=plain)))
        migration = stack.enter_context(frame.migration(spec, observers))
        proofs = list(migration.verify(search, full=full))
    code = _code(proofs)
    if json:
        write_json({"complete": code == 0, "full": full, "accounts": [_json(each) for each in proofs]})
        return code
    say(_answer(proofs, code, full))
    if not quiet:
        _show(proofs)
    return code


def _progress(frame: Frame, spec: MigrationSpec, search: str, *, full: bool, plain: bool) -> Progress:
    """Draw how far the proofs have come, of all that the ledger has, so that the estimate is one of the whole."""
    from alimail_core.cli.progress import make_progress

    with frame.migration(spec) as migration:
        rows = [row for row in migration.status(search) if row.in_roster]
    expected: dict[str, Sizes] = {row.source_address: {(): _size(row, full)} for row in rows}
    return make_progress(len(rows), frame.clock, expected, plain=plain)


def _size(row: AccountStatus, full: bool) -> tuple[int, int]:
    messages = row.settled_messages + row.pending_messages + row.quarantined
    return messages, row.settled_octets if full else 0


def _show(proofs: Sequence[AccountProof]) -> None:
    """Write a line for each account, or where there are many for those that need a look, and what was found."""
    shown = [each for each in proofs if each.exit_code] if len(proofs) > MANY else proofs
    rows = [_row(each.account, each.folders) for each in shown]
    if len(proofs) != 1:
        rows.append(_row("total", [folder for each in proofs for folder in each.folders]))
    table(("Account", "Messages", "Proven", "Besides"), rows)
    say(*(line for each in shown for line in _details(each)))


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
        merged = _total(folders, "merged")
        besides = (
            f" The target keeps {merged:,} of them and an identical one as one message." if merged else ""
        )
        left_out = _total(folders, "left_out")
        besides += f" {left_out:,} of them are left out by the filter." if left_out else ""
        return f"All there: {total} of {accounts} ({how}).{besides}"
    parts = [counts] if (counts := _counts(folders, SHORT)) else []
    lost = sum(each.lost for each in folders)
    parts += [f"{count_text(lost, 'folder')} emptied or made anew in the target"] if lost else []
    failed = sum(each.failed for each in proofs)
    parts += [f"{count_text(failed, 'account')} could not be looked at"] if failed else []
    return f"NOT all there: of {total} of {accounts}: {', '.join(parts)}."


def _row(name: str, folders: Sequence[FolderProof]) -> tuple[object, ...]:
    short, besides = _counts(folders, SHORT), _counts(folders, BESIDES)
    return (
        name,
        _total(folders, "messages"),
        _total(folders, "proven"),
        "; ".join(filter(None, (short, besides))),
    )


def _counts(folders: Sequence[FolderProof], names: Sequence[str]) -> str:
    counted = ((_total(folders, name), name.replace("_", " ")) for name in names)
    return ", ".join(f"{number:,} {name}" for number, name in counted if number)


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
    told: dict[str, Any] = plain_data(proof)
    told.pop("full")
    return {**told, "complete": proof.complete}
