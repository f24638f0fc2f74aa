"""``alimail exchange prepare``: what is asked for is judged, and the folder is written once."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from alimail_core import InputError, Registry
from alimail_core.cli import main
from alimail_ews.admin.prepare import files, wishes, write
from alimail_ews.admin.versions import VERSIONS

ASKED = ("exchange", "prepare", "--version", "2016", "--database", "MDB1", "--domain", "old.example")


def run(*words: str) -> int:
    """Run a command with this plug-in alone."""
    return main(words, Registry.load(only=["ews"]))


def test_a_folder_is_written_and_a_second_call_leaves_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Twice the same command: the second finds all of it there, and what the scripts keep is not touched."""
    folder = tmp_path / "exchange"
    assert run(*ASKED, "--database", "MDB 2", "-o", str(folder)) == 0
    written = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert {"README.md", "README.zh.md", "all.ps1", "undo.ps1", "values.ps1"} < set(written)
    (folder / "kept-values.txt").write_text("account\tsuperman\n")
    assert "14 files" in capsys.readouterr().out
    assert run(*ASKED, "--database", "MDB 2", "-o", str(folder)) == 0
    assert "has all of it already" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name in written} == written
    assert (folder / "kept-values.txt").read_text() == "account\tsuperman\n"


def test_other_scripts_are_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder with scripts for other wishes stays as it is, whole, and the files are named."""
    write(wishes("2016", ["MDB1"], "old.example"), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert run(*ASKED, "--full-access", "-o", str(tmp_path)) == 2
    assert "helpers.ps1" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file in the place of the folder is no bug of ours."""
    (tmp_path / "file").write_text("")
    assert run(*ASKED, "-o", str(tmp_path / "file")) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_all_faults_are_told_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Version, database, domain, account and path each have their own line, before anything is written."""
    folder = tmp_path / "exchange"
    words = (
        "--version",
        "2003",
        "--domain",
        "old",
        "--account",
        "a@b",
        "--csv",
        "C:\\[x].csv",
        "-o",
        str(folder),
    )
    assert run("exchange", "prepare", *words) == 2
    told = capsys.readouterr().err
    assert all(f"--{name}" in told for name in ("version", "database", "domain", "account", "csv"))
    assert not folder.exists()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("databases", [""]),
        ("databases", ["a\nb"]),
        ("databases", ["\x00"]),
        ("databases", ["\ud800"]),
        ("domain", ""),
        ("domain", "old.example'; Remove-Mailbox x"),
        ("domain", "*.example"),
        ("domain", "old_.example"),
        ("domain", "old.example\n"),
        ("account", ""),
        ("account", "x" * 21),
        ("account", "O'Brien"),
        ("account", "super man"),
        ("account", "超人"),
        ("csv", "a\rb"),
    ],
)
def test_what_exchange_cannot_have_is_refused(name: str, value: object) -> None:
    """Each with a fault of its own."""
    asked: dict[str, object] = {"databases": ["MDB1"], "domain": "old.example"} | {name: value}
    with pytest.raises(InputError) as caught:
        wishes("2016", **asked)  # type: ignore[arg-type]
    assert [fault.where for fault in caught.value.faults] == [f"--{name.removesuffix('s')}"]


@pytest.mark.parametrize("language", ["README.md", "README.zh.md"])
@pytest.mark.parametrize("version", VERSIONS)
def test_the_page_tells_of_every_script(version: str, language: str) -> None:
    """Each numbered script has a row with what, who, how long and how it shows; nothing is left to fill in."""
    made = files(wishes(version, ["MDB|`1"], "old.example", as_in_guide=True))
    page = made[language].decode("utf-8-sig")
    for name in made:
        if name[0].isdigit():
            (row,) = (line for line in page.splitlines() if line.startswith(f"| `{name}`"))
            assert all(cell.strip() for cell in row.strip("|").split("|"))
            assert row.count("|") == 6
    assert VERSIONS[version].product in page
    assert "`undo.ps1" in page.replace(".\\", "")
    assert "`` MDB\\|`1 ``" in page
    assert not re.search(r"\{\w+\}|@@", page)


def test_help_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    """The group names its verbs, and the verb shows an example that works."""
    run("exchange", "--help")
    assert "prepare" in capsys.readouterr().out
    assert run("exchange", "prepare", "--help") == 0
    assert " ".join(ASKED) in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize("name", ["MDB`1", "a``b", "a|b"])
def test_the_page_shows_names_as_they_are(name: str) -> None:
    """No backtick in a name ends the code that it stands in."""
    page = files(wishes("2016", [name], "old.example"))["README.md"].decode()
    fence = "`" * (1 + name.count("`")) if "`" in name else ""
    shown = f"{fence} {name} {fence}" if fence else f"`{name}`".replace("|", "\\|")
    assert shown in page
