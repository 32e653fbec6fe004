"""Clips to batches and back: engines take batches that span clips, callers want clip by clip."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Rows = Any  # an array of rows, or a list of them
# Rows of several clips to what an engine is given, a batch at a time.
Batches = Callable[[list[Rows]], Iterable[dict[str, NDArray[Any]]]]
Run = Callable[[Iterable[dict[str, NDArray[Any]]]], Iterator[NDArray[np.float32]]]


def groups(clips: Iterable[Rows], size: int) -> Iterator[list[Rows]]:
    """Consecutive clips of at most ``size`` rows together, or a longer one alone; lazily."""
    waiting: list[Rows] = []
    count = 0
    for clip in clips:
        # A place-holder counts as well, or an endless row of them would be held for ever.
        cost = max(1, len(clip))
        if waiting and count + cost > size:
            yield waiting
            waiting, count = [], 0
        waiting.append(clip)
        count += cost
        if count >= size:
            yield waiting
            waiting, count = [], 0
    if waiting:
        yield waiting


def embed(
    found: Iterator[list[Rows]], batches: Batches, run: Run, dim: int
) -> Iterator[NDArray[np.float32]]:
    """Embed groups of clips in one stream, so that the engine need not wait between them.

    Args:
        found: from :func:`groups`.
        batches: of a group's rows.
        run: batches to embeddings ``[n, dim]``, one for each, in order.
        dim: length of an embedding.

    Yields:
        float32 ``[rows, dim]`` for each clip, in order.
    """
    started: deque[tuple[Sequence[int], int]] = deque()  # rows of each clip, number of batches
    empty: list[list[Rows]] = []  # the group that ended the stream

    def feeds() -> Iterator[dict[str, NDArray[Any]]]:
        for group in found:
            lengths = [len(clip) for clip in group]
            if not sum(lengths):
                # Nothing to run: given out before anything more is asked for.
                empty.append(group)
                return
            parts = list(batches(group))
            started.append((lengths, len(parts)))
            yield from parts

    while True:
        parts: list[NDArray[np.float32]] = []
        for part in run(feeds()):
            parts.append(part)
            if len(parts) == started[0][1]:
                lengths, _ = started.popleft()
                yield from np.split(np.concatenate(parts), np.cumsum(lengths)[:-1])
                parts = []
        if not empty:
            return
        for _ in empty.pop():
            yield np.empty((0, dim), np.float32)
