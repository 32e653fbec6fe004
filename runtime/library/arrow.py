"""What comes with the extra ``library``, and the engines of an index, of extras of their own.

All are imported when they are needed.
"""

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


def usearch() -> Any:
    """The module of usearch's index.

    Raises:
        ClapError: it is not installed.
    """
    return _found("usearch.index", "library-index")


def lancedb() -> Any:
    """LanceDB.

    Raises:
        ClapError: it is not installed.
    """
    return _found("lancedb", "library-lance")


def _found(name: str, extra: str = "library") -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ClapError(
            f"{'a library' if extra == 'library' else 'the index'} needs {name.partition('.')[0]}, "
            f"which cannot be imported ({error}). Install it: pip install clap-export[{extra}]"
        ) from error
