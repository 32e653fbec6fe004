"""Rows as Arrow tables: the columns of a library, with float32 vectors, as workers give them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from clap_export.library import parts
from clap_export.library.row import Row, Windows
from runtime.library import columns
from runtime.library.arrow import pyarrow
from runtime.library.columns import VECTOR

PASSED = "passed"  # the recording is as it was when it was embedded
TIMES = ("starts", "ends")
VECTORS = "vectors"  # of windows, one behind the other


def table(rows: Sequence[tuple[Row, bool]], dim: int, each_window: bool) -> Any:
    """Rows, and whether each was passed over, as a table."""
    arrow = pyarrow()
    found = parts.table((row.cells() for row, _ in rows), columns.recordings("float32", dim))
    single, double = arrow.list_(arrow.float32()), arrow.list_(arrow.float64())
    vectors = arrow.array([row.embedding for row, _ in rows], single)
    found = found.append_column(VECTOR, vectors)
    if each_window:
        every = [row.windows for row, _ in rows]
        for name in TIMES:
            times = [None if w is None else getattr(w, name) for w in every]
            found = found.append_column(name, arrow.array(times, double))
        flat = [None if w is None else w.vectors.ravel() for w in every]
        found = found.append_column(VECTORS, arrow.array(flat, single))
    return found.append_column(PASSED, arrow.array([passed for _, passed in rows], arrow.bool_()))


def read(table: Any, dim: int) -> Iterator[tuple[Row, bool]]:
    """What :func:`table` was made of."""
    lists = [name for name in (VECTOR, *TIMES, VECTORS) if name in table.column_names]
    vectors = {name: _lists(table.column(name)) for name in lists}
    for i, cells in enumerate(table.drop_columns(lists).to_pylist()):
        windows = None
        if VECTORS in vectors and (flat := vectors[VECTORS][i]) is not None:
            starts, ends = (vectors[name][i] for name in TIMES)
            assert starts is not None
            assert ends is not None
            windows = Windows(starts, ends, flat.reshape(-1, dim))
        yield Row.of_cells(cells, vectors[VECTOR][i], windows), cells[PASSED]


def _lists(column: Any) -> list[NDArray[Any] | None]:
    """A column of lists, each where it lies; None where there is none."""
    found: list[NDArray[Any] | None] = []
    for chunk in column.chunks:
        values = chunk.values.to_numpy(zero_copy_only=False)
        ends = chunk.offsets.to_numpy()
        there = chunk.is_valid().to_numpy(zero_copy_only=False)
        found += (
            values[ends[i] : ends[i + 1]] if there[i] else None for i in np.arange(len(chunk))
        )
    return found
