"""References to secrets: where each kind is found, and that none of them tells what it is."""

from __future__ import annotations

import getpass
import os
import pickle
import shlex
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import keyring
import keyring.errors
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alimail_core import secrets
from alimail_core.errors import Denied, InputError, LoginDenied, Transient
from alimail_core.secrets import Secret, cell_fault, parse_cell, parse_secret

VALUE = "S3cr-it! pass"


def _python(code: str) -> str:
    return f"command:{shlex.join([sys.executable, '-c', code])}"


def test_env_is_read_anew_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A variable that changes gives another value, and one that is not set is denied with a remedy."""
    secret = parse_secret("env:ALIMAIL_TEST_SECRET", label="source a@b")
    monkeypatch.setenv("ALIMAIL_TEST_SECRET", VALUE)
    assert secret.get() == VALUE
    monkeypatch.setenv("ALIMAIL_TEST_SECRET", "other")
    assert secret.get() == "other"
    monkeypatch.delenv("ALIMAIL_TEST_SECRET")
    with pytest.raises(Denied, match=r"source a@b .*is not set") as caught:
        secret.get()
    assert "ALIMAIL_TEST_SECRET" in caught.value.remedy


@pytest.mark.parametrize(
    ("octets", "value"),
    [
        (b"pass\n", "pass"),
        (b"pass\r\nnotes\r\n", "pass"),
        (b"pass", "pass"),
        (b" pass word \n", " pass word "),
        (b"\xef\xbb\xbf\xe5\xaf\x86\n", "密"),
    ],
)
def test_a_file_gives_its_first_line(tmp_path: Path, octets: bytes, value: str) -> None:
    """Line end and BOM are taken off, spaces are not."""
    (tmp_path / "pw").write_bytes(octets)
    assert parse_secret("file:pw", base=tmp_path).get() == value


@pytest.mark.parametrize("octets", [b"", b"\nsecond\n", b"\xff\xfe\n", b"x" * (secrets.MAX_OCTETS + 1)])
def test_a_file_without_a_secret_is_denied(tmp_path: Path, octets: bytes) -> None:
    """Empty, binary and endless files are refused, and nothing of them is told."""
    (tmp_path / "pw").write_bytes(octets)
    with pytest.raises(Denied) as caught:
        parse_secret("file:pw", base=tmp_path).get()
    assert "second" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.skipif(os.name == "nt", reason="named pipes are POSIX's")
def test_a_file_that_can_be_read_once_is_not_read_to_look_at_it(tmp_path: Path) -> None:
    """A shell's <(...) gives what it has to one reader alone."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    writer = threading.Thread(target=(tmp_path / "pipe").write_text, args=[VALUE], daemon=True)
    writer.start()
    secret = parse_secret(f"file:{tmp_path / 'pipe'}")
    assert secret.check() is None
    assert secret.get() == VALUE
    writer.join()


@pytest.mark.parametrize("octets", [b"", b"\xff\n"])
def test_a_file_without_a_secret_is_found_by_check(tmp_path: Path, octets: bytes) -> None:
    """Before anybody connects, so that nobody waits for a server to hear of it."""
    (tmp_path / "pw").write_bytes(octets)
    secret = parse_secret("file:pw", base=tmp_path)
    remark = secret.check()
    assert remark is not None
    assert remark.level == "fault"
    with pytest.raises(LoginDenied) as caught:
        secret.require()
    assert (caught.value.message, caught.value.remedy) == (remark.text, remark.remedy)


def test_a_missing_file_is_denied_and_found_by_check(tmp_path: Path) -> None:
    """``get`` and ``check`` both say that the file is not there."""
    secret = parse_secret(f"file:{tmp_path / 'nowhere'}")
    with pytest.raises(Denied, match="cannot be read"):
        secret.get()
    remark = secret.check()
    assert remark is not None
    assert remark.level == "fault"


@pytest.mark.skipif(os.name == "nt", reason="modes are POSIX's")
def test_a_file_that_others_can_read_is_warned_of(tmp_path: Path) -> None:
    """Mode 0600 is silent; any right of group or others is a warning with the command that mends it."""
    path = tmp_path / "pw"
    path.write_text("x\n")
    path.chmod(0o600)
    secret = parse_secret(f"file:{path}")
    assert secret.check() is None
    path.chmod(0o640)
    remark = secret.check()
    assert remark is not None
    assert (remark.level, remark.remedy) == ("warning", f"chmod 600 {path}")


def test_a_command_gives_its_first_line_without_a_shell() -> None:
    """Arguments reach the program as they are; ``$`` and ``;`` mean nothing."""
    secret = parse_secret(_python("import sys; print(sys.argv[1]); print('more')") + " '$HOME;ls'")
    assert secret.get() == "$HOME;ls"


def test_a_command_that_fails_tells_nothing_of_its_output(capfd: pytest.CaptureFixture[str]) -> None:
    """Neither stdout nor stderr nor the arguments of a failing command are repeated anywhere."""
    secret = parse_secret(_python(f"import sys; print('{VALUE}'); sys.stderr.write('{VALUE}'); sys.exit(3)"))
    with pytest.raises(Denied, match="exit code 3") as caught:
        secret.get()
    assert VALUE not in "".join((str(caught.value), caught.value.remedy, repr(secret), *capfd.readouterr()))


def test_a_command_that_hangs_is_transient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that does not end is tried again later."""

    def hang(*arguments: Any, **options: Any) -> None:
        raise subprocess.TimeoutExpired(arguments, options["timeout"], output=VALUE.encode())

    monkeypatch.setattr(subprocess, "run", hang)
    with pytest.raises(Transient) as caught:
        parse_secret("command:token").get()
    assert VALUE not in repr(caught.value)


def test_a_command_that_is_not_there_is_found_by_check() -> None:
    """``check`` looks the program up, ``get`` denies."""
    secret = parse_secret("command:no-such-program-anywhere --secret=x")
    remark = secret.check()
    assert remark is not None
    assert "--secret" not in remark.text
    with pytest.raises(Denied, match="cannot be run"):
        secret.get()
    assert parse_secret(_python("0")).check() is None


class _Keyring:
    def get_password(self, service: str, username: str) -> str | None:
        if service == "locked":
            raise keyring.errors.KeyringLocked(VALUE)
        return VALUE if (service, username) == ("https://mail.example/x", "anna") else None


def test_the_keyring_is_asked_for_service_and_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """The user stands after the last slash; what is not there, or locked, is denied."""
    ring = _Keyring()
    monkeypatch.setattr(keyring, "get_password", ring.get_password)
    assert parse_secret("keyring:https://mail.example/x/anna").get() == VALUE
    with pytest.raises(Denied, match="not in the keyring") as caught:
        parse_secret("keyring:mail/ben").get()
    assert caught.value.remedy == "keyring set mail ben"
    with pytest.raises(Denied, match="KeyringLocked") as locked:
        parse_secret("keyring:locked/x").get()
    assert VALUE not in str(locked.value)


def test_without_the_extra_the_keyring_tells_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """The remedy is a command that can be pasted."""
    monkeypatch.setitem(sys.modules, "keyring", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    secret = parse_secret("keyring:a/b")
    with pytest.raises(Denied) as caught:
        secret.get()
    assert caught.value.remedy == 'pip install "alimail[keyring]"'
    remark = secret.check()
    assert remark is not None
    assert remark.remedy == 'pip install "alimail[keyring]"'


def test_a_prompt_is_asked_once_for_each_label(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same label is not asked twice, an empty answer is not remembered, other labels are asked anew."""
    asked: list[str] = []
    answers = iter(["", "one", "two"])
    monkeypatch.setattr(secrets, "_asked", {})
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)

    def answer(prompt: str) -> str:
        asked.append(prompt)
        return next(answers)

    monkeypatch.setattr(getpass, "getpass", answer)
    with pytest.raises(Denied, match="is empty"):
        parse_secret("prompt", label="a").get()
    assert [parse_secret("prompt", label=label).get() for label in ("a", "a", "b", "a")] == [
        "one",
        "one",
        "two",
        "one",
    ]
    assert asked == ["Password of a: ", "Password of a: ", "Password of b: "]


def test_a_prompt_needs_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a terminal nothing is asked, and ``check`` says so beforehand."""
    monkeypatch.setattr(secrets, "_asked", {})
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False)
    secret = parse_secret("prompt")
    with pytest.raises(Denied, match="on a terminal only"):
        secret.get()
    remark = secret.check()
    assert remark is not None
    assert remark.level == "fault"


def test_only_a_prompt_stays_in_its_process() -> None:
    """Everything else can be found, or is carried, where a worker runs."""
    references = ["env:A", "file:a", "keyring:a/b", "command:a", "prompt"]
    assert [parse_secret(text).leaves_process for text in references] == [True, True, True, True, False]
    assert Secret.literal("x").leaves_process


@pytest.mark.parametrize(
    "text",
    [
        "hunter2",
        "",
        "env:",
        "env:A B",
        "file:",
        "file:  ",
        "keyring:a",
        "keyring:/b",
        "command:",
        "command:'a",
        "prompt:x",
    ],
)
def test_what_is_no_reference_is_refused_without_being_repeated(text: str) -> None:
    """The message never holds what was written, since it may be the secret."""
    with pytest.raises(InputError) as caught:
        parse_secret(text)
    assert "hunter2" not in str(caught.value)
    assert caught.value.remedy


@given(st.text(min_size=8))
def test_a_literal_is_never_shown(value: str) -> None:
    """``repr``, ``str``, formatting and the reference hold nothing of a password that a roster gave."""
    secret = Secret.literal(value, "a@b")
    shown = {repr(secret), str(secret), f"{secret}", secret.reference}
    assert shown == {"Secret('given in the roster')", "given in the roster"}
    assert secret.get() == value
    assert secret == pickle.loads(pickle.dumps(secret))
    assert secret != Secret.literal(value + "x", "a@b")


@given(st.text(min_size=1))
def test_a_roster_cell_is_a_reference_or_the_password_itself(text: str) -> None:
    """``literal:`` makes a password of anything; a text without a known scheme is one anyway."""
    assert parse_cell(f"literal:{text}").get() == text
    if cell_fault(text) is None:
        secret = parse_cell(text)
        assert secret.scheme != "literal" or secret.get() == text.removeprefix("literal:")
    else:
        assert text.startswith("literal:") or ":" in text


def test_a_cell_that_looks_like_a_reference_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """References in a roster are read as in the configuration."""
    monkeypatch.setenv("ALIMAIL_TEST_SECRET", VALUE)
    assert parse_cell("env:ALIMAIL_TEST_SECRET").get() == VALUE
    assert parse_cell("literal:env:X").get() == "env:X"
    assert parse_cell("a:b").get() == "a:b"
