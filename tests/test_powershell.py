"""Values from outside are data in PowerShell, whatever they hold."""

from __future__ import annotations

import re

import pytest
import tree_sitter_powershell
from hypothesis import example, given
from hypothesis import strategies as st
from tree_sitter import Language, Node, Parser

from alimail_core.powershell import file_octets, listed, quoted

PARSER = Parser(Language(tree_sitter_powershell.language()))
QUOTES = "'\u2018\u2019\u201a\u201b"
"""What PowerShell takes for a single quotation mark (its ``CharTraits``)."""
LINE_ENDS = "\r\n\u0085\u2028\u2029"

names = st.text(
    st.characters(exclude_categories=()) | st.sampled_from("'`$\"(){};|&#@\u2019\u201b\n\r\0\u202e😀")
)


def value(expression: str) -> str:
    """Return what an expression of the two forms that ``quoted`` writes is worth, as PowerShell reads it.

    Written from PowerShell's own rules: any of the five marks ends a string unless it is doubled. Raises
    ``AssertionError`` for anything that is not a concatenation of strings and characters by number.
    """
    inner = expression[1:-1] if expression.startswith("(") else expression
    units: list[bytes] = []
    position = 0
    while True:
        if inner[position] in QUOTES:
            position += 1
            while True:
                assert position < len(inner), "a string without an end"
                if inner[position] in QUOTES:
                    if inner[position + 1 : position + 2] in tuple(QUOTES):
                        position += 1
                    else:
                        break
                units.append(inner[position].encode("utf-16-be", "surrogatepass"))
                position += 1
            position += 1
        else:
            number = re.compile(r"\[char\]0x([0-9A-F]{4})").match(inner, position)
            assert number, inner[position:]
            assert units or inner.startswith("''"), "a number and a string are no concatenation"
            units.append(bytes.fromhex(number[1]))
            position = number.end()
        if position == len(inner):
            return b"".join(units).decode("utf-16-be", "surrogatepass")
        assert inner.startswith(" + ", position), inner[position:]
        position += 3


def kinds(node: Node) -> set[str]:
    """Return the kinds of everything beneath a node."""
    return {node.type}.union(*map(kinds, node.children))


@given(names)
@example("‘; Remove-Mailbox -Identity anna; '")
@example("’")
@example("\ud800")
@example("")
def test_a_value_comes_back_as_it_was(text: str) -> None:
    """What PowerShell makes of the expression is the very text, half characters included."""
    assert value(quoted(text)).encode("utf-16", "surrogatepass") == text.encode("utf-16", "surrogatepass")


@given(st.lists(names, max_size=3))
def test_nothing_in_a_name_becomes_code(texts: list[str]) -> None:
    """A parser finds strings, casts and additions in the file, and no command, variable or second statement."""
    line = f"$Databases = {listed(texts)}"
    assert not any(character in line for character in LINE_ENDS)
    assert line.isprintable() or all(
        ord(character) > 127 for character in line if not character.isprintable()
    )
    octets = file_octets([line])
    assert octets.startswith(b"\xef\xbb\xbf$")
    tree = PARSER.parse(octets[3:])
    assert not tree.root_node.has_error
    found = kinds(tree.root_node)
    assert not found & {
        "command",
        "invokation_expression",
        "script_block",
        "sub_expression",
        "empty_statement",
    }
    (statements,) = tree.root_node.children
    assert len(statements.children) == 1


@pytest.mark.parametrize(
    ("text", "expression"),
    [
        ("MDB1", "'MDB1'"),
        ("邮箱数据库 01", "'邮箱数据库 01'"),
        ("O'Brien", "'O''Brien'"),
        ("O’Brien", "('O' + [char]0x2019 + 'Brien')"),
        ("\n", "('' + [char]0x000A)"),
        ("a😀", "('a' + [char]0xD83D + [char]0xDE00)"),
        ("$(whoami)`n", "'$(whoami)`n'"),
    ],
)
def test_names_stay_readable(text: str, expression: str) -> None:
    """Letters of any script stay as they are; what a reader might not see is spelt by its number."""
    assert quoted(text) == expression
