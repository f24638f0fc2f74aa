"""The provisioner in memory keeps its contract, and the suite tells those that do not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from attrs import evolve, frozen

from alimail_core.config.tables import ProvisionTable
from alimail_core.contract import Provisioner, ProvisionerKind, option
from alimail_core.errors import PluginError
from alimail_core.hookspec import hookimpl
from alimail_core.kinds import PROVISION_KEYS
from alimail_core.provisioning.directory import (
    EVERYTHING,
    Directory,
    Employee,
    Group,
    ProvisionerTraits,
    Step,
    StepDone,
    StepNotDone,
    Thing,
)
from alimail_core.registry import Registry
from alimail_core.seam import Clock
from alimail_core.structure import describe_options
from alimail_core.testing import MemoryDirectory, MemoryProvisioner, ProvisionerContract

Outcomes = Iterator[StepDone | StepNotDone]


class TestMemoryProvisioner(ProvisionerContract):
    """The provisioner in memory, which holds everything."""

    opened: ClassVar[type[MemoryProvisioner]] = MemoryProvisioner
    traits: ClassVar[ProvisionerTraits] = EVERYTHING

    def make_provisioner(self, tmp_path: Path) -> Callable[[], Provisioner]:
        """Found an organisation."""
        self.service = MemoryDirectory()
        return lambda: self.opened(self.service, self.traits)

    def has_password(self, address: str, password: str) -> bool:
        """Ask the service."""
        return self.service.passwords.get(address) == password


class TestPoorProvisioner(TestMemoryProvisioner):
    """One that holds little."""

    traits = ProvisionerTraits(frozenset({"name", "department"}), renames=False, groups=False)


# Provisioners that break the contract in one way each.


class MakesWhatItShouldChange(MemoryProvisioner):
    def carry_out(self, steps: Iterable[Step]) -> Outcomes:
        for step in steps:
            there = self.look(step.before or step.thing)
            for _ in super().carry_out([evolve(step, before=step.before if there else None)]):
                yield StepDone(step)


class OverwritesWhatItShouldMake(MemoryProvisioner):
    def carry_out(self, steps: Iterable[Step]) -> Outcomes:
        for step in steps:
            there = self.look(step.thing)
            for _ in super().carry_out([evolve(step, before=step.before or there)]):
                yield StepDone(step)


class StopsAtARefusal(MemoryProvisioner):
    def carry_out(self, steps: Iterable[Step]) -> Outcomes:
        for outcome in super().carry_out(steps):
            yield outcome
            if isinstance(outcome, StepNotDone):
                return


class AnswersTwice(MemoryProvisioner):
    def carry_out(self, steps: Iterable[Step]) -> Outcomes:
        for outcome in super().carry_out(steps):
            yield outcome
            yield outcome


class ReplacesMembers(MemoryProvisioner):
    def carry_out(self, steps: Iterable[Step]) -> Outcomes:
        for step in steps:
            if isinstance(step.thing, Group) and not step.makes:
                groups = dict(self.service.directory.groups)
                groups[step.key] = evolve(groups[step.key], members=frozenset(), owners=frozenset())
                self.service.directory = evolve(self.service.directory, groups=groups)
            yield from super().carry_out([step])


class ForgetsThePassword(MemoryProvisioner):
    def carry_out(self, steps: Iterable[Step]) -> Outcomes:
        for step in steps:
            for _ in super().carry_out([evolve(step, password=None)]):
                yield StepDone(step)


class ForgetsTheDepartment(MemoryProvisioner):
    def look(self, thing: Thing) -> Thing | None:
        there = super().look(thing)
        return evolve(there, department=None) if isinstance(there, Employee) else there


class LooksByCase(MemoryProvisioner):
    def look(self, thing: Thing) -> Thing | None:
        there = super().look(thing)
        return there if isinstance(there, Employee) and there.address == thing.address else None  # type: ignore[union-attr]


class InventsNumbers(MemoryProvisioner):
    def read(self) -> Directory:
        told = super().read()
        return evolve(
            told,
            employees={key: evolve(each, number=each.number or key) for key, each in told.employees.items()},
        )


class RenamesByCopy(MemoryProvisioner):
    def carry_out(self, steps: Iterable[Step]) -> Outcomes:
        for step in steps:
            if step.before is not None and isinstance(step.thing, Employee) and not step.fields:
                old = self.service.directory.employees[step.key]
                list(super().carry_out([Step(evolve(old, address=step.thing.address, aliases=frozenset()))]))
                yield StepDone(step)
            else:
                yield from super().carry_out([step])


class BlanksTheRest(MemoryProvisioner):
    def carry_out(self, steps: Iterable[Step]) -> Outcomes:
        for step in steps:
            if isinstance(step.thing, Employee) and not step.makes and "name" not in step.fields:
                step = evolve(step, thing=evolve(step.thing, name=""))
            for _ in super().carry_out([step]):
                yield StepDone(step)


BROKEN = {
    MakesWhatItShouldChange: "test_nothing_is_made_by_a_change",
    OverwritesWhatItShouldMake: "test_what_is_there_is_not_made_twice",
    StopsAtARefusal: "test_every_step_is_taken_and_answered",
    AnswersTwice: "test_every_step_is_taken_and_answered",
    ReplacesMembers: "test_sets_only_grow",
    ForgetsThePassword: "test_an_employee_is_made_with_all_fields",
    ForgetsTheDepartment: "test_an_employee_is_made_with_all_fields",
    LooksByCase: "test_case_makes_no_second_thing",
    InventsNumbers: "test_an_employee_needs_no_more_than_an_address",
    RenamesByCopy: "test_a_rename_keeps_the_mailbox",
    BlanksTheRest: "test_a_change_leaves_all_other_fields",
}


@pytest.mark.parametrize("broken", BROKEN)
def test_the_suite_tells_a_broken_provisioner(tmp_path: Path, broken: type[MemoryProvisioner]) -> None:
    """Each way to break the contract fails the test that holds the promise."""
    suite = TestMemoryProvisioner()
    suite.opened = broken  # type: ignore[misc]
    with pytest.raises(AssertionError):
        getattr(suite, BROKEN[broken])(suite.make_provisioner(tmp_path))


# The hook.


@frozen
class NoOptions:
    """Nothing to choose but a name."""

    host: str = option("The server.", default="")


class Plugin:
    """Registers one provisioner."""

    def __init__(self, opened: object) -> None:
        self.opened = opened

    @hookimpl
    def alimail_provisioners(self) -> list[ProvisionerKind[NoOptions]]:
        """Register it."""
        return [ProvisionerKind("mem", "In memory.", NoOptions, self.opened)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "opened", [MemoryProvisioner, lambda _options, _clock: MemoryProvisioner(MemoryDirectory())]
)
def test_a_provisioner_is_registered_and_found(opened: object) -> None:
    """By its name; another name says what there is."""
    registry = Registry()
    registry.register(Plugin(opened))
    assert registry.provisioner("mem").summary == "In memory."
    assert [role for role, kind in registry.kinds() if kind.name == "mem"] == ["provisioner"]
    with pytest.raises(PluginError, match="there is no provisioner called men"):
        registry.provisioner("men")


def test_an_option_that_the_table_has_itself_is_refused() -> None:
    """It could never be set: ``[provision]`` reads it."""

    @frozen
    class Taken:
        employees: str = option("Whom.", default="")

    class Other:
        @hookimpl
        def alimail_provisioners(self) -> list[ProvisionerKind[Taken]]:
            return [ProvisionerKind("mem", "In memory.", Taken, MemoryProvisioner)]  # type: ignore[arg-type]

    with pytest.raises(PluginError, match="employees has a name that the core uses itself"):
        Registry().register(Other())


def test_the_table_s_own_keys_are_kept_from_plug_ins() -> None:
    """All of them."""
    assert {row.name for row in describe_options(ProvisionTable)} == PROVISION_KEYS


def test_a_class_that_is_no_provisioner_is_refused() -> None:
    """As far as that can be seen without opening it."""

    def opens_a_source(_options: NoOptions, _clock: Clock) -> Registry:
        return Registry()

    with pytest.raises(PluginError, match="Registry is not a Provisioner"):
        Registry().register(Plugin(opens_a_source))
