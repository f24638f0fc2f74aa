"""An organisation's directory: what is wished, what is there, and the plan that leads from one to the other.

Pure: nothing here knows a server or a spreadsheet. What a plan does is safe to do twice, in part, or after a crash,
because the rest of it is always found by comparing again.

Words
    directory
        Departments, employees and groups of one organisation.
    wished, actual
        What the roster asks for; what the provisioner says is there.
    step
        One thing made or changed, all that a provisioner is ever asked for. Nothing is deleted: a set (members,
        owners, aliases) only grows, and what is there without being wished is told as *extra*.
    wave
        Steps that do not hang on one another. The waves of a plan are carried out in their order.
"""

from __future__ import annotations

import enum
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs
from attrs import evolve, field, frozen

if TYPE_CHECKING:
    from alimail_core.errors import InDoubt, Refused, Transient

DepartmentPath: TypeAlias = tuple[str, ...]
"""A department's names from the outermost inwards; ``()`` is the organisation itself."""

NOBODY: frozenset[str] = frozenset()


class Kind(enum.StrEnum):
    """What a step is about."""

    DEPARTMENT = "department"
    EMPLOYEE = "employee"
    GROUP = "group"


@frozen
class Department:
    """A department, which is nothing but its place."""

    path: DepartmentPath

    @property
    def name(self) -> str:
        """Return the path as people write it."""
        return department_text(self.path)


@frozen
class Employee:
    """A person, or a mailbox that several people share.

    ``None`` is no value: it wishes nothing, or was not told. An employee who has a ``number`` is known by it, so
    that another address is a rename; all others are known by their address.
    """

    address: str
    name: str | None = None
    number: str | None = None
    """The organisation's own, such as a staff number."""
    department: DepartmentPath | None = None
    title: str | None = None
    mobile: str | None = None
    extension: str | None = None
    quota: int | None = None
    """Of the mailbox, in megabytes."""
    active: bool | None = None
    """False: frozen; the mailbox is kept, and nobody can log in."""
    manager: str | None = None
    """The address of the person's superior."""
    aliases: frozenset[str] = NOBODY


@frozen
class Group:
    """A mail group. Members may be groups, and addresses elsewhere."""

    address: str
    name: str | None = None
    owners: frozenset[str] = NOBODY
    members: frozenset[str] = NOBODY


Thing: TypeAlias = Department | Employee | Group

EMPLOYEE_FIELDS: frozenset[str] = frozenset(each.name for each in attrs.fields(Employee)) - {"address"}


@frozen
class Directory:
    """Departments, employees and groups, each by what it is known by (``key_of``)."""

    departments: Mapping[str, Department] = field(factory=dict)
    employees: Mapping[str, Employee] = field(factory=dict)
    groups: Mapping[str, Group] = field(factory=dict)

    @classmethod
    def of(cls, things: Iterable[Thing]) -> Directory:
        """Make a directory; a department brings those that it is in, and an employee the own one.

        Raises ``ValueError`` where one address is told twice.
        """
        found: dict[Kind, dict[str, Any]] = {kind: {} for kind in Kind}
        for thing in things:
            if isinstance(thing, Department | Employee):
                path = thing.path if isinstance(thing, Department) else thing.department or ()
                for end in range(1, len(path) + 1):
                    within = Department(path[:end])
                    found[Kind.DEPARTMENT].setdefault(key_of(within), within)
            if not isinstance(thing, Department):
                if key_of(thing) in found[kind_of(thing)]:
                    raise ValueError(f"{thing.address} is there twice")
                found[kind_of(thing)][key_of(thing)] = thing
        return cls(*found.values())

    def find(self, kind: Kind, key: str) -> Thing | None:
        """Return the thing of that kind which is known by ``key``."""
        return self.of_kind(kind).get(key)

    def of_kind(self, kind: Kind) -> Mapping[str, Any]:
        """Return all things of one kind."""
        homes = {
            Kind.DEPARTMENT: self.departments,
            Kind.EMPLOYEE: self.employees,
            Kind.GROUP: self.groups,
        }
        return homes[kind]

    def things(self) -> Iterator[Thing]:
        """Give everything."""
        yield from self.departments.values()
        yield from self.employees.values()
        yield from self.groups.values()


@frozen
class Step:
    """One thing to make or to change.

    ``thing`` holds the whole of what is made, and of what is changed just the fields that change: ``None`` leaves a
    field as it is, and a set names what is added to it. ``before`` names the thing as it is known until now, with
    the same fields as they were; ``None``: it is made. A change of address is a step of its own.
    """

    thing: Thing
    before: Thing | None = field(default=None, eq=lambda before: before and key_of(before))
    """Its fields tell no two steps apart: what is empty may not be told before the thing is there."""
    password: Callable[[], str] | None = field(default=None, eq=False, repr=False)
    """For an employee who is made: the first password, put in by who carries the plan out. No plan holds it."""

    @property
    def makes(self) -> bool:
        """Tell whether the thing is new."""
        return self.before is None

    @property
    def kind(self) -> Kind:
        """Return what the step is about."""
        return kind_of(self.thing)

    @property
    def key(self) -> str:
        """Return what the thing is known by as the step begins."""
        return key_of(self.before or self.thing)

    @property
    def fields(self) -> tuple[str, ...]:
        """Name the fields that are set."""
        return tuple(each for each, value in fields_of(self.thing) if value not in (None, NOBODY))


@frozen
class StepDone:
    """The provisioner's server said that it has the thing as the step wishes it."""

    step: Step


@frozen
class StepNotDone:
    """The step was not carried out, as far as is known. The error's grade says how far that is.

    ``Refused``: the server will not, or has the thing already. ``InDoubt``: it may have done it. ``Transient``:
    nothing of it was acted upon, it may be sent again at once.
    """

    step: Step
    error: Refused | InDoubt | Transient


@frozen
class ProvisionerTraits:
    """What a provisioner can hold. A plan asks for nothing else, and names what it leaves out."""

    employee_fields: frozenset[str] = EMPLOYEE_FIELDS
    """Fields of ``Employee`` that it stores and tells again."""
    renames: bool = True
    """It can give an employee another address."""
    groups: bool = True
    max_members: int | None = None
    """The most members of one group."""
    counts_mail: bool = False
    """It tells how many messages the folders of a mailbox have (``Provisioner.count_mail``)."""


EVERYTHING = ProvisionerTraits()


def fold(text: str) -> str:
    """Return what two spellings of one name have in common: neither case, width nor spaces at its ends count."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).strip()


def department_key(path: DepartmentPath) -> str:
    """Return what a department is known by. No name of a department holds a slash."""
    return "/".join(fold(name) for name in path)


def department_text(path: DepartmentPath) -> str:
    """Return a department's path as people and the console write it: ``A/B/C``."""
    return "/".join(path)


def key_of(thing: Thing) -> str:
    """Return what a thing is known by in a ``Directory``."""
    return department_key(thing.path) if isinstance(thing, Department) else fold(thing.address)


def kind_of(thing: Thing) -> Kind:
    """Return the kind of a thing."""
    return Kind(type(thing).__name__.lower())


def name_of(thing: Thing) -> str:
    """Return a thing's name for people."""
    return thing.name if isinstance(thing, Department) else thing.address


def missing(wished: Thing, actual: Thing) -> dict[str, Any]:
    """Return the fields of ``wished`` that ``actual`` lacks, and what sets lack. The address is not compared."""
    lacking: dict[str, Any] = {}
    for name, value in fields_of(wished):
        there = getattr(actual, name)
        if isinstance(value, frozenset):
            known = {fold(each) for each in there}
            lacking[name] = frozenset(each for each in value if fold(each) not in known)
        elif value is not None and not _same(name, value, there):
            lacking[name] = value
    return {name: value for name, value in lacking.items() if value not in (None, NOBODY)}


def done(step: Step, actual: Thing | None) -> bool:
    """Tell whether ``actual``, the thing that the step is about, is already as the step wishes it."""
    if actual is None or type(actual) is not type(step.thing):
        return False
    return key_of(actual) == key_of(step.thing) and not missing(step.thing, actual)


def changed(step: Step, actual: Thing) -> Thing:
    """Return what ``actual`` becomes by the step."""
    news = {
        name: getattr(actual, name) | value if isinstance(value, frozenset) else value
        for name, value in fields_of(step.thing)
        if value not in (None, NOBODY)
    }
    if isinstance(actual, Department) or isinstance(step.thing, Department):
        return actual
    return evolve(actual, address=step.thing.address, **news)


def carried_out(directory: Directory, steps: Iterable[Step]) -> Directory:
    """Return the directory as it is once the steps are done. A rename is followed wherever the address stands."""
    homes: dict[Kind, dict[str, Any]] = {kind: dict(directory.of_kind(kind)) for kind in Kind}
    for step in steps:
        home = homes[step.kind]
        actual = home.pop(step.key, None)
        thing = step.thing if actual is None else changed(step, actual)
        home[key_of(thing)] = thing
        if actual is not None and key_of(actual) != key_of(thing):
            assert isinstance(actual, Employee)
            assert isinstance(thing, Employee)
            _follow(homes, actual.address, thing.address)
    return Directory(*homes.values())


def _follow(homes: Mapping[Kind, dict[str, Any]], old: str, new: str) -> None:
    was = fold(old)

    def moved(addresses: frozenset[str]) -> frozenset[str]:
        return frozenset(new if fold(each) == was else each for each in addresses)

    for key, group in homes[Kind.GROUP].items():
        homes[Kind.GROUP][key] = evolve(group, owners=moved(group.owners), members=moved(group.members))
    for key, employee in homes[Kind.EMPLOYEE].items():
        if employee.manager is not None and fold(employee.manager) == was:
            homes[Kind.EMPLOYEE][key] = evolve(employee, manager=new)


def fields_of(thing: Thing) -> list[tuple[str, Any]]:
    """Give the fields of a thing with their values, all but what names it."""
    return [(name, getattr(thing, name)) for name in _FIELDS[type(thing)]]


_FIELDS: Mapping[type, tuple[str, ...]] = {
    thing: tuple(each.name for each in attrs.fields(thing) if each.name not in ("address", "path"))
    for thing in (Department, Employee, Group)
}


def _same(name: str, wished: Any, there: Any) -> bool:
    if there is None:
        return (name == "department" and wished == ()) or (name == "active" and wished is True)
    if name == "department":
        return department_key(wished) == department_key(there)
    return fold(wished) == fold(there) if name == "manager" else bool(wished == there)


def addresses_of(thing: Employee | Group) -> Collection[str]:
    """Return every address at which a thing receives mail."""
    return (thing.address, *sorted(thing.aliases)) if isinstance(thing, Employee) else (thing.address,)
