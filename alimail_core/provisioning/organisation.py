"""An organisation that is provisioned: its sheets, what is there, and who makes the difference.

What the command line calls, and a program may: it reads, plans, exports and applies, and shows nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import attrs
from attrs import evolve, field, frozen

from alimail_core.check import fault_of, worst
from alimail_core.contract import Provisioner
from alimail_core.errors import AlimailError, InputError, Interrupted, Remark
from alimail_core.ledger import Ledger
from alimail_core.ledger.steps import StepBook, StepRow, StepState
from alimail_core.provisioning.apply import Provisioned, Reading, provision
from alimail_core.provisioning.console_sheets import read_export, write_import
from alimail_core.provisioning.directory import (
    EVERYTHING,
    Directory,
    Employee,
    Group,
    Kind,
    ProvisionerTraits,
    Step,
    addresses_of,
    fold,
)
from alimail_core.provisioning.letters import write_password_letters
from alimail_core.provisioning.passwords import PasswordFile
from alimail_core.provisioning.plan import Plan, Wish, plan
from alimail_core.provisioning.roster import read_directory
from alimail_core.registry import Registry
from alimail_core.seam import Clock, Stop
from alimail_core.secrets import Secret
from alimail_core.sheets.templates import Language
from alimail_core.spec import ProvisionSpec


@frozen
class Planned:
    """A plan, with what it was made of."""

    plan: Plan
    wish: Wish
    actual: Directory
    traits: ProvisionerTraits = EVERYTHING
    remarks: Sequence[Remark] = ()
    """What is worth knowing of the sheets, such as a column that is not read."""
    reading: Reading | None = None
    """Where the plan was made to be applied: what it was read from, still open."""

    def close(self) -> None:
        """Let go of the service. Idempotent."""
        if self.reading is not None:
            self.reading.provisioner.close()


@frozen
class Exported:
    """Files for the console, in the order in which to import them, and how many passwords were needed in them."""

    files: Sequence[Path]
    passwords: int


@frozen
class Organisation:
    """An organisation as a configuration describes it. What holds something open is a ``Planned`` alone."""

    spec: ProvisionSpec
    registry: Registry
    clock: Clock = field(factory=Clock)

    def check(self, domains: Collection[str]) -> Iterator[Remark]:
        """Try the provisioner, where there is one: its secrets, whether it lets us in, and what it may do.

        ``domains``: those in which accounts shall be made. Raises nothing but bugs and ``Interrupted``.
        """
        options = attrs.astuple(self.spec.endpoint.options, recurse=False) if self.spec.endpoint else ()
        remarks = [remark for each in options if isinstance(each, Secret) and (remark := each.check())]
        yield from remarks
        if worst(remarks) == "fault":
            return
        try:
            with self.opener()() as provisioner:
                yield from provisioner.remarks(domains)
        except Interrupted:
            raise
        except AlimailError as error:
            yield from fault_of(error)

    def plan(
        self,
        there: Sequence[Path] = (),
        only: Collection[str] = (),
        freeze: Collection[str] = (),
        *,
        to_apply: bool = False,
    ) -> Planned:
        """Compare the sheets with the console's export ``there``, or with what the provisioner tells.

        ``only`` limits it to these addresses; of what was not asked about nothing is called extra. ``to_apply`` keeps
        the provisioner open, so that ``apply`` need not read once more: ``close`` what is returned. Raises
        ``InputError`` with every fault of the export, or of the sheets.
        """
        if there or self.spec.endpoint is None:
            export = read_export(there, self.spec.domain)
            return self._compared(export.directory, export.traits, only, freeze)
        with ExitStack() as opened:
            provisioner = opened.enter_context(self.opener()())
            reading = Reading.of(provisioner, self.clock)
            planned = self._compared(reading.directory, provisioner.traits, only, freeze)
            if not to_apply:
                return planned
            opened.pop_all()
            return evolve(planned, reading=reading)

    def _compared(
        self, actual: Directory, traits: ProvisionerTraits, only: Collection[str], freeze: Collection[str]
    ) -> Planned:
        mailboxes: list[Employee | Group] = [*actual.employees.values(), *actual.groups.values()]
        known = [address for each in mailboxes for address in addresses_of(each)]
        roster = read_directory(
            self.spec.employees, self.spec.groups, self.spec.domain, known, self.spec.sheets
        )
        wish = roster.wish(freeze, only)
        made = plan(wish.directory, actual, traits, wish.freeze)
        asked = {Kind.DEPARTMENT, Kind.EMPLOYEE} if self.spec.employees else set()
        asked |= {Kind.GROUP} if self.spec.groups else set()
        extras = () if only else tuple(each for each in made.extras if each.kind in asked)
        return Planned(evolve(made, extras=extras), wish, actual, traits, roster.remarks)

    def export(self, planned: Planned, folder: Path, language: Language) -> Exported:
        """Write the files with which the console carries the plan out. Raises ``InputError`` where one exists."""
        given, kept = planned.wish.passwords, PasswordFile(self.spec.passwords)
        new = [step.thing for step in planned.plan.steps() if step.makes and isinstance(step.thing, Employee)]
        needed = [each.address for each in new if fold(each.address) not in given]
        kept.make(needed)

        def password(address: str) -> str:
            own = given.get(fold(address))
            return own.get() if own is not None else kept.get(address)

        return Exported(write_import(planned.plan, planned.actual, folder, password, language), len(needed))

    def apply(
        self,
        planned: Planned,
        stop: Stop | None = None,
        tell: Callable[[Step, StepState, str], None] = lambda _step, _state, _reason: None,
    ) -> Provisioned:
        """Carry out what the plan's wish needs; see ``alimail_core.provisioning.apply.provision``."""
        opener, passwords = self.opener(), PasswordFile(self.spec.passwords)
        ledger = Ledger.open(self.spec.ledger, self.spec.name, self.clock)
        try:
            return provision(
                planned.wish,
                opener,
                ledger,
                passwords,
                clock=self.clock,
                stop=stop,
                tell=tell,
                settle_seconds=self.spec.settle_seconds,
                reading=planned.reading,
            )
        finally:
            ledger.close()

    def letters(self, planned: Planned, folder: Path, language: Language) -> list[Path]:
        """Write a letter for each person whom the plan makes, or whom ``apply`` has made, with the first password.

        Only for passwords that were made; those with a letter in the folder get no other. Returns the new texts.
        """
        made = {step.key for step in planned.plan.steps() if step.makes and step.kind is Kind.EMPLOYEE}
        if Path(self.spec.ledger).exists() or "://" in self.spec.ledger:
            done = (row for row in self.steps() if row.makes and row.state is StepState.DONE)
            made |= {row.key for row in done if row.kind == Kind.EMPLOYEE.value}
        people = [each for key, each in planned.wish.directory.employees.items() if key in made]
        return write_password_letters(people, PasswordFile(self.spec.passwords), folder, language)

    def steps(self) -> list[StepRow]:
        """Return every step that was begun, in that order. Raises ``LedgerError`` where there is no ledger."""
        ledger = Ledger.open(self.spec.ledger, self.spec.name, self.clock, create=False)
        try:
            return StepBook(ledger).rows()
        finally:
            ledger.close()

    def opener(self) -> Callable[[], Provisioner]:
        """Return what opens the configuration's provisioner. Raises ``InputError`` where it names none."""
        endpoint = self.spec.endpoint
        if endpoint is None:
            remedy = "`alimail provision export` writes files for the console; or name a kind in [provision]."
            raise InputError("there is no provisioner that could do it", remedy=remedy)
        kind = self.registry.provisioner(endpoint.kind)
        return lambda: kind.open(endpoint.options, self.clock)
