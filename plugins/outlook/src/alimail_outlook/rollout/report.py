"""What thousands of machines have told, as a table, a sheet and one page: who has it, who does not, and why."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from alimail_core import InputError
from alimail_core.commands import cell, printable, written_whole
from alimail_core.pages import Column, Markup, document, table, tag
from alimail_outlook.rollout.states import STANDINGS, Collected, State
from alimail_outlook.rules import RULES, Rule

MANY: Final = 500
"""Machines that the page lists; the sheet has all."""
OLD_DAYS: Final = 14
"""After so many days without news a machine is named as silent."""

_LEVELS: Final = {"loaded": "ok", "at risk": "warning", "not loaded": "fault", "not installed": "fault"}
"""The page's colour for each standing."""

_HEADINGS: Final = ("machine", "user", "standing", "why", "what to do", "told at", "ProgID", "installer")


def reasons(collected: Collected) -> list[tuple[Rule, int]]:
    """Return the rules that do not hold with how many have that, the most frequent first."""
    counts = Counter(rule for state in collected.states for rule in state.broken)
    order = {rule.name: number for number, rule in enumerate(RULES)}
    return sorted(
        counts.items(), key=lambda each: (-each[1], order.get(each[0].name, len(order)), each[0].name)
    )


def standings(collected: Collected) -> dict[str, int]:
    """Return how many stand how, the gravest first."""
    counts = Counter(state.standing for state in collected.states)
    return {name: counts[name] for name in STANDINGS}


def silent(collected: Collected, now: datetime) -> int:
    """Return how many have told nothing for a while."""
    return sum((now - state.at).days >= OLD_DAYS for state in collected.states)


def sorted_states(collected: Collected) -> list[State]:
    """Return all, the gravest first."""
    order = list(STANDINGS)
    return sorted(collected.states, key=lambda state: order.index(state.standing))


def write(collected: Collected, now: datetime, folder: Path) -> list[Path]:
    """Write ``outlook.html`` and ``outlook.csv``, each whole or not at all. Raises ``InputError``."""
    paths = [folder / "outlook.html", folder / "outlook.csv"]
    try:
        with written_whole(paths[0]) as file:
            file.write(page(collected, now))
        # With a mark at its beginning, for spreadsheets that would otherwise guess a Windows code page.
        with written_whole(paths[1], encoding="utf-8-sig") as file:
            writer = csv.writer(file)
            writer.writerow(_HEADINGS)
            writer.writerows([cell(text) for text in _row(state)] for state in sorted_states(collected))
    except OSError as error:
        raise InputError(f"{printable(str(folder))} cannot be written to: {error.strerror}") from None
    return paths


def _row(state: State) -> list[str]:
    broken = state.broken
    return [
        state.machine,
        state.user,
        state.standing,
        "; ".join(rule.fault for rule in broken),
        "; ".join(dict.fromkeys(rule.remedy for rule in broken if rule.remedy)),
        f"{state.at:%Y-%m-%d %H:%M}Z",
        state.progid,
        state.installer,
    ]


def as_json(collected: Collected, now: datetime) -> Mapping[str, Any]:
    """Return all of it as plain data."""
    return {
        "standings": standings(collected),
        "silent": silent(collected, now),
        "reasons": [
            {"rule": rule.name, "text": rule.fault, "count": count} for rule, count in reasons(collected)
        ],
        "machines": [
            {
                "machine": state.machine,
                "user": state.user,
                "standing": state.standing,
                "at": state.at.isoformat(),
                "progid": state.progid,
                "installer": state.installer,
                "levels": dict(state.levels),
            }
            for state in sorted_states(collected)
        ],
        "refused": dict(collected.refused),
    }


def page(collected: Collected, now: datetime) -> str:
    """Write the page."""
    title = "Alibaba Mail in Outlook"
    parts = [_answer(collected), _sums(collected, now), _reasons(collected), *_machines(collected)]
    if collected.refused:
        parts.append(_refused(collected.refused))
    told = f"{now:%Y-%m-%d %H:%M}Z, from {len(collected.states):,} files"
    footer = tag("footer", "Written by alimail outlook report. outlook.csv has every machine.")
    return document(
        title,
        tag("header", tag("h1", title), tag("p", told, class_="quiet")),
        tag("main", *parts),
        footer,
    )


def _answer(collected: Collected) -> Markup:
    counts = standings(collected)
    total, well = len(collected.states), counts["loaded"] + counts["at risk"]
    level = "ok" if counts["loaded"] == total else "warning" if well == total else "fault"
    return tag("p", f"Outlook loads it for {well:,} of {total:,}.", class_=f"answer {level}")


def _sums(collected: Collected, now: datetime) -> Markup:
    sums = [(STANDINGS[name], count) for name, count in standings(collected).items()]  # type: ignore[index]
    sums.append((f"silent for {OLD_DAYS} days", silent(collected, now)))
    return tag("dl", (tag("div", tag("dt", name), tag("dd", count)) for name, count in sums), class_="sums")


def _reasons(collected: Collected) -> Markup:
    rows = [(rule.fault, count, rule.remedy) for rule, count in reasons(collected)]
    if not rows:
        return tag("p", "Nothing keeps Outlook from loading it anywhere.")
    columns = (Column("What"), Column("Where", number=True), Column("What to do"))
    return tag(
        "section", tag("h2", "Why"), table("What does not hold, the most frequent first", columns, rows)
    )


def _machines(collected: Collected) -> Iterator[Markup]:
    states = sorted_states(collected)
    columns = [Column(name) for name in ("Machine", "User", "Standing", "Why", "Told at")]
    rows = (
        (
            state.machine,
            state.user,
            tag("b", state.standing, class_=_LEVELS[state.standing]),
            [tag("div", rule.fault) for rule in state.broken],
            f"{state.at:%Y-%m-%d %H:%M}Z",
        )
        for state in states[:MANY]
    )
    yield tag("section", tag("h2", "Machines"), table("The gravest first", columns, rows))
    if len(states) > MANY:
        yield tag("p", f"and {len(states) - MANY:,} more, in outlook.csv", class_="quiet")


def _refused(refused: Mapping[str, str]) -> Markup:
    shown: Sequence[tuple[str, str]] = list(refused.items())[:MANY]
    columns = (Column("File"), Column("Why"))
    return tag("section", tag("h2", "Not read"), table("Files that are no state", columns, shown))
