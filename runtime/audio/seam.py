"""Where one decoder goes on with what another began."""

from __future__ import annotations

import itertools
import math
from collections import deque
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

LENGTH = 4096  # frames by which the place is found
SLACK = 2400  # frames by which decoders of one codec may be apart: their delays differ
EQUAL = 1e-4  # of full scale: more than float32 and dithering make
ALIKE = 0.9  # correlation of two decodings of the same sound, at least


class Seam:
    """The end of what was given out, and what of another decoding lies behind it."""

    def __init__(self) -> None:
        self._last: deque[NDArray[np.float32]] = deque()
        self._frames = self._held = 0

    def add(self, block: NDArray[np.float32]) -> None:
        """Note a block float32 ``[frames, channels]`` that was given out."""
        self._last.append(block)
        self._frames += len(block)
        self._held += len(block)
        while self._held - len(self._last[0]) >= LENGTH:
            self._held -= len(self._last.popleft())

    def behind(
        self, blocks: Iterable[NDArray[np.float32]], least: int
    ) -> Iterator[NDArray[np.float32]]:
        """What goes on behind the last block that was noted.

        Args:
            blocks: of another decoding of the same sound, from its beginning; float32
                ``[frames, channels]``.
            least: fewer frames than these are not given out.

        Returns:
            blocks; none where the two do not meet, or where there is no more.
        """
        if not self._frames:
            yield from blocks
            return
        last = np.concatenate(self._last)[-LENGTH:]
        first = max(0, self._frames - len(last) - SLACK)  # of the frames that are compared
        rest, near, at = iter(blocks), list[NDArray[np.float32]](), 0
        for block in rest:
            if at + len(block) > first:
                near.append(block[max(0, first - at) :])
            at += len(block)
            if at >= self._frames + SLACK + least:
                break
        if not near:
            return
        found = np.concatenate(near)
        start = _place(found, last, self._frames - len(last) - first)
        if start is None or len(found) - start - len(last) < max(1, least):
            return
        yield from itertools.chain((found[start + len(last) :],), rest)


def _place(found: NDArray[np.float32], last: NDArray[np.float32], expected: int) -> int | None:
    """Where ``last`` lies in ``found``: where it is expected if it may, else where it fits best."""
    if found.shape[1] != last.shape[1]:
        return None
    there = found[expected : expected + len(last)]
    if len(there) == len(last) and np.abs(there - last).max() < EQUAL:
        return expected
    lowest, highest = max(0, expected - SLACK), min(len(found) - len(last), expected + SLACK)
    if highest < lowest:
        return None
    scores = np.array(
        [_alike(found[place : place + len(last)], last) for place in range(lowest, highest + 1)]
    )
    best = np.flatnonzero(scores >= max(ALIKE, 0.999 * scores.max()))
    return (
        None if not len(best) else lowest + int(best[np.argmin(np.abs(best + lowest - expected))])
    )


def _alike(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    scale = float(np.vdot(one, one)) * float(np.vdot(other, other))
    return float(np.vdot(one, other)) / math.sqrt(scale) if scale else 0.0
