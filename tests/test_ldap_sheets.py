"""Employees and groups as Active Directory and LDAP export them, by a map of headings."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alimail_core.config.load import load_provision
from alimail_core.provisioning.directory import Employee, Group
from alimail_core.provisioning.distinguished import (
    department_of,
    is_name,
    mail_addresses,
    names_of,
    parts,
    same_name,
)
from alimail_core.provisioning.roster import read_directory, scan_directory
from alimail_core.registry import Registry
from alimail_core.sheets.options import SheetOptions

ANNA = "CN=Li\\, Anna,OU=West,OU=Sales,OU=Staff,DC=corp,DC=example"
BOB = "CN=Bob,OU=Staff,DC=corp,DC=example"
TEAM = "CN=Team,OU=Lists,DC=corp,DC=example"
PROXIES = "SMTP:anna@new.example;smtp:a.li@new.example;X500:/o=Corp/cn=anna"
USERS = f"""#TYPE Selected.Microsoft.ActiveDirectory.Management.ADUser
"Name","DisplayName","SamAccountName","EmployeeID","Title","Department","DistinguishedName","Manager","proxyAddresses"
"anna","Li, Anna","anna","0042","Head","","{ANNA}","","{PROXIES}"
"bob","Bob","bob","0043","","","{BOB}","{ANNA.replace(chr(92) + ",", chr(92) + "2C")}",""
"svc","Robot","svc","","","Machines/北","CN=Robot,CN=Users,DC=corp,DC=example","",""
"""
GROUPS = f""""Name","mail","ManagedBy","Members","DistinguishedName"
"All","all@new.example","{BOB}","{ANNA};{TEAM}","CN=All,OU=Lists,DC=corp,DC=example"
"Team","team@new.example","","{BOB}","{TEAM}"
"""
OPTIONS = SheetOptions(
    {"Name": "ignored", "SamAccountName": "account", "proxyAddresses": "aliases"},
    {"Name": "group name", "mail": "group address", "ManagedBy": "owners"},
    "OU=Staff,DC=corp,DC=example",
)


@pytest.fixture
def sheets(tmp_path: Path) -> tuple[Path, Path]:
    """Write both exports."""
    users, groups = tmp_path / "users.csv", tmp_path / "groups.csv"
    users.write_text(USERS, "utf-8")
    groups.write_text(GROUPS, "utf-8-sig")
    return users, groups


def test_an_export_of_active_directory_is_read(sheets: tuple[Path, Path]) -> None:
    """OUs are departments, names mean people, and of addresses those of mail count."""
    roster = read_directory(*sheets, "new.example", options=OPTIONS)
    assert [row.employee for row in roster.employees] == [
        Employee("anna@new.example", "Li, Anna", "0042", ("Sales", "West"), "Head",
                 aliases=frozenset({"a.li@new.example"})),
        Employee("bob@new.example", "Bob", "0043", manager="anna@new.example"),
        Employee("svc@new.example", "Robot", department=("Machines", "北")),
    ]  # fmt: skip
    assert [row.group for row in roster.groups] == [
        Group(
            "all@new.example",
            "All",
            frozenset({"bob@new.example"}),
            frozenset({"anna@new.example", "team@new.example"}),
        ),
        Group("team@new.example", "Team", members=frozenset({"bob@new.example"})),
    ]


def test_exchange_s_list_of_addresses_is_read(tmp_path: Path) -> None:
    """As the guide says; its alias is no address."""
    (tmp_path / "addresses.csv").write_text(
        '"PrimarySmtpAddress","DisplayName","Alias","RecipientTypeDetails"\n"anna@x.example","Anna","anna","UserMailbox"\n'
    )
    options = SheetOptions({"PrimarySmtpAddress": "account", "Alias": "ignored"})
    roster = read_directory(tmp_path / "addresses.csv", options=options)
    assert [row.employee for row in roster.employees] == [Employee("anna@x.example", "Anna")]


def test_a_name_that_means_nobody_is_a_fault(sheets: tuple[Path, Path]) -> None:
    """With its cell."""
    users, groups = sheets
    groups.write_text(
        GROUPS.replace("CN=Team,OU=Lists,DC=corp,DC=example;", "").replace(
            "CN=Bob,OU=Staff", "CN=Rob,OU=Staff"
        )
    )
    roster = scan_directory(users, groups, "new.example", OPTIONS)
    assert [fault.where.rpartition("!")[2] for fault in roster.faults] == ["C2", "D3"]
    assert "CN=Rob" in roster.faults[0].message


def test_headings_stand_in_the_configuration(tmp_path: Path) -> None:
    """A column that there is not is a fault with its line."""
    config = tmp_path / "alimail.toml"
    config.write_text(
        '[migration]\nname = "x"\n[provision]\nemployees = "users.csv"\n'
        'employee_headings = { Name = "ignored", SamAccountName = "account" }\n'
        'group_headings = { mail = "group address" }\ndepartment_base = "OU=Staff,DC=corp"\n'
    )
    spec = load_provision(config, Registry())
    assert spec.sheets == SheetOptions(
        {"Name": "ignored", "SamAccountName": "account"}, {"mail": "group address"}, "OU=Staff,DC=corp"
    )


@pytest.mark.parametrize(
    ("name", "base", "department"),
    [
        ("CN=A,OU=b,OU=a,DC=x", "", ("a", "b")),
        ("cn=A, ou=b , Ou=a,dc=x", "", ("a", "b")),
        ('CN=A,OU="b, c",OU=R/D,DC=x', "", ("R-D", "b, c")),
        ("CN=A,OU=\\E8\\A5\\BF\\E9\\83\\A8,DC=x", "", ("西部",)),
        ("CN=A,CN=Users,DC=x", "", ()),
        ("CN=A,OU=b,OU=Staff,DC=x", "ou=staff,dc=X", ("b",)),
        ("CN=A,OU=Staff,DC=x", "OU=Staff,DC=x", ()),
        ("CN=A,OU=Else,DC=x", "OU=Staff,DC=x", None),
        ("CN=A+UID=1,OU=b", "", ("b",)),
        ("", "", ()),
    ],
)
def test_departments_are_ous_the_other_way_round(
    name: str, base: str, department: tuple[str, ...] | None
) -> None:
    """Within the base, and with RFC 4514's escapes."""
    assert department_of(name, base) == department


@given(st.text(), st.text())
def test_whatever_stands_there_is_read_without_a_bug(text: str, base: str) -> None:
    """No text is too odd."""
    department_of(text, base)
    is_name(text)
    list(names_of(text))
    mail_addresses(text)
    assert same_name(text) == same_name(text.strip())


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs", "Cc", "Z"]), min_size=1), min_size=1, max_size=5)
)
def test_what_is_escaped_comes_back(values: list[str]) -> None:
    """Every value that a directory may hold."""

    def escaped(value: str) -> str:
        return "".join(f"\\{each}" if each in '\\,+"=#;<>' else each for each in value)

    assert parts(",".join(f"OU={escaped(value)}" for value in values)) == [("OU", value) for value in values]


def test_only_mail_is_an_alias() -> None:
    """Other kinds of addresses are left out; plain lists stay as they are."""
    assert mail_addresses("SMTP:a@x;smtp:b@x;X500:/o=C,ou=D;sip:a@x") == "a@x;b@x"
    assert mail_addresses("a@x, b@x") == "a@x, b@x"
