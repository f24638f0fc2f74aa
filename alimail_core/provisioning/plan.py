"""Compare the wished directory with the actual one, and plan the steps between them. Pure and deterministic.

A thing that cannot be dealt with safely is left out whole and told as a problem; nothing is guessed about whose
mailbox is whose.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from attrs import define, evolve, field, frozen

from alimail_core.provisioning.directory import (
    EVERYTHING,
    NOBODY,
    Department,
    DepartmentPath,
    Directory,
    Employee,
    Group,
    Kind,
    ProvisionerTraits,
    Step,
    Thing,
    addresses_of,
    carried_out,
    department_key,
    fields_of,
    fold,
    key_of,
    kind_of,
    missing,
    name_of,
)

if TYPE_CHECKING:
    from alimail_core.secrets import Secret

LONGEST_LINE: Final = 8
"""Superiors above one another whose accounts are made one after the other, a wave each. Organisations are not deeper,
and a line that is would be waited for at each of its people: there the manager is set last."""


@frozen
class Wish:
    """What an organisation shall have, and what ``plan`` needs to know besides."""

    directory: Directory
    freeze: Collection[str] = ()
    passwords: Mapping[str, Secret] = field(factory=dict, repr=False)
    """By key: the first passwords that the roster gives; all others are made."""


@frozen
class Problem:
    """Something that the plan leaves out because it cannot or should not be done."""

    kind: Kind
    name: str
    message: str
    remedy: str


@frozen
class Extra:
    """Something that is there and is not wished; it is left alone. ``within`` names the group of a member."""

    kind: Kind
    name: str
    within: str = ""


@frozen
class Plan:
    """What leads from the actual directory to the wished one."""

    waves: tuple[tuple[Step, ...], ...] = ()
    as_wished: int = 0
    """Things that are there and need nothing."""
    extras: tuple[Extra, ...] = ()
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    """What is wished and this provisioner cannot hold at all."""

    def steps(self) -> Iterator[Step]:
        """Give all steps, in their order."""
        for wave in self.waves:
            yield from wave


def plan(
    wished: Directory,
    actual: Directory,
    traits: ProvisionerTraits = EVERYTHING,
    freeze: Collection[str] = (),
    managers_last: Collection[str] = (),
) -> Plan:
    """Return what is to be done, in an order that works: departments before those within them, renames before the
    accounts that may take a freed address, managers before their people, accounts before groups, groups before
    members. Who is made before the own manager, since they are each other's, is given that one last.

    ``freeze`` names employees who are not wished and shall not log in any more. ``managers_last`` has the keys of
    employees whose manager is set by a step of its own in any case. The order of rows does not matter.
    """
    planner = _Planner(_fitted(wished, actual, traits), actual, traits, frozenset(managers_last))
    renames = planner.renames()
    planner.now = carried_out(actual, (step for wave in renames for step in wave))
    planner.judge()
    can_freeze = "active" in traits.employee_fields
    waves = [
        *planner.departments(),
        *renames,
        *planner.accounts(),
        planner.groups(),
        planner.members(),
        planner.managers(),
        planner.frozen(freeze if can_freeze else ()),
    ]
    return Plan(
        waves=tuple(tuple(wave) for wave in waves if wave),
        as_wished=planner.count_as_wished(waves),
        extras=tuple(planner.extras()),
        problems=tuple(sorted(set(planner.problems), key=lambda each: (each.kind, each.name, each.message))),
        notes=_left_out(wished, traits, freeze),
    )


@define
class _Planner:
    """One comparison. Whatever a problem is told of is in ``left`` by kind and key, and gets no step."""

    wished: Directory
    actual: Directory
    traits: ProvisionerTraits
    managers_last: frozenset[str]
    now: Directory = field(init=False)
    """The actual directory after the renames."""
    problems: list[Problem] = field(factory=list)
    left: set[tuple[Kind, str]] = field(factory=set)
    led: set[str] = field(factory=set)
    """Keys of the employees whose manager is set together with all else."""
    claims: dict[str, str] = field(factory=dict)
    """By an employee's key in ``actual``: the key of the wished one who has the same number."""
    known: frozenset[str] = frozenset()
    """Every address that mail will reach."""
    people: frozenset[str] = frozenset()
    """Those of employees."""
    domains: frozenset[str] = frozenset()
    """The organisation's own domains: an address there that is not known is nobody's."""

    def renames(self) -> list[list[Step]]:
        """Plan the new addresses of employees who are known by their number; each wave frees what the next takes."""
        self._claim()
        waiting = {old: self.wished.employees[new] for old, new in self.claims.items() if old != new}
        if waiting and not self.traits.renames:
            for old, employee in waiting.items():
                there = self.actual.employees[old].address
                self._leave(
                    employee,
                    f"is {there} there, with the same employee number, and cannot be renamed by this provisioner",
                    f"rename {there} in the console",
                )
            return []
        holders = _holders(self.actual)
        waves = []
        while waiting:
            ready = [old for old, each in waiting.items() if holders.get(key_of(each), old) == old]
            if not ready:
                break
            waves.append([self._rename(old, waiting[old]) for old in sorted(ready)])
            for old in ready:
                employee = waiting.pop(old)
                del holders[old]
                holders[key_of(employee)] = key_of(employee)
        for employee in waiting.values():
            self._leave(
                employee,
                "is to be the new address of an employee, and somebody else has it",
                "free the address in the console, or choose another one",
            )
        return waves

    def _claim(self) -> None:
        """Match employees by their numbers, each of which must be one person's on both sides."""
        there = _by_number(self.actual)
        here = _by_number(self.wished)
        for number in sorted(here):
            for employee in here[number]:
                if len(here[number]) > 1 or len(there.get(number, ())) > 1:
                    side = "in the roster" if len(here[number]) > 1 else "there"
                    self._leave(
                        employee,
                        f"has the number {number}, which {side} is that of several employees",
                        "give each person a number of their own",
                    )
                elif number in there:
                    self.claims[key_of(there[number][0])] = key_of(employee)

    def _rename(self, old: str, wished: Employee) -> Step:
        before = Employee(self.actual.employees[old].address)
        return Step(Employee(wished.address), before)

    def judge(self) -> None:
        """Leave out what would take an address that somebody else has, or somebody else's mailbox."""
        there, twice = _holders(self.now), _wished_twice(self.wished)
        for thing in self._not_left():
            before = self.now.find(kind_of(thing), key_of(thing))
            for address in addresses_of(thing):
                holder = there.get(fold(address), key_of(thing))
                if holder != key_of(thing) or (before is None and fold(address) in there):
                    message = f"is to have the address {address}, which {holder} has"
                    self._leave(thing, message, "choose another address for one of them")
                elif fold(address) in twice:
                    message = f"is to have the address {address}, and so is another"
                    self._leave(thing, message, "choose another address for one of them")
            if isinstance(thing, Employee) and isinstance(before, Employee):
                self._judge_person(thing, before)
        reached = [*_mailboxes(self.now), *self._not_left()]
        people = [each for each in reached if isinstance(each, Employee)]
        self.known = frozenset(fold(address) for each in reached for address in addresses_of(each))
        self.people = frozenset(fold(address) for each in people for address in addresses_of(each))
        self.domains = frozenset(_domain(each.address) for each in reached)

    def _judge_person(self, wished: Employee, there: Employee) -> None:
        claimed_by = self.claims.get(key_of(there), key_of(wished))
        differs = wished.number and there.number and wished.number != there.number
        if differs or claimed_by != key_of(wished):
            self._leave(
                wished,
                f"is the address of the employee with the number {there.number}, who may be another person",
                "see whether it is the same person, and correct the number on one side",
            )

    def departments(self) -> list[list[Step]]:
        """Plan the departments that are not there, one wave for each depth."""
        new = [
            each for key, each in sorted(self.wished.departments.items()) if key not in self.now.departments
        ]
        depths = sorted({len(each.path) for each in new})
        return [[Step(each) for each in new if len(each.path) == depth] for depth in depths]

    def accounts(self) -> list[list[Step]]:
        """Plan employees, each with the manager where that one is there by then: one wave for each line of them."""
        levels = self._levels()
        waves: dict[int, list[Step]] = {}
        for key, employee in self._due(self.wished.employees):
            manager, level = fold(employee.manager or ""), levels.get(key, 0)
            if key not in self.managers_last and manager:
                if key in self.now.employees and manager in levels:
                    level = levels[manager] + 1
                if manager in self.now.employees or level > levels.get(manager, level):
                    self.led.add(key)
            wished = employee if key in self.led else evolve(employee, manager=None)
            if step := _step(wished, self.now.employees.get(key)):
                waves.setdefault(level, []).append(step)
        return [waves[level] for level in sorted(waves)]

    def _levels(self) -> dict[str, int]:
        """Return in which wave each employee is made who is not there yet: after the own manager, if that works out.

        Those who are each other's manager, in a circle, are in the first one.
        """
        new = {key: each for key, each in self._due(self.wished.employees) if key not in self.now.employees}
        above = {key: fold(each.manager or "") for key, each in new.items() if key not in self.managers_last}
        levels = {key: 0 for key in new if above.get(key) not in new}
        for first in new:
            line: dict[str, None] = {}
            key = first
            while key not in levels and key not in line:
                line[key] = None
                key = above[key]
            while key not in levels:  # a circle: go around it once
                levels[key] = 0
                key = above[key]
            for each in reversed(line):
                if each not in levels:
                    level = levels[above[each]] + 1
                    levels[each] = level if level <= LONGEST_LINE else 0
        return levels

    def groups(self) -> list[Step]:
        """Plan groups with their owners, and without members."""
        steps = []
        for key, group in self._due(self.wished.groups):
            wished = Group(group.address, group.name, self._people(group, "owner"))
            steps.append(_step(wished, self.now.groups.get(key)))
        return [step for step in steps if step]

    def members(self) -> list[Step]:
        """Plan the members that a group does not have yet."""
        steps = []
        for key, group in self._due(self.wished.groups):
            there = self.now.groups.get(key, Group(group.address))
            wished = Group(there.address, members=self._people(group, "member"))
            if (step := _step(wished, there)) and self._has_room(wished, there):
                steps.append(step)
        return steps

    def managers(self) -> list[Step]:
        """Plan who is whose superior, where that is not set yet."""
        people = {*self.now.employees, *(key for key, _ in self._due(self.wished.employees))}
        steps = []
        for key, employee in self._due(self.wished.employees):
            if employee.manager is None or key in self.led:
                continue
            if fold(employee.manager) in people:
                there = self.now.employees.get(key, Employee(employee.address))
                steps.append(_step(Employee(there.address, manager=employee.manager), there))
            else:
                self._tell(
                    employee,
                    f"is to have the manager {employee.manager}, who is nobody",
                    "list the manager too",
                )
        return [step for step in steps if step]

    def frozen(self, addresses: Collection[str]) -> list[Step]:
        """Plan to freeze employees who are there and not wished."""
        steps = []
        for address in sorted(addresses, key=fold):
            there = self.now.employees.get(fold(address))
            if there is not None and fold(address) not in self.wished.employees:
                steps.append(_step(Employee(there.address, active=False), there))
            else:
                why = "is nobody there" if there is None else "is in the roster"
                self._tell(Employee(address), f"{why}, and is to be frozen", "see to the address")
        return [step for step in steps if step]

    def extras(self) -> Iterator[Extra]:
        """Tell what is there and not wished."""
        for kind in Kind:
            known = {*self.wished.of_kind(kind), *(self.claims if kind is Kind.EMPLOYEE else ())}
            for key, thing in sorted(self.now.of_kind(kind).items()):
                if key not in known:
                    yield Extra(kind, name_of(thing))
        for key, group in sorted(self.wished.groups.items()):
            wished = {fold(each) for each in group.members}
            for member in sorted(self.now.groups.get(key, group).members):
                if fold(member) not in wished:
                    yield Extra(Kind.GROUP, member, group.address)

    def count_as_wished(self, waves: Iterable[Iterable[Step]]) -> int:
        """Count what is wished, and needs neither a step nor a person's eye."""
        busy = {(step.kind, key_of(step.thing)) for wave in waves for step in wave}
        all_wished = {(kind_of(thing), key_of(thing)) for thing in self.wished.things()}
        told = {(each.kind, fold(each.name)) for each in self.problems}
        return len(all_wished - busy - self.left - told)

    def _people(self, group: Group, role: str) -> frozenset[str]:
        """Return the owners or members without those who will be nobody, which are told."""
        people = set()
        addresses, known = (group.owners, self.people) if role == "owner" else (group.members, self.known)
        for address in addresses:
            if _domain(address) in self.domains and fold(address) not in known:
                self._tell(
                    group, f"is to have the {role} {address}, who is nobody", "list the person, or correct it"
                )
            else:
                people.add(address)
        return frozenset(people)

    def _has_room(self, group: Group, there: Group) -> bool:
        most, members = self.traits.max_members, {fold(each) for each in (*group.members, *there.members)}
        if most is None or len(members) <= most:
            return True
        self._tell(group, f"would have {len(members)} members, and takes {most}", "make several groups of it")
        return False

    def _not_left(self) -> list[Employee | Group]:
        return [each for each in _mailboxes(self.wished) if (kind_of(each), key_of(each)) not in self.left]

    def _due(self, things: Mapping[str, Any]) -> list[tuple[str, Any]]:
        return [(key, each) for key, each in sorted(things.items()) if (kind_of(each), key) not in self.left]

    def _leave(self, thing: Thing, message: str, remedy: str) -> None:
        self.left.add((kind_of(thing), key_of(thing)))
        self._tell(thing, message, remedy)

    def _tell(self, thing: Thing, message: str, remedy: str) -> None:
        self.problems.append(Problem(kind_of(thing), name_of(thing), message, remedy))


def _step(wished: Employee | Group, there: Employee | Group | None) -> Step | None:
    """Return the step that makes a thing, or gives it what it lacks; ``None``: it lacks nothing."""
    if there is None:
        return Step(wished)
    news = missing(wished, there)
    if not news:
        return None
    before = {name: getattr(there, name) for name in news}
    return Step(type(there)(there.address, **news), type(there)(there.address, **before))


def _fitted(wished: Directory, actual: Directory, traits: ProvisionerTraits) -> Directory:
    """Return what the provisioner can hold of the wishes, with departments spelt as they are there."""
    blank: dict[str, Any] = {
        name: getattr(_NOTHING, name) for name, _ in fields_of(_NOTHING) if name not in traits.employee_fields
    }
    things: list[Thing] = []
    for thing in wished.things():
        if isinstance(thing, Employee):
            department = None if thing.department is None else _spelt(thing.department, actual, wished)
            things.append(evolve(thing, **({"department": department} | blank)))
        elif isinstance(thing, Department):
            things.append(Department(_spelt(thing.path, actual, wished)))
        elif traits.groups:
            things.append(thing)
    return Directory.of(things)


_NOTHING = Employee("")


def _spelt(path: DepartmentPath, *directories: Directory) -> DepartmentPath:
    """Return the path with each name as the first of the directories spells it."""
    keys = [department_key(path[:end]) for end in range(1, len(path) + 1)]
    homes = [next(each.departments for each in directories if key in each.departments) for key in keys]
    return tuple(home[key].path[-1] for home, key in zip(homes, keys, strict=True))


def _left_out(wished: Directory, traits: ProvisionerTraits, freeze: Collection[str]) -> tuple[str, ...]:
    """Tell which wishes the provisioner cannot hold, and of how many people."""
    counts = Counter(
        name
        for employee in wished.employees.values()
        for name, value in fields_of(employee)
        if value not in (None, NOBODY) and name not in traits.employee_fields
    )
    notes = [
        f"{name} is not carried, of {number:,} in the roster: set it in the console"
        for name, number in counts.items()
    ]
    if freeze and "active" not in traits.employee_fields:
        notes.append("nobody is frozen by this provisioner: do it in the console")
    if wished.groups and not traits.groups:
        notes.append(f"groups are not carried, {len(wished.groups):,} of them: make them in the console")
    return tuple(sorted(notes))


def _by_number(directory: Directory) -> dict[str, list[Employee]]:
    found: dict[str, list[Employee]] = {}
    for employee in directory.employees.values():
        if employee.number:
            found.setdefault(employee.number, []).append(employee)
    return found


def _mailboxes(directory: Directory) -> Iterator[Employee | Group]:
    yield from directory.employees.values()
    yield from directory.groups.values()


def _holders(directory: Directory) -> dict[str, str]:
    """Return whose each address is, by key."""
    return {
        fold(address): key_of(thing) for thing in _mailboxes(directory) for address in addresses_of(thing)
    }


def _wished_twice(wished: Directory) -> frozenset[str]:
    counts = Counter(
        address for thing in _mailboxes(wished) for address in {fold(each) for each in addresses_of(thing)}
    )
    return frozenset(address for address, times in counts.items() if times > 1)


def _domain(address: str) -> str:
    return fold(address).rpartition("@")[2]
