"""pyarrow, which comes with the extra ``library`` and is imported when it is needed."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

from runtime.errors import ClapError


def pyarrow() -> Any:
    """The library.

    Raises:
        ClapError: it is not installed.
    """
    return _found("pyarrow")


def parquet() -> Any:
    """Its reader and writer of Parquet.

    Raises:
        ClapError: it is not installed.
    """
    return _found("pyarrow.parquet")


def duckdb() -> Any:
    """DuckDB, for filters in SQL.

    Raises:
        ClapError: it is not installed.
    """
    return _found("duckdb")


def _found(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ClapError(
            f"a library needs {name.partition('.')[0]}, which cannot be imported ({error}). "
            "Install it: pip install clap-export[library]"
        ) from error
