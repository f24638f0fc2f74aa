"""Employees, departments and groups as the API writes them, and back. Fields that it has besides are ignored."""

from __future__ import annotations

import secrets
from collections.abc import Collection, Mapping
from typing import Any, Final

from alimail_core import DepartmentPath, Employee, Group, Step
from alimail_directory.api import EMPLOYEE_FIELDS, STATES
from alimail_directory.client import Json

HELD: Final = frozenset({*EMPLOYEE_FIELDS, "department", "active", "aliases"})
"""The fields of an employee that the API has; not the quota of a mailbox."""


def employee_of(user: Json, paths: Mapping[str, DepartmentPath]) -> Employee | None:
    """Return a user as an employee, ``None`` for one without an address.

    ``paths`` has the departments by id. The API leaves empty fields out, so what is absent is empty.
    """
    address = text_of(user, "email")
    if "@" not in address:
        return None
    values: dict[str, Any] = {name: text_of(user, key) for name, key in EMPLOYEE_FIELDS.items()}
    if not values["manager"] and isinstance(user.get("managerInfo"), dict):
        values["manager"] = text_of(user["managerInfo"], "email")
    ids = department_ids(user)
    states = {spelt: active for active, spelt in STATES.items()}
    return Employee(
        address,
        **values,
        department=next((paths[each] for each in ids if each in paths), None if ids else ()),
        active=states.get(text_of(user, "status")),
        aliases=frozenset(texts_of(user, "emailAliases")),
    )


def group_of(group: Json, members: Collection[str]) -> Group | None:
    """Return a group with its members, ``None`` for one without an address."""
    address = text_of(group, "email")
    if "@" not in address:
        return None
    return Group(address, text_of(group, "name"), frozenset(texts_of(group, "admins")), frozenset(members))


def user_fields(employee: Employee) -> Json:
    """Return the fields of a user that are set, but for the department and the aliases."""
    fields = {key: getattr(employee, name) for name, key in EMPLOYEE_FIELDS.items()}
    if employee.active is not None:
        fields["status"] = STATES[employee.active]
    return {key: value for key, value in fields.items() if value is not None}


def new_user(step: Step, department_id: str, *, force_password_change: bool) -> Json:
    """Return what makes a user. The API needs a name, a password and a department, whatever is wished."""
    employee = step.thing
    assert isinstance(employee, Employee)
    fields = user_fields(employee)
    fields = {key: value for key, value in fields.items() if value != ""}
    fields["email"] = employee.address
    fields.setdefault("name", employee.address.partition("@")[0])
    fields["departmentIds"] = [department_id]
    fields["password"] = step.password() if step.password is not None else unknown_password()
    if force_password_change:
        fields["forceChangePasswordNextSignIn"] = True
    return fields


def unknown_password() -> str:
    """Return a password that nobody knows, for an account that was given none."""
    return f"Aa1-{secrets.token_urlsafe(30)}"


def department_ids(user: Json) -> list[str]:
    """Return the departments that a user is in; those of the organisation itself have its id, or none."""
    return texts_of(user, "departmentIds")


def text_of(answer: Json, key: str) -> str:
    """Return a field as text; empty where it is absent."""
    value = answer.get(key)
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def texts_of(answer: Json, key: str) -> list[str]:
    """Return the texts of a list; those of objects are their addresses."""
    values = answer.get(key)
    items = values if isinstance(values, list) else []
    texts = [text_of(each, "email") if isinstance(each, dict) else str(each) for each in items]
    return [each for each in texts if each]
