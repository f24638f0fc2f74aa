"""``alimail check``: try everything before anything moves."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from alimail_core.cli import options
from alimail_core.cli.carry import ask_secrets, matching
from alimail_core.cli.frame import Frame
from alimail_core.cli.output import (
    MARKS,
    NAMED,
    count_text,
    counted,
    names_text,
    remark_lines,
    say,
    write_json,
)

if TYPE_CHECKING:
    from alimail_core.check import CheckResult
    from alimail_core.errors import Remark
    from alimail_core.spec import MigrationSpec, ProvisionSpec


def check(
    context: typer.Context,
    config: options.Config = options.CONFIG,
    search: options.Search = "",
    only: options.Only = None,
    wave: options.Wave = None,
    json: options.Json = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show only what is in the way.")] = False,
) -> int:
    """Read the configuration and the roster, then try every account on both sides. Nothing is written.

    Logins, TLS, folders, what the servers can do, and storage; each fault with what to do about it, and one that many
    accounts share is told once. Where [provision] names who makes accounts, whether that lets us in, and what it may
    do. An account that is disabled is not tried.

    \b
    Examples:
      alimail check
      alimail check --only anna@old.example
      alimail check --wave 1
      alimail check --json | jq '.accounts[] | select(.level == "fault")'

    \b
    Exit code 0: nothing is in the way; 3: a side of an account has a fault, or the provisioner; 2: the configuration
    has.
    JSON: {remarks: [{level, text, remedy}],
           accounts: [{account, side, address, level, remarks: [{level, text, remedy}]}],
           provision: null | the same as of an account; side is the kind}
    """
    from alimail_core import choice
    from alimail_core.config.load import load_provision

    frame = Frame.of(context)
    spec = choice.some(frame.load(config), only, wave)
    provisioned = load_provision(config, frame.registry)
    accounts = matching(spec, search)
    ask_secrets(accounts, to_be_made=True)
    results: list[CheckResult] = []
    shown = _Shown()
    maker = _try_provisioner(frame, provisioned, spec)
    if not json:
        say(*(line for remark in spec.remarks for line in remark_lines(remark)))
    with frame.migration(spec) as migration:
        sides = counted(migration.check(search), 2 * len(accounts), "side", frame.clock)
        for result in chain(maker, sides):
            results.append(result)
            if not (json or (quiet and result.level != "fault")):
                say(*shown.lines(result))
    faulty = sum(result.level == "fault" for result in results)
    if json:
        told = {
            "remarks": remarks_json(spec.remarks),
            "accounts": [_json(result) for result in results[len(maker) :]],
            "provision": next((_json(result) for result in maker), None),
        }
        write_json(told)
        return 3 if faulty else 0
    say(*shown.shared(only_faults=quiet))
    say(_sum(results, faulty))
    if not quiet:
        say(_next_step(bool(faulty), config))
    return 3 if faulty else 0


def _try_provisioner(frame: Frame, provisioned: ProvisionSpec, spec: MigrationSpec) -> list[CheckResult]:
    """Return what is to be told of the provisioner, where there is one."""
    from alimail_core.check import CheckResult, worst
    from alimail_core.provisioning.organisation import Organisation

    if provisioned.endpoint is None:
        return []
    domains = {each.target_address.rpartition("@")[2] for each in spec.accounts}
    remarks = tuple(Organisation(provisioned, frame.registry, frame.clock).check(domains))
    return [CheckResult("[provision]", provisioned.endpoint.kind, worst(remarks), remarks)]


def _sum(results: Sequence[CheckResult], faulty: int) -> str:
    tried = sum(each.tried for each in results)
    over = len(results) - tried
    sides = count_text(tried, "side")
    found = f"{faulty:,} of {sides} with a fault" if faulty else f"{sides} tried: nothing is in the way"
    return f"{found}; {count_text(over, 'side')} of disabled accounts not tried" if over else found


def _next_step(faulty: bool, config: Path) -> str:
    given = "" if config == options.CONFIG else f" -c {config}"
    if faulty:
        return (
            f"Next: mend each FAULT, then check again; `alimail migrate{given}` carries those that have none."
        )
    return f"Next: `alimail plan{given}` shows what would go where."


class _Shown:
    """What was said already: a remark that holds for many accounts is said with the first, and then counted."""

    def __init__(self) -> None:
        self._whose: defaultdict[tuple[str, Remark], list[str]] = defaultdict(list)

    def lines(self, result: CheckResult) -> Iterator[str]:
        """Give a side's line, and below it what was not said before; nothing where many had its faults before."""
        name = result.address or result.account
        new = [remark for remark in result.remarks if (result.side, remark) not in self._whose]
        for remark in result.remarks:
            self._whose[result.side, remark].append(name)
        faults = [remark for remark in result.remarks if remark.level == "fault"]
        if not faults or any(len(self._whose[result.side, fault]) <= NAMED for fault in faults):
            yield f"{name} ({result.side}): {MARKS.get(result.level, result.level)}"
            for remark in new:
                yield from remark_lines(remark)

    def shared(self, *, only_faults: bool) -> Iterator[str]:
        """Give what holds for several accounts, with their number; of a fault also who they are, and the remedy."""
        for (side, remark), names in self._whose.items():
            if len(names) == 1 or (only_faults and remark.level != "fault"):
                continue
            yield f"{count_text(len(names), side)}: {MARKS.get(remark.level, remark.level)}: {remark.text}"
            if remark.level == "fault":
                yield f"  {names_text(names)}{'; --json names all' if len(names) > NAMED else ''}"
                yield from ([f"  -> {remark.remedy}"] if remark.remedy else [])


def remarks_json(remarks: tuple[Remark, ...]) -> list[dict[str, Any]]:
    """Return remarks as JSON holds them."""
    return [{"level": each.level, "text": each.text, "remedy": each.remedy} for each in remarks]


def _json(result: CheckResult) -> dict[str, Any]:
    return {
        "account": result.account,
        "side": result.side,
        "address": result.address,
        "level": result.level,
        "remarks": remarks_json(result.remarks),
    }
