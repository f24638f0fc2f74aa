"""As much of PowerShell as the prepared scripts use, so that they can be run where there is none.

It reads the tree that tree-sitter makes, and knows what it must and nothing else: whatever it does not know is an
``AssertionError``. Rules that scripts stumble over are kept: functions see their callers' variables and write their
own, all output of a function is its value and is unrolled, strings compare without case, nothing is false when it is
empty, and a command's error ends the script unless it says ``-ErrorAction SilentlyContinue``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import tree_sitter_powershell
from attrs import define, field
from tree_sitter import Language, Node, Parser

_PARSER = Parser(Language(tree_sitter_powershell.language()))
Cmdlet = Callable[["Shell", dict[str, Any], list[Any]], Any]


class Stopped(Exception):
    """An error that ended a script."""


class Exited(Exception):
    """``exit``; its code is the script's."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class _Return(Exception):
    """``return``, whose value is output already."""


class _Continue(Exception):
    """``continue``."""


class _Break(Exception):
    """``break``."""


@define
class _Function:
    parameters: list[str]
    body: Node


@define
class Shell:
    """One PowerShell: its commands, its variables, what it has said."""

    cmdlets: dict[str, Cmdlet]
    said: list[str] = field(factory=list)
    _functions: dict[str, _Function] = field(factory=dict)
    _scopes: list[dict[str, Any]] = field(factory=lambda: [{"env:computername": "EX1"}])

    def run(self, script: Path, **arguments: Any) -> list[Any]:
        """Run a file as ``& script -Name value`` does. Raises ``Stopped``."""
        given = {name.lower(): value for name, value in arguments.items()}
        return self._scoped(given, lambda: self._file(script))

    # -- scopes and variables

    def _scoped(self, variables: dict[str, Any], work: Callable[[], list[Any]]) -> list[Any]:
        self._scopes.append(variables)
        try:
            return work()
        finally:
            self._scopes.pop()

    def get(self, name: str) -> Any:
        """Return a variable, looked for in every scope from the inner one out; nothing where there is none."""
        constants = {"true": True, "false": False, "null": None}
        key = name.lower()
        if key in constants:
            return constants[key]
        return next((scope[key] for scope in reversed(self._scopes) if key in scope), None)

    def _file(self, path: Path) -> list[Any]:
        tree = _PARSER.parse(path.read_bytes().removeprefix(b"\xef\xbb\xbf")).root_node
        assert not tree.has_error, path
        self._scopes[-1]["myinvocation"] = {"MyCommand": {"Path": str(path)}}
        return self._body(tree)

    def _body(self, node: Node) -> list[Any]:
        """Run statements until their end or a ``return``, and return their output."""
        output: list[Any] = []
        try:
            for child in node.children:
                self._statement(_plain(child), output)
        except _Return:
            pass
        return output

    # -- statements

    def _statement(self, node: Node, output: list[Any]) -> None:
        kind = node.type
        if kind in ("statement_list", "statement_block", "script_block", "script_block_body"):
            for child in node.children:
                self._statement(_plain(child), output)
        elif kind in ("{", "}", "comment", "param_block", ";", "empty_statement"):
            pass
        elif kind == "assignment_expression":
            self._assign(node)
        elif kind == "if_statement":
            self._if(node, output)
        elif kind == "foreach_statement":
            self._foreach(node, output)
        elif kind == "function_statement":
            self._define(node)
        elif kind == "flow_control_statement":
            self._flow(node, output)
        else:
            output += _unrolled(self._value(node))

    def _if(self, node: Node, output: list[Any]) -> None:
        parts = [
            node,
            *(child for child in node.children if child.type in ("elseif_clauses", "elseif_clause")),
        ]
        parts = [
            each for part in parts for each in (part.children if part.type == "elseif_clauses" else [part])
        ]
        for part in parts:
            condition = part.children[2]
            if truth(self._value(_plain(condition))):
                self._statement(_block(part), output)
                return
        for child in node.children:
            if child.type == "else_clause":
                self._statement(_block(child), output)

    def _foreach(self, node: Node, output: list[Any]) -> None:
        name, over = node.children[2], node.children[4]
        for item in _unrolled(self._value(_plain(over))):
            self._scopes[-1][_name(name)] = item
            try:
                self._statement(_block(node), output)
            except _Continue:
                continue
            except _Break:
                break

    def _define(self, node: Node) -> None:
        name = next(child for child in node.children if child.type == "function_name")
        body = next(child for child in node.children if child.type == "script_block")
        heads = [child for child in node.children if child.type == "function_parameter_declaration"]
        parameters = [_name(each) for head in heads for each in _all(head, "variable")]
        self._functions[_text(name).lower()] = _Function(parameters, body)

    def _flow(self, node: Node, output: list[Any]) -> None:
        word = node.children[0].type if node.children else _text(node)
        value = self._value(_plain(node.children[1])) if len(node.children) > 1 else None
        if word == "continue":
            raise _Continue
        if word == "break":
            raise _Break
        if word == "exit":
            self.said += map(text, output)
            raise Exited(int(value or 0))
        if word == "throw":
            raise Stopped(text(value))
        assert word == "return", word
        output += _unrolled(value)
        raise _Return

    def _assign(self, node: Node) -> None:
        target, operator, source = (_plain(child) for child in node.children)
        value = self._value(source)
        if _text(operator) == "+=":
            value = _sum(self._value(target), value)
        if target.type == "element_access":
            holder, _, index, _ = target.children
            self._value(holder)[self._value(index)] = value
        else:
            self._scopes[-1][_name(target)] = value

    # -- expressions

    def _value(self, node: Node) -> Any:
        node = _plain(node)
        evaluate = getattr(self, f"_{node.type}", None)
        assert evaluate is not None, f"{node.type}: {_text(node)}"
        return evaluate(node)

    def _variable(self, node: Node) -> Any:
        return self.get(_name(node))

    def _verbatim_string_characters(self, node: Node) -> str:
        return _text(node)[1:-1].replace("''", "'")

    def _expandable_string_literal(self, node: Node) -> str:
        inside = _text(node)[1:-1]
        assert "$" not in inside, inside
        return inside.replace("`t", "\t")

    def _decimal_integer_literal(self, node: Node) -> int:
        return int(_text(node))

    def _hexadecimal_integer_literal(self, node: Node) -> int:
        return int(_text(node), 16)

    def _generic_token(self, node: Node) -> str:
        return _text(node)

    def _hash_literal_expression(self, node: Node) -> dict[str, Any]:
        return {
            self._value(entry.children[0]): self._value(entry.children[2])
            for entry in _all(node, "hash_entry")
        }

    def _array_expression(self, node: Node) -> list[Any]:
        output: list[Any] = []
        for child in node.children[1:-1]:
            self._statement(_plain(child), output)
        return output

    def _array_literal_expression(self, node: Node) -> list[Any]:
        return [self._value(child) for child in node.children if child.type != ","]

    def _parenthesized_expression(self, node: Node) -> Any:
        return self._value(node.children[1])

    def _additive_expression(self, node: Node) -> Any:
        left, operator, right = node.children
        assert _text(operator) == "+"
        return _sum(self._value(left), self._value(right))

    def _additive_argument_expression(self, node: Node) -> int:
        left, operator, right = node.children
        assert _text(operator) == "-"
        return int(self._value(left)) - int(self._value(right))

    def _multiplicative_argument_expression(self, node: Node) -> int:
        left, operator, right = node.children
        assert _text(operator) == "*"
        return int(self._value(left)) * int(self._value(right))

    def _logical_expression(self, node: Node) -> bool:
        left, operator, right = node.children
        first = truth(self._value(left))
        if _text(operator) == "-and":
            return first and truth(self._value(right))
        assert _text(operator) == "-or"
        return first or truth(self._value(right))

    def _expression_with_unary_operator(self, node: Node) -> bool:
        assert node.children[0].type == "-not", _text(node)
        return not truth(self._value(node.children[1]))

    def _comparison_expression(self, node: Node) -> bool:
        left, operator, right = node.children
        one, other = self._value(left), self._value(right)
        word = _text(operator)
        if word == "-match":
            return re.search(text(other), text(one), re.IGNORECASE) is not None
        if word in ("-eq", "-ne"):
            same = one == other if not isinstance(one, str) else one.lower() == text(other).lower()
            return same is (word == "-eq")
        if word == "-notcontains":
            return text(other).lower() not in [text(each).lower() for each in _unrolled(one)]
        compare: dict[str, Callable[[int, int], bool]] = {
            "-ge": int.__ge__,
            "-gt": int.__gt__,
            "-lt": int.__lt__,
        }
        return compare[word](int(one), int(other))

    def _cast_expression(self, node: Node) -> Any:
        kind, value = _text(node.children[0]), self._value(node.children[1])
        casts: dict[str, Callable[[Any], Any]] = {
            "[string]": text,
            "[int]": int,
            "[int64]": int,
            "[char]": chr,
            "[string[]]": lambda many: [text(each) for each in _unrolled(many)],
        }
        return casts[kind](value)

    def _member_access(self, node: Node) -> Any:
        holder, how, member = node.children
        if _text(how) == "::":
            return f"{_text(holder)}::{_text(member)}"
        member, value = _plain(member), self._value(holder)
        name = text(self.get(_name(member))) if member.type == "variable" else _text(member)
        if isinstance(value, list | str | bytes) and name in ("Count", "Length"):
            return len(value)
        if isinstance(value, dict):
            return list(value) if name == "Keys" else len(value) if name == "Count" else value.get(name)
        if value is not None and not isinstance(value, str):
            return getattr(value, name)
        assert value is None, (name, value)
        return None

    def _element_access(self, node: Node) -> Any:
        holder, _, index, _ = node.children
        value, place = self._value(holder), self._value(index)
        if isinstance(value, dict):
            return value.get(place)
        assert isinstance(value, list)
        return value[place] if place < len(value) else None

    def _invokation_expression(self, node: Node) -> Any:
        holder, how, member, given = node.children
        arguments = [self._value(each) for each in _arguments(given)]
        if _text(how) == "::":
            static: dict[str, Callable[..., Any]] = {
                "[Uri]::EscapeDataString": lambda value: quote(text(value), safe=""),
                "[Uri]::UnescapeDataString": lambda value: unquote(text(value)),
                "[string]::Join": lambda between, many: between.join(many),
                "[BitConverter]::ToInt32": lambda octets, at: int.from_bytes(octets[at : at + 4], "little"),
                "[BitConverter]::ToUInt16": lambda octets, at: int.from_bytes(octets[at : at + 2], "little"),
                "[IO.File]::ReadAllBytes": lambda path: self.cmdlets["ReadAllBytes"](self, {"*": [path]}, []),
            }
            return static[f"{_text(holder)}::{_text(member)}"](*arguments)
        name, value = _text(member), self._value(holder)
        if isinstance(value, str | dict):
            return _METHODS[name](value, *arguments)
        assert value is not None, f"a method of nothing: {_text(node)}"
        return getattr(value, name)(*arguments)

    # -- commands

    def _command_name(self, node: Node) -> Any:
        if counted := re.fullmatch(r"(\d+)\.\.(\d+)", _text(node)):
            return list(range(int(counted[1]), int(counted[2]) + 1))
        return _rolled(self._call(_text(node), {}, [], []))

    def _command(self, node: Node) -> Any:
        return _rolled(self._command_output(node, []))

    def _pipeline_chain(self, node: Node) -> Any:
        flowing: list[Any] = []
        for child in node.children:
            if child.type != "|":
                flowing = self._command_output(_plain(child), flowing)
        return _rolled(flowing)

    def _command_output(self, node: Node, flowing: list[Any]) -> list[Any]:
        if node.type == "command_name":
            return self._call(_text(node), {}, [], flowing)
        if node.type != "command":  # an expression at the beginning of a pipeline
            return _unrolled(self._value(node))
        elements = next((child for child in node.children if child.type == "command_elements"), None)
        named, placed = self._elements(elements)
        operator = next((_text(c) for c in node.children if c.type == "command_invokation_operator"), "")
        if operator:
            path = Path(text(self._value(next(c for c in node.children if c.type == "command_name_expr"))))
            return self._file(path) if operator == "." else self.run(path, **named)
        return self._call(_text(node.children[0]), named, placed, flowing)

    def _elements(self, node: Node | None) -> tuple[dict[str, Any], list[Any]]:
        named: dict[str, Any] = {}
        placed: list[Any] = []
        waiting = ""
        for child in node.children if node is not None else ():
            if child.type == "command_parameter":
                waiting = _text(child).removeprefix("-")
                named[waiting] = True
            elif child.type != "command_argument_sep":
                plain = _plain(child)
                value = plain if plain.type == "script_block_expression" else self._value(plain)
                if waiting:
                    named[waiting], waiting = value, ""
                else:
                    placed.append(value)
        return named, placed

    def _call(self, name: str, named: dict[str, Any], placed: list[Any], flowing: list[Any]) -> list[Any]:
        if name == "Where-Object":
            return [item for item in flowing if truth(_rolled(self._block(placed[0], item)))]
        if name == "Out-Null":
            return []
        if name == "Write-Output":
            return placed
        if function := self._functions.get(name.lower()):
            variables = dict.fromkeys(function.parameters) | dict(
                zip(function.parameters, placed, strict=False)
            )
            variables = {key: "" if value is None else value for key, value in variables.items()}
            return self._scoped(variables, lambda: self._body(function.body))
        quiet = named.pop("ErrorAction", "") == "SilentlyContinue"
        try:
            return _unrolled(self.cmdlets[name](self, {**named, "*": placed}, flowing))
        except Stopped:
            if quiet:
                return []
            raise

    def _block(self, node: Node, item: Any) -> list[Any]:
        return self._scoped({"_": item}, lambda: self._body(node))


def text(value: Any) -> str:
    """Return a value as PowerShell writes it."""
    if isinstance(value, list):
        return " ".join(text(each) for each in value)
    return "" if value is None else str(value)


def truth(value: Any) -> bool:
    """Tell what a condition makes of a value."""
    if isinstance(value, list):
        return truth(value[0]) if len(value) == 1 else bool(value)
    return isinstance(value, dict) or bool(value)


def _sum(one: Any, other: Any) -> Any:
    if isinstance(one, list):
        return one + _unrolled(other)
    if isinstance(one, str):
        return one + text(other)
    assert isinstance(one, int), one
    return one + int(other)


def _unrolled(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _rolled(output: list[Any]) -> Any:
    return None if not output else output[0] if len(output) == 1 else output


def _remove(holder: dict[str, Any], key: str) -> None:
    holder.pop(key, None)


_METHODS: dict[str, Callable[..., Any]] = {
    "Contains": lambda holder, part: part in holder,
    "ContainsKey": lambda holder, key: key in holder,
    "EndsWith": lambda holder, end: holder.endswith(end),
    "GetString": lambda encoding, octets, *part: (octets[part[0] : sum(part)] if part else octets).decode(
        _ENCODINGS[encoding], "replace"
    ),
    "IndexOf": lambda holder, part: holder.find(part),
    "Remove": _remove,
    "Replace": lambda holder, old, new: holder.replace(old, new),
    "Split": lambda holder, at: holder.split(at),
    "StartsWith": lambda holder, begin: holder.startswith(begin),
    "Substring": lambda holder, begin, length=None: holder[begin:][:length],
    "ToLowerInvariant": str.lower,
    "ToString": lambda moment, form: {"[DateTime]::UtcNow": _MOMENT}[moment],
    "Trim": lambda holder, characters: holder.strip(characters),
}
_ENCODINGS: dict[str, str] = {"[Text.Encoding]::Unicode": "utf-16-le"}
_MOMENT = "2026-11-29T01:02:03Z"
"""What it always is in scripts."""


def _text(node: Node) -> str:
    assert node.text is not None
    return node.text.decode()


def _name(node: Node) -> str:
    return _text(node).removeprefix("$").lower()


def _plain(node: Node) -> Node:
    """Go down to the first node that is more than a wrapping of another one."""
    while node.child_count == 1 and node.children[0].is_named and node.type not in _WHOLE:
        node = node.children[0]
    return node


_WHOLE = ("variable", "script_block_expression", "statement_block", "command_elements")


def _block(node: Node) -> Node:
    return next(child for child in node.children if child.type == "statement_block")


def _arguments(node: Node) -> Iterable[Node]:
    inside = _plain(node.children[1]) if node.child_count > 2 else None
    if inside is None:
        return []
    if inside.type == "argument_expression_list":
        return [child for child in inside.children if child.type != ","]
    return [inside]


def _all(node: Node, kind: str) -> list[Node]:
    found = [node] if node.type == kind else []
    return found + [each for child in node.children for each in _all(child, kind)]
