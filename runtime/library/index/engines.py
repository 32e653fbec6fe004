"""The engines of an index, as they are asked: what lies near a vector, by number."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.library.arrow import lancedb, usearch
from runtime.library.index.document import Engine

GRAPH = "vectors.usearch"  # file of usearch
TABLE, NUMBER, VECTOR = "vectors", "number", "vector"  # LanceDB's table and its columns
EXPANSION = 256  # least number of vectors that usearch keeps in sight on its way
PROBES = 32  # least number of LanceDB's clusters that are looked into
PROBED = 16  # candidates for each of them


class Nearest(Protocol):
    """Finds vectors near another one."""

    def nearest(self, query: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        """Numbers of so many vectors, or of fewer; most of the nearest are among them.

        Args:
            query: float32 ``[dim]`` of unit norm.
            count: of vectors.
        """
        ...


class Graph:
    """usearch: a graph of neighbours (HNSW) over vectors of signed bytes, mapped from its file."""

    def __init__(self, folder: Path) -> None:
        self._index: Any = usearch().Index.restore(
            str(folder / GRAPH), view=True, enable_key_lookups=False
        )
        if self._index is None:
            raise ValueError(f"'{GRAPH}' is not usearch's")
        self._lock = threading.Lock()

    def nearest(self, query: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        """See :class:`Nearest`."""
        with self._lock:
            self._index.expansion_search = max(EXPANSION, count)
            return self._index.search(query, count, threads=1).keys.astype(np.int64)


class Clusters:
    """LanceDB: clusters of vectors, in each of which they are short codes (IVF-PQ), on the disk."""

    def __init__(self, folder: Path) -> None:
        self._table: Any = lancedb().connect(str(folder)).open_table(TABLE)

    def nearest(self, query: NDArray[np.float32], count: int) -> NDArray[np.int64]:
        """See :class:`Nearest`."""
        search = self._table.search(query, vector_column_name=VECTOR).distance_type("dot")
        search = search.nprobes(max(PROBES, count // PROBED)).limit(count).select([NUMBER])
        return search.to_arrow().column(NUMBER).to_numpy()


def opened(engine: Engine, folder: Path) -> Nearest:
    """The engine of an index.

    Raises:
        ClapError: it is not installed.
        Exception: whatever the engine raises at files that are not its own.
    """
    return Graph(folder) if engine == "usearch" else Clusters(folder)
