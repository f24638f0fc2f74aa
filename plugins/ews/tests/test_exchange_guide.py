"""The guide for Exchange can be followed as far as the check: its commands run, and say what it says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from alimail_core import InputError, Registry, loads
from alimail_core.cli import main
from alimail_ews.admin.prepare import files, wishes
from alimail_ews.options import EwsOptions
from tests.exchange.fixtures import StartExchange

GUIDE = (Path(__file__).parents[3] / "docs" / "guides" / "exchange.md").read_text("utf-8")
SHOWN = re.findall(
    r"^```console\n\$ alimail (.*?)\n```\n(?:\n```text\n(.*?)```)?", GUIDE, re.MULTILINE | re.DOTALL
)
ADDRESSES = """#TYPE Selected.Microsoft.Exchange.Data.Directory.Management.Mailbox\r
"PrimarySmtpAddress","DisplayName","Alias","SamAccountName","RecipientTypeDetails","Database"\r
"anna@old.example","Anna","anna","anna","UserMailbox","MDB1"\r
"bob@old.example","Bob","bob","bob","UserMailbox","MDB1"\r
"o'neil@old.example","O'Neil","oneil","oneil","UserMailbox","MDB1"\r
"hall@old.example","Hall","hall","hall","RoomMailbox","MDB1"\r
"cloud@old.example","Cloud","cloud","cloud","RemoteUserMailbox",""\r
"""


def words(line: str) -> list[str]:
    """Return a table's line by its cells."""
    return re.split(r"  +", line.strip())


@pytest.mark.server
def test_the_guide_can_be_followed(
    exchange: StartExchange,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """In one folder, in the guide's order; the check asks a server with the same people."""
    monkeypatch.chdir(tmp_path)
    registry = Registry.load(only=["ews", "alimail", "imap"])
    Path("addresses.csv").write_text(ADDRESSES, newline="")
    Path("exceptions.csv").write_text("source address,target address\no'neil@old.example,oneil@new.example\n")
    Path("console.csv").write_text(
        "姓名,邮箱帐号\n" + "".join(f"x,{name}@new.example\n" for name in ("anna", "bob", "oneil", "hall"))
    )
    Path("superman.txt").write_text("secret\n")
    Path("superman.txt").chmod(0o600)
    (prepare, written), (roster, listed), (again, _), (check, table) = SHOWN[:4]

    assert main(shlex.split(prepare), registry) == 0
    assert capsys.readouterr().out == written
    assert main(shlex.split(roster), registry) == 3
    said = capsys.readouterr()
    assert said.out + said.err == listed
    assert main(shlex.split(again), registry) == 0
    capsys.readouterr()

    server = exchange()
    for name in ("anna", "bob", "hall"):
        server.organisation.add_mailbox(name)
    server.organisation.add_mailbox("superman", password="secret")
    account = server.organisation.account("superman")
    assert account is not None
    account.impersonates = {"anna@old.example", "hall@old.example"}
    place = check.replace("mail.old.example", f"localhost:{server.port}")
    assert main([*shlex.split(place), "--ca", str(server.ca_file)], registry) == 3
    lines = [words(line) for line in capsys.readouterr().out.splitlines()]
    for line in map(words, table.splitlines()):
        if line[0] in ("Step", "EWS", "login", "product", "mailboxes", "throttling"):
            assert line in lines


def test_its_configuration_is_one(tmp_path: Path) -> None:
    """The table for the source leads to the server, as the service account; public folders and tickets as it says."""
    text, public, ticket = re.findall(r"^```toml\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    (tmp_path / "accounts.csv").write_text("source address,target address\na@old.example,a@new.example\n")
    registry = Registry.load(only=["ews", "alimail", "imap"])
    spec = loads(text, registry, path=tmp_path / "alimail.toml")
    (account,) = spec.accounts
    options = account.source.options
    assert isinstance(options, EwsOptions)
    assert options.url == "https://mail.old.example/EWS/Exchange.asmx"
    assert options.master_user == "OLD\\superman"
    other = re.sub(r"\[source\].*?(?=\[target\])", lambda _: f"{ticket}\n", text, flags=re.DOTALL)
    options = loads(other, registry, path=tmp_path / "alimail.toml").accounts[0].source.options
    assert isinstance(options, EwsOptions)
    assert (options.auth, options.master_user) == ("kerberos", "superman@old.example")
    text = text.replace("[source]\n", public)
    with pytest.raises(InputError) as caught:
        loads(text, registry, path=tmp_path / "alimail.toml")
    assert [each.message for each in caught.value.faults] == [
        "public_folder_account is the source user of no account"
    ]
    with (tmp_path / "accounts.csv").open("a") as roster:
        print(*re.findall(r"in the roster the line `(\S+)`", GUIDE), file=roster)
    spec = loads(text, registry, path=tmp_path / "alimail.toml")
    options = spec.accounts[0].source.options
    assert isinstance(options, EwsOptions)
    assert options.brings_public_folders("superman@old.example")
    assert not options.brings_public_folders("a@old.example")


def test_the_steps_name_the_scripts_that_there_are() -> None:
    """Fifteen steps; each script that the guide names is written under that name, and none is missing from it."""
    steps = re.findall(r"^\| (\d+) \|", GUIDE, re.MULTILINE)
    assert steps == [str(number) for number in range(1, 16)]
    made = {name for name in files(wishes("2016", ["MDB1"], "old.example")) if name[0].isdigit()}
    told = set(re.findall(r"`(\d\d-[a-z-]+\.ps1)`", GUIDE))
    assert told == made
    full = files(wishes("2016", ["MDB1"], "old.example", full_access=True))
    assert all(
        any(name.endswith(each) for name in full) for each in ("full-access-one.ps1", "full-access-all.ps1")
    )
