"""Carry out what leads from the actual directory to the wished one, so that every step happens once.

Each attempt reads the directory anew, plans anew, and carries out wave after wave; the first one may begin with what
was read a moment ago for the plan that a person has seen. A step is in the ledger before it
is begun. What is in doubt is looked up when all else of its wave is done, and begun again only when the service can
no longer finish the first attempt. In the end the directory is read once more: what counts is what stands there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from attrs import define, evolve, field, frozen

from alimail_core.contract import Provisioner
from alimail_core.errors import AlimailError, InDoubt, Interrupted, Refused, Throttled, Transient
from alimail_core.ledger import Ledger
from alimail_core.ledger.steps import StepBook, StepRow, StepState
from alimail_core.provisioning.directory import (
    Directory,
    Employee,
    Kind,
    Step,
    StepDone,
    StepNotDone,
    done,
    fold,
    key_of,
    name_of,
)
from alimail_core.provisioning.passwords import PasswordFile
from alimail_core.provisioning.plan import Plan, Problem, Wish, plan
from alimail_core.seam import PATIENCE, Clock, Stop

AHEAD: Final = 40
"""Steps that one write of the ledger covers: about what a service takes in a second."""

LONGEST_PAUSE: Final = 60.0

MOST_SENDINGS: Final = 3
"""How often a run begins one step that no answer settles: whatever is wrong there, all else comes to its end."""

FRESH: Final = 60.0
"""Seconds for which a reading serves as the beginning: less than what a long plan takes until its last step."""

_Doubt = tuple[Kind, str, bool]
"""A step that may have happened: what it is about, and whether it makes that."""


@frozen
class Provisioned:
    """How a run ended. ``left`` is the plan that is left: empty where all is as wished, and was read there."""

    done: int
    found: int
    """Steps that a look found done: after a crash, a lost answer, or somebody else's work."""
    refused: tuple[Problem, ...]
    left: Plan

    @property
    def complete(self) -> bool:
        """Tell whether everything stands as wished."""
        return not self.refused and not self.left.problems and not self.left.waves


@frozen
class Reading:
    """A directory as it was read ``at`` a moment of the clock's ``monotonic``, with the session that has read it."""

    provisioner: Provisioner
    directory: Directory
    at: float

    @classmethod
    def of(cls, provisioner: Provisioner, clock: Clock) -> Reading:
        """Read. Raises what ``Provisioner.read`` raises."""
        directory = provisioner.read()
        return cls(provisioner, directory, clock.monotonic())


def provision(
    wish: Wish,
    open_provisioner: Callable[[], Provisioner],
    ledger: Ledger,
    passwords: PasswordFile,
    *,
    clock: Clock | None = None,
    stop: Stop | None = None,
    tell: Callable[[Step, StepState, str], None] = lambda _step, _state, _reason: None,
    settle_seconds: float = 30.0,
    reading: Reading | None = None,
) -> Provisioned:
    """Make the organisation as wished, as far as that is possible; run again, it goes on.

    ``reading`` spares the first attempt its own, where it is fresh and nothing is in doubt; its session is
    closed then.
    ``tell`` is called with each step as it ends. Raises ``Denied`` where nobody may go on, ``Transient`` where the
    service stays away, ``Interrupted`` where ``stop`` was set, and ``LeaseHeld`` where another process is at it.
    """
    with StepBook.lease(ledger) as book:
        book.end_open()
        clock = clock or Clock()
        run = _Run(wish, open_provisioner, book, passwords, clock, stop or Stop(), tell, settle_seconds)
        if reading and clock.monotonic() - reading.at <= FRESH and not book.rows([StepState.SENT]):
            run.reading = reading
        try:
            return run.until_settled()
        finally:
            book.flush()


@define
class _Run:
    wish: Wish
    open_provisioner: Callable[[], Provisioner]
    book: StepBook
    passwords: PasswordFile
    clock: Clock
    stop: Stop
    tell: Callable[[Step, StepState, str], None]
    settle_seconds: float
    reading: Reading | None = None
    """What the next attempt begins with, in place of its own."""
    done: int = 0
    found: int = 0
    refused: dict[Step, str] = field(factory=dict)
    """Steps that this run does not begin again, with the reason."""
    sent: Counter[Step] = field(factory=Counter)
    """How often this run has begun each step."""
    said: set[Step] = field(factory=set)
    """Steps that are done by the service's word; those that are planned again do not show yet."""
    by_half: set[Step] = field(factory=set)
    """Things that a look showed, not as wished: what they lack is planned as a change once reading shows them too."""
    managers_last: set[str] = field(factory=set)
    """Keys of employees who were refused together with their manager, who may be the reason."""
    has_waited: bool = False

    def until_settled(self) -> Provisioned:
        """Make attempts until one finds nothing that could be done; reading again is the proof."""
        failures, since = 0, 0.0
        while True:
            before = self._progress()
            try:
                left = self._attempt()
            except Transient as error:
                self.book.end_open()
                failures = 1 if self._progress() > before else failures + 1
                since = self.clock.monotonic() if failures == 1 else since
                if self.clock.monotonic() - since >= PATIENCE:
                    raise
                self._wait(_pause(failures, error))
            else:
                if left is not None:
                    return Provisioned(self.done, self.found, tuple(self._refusals()), left)

    def _progress(self) -> int:
        return self.done + self.found + len(self.refused)

    def _attempt(self) -> Plan | None:
        """Read, plan and carry out in one session; return what is left where nothing more can be done.

        Only an attempt that has read by itself ends a run: that is the proof.
        """
        known, self.reading = self.reading, None
        with known.provisioner if known else self.open_provisioner() as provisioner:
            directory = known.directory if known else provisioner.read()
            made = plan(
                self.wish.directory, directory, provisioner.traits, self.wish.freeze, self.managers_last
            )
            self._settle_found(made)
            if self.by_half.intersection(made.steps()):
                self.by_half.clear()
                self._wait(self.settle_seconds)
                return None
            if known or self._due(made.steps()):
                for wave in made.waves:
                    self._carry_out(provisioner, self._due(wave))
                return None
        unseen = [step for step in made.steps() if step in self.said]
        if unseen and not self.has_waited:
            self.has_waited = True
            self._wait(self.settle_seconds)
            return None
        for step in unseen:
            self.refused[step] = "the service said that it is done, and does not show it"
        return made

    def _due(self, steps: Iterable[Step]) -> list[Step]:
        return [step for step in steps if step not in self.refused and step not in self.said]

    def _settle_found(self, made: Plan) -> None:
        """Settle what did not end well before and needs no step any more, since it stands there as it is wished.

        What this run does not ask about, because it is about others alone, stays as it is.
        """
        planned = {_doubt(step) for step in made.steps()}
        left_out = {(problem.kind, fold(problem.name)) for problem in made.problems}
        for row in self.book.rows([StepState.SENT, StepState.REFUSED, StepState.UNDONE]):
            kind = Kind(row.kind)
            needed = (kind, row.key, row.makes) in planned or (kind, row.new_key) in left_out
            if self._asks_about(kind, row.new_key) and not needed:
                self.found += row.state is StepState.SENT
                self.book.settle(row.id, StepState.DONE, "found there")
        self.book.flush()

    def _asks_about(self, kind: Kind, key: str) -> bool:
        frozen = kind is Kind.EMPLOYEE and key in map(fold, self.wish.freeze)
        return frozen or self.wish.directory.find(kind, key) is not None

    def _doubts(self) -> dict[_Doubt, list[StepRow]]:
        self.book.flush()
        doubts: dict[_Doubt, list[StepRow]] = {}
        for row in self.book.rows([StepState.SENT]):
            doubts.setdefault((Kind(row.kind), row.key, row.makes), []).append(row)
        return doubts

    def _carry_out(self, provisioner: Provisioner, steps: Sequence[Step]) -> None:
        """Carry out one wave until each step has ended: what is in doubt comes after all else."""
        if not steps:
            return
        doubts = self._doubts()
        self._send(provisioner, [step for step in steps if _doubt(step) not in doubts])
        self.book.end_open()
        doubts = self._doubts()
        left = [step for step in steps if self._is_open(provisioner, step, doubts.get(_doubt(step), ()))]
        if left:
            rows = [row for step in left for row in doubts[_doubt(step)]]
            over = max(row.ended or 0.0 for row in rows) + self.settle_seconds
            self._wait(over - self.clock.now().timestamp())
            left = [step for step in left if self._is_open(provisioner, step, doubts[_doubt(step)])]
            again = [step for step in left if self.sent[step] < MOST_SENDINGS]
            for step in left:
                self._settle_doubt(step, doubts[_doubt(step)], give_up=step not in again)
            self._send(provisioner, again)

    def _is_open(self, provisioner: Provisioner, step: Step, rows: Sequence[StepRow]) -> bool:
        """Tell whether a step is in doubt still. It is not once the thing stands there: as wished, or by half, and
        then the next attempt plans what it lacks."""
        if not rows:
            return False
        there = provisioner.look(step.thing)
        if done(step, there):
            for row in rows:
                self._found(step, row.id)
            return False
        by_half = step.makes and there is not None
        if by_half:
            self.by_half.add(step)
            self._settle_doubt(step, rows, give_up=False)
        return not by_half

    def _settle_doubt(self, step: Step, rows: Sequence[StepRow], *, give_up: bool) -> None:
        """Note that what was sent did not happen: it is sent again, or after several times refused."""
        for row in rows:
            self.book.settle(row.id, StepState.UNDONE)
        if give_up:
            self.refused[step] = f"there was no answer to it, {MOST_SENDINGS} times"
            self._settle(step, rows[-1].id, StepState.REFUSED, self.refused[step])

    def _send(self, provisioner: Provisioner, steps: Sequence[Step]) -> None:
        """Send steps, each after its intent, and note every outcome. What was taken and gets none is in doubt."""
        ids: dict[Step, int] = {}
        taken: set[Step] = set()
        try:
            for outcome in provisioner.carry_out(self._intended(steps, ids, taken)):
                self._note(provisioner, outcome, ids[outcome.step])
        finally:
            for step in ids.keys() - taken:
                self.book.settle(ids[step], StepState.UNDONE)
        if self.stop.is_set():
            raise self._interrupted()

    def _intended(self, steps: Sequence[Step], ids: dict[Step, int], taken: set[Step]) -> Iterator[Step]:
        for at in range(0, len(steps), AHEAD):
            if self.stop.is_set():
                return
            chunk = self._with_passwords(steps[at : at + AHEAD])
            ids.update(zip(chunk, self.book.intend(chunk), strict=True))
            for step in chunk:
                self.sent[step] += 1
                taken.add(step)
                yield step

    def _with_passwords(self, steps: Sequence[Step]) -> list[Step]:
        """Give new employees their passwords; those that are made are in their file before any account is begun."""
        given = self.wish.passwords
        new = [step.thing for step in steps if step.makes and isinstance(step.thing, Employee)]
        self.passwords.make(each.address for each in new if fold(each.address) not in given)
        for step in steps:
            if (
                isinstance(step.thing, Employee)
                and step.before is not None
                and key_of(step.thing) != step.key
            ):
                self.passwords.keep_for(step.thing.address, step.key)

        def password(address: str) -> Callable[[], str]:
            own = given.get(fold(address))
            return own.get if own is not None else lambda: self.passwords.get(address)

        return [
            evolve(step, password=password(step.thing.address))
            if step.makes and isinstance(step.thing, Employee)
            else step
            for step in steps
        ]

    def _note(self, provisioner: Provisioner, outcome: StepDone | StepNotDone, step_id: int) -> None:
        step = outcome.step
        if isinstance(outcome, StepDone):
            self.done += 1
            self.said.add(step)
            self._settle(step, step_id, StepState.DONE)
        elif isinstance(outcome.error, Transient):
            self.book.settle(step_id, StepState.UNDONE)
        elif isinstance(outcome.error, Refused) or outcome.error.over:
            self._look_after(provisioner, step, step_id, outcome.error)

    def _look_after(
        self, provisioner: Provisioner, step: Step, step_id: int, error: Refused | InDoubt
    ) -> None:
        """Look at once at what was refused, or done by half, since nothing of it can still happen.

        It may have been made by somebody else meanwhile, or by an attempt that was thought lost. Where the thing
        stands there in another form, the next attempt plans what it lacks.
        """
        there = provisioner.look(step.thing)
        by_half = step.makes and there is not None
        if done(step, there):
            self._found(step, step_id)
        elif (by_half or isinstance(error, InDoubt)) and self.sent[step] < MOST_SENDINGS:
            self.book.settle(step_id, StepState.UNDONE)
            self.by_half.update([step] if by_half else [])
        elif _is_led(step):
            self.book.settle(step_id, StepState.UNDONE)
            self.managers_last.add(key_of(step.thing))
        else:
            self.refused[step] = str(error)
            self._settle(step, step_id, StepState.REFUSED, str(error))

    def _found(self, step: Step, step_id: int) -> None:
        self.found += 1
        self.said.add(step)
        self._settle(step, step_id, StepState.DONE, "found there")

    def _settle(self, step: Step, step_id: int, state: StepState, reason: str = "") -> None:
        self.book.settle(step_id, state, reason)
        self.tell(step, state, reason)

    def _wait(self, seconds: float) -> None:
        if seconds > 0:
            self.clock.sleep(seconds, self.stop.event)
        if self.stop.is_set():
            raise self._interrupted()

    def _interrupted(self) -> Interrupted:
        remedy = "Run the same command again."
        return Interrupted("stopped between two steps", signal=self.stop.signal, remedy=remedy)

    def _refusals(self) -> Iterator[Problem]:
        for step, reason in self.refused.items():
            yield Problem(
                step.kind, name_of(step.thing), f"was refused: {reason}", "mend that, then run again"
            )


def _doubt(step: Step) -> _Doubt:
    return step.kind, step.key, step.makes


def _is_led(step: Step) -> bool:
    """Tell whether a step gives somebody a manager and does something else as well."""
    return (
        isinstance(step.thing, Employee)
        and step.thing.manager is not None
        and (step.makes or len(step.fields) > 1)
    )


def _pause(failures: int, error: AlimailError) -> float:
    if isinstance(error, Throttled) and error.retry_after is not None:
        return max(error.retry_after, 0.1)
    return float(min(LONGEST_PAUSE, 2.0 ** min(failures, 12)))
