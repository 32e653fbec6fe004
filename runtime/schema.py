"""Strict reading of plain data (JSON, TOML) into frozen dataclasses.

Every reader in the project goes through :func:`read`, so that a typo, a missing key or a value of
the wrong type is never passed over: all problems are collected and reported in one error.
"""

from __future__ import annotations

import dataclasses
import types
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from runtime.errors import SchemaError

T = TypeVar("T")


def read(cls: type[T], data: object, where: str) -> T:
    """Build ``cls`` (a dataclass) from ``data``, refusing whatever does not fit exactly.

    Fields without a default must be present; unknown keys are refused. Supported field types are
    bool, int, float, str, ``Any``, ``Literal``, nested dataclasses, ``tuple[X, ...]``,
    ``dict[str, X]`` and unions with ``None``. An int is taken where a float is asked for; a bool is
    never a number.

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
        raise SchemaError(f"{where}: " + "; ".join(problems))
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
    if origin in (Union, types.UnionType):
        if data is None and type(None) in get_args(kind):
            return None
        (inner,) = (arg for arg in get_args(kind) if arg is not type(None))
        return _value(inner, data, path, problems)
    if origin is Literal:
        if data not in get_args(kind) or isinstance(data, bool) != isinstance(
            get_args(kind)[0], bool
        ):
            choices = ", ".join(map(repr, get_args(kind)))
            problems.append(f"'{path}' is {data!r}, must be one of {choices}")
        return data
    if origin is tuple:
        if not isinstance(data, (list, tuple)):
            problems.append(f"'{path}' must be a list, is {type(data).__name__}")
            return ()
        inner = get_args(kind)[0]
        items = enumerate(cast("list[object]", data))
        return tuple(_value(inner, item, f"{path}[{i}]", problems) for i, item in items)
    if origin is dict:
        if not isinstance(data, dict):
            problems.append(f"'{path}' must be a table, is {type(data).__name__}")
            return {}
        inner = get_args(kind)[1]
        table = cast("dict[object, object]", data)
        return {str(k): _value(inner, v, f"{path}.{k}", problems) for k, v in table.items()}
    if kind is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    if not isinstance(data, kind) or (isinstance(data, bool) and kind is not bool):
        problems.append(f"'{path}' must be {kind.__name__}, is {type(data).__name__}")
    return data


def _dataclass(cls: Any, data: object, path: str, problems: list[str]) -> Any:
    if not isinstance(data, dict):
        problems.append(f"'{path or '(top)'}' must be a table, is {type(data).__name__}")
        return None
    dot = f"{path}." if path else ""
    hints = get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls)}
    table = cast("dict[str, object]", data)
    for name in sorted(set(table) - set(fields), key=str):
        problems.append(f"unknown key '{dot}{name}'")
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
