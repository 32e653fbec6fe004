"""The nearest vectors, exactly: all of them are looked at, block by block."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.cores import usable_cores
from runtime.library import numbers
from runtime.library.part import Block, Part

FIRST, MORE = 64, 8  # candidates that are sorted at first, and how many times more then
FEW = 0.1  # share of a block's rows, below which those alone are read


class Ranking:
    """All rows of some blocks, by their cosine to a query.

    Args:
        blocks: of the library.
        query: float32 ``[dim]`` of unit norm.
        wanted: rows that may be found, by the names of their parts; None for all.

    Attributes:
        spoilt: parts with vectors that are not finite, which are left out.
    """

    def __init__(
        self,
        blocks: Sequence[Block],
        query: NDArray[np.float32],
        wanted: Mapping[str, NDArray[np.int64]] | None = None,
    ) -> None:
        self._blocks = blocks
        self._starts: NDArray[np.int64] = np.cumsum([0, *(len(block.rows) for block in blocks)])
        self._wanted = wanted
        self.spoilt: list[Part] = []
        self._scores = np.full(int(self._starts[-1]), -np.inf, np.float32)
        if not blocks:
            return
        with ThreadPoolExecutor(usable_cores(), thread_name_prefix="clap-search") as threads:
            found = threads.map(partial(self._cosines, query), blocks)
            for start, block, cosines in zip(self._starts.tolist(), blocks, found, strict=False):
                if not np.isfinite(cosines[cosines != -np.inf]).all():
                    self.spoilt.append(block.part)
                    continue
                self._scores[start : start + len(cosines)] = cosines

    def __iter__(self) -> Iterator[tuple[Block, int, float]]:
        """Blocks, places in them and cosines, best first; equal ones in the library's order."""
        starts: list[int] = self._starts.tolist()
        given, count = 0, FIRST
        while given < len(self._scores):
            count = min(count, len(self._scores))
            for place in self._best(count)[given:].tolist():
                score = float(self._scores[place])
                if score == -np.inf:
                    return
                at = bisect_right(starts, place) - 1
                yield self._blocks[at], place - starts[at], score
            given, count = count, count * MORE

    def _best(self, count: int) -> NDArray[np.int64]:
        scores = self._scores
        last = np.partition(scores, len(scores) - count)[len(scores) - count]
        places = np.flatnonzero(scores >= last)
        # A stable sort, so that of equal ones the first come first, whatever the count.
        return places[np.argsort(-scores[places], kind="stable")][:count]

    def _cosines(self, query: NDArray[np.float32], block: Block) -> NDArray[np.float32]:
        there: Any = None
        if self._wanted is not None:
            none: NDArray[np.int64] = np.empty(0, np.int64)
            rows = self._wanted.get(block.part.name, none)
            there = np.isin(block.rows, rows, assume_unique=True)
            few = np.flatnonzero(there)
            if len(few) < len(there) * FEW:
                cosines = np.full(len(there), -np.inf, np.float32)
                cosines[few] = block.floats(few) @ query
                return cosines
        cosines = numbers.cosines(block.vectors, query)
        if block.scales is not None:
            cosines = cosines * block.scales
        return cosines if there is None else np.where(there, cosines, np.float32(-np.inf))


def chosen(
    ranking: Iterable[tuple[Block, int, float]],
    count: int,
    group_of: Callable[[Block, int], Any] | None,
    dedupe: float | None,
) -> list[tuple[Block, int, float]]:
    """The best rows, one of each group, without those that nearly repeat a better one.

    Args:
        ranking: rows and their cosines, best first.
        count: of rows, at most.
        group_of: what is to differ between rows; None if nothing is.
        dedupe: a row whose cosine to a better one is at least this is left out; None to keep all.
    """
    found: list[tuple[Block, int, float]] = []
    groups: set[Any] = set()
    kept: list[NDArray[np.float32]] = []
    for block, place, score in ranking:
        if group_of is not None:
            group = group_of(block, place)
            if group in groups:
                continue
        else:
            group = None
        if dedupe is not None:
            (vector,) = block.floats([place])
            if kept and float((np.stack(kept) @ vector).max()) >= dedupe:
                continue
            kept.append(vector)
        groups.add(group)
        found.append((block, place, score))
        if len(found) == count:
            break
    return found
