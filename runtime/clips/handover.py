"""From a thread that makes things ahead to the one that uses them: in order, and only so many."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from typing import Generic, TypeVar

from runtime.errors import ClapError

T = TypeVar("T")


class Left(Exception):
    """Nobody wants any more."""


class Handover(Generic[T]):
    """Things of one maker for one taker.

    Args:
        limit: how many may wait; whoever makes more waits itself.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._things: deque[T] = deque()
        self._changed = threading.Condition()
        self._ended = self._left = False
        self._error: BaseException | None = None
        self._process = os.getpid()

    def put(self, thing: T) -> None:
        """Give one.

        Raises:
            Left: the taker is gone.
        """
        with self._changed:
            while len(self._things) >= self._limit and not self._left:
                self._changed.wait()
            if self._left:
                raise Left
            self._things.append(thing)
            self._changed.notify_all()

    def end(self, error: BaseException | None = None) -> None:
        """No other comes; the taker gets what is there, and then the error, if there is one."""
        with self._changed:
            self._ended, self._error = True, None if self._left else error
            self._changed.notify_all()

    def leave(self) -> None:
        """The taker wants no more."""
        with self._changed:
            self._left, self._error = True, None
            self._things.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        while True:
            if os.getpid() != self._process:
                raise ClapError(
                    "this iterator was begun in another process, and its threads stayed there: "
                    "begin it in the process that reads the results."
                )
            with self._changed:
                while not (self._things or self._ended):
                    self._changed.wait()
                if not self._things:
                    error, self._error = self._error, None
                    if error is None:
                        return
                    try:
                        raise error
                    finally:
                        del error  # it holds this frame
                thing = self._things.popleft()
                self._changed.notify_all()
            yield thing


def ahead(things: Iterable[T], limit: int = 2) -> Generator[T]:
    """The same things, made in a thread while the one before is used."""
    handover: Handover[T] = Handover(limit)

    def make() -> None:
        try:
            for thing in things:
                handover.put(thing)
            handover.end()
        except Left:
            pass
        except BaseException as error:  # it is raised where it can be caught
            handover.end(error)

    thread = threading.Thread(target=make, name="clap-decode", daemon=True)
    thread.start()
    try:
        yield from handover
    finally:
        handover.leave()
        thread.join()
