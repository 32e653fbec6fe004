"""Who comes in: so many requests, so many long ones among them; the others are told when to come
again."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from clap_export.serve.problems import Problem

REMEMBERED = 64  # requests that ended last, of which the rate is taken
LONGEST_WAIT = 600  # seconds that anybody is told to wait
LARGE = 4 << 20  # bytes of a body from which a recording counts as long


class Door:
    """Counts those of one kind that are inside.

    Args:
        most: that may be.
        clock: seconds; for tests.
    """

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most, self._clock = most, clock
        self._left: deque[float] = deque(maxlen=REMEMBERED)  # when they left
        self.inside = self.refused = 0

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Be inside for the length of a block.

        Raises:
            Problem: 429, there are too many.
        """
        if self.inside >= self._most:
            self.refused += 1
            raise Problem(
                429, "busy", f"{self.inside} requests are being worked on: try again in "
                f"{self.retry_after} s.", self.retry_after,
            )  # fmt: skip
        self.inside += 1
        try:
            yield
        finally:
            self.inside -= 1
            self._left.append(self._clock())

    @property
    def rate(self) -> float | None:
        """Requests that end in a second, as of late; None while nothing is known."""
        if len(self._left) < 2:
            return None
        return (len(self._left) - 1) / max(1e-3, self._clock() - self._left[0])

    @property
    def retry_after(self) -> int:
        """Whole seconds in which those that are inside end, at the rate of late."""
        rate = self.rate
        seconds = 1.0 if rate is None else self.inside / rate
        return max(1, min(LONGEST_WAIT, math.ceil(seconds)))


class Turns:
    """Recordings that are heard at a time: quick ones, and long ones beside them.

    A recording that turns out to be long moves to the long ones if there is room, and else must
    begin anew when there is: its place belongs to quick ones. For one event loop, but for
    :meth:`grow`, which any thread may call.
    """

    def __init__(self, quick: int, long: int) -> None:
        self._free = {"quick": quick, "long": long}
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {"quick": deque(), "long": deque()}
        self._lock = threading.Lock()

    def waiting(self) -> int:
        """How many wait for their turn."""
        return sum(len(queue) for queue in self._waiting.values())

    async def take(self, kind: str) -> Turn:
        """Wait for a turn, first come, first served."""
        with self._lock:
            if self._free[kind] > 0 and not self._waiting[kind]:
                self._free[kind] -= 1
                return Turn(self, kind)
            future = asyncio.get_running_loop().create_future()
            self._waiting[kind].append(future)
        try:
            await future
        except asyncio.CancelledError:
            with self._lock:
                given = future.done() and not future.cancelled()
                # Not in the queue any more: `_wake` hands it on.
                with contextlib.suppress(ValueError):
                    self._waiting[kind].remove(future)
            if given:
                self.give(kind)
            raise
        return Turn(self, kind)

    def give(self, kind: str) -> None:
        """A place is free."""
        with self._lock:
            queue = self._waiting[kind]
            while queue:
                future = queue.popleft()
                if not future.done():
                    future.get_loop().call_soon_threadsafe(_wake, self, kind, future)
                    return
            self._free[kind] += 1

    def grow(self, turn: Turn) -> bool:
        """Whether a quick one may go on as a long one."""
        with self._lock:
            if self._free["long"] <= 0:
                return False
            self._free["long"] -= 1
        turn.kind = "long"
        self.give("quick")
        return True


class Turn:
    """A place among those that are heard; to be given back."""

    def __init__(self, turns: Turns, kind: str) -> None:
        self._turns, self.kind = turns, kind
        self._open = True

    def grow(self) -> bool:
        """Whether it may go on, now that it is long."""
        return self.kind == "long" or self._turns.grow(self)

    def close(self) -> None:
        """Give it back, once."""
        if self._open:
            self._open = False
            self._turns.give(self.kind)


def _wake(turns: Turns, kind: str, future: asyncio.Future[None]) -> None:
    if future.done():  # it left while it was called
        turns.give(kind)
    else:
        future.set_result(None)
