"""What an index names, as rows of a library: those that are wanted and there, compared exactly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.library.part import Block, Part

NONE: NDArray[np.int64] = np.empty(0, np.int64)


@dataclass(frozen=True, eq=False)
class Places:
    """Which rows the numbers of an index are.

    Attributes:
        starts: number of the first row of each part, and of the end, int64 ``[parts + 1]``.
        parts: those that are as they were when they were indexed; None for the others.
    """

    starts: NDArray[np.int64]
    parts: tuple[Part | None, ...]

    def rows(self, numbers: NDArray[np.int64]) -> Iterator[tuple[Part, NDArray[np.int64]]]:
        """Parts, and the rows in them, in order."""
        numbers = np.unique(numbers[(numbers >= 0) & (numbers < self.starts[-1])])
        at = np.searchsorted(self.starts, numbers, "right") - 1
        places: list[int] = np.unique(at).tolist()
        for place in places:
            part = self.parts[place]
            if part is not None:
                yield part, numbers[at == place] - self.starts[place]


class Candidates:
    """Rows by their cosine to a query, best first, as :class:`runtime.library.ranking.Ranking`.

    Args:
        found: parts, and some rows of each.
        query: float32 ``[dim]`` of unit norm.
        wanted: rows that may be found, by the names of their parts; None for all.

    Attributes:
        all_seen: somebody asked for more than there are.

    Raises:
        LibraryError: a part is damaged.
    """

    def __init__(
        self,
        found: Iterator[tuple[Part, NDArray[np.int64]]],
        query: NDArray[np.float32],
        wanted: Mapping[str, NDArray[np.int64]] | None,
    ) -> None:
        self.all_seen = False
        self._rows: list[tuple[Block, int, float]] = []
        for part, rows in found:
            if wanted is not None:
                rows = np.intersect1d(rows, wanted.get(part.name, NONE), assume_unique=True)
            for block in part.blocks():
                # Rows that have vanished since are in no block.
                places = np.searchsorted(block.rows, rows)
                there = places < len(block.rows)
                there[there] = block.rows[places[there]] == rows[there]
                places = places[there]
                cosines = block.floats(places) @ query
                good = np.isfinite(cosines)
                pairs = zip(places[good].tolist(), cosines[good].tolist(), strict=True)
                self._rows += ((block, place, cosine) for place, cosine in pairs)
        # A stable sort, so that of equal ones the first of the library come first.
        self._rows.sort(key=lambda each: -each[2])

    def __iter__(self) -> Iterator[tuple[Block, int, float]]:
        yield from self._rows
        self.all_seen = True
