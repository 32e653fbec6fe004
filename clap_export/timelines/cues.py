"""Events of a stream as subtitles: in the order of their starts, while they come."""

from __future__ import annotations

import heapq
from collections.abc import Sequence

from clap_export.timelines.regions import Region
from runtime import Event

# Seconds of a cue. What lasts longer has several, so that no cue has to wait for days for the end
# of another one that began before it.
LONGEST = 60.0


class Cues:
    """Orders regions of events; none waits for much longer than :data:`LONGEST`, so memory does not
    grow with the stream.

    An event that is known only later, because it has to last for longer than that, begins where the
    newest cue begins.
    """

    def __init__(self) -> None:
        self._told: dict[str, float] = {}  # of open events: up to where they have cues
        self._waiting: list[tuple[float, float, str, Region]] = []
        self._newest = 0.0  # start of the last cue

    def ended(self, event: Event) -> None:
        """Take an event that is over."""
        self._cut(event)
        start = self._told.pop(event.label, event.start)
        if event.end > start:
            self._wait(event, start, event.end)

    def ready(self, now: float, budding: float, open_events: Sequence[Event]) -> list[Region]:
        """Regions that no other can come before.

        Args:
            now: the stream's clock.
            budding: see :attr:`runtime.Events.budding`.
            open_events: those that have begun and not ended.
        """
        for event in open_events:
            self._cut(event)
        starts = [self._told.get(event.label, event.start) for event in open_events]
        return self._before(max(min([*starts, budding]), now - 2 * LONGEST))

    def rest(self) -> list[Region]:
        """All that wait, when all events have ended."""
        return self._before(float("inf"))

    def _cut(self, event: Event) -> None:
        start = self._told.get(event.label, event.start)
        while event.end - start > LONGEST:
            self._wait(event, start, start + LONGEST)
            start = self._told[event.label] = start + LONGEST

    def _wait(self, event: Event, start: float, end: float) -> None:
        region = Region(event.label, start, end, event.peak)
        heapq.heappush(self._waiting, (start, -event.peak, event.label, region))

    def _before(self, time: float) -> list[Region]:
        found: list[Region] = []
        while self._waiting and self._waiting[0][0] < time:
            region = heapq.heappop(self._waiting)[-1]
            self._newest = max(self._newest, region.start)
            end = max(region.end, self._newest)
            found.append(Region(region.label, self._newest, end, region.score))
        return found
