"""What a newcomer trips over, as the command line tells it: at once, all of it, and with what to do."""

from __future__ import annotations

import io
from pathlib import Path
from typing import NoReturn

import pytest
from attrs import evolve, frozen

from alimail_core.cli import main
from alimail_core.contract import SinkKind, SourceKind, option
from alimail_core.errors import Denied, Refused
from alimail_core.hookspec import hookimpl
from alimail_core.model import INBOX
from alimail_core.testing import message
from tests.memory_plugin import MemoryOptions, MemoryPlugin, Run, command_line, config_of, registry_of


def away(*_: object) -> NoReturn:
    """Stand for a server that nobody reaches."""
    raise Denied("there is no server of the name old.example", remedy="Check its spelling.")


class Away:
    """A plug-in whose servers cannot be reached."""

    @hookimpl
    def alimail_sources(self) -> list[SourceKind[MemoryOptions]]:
        """Register the source."""
        return [SourceKind("away", "A server that is away.", MemoryOptions, away)]

    @hookimpl
    def alimail_sinks(self) -> list[SinkKind[MemoryOptions]]:
        """Register the sink."""
        return [SinkKind("away", "A server that is away.", MemoryOptions, away)]


@pytest.fixture
def plugin() -> MemoryPlugin:
    """Return servers in memory; Anna and Bert have a letter each."""
    plugin = MemoryPlugin()
    for name in ("anna", "bert"):
        plugin.boxes[f"{name}@old.example"].deliver(INBOX, message(f"To {name}"))
        plugin.boxes[f"{name}@new.example"].make(INBOX)
    return plugin


@pytest.fixture
def run(plugin: MemoryPlugin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return the command line, in a folder of its own, with servers that answer and servers that do not."""
    registry = registry_of(plugin)
    registry.register(Away(), name="away")
    return command_line(registry, tmp_path, monkeypatch)


def configure(kind: str = "mem", old: str = "env:OLD", new: str = "env:NEW", *rows: str) -> None:
    """Write a configuration, and a roster where there are rows."""
    text = config_of(*([] if rows else ["anna", "bert"])).replace('"mem"', f'"{kind}"')
    text = text.replace("env:OLD", old).replace("env:NEW", new)
    if rows:
        text = text.replace('name = "test"', 'name = "test"\nroster = "roster.csv"')
        Path("roster.csv").write_text("\n".join(["source,source password,target", *rows]) + "\n")
    Path("alimail.toml").write_text(text)


# secrets


LOST = {"anna": "NOPE", "bert": "OLD"}
"""Whose password stands in which variable; one of them is not set."""


@pytest.mark.parametrize("verb", [["check"], ["plan"], ["migrate", "--yes"], ["verify"]])
def test_secrets_that_cannot_be_had_are_told_before_any_server_is_asked(
    run: Run, verb: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """All of them, once each, though every account has them; nobody waits for a connection first."""
    configure("away", "env:NOPE", "file:nowhere.txt")
    assert run(*verb) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("(env:NOPE) is not set") == 1
    assert told.err.count("nowhere.txt) cannot be read") == 1
    assert "set the environment variable NOPE" in told.err
    assert "no server" not in told.err


def test_copy_tells_both_secrets_before_any_server_is_asked(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also an empty file, which holds no secret."""
    Path("empty.txt").touch()
    words = ("--source-secret", "env:NOPE", "--target-secret", "file:empty.txt")
    assert run("copy", "away://anna@old.example", "away://carl@new.example", *words) == 2
    told = capsys.readouterr()
    assert "(env:NOPE) is not set" in told.err
    assert "empty.txt) is empty" in told.err
    assert "no server" not in told.out + told.err


def test_an_account_without_its_secret_waits_and_the_others_go_on(
    run: Run, plugin: MemoryPlugin, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is told first, its servers are not asked, and Bert's mail arrives."""
    rows = [f"{name}@old.example,env:{secret},{name}@new.example" for name, secret in LOST.items()]
    configure("mem", "env:OLD", "env:NEW", *rows)
    assert run("migrate", "--yes") == 3
    first = capsys.readouterr().err.splitlines()[0]
    assert first == "the secret of source anna@old.example (env:NOPE) is not set"
    assert plugin.boxes["bert@new.example"].everything().total() == 1
    assert not plugin.boxes["anna@new.example"].everything()


def test_an_account_without_its_secret_asks_no_server(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    """Bert hears that the server is away, and Anna, who could not log in to it, of her secret alone."""
    rows = [f"{name}@old.example,env:{secret},{name}@new.example" for name, secret in LOST.items()]
    configure("away", "env:OLD", "env:NEW", *rows)
    assert run("migrate", "--yes", "--plain") == 1
    out = capsys.readouterr().out
    assert "anna@old.example: the secret of source anna@old.example (env:NOPE) is not set" in out
    assert "bert@old.example: source: there is no server of the name old.example" in out


@pytest.mark.parametrize(("rows", "code"), [(["anna"], 1), (["anna", "bert"], 3)])
def test_where_all_accounts_wait_nothing_could_go_on(run: Run, rows: list[str], code: int) -> None:
    """3 promises a script that what could be done was done; where nothing was, it is 1, as the guide says."""
    secrets = {"anna": "", "bert": "env:OLD"}
    table = [f"{name}@old.example,{secrets[name]},{name}@new.example" for name in rows]
    configure("mem", "env:OLD", "env:NEW", *table)
    text = Path("alimail.toml").read_text()
    Path("alimail.toml").write_text(text.replace('secret = "env:OLD"', ""))
    assert run("migrate", "--yes", "--quiet") == code
    guide = (Path(__file__).parent.parent / "docs" / "guides" / "admin.md").read_text("utf-8")
    assert "exit code 3, or with 1 where every account waits" in " ".join(guide.split())


@pytest.mark.parametrize(
    ("urls", "told"),
    [
        (("away://anna@old.example", "away://carl@new.example"), "there is no password"),
        (("away://anna:S3cret@old.example", "away://carl:S3cret@new.example"), "it has a password in it"),
    ],
)
def test_copy_tells_what_is_wrong_with_both_sides(
    run: Run,
    urls: tuple[str, str],
    told: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Who has mistaken one URL, or named no secret for it, mostly has so twice."""
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert run("copy", *urls) == 2
    error = capsys.readouterr().err
    assert "S3cret" not in error
    for side in ("source", "target"):
        assert any(line.startswith(side) and told in line for line in error.splitlines())
        assert f"--{side}-secret env:NAME" in error


@frozen
class SharedOptions:
    """Options one of which is for a single account."""

    host: str = option("The server's name.", default="")
    shared_account: str | None = option("Who brings what belongs to nobody.", default=None, account=True)


def test_copy_refuses_an_option_that_is_for_another_mailbox(
    run: Run, plugin: MemoryPlugin, capsys: pytest.CaptureFixture[str]
) -> None:
    """What it would bring comes with that mailbox alone, so that it would stay behind without a word."""
    registry = registry_of(plugin)

    class Shared:
        @hookimpl
        def alimail_sources(self) -> list[SourceKind[SharedOptions]]:
            return [SourceKind("shared", "A server.", SharedOptions, away)]

    registry.register(Shared(), name="shared")
    url = "shared://anna%40old.example@old.example?shared_account="
    words = ("mem://anna@new.example", "--source-secret", "env:OLD", "--target-secret", "env:NEW")
    assert main(["copy", f"{url}bert@old.example", *words], registry) == 2
    told = capsys.readouterr().err
    assert "shared_account is bert@old.example, and the mailbox that is copied is anna@old.example" in told
    assert main(["copy", f"{url}Anna@old.example", *words], registry) == 1
    assert "there is no server of the name old.example" in capsys.readouterr().err


# what is said at the end


COPY = ("--source-secret", "env:OLD", "--target-secret", "env:NEW")


def test_a_copy_that_failed_does_not_advise_as_if_it_had_not(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """The last line says that it could not go on, and that the same command goes on from there."""
    assert run("copy", "away://anna@old.example", "mem://carl@new.example", *COPY) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("It could not go on; see above.")


@pytest.mark.parametrize("side", ["source", "target"])
def test_a_copy_that_is_not_let_in_says_on_which_side(
    run: Run,
    plugin: MemoryPlugin,
    side: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Both have a server and a password, and often the same user: else the right one of two is mended."""
    monkeypatch.setenv("WRONG", "wrong")
    words = ("--source-secret", "env:OLD", "--target-secret", "env:NEW", f"--{side}-secret", "env:WRONG")
    assert run("copy", "mem://anna@one.example", "mem://anna@two.example", *words) == 1
    told = capsys.readouterr()
    host = {"source": "one.example", "target": "two.example"}[side]
    assert f": {side} {host}: login of anna refused" in told.out
    assert f": {side} {host}: login of anna refused" in told.err


def test_a_copy_with_problems_says_that_not_all_of_it_went(
    run: Run, plugin: MemoryPlugin, capsys: pytest.CaptureFixture[str]
) -> None:
    """It names what to do about the rest."""
    uid = plugin.boxes["anna@old.example"].deliver(INBOX, message("torn"))
    plugin.boxes["anna@old.example"].spoil(INBOX, uid, "NO corrupt")
    assert run("copy", "mem://anna@old.example", "mem://carl@new.example", *COPY) == 3
    assert capsys.readouterr().out.splitlines()[-1].startswith("Not all of it could be carried.")


def test_a_copy_again_offers_what_was_refused(run: Run, plugin: MemoryPlugin) -> None:
    """The last line of the first promises that the same command tries the rest, and so it does."""
    target = plugin.boxes["carl@new.example"]
    target.traits = evolve(target.traits, refuse=lambda _: Refused("NO not now", about="other"))
    urls = ("mem://anna@old.example", "mem://carl@new.example")
    assert run("copy", *urls, *COPY) == 3
    target.traits = evolve(target.traits, refuse=None)
    assert run("copy", *urls, *COPY) == 0
    assert target.everything() == plugin.boxes["anna@old.example"].everything()


def test_a_copy_fills_again_what_its_target_lost_by_wish(run: Run, plugin: MemoryPlugin) -> None:
    """Without the wish it was its user who removed it."""
    urls = ("mem://anna@old.example", "mem://carl@new.example")
    target = plugin.boxes["carl@new.example"]
    assert run("copy", *urls, *COPY) == 0
    target.delete(INBOX, *target.uids(INBOX))
    assert run("copy", *urls, *COPY) == 0
    assert not target.everything()
    assert run("copy", *urls, *COPY, "--refill") == 0
    assert target.everything() == plugin.boxes["anna@old.example"].everything()


def test_a_plan_of_servers_that_are_away_is_their_faults_alone(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """No table without a row stands before them."""
    configure("away")
    assert run("plan") == 3
    out = capsys.readouterr().out
    assert "FAULT: source: there is no server of the name old.example" in out
    assert "Folder" not in out
    assert "Octets" not in out
