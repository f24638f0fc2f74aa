"""``alimail plan``: what would move, and where to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alimail_core.cli import options
from alimail_core.cli.carry import ask_secrets, matching
from alimail_core.cli.check import remarks_json
from alimail_core.cli.frame import Frame
from alimail_core.cli.output import (
    count_text,
    counted,
    names_text,
    octets_text,
    path_text,
    remark_lines,
    say,
    table,
    write_json,
)

if TYPE_CHECKING:
    from alimail_core.errors import Remark
    from alimail_core.plan import AccountPlan, FolderPlan
    from alimail_core.spec import MigrationSpec


def plan(
    context: typer.Context,
    config: options.Config = options.CONFIG,
    search: options.Search = "",
    only: options.Only = None,
    wave: options.Wave = None,
    json: options.Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show only the sum of each account.")] = False,
) -> int:
    """Show which folder goes where and why, what still must travel, and what will not go. Nothing is written.

    What stands in the target already is found while migrating, and is not taken off here. A mailbox that `provision`
    is still to make is taken for an empty one.

    \b
    Examples:
      alimail plan
      alimail plan --search @sales.example
      alimail plan --only anna@old.example
      alimail plan --wave 1
      alimail plan --quiet
      alimail plan --json > plan.json

    \b
    Exit code 0: all of it can go; 3: something cannot, and is named.
    JSON: {remarks: [{level, text, remedy}],
           accounts: [{account, target, messages, octets, level, remarks: [{level, text, remedy}],
           folders: [{source, target, special_use, rule, messages, octets, exists, left_out}],
           skipped: [{source, reason}]}], not_moved: [text]}
    """
    from alimail_core import choice
    from alimail_core.plan import NOT_MOVED

    frame = Frame.of(context)
    spec = choice.some(frame.load(config), only, wave)
    accounts = matching(spec, search)
    ask_secrets(accounts, to_be_made=True)
    plans: list[AccountPlan] = []
    with frame.migration(spec) as migration:
        if json or quiet:
            plans += counted(migration.plan(search), len(accounts), "account", frame.clock)
        else:
            for each in migration.plan(search):
                plans.append(each)
                if each.folders or each.skipped:
                    _show_folders(each)
    if json:
        told = {
            "remarks": remarks_json(_remarks(spec, plans)),
            "accounts": [_json(each) for each in plans],
            "not_moved": list(NOT_MOVED),
        }
        write_json(told)
    else:
        show_plans(spec, plans)
        say(f"Not moved with mail, whatever is used: {', '.join(NOT_MOVED)}.")
    return 3 if any(each.level == "fault" for each in plans) else 0


def show_plans(spec: MigrationSpec, plans: Sequence[AccountPlan]) -> None:
    """Write the sum of each account and of all, and what is in the way."""
    looked_at = [each for each in plans if not each.failed]
    rows = [_row(each) for each in looked_at]
    if len(plans) != 1:
        messages, octets = sum(each.messages for each in plans), sum(each.octets for each in plans)
        rows.append(("total", "", sum(len(each.folders) for each in plans), messages, octets_text(octets)))
    if looked_at:
        table(("Account", "Target", "Folders", "Messages", "Octets"), rows)
    alike: dict[tuple[Remark, ...], list[str]] = {}
    for each in plans:
        alike.setdefault(each.remarks, []).append(each.source_address)
    for remarks, names in alike.items():
        if remarks:
            say(f"{names_text(names)}:", *(line for remark in remarks for line in remark_lines(remark)))
    say(*(line for remark in _remarks(spec, plans) for line in remark_lines(remark)))
    if 1 < len(plans) > len(looked_at):
        failed = len(plans) - len(looked_at)
        say(f"{failed:,} of {count_text(len(plans), 'account')} could not be looked at, and are not counted.")


def _remarks(spec: MigrationSpec, plans: Sequence[AccountPlan]) -> tuple[Remark, ...]:
    """Return what is to be told of all accounts together."""
    from alimail_core.config.idle import unmatched_rules

    folders = {
        (each.source_address, each.target_address): [
            *(row.source for row in each.folders),
            *(row.source for row in each.skipped),
        ]
        for each in plans
        if each.folders or each.skipped
    }
    return tuple(unmatched_rules(spec.policy, folders))


def _row(plan: AccountPlan) -> tuple[object, ...]:
    return (
        plan.source_address,
        plan.target_address,
        len(plan.folders),
        plan.messages,
        octets_text(plan.octets),
    )


def _show_folders(plan: AccountPlan) -> None:
    say(f"{plan.source_address} -> {plan.target_address}")
    rows = [
        (
            f"  {path_text(each.source)}",
            path_text(each.target),
            "" if each.exists else "is made",
            each.messages,
            octets_text(each.octets),
            each.rule,
        )
        for each in plan.folders
    ]
    table(("  Folder", "Goes to", "", "Messages", "Octets", "Because of"), rows)
    left_out = sum(each.left_out for each in plan.folders)
    say(*([f"  {count_text(left_out, 'message')} left out by the filter in [messages]"] if left_out else []))
    say(*(f"  {path_text(each.source)} is left out: {each.reason}" for each in plan.skipped), "")


def _json(plan: AccountPlan) -> dict[str, Any]:
    return {
        "account": plan.source_address,
        "target": plan.target_address,
        "messages": plan.messages,
        "octets": plan.octets,
        "level": plan.level,
        "remarks": remarks_json(plan.remarks),
        "folders": [_folder_json(each) for each in plan.folders],
        "skipped": [{"source": list(each.source), "reason": each.reason} for each in plan.skipped],
    }


def _folder_json(folder: FolderPlan) -> dict[str, Any]:
    return {
        "source": list(folder.source),
        "target": list(folder.target),
        "special_use": folder.special_use.value if folder.special_use else None,
        "rule": folder.rule,
        "messages": folder.messages,
        "octets": folder.octets,
        "exists": folder.exists,
        "left_out": folder.left_out,
    }
