"""An organisation with several old systems: one configuration, one roster, a column that says which."""

from __future__ import annotations

from pathlib import Path

import pytest

from alimail_core.config.load import loads
from alimail_core.errors import InputError
from alimail_core.registry import Registry
from alimail_core.spec import MigrationSpec

REGISTRY = Registry.load(["imap", "pop3", "alimail"])

HEAD = """
[migration]
name = "x"
roster = "r.csv"
[source]
kind = "imap"
host = "mail.old.example"
secret = "prompt"
"""
BRANCH = """[sources.Branch]
kind = "pop3"
host = "pop.old.example"
login = "local-part"
secret = "prompt"
"""
TARGET = """[target]
kind = "alimail"
secret = "prompt"
"""
TEXT = HEAD + BRANCH + TARGET


def read(folder: Path, text: str, *systems: str) -> MigrationSpec:
    """Read a configuration with an account for each of these systems."""
    rows = [f"u{number}@old.example,u{number}@new.example,{each}" for number, each in enumerate(systems)]
    (folder / "r.csv").write_text("\n".join(["source,target,原系统", *rows]), "utf-8")
    return loads(text, REGISTRY, path=folder / "alimail.toml")


def faults(folder: Path, text: str, *systems: str) -> list[tuple[str, str, str]]:
    """Return where each fault is, what it is, and how it is mended."""
    with pytest.raises(InputError) as caught:
        read(folder, text, *systems)
    return [(Path(fault.where).name, fault.message, fault.remedy) for fault in caught.value.faults]


def test_each_account_is_on_the_system_that_its_row_names(tmp_path: Path) -> None:
    """Protocol, server, login and the question for the password are those of its table."""
    first, second, third = read(tmp_path, TEXT, "", "branch", "BRANCH").accounts
    assert (first.source.kind, first.source.options.host, first.source_user) == (
        *("imap", "mail.old.example"),
        "u0@old.example",
    )
    assert (second.source.kind, second.source.options.host, second.source_user) == (
        *("pop3", "pop.old.example"),
        "u1",
    )
    assert second.source == third.source
    assert first.target == second.target
    assert first.source_secret != second.source_secret
    assert second.source_secret == third.source_secret


def test_a_system_that_there_is_not_is_named_with_its_cell(tmp_path: Path) -> None:
    """A slip in the column is a fault of its row, and the nearest name its remedy."""
    assert faults(tmp_path, TEXT, "branhc", "") == [
        ("r.csv!C2", "there is no [sources.branhc]", "did you mean branch?")
    ]


def test_a_row_with_another_fault_is_told_of_its_system_as_well(tmp_path: Path) -> None:
    """Nobody mends the one and then reads of the other."""
    (tmp_path / "r.csv").write_text(
        "source,target,system,wave\nu@old.example,u@new.example,branhc,two", "utf-8"
    )
    with pytest.raises(InputError) as caught:
        loads(TEXT, REGISTRY, path=tmp_path / "alimail.toml")
    places = {Path(fault.where).name: fault.message for fault in caught.value.faults}
    assert places == {
        "r.csv!D2": "the wave is not a whole number",
        "r.csv!C2": "there is no [sources.branhc]",
    }


def test_one_system_needs_no_name(tmp_path: Path) -> None:
    """Whoever fills in the column for nothing is told that there is no such table."""
    [(where, message, remedy)] = faults(tmp_path, HEAD + TARGET, "branch")
    assert (where, message) == ("r.csv!C2", "there is no [sources.branch]")
    assert "write one" in remedy


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (('host = "pop.old.example"\n', ""), ("alimail.toml:9", "host is missing")),
        (('"pop3"', '"pop4"'), ("alimail.toml:10", "pop4")),
        (('login = "local-part"', 'login = "domain"'), ("alimail.toml:12", "login must be")),
    ],
)
def test_faults_of_a_further_system_have_their_line(
    tmp_path: Path, change: tuple[str, str], told: tuple[str, str]
) -> None:
    """Its table is read as strictly as [source], and its rows are not blamed as well."""
    [(where, message, _)] = faults(tmp_path, TEXT.replace(*change), "branch")
    assert where == told[0]
    assert told[1] in message


@pytest.mark.parametrize(
    "text", [f"sources = 3\n{HEAD}", f"sources = [1]\n{HEAD}", f"{HEAD}[sources]\nbranch = 3\n"]
)
def test_sources_that_are_no_tables_are_refused(tmp_path: Path, text: str) -> None:
    """What is not written as a table is told, whatever stands there."""
    [(_, message, _)] = faults(tmp_path, text + TARGET, "")
    assert "sources.NAME" in message or "must be a table" in message
