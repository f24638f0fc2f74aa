"""Many machines: files for roll-out, reports, settings.

What does the work is imported when a verb runs, because every command loads every plug-in.
"""

from __future__ import annotations

from alimail_core import Command
from alimail_outlook.rollout import verb_report, verb_rollout, verb_settings


def commands() -> list[Command]:
    """Return the verbs."""
    return [verb_rollout.COMMAND, verb_report.COMMAND, verb_settings.COMMAND]
