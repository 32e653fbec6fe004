"""From windows to what a person would mark: stretches of time that have a label."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from runtime import Segment

# Regions that wait for an older one to end. One more, and the oldest that is open is cut there.
MOST_WAITING = 4096


@dataclass(frozen=True)
class Region:
    """A stretch of a recording that has a label.

    Attributes:
        label: its name.
        start: in seconds.
        end: in seconds.
        score: the highest of its windows.
    """

    label: str
    start: float
    end: float
    score: float


class Sharing:
    """Takes windows and gives them without their overlap: two that follow each other have half of
    it each.

    Without this a label at a hop of half a second would last as long as the model's window.
    """

    def __init__(self) -> None:
        self._before: Segment | None = None
        self._start = 0.0

    def push(self, segment: Segment) -> list[Segment]:
        """The share of the window before this one, which is known now."""
        found: list[Segment] = []
        start = segment.start
        if self._before is not None:
            meet = min(self._before.end, (self._before.end + segment.start) / 2)
            found = [replace(self._before, start=self._start, end=meet)]
            start = max(start, meet)
        self._before, self._start = segment, start
        return found

    def finish(self) -> list[Segment]:
        """The share of the last window."""
        before, self._before = self._before, None
        return [] if before is None else [replace(before, start=self._start)]


def shares(segments: Iterable[Segment]) -> Iterator[Segment]:
    """Windows without their overlap; see :class:`Sharing`."""
    sharing = Sharing()
    for segment in segments:
        yield from sharing.push(segment)
    yield from sharing.finish()


def regions(segments: Iterable[Segment]) -> Iterator[Region]:
    """Windows that follow each other and have the same label, as one; in the order of their starts.

    Args:
        segments: of a timeline, in order.
    """
    running: dict[str, Region] = {}  # in the order of their starts
    waiting: list[tuple[float, float, str, Region]] = []
    end = 0.0
    for share in shares(segments):
        now = {p.label: p.score for p in share.predictions}
        for label in [label for label in running if label not in now or share.start > end]:
            region = running.pop(label)
            _wait(waiting, region)
        for label, score in now.items():
            region = running.get(label) or Region(label, share.start, share.end, score)
            running[label] = replace(region, end=share.end, score=max(region.score, score))
        end = share.end
        if len(waiting) > MOST_WAITING:
            _wait(waiting, running.pop(next(iter(running))))
        first = next(iter(running.values())).start if running else float("inf")
        while waiting and waiting[0][0] < first:
            yield heapq.heappop(waiting)[-1]
    for region in running.values():
        _wait(waiting, region)
    while waiting:
        yield heapq.heappop(waiting)[-1]


def _wait(waiting: list[tuple[float, float, str, Region]], region: Region) -> None:
    """Those that begin together are in the order of their scores."""
    heapq.heappush(waiting, (region.start, -region.score, region.label, region))
