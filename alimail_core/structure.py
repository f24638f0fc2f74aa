"""Make an options class of what a user wrote, and tell every misfit at once.

One set of rules for a TOML table and a URL's query: keys are known, types are strict, nothing is guessed, and no
message repeats a value. cattrs structures the values; the classes are attrs classes whose fields ``option()`` made.
"""

from __future__ import annotations

import difflib
import functools
import math
import re
import typing
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, Literal, TypeAlias, TypeVar

import attrs
from attrs import frozen
from cattrs import Converter

from alimail_core.errors import AlimailError
from alimail_core.secrets import Secret, parse_secret, reference_fault
from alimail_core.text import printable
from alimail_core.units import Octets, parse_octets

KeyPath: TypeAlias = tuple[str | int, ...]
"""Where a value stands in a document: keys of tables, indices of arrays."""

T = TypeVar("T")

_FACTORY: Final[Any] = attrs.Factory  # its stub says function, though it is a class
_SEQUENCES: Final = (list, tuple, frozenset, set)


@frozen
class Misfit:
    """One thing wrong with what a user wrote, and where in the document it stands."""

    path: KeyPath
    message: str
    """What is said of the last key of ``path``; a whole sentence where the path is empty."""
    remedy: str = ""

    @property
    def text(self) -> str:
        """Say it in one line, with the keys."""
        keys = ".".join(printable(key) for key in self.path if isinstance(key, str))
        return f"{keys} {self.message}".strip()


class Misfits(Exception):
    """Everything wrong with one value. Never leaves the package: it becomes ``InputError`` with faults."""

    def __init__(self, items: Iterable[Misfit]) -> None:
        self.items = tuple(items)
        super().__init__("; ".join(item.message for item in self.items))

    def under(self, key: str | int) -> tuple[Misfit, ...]:
        """Return the misfits as seen from the table or array that holds the value at ``key``."""
        return tuple(attrs.evolve(item, path=(key, *item.path)) for item in self.items)


@frozen
class OptionRow:
    """One option for a person: in ``alimail plugins show``, the reference and the commented configuration."""

    name: str
    type: str
    default: str
    """As TOML; empty where there is none."""
    help: str
    secret: bool
    required: bool


def structure(
    table: Mapping[str, object], cls: type[T], *, base: Path | None = None, from_text: bool = False
) -> T:
    """Make a ``cls`` of ``table``.

    ``base`` is the folder that relative paths start from; ``from_text``: every value is text, as in a URL.
    Raises ``Misfits`` with all that is wrong.
    """
    made: T = _structurer(base or Path(), from_text).converter.structure(table, cls)
    return made


def describe_options(options_class: type) -> list[OptionRow]:
    """List the options of an attrs class whose fields were made by ``option()``, in their order."""
    types = typing.get_type_hints(options_class)
    return [_row(attribute, types[attribute.name]) for attribute in init_fields(options_class)]


def init_fields(options_class: type) -> list[attrs.Attribute[Any]]:
    """Return the fields that a user may set."""
    return [attribute for attribute in attrs.fields(options_class) if attribute.init]


def accounts_named(options: object) -> dict[str, str]:
    """Return, by the key of each option that is for one account and given, the user that it names."""
    fields = [each for each in init_fields(type(options)) if each.metadata.get("account")]
    named = {(each.alias or each.name): getattr(options, each.name) for each in fields}
    return {key: user for key, user in named.items() if user is not None}


def can_structure(type_: Any) -> bool:
    """Tell whether an option of this type can be written in a configuration."""
    origin, arguments = typing.get_origin(type_), typing.get_args(type_)
    if origin is Literal:
        return all(isinstance(argument, str | int) for argument in arguments)
    if origin in (UnionType, typing.Union):  # of which only "or None" can be told apart without guessing
        return len(arguments) == 2 and NoneType in arguments and all(map(can_structure, _but_none(arguments)))
    if origin is tuple and arguments[-1] is not Ellipsis:
        return False
    if origin in _SEQUENCES:
        return can_structure(arguments[0])
    if origin in (dict, Mapping):
        return arguments[0] is str and can_structure(arguments[1])
    if isinstance(type_, type) and attrs.has(type_) and type_ is not Secret:
        return all(map(can_structure, typing.get_type_hints(type_).values()))
    return type_ in (str, int, float, bool, date, Octets, Path, Secret)


def is_secret(type_: Any) -> bool:
    """Tell whether an option's type is a reference to a secret, optional or not."""
    return type_ is Secret or (Secret in typing.get_args(type_))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return a remedy that names the nearest of the known words, or all of them."""
    words = sorted(known)
    near = difflib.get_close_matches(word, words, n=1)
    if near:
        return f"did you mean {near[0]}?"
    return f"known here: {', '.join(words)}" if words else "nothing is known here"


def toml_text(value: object) -> str:
    """Write a value as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, list | tuple | set | frozenset):
        return f"[{', '.join(toml_text(item) for item in value)}]"
    if isinstance(value, Mapping):
        pairs = (f"{_toml_key(str(key))} = {toml_text(item)}" for key, item in value.items())
        return "{" + ", ".join(pairs) + "}"
    return _toml_string(value.reference if isinstance(value, Secret) else str(value))


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _toml_string(key)


def _toml_string(text: str) -> str:
    def escape(match: re.Match[str]) -> str:
        character = match.group()
        return f"\\{character}" if character in '"\\' else f"\\u{ord(character):04x}"

    return '"' + re.sub(r'["\\\x00-\x1f\x7f]', escape, text) + '"'


def _row(attribute: attrs.Attribute[Any], type_: Any) -> OptionRow:
    default = attribute.default
    if isinstance(default, _FACTORY):
        default = None if default.takes_self else default.factory()
    required = default is attrs.NOTHING
    return OptionRow(
        name=attribute.alias or attribute.name,
        type=type_text(type_),
        default="" if required or default is None or default == () else toml_text(default),
        help=attribute.metadata.get("help", ""),
        secret=bool(attribute.metadata.get("secret")) or is_secret(type_),
        required=required,
    )


_NAMES: Final[Mapping[Any, str]] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
    date: "date",
    Octets: "size",
    Path: "path",
    Secret: "reference to a secret",
}


def type_text(type_: Any) -> str:
    """Name a type for a person who writes TOML."""
    if type_ in _NAMES:
        return _NAMES[type_]
    arguments = _but_none(typing.get_args(type_))
    origin = typing.get_origin(type_)
    if origin is Literal:
        return " or ".join(toml_text(argument) for argument in arguments)
    if origin in (UnionType, typing.Union):
        return " or ".join(type_text(argument) for argument in arguments)
    if origin in _SEQUENCES:
        return f"list of: {type_text(arguments[0])}"
    if origin in (dict, Mapping):
        return "table"
    return "table" if attrs.has(type_) else getattr(type_, "__name__", str(type_))


def _but_none(arguments: Iterable[Any]) -> list[Any]:
    return [argument for argument in arguments if argument is not NoneType]


def _kind(value: object) -> str:
    """Name what a user wrote, without repeating it."""
    if isinstance(value, Mapping):
        return "a table"
    if isinstance(value, list):
        return "a list"
    names = {bool: "true or false", str: "text", int: "a whole number", float: "a number"}
    return names.get(type(value), "a date or time")


def _misfit(message: str, remedy: str = "") -> Misfits:
    return Misfits([Misfit((), message, remedy)])


@frozen
class _Structurer:
    """A cattrs converter with strict rules, bound to a folder."""

    base: Path
    from_text: bool
    converter: Converter = attrs.field(init=False, factory=lambda: Converter(detailed_validation=False))

    def __attrs_post_init__(self) -> None:
        converter = self.converter
        converter.register_structure_hook_factory(attrs.has, lambda cls: self._table)
        converter.register_structure_hook_factory(_is_sequence, lambda type_: self._sequence)
        converter.register_structure_hook_factory(_is_mapping, lambda type_: self._mapping)
        converter.register_structure_hook_factory(_is_literal, lambda type_: self._literal)
        hooks: Mapping[type, Callable[[Any, Any], object]] = {
            str: self._str,
            bool: self._bool,
            int: self._int,
            float: self._float,
            date: self._date,
            Path: self._path,
        }
        for type_, hook in hooks.items():
            converter.register_structure_hook(type_, hook)
        converter.register_structure_hook_func(lambda type_: type_ is Secret, self._secret)
        converter.register_structure_hook_func(lambda type_: type_ is Octets, self._octets)

    def _str(self, value: object, _: object) -> str:
        if not isinstance(value, str):
            raise _misfit(f"must be text in quotes, not {_kind(value)}")
        return value

    def _bool(self, value: object, _: object) -> bool:
        if self.from_text and value in ("true", "false"):
            return value == "true"
        if not isinstance(value, bool):
            raise _misfit("must be true or false" + ("" if self.from_text else f", not {_kind(value)}"))
        return value

    def _int(self, value: object, _: object) -> int:
        if self.from_text and isinstance(value, str) and re.fullmatch(r"[+-]?[0-9]{1,18}", value):
            return int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise _misfit("must be a whole number" + ("" if self.from_text else f", not {_kind(value)}"))
        if abs(value) >= 2**63:
            raise _misfit("is too large a number")
        return value

    def _float(self, value: object, _: object) -> float:
        if self.from_text and isinstance(value, str):
            try:
                value = float(value)
            except ValueError:
                raise _misfit("must be a number") from None
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise _misfit(f"must be a number, not {_kind(value)}")
        if not math.isfinite(value) or abs(value) >= 2**63:
            raise _misfit("must be a finite number")
        return float(value)

    def _date(self, value: object, _: object) -> date:
        if isinstance(value, date) and not isinstance(value, datetime):
            return value
        try:
            return date.fromisoformat(value if isinstance(value, str) else "")
        except ValueError:
            raise _misfit("must be a day such as 2024-01-31") from None

    def _octets(self, value: object, _: object) -> Octets:
        if not isinstance(value, str) or value.strip().isdecimal():
            value = self._int(int(value) if isinstance(value, str) and len(value) < 19 else value, int)
            if value < 0:
                raise _misfit("must not be negative")
            return Octets(value)
        try:
            return parse_octets(value)
        except ValueError as error:
            raise _misfit(str(error)) from None

    def _path(self, value: object, _: object) -> Path:
        text = self._str(value, str)
        if not text or "\0" in text:
            raise _misfit("must be a path")
        try:
            return self.base / Path(text).expanduser()
        except RuntimeError:  # "~nobody": no such home
            raise _misfit("names a home folder that does not exist") from None

    def _secret(self, value: object, _: object) -> Secret:
        text = self._str(value, str)
        if fault := reference_fault(text):
            raise _misfit(*fault)
        return parse_secret(text, base=self.base)

    def _literal(self, value: object, type_: Any) -> object:
        choices = typing.get_args(type_)
        for choice in choices:
            if value == choice and type(value) is type(choice):
                return choice
        known = [toml_text(choice) for choice in choices]
        near = difflib.get_close_matches(toml_text(value), known, n=1) if isinstance(value, str) else []
        raise _misfit(f"must be {' or '.join(known)}", f"did you mean {near[0]}?" if near else "")

    def _sequence(self, value: object, type_: Any) -> object:
        if self.from_text and isinstance(value, str):
            value = value.split(",")
        if not isinstance(value, list):
            raise _misfit(f"must be a list, not {_kind(value)}")
        item_type = typing.get_args(type_)[0]
        return typing.get_origin(type_)(self._items(enumerate(value), item_type))

    def _mapping(self, value: object, type_: Any) -> object:
        if not isinstance(value, Mapping):
            raise _misfit(f"must be a table, not {_kind(value)}")
        return dict(zip(value, self._items(value.items(), typing.get_args(type_)[1]), strict=True))

    def _items(self, items: Iterable[tuple[str | int, object]], type_: Any) -> list[object]:
        made, misfits = [], list[Misfit]()
        for key, item in items:
            try:
                made.append(self.converter.structure(item, type_))
            except Misfits as error:
                misfits += error.under(key)
        if misfits:
            raise Misfits(misfits)
        return made

    def _table(self, value: object, cls: type) -> object:
        if not isinstance(value, Mapping):
            raise _misfit(f"must be a table, not {_kind(value)}")
        types = typing.get_type_hints(cls)
        fields = {attribute.alias or attribute.name: attribute for attribute in init_fields(cls)}
        misfits = [
            Misfit((key,), "is not an option here", did_you_mean(key, fields))
            for key in value
            if key not in fields
        ]
        given: dict[str, object] = {}
        for key, attribute in fields.items():
            try:
                if value.get(key) == "" and attribute.default is attrs.NOTHING:
                    misfits.append(Misfit((key,), "is to be filled in", attribute.metadata.get("help", "")))
                elif key in value:
                    given[key] = self.converter.structure(value[key], types[attribute.name])
                elif attribute.default is attrs.NOTHING:
                    misfits.append(Misfit((key,), "is missing", attribute.metadata.get("help", "")))
            except Misfits as error:
                misfits += error.under(key)
        return _make(cls, fields, given, misfits)


@functools.lru_cache(maxsize=16)
def _structurer(base: Path, from_text: bool) -> _Structurer:
    return _Structurer(base, from_text)


def _make(
    cls: type, fields: Mapping[str, attrs.Attribute[Any]], given: dict[str, object], misfits: list[Misfit]
) -> object:
    """Make the instance; where something is wrong with it already, find what else its class objects to."""
    for misfit in _objections(cls, fields, given):
        misfits.append(misfit)
        given.pop(str(misfit.path[0]))
    if all(key in given or attribute.default is not attrs.NOTHING for key, attribute in fields.items()):
        try:
            made: object = cls(**given)
        except (ValueError, TypeError, AlimailError) as error:
            misfits += _news(_objection(error, _blamed(error, fields)), misfits)
        else:
            if not misfits:
                return made
    raise Misfits(misfits)


def _objections(
    cls: type, fields: Mapping[str, attrs.Attribute[Any]], given: Mapping[str, object]
) -> list[Misfit]:
    """Run each validator by itself, on an instance that has no more than what was given."""
    bare: object = object.__new__(cls)
    for key, value in given.items():
        object.__setattr__(bare, fields[key].name, value)
    misfits = []
    for key, value in given.items():
        validator = fields[key].validator
        try:
            if validator is not None and fields[key].converter is None:
                validator(bare, fields[key], value)
        except AttributeError:  # it looks at a field that is not there; judged when the instance is made
            continue
        except (ValueError, TypeError, AlimailError) as error:
            misfits.append(_objection(error, key))
    return misfits


def _news(misfit: Misfit, known: Iterable[Misfit]) -> list[Misfit]:
    """Leave out what is said of a key that something was said of already."""
    return [] if misfit.path and any(other.path[:1] == misfit.path for other in known) else [misfit]


def _objection(error: Exception, key: str) -> Misfit:
    message = (
        error.message if isinstance(error, AlimailError) else str(error.args[0] if error.args else error)
    )
    remedy = error.remedy if isinstance(error, AlimailError) else ""
    return Misfit((key,) if key else (), printable(message.removeprefix(f"'{key}' ")), remedy)


def _blamed(error: Exception, fields: Mapping[str, attrs.Attribute[Any]]) -> str:
    """Name the field that an error in quotation marks names, as attrs's own do; empty where it names none."""
    return next((key for key, attribute in fields.items() if f"'{attribute.name}'" in str(error)), "")


def _is_literal(type_: Any) -> bool:
    return typing.get_origin(type_) is Literal


def _is_sequence(type_: Any) -> bool:
    return typing.get_origin(type_) in _SEQUENCES


def _is_mapping(type_: Any) -> bool:
    return typing.get_origin(type_) in (dict, Mapping)
