"""One account's pass: list, match, write, settle, and again until nothing is left (docs/invariants.md)."""

from alimail_core.transfer.run import PassSummary, run_pass

__all__ = ["PassSummary", "run_pass"]
