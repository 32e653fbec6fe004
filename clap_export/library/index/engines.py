"""The engines of an index, as they are filled; :mod:`runtime.library.index.engines` reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.cores import usable_cores
from runtime.library.arrow import lancedb, pyarrow, usearch
from runtime.library.index.document import Engine
from runtime.library.index.engines import GRAPH, NUMBER, TABLE, VECTOR

Batches = Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]  # numbers and vectors

NEIGHBOURS = 16  # of a vector in usearch's graph
EXPANSION = 64  # vectors that usearch keeps in sight while it looks for them
AT_ONCE = 1024  # vectors between two looks at whether the user wants it to stop
PER_CLUSTER = 1000  # vectors, about
DIMS_PER_CODE = 4  # dimensions that LanceDB makes one byte of
FEWEST_CODED = 256  # vectors that LanceDB needs to learn its codes from


def graph(folder: Path, dim: int, count: int, batches: Batches) -> None:
    """A graph of vectors of signed bytes, by usearch: what is found is compared exactly later."""
    index: Any = usearch().Index(
        ndim=dim, metric="cos", dtype="i8", connectivity=NEIGHBOURS, expansion_add=EXPANSION,
        enable_key_lookups=False,
    )  # fmt: skip
    for numbers, vectors in batches:
        for first in range(0, len(numbers), AT_ONCE):
            some = slice(first, first + AT_ONCE)
            index.add(numbers[some], vectors[some], threads=usable_cores())
    index.save(str(folder / GRAPH))


def clusters(folder: Path, dim: int, count: int, batches: Batches) -> None:
    """A table of LanceDB, with an index of clusters where there are enough vectors for it."""
    arrow = pyarrow()
    schema = arrow.schema([(NUMBER, arrow.int64()), (VECTOR, arrow.list_(arrow.float16(), dim))])

    def records() -> Iterator[Any]:
        for numbers, vectors in batches:
            halves = arrow.array(vectors.astype(np.float16).ravel())
            lists = arrow.FixedSizeListArray.from_arrays(halves, dim)
            yield arrow.record_batch([arrow.array(numbers), lists], schema=schema)

    database = lancedb().connect(str(folder))
    table = database.create_table(TABLE, records(), schema=schema)
    if count >= FEWEST_CODED:
        config = lancedb().index.IvfPq(
            distance_type="dot", num_partitions=max(1, count // PER_CLUSTER),
            num_sub_vectors=_codes(dim),
        )  # fmt: skip
        table.create_index(VECTOR, config=config)


def _codes(dim: int) -> int:
    """Bytes of a vector's code, which must divide its dimensions."""
    return next(n for n in range(max(1, dim // DIMS_PER_CODE), 0, -1) if dim % n == 0)


FILL: dict[Engine, Callable[[Path, int, int, Batches], None]] = {
    "usearch": graph, "lancedb": clusters,
}  # fmt: skip
