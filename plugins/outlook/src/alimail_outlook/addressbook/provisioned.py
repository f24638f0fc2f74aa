"""The people that a configuration's provisioner tells, such as Alibaba Mail's Open Platform API."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from attrs import define, field

from alimail_core import Clock, Department, Employee, Endpoint, Provisioner, Registry, Remark, load_provision
from alimail_outlook.addressbook.book import Person
from alimail_outlook.addressbook.check import Directory


@define
class Provisioned(Directory):
    """A provisioner as an address book. It tells everybody at once; the search is ours."""

    title: ClassVar[str] = "provisioner"

    endpoint: Endpoint
    registry: Registry
    clock: Clock = field(factory=Clock)
    _open: Provisioner | None = field(default=None, init=False)
    _people: list[Person] = field(factory=list, init=False)

    @classmethod
    def configured(cls, config: Path, registry: Registry) -> Provisioned | None:
        """Return that of a configuration, ``None`` where it names none. Raises ``InputError`` for its faults."""
        endpoint = load_provision(config, registry).endpoint
        return None if endpoint is None else cls(endpoint, registry)

    @property
    def where(self) -> str:
        """Name the plug-in."""
        return f"[provision] kind = {self.endpoint.kind}"

    def log_in(self) -> Remark:
        """Open it: its options have the application that gets in."""
        self._open = self.registry.provisioner(self.endpoint.kind).open(self.endpoint.options, self.clock)
        return Remark("ok", f"{self.where} lets the application in")

    def offer(self) -> Remark:
        """Read everybody."""
        assert self._open is not None
        directory = self._open.read()
        self._people = [person_of(each) for each in directory.employees.values() if each.active is not False]
        if not self._people:
            return Remark("fault", "it has nobody", "Make the accounts first: `alimail provision`.")
        return Remark("ok", f"people: {len(self._people):,}, departments: {len(directory.departments):,}")

    def search(self, text: str) -> list[Person]:
        """Return everybody: who is meant is told from that."""
        return self._people

    def people(self) -> list[Person]:
        """Return all who can log in. Raises ``AlimailError`` where they cannot be had."""
        try:
            self.log_in()
            self.offer()
            return self._people
        finally:
            self.close()

    def close(self) -> None:
        """Let go of the service."""
        if self._open is not None:
            self._open.close()
            self._open = None


def person_of(employee: Employee) -> Person:
    """Return what an address book shows of an employee: not the mobile number, which is the person's own."""
    return Person(
        employee.address,
        employee.name or "",
        Department(employee.department).name if employee.department else "",
        employee.title or "",
        employee.extension or "",
    )
