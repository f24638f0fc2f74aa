"""What somebody does wrong at the command line, and what it says then: one plain error, and never a bug."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.memory_plugin import MemoryPlugin, Run, command_line, config_of, registry_of

URLS = ("mem://anna%40old.example@old.example", "mem://anna%40new.example@new.example")


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return the command line, in a folder of its own with a configuration for two accounts."""
    alimail = command_line(registry_of(MemoryPlugin()), tmp_path, monkeypatch)
    Path("alimail.toml").write_text(config_of("anna", "bert"))
    return alimail


@pytest.mark.parametrize("words", [("copy", *URLS), ("init", "--yes"), ("status",)])
def test_a_folder_that_is_gone(
    words: tuple[str, ...],
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whoever stands in a folder that was deleted is told so, by every verb."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert run(*words) == 2
    assert capsys.readouterr().err.splitlines() == [
        "alimail: the current folder cannot be found: it was deleted or moved",
        "  -> `cd` to another one.",
    ]
