"""``kill -9`` at any write: the same command goes on, and ends as if nothing had happened."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from alimail_core.provisioning.passwords import PasswordFile
from alimail_directory.testing import OpenPlatform, OpenPlatformServer

EMPLOYEES = """name,account,employee number,department,manager,aliases
Anna,anna@x.example,1,Sales/West,bob@x.example,
Bob,bob@x.example,2,Sales,,b@x.example
Carl,carl@x.example,3,研发,bob@x.example,
"""
GROUPS = (
    "group name,group address,owners,members\nAll,all@x.example,bob@x.example,anna@x.example;carl@x.example\n"
)
CONFIG = """[migration]
name = "kill"

[provision]
kind = "alimail"
url = "{url}"
application_id = "env:APPLICATION_ID"
application_secret = "env:APPLICATION_SECRET"
calls_per_second = 2000.0
connections = 3
employees = "employees.csv"
groups = "groups.csv"

[transfer]
settle_seconds = 0.2
"""
WRITES = 13
"""Departments, employees, an alias, a group, its members, managers."""


@pytest.fixture
def server() -> Iterator[OpenPlatformServer]:
    """Found an organisation."""
    with OpenPlatformServer(OpenPlatform(calls_per_second=100_000)) as made:
        yield made


def start(folder: Path, server: OpenPlatformServer, *words: str) -> subprocess.Popen[str]:
    """Begin a command in a process of its own."""
    (folder / "alimail.toml").write_text(CONFIG.format(url=server.url))
    (folder / "employees.csv").write_text(EMPLOYEES)
    (folder / "groups.csv").write_text(GROUPS)
    own = {"APPLICATION_ID": "app", "APPLICATION_SECRET": server.platform.application_secret}
    command = [str(Path(sys.executable).parent / "alimail"), "provision", *words]
    return subprocess.Popen(
        command, cwd=folder, env=os.environ | own, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def finish(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Return the exit code of a process, and what it said."""
    told, _ = process.communicate(timeout=600)
    return process.returncode, told


def held(platform: OpenPlatform) -> Mapping[str, Any]:
    """Return what the service has, without what differs each time."""
    paths = {each["id"]: each["name"] for each in platform.departments.values()} | {"$root": ""}
    users = {
        each["email"]: [each.get(key) for key in ("name", "employeeNo", "managerEmail", "emailAliases")]
        + [paths[id] for id in each["departmentIds"]]
        for each in platform.users.values()
    }
    groups = {each["email"]: (each["admins"], sorted(each["_members"])) for each in platform.groups.values()}
    places = sorted((each["name"], paths[each["parentId"]]) for each in platform.departments.values())
    return {"users": users, "groups": groups, "departments": places}


@pytest.mark.slow
@pytest.mark.long(sample=2)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("at", range(1, WRITES + 1))
def test_killed_at_any_write_it_goes_on(
    tmp_path: Path, server: OpenPlatformServer, at: int, when: str
) -> None:
    """Everything is there once, with the passwords in the file, and the plan is empty then."""
    killed = start(tmp_path, server, "apply", "--yes", "--quiet")
    server.platform.strikes = {at: (when, lambda: os.kill(killed.pid, signal.SIGKILL))}
    code, told = finish(killed)
    assert code == (-signal.SIGKILL if at <= server.platform.writes else 0), told
    code, told = finish(start(tmp_path, server, "apply", "--yes", "--quiet"))
    assert code == 0, told
    assert "everything is there as wished" in told
    assert held(server.platform) == {
        "users": {
            "anna@x.example": ["Anna", "1", "bob@x.example", [], "West"],
            "bob@x.example": ["Bob", "2", None, ["b@x.example"], "Sales"],
            "carl@x.example": ["Carl", "3", "bob@x.example", [], "研发"],
        },
        "groups": {"all@x.example": (["bob@x.example"], ["anna@x.example", "carl@x.example"])},
        "departments": [("Sales", ""), ("West", "Sales"), ("研发", "")],
    }
    kept = PasswordFile(tmp_path / "passwords.csv")
    for user in server.platform.users.values():
        assert kept.get(user["email"]) == server.platform.passwords[user["id"]]
        assert kept.get(user["email"]) not in told
    code, told = finish(start(tmp_path, server, "plan", "--detailed-exitcode"))
    assert code == 0, told
