"""One account's pass: list, match, write, settle, and again until nothing is left (docs/invariants.md)."""

from alimail_core.transfer.run import PassSummary, interrupted_state, run_pass

__all__ = ["PassSummary", "interrupted_state", "run_pass"]
