"""The scripts for every version: they parse, Exchange has what they call, and nothing is changed unasked."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
import tree_sitter_powershell
from tree_sitter import Language, Node, Parser

from alimail_ews.admin.prepare import files, wishes
from alimail_ews.admin.versions import VERSIONS

HERE = Path(__file__).parent
PARSER = Parser(Language(tree_sitter_powershell.language()))
CMDLETS = tomllib.loads((HERE / "cmdlets.toml").read_text("utf-8"))
SPANS = {
    "all": tuple(VERSIONS),
    "since 2010": ("2010", "2013", "2016", "2019", "se"),
    "since 2013": ("2013", "2016", "2019", "se"),
    "until 2010": ("2007", "2010"),
}
COMMON = {"ErrorAction"}
"""Parameters that every command has."""
WAYS = ("least", "full access", "as in the guide")
CHANGING = re.compile(r"(Add|New|Remove|Restart|Set)-(?!Content\b)")
EVERY = [(version, way) for version in VERSIONS for way in WAYS]


def scripts(version: str, way: str = "as in the guide") -> dict[str, str]:
    """Return the text of every script by its name."""
    return dict(_scripts(version, way))


@cache
def _scripts(version: str, way: str) -> dict[str, str]:
    wished = wishes(
        version,
        ["MDB1", "数据库 2"],
        "old.example",
        full_access=way == "full access",
        as_in_guide=way == "as in the guide",
    )
    return {
        name: octets.decode("utf-8-sig").replace("\r\n", "\n")
        for name, octets in files(wished).items()
        if name.endswith(".ps1")
    }


def beneath(node: Node) -> Iterator[Node]:
    """Give a node and everything in it."""
    yield node
    for child in node.children:
        yield from beneath(child)


def words(node: Node) -> str:
    """Return a node's own text."""
    assert node.text is not None
    return node.text.decode()


@cache
def parsed(text: str) -> Node:
    """Return a script's tree."""
    return PARSER.parse(text.encode()).root_node


@cache
def commands(tree: Node) -> list[tuple[str, set[str], Node]]:
    """Return the commands that a script calls by name, with the parameters that it gives them."""
    return list(_commands(tree))


def _commands(tree: Node) -> Iterator[tuple[str, set[str], Node]]:
    for node in beneath(tree):
        if node.type == "command" and (
            name := next((n for n in node.children if n.type == "command_name"), None)
        ):
            elements = [n for n in node.children if n.type == "command_elements"]
            parameters = {
                words(n).removeprefix("-")
                for e in elements
                for n in e.children
                if n.type == "command_parameter"
            }
            yield words(name), parameters, node


def functions(*texts: str) -> dict[str, set[str]]:
    """Return the functions that scripts define, with their parameters."""
    found = {}
    for text in texts:
        for node in beneath(parsed(text)):
            if node.type == "function_statement":
                name = words(next(n for n in node.children if n.type == "function_name"))
                heads = [n for n in node.children if n.type == "function_parameter_declaration"]
                found[name] = {
                    words(v).removeprefix("$")
                    for head in heads
                    for v in beneath(head)
                    if v.type == "variable"
                }
    return found


@pytest.mark.parametrize(("version", "way"), EVERY)
def test_powershell_parses_every_script(version: str, way: str) -> None:
    """No script has an error or a missing piece."""
    for name, text in scripts(version, way).items():
        faults = [words(n)[:80] for n in beneath(parsed(text)) if n.type == "ERROR" or n.is_missing]
        assert not faults, (name, faults)


@pytest.mark.parametrize(("version", "way"), EVERY)
def test_every_command_has_what_it_is_given(version: str, way: str) -> None:
    """Each command is in the table for this version, with each of its parameters, and none is shortened."""
    made = scripts(version, way)
    ours = functions(*made.values())
    for name, text in made.items():
        for command, parameters, _ in commands(parsed(text)):
            if command in ours:
                known = ours[command]
            else:
                entries = CMDLETS.get(command, {})
                found = [entry for span, entry in entries.items() if version in SPANS.get(span, (span,))]
                assert len(found) == 1, f"{name}: {command} is not in the table for {version}"
                assert found[0]["source"].startswith("https://"), command
                known = set(found[0]["parameters"]) | COMMON
            assert parameters <= known, f"{name}: {command} {parameters - known}"


def test_the_table_has_nothing_that_no_script_calls() -> None:
    """What stands in it is used, so that it cannot grow stale."""
    used = {
        (command, version)
        for version, way in EVERY
        for text in scripts(version, way).values()
        for command, _, _ in commands(parsed(text))
    }
    for command, entries in CMDLETS.items():
        for span in entries:
            assert any((command, version) in used for version in SPANS.get(span, (span,))), (command, span)


@pytest.mark.parametrize(("version", "way"), EVERY)
def test_nothing_changes_without_having_been_told(version: str, way: str) -> None:
    """Each command that changes something stands in a block that ``Confirm-Change`` opens, and -WhatIf keeps shut."""
    changes = 0
    for name, text in scripts(version, way).items():
        for command, _, node in commands(parsed(text)):
            if CHANGING.match(command) and command not in ("Add-FullAccess", "Add-Right"):
                changes += 1
                assert _asked_first(node), f"{name}: {words(node)}"
    assert changes > 5


def _asked_first(node: Node) -> bool:
    while node.parent is not None:
        block, node = node, node.parent
        if block.type == "statement_block" and node.type in ("if_statement", "elseif_clause"):
            condition = words(node).partition("{")[0]
            if "Confirm-Change" in condition:
                return True
    return False


@pytest.mark.parametrize(("version", "way"), EVERY)
def test_what_is_kept_can_be_undone(version: str, way: str) -> None:
    """Each kind of value that a step keeps is put back by ``undo.ps1``, which knows of no others."""
    made = scripts(version, way)
    undo = made.pop("undo.ps1")

    def keys(text: str, command: str) -> set[str]:
        found = re.findall(rf"{command} \(?'([a-zA-Z ]+)[|']", text)
        return set(found)

    kept = set().union(*(keys(text, "Save-Kept") for text in made.values()))
    undone = keys(undo, "Clear-Kept") | set(re.findall(r"StartsWith\('([a-zA-Z ]+)\|'\)", undo))
    assert kept == undone
    assert {"account", "MaxConcurrentApi"} < kept


@pytest.mark.parametrize("version", VERSIONS)
def test_the_way_back_goes_in_reverse_order(version: str) -> None:
    """What was done last is undone first."""
    made = scripts(version)
    steps = "".join(made[name] for name in sorted(made) if name[0].isdigit())
    undo = made["undo.ps1"]
    pairs = [
        ("New-Mailbox", "Remove-Mailbox "),
        ("Add-ADPermission", "Remove-ADPermission"),
        ("New-ManagementRoleAssignment", "Remove-ManagementRoleAssignment"),
        ("Add-FullAccess $", "Remove-MailboxPermission"),
        ("New-ThrottlingPolicy", "Remove-ThrottlingPolicy"),
        ("Set-ThrottlingPolicyAssociation", "Set-ThrottlingPolicyAssociation"),
        ("New-ItemProperty", "Remove-ItemProperty"),
    ]
    there = [(do, back) for do, back in pairs if do in steps]
    assert len(there) >= 4
    assert [undo.index(back) for _, back in there] == sorted(
        (undo.index(back) for _, back in there), reverse=True
    )
    assert [steps.index(do) for do, _ in there] == sorted(steps.index(do) for do, _ in there)


@pytest.mark.parametrize(("version", "way"), EVERY)
def test_all_runs_each_step_once_and_hands_on_what_if(version: str, way: str) -> None:
    """``all.ps1`` calls every numbered script in its order, each with -WhatIf."""
    made = scripts(version, way)
    called = re.findall(r"& \(Join-Path \$Here '([^']+)'\) -WhatIf:\$WhatIf", made["all.ps1"])
    assert called == sorted(name for name in made if name[0].isdigit())
    assert [int(name[:2]) for name in called] == list(range(1, len(called) + 1))


@pytest.mark.parametrize(("version", "way"), EVERY)
def test_names_stand_in_one_file(version: str, way: str) -> None:
    """No script but ``values.ps1`` holds anything from outside, and all others are plain ASCII."""
    for name, text in scripts(version, way).items():
        if name == "values.ps1":
            assert "'数据库 2'" in text
        else:
            assert text.isascii(), name
            assert not re.search(r"MDB1|old\.example|superman", text), name


@pytest.mark.parametrize(("version", "way"), EVERY)
def test_the_oldest_powershell_of_a_version_is_enough(version: str, way: str) -> None:
    """Nothing is used that PowerShell 1 (2007) and 2 (2010) lack, and no text runs into a variable's name."""
    later = r"\btry\b|\bcatch\b|PSScriptRoot|\[ordered\]|-(not)?in\b|\[PSCustomObject\]|CmdletBinding"
    for name, text in scripts(version, way).items():
        code = re.sub(r"(?m)^\s*#.*$", "", text)
        assert not re.search(later, code, re.IGNORECASE), name
        assert not re.search(r'"[^"\n]*\$\w+:', code), name


@pytest.mark.parametrize("version", VERSIONS)
def test_no_password_is_written(version: str) -> None:
    """A password is asked for as a secure string, at the machine, and handed to the one command that needs it."""
    made = scripts(version)
    (asking,) = (name for name, text in made.items() if "AsSecureString" in text)
    assert asking == "01-create-account.ps1"
    assert made[asking].count("$password") == 2
    assert not any("ConvertTo-SecureString" in text or "AsPlainText" in text for text in made.values())


def test_files_are_read_by_windows_powershell() -> None:
    """Every file is UTF-8 with a BOM and CRLF, and the same wishes give the same octets."""
    wished = wishes("2016", ["MDB1"], "old.example", full_access=True)
    made = files(wished)
    assert made == files(wishes("2016", ["MDB1"], "old.example", full_access=True))
    for octets in made.values():
        assert octets.startswith(b"\xef\xbb\xbf")
        assert octets.count(b"\n") == octets.count(b"\r\n") > 0
        assert octets.endswith(b"\r\n")


def test_versions_differ_where_exchange_does() -> None:
    """The scripts of each version against those of the one before it, line by line, are as they were looked through.

    After a change that is meant: print ``differences()`` into the file, and read it.
    """
    assert differences() == (HERE / "differences.diff").read_text("utf-8")


def differences() -> str:
    """Return what changes from version to version, without the product's name."""
    lines: list[str] = []
    versions = list(VERSIONS)
    for older, newer in pairwise(versions):
        before, after = ("".join(_plain(v)) for v in (older, newer))
        diff = difflib.unified_diff(before.splitlines(), after.splitlines(), older, newer, n=0, lineterm="")
        lines += list(diff) or [f"--- {older}", f"+++ {newer}", "(the same)"]
    return "\n".join(lines) + "\n"


def _plain(version: str) -> Iterator[str]:
    product = VERSIONS[version].product
    for name, text in scripts(version, "full access").items():
        yield f"== {name[3:] if name[0].isdigit() else name}\n"
        yield re.sub(r"\b\d\d-(?=[a-z-]+\.ps1)", "", text.replace(product, "Exchange"))


@pytest.mark.parametrize(
    ("version", "said", "unsaid"),
    [
        (
            "2007",
            ["ms-Exch-EPI-Impersonation", "ms-Exch-EPI-May-Impersonate"],
            ["ThrottlingPolicy", "ManagementScope"],
        ),
        (
            "2010",
            ["-CPUStartPercent $null", "-EWSFindCountLimit $null", "Set-Mailbox"],
            ["Unlimited\n", "EPI"],
        ),
        (
            "2013",
            ["-EwsCutoffBalance Unlimited", "-ThrottlingPolicyScope Regular"],
            ["PercentTime", "Set-Mailbox "],
        ),
        ("se", ["-EwsRechargeRate Unlimited", "-AutoMapping $false"], ["PercentTime", "EPI"]),
    ],
)
def test_each_version_gets_its_own_commands(version: str, said: list[str], unsaid: list[str]) -> None:
    """What one version has and another lacks stands where it belongs."""
    text = "".join(scripts(version).values()).replace("-ResultSize Unlimited", "")
    assert all(word in text for word in said)
    assert not [word for word in unsaid if word in text]


def test_twelve_limits_are_lifted_in_2010() -> None:
    """As many as the guide lifts."""
    assert "".join(scripts("2010").values()).count(" $null `\n") + 1 == 12


@pytest.mark.parametrize("version", [version for version in VERSIONS if version != "2007"])
def test_impersonation_is_scoped_unless_the_guide_is_asked_for(version: str) -> None:
    """By default only the migrated mailboxes; FullAccess on wish alone."""
    least, guide = "".join(scripts(version, "least").values()), "".join(scripts(version).values())
    assert "-CustomRecipientWriteScope" in least
    assert "MailboxPermission" not in least
    assert "ManagementScope" not in guide
    assert "Add-MailboxPermission" in guide
