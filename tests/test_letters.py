"""Letters: each person is asked for what is missing and nothing else, in files that any system can hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from attrs import evolve, frozen
from hypothesis import given
from hypothesis import strategies as st

from alimail_core.cli import main
from alimail_core.errors import InputError
from alimail_core.letters import Language, file_name, letter, write_letters
from alimail_core.secrets import Secret
from alimail_core.spec import AccountSpec, Endpoint
from tests.memory_plugin import PASSWORD, MemoryPlugin, registry_of

CONFIG = """
[migration]
name = "test"
roster = "roster.csv"
[source]
kind = "mem"
host = "old.example"
[target]
kind = "mem"
host = "new.example"
secret = "env:NEW"
"""


@frozen
class Options:
    """A server's name."""

    host: str


def _account(
    source: str = "anna@old.example", source_secret: Secret | None = None, target_secret: Secret | None = None
) -> AccountSpec:
    end = Endpoint("mem", None)
    return AccountSpec(
        source,
        "anna@new.example",
        end,
        end,
        source,
        "anna@new.example",
        source_secret or Secret.missing(f"source {source}"),
        target_secret or Secret.missing("target anna@new.example"),
    )


@pytest.mark.parametrize(("language", "old", "new"), [("en", "OLD", "NEW"), ("zh", "* 原邮箱", "* 新邮箱")])
def test_a_letter_asks_for_what_is_missing(language: Language, old: str, new: str) -> None:
    """Both passwords, or the one that is missing; both addresses stand in each letter."""
    given_one = Secret.literal("S3cret-1", "source anna@old.example")
    both, one = letter(_account(), language), letter(_account(source_secret=given_one), language)
    assert (old in both, new in both, old in one, new in one) == (True, True, False, True)
    for text in (both, one):
        assert "anna@old.example" in text
        assert "anna@new.example" in text
        assert "S3cret" not in text
        assert "{" not in text


def test_a_refused_password_is_asked_for_unless_all_share_it() -> None:
    """Where nothing is missing, a person is asked for their own passwords and not for an administrator's."""
    own = Secret.literal("S3cret-1", "source anna@old.example")
    shared = Secret("env", "MASTER", "every target account")
    text = letter(_account(source_secret=own, target_secret=shared), "en", "Ms Li\x1b")
    assert "OLD" in text
    assert "NEW" not in text
    assert "Give it to Ms Li\\x1b, in person" in text
    assert "did not let us in" in text
    assert "did not let us in" not in letter(_account(source_secret=own), "en")


@pytest.mark.parametrize(
    ("host", "told", "other"),
    [
        ("imap.gmail.com", "apppasswords", "Zoho"),
        ("imap.exmail.qq.com", "客户端专用密码", "授权码"),
        ("imap.qiye.163.com", "客户端授权码", "yeah.net"),
        ("IMAP.163.com.", "yeah.net", "客户端授权码"),
        ("imap.qq.com", "QQ", "Exmail"),
        ("mail.old.example", "Zoho", "what the old system wants"),
        ("notgmail.com", "Zoho", "what the old system wants"),
    ],
)
def test_only_the_steps_of_the_old_system_are_told(host: str, told: str, other: str) -> None:
    """Where its server is known; where it is not, those of all, and of what stands elsewhere."""
    text = letter(evolve(_account(), source=Endpoint("imap", Options(host))), "en")
    assert told in text
    assert other not in text
    assert "choose all mail" in text
    assert max(map(len, text.splitlines())) <= 120


@given(st.text(max_size=300))
def test_any_address_gives_a_safe_file_name(address: str) -> None:
    """Whatever an address holds, its file's name is short, plain, and stays in the folder."""
    name = file_name(_account(address))
    assert re.fullmatch(r"[A-Za-z0-9@_+][A-Za-z0-9@._+-]*-[0-9a-f]{8}\.txt", name)
    assert len(name) < 80


def test_names_differ_where_addresses_do(tmp_path: Path) -> None:
    """Addresses that look the same once they are made safe have files of their own, and no file is overwritten."""
    accounts = [_account("ä@old.example"), _account("ö@old.example")]
    written = write_letters(accounts, tmp_path / "letters", "zh")
    assert len({path.name for path in written}) == 2
    with pytest.raises(InputError, match="is there already"):
        write_letters(accounts[1:], tmp_path / "letters", "en")


def test_letters_go_to_those_who_are_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One is missing and one was refused: two letters. With all given there is none."""
    monkeypatch.chdir(tmp_path)
    for name, value in {"OLD": PASSWORD, "NEW": PASSWORD, "WRONG": "not it"}.items():
        monkeypatch.setenv(name, value)
    registry = registry_of(MemoryPlugin())
    rows = [("anna", "env:OLD"), ("bert", ""), ("carl", "env:WRONG")]
    lines = [f"{name}@old.example,{secret},{name}@new.example" for name, secret in rows]
    Path("roster.csv").write_text("\n".join(["source,source password,target", *lines]))
    Path("alimail.toml").write_text(CONFIG)
    assert main(["migrate", "--yes", "--quiet"], registry) == 3
    assert main(["letters", "-o", "out", "--language", "zh", "--give-to", "李"], registry) == 0
    assert "written: 2 letters to out" in capsys.readouterr().out
    assert sorted(path.name.split("@")[0] for path in Path("out").iterdir()) == ["bert", "carl"]
    assert all("交给李" in path.read_text("utf-8") for path in Path("out").iterdir())
    assert main(["letters", "-o", "none", "--search", "anna"], registry) == 0
    assert "Nobody has to be asked" in capsys.readouterr().out
    assert not Path("none").exists()
    assert main(["letters", "-o", "one", "--only", "bert@new.example"], registry) == 0
    assert [path.name.split("@")[0] for path in Path("one").iterdir()] == ["bert"]
