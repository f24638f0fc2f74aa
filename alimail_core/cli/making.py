"""What ``provision apply`` and ``move`` share: carry a plan out, tell how far it has come, and where it stopped."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from alimail_core.cli.frame import Frame, heeding_signals
from alimail_core.cli.output import EVERY, complain, count_text
from alimail_core.errors import AlimailError

if TYPE_CHECKING:
    from alimail_core.ledger.steps import StepState
    from alimail_core.provisioning.apply import Provisioned
    from alimail_core.provisioning.directory import Step
    from alimail_core.provisioning.organisation import Organisation, Planned
    from alimail_core.seam import Clock


def make(
    frame: Frame, organisation: Organisation, planned: Planned, *, each: bool, quiet: bool
) -> Provisioned:
    """Carry the plan out; ``each``: with a line for each step. Raises what ``Organisation.apply`` raises.

    Where that stops in the middle, what was done is told first.
    """
    progress = _Progress(frame.clock, sum(1 for _ in planned.plan.steps()), each=each, quiet=quiet)
    try:
        with heeding_signals(frame.stop):
            return organisation.apply(planned, frame.stop, progress.tell)
    except AlimailError:
        progress.tell_end()
        raise


class _Progress:
    """Counts steps by how they ended."""

    def __init__(self, clock: Clock, steps: int, *, each: bool, quiet: bool) -> None:
        self._clock, self._steps, self._each, self._quiet = clock, steps, each, quiet
        self._ended, self._told = Counter[str](), clock.monotonic()

    def tell(self, step: Step, state: StepState, reason: str) -> None:
        """Count a step; name it where that is wished, or something is wrong with it."""
        self._ended[state.name.lower()] += 1
        if self._quiet:
            return
        if self._each or state.name == "REFUSED":
            _tell_step(step, state, reason)
        if not self._each and self._clock.monotonic() - self._told >= EVERY:
            self._told = self._clock.monotonic()
            complain(f"{self._ended.total():,} of {count_text(self._steps, 'step')}")

    def tell_end(self) -> None:
        """Say what was done before the end came."""
        if self._ended:
            done, refused = self._ended["done"], self._ended["refused"]
            complain(
                f"Stopped: {done:,} of {count_text(self._steps, 'step')} done, {refused:,} refused. "
                "`alimail provision status` names what was begun and is not done; the same command goes on."
            )


def _tell_step(step: Step, state: StepState, reason: str) -> None:
    from alimail_core.provisioning.directory import name_of

    what = f"{state.name.lower():8} {step.kind.value:10} {name_of(step.thing)}"
    complain(f"{what}: {reason}" if reason else what)
