"""What ``alimail check`` tells of an application."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from alimail_core import Employee, Remark, Step
from alimail_core.testing import FakeClock
from alimail_directory.provisioner import open_provisioner
from alimail_directory.testing import Fault, OpenPlatform, OpenPlatformServer


@pytest.fixture
def server() -> Iterator[OpenPlatformServer]:
    """Serve an organisation with one person."""
    with OpenPlatformServer(OpenPlatform(calls_per_second=100_000)) as server:
        with open_provisioner(server.options(), FakeClock()) as provisioner:
            list(provisioner.carry_out([Step(Employee("Anna@x.example"))]))
        yield server


def remarks(server: OpenPlatformServer, *domains: str) -> list[Remark]:
    """Try the application; it must not write anything."""
    writes = server.platform.writes
    with open_provisioner(server.options(), FakeClock()) as provisioner:
        told = list(provisioner.remarks(domains))
    assert server.platform.writes == writes
    return told


def test_each_permission_that_is_missing_is_told_at_once(server: OpenPlatformServer) -> None:
    """With what to allow, each once."""
    server.platform.permissions = {"GET departments"}
    assert [(each.level, each.remedy) for each in remarks(server, "x.example")] == [
        ("fault", "Allow the application to read mail groups, in the console at API Open Platform."),
        ("note", "Allow the application to read mail folders, in the console at API Open Platform."),
    ]
    server.platform.permissions = {"GET users"}
    told = remarks(server, "x.example")
    assert [each.level for each in told] == ["fault"] * 3
    assert "read departments" in told[0].remedy


def test_another_organisation_is_noticed(server: OpenPlatformServer) -> None:
    """By the domain of who is there; an organisation without people says nothing."""
    assert [each.level for each in remarks(server, "X.example", "y.example")] == ["ok"]
    assert [each.level for each in remarks(server, "y.example")] == ["ok", "warning"]
    server.platform.users.clear()
    assert [each.level for each in remarks(server, "y.example")] == ["ok"]


def test_counts_of_mail_are_no_condition(server: OpenPlatformServer) -> None:
    """Who cannot ask for them moves mail all the same."""

    def denied(_address: str) -> list[dict[str, object]]:
        raise Fault(403, "AccessDenied", "no")

    server.platform.mail_folders = denied
    assert [each.level for each in remarks(server, "x.example")] == ["ok", "note"]
