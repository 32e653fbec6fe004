"""Strict reading of plain data (JSON, TOML) into frozen dataclasses.

Every reader in the project goes through :func:`read`, so that a typo, a missing key or a value of
the wrong type is never passed over: all problems are collected and reported in one error. JSON is
parsed by :func:`read_json` alone.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
import types
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)  # fmt: skip

from runtime import files
from runtime.errors import ClapError, SchemaError
from runtime.plain_text import is_control, printable
from runtime.problems import listed

T = TypeVar("T")

MOST_BYTES = 256 << 20  # of a JSON document
MOST_DEPTH = 100  # of brackets within brackets; json itself gives up at about a thousand
MOST_DIGITS = 20  # of a whole number: 64 bits have 19, and a sign
MOST_PROBLEMS = 50  # listed in one message
MOST_SHOWN = 60  # characters of a value in a message
STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
HALF_PAIR = re.compile(rb"\\u[dD][89a-fA-F]")


@dataclasses.dataclass(frozen=True)
class Within:
    """A bound for a number, both ends included: ``Annotated[int, Within(1, 8)]``.

    Attributes:
        low: the least that is allowed.
        high: the most.
        nan: not a number is allowed too, as the result of a measurement.
    """

    low: float
    high: float
    nan: bool = False

    def problem(self, value: object) -> str | None:
        """What is wrong with a number, if anything."""
        number = cast(float, value)
        if (
            self.nan and isinstance(value, float) and math.isnan(value)
        ) or self.low <= number <= self.high:
            return None
        return f"must be from {self.low:g} to {self.high:g}, is {shown(value)}"


@dataclasses.dataclass(frozen=True)
class Text:
    """A bound for a text: its length in characters, and nothing that a terminal would obey."""

    most: int

    def problem(self, value: object) -> str | None:
        """What is wrong with a text, if anything."""
        text = cast(str, value)
        if len(text) > self.most:
            return f"has {len(text)} characters, at most {self.most} are read"
        if not text.isprintable() and any(map(is_control, text)):
            return f"holds control characters: {shown(value)}"
        return None


def read_json(source: bytes | Path, where: str = "", error: type[ClapError] = SchemaError) -> Any:
    """Parse a JSON document that anybody may have written.

    Args:
        source: the document, or the file to read it from.
        where: its name, for messages; default the path.
        error: which exception says what is wrong.

    Returns:
        what ``json.loads`` gives. NaN and the infinities are let through, as it does; :func:`read`
        refuses them.

    Raises:
        ClapError: as ``error``: it cannot be read, is no JSON in UTF-8, is nested too deep, names
            a key twice, or holds a number of more than 20 digits or half of a character.
    """
    data = source if isinstance(source, bytes) else files.read(source, most=MOST_BYTES, error=error)
    where = where or str(source if isinstance(source, Path) else "the document")
    try:
        if _depth(data) > MOST_DEPTH:
            raise ValueError(f"brackets are nested more than {MOST_DEPTH} deep")
        found = json.loads(data.decode("utf-8-sig"), parse_int=_whole, object_pairs_hook=_table)
        if HALF_PAIR.search(data):
            json.dumps(found, ensure_ascii=False).encode()  # raises UnicodeEncodeError
    except (ValueError, RecursionError) as problem:
        raise error(f"{where} cannot be read as JSON ({problem}).") from problem
    return found


def _depth(data: bytes) -> int:
    """Of brackets; in a document that is no JSON, some number."""
    depth = deepest = 0
    if data.count(b"[") + data.count(b"{") <= MOST_DEPTH:
        return 0
    for bracket in STRING.sub(b"", data).translate(None, NO_BRACKETS):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _whole(digits: str) -> int:
    if len(digits) > MOST_DIGITS:
        raise ValueError(f"a number has {len(digits)} digits")
    return int(digits)


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"the key {shown(name)} is there twice")
            seen.add(name)
    return table


def shown(value: object) -> str:
    """A value for a message: short, and without what a terminal would obey."""
    try:
        text = printable(repr(value)[: 2 * MOST_SHOWN])  # cut first: it may be a megabyte
    except ValueError:  # more digits than Python turns into text
        text = "a number of thousands of digits"
    return text if len(text) <= MOST_SHOWN else text[:MOST_SHOWN] + "…"


def read(cls: type[T], data: object, where: str) -> T:
    """Build ``cls`` (a dataclass) from ``data``, refusing whatever does not fit exactly.

    Fields without a default must be present; unknown keys are refused. Supported field types are
    bool, int, float, str, ``Any``, ``Literal``, nested dataclasses, ``tuple[X, ...]``,
    ``dict[str, X]`` and unions with ``None``; a number or text may have a bound, as in
    ``Annotated[int, Within(1, 8)]`` or ``Annotated[str, Text(80)]``. An int is taken where a float
    is asked for; a bool is never a number, and a float is finite if its bound does not say more.

    Args:
        cls: a dataclass type.
        data: what a JSON or TOML parser returned.
        where: the document's name, put first in the error.

    Raises:
        SchemaError: listing every problem with its dotted path.
    """
    problems: list[str] = []
    value = _value(cls, data, "", problems)
    if problems:
        raise SchemaError(f"{where}: {listed(problems, MOST_PROBLEMS)}")
    return value


def to_plain(value: object) -> Any:
    """The inverse of :func:`read`: dataclasses to dicts and tuples to lists, all the way down."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, (list, tuple)):
        return [to_plain(item) for item in cast("list[object]", value)]
    if isinstance(value, dict):
        return {key: to_plain(item) for key, item in cast("dict[str, object]", value).items()}
    return value


def _value(kind: Any, data: object, path: str, problems: list[str]) -> Any:
    if kind is Any:
        return data
    if dataclasses.is_dataclass(kind):
        return _dataclass(kind, data, path, problems)
    origin = get_origin(kind)
    if origin is Annotated:
        return _bounded(kind, data, path, problems)
    if origin in (Union, types.UnionType):
        if data is None and type(None) in get_args(kind):
            return None
        (inner,) = (arg for arg in get_args(kind) if arg is not type(None))
        return _value(inner, data, path, problems)
    if origin is Literal:
        if not any(type(data) is type(choice) and data == choice for choice in get_args(kind)):
            choices = ", ".join(map(repr, get_args(kind)))
            problems.append(f"'{path}' is {shown(data)}, must be one of {choices}")
        return data
    if origin is tuple:
        if not isinstance(data, (list, tuple)):
            problems.append(f"'{path}' must be a list, is {type(data).__name__}")
            return ()
        inner = get_args(kind)[0]
        if inner is str and all(type(item) is str for item in cast("list[object]", data)):
            return tuple(cast("list[str]", data))  # a bank may have a million names
        items = enumerate(cast("list[object]", data))
        return tuple(_value(inner, item, f"{path}[{i}]", problems) for i, item in items)
    if origin is dict:
        if not isinstance(data, dict):
            problems.append(f"'{path}' must be a table, is {type(data).__name__}")
            return {}
        key, inner = get_args(kind)
        table = cast("dict[object, object]", data)
        for name in table:
            _value(key, name, f"{path}, the key {shown(name)}", problems)
        return {str(k): _value(inner, v, f"{path}.{_key(k)}", problems) for k, v in table.items()}
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        if abs(data) < 1 << 64:
            return float(data)
        problems.append(f"'{path}' is too large a number: {shown(data)}")
        return 0.0
    if kind is float and isinstance(data, float) and not math.isfinite(data):
        problems.append(f"'{path}' must be finite, is {data}")
    if not isinstance(data, kind) or (isinstance(data, bool) and kind is not bool):
        problems.append(f"'{path}' must be {kind.__name__}, is {type(data).__name__}")
    return data


def _bounded(kind: Any, data: object, path: str, problems: list[str]) -> Any:
    """A value whose annotation brings bounds; Python's other annotations are passed over."""
    inner, *extra = get_args(kind)
    bounds = [bound for bound in extra if isinstance(bound, (Within, Text))]
    # Of a float with bounds these alone say whether it must be finite.
    if bounds and inner is float and isinstance(data, float):
        value = data
    else:
        before = len(problems)
        value = _value(inner, data, path, problems)
        if len(problems) > before or value is None:
            return value
    said = [bound.problem(value) for bound in bounds]
    problems += [f"'{path}' {problem}" for problem in said if problem]
    return value


def _key(name: object) -> str:
    """A key of a document for a message, in which its path may be long."""
    return shown(str(name))[1:-1]


def _dataclass(cls: Any, data: object, path: str, problems: list[str]) -> Any:
    if not isinstance(data, dict):
        problems.append(f"'{path or '(top)'}' must be a table, is {type(data).__name__}")
        return None
    dot = f"{path}." if path else ""
    hints = get_type_hints(cls, include_extras=True)
    fields = {f.name: f for f in dataclasses.fields(cls)}
    table = cast("dict[str, object]", data)
    unknown = sorted(set(table) - set(fields), key=str)
    problems += [f"unknown key '{dot}{_key(name)}'" for name in unknown]
    values: dict[str, Any] = {}
    before = len(problems)
    for name, field in fields.items():
        if name in table:
            values[name] = _value(hints[name], table[name], f"{dot}{name}", problems)
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            problems.append(f"missing key '{dot}{name}'")
    if len(problems) > before:
        return None
    try:
        return cls(**values)
    except ValueError as error:  # a dataclass' own checks
        problems.append(f"'{path}': {error}" if path else str(error))
        return None
