"""How a plan for a directory is shown: lines with marks, in colour on a terminal, and JSON."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alimail_core.cli.output import count_text, is_dumb, plain, say, table, write_json
from alimail_core.text import printable

if TYPE_CHECKING:
    from alimail_core.ledger.steps import StepRow
    from alimail_core.provisioning.apply import Provisioned
    from alimail_core.provisioning.directory import Step
    from alimail_core.provisioning.organisation import Exported
    from alimail_core.provisioning.plan import Plan

COLOURS = {"+": "\x1b[32m", "~": "\x1b[33m", "!": "\x1b[31m", "?": "\x1b[2m"}
"""New, changed, a problem, not wished: the mark tells it without colour as well."""


def plan_lines(plan: Plan) -> Iterator[str]:
    """Give a line for each step, problem and extra, safe to show."""
    dumb = is_dumb(sys.stdout)
    for mark, text in _marked(plan):
        shown = printable(f"{mark} {text}")
        yield shown if dumb or mark not in COLOURS else f"{COLOURS[mark]}{shown}\x1b[0m"


def counted(plan: Plan) -> Iterator[str]:
    """Give a line for each kind of thing, with how many are made and changed."""
    made, changed = Counter[str](), Counter[str]()
    for step in plan.steps():
        (made if step.makes else changed)[step.kind.value] += 1
    for mark, counts in (("+", made), ("~", changed)):
        yield from (f"{mark} {count_text(number, kind)}" for kind, number in counts.items())


def summary(plan: Plan) -> str:
    """Say in one line what a plan does."""
    steps = list(plan.steps())
    new = sum(step.makes for step in steps)
    parts = [f"{new:,} to make", f"{len(steps) - new:,} to change", f"{plan.as_wished:,} as wished"]
    if plan.problems:
        parts.append(count_text(len(plan.problems), "problem"))
    if plan.extras:
        parts.append(f"{len(plan.extras):,} there and not wished")
    return f"Plan: {', '.join(parts)}."


def plan_json(plan: Plan) -> dict[str, Any]:
    """Return a plan for programs."""
    return {
        "steps": [_step_json(step) for step in plan.steps()],
        "as_wished": plan.as_wished,
        "problems": [plain(each) for each in plan.problems],
        "extras": [plain(each) for each in plan.extras],
        "notes": list(plan.notes),
    }


def export_lines(exported: Exported, passwords: Path) -> list[str]:
    """Say which files the console takes, and where the new passwords are."""
    if not exported.files:
        return ["Nothing to import."]
    lines = ["Import in the console, in this order:", *(f"  {path}" for path in exported.files)]
    if exported.passwords:
        lines.append(
            f"{count_text(exported.passwords, 'new password')} in {passwords}; only you can read it."
        )
    return [
        *lines,
        "Then export there again; `alimail provision plan --there FILE` shows that nothing is left.",
    ]


def show_end(ended: Provisioned, passwords: Path, *, json: bool) -> None:
    """Show how a run ended: what was done, what was refused, and where the new passwords are."""
    if json:
        told = {"done": ended.done, "found": ended.found, "refused": [plain(each) for each in ended.refused]}
        write_json(told | plan_json(ended.left))
        return
    found = f", {ended.found:,} found done" if ended.found else ""
    say(f"{count_text(ended.done, 'step')} done{found}, {len(ended.refused):,} refused.")
    for problem in (*ended.refused, *ended.left.problems):
        say(f"! {problem.kind.value:10} {problem.name} {problem.message}", f"    -> {problem.remedy}")
    if passwords.exists():
        say(f"First passwords are in {passwords}; only you can read it.")
    if ended.complete:
        say("Read again: everything is there as wished.")
    else:
        say("Next: mend what is named above; the same command again does the rest.")


def show_status(rows: Sequence[StepRow], *, json: bool) -> int:
    """Show how far steps have come, each thing by its last one; return the exit code."""
    from alimail_core.ledger.steps import StepState

    last = {(row.kind, row.key, row.fields, row.makes): row for row in rows}
    counts = Counter(row.state.name.lower() for row in last.values())
    waiting = [row for row in last.values() if row.state is not StepState.DONE]
    if json:
        told = [
            {"kind": row.kind, "name": row.name, "state": row.state.name.lower(), "reason": row.reason}
            for row in waiting
        ]
        write_json({"counts": dict(counts), "open": told})
    elif not rows:
        say("Nothing was provisioned yet.")
    else:
        table(("Steps", ""), [(_STATES[state], number) for state, number in sorted(counts.items())])
        say(
            *(
                f"{_STATES[row.state.name.lower()]}: {row.kind} {row.name} {row.reason}".rstrip()
                for row in waiting
            )
        )
    return 3 if waiting else 0


_STATES = {"done": "done", "sent": "in doubt", "refused": "refused", "undone": "not done yet"}
"""The words for how far a step has come."""


def _marked(plan: Plan) -> Iterator[tuple[str, str]]:
    from alimail_core.provisioning.directory import name_of

    for step in plan.steps():
        name = name_of(step.thing)
        if step.before is not None and name_of(step.before) != name:
            name = f"{name_of(step.before)} -> {name}"
        details = "; ".join(_change(step, field) for field in step.fields)
        yield "+" if step.makes else "~", f"{step.kind.value:10} {name}{f'  {details}' if details else ''}"
    for problem in plan.problems:
        yield "!", f"{problem.kind.value:10} {problem.name} {problem.message}"
        yield " ", f"  -> {problem.remedy}"
    for extra in plan.extras:
        where = f" in {extra.within}" if extra.within else ""
        yield "?", f"{extra.kind.value:10} {extra.name}{where} is there and not wished: left alone"
    for note in plan.notes:
        yield "?", note


def _change(step: Step, field: str) -> str:
    value = getattr(step.thing, field)
    if isinstance(value, frozenset):
        return f"{field} + {', '.join(sorted(value))}"
    before = None if step.before is None else _value(getattr(step.before, field))
    return f"{field} {_value(value)}" if not before else f"{field} {before} -> {_value(value)}"


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        return "/".join(value) or "(none)"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else str(value)


def _step_json(step: Step) -> dict[str, Any]:
    from alimail_core.provisioning.directory import name_of

    return {
        "action": "make" if step.makes else "change",
        "kind": step.kind.value,
        "name": name_of(step.thing),
        "was": None if step.before is None else name_of(step.before),
        "fields": {
            field: {
                "before": None if step.before is None else _plain(getattr(step.before, field)),
                "after": _plain(getattr(step.thing, field)),
            }
            for field in step.fields
        },
    }


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, frozenset) else plain(value)
