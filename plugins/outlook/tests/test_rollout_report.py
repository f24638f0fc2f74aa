"""What machines have told: read without trust, and shown to people without harm."""

from __future__ import annotations

import csv
import json
import random
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alimail_core import InputError
from alimail_outlook import rules
from alimail_outlook.rollout import report, verb_report
from alimail_outlook.rollout.scripts import SCHEMA
from alimail_outlook.rollout.states import MOST, STANDINGS, collected

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
WELL = {rule.name: "ok" for rule in rules.RULES}


def told(folder: Path, name: str, moment: datetime = NOW, file: str = "", **more: Any) -> Path:
    """Write what a machine tells; it is well unless ``more`` says otherwise."""
    state = {
        "schema": SCHEMA,
        "version": 1,
        "machine": name,
        "user": "anna",
        "at": f"{moment:%Y-%m-%dT%H:%M:%SZ}",
        "progid": "Maker.Product",
        "installer": "0" * 64,
        "levels": WELL,
    }
    path = folder / (file or f"{name}_anna.json")
    path.write_text(json.dumps(state | more), encoding="utf-8-sig")
    return path


@pytest.mark.parametrize(
    ("levels", "standing"),
    [
        (WELL, "loaded"),
        (WELL | {"do_not_disable": "warning"}, "at risk"),
        (WELL | {"load_behavior": "fault"}, "not loaded"),
        (WELL | {"of a later version": "fault"}, "not loaded"),
        ({"registered": "fault"}, "not installed"),
    ],
)
def test_a_machine_stands_as_its_levels_say(tmp_path: Path, levels: Any, standing: str) -> None:
    """Not installed where a rule that stops does not hold; at risk where only a warning is there."""
    told(tmp_path, "PC1", levels=levels)
    (state,) = collected(tmp_path).states
    assert state.standing == standing
    assert [rule.name for rule in state.broken] == [name for name in levels if levels[name] != "ok"]


def test_the_latest_of_a_machine_counts(tmp_path: Path) -> None:
    """Whatever the files are called, and whatever the case of the names."""
    told(tmp_path, "PC1", NOW, file="a.json")
    told(tmp_path, "pc1", NOW - timedelta(days=1), file="b.json", levels={"registered": "fault"})
    found = collected(tmp_path)
    assert [state.standing for state in found.states] == ["loaded"]
    assert found.older == 1


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\xff\xfe",
        b"[" * 5_000,
        b"[1]",
        b"{}",
        b'{"schema": "alimail-outlook-state", "version": 2}',
        b" " * 70_000,
    ],
)
def test_what_is_no_state_is_named(tmp_path: Path, octets: bytes) -> None:
    """The others count all the same."""
    told(tmp_path, "PC1")
    (tmp_path / "odd.json").write_bytes(octets)
    found = collected(tmp_path)
    assert list(found.refused) == ["odd.json"]
    assert len(found.states) == 1


@pytest.mark.parametrize(
    "more",
    [
        {"machine": ""},
        {"machine": 3},
        {"user": "x" * 301},
        {"at": "yesterday"},
        {"at": "2026-13-29T01:02:03Z"},
        {"levels": {}},
        {"levels": {"registered": "fine"}},
        {"levels": {"registered": ["ok"]}},
    ],
)
def test_what_a_state_lacks_is_told(tmp_path: Path, more: Any) -> None:
    """Each field is held to its kind."""
    told(tmp_path, "PC1", file="one.json", **more)
    found = collected(tmp_path)
    assert list(found.refused) == ["one.json"]
    assert not found.states


def test_links_to_elsewhere_are_not_followed(tmp_path: Path) -> None:
    """Whoever may write to the folder shall not have other files read."""
    folder = tmp_path / "collect"
    folder.mkdir()
    told(folder, "PC1")
    (folder / "link.json").symlink_to(told(tmp_path, "PC2"))
    assert [state.machine for state in collected(folder).states] == ["PC1"]


def test_an_empty_folder_is_told(tmp_path: Path) -> None:
    """It is another one that was meant."""
    assert MOST > 1
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(InputError):
            collected(folder)


class Reader(HTMLParser):
    """The elements and attributes of a page, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.seen: set[tuple[str, ...]] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note what there is."""
        self.seen.add((tag, *sorted(name for name, _ in attrs)))

    def handle_data(self, data: str) -> None:
        """Keep text."""
        self.text += data


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10)
@given(
    st.text(min_size=1, max_size=40), st.text(max_size=40), st.sampled_from(["", "=", "+", "@", "-", "\t="])
)
def test_nothing_that_a_machine_says_is_run(tmp_path: Path, name: str, rule: str, begin: str) -> None:
    """In the page it makes no element, in the sheet no formula, whatever it holds."""
    nasty = f"{begin}{name}<script src=x>"
    for old in tmp_path.glob("*.json"):
        old.unlink()
    told(tmp_path, "PLAIN", file="0.json", levels={"other": "fault"})
    plain = Reader(report.page(collected(tmp_path), NOW))
    levels = {rule + "<img onerror=x>": "fault"}
    told(tmp_path, nasty, file="0.json", user=nasty, progid=nasty, installer=nasty, levels=levels)
    found = collected(tmp_path)
    assert not found.refused
    assert Reader(report.page(found, NOW)).seen == plain.seen
    _, sheet = report.write(found, NOW, tmp_path / "out")
    with sheet.open(encoding="utf-8-sig", newline="") as file:
        _, row = csv.reader(file)
    assert len(row) == 8
    assert all(not text.startswith(("=", "+", "-", "@", "\t", "\r")) for text in row)


def thousand(folder: Path, number: int) -> dict[str, int]:
    """Write the states of a company; return how many stand how."""
    draw = random.Random(1)
    kinds: dict[str, dict[str, str]] = {
        "loaded": WELL,
        "at risk": WELL | {"do_not_disable": "warning"},
        "not loaded": WELL | {"load_behavior": "fault", "disabled_items": "fault"},
        "not installed": {"registered": "fault"},
    }
    counts = dict.fromkeys(STANDINGS, 0)
    for index in range(number):
        kind = draw.choices(list(kinds), [80, 10, 7, 3])[0]
        counts[kind] += 1  # type: ignore[index]
        told(folder, f"PC{index:05}", NOW - timedelta(days=draw.randrange(20)), levels=kinds[kind])
    return {str(name): count for name, count in counts.items()}


def test_five_hundred_machines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Table, page, sheet and JSON agree on how many stand how, and the page stays of a size."""
    folder = tmp_path / "collect"
    folder.mkdir()
    counts = thousand(folder, 520)
    given = {"folder": str(folder), "--output": str(tmp_path / "out"), "--json": False}
    run = verb_report.COMMAND.run
    assert run is not None
    assert run(given) == 3
    said = capsys.readouterr().out
    assert f"Outlook loads it for {counts['loaded'] + counts['at risk']} of 520." in said
    for name, count in counts.items():
        assert any(line.split() == [*name.split(), str(count)] for line in said.splitlines())
    with (tmp_path / "out" / "outlook.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 520
    assert {name: sum(row["standing"] == name for row in rows) for name in counts} == counts
    text = Reader((tmp_path / "out" / "outlook.html").read_text("utf-8")).text
    assert "and 20 more, in outlook.csv" in text
    assert run(given | {"--json": True, "--output": ""}) == 3
    document = json.loads(capsys.readouterr().out)
    assert document["standings"] == counts
    reason = {each["rule"]: each["count"] for each in document["reasons"]}
    assert reason == {
        "load_behavior": counts["not loaded"],
        "disabled_items": counts["not loaded"],
        "do_not_disable": counts["at risk"],
        "registered": counts["not installed"],
    }


def test_the_report_is_not_written_among_what_it_reads(tmp_path: Path) -> None:
    """The folder belongs to the machines."""
    told(tmp_path, "PC1")
    run = verb_report.COMMAND.run
    assert run is not None
    with pytest.raises(InputError):
        run({"folder": str(tmp_path), "--output": str(tmp_path / "."), "--json": False})
    assert run({"folder": str(tmp_path), "--output": "", "--json": False}) == 0
