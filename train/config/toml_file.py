"""TOML files as tables."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, cast

from runtime.errors import ClapError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pyright: ignore[reportMissingImports]


def read_toml(path: Path) -> dict[str, Any]:
    """The file's tables, on top of those of the file that it extends.

    ``extends`` names another TOML file, relative to this one's folder. A table here is laid over
    the one of the same name there; any other value, a list of tables too, takes its place.
    ``without`` names top-level keys of the other file that are left out.

    Raises:
        ClapError: a file is missing or not TOML, extends itself, or leaves out what is not there.
    """
    return _read(path, ())


def _read(path: Path, below: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in below:
        raise ClapError(f"config {path} extends itself; take one 'extends' out.")
    data = _parse(path)
    extends, without = data.pop("extends", None), data.pop("without", [])
    if extends is None and without:
        raise ClapError(f"config {path} has 'without' but extends no other file.")
    if extends is None:
        return data
    if not isinstance(extends, str) or not isinstance(without, list):
        raise ClapError(f"config {path}: 'extends' must be a path, 'without' a list of keys.")
    base = _read(path.parent / extends, (*below, path.resolve()))
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
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ClapError(f"config {path} cannot be read: {error.strerror}.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ClapError(f"config {path} is not TOML: {error}.") from error
