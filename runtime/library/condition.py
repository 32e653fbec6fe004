"""Which rows are searched: a condition in SQL on the columns, by DuckDB.

The condition is a user's own text. DuckDB is let at the library's folder and nothing else, and one
statement is taken, which reads.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from runtime.arguments import shown
from runtime.errors import ClapError
from runtime.library.arrow import duckdb
from runtime.library.columns import RECORDINGS, WINDOWS

# Folders of a library may be called ``duration=3``, which is no value of a column.
READ = "read_parquet({}, filename = true, file_row_number = true, hive_partitioning = false)"


class Unread(ClapError):
    """DuckDB failed at the rows: because of the condition, or of a part that is damaged."""


def rows(
    folder: Path, names: Iterable[str], where: str, windows: bool
) -> dict[str, NDArray[np.int64]]:
    """Rows for which a condition holds, by the names of the parts.

    Args:
        folder: of the library.
        names: of the parts that are looked at.
        where: what stands behind WHERE, on the columns of recordings.
        windows: give the rows of windows whose recordings fulfil it.

    Raises:
        ClapError: DuckDB is not installed, or cannot make anything of the condition.
        Unread: it failed at the rows.
    """
    engine = duckdb()
    try:
        str.encode(where)
    except (TypeError, UnicodeEncodeError) as error:
        raise ClapError(f"where={shown(where)}: pass a condition in SQL, as a text.") from error
    folder, names = folder.resolve(), list(names)
    if not names:
        return {}
    recordings = READ.format(_listed(_plain(folder / RECORDINGS / name) for name in names))
    condition = f"FROM {recordings} WHERE ({where}\n)"
    query = f"SELECT filename, list(file_row_number) {condition} GROUP BY filename"
    if windows:
        there = READ.format(_listed(_plain(folder / WINDOWS / name) for name in names))
        query = (
            f"SELECT w.filename, list(w.file_row_number) FROM {there} w "
            f"JOIN (SELECT path, member {condition}) r "
            "ON w.path = r.path AND w.member IS NOT DISTINCT FROM r.member GROUP BY w.filename"
        )
    with engine.connect(":memory:") as database:
        try:
            both = [f"{folder / kind}/" for kind in (RECORDINGS, WINDOWS)]
            # What matches is compared with these, and so is the pattern.
            kinds = _listed(dict.fromkeys([*both, *map(_plain, both)]))
            database.execute(f"SET allowed_directories = {kinds}")
            database.execute("SET enable_external_access = false")
            database.execute("SET lock_configuration = true")
            statements = database.extract_statements(query)
            if len(statements) != 1 or statements[0].type != engine.StatementType.SELECT:
                raise ClapError(f"where={where!r}: give one condition, as behind WHERE in SQL.")
            found = cast("list[tuple[str, list[int]]]", database.execute(query).fetchall())
        except engine.Error as error:
            reason = str(error).strip().partition("\n")[0]
            of_it = engine.ParserException, engine.BinderException, engine.CatalogException
            raise (ClapError if isinstance(error, of_it) else Unread)(
                f"where={where!r} cannot be used ({reason}). Give a condition on the columns of "
                "docs/library.md, such as: duration < 10 AND path LIKE '%/rain/%'"
            ) from error
    return {Path(path).name: np.sort(np.array(some, np.int64)) for path, some in found}


def _listed(paths: Iterable[Any]) -> str:
    return f"[{', '.join(map(_text, paths))}]"


def _plain(path: object) -> str:
    """A path as a pattern that matches it alone."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in str(path))


def _text(path: object) -> str:
    return "'" + str(path).replace("'", "''") + "'"
