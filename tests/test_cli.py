"""The command line: what it prints, what it returns, what it never lets through."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

import alimail_core
from alimail_core.cli import VERBS, main
from alimail_core.cli.copy import default_ledger
from alimail_core.cli.output import NAMED, counted
from alimail_core.cli.reference import reference
from alimail_core.errors import Denied, Transient
from alimail_core.model import INBOX
from alimail_core.plan import AccountPlan
from alimail_core.testing import FakeClock, message
from alimail_imap.testing import CannedServer
from tests.memory_plugin import PASSWORD, MemoryPlugin, Run, command_line, config_of, registry_of

ROOT = Path(__file__).parent.parent
HEAVY = ("sqlalchemy", "imapclient", "rich", "openpyxl", "mailparser", "structlog", "alimail_imap", "cattrs")

CONFIG = config_of("anna", "bert")


@pytest.fixture
def plugin() -> MemoryPlugin:
    """Return two servers in memory, with two mailboxes on the old one."""
    plugin = MemoryPlugin()
    for name in ("anna", "bert"):
        for number in range(3):
            plugin.boxes[f"{name}@old.example"].deliver(INBOX, message(f"Letter {number}"))
        plugin.boxes[f"{name}@new.example"].make(INBOX)
    return plugin


@pytest.fixture
def run(plugin: MemoryPlugin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return the command line, in a folder of its own with a configuration for both accounts."""
    alimail = command_line(registry_of(plugin), tmp_path, monkeypatch)
    Path("alimail.toml").write_text(CONFIG)
    return alimail


def evil(text: str) -> bool:
    """Tell whether text would act upon a terminal."""
    return not all(each.isprintable() or each == "\n" for each in text)


# the promise of a quick and teaching help


@pytest.mark.parametrize("words", [["--help"], ["copy", "--help"], ["migrate", "--help"], ["--version"]])
def test_help_loads_nothing_heavy(words: list[str]) -> None:
    """Help needs no database, no protocol, no drawing: that is why it is there at once."""
    script = (
        "import sys; from alimail_core.cli import main; code = main(sys.argv[1:]);"
        f"heavy = [each for each in {HEAVY!r} if each in sys.modules];"
        "sys.exit(code or (f'loaded: {heavy}' if heavy else 0))"
    )
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "alimail" in done.stdout


@pytest.mark.parametrize(("run", "alone"), [("script()", True), ("main()", False)])
def test_the_console_script_spares_what_its_process_never_needs(
    run: str, alone: bool, tmp_path: Path
) -> None:
    """It looks at no module for garbage, and imports no drawing for a log; who calls ``main`` keeps its process."""
    script = (
        f"import gc, sys; from alimail_core.cli import main, script; usual = gc.get_threshold(); code = {run};"
        "import structlog.dev; plain = structlog.dev.rich is None;"
        "looks = gc.isenabled() and gc.get_threshold() == usual;"
        "print(code, gc.get_freeze_count() > 10_000, plain, 'rich' in sys.modules, looks)"
    )
    with CannedServer({b"LOGIN": b"{tag} NO [AUTHENTICATIONFAILED] wrong\r\n"}) as server:
        urls = [f"imap://{each}%40a.example@127.0.0.1:{server.port}?tls=none" for each in ("old", "new")]
        words = ["copy", *urls, "--source-secret", "env:HOME", "--target-secret", "env:HOME", "--plain"]
        words += ["--ledger", str(tmp_path / "ledger"), "--log", str(tmp_path / "log")]
        done = subprocess.run(
            [sys.executable, "-c", script, *words], capture_output=True, text=True, timeout=60
        )
    assert done.stdout.splitlines()[-1] == f"1 {alone} {alone} {not alone} True", done


def test_help_beside_a_verb_lists_all_of_them(capsys: pytest.CaptureFixture[str]) -> None:
    """As it does without one."""
    main(["--help", "migrate"])
    told = capsys.readouterr().out
    assert all(f"  {verb} " in told for verb in VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_each_verb_has_examples(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever asks a verb for help sees how it is called."""
    assert main([verb, "--help"]) == 0
    text = capsys.readouterr().out
    assert "Example" in text
    assert f"alimail {verb}" in text


@pytest.mark.parametrize("verb", ["check", "discover", "plan", "status", "verify", "report", "plugins"])
def test_each_reading_verb_tells_the_keys_of_its_json(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Programs that read JSON find its keys in the help."""
    main([verb, "--help"])
    assert "JSON" in capsys.readouterr().out


@pytest.mark.slow
def test_reference_is_current() -> None:
    """The page of the command line in the documentation is what the help says today."""
    page = ROOT / "docs" / "reference" / "cli.md"
    assert page.read_text("utf-8") == reference(), f"python -m alimail_core.cli.reference {page}"


def test_public_names_are_all_there() -> None:
    """Each name of ``__all__`` can be imported from the package, and the package lists it."""
    for name in alimail_core.__all__:
        assert getattr(alimail_core, name) is not None
    assert set(alimail_core.__all__) <= set(dir(alimail_core))
    with pytest.raises(AttributeError, match="no attribute 'Nonsense'"):
        alimail_core.Nonsense  # noqa: B018


# wrong calls and wrong configurations


@pytest.mark.parametrize(
    "words", [["--nonsense"], ["nonsense"], ["migrate", "--nonsense"], ["copy", "one"], []]
)
def test_wrong_call_is_exit_code_2(words: list[str], run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """A call that cannot be understood says how it is meant, and no traceback."""
    assert run(*words) == 2
    text = capsys.readouterr()
    assert "Usage: alimail" in text.err + text.out
    assert "Traceback" not in text.err


def test_missing_configuration_says_how_to_get_one(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a configuration a user is told of ``init``."""
    assert run("status", "-c", "other.toml") == 2
    error = capsys.readouterr().err
    assert "there is no other.toml" in error
    assert "alimail init" in error


def test_faults_of_a_configuration_are_told_together(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Each fault is a line with file and line number, and its remedy below; nothing is begun."""
    Path("alimail.toml").write_text(CONFIG.replace('"mem"', '"men"').replace("host", "hosst"))
    assert run("check") == 2
    lines = capsys.readouterr().err.splitlines()
    assert sum(line.startswith("alimail.toml:") for line in lines) >= 2
    assert "Traceback" not in "\n".join(lines)


# the main way


@pytest.mark.slow
def test_migration_runs_and_runs_again(
    run: Run, plugin: MemoryPlugin, capsys: pytest.CaptureFixture[str]
) -> None:
    """The mail is there, once, and a second run copies nothing."""
    assert run("migrate", "--yes") == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0].split() == ["Account", "State", "Copied", "Were", "there", "Octets", "Problems"]
    assert out[3].startswith("total")
    assert "2 of 2 accounts all there" in out[3]
    assert "alimail verify --full" in out[-1]
    for name in ("anna", "bert"):
        there = plugin.boxes[f"{name}@new.example"].everything()
        assert there == plugin.boxes[f"{name}@old.example"].everything()
    assert run("migrate", "--yes", "--quiet") == 0
    assert capsys.readouterr().out == ""
    assert plugin.boxes["anna@new.example"].everything().total() == 3


def test_progress_goes_to_standard_error_as_plain_lines(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Off a terminal, standard error has a line for each folder and account."""
    assert run("migrate", "--yes", "--search", "anna") == 0
    error = capsys.readouterr().err
    assert "anna@old.example: INBOX: 3 messages" in error
    assert "anna@old.example: all there, 3 copied" in error
    assert "bert" not in error


def test_log_has_each_event(run: Run) -> None:
    """A log holds the run as JSON lines, of one migration."""
    assert run("migrate", "--yes", "--log", "run.jsonl") == 0
    events = [json.loads(line) for line in Path("run.jsonl").read_text().splitlines()]
    assert {"pass_started", "folder_listed", "batch_settled", "folder_settled", "pass_ended"} <= {
        each["event"] for each in events
    }
    assert {each["migration"] for each in events} == {"test"}
    assert PASSWORD not in Path("run.jsonl").read_text()


def test_status_reads_the_ledger(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Before a run nothing is there; after it, what was carried; as a table and as JSON."""
    assert run("status") == 0
    assert "not begun" in capsys.readouterr().out
    run("migrate", "--yes", "--quiet")
    assert run("status", "--search", "anna") == 0
    assert "1 account: 3 messages" in capsys.readouterr().out
    assert run("status", "--json") == 0
    accounts = json.loads(capsys.readouterr().out)["accounts"]
    assert [each["settled_messages"] for each in accounts] == [3, 3]
    assert accounts[0]["state"] == "done"
    assert accounts[0]["started"].endswith("+00:00")


def test_status_of_many_sums_their_states_up(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Thousands of lines tell nobody how many are done."""
    names = [f"person{number:02}" for number in range(30)]
    Path("alimail.toml").write_text(config_of(*names))
    assert run("disable", "--search", "person1") == 0
    capsys.readouterr()
    assert run("status") == 0
    assert capsys.readouterr().out.splitlines()[-2] == "20 not begun; 10 disabled"
    assert run("status", "--search", "person1") == 0
    assert "10 disabled" not in capsys.readouterr().out


def test_status_says_that_there_is_nobody(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """A slip must not look like an organisation without accounts, nor an empty table like a riddle."""
    for words in ([], ["--json"], ["--pending"]):
        assert run("status", "--search", "nobody", *words) == 2
        assert capsys.readouterr().out == ""
    assert run("status", "--pending") == 0
    assert capsys.readouterr().out.startswith("Nobody's password is missing")
    assert run("status", "--pending", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"accounts": []}


def test_status_can_be_asked_while_a_run_goes_on(
    run: Run, plugin: MemoryPlugin, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the middle of a pass the ledger tells that it runs and what is left; the run is not disturbed."""

    def ask() -> None:
        plugin.before_fetch.clear()
        assert run("status", "--json") == 0

    plugin.before_fetch.append(ask)
    assert run("migrate", "--yes", "--quiet", "--search", "anna") == 0
    anna, bert = json.loads(capsys.readouterr().out)["accounts"]
    assert (anna["state"], anna["pending_messages"]) == ("running", 3)
    assert (bert["state"], bert["passes"]) == ("", 0)


def test_plan_shows_what_would_move_and_moves_nothing(
    run: Run, plugin: MemoryPlugin, capsys: pytest.CaptureFixture[str]
) -> None:
    """A plan counts each folder, says where it goes, and writes nothing."""
    plugin.boxes["anna@old.example"].make(("项目", "a\x1bb"))
    assert run("plan") == 0
    out = capsys.readouterr().out
    assert "项目 / a\\x1bb" in out
    assert "contacts" in out
    assert run("plan", "--json") == 0
    (anna, bert) = json.loads(capsys.readouterr().out)["accounts"]
    assert (anna["messages"], bert["messages"]) == (3, 3)
    assert ["项目", "a\x1bb"] in [each["source"] for each in anna["folders"]]
    assert not plugin.boxes["anna@new.example"].everything()
    assert not Path("alimail.db").exists()


def test_a_plan_tells_once_what_is_wrong_with_many(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A server that is down would else fill the screen; and it is said how many were not looked at."""

    def refuse(*_: object) -> None:
        raise Denied("NO come again", remedy="Wait.")

    monkeypatch.setattr("alimail_core.ends.Ends.source", refuse)
    assert run("plan", "--quiet") == 3
    assert capsys.readouterr().out.splitlines()[:4] == [
        "anna@old.example, bert@old.example:",
        "  FAULT: NO come again",
        "    -> Wait.",
        "2 of 2 accounts could not be looked at, and are not counted.",
    ]


@pytest.mark.parametrize("terminal", [True, False])
def test_a_long_plan_says_how_far_it_is(
    terminal: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every few seconds, and only to somebody who looks."""
    clock = FakeClock()

    def plans() -> Iterator[AccountPlan]:
        for name in ("anna", "bert", "carl"):
            clock.advance(3.0)
            yield AccountPlan(name, name)

    monkeypatch.setattr(sys.stderr, "isatty", lambda: terminal)
    assert [each.source_address for each in counted(plans(), 3, "account", clock)] == ["anna", "bert", "carl"]
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "2 of 3 accounts looked at\n" if terminal else "")


def test_plan_names_the_rule_that_decided(
    run: Run, plugin: MemoryPlugin, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each folder's line ends with why it goes where it goes; so does its JSON."""
    for name in ("Projects", "Other"):
        plugin.boxes["anna@old.example"].make((name,))
    rules = '[folders]\nrules = [{source = "Projects", target = "Work"}]\n'
    Path("alimail.toml").write_text(CONFIG.replace("[[account]]", f"{rules}[[account]]", 1))
    assert run("plan", "--search", "anna") == 0
    told = [line.split("  ")[-1].strip() for line in capsys.readouterr().out.splitlines()[1:5]]
    assert run("plan", "--search", "anna", "--json") == 0
    [anna] = json.loads(capsys.readouterr().out)["accounts"]
    assert told == ["Because of", *(each["rule"] for each in anna["folders"])]
    assert {each["rule"] for each in anna["folders"]} > {"inbox", "rule 1"}


def test_plan_tells_of_a_rule_that_matches_nobodys_folder(
    run: Run, plugin: MemoryPlugin, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is told once, with the name that was meant; a rule that is for somebody else, or serves one, is not."""
    plugin.boxes["bert@old.example"].make(("Projects", "2024"))
    rules = """[folders]
rules = [
    {source = "projects/2024", target = "Work"}, {source = "Projects", target = "Work"},
    {source = "Junk*", target = "Work"}, {source = "Nowhere", target = "Work", accounts = ["bert*"]},
]
"""
    Path("alimail.toml").write_text(CONFIG.replace("[[account]]", f"{rules}[[account]]", 1))
    assert run("plan", "--quiet") == 0
    told = [line for line in capsys.readouterr().out.splitlines() if "  warning" in line or "->" in line]
    assert told == [
        "  warning: rule 1 (projects/2024) matches no folder of 2 accounts",
        "    -> Did you mean Projects/2024? Capitals count; a folder B in A is A/B.",
        "  warning: rule 3 (Junk*) matches no folder of 2 accounts",
        "    -> `alimail plan` shows how folders are spelt. Capitals count; a folder B in A is A/B.",
        "  warning: rule 4 (Nowhere) matches no folder of 1 account",
        "    -> `alimail plan` shows how folders are spelt. Capitals count; a folder B in A is A/B.",
    ]
    assert run("plan", "--search", "anna", "--json") == 0
    remarks = json.loads(capsys.readouterr().out)["remarks"]
    assert [each["text"].partition(")")[0] for each in remarks] == [
        "rule 1 (projects/2024",
        "rule 2 (Projects",
        "rule 3 (Junk*",
    ]


def test_check_names_the_side_that_fails(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A refused login is a fault of its side with a remedy, and exit code 3."""
    assert run("check", "--search", "anna") == 0
    assert "nothing is in the way" in capsys.readouterr().out
    monkeypatch.setenv("NEW", "wrong")
    assert run("check") == 3
    out = capsys.readouterr().out
    assert "FAULT: login of anna@new.example refused" in out
    assert "-> See the password." in out
    assert not evil(out)
    assert run("check", "--json") == 3
    results = json.loads(capsys.readouterr().out)["accounts"]
    assert [(each["side"], each["level"]) for each in results][:2] == [("source", "ok"), ("target", "fault")]


def test_account_that_fails_is_told_and_the_others_go_on(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A refused login ends in exit code 1 with the server's words made harmless, and no password anywhere."""
    monkeypatch.setenv("NEW", "wrong")
    assert run("migrate", "--yes") == 1
    told = capsys.readouterr()
    assert "WAITS for its password" in told.out
    assert "\\x1b]0;evil\\x07\\u202e[red]no" in told.out
    assert not evil(told.out + told.err)
    assert PASSWORD not in told.out + told.err
    assert run("migrate", "--yes", "--quiet") == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("refused") == 2


@pytest.mark.slow
def test_accounts_without_a_password_wait_and_the_others_go_on(
    run: Run, plugin: MemoryPlugin, capsys: pytest.CaptureFixture[str]
) -> None:
    """One password is missing and one is wrong: the rest is carried, and ``--pending`` names both."""
    accounts = [("anna", "OLD"), ("bert", "OLD"), ("carl", "WRONG")]
    rows = [f"{name}@old.example,env:{secret},{name}@new.example" for name, secret in accounts]
    rows[1] = "bert@old.example,,bert@new.example"
    Path("roster.csv").write_text("\n".join(["source,source password,target", *rows]))
    table = CONFIG.split("[[account]]")[0].replace('secret = "env:OLD"', "")
    Path("alimail.toml").write_text(table.replace('name = "test"', 'name = "test"\nroster = "roster.csv"'))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WRONG", "not it")
        assert run("check", "--search", "bert") == 3
        assert (
            "FAULT: the secret of source bert@old.example is missing: it is neither in"
            in capsys.readouterr().out
        )
        assert run("status", "--pending", "--json") == 0
        told = json.loads(capsys.readouterr().out)["accounts"]
        assert [each["source_address"] for each in told] == ["bert@old.example"]
        assert run("migrate", "--yes", "--quiet") == 3
    assert plugin.boxes["anna@new.example"].everything().total() == 3
    assert not plugin.boxes["bert@new.example"].everything()
    capsys.readouterr()
    assert run("status", "--pending") == 0
    out = capsys.readouterr().out
    assert "anna@old.example" not in out
    assert "bert@old.example: the secret of source bert@old.example" in out
    assert "carl@old.example: source: login of carl@old.example refused" in out
    Path("roster.csv").write_text(
        Path("roster.csv").read_text().replace("WRONG", "OLD").replace(",,", ",env:OLD,")
    )
    assert run("migrate", "--yes", "--quiet") == 0
    capsys.readouterr()
    assert run("status", "--pending", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"accounts": []}
    assert plugin.boxes["bert@new.example"].everything().total() == 3


@pytest.mark.slow
def test_disabled_accounts_do_not_run(
    run: Run, plugin: MemoryPlugin, capsys: pytest.CaptureFixture[str]
) -> None:
    """``disable`` keeps an account from running until ``enable`` lets it go on."""
    assert run("disable", "anna") == 2  # a part of an address may be in many
    assert capsys.readouterr().out == ""
    assert run("disable", "anna@old.example") == 0
    assert capsys.readouterr().out == "disabled: anna@old.example\n"
    assert run("migrate", "--yes", "--plain") == 0
    out = capsys.readouterr().out
    assert "1 of 2 accounts all there, 1 disabled" in out
    assert not plugin.boxes["anna@new.example"].everything()
    assert run("migrate", "--yes", "--only", "anna@old.example") == 0
    assert "All of them are disabled; nothing was moved." in capsys.readouterr().out
    assert run("plan", "--only", "anna@old.example") == 0
    out = capsys.readouterr().out
    assert "disabled: a run passes it over" in out
    assert "Because of" not in out
    assert run("status", "--only", "anna@old.example") == 0
    assert "disabled, disabled" not in capsys.readouterr().out
    assert plugin.boxes["bert@new.example"].everything().total() == 3
    assert run("enable", "ALL") == 0
    assert run("migrate", "--yes", "--quiet") == 0
    assert plugin.boxes["anna@new.example"].everything().total() == 3
    assert run("disable", "nobody@nowhere") == 2


def test_verify_answers_first(run: Run, plugin: MemoryPlugin, capsys: pytest.CaptureFixture[str]) -> None:
    """The first line says whether it is all there, and the exit code says the same."""
    run("migrate", "--yes", "--quiet")
    capsys.readouterr()
    assert run("verify", "--full") == 0
    assert capsys.readouterr().out.startswith("All there: 6 messages of 2 accounts")
    plugin.boxes["anna@old.example"].deliver(INBOX, message("Letter 99"))
    assert run("verify") == 3
    out = capsys.readouterr().out
    assert out.startswith("NOT all there: of 7 messages of 2 accounts: 1 pending")
    assert run("verify", "--json") == 3
    told = json.loads(capsys.readouterr().out)
    assert told["complete"] is False
    assert told["accounts"][0]["folders"][0]["pending"] == 1


@pytest.mark.slow
def test_verify_tells_how_far_it_is(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Off a terminal each account's proof is a line on standard error; --quiet and --json write none there."""
    run("migrate", "--yes", "--quiet")
    capsys.readouterr()
    assert run("verify") == 0
    told = capsys.readouterr()
    assert "anna@old.example: all there, 3 messages looked at" in told.err
    assert told.out.splitlines()[1].split() == ["Account", "Messages", "Proven", "Besides"]
    assert run("verify", "--quiet") == 0
    assert run("verify", "--json") == 0
    assert capsys.readouterr().err == ""


def many(plugin: MemoryPlugin, number: int) -> list[str]:
    """Write a configuration of many accounts with long addresses; return the sources."""
    names = [f"a.rather.long.name.of.a.person.{each:03}" for each in range(number)]
    accounts = "".join(
        f'[[account]]\nsource_address = "{name}@old.example"\ntarget_address = "{name}@new.example"\n'
        for name in names
    )
    Path("alimail.toml").write_text(CONFIG.partition("[[account]]")[0] + accounts)
    for name in names:
        plugin.boxes[f"{name}@old.example"].deliver(INBOX, message(name))
        plugin.boxes[f"{name}@old.example"].make(("项目", "x" * 50))
        plugin.boxes[f"{name}@new.example"].deliver(INBOX, message("from another"))
    return [f"{name}@old.example" for name in names]


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 30])
def test_tables_fit_a_terminal(
    run: Run,
    plugin: MemoryPlugin,
    number: int,
    typed: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """On a terminal of 80 columns no table is wider, whatever addresses and folders are called; a pipe has all."""
    monkeypatch.setenv("COLUMNS", "80")
    names = many(plugin, number)
    typed("")
    heads = 0
    for verb, *words in (("plan",), ("migrate", "--yes"), ("status",), ("verify",), ("verify", "--full")):
        assert run(verb, *words) == 0
        lines = capsys.readouterr().out.splitlines()
        heads += sum(line.split()[:1] in (["Account"], ["Folder"]) for line in lines)
        assert not [line for line in lines if "  " in line.strip() and cell_len(line) > 80]
    assert heads == 5 + number
    monkeypatch.setattr(sys.stdout, "isatty", lambda: False)
    run("status")
    assert all(name in capsys.readouterr().out for name in names[:1])


@pytest.mark.slow
def test_verify_of_many_accounts_shows_those_that_need_a_look(
    run: Run, plugin: MemoryPlugin, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beyond twenty accounts the table has what is not all there, and the sum of all."""
    names = many(plugin, 21)
    run("migrate", "--yes", "--quiet")
    plugin.boxes[names[4]].deliver(INBOX, message("late"))
    capsys.readouterr()
    assert run("verify") == 3
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("NOT all there: of 22 messages of 21 accounts: 1 pending")
    assert [line.split() for line in lines[2:]] == [
        [names[4], "2", "1", "1", "pending;", "1", "extra"],
        ["total", "22", "21", "1", "pending;", "21", "extra"],
    ]


def test_check_says_once_what_holds_for_many(
    run: Run, plugin: MemoryPlugin, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a target says of every account is said with the first, and at the end with their number."""
    many(plugin, 30)
    assert run("check") == 0
    out = capsys.readouterr().out
    assert out.count("  note: the server tells no quota\n") == 1
    assert "30 targets: note: the server tells no quota\n" in out
    assert out.count("(target): note") == 30
    assert "60 sides tried: nothing is in the way" in out


@pytest.mark.parametrize("quiet", [False, True])
def test_check_says_once_why_many_fail(
    quiet: bool,
    run: Run,
    plugin: MemoryPlugin,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A server that is down is one fault, however many accounts it has; JSON has it with each of them."""
    names = many(plugin, 30)

    def refuse(_ends: object) -> None:
        raise Transient("mail.old.example does not answer", remedy="Wait.")

    monkeypatch.setattr("alimail_core.ends.Ends.source_alone", refuse)
    assert run("check", *(["--quiet"] if quiet else [])) == 3
    out = capsys.readouterr().out
    [told, *others] = [line for line in out.splitlines() if "does not answer" in line]
    assert told == "  FAULT: mail.old.example does not answer"
    assert others == ["30 sources: FAULT: mail.old.example does not answer"]
    assert out.count("(source): FAULT") == NAMED
    ending = out.splitlines()[out.splitlines().index(others[0]) + 1 :]
    assert ending[0] == f"  {', '.join(names[:NAMED])} and 25 more; --json names all"
    assert ending[1] == "  -> Wait."
    assert ("the server tells no quota" in out) is not quiet
    assert run("check", "--json") == 3
    faulty = [each for each in json.loads(capsys.readouterr().out)["accounts"] if each["level"] == "fault"]
    assert [each["remarks"][0]["text"] for each in faulty] == ["mail.old.example does not answer"] * 30


def test_report_tells_where_it_is(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """The report's files exist where the command says."""
    run("migrate", "--yes", "--quiet")
    capsys.readouterr()
    assert run("report", "--json") == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert files
    assert all(Path(each).exists() for each in files)
    assert run("report") == 0
    assert files[0] in capsys.readouterr().out


# at a terminal


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a way to type at a terminal."""

    def type_in(text: str) -> None:
        stdin = io.StringIO(text)
        monkeypatch.setattr(stdin, "isatty", lambda: True, raising=False)
        monkeypatch.setattr(sys, "stdin", stdin)
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)

    return type_in


def test_migrate_shows_the_plan_and_asks(
    run: Run, plugin: MemoryPlugin, typed: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """At a terminal nothing moves before a yes; a no is no harm; --yes asks nothing."""
    typed("n\n")
    assert run("migrate") == 1
    out = capsys.readouterr().out
    assert "anna@new.example        1         3" in out
    assert "Nothing was moved." in out
    assert not plugin.boxes["anna@new.example"].everything()
    typed("y\n")
    assert run("migrate", "--search", "anna") == 0
    assert plugin.boxes["anna@new.example"].everything().total() == 3
    typed("")
    assert run("migrate", "--yes") == 0
    assert plugin.boxes["bert@new.example"].everything().total() == 3


def test_migrate_does_not_wait_for_an_answer_that_nobody_can_give(
    run: Run, plugin: MemoryPlugin, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a terminal it says what to say, however it shall look, and moves nothing."""
    for looks in ([], ["--quiet"], ["--plain"]):
        assert run("migrate", *looks) == 2
        assert "say --yes" in capsys.readouterr().err
    assert not plugin.boxes["anna@new.example"].everything()


def test_init_asks_for_what_it_is_not_told(run: Run, typed: Callable[[str], None]) -> None:
    """At a terminal each missing answer is asked for, with a default where there is one."""
    typed("move\nmem\nold.example\n\nmem\nnew.example\n\n\n\n\n\n")
    assert run("init", "-c", "new.toml") == 0
    text = Path("new.toml").read_text("utf-8")
    for line in ('name = "move"', 'host = "old.example"', 'host = "new.example"', 'region = "here"'):
        assert line in text.splitlines()
    assert Path("accounts.csv").exists()


def test_an_interruption_at_a_question_says_how_to_go_on(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C before anything runs is exit code 130 with one line, whatever typer makes of it."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("alimail_core.cli.copy.one_mailbox", interrupt)
    assert run("copy", "mem://anna@old.example", "mem://carl@new.example") == 130
    assert capsys.readouterr().err.strip().splitlines() == [
        "alimail: interrupted",
        "  -> Run the same command again.",
    ]


def test_end_of_input_at_a_question_is_an_interruption(
    run: Run, typed: Callable[[str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-D instead of an answer writes nothing, and says how to go on."""
    typed("move\n")
    assert run("init", "-c", "new.toml") == 130
    assert "Run the same command again." in capsys.readouterr().err
    assert not Path("new.toml").exists()


# copy


COPY = ("copy", "mem://anna@old.example", "mem://carl@new.example", "--source-secret", "env:OLD")


def test_copy_asks_for_no_password_that_nobody_needs(run: Run, plugin: MemoryPlugin) -> None:
    """A kind that says that it needs no password is read without one, also off a terminal."""
    urls = ("open://anna@old.example", "mem://carl@new.example")
    assert run("copy", *urls, "--target-secret", "env:NEW", "-q") == 0
    assert plugin.boxes["carl@new.example"].everything().total() == 3
    assert run("copy", *urls, "-q") == 2


def test_copy_needs_no_file_and_the_second_is_a_delta(
    run: Run, plugin: MemoryPlugin, capsys: pytest.CaptureFixture[str]
) -> None:
    """One mailbox moves by its URLs; the ledger in the state directory makes the second call a delta."""
    Path("alimail.toml").unlink()
    words = (*COPY, "--target-secret", "env:NEW")
    assert run(*words) == 0
    assert plugin.boxes["carl@new.example"].everything().total() == 3
    capsys.readouterr()
    plugin.boxes["anna@old.example"].deliver(INBOX, message("Letter 50"))
    assert run(*words, "--verify") == 0
    out = capsys.readouterr().out
    assert out.splitlines()[1].split()[:4] == ["anna@old.example", "all", "there", "1"]
    assert "All there: 4 messages of 1 account" in out
    assert plugin.boxes["carl@new.example"].everything().total() == 4
    ledgers = list(Path("home").rglob("*.ledger"))
    assert len(ledgers) == 1


@pytest.mark.parametrize("verb", [["migrate", "--yes"], ["check"], ["plan"], ["verify"]])
def test_a_text_that_nobody_has_is_refused(
    verb: list[str], run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """A slip in a script ends with a fault, and never as if all that was meant were done."""
    assert run(*verb, "--search", "nobody") == 2
    assert "no account has 'nobody' in its addresses" in capsys.readouterr().err


def test_retrying_accounts_that_have_no_problem_is_no_fault(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """The text is somebody's: there is just nothing to try again."""
    run("migrate", "--yes", "--quiet")
    assert run("migrate", "--yes", "--retry-problems", "--search", "anna") == 0
    assert "No account has a problem." in capsys.readouterr().out


def test_copy_asks_for_no_password_off_a_terminal(
    run: Run, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody can answer, the remedy names the option."""
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert run(*COPY) == 2
    error = capsys.readouterr().err
    assert "target carl@new.example: there is no password, and no terminal to ask on" in error
    assert "--target-secret env:NAME" in error


@pytest.mark.parametrize(
    ("url", "opener"),
    [
        ("imap://anna@mail.old.example?master_user=boss", "boss"),
        ("ews://svc%40old.example@mail.old.example?mailbox=anna@mail.old.example", "svc@old.example"),
    ],
)
def test_copy_asks_for_the_password_of_who_opens_the_mailbox(
    url: str, opener: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where somebody else opens a mailbox, it is said whose password is wanted."""
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    assert main(["copy", url, "alimail://anna@new.example"]) == 2
    assert (
        f"source anna@mail.old.example, opened by {opener}: there is no password" in capsys.readouterr().err
    )


def test_password_in_a_url_is_refused_and_not_repeated(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """A URL with a password is an error that does not print it."""
    assert run("copy", "mem://anna:hunter2@old.example", *COPY[2:]) == 2
    told = capsys.readouterr()
    assert "hunter2" not in told.out + told.err
    assert "--source-secret" in told.err


def test_ledger_of_a_pair_is_one_safe_file() -> None:
    """The same pair gives the same file, another pair another, and no address leaves the folder."""
    path = default_ledger("../../anna@old.example", "con:\\x00@new.example")
    assert path == default_ledger("../../anna@old.example", "con:\\x00@new.example")
    assert path != default_ledger("../../anna@old.example", "con:_x00@new.example")
    assert path.name.startswith("_.._anna@old.example--con__x00@new.example-")
    assert not set(path.name) & set('/\\:*?"<>|')


# plug-ins


def test_plugins_are_listed_and_shown(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Each plug-in is named with its distribution, each option with type, default and help."""
    assert run("plugins") == 0
    assert "alimail-mem 1.0" in capsys.readouterr().out
    assert run("plugins", "show", "mem") == 0
    out = capsys.readouterr().out
    assert "mem as a source: A mailbox in memory." in out
    assert "host  (text; required)" in out
    assert run("plugins", "show", "mem", "--json") == 0
    source, target = sorted(json.loads(capsys.readouterr().out), key=lambda each: str(each["role"]))
    assert (source["role"], target["role"]) == ("source", "target")
    assert [each["name"] for each in source["options"]] == ["host", "region"]
    assert run("plugins", "show", "ews") == 2
    assert "pip install alimail-ews" in capsys.readouterr().err


def test_verb_of_a_plugin_gets_its_arguments(run: Run, plugin: MemoryPlugin) -> None:
    """A plug-in's own verb is called with what was typed, and its exit code is the command's."""
    assert run("say-it", "hello", "--loud") == 7
    assert run("say-it", "bye", "--to", "anna") == 7
    assert plugin.said == [
        {"words": "hello", "--to": "all", "--loud": True},
        {"words": "bye", "--to": "anna", "--loud": False},
    ]
    assert run("say-it") == 2


def test_verbs_of_a_group_take_options_more_than_once(
    run: Run, plugin: MemoryPlugin, capsys: pytest.CaptureFixture[str]
) -> None:
    """A plug-in's group has verbs of its own, and an option of many values is a list, empty without any."""
    assert run("say", "all", "--word", "a", "-w", "b") == 7
    assert run("say", "all") == 7
    assert plugin.said == [{"--word": ["a", "b"]}, {"--word": []}]
    assert run("say", "nothing") == 2
    capsys.readouterr()
    run("say")
    assert "Say words." in "".join(capsys.readouterr())


# init


def test_init_writes_what_it_is_told_and_overwrites_nothing(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """Options and defaults make a configuration and a roster; a second call leaves both as they are."""
    Path("alimail.toml").unlink()
    source = ("--source-kind", "mem", "--source-host", "old.example")
    target = ("--target-kind", "mem", "--target-host", "new.example", "--region", "there")
    words = ("init", "--yes", "--name", "move", *source, *target)
    assert run(*words) == 0
    assert "alimail check" in capsys.readouterr().out
    text = Path("alimail.toml").read_text("utf-8")
    assert 'host = "old.example"' in text
    assert 'region = "there"' in text
    roster = Path("accounts.csv").read_bytes()
    assert run(*words) == 2
    assert "is there already" in capsys.readouterr().err
    assert Path("alimail.toml").read_text("utf-8") == text
    Path("alimail.toml").unlink()
    assert run(*words) == 2
    assert Path("accounts.csv").read_bytes() == roster
    assert not Path("alimail.toml").exists()


@pytest.mark.parametrize("name", ["list.csv", "list.xlsx"])
def test_a_template_is_written_and_read(run: Run, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What ``roster template`` writes is known to ``check``, in Chinese as well, and has no account in it."""
    assert run("roster", "template", "migration", "-o", name, "--language", "zh") == 0
    assert capsys.readouterr().out.startswith(f"written: {name}\n")
    assert run("roster", "template", "migration", "-o", name) == 2
    text = CONFIG.split("[[account]]")[0].replace('name = "test"', f'name = "test"\nroster = "{name}"')
    Path("alimail.toml").write_text(text)
    capsys.readouterr()
    assert run("check") == 2
    assert f"{name}: there is no account in it" in capsys.readouterr().err


def test_init_refuses_an_option_that_its_kind_has_not(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """A host for a kind without one is a mistake that is told."""
    assert run("init", "-c", "new.toml", "--source-kind", "ews") == 2
    assert "alimail-ews" in capsys.readouterr().err
    assert not Path("new.toml").exists()


# interruptions and bugs


def test_interrupted_run_says_how_to_go_on_and_goes_on(
    run: Run, plugin: MemoryPlugin, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ctrl-C ends between two batches with 130 and one line; the same command again carries the rest, once."""
    handler = signal.getsignal(signal.SIGINT)

    def press() -> None:
        plugin.before_fetch.clear()
        os.kill(os.getpid(), signal.SIGINT)

    plugin.before_fetch.append(press)
    assert run("migrate", "--yes") == 130
    assert "`alimail migrate` goes on" in capsys.readouterr().err.splitlines()[-1]
    assert signal.getsignal(signal.SIGINT) is handler
    assert run("migrate", "--yes", "--quiet") == 0
    for name in ("anna", "bert"):
        there = plugin.boxes[f"{name}@new.example"].everything()
        assert there == plugin.boxes[f"{name}@old.example"].everything()


TWICE = """
import os, signal, sys, threading
from tests.memory_plugin import MemoryPlugin, registry_of
from alimail_core.cli import main
from alimail_core.errors import Denied
from alimail_core.model import INBOX
from alimail_core.plan import AccountPlan
from alimail_core.testing import FakeClock, message

def press():
    os.kill(os.getpid(), signal.SIGINT)
    threading.Event().wait(0.05)

plugin = MemoryPlugin()
for number in range(1000):
    plugin.boxes["anna@old.example"].deliver(INBOX, message(f"Letter {number}"))
plugin.before_fetch.append(press)
sys.exit(main(["migrate", "--yes", "--quiet"], registry_of(plugin)) + 100)
"""


@pytest.mark.slow
def test_second_interruption_ends_at_once(run: Run, tmp_path: Path) -> None:
    """Ctrl-C twice ends the process there and then, with 130."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", TWICE],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 130, done.stderr
    assert "ended at once" in done.stderr


def test_bug_of_one_account_stops_no_other(
    run: Run, plugin: MemoryPlugin, capsys: pytest.CaptureFixture[str]
) -> None:
    """A plug-in that breaks at one message fails its account, in a line without the message's words."""

    def broken() -> None:
        plugin.before_fetch.clear()
        raise ValueError("Dear Anna")

    plugin.before_fetch.append(broken)
    assert run("migrate", "--yes") == 1
    told = capsys.readouterr()
    assert "1 of 2 accounts all there" in told.out
    assert told.err.count("a bug at the account") == 1
    assert "Traceback" not in told.err
    (trace,) = Path("home").rglob("bugs.jsonl")
    assert "builtins.ValueError" in trace.read_text()
    assert "Dear" not in trace.read_text() + told.out + told.err
    assert run("migrate", "--yes", "--quiet") == 0


def test_bug_is_one_line_and_a_trace_without_content(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What nobody foresaw is told in a line that names a file with the trace, and exit code 1."""

    def broken(*_: Any) -> None:
        raise ValueError("Dear Anna")

    monkeypatch.setattr("alimail_core.config.load.load", broken)
    assert run("status") == 1
    error = capsys.readouterr().err
    assert error.startswith("alimail: a bug (ValueError). Its trace is in ")
    assert len(error.splitlines()) == 1
    (trace,) = Path("home").rglob("bugs.jsonl")
    assert "builtins.ValueError" in trace.read_text()
    assert "Anna" not in trace.read_text() + error


def test_broken_pipe_is_no_traceback(run: Run, tmp_path: Path) -> None:
    """A reader that goes away, such as ``head``, ends the command quietly."""
    script = "import sys; from alimail_core.cli import main; sys.exit(main(['plugins', 'show', 'imap']))"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-c", script], stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_run_with_processes_is_refused_for_prompts(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """A password that is asked here cannot be had in another process, and that is told before anything moves."""
    Path("alimail.toml").write_text(
        CONFIG.replace('name = "test"', 'name = "test"\nexecutor = "processes"').replace("env:OLD", "prompt")
    )
    assert run("migrate", "--yes") == 2
    assert "executor" in capsys.readouterr().err
