"""The log: JSON lines from events, without content, without secrets, without touching anybody's structlog."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import structlog

from alimail_core.errors import Denied, InputError
from alimail_core.events import (
    BatchSettled,
    FolderListed,
    FolderSettled,
    Noted,
    PassEnded,
    PassStarted,
    ProblemFound,
    Waiting,
)
from alimail_core.logs import REASON_LENGTH, JsonLog
from alimail_core.seam import Clock
from alimail_core.traces import trace_of

A = "a@old.example"
INBOX = ("INBOX",)


class Noon(Clock):
    """A clock that always says noon."""

    def now(self) -> datetime:
        """Return noon of a day."""
        return datetime(2026, 3, 1, 12, tzinfo=UTC)


def lines(path: Path) -> list[dict[str, Any]]:
    """Return a log's lines, each of which must be JSON."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_each_event_is_a_line_with_its_migration_account_folder_and_batch(tmp_path: Path) -> None:
    """Whoever reads the log can tell which migration, account, folder and batch a line is about."""
    path = tmp_path / "logs" / "run.jsonl"
    with JsonLog(path, "head-office", Noon()) as log:
        log(PassStarted(A, 3))
        log(FolderListed(A, ("收件箱", "a/b"), INBOX, 2, 20))
        log(BatchSettled(A, INBOX, copied=1, octets=10))
        log(BatchSettled(A, INBOX, adopted=1, octets=10))
    first, listed, _, last = lines(path)
    assert first == {
        "timestamp": "2026-03-01T12:00:00.000+00:00",
        "level": "info",
        "event": "pass_started",
        "migration": "head-office",
        "account": A,
        "number": 3,
    }
    assert listed["folder"] == ["收件箱", "a/b"]
    assert (last["batch"], last["adopted"], last["event"]) == (2, 1, "batch_settled")


def test_levels_tell_what_needs_a_look(tmp_path: Path) -> None:
    """A problem is a warning, an account that failed an error, the rest is information."""
    path = tmp_path / "run.jsonl"
    with JsonLog(path, "m") as log:
        log(FolderSettled(A, INBOX))
        log(Noted(A, "a keyword was dropped"))
        log(Waiting(A, 30.0, "slower"))
        log(ProblemFound(A, INBOX, "1/2", "no", "do this"))
        log(PassEnded(A, 1, "done", 1, 0, 1, 0))
        log(PassEnded(A, 1, "problems", 1, 0, 1, 1))
        log(PassEnded(A, 1, "failed", 0, 0, 0, 0, "login refused"))
    assert [line["level"] for line in lines(path)] == [
        "info",
        "notice",
        "warning",
        "warning",
        "info",
        "warning",
        "error",
    ]


def test_untrusted_words_stay_within_their_line(tmp_path: Path) -> None:
    """A server's answer with line ends, quotes and no end at all is one line of plain JSON, and cut."""
    name = 'a"\n{"level": "info"}\ud800\u202e\x9b\x1b'
    path = tmp_path / "run.jsonl"
    with JsonLog(path, "m") as log:
        log(ProblemFound(A, (name,), None, "x" * 100_000, ""))
    (line,) = lines(path)
    assert line["folder"] == [name]
    assert path.read_text("utf-8").rstrip("\n").isprintable()
    assert len(line["reason"]) == REASON_LENGTH + 1


def test_log_is_appended_and_for_its_owner_alone(tmp_path: Path) -> None:
    """A second run adds to the file, which others may not read."""
    path = tmp_path / "run.jsonl"
    for number in (1, 2):
        with JsonLog(path, "m") as log:
            log(PassStarted(A, number))
    assert [line["number"] for line in lines(path)] == [1, 2]
    assert path.stat().st_mode & 0o077 == 0


def test_log_that_cannot_be_written_is_a_fault_of_the_input(tmp_path: Path) -> None:
    """A folder in the place of the file is told before anything is moved."""
    with pytest.raises(InputError, match="cannot be written") as caught:
        JsonLog(tmp_path, "m")
    assert caught.value.remedy


def test_embedder_keeps_its_structlog(tmp_path: Path) -> None:
    """Making and using a log leaves structlog's own configuration as it was."""
    seen: list[str] = []
    before = structlog.get_config()
    with structlog.testing.capture_logs() as captured, JsonLog(tmp_path / "run.jsonl", "m") as log:
        log(PassStarted(A, 1))
        structlog.get_logger().info("the embedder's own")
        seen += [each["event"] for each in captured]
    assert seen == ["the embedder's own"]
    assert structlog.get_config() == before
    assert len(lines(tmp_path / "run.jsonl")) == 1


def test_threads_do_not_mix_their_lines(tmp_path: Path) -> None:
    """Accounts that run side by side write whole lines, each counting its own batches."""
    path = tmp_path / "run.jsonl"
    with JsonLog(path, "m") as log:

        def account(name: str) -> None:
            for _ in range(200):
                log(BatchSettled(name, INBOX, copied=1))

        threads = [threading.Thread(target=account, args=(f"{n}@x",)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    written = lines(path)
    assert len(written) == 800
    assert {line["batch"] for line in written if line["account"] == "0@x"} == set(range(1, 201))


def test_trace_of_a_bug_holds_no_piece_of_a_message(tmp_path: Path) -> None:
    """The trace tells files, lines and kinds; an exception's text, which may quote a message, is left out."""
    path = tmp_path / "run.jsonl"
    with JsonLog(path, "m") as log:
        try:
            try:
                int("Dear Anna, the password is hunter2")
            except ValueError as error:
                raise KeyError("Dear Anna") from error
        except KeyError as bug:
            log.bug(bug)
    (line,) = lines(path)
    assert line["level"] == "critical"
    assert [each for each in line["trace"] if each.startswith("builtins.")] == [
        "builtins.ValueError",
        "builtins.KeyError",
    ]
    assert "Anna" not in path.read_text("utf-8")
    assert "hunter2" not in path.read_text("utf-8")


def test_trace_keeps_the_words_of_our_own_errors() -> None:
    """Errors of ours and of the operating system hold no content and tell what happened."""
    assert list(trace_of(Denied("login refused")))[-1].endswith("Denied: login refused")
    assert "No such file" in list(trace_of(FileNotFoundError(2, "No such file")))[-1]
