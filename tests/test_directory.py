"""The plan from the actual directory to the wished one: it arrives, in parts as well, and takes nobody's mailbox."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from alimail_core.provisioning.directory import (
    EMPLOYEE_FIELDS,
    Department,
    Directory,
    Employee,
    Group,
    Kind,
    ProvisionerTraits,
    Step,
    Thing,
    addresses_of,
    carried_out,
    department_text,
    done,
    fold,
    key_of,
    missing,
)
from alimail_core.provisioning.plan import LONGEST_LINE, Extra, Plan, plan

LOCALS = "abcdefg"
_address = st.builds("{}@x.example".format, st.sampled_from([*LOCALS, *LOCALS.upper()]))
_path = st.lists(st.sampled_from(["Sales", "sales", "Ｓａｌｅｓ", "研发"]), max_size=3).map(tuple)
_text = st.none() | st.sampled_from(["", "one", "two"])


def _employees(addresses: st.SearchStrategy[str] = _address) -> st.SearchStrategy[Employee]:
    return st.builds(
        Employee,
        address=addresses,
        name=_text,
        number=st.none() | st.sampled_from("12345"),
        department=st.none() | _path,
        quota=st.none() | st.sampled_from([0, 500]),
        active=st.none() | st.booleans(),
        manager=st.none() | _address,
        aliases=st.frozensets(st.sampled_from(["g@x.example", "h@x.example", "i@x.example"]), max_size=1),
    )


_people = st.frozensets(st.one_of(_address, st.just("guest@else.example")), max_size=3)
_groups = st.builds(
    Group,
    address=st.sampled_from(["g@x.example", "all@x.example", "team@x.example"]),
    name=_text,
    owners=_people,
    members=_people,
)
_things = st.lists(st.one_of(_employees(), _groups, st.builds(Department, _path)), max_size=9)


def _unique(things: Iterable[Thing]) -> list[Thing]:
    """Leave out what a directory could not hold: an address twice, of whatever kind."""
    taken: set[str] = set()
    kept: list[Thing] = []
    for thing in things:
        addresses = set() if isinstance(thing, Department) else {fold(each) for each in addresses_of(thing)}
        if not addresses & taken:
            taken |= addresses
            kept.append(thing)
    return kept


_wished = _things.map(_unique)
_actual = _things.map(lambda things: Directory.of(_unique(things)))


def _rest(wished: Sequence[Thing], actual: Directory) -> Plan:
    return plan(Directory.of(wished), actual)


@given(wished=_wished, actual=_actual)
def test_a_plan_that_was_carried_out_leaves_nothing_to_do(wished: list[Thing], actual: Directory) -> None:
    """What is told as a problem stays one; no step is left, and nothing that was there is gone."""
    first = _rest(wished, actual)
    after = carried_out(actual, first.steps())
    second = _rest(wished, after)
    assert second.waves == ()
    assert {(each.kind, each.name) for each in second.problems} <= {
        (each.kind, each.name) for each in first.problems
    }
    for kind in Kind:
        assert len(after.of_kind(kind)) == len(actual.of_kind(kind)) + sum(
            step.makes for step in first.steps() if step.kind is kind
        )


@given(wished=_wished, actual=_actual, data=st.data())
def test_a_plan_that_was_interrupted_goes_on_to_the_same_end(
    wished: list[Thing], actual: Directory, data: st.DataObject
) -> None:
    """Whole waves, then any part of one in any order; the plan made anew leads where the first one did."""
    first = _rest(wished, actual)
    whole = data.draw(st.integers(0, len(first.waves)), "waves that were done")
    begun = first.waves[whole] if whole < len(first.waves) else ()
    part = data.draw(st.permutations(begun).map(lambda order: order[: len(order) // 2]), "steps of the next")
    cut = carried_out(actual, [*(step for wave in first.waves[:whole] for step in wave), *part])
    assert carried_out(cut, _rest(wished, cut).steps()) == carried_out(actual, first.steps())


@given(wished=_wished, actual=_actual, data=st.data())
def test_the_order_of_rows_does_not_matter(
    wished: list[Thing], actual: Directory, data: st.DataObject
) -> None:
    """The same wishes in any order give the same plan, step by step; only one of two spellings must be first."""
    spelt = [evolve(each, department=None) if isinstance(each, Employee) else each for each in wished]
    spelt = [each for each in spelt if not isinstance(each, Department)]
    shuffled = data.draw(st.permutations(spelt))
    backwards = Directory(*(dict(reversed(list(actual.of_kind(kind).items()))) for kind in Kind))
    assert _rest(shuffled, backwards) == _rest(spelt, actual)


@given(wished=_wished, actual=_actual)
def test_every_step_finds_what_it_needs(wished: list[Thing], actual: Directory) -> None:
    """Departments stand in others that are there, addresses are free, and members, owners and managers exist."""
    now = actual
    for wave in _rest(wished, actual).waves:
        mailboxes: list[Employee | Group] = [*now.employees.values(), *now.groups.values()]
        taken = {fold(address) for each in mailboxes for address in addresses_of(each)}
        for step in wave:
            thing = step.thing
            if isinstance(thing, Department):
                assert key_of(thing) not in now.departments
                assert not thing.path[1:] or key_of(Department(thing.path[:-1])) in now.departments
            elif step.makes or key_of(thing) != step.key:
                # Whoever is renamed may take a name that is its own already, as an alias.
                own = [each for each in mailboxes if key_of(each) == step.key and not step.makes]
                assert key_of(thing) not in taken - {
                    fold(name) for each in own for name in addresses_of(each)
                }
            if isinstance(thing, Employee) and thing.department:
                assert key_of(Department(thing.department)) in now.departments
            if isinstance(thing, Employee) and thing.manager:
                assert fold(thing.manager) in now.employees
            if isinstance(thing, Group):
                ours = {
                    fold(each) for each in thing.members | thing.owners if each.lower().endswith("@x.example")
                }
                assert ours <= taken
        now = carried_out(now, wave)


@given(wished=_wished, actual=_actual)
def test_what_is_wished_is_there_or_told(wished: list[Thing], actual: Directory) -> None:
    """Each wish is found in the end, or is named as a problem; a wish of nothing changes nothing."""
    first = _rest(wished, actual)
    after = carried_out(actual, first.steps())
    told = {(each.kind, fold(each.name)) for each in first.problems}
    for kind, things in ((kind, Directory.of(wished).of_kind(kind)) for kind in Kind):
        for key, thing in things.items():
            there = after.find(kind, key)
            assert (kind, key) in told or (there is not None and not missing(thing, there))
    assert first.as_wished + len({(step.kind, key_of(step.thing)) for step in first.steps()} | told) >= len(
        list(Directory.of(wished).things())
    )


@given(wished=_wished, actual=_actual)
def test_a_step_is_done_after_it_and_not_before(wished: list[Thing], actual: Directory) -> None:
    """That is how a step in doubt is looked up."""
    now = actual
    for wave in _rest(wished, actual).waves:
        for step in wave:
            assert not done(step, now.find(step.kind, step.key))
        now = carried_out(now, wave)
        for step in wave:
            assert done(step, now.find(step.kind, key_of(step.thing)))


@given(wished=_wished, actual=_actual)
def test_numbers_keep_people_and_their_mailboxes_together(wished: list[Thing], actual: Directory) -> None:
    """Nobody with a number ends up with the mailbox of somebody with another one."""
    after = carried_out(actual, _rest(wished, actual).steps())
    for employee in actual.employees.values():
        if employee.number:
            assert [each for each in after.employees.values() if each.number == employee.number]


def _steps(wished: Sequence[Thing], *actual: Thing, traits: ProvisionerTraits | None = None) -> list[str]:
    """Return the steps of a plan as text, a wave in brackets."""
    made = plan(Directory.of(wished), Directory.of(actual), traits or ProvisionerTraits())
    return [", ".join(_told(step) for step in wave) for wave in made.waves]


def _told(step: Step) -> str:
    thing = step.thing
    name = department_text(thing.path) if isinstance(thing, Department) else thing.address
    verb = "make" if step.makes else "rename" if step.key != key_of(thing) else "change"
    return f"{verb} {name} {'+'.join(step.fields)}".strip()


def test_the_order_is_departments_accounts_groups_members_managers() -> None:
    """Each wave needs only what stands in those before it."""
    wished: list[Thing] = [
        Group("all@x", "All", frozenset({"b@x"}), frozenset({"a@x", "team@x"})),
        Employee("a@x", name="A", department=("Sales", "West"), manager="b@x"),
        Employee("b@x", name="B", manager="a@x"),
        Group("team@x", members=frozenset({"b@x"})),
    ]
    assert _steps(wished) == [
        "make Sales",
        "make Sales/West",
        "make a@x name+department, make b@x name",
        "make all@x name+owners, make team@x",
        "change all@x members, change team@x members",
        "change a@x manager, change b@x manager",
    ]


def test_managers_are_there_before_their_people() -> None:
    """Then one step makes a person with the manager; a line that is too long to wait for is given them last."""
    wished = [
        Employee("a@x", manager="b@x"),
        Employee("b@x", manager="boss@x"),
        Employee("boss@x", manager="there@x"),
        Employee("there@x", title="Head", manager="new@x"),
        Employee("new@x", manager="there@x"),
    ]
    assert _steps(wished, Employee("there@x")) == [
        "make boss@x manager, make new@x manager",
        "make b@x manager, change there@x title+manager",
        "make a@x manager",
    ]
    made = plan(Directory.of(wished), Directory.of([Employee("there@x")]), managers_last=["b@x"])
    assert [", ".join(map(_told, wave)) for wave in made.waves] == [
        "make b@x, make boss@x manager, make new@x manager",
        "make a@x manager, change there@x title+manager",
        "change b@x manager",
    ]
    line = [Employee(f"{number}@x", manager=f"{number - 1}@x") for number in range(1, LONGEST_LINE + 3)]
    steps = _steps([Employee("0@x"), *line])
    assert len(steps) == LONGEST_LINE + 2
    assert steps[-1] == f"change {LONGEST_LINE + 1}@x manager"


def test_a_new_address_with_a_known_number_is_a_rename() -> None:
    """The mailbox stays; groups follow; what else differs is changed under the new address."""
    wished: list[Thing] = [
        Employee("anna.new@x", number="7", title="Boss"),
        Group("g@x", members=frozenset({"anna.new@x"})),
    ]
    there: list[Thing] = [Employee("anna@x", number="7"), Group("g@x", members=frozenset({"anna@x"}))]
    assert _steps(wished, *there) == ["rename anna.new@x", "change anna.new@x title"]


def test_renames_free_the_addresses_that_others_take() -> None:
    """A chain is carried out from its end, and a new person may take the address that came free."""
    wished = [Employee("b@x", number="1"), Employee("c@x", number="2"), Employee("a@x", number="3")]
    there = [Employee("a@x", number="1"), Employee("b@x", number="2")]
    assert _steps(wished, *there) == ["rename c@x", "rename b@x", "make a@x number"]


def test_an_exchange_of_addresses_is_left_to_people() -> None:
    """There is no order in which it could be done."""
    wished = Directory.of([Employee("b@x", number="1"), Employee("a@x", number="2")])
    made = plan(wished, Directory.of([Employee("a@x", number="1"), Employee("b@x", number="2")]))
    assert made.waves == ()
    assert [each.name for each in made.problems] == ["a@x", "b@x"]


def test_an_address_with_another_number_is_left_to_people() -> None:
    """It may be another person, who would get a stranger's mail."""
    made = plan(
        Directory.of([Employee("a@x", name="Ann", number="2")]),
        Directory.of([Employee("a@x", name="Anna", number="1")]),
    )
    assert made.waves == ()
    assert "may be another person" in made.problems[0].message


def test_an_address_that_could_not_be_freed_is_not_given_away() -> None:
    """Its mailbox is still that of the person who was to be renamed."""
    wished = [Employee("b@x", number="1"), Employee("a@x", name="New")]
    made = plan(
        Directory.of(wished), Directory.of([Employee("a@x", number="1"), Employee("b@x", number="2")])
    )
    assert made.waves == ()
    assert [each.name for each in made.problems] == ["a@x", "b@x"]


def test_an_address_that_two_wish_is_nobodys() -> None:
    """An alias may not be another's address, whoever comes first in the sheets."""
    wished: list[Thing] = [Employee("a@x", aliases=frozenset({"G@x"})), Group("g@x"), Employee("b@x")]
    made = plan(Directory.of(wished), Directory())
    assert [step.key for step in made.steps()] == ["b@x"]
    assert [each.name for each in made.problems] == ["a@x", "g@x"]


def test_case_and_width_make_no_second_thing() -> None:
    """Addresses and departments are found however they are spelt, and keep their spelling."""
    wished = [Employee("Anna@X", department=("ＳＡＬＥＳ", "East"))]
    assert _steps(wished, Employee("anna@x", department=("Sales",))) == [
        "make Sales/East",
        "change anna@x department",
    ]


def test_what_a_provisioner_cannot_hold_is_told_and_not_asked() -> None:
    """The plan becomes empty all the same."""
    traits = ProvisionerTraits(EMPLOYEE_FIELDS - {"manager", "aliases"}, renames=False, groups=False)
    wished = Directory.of(
        [
            Employee("a@x", number="1", manager="b@x", aliases=frozenset({"aa@x"})),
            Employee("c@x", number="3"),
            Group("g@x"),
        ]
    )
    made = plan(wished, Directory.of([Employee("a@x", number="1"), Employee("b@x", number="3")]), traits)
    assert made.waves == ()
    assert made.notes == (
        "aliases is not carried, of 1 in the roster: set it in the console",
        "groups are not carried, 1 of them: make them in the console",
        "manager is not carried, of 1 in the roster: set it in the console",
    )
    assert [each.remedy for each in made.problems] == ["rename b@x in the console"]


def test_nobody_becomes_a_member() -> None:
    """An address of the own domain must be somebody's; those elsewhere are not ours to judge."""
    group = Group("g@x", members=frozenset({"a@x", "nobody@x", "guest@y"}), owners=frozenset({"no@x"}))
    made = plan(Directory.of([Employee("a@x"), group]), Directory())
    assert [each.message for each in made.problems] == [
        "is to have the member nobody@x, who is nobody",
        "is to have the owner no@x, who is nobody",
    ]
    assert [sorted(step.thing.members) for step in made.steps() if isinstance(step.thing, Group)] == [
        [],
        ["a@x", "guest@y"],
    ]


def test_a_group_with_too_many_members_is_told() -> None:
    """Those who are members already count."""
    wished = Directory.of([Group("g@x", members=frozenset({"a@y", "b@y"}))])
    actual = Directory.of([Group("g@x", members=frozenset({"c@y"}))])
    assert plan(wished, actual, ProvisionerTraits(max_members=3)).problems == ()
    assert (
        "3 members, and takes 2" in plan(wished, actual, ProvisionerTraits(max_members=2)).problems[0].message
    )


def test_what_is_not_wished_is_told_and_frozen_only_by_name() -> None:
    """Nothing is deleted; a person in the roster is not frozen by that wish."""
    wished = Directory.of([Employee("a@x"), Group("g@x", members=frozenset({"a@x"}))])
    actual = Directory.of(
        [
            Employee("a@x"),
            Employee("gone@x", department=("Old",)),
            Group("g@x", members=frozenset({"gone@x"})),
        ]
    )
    made = plan(wished, actual, freeze=["GONE@x", "a@x", "who@x"])
    assert made.extras == (
        Extra(Kind.DEPARTMENT, "Old"),
        Extra(Kind.EMPLOYEE, "gone@x"),
        Extra(Kind.GROUP, "gone@x", "g@x"),
    )
    assert [(step.key, step.fields) for step in made.steps()] == [
        ("g@x", ("members",)),
        ("gone@x", ("active",)),
    ]
    assert [(each.name, each.message.partition(",")[0]) for each in made.problems] == [
        ("a@x", "is in the roster"),
        ("who@x", "is nobody there"),
    ]


def test_an_address_twice_is_no_directory() -> None:
    """Who makes one of rows must have told that before."""
    with pytest.raises(ValueError, match="twice"):
        Directory.of([Employee("a@x"), Employee("A@X")])
