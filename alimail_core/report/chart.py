"""The report's drawings, as inline SVG: how far the mail had come when, and how the accounts stand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from alimail_core.ledger.facts import Point
from alimail_core.markup import Markup, tag
from alimail_core.units import duration_text, octets_text

_WIDTH, _HEIGHT = 1000, 100


def progress_chart(points: Sequence[Point], left: int) -> Markup:
    """Draw the octets sent over time as a line of steps, and how far the octets ``left`` lie above it.

    Nothing where all went at one moment.
    """
    if len(points) < 2:
        return Markup("")
    first, last = points[0], points[-1]
    span = (last.at - first.at).total_seconds()
    top = max(last.octets + left, 1)
    steps = [(_across(point.at - first.at, span), _down(point.octets, top)) for point in points]
    line = f"M0 {steps[0][1]}" + "".join(f"H{x}V{y}" for x, y in steps[1:])
    half = next(point for point in points if point.octets * 2 >= last.octets)
    said = (
        f"{octets_text(last.octets)} in {last.messages:,} messages were sent from {_minute(first.at)} to "
        f"{_minute(last.at)} UTC, in {duration_text(span)}; half of it had arrived after "
        f"{duration_text((half.at - first.at).total_seconds())}."
    )
    drawing = tag(
        "svg",
        tag("path", class_="area", d=f"{line}V{_HEIGHT}H0Z"),
        tag("path", class_="goal", d=f"M0 0H{_WIDTH}") if left else "",
        tag("path", class_="line", d=line),
        viewBox=f"0 0 {_WIDTH} {_HEIGHT}",
        preserveAspectRatio="none",
        role="img",
        aria_label=f"Mail sent over time. {said}",
    )
    axis_y = tag("div", tag("span", octets_text(top)), tag("span", "0"), class_="y", aria_hidden="true")
    axis_x = tag(
        "div", *(tag("span", _minute(at)) for at in (first.at, last.at)), class_="x", aria_hidden="true"
    )
    dashed = " The dashed line is with what is known to be still to come." if left else ""
    return tag("figure", tag("div", axis_y, drawing, axis_x, class_="plot"), tag("figcaption", said + dashed))


def accounts_bar(levels: Counter[str], words: dict[str, str]) -> Markup:
    """Draw how many accounts stand how, as one bar; ``words`` names each level, in the bar's order."""
    shown = {level: levels[level] for level in words if levels[level]}
    rects, at = [], 0
    for level, number in shown.items():
        rects.append(tag("rect", class_=level, x=at, y=0, width=number, height=1))
        at += number
    told = [f"{number:,} {words[level]}" for level, number in shown.items()]
    bar = tag(
        "svg",
        rects,
        class_="bar",
        viewBox=f"0 0 {max(at, 1)} 1",
        preserveAspectRatio="none",
        role="img",
        aria_label=f"Accounts: {', '.join(told)}.",
    )
    legend = (tag("b", f"{number:,} {words[level]}", class_=level) for level, number in shown.items())
    spaced = [part for each in legend for part in (each, " · ")][:-1]
    return tag("figure", bar, tag("figcaption", "Accounts: ", spaced))


def _across(after: timedelta, span: float) -> float:
    return round(after.total_seconds() / span * _WIDTH, 1)


def _down(octets: int, top: int) -> float:
    return round((1 - octets / top) * _HEIGHT, 2)


def _minute(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M")
