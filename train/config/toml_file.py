"""TOML files as tables, and as configs."""

from __future__ import annotations

import re
import sys
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


def read_config(cls: type[T], path: Path) -> T:
    """A TOML file as a config; paths in it are relative to the working directory.

    Raises:
        ClapError: the file is missing, not TOML, or its keys do not fit (all are listed).
    """
    return as_config(cls, read_toml(path), path)


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
