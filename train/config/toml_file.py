"""TOML files as tables, and as configs."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

from runtime import schema
from runtime.errors import ClapError
from train.config.text_file import read_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]

T = TypeVar("T")

MAX_CHARACTERS = 1 << 20
MAX_DOTS = 64  # in one key


def read_config(cls: type[T], path: Path, changes: Sequence[str] = ()) -> T:
    """A TOML file as a config; paths in it are relative to the working directory.

    Args:
        cls: the config's type.
        path: of the file.
        changes: ``key=value`` each, laid over the file's tables.

    Raises:
        ClapError: the file is missing, not TOML, or its keys do not fit (all are listed); or a
            change is none.
    """
    data = read_toml(path)
    for change in changes:
        _change(data, change)
    return as_config(cls, data, path)


def as_config(cls: type[T], data: dict[str, Any], path: Path) -> T:
    """Tables of a file as a config.

    Raises:
        ClapError: keys that do not fit (all are listed).
    """
    try:
        return schema.read(cls, data, str(path))
    except RecursionError as error:
        raise _too_deep(path) from error


def read_toml(path: Path) -> dict[str, Any]:
    """The file's tables, on top of those of the file that it extends.

    ``extends`` names another TOML file, relative to this one's folder. A table here is laid over
    the one of the same name there; any other value, a list of tables too, takes its place.
    ``without`` names top-level keys of the other file that are left out.

    Raises:
        ClapError: a file is missing or not TOML, extends itself, or leaves out what is not there.
    """
    try:
        return _read(path, ())
    except RecursionError as error:
        raise _too_deep(path) from error


def _read(path: Path, below: tuple[Path, ...]) -> dict[str, Any]:
    data = _parse(path)
    here = path.resolve()
    if here in below:
        raise ClapError(f"config {path} extends itself; take one 'extends' out.")
    extends, without = data.pop("extends", None), data.pop("without", [])
    if extends is None and without:
        raise ClapError(f"config {path} has 'without' but extends no other file.")
    if extends is None:
        return data
    if not isinstance(extends, str) or not isinstance(without, list):
        raise ClapError(f"config {path}: 'extends' must be a path, 'without' a list of keys.")
    base = _read(path.parent / extends, (*below, here))
    if absent := [str(key) for key in without if key not in base]:
        raise ClapError(f"config {path}: {extends} has no {', '.join(absent)} to leave out.")
    return _over({key: base[key] for key in base if key not in without}, data)


def _over(base: dict[str, Any], data: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in data.items():
        under = merged.get(key)
        if isinstance(under, dict) and isinstance(value, dict):
            value = _over(cast("dict[str, Any]", under), cast("dict[str, Any]", value))
        merged[key] = value
    return merged


def _change(data: dict[str, Any], change: str) -> None:
    """Lay ``loop.epochs=3`` or ``tasks.0.name=birds`` over the tables.

    The value is TOML where it can be read as such, and a text as it stands otherwise.

    Raises:
        ClapError: it has no ``=``, or leads through something that is no table.
    """
    name, found, text = change.partition("=")
    keys = [key.strip() for key in name.split(".")]
    if not found or not all(keys) or len(keys) > MAX_DOTS:
        raise ClapError(f"--set {change!r}: give key=value, such as loop.epochs=3.")
    place: Any = data
    for key in keys[:-1]:
        place = _inside(place, key, change)
    if isinstance(place, list):
        _inside(place, keys[-1], change)
        place[int(keys[-1])] = _value_of(text)
    elif isinstance(place, dict):
        place[keys[-1]] = _value_of(text)
    else:
        raise ClapError(f"--set {change!r}: {'.'.join(keys[:-1])} is no table.")


def _inside(place: Any, key: str, change: str) -> Any:
    if isinstance(place, dict):
        return place.setdefault(key, {})
    if isinstance(place, list) and key.isascii() and key.isdecimal() and int(key) < len(place):
        return place[int(key)]
    holds = f"a list of {len(place)}, counted from 0" if isinstance(place, list) else "no table"
    raise ClapError(f"--set {change!r}: there is no {key!r} in {holds}.")


def _value_of(text: str) -> Any:
    try:
        found = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError):
        return text.strip()
    return found["value"] if len(found) == 1 else text.strip()


def _parse(path: Path) -> dict[str, Any]:
    text = read_text(path, "config", broken="is not TOML")
    if len(text) > MAX_CHARACTERS:
        raise ClapError(f"config {path} has {len(text)} characters, at most {MAX_CHARACTERS}.")
    # tomllib keeps every beginning of a dotted key: 100,000 dots would take 40 GB.
    if any(part.count(".") > MAX_DOTS for part in re.split(r"[=,{}\[\]#\n]", text)):
        raise _too_deep(path)
    try:
        return tomllib.loads(text)
    except ValueError as error:  # an integer of 5,000 digits is no TOMLDecodeError
        raise ClapError(f"config {path} is not TOML: {error}.") from error


def _too_deep(path: Path) -> ClapError:
    return ClapError(f"config {path} is nested too deeply.")
