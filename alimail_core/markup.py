"""HTML that is safe by construction: what is not ``Markup`` is escaped, so that forgetting it is not possible."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from attrs import frozen

from alimail_core.text import html

Content: TypeAlias = "str | int | Iterable[Content]"
"""What an element holds: text, a number, ``Markup``, or any of them one after the other."""

_VOID = frozenset({"meta"})


class Markup(str):
    """HTML as it is. Made by ``tag``, or by hand from what no user and no server has said."""

    __slots__ = ()


def tag(element: str, /, *content: Content, **attributes: str | int) -> Markup:
    """Write an element. ``class_`` is the attribute ``class``, ``aria_label`` is ``aria-label``."""
    told = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html(str(value))}"' for key, value in attributes.items()
    )
    inner = "".join(_escaped(content))
    return Markup(f"<{element}{told}>" if element in _VOID else f"<{element}{told}>{inner}</{element}>")


def together(*content: Content) -> Markup:
    """Write contents one after the other, without an element around them."""
    return Markup("".join(_escaped(content)))


def lines(*content: Content) -> Markup:
    """Write each content in a line of its own; what is empty has none."""
    return together(tag("div", each) for each in content if each != "")


def _escaped(content: Iterable[Content]) -> Iterator[str]:
    for each in content:
        if isinstance(each, Markup):
            yield each
        elif isinstance(each, str):
            yield html(each)
        elif isinstance(each, int):
            yield f"{each:,}"
        else:
            yield from _escaped(each)


@frozen
class Column:
    """A table's column: its heading, and whether it holds numbers, which stand at the right."""

    heading: str
    number: bool = False


def table(
    caption: str, columns: Sequence[Column], rows: Iterable[Sequence[Content]], **attributes: str
) -> Markup:
    """Write a table. The first cell of a row is its heading, by which a screen reader names the row.

    Each cell also carries its column's heading, for a screen on which there is no room for columns.
    """
    heads = [tag("th", column.heading, scope="col", **_class(column)) for column in columns]
    body = (tag("tr", *_cells(columns, row)) for row in rows)
    return tag(
        "table", tag("caption", caption), tag("thead", tag("tr", heads)), tag("tbody", body), **attributes
    )


def _cells(columns: Sequence[Column], row: Sequence[Content]) -> Iterator[Markup]:
    yield tag("th", row[0], scope="row")
    for column, cell in zip(columns[1:], row[1:], strict=True):
        yield tag("td", cell, data_label=column.heading, **_class(column)) if cell != "" else tag("td")


def _class(column: Column) -> dict[str, str]:
    return {"class_": "number"} if column.number else {}
