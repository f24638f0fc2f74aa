"""The picture in the README: small, complete in itself, and true to the terminal."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from rich.live import Live
from rich.text import Text

from tools.picture import PICTURE, Screen, draw, halfway


def test_picture_fetches_nothing() -> None:
    """Who looks at the picture asks no other server for anything, and it is small."""
    for svg in (PICTURE.read_text("utf-8"), draw([("alimail --help", ["项目 <b>"])])):
        assert svg.startswith("<svg")
        assert "url(http" not in svg
        assert "@font-face" not in svg
        assert "href" not in svg
    assert PICTURE.stat().st_size < 60_000


def test_screen_shows_what_a_terminal_would() -> None:
    """Lines that live progress draws anew replace the old ones, wherever a read from the terminal was cut."""
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=40, color_system=None)
    with Live(Text("one\ntwo"), console=console, auto_refresh=False) as live:
        live.refresh()
        console.print("stays")
        live.update(Text("three\nfour"), refresh=True)
    for size in (1, 3, 10_000):
        screen, text = Screen(), written.getvalue()
        for at in range(0, len(text), size):
            screen.feed(text[at : at + size])
        assert [line for line in screen.lines if line] == ["stays", "three", "four"]


def test_screen_refuses_what_it_does_not_know() -> None:
    """A control sequence that would be drawn wrongly is an error, not a wrong picture."""
    with pytest.raises(ValueError, match="does not know"):
        Screen().feed("\x1b[5B")


def test_halfway_is_the_middle_of_the_live_lines() -> None:
    """Of all screens with an estimate the middle one is taken, without what scrolled by above it."""
    screens = [
        ["a note", f"anna  INBOX  {done}/9", f"0 of 1 account, {done} of 9 messages, about 4 s left"]
        for done in range(3)
    ]
    assert halfway([["begun"], *screens, ["ended"]]) == screens[1][1:]
