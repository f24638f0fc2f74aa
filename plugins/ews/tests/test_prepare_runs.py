"""The scripts are run, in a shell of our own over an organisation in memory: twice, cut off anywhere, and back.

There is no PowerShell here, so this proves the scripts' logic, not Exchange: what its commands truly do, only a real
one can tell.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from alimail_ews.admin.prepare import wishes, write
from alimail_ews.admin.versions import VERSIONS
from plugins.ews.tests.exchange_shell import Organisation
from tests.powershell import Shell, Stopped

WAYS: dict[str, dict[str, bool]] = {
    "least": {},
    "full access": {"full_access": True},
    "as in the guide": {"as_in_guide": True},
}
EVERY = [(version, way) for version in VERSIONS for way in WAYS]


def prepared(folder: Path, version: str, way: str = "least") -> Path:
    """Write the scripts for one wish."""
    write(wishes(version, ["MDB1"], "old.example", **WAYS[way]), folder)  # type: ignore[arg-type]
    return folder


def organisation(**wishes: Any) -> Organisation:
    """Three people, one with a policy of his own, and what is no mailbox of a person."""
    made = Organisation(**wishes)
    made.add("anna")
    made.add("bob", policy="Finance")
    made.add("discovery", details="DiscoveryMailbox")
    return made


def run(made: Organisation, folder: Path, script: str = "all.ps1", **arguments: Any) -> Shell:
    """Run a script in a shell of its own."""
    shell = made.shell()
    shell.run(folder / script, **arguments)
    return shell


@pytest.mark.parametrize(("version", "way"), EVERY)
def test_what_if_changes_nothing(tmp_path: Path, version: str, way: str) -> None:
    """Neither in the organisation nor in the folder; it tells what would happen, and asks for no password."""
    made, folder = organisation(), prepared(tmp_path, version, way)
    before, files = made.state(), sorted(folder.iterdir())
    said = run(made, folder, WhatIf=True).said
    assert made.state() == before
    assert (made.changes, made.passwords, made.restarts) == (0, 0, 0)
    assert sorted(folder.iterdir()) == files
    assert sum(line.startswith("What if: ") for line in said) >= 5
    run(made, folder, "undo.ps1", WhatIf=True)
    assert made.state() == before


@pytest.mark.parametrize(("version", "way"), EVERY)
def test_all_is_done_and_undone(tmp_path: Path, version: str, way: str) -> None:
    """After ``all.ps1`` the account may read everybody; after ``undo.ps1`` all is as it was."""
    made, folder = organisation(), prepared(tmp_path, version, way)
    before = made.state()
    said = run(made, folder).said
    assert "superman" in made.mailboxes
    assert (made.passwords, made.restarts) == (1, 1)
    assert made.registry == {"MaxConcurrentApi": 100}
    assert bool(made.assignments) is (version != "2007")
    assert bool(made.scopes) is (version != "2007" and way != "as in the guide")
    assert len(made.rights) == (3 if version == "2007" else 0)
    people = {"anna@old.example", "bob@old.example"}
    assert {address for address, _ in made.full_access} == (people if way != "least" else set())
    if version != "2007":
        assert "SupermanPolicy has no limits, and applies to all." in said
        assert {made.mailboxes[name]["ThrottlingPolicy"] for name in ("anna", "bob", "superman")} == {
            "SupermanPolicy"
        }
        assert made.mailboxes["discovery"]["ThrottlingPolicy"] == ""
    run(made, folder, "undo.ps1")
    assert made.state() == before
    assert made.restarts == 2


@pytest.mark.parametrize(("version", "way"), EVERY)
def test_run_twice_is_run_once(tmp_path: Path, version: str, way: str) -> None:
    """A second run changes nothing but that Netlogon restarts, a second undo nothing; and then all goes anew."""
    made, folder = organisation(), prepared(tmp_path, version, way)
    before = made.state()
    run(made, folder)
    after, changes = made.state(), made.changes
    run(made, folder)
    assert made.state() == after
    assert made.changes == changes + 1
    run(made, folder, "undo.ps1")
    said = run(made, folder, "undo.ps1").said
    assert "There is nothing to undo." in said
    assert made.state() == before
    made.registry["MaxConcurrentApi"] = 7
    run(made, folder)
    run(made, folder, "undo.ps1")
    assert made.registry == {"MaxConcurrentApi": 7}


def test_the_value_of_the_beginning_is_put_back(tmp_path: Path) -> None:
    """What somebody changed between two runs is set again, and is not what the way back puts there."""
    made, folder = organisation(registry={"MaxConcurrentApi": 7}), prepared(tmp_path, "2016")
    before = made.state()
    run(made, folder)
    made.registry["MaxConcurrentApi"] = 50
    made.mailboxes["bob"]["ThrottlingPolicy"] = ""
    run(made, folder)
    assert made.registry == {"MaxConcurrentApi": 100}
    run(made, folder, "undo.ps1")
    assert made.state() == before


@pytest.mark.slow
@pytest.mark.parametrize("version", ["2007", "2010", "2016"])
def test_what_is_cut_off_anywhere_goes_on_and_goes_back(tmp_path: Path, version: str) -> None:
    """The n-th change fails, for every n: run again it is whole, and undone it is as before, cut off or not."""
    whole = organisation()
    run(whole, prepared(tmp_path / "whole", version, "full access"))
    for number in range(1, whole.changes + 1):
        for goes_on in (True, False):
            made = organisation(break_at=number)
            before = made.state()
            folder = prepared(tmp_path / f"{number}{goes_on}", version, "full access")
            with pytest.raises(Stopped):
                run(made, folder)
            if goes_on:
                run(made, folder)
                assert made.state() == whole.state()
            run(made, folder, "undo.ps1")
            assert made.state() == before


@pytest.mark.slow
@pytest.mark.parametrize("version", ["2007", "2010", "2016"])
def test_an_undo_that_is_cut_off_goes_on(tmp_path: Path, version: str) -> None:
    """The n-th change of the way back fails, for every n: run again, all is as it was."""
    whole = organisation()
    run(whole, prepared(tmp_path / "whole", version, "full access"))
    forth = whole.changes
    run(whole, tmp_path / "whole", "undo.ps1")
    for number in range(forth + 1, whole.changes + 1):
        made = organisation()
        before = made.state()
        folder = prepared(tmp_path / str(number), version, "full access")
        run(made, folder)
        made.break_at = number
        with pytest.raises(Stopped):
            run(made, folder, "undo.ps1")
        run(made, folder, "undo.ps1")
        assert made.state() == before


@pytest.mark.parametrize("version", ["2007", "2010", "2016"])
def test_what_was_there_before_is_not_undone(tmp_path: Path, version: str) -> None:
    """An account, a right, a policy and a higher value that somebody had made stay, forth and back."""
    made, folder = organisation(), prepared(tmp_path, version, "full access")
    made.add("superman")
    made.full_access.add(("anna@old.example", "superman"))
    made.registry["MaxConcurrentApi"] = 150
    if version == "2007":
        made.rights.add(("CN=EX1", "superman", "ms-Exch-EPI-Impersonation"))
    else:
        made.assignments["alimail impersonation"] = ("superman", None)
        made.policies["SupermanPolicy"] = {"EWSMaxConcurrency": "10"}
    before = made.state()
    said = " ".join(run(made, folder).said)
    assert made.passwords == 0
    assert made.registry == {"MaxConcurrentApi": 150}
    assert ("EWSMaxConcurrency is 10" in said) is (version != "2007")
    run(made, folder, "undo.ps1")
    assert made.state() == before


def test_a_list_that_was_edited_stays(tmp_path: Path) -> None:
    """Lines that were taken out of the CSV stay out of all steps, and a second export does not bring them."""
    made, folder = organisation(), prepared(tmp_path, "2016", "full access")
    run(made, folder, "03-export-addresses.ps1")
    lines = (folder / "addresses.csv").read_text("utf-8-sig").splitlines()
    assert [line.split(",")[0] for line in lines] == [
        '"PrimarySmtpAddress"',
        '"anna@old.example"',
        '"bob@old.example"',
    ]
    (folder / "addresses.csv").write_text("\n".join(lines[:2]) + "\n", "utf-8-sig")
    run(made, folder)
    assert made.full_access == {("anna@old.example", "superman")}
    assert made.mailboxes["bob"]["ThrottlingPolicy"] == "Finance"


def test_a_mailbox_that_is_not_there_does_not_stop_the_others(tmp_path: Path) -> None:
    """It is told, and the next ones get the policy."""
    made, folder = organisation(), prepared(tmp_path, "2016")
    csv = '"PrimarySmtpAddress"\n"gone@old.example"\n"bob@old.example"\n'
    (folder / "addresses.csv").write_text(csv, "utf-8-sig")
    said = " ".join(run(made, folder).said)
    assert "There is no mailbox gone@old.example" in said
    assert made.mailboxes["bob"]["ThrottlingPolicy"] == "SupermanPolicy"


def test_before_sp1_the_policy_is_applied_the_older_way(tmp_path: Path) -> None:
    """Exchange 2010 without Set-ThrottlingPolicyAssociation, forth and back."""
    made, folder = organisation(has_association=False), prepared(tmp_path, "2010")
    before = made.state()
    run(made, folder)
    assert made.mailboxes["anna"]["ThrottlingPolicy"] == "SupermanPolicy"
    run(made, folder, "undo.ps1")
    assert made.state() == before


def test_steps_in_the_wrong_order_say_which_comes_first(tmp_path: Path) -> None:
    """Without an account there is nobody to give rights to, and without a list nobody to give them for."""
    made, folder = organisation(), prepared(tmp_path, "2016", "full access")
    with pytest.raises(Stopped, match="run the first script"):
        run(made, folder, "02-impersonation.ps1")
    run(made, folder, "01-create-account.ps1")
    with pytest.raises(Stopped, match="exports them"):
        run(made, folder, "05-full-access-all.ps1")
    assert made.changes == 1


def test_another_machine_puts_its_own_value_back(tmp_path: Path) -> None:
    """On a shared folder each server keeps its own value; the way back on one leaves the other's to that one."""
    made, folder = organisation(), prepared(tmp_path, "2016")
    run(made, folder)
    other = Organisation(mailboxes=made.mailboxes, registry={"MaxConcurrentApi": 5})
    second = other.shell()
    second._scopes[0]["env:computername"] = "EX2"
    second.run(folder / "07-max-concurrent-api.ps1")
    assert other.registry == {"MaxConcurrentApi": 100}
    said = " ".join(run(made, folder, "undo.ps1").said)
    assert "MaxConcurrentApi of EX2 is put back by this script on EX2" in said
    assert made.registry == {}
    back = other.shell()
    back._scopes[0]["env:computername"] = "EX2"
    back.run(folder / "undo.ps1")
    assert other.registry == {"MaxConcurrentApi": 5}


def test_full_access_to_one_is_tried_with_the_first_or_the_one_named(tmp_path: Path) -> None:
    """``-Mailbox`` names it; without it the first of the list is taken."""
    made, folder = organisation(), prepared(tmp_path, "2016", "full access")
    run(made, folder, "01-create-account.ps1")
    run(made, folder, "04-full-access-one.ps1", Mailbox="bob@old.example")
    assert made.full_access == {("bob@old.example", "superman")}
    run(made, folder, "03-export-addresses.ps1")
    run(made, folder, "04-full-access-one.ps1")
    assert ("anna@old.example", "superman") in made.full_access
