"""Every promise of a provisioner, as tests to inherit::

    class TestMyProvisioner(ProvisionerContract):
        def make_provisioner(self, tmp_path):
            service = start_service(tmp_path)
            return lambda: MyProvisioner(service.port)

Promises that concern what a provisioner does not hold (``traits``) are not tried.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest
from attrs import evolve

from alimail_core.contract import Provisioner
from alimail_core.errors import Refused
from alimail_core.provisioning.directory import (
    EMPLOYEE_FIELDS,
    NOBODY,
    Department,
    Directory,
    Employee,
    Group,
    ProvisionerTraits,
    Step,
    StepDone,
    StepNotDone,
    Thing,
    done,
    key_of,
    kind_of,
    missing,
)
from alimail_core.provisioning.plan import plan

Outcome = StepDone | StepNotDone

DOMAIN = "contract.example"
SALES = Department(("Sales",))
WEST = Department(("Sales", "West & 西部"))


class ProvisionerContract:
    """What every provisioner promises. Implement ``make_provisioner``."""

    domain: ClassVar[str] = DOMAIN
    """The domain of the addresses that the tests make."""

    def make_provisioner(self, tmp_path: Path) -> Callable[[], Provisioner]:
        """Make an empty organisation, and return what opens a provisioner for it, each time anew."""
        raise NotImplementedError

    def settle(self) -> None:
        """Let time pass until the service tells all that it was told, where it is eventually consistent."""

    def has_password(self, address: str, password: str) -> bool:
        """Tell whether an account was made with this password. Answer ``True`` where nobody can know."""
        return True

    # What the tests stand on.

    @pytest.fixture
    def open(self, tmp_path: Path) -> Callable[[], Provisioner]:
        """Return what opens a provisioner."""
        return self.make_provisioner(tmp_path)

    def employee(self, local: str, **values: Any) -> Employee:
        """Return an employee with the fields that this provisioner can hold."""
        return Employee(f"{local}@{self.domain}", **values)

    def carry_out(self, open: Callable[[], Provisioner], steps: Sequence[Step]) -> list[Outcome]:
        """Carry out steps, and check that each is answered once."""
        with open() as provisioner:
            outcomes = list(provisioner.carry_out(iter(steps)))
        answered = [outcome.step for outcome in outcomes]
        assert len(answered) == len(steps), (
            f"each step MUST have one outcome: {len(answered)} for {len(steps)}"
        )
        assert all(step in answered for step in steps), "an outcome MUST name the step that it is of"
        self.settle()
        return outcomes

    def have(self, open: Callable[[], Provisioner], *wished: Thing) -> Directory:
        """Carry out a plan for these things, each step of which MUST be done; return what is there then."""
        with open() as provisioner:
            made = plan(Directory.of(wished), provisioner.read(), provisioner.traits)
            assert not made.problems, made.problems
        for wave in made.waves:
            for outcome in self.carry_out(open, wave):
                assert isinstance(outcome, StepDone), f"the step MUST be carried out: {outcome}"
        with open() as provisioner:
            return provisioner.read()

    def full(self, traits: ProvisionerTraits, local: str = "anna") -> Employee:
        """Return an employee with a value in every field that the provisioner holds, but for the manager."""
        values: dict[str, Any] = {
            "name": "Anna 李 O'Neil",
            "number": "E-0042",
            "department": WEST.path,
            "title": "Head of sales",
            "mobile": "+49 170 1234567",
            "extension": "0042",
            "quota": 5120,
            "active": True,
            "aliases": frozenset({f"{local}.li@{self.domain}"}),
        }
        return self.employee(
            local, **{name: values[name] for name in values if name in traits.employee_fields}
        )

    # Reading.

    def test_an_organisation_can_be_read_twice(self, open: Callable[[], Provisioner]) -> None:
        """The same is told again, also by another provisioner, and closing twice is harmless."""
        with open() as provisioner:
            first = provisioner.read()
            assert provisioner.read() == first
            provisioner.close()
        with open() as provisioner:
            assert provisioner.read() == first

    def test_what_is_not_there_is_not_found(self, open: Callable[[], Provisioner]) -> None:
        """``look`` answers None, and raises nothing."""
        with open() as provisioner:
            for thing in (self.employee("nobody"), Group(f"none@{self.domain}"), Department(("No", "Where"))):
                assert provisioner.look(thing) is None

    def test_traits_name_fields_that_there_are(self, open: Callable[[], Provisioner]) -> None:
        """A misspelt field would never be compared."""
        with open() as provisioner:
            assert provisioner.traits.employee_fields <= EMPLOYEE_FIELDS

    def test_a_check_changes_nothing(self, open: Callable[[], Provisioner]) -> None:
        """What is sound has no fault, whether people are there or not."""
        nobody: list[Thing] = []
        for there in (nobody, [self.employee("anna"), WEST]):
            before = self.have(open, *there)
            with open() as provisioner:
                for remark in provisioner.remarks({self.domain}):
                    assert remark.level in ("ok", "note"), (
                        f"a sound organisation MUST have no fault: {remark}"
                    )
                assert provisioner.read() == before

    # Making.

    def test_departments_are_made_within_others(self, open: Callable[[], Provisioner]) -> None:
        """They are read and found by their paths."""
        there = self.have(open, WEST)
        with open() as provisioner:
            for department in (SALES, WEST):
                assert there.find(kind_of(department), key_of(department)) == department
                assert provisioner.look(department) == department

    def test_an_employee_is_made_with_all_fields(self, open: Callable[[], Provisioner]) -> None:
        """What ``traits`` names is stored, told by ``read`` and by ``look``, and the password is the given one."""
        with open() as provisioner:
            wished = self.full(provisioner.traits)
        self.have(open, WEST)
        step = Step(wished, password=lambda: "Corr3ct-Horse")
        assert self.carry_out(open, [step]) == [StepDone(step)]
        with open() as provisioner:
            for told in (
                provisioner.look(Employee(wished.address)),
                provisioner.read().employees[key_of(wished)],
            ):
                assert told is not None
                assert missing(wished, told) == {}
        assert self.has_password(wished.address, "Corr3ct-Horse")

    def test_an_employee_needs_no_more_than_an_address(self, open: Callable[[], Provisioner]) -> None:
        """Nothing else is invented: no number, no alias."""
        there = self.have(open, self.employee("plain")).employees[f"plain@{self.domain}"]
        assert (there.number or "", there.aliases, there.department or ()) == ("", NOBODY, ())

    def test_case_makes_no_second_thing(self, open: Callable[[], Provisioner]) -> None:
        """An address is found however it is spelt."""
        self.have(open, self.employee("anna", name="Anna"))
        with open() as provisioner:
            assert provisioner.look(Employee(f"ANNA@{self.domain}")) is not None

    def test_what_is_there_is_not_made_twice(self, open: Callable[[], Provisioner]) -> None:
        """A step that was carried out already is done or refused, and leaves one thing, as it was."""
        before = self.have(open, WEST, self.employee("anna", name="Anna"))
        steps = [Step(WEST), Step(self.employee("anna", name="Another"))]
        outcomes = self.carry_out(open, [steps[0]]) + self.carry_out(open, [steps[1]])
        assert isinstance(outcomes[1], StepNotDone), "an account that exists MUST NOT be made again"
        for outcome in outcomes:
            assert isinstance(outcome, StepDone) or isinstance(outcome.error, Refused)
        with open() as provisioner:
            assert provisioner.read() == before

    # Changing.

    def test_a_change_leaves_all_other_fields(self, open: Callable[[], Provisioner]) -> None:
        """Each field alone is set, and the rest of the person stays."""
        with open() as provisioner:
            wished, traits = self.full(provisioner.traits), provisioner.traits
        before = self.have(open, wished, SALES).employees[key_of(wished)]
        news: dict[str, Any] = {
            "name": "Ann",
            "number": "77",
            "department": SALES.path,
            "title": "Boss",
            "mobile": "0",
        }
        news |= {"extension": "1", "quota": 9, "active": False}
        for name in sorted(news.keys() & traits.employee_fields):
            now = evolve(before, **{name: news[name]})
            old = Employee(wished.address, **{name: getattr(before, name)})
            step = Step(Employee(wished.address, **{name: news[name]}), old)
            assert self.carry_out(open, [step]) == [StepDone(step)]
            with open() as provisioner:
                assert provisioner.look(wished) == now, f"only {name} MUST change"
            before = now

    def test_nothing_is_made_by_a_change(self, open: Callable[[], Provisioner]) -> None:
        """A change of what is not there is refused, and the next step is carried out all the same."""
        self.have(open, self.employee("anna"))
        nobody, anna = self.employee("nobody"), self.employee("anna")
        lost = Step(evolve(nobody, name="N"), nobody)
        good = Step(evolve(anna, name="A"), anna)
        outcomes = {outcome.step: outcome for outcome in self.carry_out(open, [lost, good])}
        assert isinstance(outcomes[good], StepDone)
        refused = outcomes[lost]
        assert isinstance(refused, StepNotDone)
        assert isinstance(refused.error, Refused)
        with open() as provisioner:
            assert provisioner.look(nobody) is None

    def test_a_rename_keeps_the_mailbox(self, open: Callable[[], Provisioner]) -> None:
        """All fields are found under the new address, and nothing under the old one."""
        with open() as provisioner:
            traits, wished = provisioner.traits, self.full(provisioner.traits)
        if not traits.renames:
            return
        before = self.have(open, wished).employees[key_of(wished)]
        renamed = Employee(f"anna.li-renamed@{self.domain}")
        step = Step(renamed, Employee(wished.address))
        assert self.carry_out(open, [step]) == [StepDone(step)]
        with open() as provisioner:
            there = provisioner.look(renamed)
            assert isinstance(there, Employee)
            assert evolve(there, address=before.address, aliases=before.aliases) == before
            assert key_of(wished) not in provisioner.read().employees

    def test_a_manager_is_set_when_both_are_there(self, open: Callable[[], Provisioner]) -> None:
        """Two people may even be each other's."""
        with open() as provisioner:
            if "manager" not in provisioner.traits.employee_fields:
                return
        anna, bob = (
            self.employee(name, manager=f"{other}@{self.domain}")
            for name, other in (("anna", "bob"), ("bob", "anna"))
        )
        there = self.have(open, anna, bob)
        assert there.employees[key_of(anna)].manager == bob.address

    def test_sets_only_grow(self, open: Callable[[], Provisioner]) -> None:
        """Members, owners and aliases that are there stay when others come; guests may be elsewhere."""
        with open() as provisioner:
            traits = provisioner.traits
        anna, bob = self.employee("anna"), self.employee("bob")
        if "aliases" in traits.employee_fields:
            first = self.have(open, evolve(anna, aliases=frozenset({f"a1@{self.domain}"})))
            second = self.have(open, evolve(anna, aliases=frozenset({f"a2@{self.domain}"})))
            assert second.employees[key_of(anna)].aliases == first.employees[key_of(anna)].aliases | {
                f"a2@{self.domain}"
            }
        if traits.groups:
            group = Group(f"all@{self.domain}", "All of us")
            self.have(
                open,
                anna,
                bob,
                evolve(group, owners=frozenset({anna.address}), members=frozenset({anna.address})),
            )
            more = frozenset({bob.address, "guest@else.example"})
            there = self.have(open, evolve(group, owners=frozenset({bob.address}), members=more)).groups[
                key_of(group)
            ]
            assert there.owners == {anna.address, bob.address}
            assert there.members == more | {anna.address}

    def test_groups_may_be_members(self, open: Callable[[], Provisioner]) -> None:
        """A group is found with its name, and stands in another."""
        with open() as provisioner:
            if not provisioner.traits.groups:
                return
        team = Group(f"team@{self.domain}", "Team")
        outer = Group(f"all@{self.domain}", "All", members=frozenset({team.address}))
        there = self.have(open, team, outer)
        assert there.groups[key_of(outer)].members == {team.address}
        with open() as provisioner:
            assert provisioner.look(Group(team.address)) == there.groups[key_of(team)]

    # The stream.

    def test_every_step_is_taken_and_answered(self, open: Callable[[], Provisioner]) -> None:
        """Also where one is refused in the middle, and where nothing is asked."""
        people = [self.employee(f"p{number}", name=str(number)) for number in range(5)]
        self.have(open, people[2])
        outcomes = self.carry_out(open, [Step(person) for person in people])
        done_ones = [outcome.step.key for outcome in outcomes if isinstance(outcome, StepDone)]
        assert sorted(done_ones) == [key_of(people[number]) for number in (0, 1, 3, 4)]
        assert self.carry_out(open, []) == []

    def test_a_plan_leads_to_an_empty_one(self, open: Callable[[], Provisioner]) -> None:
        """An organisation is made from nothing; what it has then is what was wished, each step done in its eyes."""
        wished = Directory.of(self._organisation())
        with open() as provisioner:
            made = plan(wished, provisioner.read(), provisioner.traits)
        for wave in made.waves:
            assert all(isinstance(outcome, StepDone) for outcome in self.carry_out(open, wave))
            with open() as provisioner:
                assert all(done(step, provisioner.look(step.thing)) for step in wave)
        with open() as provisioner:
            assert plan(wished, provisioner.read(), provisioner.traits).waves == ()

    def _organisation(self) -> Iterable[Thing]:
        people = [
            self.employee(
                f"person{number}",
                name=f"Person {number}",
                number=f"{number:04d}",
                department=(("Sales", "West"), ("Sales",), ("研发", "A & B"))[number % 3],
                manager=f"person{number // 2}@{self.domain}" if number else None,
            )
            for number in range(12)
        ]
        addresses = frozenset(each.address for each in people)
        groups = [
            Group(
                f"everybody@{self.domain}",
                "Everybody",
                owners=frozenset({people[0].address}),
                members=addresses,
            ),
            Group(
                f"few@{self.domain}",
                "Few",
                members=frozenset({people[3].address, f"everybody@{self.domain}"}),
            ),
        ]
        return [*people, *groups]
