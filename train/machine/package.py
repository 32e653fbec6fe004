"""Files that come inside installed Python packages."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from runtime.errors import ClapError

MARK = "package:"


def find(source: str, asked: str) -> str | Path:
    """The path behind ``package:NAME/PATH``; anything else as it is.

    Args:
        source: as a config has it.
        asked: the option, for the message.

    Raises:
        ClapError: no such package is installed.
    """
    if not source.startswith(MARK):
        return source
    name, _, inside = source.removeprefix(MARK).partition("/")
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):  # of a part of a package that is not there; of no name
        spec = None
    if spec is None or not spec.submodule_search_locations:
        raise ClapError(f"{asked}: the Python package {name} is not installed.")
    return Path(spec.submodule_search_locations[0]) / inside
