"""How quick the work is, and how long it will take."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

SPAN = 30.0  # seconds that the rate is taken over
STEP = 0.5  # seconds between two sentences


class Pace:
    """Counts what is done, and says so now and then.

    Args:
        total: of things to do.
        say: is given a sentence.
        clock: in seconds.
    """

    def __init__(
        self, total: int, say: Callable[[str], None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._total, self._say, self._clock = total, say, clock
        self._began = self._said = clock()
        self._marks = deque([(self._began, 0)])
        self.done = 0

    def one(self) -> None:
        """One more is done."""
        self.done += 1
        now = self._clock()
        if now - self._said >= STEP:
            self._said = now
            self._marks.append((now, self.done))
            while len(self._marks) > 2 and now - self._marks[0][0] > SPAN:
                self._marks.popleft()
            self._say(self.sentence())

    def sentence(self) -> str:
        """How far it is."""
        then, before = self._marks[0]
        now = self._clock()
        rate = (self.done - before) / max(now - then, 1e-9)
        left = clock((self._total - self.done) / rate) if rate > 0 else "?"
        return f"{self.done:,} of {self._total:,}, {rate:.1f} a second, {left} left"

    @property
    def seconds(self) -> float:
        """Since the beginning."""
        return self._clock() - self._began


def clock(seconds: float) -> str:
    """Seconds as ``1:02:03``."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
