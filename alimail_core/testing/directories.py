"""A mail service's directory in memory, a provisioner for it that keeps the contract, and one that fails as told."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from attrs import define, evolve, field

from alimail_core.contract import Provisioner
from alimail_core.errors import InDoubt, Refused, Throttled, Transient
from alimail_core.provisioning.directory import (
    EMPLOYEE_FIELDS,
    EVERYTHING,
    Department,
    Directory,
    Employee,
    Group,
    ProvisionerTraits,
    Step,
    StepDone,
    StepNotDone,
    Thing,
    addresses_of,
    carried_out,
    fold,
    key_of,
    kind_of,
)
from alimail_core.testing.faults import Countdown, FaultKind, Killed


@define
class MemoryDirectory:
    """The service: it refuses what a real one would, and counts what it did."""

    directory: Directory = field(factory=Directory)
    passwords: dict[str, str] = field(factory=dict)
    """By key of the employee."""
    steps_done: int = 0
    asked: int = 0
    """Steps that it was asked for: what was sent twice counts twice, though it is refused."""
    refuse: dict[str, str] = field(factory=dict)
    """What to refuse, by key, and why."""

    def carry_out(self, step: Step) -> None:
        """Do one step. Raises ``Refused``."""
        self.asked += 1
        there = self.directory.find(step.kind, step.key)
        if step.makes == (there is not None):
            raise Refused("409 it exists already" if step.makes else "404 there is no such thing")
        if key_of(step.thing) in self.refuse:
            raise Refused(self.refuse[key_of(step.thing)])
        self._judge(step)
        self.directory = carried_out(self.directory, [step])
        self.steps_done += 1
        if step.password is not None:
            self.passwords[step.key] = step.password()
        elif step.key in self.passwords and step.key != key_of(step.thing):
            self.passwords[key_of(step.thing)] = self.passwords.pop(step.key)

    def _judge(self, step: Step) -> None:
        thing = step.thing
        if isinstance(thing, Department):
            self._need_department(thing.path[:-1])
            return
        own = set() if step.makes else {step.key}
        mailboxes: list[Employee | Group] = [*self.directory.employees.values()]
        mailboxes += self.directory.groups.values()
        owner = {fold(address): key_of(each) for each in mailboxes for address in addresses_of(each)}
        if any(
            owner.get(fold(each), step.key) not in own for each in addresses_of(thing) if fold(each) in owner
        ):
            raise Refused("409 the address is taken")
        if isinstance(thing, Employee):
            self._need_department(thing.department or ())
            if thing.manager and fold(thing.manager) not in self.directory.employees:
                raise Refused("400 there is no such manager")
        else:
            ours = {address.rpartition("@")[2] for address in owner}
            for address in thing.members | thing.owners:
                if fold(address).rpartition("@")[2] in ours and fold(address) not in owner:
                    raise Refused("400 there is no such member")

    def _need_department(self, path: tuple[str, ...]) -> None:
        if path and key_of(Department(path)) not in self.directory.departments:
            raise Refused("400 there is no such department")


class MemoryProvisioner(Provisioner):
    """Works on a ``MemoryDirectory``, one step after another."""

    def __init__(self, service: MemoryDirectory, traits: ProvisionerTraits = EVERYTHING) -> None:
        self.service = service
        self._traits = traits

    @property
    def traits(self) -> ProvisionerTraits:
        """Return what it was made with."""
        return self._traits

    def read(self) -> Directory:
        """Return the directory; fields that are empty are told as such."""
        there = self.service.directory
        return Directory(
            there.departments,
            {key: self._told(employee) for key, employee in there.employees.items()},
            {key: evolve(group, name=group.name or "") for key, group in there.groups.items()},
        )

    def look(self, thing: Thing) -> Thing | None:
        """Return one thing."""
        return self.read().find(kind_of(thing), key_of(thing))

    def carry_out(self, steps: Iterable[Step]) -> Iterator[StepDone | StepNotDone]:
        """Carry out each step as it is taken."""
        for step in steps:
            try:
                self.service.carry_out(step)
            except Refused as error:
                yield StepNotDone(step, error)
            else:
                yield StepDone(step)

    def close(self) -> None:
        """Do nothing."""

    def _told(self, employee: Employee) -> Employee:
        texts = ("name", "number", "title", "mobile", "extension", "manager")
        told: dict[str, Any] = {name: getattr(employee, name) or "" for name in texts}
        told |= {"department": employee.department or (), "active": employee.active is not False}
        blank = Employee(employee.address)
        told |= {name: getattr(blank, name) for name in EMPLOYEE_FIELDS - self._traits.employee_fields}
        return evolve(employee, **told)


class FaultingProvisioner(Provisioner):
    """Another provisioner, to which a ``Countdown`` happens. Its operations are ``read``, ``look`` and ``step``."""

    def __init__(self, inner: Provisioner, countdown: Countdown) -> None:
        self._inner = inner
        self._countdown = countdown

    @property
    def traits(self) -> ProvisionerTraits:
        """Return those of the inner one."""
        return self._inner.traits

    def read(self) -> Directory:
        """Read, or fail."""
        self._countdown.step("read")
        return self._inner.read()

    def look(self, thing: Thing) -> Thing | None:
        """Look, or fail."""
        self._countdown.step("look")
        return self._inner.look(thing)

    def carry_out(self, steps: Iterable[Step]) -> Iterator[StepDone | StepNotDone]:
        """Carry out each step as it is taken, until one is struck."""
        for step in steps:
            kind = self._countdown.next("step")
            if kind is None:
                yield from self._inner.carry_out([step])
                continue
            self._act(kind, step)
            if kind.kills:
                self._countdown.dead = True
                raise Killed("step")
            if kind.acts:
                yield StepNotDone(step, InDoubt("the answer never came"))
                raise Transient("step: connection lost")
            yield StepNotDone(step, Transient("nothing was sent"))
            raise (
                Throttled("slow down", retry_after=5)
                if kind is FaultKind.THROTTLED
                else Transient("connection lost")
            )

    def close(self) -> None:
        """Close the inner one."""
        self._inner.close()

    def _act(self, kind: FaultKind, step: Step) -> None:
        def effect(step: Step = step) -> None:
            for _ in self._inner.carry_out([step]):
                pass

        if kind in (FaultKind.LATE, FaultKind.KILLED_LATE):
            self._countdown.defer(effect)
        elif kind in (FaultKind.HALF, FaultKind.TORN):
            effect(_half(step))
        elif kind.acts:
            effect()


def _half(step: Step) -> Step:
    """Return a step that sets only the first of the fields: what a server does that dies in the middle."""
    if len(step.fields) < 2:
        return step
    blank = {name: getattr(_NOTHING[type(step.thing)], name) for name in step.fields[1:]}
    return evolve(step, thing=evolve(step.thing, **blank))


_NOTHING: Mapping[type, Thing] = {Employee: Employee(""), Group: Group("")}
