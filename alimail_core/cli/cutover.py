"""``alimail cutover``: the checklist of the cut-over, made from how things are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from alimail_core.cli import options
from alimail_core.cli.frame import Frame
from alimail_core.cli.output import complain, plain, say, write_json
from alimail_core.errors import InputError
from alimail_core.text import printable

if TYPE_CHECKING:
    from alimail_core.cutover import Checklist


def cutover(
    context: typer.Context, config: options.Config = options.CONFIG, json: options.Json = False
) -> int:
    """Show what is done and what is left for the cut-over to the new system. It changes nothing by itself.

    The accounts are as ledger and proofs have them, the MX records as this machine sees them: of the new addresses'
    domains, and of old ones; how long these live, the domains' own name servers are asked. The list is kept as
    cutover.txt beside the report.

    \b
    Examples:
      alimail cutover
      alimail cutover --json | jq '.steps[] | select(.done | not) | .text'

    \b
    JSON: {made, domains: [{domain, hosts, ttl, fault, changed, left, absent}], steps: [{done, text, remedy}]}
    """
    from alimail_core.cutover import look_up, make_checklist
    from alimail_core.report.contents import report_folder

    frame = Frame.of(context)
    spec = frame.load(config)
    with frame.migration(spec) as migration:
        checklist = make_checklist(migration.known(), spec.accounts, look_up)
    lines = [printable(line) for line in _lines(checklist)]
    path = report_folder(spec) / "cutover.txt"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n", "utf-8")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}") from error
    if json:
        write_json(plain(checklist))
    else:
        say(*lines)
        complain(f"kept in {path}")
    return 0


def _lines(checklist: Checklist) -> Iterator[str]:
    yield f"Cut-over, as seen on {checklist.made:%Y-%m-%d %H:%M} UTC"
    for number, step in enumerate(checklist.steps, 1):
        yield f"{number:2}. [{'x' if step.done else ' '}] {step.text}"
        if step.remedy and not step.done:
            yield f"        -> {step.remedy}"
