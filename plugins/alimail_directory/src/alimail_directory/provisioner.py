"""An organisation of Alibaba Mail by its Open Platform API, as alimail's contract has a provisioner.

Several calls are under way at once; the domain's pace is the client's. What decides about a step is the API's answer
to the call that makes or changes the thing. A step of several calls that stops between two of them is in doubt.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from typing import TypeVar

from alimail_core import (
    AlimailError,
    Clock,
    Denied,
    Department,
    DepartmentPath,
    Directory,
    Employee,
    FolderCount,
    Group,
    InDoubt,
    MailCount,
    Provisioner,
    ProvisionerTraits,
    Refused,
    Remark,
    SpecialUse,
    Step,
    StepDone,
    StepNotDone,
    Thing,
    Transient,
    fold,
    key_of,
)
from alimail_directory.api import (
    ADD_ALIAS,
    ADD_MEMBERS,
    CHANGE_GROUP,
    CHANGE_USER,
    GET_GROUP,
    GET_USER,
    INBOX_ID,
    LIST_FOLDERS,
    LIST_GROUPS,
    LIST_MEMBERS,
    LIST_USERS,
    MAKE_DEPARTMENT,
    MAKE_GROUP,
    MAKE_USER,
    PAGE,
    ROOT,
    SPECIAL_FOLDERS,
    Call,
)
from alimail_directory.client import Client, Exists, Json, NotThere, listed, number
from alimail_directory.departments import Departments
from alimail_directory.mapping import (
    HELD,
    department_ids,
    employee_of,
    group_of,
    new_user,
    text_of,
    texts_of,
    user_fields,
)
from alimail_directory.options import ApiOptions
from alimail_directory.trying import remarks_of

T = TypeVar("T")
R = TypeVar("R")


def open_provisioner(options: ApiOptions, clock: Clock) -> ApiProvisioner:
    """Get a token. See ``ProvisionerKind.open``."""
    client = Client(options, clock)
    try:
        client.log_in()
    except BaseException:
        client.close()
        raise
    return ApiProvisioner(client, options)


class ApiProvisioner(Provisioner):
    """One session of an application in its organisation."""

    def __init__(self, client: Client, options: ApiOptions) -> None:
        self._client = client
        self._options = options
        self._pool = ThreadPoolExecutor(options.connections, thread_name_prefix="alimail-directory")
        self._departments = Departments(client)
        self._department_ids: dict[str, list[str]] = {}
        """The departments of people, by key: somebody may be in several, and the model has the first."""
        self._group_ids: dict[str, str] = {}
        self._most_members: int | None = None
        self._fatal: AlimailError | None = None
        """Why nobody may go on, once that is known."""

    @property
    def traits(self) -> ProvisionerTraits:
        """Tell what the API holds: no quota of a mailbox. The most members are known once a group was read."""
        return ProvisionerTraits(HELD, max_members=self._most_members, counts_mail=True)

    # Reading.

    def read(self) -> Directory:
        """Read departments from the organisation downwards, their people, and the groups."""
        self._departments = Departments(self._client)
        groups = self._pool.submit(lambda: list(self._client.pages(LIST_GROUPS)))
        holding = [ROOT, *self._read_departments()]
        users = {text_of(user, "email"): user for each in self._all(self._users_of, holding) for user in each}
        employees = [self._employee(user) for user in users.values()]
        made = self._all(self._group, groups.result())
        departments = [Department(path) for path in self._departments.paths.values() if path]
        things = [*departments, *(each for each in (*employees, *made) if each is not None)]
        return Directory.of({(type(each), key_of(each)): each for each in things}.values())

    def _read_departments(self) -> Iterator[str]:
        """Read all departments, a level at a time; give the ids of those that may have people."""
        level = [ROOT]
        while level:
            told = [each for children in self._all(self._children, level) for each in children]
            level = [id for each, id, _ in told if each.get("hasSubDepartments") is not False]
            yield from (id for each, id, _ in told if each.get("hasUsers") is not False)

    def _children(self, parent: str) -> list[tuple[Json, str, DepartmentPath]]:
        return list(self._departments.children(parent))

    def _users_of(self, department: str) -> list[Json]:
        return list(self._client.pages(LIST_USERS, department))

    def _employee(self, user: Json) -> Employee | None:
        employee = employee_of(user, self._departments.paths)
        if employee is not None:
            self._department_ids[key_of(employee)] = department_ids(user)
        return employee

    def _group(self, group: Json) -> Group | None:
        found = group_of(group, self._members(text_of(group, "id") or text_of(group, "email")))
        if found is not None:
            self._group_ids[key_of(found)] = text_of(group, "id") or found.address
            most = number(group.get("itemCountLimit"), 0)
            if most > 0:
                self._most_members = most if self._most_members is None else min(self._most_members, most)
        return found

    def _members(self, group: str) -> frozenset[str]:
        return frozenset(
            filter(None, (text_of(each, "email") for each in self._client.pages(LIST_MEMBERS, group)))
        )

    def _all(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        return self._pool.map(function, items)

    def look(self, thing: Thing) -> Thing | None:
        """Ask for one thing by its id or address, which sees a change soonest."""
        if isinstance(thing, Department):
            path = self._departments.look(thing.path)
            return None if path is None else Department(path)
        return self._look_employee(thing.address) if isinstance(thing, Employee) else self._look_group(thing)

    def _look_employee(self, address: str) -> Employee | None:
        user = self._told(GET_USER, _spelt(address))
        if user is None:
            return None
        for each in department_ids(user):
            self._departments.learn(each)
        found = self._employee(user)
        # Asked by an alias the API may answer with the person who has it: that is another one.
        return found if found is not None and key_of(found) == fold(address) else None

    def _look_group(self, group: Group) -> Group | None:
        name = self._group_ids.get(key_of(group), _spelt(group.address))
        told = self._told(GET_GROUP, name)
        found = None if told is None else self._group(told)
        return found if found is not None and key_of(found) == key_of(group) else None

    def _told(self, call: Call, name: str) -> Json | None:
        """Ask for one mailbox; ``None`` only where the API says in so many words that there is none."""
        try:
            told = self._client.call(call, name)
        except NotThere:
            return None
        if not text_of(told, "email"):
            raise Transient(f"the API answered {call.path} without an address")
        return told

    def count_mail(self, addresses: Iterable[str]) -> Iterator[MailCount]:
        """Tell how many messages each folder of each mailbox has, by the API."""
        return self._all(self._count, addresses)

    def _count(self, address: str) -> MailCount:
        try:
            return MailCount(address, tuple(self._folders_of(address)))
        except Refused as error:
            return MailCount(address, reason=error.message)

    def _folders_of(self, address: str) -> Iterator[FolderCount]:
        for folder in listed(self._client.call(LIST_FOLDERS, _spelt(address)), LIST_FOLDERS):
            id, messages = text_of(folder, "id"), number(folder.get("totalItemCount"), 0)
            special = SPECIAL_FOLDERS.get(id)
            use = None if special is None else SpecialUse[special]
            yield FolderCount(text_of(folder, "displayName"), messages, use, id == INBOX_ID)

    def remarks(self, domains: Collection[str]) -> Iterator[Remark]:
        """Tell what the application may read, and whose organisation it is in."""
        return remarks_of(self._client, domains)

    # Carrying out.

    def carry_out(self, steps: Iterable[Step]) -> Iterator[StepDone | StepNotDone]:
        """Have as many steps under way as there are connections."""
        coming, under_way = iter(steps), dict[Future[StepDone | StepNotDone], Step]()
        fatal: AlimailError | None = None
        more = True
        while more or under_way:
            while more and fatal is None and len(under_way) < self._options.connections:
                step = next(coming, None)
                if step is None:
                    more = False
                else:
                    under_way[self._pool.submit(self._outcome, step)] = step
            if fatal is not None:
                more = False
            for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                del under_way[future]
                outcome = future.result()
                fatal = fatal or self._fatal
                yield outcome
        if fatal is not None:
            raise fatal

    def _outcome(self, step: Step) -> StepDone | StepNotDone:
        """Carry out one step. Never raises but for a bug."""
        try:
            self._do(step)
        except (Refused, InDoubt) as error:
            return StepNotDone(step, error)
        except Transient as error:  # of a first call: nothing of the step was sent
            self._fatal = error
            return StepNotDone(step, error)
        except Denied as error:
            self._fatal = error
            return StepNotDone(step, Transient(error.message))
        return StepDone(step)

    def _do(self, step: Step) -> None:
        if isinstance(step.thing, Department):
            self._make_department(step.thing)
        elif isinstance(step.thing, Employee):
            self._make_employee(step, step.thing) if step.makes else self._change_employee(step, step.thing)
        elif step.makes:
            self._make_group(step.thing)
        else:
            self._change_group(step.thing)

    def _make_department(self, department: Department) -> None:
        parent = self._need_department(department.path[:-1])
        body = {"name": department.path[-1], "parentId": parent}
        self._departments.note(parent, self._client.call(MAKE_DEPARTMENT, body=body))

    def _need_department(self, path: DepartmentPath) -> str:
        found = self._departments.id_of(path)
        if found is None:
            raise Refused(f"there is no department {'/'.join(path)}")
        return found

    def _make_employee(self, step: Step, employee: Employee) -> None:
        department = self._need_department(employee.department or ())
        force = self._options.force_password_change
        self._client.call(MAKE_USER, body=new_user(step, department, force_password_change=force))
        if employee.aliases:
            _in_doubt_if_stopped(lambda: self._add_aliases(employee.address, employee))

    def _change_employee(self, step: Step, employee: Employee) -> None:
        assert isinstance(step.before, Employee)
        address, body = step.before.address, user_fields(employee)
        if employee.department is not None:
            body["departmentIds"] = self._departments_with(address, employee.department)
        if key_of(employee) != fold(address):
            self._rename(address, employee.address)
            address = employee.address
        begun = key_of(employee) != key_of(step.before)
        if body:
            self._go_on(begun, lambda: self._client.call(CHANGE_USER, _spelt(address), body=body))
        if employee.aliases:
            self._go_on(begun or bool(body), lambda: self._add_aliases(address, employee))

    def _go_on(self, begun: bool, action: Callable[[], object]) -> None:
        if begun:
            _in_doubt_if_stopped(action)
        else:
            action()

    def _departments_with(self, address: str, wished: DepartmentPath) -> list[str]:
        """Return a person's departments with ``wished`` in the place of the first one; all others stay."""
        if fold(address) not in self._department_ids:
            self._look_employee(address)
        new, known = self._need_department(wished), self._department_ids.get(fold(address), [])
        return [new, *(each for each in (known if new in known else known[1:]) if each != new)]

    def _rename(self, address: str, new: str) -> None:
        """Give another address, by the user's id. Whether the API does that was not found, so it is looked at."""
        user = self._client.call(GET_USER, _spelt(address))
        told = self._client.call(CHANGE_USER, text_of(user, "id") or _spelt(address), body={"email": new})
        if fold(text_of(told, "email") or new) != fold(new):
            raise Refused(
                f"the API left the address {text_of(told, 'email')} as it was",
                remedy=f"rename {address} in the console",
            )

    def _add_aliases(self, address: str, employee: Employee) -> None:
        """Add each alias; one that is there already must be this person's own."""
        for number_before, alias in enumerate(sorted(employee.aliases)):
            self._go_on(number_before > 0, partial(self._add_alias, address, alias))

    def _add_alias(self, address: str, alias: str) -> None:
        try:
            self._client.call(ADD_ALIAS, _spelt(address), body={"alias": alias})
        except Exists:
            there = self._look_employee(address)
            if there is None or fold(alias) not in map(fold, there.aliases):
                raise

    def _make_group(self, group: Group) -> None:
        body: Json = {"email": group.address, "name": group.name or group.address.partition("@")[0]}
        if group.owners:
            body["admins"] = sorted(group.owners)
        told = self._client.call(MAKE_GROUP, body=body)
        self._group_ids[key_of(group)] = text_of(told, "id") or _spelt(group.address)
        if group.members:
            _in_doubt_if_stopped(lambda: self._add_members(self._group_ids[key_of(group)], group.members))

    def _change_group(self, group: Group) -> None:
        told = self._client.call(GET_GROUP, self._group_ids.get(key_of(group), _spelt(group.address)))
        id = text_of(told, "id") or _spelt(group.address)
        owners = texts_of(told, "admins")
        body: Json = {} if group.name is None else {"name": group.name}
        if group.owners:
            known = {fold(each) for each in owners}
            body["admins"] = [*owners, *sorted(each for each in group.owners if fold(each) not in known)]
        if body:
            self._client.call(CHANGE_GROUP, id, body=body)
        if group.members:
            self._go_on(bool(body), lambda: self._add_members(id, group.members))

    def _add_members(self, group: str, members: frozenset[str]) -> None:
        """Add members, some at once. Where one is there already, it was added meanwhile: ask again for the rest."""
        wanted = sorted(members)
        for at in range(0, len(wanted), PAGE):
            some = wanted[at : at + PAGE]
            self._go_on(at > 0, partial(self._add_some, group, some))

    def _add_some(self, group: str, members: list[str]) -> None:
        try:
            self._client.call(ADD_MEMBERS, group, body={"members": members})
        except Exists:
            known = {fold(each) for each in self._members(group)}
            rest = [each for each in members if fold(each) not in known]
            if len(rest) == len(members):
                raise
            if rest:
                self._client.call(ADD_MEMBERS, group, body={"members": rest})

    def close(self) -> None:
        """Let what is under way end, and let go of the service."""
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._client.close()


def _in_doubt_if_stopped(action: Callable[[], object]) -> None:
    """Do what belongs to a step of which a part is done: whatever stops it leaves the step in doubt."""
    try:
        action()
    except AlimailError as error:
        if isinstance(error, Refused | Transient | Denied):
            raise InDoubt(
                f"a part of it is done, and then: {error.message}", over=True, remedy=error.remedy
            ) from None
        raise


def _spelt(address: str) -> str:
    """Return an address as the API is asked by it."""
    return address.lower()
