"""``alimail init``: each question of the console's form can be answered by typing, by a flag, or not at all."""

from __future__ import annotations

import os
import pty
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from alimail_core.cli import main
from alimail_core.config.load import loads
from alimail_core.config.tables import TABLES
from alimail_core.errors import InputError
from alimail_core.registry import Registry
from alimail_core.spec import MigrationSpec
from alimail_core.structure import describe_options

ROOT = Path(__file__).parent.parent
REGISTRY = Registry.load(["imap", "pop3", "alimail", "directory"])

Init = Callable[..., int]


@pytest.fixture
def init(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Init:
    """Return the command in an empty folder called ``office``."""
    (tmp_path / "office").mkdir()
    monkeypatch.chdir(tmp_path / "office")
    return lambda *words: main(["init", *words], REGISTRY)


def written() -> dict[str, str]:
    """Return what the configuration says, without its comments: key with table -> value as TOML."""
    found, table = {}, ""
    for line in Path("alimail.toml").read_text("utf-8").splitlines():
        if line.startswith("["):
            table = line.strip("[]")
        elif line and not line.startswith("#"):
            key, _, value = line.partition(" = ")
            found[f"{table}.{key}"] = value
    return found


def spec(*rows: str) -> MigrationSpec:
    """Read what was written, with these rows in the roster."""
    roster = Path("accounts.csv")
    roster.write_text(roster.read_text("utf-8-sig") + "\n".join(rows) + "\n", "utf-8")
    return loads(Path("alimail.toml").read_text("utf-8"), REGISTRY, path=Path("alimail.toml"))


ANSWERS = {
    "A name for this migration": "move",
    "Where the mail is now": "pop3",
    "  host:": "pop.old.example",
    "  port": "1110",
    "  encryption": "auto",
    "  log in without encryption": "true",
    "  login there": "local-part",
    "  domains that log in with the address": "b.example, c.example",
    "Where it goes": "alimail",
    "  region": "hk",
    "Old mail goes": "folder",
    "  that folder": "Archive/Old mail",
    "How many octets": "500 GB",
    "The spreadsheet": "people.csv",
    "  its headings": "zh",
    "Who makes the new mailboxes": "alimail",
    "  application_id": "env:APP_ID",
    "  application_secret": "file:app.secret",
    "  the spreadsheet of the employees": "staff.csv",
    "  the spreadsheet of the mail groups": "lists.xlsx",
}
"""The questions by their first words, in their order, and what is typed."""

FLAGS = (
    *("--name", "move", "--source-kind", "pop3", "--source-host", "pop.old.example", "--source-port", "1110"),
    *("--source-tls", "auto", "--allow-plaintext-login", "--login", "local-part"),
    *(
        "--login-domain",
        "b.example",
        "--login-domain",
        "c.example",
        "--target-kind",
        "alimail",
        "--region",
        "hk",
    ),
    *("--history", "folder", "--folder", "Archive/Old mail", "--limit", "500 GB"),
    *("--roster", "people.csv", "--language", "zh"),
    *(
        "--provisioner",
        "alimail",
        "--application-id",
        "env:APP_ID",
        "--application-secret",
        "file:app.secret",
    ),
    *("--employees", "staff.csv", "--groups", "lists.xlsx"),
)

WRITTEN = {
    "migration.name": '"move"',
    "migration.roster": '"people.csv"',
    "source.kind": '"pop3"',
    "source.login": '"local-part"',
    "source.login_domains": '["b.example", "c.example"]',
    "source.host": '"pop.old.example"',
    "source.port": "1110",
    "source.tls": '"auto"',
    "source.allow_plaintext_login": "true",
    "target.kind": '"alimail"',
    "target.region": '"hk"',
    "folders.history": '"folder"',
    "folders.folder": '"Archive/Old mail"',
    "transfer.limit_octets": '"500 GB"',
    "provision.kind": '"alimail"',
    "provision.employees": '"staff.csv"',
    "provision.groups": '"lists.xlsx"',
    "provision.application_id": '"env:APP_ID"',
    "provision.application_secret": '"file:app.secret"',
    "provision.region": '"hk"',
}


def test_flags_answer_everything(init: Init) -> None:
    """Scripts say all of it, and nothing is asked."""
    assert init("--yes", *FLAGS) == 0
    assert written() == WRITTEN
    assert "原邮箱地址" in Path("people.csv").read_text("utf-8-sig")
    assert "邮箱帐号" in Path("staff.csv").read_text("utf-8-sig")
    assert Path("lists.xlsx").exists()


def test_who_makes_the_mailboxes_is_asked_for_by_one_flag(
    init: Init, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it needs is to be filled in; a sheet that is there already stays as it is."""
    Path("staff.csv").write_text("mine")
    assert init("--yes", "--source-host", "h", "--region", "personal", "--employees", "staff.csv") == 0
    assert (written()["provision.kind"], written()["provision.application_id"]) == ('"alimail"', '""')
    assert "provision.region" not in written()
    assert ": application_secret of [provision]" in capsys.readouterr().out
    assert Path("staff.csv").read_text() == "mine"


@pytest.mark.slow
def test_questions_ask_everything(tmp_path: Path) -> None:
    """On a real terminal each question comes in its turn, one that was answered wrongly again, with the reason."""
    (tmp_path / "old.csv").touch()
    wrong = {"pop3": "carrier-pigeon", "1110": "eleven", "500 GB": "plenty", "people.csv": "old.csv"}
    typed = [each for answer in ANSWERS.values() for each in (wrong.get(answer), answer) if each]
    code, shown = on_a_terminal(tmp_path, typed)
    assert code == 0, shown
    assert "[source] port must be a whole number" in shown
    assert "there is no source called carrier-pigeon" in shown
    assert "there already" in shown
    places = [shown.index(question) for question in ANSWERS]
    assert places == sorted(places)
    os.chdir(tmp_path)
    assert written() == WRITTEN


def on_a_terminal(folder: Path, typed: list[str], *words: str) -> tuple[int, str]:
    """Run ``alimail init`` on a terminal of its own; type an answer whenever it asks."""
    child, terminal = pty.fork()
    if not child:
        os.chdir(folder)
        command = Path(sys.executable).with_name("alimail")
        os.execv(command, [str(command), "init", *words])
    shown, answered = b"", 0
    while True:
        try:
            piece = os.read(terminal, 4096)
        except OSError:  # the terminal ends with the program
            break
        shown += piece
        # A question ends with ": " and no line end; what is typed is echoed with one.
        if shown.endswith(b": ") and typed[answered:]:
            os.write(terminal, typed[answered].encode() + b"\n")
            answered += 1
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), shown.decode("utf-8", "replace")


def test_defaults_are_those_of_the_configuration(init: Init) -> None:
    """What nobody says stands there as a comment, and means what the reference says."""
    assert init("--yes", "--source-host", "mail.old.example") == 0
    assert written() == {
        "migration.name": '"office"',
        "migration.roster": '"accounts.csv"',
        "source.kind": '"imap"',
        "source.host": '"mail.old.example"',
        "target.kind": '"alimail"',
    }
    made = spec("anna@old.example,,,anna@new.example,,,")
    [account] = made.accounts
    assert account.source_user == "anna@old.example"
    assert (account.source.options.tls, account.source.options.port) == ("auto", None)
    assert (made.policy.history, made.options.limit_octets) == ("original", 10**12)


def test_what_is_written_is_read(init: Init) -> None:
    """What the flags say is what the migration does."""
    assert init("--yes", *FLAGS, "--roster", "accounts.csv", "--language", "en") == 0
    made = spec("anna@a.example,,,anna@new.example,,,", "bert@b.example,,,bert@new.example,,,")
    assert [account.source_user for account in made.accounts] == ["anna", "bert@b.example"]
    assert made.policy.folder == ("Archive", "Old mail")
    assert made.options.limit_octets == 500 * 10**9
    assert made.accounts[0].source.options.allow_plaintext_login


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--source-port", "eleven"), "[source] port must be a whole number"),
        (("--source-tls", "ssl"), "[source] tls must be"),
        (("--login", "domain"), "[source] login must be"),
        (("--login", "address", "--login-domain", "a.example"), "[source] login_domains is for"),
        (("--history", "outbox"), "[folders] history must be"),
        (("--limit", "much"), "[transfer] limit_octets must be a size such as 25MB"),
        (("--history", "folder"), "--history: "),
        (("--history", "inbox", "--folder", "Old"), "--folder: goes with --history folder"),
        (("--roster", "list.ods"), "--roster: list.ods is neither csv nor xlsx"),
        (("--source-host", "imaps://mail.old.example"), "[source] host is a URL"),
        (("--target-host", "mail.new.example:993"), "[target] host has a port in it"),
        (("--region", "mars"), "[target] region must be"),
        (("--source-kind", "nonsense"), "nonsense"),
        (("--provisioner", "nonsense"), "there is no provisioner called nonsense"),
        (("--roster", "lists/people.csv"), "there is no folder lists"),
        (("--config", "lists/alimail.toml"), "there is no folder lists"),
        (("--application-secret", "Sw0rdf1sh"), "application_secret is not a reference"),
        (("--employees", "staff.ods"), "--employees: staff.ods is neither csv nor xlsx"),
    ],
)
def test_a_flag_that_does_not_fit_is_refused(
    init: Init, words: tuple[str, ...], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is named by its place in the configuration, and no file is written."""
    assert init("--yes", "--source-host", "mail.old.example", *words) == 2
    err = capsys.readouterr().err
    assert told in err
    assert "Sw0rdf1sh" not in err
    assert not list(Path().iterdir())


def test_who_names_a_folder_or_a_domain_means_it(init: Init) -> None:
    """``--folder`` alone sends the history there, and ``--login-domain`` leaves the local part to the others."""
    assert init("--yes", "--source-host", "h", "--folder", "Old", "--login-domain", "a.example") == 0
    assert (written()["folders.history"], written()["folders.folder"]) == ('"folder"', '"Old"')
    assert (written()["source.login"], written()["source.login_domains"]) == ('"local-part"', '["a.example"]')


def test_the_guide_sets_the_consoles_words_beside_ours(capsys: pytest.CaptureFixture[str]) -> None:
    """Each flag and each option that its table names is one, and no question is without a line in it."""
    text = (ROOT / "docs" / "guides" / "admin.md").read_text("utf-8")
    section = text.partition("### The console's form, and ours\n")[2].partition("\n### ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")][1:]
    main(["init", "--help"], REGISTRY)
    flags = set(re.findall(r"--[a-z-]+", capsys.readouterr().out))
    shown = {flag for line in lines for flag in re.findall(r"--[a-z-]+", line.split("|")[3])}
    not_of_the_form = {"--name", "--target-kind", "--target-host", "--region", "--config", "--yes", "--help"}
    not_of_the_form |= {
        "--provisioner",
        "--employees",
        "--groups",
        "--application-id",
        "--application-secret",
    }
    assert shown <= flags
    assert flags - shown - not_of_the_form == set()
    options = {name: {row.name for row in describe_options(table)} for name, table in TABLES.items()}
    options["source"] |= {row.name for row in describe_options(REGISTRY.source("imap").options)}
    named = [match for line in lines for match in re.findall(r"`\[(\w+)\] (\w+)", line)]
    assert len(named) > 8
    for table, key in named:
        assert key in options[table]


def test_a_fresh_configuration_lacks_only_its_accounts(init: Init) -> None:
    """What ``init`` writes is without a fault, but for the rows that are still to come."""
    assert init("--yes", "--source-host", "mail.old.example") == 0
    with pytest.raises(InputError) as caught:
        spec()
    assert [fault.message for fault in caught.value.faults] == ["there is no account in it"]


def test_wrong_flags_are_told_together(init: Init, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever mistypes three flags reads of all of them, one also where the kind that it is for is not known."""
    assert init("--yes", "--source-kind", "imapp", "--region", "mars", "--limit", "all") == 2
    told = capsys.readouterr().err
    assert "nothing is written: 3 faults" in told
    assert [line.split(":")[0] for line in told.splitlines() if line.startswith("--")] == [
        "--source-kind",
        "--region",
        "--limit",
    ]


@pytest.mark.slow
def test_a_wrong_flag_is_asked_for_on_a_terminal(tmp_path: Path) -> None:
    """There the right answer can be typed, and nothing else is lost."""
    code, shown = on_a_terminal(tmp_path, ["1110"] + [""] * 10, *FLAGS[:6], "--source-port", "eleven")
    assert code == 0, shown
    os.chdir(tmp_path)
    assert written()["source.port"] == "1110"


def test_a_host_that_nobody_told_is_to_be_filled_in(init: Init, capsys: pytest.CaptureFixture[str]) -> None:
    """``init`` names the line, the file marks it, and ``check`` refuses it there before it looks for any server."""
    assert init("--yes") == 0
    lines = Path("alimail.toml").read_text("utf-8").splitlines()
    number = lines.index('host = ""') + 1
    assert lines[number - 2].startswith("# TO BE FILLED IN: ")
    assert f"To be filled in: alimail.toml:{number}: host of [source]" in capsys.readouterr().out
    assert main(["check"], REGISTRY) == 2
    assert f"alimail.toml:{number}: host is to be filled in" in capsys.readouterr().err
