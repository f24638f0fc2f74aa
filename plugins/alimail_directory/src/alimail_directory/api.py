"""The Open Platform API in one table: every host, path, field and limit that this distribution speaks of.

The marks say how sure each is: **V** the vendor's own pages, **T** seen in programs of others that use it, **?** by
analogy. What a tenant answers otherwise is corrected here and nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote

from attrs import frozen

HOSTS: Final[Mapping[str, str]] = {
    "cn": "alimail-cn.aliyuncs.com",
    "hk": "alimail-hk.aliyuncs.com",
    "sg": "alimail-sg.aliyuncs.com",
    "de": "alimail-de.aliyuncs.com",
    "us": "alimail-us.aliyuncs.com",
}
"""The host of each site (V)."""

ROOT: Final = "$root"
"""The id of the organisation itself among departments (T)."""

PAGE: Final = 100
"""The most items of one page (T), and of one request that names several."""

CALLS_PER_SECOND: Final = 40.0
"""What a whole domain has, over all its applications (T)."""


@frozen
class Call:
    """One operation: its method and path, whose places are filled in their order, and what it needs."""

    method: str
    path: str
    permission: str
    """What an application must be allowed in the console, in words: the console's own name was not found."""

    @property
    def writes(self) -> bool:
        """Tell whether it may change something."""
        return self.method != "GET"

    def at(self, *names: str) -> str:
        """Return the path, with ids or addresses in their places."""
        return self.path.format(*(quote(name, safe="@$") for name in names))


READ_DEPARTMENTS, WRITE_DEPARTMENTS = "read departments", "manage departments"
READ_USERS, WRITE_USERS = "read users", "manage users"
READ_GROUPS, WRITE_GROUPS = "read mail groups", "manage mail groups"
READ_FOLDERS = "read mail folders"

TOKEN_PATH: Final = "/oauth2/v2.0/token"  # noqa: S105 - a path. T; a form of these fields, and nothing else
TOKEN_FIELDS: Final = frozenset({"grant_type", "client_id", "client_secret"})

# T: POST answers the new department. The listings take offset and limit, and answer `total`.
GET_DEPARTMENT: Final = Call("GET", "/v2/departments/{}", READ_DEPARTMENTS)
LIST_DEPARTMENTS: Final = Call("GET", "/v2/departments/{}/departments", READ_DEPARTMENTS)
MAKE_DEPARTMENT: Final = Call("POST", "/v2/departments", WRITE_DEPARTMENTS)

# T: a user is named by id or address; POST and PATCH answer the user.
LIST_USERS: Final = Call("GET", "/v2/departments/{}/users", READ_USERS)
GET_USER: Final = Call("GET", "/v2/users/{}", READ_USERS)
MAKE_USER: Final = Call("POST", "/v2/users", WRITE_USERS)
CHANGE_USER: Final = Call("PATCH", "/v2/users/{}", WRITE_USERS)
ADD_ALIAS: Final = Call("POST", "/v2/users/{}/emailAliases", WRITE_USERS)

# ?: the paths by analogy; the fields of a group are T.
LIST_GROUPS: Final = Call("GET", "/v2/groups", READ_GROUPS)
GET_GROUP: Final = Call("GET", "/v2/groups/{}", READ_GROUPS)
MAKE_GROUP: Final = Call("POST", "/v2/groups", WRITE_GROUPS)
CHANGE_GROUP: Final = Call("PATCH", "/v2/groups/{}", WRITE_GROUPS)
LIST_MEMBERS: Final = Call("GET", "/v2/groups/{}/members", READ_GROUPS)
ADD_MEMBERS: Final = Call("POST", "/v2/groups/{}/members", WRITE_GROUPS)

# T.
LIST_FOLDERS: Final = Call("GET", "/v2/users/{}/mailFolders", READ_FOLDERS)

ITEMS: Final[Mapping[Call, tuple[str, ...]]] = {
    LIST_DEPARTMENTS: ("departments",),
    LIST_USERS: ("users",),
    LIST_GROUPS: ("groups",),
    LIST_MEMBERS: ("members", "items"),
    LIST_FOLDERS: ("folders", "value"),
}
"""Under which name a listing has its items; of several the first that is there (of folders, both were seen)."""

EMPLOYEE_FIELDS: Final[Mapping[str, str]] = {
    "name": "name",
    "number": "employeeNo",
    "title": "jobTitle",
    "mobile": "phone",
    "extension": "workPhone",
    "manager": "managerEmail",
}
"""Plain texts of an employee, by their names in alimail (T). Department, state and aliases have other forms."""

STATES: Final[Mapping[bool, str]] = {True: "NORMAL", False: "FREEZE"}
"""Of a user, by whether somebody can log in (T)."""

INBOX_ID: Final = "2"
SPECIAL_FOLDERS: Final[Mapping[str, str]] = {"1": "SENT", "3": "JUNK", "5": "DRAFTS", "6": "TRASH"}
"""The ids of the folders that every mailbox has, with the names of ``SpecialUse`` (T)."""
