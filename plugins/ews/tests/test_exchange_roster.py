"""``alimail exchange roster``: what Export-Csv writes becomes a roster, and nothing is lost without a word."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alimail_core import InputError, Registry
from alimail_core.cli import main
from alimail_core.commands import read_roster
from alimail_ews.admin.roster import KINDS, Wish, outcome, read_accounts, read_exceptions

HEADINGS = (
    "PrimarySmtpAddress",
    "DisplayName",
    "Alias",
    "SamAccountName",
    "RecipientTypeDetails",
    "Database",
)
TYPE = "#TYPE Selected.Microsoft.Exchange.Data.Directory.Management.Mailbox"
Rows = Sequence[tuple[str, str]]


def exported(rows: Rows, *, kind: bool = True, headings: Sequence[str] = HEADINGS) -> str:
    """Return what Export-Csv writes of mailboxes: every cell quoted, CRLF, its type in the first line."""
    lines = [TYPE] if kind else []
    lines.append(",".join(f'"{each}"' for each in headings))
    for address, details in rows:
        alias = address.partition("@")[0]
        cells = (address, f"Name of {alias}", alias, alias, details, "MDB1")
        lines.append(",".join('"{}"'.format(each.replace('"', '""')) for each in cells))
    return "".join(f"{line}\r\n" for line in lines)


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """Return where the list will be."""
    return tmp_path / "addresses.csv"


def people(*addresses: str) -> Rows:
    """Return mailboxes of people."""
    return [(address, "UserMailbox") for address in addresses]


def run(*words: object) -> int:
    """Run the verb with this plug-in alone."""
    return main(["exchange", "roster", *map(str, words)], Registry.load(only=["ews"]))


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "utf-8", "gb18030", "ascii"])
@pytest.mark.parametrize("kind", [True, False])
def test_every_way_of_export_csv_is_read(listed: Path, encoding: str, kind: bool) -> None:
    """UTF-16 as ``-Encoding Unicode`` writes it, UTF-8, the code page of a Chinese Windows; with #TYPE or without."""
    name = "anna@old.example" if encoding == "ascii" else "anna@旧.example"
    listed.write_bytes(exported(people(name, "bob@old.example"), kind=kind).encode(encoding))
    found = outcome(listed, Wish("new.example"))
    assert [(each.address, each.target) for each in found.accounts] == [
        (name, "anna@new.example"),
        ("bob@old.example", "bob@new.example"),
    ]
    assert not found.inconsistent


def test_the_roster_is_one_that_alimail_reads(listed: Path, tmp_path: Path) -> None:
    """What is written comes back as the same accounts, by the core's own reader."""
    listed.write_text(exported(people("Anna@old.example", "bob@old.example")))
    for name in ("a.csv", "a.xlsx"):
        assert run(listed, "--target-domain", "New.Example", "-o", tmp_path / name) == 0
        rows = read_roster(tmp_path / name)
        assert [(row.source_address, row.target_address) for row in rows] == [
            ("Anna@old.example", "anna@new.example"),
            ("bob@old.example", "bob@new.example"),
        ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('"DisplayName","Database"\r\n"Anna","MDB1"\r\n', "no headings"),
        ("", "nothing in it"),
        (
            exported(people("a@b.example")).replace('"PrimarySmtpAddress"', '"Identity"'),
            "name PrimarySmtpAddress",
        ),
        (exported([]), "no mailbox"),
        ('"PrimarySmtpAddress","PrimarySmtpAddress"\r\n"a@b","c@d"\r\n', "2 columns"),
        ('"PrimarySmtpAddress\r\n"a', "quotation"),
    ],
)
def test_another_list_is_refused_with_how_to_export_it(
    listed: Path, text: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Other columns, an empty file, half a file: one clear fault and the command that makes the right one."""
    listed.write_text(text)
    assert run(listed, "--target-domain", "new.example") == 2
    error = capsys.readouterr().err
    assert told in error
    assert "Get-Mailbox -ResultSize Unlimited" in error
    assert "-Encoding UTF8" in error


def test_columns_that_are_not_needed_do_not_matter(listed: Path) -> None:
    """A list of addresses alone is enough, and a full export of Get-Mailbox says nothing of its other columns."""
    listed.write_text('"PrimarySmtpAddress"\r\n"anna@old.example"\r\n')
    assert len(outcome(listed, Wish("new.example")).accounts) == 1
    many = ("Name", "EmailAddresses", "WindowsEmailAddress", *HEADINGS)
    row = (
        "x",
        "SMTP:anna@old.example",
        "anna@old.example",
        "anna@old.example",
        "A",
        "anna",
        "anna",
        "UserMailbox",
        "M",
    )
    listed.write_text("\r\n".join(",".join(f'"{cell}"' for cell in line) for line in (many, row)))
    found = outcome(listed, Wish("new.example"))
    assert [each.target for each in found.accounts] == ["anna@new.example"]
    assert not found.remarks


def test_kinds_are_told_and_what_cannot_be_moved_is_left_out(
    listed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Shared and room mailboxes are found; Exchange's own, those in the cloud and contacts are not accounts."""
    rows = [
        ("anna@old.example", "UserMailbox"),
        ("sales@old.example", "SharedMailbox"),
        ("hall@old.example", "RoomMailbox"),
        ("car@old.example", "EquipmentMailbox"),
        ("health@old.example", "MonitoringMailbox"),
        ("cloud@old.example", "RemoteUserMailbox"),
        ("guest@other.example", "MailContact"),
    ]
    listed.write_text(exported(rows))
    assert run(listed, "--target-domain", "new.example", "-o", tmp_path / "a.csv") == 0
    said = capsys.readouterr().out
    assert "without an owner: 3 of them" in said
    assert said.count("left out:") == 3
    assert "Exchange Online" in said
    words = ("--target-domain", "new.example", "--without", "room", "--without", "equipment")
    assert run(listed, *words, "-o", tmp_path / "b.csv") == 0
    assert [row.source_address for row in read_roster(tmp_path / "b.csv")] == [
        "anna@old.example",
        "sales@old.example",
    ]


def test_prefixes_that_cannot_stay_are_named_with_what_to_do(
    listed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two that meet at one target, one with characters that no account has: the others are written."""
    listed.write_text(
        exported(people("anna@old.example", "bob@old.example", "Bob@sub.old.example", "o'neil@old.example"))
    )
    assert run(listed, "--target-domain", "new.example", "-o", tmp_path / "a.csv") == 3
    told = capsys.readouterr().err
    assert told.count("to be decided:") == 3
    assert told.count("--map") == 3
    assert [row.source_address for row in read_roster(tmp_path / "a.csv")] == ["anna@old.example"]


def test_a_sheet_of_exceptions_decides(
    listed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its addresses go where it says, whatever the case; what it names and the list has not is told."""
    listed.write_text(exported(people("bob@old.example", "bob@sub.old.example", "o'neil@old.example")))
    sheet = tmp_path / "exceptions.csv"
    sheet.write_text(
        "source address,target address\n"
        "BOB@sub.old.example,bob2@new.example\n"
        "o'neil@old.example,oneil@new.example\n"
        "nobody@old.example,nobody@new.example\n"
    )
    words = ("--target-domain", "new.example", "--map", sheet, "-o", tmp_path / "a.csv")
    assert run(listed, *words) == 0
    assert "nobody@old.example" in capsys.readouterr().out
    assert [row.target_address for row in read_roster(tmp_path / "a.csv")] == [
        "bob@new.example",
        "bob2@new.example",
        "oneil@new.example",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "source address,target address\na@old.example,nonsense\n",
        "source address,target address\na@old.example,a@n.example\nA@old.example,b@n.example\n",
        "a,b\n",
    ],
)
def test_a_sheet_of_exceptions_with_faults_is_refused(tmp_path: Path, text: str) -> None:
    """No address, two targets for one, no headings."""
    sheet = tmp_path / "exceptions.csv"
    sheet.write_text(text)
    with pytest.raises(InputError):
        read_exceptions(sheet)


def test_accounts_of_the_new_system_are_compared(listed: Path, tmp_path: Path) -> None:
    """A mailbox without an account there is named, with both ways out; the console's headings are known."""
    console = tmp_path / "console.csv"
    console.write_text("姓名,邮箱帐号\nAnna,Anna@new.example\n")
    listed.write_text(exported(people("anna@old.example", "bob@old.example")))
    found = outcome(listed, Wish("new.example", accounts=read_accounts(console)))
    assert [each.address for each in found.accounts] == ["anna@old.example"]
    (refusal,) = found.inconsistent
    assert "bob@new.example" in refusal.why
    assert "alimail provision" in refusal.remedy
    assert "--map" in refusal.remedy


def test_letters_that_the_export_lost_are_told(listed: Path) -> None:
    """Windows PowerShell writes ASCII by itself: names become question marks, and the remark says why."""
    listed.write_text('"PrimarySmtpAddress","DisplayName"\r\n"anna@old.example","??"\r\n')
    (remark,) = outcome(listed, Wish("new.example")).remarks
    assert "-Encoding UTF8" in remark.remedy


def test_faults_of_the_command_are_told_together(listed: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A domain that is none, a kind and a language that there are not."""
    listed.write_text(exported(people("anna@old.example")))
    words = ("--target-domain", "new example", "--without", "people", "--language", "de")
    assert run(listed, *words) == 2
    told = capsys.readouterr().err
    assert all(option in told for option in ("--target-domain", "--without", "--language"))


def test_json_has_everything(listed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One document, ASCII alone, with what was written and what is to be decided."""
    listed.write_text(
        exported([*people("anna@old.example", "ö@old.example"), ("x@old.example", "MailUser")]), "utf-8"
    )
    assert run(listed, "--target-domain", "new.example", "-o", tmp_path / "a.csv", "--json") == 3
    out = capsys.readouterr().out
    assert out.isascii()
    told = json.loads(out)
    assert told["accounts"] == [
        {"address": "anna@old.example", "target": "anna@new.example", "kind": "person"}
    ]
    assert [each["address"] for each in told["inconsistent"]] == ["ö@old.example"]
    assert [each["address"] for each in told["left_out"]] == ["x@old.example"]


addresses = st.lists(
    st.tuples(
        st.sampled_from(["anna", "Anna", "bob", "o'neil", "a+b", "李", ""]),
        st.sampled_from(["old.example", "sub.old.example"]),
        st.sampled_from([*KINDS, "MailUser", "ArbitrationMailbox", ""]),
    ),
    min_size=1,
    max_size=8,
)


@given(addresses)
def test_every_line_is_accounted_for(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]]
) -> None:
    """Whatever a list holds: each line is an account, to be decided, or left out; no target stands there twice."""
    path = tmp_path_factory.mktemp("list") / "addresses.csv"
    path.write_text(exported([(f"{prefix}@{domain}", kind) for prefix, domain, kind in rows]), "utf-8")
    found = outcome(path, Wish("new.example"))
    assert len(found.accounts) + len(found.inconsistent) + len(found.left_out) == len(rows)
    targets = [each.target for each in found.accounts]
    assert len(targets) == len(set(targets))
