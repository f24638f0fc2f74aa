"""What was asked for step by step, and what was found: shown alike by every verb that looks at servers."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import frozen

from alimail_core import Remark
from alimail_core.commands import say, table


@frozen
class Finding:
    """One thing that was asked for, and what was found."""

    step: str
    remark: Remark

    def told(self) -> dict[str, str]:
        """Return what JSON has of it."""
        return {
            "step": self.step,
            "level": self.remark.level,
            "text": self.remark.text,
            "remedy": self.remark.remedy,
        }


def show(findings: Iterable[Finding]) -> None:
    """Write a table, and beneath it what to do."""
    found = list(findings)
    marks = {"fault": "FAULT"}
    rows = [(e.step, marks.get(e.remark.level, e.remark.level), e.remark.text) for e in found]
    table(("Step", "Result", "What was found"), rows)
    for each in found:
        if each.remark.remedy:
            say("", f"{each.step}: {each.remark.text}", f"  -> {each.remark.remedy}")


def exit_code(findings: Iterable[Finding]) -> int:
    """Return 3 where something is wrong, 0 otherwise."""
    return 3 if any(each.remark.level == "fault" for each in findings) else 0
