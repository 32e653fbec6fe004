"""Samples that wait between the thread that receives them and the one that hears them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from runtime.arguments import number
from runtime.errors import ClapError

LOOK = 0.5  # seconds after which a waiting thread looks up: Windows wakes none for a signal


@dataclass(frozen=True, eq=False)
class Piece:
    """Samples of a stream, in the order in which they came.

    Attributes:
        samples: ``(samples,)`` or ``(channels, samples)``.
        rate: in Hz.
        gap: seconds that are missing before them.
    """

    samples: NDArray[Any]
    rate: int
    gap: float = 0.0

    @property
    def seconds(self) -> float:
        """How long they last."""
        return self.samples.shape[-1] / self.rate


class Stopped(Exception):
    """Nobody takes any more samples."""


class Backlog:
    """A queue of a bounded length, from one thread to another.

    Args:
        seconds: that may wait. One piece alone may be longer.
        drop: what is done with more. True, for a source that does not wait: the oldest samples are
            dropped, and the piece behind them has a gap of their length. False: :meth:`put` waits.

    Raises:
        ClapError: not a positive number of seconds.
    """

    def __init__(self, seconds: float, *, drop: bool) -> None:
        self._limit, self._drop = number("seconds", seconds, "a number of seconds"), drop
        if not self._limit > 0:
            raise ClapError(f"seconds={seconds}: pass a positive number of seconds.")
        # Reentrant: a signal's handler calls `stop` in the midst of another call.
        self._changed = threading.Condition(threading.RLock())
        self._pieces: deque[Piece] = deque()
        self._waiting = self._dropped = 0.0
        self._ended = self._stopped = False
        self._error: BaseException | None = None

    @property
    def dropped(self) -> float:
        """Seconds that were dropped so far."""
        return self._dropped

    @property
    def waiting(self) -> float:
        """Seconds that wait now."""
        return self._waiting

    def has_room(self, piece: Piece) -> bool:
        """Whether :meth:`put` would not wait now, for whoever alone puts."""
        with self._changed:
            return self._drop or self._stopped or not (self._pieces and self._over(piece))

    def put(self, piece: Piece) -> None:
        """Add samples.

        Raises:
            Stopped: nobody takes any more.
        """
        with self._changed:
            while not self._stopped and not self._drop and self._pieces and self._over(piece):
                self._changed.wait(LOOK)
            if self._stopped:
                raise Stopped
            lost = 0.0
            while self._pieces and self._over(piece):
                oldest = self._pieces.popleft()
                self._waiting -= oldest.seconds
                self._dropped += oldest.seconds
                lost += oldest.gap + oldest.seconds
            self._pieces.append(piece)
            self._waiting += piece.seconds
            if lost:
                self._pieces[0] = replace(self._pieces[0], gap=self._pieces[0].gap + lost)
            self._changed.notify_all()

    def end(self, error: BaseException | None = None) -> None:
        """No more comes: what waits is still taken, then an error is raised, if there is one."""
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    def stop(self) -> None:
        """Let both sides end now; what waits is not taken. A signal's handler may call it."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Piece]:
        """The pieces as they come, until the end.

        Raises:
            BaseException: the error that it ended with.
        """
        while (piece := self._next()) is not None:
            yield piece

    def _over(self, piece: Piece) -> bool:
        return self._waiting + piece.seconds > self._limit + 1e-9  # sums of floats

    def _next(self) -> Piece | None:
        with self._changed:
            while not (self._pieces or self._ended or self._stopped):
                self._changed.wait(LOOK)
            if self._stopped:
                return None
            if not self._pieces:
                error, self._error = self._error, None
                if error is None:
                    return None
                try:
                    raise error
                finally:
                    del error  # it holds this frame, and so what it listens to
            piece = self._pieces.popleft()
            self._waiting = max(0.0, self._waiting - piece.seconds) if self._pieces else 0.0
            self._changed.notify_all()
            return piece
